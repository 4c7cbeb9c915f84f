//! protocol.md 3.1, 3.2, 3.4: a valid line works however its bytes are split and whatever precedes it.
//!
//! Every command is split at every byte, and junk of every kind is followed by a line that must be answered.

use crate::support::carriers::Tls;
use crate::support::run::{PATIENCE, Server as _, Taken};
use crate::support::server::Chatd;
use crate::support::spawn::Peer;
use plainchat::protocol::line::{LINE_BYTES_MAX, LINE_OUT_BYTES_MAX};
use plainchat::protocol::{Time, Verb};

/// Sent before the bytes that are split, so that every command can succeed.
const BEFORE: &[u8] = b"JOIN #cut\nNICK cut\nPING mark\n";

/// Every command, with line endings of each kind, the bytes of an upload, every way in which an upload
/// fails, telnet, and talker mode. `<file>` is the id of an existing file.
const CUT: &[&[u8]] = &[
    b"MSG hello, Zo\xc3\xab \xf0\x9f\x91\x8b\r\n",
    b"ME  waves \n",
    b"TELL #other a line\n",
    b"TELL bob psst\r\0\n",
    b"TELL nobody psst\n",
    b"NICK safe my secret\nNICK cut\n",
    b"NICK bob\n",
    b"JOIN more\nPART #more\n",
    b"JOIN unused\nNICK scissors\nNICK cut\nPART unused\n",
    b"JOIN #more 0\nJOIN more AS shears\nSEEN #more 9007199254740991\nSEEN #more 0 AS comb\nREADERS\nFORGET #more comb\nFORGET more shears\nPART more\n",
    b"HISTORY #more 5 after 0\nHISTORY more\nSEARCH #more first\n",
    b"ROOMS\n",
    b"AWAY at lunch\nWHO cut\nWHOIS cut\nMINE\nAWAY\n",
    b"TOPIC #cut on time\nTOPIC\nTOPIC -\n",
    b"UPLOAD my notes.txt 11\nline\r\n\xe9\0\xff\xfd\x06PING after\n",
    b"TEXT 11\nline\r\n\xc3\xa9\n\nabMSG after\n",
    b"TEXT 3\na\xffbPING after\n",
    b"TEXT 0\nPING after\n",
    b"TEXT 5 bob ann\nBYE\n\nPING after\n",
    b"TEXT 3\r\nhi\n",
    b"UPLOAD none 0\nPING after\n",
    b"UPLOAD good 2 8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4\nhi",
    b"UPLOAD bad 2 0000000000000000000000000000000000000000000000000000000000000000\nhi",
    b"UPLOAD a/.. 4\nBYE\nPING after\n",
    b"UPLOAD long 9007199254740992\n",
    b"UPLOAD crlf 2\r\nhi",
    b"UPLOAD step 2\nhi<html>\n",
    b"DOWNLOAD <file>\n",
    b"DOWNLOAD <file> 3\nPING after\n",
    b"FILES lobby\n",
    b"REMOVE <file>\n",
    b"STAMPS on\nSTAMPS off\n",
    b"@notice;x-a=b MSG tagged\nTAGS on\nTAGS off\n",
    b"EDIT 9007199254740991 new\nREACT 9007199254740991 \xf0\x9f\x91\x8d\nUNREACT 9007199254740991 x\nREACTS <file>\n",
    b"STAY\n",
    b"CHAT\nsaid\n//said\n/me waves\n/who cut\n/raw\n",
    b"RAW\n",
    b"/Ping word\nping\n",
    b"P\xff\xf4I\xff\xfd\x06N\xff\xfb\x01G\n",
    b"HELLO\n",
    b"HELP MSG\n",
    b"MODE #more\nINVITE #more bob\nINVITES #more\nUNINVITE #more bob\n",
    b"IGNORE bob\nUNIGNORE bob\n",
    b"REGISTER short\nPASS any words\n",
    b"TOKEN ci\nTOKENS\nREVOKE ci\n",
    b"HOOK ci #more\nHOOKS\n",
    b"KICK bob enough\nBAN bob 12h enough\nUNBAN bob\nBANS\nNOTE to all\nSHUTDOWN now\n",
    b"BYE see you\n",
    b"QUIT\n",
    b"Me too\n",
    b"MSG\n",
    b"MSG \xff\n",
    b"\xef\xbb\xbf\n\n   \n",
];

/// Starts a server with events in each room that [`CUT`] uses, and a file that bob has uploaded.
fn with_bob() -> (Chatd, Peer, String) {
    let chatd = Chatd::start();
    let mut bob = chatd.member("bob");
    for room in ["#lobby", "#cut", "#other", "#more"] {
        bob.ask(&format!("TELL {room} first"), "OK TELL <id> <time>");
    }
    bob.send("UPLOAD greeting 12\nhello\nthere\n");
    let stored = bob.expect("OK UPLOAD <id> 12 <sha256>");
    let file = stored.split(' ').nth(2).expect("its number").to_owned();
    (chatd, bob, file)
}

/// Sends `pieces` one by one and returns the replies, up to the answer to a last `PING` or the end. Each piece except
/// the last is sent together with a `PING` whose answer is awaited, so the server processes the piece before it
/// receives what follows.
fn converse(chatd: &Chatd, pieces: &[&[u8]]) -> Vec<String> {
    let mut peer = chatd.peer();
    let (last, first) = pieces.split_last().expect("something to send");
    peer.send([BEFORE, &first.concat()].concat());
    peer.inbox.find(|line| line == "OK PING mark");
    peer.try_send(&[last, &b"\nPING the-end\n"[..]].concat());
    let mut lines = Vec::new();
    while let Some(line) = peer.inbox.line_or_end() {
        if line.ends_with("OK PING the-end") {
            lines.push(line);
            // After the connection has ended, the nick is free for the next one.
            peer.ask("BYE", "OK BYE");
            assert_eq!(peer.inbox.line_or_end(), None);
            break;
        }
        lines.push(line);
    }
    lines.iter().map(|line| without_numbers(line)).collect()
}

/// Returns `line` with its ids and times replaced, because these differ each time.
fn without_numbers(line: &str) -> String {
    let alike = |word: &str| {
        if word.len() >= 12 && word.bytes().all(|b| b.is_ascii_digit()) {
            "<id>".to_owned()
        } else if Time::parse(word).is_some() {
            "<time>".to_owned()
        } else {
            word.to_owned()
        }
    };
    line.split(' ').map(alike).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_command_is_answered_the_same_wherever_it_is_split() {
    let (chatd, mut bob, file) = with_bob();
    for template in CUT {
        let bytes = fill(template, &file);
        let whole = converse(&chatd, &[&bytes]);
        assert!(
            !whole.is_empty(),
            "{} had no answer",
            template.escape_ascii()
        );
        for at in 1..bytes.len() {
            let (a, b) = bytes.split_at(at);
            let cut = converse(&chatd, &[a, b]);
            assert_eq!(cut, whole, "{} || {}", a.escape_ascii(), b.escape_ascii());
        }
        // Bob must keep reading, or his inbox would be full in the end.
        bob.send("PING read\n");
        bob.inbox.find(|line| line == "OK PING read");
    }
}

#[test]
fn every_command_is_answered_the_same_if_sent_byte_by_byte() {
    let (chatd, mut bob, file) = with_bob();
    for template in CUT {
        let bytes = fill(template, &file);
        let whole = converse(&chatd, &[&bytes]);
        let mut peer = chatd.peer();
        let all = [BEFORE, &bytes, b"\nPING the-end\n"].concat();
        for byte in &all {
            peer.try_send(&[*byte]);
        }
        peer.inbox.find(|line| line == "OK PING mark");
        let mut lines = Vec::new();
        while let Some(line) = peer.inbox.line_or_end() {
            lines.push(without_numbers(&line));
            if line.ends_with("OK PING the-end") {
                peer.ask("BYE", "OK BYE");
                break;
            }
        }
        assert_eq!(lines, whole, "{}", template.escape_ascii());
        assert_eq!(peer.inbox.line_or_end(), None);
        bob.send("PING read\n");
        bob.inbox.find(|line| line == "OK PING read");
    }
}

#[test]
fn every_verb_is_among_the_split_commands() {
    let lines = CUT.iter().flat_map(|bytes| bytes.split(|b| *b == b'\n'));
    let cut: Vec<Verb> = lines
        .filter_map(|line| Verb::parse(line.split(|b| *b == b' ').next()?))
        .collect();
    for verb in Verb::ALL {
        assert!(cut.contains(verb), "{verb} is not among them");
    }
}

fn fill(template: &[u8], file: &str) -> Vec<u8> {
    let at = template.windows(6).position(|part| part == b"<file>");
    at.map_or(template.to_vec(), |at| {
        [&template[..at], file.as_bytes(), &template[at + 6..]].concat()
    })
}

/// Sends `junk` as the first line of a connection and as a later one, and then a valid line. The replies must fit
/// `expected`, and the answer to the valid line must follow.
#[track_caller]
fn check_junk(chatd: &Chatd, junk: &[u8], expected: &[&str]) {
    for before in [&b""[..], b"PING before\n"] {
        let mut peer = chatd.peer();
        peer.send([before, junk, b"PING after\n"].concat());
        if !before.is_empty() {
            peer.expect("OK PING before");
        }
        let is_typed = expected.first().is_none_or(|line| {
            line.starts_with("ERR - unknown") || line.starts_with("ERR - not-utf8")
        });
        if before.is_empty() && is_typed {
            peer.expect("HELLO 1 …");
        }
        for pattern in expected {
            peer.expect(pattern);
        }
        peer.expect("OK PING after");
    }
}

#[test]
fn junk_is_refused_and_the_next_line_works() {
    let chatd = Chatd::start();
    let unknown = "ERR - unknown-verb …";
    for junk in [
        &b"\xff\xff\n"[..],
        b"\xc3\x28\n",
        b"\x1b[31mMSG hi\n",
        b"\x1b]0;owned\x07\n",
        b"\xe2\x80\xaePING\n",
        b"P\xc3\x8fNG\n",
        b"Me too\n",
        b"MSG\thi\n",
        b"<html>\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
    ] {
        check_junk(&chatd, junk, &[unknown]);
    }
    check_junk(&chatd, b"PING \xff\n", &["ERR PING not-utf8 …"]);
    check_junk(&chatd, b"\0\0\0\n", &["ERR - not-utf8 …"]);
    check_junk(&chatd, b"M\0SG hi\n", &["ERR MSG not-utf8 …"]);
    check_junk(&chatd, b"PING \xed\xa0\x80\n", &["ERR PING not-utf8 …"]);
    check_junk(&chatd, b"PING \x1b]0;owned\x07\n", &["OK PING"]);
    check_junk(&chatd, b"STAMPS \x1b[31m\n", &["ERR STAMPS bad-syntax …"]);
    check_junk(&chatd, b"NICK \xe2\x80\xaebob\n", &["ERR NICK bad-name …"]);
    check_junk(&chatd, b"\r\n\n   \n\r\0\n", &[]);
    check_junk(
        &chatd,
        b"EHLO me\r\nMAIL FROM:<a@b>\r\n",
        &[unknown, unknown],
    );
}

#[test]
fn overlong_input_is_answered_once_and_the_next_line_works() {
    let chatd = Chatd::start();
    let too_long = "ERR - too-long …";
    for byte in [b' ', b'x', 0, 0xc3, 0xfe] {
        let junk = [&vec![byte; 1 << 20][..], b"\n"].concat();
        check_junk(&chatd, &junk, &[too_long]);
    }
}

#[test]
fn a_byte_order_mark_does_not_belong_to_the_first_line() {
    let chatd = Chatd::start();
    let mut peer = chatd.peer();
    peer.send(b"\xef\xbb\xbfPING a\n\xef\xbb\xbfPING b\nPING c\n");
    peer.expect("OK PING a");
    peer.expect("ERR - unknown-verb …");
    peer.expect("OK PING c");
}

#[test]
fn telnet_options_are_declined_and_never_part_of_a_line() {
    let chatd = Chatd::start();
    let mut peer = chatd.peer();
    peer.send(b"\xff\xfd\x06\xff\xfb\x1fPI\xff\xf1NG\xff\xfa\x18\x00xterm\xff\xf0 a\n");
    assert_eq!(peer.inbox.bytes(6), b"\xff\xfc\x06\xff\xfe\x1f");
    peer.expect("OK PING a");
}

#[test]
fn no_byte_of_an_irc_client_is_a_telnet_command() {
    let chatd = Chatd::start();
    let mut peer = chatd.peer();
    peer.send(b"NICK ann\r\nUSER a 0 * :a\r\nPRIVMSG #lobby :\xff\xfd\x06\r\nPING :after\r\n");
    let refused = peer.inbox.find(|line| line.contains(" FAIL "));
    assert!(refused.contains(" FAIL PRIVMSG INVALID_UTF8 "), "{refused}");
    peer.inbox
        .find(|line| line.contains(" PONG ") && line.ends_with(":after"));
}

/// Returns `text` as Windows programs write it: in UTF-16, with its byte order mark.
fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(unit).collect()
}

#[test]
fn utf16_is_refused_line_by_line_and_says_what_to_do() {
    let chatd = Chatd::start();
    for unit in [u16::to_le_bytes, u16::to_be_bytes] {
        let mut peer = chatd.peer();
        let mut text = utf16("NICK ann\r\nMSG gr\u{fc}\u{df} \u{4e2d}\r\n", unit);
        // Little endian leaves behind the second half of the last line ending. After it, UTF-8 follows.
        text.extend(b"\nPING after\n");
        peer.send(&text);
        let refused = std::cell::Cell::new(0);
        peer.inbox.find(|line| {
            let is_refused = line.contains("not-utf8 ");
            assert!(
                !is_refused || line.contains("UTF-16") && line.contains("iconv"),
                "{line}"
            );
            assert!(
                is_refused || line.starts_with("HELLO 1 ") || line == "OK PING after",
                "{line}"
            );
            refused.set(refused.get() + usize::from(is_refused));
            line == "OK PING after"
        });
        assert!(refused.get() >= 2);
    }
}

#[test]
fn no_byte_is_a_telnet_command_under_tls_or_in_websocket_messages() {
    let chatd = Chatd::start();
    let mut tls = Tls::new(chatd.address);
    let peer = tls.open().unwrap();
    tls.push(peer, b"PI\xff\xf1NG 1\nPING a\xff\xfd\x06b\nPING after\n")
        .unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"OK PING after\n") {
        match tls.take(peer, PATIENCE) {
            Taken::Bytes(bytes) => got.extend(bytes),
            _ => panic!("it ended after {}", got.escape_ascii()),
        }
    }
    let got = String::from_utf8(got).expect("no option of telnet is answered");
    let replies: Vec<&str> = got
        .lines()
        .filter(|line| !line.starts_with("HELLO "))
        .collect();
    let starts = ["ERR - unknown-verb ", "ERR PING not-utf8 ", "OK PING after"];
    assert_eq!(replies.len(), starts.len(), "{got}");
    assert!(
        replies
            .iter()
            .zip(starts)
            .all(|(line, start)| line.starts_with(start)),
        "{got}"
    );
}

#[test]
fn random_junk_is_followed_by_a_line_that_works() {
    let chatd = Chatd::start();
    // Xorshift, so that a failure can be repeated.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut peer = chatd.peer();
    for round in 0..300 {
        let mut junk: Vec<u8> = (0..round * 7)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect();
        junk.extend_from_slice(format!("\nPING round-{round}\n").as_bytes());
        peer.send(&junk);
        let answer = format!("OK PING round-{round}");
        peer.inbox.find(|line| {
            // The three bytes that decline a telnet option may precede an `ERR`.
            let is_greeting = round == 0 && line.starts_with("HELLO 1 ");
            assert!(
                line == answer || line.contains("ERR ") || is_greeting,
                "{line:?}"
            );
            line == answer
        });
    }
}

#[test]
fn a_line_of_4096_bytes_with_its_end_fits_and_one_more_is_too_long() {
    let chatd = Chatd::start();
    let mut peer = chatd.member("peer");
    let mut alice = chatd.member("alice");
    // A character of two bytes crosses each edge, at one of the two offsets.
    for pad in ["", "x"] {
        for length in LINE_BYTES_MAX - 1..=LINE_BYTES_MAX + 1 {
            for end in ["\n", "\r\n"] {
                let room = length - "MSG ".len() - pad.len() - end.len();
                let mut text = format!("{pad}{}", "é".repeat(room / 2));
                text.push_str(&"y".repeat(room % 2));
                let line = format!("MSG {text}{end}");
                assert_eq!(line.len(), length);
                peer.send(&line);
                if length <= LINE_BYTES_MAX {
                    peer.expect("OK MSG <id> <time>");
                    let message = alice.inbox.find(|line| line.starts_with("MSG "));
                    assert_eq!(message, format!("MSG #lobby peer {text}"));
                } else {
                    peer.expect("ERR - too-long …");
                }
                peer.ask("PING", "OK PING");
            }
        }
    }
}

#[test]
fn the_longest_line_from_the_server_is_within_its_limit() {
    let chatd = Chatd::start();
    let name = "語".repeat(32);
    let mut speaker = chatd.peer();
    speaker.ask(&format!("JOIN #{name}"), &format!("OK JOIN #{name} <id>"));
    speaker.send(format!("NICK {name}\n"));
    speaker.expect(&format!("OK NICK {name} #{name} <id>"));
    let mut reader = chatd.peer();
    reader.ask("STAMPS on", "OK STAMPS on");
    reader.ask(&format!("JOIN #{name}"), &format!("OK JOIN #{name} <id>"));
    let text = "x".repeat(LINE_BYTES_MAX - "MSG \n".len());
    speaker.ask(&format!("MSG {text}"), "OK MSG <id> <time>");
    let line = reader.inbox.find(|line| line.contains(" MSG "));
    assert!(line.ends_with(&text));
    assert!(line.len() < LINE_OUT_BYTES_MAX, "{}", line.len());
}
