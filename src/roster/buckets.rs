//! Named values under keys, in a few buckets: what is left of a store when nothing is asked of it that a
//! cluster's could not do.

use crate::model::StorageError;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use tracing::error;

/// What is kept together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // each holds what it is called
pub enum Bucket {
    Accounts,
    Tokens,
    Bans,
    Rooms,
}

impl Bucket {
    /// What it is called on disk.
    pub fn word(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Tokens => "tokens",
            Self::Bans => "bans",
            Self::Rooms => "rooms",
        }
    }
}

/// The values as they are read, or changed in one step.
pub trait Values {
    /// The value under `key`.
    ///
    /// # Errors
    /// When it cannot be read; so with all that follow.
    fn get(&self, bucket: Bucket, key: &str) -> Result<Option<String>, StorageError>;

    /// Everything in `bucket` whose key begins with `prefix`, in the order of the keys.
    #[allow(clippy::missing_errors_doc)]
    fn all(&self, bucket: Bucket, prefix: &str) -> Result<Vec<(String, String)>, StorageError>;

    /// Sets a value, or with `None` takes out what is there.
    #[allow(clippy::missing_errors_doc)]
    fn put(&mut self, bucket: Bucket, key: &str, value: Option<&str>) -> Result<(), StorageError>;
}

/// What is to be changed in one step; it may be tried again, from the beginning.
pub type Edit = Box<dyn FnMut(&mut dyn Values) -> Result<(), StorageError> + Send>;

/// Where they are kept. Everything but [`Buckets::change_later`] may block.
pub trait Buckets: Send + Sync {
    /// The value under `key`.
    ///
    /// # Errors
    /// When it cannot be read; so with all that follow.
    fn get(&self, bucket: Bucket, key: &str) -> Result<Option<String>, StorageError>;

    /// Everything in `bucket` whose key begins with `prefix`, in the order of the keys.
    #[allow(clippy::missing_errors_doc)]
    fn all(&self, bucket: Bucket, prefix: &str) -> Result<Vec<(String, String)>, StorageError>;

    /// Changes something: all of it is kept or, after an error, nothing. Once it returns, that outlives a crash.
    #[allow(clippy::missing_errors_doc)]
    fn change(&self, edit: Edit) -> Result<(), StorageError>;

    /// The same without waiting: it is kept before any later change is, and before the server ends.
    fn change_later(&self, edit: Edit);
}

/// Buckets that go with the server.
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
            error!("cannot keep who belongs: {e}");
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
