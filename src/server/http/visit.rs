//! A short conversation in the chat protocol on behalf of an HTTP client.

use std::io;

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use super::Client;
use super::reply::Problem;
use crate::config::Speaks;
use crate::protocol::Nick;
use crate::protocol::event::{Event, ServerLine};
use crate::server::connection::Connection;
use crate::server::world::Arrival;
use crate::transport::Carrier;
use crate::transport::pipe::{PipeEnd, pipe};

/// The client's side of the conversation.
pub struct Visit {
    /// Sends lines to the server.
    pub voice: Voice,
    /// Receives lines from the server.
    pub ear: Ear,
    /// The nick, if it has one.
    pub nick: Option<Nick>,
}

/// The sending half.
#[derive(Clone)]
pub struct Voice(std::sync::Arc<PipeEnd>);

/// The receiving half.
pub struct Ear {
    pipe: std::sync::Arc<PipeEnd>,
    unread: BytesMut,
}

impl Visit {
    /// Starts a conversation: a connection like any other.
    pub fn begin(client: &Client) -> Self {
        let (ours, theirs) = pipe();
        let carrier = Carrier::Pipe(Box::new(theirs));
        let server = &client.server;
        let from = Arrival::Request {
            address: client.address,
            is_passed_on: client.is_passed_on,
        };
        let mut connection =
            Connection::open(server.clone(), carrier, from, client.local, Speaks::ALL);
        if client.is_secure {
            connection.session.under_tls();
        }
        server.executor.spawn(connection.run()).detach();
        let pipe = std::sync::Arc::new(ours);
        Self {
            voice: Voice(pipe.clone()),
            ear: Ear {
                pipe,
                unread: BytesMut::new(),
            },
            nick: None,
        }
    }

    /// Returns whether a line says that the conversation may no longer read the room: a connection without a nick
    /// appears as `*`.
    pub fn is_put_out(&self, line: &str) -> bool {
        let ServerLine::Live { event, .. } = ServerLine::parse(line) else {
            return false;
        };
        let Event::Part { nick, .. } = event else {
            return false;
        };
        let is_own = |own: &Nick| Nick::parse(&nick).is_ok_and(|nick| nick.form() == own.form());
        nick == "*" || self.nick.as_ref().is_some_and(is_own)
    }

    /// Sends a line and waits for its reply, skipping events.
    ///
    /// # Errors
    /// When the request is rejected.
    pub async fn ask(&mut self, line: &str) -> Result<String, Problem> {
        // If the server does not listen, there is no reply either, which is reported below.
        let _ = self.voice.say(line).await;
        self.ear.reply().await
    }
}

impl Voice {
    /// Sends a line.
    ///
    /// # Errors
    /// When the server no longer listens; so with the methods below.
    pub async fn say(&self, line: &str) -> io::Result<()> {
        self.0.send(line.as_bytes()).await?;
        self.0.send(b"\n").await
    }

    /// Sends bytes of a file.
    #[allow(clippy::missing_errors_doc)]
    pub async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.send(bytes).await
    }

    /// Ends the input: everything has been sent.
    pub fn finish(&self) {
        self.0.finish();
    }

    /// Reports that the client aborted.
    pub fn cut(&self) {
        self.0.cut();
    }
}

impl Ear {
    /// Returns the next line without its line end; `None` when there are no more.
    pub async fn line(&mut self) -> Option<String> {
        let mut searched = 0;
        loop {
            let unsearched = self.unread.get(searched..).unwrap_or_default();
            if let Some(at) = memchr(b'\n', unsearched) {
                let line = self.unread.split_to(searched + at + 1);
                let line = line.strip_suffix(b"\n").unwrap_or(&line);
                return Some(String::from_utf8_lossy(line).into_owned());
            }
            searched = self.unread.len();
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Returns the next bytes of a file, at most `most`; `None` when there are no more.
    pub async fn bytes(&mut self, most: u64) -> Option<Bytes> {
        if self.unread.is_empty() && !self.fill().await {
            return None;
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let count = most.min(self.unread.len());
        Some(self.unread.split_to(count).freeze())
    }

    /// Returns the next `OK` line.
    ///
    /// # Errors
    /// The next `ERR` or `CLOSED` line.
    pub async fn reply(&mut self) -> Result<String, Problem> {
        while let Some(line) = self.line().await {
            if line.starts_with("OK ") {
                return Ok(line);
            }
            if line.starts_with("ERR ") || line.starts_with("CLOSED ") {
                return Err(Problem::said(line));
            }
        }
        Err(Problem::stopping())
    }

    async fn fill(&mut self) -> bool {
        let more = self.pipe.receive().await;
        if self.unread.is_empty() {
            self.unread = BytesMut::from(Bytes::from(more));
        } else {
            self.unread.extend_from_slice(&more);
            return !more.is_empty();
        }
        !self.unread.is_empty()
    }
}
