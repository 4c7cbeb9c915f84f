//! Tests the parser and the player of transcripts with servers that answer from a list, sometimes wrongly. Otherwise,
//! a suite that accepts everything would pass.

use std::collections::VecDeque;
use std::time::Duration;

use crate::support::document::Document;
use crate::support::run::{Cut, Server, Taken, play};
use crate::support::transcript::{Action, Captured, Transcript};

/// A server that answers every line with the next of its answers.
#[derive(Default)]
struct Answers {
    answers: VecDeque<&'static str>,
    lines: Vec<Vec<u8>>,
    out: Vec<u8>,
    writes: usize,
    ended: bool,
}

fn answering(answers: &[&'static str]) -> Answers {
    Answers {
        answers: answers.iter().copied().collect(),
        lines: vec![Vec::new()],
        ..Answers::default()
    }
}

impl Server for Answers {
    fn open(&mut self) -> Result<usize, String> {
        Ok(0)
    }

    fn push(&mut self, _: usize, bytes: &[u8]) -> Result<(), String> {
        self.writes += 1;
        for byte in bytes {
            if *byte != b'\n' {
                self.lines.last_mut().unwrap().push(*byte);
                continue;
            }
            match self.lines.last().map(Vec::as_slice) {
                Some(b"PING nothing") => self.out.extend(b"OK PING nothing\n"),
                _ => self
                    .out
                    .extend(self.answers.pop_front().unwrap_or_default().bytes()),
            }
            self.lines.push(Vec::new());
        }
        Ok(())
    }

    fn half_close(&mut self, _: usize) -> Result<(), String> {
        self.ended = true;
        Ok(())
    }

    fn abandon(&mut self, _: usize) {}

    fn take(&mut self, _: usize, _: Duration) -> Taken {
        match (self.out.is_empty(), self.ended) {
            (false, _) => Taken::Bytes(std::mem::take(&mut self.out)),
            (true, true) => Taken::Closed,
            (true, false) => Taken::Nothing,
        }
    }
}

fn transcript(text: &str) -> Transcript {
    Transcript::parse("4.2/1", "some.md", 10, text).unwrap()
}

/// Plays `text` against a server that gives `answers`.
fn check(text: &str, answers: &[&'static str], expected: Result<(), &str>) {
    for cut in Cut::ALL {
        let result = play(&transcript(text), cut, &mut answering(answers));
        match (&result, expected) {
            (Ok(()), Ok(())) => {}
            (Err(why), Err(part)) if why.contains(part) => {}
            _ => panic!("{cut}: {result:?}, not {expected:?}"),
        }
    }
}

#[test]
fn output_that_fits_passes() {
    let text = "a> NICK a\na< OK NICK a #lobby <id:x>\na> JOIN #b <id:x>\na< OK JOIN #b <id:x>";
    check(text, &["OK NICK a #lobby 7\n", "OK JOIN #b 7\n"], Ok(()));
    check(
        "a> PING\na< OK PING\na. eof\na! closed",
        &["OK PING\n"],
        Ok(()),
    );
    check("a> X\na< bytes \"abc\"\na< OK X", &["abcOK X\n"], Ok(()));
    check("# a comment\na> X\na< nothing", &[""], Ok(()));
    check("a> X\na< <text>", &["anything at all\n"], Ok(()));
}

#[test]
fn output_that_does_not_match_fails() {
    check(
        "a> X\na< OK X",
        &["ERR - unknown-verb no\n"],
        Err("a< ERR - unknown-verb no"),
    );
    check("a> X\na< OK X", &["OK X and more\n"], Err("OK X and more"));
    check("a> X\na< OK X", &["OK\n"], Err("expected"));
    check("a> X\na< OK X", &[""], Err("received nothing"));
    check("a> X\na< OK X", &["OK X"], Err("after half a line: OK X"));
    check("a> X\na< <id:x> <id:x>", &["1 2\n"], Err("1 2"));
    check(
        "a> X\na< OK <time>",
        &["OK 2026-11-22\n"],
        Err("2026-11-22"),
    );
    check("a> X\na< OK <sha256>", &["OK abc\n"], Err("OK abc"));
    check("a> X\na< OK <text>", &["OK \n"], Err("OK "));
    check("a> X\na< bytes \"abc\"", &["abd"], Err("other bytes"));
    check("a> X\na< nothing", &["MSG #a b c\n"], Err("MSG #a b c"));
    check("a> X", &["MSG #a b c\n"], Err("at the end"));
    check("a> X\na! closed", &["OK X\n"], Err("received OK X"));
    check("a> X\na! closed", &[""], Err("still connected"));
    check(
        "a> X\na< OK X\na. eof\na! closed",
        &["OK X\nMORE\n"],
        Err("received MORE"),
    );
    check(
        "a> X\na< <text>",
        &["an \x1b[31m escape\n"],
        Err("not safe"),
    );
}

#[test]
fn a_failure_shows_the_place_what_was_expected_and_both_sides() {
    let text = "a> NICK a\na< OK NICK a #lobby <id>\na> MSG hi\na< OK MSG <id> <time>";
    let mut server = answering(&["OK NICK a #lobby 0\n", "ERR MSG busy later\nGAP #lobby\n"]);
    let why = play(&transcript(text), Cut::Lines, &mut server).unwrap_err();
    assert_eq!(
        why,
        "some.md:13: 4.2/1, line by line:
  expected
    a< OK MSG <id> <time>
  but a received
    a< ERR MSG busy later
  the conversation:
    a> NICK a
    a< OK NICK a #lobby 0
    a> MSG hi
    a< ERR MSG busy later
    a has not read: GAP #lobby\\n
"
    );
}

#[test]
fn each_way_of_splitting_makes_different_writes() {
    let text = "a> PING 1\na< OK PING 1\na> PING 2\na> bytes \"PING 3\\n\"\na< OK PING 2\na< OK PING 3\na. eof\na! closed";
    for (cut, writes) in [(Cut::Lines, 3), (Cut::Bytes, 21), (Cut::Together, 1)] {
        let mut server = answering(&["OK PING 1\n", "OK PING 2\n", "OK PING 3\n"]);
        play(&transcript(text), cut, &mut server).unwrap();
        assert_eq!(server.writes, writes, "{cut}");
        assert_eq!(server.lines[..3], [b"PING 1", b"PING 2", b"PING 3"]);
    }
}

#[test]
fn bytes_are_written_with_escapes_and_repeats() {
    let read = transcript(r#"a> bytes "MSG \x1b\\\"\t" "é"*3 "\r\n""#);
    let bytes = "MSG \x1b\\\"\tééé\r\n";
    assert_eq!(
        read.steps[0].action,
        Action::SendBytes(bytes.as_bytes().to_vec())
    );
}

#[test]
fn a_line_that_cannot_be_parsed_is_named() {
    for bad in [
        "hello",
        "a? x",
        "a>x",
        "a. now",
        "a! open",
        "a> bytes \"x",
        "a> bytes \"\\q\"",
        "with x",
    ] {
        let why = Transcript::parse("1/1", "x.md", 3, &format!("\n{bad}")).unwrap_err();
        assert!(why.starts_with("x.md:4: "), "{why}");
    }
    let unknown = Document::parse("x.md", "## 1 A\n```chta\na> X\n```\n");
    assert!(unknown.err().unwrap().contains("x.md:2: no such label"));
    let open = Document::parse("x.md", "## 1 A\n```chat\na> X\n");
    assert!(open.err().unwrap().contains("never ends"));
}

#[test]
fn a_document_gives_its_transcripts_their_sections() {
    let text = "## 4 C\n### 4.2 NICK\nsays\n this\n```chat\na> X\n```\n```sh\nls\n```\n```chat\na> Y\n```\n";
    let document = Document::parse("x.md", text).unwrap();
    let found: Vec<_> = document
        .transcripts
        .iter()
        .map(|t| (t.id.as_str(), t.line))
        .collect();
    assert_eq!(found, [("4.2/1", 6), ("4.2/2", 12)]);
    assert_eq!(document.section("4.2").unwrap().text, "NICK says this");
}

#[test]
fn names_are_replaced_for_a_server_that_has_seen_them() {
    let text = "alice> NICK Rob\nalice> JOIN #ops\nalice< MSG #ops rob for alice: robust\nalice> WHO ops\nalice> JOIN #lobby";
    let renamed = transcript(text).renamed("-17");
    let lines: Vec<String> = renamed.steps.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "alice> NICK Rob-17",
            "alice> JOIN #ops-17",
            "alice< MSG #ops-17 rob-17 for alice-17: robust",
            "alice> WHO ops-17",
            "alice> JOIN #lobby",
        ]
    );
}

#[test]
fn a_placeholder_that_is_sent_must_be_known() {
    let read = transcript("a> DOWNLOAD <id:f>");
    let Action::Send(pattern) = &read.steps[0].action else {
        panic!("a line is sent");
    };
    assert!(pattern.fill(&Captured::new()).is_err());
    let known = Captured::from([("f".to_owned(), "9".to_owned())]);
    assert_eq!(pattern.fill(&known).unwrap(), "DOWNLOAD 9");
}
