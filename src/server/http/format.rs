//! The formats in which a reply lists events and rooms.

use std::io::Write;

use hyper::header::HeaderMap;
use serde_json::{Value, json};

use super::query::{Query, bad};
use super::reply::Problem;
use super::{accepts, reply};
use crate::dialect::hook::ntfy;
use crate::dialect::{Delivery, Marks, Reply, ReplyFields};
use crate::protocol::json::event_object;
use crate::protocol::{EventId, Time};

/// The format of the lines in a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines of the protocol.
    Lines(Marks),
    /// Server-sent events, each with a line of the protocol.
    Events(Marks),
    /// Server-sent events, each with a JSON object.
    JsonEvents,
    /// A JSON array.
    Array,
    /// One JSON object per line.
    Objects,
    /// Messages for a subscriber that speaks ntfy's API.
    Ntfy(NtfyForm),
}

impl Format {
    /// Returns the format that the client requests, by its `Accept` header or with the parameter `format`, which
    /// `EventSource` needs because it cannot set headers.
    ///
    /// # Errors
    /// 400 if the parameter has another value than `json`, or the parameter `tags` another one than `on`.
    pub fn of(headers: &HeaderMap, query: &Query, follows: bool) -> Result<Self, Problem> {
        let accepts = |kind| accepts(headers, kind);
        let is_json = is_json(query)?;
        let marks = marks(query)?;
        Ok(match follows {
            _ if accepts("text/event-stream") && is_json => Self::JsonEvents,
            _ if accepts("text/event-stream") => Self::Events(marks),
            true if is_json || accepts("json") => Self::Objects,
            false if is_json || accepts("json") => Self::Array,
            _ => Self::Lines(marks),
        })
    }

    /// Returns whether the client reads server-sent events.
    pub fn is_events(self) -> bool {
        matches!(self, Self::Events(_) | Self::JsonEvents)
    }

    /// Returns the value of the `Content-Type` header.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Lines(_) => reply::TEXT,
            Self::Events(_) | Self::JsonEvents => "text/event-stream",
            Self::Array => "application/json",
            Self::Objects => "application/x-ndjson",
            Self::Ntfy(form) => form.content_type(),
        }
    }

    /// Appends the beginning of a stream of `rooms`.
    pub fn write_opening(self, rooms: &str, now: Time, out: &mut Vec<u8>) {
        match self {
            // The page waits for this comment.
            Self::Events(_) | Self::JsonEvents => out.extend_from_slice(b": hello\n\n"),
            Self::Ntfy(form) => form.write_control("open", rooms, now, out),
            _ => {}
        }
    }

    /// Appends a keepalive, which shows that an idle stream of `rooms` continues.
    pub fn write_keepalive(self, rooms: &str, now: Time, out: &mut Vec<u8>) {
        match self {
            Self::Events(_) | Self::JsonEvents => out.extend_from_slice(b":\n\n"),
            // Over WebSocket, a ping is enough.
            Self::Ntfy(NtfyForm::Socket) => {}
            Self::Ntfy(form) => form.write_control("keepalive", rooms, now, out),
            _ => out.push(b'\n'),
        }
    }

    /// Appends a delivery as element number `n`, counted from 0. Returns whether this format shows it.
    pub fn write(self, delivery: &Delivery, n: usize, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Ntfy(form) => return form.write(delivery, out),
            Self::Lines(marks) => {
                delivery.write_line_with(marks, out);
                out.push(b'\n');
            }
            Self::Events(marks) => {
                write_event_id(delivery, out);
                out.extend_from_slice(b"data: ");
                delivery.write_line_with(marks, out);
                out.extend_from_slice(b"\n\n");
            }
            Self::JsonEvents => {
                let Some(object) = object(delivery) else {
                    return false;
                };
                write_event_id(delivery, out);
                let _ = write!(out, "data: {object}\n\n");
            }
            Self::Array | Self::Objects => {
                let Some(object) = object(delivery) else {
                    return false;
                };
                let (before, after) = match (self, n) {
                    (Self::Objects, _) => ("", "\n"),
                    (_, 0) => ("[", ""),
                    _ => (",\n", ""),
                };
                let _ = write!(out, "{before}{object}{after}");
            }
        }
        true
    }

    /// Returns the text that ends a body with `n` elements.
    pub fn end(self, n: usize) -> &'static str {
        match (self, n) {
            (Self::Array, 0) => "[]\n",
            (Self::Array, _) => "]\n",
            _ => "",
        }
    }
}

/// Returns whether the parameter `format` requests JSON.
///
/// # Errors
/// 400 if it requests something else.
pub fn is_json(query: &Query) -> Result<bool, Problem> {
    match query.get("format") {
        None => Ok(false),
        Some("json") => Ok(true),
        Some(_) => Err(bad("format must be json")),
    }
}

/// Returns what the lines of events contain besides their ids and times: their tags, if the parameter `tags` requests them.
///
/// # Errors
/// 400 if the parameter has another value than `on`.
fn marks(query: &Query) -> Result<Marks, Problem> {
    let tags = match query.get("tags") {
        None => false,
        Some("on") => true,
        Some(_) => return Err(bad("tags must be on")),
    };
    Ok(Marks {
        tags,
        ..Marks::default()
    })
}

/// Appends the id of a server-sent event, which `EventSource` sends back when it reconnects.
fn write_event_id(delivery: &Delivery, out: &mut Vec<u8>) {
    if let Delivery::Past(record) | Delivery::Live(record) = delivery
        && let Some(id) = record.id
    {
        let _ = writeln!(out, "id: {id}");
    }
}

/// The form in which a subscriber that speaks ntfy's API receives messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NtfyForm {
    /// A JSON object per line.
    Json,
    /// A JSON object per message of WebSocket.
    Socket,
    /// Server-sent events.
    Sse,
    /// The text, as one line.
    Raw,
}

impl NtfyForm {
    /// Returns the value of the `Content-Type` header.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json | Self::Socket => "application/x-ndjson; charset=utf-8",
            Self::Sse => "text/event-stream; charset=utf-8",
            Self::Raw => reply::TEXT,
        }
    }

    /// Appends a delivery. Returns whether a subscriber receives it.
    pub fn write(self, delivery: &Delivery, out: &mut Vec<u8>) -> bool {
        let (Delivery::Past(record) | Delivery::Live(record)) = delivery else {
            return false;
        };
        let message = ntfy::message(record.id, record.time, &record.tags, &record.event);
        if let Some(message) = &message {
            self.write_object(message, out);
        }
        message.is_some()
    }

    /// Appends `open` or `keepalive`.
    fn write_control(self, event: &str, rooms: &str, now: Time, out: &mut Vec<u8>) {
        self.write_object(&ntfy::control(event, &rooms.replace('#', ""), now), out);
    }

    fn write_object(self, object: &Value, out: &mut Vec<u8>) {
        let event = object["event"].as_str().unwrap_or_default();
        let _ = match self {
            Self::Json | Self::Socket => writeln!(out, "{object}"),
            Self::Sse if event == "message" => write!(out, "data: {object}\n\n"),
            Self::Sse => write!(out, "event: {event}\ndata: {object}\n\n"),
            Self::Raw => {
                let text = object["message"].as_str().unwrap_or_default();
                writeln!(out, "{}", text.replace('\n', " "))
            }
        };
    }
}

/// Returns a delivery as a JSON object whose members are those of the protocol. Returns `None` for a delivery that
/// has no meaning outside of its connection.
pub fn object(delivery: &Delivery) -> Option<Value> {
    Some(match delivery {
        Delivery::Past(record) | Delivery::Live(record) => {
            event_object(record.id, Some(record.time), &record.tags, &record.event)
        }
        Delivery::Room {
            name,
            members,
            topic,
        } => json!({"verb": "ROOM", "room": name, "members": members, "topic": topic}),
        Delivery::Gap(of) => json!({"verb": "GAP", "room": of}),
        Delivery::Refused(refusal) => {
            let of = refusal.verb.map_or("-", |verb| verb.word());
            json!({"verb": "ERR", "of": of, "code": refusal.code.word(), "text": refusal.text})
        }
        Delivery::Closed { code, text } => {
            json!({"verb": "CLOSED", "code": code.word(), "text": text})
        }
        Delivery::Reply(reply) => reply_object(reply),
        Delivery::Removed | Delivery::Bytes(_) => return None,
    })
}

/// Returns the members for a stored message (id and time) or file (id, length and digest).
fn reply_object(reply: &Reply) -> Value {
    let of = reply.verb.word();
    match &reply.fields {
        ReplyFields::Text(text) => json!({"verb": "OK", "of": of, "text": text}),
        ReplyFields::Message(id, time) => {
            json!({"verb": "OK", "of": of, "id": id.map(EventId::get), "time": time.to_string()})
        }
        ReplyFields::Lines(id, time, lines) => json!({
            "verb": "OK",
            "of": of,
            "id": id.map(EventId::get),
            "time": time.to_string(),
            "lines": lines,
        }),
        ReplyFields::File { id, length, sha256 } => json!({
            "verb": "OK",
            "of": of,
            "file": id.map(EventId::get),
            "length": length,
            "sha256": sha256.to_string(),
        }),
        ReplyFields::Found { count, is_cut } => {
            json!({"verb": "OK", "of": of, "count": count, "cut": is_cut})
        }
    }
}
