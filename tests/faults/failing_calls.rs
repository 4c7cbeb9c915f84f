//! protocol.md 2, 9: a store whose n-th operation fails, for every n.
//!
//! strace makes one system call of the running server fail, or that call and all later ones. The client must get an error,
//! the server must keep running, everything must work again afterwards, and nothing that was acknowledged may be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::process::Command;

use crate::support::peer::{Peer, other, sha256};
use crate::support::server::Chatd;
use crate::support::strace::Strace;

/// The calls that fail, and the error code that reports it. Sockets and wake-ups use none of these calls.
const FAULTS: [(&str, &str); 8] = [
    ("fsync:error=EIO", "internal"),
    ("fdatasync:error=EIO", "internal"),
    ("fdatasync:error=ENOSPC", "quota"),
    ("pwrite64:error=ENOSPC", "quota"),
    ("pread64:error=EIO", "internal"),
    ("openat:error=EIO", "internal"),
    ("rename,renameat,renameat2:error=EIO", "internal"),
    ("unlink,unlinkat:error=EIO", "internal"),
];

/// The maximum number of operations in a sweep. No round has so many, so a sweep that reaches this number would never
/// end.
const OPERATIONS_MAX: usize = 400;

fn start(data: &Path) -> Chatd {
    let flags = ["--data".into(), data.display().to_string()];
    Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags).expect("it starts")
}

/// What the server has acknowledged, and what it has refused.
#[derive(Default)]
struct Store {
    said: BTreeMap<u64, String>,
    files: BTreeMap<u64, Vec<u8>>,
    refused: BTreeSet<String>,
    /// Files whose removal was refused or never answered. They may be there or not.
    unsure: BTreeSet<u64>,
    count: usize,
}

/// The result of a request while operations fail with an error code.
enum Went {
    Kept(u64),
    Refused,
}

/// Reads a reply. If it is an error, it must have the code `code`; with `None`, it must not be an error.
fn went(reply: &str, code: Option<&str>) -> io::Result<Went> {
    let words: Vec<&str> = reply.split(' ').collect();
    match (&words[..], code) {
        (["OK", _, id, ..], _) => Ok(Went::Kept(id.parse().unwrap_or_default())),
        (["ERR", _, told, ..], Some(code)) if *told == code => Ok(Went::Refused),
        _ => Err(other(format!("{reply}, where {code:?} fails"))),
    }
}

impl Store {
    /// Makes one request of each kind that stores something. With `code`, each may fail with that code.
    fn use_all(&mut self, chatd: &Chatd, code: Option<&str>) -> io::Result<()> {
        self.count += 1;
        let n = self.count;
        let mut peer = Peer::named(chatd.address, "ann")?;
        peer.expect(&format!("JOIN #room{}", n % 7), "OK JOIN")?;
        self.say(&mut peer, vec![format!("{n} alone")], code)?;
        let many = (0..20).map(|k| format!("{n} {k} {}", "x".repeat(k * 100)));
        self.say(&mut peer, many.collect(), code)?;
        went(&peer.ask(&format!("TOPIC number {n}"))?, code)?;

        let bytes = format!("a file, number {n}").into_bytes();
        let reply = peer.upload("file", &bytes, &sha256(&bytes))?;
        if let Went::Kept(id) = went(&reply, code)? {
            self.files.insert(id, bytes);
        }
        self.send_pipe(chatd, code)?;
        let mut own = self
            .files
            .iter()
            .filter(|(_, bytes)| bytes.starts_with(b"a file"));
        let oldest = own.next().map(|(id, _)| *id);
        if let Some(id) = oldest.filter(|_| own.count() > 1) {
            match went(&peer.ask(&format!("REMOVE {id}"))?, code)? {
                Went::Kept(_) => drop(self.files.remove(&id)),
                Went::Refused => drop(self.unsure.insert(id)),
            }
        }
        // A search with few matches, so that a round reads about as much late in a sweep as early on.
        let search = format!("SEARCH {n} alone");
        for request in ["HISTORY 30", &search, "FILES"] {
            went(&peer.list(request)?.1, code)?;
        }
        let newest = self.files.keys().next_back();
        if let Some(id) = newest.filter(|id| !self.unsure.contains(id)) {
            match (peer.download(*id), code) {
                (Ok(Ok(file)), _) if file.bytes == self.files[id] => {}
                (Ok(Err(refusal)), Some(_)) => {
                    went(&refusal, code)?;
                }
                (Ok(_), _) => return Err(other(format!("file {id} is lost"))),
                (Err(e), _) => return Err(e),
            }
        }
        // Whatever fails, the server still answers.
        let mut late = Peer::connect(chatd.address)?;
        late.expect("PING late", "OK PING late")?;
        peer.expect("PING still", "OK PING still")?;
        peer.expect("BYE", "OK BYE")?;
        while peer.line().is_ok() {} // now the nick is free
        Ok(())
    }

    fn say(&mut self, peer: &mut Peer, texts: Vec<String>, code: Option<&str>) -> io::Result<()> {
        let lines = texts.iter().map(|text| format!("MSG {text}\n"));
        peer.send(lines.collect::<String>())?;
        for text in texts {
            match went(&peer.reply()?, code)? {
                Went::Kept(id) => drop(self.said.insert(id, text)),
                Went::Refused => drop(self.refused.insert(text)),
            }
        }
        Ok(())
    }

    fn send_pipe(&mut self, chatd: &Chatd, code: Option<&str>) -> io::Result<()> {
        let mut peer = Peer::named(chatd.address, "pipe")?;
        let bytes = format!("a pipe, number {}", self.count).into_bytes();
        peer.send("UPLOAD pipe *\n")?;
        peer.send(&bytes)?;
        peer.end()?;
        if let Went::Kept(id) = went(&peer.reply()?, code)? {
            self.files.insert(id, bytes);
        }
        while peer.line().is_ok() {} // now the nick is free
        Ok(())
    }

    /// Checks that what was acknowledged is there, and what was refused is not.
    fn check(&mut self, chatd: &Chatd) -> io::Result<()> {
        let mut peer = Peer::connect(chatd.address)?;
        let mut found = BTreeMap::new();
        for room in 0..7 {
            let (lines, _) = peer.list(&format!("JOIN #room{room} 0"))?;
            for line in lines {
                let words: Vec<&str> = line.splitn(7, ' ').collect();
                if let ["PAST", id, _, "MSG", _, _, text] = words[..] {
                    let id: u64 = id.parse().map_err(|_| other(&*line))?;
                    if self.refused.contains(text) {
                        return Err(other(format!("was refused and is there: {line}")));
                    }
                    found.insert(id, text.to_owned());
                }
            }
        }
        if found != self.said {
            let id = self
                .said
                .iter()
                .find(|(id, text)| found.get(id) != Some(text));
            return Err(other(format!("lost or not told: {id:?}")));
        }
        for (id, bytes) in &self.files {
            match peer.download(*id)? {
                Ok(file) if file.bytes == *bytes => {}
                Err(e) if self.unsure.contains(id) && e.contains("no-such-file") => {}
                _ => return Err(other(format!("file {id} is lost"))),
            }
        }
        Ok(())
    }
}

/// Makes the n-th call of each thread fail, for each n until none is left. Above 100, only every second n is tried,
/// above 200 every third, and so on: the stored data grows from round to round, and so does the number of calls in a
/// round.
fn sweep(fault: &str, code: &str, suffix: &str, step: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let chatd = start(folder.path());
    let mut store = Store::default();
    for _ in 0..5 {
        store.use_all(&chatd, None).expect("nothing fails yet");
    }
    let call = fault.split(':').next().expect("a call");
    let mut n = 1;
    loop {
        let inject = format!("inject={fault}:when={n}{suffix}");
        let strace = Strace::attach(chatd.id(), &["-e", &format!("trace={call}"), "-e", &inject]);
        let used = store.use_all(&chatd, Some(code));
        let trace = strace.detach();
        used.unwrap_or_else(|e| panic!("{inject}: {e}\n{trace}"));
        let after = store.use_all(&chatd, None);
        after.unwrap_or_else(|e| panic!("after {inject}: {e}"));
        if !trace.contains("(INJECTED)") {
            break;
        }
        n += step * (1 + n / 100);
        assert!(n < OPERATIONS_MAX, "{fault}: there is no end of them");
    }
    let checked = store.check(&chatd);
    checked.unwrap_or_else(|e| panic!("{fault}: {e}"));
    drop(chatd); // killed
    let chatd = start(folder.path());
    let checked = store.check(&chatd);
    checked.unwrap_or_else(|e| panic!("{fault}, after a new start: {e}"));
    let again = store.use_all(&chatd, None);
    again.unwrap_or_else(|e| panic!("{fault}, after a new start: {e}"));
    drop(chatd);
    check_folder(folder.path());
    println!(
        "{fault}:when=n{suffix}: {n} operations, {} messages refused",
        store.refused.len()
    );
    assert!(n > 1, "{fault}: no operation failed");
}

/// Checks that `chatd check` finds nothing but bytes that could not be deleted.
fn check_folder(data: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
    let output = command.args(["check", "--data"]).arg(data).output();
    let output = String::from_utf8(output.expect("chatd check").stdout).expect("text");
    let is_good = |line: &str| {
        line.ends_with("belongs to no file") || line.starts_with(&*data.to_string_lossy())
    };
    assert!(output.lines().all(is_good), "{output}");
}

#[test]
fn one_failed_operation_is_reported_and_affects_nothing_else() {
    for (fault, code) in FAULTS {
        sweep(fault, code, "", 1);
    }
}

#[test]
fn a_disk_that_fails_for_a_while_is_reported_and_works_again() {
    for (fault, code) in FAULTS {
        sweep(fault, code, "+", 5);
    }
    sweep("pwrite64:error=EIO", "internal", "+", 5);
}

/// Regression test. If the end of an upload could not be stored, every `DOWNLOAD` of the file once searched for it
/// without end.
#[test]
fn a_download_of_an_abandoned_upload_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let chatd = start(folder.path());
    let mut peer = Peer::named(chatd.address, "ann").expect("a nick");
    peer.expect("MSG x", "OK MSG 1").expect("it is kept");
    let db = rusqlite::Connection::open(folder.path().join("chat.db")).expect("a database");
    let row =
        "INSERT INTO files (id, room, name) SELECT 1, room, 'lost.log' FROM events WHERE id = 1";
    assert_eq!(db.execute(row, []).expect("a row"), 1);
    let answer = peer.download(1).expect("an answer in time");
    assert!(answer.is_err_and(|e| e.starts_with("ERR DOWNLOAD no-such-file ")));
    assert_eq!(peer.ask("PING x").expect("a reply"), "OK PING x");
}
