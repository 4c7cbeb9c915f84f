//! Points in time, as plain numbers that the caller supplies, so that tests own the clock.

use std::fmt;
use std::num::NonZeroU64;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

/// Milliseconds since 1970-01-01T00:00:00Z; written as RFC 3339, UTC, with three digits of the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// Appends the time in its written form.
    ///
    /// ```
    /// # use plainchat::protocol::Time;
    /// let mut line = Vec::new();
    /// Time(1_795_346_525_007).encode(&mut line);
    /// assert_eq!(line, b"2026-11-22T11:22:05.007Z");
    /// ```
    pub fn encode(self, out: &mut Vec<u8>) {
        const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
        let at = i64::try_from(self.0)
            .ok()
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())
            .unwrap_or(Timestamp::MAX);
        // A `Vec` takes whatever is written to it.
        let _ = PRINTER.print_timestamp(&at, out);
    }

    /// Reads the written form.
    pub fn parse(text: &str) -> Option<Self> {
        let at: Timestamp = text.parse().ok()?;
        u64::try_from(at.as_millisecond()).ok().map(Self)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(24);
        self.encode(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// The number of a logged event: 1 to 2^53-1, growing over the whole server, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(NonZeroU64);

impl EventId {
    /// The largest, 2^53-1: what a JavaScript number still holds exactly.
    pub const MAX: Self = Self(NonZeroU64::new((1 << 53) - 1).unwrap());

    /// The id of that number, unless it is 0 or too large.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number)
            .map(Self)
            .filter(|id| *id <= Self::MAX)
    }

    /// Its number.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// Reads digits.
    pub fn parse(text: &str) -> Option<Self> {
        parse_number(text).and_then(Self::new)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads a number of decimal digits alone, up to 2^53-1; no sign, no spaces.
pub fn parse_number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|n| *n <= EventId::MAX.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for ms in [0, 1, 999, 1_000, 1_795_346_525_120, 4_102_444_799_999] {
            let written = Time(ms).to_string();
            assert_eq!(written.len(), 24, "{written}");
            assert_eq!(Time::parse(&written), Some(Time(ms)), "{written}");
        }
    }

    #[test]
    fn numbers_are_digits_up_to_two_to_the_53() {
        assert_eq!(parse_number("9007199254740991"), Some((1 << 53) - 1));
        for bad in ["", "-1", "+1", " 1", "1 ", "9007199254740992", "0x1", "1e3"] {
            assert_eq!(parse_number(bad), None, "{bad:?}");
        }
        assert_eq!(EventId::parse("0"), None);
    }
}
