//! protocol.md 4.12, http.md 3: clients that follow a file or a room.
//!
//! With every protocol, followers that have gone are detected, and banned followers are disconnected.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::inbox::DEADLINE;
use crate::support::server::Chatd;
use crate::support::spawn::Peer;
use crate::support::web::{ask, check_status, say};
use crate::{announced, until};

/// Returns the number of connections, not counting the one that asks for this number.
fn others(chatd: &Chatd) -> usize {
    let answer = say(chatd, &["GET /metrics HTTP/1.1"], "");
    let lines = answer
        .lines()
        .filter(|line| line.starts_with("chatd_connections{"));
    let count = |line: &str| line.rsplit(' ').next()?.parse::<usize>().ok();
    lines.filter_map(count).sum::<usize>() - 1
}

#[track_caller]
fn wait_for(chatd: &Chatd, expected: usize, within: Duration) {
    until(within, || match others(chatd) {
        found if found == expected => Ok(()),
        found => Err(format!("{found} instead of {expected}")),
    });
}

/// Connects a client that uploads a live file; returns it with the file's id.
fn sender(chatd: &Chatd) -> (Peer, String) {
    let mut sender = chatd.member("sender");
    let mut watch = chatd.peer();
    watch.ask("JOIN #lobby", "OK JOIN #lobby <id>");
    sender.send("UPLOAD live *\nabc");
    let file = watch.expect("FILE #lobby sender <id> * live");
    (sender, announced(&file))
}

/// Connects clients that follow the lobby or `file`, over each protocol. They receive nothing more.
fn followers(chatd: &Chatd, file: &str) -> Vec<TcpStream> {
    let host = format!("Host: {}", chatd.address);
    let get = format!("GET /files/{file} HTTP/1.1\r\n{host}\r\n\r\n");
    let download = format!("DOWNLOAD {file}\n");
    let files = [get, download].map(|request| follow(chatd, &request, b"abc"));
    followers_of_the_lobby(chatd)
        .into_iter()
        .chain(files)
        .collect()
}

/// Connects clients that follow the lobby.
fn followers_of_the_lobby(chatd: &Chatd) -> [TcpStream; 2] {
    let host = format!("Host: {}", chatd.address);
    let requests = [
        format!("GET /rooms/lobby?follow&after=0 HTTP/1.1\r\n{host}\r\n\r\n"),
        format!("GET /rooms/lobby?after=0 HTTP/1.1\r\n{host}\r\nAccept: text/event-stream\r\n\r\n"),
    ];
    requests.map(|request| follow(chatd, &request, b" * live\n"))
}

/// Connects a follower, and reads up to `last`. If data stayed unread, closing the connection would reset it.
fn follow(chatd: &Chatd, request: &str, last: &[u8]) -> TcpStream {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(chatd.address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(last) {
        stream.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    // The end of a chunk, or of an event.
    stream.set_nonblocking(true).unwrap();
    let _ = stream.read(&mut [0; 16]);
    stream
}

#[test]
fn an_aborted_follower_is_detected_at_once() {
    let chatd = Chatd::start();
    let (_sender, file) = sender(&chatd);
    wait_for(&chatd, 1, DEADLINE);
    for stream in followers(&chatd, &file) {
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    }
    wait_for(&chatd, 1, DEADLINE);
}

/// Closes the connection as a killed program does: after a minute its system forgets the connection, and answers the
/// next probe with a reset.
#[test]
fn a_closed_follower_is_detected_within_90_seconds() {
    let chatd = Chatd::start();
    let (_sender, file) = sender(&chatd);
    wait_for(&chatd, 1, DEADLINE);
    drop(followers(&chatd, &file));
    // Beside busy processes it takes a little longer.
    wait_for(&chatd, 1, Duration::from_secs(120));
}

/// The server finds out with the next write, not with the one after it.
#[test]
fn a_follower_of_a_room_that_has_disconnected_is_detected_at_the_next_write() {
    let chatd = Chatd::start();
    let (_sender, _) = sender(&chatd);
    wait_for(&chatd, 1, DEADLINE);
    // One after the other: all of them must be found sooner than the next write to any of them.
    let end = Instant::now() + Duration::from_secs(60);
    for _ in 0..4 {
        drop(followers_of_the_lobby(&chatd));
        wait_for(&chatd, 1, end - Instant::now());
    }
}

#[test]
fn a_client_that_half_closes_continues_to_follow() {
    let chatd = Chatd::start();
    let mut lines = chatd.peer();
    lines.send("GET /rooms/lobby?follow HTTP/1.0\r\n\r\n");
    lines.end_input();
    lines.inbox.find(str::is_empty);
    let mut ann = chatd.member("ann");
    ann.ask("MSG hello", "OK MSG <id> <time>");
    lines
        .inbox
        .find(|line| line.ends_with(" MSG #lobby ann hello"));
}

#[test]
fn a_follower_over_http_counts_as_one_connection() {
    let chatd = Chatd::with(&["--max-connections", "5"]);
    let mut followers: Vec<Peer> = (0..4).map(|_| chatd.peer()).collect();
    for follower in &mut followers {
        follower.send(format!(
            "GET /rooms/lobby?follow HTTP/1.1\r\nHost: {}\r\n\r\n",
            chatd.address
        ));
        follower.inbox.find(|line| line.contains("200 OK"));
    }
    let mut ann = chatd.member("ann");
    ann.ask("MSG hello", "OK MSG <id> <time>");
    for follower in &mut followers {
        follower.inbox.find(|line| line.ends_with(" hello"));
    }
    assert!(ask(&chatd, "GET /health HTTP/1.0\r\n\r\n").starts_with("CLOSED busy "));
}

#[test]
fn a_ban_ends_downloads_and_the_connection_of_the_request() {
    let chatd = Chatd::with(&["--operator", "root"]);
    let mut root = chatd.member("root");
    root.ask("REGISTER a-long-password", "OK REGISTER root");
    let body = "x".repeat(20_000_000);
    let put = [
        "PUT /rooms/lobby/files/a HTTP/1.1",
        crate::support::web::ANN,
    ];
    let answer = say(&chatd, &put, &body);
    check_status(&answer, 201);
    let file = answer.split("OK UPLOAD ").nth(1).unwrap();
    let file = file.split(' ').next().unwrap().to_owned();
    let mut slow = chatd.client(&format!(
        "curl -s --interface 127.0.0.2 --limit-rate 1000 -o /dev/null -D - http://$HOST:$PORT/files/{file}"
    ));
    slow.inbox.find(|line| line.contains("200 OK"));
    let mut kept =
        chatd.client("curl -sN --interface 127.0.0.2 http://$HOST:$PORT/rooms/lobby?follow -D -");
    kept.inbox.find(|line| line.contains("200 OK"));
    root.send("BAN 127.0.0.2\n");
    root.inbox.find(|line| line.starts_with("OK BAN "));
    kept.wait();
    // It reads too slowly to see its end soon; the server has already closed its side.
    wait_for(&chatd, 1, DEADLINE);
    assert!(slow.is_running());
    let again = "curl -s --interface 127.0.0.2 http://$HOST:$PORT/health";
    let finished = chatd.client(again).finish();
    assert!(
        !finished.lines().contains(&"ok".to_owned()),
        "{:?}",
        finished.lines()
    );
    check_status(&say(&chatd, &["GET /health HTTP/1.1"], ""), 200);
}
