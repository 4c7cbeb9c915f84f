//! RFC 6455, section by section, against a running `chatd`: frames as a client may send them, and as none may.

mod support;

use support::carriers::{Frame, Frames, frame};
use support::run::PATIENCE;
use support::server::Chatd;

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const FIN: u8 = 0x80;

fn open(chatd: &Chatd) -> Frames {
    Frames::open(chatd.address).expect("the handshake")
}

/// The next message must be this line, or begin so where it ends in `…`.
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

/// The server must close with this code, and then its side of the connection.
#[track_caller]
fn expect_close(peer: &mut Frames, code: u16) {
    let expected = Frame {
        opcode: 8,
        payload: code.to_be_bytes().to_vec(),
    };
    assert_eq!(peer.next(PATIENCE), Ok(Some(expected)));
    assert_eq!(peer.next(PATIENCE), Ok(None));
}

/// What is sent after a good line must end the connection with this code; another goes on.
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
fn section_5_2_every_length_is_read_however_it_is_cut() {
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
fn section_5_4_fragments_out_of_order_are_protocol_errors() {
    let chatd = Chatd::start();
    check_refused(&chatd, &frame(FIN, b"PING"), 1002); // nothing to go on with
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
fn section_5_5_1_a_close_is_answered_with_its_code_after_what_was_asked() {
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
        peer.send(TEXT, b"PING after").unwrap(); // nobody reads this
        expect(&mut peer, "OK STAY");
        expect(&mut peer, "OK PING");
        expect_close(&mut peer, code);
    }
}

#[test]
fn section_7_4_codes_that_may_not_be_sent_are_protocol_errors() {
    let chatd = Chatd::start();
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535_u16] {
        check_refused(&chatd, &frame(CLOSE, &code.to_be_bytes()), 1002);
    }
    check_refused(&chatd, &frame(CLOSE, &[3]), 1002); // half a code
    check_refused(&chatd, &frame(CLOSE, &[3, 232, 0xff]), 1007); // a reason that is not UTF-8
}

#[test]
fn section_8_1_text_is_utf8_however_it_is_cut() {
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
    // Wrong from the second fragment's first byte on, and before the message ends.
    check_refused(
        &chatd,
        &[frame(0x01, b"\xe2\x82"), frame(0x00, b"a")].concat(),
        1007,
    );
    // A line that is too long is no excuse.
    let long = [vec![b'a'; 9000], b"\xff".to_vec()].concat();
    check_refused(&chatd, &frame(TEXT, &long), 1007);
}

#[test]
fn a_text_message_is_one_line_and_no_more() {
    let chatd = Chatd::start();
    let mut peer = open(&chatd);
    for torn in [
        "MSG a\nNICK evil",
        "PING\n",
        "PING\r",
        "\n",
        "MSG a\r\nMSG b",
    ] {
        peer.send(TEXT, torn.as_bytes()).unwrap();
        expect(&mut peer, "ERR - bad-syntax …");
    }
    // A line end in what is too long is found too, wherever it stands.
    peer.send(TEXT, &[vec![b'a'; 9000], b"\nNICK evil".to_vec()].concat())
        .unwrap();
    expect(&mut peer, "ERR - bad-syntax …");
    peer.send(TEXT, format!("MSG {}", "a".repeat(4096)).as_bytes())
        .unwrap();
    expect(&mut peer, "ERR - too-long …");
    peer.send(TEXT, b"").unwrap();
    peer.send(TEXT, b"PING").unwrap();
    expect(&mut peer, "OK PING");
}

#[test]
fn a_file_s_bytes_are_binary_messages_that_add_up() {
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
    for begin in ["UPLOAD d.txt 9", "UPLOAD d.txt *"] {
        let mut peer = open(&chatd);
        peer.send(TEXT, b"NICK bob").unwrap();
        expect(&mut peer, "OK NICK bob #lobby …");
        peer.send(TEXT, begin.as_bytes()).unwrap();
        peer.send(BINARY, b"abc").unwrap();
        peer.send(TEXT, b"MSG too early").unwrap();
        expect(&mut peer, "ERR UPLOAD incomplete …");
        expect_close(&mut peer, 1000);
    }
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
fn nobody_answers_a_flood_of_pings_that_is_not_read() {
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
