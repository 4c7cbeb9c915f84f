//! protocol.md 2, 3.1, 3.2, 3.3, 3.5: properties that hold for every input.
//!
//! They are tested with random inputs that shrink to the smallest failing one.

use std::time::Duration;

use crate::support::memory::Memory;
use crate::support::run::{Server, Taken};
use plainchat::protocol::line::{Item, LINE_BYTES_MAX, LineDecoder};
use plainchat::protocol::request::looks_like_command;
use plainchat::protocol::text::{clean, is_clean, is_unsafe};
use plainchat::protocol::{Event, FileName, Nick, Request, RoomName, ServerLine, Verb};
use proptest::collection::vec;
use proptest::prelude::*;

/// Generates bytes that a client might send, valid and invalid, with many that a decoder treats specially.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[ -~]{0,20}".prop_map(String::into_bytes),
        4 => prop::sample::select(vec![&b"\n"[..], b"\r\n", b"\r\0\n", b"\r", b"\0", b" ", b"\n\n"])
            .prop_map(<[u8]>::to_vec),
        2 => vec(prop::sample::select(vec![0xff, 0xf0, 0xf4, 0xfa, 0xfb, 0xfd, 0x06, b'\n']), 1..6),
        1 => Just(b"\xef\xbb\xbf".to_vec()),
        1 => vec(any::<u8>(), 0..20),
        1 => (LINE_BYTES_MAX - 8..LINE_BYTES_MAX + 8).prop_map(|n| vec![b'x'; n]),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Generates text with many characters that a terminal interprets.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[ -~\t]{0,12}",
        "\\PC{0,8}",
        prop::sample::select(vec![
            "\x1b", "\x1b[", "\x1b]0;", "\x07", "\x1b\\", "\x1b_", "m", "\u{9b}", "\u{202e}",
            "\u{2028}", "\r", "\0", "é", "日本",
        ])
        .prop_map(str::to_owned),
    ];
    vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

/// Generates lines, most of them requests.
fn line() -> impl Strategy<Value = String> {
    let verb = prop::sample::select(Verb::ALL);
    let field = prop_oneof![
        "#?[a-zA-Z0-9._-]{1,8}",
        "[0-9]{1,18}",
        "[a-f0-9]{64}",
        "[ -~]{0,12}",
        "\\PC{1,6}",
        prop::sample::select(vec![
            "*", "-", "on", "off", "AS", "#", "", "é", "/tmp/a b", "0"
        ])
        .prop_map(str::to_owned),
    ];
    (verb, vec(field, 0..4)).prop_map(|(verb, fields)| format!("{verb} {}", fields.join(" ")))
}

/// Describes in words every item that a decoder finds in `pieces`.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut decoder = LineDecoder::default();
    let mut found = Vec::new();
    for mut piece in pieces {
        while let Some(item) = decoder.next(&mut piece) {
            found.push(format!("{item:?}"));
        }
        assert!(piece.is_empty(), "all of a piece is taken in");
    }
    found.extend(decoder.finish().map(|item| format!("{item:?}")));
    found
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_lines(
        bytes in input(),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let whole = decode([&bytes[..]]);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|two| &bytes[two[0]..two[1]]);
        prop_assert_eq!(&decode(pieces), &whole);
        prop_assert_eq!(&decode(bytes.chunks(1)), &whole);
    }

    #[test]
    fn no_line_is_longer_than_the_limit_or_contains_its_line_ending(bytes in input()) {
        let mut decoder = LineDecoder::default();
        let mut rest = &bytes[..];
        while let Some(item) = decoder.next(&mut rest) {
            if let Item::Line { bytes, .. } = item {
                prop_assert!(bytes.len() < LINE_BYTES_MAX);
                prop_assert!(!bytes.contains(&b'\n'));
            }
        }
    }

    #[test]
    fn a_request_parses_to_itself(line in line()) {
        // A line that `clean` changes may parse differently afterwards; no client sends such a line again.
        prop_assume!(is_clean(&line));
        if let Ok(Some(request)) = Request::parse(line.as_bytes()) {
            let is_refused = match &request {
                Request::Upload(upload) => upload.name.is_err(),
                Request::Text(text) => text.to.is_err(),
                _ => false,
            };
            if !is_refused {
                let written = request.to_string();
                prop_assert_eq!(Request::parse(written.as_bytes()), Ok(Some(request)), "{}", written);
            }
        }
    }

    #[test]
    fn each_verb_is_parsed_from_its_own_word_only(word in "/?[A-Za-z]{1,9}") {
        let request = Request::parse(word.as_bytes());
        let verb = Verb::parse(word.as_bytes());
        match request {
            Ok(request) => prop_assert_eq!(request.map(|request| request.verb()), verb),
            Err(refusal) => prop_assert_eq!(refusal.verb, verb),
        }
    }

    #[test]
    fn a_refusal_is_one_safe_line(bytes in input()) {
        for line in bytes.split(|b| *b == b'\n') {
            if let Err(refusal) = Request::parse(line) {
                let refusal = refusal.to_string();
                prop_assert!(is_clean(&refusal) && refusal.starts_with("ERR "), "{:?}", refusal);
                let is_err = matches!(ServerLine::parse(&refusal), ServerLine::Err { code: Some(_), .. });
                prop_assert!(is_err, "{:?}", refusal);
            }
        }
    }

    #[test]
    fn an_event_parses_to_itself(
        verb in "(MSG|ME|FILE|STORED|TOPIC|REMOVE|JOIN|PART|NICK|NOTE)",
        fields in vec("(#[a-z]{1,4}|[a-zé]{1,6}|[0-9]{1,9}|\\*)", 2..5),
        text in "[ -~é\t]{0,20}",
    ) {
        let line = format!("{verb} {} {text}", fields.join(" "));
        if let Some(event) = Event::parse(&line) {
            let written = event.to_string();
            prop_assert_eq!(Event::parse(&written), Some(event.clone()), "{}", written);
            let live = ServerLine::parse(&written);
            prop_assert_eq!(live, ServerLine::Live { id: None, time: None, tags: "", event });
        }
    }

    #[test]
    fn clean_text_is_safe_and_stays_as_it_is(text in text()) {
        let cleaned = clean(&text);
        prop_assert!(is_clean(&cleaned));
        prop_assert!(!cleaned.chars().any(is_unsafe));
        prop_assert_eq!(&clean(&cleaned), &cleaned);
        prop_assert_eq!(is_clean(&text), cleaned == text);
        prop_assert!(cleaned.len() <= text.len());
    }

    #[test]
    fn a_name_parses_to_itself(text in "\\PC{0,40}") {
        if let Ok(nick) = Nick::parse(&text) {
            prop_assert_eq!(&Nick::parse(nick.as_str()), &Ok(nick.clone()));
            prop_assert!(is_clean(nick.as_str()) && !nick.as_str().contains(' '));
        }
        if let Ok(room) = RoomName::parse_loose(&text) {
            prop_assert_eq!(RoomName::parse(room.as_str()), Ok(room));
        }
        if let Ok(name) = FileName::parse(&text) {
            prop_assert_eq!(FileName::parse(name.as_str()), Ok(name));
        }
    }

    #[test]
    fn junk_from_one_client_does_not_affect_others(bytes in vec(any::<u8>(), 0..200), text in any::<String>()) {
        let _ = Request::parse(&bytes);
        let _ = Request::parse(text.as_bytes());
        let _ = looks_like_command(&bytes);
        let _ = ServerLine::parse(&text);
        let _ = Event::parse(&text);
    }

    #[test]
    fn a_valid_line_after_junk_still_works(
        junk in input(),
        lines in vec(line(), 0..12),
        takes in 1..200_usize,
    ) {
        let mut server = Memory::new(&[], takes, 0).unwrap();
        let peer = server.open().unwrap();
        // Commands that end the connection or change the meaning of what follows have tests of their own.
        let harmless = |line: &&String| {
            !["UPLOAD", "TEXT", "BYE", "QUIT", "CHAT"].iter().any(|verb| line.starts_with(verb))
        };
        let lines: Vec<String> = lines.iter().filter(harmless).map(|line| format!("{line}\n")).collect();
        // End any telnet sequence that the junk has begun.
        let input = [&junk[..], b" \xff\xf0\n", lines.concat().as_bytes(), b"PING after\n"].concat();
        for piece in input.chunks(1000) {
            server.push(peer, piece).unwrap();
        }
        let out = everything(&mut server, peer);
        let text = String::from_utf8(without_telnet(&out)).expect("what comes out is UTF-8");
        prop_assert!(text.split('\n').all(|line| is_clean(line) && line.len() < 5000), "{:?}", text);
        prop_assert!(text.ends_with("OK PING after\n"), "{:?} after {:?}", text, input.escape_ascii().to_string());
    }
}

/// Returns everything that `peer` has received.
fn everything(server: &mut Memory, peer: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while let Taken::Bytes(bytes) = server.take(peer, Duration::ZERO) {
        out.extend(bytes);
    }
    out
}

/// Returns `out` without the replies to telnet options, three bytes each.
fn without_telnet(mut out: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    while let Some((first, rest)) = out.split_first() {
        match first {
            0xff => out = rest.get(2..).unwrap_or_default(),
            _ => {
                text.push(*first);
                out = rest;
            }
        }
    }
    text
}
