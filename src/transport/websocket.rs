//! The chat protocol over WebSocket. In both directions, a text message is a line without its line ending, and the
//! bytes of a file are binary messages.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use memchr::{memchr, memchr2};

use super::frame::{self, Coming, Decoder, Item, Kind, Opcode, close};
use super::{Input, Stream, Wrong};
use crate::protocol::Code;
use crate::protocol::json::line_object;
use crate::protocol::line::LINE_BYTES_MAX;

/// The time between two pings of the client. A silent client is considered gone after the same time as a dead peer on
/// a plain socket.
const PING_EVERY: Duration = Duration::from_secs(30);
const DEAD_AFTER: Duration = Duration::from_secs(90);

/// The input of a client that is leaving. The client may read up to the server's close frame, but no further.
const CUT: Input = Input::Cut { reads_on: false };

/// The number of bytes that are read or framed at once.
const PIECE_BYTES: usize = 32 << 10;

/// The maximum number of bytes of pongs that wait to be sent. Further pongs are left out, as RFC 6455, 5.5.3 allows.
const PONG_BYTES_MAX: usize = 2 * (frame::CONTROL_BYTES_MAX + 2);

thread_local! {
    /// A buffer into which raw bytes are read before they are decoded.
    static RAW: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE_BYTES]);
}

/// A WebSocket connection whose handshake has been completed.
#[derive(Debug)]
pub struct WebSocket {
    stream: Stream,
    decoder: Decoder,
    /// Bytes that have been read but not decoded yet. Usually the vector takes no memory.
    held: Vec<u8>,
    /// The unfinished text message, up to the length of a line. Between messages it takes no memory.
    text: Vec<u8>,
    /// Whether the part of the message beyond the length of a line contains a line ending.
    is_torn: bool,
    /// The input that the client is expected to send.
    expected: Expected,
    /// Framed bytes that have not been sent yet.
    out: Vec<u8>,
    /// The number of bytes of a file that follow the next written line.
    follows: u64,
    /// How many of the bytes that are written next belong to a file.
    bytes_out: u64,
    /// The code with which to close. It is set when no more input is accepted.
    closes_with: Option<u16>,
    close_sent: bool,
    /// The time at which something was last received from the client.
    heard: Duration,
    /// The time of the next ping.
    ping_at: Duration,
    has_news: bool,
    /// An input to be reported when the bytes before it have been taken.
    waiting: Option<Input>,
    /// Whether the client is in the middle of a binary message.
    in_binary: bool,
    /// Whether the current binary message was not expected. If so, the error has been reported.
    is_stray: bool,
    /// Whether the client receives each line as a JSON object.
    receives_json: bool,
}

/// The input that the client is expected to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Lines,
    Bytes(u64),
    /// All bytes up to an empty message.
    AllBytes,
    /// Only the end of a binary message, because it contained the end of a file. More bytes in it are an error.
    EndOfBytes,
}

impl WebSocket {
    /// Creates a connection after its handshake. `held` are bytes that were read after the handshake; `now` is the
    /// server's clock.
    pub fn new(stream: Stream, held: Vec<u8>, now: Duration) -> Self {
        Self {
            stream,
            decoder: Decoder::default(),
            held,
            text: Vec::new(),
            is_torn: false,
            expected: Expected::Lines,
            out: Vec::new(),
            follows: 0,
            bytes_out: 0,
            closes_with: None,
            close_sent: false,
            heard: now,
            ping_at: now + PING_EVERY,
            has_news: false,
            waiting: None,
            in_binary: false,
            is_stray: false,
            receives_json: false,
        }
    }

    /// Sends each line as a JSON object from now on.
    #[must_use]
    pub fn with_json(self, receives_json: bool) -> Self {
        Self {
            receives_json,
            ..self
        }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(super) fn expect_bytes(&mut self, length: Option<u64>) {
        self.expected = match length {
            Some(0) => Expected::Lines,
            Some(length) => Expected::Bytes(length),
            None => Expected::AllBytes,
        };
    }

    pub(super) fn bytes_follow(&mut self, length: u64) {
        self.follows = length;
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Input> {
        loop {
            if let Some(input) = self.waiting.take() {
                return Ok(input);
            }
            if self.closes_with.is_some() {
                return Ok(CUT);
            }
            if !self.held.is_empty() {
                let mut held = std::mem::take(&mut self.held);
                if let Some(input) = self.decode_frames(&mut held, buffer) {
                    return Ok(input);
                }
                continue;
            }
            let input = RAW.with_borrow_mut(|raw| {
                let count = match self.stream.read(raw)? {
                    0 => return Ok(Some(CUT)), // without a close frame
                    count => count,
                };
                self.has_news = true;
                Ok::<_, io::Error>(
                    self.decode_frames(raw.get_mut(..count).unwrap_or_default(), buffer),
                )
            });
            if let Some(input) = input? {
                return Ok(input);
            }
        }
    }

    /// Decodes `raw` into `buffer` until the kind of input changes, and keeps the rest of `raw`. Returns `None` if
    /// there is nothing to report.
    fn decode_frames(&mut self, mut raw: &mut [u8], buffer: &mut [u8]) -> Option<Input> {
        let mut filled = 0;
        let other = loop {
            let coming = match self.decoder.coming(&mut raw) {
                Ok(None) => break None,
                Ok(Some(coming)) => coming,
                Err(code) => {
                    self.closes_with = Some(code);
                    break Some(CUT);
                }
            };
            let space = buffer.get_mut(filled..).unwrap_or_default();
            if self.expected == Expected::EndOfBytes && coming == Coming::Data(Kind::Text) {
                self.expected = Expected::Lines; // the binary message ended without a further byte
            }
            let is_line = match (coming, self.expected) {
                (Coming::Control, _) => false,
                // The lines that have been read must be handled first, because they may announce the file that begins
                // here.
                (Coming::Data(Kind::Binary), Expected::Lines | Expected::EndOfBytes) => {
                    if filled > 0 {
                        break None;
                    }
                    false
                }
                (Coming::Data(Kind::Text), Expected::Lines | Expected::EndOfBytes) => {
                    if filled > 0 && space.len() < LINE_BYTES_MAX + 2 {
                        break None;
                    }
                    true
                }
                (Coming::Data(Kind::Binary), _) if space.is_empty() => break None,
                (Coming::Data(Kind::Binary), _) => false,
                (Coming::Data(Kind::Text), _) => {
                    // The file is incomplete, and nobody can know what the rest means.
                    self.closes_with = Some(close::NORMAL);
                    break Some(CUT);
                }
            };
            let most = match self.expected {
                _ if is_line => usize::MAX,
                Expected::Bytes(left) => {
                    usize::try_from(left).unwrap_or(usize::MAX).min(space.len())
                }
                Expected::AllBytes => space.len(),
                Expected::Lines | Expected::EndOfBytes => usize::MAX,
            };
            let item = match self.decoder.take(&mut raw, most) {
                Ok(None) => break None,
                Ok(Some(item)) => item,
                Err(code) => {
                    self.closes_with = Some(code);
                    break Some(CUT);
                }
            };
            let other = match item {
                Item::Data { bytes, is_last } if is_line => {
                    self.push_text(bytes, is_last, space, &mut filled)
                }
                Item::Data { bytes, is_last } => {
                    self.push_bytes(bytes, is_last, space, &mut filled)
                }
                Item::Ping(payload) => {
                    if self.out.len() < PONG_BYTES_MAX {
                        frame::encode(Opcode::Pong, &payload, &mut self.out);
                    }
                    None
                }
                Item::Pong => None,
                Item::Close(code) => {
                    self.closes_with = Some(code.unwrap_or(close::NORMAL));
                    Some(CUT)
                }
            };
            if other.is_some() {
                break other;
            }
        };
        if self.closes_with.is_none() {
            self.held = raw.to_vec();
        }
        match (filled, other) {
            (0, other) => other,
            (count, other) => {
                self.waiting = other.filter(|other| *other != CUT);
                Some(Input::Bytes {
                    count,
                    may_have_more: true,
                })
            }
        }
    }

    /// Adds a piece of a text message. Returns a line when the message is complete.
    fn push_text(
        &mut self,
        bytes: &[u8],
        is_last: bool,
        space: &mut [u8],
        filled: &mut usize,
    ) -> Option<Input> {
        // One more byte than the longest line is kept, so that a line that is too long can be detected.
        let most = LINE_BYTES_MAX + 1 - self.text.len();
        let (taken, beyond) = bytes.split_at(most.min(bytes.len()));
        self.text.extend_from_slice(taken);
        self.is_torn |= memchr2(b'\r', b'\n', beyond).is_some();
        if !is_last {
            return None;
        }
        let mut line = std::mem::take(&mut self.text);
        // Command-line clients also send the line ending that the user typed.
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        let is_torn = std::mem::take(&mut self.is_torn);
        if is_torn || memchr2(b'\r', b'\n', &line).is_some() {
            return Some(Input::Refused(Wrong {
                code: Code::BadSyntax,
                text: "a text message is one line and cannot contain a line end",
                closes: false,
            }));
        }
        line.push(b'\n');
        copy(&line, space, filled);
        None
    }

    /// Adds a piece of a binary message, which contains bytes of a file if they are expected.
    fn push_bytes(
        &mut self,
        bytes: &[u8],
        is_last: bool,
        space: &mut [u8],
        filled: &mut usize,
    ) -> Option<Input> {
        let is_first = !std::mem::replace(&mut self.in_binary, !is_last);
        match &mut self.expected {
            Expected::Bytes(left) => {
                copy(bytes, space, filled);
                *left -= bytes.len() as u64;
                if *left == 0 {
                    self.expected = if is_last {
                        Expected::Lines
                    } else {
                        Expected::EndOfBytes
                    };
                }
                None
            }
            Expected::AllBytes => {
                copy(bytes, space, filled);
                if is_first && is_last && bytes.is_empty() {
                    self.expected = Expected::Lines;
                    return Some(Input::BytesEnd);
                }
                None
            }
            Expected::EndOfBytes => {
                if is_last {
                    self.expected = Expected::Lines;
                }
                (!bytes.is_empty()).then_some(Input::Refused(Wrong {
                    code: Code::OutOfStep,
                    text: "the message continues after the end of the upload; check the length of the upload",
                    closes: true,
                }))
            }
            // A binary message that nothing announced is refused once, however many parts it has. An empty one is
            // ignored: a client may send it to mark the end of a file whose length was known.
            Expected::Lines => {
                let is_reported = std::mem::replace(&mut self.is_stray, !is_last);
                (!is_reported && !bytes.is_empty()).then_some(Input::Refused(Wrong {
                    code: Code::BadSyntax,
                    text: "send a line as a text message; binary messages are for the bytes of an UPLOAD or TEXT",
                    closes: false,
                }))
            }
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.close_sent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.flush()?;
        let mut rest = bytes;
        while !rest.is_empty() && self.out.len() < PIECE_BYTES {
            if self.bytes_out > 0 {
                let count = usize::try_from(self.bytes_out).unwrap_or(usize::MAX);
                let count = count.min(rest.len()).min(PIECE_BYTES);
                let (piece, after) = rest.split_at(count);
                frame::encode(Opcode::Binary, piece, &mut self.out);
                self.bytes_out -= count as u64;
                rest = after;
            } else {
                let end = memchr(b'\n', rest).unwrap_or(rest.len());
                let (line, after) = rest.split_at(end);
                // IRC lines end in CR LF.
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if self.receives_json {
                    let object = line_object(&String::from_utf8_lossy(line)).to_string();
                    frame::encode(Opcode::Text, object.as_bytes(), &mut self.out);
                } else {
                    frame::encode(Opcode::Text, line, &mut self.out);
                }
                rest = after.get(1..).unwrap_or_default();
                self.bytes_out = std::mem::take(&mut self.follows);
            }
        }
        match self.flush() {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => Err(e),
            _ => Ok(bytes.len() - rest.len()),
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.stream.send_all(&mut self.out)?;
        self.stream.flush()
    }

    pub(super) fn end_output(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.close_sent, true) {
            let code = self.closes_with.unwrap_or(close::NORMAL);
            frame::encode(Opcode::Close, &code.to_be_bytes(), &mut self.out);
        }
        self.flush()?;
        self.stream.end_output()
    }

    pub(super) fn drain(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    /// Returns the time at which [`Self::is_alive`] must be called next.
    pub(super) fn due(&self) -> Duration {
        self.ping_at
    }

    /// Pings the client if it is time for that. Returns false if the client has been silent for too long.
    pub(super) fn is_alive(&mut self, now: Duration) -> bool {
        if std::mem::take(&mut self.has_news) {
            self.heard = now;
        }
        if now >= self.ping_at {
            self.ping_at = now + PING_EVERY;
            if self.out.len() < PONG_BYTES_MAX {
                frame::encode(Opcode::Ping, b"", &mut self.out);
            }
        }
        now < self.heard + DEAD_AFTER
    }
}

fn copy(bytes: &[u8], space: &mut [u8], filled: &mut usize) {
    for (to, from) in space.iter_mut().zip(bytes) {
        *to = *from;
    }
    *filled += bytes.len().min(space.len());
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;

    use super::super::Sockets;
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    /// Returns a connection whose handshake has been completed, and the client's socket.
    fn pair() -> (WebSocket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let sockets = Arc::new(Sockets::new().unwrap());
        let stream = Stream::Tcp(sockets.add(stream).unwrap());
        (WebSocket::new(stream, Vec::new(), START), client)
    }

    #[test]
    fn a_client_that_answers_no_ping_is_gone_after_90_seconds() {
        let (mut socket, mut client) = pair();
        let mut asked = 0;
        let mut now = START;
        loop {
            now = socket.due().max(now);
            if !socket.is_alive(now) {
                break;
            }
            socket.flush().unwrap();
            let mut ping = [0; 2];
            client.read_exact(&mut ping).unwrap();
            assert_eq!(ping, [0x89, 0]);
            asked += 1;
        }
        assert_eq!((asked, now - START), (2, DEAD_AFTER));
    }

    #[test]
    fn a_client_that_answers_pings_stays() {
        let (mut socket, mut client) = pair();
        let mut buffer = [0; 10];
        for _ in 0..100 {
            assert!(socket.is_alive(socket.due()));
            socket.flush().unwrap();
            client.write_all(b"\x8a\x80abcd").unwrap();
            while !socket.has_news {
                let read = socket.read(&mut buffer);
                assert_eq!(read.unwrap_err().kind(), io::ErrorKind::WouldBlock);
            }
        }
    }
}
