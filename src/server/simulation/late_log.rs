//! A log in memory that stores entries late, as a log on disk does, and that several servers can share.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::log::memory::MemoryLog;
use crate::log::{Log, Reader};
use crate::model::{Applied, Change, DeletedFile, Entry, PeerId, Ticket};
use crate::protocol::{Nick, Time};

/// What the servers have submitted.
#[derive(Debug, Default)]
pub(super) struct Submitted {
    /// The entries that are not stored yet.
    entries: Mutex<Vec<SubmittedEntry>>,
    /// The changes that are not decided on yet.
    changes: Mutex<Vec<SubmittedChange>>,
}

/// An entry with its ticket, and the index of its server.
type SubmittedEntry = (Arc<Entry>, Option<Ticket>, usize);

/// A change with the connection that has caused it, and the index of its server.
type SubmittedChange = (Change, Option<PeerId>, usize);

impl Submitted {
    /// Takes the entries.
    pub fn take_entries(&self) -> Vec<SubmittedEntry> {
        std::mem::take(&mut *lock(&self.entries))
    }

    /// Takes the changes.
    pub fn take_changes(&self) -> Vec<SubmittedChange> {
        std::mem::take(&mut *lock(&self.changes))
    }
}

fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().expect("no thread panics while it holds this")
}

/// The log of a server. It reads from the log that all servers share, and only remembers what the server submits.
pub(super) struct LateLog {
    log: Arc<MemoryLog>,
    submitted: Arc<Submitted>,
    server: usize,
}

impl LateLog {
    pub fn new(log: Arc<MemoryLog>, submitted: Arc<Submitted>, server: usize) -> Self {
        Self {
            log,
            submitted,
            server,
        }
    }
}

impl Log for LateLog {
    fn append(&self, entry: Arc<Entry>, ticket: Option<Ticket>, _: Time) -> Option<Applied> {
        lock(&self.submitted.entries).push((entry, ticket, self.server));
        None
    }

    fn propose(&self, change: Change, by: Option<PeerId>) {
        lock(&self.submitted.changes).push((change, by, self.server));
    }

    crate::log::read_from! { log }

    crate::log::pass_on! { log:
        fn clear_inbox(nick: &Nick) -> Vec<DeletedFile>;
        fn set_reader(reader: &Reader, owner: &str, seen: u64) -> ();
        fn forget_reader(reader: &Reader, owner: &str) -> ();
    }
}
