//! Runs the fuzz targets over their saved corpus: handmade seeds, and every failing input found since.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;

/// Runs a target over its corpus.
fn check(name: &str) {
    let (_, target) = targets::ALL
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a target");
    let files = std::fs::read_dir(corpus().join(name)).expect("each target has a folder");
    let mut ran = 0;
    for file in files {
        let path = file.expect("a readable folder").path();
        println!("{}", path.display()); // shown if it fails
        target(&std::fs::read(&path).expect("a readable file"));
        ran += 1;
    }
    assert!(ran > 0, "the corpus of {name} is empty");
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

#[test]
fn each_target_has_a_folder() {
    let folders = std::fs::read_dir(corpus()).expect("the corpus");
    let name = |folder: std::io::Result<std::fs::DirEntry>| {
        let name = folder.expect("a readable folder").file_name();
        name.into_string().expect("UTF-8")
    };
    let mut folders: Vec<String> = folders.map(name).collect();
    folders.sort();
    let known: Vec<&str> = targets::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(folders, known);
}

#[test]
fn lines_are_the_same_however_the_corpus_is_cut() {
    check("line");
}

#[test]
fn requests_of_the_corpus_are_formatted_as_they_were_parsed() {
    check("request");
}

#[test]
fn server_lines_of_the_corpus_are_read_without_harm() {
    check("server_line");
}

#[test]
fn each_input_of_the_corpus_is_answered_safely() {
    check("session");
}

#[test]
fn frames_of_the_corpus_are_the_same_however_they_are_cut() {
    check("frame");
}

#[test]
fn each_irc_input_of_the_corpus_is_answered_in_lines_of_irc() {
    check("irc");
}

#[test]
fn each_post_of_the_corpus_to_a_hook_is_sent_safely() {
    check("hook");
}

#[test]
fn settings_of_the_corpus_are_flags_or_refused_in_one_line() {
    check("settings");
}

#[test]
fn logs_of_the_corpus_are_imported_whole_or_not_at_all() {
    check("import");
}

#[test]
fn the_port_takes_the_corpus_and_serves_the_next() {
    check("port");
}

/// Lines of an IRC client: commands with long or unusual parameters.
fn irc_line() -> impl Strategy<Value = String> {
    let command = prop::sample::select(vec![
        "PRIVMSG",
        "NOTICE",
        "JOIN",
        "PART",
        "TOPIC",
        "NICK",
        "AWAY",
        "WHO",
        "WHOIS",
        "NAMES",
        "LIST",
        "MODE",
        "INVITE",
        "KICK",
        "REDACT",
        "TAGMSG",
        "CHATHISTORY LATEST",
        "MARKREAD",
        "HISTORY",
        "SEARCH",
        "CAP LS",
        "CAP REQ",
        "BATCH +b draft/multiline",
        "@batch=b PRIVMSG",
        "@label=l PRIVMSG",
        "REGISTER * *",
        "HELP",
        "ISON",
        "USERHOST",
        "WHOWAS",
        "PING",
    ]);
    let target = prop::sample::select(vec!["#lobby", "peer", "reader", "#ops", "*", ""]);
    let text = prop_oneof![
        "\\PC{0,40}",
        "[a-zé👍 ]{300,1200}",
        "é{32}",
        "[^\r\n]{0,60}"
    ];
    (command, target, any::<bool>(), text).prop_map(|(command, target, is_last, text)| {
        let colon = if is_last { ":" } else { "" };
        let end = if command.starts_with("BATCH") {
            "\r\nBATCH -b"
        } else {
            ""
        };
        format!("{command} {target} {colon}{text}{end}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn whatever_an_irc_client_sends_it_and_others_receive_lines_of_512_bytes(
        lines in vec(irc_line(), 1..30),
    ) {
        let (_, irc) = targets::ALL.iter().find(|(name, _)| *name == "irc").expect("a target");
        irc(&[&[200, 200], lines.join("\r\n").as_bytes()].concat());
    }
}
