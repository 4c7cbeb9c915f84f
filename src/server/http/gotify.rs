//! `POST /message`: sends what a Gotify client posts, through a hook; see "Gotify" in `hooks.md`.

use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{Method, StatusCode, Uri};
use serde_json::{Value, json};

use super::hooks::{self, Refused};
use super::reply::{self, Reply};
use super::{Client, HttpRequest};
use crate::dialect::hook::read_push;

/// Returns the token of a request from the header `X-Gotify-Key`, from `Authorization: Bearer` or from the address.
/// The token is empty if there is none.
pub(super) fn token<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = header(AUTHORIZATION.as_str()).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let mut pairs = uri.query().unwrap_or_default().split('&');
    let in_query = pairs.find_map(|pair| pair.strip_prefix("token="));
    let token = header("x-gotify-key").or(bearer).or(in_query);
    token.unwrap_or_default()
}

/// Answers a request in the form that Gotify's clients expect.
pub(super) async fn post(client: &Client, token: &str, request: HttpRequest) -> Reply {
    if request.method() != Method::POST {
        let text = "only POST /message is supported";
        return refuse(StatusCode::METHOD_NOT_ALLOWED, text);
    }
    let posted = async {
        let (hook, body) = hooks::receive(client, token, request).await?;
        let push = read_push(&body)?;
        let sent = hooks::send(client, &hook, vec![push.message.clone()]).await?;
        Ok::<_, Refused>((push, sent))
    };
    match posted.await {
        Ok((push, sent)) => {
            let id = sent.map(|(id, _)| id.get());
            let date = sent.map(|(_, time)| time.to_string());
            let message = json!({
                "id": id,
                "appid": 1,
                "message": push.body,
                "title": push.title,
                "priority": push.priority,
                "date": date,
            });
            answer(StatusCode::OK, &message)
        }
        Err(refused) => {
            // Gotify answers an unknown token like this.
            let mut reply = match refused.status {
                StatusCode::NOT_FOUND => {
                    let text = "you need to provide a valid access token";
                    refuse(StatusCode::UNAUTHORIZED, text)
                }
                status => refuse(status, refused.text),
            };
            refused.set_retry(&mut reply);
            reply
        }
    }
}

fn refuse(status: StatusCode, text: &str) -> Reply {
    let error = json!({
        "error": status.canonical_reason(),
        "errorCode": status.as_u16(),
        "errorDescription": text,
    });
    answer(status, &error)
}

fn answer(status: StatusCode, json: &Value) -> Reply {
    reply::complete(status, "application/json", json.to_string())
}
