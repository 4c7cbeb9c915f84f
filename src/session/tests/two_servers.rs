//! Tests of two servers on one log, without a network between them. Messages appear on both servers in the same order
//! and with the same ids, however late each server applies the log's decisions. A nick without a password is used on
//! only one of the servers. A room has the same members on both.

mod races;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{SharedLog, Table};
use crate::config::{Config, Limits};
use crate::log::{Log, Span};
use crate::model::{Action, Change, Now, PeerId};
use crate::protocol::RoomName;

const ROOMS: [&str; 2] = ["#a", "#b"];

/// The next action on a server.
#[derive(Clone, Debug)]
enum Act {
    Say(usize),
    SetTopic(usize),
    /// Removes the last message that was sent on the server.
    Remove,
    /// Joins a room with a new connection that resumes after an earlier id. The first number is the room, and the
    /// second is the index of the id.
    Resume(usize, usize),
    /// Applies the log's decisions on the server.
    Apply,
    /// Sends a message on the other server. The log contains the message before this server applies it.
    SayUnheard(usize),
}

fn act() -> impl Strategy<Value = (usize, Act)> {
    let room = 0..ROOMS.len();
    let act = prop_oneof![
        6 => room.clone().prop_map(Act::Say),
        1 => room.clone().prop_map(Act::SetTopic),
        1 => Just(Act::Remove),
        2 => (room.clone(), 0..40_usize).prop_map(|(room, at)| Act::Resume(room, at)),
        2 => Just(Act::Apply),
        3 => room.prop_map(Act::SayUnheard),
    ];
    (0..2_usize, act)
}

/// A connection that resumed, and the events that it must receive.
struct Resumed {
    server: usize,
    connection: usize,
    room: usize,
    after: u64,
    got: Vec<u64>,
}

/// Returns the id and the rest of each logged line of a room. The line may be a `PAST` or a `LIVE` line.
fn events(text: &str, room: &str) -> Vec<(u64, String)> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.splitn(4, ' ');
        let kind = words.next()?;
        let id = words.next()?.parse().ok()?;
        let event = words.nth(1)?;
        let is_there = event.split(' ').nth(1) == Some(room);
        (matches!(kind, "PAST" | "LIVE") && is_there).then(|| (id, event.to_owned()))
    });
    lines.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_message_sent_on_one_server_appears_on_both_in_one_order(acts in vec(act(), 1..60)) {
        let log = SharedLog::new();
        let mut servers = [0, 1].map(|_| Table::on(log.clone(), 2, Config::default()));
        for (n, server) in servers.iter_mut().enumerate() {
            server.say(0, &format!("NICK speaker{n}"));
            for room in ROOMS {
                server.say(1, &format!("JOIN {room}"));
            }
            server.say(1, "STAMPS on");
            server.read(1);
        }
        let mut seen: BTreeMap<(usize, usize), Vec<(u64, String)>> = BTreeMap::new();
        let mut resumed: Vec<Resumed> = Vec::new();
        let mut last_sent = [None, None];
        for (n, (on, act)) in acts.into_iter().enumerate() {
            let server = &mut servers[on];
            match act {
                Act::Say(room) => {
                    let reply = server.say(0, &format!("TELL {} message {n}", ROOMS[room]));
                    last_sent[on] = reply.lines().find_map(|line| {
                        line.strip_prefix("OK TELL ")?.split(' ').next()?.parse::<u64>().ok()
                    });
                }
                Act::SayUnheard(room) => {
                    // The message is sent on the other server. This server receives the message with its next `Apply`.
                    let other = &mut servers[1 - on];
                    other.say(0, &format!("TELL {} unheard {n}", ROOMS[room]));
                }
                Act::SetTopic(room) => {
                    server.say(0, &format!("JOIN {}", ROOMS[room]));
                    server.say(0, &format!("TOPIC {} topic {n}", ROOMS[room]));
                }
                Act::Remove => {
                    if let Some(id) = last_sent[on].take() {
                        server.say(0, &format!("REMOVE {id}"));
                    }
                }
                Act::Resume(room, at) => {
                    let known = seen.get(&(on, room)).and_then(|events| events.get(at));
                    let after = known.map_or(0, |(id, _)| *id);
                    let connection = server.connect();
                    server.say(connection, "STAMPS on");
                    let text = server.say(connection, &format!("JOIN {} {after}", ROOMS[room]));
                    let got = events(&text, ROOMS[room]).into_iter().map(|(id, _)| id);
                    resumed.push(Resumed {
                        server: on,
                        connection,
                        room,
                        after,
                        got: got.collect(),
                    });
                }
                Act::Apply => server.apply(),
            }
            for (on, server) in servers.iter_mut().enumerate() {
                let text = server.read(1);
                for (room, name) in ROOMS.into_iter().enumerate() {
                    seen.entry((on, room)).or_default().extend(events(&text, name));
                }
            }
        }
        for (on, server) in servers.iter_mut().enumerate() {
            server.apply();
            let text = server.read(1);
            for (room, name) in ROOMS.into_iter().enumerate() {
                seen.entry((on, room)).or_default().extend(events(&text, name));
            }
            for resumed in resumed.iter_mut().filter(|resumed| resumed.server == on) {
                let text = server.read(resumed.connection);
                let got = events(&text, ROOMS[resumed.room]).into_iter().map(|(id, _)| id);
                resumed.got.extend(got);
            }
        }
        for name in ROOMS {
            let [one, other] = servers
                .each_mut()
                .map(|server| server.say(1, &format!("TOPIC {name}")));
            prop_assert_eq!(one, other);
        }
        for (room, name) in ROOMS.into_iter().enumerate() {
            let name = RoomName::parse(name).unwrap();
            let span = Span { after: 0, up_to: u64::MAX >> 1 };
            let kept = log.log.read(&name, span, usize::MAX, usize::MAX).unwrap();
            let kept: Vec<u64> = kept.records.iter().map(|record| record.id.get()).collect();
            for server in 0..2 {
                let ids: Vec<u64> = seen[&(server, room)].iter().map(|(id, _)| *id).collect();
                prop_assert_eq!(&ids, &kept, "the watcher of {} on server {}", name, server);
            }
            prop_assert_eq!(&seen[&(0, room)], &seen[&(1, room)]);
            for resumed in resumed.iter().filter(|resumed| resumed.room == room) {
                let expected: Vec<u64> = kept.iter().copied().filter(|id| *id > resumed.after).collect();
                prop_assert_eq!(&resumed.got, &expected, "after {} on {}", resumed.after, resumed.server);
            }
        }
    }
}

/// Two servers of one chat, and the log of changes that both servers apply.
struct Pair {
    servers: [Table; 2],
    log: Vec<Decided>,
    /// The number of changes in the log that each server has applied.
    applied: [usize; 2],
}

/// A change that has its place in the log.
struct Decided {
    change: Change,
    /// The server that has proposed the change, and the connection that has caused it.
    from: (usize, Option<PeerId>),
}

impl Pair {
    /// Starts the servers, each with `count` connections. Members are announced at once.
    fn new(count: usize) -> Self {
        let log = SharedLog::new();
        let servers = ["one", "two"].map(|name| {
            let config = Config {
                name: name.into(),
                limits: Limits {
                    announce_after: Duration::ZERO,
                    ..Limits::default()
                },
                ..Config::default()
            };
            let mut server = Table::on(log.clone(), count, config);
            server.chat.decide_later();
            server
        });
        Self {
            servers,
            log: Vec::new(),
            applied: [0; 2],
        }
    }

    /// Passes a line to a connection, waits for all decisions, and returns the connection's output.
    fn say(&mut self, on: usize, who: usize, line: &str) -> String {
        self.send(on, who, line);
        self.settle();
        self.servers[on].read(who)
    }

    /// Passes a line to a connection. The changes that the line causes are not decided on.
    fn send(&mut self, on: usize, who: usize, line: &str) {
        let query = self.servers[on].ask(who, line);
        self.servers[on].answer(who, query);
        self.collect();
    }

    /// Ends a connection, and applies the changes that this causes.
    fn lose(&mut self, on: usize, who: usize) {
        self.cut(on, who);
        self.settle();
    }

    /// Ends a connection. The changes that this causes are not decided on.
    fn cut(&mut self, on: usize, who: usize) {
        let table = &mut self.servers[on];
        let session = &mut table.sessions[who];
        session.lost(&mut table.chat, Now::default());
        table.chat.disconnect(session.peer());
        self.collect();
    }

    /// Adds the servers' proposed changes to the log.
    fn collect(&mut self) {
        for (on, server) in self.servers.iter_mut().enumerate() {
            let proposed = server.chat.take_proposed().into_iter();
            self.log.extend(proposed.map(|(change, by)| Decided {
                change,
                from: (on, by),
            }));
        }
    }

    /// Lets a server apply the next change in the log. Returns false if there is none.
    fn apply_next(&mut self, on: usize) -> bool {
        let Some(Decided { change, from }) = self.log.get(self.applied[on]) else {
            return false;
        };
        self.applied[on] += 1;
        let server = &mut self.servers[on];
        // Messages that were sent before the change also come before it in the log.
        server.apply();
        let by = from.1.filter(|_| from.0 == on);
        server.chat.decide(change, by, Now::default());
        server.go_on();
        self.collect();
        true
    }

    /// Applies all decisions of both logs on both servers.
    fn settle(&mut self) {
        while self.apply_next(0) | self.apply_next(1) {}
        self.servers.iter_mut().for_each(Table::apply);
    }

    fn read(&mut self, on: usize, who: usize) -> String {
        self.servers[on].read(who)
    }
}

#[test]
fn a_nick_is_used_on_one_of_two_servers_and_is_free_after_its_last_connection() {
    let mut pair = Pair::new(3);
    assert!(pair.say(0, 0, "NICK bob").starts_with("OK NICK bob "));
    for taken in ["bob", "BOB", "b0b"] {
        let answer = pair.say(1, 0, &format!("NICK {taken}"));
        assert!(answer.starts_with("ERR NICK nick-taken "), "{answer}");
    }
    assert!(pair.say(0, 0, "NICK rob").contains("OK NICK rob "));
    assert!(pair.say(1, 0, "NICK bob").starts_with("OK NICK bob "));
    let answer = pair.say(0, 0, "NICK bob");
    assert!(answer.contains("ERR NICK nick-taken "), "{answer}");
    pair.lose(1, 0);
    assert!(pair.say(0, 0, "NICK bob").contains("OK NICK bob "));
    // With the password that reserves the nick, connections may use the nick on both servers.
    assert!(pair.say(0, 1, "NICK ann secret").contains("OK NICK ann "));
    let answer = pair.say(1, 1, "NICK ann guess");
    assert!(answer.contains("ERR NICK bad-password "), "{answer}");
    assert!(pair.say(1, 1, "NICK ann secret").contains("OK NICK ann "));
    pair.say(0, 1, "BYE");
    let answer = pair.say(0, 2, "NICK ann");
    assert!(answer.contains("ERR NICK nick-taken "), "{answer}");
    pair.lose(1, 1);
    let answer = pair.say(0, 2, "NICK ann");
    assert!(
        answer.contains("ERR NICK nick-taken "),
        "reserved: {answer}"
    );
    assert!(pair.say(0, 2, "NICK ann secret").contains("OK NICK ann "));
    pair.say(0, 2, "BYE");
    assert!(pair.say(1, 2, "NICK ann").contains("OK NICK ann "));
}

#[test]
fn a_member_on_one_server_is_seen_on_the_other() {
    let mut pair = Pair::new(2);
    pair.say(1, 1, "JOIN #ops");
    pair.say(1, 1, "NICK eve");
    pair.say(0, 0, "NICK bob secret");
    assert!(pair.say(0, 0, "JOIN #ops").contains("OK JOIN #ops "));
    pair.say(0, 0, "AWAY lunch");
    assert_eq!(pair.read(1, 1), "JOIN #ops bob\nAWAY #ops bob lunch\n");
    let who = "USER #ops eve\nUSER #ops bob lunch\nOK WHO 2\n";
    for on in [0, 1] {
        assert_eq!(pair.say(on, 1, "WHO #ops"), who);
    }
    // The nick stays in the room as long as one server has it there.
    pair.say(1, 0, "NICK bob secret");
    pair.say(1, 0, "JOIN #ops");
    pair.say(0, 0, "PART #ops");
    assert_eq!(pair.read(1, 1), "");
    pair.say(1, 0, "PART #ops");
    assert_eq!(pair.read(1, 1), "PART #ops bob\n");
    // A room exists on both servers as long as somebody is in it.
    pair.say(0, 0, "JOIN #new");
    assert!(pair.say(1, 1, "ROOMS").contains("ROOM #new 1"));
    pair.say(0, 0, "PART #new");
    assert!(!pair.say(1, 1, "ROOMS").contains("#new"));
}

#[test]
fn the_nicks_of_a_server_that_has_died_leave_their_rooms_and_are_free_or_reserved() {
    let mut pair = Pair::new(3);
    pair.say(0, 1, "NICK eve");
    pair.say(0, 1, "JOIN #ops");
    for (who, nick) in ["ann", "bob secret", "eve"].into_iter().enumerate() {
        pair.say(1, who, &format!("NICK {nick}"));
        pair.say(1, who, "JOIN #ops");
    }
    // One nick is used on both servers.
    pair.say(0, 2, "NICK bob secret");
    pair.say(0, 2, "JOIN #x");
    pair.read(0, 1);
    let survivor = &mut pair.servers[0];
    survivor.chat.end_server(&"two".into(), Now::default());
    let parts = "PART #ops ann\nPART #ops bob\nPART #lobby ann\n"; // the nick `bob` is still in the lobby here
    assert_eq!(survivor.read(1), parts);
    assert_eq!(pair.say(0, 1, "WHO #x"), "USER #x bob\nOK WHO 1\n");
    assert!(pair.say(0, 0, "NICK ann").contains("OK NICK ann "));
    // The other nick is reserved when its last connection has ended too.
    pair.lose(0, 2);
    let answer = pair.say(0, 0, "NICK bob");
    assert!(answer.contains("ERR NICK nick-taken "), "{answer}");
    assert!(pair.say(0, 0, "NICK bob secret").contains("OK NICK bob "));
    let who = pair.say(0, 1, "WHO #ops");
    assert!(who.starts_with("USER #ops eve\nOK WHO 1\n"), "{who}");
}

/// Returns two servers. Connection 0 of the first server is the operator `root`; connection 0 of the second server is
/// the registered nick `ann`.
fn pair_with_accounts(count: usize) -> Pair {
    let mut pair = Pair::new(count);
    for (on, nick) in ["root", "ann"].into_iter().enumerate() {
        pair.say(on, 0, &format!("NICK {nick}"));
        let registered = pair.say(on, 0, "REGISTER my secret");
        assert_eq!(registered, format!("OK REGISTER {nick}\n"));
    }
    for on in [0, 1] {
        pair.read(on, 0);
    }
    pair
}

#[test]
fn a_nick_registered_on_one_server_needs_its_password_on_the_other() {
    let mut pair = pair_with_accounts(3);
    for (on, nick) in [(1, "root"), (0, "ann"), (0, "Ann")] {
        let answer = pair.say(on, 1, &format!("NICK {nick}"));
        assert!(answer.starts_with("ERR NICK need-password "), "{answer}");
        let answer = pair.say(on, 1, &format!("NICK {nick} my guess"));
        assert!(answer.starts_with("ERR NICK bad-password "), "{answer}");
    }
    let answer = pair.say(0, 1, "NICK ann my secret");
    assert!(answer.starts_with("OK NICK ann "), "{answer}");
    // On the other server too, the account's password replaces the password that reserved the nick.
    pair.say(0, 2, "NICK bob bob's own");
    let registered = pair.say(0, 2, "REGISTER bob's account");
    assert!(registered.ends_with("OK REGISTER bob\n"), "{registered}");
    let answer = pair.say(1, 2, "NICK bob bob's own");
    assert!(answer.starts_with("ERR NICK bad-password "), "{answer}");
    pair.say(0, 2, "REGISTER -");
    pair.say(0, 2, "NICK rob");
    let answer = pair.say(1, 1, "NICK bob");
    assert!(answer.starts_with("OK NICK bob "), "{answer}");
}

#[test]
fn bans_kicks_and_notices_of_one_server_apply_on_the_other() {
    let mut pair = pair_with_accounts(4);
    pair.say(1, 1, "NICK eve");
    pair.read(0, 0);
    assert_eq!(pair.say(0, 0, "KICK eve enough"), "OK KICK eve\n");
    let last = pair.read(1, 1);
    let closed = "CLOSED kicked root has closed your connection: enough\n";
    assert!(last.ends_with(closed), "{last}");
    pair.say(1, 2, "NICK eve");
    pair.read(0, 0);
    assert_eq!(pair.say(0, 0, "BAN eve 1h"), "OK BAN eve\n");
    let last = pair.read(1, 2);
    assert!(last.contains("CLOSED banned "), "{last}");
    let refused = pair.say(1, 3, "NICK eve");
    assert!(refused.starts_with("ERR NICK banned "), "{refused}");
    assert!(pair.say(0, 0, "UNBAN eve").contains("OK UNBAN eve\n"));
    let taken = pair.say(1, 3, "NICK eve");
    assert!(taken.starts_with("OK NICK eve "), "{taken}");
    pair.say(0, 0, "NOTE lunch is ready");
    for on in [0, 1] {
        let seen = pair.read(on, 3);
        assert!(seen.ends_with("NOTE * root lunch is ready\n"), "{seen}");
    }
}

#[test]
fn the_access_list_of_a_room_applies_on_both_servers() {
    let mut pair = pair_with_accounts(2);
    pair.say(0, 1, "NICK bob");
    pair.say(0, 1, "REGISTER bob's secret");
    pair.say(1, 1, "NICK eve");
    pair.say(1, 0, "JOIN #plan");
    pair.say(1, 0, "MSG hello");
    pair.say(0, 1, "JOIN #plan");
    pair.read(1, 0);
    let closed = pair.say(1, 0, "MODE invite");
    assert_eq!(closed, "OK MODE #plan invite\nPART #plan bob\n");
    let removed = pair.read(0, 1);
    assert!(removed.contains("PART #plan bob"), "{removed}");
    let refused = pair.say(0, 1, "JOIN #plan");
    assert!(refused.contains("ERR JOIN not-allowed "), "{refused}");
    let invited = pair.say(1, 0, "INVITE bob");
    assert!(invited.contains("OK INVITE #plan bob\n"), "{invited}");
    assert_eq!(pair.read(0, 1), "INVITE #plan ann\n");
    let joined = pair.say(0, 1, "JOIN #plan");
    assert!(joined.contains("OK JOIN #plan "), "{joined}");
    // When the account is removed, both servers also remove the nick from the room's access list.
    pair.say(0, 0, "REMOVE bob");
    let removed = pair.read(0, 1);
    assert!(removed.contains("PART #plan bob"), "{removed}");
    for (on, who) in [(0, 1), (1, 1)] {
        let hidden = pair.say(on, who, "HISTORY #plan 1");
        assert!(hidden.contains("ERR HISTORY no-such-room "), "{hidden}");
    }
}

#[test]
fn a_room_deleted_on_one_server_has_gone_on_the_other() {
    let mut pair = pair_with_accounts(2);
    pair.say(1, 1, "NICK eve");
    pair.say(1, 1, "JOIN #ops");
    pair.say(1, 1, "MSG hello");
    pair.say(0, 1, "JOIN #ops");
    let answer = pair.say(0, 0, "REMOVE #ops");
    assert!(answer.contains("OK REMOVE "), "{answer}");
    let removed = pair.read(1, 1);
    assert!(removed.contains("PART #ops eve"), "{removed}");
    for on in [0, 1] {
        assert!(!pair.say(on, 0, "ROOMS").contains("#ops"));
    }
    // The room can be created again, and both servers then have the new room.
    pair.say(1, 1, "JOIN #ops");
    pair.say(1, 1, "MSG again");
    for on in [0, 1] {
        let rooms = pair.say(on, 0, "ROOMS");
        assert!(rooms.contains("ROOM #ops 1"), "{on}: {rooms}");
        assert!(pair.say(on, 0, "WHO #ops").contains("USER #ops eve"));
    }
}

/// The next action of a speaker on one of two servers.
#[derive(Clone, Debug)]
enum Step {
    Nick(&'static str, Option<&'static str>),
    Join(usize),
    Part(usize),
    Say(usize),
    Away(bool),
    Bye,
    Lose,
}

impl Step {
    /// Returns the line that a speaker sends for this step, which has the number `n`. The line is empty if the
    /// connection breaks.
    fn line(&self, n: usize) -> String {
        match self {
            Self::Nick(nick, None) => format!("NICK {nick}"),
            Self::Nick(nick, Some(password)) => format!("NICK {nick} {password}"),
            Self::Join(room) => format!("JOIN {}", ROOMS[*room]),
            Self::Part(room) => format!("PART {}", ROOMS[*room]),
            Self::Say(room) => format!("TELL {} message {n}", ROOMS[*room]),
            Self::Away(true) => format!("AWAY since {n}"),
            Self::Away(false) => "AWAY".into(),
            Self::Bye => "BYE".into(),
            Self::Lose => String::new(),
        }
    }
}

fn step() -> impl Strategy<Value = (usize, usize, Step)> {
    let nick = proptest::sample::select(&["ann", "Ann", "bob", "b0b", "eve"][..]);
    let password = proptest::option::of(proptest::sample::select(&["one", "two"][..]));
    let room = 0..ROOMS.len();
    let step = prop_oneof![
        5 => (nick, password).prop_map(|(nick, password)| Step::Nick(nick, password)),
        4 => room.clone().prop_map(Step::Join),
        2 => room.clone().prop_map(Step::Part),
        2 => room.prop_map(Step::Say),
        1 => any::<bool>().prop_map(Step::Away),
        1 => Just(Step::Bye),
        1 => Just(Step::Lose),
    ];
    (0..2_usize, 0..3_usize, step)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_happens_in_a_room_is_seen_on_both_servers_in_one_order(steps in vec(step(), 1..60)) {
        let mut pair = Pair::new(4);
        for on in [0, 1] {
            for room in ["#lobby", "#a", "#b"] {
                pair.say(on, 3, &format!("JOIN {room}"));
            }
        }
        let mut speakers = [[0, 1, 2]; 2];
        for (n, (on, speaker, step)) in steps.into_iter().enumerate() {
            let who = speakers[on][speaker];
            let line = step.line(n);
            if line.is_empty() {
                pair.lose(on, who);
            } else {
                pair.say(on, who, &line);
            }
            if matches!(step, Step::Bye | Step::Lose) {
                speakers[on][speaker] = pair.servers[on].connect();
            }
            let [one, other] = [0, 1].map(|on| pair.read(on, 3));
            let sorted = |text: &str| {
                let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
                // The order of lines in different rooms is not promised.
                lines.sort_by_key(|line| line.split(' ').nth(1).map(str::to_owned));
                lines
            };
            prop_assert_eq!(sorted(&one), sorted(&other));
        }
        for room in ["#lobby", "#a", "#b"] {
            let [one, other] = [0, 1].map(|on| pair.say(on, 3, &format!("WHO {room}")));
            prop_assert_eq!(one, other);
        }
    }
}

#[test]
fn a_request_is_answered_when_what_it_changes_has_been_decided_on() {
    let mut pair = Pair::new(3);
    for (line, reply) in [
        ("NICK bob secret", "OK NICK bob #lobby 0\n"),
        ("JOIN #ops", "OK JOIN #ops 0\n"),
        ("NICK rob", "OK NICK rob #ops 0\n"),
        ("AWAY lunch", "OK AWAY\n"),
        ("PART #ops", "OK PART #ops\n"),
        ("BYE", "OK BYE\n"),
    ] {
        pair.send(0, 0, line);
        assert_eq!(pair.read(0, 0), "", "{line}");
        // Meanwhile, the other server proposes a change.
        pair.send(1, 0, &format!("NICK eve{}", line.len()));
        pair.settle();
        let answer = pair.read(0, 0);
        assert!(answer.contains(reply), "{line}: {answer}");
        pair.read(1, 0);
    }
    assert!(pair.servers[0].sessions[0].is_over());
    assert!(pair.say(1, 1, "NICK rob").starts_with("OK NICK rob "));
}

#[test]
fn a_request_knows_what_was_acknowledged_on_the_other_server() {
    let mut pair = pair_with_accounts(3);
    pair.say(1, 2, "NICK eve");
    for (line, reply, request, expected) in [
        (
            "NICK bob secret",
            "OK NICK ",
            "WHO #lobby",
            "USER #lobby bob",
        ),
        ("JOIN #ops", "OK JOIN ", "ROOMS", "ROOM #ops 1"),
        (
            "TOPIC #ops plan",
            "OK TOPIC ",
            "TOPIC #ops",
            "OK TOPIC #ops plan",
        ),
        (
            "REGISTER bob's own",
            "OK REGISTER ",
            "WHOIS bob",
            "registered",
        ),
        (
            "NICK rob",
            "OK NICK ",
            "NICK bob",
            "ERR NICK need-password ",
        ),
        (
            "NICK bob bob's own",
            "OK NICK ",
            "TELL rob hello",
            "ERR TELL no-such-nick ",
        ),
    ] {
        pair.send(0, 1, line);
        // The first server applies the decision. The second server has not received it.
        while pair.apply_next(0) {}
        let answer = pair.read(0, 1);
        assert!(answer.contains(reply), "{line}: {answer}");
        let known = pair.say(1, 2, request);
        assert!(known.contains(expected), "{line}, {request}: {known}");
    }
}

#[test]
fn an_irc_client_learns_that_a_nick_of_the_other_server_is_away() {
    let mut pair = Pair::new(3);
    pair.say(0, 1, "NICK bob");
    for line in [
        "CAP REQ echo-message",
        "NICK eve",
        "USER eve 0 * eve",
        "CAP END",
    ] {
        pair.say(1, 2, line);
    }
    pair.send(0, 1, "AWAY lunch");
    while pair.apply_next(0) {}
    assert_eq!(pair.read(0, 1), "OK AWAY\n");
    let told = pair.say(1, 2, "PRIVMSG bob hungry?");
    assert!(told.contains(" 301 eve bob :lunch"), "{told}");
}

#[test]
fn connections_that_ask_at_once_catch_up_together() {
    let mut pair = Pair::new(4);
    for who in 0..4 {
        let query = pair.servers[0].ask(who, "WHO #lobby");
        assert!(query.is_none());
    }
    pair.collect();
    assert_eq!(pair.log.len(), 1);
    pair.settle();
    for who in 0..4 {
        assert_eq!(pair.read(0, who), "OK WHO 0\n");
    }
}

#[test]
fn of_two_servers_that_take_a_nick_at_once_one_is_refused() {
    let mut pair = Pair::new(3);
    for on in [1, 0] {
        pair.send(on, 0, "NICK bob");
        // Lines that the client has already sent are handled after the decision.
        assert!(!pair.servers[on].takes_lines(0));
    }
    // On the server whose change comes first, a second connection waits for the decision.
    pair.send(1, 1, "NICK bob");
    pair.settle();
    assert!(pair.read(1, 0).starts_with("OK NICK bob "));
    for (on, who) in [(0, 0), (1, 1)] {
        let refused = pair.read(on, who);
        assert!(refused.starts_with("ERR NICK nick-taken "), "{refused}");
    }
    assert!(pair.say(0, 0, "NICK rob").starts_with("OK NICK rob "));
}

#[test]
fn a_connection_that_ends_before_its_nick_is_decided_on_leaves_nothing_behind() {
    let mut pair = Pair::new(3);
    for (on, last) in [(0, "NICK ann"), (1, "NICK eve secret")] {
        pair.say(on, 0, "NICK bob");
        pair.say(on, 0, "JOIN #ops");
        pair.send(on, 0, last);
        pair.lose(on, 0);
        for other in [0, 1] {
            assert!(!pair.say(other, 2, "ROOMS").contains("#ops"));
            let taken = pair.say(other, 1, "NICK bob");
            assert!(taken.contains("OK NICK bob "), "{taken}");
            let freed = pair.say(other, 1, &format!("NICK free{on}{other}"));
            assert!(freed.contains("OK NICK free"), "{freed}");
        }
    }
}

#[test]
fn a_kick_meets_a_connection_whose_nick_was_decided_on_just_before() {
    let mut pair = pair_with_accounts(3);
    pair.send(1, 1, "NICK eve");
    let is_taken = |pair: &Pair| {
        let next = pair.log.get(pair.applied[1]);
        next.is_some_and(|next| matches!(next.change.action, Action::TakeNick { .. }))
    };
    while !is_taken(&pair) {
        assert!(pair.apply_next(1));
    }
    // The session has not learned of the decision when the next change is applied.
    let Decided { change, from } = &pair.log[pair.applied[1]];
    pair.applied[1] += 1;
    pair.servers[1].chat.decide(change, from.1, Now::default());
    while pair.apply_next(0) {}
    pair.send(0, 0, "KICK eve");
    pair.settle();
    let last = pair.read(1, 1);
    assert!(last.contains("CLOSED kicked "), "{last}");
    let taken = pair.say(1, 2, "NICK eve");
    assert!(taken.starts_with("OK NICK eve "), "{taken}");
}

/// The next step of a test in which changes are decided on late.
#[derive(Clone, Debug)]
enum LateStep {
    /// A speaker of a server does something.
    Do(usize, usize, Step),
    /// A server applies the next changes in the log.
    Apply(usize, usize),
}

fn late_step() -> impl Strategy<Value = LateStep> {
    prop_oneof![
        3 => step().prop_map(|(on, speaker, step)| LateStep::Do(on, speaker, step)),
        2 => (0..2_usize, 1..4_usize).prop_map(|(on, count)| LateStep::Apply(on, count)),
    ]
}

impl Pair {
    /// Returns what a server's own connections use: for each nick, and for each room and nick, the number of
    /// connections.
    fn used(&self, on: usize) -> BTreeMap<String, usize> {
        let Table { chat, sessions, .. } = &self.servers[on];
        let mut used = BTreeMap::new();
        for session in sessions.iter().filter(|session| !session.is_ending()) {
            let Some(user) = session.nick.and_then(|nick| chat.user(nick)) else {
                continue;
            };
            *used.entry(user.nick.to_string()).or_default() += 1;
            for room in session.room_ids() {
                let room = chat.room(room).expect("the connection is in it");
                *used
                    .entry(format!("{} {}", room.name, user.nick))
                    .or_default() += 1;
            }
        }
        used
    }

    /// Returns what [`Self::used`] returns, but according to the state that the servers share.
    fn agreed(&self, on: usize) -> BTreeMap<String, usize> {
        self.servers[on].chat.connections_of_this_server()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The servers decide on changes only when they apply the log of changes. Each server applies the log at its own
    /// pace.
    #[test]
    fn late_decisions_leave_both_servers_with_the_same_nicks_and_members(
        steps in vec(late_step(), 1..80),
    ) {
        let mut pair = Pair::new(4);
        for on in [0, 1] {
            for room in ["#lobby", "#a", "#b"] {
                pair.say(on, 3, &format!("JOIN {room}"));
            }
        }
        let mut speakers = [[0, 1, 2]; 2];
        let mut seen = [String::new(), String::new()];
        for (n, late) in steps.into_iter().enumerate() {
            match late {
                LateStep::Apply(on, count) => {
                    for _ in 0..count {
                        pair.apply_next(on);
                    }
                }
                LateStep::Do(on, speaker, step) => {
                    let who = speakers[on][speaker];
                    let line = step.line(n);
                    if line.is_empty() {
                        pair.cut(on, who);
                    } else if pair.servers[on].takes_lines(who) {
                        pair.send(on, who, &line);
                    }
                    if pair.servers[on].sessions[who].is_ending() {
                        pair.servers[on].read(who);
                        speakers[on][speaker] = pair.servers[on].connect();
                    }
                }
            }
            for on in [0, 1] {
                seen[on] += &pair.read(on, 3);
            }
        }
        pair.settle();
        for on in [0, 1] {
            seen[on] += &pair.read(on, 3);
            prop_assert_eq!(pair.used(on), pair.agreed(on), "server {}", on);
        }
        let in_rooms = seen.each_ref().map(|text| {
            let lines = text.lines().filter(|line| !line.starts_with("MSG "));
            let mut lines: Vec<_> = lines.collect();
            // The order of lines in different rooms is not promised.
            lines.sort_by_key(|line| line.split(' ').nth(1));
            lines.join("\n")
        });
        prop_assert_eq!(&in_rooms[0], &in_rooms[1]);
        for room in ["#lobby", "#a", "#b"] {
            let [one, other] = [0, 1].map(|on| pair.say(on, 3, &format!("WHO {room}")));
            prop_assert_eq!(one, other);
        }
    }
}
