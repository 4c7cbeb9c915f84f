//! Files over HTTP: uploads into a room, and downloads by number, whole or in part.

use std::fmt::Write;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use futures_lite::{future, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::StatusCode;
use hyper::body::Frame;
use hyper::header::{
    ACCEPT_RANGES, AUTHORIZATION, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_SECURITY_POLICY, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use smol::unblock;
use tracing::warn;

use super::internal::InternalClient;
use super::login;
use super::query::{self, Query, Recipient};
use super::reply::{self, Body, Problem, Reply};
use super::{Client, HttpRequest};
use crate::dialect::{Delivery, ReplyFields};
use crate::log::Location;
use crate::model::{FileContents, NewFile};
use crate::protocol::{Code, Digest, EventId, Request};
use crate::server::descriptors::{self, OpenFile};
use crate::server::drop_on_pool::DropOnPool;
use crate::server::exchange;
use crate::server::memory::Pieces;
use crate::server::transfer;

/// The characters that are escaped in RFC 8187 names and in URLs.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The content security policy of a file, in case a browser opens it anyway: the file may do nothing.
const POLICY: &str = "sandbox; default-src 'none'";

/// The image types that browsers show and do not save. No browser runs code in them.
const IMAGE_TYPES: [(&str, &str); 5] = [
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
];

/// `PUT /rooms/<room or @nick>/files/<name>`: stores the body as a file and announces it.
pub async fn put(
    client: &Client,
    part: &str,
    name: &str,
    request: HttpRequest,
) -> Result<Reply, Problem> {
    let recipient = query::recipient(part)?;
    let name = query::decode(name)?;
    let length = request.body().length();
    let most = client.server.config.limits.upload_bytes_max;
    if length.is_some_and(|length| length > most) {
        let text = format!("this server accepts files of at most {most} bytes");
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Code::TooLarge,
            text,
        ));
    }
    let query = Query::of(request.uri(), &["sha256"])?;
    let digest = query.get("sha256");
    if digest.is_some() && length.is_none() {
        let text = "sha256 needs a Content-Length, since a file without one is announced before all of it has arrived";
        return Err(Problem::new(
            StatusCode::LENGTH_REQUIRED,
            Code::BadSyntax,
            text,
        ));
    }
    let bad_digest = || {
        let text = "sha256 is 64 hexadecimal digits";
        Problem::new(StatusCode::BAD_REQUEST, Code::BadSyntax, text)
    };
    let digest = digest.map(|digest| Digest::parse(digest).ok_or_else(bad_digest));
    let digest = digest.transpose()?;
    let tags = query::tags(request.headers())?;
    if tags.nonce().is_some() && length.is_none() {
        let text = "Idempotency-Key needs a Content-Length, since a file without one is announced before all of it has arrived";
        return Err(Problem::new(
            StatusCode::LENGTH_REQUIRED,
            Code::BadSyntax,
            text,
        ));
    }
    let (room, nick) = match recipient {
        Recipient::Room(room) => (Some(room), None),
        Recipient::Nick(nick) => (None, Some(nick)),
    };
    let to = login::sender(client, room.as_ref(), request.headers()).await?;
    let upload = Request::upload(&name, length, digest, nick).with_tags(tags);
    to.send(Ok(upload)).await;
    let mut body = request.into_body();
    let sent = async {
        loop {
            match body.next().await {
                None => return to.finish(),
                Some(Err(_)) => return to.cut(),
                Some(Ok(data)) => {
                    if to.send_bytes(data).await.is_err() {
                        return; // the upload is refused, and the reply says why
                    }
                }
            }
        }
    };
    let ((), stored) = future::zip(sent, to.reply()).await;
    let stored = stored?;
    let id = match &stored.fields {
        ReplyFields::File { id, .. } => *id,
        _ => None,
    };
    let mut line = Vec::new();
    Delivery::Reply(stored).write_line(&mut line);
    line.push(b'\n');
    let mut reply = reply::text(StatusCode::CREATED, line);
    if let Some(id) = id
        && let Ok(address) = HeaderValue::from_str(&format!("/files/{id}/{}", escape(&name)))
    {
        reply.headers_mut().insert(LOCATION, address);
    }
    Ok(reply)
}

/// `GET /files/<file>/<name>`: sends a file. The number selects the file; the client saves it under the name.
pub async fn get(client: &Client, number: &str, headers: &HeaderMap) -> Result<Reply, Problem> {
    let none = || {
        let text = format!("there is no file {}", crate::protocol::text::clean(number));
        Problem::new(StatusCode::NOT_FOUND, Code::NoSuchFile, text)
    };
    let id = EventId::parse(number).ok_or_else(none)?;
    let has_password = client.server.config.password.is_some();
    // While every room is open to everyone, a client may read every file of a room without a password. If it sends a
    // password, that is checked before the file is looked up, so that the answer to a wrong one reveals no file.
    let is_known = headers.contains_key(AUTHORIZATION);
    let to = if !has_password && !is_known && client.server.state().chat.is_all_open() {
        None
    } else {
        Some(login::reader(client, headers).await?)
    };
    let log = client.server.state().log.clone();
    let file = unblock(move || log.file(id)).await;
    let file = file.map_err(|e| broken(id, &e))?;
    if let Some(to) = &to {
        // `REACTS` needs the same right as `DOWNLOAD`, but sends no bytes. That it also reads the reactions costs little,
        // because their number is limited.
        let asked = to.ask(Ok(Request::Reacts { id })).await;
        // A client that may not read the file gets the same answer as for a file that does not exist.
        asked.map_err(|problem| match problem.status {
            StatusCode::NOT_FOUND => none(),
            _ => problem,
        })?;
    } else if matches!(file, Some((Location::Inbox { .. }, _))) {
        return Err(none());
    }
    let (_, file) = file.ok_or_else(none)?;
    match (file.contents, to) {
        (Some(whole), _) => send(client, id, &file, whole, headers).await,
        (None, Some(to)) => follow(to, id, &file).await,
        (None, None) => follow(login::reader(client, headers).await?, id, &file).await,
    }
}

fn broken(id: EventId, e: &dyn std::fmt::Display) -> Problem {
    warn!("cannot read file {id}: {e}");
    let text = "the file cannot be read; the server's log has the reason";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, text)
}

async fn send(
    client: &Client,
    id: EventId,
    file: &NewFile,
    whole: FileContents,
    headers: &HeaderMap,
) -> Result<Reply, Problem> {
    let tag = format!("\"{}\"", whole.sha256);
    let word = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let mut reply = if word(IF_NONE_MATCH).is_some_and(|known| has_tag(known, &tag)) {
        reply::complete(StatusCode::NOT_MODIFIED, content_type(file), "")
    } else {
        let is_same = word(IF_RANGE).is_none_or(|known| known == tag);
        let range = word(RANGE)
            .filter(|_| is_same)
            .and_then(|range| Range::of(range, whole.length));
        let (from, to) = match range {
            None => (0, whole.length),
            Some(Range::Part(from, to)) => (from, to),
            Some(Range::Outside) => return Ok(range_not_satisfiable(whole.length)),
        };
        let held = client
            .server
            .descriptors
            .take(client.address, descriptors::DOWNLOAD);
        let held = held.ok_or_else(|| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code::Busy, transfer::BUSY)
        })?;
        let opened = exchange::open(&client.server, whole.sha256).await;
        let opened = OpenFile::new(opened.map_err(|e| broken(id, &e))?.into_inner(), held);
        let opened = DropOnPool::new(opened, client.server.pool.clone());
        let status = match range {
            None => StatusCode::OK,
            Some(_) => StatusCode::PARTIAL_CONTENT,
        };
        let body = if client.is_tls {
            file_body(opened, from, to, Pieces::reserve(&client.server.pieces))
        } else {
            client.pending_parts.body(opened, from, to - from)
        };
        let mut reply = reply::with_body(status, content_type(file), body);
        let headers = reply.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(to - from));
        if range.is_some() {
            let part = format!("bytes {from}-{}/{}", to - 1, whole.length);
            insert(headers, CONTENT_RANGE, &part);
        }
        reply
    };
    let headers = reply.headers_mut();
    insert(headers, ETAG, &tag);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // The content never changes, but the file may be deleted, so the client must revalidate it.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    set_safe_headers(headers, file);
    Ok(reply)
}

/// Sends a live file as it arrives.
async fn follow(to: InternalClient, id: EventId, file: &NewFile) -> Result<Reply, Problem> {
    let download = Request::Download {
        file: id,
        offset: 0,
    };
    to.send(Ok(download)).await;
    let pieces = stream::try_unfold(to, |to| async move {
        loop {
            // If the upload is aborted, only the end of the connection shows that to the client.
            match to.next().await.map_err(|e| io::Error::other(e.line))? {
                Delivery::Bytes(bytes) => return Ok(Some((Frame::data(bytes), to))),
                Delivery::Reply(_) => return Ok(None),
                _ => {}
            }
        }
    });
    let body = BodyExt::boxed_unsync(StreamBody::new(pieces));
    let mut reply = reply::streamed(content_type(file), body);
    set_safe_headers(reply.headers_mut(), file);
    Ok(reply)
}

/// Reads the bytes from `from` up to `to` of an open file, on threads that may block.
fn file_body(opened: DropOnPool<OpenFile>, from: u64, to: u64, space: Pieces) -> Body {
    let state = (opened, from, space);
    let pieces = stream::try_unfold(state, move |(opened, from, space)| async move {
        let wanted = space.size(Some(to - from));
        if wanted == 0 {
            return Ok(None);
        }
        let (opened, piece) = unblock(move || {
            let mut piece = vec![0; wanted];
            opened.file.read_exact_at(&mut piece, from)?;
            io::Result::Ok((opened, piece))
        })
        .await?;
        let next = from + piece.len() as u64;
        Ok(Some((
            Frame::data(Bytes::from(piece)),
            (opened, next, space),
        )))
    });
    BodyExt::boxed_unsync(StreamBody::new(pieces))
}

fn range_not_satisfiable(length: u64) -> Reply {
    let text = format!("the file has only {length} bytes");
    let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::BadSyntax, text);
    let mut reply = problem.reply();
    insert(
        reply.headers_mut(),
        CONTENT_RANGE,
        &format!("bytes */{length}"),
    );
    reply
}

/// Sets the headers that keep a browser from running what a user has uploaded.
fn set_safe_headers(headers: &mut HeaderMap, file: &NewFile) {
    let how = match image_type(file) {
        Some(_) => "inline",
        None => "attachment",
    };
    let name = file.name.as_str();
    let plain: String = name
        .chars()
        .map(|c| {
            // Non-ASCII characters are not escaped here, for `curl -OJ`, which does not know `filename*`. Other
            // clients use `filename*`.
            if matches!(c, '"' | '\\' | '%' | ';') || c.is_control() {
                '_'
            } else {
                c
            }
        })
        .collect();
    let disposition = format!(
        "{how}; filename=\"{plain}\"; filename*=UTF-8''{}",
        escape(name)
    );
    insert(headers, CONTENT_DISPOSITION, &disposition);
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
}

fn image_type(file: &NewFile) -> Option<&'static str> {
    let (_, end) = file.name.as_str().rsplit_once('.')?;
    let known = IMAGE_TYPES
        .iter()
        .find(|(known, _)| end.eq_ignore_ascii_case(known));
    known.map(|(_, kind)| *kind)
}

fn content_type(file: &NewFile) -> &'static str {
    image_type(file).unwrap_or("application/octet-stream")
}

fn escape(name: &str) -> String {
    let mut escaped = String::new();
    let _ = write!(escaped, "{}", utf8_percent_encode(name, ESCAPED));
    escaped
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(name, value);
    }
}

/// A `Range` header (RFC 9110, 14.2). A header that has several parts or cannot be parsed counts as a request for the
/// whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    /// The part from one byte up to, but not including, another.
    Part(u64, u64),
    Outside,
}

impl Range {
    fn of(value: &str, length: u64) -> Option<Self> {
        let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| text.parse().unwrap_or(u64::MAX))
        };
        let (from, to) = match (first.trim(), last.trim()) {
            ("", last) => (length.saturating_sub(number(last)?), length),
            (first, "") => (number(first)?, length),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if last < first {
                    return None;
                }
                (first, last.saturating_add(1).min(length))
            }
        };
        Some(if from < to {
            Self::Part(from, to)
        } else {
            Self::Outside
        })
    }
}

/// Returns whether `If-None-Match` (RFC 9110, 13.1.2) contains `tag`.
pub fn has_tag(known: &str, tag: &str) -> bool {
    known.split(',').any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: Option<Range>) {
        assert_eq!(Range::of(value, 10), expected, "{value}");
    }

    #[test]
    fn ranges_are_parsed_as_the_standard_says() {
        check("bytes=0-0", Some(Range::Part(0, 1)));
        check("bytes=3-5", Some(Range::Part(3, 6)));
        check("bytes=3-", Some(Range::Part(3, 10)));
        check("bytes=-3", Some(Range::Part(7, 10)));
        check("bytes=-30", Some(Range::Part(0, 10)));
        check("bytes=9-99999999999999999999999", Some(Range::Part(9, 10)));
        check("bytes=10-", Some(Range::Outside));
        check("bytes=99999999999999999999999-", Some(Range::Outside));
        check("bytes=-0", Some(Range::Outside));
        for other in [
            "bytes=5-3",
            "bytes=1-2,4-5",
            "bytes=-",
            "bytes=a-",
            "lines=1-2",
            "bytes=+1-2",
            "",
        ] {
            check(other, None);
        }
    }
}
