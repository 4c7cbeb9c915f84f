//! What a registered user has read is shared with the user's other devices.

use jiff::SignedDuration;

use super::*;

const TIME: &str = "2026-11-24T06:46:00.000Z";

/// Returns the screen of ann in `#lobby`, with `#ops` in the list. She has read `#ops` up to 200. The server has
/// `readers`.
fn opened(kind: &str, readers: &[&str]) -> TestScreen {
    let mut play = TestScreen::unconnected(60, 12);
    play.state = ClientState::new(Options::new("ann").room("#lobby").room("#ops"), 1);
    play.app.restore(&SavedRoom {
        name: "#ops".into(),
        seen: 200,
        ..SavedRoom::default()
    });
    play.app.show_first(Some("#lobby".into()));
    play.state.connected();
    let past = |id| format!("PAST {id} {TIME} MSG #ops bob number {id}");
    loop {
        let asked = play.sent();
        if asked.is_empty() {
            break;
        }
        for ask in asked {
            let (verb, rest) = ask.split_once(' ').unwrap_or((&ask, ""));
            match (verb, rest) {
                ("HELLO", _) => play.hear(&["OK HELLO 1 chat accounts tags"]),
                ("NICK", _) => play.hear(&["OK NICK ann #lobby 100"]),
                ("JOIN", "#ops") => play.hear(&["OK JOIN #ops 202"]),
                ("JOIN", _) => play.hear(&["OK JOIN #lobby 100"]),
                ("TOPIC", room) => play.hear(&[&format!("OK TOPIC {room}")]),
                ("HISTORY", "#ops 200 before 203") => {
                    play.hear(&[&past(201), &past(202), "OK HISTORY 2"]);
                }
                ("WHOIS", "ann") => play.hear(&[&format!("OK WHOIS ann {kind} online")]),
                ("READERS", _) => {
                    play.hear(readers);
                    play.hear(&["OK READERS 1"]);
                }
                _ => play.hear(&[&format!("OK {verb} 0")]),
            }
        }
    }
    play
}

/// Returns the number of unread messages in `#ops`.
fn unread(play: &TestScreen) -> usize {
    let mut rooms = play.app.rooms.iter();
    rooms
        .find(|room| room.name == "#ops")
        .expect("it is there")
        .unread
}

/// Returns what is sent when some time has passed.
fn shared_after(play: &mut TestScreen, ms: i64) -> Vec<String> {
    play.app.now += SignedDuration::from_millis(ms);
    play.app.share_read(&mut play.state);
    play.sent()
}

#[test]
fn what_was_read_on_another_device_is_not_unread_here() {
    assert_eq!(unread(&opened("registered", &[])), 2);
    let mut play = opened(
        "registered",
        &["READER #ops me 201", "READER #ops hourly 202"],
    );
    assert_eq!(unread(&play), 1);
    play.hear(&[&format!("LIVE 203 {TIME} MSG #ops bob more")]);
    assert_eq!(unread(&play), 2);
    play.hear(&[&format!("LIVE - {TIME} SEEN #ops ann 203 hourly")]);
    play.hear(&[&format!("LIVE - {TIME} SEEN #ops ann 202 me")]);
    assert_eq!(unread(&play), 1);
    play.hear(&[&format!("LIVE - {TIME} SEEN #ops ann 203 me")]);
    assert_eq!(unread(&play), 0);
    assert_eq!(unread(&opened("guest", &["READER #ops me 201"])), 2);
}

#[test]
fn what_is_read_here_is_told_to_the_server_at_most_once_a_second() {
    let mut play = opened("registered", &["READER #lobby me 100"]);
    assert_eq!(shared_after(&mut play, 0), [""; 0]);
    for id in 301..=303 {
        play.hear(&[&format!("LIVE {id} {TIME} MSG #lobby bob hello")]);
    }
    assert_eq!(shared_after(&mut play, 0), ["SEEN #lobby 303 AS me"]);
    play.hear(&["OK SEEN #lobby 303"]);
    play.hear(&[&format!("LIVE 304 {TIME} MSG #lobby bob hello")]);
    assert_eq!(shared_after(&mut play, 900), [""; 0]);
    // Another room is shown: what was read before is still told.
    let ops = play.app.rooms.iter().position(|room| room.name == "#ops");
    play.app.go(ops.expect("it is there"));
    play.hear(&[&format!("LIVE 305 {TIME} MSG #lobby bob unread")]);
    assert!(play.app.has_unshared());
    let mut sent = shared_after(&mut play, 100);
    sent.sort();
    assert_eq!(sent, ["SEEN #lobby 304 AS me", "SEEN #ops 202 AS me"]);
    play.hear(&["OK SEEN #lobby 304", "OK SEEN #ops 202"]);
    assert!(!play.app.has_unshared());
    // Without the focus, nothing is read.
    play.app.focus(false);
    play.hear(&[&format!("LIVE 306 {TIME} MSG #ops bob unread")]);
    assert_eq!(shared_after(&mut play, 5000), [""; 0]);
    assert_eq!(unread(&play), 1);
    play.app.focus(true);
    assert_eq!(shared_after(&mut play, 5000), ["SEEN #ops 306 AS me"]);
}

#[test]
fn nothing_is_told_for_a_nick_that_is_not_registered_or_after_a_refusal() {
    let mut play = opened("guest", &[]);
    play.hear(&[&format!("LIVE 301 {TIME} MSG #lobby bob hello")]);
    assert_eq!(shared_after(&mut play, 5000), [""; 0]);
    let mut play = opened("registered", &[]);
    assert_eq!(shared_after(&mut play, 0), ["SEEN #lobby 100 AS me"]);
    play.hear(&["ERR SEEN quota there are too many readers"]);
    play.hear(&[&format!("LIVE 301 {TIME} MSG #lobby bob hello")]);
    assert_eq!(shared_after(&mut play, 5000), [""; 0]);
    play.sees_not("too many readers");
}
