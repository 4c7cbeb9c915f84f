//! A connection without a socket, in memory. Tests use it in place of a plain socket: bytes go through it unchanged,
//! and the test decides how many of them the network accepts.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use super::Input;

/// The server's end.
#[derive(Debug)]
pub struct Pipe(Arc<Mutex<Bytes>>);

/// The client's end.
#[derive(Debug)]
pub struct PipeClient(Arc<Mutex<Bytes>>);

/// The bytes on their way in both directions.
#[derive(Debug)]
struct Bytes {
    to_server: VecDeque<u8>,
    to_client: Vec<u8>,
    /// Whether the client sends nothing more.
    is_input_ended: bool,
    /// Whether the client neither sends nor reads any more.
    is_gone: bool,
    /// Whether the server sends nothing more.
    is_output_ended: bool,
    /// Whether the client does not read, so that the network accepts nothing for it.
    is_stalled: bool,
    /// The number of bytes that the network accepts at once. It grows slowly, so that a long output comes to an end.
    takes: usize,
    /// How often the network was full.
    fills: usize,
    /// The number of bytes that the network accepts now.
    space: usize,
    /// The waker of the connection's task.
    waker: Option<Waker>,
}

/// Returns the two ends of a connection. The network accepts few bytes at once: at first `takes`, and then more.
pub fn connect(takes: usize) -> (Pipe, PipeClient) {
    let bytes = Arc::new(Mutex::new(Bytes {
        to_server: VecDeque::new(),
        to_client: Vec::new(),
        is_input_ended: false,
        is_gone: false,
        is_output_ended: false,
        is_stalled: false,
        takes,
        fills: 0,
        space: takes,
        waker: None,
    }));
    (Pipe(bytes.clone()), PipeClient(bytes))
}

fn lock(bytes: &Mutex<Bytes>) -> MutexGuard<'_, Bytes> {
    bytes.lock().expect("no thread panics while it holds this")
}

impl Bytes {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll(&mut self, is_ready: bool, cx: &Context<'_>) -> Poll<()> {
        if is_ready {
            return Poll::Ready(());
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Pipe {
    /// Reads what has arrived. At the end of the input, returns 0.
    pub(super) fn read_bytes(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bytes = lock(&self.0);
        if bytes.to_server.is_empty() && !bytes.is_input_ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        bytes.to_server.read(buffer)
    }

    /// Reads what has arrived.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<Input> {
        Ok(match self.read_bytes(buffer)? {
            0 => Input::End,
            count => Input::Bytes {
                count,
                may_have_more: count == buffer.len(),
            },
        })
    }

    pub(super) fn write(&self, output: &[u8]) -> io::Result<usize> {
        let mut bytes = lock(&self.0);
        if bytes.is_gone || bytes.is_output_ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if bytes.is_stalled || bytes.space == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (taken, _) = output.split_at(output.len().min(bytes.space));
        bytes.to_client.extend_from_slice(taken);
        bytes.space -= taken.len();
        Ok(taken.len())
    }

    pub(super) fn end_output(&self) {
        lock(&self.0).is_output_ended = true;
    }

    pub(super) fn is_broken(&self) -> bool {
        lock(&self.0).is_gone
    }

    pub(super) fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        let mut bytes = lock(&self.0);
        let is_ready = !bytes.to_server.is_empty() || bytes.is_input_ended;
        bytes.poll(is_ready, cx)
    }

    pub(super) fn poll_writable(&self, cx: &Context<'_>) -> Poll<()> {
        let mut bytes = lock(&self.0);
        if bytes.space == 0 && !bytes.is_stalled {
            // Everything else that is ready runs before the network accepts more.
            bytes.fills += 1;
            bytes.space = bytes.takes.saturating_add(bytes.fills / 4);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let is_ready = !bytes.is_stalled || bytes.is_gone;
        bytes.poll(is_ready, cx)
    }

    pub(super) fn poll_gone(&self, cx: &Context<'_>) -> Poll<()> {
        let mut bytes = lock(&self.0);
        let is_gone = bytes.is_gone;
        bytes.poll(is_gone, cx)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.end_output();
    }
}

impl PipeClient {
    /// Sends bytes to the server.
    pub fn push(&self, input: &[u8]) {
        let mut bytes = lock(&self.0);
        bytes.to_server.extend(input);
        bytes.wake();
    }

    /// Ends what the client sends; it still reads.
    pub fn end_input(&self) {
        let mut bytes = lock(&self.0);
        bytes.is_input_ended = true;
        bytes.wake();
    }

    /// Ends both directions.
    pub fn close(&self) {
        let mut bytes = lock(&self.0);
        bytes.is_input_ended = true;
        bytes.is_gone = true;
        bytes.wake();
    }

    /// Sets whether the client does not read, so that the network accepts nothing for it.
    pub fn stall(&self, is_stalled: bool) {
        let mut bytes = lock(&self.0);
        bytes.is_stalled = is_stalled;
        bytes.wake();
    }

    /// Takes what the server has sent.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.0).to_client)
    }

    /// Returns whether the server sends nothing more.
    pub fn is_closed(&self) -> bool {
        lock(&self.0).is_output_ended
    }
}
