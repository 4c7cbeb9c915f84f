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

    /// Returns whether the budget is used up. Once it is, it stays so.
    pub fn is_over(&self) -> bool {
        if !self.is_over.get() {
            self.is_over.set(is_used_up(self.begun, self.begun_work));
        }
        self.is_over.get()
    }

    /// Returns a function that returns the same as [`Self::is_over`], to pass to a library. It must be called on this
    /// thread.
    pub fn limit(&self) -> impl Fn() -> bool + Send + use<> {
        let (begun, begun_work, is_over) = (self.begun, self.begun_work, self.is_over.get());
        move || is_over || is_used_up(begun, begun_work)
    }
}

fn is_used_up(begun: Instant, begun_work: Duration) -> bool {
    let work = thread_time().saturating_sub(begun_work);
    work >= SEARCH_WORK || begun.elapsed() >= SEARCH_WITHIN
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}
