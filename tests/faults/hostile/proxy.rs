//! protocol.md 11.4: a client that comes through a proxy on the server's own machine is not local.

use super::target::{Target, ask, basic};

/// Regression test. A stranger once registered the operator's nick through a proxy, and was the operator.
#[test]
fn nobody_becomes_an_operator_through_a_proxy() {
    let headers = [
        "X-Forwarded-For: 203.0.113.9",
        "Forwarded: for=203.0.113.9",
        "X-Real-IP: 203.0.113.9",
        "Via: 1.1 proxy",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: chat.example.org",
    ];
    for header in headers {
        let target = Target::start(&["--operator", "root1"]);
        let mut peer = target.peer();
        peer.send(format!(
            "GET /ws HTTP/1.1\r\nHost: localhost\r\n{header}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ))
        .expect("it reads");
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push(peer.byte().expect("a byte").into());
        }
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let mut answers = Vec::new();
        for line in ["NICK root1", "REGISTER hackedpw1", "BAN 10.0.0.0/8"] {
            let mut frame = vec![0x81, 0x80 | line.len() as u8, 0, 0, 0, 0];
            frame.extend(line.as_bytes());
            peer.send(frame).expect("it reads");
            let _ = peer.byte().expect("a byte");
            let length = peer.byte().expect("a byte");
            assert!(length < 126, "a short reply");
            let answer: Vec<u8> = (0..length).map(|_| peer.byte().expect("a byte")).collect();
            answers.push(String::from_utf8_lossy(&answer).into_owned());
        }
        assert!(answers[0].starts_with("OK NICK "), "{header}: {answers:?}");
        assert!(
            answers[1].starts_with("ERR REGISTER not-allowed "),
            "{header}: {answers:?}"
        );
        assert!(
            answers[2].starts_with("ERR BAN not-allowed "),
            "{header}: {answers:?}"
        );
        let (head, _) = target.http(&format!(
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\n{header}\r\n"
        ));
        assert!(head.starts_with("HTTP/1.1 403 "), "{header}: {head}");
        drop(peer);
        // A user of the machine itself can still do it.
        let mut root = target.peer();
        target.until("the nick is free", |_| {
            root.ask("NICK root1")
                .expect("a reply")
                .starts_with("OK NICK ")
        });
        ask(&mut root, "REGISTER my secret", "OK REGISTER");
        let (head, body) = target.http(&format!(
            "POST /rooms/lobby HTTP/1.1\r\nHost: localhost\r\n{}\r\nhello",
            basic("root1:my secret")
        ));
        assert!(head.starts_with("HTTP/1.1 200 "), "{head} {body}");
    }
}
