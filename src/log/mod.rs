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

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::chat::{Draft, NewFile, Removed, Told, What, Whole};
use crate::protocol::{Code, Digest, EventId, Nick, RoomName, Time};
pub use commits::Commits;
use text::Query;
use work::Work;

/// A draft on its way into the log.
#[derive(Debug)]
pub struct Entry {
    /// The room it stands in; `None` for what is told to one nick, which is kept if its draft says between
    /// whom, and otherwise keeps its turn.
    pub room: Option<Arc<RoomName>>,
    /// What is said.
    pub draft: Draft,
}

/// What became of an entry.
pub type Outcome = Result<(Option<EventId>, Time), Code>;

/// Takes what is kept, in order, batch by batch; called on the log's own thread.
pub type Sink = Box<dyn Fn(Vec<(Draft, Outcome)>) + Send>;

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

/// How many files there are, and their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileTotals {
    /// Files.
    pub count: usize,
    /// Bytes of those of each nick, as it is spelt there; the same bytes in two files count twice.
    pub by_nick: Vec<(String, u64)>,
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
    pub files: Vec<(String, Option<Whole>)>,
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

/// The most named readers of one owner: a registered nick or, for those whom nobody has registered, an address.
pub const READERS_PER_OWNER: usize = 256;

/// The most named readers in all.
pub const READERS_IN_ALL: usize = 50_000;

/// How long a named reader is kept that nobody moves.
pub const READER_UNUSED_FOR: Duration = Duration::from_secs(90 * 86_400);

/// What a search has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Oldest first.
    pub records: Vec<Record>,
    /// Its time was over before all was looked at: older ones may be missing.
    pub is_cut: bool,
}

/// A room as the log knows it.
#[derive(Clone, Debug)]
pub struct RoomRow {
    /// As its maker spelt it.
    pub name: RoomName,
    /// Empty when there is none.
    pub topic: String,
    /// Its newest event.
    pub last_id: EventId,
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
        told: Told,
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

/// Why the log cannot answer or keep; `Display` is one line for the operator.
#[derive(Debug)]
pub enum Error {
    /// The database.
    Sqlite(rusqlite::Error),
    /// The folder or its lock.
    Io(io::Error),
    /// Another server uses the folder.
    InUse,
    /// It was written by a newer version of this program.
    TooNew(i64),
    /// A server of an older version of this program uses it.
    TooOld,
    /// There is nothing in it, not even its tables.
    Empty,
    /// There is nothing in it, but what was last written stands beside it.
    Lost,
    /// It takes nothing more, since the server ends.
    Ended,
    /// What is to be taken back is not there.
    NoSuchFile,
    /// There is no place for one more reader.
    TooMany,
}

impl Error {
    /// Returns whether there is no space left.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Sqlite(e) => e.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            Self::Io(e) => matches!(
                e.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            _ => false,
        }
    }

    /// Returns the code with which a request is refused for this reason.
    pub fn code(&self) -> Code {
        match self {
            Self::Ended => Code::ShuttingDown,
            Self::TooMany => Code::Quota,
            e if e.is_full() => Code::Quota,
            _ => Code::Internal,
        }
    }

    /// The same for one more request that fails by it.
    fn again(&self) -> Self {
        match self {
            Self::Sqlite(rusqlite::Error::SqliteFailure(e, text)) => {
                Self::Sqlite(rusqlite::Error::SqliteFailure(*e, text.clone()))
            }
            Self::Ended => Self::Ended,
            Self::NoSuchFile => Self::NoSuchFile,
            Self::TooMany => Self::TooMany,
            e => Self::Io(io::Error::other(e.to_string())),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(e) => write!(f, "{e}"),
            Self::Io(e) => write!(f, "{e}"),
            Self::InUse => f.write_str("another chatd is using it"),
            Self::TooNew(version) => write!(
                f,
                "it was written by a newer chatd (version {version} of its format)"
            ),
            Self::TooOld => f.write_str("an older chatd is using it; stop that, or use its own commands"),
            Self::Empty => f.write_str("its chat.db is empty, so it is no data folder of chatd"),
            Self::Lost => f.write_str(
                "its chat.db is empty and chat.db-wal is not, so something has emptied it: bring the folder back from a backup; to begin anew, move both files away",
            ),
            Self::Ended => f.write_str("the server is stopping"),
            Self::NoSuchFile => f.write_str("there is nothing to take back"),
            Self::TooMany => f.write_str("there are too many readers"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Sqlite(e) => Some(e),
            Self::Io(e) => Some(e),
            Self::InUse
            | Self::TooNew(_)
            | Self::TooOld
            | Self::Empty
            | Self::Lost
            | Self::Ended
            | Self::NoSuchFile
            | Self::TooMany => None,
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(e: rusqlite::Error) -> Self {
        Self::Sqlite(e)
    }
}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// Where events are kept. All but [`Log::append`] may block.
pub trait Log: Send + Sync {
    /// Hands an entry over to be kept, without waiting: ids follow the order of the calls. Comes back
    /// with the outcome if that is known at once; otherwise the sink gets it.
    fn append(&self, entry: Entry, time: Time) -> Option<(Draft, Outcome)>;

    /// How long its transactions took; of a log in memory there are none.
    fn commits(&self) -> Arc<Commits> {
        Arc::default()
    }

    /// Every room that has ever been spoken in.
    ///
    /// # Errors
    /// When the log cannot be read; so with all that follow.
    fn rooms(&self) -> Result<Vec<RoomRow>, Error>;

    /// The events of a span, oldest first: `count` of them at most, and about `bytes`, but one at least.
    #[allow(missing_docs)]
    fn read(&self, room: &RoomName, span: Span, count: usize, bytes: usize) -> Result<Past, Error>;

    /// The span that the newest `count` events before the id `before` make up.
    #[allow(clippy::missing_errors_doc)]
    fn newest(&self, room: &RoomName, before: u64, count: usize) -> Result<Span, Error>;

    /// What that nick told and was told: the same as [`Log::read`] of a room. Nobody else may read it.
    #[allow(clippy::missing_errors_doc)]
    fn read_told(&self, nick: &Nick, span: Span, count: usize, bytes: usize)
    -> Result<Past, Error>;

    /// The same as [`Log::newest`] of that.
    #[allow(clippy::missing_errors_doc)]
    fn newest_told(&self, nick: &Nick, before: u64, count: usize) -> Result<Span, Error>;

    /// That nick can read none of what it told and was told so far; whoever is at the other end still can.
    #[allow(clippy::missing_errors_doc)]
    fn forget_told(&self, nick: &Nick) -> Result<(), Error>;

    /// The newest `count` events whose text holds all that is searched for.
    #[allow(clippy::missing_errors_doc)]
    fn search(
        &self,
        room: &RoomName,
        query: &Query,
        count: usize,
        work: &Work,
    ) -> Result<Found, Error>;

    /// The files of a room with an id greater than `after`, oldest first, `count` at most.
    #[allow(clippy::missing_errors_doc)]
    fn files(&self, room: &RoomName, after: u64, count: usize) -> Result<Vec<Record>, Error>;

    /// A file that can be fetched, and its room.
    #[allow(clippy::missing_errors_doc)]
    fn file(&self, id: EventId) -> Result<Option<(RoomName, NewFile)>, Error>;

    /// How many files can be fetched, and their bytes together.
    #[allow(clippy::missing_errors_doc)]
    fn file_totals(&self) -> Result<FileTotals, Error>;

    /// How many files that can be fetched have which bytes.
    #[allow(clippy::missing_errors_doc)]
    fn digests(&self) -> Result<HashMap<Digest, usize>, Error>;

    /// Who said what has that id.
    #[allow(clippy::missing_errors_doc)]
    fn origin(&self, id: EventId) -> Result<Option<Origin>, Error>;

    /// The files that were never whole when the server last ended, with their rooms and authors.
    #[allow(clippy::missing_errors_doc)]
    fn unfinished(&self) -> Result<Vec<(EventId, RoomName, String)>, Error>;

    /// Takes out the events that are older than that and, of those that are left, the oldest until events and
    /// files have no more than so many bytes.
    #[allow(clippy::missing_errors_doc)]
    fn trim(&self, age: Option<Age>, bytes_max: Option<u64>) -> Result<Trimmed, Error>;

    /// How far a named reader has got; `None` when there is none.
    #[allow(clippy::missing_errors_doc)]
    fn reader(&self, reader: &Reader) -> Result<Option<u64>, Error>;

    /// Moves a named reader, or makes it as one of `owner`'s.
    ///
    /// # Errors
    /// [`Error::TooMany`] when there are too many of that owner's, or in all; otherwise when it cannot be kept.
    fn set_reader(&self, reader: &Reader, owner: &str, seen: u64) -> Result<(), Error>;
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
pub fn answer(log: &dyn Log, question: &Question) -> Result<Answer, Error> {
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

impl Draft {
    /// Its verb, nick and text as they are kept.
    fn parts(&self) -> (&'static str, &str, Cow<'_, str>) {
        let (nick, text) = self.nick_and_text();
        match &self.what {
            What::Msg => ("MSG", nick, text.into()),
            What::Me => ("ME", nick, text.into()),
            What::Topic => ("TOPIC", nick, text.into()),
            What::Remove(..) => ("REMOVE", nick, text.into()),
            What::File(file) => ("FILE", nick, file.described().into()),
            What::Stored(..) => ("STORED", nick, text.into()),
        }
    }
}

/// The line of an event that is kept as these parts.
fn line(verb: &str, room: &str, nick: &str, id: EventId, text: &str) -> String {
    let mut line = String::with_capacity(verb.len() + room.len() + nick.len() + text.len() + 24);
    let mut push = |word: &str| {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    };
    for word in [verb, room, nick] {
        push(word);
    }
    if verb == "FILE" {
        push(&id.to_string());
    }
    if !text.is_empty() {
        push(text);
    }
    line
}
