//! protocol.md 2: a slow disk delays only the clients that need it.
//!
//! strace slows down the disk, and shows which thread accesses it.

use std::net::SocketAddr;
use std::time::Instant;

use crate::support::peer::{DEADLINE, Peer, sha256};
use crate::support::server::Chatd;
use crate::support::strace::Strace;

const CHATD: &str = env!("CARGO_BIN_EXE_chatd");

/// The length of a file that takes several calls of `sendfile`.
const LENGTH: usize = 3 << 20;

fn bytes() -> Vec<u8> {
    (0..LENGTH).map(|n| (n * 31 / 7) as u8).collect()
}

fn upload(address: SocketAddr) -> u64 {
    let mut peer = Peer::named(address, "uploader").expect("a nick");
    let bytes = bytes();
    let reply = peer.upload("large.bin", &bytes, &sha256(&bytes));
    let reply = reply.expect("it is kept");
    let id = reply.split(' ').nth(2).and_then(|id| id.parse().ok());
    id.unwrap_or_else(|| panic!("no id: {reply}"))
}

fn download(address: SocketAddr, id: u64) {
    let mut peer = Peer::connect(address).expect("a connection");
    let file = peer.download(id).expect("an answer").expect("a file");
    assert!(file.bytes == bytes(), "what came is what was sent");
}

/// Takes a nick that has just been released. Tries until the server knows that the nick is free.
fn named_again(address: SocketAddr, nick: &str) -> Peer {
    let end = Instant::now() + DEADLINE;
    loop {
        match Peer::named(address, nick) {
            Ok(peer) => return peer,
            Err(e) => assert!(Instant::now() < end, "{e}"),
        }
    }
}

/// Exchanges messages while `slow` runs, and checks that it is still running at the end.
fn talk_beside<T: Send>(address: SocketAddr, ann: &str, slow: impl FnOnce() -> T + Send) -> T {
    let mut speaker = Peer::named(address, ann).expect("a nick");
    let mut reader = Peer::connect(address).expect("a connection");
    reader.expect("JOIN #lobby", "OK JOIN").expect("a room");
    std::thread::scope(|scope| {
        let moving = scope.spawn(slow);
        for n in 0..10 {
            speaker
                .expect(&format!("MSG {n}"), "OK MSG")
                .expect("a reply");
            let expected = format!("MSG #lobby {ann} {n}");
            while reader.line().expect("an event") != expected {}
        }
        assert!(!moving.is_finished(), "the disk was slow");
        moving.join().expect("it goes well")
    })
}

#[test]
fn nobody_waits_for_a_disk_that_is_slow_for_another_client() {
    let chatd = Chatd::spawn(CHATD, &[]).expect("it starts");
    // Each call begins two seconds late, as if the disk were busy.
    let slow = "inject=sendfile,fsync,fdatasync:delay_enter=2000000";
    let strace = Strace::attach(
        chatd.id(),
        &["-e", "trace=sendfile,fsync,fdatasync", "-e", slow],
    );
    let id = talk_beside(chatd.address, "ann", || upload(chatd.address));
    talk_beside(chatd.address, "bob", || download(chatd.address, id));
    let trace = strace.detach();
    assert!(trace.matches(" sendfile(").count() >= 3, "{trace}");
}

#[test]
fn the_thread_that_serves_the_room_touches_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().display().to_string();
    let flags = ["--data".to_owned(), data.clone()];
    let chatd = Chatd::spawn(CHATD, &flags).expect("it starts");
    let strace = Strace::attach(chatd.id(), &["-e", "trace=%file,%desc"]);
    let id = upload(chatd.address);
    download(chatd.address, id);
    let mut peer = Peer::named(chatd.address, "ann").expect("a nick");
    for request in [
        "MSG hello there",
        "TOPIC tea",
        "HISTORY",
        "SEARCH hello",
        "FILES",
        "JOIN #lobby 0",
        "JOIN #lobby AS daily",
    ] {
        let (_, reply) = peer.list(request).expect("an answer");
        assert!(reply.starts_with("OK "), "{request}: {reply}");
    }
    peer.send("UPLOAD live.log *\nsome of it").expect("sent");
    peer.end().expect("the end");
    let reply = peer.reply().expect("a reply");
    assert!(reply.starts_with("OK UPLOAD "), "{reply}");
    let mut peer = named_again(chatd.address, "uploader");
    peer.expect(&format!("REMOVE {id}"), "OK REMOVE")
        .expect("a reply");

    let trace = strace.detach();
    let serving = format!("{} ", chatd.id());
    let touches = |line: &&str| line.contains(&data) || line.contains("sendfile(");
    let (of_room, of_others): (Vec<_>, Vec<_>) = trace
        .lines()
        .filter(touches)
        .partition(|line| line.starts_with(&serving));
    assert!(of_others.len() > 20, "the files were touched:\n{trace}");
    assert!(of_room.is_empty(), "{of_room:#?}");
}
