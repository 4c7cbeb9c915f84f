//! protocol.md 4.28, chatd.md 3: what the operator of a server sees.
//!
//! Metrics and the log; the log contains no messages.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::server::Chatd;
use crate::support::spawn::{Peer, Program};
use rustix::process::Signal;

/// Sends `GET path` with the header lines `more`. Returns the body and the status line.
fn get(address: SocketAddr, path: &str, more: &str) -> (String, String) {
    let mut peer = Peer::connect(address);
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}Connection: close\r\n\r\n");
    peer.send(request);
    let reply = String::from_utf8(peer.inbox.rest()).expect("it is text");
    let (head, body) = reply.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.lines().next().unwrap_or_default();
    (status.to_owned(), body.to_owned())
}

/// Returns every number of `/metrics`, by its name with labels.
fn metrics(address: SocketAddr) -> BTreeMap<String, f64> {
    let (status, body) = get(address, "/metrics", "");
    assert_eq!(status, "HTTP/1.1 200 OK");
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    let numbers = lines.map(|line| {
        let (name, number) = line.rsplit_once(' ').expect("a name and a number");
        (name.to_owned(), number.parse().expect("a number"))
    });
    numbers.collect()
}

#[track_caller]
fn check(metrics: &BTreeMap<String, f64>, name: &str, expected: f64) {
    assert_eq!(metrics.get(name), Some(&expected), "{name} in {metrics:#?}");
}

#[test]
fn metrics_count_connections_and_stored_events() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path().to_str().unwrap();
    let chatd = Chatd::with(&["--data", data, "--max-connections", "4"]);
    let mut ann = chatd.member("ann");
    let mut bob = chatd.member("bob");
    bob.ask("JOIN #ops", "OK JOIN #ops 0");
    ann.ask("MSG one", "OK MSG 1 <time>");
    bob.expect("MSG #lobby ann one");
    ann.ask("MSG two", "OK MSG 2 <time>");
    bob.expect("MSG #lobby ann two");
    ann.send("UPLOAD a.txt 5\nhello");
    ann.expect("OK UPLOAD 3 5 <sha256>");
    bob.expect("FILE #lobby ann 3 5 a.txt");

    let found = metrics(chatd.address);
    check(&found, "chatd_connections{carrier=\"lines\"}", 2.0);
    check(&found, "chatd_connections{carrier=\"http\"}", 1.0);
    check(&found, "chatd_connections{carrier=\"websocket\"}", 0.0);
    check(&found, "chatd_connections_max", 4.0);
    check(&found, "chatd_accepted_total", 3.0);
    check(&found, "chatd_nicks", 2.0);
    check(&found, "chatd_rooms", 2.0);
    check(&found, "chatd_room_members", 3.0);
    check(&found, "chatd_files", 1.0);
    check(&found, "chatd_file_bytes", 5.0);
    check(&found, "chatd_log_appended_total", 3.0);
    check(&found, "chatd_log_kept_total", 3.0);
    check(&found, "chatd_log_waiting", 0.0);
    check(&found, "chatd_log_commit_seconds_bucket{le=\"+Inf\"}", 3.0);
    check(&found, "chatd_log_commit_seconds_count", 3.0);
    check(&found, "chatd_refused_total{limit=\"connections\"}", 0.0);
    assert!(found["chatd_received_bytes_total"] > 30.0);
    assert!(found["chatd_sent_bytes_total"] > 100.0);
    assert!(found["process_resident_memory_bytes"] > 1e6);

    // Two more are accepted beside ann and bob; the third is refused, and counted.
    let (_three, _four) = (chatd.peer(), chatd.peer());
    chatd.peer().expect("CLOSED busy …");
    drop((_three, _four));
    ann.ask("PING", "OK PING");
    ann.send("BYE\n");
    ann.expect("OK BYE");
    assert!(ann.inbox.rest().is_empty());
    drop(ann);
    let found = metrics_when(chatd.address, "chatd_connections{carrier=\"lines\"}", 1.0);
    check(&found, "chatd_refused_total{limit=\"connections\"}", 1.0);
    check(&found, "chatd_nicks", 1.0);
    metrics_when(chatd.address, "chatd_connections{carrier=\"new\"}", 0.0);
}

/// Waits until the metric `name` has the expected value, because the end of a connection takes a moment. Returns all
/// metrics.
fn metrics_when(address: SocketAddr, name: &str, expected: f64) -> BTreeMap<String, f64> {
    let end = std::time::Instant::now() + crate::support::inbox::DEADLINE;
    loop {
        let found = metrics(address);
        if found.get(name) == Some(&expected) || std::time::Instant::now() > end {
            check(&found, name, expected);
            return found;
        }
    }
}

#[test]
fn metrics_are_for_this_machine_unless_configured_otherwise() {
    let chatd = Chatd::start();
    let refused = "HTTP/1.1 403 Forbidden";
    for passed_on in [
        "X-Forwarded-For: 192.0.2.1\r\n",
        "Forwarded: for=192.0.2.1\r\n",
    ] {
        assert_eq!(get(chatd.address, "/metrics", passed_on).0, refused);
    }
    let (status, body) = get(chatd.address, "/health", "X-Forwarded-For: 192.0.2.1\r\n");
    assert_eq!(
        (status.as_str(), body.as_str()),
        ("HTTP/1.1 200 OK", "ok\n")
    );
    let open = Chatd::with(&["--metrics-from", "0.0.0.0/0"]);
    let (status, _) = get(open.address, "/metrics", "X-Forwarded-For: 192.0.2.1\r\n");
    assert_eq!(status, "HTTP/1.1 200 OK");
}

/// Sends messages of every kind to a server that logs as much as it can, as text or JSON; returns its log.
fn log_of_a_session(format: &str) -> String {
    let command = format!(
        "exec {} --listen 127.0.0.1:0 --memory --operator ann --announce-after 1h \
         --log-level trace --log-format {format}",
        env!("CARGO_BIN_EXE_chatd")
    );
    let mut chatd = Program::start(&command, SocketAddr::from(([0; 4], 0)));
    let line = chatd.expect("chatd: listening on <word>");
    let address = line.rsplit(' ').next().unwrap().parse().unwrap();
    let mut ann = Peer::connect(address);
    ann.ask("NICK ann secret-guard", "OK NICK ann #lobby 0");
    ann.ask("REGISTER secret-password", "OK REGISTER ann");
    let mut bob = Peer::connect(address);
    bob.ask("NICK ann secret-guess", "ERR NICK bad-password …");
    bob.ask("NICK bob", "OK NICK bob #lobby 0");
    bob.ask("MSG said-text", "OK MSG <id> <time>");
    bob.ask("TELL ann said-privately", "OK TELL - <time>");
    bob.ask("TOPIC said-topic", "OK TOPIC #lobby said-topic");
    bob.ask("SEARCH said-words", "OK SEARCH 0");
    bob.ask("said-nonsense", "ERR - unknown-verb …");
    bob.send("UPLOAD said-name.txt 10\nsaid-bytes");
    bob.expect("OK UPLOAD <id> 10 <sha256>");
    let mut operator = Peer::connect(address);
    operator.ask("NICK ann secret-password", "OK NICK ann #lobby <id>");
    let token = operator.ask("TOKEN ci", "OK TOKEN ci <word>");
    let token = token.rsplit(' ').next().unwrap().to_owned();
    operator.ask("NOTE said-to-all", "OK NOTE");
    operator.ask("BAN 192.0.2.0/24 1h flooding", "OK BAN 192.0.2.0/24");
    operator.ask("KICK bob flooding", "OK KICK bob");
    let mut bot = Peer::connect(address);
    bot.ask(&format!("NICK ann {token}"), "OK NICK ann #lobby <id>");
    // bob:secret-basic
    let basic = "Authorization: Basic Ym9iOnNlY3JldC1iYXNpYw==\r\n";
    let _ = get(address, "/rooms/lobby?q=said-query", basic);
    drop((ann, bob));
    chatd.signal(Signal::TERM);
    let ended = chatd.wait();
    assert_eq!(ended.code, Some(0));
    assert!(!ended.errors.contains(&token), "a token stands in the log");
    ended.errors
}

#[test]
fn the_log_names_peers_and_never_their_messages() {
    for format in ["text", "json"] {
        let log = log_of_a_session(format);
        for secret in ["said-", "secret-", "Ym9iOnN"] {
            assert!(!log.contains(secret), "{secret} stands in the log:\n{log}");
        }
        for wanted in [
            "started",
            "127.0.0.1",
            "connected",
            "ann",
            "bob",
            "ended",
            "stopping",
            "ann sends a notice",
            "ann bans 192.0.2.0/24 until",
            "ann kicks bob",
            "flooding",
        ] {
            assert!(log.contains(wanted), "{wanted} is not in the log:\n{log}");
        }
        if format == "json" {
            for line in log.lines() {
                let object: serde_json::Value =
                    serde_json::from_str(line).expect("an object a line");
                assert!(object["level"].is_string(), "{line}");
            }
        }
    }
}

/// Regression test. A client that left replies unread, or was in the middle of a transfer, was once neither notified
/// nor disconnected.
#[test]
fn a_kicked_client_is_gone_at_once_whether_it_reads_or_not() {
    let flags = "--memory --greet-after 1h --announce-after 1h --operator root";
    let chatd = Chatd::with(&flags.split(' ').collect::<Vec<_>>());
    let mut root = chatd.member("root");
    root.ask("REGISTER my secret", "OK REGISTER root");
    let mut kate = TcpStream::connect(chatd.address).expect("it listens");
    let deadline = Duration::from_secs(60);
    kate.set_read_timeout(Some(deadline)).expect("not zero");
    kate.write_all(b"NICK kate\n").expect("it reads");
    let mut hello = [0; 8];
    kate.read_exact(&mut hello).expect("it answers");
    assert_eq!(&hello, b"OK NICK ");
    root.ask("JOIN #talk", "OK JOIN #talk 0");
    let line = format!("MSG {}\n", "x".repeat(4000));
    for _ in 0..1000 {
        root.send(&line);
        root.expect("OK MSG <id> <time>");
    }
    let wanted = 20;
    kate.write_all("HISTORY #talk 1000\n".repeat(wanted).as_bytes())
        .expect("it reads");
    root.ask("KICK kate enough", "OK KICK kate");
    // It is in no room any more, though its client has read nothing.
    let until = Instant::now() + deadline;
    loop {
        root.send("WHO #lobby\n");
        let mut is_there = false;
        loop {
            let line = root.inbox.line();
            is_there |= line == "USER #lobby kate";
            if line.starts_with("OK WHO ") {
                break;
            }
        }
        if !is_there {
            break;
        }
        assert!(Instant::now() < until, "it is still there");
    }
    // Whatever it reads now, the connection ends, closed or reset, long before everything that it requested.
    let mut rest = Vec::new();
    let _ = kate.read_to_end(&mut rest);
    assert!(rest.len() < wanted * 4_000_000, "replies were dropped");
    let end = kate.read(&mut hello);
    assert!(!matches!(end, Ok(1..)), "it has ended");
    let mut again = chatd.member("kate");
    again.ask("PING", "OK PING");
}
