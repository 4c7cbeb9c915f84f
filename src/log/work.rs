//! Bounds the cost of one search.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::config::fixed::{SEARCH_WITHIN, SEARCH_WORK};

/// The time budget of a search, measured in processor time of the thread that began it.
#[derive(Debug)]
pub struct Work {
    begun: Instant,
    begun_work: Duration,
    is_over: Cell<bool>,
}

impl Work {
    /// Starts a budget now.
    pub fn begin() -> Self {
        Self {
            begun: Instant::now(),
            begun_work: thread_time(),
            is_over: Cell::new(false),
        }
    }

    /// Returns a budget that is already used up.
    #[cfg(test)]
    pub fn over() -> Self {
        let work = Self::begin();
        work.is_over.set(true);
        work
    }

    /// Returns the processor time used so far.
    pub fn done(&self) -> Duration {
        thread_time().saturating_sub(self.begun_work)
    }

    /// Returns whether the budget is used up. Once this is true, it stays true.
    pub fn is_over(&self) -> bool {
        if !self.is_over.get() {
            let is_over = self.done() >= SEARCH_WORK || self.begun.elapsed() >= SEARCH_WITHIN;
            self.is_over.set(is_over);
        }
        self.is_over.get()
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}
