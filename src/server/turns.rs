//! Limits an expensive operation: a few run at once, and fewer for each address. So no client has to wait for all the
//! requests of another.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use smol::lock::{Semaphore, SemaphoreGuardArc};

use crate::model::address_prefix;

/// Limits how many operations of one kind run at once.
#[derive(Debug)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    /// The maximum number of operations that run at once for one address.
    each: usize,
    /// A semaphore for each address that waits for a turn or has one.
    by_address: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// The permission to run an operation. The turn ends when this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    origin: IpAddr,
    own: Option<SemaphoreGuardArc>,
    all: Option<SemaphoreGuardArc>,
}

impl Turns {
    /// Allows `at_once` turns at once, `each` of them for one address.
    pub fn new(at_once: usize, each: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(at_once)),
            each,
            by_address: Mutex::default(),
        }
    }

    fn by_address(&self) -> MutexGuard<'_, HashMap<IpAddr, Arc<Semaphore>>> {
        self.by_address
            .lock()
            .expect("no thread panics while it holds this")
    }

    /// Waits for a turn.
    pub async fn take(&self, address: IpAddr) -> Turn<'_> {
        let mut turn = Turn {
            turns: self,
            origin: address_prefix(address),
            own: None,
            all: None,
        };
        let own = {
            let mut addresses = self.by_address();
            let own = addresses.entry(address_prefix(address));
            let own = own.or_insert_with(|| Arc::new(Semaphore::new(self.each)));
            own.clone()
        };
        turn.own = Some(own.acquire_arc().await);
        turn.all = Some(self.all.acquire_arc().await);
        turn
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.all = None;
        self.own = None;
        let mut addresses = self.turns.by_address();
        // Only this turn holds the semaphore, so no other task waits.
        if addresses
            .get(&self.origin)
            .is_some_and(|own| Arc::strong_count(own) == 1)
        {
            addresses.remove(&self.origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn one_address_has_one_turn_at_a_time() {
        let turns = Turns::new(2, 1);
        let [ann, bob] = [1, 2].map(|n| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)));
        block_on(async {
            let first = turns.take(ann).await;
            let mut second = Box::pin(turns.take(ann));
            assert!(poll_once(&mut second).await.is_none());
            let other = poll_once(Box::pin(turns.take(bob))).await;
            let other = other.expect("it is bob's turn too");
            assert!(poll_once(&mut second).await.is_none());
            drop(first);
            let second = poll_once(&mut second).await;
            drop((second.expect("it is ann's turn again"), other));
        });
        assert!(turns.by_address().is_empty());
    }
}
