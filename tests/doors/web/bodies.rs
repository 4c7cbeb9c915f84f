//! http.md 1, 2: a request is carried out completely or not at all.
//!
//! The refusal of a request arrives, and a request takes a limited amount of memory.

use std::net::{Shutdown, TcpStream};
use std::time::Instant;

use crate::support::inbox::DEADLINE;
use crate::support::server::Chatd;
use crate::support::web::{ANN, POST, ask, check_status, say};

/// Returns the head of a request that sends messages to `#ops`.
fn head(chatd: &Chatd, more: &str) -> String {
    format!(
        "{POST}\r\nHost: {}\r\n{ANN}\r\n{more}\r\n\r\n",
        chatd.address
    )
}

/// Checks that `#ops` has this many messages: all of a request or none.
#[track_caller]
fn check_kept(chatd: &Chatd, expected: usize) {
    let answer = say(chatd, &["GET /rooms/ops?count=1000 HTTP/1.1"], "");
    assert_eq!(
        answer.matches(" MSG #ops ann ").count(),
        expected,
        "{answer}"
    );
}

#[test]
fn a_request_sends_all_of_its_lines_or_none() {
    let chatd = Chatd::start();
    let chunked = "Transfer-Encoding: chunked";
    let lines = |count: usize| "x\n".repeat(count);
    // One line more than is allowed: with a length, and in chunks, the last of which never comes.
    check_status(&say(&chatd, &[POST, ANN], &lines(10_001)), 413);
    let chunks = format!("{}4e3a\r\n{}\r\n", head(&chatd, chunked), lines(10_013));
    check_status(&ask(&chatd, chunks), 413);
    // A malformed chunk, and an aborted body, after complete lines.
    let chunks = format!("{}4\r\na\nb\n\r\nz\r\n", head(&chatd, chunked));
    let answer = ask(&chatd, chunks);
    check_status(&answer, 400);
    assert!(answer.contains("ERR - incomplete "), "{answer}");
    let mut peer = chatd.peer();
    peer.send(head(&chatd, "Content-Length: 9") + "a\nb\n");
    peer.end_input();
    peer.inbox.rest();
    check_status(&say(&chatd, &["GET /rooms/ops HTTP/1.1"], ""), 404);
    // Empty lines do not count.
    let body = format!("\n{}\n \r\n\r\n", lines(10_000));
    let answer = say(&chatd, &[POST, ANN], &body);
    check_status(&answer, 200);
    assert_eq!(answer.matches("OK MSG ").count(), 10_000);
}

#[test]
fn a_client_that_sends_first_and_reads_later_gets_its_refusal() {
    let chatd = Chatd::with(&["--max-upload", "1KiB"]);
    let mut peer = chatd.peer();
    let host = chatd.address;
    let megabyte = vec![b'x'; 1 << 20];
    let put = format!("PUT /rooms/ops/files/a HTTP/1.1\r\nHost: {host}\r\n{ANN}\r\n");
    // More than all socket buffers on the way hold; the connection is usable after it.
    peer.send(format!("{put}Content-Length: {}\r\n\r\n", 40 << 20));
    for _ in 0..40 {
        peer.send(&megabyte);
    }
    peer.expect("HTTP/1.1 413 Payload Too Large");
    peer.inbox.find(|line| line.starts_with("ERR - too-large "));
    peer.send(format!("{put}Transfer-Encoding: chunked\r\n\r\n"));
    for _ in 0..40 {
        peer.send("100000\r\n");
        peer.send(&megabyte);
        peer.send("\r\n");
    }
    peer.send("0\r\n\r\n");
    peer.expect("HTTP/1.1 413 Payload Too Large");
    peer.inbox
        .find(|line| line.starts_with("ERR UPLOAD too-large "));
    peer.send(format!("{put}Content-Length: 2\r\n\r\nab"));
    peer.expect("HTTP/1.1 201 Created");
}

/// Returns the number called `name` in `/metrics`.
fn metric(chatd: &Chatd, name: &str) -> u64 {
    let answer = say(chatd, &["GET /metrics HTTP/1.1"], "");
    let line = answer
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}: {answer}"))
        .parse()
        .unwrap()
}

#[test]
fn the_memory_of_endless_bodies_is_counted_and_bounded() {
    // An eighth of the memory is for waiting data: 128 KiB.
    let chatd = Chatd::with(&["--max-memory", "1MiB"]);
    let large = "x".repeat(1000) + "\n";
    let large = large.repeat(120);
    let length = format!("Content-Length: {}", large.len() + 1);
    let mut slow = chatd.peer();
    slow.send(head(&chatd, &length) + &large);
    let end = Instant::now() + DEADLINE;
    while metric(&chatd, "chatd_waiting_bytes") < large.len() as u64 {
        assert!(Instant::now() < end, "they are not counted");
    }
    let refused = say(&chatd, &[POST, ANN], &large);
    check_status(&refused, 503);
    assert!(refused.contains("\r\nretry-after: "), "{refused}");
    check_kept(&chatd, 0);
    check_status(&say(&chatd, &[POST, ANN], "small"), 200);
    check_kept(&chatd, 1);
    drop(slow);
    while !say(&chatd, &[POST, ANN], &large).starts_with("HTTP/1.1 200 ") {
        assert!(Instant::now() < end, "their memory is not given back");
    }
    check_kept(&chatd, 121);
}

#[test]
fn a_request_that_has_begun_is_completed_even_if_the_client_leaves() {
    let chatd = Chatd::start();
    let body = "x\n".repeat(9000);
    let mut stream = TcpStream::connect(chatd.address).unwrap();
    let length = format!("Content-Length: {}", body.len());
    std::io::Write::write_all(&mut stream, (head(&chatd, &length) + &body).as_bytes()).unwrap();
    let _ = stream.shutdown(Shutdown::Both);
    drop(stream);
    let end = Instant::now() + DEADLINE;
    loop {
        let answer = say(&chatd, &["GET /rooms/ops?count=1000&after=1 HTTP/1.1"], "");
        // Nothing of a complete body is lost, and the rest arrives in time.
        if answer.matches(" MSG #ops ann x").count() == 1000 {
            break;
        }
        assert!(Instant::now() < end, "{answer}");
    }
}

/// Posts `body` and returns the reply.
fn post(chatd: &Chatd, body: &[u8]) -> String {
    let length = format!("Content-Length: {}\r\nConnection: close", body.len());
    ask(chatd, [head(chatd, &length).as_bytes(), body].concat())
}

/// Returns the messages in `#ops`.
fn sent_texts(chatd: &Chatd) -> Vec<String> {
    let answer = say(chatd, &["GET /rooms/ops?count=1000 HTTP/1.1"], "");
    let texts = answer
        .lines()
        .filter_map(|line| line.split_once(" MSG #ops ann "));
    texts.map(|(_, text)| text.to_owned()).collect()
}

#[test]
fn a_body_in_the_encodings_of_windows_is_understood_or_refused_whole() {
    let chatd = Chatd::start();
    let text = "gr\u{fc}\u{df} \u{4e2d}\u{a0a}\u{1f600}\r\nBYE\r\n";
    let units = || std::iter::once(0xfeff).chain(text.encode_utf16());
    let bodies = [
        ["\u{feff}", text].concat().into_bytes(),
        units().flat_map(u16::to_le_bytes).collect(),
        units().flat_map(u16::to_be_bytes).collect(),
    ];
    for (n, body) in bodies.iter().enumerate() {
        check_status(&post(&chatd, body), 200);
        let expected = ["gr\u{fc}\u{df} \u{4e2d}\u{a0a}\u{1f600}", "BYE"].repeat(n + 1);
        assert_eq!(sent_texts(&chatd), expected);
    }
    let kept = sent_texts(&chatd);
    for body in [
        &b"one\nt\0wo\n"[..],
        b"o\0n\0e\0\n\0",
        b"\xff\xfeo\0n\0e",
        b"\xff\xfe\x00\xd8o\0",
    ] {
        let answer = post(&chatd, body);
        check_status(&answer, 400);
        assert!(answer.contains("ERR - not-utf8 "), "{answer}");
    }
    // HTTP has no telnet commands, so no byte is taken for one.
    let answer = post(&chatd, b"a\xff\xf1b\n");
    check_status(&answer, 400);
    assert!(answer.contains("ERR MSG not-utf8 "), "{answer}");
    assert_eq!(sent_texts(&chatd), kept);
    // In UTF-16, bytes with the value of a line end may be part of another character.
    let many: Vec<u8> = std::iter::once(0xfeff)
        .chain(
            std::iter::repeat_n(0x0a0a, 400)
                .chain([0x0a])
                .cycle()
                .take(401 * 30),
        )
        .flat_map(u16::to_be_bytes)
        .collect();
    let answer = post(&chatd, &many);
    check_status(&answer, 200);
    let reply = answer.lines().last().unwrap();
    assert!(
        reply.starts_with("OK TEXT ") && reply.ends_with(" 30"),
        "{answer}"
    );
}
