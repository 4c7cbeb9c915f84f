//! Follows rooms as an ordinary reader: joins without a nick, with a cursor on each room's tail.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use futures_lite::{future, stream};

use super::Client;
use super::format::Format;
use super::internal::InternalClient;
use super::reply::{self, Problem, Reply};
use super::rooms::{PIECE_BYTES, body};
use crate::dialect::Delivery;
use crate::protocol::request::{HistoryOf, JoinFrom, Side};
use crate::protocol::{EventId, Request, RoomName, Time};
use crate::server::Server;
use crate::transport::Gone;

/// How often an idle stream sends a keepalive: proxies close a stream that is silent for a minute, and only a write
/// shows that a client has gone.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(25);

/// What is followed, and how.
pub struct Follow {
    /// The rooms.
    pub rooms: Vec<RoomName>,
    /// Their names, as the client has written them.
    pub topics: String,
    /// After which event it begins; otherwise with the newest `count`.
    pub after: Option<u64>,
    pub count: Option<usize>,
    /// Leaves out what is older.
    pub not_before: Option<Time>,
    /// Whether it ends with what has already happened.
    pub ends_with_past: bool,
    pub format: Format,
    /// The beginning of the body.
    pub first: Vec<u8>,
}

/// Sends the events of rooms, from the past and on as they come.
pub async fn follow(client: &Client, to: InternalClient, of: Follow) -> Result<Reply, Problem> {
    // JOIN creates a missing room; reading one must not.
    for room in &of.rooms {
        let topic = Request::Topic {
            room: Some(room.clone()),
            text: None,
        };
        to.ask(Ok(topic)).await?;
    }
    let (format, mut first) = (of.format, of.first);
    let awaited = of.rooms.len();
    for room in of.rooms {
        let mut from = of.after;
        if let (None, Some(1..)) = (of.after, of.count) {
            let newest = Request::History {
                of: HistoryOf::Room(room.clone()),
                count: of.count,
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
    }
    let stream = Stream {
        to,
        format,
        topics: of.topics,
        not_before: of.not_before,
        awaited: of.ends_with_past.then_some(awaited),
        server: client.server.clone(),
        gone: Some(client.gone.clone()),
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

/// Rooms that are followed.
struct Stream {
    to: InternalClient,
    format: Format,
    topics: String,
    not_before: Option<Time>,
    /// How many replies end the stream, one for the past of each room; `None` if it goes on.
    awaited: Option<usize>,
    server: Arc<Server>,
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
            Ok(Delivery::Past(record) | Delivery::Live(record))
                if self.not_before.is_some_and(|time| record.time < time) => {}
            Ok(delivery @ (Delivery::Past(_) | Delivery::Gap(_))) => {
                self.format.write(&delivery, 0, piece);
            }
            Ok(Delivery::Live(record)) if record.id.is_some() => {
                self.format.write(&Delivery::Live(record), 0, piece);
            }
            Ok(Delivery::Reply(_)) => {
                self.awaited = self.awaited.map(|replies| replies.saturating_sub(1));
                self.is_over |= self.awaited == Some(0);
            }
            Ok(Delivery::Removed) | Err(_) => self.is_over = true,
            Ok(_) => {}
        }
    }

    fn keepalive(&self) -> Vec<u8> {
        match self.format {
            Format::Events => b":\n\n".to_vec(),
            Format::Ntfy(form) => {
                let (now, mut out) = (self.server.clock.now().time, Vec::new());
                form.write_control("keepalive", &self.topics, now, &mut out);
                out
            }
            _ => b"\n".to_vec(),
        }
    }
}
