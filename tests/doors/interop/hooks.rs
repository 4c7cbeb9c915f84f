//! hooks.md 2, 4, 5: Apprise, Alertmanager and Netdata, as Debian 12 packages them, and clients of PyPI and npm post to
//! hooks and topics. `tests/run` installs what Debian has not.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::support::run::PATIENCE;
use crate::support::server::Chatd;
use crate::support::spawn::{Peer, Program};
use crate::support::tmpfs::Tmpfs;

/// Creates a hook; returns its token and a reader of its room that sees ids and tags.
fn hook(server: SocketAddr, room: &str) -> (String, Peer) {
    let mut owner = Peer::connect(server);
    owner.ask("NICK ann", "OK NICK ann #lobby <id>");
    owner.ask("REGISTER my secret", "OK REGISTER ann");
    let line = owner.ask(&format!("HOOK tool {room}"), "OK HOOK tool <word>");
    let (_, token) = line.split_once("/hooks/").expect("a token");
    (token.to_owned(), reader(server, room))
}

fn reader(server: SocketAddr, room: &str) -> Peer {
    let mut reader = Peer::connect(server);
    reader.ask("STAMPS on", "OK STAMPS on");
    reader.ask("TAGS on", "OK TAGS on");
    reader.ask(&format!("JOIN {room}"), &format!("OK JOIN {room} <id>"));
    reader
}

#[test]
fn apprise_posts_to_mattermost_gotify_ntfy_and_json_addresses() {
    let chatd = Chatd::with(&["--ntfy", "on"]);
    let (token, mut reader) = hook(chatd.address, "#ops");
    let posts = [
        (
            "mmost://$HOST:$PORT/TOKEN?image=no",
            "lines=2",
            &["Backup", "done"][..],
        ),
        (
            "gotify://$HOST:$PORT/TOKEN",
            "x-priority=5",
            &["Backup: done"],
        ),
        (
            "ntfy://ann:my%20secret@$HOST:$PORT/ops?priority=high&mode=private",
            "x-priority=4",
            &["(!) Backup: done"],
        ),
        (
            "json://$HOST:$PORT/hooks/TOKEN",
            "notice",
            &["Backup: done"],
        ),
    ];
    for (address, tag, lines) in posts {
        let address = address.replace("TOKEN", &token);
        let typed = format!("apprise -t Backup -b done \"{address}\"");
        let ended = Program::start(&typed, chatd.address).finish();
        assert_eq!(ended.code, Some(0), "{address}: {ended:?}");
        for (n, line) in lines.iter().enumerate() {
            let received = reader.expect(&format!("LIVE <id> <time> <word> MSG #ops ann {line}"));
            assert!(n > 0 || received.contains(tag), "{received}");
        }
    }
    // The tool reports a post that failed.
    let typed = "apprise -t Backup -b done mmost://$HOST:$PORT/aaaaaaaaaaaaaaaaaaaaaaaaaa";
    assert_ne!(Program::start(typed, chatd.address).finish().code, Some(0));
}

/// The programs of PyPI.
const PYTHON: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../hook-clients/bin/python");

/// The folder with the packages of npm.
const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hooks");

/// The files of Debian's netdata-plugins-bash.
const NETDATA: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../netdata/usr/lib/netdata");

/// Runs a script, in which `TOKEN` and `URL` stand for the token of a hook and the server's address; returns its output.
#[track_caller]
fn run(chatd: &Chatd, token: &str, begin: &str, script: &str) -> String {
    let url = format!("http://{}", chatd.address);
    let script = script.replace("TOKEN", token).replace("URL", &url);
    let ended = Program::start(&format!("{begin} '{script}'"), chatd.address).finish();
    assert_eq!(ended.code, Some(0), "{script}: {ended:?}");
    String::from_utf8(ended.output).expect("it is text")
}

fn python() -> String {
    format!("exec \"{PYTHON}\" -c")
}

fn node() -> String {
    format!("cd \"{NODE}\" && exec node --input-type=module -e")
}

#[test]
fn the_clients_of_slack_report_success_only_if_the_message_was_sent() {
    let chatd = Chatd::start();
    let (token, mut reader) = hook(chatd.address, "#ops");
    let wrong = "aaaaaaaaaaaaaaaaaaaaaaaaaa";
    let script = "from slack_sdk.webhook import WebhookClient\n\
        sent = WebhookClient(\"URL/hooks/TOKEN\").send(text=\"deployed <https://x|y>\")\n\
        print(sent.status_code, sent.body, end=\"\")";
    assert_eq!(run(&chatd, &token, &python(), script), "200 ok");
    reader.expect("LIVE <id> <time> @notice MSG #ops ann deployed y (https://x)");
    let refused = run(&chatd, wrong, &python(), script);
    assert!(refused.starts_with("404 no_service"), "{refused}");
    let script = "import { IncomingWebhook } from \"@slack/webhook\";\n\
        const sent = await new IncomingWebhook(\"URL/hooks/TOKEN\").send({ text: \"from node\" }).catch((e) => ({ text: e.message }));\n\
        process.stdout.write(sent.text)";
    assert_eq!(run(&chatd, &token, &node(), script), "ok");
    reader.expect("LIVE <id> <time> @notice MSG #ops ann from node");
    let refused = run(&chatd, wrong, &node(), script);
    assert!(refused.contains("404"), "{refused}");
}

#[test]
fn the_client_of_gotify_posts_with_the_token_of_a_hook() {
    let chatd = Chatd::start();
    let (token, mut reader) = hook(chatd.address, "#ops");
    let script = "from gotify import Gotify\n\
        sent = Gotify(base_url=\"URL\", app_token=\"TOKEN\").create_message(\"97 %\", title=\"Disk\", priority=5)\n\
        print(sent[\"message\"], sent[\"id\"] > 0, end=\"\")";
    assert_eq!(run(&chatd, &token, &python(), script), "97 % True");
    let received = reader.expect("LIVE <id> <time> <word> MSG #ops ann Disk: 97 %");
    assert!(received.contains("x-priority=5"), "{received}");
    let script = "from gotify import Gotify, GotifyError\n\
        try: Gotify(base_url=\"URL\", app_token=\"TOKEN\").create_message(\"x\")\n\
        except GotifyError as e: print(e, end=\"\")";
    let refused = run(&chatd, "wrong", &python(), script);
    assert!(refused.starts_with("401 "), "{refused}");
}

#[test]
fn the_clients_of_ntfy_publish_and_read() {
    let chatd = Chatd::with(&["--ntfy", "on"]);
    let (token, mut reader) = hook(chatd.address, "#ops");
    // npm's ntfy writes the title in Latin-1.
    let script = "import { publish } from \"ntfy\";\n\
        const all = { server: \"URL\", topic: \"ops\" };\n\
        const ann = { username: \"ann\", password: \"my secret\" };\n\
        const sent = await publish({ ...all, title: \"Grüße\", message: \"naïve ✓\", priority: 5, tags: [\"skull\"], authorization: ann });\n\
        await publish({ ...all, message: \"by a token\", authorization: \"TOKEN\" });\n\
        const refused = await publish({ ...all, message: \"by nobody\" }).catch((e) => e.message);\n\
        process.stdout.write(`${sent.title} ${sent.id.length} ${refused}`)";
    let said = run(&chatd, &token, &node(), script);
    assert_eq!(
        said,
        "Grüße 12 Error while publishing message: Unauthorized"
    );
    let received = reader.expect("LIVE <id> <time> <word> MSG #ops ann (!) Grüße: naïve ✓");
    assert!(received.contains("x-priority=5"), "{received}");
    reader.expect("LIVE <id> <time> <word> MSG #ops ann by a token");
    let script = "from python_ntfy import NtfyClient\n\
        ntfy = NtfyClient(\"ops\", server=\"URL\", auth=(\"ann\", \"my secret\"))\n\
        ntfy.send(\"from python\", title=\"Größe\", priority=NtfyClient.MessagePriority.HIGH)\n\
        NtfyClient(\"ops\", server=\"URL\", auth=\"TOKEN\").send(\"by a token again\")\n\
        print(sorted(m[\"message\"] for m in ntfy.get_cached_messages()), end=\"\")";
    assert_eq!(
        run(&chatd, &token, &python(), script),
        "['(!) Größe: from python', '(!) Grüße: naïve ✓', 'by a token', 'by a token again']"
    );
    reader.expect("LIVE <id> <time> <word> MSG #ops ann (!) Größe: from python");
    // A subscriber receives what is published after it has come.
    let script = "import { publish } from \"ntfy\";\n\
        const stream = (await fetch(\"URL/ops/json\")).body.pipeThrough(new TextDecoderStream());\n\
        for await (const part of stream) for (const line of part.trim().split(\"\\n\")) {\n\
            const { event, title, message } = JSON.parse(line);\n\
            if (event === \"open\") await publish({ server: \"URL\", topic: \"ops\", message: \"late\", authorization: \"TOKEN\" });\n\
            if (event === \"message\") console.log(title, message), process.exit();\n\
        }";
    assert_eq!(run(&chatd, &token, &node(), script), "ann late\n");
}

/// A script that makes the calls of ntfy's Android app, in the app's order, with Debian's python3-websockets: it
/// checks the topic, polls, and subscribes from the last id on. If the connection is lost, it connects again.
const APP: &str = r#"
import asyncio, json, sys, urllib.request, websockets
base, token = sys.argv[1:]
def get(path):
    with urllib.request.urlopen("http://" + base + path) as answer:
        return [json.loads(line) for line in answer.read().splitlines()]
def publish(topic, text):
    request = urllib.request.Request("http://" + base + "/" + topic, text.encode(), {"Authorization": "Bearer " + token})
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())["id"]
async def subscribe(since, text):
    async with websockets.connect("ws://" + base + "/ops,lobby/ws?since=" + since) as app:
        opened = json.loads(await app.recv())
        print(opened["event"], opened["topic"])
        publish("ops", text)
        while True:
            event = json.loads(await app.recv())
            print(event["event"], event["topic"], event["title"], event["message"])
            if event["message"] == text:
                break
        await (await app.ping())
        return event["id"]
print(get("/ops/auth"))
publish("ops", "one")
polled = get("/ops/json?poll=1&since=all")
print([event["message"] for event in polled])
last = asyncio.run(subscribe(polled[-1]["id"], "two"))
publish("ops", "three")
asyncio.run(subscribe(last, "four"))
asyncio.run(subscribe("none", "five"))
"#;

#[test]
fn the_calls_of_ntfys_app_receive_each_message_once() {
    let chatd = Chatd::with(&["--ntfy", "on"]);
    let (token, _reader) = hook(chatd.address, "#ops");
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("app.py");
    std::fs::write(&script, APP).expect("a folder");
    let typed = format!("/usr/bin/python3 {} $HOST:$PORT {token}", script.display());
    chatd.client(&typed).finish().expect(&[
        "[{'success': True}]",
        "['one']",
        "open ops,lobby",
        "message ops ann two",
        "open ops,lobby",
        "message ops ann three",
        "message ops ann four",
        "open ops,lobby",
        "message ops ann five",
    ]);
}

#[test]
fn netdata_sends_its_alarms() {
    let chatd = Chatd::start();
    let (token, mut reader) = hook(chatd.address, "#ops");
    let folder = tempfile::tempdir().expect("a folder");
    let settings = format!(
        "SEND_EMAIL=NO\nSEND_SLACK=YES\nDEFAULT_RECIPIENT_SLACK=alerts\nSLACK_WEBHOOK_URL=http://{}/hooks/{token}\n",
        chatd.address
    );
    let file = folder.path().join("health_alarm_notify.conf");
    std::fs::write(file, settings).expect("a folder");
    let typed = format!(
        "NETDATA_USER_CONFIG_DIR='{}' NETDATA_STOCK_CONFIG_DIR='{NETDATA}/conf.d' bash '{NETDATA}/plugins.d/alarm-notify.sh' test",
        folder.path().display()
    );
    let ended = Program::start(&typed, chatd.address).finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for state in [" needs attention, ", " is critical, ", " recovered, "] {
        reader
            .inbox
            .find(|line| line.contains(" MSG #ops ann ") && line.contains(state));
    }
}

/// A running Alertmanager; killed when dropped.
struct Alertmanager {
    child: Child,
    address: String,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Alertmanager {
    fn start(folder: &std::path::Path, posts_to: &str) -> Self {
        let receiver = format!("webhook_configs: [{{url: '{posts_to}', send_resolved: true}}]");
        Self::with(folder, &receiver)
    }

    /// Starts Alertmanager with this receiver.
    fn with(folder: &std::path::Path, receiver: &str) -> Self {
        // The port was free a moment ago. Alertmanager cannot listen on port 0 and say which port it got.
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address").to_string();
        drop(free);
        let config = format!(
            "route: {{receiver: chat, group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
             receivers: [{{name: chat, {receiver}}}]\n"
        );
        let file = folder.join("alertmanager.yml");
        std::fs::write(&file, config).expect("a folder");
        let child = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", folder.join("am").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Debian's prometheus-alertmanager is installed");
        Self { child, address }
    }

    /// Tells Alertmanager that an alert fires or has ended. Tries again until Alertmanager listens.
    fn alert(&self, name: &str, more: &str) {
        let address = &self.address;
        let typed = format!(
            "for n in $(seq 300); do amtool --alertmanager.url=http://{address} alert add {name} severity=page \
             --annotation=summary='it happens' {more} && exit 0; done; exit 1"
        );
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        let ended = Program::start(&typed, nowhere).finish();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

impl Alertmanager {
    /// Returns the number of requests that have failed, and of notifications that Alertmanager has given up.
    fn failed(&self) -> (u64, u64) {
        let mut peer = Peer::connect(self.address.parse().expect("an address"));
        peer.send("GET /metrics HTTP/1.0\r\n\r\n");
        let all = String::from_utf8(peer.inbox.rest()).expect("it is text");
        let count = |name: &str| {
            let name = format!("alertmanager_{name}{{integration=\"webhook\"}} ");
            let line = all.lines().find_map(|line| line.strip_prefix(&name));
            line.expect("it is counted").parse().expect("a number")
        };
        (
            count("notification_requests_failed_total"),
            count("notifications_failed_total"),
        )
    }
}

/// If Alertmanager did not understand the answer, it would post the first alert a second time, before it posts both
/// alerts together.
#[test]
fn alertmanager_posts_each_notification_once_when_it_posts_as_to_slack() {
    let chatd = Chatd::start();
    let (token, mut room) = hook(chatd.address, "#alerts");
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("http://{}/hooks/{token}", chatd.address);
    let receiver = format!("slack_configs: [{{api_url: '{url}', channel: ignored}}]");
    let alertmanager = Alertmanager::with(folder.path(), &receiver);
    for (name, title) in [("Full", "[FIRING:1]  (Full page)"), ("Down", "[FIRING:2]")] {
        alertmanager.alert(name, "");
        let posted = room.inbox.find(|line| line.contains("[FIRING:"));
        let text = format!(" @notice MSG #alerts ann {title} ");
        assert!(posted.contains(&text), "{posted}");
    }
}

/// While nothing can be saved, the server answers 503. Alertmanager posts a notification again only after a 5xx;
/// after any other refusal, it gives up.
#[test]
fn alertmanager_is_told_503_by_a_full_disk_and_posts_again_without_a_double() {
    let disk = Tmpfs::mount(6 << 10);
    let data = disk.path().join("data");
    let flags = ["--data", data.to_str().expect("a plain name")];
    let chatd = Chatd::with(&[&flags[..], &["--announce-after", "1h"]].concat());
    let (token, mut room) = hook(chatd.address, "#alerts");
    let mut bob = chatd.member("bob");
    bob.ask("JOIN #other", "OK JOIN #other 0");
    let ballast = disk.fill();
    let mut fill = |size: usize| {
        let is_full = |answer: &str| answer.starts_with("ERR MSG quota ");
        loop {
            bob.send(format!("MSG {}\n", "x".repeat(size)));
            let answer = bob
                .inbox
                .find(|line| line.starts_with("OK MSG ") || is_full(line));
            if is_full(&answer) {
                return;
            }
        }
    };
    fill(3000);
    fill(1);

    let posts_to = format!("http://{}/hooks/{token}", chatd.address);
    let folder = tempfile::tempdir().expect("a folder");
    let alertmanager = Alertmanager::start(folder.path(), &posts_to);
    let names = ["Full", "Down"];
    for name in names {
        alertmanager.alert(name, "");
    }
    let end = Instant::now() + PATIENCE;
    loop {
        let (requests, given_up) = alertmanager.failed();
        assert_eq!(given_up, 0, "{requests} requests have failed");
        if requests >= 2 {
            break;
        }
        assert!(Instant::now() < end, "it is told that nothing can be saved");
        // A small message may still fit.
        fill(1);
    }
    std::fs::remove_file(ballast).expect("it is there");

    let mut next = |status: &str| {
        let text = format!(" MSG #alerts ann [{status}] ");
        room.inbox.find(|line| line.contains(&text))
    };
    for fired in [next("FIRING"), next("FIRING")] {
        let words: Vec<&str> = fired.split(' ').collect();
        let name = words[8];
        let end = "--end=$(date -u -d '1 second ago' +%Y-%m-%dT%H:%M:%SZ)";
        alertmanager.alert(name, end);
        let resolved = next("RESOLVED");
        let text = format!("[RESOLVED] {name} (severity=page): it happens");
        assert!(resolved.ends_with(&text), "{resolved}");
        let reply = format!(";reply={} ", words[1]);
        assert!(resolved.contains(&reply), "{resolved}");
    }
    let mut reader = reader(chatd.address, "#alerts");
    reader.send("HISTORY #alerts 100\n");
    let mut count = 0;
    while !reader.inbox.line().starts_with("OK HISTORY") {
        count += 1;
    }
    assert_eq!(count, 4, "each is sent once");
}

#[test]
fn alertmanager_posts_an_alert_again_until_it_is_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let start = |address: &str| {
        let data = data.to_str().expect("a plain name").to_owned();
        let flags = [
            "--data",
            &data,
            "--listen",
            address,
            "--announce-after",
            "1h",
        ];
        Chatd::with(&flags)
    };
    // It is started again at the same address, where Alertmanager goes on posting.
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = port.local_addr().expect("an address");
    drop(port);
    let first = start(&address.to_string());
    let (token, mut room) = hook(address, "#alerts");
    let posts_to = format!("http://{address}/hooks/{token}");
    let alertmanager = Alertmanager::start(folder.path(), &posts_to);
    alertmanager.alert("Full", "");
    let fired = room.expect(
        "LIVE <id> <time> <word> MSG #alerts ann [FIRING] Full (severity=page): it happens",
    );
    let fired = fired.split(' ').nth(1).expect("an id").to_owned();
    alertmanager.alert(
        "Full",
        "--end=$(date -u -d '1 second ago' +%Y-%m-%dT%H:%M:%SZ)",
    );
    let ended = room.expect(
        "LIVE <id> <time> <word> MSG #alerts ann [RESOLVED] Full (severity=page): it happens",
    );
    assert!(ended.contains(&format!(";reply={fired} ")), "{ended}");
    // An alert fires while the server is down; it is sent once the server is back.
    drop(first);
    alertmanager.alert("Down", "");
    let _second = start(&address.to_string());
    let mut room = Peer::connect(address);
    room.send("STAMPS on\nJOIN #alerts 0\n");
    room.inbox
        .find(|line| line.ends_with("[FIRING] Down (severity=page): it happens"));
}
