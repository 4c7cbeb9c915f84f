//! A connection inside this process. The client sends requests as values, and receives values.
//!
//! An ordinary connection task has one end. The code that makes requests on behalf of a client has the other. The
//! connection is bounded like a socket: a sender waits until the receiver has taken something.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};

use super::Input;
use crate::dialect::Delivery;
use crate::model::Budget;
use crate::protocol::Request;
use crate::protocol::request::Refusal;

/// The approximate number of bytes that may wait in each direction. Above it, the sender must wait.
const WAITING_BYTES_MAX: usize = 32 << 10;

/// What the client sends.
#[derive(Debug)]
pub enum Command {
    /// A request, or the refusal of a request that could not be composed.
    Request(Result<Request<'static>, Refusal>),
    /// Bytes of the file that is being uploaded.
    Bytes(Bytes),
}

/// The client's end.
#[derive(Debug)]
pub struct ClientEnd(Arc<Shared>);

/// The connection task's end.
#[derive(Debug)]
pub struct ServerEnd(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lanes: Mutex<Lanes>,
    /// The memory budget in which waiting bytes count.
    budget: Arc<Budget>,
}

#[derive(Debug)]
struct Lanes {
    commands: Lane<Command>,
    deliveries: Lane<Delivery>,
}

/// One direction of a connection.
#[derive(Debug)]
struct Lane<T> {
    items: VecDeque<T>,
    bytes: usize,
    end: Option<End>,
    /// Whether the receiver has gone.
    is_dropped: bool,
    receiver: Option<Waker>,
    sender: Option<Waker>,
}

/// How the sender ended a direction: everything was sent (`Whole`), or it aborted (`Cut`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    Cut,
}

/// A value that waits in a lane.
trait Waiting {
    /// Returns the approximate memory that the value takes, in bytes.
    fn bytes(&self) -> usize;
}

impl Waiting for Command {
    fn bytes(&self) -> usize {
        let more = match self {
            Self::Request(Ok(Request::Msg { text, .. })) => text.len(),
            Self::Request(_) => 0,
            Self::Bytes(bytes) => bytes.len(),
        };
        size_of::<Self>() + more
    }
}

impl Waiting for Delivery {
    fn bytes(&self) -> usize {
        Self::bytes(self)
    }
}

impl<T: Waiting> Lane<T> {
    fn new() -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
            end: None,
            is_dropped: false,
            receiver: None,
            sender: None,
        }
    }

    fn is_full(&self) -> bool {
        self.bytes >= WAITING_BYTES_MAX
    }

    /// Checks that something can be sent now.
    fn check(&self) -> io::Result<()> {
        if self.is_dropped || self.end.is_some() {
            Err(io::ErrorKind::BrokenPipe.into())
        } else if self.is_full() {
            Err(io::ErrorKind::WouldBlock.into())
        } else {
            Ok(())
        }
    }

    fn push(&mut self, item: T, budget: &Budget) {
        let bytes = item.bytes();
        budget.change(0, bytes);
        self.bytes += bytes;
        self.items.push_back(item);
        wake(&mut self.receiver);
    }

    fn pop(&mut self, budget: &Budget) -> Option<T> {
        let item = self.items.pop_front()?;
        let bytes = item.bytes();
        budget.change(bytes, 0);
        self.bytes -= bytes;
        if self.items.is_empty() {
            self.items = VecDeque::new();
        }
        if !self.is_full() {
            wake(&mut self.sender);
        }
        Some(item)
    }

    /// Becomes ready when there is something to receive, or when the sender has ended the direction.
    fn poll_filled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.items.is_empty() || self.end.is_some() {
            return Poll::Ready(());
        }
        self.receiver = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Becomes ready when something can be sent, or when the receiver has gone.
    fn poll_free(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_full() || self.is_dropped {
            return Poll::Ready(());
        }
        self.sender = Some(cx.waker().clone());
        Poll::Pending
    }

    fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
        wake(&mut self.receiver);
    }

    /// Records that the receiver has gone, so that nothing more can be sent.
    fn abandon(&mut self, budget: &Budget) {
        self.is_dropped = true;
        budget.change(self.bytes, 0);
        self.bytes = 0;
        self.items = VecDeque::new();
        wake(&mut self.sender);
    }
}

impl Shared {
    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes
            .lock()
            .expect("no thread panics while it holds this")
    }
}

/// Creates a connection and returns its two ends. Waiting bytes count in `budget`.
pub fn connect(budget: Arc<Budget>) -> (ClientEnd, ServerEnd) {
    let lanes = Lanes {
        commands: Lane::new(),
        deliveries: Lane::new(),
    };
    let shared = Arc::new(Shared {
        lanes: Mutex::new(lanes),
        budget,
    });
    (ClientEnd(shared.clone()), ServerEnd(shared))
}

impl ClientEnd {
    /// Waits until there is space for a command, and sends it.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn send(&self, command: Command) -> io::Result<()> {
        let mut command = Some(command);
        poll_fn(|cx| {
            let commands = &mut self.0.lanes().commands;
            ready!(commands.poll_free(cx));
            commands.check()?;
            if let Some(command) = command.take() {
                commands.push(command, &self.0.budget);
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Ends the input after everything has been sent.
    pub fn finish(&self) {
        self.0.lanes().commands.finish(End::Whole);
    }

    /// Aborts the input: nothing more can be sent, and the receiver learns that the input is incomplete.
    pub fn cut(&self) {
        self.0.lanes().commands.finish(End::Cut);
    }

    /// Waits for the next delivery and returns it; `None` if there are no more.
    pub async fn next(&self) -> Option<Delivery> {
        poll_fn(|cx| {
            let deliveries = &mut self.0.lanes().deliveries;
            ready!(deliveries.poll_filled(cx));
            Poll::Ready(deliveries.pop(&self.0.budget))
        })
        .await
    }

    /// Returns the next delivery, if it has arrived already.
    pub fn try_next(&self) -> Option<Delivery> {
        self.0.lanes().deliveries.pop(&self.0.budget)
    }
}

impl ServerEnd {
    /// Returns the next request. If bytes of a file come before it, drops them, because nobody reads them any more.
    pub(crate) fn next_request(&self) -> Option<Result<Request<'static>, Refusal>> {
        let commands = &mut self.0.lanes().commands;
        loop {
            match commands.pop(&self.0.budget)? {
                Command::Request(request) => return Some(request),
                Command::Bytes(_) => {}
            }
        }
    }

    /// Sends all of the values, or none of them.
    ///
    /// # Errors
    /// See [`super::Carrier::write`].
    pub(crate) fn deliver(&self, values: impl Iterator<Item = Delivery>) -> io::Result<()> {
        let deliveries = &mut self.0.lanes().deliveries;
        deliveries.check()?;
        values.for_each(|value| deliveries.push(value, &self.0.budget));
        Ok(())
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<Input> {
        let commands = &mut self.0.lanes().commands;
        match commands.items.front_mut() {
            Some(Command::Request(_)) => Ok(Input::BytesEnd),
            Some(Command::Bytes(bytes)) => {
                let count = buffer.len().min(bytes.len());
                if let Some(buffer) = buffer.get_mut(..count) {
                    bytes.copy_to_slice(buffer);
                }
                let is_read = bytes.is_empty();
                commands.bytes -= count;
                self.0.budget.change(count, 0);
                if is_read {
                    commands.pop(&self.0.budget);
                }
                Ok(Input::Bytes {
                    count,
                    may_have_more: true,
                })
            }
            None => match commands.end {
                Some(End::Whole) => Ok(Input::End),
                Some(End::Cut) => Ok(Input::Cut { reads_on: false }),
                None => Err(io::ErrorKind::WouldBlock.into()),
            },
        }
    }

    /// Sends bytes of a file. Returns the number of bytes sent.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let deliveries = &mut self.0.lanes().deliveries;
        deliveries.check()?;
        let space = WAITING_BYTES_MAX.saturating_sub(deliveries.bytes);
        let taken = bytes.get(..space).unwrap_or(bytes);
        let taken = Bytes::copy_from_slice(taken);
        let count = taken.len();
        deliveries.push(Delivery::Bytes(taken), &self.0.budget);
        Ok(count)
    }

    pub(super) fn end_output(&self) {
        self.0.lanes().deliveries.finish(End::Whole);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.0.lanes().deliveries.is_dropped
    }

    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lanes().commands.poll_filled(cx).map(Ok)
    }

    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lanes().deliveries.poll_free(cx).map(Ok)
    }

    /// Becomes ready when the client has gone.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let deliveries = &mut self.0.lanes().deliveries;
        if deliveries.is_dropped {
            return Poll::Ready(());
        }
        deliveries.sender = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for ClientEnd {
    fn drop(&mut self) {
        let mut lanes = self.0.lanes();
        lanes.commands.finish(End::Cut);
        lanes.deliveries.abandon(&self.0.budget);
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        let mut lanes = self.0.lanes();
        lanes.deliveries.finish(End::Cut);
        lanes.commands.abandon(&self.0.budget);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> (ClientEnd, ServerEnd, Arc<Budget>) {
        let budget = Arc::new(Budget::new(1 << 20));
        let (client, server) = connect(budget.clone());
        (client, server, budget)
    }

    #[test]
    fn waiting_values_are_bounded_and_counted_until_they_are_taken() {
        let (client, server, budget) = ends();
        let gap = || std::iter::once(Delivery::Gap("#room".into()));
        let mut sent = 0;
        while server.deliver(gap()).is_ok() {
            sent += 1;
            assert!(budget.used() < 2 * WAITING_BYTES_MAX);
        }
        let full = server.deliver(gap()).map_err(|e| e.kind());
        assert_eq!(full, Err(io::ErrorKind::WouldBlock));
        assert!(budget.used() >= WAITING_BYTES_MAX);
        for _ in 0..sent {
            assert!(matches!(client.try_next(), Some(Delivery::Gap(_))));
        }
        assert!(client.try_next().is_none());
        assert_eq!(budget.used(), 0);
        server.deliver(gap()).unwrap();
        drop(client);
        let gone = server.deliver(gap()).map_err(|e| e.kind());
        assert_eq!((gone, budget.used()), (Err(io::ErrorKind::BrokenPipe), 0));
    }

    #[test]
    fn requests_and_the_bytes_of_a_file_come_in_their_order() {
        let (client, server, budget) = ends();
        let send = |command| smol::block_on(client.send(command)).unwrap();
        send(Command::Request(Ok(Request::Hello)));
        send(Command::Bytes(Bytes::from_static(b"hello")));
        send(Command::Bytes(Bytes::from_static(b"more")));
        send(Command::Request(Ok(Request::Stay)));
        client.finish();
        assert_eq!(server.next_request(), Some(Ok(Request::Hello)));
        let mut buffer = [0; 3];
        let mut read = Vec::new();
        let end = loop {
            match server.read(&mut buffer).unwrap() {
                Input::Bytes { count, .. } => read.extend_from_slice(&buffer[..count]),
                end => break end,
            }
        };
        assert_eq!((end, &read[..]), (Input::BytesEnd, &b"hellomore"[..]));
        assert_eq!(server.next_request(), Some(Ok(Request::Stay)));
        assert_eq!(server.next_request(), None);
        assert_eq!(server.read(&mut buffer).unwrap(), Input::End);
        assert_eq!(budget.used(), 0);
        drop(server);
        let late = smol::block_on(client.send(Command::Request(Ok(Request::Hello))));
        assert!(late.is_err());
    }
}
