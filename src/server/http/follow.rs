//! Follows rooms. A follower is an ordinary reader without a nick, with a cursor on each room's tail.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use futures_lite::{future, stream};

use super::Client;
use super::format::Format;
use super::internal::InternalClient;
use super::reply::{self, Problem, Reply};
use super::rooms::{PIECE_BYTES, body};
use crate::dialect::{Delivery, EventRecord};
use crate::protocol::request::{HistoryOf, JoinFrom, Side};
use crate::protocol::{Request, RoomName, Time};
use crate::server::Server;
use crate::transport::Gone;

/// The time between two keepalives of an idle stream. Proxies close a stream that is silent for a minute, and only a
/// write can show that the client has gone.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(25);

/// The pieces of a stream of events.
pub type Pieces = Pin<Box<dyn stream::Stream<Item = io::Result<Vec<u8>>> + Send>>;

/// The rooms to follow, and how.
pub struct Follow {
    /// The rooms.
    pub rooms: Vec<RoomName>,
    /// The position in each room at which the events begin.
    pub start: Start,
    /// The time before which events are left out.
    pub not_before: Option<Time>,
    /// Whether the stream ends after the past events.
    pub ends_with_past: bool,
    /// The format of the body.
    pub format: Format,
}

/// The position at which the events of a room begin.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// With the next event.
    Now,
    /// After the event with this id.
    After(u64),
    /// At most this many of the newest events.
    Newest(usize),
}

/// Sends the past events of rooms, and then new events as they happen.
pub async fn follow(client: &Client, to: InternalClient, of: Follow) -> Result<Reply, Problem> {
    let content_type = of.format.content_type();
    let pieces = pieces(client, to, of).await?;
    Ok(reply::streamed(content_type, body(pieces)))
}

/// Returns the past events of rooms, and then new events as they happen, in pieces. Each piece ends at the end of an
/// event.
pub async fn pieces(client: &Client, to: InternalClient, of: Follow) -> Result<Pieces, Problem> {
    check_readable(&to, &of.rooms).await?;
    let names = of.rooms.iter().map(|room| room.as_str());
    let names = names.collect::<Vec<_>>().join(",");
    let mut first = Vec::new();
    if !of.ends_with_past {
        let now = client.server.clock.now().time;
        of.format.write_opening(&names, now, &mut first);
    }
    let format = of.format;
    let mut stream = Stream {
        to,
        format,
        names,
        start: of.start,
        not_before: of.not_before,
        ends_with_past: of.ends_with_past,
        rooms: of.rooms.into_iter(),
        newest: None,
        server: client.server.clone(),
        gone: Some(client.gone.clone()),
        is_over: false,
    };
    stream.begin_next().await;
    let pieces = stream::unfold((first, stream), |(first, mut stream)| async move {
        let piece = if first.is_empty() {
            stream.next().await?
        } else {
            first
        };
        Some((Ok(piece), (Vec::new(), stream)))
    });
    Ok(Box::pin(pieces))
}

/// Checks that the rooms exist and may be read. Without this check, `JOIN` would create a room that does not exist.
///
/// # Errors
/// When a room does not exist or may not be read.
pub async fn check_readable(to: &InternalClient, rooms: &[RoomName]) -> Result<(), Problem> {
    for room in rooms {
        let topic = Request::Topic {
            room: Some(room.clone()),
            text: None,
        };
        // The request was to read, so the refusal must not name `TOPIC`.
        to.ask(Ok(topic)).await.map_err(|problem| Problem {
            line: problem.line.replacen("ERR TOPIC", "ERR HISTORY", 1),
            ..problem
        })?;
    }
    Ok(())
}

/// A stream of the events of followed rooms.
struct Stream {
    to: InternalClient,
    format: Format,
    /// The names of the rooms, separated by commas.
    names: String,
    start: Start,
    not_before: Option<Time>,
    ends_with_past: bool,
    /// The rooms that have not been joined yet. A room is joined only when the past events of the previous room have
    /// been sent, so that past events do not accumulate in memory.
    rooms: vec::IntoIter<RoomName>,
    /// The room whose newest events are being sent, and the id of the last event that was sent.
    newest: Option<(RoomName, u64)>,
    server: Arc<Server>,
    /// A handle that reports that the client has ended its output; `None` after it has.
    gone: Option<Gone>,
    /// Whether the stream has ended.
    is_over: bool,
}

/// The reason why the stream stopped waiting.
enum Waited {
    Next(Result<Delivery, Problem>),
    /// Nothing has arrived for a while.
    Late,
    /// The client has ended its output, and may have gone.
    Ended,
}

impl Stream {
    /// Begins with the next room.
    async fn begin_next(&mut self) {
        let Some(room) = self.rooms.next() else {
            self.is_over |= self.ends_with_past;
            return;
        };
        match self.start {
            Start::Now => self.join(room, JoinFrom::Now).await,
            Start::After(id) => self.join(room, JoinFrom::After(id)).await,
            Start::Newest(count) => {
                let newest = Request::History {
                    of: HistoryOf::Room(room.clone()),
                    count: Some(count),
                    side: Side::Newest,
                };
                self.newest = Some((room, 0));
                self.to.send(Ok(newest)).await;
            }
        }
    }

    /// Joins a room. The missed events come before the reply.
    async fn join(&self, room: RoomName, from: JoinFrom) {
        self.to.send(Ok(Request::Join { room, from })).await;
    }

    /// Returns the next piece of the body; `None` at its end.
    async fn next(&mut self) -> Option<Vec<u8>> {
        while !self.is_over {
            match self.wait().await {
                Waited::Next(next) => {
                    let mut piece = Vec::new();
                    let mut next = Some(next);
                    // Everything that is available is sent together.
                    while let Some(delivery) = next {
                        if self.write(delivery, &mut piece) {
                            match self.newest.take() {
                                Some((room, id)) => self.join(room, JoinFrom::After(id)).await,
                                None => self.begin_next().await,
                            }
                        }
                        let goes_on = !self.is_over && piece.len() < PIECE_BYTES;
                        next = if goes_on { self.to.try_next() } else { None };
                    }
                    if !piece.is_empty() {
                        return Some(piece);
                    }
                }
                Waited::Late => return Some(self.keepalive()),
                Waited::Ended => {
                    // If the client has gone, its operating system answers this write with a reset.
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
            self.server.clock.wait(KEEPALIVE_EVERY).await;
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

    /// Appends a delivery to the piece if the stream shows it: logged events and gaps. Returns whether the delivery
    /// is the reply to the last request.
    fn write(&mut self, delivery: Result<Delivery, Problem>, piece: &mut Vec<u8>) -> bool {
        match &delivery {
            Ok(Delivery::Past(record)) => self.note_newest(record),
            Ok(Delivery::Live(record)) if record.id.is_none() => return false,
            Ok(Delivery::Live(_) | Delivery::Gap(_)) => {}
            Ok(Delivery::Reply(_)) => return true,
            Ok(Delivery::Removed) | Err(_) => {
                self.is_over = true;
                return false;
            }
            Ok(_) => return false,
        }
        if let Ok(delivery) = &delivery
            && !self.is_too_old(delivery)
        {
            self.format.write(delivery, 0, piece);
        }
        false
    }

    fn is_too_old(&self, delivery: &Delivery) -> bool {
        match (delivery, self.not_before) {
            (Delivery::Past(record) | Delivery::Live(record), Some(time)) => record.time < time,
            _ => false,
        }
    }

    /// Remembers the id of the event, if it is in the room whose newest events are being sent. Events of rooms that
    /// were joined before may come in between.
    fn note_newest(&mut self, record: &EventRecord) {
        if let Some((room, newest)) = &mut self.newest
            && let Some(id) = record.id
            && let Ok(place) = RoomName::parse(record.event.place())
            && place.casefolded() == room.casefolded()
        {
            *newest = id.get();
        }
    }

    fn keepalive(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let now = self.server.clock.now().time;
        self.format.write_keepalive(&self.names, now, &mut out);
        out
    }
}
