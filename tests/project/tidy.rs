//! protocol.md 3.7, 9, chatd.md 1: the document and the code agree; and rules for the code.
//!
//! Pure modules stay pure, and no test sleeps or depends on timing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::document::{self, Document, root};
use crate::support::transcript::{Action, Transcript};
use plainchat::config::Limits;
use plainchat::protocol::multiline::{TEXT_BYTES_MAX, TEXT_LINE_BYTES_MAX, TEXT_LINES_MAX};
use plainchat::protocol::{Code, Verb};
use plainchat::web::{ASSETS, MODULES};

/// The words in a test's Rust, shell commands or JavaScript that sleep or depend on timing.
const TIMED: &[&str] = &[
    "sleep(",
    "sleep ",
    "park_timeout(",
    "Timer::after(",
    "elapsed()",
    "usleep",
    "setTimeout(",
    "setInterval(",
    "waitForTimeout(",
    // A deadline has a name, and is the same for all.
    "recv_timeout(Duration",
    "wait_timeout(Duration",
    "wait_timeout_while(",
    "read_timeout(Some(Duration",
];

/// The places where a word of [`TIMED`] is allowed, each with the reason.
const MAY_WAIT: &[(&str, &str, &str)] = &[
    (
        "tests/cluster/nats.rs",
        "Timer::after(",
        "a message is published again until it has been read",
    ),
    (
        "tests/cluster/servers.rs",
        "Timer::after(",
        "a deadline on every wait, and between two attempts at something that a server is not ready for",
    ),
    (
        "tests/doors/client.rs",
        "Timer::after(",
        "a deadline on every wait",
    ),
    (
        "tests/doors/stay.rs",
        "Timer::after(",
        "a deadline on every wait",
    ),
    (
        "tests/history/replay.rs",
        "wait_timeout_while(",
        "a deadline on a wait",
    ),
    (
        "tests/support/server.rs",
        "sleep(",
        "polls a child for its end, since the standard library cannot wait with a deadline",
    ),
    (
        "tests/irc/bridge/bridge.js",
        "setTimeout(",
        "people pause between two messages, and a library connects again only after a while",
    ),
    (
        "tests/cli/screen.rs",
        "elapsed()",
        "only while a golden file is made",
    ),
    (
        "tests/faults/crash.rs",
        "elapsed()",
        "is printed, not judged",
    ),
    (
        "tests/browser/support.js",
        "setTimeout(",
        "deadlines, late frames, and between two looks",
    ),
    (
        "tests/browser/support/proxy.js",
        "setTimeout(",
        "is the length of the way that it stands for",
    ),
];

/// The files that must not depend on the outside world.
const PURE: &[&str] = &[
    "src/protocol",
    "src/model/access.rs",
    "src/model/arena.rs",
    "src/model/directory.rs",
    "src/model/entry.rs",
    "src/model/time.rs",
    "src/chat",
    "src/cluster/members.rs",
    "src/cluster/mod.rs",
    "src/cluster/nats/address.rs",
    "src/cluster/nats/codec.rs",
    "src/cluster/nats/headers.rs",
    "src/cluster/node.rs",
    "src/cluster/publisher.rs",
    "src/cluster/wire.rs",
    "src/dialect",
    "src/session",
    "src/tail.rs",
];

/// Names of sockets, files, clocks, random sources and executors.
const IMPURE: &[&str] = &[
    "async ",
    ".await",
    "smol",
    "async_",
    "futures",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::fs",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "tempfile",
    "Instant",
    "SystemTime",
    "::now()",
    "rand::",
    "fastrand",
    "getrandom",
    "rustix",
    "tracing",
    "println!",
];

/// The words that the page must not use, because they turn text into markup or violate the page's policy.
const MARKUP: &[&str] = &[
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "DOMParser",
    "createContextualFragment",
    "srcdoc",
    "eval(",
    "Function(",
    "cssText",
    "setAttribute('style'",
];

/// The maximum number of lines that an implementer can be expected to read.
const PROTOCOL_LINES_MAX: usize = 2200;

/// The maximum size of all files of the page together in bytes, before they are compressed for sending.
const PAGE_BYTES_MAX: usize = 230_000;

fn protocol_md() -> Document {
    document::protocol_md().unwrap_or_else(|why| panic!("{why}"))
}

fn all_transcripts() -> Vec<Transcript> {
    document::transcripts().unwrap_or_else(|why| panic!("{why}"))
}

/// Returns the lines of section `number` of a document.
fn lines_of(file: &str, number: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let is_heading = |line: &str| line.starts_with("##");
    let heading = format!(" {number} ");
    let lines = text
        .lines()
        .skip_while(|line| !(is_heading(line) && line.contains(&heading)));
    lines
        .skip(1)
        .take_while(|line| !is_heading(line))
        .map(str::to_owned)
        .collect()
}

/// Returns the rows of the table in section `number` of a document, without its head.
fn table(file: &str, number: &str) -> Vec<Vec<String>> {
    let lines = lines_of(file, number);
    let rows = lines
        .iter()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    let cells = |row: &str| row.split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.skip(1).map(cells).collect()
}

/// Returns every `.rs` file under `path`, or `path` itself if it is one.
fn sources(path: &Path) -> Vec<PathBuf> {
    let is_source = |path: &PathBuf| path.extension().is_some_and(|ext| ext == "rs");
    files(path).into_iter().filter(is_source).collect()
}

/// Returns every file under `path`, or `path` itself if it is a file. Skips `target` and `node_modules`.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())) {
        let path = entry.unwrap().path();
        if !path.ends_with("target") && !path.ends_with("node_modules") {
            found.extend(files(&path));
        }
    }
    found.sort();
    found
}

/// Returns the lines of code in `path` that have one of `words` outside of comments.
fn lines_with(path: &Path, words: &[&str]) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let name = path.strip_prefix(root()).unwrap().display().to_string();
    let mut found = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if words.iter().any(|word| code.contains(word)) {
            found.push(format!("{name}:{}: {}", n + 1, line.trim()));
        }
    }
    found
}

#[test]
fn the_protocol_is_not_too_long_to_read() {
    let text = std::fs::read_to_string(root().join("protocol.md")).unwrap();
    let lines = text.lines().count();
    assert!(
        lines <= PROTOCOL_LINES_MAX,
        "protocol.md has {lines} lines: shorten it, or give a part a document of its own"
    );
}

#[test]
fn the_table_of_codes_matches_the_code() {
    let documented: Vec<String> = table("protocol.md", "9")
        .iter()
        .map(|row| row[0].replace('`', ""))
        .collect();
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.word()).collect();
    assert_eq!(documented, codes);
}

#[test]
fn the_table_of_limits_matches_the_code() {
    let limits = Limits::default();
    let rows = limits.rows().into_iter().map(|row| {
        let flag = row
            .flag
            .map_or_else(String::new, |flag| format!("`{flag}`"));
        vec![row.what.to_owned(), row.value, flag, row.reason.to_owned()]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    // The limits of the protocol itself have no flag.
    let of_protocol = table("protocol.md", "3.7");
    let first = rows.iter().take(of_protocol.len());
    let first: Vec<_> = first
        .map(|row| [row[0].clone(), row[1].clone(), row[3].clone()])
        .collect();
    assert_eq!(of_protocol, first);
    if std::env::var_os("BLESS").is_some() {
        let path = root().join("chatd.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let (head, rest) = text.split_once("## 1 Limits and flags\n").unwrap();
        let lines = rest.split_inclusive('\n').enumerate();
        let old = lines.take_while(|(_, line)| line.starts_with('|'));
        let old = old.map(|(_, line)| line.len()).sum();
        let (table, rest) = rest.split_at(old);
        let lines = table.lines().take(2).map(str::to_owned);
        let rows = rows
            .iter()
            .map(|row| format!("| {} |", row.join(" | ").replace("|  |", "| |")));
        let table: Vec<String> = lines.chain(rows).collect();
        std::fs::write(
            &path,
            format!("{head}## 1 Limits and flags\n{}\n{rest}", table.join("\n")),
        )
        .unwrap();
        return;
    }
    assert_eq!(table("chatd.md", "1"), rows);
}

#[test]
fn the_readme_states_the_limits_of_the_server() {
    let limits = Limits::default();
    let thousands = |n: usize| format!("{},{:03}", n / 1000, n % 1000);
    let sentence = format!(
        "By default, a message has one line of about {} bytes, or up to {} lines with {} KiB in all; a file has up to {} GiB; \
         and there are up to {} connections.",
        thousands(TEXT_LINE_BYTES_MAX),
        thousands(TEXT_LINES_MAX),
        TEXT_BYTES_MAX >> 10,
        limits.upload_bytes_max >> 30,
        thousands(limits.connections_max),
    );
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let readme = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        readme.contains(&sentence),
        "README.md does not contain: {sentence}"
    );
}

#[test]
fn every_verb_has_its_section_and_its_rule() {
    let document = protocol_md();
    let sections = document
        .sections
        .iter()
        .filter(|section| section.number.starts_with("4."));
    let titles = sections.flat_map(|section| section.title.split(" and "));
    let is_verb = |word: &&str| word.chars().all(|c| c.is_ascii_uppercase());
    let documented: BTreeSet<&str> = titles.filter(is_verb).collect();
    let verbs: BTreeSet<&str> = Verb::ALL.iter().map(|verb| verb.word()).collect();
    assert_eq!(documented, verbs);
    let grammar = lines_of("protocol.md", "3.8").join("\n");
    for verb in verbs {
        assert!(
            grammar.contains(&format!("%s\"{verb}\"")),
            "{verb} has no rule"
        );
    }
}

#[test]
fn every_command_has_a_transcript_in_its_section() {
    let document = protocol_md();
    for section in document.sections.iter().filter(|section| {
        section.number.starts_with("4.") && verbs_of(&section.title).next().is_some()
    }) {
        let id = format!("{}/1", section.number);
        let found = document
            .transcripts
            .iter()
            .any(|transcript| transcript.id == id);
        assert!(found, "section {} has no transcript", section.number);
    }
}

#[test]
fn every_verb_is_answered_ok_and_every_code_is_provoked() {
    let mut expected = BTreeSet::new();
    for transcript in all_transcripts() {
        for step in transcript.steps {
            if let Action::Expect(pattern) = step.action {
                let line = pattern.to_string();
                let words: Vec<&str> = line.split(' ').collect();
                expected.insert(match words[..] {
                    ["OK", verb, ..] => format!("OK {verb}"),
                    ["ERR", _, code, ..] | ["CLOSED", code, ..] => code.to_owned(),
                    _ => continue,
                });
            }
        }
    }
    // A code that no transcript provokes is provoked by a test that says so.
    let mut marked = BTreeSet::new();
    for path in sources(&root().join("tests")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let marks = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("// provokes: "));
        marked.extend(marks.map(str::to_owned));
    }
    for verb in Verb::ALL {
        assert!(
            expected.contains(&format!("OK {verb}")),
            "no transcript has OK {verb}"
        );
    }
    for code in Code::ALL {
        let provoked = expected.contains(code.word()) || marked.contains(code.word());
        assert!(provoked, "nothing provokes {code}");
    }
}

/// Returns the verbs that a section is about.
fn verbs_of(title: &str) -> impl Iterator<Item = Verb> {
    let words = title.split(" and ");
    words.filter_map(|word| Verb::ALL.iter().copied().find(|verb| verb.word() == word))
}

#[test]
fn every_section_names_the_refusals_of_its_commands() {
    for section in &protocol_md().sections {
        let lines = lines_of("protocol.md", &section.number);
        let lines = lines.iter().filter(|line| line.starts_with("    ERR "));
        let named: BTreeSet<&str> = lines
            .flat_map(|line| line.split(['|', ' ']))
            .filter_map(Code::parse)
            .map(Code::word)
            .collect();
        let verbs = verbs_of(&section.title);
        let codes: BTreeSet<&str> = verbs
            .flat_map(Verb::refuses)
            .map(|code| code.word())
            .collect();
        if verbs_of(&section.title).next().is_some() {
            assert_eq!(named, codes, "of section {}", section.number);
        }
    }
}

#[test]
fn pure_modules_use_no_sockets_files_or_clocks() {
    let mut files = 0;
    for pure in PURE {
        for path in sources(&root().join(pure)) {
            files += 1;
            let found = lines_with(&path, IMPURE);
            assert!(found.is_empty(), "{found:#?}");
        }
    }
    assert!(files > 10, "only {files} files were looked at");
}

#[test]
fn no_test_sleeps_or_depends_on_timing() {
    let folder = root().join("tests");
    let mut looked_at = 0;
    let mut found = Vec::new();
    for path in files(&folder) {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let is_test = name.ends_with(".rs") || name.ends_with(".js");
        if !is_test || name == "tests/project/tidy.rs" || name.contains("node_modules") {
            continue;
        }
        looked_at += 1;
        let is_allowed = |word: &str| MAY_WAIT.iter().any(|may| (may.0, may.1) == (&name, word));
        let words: Vec<&str> = TIMED
            .iter()
            .copied()
            .filter(|word| !is_allowed(word))
            .collect();
        found.extend(lines_with(&path, &words));
    }
    assert!(looked_at > 50, "only {looked_at} files were looked at");
    assert!(found.is_empty(), "wait for something instead: {found:#?}");
}

#[test]
fn the_page_is_complete_and_small() {
    let folder = root().join("src/web");
    let path = |file: &PathBuf| {
        let path = file.strip_prefix(&folder).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let on_disk = files(&folder).iter().map(path).collect::<BTreeSet<_>>();
    let assets = ASSETS.iter().map(|file| file.path);
    let modules = MODULES.iter().map(|(path, _)| *path);
    let mut served: BTreeSet<String> = assets.chain(modules).map(str::to_owned).collect();
    // The list itself, and the file that tells Node that the rest are modules.
    served.extend(["mod.rs".to_owned(), "package.json".to_owned()]);
    assert_eq!(served, on_disk);
    let bytes: usize = ASSETS.iter().map(|file| file.bytes.len()).sum();
    assert!(bytes <= PAGE_BYTES_MAX, "the page has {bytes} bytes");
}

#[test]
fn no_message_becomes_markup_in_the_page() {
    let is_text = |file: &PathBuf| file.extension().is_none_or(|end| end != "png");
    for file in files(&root().join("src/web")).into_iter().filter(is_text) {
        let found = lines_with(&file, MARKUP);
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn each_promise_of_security_md_names_tests_that_are_there() {
    let text = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let (_, promised) = text.split_once("## What is promised\n").unwrap();
    let (promised, _) = promised.split_once("\n## ").unwrap();
    let promises: Vec<&str> = promised.split("\n- ").skip(1).collect();
    assert!(promises.len() > 8, "{} promises", promises.len());
    for promise in promises {
        let named = promise.lines().filter_map(|line| line.strip_prefix("  - "));
        let named: Vec<&str> = named.map(|name| name.trim_matches('`')).collect();
        assert!(!named.is_empty(), "no test is named: {promise}");
        for name in named {
            let found = name.split_once(": ").and_then(|(file, name)| {
                let text = std::fs::read_to_string(root().join(file)).ok()?;
                text.contains(&format!("fn {name}(")).then_some(())
            });
            assert!(found.is_some(), "there is no test {name}");
        }
    }
}

/// Licences that require no more than their text beside the program.
const LICENSES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unlicense",
    "Unicode-3.0",
    "BSL-1.0",
];

/// Returns whether an SPDX expression can be met with [`LICENSES`]; `/` stands for `OR` in old packages.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    any_of(&mut words) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>) -> bool {
    let mut is_met = all_of(words);
    while words.next_if_eq(&"OR").is_some() {
        is_met |= all_of(words);
    }
    is_met
}

fn all_of(words: &mut Words<'_>) -> bool {
    let mut is_met = one(words);
    while words.next_if_eq(&"AND").is_some() {
        is_met &= one(words);
    }
    is_met
}

fn one(words: &mut Words<'_>) -> bool {
    let Some(word) = words.next() else {
        return false;
    };
    if word == "(" {
        return any_of(words) & (words.next() == Some(")"));
    }
    // An exception only allows more.
    if words.next_if_eq(&"WITH").is_some() {
        words.next();
    }
    LICENSES.contains(&word)
}

#[test]
fn every_package_has_a_fitting_licence_and_comes_from_crates_io() {
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT Zlib"] {
        assert!(!is_allowed(bad), "{bad}");
    }
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/Apache-2.0",
        "(GPL-3.0 OR ISC) AND Zlib",
    ] {
        assert!(is_allowed(good), "{good}");
    }
    let output = std::process::Command::new("cargo")
        .args(["tree", "--locked", "--offline", "--prefix", "none"])
        .args(["--format", "{l}|{p}"])
        .current_dir(root())
        .output()
        .expect("cargo is there");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let tree = String::from_utf8(output.stdout).unwrap();
    let mut packages = 0;
    for line in tree.lines().collect::<BTreeSet<_>>() {
        let (license, package) = line.split_once('|').unwrap();
        packages += 1;
        assert!(is_allowed(license), "{package} has the licence {license:?}");
        // A package from elsewhere would have its address there.
        let plain = package.replace(" (proc-macro)", "").replace(" (*)", "");
        let is_own = plain.starts_with("plainchat ");
        assert!(
            is_own || !plain.contains('('),
            "{package} is not of crates.io"
        );
    }
    assert!(packages > 100, "only {packages} packages");
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(!manifest.contains("\"*\""), "a dependency of any version");
}
