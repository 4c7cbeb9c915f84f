//! Stores string values under keys, in a few buckets. The interface is small enough that a cluster's key-value store
//! could implement it too.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use tracing::error;

use crate::model::StorageError;

/// A group of values of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // each is named after what it holds
pub enum Bucket {
    Accounts,
    Tokens,
    Hooks,
    Keys,
    Push,
    Server,
    Bans,
    Rooms,
}

impl Bucket {
    const ALL: [Self; 8] = [
        Self::Accounts,
        Self::Tokens,
        Self::Hooks,
        Self::Keys,
        Self::Push,
        Self::Server,
        Self::Bans,
        Self::Rooms,
    ];

    /// Returns the bucket with this name on disk.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bucket| bucket.word() == word)
    }

    /// Returns the bucket's name on disk.
    pub fn word(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Tokens => "tokens",
            Self::Hooks => "hooks",
            Self::Keys => "keys",
            Self::Push => "push",
            Self::Server => "server",
            Self::Bans => "bans",
            Self::Rooms => "rooms",
        }
    }
}

/// The stored values, as one transaction sees them.
pub trait Values {
    /// Returns the value under `key`.
    ///
    /// # Errors
    /// When the value cannot be read. This is also true of all methods below.
    fn get(&self, bucket: Bucket, key: &str) -> Result<Option<String>, StorageError>;

    /// Returns all keys in `bucket` that begin with `prefix`, with their values, in the order of the keys.
    #[allow(clippy::missing_errors_doc)]
    fn all(&self, bucket: Bucket, prefix: &str) -> Result<Vec<(String, String)>, StorageError>;

    /// Sets a value; `None` removes it.
    #[allow(clippy::missing_errors_doc)]
    fn put(&mut self, bucket: Bucket, key: &str, value: Option<&str>) -> Result<(), StorageError>;
}

/// A change that is made in one transaction. It may be called more than once, and must start from the beginning each
/// time.
pub type Edit = Box<dyn FnMut(&mut dyn Values) -> Result<(), StorageError> + Send>;

/// A store of buckets. Every method except [`Buckets::change_later`] may block.
pub trait Buckets: Send + Sync {
    /// Returns the value under `key`.
    ///
    /// # Errors
    /// When the value cannot be read. This is also true of all methods below.
    fn get(&self, bucket: Bucket, key: &str) -> Result<Option<String>, StorageError>;

    /// Returns all keys in `bucket` that begin with `prefix`, with their values, in the order of the keys.
    #[allow(clippy::missing_errors_doc)]
    fn all(&self, bucket: Bucket, prefix: &str) -> Result<Vec<(String, String)>, StorageError>;

    /// Makes a change. After an error, no part of it is stored. When this returns without an error, the change
    /// survives a crash.
    #[allow(clippy::missing_errors_doc)]
    fn change(&self, edit: Edit) -> Result<(), StorageError>;

    /// Makes a change without waiting. The change is stored before any later one, and before the server ends.
    fn change_later(&self, edit: Edit);
}

/// Buckets in memory, which are lost when the server ends.
#[derive(Debug, Default)]
pub struct MemoryBuckets {
    values: Mutex<BTreeMap<(Bucket, String), String>>,
}

impl MemoryBuckets {
    fn values(&self) -> MutexGuard<'_, BTreeMap<(Bucket, String), String>> {
        self.values
            .lock()
            .expect("no thread panics while it holds this")
    }
}

impl Buckets for MemoryBuckets {
    fn get(&self, bucket: Bucket, key: &str) -> Result<Option<String>, StorageError> {
        Values::get(&*self.values(), bucket, key)
    }

    fn all(&self, bucket: Bucket, prefix: &str) -> Result<Vec<(String, String)>, StorageError> {
        Values::all(&*self.values(), bucket, prefix)
    }

    fn change(&self, mut edit: Edit) -> Result<(), StorageError> {
        edit(&mut *self.values())
    }

    fn change_later(&self, edit: Edit) {
        if let Err(e) = self.change(edit) {
            error!("cannot store accounts, bans and permissions: {e}");
        }
    }
}

impl Values for BTreeMap<(Bucket, String), String> {
    fn get(&self, bucket: Bucket, key: &str) -> Result<Option<String>, StorageError> {
        Ok(Self::get(self, &(bucket, key.to_owned())).cloned())
    }

    fn all(&self, bucket: Bucket, prefix: &str) -> Result<Vec<(String, String)>, StorageError> {
        let from = self.range((bucket, prefix.to_owned())..);
        let found = from.take_while(|((of, key), _)| *of == bucket && key.starts_with(prefix));
        Ok(found
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect())
    }

    fn put(&mut self, bucket: Bucket, key: &str, value: Option<&str>) -> Result<(), StorageError> {
        let key = (bucket, key.to_owned());
        match value {
            Some(value) => self.insert(key, value.to_owned()),
            None => self.remove(&key),
        };
        Ok(())
    }
}
