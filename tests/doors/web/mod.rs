//! protocol.md 11, 11.2, http.md 1, 2, 5: malformed and hostile HTTP, and the pages of other sites.

mod bodies;
mod hooks;
mod names;
mod ntfy;
mod proxy;

use crate::support::schema::{fits, http_schema};
use crate::support::server::Chatd;
use crate::support::spawn::Peer;
use crate::support::web::{ANN, POST, ask, check_status, say};

/// Checks that nothing was sent to the room before, and that a message sent now arrives.
#[track_caller]
fn check_nothing_sent(chatd: &Chatd) {
    let answer = say(chatd, &["GET /rooms/lobby HTTP/1.1"], "");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    let mut peer = chatd.member("good");
    peer.ask("TELL #good fine", "OK TELL <id> <time>");
}

#[test]
fn a_foreign_page_can_neither_send_nor_read() {
    let chatd = Chatd::start();
    let origin = format!("Origin: http://{}", chatd.address);
    for foreign in [
        "Origin: null",
        "Origin: http://evil.example",
        "Origin: http://127.0.0.1:1",
        "Sec-Fetch-Site: cross-site",
    ] {
        for request in [
            "POST /rooms/lobby HTTP/1.1",
            "GET /rooms/lobby HTTP/1.1",
            "GET /ws HTTP/1.1",
            "GET / HTTP/1.1",
        ] {
            let answer = say(&chatd, &[request, foreign, ANN], "hello");
            check_status(&answer, 403);
            assert!(
                !answer.to_ascii_lowercase().contains("access-control"),
                "{answer}"
            );
        }
    }
    check_status(
        &say(&chatd, &[POST, "Host: evil.example", ANN], "hello"),
        421,
    );
    check_nothing_sent(&chatd);
    check_status(&say(&chatd, &[POST, &origin, ANN], "hello"), 200);
}

#[test]
fn an_http_connection_never_becomes_a_conversation() {
    let chatd = Chatd::start();
    let host = chatd.address;
    for request in [
        "GET / HTTP/1.1\r\nNICK evil\r\nMSG hello\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\n\r\nNICK evil\r\nMSG hello\r\n".to_owned(),
        "GET / HTTP/1.0\n\nNICK evil\nMSG hello\n".to_owned(),
        format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\nhelloNICK evil\r\nMSG hello\r\n"
        ),
        format!("GET /ws HTTP/1.1\r\nHost: {host}\r\n\r\nNICK evil\r\nMSG hello\r\n"),
    ] {
        let mut peer = chatd.peer();
        peer.send(&request);
        peer.end_input();
        let answer = String::from_utf8_lossy(&peer.inbox.rest()).into_owned();
        assert!(answer.starts_with("HTTP/1."), "{request:?}: {answer}");
        assert!(!answer.contains("OK NICK"), "{request:?}: {answer}");
    }
    check_nothing_sent(&chatd);
}

#[test]
fn a_preconnected_client_gets_only_the_reply_to_its_request() {
    let chatd = Chatd::start();
    let mut peer = std::net::TcpStream::connect(chatd.address).expect("it listens");
    let second = std::time::Duration::from_secs(1);
    peer.set_read_timeout(Some(second)).expect("not zero");
    let mut byte = [0];
    let silence = std::io::Read::read(&mut peer, &mut byte);
    let kind = silence.expect_err("nobody is greeted by a clock").kind();
    assert_eq!(kind, std::io::ErrorKind::WouldBlock);
    let request = format!(
        "GET /health HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        chatd.address
    );
    std::io::Write::write_all(&mut peer, request.as_bytes()).expect("it is open");
    let patience = Some(crate::support::inbox::DEADLINE);
    peer.set_read_timeout(patience).expect("not zero");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut peer, &mut answer).expect("it is text");
    check_status(&answer, 200);
    assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
}

#[test]
fn a_malformed_request_is_refused_and_the_next_is_answered() {
    let chatd = Chatd::start();
    let host = format!("Host: {}", chatd.address);
    let many: String = (0..100).map(|n| format!("X-{n}: a\r\n")).collect();
    let long = format!("X: {}\r\n", "a".repeat(20_000));
    for (request, status) in [
        (format!("GET / HTTP/1.1\r\n{host}\r\n{many}\r\n"), 431),
        (format!("GET / HTTP/1.1\r\n{host}\r\n{long}\r\n"), 431),
        (
            format!("GET / HTTP/1.1\r\n{host}\r\n{host}\r\nConnection: close\r\n\r\n"),
            400,
        ),
        (
            format!("{POST}\r\n{host}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            400,
        ),
        (
            format!("{POST}\r\n{host}\r\nContent-Length: -1\r\n\r\nab"),
            400,
        ),
        (format!("{POST}\r\n{host}\r\n bad: header\r\n\r\n"), 400),
        (
            format!("{POST}\r\n{host}\r\n{ANN}\r\nContent-Length: 99999999\r\n\r\n"),
            413,
        ),
    ] {
        let mut peer = chatd.peer();
        peer.try_send(request.as_bytes());
        let answer = String::from_utf8_lossy(&peer.inbox.rest()).into_owned();
        check_status(&answer, status);
    }
    for (path, status) in [
        ("/rooms/a%20b", 400),
        ("/rooms/%ff", 400),
        ("/rooms/ops%0aNICK%20evil", 400),
        ("/rooms/lobby?after=x", 400),
        ("/rooms/lobby?q=%0aNICK%20evil", 200),
        ("/files/0", 404),
        ("/files/../../etc/passwd", 404),
        ("/..%2f..%2fetc%2fpasswd", 404),
        ("/rooms/lobby/files/a/b", 404),
        ("/rooms/lobby?follow&q=tea", 400),
        ("/rooms/lobby/?count=1", 200),
        ("/rooms/lobby/files/", 200),
        ("/health", 200),
    ] {
        check_status(&say(&chatd, &[&format!("GET {path} HTTP/1.1")], ""), status);
    }
    for bad in [
        "Basic",
        "Basic !!!",
        "Bearer abc",
        "Basic YW5u",
        "Basic Og==",
        "Basic YW5uOmEKTklDSyBldmls",
    ] {
        check_status(
            &say(&chatd, &[POST, &format!("Authorization: {bad}")], "hello"),
            401,
        );
    }
    check_nothing_sent(&chatd);
}

#[test]
fn a_partly_understood_request_is_refused_and_not_carried_out() {
    let chatd = Chatd::start();
    let host = format!("Host: {}", chatd.address);
    let form = "Content-Type: multipart/form-data; boundary=x";
    const PUT: &str = "PUT /rooms/lobby/files/a HTTP/1.1";
    const SAY: &str = "POST /rooms/lobby HTTP/1.1";
    for (lines, status) in [
        (vec![SAY, form, ANN], 415),
        (vec![PUT, form, ANN], 415),
        (vec![PUT, "Content-Range: bytes 3-7/9", ANN], 400),
        (vec![PUT, "Content-Encoding: gzip", ANN], 415),
        (vec![SAY, "If-Match: \"zz\"", ANN], 412),
        (vec!["POST /rooms/lobby?as=ann HTTP/1.1", ANN], 400),
        (vec!["PUT /rooms/lobby/files/a?md5=1 HTTP/1.1", ANN], 400),
        (vec!["GET /rooms/lobby?limit=5 HTTP/1.1"], 400),
        (vec!["GET /rooms/lobby?count=5&count=6 HTTP/1.1"], 400),
        (vec!["GET /rooms/lobby?q=tea&count=6 HTTP/1.1"], 400),
        (vec!["GET /rooms/lobby?before=5&follow HTTP/1.1"], 400),
        (vec!["GET /rooms/lobby?before=5&after=1 HTTP/1.1"], 400),
        (vec!["GET /rooms/lobby?follow=perhaps HTTP/1.1"], 400),
        (vec!["GET /rooms/lobby?follow=false HTTP/1.1"], 200),
        (vec!["GET /rooms?x HTTP/1.1"], 400),
        (vec!["GET /files/1?x HTTP/1.1"], 400),
        (vec!["GET /?utm_source=mail HTTP/1.1"], 200),
        (vec!["GET http://evil.example/health HTTP/1.1"], 421),
        (vec!["GET /health HTTP/1.1", "If-Match: \"zz\""], 412),
        (vec!["GET /health HTTP/1.1", "If-Match: *"], 200),
    ] {
        check_status(&say(&chatd, &lines, ""), status);
        let body = if status == 200 { "" } else { "hello" };
        check_status(&say(&chatd, &lines, body), status);
    }
    for coding in ["gzip, chunked", "chunked, chunked"] {
        let coding = format!("Transfer-Encoding: {coding}");
        let request = [SAY, &host, ANN, &coding, "\r\n5\r\nhello\r\n0\r\n\r\n"];
        check_status(&ask(&chatd, request.join("\r\n")), 501);
    }
    check_status(
        &ask(&chatd, "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n"),
        400,
    );
    // The parameters that are known are named.
    let answer = say(&chatd, &["GET /rooms/lobby?limit=5 HTTP/1.1"], "");
    assert!(answer.contains("after, before, count"), "{answer}");
    check_nothing_sent(&chatd);
    let answer = say(&chatd, &["GET /rooms/lobby/files HTTP/1.1"], "");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn history_is_paged_backward_over_http() {
    let chatd = Chatd::start();
    check_status(&say(&chatd, &[POST, ANN], "1\n2\n3\n4\n5"), 200);
    let texts = |query: &str| {
        let answer = say(&chatd, &[&format!("GET /rooms/ops?{query} HTTP/1.1")], "");
        let lines = answer.lines().filter(|line| line.starts_with("PAST "));
        let parts = lines.map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[1].to_owned(), words[6].to_owned())
        });
        parts.collect::<Vec<_>>()
    };
    let newest = texts("count=2");
    assert_eq!((&newest[0].1[..], &newest[1].1[..]), ("4", "5"));
    let older = texts(&format!("count=2&before={}", newest[0].0));
    assert_eq!((&older[0].1[..], &older[1].1[..]), ("2", "3"));
}

#[test]
fn a_browser_with_an_unknown_host_name_gets_a_page_that_says_what_to_do() {
    let chatd = Chatd::start();
    let ask = |name: &str, accept: &str| {
        let (host, accept) = (format!("Host: {name}"), format!("Accept: {accept}"));
        say(&chatd, &["GET / HTTP/1.1", &host, &accept], "")
    };
    let page = ask(
        "chat.test:5861",
        "text/html,application/xhtml+xml,*/*;q=0.8",
    );
    check_status(&page, 421);
    for wanted in [
        "content-type: text/html",
        "style-src 'sha256-",
        "<pre>chatd --host chat.test</pre>",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    assert!(!page.contains("<script"), "{page}");
    let page = ask("<b>x</b>", "text/html");
    check_status(&page, 421);
    assert!(!page.contains("<b>"), "{page}");
    let line = ask("chat.test", "*/*");
    check_status(&line, 421);
    assert!(
        line.ends_with("; start chatd with --host chat.test\n"),
        "{line}"
    );
    check_status(&ask("localhost", "text/html"), 200);
}

#[test]
fn a_client_that_sends_http_or_tls_too_slowly_is_disconnected() {
    // Longer than a busy machine needs for a complete one.
    let chatd = Chatd::with(&["--handshake-within", "5s"]);
    let host = chatd.address;
    let begun = [
        format!("GET / HTTP/1.1\r\nHost: {host}\r\n").into_bytes(),
        // The head of a record of 512 bytes, the rest of which never comes.
        b"\x16\x03\x01\x02\x00\x01".to_vec(),
        // A complete request, then half of another, which never ends.
        format!("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\nGET").into_bytes(),
        format!("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes(),
    ];
    let open = |bytes: &Vec<u8>| {
        let mut peer = chatd.peer();
        peer.send(bytes);
        peer
    };
    let mut slow: Vec<Vec<Peer>> = begun
        .iter()
        .map(|bytes| (0..20).map(|_| open(bytes)).collect())
        .collect();
    check_status(&say(&chatd, &["GET /health HTTP/1.1"], ""), 200);
    for (bytes, peers) in begun.iter().zip(&mut slow) {
        for peer in peers {
            let rest = peer.inbox.rest(); // it ends
            let is_answered = rest.starts_with(b"HTTP/1.1 200 ");
            assert_eq!(is_answered, bytes.starts_with(b"GET /health"), "{rest:?}");
        }
    }
}

#[test]
fn a_body_of_several_lines_is_one_text_whatever_it_contains() {
    let chatd = Chatd::start();
    let mut watch = chatd.peer();
    watch.send("JOIN #ops\n");
    watch.expect("OK JOIN #ops <id>");
    let body = "\nNICK evil\r\n\n..\nBYE\n/quit\nlast\n \n";
    let answer = say(&chatd, &[POST, ANN], body);
    check_status(&answer, 200);
    let reply = answer.lines().last().unwrap();
    assert!(
        reply.starts_with("OK TEXT ") && reply.ends_with(" 6"),
        "{answer}"
    );
    for text in [" NICK evil", "", " ..", " BYE", " /quit", " last"] {
        watch.expect(&format!("MSG #ops ann{text}"));
    }
    // Spaces belong to the text, but around it empty lines do not.
    check_status(&say(&chatd, &[POST, ANN], "\r\n \n  two  \n\n"), 200);
    let kept = say(&chatd, &["GET /rooms/ops?count=1 HTTP/1.1"], "");
    assert!(kept.contains(" MSG #ops ann   two  \n"), "{kept}");
    watch.expect("MSG #ops ann …");
    // Only a body that is sent as one message can have tags and a nonce.
    let tagged = [POST, ANN, "X-Chat-Tag: x-run=7", "Idempotency-Key: \"k.1\""];
    let first = say(&chatd, &tagged, "a\nb\n");
    let again = say(&chatd, &tagged, "a\nb\n");
    assert_eq!(first.lines().last(), again.lines().last());
    for text in ["a", "b"] {
        watch.expect(&format!("MSG #ops ann {text}"));
    }
    let answer = say(&chatd, &tagged, &format!("a\n{}\n", "x".repeat(5000)));
    check_status(&answer, 413);
    assert!(answer.contains("ERR - too-long "), "{answer}");
    let bad_key = [POST, ANN, "Idempotency-Key: a b"];
    check_status(&say(&chatd, &bad_key, "a\n"), 400);
    // A line that is too long for a text: each line is a message. The first error determines the status.
    let body = format!("one\n{}\ntwo\n", "x".repeat(5000));
    let answer = say(&chatd, &[POST, ANN], &body);
    check_status(&answer, 413);
    assert_eq!(answer.matches("OK MSG ").count(), 2, "{answer}");
    watch.expect("MSG #ops ann one");
    watch.expect("MSG #ops ann two");
}

#[test]
fn an_aborted_upload_leaves_no_file() {
    let chatd = Chatd::start();
    let mut watch = chatd.peer();
    watch.send("JOIN #ops\n");
    watch.expect("OK JOIN #ops <id>");
    let head = format!(
        "PUT /rooms/ops/files/a.txt HTTP/1.1\r\nHost: {}\r\n{ANN}\r\n",
        chatd.address
    );
    let mut live = chatd.peer();
    live.send(format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    ));
    watch.expect("FILE #ops ann <id> * a.txt");
    drop(live);
    watch.expect("REMOVE #ops ann <id>");
    let mut whole = chatd.peer();
    whole.send(format!("{head}Content-Length: 9\r\n\r\nabc"));
    whole.end_input();
    whole.inbox.rest();
    let files = say(&chatd, &["GET /rooms/ops/files HTTP/1.1"], "");
    assert!(files.ends_with("\r\n\r\n"), "{files}");
    let other = format!("{head}Content-Length: 3\r\nConnection: close\r\n\r\nabc");
    check_status(&ask(&chatd, other), 201);
    watch.expect("FILE #ops ann <id> 3 a.txt");
}

/// Returns the first of several replies, and what follows it.
fn first_reply(bytes: &[u8], has_body: bool) -> (String, &[u8], &[u8]) {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, rest) = bytes.split_at(end.expect("a head") + 4);
    let head = String::from_utf8_lossy(head).into_owned();
    let length = head.split("content-length: ").nth(1).expect("its length");
    let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
    let (body, rest) = rest.split_at(if has_body { length } else { 0 });
    (head, body, rest)
}

#[test]
fn files_arrive_whole_and_in_order_however_slowly_they_are_read() {
    let chatd = Chatd::start();
    // More than the socket buffers between hold, so that the server must wait for the reader.
    let bytes: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let length = bytes.len();
    let put = |name: &str, body: &[u8]| {
        let head = format!(
            "PUT /rooms/ops/files/{name} HTTP/1.1\r\nHost: {}\r\n{ANN}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            chatd.address,
            body.len()
        );
        let answer = ask(&chatd, [head.as_bytes(), body].concat());
        check_status(&answer, 201);
        let number = answer.split("OK UPLOAD ").nth(1).expect("its number");
        number.split(' ').next().unwrap().to_owned()
    };
    let (large, empty) = (put("large", &bytes), put("empty", b""));
    let requests = [
        (format!("GET /files/{large}"), "X: y"),
        ("GET /health".to_owned(), "X: y"),
        (format!("GET /files/{empty}"), "X: y"),
        (format!("HEAD /files/{large}"), "X: y"),
        (format!("GET /files/{large}"), "Range: bytes=3-18000000"),
        (format!("GET /files/{large}"), "Range: bytes=-5"),
        ("GET /health".to_owned(), "Connection: close"),
    ];
    let mut peer = chatd.peer();
    for (request, field) in &requests {
        let host = chatd.address;
        peer.send(format!(
            "{request} HTTP/1.1\r\nHost: {host}\r\n{field}\r\n\r\n"
        ));
    }
    // A client that reads nothing does not keep others from the file.
    let other = ask(
        &chatd,
        format!(
            "GET /files/{large} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            chatd.address
        ),
    );
    assert!(other.len() > length);
    let all = peer.inbox.rest();
    let mut rest = all.as_slice();
    for (status, body) in [
        (200, Some(bytes.as_slice())),
        (200, Some(b"ok\n")),
        (200, Some(b"")),
        (200, None), // HEAD
        (206, Some(&bytes[3..=18_000_000])),
        (206, Some(&bytes[length - 5..])),
        (200, Some(b"ok\n")),
    ] {
        let (head, found, after) = first_reply(rest, body.is_some());
        rest = after;
        check_status(&head, status);
        assert!(found == body.unwrap_or_default(), "{head}: other bytes");
    }
    assert!(rest.is_empty());
}

#[test]
fn a_missing_room_is_refused_with_the_same_line_with_and_without_follow() {
    let chatd = Chatd::start();
    for query in ["", "?follow", "?follow&after=0"] {
        let reply = say(
            &chatd,
            &[&format!("GET /rooms/nowhere{query} HTTP/1.1")],
            "",
        );
        check_status(&reply, 404);
        assert!(reply.contains("ERR HISTORY no-such-room "), "{reply}");
    }
}

#[test]
fn a_follower_receives_events_at_once_and_is_closed_when_the_server_stops() {
    let mut chatd = Chatd::start();
    say(&chatd, &[POST, ANN], "before");
    let mut events = chatd.peer();
    events.send(format!(
        "GET /rooms/ops?after=0 HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n",
        chatd.address
    ));
    events
        .inbox
        .find(|line| line.starts_with("data: PAST ") && line.ends_with("MSG #ops ann before"));
    let mut lines = chatd.peer();
    lines.send(format!(
        "GET /rooms/ops?follow HTTP/1.1\r\nHost: {}\r\n\r\n",
        chatd.address
    ));
    lines
        .inbox
        .find(|line| line.contains("transfer-encoding: chunked"));
    lines.inbox.find(str::is_empty);
    // It is not listed as a member, and receives no joins and leaves.
    let mut ann = Peer::connect(chatd.address);
    ann.ask("JOIN #ops", "OK JOIN #ops <id>");
    ann.ask("NICK ann", "OK NICK ann #ops <id>");
    ann.ask("WHO", "USER #ops ann");
    ann.expect("OK WHO 1");
    ann.ask("MSG after", "OK MSG <id> <time>");
    events
        .inbox
        .find(|line| line.ends_with("MSG #ops ann after"));
    lines
        .inbox
        .find(|line| line.ends_with("MSG #ops ann after"));
    chatd.signal(rustix::process::Signal::TERM);
    assert!(
        chatd.wait(crate::support::inbox::DEADLINE).is_some(),
        "it does not stop"
    );
}

#[test]
fn a_server_with_a_password_shows_nothing_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("password");
    std::fs::write(&secret, "open sesame\n").unwrap();
    let chatd = Chatd::with(&["--password-file", secret.to_str().unwrap()]);
    // any:open sesame, any:guess
    let (right, wrong) = (
        "Authorization: Basic YW55Om9wZW4gc2VzYW1l",
        "Authorization: Basic YW55Omd1ZXNz",
    );
    for path in [
        "/rooms",
        "/rooms/lobby",
        "/rooms/lobby?follow",
        "/rooms/lobby/files",
        "/files/7",
        "/help",
    ] {
        let get = format!("GET {path} HTTP/1.1");
        check_status(&say(&chatd, &[&get], ""), 401);
        check_status(&say(&chatd, &[&get, wrong], ""), 401);
    }
    for path in ["/", "/health", "/metrics"] {
        check_status(&say(&chatd, &[&format!("GET {path} HTTP/1.1")], ""), 200);
    }
    check_status(&say(&chatd, &["GET /rooms HTTP/1.1", right], ""), 200);
    check_status(&say(&chatd, &[POST, right], "hello"), 200);
    check_status(&say(&chatd, &["GET /rooms/ops HTTP/1.1", right], ""), 200);
    check_status(&say(&chatd, &["GET /files/7 HTTP/1.1", right], ""), 404);
    check_status(&say(&chatd, &[POST, ANN], "hello"), 401);
}

#[test]
fn a_disabled_protocol_is_refused_in_its_own_terms() {
    let chatd = Chatd::with(&["--web", "off", "--tls", "off"]);
    check_status(&say(&chatd, &["GET / HTTP/1.1"], ""), 403);
    assert!(
        ask(&chatd, b"\x16\x03\x01\x00\x05hello")
            .as_bytes()
            .starts_with(b"\x15\x03\x01\x00\x02\x02\x28")
    );
    chatd.member("ann");
    let chatd = Chatd::with(&["--plain", "off"]);
    check_status(&say(&chatd, &["GET /rooms HTTP/1.1"], ""), 403);
    for first in ["NICK ann\n", "\n"] {
        let mut peer = chatd.peer();
        peer.send(first);
        peer.expect("CLOSED not-allowed …");
    }
}

/// `http.schema.json` describes the reply to a request with `?format=json`, whatever its `Accept` header says.
#[test]
fn json_requested_by_a_parameter_matches_its_schema() {
    let chatd = Chatd::start();
    let schema = http_schema();
    let mut bob = chatd.member("bob");
    bob.ask("JOIN #ops", "OK JOIN #ops <id>");
    bob.ask("TOPIC #ops all day", "OK TOPIC #ops all day");
    bob.ask("@x-run=17 MSG green", "OK MSG <id> <time>");
    let mut verbs = std::collections::BTreeSet::new();
    for (request, body) in [
        ("GET /rooms?format=json HTTP/1.1", ""),
        ("GET /rooms/ops?format=json HTTP/1.1", ""),
        ("GET /rooms/ops/files?format=json HTTP/1.1", ""),
        ("POST /rooms/ops?format=json HTTP/1.1", "hello"),
        ("POST /rooms/ops?format=json HTTP/1.1", "one\ntwo"),
    ] {
        let answer = say(&chatd, &[request, ANN, "Accept: text/plain"], body);
        check_status(&answer, 200);
        // A body whose length is not known comes as one chunk.
        let (_, json) = answer.split_once("\r\n\r\n").expect("a body");
        let json = json
            .find('[')
            .zip(json.rfind(']'))
            .map(|(at, end)| &json[at..=end]);
        let json = json.unwrap_or_else(|| panic!("{request}: {answer}"));
        let objects: Vec<serde_json::Value> =
            serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"));
        for object in objects {
            assert!(fits(&schema, &schema, &object), "{request}: {object}");
            verbs.insert(object["verb"].as_str().expect("a verb").to_owned());
        }
    }
    let expected = ["MSG", "OK", "ROOM", "TOPIC"];
    assert!(
        expected.iter().all(|verb| verbs.contains(*verb)),
        "{verbs:?}"
    );
    for request in [
        "GET /rooms?format=xml HTTP/1.1",
        "GET /rooms/ops?format= HTTP/1.1",
        "POST /rooms/ops?format=lines HTTP/1.1",
    ] {
        check_status(&say(&chatd, &[request, ANN], ""), 400);
    }
}
