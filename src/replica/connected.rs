//! What the thread that reads the log tells the rest of the server.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use event_listener::Event;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::cluster::nats::Handle;
use crate::model::{ServerName, millis};

/// Whether the server has caught up and may serve clients, and until when it may act in the name of a user without the
/// log.
#[derive(Debug, Default)]
pub(super) struct Ready {
    is_set: AtomicBool,
    /// The end of the lease, in milliseconds of [`now`]; 0 for none.
    lease_until_ms: AtomicU64,
    changed: Event,
}

impl Ready {
    pub fn set_lease(&self, until: Option<Duration>) {
        self.lease_until_ms
            .store(until.map_or(0, millis), Ordering::Release);
    }

    pub fn has_lease(&self) -> bool {
        millis(now()) < self.lease_until_ms.load(Ordering::Acquire)
    }

    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    pub fn set(&self, is_set: bool) {
        self.is_set.store(is_set, Ordering::Release);
        self.changed.notify(usize::MAX);
    }

    pub async fn wait(&self) {
        loop {
            let changed = self.changed.listen();
            if self.is_set() {
                return;
            }
            changed.await;
        }
    }
}

/// What a server has done with the log, as its operators see it.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The number of the last message that was read.
    pub read_to: u64,
    /// The size of the messages that were read and are not stored yet, in bytes.
    pub unstored_bytes: usize,
    /// The names of the servers that take part in the chat, as far as the log was read, in order.
    pub servers: Vec<ServerName>,
    /// The number of messages that this server has published. One that is published again counts again.
    pub published: u64,
    /// How often this server was cut off.
    pub cut_offs: u64,
    /// How often this server has joined the others: the number of its epochs that have begun.
    pub joined: u64,
    /// How often another server has left: the number of their epochs that have ended, as far as the log was read since
    /// the start.
    pub left: u64,
}

/// What a server tells operators of the chat about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// The name of the server.
    pub server: ServerName,
    /// Whether the server serves clients. Otherwise, it is cut off, or has not caught up yet.
    pub is_ready: bool,
    /// The number of the last message that the server has read.
    pub read_to: u64,
    /// The version of `chatd`.
    pub version: String,
}

/// The connection to NATS, while there is one.
#[derive(Debug, Default)]
pub(super) struct Connected {
    handle: Mutex<Option<Handle>>,
    changed: Event,
}

impl Connected {
    pub fn set(&self, handle: Option<Handle>) {
        *self
            .handle
            .lock()
            .expect("no thread panics while it holds this") = handle;
        self.changed.notify(usize::MAX);
    }

    pub fn current(&self) -> Option<Handle> {
        let handle = self
            .handle
            .lock()
            .expect("no thread panics while it holds this");
        handle.clone().filter(|handle| !handle.is_closed())
    }

    pub async fn handle(&self) -> Handle {
        loop {
            let changed = self.changed.listen();
            if let Some(handle) = self.current() {
                return handle;
            }
            changed.await;
        }
    }
}

/// Returns the time since the machine was started. It does not stand still while the machine sleeps.
pub(super) fn now() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}
