//! protocol.md 4.25, 4.26, 4.27, 4.28, 4.29: accounts, tokens, passwords, kicks and bans.
//!
//! Only what a conversation in memory cannot show: what is on disk, what survives a restart, where a connection comes
//! from, transfers in progress, and the server's log.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use crate::support::run::{Cut, play};
use crate::support::server::Chatd;
use crate::support::socket::unconnected;
use crate::support::spawn::Peer;
use crate::support::tcp::Tcp;
use crate::support::transcript::Transcript;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::net::{bind, connect};

fn chatd(folder: &Path) -> Chatd {
    let folder = folder.to_str().expect("a folder with a plain name");
    let flags = [
        "--data",
        folder,
        "--announce-after",
        "1h",
        "--operator",
        "alice",
    ];
    Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags.map(str::to_owned)).expect("it starts")
}

fn talk(chatd: &Chatd, text: &str) {
    let transcript = Transcript::parse("4.25", file!(), 1, text).expect("it is a transcript");
    play(&transcript, Cut::Lines, &mut Tcp::new(chatd.address))
        .unwrap_or_else(|why| panic!("{why}"));
}

/// Connects from another of the machine's own addresses.
fn from(local: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = unconnected().expect("a socket");
    bind(&socket, &SocketAddr::from((local, 0))).expect("all of 127 is this machine");
    connect(&socket, &to).expect("it listens");
    let stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(crate::support::inbox::DEADLINE))
        .expect("a socket takes that");
    stream
}

fn line(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a line comes in time");
    line.trim_end().to_owned()
}

#[test]
fn accounts_and_bans_survive_a_restart_and_no_password_is_on_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = chatd(folder.path());
    talk(
        &first,
        "alice> NICK Alice
alice< OK NICK Alice #lobby <id>
alice> REGISTER correct horse battery
alice< OK REGISTER Alice
alice> JOIN #plan
alice< OK JOIN #plan 0
alice> MODE invite
alice< OK MODE #plan invite
alice> JOIN #open
alice< OK JOIN #open 0
alice> MSG this room is mine
alice< OK MSG <id> <time>
alice> BAN bob 1h enough
alice< OK BAN bob
alice> BAN carol
alice< OK BAN carol
alice> UNBAN carol
alice< OK UNBAN carol
dan> NICK dan
dan< OK NICK dan #lobby <id>
dan> REGISTER dan was here
dan< OK REGISTER dan
dan> REGISTER -
dan< OK REGISTER dan",
    );
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(folder.path()).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            kept.extend(std::fs::read(path).expect("it is readable"));
        }
    }
    let holds = |text: &str| {
        kept.windows(text.len())
            .any(|bytes| bytes == text.as_bytes())
    };
    assert!(holds("$argon2id$"), "this is where accounts are");
    assert!(!holds("battery") && !holds("dan was here"));
    drop(first);
    let second = chatd(folder.path());
    talk(
        &second,
        "x> NICK alice
x< ERR NICK need-password <text>
x> NICK bob
x< ERR NICK banned <text>
x> NICK dan
x< OK NICK dan #lobby <id>
x> JOIN #plan
x< ERR JOIN not-allowed <text>
alice> NICK alice correct horse battery
alice< OK NICK alice #lobby <id>
alice> JOIN #plan
alice< OK JOIN #plan 0
alice> MODE #open invite
alice< OK MODE #open invite
alice> BANS
alice< BAN bob <time> Alice enough
alice< OK BANS 1",
    );
}

#[test]
fn a_token_logs_in_after_a_restart_and_is_nowhere_on_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = chatd(folder.path());
    let mut bob = Peer::connect(first.address);
    bob.ask("NICK bob", "OK NICK bob #lobby 0");
    bob.ask("REGISTER my secret", "OK REGISTER bob");
    let token = bob.ask("TOKEN ci", "OK TOKEN ci <word>");
    let token = token.rsplit(' ').next().expect("a token").to_owned();
    drop(first);
    let second = chatd(folder.path());
    let mut ci = Peer::connect(second.address);
    ci.ask(&format!("NICK bob {token}"), "OK NICK bob #lobby 0");
    ci.ask("MSG built", "OK MSG <id> <time>");
    for entry in std::fs::read_dir(folder.path()).expect("the folder") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).unwrap_or_default(); // a folder has none
        let mut windows = bytes.windows(token.len());
        assert!(!windows.any(|part| part == token.as_bytes()), "{path:?}");
    }
}

#[test]
fn only_a_banned_network_is_refused_and_only_a_guesser_is_slowed() {
    let folder = tempfile::tempdir().expect("a folder");
    let chatd = chatd(folder.path());
    let mut stranger = from([127, 0, 0, 2], chatd.address);
    stranger.write_all(b"NICK mallory\n").expect("it reads");
    let mut stranger = BufReader::new(stranger);
    assert!(line(&mut stranger).starts_with("OK NICK mallory"));
    talk(
        &chatd,
        "alice> NICK alice
alice< OK NICK alice #lobby <id>
alice> REGISTER my secret
alice< OK REGISTER alice
alice> BAN 127.0.0.2 1h out
alice< OK BAN 127.0.0.2",
    );
    assert!(line(&mut stranger).starts_with("CLOSED banned "));
    let mut again = BufReader::new(from([127, 0, 0, 2], chatd.address));
    assert!(line(&mut again).starts_with("CLOSED banned "));
    let mut guesser = from([127, 0, 0, 3], chatd.address);
    let guesses = "NICK alice a guess\n".repeat(11);
    guesser.write_all(guesses.as_bytes()).expect("it reads");
    let mut guesser = BufReader::new(guesser);
    for _ in 0..10 {
        assert!(line(&mut guesser).starts_with("ERR NICK bad-password "));
    }
    assert!(line(&mut guesser).starts_with("ERR NICK busy "));
    guesser.get_mut().write_all(b"PING\n").expect("it reads");
    assert_eq!(line(&mut guesser), "OK PING");
    let mut owner = from([127, 0, 0, 4], chatd.address);
    owner
        .write_all(b"NICK alice my secret\n")
        .expect("it reads");
    assert!(line(&mut BufReader::new(owner)).starts_with("OK NICK alice"));
}

/// An unregistered nick may be reserved with a password, which must be no easier to guess than that of a registered
/// nick.
#[test]
fn guesses_at_the_password_of_a_reserved_nick_are_slowed_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let chatd = chatd(folder.path());
    let mut owner = BufReader::new(from([127, 0, 0, 6], chatd.address));
    owner
        .get_mut()
        .write_all(b"NICK bob my secret\n")
        .expect("it reads");
    assert!(line(&mut owner).starts_with("OK NICK bob"));
    let mut guesser = from([127, 0, 0, 5], chatd.address);
    guesser
        .write_all("NICK bob a guess\n".repeat(11).as_bytes())
        .expect("it reads");
    let mut guesser = BufReader::new(guesser);
    for _ in 0..10 {
        assert!(line(&mut guesser).starts_with("ERR NICK bad-password "));
    }
    assert!(line(&mut guesser).starts_with("ERR NICK busy "));
    // Someone who knows it is not slowed down, however many connections they make.
    for _ in 0..20 {
        let mut phone = BufReader::new(from([127, 0, 0, 6], chatd.address));
        phone
            .get_mut()
            .write_all(b"NICK bob my secret\nPART\n")
            .expect("it reads");
        assert!(line(&mut phone).starts_with("OK NICK bob"));
    }
}

/// If a kick waited for an upload to end, the sender could delay it at will.
#[test]
fn a_kick_aborts_an_upload() {
    let folder = tempfile::tempdir().expect("a folder");
    let chatd = chatd(folder.path());
    let mut bob = from([127, 0, 0, 1], chatd.address);
    bob.write_all(b"NICK bob\nUPLOAD a.txt 1000000\nhalf")
        .expect("it reads");
    let mut bob = BufReader::new(bob);
    assert!(line(&mut bob).starts_with("OK NICK bob"));
    talk(
        &chatd,
        "alice> NICK alice
alice< OK NICK alice #lobby <id>
alice> REGISTER my secret
alice< OK REGISTER alice
alice> KICK bob
alice< OK KICK bob",
    );
    let mut rest = Vec::new();
    let _ = bob.read_to_end(&mut rest); // a reset is an end too
    assert!(!rest.windows(9).any(|bytes| bytes == b"OK UPLOAD"));
}

/// Returns the reply to an HTTP request, or its beginning if it has no end.
fn http(chatd: &Chatd, request: &str, user: &str, body: &str) -> String {
    let mut stream = from([127, 0, 0, 1], chatd.address);
    let user = match user {
        "" => String::new(),
        user => format!("Authorization: Basic {}\r\n", STANDARD.encode(user)),
    };
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{user}Content-Length: {length}\r\n\r\n{body}",
        chatd.address
    );
    stream.write_all(head.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    // A stream without end is closed after its first words.
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        answer.extend_from_slice(&piece[..count]);
        if request.contains("follow") && answer.windows(9).any(|bytes| bytes == b"treasure\n") {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The server's password protects everything that is read or written over HTTP as well.
#[test]
fn a_server_with_a_password_reveals_nothing_over_http_without_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    std::fs::write(&file, "open sesame\n").expect("a file");
    let flags = ["--password-file", file.to_str().expect("a plain name")];
    let flags = flags.map(str::to_owned);
    let chatd = Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags).expect("it starts");
    let reply = http(
        &chatd,
        "POST /rooms/ops",
        "ci:open sesame",
        "the build is done",
    );
    assert!(reply.contains("OK "), "{reply}");
    let file = http(
        &chatd,
        "PUT /rooms/ops/files/a.txt",
        "ci:open sesame",
        "hello",
    );
    let number = file
        .split("OK UPLOAD ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let file = format!("GET /files/{}/a.txt", number.expect("it is kept"));
    for (request, text) in [
        ("GET /rooms", "ops"),
        ("GET /rooms/ops", "the build"),
        ("GET /rooms/ops/files", "a.txt"),
        (&file, "hello"),
    ] {
        for stranger in ["", "ci:", "ci:open barley"] {
            let answer = http(&chatd, request, stranger, "");
            assert!(
                !answer.contains(text),
                "{request} by {stranger:?}: {answer}"
            );
        }
        let answer = http(&chatd, request, "anybody:open sesame", "");
        assert!(answer.contains(text), "{request}: {answer}");
    }
    assert!(http(&chatd, "GET /health", "", "").contains("200 OK"));
}
