//! protocol.md 10.2: the commands of `chatc` with the real `chatd`.
//!
//! Scripts, pipes and bots depend on what is tested here.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::support::script::{DEADLINE, Ended, Running, chatc, run};
use crate::support::server::Chatd;

fn chatd() -> Chatd {
    let flags = ["--announce-after", "1h"].map(str::to_owned);
    Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags).expect("chatd")
}

/// Returns `chatc WORD --host … args`.
fn command(chatd: &Chatd, word: &str, args: &[&str]) -> Command {
    let host = chatd.address.to_string();
    let mut all = vec![word, "--host", &host];
    all.extend(args);
    chatc(&all)
}

#[track_caller]
fn done(chatd: &Chatd, word: &str, args: &[&str]) -> String {
    let ended = run(&mut command(chatd, word, args), b"");
    assert_eq!(
        (ended.code, &ended.stderr[..]),
        (Some(0), ""),
        "{word} {args:?}: {ended:?}"
    );
    ended.stdout
}

/// Returns the lines without date and time.
fn texts(lines: &str) -> Vec<&str> {
    lines
        .lines()
        .map(|line| line.split_once("  ").map_or(line, |(_, text)| text))
        .collect()
}

#[test]
fn what_was_deleted_is_marked_in_the_history() {
    let chatd = chatd();
    done(&chatd, "send", &["#ops", "my password is hunter2"]);
    done(&chatd, "send", &["--nick", "bob", "#ops", "ouch"]);
    let json = done(&chatd, "history", &["ops", "--json"]);
    let id: String = json
        .split_once("\"id\":")
        .map_or("", |(_, rest)| rest)
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let raw = run(
        &mut chatc(&[&chatd.address.to_string(), "--raw"]),
        format!("NICK ann\nREMOVE {id}\nBYE\n").as_bytes(),
    );
    assert!(raw.stdout.contains("OK REMOVE"), "{raw:?}");
    let shown = [
        "<ann> (deleted)",
        "<bob> ouch",
        "-- ann deleted a message or file",
    ];
    assert_eq!(texts(&done(&chatd, "history", &["ops"])), shown);
}

#[test]
fn a_sent_message_is_in_the_history_and_is_found() {
    let chatd = chatd();
    done(&chatd, "send", &["#ops", "build", "done"]);
    let ended = run(
        &mut command(&chatd, "send", &["--nick", "bob", "#ops"]),
        "one\n\ntwo é\r\n".as_bytes(),
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let history = done(&chatd, "history", &["ops"]);
    assert_eq!(
        texts(&history),
        ["<ann> build done", "<bob> one", "<bob> two é"]
    );
    assert_eq!(
        texts(&done(&chatd, "history", &["ops", "--count", "1"])),
        ["<bob> two é"]
    );
    let json = done(&chatd, "history", &["#ops", "--json", "--count", "1"]);
    let id = json
        .split("\"id\":")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .expect("an id")
        .to_owned();
    assert!(!json.contains("tags"), "{json}");
    let reply = format!(
        "NICK eve\nJOIN #ops\n@reply={id};x-a=%1B%5B31m MSG yes\nREACT {id} \u{1f44d}\nBYE\n"
    );
    let raw = run(
        &mut chatc(&[&chatd.address.to_string(), "--raw"]),
        reply.as_bytes(),
    );
    assert_eq!(raw.code, Some(0), "{raw:?}");
    done(
        &chatd,
        "send",
        &["--nick", "eve", "--reply", &id, "ops", "me", "too"],
    );
    let reply = done(&chatd, "history", &["ops", "--json", "--count", "1"]);
    assert!(
        reply.contains(&format!("\"tags\":{{\"reply\":\"{id}\"}}")),
        "{reply}"
    );
    let wrong = run(
        &mut command(&chatd, "send", &["--reply", "1", "ops", "x"]),
        b"",
    );
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    let tagged = done(&chatd, "search", &["two", "--room", "ops", "--json"]);
    assert!(
        tagged.contains("\"tags\":{\"reacts\":\"\u{1f44d}*1\"}"),
        "{tagged}"
    );
    let tagged = done(
        &chatd,
        "history",
        &["ops", "--json", "--after", &id, "--count", "1"],
    );
    let expected = format!(r#""tags":{{"reply":"{id}","x-a":"\u001b[31m"}}"#);
    assert!(tagged.contains(&expected), "{tagged}");
    assert!(
        json.contains("\"nick\":\"bob\"") && json.contains("\"text\":\"two é\""),
        "{json}"
    );
    assert_eq!(
        texts(&done(&chatd, "history", &["ops", "--before", &id])),
        ["<ann> build done", "<bob> one"]
    );
    let last = [
        "<eve> yes",
        "-- eve reacts to a message with \u{1f44d}",
        "<eve> me too",
    ];
    assert_eq!(
        texts(&done(&chatd, "history", &["ops", "--after", &id])),
        last
    );
    assert_eq!(
        texts(&done(
            &chatd,
            "history",
            &["ops", "--after", "0", "--count", "2"]
        ))
        .len(),
        2
    );
    assert_eq!(
        texts(&done(&chatd, "search", &["--room", "ops", "BUILD"])),
        ["<ann> build done"]
    );
    let everywhere = done(&chatd, "search", &["--all", "build"]);
    assert!(
        everywhere.contains("#ops  <ann> build done"),
        "{everywhere}"
    );
    let none = run(
        &mut command(&chatd, "search", &["--room", "ops", "nothing"]),
        b"",
    );
    assert_eq!((none.code, &none.stdout[..]), (Some(1), ""));
    assert!(done(&chatd, "rooms", &[]).contains("#ops  0"));
    let refused = run(&mut command(&chatd, "send", &["nobody", "psst"]), b"");
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.ends_with("(no-such-nick)\n"), "{refused:?}");
}

#[test]
fn history_has_as_many_messages_as_requested() {
    let chatd = chatd();
    let lines: String = (0..2500).map(|n| format!("m{n}\n")).collect();
    let output = run(
        &mut chatc(&[&chatd.address.to_string(), "--room", "ops"]),
        lines.as_bytes(),
    );
    assert_eq!(output.code, Some(0));
    for part in [
        &["--count", "2500"][..],
        &["--count", "9999"],
        &["--after", "0", "--count", "9999"],
    ] {
        let args: Vec<&str> = [&["ops"], part].concat();
        let history = done(&chatd, "history", &args);
        let expected: Vec<String> = (0..2500).map(|n| format!("<ann> m{n}")).collect();
        assert_eq!(texts(&history), expected, "{part:?}");
    }
}

#[test]
fn a_file_and_a_dash_are_one_message_of_several_lines() {
    let chatd = chatd();
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace.txt");
    fs::write(&trace, "it broke:\r\n\n  at main.c:12\nBYE\n\n").expect("it can be written");
    let from_file = |args: &[&str]| {
        let file = fs::File::open(&trace).expect("it is there");
        let mut send = command(&chatd, "send", args);
        let ended = send.stdin(file).output().expect("chatc");
        assert!(ended.status.success(), "{ended:?}");
    };
    from_file(&["#ops"]);
    // Nobody has the nick ops.
    from_file(&["ops"]);
    let id = |line: &str| {
        line.split("\"id\":")
            .nth(1)
            .unwrap()
            .split(',')
            .next()
            .unwrap()
            .to_owned()
    };
    let log = done(&chatd, "history", &["ops", "--json"]);
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 8, "{log}");
    let first = id(lines[0]);
    assert!(lines[0].contains("\"lines\":\"4\""), "{log}");
    assert!(
        lines[1..4]
            .iter()
            .all(|line| line.contains(&format!("\"of\":\"{first}\""))),
        "{log}"
    );
    let ended = run(
        &mut command(&chatd, "send", &["--reply", &first, "ops", "-"]),
        b"a\nb\n",
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // Each line of a pipe is a message, as soon as it arrives.
    let ended = run(&mut command(&chatd, "send", &["#ops"]), b"c\n\nd\n");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let log = done(&chatd, "history", &["ops", "--json", "--count", "4"]);
    let lines: Vec<&str> = log.lines().collect();
    assert!(
        lines[0].contains("\"lines\":\"2\"") && lines[0].contains("\"reply\""),
        "{log}"
    );
    assert!(lines[1].contains("\"of\""), "{log}");
    assert!(
        !lines[2].contains("tags") && !lines[3].contains("tags"),
        "{log}"
    );
    // A file that is too long for one message is sent line by line; standard input named as `-` is refused
    // then.
    fs::write(&trace, "x\n".repeat(1001)).expect("it can be written");
    from_file(&["#long"]);
    let log = done(&chatd, "history", &["long", "--json", "--count", "2000"]);
    assert_eq!(log.lines().count(), 1001);
    assert!(!log.contains("\"of\""));
    let long = run(
        &mut command(&chatd, "send", &["#long", "-"]),
        &b"x\n".repeat(1001),
    );
    assert_eq!(long.code, Some(1), "{long:?}");
    assert!(long.stderr.contains("send it as a file"), "{long:?}");
    // The same holds for a text that would fit only without its colors, and no line of it is lost.
    let colors = "\x1b[31m\x1b[0m\x1b[31m\x1b[0m";
    let colored = format!("{colors}{}\n", "x".repeat(60)).repeat(900) + "last\n";
    fs::write(&trace, &colored).expect("it can be written");
    from_file(&["#colored"]);
    let log = done(&chatd, "history", &["colored", "--count", "1"]);
    assert!(log.trim_end().ends_with("last"), "{log}");
    let long = run(
        &mut command(&chatd, "send", &["#colored", "-"]),
        colored.as_bytes(),
    );
    assert_eq!(long.code, Some(1), "{long:?}");
    assert!(long.stderr.contains("send it as a file"), "{long:?}");
    // Nothing is sent for a file of empty lines.
    fs::write(&trace, "\n \n").expect("it can be written");
    from_file(&["#long"]);
}

#[test]
fn tail_prints_old_and_new_messages() {
    let chatd = chatd();
    done(&chatd, "send", &["#ops", "before"]);
    let mut now = Running::start(&mut command(&chatd, "tail", &["ops"]));
    let mut hour = Running::start(&mut command(
        &chatd,
        "tail",
        &["ops", "lobby", "--since", "1h", "--json"],
    ));
    assert!(hour.line().contains("\"text\":\"before\""));
    let mut all = Running::start(&mut command(&chatd, "tail", &["#ops", "--since", "0"]));
    assert!(all.line().ends_with("<ann> before\n"));
    // The second reader began later, so once it has the message, the first one is reading too.
    done(&chatd, "send", &["#lobby", "hello"]);
    let line = hour.line();
    assert!(
        line.contains("\"room\":\"#lobby\"") && line.contains("\"type\":\"msg\""),
        "{line}"
    );
    let (mut tries, end) = (0, Instant::now() + DEADLINE);
    // It prints nothing when it is ready, so messages are sent until it has printed one.
    let first = loop {
        tries += 1;
        done(&chatd, "send", &["#ops", &format!("live {tries}")]);
        if now.has_output() {
            break now.line();
        }
        assert!(Instant::now() < end, "nothing after {tries} messages");
    };
    assert!(first.contains("<ann> live "), "{first}");
    assert!(all.line().ends_with("<ann> live 1\n"));
    // Readers without a nick are not seen.
    assert_eq!(done(&chatd, "who", &["ops"]), "");
}

#[test]
fn chatc_tail_ends_when_its_reader_closes_the_pipe() {
    let chatd = chatd();
    let lines: String = (0..100).map(|n| format!("m{n}\n")).collect();
    run(
        &mut chatc(&[&chatd.address.to_string(), "--room", "ops"]),
        lines.as_bytes(),
    );
    let script = format!(
        "set -o pipefail; {} tail ops --since 0 --host {} | head -3",
        env!("CARGO_BIN_EXE_chatc"),
        chatd.address
    );
    // It detects that its reader has gone, although no more messages arrive.
    let ended = run(
        Command::new("bash")
            .args(["-c", &script])
            .env("HOME", "/dev/null"),
        b"",
    );
    assert_eq!(
        (ended.code, ended.stdout.lines().count()),
        (Some(0), 3),
        "{ended:?}"
    );
}

#[test]
fn a_hundred_thousand_lines_are_sent_in_order() {
    let chatd = chatd();
    let mut watcher = Running::start(&mut command(
        &chatd,
        "tail",
        &["ops", "--since", "0", "--json"],
    ));
    let script = format!(
        "seq 100000 | {} --nick n --room ops {}",
        env!("CARGO_BIN_EXE_chatc"),
        chatd.address
    );
    let sender = Running::start(
        Command::new("bash")
            .args(["-c", &script])
            .env("HOME", "/dev/null"),
    );
    for n in 1..=100_000 {
        let line = watcher.line();
        assert!(line.contains(&format!("\"text\":\"{n}\"")), "{n}: {line}");
    }
    assert_eq!(sender.finish().code, Some(0));
}

#[test]
fn a_tail_outlives_its_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let data = folder.path().to_str().expect("UTF-8");
    let flags: Vec<String> = ["--data", data, "--listen", &address]
        .map(str::to_owned)
        .into();
    let start = || Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags).expect("chatd");
    let first = start();
    let mut tail = Running::start(&mut chatc(&[
        "tail", "ops", "--since", "0", "--host", &address,
    ]));
    done(&first, "send", &["#ops", "one"]);
    assert!(tail.line().ends_with("<ann> one\n"));
    drop(first);
    let second = start();
    done(&second, "send", &["#ops", "two"]);
    assert!(tail.line().ends_with("<ann> two\n"));
}

#[test]
fn the_output_of_a_command_is_posted_to_a_room() {
    let chatd = chatd();
    let ended = run(
        &mut command(
            &chatd,
            "run",
            &[
                "--room",
                "ops",
                "--",
                "sh",
                "-c",
                "echo out; echo err >&2; exit 7",
            ],
        ),
        b"",
    );
    assert_eq!(
        (ended.code, &ended.stdout[..]),
        (Some(7), "out\nerr\n"),
        "{ended:?}"
    );
    let history = done(&chatd, "history", &["ops"]);
    let sent = texts(&history);
    assert!(
        sent.iter()
            .any(|line| line.starts_with("<ann> started: sh -c echo out")),
        "{sent:?}"
    );
    let last = sent.last().expect("it ended");
    assert!(
        last.contains(" failed with code 7 after 0.") && last.contains("/download "),
        "{last}"
    );
    let id = last.rsplit(' ').next().expect("the file");
    assert_eq!(done(&chatd, "download", &[id, "--out", "-"]), "out\nerr\n");
    let missing = run(
        &mut command(&chatd, "run", &["--", "/no/such/program"]),
        b"",
    );
    assert_eq!(missing.code, Some(127), "{missing:?}");
    assert!(
        missing.stderr.contains("cannot start /no/such/program"),
        "{missing:?}"
    );
}

#[test]
fn a_bot_answers_and_is_restarted_when_it_ends() {
    let chatd = chatd();
    let bot = "while read -r verb room nick text; do case $text in die) exit 3;; ping*) echo \"TELL $room pong ${text#ping }\";; esac; done";
    let bot = Running::start(&mut command(
        &chatd,
        "bot",
        &["--nick", "robot", "#ops", "--", "sh", "-c", bot],
    ));
    let mut ann = Running::start(&mut chatc(&[&chatd.address.to_string(), "--room", "ops"]));
    let mut tries = 0;
    // The room does not exist before one of them has joined it.
    let here = || run(&mut command(&chatd, "who", &["ops"]), b"").stdout;
    while here().lines().count() < 2 {
        tries += 1;
        assert!(tries < 1000, "the bot does not come");
    }
    ann.write(b"ping 1\n");
    assert!(ann.line().contains("<robot> pong 1"));
    // The next run reads what was sent while the bot was dead.
    ann.write(b"die\nping 2\n");
    assert!(ann.line().contains("<robot> pong 2"));
    assert_eq!(ann.finish().code, Some(0));
    drop(bot);
}

/// After a bot has sent `JOIN`, its messages go to the room of that `JOIN`, even if the `JOIN` is refused or not answered
/// yet.
#[test]
fn what_a_bot_says_after_a_join_goes_to_no_other_room() {
    let chatd = chatd();
    let mut ann = chatd.peer();
    ann.ask("JOIN #ops", "OK JOIN #ops 0");
    let says = "printf 'JOIN #no/room\nMSG secret\nME hides\nTELL #ops done\nJOIN #tea\nMSG milk\nPART #tea\nMSG back\n'; cat > /dev/null";
    let bot = Running::start(&mut command(
        &chatd,
        "bot",
        &["--nick", "robot", "--room", "ops", "--", "sh", "-c", says],
    ));
    ann.expect("MSG #ops robot done");
    ann.expect("MSG #ops robot back");
    drop(bot);
}

/// Protocol.md 4.35: a program does not answer a notice, and bots send notices.
#[test]
fn two_bots_do_not_answer_each_other_and_a_third_reads_them_if_it_asks() {
    let chatd = chatd();
    let answer = "while read -r verb room nick text; do case $text in ping*) echo \"MSG ping by $0\";; end) echo \"@x-a=1 TELL $room done $0\";; esac; done";
    let bot = |nick: &'static str, more: &[&str], program: &str| {
        let args = [
            &["--nick", nick, "--room", "ops"],
            more,
            &["--", "sh", "-c", program, nick],
        ];
        Running::start(&mut command(&chatd, "bot", &args.concat()))
    };
    let reader = "while read -r verb room nick text; do [ \"$text\" = \"done b\" ] && echo \"TELL #ops read $nick\"; done";
    let _bots = [
        bot("a", &[], answer),
        bot("b", &[], answer),
        bot("c", &["--notices"], reader),
    ];
    let end = Instant::now() + DEADLINE;
    while run(&mut command(&chatd, "who", &["ops"]), b"")
        .stdout
        .lines()
        .count()
        < 3
    {
        assert!(Instant::now() < end, "the bots do not come");
    }
    let mut tail = Running::start(&mut command(
        &chatd,
        "tail",
        &["ops", "--since", "0", "--json"],
    ));
    let mut lines = Vec::new();
    let mut until = |texts: &[&str]| {
        let mut missing = texts.to_vec();
        while !missing.is_empty() {
            let line = tail.line();
            let text = line
                .split("\"text\":\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next());
            missing.retain(|wanted| Some(*wanted) != text);
            lines.push(line);
        }
    };
    done(&chatd, "send", &["#ops", "ping"]);
    until(&["ping by a", "ping by b"]);
    done(&chatd, "send", &["#ops", "end"]);
    until(&["done a", "done b", "read b"]);
    let of_bots: Vec<&String> = lines
        .iter()
        .filter(|line| line.contains("\"type\":\"msg\"") && !line.contains("\"nick\":\"ann\""))
        .collect();
    assert_eq!(of_bots.len(), 5, "{lines:#?}");
    assert!(
        of_bots.iter().all(|line| line.contains("\"notice\":\"\"")),
        "{of_bots:#?}"
    );
    assert_eq!(
        of_bots
            .iter()
            .filter(|line| line.contains("\"x-a\":\"1\""))
            .count(),
        2,
        "{of_bots:#?}"
    );
}

#[test]
fn settings_name_servers_and_passwords_come_from_files() {
    let chatd = chatd();
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join(".config/chatc");
    fs::create_dir_all(&folder).expect("it can be made");
    fs::write(folder.join("password"), "my secret\nanother line\n").expect("it can be written");
    let settings = format!(
        "server = 'work'\nnick = 'zoe'\n[servers.work]\naddress = '{}'\npassword-file = '~/.config/chatc/password'\n",
        chatd.address
    );
    fs::write(folder.join("settings.toml"), settings).expect("it can be written");
    let ended = run(
        chatc(&["send", "#ops", "hello"]).env("HOME", home.path()),
        b"",
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let history = done(&chatd, "history", &["ops"]);
    assert_eq!(texts(&history), ["<zoe> hello"]);
    // A connection holds the nick with that password, so that only a client with the password can share it.
    let host = chatd.address.to_string();
    let mut held = Running::start(chatc(&[&host, "--raw"]).env("HOME", home.path()));
    held.write(b"NICK zoe my secret\n");
    assert!(held.line().starts_with("OK NICK zoe"));
    let send = |password: &str| {
        run(
            chatc(&["send", "--host", &host, "--nick", "zoe", "#ops", "x"])
                .env("CHATC_PASSWORD", password),
            b"",
        )
        .code
    };
    assert_eq!((send("my secret"), send("a guess")), (Some(0), Some(1)));
    fs::write(folder.join("settings.toml"), "bel = true\n").expect("it can be written");
    let wrong = run(chatc(&["rooms"]).env("HOME", home.path()), b"");
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(
        wrong
            .stderr
            .contains("settings.toml:1: unknown field `bel`"),
        "{wrong:?}"
    );
}

#[test]
fn a_server_with_a_password_is_opened_from_the_environment_or_the_settings() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join(".config/chatc");
    fs::create_dir_all(&folder).expect("it can be made");
    fs::write(folder.join("door"), "open sesame\n").expect("it can be written");
    let door = folder.join("door").display().to_string();
    let flags = ["--password-file", &door].map(str::to_owned);
    let chatd = Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags).expect("chatd");
    let with = |word: &str, args: &[&str], password: &str| {
        let mut command = command(&chatd, word, args);
        run(command.env("CHATC_SERVER_PASSWORD", password), b"")
    };
    let shut = with("rooms", &[], "");
    assert_eq!(shut.code, Some(1), "{shut:?}");
    assert!(shut.stderr.contains("CHATC_SERVER_PASSWORD"), "{shut:?}");
    // chatc does not try one nick after the other when the server's password is missing.
    let shut = run(&mut chatc(&[&chatd.address.to_string()]), b"hello\n");
    assert!(shut.stderr.contains("CHATC_SERVER_PASSWORD"), "{shut:?}");
    assert_eq!(with("rooms", &[], "a guess").code, Some(1));
    for (word, args) in [
        ("send", &["#ops", "hello"][..]),
        ("upload", &["--room", "ops", &door]),
        ("run", &["--room", "ops", "--", "true"]),
    ] {
        let ended = with(word, args, "open sesame");
        assert_eq!(ended.code, Some(0), "{word}: {ended:?}");
    }
    let settings = format!(
        "server = 'work'\n[servers.work]\naddress = '{}'\nserver-password-file = '~/.config/chatc/door'\n",
        chatd.address
    );
    fs::write(folder.join("settings.toml"), settings).expect("it can be written");
    let mut tail = Running::start(chatc(&["tail", "ops", "--since", "0"]).env("HOME", home.path()));
    assert!(tail.line().contains("> hello"));
    let output = run(
        chatc(&["--room", "ops"]).env("HOME", home.path()),
        b"piped\n",
    );
    assert_eq!(output.code, Some(0), "{output:?}");
}

#[test]
fn several_files_are_fetched_at_once() {
    let chatd = chatd();
    let (from, to) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let names: Vec<String> = (0..9).map(|n| format!("f{n}")).collect();
    for name in &names {
        fs::write(from.path().join(name), name.repeat(100_000)).expect("it can be written");
    }
    let mut upload = vec!["--room", "ops"];
    upload.extend(names.iter().map(String::as_str));
    let sent = run(
        command(&chatd, "upload", &upload).current_dir(from.path()),
        b"",
    );
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let mut ids: Vec<&str> = sent
        .stdout
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    ids.push("1");
    let got: Ended = run(
        command(&chatd, "download", &ids).current_dir(to.path()),
        b"",
    );
    assert_eq!(
        (got.code, got.stdout.lines().count()),
        (Some(1), 9),
        "{got:?}"
    );
    assert!(
        got.stderr.starts_with("chatc: 1: ") && got.stderr.contains("there is no such file"),
        "{got:?}"
    );
    for name in &names {
        assert_eq!(
            fs::read(to.path().join(name)).expect("it is there"),
            name.repeat(100_000).as_bytes()
        );
    }
}

#[test]
fn shells_and_man_accept_the_completions_and_the_manual() {
    for (shell, check) in [
        ("bash", "bash -n"),
        ("zsh", "cat"),
        ("fish", "cat"),
        ("nushell", "cat"),
    ] {
        let printed = run(&mut chatc(&["completions", shell]), b"");
        assert_eq!(printed.code, Some(0));
        for word in ["tail", "--since", "upload", "--password-file"] {
            assert!(
                printed.stdout.contains(word.trim_start_matches('-')),
                "{shell} knows no {word}"
            );
        }
        let read = run(
            Command::new("sh").args(["-c", check]),
            printed.stdout.as_bytes(),
        );
        assert_eq!(read.code, Some(0), "{shell}: {read:?}");
    }
    assert_eq!(run(&mut chatc(&["completions", "tcsh"]), b"").code, Some(2));
    // The completions that bash makes of it.
    let script = format!(
        "source <({} completions bash); COMP_WORDS=(chatc tail --s); COMP_CWORD=2; _chatc; echo \"${{COMPREPLY[@]}}\"",
        env!("CARGO_BIN_EXE_chatc")
    );
    let found = run(Command::new("bash").args(["-c", &script]), b"");
    assert_eq!(found.stdout.trim(), "--since", "{found:?}");
    assert!(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/cli/golden/chatc-manual.txt")
            .exists()
    );
}

/// Returns an example that `cargo test` has built beside the programs.
fn example(name: &str) -> Command {
    let path = Path::new(env!("CARGO_BIN_EXE_chatc"))
        .with_file_name("examples")
        .join(name);
    assert!(
        path.exists(),
        "for one test alone, `cargo build --example {name}`"
    );
    Command::new(path)
}

#[test]
fn the_watching_bot_posts_to_another_room() {
    let chatd = chatd();
    let host = chatd.address.to_string();
    let bot = Running::start(example("watch").args([&host, "ops", "alerts", "disk", "fire"]));
    let mut tries = 0;
    while !done(&chatd, "who", &["lobby"]).is_empty()
        || !run(&mut command(&chatd, "who", &["ops"]), b"")
            .stdout
            .contains("watch")
    {
        tries += 1;
        assert!(tries < 1000, "the bot does not come");
    }
    let mut alerts = Running::start(&mut command(&chatd, "tail", &["alerts", "--since", "0"]));
    done(&chatd, "send", &["#ops", "all is well"]);
    done(&chatd, "send", &["#ops", "the Disk is full"]);
    assert!(
        alerts
            .line()
            .ends_with("<watch> #ops ann: the Disk is full\n")
    );
    drop(bot);
}

#[test]
fn the_alert_bot_prints_who_takes_an_alert() {
    let chatd = chatd();
    let host = chatd.address.to_string();
    let mut bot = Running::start(example("alert").args([&host, "ops"]));
    let mut tail = Running::start(&mut command(
        &chatd,
        "tail",
        &["ops", "--since", "0", "--json"],
    ));
    bot.write(b"critical db1 the disk is full\nnonsense\nwarning web;2 slow  answers\n");
    let mut ids = Vec::new();
    for (severity, source, text) in [
        ("critical", "db1", "critical: db1: the disk is full"),
        ("warning", "web;2", "warning: web;2: slow  answers"),
    ] {
        let line = loop {
            let line = tail.line();
            if line.contains("\"type\":\"msg\"") {
                break line;
            }
        };
        let tags =
            format!(r#""tags":{{"notice":"","x-severity":"{severity}","x-source":"{source}"}}"#);
        assert!(line.contains(&tags) && line.contains(text), "{line}");
        let id = line
            .split("\"id\":")
            .nth(1)
            .and_then(|rest| rest.split(',').next());
        ids.push(id.expect("an id").to_owned());
    }
    let react = |nick: &str, lines: &str| {
        let lines = format!("NICK {nick}\nPART\nJOIN ops\n{lines}\nBYE\n");
        let raw = run(&mut chatc(&[&host, "--raw"]), lines.as_bytes());
        assert_eq!(raw.code, Some(0), "{raw:?}");
    };
    let (first, second) = (&ids[0], &ids[1]);
    // Another reaction does not take the alert.
    react("ann", &format!("REACT {first} 👀\nREACT {first} 👍"));
    assert_eq!(bot.line(), "ann takes db1: the disk is full\n");
    react("ann", &format!("UNREACT {first} 👍"));
    assert_eq!(bot.line(), "ann gives back db1: the disk is full\n");
    react("bob", &format!("REACT {second} 👍\nREACT {first} 👍"));
    assert_eq!(bot.line(), "bob takes web;2: slow  answers\n");
    assert_eq!(bot.line(), "bob takes db1: the disk is full\n");
    // The input has ended and every alert is taken.
    let ended = bot.finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("not \"nonsense\""), "{ended:?}");
}

#[test]
fn the_archiving_bot_fetches_what_it_has_missed() {
    let chatd = chatd();
    let host = chatd.address.to_string();
    let (from, to) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    fs::write(from.path().join("a b.txt"), "hello\n").expect("it can be written");
    let sent = run(
        command(&chatd, "upload", &["--room", "ops", "a b.txt"]).current_dir(from.path()),
        b"",
    );
    let id = sent
        .stdout
        .split(' ')
        .next()
        .expect("its number")
        .to_owned();
    let archive = || {
        let mut archive = example("archive");
        archive.args([&host, "ops"]).arg(to.path());
        Running::start(&mut archive)
    };
    let mut bot = archive();
    assert_eq!(bot.line(), format!("{id} 6 a b.txt\n"));
    assert_eq!(
        fs::read(to.path().join(format!("{id}-a b.txt"))).expect("it is there"),
        b"hello\n"
    );
    drop(bot);
    let sent = run(
        &mut command(&chatd, "upload", &["--room", "ops", "--name", "c", "-"]),
        b"piped",
    );
    let id = sent
        .stdout
        .split(' ')
        .next()
        .expect("its number")
        .to_owned();
    assert_eq!(archive().line(), format!("{id} 5 c\n"));
}

#[test]
fn upload_and_search_take_the_room_as_a_word_with_a_number_sign() {
    let chatd = chatd();
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("notes"), "some notes").expect("it can be written");
    fs::write(folder.path().join("#2"), "a file, not a room").expect("it can be written");
    let here = |word: &str, args: &[&str]| {
        run(command(&chatd, word, args).current_dir(folder.path()), b"")
    };
    for args in [["notes", "#ops"], ["#ops", "#2"]] {
        let sent = here("upload", &args);
        assert_eq!(sent.code, Some(0), "{args:?}: {sent:?}");
    }
    let listed = here("files", &["ops"]);
    let names = listed
        .stdout
        .lines()
        .filter_map(|line| line.split("  ").last());
    assert_eq!(names.collect::<Vec<_>>(), ["notes", "#2"], "{listed:?}");
    let found = here("search", &["#ops", "notes"]);
    assert!(found.stdout.contains("notes"), "{found:?}");
    let found = here("search", &["notes"]);
    assert_eq!(found.stdout, "", "the lobby has no notes: {found:?}");
}
