//! The types that the chat, the log and the accounts share: entries, access lists, bans, and the reasons why storage
//! fails.
//!
//! This module contains values and small functions on them, but no tasks, locks or files. It is the lowest layer of
//! the server. The only other module that it uses is [`crate::protocol`], for names and ids.

mod access;
mod arena;
mod budget;
mod change;
mod directory;
mod entry;
mod report;
mod storage;
mod stored_change;
mod time;

pub use access::{AclChange, RoomAcl, VersionedAcl};
pub use arena::{Arena, Id};
pub use budget::Budget;
pub use change::{Action, Change, Claim, FormerNick, Reserve, ServerName};
pub use directory::{
    Ban, Directory, Hook, IgnoredNick, Secret, Subscription, address_prefix, ignored_nick,
};
pub use entry::{
    Applied, Connected, DeletedFile, DirectMessage, Entry, EventKind, FileContents, NewFile,
    Outcome, PeerId, Reaction, Removed, Scope, Ticket, casefolded,
};
pub use report::{Checkpoint, Report, SharedReport};
pub use storage::{FileSum, FileTotals, RoomRow, StorageError};
pub use stored_change::{ReaderName, StoredChange, ValuesChange};
pub use time::{Now, millis};
