//! The search index: a database of its own beside the log, made from the log by a thread that follows it.
//!
//! A commit does not wait for the index: with it in the same transaction, a message cost 7.3 µs of the
//! writer's time (250 a transaction), without it 2.1 µs, and in large transactions of its own the index
//! costs 2.5 µs, on another thread. A search waits until what was kept before it is indexed, so it finds
//! what was just said.
//!
//! The index can be made from the log at any time, so it is written without a sync (WAL keeps it whole
//! all the same) and says itself how far it has got: what a crash has cost it, the next start makes up
//! for. One that is damaged, or that follows another log, is made anew.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};
#[cfg(target_os = "linux")]
use rustix::{process::setpriority_process, thread::gettid};
use tracing::{error, info};

use super::schema;
use crate::files::private;
use crate::log::text;
use crate::model::StorageError;

/// The most events in one transaction; larger ones gain little (2.9 µs an event at 2,500, 2.5 at 10,000).
const PIECE_EVENTS: i64 = 10_000;

/// How long a few events wait for more before they are indexed, unless a search asks for them.
const LINGER: Duration = Duration::from_millis(200);

/// How many events the index may be behind: then the log waits for it, so that no search takes long.
const BEHIND_MAX: i64 = 100_000;

/// How long after a failure it tries again.
const RETRY: Duration = Duration::from_secs(1);

/// How long a search waits for the index, which has most often got that far in a millisecond. What is not indexed by
/// then is read.
const PATIENCE: Duration = Duration::from_millis(100);

/// The index gets words as [`text::spaced`] makes them, which its tokenizer only takes apart again.
///
/// A larger hash table in memory makes fewer, larger segments; more segments before they are merged.
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

/// The version of [`SCHEMA`]; an index of any other is made anew.
const VERSION: i64 = 2;

/// What the log's threads share with the one that indexes.
#[derive(Debug)]
pub(super) struct Words {
    path: PathBuf,
    state: Mutex<State>,
    /// There is more to do for the thread that indexes.
    work: Condvar,
    /// It has got further, or fails.
    progress: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The last event that is kept.
    kept: i64,
    /// The last event of the start: the log does not wait for an index that is made anew.
    kept_at_start: i64,
    /// The last event that is indexed.
    indexed: i64,
    /// A search waits for this one.
    asked: i64,
    /// Old events have gone from the log.
    is_trimmed: bool,
    is_idle: bool,
    is_failing: bool,
    is_ending: bool,
}

impl State {
    fn is_urgent(&self) -> bool {
        self.is_ending || self.asked > self.indexed || self.kept - self.indexed >= PIECE_EVENTS
    }

    fn has_work(&self) -> bool {
        self.is_ending || self.is_trimmed || self.kept > self.indexed
    }
}

impl Words {
    /// The index of the log in `folder`, whose last event is `kept`.
    pub fn new(folder: &Path, kept: i64) -> Self {
        Self {
            path: path(folder),
            state: Mutex::new(State {
                kept,
                kept_at_start: kept,
                indexed: -1,      // not even opened
                is_trimmed: true, // it may be behind in that too
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

    /// All up to this event is kept.
    pub fn kept(&self, last: i64) {
        let mut state = self.state();
        state.kept = state.kept.max(last);
        // It need not be woken for each of many: it looks itself after a while.
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

    /// Old events are gone.
    pub fn trimmed(&self) {
        self.state().is_trimmed = true;
        self.work.notify_one();
    }

    /// Waits until all that is kept by now is indexed, as far as it can be.
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

    /// Has [`Self::follow`] return.
    pub fn end(&self) {
        self.state().is_ending = true;
        self.work.notify_all();
        self.progress.notify_all();
    }

    /// Indexes what is kept in the log at `log`, until the end; a thread of its own.
    pub fn follow(&self, log: &Path) {
        let_others_go_first();
        let mut index = None;
        while self.wait() {
            let done = match &mut index {
                Some(index) => self.do_some(index),
                None => Index::open(&self.path, log).map(|opened| {
                    self.state().indexed = opened.seen;
                    index = Some(opened);
                }),
            };
            let mut state = self.state();
            match &done {
                Err(e) if !state.is_failing => error!("cannot index what is said: {e}"),
                Ok(()) if state.is_failing => info!("the index follows the log again"),
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

    /// Waits until there is something to do; false at the end.
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
        let lingers = |state: &mut State| !state.is_urgent() && !state.is_trimmed;
        let waited = self.work.wait_timeout_while(state, LINGER, lingers);
        !waited
            .expect("no thread panics while it holds this")
            .0
            .is_ending
    }

    fn do_some(&self, index: &mut Index) -> Result<(), StorageError> {
        let is_trimmed = std::mem::take(&mut self.state().is_trimmed);
        if is_trimmed && let Err(e) = index.trim() {
            self.state().is_trimmed = true;
            return Err(e);
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

/// Has this thread run when no other wants to: while more is said than two processors can keep and index, what is
/// said is kept first. The index is behind by [`BEHIND_MAX`] at most all the same.
fn let_others_go_first() {
    #[cfg(target_os = "linux")] // where a thread has a priority of its own
    if let Err(e) = setpriority_process(Some(gettid()), 10) {
        info!("the thread that indexes has the priority of all others: {e}");
    }
}

/// The index as the thread that follows the log has it.
struct Index {
    db: Connection,
    log: Connection,
    seen: i64,
}

impl Index {
    /// Opens the index, or makes it anew where it is not this log's.
    fn open(path: &Path, log: &Path) -> Result<Self, StorageError> {
        let log = schema::open_to_read(log)?;
        let opened = open(path).and_then(|db| Ok((place(&db, &log)?, db)));
        let (seen, db) = match opened {
            Ok((Some(seen), db)) => (seen, db),
            Err(StorageError::Sqlite(e)) if !is_damage(&e) => return Err(e.into()),
            Err(e @ StorageError::Io(_)) => return Err(e),
            _ => {
                remove(path)?;
                info!("the search index is made anew");
                (0, open(path)?)
            }
        };
        Ok(Self { db, log, seen })
    }

    /// Indexes some of what comes after the last; returns how far it got. All up to `kept` is in the log.
    fn add_some(&mut self, kept: i64) -> Result<i64, StorageError> {
        let step = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (mut last, mut count) = (None, 0);
        {
            let mut add =
                step.prepare_cached("INSERT INTO words (rowid, room, text) VALUES (?1, ?2, ?3)")?;
            let mut events = self.log.prepare_cached(
                "SELECT id, room, time, verb, text FROM events WHERE id > ?1 ORDER BY id LIMIT ?2",
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
                    "REMOVE" => {
                        let id = text.split(' ').next().and_then(|id| id.parse().ok());
                        step.prepare_cached("DELETE FROM words WHERE rowid = ?1")?
                            .execute([id.unwrap_or(0_i64)])?;
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
        Ok(match count < PIECE_EVENTS {
            true => kept.max(self.seen),
            false => self.seen,
        })
    }

    /// Takes out what is older than the log.
    fn trim(&mut self) -> Result<(), StorageError> {
        let oldest = "SELECT coalesce(min(id), 0) FROM events";
        let oldest: i64 = self.log.query_row(oldest, [], |row| row.get(0))?;
        let gone = "DELETE FROM words WHERE rowid < ?1";
        self.db.prepare_cached(gone)?.execute([oldest])?;
        Ok(())
    }
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

/// How far the index has got; `None` when it is no index of this log.
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
        // It may have been trimmed; what the log has never reached is another log's.
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

/// Removes the index at `path`; the next server makes it anew.
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

/// Removes the index of a log that no server uses; the next one makes it anew.
pub(super) fn forget(folder: &Path) -> Result<(), StorageError> {
    remove(&path(folder))
}

/// Makes the index readable as `found` on a connection to its log, if it can be read.
pub(super) fn attach(db: &Connection, folder: &Path) -> Result<(), StorageError> {
    let path = path(folder);
    if is_attached(db)? || !path.exists() {
        return Ok(());
    }
    db.execute("ATTACH ?1 AS found", [path.to_string_lossy()])?;
    // It may be another's, of another version, or hardly begun: then all is read from the log.
    let version = db.pragma_query_value(Some("found"), "user_version", |row| row.get::<_, i64>(0));
    if !matches!(version, Ok(VERSION)) {
        db.execute("DETACH found", [])?;
    }
    Ok(())
}

/// Whether that was done.
pub(super) fn is_attached(db: &Connection) -> Result<bool, StorageError> {
    let there = "SELECT count(*) > 0 FROM pragma_database_list WHERE name = 'found'";
    Ok(db.prepare_cached(there)?.query_row([], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::log::memory::MemoryLog;
    use crate::log::sqlite::SqliteLog;
    use crate::log::work::Work;
    use crate::log::{Age, Log};
    use crate::model::{Applied, Entry, EventKind, Outcome, Removed, Scope};
    use crate::protocol::{EventId, RoomName, Time};

    struct Told(SqliteLog, Receiver<Outcome>);

    fn log(folder: &Path) -> Told {
        let (tell, told) = channel();
        let sink = move |batch: Vec<Applied>| {
            for applied in batch {
                tell.send(applied.outcome).unwrap();
            }
        };
        Told(SqliteLog::open(folder, Box::new(sink)).unwrap(), told)
    }

    impl Told {
        fn say(&self, time: u64, kind: EventKind, text: &str) -> EventId {
            let room = RoomName::parse("#tea").unwrap();
            let entry = Entry::new(Scope::Room(room.into()), kind, "ann", text);
            self.0.append(entry, None, Time(time));
            self.1.recv().unwrap().unwrap().0.unwrap()
        }

        fn found(&self, words: &str) -> Vec<u64> {
            let room = RoomName::parse("#tea").unwrap();
            let query = text::Query::parse(words).unwrap();
            let found = self.0.search(&room, &query, 100, &Work::begin()).unwrap();
            found.records.iter().map(|record| record.id.get()).collect()
        }
    }

    #[test]
    fn what_was_just_said_is_found_and_what_was_just_taken_back_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path());
        assert!(log.found("tea").is_empty());
        for n in 1..50 {
            let id = log.say(n, EventKind::Msg, &format!("tea at {n}"));
            assert_eq!(log.found(&format!("AT tea {n}")), [id.get()]);
            log.say(n, EventKind::Remove(id, Removed::Message), "");
            assert!(log.found(&format!("tea {n}")).is_empty());
        }
    }

    #[test]
    fn what_was_not_indexed_at_a_kill_is_found_after_the_next_start() {
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
            EventKind::Remove(EventId::new(1).unwrap(), Removed::Message),
            "1",
        );
        assert_eq!(second.found("tea"), [2]);
        drop(second);
        std::fs::write(&index, before).unwrap(); // as it would be, had it been killed
        assert_eq!(log(folder.path()).found("tea"), [2]);
    }

    #[test]
    fn an_index_that_is_damaged_or_of_another_log_is_made_anew() {
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
    fn what_is_trimmed_goes_from_the_index() {
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
        drop(log); // which may not have got to it: so every start looks
        let chat = folder.path().join("chat.db");
        let mut index = Index::open(&path(folder.path()), &chat).unwrap();
        index.trim().unwrap();
        let left = "SELECT count(*) FROM words_docsize";
        let left: i64 = index.db.query_row(left, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 10);
    }

    #[test]
    fn a_search_whose_time_is_over_says_that_older_ones_may_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, memory) = (log(folder.path()), MemoryLog::new(0, 1 << 20));
        let room = RoomName::parse("#tea").unwrap();
        for n in 1..=1000 {
            disk.say(n, EventKind::Msg, "tea");
            memory.append(entry(&room, "tea"), None, Time(n));
        }
        let coffee = text::Query::parse("coffee").unwrap();
        let logs: [&dyn Log; 2] = [&disk.0, &memory];
        for log in logs {
            let found = log.search(&room, &coffee, 100, &Work::over()).unwrap();
            assert!(found.is_cut && found.records.is_empty(), "{found:?}");
            let found = log.search(&room, &coffee, 100, &Work::begin()).unwrap();
            assert!(!found.is_cut, "{found:?}");
        }
    }

    fn entry(room: &RoomName, text: &str) -> Entry {
        let scope = Scope::Room(room.clone().into());
        Entry::new(scope, EventKind::Msg, "ann", text)
    }

    #[test]
    fn disk_and_memory_find_the_same() {
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
                memory.append(entry(&room, &text), None, Time(1));
                disk.0.append(entry(&room, &text), None, Time(1));
                disk.1.recv().unwrap().unwrap();
            }
            let Some(query) = text::Query::parse(&searched) else {
                return Ok(());
            };
            if rooms.get() % 2 == 0 {
                disk.0.words.as_ref().unwrap().catch_up(); // else some are read from the log itself
            }
            let find = |log: &dyn Log| {
                let found = log.search(&room, &query, 100, &Work::begin()).unwrap();
                let lines = found
                    .records
                    .into_iter()
                    .map(|record| (record.id, record.line));
                lines.collect::<Vec<_>>()
            };
            prop_assert_eq!(find(&disk.0), find(&memory));
            Ok(())
        });
        run.unwrap();
    }
}
