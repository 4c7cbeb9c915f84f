//! Compares what a server has promised in all its runs with what it shows in the current run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use super::load::{File, Heard, ROOMS};
use super::peer::{Peer, other, sha256};

/// Everything that the server has ever acknowledged, and everything that any client has received.
#[derive(Default)]
pub struct Promises {
    /// The events that were acknowledged or received since the last check, by their ids.
    fresh: BTreeMap<u64, String>,
    /// Each event that the log has ever shown: its room and its line.
    known: BTreeMap<u64, (usize, String)>,
    /// The next message that is expected of each speaker in each round. No message may be missing between two others.
    next: HashMap<(String, usize), usize>,
    files: BTreeMap<u64, Promised>,
    pub messages: usize,
    pub stored: usize,
    pub removed: usize,
    /// The number of files that were removed because a kill interrupted their upload.
    pub cut_off: usize,
    /// Files that the log still shows with an unknown length and no end.
    open: BTreeSet<u64>,
}

struct Promised {
    file: File,
    state: State,
    is_checked: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Kept,
    /// The removal was requested, but has not been answered.
    MayBeGone,
    Gone,
}

impl Promises {
    /// Records what a client has received.
    pub fn hear(&mut self, heard: Heard) -> io::Result<()> {
        match heard {
            Heard::Said { id, event } => {
                self.messages += 1;
                self.promise(id, event)?;
            }
            Heard::Seen { id, event } => self.promise(id, event)?,
            Heard::Stored(file) => {
                self.stored += 1;
                let promised = Promised {
                    state: State::Kept,
                    is_checked: false,
                    file,
                };
                self.files.insert(promised.file.id, promised);
            }
            Heard::Removing(id) => self.set_state(id, State::MayBeGone)?,
            Heard::Removed(id) => {
                self.removed += 1;
                self.set_state(id, State::Gone)?;
            }
            Heard::Wrong(what) => return Err(other(what)),
        }
        Ok(())
    }

    fn promise(&mut self, id: u64, event: String) -> io::Result<()> {
        if let Some((_, before)) = self.known.get(&id) {
            return Err(other(format!(
                "id {id} is used again: {before}, now {event}"
            )));
        }
        match self.fresh.insert(id, event) {
            Some(before) if before != self.fresh[&id] => Err(other(format!(
                "id {id} is both {before} and {}",
                self.fresh[&id]
            ))),
            _ => Ok(()),
        }
    }

    fn set_state(&mut self, id: u64, state: State) -> io::Result<()> {
        let promised = self.files.get_mut(&id);
        promised
            .ok_or_else(|| other(format!("no file {id}")))?
            .state = state;
        Ok(())
    }

    /// Returns the newest id that any client received.
    pub fn last_id(&self) -> u64 {
        let newest = |ids: Option<&u64>| ids.copied().unwrap_or_default();
        let known = newest(self.known.keys().next_back());
        known
            .max(newest(self.fresh.keys().next_back()))
            .max(newest(self.files.keys().next_back()))
    }

    /// Compares the promises with what the server shows now. Without `everything`, compares only what is new.
    pub fn check(&mut self, peer: &mut Peer, everything: bool) -> io::Result<()> {
        let fresh = std::mem::take(&mut self.fresh);
        let first = fresh.keys().next().copied().unwrap_or(u64::MAX);
        for (room, name) in ROOMS.iter().enumerate() {
            let newest = self.known.iter().rev().find(|(_, event)| event.0 == room);
            let after = if everything {
                0
            } else {
                // Events that were not acknowledged in time may come before those that were.
                newest.map_or(0, |(id, _)| *id).min(first - 1)
            };
            self.check_room(peer, room, name, after)?;
        }
        check_search(peer, &fresh)?;
        for (id, event) in fresh {
            let known = self.known.get(&id).map(|(_, line)| line);
            let is_same = known.is_some_and(|known| is_same(known, &event));
            if !is_same {
                return Err(other(format!(
                    "promised {id} {event}, the log has {known:?}"
                )));
            }
        }
        if let Some(id) = self.open.first() {
            return Err(other(format!("file {id} was cut off and is not removed")));
        }
        self.check_files(peer, everything)
    }

    fn check_room(
        &mut self,
        peer: &mut Peer,
        room: usize,
        name: &str,
        after: u64,
    ) -> io::Result<()> {
        let (lines, reply) = peer.list(&format!("JOIN {name} {after}"))?;
        if !reply.starts_with("OK JOIN") {
            return Err(other(reply));
        }
        let known = self.known.range(after + 1..);
        let expected = known.filter(|(_, event)| event.0 == room).count();
        let mut found = 0;
        let mut last = after;
        for line in lines {
            let Some((id, event)) = past(&line) else {
                continue; // a live event of another room
            };
            if id <= last {
                return Err(other(format!("{name}: {id} comes after {last}")));
            }
            last = id;
            match self.known.get_mut(&id) {
                Some((_, before)) => {
                    found += 1;
                    if !is_same(event, before) {
                        return Err(other(format!("{id} was {before}, now {event}")));
                    }
                    *before = event.to_owned();
                }
                None => {
                    self.meet(id, event)?;
                    self.known.insert(id, (room, event.to_owned()));
                }
            }
        }
        peer.expect(&format!("PART {name}"), "OK PART")?;
        if found == expected {
            Ok(())
        } else {
            Err(other(format!(
                "{name}: of {expected} events that were there after {after}, {found} are left"
            )))
        }
    }

    /// Records an event that is seen for the first time.
    fn meet(&mut self, id: u64, event: &str) -> io::Result<()> {
        let words: Vec<&str> = event.split(' ').collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<usize>().ok());
        match words[..] {
            ["MSG", _, nick, round, ..] => {
                let (Ok(round), Some(n)) = (round.parse(), number(4)) else {
                    return Ok(()); // the check's own message
                };
                let next = self.next.entry((nick.to_owned(), round)).or_default();
                if *next != n {
                    return Err(other(format!("expected message {next}, found {event}")));
                }
                *next += 1;
            }
            ["FILE", _, _, _, "*", ..] => {
                self.open.insert(id);
            }
            ["STORED", _, _, file, ..] => {
                self.open.remove(&file.parse().unwrap_or_default());
            }
            ["REMOVE", _, _, file] => {
                let file = file.parse().unwrap_or_default();
                self.cut_off += usize::from(self.open.remove(&file));
            }
            _ => {}
        }
        Ok(())
    }

    fn check_files(&mut self, peer: &mut Peer, everything: bool) -> io::Result<()> {
        let mut listed = BTreeMap::new();
        for room in ROOMS {
            let (lines, _) = peer.list(&format!("FILES {room}"))?;
            for line in lines {
                let words: Vec<&str> = line.split(' ').collect();
                if let ["PAST", id, _, "FILE", _, _, _, length, ..] = words[..] {
                    let id: u64 = id.parse().map_err(|_| other(&*line))?;
                    listed.insert(id, (room, length.to_owned()));
                }
            }
        }
        for (id, (room, length)) in &listed {
            if length == "*" {
                return Err(other(format!("{room}: file {id} is listed and not whole")));
            }
        }
        for (id, promised) in &mut self.files {
            let File {
                room,
                length,
                sha256: digest,
                ..
            } = &promised.file;
            let is_listed = listed.get(id) == Some(&(*room, length.to_string()));
            if promised.state == State::MayBeGone {
                promised.state = if is_listed { State::Kept } else { State::Gone };
            }
            if is_listed != (promised.state == State::Kept) {
                return Err(other(format!("file {id} is listed: {is_listed}")));
            }
            if promised.is_checked && !everything {
                continue;
            }
            promised.is_checked = true;
            match peer.download(*id)? {
                Ok(file) if promised.state == State::Kept => {
                    if file.sha256 != *digest || sha256(&file.bytes) != *digest {
                        return Err(other(format!("file {id} has other bytes")));
                    }
                }
                Err(e) if promised.state == State::Gone && e.contains("no-such-file") => {}
                Ok(_) => return Err(other(format!("file {id} was removed and is there"))),
                Err(e) => return Err(other(format!("file {id} is lost: {e}"))),
            }
        }
        Ok(())
    }
}

/// Returns the id and the event of a `PAST` line.
fn past(line: &str) -> Option<(u64, &str)> {
    let (id, rest) = line.strip_prefix("PAST ")?.split_once(' ')?;
    Some((id.parse().ok()?, rest.split_once(' ')?.1))
}

/// Returns whether the log shows what was promised, or that it was removed.
fn is_same(now: &str, before: &str) -> bool {
    if now == before {
        return true;
    }
    let mut words = before.splitn(6, ' ');
    let file: Vec<&str> = words.by_ref().take(5).collect();
    file.first() == Some(&"FILE") && now == format!("{} -", file.join(" "))
}

/// Checks that a search finds the last message of each room, which was probably not indexed yet when the server was
/// killed.
fn check_search(peer: &mut Peer, fresh: &BTreeMap<u64, String>) -> io::Result<()> {
    for room in ROOMS {
        let text_of =
            |event: &str| Some(event.strip_prefix("MSG ")?.strip_prefix(room)?.to_owned());
        let last = fresh
            .iter()
            .rev()
            .find_map(|(id, event)| Some((id, text_of(event)?)));
        let Some((id, text)) = last else {
            continue;
        };
        // The text is ` p0 <round> <n> xxx`.
        let words: Vec<&str> = text.split(' ').skip(2).take(2).collect();
        let (lines, reply) = peer.list(&format!("SEARCH {room} {}", words.join(" ")))?;
        let is_found = |line: &String| past(line).is_some_and(|(found, _)| found == *id);
        if !lines.iter().any(is_found) {
            return Err(other(format!("{reply}: a search does not find {id}{text}")));
        }
    }
    Ok(())
}
