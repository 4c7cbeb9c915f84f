//! The screen without a terminal: what a server says and what is pressed goes in, and what is seen comes out, as the
//! text that stands on it.

use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::super::home::Place;
use super::app::{App, Effect, Options};
use super::theme::Palette;
use super::{draw, keys};
use crate::client::link::Link;
use crate::client::{Error, Line, Wants};

const NOW: &str = "2026-11-24T06:47:00Z";

/// A screen, and the link that it hangs on; the test is the server.
struct Play {
    app: App,
    link: Link,
}

impl Play {
    /// Somebody called ann who has come to `#lobby`, where bob is.
    fn new(columns: u16, rows: u16) -> Self {
        let options = Options {
            palette: Palette::Dark,
            bell: true,
            presence: true,
            zone: TimeZone::UTC,
        };
        let app = App::new(
            "box:5002".into(),
            options,
            (columns, rows),
            NOW.parse().unwrap(),
        );
        let wants = Wants {
            nick: Some("ann".into()),
            ..Wants::default()
        };
        let mut play = Self {
            app,
            link: Link::new(wants, 1),
        };
        play.link.connected();
        play.sent();
        play.hear(&["OK STAMPS on", "OK NICK ann #lobby 100"]);
        assert_eq!(
            play.sent(),
            [
                "HISTORY #lobby 200 before 101",
                "WHO #lobby",
                "TOPIC #lobby",
                "ROOMS"
            ]
        );
        play.hear(&[
            "OK HISTORY 0",
            "USER #lobby ann",
            "USER #lobby bob",
            "OK WHO 2",
            "OK TOPIC #lobby tea",
        ]);
        play.hear(&["ROOM #lobby 2 tea", "ROOM #ops 3", "OK ROOMS 2"]);
        play
    }

    fn hear(&mut self, lines: &[&str]) {
        for line in lines {
            self.link
                .line(Line::from((*line).to_owned()))
                .expect("the protocol");
        }
        self.tell();
    }

    fn tell(&mut self) {
        while let Some(update) = self.link.next_update() {
            self.app.update(update, &mut self.link);
        }
    }

    /// Bob says `text`; its id is `id`.
    fn said(&mut self, id: u64, text: &str) {
        self.hear(&[&format!(
            "LIVE {id} 2026-11-24T06:46:00.000Z MSG #lobby bob {text}"
        )]);
    }

    fn sent(&mut self) -> Vec<String> {
        let bytes = std::mem::take(self.link.output());
        String::from_utf8(bytes)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) {
        let key = Event::Key(KeyEvent::new(code, modifiers));
        keys::event(&mut self.app, key, &mut self.link);
    }

    fn key(&mut self, code: KeyCode) {
        self.press(code, KeyModifiers::NONE);
    }

    fn ctrl(&mut self, c: char) {
        self.press(KeyCode::Char(c), KeyModifiers::CONTROL);
    }

    fn type_in(&mut self, text: &str) {
        text.chars().for_each(|c| self.key(KeyCode::Char(c)));
    }

    fn paste(&mut self, text: &str) {
        keys::event(&mut self.app, Event::Paste(text.to_owned()), &mut self.link);
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        keys::event(&mut self.app, Event::Resize(columns, rows), &mut self.link);
    }

    fn line(&self) -> &str {
        self.app.room().expect("a room").editor.text()
    }

    /// What is to be seen, line by line, without the spaces at the ends.
    fn seen(&self) -> String {
        let (columns, rows) = self.app.size;
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw::draw(&self.app, frame)).unwrap();
        let text = terminal.backend().to_string();
        let lines = text.lines().map(|line| {
            line.trim_start_matches('"')
                .trim_end_matches('"')
                .trim_end()
        });
        lines.map(|line| format!("{line}\n")).collect()
    }

    #[track_caller]
    fn sees(&self, text: &str) {
        let seen = self.seen();
        assert!(seen.contains(text), "{text:?} is not to be seen:\n{seen}");
    }

    #[track_caller]
    fn sees_not(&self, text: &str) {
        let seen = self.seen();
        assert!(!seen.contains(text), "{text:?} is to be seen:\n{seen}");
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.app.effect()).collect()
    }

    fn lost(&mut self) {
        let cut = Error::Lost(std::io::ErrorKind::ConnectionReset.into());
        self.link.lost(cut, Duration::from_secs(1));
        self.tell();
    }

    /// Answers the `HISTORY` that was just asked for with messages that say their ids.
    fn page(&mut self, ids: std::ops::RangeInclusive<u64>) {
        let count = ids.clone().count();
        let past = |id| format!("PAST {id} 2026-11-24T06:00:00.000Z MSG #lobby bob m{id}");
        let mut lines: Vec<String> = ids.map(past).collect();
        lines.push(format!("OK HISTORY {count}"));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        self.hear(&lines);
    }
}

#[test]
fn it_looks_like_this() {
    let mut play = Play::new(100, 14);
    play.said(101, "good morning, all");
    play.said(102, "ann: has the build of https://ci.example.org/builds/4711/log?from=night gone well? It had not at six");
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
               │                   → │ 李雷 came in                                │
               │                李雷 │ ▤ a b.txt  1.54 kB  /download 104           │
               │                     │                                             │
";
    let seen = play.seen();
    // The place of the first line is all that may differ: what there is stands at the bottom.
    for line in expected
        .lines()
        .filter(|line| line.contains("│ ") && line.len() > 100)
    {
        let said = line.split('│').nth(1).unwrap_or(line).trim();
        assert!(seen.contains(said), "{said:?}\n{seen}");
    }
    assert!(seen.ends_with("ann › it has\n"), "{seen}");
    assert!(
        matches!(play.effects()[..], [Effect::Bell]),
        "for eve; the lobby is looked at"
    );
}

#[test]
fn what_is_typed_is_shown_at_once_and_stands_where_the_server_put_it() {
    let mut play = Play::new(80, 10);
    play.type_in("hello");
    play.key(KeyCode::Enter);
    assert_eq!(play.sent(), ["TELL #lobby hello"]);
    play.sees("… │ hello");
    play.sees("1 on the way");
    play.said(101, "before you");
    play.hear(&["OK TELL 102 2026-11-24T06:47:00.000Z"]);
    play.sees("ann │ hello");
    play.sees_not("…");
    let seen = play.seen();
    assert!(seen.find("before you") < seen.find("ann │ hello"), "{seen}");
}

#[test]
fn what_is_refused_is_told_and_can_be_typed_again() {
    let mut play = Play::new(80, 10);
    play.type_in("hello");
    play.key(KeyCode::Enter);
    play.hear(&["ERR TELL quota the disk is full"]);
    play.sees("not said: hello (the disk is full)");
    play.key(KeyCode::Up);
    assert_eq!(play.line(), "hello");
}

#[test]
fn what_is_refused_comes_back_to_where_it_was_said() {
    let mut play = Play::new(80, 10);
    play.type_in("hello");
    play.key(KeyCode::Enter);
    play.type_in("/query bob");
    play.key(KeyCode::Enter);
    play.hear(&["ERR TELL quota the disk is full"]);
    play.sees_not("not said");
    play.press(KeyCode::Char('1'), KeyModifiers::ALT);
    play.sees("not said: hello (the disk is full)");
}

#[test]
fn what_waits_when_one_leaves_is_told_and_is_there_in_the_next_run() {
    let mut play = Play::new(80, 10);
    play.lost();
    play.type_in("kept");
    play.key(KeyCode::Enter);
    play.ctrl('d');
    play.sees("a line is not said yet; once more leaves all the same");
    assert!(play.effects().is_empty());
    play.ctrl('d');
    assert!(matches!(play.effects()[..], [Effect::End(None)]));
    let visited = play.app.visited().expect("it was there");
    assert_eq!(visited.rooms[0].unsaid, ["kept"]);

    let mut play = Play::new(80, 10);
    play.app.restore(&visited.rooms[0]);
    play.sees("without an answer when you left: kept");
    play.key(KeyCode::Up);
    assert_eq!(play.line(), "kept");
}

#[test]
fn of_more_lines_than_can_wait_the_rest_is_asked_about_again() {
    let mut play = Play::new(80, 24);
    play.lost();
    let text: String = (1..=1500).map(|n| format!("line {n}\n")).collect();
    play.paste(&text);
    play.sees("you pasted 1500 lines");
    play.key(KeyCode::Enter);
    let waiting = play.app.waiting();
    play.sees(&format!("you pasted {} lines", 1500 - waiting));
    play.sees(&format!("  line {}\n", waiting + 1));
    play.key(KeyCode::Esc);
    // One line more is not lost either.
    play.type_in("one more");
    play.key(KeyCode::Enter);
    assert_eq!(play.line(), "one more");
}

#[test]
fn the_first_line_that_is_seen_tells_when_and_who() {
    let mut play = Play::new(80, 12);
    for id in 101..=130 {
        play.said(id, &format!("m{id}"));
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
    let mut play = Play::new(80, 12);
    play.said(101, "👨\u{200d}👩\u{200d}👧 و\u{200d}");
    play.sees("👨👩👧 و\u{200d}");
}

#[test]
fn a_lost_connection_is_shown_and_what_is_typed_meanwhile_is_kept_and_sent_once() {
    let mut play = Play::new(90, 12);
    play.type_in("one");
    play.key(KeyCode::Enter);
    play.lost();
    play.type_in("two");
    play.key(KeyCode::Enter);
    play.sees("○ away, 2 lines wait; next try in 1 s");
    play.sees("connection was lost");
    play.link.connected();
    play.sent();
    play.hear(&[
        "OK STAMPS on",
        "PAST 101 2026-11-24T06:47:00.000Z MSG #lobby ann one",
        "PAST 102 2026-11-24T06:47:01.000Z MSG #lobby bob missed",
        "OK JOIN #lobby 102",
        "OK NICK ann #lobby 102",
    ]);
    assert_eq!(
        play.sent()
            .iter()
            .filter(|line| line.starts_with("TELL"))
            .collect::<Vec<_>>(),
        ["TELL #lobby two"]
    );
    play.sees("ann │ one");
    play.sees("bob │ missed");
    play.sees("1 on the way");
}

#[test]
fn scrolling_up_fetches_what_is_older_and_the_view_stays_as_more_comes() {
    let mut play = Play::new(80, 24);
    for id in 101..=300 {
        play.said(id, &format!("m{id}"));
    }
    play.sees("m300");
    // The history was empty, so there is nothing older.
    for _ in 0..100 {
        play.key(KeyCode::PageUp);
    }
    assert_eq!(play.sent(), [""; 0]);
    play.sees("m101");
    play.said(301, "m301");
    play.sees("m101");
    play.sees("1 new below");
    play.key(KeyCode::Esc);
    play.sees("m301");
    play.sees_not("new below");
}

#[test]
fn ten_thousand_messages_are_scrolled_through_page_by_page() {
    let mut play = Play::new(80, 24);
    // As if it had been entered with a log.
    play.hear(&["OK JOIN #ops 0"].map(|_| "HELLO 1 box hi"));
    play.type_in("/join #ops");
    play.key(KeyCode::Enter);
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
    assert!(play.app.room().unwrap().len() <= super::room::ENTRIES_MAX);
    // And down again, by what was let go on the way.
    play.key(KeyCode::Esc);
    assert_eq!(play.sent(), ["HISTORY #ops 200"]);
    let mut lines: Vec<String> = (9801..=10_000).map(past).collect();
    lines.push("OK HISTORY 200".into());
    play.hear(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    play.sees("m10000");
}

#[test]
fn a_burst_is_taken_in_and_the_newest_are_seen() {
    let mut play = Play::new(80, 24);
    for id in 101..=50_100 {
        play.said(id, "x");
    }
    play.said(50_101, "the last");
    play.type_in("still here");
    play.sees("the last");
    play.sees("› still here");
    assert_eq!(play.app.room().unwrap().len(), super::room::ENTRIES_MAX);
}

#[test]
fn tab_completes_nicks_rooms_and_commands() {
    let mut play = Play::new(80, 12);
    play.type_in("b");
    play.key(KeyCode::Tab);
    assert_eq!(play.line(), "bob: ");
    play.ctrl('u');
    play.type_in("see #");
    play.key(KeyCode::Tab);
    assert_eq!(play.line(), "see #lobby ");
    play.sees("#lobby  #ops");
    play.key(KeyCode::Tab);
    assert_eq!(play.line(), "see #ops ");
    play.ctrl('u');
    play.type_in("/sea");
    play.key(KeyCode::Tab);
    assert_eq!(play.line(), "/search ");
}

#[test]
fn many_pasted_lines_are_asked_about() {
    let mut play = Play::new(80, 12);
    play.paste("one\ntwo\n\nthree\n");
    play.sees("Enter says 3 messages");
    play.sees("Esc drops it");
    assert_eq!(play.sent(), [""; 0]);
    play.key(KeyCode::Esc);
    assert_eq!(play.sent().len(), 0);
    assert_eq!(play.line(), "");
    play.paste("one\ntwo");
    play.key(KeyCode::Enter);
    assert_eq!(play.sent(), ["TELL #lobby one", "TELL #lobby two"]);
    play.paste("a\r\n b");
    play.key(KeyCode::Char('j'));
    assert_eq!(play.line(), "a b");
    play.paste("x\ny");
    play.key(KeyCode::Char('f'));
    assert!(matches!(&play.effects()[..], [Effect::Paste { text, .. }] if text == "x\ny\n"));
    play.paste("one line\n");
    assert_eq!(play.line(), "a bone line");
}

#[test]
fn rooms_count_what_is_unread_and_drafts_stay_where_they_were() {
    let mut play = Play::new(80, 12);
    play.type_in("half");
    play.app
        .command(super::Command::Join("#ops".into()), &mut play.link);
    play.hear(&["OK JOIN #ops 0"]);
    assert_eq!(play.line(), "");
    play.said(101, "x");
    play.said(102, "hey Ann!");
    play.sees("1!");
    assert!(matches!(play.effects()[..], [Effect::Bell]));
    play.press(KeyCode::Char('1'), KeyModifiers::ALT);
    assert_eq!(play.line(), "half");
    play.sees("─ new ─");
    play.sees_not("1!");
    play.press(KeyCode::Char('a'), KeyModifiers::ALT);
    play.sees("nothing is unread");
}

#[test]
fn a_search_goes_to_what_it_found() {
    let mut play = Play::new(80, 12);
    play.type_in("/search disk");
    play.key(KeyCode::Enter);
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
    // What follows it is fetched at once.
    assert_eq!(play.sent(), ["HISTORY #lobby 200 after 7"]);
}

#[test]
fn what_is_taken_back_is_gone() {
    let mut play = Play::new(80, 12);
    play.said(101, "a secret");
    play.hear(&["LIVE 102 2026-11-24T06:46:30.000Z REMOVE #lobby bob 101"]);
    play.sees("(taken back)");
    play.sees_not("a secret");
    play.type_in("mine");
    play.key(KeyCode::Enter);
    play.hear(&["OK TELL 103 2026-11-24T06:47:00.000Z"]);
    play.sent();
    play.type_in("/remove");
    play.key(KeyCode::Enter);
    assert_eq!(play.sent(), ["REMOVE 103"]);
    play.hear(&["OK REMOVE 103"]);
    play.sees_not("mine");
}

#[test]
fn private_talk_stands_with_the_other() {
    let mut play = Play::new(80, 12);
    play.type_in("/msg bob psst");
    play.key(KeyCode::Enter);
    assert_eq!(play.sent(), ["TELL bob psst"]);
    play.hear(&["OK TELL - 2026-11-24T06:47:00.000Z"]);
    play.sees("ann │ psst");
    play.hear(&["LIVE - 2026-11-24T06:47:01.000Z MSG ann bob what?"]);
    play.sees("bob │ what?");
    play.type_in("nothing");
    play.key(KeyCode::Enter);
    assert_eq!(play.sent(), ["TELL bob nothing"]);
    play.hear(&["ERR TELL no-such-nick nobody is called bob here"]);
    play.sees("not said: nothing (nobody is called bob");
}

#[test]
fn no_size_is_too_small_and_no_text_too_strange() {
    let mut play = Play::new(80, 24);
    play.said(101, &"wide 日本語 👩‍👩‍👧 e\u{301} ".repeat(40));
    play.said(102, "\u{1b}]0;owned\u{7}\u{202e}evil\ttab");
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
fn leaving_waits_for_what_was_said_and_once_more_does_not() {
    let mut play = Play::new(80, 12);
    play.ctrl('c');
    play.sees("Ctrl-C once more leaves");
    play.ctrl('c');
    assert_eq!(play.sent(), ["BYE"]);
    assert!(play.effects().is_empty());
    play.ctrl('c');
    assert!(matches!(play.effects()[..], [Effect::End(None)]));

    let mut play = Play::new(80, 12);
    play.type_in("text");
    play.ctrl('d');
    assert_eq!(play.sent(), [""; 0]);
    play.ctrl('c');
    assert_eq!(play.line(), "");
    play.key(KeyCode::Up);
    assert_eq!(play.line(), "text", "what was dropped can be had again");
}

#[test]
fn what_came_since_one_was_here_last_stands_below_a_line() {
    let options = Options {
        palette: Palette::None,
        bell: false,
        presence: false,
        zone: TimeZone::UTC,
    };
    let now: Timestamp = NOW.parse().unwrap();
    let app = App::new("box:5002".into(), options, (80, 20), now);
    let wants = Wants {
        nick: Some("ann".into()),
        rooms: vec![("#lobby".into(), None)],
        ..Wants::default()
    };
    let mut play = Play {
        app,
        link: Link::new(wants, 1),
    };
    play.app.restore(&Place {
        name: "#lobby".into(),
        seen: 5,
        draft: "half a line".into(),
        unsaid: vec!["not answered".into()],
    });
    play.link.connected();
    play.hear(&["OK STAMPS on", "OK JOIN #lobby 7", "OK NICK ann #lobby 7"]);
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
    let visited = play.app.visited().expect("it was there");
    assert_eq!(
        (visited.rooms[0].seen, &visited.rooms[0].draft[..]),
        (7, "half a line")
    );
}
