//! The upgrade from HTTP to WebSocket: the server's half of the handshake (RFC 6455, 4.2).

use base64::Engine;
use hyper::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use hyper::{Method, StatusCode, Version};
use sha1::{Digest, Sha1};

use super::HttpRequest;
use super::reply::{self, Problem, Reply};
use crate::protocol::Code;

const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");
const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");

const PROTOCOL: HeaderName = HeaderName::from_static("sec-websocket-protocol");

/// The subprotocol of IRC clients (IRCv3, "WebSocket"): a text message is a line.
const IRC: &str = "text.ircv3.net";

/// Answers a WebSocket handshake (RFC 6455, 4.2), and returns whether the client speaks IRC. `has_irc` says whether
/// clients may speak IRC.
pub fn to_websocket(request: &HttpRequest, has_irc: bool) -> Result<(Reply, bool), Problem> {
    let headers = request.headers();
    let has = |name: &HeaderName, token: &str| {
        let values = headers.get_all(name).iter();
        values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|word| word.trim().eq_ignore_ascii_case(token))
    };
    let is_asked = request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && has(&UPGRADE, "websocket")
        && has(&CONNECTION, "upgrade");
    let sent = |name: &HeaderName| headers.get(name).map(HeaderValue::as_bytes);
    if !is_asked || sent(&VERSION) != Some(b"13") {
        let text = "this address is for WebSocket (RFC 6455)";
        let mut reply = Problem::new(StatusCode::UPGRADE_REQUIRED, Code::BadSyntax, text).reply();
        let headers = reply.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(VERSION, HeaderValue::from_static("13"));
        return Ok((reply, false));
    }
    let speaks_irc = has_irc && has(&PROTOCOL, IRC);
    let key = sent(&KEY).unwrap_or_default();
    let is_key = super::base64_engine()
        .decode(key)
        .is_ok_and(|key| key.len() == 16);
    if !is_key {
        let text = "Sec-WebSocket-Key is not 16 bytes in base64";
        return Err(Problem::new(StatusCode::BAD_REQUEST, Code::BadSyntax, text));
    }
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = super::base64_engine().encode(hash.finalize());
    let mut reply = reply::text(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = reply.headers_mut();
    headers.clear();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(ACCEPT, accept);
    }
    if speaks_irc {
        headers.insert(PROTOCOL, HeaderValue::from_static(IRC));
    }
    Ok((reply, speaks_irc))
}
