//! A change of the shared state, and the work that is done when the change is complete.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, MutexGuard};

use tracing::warn;

use super::Server;
use super::shared_state::SharedState;
use crate::protocol::{Digest, EventId};

/// The work that a change leaves to be done without the lock.
#[derive(Default)]
pub(super) struct Released {
    /// The digests of files that lost a reference.
    pub digests: Vec<Digest>,
    /// Live files that have been removed.
    pub live: Vec<EventId>,
    /// Whether someone may have lost the right to read a room.
    pub has_acl_changes: bool,
    /// Whether there are messages about which somebody may have to be notified.
    pub has_to_notify: bool,
    /// Whether the log has rooms to delete.
    pub has_deleted_rooms: bool,
}

/// The lock on the [`SharedState`], held for a change. When it is dropped, the connections that have something to
/// read are woken and unreferenced files are deleted, so the code that makes a change need not do either.
pub(super) struct Changes<'a> {
    /// `Some` until this is dropped.
    state: Option<MutexGuard<'a, SharedState>>,
    server: &'a Arc<Server>,
}

impl<'a> Changes<'a> {
    pub fn of(server: &'a Arc<Server>, state: MutexGuard<'a, SharedState>) -> Self {
        let state = Some(state);
        Self { state, server }
    }
}

impl Deref for Changes<'_> {
    type Target = SharedState;

    fn deref(&self) -> &SharedState {
        self.state.as_ref().expect("it is there until the drop")
    }
}

impl DerefMut for Changes<'_> {
    fn deref_mut(&mut self) -> &mut SharedState {
        self.state.as_mut().expect("it is there until the drop")
    }
}

impl Drop for Changes<'_> {
    fn drop(&mut self) {
        let Some(mut state) = self.state.take() else {
            return;
        };
        // If a connection waits for its next turn, it has more input.
        state.is_to_be_continued |= self.server.scheduler.has_waiting();
        let released = state.flush_side_effects();
        drop(state);
        release(self.server, released);
    }
}

/// Deletes unreferenced files and ends live files that were removed. Makes the tasks that send the contents of rooms
/// check their rights again.
pub(super) fn release(server: &Arc<Server>, released: Released) {
    for id in released.live {
        if let Some(live) = server.live().remove(&id) {
            live.end(None);
        }
    }
    if released.has_acl_changes {
        server.acl_changes.notify(usize::MAX);
    }
    if released.has_to_notify {
        server.to_notify.notify(1);
    }
    if released.has_deleted_rooms {
        server.deleted_rooms.notify(usize::MAX);
    }
    for digest in released.digests {
        release_file(server, digest);
    }
}

/// Removes one reference to a stored file.
pub(super) fn release_file(server: &Server, digest: Digest) {
    let store = server.store.clone();
    let released = server.pool.run(move || {
        if let Err(e) = store.release(digest) {
            warn!("cannot remove a file: {e}");
        }
    });
    released.detach();
}
