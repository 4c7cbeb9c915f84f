//! How much memory that which waits takes, over all connections: a share for what clients have not taken, one
//! for files on their way. Each connection alone is bounded; this bounds all of them together.
//!
//! Nobody is refused or closed for it: who has not taken his replies is not read, and files move in smaller
//! pieces. The rooms' newest events are [`crate::chat`]'s to bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes of a file are in memory at once; larger pieces are no faster.
const PIECE_BYTES: usize = 256 << 10;

/// The same when many files are on their way.
const SMALL_PIECE_BYTES: usize = 8 << 10;

/// How much is read at once from who has nothing left to take, when there is no space to hold more.
pub(super) const TIGHT_READ_BYTES: usize = 4 << 10;

/// Bytes in use, of so many at most.
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

    /// One that had `from` has `to` now.
    pub fn change(&self, from: usize, to: usize) {
        self.used.fetch_add(to, Ordering::Relaxed);
        self.used.fetch_sub(from, Ordering::Relaxed);
    }

    /// Space for pieces of a file, two at once: one is read while the other is written.
    pub fn pieces(self: &Arc<Self>) -> Pieces {
        let size = match self.used() + 2 * PIECE_BYTES > self.most {
            true => SMALL_PIECE_BYTES,
            false => PIECE_BYTES,
        };
        self.change(0, 2 * size);
        Pieces {
            share: self.clone(),
            size,
        }
    }
}

/// Space for pieces of one file, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Pieces {
    share: Arc<Share>,
    size: usize,
}

impl Pieces {
    /// How many bytes of the `left` ones, or of nobody knows how many, the next piece has.
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
    fn many_files_have_small_pieces_and_give_their_space_back() {
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
