//! protocol.md 10.3: the real `chatc`, in pipes, against a server that plays a script.
//!
//! The script causes failures that a real server cannot be made to cause.

use std::fs;
use std::process::Command;

use crate::support::script::{Ended, Running, Server, Step, chatc, run, steps};
use plainchat::client::FileDigest;

/// Runs `chatc ADDRESS args` with `stdin`, while a server plays the scripts `connections`.
#[track_caller]
fn play(connections: &[&str], args: &[&str], stdin: &[u8]) -> Ended {
    let server = Server::play(connections.iter().map(|script| steps(script)).collect());
    let address = server.address.to_string();
    let mut all = vec![&address[..]];
    all.extend(args);
    let ended = run(&mut chatc(&all), stdin);
    server.finish();
    ended
}

/// Returns lines without the time of day before them.
fn without_time(lines: &str) -> String {
    let strip = |line: &str| match (line.split_once('['), line.split_once("] ")) {
        (Some((before, _)), Some((_, after))) => format!("{before}{after}\n"),
        _ => format!("{line}\n"),
    };
    lines.lines().map(strip).collect()
}

/// What chatc sends first when it runs in a pipe, and the server's replies.
const IN: &str = "> HELLO
    > STAMPS on
    > TAGS on
    > NICK ann
    < OK HELLO 1 chat
    < OK STAMPS on
    < OK TAGS on
    < OK NICK ann #lobby 4
    ";

/// What chatc sends last when it runs in a pipe.
const OUT: &str = "
    > BYE
    < OK BYE
    > (end)";

#[test]
fn each_line_is_sent_and_events_are_printed() {
    let script = format!(
        "{IN}> TELL #lobby one
           > TELL #lobby two
           < OK TELL 5 2026-11-22T06:47:00.000Z
           < MSG #lobby bob hello
           < JOIN #ops bob
           < OK TELL 6 2026-11-22T06:47:00.000Z{OUT}"
    );
    let ended = play(&[&script], &[], b"one\n\ntwo");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        without_time(&ended.stdout),
        "<bob> hello\n#ops -- bob joined #ops\n"
    );
    assert_eq!(ended.stderr, "");
}

#[test]
fn a_refused_line_is_reported_and_the_exit_code_is_1() {
    let script = format!(
        "{IN}> TELL #lobby one
           < ERR TELL quota the disk is full
           > TELL #lobby two
           < OK TELL 5 2026-11-22T06:47:00.000Z{OUT}"
    );
    play(&[&script], &[], b"one\ntwo\n").check(1, "", "chatc: the disk is full (quota)\n");
}

#[test]
fn a_login_name_that_is_taken_gets_a_number() {
    let script = format!(
        "> HELLO
           > STAMPS on
           > TAGS on
           < OK HELLO 1 chat
           < OK STAMPS on
           < OK TAGS on
           > NICK ann
           < ERR NICK nick-taken taken
           > NICK ann2
           < ERR NICK bad-password that nick is guarded
           > NICK ann3
           < OK NICK ann3 #lobby 0{OUT}"
    );
    play(&[&script], &[], b"").check(0, "", "");
}

#[test]
fn a_requested_nick_that_is_taken_is_an_error() {
    play(
        &["> HELLO
           > STAMPS on
           > TAGS on
           < OK HELLO 1 chat
           < OK STAMPS on
           < OK TAGS on
           > NICK bob
           < ERR NICK nick-taken \"bob\" is taken"],
        &["--nick", "bob"],
        b"hi\n",
    )
    .check(
        1,
        "",
        "chatc: that nick is taken: choose another (--nick)\n",
    );
}

#[test]
fn a_room_is_entered_instead_of_the_lobby() {
    let script = format!(
        "{IN}> JOIN #ops
           < MSG #lobby eve hi
           < OK JOIN #ops 4
           > PART #lobby
           < OK PART #lobby
           > TELL #ops hi
           < OK TELL 5 2026-11-22T06:47:00.000Z{OUT}"
    );
    play(&[&script], &["--room", "ops"], b"hi\n").check(0, "", "");
}

#[test]
fn chatc_ends_when_the_server_closes_even_if_its_input_is_open() {
    let script = format!("{IN}< CLOSED kicked root has closed your connection");
    let server = Server::play(vec![steps(&script)]);
    let running = Running::start(&mut chatc(&[&server.address.to_string()]));
    running.wait().check(
        3,
        "",
        "chatc: the server closed the connection: root has closed your connection\n",
    );
    server.finish();
}

#[test]
fn after_a_broken_connection_unanswered_lines_are_sent_again_with_their_nonces() {
    let has = "< OK HELLO 1 chat nonce tags";
    let first = IN.replace("< OK HELLO 1 chat", has);
    let first = format!(
        "{first}> @nonce=<one> TELL #lobby one
           > @nonce=<two> TELL #lobby two
           > @nonce=<three> TELL #lobby three
           < OK TELL 5 2026-11-22T06:47:00.000Z
           < CLOSED shutting-down back in a minute"
    );
    let second = format!(
        "> HELLO
           > STAMPS on
           > TAGS on
           > JOIN #lobby 5
           > NICK ann
           {has}
           < OK STAMPS on
           < OK TAGS on
           < PAST 7 2026-11-22T06:47:00.000Z MSG #lobby bob meanwhile
           < OK JOIN #lobby 7
           < OK NICK ann #lobby 7
           > @nonce=<two> TELL #lobby two
           > @nonce=<three> TELL #lobby three
           < OK TELL 6 2026-11-22T06:47:00.000Z
           < OK TELL 8 2026-11-22T06:47:00.000Z{OUT}"
    );
    let ended = play(&[&first, &second], &[], b"one\ntwo\nthree\n");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.ends_with("<bob> meanwhile\n"), "{ended:?}");
    assert_eq!(
        ended.stderr,
        "chatc: the server closed the connection: back in a minute; trying again\nchatc: connected again\n"
    );
}

/// Returns the address of a server that has stopped.
fn stopped() -> String {
    let server = Server::play(vec![]);
    let address = server.address.to_string();
    server.finish();
    address
}

#[test]
fn each_command_takes_the_addresses_of_several_servers() {
    let rooms = || Server::play(vec![steps("> ROOMS\n< ROOM #ops 1 7 hello\n< OK ROOMS 1")]);
    let server = rooms();
    let host = format!("{},{}", stopped(), server.address);
    let ended = run(&mut chatc(&["rooms", "--host", &host]), b"");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("#ops"), "{ended:?}");
    server.finish();

    let server = rooms();
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join(".config/chatc");
    fs::create_dir_all(&folder).expect("it can be made");
    let settings = format!(
        "[servers.work]\naddress = '{}, {}'\n",
        stopped(),
        server.address
    );
    fs::write(folder.join("settings.toml"), settings).expect("it can be written");
    let ended = run(
        chatc(&["rooms", "--host", "work"]).env("HOME", home.path()),
        b"",
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    server.finish();

    let wrong = run(&mut chatc(&["rooms", "--host", "a,,b"]), b"");
    wrong.check(
        2,
        "",
        "chatc: invalid address \"\": write HOST or HOST:PORT\n",
    );
}

#[test]
fn a_command_passes_over_a_server_that_is_cut_off() {
    let rooms = |host: &str| run(&mut chatc(&["rooms", "--host", host, "--nick", "ann"]), b"");
    let cut_off = || Server::play(vec![steps("> NICK ann\n< ERR NICK cut-off elsewhere")]);
    let (one, two) = (
        cut_off(),
        Server::play(vec![steps(
            "> NICK ann\n< OK NICK ann #lobby 4\n> ROOMS\n< OK ROOMS 0",
        )]),
    );
    rooms(&format!("{},{}", one.address, two.address)).check(0, "", "");
    one.finish();
    two.finish();
    // With a single address, the refusal is reported.
    let one = cut_off();
    rooms(&one.address.to_string()).check(1, "", "chatc: elsewhere (cut-off)\n");
    one.finish();
}

#[test]
fn a_pipe_continues_on_the_next_server() {
    let one = Server::play(vec![steps(&format!(
        "{IN}> TELL #lobby one
           < OK TELL 5 2026-11-22T06:47:00.000Z
           > TELL #lobby two"
    ))]);
    let two = Server::play(vec![steps(&format!(
        "> HELLO
           > STAMPS on
           > TAGS on
           > JOIN #lobby 5
           > NICK ann
           < OK HELLO 1 chat
           < OK STAMPS on
           < OK TAGS on
           < OK JOIN #lobby 5
           < OK NICK ann #lobby 5
           > TELL #lobby two
           < OK TELL 6 2026-11-22T06:47:00.000Z{OUT}"
    ))]);
    let host = format!("{},{}", one.address, two.address);
    let ended = run(&mut chatc(&[&host]), b"one\ntwo\n");
    ended.check(
        0,
        "",
        "chatc: the connection was lost: the server closed the connection; trying again\nchatc: connected again\n",
    );
    one.finish();
    two.finish();
}

#[test]
fn a_missing_server_is_reported_in_one_line() {
    let free = Server::play(vec![]);
    let address = free.address.to_string();
    free.finish();
    let expected = format!("chatc: cannot connect to {address}: connection refused\n");
    run(&mut chatc(&[&address]), b"").check(3, "", &expected);
}

#[test]
fn a_server_of_another_protocol_is_reported() {
    let mut junk = vec![b'x'; 7000];
    junk.push(b'\n');
    let server = Server::play(vec![vec![Step::Hear("HELLO".into()), Step::Give(junk)]]);
    run(&mut chatc(&[&server.address.to_string()]), b"").check(
        3,
        "",
        "chatc: the server does not speak this protocol: a line has more than 6144 bytes\n",
    );
    server.finish();
}

#[test]
fn a_hostile_server_cannot_control_the_terminal() {
    let mut script = steps(IN);
    script.push(Step::Hear("TELL #lobby hi".into()));
    script.push(Step::Give(
        b"MSG #lobby \x1b[31mbob \x1b]52;c;AAAA\x07hi\xc2\x9b\xe2\x80\xae\r\nMSG\nFILE #lobby bob x\n\xff\xfe\x00\n".into(),
    ));
    script.push(Step::Say("ERR TELL internal \u{1b}[2Jno\n".into()));
    script.extend(steps(OUT));
    let server = Server::play(vec![script]);
    let ended = run(&mut chatc(&[&server.address.to_string()]), b"hi\n");
    assert_eq!(without_time(&ended.stdout), "<bob> hi\n");
    assert_eq!(ended.stderr, "chatc: no (internal)\n");
    server.finish();
}

#[test]
fn bytes_that_are_not_utf8_are_replaced_and_long_lines_are_split() {
    let long = "é".repeat(3000);
    // With `TELL #lobby `, its end and 40 bytes for a nonce, a line has 4096 bytes at most.
    let (first, rest) = long.split_at(4042);
    let script = format!(
        "{IN}> TELL #lobby a\u{fffd}b
         > TELL #lobby {first}
         > TELL #lobby {rest}
         < OK TELL 5 2026-11-22T06:47:00.000Z
         < OK TELL 6 2026-11-22T06:47:00.000Z
         < OK TELL 7 2026-11-22T06:47:00.000Z{OUT}"
    );
    let input = [b"a\xffb\n", long.as_bytes()].concat();
    play(&[&script], &[], &input).check(0, "", "");
}

#[test]
fn utf_16_is_converted_if_it_has_a_mark_and_refused_otherwise() {
    let script = format!("{IN}> TELL #lobby größer\n < OK TELL 5 2026-11-22T06:47:00.000Z{OUT}");
    let encoded = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let with_mark: Vec<u8> = encoded("\u{feff}größer\r\n");
    play(&[&script], &[], &with_mark).check(0, "", "");
    let without: Vec<u8> = encoded("größer\r\n");
    let ended = play(&[IN.trim_end()], &[], &without);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("iconv"), "{}", ended.stderr);
}

#[test]
fn raw_passes_lines_and_bytes_both_ways() {
    let mut script = steps("> JOIN ops\n > DOWNLOAD 7\n < OK JOIN #ops 0\n < DATA 7 6 - x");
    script.push(Step::Give(b"ERR \xff\n".into()));
    script.extend(steps("< OK DOWNLOAD 7\n > (end)"));
    let server = Server::play(vec![script]);
    let ended = run(
        &mut chatc(&[&server.address.to_string(), "--raw"]),
        b"JOIN ops\nDOWNLOAD 7\n",
    );
    ended.check(
        0,
        "OK JOIN #ops 0\nDATA 7 6 - x\nERR \u{fffd}\nOK DOWNLOAD 7\n",
        "",
    );
    server.finish();
    let refused = play(
        &["> JOIN\n < ERR JOIN bad-syntax no\n > (end)"],
        &["--raw"],
        b"JOIN\n",
    );
    refused.check(1, "ERR JOIN bad-syntax no\n", "");
}

/// A folder for one test, in which `chatc` runs.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn chatc(&self, args: &[&str]) -> Command {
        let mut command = chatc(args);
        command.current_dir(self.0.path());
        command
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .collect();
        names.sort();
        names
    }
}

fn sha256(bytes: &[u8]) -> String {
    smol::block_on(FileDigest::of(bytes))
        .expect("memory")
        .digest()
        .to_string()
}

/// Returns the script of a download from `offset`. If `end` is before the end of the file, the connection breaks
/// there.
fn download(file: &[u8], name: &str, offset: usize, end: usize) -> Vec<Step> {
    let mut script = steps(&format!(
        "> DOWNLOAD 7 {offset}
         < DATA 7 {} {} {name}",
        file.len() - offset,
        sha256(file)
    ));
    script.push(Step::Give(file[offset..end].to_vec()));
    if end == file.len() {
        script.push(Step::Say("OK DOWNLOAD 7\n".into()));
    }
    script
}

#[test]
fn a_broken_download_resumes() {
    let file: Vec<u8> = (0..300_000).map(|n| (n * 7 % 251) as u8).collect();
    let server = Server::play(vec![
        download(&file, "a b.bin", 0, 100_001),
        download(&file, "a b.bin", 0, 0),
        download(&file, "a b.bin", 100_001, file.len()),
    ]);
    let (folder, host) = (Folder::new(), server.address.to_string());
    let args = ["download", "7", "--host", &host];
    run(&mut folder.chatc(&args), b"").check(
        3,
        "",
        "chatc: the connection was lost: it ended in the middle of the file; run the same command again to continue from a b.bin.part\n",
    );
    assert_eq!(folder.names(), ["a b.bin.part"]);
    run(&mut folder.chatc(&args), b"").check(0, "a b.bin\n", "");
    assert_eq!(folder.names(), ["a b.bin"]);
    assert_eq!(fs::read(folder.0.path().join("a b.bin")).unwrap(), file);
    server.finish();
}

#[test]
fn a_partial_file_of_another_download_is_detected_and_discarded() {
    let file = vec![b'x'; 1000];
    let server = Server::play(vec![
        download(&file, "f", 0, 0),
        download(&file, "f", 3, file.len()),
        download(&file, "f", 0, file.len()),
    ]);
    let (folder, host) = (Folder::new(), server.address.to_string());
    fs::write(folder.0.path().join("f.part"), "yyy").unwrap();
    let args = ["download", "7", "--host", &host];
    run(&mut folder.chatc(&args), b"").check(
        1,
        "",
        "chatc: the file was altered on its way: its digest differs\n",
    );
    assert_eq!(folder.names(), [""; 0]);
    run(&mut folder.chatc(&args), b"").check(0, "f\n", "");
    server.finish();
}

#[test]
fn a_download_overwrites_nothing_and_stays_in_its_folder() {
    let file = b"new".to_vec();
    let server = Server::play(vec![
        download(&file, "../.profile", 0, 3),
        download(&file, "../.profile", 0, 3),
        download(&file, "x", 0, 3),
        download(&file, "x", 0, 3),
    ]);
    let (folder, host) = (Folder::new(), server.address.to_string());
    let args = ["download", "7", "--host", &host];
    run(&mut folder.chatc(&args), b"").check(0, "_profile\n", "");
    fs::write(folder.0.path().join("_profile"), "mine").unwrap();
    run(&mut folder.chatc(&args), b"").check(1, "", "chatc: _profile already exists\n");
    assert_eq!(fs::read(folder.0.path().join("_profile")).unwrap(), b"mine");

    fs::create_dir(folder.0.path().join("sub")).unwrap();
    let args = ["download", "7", "--host", &host, "--out", "sub"];
    run(&mut folder.chatc(&args), b"").check(0, "sub/x\n", "");
    let args = ["download", "7", "--host", &host, "--out", "-"];
    run(&mut folder.chatc(&args), b"").check(0, "new", "");
    server.finish();
}

#[test]
fn a_file_is_uploaded_with_its_digest_and_a_refused_one_does_not_stop_the_next() {
    let (one, two) = (b"one\n".to_vec(), vec![0xff; 50_000]);
    let enter = steps(
        "> NICK ann
         < OK NICK ann #lobby 0
         > JOIN ops
         < OK JOIN #ops 0
         > PART #lobby
         < OK PART #lobby",
    );
    let mut refused = enter.clone();
    refused.push(Step::Hear(format!("UPLOAD one.txt 4 {}", sha256(&one))));
    refused.push(Step::Take(one.clone()));
    refused.extend(steps(
        "< MSG #ops bob hi\n < ERR UPLOAD quota the disk is full\n > (end)",
    ));
    let mut script = enter;
    script.push(Step::Hear(format!("UPLOAD two.bin 50000 {}", sha256(&two))));
    script.push(Step::Take(two.clone()));
    script.push(Step::Say(format!("OK UPLOAD 8 50000 {}\n", sha256(&two))));
    script.extend(steps("> UPLOAD a pipe *"));
    script.push(Step::Take(one.clone()));
    script.push(Step::End);
    script.push(Step::Say(format!("OK UPLOAD 9 4 {}\n", sha256(&one))));
    let server = Server::play(vec![refused, script]);
    let (folder, host) = (Folder::new(), server.address.to_string());
    fs::write(folder.0.path().join("one.txt"), &one).unwrap();
    fs::write(folder.0.path().join("two.bin"), &two).unwrap();
    let flags = ["--host", &host, "--room", "ops", "--name", "a pipe"];
    let mut command = folder.chatc(&["upload"]);
    command
        .args(flags)
        .args(["one.txt", "gone", "two.bin", "-"]);
    run(&mut command, &one).check(
        1,
        "8 two.bin\n9 a pipe\n",
        "chatc: one.txt: the disk is full (quota)\nchatc: cannot read gone: no such file or directory\n",
    );
    server.finish();
}

#[test]
fn an_altered_upload_is_detected() {
    let mut script = steps("> NICK ann\n < OK NICK ann #lobby 0\n > UPLOAD stdin *");
    script.push(Step::Take(b"abc".into()));
    script.push(Step::End);
    script.push(Step::Say(format!("OK UPLOAD 9 2 {}\n", sha256(b"ab"))));
    let server = Server::play(vec![script]);
    let args = ["upload", "--host", &server.address.to_string(), "-"];
    run(&mut chatc(&args), b"abc").check(
        1,
        "",
        "chatc: -: the file was altered on its way: its digest differs\n",
    );
    server.finish();
}

#[test]
fn chatc_ends_quietly_when_its_reader_closes_the_pipe() {
    let mut script = steps(IN);
    script.push(Step::Say("MSG #lobby bob spam\n".repeat(200_000)));
    let server = Server::play(vec![script]);
    let pipe = r#"{ "$0" "$1" --nick ann; echo "code $?" >&2; } | head -1"#;
    let mut command = Command::new("sh");
    command
        .args(["-c", pipe, env!("CARGO_BIN_EXE_chatc")])
        .env("HOME", "/dev/null")
        .arg(server.address.to_string());
    let ended = Running::start(&mut command).wait();
    assert_eq!(without_time(&ended.stdout), "<bob> spam\n");
    assert_eq!(ended.stderr, "code 0\n");
}

#[test]
fn a_mistyped_command_is_refused_with_a_suggestion() {
    let check = |args: &[&str], code: i32, stderr: &str| {
        let ended = run(&mut chatc(args), b"");
        assert_eq!(
            (ended.code, &ended.stderr[..]),
            (Some(code), stderr),
            "{args:?}"
        );
    };
    check(
        &["snd", "#ops", "hi"],
        2,
        "chatc: unknown command snd; did you mean send? chatc --help lists the commands\n",
    );
    check(
        &["search"],
        2,
        "chatc: which words? usage: chatc search WORDS\n",
    );
    check(
        &["run"],
        2,
        "chatc: which command? usage: chatc run -- COMMAND\n",
    );
    check(
        &["bot"],
        2,
        "chatc: which command? usage: chatc bot -- COMMAND\n",
    );
    let version = run(&mut chatc(&["-V"]), b"");
    assert_eq!(version.code, Some(0));
    assert!(version.stdout.starts_with("chatc 0."), "{version:?}");
    // A name of two letters that no network knows is still a host.
    let host = run(&mut chatc(&["sedn.invalid"]), b"");
    assert_eq!(host.code, Some(3));
    assert!(!host.stderr.contains("did you mean"), "{host:?}");
}

#[test]
fn a_search_that_was_stopped_says_so() {
    let script = "> SEARCH #ops tea
        < PAST 7 2026-11-22T06:47:00.000Z MSG #ops bob tea
        < OK SEARCH 1 cut
        > (end)";
    let server = Server::play(vec![steps(script)]);
    let host = server.address.to_string();
    let args = ["search", "tea", "--room", "ops", "--host", &host];
    let found = run(&mut chatc(&args), b"");
    server.finish();
    found.check(
        0,
        "2026-11-22 06:47:00  <bob> tea\n",
        "chatc: the search took too long and was stopped, so older messages may be missing; try rarer words\n",
    );
}
