//! A byte stream to a client: a socket, with or without TLS.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};

use super::{Socket, Tls, retry};

/// A stream of bytes in both directions. As in [`super::Carrier`], only the functions named `poll_…` wait.
#[derive(Debug)]
pub enum Stream {
    /// A plain socket.
    Tcp(Socket),
    /// A socket with TLS.
    Tls(Box<Tls>),
}

impl Stream {
    /// Returns the address at which the server has accepted the connection.
    ///
    /// # Errors
    /// Any error of the system, when the client is already gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().get_ref().local_addr()
    }

    /// Returns whether the stream is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Returns whether the TLS handshake is still going on.
    pub fn is_handshaking(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Tls(tls) => tls.is_handshaking(),
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => retry(|| socket.get_ref().read(buffer)),
            Self::Tls(tls) => tls.read(buffer),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => retry(|| socket.get_ref().write(bytes)),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    /// Writes several slices, in one call if possible. Returns the number of bytes that were accepted.
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => retry(|| socket.get_ref().write_vectored(pieces)),
            Self::Tls(tls) => {
                let first = pieces.iter().find(|piece| !piece.is_empty());
                first.map_or(Ok(0), |piece| tls.write(piece))
            }
        }
    }

    /// Writes `bytes`, and leaves in the vector what was not accepted.
    pub(super) fn send_all(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let mut sent = 0;
        let result = loop {
            match bytes.get(sent..) {
                None | Some([]) => break Ok(()),
                Some(rest) => match self.write(rest) {
                    Ok(count) => sent += count,
                    Err(e) => break Err(e),
                },
            }
        };
        if sent == bytes.len() {
            *bytes = Vec::new()
        } else {
            drop(bytes.drain(..sent))
        }
        result
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }

    pub(super) fn end_output(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.get_ref().shutdown(Shutdown::Write),
            Self::Tls(tls) => tls.end_output(),
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        matches!(self.socket().get_ref().take_error(), Ok(Some(_)) | Err(_))
    }

    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_readable(cx)
    }

    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_writable(cx)
    }

    /// Returns the underlying socket.
    pub fn socket(&self) -> &Socket {
        match self {
            Self::Tcp(socket) => socket,
            Self::Tls(tls) => tls.socket(),
        }
    }
}

/// A reader that returns bytes that were read before, and then what it reads from their source.
pub(super) struct Chained<'a, R> {
    pub first: &'a mut Vec<u8>,
    pub then: R,
}

impl<R: Read> Read for Chained<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.first.is_empty() {
            return self.then.read(buffer);
        }
        Ok(take_first(self.first, buffer))
    }
}

fn take_first(first: &mut Vec<u8>, buffer: &mut [u8]) -> usize {
    let count = first.len().min(buffer.len());
    for (to, from) in buffer.iter_mut().zip(first.drain(..count)) {
        *to = from;
    }
    if first.is_empty() {
        *first = Vec::new();
    }
    count
}

/// An asynchronous reader and writer for a stream whose first bytes have been read already.
#[derive(Debug)]
pub struct Replayed {
    /// The bytes that have been read already. They are returned first.
    pub first: Vec<u8>,
    /// The stream from which they came.
    pub stream: Stream,
}

impl AsyncRead for Replayed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if !self.first.is_empty() {
            return Poll::Ready(Ok(take_first(&mut self.first, buffer)));
        }
        loop {
            match self.stream.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_readable(cx))?;
                }
                done => return Poll::Ready(done),
            }
        }
    }
}

impl AsyncWrite for Replayed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.stream.write(bytes) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_writable(cx))?;
                }
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.stream.write_vectored(pieces) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_writable(cx))?;
                }
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.stream.flush() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_writable(cx))?;
                }
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.stream.end_output() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_writable(cx))?;
                }
                done => return Poll::Ready(done),
            }
        }
    }
}
