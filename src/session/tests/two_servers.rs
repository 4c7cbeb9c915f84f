//! Tests of two servers on one log, without a network between them. A message sent on one server appears on the other
//! in the same order and with the same id, however late each server applies the log's decisions.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{SharedLog, Table};
use crate::config::Config;
use crate::log::{Log, Span};
use crate::protocol::RoomName;

const ROOMS: [&str; 2] = ["#a", "#b"];

/// The next action on a server.
#[derive(Clone, Debug)]
enum Act {
    Say(usize),
    SetTopic(usize),
    /// Removes the message that was sent last on that server.
    Remove,
    /// Joins a room with a new connection that resumes after one of the earlier ids, which is given by its index.
    Resume(usize, usize),
    /// Applies the log's decisions on the server.
    Apply,
    /// Sends a message on the other server. The log has it before this server applies it.
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

/// Returns the id and the rest of each logged line in a room, whether it is a `PAST` or a `LIVE` line.
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
                    // The message is sent on the other server. This server receives it with its next `Apply`.
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
