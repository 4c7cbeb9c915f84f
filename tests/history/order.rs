//! protocol.md 2, 3.9, 4.5, 5.5: guarantees 8 to 10 against a model.
//!
//! Every member of a room receives every event that is logged there, once, in the order of the ids. The `OK` to a
//! member's own event comes at that event's position. This holds however slowly a member reads, however late the log
//! stores entries, and wherever a member resumes.

use std::collections::HashMap;
use std::time::Duration;

use crate::support::memory::Memory;
use crate::support::run::{Server, Taken};
use plainchat::config::Limits;
use plainchat::log::Record;
use proptest::collection::vec;
use proptest::prelude::*;

const PEERS: usize = 4;
const ROOMS: [&str; 3] = ["#a", "#b", "#c"];

/// The next action of a peer.
#[derive(Clone, Debug)]
enum Act {
    Say,
    /// Sends this number of lines as one message.
    Text(u64),
    Tell(usize),
    /// Sends a message to the room with a nonce.
    Nonce(usize),
    /// Sends the last message with a nonce again.
    Again,
    /// Edits the message of its own with this index, of those that are stored in the room at that moment.
    Edit(usize, usize),
    /// Reacts to the message with this index, of those that are stored in the room at that moment.
    React(usize, usize),
    Join(usize),
    /// Resumes from the id that the message with this index has at that moment.
    Resume(usize, usize),
    Part(usize),
    Rename,
    Stall,
    Read,
}

fn act() -> impl Strategy<Value = (usize, Act)> {
    let room = 0..ROOMS.len();
    let act = prop_oneof![
        6 => Just(Act::Say),
        2 => (1..5_u64).prop_map(Act::Text),
        2 => room.clone().prop_map(Act::Tell),
        1 => room.clone().prop_map(Act::Nonce),
        1 => Just(Act::Again),
        2 => (room.clone(), 0..20_usize).prop_map(|(room, at)| Act::Edit(room, at)),
        2 => (room.clone(), 0..20_usize).prop_map(|(room, at)| Act::React(room, at)),
        3 => room.clone().prop_map(Act::Join),
        1 => (room.clone(), 0..20_usize).prop_map(|(room, at)| Act::Resume(room, at)),
        1 => room.prop_map(Act::Part),
        1 => Just(Act::Rename),
        1 => Just(Act::Stall),
        1 => Just(Act::Read),
    ];
    (0..PEERS, act)
}

/// The conditions of a run: the server, the log and the readers.
#[derive(Clone, Debug)]
struct How {
    limits: Limits,
    /// The number of bytes that the network accepts at once.
    takes: usize,
    /// How long the log waits before it stores entries; 0 for no delay.
    late: usize,
    is_stamped: bool,
}

fn how(tail_bytes_max: usize) -> impl Strategy<Value = How> {
    let takes = prop_oneof![Just(usize::MAX), 1..300_usize];
    let late = prop_oneof![Just(0), 1..8_usize, 8..40_usize];
    (takes, late, any::<bool>()).prop_map(move |(takes, late, is_stamped)| How {
        limits: Limits {
            tail_bytes_max,
            ..Limits::default()
        },
        takes,
        late,
        is_stamped,
    })
}

/// A request whose reply has a position in a room.
#[derive(Clone, Debug)]
enum Asked {
    /// Sends this number as a message, an edit or a reaction, or as a text of this many lines.
    Say(usize, u64, u64),
    /// Sends this number again, with the nonce that it had.
    Again(usize, u64),
    /// Joins the room, with the events after an id.
    Join(usize, Option<u64>),
    Rename,
    Part(usize),
}

/// The emoji that stands for 0: each reaction of a run has its own, which stands for a number.
const FIRST_EMOJI: u32 = 0x1F300;

/// The number of different emoji that a message may have.
const EMOJI_MAX: usize = 20;

fn emoji(number: u64) -> char {
    char::from_u32(FIRST_EMOJI + number as u32).expect("a character")
}

/// Returns the number that a logged event carries. The last word of a message is its number, also after an edit. An
/// edit consists of its own number and that of the message.
fn number(event: &[&str]) -> Option<u64> {
    match event {
        ["MSG", _, _, .., sent] | ["EDIT", _, _, _, sent, _] => sent.parse().ok(),
        ["REACT", _, _, _, emoji] => {
            let emoji = u32::from(emoji.chars().next()?);
            emoji.checked_sub(FIRST_EMOJI).map(u64::from)
        }
        _ => None,
    }
}

/// Executes `acts` on a server. Returns what each peer received and requested, and the log of each room.
#[allow(clippy::type_complexity)]
fn run(acts: &[(usize, Act)], how: &How) -> (Vec<(Vec<String>, Vec<Asked>)>, Vec<Vec<(u64, u64)>>) {
    let mut server = Memory::late(how.limits.clone(), how.takes, how.late);
    let stamps = if how.is_stamped { "on" } else { "off" };
    let mut asked = vec![Vec::new(); PEERS];
    // The rooms of each peer, the current one last: this does not depend on when entries are stored.
    let mut rooms = vec![vec![0]; PEERS];
    let mut nicks: Vec<_> = (0..PEERS).map(|n| format!("peer{n}")).collect();
    // The last message of each peer with a nonce, sent under its current nick.
    let mut nonces = [None; PEERS];
    let mut reactions: HashMap<u64, usize> = HashMap::new();
    for (n, asked) in asked.iter_mut().enumerate() {
        let peer = server.open().unwrap();
        let hello = format!("STAMPS {stamps}\nJOIN #a\nNICK {}\n", nicks[n]);
        server.push(peer, hello.as_bytes()).unwrap();
        asked.extend([Asked::Join(0, None), Asked::Rename]);
    }
    for (at, (peer, act)) in acts.iter().enumerate() {
        let (asked, rooms) = (&mut asked[*peer], &mut rooms[*peer]);
        let current = rooms.last().copied();
        let number = at as u64;
        let line = match (act, current) {
            (Act::Say, Some(current)) => {
                asked.push(Asked::Say(current, number, 1));
                format!("MSG {number}")
            }
            (Act::Text(lines), Some(current)) => {
                asked.push(Asked::Say(current, number, *lines));
                let text = format!("{number}\n").repeat(*lines as usize);
                format!("TEXT {}\n{}", text.len(), text.trim_end())
            }
            (Act::Tell(room), _) => {
                asked.push(Asked::Say(*room, number, 1));
                format!("TELL {} {number}", ROOMS[*room])
            }
            (Act::Nonce(room), _) => {
                asked.push(Asked::Say(*room, number, 1));
                nonces[*peer] = Some((*room, number));
                format!("@nonce=n{number} TELL {} {number}", ROOMS[*room])
            }
            (Act::Again, _) => {
                let Some((room, number)) = nonces[*peer] else {
                    continue;
                };
                asked.push(Asked::Again(room, number));
                format!("@nonce=n{number} TELL {} {number}", ROOMS[room])
            }
            (Act::Edit(room, index) | Act::React(room, index), _) => {
                let is_edit = matches!(act, Act::Edit(..));
                let own = format!("MSG {} {} ", ROOMS[*room], nicks[*peer]);
                let can_name = |record: &Record| {
                    let reactions = reactions.get(&record.id.get()).copied();
                    if is_edit {
                        record.line.starts_with(&own)
                    } else {
                        record.line.starts_with("MSG ") && reactions < Some(EMOJI_MAX)
                    }
                };
                let mut log = server.log_of(ROOMS[*room]);
                log.retain(can_name);
                if log.is_empty() {
                    continue;
                }
                let record = &log[index % log.len()];
                let id = record.id.get();
                asked.push(Asked::Say(*room, number, 1));
                if is_edit {
                    let sent = record.line.rsplit(' ').next().unwrap_or_default();
                    format!("EDIT {id} {number} {sent}")
                } else {
                    *reactions.entry(id).or_default() += 1;
                    format!("REACT {id} {}", emoji(number))
                }
            }
            (Act::Join(room) | Act::Resume(room, _), _) => {
                rooms.retain(|other| other != room);
                rooms.push(*room);
                let mut line = format!("JOIN {}", ROOMS[*room]);
                let mut from = None;
                if let Act::Resume(_, index) = act {
                    let log = server.log_of(ROOMS[*room]);
                    let id = log.get(*index).map_or(0, |record| record.id.get());
                    line += &format!(" {id}");
                    from = Some(id);
                }
                asked.push(Asked::Join(*room, from));
                line
            }
            (Act::Part(room), _) if rooms.contains(room) => {
                rooms.retain(|other| other != room);
                asked.push(Asked::Part(*room));
                format!("PART {}", ROOMS[*room])
            }
            (Act::Rename, Some(_)) => {
                asked.push(Asked::Rename);
                nonces[*peer] = None;
                nicks[*peer] = format!("peer{peer}x{at}");
                format!("NICK {}", nicks[*peer])
            }
            (Act::Stall | Act::Read, _) => {
                server.stall(*peer, matches!(act, Act::Stall));
                continue;
            }
            (Act::Say | Act::Text(_) | Act::Part(_) | Act::Rename, _) => continue,
        };
        server.push(*peer, format!("{line}\n").as_bytes()).unwrap();
    }
    // Peers that were not reading read now, and entries are stored meanwhile.
    (0..PEERS).for_each(|peer| server.stall(peer, false));
    let mut received = vec![Vec::new(); PEERS];
    for _ in 0..2 {
        for (peer, lines) in received.iter_mut().enumerate() {
            lines.extend(self::received(&mut server, peer));
        }
    }
    let logs = ROOMS.map(|room| {
        let records = server.log_of(room).into_iter();
        let of = |record: Record| {
            let words: Vec<_> = record.line.split(' ').collect();
            (record.id.get(), number(&words).expect("what was sent"))
        };
        records.map(of).collect()
    });
    (received.into_iter().zip(asked).collect(), logs.into())
}

/// The position of a peer in a room that it has joined.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    is_in: bool,
    /// The number of the room's events that the peer has received, or that existed when it joined.
    at: usize,
    /// The last id of the backlog that is sent before the reply to `JOIN`.
    past: Option<usize>,
}

/// A check that follows the output of one peer, and reports what is wrong.
struct Reader<'a> {
    logs: &'a [Vec<(u64, u64)>],
    reading: [Reading; ROOMS.len()],
    /// The number of reported gaps.
    gaps: usize,
}

fn room_of(name: &str) -> Result<usize, String> {
    let at = ROOMS.iter().position(|room| *room == name);
    at.ok_or_else(|| format!("{name} is none of the rooms"))
}

fn parse(id: &str) -> Result<u64, String> {
    id.parse().map_err(|_| format!("{id} is no id"))
}

impl Reader<'_> {
    /// Returns the number of the room's events whose ids are at most `id`.
    fn up_to(&self, room: usize, id: u64) -> usize {
        self.logs[room].partition_point(|(known, _)| *known <= id)
    }

    /// Checks that the event with the id `id` and the message `sent` is the next one of the room.
    fn next(&mut self, room: usize, id: Option<u64>, sent: u64) -> Result<(), String> {
        let reading = &mut self.reading[room];
        let expected = self.logs[room].get(reading.at).copied();
        let fits =
            expected.is_some_and(|(known, text)| text == sent && id.is_none_or(|id| id == known));
        reading.at += 1;
        if fits {
            Ok(())
        } else {
            Err(format!(
                "{sent} where {expected:?} is next in {}",
                ROOMS[room]
            ))
        }
    }

    fn live(&mut self, room: &str, id: Option<u64>, sent: u64) -> Result<(), String> {
        let room = room_of(room)?;
        if !self.reading[room].is_in {
            return Err(format!("{sent} of {}, where it is not", ROOMS[room]));
        }
        self.next(room, id, sent)
    }

    fn past(&mut self, room: &str, id: u64, sent: u64, asked: &Asked) -> Result<(), String> {
        let room = room_of(room)?;
        let Asked::Join(of, Some(after)) = asked else {
            return Err("a past that was not asked for".into());
        };
        let at = self.reading[room].past.unwrap_or(self.up_to(*of, *after));
        let expected = self.logs[room].get(at);
        if *of != room || expected != Some(&(id, sent)) {
            return Err(format!("PAST {id} where {expected:?} is next"));
        }
        self.reading[room].past = Some(at + 1);
        Ok(())
    }

    /// Checks that a reply fits its position in the output.
    fn reply(&mut self, words: &[&str], asked: &Asked) -> Result<(), String> {
        match (words, asked) {
            (
                [
                    "MSG" | "TELL" | "TEXT" | "EDIT" | "REACT",
                    id,
                    _,
                    count @ ..,
                ],
                Asked::Say(room, sent, lines),
            ) => {
                if count.iter().any(|count| **count != lines.to_string()) {
                    return Err(format!("{count:?} lines of {lines}"));
                }
                let first = parse(id)?;
                for id in first..first + lines {
                    if !self.logs[*room].contains(&(id, *sent)) {
                        return Err(format!("{sent} was answered {id} and is not kept so"));
                    }
                    if self.reading[*room].is_in {
                        self.next(*room, Some(id), *sent)?;
                    }
                }
                Ok(())
            }
            (["TELL", id, _], Asked::Again(room, sent)) => {
                let id = parse(id)?;
                let reading = &self.reading[*room];
                if !self.logs[*room].contains(&(id, *sent)) {
                    Err(format!("{sent} was answered {id} and is not kept so"))
                } else if reading.is_in && reading.at < self.up_to(*room, id) {
                    Err(format!("{sent} was answered before its position"))
                } else {
                    Ok(())
                }
            }
            (["JOIN", name, last], Asked::Join(room, after)) if room_of(name) == Ok(*room) => {
                let last = self.up_to(*room, parse(last)?);
                let from = after.map(|after| self.up_to(*room, after));
                let reading = &mut self.reading[*room];
                let has_past = match from {
                    Some(from) => reading.past.unwrap_or(from).max(from) == last.max(from),
                    None => true,
                };
                let is_whole = has_past && (!reading.is_in || reading.at == last);
                let at = reading.at;
                *reading = Reading {
                    is_in: true,
                    at: last,
                    past: None,
                };
                if is_whole {
                    Ok(())
                } else {
                    Err(format!("{words:?} came after {at} events, from {from:?}"))
                }
            }
            (["NICK", _, name, last], Asked::Rename) => {
                let room = room_of(name)?;
                let last = self.up_to(room, parse(last)?);
                if self.reading[room].at == last {
                    Ok(())
                } else {
                    Err(format!("{words:?} came after {:?}", self.reading[room]))
                }
            }
            (["PART", name], Asked::Part(room)) if room_of(name) == Ok(*room) => {
                self.reading[*room].is_in = false;
                Ok(())
            }
            _ => Err(format!("{words:?} answers {asked:?}")),
        }
    }
}

/// Checks a line that is not a logged event.
fn other<'a>(
    words: &[&str],
    asked: &mut impl Iterator<Item = &'a Asked>,
    reader: &mut Reader<'_>,
) -> Result<(), String> {
    match words {
        ["OK", "STAMPS", _] => Ok(()),
        ["OK", words @ ..] => match asked.next() {
            Some(asked) => reader.reply(words, asked),
            None => Err("a reply to nothing".into()),
        },
        ["GAP", _] => {
            reader.gaps += 1;
            Ok(())
        }
        ["LIVE", "-", ..] | ["NICK" | "JOIN" | "PART", ..] => Ok(()),
        _ => Err("an unexpected line".into()),
    }
}

/// Checks everything that a peer received.
fn check_peer(lines: &[String], asked: &[Asked], reader: &mut Reader<'_>) -> Result<(), String> {
    let mut asked = asked.iter().peekable();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let (mark, event) = match words[..] {
            ["LIVE" | "PAST", id, _, ref event @ ..] if id != "-" => (Some((words[0], id)), event),
            _ => (None, &words[..]),
        };
        let result = match (number(event), mark) {
            (Some(sent), Some(("PAST", id))) => match asked.peek() {
                Some(asked) => reader.past(event[1], parse(id)?, sent, asked),
                None => Err("a past that nobody asked for".into()),
            },
            (Some(sent), Some((_, id))) => reader.live(event[1], Some(parse(id)?), sent),
            (Some(sent), None) => reader.live(event[1], None, sent),
            (None, _) => other(&words, &mut asked, reader),
        };
        result.map_err(|why| format!("{line}: {why}"))?;
    }
    if let Some(asked) = asked.next() {
        return Err(format!("{asked:?} is not answered"));
    }
    for (room, reading) in reader.reading.iter().enumerate() {
        let count = reader.logs[room].len();
        if reading.is_in && reading.at != count {
            return Err(format!("got {} of {count} in {}", reading.at, ROOMS[room]));
        }
    }
    Ok(())
}

/// Checks that every member of a room receives every event of its log, once and in order, and the reply to its own
/// event at that event's position. Only a rename may be missing, with a `GAP` in its place.
fn check(acts: &[(usize, Act)], how: &How, may_gap: bool) -> Result<(), TestCaseError> {
    let (peers, logs) = run(acts, how);
    let asked = peers.iter().flat_map(|(_, asked)| asked);
    let sent = asked.map(|asked| match asked {
        Asked::Say(_, _, lines) => *lines as usize,
        _ => 0,
    });
    prop_assert_eq!(
        logs.iter().map(Vec::len).sum::<usize>(),
        sent.sum::<usize>()
    );
    let has_renames = acts.iter().any(|(_, act)| matches!(act, Act::Rename));
    for (peer, (lines, asked)) in peers.iter().enumerate() {
        let mut reader = Reader {
            logs: &logs,
            reading: Default::default(),
            gaps: 0,
        };
        let result = check_peer(lines, asked, &mut reader);
        let story = || format!("peer {peer}\n{}\nlogs {logs:?}", lines.join("\n"));
        if let Err(why) = result {
            prop_assert!(false, "{}\n{}", why, story());
        }
        prop_assert!(
            reader.gaps == 0 || may_gap && has_renames,
            "a gap that need not be: {}",
            story()
        );
    }
    Ok(())
}

/// Runs few cases, since each is a long conversation; `PROPTEST_CASES=10000` runs more.
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
    fn every_member_receives_everything_once_and_in_order(
        acts in vec(act(), 0..120),
        how in how(512 << 10),
    ) {
        check(&acts, &how, false)?;
    }

    #[test]
    fn a_reader_that_falls_behind_the_tail_misses_nothing(
        acts in vec(act(), 0..200),
        how in how(600),
    ) {
        check(&acts, &how, true)?;
    }
}

/// Returns everything that `peer` has received, as text lines.
fn received(server: &mut Memory, peer: usize) -> Vec<String> {
    let mut out = Vec::new();
    while let Taken::Bytes(bytes) = server.take(peer, Duration::ZERO) {
        out.extend(bytes);
    }
    let text = String::from_utf8(out).expect("lines are UTF-8");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_nick_with_a_full_inbox_is_busy_until_it_has_read() {
    let mut server = Memory::with_limits(Limits::default(), usize::MAX);
    let [alice, bob] = ["NICK alice\n", "NICK bob\n"].map(|hello| {
        let peer = server.open().unwrap();
        server.push(peer, hello.as_bytes()).unwrap();
        received(&mut server, peer);
        peer
    });
    let tell = format!("TELL bob {}\n", "x".repeat(1000));
    server.stall(bob, true);
    let mut waiting = 0;
    loop {
        server.push(alice, tell.as_bytes()).unwrap();
        match &received(&mut server, alice)[..] {
            [reply] if reply.starts_with("OK TELL - ") => waiting += 1,
            [reply] if reply.starts_with("ERR TELL busy ") => break,
            other => panic!("{other:?}"),
        }
        assert!(waiting < 100, "bob has room for 64 KiB and reads nothing");
    }
    assert!(waiting > 20, "bob is busy after {waiting} KiB");
    server.stall(bob, false);
    assert_eq!(
        received(&mut server, bob).len(),
        waiting,
        "nothing that was answered OK is lost"
    );
    server.push(alice, tell.as_bytes()).unwrap();
    assert!(received(&mut server, alice)[0].starts_with("OK TELL - "));
}

/// Messages between registered nicks are stored, so there is no `busy`. A message that does not fit into memory is in
/// the history, and a `GAP` says that it is missing.
#[test]
fn a_registered_nick_that_does_not_read_finds_its_messages_in_the_history() {
    let mut server = Memory::with_limits(Limits::default(), usize::MAX);
    let [alice, bob] = ["alice", "bob"].map(|nick| {
        let peer = server.open().unwrap();
        let hello = format!("NICK {nick}\nREGISTER her secret\n");
        server.push(peer, hello.as_bytes()).unwrap();
        assert_eq!(received(&mut server, peer).len(), 2);
        peer
    });
    let tell = format!("TELL bob {}\n", "x".repeat(1000));
    server.stall(bob, true);
    for _ in 0..200 {
        server.push(alice, tell.as_bytes()).unwrap();
        let reply = received(&mut server, alice);
        assert!(
            matches!(&reply[..], [reply] if reply.starts_with("OK TELL 1")),
            "{reply:?}"
        );
    }
    server.stall(bob, false);
    let live = received(&mut server, bob);
    let waiting = live
        .iter()
        .filter(|line| line.starts_with("MSG bob alice "))
        .count();
    assert!((20..100).contains(&waiting), "{waiting} of them waited");
    assert_eq!(live.iter().filter(|line| *line == "GAP bob").count(), 1);
    assert_eq!(live.len(), waiting + 1);
    server.push(bob, b"HISTORY bob 1000\n").unwrap();
    assert_eq!(received(&mut server, bob).last().unwrap(), "OK HISTORY 200");
}

#[test]
fn a_reader_far_behind_gets_everything_from_the_log() {
    let mut server = Memory::with_limits(Limits::default(), usize::MAX);
    let [alice, bob] = ["NICK alice\n", "JOIN #lobby\n"].map(|hello| {
        let peer = server.open().unwrap();
        server.push(peer, hello.as_bytes()).unwrap();
        received(&mut server, peer);
        peer
    });
    server.stall(bob, true);
    for n in 0..2000 {
        let line = format!("MSG {n} {}\n", "x".repeat(1000));
        server.push(alice, line.as_bytes()).unwrap();
    }
    // An unlogged event, which later is no longer in the tail either.
    server.push(alice, b"NICK anna\n").unwrap();
    for n in 2000..4000 {
        let line = format!("MSG {n} {}\n", "x".repeat(1000));
        server.push(alice, line.as_bytes()).unwrap();
    }
    server.stall(bob, false);
    let lines = received(&mut server, bob);
    let (gaps, sent): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.starts_with("GAP "));
    assert_eq!(gaps, ["GAP #lobby"], "the rename is left out, and once");
    assert_eq!(sent.len(), 4000);
    for (n, line) in sent.iter().enumerate() {
        let nick = if n < 2000 { "alice" } else { "anna" };
        assert!(
            line.starts_with(&format!("MSG #lobby {nick} {n} ")),
            "{line}"
        );
    }
}

#[test]
fn expired_events_leave_one_gap_before_the_rest() {
    let limits = Limits {
        tail_bytes_max: 600,
        memory_log_bytes_max: 2000,
        ..Limits::default()
    };
    let mut server = Memory::with_limits(limits, usize::MAX);
    let hello = "STAMPS on\nJOIN #a\n";
    let [bob, alice] = [hello, "JOIN #a\nNICK alice\n"].map(|hello| {
        let peer = server.open().unwrap();
        server.push(peer, hello.as_bytes()).unwrap();
        received(&mut server, peer);
        peer
    });
    server.push(alice, b"MSG 0\n").unwrap();
    let first = received(&mut server, bob)[0].clone();
    let first = first.split(' ').nth(1).expect("a stamp").to_owned();
    server.stall(bob, true);
    for n in 1..100 {
        server.push(alice, format!("MSG {n}\n").as_bytes()).unwrap();
    }
    let kept: Vec<String> = server.log_of("#a").into_iter().map(|r| r.line).collect();
    assert!((5..50).contains(&kept.len()), "{} are kept", kept.len());
    assert_eq!(kept.last().map(String::as_str), Some("MSG #a alice 99"));
    let lines_of = |lines: &[String], mark: &str| -> Vec<String> {
        let events = lines.iter().filter(|line| line.starts_with(mark));
        events
            .map(|line| line.splitn(4, ' ').nth(3).expect("an event").to_owned())
            .collect()
    };
    // A slow reader.
    server.stall(bob, false);
    let lines = received(&mut server, bob);
    assert_eq!(lines[0], "GAP #a");
    assert_eq!(lines_of(&lines[1..], "LIVE "), kept);
    assert_eq!(lines.len(), kept.len() + 1);
    // A reader that resumes, and one that asks for everything.
    for (id, gaps) in [(first.as_str(), 1), ("0", 1)] {
        let carol = server.open().unwrap();
        server
            .push(carol, format!("JOIN #a {id}\n").as_bytes())
            .unwrap();
        let lines = received(&mut server, carol);
        assert_eq!(lines.len(), gaps + kept.len() + 1, "{lines:#?}");
        assert!(lines[..gaps].iter().all(|line| line == "GAP #a"));
        assert_eq!(lines_of(&lines[gaps..], "PAST "), kept);
        assert!(lines[lines.len() - 1].starts_with("OK JOIN #a "));
    }
}

/// The tail drops lines of which the network has taken a part, or none. `session::tests` has the same for a tail that
/// moves on between the write and the record that the lines were sent.
#[test]
fn nothing_is_sent_twice_when_the_tail_moves_on_during_a_write() {
    for takes in [usize::MAX, 20] {
        let limits = Limits {
            tail_bytes_max: 600,
            ..Limits::default()
        };
        let mut server = Memory::late(limits, takes, 1000);
        let [bob, alice] = ["JOIN #a\n", "JOIN #a\nNICK alice\n"].map(|hello| {
            let peer = server.open().unwrap();
            server.push(peer, hello.as_bytes()).unwrap();
            received(&mut server, peer);
            peer
        });
        server.stall(bob, true);
        server.push(alice, b"MSG 0\nMSG 1\nMSG 2\n").unwrap();
        assert_eq!(received(&mut server, alice).len(), 3, "they are kept");
        let more: String = (3..40).map(|n| format!("MSG {n}\n")).collect();
        server.push(alice, more.as_bytes()).unwrap();
        server.stall(bob, false);
        let lines = received(&mut server, bob);
        let expected: Vec<String> = (0..40).map(|n| format!("MSG #a alice {n}")).collect();
        assert_eq!(lines, expected);
    }
}

#[test]
fn messages_to_a_nick_arrive_even_if_it_is_given_up_meanwhile() {
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
