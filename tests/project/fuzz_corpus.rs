//! The fuzz targets, over everything in their saved corpus: seeds by hand, and each find since.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;

fn check(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let folder = folder.join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
    let mut ran = 0;
    for file in files {
        let path = file.expect("a readable folder").path();
        println!("{}", path.display()); // shown if it fails
        run(&std::fs::read(&path).expect("a readable file"));
        ran += 1;
    }
    assert!(ran > 0, "{folder:?} is empty");
}

#[test]
fn lines_are_the_same_however_the_corpus_is_cut() {
    check("line", targets::line);
}

#[test]
fn requests_of_the_corpus_are_written_as_they_are_read() {
    check("request", targets::request);
}

#[test]
fn server_lines_of_the_corpus_are_read_without_harm() {
    check("server_line", targets::server_line);
}

#[test]
fn each_input_of_the_corpus_is_answered_safely() {
    check("session", targets::session);
}

#[test]
fn frames_of_the_corpus_are_the_same_however_they_are_cut() {
    check("frame", targets::frame);
}

#[test]
fn each_irc_input_of_the_corpus_is_answered_in_lines_of_irc() {
    check("irc", targets::irc);
}

#[test]
fn each_post_of_the_corpus_to_a_hook_is_sent_safely() {
    check("hook", targets::hook);
}

#[test]
fn settings_of_the_corpus_are_flags_or_refused_in_a_line() {
    check("settings", targets::settings);
}

#[test]
fn logs_of_the_corpus_are_taken_in_whole_or_not_at_all() {
    check("import", targets::import);
}

#[test]
fn the_port_takes_the_corpus_and_serves_the_next() {
    check("port", targets::port);
}
