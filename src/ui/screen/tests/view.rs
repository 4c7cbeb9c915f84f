//! Tests of what is visible, and of scrolling.

use super::*;

#[test]
fn the_screen_looks_like_this() {
    let mut play = TestScreen::new(100, 14);
    play.bob_sends(101, "good morning, all");
    play.bob_sends(102, "ann: has the build of https://ci.example.org/builds/4711/log?from=night gone well? It had not at six");
    play.hear(&["LIVE 103 2026-11-24T06:46:30.000Z ME #lobby bob makes tea"]);
    play.hear(&["LIVE - 2026-11-24T06:46:31.000Z JOIN #lobby 李雷"]);
    play.hear(&["LIVE 104 2026-11-24T06:46:32.000Z FILE #lobby 李雷 104 1536 a b.txt"]);
    play.hear(&["LIVE - 2026-11-24T06:46:33.000Z MSG ann eve psst"]);
    play.type_in("it has");
    let expected = "\
 #lobby  tea                                                                                 3 here
▌ #lobby       │                                                                  │ ann
               │                                                                  │ bob
  eve       1! │ 06:46           bob │ good morning, all                           │ 李雷
               │                     ┃ ann: has the build of                       │
               │                     ┃ https://ci.example.org/builds/4711/log?from │
               │                     ┃ =night gone well? It had not at six         │
               │                   * │ bob makes tea                               │
               │                   → │ 李雷 joined                                 │
               │                李雷 │ ▤ a b.txt  1.5 kB  /download 104            │
               │                     │                                             │
";
    let seen = play.seen();
    // The rows are compared without their order, because the messages may begin in another row.
    for line in expected
        .lines()
        .filter(|line| line.contains("│ ") && line.len() > 100)
    {
        let shown = line.split('│').nth(1).unwrap_or(line).trim();
        assert!(seen.contains(shown), "{shown:?}\n{seen}");
    }
    assert!(seen.ends_with("ann › it has\n"), "{seen}");
    assert!(
        matches!(play.effects()[..], [Effect::Bell]),
        "for eve; the lobby is looked at"
    );
}

#[test]
fn the_first_visible_line_has_its_time_and_nick() {
    let mut play = TestScreen::new(80, 12);
    for id in 101..=130 {
        play.bob_sends(id, &format!("m{id}"));
    }
    let seen = play.seen();
    let first = seen.lines().nth(1).expect("a line");
    assert!(
        first.contains("06:46") && first.contains("bob │ m"),
        "{seen}"
    );
    assert_eq!(seen.matches("06:46").count(), 1, "{seen}");
    assert_eq!(seen.matches("bob │").count(), 1, "{seen}");
}

#[test]
fn joined_emoji_take_no_more_columns_than_are_counted() {
    let mut play = TestScreen::new(80, 12);
    play.bob_sends(101, "👨\u{200d}👩\u{200d}👧 و\u{200d} 🇩🇪");
    play.sees("👨👩👧 و\u{200d} DE");
}

#[test]
fn scrolling_up_fetches_what_is_older_and_the_view_stays_as_more_comes() {
    let mut play = TestScreen::new(80, 24);
    for id in 101..=300 {
        play.bob_sends(id, &format!("m{id}"));
    }
    play.sees("m300");
    // The history was empty, so there is nothing older.
    for _ in 0..100 {
        play.key(KeyCode::PageUp);
    }
    assert_eq!(play.sent(), [""; 0]);
    play.sees("m101");
    play.bob_sends(301, "m301");
    play.sees("m101");
    play.sees("1 new below");
    play.key(KeyCode::Esc);
    play.sees("m301");
    play.sees_not("new below");
}

#[test]
fn ten_thousand_messages_are_scrolled_through_page_by_page() {
    let mut play = TestScreen::new(80, 24);
    // As if the room had been joined with a long history.
    play.hear(&["OK JOIN #ops 0"].map(|_| "HELLO 1 box hi"));
    play.enter("/join #ops");
    play.sent();
    play.hear(&["OK JOIN #ops 10000"]);
    let past = |id: u64| format!("PAST {id} 2026-11-24T06:00:00.000Z MSG #ops bob m{id}");
    let mut first = 10_001;
    let mut asked = 0;
    for _ in 0..3000 {
        for line in play.sent() {
            if let Some(before) = line.strip_prefix("HISTORY #ops 200 before ") {
                let before: u64 = before.parse().unwrap();
                assert!(before <= first, "asked twice");
                first = before.saturating_sub(200).max(1);
                asked += 1;
                let mut lines: Vec<String> = (first..before).map(past).collect();
                lines.push(format!("OK HISTORY {}", lines.len()));
                play.hear(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            } else if line.starts_with("WHO") {
                play.hear(&["OK WHO 0"]);
            } else if line.starts_with("TOPIC") {
                play.hear(&["OK TOPIC #ops"]);
            }
        }
        play.key(KeyCode::PageUp);
    }
    assert_eq!((first, asked), (1, 51));
    play.sees(" m1\n");
    assert!(play.app.room().unwrap().len() <= super::super::room::ENTRIES_MAX);
    // And down again, over the messages that were dropped on the way.
    play.key(KeyCode::Esc);
    assert_eq!(play.sent(), ["HISTORY #ops 200"]);
    let mut lines: Vec<String> = (9801..=10_000).map(past).collect();
    lines.push("OK HISTORY 200".into());
    play.hear(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    play.sees("m10000");
}

#[test]
fn a_burst_is_processed_and_its_end_is_visible() {
    let mut play = TestScreen::new(80, 24);
    for id in 101..=50_100 {
        play.bob_sends(id, "x");
    }
    play.bob_sends(50_101, "the last");
    play.type_in("still here");
    play.sees("the last");
    play.sees("› still here");
    assert_eq!(
        play.app.room().unwrap().len(),
        super::super::room::ENTRIES_MAX
    );
}

#[test]
fn rooms_count_unread_messages_and_keep_their_drafts() {
    let mut play = TestScreen::new(80, 12);
    play.type_in("half");
    play.app
        .command(super::super::Command::Join("#ops".into()), &mut play.state);
    play.hear(&["OK JOIN #ops 0"]);
    assert_eq!(play.line(), "");
    play.bob_sends(101, "x");
    play.bob_sends(102, "hey Ann!");
    play.sees("1!");
    assert!(matches!(play.effects()[..], [Effect::Bell]));
    play.press(KeyCode::Char('1'), KeyModifiers::ALT);
    assert_eq!(play.line(), "half");
    play.sees("─ new ─");
    play.sees_not("1!");
    play.press(KeyCode::Char('a'), KeyModifiers::ALT);
    play.sees("there are no unread messages");
}

#[test]
fn a_search_jumps_to_a_match() {
    let mut play = TestScreen::new(80, 12);
    play.enter("/search disk");
    assert_eq!(play.sent(), ["SEARCH #lobby disk"]);
    play.hear(&[
        "PAST 7 2026-11-20T06:00:00.000Z MSG #lobby bob the disk",
        "OK SEARCH 1",
    ]);
    play.sees("\"disk\" in #lobby: 1 message");
    play.sees("2026-11-20 06:00  <bob> the disk");
    play.key(KeyCode::Enter);
    assert_eq!(play.sent(), ["HISTORY #lobby 200 before 8"]);
    play.page(1..=7);
    play.sees("m7");
    play.sees("Esc goes back");
    // The messages after it are fetched at once.
    assert_eq!(play.sent(), ["HISTORY #lobby 200 after 7"]);
}

#[test]
fn any_text_can_be_drawn_at_any_size() {
    let mut play = TestScreen::new(80, 24);
    play.bob_sends(101, &"wide 日本語 👩‍👩‍👧 e\u{301} ".repeat(40));
    play.bob_sends(102, "\u{1b}]0;owned\u{7}\u{202e}evil\ttab");
    play.type_in(&"日本 ".repeat(60));
    for columns in [0, 1, 2, 3, 7, 20, 39, 40, 63, 64, 95, 96, 200] {
        for rows in [0, 1, 2, 3, 4, 5, 10, 50] {
            play.resize(columns, rows);
            if columns > 0 && rows > 0 {
                play.seen();
            }
            play.key(KeyCode::PageUp);
            play.key(KeyCode::Tab);
            play.key(KeyCode::PageDown);
        }
    }
    play.resize(80, 24);
    play.sees("evil");
    play.sees_not("owned");
}

#[test]
fn a_link_is_opened_where_there_is_a_browser_and_is_copied_elsewhere() {
    let mut play = TestScreen::new(80, 20);
    play.hear(&["LIVE 101 2026-11-17T12:00:00.000Z MSG #lobby bob see https://one.example/a?b=$(c), and http://two.example."]);
    play.enter("/links");
    play.sees("Enter copies one");
    play.key(KeyCode::Enter);
    assert!(
        matches!(&play.effects()[..], [.., Effect::Copy(text)] if text == "http://two.example")
    );
    play.app.preferences.opens_links = true;
    play.enter("/links");
    play.sees("Enter opens one");
    play.key(KeyCode::Down);
    play.key(KeyCode::Enter);
    play.sees("opening https://one.example/a?b=$(c)");
    let link = "https://one.example/a?b=$(c)";
    assert!(matches!(&play.effects()[..], [.., Effect::Open(text)] if text == link));
}

#[test]
fn messages_since_the_last_visit_are_below_a_line() {
    let preferences = Preferences {
        palette: Palette::None,
        graphics: Graphics::None,
        bell: false,
        presence: false,
        zone: TimeZone::UTC,
        completes_paths: true,
        opens_links: false,
    };
    let now: Timestamp = NOW.parse().unwrap();
    let app = App::new("box:5002".into(), preferences, (80, 20), now);
    let mut play = TestScreen {
        app,
        state: ClientState::new(Options::new("ann").room("#lobby"), 1),
    };
    play.app.restore(&SavedRoom {
        is_muted: false,
        name: "#lobby".into(),
        seen: 5,
        draft: "half a line".into(),
        unconfirmed: vec!["not answered".into()],
    });
    play.state.connected();
    play.hear(&[HELLO, "OK STAMPS on", "OK TAGS on", "OK NICK ann #lobby 7"]);
    play.page(1..=7);
    let seen = play.seen();
    let at = |text: &str| {
        seen.find(text)
            .unwrap_or_else(|| panic!("{text:?}\n{seen}"))
    };
    assert!(
        at("m5\n") < at(" new ") && at(" new ") < at("m6\n"),
        "{seen}"
    );
    assert!(seen.contains("› half a line"), "{seen}");
    let saved = play.app.saved().expect("it was there");
    assert_eq!(
        (saved.rooms[0].seen, &saved.rooms[0].draft[..]),
        (7, "half a line")
    );
}

#[test]
fn unread_messages_are_shown_from_the_first_one() {
    let mut play = TestScreen::new(80, 12);
    for id in 101..=110 {
        play.bob_sends(id, &format!("m{id}"));
    }
    play.press(KeyCode::Char('u'), KeyModifiers::ALT);
    play.sees("there are no new messages here");
    keys::event(&mut play.app, Event::FocusLost, &mut play.state);
    for id in 111..=150 {
        play.bob_sends(id, &format!("m{id}"));
    }
    play.sees("m150");
    play.press(KeyCode::Char('u'), KeyModifiers::ALT);
    let seen = play.seen();
    let lines: Vec<&str> = seen.lines().collect();
    assert!(lines[1].contains(" new "), "{seen}");
    assert!(lines[2].ends_with("│ m111"), "{seen}");
    play.key(KeyCode::Esc);
    play.sees("m150");
}

#[test]
fn a_picture_is_shown_in_front_of_the_room_until_a_key_is_pressed() {
    let mut play = TestScreen::new(80, 14);
    play.hear(&["LIVE 104 2026-11-24T06:46:32.000Z FILE #lobby bob 104 1536 cat.PNG"]);
    play.hear(&["LIVE 105 2026-11-24T06:46:33.000Z FILE #lobby bob 105 9 notes.txt"]);
    play.sees("cat.PNG  1.5 kB  /view 104  /download 104");
    play.sees("notes.txt  9 B  /download 105");
    play.ctrl('r');
    play.sees_not("v view");
    play.key(KeyCode::Up);
    play.sees("v view");
    play.key(KeyCode::Char('v'));
    assert!(matches!(play.effects()[..], [Effect::View(104)]));
    play.key(KeyCode::Esc);
    play.enter("/view 104");
    assert!(matches!(play.effects()[..], [Effect::View(104)]));
    play.enter("/view cat");
    play.sees("usage: /view ID");
    // One white pixel becomes as large as is useful.
    let gif =
        b"GIF89a\x01\0\x01\0\x80\0\0\xff\xff\xff\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
    let picture = Picture::decode("cat.gif", gif).expect("a picture");
    play.app.show_picture(picture, (10, 20));
    play.sees("cat.gif 1 × 1 · any key closes");
    play.sees("▀▀▀▀\n");
    play.sees_not("notes.txt");
    play.resize(70, 12);
    play.sees("▀▀▀▀\n");
    play.key(KeyCode::Char('x'));
    play.sees_not("cat.gif");
    play.sees("notes.txt");
    assert_eq!(play.line(), "", "the key is not typed");
    play.app.preferences.graphics = Graphics::None;
    play.enter("/view 104");
    play.sees("too few colors");
    assert!(play.effects().is_empty());
}

#[test]
fn ctrl_home_goes_to_the_first_message_of_the_room() {
    let mut play = TestScreen::new(80, 12);
    play.bob_sends(9000, "the last");
    play.app.rooms[0].at_start = false;
    play.press(KeyCode::Home, KeyModifiers::CONTROL);
    assert_eq!(play.sent(), ["HISTORY #lobby 200 after 0"]);
    play.page(1..=200);
    play.sees("│ m1\n");
    play.sees_not("the last");
    assert_eq!(play.sent(), [""; 0], "nothing is missing");
    play.press(KeyCode::End, KeyModifiers::CONTROL);
    assert_eq!(play.sent(), ["HISTORY #lobby 200"]);
}

#[test]
fn alt_page_up_and_down_go_from_day_to_day() {
    let mut play = TestScreen::new(80, 9);
    for id in 101..=160 {
        let day = 20 + (id - 101) / 15;
        play.hear(&[&format!(
            "LIVE {id} 2026-11-{day}T06:00:00.000Z MSG #lobby bob m{id}"
        )]);
    }
    play.press(KeyCode::PageUp, KeyModifiers::ALT);
    play.sees("yesterday");
    play.sees("│ m146\n");
    play.press(KeyCode::PageUp, KeyModifiers::ALT);
    play.sees("Sunday, 22 November");
    play.sees("│ m131\n");
    play.press(KeyCode::PageUp, KeyModifiers::ALT);
    play.sees("Saturday, 21 November");
    play.press(KeyCode::PageDown, KeyModifiers::ALT);
    play.sees("Sunday, 22 November");
    play.press(KeyCode::PageDown, KeyModifiers::ALT);
    play.sees("yesterday");
    play.press(KeyCode::PageDown, KeyModifiers::ALT);
    play.sees("│ m160\n");
}

#[test]
fn unread_rooms_that_do_not_fit_are_pointed_at() {
    let mut play = TestScreen::new(80, 10);
    for n in 10..40 {
        let name = format!("#r{n}");
        play.app
            .command(super::super::Command::Join(name.clone()), &mut play.state);
        loop {
            let lines = play.sent();
            if lines.is_empty() {
                break;
            }
            for line in lines {
                let verb = line.split(' ').next().unwrap_or_default();
                let rest = match verb {
                    "JOIN" => format!("{name} 0"),
                    "TOPIC" => name.clone(),
                    _ => "0".to_owned(),
                };
                play.hear(&[&format!("OK {verb} {rest}")]);
            }
        }
    }
    play.sees("#r39");
    play.sees_not("▲");
    play.bob_sends(101, "hello");
    play.sees("▲\n");
    play.sees_not("▼");
    play.press(KeyCode::Char('1'), KeyModifiers::ALT);
    play.sees("#lobby");
    play.sees_not("▲");
    play.hear(&["LIVE 200 2026-11-24T06:46:00.000Z MSG #r39 bob hey Ann!"]);
    play.sees("▼");
}

#[test]
fn the_user_who_sets_the_topic_sees_that_at_its_place() {
    let mut play = TestScreen::new(80, 12);
    play.bob_sends(101, "tea?");
    play.sent();
    play.enter("/topic all about tea");
    assert_eq!(
        play.sent(),
        ["TOPIC #lobby all about tea", "HISTORY #lobby 200 after 101"]
    );
    play.bob_sends(102, "or coffee");
    let topic = "2026-11-24T06:46:00.000Z TOPIC #lobby ann all about tea";
    play.hear(&[
        "OK TOPIC #lobby all about tea",
        "PAST 102 2026-11-24T06:46:00.000Z MSG #lobby bob or coffee",
        &format!("PAST 103 {topic}"),
        "OK HISTORY 2",
    ]);
    play.sees("or coffee\n");
    play.sees("set the topic: all about tea");
    assert_eq!(play.seen().matches("or coffee").count(), 1);
    // After a break, it comes again.
    play.hear(&[&format!("LIVE 103 {topic}")]);
    assert_eq!(play.seen().matches("set the topic").count(), 1);
    // A refused change shows only why it was refused.
    play.enter("/topic beer");
    play.hear(&[
        "ERR TOPIC not-allowed only its owner may do that",
        "OK HISTORY 0",
    ]);
    play.sees("only its owner may do that");
    play.sees_not("beer");
}
