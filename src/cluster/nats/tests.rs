//! What needs no server: the protocol as bytes, addresses, versions.

use proptest::prelude::*;

use super::codec::{
    Decoder, Frame, INFO_BYTES_MAX, Info, LINE_BYTES_MAX, MESSAGE_BYTES_MAX, Message,
    encode_publish, encode_subscribe, encode_unsubscribe,
};
use super::stored::Place;
use super::{Address, Error, Headers, Malformed, Status, Stored, Unfit};

/// Decodes everything, received in pieces that end at `ends`. The error, if there is one, is the last result.
fn decode(bytes: &[u8], ends: &[usize]) -> Vec<Result<Frame, Malformed>> {
    let (mut decoder, mut frames, mut start) = (Decoder::default(), Vec::new(), 0);
    for end in ends.iter().copied().chain([bytes.len()]) {
        let end = end.min(bytes.len()).max(start);
        decoder.push(&bytes[start..end]);
        start = end;
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(Ok(frame)),
                Ok(None) => break,
                Err(e) => {
                    frames.push(Err(e));
                    return frames;
                }
            }
        }
    }
    frames
}

fn headers(all: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in all {
        headers.add(name, value).unwrap();
    }
    headers
}

fn message(subject: &str, reply: Option<&str>, headers: Headers, payload: &[u8]) -> Message {
    Message {
        subject: subject.to_owned(),
        subscription: 7,
        reply: reply.map(str::to_owned),
        status: None,
        headers,
        payload: payload.to_vec(),
    }
}

#[test]
fn each_line_of_a_server_is_decoded() {
    let info = r#"INFO {"server_name":"a","version":"2.15.1","headers":true,"jetstream":true,"max_payload":1048576,"other":[1]}"#;
    let bytes = format!(
        "{info}\r\n+OK\r\nPING\r\npong\r\n-ERR 'Authorization Violation'\r\n\
         MSG a.b 7 5\r\nhi\r\n!\r\nMSG a.b\t7 back 0\r\n\r\n\
         HMSG a.b 7 back 37 39\r\nNATS/1.0\r\nA: 1\r\nB: two words\r\nA:2\r\n\r\nhi\r\n\
         HMSG x 7 28 28\r\nNATS/1.0 404 No Messages\r\n\r\n\r\n"
    );
    let expected = [
        Frame::Info(Box::new(Info {
            server_name: "a".into(),
            version: "2.15.1".into(),
            jetstream: true,
            tls_required: false,
            tls_available: false,
            max_payload: 1 << 20,
        })),
        Frame::Ok,
        Frame::Ping,
        Frame::Pong,
        Frame::Err("Authorization Violation".into()),
        Frame::Message(message("a.b", None, Headers::new(), b"hi\r\n!")),
        Frame::Message(message("a.b", Some("back"), Headers::new(), b"")),
        Frame::Message(message(
            "a.b",
            Some("back"),
            headers(&[("A", "1"), ("B", "two words"), ("A", "2")]),
            b"hi",
        )),
        Frame::Message(Message {
            status: Some(Status {
                code: 404,
                text: "No Messages".into(),
            }),
            ..message("x", None, Headers::new(), b"")
        }),
    ];
    assert_eq!(decode(bytes.as_bytes(), &[]), expected.map(Ok));
}

#[test]
fn what_is_not_the_protocol_is_an_error() {
    for line in [
        "HELLO",
        "INFO {",
        "MSG",
        "MSG a 1",
        "MSG a x 1",
        "MSG a 1 -1",
        "MSG a 1 +1",
        "MSG a 1 back more 1",
        "MSG a 1 99999999999999999999",
        "HMSG a 1 3 2",
        "HMSG a 1 0",
        "MSG a 1 1\r\nabc",
        "HMSG a 1 4 4\r\nNATS",
        "HMSG a 1 15 15\r\nNATS/1.0\r\nA\r\n\r\n",
        "HMSG a 1 16 16\r\nNATS/1.0 abc\r\n\r\n",
    ] {
        let frames = decode(format!("{line}\r\n").as_bytes(), &[]);
        assert!(
            matches!(frames[..], [Err(Malformed::Wrong(_))]),
            "{line}: {frames:?}"
        );
    }
}

#[test]
fn lines_and_messages_are_bounded() {
    let long = |verb: &str, bytes: usize| format!("{verb}{}", "x".repeat(bytes - verb.len()));
    assert_eq!(decode(long("PING", LINE_BYTES_MAX - 1).as_bytes(), &[]), []);
    let line = decode(long("PING", LINE_BYTES_MAX).as_bytes(), &[]);
    assert_eq!(line, [Err(Malformed::LongLine)]);
    assert_eq!(
        decode(long("INFO ", INFO_BYTES_MAX - 1).as_bytes(), &[]),
        []
    );
    let info = decode(long("INFO ", INFO_BYTES_MAX).as_bytes(), &[]);
    assert_eq!(info, [Err(Malformed::LongLine)]);

    let large =
        |info: &str, bytes: usize| decode(format!("{info}MSG a 1 {bytes}\r\n").as_bytes(), &[]);
    assert_eq!(large("", MESSAGE_BYTES_MAX), []);
    assert_eq!(
        large("", MESSAGE_BYTES_MAX + 1),
        [Err(Malformed::LargeMessage)]
    );
    let info = "INFO {\"max_payload\":1000}\r\n";
    assert_eq!(large(info, 1000).len(), 1);
    assert_eq!(
        large(info, 100_000).last(),
        Some(&Err(Malformed::LargeMessage))
    );
}

#[test]
fn what_is_sent_is_encoded() {
    let mut out = Vec::new();
    encode_subscribe(&mut out, "a.*", 3).unwrap();
    encode_unsubscribe(&mut out, 3);
    encode_publish(&mut out, "a", None, &Headers::new(), b"hi").unwrap();
    encode_publish(&mut out, "a", Some("b"), &headers(&[("N", "1")]), b"").unwrap();
    assert_eq!(headers(&[("N", "1")]).encoded_len(), 18);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        text,
        "SUB a.* 3\r\nUNSUB 3\r\nPUB a 2\r\nhi\r\nHPUB a b 18 18\r\nNATS/1.0\r\nN: 1\r\n\r\n\r\n"
    );
    for subject in ["", "a b", "a\r\nPING", &"x".repeat(2000)] {
        let mut out = Vec::new();
        let none = Headers::new();
        assert!(encode_publish(&mut out, subject, None, &none, b"").is_err());
        assert!(encode_publish(&mut out, "a", Some(subject), &none, b"").is_err());
        assert!(encode_subscribe(&mut out, subject, 1).is_err());
        assert!(out.is_empty());
    }
    for (name, value) in [
        ("", "1"),
        ("A:", "1"),
        ("A b", "1"),
        ("A", "1\r\nB: 2"),
        ("A", " 1"),
    ] {
        assert!(
            Headers::new().add(name, value).is_err(),
            "{name:?}: {value:?}"
        );
    }
}

#[test]
fn addresses_have_logins_and_ports() {
    let shown = |text: &str| text.parse::<Address>().map(|address| address.to_string());
    assert_eq!(shown("a"), Ok("nats://a:4222".into()));
    assert_eq!(shown("nats://ann:p%40ss@a:1"), Ok("nats://a:1".into()));
    assert_eq!(shown("nats://token@[::1]:2/"), Ok("nats://[::1]:2".into()));
    assert_eq!(shown("tls://u:p@a"), Ok("tls://a:4222".into()));
    let with = |text: &str| text.parse::<Address>().unwrap();
    assert_ne!(with("nats://x@a"), with("nats://y@a"));
    assert_eq!(with("nats://p%40s:x@a"), with("nats://p@s:x@a"));
    for text in [
        "", "http://a", "a:b", "a:1:2", "a/b", "[::1", "a b", "%ff@a",
    ] {
        assert!(shown(text).is_err(), "{text}");
    }
}

#[test]
fn old_servers_and_servers_without_jetstream_are_unfit() {
    let check = |version: &str, jetstream| {
        let version = version.to_owned();
        Info {
            version,
            jetstream,
            ..Info::default()
        }
        .check()
    };
    for good in ["2.10.23", "2.10.100", "2.15.1", "3.0.0", "2.12.0-RC.1"] {
        assert_eq!(check(good, true), Ok(()), "{good}");
    }
    for old in ["2.10.22", "2.9.10", "1.99.99", "2.11", "", "new"] {
        assert_eq!(check(old, true), Err(Unfit::Old(old.into())));
    }
    assert_eq!(check("2.15.1", false), Err(Unfit::NoJetStream));
}

#[test]
fn a_message_of_a_stream_names_its_place() {
    let place = |reply: &str| {
        Place::parse(reply).map(|at| (at.sequence, at.delivered, at.time_ns, at.pending))
    };
    let expected = Some((41, 2, 1_700_000_000_123_456_789, 5));
    let short = "$JS.ACK.S.C.1.41.2.1700000000123456789.5";
    assert_eq!(place(short), expected);
    let long = "$JS.ACK.hub.ACCOUNT.S.C.1.41.2.1700000000123456789.5";
    assert_eq!(place(long), expected);
    assert_eq!(place(&format!("{long}.random")), expected);
    for wrong in ["", "a", "$JS.ACK.S.C.1.41.2.1", "$JS.ACK.S.C.1.x.2.1.5"] {
        assert_eq!(place(wrong), None);
    }

    let added = [
        ("Own", "1"),
        ("Nats-Stream", "S"),
        ("Nats-Subject", "s"),
        ("Nats-Sequence", "41"),
        ("Nats-Last-Sequence", "40"),
        ("Nats-Time-Stamp", "2023-11-14T22:13:20.123456789Z"),
    ];
    let told = message("done", None, headers(&added), b"hi");
    let stored = Stored {
        sequence: 41,
        time_ns: 1_700_000_000_123_456_789,
        headers: headers(&added[..1]),
        payload: b"hi".to_vec(),
    };
    assert_eq!(Stored::republished(told.clone(), "S"), Ok(stored));
    let malformed = Err(Error::Malformed("republished message"));
    assert_eq!(Stored::republished(told, "T"), malformed);
    for missing in [3, 5] {
        let mut less = added.to_vec();
        less.remove(missing);
        let told = message("done", None, headers(&less), b"hi");
        assert_eq!(Stored::republished(told, "S"), malformed);
    }
}

/// What a server may send, and things like it.
fn sent() -> impl Strategy<Value = Vec<u8>> {
    let frame = prop_oneof![
        Just(b"PING\r\n".to_vec()),
        Just(b"+OK\r\n".to_vec()),
        Just(b"-ERR 'x'\r\n".to_vec()),
        (0..3000_usize).prop_map(|most| format!("INFO {{\"max_payload\":{most}}}\r\n").into()),
        (0..5000_usize).prop_map(|size| {
            let line = format!("MSG a.b 7 {size}\r\n");
            [line.as_bytes(), &vec![b'\n'; size], b"\r\n"].concat()
        }),
        (0..50_usize, 0..50_usize).prop_map(|(name, size)| {
            let block = format!("NATS/1.0\r\n{}: x\r\n\r\n", "n".repeat(name));
            let line = format!("HMSG a 7 back {} {}\r\n", block.len(), block.len() + size);
            [
                line.as_bytes(),
                block.as_bytes(),
                &vec![b'x'; size],
                b"\r\n",
            ]
            .concat()
        }),
        "[A-Z0-9 \r\n]{0,30}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..20),
        (LINE_BYTES_MAX - 10..LINE_BYTES_MAX + 10).prop_map(|size| [
            &vec![b' '; size],
            &b"\r\n"[..]
        ]
        .concat()),
    ];
    prop::collection::vec(frame, 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn bytes_mean_the_same_wherever_they_are_split(
        bytes in sent(),
        mut ends in prop::collection::vec(0..20_000_usize, 0..10),
    ) {
        ends.sort_unstable();
        let whole = decode(&bytes, &[]);
        prop_assert_eq!(&whole, &decode(&bytes, &ends));
        let each: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(&whole, &decode(&bytes, &each));
    }

    #[test]
    fn a_message_is_decoded_as_it_was_encoded(
        payload in prop::collection::vec(any::<u8>(), 0..100),
        values in prop::collection::vec("[a-z]{0,5}", 0..4),
    ) {
        let mut sent = Headers::new();
        for value in &values {
            sent.add("Name", value).unwrap();
        }
        let mut out = Vec::new();
        encode_publish(&mut out, "s", None, &sent, &payload).unwrap();
        // A server writes the number of the subscription after the subject, and M for P.
        let text = out.splitn(2, |byte| *byte == b's').collect::<Vec<_>>();
        let verb: &[u8] = if values.is_empty() { b"MSG s 7" } else { b"HMSG s 7" };
        let received = [verb, text[1]].concat();
        let expected = Frame::Message(message("s", None, sent, &payload));
        prop_assert_eq!(decode(&received, &[]), [Ok(expected)]);
    }
}
