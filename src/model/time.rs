//! The current time, which is passed to code that has no clock.

use std::time::Duration;

use crate::protocol::Time;

/// The current time, read from the caller's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// The wall-clock time, for people and logs.
    pub time: Time,
    /// The time since the server started. Deadlines use the uptime because it never jumps.
    pub uptime: Duration,
}

/// Converts an uptime to milliseconds. The number takes half the memory of a [`Duration`], which matters because one is
/// stored for each member of a room.
pub fn millis(uptime: Duration) -> u64 {
    u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX)
}
