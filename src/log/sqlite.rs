//! The log on disk: SQLite in WAL mode, written by one thread with group commit.
//!
//! The writer takes all that waits, commits it in one transaction with one sync (`synchronous=FULL`), and
//! only then hands the batch to the sink: what anybody has seen or been promised survives a crash, and the
//! order of a room is the order of its ids. Readers have connections of their own, which WAL never blocks.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior, params,
};
use tracing::error;

use super::{
    Entry, Error, FileTotals, Log, Origin, Outcome, Past, Reader, Record, RoomRow, Sink, Span,
    search_words,
};
use crate::chat::{Draft, NewFile, Removed, What, Whole};
use crate::protocol::{Code, Digest, EventId, FileName, RoomName, Time};

/// The most entries in one transaction: a commit of so many takes some milliseconds, and more gain nothing.
const BATCH_MAX: usize = 1000;

/// How long one writer waits for another: a trim, or a reader's place.
const BUSY: Duration = Duration::from_secs(10);

/// Each brings a database from its index to the next version; never changed once released.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE rooms (
        id INTEGER PRIMARY KEY,
        form TEXT NOT NULL UNIQUE, -- as names are compared
        name TEXT NOT NULL, -- as its maker spelt it
        topic TEXT NOT NULL DEFAULT '',
        last_id INTEGER NOT NULL DEFAULT 0,
        forgotten INTEGER NOT NULL DEFAULT 0 -- the newest event that is no longer kept
    ) STRICT;
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, -- so that no id is used twice, whatever is trimmed
        room INTEGER NOT NULL REFERENCES rooms,
        time INTEGER NOT NULL, -- milliseconds since 1970
        verb TEXT NOT NULL,
        nick TEXT NOT NULL,
        text TEXT NOT NULL -- of a file: its length, a space, its name
    ) STRICT;
    CREATE INDEX events_of_room ON events (room, id);
    CREATE TABLE files (
        id INTEGER PRIMARY KEY REFERENCES events,
        room INTEGER NOT NULL REFERENCES rooms,
        length INTEGER, -- none, as the digest, while the file is still coming in
        sha256 BLOB,
        name TEXT NOT NULL
    ) STRICT;
    CREATE INDEX files_of_room ON files (room, id);
    CREATE TABLE readers (
        room TEXT NOT NULL,
        nick TEXT NOT NULL,
        name TEXT NOT NULL,
        seen INTEGER NOT NULL,
        PRIMARY KEY (room, nick, name)
    ) STRICT, WITHOUT ROWID;
    CREATE VIRTUAL TABLE words USING fts5 (
        room, text, content = '', contentless_delete = 1, tokenize = 'unicode61'
    );
"];

/// A log in a folder.
pub struct SqliteLog {
    path: PathBuf,
    /// The writer's queue; `None` once it is to end.
    queue: Mutex<Option<Sender<(Entry, Time)>>>,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
    readers: Mutex<Vec<Connection>>,
    /// Held while the folder is in use; `None` for one that only looks on.
    _lock: Option<File>,
}

/// Takes the lock of a data folder, so that two servers do not write to one log.
///
/// # Errors
/// [`Error::InUse`] when another has it.
pub fn lock(folder: &Path) -> Result<File, Error> {
    std::fs::create_dir_all(folder)?;
    let file = File::create(folder.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse),
        Err(TryLockError::Error(e)) => Err(e.into()),
    }
}

/// Opens the database for writing and brings it up to date.
fn open(path: &Path) -> Result<Connection, Error> {
    let mut db = Connection::open(path)?;
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(version).map_err(|_| Error::TooNew(version))?;
    if done > MIGRATIONS.len() {
        return Err(Error::TooNew(version));
    }
    for (n, migration) in MIGRATIONS.iter().enumerate().skip(done) {
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step.execute_batch(migration)?;
        step.pragma_update(None, "user_version", n as i64 + 1)?;
        step.commit()?;
    }
    Ok(db)
}

impl SqliteLog {
    /// Opens the log in `folder`, which is made if it is missing; `sink` gets every batch once it is kept.
    ///
    /// # Errors
    /// When another server has it, it is too new, or it cannot be opened.
    pub fn open(folder: &Path, sink: Sink) -> Result<Self, Error> {
        let lock = lock(folder)?;
        let path = folder.join("chat.db");
        let db = open(&path)?;
        let (queue, waiting) = channel();
        let mut reserve = Reserve {
            path: folder.join("reserve"),
            is_made: false,
        };
        reserve.make();
        let writer = thread::Builder::new().name("log".into());
        let writer = writer.spawn(move || {
            Writer {
                db,
                rooms: HashMap::new(),
                reserve,
            }
            .run(&waiting, &sink)
        })?;
        Ok(Self {
            path,
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(writer)),
            readers: Mutex::default(),
            _lock: Some(lock),
        })
    }

    /// Opens the log in `folder` to read it, beside a server that may be using it. Nothing can be appended.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub fn open_beside(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("chat.db");
        std::fs::metadata(&path)?;
        drop(open(&path)?); // brings it up to date, or says that it is too new
        Ok(Self {
            path,
            queue: Mutex::new(None),
            writer: Mutex::new(None),
            readers: Mutex::default(),
            _lock: None,
        })
    }

    /// Takes events in from elsewhere, in order, all of them or none, into a folder that no server uses.
    ///
    /// # Errors
    /// When one does, or the log cannot be written.
    pub fn import(folder: &Path, events: Vec<Imported>) -> Result<(), Error> {
        let _lock = lock(folder)?;
        let mut db = open(&folder.join("chat.db"))?;
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let last: i64 =
            step.query_row("SELECT coalesce(max(last_id), 0) FROM rooms", [], |row| {
                row.get(0)
            })?;
        let keeps_ids = events
            .first()
            .is_none_or(|first| number(first.id.get()) > last);
        let mut rooms = HashMap::new();
        // What refers to another event follows it to its new number.
        let mut moved: HashMap<EventId, i64> = HashMap::new();
        for event in events {
            let text = match event.verb {
                "REMOVE" | "STORED" => {
                    let (old, rest) = event.text.split_once(' ').unwrap_or((&event.text, ""));
                    let new = EventId::parse(old).and_then(|old| moved.get(&old));
                    let new = new.map_or_else(|| old.to_owned(), i64::to_string);
                    format!("{new} {rest}").trim_end().to_owned()
                }
                _ => event.text,
            };
            let id = keeps_ids.then(|| number(event.id.get()));
            let said = Said {
                id,
                time: event.time,
                verb: event.verb,
                nick: &event.nick,
                text: &text,
            };
            let (id, room) = insert_event(&step, &mut rooms, &event.room, &said)?;
            moved.insert(event.id, id);
            match event.verb {
                "MSG" | "ME" if text != "-" => index(&step, id, room, &text)?,
                "TOPIC" => set_topic(&step, id, room, &text)?,
                _ => {}
            }
        }
        step.commit()?;
        Ok(())
    }

    /// Every file that can be fetched: its number, name, length and digest.
    ///
    /// # Errors
    /// When the log cannot be read; so with all that follow.
    pub fn all_files(&self) -> Result<Vec<(EventId, String, Whole)>, Error> {
        self.ask(|db| {
            let mut files = db.prepare("SELECT id, name, length, sha256 FROM files ORDER BY id")?;
            let rows = files.query_map([], |row| {
                Ok((row.get::<_, i64>(0)?, row.get(1)?, whole(row, 2)?))
            })?;
            let mut found = Vec::new();
            for row in rows {
                if let (id, name, Some(whole)) = row? {
                    found.extend(event_id(id).map(|id| (id, name, whole)));
                }
            }
            Ok(found)
        })
    }

    /// What SQLite finds wrong with the database.
    #[allow(clippy::missing_errors_doc)]
    pub fn faults(&self) -> Result<Vec<String>, Error> {
        self.ask(|db| {
            let mut check = db.prepare("PRAGMA integrity_check")?;
            let rows = check.query_map([], |row| row.get::<_, String>(0))?;
            let found: Vec<String> = rows.collect::<Result<_, _>>()?;
            Ok(found.into_iter().filter(|line| line != "ok").collect())
        })
    }

    /// Takes a file out of the list, as if it had been removed.
    #[allow(clippy::missing_errors_doc)]
    pub fn give_up(&self, id: EventId) -> Result<(), Error> {
        self.ask_mut(|db| {
            let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            remove(&step, id)?;
            step.commit()?;
            Ok(())
        })
    }

    /// Makes the search index anew from the events.
    #[allow(clippy::missing_errors_doc)]
    pub fn index_anew(&self) -> Result<(), Error> {
        self.ask_mut(|db| {
            let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            step.execute_batch(
                "INSERT INTO words (words) VALUES ('delete-all');
                 INSERT INTO words (rowid, room, text)
                   SELECT id, room, text FROM events WHERE verb IN ('MSG', 'ME', 'TOPIC') AND text <> '-';
                 INSERT INTO words (rowid, room, text) SELECT id, room, name FROM files;",
            )?;
            step.commit()?;
            Ok(())
        })
    }

    /// Copies the database, as it is at one moment, into a new file.
    #[allow(clippy::missing_errors_doc)]
    pub fn copy(&self, to: &Path) -> Result<(), Error> {
        self.ask(|db| {
            db.execute("VACUUM INTO ?1", [to.to_string_lossy()])?;
            Ok(())
        })
    }

    /// Runs `ask` on a connection for reading, which is kept for the next.
    fn ask<T>(&self, ask: impl FnOnce(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        self.ask_mut(|db| ask(db))
    }

    fn ask_mut<T>(
        &self,
        ask: impl FnOnce(&mut Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let idle = self
            .readers
            .lock()
            .expect("no thread panics while it holds this")
            .pop();
        let mut db = match idle {
            Some(db) => db,
            None => {
                let db =
                    Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
                db.pragma_update(None, "synchronous", "FULL")?;
                db.busy_timeout(BUSY)?;
                db
            }
        };
        let answer = ask(&mut db)?;
        self.readers
            .lock()
            .expect("no thread panics while it holds this")
            .push(db);
        Ok(answer)
    }
}

impl Drop for SqliteLog {
    /// Waits until everything that was handed over is kept.
    fn drop(&mut self) {
        if let Ok(mut queue) = self.queue.lock() {
            queue.take();
        }
        let writer = self.writer.lock().ok().and_then(|mut writer| writer.take());
        // The writer itself may hold the last handle to the server, and so to this.
        if let Some(writer) = writer
            && writer.thread().id() != thread::current().id()
        {
            let _ = writer.join();
        }
    }
}

impl Log for SqliteLog {
    fn append(&self, entry: Entry, time: Time) -> Option<(Draft, Outcome)> {
        let queue = self
            .queue
            .lock()
            .expect("no thread panics while it holds this");
        let refused = match &*queue {
            Some(queue) => queue.send((entry, time)).err().map(|e| e.0.0),
            None => Some(entry),
        };
        // The writer has ended, which it does when the server does.
        refused.map(|entry| (entry.draft, Err(Code::ShuttingDown)))
    }

    fn rooms(&self) -> Result<Vec<RoomRow>, Error> {
        self.ask(|db| {
            let mut rooms =
                db.prepare_cached("SELECT name, topic, last_id FROM rooms ORDER BY id")?;
            let rows = rooms.query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, i64>(2)?))
            })?;
            let mut found = Vec::new();
            for row in rows {
                let (name, topic, last_id) = row?;
                if let (Ok(name), Some(last_id)) = (RoomName::parse(&name), event_id(last_id)) {
                    found.push(RoomRow {
                        name,
                        topic,
                        last_id,
                    });
                }
            }
            Ok(found)
        })
    }

    fn read(&self, room: &RoomName, span: Span, count: usize, bytes: usize) -> Result<Past, Error> {
        self.ask(|db| {
            let mut forgotten =
                db.prepare_cached("SELECT forgotten FROM rooms WHERE form = ?1")?;
            let forgotten: Option<i64> = forgotten
                .query_row([room.form()], |row| row.get(0))
                .optional()?;
            let has_hole = forgotten.is_some_and(|forgotten| forgotten > number(span.after));
            let mut events = db.prepare_cached(
                "SELECT e.id, e.time, e.verb, r.name, e.nick, e.text FROM rooms r JOIN events e ON e.room = r.id
                 WHERE r.form = ?1 AND e.id > ?2 AND e.id <= ?3 ORDER BY e.id LIMIT ?4",
            )?;
            let found = events.query_map(
                params![room.form(), number(span.after), number(span.up_to), count as i64],
                record,
            )?;
            let mut records: Vec<Record> = Vec::new();
            let mut size = 0;
            for record in found {
                let record = record?;
                size += record.line.len();
                if size > bytes && !records.is_empty() {
                    break;
                }
                records.push(record);
            }
            Ok(Past { records, has_hole })
        })
    }

    fn newest(&self, room: &RoomName, before: u64, count: usize) -> Result<Span, Error> {
        let up_to = before.saturating_sub(1);
        self.ask(|db| {
            let mut first = db.prepare_cached(
                "SELECT min(id) FROM (SELECT e.id FROM rooms r JOIN events e ON e.room = r.id
                 WHERE r.form = ?1 AND e.id <= ?2 ORDER BY e.id DESC LIMIT ?3)",
            )?;
            let first: Option<i64> = first
                .query_row(params![room.form(), number(up_to), count as i64], |row| {
                    row.get(0)
                })?;
            let after = match first.and_then(|first| u64::try_from(first).ok()) {
                Some(first) => first.saturating_sub(1),
                None => up_to,
            };
            Ok(Span { after, up_to })
        })
    }

    fn search(&self, room: &RoomName, words: &str, count: usize) -> Result<Vec<Record>, Error> {
        self.ask(|db| {
            let id: Option<i64> = db
                .prepare_cached("SELECT id FROM rooms WHERE form = ?1")?
                .query_row([room.form()], |row| row.get(0))
                .optional()?;
            let Some(id) = id else {
                return Ok(Vec::new());
            };
            let mut query = format!("room : \"{id}\"");
            if search_words(words).next().is_none() {
                return Ok(Vec::new());
            }
            for word in search_words(words) {
                query += &format!(" AND text : \"{}\"", word.replace('"', "\"\""));
            }
            let mut events = db.prepare_cached(
                "SELECT e.id, e.time, e.verb, r.name, e.nick, e.text FROM
                   (SELECT rowid FROM words WHERE words MATCH ?1 ORDER BY rowid DESC LIMIT ?2) w
                 JOIN events e ON e.id = w.rowid JOIN rooms r ON r.id = e.room ORDER BY e.id",
            )?;
            let found = events.query_map(params![query, count as i64], record)?;
            Ok(found.collect::<Result<_, _>>()?)
        })
    }

    fn files(&self, room: &RoomName, after: u64, count: usize) -> Result<Vec<Record>, Error> {
        self.ask(|db| {
            let mut files = db.prepare_cached(
                "SELECT e.id, e.time, e.verb, r.name, e.nick, coalesce(f.length, '*') || ' ' || f.name FROM rooms r JOIN files f ON f.room = r.id
                 JOIN events e ON e.id = f.id WHERE r.form = ?1 AND f.id > ?2 ORDER BY f.id LIMIT ?3",
            )?;
            let found = files.query_map(params![room.form(), number(after), count as i64], record)?;
            Ok(found.collect::<Result<_, _>>()?)
        })
    }

    fn file(&self, id: EventId) -> Result<Option<NewFile>, Error> {
        self.ask(|db| {
            let mut file =
                db.prepare_cached("SELECT name, length, sha256 FROM files WHERE id = ?1")?;
            let row = file.query_row([number(id.get())], |row| {
                Ok((row.get::<_, String>(0)?, whole(row, 1)?))
            });
            let row = row.optional()?;
            Ok(row.and_then(|(name, whole)| {
                let name = FileName::parse(&name).ok()?;
                Some(NewFile { name, whole })
            }))
        })
    }

    fn file_totals(&self) -> Result<FileTotals, Error> {
        self.ask(|db| {
            let sum = "SELECT count(*), coalesce(sum(length), 0) FROM files";
            let (count, bytes): (i64, i64) =
                db.query_row(sum, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(FileTotals {
                count: usize::try_from(count).unwrap_or_default(),
                bytes: u64::try_from(bytes).unwrap_or_default(),
            })
        })
    }

    fn trim(&self, before: Option<Time>, bytes_max: Option<u64>) -> Result<Vec<Digest>, Error> {
        let mut released = Vec::new();
        self.ask_mut(|db| {
            while let Some(digests) = trim_some(db, before, bytes_max)? {
                released.extend(digests);
            }
            Ok(())
        })?;
        Ok(released)
    }

    fn digests(&self) -> Result<HashMap<Digest, usize>, Error> {
        self.ask(|db| {
            let mut digests = db.prepare(
                "SELECT sha256, count(*) FROM files WHERE sha256 NOTNULL GROUP BY sha256",
            )?;
            let rows = digests.query_map([], |row| {
                Ok((row.get::<_, [u8; 32]>(0)?, row.get::<_, i64>(1)?))
            })?;
            let mut found = HashMap::new();
            for row in rows {
                let (sha256, count) = row?;
                found.insert(Digest(sha256), usize::try_from(count).unwrap_or_default());
            }
            Ok(found)
        })
    }

    fn origin(&self, id: EventId) -> Result<Option<Origin>, Error> {
        self.ask(|db| {
            let mut event = db.prepare_cached(
                "SELECT r.name, e.nick, e.verb, e.text, f.id, f.length, f.sha256 FROM events e JOIN rooms r ON r.id = e.room
                 LEFT JOIN files f ON f.id = e.id WHERE e.id = ?1",
            )?;
            let row = event.query_row([number(id.get())], |row| {
                let verb: String = row.get(2)?;
                let text: String = row.get(3)?;
                let file: Option<i64> = row.get(4)?;
                let removable = match verb.as_str() {
                    "MSG" | "ME" => (text != "-").then_some(Removed::Message),
                    _ => match file {
                        Some(_) => Some(Removed::File(whole(row, 5)?)),
                        None => None,
                    },
                };
                Ok((row.get::<_, String>(0)?, row.get(1)?, removable))
            });
            let row = row.optional()?;
            Ok(row.and_then(|(room, nick, removable)| {
                let room = RoomName::parse(&room).ok()?;
                Some(Origin { room, nick, removable })
            }))
        })
    }

    fn unfinished(&self) -> Result<Vec<(EventId, RoomName, String)>, Error> {
        self.ask(|db| {
            let mut files = db.prepare(
                "SELECT f.id, r.name, e.nick FROM files f JOIN rooms r ON r.id = f.room
                 JOIN events e ON e.id = f.id WHERE f.sha256 ISNULL ORDER BY f.id",
            )?;
            let rows = files.query_map([], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get(2)?))
            })?;
            let mut found = Vec::new();
            for row in rows {
                let (id, room, nick) = row?;
                if let (Some(id), Ok(room)) = (event_id(id), RoomName::parse(&room)) {
                    found.push((id, room, nick));
                }
            }
            Ok(found)
        })
    }

    fn reader(&self, reader: &Reader) -> Result<Option<u64>, Error> {
        self.ask(|db| {
            let mut seen = db.prepare_cached(
                "SELECT seen FROM readers WHERE room = ?1 AND nick = ?2 AND name = ?3",
            )?;
            let key = params![reader.room.form(), reader.nick, reader.name];
            let seen: Option<i64> = seen.query_row(key, |row| row.get(0)).optional()?;
            Ok(seen.and_then(|seen| u64::try_from(seen).ok()))
        })
    }

    fn set_reader(&self, reader: &Reader, seen: u64) -> Result<(), Error> {
        self.ask(|db| {
            let mut set = db.prepare_cached(
                "INSERT INTO readers (room, nick, name, seen) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET seen = excluded.seen",
            )?;
            set.execute(params![
                reader.room.form(),
                reader.nick,
                reader.name,
                number(seen)
            ])?;
            Ok(())
        })
    }
}

/// Reads a length and a digest from two columns, if the file is whole.
fn whole(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Whole>> {
    let length: Option<i64> = row.get(at)?;
    let sha256: Option<[u8; 32]> = row.get(at + 1)?;
    Ok(length.zip(sha256).map(|(length, sha256)| Whole {
        length: u64::try_from(length).unwrap_or_default(),
        sha256: Digest(sha256),
    }))
}

/// Reads a row of id, time, verb, room, nick, text.
fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let (id, time): (i64, i64) = (row.get(0)?, row.get(1)?);
    let id = event_id(id).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, id))?;
    let texts: [rusqlite::types::ValueRef<'_>; 4] = [
        row.get_ref(2)?,
        row.get_ref(3)?,
        row.get_ref(4)?,
        row.get_ref(5)?,
    ];
    let [verb, room, nick, text] = texts.map(|text| text.as_str());
    let line = super::line(verb?, room?, nick?, id, text?);
    Ok(Record {
        id,
        time: Time(u64::try_from(time).unwrap_or_default()),
        line,
    })
}

fn event_id(number: i64) -> Option<EventId> {
    u64::try_from(number).ok().and_then(EventId::new)
}

/// As SQLite has it; ids and lengths are below 2^53.
fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// How many events go in one transaction of a trim: few enough that who speaks meanwhile hardly waits.
const TRIM_EVENTS: usize = 500;

/// Takes out the oldest events that are to go, some at a time; the digests of their files, or `None` when
/// none is to go.
fn trim_some(
    db: &mut Connection,
    before: Option<Time>,
    bytes_max: Option<u64>,
) -> Result<Option<Vec<Digest>>, Error> {
    let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let is_over = match bytes_max {
        None => false,
        Some(most) => {
            let pragma = |name| step.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            let pages = pragma("page_count")? - pragma("freelist_count")?;
            let files: i64 =
                step.query_row("SELECT coalesce(sum(length), 0) FROM files", [], |row| {
                    row.get(0)
                })?;
            pages * pragma("page_size")? + files > number(most)
        }
    };
    // Ids grow with time, so the oldest are the first.
    let oldest = "SELECT id, room, time FROM events ORDER BY id LIMIT ?1";
    let mut goes: Vec<(i64, i64)> = Vec::new();
    let mut events = step.prepare_cached(oldest)?;
    let rows = events.query_map([TRIM_EVENTS as i64], |row| {
        Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get::<_, i64>(2)?))
    })?;
    for row in rows {
        let (id, room, time) = row?;
        if !is_over && before.is_none_or(|before| time >= number(before.0)) {
            break;
        }
        goes.push((id, room));
    }
    drop(events);
    if goes.is_empty() {
        return Ok(None);
    }
    let mut digests = Vec::new();
    for (id, room) in goes {
        let file = step
            .prepare_cached("DELETE FROM files WHERE id = ?1 RETURNING sha256")?
            .query_row([id], |row| row.get::<_, Option<[u8; 32]>>(0))
            .optional()?;
        digests.extend(file.flatten().map(Digest));
        step.prepare_cached("DELETE FROM words WHERE rowid = ?1")?
            .execute([id])?;
        step.prepare_cached("DELETE FROM events WHERE id = ?1")?
            .execute([id])?;
        step.prepare_cached("UPDATE rooms SET forgotten = ?1 WHERE id = ?2")?
            .execute([id, room])?;
    }
    step.commit()?;
    Ok(Some(digests))
}

/// The thread that writes.
struct Writer {
    db: Connection,
    /// Their numbers, by the form in which names are compared.
    rooms: HashMap<Box<str>, i64>,
    reserve: Reserve,
}

impl Writer {
    fn run(mut self, waiting: &Receiver<(Entry, Time)>, sink: &Sink) {
        while let Ok(first) = waiting.recv() {
            let mut batch = vec![first];
            batch.extend(waiting.try_iter().take(BATCH_MAX - 1));
            let kept = self
                .keep(&batch)
                .unwrap_or_else(|e| self.refuse(&batch, &e));
            let outcomes = batch.into_iter().zip(kept);
            let outcomes =
                outcomes.map(|((entry, time), id)| (entry.draft, id.map(|id| (id, time))));
            sink(outcomes.collect());
        }
    }

    /// Keeps a batch in one transaction; its ids, in order.
    fn keep(&mut self, batch: &[(Entry, Time)]) -> rusqlite::Result<Vec<Kept>> {
        let Self { db, rooms, .. } = self;
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut ids = Vec::with_capacity(batch.len());
        for (entry, time) in batch {
            ids.push(match (&entry.room, &entry.draft.what) {
                (None, _) => Ok(None),
                // Two may have asked at the same time, and a file's bytes are let go of once; a file that
                // is taken back while it comes in does not become whole.
                (Some(_), What::Remove(id, _) | What::Stored(id, _)) if is_removed(&step, *id)? => {
                    Err(Code::NoSuchFile)
                }
                (Some(room), _) => Ok(Some(insert(&step, rooms, room, &entry.draft, *time)?)),
            });
        }
        step.commit()?;
        self.reserve.make();
        Ok(ids)
    }

    /// Refuses a batch that could not be kept. When the disk is full, what makes space on it is kept all the
    /// same, in the space that is set aside for that.
    fn refuse(&mut self, batch: &[(Entry, Time)], e: &rusqlite::Error) -> Vec<Kept> {
        error!("cannot keep what is said: {e}");
        self.rooms.clear(); // some may have been rolled back
        let code = refusal(e);
        let mut kept = Vec::with_capacity(batch.len());
        for step in batch {
            let makes_space = matches!(step.0.draft.what, What::Remove(..));
            let ids = match makes_space && code == Code::Quota {
                true => {
                    self.reserve.spend();
                    self.keep(std::slice::from_ref(step)).ok()
                }
                false => None,
            };
            kept.push(
                ids.and_then(|ids| ids.into_iter().next())
                    .unwrap_or(Err(code)),
            );
        }
        kept
    }
}

/// The id of what is kept, if it gets one, or why it is not.
type Kept = Result<Option<EventId>, Code>;

/// Space on the disk that is set aside, so that taking something back can be kept when there is no other.
struct Reserve {
    path: PathBuf,
    is_made: bool,
}

/// Some transactions of a few pages each; the first file that goes makes more.
const RESERVE_BYTES: usize = 512 << 10;

impl Reserve {
    /// Sets it aside, if that can be done now.
    fn make(&mut self) {
        if self.is_made {
            return;
        }
        let is_there =
            std::fs::metadata(&self.path).is_ok_and(|file| file.len() == RESERVE_BYTES as u64);
        self.is_made = is_there || std::fs::write(&self.path, vec![0; RESERVE_BYTES]).is_ok();
        if !self.is_made {
            self.spend();
        }
    }

    fn spend(&mut self) {
        let _ = std::fs::remove_file(&self.path); // there may be none
        self.is_made = false;
    }
}

/// Whether a message or file has been taken back, or has never been.
fn is_removed(step: &Transaction<'_>, id: EventId) -> rusqlite::Result<bool> {
    let there = "SELECT 1 FROM events e WHERE id = ?1 AND
        CASE verb WHEN 'FILE' THEN EXISTS (SELECT 1 FROM files WHERE id = e.id) ELSE text <> '-' END";
    Ok(!step.prepare_cached(there)?.exists([number(id.get())])?)
}

/// An event from another server's log.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the parts of its line
pub struct Imported {
    pub id: EventId,
    pub time: Time,
    pub room: RoomName,
    pub verb: &'static str,
    pub nick: String,
    pub text: String,
}

/// A row of `events`; with a number of its own, or the next.
struct Said<'a> {
    id: Option<i64>,
    time: Time,
    verb: &'static str,
    nick: &'a str,
    text: &'a str,
}

fn insert(
    step: &Transaction<'_>,
    rooms: &mut HashMap<Box<str>, i64>,
    name: &RoomName,
    draft: &Draft,
    time: Time,
) -> rusqlite::Result<EventId> {
    let (verb, nick, text) = draft.parts();
    let said = Said {
        id: None,
        time,
        verb,
        nick,
        text: &text,
    };
    let (id, room) = insert_event(step, rooms, name, &said)?;
    match &draft.what {
        What::Msg | What::Me => index(step, id, room, &text)?,
        What::Topic => set_topic(step, id, room, &text)?,
        What::File(file) => {
            index(step, id, room, file.name.as_str())?;
            let sql =
                "INSERT INTO files (id, room, length, sha256, name) VALUES (?1, ?2, ?3, ?4, ?5)";
            step.prepare_cached(sql)?.execute(params![
                id,
                room,
                file.whole.map(|whole| number(whole.length)),
                file.whole.map(|whole| whole.sha256.0),
                file.name.as_str()
            ])?;
        }
        What::Stored(file, whole) => {
            step.prepare_cached("UPDATE files SET length = ?2, sha256 = ?3 WHERE id = ?1")?
                .execute(params![
                    number(file.get()),
                    number(whole.length),
                    whole.sha256.0
                ])?;
        }
        What::Remove(removed, _) => remove(step, *removed)?,
    }
    event_id(id).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, id))
}

/// Inserts an event, and its room if that is new; their numbers.
fn insert_event(
    step: &Transaction<'_>,
    rooms: &mut HashMap<Box<str>, i64>,
    name: &RoomName,
    said: &Said<'_>,
) -> rusqlite::Result<(i64, i64)> {
    let room = match rooms.get(name.form()) {
        Some(room) => *room,
        None => {
            step.prepare_cached("INSERT OR IGNORE INTO rooms (form, name) VALUES (?1, ?2)")?
                .execute([name.form(), name.as_str()])?;
            let room = step
                .prepare_cached("SELECT id FROM rooms WHERE form = ?1")?
                .query_row([name.form()], |row| row.get(0))?;
            rooms.insert(name.form().into(), room);
            room
        }
    };
    let sql =
        "INSERT INTO events (id, room, time, verb, nick, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    step.prepare_cached(sql)?.execute(params![
        said.id,
        room,
        number(said.time.0),
        said.verb,
        said.nick,
        said.text
    ])?;
    let id = step.last_insert_rowid();
    step.prepare_cached("UPDATE rooms SET last_id = ?1 WHERE id = ?2")?
        .execute([id, room])?;
    Ok((id, room))
}

fn set_topic(step: &Transaction<'_>, id: i64, room: i64, text: &str) -> rusqlite::Result<()> {
    index(step, id, room, text)?;
    step.prepare_cached("UPDATE rooms SET topic = ?1 WHERE id = ?2")?
        .execute(params![text, room])?;
    Ok(())
}

/// Has a search find it.
fn index(step: &Transaction<'_>, id: i64, room: i64, text: &str) -> rusqlite::Result<()> {
    step.prepare_cached("INSERT INTO words (rowid, room, text) VALUES (?1, ?2, ?3)")?
        .execute(params![id, room.to_string(), text])?;
    Ok(())
}

/// Takes something back: its place stays, with `-` for what it said.
fn remove(step: &Transaction<'_>, removed: EventId) -> rusqlite::Result<()> {
    let id = number(removed.get());
    step.prepare_cached("DELETE FROM files WHERE id = ?1")?
        .execute([id])?;
    step.prepare_cached("DELETE FROM words WHERE rowid = ?1")?
        .execute([id])?;
    step.prepare_cached(
        "UPDATE events SET text = CASE verb WHEN 'FILE' THEN substr(text, 1, instr(text, ' ')) || '-' ELSE '-' END
         WHERE id = ?1",
    )?
    .execute([id])?;
    Ok(())
}

/// What whoever spoke is told when it could not be kept.
fn refusal(e: &rusqlite::Error) -> Code {
    match e.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => Code::Quota,
        _ => Code::Internal,
    }
}
