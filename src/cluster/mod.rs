//! How several servers share one log: which messages of the log count, and what a server may publish when.
//!
//! The log may be any service that puts messages into one order and reports to every server all messages in that order.
//! Nothing else is expected of it. It may lose a message before it has reported it, and it may contain a message twice,
//! because a server publishes a message again until it has read that message in the log. So a server never needs to
//! know why a message was not reported in time.
//!
//! A server publishes **batches** of items, one at a time. It may publish only in an **epoch**, which begins with a
//! greeting of the server. When the other servers have not heard from a server for some time, one of them ends the
//! server's epoch with a **fence**. Batches of an ended epoch are ignored by all servers, including the one that has
//! published them. So a server that was suspended or cut off can never act in the name of a user who has found another
//! server in the meantime: everything that it had not yet published successfully has no effect, and it can say so truly.
//!
//! [`Members`] decides what counts, and [`Publisher`] what is published. [`node::Node`] connects the two with the form
//! of the messages ([`wire`]), and says what a server must do because of a message. All of this is pure: time is passed
//! in, and messages are values.

mod members;
pub mod nats;
pub mod node;
pub mod publisher;
#[cfg(test)]
mod tests;
pub mod wire;

pub use members::{Members, Read};
pub use publisher::{Published, Publisher, Size};

use serde::{Deserialize, Serialize};

use crate::model::ServerName;

/// The number of an epoch: the sequence number of the greeting that has begun it.
pub type Epoch = u64;

/// A message of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<T> {
    /// The server that has published the message.
    pub by: ServerName,
    /// The content.
    pub content: Content<T>,
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Content<T> {
    /// A greeting. It begins an epoch of the server, and ends the server's former epoch.
    Hello {
        /// The server's former epoch, as far as the server knows; 0 for none. If the server has begun another epoch
        /// since, the greeting has no effect: it is a repetition, or comes from a process that has ended.
        former: Epoch,
        /// A random number, by which a process recognizes its own greeting.
        nonce: u64,
    },
    /// A batch, which may be empty: it shows that the server is alive.
    Batch {
        /// The epoch in which the server publishes the batch.
        epoch: Epoch,
        /// The place of the batch in its epoch; the first has number 1.
        number: u64,
        /// The epochs of other servers that this batch ends.
        fences: Vec<Fence>,
        /// The items, in order. They have lines of their own in [`wire`].
        #[serde(skip)]
        items: Vec<T>,
    },
    /// The server stops and ends its epoch.
    Goodbye {
        /// The epoch.
        epoch: Epoch,
    },
}

/// The end of another server's epoch, because the server is silent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The other server.
    pub server: ServerName,
    /// The epoch that ends. If the server has begun another one since, the fence has no effect.
    pub epoch: Epoch,
    /// The number of the server's last batch. If the server has published another one since, it was not silent, and the
    /// fence has no effect.
    pub batches: u64,
}
