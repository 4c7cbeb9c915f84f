//! What a log stores that several servers share. Each server has a copy of it, its replica, and writes the same
//! messages into it in the same order.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::schema::{self, lock};
use super::writer::Make;
use super::{Reader, inbox, readers, search_index};
use crate::files::private;
use crate::model::{
    Checkpoint, DeletedFile, Entry, ReaderName, Report, SharedReport, StorageError, StoredChange,
    Ticket,
};
use crate::protocol::{EventId, Time};

/// A message of the log, as a server stores it.
pub(crate) struct Message {
    /// The sequence number.
    pub sequence: u64,
    /// The time at which the log has received the message.
    pub time: Time,
    /// What becomes of the message, in order.
    pub steps: Vec<Step>,
    /// Dropped when the message is stored.
    pub held: Option<Box<dyn Send>>,
}

/// A part of what becomes of a message.
pub(crate) enum Step {
    /// Stores an entry. The first of its events gets this id.
    Store(Arc<Entry>, EventId, Option<Ticket>),
    /// Makes a change that is not an event.
    Change(SharedChange),
    /// Reports something when everything before it is stored.
    Report(Report),
}

/// A change that is not an event.
pub(crate) struct SharedChange {
    /// The function that makes the change. It may run more than once, and starts from the beginning each time. If it
    /// fails because of the change, and not because of the disk, it fails on every server.
    pub make: Make,
    /// The function that is called when the change is stored or has failed. What it returns is reported.
    pub done: Box<dyn FnOnce(Result<(), StorageError>) -> Vec<SharedReport> + Send>,
}

impl Message {
    /// Returns the number of events of the message. Other steps count as one, because they take as long.
    pub fn events(&self) -> usize {
        let events = self.steps.iter().map(|step| match step {
            Step::Store(entry, ..) => entry.events(),
            Step::Change(_) => 1,
            Step::Report(_) => 0,
        });
        events.sum()
    }

    /// Returns whether the message has something to store.
    pub fn is_stored(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| !matches!(step, Step::Report(_)))
    }
}

/// Where a replica is in the log that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The name of the log.
    pub log: String,
    /// The number of the last message whose entries are stored.
    pub applied: u64,
    /// The last checkpoint, with what all servers agreed on there.
    pub checkpoint: Option<(Checkpoint, String)>,
    /// The places in the log of the changes of accounts and bans that have been made since the checkpoint.
    pub made: HashSet<u64>,
}

impl Position {
    /// Returns the number of the first message that the server must read.
    pub fn needed(&self) -> u64 {
        let checkpoint = self.checkpoint.as_ref();
        checkpoint.map_or(self.applied, |(checkpoint, _)| checkpoint.sequence) + 1
    }

    /// Returns the number of the newest message that the server has seen.
    pub fn newest(&self) -> u64 {
        self.applied.max(self.needed() - 1)
    }
}

/// A copy of another server's replica, while it is received. It is deleted if it is dropped before its end.
pub struct NewCopy {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    length: u64,
    _lock: File,
}

impl NewCopy {
    /// The name of the file that is being received.
    pub const PART: &str = "chat.db.part";

    /// Begins to receive a database for the data folder `folder`. No server may be using the folder.
    ///
    /// # Errors
    /// When another server uses the folder, or the file cannot be created.
    pub fn begin(folder: &Path) -> Result<Self, StorageError> {
        let lock = lock(folder)?;
        let path = folder.join(Self::PART);
        Ok(Self {
            folder: folder.to_owned(),
            file: private::open_file(&path)?,
            path,
            length: 0,
            _lock: lock,
        })
    }

    /// Returns the number of bytes that have been received.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Forgets what has been received.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn restart(&mut self) -> Result<(), StorageError> {
        self.file.set_len(0)?;
        self.length = 0;
        Ok(())
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.file.write_all_at(bytes, self.length)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Returns a function that reads the whole file, and returns where the replica is that was received; `None` if the file
    /// is not a whole replica. The function fails if a newer version of this program wrote the database.
    pub fn check(
        &self,
    ) -> impl FnOnce() -> Result<Option<Position>, StorageError> + Send + 'static {
        let path = self.path.clone();
        move || match checked_position(&path) {
            Err(StorageError::Sqlite(_) | StorageError::Empty) => Ok(None),
            read => read,
        }
    }

    /// Puts the database in place of the one that there may be. The search index is built anew.
    ///
    /// # Errors
    /// When the folder cannot be changed, or another program reads the database.
    pub fn finish(self) -> Result<(), StorageError> {
        self.file.sync_all()?;
        let log = super::path(&self.folder);
        if log.exists() {
            // The files beside the old database must not be taken for those of the new one. This fails if anybody still
            // reads the old one.
            let old = schema::open_again(&log)?;
            old.pragma_update(None, "journal_mode", "DELETE")?;
        }
        search_index::forget(&self.folder)?;
        fs::rename(&self.path, &log)?;
        File::open(&self.folder)?.sync_all()?;
        Ok(())
    }
}

fn checked_position(path: &Path) -> Result<Option<Position>, StorageError> {
    schema::is_current(path)?;
    let db = schema::open_again(path)?;
    let is_whole = db.pragma_query_value(None, "quick_check", |row| {
        row.get::<_, String>(0).map(|found| found == "ok")
    });
    if !is_whole? {
        return Ok(None);
    }
    position(&db)
}

impl Drop for NewCopy {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // after the end, there is none
    }
}

/// Makes a replica of a database, or continues with the one that it is.
pub(super) fn begin(db: &Connection, log: &str, applied: u64) -> Result<(), StorageError> {
    db.execute_batch(
        "CREATE TABLE IF NOT EXISTS cluster (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS made (version INTEGER PRIMARY KEY)",
    )?;
    let sql = "INSERT OR IGNORE INTO cluster (key, value) VALUES ('log', ?1), ('applied', ?2)";
    db.execute(sql, params![log, applied as i64])?;
    Ok(())
}

/// Returns where a replica is; `None` if the database is not a replica.
pub(super) fn position(db: &Connection) -> Result<Option<Position>, StorageError> {
    let there = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'cluster'";
    if !db.prepare(there)?.exists([])? {
        return Ok(None);
    }
    let mut get = db.prepare("SELECT value FROM cluster WHERE key = ?1")?;
    let log = get.query_row(["log"], |row| row.get(0))?;
    let applied: i64 = get.query_row(["applied"], |row| row.get(0))?;
    let mut text = |key| {
        get.query_row([key], |row| row.get::<_, String>(0))
            .optional()
    };
    let (members, state) = (text("members")?, text("state")?);
    let sequence: Option<i64> = get.query_row(["sequence"], |row| row.get(0)).optional()?;
    let number = |number: i64| u64::try_from(number).unwrap_or_default();
    let checkpoint = sequence.zip(members).map(|(sequence, members)| Checkpoint {
        sequence: number(sequence),
        members,
    });
    let mut made = db.prepare("SELECT version FROM made")?;
    let made = made.query_map([], |row| Ok(number(row.get(0)?)))?;
    Ok(Some(Position {
        made: made.collect::<Result<_, _>>()?,
        log,
        applied: number(applied),
        checkpoint: checkpoint.zip(state),
    }))
}

/// Ends the replica: the database belongs to a single server again.
pub(super) fn end(step: &Transaction<'_>) -> Result<(), StorageError> {
    step.execute_batch("DROP TABLE IF EXISTS cluster; DROP TABLE IF EXISTS made")?;
    Ok(())
}

/// Records that everything up to a message of the log is stored.
pub(super) fn set_applied(step: &Transaction<'_>, sequence: u64) -> rusqlite::Result<()> {
    let mut set =
        step.prepare_cached("UPDATE cluster SET value = ?1 WHERE key = 'applied' AND value < ?1")?;
    set.execute([sequence as i64])?;
    Ok(())
}

/// Records that a change of accounts and bans has been made. `version` is its place in the log.
pub(crate) fn set_made(step: &Transaction<'_>, version: u64) -> Result<(), StorageError> {
    let mut set = step.prepare_cached("INSERT OR IGNORE INTO made (version) VALUES (?1)")?;
    set.execute([version as i64])?;
    Ok(())
}

/// Stores a checkpoint.
pub(super) fn remember(
    step: &Transaction<'_>,
    checkpoint: &Checkpoint,
    state: &str,
) -> Result<(), StorageError> {
    let sql = "INSERT OR REPLACE INTO cluster (key, value)
               VALUES ('sequence', ?1), ('members', ?2), ('state', ?3)";
    let sequence = checkpoint.sequence as i64;
    step.execute(sql, params![sequence, checkpoint.members, state])?;
    let before = ((checkpoint.sequence + 1) << 10) as i64;
    step.execute("DELETE FROM made WHERE version < ?1", [before])?;
    Ok(())
}

/// Returns the id of the newest event; 0 if there was never one.
pub(super) fn last_id(db: &Connection) -> Result<u64, StorageError> {
    let sql = "SELECT max((SELECT coalesce(max(id), 0) FROM events), (SELECT coalesce(max(id), 0) FROM gone))";
    let last: i64 = db.query_row(sql, [], |row| row.get(0))?;
    Ok(u64::try_from(last).unwrap_or_default())
}

/// Returns whether nothing was ever stored, neither an event nor an account.
pub(super) fn is_unused(db: &Connection) -> Result<bool, StorageError> {
    let is_used: bool =
        db.query_row("SELECT EXISTS (SELECT 1 FROM roster)", [], |row| row.get(0))?;
    Ok(!is_used && last_id(db)? == 0)
}

/// Makes a change that is not an event and not one of the stored values. Returns the files that are deleted with it.
pub(crate) fn make_change(
    step: &Transaction<'_>,
    change: &StoredChange,
) -> Result<Vec<DeletedFile>, StorageError> {
    match change {
        StoredChange::Values(_) => {}
        StoredChange::SetReader {
            reader,
            owner,
            seen,
        } => readers::set(step, &reader.clone().into(), owner, *seen)?,
        StoredChange::ForgetReader { reader, owner } => {
            readers::forget(step, &reader.clone().into(), owner)?;
        }
        StoredChange::ClearInbox(nick) => return inbox::forget(step, nick.casefolded()),
    }
    Ok(Vec::new())
}

impl From<ReaderName> for Reader {
    fn from(name: ReaderName) -> Self {
        Self {
            place: name.place,
            nick: name.nick.into(),
            name: name.name.into(),
        }
    }
}

impl From<&Reader> for ReaderName {
    fn from(reader: &Reader) -> Self {
        Self {
            place: reader.place.clone(),
            nick: reader.nick.as_str().into(),
            name: reader.name.as_str().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::sqlite::SqliteLog;

    /// Returns the number of the last message of the log that a received database contains.
    fn received(folder: &Path, database: &[u8]) -> Option<u64> {
        let mut copy = NewCopy::begin(folder).unwrap();
        copy.write(database).unwrap();
        Some(copy.check()().unwrap()?.newest())
    }

    #[test]
    fn a_damaged_copy_is_not_used() {
        let [from, to] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let log = SqliteLog::open(from.path(), Box::new(|_| {})).unwrap();
        let copied = from.path().join("copy");
        let copy = || {
            let _ = fs::remove_file(&copied);
            log.copy(&copied).unwrap();
            fs::read(&copied).unwrap()
        };
        assert_eq!(received(to.path(), &copy()), None, "it is no replica");
        log.replicate("tea", 0).unwrap();
        let whole = copy();
        assert_eq!(received(to.path(), &whole), Some(0));
        let mut damaged = whole.clone();
        damaged[2 * 4096..][..64].fill(0xff);
        for database in [&whole[..whole.len() - 4096], &damaged, b"no database", b""] {
            assert_eq!(received(to.path(), database), None, "{}", database.len());
        }
    }
}
