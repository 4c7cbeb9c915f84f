//! The tables of the log, the migration of older databases, and the lock of the data folder.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::files::private;
use crate::model::StorageError;

/// The maximum time that one writer waits for another. The other writer is in another process, because in a server
/// only one thread writes.
const BUSY: Duration = Duration::from_secs(10);

/// The migrations. The migration with the index `n` converts a database of version `n` to version `n + 1`. A released
/// migration never changes.
const MIGRATIONS: &[&str] = &[
    "
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
",
    // The search index moves to a database of its own (`words`), and this database stores accounts and access lists.
    "
    DROP TABLE words;
    CREATE TABLE roster (
        bucket TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL, -- JSON
        PRIMARY KEY (bucket, key)
    ) STRICT, WITHOUT ROWID;
",
    // Direct messages between registered nicks are stored, under a row of `rooms` for each nick that receives one.
    "
    CREATE TABLE told (
        nick TEXT NOT NULL, -- who may read it, as nicks are compared: who told it, who was told
        id INTEGER NOT NULL REFERENCES events,
        PRIMARY KEY (nick, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX told_of_event ON told (id);
",
    // The number of readers is limited, and unused readers expire. A room is removed together with its last event.
    "
    ALTER TABLE readers ADD COLUMN owner TEXT NOT NULL DEFAULT ''; -- a registered nick, or '@' and an address
    ALTER TABLE readers ADD COLUMN used INTEGER NOT NULL DEFAULT 0; -- when it was moved last, as in events
    UPDATE readers SET owner = nick, used = unixepoch() * 1000;
    CREATE INDEX readers_of ON readers (owner);
    CREATE TABLE gone (
        id INTEGER NOT NULL -- the newest event of those rooms that have gone
    ) STRICT;
    INSERT INTO gone VALUES (0);
",
    // Events have tags, edits and reactions, and a nonce prevents a message from being stored twice.
    "
    ALTER TABLE events ADD COLUMN tags TEXT NOT NULL DEFAULT ''; -- as they are sent, without the @
    CREATE TABLE nonces (
        nick TEXT NOT NULL, -- as nicks are compared
        nonce TEXT NOT NULL,
        id INTEGER NOT NULL, -- of the event
        time INTEGER NOT NULL, -- of the event
        UNIQUE (nick, nonce)
    ) STRICT;
    CREATE INDEX nonces_of_time ON nonces (time);
    ALTER TABLE events ADD COLUMN edited INTEGER; -- when, as in time; none if it was not
    ALTER TABLE events ADD COLUMN reacts TEXT NOT NULL DEFAULT ''; -- as it is sent: 👍*3,🎉*1
    CREATE TABLE edits (
        event INTEGER NOT NULL,
        edit INTEGER NOT NULL, -- the id of the event EDIT
        PRIMARY KEY (event, edit)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE reactions (
        event INTEGER NOT NULL,
        emoji TEXT NOT NULL,
        form TEXT NOT NULL, -- of the nick, as nicks are compared
        nick TEXT NOT NULL,
        UNIQUE (event, emoji, form)
    ) STRICT;
    CREATE TRIGGER event_is_deleted AFTER DELETE ON events WHEN OLD.edited NOTNULL OR OLD.reacts <> '' BEGIN
        DELETE FROM edits WHERE event = OLD.id;
        DELETE FROM reactions WHERE event = OLD.id;
    END;
",
    // A deleted event has the tag `removed`. Before, only its text `-` showed that it was deleted.
    "
    WITH RECURSIVE deleted (id) AS (
        SELECT CAST(text AS INTEGER) FROM events WHERE verb = 'REMOVE'
        UNION -- the other lines of a text
        SELECT next.id FROM deleted JOIN events line USING (id) JOIN events next ON next.id = line.id + 1
        WHERE line.verb = 'MSG' AND next.verb = 'MSG' AND next.text = '-' AND next.tags = ''
            AND (next.room, next.nick, next.time) = (line.room, line.nick, line.time)
    )
    UPDATE events SET tags = 'removed' WHERE id IN deleted
        AND (verb IN ('MSG', 'ME') AND text = '-' OR verb = 'FILE' AND id NOT IN (SELECT id FROM files));
    UPDATE events SET tags = 'removed' WHERE verb = 'EDIT' AND text LIKE '% -'
        AND CAST(text AS INTEGER) IN (SELECT id FROM events WHERE tags = 'removed');
",
];

/// The first character of the name of an inbox in `rooms`. No room's name begins with it.
pub(super) const NICK_MARK: char = '@';

/// Locks a data folder, so that no two servers write to the same log.
///
/// # Errors
/// [`StorageError::InUse`] when another process holds the lock.
pub fn lock(folder: &Path) -> Result<File, StorageError> {
    private::make_folder(folder)?;
    let file = private::open_file(&folder.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StorageError::InUse),
        Err(TryLockError::Error(e)) => Err(e.into()),
    }
}

/// Returns whether the log at `path` can be read without a migration. Changes nothing.
///
/// # Errors
/// When there is no log, or a newer version wrote it.
pub(super) fn is_current(path: &Path) -> Result<bool, StorageError> {
    check_size(path)?;
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.busy_timeout(BUSY)?;
    has_all_migrations(&db)
}

/// Opens a log without writing to it: it is not migrated, and its write-ahead log is not copied into it.
///
/// # Errors
/// [`StorageError::NotMigrated`], and those of [`is_current`].
pub(super) fn open_unchanged(path: &Path) -> Result<Connection, StorageError> {
    check_size(path)?;
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.busy_timeout(BUSY)?;
    if !has_all_migrations(&db)? {
        return Err(StorageError::NotMigrated);
    }
    db.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(db)
}

fn has_all_migrations(db: &Connection) -> Result<bool, StorageError> {
    match version(db)? {
        0 => Err(StorageError::Empty),
        version => Ok(version == MIGRATIONS.len()),
    }
}

/// Accepts an empty file as a new log. Refuses it if the WAL file of an older log is beside it, because SQLite would
/// delete that WAL file.
fn check_size(path: &Path) -> Result<(), StorageError> {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let size = |path: &Path| path.metadata().map(|file| file.len());
    match (size(path)?, size(Path::new(&wal))) {
        (0, Ok(1..)) => Err(StorageError::Lost),
        _ => Ok(()),
    }
}

/// Returns the number of migrations that have run.
fn version(db: &Connection) -> Result<usize, StorageError> {
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match usize::try_from(version) {
        Ok(done) if done <= MIGRATIONS.len() => Ok(done),
        _ => Err(StorageError::TooNew(version)),
    }
}

/// Opens the log of a locked folder for writing, and migrates it.
pub(super) fn open(path: &Path) -> Result<Connection, StorageError> {
    drop(private::open_file(path)?); // SQLite gives the files beside it the same permissions
    for end in ["-wal", "-shm"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(end);
        private::tighten(Path::new(&beside));
    }
    check_size(path)?;
    let mut db = Connection::open(path)?;
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    let done = version(&db)?;
    for (n, migration) in MIGRATIONS.iter().enumerate().skip(done) {
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step.execute_batch(migration)?;
        step.pragma_update(None, "user_version", n as i64 + 1)?;
        step.commit()?;
    }
    Ok(db)
}

/// The size of the cache of one connection for reading, in KiB. The operating system caches the rest of the log.
const READER_CACHE_KIB: i64 = 256;

/// Opens another connection to a migrated log. The connection is read-only, because in a server only the writer
/// thread writes.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, StorageError> {
    let db = open_again(path)?;
    db.pragma_update(None, "query_only", true)?;
    db.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(db)
}

/// Opens another connection for writing to a migrated log that no server uses.
pub(super) fn open_again(path: &Path) -> Result<Connection, StorageError> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.busy_timeout(BUSY)?;
    Ok(db)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message whose text is only `-` is kept, and so are edits that set the text to `-`.
    #[test]
    fn messages_deleted_under_an_older_version_get_the_tag() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let db = Connection::open(&path).expect("a new log");
        let before = MIGRATIONS.get(..5).expect("there are more");
        for migration in before {
            db.execute_batch(migration).expect("it is SQL");
        }
        db.pragma_update(None, "user_version", before.len() as i64)
            .expect("set");
        db.execute_batch(
            "INSERT INTO rooms (id, form, name) VALUES (1, 'a', '#a');
             INSERT INTO events (id, room, time, verb, nick, text) VALUES
             (1, 1, 10, 'MSG', 'ann', '-'), (2, 1, 10, 'MSG', 'ann', '-'), (3, 1, 11, 'MSG', 'ann', '-'),
             (4, 1, 12, 'FILE', 'ann', '5 -'), (5, 1, 13, 'FILE', 'ann', '5 notes'), (6, 1, 14, 'EDIT', 'ann', '1 -'),
             (7, 1, 15, 'EDIT', 'ann', '3 -'), (8, 1, 16, 'REMOVE', 'ann', '1'), (9, 1, 17, 'REMOVE', 'ann', '4'),
             (10, 1, 18, 'ME', 'ann', '-');
             INSERT INTO files (id, room, name) VALUES (5, 1, 'notes');",
        )
        .expect("they are stored");
        drop(db);
        let db = open(&path).expect("it is migrated");
        let deleted = "SELECT group_concat(id) FROM (SELECT id FROM events WHERE tags = 'removed' ORDER BY id)";
        let deleted: String = db
            .query_row(deleted, [], |row| row.get(0))
            .expect("some are");
        assert_eq!(deleted, "1,2,4,6");
    }
}
