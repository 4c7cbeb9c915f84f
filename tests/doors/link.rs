//! protocol.md 10.3, 10.4: staying connected.
//!
//! The actions of [`ClientState`] depend only on its input and on the time that is passed to it. So it can be tested
//! with a vector in place of a server, and with a network that breaks at any point.

use std::collections::HashMap;
use std::time::Duration;

use plainchat::client::{
    ClientState, Error, InvalidRequest, Line, Login, Message, Options, Update,
};
use plainchat::protocol::{Event, Time, tags};

const NOW: Duration = Duration::from_secs(1000);

fn options(rooms: &[(&str, Option<u64>)]) -> Options {
    Options {
        rooms: rooms.iter().map(|(r, id)| (r.to_string(), *id)).collect(),
        ..Options::new(Login::new("ann").password("secret"))
    }
}

fn cut() -> Error {
    Error::Lost(std::io::ErrorKind::ConnectionReset.into())
}

/// Returns what the state has sent since the last call.
fn sent(state: &mut ClientState) -> Vec<String> {
    let bytes = std::mem::take(state.output());
    let text = String::from_utf8(bytes).expect("UTF-8");
    text.lines().map(str::to_owned).collect()
}

/// Passes `lines` to the state, and returns its updates, each as one or two words.
fn hear(state: &mut ClientState, lines: &[&str]) -> Vec<String> {
    for line in lines {
        state
            .receive(Line::from(line.to_string()))
            .expect("it is the protocol");
    }
    updates(state)
}

fn updates(state: &mut ClientState) -> Vec<String> {
    let mut updates = Vec::new();
    while let Some(update) = state.next_update() {
        updates.push(match update {
            Update::Connected { nick, is_reconnect } => {
                format!("here {} {is_reconnect}", nick.unwrap_or_default())
            }
            Update::Disconnected { .. } => "away".into(),
            Update::Ended(error) => format!("over {error}"),
            Update::Joined { room, last_id, .. } => format!("entered {room} {last_id}"),
            Update::JoinFailed {
                room, is_permanent, ..
            } => {
                let how = if is_permanent { " for good" } else { "" };
                format!("kept out of {room}{how}")
            }
            Update::Left { room } => format!("left {room}"),
            Update::Renamed { nick } => format!("renamed {nick}"),
            Update::Event { event, .. } => event.to_string(),
            Update::Gap { place } => format!("gap {place}"),
            Update::Sent { event, sent, .. } => {
                let id = sent.id.map_or(0, |id| id.get());
                format!(
                    "sent {id} {}",
                    event.map_or(String::new(), |e| e.to_string())
                )
            }
            Update::Answer { result, .. } => match result {
                Ok(reply) => format!("answer {} {}", reply.lines.len(), reply.rest),
                Err(error) => format!("refused {error}"),
            },
            _ => unreachable!("a new kind of update"),
        });
    }
    updates
}

/// Returns the state of a client in `#a`, which has seen events up to 5.
fn in_a() -> ClientState {
    let mut state = ClientState::new(options(&[("#a", None)]), 1);
    state.connected();
    assert_eq!(
        sent(&mut state),
        ["HELLO", "STAMPS on", "TAGS on", "NICK ann secret"]
    );
    let updates = hear(
        &mut state,
        &[HELLO, "OK STAMPS on", "OK TAGS on", "OK NICK ann #lobby 9"],
    );
    assert!(updates.is_empty(), "{updates:?}");
    assert_eq!(sent(&mut state), ["JOIN #a"]);
    let updates = hear(&mut state, &[LOBBY, "OK JOIN #a 5", LOBBY]);
    assert_eq!(updates, ["entered #a 5", "here ann false"]);
    assert_eq!(sent(&mut state), ["PART #lobby"]);
    let updates = hear(&mut state, &[LOBBY, "OK PART #lobby"]);
    assert!(
        updates.is_empty(),
        "the lobby is of no concern to who wants #a: {updates:?}"
    );
    state
}

#[test]
fn the_server_password_is_sent_on_each_connection_and_a_wrong_one_is_final() {
    let options = || Options {
        server_password: Some("open sesame".into()),
        ..options(&[("#a", None)])
    };
    let way_in = [
        "PASS open sesame",
        "HELLO",
        "STAMPS on",
        "TAGS on",
        "NICK ann secret",
    ];
    let mut state = ClientState::new(options(), 1);
    state.connected();
    assert_eq!(sent(&mut state), way_in);
    let lines = [
        "OK PASS",
        HELLO,
        "OK STAMPS on",
        "OK TAGS on",
        "OK NICK ann #lobby 5",
        "OK JOIN #a 5",
    ];
    assert_eq!(hear(&mut state, &lines), ["entered #a 5", "here ann false"]);
    state.disconnected(cut(), NOW);
    updates(&mut state);
    state.connected();
    assert_eq!(sent(&mut state)[0], "PASS open sesame");

    // Without it the nick's own password is tried, but not as a guess.
    let mut state = ClientState::new(self::options(&[]), 1);
    state.connected();
    let lines = [
        HELLO,
        "ERR STAMPS need-password shut",
        "ERR TAGS need-password shut",
        "ERR NICK bad-password no",
    ];
    assert_eq!(hear(&mut state, &lines), ["over shut (need-password)"]);

    // The password of a registered nick opens the server too: then everything that was refused before it is
    // requested again.
    let mut state = in_a();
    state.disconnected(cut(), NOW);
    state.connected();
    updates(&mut state);
    assert_eq!(
        sent(&mut state),
        [
            "HELLO",
            "STAMPS on",
            "TAGS on",
            "JOIN #a 5",
            "NICK ann secret"
        ]
    );
    let lines = [
        HELLO,
        "ERR STAMPS need-password shut",
        "ERR TAGS need-password shut",
        "ERR JOIN need-password shut",
        "OK NICK ann #lobby 9",
    ];
    assert!(hear(&mut state, &lines).is_empty());
    assert_eq!(sent(&mut state), ["STAMPS on", "TAGS on", "JOIN #a 5"]);
    let lines = ["OK STAMPS on", "OK TAGS on", "OK JOIN #a 5"];
    assert_eq!(hear(&mut state, &lines), ["entered #a 5", "here ann true"]);

    let mut state = ClientState::new(options(), 1);
    state.connected();
    let updates = hear(&mut state, &["ERR PASS bad-password no"]);
    assert_eq!(updates, ["over no (bad-password)"]);
    assert!(state.is_ended());
}

/// The capabilities of the server.
const HELLO: &str = "OK HELLO 1 chat edit nonce reply tags";

/// A message of somebody else in the lobby.
const LOBBY: &str = "LIVE 9 2026-11-24T00:00:00.000Z MSG #lobby eve hi";

const T: &str = "2026-11-24T00:00:00.000Z";

/// Returns the nonce of a line, and the line without it.
fn nonce(line: &str) -> (String, String) {
    let rest = line
        .strip_prefix("@nonce=")
        .unwrap_or_else(|| panic!("a nonce in {line:?}"));
    let (nonce, line) = rest.split_once(' ').expect("a request");
    (nonce.to_owned(), line.to_owned())
}

#[test]
fn a_line_whose_reply_was_lost_is_sent_again_with_the_same_nonce() {
    let mut state = in_a();
    state.say("#a", "same").unwrap();
    state.say("#a", "same").unwrap();
    let first: Vec<_> = sent(&mut state).iter().map(|line| nonce(line)).collect();
    assert_eq!(first[0].1, "TELL #a same");
    assert_ne!(
        first[0].0, first[1].0,
        "two messages of the same words are two messages"
    );
    state.disconnected(cut(), NOW);
    state.say("#a", "three").unwrap();
    assert_eq!(updates(&mut state), ["away"]);
    state.connected();
    assert_eq!(
        sent(&mut state),
        [
            "HELLO",
            "STAMPS on",
            "TAGS on",
            "JOIN #a 5",
            "NICK ann secret"
        ]
    );
    let updates = hear(
        &mut state,
        &[
            HELLO,
            "OK STAMPS on",
            "OK TAGS on",
            &format!("PAST 6 {T} MSG #a bob meanwhile"),
            &format!("PAST 7 {T} MSG #a ann same"),
            "OK JOIN #a 7",
            "OK NICK ann #a 7",
        ],
    );
    let expected = [
        "MSG #a bob meanwhile",
        "MSG #a ann same",
        "entered #a 7",
        "here ann true",
    ];
    assert_eq!(updates, expected);
    let again: Vec<_> = sent(&mut state).iter().map(|line| nonce(line)).collect();
    assert_eq!(again[..2], first[..]);
    assert_eq!(again[2].1, "TELL #a three");
    let answers = [7, 8, 9].map(|id| format!("OK TELL {id} {T}"));
    let updates = hear(&mut state, &[&answers[0], &answers[1], &answers[2]]);
    // The first one was replayed above, so it is not reported again.
    assert_eq!(
        updates,
        [
            "sent 7 ",
            "sent 8 MSG #a ann same",
            "sent 9 MSG #a ann three"
        ]
    );
    assert_eq!(state.pending(), 0);
}

#[test]
fn no_nonces_or_tags_are_sent_to_a_server_without_them() {
    for (hello, expected) in [
        ("OK HELLO 1 chat edit nonce reply tags", "@reply=3;nonce="),
        ("OK HELLO 1 chat reply tags", "@reply=3 TELL"),
        ("OK HELLO 1 chat", "TELL #a yes"),
        ("ERR HELLO unknown-verb what?", "TELL #a yes"),
    ] {
        let mut state = ClientState::new(options(&[("#a", Some(5))]), 1);
        state.connected();
        sent(&mut state);
        let lines = [
            hello,
            "OK STAMPS on",
            "OK TAGS on",
            "OK JOIN #a 5",
            "OK NICK ann #a 5",
        ];
        hear(&mut state, &lines);
        assert_eq!(state.server().has("tags"), hello.contains("tags"));
        state
            .send_message("#a", Message::new("yes").reply_to(3))
            .unwrap();
        let line = sent(&mut state).remove(0);
        assert!(
            line.starts_with(expected) && line.ends_with("TELL #a yes"),
            "{line}"
        );
    }
}

#[test]
fn a_line_that_is_nearly_full_is_sent_without_a_nonce() {
    let mut state = in_a();
    let text = "x".repeat(4095 - "TELL #a ".len());
    state.say("#a", &text).unwrap();
    assert_eq!(sent(&mut state), [format!("TELL #a {text}")]);
    let text = &text[..4000];
    state.say("#a", text).unwrap();
    let (_, line) = nonce(&sent(&mut state)[0]);
    assert_eq!(line, format!("TELL #a {text}"));
}

#[test]
fn several_lines_are_one_request_and_take_as_many_ids() {
    let mut state = ClientState::new(options(&[("#a", Some(5))]), 1);
    state.connected();
    sent(&mut state);
    let hello = "OK HELLO 1 chat multiline nonce tags";
    let lines = [
        hello,
        "OK STAMPS on",
        "OK TAGS on",
        "OK JOIN #a 5",
        "OK NICK ann #a 5",
    ];
    hear(&mut state, &lines);
    state
        .send_message("#a", "one\r\n\n  two\u{1b}[31m")
        .unwrap();
    let first = sent(&mut state);
    assert_eq!(nonce(&first[0]).1, "TEXT 10 #a");
    assert_eq!(first[1..], ["one", "", "  two"]);
    // All of it is sent again.
    state.disconnected(cut(), NOW);
    state.connected();
    sent(&mut state);
    updates(&mut state);
    hear(&mut state, &lines);
    assert_eq!(sent(&mut state), first);
    let updates = hear(&mut state, &[&format!("OK TEXT 6 {T} 3")]);
    assert_eq!(updates, ["sent 6 MSG #a ann one\n\n  two"]);
    assert_eq!(state.rooms().next(), Some(("#a", Some(8))));

    // A single line is not such a text, with or without its line end.
    let mut state = in_a();
    state.say("#a", "hello\r\n").unwrap();
    assert_eq!(nonce(&sent(&mut state)[0]).1, "TELL #a hello");
    // The new text of an edited message is one line.
    let error = state.edit(5, "one\ntwo").unwrap_err();
    assert!(matches!(error, Error::Invalid(InvalidRequest::LineBreak)));
    assert!(sent(&mut state).is_empty());

    // On a server without `multiline` nothing is sent, whenever the client learns that.
    let mut state = ClientState::new(options(&[("#a", Some(5))]), 1);
    state.send_message("#a", "one\nBYE").unwrap();
    state.connected();
    sent(&mut state);
    let updates = hear(
        &mut state,
        &[
            HELLO,
            "OK STAMPS on",
            "OK TAGS on",
            "OK JOIN #a 5",
            "OK NICK ann #a 5",
        ],
    );
    assert!(
        updates
            .iter()
            .any(|updates| updates.starts_with("refused a line break")),
        "{updates:?}"
    );
    assert!(sent(&mut state).is_empty());
    assert!(state.send_message("#a", "one\nBYE").is_err());
    assert_eq!(state.pending(), 0);
}

#[test]
fn an_invalid_tag_is_not_sent() {
    let mut state = in_a();
    let bad = Message::new("x").tag("severity", "high");
    let error = state.send_message("#a", bad).unwrap_err();
    assert!(matches!(error, Error::Invalid(InvalidRequest::BadTag)));
    assert_eq!((sent(&mut state), state.pending()), (vec![], 0));
    let good = Message::new("x").tag("x-severity", "very high");
    state.send_message("#a", good).unwrap();
    let line = sent(&mut state).remove(0);
    assert!(line.starts_with("@x-severity=very%20high;nonce="), "{line}");
}

#[test]
fn tags_come_with_events_and_answers() {
    let mut state = in_a();
    state
        .send_message("#a", Message::new("on it").reply_to(3))
        .unwrap();
    let lines = [
        format!("LIVE 6 {T} @reply=5;x-run=1%202 MSG #a bob hi"),
        format!("OK TELL 7 {T}"),
    ];
    for line in lines {
        state.receive(Line::from(line)).unwrap();
    }
    let Some(Update::Event { tags, .. }) = state.next_update() else {
        panic!("an event")
    };
    assert_eq!(tags.reply().map(|id| id.get()), Some(5));
    assert_eq!(tags.get("x-run").as_deref(), Some("1 2"));
    let Some(Update::Sent { tags, .. }) = state.next_update() else {
        panic!("an answer")
    };
    assert_eq!((tags.as_str(), tags.get("nonce")), ("reply=3", None));
}

#[test]
fn a_bot_sends_notices_and_reads_them_only_if_it_wants() {
    let notice = format!("LIVE 6 {T} @notice MSG #a other hi");
    let line = format!("LIVE 7 {T} MSG #a bob hi");
    // Another connection of the nick has sent this.
    let own = format!("LIVE 8 {T} MSG bob ann roll");
    for (options, expected) in [
        (options(&[("#a", Some(5))]).bot(), &["MSG #a bob hi"][..]),
        (
            options(&[("#a", Some(5))]).bot().read_notices(),
            &["MSG #a other hi", "MSG #a bob hi"],
        ),
        (
            options(&[("#a", Some(5))]),
            &["MSG #a other hi", "MSG #a bob hi", "MSG bob ann roll"],
        ),
    ] {
        let is_bot = options.is_bot;
        let mut state = ClientState::new(options, 1);
        state.connected();
        sent(&mut state);
        let lines = [
            HELLO,
            "OK STAMPS on",
            "OK TAGS on",
            "OK JOIN #a 5",
            "OK NICK ann #a 5",
        ];
        hear(&mut state, &lines);
        assert_eq!(hear(&mut state, &[&notice, &line, &own]), expected);
        state.say("#a", "hi").unwrap();
        state.act("#a", "waves").unwrap();
        let marked = sent(&mut state)
            .into_iter()
            .filter(|line| line.starts_with("@notice;"));
        assert_eq!(marked.count(), if is_bot { 2 } else { 0 });
        assert_eq!(
            state.rooms().next(),
            Some(("#a", Some(7))),
            "notices are not missing later"
        );
    }
}

#[test]
fn every_room_is_entered_after_the_last_id_seen_there() {
    let mut state = in_a();
    state.join("b").unwrap();
    let lines = [
        "OK JOIN #b 0",
        &format!("LIVE 6 {T} MSG #b bob x"),
        &format!("LIVE - {T} JOIN #a eve"),
    ];
    assert_eq!(
        hear(&mut state, &lines),
        [
            "entered #b 0",
            "answer 0 #b 0",
            "MSG #b bob x",
            "JOIN #a eve"
        ]
    );
    state.say("#a", "mine").unwrap();
    hear(&mut state, &[&format!("OK TELL 7 {T}")]);
    sent(&mut state);
    state.disconnected(cut(), NOW);
    state.connected();
    assert_eq!(
        sent(&mut state),
        [
            "HELLO",
            "STAMPS on",
            "TAGS on",
            "JOIN #a 7",
            "JOIN #b 6",
            "NICK ann secret"
        ]
    );
    state.disconnected(cut(), NOW);
    state.connected();
    sent(&mut state);
    hear(
        &mut state,
        &[
            HELLO,
            "OK STAMPS on",
            "OK TAGS on",
            "OK JOIN #a 7",
            "ERR JOIN bad-name no",
            "OK NICK ann #a 7",
            "ERR JOIN bad-name no",
        ],
    );
    assert_eq!(state.rooms().collect::<Vec<_>>(), [("#a", Some(7))]);
}

/// Returns the state and its updates on a second connection, whose `JOIN`s were answered with `replies`.
fn rooms_after(replies: &[&str]) -> (ClientState, Vec<String>) {
    let mut state = in_a();
    state.disconnected(cut(), NOW);
    state.connected();
    updates(&mut state);
    sent(&mut state);
    let updates = hear(&mut state, replies);
    (state, updates)
}

#[test]
fn an_invite_only_room_is_joined_after_the_nick_and_without_a_gap() {
    let replies = [
        HELLO,
        "OK STAMPS on",
        "OK TAGS on",
        "ERR JOIN not-allowed closed",
        "OK NICK ann #lobby 9",
    ];
    let (mut state, updates) = rooms_after(&replies);
    assert!(updates.is_empty(), "{updates:?}");
    assert_eq!(sent(&mut state), ["JOIN #a 5"]);
    let past = format!("PAST 6 {T} MSG #a bob meanwhile");
    let updates = hear(&mut state, &[LOBBY, &past, "OK JOIN #a 6"]);
    assert_eq!(
        updates,
        ["MSG #a bob meanwhile", "entered #a 6", "here ann true"]
    );
    assert_eq!(sent(&mut state), ["PART #lobby"]);
}

#[test]
fn a_client_whose_only_room_refuses_is_in_no_other_room() {
    let begin = [
        HELLO,
        "OK STAMPS on",
        "OK TAGS on",
        "ERR JOIN not-allowed closed",
        "OK NICK ann",
    ];
    let (mut state, _) = rooms_after(&begin);
    let updates = hear(&mut state, &["ERR JOIN not-allowed closed"]);
    assert_eq!(updates, ["kept out of #a for good", "here ann true"]);
    assert_eq!(state.rooms().count(), 0);
    sent(&mut state);
    state.join("#lobby").unwrap();
    assert_eq!(sent(&mut state), ["JOIN #lobby"]);
    let updates = hear(&mut state, &["OK JOIN #lobby 9"]);
    assert_eq!(updates[0], "entered #lobby 9");
}

#[test]
fn a_room_that_always_refuses_is_dropped_and_others_are_resumed() {
    let begin = [
        HELLO,
        "OK STAMPS on",
        "OK TAGS on",
        "ERR JOIN not-allowed closed",
        "OK NICK ann #lobby 9",
    ];
    let (mut state, _) = rooms_after(&begin);
    let updates = hear(&mut state, &["ERR JOIN not-allowed closed"]);
    assert_eq!(
        updates,
        [
            "kept out of #a for good",
            "entered #lobby 9",
            "here ann true"
        ]
    );

    let (mut state, _) = rooms_after(&begin);
    let updates = hear(&mut state, &["ERR JOIN internal the disk"]);
    assert_eq!(updates[0], "kept out of #a");
    assert_eq!(
        state.rooms().collect::<Vec<_>>(),
        [("#a", Some(5)), ("#lobby", Some(9))]
    );
    sent(&mut state);
    state.join("#a").unwrap();
    assert_eq!(sent(&mut state), ["JOIN #a 5"]);
    let past = format!("PAST 6 {T} MSG #a bob meanwhile");
    let updates = hear(&mut state, &[&past, "OK JOIN #a 6"]);
    assert_eq!(
        updates,
        ["MSG #a bob meanwhile", "entered #a 6", "answer 0 #a 6"]
    );
}

/// After the first `JOIN` was refused, the nick enters the lobby automatically. Live events that arrive before the
/// second `JOIN`, which has the last id, come again in its replay.
#[test]
fn events_before_a_room_is_joined_from_an_id_arrive_once() {
    let mut state = ClientState::new(options(&[]), 1);
    state.connected();
    let lines = [HELLO, "OK STAMPS on", "OK TAGS on", "OK NICK ann #lobby 5"];
    assert_eq!(
        hear(&mut state, &lines),
        ["entered #lobby 5", "here ann false"]
    );
    state.disconnected(cut(), NOW);
    state.connected();
    updates(&mut state);
    let updates = hear(
        &mut state,
        &[
            HELLO,
            "OK STAMPS on",
            "OK TAGS on",
            "ERR JOIN busy later",
            "OK NICK ann #lobby 8",
            LOBBY,
            &format!("PAST 6 {T} MSG #lobby bob six"),
            &format!("PAST 9 {T} MSG #lobby eve hi"),
            "OK JOIN #lobby 9",
        ],
    );
    assert_eq!(
        updates,
        [
            "MSG #lobby bob six",
            "MSG #lobby eve hi",
            "entered #lobby 9",
            "here ann true"
        ]
    );
}

#[test]
fn after_a_server_lost_its_log_the_client_continues_with_its_new_ids() {
    let mut state = in_a();
    state.disconnected(cut(), NOW);
    state.connected();
    hear(
        &mut state,
        &[
            HELLO,
            "OK STAMPS on",
            "OK TAGS on",
            "OK JOIN #a 2",
            "OK NICK ann #a 2",
        ],
    );
    assert_eq!(
        hear(&mut state, &[&format!("LIVE 3 {T} MSG #a bob new")]),
        ["MSG #a bob new"]
    );
}

#[test]
fn an_action_is_sent_to_its_room_once() {
    let mut state = in_a();
    assert!(state.act("#b", "waves").is_err());
    state.act("#a", "waves").unwrap();
    let first = sent(&mut state);
    assert_eq!(first[0], "JOIN #a");
    assert_eq!(nonce(&first[1]).1, "ME waves");
    state.disconnected(cut(), NOW);
    state.connected();
    sent(&mut state);
    let past = format!("PAST 6 {T} ME #a ann waves");
    hear(
        &mut state,
        &[
            HELLO,
            "OK STAMPS on",
            "OK TAGS on",
            &past,
            "OK JOIN #a 6",
            "OK NICK ann #a 6",
        ],
    );
    assert_eq!(sent(&mut state), first);
    let updates = hear(&mut state, &["OK JOIN #a 6", &format!("OK ME 6 {T}")]);
    assert_eq!((&updates[0][..], state.pending()), ("sent 6 ", 0));
}

#[test]
fn a_list_belongs_to_its_request_despite_events_in_between() {
    let mut state = in_a();
    state.request("WHO #a".into()).unwrap();
    state.request("PING x".into()).unwrap();
    let lines = [
        "USER #a ann",
        &format!("LIVE 6 {T} MSG #a bob hi"),
        "USER #a bob",
        "OK WHO 2",
        "OK PING x",
    ];
    assert_eq!(
        hear(&mut state, &lines),
        ["MSG #a bob hi", "answer 2 2", "answer 0 x"]
    );
    state.request("WHO #a".into()).unwrap();
    hear(&mut state, &["USER #a ann"]);
    state.disconnected(cut(), NOW);
    state.connected();
    sent(&mut state);
    hear(
        &mut state,
        &[
            HELLO,
            "OK STAMPS on",
            "OK TAGS on",
            "OK JOIN #a 6",
            "OK NICK ann #a 6",
        ],
    );
    assert_eq!(sent(&mut state), ["WHO #a"]);
    assert_eq!(
        hear(&mut state, &["USER #a ann", "OK WHO 1"]),
        ["answer 1 1"]
    );
}

#[test]
fn pauses_grow_to_half_a_minute_and_begin_anew() {
    let mut state = in_a();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        state.disconnected(cut(), NOW);
        let until = state.retry_at().expect("away");
        pauses.push(until - NOW);
        state.connected();
    }
    assert!(pauses[0] >= Duration::from_millis(125) && pauses[0] <= Duration::from_millis(250));
    assert!(pauses[11] >= Duration::from_secs(15) && pauses[11] <= Duration::from_secs(30));
    assert!(pauses[3] > pauses[0]);
    hear(
        &mut state,
        &[
            HELLO,
            "OK STAMPS on",
            "OK TAGS on",
            "OK JOIN #a 5",
            "OK NICK ann #a 5",
        ],
    );
    state.disconnected(cut(), NOW);
    // This connection did not last.
    state.disconnected(cut(), NOW);
    let until = state.retry_at().expect("away");
    assert!(until - NOW >= Duration::from_secs(15), "{until:?}");
    connect_again(&mut state);
    hear(&mut state, &["OK NICK ann #a 5"]);
    let later = until + Duration::from_secs(30);
    state.disconnected(cut(), later);
    assert!(state.retry_at().expect("away") - later <= Duration::from_millis(250));
}

#[test]
fn the_other_servers_are_tried_soon_and_then_after_pauses() {
    // Returns whether the client goes to the next server within half a second, without a pause that grows.
    let is_soon = |state: &mut ClientState, now: Duration| {
        let until = state.retry_at().expect("away");
        state.connected();
        until - now < Duration::from_millis(500)
    };
    let mut state = in_a();
    state.set_servers(3);
    let mut soon = Vec::new();
    for _ in 0..8 {
        state.disconnected(cut(), NOW);
        soon.push(is_soon(&mut state, NOW));
    }
    assert_eq!(soon[..2], [true; 2]);
    assert_eq!(soon[5..], [false; 3]);
    // A connection that has lasted is followed by another attempt at each.
    hear(&mut state, &BEFORE_NICK);
    hear(&mut state, &["OK NICK ann #a 5"]);
    let later = NOW + Duration::from_secs(60);
    for _ in 0..2 {
        state.disconnected(cut(), later);
        assert!(is_soon(&mut state, later));
    }
    // All were tried for one connection.
    let address = "localhost".parse().expect("an address");
    let source = std::io::ErrorKind::ConnectionRefused.into();
    state.disconnected(Error::Connect { address, source }, later);
    let first = state.retry_at().expect("away") - later;
    assert!(first >= Duration::from_millis(125), "{first:?}");

    // The first connection is tried once at each.
    let mut state = ClientState::new(options(&[]), 1);
    state.set_servers(2);
    state.connected();
    state.disconnected(cut(), NOW);
    assert_eq!(updates(&mut state), ["away"]);
    state.connected();
    state.disconnected(cut(), NOW);
    assert!(updates(&mut state)[0].starts_with("over "));
}

#[test]
fn a_taken_nick_is_final_at_first_and_numbered_on_a_reconnect() {
    let mut state = ClientState::new(options(&[]), 1);
    state.connected();
    let updates = hear(
        &mut state,
        &[
            HELLO,
            "OK STAMPS on",
            "OK TAGS on",
            "ERR NICK nick-taken \"ann\" is taken",
        ],
    );
    assert_eq!(updates, ["over \"ann\" is taken (nick-taken)"]);
    assert!(state.is_ended());

    let mut state = in_a();
    state.disconnected(cut(), NOW);
    state.connected();
    sent(&mut state);
    hear(
        &mut state,
        &[
            HELLO,
            "OK STAMPS on",
            "OK TAGS on",
            "OK JOIN #a 5",
            "ERR NICK bad-password guarded",
        ],
    );
    assert_eq!(sent(&mut state), ["NICK ann2 secret"]);
    assert_eq!(hear(&mut state, &["OK NICK ann2 #a 5"]), ["here ann2 true"]);
}

/// The replies to what a client in `#a` sends before its nick on a further connection.
const BEFORE_NICK: [&str; 4] = [HELLO, "OK STAMPS on", "OK TAGS on", "OK JOIN #a 5"];

/// Connects again, up to the nick.
fn connect_again(state: &mut ClientState) {
    state.connected();
    sent(state);
    hear(state, &BEFORE_NICK);
}

/// Passes a line for which the caller must drop the connection, and drops it.
fn dropped_for(state: &mut ClientState, line: &str) {
    let error = state
        .receive(Line::from(line.to_owned()))
        .expect_err("it is of no use here");
    state.disconnected(error, NOW);
    assert_eq!(updates(state), ["away"]);
}

#[test]
fn a_nick_that_a_dead_server_still_holds_is_waited_for() {
    let mut state = in_a();
    state.set_servers(2);
    state.disconnected(cut(), NOW);
    assert_eq!(updates(&mut state), ["away"]);
    // The server frees it after a while.
    for _ in 0..7 {
        connect_again(&mut state);
        dropped_for(&mut state, "ERR NICK nick-taken taken");
    }
    // Somebody else has it.
    connect_again(&mut state);
    hear(&mut state, &["ERR NICK nick-taken taken"]);
    assert_eq!(sent(&mut state), ["NICK ann2 secret"]);
    assert_eq!(hear(&mut state, &["OK NICK ann2 #a 5"]), ["here ann2 true"]);
    assert_eq!(state.nick(), Some("ann2"));
    // It is asked for again on each further connection.
    state.disconnected(cut(), NOW);
    updates(&mut state);
    state.connected();
    assert_eq!(sent(&mut state)[4], "NICK ann secret");
    hear(&mut state, &BEFORE_NICK);
    assert_eq!(hear(&mut state, &["OK NICK ann #a 5"]), ["here ann true"]);
}

#[test]
fn a_server_that_is_cut_off_is_left_and_what_it_refused_is_sent_to_the_next() {
    let mut state = in_a();
    state.set_servers(3);
    state.say("#a", "hello").expect("it is short");
    state.request("TOPIC #a".into()).expect("it is short");
    let lines = sent(&mut state);
    dropped_for(&mut state, "ERR TELL cut-off elsewhere");
    connect_again(&mut state);
    dropped_for(&mut state, "ERR NICK cut-off elsewhere");
    connect_again(&mut state);
    hear(&mut state, &["OK NICK ann #a 5"]);
    assert_eq!(sent(&mut state), lines);
    let answers = [&format!("OK TELL 6 {T}")[..], "OK TOPIC #a a topic"];
    let expected = ["sent 6 MSG #a ann hello", "answer 0 #a a topic"];
    assert_eq!(hear(&mut state, &answers), expected);

    // The first login is tried at each, too.
    let mut state = ClientState::new(options(&[]), 1);
    state.set_servers(2);
    state.connected();
    hear(&mut state, &BEFORE_NICK[..3]);
    dropped_for(&mut state, "ERR NICK cut-off elsewhere");
    state.connected();
    hear(&mut state, &BEFORE_NICK[..3]);
    let error = state.receive(Line::from("ERR NICK cut-off elsewhere".to_owned()));
    state.disconnected(error.expect_err("it is of no use here"), NOW);
    assert_eq!(updates(&mut state), ["over elsewhere (cut-off)"]);
}

#[test]
fn what_a_single_address_refuses_because_its_server_is_cut_off_is_sent_again_later() {
    let mut state = in_a();
    state.say("#a", "hello").expect("it is short");
    let lines = sent(&mut state);
    dropped_for(&mut state, "ERR TELL cut-off elsewhere");
    connect_again(&mut state);
    dropped_for(&mut state, "ERR NICK cut-off elsewhere");
    connect_again(&mut state);
    assert_eq!(hear(&mut state, &["OK NICK ann #a 5"]), ["here ann true"]);
    assert_eq!(sent(&mut state), lines);
}

#[test]
fn a_server_that_is_busy_with_wrong_passwords_is_asked_again_after_a_break() {
    let mut state = ClientState::new(options(&[]).server_password("open"), 1);
    let login = |state: &mut ClientState| {
        state.connected();
        sent(state);
    };
    login(&mut state);
    hear(
        &mut state,
        &[
            "OK PASS",
            HELLO,
            "OK STAMPS on",
            "OK TAGS on",
            "OK NICK ann #a 5",
        ],
    );
    state.disconnected(cut(), NOW);
    updates(&mut state);
    login(&mut state);
    dropped_for(&mut state, "ERR PASS busy wait");
    // At first, it is final.
    let mut state = ClientState::new(options(&[]).server_password("open"), 1);
    login(&mut state);
    assert_eq!(
        hear(&mut state, &["ERR PASS busy wait"]),
        ["over wait (busy)"]
    );
}

#[test]
fn leaving_waits_for_every_answer() {
    let mut state = in_a();
    sent(&mut state);
    state.say("#a", "last words").unwrap();
    state.leave("see you");
    assert_eq!(nonce(&sent(&mut state)[0]).1, "TELL #a last words");
    hear(&mut state, &[&format!("OK TELL 6 {T}")]);
    assert_eq!(sent(&mut state), ["BYE see you"]);
    assert!(!state.is_ended());
    hear(&mut state, &["OK BYE"]);
    assert!(state.is_ended());
}

#[test]
fn a_failed_first_connection_ends_the_client_and_so_does_a_ban() {
    let mut state = ClientState::new(options(&[]), 1);
    state.disconnected(cut(), NOW);
    assert!(state.is_ended());
    let mut state = in_a();
    hear(&mut state, &["CLOSED banned go away"]);
    state.disconnected(cut(), NOW);
    assert_eq!(
        updates(&mut state),
        ["over the server closed the connection: go away"]
    );
}

#[test]
fn an_unexpected_reply_ends_the_connection() {
    let mut state = in_a();
    let is_wrong =
        |state: &mut ClientState, line: &str| state.receive(Line::from(line.to_owned())).is_err();
    assert!(is_wrong(&mut state, "OK MSG 1 x"));
    assert!(is_wrong(&mut state, "DATA 1 5 - x"));
    assert!(!is_wrong(&mut state, "FUTURE thing"));
}

#[test]
fn no_more_than_1024_requests_wait() {
    let mut state = in_a();
    state.disconnected(cut(), NOW);
    while !state.is_full() {
        state.say("#a", "x").unwrap();
    }
    assert_eq!(state.pending(), 1024);
    assert!(state.say("#a", "x").is_err());
}

/// A server with one room, for one client state: reads lines, answers, and keeps a log.
#[derive(Default)]
struct Server {
    log: Vec<String>,
    /// For each nonce, the index in the log of the message that has it.
    nonces: HashMap<String, usize>,
    /// The connection has entered the room.
    is_in: bool,
    /// A `JOIN` of the connection was refused, so its nick does not enter the lobby.
    is_refused: bool,
    /// Whether the room requires a nick.
    is_closed: bool,
    is_named: bool,
}

impl Server {
    /// Returns the replies to `line`; now and then somebody else sends a message.
    fn hear(&mut self, line: &str, chance: &mut fastrand::Rng) -> Vec<String> {
        let time = Time(1_800_000_000_000);
        let mut out = Vec::new();
        if chance.u8(..4) == 0 {
            self.log.push(format!("MSG #a bob {}", self.log.len()));
            // Only a client that has joined receives it live; others find it in the log.
            if self.is_in {
                out.push(format!(
                    "LIVE {} {time} {}",
                    self.log.len(),
                    self.log[self.log.len() - 1]
                ));
            }
        }
        let (tags, line) = tags::split(line);
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "HELLO" => out.push(HELLO.into()),
            "JOIN" if self.is_closed && !self.is_named => {
                self.is_refused = true;
                out.push("ERR JOIN not-allowed closed".into());
            }
            "JOIN" => {
                self.is_in = true;
                let after = rest
                    .split_once(' ')
                    .map_or(self.log.len(), |(_, id)| id.parse().expect("an id"));
                for (n, event) in self.log.iter().enumerate().skip(after) {
                    out.push(format!("PAST {} {time} {event}", n + 1));
                }
                out.push(format!("OK JOIN #a {}", self.log.len()));
            }
            "TELL" => {
                let text = rest.strip_prefix("#a ").expect("the room");
                let nonce = tags::find(tags, "nonce").expect("a nonce").into_owned();
                let id = *self.nonces.entry(nonce).or_insert_with(|| {
                    self.log.push(format!("MSG #a ann {text}"));
                    self.log.len()
                });
                out.push(format!("OK TELL {id} {time}"));
            }
            "NICK" => {
                self.is_named = true;
                let room = match (self.is_in, self.is_refused) {
                    (true, _) => format!(" #a {}", self.log.len()),
                    (false, true) => String::new(),
                    (false, false) => " #lobby 0".to_owned(),
                };
                out.push(format!("OK NICK ann{room}"));
            }
            _ => out.push(format!("OK {line}")),
        }
        out
    }
}

/// Wherever connections break, the server logs each line once and in order, and the state reports each line of that
/// log once and in order.
#[test]
fn nothing_is_lost_or_doubled_wherever_connections_break() {
    for seed in 0..2000 {
        let mut chance = fastrand::Rng::with_seed(seed);
        let (mut server, mut state) = (
            Server {
                is_closed: seed % 2 == 1,
                ..Server::default()
            },
            ClientState::new(options(&[("#a", Some(0))]), seed),
        );
        let (mut count, mut read) = (0, Vec::new());
        state.connected();
        let mut is_known = false;
        for step in 0..200 {
            let is_last = step > 150;
            if is_known && count < 20 && chance.bool() {
                // Some texts are sent twice.
                state
                    .say("#a", &format!("{}", count / 2))
                    .expect("room for it");
                count += 1;
            }
            // A break loses a part of what is in transit in both directions.
            let is_cut = is_known && !is_last && chance.u8(..6) == 0;
            let out = sent(&mut state);
            let received = if is_cut {
                chance.usize(..=out.len())
            } else {
                out.len()
            };
            let replies: Vec<String> = out[..received]
                .iter()
                .flat_map(|line| server.hear(line, &mut chance))
                .collect();
            let arrive = if is_cut {
                chance.usize(..=replies.len())
            } else {
                replies.len()
            };
            for line in &replies[..arrive] {
                state
                    .receive(Line::from(line.clone()))
                    .expect("the protocol");
            }
            while let Some(update) = state.next_update() {
                match update {
                    Update::Event { event, .. } => read.push(event.to_string()),
                    Update::Sent {
                        event: Some(event), ..
                    } => read.push(event.to_string()),
                    Update::Connected { .. } => is_known = true,
                    Update::Ended(error) => panic!("seed {seed}: {error}"),
                    _ => {}
                }
            }
            if is_cut {
                state.disconnected(cut(), NOW);
                state.connected();
                (server.is_in, server.is_refused, server.is_named) = (false, false, false);
            }
        }
        assert_eq!(read, server.log, "seed {seed}");
        let mine = server
            .log
            .iter()
            .filter_map(|event| match Event::parse(event) {
                Some(Event::Msg { nick, text, .. }) if nick == "ann" => Some(text.into_owned()),
                _ => None,
            });
        let expected: Vec<String> = (0..count).map(|n| (n / 2).to_string()).collect();
        assert_eq!(mine.collect::<Vec<_>>(), expected, "seed {seed}");
    }
}

/// The text that `chatc` splits into lines leaves 40 bytes for the nonce.
#[test]
fn a_nonce_takes_at_most_forty_bytes() {
    let mut state = in_a();
    for n in 0..1000 {
        state.say("#a", "x").unwrap();
        let line = sent(&mut state).remove(0);
        assert!(line.len() <= 40 + "TELL #a x".len(), "{line}");
        hear(&mut state, &[&format!("OK TELL {} {T}", 6 + n)]);
    }
}

#[test]
fn the_room_that_was_joined_last_is_the_current_one_after_a_break() {
    let mut state = in_a();
    state.join("#b").unwrap();
    hear(&mut state, &["OK JOIN #b 6"]);
    state.join("#a").unwrap();
    hear(&mut state, &["OK JOIN #a 5"]);
    state.disconnected(cut(), NOW);
    state.connected();
    let lines = sent(&mut state);
    assert!(
        lines.ends_with(&["JOIN #b 6", "JOIN #a 5", "NICK ann secret"].map(str::to_owned)),
        "{lines:?}"
    );
}

#[test]
fn a_new_nick_and_its_password_are_used_after_a_break() {
    let mut state = in_a();
    sent(&mut state);
    state
        .log_in(Login::new("zoe").password("my secret"))
        .unwrap();
    assert_eq!(sent(&mut state), ["NICK zoe my secret"]);
    hear(&mut state, &["ERR NICK bad-password no"]);
    assert_eq!(state.password(), Some("secret"));
    state.rename("rob").unwrap();
    assert_eq!(sent(&mut state), ["NICK rob secret"]);
    hear(&mut state, &["OK NICK rob #a 5"]);
    state
        .log_in(Login::new("zoe").password("my secret"))
        .unwrap();
    assert_eq!(hear(&mut state, &["OK NICK zoe"]), ["renamed zoe"]);
    state.disconnected(cut(), NOW);
    state.connected();
    let lines = sent(&mut state);
    assert_eq!(lines.last().unwrap(), "NICK zoe my secret");
}

/// Returns the state of a client of a server with the capabilities `hello`, in `#a`. It sends nothing twice.
fn at_most_once(hello: &str) -> ClientState {
    let mut state = ClientState::new(options(&[("#a", None)]).at_most_once(), 1);
    state.connected();
    let login = [hello, "OK STAMPS on", "OK TAGS on", "OK NICK ann #lobby 4"];
    hear(&mut state, &login);
    hear(&mut state, &["OK JOIN #a 5", "OK PART #lobby"]);
    sent(&mut state);
    state
}

/// Connects again to a server with the capabilities `hello` which gives the client `nick`. Returns the updates and what
/// is sent after the login.
fn again(state: &mut ClientState, hello: &str, nick: &str) -> (Vec<String>, Vec<String>) {
    state.connected();
    let mut lines = vec![hello, "OK STAMPS on", "OK TAGS on", "OK JOIN #a 5"];
    if nick == "ann2" {
        lines.push("ERR NICK nick-taken it is taken");
    }
    let last = format!("OK NICK {nick}");
    hear(state, &lines);
    sent(state);
    lines = vec![&last];
    let heard = hear(state, &lines);
    (heard, sent(state))
}

const UNKNOWN: &str = "refused the connection was lost: no answer came";

const NO_NONCES: &str = "OK HELLO 1 chat tags";

#[test]
fn what_could_be_done_twice_is_not_sent_again_if_the_client_asks_for_that() {
    let long = "x".repeat(4080);
    for (line, is_sent_again) in [
        ("WHO #a", true),
        ("history #a 5", true),
        ("TOPIC", true),
        ("TOPIC #a", true),
        ("IGNORE bob", true),
        ("AWAY lunch", true),
        ("PING", true),
        ("TOPIC tea", false),
        ("TOPIC #a tea", false),
        ("NOTE the server stops", false),
        ("KICK bob", false),
        ("BAN bob", false),
        ("SHUTDOWN", false),
        ("TOKEN phone", false),
        ("REGISTER my secret", false),
        ("EDIT 5 new", false),
        ("FUTURE #a", false),
        // The rest is messages.
        ("> #a short", true),
        ("> #a long", false),
        ("> bob psst", false),
    ] {
        let mut state = at_most_once(HELLO);
        let request = |state: &mut ClientState| match line.strip_prefix("> ") {
            Some("#a long") => state.say("#a", &long),
            Some(message) => {
                let (to, text) = message.split_once(' ').expect("two words");
                state.say(to, text)
            }
            None => state.request(line.to_owned()),
        };
        request(&mut state).unwrap();
        let before = sent(&mut state);
        state.disconnected(cut(), NOW);
        updates(&mut state);
        // A break during the login changes nothing.
        state.connected();
        state.disconnected(cut(), NOW);
        updates(&mut state);
        // What has not been sent yet is always sent.
        state.request("NOTE later".into()).unwrap();
        assert_eq!(state.pending(), 2);
        let (heard, after) = again(&mut state, HELLO, "ann");
        let mut expected = vec!["here ann true"];
        if !is_sent_again {
            expected.push(UNKNOWN);
        }
        assert_eq!(heard, expected, "{line}");
        let expected = if is_sent_again { before } else { Vec::new() };
        assert_eq!(after, [expected, vec!["NOTE later".into()]].concat());
    }
}

#[test]
fn a_message_is_not_sent_again_if_its_nonce_has_no_effect_any_more() {
    let long = Duration::from_secs(10 * 60);
    for (first, second, nick, pause, is_sent_again) in [
        (HELLO, HELLO, "ann", Duration::ZERO, true),
        (NO_NONCES, NO_NONCES, "ann", Duration::ZERO, false),
        (NO_NONCES, HELLO, "ann", Duration::ZERO, false),
        (HELLO, NO_NONCES, "ann", Duration::ZERO, false),
        (HELLO, HELLO, "ann2", Duration::ZERO, false),
        (HELLO, HELLO, "ann", long, false),
    ] {
        let mut state = at_most_once(first);
        state.say("#a", "hi").unwrap();
        state.disconnected(cut(), NOW);
        state.disconnected(cut(), NOW + pause);
        updates(&mut state);
        let (heard, after) = again(&mut state, second, nick);
        let case = format!("{first}, {second}, {nick}, {pause:?}");
        assert_eq!(
            !heard.contains(&UNKNOWN.to_owned()),
            is_sent_again,
            "{case}"
        );
        assert_eq!(after.len(), usize::from(is_sent_again), "{case}: {after:?}");
    }
    // After a rename, the nonces belong to the new nick.
    let mut state = at_most_once(HELLO);
    state.rename("zoe").unwrap();
    hear(&mut state, &["OK NICK zoe"]);
    state.say("#a", "hi").unwrap();
    state.disconnected(cut(), NOW);
    updates(&mut state);
    let (heard, after) = again(&mut state, HELLO, "zoe");
    assert_eq!(heard, ["here zoe true"]);
    assert_eq!(after.len(), 1);
}

#[test]
fn a_request_that_was_refused_because_the_server_is_cut_off_is_sent_to_the_next() {
    let mut state = at_most_once(HELLO);
    state.say("bob", "psst").unwrap();
    let refused = Line::from("ERR TELL cut-off wait".to_owned());
    let error = state.receive(refused).expect_err("the connection ends");
    state.disconnected(error, NOW);
    updates(&mut state);
    let (heard, after) = again(&mut state, HELLO, "ann");
    assert_eq!(heard, ["here ann true"]);
    assert_eq!(after.len(), 1);
}

#[test]
fn the_password_of_a_nick_that_was_registered_is_used_after_a_break() {
    for (line, password) in [
        ("REGISTER my new secret", "my new secret"),
        ("REGISTER -", "secret"),
        ("TOPIC my new secret", "secret"),
    ] {
        let mut state = in_a();
        state.request(line.to_owned()).unwrap();
        state.request(line.to_owned()).unwrap();
        hear(&mut state, &["ERR REGISTER quota wait"]);
        assert_eq!(state.password(), Some("secret"));
        hear(&mut state, &["OK REGISTER ann"]);
        assert_eq!(state.password(), Some(password), "{line}");
    }
}

#[test]
fn a_request_with_an_invalid_reply_is_answered_and_ends_the_connection() {
    for reply in ["OK JOIN #b", "OK TELL 8"] {
        let mut state = in_a();
        let request = match reply {
            "OK TELL 8" => state.say("#a", "hi"),
            _ => state.join("#b"),
        };
        let asked = request.unwrap();
        let heard = state.receive(Line::from(reply.to_owned()));
        assert!(matches!(heard, Err(Error::Protocol(_))), "{heard:?}");
        match state.next_update() {
            Some(Update::Answer { request_id, result }) => {
                assert_eq!(request_id, asked);
                assert!(matches!(result, Err(Error::Protocol(_))), "{result:?}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(state.pending(), 0);
    }
}
