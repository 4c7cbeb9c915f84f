//! protocol.md 4.14: after an operator has deleted a room, nobody is in it and nothing of it is left.

use rusqlite::{Connection, OpenFlags};

use super::target::{Target, ask, count, pipeline};
use crate::support::peer::{Peer, sha256};

/// Returns the number that a query of the log's database finds.
fn number(target: &Target, query: &str) -> i64 {
    let path = target.data().join("chat.db");
    let db =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a database");
    db.query_row(query, [], |row| row.get(0)).expect("a number")
}

/// Returns the files whose bytes are stored.
fn blobs(target: &Target) -> usize {
    let folder = target.data().join("files");
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    entries
        .filter(|entry| entry.file_name().len() == 64 || entry.path().is_dir())
        .count()
}

/// Returns the next line that begins with `start`.
#[track_caller]
fn wait_for(peer: &mut Peer, start: &str) -> String {
    loop {
        let line = peer.line().expect("a line");
        if line.starts_with(start) {
            return line;
        }
    }
}

#[test]
fn a_deleted_room_disappears_from_the_chat_the_disk_and_running_transfers() {
    let mut target = Target::start(&["--operator", "root1"]);
    let mut root = target.owner("root1");
    let mut mallory = target.named_stranger("mallory");
    ask(&mut mallory, "REGISTER my secret", "OK REGISTER");
    ask(&mut mallory, "JOIN #den AS reader", "OK JOIN #den");
    ask(&mut mallory, "MODE invite", "OK MODE #den invite");
    let lines: Vec<String> = (0..500).map(|n| format!("MSG pomegranate {n}")).collect();
    assert_eq!(count(&pipeline(&mut mallory, &lines), "OK MSG "), 500);
    let bytes = b"a file of the den";
    let sent = mallory.upload("a.txt", bytes, &sha256(bytes));
    let sent = sent.expect("a reply");
    let file = sent.split(' ').nth(2).expect("an id").to_owned();
    assert!(blobs(&target) > 0, "its bytes are kept");
    let another = || {
        let mut peer = target.stranger();
        ask(&mut peer, "NICK mallory my secret", "OK NICK");
        ask(&mut peer, "JOIN #den", "OK JOIN #den");
        peer
    };
    let mut sender = another();
    sender
        .send("UPLOAD endless.log *\nbefore")
        .expect("it reads");
    let live = wait_for(&mut mallory, "FILE #den mallory ");
    let live = live.split(' ').nth(3).expect("an id").to_owned();
    let mut follower = another();
    follower
        .send(format!("DOWNLOAD {live}\n"))
        .expect("it reads");
    let mut seen = String::new();
    while !seen.ends_with("before") {
        seen.push(follower.byte().expect("a byte").into());
    }
    let (all, _) = root.list("ROOMS all").expect("a reply");
    assert_eq!(all, ["ROOM #lobby 2", "ROOM #den 1"]);
    ask(&mut root, "REMOVE #den", "OK REMOVE #den");
    let reply = follower.reply().expect("a reply");
    assert!(reply.starts_with("ERR DOWNLOAD no-such-file "), "{reply}");
    sender.send("after").expect("it reads");
    let reply = sender.reply().expect("a reply");
    assert!(reply.starts_with("ERR UPLOAD no-such-file "), "{reply}");
    wait_for(&mut mallory, "PART #den mallory ");
    ask(&mut mallory, "MSG anybody?", "ERR MSG not-in-room");
    ask(&mut mallory, "HISTORY #den", "ERR HISTORY no-such-room");
    ask(
        &mut mallory,
        &format!("DOWNLOAD {file}"),
        "ERR DOWNLOAD no-such-file",
    );
    ask(
        &mut mallory,
        &format!("REMOVE {file}"),
        "ERR REMOVE no-such-file",
    );
    // The name is free, and belongs to another room now.
    let mut ann = target.member("ann");
    ask(&mut ann, "JOIN #den", "OK JOIN #den 0");
    ask(&mut ann, "MSG anew", "OK MSG ");
    assert_eq!(ann.list("HISTORY 100").expect("a reply").0.len(), 1);
    ask(&mut ann, "SEARCH pomegranate", "OK SEARCH 0");
    ask(&mut ann, "SEARCH * pomegranate", "OK SEARCH 0");
    target.until("nothing is left on the disk", |target| {
        let queries = [
            "SELECT count(*) FROM events WHERE text LIKE 'pomegranate%'",
            "SELECT count(*) FROM rooms WHERE form LIKE '!%'",
            "SELECT count(*) FROM readers",
            "SELECT count(*) FROM roster WHERE bucket = 'rooms'",
            "SELECT count(*) FROM files",
        ];
        queries.iter().all(|query| number(target, query) == 0)
    });
    target.until("no file is left", |target| blobs(target) == 0);
    assert_eq!(
        number(&target, "SELECT count(*) FROM rooms WHERE name = '#den'"),
        1
    );
    target.serves_everybody();
}

/// One user has created as many rooms as the server allows. Only operators can see and delete them.
#[test]
fn an_operator_can_delete_invite_only_rooms_that_took_all_places() {
    let mut target = Target::start(&["--operator", "root1", "--max-rooms", "100"]);
    let mut root = target.owner("root1");
    let mut mallory = target.named_stranger("mallory");
    ask(&mut mallory, "REGISTER my secret", "OK REGISTER");
    let lines = (0..100).flat_map(|n| {
        [
            format!("JOIN #c{n}"),
            format!("MODE #c{n} invite"),
            format!("PART #c{n}"),
        ]
    });
    let replies = pipeline(&mut mallory, &lines.collect::<Vec<_>>());
    let made = count(&replies, "OK MODE ");
    assert_eq!(made, 64, "an account has so many");
    assert_eq!(root.list("ROOMS").expect("a reply").0, ["ROOM #lobby 2"]);
    let (all, _) = root.list("ROOMS all").expect("a reply");
    let closed = all.iter().filter_map(|line| line.split(' ').nth(1));
    let closed: Vec<String> = closed
        .filter(|room| *room != "#lobby")
        .map(|room| format!("REMOVE {room}"))
        .collect();
    assert_eq!(closed.len(), made);
    let replies = pipeline(&mut root, &closed);
    assert_eq!(count(&replies, "OK REMOVE #c"), made);
    assert_eq!(target.metric("chatd_rooms"), 1);
    // They no longer count for their creator either.
    ask(&mut mallory, "JOIN #again", "OK JOIN #again 0");
    target.serves_everybody();
}
