//! Reads messages of a stream that were missed.

use std::time::{Duration, Instant};

use async_io::Timer;
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::handle::Subscription;
use super::headers::Headers;
use super::jetstream::{ANSWER_WITHIN, JetStream, check_name};
use super::stored::{Place, Stored};

/// The maximum number of messages that are asked for at once.
const ASKED_MAX: u64 = 256;

/// The maximum size of the messages that are asked for at once in bytes. A larger message cannot be read.
pub const ASKED_BYTES_MAX: usize = 4 << 20;

/// The maximum time until a message that was asked for comes.
pub const MESSAGE_WITHIN: Duration = Duration::from_secs(2);

/// The time after which a consumer that is not known yet is asked again.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a server keeps a consumer that nobody uses, in nanoseconds.
const UNUSED_NS: u64 = 30_000_000_000;

/// Reads the messages of a stream from one sequence number to another, in order and without a gap. Asks for a few
/// messages at a time, so a slow reader is never overrun. The server needs a consumer for that, in memory; it is
/// deleted when this value is dropped.
#[derive(Debug)]
pub struct CatchUp {
    jetstream: JetStream,
    stream: String,
    /// The sequence number of the next message.
    next: u64,
    /// The sequence number of the last message.
    to: u64,
    consumer: Option<Consumer>,
}

/// A consumer on the server.
#[derive(Debug)]
struct Consumer {
    jetstream: JetStream,
    /// The stream and the consumer, as subjects name them.
    name: String,
    /// The beginning of the subjects for answers. Each request has its own, so that what a server says about an earlier
    /// request is recognized.
    inbox: String,
    requests: u64,
    messages: Subscription,
    created_at: Instant,
    /// The number of messages that it has delivered.
    delivered: u64,
    /// The number of messages that were asked for but have not come.
    wanted: u64,
    /// Whether a message has come since messages were asked for.
    has_come: bool,
}

/// The settings of a consumer as JetStream writes them.
#[derive(Serialize)]
struct NewConsumer<'a> {
    stream_name: &'a str,
    config: Config,
}

#[derive(Serialize)]
struct Config {
    deliver_policy: &'static str,
    opt_start_seq: u64,
    ack_policy: &'static str,
    replay_policy: &'static str,
    mem_storage: bool,
    num_replicas: u32,
    /// In nanoseconds.
    inactive_threshold: u64,
}

#[derive(Deserialize)]
struct Created {
    name: String,
}

#[derive(Serialize)]
struct Ask {
    batch: u64,
    max_bytes: usize,
    no_wait: bool,
}

impl JetStream {
    /// Returns a reader of the messages of a stream from the sequence number `from` up to `to`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if this cannot be the name of a stream.
    pub fn catch_up(&self, stream: &str, from: u64, to: u64) -> Result<CatchUp, Error> {
        check_name(stream)?;
        Ok(CatchUp {
            jetstream: self.clone(),
            stream: stream.to_owned(),
            next: from.max(1),
            to,
            consumer: None,
        })
    }
}

impl CatchUp {
    /// Returns the next message, or `None` after the last one. If the stream has fewer messages, `None` comes after the
    /// last one that it has. A stream that has no messages at all may have dropped them
    /// ([`StreamState::first`](super::jetstream::StreamState::first)).
    ///
    /// # Errors
    /// [`Error::Expired`] if the stream has dropped the message; [`Error::TimedOut`] and [`Error::NoResponders`] if the
    /// stream has no leader or a server hangs; [`Error::Refused`]; [`Error::Malformed`]; [`Error::Busy`]; and
    /// [`Error::Closed`]. After an error, or when the future was dropped, this can be called again. Then it continues
    /// after the last message that it has returned.
    pub async fn next(&mut self) -> Result<Option<Stored>, Error> {
        if self.next > self.to {
            self.consumer = None;
            return Ok(None);
        }
        // If anything fails or the future is dropped, a new consumer is needed.
        let mut consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => Consumer::new(&self.jetstream, &self.stream, self.next).await?,
        };
        let Some((stored, pending)) = consumer.next(self.to - self.next + 1).await? else {
            return Ok(None);
        };
        if stored.sequence < self.next {
            return Err(Error::Malformed("order of messages"));
        }
        if stored.sequence > self.next {
            return Err(Error::Expired(stored.sequence));
        }
        self.next += 1;
        if pending == 0 {
            self.to = self.to.min(stored.sequence);
        }
        self.consumer = Some(consumer);
        Ok(Some(stored))
    }
}

impl Consumer {
    async fn new(jetstream: &JetStream, stream: &str, from: u64) -> Result<Self, Error> {
        let consumer = NewConsumer {
            stream_name: stream,
            config: Config {
                deliver_policy: "by_start_sequence",
                opt_start_seq: from,
                ack_policy: "none",
                replay_policy: "instant",
                mem_storage: true,
                num_replicas: 1,
                inactive_threshold: UNUSED_NS,
            },
        };
        let body = serde_json::to_vec(&consumer).map_err(|_| Error::Invalid("settings"))?;
        let subject = format!("CONSUMER.CREATE.{stream}");
        let created: Created = jetstream.call(&subject, &body, ANSWER_WITHIN).await?;
        check_name(&created.name).map_err(|_| Error::Malformed("answer"))?;
        let inbox = jetstream.handle().new_inbox();
        Ok(Self {
            jetstream: jetstream.clone(),
            name: format!("{stream}.{}", created.name),
            messages: jetstream.handle().subscribe(&format!("{inbox}.*"))?,
            inbox,
            requests: 0,
            created_at: Instant::now(),
            delivered: 0,
            wanted: 0,
            has_come: false,
        })
    }

    /// Sends a request to the server, without waiting for an answer.
    fn call(&self, what: &str, reply: Option<&str>, body: &[u8]) -> Result<(), Error> {
        let subject = format!("$JS.API.CONSUMER.{what}.{}", self.name);
        let handle = self.jetstream.handle();
        handle.publish(&subject, reply, &Headers::new(), body)
    }

    /// Returns the next message, and how many the stream has after it; `None` if the stream has no more. `left` is the
    /// number of messages that the reader wants.
    async fn next(&mut self, left: u64) -> Result<Option<(Stored, u64)>, Error> {
        loop {
            if self.wanted == 0 {
                self.wanted = left.min(ASKED_MAX);
                self.has_come = false;
                self.requests += 1;
                let ask = Ask {
                    batch: self.wanted,
                    max_bytes: ASKED_BYTES_MAX,
                    no_wait: true,
                };
                let body = serde_json::to_vec(&ask).map_err(|_| Error::Invalid("request"))?;
                let reply = format!("{}.{}", self.inbox, self.requests);
                self.call("MSG.NEXT", Some(&reply), &body)?;
            }
            let message = self.messages.next_within(MESSAGE_WITHIN).await?;
            if let Some(status) = message.status {
                let request = message.subject.rsplit('.').next();
                let is_earlier = request.and_then(|n| n.parse().ok()) != Some(self.requests);
                match status.code {
                    100 => {}
                    _ if is_earlier => {}
                    404 if !self.has_come => return Ok(None),
                    // Perhaps the server that the client uses does not know the new consumer yet.
                    503 if self.delivered == 0 && self.created_at.elapsed() < MESSAGE_WITHIN => {
                        Timer::after(PAUSE).await;
                        self.wanted = 0;
                    }
                    503 => return Err(Error::NoResponders),
                    // The server sends no more for this request: it has sent as many bytes as it may.
                    404 | 408 | 409 if self.has_come => self.wanted = 0,
                    code => {
                        return Err(Error::Refused {
                            code: code.into(),
                            text: status.text,
                        });
                    }
                }
                continue;
            }
            let place = message.reply.as_deref().and_then(Place::parse);
            let place = place.ok_or(Error::Malformed("subject for acknowledgements"))?;
            self.delivered += 1;
            if place.delivered != self.delivered {
                return Err(Error::Malformed("order of messages"));
            }
            self.wanted -= 1;
            self.has_come = true;
            let stored = Stored {
                sequence: place.sequence,
                time_ns: place.time_ns,
                headers: message.headers,
                payload: message.payload,
            };
            return Ok(Some((stored, place.pending)));
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // If this fails, the server deletes the consumer when it has not been used for a while.
        let _ = self.call("DELETE", None, b"");
    }
}
