//! Bytes that are being sent to a client, and the progress that each part of them means for its session.

use std::ops::Range;

use super::lazy_list::LazyList;
use crate::chat::RoomId;
use crate::dialect::{Delivery, Output};
use crate::model::PeerId;
use crate::protocol::EventId;
use crate::tail::{Seq, Tail};

/// Output bytes, and the step by which each part of them advances the session. Reused from one session to the
/// next: the lines that one reader of a room has received are ready for the next reader.
#[derive(Debug, Default)]
pub struct Batch {
    /// The bytes that are for this session alone.
    pub(super) own: Output,
    /// The parts of the shared round that are sent between those bytes.
    borrowed: Vec<BorrowedRange>,
    borrowed_bytes: usize,
    shared: SharedLines,
    pub(super) segments: Vec<Segment>,
    /// The position in each of the session's rooms after this batch; `None` once the room is left.
    pub(super) cursors: Vec<Option<Seq>>,
    /// The position in the session's page after this batch.
    pub(super) page_next: Option<usize>,
    /// The only content of the batch, if it is nothing but this span.
    span: Option<SeqRange>,
}

/// Entries of a room's tail, from `from` up to but not including `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeqRange {
    pub room: RoomId,
    pub from: Seq,
    pub to: Seq,
}

/// A part of the round that is sent without being copied.
#[derive(Debug)]
struct BorrowedRange {
    /// How many of the batch's own bytes come before it.
    at: usize,
    range: Range<usize>,
}

/// How many bytes of new messages are collected before they are delivered to the readers. The more a write
/// carries, the less CPU a line costs: from 1 speaker to 100 or 1000 readers, a line costs 1.4 times as much
/// in rounds of 64 KiB as in these. Rounds of 256 KiB were no better, and a thousand readers take 50 ms for
/// one.
pub const ROUND_BYTES: usize = 128 << 10;

/// Most bytes of a batch, unless it is a single line: those of a round, with room and nick added to each line.
pub const BATCH_BYTES_MAX: usize = 2 * ROUND_BYTES;

/// Most bytes of values in a batch, unless it is a single one.
const VALUE_BYTES_MAX: usize = 32 << 10;

/// How many bytes of a room's lines are kept so that other readers can use them: more than one batch, since readers of
/// the same room are at different positions.
const KEPT_BYTES_MAX: usize = 2 * BATCH_BYTES_MAX;

/// A shorter part is copied: the system handles each slice separately, which costs as much.
const BORROWED_BYTES_MIN: usize = 2 << 10;

#[derive(Debug)]
pub(super) struct Segment {
    /// Where it ends in the batch.
    pub end: usize,
    pub step: Advance,
}

/// The progress of a session once a segment has been sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Advance {
    /// The rest of a split line has been sent.
    Unsent,
    /// The first pending reply has been sent.
    Reply,
    /// Lines of the list that is the first pending reply have been sent.
    Listed(LazyList),
    /// A room has been read up to this entry; with the newest logged event of the segment, if there is one. By the time the
    /// segment has been sent, the tail may no longer contain it.
    Room(RoomId, Seq, Option<EventId>),
    /// A gap in the page's room has been reported.
    Gap,
    /// The page has been read up to this record, and its room up to that event.
    Paged(usize, EventId),
    Notices(Seq),
    Inbox(Seq),
}

impl Batch {
    /// Returns whether the batch has no segments. (A batch that only skips entries has no bytes and is not empty.)
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Returns how many bytes it has.
    pub fn len(&self) -> usize {
        self.own.len() + self.borrowed_bytes
    }

    /// Takes the values, for a client inside this process. All of them are sent, and they still count in the
    /// length.
    pub fn take_values(&mut self) -> std::vec::Drain<'_, Delivery> {
        self.own.take_values()
    }

    /// Returns the bytes from `from` on, as slices.
    pub fn stretches(&self, from: usize) -> impl Iterator<Item = &[u8]> {
        let mut own = 0;
        let between = self.borrowed.iter().flat_map(move |borrowed| {
            let begin = std::mem::replace(&mut own, borrowed.at);
            [
                self.own.bytes.get(begin..borrowed.at),
                self.shared.bytes.get(borrowed.range.clone()),
            ]
        });
        let last = self.borrowed.last().map_or(0, |borrowed| borrowed.at);
        let mut skip = from;
        between
            .chain([self.own.bytes.get(last..)])
            .flatten()
            .filter_map(move |stretch| {
                let rest = stretch.get(skip.min(stretch.len())..);
                skip = skip.saturating_sub(stretch.len());
                rest.filter(|rest| !rest.is_empty())
            })
    }

    /// Copies the bytes from `from` up to but not including `to`.
    pub(super) fn copy(&self, from: usize, to: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for stretch in self.stretches(from) {
            let wanted = to.saturating_sub(from + bytes.len());
            bytes.extend_from_slice(stretch.get(..wanted).unwrap_or(stretch));
        }
        bytes
    }

    pub(super) fn clear(&mut self) {
        self.own.clear();
        self.borrowed.clear();
        self.borrowed_bytes = 0;
        self.segments.clear();
        self.cursors.clear();
        self.page_next = None;
        self.span = None;
    }

    /// Records that the batch contains exactly as much of `span` as fits, without gaps: no entry of it is by `reader`,
    /// for which it was filled.
    pub(super) fn note(&mut self, span: SeqRange, reader: PeerId) {
        if let [only] = &self.segments[..]
            && matches!(only.step, Advance::Room(..))
            && !self.shared.has_own(span, reader)
        {
            self.span = Some(span);
        }
    }

    /// Returns whether it contains exactly that span, and no line of it is by `reader`: then it need not be filled
    /// again.
    pub(super) fn is_just(&self, span: SeqRange, reader: PeerId) -> bool {
        self.span == Some(span) && !self.shared.has_own(span, reader)
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= BATCH_BYTES_MAX || self.own.value_bytes() >= VALUE_BYTES_MAX
    }

    pub(super) fn run(&mut self, step: Advance) {
        self.segments.push(Segment {
            end: self.len(),
            step,
        });
    }

    /// Adds the lines of the entries from `from` up to but not including `to`, or up to one by `reader`, as far as
    /// there is space. Returns the entry after the last one added: `from` if the first entry is the reader's own;
    /// `None` if they must go into another batch.
    pub(super) fn add_lines(
        &mut self,
        room: RoomId,
        tail: &Tail,
        from: Seq,
        to: Seq,
        reader: PeerId,
    ) -> Option<Seq> {
        // A round of which a part is being sent must not change.
        if self.borrowed.is_empty() {
            if !self.shared.reaches(room, from) {
                self.shared.restart(room, from);
            }
            self.shared.drop_older_half();
        }
        if !self.shared.reaches(room, from) {
            return None;
        }
        self.shared.extend(tail);
        if from == self.shared.to() {
            return None;
        }
        let space = BATCH_BYTES_MAX.saturating_sub(self.len());
        let (range, next) = self.shared.lines(from, to, reader, space);
        if range.len() < BORROWED_BYTES_MIN {
            let lines = self.shared.bytes.get(range);
            self.own.bytes.extend_from_slice(lines.unwrap_or_default());
        } else {
            self.borrowed_bytes += range.len();
            let at = self.own.bytes.len();
            self.borrowed.push(BorrowedRange { at, range });
        }
        Some(next)
    }
}

/// Lines of a room, as its tail has them. Nearly all readers are at the same position and are sent the same bytes, so
/// these are copied out of the tail once. A copy for each of 1000 readers took 14 of 100 samples of the server; for
/// each of 100 clients that all talk, 11.
#[derive(Debug, Default)]
struct SharedLines {
    room: Option<RoomId>,
    from: Seq,
    bytes: Vec<u8>,
    /// Where each line ends in `bytes`.
    ends: Vec<usize>,
    /// The author of each line, who is not sent it.
    authors: Vec<PeerId>,
}

impl SharedLines {
    fn to(&self) -> Seq {
        self.from + self.ends.len() as Seq
    }

    /// Returns whether it has the line of the entry `seq`, or that line comes next.
    fn reaches(&self, room: RoomId, seq: Seq) -> bool {
        self.room == Some(room) && (self.from..=self.to()).contains(&seq)
    }

    fn restart(&mut self, room: RoomId, from: Seq) {
        self.room = Some(room);
        self.from = from;
        self.bytes.clear();
        self.ends.clear();
        self.authors.clear();
    }

    /// Drops the older half when there is no space.
    fn drop_older_half(&mut self) {
        if self.bytes.len() < KEPT_BYTES_MAX {
            return;
        }
        let half = self.bytes.len() / 2;
        let count = self.ends.partition_point(|end| *end <= half);
        let gone = self.start(count);
        self.bytes.drain(..gone);
        self.authors.drain(..count);
        self.ends.drain(..count);
        self.ends.iter_mut().for_each(|end| *end -= gone);
        self.from += count as Seq;
    }

    /// Adds the entries that have been appended since, as far as there is space.
    fn extend(&mut self, tail: &Tail) {
        let from = self.to();
        if from >= tail.end() || self.bytes.len() >= KEPT_BYTES_MAX {
            return;
        }
        let Self { ends, authors, .. } = self;
        tail.copy(from, &mut self.bytes, KEPT_BYTES_MAX, |author, end| {
            ends.push(end);
            authors.push(author.unwrap_or(PeerId::NONE));
        });
    }

    /// Returns where the line at `index` begins.
    fn start(&self, index: usize) -> usize {
        match index.checked_sub(1) {
            None => 0,
            Some(before) => self.ends.get(before).copied().unwrap_or_default(),
        }
    }

    fn index(&self, seq: Seq) -> usize {
        let index = usize::try_from(seq.saturating_sub(self.from)).unwrap_or(usize::MAX);
        index.min(self.ends.len())
    }

    fn has_own(&self, span: SeqRange, reader: PeerId) -> bool {
        let (first, last) = (self.index(span.from), self.index(span.to));
        self.before_own(reader, first, last) < last - first
    }

    /// Returns how many lines there are from `first` up to but not including `last`, or up to one by `reader`.
    fn before_own(&self, reader: PeerId, first: usize, last: usize) -> usize {
        let authors = self.authors.get(first..last).unwrap_or_default();
        let own = authors.iter().position(|author| *author == reader);
        own.unwrap_or(authors.len())
    }

    /// Returns the range of the lines of the entries from `from` up to but not including `to`, or up to one by
    /// `reader`: as many as fit into `space`, but at least one; and the entry after the last of them.
    fn lines(&self, from: Seq, to: Seq, reader: PeerId, space: usize) -> (Range<usize>, Seq) {
        let (first, last) = (self.index(from), self.index(to));
        let last = first + self.before_own(reader, first, last);
        let begin = self.start(first);
        let others = self.ends.get(first..last).unwrap_or_default();
        let fitting = others.partition_point(|end| end - begin <= space);
        let count = fitting.max(1).min(others.len());
        (begin..self.start(first + count), from + count as Seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Peer;
    use crate::chat::room::Room;
    use crate::model::Arena;
    use crate::protocol::event::EventLayout;
    use crate::protocol::{RoomName, Time};

    /// Returns everything that `reader` is sent of the entries from `from` on, batch after batch.
    fn read(batch: &mut Batch, room: RoomId, tail: &Tail, mut from: Seq, reader: PeerId) -> String {
        let mut got = Vec::new();
        while from < tail.end() {
            batch.clear();
            while from < tail.end() && !batch.is_full() {
                match batch.add_lines(room, tail, from, tail.end(), reader) {
                    None => break,
                    Some(next) if next > from => from = next,
                    Some(_) => {
                        // The reader's own entry, for which it gets a reply.
                        batch.own.bytes.extend_from_slice(b"OK\n");
                        from += 1;
                    }
                }
            }
            let whole = batch.copy(0, batch.len());
            assert!(!whole.is_empty(), "a batch has something in it");
            for cut in [1, 2, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
                let stretches: Vec<&[u8]> = batch.stretches(cut).collect();
                assert!(stretches.concat() == whole[cut..], "from {cut} on");
                assert!(
                    batch.copy(1, cut.max(1)) == whole[1..cut.max(1)],
                    "up to {cut}"
                );
            }
            got.extend(whole);
        }
        String::from_utf8(got).unwrap()
    }

    #[test]
    fn readers_at_different_places_share_lines_and_each_gets_all_but_its_own() {
        let mut peers = Arena::default();
        let [ann, bob, eve] = [(); 3].map(|()| peers.insert(Peer::new([127, 0, 0, 1].into())));
        let mut rooms = Arena::default();
        let name = |name| RoomName::parse(name).unwrap();
        let [tea, milk] = ["#tea", "#milk"].map(|room| rooms.insert(Room::new(name(room), 1)));
        let (mut tail, mut other) = (Tail::new(8 << 20), Tail::new(8 << 20));
        other.push(
            None,
            Time(0),
            Some(ann),
            EventLayout::default(),
            "",
            b"milk",
        );
        let mut batch = Batch::default();
        let mut all = Vec::new();
        let text = "x".repeat(100);
        for n in 0..20_000_u64 {
            let author = if n / 40 % 3 == 0 { ann } else { bob };
            let line = format!("{n} {text}");
            tail.push(
                None,
                Time(0),
                Some(author),
                EventLayout::default(),
                "",
                line.as_bytes(),
            );
            all.push((author, format!("{line}\n")));
            if n % 4567 != 4566 {
                continue;
            }
            for (reader, behind) in [(eve, 2000), (ann, 4000), (bob, 1), (eve, 0), (ann, 3000)] {
                let from = n.saturating_sub(behind);
                let lines = all[from as usize..].iter().map(|(author, line)| {
                    if *author == reader {
                        "OK\n"
                    } else {
                        line.as_str()
                    }
                });
                let expected: String = lines.collect();
                assert!(
                    read(&mut batch, tea, &tail, from, reader) == expected,
                    "at {n}"
                );
                assert_eq!(read(&mut batch, milk, &other, 0, eve), "milk\n");
            }
        }
        assert!(
            batch.shared.bytes.capacity() <= 2 * KEPT_BYTES_MAX,
            "it is bounded"
        );
    }

    /// Regression test: a reader that only skipped its own line left an empty batch, and the next reader at the same
    /// position was sent that: nothing.
    #[test]
    fn a_batch_that_skips_an_own_line_is_not_reused() {
        let mut peers = Arena::default();
        let [ann, bob, eve] = [(); 3].map(|()| peers.insert(Peer::new([127, 0, 0, 1].into())));
        let mut rooms = Arena::default();
        let room = rooms.insert(Room::new(RoomName::parse("#tea").unwrap(), 1));
        let mut tail = Tail::new(1000);
        tail.push(
            None,
            Time(0),
            Some(ann),
            EventLayout::default(),
            "",
            b"JOIN #tea ann",
        );
        let (from, to) = (0, 1);
        let span = SeqRange { room, from, to };
        let mut batch = Batch::default();
        let fill = |batch: &mut Batch, reader| {
            batch.clear();
            let next = batch.add_lines(room, &tail, from, to, reader);
            batch.run(Advance::Room(room, to, None));
            batch.note(span, reader);
            next
        };
        assert_eq!(fill(&mut batch, ann), Some(from));
        assert!(!batch.is_just(span, bob));
        assert_eq!(fill(&mut batch, bob), Some(to));
        assert!(batch.is_just(span, eve) && !batch.is_just(span, ann));
    }
}
