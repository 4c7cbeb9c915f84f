//! Replies to requests, in a form for people who use `curl`.

use std::io;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};

use crate::dialect::Delivery;
use crate::protocol::Code;

/// The body of a reply: complete, or produced piece by piece.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;
pub type Reply = Response<Body>;

/// The time in seconds after which a client that is refused for now should try again. By then, the rate limit allows
/// another password attempt.
const RETRY_AFTER_S: &str = "30";

/// The answer to a request that the server does not execute because it is stopping.
pub const STOPPING: &str = "the server is stopping; try again soon";

pub const TEXT: &str = "text/plain; charset=utf-8";

/// The reason why a request fails. Its line has the form of the chat protocol.
#[derive(Debug)]
pub struct Problem {
    pub status: StatusCode,
    /// An `ERR` line: `ERR - <code> <text>`, or the line that the session of the request has sent.
    pub line: String,
}

impl Problem {
    pub fn new(status: StatusCode, code: Code, text: impl AsRef<str>) -> Self {
        Self {
            status,
            line: format!("ERR - {code} {}", text.as_ref()),
        }
    }

    /// Reports that nothing exists at `path`.
    pub fn nothing_at(path: &str) -> Self {
        let text = format!(
            "there is nothing at {}; GET /help lists the addresses",
            crate::protocol::text::clean(path)
        );
        Self::new(StatusCode::NOT_FOUND, Code::BadSyntax, text)
    }

    /// Reports that the request names a host other than this server.
    pub fn unknown_host(name: &str) -> Self {
        let text =
            format!("this server does not know the name {name}; start chatd with --host {name}");
        Self::new(StatusCode::MISDIRECTED_REQUEST, Code::NotAllowed, text)
    }

    /// Reports that the server is stopping.
    pub fn stopping() -> Self {
        Self {
            status: status(Code::ShuttingDown),
            line: format!("CLOSED {} {STOPPING}", Code::ShuttingDown),
        }
    }

    /// Reports that nothing matches `If-Match`.
    pub fn unmatched() -> Self {
        let text = "nothing matches If-Match";
        Self::new(StatusCode::PRECONDITION_FAILED, Code::BadSyntax, text)
    }

    /// Returns a refusal as an error, and any other delivery unchanged.
    pub fn check(delivery: Delivery) -> Result<Delivery, Self> {
        let code = match &delivery {
            Delivery::Refused(refusal) => refusal.code,
            Delivery::Closed { code, .. } => *code,
            _ => return Ok(delivery),
        };
        let mut line = Vec::new();
        delivery.write_line(&mut line);
        let status = status(code);
        // The line names a command of the chat protocol, which an HTTP client does not type.
        if status == StatusCode::UNAUTHORIZED {
            line.extend_from_slice(b"; with curl: -u NICK:PASSWORD");
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        Err(Self { status, line })
    }

    pub fn reply(self) -> Reply {
        let mut reply = text(self.status, format!("{}\n", self.line));
        if self.status == StatusCode::UNAUTHORIZED {
            let ask = HeaderValue::from_static(
                "Basic realm=\"a nick and its password\", charset=\"UTF-8\"",
            );
            reply.headers_mut().insert(WWW_AUTHENTICATE, ask);
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = HeaderValue::from_static(RETRY_AFTER_S);
            reply.headers_mut().insert(RETRY_AFTER, seconds);
        }
        // Client and server may disagree on where the body ends, so the connection must close.
        if self.status == StatusCode::NOT_IMPLEMENTED {
            let close = HeaderValue::from_static("close");
            reply.headers_mut().insert(CONNECTION, close);
        }
        reply
    }
}

/// Returns the HTTP status for an error code.
pub fn status(code: Code) -> StatusCode {
    match code {
        Code::UnknownVerb | Code::BadSyntax | Code::NotUtf8 | Code::BadName | Code::NeedDigest => {
            StatusCode::BAD_REQUEST
        }
        Code::Incomplete | Code::Corrupt | Code::OutOfStep => StatusCode::BAD_REQUEST,
        Code::TooLong | Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::NeedNick | Code::NeedPassword | Code::BadPassword => StatusCode::UNAUTHORIZED,
        Code::NickTaken | Code::NotInRoom => StatusCode::CONFLICT,
        Code::NoSuchNick | Code::NoSuchRoom | Code::NoSuchFile | Code::NoSuchId => {
            StatusCode::NOT_FOUND
        }
        Code::Quota => StatusCode::INSUFFICIENT_STORAGE,
        Code::NotAllowed | Code::Banned | Code::Kicked => StatusCode::FORBIDDEN,
        Code::Busy | Code::ShuttingDown | Code::CutOff => StatusCode::SERVICE_UNAVAILABLE,
        Code::Idle => StatusCode::REQUEST_TIMEOUT,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Creates a reply with a complete body.
pub fn complete(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let body = Full::new(body.into()).map_err(|never| match never {});
    with_body(status, content_type, body.boxed_unsync())
}

/// Creates a reply whose body is produced piece by piece.
pub fn with_body(status: StatusCode, content_type: &'static str, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let nosniff = HeaderName::from_static("x-content-type-options");
    headers.insert(nosniff, HeaderValue::from_static("nosniff"));
    // The address of a hook is a secret.
    let referrer = HeaderName::from_static("referrer-policy");
    headers.insert(referrer, HeaderValue::from_static("no-referrer"));
    // No other site may embed the reply or measure its size.
    let resource = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(resource, HeaderValue::from_static("same-origin"));
    reply
}

/// Creates a reply whose body continues as long as the client follows. nginx forwards it without buffering, whatever
/// its settings are.
pub fn streamed(content_type: &'static str, body: Body) -> Reply {
    let mut reply = with_body(StatusCode::OK, content_type, body);
    let buffering = HeaderName::from_static("x-accel-buffering");
    let headers = reply.headers_mut();
    headers.insert(buffering, HeaderValue::from_static("no"));
    reply
}

/// Sets the length of the body.
pub fn set_length(reply: &mut Reply, length: usize) {
    reply
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(length));
}

/// Creates a reply in plain text.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    complete(status, TEXT, body)
}
