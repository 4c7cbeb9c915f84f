//! A change of what all connections share, and what follows from it when the change is over.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, MutexGuard};

use smol::unblock;
use tracing::warn;

use super::Server;
use super::world::World;
use crate::protocol::{Digest, EventId};

/// What others have no use for any more.
#[derive(Default)]
pub(super) struct Released {
    /// The digests of files of which there is one less.
    pub digests: Vec<Digest>,
    /// Live files that have been removed.
    pub live: Vec<EventId>,
    /// Somebody may read less than before.
    pub has_new_rights: bool,
}

/// The lock around the [`World`], held for a change. When it is let go of, those who have something to read are
/// woken and files that nobody can ask for are deleted: nobody who changes something has to think of that.
pub(super) struct Changes<'a> {
    /// `Some` until this is dropped.
    world: Option<MutexGuard<'a, World>>,
    server: &'a Arc<Server>,
}

impl<'a> Changes<'a> {
    pub fn of(server: &'a Arc<Server>, world: MutexGuard<'a, World>) -> Self {
        let world = Some(world);
        Self { world, server }
    }
}

impl Deref for Changes<'_> {
    type Target = World;

    fn deref(&self) -> &World {
        self.world.as_ref().expect("it is there until the drop")
    }
}

impl DerefMut for Changes<'_> {
    fn deref_mut(&mut self) -> &mut World {
        self.world.as_mut().expect("it is there until the drop")
    }
}

impl Drop for Changes<'_> {
    fn drop(&mut self) {
        let released = self.world.take().map(|mut world| world.settle());
        release(self.server, released.unwrap_or_default());
    }
}

/// Deletes files that nobody can ask for any more, ends live files that were removed, and has those who send what a
/// room holds ask again whether they may.
pub(super) fn release(server: &Arc<Server>, released: Released) {
    for id in released.live {
        if let Some(live) = server.live().remove(&id) {
            live.end(None);
        }
    }
    if released.has_new_rights {
        server.new_rights.notify(usize::MAX);
    }
    for digest in released.digests {
        let store = server.store.clone();
        let released = unblock(move || {
            if let Err(e) = store.release(digest) {
                warn!("cannot remove a file: {e}");
            }
        });
        released.detach();
    }
}
