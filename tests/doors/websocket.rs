//! protocol.md 11.3, http.md 7: WebSocket, with the frames that a client may send and those that it may not.
//!
//! The sections of RFC 6455:
//!
//! | section | tests |
//! |---|---|
//! | 4.1, 4.2 the handshake; 9.1 extensions (none is supported); 1.9 subprotocols (only IRC's is supported) | `section_4_2_…`, `section_9_1_…` |
//! | 5.1, 5.3 masking | `section_5_1_…`, `section_5_3_…` |
//! | 5.2 lengths, opcodes, reserved bits | `section_5_2_…` |
//! | 5.4 fragments | `section_5_4_…` |
//! | 5.5 control frames: close, ping, pong | `section_5_5_…`; a missing pong: `src/transport/websocket.rs` |
//! | 5.6 text and binary | `a_text_message_…`, `a_file_s_bytes_…` |
//! | 7.1 which side closes, and how; 7.4 the codes | `section_7_…` |
//! | 8.1 UTF-8 | `section_8_1_…` |
//! | 10.3 unpredictable masks, 10.4 limits | the former concerns the client; `section_10_4_…`, `a_flood_of_pings_…` |
//! | 10.2 origins | `tests/doors/web/mod.rs` |

use crate::support::carriers::{Frame, Frames, frame};
use crate::support::run::PATIENCE;
use crate::support::schema::{fits, http_schema};
use crate::support::server::Chatd;
use crate::support::spawn::Peer;

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const FIN: u8 = 0x80;

fn open(chatd: &Chatd) -> Frames {
    Frames::open(chatd.address).expect("the handshake")
}

/// Checks that the next message is this line, or begins with it if it ends in `…`.
#[track_caller]
fn expect(peer: &mut Frames, line: &str) {
    let frame = peer.next(PATIENCE).expect("no error").expect("a frame");
    let text = String::from_utf8(frame.payload).expect("UTF-8");
    let fits = match line.strip_suffix('…') {
        Some(begun) => text.starts_with(begun),
        None => text == line,
    };
    assert!(frame.opcode == 1 && fits, "wanted {line}, got {text}");
}

/// Checks that the server sends a close frame with `code`, and then ends the connection.
#[track_caller]
fn expect_close(peer: &mut Frames, code: u16) {
    let expected = Frame {
        opcode: 8,
        payload: code.to_be_bytes().to_vec(),
    };
    assert_eq!(peer.next(PATIENCE), Ok(Some(expected)));
    assert_eq!(peer.next(PATIENCE), Ok(None));
}

/// Checks that what is sent after a good line closes the connection with `code`, while another connection continues.
#[track_caller]
fn check_refused(chatd: &Chatd, bytes: &[u8], code: u16) {
    let mut peer = open(chatd);
    peer.send(TEXT, b"PING before").unwrap();
    expect(&mut peer, "OK PING before");
    peer.raw(bytes).unwrap();
    expect_close(&mut peer, code);
    let mut other = open(chatd);
    other.send(TEXT, b"PING after").unwrap();
    expect(&mut other, "OK PING after");
}

/// Returns the head of the reply to a handshake of `lines`, after which `more` is sent.
fn shake_hands(chatd: &Chatd, lines: &[&str], more: &[u8]) -> (String, Peer) {
    let mut peer = chatd.peer();
    let head = format!("{}\r\nHost: {}\r\n\r\n", lines.join("\r\n"), chatd.address);
    peer.send([head.as_bytes(), more].concat());
    let mut answer = String::new();
    loop {
        let line = peer.inbox.line();
        if line.is_empty() {
            return (answer, peer);
        }
        answer = answer + &line + "\n";
    }
}

const ASK: [&str; 5] = [
    "GET /ws HTTP/1.1",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

#[test]
fn section_4_2_a_handshake_is_whole_or_refused() {
    let chatd = Chatd::start();
    for (instead, status) in [
        (None, 101),
        (Some((1, "upgrade: WebSocket")), 101),
        (Some((1, "Upgrade: h2c, websocket")), 101),
        (Some((2, "Connection: keep-alive, Upgrade")), 101), // as Firefox has it
        (Some((0, "POST /ws HTTP/1.1")), 426),
        (Some((0, "GET /ws HTTP/1.0")), 426),
        (Some((1, "Upgrade: h2c")), 426),
        (Some((1, "X: y")), 426),
        (Some((2, "Connection: keep-alive")), 426),
        (Some((2, "X: y")), 426),
        (Some((3, "Sec-WebSocket-Version: 8")), 426),
        (Some((3, "X: y")), 426),
        (Some((4, "X: y")), 400),
        (Some((4, "Sec-WebSocket-Key: ")), 400),
        (Some((4, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ")), 400),
        (Some((4, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j")), 400), // 15 bytes
        (Some((0, "GET /wss HTTP/1.1")), 404),
    ] {
        let mut lines = ASK;
        if let Some((at, line)) = instead {
            lines[at] = line;
        }
        let (answer, _) = shake_hands(&chatd, &lines, b"");
        assert!(
            answer.contains(&format!(" {status} ")),
            "{lines:?}: {answer}"
        );
        // 4.4: a client with another version is sent the supported one.
        let names_version = answer.contains("sec-websocket-version: 13\n");
        assert_eq!(names_version, status == 426, "{lines:?}: {answer}");
        let key = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n";
        assert_eq!(answer.contains(key), status == 101, "{lines:?}: {answer}");
    }
}

#[test]
fn section_4_1_frames_may_follow_the_handshake_at_once() {
    let chatd = Chatd::start();
    let (answer, mut peer) = shake_hands(&chatd, &ASK, &frame(TEXT, b"PING early"));
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    peer.send(frame(CLOSE, b""));
    assert_eq!(peer.inbox.rest(), b"\x81\x0dOK PING early\x88\x02\x03\xe8");
}

#[test]
fn section_9_1_offered_extensions_and_subprotocols_are_declined() {
    let chatd = Chatd::start();
    let offers = [
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        "Sec-WebSocket-Protocol: chat, superchat",
    ];
    let (answer, mut peer) = shake_hands(&chatd, &[&ASK[..], &offers].concat(), b"");
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(
        !answer.contains("extensions") && !answer.contains("protocol"),
        "{answer}"
    );
    peer.send([frame(TEXT, b"PING"), frame(CLOSE, b"")].concat());
    assert_eq!(peer.inbox.rest(), b"\x81\x07OK PING\x88\x02\x03\xe8");
}

#[test]
fn section_5_3_any_mask_is_removed_wherever_the_frame_is_split() {
    let chatd = Chatd::start();
    let mut peer = open(&chatd);
    for (n, mask) in [[0; 4], [0xff; 4], *b"PING", [1, 0, 0, 0]]
        .into_iter()
        .enumerate()
    {
        for length in 0..9 {
            let text = format!("PING {n}{}", "x".repeat(length));
            let masked = text.bytes().zip(mask.into_iter().cycle());
            let mut bytes = vec![TEXT, 0x80 | u8::try_from(text.len()).unwrap()];
            bytes.extend(mask);
            bytes.extend(masked.map(|(byte, mask)| byte ^ mask));
            let (first, rest) = bytes.split_at(2 + length);
            peer.raw(first).unwrap();
            peer.raw(rest).unwrap();
            expect(&mut peer, &format!("OK {text}"));
        }
    }
}

#[test]
fn section_5_1_an_unmasked_frame_is_a_protocol_error() {
    check_refused(&Chatd::start(), b"\x81\x04PING", 1002);
}

#[test]
fn section_5_2_reserved_bits_and_opcodes_and_long_lengths_are_protocol_errors() {
    let chatd = Chatd::start();
    for first in [0xc1, 0xa1, 0x91, 0x83, 0x87, 0x8b, 0x8f] {
        check_refused(&chatd, &frame(first, b"PING"), 1002);
    }
    // 4 in 16 bits, 126 in 64 bits, and a length with the highest bit.
    check_refused(&chatd, b"\x81\xfe\x00\x04\0\0\0\0PING", 1002);
    let long = [
        b"\x81\xff\0\0\0\0\0\0\0\x7e\0\0\0\0".as_slice(),
        &[b'a'; 126],
    ]
    .concat();
    check_refused(&chatd, &long, 1002);
    check_refused(&chatd, b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0", 1002);
}

#[test]
fn section_5_2_every_length_is_read_however_it_is_split() {
    let chatd = Chatd::start();
    let mut peer = open(&chatd);
    for length in [0, 1, 120, 121, 122, 2000, 4090] {
        let text = "x".repeat(length);
        for byte in frame(TEXT, format!("PING {text}").as_bytes()) {
            peer.raw(&[byte]).unwrap();
        }
        let rest = if length == 0 {
            String::new()
        } else {
            format!(" {text}")
        };
        expect(&mut peer, &format!("OK PING{rest}"));
    }
    // Many in one write.
    let many: Vec<u8> = (0..500)
        .flat_map(|n| frame(TEXT, format!("PING {n}").as_bytes()))
        .collect();
    peer.raw(&many).unwrap();
    for n in 0..500 {
        expect(&mut peer, &format!("OK PING {n}"));
    }
}

#[test]
fn section_5_4_a_message_may_come_in_fragments_with_control_frames_between() {
    let chatd = Chatd::start();
    let mut peer = open(&chatd);
    peer.send(0x01, b"PI").unwrap();
    peer.send(PING, b"between").unwrap();
    peer.send(0x00, b"").unwrap();
    peer.send(0x00, b"NG a").unwrap();
    peer.send(PONG, b"unasked").unwrap();
    let pong = Frame {
        opcode: 10,
        payload: b"between".to_vec(),
    };
    assert_eq!(peer.next(PATIENCE), Ok(Some(pong)));
    peer.send(FIN, b"b").unwrap();
    expect(&mut peer, "OK PING ab");
}

#[test]
fn section_5_4_a_message_may_come_in_a_fragment_for_each_byte() {
    let chatd = Chatd::start();
    let mut peer = open(&chatd);
    let text = format!("PING {}", "é".repeat(2000));
    let mut frames = frame(0x01, b"");
    for byte in text.bytes() {
        frames.extend(frame(0x00, &[byte]));
    }
    frames.extend(frame(FIN, b""));
    peer.raw(&frames).unwrap();
    expect(&mut peer, &format!("OK {text}"));
}

#[test]
fn section_5_4_fragments_out_of_order_are_protocol_errors() {
    let chatd = Chatd::start();
    check_refused(&chatd, &frame(FIN, b"PING"), 1002); // no message to continue
    check_refused(
        &chatd,
        &[frame(0x01, b"PI"), frame(TEXT, b"NG")].concat(),
        1002,
    );
    check_refused(
        &chatd,
        &[frame(0x02, b""), frame(BINARY, b"NG")].concat(),
        1002,
    );
}

#[test]
fn section_5_5_a_control_frame_is_short_and_whole() {
    let chatd = Chatd::start();
    check_refused(&chatd, &frame(PING, &[b'a'; 126]), 1002);
    check_refused(&chatd, &frame(0x09, b"a"), 1002);
    let mut peer = open(&chatd);
    for length in [0, 1, 125] {
        peer.send(PING, &vec![b'a'; length]).unwrap();
        let pong = Frame {
            opcode: 10,
            payload: vec![b'a'; length],
        };
        assert_eq!(peer.next(PATIENCE), Ok(Some(pong)));
    }
}

#[test]
fn section_5_5_1_a_close_is_answered_with_its_code_after_all_replies() {
    let chatd = Chatd::start();
    for (payload, code) in [
        (&b""[..], 1000),
        (&[3, 232], 1000),
        (&[3, 233], 1001),
        (&[15, 160, b'o', b'k'], 4000),
    ] {
        let mut peer = open(&chatd);
        peer.send(TEXT, b"STAY").unwrap();
        peer.send(TEXT, b"PING").unwrap();
        peer.send(CLOSE, payload).unwrap();
        peer.send(TEXT, b"PING after").unwrap(); // this is no longer read
        expect(&mut peer, "OK STAY");
        expect(&mut peer, "OK PING");
        expect_close(&mut peer, code);
    }
}

#[test]
fn section_5_5_1_a_close_has_a_reason_of_123_bytes_at_most() {
    let chatd = Chatd::start();
    let reason = |length| [&[3, 232][..], &vec![b'a'; length]].concat();
    let mut peer = open(&chatd);
    peer.send(CLOSE, &reason(123)).unwrap();
    expect_close(&mut peer, 1000);
    check_refused(&chatd, &frame(CLOSE, &reason(124)), 1002);
}

#[test]
fn section_7_1_1_the_server_closes_the_connection_first() {
    let chatd = Chatd::with(&["--announce-after", "1ms"]);
    let mut peer = open(&chatd);
    peer.send(TEXT, b"BYE").unwrap();
    expect(&mut peer, "OK BYE");
    expect_close(&mut peer, 1000);
    peer.send(CLOSE, &[3, 232]).unwrap(); // the reply to that
    // A client that disconnects without a close frame is gone.
    let mut watch = chatd.member("watch");
    let mut peer = open(&chatd);
    peer.send(TEXT, b"NICK ann").unwrap();
    watch.expect("JOIN #lobby ann");
    drop(peer);
    watch.expect("PART #lobby ann");
}

#[test]
fn section_7_4_valid_codes_are_echoed() {
    let chatd = Chatd::start();
    let codes = (1000..=1003)
        .chain(1007..=1014)
        .chain([3000, 3999, 4000, 4999]);
    for code in codes {
        let mut peer = open(&chatd);
        peer.send(CLOSE, &u16::to_be_bytes(code)).unwrap();
        expect_close(&mut peer, code);
    }
}

#[test]
fn section_7_4_invalid_codes_are_protocol_errors() {
    let chatd = Chatd::start();
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535_u16] {
        check_refused(&chatd, &frame(CLOSE, &code.to_be_bytes()), 1002);
    }
    check_refused(&chatd, &frame(CLOSE, &[3]), 1002); // half a code
    check_refused(&chatd, &frame(CLOSE, &[3, 232, 0xff]), 1007); // a reason that is not UTF-8
}

#[test]
fn section_8_1_text_is_utf8_however_it_is_split() {
    let chatd = Chatd::start();
    let mut peer = open(&chatd);
    let text = "PING κόσμε€😀".as_bytes();
    for at in 1..text.len() {
        peer.send(0x01, &text[..at]).unwrap();
        peer.send(FIN, &text[at..]).unwrap();
        expect(&mut peer, "OK PING κόσμε€😀");
    }
    for bad in [
        &b"\xff"[..],
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"a\x80",
        b"\xe2\x82",
    ] {
        check_refused(&chatd, &frame(TEXT, bad), 1007);
    }
    // Wrong from the first byte of the second fragment on, before the message ends.
    check_refused(
        &chatd,
        &[frame(0x01, b"\xe2\x82"), frame(0x00, b"a")].concat(),
        1007,
    );
    // Also in a line that is too long.
    let long = [vec![b'a'; 9000], b"\xff".to_vec()].concat();
    check_refused(&chatd, &frame(TEXT, &long), 1007);
}

#[test]
fn a_text_message_is_one_line_and_no_more() {
    let chatd = Chatd::start();
    let mut peer = open(&chatd);
    for torn in [
        "MSG a\nNICK evil",
        "MSG a\nNICK evil\n",
        "PING\r",
        "PING\n\n",
        "PING\r\r\n",
        "MSG a\r\nMSG b",
    ] {
        peer.send(TEXT, torn.as_bytes()).unwrap();
        expect(&mut peer, "ERR - bad-syntax …");
    }
    // A line end is also found in a line that is too long, at any position.
    peer.send(TEXT, &[vec![b'a'; 9000], b"\nNICK evil".to_vec()].concat())
        .unwrap();
    expect(&mut peer, "ERR - bad-syntax …");
    peer.send(TEXT, format!("MSG {}", "a".repeat(4096)).as_bytes())
        .unwrap();
    expect(&mut peer, "ERR - too-long …");
    // An empty first line is greeted.
    peer.send(TEXT, b"").unwrap();
    expect(&mut peer, "HELLO 1 …");
    peer.send(TEXT, b"PING").unwrap();
    expect(&mut peer, "OK PING");
}

#[test]
fn one_line_end_at_the_end_of_a_text_message_is_dropped() {
    let chatd = Chatd::start();
    let mut peer = open(&chatd);
    // As websocat and wscat send what is typed.
    for typed in ["PING a\n", "PING a\r\n", "\nPING a", "\r\n"] {
        peer.send(TEXT, typed.as_bytes()).unwrap();
        if typed.starts_with("PING") {
            expect(&mut peer, "OK PING a");
        } else if typed.len() > 2 {
            expect(&mut peer, "ERR - bad-syntax …");
        }
    }
    // Split between the two.
    peer.send(0x01, b"PING b\r").unwrap();
    peer.send(0x80, b"\n").unwrap();
    expect(&mut peer, "OK PING b");
    // The longest line, with its line end.
    let longest = format!("PING {}", "a".repeat(4090));
    peer.send(TEXT, format!("{longest}\r\n").as_bytes())
        .unwrap();
    expect(&mut peer, &format!("OK {longest}"));
}

#[test]
fn the_bytes_of_a_file_are_sent_in_binary_messages() {
    let chatd = Chatd::start();
    let mut peer = open(&chatd);
    peer.send(TEXT, b"NICK ann").unwrap();
    expect(&mut peer, "OK NICK ann #lobby …");
    peer.send(BINARY, b"stray").unwrap();
    expect(&mut peer, "ERR - bad-syntax …");
    peer.send(TEXT, b"UPLOAD a.txt 6").unwrap();
    peer.send(BINARY, b"").unwrap();
    peer.send(0x02, b"ab").unwrap();
    peer.send(0x00, b"c").unwrap();
    peer.send(FIN, b"").unwrap();
    peer.send(BINARY, b"def").unwrap();
    expect(&mut peer, "OK UPLOAD …");
    peer.send(TEXT, b"UPLOAD b.txt *").unwrap();
    peer.send(BINARY, b"live").unwrap();
    peer.send(BINARY, b"").unwrap();
    expect(&mut peer, "OK UPLOAD …");
    peer.send(TEXT, b"UPLOAD c.txt 2").unwrap();
    peer.send(BINARY, b"abc").unwrap();
    expect(&mut peer, "OK UPLOAD …");
    expect(&mut peer, "ERR - out-of-step …");
    expect_close(&mut peer, 1000);
    for begin in ["UPLOAD d.txt 9", "UPLOAD d.txt *", "TEXT 9"] {
        let mut peer = open(&chatd);
        peer.send(TEXT, b"NICK bob").unwrap();
        expect(&mut peer, "OK NICK bob #lobby …");
        peer.send(TEXT, begin.as_bytes()).unwrap();
        peer.send(BINARY, b"abc").unwrap();
        peer.send(TEXT, b"MSG too early").unwrap();
        let verb = begin.split(' ').next().unwrap();
        expect(&mut peer, &format!("ERR {verb} incomplete …"));
        expect_close(&mut peer, 1000);
    }
}

#[test]
fn section_10_4_a_file_may_come_in_one_frame_of_any_size_and_a_line_may_not() {
    let chatd = Chatd::start();
    let mut peer = open(&chatd);
    peer.send(TEXT, b"NICK ann").unwrap();
    expect(&mut peer, "OK NICK ann #lobby …");
    for length in [125, 126, 127, 65_535, 65_536, 300_000] {
        let bytes: Vec<u8> = (0..length).map(|n: u32| n.to_le_bytes()[0]).collect();
        peer.send(TEXT, format!("UPLOAD a {length}").as_bytes())
            .unwrap();
        peer.send(BINARY, &bytes).unwrap();
        let reply = peer.next(PATIENCE).expect("no error").expect("a frame");
        let reply = String::from_utf8(reply.payload).expect("UTF-8");
        let file = reply.strip_prefix("OK UPLOAD ").expect("it is kept");
        let number = file.split(' ').next().unwrap();
        peer.send(TEXT, format!("DOWNLOAD {number}").as_bytes())
            .unwrap();
        expect(&mut peer, &format!("DATA {number} {length} …"));
        let mut back = Vec::new();
        while back.len() < bytes.len() {
            let piece = peer.next(PATIENCE).expect("no error").expect("a frame");
            assert_eq!(piece.opcode, 2);
            back.extend(piece.payload);
        }
        assert!(back == bytes, "{length} bytes came back otherwise");
        expect(&mut peer, &format!("OK DOWNLOAD {number}"));
    }
    let before = chatd.memory();
    peer.send(TEXT, &vec![b'a'; 4 << 20]).unwrap();
    expect(&mut peer, "ERR - too-long …");
    let grown = chatd.memory().saturating_sub(before);
    assert!(grown < 2 << 20, "{grown} bytes more");
    peer.send(TEXT, b"PING").unwrap();
    expect(&mut peer, "OK PING");
}

#[test]
fn a_client_that_vanishes_in_a_live_upload_leaves_no_file() {
    let chatd = Chatd::start();
    let mut watch = chatd.peer();
    watch.send("JOIN #lobby\n");
    watch.expect("OK JOIN #lobby <id>");
    let mut peer = open(&chatd);
    peer.send(TEXT, b"NICK ann").unwrap();
    expect(&mut peer, "OK NICK ann #lobby …");
    peer.send(TEXT, b"UPLOAD a.txt *").unwrap();
    peer.send(BINARY, b"abc").unwrap();
    watch.expect("FILE #lobby ann <id> * a.txt");
    drop(peer);
    watch.expect("REMOVE #lobby ann <id>");
}

#[test]
fn a_flood_of_pings_that_is_not_read_uses_little_memory() {
    let chatd = Chatd::start();
    let mut peer = open(&chatd);
    let pings: Vec<u8> = (0..1000).flat_map(|_| frame(PING, &[b'a'; 125])).collect();
    let before = chatd.memory();
    for _ in 0..50 {
        peer.raw(&pings).unwrap();
    }
    peer.send(TEXT, b"PING last").unwrap();
    loop {
        let frame = peer.next(PATIENCE).expect("no error").expect("a frame");
        if frame.opcode == 1 {
            assert_eq!(frame.payload, b"OK PING last");
            break;
        }
    }
    let grown = chatd.memory().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more");
}

#[test]
fn a_client_of_the_subprotocol_text_ircv3_net_speaks_irc() {
    let chatd = Chatd::start();
    let offer = "Sec-WebSocket-Protocol: binary.ircv3.net, text.ircv3.net";
    let (answer, mut peer) = shake_hands(&chatd, &[&ASK[..], &[offer]].concat(), b"");
    let answer = answer.to_ascii_lowercase();
    assert!(
        answer.contains("sec-websocket-protocol: text.ircv3.net"),
        "{answer}"
    );
    // Both are answered as in IRC, and a message is a line without its end.
    peer.send(
        [
            frame(TEXT, b"NICK ann"),
            frame(TEXT, b"PING :x y\r\n"),
            frame(CLOSE, b""),
        ]
        .concat(),
    );
    let rest = peer.inbox.rest();
    let text = String::from_utf8_lossy(&rest);
    assert!(
        rest.starts_with(&[TEXT]) && !text.contains(['\r', '\n']),
        "{text:?}"
    );
    assert!(
        text.contains(" PONG ") && text.contains(" :x y"),
        "{text:?}"
    );
}

/// http.md 3: each line of the server is an object, as `http.schema.json` says, and the bytes of a file stay bytes.
#[test]
fn with_format_json_each_line_of_the_server_is_an_object() {
    let chatd = Chatd::start();
    let schema = http_schema();
    let mut bob = chatd.member("bob");
    let mut ann = Frames::open_at(chatd.address, "/ws?format=json").expect("the handshake");
    let next = |ann: &mut Frames| -> serde_json::Value {
        let frame = ann.next(PATIENCE).expect("no error").expect("a frame");
        assert_eq!(frame.opcode, 1);
        let object = serde_json::from_slice(&frame.payload).expect("JSON");
        assert!(fits(&schema, &schema, &object), "{object}");
        object
    };
    ann.send(TEXT, b"NICK ann").unwrap();
    let nick = next(&mut ann);
    assert_eq!((&nick["verb"], &nick["of"]), (&"OK".into(), &"NICK".into()));
    assert!(
        nick["text"]
            .as_str()
            .is_some_and(|text| text.starts_with("ann #lobby "))
    );
    bob.ask("@x-run=17 MSG \"hi\"", "OK MSG <id> <time>");
    let mut live = next(&mut ann);
    assert_eq!(live["text"], "\"hi\"");
    assert_eq!(live["tags"], serde_json::json!({"x-run": "17"}));
    assert!(live["id"].is_u64() && live["time"].is_string(), "{live}");
    ann.send(TEXT, b"HISTORY 1").unwrap();
    live["past"] = true.into();
    assert_eq!(next(&mut ann), live);
    assert_eq!(next(&mut ann)["of"], "HISTORY");
    ann.send(TEXT, b"MSG hello").unwrap();
    let sent = next(&mut ann);
    assert!(sent["id"].as_u64() > live["id"].as_u64(), "{sent}");
    ann.send(TEXT, b"SEARCH hello").unwrap();
    assert_eq!(next(&mut ann)["text"], "hello");
    let found = next(&mut ann);
    assert_eq!((&found["count"], &found["cut"]), (&1.into(), &false.into()));
    ann.send(TEXT, b"WHO").unwrap();
    assert_eq!(next(&mut ann)["verb"], "USER");
    assert_eq!(next(&mut ann)["verb"], "USER");
    assert_eq!(next(&mut ann)["of"], "WHO");
    ann.send(TEXT, b"JOIN lobby!").unwrap();
    let refused = next(&mut ann);
    assert_eq!(
        (&refused["verb"], &refused["code"]),
        (&"ERR".into(), &"bad-name".into())
    );
    ann.send(TEXT, b"JOIN lobby").unwrap();
    assert_eq!(next(&mut ann)["of"], "JOIN");
    ann.send(TEXT, b"UPLOAD b.txt 5").unwrap();
    ann.send(BINARY, b"MSG x").unwrap();
    let stored = next(&mut ann);
    let file = stored["file"]
        .as_u64()
        .unwrap_or_else(|| panic!("{stored}"));
    ann.send(TEXT, format!("DOWNLOAD {file}").as_bytes())
        .unwrap();
    assert_eq!(next(&mut ann)["verb"], "DATA");
    let bytes = ann.next(PATIENCE).expect("no error").expect("a frame");
    assert_eq!((bytes.opcode, &bytes.payload[..]), (2, &b"MSG x"[..]));
    assert_eq!(next(&mut ann)["of"], "DOWNLOAD");
    assert!(Frames::open_at(chatd.address, "/ws?format=xml").is_err());
}
