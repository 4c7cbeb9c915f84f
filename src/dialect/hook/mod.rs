//! Reads what tools post to a hook, and returns the messages to send; see `hooks.md`. It reads the formats of Slack,
//! Mattermost, Discord, Gotify, Apprise, Alertmanager and Grafana, as JSON or as a form.
//!
//! This module is pure. All its functions take time in proportion to the length of the body, which the caller bounds.

mod alerts;
pub mod ntfy;
mod slack;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::protocol::human::plural;
use crate::protocol::multiline::{Multiline, TEXT_BYTES_MAX, TEXT_LINE_BYTES_MAX, TEXT_LINES_MAX};
use crate::protocol::tags::{self, SentTags};
use crate::protocol::text::clean;

/// A message that is made from a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The message's text.
    pub text: Multiline,
    /// The message's tags as they are sent, without the `@`.
    pub tags: String,
    /// The alert that the message is about.
    pub alert: Option<Alert>,
    /// A text that is the same if the message is posted again; `None` if a repeated post cannot be recognized.
    pub identity: Option<String>,
}

/// An alert that has fired or has been resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The alert's identity, which is the same in all messages about the alert.
    pub fingerprint: String,
    /// Whether the alert has been resolved.
    pub is_resolved: bool,
}

/// The reason why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBody {
    /// The body is neither JSON nor a form.
    Malformed,
    /// The body has no text.
    NoText,
}

/// A message that an application posts to a Gotify server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The message to send.
    pub message: Message,
    /// The title, as it was posted.
    pub title: String,
    /// The text below the title.
    pub body: String,
    /// The priority, from 0 to 10.
    pub priority: i64,
}

impl Message {
    /// Creates a message with the tag `notice` and the tags `own_tags`.
    fn new(text: &str, own_tags: &[(&str, &str)]) -> Result<Self, BadBody> {
        let mut all = "notice".to_owned();
        for (name, value) in own_tags {
            tags::push(&mut all, name, value);
        }
        let text = Multiline::parse(bounded(text).as_bytes());
        Ok(Self {
            text: text.map_err(|_| BadBody::NoText)?,
            tags: all,
            alert: None,
            identity: None,
        })
    }

    /// Returns the message's tags.
    pub fn sent_tags(&self) -> SentTags {
        SentTags::parse(&self.tags).unwrap_or_else(|_| SentTags::notice())
    }
}

/// Reads the body of a post to a hook. Returns at least one message.
///
/// # Errors
/// When the body has no text, or its format is unknown.
///
/// ```
/// use plainchat::dialect::hook::read;
/// let read = |body: &str| read(body.as_bytes()).map(|all| all[0].text.as_str().to_owned());
/// assert_eq!(read(r#"{"text": "<https://ci.example/7|build 7> &gt; 6"}"#).unwrap(), "build 7 (https://ci.example/7) > 6");
/// assert_eq!(read("payload=%7B%22text%22%3A%22done%22%7D").unwrap(), "done");
/// assert!(read("done").is_err());
/// ```
pub fn read(body: &[u8]) -> Result<Vec<Message>, BadBody> {
    let fields = match Fields::of(body)? {
        Fields::Json(object) => object,
        Fields::Form(mut form) => match form.remove("payload") {
            Some(Value::String(payload)) => parse(payload.as_bytes())?,
            _ => return Message::new(&titled(&form, &["text", "message"]), &[]).map(only),
        },
    };
    if let Some(alerts) = fields.get("alerts").and_then(Value::as_array) {
        return alerts::messages(&fields, alerts);
    }
    let text = [slack::text(&fields), slack::discord(&fields)];
    let text = text.into_iter().find(|text| !is_blank(text));
    let text = text.unwrap_or_else(|| titled(&fields, &["message"]));
    Message::new(&text, &[]).map(only)
}

/// Reads the body that a Gotify client posts.
///
/// # Errors
/// When the body contains no message.
pub fn read_push(body: &[u8]) -> Result<Push, BadBody> {
    let (Fields::Json(fields) | Fields::Form(fields)) = Fields::of(body)?;
    let body = string(fields.get("message"));
    if is_blank(&body) {
        return Err(BadBody::NoText);
    }
    let priority = match fields.get("priority") {
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(number)) => number.trim().parse().ok(),
        _ => None,
    };
    let shown = priority.map(|priority| priority.to_string());
    let own = shown.iter().map(|shown| ("x-priority", shown.as_str()));
    let own: Vec<_> = own.collect();
    Ok(Push {
        message: Message::new(&titled(&fields, &["message"]), &own)?,
        title: string(fields.get("title")),
        body,
        priority: priority.unwrap_or_default(),
    })
}

fn only(message: Message) -> Vec<Message> {
    vec![message]
}

/// The fields of a body.
enum Fields {
    Json(Map<String, Value>),
    Form(Map<String, Value>),
}

impl Fields {
    /// Reads a body. Detects the format from its bytes, because many tools send a wrong `Content-Type`.
    fn of(body: &[u8]) -> Result<Self, BadBody> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        if body.trim_ascii_start().starts_with(b"{") {
            return parse(body).map(Self::Json);
        }
        let text = std::str::from_utf8(body).map_err(|_| BadBody::Malformed)?;
        let form = match text.strip_prefix("--") {
            Some(_) => multipart(text),
            None => url_encoded(text),
        };
        let form = form.ok_or(BadBody::Malformed)?;
        let is_known = ["payload", "text", "message"];
        if is_known.iter().any(|name| form.contains_key(*name)) {
            Ok(Self::Form(form))
        } else {
            Err(BadBody::Malformed)
        }
    }
}

/// Reads a form in which names and values are percent-encoded.
fn url_encoded(text: &str) -> Option<Map<String, Value>> {
    let mut form = Map::new();
    for pair in text.trim_end().split('&') {
        let (name, value) = pair.split_once('=')?;
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value).decode_utf8_lossy();
        form.insert(name.to_owned(), value.into_owned().into());
    }
    Some(form)
}

/// Reads a multipart form (RFC 7578). Its first line is the separator of the parts.
fn multipart(text: &str) -> Option<Map<String, Value>> {
    let (first, rest) = text.split_once("\r\n")?;
    let separator = format!("\r\n{}", first.trim_end());
    let mut form = Map::new();
    // There is no line ending before the first part.
    let mut part = rest;
    loop {
        let (this, next) = part.split_once(&separator)?;
        let (head, value) = this.split_once("\r\n\r\n")?;
        let name = head.split_once(" name=\"")?.1.split_once('"')?.0;
        form.insert(name.to_owned(), value.into());
        match next.split_once("\r\n") {
            Some((end, after)) if end.trim_end().is_empty() => part = after,
            _ => return Some(form),
        }
    }
}

fn parse(json: &[u8]) -> Result<Map<String, Value>, BadBody> {
    serde_json::from_slice(json).map_err(|_| BadBody::Malformed)
}

/// Returns `title: text`. The text is the first of the fields `names` that is not empty. If only one of title and
/// text exists, returns that.
fn titled(fields: &Map<String, Value>, names: &[&str]) -> String {
    let title = string(fields.get("title"));
    let texts = names.iter().map(|name| string(fields.get(*name)));
    let text = texts.into_iter().find(|text| !is_blank(text));
    let text = text.unwrap_or_default();
    match (is_blank(&title), is_blank(&text)) {
        (true, _) => text,
        (false, true) => title,
        (false, false) => format!("{}: {text}", title.trim_end()),
    }
}

/// Returns a value as text. Tools also send numbers.
fn string(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
        _ => String::new(),
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// Returns a text that fits into one `TEXT`: empty lines at both ends are removed, and long lines are broken. If
/// there are too many lines, the last line says how many were left out.
fn bounded(text: &str) -> String {
    // Lines are cleaned first, because a line that contains only unsafe characters is blank.
    let lines = text.split('\n').map(clean);
    let mut lines: Vec<_> = lines.skip_while(|line| is_blank(line)).collect();
    while lines.last().is_some_and(|line| is_blank(line)) {
        lines.pop();
    }
    let pieces: Vec<&str> = lines.iter().flat_map(|line| pieces(line)).collect();
    // The rest is space for the line that says how many others there are.
    let bytes_max = usize::try_from(TEXT_BYTES_MAX).unwrap_or(usize::MAX) - 64;
    let mut out = String::new();
    for (n, piece) in pieces.iter().enumerate() {
        let is_last = n + 1 == pieces.len();
        if !is_last && n + 1 >= TEXT_LINES_MAX || out.len() + piece.len() >= bytes_max {
            let rest = plural(pieces.len() - n, "more line", "more lines");
            out.push_str(&format!("… {rest}"));
            break;
        }
        out.push_str(piece);
        out.push('\n');
    }
    out
}

/// Breaks a line into pieces that are short enough for a line of a `TEXT`. Usually there is only one piece.
fn pieces(line: &str) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), line);
    while rest.len() > TEXT_LINE_BYTES_MAX {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(TEXT_LINE_BYTES_MAX));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests;
