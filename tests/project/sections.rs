//! Each section of `protocol.md` has something that proves it: a transcript of its own, a vector, or a module of tests
//! that names the section in its first line.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::document::{self, root};

/// Sections that only explain.
const EXPLAIN: &[&str] = &["1.2", "1.3", "1.4", "12", "14"];

/// The test programs whose modules name sections; what is about the repository itself may name none.
const PROGRAMS: &[&str] = &["rooms", "history", "files", "doors", "faults", "cli"];

/// Returns the sections that the first line of a module names: `//! protocol.md 4.2, 4.3: …`.
fn named(text: &str) -> Vec<String> {
    let first = text.lines().next().unwrap_or_default();
    let list = first.strip_prefix("//! protocol.md ");
    let list = list.and_then(|rest| Some(rest.split_once(": ")?.0));
    list.map(|list| list.split(", ").map(str::to_owned).collect())
        .unwrap_or_default()
}

/// Calls `check` with the path and the text of each Rust file below `folder`.
fn each_file(folder: &Path, check: &mut impl FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_file(&path, check);
        } else if path.extension().is_some_and(|end| end == "rs") {
            check(&path, &std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn each_section_has_something_that_proves_it() {
    let document = document::protocol_md().unwrap_or_else(|why| panic!("{why}"));
    let vectors = document::vectors(&document).unwrap_or_else(|why| panic!("{why}"));
    let transcripts = document.transcripts.iter().chain(&vectors);
    let mut proved: BTreeSet<String> = transcripts
        .filter_map(|transcript| Some(transcript.id.split_once('/')?.0.to_owned()))
        .collect();
    let tests = root().join("tests");
    for program in PROGRAMS {
        each_file(&tests.join(program), &mut |path, text| {
            if !text.contains("#[test]") {
                return;
            }
            let sections = named(text);
            assert!(!sections.is_empty(), "{} names none", path.display());
            for number in &sections {
                let is_there = document.section(number).is_some();
                assert!(is_there, "{}: no section {number}", path.display());
            }
            proved.extend(sections);
        });
    }
    each_file(&tests.join("project"), &mut |_, text| {
        proved.extend(named(text));
    });
    for section in &document.sections {
        let has_text = section.text != section.title;
        let is_proved =
            proved.contains(&section.number) || EXPLAIN.contains(&section.number.as_str());
        assert!(
            is_proved || !has_text,
            "nothing proves section {} {}",
            section.number,
            section.title
        );
    }
}
