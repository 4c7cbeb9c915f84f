//! The log, which stores everything durable: the events of every room, the list of files, and the positions of named
//! readers. An event is stored here before anybody sees it.
//!
//! [`Log`] is the interface. [`sqlite`] stores the log on disk and [`memory`] in bounded memory, and both give the
//! same answers. Code above this module must not assume that its server is the only one on a log: a room's tail
//! receives what the log reports as stored, whichever server proposed it. This module knows neither sockets nor
//! sessions.

pub mod commits;
pub mod memory;
pub mod sqlite;
pub mod text;
pub mod work;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use crate::model::{
    Applied, Change, Checkpoint, DeletedFile, DirectMessage, Entry, FileTotals, NewFile, PeerId,
    Removed, Report, RoomRow, StorageError, Ticket,
};
use crate::protocol::event::EventLayout;
use crate::protocol::{Digest, Event, EventId, Nick, RoomName, Time, human, tags};
pub use commits::Commits;
use text::Query;
use work::Work;

/// A function that receives what the log reports, in order and in batches. The log calls it on a thread
/// of its own.
pub type Sink = Box<dyn Fn(Vec<Report>) + Send>;

/// A logged event as it is read back from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The event's id.
    pub id: EventId,
    /// When the event was stored.
    pub time: Time,
    /// The event's tags as they are sent, without the `@`; empty for none.
    pub tags: Box<str>,
    /// The event's line without its line ending. If the message was edited, the line has the newest text. If the
    /// message or file was removed, `-` replaces its text or name, and its tag is `removed`.
    pub line: String,
    /// The positions of the parts of the line.
    pub layout: EventLayout,
    /// The beginning of the message or file that the event answers or reacts to, if the query asked for it and it is
    /// still stored.
    pub quoted: Option<Box<str>>,
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
            quoted: None,
        }
    }

    /// Returns the size of the texts in bytes.
    pub fn bytes(&self) -> usize {
        let quoted = self.quoted.as_deref().map_or(0, str::len);
        self.tags.len() + self.line.len() + quoted
    }

    /// Returns the id of the message or file that the event answers or reacts to, and the event's place.
    fn answered(&self) -> Option<(EventId, &str)> {
        let event = self.layout.event(&self.line)?;
        let id = human::answered(&event, &self.tags)?;
        Some((id, self.layout.place(&self.line)?))
    }

    /// Returns the author of the message or file, and how it begins.
    fn beginning(&self) -> Option<Box<str>> {
        let event = self.layout.event(&self.line)?;
        Some(human::beginning(&event, &self.tags)?.into())
    }
}

/// A page of events read back from the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryPage {
    /// The records, oldest first.
    pub records: Vec<Record>,
    /// Whether some older events of the requested span are no longer stored.
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

/// The age at which events expire.
#[derive(Clone, Copy, Debug)]
pub struct Age {
    /// Events before this time expire.
    pub before: Time,
    /// The current time. An event with a later time was stored while the clock was wrong, and expires together with
    /// its neighbours.
    pub now: Time,
}

/// What a trim removed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// The number of events.
    pub events: u64,
    /// The number of bytes, including those of files.
    pub bytes: u64,
    /// The removed files that could be downloaded until then.
    pub files: Vec<DeletedFile>,
    /// The rooms whose last stored event was removed, each with the id of that event.
    pub rooms: Vec<(RoomName, EventId)>,
}

impl Trimmed {
    /// Adds what another step of the same trim removed.
    fn add(&mut self, more: Self) {
        self.events += more.events;
        self.bytes += more.bytes;
        self.files.extend(more.files);
        self.rooms.extend(more.rooms);
    }
}

/// What a search covers. A search of rooms never covers direct messages.
#[derive(Clone, Debug)]
pub enum SearchScope {
    /// One room.
    Room(Arc<RoomName>),
    /// All rooms except these, which are given by their casefolded names.
    AllBut(Arc<HashSet<Box<str>>>),
    /// The inbox of a nick. Only that nick may see the result.
    Inbox(Arc<Nick>),
}

/// The matches of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The matching events, oldest first.
    pub records: Vec<Record>,
    /// Whether the search ran out of time, so that older matches may be missing.
    pub is_cut: bool,
}

/// The room or nick whose history is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistorySource {
    /// The history of a room.
    Room(Arc<RoomName>),
    /// The inbox of a nick: the direct messages that the nick sent or received.
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

/// The place of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A room.
    Room(RoomName),
    /// The inboxes of two nicks.
    Inbox {
        /// The two nicks.
        message: DirectMessage,
        /// The nicks (in comparison form) that may still read the message: the sender, the recipient, both or neither.
        /// A user who releases a nick loses its inbox.
        readers: Vec<Box<str>>,
    },
}

/// The author and the place of an event.
#[derive(Clone, Debug)]
pub struct Authorship {
    /// The room or inboxes of the event.
    pub location: Location,
    /// The author's nick.
    pub nick: String,
    /// What `REMOVE` would remove; `None` if the event cannot be removed or has been removed already.
    pub removable: Option<Removed>,
}

/// A range of the events of a room or inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The id after which the range begins; 0 if it begins with the oldest event.
    pub after: u64,
    /// The id of the last event.
    pub up_to: u64,
}

/// A store of events. Every method except [`Log::append`] may block.
pub trait Log: Send + Sync {
    /// Submits an entry without waiting. Ids are given in the order of the calls. If the outcome is known at once,
    /// returns it; otherwise the sink receives it later, with the ticket.
    fn append(&self, entry: Arc<Entry>, ticket: Option<Ticket>, time: Time) -> Option<Applied>;

    /// Submits a change that the servers on this log have to decide on, without waiting. `by` is the connection that has
    /// caused the change. A log that only one server uses is never given a change.
    fn propose(&self, change: Change, by: Option<PeerId>) {
        debug_assert!(false, "nobody decides on {change:?} of {by:?}");
    }

    /// Accepts entries and changes again. After it has reported that this server's epoch has ended, a log that several
    /// servers share refuses everything until this is called.
    fn accept_again(&self) {}

    /// Records whether the chat knows everything that a log that several servers share has reported, so that the server
    /// may serve clients.
    fn set_caught_up(&self, _is_caught_up: bool) {}

    /// Stores where the server is in the log, with what all servers agree on.
    fn remember(&self, _checkpoint: Checkpoint, _state: String) {}

    /// Waits until everything that was submitted is stored or refused.
    ///
    /// # Errors
    /// When the log no longer accepts entries.
    fn flush(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Returns the histogram of transaction times. It is empty for a log in memory.
    fn commits(&self) -> Arc<Commits> {
        Arc::default()
    }

    /// Returns every room that has had an event and was not removed.
    ///
    /// # Errors
    /// When the log cannot be read. This is also true of all methods below.
    fn rooms(&self) -> Result<Vec<RoomRow>, StorageError>;

    /// Returns the time of the newest event; `None` if the log is empty or in memory.
    #[allow(clippy::missing_errors_doc)]
    fn newest_time(&self) -> Result<Option<Time>, StorageError> {
        Ok(None)
    }

    /// Reads the events of a span, oldest first. Returns at most `count` events and about `bytes` bytes, but at least
    /// one event.
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

    /// Reads the inbox of a nick, with the same limits as [`Log::read`]. Only that nick may see the result.
    #[allow(clippy::missing_errors_doc)]
    fn read_inbox(
        &self,
        nick: &Nick,
        span: Span,
        count: usize,
        bytes: usize,
    ) -> Result<HistoryPage, StorageError>;

    /// Returns the span that covers the newest `count` events before the id `before` in the inbox of a nick.
    #[allow(clippy::missing_errors_doc)]
    fn newest_in_inbox(&self, nick: &Nick, before: u64, count: usize)
    -> Result<Span, StorageError>;

    /// Empties the inbox of a nick. The other participants of its conversations keep their copies. Deletes the files
    /// that nobody may read any more, and returns them.
    #[allow(clippy::missing_errors_doc)]
    fn clear_inbox(&self, nick: &Nick) -> Result<Vec<DeletedFile>, StorageError>;

    /// Returns the newest `count` events whose text contains every phrase of the query.
    #[allow(clippy::missing_errors_doc)]
    fn search(
        &self,
        scope: &SearchScope,
        query: &Query,
        count: usize,
        work: &Work,
    ) -> Result<Found, StorageError>;

    /// Lists files of a room or inbox, oldest first: at most `count` of the files whose ids are greater than `after`.
    #[allow(clippy::missing_errors_doc)]
    fn files(
        &self,
        source: &HistorySource,
        after: u64,
        count: usize,
    ) -> Result<Vec<Record>, StorageError>;

    /// Returns a file that can be downloaded, and its place.
    #[allow(clippy::missing_errors_doc)]
    fn file(&self, id: EventId) -> Result<Option<(Location, NewFile)>, StorageError>;

    /// Returns the number and total size of the files that can be downloaded.
    #[allow(clippy::missing_errors_doc)]
    fn file_totals(&self) -> Result<FileTotals, StorageError>;

    /// Returns the digests of the files that can be downloaded, each with the number of files that have this digest.
    #[allow(clippy::missing_errors_doc)]
    fn digests(&self) -> Result<HashMap<Digest, usize>, StorageError>;

    /// Lists the reactions to an event, oldest first.
    #[allow(clippy::missing_errors_doc)]
    fn reactions(&self, id: EventId) -> Result<Vec<Reacted>, StorageError>;

    /// Returns the author and the place of the event with the id `id`.
    #[allow(clippy::missing_errors_doc)]
    fn authorship(&self, id: EventId) -> Result<Option<Authorship>, StorageError>;

    /// Returns the files whose upload had not ended when the server last stopped, each with its place and author.
    #[allow(clippy::missing_errors_doc)]
    fn unfinished(&self) -> Result<Vec<(EventId, Location, String)>, StorageError>;

    /// Removes the events that have expired according to `age`. Then removes the oldest of the other events until all
    /// events and files take at most `bytes_max` bytes.
    #[allow(clippy::missing_errors_doc)]
    fn trim(&self, age: Option<Age>, bytes_max: Option<u64>) -> Result<Trimmed, StorageError>;

    /// Deletes the remaining events of deleted rooms, in pieces, and returns their number. Also deletes the named
    /// readers that, at the time `now`, have been unused for too long. `now` must come from a trusted clock.
    #[allow(clippy::missing_errors_doc)]
    fn sweep(&self, now: Time) -> Result<u64, StorageError>;

    /// Returns the position of a named reader; `None` if it does not exist.
    #[allow(clippy::missing_errors_doc)]
    fn reader(&self, reader: &Reader) -> Result<Option<u64>, StorageError>;

    /// Sets the position of a named reader. If the reader does not exist, creates it for `owner`. If the reader exists
    /// but has another owner, and `owner` is the reader's own nick (which is then a registered nick), the nick becomes
    /// the owner, unless it already owns too many readers.
    ///
    /// # Errors
    /// [`StorageError::TooMany`] when a reader must be created, but `owner` or the whole server already has too many.
    /// Other errors when the position cannot be stored.
    fn set_reader(&self, reader: &Reader, owner: &str, seen: u64) -> Result<(), StorageError>;

    /// Returns those named readers of the nick `nick` whose owner is `owner`, each with its position. They are ordered
    /// by room and name. Read markers of IRC clients are left out.
    #[allow(clippy::missing_errors_doc)]
    fn readers(&self, nick: &str, owner: &str) -> Result<Vec<(Reader, u64)>, StorageError>;

    /// Deletes a named reader if `owner` owns it.
    #[allow(clippy::missing_errors_doc)]
    fn forget_reader(&self, reader: &Reader, owner: &str) -> Result<(), StorageError>;
}

/// Passes methods of [`Log`] on to the log in a field.
macro_rules! pass_on {
    ($to:ident: $(fn $name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(fn $name(&self, $($argument: $kind),*) -> Result<$result, $crate::model::StorageError> {
            self.$to.$name($($argument),*)
        })*
    };
}

/// Passes those methods of [`Log`] on to the log in a field that are the same wherever something is published: they read,
/// or delete what has expired.
macro_rules! read_from {
    ($to:ident) => {
        $crate::log::pass_on! { $to:
            fn rooms() -> Vec<$crate::model::RoomRow>;
            fn newest_time() -> Option<$crate::protocol::Time>;
            fn read(room: &$crate::protocol::RoomName, span: $crate::log::Span, count: usize, bytes: usize)
                -> $crate::log::HistoryPage;
            fn newest(room: &$crate::protocol::RoomName, before: u64, count: usize) -> $crate::log::Span;
            fn read_inbox(nick: &$crate::protocol::Nick, span: $crate::log::Span, count: usize, bytes: usize)
                -> $crate::log::HistoryPage;
            fn newest_in_inbox(nick: &$crate::protocol::Nick, before: u64, count: usize) -> $crate::log::Span;
            fn search(
                scope: &$crate::log::SearchScope,
                query: &$crate::log::text::Query,
                count: usize,
                work: &$crate::log::work::Work
            ) -> $crate::log::Found;
            fn files(source: &$crate::log::HistorySource, after: u64, count: usize) -> Vec<$crate::log::Record>;
            fn file(id: $crate::protocol::EventId)
                -> Option<($crate::log::Location, $crate::model::NewFile)>;
            fn file_totals() -> $crate::model::FileTotals;
            fn digests() -> std::collections::HashMap<$crate::protocol::Digest, usize>;
            fn reactions(id: $crate::protocol::EventId) -> Vec<$crate::log::Reacted>;
            fn authorship(id: $crate::protocol::EventId) -> Option<$crate::log::Authorship>;
            fn unfinished() -> Vec<($crate::protocol::EventId, $crate::log::Location, String)>;
            fn trim(age: Option<$crate::log::Age>, bytes_max: Option<u64>) -> $crate::log::Trimmed;
            fn sweep(now: $crate::protocol::Time) -> u64;
            fn reader(reader: &$crate::log::Reader) -> Option<u64>;
            fn readers(nick: &str, owner: &str) -> Vec<($crate::log::Reader, u64)>;
        }
    };
}

pub(crate) use {pass_on, read_from};

/// A query that a session sends to the log.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // each variant is named after its method
pub enum LogQuery {
    Read {
        source: HistorySource,
        span: Span,
        count: usize,
        /// Whether the records contain what they answer or react to.
        quotes: bool,
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
        quotes: bool,
    },
    Files {
        source: HistorySource,
        after: u64,
    },
    File(EventId),
    Authorship(EventId),
    /// Requests the author and place of an event, and the reactions to it.
    Reactions(EventId),
    Reader(Reader),
    SetReader {
        reader: Reader,
        owner: String,
        seen: u64,
    },
    Readers {
        nick: String,
        owner: String,
    },
    ForgetReader {
        reader: Reader,
        owner: String,
    },
}

impl LogQuery {
    /// Returns whether the query changes nothing, and no change depends on its answer.
    pub fn only_reads(&self) -> bool {
        match self {
            Self::ClearInbox(_)
            | Self::SetReader { .. }
            | Self::ForgetReader { .. }
            | Self::Authorship(_) => false,
            Self::Read { .. }
            | Self::Newest { .. }
            | Self::Search { .. }
            | Self::Files { .. }
            | Self::File(_)
            | Self::Reactions(_)
            | Self::Reader(_)
            | Self::Readers { .. } => true,
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
    File(Option<(Location, NewFile)>),
    Authorship(Option<Authorship>),
    Reactions(Option<Authorship>, Vec<Reacted>),
    Reader(Option<u64>),
    Readers(Vec<(Reader, u64)>),
    Cleared(Vec<DeletedFile>),
    Done,
}

/// The maximum number of events that a search returns. It is also the maximum number of files that one
/// [`LogQuery::Files`] returns; a longer list takes several queries.
pub const SEARCH_MAX: usize = 100;

/// The approximate number of bytes of records that are read at once. A client that stops reading its replies occupies
/// this much memory.
const PIECE_BYTES: usize = 32 << 10;

/// Runs a query. May block.
///
/// # Errors
/// When the log cannot be read.
pub fn run_query(log: &dyn Log, query: &LogQuery) -> Result<LogResult, StorageError> {
    Ok(match query {
        LogQuery::Read {
            source,
            span,
            count,
            quotes,
        } => {
            let (mut page, inbox) = match source {
                HistorySource::Room(room) => (log.read(room, *span, *count, PIECE_BYTES)?, None),
                HistorySource::Inbox(nick) => (
                    log.read_inbox(nick, *span, *count, PIECE_BYTES)?,
                    Some(nick),
                ),
            };
            if *quotes {
                add_quoted(log, &mut page.records, inbox, PIECE_BYTES)?;
            }
            LogResult::Records(page)
        }
        LogQuery::Newest {
            source,
            before,
            count,
        } => LogResult::Span(match source {
            HistorySource::Room(room) => log.newest(room, *before, *count)?,
            HistorySource::Inbox(nick) => log.newest_in_inbox(nick, *before, *count)?,
        }),
        LogQuery::ClearInbox(nick) => LogResult::Cleared(log.clear_inbox(nick)?),
        LogQuery::Search {
            scope,
            query,
            quotes,
        } => {
            let mut found = log.search(scope, query, SEARCH_MAX, &Work::begin())?;
            if *quotes {
                let inbox = match scope {
                    SearchScope::Inbox(nick) => Some(nick),
                    SearchScope::Room(_) | SearchScope::AllBut(_) => None,
                };
                add_quoted(log, &mut found.records, inbox, usize::MAX)?;
            }
            LogResult::Found(found)
        }
        LogQuery::Files { source, after } => LogResult::Records(HistoryPage::complete(
            log.files(source, *after, SEARCH_MAX)?,
        )),
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
        LogQuery::Readers { nick, owner } => LogResult::Readers(log.readers(nick, owner)?),
        LogQuery::ForgetReader { reader, owner } => {
            log.forget_reader(reader, owner)?;
            LogResult::Done
        }
    })
}

/// Adds to each record the beginning of the message or file that it answers or reacts to. `records` are in the order of
/// their ids; they are from the inbox of `inbox` or, without it, from rooms. Drops the records after the first `bytes_max`
/// bytes, but not the first one.
fn add_quoted(
    log: &dyn Log,
    records: &mut Vec<Record>,
    inbox: Option<&Arc<Nick>>,
    bytes_max: usize,
) -> Result<(), StorageError> {
    let mut known: HashMap<EventId, Option<Box<str>>> = HashMap::new();
    let (mut at, mut bytes) = (0, 0);
    while bytes < bytes_max
        && let Some(record) = records.get(at)
    {
        let quoted = match record.answered() {
            None => None,
            Some((id, place)) => match known.get(&id) {
                Some(quoted) => quoted.clone(),
                None => {
                    let quoted = quoted(log, records, (id, place), inbox)?;
                    known.insert(id, quoted.clone());
                    quoted
                }
            },
        };
        if let Some(record) = records.get_mut(at) {
            record.quoted = quoted;
            bytes += record.bytes();
        }
        at += 1;
    }
    records.truncate(at);
    Ok(())
}

/// Returns the beginning of the message or file with an id and place, which may be one of `records`; `None` if it is not
/// stored any more.
fn quoted(
    log: &dyn Log,
    records: &[Record],
    (id, place): (EventId, &str),
    inbox: Option<&Arc<Nick>>,
) -> Result<Option<Box<str>>, StorageError> {
    if let Ok(at) = records.binary_search_by_key(&id, |record| record.id) {
        return Ok(records.get(at).and_then(Record::beginning));
    }
    let span = Span {
        after: id.get() - 1,
        up_to: id.get(),
    };
    let page = match (inbox, RoomName::parse(place)) {
        (Some(nick), _) => log.read_inbox(nick, span, 1, PIECE_BYTES)?,
        (None, Ok(room)) => log.read(&room, span, 1, PIECE_BYTES)?,
        (None, Err(_)) => return Ok(None),
    };
    Ok(page.records.first().and_then(Record::beginning))
}

/// A named reader. The server stores its position, for scripts that cannot store it themselves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reader {
    /// What the reader reads: the comparison form of a room's name, or, for the direct messages exchanged with a nick,
    /// `@` and the comparison form of that nick.
    pub place: Box<str>,
    /// The comparison form of the nick that uses the reader. The owner is stored separately: it is this nick, or the
    /// address of a user who has not registered the nick.
    pub nick: String,
    /// The comparison form of the reader's name; it begins with `@` for the read marker of IRC clients.
    pub name: String,
}

impl Reader {
    /// Returns whether this is the read marker of IRC clients.
    pub fn is_marker(&self) -> bool {
        self.name.starts_with('@')
    }
}

/// A reaction, as a list of reactions shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Reacted {
    pub nick: String,
    pub emoji: String,
}

/// Returns the tags of an event: those of its author, the time of its last edit, and the reactions to it.
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::memory::MemoryLog;
    use super::sqlite::SqliteLog;
    use super::*;
    use crate::model::{EventKind, FileContents, Outcome, Scope};
    use crate::protocol::{Code, FileName};

    /// Another server may complete a file while this one decides to remove it. The removal says which contents are
    /// released, so it must not be done without them.
    fn check_a_removal_knows_the_contents(mut append: impl FnMut(EventKind) -> Outcome) {
        let contents = FileContents {
            length: 2,
            sha256: Digest([7; 32]),
        };
        let file = NewFile {
            name: FileName::parse("log.txt").unwrap(),
            contents: None,
        };
        let (id, _) = append(EventKind::File(file.into())).unwrap();
        let id = id.unwrap();
        let remove = |contents| {
            let owner = "ann".into();
            EventKind::Remove(id, Removed::File { owner, contents }.into())
        };
        append(EventKind::Stored(id, contents.into())).unwrap();
        assert_eq!(append(remove(None)), Err(Code::Busy));
        append(remove(Some(contents))).unwrap();
    }

    #[test]
    fn a_file_that_became_complete_is_not_removed_as_a_live_one() {
        let entry = |kind| {
            let scope = Scope::Room(RoomName::parse("#tea").unwrap().into());
            Arc::new(Entry::new(scope, kind, "ann", ""))
        };
        let memory = MemoryLog::new(0, 1 << 20);
        check_a_removal_knows_the_contents(|kind| {
            let applied = memory.append(entry(kind), None, Time(1));
            applied.expect("it is known at once").outcome
        });
        let (tell, outcomes) = channel();
        let folder = tempfile::tempdir().unwrap();
        let sink = move |batch: Vec<Report>| {
            for applied in batch.into_iter().filter_map(Report::applied) {
                tell.send(applied.outcome).unwrap();
            }
        };
        let disk = SqliteLog::open(folder.path(), Box::new(sink)).unwrap();
        check_a_removal_knows_the_contents(|kind| {
            disk.append(entry(kind), None, Time(1));
            outcomes.recv().unwrap()
        });
    }
}
