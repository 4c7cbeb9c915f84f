//! Guarantees 8 to 10 of protocol.md against a model: whoever is in a room gets what is said there, once,
//! in the order of the ids, with the `OK` to its own where that stands, however slowly it reads; and where
//! something is no longer kept for it, there stands a `GAP`.

mod support;

use std::collections::HashMap;
use std::time::Duration;

use plainchat::config::Limits;
use proptest::collection::vec;
use proptest::prelude::*;
use support::memory::Memory;
use support::run::{Server, Taken};

const PEERS: usize = 4;
const ROOMS: [&str; 3] = ["#a", "#b", "#c"];

/// What a peer does next.
#[derive(Clone, Debug)]
enum Act {
    Say,
    Tell(usize),
    Join(usize),
    Part(usize),
    Rename,
    Stall,
    Read,
}

fn act() -> impl Strategy<Value = (usize, Act)> {
    let room = 0..ROOMS.len();
    let act = prop_oneof![
        6 => Just(Act::Say),
        2 => room.clone().prop_map(Act::Tell),
        3 => room.clone().prop_map(Act::Join),
        1 => room.prop_map(Act::Part),
        1 => Just(Act::Rename),
        1 => Just(Act::Stall),
        1 => Just(Act::Read),
    ];
    (0..PEERS, act)
}

/// The id of the first thing that is said.
const FIRST_ID: u64 = 1_795_305_600_000_001;

/// How the server is, and how its readers read.
#[derive(Clone, Debug)]
struct How {
    limits: Limits,
    /// How many bytes the network takes at once.
    takes: usize,
    is_stamped: bool,
}

fn how(tail_bytes_max: usize) -> impl Strategy<Value = How> {
    let takes = prop_oneof![Just(usize::MAX), 1..300_usize];
    (takes, any::<bool>()).prop_map(move |(takes, is_stamped)| How {
        limits: Limits {
            tail_bytes_max,
            ..Limits::default()
        },
        takes,
        is_stamped,
    })
}

/// Something that stands in what a peer received, in one room.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stands {
    /// What another one said.
    Live(u64),
    /// The `OK` to what it said itself.
    Own(u64),
    Gap,
    /// The reply to a `JOIN` or `NICK`, with so many things said before it in the whole server.
    Told(u64),
}

/// What the model knows of a peer.
#[derive(Default)]
struct Model {
    /// The rooms it is in, the current one last.
    rooms: Vec<usize>,
    /// For each room, the numbers (from 0 on, over all rooms) of what it is to see there, in order.
    expected: HashMap<usize, Vec<u64>>,
    /// Where it said what it said.
    said: Vec<(usize, u64)>,
    /// The room and the last id that its `JOIN`s and `NICK`s are to be told.
    told: Vec<(usize, u64)>,
}

/// Does `acts` on a server and in the model; returns both.
fn run(acts: &[(usize, Act)], how: &How) -> (Vec<String>, Vec<Model>) {
    let mut server = Memory::with_limits(how.limits.clone(), how.takes);
    let stamps = if how.is_stamped { "on" } else { "off" };
    let mut models: Vec<Model> = Vec::new();
    for n in 0..PEERS {
        let peer = server.open().unwrap();
        let hello = format!("STAMPS {stamps}\nJOIN #a\nNICK peer{n}\n");
        server.push(peer, hello.as_bytes()).unwrap();
        models.push(Model {
            rooms: vec![0],
            told: vec![(0, 0), (0, 0)],
            ..Model::default()
        });
    }
    let mut count = 0;
    let mut last_ids = [0; ROOMS.len()];
    for (at, (peer, act)) in acts.iter().enumerate() {
        let id = FIRST_ID + count;
        let current = models[*peer].rooms.last().copied();
        let (line, room) = match act {
            Act::Say => (format!("MSG {id}"), current),
            Act::Tell(room) => (format!("TELL {} {id}", ROOMS[*room]), Some(*room)),
            Act::Join(room) => {
                models[*peer].rooms.retain(|other| other != room);
                models[*peer].rooms.push(*room);
                models[*peer].told.push((*room, last_ids[*room]));
                (format!("JOIN {}", ROOMS[*room]), None)
            }
            Act::Part(room) => {
                models[*peer].rooms.retain(|other| other != room);
                (format!("PART {}", ROOMS[*room]), None)
            }
            Act::Rename if current.is_none() => continue,
            Act::Rename => {
                let current = current.unwrap_or_default();
                models[*peer].told.push((current, last_ids[current]));
                (format!("NICK peer{peer}x{at}"), None)
            }
            Act::Stall | Act::Read => {
                server.stall(*peer, matches!(act, Act::Stall));
                continue;
            }
        };
        if let Some(room) = room {
            models[*peer].said.push((room, count));
            for (n, model) in models.iter_mut().enumerate() {
                if n == *peer || model.rooms.contains(&room) {
                    model.expected.entry(room).or_default().push(count);
                }
            }
            count += 1;
            last_ids[room] = id;
        }
        server.push(*peer, format!("{line}\n").as_bytes()).unwrap();
    }
    let received = (0..PEERS).map(|peer| {
        server.stall(peer, false);
        received(&mut server, peer).join("\n")
    });
    (received.collect(), models)
}

/// What stands in `received`, room by room.
fn stands(received: &str, model: &Model) -> HashMap<usize, Vec<Stands>> {
    let mut found: HashMap<usize, Vec<Stands>> = HashMap::new();
    let mut said = model.said.iter();
    let mut told = model.told.iter();
    let room_of = |name: &str| {
        ROOMS
            .iter()
            .position(|room| *room == name)
            .expect("one of the rooms")
    };
    let number = |id: &str| id.parse::<u64>().expect("an id") - FIRST_ID;
    for line in received.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (room, stands) = match words[..] {
            // What is said is the id that it will have.
            ["LIVE", id, _, "MSG", room, _, said] => {
                assert_eq!(id, said);
                (room_of(room), Stands::Live(number(id)))
            }
            ["MSG", room, _, said] => (room_of(room), Stands::Live(number(said))),
            ["OK", "MSG" | "TELL", id, _] => {
                let (room, count) = said.next().expect("no more replies than requests");
                assert_eq!(
                    number(id),
                    *count,
                    "ids are given in the order of what is said"
                );
                (*room, Stands::Own(*count))
            }
            ["OK", "JOIN", room, last] | ["OK", "NICK", _, room, last] => {
                let expected = told.next().expect("no more replies than requests");
                assert_eq!(
                    (room_of(room), last),
                    (expected.0, &*expected.1.to_string())
                );
                (
                    expected.0,
                    Stands::Told((expected.1 + 1).saturating_sub(FIRST_ID)),
                )
            }
            ["GAP", room] => (room_of(room), Stands::Gap),
            _ => continue,
        };
        found.entry(room).or_default().push(stands);
    }
    assert_eq!(
        (said.next(), told.next()),
        (None, None),
        "every request is answered"
    );
    found
}

/// Each room's events are those expected, in order; something is missing only after a gap.
fn check(acts: &[(usize, Act)], how: &How, has_gaps: bool) -> Result<(), TestCaseError> {
    let (received, models) = run(acts, how);
    for (peer, (received, model)) in received.iter().zip(&models).enumerate() {
        let found = stands(received, model);
        for (room, name) in ROOMS.iter().enumerate() {
            let expected = model
                .expected
                .get(&room)
                .map(Vec::as_slice)
                .unwrap_or_default();
            let found = found.get(&room).map(Vec::as_slice).unwrap_or_default();
            let story = || {
                format!("peer {peer} in {name} expected {expected:?}, found {found:?}\n{received}")
            };
            let mut left = expected.iter();
            let mut may_miss = false;
            // What is said from there on has not come yet; all before it has.
            let (mut newest, mut oldest) = (None, 0);
            for stands in found {
                let count = match stands {
                    Stands::Live(count) | Stands::Own(count) => count,
                    Stands::Gap => {
                        prop_assert!(has_gaps, "a gap that need not be: {}", story());
                        may_miss = true;
                        continue;
                    }
                    Stands::Told(next) => {
                        prop_assert!(
                            newest < Some(*next),
                            "live before its JOIN's OK: {}",
                            story()
                        );
                        oldest = *next;
                        continue;
                    }
                };
                prop_assert!(
                    *count >= oldest,
                    "live after the OK with a later id: {}",
                    story()
                );
                newest = Some(*count);
                let skipped = left.position(|expected| expected == count);
                prop_assert!(
                    skipped.is_some(),
                    "twice, or out of order, or not for it: {}",
                    story()
                );
                prop_assert!(
                    skipped == Some(0) || may_miss,
                    "missing without a gap: {}",
                    story()
                );
                // Replies are never left out: those to what stood inside the hole come after its `GAP`.
                may_miss &= matches!(stands, Stands::Own(_));
            }
            prop_assert!(
                left.next().is_none() || may_miss,
                "missing at the end: {}",
                story()
            );
        }
    }
    Ok(())
}

/// A case is a long conversation, so a few at a time; `PROPTEST_CASES=10000` looks longer.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases.div_ceil(4),
        ..default
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whoever_is_in_a_room_gets_everything_once_and_in_order(
        acts in vec(act(), 0..120),
        how in how(512 << 10),
    ) {
        check(&acts, &how, false)?;
    }

    #[test]
    fn what_is_no_longer_kept_leaves_a_gap(acts in vec(act(), 0..200), how in how(600)) {
        check(&acts, &how, true)?;
    }
}

/// Everything that has come for `peer`, in lines.
fn received(server: &mut Memory, peer: usize) -> Vec<String> {
    let mut out = Vec::new();
    while let Taken::Bytes(bytes) = server.take(peer, Duration::ZERO) {
        out.extend(bytes);
    }
    let text = String::from_utf8(out).expect("lines are UTF-8");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn whoever_leaves_what_it_was_told_unread_is_busy_until_it_has_read() {
    let mut server = Memory::with_limits(Limits::default(), usize::MAX);
    let [alice, bob] = ["NICK alice\n", "NICK bob\n"].map(|hello| {
        let peer = server.open().unwrap();
        server.push(peer, hello.as_bytes()).unwrap();
        received(&mut server, peer);
        peer
    });
    let tell = format!("TELL bob {}\n", "x".repeat(1000));
    server.stall(bob, true);
    let mut told = 0;
    loop {
        server.push(alice, tell.as_bytes()).unwrap();
        match &received(&mut server, alice)[..] {
            [reply] if reply.starts_with("OK TELL - ") => told += 1,
            [reply] if reply.starts_with("ERR TELL busy ") => break,
            other => panic!("{other:?}"),
        }
        assert!(told < 100, "bob has room for 64 KiB and reads nothing");
    }
    assert!(told > 20, "bob is busy after {told} KiB");
    server.stall(bob, false);
    assert_eq!(
        received(&mut server, bob).len(),
        told,
        "nothing that was answered OK is lost"
    );
    server.push(alice, tell.as_bytes()).unwrap();
    assert!(received(&mut server, alice)[0].starts_with("OK TELL - "));
}

#[test]
fn a_reader_far_behind_gets_a_gap_and_goes_on_with_what_is_there() {
    let mut server = Memory::with_limits(Limits::default(), usize::MAX);
    let [alice, bob] = ["NICK alice\n", "JOIN #lobby\n"].map(|hello| {
        let peer = server.open().unwrap();
        server.push(peer, hello.as_bytes()).unwrap();
        received(&mut server, peer);
        peer
    });
    server.stall(bob, true);
    for n in 0..2000 {
        server
            .push(alice, format!("MSG {n} {}\n", "x".repeat(1000)).as_bytes())
            .unwrap();
    }
    server.stall(bob, false);
    let lines = received(&mut server, bob);
    assert_eq!(lines[0], "GAP #lobby");
    assert!(
        lines[1..]
            .iter()
            .all(|line| line.starts_with("MSG #lobby alice ")),
        "one gap"
    );
    assert!(
        (400..600).contains(&lines.len()),
        "{} lines of 1 KiB out of 512 KiB",
        lines.len()
    );
    assert!(lines[lines.len() - 1].starts_with("MSG #lobby alice 1999 "));
}

#[test]
fn what_a_nick_was_told_arrives_though_it_is_given_up_meanwhile() {
    let mut server = Memory::with_limits(Limits::default(), usize::MAX);
    let [alice, bob] = ["NICK alice\n", "NICK bob\n"].map(|hello| {
        let peer = server.open().unwrap();
        server.push(peer, hello.as_bytes()).unwrap();
        received(&mut server, peer);
        peer
    });
    server.stall(alice, true);
    server.push(bob, b"TELL alice psst\n").unwrap();
    assert!(received(&mut server, bob)[0].starts_with("OK TELL - "));
    server.push(alice, b"NICK anna\n").unwrap();
    server.stall(alice, false);
    let mut lines = received(&mut server, alice);
    lines.sort();
    assert_eq!(lines[0], "MSG alice bob psst", "{lines:?}");
}
