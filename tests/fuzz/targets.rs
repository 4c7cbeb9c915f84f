//! The fuzz targets. Each is a function that checks what must be true for any input.
//!
//! `tests/run` lets a fuzzer look for input for which this is not true. `tests/project/fuzz_corpus.rs` runs the same
//! functions over saved input in every `cargo test`. Input that the fuzzer has found goes into `corpus/<target>/`.

mod outside;

use outside::{frame, import, port, settings};

use std::time::Duration;

use crate::support::memory::Memory;
use crate::support::run::{Server, Taken};
use plainchat::dialect::hook::{self, ntfy::Notification};
use plainchat::dialect::irc::{IrcLine, LINE_BYTES_MAX as LINE_OUT_IRC_MAX};
use plainchat::protocol::line::{Item, LINE_BYTES_MAX, LINE_OUT_BYTES_MAX, LineDecoder};
use plainchat::protocol::multiline::Multiline;
use plainchat::protocol::tags::SentTags;
use plainchat::protocol::text::{clean, is_clean};
use plainchat::protocol::{Event, Request, ServerLine};

/// A target.
pub type Target = fn(&[u8]);

/// All targets; each has a folder with its name in `corpus`.
pub const ALL: &[(&str, Target)] = &[
    ("frame", frame),
    ("hook", hook),
    ("import", import),
    ("irc", irc),
    ("line", line),
    ("port", port),
    ("request", request),
    ("server_line", server_line),
    ("session", session),
    ("settings", settings),
];

/// A decoder finds the same items in bytes that arrive at once, one by one, or cut anywhere, and holds no
/// more than a line. The first byte of `data` says where to cut.
fn line(data: &[u8]) {
    let Some((&cut, bytes)) = data.split_first() else {
        return;
    };
    let whole = decode([bytes]);
    assert_eq!(decode(bytes.chunks(1)), whole, "byte by byte");
    let (head, tail) = bytes.split_at(usize::from(cut) % (bytes.len() + 1));
    assert_eq!(decode([head, tail]), whole, "cut at {}", head.len());
}

/// Returns what a decoder finds in `pieces`.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut decoder = LineDecoder::default();
    let mut found = Vec::new();
    let mut note = |item: Item<'_>| {
        if let Item::Line { bytes, .. } = &item {
            assert!(bytes.len() < LINE_BYTES_MAX + 1);
            assert!(!bytes.contains(&b'\n'));
        }
        found.push(match item {
            // How much of its beginning is returned depends on the pieces.
            Item::TooLong { head } => format!("too long {:?}", head.get(..16)),
            other => format!("{other:?}"),
        });
    };
    for mut piece in pieces {
        while let Some(item) = decoder.next(&mut piece) {
            note(item);
        }
        assert!(piece.is_empty(), "everything is taken in");
    }
    if let Some(item) = decoder.finish() {
        note(item);
    }
    found
}

/// A clean request is formatted to the line from which it was parsed. Any other line is parsed to something safe. A
/// refusal is one line that is safe on a terminal.
fn request(data: &[u8]) {
    let line = data.split(|b| *b == b'\n').next().unwrap_or_default();
    match Request::parse(line) {
        Ok(None) => {}
        Ok(Some(request)) => {
            let written = request.to_string();
            assert!(is_clean(&written), "{written:?}");
            // An upload with an invalid name or nick is still a request, but cannot be formatted as it was; and
            // characters that are removed from a text can change where its fields begin.
            let has_no_name = match &request {
                Request::Upload(upload) => upload.name.is_err() || upload.to.is_err(),
                Request::Text(text) => text.to.is_err(),
                _ => false,
            };
            if has_no_name || !std::str::from_utf8(line).is_ok_and(is_clean) {
                return;
            }
            let again = Request::parse(written.as_bytes());
            assert_eq!(again, Ok(Some(request)), "{written:?}");
        }
        Err(refusal) => {
            let written = refusal.to_string();
            assert!(is_clean(&written), "{written:?}");
            let read = ServerLine::parse(&written);
            assert!(
                matches!(&read, ServerLine::Err { code, .. } if *code == Some(refusal.code)),
                "{written:?} is read as {read:?}"
            );
        }
    }
}

/// Any line of a server is parsed without harm, and an event is formatted as it was parsed. Cleaning a text
/// makes it safe, and a second time changes nothing.
fn server_line(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let line = text.split('\n').next().unwrap_or_default();
    let _ = ServerLine::parse(line);
    if let Some(event) = Event::parse(line) {
        let written = event.to_string();
        assert_eq!(Event::parse(&written), Some(event), "{written:?}");
    }
    let cleaned = clean(&text);
    assert!(is_clean(&cleaned), "{cleaned:?}");
    assert_eq!(clean(&cleaned), cleaned);
}

/// A body that is posted to a hook is refused or becomes messages. `TEXT` accepts their texts, and their tags and lines
/// are safe.
fn hook(data: &[u8]) {
    let mut messages = hook::read(data).unwrap_or_default();
    messages.extend(hook::read_push(data).map(|push| push.message));
    let in_header = |names: &[&str]| Some(String::from_utf8_lossy(data).repeat(names.len()));
    let notifications = [
        Notification::from_json(data, in_header),
        Notification::from_text(data, |_| None),
        Notification::from_text(data, in_header),
    ];
    for notification in notifications.into_iter().flatten() {
        messages.extend(notification.message());
    }
    for message in messages {
        let again = Multiline::parse(message.text.as_str().as_bytes());
        assert_eq!(again, Ok(message.text), "it is clean, and short enough");
        assert!(is_clean(&message.tags), "{:?}", message.tags);
        SentTags::parse(&message.tags).expect("they are tags");
    }
}

/// Whatever an IRC client sends, its output and that of another client in its room consists of lines of IRC: UTF-8
/// with CR LF, of at most 512 bytes besides their tags. A `PING` is answered. The first two bytes of `data` are as
/// for `session`.
fn irc(data: &[u8]) {
    let [takes, puts, input @ ..] = data else {
        return;
    };
    let _ = std::str::from_utf8(input).map(IrcLine::parse);
    let mut server = Memory::new(&[], usize::from(*takes) + 1, 0).expect("the defaults are good");
    let caps = "server-time message-tags echo-message extended-join userhost-in-names away-notify batch labeled-response draft/chathistory draft/multiline draft/read-marker draft/message-redaction";
    for (n, nick) in ["reader", "peer"].into_iter().enumerate() {
        assert_eq!(server.open(), Ok(n));
        let arrives = format!(
            "CAP REQ :{caps}\r\nNICK {nick}\r\nUSER a 0 * :a\r\nCAP END\r\nJOIN #lobby\r\n"
        );
        server
            .push(n, arrives.as_bytes())
            .expect("memory is not full");
    }
    for piece in input.chunks(usize::from(*puts) + 1) {
        server.push(1, piece).expect("memory is not full");
    }
    server
        .push(1, b"\r\nPING :the-end\r\n")
        .expect("memory is not full");
    for peer in [1, 0] {
        let (out, is_closed) = take(&mut server, peer);
        let out = String::from_utf8(out).expect("it is UTF-8");
        for line in out.split_inclusive('\n') {
            let line = line.strip_suffix("\r\n").expect("it ends in CR LF");
            let untagged = match line.strip_prefix('@') {
                Some(tagged) => {
                    tagged
                        .split_once(' ')
                        .expect("something follows the tags")
                        .1
                }
                None => line,
            };
            assert!(
                untagged.len() <= LINE_OUT_IRC_MAX - 2,
                "{} bytes",
                untagged.len()
            );
            assert!(!line.contains(['\r', '\0']), "{line:?}");
        }
        let is_answered = out.ends_with(" :the-end\r\n");
        assert!(
            peer == 0 || is_answered || is_closed,
            "no answer; there was {out:?}"
        );
    }
}

/// Whatever a peer sends, it is answered or disconnected. Its output, and that of others in its room, consists of
/// lines within their limit that are safe on a terminal. When it ends its input, the server closes the connection.
/// The first two bytes of `data` say how much is written and read at once.
fn session(data: &[u8]) {
    let [takes, puts, input @ ..] = data else {
        return;
    };
    let mut server = Memory::new(&[], usize::from(*takes) + 1, 0).expect("the defaults are good");
    let readers: [&[u8]; 3] = [
        b"JOIN #lobby\n",
        b"STAMPS on\nJOIN #lobby\nNICK stamped\n",
        b"NICK person\nCHAT\n",
    ];
    for (n, lines) in readers.iter().enumerate() {
        assert_eq!(server.open(), Ok(n));
        server.push(n, lines).expect("memory is not full");
    }
    let peer = server.open().expect("it is the fourth");
    for piece in input.chunks(usize::from(*puts) + 1) {
        server.push(peer, piece).expect("memory is not full");
    }
    // Ends a partial line, and talker mode, which does not show an `OK PING`.
    server
        .push(peer, b"\n\n/RAW\n/PING the-end\n")
        .expect("memory is not full");
    let (mut out, mut is_closed) = take(&mut server, peer);
    let has_word = |word: &str| {
        let input = input.to_ascii_uppercase();
        input
            .windows(word.len())
            .any(|part| part == word.as_bytes())
    };
    let is_answered = out.ends_with(b"OK PING the-end\n");
    // The bytes of an upload or a text may be incomplete, and an IRC client gets another answer.
    let excused = ["UPLOAD", "TEXT", "CAP", "USER", "WEBIRC"];
    assert!(
        is_answered || is_closed || excused.into_iter().any(has_word),
        "no answer; there was {}",
        out.escape_ascii()
    );
    if !is_closed {
        server.half_close(peer).expect("it is open");
        let (rest, is_closed_now) = take(&mut server, peer);
        out.extend(rest);
        is_closed = is_closed_now;
    }
    assert!(
        is_closed || has_word("STAY"),
        "its end is no end; there was {}",
        out.escape_ascii()
    );
    // The bytes of a download are not lines.
    if !has_word("DOWNLOAD") {
        check_lines(&out, has_word("CHAT"));
    }
    for n in 0..readers.len() {
        let (out, is_closed) = take(&mut server, n);
        assert!(!is_closed, "reader {n} was closed");
        check_lines(&out, n == 2);
    }
}

/// Returns everything that `peer` received, and whether it was closed.
fn take(server: &mut Memory, peer: usize) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    loop {
        match server.take(peer, Duration::ZERO) {
            Taken::Bytes(bytes) => out.extend(bytes),
            Taken::Closed => return (out, true),
            Taken::Nothing => return (out, false),
        }
    }
}

/// Checks that the output is valid lines; in talker mode they are for people.
fn check_lines(out: &[u8], is_talk: bool) {
    // The answer to a telnet option is three bytes, the first of which never occurs in UTF-8.
    let mut text = Vec::new();
    let mut rest = out;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            0xff => after.get(2..).expect("a telnet answer is whole"),
            _ => {
                text.push(byte);
                after
            }
        };
    }
    for line in text.split_inclusive(|b| *b == b'\n') {
        assert!(line.len() <= LINE_OUT_BYTES_MAX, "{} bytes", line.len());
        let line = std::str::from_utf8(line).expect("what comes out is UTF-8");
        let line = line.strip_suffix('\n').expect("what comes out is lines");
        assert!(is_clean(line), "{line:?}");
        let is_known = ServerLine::parse(line) != ServerLine::Unknown;
        assert!(is_talk || is_known, "{line:?}");
    }
}
