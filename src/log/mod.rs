//! Stores everything durable: the logged events of every room, the announced files, and the positions of
//! named readers. An event is stored here before anybody sees it.
//!
//! [`Log`] is the seam: [`sqlite`] stores the log on disk, [`memory`] in bounded memory, and both give the
//! same answers. Nothing above this module may assume that its server is the only one on a log: a room's
//! tail is fed with what the log reports as stored, whichever server it came from. This module knows
//! neither sockets nor sessions.

pub mod commits;
pub mod memory;
pub mod sqlite;
pub mod text;
pub mod work;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use crate::model::{
    Applied, DeletedFile, DirectMessage, Entry, FileTotals, NewFile, Removed, RoomRow,
    StorageError, Ticket,
};
use crate::protocol::event::EventLayout;
use crate::protocol::multiline::TEXT_LINES_MAX;
use crate::protocol::{Digest, Event, EventId, Nick, RoomName, Time, tags};
pub use commits::Commits;
use text::Query;
use work::Work;

/// Receives what the log has stored or refused, in order and in batches; called on the log's own thread.
pub type Sink = Box<dyn Fn(Vec<Applied>) + Send>;

/// A logged event as it is read back, with the line that was sent at the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The event's id.
    pub id: EventId,
    /// When the event was stored.
    pub time: Time,
    /// The event's tags as they are sent, without the `@`; empty for none.
    pub tags: Box<str>,
    /// The event's line without its line ending; `-` replaces the text or file name of what was removed.
    pub line: String,
    /// Where the parts of the line are.
    pub layout: EventLayout,
}

impl Record {
    /// Returns the record of an event.
    fn of(id: EventId, time: Time, tags: Box<str>, event: &Event<'_>) -> Self {
        let (line, layout) = (event.to_string(), event.layout());
        Self {
            id,
            time,
            tags,
            line,
            layout,
        }
    }

    /// Returns how many bytes its text takes.
    pub fn bytes(&self) -> usize {
        self.tags.len() + self.line.len()
    }
}

/// A page of events read back from the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryPage {
    /// Oldest first.
    pub records: Vec<Record>,
    /// Whether some older events of the span are no longer stored.
    pub has_hole: bool,
}

impl HistoryPage {
    fn complete(records: Vec<Record>) -> Self {
        Self {
            records,
            has_hole: false,
        }
    }
}

/// Which events are old enough to expire.
#[derive(Clone, Copy, Debug)]
pub struct Age {
    /// Events before this time expire.
    pub before: Time,
    /// Events after this time were stored under a wrong clock and expire with their neighbours.
    pub now: Time,
}

/// The counts of what a trim removed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Number of events.
    pub events: u64,
    /// Number of bytes, including files.
    pub bytes: u64,
    /// The files that could be fetched.
    pub files: Vec<DeletedFile>,
    /// The rooms that hold nothing any more, and their last events.
    pub rooms: Vec<(RoomName, EventId)>,
}

impl Trimmed {
    /// Adds what a later step removed.
    fn add(&mut self, more: Self) {
        self.events += more.events;
        self.bytes += more.bytes;
        self.files.extend(more.files);
        self.rooms.extend(more.rooms);
    }
}

/// The rooms that a search covers. Private messages are in none.
#[derive(Clone, Debug)]
pub enum SearchScope {
    /// One room.
    Room(Arc<RoomName>),
    /// All rooms but these, by the form in which names are compared.
    AllBut(Arc<HashSet<Box<str>>>),
}

/// Matches of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Oldest first.
    pub records: Vec<Record>,
    /// Whether the search ran out of time, so that older matches may be missing.
    pub is_cut: bool,
}

/// Whose history is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistorySource {
    /// The history of a room.
    Room(Arc<RoomName>),
    /// The inbox of a nick: direct messages that it sent or received.
    Inbox(Arc<Nick>),
}

impl fmt::Display for HistorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room(room) => write!(f, "{room}"),
            Self::Inbox(nick) => write!(f, "{nick}"),
        }
    }
}

/// Where an event belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In a room.
    Room(RoomName),
    /// In the inboxes of two nicks.
    Inbox {
        /// The two nicks.
        message: DirectMessage,
        /// The comparison forms of the nicks that may still read it: a user who releases a nick leaves its
        /// inbox behind.
        readers: Vec<Box<str>>,
    },
}

/// The sender and place of an event.
#[derive(Clone, Debug)]
pub struct Authorship {
    /// The event's room or inboxes.
    pub location: Location,
    /// The author's nick.
    pub nick: String,
    /// What a removal would remove; `None` if the event cannot be removed or already is.
    pub removable: Option<Removed>,
}

/// A range of a room's events: those after one id, up to and including another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The id before the first event; 0 for the beginning.
    pub after: u64,
    /// The id of the last event.
    pub up_to: u64,
}

/// A store of events. Every method except [`Log::append`] may block.
pub trait Log: Send + Sync {
    /// Submits an entry without waiting; ids follow the order of the calls. Returns the outcome if it is
    /// known at once; otherwise the sink receives it, with the ticket.
    fn append(&self, entry: Arc<Entry>, ticket: Option<Ticket>, time: Time) -> Option<Applied>;

    /// Waits until everything submitted is stored or refused.
    ///
    /// # Errors
    /// When the log accepts nothing more.
    fn flush(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Returns the histogram of transaction times, which is empty for a log in memory.
    fn commits(&self) -> Arc<Commits> {
        Arc::default()
    }

    /// Returns every room that ever had an event and was not removed.
    ///
    /// # Errors
    /// When the log cannot be read; the same holds for all methods that follow.
    fn rooms(&self) -> Result<Vec<RoomRow>, StorageError>;

    /// Returns when the newest event was stored; `None` for a log that is lost with its server.
    #[allow(clippy::missing_errors_doc)]
    fn newest_time(&self) -> Result<Option<Time>, StorageError> {
        Ok(None)
    }

    /// Reads the events of a span, oldest first: at most `count` of them and about `bytes` bytes, but at
    /// least one.
    #[allow(missing_docs)]
    fn read(
        &self,
        room: &RoomName,
        span: Span,
        count: usize,
        bytes: usize,
    ) -> Result<HistoryPage, StorageError>;

    /// Returns the span that covers the newest `count` events before the id `before`.
    #[allow(clippy::missing_errors_doc)]
    fn newest(&self, room: &RoomName, before: u64, count: usize) -> Result<Span, StorageError>;

    /// Reads the inbox of a nick as [`Log::read`] reads a room. Only that nick may see it.
    #[allow(clippy::missing_errors_doc)]
    fn read_inbox(
        &self,
        nick: &Nick,
        span: Span,
        count: usize,
        bytes: usize,
    ) -> Result<HistoryPage, StorageError>;

    /// Returns the span that covers the newest `count` events of an inbox, as [`Log::newest`] does for a
    /// room.
    #[allow(clippy::missing_errors_doc)]
    fn newest_in_inbox(&self, nick: &Nick, before: u64, count: usize)
    -> Result<Span, StorageError>;

    /// Empties the inbox of a nick; the other end of each conversation keeps its own.
    #[allow(clippy::missing_errors_doc)]
    fn clear_inbox(&self, nick: &Nick) -> Result<(), StorageError>;

    /// Searches for the newest `count` events whose text contains every phrase of the query.
    #[allow(clippy::missing_errors_doc)]
    fn search(
        &self,
        scope: &SearchScope,
        query: &Query,
        count: usize,
        work: &Work,
    ) -> Result<Found, StorageError>;

    /// Lists at most `count` files of a room with ids greater than `after`, oldest first.
    #[allow(clippy::missing_errors_doc)]
    fn files(&self, room: &RoomName, after: u64, count: usize)
    -> Result<Vec<Record>, StorageError>;

    /// Returns a file that can be fetched, and its room.
    #[allow(clippy::missing_errors_doc)]
    fn file(&self, id: EventId) -> Result<Option<(RoomName, NewFile)>, StorageError>;

    /// Returns the number of files that can be fetched, and their total size.
    #[allow(clippy::missing_errors_doc)]
    fn file_totals(&self) -> Result<FileTotals, StorageError>;

    /// Returns how many files that can be fetched have each digest.
    #[allow(clippy::missing_errors_doc)]
    fn digests(&self) -> Result<HashMap<Digest, usize>, StorageError>;

    /// Lists the reactions to an event, oldest first.
    #[allow(clippy::missing_errors_doc)]
    fn reactions(&self, id: EventId) -> Result<Vec<Reacted>, StorageError>;

    /// Returns who sent the event with that id, and where.
    #[allow(clippy::missing_errors_doc)]
    fn authorship(&self, id: EventId) -> Result<Option<Authorship>, StorageError>;

    /// Returns the files whose upload had not ended when the server last stopped, with their rooms and
    /// authors.
    #[allow(clippy::missing_errors_doc)]
    fn unfinished(&self) -> Result<Vec<(EventId, RoomName, String)>, StorageError>;

    /// Removes the events older than `age`, then the oldest of the rest until events and files take at most
    /// `bytes_max` bytes.
    #[allow(clippy::missing_errors_doc)]
    fn trim(&self, age: Option<Age>, bytes_max: Option<u64>) -> Result<Trimmed, StorageError>;

    /// Deletes the remaining events of deleted rooms, piece by piece, and returns how many. Also deletes the
    /// readers that nobody has used for too long, by the trusted clock.
    #[allow(clippy::missing_errors_doc)]
    fn sweep(&self, now: Time) -> Result<u64, StorageError>;

    /// Returns the position of a named reader; `None` if there is none.
    #[allow(clippy::missing_errors_doc)]
    fn reader(&self, reader: &Reader) -> Result<Option<u64>, StorageError>;

    /// Moves a named reader, or creates it for `owner`.
    ///
    /// # Errors
    /// [`StorageError::TooMany`] when that owner, or the server, has too many readers; otherwise when the
    /// position cannot be stored.
    fn set_reader(&self, reader: &Reader, owner: &str, seen: u64) -> Result<(), StorageError>;
}

/// A query that a session sends to the log.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // each variant is named after its method
pub enum LogQuery {
    Read {
        source: HistorySource,
        span: Span,
        count: usize,
    },
    Newest {
        source: HistorySource,
        before: u64,
        count: usize,
    },
    ClearInbox(Nick),
    Search {
        scope: SearchScope,
        query: Query,
    },
    Files {
        room: Arc<RoomName>,
        after: u64,
    },
    File(EventId),
    Authorship(EventId),
    /// Asks for the author and place of an event, and the reactions to it.
    Reactions(EventId),
    Reader(Reader),
    SetReader {
        reader: Reader,
        owner: String,
        seen: u64,
    },
}

impl LogQuery {
    /// Returns whether the query changes nothing and leads to no change, so that only its answer matters.
    pub fn only_reads(&self) -> bool {
        match self {
            Self::ClearInbox(_) | Self::SetReader { .. } | Self::Authorship(_) => false,
            Self::Read { .. }
            | Self::Newest { .. }
            | Self::Search { .. }
            | Self::Files { .. }
            | Self::File(_)
            | Self::Reactions(_)
            | Self::Reader(_) => true,
        }
    }
}

/// The result of a [`LogQuery`].
#[derive(Debug)]
#[allow(missing_docs)]
pub enum LogResult {
    Records(HistoryPage),
    Found(Found),
    Span(Span),
    File(Option<(RoomName, NewFile)>),
    Authorship(Option<Authorship>),
    Reactions(Option<Authorship>, Vec<Reacted>),
    Reader(Option<u64>),
    Done,
}

/// The most matches of a search, and the most files in one piece of a list.
pub const SEARCH_MAX: usize = 100;

/// About how many bytes of records are read at once; a client that stops reading its replies holds that
/// much.
const PIECE_BYTES: usize = 32 << 10;

/// Runs a query; may block.
///
/// # Errors
/// When the log cannot be read.
pub fn run_query(log: &dyn Log, query: &LogQuery) -> Result<LogResult, StorageError> {
    Ok(match query {
        LogQuery::Read {
            source,
            span,
            count,
        } => LogResult::Records(match source {
            HistorySource::Room(room) => log.read(room, *span, *count, PIECE_BYTES)?,
            HistorySource::Inbox(nick) => log.read_inbox(nick, *span, *count, PIECE_BYTES)?,
        }),
        LogQuery::Newest {
            source,
            before,
            count,
        } => LogResult::Span(match source {
            HistorySource::Room(room) => log.newest(room, *before, *count)?,
            HistorySource::Inbox(nick) => log.newest_in_inbox(nick, *before, *count)?,
        }),
        LogQuery::ClearInbox(nick) => {
            log.clear_inbox(nick)?;
            LogResult::Done
        }
        LogQuery::Search { scope, query } => {
            LogResult::Found(log.search(scope, query, SEARCH_MAX, &Work::begin())?)
        }
        LogQuery::Files { room, after } => {
            LogResult::Records(HistoryPage::complete(log.files(room, *after, SEARCH_MAX)?))
        }
        LogQuery::File(id) => LogResult::File(log.file(*id)?),
        LogQuery::Authorship(id) => LogResult::Authorship(log.authorship(*id)?),
        LogQuery::Reactions(id) => LogResult::Reactions(log.authorship(*id)?, log.reactions(*id)?),
        LogQuery::Reader(reader) => LogResult::Reader(log.reader(reader)?),
        LogQuery::SetReader {
            reader,
            owner,
            seen,
        } => {
            log.set_reader(reader, owner, *seen)?;
            LogResult::Done
        }
    })
}

/// A named reader: the server remembers its position for a script that cannot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reader {
    /// The room that it reads.
    pub room: RoomName,
    /// Comparison form of the owner's nick.
    pub nick: String,
    /// Comparison form of the reader's name.
    pub name: String,
}

/// A reaction as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Reacted {
    pub nick: String,
    pub emoji: String,
}

/// Returns the tags of an event: those that its author gave it, when it was edited, and the reactions to it.
fn with_marks(sent: &str, edited: Option<Time>, reacts: &str) -> Box<str> {
    let mut tags = sent.to_owned();
    if let Some(time) = edited {
        tags::push(&mut tags, "edited", &time.to_string());
    }
    if !reacts.is_empty() {
        tags::push(&mut tags, "reacts", reacts);
    }
    tags.into()
}

/// Returns the number of lines of the text that begins with the event of these tags; 1 if it is not such a
/// text.
fn lines_of(tags: &str) -> u64 {
    let lines = tags::find(tags, "lines").and_then(|lines| lines.parse().ok());
    lines.unwrap_or(1).clamp(1, TEXT_LINES_MAX as u64)
}

/// Returns whether the event of these tags is a further line of the text that begins with `first`.
fn is_line_of(tags: &str, first: EventId) -> bool {
    tags::find(tags, "of").is_some_and(|of| EventId::parse(&of) == Some(first))
}
