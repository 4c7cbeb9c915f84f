//! Divides the system's limit on open files, so that transfers never take the descriptors that new clients need.

use std::collections::HashMap;
use std::fs::File;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::model::address_prefix;

/// Descriptors that are neither connections nor transfers: the listeners, the log and its readers, the executor's own.
const OTHERS: usize = 160;

/// The lowest limit with which a few clients can talk and exchange files.
pub(super) const LEAST: usize = 192;

/// How many connections beyond the limit are sent an error; further ones are closed without one.
const TURNED_AWAY_MAX: usize = 256;

/// Most descriptors of an upload: the file, its folder, and the file again for its followers.
pub(super) const UPLOAD: usize = 3;

/// The descriptors of a download: the file, and a second handle of the socket.
pub(super) const DOWNLOAD: usize = 2;

/// A limit on open files, divided.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Division {
    pub connections: usize,
    pub turned_away: usize,
    pub transfers: usize,
}

impl Division {
    /// Divides a limit of `files`, for at most `wanted` connections; returns `None` when it is too low to serve anyone.
    pub fn of(files: usize, wanted: usize) -> Option<Self> {
        if files < LEAST {
            return None;
        }
        let all = files - OTHERS;
        let most = all - all / 7;
        let turned_away = TURNED_AWAY_MAX.min(most / 8);
        let connections = wanted.min(most - turned_away);
        Some(Self {
            connections,
            turned_away,
            transfers: all - turned_away - connections,
        })
    }
}

/// Descriptors for files on their way: so many in all, of which one address may have half.
#[derive(Debug)]
pub(super) struct Descriptors {
    all: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// By address; those with none are not there.
    by_origin: HashMap<IpAddr, usize>,
}

/// Reserved descriptors; dropping them releases them.
#[derive(Debug)]
pub(super) struct Reservation {
    of: Arc<Descriptors>,
    origin: IpAddr,
    count: usize,
}

/// An open file that is counted while it is open.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub file: File,
    _reservation: Reservation, // released after the file is closed
}

impl OpenFile {
    /// Creates one from a file that was opened under a reservation.
    pub fn new(file: File, reservation: Reservation) -> Self {
        Self {
            file,
            _reservation: reservation,
        }
    }
}

impl Descriptors {
    /// So many.
    pub fn new(all: usize) -> Self {
        Self {
            all,
            taken: Mutex::default(),
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken
            .lock()
            .expect("no thread panics while it holds this")
    }

    /// How many one address may have: half of them, but always enough for one file.
    fn most(&self) -> usize {
        (self.all / 2).max(UPLOAD)
    }

    /// Takes `count` of them for `address`, if so many are left for it.
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

    #[test]
    fn every_limit_that_is_enough_leaves_something_for_each_use() {
        assert_eq!(Division::of(LEAST - 1, 16_384), None);
        for files in [LEAST, 256, 1024, 4096, 20_000, 1 << 20] {
            let Division {
                connections,
                turned_away,
                transfers,
            } = Division::of(files, 16_384).expect("it is enough");
            assert!(
                connections >= 20 && turned_away >= 3 && transfers >= UPLOAD,
                "{files}"
            );
            assert!(
                connections + turned_away + transfers + OTHERS <= files,
                "{files}"
            );
        }
        let usual = Division::of(20_000, 16_384).expect("it is enough");
        assert_eq!(usual.connections, 16_384);
    }

    #[test]
    fn what_is_taken_comes_back_and_one_address_has_half() {
        let [ann, bob, eve] = [1, 2, 3].map(|n| IpAddr::from([192, 0, 2, n]));
        let all = Arc::new(Descriptors::new(4 * UPLOAD));
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
        // With few of them one address may use them all.
        let few = Arc::new(Descriptors::new(UPLOAD));
        assert!(few.take(ann, UPLOAD).is_some());
    }
}
