//! chatd.md 8, protocol.md 10.4: clients that know several `chatd` continue on another one when theirs dies.

use std::fs;

use futures_lite::StreamExt;
use plainchat::client::{
    Addresses, Client, Error, HistoryRange, Login, Options, ReconnectingClient, Update,
};
use plainchat::protocol::{Code, Event};
use rustix::process::Signal;

use super::chats::Chat;
use super::servers::{free_ports, retry, run};
use super::support::script::{Running, chatc};
use super::support::spawn::Program;

/// The number of lines that are sent.
const LINES: usize = 600;

/// Reads updates until one fits. Adds the texts of ann's messages in `#ops` to `seen`.
async fn until(
    client: &mut ReconnectingClient,
    seen: &mut Vec<String>,
    mut fits: impl FnMut(&Update, &[String]) -> bool,
) {
    loop {
        let update = client.next().await.expect("it goes on");
        match &update {
            Update::Event {
                event: Event::Msg { nick, text, .. },
                ..
            } if nick == "ann" => seen.push(text.to_string()),
            Update::Ended(error) => panic!("{error}"),
            Update::Gap { place } => panic!("a gap in {place}"),
            _ => {}
        }
        if fits(&update, seen) {
            return;
        }
    }
}

#[test]
fn clients_continue_on_another_server_with_their_nicks_and_without_a_gap_or_a_repeat() {
    let chat = Chat::begin();
    let one = chat.start("one");
    let (two, three) = (chat.start("two"), chat.start("three"));
    let addresses = format!("{},{},{}", one.address, two.address, three.address);
    let addresses: Addresses = addresses.parse().expect("addresses");
    let expected: Vec<String> = (1..=LINES).map(|n| format!("line {n}")).collect();
    // The nick of chatc has a password, which is the same in every run. That of the other client has none.
    let home = tempfile::tempdir().expect("a folder");
    let mut ann = chatc(&[&addresses.to_string(), "--room", "ops"]);
    let mut ann = Running::start(ann.env("HOME", home.path()));
    let mut send = |lines: &[String]| ann.write(format!("{}\n", lines.join("\n")).as_bytes());
    let mut seen = Vec::new();
    run(async {
        let mut dan = ReconnectingClient::new(addresses, Options::new("dan").room_after("#ops", 0));
        until(&mut dan, &mut seen, |update, _| {
            matches!(update, Update::Connected { .. })
        })
        .await;
        send(&expected[..LINES / 2]);
        // Some lines have been answered by now, some are on their way.
        until(&mut dan, &mut seen, |_, seen| seen.len() > LINES / 10).await;
        drop(one);
        send(&expected[LINES / 2..]);
        dan.say("#ops", "dan goes on").expect("it is short");
        until(&mut dan, &mut seen, |update, _| {
            matches!(
                update,
                Update::Connected {
                    is_reconnect: true,
                    ..
                }
            )
        })
        .await;
        assert_eq!(dan.nick(), Some("dan"));
        until(&mut dan, &mut seen, |_, seen| seen.len() >= LINES).await;
        while dan.pending() > 0 {
            until(&mut dan, &mut seen, |_, _| true).await;
        }
        dan.leave("");
        while dan.next().await.is_some() {}
    });
    assert_eq!(seen, expected);
    let ended = ann.finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("connected again\n"), "{ended:?}");
    run(async {
        let three = three.address.to_string();
        let mut client = Client::connect(&three).await.expect("it is there");
        let all = client.history("#ops", 1000, HistoryRange::Newest).await;
        let (mut texts, mut others) = (Vec::new(), Vec::new());
        for logged in all.expect("it is readable") {
            match logged.event {
                Event::Msg { nick, text, .. } if nick == "ann" => texts.push(text.into_owned()),
                Event::Msg { nick, text, .. } => others.push(format!("{nick}: {text}")),
                _ => {}
            }
        }
        assert_eq!(texts, expected);
        assert_eq!(others, ["dan: dan goes on"]);
    });
}

#[test]
fn a_client_whose_servers_are_all_cut_off_tries_each_until_one_is_back() {
    let chat = Chat::begin();
    let (one, two) = (chat.start("one"), chat.start("two"));
    let addresses: Addresses = format!("{},{}", one.address, two.address)
        .parse()
        .expect("addresses");
    let options = Options::new(Login::new("ann").password("secret")).room("#ops");
    let mut seen = Vec::new();
    run(async {
        let mut ann = ReconnectingClient::new(addresses, options);
        until(&mut ann, &mut seen, |update, _| {
            matches!(update, Update::Connected { .. })
        })
        .await;
        let all = &chat.nats.all;
        all.iter().for_each(|nats| nats.signal(Signal::STOP));
        ann.say("#ops", "nobody can have it yet")
            .expect("it is short");
        // provokes: cut-off
        let is_refused = |update: &Update, _: &[String]| {
            matches!(
                update,
                Update::Disconnected {
                    error: Error::Refused {
                        code: Some(Code::CutOff),
                        ..
                    },
                    ..
                }
            )
        };
        for _ in 0..3 {
            until(&mut ann, &mut seen, is_refused).await;
        }
        all.iter().for_each(|nats| nats.signal(Signal::CONT));
        until(&mut ann, &mut seen, |update, _| {
            matches!(update, Update::Sent { .. })
        })
        .await;
        assert_eq!(ann.nick(), Some("ann"));
        let mut client = Client::connect_to(ann.addresses().clone())
            .await
            .expect("it is there");
        let all = client.history("#ops", 10, HistoryRange::Newest).await;
        assert_eq!(all.expect("it is readable").len(), 1);
    });
}

/// The settings that chatd.md recommends.
const HAPROXY: &str = include_str!("../../packaging/cluster/haproxy.cfg");

#[test]
fn clients_of_a_load_balancer_continue_on_another_server() {
    let documented = HAPROXY.split_once("defaults\n").expect("the settings").1;
    assert!(include_str!("../../chatd.md").contains(documented));
    let chat = Chat::begin();
    let [one, two] = ["one", "two"].map(|node| chat.start_with(node, &["--proxy", "127.0.0.1"]));
    let port = free_ports(1)[0];
    let settings = HAPROXY
        .replace("bind :5002", &format!("bind 127.0.0.1:{port}"))
        .replace("10.0.0.1:5002", &one.address.to_string())
        .replace("10.0.0.2:5002", &two.address.to_string());
    let (settings, _) = settings
        .split_once("  server three")
        .expect("the third server");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("haproxy.cfg");
    fs::write(&file, settings).expect("a new file");
    let command = format!("exec haproxy -db -f {}", file.display());
    let _haproxy = Program::start(&command, one.address);
    let addresses: Addresses = format!("127.0.0.1:{port}").parse().expect("an address");
    let mut seen = Vec::new();
    run(async {
        let first = retry(async || Client::connect_to(addresses.clone()).await).await;
        first.close().await;
        let mut all = Vec::new();
        for nick in ["ann", "bob"] {
            let options = Options::new(Login::new(nick).password("secret"));
            let mut client = ReconnectingClient::new(addresses.clone(), options);
            until(&mut client, &mut seen, |update, _| {
                matches!(update, Update::Connected { .. })
            })
            .await;
            all.push(client);
        }
        // Each server has one of them. HAProxy notices that a server hangs, and that the other one is well.
        one.signal(Signal::STOP);
        let mut breaks = 0;
        for client in &mut all {
            client.say("#lobby", "still here").expect("it is short");
            let mut is_sent = false;
            while !is_sent {
                until(client, &mut seen, |update, _| {
                    breaks += usize::from(matches!(update, Update::Connected { .. }));
                    is_sent = matches!(update, Update::Sent { .. });
                    true
                })
                .await;
            }
        }
        assert_eq!(breaks, 1);
        let nicks: Vec<_> = all.iter().map(ReconnectingClient::nick).collect();
        assert_eq!(nicks, [Some("ann"), Some("bob")]);
    });
}
