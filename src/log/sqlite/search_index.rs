//! The search index: a database of its own beside the log. A thread that follows the log builds it.
//!
//! A commit does not wait for the index. If the index were in the same transaction, a message would take 7.3 µs of the
//! writer's time (in transactions of 250 messages) instead of 2.1 µs. On a thread of its own, in large transactions,
//! the index takes 2.5 µs for a message. A search first waits for the index to catch up with the log, so it finds even
//! a message that was sent a moment ago.
//!
//! The index can be rebuilt from the log at any time. Therefore it is written without a sync; WAL keeps it consistent
//! anyway. It records the last indexed event, so that the next server adds what a crash has lost. An index that is
//! damaged, or that belongs to another log, is rebuilt.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};
#[cfg(target_os = "linux")]
use rustix::{process::setpriority_process, thread::gettid};
use tracing::{error, info};

use super::deletion::IS_DELETED;
use super::schema;
use crate::files::private;
use crate::log::text;
use crate::model::StorageError;
use crate::protocol::multiline::TEXT_LINES_MAX;
use crate::protocol::tags::REMOVED;

/// The maximum number of events in one transaction. A larger maximum would save little: an event takes 2.9 µs in
/// transactions of 2,500 events, and 2.5 µs in those of 10,000.
const PIECE_EVENTS: i64 = 10_000;

/// How long the thread waits for more events if there are only a few and no search needs them.
const LINGER: Duration = Duration::from_millis(200);

/// The maximum number of events that are not indexed yet. When it is reached, the log waits for the index, so that no
/// search takes long.
const BEHIND_MAX: i64 = 100_000;

/// The delay before a retry after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// The maximum time that a search waits for the index. The index usually catches up within a millisecond. The search
/// itself reads the events that are not indexed by then.
const PATIENCE: Duration = Duration::from_millis(100);

/// The tables of the index. It stores the words that [`text::spaced`] returns; the tokenizer of the index only splits
/// them again.
///
/// A larger hash table in memory leads to fewer, larger segments. A higher `automerge` lets more segments accumulate
/// before they are merged.
const SCHEMA: &str = "
    CREATE VIRTUAL TABLE words USING fts5 (
        room, text, content = '', contentless_delete = 1, tokenize = 'ascii'
    );
    INSERT INTO words (words, rank) VALUES ('hashsize', 8000000);
    INSERT INTO words (words, rank) VALUES ('automerge', 8);
    CREATE TABLE place (
        seen INTEGER NOT NULL, -- the last event that is indexed
        time INTEGER NOT NULL -- and when it was kept: in another log that is another time
    ) STRICT;
    INSERT INTO place VALUES (0, 0);
    PRAGMA user_version = 2;
";

/// The version of [`SCHEMA`]. An index of another version is rebuilt.
const VERSION: i64 = 2;

/// The state that the indexing thread shares with the threads of the log.
#[derive(Debug)]
pub(super) struct SearchIndex {
    path: PathBuf,
    state: Mutex<State>,
    /// Signals that the index thread has more to do.
    work: Condvar,
    /// Signals that the index has made progress, or has failed.
    progress: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The last stored event.
    kept: i64,
    /// The last event that was stored when the server started. The log does not wait while older events are indexed
    /// again.
    kept_at_start: i64,
    /// The last indexed event.
    indexed: i64,
    /// The last event that a search waits for.
    asked: i64,
    /// The number of times that old events were removed from the log.
    trims: u64,
    /// The value of `trims` when the index was last trimmed.
    trimmed: u64,
    is_idle: bool,
    is_failing: bool,
    is_ending: bool,
}

impl State {
    fn is_urgent(&self) -> bool {
        self.is_ending || self.asked > self.indexed || self.kept - self.indexed >= PIECE_EVENTS
    }

    fn is_behind_in_trims(&self) -> bool {
        self.trims > self.trimmed
    }

    fn has_work(&self) -> bool {
        self.is_ending || self.is_behind_in_trims() || self.kept > self.indexed
    }
}

impl SearchIndex {
    /// Returns the index of the log in `folder`. `kept` is the last event in the log.
    pub fn new(folder: &Path, kept: i64) -> Self {
        Self {
            path: path(folder),
            state: Mutex::new(State {
                kept,
                kept_at_start: kept,
                indexed: -1, // not even opened
                trims: 1,    // events trimmed before the start may still be in the index
                ..State::default()
            }),
            work: Condvar::new(),
            progress: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no thread panics while it holds this")
    }

    /// Records that all events up to `last` are stored.
    pub fn kept(&self, last: i64) {
        let mut state = self.state();
        state.kept = state.kept.max(last);
        // The thread is not woken for each of many events, because it checks again after [`LINGER`].
        if state.is_idle || state.is_urgent() {
            self.work.notify_one();
        }
    }

    /// Waits while the index is too far behind.
    pub fn keep_up(&self) {
        let is_behind = |state: &mut State| {
            let indexed = state.indexed.max(state.kept_at_start);
            state.kept - indexed > BEHIND_MAX && !state.is_failing && !state.is_ending
        };
        drop(self.progress.wait_while(self.state(), is_behind));
    }

    /// Records that old events were removed from the log.
    pub fn trimmed(&self) {
        self.state().trims += 1;
        self.work.notify_one();
    }

    /// Records that old events were removed from the log, and waits until the index is trimmed too. Returns `false` if
    /// trimming failed.
    pub fn trim_now(&self) -> bool {
        let mut state = self.state();
        state.trims += 1;
        let trims = state.trims;
        self.work.notify_one();
        let waited = self.progress.wait_while(state, |state| {
            state.trimmed < trims && !state.is_failing && !state.is_ending
        });
        let state = waited.expect("no thread panics while it holds this");
        state.trimmed >= trims
    }

    /// Waits until all events stored so far are indexed, or indexing fails.
    pub fn catch_up(&self) {
        let mut state = self.state();
        let kept = state.kept;
        state.asked = state.asked.max(kept);
        self.work.notify_one();
        let waited = self.progress.wait_timeout_while(state, PATIENCE, |state| {
            state.indexed < kept && !state.is_failing && !state.is_ending
        });
        drop(waited.expect("no thread panics while it holds this"));
    }

    /// Returns whether the index is open, so that it is known to belong to this log.
    pub fn is_open(&self) -> bool {
        self.state().indexed >= 0
    }

    /// Makes [`Self::follow`] return.
    pub fn end(&self) {
        self.state().is_ending = true;
        self.work.notify_all();
        self.progress.notify_all();
    }

    /// Indexes the events of the log at the path `log` until [`Self::end`] is called. Runs on a thread of its own.
    pub fn follow(&self, log: &Path) {
        let_others_go_first();
        let mut index = None;
        while self.wait() {
            let done = match &mut index {
                Some(index) => self.do_some(index),
                None => OpenIndex::open(&self.path, log).map(|opened| {
                    self.state().indexed = opened.seen;
                    index = Some(opened);
                }),
            };
            let mut state = self.state();
            match &done {
                Err(e) if !state.is_failing => error!("cannot update the search index: {e}"),
                Ok(()) if state.is_failing => info!("the search index is updated again"),
                _ => {}
            }
            state.is_failing = done.is_err();
            self.progress.notify_all();
            if state.is_failing {
                let goes_on = |state: &mut State| !state.is_ending;
                drop(self.work.wait_timeout_while(state, RETRY, goes_on));
            }
        }
    }

    /// Waits until there is something to do. Returns false if the thread is to end.
    fn wait(&self) -> bool {
        let mut state = self.state();
        while !state.has_work() {
            state.is_idle = true;
            state = self
                .work
                .wait(state)
                .expect("no thread panics while it holds this");
        }
        state.is_idle = false;
        let lingers = |state: &mut State| !state.is_urgent() && !state.is_behind_in_trims();
        let waited = self.work.wait_timeout_while(state, LINGER, lingers);
        !waited
            .expect("no thread panics while it holds this")
            .0
            .is_ending
    }

    fn do_some(&self, index: &mut OpenIndex) -> Result<(), StorageError> {
        let (trims, is_trimmed) = {
            let state = self.state();
            (state.trims, !state.is_behind_in_trims())
        };
        if !is_trimmed {
            index.trim()?;
            self.state().trimmed = trims;
        }
        let (kept, is_behind) = {
            let state = self.state();
            (state.kept, state.kept > state.indexed)
        };
        if is_behind {
            let seen = index.add_some(kept)?;
            self.state().indexed = seen;
        }
        Ok(())
    }
}

/// Lowers the priority of this thread. If more messages arrive than two processors can store and index, storing comes
/// first. Even so, the index is at most [`BEHIND_MAX`] events behind.
fn let_others_go_first() {
    #[cfg(target_os = "linux")] // where a thread has a priority of its own
    if let Err(e) = setpriority_process(Some(gettid()), 10) {
        info!("cannot lower the priority of the search index: {e}");
    }
}

/// The open index, as the indexing thread uses it.
struct OpenIndex {
    db: Connection,
    log: Connection,
    seen: i64,
}

impl OpenIndex {
    /// Opens the index. If it does not belong to this log, rebuilds it.
    fn open(path: &Path, log: &Path) -> Result<Self, StorageError> {
        let log = schema::open_to_read(log)?;
        let opened = open(path).and_then(|db| Ok((place(&db, &log)?, db)));
        let (seen, db) = match opened {
            Ok((Some(seen), db)) => (seen, db),
            Err(StorageError::Sqlite(e)) if !is_damage(&e) => return Err(e.into()),
            Err(e @ StorageError::Io(_)) => return Err(e),
            _ => {
                remove(path)?;
                info!("the search index is being rebuilt");
                (0, open(path)?)
            }
        };
        Ok(Self { db, log, seen })
    }

    /// Indexes some of the events that are not indexed yet; returns the last indexed one. All events up to `kept` are
    /// in the log.
    fn add_some(&mut self, kept: i64) -> Result<i64, StorageError> {
        let step = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (mut last, mut count) = (None, 0);
        {
            let mut add =
                step.prepare_cached("INSERT INTO words (rowid, room, text) VALUES (?1, ?2, ?3)")?;
            let mut events = self.log.prepare_cached(
                "SELECT id, room, time, verb, text, tags FROM events WHERE id > ?1 ORDER BY id LIMIT ?2",
            )?;
            let mut rows = events.query([self.seen, PIECE_EVENTS])?;
            while let Some(row) = rows.next()? {
                let (id, room, time): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let (verb, text) = (row.get_ref(3)?, row.get_ref(4)?);
                let text = text.as_str().map_err(rusqlite::Error::from)?;
                match verb.as_str().map_err(rusqlite::Error::from)? {
                    "MSG" | "ME" | "TOPIC" => {
                        add.execute(params![id, room.to_string(), text::spaced(text)])?;
                    }
                    "FILE" => {
                        let name = text.split_once(' ').map_or("", |(_, name)| name);
                        add.execute(params![id, room.to_string(), text::spaced(name)])?;
                    }
                    "EDIT" => {
                        let (edited, new) = text.split_once(' ').unwrap_or((text, ""));
                        let edited: i64 = edited.parse().unwrap_or_default();
                        let is_indexed = step
                            .prepare_cached("DELETE FROM words WHERE rowid = ?1")?
                            .execute([edited])?
                            > 0;
                        // A removed message must not be found.
                        let tags = row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?;
                        if is_indexed && tags != REMOVED {
                            add.execute(params![edited, room.to_string(), text::spaced(new)])?;
                        }
                    }
                    "REMOVE" => {
                        let id = text.split(' ').next().and_then(|id| id.parse().ok());
                        for id in removed(&self.log, id.unwrap_or(0_i64))? {
                            step.prepare_cached("DELETE FROM words WHERE rowid = ?1")?
                                .execute([id])?;
                        }
                    }
                    _ => {}
                }
                last = Some((id, time));
                count += 1;
            }
        }
        if let Some((id, time)) = last {
            step.prepare_cached("UPDATE place SET seen = ?1, time = ?2")?
                .execute([id, time])?;
            step.commit()?;
            self.seen = id;
        }
        Ok(if count < PIECE_EVENTS {
            kept.max(self.seen)
        } else {
            self.seen
        })
    }

    /// Removes from the index the events that the log no longer contains, including those of deleted rooms.
    fn trim(&mut self) -> Result<(), StorageError> {
        let oldest = "SELECT coalesce(min(id), 0) FROM events";
        let oldest: i64 = self.log.query_row(oldest, [], |row| row.get(0))?;
        let gone = "DELETE FROM words WHERE rowid < ?1";
        self.db.prepare_cached(gone)?.execute([oldest])?;
        let deleted = format!("SELECT id FROM rooms WHERE {IS_DELETED}");
        let mut deleted = self.log.prepare_cached(&deleted)?;
        let rooms = deleted.query_map([], |row| row.get::<_, i64>(0))?;
        for room in rooms {
            let mut delete = self.db.prepare_cached(
                "DELETE FROM words WHERE rowid IN (SELECT rowid FROM words WHERE words MATCH ?1 LIMIT ?2)",
            )?;
            let of_room = format!("room : \"{}\"", room?);
            while delete.execute(params![of_room, PIECE_EVENTS])? > 0 {}
        }
        Ok(())
    }
}

/// Returns the removed event `id`. If it was the first line of a text, also returns the removed lines after it.
fn removed(log: &Connection, id: i64) -> rusqlite::Result<Vec<i64>> {
    let mut rows = log.prepare_cached(
        "SELECT id, time, nick, tags FROM events WHERE id BETWEEN ?1 AND ?1 + ?2 ORDER BY id",
    )?;
    let rows = rows.query_map([id, TEXT_LINES_MAX as i64 - 1], |row| {
        let with: (i64, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
        Ok((row.get::<_, i64>(0)?, with))
    })?;
    let mut removed = vec![id];
    let mut first = None;
    for row in rows {
        let (next, with) = row?;
        if with.2 != REMOVED || *first.get_or_insert_with(|| with.clone()) != with {
            break;
        }
        removed.push(next);
    }
    Ok(removed)
}

fn path(folder: &Path) -> PathBuf {
    folder.join("words.db")
}

fn open(path: &Path) -> Result<Connection, StorageError> {
    drop(private::open_file(path)?);
    let mut db = Connection::open(path)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    let is_new: bool = db.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| {
        row.get(0)
    })?;
    if is_new {
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step.execute_batch(SCHEMA)?;
        step.commit()?;
    }
    Ok(db)
}

/// Returns the last indexed event; `None` if this is not an index of this log.
fn place(db: &Connection, log: &Connection) -> Result<Option<i64>, StorageError> {
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != VERSION {
        return Ok(None);
    }
    let place = "SELECT seen, time FROM place";
    let (seen, time): (i64, i64) = db.query_row(place, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let event = "SELECT time FROM events WHERE id = ?1";
    let kept: Option<i64> = log.query_row(event, [seen], |row| row.get(0)).optional()?;
    let is_known = match kept {
        Some(kept) => kept == time,
        // The event may have been trimmed from the log. But if the log has never reached this id, the index belongs
        // to another log.
        None => {
            let last = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'";
            seen <= log.query_row(last, [], |row| row.get(0))?
        }
    };
    Ok(is_known.then_some(seen))
}

fn is_damage(e: &rusqlite::Error) -> bool {
    let damage = [
        Some(ErrorCode::DatabaseCorrupt),
        Some(ErrorCode::NotADatabase),
        Some(ErrorCode::Unknown), // "SQL logic error": tables that are not ours
    ];
    damage.contains(&e.sqlite_error_code()) || matches!(e, rusqlite::Error::QueryReturnedNoRows)
}

/// Removes the index at `path`, so that the next server rebuilds it.
fn remove(path: &Path) -> Result<(), StorageError> {
    for end in ["", "-wal", "-shm"] {
        let mut path = path.as_os_str().to_owned();
        path.push(end);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Removes the index of a log that no server uses, so that the next server rebuilds it.
pub(super) fn forget(folder: &Path) -> Result<(), StorageError> {
    remove(&path(folder))
}

/// Attaches the search index to `db`, a connection to the log, under the schema name `found`. Does nothing if the index
/// cannot be used.
pub(super) fn attach(db: &Connection, folder: &Path) -> Result<(), StorageError> {
    let path = path(folder);
    if is_attached(db)? || !path.exists() {
        return Ok(());
    }
    db.execute("ATTACH ?1 AS found", [path.to_string_lossy()])?;
    // An index of another log or version, or one that has barely begun, is not used. The search then reads everything
    // from the log.
    let version = db.pragma_query_value(Some("found"), "user_version", |row| row.get::<_, i64>(0));
    if !matches!(version, Ok(VERSION)) {
        db.execute("DETACH found", [])?;
    }
    Ok(())
}

/// Returns whether the index is attached.
pub(super) fn is_attached(db: &Connection) -> Result<bool, StorageError> {
    let there = "SELECT count(*) > 0 FROM pragma_database_list WHERE name = 'found'";
    Ok(db.prepare_cached(there)?.query_row([], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Instant;

    use super::*;
    use crate::log::memory::MemoryLog;
    use crate::log::sqlite::SqliteLog;
    use crate::log::work::Work;
    use crate::log::{Age, Log, SearchScope};
    use crate::model::{Entry, EventKind, Outcome, Removed, Report, Scope};
    use crate::protocol::{EventId, RoomName, Time};

    struct TestLog(SqliteLog, Receiver<Outcome>);

    fn log(folder: &Path) -> TestLog {
        let (tell, outcomes) = channel();
        let sink = move |batch: Vec<Report>| {
            for applied in batch.into_iter().filter_map(Report::applied) {
                tell.send(applied.outcome).unwrap();
            }
        };
        TestLog(SqliteLog::open(folder, Box::new(sink)).unwrap(), outcomes)
    }

    impl TestLog {
        fn say(&self, time: u64, kind: EventKind, text: &str) -> EventId {
            let room = RoomName::parse("#tea").unwrap();
            let entry = Entry::new(Scope::Room(room.into()), kind, "ann", text);
            self.0.append(entry.into(), None, Time(time));
            self.1.recv().unwrap().unwrap().0.unwrap()
        }

        /// Waits until all events are in the index. Without this, a search on a busy machine might read some events
        /// from the log itself.
        fn wait_for_index(&self) {
            let index = self.0.index.as_ref().unwrap();
            let deadline = Instant::now() + Duration::from_secs(60);
            let is_behind = || {
                let state = index.state();
                state.indexed < state.kept
            };
            while is_behind() {
                assert!(Instant::now() < deadline, "the index is behind");
                index.catch_up();
            }
        }

        fn found(&self, words: &str) -> Vec<u64> {
            let room = RoomName::parse("#tea").unwrap();
            let query = text::Query::parse(words).unwrap();
            let room = SearchScope::Room(room.into());
            let found = self.0.search(&room, &query, 100, &Work::begin()).unwrap();
            found.records.iter().map(|record| record.id.get()).collect()
        }
    }

    #[test]
    fn a_search_finds_a_message_just_sent_and_not_one_just_removed() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path());
        assert!(log.found("tea").is_empty());
        for n in 1..50 {
            let id = log.say(n, EventKind::Msg, &format!("tea at {n}"));
            assert_eq!(log.found(&format!("AT tea {n}")), [id.get()]);
            log.say(n, EventKind::Remove(id, Removed::Message.into()), "");
            assert!(log.found(&format!("tea {n}")).is_empty());
        }
    }

    #[test]
    fn each_line_of_a_text_is_found_until_the_first_line_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path());
        let first = log.say(1, EventKind::Text, "one tea\n\ntwo teas\ntea for three");
        assert_eq!(log.found("tea"), [1, 4]);
        let next = log.say(1, EventKind::Msg, "more tea");
        assert_eq!((first.get(), next.get()), (1, 5));
        log.say(1, EventKind::Remove(first, Removed::Message.into()), "");
        assert_eq!(log.found("tea"), [5]);
        log.wait_for_index();
        let words = Connection::open(path(folder.path())).unwrap();
        let indexed = "SELECT count(*) FROM words WHERE words MATCH 'tea OR teas'";
        let indexed: i64 = words.query_row(indexed, [], |row| row.get(0)).unwrap();
        assert_eq!(indexed, 1);
    }

    #[test]
    fn events_not_indexed_when_the_server_was_killed_are_found_after_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let first = log(folder.path());
        first.say(1, EventKind::Msg, "one tea");
        assert_eq!(first.found("tea"), [1]);
        drop(first);
        let index = path(folder.path());
        let before = std::fs::read(&index).unwrap();
        let second = log(folder.path());
        second.say(2, EventKind::Msg, "two teas, or a tea");
        second.say(
            3,
            EventKind::Remove(EventId::new(1).unwrap(), Removed::Message.into()),
            "1",
        );
        assert_eq!(second.found("tea"), [2]);
        drop(second);
        std::fs::write(&index, before).unwrap(); // as if the server had been killed
        assert_eq!(log(folder.path()).found("tea"), [2]);
    }

    #[test]
    fn an_index_that_is_damaged_or_of_another_log_is_rebuilt() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let index = path(folder.path());
        let theirs = log(other.path());
        for n in 0..10 {
            theirs.say(100 + n, EventKind::Msg, "coffee");
        }
        assert_eq!(theirs.found("coffee").len(), 10);
        drop(theirs);
        for n in 1..5 {
            let ours = log(folder.path());
            ours.say(n, EventKind::Msg, "tea");
            let all: Vec<u64> = (1..=n).collect();
            assert_eq!(ours.found("tea"), all);
            assert!(ours.found("coffee").is_empty());
            drop(ours);
            match n {
                1 => remove(&index).unwrap(),
                2 => std::fs::write(&index, "my diary".repeat(1000)).unwrap(),
                3 => drop(std::fs::copy(path(other.path()), &index).unwrap()),
                _ => {}
            }
        }
    }

    #[test]
    fn trimmed_events_are_removed_from_the_index() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path());
        for n in 1..=1000 {
            log.say(n, EventKind::Msg, "tea");
        }
        assert_eq!(log.found("tea").len(), 100);
        let age = Age {
            before: Time(991),
            now: Time(1000),
        };
        log.0.trim(Some(age), None).unwrap();
        assert_eq!(log.found("tea").len(), 10);
        drop(log); // the thread may not have trimmed yet, so every start checks
        let chat = folder.path().join("chat.db");
        let mut index = OpenIndex::open(&path(folder.path()), &chat).unwrap();
        index.trim().unwrap();
        let left = "SELECT count(*) FROM words_docsize";
        let left: i64 = index.db.query_row(left, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 10);
    }

    #[test]
    fn a_search_that_runs_out_of_time_says_that_older_matches_may_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, memory) = (log(folder.path()), MemoryLog::new(0, 1 << 20));
        let room = RoomName::parse("#tea").unwrap();
        for n in 1..=1000 {
            disk.say(n, EventKind::Msg, "tea");
            memory.append(entry(&room, "tea").into(), None, Time(n));
        }
        let coffee = text::Query::parse("coffee").unwrap();
        let logs: [&dyn Log; 2] = [&disk.0, &memory];
        let everywhere = SearchScope::AllBut(HashSet::new().into());
        let room = SearchScope::Room(room.into());
        for (log, room) in logs
            .iter()
            .flat_map(|log| [(log, &room), (log, &everywhere)])
        {
            let found = log.search(room, &coffee, 100, &Work::over()).unwrap();
            assert!(found.is_cut && found.records.is_empty(), "{found:?}");
            let found = log.search(room, &coffee, 100, &Work::begin()).unwrap();
            assert!(!found.is_cut, "{found:?}");
        }
    }

    fn entry(room: &RoomName, text: &str) -> Entry {
        let scope = Scope::Room(room.clone().into());
        Entry::new(scope, EventKind::Msg, "ann", text)
    }

    #[test]
    fn the_logs_on_disk_and_in_memory_find_the_same() {
        use proptest::prelude::*;
        let folder = tempfile::tempdir().unwrap();
        let (disk, memory) = (log(folder.path()), MemoryLog::new(0, 64 << 20));
        let words = "[aAeéEßı.+ 1北京東ขอ회의🎉ﬁＦ\u{301}\u{ad}\u{200d}-]{1,12}";
        let rooms = std::cell::Cell::new(0);
        let mut runner = proptest::test_runner::TestRunner::default();
        let cases = (prop::collection::vec(words, 1..6), words);
        let run = runner.run(&cases, |(texts, searched)| {
            rooms.set(rooms.get() + 1);
            let room = RoomName::parse(&format!("#r{}", rooms.get())).unwrap();
            for text in texts {
                memory.append(entry(&room, &text).into(), None, Time(1));
                disk.0.append(entry(&room, &text).into(), None, Time(1));
                disk.1.recv().unwrap().unwrap();
            }
            let Ok(query) = text::Query::parse(&searched) else {
                return Ok(());
            };
            if rooms.get() % 2 == 0 {
                disk.wait_for_index();
            }
            let find = |log: &dyn Log, scope: &SearchScope| {
                let found = log.search(scope, &query, 100, &Work::begin()).unwrap();
                let lines = found
                    .records
                    .into_iter()
                    .map(|record| (record.id, record.line));
                lines.collect::<Vec<_>>()
            };
            let others = HashSet::from([room.casefolded().into()]);
            for scope in [
                SearchScope::Room(room.clone().into()),
                SearchScope::AllBut(HashSet::new().into()),
                SearchScope::AllBut(others.into()),
            ] {
                let found = find(&disk.0, &scope);
                prop_assert_eq!(&found, &find(&memory, &scope), "{:?}", scope);
                let is_of = |line: &str| line.split(' ').nth(1) == Some(room.as_str());
                let is_here = found.iter().any(|(_, line)| is_of(line));
                match &scope {
                    SearchScope::AllBut(hidden) if hidden.is_empty() => {
                        let own = find(&memory, &SearchScope::Room(room.clone().into()));
                        prop_assert!(own.iter().all(|one| found.contains(one)));
                    }
                    SearchScope::AllBut(_) => prop_assert!(!is_here),
                    SearchScope::Room(_) | SearchScope::Inbox(_) => {}
                }
            }
            Ok(())
        });
        run.unwrap();
    }
}
