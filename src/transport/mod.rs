//! What carries a connection's bytes: a plain socket, or what wraps one.
//!
//! A carrier is tried first and waited for second: [`Carrier::read`] and [`Carrier::write`] never wait, and
//! say `WouldBlock` when [`Carrier::poll_readable`] and [`Carrier::poll_writable`] are to be asked. The
//! plain socket stands in the connection itself and costs nothing more; what is rare is boxed. A carrier
//! knows lines from a file's bytes where its framing needs that, and nothing of what they say.

pub mod frame;
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
use pipe::PipeEnd;
pub use socket::{Gone, Socket, Sockets};
pub use stream::Stream;
pub use tls::Tls;
pub use websocket::WebSocket;

/// A connection's way to its client.
#[derive(Debug)]
pub enum Carrier {
    /// Bytes as they are.
    Stream(Stream),
    /// Lines and bytes in messages.
    WebSocket(Box<WebSocket>),
    /// The inside of this process: somebody asks on behalf of a client.
    Pipe(Box<PipeEnd>),
    /// Somebody else has it for now.
    Away,
}

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// So many bytes, at least one.
    Bytes {
        /// How many.
        count: usize,
        /// There may be more at once. If not, only [`Carrier::poll_readable`] tells when there is.
        may_have_more: bool,
    },
    /// The bytes of a file whose length was not known end here; lines follow.
    BytesEnd,
    /// Something that is no line, which has been skipped.
    Refused(Wrong),
    /// The client has nothing more to say.
    End,
    /// The client has broken off, as far as is known.
    Cut {
        /// It may read what comes after this.
        reads_on: bool,
    },
}

/// What is wrong with the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The error's word.
    pub code: Code,
    /// The same for people.
    pub text: &'static str,
    /// Nobody knows how to go on.
    pub closes: bool,
}

impl Carrier {
    /// The socket, if bytes go through it as they are: so that the system can send a file by itself.
    pub fn plain_socket(&self) -> Option<&Socket> {
        match self {
            Self::Stream(Stream::Tcp(socket)) => Some(socket),
            _ => None,
        }
    }

    /// Gives the carrier away.
    pub fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Away)
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is; any other means that the client broke off and does not read either.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Input> {
        match self {
            Self::Stream(stream) => match stream.read(buffer) {
                Ok(0) => Ok(Input::End),
                Ok(count) => Ok(Input::Bytes {
                    count,
                    // A short read has emptied a socket: the next one would only say so.
                    may_have_more: count == buffer.len() || !matches!(stream, Stream::Tcp(_)),
                }),
                // TLS without its end: the client may have said all, but nobody knows.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    Ok(Input::Cut { reads_on: true })
                }
                Err(e) => Err(e),
            },
            Self::WebSocket(socket) => socket.read(buffer),
            Self::Pipe(pipe) => pipe.read(buffer),
            Self::Away => Ok(Input::End),
        }
    }

    /// Reads and forgets what is there; 0 at the end.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn drain(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => stream.read(buffer),
            Self::WebSocket(socket) => socket.drain(buffer),
            Self::Pipe(_) | Self::Away => Ok(0),
        }
    }

    /// Writes what it takes of `bytes`: whole lines, or what was announced by [`Self::bytes_follow`].
    /// Returns how many it took; it may hold a little that [`Self::flush`] sends.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing; any other means that nobody reads any more.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => stream.write(bytes),
            Self::WebSocket(socket) => socket.write(bytes),
            Self::Pipe(pipe) => pipe.write(bytes),
            Self::Away => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// The same for bytes in several stretches, of which it takes as many at once as it can.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_some<'a>(
        &mut self,
        mut stretches: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<usize> {
        match self {
            Self::Stream(Stream::Tcp(socket)) => socket.write_some(stretches),
            _ => self.write(stretches.next().unwrap_or_default()),
        }
    }

    /// After the next line that is written, `length` bytes are a file's, not lines.
    pub fn bytes_follow(&mut self, length: u64) {
        if let Self::WebSocket(socket) = self {
            socket.bytes_follow(length);
        }
    }

    /// The next `length` bytes that are read are a file's, not lines; all to the end for `None`.
    pub fn expect_bytes(&mut self, length: Option<u64>) {
        if let Self::WebSocket(socket) = self {
            socket.expect_bytes(length);
        }
    }

    /// Sends what it holds.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.flush(),
            Self::WebSocket(socket) => socket.flush(),
            Self::Pipe(_) | Self::Away => Ok(()),
        }
    }

    /// Ends the server's side; may be called until it no longer says `WouldBlock`.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn end_output(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.end_output(),
            Self::WebSocket(socket) => socket.end_output(),
            Self::Pipe(pipe) => {
                pipe.end_output();
                Ok(())
            }
            Self::Away => Ok(()),
        }
    }

    /// Whether the system has found that the client is gone.
    pub fn is_broken(&self) -> bool {
        match self {
            Self::Pipe(pipe) => pipe.is_broken(),
            _ => self.stream().is_none_or(Stream::is_broken),
        }
    }

    /// When it wants [`Self::is_alive`] to be asked; never, as a rule.
    pub fn due(&self) -> Option<Duration> {
        match self {
            Self::WebSocket(socket) => Some(socket.due()),
            _ => None,
        }
    }

    /// Does what is due at `now`, by the server's clock; false if the client is gone.
    pub fn is_alive(&mut self, now: Duration) -> bool {
        match self {
            Self::WebSocket(socket) => socket.is_alive(now),
            _ => true,
        }
    }

    /// Ready when a read may give something.
    ///
    /// # Errors
    /// The system's.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Pipe(pipe) => pipe.poll_readable(cx),
            _ => match self.stream() {
                Some(stream) => stream.poll_readable(cx),
                None => Poll::Ready(Ok(())),
            },
        }
    }

    /// Ready when a write may take something.
    ///
    /// # Errors
    /// The system's.
    pub fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Pipe(pipe) => pipe.poll_writable(cx),
            _ => match self.stream() {
                Some(stream) => stream.poll_writable(cx),
                None => Poll::Ready(Ok(())),
            },
        }
    }

    /// Ready once the client is known to have gone.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Pipe(pipe) => pipe.poll_gone(cx),
            _ => match self.stream() {
                Some(stream) => stream.socket().poll_gone(cx),
                None => Poll::Pending,
            },
        }
    }

    /// Has a client that goes found soon, though nothing is read from it or written to it.
    pub fn watch_closely(&self) {
        if let Some(stream) = self.stream() {
            stream.socket().watch_closely();
        }
    }

    /// Writes all of `bytes`, waiting as needed.
    ///
    /// # Errors
    /// When nobody reads any more.
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

    /// Ends the server's side, with all that was written, then reads to the client's end, unless it
    /// `has_ended`.
    ///
    /// # Errors
    /// When nobody is there any more.
    pub async fn close(&mut self, has_ended: bool) -> io::Result<()> {
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
            Self::Pipe(_) | Self::Away => None,
        }
    }
}

/// Does `attempt` until no signal interrupts it.
fn retry<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
