//! Bytes on their way to a client, and what each stretch of them means for its session once it is sent.

use std::ops::Range;

use super::list::List;
use crate::chat::RoomId;
use crate::model::PeerId;
use crate::protocol::EventId;
use crate::tail::{Seq, Tail};

/// Bytes to be sent, and what each stretch of them advances. Made to be used again and again: what one reader
/// of a room is sent is there for the next.
#[derive(Debug, Default)]
pub struct Batch {
    /// What is for this session alone.
    pub(super) bytes: Vec<u8>,
    /// What of the round stands where among those.
    lent: Vec<Lent>,
    lent_bytes: usize,
    round: Round,
    pub(super) runs: Vec<Run>,
    /// How far each of the session's rooms is read with this batch; `None` once left.
    pub(super) cursors: Vec<Option<Seq>>,
    /// How far the session's page is read with this batch.
    pub(super) page_next: Option<usize>,
    /// What it holds, if that is nothing but this.
    span: Option<Span>,
}

/// Entries of a room's tail, from `from` up to, not including, `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub room: RoomId,
    pub from: Seq,
    pub to: Seq,
}

/// A stretch of the round that is sent from where it is.
#[derive(Debug)]
struct Lent {
    /// How many of the batch's own bytes come before it.
    at: usize,
    range: Range<usize>,
}

/// How much may be said before those who read it get it. The more a write carries the less it costs a line:
/// from 1 speaker to 100 or 1000 readers, a line costs 1.4 times as much CPU in rounds of 64 KiB as in these.
/// Rounds of 256 KiB were no better, and a thousand readers take 50 ms for one.
pub const ROUND_BYTES: usize = 128 << 10;

/// How many bytes a batch has at most, but for one line: a round, whose lines grow by the room and the nick.
pub const BATCH_BYTES_MAX: usize = 2 * ROUND_BYTES;

/// How many bytes of the lines of a room are kept for further readers: rounds of some turns, since those who
/// talk read while others are written to, and stand at different places.
const KEPT_BYTES_MAX: usize = 2 * BATCH_BYTES_MAX;

/// A stretch that is shorter is copied: the system takes each stretch by itself, which costs as much.
const LENT_BYTES_MIN: usize = 2 << 10;

#[derive(Debug)]
pub(super) struct Run {
    /// Where in the batch it ends.
    pub end: usize,
    pub step: Step,
}

/// What is true once a run has been sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// The rest of a line is out.
    Unsent,
    /// The first pending reply is out.
    Reply,
    /// Lines of the list that is the first pending reply are out.
    Listed(List),
    /// A room is read up to there; the newest logged event of the run, if it has one. The tail may have let
    /// go of it by the time that the run has been sent.
    Room(RoomId, Seq, Option<EventId>),
    /// It is told that something is left out of the page's room.
    Gap,
    /// The page is read up to there.
    Paged(usize),
    Notes(Seq),
    Told(Seq),
}

impl Batch {
    /// Whether there was nothing to send. (One that only passes entries has no bytes and is not empty.)
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.lent_bytes
    }

    /// The bytes from `from` on, in stretches.
    pub fn stretches(&self, from: usize) -> impl Iterator<Item = &[u8]> {
        let mut own = 0;
        let between = self.lent.iter().flat_map(move |lent| {
            let begin = std::mem::replace(&mut own, lent.at);
            [
                self.bytes.get(begin..lent.at),
                self.round.bytes.get(lent.range.clone()),
            ]
        });
        let last = self.lent.last().map_or(0, |lent| lent.at);
        let mut skip = from;
        between
            .chain([self.bytes.get(last..)])
            .flatten()
            .filter_map(move |stretch| {
                let rest = stretch.get(skip.min(stretch.len())..);
                skip = skip.saturating_sub(stretch.len());
                rest.filter(|rest| !rest.is_empty())
            })
    }

    /// The bytes from `from` up to, not including, `to`, in one.
    pub(super) fn copy(&self, from: usize, to: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for stretch in self.stretches(from) {
            let wanted = to.saturating_sub(from + bytes.len());
            bytes.extend_from_slice(stretch.get(..wanted).unwrap_or(stretch));
        }
        bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.lent.clear();
        self.lent_bytes = 0;
        self.runs.clear();
        self.cursors.clear();
        self.page_next = None;
        self.span = None;
    }

    /// Notes that it holds nothing but as much of `span` as has space, all of it: none is the own of `reader`, whom
    /// it was filled for.
    pub(super) fn note(&mut self, span: Span, reader: PeerId) {
        if let [only] = &self.runs[..]
            && matches!(only.step, Step::Room(..))
            && !self.round.has_own(span, reader)
        {
            self.span = Some(span);
        }
    }

    /// Whether it holds just that, with nothing of `reader`'s own: then it need not be filled again.
    pub(super) fn is_just(&self, span: Span, reader: PeerId) -> bool {
        self.span == Some(span) && !self.round.has_own(span, reader)
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= BATCH_BYTES_MAX
    }

    pub(super) fn run(&mut self, step: Step) {
        self.runs.push(Run {
            end: self.len(),
            step,
        });
    }

    /// Adds the lines of the entries from `from` up to, not including, `to` or one of `reader`'s own, as far
    /// as there is space. Returns the entry after the last, `from` when the first is its own; `None` when they
    /// are for another batch.
    pub(super) fn add_lines(
        &mut self,
        room: RoomId,
        tail: &Tail,
        from: Seq,
        to: Seq,
        reader: PeerId,
    ) -> Option<Seq> {
        // What has been lent must stay where it is.
        if self.lent.is_empty() {
            if !self.round.reaches(room, from) {
                self.round.restart(room, from);
            }
            self.round.let_go();
        }
        if !self.round.reaches(room, from) {
            return None;
        }
        self.round.extend(tail);
        if from == self.round.to() {
            return None;
        }
        let space = BATCH_BYTES_MAX.saturating_sub(self.len());
        let (range, next) = self.round.lines(from, to, reader, space);
        if range.len() < LENT_BYTES_MIN {
            let lines = self.round.bytes.get(range);
            self.bytes.extend_from_slice(lines.unwrap_or_default());
        } else {
            self.lent_bytes += range.len();
            let at = self.bytes.len();
            self.lent.push(Lent { at, range });
        }
        Some(next)
    }
}

/// Lines of a room as they stand in its tail: nearly all readers stand at the same place, and are sent the
/// same bytes, which are copied out of the tail once. To copy them for each of 1000 readers was 14 of 100
/// samples of the server; for each of 100 who all talk it was 11.
#[derive(Debug, Default)]
struct Round {
    room: Option<RoomId>,
    from: Seq,
    bytes: Vec<u8>,
    /// Where in `bytes` each line ends.
    ends: Vec<usize>,
    /// Whose each line is, who does not get it.
    authors: Vec<PeerId>,
}

impl Round {
    fn to(&self) -> Seq {
        self.from + self.ends.len() as Seq
    }

    /// Whether it has the line of the entry `seq`, or may come to have it.
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

    /// Lets go of the older half when there is no space.
    fn let_go(&mut self) {
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

    /// Takes in what has come since, as far as there is space.
    fn extend(&mut self, tail: &Tail) {
        let from = self.to();
        if from >= tail.end() || self.bytes.len() >= KEPT_BYTES_MAX {
            return;
        }
        let Self { ends, authors, .. } = self;
        tail.copy(from, &mut self.bytes, KEPT_BYTES_MAX, |author, end| {
            ends.push(end);
            authors.push(author.unwrap_or(PeerId::NOBODY));
        });
    }

    /// Where the line at `index` begins.
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

    fn has_own(&self, span: Span, reader: PeerId) -> bool {
        let (first, last) = (self.index(span.from), self.index(span.to));
        self.before_own(reader, first, last) < last - first
    }

    /// How many lines there are from that at `first` up to, not including, that at `last` or `reader`'s own.
    fn before_own(&self, reader: PeerId, first: usize, last: usize) -> usize {
        let authors = self.authors.get(first..last).unwrap_or_default();
        let own = authors.iter().position(|author| *author == reader);
        own.unwrap_or(authors.len())
    }

    /// Where the lines of the entries from `from` up to, not including, `to` or one of `reader`'s own stand, as
    /// many as have space, but at least one; and the entry after the last of them.
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
    use crate::protocol::{RoomName, Time};

    /// Everything that `reader` is sent of the entries from `from` on, batch after batch.
    fn read(batch: &mut Batch, room: RoomId, tail: &Tail, mut from: Seq, reader: PeerId) -> String {
        let mut got = Vec::new();
        while from < tail.end() {
            batch.clear();
            while from < tail.end() && !batch.is_full() {
                match batch.add_lines(room, tail, from, tail.end(), reader) {
                    None => break,
                    Some(next) if next > from => from = next,
                    Some(_) => {
                        // Its own, for which it has a reply.
                        batch.bytes.extend_from_slice(b"OK\n");
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
        other.push(None, Time(0), Some(ann), b"milk");
        let mut batch = Batch::default();
        let mut all = Vec::new();
        let text = "x".repeat(100);
        for n in 0..20_000_u64 {
            let author = if n / 40 % 3 == 0 { ann } else { bob };
            let line = format!("{n} {text}");
            tail.push(None, Time(0), Some(author), line.as_bytes());
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
            batch.round.bytes.capacity() <= 2 * KEPT_BYTES_MAX,
            "it is bounded"
        );
    }

    /// A reader whose own line was the only one left behind an empty batch, and the next one at the same place was
    /// sent that: nothing.
    #[test]
    fn what_leaves_out_somebody_s_own_is_for_nobody_else() {
        let mut peers = Arena::default();
        let [ann, bob, eve] = [(); 3].map(|()| peers.insert(Peer::new([127, 0, 0, 1].into())));
        let mut rooms = Arena::default();
        let room = rooms.insert(Room::new(RoomName::parse("#tea").unwrap(), 1));
        let mut tail = Tail::new(1000);
        tail.push(None, Time(0), Some(ann), b"JOIN #tea ann");
        let (from, to) = (0, 1);
        let span = Span { room, from, to };
        let mut batch = Batch::default();
        let fill = |batch: &mut Batch, reader| {
            batch.clear();
            let next = batch.add_lines(room, &tail, from, to, reader);
            batch.run(Step::Room(room, to, None));
            batch.note(span, reader);
            next
        };
        assert_eq!(fill(&mut batch, ann), Some(from));
        assert!(!batch.is_just(span, bob));
        assert_eq!(fill(&mut batch, bob), Some(to));
        assert!(batch.is_just(span, eve) && !batch.is_just(span, ann));
    }
}
