//! The current time, as the code that has a clock passes it on.

use std::time::Duration;

use crate::protocol::Time;

/// The current time, from the caller's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Wall-clock time, for people and logs.
    pub time: Time,
    /// Time since the server started; for deadlines, since it never jumps.
    pub uptime: Duration,
}

/// Converts a point in uptime to milliseconds, which take half the space of a [`Duration`] where thousands
/// are stored.
pub fn millis(uptime: Duration) -> u64 {
    u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX)
}
