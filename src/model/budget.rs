//! A budget of memory over all connections together.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A memory budget: the bytes in use and their maximum.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    most: usize,
}

impl Budget {
    /// Returns a budget of `most` bytes, none of which is in use.
    pub fn new(most: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            most,
        }
    }

    /// Returns how many bytes are in use.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns whether more bytes are in use than there should be.
    pub fn is_full(&self) -> bool {
        self.used() > self.most
    }

    /// Returns whether `bytes` more can be in use.
    pub fn has_space(&self, bytes: usize) -> bool {
        self.used() + bytes <= self.most
    }

    /// Changes a holder's part from `from` to `to` bytes.
    pub fn change(&self, from: usize, to: usize) {
        self.used.fetch_add(to, Ordering::Relaxed);
        self.used.fetch_sub(from, Ordering::Relaxed);
    }
}
