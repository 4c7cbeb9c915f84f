//! The newest events of a room, encoded once for all readers.
//!
//! A reader's only state is a number: its position in the tail. The lines are stored in one buffer, in the form that
//! most readers receive, with an index beside it. Readers of plain lines copy a range of bytes; for readers that need
//! another form, `session::batch` formats the same entries, once for all readers with that form. The size of a tail is
//! bounded in bytes: when it is full, the oldest entries are dropped, and a reader that has not reached them yet has
//! fallen behind. This module knows neither rooms nor readers.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};

use crate::model::PeerId;
use crate::protocol::event::{EventLayout, EventVerb};
use crate::protocol::{Event, EventId, Time};

/// The number of an entry in its tail, counted from 0. The position of a reader is the number of the next entry that
/// it will receive.
pub type Seq = u64;

/// The index entry of an event's line.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The event's id, if it is logged.
    pub id: Option<EventId>,
    /// When the event happened.
    pub time: Time,
    /// The connection that caused the event and does not receive it.
    pub author: Option<PeerId>,
    /// The positions of the parts of the line.
    pub layout: EventLayout,
    /// The position after the end of the line, counted from the first byte that the tail ever held.
    end: u64,
}

/// The newest events of a room, or of an inbox.
#[derive(Debug)]
pub struct Tail {
    /// The lines, each with its LF. The bytes before `start` belong to dropped lines.
    bytes: Vec<u8>,
    start: usize,
    /// The total number of bytes of the lines dropped so far.
    gone: u64,
    entries: VecDeque<Entry>,
    /// The tags of the entries that have tags, oldest first. Few entries do.
    tags: VecDeque<(Seq, Box<str>)>,
    tags_bytes: usize,
    /// The newest edit or removal of each event, by the event's id. Few entries are edits or removals.
    changes: HashMap<u64, Seq>,
    /// The number of the oldest entry that is still held.
    first: Seq,
    bytes_max: usize,
    /// The id of the newest logged event that was dropped; 0 if none was.
    gone_id: u64,
    /// One more than the number of the newest dropped entry that was not logged; 0 if there is none.
    gone_unlogged: Seq,
    /// Whether lines were appended since the readers were last woken.
    pub is_news: bool,
}

/// Memory of an entry besides its line.
const ENTRY_BYTES: usize = size_of::<Entry>();

/// Memory of an entry's tags besides their text.
const TAGS_BYTES: usize = size_of::<(Seq, Box<str>)>();

/// Approximate memory of a change in the index.
const CHANGE_BYTES: usize = 2 * size_of::<(u64, Seq)>();

impl Tail {
    /// Returns an empty tail that holds at most about `bytes_max` bytes, lines and index together.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            gone: 0,
            entries: VecDeque::new(),
            tags: VecDeque::new(),
            tags_bytes: 0,
            changes: HashMap::new(),
            first: 0,
            bytes_max,
            gone_id: 0,
            gone_unlogged: 0,
            is_news: false,
        }
    }

    /// Appends the line of an event, and returns its number. `line` contains neither the line ending nor the tags.
    pub fn push(
        &mut self,
        id: Option<EventId>,
        time: Time,
        author: Option<PeerId>,
        layout: EventLayout,
        tags: &str,
        line: &[u8],
    ) -> Seq {
        if !tags.is_empty() {
            self.tags.push_back((self.end(), tags.into()));
            self.tags_bytes += tags.len() + TAGS_BYTES;
        }
        if let Some(id) = changed(layout, line) {
            self.changes.insert(id, self.end());
        }
        self.bytes.extend_from_slice(line);
        self.bytes.push(b'\n');
        let end = self.gone + (self.bytes.len() - self.start) as u64;
        self.entries.push_back(Entry {
            id,
            time,
            author,
            layout,
            end,
        });
        while self.size() > self.bytes_max && self.entries.len() > 1 {
            self.drop_first();
        }
        self.end() - 1
    }

    /// Returns the number of the oldest entry held.
    pub fn first(&self) -> Seq {
        self.first
    }

    /// Returns the number that the next entry will have.
    pub fn end(&self) -> Seq {
        self.first + self.entries.len() as u64
    }

    /// Returns how many bytes the lines, the index and the tags take.
    pub fn size(&self) -> usize {
        let changes = self.changes.len() * CHANGE_BYTES;
        self.bytes.len() - self.start + self.entries.len() * ENTRY_BYTES + self.tags_bytes + changes
    }

    /// Returns how much memory is allocated, including free space for the next lines.
    pub fn memory(&self) -> usize {
        let changes = self.changes.capacity() * CHANGE_BYTES;
        self.bytes.capacity() + self.entries.capacity() * ENTRY_BYTES + self.tags_bytes + changes
    }

    /// Drops the older half of the lines and frees their memory.
    pub fn shrink(&mut self) {
        let most = self.size() / 2;
        while self.size() > most && self.entries.len() > 1 {
            self.drop_first();
        }
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.shrink_to_fit();
        self.entries.shrink_to_fit();
        self.tags.shrink_to_fit();
        self.changes.shrink_to_fit();
    }

    /// Returns the tags of an entry as they are sent, without the `@`; empty if it has none.
    pub fn tags(&self, seq: Seq) -> &str {
        let at = self.tags.binary_search_by_key(&seq, |(of, _)| *of).ok();
        at.and_then(|at| self.tags.get(at))
            .map_or("", |(_, tags)| tags)
    }

    /// Returns an entry and its line, without the line ending.
    pub fn get(&self, seq: Seq) -> Option<(Entry, &str)> {
        let entry = *self.entries.get(self.index(seq)?)?;
        let line = self.bytes.get(self.span(seq, seq + 1)?)?;
        let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
        Some((entry, line))
    }

    /// Returns the position of the entry with an id.
    pub fn find(&self, id: EventId) -> Option<Seq> {
        let logged = |index: usize| self.entries.get(index).and_then(|entry| entry.id);
        let (mut begin, mut end) = (0, self.entries.len());
        while begin < end {
            let middle = begin + (end - begin) / 2;
            // Entries that are not logged have no id, so the next older one that has decides.
            let older = (begin..=middle).rev();
            let Some((index, found)) = older.filter_map(|n| Some((n, logged(n)?))).next() else {
                begin = middle + 1;
                continue;
            };
            match found.cmp(&id) {
                Ordering::Less => begin = middle + 1,
                Ordering::Equal => return Some(self.first + index as Seq),
                Ordering::Greater => end = index,
            }
        }
        None
    }

    /// Returns the position of the newest edit or removal of the event with an id.
    pub fn change(&self, id: EventId) -> Option<Seq> {
        self.changes.get(&id.get()).copied()
    }

    /// Returns the position at which a reader continues if it has seen all logged events up to `id`. Returns `None`
    /// if later logged events have been dropped.
    pub fn seq_after(&self, id: u64) -> Option<Seq> {
        if self.gone_id > id {
            return None;
        }
        let seen = |entry: &Entry| entry.id.is_some_and(|seen| seen.get() <= id);
        let last = self.entries.iter().rposition(seen);
        Some(self.first + last.map_or(0, |last| last as Seq + 1))
    }

    /// Returns the id of the newest logged event among the entries `from..to`.
    pub fn last_id(&self, from: Seq, to: Seq) -> Option<EventId> {
        let index = |seq: Seq| {
            let index = usize::try_from(seq.saturating_sub(self.first)).unwrap_or(usize::MAX);
            index.min(self.entries.len())
        };
        let (begin, end) = (index(from), index(to));
        let mut range = self.entries.range(begin.min(end)..end);
        range.rfind(|entry| entry.id.is_some())?.id
    }

    /// Returns one more than the number of the newest dropped entry that was not logged; 0 if there is none. Joins,
    /// leaves and renames are not logged.
    pub fn gone_unlogged(&self) -> Seq {
        self.gone_unlogged
    }

    /// Appends to `out` the lines of all entries starting with `from`, and stops before `out` would hold more than
    /// `out_bytes_max` bytes, but not before the first line. If the entry `from` is no longer held, copies nothing. Calls
    /// `each` for every copied line, with the author of the line and the offset in `out` at which the line ends.
    pub fn copy(
        &self,
        from: Seq,
        out: &mut Vec<u8>,
        out_bytes_max: usize,
        mut each: impl FnMut(Option<PeerId>, usize),
    ) {
        let Some(index) = self.index(from) else {
            return;
        };
        let begin = self.entry_start(index);
        let had = out.len();
        let mut end = begin;
        for entry in self.entries.range(index..) {
            let length = had + (entry.end - begin) as usize;
            if length > out_bytes_max && end > begin {
                break;
            }
            each(entry.author, length);
            end = entry.end;
        }
        let at = self.start + (begin - self.gone) as usize;
        let lines = self.bytes.get(at..at + (end - begin) as usize);
        out.extend_from_slice(lines.unwrap_or_default());
    }

    /// Returns how many bytes the lines of the entries take, starting with the entry `seq`.
    pub fn bytes_from(&self, seq: Seq) -> usize {
        let span = self.span(seq.max(self.first), self.end());
        span.map_or(0, |span| span.len())
    }

    /// Returns whether a line of `line_bytes` bytes can be added without dropping the entry `seq` or a later one.
    pub fn has_space(&self, seq: Seq, line_bytes: usize) -> bool {
        let seq = seq.max(self.first);
        let entries = usize::try_from(self.end().saturating_sub(seq)).unwrap_or(usize::MAX);
        let held = self.bytes_from(seq) + entries.saturating_mul(ENTRY_BYTES);
        held.saturating_add(line_bytes + 1 + ENTRY_BYTES) <= self.bytes_max
    }

    /// Drops the entries before `seq`, and frees all memory when none is left.
    pub fn drop_before(&mut self, seq: Seq) {
        while self.first < seq && !self.entries.is_empty() {
            self.drop_first();
        }
        if self.entries.is_empty() {
            self.bytes = Vec::new();
            self.entries = VecDeque::new();
            self.tags = VecDeque::new();
            self.changes = HashMap::new();
            self.start = 0;
        }
    }

    fn drop_first(&mut self) {
        let Some(entry) = self.entries.pop_front() else {
            return;
        };
        let length = (entry.end - self.gone) as usize;
        let line = self.bytes.get(self.start..self.start + length);
        let line = line.and_then(|line| line.strip_suffix(b"\n"));
        if let Some(id) = changed(entry.layout, line.unwrap_or_default())
            && self.changes.get(&id) == Some(&self.first)
        {
            self.changes.remove(&id);
        }
        if self.tags.front().is_some_and(|(of, _)| *of == self.first)
            && let Some((_, tags)) = self.tags.pop_front()
        {
            self.tags_bytes -= tags.len() + TAGS_BYTES;
        }
        self.first += 1;
        match entry.id {
            Some(id) => self.gone_id = id.get(),
            None => self.gone_unlogged = self.first,
        }
        self.start += length;
        self.gone = entry.end;
        // The rest is moved to the front only when half of the buffer is unused, so on average each byte is moved
        // once.
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    fn index(&self, seq: Seq) -> Option<usize> {
        let index = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        (index < self.entries.len()).then_some(index)
    }

    /// Returns the position of the entry at `index`, counted from the first byte that the tail ever held.
    fn entry_start(&self, index: usize) -> u64 {
        match index
            .checked_sub(1)
            .and_then(|before| self.entries.get(before))
        {
            Some(before) => before.end,
            None => self.gone,
        }
    }

    /// Returns the range in `bytes` of the lines of the entries `from..to`.
    fn span(&self, from: Seq, to: Seq) -> Option<std::ops::Range<usize>> {
        if from >= to {
            return None;
        }
        let last = self.entries.get(self.index(to.checked_sub(1)?)?)?;
        let begin = self.start + (self.entry_start(self.index(from)?) - self.gone) as usize;
        Some(begin..self.start + (last.end - self.gone) as usize)
    }
}

/// Returns the id of the event that an edit or a removal changes; `None` for any other event.
fn changed(layout: EventLayout, line: &[u8]) -> Option<u64> {
    if !matches!(layout.verb()?, EventVerb::Edit | EventVerb::Remove) {
        return None;
    }
    match layout.event(std::str::from_utf8(line).ok()?)? {
        Event::Edit { id, .. } | Event::Remove { id, .. } => Some(id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Arena;

    fn peers() -> [PeerId; 2] {
        let mut arena = Arena::default();
        [(); 2].map(|()| arena.insert(()))
    }

    fn push(tail: &mut Tail, author: PeerId, line: &str) -> Seq {
        tail.push(
            None,
            Time(0),
            Some(author),
            EventLayout::default(),
            "",
            line.as_bytes(),
        )
    }

    #[test]
    fn an_entry_is_found_by_its_id_among_entries_without_one() {
        let mut tail = Tail::new(1 << 20);
        for id in [0, 2, 0, 0, 4, 5, 0, 9, 0, 0, 0] {
            let layout = EventLayout::default();
            let line = format!("line {id}");
            tail.push(EventId::new(id), Time(0), None, layout, "", line.as_bytes());
        }
        for id in 1..12 {
            let found = tail.find(EventId::new(id).unwrap());
            let found = found.and_then(|seq| Some(tail.get(seq)?.1));
            let expected = format!("line {id}");
            let is_there = [2, 4, 5, 9].contains(&id);
            assert_eq!(found, is_there.then_some(&*expected), "{id}");
        }
        assert!(Tail::new(9).find(EventId::new(1).unwrap()).is_none());
    }

    /// Reads all lines, starting with the entry `from`, in chunks of at most `most` bytes. Returns each chunk with the
    /// authors of its lines.
    fn read(tail: &Tail, mut from: Seq, most: usize) -> Vec<(String, Vec<Option<PeerId>>)> {
        let mut got = Vec::new();
        while from < tail.end() {
            let (mut out, mut ends, mut authors) = (Vec::new(), Vec::new(), Vec::new());
            tail.copy(from, &mut out, most, |author, end| {
                authors.push(author);
                ends.push(end);
            });
            let lines = ends.iter().filter_map(|end| out.get(end - 1));
            assert!(lines.eq(ends.iter().map(|_| &b'\n')), "{ends:?}");
            from += ends.len() as Seq;
            got.push((String::from_utf8(out).unwrap(), authors));
        }
        got
    }

    #[test]
    fn as_many_lines_as_fit_are_copied_with_their_authors() {
        let [bob, eve] = peers();
        let mut tail = Tail::new(10_000);
        for (author, line) in [(bob, "a"), (bob, "b"), (eve, "c"), (bob, "dd")] {
            push(&mut tail, author, line);
        }
        let (ours, theirs) = (Some(bob), Some(eve));
        let all = ("a\nb\nc\ndd\n".to_owned(), vec![ours, ours, theirs, ours]);
        assert_eq!(read(&tail, 0, 100), [all]);
        let first = ("b\nc\n".to_owned(), vec![ours, theirs]);
        let last = ("dd\n".to_owned(), vec![ours]);
        assert_eq!(read(&tail, 1, 5), [first, last.clone()]);
        assert_eq!(read(&tail, 3, 1), [last]);
        assert_eq!(tail.get(2).unwrap().1, "c");
        assert_eq!(tail.bytes_from(2), 5);
    }

    #[test]
    fn tags_count_and_are_dropped_with_their_entries() {
        let mut tail = Tail::new(1000);
        for n in 0..10_000 {
            let tags = if n % 3 == 0 {
                format!("x-n={n}")
            } else {
                String::new()
            };
            assert_eq!(
                tail.push(None, Time(0), None, EventLayout::default(), &tags, b"line"),
                n
            );
            assert!(tail.size() <= 1000);
        }
        for n in tail.first()..tail.end() {
            let tags = if n % 3 == 0 {
                format!("x-n={n}")
            } else {
                String::new()
            };
            assert_eq!(tail.tags(n), tags);
        }
        assert_eq!(tail.tags(0), "");
        tail.drop_before(tail.end());
        assert_eq!(tail.size(), 0);
    }

    #[test]
    fn the_oldest_entries_are_dropped_and_the_size_is_bounded() {
        let [bob, _] = peers();
        let mut tail = Tail::new(1000);
        for n in 0..10_000 {
            assert_eq!(push(&mut tail, bob, &format!("line {n}")), n);
            assert!(tail.size() <= 1000);
        }
        assert!(tail.bytes.capacity() < 4000, "{}", tail.bytes.capacity());
        let all: String = read(&tail, tail.first(), 10_000)
            .into_iter()
            .map(|(lines, _)| lines)
            .collect();
        let expected: String = (tail.first()..10_000)
            .map(|n| format!("line {n}\n"))
            .collect();
        assert_eq!(all, expected);
        tail.copy(3, &mut Vec::new(), 9, |_, _| panic!("it has fallen out"));
        tail.shrink();
        assert!(
            tail.size() <= 500 && tail.memory() <= 700,
            "{}",
            tail.memory()
        );
        let left = read(&tail, tail.first(), 10_000);
        let newest = format!("line {}\n", 9_999);
        assert!(left.last().unwrap().0.ends_with(&newest));
        tail.drop_before(tail.end());
        assert_eq!((tail.size(), tail.bytes.capacity()), (0, 0));
        assert_eq!(push(&mut tail, bob, "next"), 10_000);
        assert_eq!(
            read(&tail, 10_000, 10),
            [("next\n".to_owned(), vec![Some(bob)])]
        );
    }

    #[test]
    fn the_newest_change_of_an_event_is_found_until_it_is_dropped() {
        let mut tail = Tail::new(1 << 20);
        let lines = [
            "MSG #a bob one",
            "EDIT #a bob 1 two",
            "EDIT #a bob 1 three",
            "REMOVE #a bob 9",
            "MSG #a bob last",
        ];
        for (n, line) in lines.into_iter().enumerate() {
            let layout = Event::parse(line).expect("an event").layout();
            let id = EventId::new(n as u64 + 1);
            tail.push(id, Time(0), None, layout, "", line.as_bytes());
        }
        let size = tail.size();
        let changes = |tail: &Tail| [1, 2, 9].map(|id| tail.change(EventId::new(id).unwrap()));
        assert_eq!(changes(&tail), [Some(2), None, Some(3)]);
        tail.drop_before(2);
        assert_eq!(changes(&tail), [Some(2), None, Some(3)]);
        tail.drop_before(3);
        assert_eq!(changes(&tail), [None, None, Some(3)]);
        tail.drop_before(4);
        assert_eq!(changes(&tail), [None; 3]);
        assert!(tail.size() < size);
        tail.drop_before(5);
        assert_eq!((tail.size(), tail.memory()), (0, 0));
    }
}
