//! protocol.md 11.4, chatd.md 4: a proxy in front.
//!
//! Requests that a proxy forwards do not count as coming from this machine. A trusted proxy reports where they come from.

use crate::support::server::Chatd;
use crate::support::spawn::Peer;
use crate::support::web::{ANN, POST, ask, check_status, say};

/// Starts a server whose operator is root. Root registers from the machine itself. Returns the server and root's
/// connection.
fn with_root(flags: &[&str]) -> (Chatd, Peer) {
    let chatd = Chatd::with(&[&["--operator", "root"], flags].concat());
    let mut root = chatd.member("root");
    root.ask("REGISTER a-long-password", "OK REGISTER root");
    (chatd, root)
}

/// Encodes a client's text message, which must be short.
fn frame(line: &str) -> Vec<u8> {
    let length = u8::try_from(line.len()).unwrap();
    assert!(length < 126);
    [&[0x81, 0x80 | length, 0, 0, 0, 0], line.as_bytes()].concat()
}

/// Returns all replies to `lines` over WebSocket, with `header` in the handshake.
fn over_websocket(chatd: &Chatd, header: &str, lines: &[&str]) -> String {
    let mut peer = chatd.peer();
    peer.send(format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n{header}\r\n\r\n",
        chatd.address
    ));
    for line in lines {
        peer.try_send(&frame(line));
    }
    peer.end_input();
    String::from_utf8_lossy(&peer.inbox.rest()).into_owned()
}

#[test]
fn a_proxied_request_is_never_local() {
    let chatd = Chatd::with(&["--operator", "root"]);
    let register = ["NICK root", "REGISTER a-long-password", "BYE"];
    for header in [
        "Forwarded: for=203.0.113.9",
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-Proto: https",
        "X-Real-IP: 203.0.113.9",
        "Via: 1.1 proxy",
    ] {
        let answer = say(&chatd, &["GET /metrics HTTP/1.1", header], "");
        check_status(&answer, 403);
        let replies = over_websocket(&chatd, header, &register);
        assert!(
            replies.contains("ERR REGISTER not-allowed "),
            "{header}: {replies}"
        );
    }
    check_status(&say(&chatd, &["GET /metrics HTTP/1.1"], ""), 200);
    let replies = over_websocket(&chatd, "X: y", &register);
    assert!(replies.contains("OK REGISTER root"), "{replies}");
}

#[test]
fn a_ban_applies_to_the_client_that_a_trusted_proxy_names() {
    for (flags, is_trusted) in [(&["--proxy", "127.0.0.0/8"][..], true), (&[], false)] {
        let (chatd, mut root) = with_root(flags);
        root.ask("BAN 203.0.113.0/24", "OK BAN …");
        for (header, is_banned) in [
            ("X-Forwarded-For: 203.0.113.9", true),
            (
                "X-Forwarded-For: 198.51.100.1, 203.0.113.9, 127.0.0.1",
                true,
            ),
            ("X-Forwarded-For: 203.0.113.9, 198.51.100.1", false),
            ("X: y", false),
        ] {
            let is_refused = is_trusted && is_banned;
            let status = if is_refused { 403 } else { 200 };
            check_status(&say(&chatd, &[POST, header, ANN], "hello"), status);
            let replies = over_websocket(&chatd, header, &["PING a", "BYE"]);
            assert_eq!(
                replies.contains("OK PING a"),
                !is_refused,
                "{header}: {replies}"
            );
        }
        let wrong = say(&chatd, &[POST, "X-Forwarded-For: nobody", ANN], "hello");
        check_status(&wrong, if is_trusted { 400 } else { 200 });
        check_status(&say(&chatd, &[POST, ANN], "hello"), 200);
    }
}

#[test]
fn a_trusted_proxy_s_clients_are_counted_by_their_own_addresses() {
    let chatd = Chatd::with(&["--proxy", "127.0.0.1", "--max-per-address", "2"]);
    let join = |from: &str| {
        let mut peer = chatd.peer();
        peer.send(format!("PROXY TCP4 {from} 127.0.0.1 4711 5002\r\nPING\n"));
        let line = peer.inbox.line();
        (peer, line)
    };
    let (_a, first) = join("203.0.113.9");
    let (_b, second) = join("203.0.113.9");
    assert_eq!((&*first, &*second), ("OK PING", "OK PING"));
    let (_c, third) = join("203.0.113.9");
    assert!(third.starts_with("CLOSED busy "), "{third}");
    let replies = over_websocket(&chatd, "X-Forwarded-For: 203.0.113.9", &["PING a", "BYE"]);
    assert!(replies.contains("CLOSED busy "), "{replies}");
    let (_d, other) = join("203.0.113.10");
    assert_eq!(other, "OK PING");
}

#[test]
fn the_proxy_protocol_is_accepted_only_from_a_trusted_proxy() {
    let (chatd, mut root) = with_root(&["--proxy", "127.0.0.1"]);
    root.ask("BAN 203.0.113.9", "OK BAN …");
    let v1 = |from: &str| format!("PROXY TCP4 {from} 127.0.0.1 4711 5002\r\n").into_bytes();
    let v2 = |from: [u8; 4]| {
        let signature = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
        [&signature[..], &from, &[127, 0, 0, 1, 1, 2, 3, 4]].concat()
    };
    for (header, expected) in [
        (v1("203.0.113.9"), "CLOSED banned …"),
        (v2([203, 0, 113, 9]), "CLOSED banned …"),
        (b"PROXY TCP4 nonsense\r\n".to_vec(), "CLOSED not-allowed …"),
        (v1("203.0.113.10"), "OK PING a"),
        (v2([203, 0, 113, 10]), "OK PING a"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "OK PING a"),
        (Vec::new(), "OK PING a"),
    ] {
        let mut peer = chatd.peer();
        peer.send([&header[..], b"PING a\n"].concat());
        peer.expect(expected);
        // The same byte by byte.
        let mut peer = chatd.peer();
        for byte in header.iter().chain(b"PING a\n") {
            peer.try_send(&[*byte]);
        }
        peer.expect(expected);
    }
    // HTTP and TLS may follow it; and the client is not local, so it cannot take an operator's nick.
    let http = [&v1("203.0.113.10")[..], b"GET /health HTTP/1.0\r\n\r\n"].concat();
    assert!(ask(&chatd, http).ends_with("\r\n\r\nok\n"));
    let curl = "curl -sk --haproxy-protocol https://$HOST:$PORT/health";
    chatd.client(curl).finish().expect(&["ok"]);
    // A client that is not trusted achieves nothing by it.
    let chatd = Chatd::start();
    let mut peer = chatd.peer();
    peer.send([&v1("203.0.113.9")[..], b"PING a\n"].concat());
    peer.inbox
        .find(|line| line.starts_with("ERR - unknown-verb "));
    peer.expect("OK PING a");
}
