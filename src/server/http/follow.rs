//! Follows a room as an ordinary reader: joins without a nick, with a cursor on the room's tail.

use std::future::poll_fn;
use std::time::Duration;

use async_io::Timer;
use futures_lite::{future, stream};

use super::format::Format;
use super::internal::InternalClient;
use super::reply::{self, Problem, Reply};
use super::rooms::{PIECE_BYTES, body};
use crate::dialect::Delivery;
use crate::protocol::request::{HistoryOf, JoinFrom, Side};
use crate::protocol::{EventId, Request, RoomName};
use crate::transport::Gone;

/// How often an idle stream sends a keepalive: proxies close a stream that is silent for a minute, and only a write
/// shows that a client has gone.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(25);

/// Sends the events of `room` after the id `after`, or the newest `count` of them, and on as they come.
pub async fn follow(
    to: InternalClient,
    room: RoomName,
    after: Option<u64>,
    count: Option<usize>,
    format: Format,
    gone: Gone,
) -> Result<Reply, Problem> {
    // JOIN creates a missing room; reading one must not.
    let topic = Request::Topic {
        room: Some(room.clone()),
        text: None,
    };
    to.ask(Ok(topic)).await?;
    let mut first = Vec::new();
    if format == Format::Events {
        // The page waits for this comment.
        first.extend_from_slice(b": hello\n\n");
    }
    let mut from = after;
    if let (None, Some(1..)) = (after, count) {
        let newest = Request::History {
            of: HistoryOf::Room(room.clone()),
            count,
            side: Side::Newest,
        };
        to.send(Ok(newest)).await;
        from = Some(0);
        loop {
            let next = to.next().await?;
            match &next {
                Delivery::Past(record) => {
                    from = record.id.map(EventId::get);
                    format.write(&next, 0, &mut first);
                }
                Delivery::Reply(_) => break,
                _ => {}
            }
        }
    }
    // Missed events come before the reply, as the first lines of the body.
    let from = from.map_or(JoinFrom::Now, JoinFrom::After);
    to.send(Ok(Request::Join { room, from })).await;
    let stream = Stream {
        to,
        format,
        gone: Some(gone),
        is_over: false,
    };
    let pieces = stream::unfold((first, stream), |(first, mut stream)| async move {
        let piece = if first.is_empty() {
            stream.next().await?
        } else {
            first
        };
        Some((Ok(piece), (Vec::new(), stream)))
    });
    Ok(reply::streamed(format.content_type(), body(pieces)))
}

/// A room that is followed.
struct Stream {
    to: InternalClient,
    format: Format,
    /// Reports that the client has ended its sending side; `None` once it has.
    gone: Option<Gone>,
    /// Whether the stream has ended.
    is_over: bool,
}

/// What ended a wait of the stream.
enum Waited {
    Next(Result<Delivery, Problem>),
    /// Nothing has arrived for a while.
    Late,
    /// The client has ended its sending side, and may have gone.
    Ended,
}

impl Stream {
    /// Returns the next piece of the body; `None` at its end.
    async fn next(&mut self) -> Option<Vec<u8>> {
        while !self.is_over {
            match self.wait().await {
                Waited::Next(next) => {
                    let mut piece = Vec::new();
                    let mut next = Some(next);
                    // What is available is sent together.
                    while let Some(delivery) = next {
                        self.write(delivery, &mut piece);
                        let goes_on = !self.is_over && piece.len() < PIECE_BYTES;
                        next = if goes_on { self.to.try_next() } else { None };
                    }
                    if !piece.is_empty() {
                        return Some(piece);
                    }
                }
                Waited::Late => return Some(self.keepalive()),
                Waited::Ended => {
                    // If the client has gone, its system answers this write with a reset.
                    self.gone = None;
                    return Some(self.keepalive());
                }
            }
        }
        None
    }

    async fn wait(&self) -> Waited {
        let next = async { Waited::Next(self.to.next().await) };
        let late = async {
            Timer::after(KEEPALIVE_EVERY).await;
            Waited::Late
        };
        let ended = async {
            match &self.gone {
                Some(gone) => poll_fn(|cx| gone.poll_ended(cx)).await,
                None => future::pending().await,
            }
            Waited::Ended
        };
        future::or(next, future::or(late, ended)).await
    }

    /// Appends what belongs to the stream: events that are logged, and gaps.
    fn write(&mut self, delivery: Result<Delivery, Problem>, piece: &mut Vec<u8>) {
        match delivery {
            Ok(delivery @ (Delivery::Past(_) | Delivery::Gap(_))) => {
                self.format.write(&delivery, 0, piece);
            }
            Ok(Delivery::Live(record)) if record.id.is_some() => {
                self.format.write(&Delivery::Live(record), 0, piece);
            }
            Ok(Delivery::Removed) | Err(_) => self.is_over = true,
            Ok(_) => {}
        }
    }

    fn keepalive(&self) -> Vec<u8> {
        match self.format {
            Format::Events => b":\n\n".to_vec(),
            _ => b"\n".to_vec(),
        }
    }
}
