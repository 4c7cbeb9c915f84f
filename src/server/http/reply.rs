//! Answers, as a person at `curl` wants them.

use std::io;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

use crate::protocol::Code;

/// What is sent back: at hand, or as it comes.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;
pub type Reply = Response<Body>;

pub const TEXT: &str = "text/plain; charset=utf-8";

/// Why a request is refused; the line is the protocol's.
#[derive(Debug)]
pub struct Problem {
    pub status: StatusCode,
    /// `ERR - <code> <text>`, or as the conversation had it.
    pub line: String,
}

impl Problem {
    pub fn new(status: StatusCode, code: Code, text: impl AsRef<str>) -> Self {
        Self {
            status,
            line: format!("ERR - {code} {}", text.as_ref()),
        }
    }

    /// There is nothing there.
    pub fn nothing_at(path: &str) -> Self {
        let text = format!(
            "there is nothing at {}; GET /help shows what is",
            crate::protocol::text::clean(path)
        );
        Self::new(StatusCode::NOT_FOUND, Code::BadSyntax, text)
    }

    /// What the conversation ended with: an `ERR` or a `CLOSED`.
    pub fn said(line: String) -> Self {
        let mut words = line.split(' ');
        let code = match words.next() {
            Some("ERR") => words.nth(1),
            _ => words.next(),
        };
        let code = Code::ALL.iter().find(|known| Some(known.word()) == code);
        let status = code.map_or(StatusCode::INTERNAL_SERVER_ERROR, |code| status(*code));
        // The conversation names a command, which is not what is typed here.
        let line = match status {
            StatusCode::UNAUTHORIZED => line + "; with curl: -u NICK:PASSWORD",
            _ => line,
        };
        Self { status, line }
    }

    pub fn reply(self) -> Reply {
        let mut reply = text(self.status, format!("{}\n", self.line));
        if self.status == StatusCode::UNAUTHORIZED {
            let ask = HeaderValue::from_static(
                "Basic realm=\"a nick and its password\", charset=\"UTF-8\"",
            );
            reply.headers_mut().insert(WWW_AUTHENTICATE, ask);
        }
        reply
    }
}

/// The status for an error's word.
fn status(code: Code) -> StatusCode {
    match code {
        Code::UnknownVerb | Code::BadSyntax | Code::NotUtf8 | Code::BadName | Code::NeedDigest => {
            StatusCode::BAD_REQUEST
        }
        Code::Incomplete | Code::Corrupt | Code::OutOfStep => StatusCode::BAD_REQUEST,
        Code::TooLong | Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::NeedNick | Code::NeedPassword | Code::BadPassword => StatusCode::UNAUTHORIZED,
        Code::NickTaken | Code::NotInRoom => StatusCode::CONFLICT,
        Code::NoSuchNick | Code::NoSuchRoom | Code::NoSuchFile => StatusCode::NOT_FOUND,
        Code::Quota => StatusCode::INSUFFICIENT_STORAGE,
        Code::NotAllowed | Code::Banned | Code::Kicked => StatusCode::FORBIDDEN,
        Code::Busy | Code::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        Code::Idle => StatusCode::REQUEST_TIMEOUT,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A whole answer.
pub fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let body = Full::new(body.into()).map_err(|never| match never {});
    with_body(status, content_type, body.boxed_unsync())
}

/// An answer whose body comes.
pub fn with_body(status: StatusCode, content_type: &'static str, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let nosniff = HeaderName::from_static("x-content-type-options");
    headers.insert(nosniff, HeaderValue::from_static("nosniff"));
    // No other site may show it or count its bytes.
    let resource = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(resource, HeaderValue::from_static("same-origin"));
    reply
}

/// An answer in plain text.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    whole(status, TEXT, body)
}
