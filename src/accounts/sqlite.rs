//! Buckets in the log's database, so that one file, one backup and one lock are enough for everything.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use tracing::error;

use super::buckets::{Bucket, Buckets, Edit, Values};
use crate::log::sqlite::{Change, SqliteLog};
use crate::model::StorageError;

/// Buckets on disk. They are the table `roster` of a log, which is read and written like the log's other tables.
pub struct SqliteBuckets {
    log: Arc<SqliteLog>,
}

impl SqliteBuckets {
    /// Returns the buckets in the database of a log.
    pub fn new(log: Arc<SqliteLog>) -> Self {
        Self { log }
    }
}

impl Buckets for SqliteBuckets {
    fn get(&self, bucket: Bucket, key: &str) -> Result<Option<String>, StorageError> {
        self.log.ask(|db| get(db, bucket, key))
    }

    fn all(&self, bucket: Bucket, prefix: &str) -> Result<Vec<(String, String)>, StorageError> {
        self.log.ask(|db| all(db, bucket, prefix))
    }

    fn change(&self, mut edit: Edit) -> Result<(), StorageError> {
        self.log
            .change(false, move |step, _| edit(&mut Table(step)))
    }

    fn change_later(&self, mut edit: Edit) {
        self.log.change_later(Change {
            makes_space: false,
            make: Box::new(move |step, _| edit(&mut Table(step))),
            done: Box::new(|outcome| {
                if let Err(e) = outcome {
                    error!("cannot store accounts, bans and permissions: {e}");
                }
            }),
        });
    }
}

/// The table `roster`, as one transaction sees it.
pub(crate) struct Table<'a>(pub &'a Connection);

impl Values for Table<'_> {
    fn get(&self, bucket: Bucket, key: &str) -> Result<Option<String>, StorageError> {
        get(self.0, bucket, key)
    }

    fn all(&self, bucket: Bucket, prefix: &str) -> Result<Vec<(String, String)>, StorageError> {
        all(self.0, bucket, prefix)
    }

    fn put(&mut self, bucket: Bucket, key: &str, value: Option<&str>) -> Result<(), StorageError> {
        let db = self.0;
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

fn get(db: &Connection, bucket: Bucket, key: &str) -> Result<Option<String>, StorageError> {
    let mut get = db.prepare_cached("SELECT value FROM roster WHERE bucket = ?1 AND key = ?2")?;
    let value = get.query_row([bucket.word(), key], |row| row.get(0));
    Ok(value.optional()?)
}

fn all(
    db: &Connection,
    bucket: Bucket,
    prefix: &str,
) -> Result<Vec<(String, String)>, StorageError> {
    let mut all = db.prepare_cached(
        "SELECT key, value FROM roster WHERE bucket = ?1 AND key >= ?2
         AND substr(key, 1, length(?2)) = ?2 ORDER BY key",
    )?;
    let rows = all.query_map([bucket.word(), prefix], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::super::buckets::MemoryBuckets;
    use super::*;

    /// Buckets in memory and on disk give the same answers, and values on disk persist when the log is
    /// opened again.
    #[test]
    fn buckets_on_disk_and_in_memory_are_alike() {
        let folder = tempfile::tempdir().expect("a folder");
        let memory = MemoryBuckets::default();
        for again in [false, true] {
            let log = SqliteLog::open(folder.path(), Box::new(|_| {})).expect("a log");
            let disk = SqliteBuckets::new(Arc::new(log));
            let both: [&dyn Buckets; 2] = [&memory, &disk];
            for buckets in both {
                let put = |bucket, key: &'static str, value: Option<&'static str>| {
                    let edit: Edit = Box::new(move |values| values.put(bucket, key, value));
                    buckets.change(edit).expect("it is kept");
                };
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
    }

    /// Unregistering a nick removes its tokens, its account and its rooms, or none of them.
    #[test]
    fn a_failed_change_stores_nothing_and_undoes_no_other_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = SqliteLog::open(folder.path(), Box::new(|_| {})).expect("a log");
        let disk = SqliteBuckets::new(Arc::new(log));
        disk.change_later(Box::new(|values| {
            values.put(Bucket::Accounts, "bob", Some("1"))
        }));
        let failed = disk.change(Box::new(|values| {
            values.put(Bucket::Accounts, "ann", Some("1"))?;
            Err(StorageError::Ended)
        }));
        failed.expect_err("it fails");
        let get = |key| disk.get(Bucket::Accounts, key).expect("it is read");
        assert_eq!((get("ann"), get("bob")), (None, Some("1".into())));
    }
}
