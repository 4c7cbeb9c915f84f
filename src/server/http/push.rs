//! `/push`: which browsers are notified while the page is closed (http.md, section 6).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tracing::error;

use super::query::Query;
use super::reply::{self, Problem, Reply};
use super::{Client, HttpRequest, hooks, login, not_allowed};
use crate::config::fixed::{IGNORED_MAX, PUSH_IN_ALL};
use crate::model::{StorageError, Subscription, ignored_nick};
use crate::protocol::{Code, Digest, Nick};

/// A browser, as it describes itself (`PushSubscription.toJSON()`), and the nicks that the user ignores.
#[derive(Deserialize)]
struct Browser {
    endpoint: String,
    keys: Option<Keys>,
    #[serde(default)]
    ignore: Vec<String>,
}

#[derive(Deserialize)]
struct Keys {
    p256dh: String,
    auth: String,
}

/// Answers a request to `/push`.
pub async fn answer(client: &Client, request: HttpRequest) -> Result<Reply, Problem> {
    Query::of(request.uri(), &[])?;
    let Some(notifier) = &client.server.notifier else {
        let text =
            "this server does not notify browsers; its administrator can change that: chatd --push";
        return Err(Problem::new(StatusCode::NOT_FOUND, Code::NotAllowed, text));
    };
    let (method, headers) = (request.method().clone(), request.headers().clone());
    match method {
        Method::GET | Method::HEAD => {
            login::check_server_password(client, &headers).await?;
            Ok(reply::text(
                StatusCode::OK,
                format!("{}\n", notifier.public_key()),
            ))
        }
        Method::PUT | Method::DELETE => {
            let (nick, version) = login::owner(client, &headers).await?;
            let body = hooks::collect(client, request.into_body()).await;
            let body = body.map_err(|why| Problem::new(why.status, Code::BadSyntax, why.text))?;
            let browser: Browser = serde_json::from_slice(&body).map_err(|_| malformed())?;
            let id = Digest(Sha256::digest(&browser.endpoint).into());
            if method == Method::DELETE {
                unsubscribe(client, &nick, id).await?;
            } else {
                let new = browser
                    .subscription(nick, id, client)
                    .ok_or_else(malformed)?;
                if !notifier.accepts(&new) {
                    let text = "the endpoint is not at a push service that this server knows, or a key is invalid";
                    return Err(Problem::new(
                        StatusCode::BAD_REQUEST,
                        Code::NotAllowed,
                        text,
                    ));
                }
                subscribe(client, new, version).await?;
            }
            Ok(reply::text(StatusCode::NO_CONTENT, ""))
        }
        _ => Ok(not_allowed("GET, HEAD, PUT, DELETE")),
    }
}

impl Browser {
    fn subscription(self, nick: Nick, id: Digest, client: &Client) -> Option<Subscription> {
        let keys = self.keys?;
        let ignored = self.ignore.iter().take(IGNORED_MAX);
        let ignored = ignored.filter_map(|nick| Nick::parse(nick).ok());
        Some(Subscription {
            nick,
            id,
            endpoint: self.endpoint.into(),
            key: decode(&keys.p256dh)?.into(),
            secret: decode(&keys.auth)?.try_into().ok()?,
            ignored: ignored
                .map(|nick| ignored_nick(nick.casefolded()))
                .collect(),
            made: client.server.clock.now().time,
        })
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

fn malformed() -> Problem {
    let text =
        "send what the browser returns: {\"endpoint\":...,\"keys\":{\"p256dh\":...,\"auth\":...}}";
    Problem::new(StatusCode::BAD_REQUEST, Code::BadSyntax, text)
}

/// Stores a browser. `version` is that of the account at the login.
async fn subscribe(
    client: &Client,
    new: Subscription,
    version: Option<u64>,
) -> Result<(), Problem> {
    let server = &client.server;
    let former = {
        let push = &server.state().chat.push;
        let former = push.nick_of(&new.id);
        if former.is_none() && push.is_full() {
            let text = format!(
                "the server already notifies {PUSH_IN_ALL} browsers, and no more are possible"
            );
            return Err(Problem::new(
                StatusCode::INSUFFICIENT_STORAGE,
                Code::Quota,
                text,
            ));
        }
        former
    };
    let (accounts, asked) = (server.accounts.clone(), new.clone());
    let turn = server.questions.take(client.address).await;
    let stored = smol::unblock(move || accounts.subscribe(&asked, former.as_ref())).await;
    drop(turn);
    let Some(removed) = stored.map_err(|e| unavailable(&e))? else {
        return Err(changed());
    };
    let is_current = {
        let chat = &mut server.state().chat;
        let is_current = chat.account_version(&new.nick) == version;
        if is_current {
            removed.iter().for_each(|id| chat.push.remove(id));
            chat.push.add(new.clone());
        }
        is_current
    };
    if is_current {
        return Ok(());
    }
    unsubscribe(client, &new.nick, new.id).await?;
    Err(changed())
}

async fn unsubscribe(client: &Client, nick: &Nick, id: Digest) -> Result<(), Problem> {
    let server = &client.server;
    {
        let push = &mut server.state().chat.push;
        if push
            .nick_of(&id)
            .is_some_and(|owner| owner.casefolded() == nick.casefolded())
        {
            push.remove(&id);
        }
    }
    let (accounts, nick) = (server.accounts.clone(), nick.clone());
    let turn = server.questions.take(client.address).await;
    let done = smol::unblock(move || accounts.unsubscribe(&nick, &id)).await;
    drop(turn);
    done.map_err(|e| unavailable(&e))
}

/// Reports that the nick was unregistered, or its password changed, since the login.
fn changed() -> Problem {
    let text = "the nick or its password has changed; log in again";
    Problem::new(StatusCode::CONFLICT, Code::NotAllowed, text)
}

fn unavailable(e: &StorageError) -> Problem {
    error!("accounts, bans and permissions cannot be read or stored: {e}");
    let text = "the accounts cannot be read or changed now; the server's log has the reason";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code::Internal, text)
}
