//! Rooms over HTTP: lists them, their files and their history.

use std::io;

use bytes::Bytes;
use futures_lite::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::StatusCode;
use hyper::body::Frame;

use super::follow::{Follow, Start, follow};
use super::format::Format;
use super::internal::InternalClient;
use super::login::reader;
use super::query::{self, INBOX, Query, bad};
use super::reply::{self, Body, Problem, Reply};
use super::{Client, HttpRequest};
use crate::dialect::{Delivery, Reply as Answer, ReplyFields};
use crate::protocol::request::{FilesOf, HistoryOf, Refusal, SearchOf, Side};
use crate::protocol::{Request, parse_number};

/// Approximate size of one piece of a body.
pub const PIECE_BYTES: usize = 16 << 10;

/// `GET /rooms`: lists the rooms. With `q`, searches them.
pub async fn list(client: &Client, request: &HttpRequest) -> Result<Reply, Problem> {
    let query = Query::of(request.uri(), &["q", "format", "tags"])?;
    let format = Format::of(request.headers(), &query, false)?;
    let to = reader(client, request.headers()).await?;
    let ask = match query.get("q") {
        Some(words) => search(SearchOf::All, words),
        None => Ok(Request::Rooms { is_all: false }),
    };
    to.send(ask).await;
    listed(to, "*", format).await
}

/// Returns the request to search a place for the words of a query.
fn search(of: SearchOf, words: &str) -> Result<Request<'static>, Refusal> {
    Request::search(of, &words.replace(['\r', '\n'], " "))
}

/// `GET /rooms/<room>/files`.
pub async fn files(client: &Client, part: &str, request: &HttpRequest) -> Result<Reply, Problem> {
    let query = Query::of(request.uri(), &["format", "tags"])?;
    let format = Format::of(request.headers(), &query, false)?;
    let to = reader(client, request.headers()).await?;
    let (of, place) = if query::is_inbox(part) {
        (FilesOf::Inbox, INBOX.to_owned())
    } else {
        let room = query::room(part)?;
        (FilesOf::Room(room.clone()), room.to_string())
    };
    to.send(Ok(Request::Files { of })).await;
    listed(to, &place, format).await
}

/// `GET /rooms/@?q=`: searches the direct messages of the client's own nick.
pub async fn search_inbox(client: &Client, request: &HttpRequest) -> Result<Reply, Problem> {
    let query = Query::of(request.uri(), &["q", "format", "tags"])?;
    let format = Format::of(request.headers(), &query, false)?;
    let words = query
        .get("q")
        .ok_or_else(|| bad("the parameter 'q' is missing"))?;
    let to = reader(client, request.headers()).await?;
    to.send(search(SearchOf::Inbox, words)).await;
    listed(to, INBOX, format).await
}

/// `GET /rooms/<room>`: sends the history. With `follow`, also sends later events as they happen.
pub async fn read(client: &Client, part: &str, request: &HttpRequest) -> Result<Reply, Problem> {
    let known = ["follow", "after", "before", "count", "q", "format", "tags"];
    let (room, query) = (query::room(part)?, Query::of(request.uri(), &known)?);
    let (after, count) = (query.number("after")?, query.number("count")?);
    let before = query.number("before")?;
    let last_seen = request.headers().get("last-event-id");
    let last_seen = last_seen.and_then(|id| parse_number(id.to_str().ok()?));
    let after = last_seen.or(after);
    let count = count.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
    let follows = query.is_on("follow")?;
    if before.is_some() && after.is_some() {
        return Err(bad(
            "the parameters 'before' and 'after' exclude each other",
        ));
    }
    if query.get("q").is_some() && (after.is_some() || before.is_some() || count.is_some()) {
        return Err(bad(
            "a search always finds the newest matches; leave out 'after', 'before' and 'count'",
        ));
    }
    let format = Format::of(request.headers(), &query, follows)?;
    if follows || format.is_events() {
        if query.get("q").is_some() {
            return Err(bad(
                "the parameters 'q' and 'follow' exclude each other: a search cannot be followed",
            ));
        }
        if before.is_some() {
            return Err(bad(
                "the parameters 'follow' and 'before' exclude each other: 'follow' sends only new events",
            ));
        }
        let to = reader(client, request.headers()).await?;
        let start = match (after, count) {
            (Some(after), _) => Start::After(after),
            (None, Some(count @ 1..)) => Start::Newest(count),
            _ => Start::Now,
        };
        let of = Follow {
            rooms: vec![room],
            start,
            not_before: None,
            ends_with_past: false,
            format,
        };
        return follow(client, to, of).await;
    }
    let to = reader(client, request.headers()).await?;
    let ask = match (query.get("q"), after, before) {
        (Some(words), ..) => search(SearchOf::Room(room.clone()), words),
        (None, after, before) => Ok(Request::History {
            of: HistoryOf::Room(room.clone()),
            count,
            side: match (after, before) {
                (Some(after), _) => Side::After(after),
                (None, Some(before)) => Side::Before(before),
                (None, None) => Side::Newest,
            },
        }),
    };
    to.send(ask).await;
    listed(to, room.as_str(), format).await
}

/// Returns the entries of a list as they arrive, up to the reply that ends it. `place` is the room to which the list
/// belongs, or `*` for all rooms; a `GAP` names it.
async fn listed(to: InternalClient, place: &str, format: Format) -> Result<Reply, Problem> {
    // The first delivery shows whether the request succeeds.
    let first = loop {
        let delivery = to.next().await?;
        if is_item(&delivery) || matches!(delivery, Delivery::Reply(_)) {
            break delivery;
        }
    };
    let state = (Some(first), to, 0, Box::<str>::from(place));
    let pieces = stream::try_unfold(state, move |(first, to, mut n, place)| async move {
        let Some(mut next) = first else {
            return Ok(None);
        };
        let mut piece = Vec::new();
        loop {
            if let Delivery::Reply(reply) = &next {
                if is_cut(reply) {
                    let gap = Delivery::Gap(place.clone());
                    n += usize::from(format.write(&gap, n, &mut piece));
                }
                piece.extend_from_slice(format.end(n).as_bytes());
                to.finish();
                return Ok(Some((piece, (None, to, n, place))));
            }
            if is_item(&next) {
                n += usize::from(format.write(&next, n, &mut piece));
            }
            // If the log fails now, only the end of the connection shows that to the client.
            next = to.next().await.map_err(|e| io::Error::other(e.line))?;
            if piece.len() >= PIECE_BYTES {
                return Ok(Some((piece, (Some(next), to, n, place))));
            }
        }
    });
    Ok(reply::with_body(
        StatusCode::OK,
        format.content_type(),
        body(pieces),
    ))
}

/// Returns whether the reply says that a search may have missed matches.
fn is_cut(reply: &Answer) -> bool {
    matches!(reply.fields, ReplyFields::Found { is_cut: true, .. })
}

/// Returns whether a delivery belongs to a list. Any other delivery is an event that has arrived meanwhile.
fn is_item(delivery: &Delivery) -> bool {
    matches!(
        delivery,
        Delivery::Past(_) | Delivery::Room { .. } | Delivery::Gap(_)
    )
}

/// Returns a body that is sent piece by piece.
pub fn body(pieces: impl stream::Stream<Item = io::Result<Vec<u8>>> + Send + 'static) -> Body {
    let frames = stream::StreamExt::map(pieces, |piece| {
        piece.map(|bytes| Frame::data(Bytes::from(bytes)))
    });
    BodyExt::boxed_unsync(StreamBody::new(frames))
}
