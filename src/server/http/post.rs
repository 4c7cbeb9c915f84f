//! `POST /rooms/<room>`: sends the body when all of it has arrived. One line is a message, several lines are one
//! text.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_lite::{future, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::StatusCode;
use hyper::body::Frame;
use memchr::memchr;
use smol::Task;

use super::body::{BodyError, RequestBody};
use super::format::{self, Format};
use super::internal::InternalClient;
use super::login::{self, Credentials};
use super::query::{self, Query, bad};
use super::reply::{self, Problem, Reply};
use super::{Client, HttpRequest};
use crate::dialect::Delivery;
use crate::protocol::multiline::Multiline;
use crate::protocol::request::{HAS_NUL, Refusal, has_nul};
use crate::protocol::tags::SentTags;
use crate::protocol::{Code, Request, Verb};
use crate::server::Server;

/// The number of bytes that each request may use even when the memory for unread data is used up. So a client that
/// sends one line is not refused because of other clients.
const SMALL_BYTES: usize = 16 << 10;

/// Approximate length of the reply to a line: `OK MSG`, an id and a time.
const REPLY_BYTES: usize = 64;

/// The maximum number of bytes of a reply that are passed on at once.
const PIECE_BYTES: usize = 16 << 10;

/// The bytes that a request holds. They count as data that clients have not read (`--max-memory`).
pub(super) struct HeldBytes {
    server: Arc<Server>,
    bytes: usize,
}

impl HeldBytes {
    /// Creates a counter that holds no bytes.
    pub fn new(server: &Arc<Server>) -> Self {
        let server = server.clone();
        Self { server, bytes: 0 }
    }

    /// Adds `more` bytes.
    ///
    /// # Errors
    /// `busy`, when the memory is used up.
    pub fn add(&mut self, more: usize) -> Result<(), Problem> {
        self.server.waiting.change(self.bytes, self.bytes + more);
        self.bytes += more;
        if self.bytes > SMALL_BYTES && self.server.waiting.is_full() {
            let text =
                "the server's memory for messages is used up; send it later, or send less at once";
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Code::Busy,
                text,
            ));
        }
        Ok(())
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.server.waiting.change(self.bytes, 0);
    }
}

/// How a body is sent.
enum Sending {
    /// As one message: the request, and the bytes that follow it.
    Whole(Result<Request<'static>, Refusal>, Bytes),
    /// Each line as a message of its own, because there are too many lines for one text.
    Lines(Vec<u8>),
}

impl Sending {
    /// Decides how a body with `tags` is sent. Empty lines at its beginning and end are dropped.
    ///
    /// # Errors
    /// When the body has tags, but cannot be sent as one message.
    fn of(text: Vec<u8>, tags: SentTags) -> Result<Self, Problem> {
        match Multiline::parse(without_blank_ends(&text)) {
            Ok(lines) if lines.lines() == 1 => {
                let message = Request::message(lines.as_str().as_bytes());
                let message = message.map(|message| message.with_tags(tags));
                Ok(Self::Whole(message, Bytes::new()))
            }
            Ok(lines) => {
                let bytes = Bytes::copy_from_slice(lines.as_str().as_bytes());
                let request = Request::text(None, bytes.len() as u64).with_tags(tags);
                Ok(Self::Whole(Ok(request), bytes))
            }
            Err(_) if tags.is_empty() => Ok(Self::Lines(text)),
            Err(refusal) => {
                let status = reply::status(refusal.code);
                Err(Problem::new(status, refusal.code, refusal.text))
            }
        }
    }
}

/// Sends the whole body. If it is refused, nothing of it is sent.
pub async fn post(client: &Client, part: &str, request: HttpRequest) -> Result<Reply, Problem> {
    let room = query::room(part)?;
    let query = Query::of(request.uri(), &["format"])?;
    Credentials::of(request.headers())?;
    let is_json = Format::of(request.headers(), &query, false)? == Format::Array;
    let (head, body) = request.into_parts();
    let mut held = HeldBytes::new(&client.server);
    let tags = query::tags(&head.headers)?;
    let text = collect(client, body, &mut held).await?;
    let sending = Sending::of(text, tags)?;
    let to = login::sender(client, Some(&room), &head.headers).await?;
    // This runs in a task of its own, so that it is completed even if the client has gone.
    let posted = client.server.executor.spawn(async move {
        let posted = send(&to, sending);
        let ((), answers) = future::zip(posted, answers(&to, is_json)).await;
        answers
    });
    let (status, body) = Detached::new(posted).await_end().await;
    let kind = if is_json {
        Format::Array.content_type()
    } else {
        reply::TEXT
    };
    Ok(held_reply(status, kind, body, held))
}

/// A task that continues to run when this is dropped.
pub(super) struct Detached<T>(Option<Task<T>>);

impl<T> Detached<T> {
    /// Wraps a running task.
    pub fn new(task: Task<T>) -> Self {
        Self(Some(task))
    }

    pub async fn await_end(mut self) -> T {
        let task = self.0.as_mut().expect("it is only taken at its end");
        let end = task.await;
        self.0 = None;
        end
    }
}

impl<T> Drop for Detached<T> {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.detach();
        }
    }
}

/// Reads the whole body, up to the limit for one request.
async fn collect(
    client: &Client,
    mut body: RequestBody,
    held: &mut HeldBytes,
) -> Result<Vec<u8>, Problem> {
    let limits = &client.server.config.limits;
    let too_large = || {
        let text = format!(
            "a request has at most {} bytes in {} lines; PUT a file instead",
            limits.post_bytes_max, limits.post_lines_max
        );
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge, text)
    };
    let is_within = |bytes: u64| bytes <= limits.post_bytes_max;
    if !body.length().is_none_or(is_within) {
        return Err(too_large());
    }
    let mut text = Vec::new();
    let mut lines = 0;
    // The offset at which the current, unfinished line begins.
    let mut begun = 0;
    while let Some(data) = body.next().await {
        let data = data.map_err(|broken| {
            let (status, code) = match broken {
                BodyError::TimedOut => (StatusCode::REQUEST_TIMEOUT, Code::Idle),
                BodyError::Aborted => (StatusCode::BAD_REQUEST, Code::Incomplete),
            };
            let text = "the request is incomplete; nothing of it was sent";
            Problem::new(status, code, text)
        })?;
        held.add(data.len())?;
        text.extend_from_slice(&data);
        // In UTF-16, the end of a line is known only after the text has been decoded.
        if utf16(&text).is_none() {
            while let Some(end) = text.get(begun..).and_then(|rest| memchr(b'\n', rest)) {
                lines += usize::from(message(text.get(begun..begun + end)).is_some());
                begun += end + 1;
            }
        }
        if !is_within(text.len() as u64) || lines > limits.post_lines_max {
            return Err(too_large());
        }
    }
    let text = decode(text)?;
    let lines = messages(&text).count();
    if lines > limits.post_lines_max {
        return Err(too_large());
    }
    if lines == 0 {
        return Err(bad("the body is empty; there is nothing to post"));
    }
    held.add(lines * REPLY_BYTES)?;
    Ok(text)
}

/// Returns the function that decodes a code unit of `text`, if a byte order mark shows that the text is UTF-16.
fn utf16(text: &[u8]) -> Option<fn([u8; 2]) -> u16> {
    match text {
        [0xff, 0xfe, ..] => Some(u16::from_le_bytes),
        [0xfe, 0xff, ..] => Some(u16::from_be_bytes),
        _ => None,
    }
}

/// Converts a body to UTF-8 without a byte order mark. Programs on Windows write UTF-16, and byte order marks in both
/// encodings.
///
/// # Errors
/// `not-utf8` if the body is malformed UTF-16 or contains NULs, because then no line of it could be sent as it was
/// meant.
fn decode(mut text: Vec<u8>) -> Result<Vec<u8>, Problem> {
    let refuse = |why| Problem::new(StatusCode::BAD_REQUEST, Code::NotUtf8, why);
    if let Some(unit) = utf16(&text) {
        let (pairs, rest) = text.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().skip(1).copied().map(unit).collect();
        let decoded = String::from_utf16(&units).ok().filter(|_| rest.is_empty());
        let broken = || refuse("the body begins like UTF-16, but is not valid UTF-16; send UTF-8");
        text = decoded.ok_or_else(broken)?.into_bytes();
    } else if text.starts_with(b"\xef\xbb\xbf") {
        text.drain(..3);
    }
    if has_nul(&text) {
        return Err(refuse(HAS_NUL));
    }
    Ok(text)
}

/// Returns the text of each line of a body, without the empty lines.
fn messages(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| *b == b'\n')
        .filter_map(|line| message(Some(line)))
}

/// Returns a body without the empty lines before and after its text.
fn without_blank_ends(text: &[u8]) -> &[u8] {
    let is_blank = |line: &&[u8]| line.iter().all(|b| matches!(b, b'\n' | b'\r' | b' '));
    let lines = || text.split_inclusive(|b| *b == b'\n');
    let before: usize = lines().take_while(is_blank).map(<[u8]>::len).sum();
    let after: usize = lines().rev().take_while(is_blank).map(<[u8]>::len).sum();
    text.get(before..text.len() - after).unwrap_or_default()
}

/// Returns the text of a line; `None` for an empty one.
fn message(line: Option<&[u8]>) -> Option<&[u8]> {
    let line = line?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    (!line.iter().all(|b| *b == b' ')).then_some(line)
}

/// Sends a body, and then leaves. A line that looks like a command is a message too.
async fn send(to: &InternalClient, sending: Sending) {
    match sending {
        Sending::Whole(request, bytes) => {
            to.send(request).await;
            if !bytes.is_empty() {
                let _ = to.send_bytes(bytes).await; // the reply says why
            }
        }
        Sending::Lines(text) => {
            for line in messages(&text) {
                to.send(Request::message(line)).await;
            }
        }
    }
    to.send(Ok(Request::Bye { text: "".into() })).await;
}

/// Returns the replies as lines or as a JSON array, and the status, which is that of the first refusal if there is
/// one.
async fn answers(to: &InternalClient, is_json: bool) -> (StatusCode, Vec<u8>) {
    let mut body = Vec::new();
    let write = |delivery: &Delivery, body: &mut Vec<u8>| {
        if is_json {
            body.push(if body.is_empty() { b'[' } else { b',' });
            let object = format::object(delivery).unwrap_or_default();
            body.extend_from_slice(object.to_string().as_bytes());
        } else {
            delivery.write_line(body);
            body.push(b'\n');
        }
    };
    let mut status = None;
    while let Some(delivery) = to.next_or_end().await {
        match &delivery {
            Delivery::Reply(reply) if reply.verb == Verb::Bye => break,
            Delivery::Reply(_) => write(&delivery, &mut body),
            Delivery::Refused(Refusal { code, .. }) | Delivery::Closed { code, .. } => {
                write(&delivery, &mut body);
                status.get_or_insert(reply::status(*code));
            }
            _ => {}
        }
    }
    if body.is_empty() {
        let code = Code::ShuttingDown;
        let text = reply::STOPPING.into();
        write(&Delivery::Closed { code, text }, &mut body);
        status = Some(reply::status(code));
    }
    if is_json {
        body.extend_from_slice(b"]\n");
    }
    (status.unwrap_or(StatusCode::OK), body)
}

/// Creates a reply. Its bytes count as held until the client has received them.
fn held_reply(status: StatusCode, kind: &'static str, body: Vec<u8>, held: HeldBytes) -> Reply {
    let length = body.len();
    let state = (Bytes::from(body), held);
    let pieces = stream::unfold(state, |(mut rest, held)| {
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        let next = (!piece.is_empty()).then(|| {
            let frame: io::Result<_> = Ok(Frame::data(piece));
            (frame, (rest, held))
        });
        std::future::ready(next)
    });
    let body = BodyExt::boxed_unsync(StreamBody::new(pieces));
    let mut reply = reply::with_body(status, kind, body);
    reply::set_length(&mut reply, length);
    reply
}
