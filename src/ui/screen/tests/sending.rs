//! Tests of sent messages: refused, stored, deleted.

use super::*;

#[test]
fn a_sent_message_is_shown_at_once_and_moves_to_its_place_in_the_log() {
    let mut play = TestScreen::new(80, 10);
    play.enter("hello");
    assert_eq!(play.sent(), ["TELL #lobby hello"]);
    play.sees("… │ hello");
    play.sees("sending 1");
    play.bob_sends(101, "before you");
    play.hear(&["OK TELL 102 2026-11-24T06:47:00.000Z"]);
    play.sees("ann │ hello");
    play.sees_not("…");
    let seen = play.seen();
    assert!(seen.find("before you") < seen.find("ann │ hello"), "{seen}");
}

#[test]
fn a_refusal_is_shown_and_the_text_can_be_sent_again() {
    let mut play = TestScreen::new(80, 10);
    play.enter("hello");
    play.hear(&["ERR TELL quota the disk is full"]);
    play.sees("not sent: hello (the disk is full)");
    play.key(KeyCode::Up);
    assert_eq!(play.line(), "hello");
}

#[test]
fn a_refused_message_returns_to_the_input_of_its_room() {
    let mut play = TestScreen::new(80, 10);
    play.enter("hello");
    play.enter("/query bob");
    play.hear(&["ERR TELL quota the disk is full"]);
    play.sees_not("not sent");
    play.press(KeyCode::Char('1'), KeyModifiers::ALT);
    play.sees("not sent: hello (the disk is full)");
}

#[test]
fn unsent_messages_are_reported_at_the_end_and_sent_in_the_next_run() {
    let mut play = TestScreen::new(80, 10);
    play.lost();
    play.enter("kept");
    play.ctrl('d');
    play.sees("one message has not been sent yet; to leave anyway, do that again");
    assert!(play.effects().is_empty());
    play.ctrl('d');
    assert!(matches!(play.effects()[..], [Effect::End(None)]));
    let saved = play.app.saved().expect("it was there");
    assert_eq!(saved.rooms[0].unconfirmed, ["kept"]);

    let mut play = TestScreen::new(80, 10);
    play.app.restore(&saved.rooms[0]);
    play.sees("not confirmed when you left: kept");
    play.key(KeyCode::Up);
    assert_eq!(play.line(), "kept");
}

#[test]
fn lines_that_exceed_the_queue_are_offered_again() {
    let mut play = TestScreen::new(80, 24);
    play.lost();
    let text: String = (1..=1500).map(|n| format!("line {n}\n")).collect();
    play.paste(&text);
    play.sees("you pasted 1500 lines");
    play.key(KeyCode::Enter);
    let waiting = play.app.unconfirmed();
    play.sees(&format!("you pasted {} lines", 1500 - waiting));
    play.sees(&format!("  line {}\n", waiting + 1));
    play.key(KeyCode::Esc);
    // A line that is typed while the queue is full is not lost either.
    play.enter("one more");
    assert_eq!(play.line(), "one more");
}

#[test]
fn a_lost_connection_is_shown_and_what_is_typed_meanwhile_is_kept_and_sent_once() {
    let mut play = TestScreen::new(90, 12);
    play.enter("one");
    play.lost();
    play.enter("two");
    play.sees("○ offline – 2 unsent messages – retrying in 1 s");
    play.sees("connection was lost");
    play.connects(&[
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
        ["TELL #lobby one", "TELL #lobby two"]
    );
    play.sees("bob │ missed");
    play.sees("sending 2");
    // The server had already received the first message.
    play.hear(&[
        "OK TELL 101 2026-11-24T06:47:00.000Z",
        "OK TELL 103 2026-11-24T06:47:02.000Z",
    ]);
    play.sees("ann │ one");
    play.sees("ann │ two");
    let seen = play.seen();
    assert_eq!(seen.matches("one").count(), 1, "{seen}");
}

#[test]
fn pasting_many_lines_opens_the_dialog() {
    let mut play = TestScreen::new(80, 12);
    play.paste("one\ntwo\n\nthree\n");
    play.sees("Enter send 3 messages");
    play.sees("Esc discard it");
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
fn a_deleted_message_disappears() {
    let mut play = TestScreen::new(80, 12);
    play.bob_sends(101, "a secret");
    play.hear(&["LIVE 102 2026-11-24T06:46:30.000Z REMOVE #lobby bob 101"]);
    play.sees("(deleted)");
    play.sees_not("a secret");
    play.enter("mine");
    play.hear(&["OK TELL 103 2026-11-24T06:47:00.000Z"]);
    play.sent();
    play.enter("/remove");
    assert_eq!(play.sent(), ["REMOVE 103"]);
    play.hear(&["OK REMOVE 103"]);
    play.sees_not("mine");
}

#[test]
fn direct_messages_are_in_the_chat_with_the_other_person() {
    let mut play = TestScreen::new(80, 12);
    play.enter("/msg bob psst");
    assert_eq!(play.sent(), ["TELL bob psst"]);
    play.hear(&["OK TELL - 2026-11-24T06:47:00.000Z"]);
    play.sees("ann │ psst");
    play.hear(&["LIVE - 2026-11-24T06:47:01.000Z MSG ann bob what?"]);
    play.sees("bob │ what?");
    play.enter("nothing");
    assert_eq!(play.sent(), ["TELL bob nothing"]);
    play.hear(&["ERR TELL no-such-nick nobody uses the nick bob"]);
    play.sees("not sent: nothing (nobody uses the nick");
}

#[test]
fn what_one_sends_on_another_device_is_in_the_private_chat_too() {
    let mut play = TestScreen::new(80, 12);
    play.hear(&[
        "LIVE 101 2026-11-24T06:47:00.000Z MSG bob ann from my phone",
        "LIVE 102 2026-11-24T06:47:01.000Z FILE bob ann 102 5 a.txt",
        "LIVE 103 2026-11-24T06:47:02.000Z EDIT bob ann 101 from my old phone",
    ]);
    assert_eq!(play.app.rooms.len(), 2);
    assert_eq!(play.app.rooms[1].news(), (0, 0));
    assert!(play.effects().is_empty(), "no bell");
    play.enter("/query bob");
    play.sees("ann │ from my old phone");
    play.sees("▤ a.txt");
    // A file that this client has sent by a connection of its own is shown once.
    let stored = crate::client::Stored {
        file: 104,
        length: 5,
        sha256: crate::protocol::Digest::parse(&"0".repeat(64)).unwrap(),
    };
    play.hear(&["LIVE 104 2026-11-24T06:47:03.000Z FILE bob ann 104 5 b.txt"]);
    play.app.sent_file("bob", &stored, "b.txt", &mut play.state);
    assert_eq!(play.seen().matches("b.txt").count(), 1, "{}", play.seen());
    play.hear(&["LIVE 105 2026-11-24T06:47:04.000Z REMOVE bob ann 104"]);
    play.sees_not("b.txt");
}

#[test]
fn a_private_chat_goes_on_under_the_new_nick_of_the_other_person() {
    let mut play = TestScreen::new(80, 12);
    play.hear(&["LIVE - 2026-11-24T06:47:01.000Z MSG ann bob lunch?"]);
    play.hear(&["LIVE - 2026-11-24T06:47:02.000Z NICK #lobby bob rob"]);
    play.enter("/query rob");
    play.sees("bob │ lunch?");
    play.enter("yes");
    assert_eq!(play.sent(), ["TELL rob yes"]);
    play.hear(&["OK TELL - 2026-11-24T06:47:03.000Z"]);
    // Two chats do not become one.
    play.hear(&["LIVE - 2026-11-24T06:47:04.000Z MSG ann eve me too"]);
    play.hear(&["LIVE - 2026-11-24T06:47:05.000Z NICK #lobby rob rob2"]);
    play.hear(&["LIVE - 2026-11-24T06:47:06.000Z MSG ann rob hello"]);
    play.hear(&["LIVE - 2026-11-24T06:47:07.000Z NICK #lobby rob2 rob"]);
    let names: Vec<&str> = play.app.rooms.iter().map(|room| &room.name[..]).collect();
    assert_eq!(names, ["#lobby", "rob2", "eve", "rob"]);
}

/// A direct message between registered nicks has an id. The reply to one may arrive after a message that was
/// sent later, and neither is lost.
#[test]
fn saved_direct_messages_arrive_in_any_order_and_can_be_deleted() {
    let mut play = TestScreen::new(80, 12);
    play.enter("/msg bob psst");
    play.hear(&["LIVE 8 2026-11-24T06:47:01.000Z MSG ann bob what?"]);
    play.hear(&["OK TELL 7 2026-11-24T06:47:00.000Z"]);
    play.sees("bob │ what?");
    play.sees("ann │ psst");
    let talks = play.app.rooms.len();
    play.hear(&["LIVE 9 2026-11-24T06:47:02.000Z REMOVE ann root 8"]);
    assert_eq!(
        play.app.rooms.len(),
        talks,
        "an operator opens no conversation"
    );
    assert!(!play.app.rooms[talks - 1].has(9));
    play.sees("ann │ psst");
}

#[test]
fn leaving_waits_for_unsent_messages_unless_requested_twice() {
    let mut play = TestScreen::new(80, 12);
    play.ctrl('c');
    play.sees("press Ctrl-C again to leave");
    play.ctrl('c');
    assert_eq!(play.sent(), ["BYE"]);
    assert!(play.effects().is_empty());
    play.ctrl('c');
    assert!(matches!(play.effects()[..], [Effect::End(None)]));

    let mut play = TestScreen::new(80, 12);
    play.type_in("text");
    play.ctrl('d');
    assert_eq!(play.sent(), [""; 0]);
    play.ctrl('c');
    assert_eq!(play.line(), "");
    play.key(KeyCode::Up);
    assert_eq!(play.line(), "text", "what was dropped can be had again");
}
