//! The time, as those tell it who have clocks.

use std::time::Duration;

use crate::protocol::Time;

/// The time, as the caller's clocks have it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// For people and logs.
    pub time: Time,
    /// Since the server started; for deadlines, since it never jumps.
    pub uptime: Duration,
}

/// Converts a point in uptime to milliseconds: half the size of a [`Duration`], where thousands are kept.
pub fn millis(uptime: Duration) -> u64 {
    u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX)
}
