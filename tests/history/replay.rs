//! protocol.md 2, 4.6: history and live events join without gaps or duplicates.
//!
//! A reader that joins a room from an id, or reads slowly, receives every logged event of it once, in order, while
//! others continue to send.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Condvar, Mutex};
use std::thread;

use crate::support::peer::{DEADLINE, Peer, other};
use crate::support::server::Chatd;

fn start(data: &Path) -> Chatd {
    let flags = ["--data".into(), data.display().to_string()];
    Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags).expect("it starts")
}

const ROOMS: [&str; 2] = ["#a", "#b"];

/// The number of events of each speaker in its room: messages, among them texts, and a few edits and reactions.
const MESSAGES: usize = 15_000;

/// The number of speakers in each room.
const SPEAKERS: usize = 2;

/// The number of messages by which a paused reader falls behind: about 4 MB, which is more than the tail and the
/// kernel hold for it.
const BEHIND: usize = 20_000;

/// The number of lines of a text.
const LINES: usize = 3;

/// What a speaker sends as its event with some number.
enum Kind {
    Message,
    /// This number and the next ones are the lines of one text.
    Text,
    Edit,
    Reaction,
}

fn kind(n: usize) -> Kind {
    match n % 100 {
        20 => Kind::Text,
        // An edit and a reaction name a message that has been answered.
        50 if n > 100 => Kind::Reaction,
        75 if n > 100 => Kind::Edit,
        _ => Kind::Message,
    }
}

/// Returns the number of events of the request that begins with this number.
fn count(n: usize) -> usize {
    match kind(n) {
        Kind::Text => LINES,
        Kind::Message | Kind::Edit | Kind::Reaction => 1,
    }
}

/// Returns the emoji of the reaction with this number.
fn emoji(n: usize) -> char {
    char::from_u32(0x1F300 + (n / 100) as u32).expect("a character")
}

/// The events that a reader has received, checked as they arrive: each speaker's events, numbered from 0.
#[derive(Default)]
struct Got {
    next: HashMap<(String, String), usize>,
    last_id: HashMap<String, u64>,
    count: usize,
    /// The number of joins and leaves that were received or may have been left out.
    presence: usize,
}

impl Got {
    /// Checks an event's line, with its id if it has one.
    fn take(&mut self, id: Option<u64>, event: &str) -> io::Result<()> {
        let words: Vec<&str> = event.split(' ').collect();
        // A message that was edited still begins with its number; the number of the edit follows.
        let (["MSG", room, nick, sent, ..]
        | ["EDIT", room, nick, _, _, sent]
        | ["REACT", room, nick, _, sent]) = words[..]
        else {
            // A gap is possible only where at least one of these was left out.
            self.presence += 1;
            let is_possible = self.presence <= ROOMS.len() * SPEAKERS * 2;
            return match words[0] {
                "JOIN" | "PART" | "GAP" if is_possible => Ok(()),
                _ => Err(other(event)),
            };
        };
        let next = self
            .next
            .entry((room.to_owned(), nick.to_owned()))
            .or_default();
        let expected = match (words[0], kind(*next)) {
            ("MSG", Kind::Message | Kind::Text) | ("EDIT", Kind::Edit) => next.to_string(),
            ("REACT", Kind::Reaction) => emoji(*next).to_string(),
            _ => "another kind".into(),
        };
        if sent != expected {
            return Err(other(format!(
                "expected event {next}, {expected}, got {event}"
            )));
        }
        *next += 1;
        self.count += 1;
        if let Some(id) = id {
            let last = self.last_id.entry(room.to_owned()).or_default();
            if id <= *last {
                return Err(other(format!("{id} after {last}: {event}")));
            }
            *last = id;
        }
        Ok(())
    }

    /// Checks a line from the server, on a connection with stamps.
    fn take_line(&mut self, line: &str) -> io::Result<()> {
        match line.split_once(' ') {
            Some(("PAST" | "LIVE", rest)) => {
                let mut parts = rest.splitn(3, ' ');
                let id = parts.next().and_then(|id| id.parse().ok());
                self.take(id, parts.nth(1).unwrap_or_default())
            }
            Some(("OK", _)) => Ok(()),
            _ => self.take(None, line),
        }
    }
}

/// The participants of the load, and its progress.
struct Load {
    server: SocketAddr,
    /// The number of events that have been answered, in both rooms.
    sent: Mutex<usize>,
    more_sent: Condvar,
    /// The number of readers that have received everything.
    rejoined: AtomicUsize,
    start: Barrier,
}

impl Load {
    /// Sends the speaker's messages, many of them without waiting for replies.
    fn speak(&self, room: &str, number: usize) -> io::Result<()> {
        let mut peer = Peer::named(self.server, &format!("s{number}"))?;
        peer.expect(&format!("JOIN {room}"), "OK JOIN")?;
        self.start.wait();
        let (mut asked, mut answered) = (0, 0);
        // The id and the number of the last message that was answered.
        let mut last = (String::new(), 0);
        while answered < MESSAGES {
            let mut lines = String::new();
            while asked < (answered + 100).min(MESSAGES) {
                let (id, number) = &last;
                lines += &match kind(asked) {
                    Kind::Message => format!("MSG {asked} {}\n", "x".repeat(asked % 400)),
                    Kind::Text => {
                        let text: String = (0..LINES).map(|n| format!("{}\n", asked + n)).collect();
                        format!("TEXT {}\n{text}", text.len())
                    }
                    Kind::Edit => format!("EDIT {id} {number} {asked}\n"),
                    Kind::Reaction => format!("REACT {id} {}\n", emoji(asked)),
                };
                asked += count(asked);
            }
            peer.send(&lines)?;
            while answered < MESSAGES && (answered + 50 < asked || asked == MESSAGES) {
                let reply = peer.reply()?;
                let words: Vec<&str> = reply.split(' ').collect();
                match (&words[..], kind(answered)) {
                    (["OK", "MSG", id, _], Kind::Message) => last = ((*id).to_owned(), answered),
                    (["OK", "TEXT", _, _, _], Kind::Text)
                    | (["OK", "EDIT", _, _], Kind::Edit)
                    | (["OK", "REACT", _, _], Kind::Reaction) => (),
                    _ => return Err(other(reply)),
                }
                *self.sent.lock().expect("no panic") += count(answered);
                answered += count(answered);
            }
            self.more_sent.notify_all();
        }
        Ok(())
    }

    /// Returns when `count` messages have been sent, or all of them.
    fn wait_until_sent(&self, count: usize) {
        let wanted = count.min(ROOMS.len() * SPEAKERS * MESSAGES);
        let sent = self.sent.lock().expect("no panic");
        let sent = self
            .more_sent
            .wait_timeout_while(sent, DEADLINE * 2, |sent| *sent < wanted)
            .expect("no panic");
        assert!(!sent.1.timed_out(), "only {} messages were said", *sent.0);
    }

    /// Joins again and again, each time from the last id that was received, on a new connection or on the same one.
    /// Reads for as long as `patience` says.
    fn rejoin(&self, room: &str, patience: usize, keeps: bool) -> io::Result<()> {
        let mut got = Got::default();
        self.start.wait();
        let mut peer = Peer::connect(self.server)?;
        peer.expect("STAMPS on", "OK STAMPS")?;
        while got.count < SPEAKERS * MESSAGES {
            let after = got.last_id.get(room).copied().unwrap_or_default();
            let join = format!("JOIN {room} {after}");
            peer.send(format!("{join}\n"))?;
            let mut lines = 0;
            let mut is_in = false;
            while got.count < SPEAKERS * MESSAGES && (lines < patience || !is_in) {
                let line = peer.line()?;
                if line.starts_with("OK JOIN") {
                    is_in = true;
                    let last_id = got.last_id.get(room).copied().unwrap_or_default();
                    let named = line.rsplit(' ').next().and_then(|id| id.parse().ok());
                    if named != Some(last_id) {
                        return Err(other(format!("{line} after {last_id}")));
                    }
                }
                got.take_line(&line)?;
                lines += 1;
            }
            if keeps {
                // Live events that are still on the way count too.
                peer.send(format!("PART {room}\n"))?;
                loop {
                    let line = peer.line()?;
                    if line.starts_with("OK PART") {
                        break;
                    }
                    got.take_line(&line)?;
                }
            } else {
                peer = Peer::connect(self.server)?;
                peer.expect("STAMPS on", "OK STAMPS")?;
            }
        }
        self.rejoined.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Reads both rooms live from the beginning, with pauses in which it falls far behind.
    fn stall(&self) -> io::Result<()> {
        let mut peer = Peer::connect(self.server)?;
        peer.expect("STAMPS on", "OK STAMPS")?;
        for room in ROOMS {
            peer.expect(&format!("JOIN {room}"), "OK JOIN")?;
        }
        self.start.wait();
        let mut got = Got::default();
        while got.count < ROOMS.len() * SPEAKERS * MESSAGES {
            got.take_line(&peer.line()?)?;
            if got.count % 20_000 == 10_000 {
                self.wait_until_sent(got.count + BEHIND);
            }
        }
        Ok(())
    }
}

#[test]
fn every_reader_gets_every_logged_event_once_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let chatd = start(folder.path());
    let parties = ROOMS.len() * SPEAKERS + 4 + 2;
    let load = Load {
        server: chatd.address,
        sent: Mutex::new(0),
        more_sent: Condvar::new(),
        rejoined: AtomicUsize::new(0),
        start: Barrier::new(parties),
    };
    thread::scope(|scope| {
        let load = &load;
        let speakers: Vec<_> = (0..ROOMS.len() * SPEAKERS)
            .map(|n| scope.spawn(move || load.speak(ROOMS[n % ROOMS.len()], n)))
            .collect();
        let readers = [
            scope.spawn(|| load.rejoin(ROOMS[0], 10, false)),
            scope.spawn(|| load.rejoin(ROOMS[1], 300, false)),
            scope.spawn(|| load.rejoin(ROOMS[0], 1, true)),
            scope.spawn(|| load.rejoin(ROOMS[1], 5000, true)),
            scope.spawn(|| load.stall()),
            scope.spawn(|| load.stall()),
        ];
        for speaker in speakers {
            speaker.join().expect("no panic").expect("a speaker");
        }
        for (n, reader) in readers.into_iter().enumerate() {
            let read = reader.join().expect("no panic");
            read.unwrap_or_else(|e| panic!("reader {n}: {e}"));
        }
    });
    assert_eq!(load.rejoined.into_inner(), 4);
}
