//! chatd.md 1: the server's log on standard error.
//!
//! If the reader of the log exits or stops reading, nobody is harmed. Closing the terminal ends the server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::spawn::Peer;
use rustix::process::{Pid, Signal, kill_process};

/// A server whose standard error is a pipe, which the test reads or leaves unread.
struct Logging {
    child: Child,
    out: Option<BufReader<ChildStdout>>,
    log: Option<BufReader<ChildStderr>>,
    address: SocketAddr,
}

impl Logging {
    fn start(flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_chatd"))
            .args(["--listen", "127.0.0.1:0", "--memory", "--no-announce"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("chatd: listening on ");
        Self {
            address: address.expect("an address").parse().unwrap(),
            log: child.stderr.take().map(BufReader::new),
            out: Some(out),
            child,
        }
    }

    fn dropped_lines(&self) -> u64 {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix("chatd_log_lines_dropped_total "));
        value.expect("the metric").parse().unwrap()
    }

    /// Tells the server to stop, and expects that it does so without an error.
    fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_server_continues_when_the_reader_of_its_log_has_gone() {
    let mut server = Logging::start(&["--operator", "op"]);
    (server.log, server.out) = (None, None);
    let mut op = Peer::connect(server.address);
    op.ask("NICK op", "OK NICK op #lobby <id>");
    op.ask("REGISTER correct horse", "OK REGISTER op");
    let mut bob = Peer::connect(server.address);
    bob.ask("NICK bob", "OK NICK bob #lobby <id>");
    // An operator's actions are logged, and nobody reads the log.
    op.ask("KICK bob out", "OK KICK bob");
    bob.inbox.find(|line| line.starts_with("CLOSED kicked "));
    op.ask("MSG all is well", "OK MSG <id> <time>");
    Peer::connect(server.address).ask("PING here", "OK PING here");
    // A thread of its own writes the log.
    let deadline = Instant::now() + Duration::from_secs(30);
    while server.dropped_lines() == 0 {
        assert!(Instant::now() < deadline, "no line was dropped");
    }
    server.stop();
}

#[test]
fn a_log_reader_that_stops_reading_blocks_nobody() {
    let mut server = Logging::start(&["--log-level", "trace"]);
    let mut connections = 0;
    while server.dropped_lines() == 0 {
        for _ in 0..50 {
            Peer::connect(server.address).ask("PING here", "OK PING here");
            connections += 1;
        }
        assert!(
            connections < 10_000,
            "nothing was dropped, so nothing is shown"
        );
    }
    // Once the log is read again, it tells how many lines are missing.
    let mut log = server.log.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut line = String::new();
        while !line.contains(" log lines were dropped") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it was not told");
        }
        log
    });
    while !reader.is_finished() {
        Peer::connect(server.address).ask("PING here", "OK PING here");
    }
    server.log = Some(reader.join().unwrap());
    let mut log = server.log.take().unwrap();
    let rest = std::thread::spawn(move || log.read_to_string(&mut String::new()));
    server.stop();
    rest.join().unwrap().unwrap();
}

#[test]
fn closing_its_terminal_ends_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    // `script` provides a terminal, which disappears when `script` exits.
    let mut terminal = Command::new("script")
        .args([
            "--quiet",
            "--command",
            "echo $$ > pid; exec \"$CHATD\" --listen 127.0.0.1:0 --memory --no-announce",
        ])
        .arg("/dev/null")
        .env("CHATD", env!("CARGO_BIN_EXE_chatd"))
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script of Debian's bsdutils");
    let mut screen = BufReader::new(terminal.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains(" started ") {
        line.clear();
        assert_ne!(screen.read_line(&mut line).unwrap(), 0, "it does not start");
    }
    let pid = std::fs::read_to_string(pid_file).unwrap();
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    // Returns when the process no longer exists.
    let gone = Command::new("timeout")
        .args(["60", "tail", "--follow", "/dev/null", "--pid", pid.trim()])
        .status()
        .unwrap();
    assert!(gone.success(), "it is still there");
}
