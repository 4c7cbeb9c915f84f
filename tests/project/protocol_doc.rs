//! protocol.md 3.8, 4.41, 5.7: the document matches the code.
//!
//! Plays every transcript and every vector against the server in memory: its own tasks, without sockets, and with a
//! clock that advances only while somebody waits.
//! `conformance` plays the same over TCP. Also compares the tables and the grammar of the document with each other,
//! with the transcripts and with the code.
//!
//! `BLESS=1 cargo test --test project protocol_doc` writes the table of section 4.41 anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::support::document::{self, root};
use crate::support::grammar::Grammar;
use crate::support::memory::{FIRST_ID, Memory};
use crate::support::run::{Cut, Server as _, Taken, play};
use crate::support::schema::{self, http_schema};
use crate::support::transcript::{Action, Setting, Transcript};
use plainchat::protocol::request::TextRequest;
use plainchat::protocol::{Code, Event, EventId, Request, Verb, json};

fn all() -> Vec<Transcript> {
    let all = document::transcripts().unwrap_or_else(|why| panic!("{why}"));
    assert!(all.len() > 100, "only {} transcripts were found", all.len());
    all
}

/// Plays everything in every cut. The network accepts `takes` bytes at first, and the log is `late`.
fn check(takes: usize, late: usize) {
    check_all(all(), takes, late);
}

fn check_all(transcripts: Vec<Transcript>, takes: usize, late: usize) {
    let mut failures = Vec::new();
    for transcript in transcripts {
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
fn every_transcript_holds_when_the_log_stores_late_as_on_disk() {
    check(usize::MAX, 3);
    check(7, 2);
}

/// The transcripts that do not hold with their peers on two servers, and why.
const ON_ONE_SERVER: [(&str, &str); 4] = [
    ("3.7/1", "connections are limited for each server"),
    (
        "4.27/nothing_is_revealed_before_pass",
        "SHUTDOWN stops one server",
    ),
    ("4.31/1", "SHUTDOWN stops one server"),
    (
        "4.31/only_an_operator_stops_the_server",
        "SHUTDOWN stops one server",
    ),
];

/// The peers of a transcript are connected to two servers in turn. Neither decides on a change itself; both apply the
/// log of changes.
#[test]
fn every_transcript_holds_with_its_peers_on_two_servers() {
    let mut failures = Vec::new();
    let mut held = Vec::new();
    for transcript in all() {
        let is_left_out = ON_ONE_SERVER.iter().any(|(id, _)| *id == transcript.id);
        for (takes, late) in [(usize::MAX, 0), (7, 2)] {
            let server = Memory::new(&transcript.settings, takes, late);
            let played =
                server.and_then(|server| play(&transcript, Cut::Lines, &mut server.shared(2)));
            match played {
                Err(why) if !is_left_out => failures.push(why),
                Ok(()) if is_left_out => held.push(transcript.id.clone()),
                _ => {}
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} plays failed\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(held.is_empty(), "these hold: {held:?}");
}

#[test]
fn the_transcripts_of_irc_md_hold_for_the_core_too() {
    let irc = document::other("irc.md").unwrap_or_else(|why| panic!("{why}"));
    assert!(
        irc.transcripts.len() > 3,
        "{} are too few",
        irc.transcripts.len()
    );
    for (takes, late) in [(usize::MAX, 0), (7, 0), (usize::MAX, 3), (7, 2)] {
        check_all(irc.transcripts.clone(), takes, late);
    }
}

fn text() -> String {
    std::fs::read_to_string(root().join("protocol.md")).expect("the document")
}

/// Returns the grammar of the document.
fn abnf() -> String {
    let text = text();
    let (_, after) = text.split_once("```abnf\n").expect("a grammar");
    after.split_once("```").expect("its end").0.to_owned()
}

/// Returns a text that is valid in place of a placeholder in angle brackets.
fn sample(placeholder: &str) -> Option<&'static str> {
    let kind = placeholder.split(':').next().unwrap_or_default();
    Some(match kind {
        "id" | "file" | "length" | "count" | "members" | "last id" | "id, nick or room" => "7",
        "id or -" | "sha256 or -" | "VERB or -" => "-",
        "length or *" | "room, own nick or *" => "*",
        "time" | "end or -" => "2026-11-22T11:22:05.007Z",
        "sha256" => "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        "id of the edit" => "8",
        "emoji" => "👍",
        "room or recipient" => "#ops",
        "nick" | "recipient" | "by" | "old" | "new" | "nick or server" | "nick or *" => "bob",
        "room" => "#ops",
        "text" | "topic" | "name" => "some text",
        "path" => "/hooks/word",
        "reader" | "label" | "token" | "token or fingerprint" | "word" | "server" => "word",
        "on or off" => "on",
        "capabilities" => "some text",
        "open or invite" => "open",
        "registered or guest" => "guest",
        "online or offline" => "online",
        "maker, keeper or guest" => "guest",
        "nick, address or network" => "192.0.2.0/24",
        "code" => "busy",
        "event" => "JOIN #ops bob",
        _ => return None,
    })
}

/// Returns `form` with a sample in place of each known placeholder.
fn filled(form: &str) -> String {
    // Servers refuse this with a code of their own: a minimal one does not know the verb.
    let form = form.replace("ERR <word> <word> ", "ERR - unknown-verb ");
    let mut line = String::new();
    let mut rest = form.as_str();
    while let Some((before, after)) = rest.split_once('<') {
        // Text of a conversation may contain such a sign too.
        let Some((inner, after)) = after.split_once('>') else {
            break;
        };
        line += before;
        match sample(inner) {
            Some(sample) => line += sample,
            None => line += &format!("<{inner}>"),
        }
        rest = after;
    }
    line + rest
}

/// Returns `form` with and without each of its parts in square brackets.
fn variants(form: &str) -> Vec<String> {
    let Some((before, after)) = form.split_once(" [") else {
        return vec![form.to_owned()];
    };
    let (inner, after) = after.split_once(']').expect("its end");
    let with = format!("{before} {inner}{after}");
    let without = format!("{before}{after}");
    [variants(&with), variants(&without)].concat()
}

/// Returns whether the grammar allows a line that a client sends. The verb of the line is in capitals.
fn is_derived(grammar: &Grammar, line: &str) -> bool {
    let start = line.len() - line.trim_start_matches(' ').len();
    let (spaces, line) = line.split_at(start);
    let (word, rest) = line.split_at(line.find(' ').unwrap_or(line.len()));
    let word = Verb::parse(word.as_bytes()).map_or(word, |verb| verb.word());
    grammar.matches("client-line", &format!("{spaces}{word}{rest}"))
}

/// Returns whether parser and grammar agree on a line. What neither of them can know, such as whether a name is
/// valid, does not count.
fn agree(grammar: &Grammar, line: &str) -> Result<(), String> {
    let is_right = match Request::parse(line.as_bytes()) {
        // Its bytes follow and are dropped.
        Ok(Some(Request::Text(TextRequest {
            to: Err(refusal), ..
        }))) => {
            if refusal.code != Code::BadSyntax {
                return Ok(());
            }
            false
        }
        Ok(_) => true,
        Err(refusal) if refusal.verb.is_none() || refusal.code == Code::BadSyntax => false,
        Err(_) => return Ok(()),
    };
    // Two things that the grammar cannot say: how large a number is, and that a nick is not one of two words.
    let is_large = |word: &str| word.len() > 15 && word.bytes().all(|b| b.is_ascii_digit());
    let words: Vec<String> = line.split_whitespace().map(str::to_lowercase).collect();
    let is_side = matches!(&words[..], [verb, side, ..] if verb == "history" && matches!(side.as_str(), "before" | "after"));
    if is_derived(grammar, line) == is_right || is_side || words.iter().any(|word| is_large(word)) {
        return Ok(());
    }
    let but = ["but not by the parser", "but not by the grammar"][usize::from(is_right)];
    Err(format!("{line:?} is understood, {but}"))
}

#[test]
fn every_line_of_the_transcripts_fits_the_grammar() {
    let grammar = Grammar::parse(&abnf());
    let (mut sent, mut received) = (0, 0);
    for transcript in all() {
        let mut talkers = BTreeSet::new();
        for step in &transcript.steps {
            let place = format!("{}:{}", transcript.file, step.line);
            let is_talk = talkers.contains(&step.peer);
            match &step.action {
                Action::Send(pattern) if !is_talk => {
                    let line = filled(&pattern.to_string());
                    agree(&grammar, &line).unwrap_or_else(|why| panic!("{place}: {why}"));
                    sent += 1;
                }
                Action::Expect(pattern) => {
                    let line = pattern.to_string();
                    // The rest of a line whose beginning is given in bytes.
                    if line == "<id>" {
                        continue;
                    }
                    if line == "OK RAW" {
                        talkers.remove(&step.peer);
                    } else if is_talk {
                        continue;
                    }
                    if line == "OK CHAT" {
                        talkers.insert(step.peer.clone());
                    }
                    let line = filled(&line);
                    assert!(
                        grammar.matches("server-line", &line),
                        "{place}: no rule has {line:?}"
                    );
                    received += 1;
                }
                _ => {}
            }
        }
    }
    assert!(
        sent > 500 && received > 800,
        "{sent} lines sent, {received} received"
    );
}

#[test]
fn the_grammar_and_the_parser_agree() {
    let grammar = Grammar::parse(&abnf());
    let digest = sample("sha256").expect("it is known");
    let fields = [
        "#a",
        "a",
        "#",
        "5",
        "0",
        "-",
        "*",
        "on",
        "ON",
        "On",
        "AS",
        "as",
        "before",
        "After",
        "open",
        "invite",
        "keeper",
        "7D",
        "5m",
        "10.0.0.0/8",
        "::1",
        "é",
        "x:y",
        "",
        "",
        digest,
    ];
    let mut state = 1;
    for verb in Verb::ALL {
        for _ in 0..150 {
            let mut line = verb.word().to_owned();
            for _ in 0..next(&mut state, 5) {
                line += " ";
                line += fields[next(&mut state, fields.len())];
            }
            agree(&grammar, &line).unwrap_or_else(|why| panic!("{why}"));
        }
    }
    for (rule, wrong) in [
        ("client-line", "Me too"),
        ("client-line", "MSG"),
        ("server-line", "OK NICK bob #ops"),
        ("server-line", "OK MSG 7"),
        ("server-line", "REMOVE #ops 7"),
        (
            "server-line",
            "PAST - 2026-11-22T11:22:05.007Z JOIN #ops bob",
        ),
    ] {
        assert!(!grammar.matches(rule, wrong), "{wrong} is derived");
    }
}

/// Returns the next of a series of numbers that look random, and are the same in each run (Knuth, TAOCP 3.3.4).
fn next(state: &mut u64, below: usize) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*state >> 33).expect("31 bits") % below
}

/// Two registered users, one of them an operator, and an unregistered user send random requests that are composed of
/// a list of words.
#[test]
fn every_line_that_the_server_sends_fits_the_grammar_and_the_table() {
    const WORDS: [&str; 34] = [
        "#plan",
        "#tea",
        "#lobby",
        "#",
        "#no/room",
        "tea",
        "root",
        "bob",
        "eve",
        "nobody",
        "x²",
        "all",
        "open",
        "invite",
        "keeper",
        "on",
        "AS",
        "before",
        "after",
        "0",
        "1",
        "3000",
        "5m",
        "7D",
        "10.0.0.0/8",
        "-",
        "*",
        "from:bob",
        "👍",
        "hello",
        "my secret",
        "  ",
        "",
        "FIRST",
    ];
    let grammar = Grammar::parse(&abnf());
    let anywhere = any_command();
    let settings = [("operator", "root"), ("announce-after", "0s")];
    let settings = settings.map(|(name, value)| Setting {
        name: name.to_owned(),
        value: value.to_owned(),
    });
    // Their bytes follow, or they change what comes after.
    let is_special =
        |verb: &Verb| ["UPLOAD", "TEXT", "CHAT", "BYE", "QUIT", "SHUTDOWN"].contains(&verb.word());
    let verbs: Vec<&Verb> = Verb::ALL.iter().filter(|verb| !is_special(verb)).collect();
    let (mut state, mut lines, mut refusals) = (1, 0, BTreeSet::new());
    for _ in 0..20 {
        let mut server = Memory::new(&settings, 10_000, 0).expect("settings");
        let peers: Vec<usize> = (0..3).map(|_| server.open().expect("a peer")).collect();
        let begin = [
            "NICK root\nREGISTER my secret\nJOIN #plan\nMODE invite\nTAGS on\nMSG one\n",
            "NICK bob\nREGISTER my secret\nSTAMPS on\nJOIN #tea\nMSG one\nUPLOAD a 1\nx\n",
            "NICK eve\nJOIN #tea\n",
        ];
        for (peer, lines) in peers.iter().zip(begin) {
            server.push(*peer, lines.as_bytes()).expect("it reads");
        }
        for _ in 0..150 {
            let peer = peers[next(&mut state, peers.len())];
            let mut line = verbs[next(&mut state, verbs.len())].word().to_owned();
            for _ in 0..next(&mut state, 4) {
                line += " ";
                line += WORDS[next(&mut state, WORDS.len())];
            }
            let id = FIRST_ID + next(&mut state, 6) as u64;
            let line = line.replace("FIRST", &id.to_string()) + "\n";
            // It may have been kicked.
            let _ = server.push(peer, line.as_bytes());
        }
        for peer in peers {
            let mut out = Vec::new();
            while let Taken::Bytes(bytes) = server.take(peer, Duration::ZERO) {
                out.extend(bytes);
            }
            let out = String::from_utf8(out).expect("it is UTF-8");
            // The one file has one byte.
            let out = out.replace(" a\nxOK DOWNLOAD", " a\nOK DOWNLOAD");
            for line in out.lines() {
                assert!(grammar.matches("server-line", line), "no rule has {line:?}");
                lines += 1;
                if let ["ERR", verb, code, ..] = line.split(' ').collect::<Vec<_>>()[..]
                    && verb != "-"
                {
                    assert!(
                        is_listed(&anywhere, verb, code),
                        "{verb} does not list {code}: {line}"
                    );
                    refusals.insert(format!("{verb} {code}"));
                }
            }
        }
    }
    println!("{lines} lines, {} refusals", refusals.len());
    assert!(lines > 3000 && refusals.len() > 90, "{refusals:?}");
}

/// Returns the rows of the table whose head begins with `head`, without their formatting.
fn table(text: &str, head: &str) -> Vec<Vec<String>> {
    let lines = text.lines().skip_while(|line| !line.starts_with(head));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| {
        row.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().replace('`', ""))
            .collect()
    };
    rows.map(cells).collect()
}

const COMMANDS: &str = "| command | lines before the reply | reply | codes of its own |";

#[test]
fn the_table_of_commands_matches_the_code() {
    let quoted = |words: &mut dyn Iterator<Item = &'static str>| {
        words
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let row = |verb: &Verb| {
        let usage = verb.usage().replace(" | ", " or ");
        let lists = quoted(&mut verb.lists().iter().copied());
        let replies = quoted(&mut verb.replies().iter().copied());
        let codes = quoted(&mut verb.refuses().iter().map(|code| code.word()));
        format!("| `{usage}` | {lists} | {replies} | {codes} |")
            .replace("|  |", "| |")
            .replace("|  |", "| |")
    };
    let rows: Vec<String> = Verb::ALL.iter().map(row).collect();
    let text = text();
    let (before, after) = text.split_once(COMMANDS).expect("the table");
    let old = after
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let old: Vec<&str> = old.collect();
    if std::env::var_os("BLESS").is_some() {
        let rest: Vec<&str> = after.lines().skip(2 + old.len()).collect();
        let table = rows.join("\n");
        let text = format!(
            "{before}{COMMANDS}\n|---|---|---|---|\n{table}\n{}\n",
            rest.join("\n")
        );
        std::fs::write(root().join("protocol.md"), text).expect("it can be written");
        return;
    }
    assert_eq!(old, rows);
}

/// Returns section 4.1, which lists the codes that any command can get.
fn any_command() -> String {
    let text = text();
    let (_, after) = text.split_once("### 4.1 ").expect("section 4.1");
    after
        .split_once("### 4.2 ")
        .expect("section 4.2")
        .0
        .to_owned()
}

/// Returns whether a verb may be refused with `code`, by the table of commands or by section 4.1.
fn is_listed(anywhere: &str, verb: &str, code: &str) -> bool {
    let verb = Verb::parse(verb.as_bytes()).expect("a verb");
    verb.refuses().iter().any(|known| known.word() == code)
        || anywhere.contains(&format!("ERR VERB {code} "))
}

#[test]
fn replies_match_the_grammar_and_the_table_of_replies() {
    let grammar = Grammar::parse(&abnf());
    let mut forms = BTreeMap::new();
    for verb in Verb::ALL {
        let all: Vec<String> = verb
            .replies()
            .iter()
            .flat_map(|form| variants(form))
            .collect();
        for form in &all {
            let line = filled(form);
            assert!(grammar.matches("ok", &line), "no rule has {line:?}");
        }
        forms.insert(verb.word(), all);
    }
    let anywhere = any_command();
    for transcript in all() {
        for step in &transcript.steps {
            let Action::Expect(pattern) = &step.action else {
                continue;
            };
            let place = format!("{}:{}", transcript.file, step.line);
            let line = pattern.to_string();
            if !line.starts_with("OK ") && !line.starts_with("ERR ") {
                continue;
            }
            let line = filled(&line);
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["OK", verb, ..] => {
                    let all = forms
                        .get(verb)
                        .unwrap_or_else(|| panic!("{place}: no verb {verb}"));
                    assert!(
                        all.iter().any(|form| fits(form, &line)),
                        "{place}: {line} has no form"
                    );
                }
                ["ERR", verb, code, ..] if verb != "-" => {
                    assert!(
                        is_listed(&anywhere, verb, code),
                        "{place}: {verb} does not list {code}"
                    );
                }
                _ => {}
            }
        }
    }
}

/// Returns whether `line` has the form `form`, word by word. A text in the form stands for the rest of the line.
fn fits(form: &str, line: &str) -> bool {
    let (mut form, mut line) = (form, line);
    loop {
        let (placeholder, rest) = match form.strip_prefix('<').and_then(|form| form.split_once('>'))
        {
            Some((inner, rest)) => (Some(inner), rest),
            None => (None, form.find(' ').map_or("", |at| &form[at..])),
        };
        let word = &form[..form.len() - rest.len()];
        if matches!(placeholder, Some("text" | "capabilities")) {
            return rest.is_empty() && !line.is_empty();
        }
        let (there, after) = line
            .split_once(' ')
            .map_or((line, None), |(there, after)| (there, Some(after)));
        if there.is_empty() || (placeholder.is_none() && there != word) {
            return false;
        }
        match (rest.strip_prefix(' '), after) {
            (None, None) => return true,
            (Some(next), Some(after)) => (form, line) = (next, after),
            _ => return false,
        }
    }
}

#[test]
fn the_table_of_first_words_matches_the_grammar() {
    let abnf = abnf();
    let grammar = Grammar::parse(&abnf);
    let rows = table(&text(), "| first word | kind |");
    let mut listed = BTreeSet::new();
    for row in &rows {
        let [word, _, fields, _] = &row[..] else {
            panic!("a row of other cells: {row:?}");
        };
        listed.insert(word.as_str());
        if word == "OK" {
            continue;
        }
        for form in variants(&format!("{word} {fields}")) {
            let line = filled(&form);
            assert!(
                grammar.matches("server-line", &line),
                "no rule has {line:?}"
            );
        }
    }
    let (_, server) = abnf.split_once("from-server").expect("its rule");
    let (ok, rest) = server.split_once("ok-form       =").expect("its rule");
    let (_, rest) = rest.split_once("\nerr ").expect("its rule");
    // Besides them only the letters of times and small words are literal there.
    let literals = [ok, rest].map(|rules| rules.split("%s\"").skip(1));
    let words = literals.into_iter().flatten();
    let words = words.filter_map(|literal| literal.split('"').next());
    let is_first = |word: &&str| word.len() > 1 && word.bytes().all(|b| b.is_ascii_uppercase());
    let firsts: BTreeSet<&str> = words.filter(is_first).collect();
    assert_eq!(listed, firsts);
}

/// Returns the links to the sections of a document, as `[4.2 NICK](#42-nick)`.
fn anchors(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut anchors = Vec::new();
    for line in text.lines() {
        fenced ^= line.starts_with("```");
        let title = line.strip_prefix("### ").or(line.strip_prefix("## "));
        if let Some(title) = title.filter(|_| !fenced) {
            let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-');
            let anchor: String = title.to_lowercase().chars().filter(kept).collect();
            anchors.push(format!("[{title}](#{})", anchor.replace(' ', "-")));
        }
    }
    anchors
}

#[test]
fn the_contents_lead_to_every_section() {
    let text = text();
    let (_, contents) = text.split_once("**Contents**").expect("contents");
    let (contents, _) = contents.split_once("\n## ").expect("their end");
    for anchor in anchors(&text) {
        assert_eq!(contents.matches(&anchor).count(), 1, "{anchor}");
    }
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    let read = |file: &str| {
        std::fs::read_to_string(root().join(file)).unwrap_or_else(|why| panic!("{file}: {why}"))
    };
    let documents = ["protocol.md", "README.md", "SECURITY.md", "CONTRIBUTING.md"];
    let mut links = 0;
    for file in documents.into_iter().chain(document::OTHERS) {
        let text = read(file);
        for link in text.split("](").skip(1) {
            let (link, _) = link.split_once(')').expect("its end");
            if link.contains("://") {
                continue;
            }
            links += 1;
            let (to, anchor) = link.split_once('#').unwrap_or((link, ""));
            let to = if to.is_empty() { file } else { to };
            assert!(root().join(to).exists(), "{file}: there is no {to}");
            let is_there = anchor.is_empty()
                || anchors(&read(to))
                    .iter()
                    .any(|known| known.ends_with(&format!("(#{anchor})")));
            assert!(is_there, "{file}: {link} leads nowhere");
        }
    }
    assert!(links > 100, "only {links} links were found");
    let protocol = document::protocol_md().unwrap_or_else(|why| panic!("{why}"));
    for after in text().split("ection ").skip(1) {
        let is_number = |c: &char| c.is_ascii_digit() || *c == '.';
        let number: String = after.chars().take_while(is_number).collect();
        let number = number.trim_end_matches('.');
        assert!(
            number.is_empty() || protocol.section(number).is_some(),
            "protocol.md has no section {number}"
        );
    }
}

/// Checks the events as JSON, both from `chatd` over HTTP and from `chatc --json`.
#[test]
fn the_members_of_an_event_as_json_are_those_of_http_md() {
    let digest = sample("sha256").expect("it is known");
    let events = [
        "MSG #ops bob hi".to_owned(),
        "ME #ops bob waves".into(),
        "TOPIC #ops bob tea".into(),
        "NOTE * bob hi".into(),
        "PART #ops bob bye".into(),
        "AWAY #ops bob lunch".into(),
        "JOIN #ops bob".into(),
        "INVITE #ops bob".into(),
        "NICK #ops bob rob".into(),
        "REMOVE #ops bob 5".into(),
        "EDIT #ops bob 5 hi".into(),
        "REACT #ops bob 5 👍".into(),
        "UNREACT #ops bob 5 👍".into(),
        "SEEN #ops bob 5 me".into(),
        "FILE #ops bob 5 6 a.txt".into(),
        format!("STORED #ops bob 5 6 {digest}"),
    ];
    let text = std::fs::read_to_string(root().join("http.md")).expect("the document");
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("| line | members"));
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    // What stands between backticks.
    let quoted = |cell: &str| -> Vec<String> {
        let parts = cell.split('`').skip(1).step_by(2);
        parts.map(str::to_owned).collect()
    };
    let mut members: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').collect();
        let named = quoted(cells[2]).into_iter().filter(|word| {
            word.bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
        });
        let mut named: BTreeSet<String> = named.filter(|word| word != "null").collect();
        if cells[2].contains("the same") {
            named.extend(members["JOIN"].clone());
        }
        for line in quoted(cells[1]) {
            members.insert(line, named.clone());
        }
    }
    let schema = http_schema();
    for line in events {
        let event = Event::parse(&line).expect("an event");
        let object = json::event_object(EventId::new(7), None, "", &event);
        let verb = object["verb"].as_str().expect("a verb").to_owned();
        let keys = object.as_object().expect("an object").keys();
        let keys: BTreeSet<String> = keys.filter(|key| *key != "verb").cloned().collect();
        assert_eq!(members.get(&verb), Some(&keys), "{line}");
        for tags in ["", "reply=5;x-run=17"] {
            let object = json::event_object(EventId::new(7), None, tags, &event);
            assert!(schema::fits(&schema, &schema, &object), "{object}");
        }
        for key in object.as_object().expect("an object").keys() {
            let mut lacking = object.clone();
            lacking.as_object_mut().expect("an object").remove(key);
            assert!(
                !schema::fits(&schema, &schema, &lacking),
                "without {key}: {object}"
            );
        }
        let mut other = object.clone();
        other["more"] = true.into();
        assert!(!schema::fits(&schema, &schema, &other), "{other}");
    }
}
