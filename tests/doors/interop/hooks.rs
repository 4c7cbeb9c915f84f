//! hooks.md 2: Apprise and Alertmanager, as Debian 12 packages them, post to hooks.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use crate::support::server::Chatd;
use crate::support::spawn::{Peer, Program};

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
    // What fails is reported by the tool.
    let typed = "apprise -t Backup -b done mmost://$HOST:$PORT/aaaaaaaaaaaaaaaaaaaaaaaaaa";
    assert_ne!(Program::start(typed, chatd.address).finish().code, Some(0));
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
        // Free a moment ago; it cannot listen on port 0 and say where.
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address").to_string();
        drop(free);
        let config = format!(
            "route: {{receiver: chat, group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
             receivers: [{{name: chat, webhook_configs: [{{url: '{posts_to}', send_resolved: true}}]}}]\n"
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

    /// Says that an alert fires, or that it has ended; tries until it listens.
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

#[test]
fn alertmanager_fires_resolves_and_posts_again_what_was_not_taken() {
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
