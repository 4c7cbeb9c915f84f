//! A budget that all connections share.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A budget: the number of bytes or events in use, and the maximum.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    most: usize,
}

impl Budget {
    /// Returns a budget of `most` bytes or events, of which none are in use.
    pub fn new(most: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            most,
        }
    }

    /// Returns the number of bytes or events in use.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns whether more memory is in use than the budget allows.
    pub fn is_full(&self) -> bool {
        self.used() > self.most
    }

    /// Returns whether `bytes` more bytes fit into the budget.
    pub fn has_space(&self, bytes: usize) -> bool {
        self.used() + bytes <= self.most
    }

    /// Records that the use of one holder has changed from `from` to `to`.
    pub fn change(&self, from: usize, to: usize) {
        self.used.fetch_add(to, Ordering::Relaxed);
        self.used.fetch_sub(from, Ordering::Relaxed);
    }
}
