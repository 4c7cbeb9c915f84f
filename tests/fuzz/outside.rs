//! Fuzzes input that is not a line of the protocol: frames, HTTP requests, settings files, and imported logs.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use argh::{FlagInfo, FlagInfoKind, Optionality};
use plainchat::config::{Config, Limits, file};
use plainchat::offline;
use plainchat::transport::frame::{CONTROL_BYTES_MAX, Decoder, Item};
use plainchat::transport::sniff::{Protocol, detect};

/// However frames are cut, they decode to the same messages and the same error. The protocol that is detected from
/// the first bytes of a connection does not change when more bytes arrive.
pub fn frame(data: &[u8]) {
    let Some((&cut, bytes)) = data.split_first() else {
        return;
    };
    let whole = messages([bytes]);
    assert_eq!(messages(bytes.chunks(1)), whole, "byte by byte");
    let (head, tail) = bytes.split_at(usize::from(cut) % (bytes.len() + 1));
    assert_eq!(messages([head, tail]), whole, "cut at {}", head.len());
    let (early, late) = (detect(head), detect(bytes));
    let may_follow = match early {
        Protocol::Unclear => true,
        Protocol::LinesOrIrc => {
            matches!(late, Protocol::LinesOrIrc | Protocol::Lines | Protocol::Irc)
        }
        _ => late == early,
    };
    assert!(may_follow, "{early:?}, then {late:?}");
}

/// Returns what is decoded from `pieces`: messages put together, and the error.
fn messages<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut decoder = Decoder::default();
    let mut found = Vec::new();
    let mut message = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut input = piece.as_mut_slice();
        loop {
            let item = match decoder.coming(&mut input) {
                Ok(Some(_)) => decoder.take(&mut input, usize::MAX),
                Ok(None) => break,
                Err(code) => Err(code),
            };
            match item {
                Ok(None) => break,
                Ok(Some(Item::Data { bytes, is_last })) => {
                    message.extend_from_slice(bytes);
                    if is_last {
                        found.push(format!("{:?}", std::mem::take(&mut message)));
                    }
                }
                Ok(Some(Item::Ping(bytes))) => {
                    assert!(bytes.len() <= CONTROL_BYTES_MAX);
                    found.push(format!("ping {bytes:?}"));
                }
                Ok(Some(item)) => found.push(format!("{item:?}")),
                Err(code) => {
                    found.push(format!("closed with {code}"));
                    return found;
                }
            }
        }
        assert!(input.is_empty(), "everything is taken in");
    }
    found
}

/// A settings file becomes words that name only known flags, or an error of one line. A flag that the command line
/// contains is left out.
pub fn settings(data: &[u8]) {
    const WORD: FlagInfoKind<'_> = FlagInfoKind::Option { arg_name: "word" };
    const fn flag(
        long: &'static str,
        kind: FlagInfoKind<'static>,
        optionality: Optionality,
    ) -> FlagInfo<'static> {
        FlagInfo {
            kind,
            optionality,
            long,
            short: None,
            description: "",
            hidden: false,
        }
    }
    const FLAGS: &[&FlagInfo<'_>] = &[
        &flag("--memory", FlagInfoKind::Switch, Optionality::Optional),
        &flag("--name", WORD, Optionality::Optional),
        &flag("--listen", WORD, Optionality::Repeating),
    ];
    let text = String::from_utf8_lossy(data);
    match file::words(&text, FLAGS, &[]) {
        Ok(words) => {
            let mut words = words.iter();
            let mut names = 0;
            while let Some(word) = words.next() {
                match word.as_str() {
                    "--memory" => {}
                    "--name" | "--listen" => {
                        names += usize::from(word == "--name");
                        words.next().expect("its value follows");
                    }
                    _ => panic!("{word:?} is no flag"),
                }
            }
            assert!(names < 2, "it may not be repeated");
            let given = ["--name", "x", "--memory", "--listen", "y"];
            assert_eq!(file::words(&text, FLAGS, &given), Ok(Vec::new()));
        }
        Err(e) => assert!(!e.to_string().contains('\n'), "{e}"),
    }
}

/// A log is imported as a whole or not at all, and an imported log is exported as lines that can be imported
/// again with the same result.
pub fn import(data: &[u8]) {
    let (first, second) = (folder(), folder());
    let Ok(count) = offline::import(first.path(), data) else {
        if let Ok(lines) = exported(first.path()) {
            assert!(lines.is_empty(), "a part was taken in: {lines}");
        }
        return;
    };
    let lines = exported(first.path()).expect("a log that was just made");
    assert_eq!(lines.lines().count(), count, "{lines}");
    let again = offline::import(second.path(), lines.as_bytes());
    assert_eq!(again.expect("it was written by us"), count, "{lines}");
    assert_eq!(exported(second.path()).expect("a log"), lines);
}

/// Creates a folder, in memory where possible, because the targets test parsing and not disks.
fn folder() -> tempfile::TempDir {
    let memory = tempfile::tempdir_in("/dev/shm");
    memory.or_else(|_| tempfile::tempdir()).expect("a folder")
}

fn exported(folder: &std::path::Path) -> Result<String, offline::Error> {
    let mut lines = Vec::new();
    offline::export(folder, None, &mut lines)?;
    Ok(String::from_utf8(lines).expect("a log is UTF-8"))
}

/// A server's port takes any bytes, as lines, HTTP or WebSocket: it answers or closes, and serves the next client.
/// The first byte of `data` selects a beginning for the rest.
pub fn port(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else {
        return;
    };
    const SOCKET: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    let begins = [
        "",
        "GET ",
        "POST /rooms/a HTTP/1.1\r\nHost: localhost\r\n",
        SOCKET,
    ];
    let begins = begins[usize::from(kind) % begins.len()];
    let address = server();
    let mut peer = connect(address);
    // It may close before it has read all.
    let _ = peer.write_all(&[begins.as_bytes(), bytes].concat());
    let _ = peer.shutdown(Shutdown::Write);
    let mut out = Vec::new();
    let ended = (&peer).take(1 << 20).read_to_end(&mut out);
    let stays =
        |e: &std::io::Error| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    let sends_stay = bytes
        .to_ascii_uppercase()
        .windows(4)
        .any(|word| word == b"STAY");
    if let Err(e) = ended
        && stays(&e)
    {
        assert!(sends_stay, "its end is no end: {}", out.escape_ascii());
    }
    if begins == SOCKET && !bytes.is_empty() {
        assert!(out.starts_with(b"HTTP/1.1 101 "), "{}", out.escape_ascii());
    }
    drop(peer);
    let mut next = connect(address);
    next.write_all(b"PING all-well\nBYE\n").expect("it listens");
    let mut out = String::new();
    next.read_to_string(&mut out).expect("it answers");
    assert_eq!(out, "OK PING all-well\nOK BYE\n");
}

fn connect(address: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect(address).expect("it accepts");
    let patience = Some(Duration::from_secs(30));
    peer.set_read_timeout(patience).expect("not zero");
    peer.set_write_timeout(patience).expect("not zero");
    peer
}

/// A server in this process that stores nothing. It is started once.
fn server() -> SocketAddr {
    static SERVER: OnceLock<SocketAddr> = OnceLock::new();
    *SERVER.get_or_init(|| {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        let config = Config {
            limits: Limits {
                handshake_within: Duration::from_secs(1),
                drain_for: Duration::from_secs(1),
                upload_bytes_max: 1 << 20,
                ..Limits::default()
            },
            ..Config::default()
        };
        std::thread::spawn(|| plainchat::server::run(config, vec![socket], |_, _| {}));
        address
    })
}
