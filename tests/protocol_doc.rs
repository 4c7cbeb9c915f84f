//! Every transcript of `protocol.md`, and every vector, against the core of the server in memory: no
//! socket, no clock, no process. `conformance` plays the same over TCP.

mod support;

use support::document;
use support::memory::Memory;
use support::run::{Cut, play};
use support::transcript::Transcript;

fn all() -> Vec<Transcript> {
    let document = document::protocol_md().unwrap_or_else(|why| panic!("{why}"));
    let mut all = document::vectors(&document).unwrap_or_else(|why| panic!("{why}"));
    all.extend(document.transcripts);
    assert!(all.len() > 100, "only {} transcripts were found", all.len());
    all
}

/// Plays everything in every cut, with a network that takes so many bytes at once at first, and a log that
/// is so late.
fn check(takes: usize, late: usize) {
    let mut failures = Vec::new();
    for transcript in all() {
        for cut in Cut::ALL {
            let server = Memory::new(&transcript.settings, takes, late);
            failures.extend(
                server
                    .and_then(|mut server| play(&transcript, cut, &mut server))
                    .err(),
            );
        }
    }
    let failures: Vec<String> = failures
        .iter()
        .map(|why| format!("{}\n{why}", "-".repeat(72)))
        .collect();
    assert!(
        failures.is_empty(),
        "{} plays failed\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn every_transcript_holds_for_the_core() {
    check(usize::MAX, 0);
}

#[test]
fn every_transcript_holds_when_the_network_takes_a_few_bytes_at_once() {
    check(7, 0);
}

#[test]
fn every_transcript_holds_when_the_log_keeps_late_as_on_disk() {
    check(usize::MAX, 3);
    check(7, 2);
}
