//! Divides the system's limit on open files, so that transfers never take the descriptors that new clients need.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// The descriptors for file transfers.
#[derive(Debug)]
pub(super) struct Descriptors(AtomicUsize);

/// Reserved descriptors; dropping them releases them.
#[derive(Debug)]
pub(super) struct Held {
    of: Arc<Descriptors>,
    count: usize,
}

/// An open file that is counted while it is open.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub file: File,
    _held: Held, // released after the file is closed
}

impl OpenFile {
    /// Creates one from a file that was opened under a reservation.
    pub fn new(file: File, held: Held) -> Self {
        Self { file, _held: held }
    }
}

impl Descriptors {
    /// Provides `count` descriptors.
    pub fn new(count: usize) -> Self {
        Self(AtomicUsize::new(count))
    }

    /// Reserves `count` descriptors, if that many are left.
    pub fn take(self: &Arc<Self>, count: usize) -> Option<Held> {
        let less = |left: usize| left.checked_sub(count);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken.ok().map(|_| Held {
            of: self.clone(),
            count,
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.0.fetch_add(self.count, Ordering::Relaxed);
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
    fn what_is_taken_comes_back() {
        let all = Arc::new(Descriptors::new(2 * UPLOAD));
        let held: Vec<_> = (0..3).filter_map(|_| all.take(UPLOAD)).collect();
        assert_eq!(held.len(), 2);
        drop(held);
        assert!(all.take(2 * UPLOAD).is_some());
    }
}
