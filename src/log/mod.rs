//! What is durable: every logged event of every room, the files that were announced, the places of named
//! readers. A line is kept here first and seen by others then.
//!
//! [`Log`] is the seam: [`sqlite`] keeps it on disk, [`memory`] in bounded memory. Both give the same
//! answers. Nothing above this may assume that it is the only server on a log: a room's tail is fed by
//! what the log says it has kept, whoever said it. Knows no socket and no session.

pub mod commits;
pub mod memory;
pub mod sqlite;
pub mod text;
pub mod work;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::model::{
    Applied, DirectMessage, Entry, FileContents, FileTotals, NewFile, Removed, RoomRow,
    StorageError, Ticket,
};
use crate::protocol::event::words;
use crate::protocol::{Digest, EventId, Nick, RoomName, Time};
pub use commits::Commits;
use text::Query;
use work::Work;

/// Takes what the log has decided on, in order, batch by batch; called on the log's own thread.
pub type Sink = Box<dyn Fn(Vec<Applied>) + Send>;

/// A logged event as it is read back: its line as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub id: EventId,
    /// When it was kept.
    pub time: Time,
    /// The event's line without its end; `-` stands for the text or name of what was taken back.
    pub line: String,
}

/// Events that were read back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Oldest first.
    pub records: Vec<Record>,
    /// Some that would stand before them are no longer kept.
    pub has_hole: bool,
}

impl Past {
    fn whole(records: Vec<Record>) -> Self {
        Self {
            records,
            has_hole: false,
        }
    }
}

/// Which events are too old.
#[derive(Clone, Copy, Debug)]
pub struct Age {
    /// Those before this.
    pub before: Time,
    /// What is later than this has a wrong time, and goes with what was said around it.
    pub now: Time,
}

/// What was taken out because it is kept no longer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// How many events.
    pub events: u64,
    /// How many bytes, with the files.
    pub bytes: u64,
    /// The files that could be fetched: whose they were, as the nick is spelt there, and what was in them.
    pub files: Vec<(String, Option<FileContents>)>,
    /// The rooms that hold nothing any more, and their last events.
    pub rooms: Vec<(RoomName, EventId)>,
}

impl Trimmed {
    /// Adds what was taken out after it.
    fn add(&mut self, more: Self) {
        self.events += more.events;
        self.bytes += more.bytes;
        self.files.extend(more.files);
        self.rooms.extend(more.rooms);
    }
}

/// What a search has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Oldest first.
    pub records: Vec<Record>,
    /// Its time was over before all was looked at: older ones may be missing.
    pub is_cut: bool,
}

/// Whose past it is that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// A room's.
    Room(Arc<RoomName>),
    /// What a nick told and was told.
    Nick(Arc<Nick>),
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room(room) => write!(f, "{room}"),
            Self::Nick(nick) => write!(f, "{nick}"),
        }
    }
}

/// Where an event stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// In a room.
    Room(RoomName),
    /// Between two.
    Told {
        /// Who they are.
        told: DirectMessage,
        /// The compared forms of the nicks that may still read it: who gives a nick up leaves that behind.
        readers: Vec<Box<str>>,
    },
}

/// Who said something, and where.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Where.
    pub home: Home,
    /// The author.
    pub nick: String,
    /// What it is, if it can be taken back and has not been.
    pub removable: Option<Removed>,
}

/// Which events of a room: those after one id, up to and including another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The id before the first; 0 for the beginning.
    pub after: u64,
    /// The last one.
    pub up_to: u64,
}

/// Where events are kept. All but [`Log::append`] may block.
pub trait Log: Send + Sync {
    /// Hands an entry over, without waiting: ids follow the order of the calls. Returns what has become of it
    /// if that is known at once; otherwise the sink gets it, with its ticket.
    fn append(&self, entry: Entry, ticket: Option<Ticket>, time: Time) -> Option<Applied>;

    /// Waits until everything that was handed over is kept, or refused.
    ///
    /// # Errors
    /// When the log takes nothing more.
    fn flush(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// How long its transactions took; of a log in memory there are none.
    fn commits(&self) -> Arc<Commits> {
        Arc::default()
    }

    /// Every room that has ever been spoken in.
    ///
    /// # Errors
    /// When the log cannot be read; so with all that follow.
    fn rooms(&self) -> Result<Vec<RoomRow>, StorageError>;

    /// The events of a span, oldest first: `count` of them at most, and about `bytes`, but one at least.
    #[allow(missing_docs)]
    fn read(
        &self,
        room: &RoomName,
        span: Span,
        count: usize,
        bytes: usize,
    ) -> Result<Past, StorageError>;

    /// The span that the newest `count` events before the id `before` make up.
    #[allow(clippy::missing_errors_doc)]
    fn newest(&self, room: &RoomName, before: u64, count: usize) -> Result<Span, StorageError>;

    /// What that nick told and was told: the same as [`Log::read`] of a room. Nobody else may read it.
    #[allow(clippy::missing_errors_doc)]
    fn read_told(
        &self,
        nick: &Nick,
        span: Span,
        count: usize,
        bytes: usize,
    ) -> Result<Past, StorageError>;

    /// The same as [`Log::newest`] of that.
    #[allow(clippy::missing_errors_doc)]
    fn newest_told(&self, nick: &Nick, before: u64, count: usize) -> Result<Span, StorageError>;

    /// That nick can read none of what it told and was told so far; whoever is at the other end still can.
    #[allow(clippy::missing_errors_doc)]
    fn forget_told(&self, nick: &Nick) -> Result<(), StorageError>;

    /// The newest `count` events whose text holds all that is searched for.
    #[allow(clippy::missing_errors_doc)]
    fn search(
        &self,
        room: &RoomName,
        query: &Query,
        count: usize,
        work: &Work,
    ) -> Result<Found, StorageError>;

    /// The files of a room with an id greater than `after`, oldest first, `count` at most.
    #[allow(clippy::missing_errors_doc)]
    fn files(&self, room: &RoomName, after: u64, count: usize)
    -> Result<Vec<Record>, StorageError>;

    /// A file that can be fetched, and its room.
    #[allow(clippy::missing_errors_doc)]
    fn file(&self, id: EventId) -> Result<Option<(RoomName, NewFile)>, StorageError>;

    /// How many files can be fetched, and their bytes together.
    #[allow(clippy::missing_errors_doc)]
    fn file_totals(&self) -> Result<FileTotals, StorageError>;

    /// How many files that can be fetched have which bytes.
    #[allow(clippy::missing_errors_doc)]
    fn digests(&self) -> Result<HashMap<Digest, usize>, StorageError>;

    /// Who said what has that id.
    #[allow(clippy::missing_errors_doc)]
    fn origin(&self, id: EventId) -> Result<Option<Origin>, StorageError>;

    /// The files that were never whole when the server last ended, with their rooms and authors.
    #[allow(clippy::missing_errors_doc)]
    fn unfinished(&self) -> Result<Vec<(EventId, RoomName, String)>, StorageError>;

    /// Takes out the events that are older than that and, of those that are left, the oldest until events and
    /// files have no more than so many bytes.
    #[allow(clippy::missing_errors_doc)]
    fn trim(&self, age: Option<Age>, bytes_max: Option<u64>) -> Result<Trimmed, StorageError>;

    /// How far a named reader has got; `None` when there is none.
    #[allow(clippy::missing_errors_doc)]
    fn reader(&self, reader: &Reader) -> Result<Option<u64>, StorageError>;

    /// Moves a named reader, or makes it as one of `owner`'s.
    ///
    /// # Errors
    /// [`StorageError::TooMany`] when there are too many of that owner's, or in all; otherwise when it cannot be kept.
    fn set_reader(&self, reader: &Reader, owner: &str, seen: u64) -> Result<(), StorageError>;
}

/// What a session asks of the log.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // each is the method of its name
pub enum Question {
    Read {
        whose: Whose,
        span: Span,
        count: usize,
    },
    Newest {
        whose: Whose,
        before: u64,
        count: usize,
    },
    ForgetTold(Nick),
    Search {
        room: Arc<RoomName>,
        query: Query,
    },
    Files {
        room: Arc<RoomName>,
        after: u64,
    },
    File(EventId),
    Origin(EventId),
    Reader(Reader),
    SetReader {
        reader: Reader,
        owner: String,
        seen: u64,
    },
}

impl Question {
    /// Returns whether its answer is all that is wanted of it.
    pub fn only_reads(&self) -> bool {
        match self {
            Self::ForgetTold(_) | Self::SetReader { .. } | Self::Origin(_) => false,
            Self::Read { .. }
            | Self::Newest { .. }
            | Self::Search { .. }
            | Self::Files { .. }
            | Self::File(_)
            | Self::Reader(_) => true,
        }
    }
}

/// What the log answers.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Answer {
    Records(Past),
    Found(Found),
    Span(Span),
    File(Option<(RoomName, NewFile)>),
    Origin(Option<Origin>),
    Reader(Option<u64>),
    Done,
}

/// The most matches of a search, and files in one piece of a list.
pub const SEARCH_MAX: usize = 100;

/// About how many bytes of records are read at once: a piece that a reader which then stops holds.
const PIECE_BYTES: usize = 32 << 10;

/// Answers a question; may block.
///
/// # Errors
/// When the log cannot be read.
pub fn answer(log: &dyn Log, question: &Question) -> Result<Answer, StorageError> {
    Ok(match question {
        Question::Read { whose, span, count } => Answer::Records(match whose {
            Whose::Room(room) => log.read(room, *span, *count, PIECE_BYTES)?,
            Whose::Nick(nick) => log.read_told(nick, *span, *count, PIECE_BYTES)?,
        }),
        Question::Newest {
            whose,
            before,
            count,
        } => Answer::Span(match whose {
            Whose::Room(room) => log.newest(room, *before, *count)?,
            Whose::Nick(nick) => log.newest_told(nick, *before, *count)?,
        }),
        Question::ForgetTold(nick) => {
            log.forget_told(nick)?;
            Answer::Done
        }
        Question::Search { room, query } => {
            Answer::Found(log.search(room, query, SEARCH_MAX, &Work::begin())?)
        }
        Question::Files { room, after } => {
            Answer::Records(Past::whole(log.files(room, *after, SEARCH_MAX)?))
        }
        Question::File(id) => Answer::File(log.file(*id)?),
        Question::Origin(id) => Answer::Origin(log.origin(*id)?),
        Question::Reader(reader) => Answer::Reader(log.reader(reader)?),
        Question::SetReader {
            reader,
            owner,
            seen,
        } => {
            log.set_reader(reader, owner, *seen)?;
            Answer::Done
        }
    })
}

/// A reader that the server remembers the place of, for a script that cannot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reader {
    /// The room that it reads.
    pub room: RoomName,
    /// Whose it is: the compared form of a nick.
    pub nick: String,
    /// What it is called: the compared form of its name.
    pub name: String,
}

/// Returns the line of an event that is kept as these parts.
fn line(verb: &str, room: &str, nick: &str, id: EventId, text: &str) -> String {
    let mut line = Vec::with_capacity(verb.len() + room.len() + nick.len() + text.len() + 24);
    if verb == "FILE" {
        words(&mut line, &[verb, room, nick, &id.to_string(), text]);
    } else {
        words(&mut line, &[verb, room, nick, text]);
    }
    String::from_utf8(line).unwrap_or_default()
}
