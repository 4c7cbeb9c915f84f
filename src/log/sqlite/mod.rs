//! The log on disk: an SQLite database in WAL mode. One thread writes it, with group commit.
//!
//! The writer takes all waiting entries and changes, commits them in one transaction with one sync
//! (`synchronous=FULL`), and only then passes the batch to the sink. So whatever anybody has seen or was promised
//! survives a crash, and the events of a room are in the order of their ids. Queries use other connections, which the
//! writer never blocks in WAL mode.

mod amend;
mod deletion;
mod inbox;
mod maintenance;
mod nonces;
mod pool;
mod read;
mod readers;
mod replica;
mod rows;
mod schema;
mod search;
mod search_index;
mod writer;

use std::collections::HashMap;
use std::fs::File;
use std::mem::take;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, Transaction};
use tracing::warn;

pub use self::maintenance::{Imported, ImportedTo};
pub use self::schema::lock;

use self::pool::Pool;
pub(crate) use self::replica::{Message, SharedChange, Step, make_change, set_made};
pub use self::replica::{NewCopy, Position};
use self::search_index::SearchIndex;
pub(crate) use self::writer::Change;
use self::writer::{Rooms, Waiting, Writer};
use super::{
    Age, Authorship, Commits, Found, HistoryPage, HistorySource, Location, Log, Reacted, Reader,
    Record, SearchScope, Sink, Span, Trimmed, text::Query, work::Work,
};
use crate::model::{
    Applied, Checkpoint, DeletedFile, Entry, FileTotals, NewFile, RoomRow, StorageError, Ticket,
};
use crate::protocol::{Code, Digest, EventId, Nick, RoomName, Time};

/// A log in a folder.
pub struct SqliteLog {
    folder: PathBuf,
    /// The writer's queue; `None` when the writer is to end.
    queue: Mutex<Option<Sender<Waiting>>>,
    /// The search index; `None` if another process maintains it.
    index: Option<Arc<SearchIndex>>,
    /// The writer's thread and the thread of the search index.
    threads: Mutex<Vec<JoinHandle<()>>>,
    readers: Pool,
    commits: Arc<Commits>,
    /// The lock of the folder, held while the log is open; `None` for a log that is only read.
    _lock: Option<File>,
}

/// The maximum number of expired nonces that one transaction deletes. It is small enough that messages are hardly
/// delayed.
const NONCES_A_STEP: usize = 1000;

fn path(folder: &Path) -> PathBuf {
    folder.join("chat.db")
}

impl SqliteLog {
    /// Opens the log in `folder`, and creates the folder if it is missing. `sink` receives every batch once it is
    /// stored.
    ///
    /// # Errors
    /// When another server uses the folder, when a newer version wrote the log, or when the log cannot be opened.
    pub fn open(folder: &Path, sink: Sink) -> Result<Self, StorageError> {
        let lock = lock(folder)?;
        let log = path(folder);
        let mut db = match schema::open(&log) {
            // The reserved space is large enough for the files that SQLite creates beside the log.
            Err(StorageError::Sqlite(e)) if writer::spend_reserve(folder) => {
                warn!("the disk is almost full: {e}");
                schema::open(&log)?
            }
            opened => opened?,
        };
        if let Err(e) = maintenance::forget_empty_at_start(&mut db) {
            warn!("cannot remove the empty rooms: {e}");
        }
        let last = "SELECT coalesce(max(id), 0) FROM events";
        let index = Arc::new(SearchIndex::new(
            folder,
            db.query_row(last, [], |row| row.get(0))?,
        ));
        let (queue, waiting) = channel();
        let commits = Arc::<Commits>::default();
        let writer = Writer::new(db, folder, index.clone(), commits.clone());
        let follower = index.clone();
        let threads = vec![
            thread("log", move || writer.run(&waiting, &sink))?,
            thread("words", move || follower.follow(&log))?,
        ];
        Ok(Self {
            folder: folder.to_owned(),
            queue: Mutex::new(Some(queue)),
            index: Some(index),
            threads: Mutex::new(threads),
            readers: Pool::new(&path(folder)),
            commits,
            _lock: Some(lock),
        })
    }

    /// Opens the log in `folder` for reading only. A server may be using it.
    ///
    /// # Errors
    /// When there is no log, or it cannot be opened.
    pub fn open_beside(folder: &Path) -> Result<Self, StorageError> {
        let path = path(folder);
        std::fs::metadata(&path)?;
        if !schema::is_current(&path)? {
            // If no server uses the log, it is migrated. Otherwise the server that uses it has an older version, and
            // opening fails with `TooOld`.
            let locked = lock(folder).map_err(|e| match e {
                StorageError::InUse => StorageError::TooOld,
                e => e,
            });
            let _lock = locked?;
            drop(schema::open(&path)?);
        }
        Ok(Self::without_writer(folder, Pool::new(&path)))
    }

    /// Opens the log in `folder` for reading only. A server may be using it. The log is not changed, even if an older
    /// version wrote it. The connections are opened later, so an error in opening appears only then.
    pub fn open_unchanged(folder: &Path) -> Self {
        Self::without_writer(folder, Pool::unchanged(&path(folder)))
    }

    fn without_writer(folder: &Path, readers: Pool) -> Self {
        Self {
            folder: folder.to_owned(),
            queue: Mutex::new(None),
            index: None,
            threads: Mutex::default(),
            readers,
            commits: Arc::default(),
            _lock: None,
        }
    }

    /// Runs `ask` on a read connection from the pool.
    pub(crate) fn ask<T>(
        &self,
        ask: impl FnOnce(&Connection) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        self.readers.ask(|db| ask(db))
    }

    /// Submits a change that is not an event to the writer, which makes it in one transaction with the other queued
    /// entries and changes. So no caller needs SQLite's lock. Returns when the change is stored or refused. `make`
    /// may be called more than once, and must start from the beginning each time.
    ///
    /// # Errors
    /// When the change fails or cannot be stored. In this case none of it is stored.
    pub(crate) fn change<T: Send + 'static>(
        &self,
        makes_space: bool,
        mut make: impl FnMut(&Transaction<'_>, &mut Rooms) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let (tell_result, result) = channel();
        let (tell_outcome, outcome) = sync_channel(1);
        self.change_later(Change {
            makes_space,
            make: Box::new(move |step, rooms| {
                // If the change runs more than once, the result of the last run counts.
                let _ = tell_result.send(make(step, rooms)?);
                Ok(())
            }),
            done: Box::new(move |outcome| drop(tell_outcome.send(outcome))),
        });
        outcome.recv().unwrap_or(Err(StorageError::Ended))?;
        result.try_iter().last().ok_or(StorageError::Ended)
    }

    /// Submits a change like [`Self::change`], but does not wait. The change is stored before everything that is
    /// submitted later, and before the log ends.
    pub(crate) fn change_later(&self, change: Change) {
        if let Some(Waiting::Change(change)) = self.hand_over(Waiting::Change(change)) {
            (change.done)(Err(StorageError::Ended));
        }
    }

    /// Makes this log a replica of the log with the name `log`, which several servers share, unless it is one already.
    /// Everything up to the message `applied` of that log counts as stored. Returns where the replica is.
    ///
    /// # Errors
    /// When the database cannot be changed or read.
    pub fn replicate(&self, log: &str, applied: u64) -> Result<Position, StorageError> {
        let log = log.to_owned();
        self.change(false, move |step, _| {
            replica::begin(step, &log, applied)?;
            replica::position(step)?.ok_or(StorageError::Ended)
        })
    }

    /// Makes this log, which is a replica, one of the new log with the name `log`. Everything up to the message `applied`
    /// of the new log counts as stored.
    ///
    /// # Errors
    /// When the database cannot be changed.
    pub fn replicate_anew(&self, log: &str, applied: u64) -> Result<(), StorageError> {
        let log = log.to_owned();
        self.change(false, move |step, _| {
            replica::end(step)?;
            replica::begin(step, &log, applied)
        })
    }

    /// Returns where this log is in the log that several servers share; `None` if it is no replica of one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn position(&self) -> Result<Option<Position>, StorageError> {
        self.ask(replica::position)
    }

    /// Returns the id of the newest event; 0 if there was never one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn last_id(&self) -> Result<u64, StorageError> {
        self.ask(replica::last_id)
    }

    /// Returns whether nothing was ever stored, neither an event nor an account.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn is_unused(&self) -> Result<bool, StorageError> {
        self.ask(replica::is_unused)
    }

    /// Makes this log that of a single server again.
    ///
    /// # Errors
    /// When the database cannot be changed.
    pub fn leave(&self) -> Result<(), StorageError> {
        self.change(true, |step, _| replica::end(step))
    }

    /// Submits a message of the log that several servers share. Its parts are reported when they are stored.
    pub(crate) fn store_message(&self, message: Message) {
        self.hand_over(Waiting::Message(message));
    }

    /// Submits a checkpoint, which is stored after everything that was submitted before.
    pub(crate) fn remember(&self, checkpoint: Checkpoint, state: String) {
        self.change_later(Change {
            makes_space: false,
            make: Box::new(move |step, _| replica::remember(step, &checkpoint, &state)),
            done: Box::new(|outcome| {
                if let Err(e) = outcome {
                    warn!("cannot store where the server is in the log: {e}");
                }
            }),
        });
    }

    /// Submits something to the writer. Returns it if the writer has ended, which happens when the server ends.
    fn hand_over(&self, waiting: Waiting) -> Option<Waiting> {
        let queue = self
            .queue
            .lock()
            .expect("no thread panics while it holds this");
        match &*queue {
            Some(queue) => queue.send(waiting).err().map(|e| e.0),
            None => Some(waiting),
        }
    }
}

impl Drop for SqliteLog {
    /// Waits until everything that was submitted is stored.
    fn drop(&mut self) {
        if let Ok(mut queue) = self.queue.lock() {
            queue.take();
        }
        if let Some(index) = &self.index {
            index.end();
        }
        let threads = self.threads.lock().map(|mut threads| take(&mut *threads));
        for thread in threads.unwrap_or_default() {
            // This may run on the writer's own thread, if that thread drops the last reference to the server and so
            // to this log.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StorageError> {
    Ok(thread::Builder::new().name(name.into()).spawn(run)?)
}

impl Log for SqliteLog {
    fn append(&self, entry: Arc<Entry>, ticket: Option<Ticket>, time: Time) -> Option<Applied> {
        match self.hand_over(Waiting::Entry(entry, ticket, time)) {
            Some(Waiting::Entry(entry, ticket, _)) => Some(Applied {
                entry,
                outcome: Err(Code::ShuttingDown),
                is_repeat: false,
                is_withheld: false,
                ticket,
            }),
            Some(Waiting::Change(_) | Waiting::Message(_)) | None => None,
        }
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.change(false, |_, _| Ok(()))
    }

    fn commits(&self) -> Arc<Commits> {
        self.commits.clone()
    }

    fn rooms(&self) -> Result<Vec<RoomRow>, StorageError> {
        self.ask(read::rooms)
    }

    fn newest_time(&self) -> Result<Option<Time>, StorageError> {
        self.ask(read::newest_time)
    }

    fn read(
        &self,
        room: &RoomName,
        span: Span,
        count: usize,
        bytes: usize,
    ) -> Result<HistoryPage, StorageError> {
        self.ask(|db| read::read(db, room, span, count, bytes))
    }

    fn newest(&self, room: &RoomName, before: u64, count: usize) -> Result<Span, StorageError> {
        self.ask(|db| read::newest(db, room, before, count))
    }

    fn search(
        &self,
        scope: &SearchScope,
        query: &Query,
        count: usize,
        work: &Work,
    ) -> Result<Found, StorageError> {
        // Direct messages are not looked up in the index.
        let is_indexed = !matches!(scope, SearchScope::Inbox(_));
        if let Some(index) = self.index.as_ref().filter(|_| is_indexed) {
            index.catch_up();
        }
        self.readers.ask(|db| {
            if is_indexed && self.index.as_ref().is_none_or(|index| index.is_open()) {
                search_index::attach(db, &self.folder)?;
            }
            search::search(db, scope, query, count, work)
        })
    }

    fn read_inbox(
        &self,
        nick: &Nick,
        span: Span,
        count: usize,
        bytes: usize,
    ) -> Result<HistoryPage, StorageError> {
        self.ask(|db| inbox::read(db, nick, span, count, bytes))
    }

    fn newest_in_inbox(
        &self,
        nick: &Nick,
        before: u64,
        count: usize,
    ) -> Result<Span, StorageError> {
        self.ask(|db| inbox::newest(db, nick, before, count))
    }

    fn clear_inbox(&self, nick: &Nick) -> Result<Vec<DeletedFile>, StorageError> {
        let form = nick.casefolded().to_owned();
        self.change(true, move |step, _| inbox::forget(step, &form))
    }

    fn files(
        &self,
        source: &HistorySource,
        after: u64,
        count: usize,
    ) -> Result<Vec<Record>, StorageError> {
        self.ask(|db| read::files(db, source, after, count))
    }

    fn file(&self, id: EventId) -> Result<Option<(Location, NewFile)>, StorageError> {
        self.ask(|db| read::file(db, id))
    }

    fn file_totals(&self) -> Result<FileTotals, StorageError> {
        self.ask(read::file_totals)
    }

    fn digests(&self) -> Result<HashMap<Digest, usize>, StorageError> {
        self.ask(read::digests)
    }

    fn reactions(&self, id: EventId) -> Result<Vec<Reacted>, StorageError> {
        self.ask(|db| amend::reactions(db, id))
    }

    fn authorship(&self, id: EventId) -> Result<Option<Authorship>, StorageError> {
        self.ask(|db| read::authorship(db, id))
    }

    fn unfinished(&self) -> Result<Vec<(EventId, Location, String)>, StorageError> {
        self.ask(read::unfinished)
    }

    fn reader(&self, reader: &Reader) -> Result<Option<u64>, StorageError> {
        let found = self.ask(|db| read::reader(db, reader))?;
        if let Some((_, true)) = found {
            let reader = reader.clone();
            self.change_later(Change {
                makes_space: false,
                make: Box::new(move |step, _| readers::touch(step, &reader)),
                done: Box::new(drop), // with a different time
            });
        }
        Ok(found.map(|(seen, _)| seen))
    }

    fn set_reader(&self, reader: &Reader, owner: &str, seen: u64) -> Result<(), StorageError> {
        let (reader, owner) = (reader.clone(), owner.to_owned());
        self.change(false, move |step, _| {
            readers::set(step, &reader, &owner, seen)
        })
    }

    fn readers(&self, nick: &str, owner: &str) -> Result<Vec<(Reader, u64)>, StorageError> {
        self.ask(|db| readers::of_nick(db, nick, owner))
    }

    fn forget_reader(&self, reader: &Reader, owner: &str) -> Result<(), StorageError> {
        let (reader, owner) = (reader.clone(), owner.to_owned());
        self.change(true, move |step, _| readers::forget(step, &reader, &owner))
    }

    fn sweep(&self, now: Time) -> Result<u64, StorageError> {
        let (has_deleted, has_unused, has_expired) = self.ask(|db| {
            let there = format!(
                "SELECT EXISTS (SELECT 1 FROM rooms WHERE {})",
                deletion::IS_DELETED
            );
            let has_deleted: bool = db.prepare_cached(&there)?.query_row([], |row| row.get(0))?;
            let has_unused = readers::are_unused(db, now)?;
            Ok((has_deleted, has_unused, nonces::are_expired(db, now)?))
        })?;
        if has_unused {
            self.change(true, move |step, _| readers::forget_unused(step, now))?;
        }
        let forget =
            move |step: &Transaction<'_>| Ok(nonces::forget_expired(step, now, NONCES_A_STEP)?);
        while has_expired && self.change(true, move |step, _| forget(step))? == NONCES_A_STEP {}
        let mut events = 0;
        if !has_deleted {
            return Ok(events);
        }
        loop {
            let some = self.change(true, |step, _| Ok(deletion::sweep_some(step)?))?;
            if some == 0 {
                break;
            }
            events += some as u64;
        }
        // The index still contains the words of these events. The rows of the rooms are kept until the index has
        // dropped the words, so that a failure leads to another attempt.
        if self.index.as_ref().is_some_and(|index| index.trim_now()) {
            self.change(true, |step, _| Ok(deletion::forget(step)?))?;
        }
        Ok(events)
    }

    fn trim(&self, age: Option<Age>, bytes_max: Option<u64>) -> Result<Trimmed, StorageError> {
        let over = match bytes_max {
            Some(most) => self.ask(maintenance::bytes)?.saturating_sub(most),
            None => 0,
        };
        let mut trimmed = Trimmed::default();
        loop {
            let left = over.saturating_sub(trimmed.bytes);
            let some = self.change(true, move |step, _| maintenance::trim_some(step, age, left))?;
            if some.events == 0 {
                break;
            }
            trimmed.add(some);
        }
        trimmed.add(self.change(true, maintenance::forget_empty)?);
        if trimmed.events > 0
            && let Some(index) = &self.index
        {
            index.trimmed();
        }
        Ok(trimmed)
    }
}
