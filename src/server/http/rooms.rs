//! Rooms over HTTP: reads their history, follows them and sends messages.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use async_io::Timer;
use bytes::Bytes;
use futures_lite::{future, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{StatusCode, Uri};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};

use super::reply::{self, Body, Problem, Reply};
use super::visit::Visit;
use super::{Asked, Client, base64_engine};
use crate::protocol::Nick;
use crate::protocol::event::ServerLine;
use crate::protocol::text::clean;
use crate::protocol::{Code, RoomName, json, parse_number};
use crate::transport::Gone;
use base64::Engine;

/// How often an idle stream sends a keepalive: proxies close a stream that is silent for a minute, and only a write
/// shows that a client has gone.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(25);

/// How long a request waits for a nick that requests from another address use, and how often it checks.
const NICK_WITHIN: Duration = Duration::from_secs(3);
const NICK_EVERY: Duration = Duration::from_millis(50);

/// The format of the lines in a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines of the protocol.
    Lines,
    /// Server-sent events.
    Events,
    /// A JSON array.
    Array,
    /// One JSON object per line.
    Objects,
}

impl Format {
    /// Returns the format that the client asks for.
    pub fn of(headers: &HeaderMap, follows: bool) -> Self {
        let accepts = |kind| super::accepts(headers, kind);
        match follows {
            _ if accepts("text/event-stream") => Self::Events,
            true if accepts("json") => Self::Objects,
            false if accepts("json") => Self::Array,
            _ => Self::Lines,
        }
    }

    /// Returns the value of the `Content-Type` header.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Lines => reply::TEXT,
            Self::Events => "text/event-stream",
            Self::Array => "application/json",
            Self::Objects => "application/x-ndjson",
        }
    }

    /// Formats a line that follows `n` others; returns `None` for a line that this format leaves out.
    fn write(self, line: &str, n: usize) -> Option<String> {
        match self {
            Self::Lines => Some(format!("{line}\n")),
            Self::Events => match ServerLine::parse(line) {
                ServerLine::Past { id, .. } => Some(format!("id: {id}\ndata: {line}\n\n")),
                _ => Some(format!("data: {line}\n\n")),
            },
            Self::Array => {
                let mark = if n == 0 { "[" } else { ",\n" };
                Some(format!("{mark}{}", json::object(line)?))
            }
            Self::Objects => Some(format!("{}\n", json::object(line)?)),
        }
    }

    /// Returns what ends the body after `n` lines.
    fn end(self, n: usize) -> &'static str {
        match (self, n) {
            (Self::Array, 0) => "[]\n",
            (Self::Array, _) => "]\n",
            _ => "",
        }
    }
}

/// The decoded query of a URL.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the query of a URL in which only the parameters `known` may occur, each once.
    ///
    /// # Errors
    /// 400 for a parameter that is unknown or given twice: it would otherwise be ignored.
    pub fn of(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text)
                .decode_utf8()
                .map(|text| text.into_owned())
                .map_err(|_| {
                    Problem::new(
                        StatusCode::BAD_REQUEST,
                        Code::NotUtf8,
                        "the address is not UTF-8",
                    )
                })
        };
        let pairs = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        let pairs: Vec<(String, String)> = pairs.collect::<Result<_, Problem>>()?;
        for (n, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let name = clean(name);
                return Err(bad(match known {
                    [] => format!("{name} means nothing here; this address takes no ?query"),
                    known => format!("{name} means nothing here; known are {}", known.join(", ")),
                }));
            }
            if pairs.iter().take(n).any(|(before, _)| before == name) {
                return Err(bad(format!("{name} is given twice")));
            }
        }
        Ok(Self(pairs))
    }

    /// Returns whether a parameter is set: given by its name alone, or with a word for yes.
    fn is_on(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("0" | "false" | "no" | "off") => Ok(false),
            Some("" | "1" | "true" | "yes" | "on") => Ok(true),
            Some(_) => Err(bad(format!("{name} is 1 or 0"))),
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(known, _)| known == name);
        pair.map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let wrong = || bad(format!("{name} is not a number"));
        parse_number(value).map(Some).ok_or_else(wrong)
    }
}

/// Rejects a request that is not understood.
pub fn bad(text: impl AsRef<str>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, Code::BadSyntax, text)
}

/// Decodes a part of a path; rejects one that contains a line end.
pub fn decode(part: &str) -> Result<String, Problem> {
    let text = percent_decode_str(part).decode_utf8();
    let text = text.map_err(|_| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            Code::NotUtf8,
            "the address is not UTF-8",
        )
    })?;
    if text.contains(['\r', '\n', '\0']) {
        Err(bad("the address has a line end inside"))
    } else {
        Ok(text.into_owned())
    }
}

/// Parses the room name in a part of a path, with or without its `#`.
pub fn room(part: &str) -> Result<RoomName, Problem> {
    RoomName::parse_loose(&decode(part)?)
        .map_err(|e| Problem::new(StatusCode::BAD_REQUEST, Code::BadName, e.to_string()))
}

/// `GET /rooms`.
pub async fn list(client: &Client, headers: &HeaderMap) -> Result<Reply, Problem> {
    let visit = visitor(client, headers).await?;
    let _ = visit.voice.say("ROOMS").await;
    told(visit, None, Format::of(headers, false)).await
}

/// `GET /rooms/<room>/files`.
pub async fn files(client: &Client, part: &str, headers: &HeaderMap) -> Result<Reply, Problem> {
    let visit = visitor(client, headers).await?;
    let _ = visit.voice.say(&format!("FILES {}", room(part)?)).await;
    told(visit, None, Format::of(headers, false)).await
}

/// `GET /rooms/<room>`: the history, and with `follow` the events from then on.
pub async fn read(client: &Client, part: &str, request: &Asked) -> Result<Reply, Problem> {
    let known = ["follow", "after", "before", "count", "q"];
    let (room, query) = (room(part)?, Query::of(request.uri(), &known)?);
    let (after, count) = (query.number("after")?, query.number("count")?);
    let before = query.number("before")?;
    let last_seen = request.headers().get("last-event-id");
    let last_seen = last_seen.and_then(|id| parse_number(id.to_str().ok()?));
    let after = last_seen.or(after);
    let follows = query.is_on("follow")?;
    if before.is_some() && after.is_some() {
        return Err(bad("before and after do not go together"));
    }
    if query.get("q").is_some() && (after.or(before).or(count)).is_some() {
        return Err(bad(
            "a search finds the newest in all that is kept; leave out after, before and count",
        ));
    }
    let format = Format::of(request.headers(), follows);
    if follows || format == Format::Events {
        if query.get("q").is_some() {
            return Err(bad("a search cannot be followed; leave out q or follow"));
        }
        if before.is_some() {
            return Err(bad(
                "what comes is after, not before; leave out before or follow",
            ));
        }
        let visit = visitor(client, request.headers()).await?;
        let gone = client.gone.clone();
        return follow(visit, &room, after, count, format, gone).await;
    }
    let visit = visitor(client, request.headers()).await?;
    let ask = match (query.get("q"), after) {
        (Some(words), _) => format!("SEARCH {room} {}", words.replace(['\r', '\n'], " ")),
        (None, after) => {
            let count = count.map_or_else(String::new, |count| format!(" {count}"));
            let from = match (after, before) {
                (Some(after), _) => format!(" after {after}"),
                (None, Some(before)) => format!(" before {before}"),
                (None, None) => String::new(),
            };
            format!("HISTORY {room}{count}{from}")
        }
    };
    let _ = visit.voice.say(&ask).await;
    told(visit, Some(room), format).await
}

/// Returns the line that says that events of `room` are missing, if `reply` says that a search was cut.
fn gap(reply: &str, room: Option<&RoomName>) -> Option<String> {
    let is_cut = reply.starts_with("OK SEARCH ") && reply.ends_with(" cut");
    room.filter(|_| is_cut).map(|room| format!("GAP {room}"))
}

/// Returns the lines of a list, up to its reply, as they arrive; `room` is their room, if they belong to one.
async fn told(mut visit: Visit, room: Option<RoomName>, format: Format) -> Result<Reply, Problem> {
    // The first line tells whether the request succeeds.
    let first = loop {
        let line = visit.ear.line().await.ok_or_else(Problem::stopping)?;
        if line.starts_with("OK ") || is_item(&line) {
            break line;
        }
        if !is_event(&line) {
            return Err(Problem::said(line));
        }
    };
    let state = (Some(first), visit, 0, room);
    let pieces = stream::try_unfold(state, move |(first, mut visit, n, room)| async move {
        let mut piece = String::new();
        let mut n = n;
        let mut next = first;
        // Lines that are available are sent together.
        while let Some(line) = next {
            let gap = gap(&line, room.as_ref());
            let item = gap.as_deref().or_else(|| is_item(&line).then_some(&line));
            if let Some(text) = item.and_then(|item| format.write(item, n)) {
                piece.push_str(&text);
                n += 1;
            }
            if line.starts_with("OK ") {
                piece.push_str(format.end(n));
                visit.voice.finish();
                return Ok(Some((piece, (None, visit, n, room))));
            } else if line.starts_with("ERR ") || line.starts_with("CLOSED ") {
                return Err(io::Error::other(line)); // the log failed on the way
            } // other lines are events for the reading nick
            if piece.len() >= PIECE_BYTES {
                return Ok(Some((piece, (visit.ear.line().await, visit, n, room))));
            }
            next = visit.ear.line().await;
        }
        Ok((!piece.is_empty()).then_some((piece, (None, visit, n, room))))
    });
    Ok(reply::with_body(
        StatusCode::OK,
        format.content_type(),
        body(pieces),
    ))
}

/// Approximate size of one piece of a body.
const PIECE_BYTES: usize = 16 << 10;

/// Returns whether a line is an event for the reader that arrived between the items: a notice to all, or a direct
/// message.
fn is_event(line: &str) -> bool {
    matches!(ServerLine::parse(line), ServerLine::Live { .. })
}

fn is_item(line: &str) -> bool {
    ["PAST ", "ROOM ", "GAP "]
        .iter()
        .any(|verb| line.starts_with(verb))
}

fn body(pieces: impl stream::Stream<Item = io::Result<String>> + Send + 'static) -> Body {
    let frames = stream::StreamExt::map(pieces, |piece| {
        piece.map(|text| Frame::data(Bytes::from(text)))
    });
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

/// Follows a room as an ordinary reader: joins without a nick, with a cursor on the room's tail.
async fn follow(
    mut visit: Visit,
    room: &RoomName,
    after: Option<u64>,
    count: Option<u64>,
    format: Format,
    gone: Gone,
) -> Result<Reply, Problem> {
    // JOIN creates a missing room; reading one must not.
    visit.ask(&format!("TOPIC {room}")).await?;
    let mut first = String::new();
    let mut from = after;
    if let (None, Some(count @ 1..)) = (after, count) {
        let _ = visit.voice.say(&format!("HISTORY {room} {count}")).await;
        from = Some(0);
        loop {
            let line = visit.ear.line().await.ok_or_else(Problem::stopping)?;
            if let ServerLine::Past { id, .. } = ServerLine::parse(&line) {
                from = Some(id.get());
                first.push_str(&format.write(&line, 0).unwrap_or_default());
            } else if line.starts_with("OK ") {
                break;
            } else if !is_event(&line) {
                return Err(Problem::said(line));
            }
        }
    }
    visit.ask("STAMPS on").await?;
    let from = from.map_or_else(String::new, |id| format!(" {id}"));
    // Missed events come before the reply, as the first lines of the body.
    let _ = visit.voice.say(&format!("JOIN {room}{from}")).await;
    if format == Format::Events {
        // The page waits for this comment.
        first.insert_str(0, ": hello\n\n");
    }
    let sign_of_life = match format {
        Format::Events => ":\n\n",
        _ => "\n",
    };
    // Until the client ends what it sends.
    let state = (first, visit, Some(gone));
    let pieces = stream::unfold(state, move |(first, mut visit, mut gone)| async move {
        if !first.is_empty() {
            return Some((Ok(first), (String::new(), visit, gone)));
        }
        loop {
            let line = async { Quiet::No(visit.ear.line().await) };
            let late = async {
                Timer::after(SIGN_OF_LIFE_EVERY).await;
                Quiet::Long
            };
            let ended = async {
                match &gone {
                    Some(gone) => poll_fn(|cx| gone.poll_ended(cx)).await,
                    None => future::pending().await,
                }
                Quiet::Ended
            };
            let next = future::or(line, future::or(late, ended)).await;
            let line = match next {
                Quiet::No(line) => line?,
                Quiet::Long => return Some((Ok(sign_of_life.into()), (first, visit, gone))),
                Quiet::Ended => {
                    // If it has closed, its system answers this with a reset.
                    gone = None;
                    return Some((Ok(sign_of_life.into()), (first, visit, gone)));
                }
            };
            if visit.is_put_out(&line) {
                return None;
            }
            if let Some(text) = logged(&line).and_then(|line| format.write(&line, 0)) {
                return Some((Ok(text), (first, visit, gone)));
            }
            if line.starts_with("ERR ") || line.starts_with("CLOSED ") {
                return None;
            }
        }
    });
    Ok(reply::followed(format.content_type(), body(pieces)))
}

/// What a stream waits for.
enum Quiet {
    /// There is a line, or none any more.
    No(Option<String>),
    /// Nothing has come for long.
    Long,
    /// The client sends no more, and may have gone.
    Ended,
}

/// A line as the log has it; `None` for one that the log has not.
fn logged(line: &str) -> Option<String> {
    match line.strip_prefix("LIVE ") {
        Some(rest) if rest.starts_with("- ") => None,
        Some(rest) => Some(format!("PAST {rest}")),
        None if line.starts_with("PAST ") || line.starts_with("GAP ") => Some(line.to_owned()),
        None => None,
    }
}

/// Returns the client's nick and password from `Authorization: Basic` (RFC 7617).
///
/// # Errors
/// 401 when there is none.
pub fn credentials(headers: &HeaderMap) -> Result<(String, String), Problem> {
    let none = || {
        let text = "say who you are: curl -u NICK: (any free nick), or -u NICK:PASSWORD";
        Problem::new(StatusCode::UNAUTHORIZED, Code::NeedNick, text)
    };
    let value = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let (scheme, encoded) = value
        .and_then(|value| value.split_once(' '))
        .ok_or_else(none)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(none());
    }
    let decoded = base64_engine().decode(encoded.trim()).map_err(|_| none())?;
    let decoded = String::from_utf8(decoded).map_err(|_| none())?;
    let (nick, password) = decoded.split_once(':').ok_or_else(none)?;
    if nick.is_empty() || decoded.contains(['\r', '\n']) || nick.contains(' ') {
        return Err(none());
    }
    Ok((nick.to_owned(), password.to_owned()))
}

/// Starts a conversation for a reader: anonymous or, with a password, under a nick, since some rooms, and some servers,
/// are not open to everyone.
pub async fn visitor(client: &Client, headers: &HeaderMap) -> Result<Visit, Problem> {
    let mut visit = Visit::begin(client);
    let Ok((nick, password)) = credentials(headers) else {
        return Ok(visit);
    };
    if password.is_empty() || give_pass(client, &mut visit, &password).await {
        return Ok(visit);
    }
    let is_own =
        Nick::parse(&nick).is_ok_and(|nick| client.server.world().chat.is_registered(&nick));
    let is_closed = client.server.config.password.is_some();
    if is_own || is_closed {
        visit.ask(&format!("NICK {nick} {password}")).await?;
        let _ = visit.ask("PART").await; // leave the lobby, which the request is not about
        visit.nick = Nick::parse(&nick).ok();
    }
    Ok(visit)
}

/// Gives the server's own password, if it has one; returns whether `password` is that password.
async fn give_pass(client: &Client, visit: &mut Visit, password: &str) -> bool {
    // Compared here first, so that a nick's own password does not count as a wrong guess; the digests are compared, so
    // that timing reveals nothing of the password.
    let known = client.server.config.password.as_ref();
    let is_it =
        known.is_some_and(|known| Sha256::digest(known.expose()) == Sha256::digest(password));
    is_it && visit.ask(&format!("PASS {password}")).await.is_ok()
}

/// Joins a room under the client's nick.
pub async fn enter(
    client: &Client,
    room: &RoomName,
    headers: &HeaderMap,
) -> Result<Visit, Problem> {
    let (nick, password) = credentials(headers)?;
    let mut visit = Visit::begin(client);
    let has_passed = give_pass(client, &mut visit, &password).await;
    let ask = match password.as_str() {
        "" => format!("NICK {nick}"),
        _ if has_passed => format!("NICK {nick}"),
        password => format!("NICK {nick} {password}"),
    };
    // The nick is set first, so that it owns a room that this creates.
    let end = client.server.clock.now().uptime + NICK_WITHIN;
    loop {
        let taken = match visit.ask(&ask).await {
            Ok(_) => break,
            Err(problem) => problem,
        };
        // Concurrent requests that send under the same nick do not block each other.
        let is_short = Nick::parse(&nick)
            .is_ok_and(|nick| client.server.world().chat.is_used_by_requests(&nick));
        let is_late = client.server.clock.now().uptime >= end;
        if taken.status != StatusCode::CONFLICT || !is_short || is_late {
            return Err(taken);
        }
        Timer::after(NICK_EVERY).await;
    }
    if *room != client.server.config.lobby {
        let _ = visit.ask("PART").await; // leave the lobby, which the request is not about
    }
    visit.ask(&format!("JOIN {room}")).await?;
    Ok(visit)
}
