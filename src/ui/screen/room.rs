//! The loaded part of a room: a window on its log, which is bounded and moves as the user scrolls. This module is
//! pure.
//!
//! The window is a part of the log without gaps. Usually it ends with the newest message. When the user has scrolled
//! far up, newer messages are only counted, and are fetched when the user scrolls down again.

use std::collections::VecDeque;

use jiff::Timestamp;

use super::editor::Editor;
use super::extras::Extras;
use crate::client::RequestId;

/// The maximum number of messages of a room that are held. Nobody scrolls through more of them, and they take a few
/// MiB at most.
pub const ENTRIES_MAX: usize = 4000;

/// The number of messages that are fetched at once.
pub const PAGE: usize = 200;

/// An entry of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The entry's id; `None` if the event is not logged.
    pub id: Option<u64>,
    /// The entry's time.
    pub at: Timestamp,
    /// The entry's content.
    pub kind: EntryKind,
    /// Whether the entry is a message of this client.
    pub is_mine: bool,
    /// Whether the entry mentions the nick of this client.
    pub is_mention: bool,
    /// The message to which the entry replies, and the reactions to the entry.
    pub extras: Extras,
}

impl Entry {
    /// Returns the entry with `extras`, which may say that it mentions everybody.
    pub fn with_extras(self, extras: Extras) -> Self {
        Self {
            is_mention: self.is_mention || !self.is_mine && extras.is_for_everybody,
            extras,
            ..self
        }
    }

    /// Returns whether the user can select the entry, for example to reply to it. The entry must be a message, an action
    /// or a file, must be logged, and must not be a further line of a text of several lines.
    pub fn can_be_selected(&self) -> bool {
        let is_message = matches!(
            self.kind,
            EntryKind::Msg { .. } | EntryKind::Me { .. } | EntryKind::File { .. }
        );
        is_message && self.id.is_some() && self.extras.part_of.is_none()
    }
}

/// The purpose of the text in the input line, if it is not a new message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A reply to the message with this id.
    Reply(u64),
    /// The new text of the message with this id.
    Edit(u64),
}

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // named as in the protocol
pub enum EntryKind {
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
    /// A join, a leave, a topic, or a message of this program.
    Note(String),
    /// An error.
    Trouble(String),
    /// A deleted message.
    Removed {
        nick: String,
    },
    /// An event that is not shown. It is kept because its place in the log is known.
    Hidden,
}

/// Returns whether a file called `name` may be a picture that can be shown.
pub fn is_picture(name: &str) -> bool {
    let kind = name.rsplit_once('.').map_or("", |(_, kind)| kind);
    let kinds = ["gif", "jpeg", "jpg", "png", "webp"];
    kinds.iter().any(|known| kind.eq_ignore_ascii_case(known))
}

impl EntryKind {
    /// Returns the nick of the author.
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

/// A message that has not been answered yet.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The id of the request, by which its answer is recognized.
    pub request_id: RequestId,
    /// Whether the message is an action.
    pub is_act: bool,
    /// The text.
    pub text: String,
}

/// The scroll position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// At the newest entry.
    #[default]
    Bottom,
    /// The entry `seq` is at the bottom, without its last `hidden` lines.
    At {
        /// The sequence number of the entry at the bottom; see [`Room::seq`].
        seq: i64,
        /// The number of its lines that are below the screen.
        hidden: usize,
    },
}

/// A room, or a private chat.
#[derive(Debug, Default)]
pub struct Room {
    /// The name of the room with `#`, or the nick of the private chat.
    pub name: String,
    /// The topic.
    pub topic: String,
    /// The members, sorted.
    pub members: Vec<String>,
    entries: VecDeque<Entry>,
    /// The sequence number of the first entry. It grows when entries are dropped at the front, and shrinks when older
    /// entries are loaded.
    first: i64,
    /// The messages that have not been answered yet.
    pub pending: VecDeque<Pending>,
    /// The number of unread messages.
    pub unread: usize,
    /// The number of unread messages that mention this client's nick.
    pub mentions: usize,
    /// Whether only mentions are shown as unread, and the bell does not ring.
    pub is_muted: bool,
    /// The id of the last event that was read when the user left the room. Newer messages are shown below a line.
    pub new_after: Option<u64>,
    /// The id of the newest logged event.
    pub last_id: u64,
    /// The id up to which the user has read in this run.
    pub read_to: u64,
    /// The scroll position.
    pub view: View,
    /// Whether the first entry of the window is the first of the log.
    pub at_start: bool,
    /// Whether the last entry of the window is the newest of the log.
    pub at_end: bool,
    /// Whether a page of the log has been requested and has not arrived yet.
    pub is_loading: bool,
    /// The input line.
    pub editor: Editor,
    /// The purpose of the text in the input line; `None` for a new message.
    pub target: Option<Target>,
    /// The sequence number of the selected message.
    pub marked: Option<i64>,
    /// Quoted messages that are outside of the window, with their ids.
    pub(super) quotes: VecDeque<(u64, String)>,
}

impl Room {
    /// Creates an empty room.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            at_end: true,
            ..Self::default()
        }
    }

    /// Returns whether it is a room, not a private chat.
    pub fn is_room(&self) -> bool {
        self.name.starts_with('#')
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the sequence number of the entry at `index`. It does not change when other entries are added or
    /// dropped.
    pub fn seq(&self, index: usize) -> i64 {
        self.first + index as i64
    }

    /// Returns the index of the entry with the sequence number `seq`.
    pub fn index(&self, seq: i64) -> Option<usize> {
        usize::try_from(seq - self.first)
            .ok()
            .filter(|index| *index < self.entries.len())
    }

    /// Returns the entry at `index`.
    pub fn get(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    /// Returns all entries, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Returns the index of the logged event `id`.
    pub fn find(&self, id: u64) -> Option<usize> {
        self.entries.iter().position(|entry| entry.id == Some(id))
    }

    /// Returns whether the window contains a logged event. In a room, events arrive in the order of their ids. In a
    /// private chat, received messages and the confirmations of sent ones arrive in any order.
    pub fn has(&self, id: u64) -> bool {
        if self.is_room() {
            self.newest_id().is_some_and(|newest| id <= newest)
        } else {
            self.find(id).is_some()
        }
    }

    /// Returns the id of the oldest logged event in the window.
    pub fn first_id(&self) -> Option<u64> {
        self.entries.iter().find_map(|entry| entry.id)
    }

    /// Returns the id of the newest logged event in the window.
    pub fn newest_id(&self) -> Option<u64> {
        self.entries.iter().rev().find_map(|entry| entry.id)
    }

    /// Adds a live event. Returns `false` if the event is outside of the window, or in it already.
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
                // The user is reading older messages, so the window does not move.
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

    /// Adds a page of the log before the window. If `is_all`, the log has nothing older.
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

    /// Adds a page of the log after the window. If `is_all`, the log had nothing newer.
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
        // Live events that arrived meanwhile were not added, so there may be more.
        self.at_end = is_all && self.newest_id().unwrap_or(0) >= self.last_id;
        self.clamp();
    }

    /// Empties the window, so that it can start at another place.
    pub fn clear(&mut self) {
        self.first += self.entries.len() as i64;
        self.entries.clear();
        self.at_start = false;
        self.at_end = false;
        self.view = View::Bottom;
    }

    /// Returns the event `id`, to change it.
    pub(super) fn entry_mut(&mut self, id: u64) -> Option<&mut Entry> {
        let mut entries = self.entries.iter_mut().rev();
        entries.find(|entry| entry.id == Some(id) && entry.kind != EntryKind::Hidden)
    }

    /// Deletes the event `id`.
    pub fn remove(&mut self, id: u64) {
        for (_, text) in self.quotes.iter_mut().filter(|(known, _)| *known == id) {
            "(deleted)".clone_into(text);
        }
        if let Some(entry) = self.entry_mut(id) {
            let nick = entry.kind.nick().unwrap_or_default().to_owned();
            entry.kind = EntryKind::Removed { nick };
            entry.extras = Extras::default();
        }
        // If the event is the first line of a text, its other lines are deleted too. In the log they no longer say to
        // which text they belong, but they have the same time.
        let removed = self.find(id).and_then(|index| self.get(index)).cloned();
        let mut next = id;
        for entry in &mut self.entries {
            let is_next = entry.id == Some(next + 1)
                && removed.as_ref().is_some_and(|first| {
                    first.at == entry.at && first.kind.nick() == entry.kind.nick()
                })
                && entry.extras.is_removed;
            if is_next || entry.extras.part_of == Some(id) {
                entry.kind = EntryKind::Hidden;
                next += 1;
            }
        }
    }

    /// Returns the id of the last message of this client.
    pub fn last_of_mine(&self) -> Option<u64> {
        let mut mine = self.entries.iter().rev().filter(|entry| entry.is_mine);
        mine.find(|e| !matches!(e.kind, EntryKind::Removed { .. } | EntryKind::Note(_)))?
            .id
    }

    /// Returns the numbers of unread messages and mentions that the lists of rooms show.
    pub fn news(&self) -> (usize, usize) {
        let unread = if self.is_muted { 0 } else { self.unread };
        (unread, self.mentions)
    }

    /// Marks everything as read.
    pub fn mark_read(&mut self) {
        (self.unread, self.mentions) = (0, 0);
    }

    /// Adds a member.
    pub fn enter(&mut self, nick: &str) {
        if let Err(at) = self.position(nick) {
            self.members.insert(at, nick.to_owned());
        }
    }

    /// Removes the member `nick`; returns `false` if there was none.
    pub fn leave(&mut self, nick: &str) -> bool {
        let at = self.position(nick);
        at.is_ok_and(|at| self.members.remove(at) == nick)
    }

    /// Returns whether the nick `nick` is a member.
    pub fn has_member(&self, nick: &str) -> bool {
        self.position(nick).is_ok()
    }

    /// Sets the members.
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

    /// Corrects the scroll position if its entry no longer exists.
    fn clamp(&mut self) {
        if let View::At { seq, .. } = self.view {
            let last = self.seq(self.entries.len()) - 1;
            if seq > last {
                self.view = if self.at_end || last < self.first {
                    View::Bottom
                } else {
                    View::At {
                        seq: last,
                        hidden: 0,
                    }
                };
            } else if seq < self.first {
                let seq = self.first;
                self.view = View::At { seq, hidden: 0 };
            }
        }
    }
}

/// Returns a key that orders nicks without regard to case. Two nicks that differ only in case have a fixed order.
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
            kind: EntryKind::Msg { nick, text },
            is_mine: false,
            is_mention: false,
            extras: Extras::default(),
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
    fn scrolling_back_keeps_its_place_and_returns_without_a_gap() {
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
        // The server returned fewer events than requested, but more have arrived since.
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
    fn members_are_sorted_in_whatever_order_they_arrive() {
        let mut room = Room::new("#a");
        room.set_members(vec!["zoë".into(), "Ann".into()]);
        room.enter("bob");
        room.enter("bob");
        assert_eq!(room.members, ["Ann", "bob", "zoë"]);
        assert!(room.leave("Ann") && !room.leave("Ann"));
    }
}
