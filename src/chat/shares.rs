//! Divides a limited resource between addresses.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::model::address_prefix;

/// A limited number of places. One address may take half of the places.
#[derive(Debug)]
pub struct Shares {
    all: usize,
    /// The number of places that one address may take even if they are more than half of all places.
    least: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// The number of places that each address has taken. An address without places has no entry.
    by_origin: HashMap<IpAddr, usize>,
}

/// The places that an address has taken. Dropping this value releases the places.
#[derive(Debug)]
pub struct Reservation {
    of: Arc<Shares>,
    origin: IpAddr,
    count: usize,
}

impl Shares {
    /// Creates `all` places. One address may take half of the places, but always at least `least`.
    pub fn new(all: usize, least: usize) -> Self {
        Self {
            all,
            least,
            taken: Mutex::default(),
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken
            .lock()
            .expect("no thread panics while it holds this")
    }

    /// Returns the maximum number of places that one address may take.
    fn most(&self) -> usize {
        (self.all / 2).max(self.least)
    }

    /// Takes `count` places for `address`. Returns `None` if too few places are free, or if the address would then have
    /// too many.
    pub fn take(self: &Arc<Self>, address: IpAddr, count: usize) -> Option<Reservation> {
        let origin = address_prefix(address);
        let mut taken = self.taken();
        let own = taken.by_origin.get(&origin).copied().unwrap_or_default();
        if taken.all + count > self.all || own + count > self.most() {
            return None;
        }
        taken.all += count;
        taken.by_origin.insert(origin, own + count);
        Some(Reservation {
            of: self.clone(),
            origin,
            count,
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut taken = self.of.taken();
        taken.all -= self.count;
        if let Some(own) = taken.by_origin.get_mut(&self.origin) {
            *own -= self.count;
            if *own == 0 {
                taken.by_origin.remove(&self.origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPLOAD: usize = 3;

    #[test]
    fn places_are_released_and_one_address_may_take_half() {
        let [ann, bob, eve] = [1, 2, 3].map(|n| IpAddr::from([192, 0, 2, n]));
        let all = Arc::new(Shares::new(4 * UPLOAD, UPLOAD));
        let take = |address, times| -> Vec<_> {
            (0..times)
                .filter_map(|_| all.take(address, UPLOAD))
                .collect()
        };
        let anns = take(ann, 3);
        assert_eq!(anns.len(), 2, "half are for others");
        let bobs = take(bob, 2);
        assert_eq!(
            (bobs.len(), take(eve, 1).len()),
            (2, 0),
            "there are no more"
        );
        drop(anns);
        assert_eq!((take(bob, 1).len(), take(eve, 3).len()), (0, 2));
        drop(bobs);
        let taken = all.taken();
        assert_eq!((taken.all, taken.by_origin.len()), (0, 0));
        // If there are few places, one address may use all of them.
        let few = Arc::new(Shares::new(UPLOAD, UPLOAD));
        assert!(few.take(ann, UPLOAD).is_some());
    }
}
