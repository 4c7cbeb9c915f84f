//! One connection, as its two halves: lines and bytes out, lines and bytes in.
//!
//! What carries it is any pair of futures' [`AsyncRead`] and [`AsyncWrite`]: TCP, TLS, a pipe in a test.
//! The halves may work at the same time, and have to: the server stops reading one who does not read
//! its replies. Knows lines, not what they answer: that is [`super::Client`].

use std::collections::VecDeque;
use std::fmt::{self, Display};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_net::TcpStream;
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt};
use memchr::memchr;
use rustix::net::sockopt;

use super::tls::{self, Secured};
use super::{Address, Error};
use crate::protocol::line::{LINE_BYTES_MAX, LINE_OUT_BYTES_MAX};
use crate::protocol::{Event, ServerLine};

/// How long one address may take to answer: a host that is switched off says nothing at all, and the
/// system alone would try for two minutes.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// A dead server is found within 90 s, as the server finds a dead client: two questions of 10 s after a
/// silence of 70 s.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(70);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 2;

/// What is read at once: a few hundred replies, or a piece of a file worth a system call.
const BUFFER_BYTES: usize = 64 * 1024;

/// The most bytes of events that are kept for later while a reply is waited for: some ten thousand lines.
/// What comes beyond is left out, with a `GAP` where it was.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// Opens a connection: every address that the host's name has is tried in turn.
pub(super) async fn open(address: &Address) -> Result<(Sender, Receiver), Error> {
    let failed = |source| Error::Connect {
        address: address.clone(),
        source,
    };
    let found = async_net::resolve((address.host(), address.port())).await;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for found in found.map_err(failed)? {
        let whom = match tls::is_tried(address, found.ip()) {
            true => Some(tls::known(address).await?),
            false => None,
        };
        let late = async {
            async_io::Timer::after(CONNECT_WITHIN).await;
            Err(io::Error::new(io::ErrorKind::TimedOut, "no answer"))
        };
        match TcpStream::connect(found).or(late).await {
            Ok(stream) => {
                prepare(&stream).map_err(failed)?;
                let Some(whom) = whom else {
                    return Ok((Sender::new(stream.clone()), Receiver::new(stream)));
                };
                match secure(stream, address, whom).await? {
                    Secured::Done(sender, receiver) => return Ok((sender, receiver)),
                    Secured::NotSpoken => {
                        let stream = TcpStream::connect(found).await.map_err(failed)?;
                        prepare(&stream).map_err(failed)?;
                        return Ok((Sender::new(stream.clone()), Receiver::new(stream)));
                    }
                }
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

async fn secure(stream: TcpStream, address: &Address, whom: tls::Known) -> Result<Secured, Error> {
    let late = async {
        async_io::Timer::after(CONNECT_WITHIN).await;
        let source = io::Error::new(io::ErrorKind::TimedOut, "no answer to TLS");
        let address = address.clone();
        Err(Error::Connect { address, source })
    };
    tls::secure(stream, address, whom).or(late).await
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    // Lines are written whole, so there is nothing to gain from holding back the last of them.
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_COUNT)?;
    Ok(())
}

/// A line that the server sent, without its end.
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
    /// The line as it came. The server keeps control characters out, but a client that shows it on a
    /// terminal does well to rely on [`clean`](crate::protocol::text::clean) instead.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the line says.
    pub fn read(&self) -> ServerLine<'_> {
        ServerLine::parse(&self.0)
    }

    /// The live event that the line tells; `None` when it is another line, such as a `GAP`.
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

/// The half of a connection that lines go out through.
///
/// A client that sends without waiting must read at the same time: the server reads no further while its
/// replies are not taken, and then [`Sender::write`] waits for ever.
pub struct Sender {
    stream: Box<dyn AsyncWrite + Send + Unpin>,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl Sender {
    /// The half that writes to `stream`, whose closing must end this side alone.
    pub fn new(stream: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        let stream = Box::new(stream);
        Self { stream }
    }

    /// Writes some of `bytes`, without waiting, and tells how many.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    /// Sees to it that what was written is on its way; TLS holds it back else.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Sends one command: a [`Request`](crate::protocol::Request), or its line without the end.
    ///
    /// # Errors
    /// [`Error::Line`] when it is empty, holds a line end or is longer than 4095 bytes; [`Error::Lost`].
    pub async fn send(&mut self, request: impl Display) -> Result<(), Error> {
        self.write(one_line(request.to_string())?.as_bytes()).await
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// [`Error::Lost`]. The other half may still hold the reason, as the last line that the server sent.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.write_all(bytes).await.map_err(Error::Lost)?;
        self.stream.flush().await.map_err(Error::Lost)
    }

    /// Says that no more will come. The server answers what it was asked, and closes.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub async fn end(&mut self) -> Result<(), Error> {
        self.stream.close().await.map_err(Error::Lost)
    }
}

/// The line of a command, with its end; what the server would answer nothing to is refused here, since
/// whoever waits for that answer would wait for ever.
pub(super) fn one_line(mut line: String) -> Result<String, Error> {
    if line.contains('\n') {
        return Err(Error::Line(
            "a line end cannot be sent: send a line for each",
        ));
    }
    if line.trim_matches([' ', '\r', '\0', '\u{feff}']).is_empty() {
        return Err(Error::Line("an empty line has no answer"));
    }
    if line.len() >= LINE_BYTES_MAX {
        return Err(Error::Line("a line has at most 4095 bytes"));
    }
    line.push('\n');
    Ok(line)
}

/// The half of a connection that lines come in through.
///
/// No method loses anything when its future is dropped before it is done.
pub struct Receiver {
    stream: Box<dyn AsyncRead + Send + Unpin>,
    buffer: Box<[u8]>,
    /// What is there and not taken yet: `buffer[start..end]`.
    start: usize,
    end: usize,
    /// Events that came while a reply was waited for, oldest first.
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
    /// The half that reads from `stream`.
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

    /// The next line, `None` when the server has ended the connection. Bytes that are not UTF-8, which
    /// the protocol does not allow, come as U+FFFD.
    ///
    /// # Errors
    /// [`Error::Lost`]; [`Error::Protocol`] for a line of more than 5000 bytes.
    pub async fn line(&mut self) -> Result<Option<Line>, Error> {
        match self.kept.pop_front() {
            Some(line) => {
                self.kept_bytes -= line.0.len();
                Ok(Some(line))
            }
            None => self.fresh_line().await,
        }
    }

    /// Whether [`Receiver::line`] has a line without waiting: time to flush what was made of the ones before.
    pub fn has_line(&self) -> bool {
        !self.kept.is_empty() || memchr(b'\n', self.waiting()).is_some()
    }

    /// Takes some of the raw bytes that follow a `DATA` line, at most as many as `buffer` holds; 0 at the
    /// end of the connection.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub async fn bytes(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if self.start == self.end {
            // Past the own buffer: a file is not copied twice.
            return self.stream.read(buffer).await.map_err(Error::Lost);
        }
        let length = buffer.len().min(self.end - self.start);
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), self.waiting().get(..length)) {
            to.copy_from_slice(from);
        }
        self.start += length;
        Ok(length)
    }

    /// The next line from the connection, past the kept ones.
    pub(super) async fn fresh_line(&mut self) -> Result<Option<Line>, Error> {
        poll_fn(|cx| self.poll_line(cx)).await
    }

    /// The same, without waiting.
    pub(super) fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Line>, Error>> {
        loop {
            let waiting = self.waiting();
            if let Some(length) = memchr(b'\n', waiting) {
                let line = String::from_utf8_lossy(waiting.get(..length).unwrap_or_default());
                let line = Line(line.into_owned());
                self.start += length + 1;
                if length >= LINE_OUT_BYTES_MAX {
                    return Poll::Ready(Err(Error::Protocol("a line has more than 5000 bytes")));
                }
                return Poll::Ready(Ok(Some(line)));
            }
            if waiting.len() >= LINE_OUT_BYTES_MAX {
                return Poll::Ready(Err(Error::Protocol("a line has more than 5000 bytes")));
            }
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(match self.start == self.end {
                    true => Ok(None),
                    false => Err(Error::cut("it ended in the middle of a line")),
                });
            }
        }
    }

    /// Drops the kept events of a place.
    pub(super) fn forget(&mut self, place: &str) {
        let is_elsewhere = |line: &Line| match line.read() {
            ServerLine::Live { event, .. } => event.place() != place,
            ServerLine::Gap { place: gap } => gap != place,
            _ => true,
        };
        self.kept.retain(is_elsewhere);
        self.kept_bytes = self.kept.iter().map(|line| line.0.len()).sum();
    }

    /// Puts an event aside for [`Receiver::line`].
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
        // The gaps stand together at the end, one for each place.
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

    /// Reads once; 0 at the end.
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
    fn what_is_no_single_line_is_not_sent() {
        for bad in ["", "  ", "\r", "\u{feff}", "MSG a\nBYE", &"x".repeat(4096)] {
            assert!(
                matches!(one_line(bad.to_owned()), Err(Error::Line(_))),
                "{bad:?}"
            );
        }
        assert_eq!(one_line("x".repeat(4095)).unwrap().len(), 4096);
    }

    #[test]
    fn events_beyond_the_bound_leave_one_gap_a_room() {
        smol::block_on(async {
            let listener = async_net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
            let mut receiver = Receiver::new(stream.unwrap());
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
