//! Sends events over WebSocket to a client that only reads: each line is a text message. What the client sends only
//! shows that it is alive, or closes the connection.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use futures_lite::future;

use super::follow::Pieces;
use super::{Client, Order, order};
use crate::server::connection::{hang_up, with_scratch};
use crate::transport::{Carrier, Input, Stream, WebSocket};

/// The number of reads and writes before other connections have their turn.
const STEPS_A_TURN: u32 = 16;

/// Sends `events` until they end, the client closes the connection or is gone, or the server stops. `held` are bytes
/// that the client has sent already.
pub async fn send(client: &Client, stream: Stream, held: Vec<u8>, events: Pieces) {
    let clock = &client.server.clock;
    let socket = WebSocket::new(stream, held, clock.now().uptime);
    let mut sender = Sender {
        client,
        carrier: Carrier::WebSocket(Box::new(socket)),
        events,
        piece: Vec::new(),
        sent: 0,
    };
    loop {
        let due = sender.carrier.due().unwrap_or_default();
        let wait = due.saturating_sub(clock.now().uptime);
        let late = async {
            clock.wait(wait).await;
            None
        };
        let ended = poll_fn(|cx| sender.poll(cx).map(Some));
        match future::or(ended, late).await {
            Some(End::Over) => break,
            Some(End::Gone) => return,
            None if !sender.carrier.is_alive(clock.now().uptime) => return,
            None => {} // the ping is sent with the next poll
        }
    }
    hang_up(&client.server, &mut sender.carrier, false).await;
}

struct Sender<'a> {
    client: &'a Client,
    carrier: Carrier,
    events: Pieces,
    /// Whole lines. Their first `sent` bytes have been sent.
    piece: Vec<u8>,
    sent: usize,
}

/// The reason why nothing more is sent.
enum End {
    /// There are no more events, or the client has closed the connection.
    Over,
    /// The client is gone, or may not stay.
    Gone,
}

impl Sender<'_> {
    /// Reads and writes what is possible. Becomes ready at the end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        match order(self.client, cx.waker()) {
            Order::Continue => {}
            Order::Stop => return Poll::Ready(End::Over),
            Order::Close => return Poll::Ready(End::Gone),
        }
        if self.carrier.poll_gone(cx).is_ready() {
            return Poll::Ready(End::Gone);
        }
        for _ in 0..STEPS_A_TURN {
            let read = self.poll_read(cx);
            let written = self.poll_write(cx);
            match (read, written) {
                (Poll::Pending, Poll::Pending) => return Poll::Pending,
                (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => {
                    return Poll::Ready(End::Over);
                }
                _ => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once and ignores what was read. Fails at the end of the input.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match with_scratch(|buffer| self.carrier.read(buffer)) {
            Ok(Input::End | Input::Cut { .. }) => {
                Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
            }
            Ok(_) => Poll::Ready(Ok(())),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.carrier.poll_readable(cx),
            Err(e) => Poll::Ready(Err(e)),
        }
    }

    /// Writes once, or takes the next piece. Fails at the end of the events.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let rest = self.piece.get(self.sent..).unwrap_or_default();
        let has_rest = !rest.is_empty();
        let done = if has_rest {
            self.carrier.write(rest).map(|count| self.sent += count)
        } else {
            // An idle subscriber takes little memory.
            self.piece = Vec::new();
            match self.events.as_mut().poll_next(cx) {
                Poll::Ready(Some(piece)) => {
                    self.piece = piece?;
                    self.sent = 0;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(None) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Pending => self.carrier.flush(),
            }
        };
        match done {
            Ok(()) if !has_rest => Poll::Pending,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.carrier.poll_writable(cx),
            done => Poll::Ready(done),
        }
    }
}
