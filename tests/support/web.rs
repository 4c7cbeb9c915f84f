//! HTTP requests in plain text, and their replies.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::server::Chatd;

/// Sends `request` and returns the whole reply. The server closes the connection after it.
pub fn ask(chatd: &Chatd, request: impl AsRef<[u8]>) -> String {
    let mut peer = chatd.peer();
    peer.send(request);
    String::from_utf8_lossy(&peer.inbox.rest()).into_owned()
}

/// Sends a request and returns the reply. The request consists of `lines`, the first of which is the request line,
/// and `body`.
pub fn say(chatd: &Chatd, lines: &[&str], body: &str) -> String {
    let host = format!("Host: {}", chatd.address);
    let length = format!("Content-Length: {}", body.len());
    let mut all: Vec<&str> = lines.to_vec();
    if !lines.iter().any(|line| line.starts_with("Host:")) {
        all.push(&host);
    }
    all.extend([&length, "Connection: close"]);
    ask(chatd, format!("{}\r\n\r\n{body}", all.join("\r\n")))
}

/// `ann:` in base64.
pub const ANN: &str = "Authorization: Basic YW5uOg==";
/// Returns the header that logs in.
pub fn basic(nick: &str, password: &str) -> String {
    let user = STANDARD.encode(format!("{nick}:{password}"));
    format!("Authorization: Basic {user}")
}

/// A request that sends messages to `#ops`.
pub const POST: &str = "POST /rooms/ops HTTP/1.1";

/// Checks the status of a reply.
#[track_caller]
pub fn check_status(answer: &str, status: u16) {
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "wanted {status}, got {answer}"
    );
}
