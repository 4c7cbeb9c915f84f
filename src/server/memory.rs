//! Bounds the memory of all connections together. One budget is for data that clients have not received, and one for
//! pieces of files in transfer. Each connection has limits of its own as well.
//!
//! No client is refused or disconnected because of these budgets: the server stops reading from a client that does
//! not read its replies, and moves files in smaller pieces. [`crate::chat`] bounds the newest events of rooms.

use std::sync::Arc;

use crate::model::Budget;

/// The size of a piece of a file, unless many files are in transfer. Larger pieces are no faster.
const PIECE_BYTES: usize = 256 << 10;

/// The size of a piece when many files are in transfer.
const SMALL_PIECE_BYTES: usize = 8 << 10;

/// The maximum number of bytes that are read at once from a client that holds no part of the budget, when the budget
/// is used up.
pub(super) const TIGHT_READ_BYTES: usize = 4 << 10;

/// A reservation of memory for pieces of one file. It is released when this is dropped.
#[derive(Debug)]
pub(super) struct Pieces {
    budget: Arc<Budget>,
    size: usize,
}

impl Pieces {
    /// Reserves space for two pieces of a file: one is read while the other is written.
    pub fn reserve(budget: &Arc<Budget>) -> Self {
        let size = if budget.has_space(2 * PIECE_BYTES) {
            PIECE_BYTES
        } else {
            SMALL_PIECE_BYTES
        };
        budget.change(0, 2 * size);
        Self {
            budget: budget.clone(),
            size,
        }
    }

    /// Returns the size of the next piece. `left` is the number of bytes that remain, if it is known.
    pub fn size(&self, left: Option<u64>) -> usize {
        let left = left.and_then(|left| usize::try_from(left).ok());
        left.unwrap_or(usize::MAX).min(self.size)
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.budget.change(2 * self.size, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_files_have_small_pieces_and_release_their_space() {
        let budget = Arc::new(Budget::new(4 * PIECE_BYTES));
        let all: Vec<_> = (0..10).map(|_| Pieces::reserve(&budget)).collect();
        let sizes: Vec<_> = all.iter().map(|pieces| pieces.size(None)).collect();
        assert_eq!(sizes[..2], [PIECE_BYTES; 2]);
        assert_eq!(sizes[2..], [SMALL_PIECE_BYTES; 8]);
        assert_eq!(
            (all[0].size(Some(7)), all[0].size(Some(u64::MAX))),
            (7, PIECE_BYTES)
        );
        drop(all);
        assert_eq!(
            (budget.used(), Pieces::reserve(&budget).size(None)),
            (0, PIECE_BYTES)
        );
    }
}
