//! Bounds memory over all connections together: one budget for data that clients have not received, one for pieces of
//! files in transfer. Each connection has limits of its own besides.
//!
//! No client is refused or disconnected for it: a client that does not read its replies is not read, and files are
//! moved in smaller pieces. The newest events of rooms are bounded by [`crate::chat`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes of a file are in memory at once; larger pieces are no faster.
const PIECE_BYTES: usize = 256 << 10;

/// The same when many files are in transfer.
const SMALL_PIECE_BYTES: usize = 8 << 10;

/// How much is read at once, when the budget is used up, from a client that holds none of it.
pub(super) const TIGHT_READ_BYTES: usize = 4 << 10;

/// A memory budget: the bytes in use and their maximum.
#[derive(Debug)]
pub(super) struct Share {
    used: AtomicUsize,
    most: usize,
}

impl Share {
    pub fn new(most: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            most,
        }
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub fn is_full(&self) -> bool {
        self.used() > self.most
    }

    /// Changes a holder's part from `from` to `to` bytes.
    pub fn change(&self, from: usize, to: usize) {
        self.used.fetch_add(to, Ordering::Relaxed);
        self.used.fetch_sub(from, Ordering::Relaxed);
    }

    /// Reserves space for two pieces of a file: one is read while the other is written.
    pub fn pieces(self: &Arc<Self>) -> Pieces {
        let size = if self.used() + 2 * PIECE_BYTES > self.most {
            SMALL_PIECE_BYTES
        } else {
            PIECE_BYTES
        };
        self.change(0, 2 * size);
        Pieces {
            share: self.clone(),
            size,
        }
    }
}

/// Space for pieces of one file; dropping it releases the space.
#[derive(Debug)]
pub(super) struct Pieces {
    share: Arc<Share>,
    size: usize,
}

impl Pieces {
    /// Returns the size of the next piece when `left` bytes remain, or an unknown number.
    pub fn size(&self, left: Option<u64>) -> usize {
        let left = left.and_then(|left| usize::try_from(left).ok());
        left.unwrap_or(usize::MAX).min(self.size)
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.share.change(2 * self.size, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_files_have_small_pieces_and_release_their_space() {
        let share = Arc::new(Share::new(4 * PIECE_BYTES));
        let all: Vec<_> = (0..10).map(|_| share.pieces()).collect();
        let sizes: Vec<_> = all.iter().map(|pieces| pieces.size(None)).collect();
        assert_eq!(sizes[..2], [PIECE_BYTES; 2]);
        assert_eq!(sizes[2..], [SMALL_PIECE_BYTES; 8]);
        assert_eq!(
            (all[0].size(Some(7)), all[0].size(Some(u64::MAX))),
            (7, PIECE_BYTES)
        );
        drop(all);
        assert_eq!((share.used(), share.pieces().size(None)), (0, PIECE_BYTES));
    }
}
