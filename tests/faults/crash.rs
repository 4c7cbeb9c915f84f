//! protocol.md 2, 3.9: nothing that was acknowledged is lost, whenever the server dies.
//!
//! `chatd` is killed with SIGKILL at random moments while clients send messages and files, started again on the same
//! folder, and must still have everything that it acknowledged.
//!
//! `CRASH_ROUNDS=100 cargo test --release --test faults crash -- --nocapture` runs 100 rounds; `CRASH_SEED` repeats
//! the moments of an earlier run, as far as possible.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::support::load::{Heard, PARTS, ROOMS};
use crate::support::peer::Peer;
use crate::support::promises::Promises;
use crate::support::random::Random;
use crate::support::server::Chatd;

/// Number of rounds after which everything is checked, not only what is new.
const EVERYTHING_EVERY: usize = 10;

/// The maximum time of a round, for a machine that is too slow for the planned load.
const ROUND_MAX: Duration = Duration::from_secs(60);

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => default,
    }
}

fn start(data: &Path) -> Chatd {
    let flags = ["--data".into(), data.display().to_string()];
    Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags).expect("it starts")
}

#[test]
fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let rounds = number("CRASH_ROUNDS", 30) as usize;
    let seed = number("CRASH_SEED", u64::from(std::process::id()));
    println!("{rounds} rounds, CRASH_SEED={seed}");
    let began = Instant::now();
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut random = Random::new(seed);
    let mut promises = Promises::default();
    let mut left_over = 0;
    for round in 0..rounds {
        let everything = round % EVERYTHING_EVERY == 0;
        let mut chatd = start(&data);
        check(&chatd, &data, &mut promises, everything, round);
        // Sometimes the server dies in its first moments, mostly under full load.
        let messages = random.below(3000) as usize;
        let files = random.below(32) as usize;
        let moment = Duration::from_micros(random.below(3000));
        load(&mut chatd, round, &mut promises, messages, files, moment);
        left_over += count(&data.join("incoming"));
    }
    let chatd = start(&data);
    check(&chatd, &data, &mut promises, true, rounds);
    drop(chatd);
    let strays = check_folder(&data);
    println!(
        "{rounds} rounds in {:?}: {} messages and {} files acknowledged, {} files removed; {} live files cut off \
         and removed, {left_over} half files swept up; {strays} strays for chatd check --repair",
        began.elapsed(),
        promises.messages,
        promises.stored,
        promises.removed,
        promises.cut_off,
    );
    assert!(promises.messages > 100 * rounds, "the load was a load");
    assert!(promises.stored > rounds, "files too");
    assert!(promises.cut_off > 0, "a live file was cut off");
    if rounds >= 100 {
        assert!(promises.messages >= 100_000 && promises.stored >= 1000);
    }
}

/// Puts the server under load. Kills it a moment after enough has been acknowledged.
fn load(
    chatd: &mut Chatd,
    round: usize,
    promises: &mut Promises,
    messages: usize,
    files: usize,
    moment: Duration,
) {
    let (tell, reports) = channel();
    let address = chatd.address;
    let parts: Vec<_> = PARTS
        .into_iter()
        .enumerate()
        .map(|(number, part)| {
            let tell = tell.clone();
            std::thread::spawn(move || part.play(number, round, address, &tell))
        })
        .collect();
    drop(tell);
    let last_id = promises.last_id();
    let (messages, files) = (promises.messages + messages, promises.stored + files);
    let end = Instant::now() + ROUND_MAX;
    while promises.messages < messages || promises.stored < files {
        match reports.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(heard) => hear(promises, heard, last_id),
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => panic!("everybody has gone"),
        }
    }
    wait_for(&reports, promises, last_id, moment);
    chatd.signal(rustix::process::Signal::KILL);
    // Acknowledgements that were sent before the kill are still arriving.
    for heard in reports {
        hear(promises, heard, last_id);
    }
    for part in parts {
        part.join().expect("no part panics");
    }
}

/// Records what arrives during the given moment.
fn wait_for(reports: &Receiver<Heard>, promises: &mut Promises, last_id: u64, moment: Duration) {
    let end = Instant::now() + moment;
    while let Ok(heard) = reports.recv_timeout(end.saturating_duration_since(Instant::now())) {
        hear(promises, heard, last_id);
    }
}

fn hear(promises: &mut Promises, heard: Heard, last_id: u64) {
    if let Heard::Said { id, .. } | Heard::Seen { id, .. } = &heard {
        assert!(*id > last_id, "id {id} after {last_id} of an earlier life");
    }
    promises.hear(heard).expect("what it should say");
}

/// Reads everything, or only what is new, from a server that has just started.
fn check(chatd: &Chatd, data: &Path, promises: &mut Promises, everything: bool, round: usize) {
    assert_eq!(count(&data.join("incoming")), 0, "half files go at start");
    let checked = Peer::named(chatd.address, "checker").and_then(|mut peer| {
        for room in ROOMS {
            // In the log this message follows the removals that the start has made.
            peer.expect(&format!("TELL {room} round {round}"), "OK TELL")?;
        }
        promises.check(&mut peer, everything)
    });
    if let Err(e) = checked {
        panic!("after {round} rounds: {e}");
    }
}

/// Checks that `chatd check` finds nothing worse than bytes whose row was not stored; returns how many.
fn check_folder(data: &Path) -> usize {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
    let output = command.args(["check", "--data"]).arg(data).output();
    let output = String::from_utf8(output.expect("chatd check").stdout).expect("text");
    let faults: Vec<&str> = output.lines().collect();
    let (last, faults) = faults.split_last().expect("a last line");
    let strays = faults
        .iter()
        .filter(|line| line.ends_with("belongs to no file"));
    let strays = strays.count();
    assert_eq!(strays, faults.len(), "{output}");
    assert!(last.contains(": no faults") || strays > 0, "{output}");
    strays
}

fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

/// Regression test. The author of a `TELL` to a room need not be a member. Such an author once received the reply
/// only when something else woke the connection.
#[test]
fn a_tell_to_a_room_from_outside_is_answered_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let chatd = start(folder.path());
    let mut peer = Peer::named(chatd.address, "teller").expect("a nick");
    for n in 0..100 {
        let reply = peer.expect(&format!("TELL #elsewhere {n}"), "OK TELL");
        reply.unwrap_or_else(|e| panic!("message {n}: {e}"));
    }
}
