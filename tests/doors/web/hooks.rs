//! protocol.md 4.26, hooks.md 1, 2, 3, 4: what tools post to a hook is sent to its room, and nothing else can be done with it.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::inbox::DEADLINE;
use crate::support::server::Chatd;
use crate::support::spawn::Peer;
use crate::support::web::{ask, check_status, say};

/// Registers `nick` and creates a hook; returns its address, and the connection.
pub fn hook(chatd: &Chatd, nick: &str, label: &str, room: &str) -> (String, Peer) {
    let mut owner = chatd.member(nick);
    owner.ask("REGISTER my secret", &format!("OK REGISTER {nick}"));
    let line = owner.ask(
        &format!("HOOK {label} {room}"),
        &format!("OK HOOK {label} <word>"),
    );
    let path = line.rsplit(' ').next().expect("a path").to_owned();
    let token = path.strip_prefix("/hooks/").expect("it is a hook");
    assert!(token.len() == 26 && token.bytes().all(|b| b.is_ascii_alphanumeric()));
    (path, owner)
}

fn post(chatd: &Chatd, path: &str, body: &str) -> String {
    say(chatd, &[&format!("POST {path} HTTP/1.1")], body)
}

/// Checks that a post gets the status `status`, and a body that begins with `begins`.
#[track_caller]
fn check(chatd: &Chatd, path: &str, body: &str, status: u16, begins: &str) {
    let answer = post(chatd, path, body);
    check_status(&answer, status);
    let (head, text) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(text.starts_with(begins), "{answer}");
    assert!(head.contains("\r\nreferrer-policy: no-referrer"), "{head}");
    assert_eq!(
        status == 503 || status == 429,
        head.contains("\r\nretry-after: "),
        "{head}"
    );
}

/// Checks that a post is answered with exactly two bytes. Senders compare them, and post again after any other
/// answer.
#[track_caller]
fn check_ok(chatd: &Chatd, path: &str, body: &str) {
    let answer = post(chatd, path, body);
    check_status(&answer, 200);
    assert!(answer.ends_with("\r\n\r\nok"), "{answer:?}");
    assert!(answer.contains("\r\ncontent-type: text/plain"), "{answer}");
}

#[test]
fn posts_are_sent_as_the_nick_to_the_room_and_a_resolved_alert_replies() {
    let chatd = Chatd::start();
    let (path, mut ann) = hook(&chatd, "ann", "alerts", "#ops");
    let token = path.strip_prefix("/hooks/").expect("it is a hook");
    let mut bob = chatd.peer();
    bob.ask("JOIN ops", "OK JOIN #ops 0");
    bob.ask("STAMPS on", "OK STAMPS on");
    bob.ask("TAGS on", "OK TAGS on");
    check_ok(
        &chatd,
        &path,
        r#"{"text":"PING\r\n<https://x|y>","channel":"other","username":"Apprise"}"#,
    );
    bob.expect("LIVE <id> <time> @notice;lines=2 MSG #ops ann PING");
    bob.expect("LIVE <id> <time> <word> MSG #ops ann y (https://x)");
    for alias in [
        format!("/hooks/xyz/{token}"),
        format!("/services/T1/B2/{token}/"),
    ] {
        check_ok(&chatd, &alias, "payload=%7B%22text%22%3A%22hi%22%7D");
        bob.expect("LIVE <id> <time> @notice MSG #ops ann hi");
    }
    let alert = |status: &str, name: &str, print: &str| {
        format!(
            r#"{{"status":"{status}","labels":{{"alertname":"{name}","severity":"page"}},"startsAt":"t","fingerprint":"{print}"}}"#
        )
    };
    let alerts = |all: &[String]| format!(r#"{{"version":"4","alerts":[{}]}}"#, all.join(","));
    let both = alerts(&[alert("firing", "Full", "c9"), alert("firing", "Down", "d0")]);
    check_ok(&chatd, &path, &both);
    let tags = "@notice;x-severity=page;x-fingerprint";
    let fired = bob.expect(&format!(
        "LIVE <id> <time> {tags}=c9 MSG #ops ann [FIRING] Full (severity=page)"
    ));
    let fired = fired.split(' ').nth(1).expect("an id").to_owned();
    let down = bob.expect(&format!(
        "LIVE <id> <time> {tags}=d0 MSG #ops ann [FIRING] Down (severity=page)"
    ));
    let down = down.split(' ').nth(1).expect("an id").to_owned();
    // The same post again, as after a lost answer, sends nothing; a further alert is sent.
    check_ok(&chatd, &path, &both);
    check_ok(
        &chatd,
        &path,
        &alerts(&[alert("firing", "Down", "d0"), alert("firing", "Hot", "e1")]),
    );
    bob.expect(&format!(
        "LIVE <id> <time> {tags}=e1 MSG #ops ann [FIRING] Hot (severity=page)"
    ));
    check_ok(&chatd, &path, &alerts(&[alert("resolved", "Full", "c9")]));
    bob.expect(&format!(
        "LIVE <id> <time> {tags}=c9;reply={fired} MSG #ops ann [RESOLVED] Full (severity=page)"
    ));
    // A deleted message can still be replied to.
    ann.ask(&format!("REMOVE {down}"), &format!("OK REMOVE {down}"));
    bob.expect(&format!("LIVE <id> <time> REMOVE #ops ann {down}"));
    check_ok(&chatd, &path, &alerts(&[alert("resolved", "Down", "d0")]));
    bob.expect(&format!(
        "LIVE <id> <time> {tags}=d0;reply={down} MSG #ops ann [RESOLVED] Down (severity=page)"
    ));
    check_ok(
        &chatd,
        &path,
        &alerts(&[alert("resolved", "Unknown", "ff")]),
    );
    bob.expect(&format!(
        "LIVE <id> <time> {tags}=ff MSG #ops ann [RESOLVED] Unknown (severity=page)"
    ));
}

#[test]
fn refusals_use_slacks_words_and_the_next_post_is_sent() {
    let chatd = Chatd::with(&["--operator", "root", "--announce-after", "1h"]);
    let (path, mut ann) = hook(&chatd, "ann", "ci", "#ops");
    check(&chatd, &path, "hello", 400, "invalid_payload");
    check(&chatd, &path, "{\"text\":", 400, "invalid_payload");
    check(&chatd, &path, "{}", 400, "no_text");
    let large = format!("{{\"text\":\"{}\"}}", "x".repeat(64 << 10));
    check(&chatd, &path, &large, 413, "payload_too_large");
    check(
        &chatd,
        "/hooks/aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "{\"text\":\"x\"}",
        404,
        "no_service",
    );
    check_status(&say(&chatd, &[&format!("GET {path} HTTP/1.1")], ""), 405);
    check_ok(&chatd, &path, "{\"text\":\"one\"}");
    // A page of another site may not use it, even if it knows it.
    let request = format!("POST {path} HTTP/1.1");
    let foreign = say(
        &chatd,
        &[&request, "Origin: http://evil.example"],
        "{\"text\":\"x\"}",
    );
    check_status(&foreign, 403);
    // A container calls the server by a name of its own; that proves nothing without the token.
    let named = |path: &str| {
        say(
            &chatd,
            &[&format!("POST {path} HTTP/1.1"), "Host: chatd:5002"],
            "{\"text\":\"two\"}",
        )
    };
    check_status(&named(&path), 200);
    check_status(&named("/hooks/aaaaaaaaaaaaaaaaaaaaaaaaaa"), 421);
    check_status(&named("/rooms/ops"), 421);
    let mut root = chatd.member("root");
    root.ask("REGISTER my secret", "OK REGISTER root");
    root.ask("BAN ann 1h", "OK BAN ann");
    check(&chatd, &path, "{\"text\":\"x\"}", 403, "action_prohibited");
    root.ask("UNBAN ann", "OK UNBAN ann");
    check_ok(&chatd, &path, "{\"text\":\"three\"}");
    drop(ann);
    ann = chatd.peer();
    ann.ask("NICK ann my secret", "OK NICK ann #lobby <id>");
    ann.ask("REVOKE ci", "OK REVOKE ci");
    check(&chatd, &path, "{\"text\":\"x\"}", 404, "no_service");
    let mut reader = chatd.peer();
    reader.send("HISTORY #ops\n");
    for text in ["one", "two", "three"] {
        reader.expect(&format!("PAST <id> <time> MSG #ops ann {text}"));
    }
    reader.expect("OK HISTORY 3");
}

#[test]
fn a_hook_cannot_send_to_a_room_closed_to_its_nick_and_grants_nothing_else() {
    let chatd = Chatd::start();
    let (path, mut ann) = hook(&chatd, "ann", "ci", "#ops");
    let mut bob = chatd.member("bob");
    bob.ask("REGISTER my secret", "OK REGISTER bob");
    bob.ask("JOIN vault", "OK JOIN #vault 0");
    bob.ask("MODE invite", "OK MODE #vault invite");
    ann.ask("HOOK spy #vault", "ERR HOOK not-allowed …");
    bob.ask("INVITE ann", "OK INVITE #vault ann");
    ann.expect("INVITE #vault bob");
    let spy = ann.ask("HOOK spy #vault", "OK HOOK spy <word>");
    let spy = spy.rsplit(' ').next().expect("a path");
    check_ok(&chatd, spy, "{\"text\":\"hello\"}");
    bob.expect("MSG #vault ann hello");
    bob.ask("UNINVITE ann", "OK UNINVITE #vault ann");
    check(&chatd, spy, "{\"text\":\"x\"}", 403, "action_prohibited");
    check_ok(&chatd, &path, "{\"text\":\"elsewhere\"}");
    // The token is neither a password nor a token of the nick.
    let token = path.strip_prefix("/hooks/").expect("it is a hook");
    chatd
        .peer()
        .ask(&format!("NICK ann {token}"), "ERR NICK bad-password …");
    ann.ask("REGISTER -", "OK REGISTER ann");
    check(&chatd, &path, "{\"text\":\"x\"}", 404, "no_service");
    ann.ask("REGISTER my secret", "OK REGISTER ann");
    ann.ask("HOOKS", "OK HOOKS 0");
    check(&chatd, &path, "{\"text\":\"x\"}", 404, "no_service");
}

#[test]
fn posts_are_rate_limited_and_wrong_tokens_disturb_nobody() {
    let chatd = Chatd::start();
    let (path, mut ann) = hook(&chatd, "ann", "ci", "#ops");
    let line = ann.ask("HOOK other #ops", "OK HOOK other <word>");
    let other = line.rsplit(' ').next().expect("a path");
    let is_paced =
        |path: &str| (0..2000).any(|_| post(&chatd, path, "{}").starts_with("HTTP/1.1 429 "));
    assert!(is_paced(&path));
    check_ok(&chatd, other, "{\"text\":\"other hooks are not slowed\"}");
    assert!(is_paced("/hooks/aaaaaaaaaaaaaaaaaaaaaaaaaa"));
    check(
        &chatd,
        "/hooks/bbbbbbbbbbbbbbbbbbbbbbbbbb",
        "{}",
        429,
        "rate_limited",
    );
    check_ok(&chatd, other, "{\"text\":\"nor is a token that is right\"}");
    let mut peer = chatd.peer();
    peer.ask("NICK ann my secret", "OK NICK ann #lobby <id>");
}

fn on_disk(folder: &Path) -> Chatd {
    let folder = folder.to_str().expect("a folder with a plain name");
    Chatd::with(&["--data", folder, "--announce-after", "1h"])
}

#[test]
fn a_hook_survives_a_restart_and_a_backup_and_its_token_is_nowhere_on_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let (path, mut ann, revoked) = {
        let chatd = on_disk(&data);
        let (path, mut ann) = hook(&chatd, "ann", "ci", "#ops");
        let revoked = ann.ask("HOOK old #ops", "OK HOOK old <word>");
        ann.ask("REVOKE old", "OK REVOKE old");
        let revoked = revoked.rsplit(' ').next().expect("a path").to_owned();
        check_ok(&chatd, &path, "{\"text\":\"before\"}");
        (path, ann, revoked)
    };
    ann.end_input();
    let backup = folder.path().join("backup");
    let made = Command::new(env!("CARGO_BIN_EXE_chatd"))
        .args(["backup", "--data"])
        .args([&data, &backup])
        .output()
        .expect("it starts");
    assert!(made.status.success(), "{made:?}");
    let token = path.strip_prefix("/hooks/").expect("it is a hook");
    for data in [&data, &backup] {
        let chatd = on_disk(data);
        check_ok(&chatd, &path, "{\"text\":\"after\"}");
        check(&chatd, &revoked, "{\"text\":\"x\"}", 404, "no_service");
        let mut ann = chatd.peer();
        ann.ask("NICK ann my secret", "OK NICK ann #lobby <id>");
        ann.send("HOOKS\n");
        ann.expect("HOOK ci #ops <time>");
        ann.expect("OK HOOKS 1");
        for file in std::fs::read_dir(data).expect("a folder") {
            let file = file.expect("an entry").path();
            let bytes = std::fs::read(&file).unwrap_or_default();
            let mut windows = bytes.windows(token.len());
            assert!(!windows.any(|part| part == token.as_bytes()), "{file:?}");
        }
    }
}

#[test]
fn the_address_of_a_hook_is_in_no_log_and_no_metric() {
    let mut chatd = Command::new(env!("CARGO_BIN_EXE_chatd"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--memory",
            "--no-announce",
            "--log-level",
            "trace",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let (log, logged) = std::sync::mpsc::channel();
    let mut errors = chatd.stderr.take().expect("it is piped");
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = errors.read_to_end(&mut all);
        let _ = log.send(String::from_utf8_lossy(&all).into_owned());
    });
    let mut out = std::io::BufReader::new(chatd.stdout.take().expect("it is piped"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).expect("a line");
    let address = line
        .trim()
        .strip_prefix("chatd: listening on ")
        .expect("an address");
    let address: std::net::SocketAddr = address.parse().expect("an address");
    let request = |head: &str, body: &str| {
        let mut peer = Peer::connect(address);
        let length = body.len();
        peer.send(format!("{head} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"));
        String::from_utf8_lossy(&peer.inbox.rest()).into_owned()
    };
    let mut ann = Peer::connect(address);
    ann.ask("NICK ann", "OK NICK ann #lobby <id>");
    ann.ask("REGISTER my secret", "OK REGISTER ann");
    let line = ann.ask("HOOK ci #ops", "OK HOOK ci <word>");
    let token = line.rsplit('/').next().expect("a token").to_owned();
    check_status(
        &request(&format!("POST /hooks/{token}"), "{\"text\":\"hi\"}"),
        200,
    );
    check_status(&request(&format!("POST /hooks/{token}"), "{"), 400);
    for _ in 0..20 {
        request(&format!("POST /hooks/{token}x"), "{\"text\":\"hi\"}");
    }
    assert!(!request(&format!("GET /nothing/{token}"), "").contains("200 OK"));
    let metrics = request("GET /metrics", "");
    assert!(
        metrics.contains("chatd_") && !metrics.contains(&token),
        "{metrics}"
    );
    chatd.kill().expect("it is running");
    chatd.wait().expect("it is ours");
    let log = logged.recv_timeout(DEADLINE).expect("its log ends");
    assert!(log.contains("too many posts to hooks"), "{log}");
    assert!(!log.contains(&token), "{log}");
}

#[test]
fn a_body_that_is_cut_off_sends_nothing() {
    let chatd = Chatd::start();
    let (path, _ann) = hook(&chatd, "ann", "ci", "#ops");
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\n");
    let mut peer = chatd.peer();
    peer.send(format!(
        "{head}Content-Length: 20\r\n\r\n{{\"text\":\"x\"}}"
    ));
    peer.end_input();
    peer.inbox.rest();
    let chunked = format!(
        "{head}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{{\"text\":\"y\"}}\r\n0\r\n\r\n"
    );
    let answer = ask(&chatd, chunked);
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    let mut reader = chatd.peer();
    reader.send("HISTORY #ops\n");
    reader.expect("PAST <id> <time> MSG #ops ann y");
    reader.expect("OK HISTORY 1");
}

#[test]
fn a_resolved_alert_is_posted_without_a_reply_if_its_message_was_deleted() {
    let chatd = Chatd::with(&["--operator", "root", "--announce-after", "1h"]);
    let (path, _ann) = hook(&chatd, "ann", "alerts", "#ops");
    let alert = |status: &str| {
        format!(r#"{{"alerts":[{{"status":"{status}","labels":{{}},"fingerprint":"c9"}}]}}"#)
    };
    check_ok(&chatd, &path, &alert("firing"));
    let mut root = chatd.member("root");
    root.ask("REGISTER my secret", "OK REGISTER root");
    root.ask("REMOVE #ops", "OK REMOVE #ops");
    // Refused while the room is being deleted.
    let end = std::time::Instant::now() + DEADLINE;
    while !post(&chatd, &path, &alert("resolved")).ends_with("\r\n\r\nok") {
        assert!(std::time::Instant::now() < end, "the room is never deleted");
    }
    let mut reader = chatd.peer();
    reader.ask("TAGS on", "OK TAGS on");
    reader.send("HISTORY #ops\n");
    reader.expect("PAST <id> <time> @notice;x-fingerprint=c9 MSG #ops ann [RESOLVED]");
    reader.expect("OK HISTORY 1");
}

#[test]
fn gotifys_senders_post_with_the_same_token() {
    let chatd = Chatd::start();
    let (path, _ann) = hook(&chatd, "ann", "backup", "#ops");
    let token = path.strip_prefix("/hooks/").expect("it is a hook");
    let mut bob = chatd.peer();
    bob.ask("JOIN ops", "OK JOIN #ops 0");
    bob.ask("TAGS on", "OK TAGS on");
    let json = r#"{"title":"Backup","message":"done\nall","priority":8,"extras":{"a":{}}}"#;
    let post = "POST /message HTTP/1.1";
    let key = format!("X-Gotify-Key: {token}");
    for lines in [
        vec![post, &key],
        vec![post, &format!("Authorization: Bearer {token}")],
        vec![
            &format!("POST /message?token={token} HTTP/1.1"),
            "Host: chatd",
        ],
    ] {
        let answer = say(&chatd, &lines, json);
        check_status(&answer, 200);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(
            head.contains("\r\ncontent-type: application/json"),
            "{head}"
        );
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert!(body["id"].is_u64() && body["date"].is_string(), "{body}");
        assert_eq!(body["message"], "done\nall");
        assert_eq!(
            (&body["title"], &body["priority"]),
            (&"Backup".into(), &8.into())
        );
        bob.expect("@notice;x-priority=8;lines=2 MSG #ops ann Backup: done");
        bob.inbox.find(|line| line.ends_with(" MSG #ops ann all"));
    }
    for (lines, body, status) in [
        (vec![post, &key], "{\"title\":\"x\"}", 400),
        (
            vec![post, "X-Gotify-Key: aaaaaaaaaaaaaaaaaaaaaaaaaa"],
            json,
            401,
        ),
        (vec![post], json, 401),
        (vec!["GET /message HTTP/1.1", &key], "", 405),
    ] {
        let answer = say(&chatd, &lines, body);
        check_status(&answer, status);
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["errorCode"], status, "{body}");
    }
    check_status(&say(&chatd, &[post, &key], "message=last"), 200);
    bob.expect("@notice MSG #ops ann last");
}
