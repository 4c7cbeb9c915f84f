//! Replies, edits and reactions, and the message that is selected.

use super::*;

/// Returns a screen with a message from bob and one from ann.
fn talk(columns: u16, rows: u16) -> TestScreen {
    let mut play = TestScreen::new(columns, rows);
    play.bob_sends(101, "shall we deploy?");
    play.enter("in a minute");
    assert_eq!(play.sent(), ["TELL #lobby in a minute"]);
    play.hear(&["OK TELL 102 2026-11-24T06:46:10.000Z"]);
    play.bob_sends(103, "good");
    play
}

#[test]
fn a_message_is_selected_and_answered_and_the_quoted_line_is_shown() {
    let mut play = talk(90, 16);
    play.ctrl('r');
    play.sees("Enter reply");
    play.key(KeyCode::Up);
    play.key(KeyCode::Up);
    // There is no message above the selected one.
    play.key(KeyCode::Up);
    play.key(KeyCode::Enter);
    play.sees("replying to bob: shall we deploy?");
    play.sees("ann reply ›");
    play.enter("yes");
    assert_eq!(play.sent(), ["@reply=101 TELL #lobby yes"]);
    play.hear(&["OK TELL 104 2026-11-24T06:46:30.000Z"]);
    let seen = play.seen();
    let quote = seen
        .find("╭ bob: shall we deploy?")
        .expect("the quoted line");
    assert!(seen.find("│ yes").expect("the answer") > quote, "{seen}");
    // The next line is an ordinary message again.
    play.sees("ann ›");
    play.enter("and you?");
    assert_eq!(play.sent(), ["TELL #lobby and you?"]);
}

#[test]
fn escape_ends_a_reply_and_a_selection_and_what_was_typed_stays() {
    let mut play = talk(90, 16);
    play.type_in("half");
    play.ctrl('r');
    play.key(KeyCode::Enter);
    play.sees("ann reply › half");
    play.key(KeyCode::Esc);
    play.sees("ann › half");
    play.ctrl('r');
    play.key(KeyCode::Esc);
    play.sees_not("Enter reply");
    play.key(KeyCode::Enter);
    assert_eq!(play.sent(), ["TELL #lobby half"]);
    // An empty room has nothing to select.
    let mut play = TestScreen::new(80, 12);
    play.ctrl('r');
    play.sees("there are no messages to select here");
}

#[test]
fn a_reply_to_an_older_message_fetches_the_quoted_message() {
    let mut play = talk(90, 16);
    play.hear(&["LIVE 104 2026-11-24T06:46:30.000Z @reply=7 MSG #lobby bob that one"]);
    play.sees("╭ an older message");
    assert_eq!(play.sent(), ["HISTORY #lobby 1 before 8"]);
    play.hear(&[
        "PAST 7 2026-11-20T06:46:30.000Z MSG #lobby eve\u{1b}[31m release\u{202e} notes",
        "OK HISTORY 1",
    ]);
    play.sees("╭ eve: release notes");
    // The quoted message is requested only once, and not again if it no longer exists.
    play.hear(&[
        "LIVE 105 2026-11-24T06:46:30.000Z @reply=7 MSG #lobby bob still",
        "LIVE 106 2026-11-24T06:46:30.000Z @reply=8 MSG #lobby bob gone",
    ]);
    assert_eq!(play.sent(), ["HISTORY #lobby 1 before 9"]);
    play.hear(&["OK HISTORY 0"]);
    play.hear(&["LIVE 107 2026-11-24T06:46:30.000Z @reply=8 MSG #lobby bob gone too"]);
    assert_eq!(play.sent(), [""; 0]);
    // When the quoted message is edited, its new text is fetched. Once it is deleted, its text is no longer shown.
    play.hear(&["LIVE 108 2026-11-24T06:46:31.000Z EDIT #lobby eve 7 no secrets"]);
    assert_eq!(play.sent(), ["HISTORY #lobby 1 before 8"]);
    play.hear(&[
        "PAST 7 2026-11-20T06:46:30.000Z @edited=2026-11-24T06:46:31.000Z MSG #lobby eve no secrets",
        "OK HISTORY 1",
    ]);
    play.sees("╭ eve: no secrets");
    play.sees_not("release notes");
    play.hear(&["LIVE 109 2026-11-24T06:46:32.000Z REMOVE #lobby eve 7"]);
    play.sees("╭ (deleted)");
    play.sees_not("no secrets");
    assert_eq!(play.sent(), [""; 0]);
}

#[test]
fn a_reply_in_the_log_fetches_the_quoted_message_once_it_is_shown() {
    let mut play = TestScreen::new(90, 12);
    play.app.jump("#lobby", 90, &mut play.state);
    play.sent();
    play.hear(&[
        "PAST 89 2026-11-24T06:40:00.000Z MSG #lobby bob here",
        "PAST 90 2026-11-24T06:40:00.000Z @reply=7 MSG #lobby bob that one",
        "OK HISTORY 2",
    ]);
    let sent = play.sent();
    assert!(
        sent.contains(&"HISTORY #lobby 1 before 8".to_owned()),
        "{sent:?}"
    );
    let answers = sent.iter().map(|line| match &line[..] {
        "HISTORY #lobby 1 before 8" => {
            "PAST 7 2026-11-20T06:46:30.000Z MSG #lobby eve notes\nOK HISTORY 1"
        }
        _ => "OK HISTORY 0",
    });
    for line in answers.collect::<Vec<_>>().join("\n").lines() {
        play.hear(&[line]);
    }
    play.sees("╭ eve: notes");
}

#[test]
fn a_reply_to_your_message_counts_as_a_mention() {
    let mut play = talk(90, 16);
    play.app.focus(false);
    play.effects();
    play.hear(&["LIVE 104 2026-11-24T06:46:30.000Z @reply=102 MSG #lobby bob hurry"]);
    assert!(matches!(play.effects()[..], [Effect::Bell]));
    play.hear(&["LIVE 105 2026-11-24T06:46:30.000Z @reply=103 MSG #lobby eve why?"]);
    assert!(play.effects().is_empty());
}

#[test]
fn up_edits_the_last_message_and_its_text_is_replaced_in_place() {
    let mut play = talk(90, 16);
    play.key(KeyCode::Up);
    play.sees("ann edit › in a minute");
    play.enter(" or two");
    assert_eq!(play.sent(), ["EDIT 102 in a minute or two"]);
    play.hear(&["OK EDIT 104 2026-11-24T06:46:40.000Z"]);
    play.sees("in a minute or two (edited)");
    assert_eq!(play.seen().matches("in a minute").count(), 1);
    // Somebody else edits their message.
    play.hear(&["LIVE 105 2026-11-24T06:46:50.000Z EDIT #lobby bob 103 very\u{1b}[31m good, ann"]);
    play.sees("very good, ann (edited)");
    play.sees_not("│ good");
    // Nobody edits the messages of others, whatever a server sends.
    play.hear(&["LIVE 106 2026-11-24T06:46:50.000Z EDIT #lobby eve 103 nonsense"]);
    play.sees_not("nonsense");
    // A second Up goes on to the line that was typed before, and Escape leaves the message as it is.
    play.key(KeyCode::Up);
    play.sees("ann edit › in a minute or two");
    play.key(KeyCode::Up);
    play.sees("ann › in a minute");
    assert_eq!(play.line(), "in a minute");
    play.key(KeyCode::Down);
    play.key(KeyCode::Down);
    play.key(KeyCode::Up);
    play.sees("ann edit ›");
    play.key(KeyCode::Esc);
    play.sees("ann ›");
    assert_eq!(play.line(), "");
    assert_eq!(play.sent(), [""; 0]);
}

#[test]
fn up_recalls_the_last_line_if_it_was_not_a_message() {
    let mut play = talk(90, 16);
    play.enter("/topic");
    play.key(KeyCode::Up);
    assert_eq!(play.line(), "/topic");
    play.sees("ann › /topic");
    play.key(KeyCode::Up);
    assert_eq!(play.line(), "in a minute");
    play.sees_not("edit ›");
}

#[test]
fn another_line_of_the_history_ends_an_edit() {
    let mut play = talk(90, 16);
    play.key(KeyCode::Up);
    play.sees("ann edit › in a minute");
    // There is no older line.
    play.key(KeyCode::Up);
    play.sees("ann edit › in a minute");
    play.key(KeyCode::Down);
    assert_eq!(play.line(), "");
    play.sees_not("edit ›");
    play.enter("new");
    assert_eq!(play.sent(), ["TELL #lobby new"]);
}

#[test]
fn only_own_messages_are_edited() {
    let mut play = talk(90, 16);
    play.ctrl('r');
    play.type_in("e");
    play.sees("you can edit only your own messages");
    play.key(KeyCode::Up);
    play.type_in("e");
    play.sees("ann edit › in a minute");
    play.key(KeyCode::Esc);
    assert_eq!(play.line(), "");
    play.enter("/edit soon");
    assert_eq!(play.sent(), ["EDIT 102 soon"]);
    play.hear(&["ERR EDIT no-such-id there is no such message"]);
    play.sees("there is no such message");
    play.sees("│ in a minute");
    // A message that begins with a slash stays a message.
    play.enter("//etc");
    play.sent();
    play.hear(&["OK TELL 105 2026-11-24T06:46:10.000Z"]);
    play.enter("/edit");
    play.enter("/hosts");
    assert_eq!(play.sent(), ["EDIT 105 /etc/hosts"]);
}

#[test]
fn reactions_are_counted_under_a_message() {
    let mut play = talk(90, 16);
    play.ctrl('r');
    play.type_in("r");
    play.sees("👍  +1");
    play.key(KeyCode::Enter);
    assert_eq!(play.sent(), ["REACT 103 👍"]);
    play.hear(&["OK REACT 104 2026-11-24T06:46:40.000Z"]);
    play.sees("│ 👍 1");
    play.hear(&[
        "LIVE 105 2026-11-24T06:46:40.000Z REACT #lobby eve 103 👍",
        "LIVE 106 2026-11-24T06:46:40.000Z REACT #lobby eve 103 🎉",
        "LIVE 107 2026-11-24T06:46:40.000Z REACT #lobby eve 103 \u{9b}31m\u{202e}",
    ]);
    play.sees("│ 👍 2  🎉 1");
    play.hear(&["LIVE 108 2026-11-24T06:46:40.000Z UNREACT #lobby eve 103 🎉"]);
    play.sees_not("🎉");
    // Reacting again withdraws it.
    play.ctrl('r');
    play.enter("r");
    assert_eq!(play.sent(), ["UNREACT 103 👍"]);
    play.hear(&["OK UNREACT 109 2026-11-24T06:46:40.000Z"]);
    play.sees("│ 👍 1");
    play.enter("/react tada");
    play.enter("/react 101 👀");
    play.enter("/reactions 103");
    assert_eq!(play.sent(), ["REACT 103 🎉", "REACT 101 👀", "REACTS 103"]);
    play.hear(&[
        "ERR REACT quota too many",
        "OK REACT 111 2026-11-24T06:46:40.000Z",
        "REACT 103 eve\u{1b}[1m 👍",
        "OK REACTS 1",
    ]);
    play.sees("👍  eve");
    play.key(KeyCode::Esc);
    play.sees("👀 1");
}

#[test]
fn reactions_and_edits_of_a_page_and_of_a_replay_are_shown_once() {
    let mut play = talk(90, 20);
    play.lost();
    play.connects(&[
        "PAST 104 2026-11-24T06:47:00.000Z @reacts=👍*1 MSG #lobby bob missed",
        "PAST 105 2026-11-24T06:47:01.000Z REACT #lobby eve 104 👍",
        "PAST 106 2026-11-24T06:47:01.000Z REACT #lobby eve 103 👀",
        "PAST 107 2026-11-24T06:47:01.000Z EDIT #lobby bob 103 fine",
        "OK JOIN #lobby 107",
        "OK NICK ann #lobby 107",
    ]);
    play.sees("│ 👍 1");
    play.sees("│ 👀 1");
    play.sees("fine (edited)");
    play.hear(&["LIVE 108 2026-11-24T06:47:01.000Z REACT #lobby zoe 104 👍"]);
    play.sees("│ 👍 2");

    let mut play = TestScreen::new(90, 20);
    let page = [
        "PAST 90 2026-11-24T06:40:00.000Z @edited=2026-11-24T06:41:00.000Z;reacts=👍*3 MSG #lobby bob newest words",
        "PAST 91 2026-11-24T06:41:00.000Z EDIT #lobby bob 90 newest words",
        "PAST 92 2026-11-24T06:41:00.000Z REACT #lobby eve 90 👍",
    ];
    play.app.jump("#lobby", 90, &mut play.state);
    play.sent();
    play.hear(&page);
    play.hear(&["OK HISTORY 3"]);
    play.sees("newest words (edited)");
    play.sees("│ 👍 3");
    assert_eq!(play.seen().matches("newest words").count(), 1);
    // The page already has a reaction of this client.
    assert_eq!(play.sent(), ["HISTORY #lobby 200 after 92"]);
    play.page(100..=100);
    let reaction = |play: &mut TestScreen, text: &str, request: &str, reply: &str| {
        play.enter(text);
        assert_eq!(play.sent(), [request]);
        play.hear(&[&format!("{reply} 2026-11-24T06:46:40.000Z")]);
    };
    reaction(&mut play, "/react 90 👍", "REACT 90 👍", "OK REACT -");
    play.sees("│ 👍 3");
    assert!(play.app.has_reacted(90, "👍"));
    reaction(
        &mut play,
        "/unreact 90 👍",
        "UNREACT 90 👍",
        "OK UNREACT 93",
    );
    play.sees("│ 👍 2");
    reaction(&mut play, "/unreact 90 👍", "UNREACT 90 👍", "OK UNREACT -");
    play.sees("│ 👍 2");
    assert!(!play.app.has_reacted(90, "👍"));
}

#[test]
fn a_message_is_copied_and_its_original_is_found() {
    let mut play = talk(90, 16);
    play.hear(&["LIVE 104 2026-11-24T06:46:30.000Z @reply=101 MSG #lobby bob well?"]);
    play.ctrl('r');
    play.type_in("g");
    play.type_in("c");
    let copied = play.effects().into_iter().find_map(|effect| match effect {
        Effect::Copy(text) => Some(text),
        _ => None,
    });
    assert_eq!(copied.as_deref(), Some("shall we deploy?"));
    play.sees("copied the message");
    play.ctrl('r');
    play.type_in("d");
    assert_eq!(play.line(), "/remove 104");
}

#[test]
fn the_selected_message_is_always_visible() {
    let mut play = TestScreen::new(60, 10);
    for id in 101..=160 {
        play.bob_sends(id, &format!("number {id} {}", "x".repeat(id as usize % 90)));
    }
    play.ctrl('r');
    for id in (101..160).rev() {
        play.key(KeyCode::Up);
        play.sees(&format!("number {id}"));
    }
    for id in 102..=160 {
        play.key(KeyCode::Down);
        play.sees(&format!("number {id}"));
    }
    play.key(KeyCode::Esc);
    play.sees("number 160");
}

#[test]
fn no_replies_edits_or_reactions_are_sent_to_a_server_without_them() {
    let mut play = talk(90, 16);
    play.lost();
    play.state.connected();
    play.hear(&[
        "OK HELLO 1 chat",
        "ERR STAMPS x no",
        "ERR TAGS x no",
        "OK JOIN #lobby 103",
        "OK NICK ann #lobby 103",
    ]);
    play.sent();
    for (typed, why) in [
        ("/reply yes", "this server does not support replies"),
        ("/edit no", "this server does not support edits"),
        ("/react +1", "this server does not support reactions"),
    ] {
        play.enter(typed);
        play.sees(why);
    }
    play.key(KeyCode::Up);
    play.sees("ann › /react +1");
    assert_eq!(play.sent(), [""; 0]);
}

#[test]
fn direct_messages_are_answered_and_edited_too() {
    let mut play = TestScreen::new(90, 16);
    play.hear(&["LIVE 101 2026-11-24T06:46:30.000Z MSG ann bob psst"]);
    play.enter("/query bob");
    play.enter("/reply what?");
    assert_eq!(play.sent(), ["@reply=101 TELL bob what?"]);
    play.hear(&["OK TELL 102 2026-11-24T06:46:40.000Z"]);
    play.sees("╭ bob: psst");
    play.enter("/edit what is it?");
    assert_eq!(play.sent(), ["EDIT 102 what is it?"]);
    play.hear(&[
        "OK EDIT 103 2026-11-24T06:46:40.000Z",
        "LIVE 104 2026-11-24T06:46:40.000Z REACT ann bob 102 👍",
    ]);
    play.sees("what is it? (edited)");
    play.sees("│ 👍 1");
    // A reaction does not open a private chat.
    play.hear(&["LIVE 105 2026-11-24T06:46:40.000Z REACT ann zoe 17 👍"]);
    play.sees_not("zoe");
}

/// Returns a screen on a server that takes several lines as one message.
fn with_lines(columns: u16, rows: u16) -> TestScreen {
    let mut play = talk(columns, rows);
    play.lost();
    play.state.connected();
    play.hear(&[
        "OK HELLO 1 chat edit multiline react reply tags",
        "OK STAMPS on",
        "OK TAGS on",
        "OK JOIN #lobby 103",
        "OK NICK ann #lobby 103",
    ]);
    play.sent();
    play.hear(&["OK WHO 0", "OK TOPIC #lobby", "OK ROOMS 0"]);
    play
}

#[test]
fn several_lines_are_typed_and_sent_as_one_message() {
    let mut play = with_lines(90, 16);
    play.type_in("it broke:");
    play.press(KeyCode::Enter, KeyModifiers::ALT);
    play.press(KeyCode::Enter, KeyModifiers::ALT);
    play.type_in("  at main.c:12");
    play.sees("ann › it broke:\n\n        at main.c:12\n");
    play.key(KeyCode::Up);
    play.key(KeyCode::Up);
    play.key(KeyCode::End);
    play.enter("!");
    assert_eq!(
        play.sent(),
        ["TEXT 26 #lobby", "it broke:!", "", "  at main.c:12"]
    );
    play.sees("… │ it broke:!");
    play.hear(&["OK TEXT 104 2026-11-24T06:46:30.000Z 3"]);
    play.sees("ann │ it broke:!\n");
    play.sees("│   at main.c:12\n");
    play.sees_not("sending");
    // The ids of all three are known, so the next message is not mistaken for one of them.
    play.bob_sends(107, "oh");
    play.sees("bob │ oh");
    play.key(KeyCode::Up);
    play.sees("ann edit › it broke:!");
}

#[test]
fn an_edit_is_one_line_and_each_line_of_an_action_is_an_action() {
    let mut play = with_lines(90, 16);
    play.key(KeyCode::Up);
    play.press(KeyCode::Enter, KeyModifiers::ALT);
    play.enter("or two");
    assert_eq!(play.sent(), ["EDIT 102 in a minute or two"]);
    play.type_in("/me waits");
    play.press(KeyCode::Enter, KeyModifiers::ALT);
    play.enter("yawns");
    assert_eq!(
        play.sent(),
        ["JOIN #lobby", "ME waits", "JOIN #lobby", "ME yawns"]
    );
}

#[test]
fn a_reply_that_cannot_be_sent_now_stays_a_reply() {
    let mut play = with_lines(90, 16);
    while !play.state.is_full() {
        play.state.say("#lobby", "x").unwrap();
    }
    play.enter("/reply 101");
    play.type_in("one");
    play.press(KeyCode::Enter, KeyModifiers::ALT);
    play.enter("two");
    assert_eq!(play.line(), "one\ntwo");
    play.sees("ann reply › one");
}

#[test]
fn lines_that_were_sent_as_one_are_one_message() {
    let mut play = with_lines(90, 20);
    play.hear(&[
        "LIVE 104 2026-11-24T06:46:30.000Z @lines=3;reply=102 MSG #lobby bob trace:",
        "LIVE 105 2026-11-24T06:46:30.000Z @of=104 MSG #lobby bob",
        "LIVE 106 2026-11-24T06:46:30.000Z @of=104 MSG #lobby bob   at x.c:1",
        "LIVE 107 2026-11-24T06:46:31.000Z MSG #lobby eve ouch",
    ]);
    let seen = play.seen();
    let lines: Vec<&str> = seen.lines().collect();
    let first = lines
        .iter()
        .position(|line| line.ends_with("│ trace:") || line.ends_with("┃ trace:"));
    let first = first.unwrap_or_else(|| panic!("the first line\n{seen}"));
    assert!(lines[first + 1].ends_with(['│', '┃']), "{seen}");
    assert!(lines[first + 2].ends_with("  at x.c:1"), "{seen}");
    assert!(!lines[first + 2].contains("bob"), "{seen}");
    // The marker treats it as one message, and so does the clipboard.
    play.ctrl('r');
    play.key(KeyCode::Up);
    play.type_in("c");
    let copied = play.effects().into_iter().find_map(|effect| match effect {
        Effect::Copy(text) => Some(text),
        _ => None,
    });
    assert_eq!(copied.as_deref(), Some("trace:\n\n  at x.c:1"));
    // Lines are edited one by one; deleting the first deletes all.
    play.hear(&["LIVE 108 2026-11-24T06:46:31.000Z EDIT #lobby bob 106 at y.c:2"]);
    play.sees("at y.c:2 (edited)");
    play.hear(&["LIVE 109 2026-11-24T06:46:31.000Z REMOVE #lobby bob 104"]);
    play.sees("(deleted)");
    play.sees_not("y.c");
    play.sees("eve │ ouch");
}

#[test]
fn deleted_lines_of_the_log_are_one_deleted_message() {
    let mut play = TestScreen::new(90, 20);
    play.app.jump("#lobby", 90, &mut play.state);
    play.hear(&[
        "PAST 90 2026-11-24T06:40:00.000Z @removed MSG #lobby bob -",
        "PAST 91 2026-11-24T06:40:00.000Z @removed MSG #lobby bob -",
        "PAST 92 2026-11-24T06:40:00.000Z @removed MSG #lobby bob -",
        "PAST 93 2026-11-24T06:40:00.000Z MSG #lobby bob -",
        "PAST 94 2026-11-24T06:41:00.000Z REMOVE #lobby bob 90",
        "OK HISTORY 5",
    ]);
    play.key(KeyCode::PageDown);
    play.sees("bob │ (deleted)\n             │            │ -");
}

#[test]
fn several_lines_count_as_one_unread_message() {
    let mut play = with_lines(90, 16);
    play.enter("/query zoe");
    play.hear(&[
        "LIVE 104 2026-11-24T06:46:30.000Z @lines=3 MSG #lobby bob trace:",
        "LIVE 105 2026-11-24T06:46:30.000Z @of=104 MSG #lobby bob more",
        "LIVE 106 2026-11-24T06:46:30.000Z @of=104 MSG #lobby bob most",
    ]);
    assert_eq!(play.app.rooms[0].unread, 1);
    play.hear(&[
        "LIVE 107 2026-11-24T06:46:30.000Z @lines=2 MSG #lobby bob trace:",
        "LIVE 108 2026-11-24T06:46:30.000Z @of=107 MSG #lobby bob for ann",
    ]);
    assert_eq!(
        (play.app.rooms[0].unread, play.app.rooms[0].mentions),
        (2, 1)
    );
}

#[test]
fn pasted_lines_are_one_message_by_default() {
    let mut play = with_lines(90, 20);
    play.paste("one\n\n  two\u{1b}[31m\n");
    play.sees("Enter send it as one message");
    play.key(KeyCode::Enter);
    assert_eq!(play.sent(), ["TEXT 10 #lobby", "one", "", "  two"]);
    play.hear(&["OK TEXT 104 2026-11-24T06:46:30.000Z 3"]);
    play.paste("one\n\ntwo");
    play.key(KeyCode::Char('l'));
    assert_eq!(play.sent(), ["TELL #lobby one", "TELL #lobby two"]);
    play.paste("one\ntwo");
    play.key(KeyCode::Char('i'));
    assert_eq!(play.line(), "one\ntwo");
    play.enter("!");
    assert_eq!(play.sent(), ["TEXT 8 #lobby", "one", "two!"]);
    // The dialog still appears for a text that is too long for one message, or for this server.
    play.paste(&"x\n".repeat(1001));
    play.sees("Enter send 1001 messages");
    play.key(KeyCode::Esc);
    let mut play = talk(90, 16);
    play.press(KeyCode::Enter, KeyModifiers::ALT);
    play.sees("this server does not support messages of several lines");
    play.paste("one\ntwo");
    play.sees("Enter send 2 messages");
}

#[test]
fn any_line_of_a_server_is_bounded_and_safe_at_every_size() {
    let mut play = with_lines(90, 20);
    let long = "👍🏽".repeat(600);
    let many: Vec<String> = (0..200).map(|n| format!("{n}x*{}", u64::MAX)).collect();
    play.hear(&[
        "LIVE 104 2026-11-24T06:46:30.000Z @reply=104;lines=99999999999 MSG #lobby bob itself",
        "LIVE 105 2026-11-24T06:46:30.000Z @of=7;lines=0 MSG #lobby bob of nothing",
        "LIVE 106 2026-11-24T06:46:30.000Z @reply=9007199254740991;edited=x MSG #lobby bob later",
        &format!(
            "LIVE 107 2026-11-24T06:46:30.000Z @reacts={} MSG #lobby bob many",
            many.join(",")
        ),
        &format!("LIVE 108 2026-11-24T06:46:30.000Z REACT #lobby eve 104 {long}"),
        &format!("LIVE 109 2026-11-24T06:46:30.000Z EDIT #lobby bob 106 {long}\u{1b}]0;x\u{7}"),
        "LIVE 110 2026-11-24T06:46:30.000Z REACT #lobby eve 107 0x",
        "LIVE 111 2026-11-24T06:46:30.000Z UNREACT #lobby eve 9007199254740991 👍",
        "LIVE 112 2026-11-24T06:46:30.000Z @of=104 REMOVE #lobby bob 104",
    ]);
    for id in 200..900 {
        let line = format!(
            "LIVE {id} 2026-11-24T06:46:30.000Z @reply={} MSG #lobby bob x",
            id + 5000
        );
        play.hear(&[&line]);
    }
    // Only a few of the quoted messages are requested at once, each of them once.
    assert!(play.sent().len() <= 10);
    let room = play.app.room().unwrap();
    let most = room
        .entries()
        .map(|entry| entry.extras.reactions.len())
        .max();
    assert!(most <= Some(20), "{most:?}");
    let seen = play.seen();
    assert!(
        !seen
            .chars()
            .any(|c| c != '\n' && crate::protocol::text::is_unsafe(c)),
        "{seen:?}"
    );
    for columns in [1, 2, 5, 13, 40, 64, 200] {
        for rows in [1, 2, 3, 7, 30] {
            play.resize(columns, rows);
            play.seen();
            play.ctrl('r');
            for _ in 0..12 {
                play.key(KeyCode::Up);
                play.seen();
            }
            play.key(KeyCode::Enter);
            play.seen();
            play.key(KeyCode::Esc);
        }
    }
}

#[test]
fn reactions_to_a_text_of_several_lines_are_below_its_last_line() {
    let mut play = talk(90, 16);
    play.hear(&[
        "LIVE 104 2026-11-24T06:46:30.000Z @lines=3 MSG #lobby bob trace:",
        "LIVE 105 2026-11-24T06:46:30.000Z @of=104 MSG #lobby bob   line 1",
        "LIVE 106 2026-11-24T06:46:30.000Z @of=104 MSG #lobby bob   line 2",
        "LIVE 107 2026-11-24T06:46:31.000Z MSG #lobby eve ouch",
        "LIVE 108 2026-11-24T06:46:32.000Z REACT #lobby eve 104 👍",
        "LIVE 109 2026-11-24T06:46:32.000Z REACT #lobby eve 105 🎉",
    ]);
    let seen = play.seen();
    let at = |text: &str| seen.find(text).unwrap_or_else(|| panic!("{text}: {seen}"));
    let order = ["trace:", "line 1", "line 2", "👍", "🎉", "ouch"].map(at);
    assert!(order.is_sorted(), "{seen}");
}

#[test]
fn up_edits_a_text_of_several_lines_and_only_changed_lines_are_sent() {
    let mut play = with_lines(90, 16);
    play.paste("one\ntwo\nthree");
    play.key(KeyCode::Enter);
    play.sent();
    play.hear(&["OK TEXT 104 2026-11-24T06:46:30.000Z 3"]);
    play.key(KeyCode::Up);
    play.sees("ann edit › one");
    assert_eq!(play.line(), "one\ntwo\nthree");
    play.key(KeyCode::Up);
    play.enter("!");
    assert_eq!(play.sent(), ["EDIT 105 two!"]);
    play.hear(&["OK EDIT 107 2026-11-24T06:46:40.000Z"]);
    play.sees("two! (edited)");
    // A line that is missing cannot be deleted, so nothing is sent, and what was typed stays.
    play.key(KeyCode::Up);
    for _ in 0.."\nthree".len() {
        play.key(KeyCode::Backspace);
    }
    play.key(KeyCode::Enter);
    play.sees("this message has 3 lines; an edit can change them");
    play.sees("ann edit › one");
    assert_eq!(play.sent(), [""; 0]);
    play.key(KeyCode::Esc);
    assert_eq!(play.line(), "");
}
