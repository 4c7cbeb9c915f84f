//! Reads the nick and the password of a request, and opens a connection for that user. The session authenticates it
//! like any other connection.

use std::time::Duration;

use base64::Engine;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap};
use sha2::{Digest, Sha256};

use super::internal::InternalClient;
use super::reply::Problem;
use super::{Client, base64_engine};
use crate::protocol::request::JoinFrom;
use crate::protocol::{Code, Nick, Request, RoomName};

/// How long a request waits for a nick that requests from another address are using.
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

    /// Returns whether the password is the server's own. This is checked first, so that a nick's own password does
    /// not count as a wrong guess. The digests are compared, so the time that this takes reveals nothing about the
    /// password.
    fn has_server_password(&self, client: &Client) -> bool {
        let known = client.server.config.password.as_ref();
        known.is_some_and(|known| Sha256::digest(known.expose()) == Sha256::digest(&self.password))
    }

    /// If this password is the server's own, gives it to the server. Returns whether the server accepts the connection
    /// now.
    async fn pass(&self, client: &Client, to: &InternalClient) -> bool {
        let password = self.password.clone().into();
        self.has_server_password(client) && to.ask(Ok(Request::Pass { password })).await.is_ok()
    }
}

/// Opens a connection for reading. It has a nick only if the request has a password, because some rooms and some
/// servers are not open to everyone.
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

/// Checks that a request has the server's password, if the server has one.
pub async fn check_server_password(client: &Client, headers: &HeaderMap) -> Result<(), Problem> {
    if client.server.config.password.is_none() {
        return Ok(());
    }
    let to = reader(client, headers).await?;
    let topic = Request::Topic {
        room: None,
        text: None,
    };
    to.ask(Ok(topic)).await?; // requires the password, as for all that is read
    Ok(())
}

/// Returns the registered nick of a request that has its password, and the version of the account. A token is not enough.
pub async fn owner(client: &Client, headers: &HeaderMap) -> Result<(Nick, Option<u64>), Problem> {
    let credentials = Credentials::of(headers)?;
    let to = InternalClient::connect(client);
    to.ask(Request::nick(&credentials.nick, &credentials.password))
        .await?;
    // `HOOKS` is refused unless the nick is registered and its password was given, not a token.
    let listed = to.ask(Ok(Request::Hooks)).await;
    listed.map_err(|problem| Problem {
        line: problem.line.replacen("ERR HOOKS", "ERR -", 1),
        ..problem
    })?;
    let nick = Nick::parse(&credentials.nick);
    let nick =
        nick.map_err(|why| Problem::new(StatusCode::BAD_REQUEST, Code::BadName, why.to_string()))?;
    let version = client.server.state().chat.account_version(&nick);
    Ok((nick, version))
}

/// Opens a connection that sends to `room` under the client's nick. With `None`, the connection is in no room.
pub async fn sender(
    client: &Client,
    room: Option<&RoomName>,
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
    // The nick is taken before the room is joined, so that the nick owns a room that is created.
    let end = client.server.clock.now().uptime + NICK_WITHIN;
    loop {
        let taken = match to.ask(nick.clone()).await {
            Ok(_) => break,
            Err(problem) => problem,
        };
        // Simultaneous requests that send under the same nick do not exclude one another.
        let is_short = Nick::parse(&credentials.nick)
            .is_ok_and(|nick| client.server.state().chat.is_used_by_requests(&nick));
        let is_late = client.server.clock.now().uptime >= end;
        if taken.status != StatusCode::CONFLICT || !is_short || is_late {
            return Err(taken);
        }
        client.server.clock.wait(NICK_EVERY).await;
    }
    if room != Some(&client.server.config.lobby) {
        leave_lobby(&to).await;
    }
    if let Some(room) = room.cloned() {
        let from = JoinFrom::Now;
        to.ask(Ok(Request::Join { room, from })).await?;
    }
    Ok(to)
}

/// Leaves the lobby, which every new nick joins, because the request is about another room.
async fn leave_lobby(to: &InternalClient) {
    let _ = to.ask(Ok(Request::Part { room: None })).await;
}
