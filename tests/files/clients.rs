//! protocol.md 4.11, 4.12, 6, 10.1, shell.md 1: real clients upload and download files.
//!
//! A file that is uploaded with one client is downloaded with any other, to the last byte, and a file that a client
//! alters on the way is rejected.

use std::fmt::Display;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::support::clients::{HALF_CLOSING, every_client};
use crate::support::inbox::fits;
use crate::support::server::Chatd;
use crate::support::spawn::Peer;

/// Returns 1 MiB in which every byte value occurs next to every other, and its digest.
fn every_byte() -> (Vec<u8>, String) {
    let pairs = (0..=u8::MAX).flat_map(|a| (0..=u8::MAX).flat_map(move |b| [a, b]));
    let bytes: Vec<u8> = pairs.cycle().take(1 << 20).collect();
    let digest = hex(&bytes);
    (bytes, digest)
}

fn hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn on_disk(bytes: &[u8]) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a writable /tmp");
    std::fs::write(file.path(), bytes).expect("a writable /tmp");
    file
}

/// Returns the id of the next file that is announced to `peer`; a length of `*` is that of a live file.
fn announced(peer: &mut Peer, nick: &str, length: impl Display, name: &str) -> String {
    let line = peer.inbox.find(|line| line.starts_with("FILE "));
    let wanted = format!("FILE #lobby {nick} <id> {length} {name}");
    assert!(fits(&wanted, &line), "wanted {wanted:?}, got {line:?}");
    line.split(' ').nth(3).expect("it fits").to_owned()
}

#[test]
fn every_client_uploads_and_downloads_every_byte() {
    let chatd = Chatd::start();
    let mut alice = chatd.member("alice");
    let (bytes, digest) = every_byte();
    let length = bytes.len();
    let file = on_disk(&bytes);
    // Not curl: it speaks telnet, doubles each 0xff that it sends, and drops what it takes for options.
    for (nick, client) in every_client().filter(|(_, client)| !client.starts_with("curl")) {
        let path = file.path().display();
        let ended = chatd
            .client(&format!(
                "{{ printf 'NICK {nick}\\nUPLOAD every byte.bin {length}\\n'; cat {path}; printf 'BYE\\n'; }} | {client}"
            ))
            .finish();
        ended.expect(&[
            &format!("OK NICK {nick} #lobby <id>"),
            &format!("OK UPLOAD <id> {length} {digest}"),
            "OK BYE",
        ]);
        let number = announced(&mut alice, &nick, length, "every byte.bin");

        let ended = chatd
            .client(&format!("printf 'DOWNLOAD {number}\\nBYE\\n' | {client}"))
            .finish();
        let head = format!("DATA {number} {length} {digest} every byte.bin\n");
        let tail = format!("OK DOWNLOAD {number}\nOK BYE\n");
        let wanted = [head.as_bytes(), &bytes, tail.as_bytes()].concat();
        assert!(
            ended.output == wanted,
            "{client}: {} bytes came, not the {} wanted; they begin {:?}",
            ended.output.len(),
            wanted.len(),
            String::from_utf8_lossy(&ended.output[..ended.output.len().min(200)])
        );
    }
}

#[test]
fn an_upload_of_unknown_length_works_from_every_client_that_half_closes() {
    let chatd = Chatd::start();
    let mut alice = chatd.member("alice");
    let (bytes, digest) = every_byte();
    let length = bytes.len();
    let file = on_disk(&bytes);
    for (n, client) in HALF_CLOSING.iter().enumerate() {
        let path = file.path().display();
        let ended = chatd
            .client(&format!(
                "{{ printf 'NICK p{n}\\nUPLOAD pipe *\\n'; cat {path}; }} | {client}"
            ))
            .finish();
        ended.expect(&[
            &format!("OK NICK p{n} #lobby <id>"),
            &format!("OK UPLOAD <id> {length} {digest}"),
        ]);
        let number = announced(&mut alice, &format!("p{n}"), "*", "pipe");
        let stored = alice.inbox.find(|line| line.starts_with("STORED "));
        assert_eq!(
            stored,
            format!("STORED #lobby p{n} {number} {length} {digest}")
        );
    }
}

#[test]
fn an_upload_aborted_by_its_client_is_incomplete_and_not_stored() {
    let chatd = Chatd::start();
    for (n, client) in HALF_CLOSING.iter().enumerate() {
        let ended = chatd
            .client(&format!(
                "printf 'NICK q{n}\\nUPLOAD half 10\\nhalf' | {client}"
            ))
            .finish();
        ended.expect(&[
            &format!("OK NICK q{n} #lobby <id>"),
            "ERR UPLOAD incomplete …",
        ]);
    }
    let mut alice = chatd.member("alice");
    alice.ask("FILES", "OK FILES 0");
}

#[test]
fn a_client_that_turns_lf_into_cr_lf_cannot_upload() {
    let chatd = Chatd::start();
    let body = b"a\nb\nc\n";
    let digest = hex(body);
    for (n, client) in ["nc.openbsd -C", "ncat -C"].iter().enumerate() {
        for (given, code) in [("", "need-digest"), (&digest[..], "corrupt")] {
            let script = format!(
                "printf 'NICK k{n}\\nUPLOAD abc 6 {given}\\na\\nb\\nc\\nMSG never said\\n' | {client} $HOST $PORT"
            );
            chatd.client(&script).finish().expect(&[
                &format!("OK NICK k{n} #lobby <id>"),
                &format!("ERR UPLOAD {code} …"),
            ]);
        }
    }
    let mut alice = chatd.member("alice");
    alice.ask("FILES", "OK FILES 0");
}

#[test]
fn a_file_that_curl_alters_is_refused() {
    let chatd = Chatd::start();
    let body = b"\xffab";
    let digest = hex(body);
    let script = format!(
        "printf 'NICK curl\\nUPLOAD abc 3 {digest}\\n\\xffab\\nBYE\\n' | curl -sN telnet://$HOST:$PORT"
    );
    chatd
        .client(&script)
        .finish()
        .expect(&["OK NICK curl #lobby <id>", "ERR UPLOAD corrupt …"]);
}

#[test]
fn an_interrupted_download_can_be_resumed() {
    let chatd = Chatd::start();
    let mut alice = chatd.member("alice");
    alice.send("UPLOAD digits 10\n0123456789");
    let reply = alice.expect("OK UPLOAD <id> 10 <sha256>");
    let words: Vec<&str> = reply.split(' ').collect();
    let (number, digest) = (words[2], words[4]);
    for (offset, rest) in [(0, "0123456789"), (7, "789"), (10, "")] {
        let script = format!("printf 'DOWNLOAD {number} {offset}\\nBYE\\n' | nc $HOST $PORT");
        let ended = chatd.client(&script).finish();
        let length = rest.len();
        let wanted =
            format!("DATA {number} {length} {digest} digits\n{rest}OK DOWNLOAD {number}\nOK BYE\n");
        assert_eq!(String::from_utf8_lossy(&ended.output), wanted);
    }
}
