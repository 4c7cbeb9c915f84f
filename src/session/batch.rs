//! The bytes of one write to a client, and how far each part advances the client's session.

use std::ops::Range;

use super::lazy_list::LazyList;
use crate::chat::RoomId;
use crate::dialect::{Delivery, Form, Output};
use crate::model::PeerId;
use crate::protocol::EventId;
use crate::tail::{Seq, Tail};

/// Output for one client, divided into segments. Each segment comes with the progress that it makes in the session. A
/// batch is reused from one session to the next, so that the lines of a room are written only once for all readers with
/// the same form.
#[derive(Debug, Default)]
pub struct Batch {
    /// The bytes that belong to this session alone.
    pub(super) own: Output,
    /// The parts of `shared` that the batch contains. Each part is sent at its position between the bytes of `own`.
    borrowed: Vec<BorrowedRange>,
    borrowed_bytes: usize,
    /// Lines for all readers. Each element has a different pair of room and form.
    shared: Vec<SharedLines>,
    /// The number of times that the batch has been cleared. This number identifies what the batch is filled with now.
    number: u64,
    pub(super) segments: Vec<Segment>,
    /// The position in each of the session's rooms after this batch; `None` for a room that has been left.
    pub(super) cursors: Vec<Option<Seq>>,
    /// The position in the session's page after this batch.
    pub(super) page_next: Option<usize>,
    /// The entries of the batch, if the batch contains only a span of entries.
    span: Option<SeqRange>,
}

/// The entries `from..to` of a room's tail, in the form `form`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeqRange {
    pub room: RoomId,
    pub form: Form,
    pub from: Seq,
    pub to: Seq,
}

/// A part of the shared lines.
#[derive(Clone, Debug)]
struct SharedRange {
    /// The index in [`Batch::shared`].
    lines: usize,
    range: Range<usize>,
}

/// A part of the shared lines that is sent without being copied.
#[derive(Debug)]
struct BorrowedRange {
    /// The number of the batch's own bytes before this part.
    at: usize,
    part: SharedRange,
}

/// The number of bytes of new messages in a "round". The messages are collected until a round is full, and then
/// delivered to the readers. The more bytes one write carries, the less processor time a line costs. With 1 sender and
/// 100 or 1000 readers, a line costs 1.4 times as much in rounds of 64 KiB as in rounds of 128 KiB. Rounds of 256 KiB
/// are no better, and with 1000 readers one of them takes 50 ms.
pub const ROUND_BYTES: usize = 128 << 10;

/// The maximum number of bytes in a batch, unless the batch contains a single line. The maximum is enough for the lines
/// of a round, even if each line gets more fields.
pub const BATCH_BYTES_MAX: usize = 2 * ROUND_BYTES;

/// The maximum number of bytes of values in a batch, unless the batch contains a single value.
const VALUE_BYTES_MAX: usize = 32 << 10;

/// For each pair of a room and a form: the maximum number of bytes of lines that are kept for other readers. The
/// readers of a room are at different positions, so one batch of lines would not be enough.
const KEPT_BYTES_MAX: usize = 2 * BATCH_BYTES_MAX;

/// For each pair of a room and a form: the maximum number of lines that are kept for other readers. A limit on bytes
/// alone does not bound the number of lines, because a line may be empty: some forms have no line for an event.
const KEPT_LINES_MAX: usize = 64 << 10;

/// The maximum number of kept [`SharedLines`], one for each pair of a room and a form. A server has readers of only a
/// few forms, because IRC clients request similar capabilities. Above the maximum, the least recently used lines are
/// dropped.
const KEPT_MAX: usize = 32;

/// The maximum number of bytes that all kept lines together may allocate. Above the maximum, the least recently used
/// lines are freed.
const KEPT_TOTAL_MAX: usize = 8 * KEPT_BYTES_MAX;

/// The minimum size of a part that is sent without being copied. Shorter parts are copied, because the operating
/// system's work for a separate slice costs as much.
const BORROWED_BYTES_MIN: usize = 2 << 10;

#[derive(Debug)]
pub(super) struct Segment {
    /// The end of the segment, as an offset in the batch.
    pub end: usize,
    pub step: Advance,
    /// The shared lines, if the segment consists of shared lines.
    shared: Option<SharedRange>,
}

/// The place at which a segment of shared lines was split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// The end of the line that was split, as an offset in the batch.
    pub end: usize,
    /// The number of the entry after that line.
    pub next: Seq,
}

/// The progress of a session through one sent segment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Advance {
    /// The rest of a split line has been sent.
    Unsent,
    /// The first pending reply has been sent.
    Reply,
    /// Some lines of a list have been sent. The list is the first pending reply.
    Listed(LazyList),
    /// The entries of a room before this number have been sent or skipped. The id is that of the newest logged event in
    /// the segment, if there is one. The id is kept here because the tail may no longer contain the event when the
    /// segment has been sent.
    Room(RoomId, Seq, Option<EventId>),
    /// A gap in the page's room has been reported.
    Gap,
    /// The page's records before this index have been sent or skipped. The id is that of the last of them.
    Paged(usize, EventId),
    Notices(Seq),
    Inbox(Seq),
}

impl Batch {
    /// Returns whether the batch has no segments. A batch that only skips entries has no bytes, but is not empty.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Returns the number of bytes in the batch.
    pub fn len(&self) -> usize {
        self.own.len() + self.borrowed_bytes
    }

    /// Takes the values for a client inside this process. The caller sends all of the values. The values still count in
    /// [`Self::len`].
    pub fn take_values(&mut self) -> std::vec::Drain<'_, Delivery> {
        self.own.take_values()
    }

    /// Returns the bytes of the batch as slices, starting at the offset `from`.
    pub fn stretches(&self, from: usize) -> impl Iterator<Item = &[u8]> {
        let mut own = 0;
        let between = self.borrowed.iter().flat_map(move |borrowed| {
            let begin = std::mem::replace(&mut own, borrowed.at);
            [
                self.own.bytes.get(begin..borrowed.at),
                self.shared_bytes(&borrowed.part),
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

    /// Copies the bytes at the offsets `from..to`.
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
        self.number += 1;
        self.free_unused();
        self.cursors.clear();
        self.page_next = None;
        self.span = None;
    }

    /// Records that the batch contains only `span`, as much of it as fits. `reader` is the connection for which the
    /// batch was filled. Does nothing if a line of `span` is by `reader`.
    pub(super) fn note(&mut self, span: SeqRange, reader: PeerId) {
        if !self.has_own(span, reader) {
            self.span = Some(span);
        }
    }

    /// Returns whether the batch contains only `span` and no line by `reader`. If so, the batch need not be filled
    /// again for that reader.
    pub(super) fn is_just(&self, span: SeqRange, reader: PeerId) -> bool {
        self.span == Some(span) && !self.has_own(span, reader)
    }

    /// Returns whether the batch contains anything besides shared lines of one room, or contains a line of `span` that
    /// `reader` must not receive.
    fn has_own(&self, span: SeqRange, reader: PeerId) -> bool {
        let lines = match &self.segments[..] {
            [only] => only
                .shared
                .as_ref()
                .and_then(|part| self.shared.get(part.lines)),
            _ => None,
        };
        lines.is_none_or(|lines| lines.has_own(span, reader))
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= BATCH_BYTES_MAX || self.own.value_bytes() >= VALUE_BYTES_MAX
    }

    pub(super) fn run(&mut self, step: Advance) {
        self.segments.push(Segment {
            end: self.len(),
            step,
            shared: None,
        });
    }

    /// Adds a segment with the lines of the entries in `span`, as many as there is space for. Stops before an entry
    /// that is by `reader` or must be written for each reader separately. Returns the number of the entry after the
    /// last added one, or `span.from` if no entry was added. Returns `None` if the lines must go into another batch.
    ///
    /// `write` appends the entry with a given number, in the form of `span`. It returns the number of appended entries:
    /// more than one for a text of several lines, and 0 if the entry must be written for each reader separately. `step`
    /// returns the progress up to an entry.
    pub(super) fn add_lines(
        &mut self,
        span: SeqRange,
        tail: &Tail,
        reader: PeerId,
        write: impl FnMut(Seq, &mut Output) -> Seq,
        step: impl FnOnce(Seq) -> Advance,
    ) -> Option<Seq> {
        let at = self.kept_lines(span)?;
        let space = BATCH_BYTES_MAX.saturating_sub(self.len());
        let lines = self.shared.get_mut(at)?;
        lines.extend(tail, write);
        if span.from == lines.to() {
            return None;
        }
        let (range, next) = lines.lines(span.from, span.to, reader, space);
        if next == span.from {
            return Some(next);
        }
        if range.len() < BORROWED_BYTES_MIN {
            let lines = lines.bytes.get(range.clone());
            self.own.bytes.extend_from_slice(lines.unwrap_or_default());
        } else {
            self.borrowed_bytes += range.len();
            let part = SharedRange {
                lines: at,
                range: range.clone(),
            };
            let at = self.own.bytes.len();
            self.borrowed.push(BorrowedRange { at, part });
        }
        self.segments.push(Segment {
            end: self.len(),
            step: step(next),
            shared: Some(SharedRange { lines: at, range }),
        });
        Some(next)
    }

    /// Returns the place at which `segment` is split after the first `taken` bytes of the batch have been sent. Returns
    /// `None` if the segment does not consist of shared lines.
    pub(super) fn split(&self, segment: &Segment, taken: usize) -> Option<Split> {
        let part = segment.shared.as_ref()?;
        let (end, next) = self
            .shared
            .get(part.lines)?
            .line_at(part.range.end.checked_sub(segment.end - taken)?);
        let end = segment.end - part.range.end.checked_sub(end)?;
        Some(Split { end, next })
    }

    fn shared_bytes(&self, part: &SharedRange) -> Option<&[u8]> {
        self.shared.get(part.lines)?.bytes.get(part.range.clone())
    }

    /// Returns the index of shared lines that contain the first entry of `span` or end just before it. Creates the
    /// lines if necessary. Returns `None` if that would replace lines to which the batch refers.
    fn kept_lines(&mut self, span: SeqRange) -> Option<usize> {
        let known = self.shared.iter().position(|lines| lines.are_of(span));
        let at = match known {
            Some(at) => at,
            None if self.shared.len() < KEPT_MAX => {
                self.shared.push(SharedLines::new(span));
                self.shared.len() - 1
            }
            None => self.least_used()?,
        };
        let lines = self.shared.get_mut(at)?;
        if lines.used != self.number {
            if !lines.reaches(span) {
                lines.restart(span);
            }
            lines.drop_older_half(span.from);
            lines.used = self.number;
        }
        lines.reaches(span).then_some(at)
    }

    /// Frees the least recently used lines until all lines together allocate no more than the maximum.
    fn free_unused(&mut self) {
        let allocated = |lines: &SharedLines| lines.bytes.capacity();
        while self.shared.len() > 1
            && self.shared.iter().map(allocated).sum::<usize>() > KEPT_TOTAL_MAX
            && let Some(at) = self.least_used()
        {
            self.shared.swap_remove(at);
        }
    }

    fn least_used(&self) -> Option<usize> {
        let all = self.shared.iter().enumerate();
        all.min_by_key(|(_, lines)| lines.used).map(|(at, _)| at)
    }
}

/// Lines of a room in one form, copied from its tail or written for the first reader with that form. Nearly all readers
/// are at the same position and receive the same bytes, so the lines are made only once for all of them. Copying the
/// lines for each reader took 14 % of the server's time with 1000 readers, and 11 % with 100 clients that all talk.
#[derive(Debug)]
struct SharedLines {
    room: RoomId,
    form: Form,
    /// The number of the last batch that needed these lines.
    used: u64,
    from: Seq,
    bytes: Vec<u8>,
    /// The offset in `bytes` at which each line ends. If a text is one message, each of its lines has the end of the
    /// whole text.
    ends: Vec<usize>,
    /// The author of each line. A line is not sent to its author.
    authors: Vec<PeerId>,
    /// The entries that must be written for each reader separately, in order. The lines of these entries are empty
    /// here.
    apart: Vec<Seq>,
    /// The entries that continue a message from an earlier entry, in order.
    inside: Vec<Seq>,
}

impl SharedLines {
    fn new(span: SeqRange) -> Self {
        Self {
            room: span.room,
            form: span.form,
            used: 0,
            from: span.from,
            bytes: Vec::new(),
            ends: Vec::new(),
            authors: Vec::new(),
            apart: Vec::new(),
            inside: Vec::new(),
        }
    }

    fn to(&self) -> Seq {
        self.from + self.ends.len() as Seq
    }

    /// Returns whether these lines belong to the room of `span` and are in its form.
    fn are_of(&self, span: SeqRange) -> bool {
        self.room == span.room && self.form == span.form
    }

    /// Returns whether these lines contain the first entry of `span` or end just before that entry.
    fn reaches(&self, span: SeqRange) -> bool {
        self.are_of(span) && (self.from..=self.to()).contains(&span.from)
    }

    fn restart(&mut self, span: SeqRange) {
        self.room = span.room;
        self.form = span.form;
        self.from = span.from;
        self.bytes.clear();
        self.ends.clear();
        self.authors.clear();
        self.apart.clear();
        self.inside.clear();
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= KEPT_BYTES_MAX || self.ends.len() >= KEPT_LINES_MAX
    }

    /// Drops the older half of the lines if there is no space for more and the reader at `from` does not need that
    /// half.
    fn drop_older_half(&mut self, from: Seq) {
        while self.is_full() {
            let half = self.bytes.len() / 2;
            let count = if self.bytes.len() >= KEPT_BYTES_MAX {
                self.ends.partition_point(|end| *end <= half).max(1)
            } else {
                self.ends.len() / 2
            };
            if self.index(from) < count {
                return;
            }
            let gone = self.start(count);
            self.bytes.drain(..gone);
            self.authors.drain(..count);
            self.ends.drain(..count);
            self.ends.iter_mut().for_each(|end| *end -= gone);
            let first = self.from + count as Seq;
            self.from = first;
            self.apart.retain(|seq| *seq >= first);
            self.inside.retain(|seq| *seq >= first);
        }
    }

    /// Adds the entries that have been appended to the tail since the last call, as many as there is space for.
    fn extend(&mut self, tail: &Tail, write: impl FnMut(Seq, &mut Output) -> Seq) {
        if self.to() >= tail.end() || self.is_full() {
            return;
        }
        if self.form == Form::OF_TAIL {
            let Self { ends, authors, .. } = self;
            let from = self.from + ends.len() as Seq;
            tail.copy(from, &mut self.bytes, KEPT_BYTES_MAX, |author, end| {
                ends.push(end);
                authors.push(author.unwrap_or(PeerId::NONE));
            });
        } else {
            self.write(tail, write);
        }
    }

    fn write(&mut self, tail: &Tail, mut write: impl FnMut(Seq, &mut Output) -> Seq) {
        let mut out = Output::from(std::mem::take(&mut self.bytes));
        while out.bytes.len() < KEPT_BYTES_MAX
            && self.ends.len() < KEPT_LINES_MAX
            && let first = self.to()
            && let Some((entry, _)) = tail.get(first)
        {
            let count = write(first, &mut out);
            if count == 0 {
                self.apart.push(first);
            }
            for seq in first..first + count.max(1) {
                self.ends.push(out.bytes.len());
                self.authors.push(entry.author.unwrap_or(PeerId::NONE));
                if seq > first {
                    self.inside.push(seq);
                }
            }
        }
        self.bytes = out.bytes;
    }

    /// Returns the offset at which the line at `index` begins.
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

    /// Returns how many lines in `first..last` come before the first line that is by `reader` or must be written for
    /// each reader separately.
    fn before_own(&self, reader: PeerId, first: usize, last: usize) -> usize {
        let authors = self.authors.get(first..last).unwrap_or_default();
        let own = authors.iter().position(|author| *author == reader);
        let own = own.unwrap_or(authors.len());
        let from = self.from + first as Seq;
        let apart = self.apart.partition_point(|seq| *seq < from);
        match self.apart.get(apart) {
            Some(seq) => own.min(self.index(*seq).saturating_sub(first)),
            None => own,
        }
    }

    /// Returns the range in `bytes` of the lines of the entries in `from..to`, and the number of the entry after the
    /// last of these lines. The range ends before the first line that is by `reader` or must be written for each reader
    /// separately. The range contains as many lines as fit into `space` bytes, but at least one line. If the range
    /// would contain only a part of a text that these readers receive as one message, it is empty.
    fn lines(&self, from: Seq, to: Seq, reader: PeerId, space: usize) -> (Range<usize>, Seq) {
        let (first, last) = (self.index(from), self.index(to));
        let begin = self.start(first);
        if self.is_inside(from) {
            return (begin..begin, from);
        }
        let mut last = first + self.before_own(reader, first, last);
        while last > first && self.is_inside(self.from + last as Seq) {
            last -= 1;
        }
        let others = self.ends.get(first..last).unwrap_or_default();
        let fitting = others.partition_point(|end| end - begin <= space);
        let mut count = fitting.max(1).min(others.len());
        while self.is_inside(from + count as Seq) {
            count += 1;
        }
        (begin..self.start(first + count), from + count as Seq)
    }

    fn is_inside(&self, seq: Seq) -> bool {
        self.inside.binary_search(&seq).is_ok()
    }

    /// Returns the end of the line that contains `offset`, and the number of the entry after the line. An offset
    /// between two lines belongs to the first of the two.
    fn line_at(&self, offset: usize) -> (usize, Seq) {
        let mut count = self.ends.partition_point(|end| *end < offset) + 1;
        while self.is_inside(self.from + count as Seq) {
            count += 1;
        }
        (self.start(count), self.from + count as Seq)
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

    /// Returns the entries `from..to` of a room, in the form of its tail.
    fn span(room: RoomId, from: Seq, to: Seq) -> SeqRange {
        let form = Form::OF_TAIL;
        SeqRange {
            room,
            form,
            from,
            to,
        }
    }

    fn no_write(_: Seq, _: &mut Output) -> Seq {
        panic!("the tail has the lines in this form")
    }

    /// Returns the output for `reader`, starting with the entry `from`. Fills as many batches as that needs.
    fn read(batch: &mut Batch, room: RoomId, tail: &Tail, mut from: Seq, reader: PeerId) -> String {
        let mut got = Vec::new();
        while from < tail.end() {
            batch.clear();
            while from < tail.end() && !batch.is_full() {
                let step = |next| Advance::Room(room, next, None);
                let lines = span(room, from, tail.end());
                match batch.add_lines(lines, tail, reader, no_write, step) {
                    None => break,
                    Some(next) if next > from => from = next,
                    Some(_) => {
                        // This entry is the reader's own. The reader gets a reply instead of the line.
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
            batch.shared.len() <= KEPT_MAX,
            "the number of lines is bounded"
        );
        let kept = batch.shared.iter().map(|lines| lines.bytes.capacity());
        assert!(
            kept.sum::<usize>() <= KEPT_TOTAL_MAX + 2 * KEPT_BYTES_MAX,
            "their size is bounded"
        );
    }

    /// Regression test. A reader that only skipped its own line left an empty batch. The next reader at the same
    /// position reused that batch and received nothing.
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
        let span = span(room, from, to);
        let mut batch = Batch::default();
        let fill = |batch: &mut Batch, reader| {
            batch.clear();
            let step = |next| Advance::Room(room, next, None);
            let next = batch.add_lines(span, &tail, reader, no_write, step);
            if next == Some(from) {
                batch.run(step(to));
            }
            batch.note(span, reader);
            next
        };
        assert_eq!(fill(&mut batch, ann), Some(from));
        assert!(!batch.is_just(span, bob));
        assert_eq!(fill(&mut batch, bob), Some(to));
        assert!(batch.is_just(span, eve) && !batch.is_just(span, ann));
    }

    /// In a form other than the tail's, an entry may be written for each reader separately, may be part of a message
    /// with other entries, or may have no line.
    #[test]
    fn readers_of_another_form_receive_each_entry_once() {
        let mut peers = Arena::default();
        let [ann, bob] = [(); 2].map(|()| peers.insert(Peer::new([127, 0, 0, 1].into())));
        let mut rooms = Arena::default();
        let room = rooms.insert(Room::new(RoomName::parse("#tea").unwrap(), 1));
        let mut tail = Tail::new(8 << 20);
        let mut batch = Batch::default();
        let form = crate::dialect::Dialect::Talker.to(None).form(true).unwrap();
        let text = "x".repeat(100);
        // Of every ten entries, entry 5 begins a text of three lines.
        let alone = |seq: Seq| match seq % 10 {
            9 => String::new(),
            _ => format!("{seq} {text}\n"),
        };
        let whole = |seq: Seq, to: Seq| match seq % 10 {
            5 if seq + 3 <= to => (format!("{seq} to {} {text}\n", seq + 2), 3),
            _ => (alone(seq), 1),
        };
        for n in 0..20_000 {
            tail.push(None, Time(0), Some(ann), EventLayout::default(), "", b"x");
            if n % 2000 != 1999 {
                continue;
            }
            for (back, short) in [
                (0, 0),
                (1, 0),
                (3, 0),
                (4, 0),
                (5, 0),
                (99, 3),
                (2500, 4),
                (7, 5),
                (4000, 1),
            ] {
                let end = tail.end() - short;
                let mut from = end.saturating_sub(back);
                let mut expected = String::new();
                let mut at = from;
                while at < end {
                    let (line, count) = whole(at, end);
                    expected += &line;
                    at += count;
                }
                let mut got = Vec::new();
                while from < end {
                    batch.clear();
                    while from < end && !batch.is_full() {
                        let span = SeqRange {
                            room,
                            form,
                            from,
                            to: end,
                        };
                        let write = |seq: Seq, out: &mut Output| {
                            if seq % 10 == 3 {
                                return 0;
                            }
                            let (line, count) = whole(seq, tail.end());
                            out.bytes.extend_from_slice(line.as_bytes());
                            count
                        };
                        let step = |next| Advance::Room(room, next, None);
                        match batch.add_lines(span, &tail, bob, write, step) {
                            None => break,
                            Some(next) if next > from => from = next,
                            Some(_) => {
                                let (line, count) = whole(from, end);
                                batch.own.bytes.extend_from_slice(line.as_bytes());
                                from += count;
                                batch.run(step(from));
                            }
                        }
                    }
                    assert!(!batch.is_empty(), "a batch has something in it");
                    got.extend(batch.copy(0, batch.len()));
                }
                assert!(got == expected.as_bytes(), "{n} {back}");
            }
        }
        let lines = &batch.shared[0];
        assert!(batch.shared.len() <= KEPT_MAX && lines.ends.len() <= KEPT_LINES_MAX);
    }
}
