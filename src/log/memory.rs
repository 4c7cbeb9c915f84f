//! The log in memory, for a throw-away chat: the same answers, until the end, from the newest so many bytes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use super::{
    Entry, Error, FileTotals, Log, Origin, Outcome, Past, Reader, Record, RoomRow, Span,
    search_words,
};
use crate::chat::{Draft, NewFile, Removed, What};
use crate::protocol::{Code, Digest, Event, EventId, RoomName, Time};

/// A log that goes with the server.
pub struct MemoryLog {
    state: Mutex<State>,
}

struct State {
    /// The newest events, in the order of their ids.
    events: VecDeque<Kept>,
    bytes: usize,
    bytes_max: usize,
    next_id: u64,
    rooms: Vec<Room>,
    room_ids: HashMap<Box<str>, usize>,
    readers: HashMap<Reader, u64>,
    /// The files that can be fetched: as long as the server, since their bytes are on disk.
    files: BTreeMap<EventId, KeptFile>,
}

struct Room {
    name: RoomName,
    topic: String,
    last_id: EventId,
    /// Its events that are still here, oldest first.
    ids: VecDeque<EventId>,
    /// The newest of its events that is no longer here; 0 for none.
    forgotten: u64,
}

struct Kept {
    record: Record,
    room: usize,
}

struct KeptFile {
    record: Record,
    room: usize,
    file: NewFile,
}

/// What an event costs beside its line.
const EVENT_BYTES: usize = size_of::<Kept>() + size_of::<EventId>() + 16;

impl MemoryLog {
    /// An empty log whose ids begin after `first_id`, and which holds about `bytes_max` bytes.
    pub fn new(first_id: u64, bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                events: VecDeque::new(),
                bytes: 0,
                bytes_max,
                next_id: first_id,
                rooms: Vec::new(),
                room_ids: HashMap::new(),
                readers: HashMap::new(),
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
    fn append(&mut self, name: &RoomName, draft: &Draft, time: Time) -> Option<EventId> {
        self.next_id += 1;
        let id = EventId::new(self.next_id)?;
        let room = self.room(name, id);
        let (verb, nick, text) = draft.parts();
        let line = super::line(verb, self.rooms.get(room)?.name.as_str(), nick, id, &text);
        let record = Record { id, time, line };
        match &draft.what {
            What::Msg | What::Me | What::Topic => {}
            What::Stored(file, whole) => {
                if let Some(kept) = self.files.get_mut(file) {
                    kept.file.whole = Some(*whole);
                    kept.record.line = listed(&kept.record.line, whole.length);
                }
            }
            What::Remove(removed, _) => self.remove(*removed),
            What::File(file) => {
                let (record, file) = (record.clone(), NewFile::clone(file));
                self.files.insert(id, KeptFile { record, room, file });
            }
        }
        let of = self.rooms.get_mut(room)?;
        of.last_id = id;
        of.ids.push_back(id);
        if matches!(draft.what, What::Topic) {
            of.topic = text.into_owned();
        }
        self.bytes += record.line.len() + EVENT_BYTES;
        self.events.push_back(Kept { record, room });
        while self.bytes > self.bytes_max && self.events.len() > 1 {
            self.forget_first();
        }
        Some(id)
    }

    fn room(&mut self, name: &RoomName, last_id: EventId) -> usize {
        if let Some(room) = self.room_ids.get(name.form()) {
            return *room;
        }
        let room = self.rooms.len();
        self.rooms.push(Room {
            name: name.clone(),
            topic: String::new(),
            last_id,
            ids: VecDeque::new(),
            forgotten: 0,
        });
        self.room_ids.insert(name.form().into(), room);
        room
    }

    fn forget_first(&mut self) {
        let Some(kept) = self.events.pop_front() else {
            return;
        };
        self.bytes = self
            .bytes
            .saturating_sub(kept.record.line.len() + EVENT_BYTES);
        if let Some(room) = self.rooms.get_mut(kept.room) {
            room.ids.pop_front();
            room.forgotten = kept.record.id.get();
            if room.ids.len() * 4 < room.ids.capacity() {
                room.ids.shrink_to_fit();
            }
        }
    }

    fn index(&self, id: EventId) -> Option<usize> {
        self.events
            .binary_search_by_key(&id, |kept| kept.record.id)
            .ok()
    }

    fn get(&self, id: EventId) -> Option<&Kept> {
        self.events.get(self.index(id)?)
    }

    fn remove(&mut self, id: EventId) {
        self.files.remove(&id);
        let Some(kept) = self.index(id).and_then(|index| self.events.get_mut(index)) else {
            return;
        };
        let mut event = Event::parse(&kept.record.line).map(Event::into_owned);
        match &mut event {
            Some(
                Event::Msg { text, .. } | Event::Me { text, .. } | Event::File { name: text, .. },
            ) => {
                *text = "-".into();
            }
            _ => return,
        }
        if let Some(event) = event {
            kept.record.line = event.to_string();
        }
    }

    fn is_removed(&self, id: EventId) -> bool {
        let Some(kept) = self.get(id) else {
            return !self.files.contains_key(&id);
        };
        match Event::parse(&kept.record.line) {
            Some(Event::Msg { text, .. } | Event::Me { text, .. }) => text == "-",
            _ => !self.files.contains_key(&id),
        }
    }

    fn of(&self, room: &RoomName) -> Option<&Room> {
        self.rooms.get(*self.room_ids.get(room.form())?)
    }
}

impl Log for MemoryLog {
    fn append(&self, entry: Entry, time: Time) -> Option<(Draft, Outcome)> {
        let Entry { room, draft } = entry;
        let mut state = self.state();
        // Two may have asked at the same time, and a file's bytes are let go of once.
        if let What::Remove(removed, _) | What::Stored(removed, _) = &draft.what
            && state.is_removed(*removed)
        {
            return Some((draft, Err(Code::NoSuchFile)));
        }
        let id = room.and_then(|room| state.append(&room, &draft, time));
        Some((draft, Ok((id, time))))
    }

    fn rooms(&self) -> Result<Vec<RoomRow>, Error> {
        let rows = |room: &Room| RoomRow {
            name: room.name.clone(),
            topic: room.topic.clone(),
            last_id: room.last_id,
        };
        Ok(self.state().rooms.iter().map(rows).collect())
    }

    fn read(&self, room: &RoomName, span: Span, count: usize, bytes: usize) -> Result<Past, Error> {
        let state = self.state();
        let Some(room) = state.of(room) else {
            return Ok(Past::default());
        };
        let has_hole = room.forgotten > span.after;
        let first = room.ids.partition_point(|id| id.get() <= span.after);
        let mut size = 0;
        let mut records: Vec<Record> = Vec::new();
        for id in room.ids.range(first..).take(count) {
            let Some(kept) = state.get(*id).filter(|_| id.get() <= span.up_to) else {
                break;
            };
            size += kept.record.line.len();
            if size > bytes && !records.is_empty() {
                break;
            }
            records.push(kept.record.clone());
        }
        Ok(Past { records, has_hole })
    }

    fn newest(&self, room: &RoomName, before: u64, count: usize) -> Result<Span, Error> {
        let up_to = before.saturating_sub(1);
        let state = self.state();
        let after = state.of(room).and_then(|room| {
            let end = room.ids.partition_point(|id| id.get() <= up_to);
            let first = room
                .ids
                .get(end.saturating_sub(count))
                .filter(|_| end > 0)?;
            Some(first.get().saturating_sub(1))
        });
        Ok(Span {
            after: after.unwrap_or(up_to),
            up_to,
        })
    }

    fn search(&self, room: &RoomName, words: &str, count: usize) -> Result<Vec<Record>, Error> {
        let words: Vec<Vec<String>> = search_words(words)
            .map(tokens)
            .filter(|word| !word.is_empty())
            .collect();
        let state = self.state();
        let mut found = Vec::new();
        let ids = state
            .of(room)
            .into_iter()
            .flat_map(|room| room.ids.iter().rev());
        for kept in ids.filter_map(|id| state.get(*id)) {
            if found.len() >= count {
                break;
            }
            let text = match Event::parse(&kept.record.line) {
                Some(
                    Event::Msg { text, .. }
                    | Event::Me { text, .. }
                    | Event::Topic { text, .. }
                    | Event::File { name: text, .. },
                ) => tokens(&text),
                _ => continue,
            };
            let holds =
                |word: &Vec<String>| text.windows(word.len()).any(|window| window == &word[..]);
            if !words.is_empty() && words.iter().all(holds) {
                found.push(kept.record.clone());
            }
        }
        found.reverse();
        Ok(found)
    }

    fn files(&self, room: &RoomName, after: u64, count: usize) -> Result<Vec<Record>, Error> {
        let state = self.state();
        let room = state.room_ids.get(room.form()).copied();
        let files = state
            .files
            .values()
            .filter(|file| Some(file.room) == room && file.record.id.get() > after);
        Ok(files.take(count).map(|file| file.record.clone()).collect())
    }

    fn file(&self, id: EventId) -> Result<Option<(RoomName, NewFile)>, Error> {
        let state = self.state();
        let file = state.files.get(&id);
        Ok(file.and_then(|file| {
            let room = state.rooms.get(file.room)?;
            Some((room.name.clone(), file.file.clone()))
        }))
    }

    fn file_totals(&self) -> Result<FileTotals, Error> {
        let state = self.state();
        let files = state.files.values().filter_map(|file| {
            let event = Event::parse(&file.record.line)?;
            Some((event.nick().to_owned(), file.file.whole?.length))
        });
        Ok(FileTotals {
            count: state.files.len(),
            by_nick: files.collect(),
        })
    }

    /// It is bounded as it is, and gone with the server.
    fn trim(&self, _: Option<Time>, _: Option<u64>) -> Result<Vec<Digest>, Error> {
        Ok(Vec::new())
    }

    fn digests(&self) -> Result<HashMap<Digest, usize>, Error> {
        let mut digests = HashMap::new();
        for file in self.state().files.values() {
            if let Some(whole) = file.file.whole {
                *digests.entry(whole.sha256).or_default() += 1;
            }
        }
        Ok(digests)
    }

    fn origin(&self, id: EventId) -> Result<Option<Origin>, Error> {
        let state = self.state();
        let file = state.files.get(&id);
        let found = file.map(|file| (&file.record, file.room));
        let Some((record, room)) =
            found.or_else(|| state.get(id).map(|kept| (&kept.record, kept.room)))
        else {
            return Ok(None);
        };
        Ok(Event::parse(&record.line).and_then(|event| {
            let removable = match (&event, file) {
                (Event::Msg { text, .. } | Event::Me { text, .. }, _) => {
                    (text != "-").then_some(Removed::Message)
                }
                (_, Some(file)) => Some(Removed::File {
                    owner: event.nick().into(),
                    whole: file.file.whole,
                }),
                (_, None) => None,
            };
            Some(Origin {
                room: state.rooms.get(room)?.name.clone(),
                nick: event.nick().to_owned(),
                removable,
            })
        }))
    }

    fn unfinished(&self) -> Result<Vec<(EventId, RoomName, String)>, Error> {
        Ok(Vec::new())
    }

    fn reader(&self, reader: &Reader) -> Result<Option<u64>, Error> {
        Ok(self.state().readers.get(reader).copied())
    }

    fn set_reader(&self, reader: &Reader, seen: u64) -> Result<(), Error> {
        self.state().readers.insert(reader.clone(), seen);
        Ok(())
    }
}

/// The line of a file once its length is known, as `FILES` lists it.
fn listed(line: &str, whole: u64) -> String {
    match Event::parse(line).map(Event::into_owned) {
        Some(Event::File {
            room,
            nick,
            file,
            name,
            ..
        }) => Event::File {
            room,
            nick,
            file,
            length: Some(whole),
            name,
        }
        .to_string(),
        _ => line.to_owned(),
    }
}

/// The words of a text as they are compared.
fn tokens(text: &str) -> Vec<String> {
    let words = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}
