//! Makes a peer's text safe for terminals by removing everything that a terminal would interpret; see "Text" in
//! `protocol.md`.
//!
//! This module works on characters and not on bytes, because the bytes 0x80 to 0x9F also occur inside ordinary
//! letters. It knows nothing of lines or verbs.

use std::borrow::Cow;

const ESC: char = '\u{1b}';
const BEL: char = '\u{7}';

/// The word that mentions everybody in a room.
pub const EVERYBODY: &str = "@room";

/// Returns whether `text` contains `nick` as a whole word, in any case.
///
/// ```
/// use plainchat::protocol::text::{EVERYBODY, mentions};
/// assert!(mentions("hey Ann, look", "ann"));
/// assert!(!mentions("the annual report", "ann"));
/// assert!(!mentions("me@room.example", EVERYBODY));
/// ```
pub fn mentions(text: &str, nick: &str) -> bool {
    if nick.is_empty() {
        return false;
    }
    let (text, nick) = (text.to_lowercase(), nick.to_lowercase());
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(&nick).any(|(at, found)| {
        let before = text.get(..at).and_then(|t| t.chars().next_back());
        let after = text.get(at + found.len()..).and_then(|t| t.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Returns whether `text` contains [`EVERYBODY`] as a whole word. Nearly no message contains `@`, so that is checked
/// first.
pub fn mentions_everybody(text: &str) -> bool {
    memchr::memchr(b'@', text.as_bytes()).is_some() && mentions(text, EVERYBODY)
}

/// Returns whether `c` is not allowed in text. Not allowed are C0 (except TAB), DEL, C1, bidirectional overrides and
/// isolates, and the two separators that some programs treat as line ends.
pub fn is_unsafe(c: char) -> bool {
    match c {
        '\t' => false,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        '\u{2028}' | '\u{2029}' => true,
        _ => false,
    }
}

/// Returns whether `text` contains nothing that [`clean`] would remove.
pub fn is_clean(text: &str) -> bool {
    // Nearly every line is printable ASCII, which can be checked without decoding characters. The loop does not stop
    // at the first other byte, so that the compiler can compare many bytes at once.
    let is_plain = |all, b| all & matches!(b, b' '..=b'~' | b'\t');
    text.bytes().fold(true, is_plain) || !text.chars().any(is_unsafe)
}

/// Removes escape sequences and unsafe characters from `text`.
///
/// An escape sequence is removed as a whole, so that `ESC [ 31 m` does not leave `[31m` behind. There are three
/// kinds:
///
/// - `ESC [` up to its final byte (0x40 to 0x7E);
/// - `ESC` and one of `] P X ^ _`, up to BEL, `ESC \` or the end of the text;
/// - any other `ESC`, with the character after it.
///
/// ```
/// use plainchat::protocol::text::clean;
/// assert_eq!(clean("\x1b[31mred\x1b[0m"), "red");
/// assert_eq!(clean("plain"), "plain");
/// ```
pub fn clean(text: &str) -> Cow<'_, str> {
    if is_clean(text) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == ESC {
            skip_sequence(&mut chars);
        } else if !is_unsafe(c) {
            kept.push(c);
        }
    }
    Cow::Owned(kept)
}

/// Skips the rest of an escape sequence, whose `ESC` has been read.
fn skip_sequence(chars: &mut std::str::Chars<'_>) {
    match chars.next() {
        Some('[') => {
            chars.find(|c| matches!(c, '\u{40}'..='\u{7e}'));
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = chars.next() {
                if c == BEL || (c == ESC && chars.clone().next() == Some('\\')) {
                    if c == ESC {
                        chars.next();
                    }
                    return;
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(clean(text), expected, "of {text:?}");
        assert!(is_clean(expected));
    }

    #[test]
    fn sequences_are_removed_as_a_whole() {
        check("a\x1b[1;31mb\x1b[mc", "abc");
        check("\x1b]0;owned\x07title", "title");
        check("\x1b]52;c;AAAA\x1b\\x", "x");
        check("\x1b_never ended", "");
        check("\x1bcreset", "reset");
        check("\x1b", "");
        check("\x1b[31", "");
        check("\x1b]a\x1bb\x07c", "c");
    }

    #[test]
    fn control_and_direction_characters_are_removed_and_letters_stay() {
        check("a\0b\u{7f}c\u{9b}d", "abcd");
        check("ab\u{202e}cd\u{2066}e\u{2028}f", "abcdef");
        check("tab\tstays, é, 日本, 👍", "tab\tstays, é, 日本, 👍");
    }
}
