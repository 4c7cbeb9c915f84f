//! The wall clock, as far as it is trusted to expire events. A clock that jumped ahead is trusted only when it has
//! stayed ahead for an hour.
//!
//! If a machine's clock is a year ahead for a moment, that must not expire every message. The time that passes while
//! this process runs is measured with the monotonic clock.

use std::time::Duration;

use crate::config::CLOCK_TRUSTED_AFTER;
use crate::protocol::Time;

/// The wall clock, and the time that was last trusted.
#[derive(Debug, Default)]
pub struct TrustedClock {
    /// The last returned time, and the uptime at that moment.
    last: Option<(u64, Duration)>,
    /// The uptime since which the clock has been ahead of the trusted time, and the smallest difference since then.
    ahead: Option<(Duration, u64)>,
}

impl TrustedClock {
    /// Creates a clock for a log whose newest event has the time `newest`. If the wall clock is ahead of that time at
    /// the start, the server may have been down, or the clock may be wrong; nobody can know which.
    pub fn since(newest: Option<Time>) -> Self {
        Self {
            last: newest.map(|newest| (newest.0, Duration::ZERO)),
            ahead: None,
        }
    }

    /// Returns the trusted time, if the wall clock shows `wall` at `uptime`. If there is nothing to
    /// compare with, the wall clock is trusted.
    pub fn now(&mut self, wall: Time, uptime: Duration) -> Time {
        let mut now = self.last.map_or(wall.0, |(last, at)| {
            let passed = uptime.saturating_sub(at).as_millis();
            last.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
        });
        if wall.0 <= now {
            now = wall.0;
            self.ahead = None;
        } else {
            let (since, least) = self.ahead.get_or_insert((uptime, u64::MAX));
            *least = (*least).min(wall.0 - now);
            if uptime.saturating_sub(*since) >= CLOCK_TRUSTED_AFTER {
                now += *least;
                self.ahead = None;
            }
        }
        self.last = Some((now, uptime));
        Time(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const YEAR: u64 = 365 * 24 * HOUR;

    /// Returns the trusted time at each uptime in `of` (in ms). Each uptime comes with the difference by which the
    /// clock is ahead.
    fn trusted(clock: &mut TrustedClock, of: &[(u64, i64)]) -> Vec<i64> {
        let tell = |(uptime, ahead): &(u64, i64)| {
            let wall = (YEAR * 50 + uptime).saturating_add_signed(*ahead);
            let now = clock.now(Time(wall), Duration::from_millis(*uptime));
            now.0 as i64 - (YEAR * 50 + uptime) as i64
        };
        of.iter().map(tell).collect()
    }

    #[test]
    fn a_clock_that_jumps_expires_nothing() {
        let year = YEAR as i64;
        let mut clock = TrustedClock::default();
        let moment = [(0, 0), (1000, 0), (2000, year), (3000, year), (4500, 0)];
        assert_eq!(trusted(&mut clock, &moment), [0; 5]);
        // The clock was checked once an hour, and was ahead at one check.
        let mut clock = TrustedClock::default();
        let looks = [(0, 0), (HOUR, year), (2 * HOUR, 5), (3 * HOUR, 5)];
        assert_eq!(trusted(&mut clock, &looks), [0, 0, 5, 5]);
    }

    #[test]
    fn a_clock_that_is_ahead_at_the_start_expires_nothing_until_it_has_stayed_ahead() {
        let ahead = YEAR as i64;
        let mut clock = TrustedClock::since(Some(Time(YEAR * 50)));
        let looks = [(0, ahead), (1000, ahead), (2000, 0), (HOUR, 0)];
        assert_eq!(trusted(&mut clock, &looks), [0; 4]);
        // The clock was right, and the server had been down for a year.
        let mut clock = TrustedClock::since(Some(Time(YEAR * 50)));
        let looks = [(0, ahead), (HOUR, ahead)];
        assert_eq!(trusted(&mut clock, &looks), [0, ahead]);
        // The events have times in the future.
        let mut clock = TrustedClock::since(Some(Time(YEAR * 60)));
        assert_eq!(trusted(&mut clock, &[(0, 0)]), [0]);
    }

    #[test]
    fn a_clock_set_forward_is_trusted_eventually_and_one_set_back_at_once() {
        let mut clock = TrustedClock::default();
        let ahead = 1_000_000;
        let looks = [(0, 0), (1000, ahead), (HOUR, ahead), (HOUR + 1000, ahead)];
        assert_eq!(trusted(&mut clock, &looks), [0, 0, 0, ahead]);
        let looks = [(2 * HOUR, ahead), (2 * HOUR + 1, -7)];
        assert_eq!(trusted(&mut clock, &looks), [ahead, -7]);
    }
}
