//! protocol.md 2, chatd.md 1: the resources that the server uses for a client that has stopped reading, for a thousand
//! idle connections, and for large files.
//!
//! `tests/run` runs this again for the figures, with the release build (`CHATD`), `--nocapture`, and larger files
//! (`SOAK_MIB`).

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use crate::support::carriers::Frames;
use crate::support::inbox::DEADLINE;
use crate::support::server::Chatd;
use crate::support::socket::unconnected;
use crate::support::spawn::allow_many_connections;
use rustix::net::{connect, sockopt};

const MIB: u64 = 1 << 20;

#[test]
fn a_stopped_reader_delays_nobody_takes_no_memory_and_misses_nothing() {
    // What is held for the reader: the log's tail, SQLite's page caches and the kernel's buffer on the
    // server's side are full after this.
    const FIRST: usize = 16_000;
    const ROUND: usize = 8_000;
    const ROUNDS: usize = 5;
    const WINDOW: usize = 100;
    // With a data folder, the events that it misses are in the log, and not in memory.
    let folder = tempfile::tempdir().expect("a writable /tmp");
    let folder = folder.path().display().to_string();
    let chatd = Chatd::with(&["--data", &folder, "--announce-after", "1h"]);
    let mut stopped = narrow(chatd.address);
    stopped.set_read_timeout(Some(DEADLINE)).expect("not zero");
    stopped.write_all(b"JOIN #lobby\n").expect("it reads");
    let mut stopped = BufReader::new(stopped);
    let mut line = String::new();
    stopped.read_line(&mut line).expect("its reply");
    assert!(line.starts_with("OK JOIN #lobby "), "{line}");

    let mut reader = chatd.peer();
    reader.ask("JOIN lobby", "OK JOIN #lobby <id>");
    let mut speaker = chatd.peer();
    speaker.ask("JOIN lobby", "OK JOIN #lobby <id>");
    speaker.ask("NICK speaker", "OK NICK speaker #lobby <id>");

    let padding = "x".repeat(980);
    let mut sent = 0;
    let mut say = |count: usize| {
        for _ in 0..count / WINDOW {
            let numbers = sent..sent + WINDOW;
            sent = numbers.end;
            let lines: String = numbers
                .clone()
                .map(|n| format!("MSG {n} {padding}\n"))
                .collect();
            speaker.send(&lines);
            for _ in numbers.clone() {
                speaker.expect("OK MSG <id> <time>");
            }
            for n in numbers {
                let expected = format!("MSG #lobby speaker {n} {padding}");
                let line = reader.inbox.find(|line| !line.starts_with("JOIN "));
                assert!(line == expected, "wanted message {n}, got {line:.60}");
            }
        }
        (sent, chatd.memory())
    };
    // The growth until then is due to SQLite and the allocator. Buffering for the reader would add 8 MB in
    // each round; the growth must come to an end instead.
    let (_, mut before) = say(FIRST);
    let levels_off = (0..ROUNDS).any(|_| {
        let (sent, now) = say(ROUND);
        println!("a stopped reader: {sent} messages, the server has {now} bytes");
        let grown = now.saturating_sub(before);
        before = now;
        grown < MIB
    });
    assert!(levels_off, "the server grows with each message");
    let (messages, _) = say(0);

    // It continues to read and misses nothing; what the server fetches for it is not kept in memory either.
    let mut next = 0;
    let mut read = |count: usize| {
        for number in next..next + count {
            line.clear();
            stopped.read_line(&mut line).expect("more to read");
            let expected = format!("MSG #lobby speaker {number} {padding}\n");
            assert!(line == expected, "wanted message {number}, got {line:.60}");
        }
        next += count;
        chatd.memory()
    };
    let before = read(messages / 2);
    let grown = read(messages - messages / 2).saturating_sub(before);
    println!("it reads on: the server grew by {grown} bytes in the second half");
    assert!(grown < 4 * MIB, "the server grew by {grown} bytes");
    stopped
        .get_mut()
        .write_all(b"PING still\n")
        .expect("it reads");
    line.clear();
    stopped.read_line(&mut line).expect("an answer");
    assert_eq!(line, "OK PING still\n");
}

/// Returns a connection with a small receive buffer, whatever the settings of the kernel are.
fn narrow(server: SocketAddr) -> TcpStream {
    let socket = unconnected().expect("a free descriptor");
    sockopt::set_socket_recv_buffer_size(&socket, 64 << 10).expect("before it is connected");
    connect(&socket, &server).expect("the server accepts");
    socket.into()
}

#[test]
fn a_thousand_idle_connections_in_the_lobby_take_little_memory() {
    const CONNECTIONS: u64 = 1000;
    // Far above the limit for the release build, which is the one that counts.
    let most = match std::env::var_os("CHATD") {
        Some(_) => 1500,
        None => 6000,
    };
    allow_many_connections();
    // Joins are announced at once, so all announcements have been sent when all connections are answered.
    let chatd = Chatd::with(&["--announce-after", "1ms"]);
    // The memory of the first connection belongs to the server.
    drop(chatd.member("first"));
    let mut idle = Vec::new();
    let before = chatd.memory();
    for n in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(chatd.address).expect("the server accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("not zero");
        writeln!(stream, "NICK idle{n}").expect("it reads");
        read_to(&stream, &format!("OK NICK idle{n} "));
        idle.push(stream);
    }
    for stream in &mut idle {
        stream.write_all(b"PING\n").expect("it reads");
        read_to(stream, "OK PING");
    }
    let each = chatd.memory().saturating_sub(before) / CONNECTIONS;
    println!("an idle connection in the lobby: {each} bytes");
    assert!(each <= most, "{each} bytes for each idle connection");
}

#[test]
fn a_thousand_idle_websockets_in_the_lobby_take_at_most_6_kib_each() {
    const CONNECTIONS: u64 = 1000;
    let most = match std::env::var_os("CHATD") {
        Some(_) => 6 << 10,
        None => 16 << 10,
    };
    allow_many_connections();
    let chatd = Chatd::with(&["--announce-after", "1ms"]);
    let open = |nick: &str| {
        let mut frames = Frames::open(chatd.address).expect("the handshake");
        frames
            .send(0x81, format!("NICK {nick}").as_bytes())
            .expect("it reads");
        wait_for(&mut frames, &format!("OK NICK {nick} "));
        frames
    };
    drop(open("first"));
    let before = chatd.memory();
    let mut idle: Vec<Frames> = (0..CONNECTIONS)
        .map(|n| open(&format!("idle{n}")))
        .collect();
    for frames in &mut idle {
        frames.send(0x81, b"PING").expect("it reads");
        wait_for(frames, "OK PING");
    }
    let each = chatd.memory().saturating_sub(before) / CONNECTIONS;
    println!("an idle WebSocket in the lobby: {each} bytes");
    assert!(each <= most, "{each} bytes for each idle WebSocket");
}

/// Reads up to the text message that begins with `start`.
fn wait_for(frames: &mut Frames, start: &str) {
    loop {
        let frame = frames.next(DEADLINE).expect("no error").expect("a frame");
        if frame.payload.starts_with(start.as_bytes()) {
            return;
        }
    }
}

/// Reads up to the line that begins with `start`.
fn read_to(stream: &TcpStream, start: &str) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while !line.starts_with(start) {
        line.clear();
        let length = reader.read_line(&mut line).expect("an answer in time");
        assert_ne!(length, 0, "it closed");
    }
}

#[test]
fn a_large_file_is_transferred_by_nc_in_constant_memory() {
    let large = std::env::var("SOAK_MIB").map_or(32, |n| n.parse().expect("a number of MiB"));
    let small = large / 4;
    let chatd = Chatd::start();
    let mut most = [small, large].map(|mib| {
        chatd.forget_peak();
        up_and_down(&chatd, mib * MIB);
        let peak = chatd.peak();
        println!("{mib} MiB up and down: the server has {peak} bytes at most");
        peak
    });
    most.sort();
    let grown = most[1] - most[0];
    assert!(
        grown < (large - small) * MIB / 4,
        "the server grew by {grown} bytes"
    );
}

fn up_and_down(chatd: &Chatd, length: u64) {
    let folder = tempfile::tempdir().expect("a writable /tmp");
    let path = folder.path().join("big.bin");
    let path = path.display();
    let run = |command: &str| chatd.client(command).finish();
    let made = run(&format!(
        "head -c {length} /dev/urandom | tee {path} | sha256sum | cut -c 1-64"
    ));
    let wanted = made.lines().concat();

    let reply = run(&format!(
        "{{ printf 'NICK big\\nUPLOAD big.bin {length}\\n'; cat {path}; printf 'BYE\\n'; }} | nc $HOST $PORT | sed -u 1d"
    ));
    let file = reply.lines().first().cloned().unwrap_or_default();
    let mut words = file.split(' ').skip(2);
    let number = words.next().expect("the file's number").to_owned();
    assert_eq!(words.nth(1), Some(&wanted[..]), "{reply:?}");

    let head = format!("DATA {number} {length} {wanted} big.bin\n").len() + 1;
    let came = run(&format!(
        "printf 'DOWNLOAD {number}\\nBYE\\n' | nc $HOST $PORT | tail -c +{head} | head -c {length} | sha256sum | cut -c 1-64"
    ));
    came.expect(&[&wanted]);
}
