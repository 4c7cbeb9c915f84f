//! The output of a connection under hyper. The operating system itself sends the bytes of files on it
//! (`sendfile`).
//!
//! hyper writes what a body yields. For the bytes of a file, a body yields a slice of [`FILE_SENTINEL`], which is a
//! placeholder. The file and the range that it stands for wait in [`PendingParts`], in the same order. Where hyper
//! writes such a slice, the file is sent instead. So hyper counts the bytes as usual, and the bytes never pass
//! through this process: 2 GiB took 0.7 s of processor time, and 1.5 s as pieces of 256 KiB.
//!
//! hyper must queue what it writes (`Builder::writev`). If it copied a placeholder, it would write the placeholder's
//! bytes. In that case, the connection ends before any of them is written.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncWrite, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use smol::{Task, unblock};
use tracing::{error, warn};

use super::reply::Body;
use crate::server::descriptors::OpenFile;
use crate::server::drop_on_pool::DropOnPool;
use crate::server::send::{self, Failed};
use crate::transport::Stream;
use crate::transport::stream::Replayed;

/// The maximum number of bytes that a thread sends at once. It stops earlier when its time is up (see `send`).
const PIECE_BYTES: usize = 16 << 20;

/// The placeholder for the bytes of a file. It is recognized by its address, and never read or written, so it takes
/// no memory.
static FILE_SENTINEL: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0; PIECE_BYTES]);

fn is_sentinel(bytes: &[u8]) -> bool {
    FILE_SENTINEL.as_ptr_range().contains(&bytes.as_ptr())
}

/// Returns whether a placeholder was copied, so that the bytes to be written are wrong. This is so if a part of a
/// file waits to be sent, but no piece is a placeholder.
fn is_copied(has_part: bool, pieces: &[IoSlice<'_>]) -> bool {
    has_part && !pieces.iter().any(|piece| is_sentinel(piece))
}

/// The parts of files to send, in the order of their placeholders.
#[derive(Clone, Default)]
pub struct PendingParts(Arc<Mutex<VecDeque<Part>>>);

struct Part {
    file: Arc<DropOnPool<OpenFile>>,
    offset: u64,
    left: u64,
}

impl PendingParts {
    /// Returns a body of `length` bytes of a file from `offset` on, for a reply on this connection.
    pub fn body(&self, file: DropOnPool<OpenFile>, offset: u64, length: u64) -> Body {
        let pending_parts = self.clone();
        let file = Arc::new(file);
        let pieces = stream::unfold((offset, length), move |(offset, length)| {
            let sentinel = FILE_SENTINEL.as_slice();
            let count = usize::try_from(length).unwrap_or(usize::MAX);
            let piece = sentinel.get(..count).unwrap_or(sentinel);
            let left = piece.len() as u64;
            let file = file.clone();
            if left > 0 {
                pending_parts.parts().push_back(Part { file, offset, left });
            }
            std::future::ready((left > 0).then(|| {
                let frame = Frame::data(Bytes::from_static(piece));
                (Ok(frame), (offset + left, length - left))
            }))
        });
        BodyExt::boxed_unsync(StreamBody::new(pieces))
    }

    fn parts(&self) -> MutexGuard<'_, VecDeque<Part>> {
        self.0.lock().expect("no thread panics while it holds this")
    }

    /// Returns the next part to send, at most `most` bytes of it.
    fn next(&self, most: usize) -> Option<(Arc<DropOnPool<OpenFile>>, u64, u64)> {
        let parts = self.parts();
        let Part { file, offset, left } = parts.front()?;
        let end = offset + (*left).min(most as u64);
        Some((file.clone(), *offset, end))
    }

    fn advance(&self, sent: u64) {
        let mut parts = self.parts();
        if let Some(part) = parts.front_mut() {
            part.offset += sent;
            part.left -= sent;
            if part.left == 0 {
                parts.pop_front();
            }
        }
    }
}

type Sent = Result<(u64, bool), Failed>;

/// A stream, with the parts of files that are sent on it.
pub struct SendfileIo {
    pub stream: Replayed,
    pub pending_parts: PendingParts,
    /// The part that a thread is sending: its offset, and the task that sends it. The task returns the offset that it
    /// has reached, or that the socket is full.
    sending: Option<(u64, Task<Sent>)>,
}

impl SendfileIo {
    pub fn new(stream: Replayed, pending_parts: PendingParts) -> Self {
        Self {
            stream,
            pending_parts,
            sending: None,
        }
    }

    /// Checks that no placeholder was copied. If one was, nothing is written, because the bytes would be wrong.
    fn check(&self, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        let has_part = !self.pending_parts.parts().is_empty();
        if is_copied(has_part, pieces) {
            error!("a file cannot be sent: the bytes that stand for it were copied");
            return Err(io::Error::other("a placeholder was copied"));
        }
        Ok(())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        let Stream::Tcp(socket) = &self.stream.stream else {
            return Poll::Ready(Err(io::Error::other(
                "sendfile cannot be used on an encrypted connection",
            )));
        };
        loop {
            let (from, task) = match &mut self.sending {
                Some(sending) => sending,
                None => {
                    let next = self.pending_parts.next(most);
                    let (file, from, end) = next.ok_or_else(|| io::Error::other("no file"))?;
                    let out = socket.get_ref().try_clone()?;
                    let task = unblock(move || send::send_some(&out, &file.file, from, end));
                    self.sending.insert((from, task))
                }
            };
            let done = ready!(Pin::new(task).poll(cx));
            let from = *from;
            self.sending = None;
            let (to, _) = done.map_err(|e| match e {
                Failed::Gone => io::ErrorKind::BrokenPipe.into(),
                Failed::File(e) => {
                    warn!("cannot read a file that is being sent: {e}");
                    e
                }
            })?;
            let sent = to - from;
            if sent > 0 {
                self.pending_parts.advance(sent);
                return Poll::Ready(Ok(usize::try_from(sent).unwrap_or(most)));
            }
            ready!(socket.poll_writable(cx))?;
        }
    }
}

impl AsyncRead for SendfileIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for SendfileIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(&[IoSlice::new(bytes)])?;
        if is_sentinel(bytes) {
            self.poll_send(cx, bytes.len())
        } else {
            Pin::new(&mut self.stream).poll_write(cx, bytes)
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(pieces)?;
        let is_file = |piece: &IoSlice<'_>| is_sentinel(piece);
        match pieces.iter().position(is_file) {
            Some(0) => {
                let most = pieces.first().map_or(0, |piece| piece.len());
                self.poll_send(cx, most)
            }
            at => {
                let before = at.and_then(|at| pieces.get(..at)).unwrap_or(pieces);
                Pin::new(&mut self.stream).poll_write_vectored(cx, before)
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_that_was_copied_is_never_written() {
        let head = b"HTTP/1.1 200 OK\r\n\r\n";
        let whole = FILE_SENTINEL.as_slice();
        for sentinel in [whole, &whole[..1], &whole[whole.len() - 1..]] {
            let copied = sentinel.get(..sentinel.len().min(100)).unwrap().to_vec();
            let flat = [&head[..], &copied].concat();
            for (has_part, pieces, expected) in [
                (true, vec![&head[..], sentinel], false),
                (true, vec![sentinel], false),
                (true, vec![&head[..]], true),
                (true, vec![&head[..], &copied], true),
                (true, vec![&flat[..]], true),
                (false, vec![&head[..], b"body"], false),
            ] {
                let pieces: Vec<_> = pieces.into_iter().map(IoSlice::new).collect();
                assert_eq!(is_copied(has_part, &pieces), expected);
            }
        }
    }
}
