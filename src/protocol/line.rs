//! Splits a stream of bytes into lines of bounded length. How the stream is cut into pieces does not matter.
//!
//! Lines are split before they are parsed, so an invalid line never affects the next one. The decoder drops line
//! endings, a byte order mark before the first line and, on a plain TCP connection, telnet's option bytes. It skips a
//! line that is too long. It holds bytes only while a line is incomplete. This module knows nothing of verbs: see
//! [`super::request`].

use memchr::{memchr, memchr2};

/// The maximum length of a line that a client sends, in bytes with the line ending. A terminal sends at most 4095
/// typed bytes and the line ending, so whatever a user can type fits.
pub const LINE_BYTES_MAX: usize = 4096;

/// The maximum length of a line that the server sends, in bytes with the line ending. It has space for the longest
/// text, two names of maximum length, the id, the time and the tags.
pub const LINE_OUT_BYTES_MAX: usize = 6144;

const IAC: u8 = 0xff;
/// The lowest byte that is a telnet command when it follows `IAC` (EOF, RFC 1184).
const TELNET_FIRST: u8 = 236;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// A bare LF.
    Lf,
    /// CR LF or CR NUL LF, as telnet, `nc -C` and Windows send it.
    CrLf,
    /// The input ended.
    Eof,
}

/// An item decoded from the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A complete line without its line ending.
    Line {
        /// The bytes of the line, which may not be valid UTF-8.
        bytes: &'a [u8],
        /// How the line ended.
        end: LineEnd,
    },
    /// A line of more than [`LINE_BYTES_MAX`] bytes was skipped.
    TooLong {
        /// The beginning of that line.
        head: &'a [u8],
    },
    /// A telnet reply to be sent to the peer.
    Telnet([u8; 3]),
}

/// A decoder that splits bytes into lines.
///
/// ```
/// use plainchat::protocol::line::{Item, LineDecoder, LineEnd};
/// let mut decoder = LineDecoder::default();
/// let mut input = &b"one\r\ntw"[..];
/// let item = decoder.next(&mut input);
/// assert_eq!(item, Some(Item::Line { bytes: b"one", end: LineEnd::CrLf }));
/// assert_eq!(decoder.next(&mut input), None);
/// let mut input = &b"o\n"[..];
/// let item = decoder.next(&mut input);
/// assert_eq!(item, Some(Item::Line { bytes: b"two", end: LineEnd::Lf }));
/// ```
#[derive(Debug, Default)]
pub struct LineDecoder {
    /// The beginning of a line whose end has not arrived yet. Between lines it is empty and takes no memory.
    partial: Vec<u8>,
    /// Whether `partial` was returned to the caller. If so, the next call clears it.
    spent: bool,
    /// Whether `partial` is the beginning of a line that is too long. If so, the rest of the line is skipped.
    skipping: bool,
    /// Whether a line was returned. If so, a byte order mark is no longer expected.
    begun: bool,
    telnet: Telnet,
    /// Whether no telnet client can be on this connection. If so, 0xFF is an ordinary byte.
    has_no_telnet: bool,
}

/// The position within a telnet sequence (RFC 854).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Telnet {
    #[default]
    Text,
    Iac,
    /// After `WILL`, `WONT`, `DO` or `DONT`; the option comes next.
    Option(u8),
    /// Between `SB` and `SE`.
    Sub,
    SubIac,
}

impl LineDecoder {
    /// Returns a decoder for input that no telnet client sends: TLS, WebSocket messages and HTTP bodies.
    #[must_use]
    pub fn without_telnet() -> Self {
        Self {
            has_no_telnet: true,
            ..Self::default()
        }
    }

    /// Treats 0xFF as an ordinary byte from the next line on, as in [`Self::without_telnet`]. Must be called between
    /// lines.
    pub fn end_telnet(&mut self) {
        self.has_no_telnet = true;
    }

    /// Decodes the next item of `input`. Returns `None` when all of `input` is consumed and more bytes are needed.
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Option<Item<'a>> {
        if self.spent {
            self.spent = false;
            self.skipping = false;
            self.partial = Vec::new();
        }
        if self.telnet == Telnet::Text && self.partial.is_empty() && !self.skipping {
            // The usual case: a complete plain line in the input is returned without a copy.
            if let Some(at) = self.stop(input)
                && input.get(at) == Some(&b'\n')
                && at < LINE_BYTES_MAX
            {
                let (line, rest) = input.split_at(at);
                *input = rest.get(1..).unwrap_or_default();
                return Some(self.line(line));
            }
        }
        self.next_slowly(input)
    }

    /// Returns the last line of the input if it ended without LF; `None` if nothing is left.
    pub fn finish(&mut self) -> Option<Item<'_>> {
        if self.spent || (self.partial.is_empty() && !self.skipping) {
            return None;
        }
        self.spent = true;
        if self.skipping {
            return Some(Item::TooLong {
                head: &self.partial,
            });
        }
        let bytes = unmarked(&self.partial, &mut self.begun);
        let (bytes, _) = without_end(bytes);
        Some(Item::Line {
            bytes,
            end: LineEnd::Eof,
        })
    }

    fn line<'a>(&mut self, bytes: &'a [u8]) -> Item<'a> {
        let (bytes, end) = without_end(unmarked(bytes, &mut self.begun));
        Item::Line { bytes, end }
    }

    /// Decodes `input` one byte at a time: for partial lines, long lines, and telnet.
    fn next_slowly<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Option<Item<'a>> {
        while let Some((&byte, rest)) = input.split_first() {
            if self.telnet == Telnet::Iac && byte < TELNET_FIRST {
                // The byte before this one was not telnet's `IAC`, but a letter in another encoding. This byte may
                // end the line.
                self.telnet = Telnet::Text;
                self.push(&[IAC]);
                continue;
            }
            if self.telnet != Telnet::Text && byte == b'\n' {
                // The end of the line ends an unfinished telnet sequence too, so that the next line is not lost.
                self.telnet = Telnet::Text;
            }
            if self.telnet != Telnet::Text {
                *input = rest;
                if let Some(answer) = self.telnet_byte(byte) {
                    return Some(Item::Telnet(answer));
                }
                continue;
            }
            let run = self.stop(input).unwrap_or(input.len());
            let (text, rest) = input.split_at(run);
            self.push(text);
            let Some((&stop, rest)) = rest.split_first() else {
                *input = rest;
                break;
            };
            *input = rest;
            if stop == IAC {
                self.telnet = Telnet::Iac;
                continue;
            }
            self.spent = true;
            // The limit includes the line ending, which counts as one byte.
            if self.skipping || self.partial.len() >= LINE_BYTES_MAX {
                return Some(Item::TooLong {
                    head: &self.partial,
                });
            }
            let bytes = unmarked(&self.partial, &mut self.begun);
            let (bytes, end) = without_end(bytes);
            return Some(Item::Line { bytes, end });
        }
        None
    }

    /// Returns the position of the first byte that ends a line or begins a telnet sequence.
    fn stop(&self, input: &[u8]) -> Option<usize> {
        if self.has_no_telnet {
            memchr(b'\n', input)
        } else {
            memchr2(b'\n', IAC, input)
        }
    }

    fn push(&mut self, text: &[u8]) {
        let space = LINE_BYTES_MAX.saturating_sub(self.partial.len());
        self.skipping |= text.len() > space;
        if let Some(fits) = text.get(..text.len().min(space)) {
            self.partial.extend_from_slice(fits);
        }
    }

    /// Consumes one byte inside a telnet sequence. If the peer requests or offers an option, returns the refusal to
    /// send.
    fn telnet_byte(&mut self, byte: u8) -> Option<[u8; 3]> {
        const SE: u8 = 240;
        const SB: u8 = 250;
        const WILL: u8 = 251;
        const WONT: u8 = 252;
        const DO: u8 = 253;
        const DONT: u8 = 254;
        self.telnet = match (self.telnet, byte) {
            (Telnet::Iac, IAC) => {
                self.push(&[IAC]); // a doubled byte stands for itself in the text, which then is not UTF-8
                Telnet::Text
            }
            (Telnet::Iac, WILL | WONT | DO | DONT) => Telnet::Option(byte),
            (Telnet::Iac, SB) => Telnet::Sub,
            (Telnet::Sub, IAC) => Telnet::SubIac,
            (Telnet::SubIac, SE) => Telnet::Text,
            (Telnet::Sub | Telnet::SubIac, _) => Telnet::Sub,
            (Telnet::Option(DO), option) => {
                self.telnet = Telnet::Text;
                return Some([IAC, WONT, option]);
            }
            (Telnet::Option(WILL), option) => {
                self.telnet = Telnet::Text;
                return Some([IAC, DONT, option]);
            }
            _ => Telnet::Text,
        };
        None
    }
}

/// Returns `bytes` without the byte order mark, if they are the first line and begin with one.
fn unmarked<'a>(bytes: &'a [u8], begun: &mut bool) -> &'a [u8] {
    if std::mem::replace(begun, true) {
        return bytes;
    }
    bytes.strip_prefix(BOM).unwrap_or(bytes)
}

/// Returns `bytes` without the CR, or CR NUL, that preceded the LF, and how the line ended.
fn without_end(bytes: &[u8]) -> (&[u8], LineEnd) {
    let bare = bytes
        .strip_suffix(b"\r")
        .or_else(|| bytes.strip_suffix(b"\r\0"));
    match bare {
        Some(bare) => (bare, LineEnd::CrLf),
        None => (bytes, LineEnd::Lf),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Describes in words the items that a decoder returns for `pieces`.
    fn decode(pieces: &[&[u8]]) -> Vec<String> {
        decode_by(LineDecoder::default(), pieces)
    }

    fn decode_by(mut decoder: LineDecoder, pieces: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        let name = |item: Item<'_>| match item {
            Item::Line { bytes, end } => format!("{end:?} {}", bytes.escape_ascii()),
            Item::TooLong { .. } => "too long".into(),
            Item::Telnet(answer) => format!("telnet {answer:?}"),
        };
        for piece in pieces {
            let mut input = *piece;
            while let Some(item) = decoder.next(&mut input) {
                found.push(name(item));
            }
            assert!(input.is_empty());
        }
        found.extend(decoder.finish().map(name));
        found
    }

    fn check(input: &[u8], expected: &[&str]) {
        assert_eq!(decode(&[input]), expected, "whole");
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(decode(&bytes), expected, "byte by byte");
        for at in 0..input.len() {
            let (a, b) = input.split_at(at);
            assert_eq!(decode(&[a, b]), expected, "cut at {at}");
        }
    }

    #[test]
    fn every_kind_of_line_ending_is_recognized() {
        check(
            b"a\nb\r\nc\r\0\n\nd",
            &["Lf a", "CrLf b", "CrLf c", "Lf ", "Eof d"],
        );
        check(b"a\rb\n", &["Lf a\\rb"]);
        check(b"a\r", &["Eof a"]);
    }

    #[test]
    fn a_byte_order_mark_is_dropped_before_the_first_line_only() {
        check(
            b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n",
            &["Lf a", "Lf \\xef\\xbb\\xbfb"],
        );
    }

    #[test]
    fn telnet_bytes_are_removed_and_options_declined() {
        check(
            b"a\xff\xf4\xff\xfd\x06b\n",
            &["telnet [255, 252, 6]", "Lf ab"],
        );
        check(b"\xff\xfb\x01x\n", &["telnet [255, 254, 1]", "Lf x"]);
        check(b"\xff\xfa\x18a\xff\xffb\xff\xf0c\n", &["Lf c"]);
        check(b"\xff\xfe\x01\xff\xfc\x01d\n", &["Lf d"]);
        check(b"\xff\xff\n", &["Lf \\xff"]);
    }

    #[test]
    fn telnet_bytes_are_text_where_no_telnet_client_can_be() {
        let input = b"a\xff\xf4\xff\xfd\x06b\r\n\xff\xfa\x18\nc\xff";
        let expected = [
            "CrLf a\\xff\\xf4\\xff\\xfd\\x06b",
            "Lf \\xff\\xfa\\x18",
            "Eof c\\xff",
        ];
        for at in 0..input.len() {
            let (a, b) = input.split_at(at);
            assert_eq!(decode_by(LineDecoder::without_telnet(), &[a, b]), expected);
        }
    }

    #[test]
    fn a_byte_that_only_looks_like_telnet_does_not_hide_a_line_end() {
        check(b"Lou\xff\nb\n", &["Lf Lou\\xff", "Lf b"]);
        check(b"\xffa\xff\r\n", &["CrLf \\xffa\\xff"]);
        check(b"\xff\xecc\n", &["Lf c"]);
    }

    #[test]
    fn a_telnet_sequence_that_is_never_ended_ends_with_its_line() {
        check(b"a\xff\xfd\nb\n", &["Lf a", "Lf b"]);
        check(b"a\xff\xfa\x18never ended\nb\n", &["Lf a", "Lf b"]);
        check(b"a\xff\xfanever\xff\nb\n", &["Lf a", "Lf b"]);
    }

    #[test]
    fn an_overlong_line_is_reported_once_and_skipped() {
        for (length, long) in [(4094, false), (4095, false), (4096, true), (20_000, true)] {
            let line = [&vec![b'x'; length][..], b"\nnext\n"].concat();
            let first = if long {
                "too long".to_owned()
            } else {
                format!("Lf {}", "x".repeat(length))
            };
            for pieces in [line.chunks(1), line.chunks(4096), line.chunks(30_000)] {
                let pieces: Vec<&[u8]> = pieces.collect();
                assert_eq!(decode(&pieces), [&first[..], "Lf next"], "{length} bytes");
            }
        }
        assert_eq!(decode(&[&[b'x'; 5000]]), ["too long"]);
    }

    #[test]
    fn no_memory_is_held_between_lines() {
        let mut decoder = LineDecoder::default();
        for mut input in [&b"half"[..], b" a line\n", b""] {
            while decoder.next(&mut input).is_some() {}
        }
        assert_eq!(decoder.partial.capacity(), 0);
    }
}
