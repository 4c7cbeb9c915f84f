//! protocol.md 9, chatd.md 2: a disk fills up.
//!
//! The server refuses requests with an error, still does what needs no space, loses nothing, and works again when there is
//! space.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::support::peer::{Peer, sha256};
use crate::support::random::Random;
use crate::support::server::Chatd;
use crate::support::tmpfs::Tmpfs;

fn start(data: &Path) -> Chatd {
    let flags = ["--data".into(), data.display().to_string()];
    Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags).expect("it starts")
}

/// Posts to a hook; returns the whole answer.
fn post(server: SocketAddr, hook: &str, body: &str) -> io::Result<String> {
    let mut peer = Peer::connect(server)?;
    let length = body.len();
    peer.send(format!(
        "POST {hook} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    ))?;
    Ok(String::from_utf8_lossy(&peer.rest()?).into_owned())
}

/// Returns the id in `OK VERB <id> …`, or `None` when the request was refused for lack of space.
#[track_caller]
fn kept(reply: &str) -> Option<u64> {
    let words: Vec<&str> = reply.split(' ').collect();
    match words[..] {
        ["OK", _, id, ..] => Some(id.parse().expect("an id")),
        ["ERR", _, "quota", ..] => None,
        _ => panic!("neither kept nor refused: {reply}"),
    }
}

/// Everything that was acknowledged.
#[derive(Default)]
struct Kept {
    messages: BTreeMap<u64, String>,
    files: BTreeMap<u64, Vec<u8>>,
}

impl Kept {
    fn say(&mut self, peer: &mut Peer, text: String) -> bool {
        let reply = peer.ask(&format!("MSG {text}")).expect("a reply");
        let id = kept(&reply);
        self.messages.extend(id.map(|id| (id, text)));
        id.is_some()
    }

    fn send(&mut self, peer: &mut Peer, bytes: Vec<u8>) -> bool {
        let reply = peer.upload("file", &bytes, &sha256(&bytes));
        let id = kept(&reply.expect("a reply"));
        self.files.extend(id.map(|id| (id, bytes)));
        id.is_some()
    }

    /// Removes the oldest file.
    fn remove(&mut self, peer: &mut Peer) {
        let id = *self.files.keys().next().expect("a file");
        let removed = peer.expect(&format!("REMOVE {id}"), "OK REMOVE");
        removed.expect("taking back works when nothing else does");
        self.files.remove(&id);
    }

    /// Checks that everything that was stored is there, and no other message.
    fn check(&self, peer: &mut Peer) {
        let (lines, reply) = peer.list("JOIN #lobby 0").expect("an answer");
        assert!(reply.starts_with("OK JOIN"), "{reply}");
        let mut found = BTreeMap::new();
        for line in &lines {
            let words: Vec<&str> = line.splitn(7, ' ').collect();
            if let ["PAST", id, _, "MSG", _, _, text] = words[..] {
                found.insert(id.parse().expect("an id"), text.to_owned());
            }
        }
        assert!(
            found == self.messages,
            "the messages are those acknowledged"
        );
        for (id, bytes) in &self.files {
            let file = peer.download(*id).expect("an answer");
            let file = file.unwrap_or_else(|e| panic!("file {id}: {e}"));
            assert!(file.bytes == *bytes, "file {id}");
        }
    }
}

#[test]
fn a_full_disk_refuses_with_an_error_and_a_removal_makes_space() {
    let disk = Tmpfs::mount(6 << 10);
    let data = disk.path().join("data");
    let chatd = start(&data);
    let mut random = Random::new(7);
    let mut peer = Peer::named(chatd.address, "ann").expect("a nick");
    let mut all = Kept::default();
    while all.send(&mut peer, random.bytes(200_000)) {}
    assert!(all.files.len() > 10, "the disk was full too soon");
    // A file that does not fit leaves nothing behind, so messages are accepted until they fill the disk
    // too.
    let mut n = 0;
    while all.say(&mut peer, format!("{n} {}", "long ".repeat(700))) {
        n += 1;
    }
    while all.say(&mut peer, format!("{n} short")) {
        n += 1;
        assert!(n < 10_000, "a full disk refuses in the end");
    }
    // Requests that need no space work, also for new connections.
    let mut other = Peer::named(chatd.address, "bob").expect("a nick");
    assert_eq!(other.ask("PING x").expect("a reply"), "OK PING x");
    all.check(&mut other);
    // The log may have found some space by overwriting its write-ahead log. That space is used up too.
    let mut topics = 0;
    let topic = loop {
        let topic = peer.ask("TOPIC full").expect("a reply");
        if !topic.starts_with("OK TOPIC ") {
            break topic;
        }
        topics += 1;
        assert!(topics < 10_000, "a full disk refuses in the end");
    };
    assert!(topic.starts_with("ERR TOPIC quota "), "{topic}");

    all.remove(&mut peer);
    all.remove(&mut peer);
    all.check(&mut other);
    // The bytes are deleted a moment after their row.
    let mut tries = 0;
    while !all.send(&mut peer, random.bytes(100_000)) {
        tries += 1;
        assert!(tries < 1000, "there is space again");
    }
    assert!(all.say(&mut peer, "there is space again".into()));
    all.check(&mut other);
    drop(chatd); // killed

    let chatd = start(&data);
    let mut peer = Peer::named(chatd.address, "ann").expect("a nick");
    all.check(&mut peer);
}

/// While the disk is full, everything that must be stored is refused for that reason, existing data can be read, and
/// the server can be restarted.
#[test]
fn a_full_disk_is_a_quota_error_for_every_verb_and_does_not_prevent_a_start() {
    let disk = Tmpfs::mount(6 << 10);
    let data = disk.path().join("data");
    let mut chatd = start(&data);
    let mut ann = Peer::named(chatd.address, "ann").expect("a nick");
    ann.expect("REGISTER my secret", "OK REGISTER")
        .expect("it is hers");
    ann.expect("JOIN #own", "OK JOIN").expect("a room");
    ann.expect("MSG findme first", "OK MSG")
        .expect("it is hers too");
    let hook = ann.ask("HOOK alerts #own").expect("a reply");
    let hook = hook.rsplit(' ').next().expect("its address").to_owned();
    let mut zoe = Peer::named(chatd.address, "zoe").expect("a nick");
    let ballast = disk.fill();
    let mut last = 0;
    for text in ["x".repeat(3000), "findme".into()] {
        while let Some(id) = kept(&ann.ask(&format!("MSG {text} {last}")).expect("a reply")) {
            last = id;
        }
    }
    let (found, reply) = zoe.list("SEARCH #own findme").expect("an answer");
    assert!(
        reply.starts_with("OK SEARCH ") && !found.is_empty(),
        "{reply}"
    );
    let newest = found.last().expect("it was found");
    assert!(newest.contains(" findme "), "{newest}");
    let requests = [
        "JOIN #own AS r%",
        "TOKEN bot%",
        "HOOK hook% #own",
        "MODE #own invite",
        "MODE #own open",
        "TOPIC %",
        "TELL #other %",
        "REGISTER a new secret %",
    ];
    for request in requests {
        let verb = request.split(' ').next().unwrap_or_default();
        for n in 0..1000 {
            let (_, reply) = ann
                .list(&request.replace('%', &n.to_string()))
                .expect("an answer");
            if reply.starts_with(&format!("ERR {verb} quota ")) {
                break;
            }
            assert!(reply.starts_with(&format!("OK {verb}")), "{reply}");
        }
        if verb == "JOIN" {
            // After a refused JOIN, there is no current room.
            ann.expect("JOIN #own", "OK JOIN").expect("a room");
        }
    }
    // Alertmanager posts again after a 503, and only then.
    let alert = r#"{"alerts":[{"status":"firing","labels":{},"fingerprint":"c9"}]}"#;
    let posted = post(chatd.address, &hook, alert).expect("an answer");
    assert!(posted.starts_with("HTTP/1.1 503 "), "{posted}");
    assert!(posted.contains("\r\nretry-after: 30\r\n"), "{posted}");
    let reply = zoe.ask("REGISTER her secret").expect("a reply");
    assert!(
        reply.starts_with("ERR REGISTER quota ") || reply.starts_with("OK "),
        "{reply}"
    );

    chatd.signal(rustix::process::Signal::TERM);
    chatd.wait(Duration::from_secs(30)).expect("it stops");
    let again = disk.fill();
    chatd = start(&data);
    let mut bob = Peer::named(chatd.address, "bob").expect("a nick");
    let (lines, reply) = bob.list("SEARCH #own first").expect("an answer");
    assert!(
        reply.starts_with("OK SEARCH ") || reply.starts_with("ERR SEARCH no-such-room"),
        "{reply} {lines:?}"
    );
    for ballast in [ballast, again] {
        let _ = std::fs::remove_file(ballast); // it may be a single file
    }
    bob.expect("MSG there is space", "OK MSG")
        .expect("it works again");
    for _ in 0..2 {
        let posted = post(chatd.address, &hook, alert).expect("an answer");
        assert!(posted.ends_with("\r\n\r\nok"), "{posted}");
    }
    let (found, _) = bob.list("SEARCH #own firing").expect("an answer");
    assert_eq!(found.len(), 1, "it is said once: {found:?}");
}

#[test]
fn a_server_that_was_killed_on_a_full_disk_starts_on_it() {
    let disk = Tmpfs::mount(4 << 10);
    let data = disk.path().join("data");
    let mut chatd = start(&data);
    let mut peer = Peer::named(chatd.address, "ann").expect("a nick");
    let mut all = Kept::default();
    assert!(all.send(&mut peer, b"small".to_vec()));
    assert!(all.say(&mut peer, "before".into()));
    let ballast = disk.fill();
    for _ in 0..3 {
        drop(chatd);
        chatd = start(&data);
        peer = Peer::named(chatd.address, "ann").expect("a nick");
        all.check(&mut peer);
        while all.say(&mut peer, "x".repeat(3000)) {}
    }
    all.remove(&mut peer);
    std::fs::remove_file(ballast).expect("it is there");
    assert!(all.send(&mut peer, b"another".to_vec()));
    assert!(all.say(&mut peer, "after".into()));
    all.check(&mut peer);
}

/// Regression test. If the log could not store the end of a live file, the file once stayed live until a restart, and
/// every `DOWNLOAD` of it waited without end.
#[test]
fn a_live_file_whose_end_cannot_be_stored_is_removed() {
    let disk = Tmpfs::mount(4 << 10);
    let chatd = start(&disk.path().join("data"));
    let mut watcher = Peer::connect(chatd.address).expect("a connection");
    watcher.expect("JOIN #lobby", "OK JOIN").expect("a room");
    // Some space may become free again when the search index has been written. Then the end of a file is stored, and the
    // end of the next one is not.
    let live: Vec<_> = (1..=5)
        .map(|n| {
            let mut peer = Peer::named(chatd.address, &format!("ann{n}")).expect("a nick");
            let text = format!("all of {n}!");
            peer.send(format!("UPLOAD live.log *\n{text}"))
                .expect("sent");
            let told = watcher.line().expect("an event");
            let id = told.strip_prefix(&format!("FILE #lobby ann{n} "));
            let id = id.and_then(|rest| rest.strip_suffix(" * live.log"));
            let id: u64 = id.and_then(|id| id.parse().ok()).expect("a live file");
            let mut follower = Peer::connect(chatd.address).expect("a connection");
            follower.send(format!("DOWNLOAD {id}\n")).expect("sent");
            let start = follower.line().expect("its start");
            assert_eq!(start, format!("DATA {id} 9 - live.log"));
            (peer, follower, text, id)
        })
        .collect();
    let ballast = disk.fill();
    let mut bob = Peer::named(chatd.address, "bob").expect("a nick");
    let mut all = Kept::default();
    let mut live = live.into_iter();
    let (mut follower, text, id) = loop {
        let Some((mut peer, follower, text, id)) = live.next() else {
            panic!("the end of one of them is not stored");
        };
        // Small messages fill the last page of the log too.
        while all.say(&mut bob, "x".repeat(3000)) {}
        while all.say(&mut bob, "x".into()) {}
        peer.end().expect("the end");
        if kept(&peer.reply().expect("a reply")).is_none() {
            break (follower, text, id);
        }
    };
    let reply = follower.line().expect("a reply");
    // The nine bytes of the file precede the error, without a line ending.
    assert!(
        reply.starts_with(&format!("{text}ERR DOWNLOAD no-such-file ")),
        "{reply}"
    );
    loop {
        let line = watcher.line().expect("an event");
        let mut words = line.split(' ');
        match words.next() {
            Some("REMOVE") if line.ends_with(&format!(" {id}")) => break,
            Some("MSG" | "JOIN" | "PART" | "GAP" | "STORED") => {}
            _ => panic!("{line}"),
        }
    }
    std::fs::remove_file(ballast).expect("it is there");
    let answer = watcher.download(id).expect("an answer");
    assert!(answer.is_err_and(|e| e.starts_with("ERR DOWNLOAD no-such-file ")));
    for kept in std::fs::read_dir(disk.path().join("data/files")).expect("a folder") {
        let bytes = std::fs::read(kept.expect("a file").path()).expect("its bytes");
        assert_ne!(bytes, text.as_bytes(), "no bytes are left of it");
    }
    drop(live);
}

/// Regression test. Two removals of one file at the same moment once released its bytes twice, and so those of
/// another file with the same contents.
#[test]
fn a_file_that_two_users_remove_at_once_is_released_once() {
    let folder = tempfile::tempdir().expect("a folder");
    for flags in [
        vec!["--data".into(), folder.path().display().to_string()],
        vec!["--memory".into()],
    ] {
        let chatd = Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags).expect("it starts");
        let one = || Peer::named(chatd.address, "ann one-password").expect("a nick");
        let (mut here, mut there) = (one(), one());
        for n in 0..30 {
            let bytes = format!("the same bytes {n}").into_bytes();
            let mut file = || {
                let reply = here.upload("same", &bytes, &sha256(&bytes));
                kept(&reply.expect("a reply")).expect("it is kept")
            };
            let (gone, stays) = (file(), file());
            here.send(format!("REMOVE {gone}\n")).expect("sent");
            there.send(format!("REMOVE {gone}\n")).expect("sent");
            let mut replies = [here.reply(), there.reply()].map(|reply| reply.expect("a reply"));
            replies.sort();
            assert!(
                replies[0].starts_with("ERR REMOVE no-such-file "),
                "{replies:?}"
            );
            assert_eq!(replies[1], format!("OK REMOVE {gone}"));
            let file = there.download(stays).expect("an answer");
            let file = file.unwrap_or_else(|e| panic!("file {stays}: {e}"));
            assert_eq!(file.bytes, bytes);
        }
    }
}
