//! ntfy's API. A room is a topic, to which clients publish and subscribe; see "ntfy" in `hooks.md`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::follow::{Follow, Start, check_readable, follow, pieces};
use super::format::{Format, NtfyForm as Form};
use super::hooks::{self, Refused};
use super::internal::InternalClient;
use super::post::Detached;
use super::reply::{self, Problem, Reply};
use super::upgrade::to_websocket;
use super::{Client, HttpRequest, Requested, Upgrade, base64_engine, gotify, login, page};
use crate::dialect::ReplyFields;
use crate::dialect::hook::ntfy::{self, Notification, Since};
use crate::protocol::{Code, RoomName};

/// The first parts of paths that have another meaning, so that they cannot be topics.
const RESERVED: [&str; 11] = [
    "files", "health", "help", "hooks", "message", "metrics", "push", "rooms", "services", "v1",
    "ws",
];

/// The maximum number of topics in one subscription.
const TOPICS_MAX: usize = 32;

/// A call of ntfy's API.
pub enum Call<'a> {
    /// Publish to this topic, or to the topic that the body names.
    Publish(Option<&'a str>),
    /// Subscribe to these topics.
    Subscribe(&'a str, Form),
    /// Subscribe to these topics over WebSocket.
    Socket(&'a str),
    /// Check whether these topics may be read.
    Check(&'a str),
}

impl<'a> Call<'a> {
    /// Returns the call that a request makes. Returns `None` if the request is not a call, or if the server does not
    /// answer such calls. `parts` are the parts of the request's path.
    pub fn of(client: &Client, request: &HttpRequest, parts: &[&'a str]) -> Option<Self> {
        let is_reserved = parts.first().is_some_and(|first| RESERVED.contains(first));
        if !client.server.config.ntfy || is_reserved {
            return None;
        }
        let (method, path) = (request.method(), request.uri().path());
        if *method == Method::GET && page::find(path, request.headers()).is_some() {
            return None;
        }
        let is_read = *method == Method::GET;
        let is_post = matches!(*method, Method::POST | Method::PUT);
        match *parts {
            [] if is_post => Some(Self::Publish(None)),
            [topic] if is_post => Some(Self::Publish(Some(topic))),
            // ntfy also accepts GET here. This server does not, because a page of another site could make a browser
            // publish with it.
            [topic, "publish" | "send" | "trigger"] if is_post => Some(Self::Publish(Some(topic))),
            [topics, "json"] if is_read => Some(Self::Subscribe(topics, Form::Json)),
            [topics, "sse"] if is_read => Some(Self::Subscribe(topics, Form::Sse)),
            [topics, "raw"] if is_read => Some(Self::Subscribe(topics, Form::Raw)),
            [topics, "ws"] if is_read => Some(Self::Socket(topics)),
            [topic, "auth"] if is_read => Some(Self::Check(topic)),
            _ => None,
        }
    }
}

/// Answers a request in the form that ntfy's clients expect.
pub(super) async fn answer(
    client: &Client,
    call: Call<'_>,
    mut request: HttpRequest,
    upgrade: &Upgrade,
) -> Reply {
    let uri = request.uri().clone();
    let parameters = Parameters::of(&uri);
    if let Some(value) = parameters.authorization() {
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let answered = match call {
        Call::Publish(topic) => publish(client, topic, &parameters, request).await,
        Call::Subscribe(topics, form) => {
            subscribe(client, topics, form, &parameters, request.headers()).await
        }
        Call::Socket(topics) => connect(client, topics, &parameters, request, upgrade).await,
        Call::Check(topics) => check(client, topics, request.headers()).await,
    };
    answered.unwrap_or_else(refuse)
}

/// Returns a problem in ntfy's format.
fn refuse(problem: Problem) -> Reply {
    let (status, text) = (problem.status, problem.line.clone());
    let number = status.as_u16();
    let error = json!({"code": u32::from(number) * 100 + 1, "http": number, "error": text});
    let mut reply = reply::complete(status, "application/json", format!("{error}\n"));
    if let Some(ask) = problem.reply().headers().get(WWW_AUTHENTICATE) {
        reply.headers_mut().insert(WWW_AUTHENTICATE, ask.clone());
    }
    reply
}

/// Returns the refusal of a post to a hook.
fn refused(why: &Refused) -> Problem {
    let (status, code) = match why.status {
        // The token is unknown.
        StatusCode::NOT_FOUND => (StatusCode::UNAUTHORIZED, Code::BadPassword),
        StatusCode::FORBIDDEN => (why.status, Code::NotAllowed),
        StatusCode::BAD_REQUEST => (why.status, Code::BadSyntax),
        StatusCode::PAYLOAD_TOO_LARGE => (why.status, Code::TooLarge),
        status => (status, Code::Busy),
    };
    Problem::new(status, code, why.text)
}

/// The parameters of an address. Unknown ones are ignored, because each client adds its own.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn of(uri: &Uri) -> Self {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        let pairs = uri.query().unwrap_or_default().split('&');
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let lower = |name: &str| decode(name).to_ascii_lowercase();
        Self(
            pairs
                .map(|(name, value)| (lower(name), decode(value)))
                .collect(),
        )
    }

    fn get(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(known, _)| known == name);
        pair.map(|(_, value)| value.as_str())
    }

    /// Returns the header that the parameter `auth` contains in base64. Clients that cannot set headers use it.
    fn authorization(&self) -> Option<HeaderValue> {
        let value = self.get("auth")?.trim_end_matches('=');
        HeaderValue::from_bytes(&URL_SAFE_NO_PAD.decode(value).ok()?).ok()
    }

    /// Returns the first header or parameter that has one of `names`. The name of a header may begin with `X-`.
    fn field(&self, headers: &HeaderMap, names: &[&str]) -> Option<String> {
        let in_header = names.iter().find_map(|name| {
            let value = headers.get(format!("x-{name}"));
            let value = value.or_else(|| headers.get(HeaderName::try_from(*name).ok()?))?;
            // Some clients write UTF-8 here, others Latin-1.
            let text = String::from_utf8(value.as_bytes().to_vec());
            Some(text.unwrap_or_else(|e| e.as_bytes().iter().copied().map(char::from).collect()))
        });
        in_header.or_else(|| {
            names
                .iter()
                .find_map(|name| self.get(name).map(str::to_owned))
        })
    }
}

/// Returns the rooms of a list of topics.
fn rooms(topics: &str) -> Result<Vec<RoomName>, Problem> {
    let topics: Vec<&str> = topics
        .split(',')
        .filter(|topic| !topic.is_empty())
        .collect();
    if topics.is_empty() || topics.len() > TOPICS_MAX {
        let text = format!("one subscription has 1 to {TOPICS_MAX} topics");
        return Err(Problem::new(StatusCode::BAD_REQUEST, Code::BadSyntax, text));
    }
    topics.into_iter().map(super::query::room).collect()
}

/// Returns the token of a hook: a `Bearer` token, or a password without a user name.
fn hook_token(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = base64_engine().decode(encoded.trim()).ok()?;
        let decoded = String::from_utf8(decoded).ok()?;
        return decoded.strip_prefix(':').map(str::to_owned);
    }
    Some(gotify::token(uri, headers).to_owned())
}

async fn publish(
    client: &Client,
    topic: Option<&str>,
    parameters: &Parameters,
    request: HttpRequest,
) -> Result<Reply, Problem> {
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    let field = |names: &[&str]| parameters.field(&headers, names);
    if field(&["filename", "file", "f", "attach", "a"]).is_some() {
        let text =
            "a notification cannot have an attachment; PUT the file to /rooms/ROOM/files/NAME";
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            Code::NotAllowed,
            text,
        ));
    }
    // Without a token, a nick is needed. This is checked before the body is read.
    let token = hook_token(&uri, &headers);
    if token.is_none() {
        login::Credentials::of(&headers)?;
    }
    let found = token.map(|token| hooks::find(client, &token)).transpose();
    let hook = found.map_err(|why| refused(&why))?;
    let body = hooks::collect(client, request.into_body()).await;
    let body = body.map_err(|why| refused(&why))?;
    let read = match topic {
        Some(_) => Notification::from_text(&body, field),
        None => Notification::from_json(&body, field),
    };
    let bad = |_| {
        let text = "this is not a notification: send its text to /TOPIC, or JSON with a topic to /";
        Problem::new(StatusCode::BAD_REQUEST, Code::BadSyntax, text)
    };
    let notification = read.map_err(bad)?;
    let topic = topic.or(notification.topic.as_deref()).unwrap_or_default();
    let room = super::query::room(topic)?;
    let message = notification.message().map_err(bad)?;
    let sent = match &hook {
        Some(hook) if hook.room != room => {
            let text = "the token is that of a hook to another room";
            return Err(Problem::new(StatusCode::FORBIDDEN, Code::NotAllowed, text));
        }
        Some(hook) => {
            let sent = hooks::send(client, hook, vec![message]).await;
            sent.map_err(|why| refused(&why))?
        }
        None => {
            let to = login::sender(client, Some(&room), &headers).await?;
            // This runs in a task of its own, so that it is completed even if the client has gone.
            let sent = client.server.executor.spawn(async move {
                let tags = message.sent_tags();
                hooks::send_message(&to, room, &message.text, tags).await
            });
            match Detached::new(sent).await_end().await?.fields {
                ReplyFields::Message(id, time) | ReplyFields::Lines(id, time, _) => {
                    id.zip(Some(time))
                }
                _ => None,
            }
        }
    };
    let (id, time) = sent.unzip();
    let now = client.server.clock.now().time;
    let answer = json!({
        "id": ntfy::id(id),
        "time": time.unwrap_or(now).0 / 1000,
        "event": "message",
        "topic": topic,
        "title": notification.title,
        "message": notification.text,
        "priority": notification.priority,
    });
    Ok(reply::complete(
        StatusCode::OK,
        "application/json",
        format!("{answer}\n"),
    ))
}

async fn check(client: &Client, topics: &str, headers: &HeaderMap) -> Result<Reply, Problem> {
    let rooms = rooms(topics)?;
    let to = login::reader(client, headers).await?;
    check_readable(&to, &rooms).await?;
    let answer = "{\"success\":true}\n";
    Ok(reply::complete(StatusCode::OK, "application/json", answer))
}

async fn subscribe(
    client: &Client,
    topics: &str,
    form: Form,
    parameters: &Parameters,
    headers: &HeaderMap,
) -> Result<Reply, Problem> {
    let (to, of) = subscription(client, topics, form, parameters, headers).await?;
    follow(client, to, of).await
}

/// Subscribes over WebSocket.
async fn connect(
    client: &Client,
    topics: &str,
    parameters: &Parameters,
    mut request: HttpRequest,
    upgrade: &Upgrade,
) -> Result<Reply, Problem> {
    let (reply, _) = to_websocket(&request, false)?;
    if reply.status() == StatusCode::SWITCHING_PROTOCOLS {
        let headers = request.headers();
        let (to, of) = subscription(client, topics, Form::Socket, parameters, headers).await?;
        let events = pieces(client, to, of).await?;
        Requested::note(&mut request, client.clone(), Some(events), upgrade);
    }
    Ok(reply)
}

/// Returns what a client subscribes to, and a connection that reads it.
async fn subscription(
    client: &Client,
    topics: &str,
    form: Form,
    parameters: &Parameters,
    headers: &HeaderMap,
) -> Result<(InternalClient, Follow), Problem> {
    let rooms = rooms(topics)?;
    let field = |names: &[&str]| parameters.field(headers, names).unwrap_or_default();
    let is_poll = matches!(&*field(&["poll", "po"]), "1" | "true" | "yes");
    let now = client.server.clock.now().time;
    let since = match field(&["since", "si"]) {
        since if since.is_empty() && is_poll => Some(Since::Id(0)),
        since => Since::parse(&since, now),
    };
    let Some(since) = since else {
        let text = "since is all, none, latest, an id, a time in seconds or a duration such as 10m";
        return Err(Problem::new(StatusCode::BAD_REQUEST, Code::BadSyntax, text));
    };
    let to = login::reader(client, headers).await?;
    let (start, not_before) = match since {
        Since::Now => (Start::Now, None),
        Since::Latest => (Start::Newest(1), None),
        Since::Id(id) => (Start::After(id), None),
        Since::Time(time) => (Start::After(0), Some(time)),
    };
    let of = Follow {
        rooms,
        start,
        not_before,
        ends_with_past: is_poll,
        format: Format::Ntfy(form),
    };
    Ok((to, of))
}
