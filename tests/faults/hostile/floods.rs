//! protocol.md 2: floods of requests do not delay others.
//!
//! Eight connections from one address send requests as fast as they can and read the replies. Another client is answered
//! before the flood has received many more replies. (`cargo bench --bench hostile` measures the time.)

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rusqlite::Connection;

use super::target::{Target, ask, count, pipeline};

const FLOODERS: usize = 8;

/// How many requests the other client sends meanwhile.
const ASKED: usize = 41;

/// The maximum number of lines that the flood may receive while the other client waits for one reply, in nine of ten
/// cases. This allows some turns of its connections, and what arrives while this process waits for a processor.
const LINES_MAX: u64 = FLOODERS as u64 * 1024;

/// A flood, and how far it has got.
struct Flood {
    /// Lines that it has received.
    lines: AtomicU64,
    is_over: AtomicBool,
}

/// Sends `request` again and again on a connection.
fn ask_again(mut stream: &TcpStream, request: &str, flood: &Flood) {
    while !flood.is_over.load(Ordering::Relaxed) {
        let some = request.repeat(1 + (8 << 10) / request.len());
        if stream.write_all(some.as_bytes()).is_err() {
            return;
        }
    }
}

fn read_on(mut stream: &TcpStream, flood: &Flood) {
    let mut buffer = vec![0; 256 << 10];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        let lines = buffer[..read].iter().filter(|byte| **byte == b'\n').count();
        flood.lines.fetch_add(lines as u64, Ordering::Relaxed);
    }
}

/// Floods a server with `request`. For each request `asked` of another client, returns how many lines the flood
/// received while that client waited, the fewest first.
fn beside(target: &Target, number: usize, request: &str, asked: &str) -> Vec<u64> {
    let flood = Flood {
        lines: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    };
    let streams: Vec<TcpStream> = (0..FLOODERS)
        .map(|n| {
            let mallory = target.named_stranger(&format!("mallory{number}{n}"));
            mallory.writer().expect("a descriptor")
        })
        .collect();
    let mut ann = target.member(&format!("ann{number}"));
    ask(&mut ann, "JOIN #ann", "OK JOIN");
    let mut got = Vec::new();
    thread::scope(|scope| {
        for (n, stream) in streams.iter().enumerate() {
            let request = request.replace("<n>", &format!("{number}{n}"));
            let flood = &flood;
            scope.spawn(move || ask_again(stream, &request, flood));
            scope.spawn(move || read_on(stream, flood));
        }
        // Waits until the flood has begun.
        while flood.lines.load(Ordering::Relaxed) < 10 * FLOODERS as u64 {
            ask(&mut ann, "PING", "OK PING");
        }
        for _ in 0..ASKED {
            ask(&mut ann, "MSG hello", "OK MSG");
            let before = flood.lines.load(Ordering::Relaxed);
            ask(&mut ann, asked, "OK ");
            got.push(flood.lines.load(Ordering::Relaxed) - before);
        }
        let before = flood.lines.load(Ordering::Relaxed);
        target.until("the flood still goes on", |_| {
            flood.lines.load(Ordering::Relaxed) > before
        });
        flood.is_over.store(true, Ordering::Relaxed);
        for stream in &streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
    ask(&mut ann, "BYE", "OK BYE");
    got.sort_unstable();
    got
}

#[test]
fn a_client_with_few_requests_is_answered_during_a_flood_of_any_request() {
    let target = Target::start(&[]);
    let mut filler = target.member("filler");
    let lines: Vec<String> = (0..1000).map(|n| format!("MSG pear {n}")).collect();
    assert_eq!(count(&pipeline(&mut filler, &lines), "OK MSG "), 1000);
    ask(&mut filler, "BYE", "OK BYE");
    let rooms =
        |verb: &str| -> String { (0..32).map(|room| format!("{verb} #f{room}\n")).collect() };
    let floods = [
        ("PING\n".to_owned(), "PING"),
        ("WHO\n".to_owned(), "PING"),
        ("HELP\n".to_owned(), "PING"),
        ("NICK a<n>\nNICK b<n>\n".to_owned(), "PING"),
        (rooms("JOIN") + &rooms("PART"), "PING"),
        ("HISTORY #lobby 1000\n".to_owned(), "PING"),
        ("SEARCH #lobby pear\n".to_owned(), "PING"),
        // What is saved waits for what is saved before it.
        ("TELL #m<n> hello\n".to_owned(), "MSG hello"),
    ];
    for (number, (request, asked)) in floods.iter().enumerate() {
        let got = beside(&target, number, request, asked);
        let [middle, late] = [ASKED / 2, ASKED * 9 / 10].map(|at| got[at]);
        let name: String = request.chars().take(12).collect();
        println!("{name:?}: {middle} lines in the middle, {late} in nine of ten cases");
        assert!(late <= LINES_MAX, "{name:?}: {got:?}");
    }
    let mut ann = target.member("after");
    ask(&mut ann, "MSG hello", "OK MSG");
}

/// The log is held up, and a flood sends as much as it may. A message of another client is then among the next that
/// are stored.
#[test]
fn a_message_waits_for_few_messages_of_a_flood_when_the_disk_is_slow() {
    /// The maximum number of messages that are stored before the other client's: what may wait for the log, and one
    /// message of each connection.
    const AHEAD_MAX: u64 = 1024 + FLOODERS as u64 + 2;
    let target = Target::start(&[]);
    let mut ann = target.member("ann");
    ask(&mut ann, "MSG hello", "OK MSG");
    let flood = "MSG hello\n".repeat(1500);
    let flooders: Vec<_> = (0..FLOODERS)
        .map(|n| target.named_stranger(&format!("mallory{n}")))
        .collect();
    let before = target.metric("chatd_log_appended_total");
    let db = Connection::open(target.data().join("chat.db")).expect("a database");
    db.execute_batch("BEGIN IMMEDIATE")
        .expect("no one else writes");
    for mallory in &flooders {
        let mut writer = mallory.writer().expect("a descriptor");
        writer.write_all(flood.as_bytes()).expect("it is sent");
    }
    target.until("the flood is read", |target| {
        target.metric("chatd_log_waiting") > 1024
    });
    ann.send("MSG in between\n").expect("it is sent");
    ann.send("MSG and after it\n").expect("it is sent");
    let waiting = target.metric("chatd_log_waiting");
    assert!(waiting <= AHEAD_MAX, "{waiting} events wait for the log");
    db.execute_batch("ROLLBACK").expect("the log goes on");
    let reply = ann.reply().expect("a reply");
    assert!(reply.starts_with("OK MSG "), "{reply}");
    // All of it is stored in the end.
    let all = before + (FLOODERS * 1500) as u64 + 2;
    target.until("everything is stored", |target| {
        target.metric("chatd_log_kept_total") >= all
    });
}
