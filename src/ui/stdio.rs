//! Reads standard input and splits it into lines; writes to an output in a thread of its own.

use std::collections::VecDeque;
use std::io::{self, Read};

use futures_lite::{AsyncWrite, AsyncWriteExt};
use smol::Unblock;

/// Standard input that stays ended once it has ended.
///
/// If the input ends after some bytes, [`Unblock`] reads once more. A terminal would then wait for further input, so
/// without this type, the user would have to type Ctrl-D twice.
pub(super) struct Input {
    stdin: io::Stdin,
    is_ended: bool,
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_ended || buffer.is_empty() {
            return Ok(0);
        }
        let length = self.stdin.read(buffer)?;
        self.is_ended = length == 0;
        Ok(length)
    }
}

/// Returns standard input. A thread of its own reads up to `capacity` bytes ahead, because a read from a file or
/// terminal blocks.
pub(super) fn input(capacity: usize) -> Unblock<Input> {
    let stdin = io::stdin();
    let input = Input {
        stdin,
        is_ended: false,
    };
    Unblock::with_capacity(capacity, input)
}

/// Returns the text of standard input. A thread reads ahead, as described at [`input`].
pub(super) fn text_input(capacity: usize) -> Unblock<Text<Input>> {
    let stdin = io::stdin();
    let input = Input {
        stdin,
        is_ended: false,
    };
    Unblock::with_capacity(capacity, Text::new(input))
}

/// A reader of text in UTF-8. UTF-16, as programs on Windows write it, is converted if it begins with a byte order
/// mark. Without the mark it is an error, because its NULs cannot be sent.
pub(super) struct Text<R> {
    input: R,
    /// Bytes that have not been converted yet: the first bytes, which show the encoding, or a part of a character.
    held: Vec<u8>,
    /// Converted bytes that have not been returned yet.
    ready: VecDeque<u8>,
    encoding: Encoding,
}

#[derive(Clone, Copy)]
enum Encoding {
    Unknown,
    Utf8,
    Utf16(fn([u8; 2]) -> u16),
}

impl<R: Read> Text<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            held: Vec::new(),
            ready: VecDeque::new(),
            encoding: Encoding::Unknown,
        }
    }

    /// Converts the complete characters in the held bytes. At the end of the input, converts all bytes.
    fn convert(&mut self, is_end: bool) -> io::Result<()> {
        if matches!(self.encoding, Encoding::Unknown) {
            self.encoding = match self.held[..] {
                [] | [_] if !is_end => return Ok(()),
                [0xff, 0xfe, ..] => Encoding::Utf16(u16::from_le_bytes),
                [0xfe, 0xff, ..] => Encoding::Utf16(u16::from_be_bytes),
                _ => Encoding::Utf8,
            };
            if matches!(self.encoding, Encoding::Utf16(_)) {
                self.held.drain(..2);
            }
        }
        let Encoding::Utf16(unit) = self.encoding else {
            if self.held.contains(&0) {
                return Err(invalid(
                    "it contains NULs, as UTF-16 does; convert it first: iconv -f UTF-16 -t UTF-8",
                ));
            }
            self.ready.extend(self.held.drain(..));
            return Ok(());
        };
        let (pairs, _) = self.held.as_chunks::<2>();
        let mut units: Vec<u16> = pairs.iter().copied().map(unit).collect();
        if !is_end
            && units
                .last()
                .is_some_and(|unit| (0xd800..0xdc00).contains(unit))
        {
            units.pop(); // the first half of a character
        }
        let converted = 2 * units.len();
        let text = String::from_utf16(&units);
        let text = text.map_err(|_| invalid("it is not valid UTF-16"))?;
        if text.contains('\0') || (is_end && converted < self.held.len()) {
            return Err(invalid("it is not valid UTF-16"));
        }
        self.held.drain(..converted);
        self.ready.extend(text.into_bytes());
        Ok(())
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

impl<R: Read> Read for Text<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() && !buffer.is_empty() {
            let held = self.held.len();
            self.held.resize(held + buffer.len(), 0);
            let length = self.input.read(&mut self.held[held..]);
            self.held.truncate(held + *length.as_ref().unwrap_or(&0));
            let is_end = length? == 0;
            self.convert(is_end)?;
            if is_end {
                break;
            }
        }
        self.ready.read(buffer)
    }
}

/// Writes all of `bytes` to an [`Unblock`]. If its thread has failed, it accepts no more bytes, and flushing it
/// returns the error.
pub(super) async fn write_all(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    match to.write_all(bytes).await {
        Err(error) if error.kind() == io::ErrorKind::WriteZero => {
            to.flush().await?;
            Err(error)
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text of `bytes`, which are read `piece` bytes at a time.
    fn text(bytes: &[u8], piece: usize) -> Result<String, String> {
        struct Pieces<'a>(&'a [u8], usize);
        impl Read for Pieces<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let most = self.1.min(buffer.len());
                self.0.read(&mut buffer[..most])
            }
        }
        let mut out = Vec::new();
        let read = Text::new(Pieces(bytes, piece)).read_to_end(&mut out);
        read.map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let units = "\u{feff}".encode_utf16().chain(text.encode_utf16());
        units.flat_map(bytes).collect()
    }

    #[test]
    fn utf_16_is_converted_if_it_has_a_mark_and_refused_otherwise() {
        let input = "größer 🎉\r\nend";
        for piece in [1, 2, 3, 5, 100] {
            for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
                let encoded = utf16(input, bytes);
                assert_eq!(text(&encoded, piece).as_deref(), Ok(input));
                assert!(text(&encoded[2..], piece).unwrap_err().contains("iconv"));
                let odd = &encoded[..encoded.len() - 1];
                assert_eq!(text(odd, piece).unwrap_err(), "it is not valid UTF-16");
            }
            assert_eq!(text(input.as_bytes(), piece).as_deref(), Ok(input));
            assert_eq!(text(b"", piece).as_deref(), Ok(""));
            assert_eq!(text(b"x", piece).as_deref(), Ok("x"));
            assert!(text(b"a\0b", piece).is_err());
            assert!(
                text(b"\xff\xfe\x3d\xd8", piece).is_err(),
                "half a character"
            );
        }
    }
}
