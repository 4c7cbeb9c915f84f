//! protocol.md 3.10: closed rooms reveal nothing to outsiders, neither complete files nor live ones.

use super::target::{Target, ask};
use crate::support::peer::Peer;

/// Starts a server on which ann has closed `#plan`.
fn closed() -> (Target, Peer) {
    let target = Target::start(&[]);
    let mut ann = target.owner("ann");
    ask(&mut ann, "JOIN #plan", "OK JOIN");
    ask(&mut ann, "MODE #plan invite", "OK MODE");
    (target, ann)
}

/// Returns the id of a live file that ann begins to upload and does not complete.
fn begin(target: &Target, peer: &mut Peer, room: &str, name: &str) -> u64 {
    let mut watch = target.peer();
    ask(&mut watch, "NICK ann my secret", "OK NICK");
    ask(&mut watch, &format!("JOIN {room}"), "OK JOIN");
    peer.send(format!("UPLOAD {name} *\n")).expect("it reads");
    loop {
        let line = watch.line().expect("an event");
        if line.starts_with("FILE ") {
            break line
                .split(' ')
                .nth(3)
                .and_then(|id| id.parse().ok())
                .expect("an id");
        }
    }
}

/// Returns a reply without the parts that differ between any two: its date, and the id in the request.
fn bare(answer: (String, String), number: u64) -> String {
    let (head, body) = answer;
    let lines = head
        .lines()
        .filter(|line| !line.to_ascii_lowercase().starts_with("date:"));
    let head = lines.collect::<Vec<_>>().join("\n");
    format!("{head}\n\n{body}").replace(&number.to_string(), "N")
}

/// Regression test. The name of a live file, and which ids are files, were once shown to anyone.
#[test]
fn files_of_a_closed_room_seem_not_to_exist() {
    let (target, mut ann) = closed();
    // A large id, so that it can be found in a reply: an id of 1 would match HTTP/1.1.
    for n in 0..50 {
        ask(&mut ann, &format!("MSG {n}"), "OK MSG");
    }
    let sent = ann.upload(
        "whole-secret.txt",
        b"six by six",
        &crate::support::peer::sha256(b"six by six"),
    );
    let sent = sent.expect("a reply");
    let whole: u64 = sent
        .split(' ')
        .nth(2)
        .and_then(|id| id.parse().ok())
        .expect("an id");
    let live = begin(&target, &mut ann, "#plan", "salaries-2027.xlsx");
    ann.send("SECRET").expect("it reads");
    let absent = live + 5;
    target.named_stranger("mallory");
    let ways = [
        "GET /files/N HTTP/1.1\r\nHost: localhost\r\n".to_owned(),
        "HEAD /files/N HTTP/1.1\r\nHost: localhost\r\n".to_owned(),
        "GET /files/N/salaries-2027.xlsx HTTP/1.1\r\nHost: localhost\r\n".to_owned(),
        "GET /files/N HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-1\r\n".to_owned(),
        format!(
            "GET /files/N HTTP/1.1\r\nHost: localhost\r\n{}",
            super::target::basic("mallory:")
        ),
    ];
    for way in &ways {
        let of = |id: u64| bare(target.strange_http(&way.replace('N', &id.to_string())), id);
        let none = of(absent);
        assert!(none.contains(" 404 "), "{none}");
        assert_eq!(of(live), none, "a live file: {way}");
        assert_eq!(of(whole), none, "a whole file: {way}");
    }
    for nick in [None, Some("mallory")] {
        let mut mallory = target.stranger();
        if let Some(nick) = nick {
            ask(&mut mallory, &format!("NICK {nick}"), "OK NICK");
        }
        let mut of = |id: u64| {
            let reply = mallory.ask(&format!("DOWNLOAD {id}")).expect("a reply");
            reply.replace(&id.to_string(), "N")
        };
        let none = of(absent);
        assert_eq!((of(live), of(whole)), (none.clone(), none), "as {nick:?}");
    }
    // The room's members may read both.
    let (head, body) = target.http(&format!(
        "GET /files/{whole} HTTP/1.1\r\nHost: localhost\r\n{}",
        super::target::basic("ann:my secret")
    ));
    assert!(
        head.starts_with("HTTP/1.1 200 ") && body == "six by six",
        "{head}\n{body}"
    );
}

/// Regression test. A client that followed a file once continued to receive it after the room had been closed to it.
#[test]
fn following_a_file_ends_when_the_room_becomes_invite_only() {
    let target = Target::start(&[]);
    let mut ann = target.owner("ann");
    ask(&mut ann, "JOIN #plan", "OK JOIN");
    let mut sender = target.peer();
    ask(&mut sender, "JOIN #plan", "OK JOIN");
    ask(&mut sender, "NICK ann my secret", "OK NICK");
    let live = begin(&target, &mut sender, "#plan", "build.log");
    sender.send("before").expect("it reads");
    let mut named = target.named_stranger("mallory");
    let mut nameless = target.stranger();
    let mut http = target.stranger();
    for line in [&mut named, &mut nameless] {
        line.send(format!("DOWNLOAD {live}\n")).expect("it reads");
    }
    http.send(format!(
        "GET /files/{live} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    ))
    .expect("it reads");
    let followers = [named, nameless, http];
    let mut followers = followers.map(|mut follower| {
        let mut seen = String::new();
        while !seen.ends_with("before") {
            seen.push(follower.byte().expect("a byte").into());
        }
        follower
    });
    ask(&mut ann, "MODE #plan invite", "OK MODE");
    sender.send("SECRET-AFTER-CLOSE").expect("it reads");
    sender.end().expect("an open socket");
    while !sender.line().expect("a line").starts_with("OK UPLOAD ") {}
    for (n, follower) in followers.iter_mut().enumerate() {
        follower.end().expect("an open socket");
        let rest = String::from_utf8_lossy(&follower.rest().expect("an end")).into_owned();
        assert!(!rest.contains("SECRET"), "follower {n} got {rest:?}");
    }
}
