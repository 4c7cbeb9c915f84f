//! Maintenance of a whole log: removing expired events, importing events, and finding and repairing faults.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::deletion::IS_DELETED;
use super::rows::{RoomKey, contents, event_id, number};
use super::writer::{EventRow, Rooms, insert_event, remove, set_topic};
use super::{SqliteLog, amend, inbox, schema, search_index};
use crate::files::private;
use crate::log::{Age, Record, Trimmed};
use crate::model::{DeletedFile, DirectMessage, FileContents, Reaction, StorageError};
use crate::protocol::{EventId, Nick, RoomName, Time, tags};

/// An event that is imported from an export of another log.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the parts of its line
pub struct Imported {
    pub id: EventId,
    pub time: Time,
    pub place: ImportedTo,
    pub verb: &'static str,
    pub nick: String,
    pub text: String,
    pub tags: String,
}

/// The place of an imported event.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // a room, or the inboxes of two nicks: sender and recipient
pub enum ImportedTo {
    Room(RoomName),
    Inbox(DirectMessage),
}

impl SqliteLog {
    /// Imports events in order into a folder that no server uses. If one of them fails, none is imported.
    ///
    /// # Errors
    /// When a server uses the folder, or the log cannot be written.
    pub fn import(folder: &Path, events: Vec<Imported>) -> Result<(), StorageError> {
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
        // The new ids of imported events. They replace the old ids where one event refers to another.
        let mut moved: HashMap<EventId, i64> = HashMap::new();
        // The senders of the imported direct messages, because a later event may remove such a message.
        let mut tellers: HashMap<i64, Nick> = HashMap::new();
        for event in events {
            let text = match event.verb {
                "REMOVE" | "STORED" | "EDIT" | "REACT" | "UNREACT" => {
                    let end = event.text.find(' ').unwrap_or(event.text.len());
                    let (old, rest) = event.text.split_at(end);
                    let new = EventId::parse(old).and_then(|old| moved.get(&old));
                    let new = new.map_or_else(|| old.to_owned(), i64::to_string);
                    new + rest
                }
                _ => event.text.clone(),
            };
            let id = keeps_ids.then(|| number(event.id.get()));
            let tags = imported_tags(&event.tags, &moved);
            let event_row = EventRow {
                id,
                time: event.time,
                verb: event.verb,
                nick: &event.nick,
                text: &text,
                tags: &tags,
            };
            let row = match &event.place {
                ImportedTo::Room(room) => RoomKey::of_room(room),
                ImportedTo::Inbox(message) => RoomKey::of_nick(&message.to),
            };
            let (id, room) = insert_event(&step, &mut rooms, &row, &event_row)?;
            if let ImportedTo::Inbox(DirectMessage { by, to }) = event.place.clone() {
                let removed = text.parse().ok().filter(|_| event.verb == "REMOVE");
                let teller = removed.and_then(|removed: i64| tellers.get(&removed).cloned());
                let by = teller.unwrap_or(by);
                inbox::insert(&step, id, &DirectMessage { by: by.clone(), to }, None)?;
                tellers.insert(id, by);
            }
            moved.insert(event.id, id);
            amend(&step, &event, id, &moved)?;
            if event.verb == "TOPIC" {
                set_topic(&step, room, &text)?;
            }
        }
        rooms.set_last_ids(&step)?;
        step.commit()?;
        Ok(())
    }

    /// Lists every file that can be downloaded: its id, name, length and digest.
    ///
    /// # Errors
    /// When the log cannot be read. This is also true of all methods below.
    pub fn all_files(&self) -> Result<Vec<(EventId, String, FileContents)>, StorageError> {
        self.ask(|db| {
            let mut files = db.prepare("SELECT id, name, length, sha256 FROM files ORDER BY id")?;
            let rows = files.query_map([], |row| {
                Ok((row.get::<_, i64>(0)?, row.get(1)?, contents(row, 2)?))
            })?;
            let mut found = Vec::new();
            for row in rows {
                if let (id, name, Some(contents)) = row? {
                    found.extend(event_id(id).map(|id| (id, name, contents)));
                }
            }
            Ok(found)
        })
    }

    /// Reads direct messages of all nicks, oldest first: at most `count` of the messages whose ids are greater than
    /// `after`.
    #[allow(clippy::missing_errors_doc)]
    pub fn all_inboxes(&self, after: u64, count: usize) -> Result<Vec<Record>, StorageError> {
        self.ask(|db| inbox::all(db, after, count))
    }

    /// Returns the faults that SQLite finds in the database.
    #[allow(clippy::missing_errors_doc)]
    pub fn faults(&self) -> Result<Vec<String>, StorageError> {
        self.ask(|db| {
            let mut check = db.prepare("PRAGMA integrity_check")?;
            let rows = check.query_map([], |row| row.get::<_, String>(0))?;
            let found: Vec<String> = rows.collect::<Result<_, _>>()?;
            Ok(found.into_iter().filter(|line| line != "ok").collect())
        })
    }

    /// Deletes a file from the list of files, as if it had been removed. No server may be using the log.
    #[allow(clippy::missing_errors_doc)]
    pub fn give_up(&self, id: EventId) -> Result<(), StorageError> {
        let mut db = schema::open_again(&super::path(&self.folder))?;
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        remove(&step, id)?;
        step.commit()?;
        Ok(())
    }

    /// Makes the next server that opens the log rebuild the search index.
    #[allow(clippy::missing_errors_doc)]
    pub fn forget_words(&self) -> Result<(), StorageError> {
        search_index::forget(&self.folder)
    }

    /// Copies a snapshot of the database into a new file, which is not synced.
    #[allow(clippy::missing_errors_doc)]
    pub fn copy(&self, to: &Path) -> Result<(), StorageError> {
        private::open_file(to)?;
        let db = schema::open_again(&super::path(&self.folder))?;
        db.execute("VACUUM INTO ?1", [to.to_string_lossy()])?;
        Ok(())
    }
}

/// Applies an imported edit or reaction to its message, if that message was imported too.
fn amend(
    step: &Transaction<'_>,
    event: &Imported,
    id: i64,
    moved: &HashMap<EventId, i64>,
) -> rusqlite::Result<()> {
    let (old, rest) = event.text.split_once(' ').unwrap_or((&event.text, ""));
    let to = EventId::parse(old).and_then(|old| moved.get(&old).copied());
    let Some(to) = to.and_then(event_id) else {
        return Ok(());
    };
    match event.verb {
        "EDIT" if event.tags != tags::REMOVED => amend::edit(step, to, id, rest, event.time),
        "REMOVE" => remove(step, to),
        "REACT" | "UNREACT" => {
            let reaction = Reaction {
                to,
                emoji: rest.into(),
                is_withdrawn: event.verb == "UNREACT",
            };
            amend::react(step, &event.nick, &reaction).map(drop)
        }
        _ => Ok(()),
    }
}

/// Returns the tags of an imported event. In a tag that refers to another event, that event's new id replaces the old
/// one.
fn imported_tags(sent: &str, moved: &HashMap<EventId, i64>) -> String {
    let mut tags = String::new();
    for tag in sent.split(';').filter(|tag| !tag.is_empty()) {
        let (name, value) = tag.split_once('=').unwrap_or((tag, ""));
        // These tags are restored when the edits and reactions are imported.
        if matches!(name, "edited" | "reacts") {
            continue;
        }
        let refers = matches!(name, "reply" | "of");
        let new = EventId::parse(value)
            .filter(|_| refers)
            .and_then(|old| moved.get(&old));
        match new {
            Some(new) => tags::push(&mut tags, name, &new.to_string()),
            // The event to which this tag refers was not imported.
            None if refers => {}
            None => tags::push(&mut tags, name, &tags::find(sent, name).unwrap_or_default()),
        }
    }
    tags
}

/// An SQL expression for the approximate size of an event in bytes. It counts the row and its entries in two indexes
/// (100 bytes), the nick, tags and reactions, and the text twice, because the search index contains it too.
const EVENT_SIZE: &str = "(100 + octet_length(e.nick) + 2 * octet_length(e.text) + octet_length(e.tags) + octet_length(e.reacts))";

/// Returns the total size of all events and files. The rest of the database does not count, because removing events
/// does not make it smaller.
pub(super) fn bytes(db: &Connection) -> Result<u64, StorageError> {
    let bytes: i64 = db.query_row(
        &format!(
            "SELECT (SELECT coalesce(sum({EVENT_SIZE}), 0) FROM events e)
               + (SELECT coalesce(sum(length), 0) FROM files)"
        ),
        [],
        |row| row.get(0),
    )?;
    Ok(u64::try_from(bytes).unwrap_or_default())
}

/// The maximum number of events that one transaction of a trim removes. It is small enough that messages are hardly
/// delayed.
const TRIM_EVENTS: usize = 200;

/// The maximum number of events that one transaction of a trim looks at.
const LOOKED_AT_MAX: usize = 20_000;

/// Removes some of the oldest events: those that have expired according to `age`, and further events until `bytes`
/// bytes are freed.
pub(super) fn trim_some(
    step: &Transaction<'_>,
    age: Option<Age>,
    bytes: u64,
) -> Result<Trimmed, StorageError> {
    let mut goes: Vec<(i64, i64, u64)> = Vec::new();
    {
        // Ids grow with time, so the oldest events come first. But the clock may have been wrong for a while: an
        // event with a future time counts as old as the next event with a plausible time.
        let mut count = 0;
        let mut left = bytes;
        let mut events = step.prepare_cached(&format!(
            "SELECT e.id, e.room, e.time, {EVENT_SIZE} + coalesce(f.length, 0) FROM events e
             LEFT JOIN files f ON f.id = e.id ORDER BY e.id LIMIT ?1"
        ))?;
        let mut rows = events.query([LOOKED_AT_MAX as i64])?;
        while let Some(row) = rows.next()? {
            let (id, room, time): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let size = u64::try_from(row.get::<_, i64>(3)?).unwrap_or_default();
            let is_over = left > 0;
            let is_old = age.is_some_and(|age| time < number(age.before.0));
            let is_to_come = age.is_some_and(|age| time > number(age.now.0));
            if !is_over && !is_old && !is_to_come {
                break;
            }
            goes.push((id, room, size));
            left = left.saturating_sub(size);
            if is_over || is_old {
                count = goes.len();
            }
            if count >= TRIM_EVENTS {
                break;
            }
        }
        goes.truncate(count);
    }
    let mut trimmed = Trimmed::default();
    for (id, room, size) in goes {
        let file = step
            .prepare_cached("DELETE FROM files WHERE id = ?1 RETURNING length, sha256")?
            .query_row([id], |row| contents(row, 0))
            .optional()?;
        if let Some(contents) = file {
            let nick = step
                .prepare_cached("SELECT nick FROM events WHERE id = ?1")?
                .query_row([id], |row| row.get(0))?;
            if let Some(id) = event_id(id) {
                trimmed.files.push(DeletedFile { id, nick, contents });
            }
        }
        step.prepare_cached("DELETE FROM told WHERE id = ?1")?
            .execute([id])?;
        step.prepare_cached("DELETE FROM events WHERE id = ?1")?
            .execute([id])?;
        step.prepare_cached("UPDATE rooms SET forgotten = ?1 WHERE id = ?2")?
            .execute([id, room])?;
        trimmed.events += 1;
        trimmed.bytes += size;
    }
    Ok(trimmed)
}

/// Removes the rows of rooms that have no event, no reader and no access list. The row of a deleted room is removed
/// only once the search index no longer contains its events.
pub(super) fn forget_empty(
    step: &Transaction<'_>,
    rooms: &mut Rooms,
) -> Result<Trimmed, StorageError> {
    let mut forget = step.prepare_cached(&format!(
        "DELETE FROM rooms WHERE NOT ({IS_DELETED}) AND NOT EXISTS (SELECT 1 FROM events WHERE room = rooms.id)
         AND NOT EXISTS (SELECT 1 FROM readers WHERE room = rooms.form)
         AND NOT EXISTS (SELECT 1 FROM roster WHERE bucket = 'rooms' AND key = rooms.form)
         RETURNING name, last_id",
    ))?;
    let gone = forget.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
    })?;
    let gone: Vec<(String, i64)> = gone.collect::<Result<_, _>>()?;
    let mut trimmed = Trimmed::default();
    if let Some(last) = gone.iter().map(|(_, last)| *last).max() {
        step.execute("UPDATE gone SET id = max(id, ?1)", [last])?;
        rooms.forget_numbers();
    }
    for (name, last) in gone {
        if let (Ok(name), Some(last)) = (RoomName::parse(&name), event_id(last)) {
            trimmed.rooms.push((name, last));
        }
    }
    Ok(trimmed)
}

/// Removes empty rooms from a log that was just opened.
pub(super) fn forget_empty_at_start(db: &mut Connection) -> Result<(), StorageError> {
    let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    forget_empty(&step, &mut Rooms::default())?;
    step.commit()?;
    Ok(())
}
