//! The requests to JetStream that a log needs: what streams there are, and a new one.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::handle::Handle;
use super::headers::Headers;

/// The maximum time until JetStream answers a request. During an election, which takes up to nine seconds, requests are
/// never answered, not even later. So a request that was not answered must be made again.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The maximum time until a stream is created or deleted.
pub const CREATED_WITHIN: Duration = Duration::from_secs(5);

/// The number of JetStream for the error that there is no such stream.
pub const NO_SUCH_STREAM: u32 = 10059;

/// The number of JetStream for the error that there is a stream of this name with other settings.
pub const STREAM_DIFFERS: u32 = 10058;

/// The number of JetStream for the error that too few servers can keep a stream. While servers start, it passes.
pub const NO_PEERS: u32 = 10005;

/// The number of JetStream for the error that a single server keeps nothing more than once.
pub const NOT_CLUSTERED: u32 = 10074;

/// Sends requests to the JetStream of the account with which the connection was made.
#[derive(Clone, Debug)]
pub struct JetStream(Handle);

/// The use of JetStream by an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Account {
    /// The number of streams.
    pub streams: u64,
    /// The size of all streams in files, in bytes.
    pub storage: u64,
}

/// The settings of a stream that is a log. It has one subject, is kept in files, and drops its oldest messages when it
/// exceeds a limit. Nobody can delete other messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The name: letters, digits, `-` and `_`.
    pub name: String,
    /// The subject on which the stream listens.
    pub subject: String,
    /// The subject to which the stream publishes what it has stored.
    pub republish: String,
    /// The number of servers that keep the stream: 1, 3 or 5.
    pub replicas: u32,
    /// How long a message is kept; zero for no limit.
    pub age_max: Duration,
    /// The maximum size of all messages in bytes; `None` for no limit but that of the NATS servers.
    pub bytes_max: Option<u64>,
    /// The maximum size of a message in bytes.
    pub message_bytes_max: u32,
    /// The sequence number of the first message, if it is not 1.
    pub first_sequence: Option<u64>,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Stream {
    /// The time at which it was created, in the form of RFC 3339 with nanoseconds. No other stream has the same.
    pub created: String,
    /// Its messages.
    pub state: StreamState,
    /// The servers that keep it; `None` if there is only one NATS server.
    pub cluster: Option<Replicas>,
}

/// The messages of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StreamState {
    /// The number of messages.
    pub messages: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// The sequence number of the first one. If there are none, it is that of the next one, or 0 if there never was one.
    #[serde(rename = "first_seq")]
    pub first: u64,
    /// The sequence number of the last one, even if it has been deleted.
    #[serde(rename = "last_seq")]
    pub last: u64,
}

/// The servers that keep a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Replicas {
    /// The name of the leader; `None` during an election.
    pub leader: Option<String>,
}

/// The settings of a stream as JetStream writes them.
#[derive(Serialize)]
struct Config<'a> {
    name: &'a str,
    subjects: [&'a str; 1],
    retention: &'a str,
    storage: &'a str,
    discard: &'a str,
    num_replicas: u32,
    /// In nanoseconds.
    max_age: u64,
    max_bytes: i64,
    max_msg_size: u32,
    max_msgs: i64,
    max_consumers: i64,
    deny_delete: bool,
    deny_purge: bool,
    republish: Republish<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seq: Option<u64>,
}

#[derive(Serialize)]
struct Republish<'a> {
    src: &'a str,
    dest: &'a str,
}

/// The part of an answer that says whether the request was refused.
#[derive(Deserialize)]
struct Answer {
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

/// Parses an answer of JetStream.
pub(super) fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    let malformed = |_| Error::Malformed("answer");
    let answer: Answer = serde_json::from_slice(json).map_err(malformed)?;
    if let Some(refusal) = answer.error {
        return Err(Error::Refused {
            code: refusal.err_code,
            text: refusal.description,
        });
    }
    serde_json::from_slice(json).map_err(malformed)
}

/// Checks that `name` can be a part of a subject.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let is_name = !name.is_empty() && name.chars().all(is_plain);
    is_name
        .then_some(())
        .ok_or(Error::Invalid("the name of a stream"))
}

impl JetStream {
    /// Uses `handle` for requests.
    pub fn new(handle: Handle) -> Self {
        Self(handle)
    }

    /// Returns the connection.
    pub fn handle(&self) -> &Handle {
        &self.0
    }

    /// Sends a request, and returns the answer, which must come within the time `within`.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        subject: &str,
        body: &[u8],
        within: Duration,
    ) -> Result<T, Error> {
        let subject = format!("$JS.API.{subject}");
        let headers = Headers::new();
        let answer = self.0.request(&subject, &headers, body, within);
        parse(&answer.await?.payload)
    }

    /// Returns what the account uses.
    ///
    /// # Errors
    /// [`Error::NoResponders`] if JetStream is disabled everywhere; [`Error::Refused`] if it is disabled for the account;
    /// the others of [`Handle::request`], after [`ANSWER_WITHIN`].
    pub async fn account(&self) -> Result<Account, Error> {
        self.call("INFO", b"", ANSWER_WITHIN).await
    }

    /// Returns the state of a stream. A server that was the leader until a moment ago may return an old state.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`NO_SUCH_STREAM`]; [`Error::Invalid`] if this cannot be the name of a stream; the others
    /// of [`Handle::request`], after [`ANSWER_WITHIN`].
    pub async fn stream(&self, name: &str) -> Result<Stream, Error> {
        check_name(name)?;
        self.call(&format!("STREAM.INFO.{name}"), b"", ANSWER_WITHIN)
            .await
    }

    /// Creates a stream. If there is one with the same name and settings, returns its state.
    ///
    /// # Errors
    /// [`Error::Refused`], with [`STREAM_DIFFERS`] if there is another stream of this name; [`Error::Invalid`] if this
    /// cannot be the name of a stream; the others of [`Handle::request`], after [`CREATED_WITHIN`].
    pub async fn create(&self, settings: &Settings) -> Result<Stream, Error> {
        check_name(&settings.name)?;
        let config = Config {
            name: &settings.name,
            subjects: [&settings.subject],
            retention: "limits",
            storage: "file",
            discard: "old",
            num_replicas: settings.replicas,
            max_age: u64::try_from(settings.age_max.as_nanos()).unwrap_or(0),
            max_bytes: settings
                .bytes_max
                .map_or(-1, |most| i64::try_from(most).unwrap_or(-1)),
            max_msg_size: settings.message_bytes_max,
            max_msgs: -1,
            max_consumers: -1,
            deny_delete: true,
            deny_purge: true,
            republish: Republish {
                src: &settings.subject,
                dest: &settings.republish,
            },
            first_seq: settings.first_sequence,
        };
        let body = serde_json::to_vec(&config).map_err(|_| Error::Invalid("settings"))?;
        let subject = format!("STREAM.CREATE.{}", settings.name);
        self.call(&subject, &body, CREATED_WITHIN).await
    }

    /// Deletes a stream with all its messages.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`NO_SUCH_STREAM`]; [`Error::Invalid`] if this cannot be the name of a stream; the others
    /// of [`Handle::request`], after [`CREATED_WITHIN`].
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        let subject = format!("STREAM.DELETE.{name}");
        let answer = self.call::<serde::de::IgnoredAny>(&subject, b"", CREATED_WITHIN);
        answer.await.map(drop)
    }
}
