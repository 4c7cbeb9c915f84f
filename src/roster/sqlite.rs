//! Buckets in the log's database, so that one file, one backup and one lock hold all that is kept.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::buckets::{Bucket, Buckets};
use crate::log::Error;

/// How long a change waits for the log's writer, which commits many times a second.
const BUSY: Duration = Duration::from_secs(10);

/// Buckets on disk: the table `roster` of a data folder's `chat.db`.
pub struct SqliteBuckets {
    db: Mutex<Connection>,
}

impl SqliteBuckets {
    /// Opens those of a folder whose log is open, which has made the table.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let db = Connection::open_with_flags(folder.join("chat.db"), flags)?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.busy_timeout(BUSY)?;
        Ok(Self { db: Mutex::new(db) })
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        self.db
            .lock()
            .expect("no thread panics while it holds this")
    }
}

impl Buckets for SqliteBuckets {
    fn get(&self, bucket: Bucket, key: &str) -> Result<Option<String>, Error> {
        let db = self.db();
        let mut get =
            db.prepare_cached("SELECT value FROM roster WHERE bucket = ?1 AND key = ?2")?;
        let value = get.query_row([bucket.word(), key], |row| row.get(0));
        Ok(value.optional()?)
    }

    fn all(&self, bucket: Bucket, prefix: &str) -> Result<Vec<(String, String)>, Error> {
        let db = self.db();
        let mut all = db.prepare_cached(
            "SELECT key, value FROM roster WHERE bucket = ?1 AND key >= ?2
             AND substr(key, 1, length(?2)) = ?2 ORDER BY key",
        )?;
        let rows = all.query_map([bucket.word(), prefix], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn put(&self, bucket: Bucket, key: &str, value: Option<&str>) -> Result<(), Error> {
        let db = self.db();
        match value {
            Some(value) => db
                .prepare_cached(
                    "INSERT OR REPLACE INTO roster (bucket, key, value) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![bucket.word(), key, value])?,
            None => db
                .prepare_cached("DELETE FROM roster WHERE bucket = ?1 AND key = ?2")?
                .execute([bucket.word(), key])?,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::buckets::MemoryBuckets;
    use super::*;
    use crate::log::sqlite::SqliteLog;

    /// Both kinds give the same answers, and what is on disk is there when it is opened again.
    #[test]
    fn buckets_on_disk_and_in_memory_are_alike() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = SqliteLog::open(folder.path(), Box::new(|_| {})).expect("a log");
        let memory = MemoryBuckets::default();
        for again in [false, true] {
            let disk = SqliteBuckets::open(folder.path()).expect("it is open");
            let both: [&dyn Buckets; 2] = [&memory, &disk];
            for buckets in both {
                let put = |bucket, key, value| buckets.put(bucket, key, value).expect("it is kept");
                if !again {
                    put(Bucket::Tokens, "ann x", Some("1"));
                    put(Bucket::Tokens, "ann y", Some("2"));
                    put(Bucket::Tokens, "anne x", Some("3"));
                    put(Bucket::Tokens, "ann z", Some("4"));
                    put(Bucket::Tokens, "ann z", None);
                    put(Bucket::Tokens, "ann y", Some("5"));
                    put(Bucket::Accounts, "ann", Some("6"));
                }
                let all = |prefix| buckets.all(Bucket::Tokens, prefix).expect("they are read");
                let row = |key: &str, value: &str| (key.to_owned(), value.to_owned());
                assert_eq!(all("ann "), [row("ann x", "1"), row("ann y", "5")]);
                assert_eq!(all("").len(), 3);
                let get = |key| buckets.get(Bucket::Accounts, key).expect("it is read");
                assert_eq!((get("ann"), get("ann x")), (Some("6".into()), None));
            }
        }
        drop(log);
    }
}
