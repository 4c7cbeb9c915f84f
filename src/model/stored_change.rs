//! Changes of what is stored besides events, where several servers share a chat.

use serde::{Deserialize, Serialize};

use crate::protocol::{Digest, Nick};

/// A change of what is stored besides events. All servers on a log make the same changes in the same order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredChange {
    /// Accounts, tokens, bans or access lists change, unless something has changed that the change depends on.
    Values(ValuesChange),
    /// Sets the position of a named reader.
    SetReader {
        /// The reader.
        reader: ReaderName,
        /// The owner of the reader, if the reader does not exist yet.
        owner: Box<str>,
        /// The position.
        seen: u64,
    },
    /// Deletes a named reader if this owner owns it.
    ForgetReader {
        /// The reader.
        reader: ReaderName,
        /// The owner.
        owner: Box<str>,
    },
    /// Empties the inbox of a nick.
    ClearInbox(Nick),
}

/// A named reader; see `log::Reader`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the fields are those of `log::Reader`
pub struct ReaderName {
    pub place: Box<str>,
    pub nick: Box<str>,
    pub name: Box<str>,
}

/// A change of stored values, with what it depends on. Buckets are given by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValuesChange {
    /// The values that were read, by bucket and key, each with its digest; `None` if there was no value.
    pub read: Vec<ReadValue>,
    /// The lists of values that were read, by bucket and prefix of the keys, each with the digest of all of it.
    pub listed: Vec<(Box<str>, Box<str>, Digest)>,
    /// The new values, by bucket and key; `None` if the value is removed.
    pub written: Vec<WrittenValue>,
}

/// A value that was read: its bucket, its key, and its digest.
pub type ReadValue = (Box<str>, Box<str>, Option<Digest>);

/// A value that is written: its bucket, its key, and the value.
pub type WrittenValue = (Box<str>, Box<str>, Option<Box<str>>);
