//! protocol.md 3.9, chatd.md 2: the data folder.
//!
//! Only one server uses it at a time. A server refuses a folder that a newer version wrote.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::peer::Peer;
use crate::support::server::Chatd;
use rusqlite::Connection;

fn flags(data: &Path) -> Vec<String> {
    vec!["--data".into(), data.display().to_string()]
}

fn start(data: &Path) -> Chatd {
    Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags(data)).expect("it starts")
}

/// Starts a server that is expected to end by itself.
fn refused(data: &Path) -> Output {
    let mut command = Command::new("timeout");
    command.args(["30", env!("CARGO_BIN_EXE_chatd"), "--listen", "127.0.0.1:0"]);
    command.args(flags(data)).output().expect("timeout runs")
}

/// Checks that the server ended with exit code 1, and printed one line that says `why`.
fn check(output: &Output, data: &Path, why: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    let expected = format!("chatd: cannot store the log in {}: {why}\n", data.display());
    assert_eq!((output.status.code(), &*error), (Some(1), &*expected));
    assert!(output.stdout.is_empty(), "it never listened");
}

/// Regression test. The second server once deleted the partial files of the first before it checked the lock of the
/// folder.
#[test]
fn a_second_server_reports_that_the_folder_is_in_use_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let chatd = start(folder.path());
    let mut watcher = Peer::connect(chatd.address).expect("a connection");
    watcher.expect("JOIN #lobby", "OK JOIN").expect("a room");
    let mut ann = Peer::named(chatd.address, "ann").expect("a nick");
    ann.send("UPLOAD slow.txt *\nfirst half, ")
        .expect("a start");
    let announced = watcher.line().expect("an event");
    assert_eq!(announced, "FILE #lobby ann 1 * slow.txt");

    let output = refused(folder.path());
    check(&output, folder.path(), "another chatd is using it");

    ann.send("second half").expect("the rest");
    ann.end().expect("the end");
    let reply = ann.reply().expect("a reply");
    assert!(reply.starts_with("OK UPLOAD 1 23 "), "{reply}");
    let file = watcher.download(1).expect("an answer").expect("a file");
    assert_eq!(file.bytes, b"first half, second half");
}

#[test]
fn a_folder_of_a_newer_version_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(start(folder.path()));
    let path = folder.path().join("chat.db");
    let db = Connection::open(&path).expect("a database");
    db.pragma_update(None, "user_version", 1000).expect("set");
    drop(db);
    let before = fs::read(&path).expect("a file");
    let output = refused(folder.path());
    let why = "a newer chatd wrote it (version 1000 of the format)";
    check(&output, folder.path(), why);
    assert!(fs::read(&path).expect("a file") == before, "unchanged");
}

#[test]
fn a_folder_without_a_database_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "this is my diary, and no database at all\n".repeat(100);
    fs::write(folder.path().join("chat.db"), &text).expect("written");
    let output = refused(folder.path());
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    let after = fs::read_to_string(folder.path().join("chat.db")).expect("a file");
    assert!(after == text, "unchanged");
}

/// Returns a data folder whose database was made by the statements `sql`, and a connection to it.
fn folder_with(sql: &str) -> (tempfile::TempDir, Connection) {
    let folder = tempfile::tempdir().expect("a folder");
    let db = Connection::open(folder.path().join("chat.db")).expect("a database");
    db.execute_batch(sql).expect("the fixture is SQL");
    (folder, db)
}

/// Regression test. The offline commands migrated the database while the older server was using it.
#[test]
fn a_folder_that_an_older_server_uses_is_not_migrated_by_other_commands() {
    let (folder, db) = folder_with(include_str!("../fixtures/chat-v2.sql"));
    let lock = fs::File::create(folder.path().join("lock")).expect("a file");
    lock.try_lock().expect("nobody else has it");
    let backup = folder.path().join("backup").display().to_string();
    let data = folder.path().display().to_string();
    let run = |command: &str, more: &[&str]| {
        let mut chatd = Command::new(env!("CARGO_BIN_EXE_chatd"));
        chatd.args([command, "--data", &data]).args(more);
        chatd.output().expect("it runs")
    };
    let commands: [(&str, &[&str]); 3] = [("export", &[]), ("check", &[]), ("backup", &[&backup])];
    for (command, more) in commands {
        let output = run(command, more);
        assert_eq!(output.status.code(), Some(1), "{command}: {output:?}");
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        assert!(printed.contains("an older chatd is using it"), "{printed}");
        let version = db.pragma_query_value(None, "user_version", |row| row.get(0));
        assert_eq!(version, Ok(2), "{command}");
    }
    // Without that server they migrate it, except the one that sshd starts at each login.
    drop(lock);
    let key = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    let output = run("keys", &["--ssh-secret-file", "x", "ssh-ed25519", key]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("an older chatd wrote it"), "{error}");
    let version = db.pragma_query_value(None, "user_version", |row| row.get(0));
    assert_eq!(version, Ok(2));
    assert!(run("export", &[]).status.success());
    let version = db.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    assert!(version.is_ok_and(|version| version > 2));
}

/// The format stores direct messages between registered nicks since version 3; the rest is unchanged.
#[test]
fn a_folder_of_version_2_is_migrated_and_stores_direct_messages_from_then_on() {
    let (folder, db) = folder_with(include_str!("../fixtures/chat-v2.sql"));
    drop(db);
    let digest = "444e0fffbd825e9610ff5b199485707a0c895339ae80c15cc8a8aee41b106fda";
    fs::create_dir(folder.path().join("files")).expect("a folder");
    fs::write(folder.path().join("files").join(digest), "notes\n").expect("a file");

    let enter = |chatd: &Chatd, nick: &str, password: &str| {
        let mut peer = Peer::connect(chatd.address).expect("a connection");
        let ask = format!("NICK {nick} {password}");
        peer.expect(&ask, "OK NICK").expect("a nick");
        peer
    };
    let list = |peer: &mut Peer, request: &str| {
        let (mut lines, reply) = peer.list(request).expect("an answer");
        lines.push(reply);
        lines
    };
    let chatd = start(folder.path());
    let mut ann = enter(&chatd, "ann", "correct horse battery");
    let lobby = list(&mut ann, "HISTORY #lobby");
    let line = "PAST 1 2026-11-25T23:52:09.762Z MSG #lobby ann hello from version 2";
    assert_eq!(lobby, [line, "OK HISTORY 1"]);
    let ops = list(&mut ann, "HISTORY #ops");
    assert_eq!(ops.last().map(String::as_str), Some("OK HISTORY 4"));
    assert_eq!(list(&mut ann, "HISTORY ann"), ["OK HISTORY 0"]);
    let mut ben = enter(&chatd, "Ben", "guard");
    ben.expect("REGISTER his secret", "OK REGISTER Ben")
        .expect("an account");
    ben.expect("BYE", "OK BYE").expect("the end");
    ann.expect("TELL ben are you there?", "OK TELL 6 ")
        .expect("it is kept");
    ann.expect("TELL ann note to self", "OK TELL 7 ")
        .expect("it is kept");
    drop(chatd); // by SIGKILL

    let chatd = start(folder.path());
    let mut ben = enter(&chatd, "Ben", "his secret");
    let history = list(&mut ben, "HISTORY Ben");
    assert!(history[0].starts_with("PAST 6 ") && history[0].ends_with(" ann are you there?"));
    assert_eq!(history[1..], ["OK HISTORY 1"]);
    let mut ann = enter(&chatd, "ann", "correct horse battery");
    let own_history = list(&mut ann, "HISTORY ann");
    assert_eq!(own_history[0], history[0]);
    assert!(own_history[1].starts_with("PAST 7 "), "{own_history:?}");
    assert_eq!(own_history[2..], ["OK HISTORY 2"]);
    let rooms = list(&mut ann, "ROOMS");
    assert_eq!(rooms.last().map(String::as_str), Some("OK ROOMS 2"));
    let file = ann.download(5).expect("an answer").expect("a file");
    assert_eq!(&*file.bytes, b"notes\n");
    drop(chatd);

    let check = Command::new(env!("CARGO_BIN_EXE_chatd"))
        .args(["check", "--data"])
        .arg(folder.path())
        .output()
        .expect("chatd check");
    let output = String::from_utf8_lossy(&check.stdout);
    assert!(
        check.status.success() && output.contains(": no faults"),
        "{output}"
    );
}

/// A folder that version 1 wrote still has everything, and can be used. For a new version of the format,
/// add the database that the version before wrote; never change this one.
#[test]
fn a_folder_of_version_1_is_migrated_and_can_be_used() {
    let (folder, db) = folder_with(include_str!("../fixtures/chat-v1.sql"));
    drop(db);
    let digest = "444e0fffbd825e9610ff5b199485707a0c895339ae80c15cc8a8aee41b106fda";
    fs::create_dir(folder.path().join("files")).expect("a folder");
    fs::write(folder.path().join("files").join(digest), "notes\n").expect("a file");

    let chatd = start(folder.path());
    let mut peer = Peer::named(chatd.address, "ann").expect("a nick");
    let mut list = |request: &str| {
        let (mut lines, reply) = peer.list(request).expect("an answer");
        lines.push(reply);
        lines
    };
    // The upload that its end interrupted is removed; the message comes after that in the log.
    let reply = list("TELL #ops today").pop().expect("a reply");
    assert!(
        reply.starts_with("OK TELL 14 "),
        "no id is used twice: {reply}"
    );
    let lobby = [
        "PAST 1 2026-11-22T13:00:51.119Z MSG #lobby ann hello from version 1",
        "PAST 2 2026-11-22T13:00:51.119Z ME #lobby ann waves",
        "PAST 3 2026-11-22T13:00:51.121Z TOPIC #lobby ann tea at four",
        "PAST 5 2026-11-22T13:00:51.122Z MSG #lobby ann it's me",
        "OK HISTORY 4",
    ];
    assert_eq!(list("HISTORY #lobby"), lobby);
    let mut ops = list("HISTORY #ops");
    assert_eq!(ops.pop().as_deref(), Some("OK HISTORY 9"));
    let today = ops.split_off(7);
    let before = [
        "PAST 4 2026-11-22T13:00:51.122Z MSG #ops ann disk is \"full\"; really",
        "PAST 6 2026-11-22T13:00:51.124Z FILE #ops ann 6 6 notes v1.txt",
        "PAST 7 2026-11-22T13:00:51.124Z MSG #ops ann -",
        "PAST 8 2026-11-22T13:00:51.125Z REMOVE #ops ann 7",
        "PAST 10 2026-11-22T13:00:51.127Z FILE #ops ann 10 5 -",
        "PAST 11 2026-11-22T13:00:51.128Z REMOVE #ops ann 10",
        "PAST 12 2026-11-22T13:00:53.137Z FILE #ops liv 12 * -",
    ];
    assert_eq!(ops, before);
    assert!(today[0].ends_with(" REMOVE #ops liv 12"), "{today:?}");
    assert!(today[1].ends_with(" MSG #ops ann today"), "{today:?}");

    let other = [
        "PAST 9 2026-11-22T13:00:51.125Z MSG #Ümläut ann grüße, 世界",
        "OK HISTORY 1",
    ];
    assert_eq!(list("HISTORY #ümläut"), other);
    assert_eq!(list("TOPIC #lobby"), ["OK TOPIC #lobby tea at four"]);
    assert_eq!(list("FILES #ops"), [before[1], "OK FILES 1"]);
    assert_eq!(list("SEARCH #ops FULL really"), [before[0], "OK SEARCH 1"]);
    assert_eq!(list("SEARCH #ops taken"), ["OK SEARCH 0"]);
    assert_eq!(list("SEARCH #ops notes"), [before[1], "OK SEARCH 1"]);
    let found = list("SEARCH #ümläut grüße");
    assert_eq!(found, [other[0], "OK SEARCH 1"]);
    // The named reader was at event 11.
    let read = list("JOIN #ops AS hourly");
    assert_eq!(&read[..2], &[before[6], &*today[0]]);
    let file = peer.download(6).expect("an answer").expect("a file");
    assert_eq!(
        (file.sha256.as_str(), &*file.bytes),
        (digest, &b"notes\n"[..])
    );
    drop(chatd);

    let check = Command::new(env!("CARGO_BIN_EXE_chatd"))
        .args(["check", "--data"])
        .arg(folder.path())
        .output()
        .expect("chatd check");
    let output = String::from_utf8_lossy(&check.stdout);
    assert!(
        check.status.success() && output.contains(": no faults"),
        "{output}"
    );
}

/// Since version 3, direct messages are stored; since version 4, readers have owners; since version 5, there are tags,
/// edits and reactions.
#[test]
fn folders_of_versions_3_to_5_are_migrated_and_can_be_used() {
    let digest = "444e0fffbd825e9610ff5b199485707a0c895339ae80c15cc8a8aee41b106fda";
    for (version, sql) in [
        (3, include_str!("../fixtures/chat-v3.sql")),
        (4, include_str!("../fixtures/chat-v4.sql")),
        (5, include_str!("../fixtures/chat-v5.sql")),
    ] {
        let (folder, db) = folder_with(sql);
        drop(db);
        fs::create_dir(folder.path().join("files")).expect("a folder");
        fs::write(folder.path().join("files").join(digest), "notes\n").expect("a file");
        let chatd = start(folder.path());
        let enter = |login: &str| {
            let mut peer = Peer::connect(chatd.address).expect("a connection");
            peer.expect("TAGS on", "OK TAGS on").expect("tags");
            peer.expect(login, "OK NICK").expect("a nick");
            peer
        };
        let mut ann = enter("NICK ann correct horse");
        let mut list = |request: &str| {
            let (mut lines, reply) = ann.list(request).expect("an answer");
            lines.push(reply);
            lines
        };
        let at = |id: u64, event: &str| format!("PAST {id} 2026-12-01T00:28:04.{event}");
        let mut ops = vec![
            at(2, "009Z TOPIC #ops ann tea at four"),
            at(3, "010Z @removed MSG #ops ann -"),
            at(4, "011Z MSG #ops ann the disk is ful"),
            at(5, "013Z FILE #ops ann 5 6 notes.txt"),
            at(7, "018Z REMOVE #ops ann 3"),
        ];
        if version == 5 {
            ops[2] = at(
                4,
                "011Z @edited=2026-12-01T00:28:04.019Z;reacts=👍*1 MSG #ops ann the disk is full",
            );
            ops.extend([
                at(8, "019Z EDIT #ops ann 4 the disk is full"),
                at(9, "020Z REACT #ops Ben 4 👍"),
                at(10, "021Z @lines=2 MSG #ops ann first"),
                at(11, "021Z @of=10 MSG #ops ann second line"),
                at(
                    12,
                    "022Z @reply=4;x-severity=low MSG #ops ann use the other one",
                ),
            ]);
        }
        ops.push(format!("OK HISTORY {}", ops.len()));
        assert_eq!(list("HISTORY #ops"), ops, "version {version}");
        let hello = at(1, "007Z MSG #lobby ann hello from an older version");
        assert_eq!(list("HISTORY #lobby"), [hello.as_str(), "OK HISTORY 1"]);
        let told = at(6, "014Z MSG ann Ben are you there?");
        assert_eq!(list("HISTORY ann"), [told.as_str(), "OK HISTORY 1"]);
        let mut disk = vec![ops[2].clone()];
        disk.push("OK SEARCH 1".to_owned());
        assert_eq!(list("SEARCH #ops disk"), disk);
        assert_eq!(list("TOKENS").len(), 2);
        // What is new works on what is old.
        let react = list("REACT 4 🎉").pop().expect("a reply");
        assert!(react.starts_with("OK REACT "), "{react}");
        let edit = list("EDIT 4 the disk is empty").pop().expect("a reply");
        assert!(edit.starts_with("OK EDIT "), "{edit}");
        let edited = list("HISTORY #ops");
        let reacts = if version == 5 {
            "👍*1,🎉*1"
        } else {
            "🎉*1"
        };
        let text = format!(";reacts={reacts} MSG #ops ann the disk is empty");
        assert!(edited[2].ends_with(&text), "{edited:?}");
        let file = ann.download(5).expect("an answer").expect("a file");
        assert_eq!(&*file.bytes, b"notes\n");
        let mut ben = enter("NICK Ben his secret");
        let (readers, _) = ben.list("READERS").expect("an answer");
        assert_eq!(readers, ["READER #ops hourly 4"], "version {version}");
        drop(chatd);
        let check = Command::new(env!("CARGO_BIN_EXE_chatd"))
            .args(["check", "--data"])
            .arg(folder.path())
            .output()
            .expect("chatd check");
        let output = String::from_utf8_lossy(&check.stdout);
        assert!(output.contains(": no faults"), "{output}");
    }
}

#[test]
fn a_log_that_was_emptied_is_not_taken_for_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = start(&data);
    let mut ann = Peer::named(server.address, "ann").unwrap();
    ann.expect("MSG kept", "OK MSG 1 ").unwrap();
    drop(server); // killed
    let log = data.join("chat.db");
    assert!(fs::metadata(data.join("chat.db-wal")).unwrap().len() > 0);
    let whole = fs::read(&log).unwrap();
    fs::write(&log, b"").unwrap();
    check(
        &refused(&data),
        &data,
        "its chat.db is empty, but chat.db-wal is not: something has emptied it. Restore the folder from a backup; to start over, move both files away",
    );
    fs::write(&log, whole).unwrap();
    let server = start(&data);
    let mut ann = Peer::named(server.address, "ann").unwrap();
    assert_eq!(ann.list("HISTORY").unwrap().1, "OK HISTORY 1");
}
