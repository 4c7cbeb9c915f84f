//! Summaries of what the log and the accounts hold, and the reasons why storage fails.

use std::fmt;
use std::io;

use crate::protocol::{Code, EventId, RoomName};

/// The number of files, and their sizes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileTotals {
    /// Number of files.
    pub count: usize,
    /// The number and size of the files of each nick, spelled as in the log. If two files have the same contents, both
    /// count.
    pub by_nick: Vec<(String, FileSum)>,
}

/// A number of files and their total size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileSum {
    /// The number of files, including live ones.
    pub count: usize,
    /// The total size of the complete files, in bytes.
    pub bytes: u64,
}

/// A room in the log.
#[derive(Clone, Debug)]
pub struct RoomRow {
    /// The name as its creator spelled it.
    pub name: RoomName,
    /// The topic; empty if there is none.
    pub topic: String,
    /// The id of the newest event in the room.
    pub last_id: EventId,
}

/// The reason why data cannot be stored or read back. `Display` writes one line for the operator.
#[derive(Debug)]
pub enum StorageError {
    /// The database failed.
    Sqlite(rusqlite::Error),
    /// The folder or its lock cannot be used.
    Io(io::Error),
    /// Another server uses the folder.
    InUse,
    /// The log was written by a newer version of this program.
    TooNew(i64),
    /// A server of an older version is using the log.
    TooOld,
    /// An older version wrote the log, and the log may not be migrated now.
    NotMigrated,
    /// The database file is empty: it does not even contain the tables.
    Empty,
    /// The database file is empty, but the write-ahead log beside it is not.
    Lost,
    /// The server is stopping, so nothing more can be stored.
    Ended,
    /// The message or file to be removed does not exist.
    NoSuchFile,
    /// The message does not exist, is in another room, or may not be read by the user.
    NoSuchId,
    /// There is no space for another named reader.
    TooMany,
    /// Something has changed that a change depends on.
    Conflict,
    /// This server is cut off from the servers that share the chat.
    CutOff,
}

impl StorageError {
    /// Returns whether the reason is that the disk is full.
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

    /// Returns whether the change itself is the reason, so that it fails wherever it is made.
    pub fn is_outcome(&self) -> bool {
        matches!(
            self,
            Self::Conflict | Self::TooMany | Self::NoSuchId | Self::NoSuchFile
        )
    }

    /// Returns the protocol's code for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::Ended => Code::ShuttingDown,
            Self::TooMany => Code::Quota,
            Self::NoSuchFile => Code::NoSuchFile,
            Self::NoSuchId => Code::NoSuchId,
            Self::Conflict => Code::Busy,
            Self::CutOff => Code::CutOff,
            e if e.is_full() => Code::Quota,
            _ => Code::Internal,
        }
    }

    /// Returns a copy of the error, for another request that fails for the same reason.
    pub fn again(&self) -> Self {
        match self {
            Self::Sqlite(rusqlite::Error::SqliteFailure(e, text)) => {
                Self::Sqlite(rusqlite::Error::SqliteFailure(*e, text.clone()))
            }
            Self::Ended => Self::Ended,
            Self::NoSuchFile => Self::NoSuchFile,
            Self::NoSuchId => Self::NoSuchId,
            Self::TooMany => Self::TooMany,
            Self::Conflict => Self::Conflict,
            Self::CutOff => Self::CutOff,
            e => Self::Io(io::Error::other(e.to_string())),
        }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(e) => write!(f, "{e}"),
            Self::Io(e) => write!(f, "{e}"),
            Self::InUse => f.write_str("another chatd is using it"),
            Self::TooNew(version) => write!(
                f,
                "a newer chatd wrote it (version {version} of the format)"
            ),
            Self::TooOld => f.write_str("an older chatd is using it; stop that server, or run this command with the older chatd"),
            Self::NotMigrated => f.write_str("an older chatd wrote it; start chatd, which brings it up to date"),
            Self::Empty => f.write_str("its chat.db is empty, so it is not a data folder of chatd"),
            Self::Lost => f.write_str(
                "its chat.db is empty, but chat.db-wal is not: something has emptied it. Restore the folder from a backup; to start over, move both files away",
            ),
            Self::Ended => f.write_str("the server is stopping"),
            Self::NoSuchFile => f.write_str("there is nothing to remove"),
            Self::NoSuchId => f.write_str("there is no such message"),
            Self::TooMany => f.write_str("there are too many named readers"),
            Self::Conflict => f.write_str("it has been changed at the same time"),
            Self::CutOff => f.write_str("this server is cut off from the others"),
        }
    }
}

impl std::error::Error for StorageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Sqlite(e) => Some(e),
            Self::Io(e) => Some(e),
            Self::InUse
            | Self::TooNew(_)
            | Self::TooOld
            | Self::NotMigrated
            | Self::Empty
            | Self::Lost
            | Self::Ended
            | Self::NoSuchFile
            | Self::NoSuchId
            | Self::TooMany
            | Self::Conflict
            | Self::CutOff => None,
        }
    }
}

impl From<rusqlite::Error> for StorageError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Sqlite(e)
    }
}

impl From<io::Error> for StorageError {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}
