//! http.md 6: a browser is notified while the page is closed. `tests/hooks/push_service.py` plays the browser's push
//! service, and decrypts what it receives. `tests/run` installs what that program needs.

use std::path::Path;

use crate::support::carriers::Frames;
use crate::support::run::PATIENCE;
use crate::support::server::Chatd;
use crate::support::spawn::{Peer, Program};
use crate::support::web::{check_status, say};

const PYTHON: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../hook-clients/bin/python");
const SERVICE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hooks/push_service.py");

/// The headers with `ann:my secret`, `bob:my secret` and so on, in base64.
const ANN: &str = "Authorization: Basic YW5uOm15IHNlY3JldA==";
const BOB: &str = "Authorization: Basic Ym9iOm15IHNlY3JldA==";
const CYN: &str = "Authorization: Basic Y3luOm15IHNlY3JldA==";

/// A push service, and a browser that it serves.
struct Service {
    program: Program,
    folder: tempfile::TempDir,
    /// The browser's description.
    browser: String,
    /// The address at which the browser is reached.
    endpoint: String,
}

impl Service {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let typed = format!("exec '{PYTHON}' '{SERVICE}' '{}'", folder.path().display());
        let nowhere = ([127, 0, 0, 1], 9).into();
        let mut program = Program::start(&typed, nowhere);
        let browser = program.inbox.line();
        let endpoint = browser.split('"').nth(3).expect("an endpoint").to_owned();
        Self {
            program,
            folder,
            browser,
            endpoint,
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a server that trusts the service and may send to it.
    fn chatd(&self, more: &[&str]) -> Chatd {
        let trust = format!("SSL_CERT_FILE={}/cert.pem", self.path().display());
        let host = self.endpoint.split('/').nth(2).expect("a host");
        let flags = [
            "--announce-after",
            "1h",
            "--push",
            "mailto:root@example.org",
            "--push-service",
            host,
        ];
        Chatd::under(&["env", &trust], &[&flags, more].concat())
    }

    /// Returns the description of a browser at another address of the service.
    fn browser(&self, path: &str) -> String {
        let address = format!("{}{path}", self.endpoint);
        self.browser.replace(&self.endpoint, &address)
    }

    /// Takes the next request, which must have the path `path` and show `title`, `body` and `room`.
    #[track_caller]
    fn expect(&mut self, path: &str, title: &str, body: &str, room: &str) -> String {
        let line = self.program.inbox.line();
        let text = format!(r#""text": {{"body": "{body}", "room": "{room}", "title": "{title}"}}"#);
        assert!(line.contains(&text), "wanted {text}, got {line}");
        assert!(
            line.contains(&format!(r#""path": "/push{path}", "#)),
            "{line}"
        );
        let origin = &self.endpoint[..self.endpoint.len() - "/push".len()];
        assert!(line.contains(&format!(r#""aud": "{origin}", "#)), "{line}");
        assert!(
            line.contains(r#""sub": "mailto:root@example.org""#),
            "{line}"
        );
        line
    }
}

fn put(chatd: &Chatd, who: &str, browser: &str) -> String {
    say(chatd, &["PUT /push HTTP/1.1", who], browser)
}

/// Registers a nick.
fn register(chatd: &Chatd, nick: &str) -> Peer {
    let mut peer = chatd.member(nick);
    peer.ask("REGISTER my secret", &format!("OK REGISTER {nick}"));
    peer
}

/// Sends a line, and skips what others have sent before the reply, which must begin with `begins`.
#[track_caller]
fn ask(peer: &mut Peer, line: &str, begins: &str) -> String {
    peer.send(format!("{line}\n"));
    peer.inbox.find(|line| line.starts_with(begins))
}

fn tell(peer: &mut Peer, to: &str, text: &str) {
    ask(peer, &format!("TELL {to} {text}"), "OK TELL ");
}

#[test]
fn mentions_and_direct_messages_reach_a_browser_only_while_the_page_is_closed() {
    let mut service = Service::start();
    let chatd = service.chatd(&[]);
    let (ann, mut bob) = (register(&chatd, "ann"), register(&chatd, "bob"));
    check_status(&put(&chatd, ANN, &service.browser), 204);
    drop(ann);
    tell(&mut bob, "#lobby", "look, Ann: the door");
    let line = service.expect("", "bob in #lobby", "look, Ann: the door", "#lobby");
    let key = say(&chatd, &["GET /push HTTP/1.1"], "");
    let key = key.trim_end().rsplit('\n').next().expect("a key");
    assert!(line.contains(&format!(r#""key": "{key}", "#)), "{line}");
    tell(&mut bob, "#lobby", "nobody is meant");
    tell(&mut bob, "ann", "psst");
    service.expect("", "bob", "psst", "bob");
    // The page is opened.
    let mut page = Frames::open(chatd.address).expect("the handshake");
    page.send(0x81, b"NICK ann my secret")
        .expect("the server reads");
    loop {
        let frame = page.next(PATIENCE).expect("no error").expect("a frame");
        if frame.payload.starts_with(b"OK NICK") {
            break;
        }
    }
    tell(&mut bob, "ann", "while the page is open");
    drop(page);
    // Waits until the server knows that the page is closed.
    loop {
        if ask(&mut bob, "WHO #lobby", "OK WHO").ends_with(" 1") {
            break;
        }
    }
    tell(&mut bob, "ann", "closed again");
    service.expect("", "bob", "closed again", "bob");
    // A message of an ignored user notifies nobody.
    let ignoring = service
        .browser
        .replace("{\"endpoint", "{\"ignore\": [\"Bob\"], \"endpoint");
    check_status(&put(&chatd, ANN, &ignoring), 204);
    let mut cyn = register(&chatd, "cyn");
    tell(&mut bob, "ann", "ignored");
    tell(&mut cyn, "ann", "not ignored");
    service.expect("", "cyn", "not ignored", "cyn");
    // The browser belongs to one nick, and is removed on request.
    check_status(&put(&chatd, BOB, &service.browser), 204);
    tell(&mut cyn, "ann", "ann is elsewhere");
    tell(&mut cyn, "bob", "bob is here");
    service.expect("", "cyn", "bob is here", "cyn");
    check_status(&put(&chatd, BOB, &service.browser("/2")), 204);
    let removed = say(&chatd, &["DELETE /push HTTP/1.1", BOB], &service.browser);
    check_status(&removed, 204);
    tell(&mut cyn, "bob", "the second");
    service.expect("/2", "cyn", "the second", "cyn");
}

#[test]
fn only_push_services_are_contacted_and_only_for_the_owner_of_a_registered_nick() {
    let mut service = Service::start();
    let chatd = service.chatd(&[]);
    let mut ann = register(&chatd, "ann");
    for address in [
        "http://localhost:1/push",
        "https://localhost/push",
        "https://127.0.0.1/latest/meta-data",
        "https://push.evil.example/push",
        "https://fcm.googleapis.com@127.0.0.1/push",
        "https://fcm.googleapis.com:8443/push",
    ] {
        let browser = service.browser.replace(&service.endpoint, address);
        check_status(&put(&chatd, ANN, &browser), 400);
    }
    let no_key = service
        .browser
        .replace("\"p256dh\": \"B", "\"p256dh\": \"C");
    check_status(&put(&chatd, ANN, &no_key), 400);
    check_status(&put(&chatd, ANN, "{}"), 400);
    // The server does not follow a redirect.
    check_status(&put(&chatd, ANN, &service.browser("/elsewhere")), 204);
    let mut bob = register(&chatd, "bob");
    for text in ["one", "two"] {
        tell(&mut bob, "ann", text);
        service.expect("/elsewhere", "bob", text, "bob");
    }
    // Notifications cannot be turned on by a stranger, with a wrong password, with a token, or by a page of another
    // site.
    check_status(&say(&chatd, &["PUT /push HTTP/1.1"], &service.browser), 401);
    let wrong = "Authorization: Basic YW5uOndyb25n";
    check_status(&put(&chatd, wrong, &service.browser), 401);
    let nobody = "Authorization: Basic Y3luOg==";
    check_status(&put(&chatd, nobody, &service.browser), 403);
    let token = ask(&mut ann, "TOKEN ci", "OK TOKEN ci ");
    let token = token.rsplit(' ').next().expect("a token");
    let url = format!(
        "curl -s -o /dev/null -w '%{{http_code}}\\n' -u ann:{token} -T - http://$HOST:$PORT/push"
    );
    let mut curl = chatd.client(&url);
    curl.send(&service.browser);
    assert_eq!(curl.finish().lines(), ["403"]);
    let foreign = ["PUT /push HTTP/1.1", ANN, "Origin: http://evil.example"];
    check_status(&say(&chatd, &foreign, &service.browser), 403);
    // Without the flag, `/push` does not exist.
    check_status(&put(&Chatd::start(), ANN, &service.browser), 404);
}

#[test]
fn a_browser_is_kept_over_a_restart_and_removed_when_it_is_gone_or_the_password_changes() {
    let mut service = Service::start();
    let data = service.path().join("data");
    let data = data.to_str().expect("a plain name").to_owned();
    let chatd = service.chatd(&["--data", &data]);
    let (mut ann, mut bob) = (register(&chatd, "ann"), register(&chatd, "bob"));
    check_status(&put(&chatd, ANN, &service.browser("/gone")), 204);
    tell(&mut bob, "ann", "one");
    service.expect("/gone", "bob", "one", "bob");
    check_status(&put(&chatd, ANN, &service.browser), 204);
    tell(&mut bob, "ann", "two");
    let before = service.expect("", "bob", "two", "bob");
    let key = |line: &str| line.split(r#""key": ""#).nth(1).expect("a key")[..87].to_owned();
    drop((ann, bob, chatd));
    let chatd = service.chatd(&["--data", &data]);
    bob = chatd.peer();
    bob.ask("NICK bob my secret", "OK NICK bob #lobby <id>");
    tell(&mut bob, "ann", "three");
    let after = service.expect("", "bob", "three", "bob");
    assert_eq!(key(&before), key(&after));
    ann = chatd.peer();
    ann.ask("NICK ann my secret", "OK NICK ann #lobby <id>");
    ann.ask("REGISTER another one", "OK REGISTER ann");
    tell(&mut bob, "ann", "four");
    check_status(&put(&chatd, BOB, &service.browser), 204);
    tell(&mut ann, "bob", "five");
    service.expect("", "ann", "five", "ann");
}

#[test]
fn a_message_that_is_removed_or_whose_sender_is_banned_notifies_nobody_while_it_waits() {
    let mut service = Service::start();
    let chatd = service.chatd(&["--operator", "root"]);
    let mut root = register(&chatd, "root");
    let _ann = register(&chatd, "ann");
    let (mut bob, _cyn) = (register(&chatd, "bob"), register(&chatd, "cyn"));
    let mut dan = register(&chatd, "dan");
    check_status(&put(&chatd, ANN, &service.browser("/silent")), 204);
    check_status(&put(&chatd, CYN, &service.browser), 204);
    // The server sends this many requests at the same time. Further messages wait until it gives these requests up.
    for n in 0..8 {
        tell(&mut bob, "ann", &n.to_string());
    }
    for text in ["waits for its turn", "waits behind it"] {
        let told = ask(&mut bob, &format!("TELL cyn {text}"), "OK TELL ");
        let id = told.split(' ').nth(2).expect("an id");
        ask(&mut bob, &format!("REMOVE {id}"), "OK REMOVE");
    }
    tell(&mut dan, "#lobby", "cyn: buy this");
    ask(&mut root, "BAN dan 1h", "OK BAN");
    tell(&mut bob, "cyn", "stays");
    service.expect("", "bob", "stays", "bob");
}

#[test]
fn a_push_service_that_does_not_answer_delays_nobody() {
    let mut service = Service::start();
    let chatd = service.chatd(&[]);
    let _ann = register(&chatd, "ann");
    let mut bob = register(&chatd, "bob");
    let mut cyn = register(&chatd, "cyn");
    check_status(&put(&chatd, ANN, &service.browser("/silent")), 204);
    check_status(&put(&chatd, BOB, &service.browser), 204);
    for n in 0..5 {
        tell(&mut cyn, "ann", &n.to_string());
    }
    tell(&mut cyn, "bob", "at once");
    // Sent one after the other, the unanswered requests would take longer than this test waits.
    service.expect("", "cyn", "at once", "cyn");
    ask(&mut bob, "PING", "OK PING");
}
