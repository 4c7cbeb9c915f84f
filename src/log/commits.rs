//! Measures how long the transactions of a log take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets in milliseconds. A commit takes 1 ms on a good disk; a commit of one second is a
/// sign of a fault.
const UP_TO_MS: [u64; 8] = [1, 2, 5, 10, 50, 200, 1000, 5000];

/// A histogram of transaction times. One thread writes it, and any thread may read it.
#[derive(Debug, Default)]
pub struct Commits {
    buckets: [AtomicU64; UP_TO_MS.len() + 1],
    time_us: AtomicU64,
}

impl Commits {
    /// Adds a transaction to the histogram. `took` is the time that it took.
    pub fn add(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = UP_TO_MS.partition_point(|ms| us > ms * 1000);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.time_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Returns each upper bound with the number of transactions that took at most that long. The last bound is `None`;
    /// the number beside it counts all transactions.
    pub fn up_to(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = UP_TO_MS.iter().map(|ms| Some(Duration::from_millis(*ms)));
        let counts = self.buckets.iter().scan(0, |sum, bucket| {
            *sum += bucket.load(Ordering::Relaxed);
            Some(*sum)
        });
        bounds.chain([None]).zip(counts)
    }

    /// Returns the number of transactions.
    pub fn count(&self) -> u64 {
        self.up_to().last().map_or(0, |(_, count)| count)
    }

    /// Returns the total time that all transactions took.
    pub fn time(&self) -> Duration {
        Duration::from_micros(self.time_us.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_counts_in_every_bucket_that_includes_its_time() {
        let commits = Commits::default();
        for us in [0, 1000, 1001, 49_000, 9_000_000] {
            commits.add(Duration::from_micros(us));
        }
        let counts: Vec<_> = commits.up_to().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 3, 3, 3, 4, 4, 4, 4, 5]);
        assert_eq!(commits.count(), 5);
        assert_eq!(commits.time(), Duration::from_micros(9_051_001));
    }
}
