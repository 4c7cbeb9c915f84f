//! hooks.md 5: ntfy's clients publish and subscribe; a room is a topic.

use base64::Engine;
use serde_json::Value;

use super::hooks::hook;
use crate::support::carriers::Frames;
use crate::support::run::PATIENCE;
use crate::support::server::Chatd;
use crate::support::spawn::Peer;
use crate::support::web::{ask, basic, check_status, say};

fn chatd() -> Chatd {
    Chatd::with(&["--ntfy", "on"])
}

/// Returns the body of an answer with the status `status`, as JSON.
#[track_caller]
fn json(answer: &str, status: u16) -> Value {
    check_status(answer, status);
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body}"))
}

#[test]
fn a_notification_is_a_message_in_the_room_of_its_topic() {
    let chatd = chatd();
    let mut bob = chatd.peer();
    bob.ask("JOIN ops", "OK JOIN #ops 0");
    bob.ask("TAGS on", "OK TAGS on");
    let ci = basic("ci", "");
    let answer = say(
        &chatd,
        &[
            "POST /ops HTTP/1.1",
            &ci,
            "X-Title: Build",
            "Priority: urgent",
        ],
        "done\n7 of 7",
    );
    let published = json(&answer, 200);
    assert_eq!(
        (&published["topic"], &published["event"]),
        (&"ops".into(), &"message".into())
    );
    assert_eq!(
        (&published["title"], &published["priority"]),
        (&"Build".into(), &5.into())
    );
    assert_eq!(published["id"].as_str().map(str::len), Some(12));
    bob.expect("@notice;x-priority=5;lines=2 MSG #ops ci (!) Build: done");
    bob.inbox.find(|line| line.ends_with(" MSG #ops ci 7 of 7"));
    // Apprise posts JSON to the root; the topic is in it.
    let body = r#"{"topic":"ops","title":"Backup","message":"done","tags":["tada"]}"#;
    json(&say(&chatd, &["POST / HTTP/1.1", &ci], body), 200);
    bob.expect("@notice;x-priority=3 MSG #ops ci Backup: done");
    // A title in Latin-1, as node's fetch writes it.
    let length = "Content-Length: 2";
    let request = [
        format!(
            "PUT /ops HTTP/1.1\r\nHost: {}\r\n{ci}\r\n{length}\r\nConnection: close\r\nTitle: Gr",
            chatd.address
        )
        .into_bytes(),
        b"\xfc\xdfe\r\n\r\nhi".to_vec(),
    ];
    json(&ask(&chatd, request.concat()), 200);
    bob.expect("@notice;x-priority=3 MSG #ops ci Gr\u{fc}\u{df}e: hi");
    json(
        &say(
            &chatd,
            &["POST /ops/trigger?message=no+body&t=a HTTP/1.1", &ci],
            "",
        ),
        200,
    );
    bob.expect("@notice;x-priority=3 MSG #ops ci a: no body");
    // A page of another site can make a browser send these, with the password that it remembers.
    let get = "GET /ops/trigger?message=no HTTP/1.1";
    check_status(&say(&chatd, &[get, &ci], ""), 404);
    let foreign = [
        "POST /ops HTTP/1.1",
        &ci,
        "Origin: http://elsewhere.example",
    ];
    check_status(&say(&chatd, &foreign, "no"), 403);
    json(&say(&chatd, &["POST /ops HTTP/1.1", &ci], "last"), 200);
    bob.expect("@notice;x-priority=3 MSG #ops ci last");
}

#[test]
fn the_token_of_a_hook_publishes_to_its_room_and_to_no_other() {
    let chatd = chatd();
    let (path, mut ann) = hook(&chatd, "ann", "phone", "#ops");
    let token = path.strip_prefix("/hooks/").expect("it is a hook");
    let mut bob = chatd.peer();
    bob.ask("JOIN ops", "OK JOIN #ops 0");
    for (n, by) in [format!("Authorization: Bearer {token}"), basic("", token)]
        .iter()
        .enumerate()
    {
        json(
            &say(
                &chatd,
                &["POST /ops HTTP/1.1", by],
                &format!("by token {n}"),
            ),
            200,
        );
        bob.expect(&format!("MSG #ops ann by token {n}"));
        let refused = json(&say(&chatd, &["POST /lobby HTTP/1.1", by], "no"), 403);
        assert_eq!(refused["code"], 40301);
    }
    let wrong = "Authorization: Bearer aaaaaaaaaaaaaaaaaaaaaaaaaa";
    for lines in [
        vec!["POST /ops HTTP/1.1"],
        vec!["POST /ops HTTP/1.1", wrong],
    ] {
        let refused = json(&say(&chatd, &lines, "no"), 401);
        assert_eq!(
            (&refused["code"], &refused["http"]),
            (&40101.into(), &401.into())
        );
    }
    ann.ask("REVOKE phone", "OK REVOKE phone");
    let by = format!("Authorization: Bearer {token}");
    json(&say(&chatd, &["POST /ops HTTP/1.1", &by], "no"), 401);
    ann.ask("MSG still here", "OK MSG <id> <time>");
}

#[test]
fn a_subscriber_receives_past_and_new_messages_of_several_rooms() {
    let chatd = chatd();
    let mut ann = Peer::connect(chatd.address);
    ann.ask("NICK ann", "OK NICK ann #lobby <id>");
    ann.ask("MSG first", "OK MSG <id> <time>");
    ann.ask(
        "TOPIC a topic is no message",
        "OK TOPIC #lobby a topic is no message",
    );
    ann.ask("JOIN ops", "OK JOIN #ops <id>");
    ann.ask("MSG in ops", "OK MSG <id> <time>");
    let poll = |since: &str| {
        let answer = say(
            &chatd,
            &[&format!(
                "GET /lobby,ops/json?poll=1&since={since} HTTP/1.1"
            )],
            "",
        );
        check_status(&answer, 200);
        assert!(
            answer.contains("\r\ncontent-type: application/x-ndjson; charset=utf-8"),
            "{answer}"
        );
        let objects = answer.lines().filter(|line| line.starts_with('{'));
        let objects = objects.map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        objects.collect::<Vec<_>>()
    };
    let all = poll("all");
    let texts: Vec<_> = all
        .iter()
        .map(|one| one["message"].as_str().expect("a text"))
        .collect();
    assert_eq!(texts, ["first", "in ops"]);
    assert_eq!(
        (&all[1]["title"], &all[1]["topic"]),
        (&"ann".into(), &"ops".into())
    );
    let id = all[0]["id"].as_str().expect("an id");
    assert_eq!(poll(id).len(), 1);
    assert_eq!(poll("1h").len(), 2);
    assert_eq!(poll("4102444800").len(), 0); // in 2100

    let mut phone = chatd.peer();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", chatd.address);
    phone.send(get(&format!("/lobby,ops/json?since={id}")));
    phone
        .inbox
        .find(|line| line.contains(r#""event":"open""#) && line.contains(r#""topic":"lobby,ops""#));
    phone
        .inbox
        .find(|line| line.contains(r#""message":"in ops""#));
    let mut stream = chatd.peer();
    stream.send(get("/ops/sse"));
    stream.inbox.find(|line| line == "event: open");
    let mut raw = chatd.peer();
    raw.send(get("/ops/raw?since=latest"));
    raw.inbox.find(|line| line == "in ops");
    ann.ask("MSG now", "OK MSG <id> <time>");
    phone.inbox.find(|line| line.contains(r#""message":"now""#));
    stream
        .inbox
        .find(|line| line.starts_with("data: ") && line.contains(r#""message":"now""#));
    raw.inbox.find(|line| line == "now");
}

#[test]
fn a_subscriber_reads_only_what_it_may_and_other_addresses_still_work() {
    let chatd = chatd();
    let mut ann = Peer::connect(chatd.address);
    ann.ask("NICK ann", "OK NICK ann #lobby <id>");
    ann.ask("REGISTER my secret", "OK REGISTER ann");
    ann.ask("JOIN private", "OK JOIN #private <id>");
    ann.ask("MODE #private invite", "OK MODE #private invite");
    ann.ask("MSG secret", "OK MSG <id> <time>");
    for path in [
        "/private/json?poll=1",
        "/private/auth",
        "/nowhere/json",
        "/lobby,private/raw?poll=1",
    ] {
        let refused = json(&say(&chatd, &[&format!("GET {path} HTTP/1.1")], ""), 404);
        assert_eq!(refused["code"], 40401, "{path}");
    }
    let own = basic("ann", "my secret");
    let answer = say(&chatd, &["GET /private/json?poll=1 HTTP/1.1", &own], "");
    assert!(answer.contains(r#""message":"secret""#), "{answer}");
    // ntfy's app sends the header in the address when it can set none.
    let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .encode(own.strip_prefix("Authorization: ").expect("a header"));
    let answer = say(
        &chatd,
        &[&format!("GET /private/auth?auth={encoded} HTTP/1.1")],
        "",
    );
    assert_eq!(json(&answer, 200)["success"], true);
    let refused = json(
        &say(&chatd, &["GET /lobby/json?since=yesterday HTTP/1.1"], ""),
        400,
    );
    assert_eq!(refused["code"], 40001);
    check_status(&say(&chatd, &["POST /help HTTP/1.1"], ""), 405);
    check_status(&say(&chatd, &["GET / HTTP/1.1"], ""), 200);
    check_status(&say(&chatd, &["GET /lobby HTTP/1.1"], ""), 404);
    // Without the flag, these addresses do not exist.
    let other = Chatd::start();
    check_status(&say(&other, &["GET /lobby/json?poll=1 HTTP/1.1"], ""), 404);
    check_status(
        &say(&other, &["POST /lobby HTTP/1.1", &basic("ci", "")], "no"),
        404,
    );
}

const PING: u8 = 9;
const PONG: u8 = 10;
const CLOSE: u8 = 8;

fn open(chatd: &Chatd, path: &str) -> Frames {
    Frames::open_at(chatd.address, path).expect("the handshake")
}

/// Returns the next text message, as JSON.
#[track_caller]
fn object(frames: &mut Frames) -> Value {
    let frame = frames.next(PATIENCE).expect("no error").expect("a frame");
    assert_eq!(frame.opcode, 1, "{frame:?}");
    serde_json::from_slice(&frame.payload).expect("JSON")
}

/// Checks that the server closes the connection next.
#[track_caller]
fn check_closed(frames: &mut Frames) {
    let frame = frames.next(PATIENCE).expect("no error").expect("a frame");
    assert_eq!((frame.opcode, &*frame.payload), (CLOSE, &b"\x03\xe8"[..]));
    assert_eq!(frames.next(PATIENCE), Ok(None));
}

#[test]
fn a_subscriber_over_websocket_receives_the_same_objects_as_text_messages() {
    let chatd = chatd();
    let mut ann = chatd.member("ann");
    ann.ask("JOIN ops", "OK JOIN #ops 0");
    for text in ["first", "second"] {
        ann.ask(&format!("MSG {text}"), "OK MSG <id> <time>");
    }
    let mut all = open(&chatd, "/ops/ws?poll=1&since=all");
    let first = object(&mut all);
    assert_eq!(first["message"], "first");
    object(&mut all);
    check_closed(&mut all);
    let since = first["id"].as_str().expect("an id");
    let mut phone = open(&chatd, &format!("/lobby,ops/ws?since={since}"));
    let opened = object(&mut phone);
    assert_eq!(
        (&opened["event"], &opened["topic"]),
        (&"open".into(), &"lobby,ops".into())
    );
    let missed = object(&mut phone);
    assert_eq!(
        (&missed["message"], &missed["title"], &missed["topic"]),
        (&"second".into(), &"ann".into(), &"ops".into())
    );
    let mut other = open(&chatd, "/ops/ws");
    assert_eq!(object(&mut other)["event"], "open");
    // What a subscriber sends is ignored, but its pings are answered.
    phone.send(0x81, b"MSG #ops no").expect("the server reads");
    phone.send(0x82, &[0; 100_000]).expect("the server reads");
    phone
        .send(0x80 | PING, b"there?")
        .expect("the server reads");
    let pong = phone.next(PATIENCE).expect("no error").expect("a frame");
    assert_eq!((pong.opcode, &*pong.payload), (PONG, &b"there?"[..]));
    ann.ask("TELL #lobby now", "OK TELL <id> <time>");
    ann.ask("TELL #ops later", "OK TELL <id> <time>");
    for text in ["now", "later"] {
        assert_eq!(object(&mut phone)["message"], text);
    }
    assert_eq!(object(&mut other)["message"], "later");
    phone
        .send(0x80 | CLOSE, b"\x03\xe8")
        .expect("the server reads");
    check_closed(&mut phone);
    // A server that stops closes the connection properly.
    chatd.signal(rustix::process::Signal::TERM);
    check_closed(&mut other);
}

#[test]
fn a_subscriber_over_websocket_reads_only_what_it_may() {
    let chatd = Chatd::with(&[
        "--ntfy",
        "on",
        "--proxy",
        "127.0.0.1",
        "--max-per-address",
        "2",
        "--operator",
        "root",
    ]);
    let mut ann = chatd.member("ann");
    ann.ask("REGISTER my secret", "OK REGISTER ann");
    ann.ask("JOIN private", "OK JOIN #private 0");
    ann.ask("MODE #private invite", "OK MODE #private invite");
    ann.ask("MSG secret", "OK MSG <id> <time>");
    let own = base64::engine::general_purpose::STANDARD.encode("ann:my secret");
    let own = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("Basic {own}"));
    let mut phone = open(&chatd, &format!("/private/ws?since=all&auth={own}"));
    object(&mut phone);
    assert_eq!(object(&mut phone)["message"], "secret");
    let shake = [
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let shake_hands = |path: &str, more: &[&str]| {
        let mut peer = chatd.peer();
        let lines = [&shake[..], more].concat().join("\r\n");
        peer.send(format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\n{lines}\r\n\r\n",
            chatd.address
        ));
        (peer.inbox.line(), peer)
    };
    for (path, header, status) in [
        ("/private/ws", "X: y", 404),
        ("/nowhere/ws", "X: y", 404),
        ("/lobby/ws?since=yesterday", "X: y", 400),
        ("/lobby/ws", "Origin: http://evil.example", 403),
        ("/lobby/ws", "X: y", 101),
    ] {
        let (line, _peer) = shake_hands(path, &[header]);
        assert!(
            line.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {line}"
        );
    }
    let plain = say(&chatd, &["GET /lobby/ws HTTP/1.1"], "");
    check_status(&plain, 426);
    // Each subscriber counts for its address, and is closed when that is banned.
    let from = ["X-Forwarded-For: 203.0.113.9"];
    let mut subscribers: Vec<_> = (0..2).map(|_| shake_hands("/lobby/ws", &from)).collect();
    let (refused, _peer) = shake_hands("/lobby/ws", &from);
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    subscribers.pop();
    let (mut again, mut tries) = (shake_hands("/lobby/ws", &from), 0);
    while !again.0.starts_with("HTTP/1.1 101 ") {
        tries += 1;
        assert!(tries < 1000, "the one that left counts no more");
        again = shake_hands("/lobby/ws", &from);
    }
    let mut root = chatd.member("root");
    root.ask("REGISTER a-long-password", "OK REGISTER root");
    root.ask("BAN 203.0.113.9", "OK BAN …");
    for (_, mut peer) in subscribers.into_iter().chain([again]) {
        let rest = String::from_utf8_lossy(&peer.inbox.rest()).into_owned();
        assert!(rest.contains(r#""event":"open""#), "{rest}");
    }
    let (banned, _peer) = shake_hands("/lobby/ws", &from);
    assert!(banned.starts_with("HTTP/1.1 403 "), "{banned}");
}

#[test]
fn a_subscriber_over_websocket_receives_pings() {
    let chatd = chatd();
    let mut phone = open(&chatd, "/lobby/ws");
    object(&mut phone);
    let within = std::time::Duration::from_secs(45);
    let ping = phone.next(within).expect("in time").expect("a frame");
    assert_eq!(ping.opcode, PING, "{ping:?}");
    phone.send(0x80 | PONG, b"").expect("the server reads");
    let mut ann = chatd.member("ann");
    ann.ask("MSG still there", "OK MSG <id> <time>");
    assert_eq!(object(&mut phone)["message"], "still there");
}

/// The connection of a subscription is read while it requests the next room, so that neither side waits for the
/// other.
#[test]
fn the_past_of_many_rooms_arrives_completely() {
    let chatd = chatd();
    let mut ann = Peer::connect(chatd.address);
    ann.ask("NICK ann", "OK NICK ann #lobby <id>");
    let rooms: Vec<String> = (0..20).map(|n| format!("room{n}")).collect();
    let text = "x".repeat(1000);
    for room in &rooms {
        ann.ask(&format!("JOIN {room}"), &format!("OK JOIN #{room} 0"));
        ann.send(format!("MSG {text}\n").repeat(100));
        for _ in 0..100 {
            ann.inbox.find(|line| line.starts_with("OK MSG "));
        }
    }
    let path = format!("/{}/json?poll=1&since=all", rooms.join(","));
    let answer = say(&chatd, &[&format!("GET {path} HTTP/1.1")], "");
    check_status(&answer, 200);
    let objects = answer.lines().filter(|line| line.contains(&text));
    assert_eq!(objects.count(), 2000);
    let mut socket = open(&chatd, &path.replace("json", "ws"));
    for _ in 0..2000 {
        assert_eq!(object(&mut socket)["message"], text.as_str());
    }
    check_closed(&mut socket);
}
