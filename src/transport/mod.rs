//! Carries the bytes of a connection, over a plain socket or a layer around one. Inside the process, it carries
//! values.
//!
//! Callers first try an operation and wait only if necessary. [`Carrier::read`] and [`Carrier::write`] never block;
//! if they return `WouldBlock`, the caller waits with [`Carrier::poll_readable`] or [`Carrier::poll_writable`]. A
//! plain socket is stored in the connection itself and takes no further memory; the less frequent kinds are boxed. A
//! carrier separates lines from the bytes of files where its framing requires that, but knows nothing of what the
//! lines mean.

pub mod frame;
pub mod local;
pub mod pipe;
pub mod proxied;
pub mod sniff;
mod socket;
pub mod stream;
mod tls;
mod websocket;

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::protocol::Code;
use local::ServerEnd;
use pipe::Pipe;
pub use socket::{Gone, Listener, Socket, Sockets};
pub use stream::Stream;
pub use tls::{Tls, client_config};
pub use websocket::WebSocket;

/// The transport of a connection.
#[derive(Debug)]
pub enum Carrier {
    /// Raw bytes.
    Stream(Stream),
    /// Lines and file bytes in WebSocket messages.
    WebSocket(Box<WebSocket>),
    /// Values inside this process. The HTTP code makes requests on behalf of its client in this way.
    Local(Box<ServerEnd>),
    /// Raw bytes in memory, for tests.
    Pipe(Box<Pipe>),
    /// No carrier, because other code has taken it for a while.
    Away,
}

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// At least one byte.
    Bytes {
        /// The number of bytes.
        count: usize,
        /// Whether more bytes may be available now. If not, the caller must wait with [`Carrier::poll_readable`].
        may_have_more: bool,
    },
    /// The end of a file whose length was not known. Lines follow.
    BytesEnd,
    /// Input that is not a line. It has been skipped.
    Refused(Wrong),
    /// The client has ended its input.
    End,
    /// The client seems to have aborted.
    Cut {
        /// Whether the client may still read what is sent.
        reads_on: bool,
    },
}

/// An error in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The error code.
    pub code: Code,
    /// The error in words for people.
    pub text: &'static str,
    /// Whether the connection must be closed, because the decoder cannot find the beginning of the next line.
    pub closes: bool,
}

impl Carrier {
    /// Returns the socket, if bytes go through it unchanged. Then the operating system can send a file by itself.
    pub fn plain_socket(&self) -> Option<&Socket> {
        match self {
            Self::Stream(Stream::Tcp(socket)) => Some(socket),
            _ => None,
        }
    }

    /// Returns whether the client's bytes arrive as they are, so that they may contain telnet commands.
    pub fn is_raw(&self) -> bool {
        matches!(self, Self::Stream(Stream::Tcp(_)) | Self::Pipe(_))
    }

    /// Takes the carrier and leaves [`Self::Away`] in its place.
    pub fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Away)
    }

    /// Reads what is available.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is available. Any other error means that the client has aborted and does not read
    /// either.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Input> {
        match self {
            Self::Stream(stream) => match stream.read(buffer) {
                Ok(0) => Ok(Input::End),
                Ok(count) => Ok(Input::Bytes {
                    count,
                    // A short read has emptied the socket, so the next read would only return `WouldBlock`.
                    may_have_more: count == buffer.len() || !matches!(stream, Stream::Tcp(_)),
                }),
                // TLS ended without its close alert. The client may have sent everything, but nobody can know that.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    Ok(Input::Cut { reads_on: true })
                }
                Err(e) => Err(e),
            },
            Self::WebSocket(socket) => socket.read(buffer),
            Self::Local(local) => local.read(buffer),
            Self::Pipe(pipe) => pipe.read(buffer),
            Self::Away => Ok(Input::End),
        }
    }

    /// Reads and discards what is available. Returns 0 at the end of the input.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn drain(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => stream.read(buffer),
            Self::WebSocket(socket) => socket.drain(buffer),
            Self::Pipe(pipe) => pipe.read_bytes(buffer),
            Self::Local(_) | Self::Away => Ok(0),
        }
    }

    /// Writes as much of `bytes` as the carrier accepts, and returns how many bytes that were. `bytes` must be whole
    /// lines, or the bytes announced with [`Self::bytes_follow`]. The carrier may buffer a few bytes, which
    /// [`Self::flush`] sends.
    ///
    /// # Errors
    /// `WouldBlock` if the carrier accepts nothing. Any other error means that the client no longer reads.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => stream.write(bytes),
            Self::WebSocket(socket) => socket.write(bytes),
            Self::Local(local) => local.write(bytes),
            Self::Pipe(pipe) => pipe.write(bytes),
            Self::Away => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Writes the bytes of several slices, as many as the carrier accepts at once.
    ///
    /// # Errors
    /// See [`Self::write`].
    pub fn write_some<'a>(
        &mut self,
        mut stretches: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<usize> {
        match self {
            Self::Stream(Stream::Tcp(socket)) => socket.write_some(stretches),
            _ => self.write(stretches.next().unwrap_or_default()),
        }
    }

    /// Returns whether the client is inside this process, so that it receives values and not lines.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Announces that the `length` bytes after the next written line belong to a file.
    pub fn bytes_follow(&mut self, length: u64) {
        if let Self::WebSocket(socket) = self {
            socket.bytes_follow(length);
        }
    }

    /// Announces that the next `length` bytes to be read belong to a file. With `None`, all bytes up to the end do.
    pub fn expect_bytes(&mut self, length: Option<u64>) {
        if let Self::WebSocket(socket) = self {
            socket.expect_bytes(length);
        }
    }

    /// Sends the buffered bytes.
    ///
    /// # Errors
    /// See [`Self::write`].
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.flush(),
            Self::WebSocket(socket) => socket.flush(),
            Self::Local(_) | Self::Pipe(_) | Self::Away => Ok(()),
        }
    }

    /// Ends the server's output. The caller must call this again as long as it returns `WouldBlock`.
    ///
    /// # Errors
    /// See [`Self::write`].
    pub fn end_output(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.end_output(),
            Self::WebSocket(socket) => socket.end_output(),
            Self::Local(local) => {
                local.end_output();
                Ok(())
            }
            Self::Pipe(pipe) => {
                pipe.end_output();
                Ok(())
            }
            Self::Away => Ok(()),
        }
    }

    /// Returns whether the operating system has detected that the client is gone.
    pub fn is_broken(&self) -> bool {
        match self {
            Self::Local(local) => local.is_broken(),
            Self::Pipe(pipe) => pipe.is_broken(),
            _ => self.stream().is_none_or(Stream::is_broken),
        }
    }

    /// Returns the time at which [`Self::is_alive`] must be called next; `None` for most carriers.
    pub fn due(&self) -> Option<Duration> {
        match self {
            Self::WebSocket(socket) => Some(socket.due()),
            _ => None,
        }
    }

    /// Checks whether the client is still there, and pings it if that is due at `now` (the server's clock). Returns
    /// false if the client is gone.
    pub fn is_alive(&mut self, now: Duration) -> bool {
        match self {
            Self::WebSocket(socket) => socket.is_alive(now),
            _ => true,
        }
    }

    /// Becomes ready when a read may succeed.
    ///
    /// # Errors
    /// Any error of the system.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Local(local) => local.poll_readable(cx),
            Self::Pipe(pipe) => pipe.poll_readable(cx).map(Ok),
            _ => match self.stream() {
                Some(stream) => stream.poll_readable(cx),
                None => Poll::Ready(Ok(())),
            },
        }
    }

    /// Becomes ready when a write may succeed.
    ///
    /// # Errors
    /// Any error of the system.
    pub fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Local(local) => local.poll_writable(cx),
            Self::Pipe(pipe) => pipe.poll_writable(cx).map(Ok),
            _ => match self.stream() {
                Some(stream) => stream.poll_writable(cx),
                None => Poll::Ready(Ok(())),
            },
        }
    }

    /// Becomes ready when the client is known to be gone.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Local(local) => local.poll_gone(cx),
            Self::Pipe(pipe) => pipe.poll_gone(cx),
            _ => match self.stream() {
                Some(stream) => stream.socket().poll_gone(cx),
                None => Poll::Pending,
            },
        }
    }

    /// Makes the operating system detect soon that the client is gone, even if nothing is read from it or written to
    /// it.
    pub fn watch_closely(&self) {
        if let Some(stream) = self.stream() {
            stream.socket().watch_closely();
        }
    }

    /// Writes all of `bytes`, waiting as needed.
    ///
    /// # Errors
    /// When the client no longer reads.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        poll_fn(|cx| {
            while !bytes.is_empty() {
                match self.write(bytes) {
                    Ok(taken) => bytes = bytes.get(taken..).unwrap_or_default(),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        ready!(self.poll_writable(cx))?;
                    }
                    Err(e) => return Poll::Ready(Err(e)),
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Sends the buffered bytes, ends the server's output and reads to the end of the client's input. If the input
    /// `has_ended` already, does not read.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn close(&mut self, has_ended: bool) -> io::Result<()> {
        if has_ended && matches!(self, Self::Stream(Stream::Tcp(_))) {
            return Ok(()); // dropping the socket ends the output, with one system call less
        }
        poll_fn(|cx| {
            loop {
                match self.end_output() {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        ready!(self.poll_writable(cx))?;
                    }
                    done => return Poll::Ready(done),
                }
            }
        })
        .await?;
        if has_ended {
            return Ok(());
        }
        let mut buffer = [0; 512];
        poll_fn(|cx| {
            loop {
                match self.drain(&mut buffer) {
                    Ok(0) => return Poll::Ready(Ok(())),
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        ready!(self.poll_readable(cx))?;
                    }
                    Err(e) => return Poll::Ready(Err(e)),
                }
            }
        })
        .await
    }

    fn stream(&self) -> Option<&Stream> {
        match self {
            Self::Stream(stream) => Some(stream),
            Self::WebSocket(socket) => Some(socket.stream()),
            Self::Local(_) | Self::Pipe(_) | Self::Away => None,
        }
    }
}

/// Repeats `attempt` while a signal interrupts it.
fn retry<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
