//! protocol.md 3.10, http.md 1: files and streams of a closed room over HTTP.
//!
//! Over HTTP, nobody outside can read the contents or find out that the room exists.

use crate::support::server::Chatd;
use crate::support::spawn::Peer;
use crate::support::web::{basic, say};
use crate::{PASSWORD, announced, registered};

/// Connects a member with an account; returns it with the header that authenticates it over HTTP.
fn account(chatd: &Chatd, nick: &str) -> (Peer, String) {
    (registered(chatd, nick), basic(nick, PASSWORD))
}

#[test]
fn a_file_of_a_closed_room_seems_not_to_exist() {
    let chatd = Chatd::start();
    let (mut ann, as_ann) = account(&chatd, "ann");
    let (_bob, as_bob) = account(&chatd, "bob");
    ann.ask("JOIN #secret", "OK JOIN #secret <id>");
    ann.ask("MODE #secret invite", "OK MODE #secret invite");
    ann.send("UPLOAD plan.txt 3\nabc");
    let whole = ann.expect("OK UPLOAD …");
    let whole = whole.split(' ').nth(2).unwrap().to_owned();
    let (mut eve, _) = account(&chatd, "eve");
    ann.ask("INVITE #secret eve", "OK INVITE …");
    eve.send("JOIN #secret\n");
    eve.inbox.find(|line| line.starts_with("OK JOIN #secret "));
    ann.send("UPLOAD layoffs.txt *\nabc");
    let live = eve.inbox.find(|line| line.contains(" * layoffs.txt"));
    let live = announced(&live);
    let wrong = "Authorization: Basic YW5uOndyb25nLXBhc3N3b3Jk".to_owned(); // ann:wrong-password
    let absent = format!("11{}", &whole[2..]);
    for who in [None, Some(&as_bob), Some(&wrong)] {
        for method in ["GET", "HEAD"] {
            for range in ["X: y", "Range: bytes=0-0", "If-None-Match: *"] {
                if who == Some(&wrong) && (method, range) != ("GET", "X: y") {
                    continue; // too many wrong passwords get another reply
                }
                let fetch = |number: &str| {
                    let get = format!("{method} /files/{number}/layoffs.txt HTTP/1.1");
                    let mut lines = vec![get.as_str(), range];
                    lines.extend(who.map(String::as_str));
                    let answer = say(&chatd, &lines, "");
                    // Except for the date, which changes.
                    let lines = answer.lines().filter(|line| !line.starts_with("date: "));
                    lines.collect::<Vec<_>>().join("\n").replace(number, "N")
                };
                let nothing = fetch(&absent);
                assert!(nothing.starts_with("HTTP/1.1 40"), "{nothing}");
                for number in [&whole, &live] {
                    assert_eq!(fetch(number), nothing, "{method} {range} {who:?}");
                }
            }
        }
    }
    let get = format!("GET /files/{whole} HTTP/1.1");
    let answer = say(&chatd, &[&get, &as_ann], "");
    assert!(answer.ends_with("\r\n\r\nabc"), "{answer}");
}

#[test]
fn a_stream_ends_when_its_room_is_closed_to_the_reader() {
    let chatd = Chatd::start();
    let (mut ann, as_ann) = account(&chatd, "ann");
    let (_bob, as_bob) = account(&chatd, "bob");
    ann.ask("JOIN #plan", "OK JOIN #plan <id>");
    ann.ask("MSG hello", "OK MSG <id> <time>");
    let follow = |who: &str, accept: &str| {
        let mut peer = chatd.peer();
        let host = chatd.address;
        peer.send(format!(
            "GET /rooms/plan?follow&after=0 HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\
             Connection: close\r\n{who}\r\n\r\n"
        ));
        peer.inbox.find(|line| line.contains("hello"));
        peer
    };
    let mut strangers = [
        follow("X: y", "*/*"),
        follow("X: y", "text/event-stream"),
        follow(&as_bob, "application/json"),
    ];
    let mut own = follow(&as_ann, "*/*");
    ann.ask("MODE #plan invite", "OK MODE #plan invite");
    ann.ask("MSG secret", "OK MSG <id> <time>");
    own.inbox.find(|line| line.ends_with(" secret"));
    for stranger in &mut strangers {
        let rest = String::from_utf8(stranger.inbox.rest()).unwrap();
        assert!(rest.ends_with("\r\n0\r\n\r\n"), "{rest:?}");
        assert!(!rest.contains("secret"), "{rest:?}");
    }
}
