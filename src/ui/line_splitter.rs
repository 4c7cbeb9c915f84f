//! Converts any bytes, such as the input of a pipe, to messages that the protocol accepts.

use crate::protocol::line::LINE_BYTES_MAX;
use crate::protocol::text::clean;

/// The maximum number of bytes of text in a line, which also contains `MSG ` and the line ending.
const TEXT_BYTES_MAX: usize = LINE_BYTES_MAX - "MSG \n".len();

/// The number of bytes that are left for the nonce of a message. With a nonce, a message that is sent again is logged
/// once.
const NONCE_BYTES: usize = 40;

/// A splitter of bytes into `MSG` lines. A line becomes one message, an empty line none, and a long line several.
/// Bytes that are not UTF-8 become U+FFFD. The splitter holds at most one line.
#[derive(Debug)]
pub struct LineSplitter {
    /// The maximum number of bytes of text in a message.
    most: usize,
    /// The beginning of a line whose end has not arrived yet.
    partial: Vec<u8>,
    begun: bool,
}

impl Default for LineSplitter {
    fn default() -> Self {
        Self {
            most: TEXT_BYTES_MAX,
            partial: Vec::new(),
            begun: false,
        }
    }
}

impl LineSplitter {
    /// Limits the length of the messages, so that each also fits into a `TELL` line with a nonce and a room's name of
    /// `room` bytes.
    pub fn limit(&mut self, room: usize) {
        self.most = LINE_BYTES_MAX.saturating_sub("TELL  \n".len() + NONCE_BYTES + room);
    }

    /// Appends the lines of `input` to `out`. Returns their number.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> u64 {
        let mut lines = 0;
        for part in input.split_inclusive(|b| *b == b'\n') {
            self.partial
                .extend_from_slice(part.strip_suffix(b"\n").unwrap_or(part));
            while self.partial.len() > self.most {
                let at = whole_characters(&self.partial, self.most);
                let rest = self.partial.split_off(at);
                lines += self.flush(out);
                self.partial = rest;
            }
            if part.ends_with(b"\n") {
                lines += self.flush(out);
            }
        }
        lines
    }

    /// Appends the last line, if the input has ended without a line ending.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> u64 {
        self.flush(out)
    }

    /// Appends the messages of `partial`, and empties it.
    fn flush(&mut self, out: &mut Vec<u8>) -> u64 {
        let mut bytes = &self.partial[..];
        if !std::mem::replace(&mut self.begun, true) {
            bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        }
        let text = String::from_utf8_lossy(bytes);
        // The server would remove control characters, and would refuse a line that is empty without them.
        let text = clean(&text);
        let mut rest = &text[..];
        let mut lines = 0;
        while !rest.is_empty() {
            // U+FFFD is longer than the byte that it replaces.
            let (piece, after) = rest.split_at(rest.floor_char_boundary(self.most));
            out.extend_from_slice(b"MSG ");
            out.extend_from_slice(piece.as_bytes());
            out.push(b'\n');
            rest = after;
            lines += 1;
        }
        self.partial.clear();
        lines
    }
}

/// Returns how many of the first `most` bytes can be taken without splitting a character.
fn whole_characters(bytes: &[u8], most: usize) -> usize {
    let is_inside = |at: usize| bytes.get(at).is_some_and(|b| b & 0xc0 == 0x80);
    let near = (most.saturating_sub(3)..=most).rev();
    near.into_iter().find(|at| !is_inside(*at)).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(pieces: &[&[u8]]) -> (String, u64) {
        let (mut splitter, mut out, mut lines) = (LineSplitter::default(), Vec::new(), 0);
        for piece in pieces {
            lines += splitter.push(piece, &mut out);
        }
        lines += splitter.finish(&mut out);
        (String::from_utf8(out).unwrap(), lines)
    }

    fn check(input: &[u8], expected: &str) {
        assert_eq!(
            cut(&[input]).0,
            expected,
            "of {:?}",
            input.escape_ascii().to_string()
        );
    }

    #[test]
    fn each_line_is_sent_unless_it_is_empty() {
        check(
            b"one\n\ntwo\r\n\r\n\x1b[0m\nthree",
            "MSG one\nMSG two\nMSG three\n",
        );
        check(b" \n", "MSG  \n");
        check(b"", "");
        check(b"\xef\xbb\xbfbom\n", "MSG bom\n");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        check(b"a\xffb\n", "MSG a\u{fffd}b\n");
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        for (text, pieces) in [
            ("x".repeat(4091), vec![4091]),
            ("x".repeat(4092), vec![4091, 1]),
            ("é".repeat(2046), vec![4090, 2]),
            ("😀".repeat(1023), vec![4088, 4]),
        ] {
            let (out, lines) = cut(&[text.as_bytes()]);
            let lengths: Vec<usize> = out.lines().map(|line| line.len() - 4).collect();
            assert_eq!((lengths, lines as usize), (pieces.clone(), pieces.len()));
            assert!(!out.contains('\u{fffd}'));
        }
        let (out, _) = cut(&[&[0xff; 4000]]);
        assert!(
            out.lines().all(|line| line.len() < LINE_BYTES_MAX),
            "replaced bytes are longer"
        );
        assert_eq!(out.matches('\u{fffd}').count(), 4000);
    }

    proptest! {
        #[test]
        fn however_the_input_is_split_the_lines_are_the_same(
            lines in proptest::collection::vec(("[a😀é\u{1b}]{0,5000}", any::<bool>()), 0..4),
            at in any::<prop::sample::Index>(),
        ) {
            let mut input = Vec::new();
            for (line, bad) in lines {
                input.extend(line.as_bytes());
                if bad {
                    input.extend(b"\xf0\x9f");
                }
                input.push(b'\n');
            }
            let (a, b) = input.split_at(at.index(input.len() + 1));
            let whole = cut(&[&input]);
            prop_assert_eq!(&cut(&[a, b]), &whole);
            prop_assert!(whole.0.lines().all(|line| line.len() < LINE_BYTES_MAX && line.len() > 4));
            prop_assert_eq!(whole.0.lines().count() as u64, whole.1);
        }
    }
}
