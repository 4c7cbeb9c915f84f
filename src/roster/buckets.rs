//! Named values under keys, in a few buckets: what is left of a store when nothing is asked of it that a
//! cluster's could not do.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::log::Error;

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

/// Where they are kept. Everything may block.
pub trait Buckets: Send + Sync {
    /// The value under `key`.
    ///
    /// # Errors
    /// When it cannot be read; so with all that follow.
    fn get(&self, bucket: Bucket, key: &str) -> Result<Option<String>, Error>;

    /// Everything in `bucket` whose key begins with `prefix`, in the order of the keys.
    #[allow(clippy::missing_errors_doc)]
    fn all(&self, bucket: Bucket, prefix: &str) -> Result<Vec<(String, String)>, Error>;

    /// Keeps a value, or with `None` takes out what is there; once it returns, that outlives a crash.
    #[allow(clippy::missing_errors_doc)]
    fn put(&self, bucket: Bucket, key: &str, value: Option<&str>) -> Result<(), Error>;
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
    fn get(&self, bucket: Bucket, key: &str) -> Result<Option<String>, Error> {
        Ok(self.values().get(&(bucket, key.to_owned())).cloned())
    }

    fn all(&self, bucket: Bucket, prefix: &str) -> Result<Vec<(String, String)>, Error> {
        let values = self.values();
        let from = values.range((bucket, prefix.to_owned())..);
        let found = from.take_while(|((of, key), _)| *of == bucket && key.starts_with(prefix));
        Ok(found
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect())
    }

    fn put(&self, bucket: Bucket, key: &str, value: Option<&str>) -> Result<(), Error> {
        let key = (bucket, key.to_owned());
        match value {
            Some(value) => self.values().insert(key, value.to_owned()),
            None => self.values().remove(&key),
        };
        Ok(())
    }
}
