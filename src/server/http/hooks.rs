//! `POST /hooks/<token>`: sends what a tool posts, under the nick and to the room of a hook; see `hooks.md`.
//!
//! The answers are those of Slack and Mattermost, because clients compare them byte by byte. Clients post again after
//! an answer that they consider a failure; some do so only after a 5xx status.

use std::time::Duration;

use hyper::header::{ALLOW, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, StatusCode, Uri};
use sha2::{Digest as _, Sha256};
use tracing::error;

use super::body::{BodyError, RequestBody};
use super::gotify;
use super::internal::InternalClient;
use super::post::{Detached, HeldBytes};
use super::reply::{self, Problem, Reply};
use super::{Client, HttpRequest};
use crate::config::fixed::HOOK_BYTES_MAX;
use crate::dialect::hook::{self, BadBody, Message};
use crate::dialect::{Reply as Answer, ReplyFields};
use crate::model::Hook;
use crate::protocol::multiline::Multiline;
use crate::protocol::request::Target;
use crate::protocol::tags::SentTags;
use crate::protocol::{Digest, EventId, Request, RoomName, Time};
use crate::server::metrics::LimitKind;

/// The reason why a post is refused. The text begins with Slack's word for the reason.
pub(super) struct Refused {
    pub status: StatusCode,
    pub text: &'static str,
    retry_after: Option<Duration>,
}

impl Refused {
    pub const NO_SERVICE: Self = Self::new(
        StatusCode::NOT_FOUND,
        "no_service: this hook does not exist or was deleted; the user who made it can list their hooks with HOOKS",
    );
    const MALFORMED: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "invalid_payload: send JSON, {\"text\":\"...\"}, or a form: curl --data-urlencode text=...",
    );
    const NO_TEXT: Self = Self::new(StatusCode::BAD_REQUEST, "no_text: the message is empty");
    const PROHIBITED: Self = Self::new(
        StatusCode::FORBIDDEN,
        "action_prohibited: the nick of this hook may not send to its room now",
    );
    const TOO_LARGE: Self = Self::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "payload_too_large: 64 KiB at most",
    );

    const fn new(status: StatusCode, text: &'static str) -> Self {
        Self {
            status,
            text,
            retry_after: None,
        }
    }

    /// Returns a refusal that asks the client to post again.
    fn later(status: StatusCode, text: &'static str, after: Duration) -> Self {
        let retry_after = Some(after);
        Self {
            status,
            text,
            retry_after,
        }
    }

    /// Returns the refusal for a temporary failure, after which the client should post again.
    fn unavailable() -> Self {
        let text = "service_unavailable: the message cannot be saved now; send it again later";
        Self::later(
            StatusCode::SERVICE_UNAVAILABLE,
            text,
            Duration::from_secs(30),
        )
    }

    /// Returns the refusal that corresponds to the status of a protocol error.
    fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::FORBIDDEN => Self::PROHIBITED,
            StatusCode::PAYLOAD_TOO_LARGE => Self::TOO_LARGE,
            StatusCode::BAD_REQUEST => Self::MALFORMED,
            _ => Self::unavailable(),
        }
    }

    fn reply(self) -> Reply {
        let mut reply = reply::text(self.status, self.text);
        self.set_retry(&mut reply);
        reply
    }

    /// Sets `Retry-After` in the headers of a reply, if the refusal has a time.
    pub fn set_retry(&self, reply: &mut Reply) {
        if let Some(after) = self.retry_after {
            let seconds = after.as_millis().div_ceil(1000).max(1).to_string();
            if let Ok(seconds) = HeaderValue::from_str(&seconds) {
                reply.headers_mut().insert(RETRY_AFTER, seconds);
            }
        }
    }
}

impl From<BadBody> for Refused {
    fn from(why: BadBody) -> Self {
        match why {
            BadBody::Malformed => Self::MALFORMED,
            BadBody::NoText => Self::NO_TEXT,
        }
    }
}

/// The API whose answers a client expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The API of Slack and Mattermost.
    Slack,
    /// The API of Gotify.
    Gotify,
}

/// Returns the token of a hook in a request, and the API of the answer. In the address, the token is the last part of
/// `/hooks/<token>` (Mattermost), `/hooks/<id>/<token>` (Rocket.Chat) or `/services/<team>/<id>/<token>` (Slack).
pub fn token<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<(Asked, &'a str)> {
    let path = uri.path();
    let path = path.strip_suffix('/').unwrap_or(path);
    let parts: Vec<&str> = path.split('/').skip(1).take(5).collect();
    match parts.as_slice() {
        ["hooks", token] | ["hooks", _, token] | ["services", _, _, token] => {
            Some((Asked::Slack, token))
        }
        ["message"] => Some((Asked::Gotify, gotify::token(uri, headers))),
        _ => None,
    }
}

fn digest(token: &str) -> Digest {
    Digest(Sha256::digest(token).into())
}

/// Returns whether a request has the token of a hook. If it has, it is meant for this server, whatever its `Host`
/// header says.
pub fn is_meant(client: &Client, uri: &Uri, headers: &HeaderMap) -> bool {
    token(uri, headers).is_some_and(|(_, token)| {
        let digest = digest(token);
        client.server.state().chat.hooks.find(&digest).is_some()
    })
}

/// Answers a request to a hook.
pub async fn post(client: &Client, asked: Asked, token: &str, request: HttpRequest) -> Reply {
    if asked == Asked::Gotify {
        return gotify::post(client, token, request).await;
    }
    if request.method() != Method::POST {
        let text = "method_not_allowed: POST to this address";
        let mut reply = Refused::new(StatusCode::METHOD_NOT_ALLOWED, text).reply();
        let post = HeaderValue::from_static("POST");
        reply.headers_mut().insert(ALLOW, post);
        return reply;
    }
    let posted = async {
        let (hook, body) = receive(client, token, request).await?;
        let messages = hook::read(&body)?;
        send(client, &hook, messages).await
    };
    match posted.await {
        // There is no line ending, because clients compare the body with these two bytes.
        Ok(_) => reply::text(StatusCode::OK, "ok"),
        Err(refused) => refused.reply(),
    }
}

/// Finds the hook of a token and reads the body of the post.
pub(super) async fn receive(
    client: &Client,
    token: &str,
    request: HttpRequest,
) -> Result<(Hook, Vec<u8>), Refused> {
    let hook = find(client, token)?;
    let body = collect(client, request.into_body()).await?;
    Ok((hook, body))
}

/// Finds the hook of a token, and counts the post.
pub(super) fn find(client: &Client, token: &str) -> Result<Hook, Refused> {
    let digest = digest(token);
    let (server, address) = (&client.server, client.address);
    let uptime = server.clock.now().uptime;
    let mut state = server.state();
    let Some(hook) = state.chat.hooks.find(&digest).cloned() else {
        if state.guesses.wrong_hook(address, uptime) {
            return Err(Refused::NO_SERVICE);
        }
        drop(state);
        let text =
            format!("too many posts to hooks that do not exist, most recently from {address}");
        server.metrics.limit_hit(LimitKind::Hooks, uptime, &text);
        return Err(paced(Duration::from_secs(30)));
    };
    state.chat.hooks.post(&digest, uptime).map_err(paced)?;
    Ok(hook)
}

fn paced(wait: Duration) -> Refused {
    let text = "rate_limited: too many posts; try again after the time in Retry-After";
    Refused::later(StatusCode::TOO_MANY_REQUESTS, text, wait)
}

/// Reads the whole body.
pub(super) async fn collect(client: &Client, mut body: RequestBody) -> Result<Vec<u8>, Refused> {
    let is_within = |bytes: u64| bytes <= HOOK_BYTES_MAX as u64;
    if !body.length().is_none_or(is_within) {
        return Err(Refused::TOO_LARGE);
    }
    let mut held = HeldBytes::new(&client.server);
    let mut bytes = Vec::new();
    while let Some(data) = body.next().await {
        let data = data.map_err(|why| match why {
            BodyError::TimedOut => Refused::new(StatusCode::REQUEST_TIMEOUT, "timeout"),
            BodyError::Aborted => Refused::MALFORMED,
        })?;
        held.add(data.len()).map_err(|_| Refused::unavailable())?;
        bytes.extend_from_slice(&data);
        if !is_within(bytes.len() as u64) {
            return Err(Refused::TOO_LARGE);
        }
    }
    Ok(bytes)
}

/// Sends the messages of a post. Returns the id and time of the first one. Once begun, all messages are sent, even if
/// the client has gone.
pub(super) async fn send(
    client: &Client,
    hook: &Hook,
    messages: Vec<Message>,
) -> Result<Option<(EventId, Time)>, Refused> {
    check_stored(client, hook).await?;
    let connected = InternalClient::connect_as(client, |session, state, now| {
        // The hook may have been revoked while the body arrived.
        if state.chat.hooks.find(&hook.sha256).is_none() {
            return Err(Refused::NO_SERVICE);
        }
        let spoken = session.speak_for(hook, &mut state.chat, now);
        spoken.map_err(|refusal| Refused::of(reply::status(refusal.code)))
    });
    let sender = Sender {
        client: client.clone(),
        hook: hook.clone(),
        to: connected?,
    };
    let sent = client.server.executor.spawn(async move {
        let mut first = None;
        for message in messages {
            let sent = sender.send(message).await?;
            first = first.or(sent);
        }
        Ok(first)
    });
    Detached::new(sent).await_end().await
}

/// Queries the account store whether a hook has been revoked.
async fn check_stored(client: &Client, hook: &Hook) -> Result<(), Refused> {
    let server = &client.server;
    let (accounts, asked) = (server.accounts.clone(), hook.clone());
    let turn = server.questions.take(client.address).await;
    let stored = smol::unblock(move || accounts.has_hook(&asked)).await;
    drop(turn);
    match stored {
        Ok(true) => Ok(()),
        Ok(false) => {
            let hooks = &mut server.state().chat.hooks;
            if hooks.find(&hook.sha256).is_some() {
                hooks.revoked(&hook.nick, &hook.label);
            }
            Err(Refused::NO_SERVICE)
        }
        Err(e) => {
            error!("accounts, bans and permissions cannot be read or stored: {e}");
            Err(Refused::unavailable())
        }
    }
}

/// A connection that sends what a tool has posted to a hook.
struct Sender {
    client: Client,
    hook: Hook,
    to: InternalClient,
}

impl Sender {
    /// Sends a message. If it reports that an alert is resolved, sends it as a reply to the message that reported the
    /// alert, provided that message is known.
    async fn send(&self, message: Message) -> Result<Option<(EventId, Time)>, Refused> {
        let digest = &self.hook.sha256;
        let alert = message.alert.as_ref();
        let replies_to = alert.filter(|alert| alert.is_resolved).and_then(|alert| {
            let hooks = &self.client.server.state().chat.hooks;
            hooks.alert(digest, &alert.fingerprint)
        });
        let mut answer = self.ask(&message, replies_to).await;
        let is_lost = |problem: &Problem| problem.status == StatusCode::NOT_FOUND;
        if replies_to.is_some() && answer.as_ref().is_err_and(is_lost) {
            // The message that reported the alert no longer exists.
            answer = self.ask(&message, None).await;
        }
        let answer = answer.map_err(|problem| Refused::of(problem.status))?;
        let sent = match answer.fields {
            ReplyFields::Message(id, time) | ReplyFields::Lines(id, time, _) => id.zip(Some(time)),
            _ => None,
        };
        if let (Some(alert), Some((id, _))) = (alert, sent) {
            let hooks = &mut self.client.server.state().chat.hooks;
            if alert.is_resolved {
                hooks.resolved(digest, &alert.fingerprint);
            } else {
                hooks.fired(digest, &alert.fingerprint, id);
            }
        }
        Ok(sent)
    }

    async fn ask(&self, message: &Message, replies_to: Option<EventId>) -> Result<Answer, Problem> {
        let mut tags = message.tags.clone();
        if let Some(id) = replies_to {
            tags.push_str(&format!(";reply={id}"));
        }
        if let Some(identity) = &message.identity {
            // A notification that is posted again to the same hook is not sent again.
            let own = format!("{} {identity}", self.hook.sha256);
            tags.push_str(&format!(
                ";nonce=hook-{}",
                digest(&own).to_string().split_at(32).0
            ));
        }
        let tags = SentTags::parse(&tags).unwrap_or_else(|_| SentTags::notice());
        send_message(&self.to, self.hook.room.clone(), &message.text, tags).await
    }
}

/// Sends a text to a room: one line as a message, several as one `TEXT`.
pub(super) async fn send_message(
    to: &InternalClient,
    room: RoomName,
    text: &Multiline,
    tags: SentTags,
) -> Result<Answer, Problem> {
    if text.lines() == 1 {
        let message = Request::Tell {
            to: Target::Room(room),
            text: text.as_str().to_owned().into(),
            tags,
        };
        return to.ask(Ok(message)).await;
    }
    let bytes = text.as_str().as_bytes().to_vec();
    let request = Request::text(Some(room), bytes.len() as u64).with_tags(tags);
    to.send(Ok(request)).await;
    let _ = to.send_bytes(bytes.into()).await; // the reply has the reason
    to.reply().await
}
