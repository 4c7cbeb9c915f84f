//! Texts of several lines that are sent as one message; see "TEXT" in `protocol.md`.

use super::request::{HAS_NUL, Refusal, bad_syntax, has_nul};
use super::tags::find;
use super::text::clean;
use super::{Code, EventId, Verb};

/// The maximum length of a text in bytes.
pub const TEXT_BYTES_MAX: u64 = 64 << 10;

/// The maximum number of lines in a text.
pub const TEXT_LINES_MAX: usize = 1000;

/// The maximum length of each line in bytes, without its ending.
pub const TEXT_LINE_BYTES_MAX: usize = 4000;

/// A text of several lines that are sent as one message. At least one line is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multiline {
    text: String,
    lines: usize,
}

impl Multiline {
    /// Parses the bytes that follow `TEXT`. Lines end in LF or CR LF; the last line may lack its ending.
    ///
    /// # Errors
    /// When the bytes are not a valid text, or the text is too large.
    ///
    /// ```
    /// use plainchat::protocol::{Code, multiline::Multiline};
    /// let text = Multiline::parse(b"it broke:\r\n\r\n  at main.c\n").unwrap();
    /// assert_eq!((text.as_str(), text.lines()), ("it broke:\n\n  at main.c", 3));
    /// assert_eq!(Multiline::parse(b"\n\n").unwrap_err().code, Code::BadSyntax);
    /// ```
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let refuse = |code, text: &'static str| Refusal::new(Verb::Text, code, text);
        if bytes.len() as u64 > TEXT_BYTES_MAX {
            return Err(Self::too_large());
        }
        if has_nul(bytes) {
            return Err(refuse(Code::NotUtf8, HAS_NUL));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|_| refuse(Code::NotUtf8, "that text is not UTF-8"))?;
        let mut kept = String::with_capacity(text.len());
        let mut lines = 0;
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            lines += 1;
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.len() > TEXT_LINE_BYTES_MAX {
                let text = "a line of a text has at most 4000 bytes; UPLOAD it as a file";
                return Err(refuse(Code::TooLong, text));
            }
            if lines > 1 {
                kept.push('\n');
            }
            kept.push_str(&clean(line));
        }
        if lines > TEXT_LINES_MAX {
            return Err(Self::too_large());
        }
        if kept.bytes().all(|b| matches!(b, b'\n' | b' ')) {
            return Err(bad_syntax(Verb::Text));
        }
        Ok(Self { text: kept, lines })
    }

    /// Returns the refusal of a text that is too large.
    pub fn too_large() -> Refusal {
        let text = format!(
            "a text has at most {TEXT_BYTES_MAX} bytes and {TEXT_LINES_MAX} lines; UPLOAD it as a file"
        );
        Refusal::new(Verb::Text, Code::TooLarge, text)
    }

    /// Returns the lines, separated by LF.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the number of lines.
    pub fn lines(&self) -> usize {
        self.lines
    }
}

/// Returns the number of lines of a text of several lines, from the tags of its first line. Returns `None` if the
/// tags have no valid `lines`.
pub fn text_lines(tags: &str) -> Option<u64> {
    let lines: u64 = find(tags, "lines")?.parse().ok()?;
    Some(lines.clamp(1, TEXT_LINES_MAX as u64))
}

/// If an event with these tags is a later line of a text, returns the id of the text's first line.
pub fn text_of(tags: &str) -> Option<EventId> {
    EventId::parse(&find(tags, "of")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: Result<(&str, usize), Code>) {
        let found = Multiline::parse(bytes);
        let found = found.as_ref().map(|text| (text.as_str(), text.lines()));
        assert_eq!(found.map_err(|refusal| refusal.code), expected);
    }

    #[test]
    fn lines_are_kept_except_for_line_endings_and_unsafe_characters() {
        check(b"a", Ok(("a", 1)));
        check(b"a\n", Ok(("a", 1)));
        check(b"a\n\n", Ok(("a\n", 2)));
        check(b"\na", Ok(("\na", 2)));
        check(b" a \r\n\tb\r\n", Ok((" a \n\tb", 2)));
        check(b"\x1b[31mred\x1b[0m\na\x07b", Ok(("red\nab", 2)));
    }

    #[test]
    fn an_invalid_or_too_large_text_is_refused() {
        for blank in [&b""[..], b"\n", b"\r\n \n", b"\x07"] {
            check(blank, Err(Code::BadSyntax));
        }
        check(b"a\xff", Err(Code::NotUtf8));
        check(b"a\0b", Err(Code::NotUtf8));
        let line = "x".repeat(TEXT_LINE_BYTES_MAX);
        check(line.as_bytes(), Ok((&line, 1)));
        check(format!("{line}x").as_bytes(), Err(Code::TooLong));
        let most = "x\n".repeat(TEXT_LINES_MAX);
        check(most.as_bytes(), Ok((most.trim_end(), TEXT_LINES_MAX)));
        check(format!("{most}x").as_bytes(), Err(Code::TooLarge));
        let large = "x".repeat(3999) + "\n";
        check(large.repeat(17).as_bytes(), Err(Code::TooLarge));
    }
}
