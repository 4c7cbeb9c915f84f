//! The live end of a room: its newest events, encoded once, for readers that are no more than a number.
//!
//! Lines lie in one run of bytes, as most readers get them, with an index beside it. A reader of plain
//! lines copies a span of bytes; whoever wants them otherwise formats from the same entries. The tail is
//! bounded in bytes: its oldest entries go, and a reader that stood there has fallen out.
//! Knows neither rooms nor who reads.

use std::collections::VecDeque;

use crate::chat::PeerId;
use crate::protocol::{EventId, Time};

/// The number of an entry in its tail, from 0 on; a reader's place is the next one that it is to get.
pub type Seq = u64;

/// What stands beside an event's line.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its id, if it is logged.
    pub id: Option<EventId>,
    /// When it happened.
    pub time: Time,
    /// The connection whose doing it is, which does not get it.
    pub author: Option<PeerId>,
    /// Where its line ends, counted from the first byte that the tail ever held.
    end: u64,
}

/// The newest events of a room, or of what one nick was told.
#[derive(Debug)]
pub struct Tail {
    /// The lines, each with its LF; those before `start` have gone.
    bytes: Vec<u8>,
    start: usize,
    /// How many bytes have ever gone before `start`.
    gone: u64,
    entries: VecDeque<Entry>,
    /// The number of the first entry that is still here.
    first: Seq,
    bytes_max: usize,
    /// The newest logged event that has gone, by number; 0 when none has.
    gone_id: u64,
    /// The entry after the newest one that has gone and was not logged.
    gone_unlogged: Seq,
    /// Something was appended and its readers do not know yet; whoever wakes them clears it.
    pub is_news: bool,
}

/// What an entry costs beside its line.
const ENTRY_BYTES: usize = size_of::<Entry>();

impl Tail {
    /// An empty tail that holds at most about `bytes_max` bytes, lines and index together.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            gone: 0,
            entries: VecDeque::new(),
            first: 0,
            bytes_max,
            gone_id: 0,
            gone_unlogged: 0,
            is_news: false,
        }
    }

    /// Appends a line, which is given without its end.
    pub fn push(
        &mut self,
        id: Option<EventId>,
        time: Time,
        author: Option<PeerId>,
        line: &[u8],
    ) -> Seq {
        self.bytes.extend_from_slice(line);
        self.bytes.push(b'\n');
        let end = self.gone + (self.bytes.len() - self.start) as u64;
        self.entries.push_back(Entry {
            id,
            time,
            author,
            end,
        });
        while self.size() > self.bytes_max && self.entries.len() > 1 {
            self.drop_first();
        }
        self.end() - 1
    }

    /// The number of the oldest entry that is here.
    pub fn first(&self) -> Seq {
        self.first
    }

    /// The number that the next entry will have.
    pub fn end(&self) -> Seq {
        self.first + self.entries.len() as u64
    }

    /// How many bytes it holds, lines and index.
    pub fn size(&self) -> usize {
        self.bytes.len() - self.start + self.entries.len() * ENTRY_BYTES
    }

    /// How much memory it takes, with what is free for the next lines.
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * ENTRY_BYTES
    }

    /// Lets go of the older half, and of the memory that it took.
    pub fn shed(&mut self) {
        let most = self.size() / 2;
        while self.size() > most && self.entries.len() > 1 {
            self.drop_first();
        }
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.shrink_to_fit();
        self.entries.shrink_to_fit();
    }

    /// An entry and its line, without the end.
    pub fn get(&self, seq: Seq) -> Option<(Entry, &str)> {
        let entry = *self.entries.get(self.index(seq)?)?;
        let line = self.bytes.get(self.span(seq, seq + 1)?)?;
        let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
        Some((entry, line))
    }

    /// Where a reader goes on that has seen the logged events up to `id`; `None` when some that it has not
    /// seen have gone.
    pub fn seq_after(&self, id: u64) -> Option<Seq> {
        if self.gone_id > id {
            return None;
        }
        let seen = |entry: &Entry| entry.id.is_some_and(|seen| seen.get() <= id);
        let last = self.entries.iter().rposition(seen);
        Some(self.first + last.map_or(0, |last| last as Seq + 1))
    }

    /// The newest logged event among the entries `from..to`.
    pub fn last_id(&self, from: Seq, to: Seq) -> Option<EventId> {
        let index = |seq: Seq| {
            let index = usize::try_from(seq.saturating_sub(self.first)).unwrap_or(usize::MAX);
            index.min(self.entries.len())
        };
        let (begin, end) = (index(from), index(to));
        let mut range = self.entries.range(begin.min(end)..end);
        range.rfind(|entry| entry.id.is_some())?.id
    }

    /// The entry after the newest one that has gone and that no log has: a join, a part, a rename.
    pub fn gone_unlogged(&self) -> Seq {
        self.gone_unlogged
    }

    /// Appends to `out` the lines from `from` up to, not including, `to`, until one is `reader`'s own or
    /// `out` has reached `out_bytes_max` (at least one line is always taken). Returns the entry after the
    /// last one taken.
    pub fn copy(
        &self,
        from: Seq,
        to: Seq,
        reader: PeerId,
        out: &mut Vec<u8>,
        out_bytes_max: usize,
    ) -> Seq {
        let Some(index) = self.index(from) else {
            return from;
        };
        let space = out_bytes_max.saturating_sub(out.len()) as u64;
        let begin = self.entry_start(index);
        let mut next = from;
        for entry in self.entries.range(index..) {
            let is_full = next > from && entry.end - begin > space;
            if next >= to || is_full || entry.author == Some(reader) {
                break;
            }
            next += 1;
        }
        let span = self.span(from, next);
        out.extend_from_slice(
            span.and_then(|span| self.bytes.get(span))
                .unwrap_or_default(),
        );
        next
    }

    /// Whose the entries `from..to` are.
    pub fn authors(&self, from: Seq, to: Seq) -> impl Iterator<Item = Option<PeerId>> {
        let begin = self.index(from).unwrap_or(self.entries.len());
        let count = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
        let entries = self.entries.range(begin..);
        entries.take(count).map(|entry| entry.author)
    }

    /// How many bytes of lines stand from `seq` on.
    pub fn bytes_from(&self, seq: Seq) -> usize {
        let span = self.span(seq.max(self.first), self.end());
        span.map_or(0, |span| span.len())
    }

    /// Lets go of the entries before `seq`, and of all memory when none is left.
    pub fn drop_before(&mut self, seq: Seq) {
        while self.first < seq && !self.entries.is_empty() {
            self.drop_first();
        }
        if self.entries.is_empty() {
            self.bytes = Vec::new();
            self.entries = VecDeque::new();
            self.start = 0;
        }
    }

    fn drop_first(&mut self) {
        let Some(entry) = self.entries.pop_front() else {
            return;
        };
        self.first += 1;
        match entry.id {
            Some(id) => self.gone_id = id.get(),
            None => self.gone_unlogged = self.first,
        }
        self.start += (entry.end - self.gone) as usize;
        self.gone = entry.end;
        // Moving what is left down costs each byte one copy in all, if done when half is empty.
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    fn index(&self, seq: Seq) -> Option<usize> {
        let index = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        (index < self.entries.len()).then_some(index)
    }

    /// Where the entry at `index` begins, counted from the first byte ever.
    fn entry_start(&self, index: usize) -> u64 {
        match index
            .checked_sub(1)
            .and_then(|before| self.entries.get(before))
        {
            Some(before) => before.end,
            None => self.gone,
        }
    }

    /// Where in `bytes` the lines of the entries `from..to` are.
    fn span(&self, from: Seq, to: Seq) -> Option<std::ops::Range<usize>> {
        if from >= to {
            return None;
        }
        let last = self.entries.get(self.index(to.checked_sub(1)?)?)?;
        let begin = self.start + (self.entry_start(self.index(from)?) - self.gone) as usize;
        Some(begin..self.start + (last.end - self.gone) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::arena::Arena;

    fn peers() -> [PeerId; 2] {
        let mut arena = Arena::default();
        [(); 2].map(|()| arena.insert(crate::chat::Peer::new([127, 0, 0, 1].into())))
    }

    fn push(tail: &mut Tail, author: PeerId, line: &str) -> Seq {
        tail.push(None, Time(0), Some(author), line.as_bytes())
    }

    /// What `reader` gets from `from` on, in pieces of at most `most` bytes.
    fn read(tail: &Tail, mut from: Seq, reader: PeerId, most: usize) -> Vec<String> {
        let mut got = Vec::new();
        while from < tail.end() {
            let mut out = Vec::new();
            let next = tail.copy(from, tail.end(), reader, &mut out, most);
            if next > from {
                got.push(String::from_utf8(out).unwrap());
            }
            from = next.max(from + 1);
        }
        got
    }

    #[test]
    fn a_reader_gets_every_line_but_its_own() {
        let [bob, eve] = peers();
        let mut tail = Tail::new(10_000);
        for (author, line) in [(bob, "a"), (bob, "b"), (eve, "c"), (bob, "d")] {
            push(&mut tail, author, line);
        }
        assert_eq!(read(&tail, 0, eve, 100), ["a\nb\n", "d\n"]);
        assert_eq!(read(&tail, 0, bob, 100), ["c\n"]);
        assert_eq!(read(&tail, 1, eve, 1), ["b\n", "d\n"]);
        assert_eq!(tail.get(2).unwrap().1, "c");
        assert_eq!(tail.bytes_from(2), 4);
    }

    #[test]
    fn the_oldest_go_and_the_size_is_bounded() {
        let [bob, eve] = peers();
        let mut tail = Tail::new(1000);
        for n in 0..10_000 {
            assert_eq!(push(&mut tail, bob, &format!("line {n}")), n);
            assert!(tail.size() <= 1000);
        }
        assert!(tail.bytes.capacity() < 4000, "{}", tail.bytes.capacity());
        let all = read(&tail, tail.first(), eve, 10_000).concat();
        let expected: String = (tail.first()..10_000)
            .map(|n| format!("line {n}\n"))
            .collect();
        assert_eq!(all, expected);
        assert_eq!(tail.copy(3, 5, eve, &mut Vec::new(), 9), 3, "fallen out");
        tail.shed();
        assert!(
            tail.size() <= 500 && tail.memory() <= 700,
            "{}",
            tail.memory()
        );
        let newest = format!("line {}\n", 9_999);
        assert!(
            read(&tail, tail.first(), eve, 10_000)
                .concat()
                .ends_with(&newest)
        );
        tail.drop_before(tail.end());
        assert_eq!((tail.size(), tail.bytes.capacity()), (0, 0));
        assert_eq!(push(&mut tail, bob, "next"), 10_000);
        assert_eq!(read(&tail, 10_000, eve, 10), ["next\n"]);
    }
}
