//! Converts any bytes, such as the input of a pipe, to texts of messages that the protocol accepts.

use crate::protocol::line::LINE_BYTES_MAX;
use crate::protocol::name::NAME_BYTES_MAX;
use crate::protocol::text::clean;

/// The number of bytes that are left for the nonce of a message. With a nonce, a message that is sent again is logged
/// once.
const NONCE_BYTES: usize = 40;

/// A splitter of bytes into the texts of messages. A line becomes one message, an empty line none, and a long line several.
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
            most: text_bytes_max(NAME_BYTES_MAX),
            partial: Vec::new(),
            begun: false,
        }
    }
}

impl LineSplitter {
    /// Limits the length of the messages, so that each also fits into a `TELL` line with a nonce and a room's name of
    /// `room` bytes.
    pub fn limit(&mut self, room: usize) {
        // The server sends the name, which may be too long.
        self.most = text_bytes_max(room.min(NAME_BYTES_MAX));
    }

    /// Appends the texts of `input` to `out`.
    pub fn push(&mut self, input: &[u8], out: &mut impl Extend<String>) {
        for part in input.split_inclusive(|b| *b == b'\n') {
            self.partial
                .extend_from_slice(part.strip_suffix(b"\n").unwrap_or(part));
            while self.partial.len() > self.most {
                let at = whole_characters(&self.partial, self.most);
                let rest = self.partial.split_off(at);
                self.flush(out);
                self.partial = rest;
            }
            if part.ends_with(b"\n") {
                self.flush(out);
            }
        }
    }

    /// Appends the last text, if the input has ended without a line ending.
    pub fn finish(&mut self, out: &mut impl Extend<String>) {
        self.flush(out);
    }

    /// Appends the texts of `partial`, and empties it.
    fn flush(&mut self, out: &mut impl Extend<String>) {
        let mut bytes = &self.partial[..];
        if !std::mem::replace(&mut self.begun, true) {
            bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        }
        let text = String::from_utf8_lossy(bytes);
        // The server would remove control characters, and would refuse a line that is empty without them.
        let text = clean(&text);
        let mut rest = &text[..];
        while !rest.is_empty() {
            // U+FFFD is longer than the byte that it replaces.
            let (piece, after) = rest.split_at(rest.floor_char_boundary(self.most));
            out.extend([piece.to_owned()]);
            rest = after;
        }
        self.partial.clear();
    }
}

/// Returns the maximum number of bytes of text in a `TELL` line with a nonce and a room's name of `room` bytes.
const fn text_bytes_max(room: usize) -> usize {
    LINE_BYTES_MAX.saturating_sub("TELL  \n".len() + NONCE_BYTES + room)
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

    fn cut(pieces: &[&[u8]]) -> Vec<String> {
        let (mut splitter, mut texts) = (LineSplitter::default(), Vec::new());
        for piece in pieces {
            splitter.push(piece, &mut texts);
        }
        splitter.finish(&mut texts);
        texts
    }

    fn check(input: &[u8], expected: &[&str]) {
        let shown = input.escape_ascii().to_string();
        assert_eq!(cut(&[input]), expected, "of {shown:?}");
    }

    #[test]
    fn each_line_is_sent_unless_it_is_empty() {
        check(
            b"one\n\ntwo\r\n\r\n\x1b[0m\nMSG three\nfour",
            &["one", "two", "MSG three", "four"],
        );
        check(b" \n", &[" "]);
        check(b"", &[]);
        check(b"\xef\xbb\xbfbom\n", &["bom"]);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        check(b"a\xffb\n", &["a\u{fffd}b"]);
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let most = text_bytes_max(NAME_BYTES_MAX);
        assert_eq!(most, 3920);
        for (text, pieces) in [
            ("x".repeat(most), vec![most]),
            ("x".repeat(most + 1), vec![most, 1]),
            (format!("x{}", "é".repeat(most / 2)), vec![most - 1, 2]),
            (format!("x{}", "😀".repeat(most / 4)), vec![most - 3, 4]),
        ] {
            let texts = cut(&[text.as_bytes()]);
            let lengths: Vec<usize> = texts.iter().map(String::len).collect();
            assert_eq!((lengths, texts.concat()), (pieces, text));
        }
        let texts = cut(&[&[0xff; 4000]]);
        assert!(
            texts.iter().all(|text| text.len() <= most),
            "replaced bytes are longer"
        );
        assert_eq!(texts.concat().matches('\u{fffd}').count(), 4000);
    }

    #[test]
    fn the_length_depends_on_the_room() {
        let mut splitter = LineSplitter::default();
        splitter.limit("#a".len());
        let mut texts = Vec::new();
        splitter.push(&[b'x'; 4096], &mut texts);
        splitter.finish(&mut texts);
        assert_eq!(
            texts.iter().map(String::len).collect::<Vec<_>>(),
            [4047, 49]
        );
        splitter.limit(6000);
        let mut texts = Vec::new();
        splitter.push("é\n".as_bytes(), &mut texts);
        assert_eq!(texts, ["é"]);
    }

    proptest! {
        #[test]
        fn however_the_input_is_split_the_texts_are_the_same(
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
            let most = text_bytes_max(NAME_BYTES_MAX);
            prop_assert!(whole.iter().all(|text| !text.is_empty() && text.len() <= most));
        }
    }
}
