//! protocol.md 10.2: each script of `examples/`, run against a real `chatd` as its first lines say.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::time::Instant;

use crate::support::inbox::DEADLINE;
use crate::support::server::Chatd;
use crate::support::spawn::{Peer, Program};

/// A member that receives everything in the room.
fn in_room(chatd: &Chatd, nick: &str, room: &str) -> Peer {
    let mut peer = chatd.peer();
    peer.ask(&format!("JOIN {room}"), &format!("OK JOIN {room} <id>"));
    peer.ask(
        &format!("NICK {nick}"),
        &format!("OK NICK {nick} {room} <id>"),
    );
    peer
}

fn next_message(peer: &mut Peer) -> String {
    peer.inbox.find(|line| line.starts_with("MSG "))
}

/// Waits until all `nicks` are in `room`, as reported to `peer`.
fn wait_for(peer: &mut Peer, room: &str, nicks: &[&str]) {
    let mut missing: Vec<String> = nicks.iter().map(|n| format!("JOIN {room} {n}")).collect();
    while !missing.is_empty() {
        let line = peer.inbox.line();
        missing.retain(|joined| *joined != line);
    }
}

/// Announces joins at once, so that a test knows when a bot is there.
const AT_ONCE: [&str; 2] = ["--announce-after", "1ms"];

fn a_dice_bot_rolls(start: &str) {
    let chatd = Chatd::with(&AT_ONCE);
    let mut alice = in_room(&chatd, "alice", "#games");
    let bot = chatd.client(&format!("ROOM=games {start}"));
    wait_for(&mut alice, "#games", &["dice"]);

    alice.ask("MSG roll", "OK MSG <id> <time>");
    let message = next_message(&mut alice);
    let n = message
        .strip_prefix("MSG #games dice alice: ")
        .expect("a roll");
    assert!((1..=6).contains(&n.parse().unwrap()), "{message}");

    alice.ask("MSG roll 3d6", "OK MSG <id> <time>");
    let message = next_message(&mut alice);
    let sum = message
        .strip_prefix("MSG #games dice alice: ")
        .expect("a roll");
    let (parts, sum) = sum.split_once(" = ").expect("a sum");
    let parts: Vec<u32> = parts.split(" + ").map(|n| n.parse().unwrap()).collect();
    assert_eq!(parts.len(), 3, "{message}");
    assert_eq!(
        parts.iter().sum::<u32>(),
        sum.parse::<u32>().unwrap(),
        "{message}"
    );

    alice.ask("TELL dice roll 1d1", "OK TELL - <time>");
    assert_eq!(next_message(&mut alice), "MSG alice dice 1");

    // The shell computes with text from a stranger, which must be checked to be numbers first.
    for hostile in [
        "roll x[$(id)]d6",
        "roll 08",
        "roll -1",
        "roll 1d0",
        "roll 99999999999",
    ] {
        alice.ask(&format!("MSG {hostile}"), "OK MSG <id> <time>");
        assert_eq!(
            next_message(&mut alice),
            "MSG #games dice alice: try \"roll 3d6\", at most 20d999"
        );
    }
    drop(bot);
}

#[test]
fn dice_rolls_on_socat() {
    a_dice_bot_rolls("socat TCP:$HOST:$PORT EXEC:examples/dice.sh");
}

#[test]
fn dice_rolls_on_nc_with_a_fifo() {
    a_dice_bot_rolls("examples/dice-nc.sh");
}

#[test]
fn dice_ends_when_its_nick_is_taken() {
    let chatd = Chatd::start();
    let _other = chatd.member("dice");
    for start in [
        "socat TCP:$HOST:$PORT EXEC:examples/dice.sh",
        "examples/dice-nc.sh",
    ] {
        let ended = chatd.client(start).finish();
        assert!(ended.errors.contains("nick-taken"), "{ended:?}");
    }
}

#[test]
fn watch_prints_messages_with_its_word_and_is_not_listed() {
    let chatd = Chatd::start();
    let mut alice = in_room(&chatd, "alice", "#ops");
    let mut watch = chatd.client("examples/watch.sh 'Deploy -e' ops");
    watch.end_input();
    // It joins without a nick, so nobody sees when it is ready: the message is repeated until it prints one.
    let end = Instant::now() + DEADLINE;
    while !watch.inbox.has_more() {
        assert!(Instant::now() < end, "it never printed anything");
        alice.ask("MSG deploy -e", "OK MSG <id> <time>");
    }
    alice.ask("MSG nothing of that", "OK MSG <id> <time>");
    alice.ask(r"MSG the DEPLOY -E  ended \n", "OK MSG <id> <time>");
    let line = watch.inbox.find(|line| !line.ends_with(" deploy -e"));
    assert_eq!(line, r"MSG #ops alice the DEPLOY -E  ended \n");
    alice.ask("WHO", "USER #ops alice");
    alice.expect("OK WHO 1");
}

#[test]
fn tail_log_sends_every_line_and_executes_none() {
    let chatd = Chatd::start();
    let mut alice = in_room(&chatd, "alice", "#ops");
    let log = tempfile::NamedTempFile::new().expect("a writable /tmp");
    let long = "ö".repeat(2500);
    let mut lines = b"BYE\n\n  indented \\n line\nb\xffad \xc3\xa9\n\x1b[31m\n".to_vec();
    lines.extend_from_slice(format!("{long}\n").as_bytes());
    fs::write(log.path(), &lines).unwrap();
    let command = format!(
        "LINES_BEFORE=+1 NICK=web1 examples/tail-log.sh {} ops",
        log.path().display()
    );
    let mut tail = chatd.client(&command);
    for text in ["BYE", r"  indented \n line", "b?ad ??"] {
        assert_eq!(next_message(&mut alice), format!("MSG #ops web1 {text}"));
    }
    for length in [1000, 1000, 500] {
        let piece = "ö".repeat(length);
        assert_eq!(next_message(&mut alice), format!("MSG #ops web1 {piece}"));
    }
    // From here on it follows the file.
    for n in 0..500 {
        let mut line = fs::OpenOptions::new()
            .append(true)
            .open(log.path())
            .unwrap();
        std::io::Write::write_all(&mut line, format!("line {n}\n").as_bytes()).unwrap();
    }
    for n in 0..500 {
        assert_eq!(next_message(&mut alice), format!("MSG #ops web1 line {n}"));
    }
    assert!(tail.is_running());
}

#[test]
fn the_exit_code_of_post_shows_whether_the_message_was_saved() {
    let chatd = Chatd::start();
    let mut alice = in_room(&chatd, "alice", "#ops");
    let ended = chatd
        .client(r"NICK=ci examples/post.sh ops 'two  spaces \n' $'\nBYE'")
        .finish();
    assert_eq!(
        (ended.code, &ended.output[..]),
        (Some(0), &b""[..]),
        "{ended:?}"
    );
    assert_eq!(next_message(&mut alice), r"MSG #ops ci two  spaces \n  BYE");

    for refused in [
        "NICK=alice examples/post.sh ops hi",
        "NICK=ci examples/post.sh ops ''",
    ] {
        let ended = chatd.client(refused).finish();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.errors.contains("not kept: ERR "), "{ended:?}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let ended = Program::start("NICK=ci examples/post.sh ops hi", address).finish();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(chatd.client("examples/post.sh ops").finish().code, Some(2));
}

#[test]
fn upload_and_download_keep_every_byte_and_the_name() {
    let chatd = Chatd::start();
    let mut alice = in_room(&chatd, "alice", "#ops");
    let folder = tempfile::tempdir().expect("a writable /tmp");
    let path = folder.path().join("-my *notes.bin");
    let bytes: Vec<u8> = (0..300_000_u32)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    fs::write(&path, &bytes).unwrap();

    let ended = chatd
        .client(&format!(
            "NICK=up examples/upload.sh '{}' ops",
            path.display()
        ))
        .finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let number = String::from_utf8(ended.output).unwrap().trim().to_owned();
    let line = alice.inbox.find(|line| line.starts_with("FILE "));
    assert_eq!(line, format!("FILE #ops up {number} 300000 -my *notes.bin"));

    fs::remove_file(&path).unwrap();
    let examples = std::env::current_dir().unwrap().join("examples");
    let fetch = |arguments: &str| {
        let (folder, examples) = (folder.path().display(), examples.display());
        let command = format!("cd {folder} && '{examples}/download.sh' {arguments}");
        chatd.client(&command).finish()
    };
    let ended = fetch(&number);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.lines(), ["./-my *notes.bin"]);
    assert!(fs::read(&path).unwrap() == bytes);

    let ended = fetch(&number);
    assert_eq!(ended.code, Some(1), "it is there already: {ended:?}");
    let ended = fetch(&format!("{number} other"));
    assert_eq!(ended.lines(), ["other"], "{ended:?}");
    assert!(fs::read(folder.path().join("other")).unwrap() == bytes);
    let ended = fetch("1 none");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("no-such-file"), "{ended:?}");
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        2,
        "nothing half is left"
    );

    let ended = chatd
        .client("NICK=alice examples/upload.sh Cargo.toml ops")
        .finish();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("nick-taken"), "{ended:?}");
}

#[test]
fn bridges_work_in_both_directions_and_do_not_loop() {
    let chatd = Chatd::with(&AT_ONCE);
    let mut alice = in_room(&chatd, "alice", "#ops");
    let mut bob = in_room(&chatd, "bob", "#dev");
    let start = "socat TCP:$HOST:$PORT EXEC:examples/bridge.sh";
    // Rooms are named as their creators spelled them, whatever the arguments of the bridge were.
    let _one = chatd.client(&format!("NICK=bridge1 A=OPS B='#dev' {start}"));
    let _two = chatd.client(&format!("NICK=bridge2 A=dev B=ops {start}"));
    wait_for(&mut alice, "#ops", &["bridge1", "bridge2"]);
    wait_for(&mut bob, "#dev", &["bridge1", "bridge2"]);
    alice.ask(r"MSG <a>  $(id) \n  b ", "OK MSG <id> <time>");
    // There are two bridges, so it arrives twice, and not a third time before the next message.
    for _ in 0..2 {
        let message = next_message(&mut bob);
        let (_, text) = message.split_once(" <alice> ").expect("who said it");
        assert_eq!(text, r"<a>  $(id) \n  b ");
    }
    bob.ask("MSG back", "OK MSG <id> <time>");
    for _ in 0..2 {
        let message = next_message(&mut alice);
        assert!(message.ends_with(" <bob> back"), "{message}");
    }
    for peer in [&mut alice, &mut bob] {
        peer.send("PING end\n");
        let line = peer
            .inbox
            .find(|line| line.starts_with("MSG ") || line == "OK PING end");
        assert_eq!(line, "OK PING end", "it went round");
    }
}

/// Takes one request over HTTP, answers it with `status`, and returns its body.
fn take_request(listener: &TcpListener, status: &str) -> serde_json::Value {
    let (stream, _) = listener.accept().expect("a request");
    stream.set_read_timeout(Some(DEADLINE)).expect("not zero");
    let mut reader = BufReader::new(&stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a head");
        let line = line.to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        } else if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    write!(
        &stream,
        "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .expect("it reads");
    serde_json::from_slice(&body).expect("JSON")
}

#[test]
fn a_room_is_forwarded_to_a_url_without_a_gap_or_a_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("id");
    let chatd = Chatd::start();
    let mut alice = in_room(&chatd, "alice", "#ops");
    alice.ask("MSG before the first start", "OK MSG <id> <time>");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let start = format!(
        "NOT=bridge STATE={} examples/pass-on.sh ops {url}",
        state.display()
    );
    let text = |status: &str| take_request(&listener, status)["text"].clone();

    let first = chatd.client(&start);
    let end = Instant::now() + DEADLINE;
    while !state.exists() {
        assert!(Instant::now() < end, "it does not start");
    }
    alice.ask(r#"MSG one "quoted" \ $(id)"#, "OK MSG <id> <time>");
    let mut bridge = in_room(&chatd, "bridge", "#ops");
    bridge.ask("MSG not back to where it came from", "OK MSG <id> <time>");
    alice.expect("MSG #ops bridge not back to where it came from");
    let posted = take_request(&listener, "503 Unavailable");
    assert_eq!(posted["text"], r#"one "quoted" \ $(id)"#);
    assert_eq!(
        (&posted["channel_name"], &posted["user_name"]),
        (&"ops".into(), &"alice".into())
    );
    assert_eq!(
        take_request(&listener, "200 OK"),
        posted,
        "it is posted again"
    );
    for (text_of_message, status) in [
        ("two", "404 Not Found"),
        ("three", "200 OK"),
        ("four", "200 OK"),
    ] {
        alice.ask(&format!("MSG {text_of_message}"), "OK MSG <id> <time>");
        assert_eq!(text(status), text_of_message);
    }
    alice.ask("MSG five", "OK MSG <id> <time>");
    // It is killed while it waits to post this again.
    assert_eq!(text("500 Oops"), "five");
    drop(first);
    alice.ask("MSG six", "OK MSG <id> <time>");
    let _again = chatd.client(&start);
    assert_eq!(text("200 OK"), "five");
    assert_eq!(text("200 OK"), "six");
}
