//! A log in memory that stores entries late, as a log on disk does, and that several servers can share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::log::memory::MemoryLog;
use crate::log::text::Query;
use crate::log::work::Work;
use crate::log::{
    Age, Authorship, Found, HistoryPage, HistorySource, Location, Log, Reacted, Reader, Record,
    SearchScope, Span, Trimmed,
};
use crate::model::{
    Applied, Change, DeletedFile, Entry, FileTotals, NewFile, PeerId, RoomRow, StorageError, Ticket,
};
use crate::protocol::{Digest, EventId, Nick, RoomName, Time};

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

/// Passes calls on to the log in memory.
macro_rules! pass_on {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(fn $name(&self, $($argument: $kind),*) -> Result<$result, StorageError> {
            self.log.$name($($argument),*)
        })*
    };
}

impl Log for LateLog {
    fn append(&self, entry: Arc<Entry>, ticket: Option<Ticket>, _: Time) -> Option<Applied> {
        lock(&self.submitted.entries).push((entry, ticket, self.server));
        None
    }

    fn propose(&self, change: Change, by: Option<PeerId>) {
        lock(&self.submitted.changes).push((change, by, self.server));
    }

    pass_on! {
        fn rooms() -> Vec<RoomRow>;
        fn read(room: &RoomName, span: Span, count: usize, bytes: usize) -> HistoryPage;
        fn newest(room: &RoomName, before: u64, count: usize) -> Span;
        fn read_inbox(nick: &Nick, span: Span, count: usize, bytes: usize) -> HistoryPage;
        fn newest_in_inbox(nick: &Nick, before: u64, count: usize) -> Span;
        fn clear_inbox(nick: &Nick) -> Vec<DeletedFile>;
        fn search(scope: &SearchScope, query: &Query, count: usize, work: &Work) -> Found;
        fn files(source: &HistorySource, after: u64, count: usize) -> Vec<Record>;
        fn file(id: EventId) -> Option<(Location, NewFile)>;
        fn file_totals() -> FileTotals;
        fn digests() -> HashMap<Digest, usize>;
        fn reactions(id: EventId) -> Vec<Reacted>;
        fn authorship(id: EventId) -> Option<Authorship>;
        fn unfinished() -> Vec<(EventId, Location, String)>;
        fn trim(age: Option<Age>, bytes_max: Option<u64>) -> Trimmed;
        fn sweep(now: Time) -> u64;
        fn reader(reader: &Reader) -> Option<u64>;
        fn set_reader(reader: &Reader, owner: &str, seen: u64) -> ();
        fn readers(nick: &str, owner: &str) -> Vec<(Reader, u64)>;
        fn forget_reader(reader: &Reader, owner: &str) -> ();
    }
}
