//! Each section of `protocol.md`, and of the documents beside it, has a test: a transcript of its own, a vector, or a
//! module of tests that names the section in its first line.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::document::{self, Document, root};

/// The sections that only explain something.
const EXPLAIN: &[(&str, &str)] = &[
    ("protocol.md", "1.2"),
    ("protocol.md", "1.3"),
    ("protocol.md", "1.4"),
    ("protocol.md", "12"),
    ("protocol.md", "14"),
];

/// The test programs whose modules name sections; tests of the repository itself need not name any.
const PROGRAMS: &[&str] = &[
    "rooms", "history", "files", "doors", "faults", "cli", "cluster",
];

/// A section: the name of its document and its number.
type Named = (String, String);

/// Returns the sections that the first line of a module names: `//! protocol.md 4.2, 4.3, http.md 1: …`.
fn named(text: &str) -> Vec<Named> {
    let first = text.lines().next().unwrap_or_default();
    let list = first.strip_prefix("//! ").unwrap_or_default();
    let Some((list, _)) = list
        .split_once(": ")
        .filter(|(list, _)| list.contains(".md "))
    else {
        return Vec::new();
    };
    let mut document = "";
    let mut sections = Vec::new();
    for section in list.split(", ") {
        let (other, number) = section.split_once(' ').unwrap_or((document, section));
        document = other;
        sections.push((document.to_owned(), number.to_owned()));
    }
    sections
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
fn each_section_has_a_test() {
    let protocol = document::protocol_md().unwrap_or_else(|why| panic!("{why}"));
    let mut transcripts = document::vectors(&protocol).unwrap_or_else(|why| panic!("{why}"));
    let others = document::OTHERS.map(document::other).into_iter();
    let others = others.map(|document| document.unwrap_or_else(|why| panic!("{why}")));
    let documents: Vec<Document> = std::iter::once(protocol).chain(others).collect();
    let find = |(file, number): &Named| {
        let document = documents.iter().find(|document| document.file == *file)?;
        document.section(number)
    };
    for document in &documents {
        transcripts.extend(document.transcripts.iter().cloned());
    }
    let mut proved = BTreeSet::new();
    for transcript in &transcripts {
        let (section, _) = transcript.id.split_once('/').expect("its section");
        let (file, number) = section.split_once(' ').unwrap_or(("protocol.md", section));
        proved.insert((file.to_owned(), number.to_owned()));
    }
    let tests = root().join("tests");
    for program in PROGRAMS {
        each_file(&tests.join(program), &mut |path, text| {
            if !text.contains("#[test]") {
                return;
            }
            let sections = named(text);
            assert!(!sections.is_empty(), "{} names none", path.display());
            for section in &sections {
                let is_there = find(section).is_some();
                assert!(is_there, "{}: no section {section:?}", path.display());
            }
            proved.extend(sections);
        });
    }
    each_file(&tests.join("project"), &mut |_, text| {
        proved.extend(named(text));
    });
    for document in &documents {
        let file = document.file.as_str();
        for section in &document.sections {
            let has_text = section.text != section.title;
            let number = section.number.as_str();
            let is_proved = proved.contains(&(file.to_owned(), number.to_owned()))
                || EXPLAIN.contains(&(file, number));
            assert!(
                is_proved || !has_text,
                "nothing proves {file}, section {number} {}",
                section.title
            );
        }
    }
}
