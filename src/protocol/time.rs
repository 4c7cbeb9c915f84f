//! Points in time as plain numbers. The caller supplies them, so that tests control the clock.

use std::fmt;
use std::num::NonZeroU64;

use jiff::Timestamp;

/// A point in time: the number of milliseconds since 1970-01-01T00:00:00Z. It is written as in RFC 3339, in UTC, with
/// three decimal digits of the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "server", derive(serde::Serialize, serde::Deserialize))]
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
        // Formatted without a library: every `OK MSG` contains a time, and a general calendar library took 5 % of the
        // profile samples.
        let ms = self.0.min(Self::MAX_MS);
        let (day, ms) = (ms / 86_400_000, ms % 86_400_000);
        let (year, month, day) = date(day);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let pairs = [
            (0, year / 100),
            (2, year % 100),
            (5, month),
            (8, day),
            (11, ms / 3_600_000),
            (14, ms / 60_000 % 60),
            (17, ms / 1000 % 60),
            (20, ms % 1000 / 10),
        ];
        for (at, number) in pairs {
            text[at..at + 2].copy_from_slice(two_digits(number));
        }
        text[22] = b'0' + (ms % 10) as u8;
        out.extend_from_slice(&text);
    }

    /// The latest time that `encode` writes, so that it can be parsed again.
    const MAX_MS: u64 = 253_402_207_200_999;

    /// Parses a time.
    pub fn parse(text: &str) -> Option<Self> {
        let at: Timestamp = text.parse().ok()?;
        u64::try_from(at.as_millisecond()).ok().map(Self)
    }
}

/// Returns the two digits of a number below 100. Writing two digits at a time halves the number of divisions, and
/// each `OK` has forty digits.
fn two_digits(number: u64) -> &'static [u8] {
    const ALL: [[u8; 2]; 100] = {
        let mut all = [[0; 2]; 100];
        let mut n = 0;
        while n < 100 {
            all[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
            n += 1;
        }
        all
    };
    &ALL[number as usize % 100]
}

/// Returns the year, month and day of the `day`th day after 1970-01-01. The algorithm is from H. Hinnant,
/// "chrono-compatible low-level date algorithms": its years begin in March, so that they end with the leap day.
fn date(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468; // counted from 0000-03-01
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = match month {
        0..=9 => (month + 3, 0),
        _ => (month - 9, 1),
    };
    (era * 400 + year + later, month, day)
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(24);
        self.encode(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// The id of a logged event: 1 to 2^53-1. Ids increase across the whole server, and none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "server", derive(serde::Serialize, serde::Deserialize))]
pub struct EventId(NonZeroU64);

impl EventId {
    /// The largest id, 2^53-1, which is the largest integer that a JavaScript number holds exactly.
    pub const MAX: Self = Self(NonZeroU64::new((1 << 53) - 1).unwrap());

    /// Returns the id with the number `number`; `None` if the number is 0 or too large.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number)
            .map(Self)
            .filter(|id| *id <= Self::MAX)
    }

    /// Appends the digits of the id.
    pub fn encode(self, out: &mut Vec<u8>) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut number = self.get();
        while number > 0 {
            at -= 2;
            digits[at..at + 2].copy_from_slice(two_digits(number % 100));
            number /= 100;
        }
        let first = at + usize::from(digits[at] == b'0');
        out.extend_from_slice(&digits[first..]);
    }

    /// Returns the number.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// Parses the digits of an id.
    pub fn parse(text: &str) -> Option<Self> {
        parse_number(text).and_then(Self::new)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Parses a number up to 2^53-1. Only decimal digits are allowed, no sign and no spaces.
pub fn parse_number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|n| *n <= EventId::MAX.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ms: u64) {
        let written = Time(ms).to_string();
        assert_eq!(written.len(), 24, "{written}");
        assert_eq!(Time::parse(&written), Some(Time(ms)), "{written}");
    }

    #[test]
    fn times_parse_to_themselves() {
        for ms in [0, 1, 999, 1_000, 1_795_346_525_120, 4_102_444_799_999] {
            check(ms);
        }
        // The first and last millisecond of each day in eight centuries, including leap years.
        for day in 1..=8 * 36_525 {
            check(day * 86_400_000);
            check(day * 86_400_000 - 1);
        }
        check(Time::MAX_MS);
        assert_eq!(Time(u64::MAX).to_string(), "9999-12-30T22:00:00.999Z");
    }

    #[test]
    fn an_id_is_written_as_its_number() {
        for number in [1, 9, 10, 1_795_346_525_120_001, EventId::MAX.get()] {
            let mut written = Vec::new();
            EventId::new(number).unwrap().encode(&mut written);
            assert_eq!(written, number.to_string().as_bytes());
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
