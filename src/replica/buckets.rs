//! Accounts, bans and access lists that several servers share.
//!
//! A change is made on what this server has stored, and what the change has read and written is published. Every server
//! then writes the same values, unless a value has changed meanwhile that the change has read. In that case, the change
//! is made again from the beginning.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use rusqlite::Transaction;
use sha2::{Digest as _, Sha256};
use tracing::error;

use super::log::ReplicaLog;
use crate::accounts::buckets::{Bucket, Buckets, Edit, Values};
use crate::accounts::sqlite::{SqliteBuckets, Table};
use crate::accounts::{stored_acl, stored_action};
use crate::model::{Action, StorageError, StoredChange, ValuesChange, VersionedAcl};
use crate::protocol::Digest;

/// The number of times that a change is made. Between two of them, another server has made a change.
const ATTEMPTS_MAX: usize = 100;

/// A change that waits, and the caller that waits for it.
type Job = (Edit, Option<SyncSender<Result<(), StorageError>>>);

/// Accounts, bans and access lists that several servers share.
pub struct ReplicaBuckets {
    local: SqliteBuckets,
    jobs: Sender<Job>,
}

impl ReplicaBuckets {
    /// Returns the buckets that belong to a log.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn new(log: Arc<ReplicaLog>) -> Result<Self, StorageError> {
        let (jobs, waiting) = channel();
        let local = SqliteBuckets::new(log.local().clone());
        let thread = thread::Builder::new().name("accounts".into());
        thread.spawn(move || make_changes(&log, &waiting))?;
        Ok(Self { local, jobs })
    }
}

impl Buckets for ReplicaBuckets {
    fn get(&self, bucket: Bucket, key: &str) -> Result<Option<String>, StorageError> {
        self.local.get(bucket, key)
    }

    fn all(&self, bucket: Bucket, prefix: &str) -> Result<Vec<(String, String)>, StorageError> {
        self.local.all(bucket, prefix)
    }

    fn change(&self, edit: Edit) -> Result<(), StorageError> {
        let (caller, outcome) = sync_channel(1);
        let job = (edit, Some(caller));
        self.jobs.send(job).map_err(|_| StorageError::Ended)?;
        outcome.recv().unwrap_or(Err(StorageError::Ended))
    }

    fn change_later(&self, edit: Edit) {
        let _ = self.jobs.send((edit, None)); // the thread ends after this
    }
}

/// Makes one change after the other, until nobody can submit any more.
fn make_changes(log: &ReplicaLog, waiting: &Receiver<Job>) {
    let local = SqliteBuckets::new(log.local().clone());
    while let Ok((mut edit, caller)) = waiting.recv() {
        let outcome = make_change(log, &local, &mut edit);
        match (caller, outcome) {
            (Some(caller), outcome) => drop(caller.send(outcome)),
            (None, Ok(())) => {}
            (None, Err(e)) => error!("cannot store accounts, bans and permissions: {e}"),
        }
    }
}

fn make_change(
    log: &ReplicaLog,
    local: &SqliteBuckets,
    edit: &mut Edit,
) -> Result<(), StorageError> {
    for _ in 0..ATTEMPTS_MAX {
        let mut seen = Seen {
            local,
            change: std::cell::RefCell::default(),
            written: BTreeMap::new(),
        };
        edit(&mut seen)?;
        let mut change = seen.change.into_inner();
        let written = seen.written.into_iter();
        let written = written.map(|((bucket, key), value)| {
            (bucket.word().into(), key.into(), value.map(Into::into))
        });
        change.written = written.collect();
        if change.written.is_empty() {
            return Ok(());
        }
        match log.change(StoredChange::Values(change)) {
            Err(StorageError::Conflict) => {}
            outcome => return outcome,
        }
    }
    Err(StorageError::Conflict)
}

/// The values as a change sees them, which records what the change does.
struct Seen<'a> {
    local: &'a SqliteBuckets,
    change: std::cell::RefCell<ValuesChange>,
    written: BTreeMap<(Bucket, String), Option<String>>,
}

impl Values for Seen<'_> {
    fn get(&self, bucket: Bucket, key: &str) -> Result<Option<String>, StorageError> {
        if let Some(written) = self.written.get(&(bucket, key.to_owned())) {
            return Ok(written.clone());
        }
        let value = self.local.get(bucket, key)?;
        let read = (
            bucket.word().into(),
            key.into(),
            value.as_deref().map(digest),
        );
        self.change.borrow_mut().read.push(read);
        Ok(value)
    }

    fn all(&self, bucket: Bucket, prefix: &str) -> Result<Vec<(String, String)>, StorageError> {
        let stored = self.local.all(bucket, prefix)?;
        let listed = (bucket.word().into(), prefix.into(), digest_of_all(&stored));
        self.change.borrow_mut().listed.push(listed);
        let mut all: BTreeMap<String, String> = stored.into_iter().collect();
        for ((of, key), value) in &self.written {
            if *of == bucket && key.starts_with(prefix) {
                match value {
                    Some(value) => all.insert(key.clone(), value.clone()),
                    None => all.remove(key),
                };
            }
        }
        Ok(all.into_iter().collect())
    }

    fn put(&mut self, bucket: Bucket, key: &str, value: Option<&str>) -> Result<(), StorageError> {
        let key = (bucket, key.to_owned());
        self.written.insert(key, value.map(str::to_owned));
        Ok(())
    }
}

fn digest(value: &str) -> Digest {
    Digest(Sha256::digest(value).into())
}

fn digest_of_all(all: &[(String, String)]) -> Digest {
    let mut hash = Sha256::new();
    for (key, value) in all {
        hash.update((key.len() as u64).to_le_bytes());
        hash.update(key);
        hash.update((value.len() as u64).to_le_bytes());
        hash.update(value);
    }
    Digest(hash.finalize().into())
}

/// Writes the values of a change that has come through the log.
///
/// # Errors
/// [`StorageError::Conflict`] if a value has changed that the change depends on; others when the disk fails.
pub(super) fn write(step: &Transaction<'_>, change: &ValuesChange) -> Result<(), StorageError> {
    let mut table = Table(step);
    let named = |word: &str| Bucket::named(word).ok_or(StorageError::Conflict);
    for (bucket, key, known) in &change.read {
        let value = table.get(named(bucket)?, key)?;
        if value.as_deref().map(digest) != *known {
            return Err(StorageError::Conflict);
        }
    }
    for (bucket, prefix, known) in &change.listed {
        if digest_of_all(&table.all(named(bucket)?, prefix)?) != *known {
            return Err(StorageError::Conflict);
        }
    }
    for (bucket, key, value) in &change.written {
        table.put(named(bucket)?, key, value.as_deref())?;
    }
    Ok(())
}

/// Returns the access lists that a change has stored. `version` is its place in the log.
pub(super) fn acls(change: &ValuesChange, version: u64) -> Vec<VersionedAcl> {
    let written = change.written.iter();
    let lists = written.filter(|(bucket, ..)| **bucket == *Bucket::Rooms.word());
    let lists = lists.filter_map(|(_, _, value)| stored_acl(value.as_deref()?));
    lists
        .map(|(room, acl)| VersionedAcl { room, acl, version })
        .collect()
}

/// Returns what a change makes every server know of accounts and bans.
pub(super) fn actions(change: &ValuesChange) -> Vec<Action> {
    let written = change.written.iter();
    let actions = written.filter_map(|(bucket, key, value)| {
        stored_action(Bucket::named(bucket)?, key, value.as_deref())
    });
    actions.collect()
}
