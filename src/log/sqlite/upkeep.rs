//! What is done to a log as a whole: what is old is taken out, events are taken in from elsewhere, faults
//! are found and repaired.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::read::{event_id, number, whole};
use super::writer::{Rooms, Row, Said, insert_event, remove, set_topic};
use super::{SqliteLog, schema, told, words};
use crate::chat::{Told, Whole};
use crate::files::private;
use crate::log::{Error, Record};
use crate::protocol::{Digest, EventId, Nick, RoomName, Time};

/// An event from another server's log.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the parts of its line
pub struct Imported {
    pub id: EventId,
    pub time: Time,
    pub place: ImportedTo,
    pub verb: &'static str,
    pub nick: String,
    pub text: String,
}

/// Where it stood.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // a room, or between two nicks: who did it, and who was told
pub enum ImportedTo {
    Room(RoomName),
    Told(Told),
}

impl SqliteLog {
    /// Takes events in from elsewhere, in order, all of them or none, into a folder that no server uses.
    ///
    /// # Errors
    /// When one does, or the log cannot be written.
    pub fn import(folder: &Path, events: Vec<Imported>) -> Result<(), Error> {
        let _lock = schema::lock(folder)?;
        let mut db = schema::open(&folder.join("chat.db"))?;
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let last: i64 =
            step.query_row("SELECT coalesce(max(last_id), 0) FROM rooms", [], |row| {
                row.get(0)
            })?;
        let keeps_ids = events
            .first()
            .is_none_or(|first| number(first.id.get()) > last);
        let mut rooms = Rooms::default();
        // What refers to another event follows it to its new number.
        let mut moved: HashMap<EventId, i64> = HashMap::new();
        // Who told what is still to be taken back, by whomever.
        let mut tellers: HashMap<i64, Nick> = HashMap::new();
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
            let row = match &event.place {
                ImportedTo::Room(room) => Row::of_room(room),
                ImportedTo::Told(told) => told::row(&told.to),
            };
            let (id, room) = insert_event(&step, &mut rooms, &row, &said)?;
            if let ImportedTo::Told(Told { by, to }) = event.place {
                let removed = text.parse().ok().filter(|_| event.verb == "REMOVE");
                let teller = removed.and_then(|removed: i64| tellers.get(&removed).cloned());
                let by = teller.unwrap_or(by);
                told::insert(&step, id, &Told { by: by.clone(), to })?;
                tellers.insert(id, by);
            }
            moved.insert(event.id, id);
            if event.verb == "TOPIC" {
                set_topic(&step, room, &text)?;
            }
        }
        rooms.set_last_ids(&step)?;
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

    /// What anybody told anybody and is kept, after an event: `count` events at most, oldest first.
    #[allow(clippy::missing_errors_doc)]
    pub fn all_told(&self, after: u64, count: usize) -> Result<Vec<Record>, Error> {
        self.ask(|db| told::all(db, after, count))
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

    /// Takes a file out of the list of a log that no server uses, as if it had been removed.
    #[allow(clippy::missing_errors_doc)]
    pub fn give_up(&self, id: EventId) -> Result<(), Error> {
        let mut db = schema::open_again(&super::path(&self.folder))?;
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        remove(&step, id)?;
        step.commit()?;
        Ok(())
    }

    /// Has the next server make the search index anew.
    #[allow(clippy::missing_errors_doc)]
    pub fn forget_words(&self) -> Result<(), Error> {
        words::forget(&self.folder)
    }

    /// Copies the database, as it is at one moment, into a new file, which is on disk then.
    #[allow(clippy::missing_errors_doc)]
    pub fn copy(&self, to: &Path) -> Result<(), Error> {
        let file = private::open_file(to)?;
        let db = schema::open_again(&super::path(&self.folder))?;
        db.execute("VACUUM INTO ?1", [to.to_string_lossy()])?;
        file.sync_all()?;
        Ok(())
    }
}

/// How many bytes the events take.
fn log_bytes(db: &Connection) -> rusqlite::Result<i64> {
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
}

/// How much more the search index takes than the events, which it follows as they go: it is as large as the
/// log was, until it has.
pub(super) fn words_share(db: &Connection, words_bytes: u64) -> Result<f64, Error> {
    Ok(words_bytes as f64 / (log_bytes(db)? as f64).max(1.0))
}

/// How many events go in one transaction of a trim: few enough that who speaks meanwhile hardly waits.
const TRIM_EVENTS: usize = 500;

/// Takes out the oldest events that are to go, some at a time; the digests of their files, or `None` when
/// none is to go.
pub(super) fn trim_some(
    step: &Transaction<'_>,
    before: Option<Time>,
    bytes_max: Option<u64>,
    words_share: f64,
) -> Result<Option<Vec<Digest>>, Error> {
    let is_over = match bytes_max {
        None => false,
        Some(most) => {
            let log = log_bytes(step)?;
            let files: i64 =
                step.query_row("SELECT coalesce(sum(length), 0) FROM files", [], |row| {
                    row.get(0)
                })?;
            log + (log as f64 * words_share) as i64 + files > number(most)
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
        step.prepare_cached("DELETE FROM told WHERE id = ?1")?
            .execute([id])?;
        step.prepare_cached("DELETE FROM events WHERE id = ?1")?
            .execute([id])?;
        step.prepare_cached("UPDATE rooms SET forgotten = ?1 WHERE id = ?2")?
            .execute([id, room])?;
    }
    Ok(Some(digests))
}
