//! The conformance suite: plays every transcript of `protocol.md` and of the documents beside it, and
//! every vector beside this file.
//!
//!     cargo test --test conformance                          against a chatd of its own for each
//!     cargo test --test conformance -- --addr 127.0.0.1:5002 --only 4.2    against any server
//!     cargo test --test conformance -- --addr 10.0.0.1:5002,10.0.0.2:5002    against servers that share a chat
//!     cargo test --test conformance -- --level minimal-server --addr 127.0.0.1:5002
//!     cargo test --test conformance -- --level minimal-client --client 'python3 client.py'
//!
//! Each transcript and vector is played three times: line by line, byte by byte, and all at once. Without `--addr`,
//! this is done with a chatd that stores everything on disk and with one that stores nothing; each is also played
//! once under TLS and once over WebSocket. Then the transcripts of level minimal-server are played against
//! `minimal_server.py`, and the client of section 1.1 is checked at level minimal-client.

mod client;
mod levels;
#[path = "../support/mod.rs"]
mod support;

use std::io::BufRead;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use argh::FromArgs;
use levels::{Level, is_minimal};
use support::carriers::{Tls, WebSocket};
use support::document;
use support::run::{Cut, play};
use support::server::Chatd;
use support::tcp::Tcp;
use support::transcript::{Action, Setting, Strength, Transcript};

/// The maximum length of the minimal server, which shows how little such a server needs.
const MINIMAL_SERVER_LINES_MAX: usize = 250;

const TELNET: &str = "telnet is spoken on plain TCP alone";

/// Transcripts that hold only on a plain connection, each with the reason.
const PLAIN_ONLY: &[(&str, &str)] = &[
    (
        "3.7/1",
        "one connection too many is refused before its protocol is known",
    ),
    ("3.4/1", TELNET),
    (
        "3.4/a_sequence_that_is_never_ended_ends_with_its_line",
        TELNET,
    ),
    ("3.4/commands_and_subnegotiations_are_removed", TELNET),
    ("3.4/options_are_declined", TELNET),
    ("5.1/telnet_options_are_no_first_line", TELNET),
    ("8/telnet_options_are_declined_here_too", TELNET),
    (
        "7/an_end_without_a_word_is_an_end",
        "its end comes before a handshake",
    ),
];

/// Transcripts that do not hold over WebSocket, each with the reason.
const NOT_IN_MESSAGES: &[(&str, &str)] = &[
    (
        "4.16/requests_are_answered_and_events_go_on",
        "a close frame ends both directions, so nobody stays after it",
    ),
    (
        "8/an_upload_reads_no_bytes",
        "what plays it takes /upload for an upload",
    ),
];

/// Play the transcripts of protocol.md against a server, or check a client.
///
/// A server at a given address should be one that nobody else is using, with its default settings;
/// transcripts that need other settings, or a server that is new, are left out and counted.
#[derive(FromArgs)]
struct Flags {
    /// a running server, HOST:PORT, instead of a chatd of the suite's own
    #[argh(option)]
    addr: Option<String>,
    /// minimal-client, minimal-server or full-server (the default): what protocol.md, section 1.4, requires of it
    #[argh(option, default = "Level::FullServer")]
    level: Level,
    /// for minimal-client: the client, which is run as COMMAND HOST PORT NICK ROOM; it sends each line of its
    /// standard input to the room as a message, and prints the messages of others with their senders
    #[argh(option)]
    client: Option<String>,
    /// play only the sections that begin like this: 4 or 4.2
    #[argh(option)]
    only: Option<String>,
    /// also fail for what a server should do but does not (always, with a chatd of its own)
    #[argh(switch)]
    strict: bool,
    /// list what would be played, and exit
    #[argh(switch)]
    list: bool,
    /// print the name of each as it is played (cargo test passes this to every test program)
    #[argh(switch)]
    nocapture: bool,
    /// play only those with this in their name
    #[argh(positional)]
    filter: Vec<String>,
}

fn main() -> ExitCode {
    let flags: Flags = argh::from_env();
    match run(&flags) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(why) => {
            eprintln!("conformance: {why}");
            ExitCode::from(2)
        }
    }
}

fn run(flags: &Flags) -> Result<bool, String> {
    if flags.level == Level::MinimalClient {
        let client = flags.client.as_deref();
        return Ok(check_client(
            client.ok_or("--level minimal-client needs --client COMMAND")?,
        ));
    }
    let mut passed = play_document(flags, flags.level, flags.addr.as_deref())?;
    let is_everything = flags.addr.is_none()
        && flags.level == Level::FullServer
        && flags.only.is_none()
        && flags.filter.is_empty()
        && !flags.list;
    if is_everything {
        let server = MinimalServer::start()?;
        passed &= play_document(flags, Level::MinimalServer, Some(&server.address))?;
        passed &= check_client(&document_client()?.command());
    }
    Ok(passed)
}

/// Checks a client at level minimal-client, and prints what failed.
fn check_client(command: &str) -> bool {
    let failed = client::check(command);
    for why in &failed {
        println!("{}\n{why}", "-".repeat(72));
    }
    println!(
        "conformance: {} checks of a minimal client, {} failed",
        client::count(),
        failed.len()
    );
    failed.is_empty()
}

/// The client of section 1.1, in a file.
struct DocumentClient(tempfile::NamedTempFile);

impl DocumentClient {
    fn command(&self) -> String {
        format!("/usr/bin/python3 {}", self.0.path().display())
    }
}

fn document_client() -> Result<DocumentClient, String> {
    let file = tempfile::NamedTempFile::new().map_err(|e| format!("no file: {e}"))?;
    let source = document::first_client()?;
    std::fs::write(file.path(), source).map_err(|e| format!("no file: {e}"))?;
    Ok(DocumentClient(file))
}

/// The server of level minimal-server that is beside this file; it ends when this is dropped.
struct MinimalServer {
    child: Child,
    address: String,
}

impl MinimalServer {
    fn start() -> Result<Self, String> {
        let path = document::root().join("tests/conformance/minimal_server.py");
        let source = std::fs::read_to_string(&path).map_err(|e| format!("{path:?}: {e}"))?;
        let lines = source.lines().count();
        if lines > MINIMAL_SERVER_LINES_MAX {
            return Err(format!("the minimal server has {lines} lines"));
        }
        let mut child = Command::new("/usr/bin/python3")
            .arg(path)
            .arg("0")
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("python3: {e}"))?;
        let out = child.stdout.take().ok_or("no standard output")?;
        let mut server = Self {
            child,
            address: String::new(),
        };
        let mut out = std::io::BufReader::new(out);
        let read = out.read_line(&mut server.address);
        read.map_err(|e| format!("minimal_server.py: {e}"))?;
        server.address.truncate(server.address.trim_end().len());
        Ok(server)
    }
}

impl Drop for MinimalServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Plays the transcripts of a level, and prints what failed.
fn play_document(flags: &Flags, level: Level, addr: Option<&str>) -> Result<bool, String> {
    let mut all = document::transcripts()?;
    all.extend(document::other("irc.md")?.transcripts);
    let count = all.len();
    all.retain(|transcript| {
        is_wanted(flags, &transcript.id) && (level == Level::FullServer || is_minimal(transcript))
    });
    if all.is_empty() && flags.only.is_some() {
        return Err("there is no such section".into());
    }
    let not_asked_for = count - all.len();
    let addr = addr.map(resolve_all).transpose()?;
    let (plays, left_out): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|transcript| addr.is_none() || transcript.settings.is_empty());
    for Transcript { id, settings, .. } in &left_out {
        println!("left out  {id}  needs {}", needs(settings));
    }
    if flags.list {
        plays
            .iter()
            .for_each(|Transcript { id, file, line, .. }| println!("{id}  {file}:{line}"));
        return Ok(true);
    }
    // On a shared server, two transcripts must not meet in the lobby.
    let threads = if addr.is_some() { 1 } else { 4 };
    let mut failed = 0;
    for (transcript, why) in play_all(&plays, threads, addr, flags.nocapture) {
        let counts = transcript.strength == Strength::Must || addr.is_none() || flags.strict;
        failed += usize::from(counts);
        let only = if counts { "" } else { "(only a SHOULD) " };
        println!("{}\n{only}{why}", "-".repeat(72));
    }
    println!(
        "conformance: {} transcripts played in {} ways, {failed} plays failed; {} left out for their settings, {not_asked_for} not asked for",
        plays.len(),
        ways(addr).len(),
        left_out.len(),
    );
    Ok(failed == 0)
}

/// Resolves the addresses of servers that share a chat, separated by commas.
fn resolve_all(addresses: &str) -> Result<&'static [SocketAddr], String> {
    let all: Result<Vec<_>, _> = addresses.split(',').map(resolve).collect();
    Ok(all?.leak()) // they are needed until the end
}

fn resolve(addr: &str) -> Result<SocketAddr, String> {
    let mut found = addr.to_socket_addrs().map_err(|e| format!("{addr}: {e}"))?;
    found.next().ok_or_else(|| format!("{addr} has no address"))
}

/// How a transcript is played.
#[derive(Clone, Copy)]
struct Way {
    cut: Cut,
    server: Where,
}

/// The server that a transcript is played against.
#[derive(Clone, Copy)]
enum Where {
    /// The servers at these addresses, which share a chat if there are several.
    At(&'static [SocketAddr]),
    /// A new server without a data folder.
    InMemory,
    /// A new server with a data folder.
    OnDisk,
    /// A new server without a data folder, under TLS.
    Tls,
    /// A new server without a data folder, over WebSocket.
    WebSocket,
}

/// Returns every way in which a transcript is played.
fn ways(addr: Option<&'static [SocketAddr]>) -> Vec<Way> {
    let servers = match addr {
        Some(addr) => vec![Where::At(addr)],
        None => vec![Where::InMemory, Where::OnDisk],
    };
    let ways = servers.iter().flat_map(|server| {
        Cut::ALL.map(|cut| Way {
            cut,
            server: *server,
        })
    });
    let mut ways: Vec<_> = ways.collect();
    if addr.is_none() {
        // TLS and WebSocket split the bytes in their own way.
        let cut = Cut::Lines;
        let carriers = [Where::Tls, Where::WebSocket];
        ways.extend(carriers.map(|server| Way { cut, server }));
    }
    ways
}

/// Returns whether the transcript can be sent in WebSocket messages: its lines are UTF-8 without CR.
fn fits_messages(transcript: &Transcript) -> bool {
    let is_left_out = NOT_IN_MESSAGES.iter().any(|(id, _)| *id == transcript.id);
    let fits = |action: &Action| match action {
        Action::SendBytes(bytes) => !bytes.contains(&b'\r') && std::str::from_utf8(bytes).is_ok(),
        Action::Send(line) => line.to_string() != "STAY",
        _ => true,
    };
    !is_left_out && transcript.steps.iter().all(|step| fits(&step.action))
}

fn play_one(transcript: &Transcript, way: Way) -> Result<(), String> {
    let mut flags = chatd_flags(transcript);
    // The server reads its password from a file.
    let secret = tempfile::NamedTempFile::new().map_err(|e| format!("no file: {e}"))?;
    for flag in transcript.settings.iter().filter(|s| s.name == "password") {
        std::fs::write(secret.path(), &flag.value).map_err(|e| format!("no file: {e}"))?;
        flags.extend([
            "--password-file".into(),
            secret.path().display().to_string(),
        ]);
    }
    let folder = tempfile::tempdir().map_err(|e| format!("no folder: {e}"))?;
    match way.server {
        Where::At(addr) => {
            let renamed = transcript.clone().renamed(&suffix());
            return play(&renamed, way.cut, &mut Tcp::to_each_of(addr));
        }
        Where::Tls | Where::WebSocket if PLAIN_ONLY.iter().any(|(id, _)| *id == transcript.id) => {
            return Ok(());
        }
        Where::WebSocket if !fits_messages(transcript) => return Ok(()),
        Where::InMemory | Where::Tls | Where::WebSocket => {}
        Where::OnDisk => flags.extend(["--data".into(), folder.path().display().to_string()]),
    }
    let chatd = Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags)?;
    let (cut, address) = (way.cut, chatd.address);
    let (where_to, played) = match way.server {
        Where::OnDisk => (
            "with a folder, ",
            play(transcript, cut, &mut Tcp::new(address)),
        ),
        Where::Tls => ("under TLS, ", play(transcript, cut, &mut Tls::new(address))),
        Where::WebSocket => (
            "over WebSocket, ",
            play(transcript, cut, &mut WebSocket::new(address)),
        ),
        Where::At(_) | Where::InMemory => ("", play(transcript, cut, &mut Tcp::new(address))),
    };
    played.map_err(|why| format!("{where_to}{why}"))
}

fn is_wanted(flags: &Flags, id: &str) -> bool {
    let section = id.split('/').next().unwrap_or_default();
    let only = flags.only.as_deref().is_none_or(|only| {
        let inner = section.strip_prefix(only);
        inner.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    });
    only && (flags.filter.is_empty() || flags.filter.iter().any(|word| id.contains(word)))
}

/// Plays everything in every cut, a few at a time, and returns the failures in order.
fn play_all<'a>(
    plays: &'a [Transcript],
    threads: usize,
    addr: Option<&'static [SocketAddr]>,
    names_each: bool,
) -> Vec<(&'a Transcript, String)> {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(transcript) = plays.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let results = ways(addr).into_iter().map(|way| play_one(transcript, way));
                    let failed: Vec<String> = results.filter_map(Result::err).collect();
                    if names_each {
                        println!("played {}", transcript.id);
                    }
                    let mut failures = failures.lock().expect("no other thread panics");
                    failures.extend(failed.into_iter().map(|why| (transcript, why)));
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("every thread has ended");
    failures.sort_by_key(|(transcript, _)| (transcript.file.clone(), transcript.line));
    failures
}

fn needs(settings: &[Setting]) -> String {
    let all: Vec<String> = settings
        .iter()
        .map(|s| format!("{} {}", s.name, s.value))
        .collect();
    all.join(", ")
}

/// Returns the flags of `chatd` for a transcript. Unless the transcript is about joins, no join is announced during
/// the test, so that a slow machine receives the same lines as a fast one.
fn chatd_flags(transcript: &Transcript) -> Vec<String> {
    let settings = &transcript.settings;
    let mut flags = Vec::new();
    if !settings
        .iter()
        .any(|setting| setting.name == "announce-after")
    {
        flags.extend(["--announce-after".to_owned(), "1h".to_owned()]);
    }
    for Setting { name, value } in settings
        .iter()
        .filter(|setting| !matches!(setting.name.as_str(), "fresh" | "password"))
    {
        flags.extend([format!("--{name}"), value.clone()]);
    }
    flags
}

/// Returns digits that no earlier transcript on that server has used.
fn suffix() -> String {
    static PLAYS: AtomicUsize = AtomicUsize::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let play = PLAYS.fetch_add(1, Ordering::Relaxed);
    format!("-{}{play:03}", now.as_secs() % 100_000)
}
