//! The client protocol of NATS: bytes to values, and values to bytes.

use memchr::memchr;
use serde::{Deserialize, Serialize};

use super::error::{Error, Malformed};
use super::headers::{Headers, Status};

/// The maximum size of a line from a server in bytes, with its line end, except for `INFO`.
pub const LINE_BYTES_MAX: usize = 4 << 10;

/// The maximum size of an `INFO` line in bytes.
pub const INFO_BYTES_MAX: usize = 64 << 10;

/// The maximum size of a message, which is its headers and its payload, in bytes, whatever the server allows.
pub const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// A message may exceed the maximum size of the server by this number of bytes. A stream that publishes a message again
/// adds headers to it.
const ADDED_BYTES_MAX: usize = 16 << 10;

/// The memory of a buffer that is kept while there are no bytes, in bytes.
pub(super) const IDLE_BYTES: usize = 1 << 20;

/// The maximum size of a subject in bytes.
const SUBJECT_BYTES_MAX: usize = 1 << 10;

/// What a server says about itself: the `INFO` line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Info {
    /// The name of the server.
    pub server_name: String,
    /// The version, such as `2.15.1`.
    pub version: String,
    /// Whether JetStream is enabled on the server.
    pub jetstream: bool,
    /// Whether the server accepts only TLS.
    pub tls_required: bool,
    /// Whether the server accepts TLS.
    pub tls_available: bool,
    /// The maximum size of a message in bytes.
    pub max_payload: usize,
}

/// A message from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The subject.
    pub subject: String,
    /// The number of the subscription that the message is for.
    pub subscription: u64,
    /// Where an answer is expected.
    pub reply: Option<String>,
    /// The status, in a message of the server itself.
    pub status: Option<Status>,
    /// The headers.
    pub headers: Headers,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Message {
    /// Returns the message, unless it says that nobody answers requests with this subject.
    pub(super) fn unless_unanswered(self) -> Result<Self, Error> {
        match &self.status {
            Some(status) if status.code == 503 => Err(Error::NoResponders),
            _ => Ok(self),
        }
    }
}

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// `INFO`.
    Info(Box<Info>),
    /// `MSG` or `HMSG`.
    Message(Message),
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `+OK`.
    Ok,
    /// `-ERR`, with the text without quotation marks.
    Err(String),
}

/// Finds frames in the bytes that a server sends, wherever they are split.
#[derive(Debug)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// The bytes before this position have been decoded.
    start: usize,
    /// The message whose line has been decoded, but whose headers and payload have not.
    head: Option<Head>,
    message_bytes_max: usize,
}

/// The line of a message.
#[derive(Debug)]
struct Head {
    subject: String,
    subscription: u64,
    reply: Option<String>,
    headers_bytes: usize,
    /// The size of the headers and the payload in bytes.
    bytes: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            head: None,
            message_bytes_max: MESSAGE_BYTES_MAX,
        }
    }
}

impl Decoder {
    /// Returns whether there are no bytes that have not been decoded.
    pub fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Appends bytes that have been received.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        if self.bytes.is_empty() {
            self.bytes.shrink_to(IDLE_BYTES);
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next frame; returns `None` if more bytes are needed.
    ///
    /// # Errors
    /// When the bytes are not the protocol of NATS, or a limit is exceeded.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Malformed> {
        if self.head.is_none() {
            let rest = &self.bytes[self.start..];
            let is_info = rest.get(..4).is_some_and(|verb| is_verb(verb, "INFO"));
            let most = if is_info {
                INFO_BYTES_MAX
            } else {
                LINE_BYTES_MAX
            };
            let Some(end) = memchr(b'\n', &rest[..rest.len().min(most)]) else {
                let is_long = rest.len() >= most;
                return if is_long {
                    Err(Malformed::LongLine)
                } else {
                    Ok(None)
                };
            };
            let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
            let line = Line::parse(line)?;
            self.start += end + 1;
            match line {
                Line::Head(head) if head.bytes > self.message_bytes_max => {
                    return Err(Malformed::LargeMessage);
                }
                Line::Head(head) => self.head = Some(head),
                Line::Frame(frame) => {
                    if let Frame::Info(info) = &frame {
                        let most = info.max_payload.saturating_add(ADDED_BYTES_MAX);
                        self.message_bytes_max = most.min(MESSAGE_BYTES_MAX);
                    }
                    return Ok(Some(frame));
                }
            }
        }
        let bytes = self.head.as_ref().map_or(0, |head| head.bytes);
        let Some(body) = self.bytes[self.start..].get(..bytes + 2) else {
            return Ok(None);
        };
        let Some((head, body)) = self.head.take().zip(body.strip_suffix(b"\r\n")) else {
            return Err(Malformed::Wrong("end of a message"));
        };
        self.start += bytes + 2;
        let (headers, payload) = body.split_at(head.headers_bytes);
        let (status, headers) = match headers {
            [] => (None, Headers::new()),
            headers => Headers::parse(headers)?,
        };
        Ok(Some(Frame::Message(Message {
            subject: head.subject,
            subscription: head.subscription,
            reply: head.reply,
            status,
            headers,
            payload: payload.to_vec(),
        })))
    }
}

/// A line of a server.
enum Line {
    Frame(Frame),
    Head(Head),
}

impl Line {
    fn parse(line: &[u8]) -> Result<Self, Malformed> {
        let line = std::str::from_utf8(line).map_err(|_| Malformed::Wrong("line"))?;
        let (verb, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let is = |name: &str| is_verb(verb.as_bytes(), name);
        let frame = match verb {
            _ if is("MSG") => return Ok(Self::Head(Head::parse(rest, false)?)),
            _ if is("HMSG") => return Ok(Self::Head(Head::parse(rest, true)?)),
            _ if is("INFO") => {
                let info = serde_json::from_str(rest);
                Frame::Info(info.map_err(|_| Malformed::Wrong("INFO"))?)
            }
            _ if is("PING") => Frame::Ping,
            _ if is("PONG") => Frame::Pong,
            _ if is("+OK") => Frame::Ok,
            _ if is("-ERR") => Frame::Err(rest.trim().trim_matches('\'').to_owned()),
            _ => return Err(Malformed::Wrong("verb")),
        };
        Ok(Self::Frame(frame))
    }
}

fn is_verb(bytes: &[u8], verb: &str) -> bool {
    bytes.eq_ignore_ascii_case(verb.as_bytes())
}

impl Head {
    /// Parses `subject subscription [reply] [bytes of headers] bytes`.
    fn parse(line: &str, has_headers: bool) -> Result<Self, Malformed> {
        let wrong = Malformed::Wrong("line of a message");
        let mut words = line.split_ascii_whitespace();
        let mut numbers = || {
            let number = words.next_back()?;
            let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
            number.parse().ok().filter(|_| is_number)
        };
        let bytes: usize = numbers().ok_or(wrong)?;
        let headers_bytes = if has_headers {
            numbers().ok_or(wrong)?
        } else {
            0
        };
        let subject = words.next().ok_or(wrong)?.to_owned();
        let subscription = words.next().and_then(|word| word.parse().ok());
        let head = Self {
            subject,
            subscription: subscription.ok_or(wrong)?,
            reply: words.next().map(str::to_owned),
            headers_bytes,
            bytes,
        };
        let is_right = words.next().is_none() && headers_bytes <= bytes;
        is_right.then_some(head).ok_or(wrong)
    }
}

/// The `CONNECT` line: who the client is. Without a name and a password, or a token, the server must admit anybody.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Connect<'a> {
    pub(super) verbose: bool,
    pub(super) pedantic: bool,
    pub(super) headers: bool,
    pub(super) no_responders: bool,
    pub(super) lang: &'static str,
    pub(super) version: &'static str,
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pass: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auth_token: Option<&'a str>,
}

impl Connect<'_> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let json = serde_json::to_string(self).unwrap_or_default();
        out.extend_from_slice(format!("CONNECT {json}\r\n").as_bytes());
    }
}

pub(super) const PING: &[u8] = b"PING\r\n";
pub(super) const PONG: &[u8] = b"PONG\r\n";

/// Appends `PUB`, or `HPUB` if there are headers, to `out`.
///
/// # Errors
/// [`Error::Invalid`] if a subject is invalid. Nothing is appended.
pub fn encode_publish(
    out: &mut Vec<u8>,
    subject: &str,
    reply: Option<&str>,
    headers: &Headers,
    payload: &[u8],
) -> Result<(), Error> {
    check_subject(subject)?;
    let reply = match reply {
        Some(reply) => format!(" {}", check_subject(reply)?),
        None => String::new(),
    };
    if headers.is_empty() {
        let line = format!("PUB {subject}{reply} {}\r\n", payload.len());
        out.extend_from_slice(line.as_bytes());
    } else {
        let mut block = Vec::new();
        headers.encode(&mut block);
        let (size, all) = (block.len(), block.len() + payload.len());
        out.extend_from_slice(format!("HPUB {subject}{reply} {size} {all}\r\n").as_bytes());
        out.extend_from_slice(&block);
    }
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Appends `SUB` to `out`. `subscription` is a number of the client's choice.
///
/// # Errors
/// [`Error::Invalid`] if the subject is invalid. Nothing is appended.
pub fn encode_subscribe(out: &mut Vec<u8>, subject: &str, subscription: u64) -> Result<(), Error> {
    let subject = check_subject(subject)?;
    out.extend_from_slice(format!("SUB {subject} {subscription}\r\n").as_bytes());
    Ok(())
}

/// Appends `UNSUB` to `out`.
pub fn encode_unsubscribe(out: &mut Vec<u8>, subscription: u64) {
    out.extend_from_slice(format!("UNSUB {subscription}\r\n").as_bytes());
}

fn check_subject(subject: &str) -> Result<&str, Error> {
    let is_short = (1..=SUBJECT_BYTES_MAX).contains(&subject.len());
    let is_odd = |c: char| c.is_whitespace() || c.is_control();
    if !is_short || subject.contains(is_odd) {
        return Err(Error::Invalid("a subject"));
    }
    Ok(subject)
}
