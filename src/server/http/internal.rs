//! A connection inside this process that makes requests on behalf of an HTTP client. It sends requests and receives
//! replies and events as values. It passes the same checks as every other connection.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;

use super::Client;
use super::reply::Problem;
use crate::config::Protocols;
use crate::dialect::{Delivery, Reply};
use crate::model::Now;
use crate::protocol::Request;
use crate::protocol::request::Refusal;
use crate::server::connection::Connection;
use crate::server::shared_state::{ConnectionSource, SharedState};
use crate::session::Session;
use crate::transport::Carrier;
use crate::transport::local::{self, ClientEnd, Command};

/// A connection on behalf of an HTTP client. Dropping it ends the connection and cancels its pending request.
pub struct InternalClient(ClientEnd);

impl InternalClient {
    /// Opens the connection. It has a task of its own, like every other connection.
    pub fn connect(client: &Client) -> Self {
        let connected = Self::connect_as(client, |_, _, _| Ok(()));
        connected.unwrap_or_else(|never: Infallible| match never {})
    }

    /// Opens the connection after `begin` has prepared its session.
    ///
    /// # Errors
    /// The error of `begin`. In this case no connection is opened.
    pub fn connect_as<E>(
        client: &Client,
        begin: impl FnOnce(&mut Session, &mut SharedState, Now) -> Result<(), E>,
    ) -> Result<Self, E> {
        let server = &client.server;
        let (ours, theirs) = local::connect(server.waiting.clone());
        let carrier = Carrier::Local(Box::new(theirs));
        let from = ConnectionSource::Request {
            address: client.address,
            is_passed_on: client.is_passed_on,
        };
        let mut connection =
            Connection::open(server.clone(), carrier, from, client.local, Protocols::ALL);
        if client.is_secure {
            connection.session.under_tls();
        }
        let now = server.clock.now();
        let begun = begin(&mut connection.session, &mut server.changes(), now);
        server.executor.spawn(connection.run()).detach();
        begun.map(|()| Self(ours))
    }

    /// Sends a request. If it could not be composed, sends its refusal, so that the server returns it in order.
    /// Ignores errors: if the connection has ended, the next reply says why.
    pub async fn send(&self, request: Result<Request<'static>, Refusal>) {
        let _ = self.0.send(Command::Request(request)).await;
    }

    /// Sends bytes of a file.
    ///
    /// # Errors
    /// When the server no longer reads.
    pub async fn send_bytes(&self, bytes: Bytes) -> io::Result<()> {
        self.0.send(Command::Bytes(bytes)).await
    }

    /// Ends the input.
    pub fn finish(&self) {
        self.0.finish();
    }

    /// Reports that the HTTP client aborted.
    pub fn cut(&self) {
        self.0.cut();
    }

    /// Sends a request and waits for its reply, skipping events.
    ///
    /// # Errors
    /// When the request is refused.
    pub async fn ask(&self, request: Result<Request<'static>, Refusal>) -> Result<Reply, Problem> {
        self.send(request).await;
        self.reply().await
    }

    /// Returns the next reply, skipping events.
    ///
    /// # Errors
    /// When that is a refusal, or the connection ends.
    pub async fn reply(&self) -> Result<Reply, Problem> {
        loop {
            if let Delivery::Reply(reply) = self.next().await? {
                return Ok(reply);
            }
        }
    }

    /// Returns the next delivery from the server.
    ///
    /// # Errors
    /// When the delivery is a refusal, or the connection ends.
    pub async fn next(&self) -> Result<Delivery, Problem> {
        let next = self.0.next().await;
        next.map_or_else(|| Err(Problem::stopping()), Problem::check)
    }

    /// Returns the next delivery, if the server has sent it already.
    ///
    /// # Errors
    /// See [`Self::next`].
    pub fn try_next(&self) -> Option<Result<Delivery, Problem>> {
        self.0.try_next().map(Problem::check)
    }

    /// Returns the next delivery, which may be a refusal; `None` at the end of the connection.
    pub async fn next_or_end(&self) -> Option<Delivery> {
        self.0.next().await
    }
}
