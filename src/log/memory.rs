//! The log in memory, for a throw-away chat: the same answers, until the end, from the newest so many bytes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use super::{
    Age, Entry, Error, FileTotals, Found, Home, Log, Origin, Outcome, Past, READERS_IN_ALL,
    READERS_PER_OWNER, Reader, Record, RoomRow, Span, Trimmed, text::Query, work::Work,
};
use crate::chat::{Draft, NewFile, Removed, Told, What};
use crate::protocol::{Code, Digest, Event, EventId, Nick, RoomName, Time};

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
    /// What each nick, by its form, told and was told that is still here.
    told: HashMap<Box<str>, Talks>,
    /// Whose each named reader is, and where it is.
    readers: HashMap<Reader, (Box<str>, u64)>,
    readers_of: HashMap<Box<str>, usize>,
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

#[derive(Default)]
struct Talks {
    /// The nick as it was spelt when it was first told something.
    name: Option<Box<str>>,
    /// Oldest first.
    ids: VecDeque<EventId>,
}

struct Kept {
    record: Record,
    stands: Stands,
}

/// Where an event stands.
enum Stands {
    Room(usize),
    Told(Box<Told>),
}

struct KeptFile {
    record: Record,
    room: usize,
    file: NewFile,
}

impl Kept {
    fn bytes(&self) -> usize {
        let told = match &self.stands {
            Stands::Room(_) => 0,
            Stands::Told(_) => TOLD_BYTES,
        };
        self.record.line.len() + EVENT_BYTES + told
    }
}

/// What an event costs beside its line.
const EVENT_BYTES: usize = size_of::<Kept>() + size_of::<EventId>() + 16;

/// What one costs besides that is told: its two nicks, and perhaps a list for each.
const TOLD_BYTES: usize = size_of::<Told>() + 512;

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
                told: HashMap::new(),
                readers: HashMap::new(),
                readers_of: HashMap::new(),
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
    fn append(&mut self, room: Option<&RoomName>, draft: &Draft, time: Time) -> Option<EventId> {
        let told = draft.told.as_deref().filter(|_| room.is_none());
        if room.is_none() && told.is_none() {
            return None;
        }
        self.next_id += 1;
        let id = EventId::new(self.next_id)?;
        let room = room.map(|room| self.room(room, id));
        let name = match (room, told) {
            (Some(room), _) => self.rooms.get(room)?.name.as_str(),
            (None, told) => {
                let to = &told?.to;
                let talks = self.told.entry(to.form().into()).or_default();
                &**talks.name.get_or_insert_with(|| to.as_str().into())
            }
        };
        let (verb, nick, text) = draft.parts();
        let line = super::line(verb, name, nick, id, &text);
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
                let room = room?;
                self.files.insert(id, KeptFile { record, room, file });
            }
        }
        let stands = match (room, told) {
            (Some(room), _) => {
                let of = self.rooms.get_mut(room)?;
                of.last_id = id;
                of.ids.push_back(id);
                if matches!(draft.what, What::Topic) {
                    of.topic = text.into_owned();
                }
                Stands::Room(room)
            }
            (None, told) => {
                let told = told?;
                for form in forms(told) {
                    let ids = &mut self.told.entry(form.into()).or_default().ids;
                    if ids.back() != Some(&id) {
                        ids.push_back(id);
                    }
                }
                Stands::Told(Box::new(told.clone()))
            }
        };
        let kept = Kept { record, stands };
        self.bytes += kept.bytes();
        self.events.push_back(kept);
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
        self.bytes = self.bytes.saturating_sub(kept.bytes());
        match kept.stands {
            Stands::Room(room) => {
                if let Some(room) = self.rooms.get_mut(room) {
                    room.ids.pop_front();
                    room.forgotten = kept.record.id.get();
                    if room.ids.len() * 4 < room.ids.capacity() {
                        room.ids.shrink_to_fit();
                    }
                }
            }
            Stands::Told(told) => {
                for form in forms(&told) {
                    // One who has given the nick up has none of it any more.
                    let Some(Talks { ids, .. }) = self.told.get_mut(form) else {
                        continue;
                    };
                    ids.pop_front_if(|id| *id == kept.record.id);
                    if ids.is_empty() {
                        self.told.remove(form);
                    }
                }
            }
        }
    }

    /// Those of `ids` in a span, so many at most, and about `bytes`, but one at least.
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
            size += kept.record.line.len();
            if size > bytes && !records.is_empty() {
                break;
            }
            records.push(kept.record.clone());
        }
        records
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
            let had = kept.bytes();
            kept.record.line = event.to_string();
            self.bytes = self.bytes.saturating_sub(had - kept.bytes().min(had));
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

    fn home(&self, id: EventId, told: &Told) -> Home {
        let can_read = |form: &&str| {
            let talks = self.told.get(*form);
            talks.is_some_and(|talks| talks.ids.binary_search(&id).is_ok())
        };
        let readers = forms(told).into_iter().filter(can_read);
        Home::Told {
            told: told.clone(),
            readers: readers.map(Into::into).collect(),
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
        let id = state.append(room.as_deref(), &draft, time);
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
        let records = state.records(&room.ids, span, count, bytes);
        Ok(Past { records, has_hole })
    }

    fn newest(&self, room: &RoomName, before: u64, count: usize) -> Result<Span, Error> {
        let state = self.state();
        let ids = state.of(room).map(|room| &room.ids);
        Ok(newest(ids, before, count))
    }

    fn read_told(
        &self,
        nick: &Nick,
        span: Span,
        count: usize,
        bytes: usize,
    ) -> Result<Past, Error> {
        let state = self.state();
        let talks = state.told.get(nick.form());
        let records = talks.map(|talks| state.records(&talks.ids, span, count, bytes));
        Ok(Past::whole(records.unwrap_or_default()))
    }

    fn newest_told(&self, nick: &Nick, before: u64, count: usize) -> Result<Span, Error> {
        let state = self.state();
        let talks = state.told.get(nick.form());
        Ok(newest(talks.map(|talks| &talks.ids), before, count))
    }

    fn forget_told(&self, nick: &Nick) -> Result<(), Error> {
        self.state().told.remove(nick.form());
        Ok(())
    }

    fn search(
        &self,
        room: &RoomName,
        query: &Query,
        count: usize,
        work: &Work,
    ) -> Result<Found, Error> {
        let mut found = Found::default();
        let mut scratch = String::new();
        let mut before = u64::MAX;
        if query.is_empty() {
            return Ok(found);
        }
        loop {
            // Piece by piece, since whoever speaks waits for this lock.
            let state = self.state();
            let Some(room) = state.of(room) else {
                break;
            };
            let end = room.ids.partition_point(|id| id.get() < before);
            let first = end.saturating_sub(SEARCH_PIECE);
            for id in room.ids.range(first..end).rev() {
                let Some(kept) = state.get(*id) else {
                    continue;
                };
                if found.records.len() < count && is_match(&kept.record.line, query, &mut scratch) {
                    found.records.push(kept.record.clone());
                }
                before = id.get();
            }
            if first == 0 || found.records.len() >= count {
                break;
            }
            if work.is_over() {
                found.is_cut = true;
                break;
            }
        }
        found.records.reverse();
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
    fn trim(&self, _: Option<Age>, _: Option<u64>) -> Result<Trimmed, Error> {
        Ok(Trimmed::default())
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
        let of_room = |room: usize| {
            let room = state.rooms.get(room)?;
            Some(Home::Room(room.name.clone()))
        };
        let found = match (file, state.get(id)) {
            (Some(file), _) => Some((&file.record, of_room(file.room))),
            (None, Some(kept)) => Some((
                &kept.record,
                match &kept.stands {
                    Stands::Room(room) => of_room(*room),
                    Stands::Told(told) => Some(state.home(id, told)),
                },
            )),
            (None, None) => None,
        };
        let Some((record, Some(home))) = found else {
            return Ok(None);
        };
        Ok(Event::parse(&record.line).map(|event| {
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
            Origin {
                home,
                nick: event.nick().to_owned(),
                removable,
            }
        }))
    }

    fn unfinished(&self) -> Result<Vec<(EventId, RoomName, String)>, Error> {
        Ok(Vec::new())
    }

    fn reader(&self, reader: &Reader) -> Result<Option<u64>, Error> {
        Ok(self.state().readers.get(reader).map(|(_, seen)| *seen))
    }

    fn set_reader(&self, reader: &Reader, owner: &str, seen: u64) -> Result<(), Error> {
        let mut state = self.state();
        if let Some((_, place)) = state.readers.get_mut(reader) {
            *place = seen;
            return Ok(());
        }
        let owned = state.readers_of.get(owner).copied().unwrap_or_default();
        if owned >= READERS_PER_OWNER || state.readers.len() >= READERS_IN_ALL {
            return Err(Error::TooMany);
        }
        state.readers_of.insert(owner.into(), owned + 1);
        state.readers.insert(reader.clone(), (owner.into(), seen));
        Ok(())
    }
}

/// The compared forms of those who may read what is told.
fn forms(told: &Told) -> [&str; 2] {
    [told.by.form(), told.to.form()]
}

/// The span of the newest `count` before the id `before`.
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

/// How many events a search looks at before it lets others go on.
const SEARCH_PIECE: usize = 200;

/// Whether the text of an event holds all that is searched for. The nick in its line does not count.
fn is_match(line: &str, query: &Query, scratch: &mut String) -> bool {
    match Event::parse(line) {
        Some(
            Event::Msg { text, .. }
            | Event::Me { text, .. }
            | Event::Topic { text, .. }
            | Event::File { name: text, .. },
        ) => query.is_in(&text, scratch),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{PeerId, Place};

    #[test]
    fn what_is_taken_back_takes_no_space_any_more() {
        let log = MemoryLog::new(0, 64 << 10);
        let room = RoomName::parse("#tea").expect("a room");
        let say = |what, text: &str| {
            let draft = Draft {
                place: Place::Everyone,
                author: PeerId::NOBODY,
                what,
                body: format!("ann {text}"),
                told: None,
            };
            let room = Some(room.clone().into());
            let kept = log.append(Entry { room, draft }, Time(1));
            kept.expect("it is known at once").1.expect("it is kept").0
        };
        for _ in 0..1000 {
            let id = say(What::Msg, &"long ".repeat(800)).expect("an id");
            say(What::Remove(id, Removed::Message), &id.to_string());
        }
        for _ in 0..50 {
            say(What::Msg, "short");
        }
        let newest = log.newest(&room, u64::MAX >> 1, 50).expect("it is read");
        let past = log.read(&room, newest, 50, usize::MAX).expect("it is read");
        assert_eq!(past.records.len(), 50);
    }
}
