//! protocol.md 5.5, chatd.md 2, 7: check, export, import, backup, and the expiry of old messages and files.
//!
//! The commands work on a data folder without a server or beside one.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::peer::{Peer, sha256};
use crate::support::server::Chatd;

const CHATD: &str = env!("CARGO_BIN_EXE_chatd");

fn start(data: &Path, more: &[&str]) -> Chatd {
    let mut flags = vec!["--data".to_owned(), data.display().to_string()];
    flags.extend(more.iter().map(|flag| flag.to_string()));
    Chatd::spawn(CHATD, &flags).expect("it starts")
}

/// Runs `chatd COMMAND --data DATA ARGS` with `input`.
fn chatd(command: &str, data: &Path, args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new("timeout")
        .args(["30", CHATD, command, "--data"])
        .arg(data)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("timeout runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    let _ = stdin.write_all(input); // it may fail before it has read everything
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Makes a folder with messages in two rooms, a topic, a file, and a removed message.
fn filled(data: &Path) -> Chatd {
    let server = start(data, &[]);
    let mut ann = Peer::named(server.address, "ann").unwrap();
    ann.expect("MSG hello  there ", "OK MSG 1 ").unwrap();
    ann.expect("TELL #ops disk full", "OK TELL 2 ").unwrap();
    ann.expect("TOPIC all about tea", "OK TOPIC #lobby all about tea")
        .unwrap();
    ann.expect("MSG gone", "OK MSG 4 ").unwrap();
    ann.expect("REMOVE 4", "OK REMOVE 4").unwrap();
    ann.upload("a b.txt", b"hello\n", &sha256(b"hello\n"))
        .unwrap();
    ann.expect("ME waves", "OK ME 7 ").unwrap();
    server
}

fn history(server: &Chatd) -> Vec<String> {
    let mut peer = Peer::connect(server.address).unwrap();
    peer.list("HISTORY #lobby 1000 after 0").unwrap().0
}

#[test]
fn an_export_can_be_imported_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let (data, other) = (folder.path().join("data"), folder.path().join("other"));
    let server = filled(&data);
    let all = chatd("export", &data, &[], b"").stdout; // while the server runs
    assert_eq!(text(&all).lines().count(), 7, "{}", text(&all));
    let ops = text(&chatd("export", &data, &["ops"], b"").stdout);
    assert!(
        ops.ends_with(" MSG #ops ann disk full\n") && ops.lines().count() == 1,
        "{ops}"
    );
    let none = chatd("export", &data, &["nowhere"], b"");
    assert_eq!(
        (none.status.code(), &*text(&none.stderr)),
        (Some(1), "chatd: there is no room #nowhere\n")
    );

    let logged = history(&server);
    drop(server);
    let taken = chatd("import", &other, &[], &all);
    assert_eq!(
        text(&taken.stdout),
        "7 events imported\n",
        "{}",
        text(&taken.stderr)
    );
    assert_eq!(text(&chatd("export", &other, &[], b"").stdout), text(&all));
    let server = start(&other, &[]);
    assert_eq!(history(&server), logged);
    let mut bob = Peer::named(server.address, "bob").unwrap();
    bob.expect("TOPIC", "OK TOPIC #lobby all about tea")
        .unwrap();
    bob.expect("SEARCH THERE", "OK SEARCH 1").unwrap();
    bob.expect("SEARCH gone", "OK SEARCH 0").unwrap();
    bob.expect("MSG next", "OK MSG 8 ").unwrap();
    let busy = chatd("import", &other, &[], &all);
    assert_eq!(busy.status.code(), Some(1));
    assert!(
        text(&busy.stderr).ends_with("another chatd is using it\n"),
        "{}",
        text(&busy.stderr)
    );
    drop(server);

    // Import again: the ids are in use, so the same events get new ids, and refer to those.
    chatd("import", &other, &[], &all);
    let twice = text(&chatd("export", &other, &["lobby"], b"").stdout);
    assert!(twice.contains(" REMOVE #lobby ann 12\n"), "{twice}");
    let bad = chatd(
        "import",
        &other,
        &[],
        b"PAST 90 2026-11-22T11:22:05.007Z MSG #a b c\nhello\n",
    );
    assert_eq!(bad.status.code(), Some(1));
    let why = "chatd: line 2 of the input is not a PAST line; nothing was imported\n";
    assert_eq!(text(&bad.stderr), why);
    assert!(!text(&chatd("export", &other, &[], b"").stdout).contains("#a b c"));
    // The sender's name is not a nick. Such an event was once imported, and then nobody could read or export it.
    let line = b"PAST 90 2026-11-22T11:22:05.007Z MSG a ln#n hello\n";
    let bad = chatd("import", &other, &[], line);
    assert_eq!(bad.status.code(), Some(1));
    let why = "chatd: line 1 of the input is not a PAST line; nothing was imported\n";
    assert_eq!(text(&bad.stderr), why);
    // The digest that a stored file always has is missing. Such an event was once imported, and could not be exported.
    let line = b"PAST 90 2026-11-22T11:22:05.007Z STORED #a ann 8 2\n";
    let bad = chatd("import", &other, &[], line);
    assert_eq!(bad.status.code(), Some(1));
    assert_eq!(text(&bad.stderr), why);
}

/// Regression test. An imported edit that named itself, a file or a topic once made a log that could not be exported.
/// Only messages can be edited.
#[test]
fn an_imported_edit_of_something_other_than_a_message_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let lines = "PAST 1 2026-11-22T11:22:05.007Z FILE #lobby ann 1 * log\n\
                 PAST 2 2026-11-22T11:22:05.007Z TOPIC #lobby ann tea\n\
                 PAST 3 2026-11-22T11:22:05.007Z EDIT #lobby ann 1 x\n\
                 PAST 4 2026-11-22T11:22:05.007Z EDIT #lobby ann 2 x\n\
                 PAST 5 2026-11-22T11:22:05.007Z EDIT #lobby ann 5 x\n";
    chatd("import", &data, &[], lines.as_bytes());
    assert_eq!(text(&chatd("export", &data, &[], b"").stdout), lines);
}

/// Regression test. The spaces at the end of an edited message were once cut off.
#[test]
fn the_text_of_an_edit_is_imported_to_its_last_space() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let edit = "PAST 2 2026-11-22T11:22:05.007Z EDIT #lobby ann 1 two  \n";
    let lines = format!("PAST 1 2026-11-22T11:22:05.007Z MSG #lobby ann one\n{edit}");
    chatd("import", &data, &[], lines.as_bytes());
    let exported = text(&chatd("export", &data, &[], b"").stdout);
    assert!(exported.ends_with(edit), "{exported}");
}

#[test]
fn replies_edits_and_reactions_are_exported_and_imported() {
    let folder = tempfile::tempdir().unwrap();
    let (data, other) = (folder.path().join("data"), folder.path().join("other"));
    let server = start(&data, &[]);
    let mut ann = Peer::named(server.address, "ann").unwrap();
    ann.expect("MSG the build is red", "OK MSG 1 ").unwrap();
    ann.expect("@reply=1;x-run=a%20b MSG I look", "OK MSG 2 ")
        .unwrap();
    ann.expect("EDIT 1 the build is green", "OK EDIT 3 ")
        .unwrap();
    ann.expect("REACT 1 👍", "OK REACT 4 ").unwrap();
    ann.expect("REACT 2 🎉", "OK REACT 5 ").unwrap();
    ann.expect("UNREACT 2 🎉", "OK UNREACT 6 ").unwrap();
    ann.expect("MSG a secret", "OK MSG 7 ").unwrap();
    ann.expect("EDIT 7 another secret", "OK EDIT 8 ").unwrap();
    ann.expect("REMOVE 7", "OK REMOVE 7").unwrap();
    let text_of_three = "TEXT 5\na\n\nb";
    ann.expect(text_of_three, "OK TEXT 10 ").unwrap();
    drop(server);
    let all = chatd("export", &data, &[], b"").stdout;
    let lines = text(&all);
    assert!(!lines.contains("secret"), "{lines}");
    let first = lines.lines().next().unwrap();
    let (_, event) = first.split_once("Z @edited=").expect("it was edited");
    assert!(
        event.ends_with("Z;reacts=👍*1 MSG #lobby ann the build is green"),
        "{first}"
    );
    assert!(
        lines.contains(" @reply=1;x-run=a%20b MSG #lobby ann I look\n"),
        "{lines}"
    );

    let taken = chatd("import", &other, &[], &all);
    assert_eq!(
        text(&taken.stdout),
        "12 events imported\n",
        "{}",
        text(&taken.stderr)
    );
    assert_eq!(text(&chatd("export", &other, &[], b"").stdout), lines);
    // Their references to one another are right even with new ids.
    chatd("import", &other, &[], &all);
    let server = start(&other, &[]);
    let mut bob = Peer::named(server.address, "bob").unwrap();
    bob.expect("SEARCH red", "OK SEARCH 0").unwrap();
    bob.expect("TAGS on", "OK TAGS on").unwrap();
    let again = bob
        .list("HISTORY #lobby 1000 after 12")
        .unwrap()
        .0
        .join("\n");
    assert!(
        again.contains("@reply=13;x-run=a%20b MSG #lobby ann I look"),
        "{again}"
    );
    assert!(
        again.contains("EDIT #lobby ann 13 the build is green"),
        "{again}"
    );
    let text_again = "PAST 22 TIME @lines=3 MSG #lobby ann a\nPAST 23 TIME @of=22 MSG #lobby ann\nPAST 24 TIME @of=22 MSG #lobby ann b";
    let time = again.rsplit(' ').nth(5).expect("a time");
    assert!(
        again.ends_with(&text_again.replace("TIME", time)),
        "{again}"
    );
    assert_eq!(bob.list("REACTS 13").unwrap().0, ["REACT 13 ann 👍"]);
}

/// After an import, direct messages can be read only by those of the two nicks that are registered in the new folder at
/// that time. Nobody receives them by registering one of the nicks later.
#[test]
fn direct_messages_are_exported_and_imported_for_registered_nicks() {
    let folder = tempfile::tempdir().unwrap();
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    let enter = |server: &Chatd, nick: &str| {
        let mut peer = Peer::connect(server.address).unwrap();
        peer.expect(&format!("NICK {nick} her secret"), "OK NICK")
            .unwrap();
        peer
    };
    let register = |server: &Chatd, nick: &str| {
        let mut peer = enter(server, nick);
        peer.expect("REGISTER her secret", "OK REGISTER").unwrap();
        peer
    };
    let server = start(&data, &[]);
    let mut ann = register(&server, "ann");
    register(&server, "bea");
    ann.expect("TELL bea psst", "OK TELL 1 ").unwrap();
    ann.expect("MSG hello", "OK MSG 2 ").unwrap();
    ann.expect("TELL bea gone", "OK TELL 3 ").unwrap();
    ann.expect("REMOVE 3", "OK REMOVE 3").unwrap();
    ann.expect("TAGS on", "OK TAGS on").unwrap();
    let (lines, reply) = ann.list("HISTORY ann").unwrap();
    assert_eq!(reply, "OK HISTORY 3");
    let all = chatd("export", &data, &[], b"").stdout;
    assert_eq!(text(&all).lines().count(), 4, "{}", text(&all));
    assert!(text(&all).ends_with(&format!("{}\n", lines.join("\n"))));
    assert_eq!(
        text(&chatd("export", &data, &["lobby"], b"").stdout)
            .lines()
            .count(),
        1
    );
    // A backup has everything, and an older backup can be completed by a later export.
    let done = chatd("backup", &data, &[&copy.display().to_string()], b"");
    assert!(done.status.success(), "{}", text(&done.stderr));
    drop(server);
    let taken = chatd("import", &copy, &[], &all);
    assert_eq!(
        text(&taken.stdout),
        "4 events imported\n",
        "{}",
        text(&taken.stderr)
    );
    let server = start(&copy, &[]);
    let mut bea = enter(&server, "bea");
    bea.expect("TAGS on", "OK TAGS on").unwrap();
    let (twice, reply) = bea.list("HISTORY bea").unwrap();
    assert_eq!(reply, "OK HISTORY 6");
    assert_eq!(twice[..3], lines);
    assert!(twice[5].ends_with(" REMOVE bea ann 7"), "{twice:?}");
    drop(server);

    let other = folder.path().join("other");
    let taken = chatd("import", &other, &[], &all);
    assert!(taken.status.success(), "{}", text(&taken.stderr));
    assert_eq!(text(&chatd("export", &other, &[], b"").stdout), text(&all));
    // An export of an older version has no tag for what was deleted.
    let older = text(&all).replace("@removed ", "");
    assert_ne!(older, text(&all));
    let third = folder.path().join("third");
    let taken = chatd("import", &third, &[], older.as_bytes());
    assert!(taken.status.success(), "{}", text(&taken.stderr));
    assert_eq!(text(&chatd("export", &third, &[], b"").stdout), text(&all));
    let server = start(&other, &[]);
    let mut stranger = register(&server, "bea");
    let (lines, reply) = stranger.list("HISTORY bea").unwrap();
    assert_eq!((lines.len(), &*reply), (0, "OK HISTORY 0"));
}

#[test]
fn direct_messages_expire_like_other_events() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[]);
    let mut ann = Peer::named(server.address, "ann").unwrap();
    ann.expect("REGISTER her secret", "OK REGISTER").unwrap();
    for n in 1..=700 {
        ann.expect(&format!("TELL ann {n}"), &format!("OK TELL {n} "))
            .unwrap();
    }
    drop(server);
    let server = start(folder.path(), &["--keep-bytes", "1", "--trim-every", "1s"]);
    let until = Instant::now() + Duration::from_secs(30);
    let mut ann = Peer::connect(server.address).unwrap();
    ann.expect("NICK ann her secret", "OK NICK").unwrap();
    while ann.ask("HISTORY ann").unwrap() != "OK HISTORY 0" {
        assert!(Instant::now() < until, "it is still there");
    }
    ann.expect("TELL ann anew", "OK TELL 701 ").unwrap();
    drop(server);
    let check = chatd("check", folder.path(), &[], b"");
    assert!(
        text(&check.stdout).ends_with(": no faults\n"),
        "{}",
        text(&check.stdout)
    );
}

#[test]
fn a_backup_of_a_running_server_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    let server = filled(&data);
    // Meanwhile a client continues to send.
    let address = server.address;
    let speaker = std::thread::spawn(move || {
        let mut bob = Peer::named(address, "bob").unwrap();
        for n in 0..500 {
            bob.expect(&format!("MSG {n}"), "OK MSG ").unwrap();
        }
    });
    let done = chatd("backup", &data, &[&copy.display().to_string()], b"");
    assert!(done.status.success(), "{}", text(&done.stderr));
    speaker.join().unwrap();
    let check = chatd("check", &copy, &[], b"");
    assert!(
        check.status.success() && text(&check.stdout).ends_with(": no faults\n"),
        "{}",
        text(&check.stdout)
    );
    let now = history(&server);
    drop(server);
    let server = start(&copy, &[]);
    let then = history(&server);
    assert_eq!(then[..6], now[..6], "and of what bob said, the beginning");
    let mut bob = Peer::connect(server.address).unwrap();
    let fetched = bob
        .download(6)
        .unwrap()
        .unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(fetched.bytes, b"hello\n");
    let again = chatd("backup", &data, &[&copy.display().to_string()], b"");
    assert_eq!(again.status.code(), Some(1), "it is never written over");
}

#[test]
fn check_reports_faults_and_repair_fixes_them() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = filled(&data);
    let mut ann = Peer::named(server.address, "bob").unwrap();
    ann.upload("lost.txt", b"lost", &sha256(b"lost")).unwrap();
    let busy = chatd("check", &data, &["--repair"], b"");
    assert!(
        text(&busy.stderr).ends_with("another chatd is using it\n"),
        "{}",
        text(&busy.stderr)
    );
    drop(ann);
    drop(server);

    let kept = data.join("files");
    let (damaged, lost) = (kept.join(sha256(b"hello\n")), kept.join(sha256(b"lost")));
    fs::write(damaged, b"hallo\n").unwrap();
    fs::remove_file(lost).unwrap();
    fs::write(kept.join(sha256(b"stray")), b"stray").unwrap();
    fs::write(data.join("incoming/x.partial"), b"half").unwrap();
    let check = |args: &[&str]| {
        let output = chatd("check", &data, args, b"");
        (output.status.code(), text(&output.stdout))
    };
    let (code, found) = check(&[]);
    assert_eq!(code, Some(1));
    for fault in [
        "file 6 (a b.txt): its bytes are damaged\n",
        "file 8 (lost.txt): its bytes are missing\n",
        ": belongs to no file\n",
        ": left over from an interrupted upload\n",
        ": 4 faults\n",
    ] {
        assert!(found.contains(fault), "{fault:?} in {found}");
    }
    assert!(
        check(&["--repair"])
            .1
            .ends_with(": 4 faults, repaired as far as possible\n")
    );
    let (code, found) = check(&[]);
    assert!(
        code == Some(0) && found.ends_with(": no faults\n"),
        "{found}"
    );
    let server = start(&data, &[]);
    let mut bob = Peer::connect(server.address).unwrap();
    bob.expect("FILES", "OK FILES 0").unwrap();
    bob.expect("SEARCH there", "OK SEARCH 1").unwrap();
    bob.expect("DOWNLOAD 6", "ERR DOWNLOAD no-such-file ")
        .unwrap();
}

/// Polls until `is_so`, or fails at the deadline.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let late = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < late, "not so in time: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn old_events_and_excess_bytes_expire_and_a_resumed_reader_gets_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let old = "PAST 1 2020-01-01T00:00:00.000Z MSG #lobby ann long ago\n\
               PAST 2 2020-01-01T00:00:01.000Z MSG #lobby ann also long ago\n";
    chatd("import", &data, &[], old.as_bytes());
    // While the clock may be wrong, events are removed only because there are too many.
    let large = "x".repeat(2000);
    let more = format!(
        "PAST 1 2020-01-01T00:00:00.000Z MSG #lobby ann {large}\n\
         PAST 2 2020-01-01T00:00:01.000Z MSG #lobby ann long ago\n"
    );
    let other = folder.path().join("other");
    chatd("import", &other, &[], more.as_bytes());
    let server = start(
        &other,
        &[
            "--keep",
            "7",
            "--keep-bytes",
            "1KiB",
            "--trim-every",
            "50ms",
        ],
    );
    let mut bob = Peer::named(server.address, "bob").unwrap();
    until("the large one goes", || {
        let (lines, _) = bob.list("HISTORY").unwrap();
        assert!(
            lines.last().is_some_and(|line| line.ends_with(" long ago")),
            "{lines:?}"
        );
        lines.len() == 1
    });
    drop((bob, server));
    let server = start(&data, &[]);
    let mut bob = Peer::named(server.address, "bob").unwrap();
    bob.expect("MSG today", "OK MSG 3 ").unwrap();
    drop((bob, server));
    let server = start(&data, &["--keep", "7", "--trim-every", "50ms"]);
    let mut bob = Peer::named(server.address, "bob").unwrap();
    until("the old goes", || {
        bob.list("HISTORY").unwrap().1 == "OK HISTORY 1"
    });
    bob.expect("SEARCH long", "OK SEARCH 0").unwrap();
    let (lines, _) = Peer::connect(server.address)
        .unwrap()
        .list("JOIN lobby 1")
        .unwrap();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], "GAP #lobby");
    assert!(lines[1].ends_with(" MSG #lobby bob today"), "{lines:?}");
    drop((bob, server));

    // Only events and files count, not the space that SQLite needs.
    let server = start(&data, &["--keep-bytes", "10KiB", "--trim-every", "50ms"]);
    let mut bob = Peer::named(server.address, "bob").unwrap();
    let large = vec![7; 500 << 10];
    bob.upload("large", &large, &sha256(&large)).unwrap();
    until("the large file goes", || {
        bob.list("FILES").unwrap().1 == "OK FILES 0"
    });
    let blob = data.join("files").join(sha256(&large));
    until("its bytes go", || !blob.exists());
    bob.expect("MSG still here", "OK MSG ").unwrap();
    let (lines, _) = bob.list("HISTORY 1").unwrap();
    assert!(lines[0].ends_with("still here"), "{lines:?}");
}

#[test]
fn all_files_together_are_bounded_by_the_quota() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = start(&data, &["--quota", "10"]);
    let mut bob = Peer::named(server.address, "bob").unwrap();
    let put = |bob: &mut Peer, bytes: &[u8]| bob.upload("f", bytes, &sha256(bytes)).unwrap();
    assert!(put(&mut bob, b"123456").starts_with("OK UPLOAD 1 "));
    assert!(put(&mut bob, b"12345").starts_with("ERR UPLOAD quota "));
    assert!(put(&mut bob, b"1234").starts_with("OK UPLOAD 2 "));
    bob.expect("REMOVE 1", "OK REMOVE 1").unwrap();
    assert!(put(&mut bob, b"12345").starts_with("OK UPLOAD 4 "));
    // A file of unknown length is refused when it exceeds the quota.
    let mut ann = Peer::named(server.address, "ann").unwrap();
    ann.send("UPLOAD pipe *\nmore than ten bytes").unwrap();
    ann.end().unwrap();
    assert!(ann.reply().unwrap().starts_with("ERR UPLOAD quota "));
    drop(server);
    // The total is known after a restart too.
    let server = start(&data, &["--quota", "10"]);
    let mut bob = Peer::named(server.address, "bob").unwrap();
    assert!(put(&mut bob, b"12").starts_with("ERR UPLOAD quota "));
    assert!(put(&mut bob, b"1").starts_with("OK UPLOAD "));
}

#[test]
fn an_interrupted_backup_is_never_taken_for_a_complete_one() {
    let folder = tempfile::tempdir().unwrap();
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    let server = filled(&data);
    drop(server);
    let name = copy.display().to_string();
    // The remains of an earlier backup that was killed at once, or after SQLite had created its file.
    let part = folder.path().join("copy.part");
    fs::create_dir(&part).unwrap();
    fs::write(part.join("chat.db"), b"").unwrap();
    for unfinished in [&part, &folder.path().join("nothing")] {
        let check = chatd("check", unfinished, &[], b"");
        assert_eq!(check.status.code(), Some(1), "{}", text(&check.stdout));
        assert!(!text(&check.stdout).contains(": no faults"));
    }
    assert_eq!(fs::read(part.join("chat.db")).unwrap(), b"");
    let done = chatd("backup", &data, &[&name], b"");
    assert_eq!(done.status.code(), Some(1));
    assert!(
        text(&done.stderr).contains("copy.part exists"),
        "{}",
        text(&done.stderr)
    );
    assert!(!copy.exists());
    fs::remove_dir_all(&part).unwrap();
    let done = chatd("backup", &data, &[&name], b"");
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(copy.exists() && !part.exists());
    assert!(chatd("check", &copy, &[], b"").status.success());
    // A backup that cannot be finished leaves nothing behind.
    let other = folder.path().join("none/there");
    let failed = chatd("backup", &data, &[&other.display().to_string()], b"");
    let part = folder.path().join("none/there.part");
    assert!(failed.status.code() == Some(0) || !part.exists());
}

#[test]
fn no_other_user_can_read_a_data_folder_or_a_backup_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    fn modes(path: &Path, found: &mut Vec<String>) {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        if mode & 0o077 != 0 {
            found.push(format!("{}: {mode:o}", path.display()));
        }
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                modes(&entry.unwrap().path(), found);
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    let had = rustix::process::umask(rustix::fs::Mode::empty());
    let server = filled(&data);
    let mut bob = Peer::named(server.address, "bob").unwrap();
    bob.expect("SEARCH there", "OK SEARCH 1").unwrap();
    let done = chatd("backup", &data, &[&copy.display().to_string()], b"");
    rustix::process::umask(had);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let mut found = Vec::new();
    modes(&data, &mut found);
    modes(&copy, &mut found);
    assert_eq!(found, [""; 0]);
    drop((bob, server));
    // A server makes files private that an older version left readable.
    for name in ["chat.db", "words.db", "reserve"] {
        fs::set_permissions(data.join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let server = start(&data, &[]);
    let mut bob = Peer::connect(server.address).unwrap();
    bob.expect("SEARCH there", "OK SEARCH 1").unwrap();
    modes(&data, &mut found);
    assert_eq!(found, [""; 0]);
}

/// Regression test. One anonymous connection could once create so many readers that the server deleted every message.
/// It could also use up all rooms.
#[test]
fn readers_are_bounded_delete_nothing_and_a_room_expires_with_its_last_event() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let trims = ["--keep-bytes", "1MiB", "--trim-every", "50ms"];
    let server = start(&data, &trims);
    let mut bob = Peer::named(server.address, "bob").unwrap();
    bob.expect("MSG still here", "OK MSG 1 ").unwrap();
    let mut eve = Peer::named(server.address, "eve").unwrap();
    let mut made = 0;
    loop {
        let (_, reply) = eve.list(&format!("JOIN #lobby AS r{made}")).unwrap();
        if reply.starts_with("ERR JOIN quota ") {
            break;
        }
        assert!(reply.starts_with("OK JOIN #lobby "), "{reply}");
        made += 1;
        assert!(made <= 256, "one address may make so many");
        // Another nick does not help.
        eve.expect(&format!("NICK eve{made}"), "OK NICK").unwrap();
    }
    assert_eq!(made, 256);
    // An existing reader is still found and moved.
    bob.expect("JOIN #lobby", "OK JOIN #lobby 1").unwrap();
    assert_eq!(bob.list("HISTORY #lobby").unwrap().1, "OK HISTORY 1");
    drop((bob, eve, server));

    // All events expire, and with them the rooms that nobody needs.
    let data = folder.path().join("old");
    let old: String = (1..=50)
        .map(|n| {
            format!(
                "PAST {} 2020-01-01T00:00:00.000Z MSG #r{n} ann long ago\n",
                n + 10
            )
        })
        .collect();
    let future = "PAST 9 2999-01-01T00:00:00.000Z MSG #r0 ann not yet\n";
    let imported = chatd("import", &data, &[], (future.to_owned() + &old).as_bytes());
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    // The newest event is of today, so the clock is right.
    let server = start(&data, &[]);
    let mut bob = Peer::named(server.address, "bob").unwrap();
    bob.expect("MSG today", "OK MSG 61 ").unwrap();
    drop((bob, server));
    let server = start(&data, &["--keep", "7", "--trim-every", "50ms"]);
    let mut bob = Peer::named(server.address, "bob").unwrap();
    until("the rooms go", || {
        bob.list("ROOMS").unwrap().1 == "OK ROOMS 1"
    });
    // A reader that returns to a removed room gets a `GAP`.
    let (lines, reply) = bob.list("JOIN #r7 3").unwrap();
    assert_eq!(
        (lines, reply),
        (vec!["GAP #r7".to_owned()], "OK JOIN #r7 0".to_owned())
    );
    assert_eq!(bob.list("JOIN #new 0").unwrap().0, [""; 0]);
    drop((bob, server));
    let server = start(&data, &[]);
    let mut bob = Peer::named(server.address, "bob").unwrap();
    assert_eq!(
        bob.list("ROOMS").unwrap().1,
        "OK ROOMS 1",
        "also after a restart"
    );
}

#[test]
fn a_reader_of_an_empty_room_gets_a_gap_for_what_it_missed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = start(&data, &["--keep-bytes", "8KiB", "--trim-every", "50ms"]);
    let mut bob = Peer::named(server.address, "bob").unwrap();
    bob.expect("MSG before", "OK MSG 1 ").unwrap();
    bob.expect("JOIN #k AS rd", "OK JOIN #k 0").unwrap();
    drop(bob);
    let mut ann = Peer::named(server.address, "ann").unwrap();
    for n in 0..20 {
        let text = format!("TELL #k {n} {}", "long ".repeat(200));
        ann.expect(&text, "OK TELL ").unwrap();
    }
    until("the first go", || {
        let (lines, _) = ann.list("HISTORY #k 1000").unwrap();
        !lines.is_empty() && lines.len() < 20
    });
    // A reader that had seen the beginning has missed something, and gets a `GAP`.
    for join in ["JOIN #k AS rd", "JOIN #k 0", "JOIN #k 1"] {
        let mut bob = Peer::connect(server.address).unwrap();
        let mut nick = bob.ask("NICK bob").unwrap();
        while nick.starts_with("ERR NICK nick-taken") {
            nick = bob.ask("NICK bob").unwrap(); // the last connection has not ended yet
        }
        let (lines, reply) = bob.list(join).unwrap();
        assert_eq!(lines[0], "GAP #k", "{join}: {lines:?} {reply}");
    }
}
