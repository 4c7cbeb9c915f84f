//! protocol.md 2, 3.9: everything is synced to disk before its `OK` is sent.
//!
//! SIGKILL does not show a missing sync, but strace does.

use crate::support::peer::{Peer, sha256};
use crate::support::server::Chatd;
use crate::support::strace::Strace;
use crate::support::trace::{Call, SYNC, Step, check, read};

const CALLS: &str = "trace=write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,sendto";

/// An `OK`, and the steps that must have happened before it.
struct Promise {
    ok: String,
    steps: Vec<Step>,
}

fn step(what: &'static str, calls: &'static [&'static str], holds: &[&str]) -> Step {
    let holds = holds.iter().map(|part| part.to_string()).collect();
    Step { what, calls, holds }
}

/// Returns the steps of a message: the row with `mark` is in the database's write-ahead log and synced, and
/// then the reply is sent.
fn row(mark: &str, reply: &str) -> Vec<Step> {
    // The reply up to its id, which begins no other reply.
    let start: Vec<&str> = reply.split(' ').take(3).collect();
    let start = format!("{} ", start.join(" "));
    vec![
        step("the row", &["pwrite64"], &["/chat.db-wal>", mark]),
        step("sync of the row", SYNC, &["/chat.db-wal>"]),
        step("the reply", &["sendto"], &["socket:", &start]),
    ]
}

fn message(text: &str, reply: String) -> Promise {
    Promise {
        steps: row(text, &reply),
        ok: reply,
    }
}

/// Returns the steps of a file; `mark` is in the row that makes the file complete.
fn file(bytes: &str, mark: &str, reply: String) -> Promise {
    let digest = sha256(bytes.as_bytes());
    let mut steps = vec![
        step("the bytes", &["write"], &[".partial>", bytes]),
        step("sync of the bytes", SYNC, &[".partial>"]),
        step(
            "the name",
            &["rename", "renameat", "renameat2"],
            &[".partial", &digest],
        ),
        step("sync of the name", SYNC, &["/files>"]),
    ];
    steps.extend(row(mark, &reply));
    Promise { steps, ok: reply }
}

/// Makes a server acknowledge things, and returns its system calls and promises.
fn traced() -> (Vec<Call>, Vec<Promise>) {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = ["--data".into(), folder.path().display().to_string()];
    let chatd = Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags).expect("it starts");
    // Record pages and replies in full.
    let strace = Strace::attach(chatd.id(), &["-s", "70000", "-e", CALLS]);
    let mut promises = Vec::new();
    let mut peer = Peer::named(chatd.address, "ann").expect("a nick");
    for n in 0..10 {
        let text = format!("message-number-{n}-alone");
        let reply = peer.expect(&format!("MSG {text}"), "OK MSG");
        promises.push(message(&text, reply.expect("it is kept")));

        let bytes = format!("these are the bytes of file {n}");
        let name = format!("name-number-{n}.txt");
        let reply = peer.upload(&name, bytes.as_bytes(), &sha256(bytes.as_bytes()));
        promises.push(file(&bytes, &name, reply.expect("it is kept")));
    }
    // Many at once, in few transactions.
    let texts: Vec<_> = (0..100)
        .map(|n| format!("message-number-{n}-of-many"))
        .collect();
    let lines = texts.iter().map(|text| format!("MSG {text}\n"));
    peer.send(lines.collect::<String>()).expect("sent");
    for text in &texts {
        promises.push(message(text, peer.reply().expect("a reply")));
    }
    let bytes = "what came through a pipe";
    peer.send(format!("UPLOAD pipe.txt *\n{bytes}"))
        .expect("sent");
    peer.end().expect("the end");
    let reply = peer.reply().expect("a reply");
    promises.push(file(bytes, &sha256(bytes.as_bytes()), reply));
    // A call is in the trace as soon as its thread continues, so the last reply is there when the next one has
    // arrived.
    let mut other = Peer::connect(chatd.address).expect("a connection");
    other.expect("PING x", "OK PING x").expect("a reply");
    (read(&strace.detach()), promises)
}

/// Returns how many promises were made too early, and the first.
fn broken(calls: &[Call], promises: &[Promise]) -> (usize, String) {
    let broken_promises = promises.iter().filter_map(|promise| {
        assert!(promise.ok.starts_with("OK "), "{}", promise.ok);
        let error = check(calls, &promise.steps).err()?;
        Some(format!("{}: {error}", promise.ok))
    });
    let broken_promises: Vec<_> = broken_promises.collect();
    (
        broken_promises.len(),
        broken_promises.into_iter().next().unwrap_or_default(),
    )
}

#[test]
fn everything_is_synced_before_it_is_acknowledged() {
    let (calls, promises) = traced();
    let count = promises.len();
    println!("{count} promises, {} calls", calls.len());
    assert_eq!(broken(&calls, &promises), (0, String::new()));

    // Remove each kind of sync from the trace, to show that this test notices when one is missing.
    let without = |path: &str| -> Vec<Call> {
        let is_gone =
            |call: &&Call| !(SYNC.contains(&call.name.as_str()) && call.arguments.contains(path));
        calls.iter().filter(is_gone).cloned().collect()
    };
    let files = 11;
    for (path, expected, error) in [
        ("/chat.db-wal>", count, "no sync of the row"),
        (".partial>", files, "no sync of the bytes"),
        ("/files>", files, "no sync of the name"),
    ] {
        let (found, first) = broken(&without(path), &promises);
        assert_eq!(found, expected, "without the syncs of {path}");
        assert!(first.contains(error), "{first}");
    }
}

#[test]
fn a_sync_that_fails_or_ends_too_late_does_not_count() {
    let steps = row("hello", "OK MSG 1 2026-11-22T13:12:10.166Z");
    let write = "7 pwrite64(14</d/chat.db-wal>, \"..hello..\", 4096, 32) = 4096\n";
    let sync = "7 fsync(14</d/chat.db-wal>) = 0\n";
    let reply = "5 sendto(18<socket:[9]>, \"OK MSG 1 2026\", 13, 0, NULL, 0) = 13\n";
    let begun = "7 fsync(14</d/chat.db-wal> <unfinished ...>\n";
    let ended = "7 <... fsync resumed>)           = 0\n";
    let check_lines = |lines: &[&str]| check(&read(&lines.concat()), &steps);
    assert_eq!(check_lines(&[write, sync, reply]), Ok(()));
    assert_eq!(check_lines(&[write, begun, ended, reply]), Ok(()));
    let failed = sync.replace("= 0", "= -1 EIO (Input/output error)");
    let other = sync.replace("-wal", "");
    for lines in [
        &[write, reply][..],
        &[sync, write, reply],
        &[write, reply, sync],
        &[write, begun, reply, ended],
        &[begun, write, ended, reply],
        &[write, &failed, reply],
        &[write, &other, reply],
    ] {
        let error = "no sync of the row before the reply";
        assert_eq!(check_lines(lines), Err(error.into()), "{lines:?}");
    }
    assert_eq!(
        check_lines(&[write, sync]),
        Err("the reply is missing".into())
    );
}
