//! Divides the system's limit on open files, so that transfers never use the descriptors that new clients need.

use std::fs::File;

use crate::chat::Reservation;

/// The number of descriptors for other uses than connections and transfers: the listeners, the log and its readers,
/// and the executor.
const OTHERS: usize = 160;

/// The lowest limit on open files with which a few clients can send messages and files.
pub(super) const LEAST: usize = 192;

/// The maximum number of connections beyond the limit that receive an error. Further connections are closed without
/// an error.
const TURNED_AWAY_MAX: usize = 256;

/// The maximum number of descriptors of an upload: the file, its folder, and the file again for its followers.
pub(super) const UPLOAD: usize = 3;

/// The number of descriptors of a download: the file, and a second handle of the socket.
pub(super) const DOWNLOAD: usize = 2;

/// The division of a limit on open files among their uses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Division {
    pub connections: usize,
    pub turned_away: usize,
    pub transfers: usize,
}

impl Division {
    /// Divides a limit of `files` for at most `wanted` connections. Returns `None` if the limit is too low to serve
    /// anyone.
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

/// An open file that counts towards the limit until it is closed.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub file: File,
    _reservation: Reservation, // released after the file is closed
}

impl OpenFile {
    /// Wraps a file that was opened under a reservation.
    pub fn new(file: File, reservation: Reservation) -> Self {
        Self {
            file,
            _reservation: reservation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sufficient_limit_leaves_descriptors_for_each_use() {
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
}
