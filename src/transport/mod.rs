//! What carries a connection's bytes: a plain socket, or one that is wrapped.
//!
//! A carrier is tried first and waited for second: [`Carrier::read`] and [`Carrier::write`] never wait, and
//! say `WouldBlock` when [`Carrier::poll_readable`] and [`Carrier::poll_writable`] are to be asked. The
//! plain socket stands in the connection itself and costs nothing more; what is rare is boxed. A carrier
//! knows lines from a file's bytes where its framing needs that, and nothing of what they say.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::task::{Context, Poll, ready};

use async_io::Async;

/// A connection's way to its client.
#[derive(Debug)]
pub enum Carrier {
    /// A plain socket.
    Tcp(Async<TcpStream>),
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
    /// The client has nothing more to say.
    End,
}

impl Carrier {
    /// The server's end of the connection.
    ///
    /// # Errors
    /// The system's, when the client has gone already.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().get_ref().local_addr()
    }

    /// The socket, if bytes go through it as they are: so that the system can send a file by itself.
    pub fn plain_socket(&self) -> Option<&Async<TcpStream>> {
        match self {
            Self::Tcp(socket) => Some(socket),
        }
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is; any other means that the client broke off.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Input> {
        match self {
            Self::Tcp(socket) => match retry(|| socket.get_ref().read(buffer))? {
                0 => Ok(Input::End),
                count => Ok(Input::Bytes {
                    count,
                    // A short read has emptied the socket: the next one would only say so.
                    may_have_more: count == buffer.len(),
                }),
            },
        }
    }

    /// Writes what it takes of `bytes`: whole lines, or what was announced by [`Self::bytes_follow`].
    /// Returns how many it took; it may hold a little that [`Self::flush`] sends.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing; any other means that nobody reads any more.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => retry(|| socket.get_ref().write(bytes)),
        }
    }

    /// After the next line that is written, `length` bytes are a file's, not lines.
    pub fn bytes_follow(&mut self, _length: u64) {
        match self {
            Self::Tcp(_) => {}
        }
    }

    /// The next `length` bytes that are read are a file's, not lines; all to the end for `None`.
    pub fn expect_bytes(&mut self, _length: Option<u64>) {
        match self {
            Self::Tcp(_) => {}
        }
    }

    /// Sends what it holds.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(_) => Ok(()),
        }
    }

    /// Ends the server's side; may be called until it no longer says `WouldBlock`.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn end_output(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.get_ref().shutdown(Shutdown::Write),
        }
    }

    /// Whether the system has found that the client is gone.
    pub fn is_broken(&self) -> bool {
        matches!(self.socket().get_ref().take_error(), Ok(Some(_)) | Err(_))
    }

    /// Ready when a read may give something.
    ///
    /// # Errors
    /// The system's.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_readable(cx)
    }

    /// Ready when a write may take something.
    ///
    /// # Errors
    /// The system's.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_writable(cx)
    }

    /// Reads once there is something.
    ///
    /// # Errors
    /// When the client broke off.
    pub async fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<Input> {
        poll_fn(|cx| {
            loop {
                match self.read(buffer) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        ready!(self.poll_readable(cx))?;
                    }
                    done => return Poll::Ready(done),
                }
            }
        })
        .await
    }

    /// Ends the server's side, with all that was written.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub async fn close_output(&mut self) -> io::Result<()> {
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
        .await
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

    fn socket(&self) -> &Async<TcpStream> {
        match self {
            Self::Tcp(socket) => socket,
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
