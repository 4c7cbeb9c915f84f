//! A connection as two halves: one sends lines and bytes, the other receives them.
//!
//! A connection can use any [`AsyncRead`] and [`AsyncWrite`], such as TCP, TLS, or a pipe in a test. The halves must
//! be used at the same time, because the server stops reading from a client that does not read its replies. This
//! module knows lines, but not which requests they answer; see [`super::Client`].

use std::collections::VecDeque;
use std::fmt::{self, Display};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use memchr::memchr;

use super::error::{Error, InvalidRequest};
use super::message::Tags;
use crate::protocol::line::{LINE_BYTES_MAX, LINE_OUT_BYTES_MAX};
use crate::protocol::{Event, ServerLine};

/// The maximum number of bytes that are read at once: a few hundred replies, or a large piece of a file.
const BUFFER_BYTES: usize = 64 * 1024;

/// The maximum number of bytes of events that are kept while a reply is awaited: some ten thousand lines. Further
/// events are dropped, and a `GAP` takes their place.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// A line from the server, without its line end.
///
/// ```
/// use plainchat::client::Line;
/// use plainchat::protocol::Event;
/// let line = Line::from("MSG #lobby bob roll".to_owned());
/// assert!(matches!(line.event(), Some(Event::Msg { text, .. }) if text == "roll"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line(String);

impl Line {
    /// Returns the line as it was received. The server removes control characters. Even so, a client that writes to a
    /// terminal should apply [`clean`](crate::protocol::text::clean).
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses the line.
    pub fn read(&self) -> ServerLine<'_> {
        ServerLine::parse(&self.0)
    }

    /// Returns the tags of the event in the line; none for any other line.
    pub fn tags(&self) -> Tags {
        match self.read() {
            ServerLine::Live { tags, .. } | ServerLine::Past { tags, .. } => Tags::of(tags),
            _ => Tags::default(),
        }
    }

    /// Returns the live event in the line; `None` for any other line, such as a `GAP`.
    pub fn event(&self) -> Option<Event<'_>> {
        match self.read() {
            ServerLine::Live { event, .. } => Some(event),
            _ => None,
        }
    }
}

impl From<String> for Line {
    fn from(line: String) -> Self {
        Self(line)
    }
}

/// The half of a connection that sends.
///
/// A client that sends without waiting for replies must read at the same time. Otherwise the server stops reading,
/// because its replies are not read, and [`Sender::write`] never returns.
///
/// ```
/// # futures_lite::future::block_on(async {
/// use plainchat::client::{Receiver, Sender};
///
/// // Anything that implements `AsyncRead` and `AsyncWrite` carries a connection.
/// let mut sender = Sender::new(futures_lite::io::Cursor::new(Vec::new()));
/// sender.send("NICK ann").await?;
/// let mut receiver = Receiver::new(&b"OK NICK ann #lobby 7\n"[..]);
/// let line = receiver.line().await?.expect("one line");
/// assert_eq!(line.as_str(), "OK NICK ann #lobby 7");
/// assert!(receiver.line().await?.is_none());
/// # Ok::<(), plainchat::client::Error>(())
/// # }).unwrap();
/// ```
pub struct Sender {
    stream: Box<dyn AsyncWrite + Send + Unpin>,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl Sender {
    /// Creates the half that writes to `stream`. Closing `stream` must end this direction only.
    pub fn new(stream: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        let stream = Box::new(stream);
        Self { stream }
    }

    /// Writes some of `bytes`, without waiting, and returns how many.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    /// Flushes what was written. Without this, TLS may hold it back.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Sends one request: a [`Request`](crate::protocol::Request), or its line without the line end.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is empty, contains a line break or has more than 4095 bytes; [`Error::Lost`].
    pub async fn send(&mut self, request: impl Display) -> Result<(), Error> {
        self.write(one_line(request.to_string())?.as_bytes()).await
    }

    /// Sends bytes unchanged.
    ///
    /// # Errors
    /// [`Error::Lost`]. The last line that the other half receives may give the reason.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.write_all(bytes).await.map_err(Error::Lost)?;
        self.stream.flush().await.map_err(Error::Lost)
    }

    /// Ends this direction. The server answers the requests that it has received, and then closes the connection.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub async fn end(&mut self) -> Result<(), Error> {
        self.stream.close().await.map_err(Error::Lost)
    }
}

/// Adds the line ending to a request. Returns an error for a line that the server would not answer: the sender would
/// wait forever.
pub(super) fn one_line(mut line: String) -> Result<String, Error> {
    if line.contains('\n') {
        return Err(InvalidRequest::LineBreak.into());
    }
    if line.trim_matches([' ', '\r', '\0', '\u{feff}']).is_empty() {
        return Err(InvalidRequest::Empty.into());
    }
    if line.len() >= LINE_BYTES_MAX {
        return Err(InvalidRequest::TooLong.into());
    }
    line.push('\n');
    Ok(line)
}

/// The half of a connection that receives. For an example see [`Sender`].
///
/// If the future of a method is dropped before it is ready, nothing is lost.
pub struct Receiver {
    stream: Box<dyn AsyncRead + Send + Unpin>,
    buffer: Box<[u8]>,
    /// The bytes that were read but not returned yet are `buffer[start..end]`.
    start: usize,
    end: usize,
    /// The events that arrived while a reply was awaited, oldest first.
    kept: VecDeque<Line>,
    kept_bytes: usize,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("kept", &self.kept.len())
            .finish_non_exhaustive()
    }
}

impl Receiver {
    /// Creates the half that reads from `stream`.
    pub fn new(stream: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            buffer: vec![0; BUFFER_BYTES].into(),
            start: 0,
            end: 0,
            kept: VecDeque::new(),
            kept_bytes: 0,
        }
    }

    /// Waits for the next line; `None` when the server has ended the connection. Bytes that are not UTF-8, which the
    /// protocol does not allow, become U+FFFD.
    ///
    /// # Errors
    /// [`Error::Lost`]; [`Error::Protocol`] for a line of more than 6144 bytes.
    pub async fn line(&mut self) -> Result<Option<Line>, Error> {
        match self.kept.pop_front() {
            Some(line) => {
                self.kept_bytes -= line.0.len();
                Ok(Some(line))
            }
            None => self.fresh_line().await,
        }
    }

    /// Returns whether [`Receiver::line`] can return a line without waiting. If not, the caller should flush its
    /// output now.
    pub fn has_line(&self) -> bool {
        !self.kept.is_empty() || memchr(b'\n', self.waiting()).is_some()
    }

    /// Reads some of the raw bytes that follow a `DATA` line into `buffer`. Returns their number, which is 0 at the
    /// end of the connection.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub async fn bytes(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if self.start == self.end {
            // This read does not use the internal buffer, so that a file is not copied twice.
            return self.stream.read(buffer).await.map_err(Error::Lost);
        }
        let length = buffer.len().min(self.end - self.start);
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), self.waiting().get(..length)) {
            to.copy_from_slice(from);
        }
        self.start += length;
        Ok(length)
    }

    /// Waits for the next line from the connection. Does not return events that were kept.
    pub(super) async fn fresh_line(&mut self) -> Result<Option<Line>, Error> {
        poll_fn(|cx| self.poll_line(cx)).await
    }

    /// Polls for the next line from the connection.
    pub(super) fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Line>, Error>> {
        loop {
            let waiting = self.waiting();
            if let Some(length) = memchr(b'\n', waiting) {
                let line = String::from_utf8_lossy(waiting.get(..length).unwrap_or_default());
                let line = Line(line.into_owned());
                self.start += length + 1;
                if length >= LINE_OUT_BYTES_MAX {
                    return Poll::Ready(Err(Error::Protocol("a line has more than 6144 bytes")));
                }
                return Poll::Ready(Ok(Some(line)));
            }
            if waiting.len() >= LINE_OUT_BYTES_MAX {
                return Poll::Ready(Err(Error::Protocol("a line has more than 6144 bytes")));
            }
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(if self.start == self.end {
                    Ok(None)
                } else {
                    Err(Error::cut("it ended in the middle of a line"))
                });
            }
        }
    }

    /// Drops the kept events of a place: a room or, for direct messages, a nick.
    pub(super) fn forget(&mut self, place: &str) {
        let is_elsewhere = |line: &Line| match line.read() {
            ServerLine::Live { event, .. } => event.place() != place,
            ServerLine::Gap { place: gap } => gap != place,
            _ => true,
        };
        self.kept.retain(is_elsewhere);
        self.kept_bytes = self.kept.iter().map(|line| line.0.len()).sum();
    }

    /// Keeps an event for [`Receiver::line`].
    pub(super) fn keep(&mut self, line: Line) {
        if self.kept_bytes + line.0.len() <= KEPT_BYTES_MAX {
            self.kept_bytes += line.0.len();
            self.kept.push_back(line);
            return;
        }
        let gap = match line.read() {
            ServerLine::Live { event, .. } => format!("GAP {}", event.place()),
            _ => return,
        };
        // The gaps are at the end of the list, one for each place.
        let mut gaps = self
            .kept
            .iter()
            .rev()
            .take_while(|line| line.0.starts_with("GAP "));
        if !gaps.any(|line| line.0 == gap) {
            self.kept_bytes += gap.len();
            self.kept.push_back(Line(gap));
        }
    }

    fn waiting(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Reads once. Returns 0 at the end of the connection.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let space = self.buffer.get_mut(self.end..).unwrap_or_default();
        let read = Pin::new(&mut self.stream).poll_read(cx, space);
        let length = ready!(read).map_err(Error::Lost)?;
        self.end += length;
        Poll::Ready(Ok(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_single_line_is_sent() {
        for bad in ["", "  ", "\r", "\u{feff}", "MSG a\nBYE", &"x".repeat(4096)] {
            assert!(
                matches!(one_line(bad.to_owned()), Err(Error::Invalid(_))),
                "{bad:?}"
            );
        }
        assert_eq!(one_line("x".repeat(4095)).unwrap().len(), 4096);
    }

    #[test]
    fn events_beyond_the_limit_leave_one_gap_per_room() {
        futures_lite::future::block_on(async {
            let mut receiver = Receiver::new(futures_lite::io::empty());
            let text = "x".repeat(1 << 20);
            for n in 0..8 {
                let room = ["#a", "#b"][n % 2];
                receiver.keep(Line(format!("MSG {room} bob {text}")));
            }
            let mut lines = Vec::new();
            while receiver.has_line() {
                let line = receiver.line().await.unwrap().unwrap();
                lines.push(line.as_str().chars().take(6).collect::<String>());
            }
            assert_eq!(lines, ["MSG #a", "MSG #b", "MSG #a", "GAP #b", "GAP #a"]);
            assert_eq!(receiver.kept_bytes, 0);
        });
    }
}
