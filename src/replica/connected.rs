//! What the thread that reads the log tells the rest of the server.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use event_listener::Event;

use crate::cluster::nats::Handle;

/// Whether the server has caught up and may serve clients.
#[derive(Debug, Default)]
pub(super) struct Ready {
    is_set: AtomicBool,
    changed: Event,
}

impl Ready {
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
