//! Bytes on their way to a client, and what each stretch of them means for its session once it is sent.

use super::list::List;
use crate::chat::{PeerId, RoomId};
use crate::protocol::EventId;
use crate::tail::{Seq, Tail};

/// Bytes to be sent, and what each stretch of them advances. Made to be used again and again.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) runs: Vec<Run>,
    /// How far each of the session's rooms is read with this batch; `None` once left.
    pub(super) cursors: Vec<Option<Seq>>,
    /// How far the session's page is read with this batch.
    pub(super) page_next: Option<usize>,
    /// What it holds, if that is nothing but this.
    span: Option<Span>,
    /// Who said what is in that; they do not get it.
    authors: Vec<PeerId>,
}

/// Entries of a room's tail, from `from` up to, not including, `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub room: RoomId,
    pub from: Seq,
    pub to: Seq,
}

/// In a room with more speakers than that at a time, each reader gets a batch of its own: to find out whose
/// is in a shared one would cost as much.
const AUTHORS_MAX: usize = 16;

/// How much may be said before those who read it get it. The more a write carries the less it costs a line:
/// from 1 speaker to 100 or 1000 readers, a line costs 1.4 times as much CPU in rounds of 64 KiB as in these.
/// Rounds of 256 KiB were no better, and a thousand readers take 50 ms for one.
pub const ROUND_BYTES: usize = 128 << 10;

/// How many bytes a batch has at most, but for one line: a round, whose lines grow by the room and the nick.
pub const BATCH_BYTES_MAX: usize = 2 * ROUND_BYTES;

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

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.runs.clear();
        self.cursors.clear();
        self.page_next = None;
        self.span = None;
    }

    /// Whether it holds just that span, with nothing of `reader`'s own: nearly all readers of a room stand at
    /// the same place, and are sent the same bytes, which are copied out of the tail once. To copy them for
    /// each of 1000 readers was 14 of 100 samples of the server.
    pub(super) fn is_shared(&self, span: Span, reader: PeerId) -> bool {
        self.span == Some(span) && !self.authors.contains(&reader)
    }

    /// Notes that it holds as much of `span` as has space.
    pub(super) fn share(&mut self, span: Span, tail: &Tail) {
        let [run] = &self.runs[..] else {
            return;
        };
        let Step::Room(_, to, _) = run.step else {
            return;
        };
        self.authors.clear();
        for author in tail.authors(span.from, to).flatten() {
            if self.authors.last() == Some(&author) || self.authors.contains(&author) {
                continue;
            }
            if self.authors.len() == AUTHORS_MAX {
                return;
            }
            self.authors.push(author);
        }
        self.span = Some(span);
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES_MAX
    }

    pub(super) fn run(&mut self, step: Step) {
        self.runs.push(Run {
            end: self.bytes.len(),
            step,
        });
    }
}
