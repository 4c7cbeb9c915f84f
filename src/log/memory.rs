//! The log in memory, for a server that stores nothing on disk. It gives the same answers as the log on disk, but
//! holds only the newest events, up to a number of bytes, and is lost when the server ends.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{
    Age, Authorship, Found, HistoryPage, HistorySource, Location, Log, Reacted, Reader, Record,
    SearchScope, Span, Trimmed, text::Query, with_marks, work::Work,
};
use crate::config::fixed::{
    EMOJI_MAX, NONCE_MS, NONCES_IN_MEMORY, REACTIONS_MAX, READERS_IN_ALL, READERS_PER_OWNER,
};
use crate::model::{
    Applied, DeletedFile, DirectMessage, Entry, EventKind, FileSum, FileTotals, NewFile, Reaction,
    Removed, RoomRow, Scope, StorageError, Ticket, casefolded,
};
use crate::protocol::multiline::{text_lines, text_of};
use crate::protocol::{Code, Digest, EventId, Nick, RoomName, Time};

/// A log in memory, which is lost when the server ends.
pub struct MemoryLog {
    state: Mutex<State>,
}

struct State {
    /// The newest events, in the order of their ids.
    events: VecDeque<StoredEvent>,
    bytes: usize,
    bytes_max: usize,
    next_id: u64,
    rooms: Vec<Room>,
    room_ids: HashMap<Box<str>, usize>,
    /// The room of the newest event.
    newest_room: usize,
    /// The direct messages still in memory, by the comparison forms of the nicks that may read them.
    inboxes: HashMap<Box<str>, Inbox>,
    /// The owner and the position of each named reader.
    readers: HashMap<Reader, (Box<str>, u64)>,
    readers_of: HashMap<Box<str>, usize>,
    nonces: Nonces,
    /// The files that can be downloaded. Their contents are on disk, so a file stays downloadable after its event has
    /// been dropped.
    files: BTreeMap<EventId, StoredFile>,
}

/// The newest events that were sent with a nonce. The key consists of the comparison form of the author's nick and
/// the nonce.
#[derive(Default)]
struct Nonces {
    events: HashMap<(Box<str>, Box<str>), (EventId, Time)>,
    /// The keys, oldest first.
    order: VecDeque<(Box<str>, Box<str>)>,
}

impl Nonces {
    fn key(entry: &Entry) -> Option<(Box<str>, Box<str>)> {
        let nonce = entry.tags.nonce()?;
        Some((entry.author_casefolded().into(), nonce.into()))
    }

    fn find(&self, key: &(Box<str>, Box<str>), now: Time) -> Option<(EventId, Time)> {
        let (id, time) = self.events.get(key).copied()?;
        (time.0.abs_diff(now.0) <= NONCE_MS).then_some((id, time))
    }

    fn add(&mut self, key: (Box<str>, Box<str>), id: EventId, time: Time) {
        if self.events.insert(key.clone(), (id, time)).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > NONCES_IN_MEMORY {
            if let Some(oldest) = self.order.pop_front() {
                self.events.remove(&oldest);
            }
        }
    }
}

struct Room {
    name: RoomName,
    topic: String,
    last_id: EventId,
    /// The ids of the events that are still in memory, oldest first.
    ids: VecDeque<EventId>,
    /// The id of the newest event that was dropped from this room; 0 if none was.
    forgotten: u64,
    /// If a deleted room had the same name, the id of its newest event; otherwise 0.
    deleted: u64,
}

#[derive(Default)]
struct Inbox {
    /// The nick, spelled as in the first message that it received.
    name: Option<Box<str>>,
    /// The ids of the messages, oldest first.
    ids: VecDeque<EventId>,
}

struct StoredEvent {
    id: EventId,
    time: Time,
    /// The entry. After a removal, it no longer has its text or file name.
    entry: Arc<Entry>,
    is_removed: bool,
    /// Later changes of the event; `None` for most events.
    marks: Option<Box<Marks>>,
    scope: StoredScope,
}

/// The outcome of an entry.
enum Decided {
    /// The entry is stored under this id; `None` for an entry of a kind that is not logged. `is_withheld` has the same
    /// meaning as in [`Applied`].
    New {
        id: Option<EventId>,
        is_withheld: bool,
    },
    /// An earlier entry of the same author has the same nonce, and this id and time.
    Before(EventId, Time),
    /// The entry would change nothing.
    Unchanged,
}

/// The edits, reactions and deletion of an event.
#[derive(Default)]
struct Marks {
    edited: Option<Time>,
    /// The ids of the events that announced the edits.
    edits: Vec<EventId>,
    /// The reactions, oldest first, each with the comparison form of its nick.
    reactions: Vec<(String, Reacted)>,
}

impl Marks {
    fn bytes(&self) -> usize {
        let reaction = |(form, reacted): &(String, Reacted)| {
            size_of::<(String, Reacted)>() + form.len() + reacted.nick.len() + reacted.emoji.len()
        };
        let reactions: usize = self.reactions.iter().map(reaction).sum();
        size_of::<Self>() + self.edits.len() * size_of::<EventId>() + reactions
    }

    /// Returns the number of reactions with each emoji, in the form of the protocol.
    fn reacts(&self) -> String {
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for (_, Reacted { emoji, .. }) in &self.reactions {
            match counts.iter_mut().find(|(known, _)| known == emoji) {
                Some((_, count)) => *count += 1,
                None => counts.push((emoji, 1)),
            }
        }
        let counts = counts
            .iter()
            .map(|(emoji, count)| format!("{emoji}*{count}"));
        counts.collect::<Vec<_>>().join(",")
    }
}

/// The place of an event.
enum StoredScope {
    Room(usize),
    Inbox(Box<DirectMessage>),
}

struct StoredFile {
    time: Time,
    /// The file's entry. It contains the length once the upload is complete.
    entry: Arc<Entry>,
    place: StoredPlace,
}

/// The place of a stored file.
enum StoredPlace {
    Room(usize),
    /// The inboxes of two nicks, and the nicks (in comparison form) that may still read the file.
    Inbox(Box<DirectMessage>, Vec<Box<str>>),
}

impl StoredFile {
    fn is_in(&self, room: usize) -> bool {
        matches!(self.place, StoredPlace::Room(of) if of == room)
    }

    fn is_in_inbox(&self, form: &str) -> bool {
        match &self.place {
            StoredPlace::Room(_) => false,
            StoredPlace::Inbox(_, readers) => readers.iter().any(|reader| **reader == *form),
        }
    }

    fn deleted(&self, id: EventId) -> DeletedFile {
        DeletedFile {
            id,
            nick: self.entry.author().to_owned(),
            contents: self.file().and_then(|file| file.contents),
        }
    }

    fn file(&self) -> Option<&NewFile> {
        match &self.entry.kind {
            EventKind::File(file) => Some(file),
            _ => None,
        }
    }
}

impl StoredEvent {
    fn bytes(&self) -> usize {
        let message = match &self.scope {
            StoredScope::Room(_) => 0,
            StoredScope::Inbox(_) => DIRECT_BYTES,
        };
        let marks = self.marks.as_ref().map_or(0, |marks| marks.bytes());
        self.entry.bytes() + EVENT_BYTES + message + marks
    }
}

/// The memory that an event takes in addition to its text, in bytes.
const EVENT_BYTES: usize =
    size_of::<StoredEvent>() + size_of::<Entry>() + size_of::<EventId>() + 48;

/// The additional memory of a direct message, in bytes: its two nicks, and perhaps an inbox for each.
const DIRECT_BYTES: usize = size_of::<DirectMessage>() + 512;

impl MemoryLog {
    /// Returns an empty log. Its ids are greater than `first_id`, and it holds about `bytes_max` bytes.
    pub fn new(first_id: u64, bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                events: VecDeque::new(),
                bytes: 0,
                bytes_max,
                next_id: first_id,
                rooms: Vec::new(),
                room_ids: HashMap::new(),
                newest_room: 0,
                inboxes: HashMap::new(),
                readers: HashMap::new(),
                readers_of: HashMap::new(),
                nonces: Nonces::default(),
                files: BTreeMap::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no thread panics while it holds this")
    }
}

impl State {
    /// Stores an entry, unless its kind is not stored, and returns its id.
    fn append(&mut self, entry: Arc<Entry>, time: Time) -> Option<EventId> {
        if matches!(entry.scope, Scope::Unsaved(_)) {
            return None;
        }
        if matches!(entry.kind, EventKind::Text) {
            let first = entry.each_line(|line| Ok::<_, Infallible>(self.append(line.into(), time)));
            return first.unwrap_or_default();
        }
        self.next_id += 1;
        let id = EventId::new(self.next_id)?;
        let scope = match &entry.scope {
            Scope::Unsaved(_) => return None,
            Scope::Room(name) => {
                let room = self.room(name, id);
                let of = self.rooms.get_mut(room)?;
                of.last_id = id;
                of.ids.push_back(id);
                if matches!(entry.kind, EventKind::Topic) {
                    of.topic = entry.text().to_owned();
                }
                StoredScope::Room(room)
            }
            Scope::Inbox(message) => {
                let concerned = entry.concerns();
                for form in forms(message) {
                    if concerned.is_some_and(|of| !self.is_reader(form, of)) {
                        continue;
                    }
                    let ids = &mut self.inboxes.entry(form.into()).or_default().ids;
                    if ids.back() != Some(&id) {
                        ids.push_back(id);
                    }
                }
                if let Some(inbox) = self.inboxes.get_mut(message.to.casefolded()) {
                    inbox.name.get_or_insert_with(|| message.to.as_str().into());
                }
                StoredScope::Inbox(message.clone())
            }
        };
        match (&entry.kind, &scope) {
            (EventKind::Stored(file, contents), _) => {
                if let Some(kept) = self.files.get_mut(file)
                    && let EventKind::File(file) = &mut Arc::make_mut(&mut kept.entry).kind
                {
                    file.contents = Some(**contents);
                }
            }
            (EventKind::Remove(removed, _), _) => self.remove(*removed),
            (EventKind::Edit(edited), _) => {
                let text = entry.text();
                self.change(*edited, |kept| {
                    Arc::make_mut(&mut kept.entry).replace_text(text);
                    let marks = kept.marks.get_or_insert_default();
                    marks.edited = Some(time);
                    marks.edits.push(id);
                });
            }
            (EventKind::File(_), scope) => {
                let place = match scope {
                    StoredScope::Room(room) => StoredPlace::Room(*room),
                    StoredScope::Inbox(message) => {
                        let readers = forms(message).map(Into::into).into();
                        StoredPlace::Inbox(message.clone(), readers)
                    }
                };
                let entry = entry.clone();
                self.files.insert(id, StoredFile { time, entry, place });
            }
            // A deletion of a room is not an event. It has been carried out already.
            (
                EventKind::Msg
                | EventKind::Me
                | EventKind::Text
                | EventKind::Topic
                | EventKind::React(_)
                | EventKind::DeleteRoom(_),
                _,
            ) => {}
        }
        let kept = StoredEvent {
            id,
            time,
            entry,
            is_removed: false,
            marks: None,
            scope,
        };
        self.bytes += kept.bytes();
        self.events.push_back(kept);
        while self.bytes > self.bytes_max && self.events.len() > 1 {
            self.forget_first();
        }
        Some(id)
    }

    /// Returns the next events that a search must look at, newest first, and the id before which it continues. The id
    /// is `None` if these events are the last.
    fn piece_before(&self, scope: &SearchScope, before: u64) -> (Vec<&StoredEvent>, Option<u64>) {
        let piece_of = |ids: Option<&VecDeque<EventId>>| {
            let Some(ids) = ids else {
                return (Vec::new(), None);
            };
            let end = ids.partition_point(|id| id.get() < before);
            let first = end.saturating_sub(SEARCH_PIECE);
            let next = ids.get(first).filter(|_| first > 0);
            let events = ids.range(first..end).rev();
            let events = events.filter_map(|id| self.get(*id)).collect();
            (events, next.map(|id| id.get()))
        };
        match scope {
            SearchScope::Room(room) => piece_of(self.of(room).map(|room| &room.ids)),
            SearchScope::Inbox(nick) => {
                let inbox = self.inboxes.get(nick.casefolded());
                piece_of(inbox.map(|inbox| &inbox.ids))
            }
            SearchScope::AllBut(hidden) => {
                let end = self.events.partition_point(|kept| kept.id.get() < before);
                let first = end.saturating_sub(SEARCH_PIECE);
                let events = self.events.range(first..end).rev();
                let is_seen = |kept: &&StoredEvent| match kept.scope {
                    StoredScope::Room(room) => self
                        .rooms
                        .get(room)
                        .is_some_and(|room| !hidden.contains(room.name.casefolded())),
                    StoredScope::Inbox(_) => false,
                };
                let next = self.events.get(first).filter(|_| first > 0);
                (
                    events.filter(is_seen).collect(),
                    next.map(|kept| kept.id.get()),
                )
            }
        }
    }

    /// Stores an entry, unless its author has already sent an entry with the same nonce, or it refers to a message or
    /// file that does not exist.
    fn decide(&mut self, entry: &Arc<Entry>, time: Time) -> Result<Decided, Code> {
        let is_logged = !matches!(entry.scope, Scope::Unsaved(_));
        let nonce = Nonces::key(entry).filter(|_| is_logged);
        if let Some((id, time)) = nonce.as_ref().and_then(|key| self.nonces.find(key, time)) {
            return Ok(Decided::Before(id, time));
        }
        if let Some(id) = entry.tags.reply()
            && !self.is_readable(id, &entry.scope)
        {
            return Err(Code::NoSuchId);
        }
        let is_here = |id| self.is_readable(id, &entry.scope);
        match &entry.kind {
            // Two users may remove a file at the same time, but its bytes must be released only once.
            EventKind::Remove(id, _) | EventKind::Stored(id, _) if self.is_removed(*id) => {
                return Err(Code::NoSuchFile);
            }
            // The upload is complete by now. A removal must name the contents that it releases.
            EventKind::Remove(id, removed) if removed.is_live() && self.is_complete(*id) => {
                return Err(Code::Busy);
            }
            EventKind::Edit(id) if !is_here(*id) || !self.is_own(*id, entry) => {
                return Err(Code::NoSuchId);
            }
            EventKind::React(reaction) if !is_here(reaction.to) || self.is_removed(reaction.to) => {
                return Err(Code::NoSuchId);
            }
            EventKind::React(reaction) if !self.react(entry.author(), reaction)? => {
                return Ok(Decided::Unchanged);
            }
            _ => {}
        }
        let is_withheld = match (&entry.scope, entry.concerns()) {
            (Scope::Inbox(message), Some(of)) => !self.is_reader(message.to.casefolded(), of),
            _ => false,
        };
        let id = self.append(entry.clone(), time);
        if let (Some(key), Some(id)) = (nonce, id) {
            self.nonces.add(key, id, time);
        }
        Ok(Decided::New { id, is_withheld })
    }

    fn record(&self, kept: &StoredEvent) -> Record {
        let place = match &kept.scope {
            StoredScope::Room(room) => self.rooms.get(*room).map(|room| room.name.as_str()),
            StoredScope::Inbox(message) => Some(self.recipient(message)),
        };
        let mut record = record(kept.id, kept.time, &kept.entry, place.unwrap_or_default());
        if let Some(marks) = &kept.marks {
            record.tags = with_marks(&record.tags, marks.edited, &marks.reacts());
        }
        record
    }

    /// Returns the recipient of a direct message, spelled as in the first message that it received.
    fn recipient<'a>(&'a self, message: &'a DirectMessage) -> &'a str {
        let inbox = self.inboxes.get(message.to.casefolded());
        let name = inbox.and_then(|inbox| inbox.name.as_deref());
        name.unwrap_or(message.to.as_str())
    }

    fn file_record(&self, id: EventId, file: &StoredFile) -> Record {
        let place = match &file.place {
            StoredPlace::Room(room) => self.rooms.get(*room).map_or("", |room| room.name.as_str()),
            StoredPlace::Inbox(message, _) => self.recipient(message),
        };
        record(id, file.time, &file.entry, place)
    }

    fn location_of_file(&self, file: &StoredFile) -> Option<Location> {
        match &file.place {
            StoredPlace::Room(room) => Some(Location::Room(self.rooms.get(*room)?.name.clone())),
            StoredPlace::Inbox(message, readers) => Some(Location::Inbox {
                message: DirectMessage::clone(message),
                readers: readers.clone(),
            }),
        }
    }

    fn room(&mut self, name: &RoomName, last_id: EventId) -> usize {
        let newest = self.rooms.get(self.newest_room);
        if newest.is_some_and(|room| room.name.casefolded() == name.casefolded()) {
            return self.newest_room;
        }
        if let Some(room) = self.room_ids.get(name.casefolded()) {
            self.newest_room = *room;
            return *room;
        }
        let room = self.rooms.len();
        self.rooms.push(Room {
            name: name.clone(),
            topic: String::new(),
            last_id,
            ids: VecDeque::new(),
            forgotten: 0,
            deleted: 0,
        });
        self.room_ids.insert(name.casefolded().into(), room);
        room
    }

    fn forget_first(&mut self) {
        let Some(kept) = self.events.pop_front() else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(kept.bytes());
        match kept.scope {
            StoredScope::Room(room) => {
                if let Some(room) = self.rooms.get_mut(room) {
                    room.ids.pop_front();
                    room.forgotten = kept.id.get();
                    if room.ids.len() * 4 < room.ids.capacity() {
                        room.ids.shrink_to_fit();
                    }
                }
            }
            StoredScope::Inbox(message) => {
                for form in forms(&message) {
                    // If the owner has released the nick, its inbox no longer exists.
                    let Some(Inbox { ids, .. }) = self.inboxes.get_mut(form) else {
                        continue;
                    };
                    ids.pop_front_if(|id| *id == kept.id);
                    if ids.is_empty() {
                        self.inboxes.remove(form);
                    }
                }
            }
        }
    }

    /// Returns the records of the events whose ids are in both `ids` and `span`, oldest first. Returns at most `count`
    /// records and about `bytes` bytes, but at least one record if there is any.
    fn records(
        &self,
        ids: &VecDeque<EventId>,
        span: Span,
        count: usize,
        bytes: usize,
    ) -> Vec<Record> {
        let first = ids.partition_point(|id| id.get() <= span.after);
        let mut size = 0;
        let mut records: Vec<Record> = Vec::new();
        for id in ids.range(first..).take(count) {
            let Some(kept) = self.get(*id).filter(|_| id.get() <= span.up_to) else {
                break;
            };
            let record = self.record(kept);
            size += record.bytes();
            if size > bytes && !records.is_empty() {
                break;
            }
            records.push(record);
        }
        records
    }

    fn index(&self, id: EventId) -> Option<usize> {
        self.events.binary_search_by_key(&id, |kept| kept.id).ok()
    }

    fn get(&self, id: EventId) -> Option<&StoredEvent> {
        self.events.get(self.index(id)?)
    }

    /// Removes a message or file. If it is the first line of a text, the other lines are removed too.
    fn remove(&mut self, id: EventId) {
        let tags = |id| self.get(id).map_or("", |kept| kept.entry.tags.kept());
        let lines = (id.get() + 1..).take(text_lines(tags(id)).unwrap_or(1) as usize - 1);
        let lines: Vec<EventId> = lines
            .filter_map(EventId::new)
            .filter(|line| text_of(tags(*line)) == Some(id))
            .collect();
        self.remove_one(id);
        for line in lines {
            self.remove_one(line);
        }
    }

    fn remove_one(&mut self, id: EventId) {
        self.files.remove(&id);
        let Some(kept) = self.index(id).and_then(|index| self.events.get_mut(index)) else {
            return;
        };
        let edits = kept.marks.take().map_or_else(Vec::new, |marks| marks.edits);
        self.change(id, |kept| {
            kept.is_removed = true;
            Arc::make_mut(&mut kept.entry).redact();
        });
        for edit in edits {
            self.change(edit, |kept| Arc::make_mut(&mut kept.entry).redact());
        }
    }

    /// Changes a stored event, and updates the count of used memory.
    fn change(&mut self, id: EventId, change: impl FnOnce(&mut StoredEvent)) {
        let Some(kept) = self.index(id).and_then(|index| self.events.get_mut(index)) else {
            return;
        };
        let had = kept.bytes();
        change(kept);
        self.bytes = (self.bytes + kept.bytes()).saturating_sub(had);
    }

    /// Stores a reaction, or withdraws it. Returns whether that changes anything.
    fn react(&mut self, author: &str, reaction: &Reaction) -> Result<bool, Code> {
        let form = casefolded(author);
        let mut has_changed = Ok(false);
        self.change(reaction.to, |kept| {
            let reactions = &mut kept.marks.get_or_insert_default().reactions;
            let is_it = |(by, of): &(String, Reacted)| *by == form && *of.emoji == *reaction.emoji;
            match (reactions.iter().position(is_it), reaction.is_withdrawn) {
                (Some(_), false) | (None, true) => {}
                (Some(at), true) => {
                    reactions.remove(at);
                    has_changed = Ok(true);
                }
                (None, false) => {
                    let emoji = reactions.iter().map(|(_, of)| &*of.emoji);
                    let others = emoji.filter(|other| **other != *reaction.emoji);
                    let others: HashSet<&str> = others.collect();
                    if reactions.len() >= REACTIONS_MAX || others.len() >= EMOJI_MAX {
                        has_changed = Err(Code::Quota);
                        return;
                    }
                    let (nick, emoji) = (author.to_owned(), reaction.emoji.to_string());
                    reactions.push((form, Reacted { nick, emoji }));
                    has_changed = Ok(true);
                }
            }
        });
        has_changed
    }

    fn is_complete(&self, id: EventId) -> bool {
        let kind = self.files.get(&id).map(|file| &file.entry.kind);
        matches!(kind, Some(EventKind::File(file)) if file.contents.is_some())
    }

    /// Returns whether the message `id` was sent by the author of `entry` and has not been removed.
    fn is_own(&self, id: EventId, entry: &Entry) -> bool {
        self.get(id).is_some_and(|kept| {
            let is_message = matches!(kept.entry.kind, EventKind::Msg | EventKind::Me);
            is_message
                && !kept.is_removed
                && kept.entry.author_casefolded() == entry.author_casefolded()
        })
    }

    /// Deletes the named readers for which `is_gone` returns true. `is_gone` receives a reader and its owner.
    fn forget_readers(&mut self, is_gone: impl Fn(&Reader, &str) -> bool) {
        let gone = self
            .readers
            .extract_if(|reader, (owner, _)| is_gone(reader, owner));
        let owners: Vec<Box<str>> = gone.map(|(_, (owner, _))| owner).collect();
        for owner in owners {
            self.release_reader_of(&owner);
        }
    }

    /// Subtracts one from `owner`'s number of named readers.
    fn release_reader_of(&mut self, owner: &str) {
        if let Some(count) = self.readers_of.get_mut(owner) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.readers_of.remove(owner);
            }
        }
    }

    /// Deletes a room and everything in it; returns its files.
    fn delete_room(&mut self, name: &RoomName) -> Vec<DeletedFile> {
        let form = name.casefolded();
        self.forget_readers(|reader, _| *reader.place == *form);
        let Some(id) = self.room_ids.get(form).copied() else {
            return Vec::new();
        };
        if let Some(room) = self.rooms.get_mut(id) {
            room.topic = String::new();
            room.ids = VecDeque::new();
            room.forgotten = 0;
            // If a new room gets the same name, a client that has read this room receives a `GAP` in the new one.
            room.deleted = room.last_id.get();
        }
        let bytes = &mut self.bytes;
        self.events.retain(|kept| {
            let stays = !matches!(kept.scope, StoredScope::Room(room) if room == id);
            if !stays {
                *bytes = bytes.saturating_sub(kept.bytes());
            }
            stays
        });
        let mut files = Vec::new();
        self.files.retain(|number, file| {
            if file.is_in(id) {
                files.push(file.deleted(*number));
            }
            !file.is_in(id)
        });
        files
    }

    /// Returns whether there is nothing to remove under the id `id`, because no such message or file is stored, or it
    /// has been removed already.
    fn is_removed(&self, id: EventId) -> bool {
        let is_message =
            |kept: &StoredEvent| matches!(kept.entry.kind, EventKind::Msg | EventKind::Me);
        match self.get(id).filter(|kept| is_message(kept)) {
            Some(message) => message.is_removed,
            None => !self.files.contains_key(&id),
        }
    }

    /// Returns whether the place `scope` (a room, or two nicks) contains a message or file with the id `id`.
    fn is_readable(&self, id: EventId, scope: &Scope) -> bool {
        let Some(kept) = self.get(id) else {
            return false;
        };
        let kind = &kept.entry.kind;
        if !matches!(kind, EventKind::Msg | EventKind::Me | EventKind::File(_)) {
            return false;
        }
        match (scope, &kept.scope) {
            (Scope::Room(room), StoredScope::Room(of)) => {
                self.room_ids.get(room.casefolded()) == Some(of)
            }
            (Scope::Inbox(message), StoredScope::Inbox(of)) => {
                let mut pairs = [forms(message), forms(of)];
                pairs.iter_mut().for_each(|pair| pair.sort_unstable());
                let mut both = forms(message).into_iter();
                pairs[0] == pairs[1] && both.all(|form| self.has_in_inbox(form, id))
            }
            _ => false,
        }
    }

    /// Returns whether a nick, given in its comparison form, may read a direct message.
    fn has_in_inbox(&self, form: &str, id: EventId) -> bool {
        let inbox = self.inboxes.get(form);
        inbox.is_some_and(|inbox| inbox.ids.binary_search(&id).is_ok())
    }

    /// Returns whether a nick, given in its comparison form, has a copy of a direct message or of a file.
    fn is_reader(&self, form: &str, id: EventId) -> bool {
        // The event of a file may have been dropped already.
        let file = self.files.get(&id);
        file.is_some_and(|file| file.is_in_inbox(form)) || self.has_in_inbox(form, id)
    }

    fn location(&self, id: EventId, message: &DirectMessage) -> Location {
        let readers = forms(message).into_iter();
        let readers = readers.filter(|form| self.has_in_inbox(form, id));
        Location::Inbox {
            message: message.clone(),
            readers: readers.map(Into::into).collect(),
        }
    }

    fn of(&self, room: &RoomName) -> Option<&Room> {
        self.rooms.get(*self.room_ids.get(room.casefolded())?)
    }
}

impl Log for MemoryLog {
    fn append(&self, mut entry: Arc<Entry>, ticket: Option<Ticket>, time: Time) -> Option<Applied> {
        let mut state = self.state();
        if let (Scope::Room(room), EventKind::DeleteRoom(_)) = (&entry.scope, &entry.kind) {
            let files = state.delete_room(room);
            Arc::make_mut(&mut entry).kind = EventKind::DeleteRoom(files);
            return Some(Applied {
                entry,
                outcome: Ok((None, time)),
                is_repeat: false,
                is_withheld: false,
                ticket,
            });
        }
        let decided = state.decide(&entry, time);
        Some(Applied {
            is_repeat: matches!(decided, Ok(Decided::Before(..) | Decided::Unchanged)),
            is_withheld: matches!(
                decided,
                Ok(Decided::New {
                    is_withheld: true,
                    ..
                })
            ),
            outcome: match decided {
                Ok(Decided::New { id, .. }) => Ok((id, time)),
                Ok(Decided::Before(id, time)) => Ok((Some(id), time)),
                Ok(Decided::Unchanged) => Ok((None, time)),
                Err(code) => Err(code),
            },
            entry,
            ticket,
        })
    }

    fn rooms(&self) -> Result<Vec<RoomRow>, StorageError> {
        let rows = |room: &Room| RoomRow {
            name: room.name.clone(),
            topic: room.topic.clone(),
            last_id: room.last_id,
        };
        Ok(self.state().rooms.iter().map(rows).collect())
    }

    fn read(
        &self,
        room: &RoomName,
        span: Span,
        count: usize,
        bytes: usize,
    ) -> Result<HistoryPage, StorageError> {
        let state = self.state();
        let Some(room) = state.of(room) else {
            return Ok(HistoryPage::default());
        };
        let after = span.after;
        let has_hole = room.forgotten > after || (after > 0 && room.deleted > after);
        let records = state.records(&room.ids, span, count, bytes);
        Ok(HistoryPage { records, has_hole })
    }

    fn newest(&self, room: &RoomName, before: u64, count: usize) -> Result<Span, StorageError> {
        let state = self.state();
        let ids = state.of(room).map(|room| &room.ids);
        Ok(newest(ids, before, count))
    }

    fn read_inbox(
        &self,
        nick: &Nick,
        span: Span,
        count: usize,
        bytes: usize,
    ) -> Result<HistoryPage, StorageError> {
        let state = self.state();
        let inbox = state.inboxes.get(nick.casefolded());
        let records = inbox.map(|inbox| state.records(&inbox.ids, span, count, bytes));
        Ok(HistoryPage::complete(records.unwrap_or_default()))
    }

    fn newest_in_inbox(
        &self,
        nick: &Nick,
        before: u64,
        count: usize,
    ) -> Result<Span, StorageError> {
        let state = self.state();
        let inbox = state.inboxes.get(nick.casefolded());
        Ok(newest(inbox.map(|inbox| &inbox.ids), before, count))
    }

    fn clear_inbox(&self, nick: &Nick) -> Result<Vec<DeletedFile>, StorageError> {
        let mut state = self.state();
        state.inboxes.remove(nick.casefolded());
        let mut files = Vec::new();
        state.files.retain(|number, file| {
            let StoredPlace::Inbox(_, readers) = &mut file.place else {
                return true;
            };
            readers.retain(|reader| **reader != *nick.casefolded());
            let is_kept = !readers.is_empty();
            if !is_kept {
                files.push(file.deleted(*number));
            }
            is_kept
        });
        state.forget_readers(|reader, owner| {
            let form = nick.casefolded();
            reader.nick == form && (reader.place.starts_with('@') || owner == form)
        });
        Ok(files)
    }

    fn search(
        &self,
        scope: &SearchScope,
        query: &Query,
        count: usize,
        work: &Work,
    ) -> Result<Found, StorageError> {
        let mut found = Found::default();
        let mut scratch = String::new();
        let mut before = query.before().map_or(u64::MAX, EventId::get);
        if query.is_empty() {
            return Ok(found);
        }
        loop {
            // Searches in small pieces, because storing a message needs this lock too.
            let state = self.state();
            let (piece, next) = state.piece_before(scope, before);
            for kept in piece {
                if found.records.len() < count && is_match(&kept.entry, query, &mut scratch) {
                    found.records.push(state.record(kept));
                }
            }
            match next {
                Some(next) if found.records.len() < count => before = next,
                _ => break,
            }
            if work.is_over() {
                found.is_cut = true;
                break;
            }
        }
        found.records.reverse();
        Ok(found)
    }

    fn files(
        &self,
        source: &HistorySource,
        after: u64,
        count: usize,
    ) -> Result<Vec<Record>, StorageError> {
        let state = self.state();
        let room = match source {
            HistorySource::Room(room) => state.room_ids.get(room.casefolded()).copied(),
            HistorySource::Inbox(_) => None,
        };
        let mut files = Vec::new();
        for (id, file) in &state.files {
            let is_here = match source {
                HistorySource::Room(_) => room.is_some_and(|room| file.is_in(room)),
                HistorySource::Inbox(nick) => file.is_in_inbox(nick.casefolded()),
            };
            if is_here && id.get() > after && files.len() < count {
                files.push(state.file_record(*id, file));
            }
        }
        Ok(files)
    }

    fn file(&self, id: EventId) -> Result<Option<(Location, NewFile)>, StorageError> {
        let state = self.state();
        let file = state.files.get(&id);
        Ok(file.and_then(|file| Some((state.location_of_file(file)?, file.file()?.clone()))))
    }

    fn file_totals(&self) -> Result<FileTotals, StorageError> {
        let state = self.state();
        let files = state.files.values().filter_map(|file| {
            let bytes = file.file()?.contents.map_or(0, |contents| contents.length);
            let sum = FileSum { count: 1, bytes };
            Some((file.entry.author().to_owned(), sum))
        });
        Ok(FileTotals {
            count: state.files.len(),
            by_nick: files.collect(),
        })
    }

    /// Does nothing: this log is bounded anyway, and is lost when the server ends.
    fn trim(&self, _: Option<Age>, _: Option<u64>) -> Result<Trimmed, StorageError> {
        Ok(Trimmed::default())
    }

    /// Does nothing: this log deletes a room at once, and bounds the number of readers.
    fn sweep(&self, _: Time) -> Result<u64, StorageError> {
        Ok(0)
    }

    fn digests(&self) -> Result<HashMap<Digest, usize>, StorageError> {
        let mut digests = HashMap::new();
        for file in self.state().files.values() {
            if let Some(contents) = file.file().and_then(|file| file.contents) {
                *digests.entry(contents.sha256).or_default() += 1;
            }
        }
        Ok(digests)
    }

    fn reactions(&self, id: EventId) -> Result<Vec<Reacted>, StorageError> {
        let state = self.state();
        let marks = state.get(id).and_then(|kept| kept.marks.as_deref());
        let reactions = marks.into_iter().flat_map(|marks| &marks.reactions);
        Ok(reactions.map(|(_, reacted)| reacted.clone()).collect())
    }

    fn authorship(&self, id: EventId) -> Result<Option<Authorship>, StorageError> {
        let state = self.state();
        let file = state.files.get(&id);
        let of_room = |room: usize| {
            let room = state.rooms.get(room)?;
            Some(Location::Room(room.name.clone()))
        };
        let (entry, location, removable) = match (file, state.get(id)) {
            (Some(file), _) => {
                let removable = Removed::File {
                    owner: file.entry.author().into(),
                    contents: file.file().and_then(|file| file.contents),
                };
                (&file.entry, state.location_of_file(file), Some(removable))
            }
            (None, Some(kept)) => {
                let location = match &kept.scope {
                    StoredScope::Room(room) => of_room(*room),
                    StoredScope::Inbox(message) => Some(state.location(id, message)),
                };
                let is_message = matches!(kept.entry.kind, EventKind::Msg | EventKind::Me);
                let removable = (is_message && !kept.is_removed).then_some(Removed::Message);
                (&kept.entry, location, removable)
            }
            (None, None) => return Ok(None),
        };
        Ok(location.map(|location| Authorship {
            location,
            nick: entry.author().to_owned(),
            removable,
        }))
    }

    fn unfinished(&self) -> Result<Vec<(EventId, Location, String)>, StorageError> {
        Ok(Vec::new())
    }

    fn reader(&self, reader: &Reader) -> Result<Option<u64>, StorageError> {
        Ok(self.state().readers.get(reader).map(|(_, seen)| *seen))
    }

    fn set_reader(&self, reader: &Reader, owner: &str, seen: u64) -> Result<(), StorageError> {
        let mut state = self.state();
        let owned = state.readers_of.get(owner).copied().unwrap_or_default();
        if let Some((owned_by, place)) = state.readers.get_mut(reader) {
            *place = seen;
            if **owned_by != *owner && reader.nick == owner && owned < READERS_PER_OWNER {
                let before = std::mem::replace(owned_by, owner.into());
                state.readers_of.insert(owner.into(), owned + 1);
                state.release_reader_of(&before);
            }
            return Ok(());
        }
        if owned >= READERS_PER_OWNER || state.readers.len() >= READERS_IN_ALL {
            return Err(StorageError::TooMany);
        }
        state.readers_of.insert(owner.into(), owned + 1);
        state.readers.insert(reader.clone(), (owner.into(), seen));
        Ok(())
    }

    fn readers(&self, nick: &str, owner: &str) -> Result<Vec<(Reader, u64)>, StorageError> {
        let state = self.state();
        let own = state.readers.iter().filter(|(reader, (owned_by, _))| {
            reader.nick == nick && **owned_by == *owner && !reader.is_marker()
        });
        let mut own: Vec<_> = own
            .map(|(reader, (_, seen))| (reader.clone(), *seen))
            .collect();
        own.sort_by(|(a, _), (b, _)| (&a.place, &a.name).cmp(&(&b.place, &b.name)));
        Ok(own)
    }

    fn forget_reader(&self, reader: &Reader, owner: &str) -> Result<(), StorageError> {
        let mut state = self.state();
        let found = state.readers.get(reader);
        if found.is_some_and(|(owned_by, _)| **owned_by == *owner) {
            state.readers.remove(reader);
            state.release_reader_of(owner);
        }
        Ok(())
    }
}

/// Returns the comparison forms of the two nicks that may read a direct message.
fn forms(message: &DirectMessage) -> [&str; 2] {
    [message.by.casefolded(), message.to.casefolded()]
}

/// Returns the span of the newest `count` events before the id `before`.
fn newest(ids: Option<&VecDeque<EventId>>, before: u64, count: usize) -> Span {
    let up_to = before.saturating_sub(1);
    let after = ids.and_then(|ids| {
        let end = ids.partition_point(|id| id.get() <= up_to);
        let first = ids.get(end.saturating_sub(count)).filter(|_| end > 0)?;
        Some(first.get().saturating_sub(1))
    });
    Span {
        after: after.unwrap_or(up_to),
        up_to,
    }
}

fn record(id: EventId, time: Time, entry: &Entry, place: &str) -> Record {
    let tags = entry.tags.kept().into();
    Record::of(id, time, tags, &entry.event(place, Some(id)))
}

/// The maximum number of events that a search looks at before it releases the lock.
const SEARCH_PIECE: usize = 200;

/// Returns whether the text of an event, or the name of a file, matches a query.
fn is_match(entry: &Entry, query: &Query, scratch: &mut String) -> bool {
    if !query.is_from(entry.author()) {
        return false;
    }
    match &entry.kind {
        EventKind::Msg | EventKind::Me | EventKind::Text | EventKind::Topic => {
            query.is_in(entry.text(), scratch)
        }
        EventKind::File(file) => query.is_in(file.name.as_str(), scratch),
        EventKind::Remove(..)
        | EventKind::Edit(_)
        | EventKind::React(_)
        | EventKind::Stored(..)
        | EventKind::DeleteRoom(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_message_takes_no_space() {
        let log = MemoryLog::new(0, 64 << 10);
        let room = RoomName::parse("#tea").expect("a room");
        let say = |kind, text: &str| {
            let entry = Entry::new(Scope::Room(room.clone().into()), kind, "ann", text);
            let applied = log
                .append(entry.into(), None, Time(1))
                .expect("it is known at once");
            applied.outcome.expect("it is kept").0
        };
        for _ in 0..1000 {
            let id = say(EventKind::Msg, &"long ".repeat(800)).expect("an id");
            say(EventKind::Remove(id, Removed::Message.into()), "");
        }
        for _ in 0..50 {
            say(EventKind::Msg, "short");
        }
        let newest = log.newest(&room, u64::MAX >> 1, 50).expect("it is read");
        let past = log.read(&room, newest, 50, usize::MAX).expect("it is read");
        assert_eq!(past.records.len(), 50);
    }
}
