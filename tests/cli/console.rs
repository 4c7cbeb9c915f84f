//! protocol.md 1.1, 10.2, http.md 1, 2, 3, 4, 5, hooks.md 2, 3, 4: the examples of the documents with a new server.
//!
//! The console blocks, typed into a shell in an empty folder, must print what the document shows, and the client of
//! section 1.1 must work unchanged.

use std::process::Command;

use crate::support::document;
use crate::support::server::Chatd;
use crate::support::spawn::Program;
use crate::support::transcript::{Captured, Pattern};

/// The address of the server in the document. The address of the block's own server replaces it.
const DOCUMENTED: &str = "localhost:5002";

/// A command and its expected output.
struct Typed<'a> {
    line: usize,
    command: &'a str,
    output: Vec<&'a str>,
}

fn read<'a>(file: &str, first: usize, block: &'a str) -> Vec<Typed<'a>> {
    let mut all: Vec<Typed<'a>> = Vec::new();
    for (n, text) in block.lines().enumerate() {
        match (text.strip_prefix("$ "), all.last_mut()) {
            (Some(command), _) => all.push(Typed {
                line: first + n,
                command,
                output: Vec::new(),
            }),
            (None, Some(last)) => last.output.push(text),
            (None, None) => panic!("{file}:{first}: a console block begins with a command"),
        }
    }
    all
}

/// Types one command; returns an error if the output differs.
fn type_in(
    typed: &Typed<'_>,
    server: &Chatd,
    folder: &std::path::Path,
    captured: &mut Captured,
) -> Result<(), String> {
    let command = Pattern::parse(typed.command).fill(captured)?;
    let there = server.address.to_string();
    let output = Command::new("bash")
        .args(["-c", &command.replace(DOCUMENTED, &there)])
        .current_dir(folder)
        // The settings of the user who runs this must not matter; nor must curl's progress meter, as on a
        // terminal.
        .env("CURL_HOME", folder.parent().unwrap_or(folder))
        .output()
        .map_err(|e| format!("no bash: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).replace(&there, DOCUMENTED);
    let lines: Vec<&str> = text.lines().collect();
    let fits = lines.len() == typed.output.len()
        && lines
            .iter()
            .zip(&typed.output)
            .all(|(line, pattern)| Pattern::parse(pattern).matches(line, captured));
    if fits {
        Ok(())
    } else {
        Err(format!(
            "wanted\n  {}\ngot\n  {}\nand {}",
            typed.output.join("\n  "),
            lines.join("\n  "),
            String::from_utf8_lossy(&output.stderr),
        ))
    }
}

#[test]
fn every_console_block_does_what_it_shows() {
    let documents = ["http.md", "hooks.md"].map(document::other);
    let documents = documents.map(|found| found.unwrap_or_else(|why| panic!("{why}")));
    let protocol = document::protocol_md().unwrap_or_else(|why| panic!("{why}"));
    assert!(protocol.consoles.is_empty(), "play them too");
    let consoles = documents.iter().flat_map(|document| {
        let file = document.file.as_str();
        let blocks = document.consoles.iter();
        blocks.map(move |(first, block)| (file, first, block))
    });
    assert!(consoles.clone().count() >= 7);
    for (file, first, block) in consoles {
        let server = Chatd::start();
        let outer = tempfile::tempdir().unwrap();
        std::fs::write(outer.path().join(".curlrc"), "silent\nmax-time = 20\n").unwrap();
        let folder = outer.path().join("empty");
        std::fs::create_dir(&folder).unwrap();
        let mut captured = Captured::new();
        for typed in read(file, *first, block) {
            let result = type_in(&typed, &server, &folder, &mut captured);
            result
                .unwrap_or_else(|why| panic!("{file}:{}: $ {}\n{why}", typed.line, typed.command));
        }
    }
}

#[test]
fn the_client_in_30_lines_sends_and_shows_messages() {
    let source = document::first_client().unwrap();
    assert!(
        source.lines().count() <= 30,
        "the client has {} lines",
        source.lines().count()
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.py");
    std::fs::write(&path, source).unwrap();
    let chatd = Chatd::with(&["--announce-after", "1h"]);
    let mut alice = chatd.peer();
    alice.ask("JOIN ops", "OK JOIN #ops 0");
    alice.ask("NICK alice", "OK NICK alice #ops 0");
    let command = format!("/usr/bin/python3 {} $HOST $PORT bob ops", path.display());
    let mut client = Program::start(&command, chatd.address);
    client.send("hello, all\n");
    alice.expect("MSG #ops bob hello, all");
    alice.ask("ME waves", "OK ME <id> <time>");
    client.expect("#ops * alice waves");
    client.send("/not a command\n");
    alice.expect("MSG #ops bob /not a command");
    client.end_input();
    assert_eq!(client.finish().code, Some(0));
}
