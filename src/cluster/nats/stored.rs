//! Messages of a stream: publishes them, and recognizes them when they come.

use jiff::Timestamp;
use serde::Deserialize;

use super::codec::Message;
use super::error::Error;
use super::handle::{Handle, Subscription};
use super::headers::Headers;
use super::jetstream::parse;

/// The headers that a stream adds when it publishes a message again.
const ADDED: [&str; 5] = [
    "Nats-Stream",
    "Nats-Subject",
    "Nats-Sequence",
    "Nats-Last-Sequence",
    "Nats-Time-Stamp",
];

/// A message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The sequence number in the stream.
    pub sequence: u64,
    /// When the stream's leader has stored it, in nanoseconds since 1970. It is the same for all readers.
    pub time_ns: u64,
    /// The headers with which it was published.
    pub headers: Headers,
    /// The payload.
    pub payload: Vec<u8>,
}

/// Where a consumer is, as the subject for the acknowledgement of a message tells it.
pub(super) struct Place {
    /// The sequence number in the stream.
    pub(super) sequence: u64,
    /// How many messages the consumer has delivered, with this one.
    pub(super) delivered: u64,
    pub(super) time_ns: u64,
    /// The number of messages after this one.
    pub(super) pending: u64,
}

impl Stored {
    /// Reads a message that the stream `stream` has published again after it has stored it.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it does not come from that stream, or if the server is too old to add the time.
    pub fn republished(mut message: Message, stream: &str) -> Result<Self, Error> {
        let headers = &message.headers;
        let malformed = Error::Malformed("republished message");
        if headers.get("Nats-Stream") != Some(stream) {
            return Err(malformed);
        }
        let number = headers.get("Nats-Sequence");
        let sequence = number.and_then(|number| number.parse().ok());
        let time = headers.get("Nats-Time-Stamp");
        let time = time.and_then(|time| time.parse::<Timestamp>().ok());
        let time = time.and_then(|time| u64::try_from(time.as_nanosecond()).ok());
        let (Some(sequence), Some(time_ns)) = (sequence, time) else {
            return Err(malformed);
        };
        message.headers.remove(&ADDED);
        Ok(Self {
            sequence,
            time_ns,
            headers: message.headers,
            payload: message.payload,
        })
    }
}

impl Place {
    /// Parses `$JS.ACK.<stream>.<consumer>.<attempts>.<sequence>.<delivered>.<time>.<pending>`. Newer servers may put the
    /// domain and the account before the stream, and more at the end.
    pub(super) fn parse(reply: &str) -> Option<Self> {
        let words: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let words = match words.len() {
            7 => &words[..],
            9.. => &words[2..],
            _ => return None,
        };
        Some(Self {
            sequence: words[3].parse().ok()?,
            delivered: words[4].parse().ok()?,
            time_ns: words[5].parse().ok()?,
            pending: words[6].parse().ok()?,
        })
    }
}

/// Publishes messages to a stream, and learns what became of them.
#[derive(Debug)]
pub struct Writer {
    handle: Handle,
    subject: String,
    inbox: String,
    answers: Subscription,
}

#[derive(Deserialize)]
struct Ack {
    seq: u64,
}

impl Writer {
    /// Returns a writer to the stream that listens on `subject`.
    ///
    /// # Errors
    /// Those of [`Handle::subscribe`].
    pub fn new(handle: Handle, subject: &str) -> Result<Self, Error> {
        let inbox = handle.new_inbox();
        let answers = handle.subscribe(&inbox)?;
        Ok(Self {
            handle,
            subject: subject.to_owned(),
            inbox,
            answers,
        })
    }

    /// Sends a message. It is in the stream only when it is read there.
    ///
    /// # Errors
    /// Those of [`Handle::publish`].
    pub fn publish(&self, headers: &Headers, payload: &[u8]) -> Result<(), Error> {
        let reply = Some(self.inbox.as_str());
        self.handle.publish(&self.subject, reply, headers, payload)
    }

    /// Waits for the next answer to a message, and returns the sequence number of the message. A message may be lost
    /// without an answer. The future may be dropped at any time.
    ///
    /// # Errors
    /// [`Error::Refused`] if the stream refuses a message, for example because it is too large; [`Error::NoResponders`]
    /// if there is no stream, or it has no leader; [`Error::Malformed`], and [`Error::Closed`].
    pub async fn answer(&self) -> Result<u64, Error> {
        let answer = self.answers.next().await.ok_or(Error::Closed)?;
        parse::<Ack>(&answer.unless_unanswered()?.payload).map(|ack| ack.seq)
    }
}
