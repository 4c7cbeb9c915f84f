//! Finds out who makes a request, and opens a connection for them, which the session authenticates as it does
//! any other.

use std::time::Duration;

use async_io::Timer;
use base64::Engine;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap};
use sha2::{Digest, Sha256};

use super::internal::InternalClient;
use super::reply::Problem;
use super::{Client, base64_engine};
use crate::protocol::request::JoinFrom;
use crate::protocol::{Code, Nick, Request, RoomName};

/// How long a request waits for a nick that requests from another address are using, and how often it checks.
const NICK_WITHIN: Duration = Duration::from_secs(3);
const NICK_EVERY: Duration = Duration::from_millis(50);

/// A nick and a password, which may be empty.
pub struct Credentials {
    nick: String,
    password: String,
}

impl Credentials {
    /// Reads `Authorization: Basic` (RFC 7617).
    ///
    /// # Errors
    /// 401 when there is none.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let none = || {
            let text = "a nick is needed: curl -u NICK: (any free nick), or -u NICK:PASSWORD";
            Problem::new(StatusCode::UNAUTHORIZED, Code::NeedNick, text)
        };
        let value = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let (scheme, encoded) = value
            .and_then(|value| value.split_once(' '))
            .ok_or_else(none)?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(none());
        }
        let decoded = base64_engine().decode(encoded.trim()).map_err(|_| none())?;
        let decoded = String::from_utf8(decoded).map_err(|_| none())?;
        let (nick, password) = decoded.split_once(':').ok_or_else(none)?;
        if nick.is_empty() || decoded.contains(['\r', '\n']) || nick.contains(' ') {
            return Err(none());
        }
        Ok(Self {
            nick: nick.to_owned(),
            password: password.to_owned(),
        })
    }

    /// Returns whether the password is the server's own. Found here first, so that a nick's own password does not count
    /// as a wrong guess; the digests are compared, so that timing reveals nothing of the password.
    fn has_server_password(&self, client: &Client) -> bool {
        let known = client.server.config.password.as_ref();
        known.is_some_and(|known| Sha256::digest(known.expose()) == Sha256::digest(&self.password))
    }

    /// Gives the server's own password, if this is it; returns whether the server is open now.
    async fn pass(&self, client: &Client, to: &InternalClient) -> bool {
        let password = self.password.clone().into();
        self.has_server_password(client) && to.ask(Ok(Request::Pass { password })).await.is_ok()
    }
}

/// Opens a connection to read: anonymous or, with a password, under a nick, since some rooms, and some servers, are not
/// open to everyone.
pub async fn reader(client: &Client, headers: &HeaderMap) -> Result<InternalClient, Problem> {
    let to = InternalClient::connect(client);
    let Ok(credentials) = Credentials::of(headers) else {
        return Ok(to);
    };
    if credentials.password.is_empty() || credentials.pass(client, &to).await {
        return Ok(to);
    }
    let nick = Nick::parse(&credentials.nick);
    let is_own = nick.is_ok_and(|nick| client.server.state().chat.is_registered(&nick));
    let is_closed = client.server.config.password.is_some();
    if is_own || is_closed {
        let nick = Request::nick(&credentials.nick, &credentials.password);
        to.ask(nick).await?;
        leave_lobby(&to).await;
    }
    Ok(to)
}

/// Opens a connection to send: under the client's nick, in `room`.
pub async fn sender(
    client: &Client,
    room: &RoomName,
    headers: &HeaderMap,
) -> Result<InternalClient, Problem> {
    let credentials = Credentials::of(headers)?;
    let to = InternalClient::connect(client);
    let password = if credentials.pass(client, &to).await {
        ""
    } else {
        &credentials.password
    };
    let nick = Request::nick(&credentials.nick, password);
    // The nick is set first, so that it owns a room that this creates.
    let end = client.server.clock.now().uptime + NICK_WITHIN;
    loop {
        let taken = match to.ask(nick.clone()).await {
            Ok(_) => break,
            Err(problem) => problem,
        };
        // Concurrent requests that send under the same nick do not block each other.
        let is_short = Nick::parse(&credentials.nick)
            .is_ok_and(|nick| client.server.state().chat.is_used_by_requests(&nick));
        let is_late = client.server.clock.now().uptime >= end;
        if taken.status != StatusCode::CONFLICT || !is_short || is_late {
            return Err(taken);
        }
        Timer::after(NICK_EVERY).await;
    }
    if *room != client.server.config.lobby {
        leave_lobby(&to).await;
    }
    let join = Request::Join {
        room: room.clone(),
        from: JoinFrom::Now,
    };
    to.ask(Ok(join)).await?;
    Ok(to)
}

/// Leaves the lobby, which a new nick joins and which the request is not about.
async fn leave_lobby(to: &InternalClient) {
    let _ = to.ask(Ok(Request::Part { room: None })).await;
}
