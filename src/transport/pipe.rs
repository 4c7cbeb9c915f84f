//! A connection inside this process: the code that makes requests for a client holds one end, and an ordinary
//! connection task the other.
//!
//! Bounded like a socket: a writer waits until the reader has read.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};

use super::Input;

/// Most bytes that are buffered in each direction.
const PIPE_BYTES_MAX: usize = 64 << 10;

/// One end of a pipe.
#[derive(Debug)]
pub struct PipeEnd {
    shared: Arc<Mutex<[Direction; 2]>>,
    /// Index of the direction that this end writes to; it reads from the other.
    side: usize,
}

#[derive(Debug, Default)]
struct Direction {
    bytes: Vec<u8>,
    end: Option<End>,
    /// Whether the reader has gone.
    is_dropped: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// How a direction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    Cut,
}

/// Creates a pipe and returns its two ends.
pub fn pipe() -> (PipeEnd, PipeEnd) {
    let shared = Arc::new(Mutex::default());
    let end = |side| PipeEnd {
        shared: Arc::clone(&shared),
        side,
    };
    (end(0), end(1))
}

impl PipeEnd {
    fn lock(&self) -> MutexGuard<'_, [Direction; 2]> {
        self.shared
            .lock()
            .expect("no thread panics while it holds this")
    }

    fn with_in<T>(&self, act: impl FnOnce(&mut Direction) -> T) -> T {
        let [zero, one] = &mut *self.lock();
        act(if self.side == 0 { one } else { zero })
    }

    fn with_out<T>(&self, act: impl FnOnce(&mut Direction) -> T) -> T {
        let [zero, one] = &mut *self.lock();
        act(if self.side == 0 { zero } else { one })
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<Input> {
        self.with_in(|direction| {
            let count = direction.bytes.len().min(buffer.len());
            if count == 0 {
                return match direction.end {
                    Some(End::Whole) => Ok(Input::End),
                    Some(End::Cut) => Ok(Input::Cut { reads_on: false }),
                    None => Err(io::ErrorKind::WouldBlock.into()),
                };
            }
            for (to, from) in buffer.iter_mut().zip(direction.bytes.drain(..count)) {
                *to = from;
            }
            if direction.bytes.is_empty() {
                direction.bytes = Vec::new();
            }
            wake(&mut direction.writer);
            Ok(Input::Bytes {
                count,
                may_have_more: true,
            })
        })
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.with_out(|direction| {
            if direction.is_dropped || direction.end.is_some() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let space = PIPE_BYTES_MAX.saturating_sub(direction.bytes.len());
            let taken = bytes.get(..space).unwrap_or(bytes);
            if taken.is_empty() && !bytes.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            direction.bytes.extend_from_slice(taken);
            wake(&mut direction.reader);
            Ok(taken.len())
        })
    }

    pub(super) fn end_output(&self) {
        self.end(End::Whole);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.with_out(|direction| direction.is_dropped)
    }

    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with_in(|direction| {
            if !direction.bytes.is_empty() || direction.end.is_some() {
                return Poll::Ready(Ok(()));
            }
            direction.reader = Some(cx.waker().clone());
            Poll::Pending
        })
    }

    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with_out(|direction| {
            if direction.bytes.len() < PIPE_BYTES_MAX || direction.is_dropped {
                return Poll::Ready(Ok(()));
            }
            direction.writer = Some(cx.waker().clone());
            Poll::Pending
        })
    }

    /// Becomes ready once the reader of what is written here has gone.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.with_out(|direction| {
            if direction.is_dropped {
                return Poll::Ready(());
            }
            direction.writer = Some(cx.waker().clone());
            Poll::Pending
        })
    }

    /// Writes all of `bytes`, waiting for space.
    ///
    /// # Errors
    /// When the other end has gone.
    pub async fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
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

    /// Waits for bytes and returns all that are available; none at the end.
    pub async fn receive(&self) -> Vec<u8> {
        poll_fn(|cx| {
            let _ = ready!(self.poll_readable(cx));
            Poll::Ready(self.with_in(|direction| {
                wake(&mut direction.writer);
                std::mem::take(&mut direction.bytes)
            }))
        })
        .await
    }

    /// Ends the output: everything has been sent.
    pub fn finish(&self) {
        self.end(End::Whole);
    }

    /// Aborts the output: more was to follow and will not be sent.
    pub fn cut(&self) {
        self.end(End::Cut);
    }

    fn end(&self, end: End) {
        self.with_out(|direction| {
            direction.end.get_or_insert(end);
            wake(&mut direction.reader);
        });
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        self.end(End::Cut);
        self.with_in(|direction| {
            direction.is_dropped = true;
            direction.bytes = Vec::new();
            wake(&mut direction.writer);
        });
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
