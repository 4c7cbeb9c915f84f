//! What one sees of a room: a window on its log, bounded, that moves with whoever scrolls. Pure.
//!
//! The window is a run of the log without gaps, and its newest end is live unless one has scrolled far up: then
//! newer messages are only counted, and fetched when one comes back down.

use std::collections::VecDeque;

use jiff::Timestamp;

use super::editor::Editor;
use crate::client::Ticket;

/// How many messages of a room are held: more than anybody scrolls through, and a few MiB at most.
pub const ENTRIES_MAX: usize = 4000;

/// How many are fetched at once.
pub const PAGE: usize = 200;

/// One thing in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number; `None` for what is not logged.
    pub id: Option<u64>,
    /// When it was.
    pub at: Timestamp,
    /// What it is.
    pub what: What,
    /// One said it oneself.
    pub is_mine: bool,
    /// One is named in it.
    pub is_mention: bool,
}

/// What there is in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // named as in the protocol
pub enum What {
    Msg {
        nick: String,
        text: String,
    },
    Me {
        nick: String,
        text: String,
    },
    File {
        nick: String,
        file: u64,
        length: Option<u64>,
        name: String,
    },
    /// Who came and went, topics, and what the program says itself.
    Note(String),
    /// Something went wrong.
    Trouble(String),
    /// It was taken back.
    Removed {
        nick: String,
    },
    /// Nothing is to be seen of it, but its place in the log is known.
    Hidden,
}

impl What {
    /// Who said or did it.
    pub fn nick(&self) -> Option<&str> {
        match self {
            Self::Msg { nick, .. }
            | Self::Me { nick, .. }
            | Self::File { nick, .. }
            | Self::Removed { nick } => Some(nick),
            Self::Note(_) | Self::Trouble(_) | Self::Hidden => None,
        }
    }
}

/// Something that was typed and is not answered yet.
#[derive(Clone, Debug)]
pub struct Pending {
    /// To know its answer by.
    pub ticket: Ticket,
    /// It is an action.
    pub is_act: bool,
    /// What was typed.
    pub text: String,
}

/// Where one looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// At the newest.
    #[default]
    Bottom,
    /// The entry with that number stands at the bottom, less so many of its lines.
    At {
        /// See [`Room::seq`].
        seq: i64,
        /// Lines of it that are below the window.
        hidden: usize,
    },
}

/// A room, or a conversation with one nick.
#[derive(Debug, Default)]
pub struct Room {
    /// With its `#`; a nick for a conversation.
    pub name: String,
    /// What it is about.
    pub topic: String,
    /// Who is in it, in order.
    pub members: Vec<String>,
    entries: VecDeque<Entry>,
    /// The number of the first entry; grows as entries go at the front, shrinks as older ones come.
    first: i64,
    /// What waits for its answer.
    pub pending: VecDeque<Pending>,
    /// Messages that came while one was elsewhere, and how many of them name one.
    pub unread: usize,
    /// See `unread`.
    pub mentions: usize,
    /// The last one had seen of it when one left; what is newer stands below a line.
    pub new_after: Option<u64>,
    /// The newest logged event that one was told of.
    pub last_id: u64,
    /// Where one looks.
    pub view: View,
    /// The first entry is the first of the log.
    pub at_start: bool,
    /// The last entry is the newest of the log.
    pub at_end: bool,
    /// A page of it is on its way.
    pub is_loading: bool,
    /// What is typed here and not said.
    pub editor: Editor,
}

impl Room {
    /// One that nothing is known of.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            at_end: true,
            ..Self::default()
        }
    }

    /// It is a room, and not a conversation.
    pub fn is_room(&self) -> bool {
        self.name.starts_with('#')
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Nothing is here.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of the entry at `index`; it stays the same as others come and go.
    pub fn seq(&self, index: usize) -> i64 {
        self.first + index as i64
    }

    /// The place of the entry of that number.
    pub fn index(&self, seq: i64) -> Option<usize> {
        usize::try_from(seq - self.first)
            .ok()
            .filter(|index| *index < self.entries.len())
    }

    /// The entry at that place.
    pub fn get(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    /// All of them, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The place of the logged event `id`.
    pub fn find(&self, id: u64) -> Option<usize> {
        self.entries.iter().position(|entry| entry.id == Some(id))
    }

    /// Whether a logged event has come. A room's come in the order of their ids; of a conversation, what one is told
    /// and the answer to what one tells come as they come.
    pub fn has(&self, id: u64) -> bool {
        match self.is_room() {
            true => self.newest_id().is_some_and(|newest| id <= newest),
            false => self.find(id).is_some(),
        }
    }

    /// The oldest logged event in the window.
    pub fn first_id(&self) -> Option<u64> {
        self.entries.iter().find_map(|entry| entry.id)
    }

    /// The newest logged event in the window.
    pub fn newest_id(&self) -> Option<u64> {
        self.entries.iter().rev().find_map(|entry| entry.id)
    }

    /// Something happened just now. `false` when it is outside of the window, or there already.
    pub fn push(&mut self, entry: Entry) -> bool {
        if let Some(id) = entry.id {
            self.last_id = self.last_id.max(id);
            if self.has(id) {
                return false;
            }
        }
        if !self.at_end {
            return false;
        }
        if self.entries.len() >= ENTRIES_MAX {
            let is_reading_old = match self.view {
                View::Bottom => false,
                View::At { seq, .. } => seq - self.first < (ENTRIES_MAX / 4) as i64,
            };
            if is_reading_old {
                // What one reads is not taken away: the window stays where it is.
                self.at_end = false;
                return false;
            }
            self.entries.pop_front();
            self.first += 1;
            self.at_start = false;
        }
        self.entries.push_back(entry);
        true
    }

    /// A page of the log from before the window. `is_all` when there is nothing older.
    pub fn put_before(&mut self, page: Vec<Entry>, is_all: bool) {
        let first = self.first_id();
        for entry in page.into_iter().rev() {
            let is_known = matches!((entry.id, first), (Some(id), Some(first)) if id >= first);
            if is_known {
                continue;
            }
            self.entries.push_front(entry);
            self.first -= 1;
        }
        self.at_start |= is_all;
        while self.entries.len() > ENTRIES_MAX {
            self.entries.pop_back();
            self.at_end = false;
        }
        self.clamp();
    }

    /// A page of the log from behind the window. `is_all` when there was nothing newer.
    pub fn put_after(&mut self, page: Vec<Entry>, is_all: bool) {
        for entry in page {
            let newest = self.newest_id().unwrap_or(0);
            if entry.id.is_some_and(|id| id > newest) {
                self.entries.push_back(entry);
            }
        }
        while self.entries.len() > ENTRIES_MAX {
            self.entries.pop_front();
            self.first += 1;
            self.at_start = false;
        }
        // What came live in between was not taken in, so there may be more.
        self.at_end = is_all && self.newest_id().unwrap_or(0) >= self.last_id;
        self.clamp();
    }

    /// Empties the window, to begin it anew elsewhere.
    pub fn clear(&mut self) {
        self.first += self.entries.len() as i64;
        self.entries.clear();
        self.at_start = false;
        self.at_end = false;
        self.view = View::Bottom;
    }

    /// The event `id` was taken back.
    pub fn remove(&mut self, id: u64) {
        if let Some(entry) = self
            .entries
            .iter_mut()
            .rev()
            .find(|entry| entry.id == Some(id) && entry.what != What::Hidden)
        {
            let nick = entry.what.nick().unwrap_or_default().to_owned();
            entry.what = What::Removed { nick };
        }
    }

    /// The last thing that one has said here.
    pub fn last_of_mine(&self) -> Option<u64> {
        let mut mine = self.entries.iter().rev().filter(|entry| entry.is_mine);
        mine.find(|e| !matches!(e.what, What::Removed { .. } | What::Note(_)))?
            .id
    }

    /// One has seen everything.
    pub fn mark_read(&mut self) {
        (self.unread, self.mentions) = (0, 0);
    }

    /// Somebody came in.
    pub fn enter(&mut self, nick: &str) {
        if let Err(at) = self.position(nick) {
            self.members.insert(at, nick.to_owned());
        }
    }

    /// Somebody went; `false` if that one was not here.
    pub fn leave(&mut self, nick: &str) -> bool {
        let at = self.position(nick);
        at.is_ok_and(|at| self.members.remove(at) == nick)
    }

    /// These are here.
    pub fn set_members(&mut self, mut nicks: Vec<String>) {
        nicks.sort_by_cached_key(|nick| key(nick));
        nicks.dedup();
        self.members = nicks;
    }

    fn position(&self, nick: &str) -> Result<usize, usize> {
        let wanted = key(nick);
        self.members
            .binary_search_by(|known| key(known).cmp(&wanted))
    }

    /// The view is at something that is there.
    fn clamp(&mut self) {
        if let View::At { seq, .. } = self.view {
            let last = self.seq(self.entries.len()) - 1;
            if seq > last {
                self.view = match self.at_end || last < self.first {
                    true => View::Bottom,
                    false => View::At {
                        seq: last,
                        hidden: 0,
                    },
                };
            } else if seq < self.first {
                let seq = self.first;
                self.view = View::At { seq, hidden: 0 };
            }
        }
    }
}

/// Nicks are listed without regard to capitals, and two that differ in them alone in a fixed order.
fn key(nick: &str) -> (String, String) {
    (nick.to_lowercase(), nick.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u64) -> Entry {
        let (nick, text) = ("bob".to_owned(), id.to_string());
        Entry {
            id: Some(id),
            at: Timestamp::UNIX_EPOCH,
            what: What::Msg { nick, text },
            is_mine: false,
            is_mention: false,
        }
    }

    fn ids(room: &Room) -> Vec<u64> {
        room.entries().filter_map(|entry| entry.id).collect()
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let mut room = Room::new("#a");
        for id in 1..=50_000 {
            room.push(entry(id));
        }
        assert_eq!(room.len(), ENTRIES_MAX);
        assert_eq!(
            (room.newest_id(), room.at_start, room.at_end),
            (Some(50_000), false, true)
        );
    }

    #[test]
    fn who_reads_old_things_keeps_them_and_comes_back_without_a_gap() {
        let mut room = Room::new("#a");
        for id in 5001..=9000 {
            room.push(entry(id));
        }
        room.view = View::At {
            seq: room.seq(10),
            hidden: 0,
        };
        room.put_before((4801..=5000).map(entry).collect(), false);
        assert_eq!(
            (ids(&room)[0], room.newest_id(), room.at_end),
            (4801, Some(8800), false)
        );
        let looked_at = |room: &Room| match room.view {
            View::At { seq, .. } => room.get(room.index(seq).unwrap()).unwrap().id,
            View::Bottom => None,
        };
        assert_eq!(looked_at(&room), Some(5011));
        for id in 9001..=9100 {
            assert!(!room.push(entry(id)));
        }
        room.put_after((8801..=9000).map(entry).collect(), false);
        assert!(!room.at_end);
        // The server had less than was asked for, but more has come since.
        room.put_after((9001..=9050).map(entry).collect(), true);
        assert!(!room.at_end);
        room.put_after((9051..=9100).map(entry).collect(), true);
        assert!(room.at_end);
        room.view = View::Bottom;
        assert!(room.push(entry(9101)));
        let all = ids(&room);
        assert!(all.windows(2).all(|two| two[1] == two[0] + 1));
    }

    #[test]
    fn pages_that_overlap_repeat_nothing() {
        let mut room = Room::new("#a");
        room.push(entry(5));
        room.push(entry(5));
        room.put_before((1..=7).map(entry).collect(), true);
        assert_eq!(ids(&room), [1, 2, 3, 4, 5]);
        assert!(room.at_start);
    }

    #[test]
    fn members_are_in_order_however_they_come() {
        let mut room = Room::new("#a");
        room.set_members(vec!["zoë".into(), "Ann".into()]);
        room.enter("bob");
        room.enter("bob");
        assert_eq!(room.members, ["Ann", "bob", "zoë"]);
        assert!(room.leave("Ann") && !room.leave("Ann"));
    }
}
