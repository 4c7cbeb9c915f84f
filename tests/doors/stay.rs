//! protocol.md 10.4: [`ReconnectingClient`] on a real `chatd` that is killed and started again.
//!
//! It runs on an executor that is not smol's.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::server::Chatd;
use futures_lite::{FutureExt, StreamExt, future};
use plainchat::client::{
    Addresses, Client, Error, HistoryRange, LoggedEvent, Login, Options, Receiver,
    ReconnectingClient, Sender, Update,
};
use plainchat::protocol::Event;

/// Runs `test` on the executor of `futures-lite`, with a deadline: the library needs no other runtime.
pub fn within<T>(test: impl Future<Output = T>) -> T {
    let late = async {
        async_io::Timer::after(Duration::from_secs(60)).await;
        panic!("not done in a minute")
    };
    future::block_on(test.or(late))
}

fn chatd(folder: &Path) -> Chatd {
    let flags = ["--data", folder.to_str().unwrap(), "--announce-after", "1h"];
    Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags.map(str::to_owned)).expect("chatd")
}

fn ann(room: &str) -> Options {
    Options::new(Login::new("ann").password("secret")).room(room)
}

async fn until(chat: &mut ReconnectingClient, what: impl Fn(&Update) -> bool) -> Update {
    while let Some(update) = chat.next().await {
        if what(&update) {
            return update;
        }
    }
    panic!("it ended")
}

/// Returns the texts of the messages in a room's log.
async fn log(client: &mut Client, room: &str) -> Vec<String> {
    let log = client.history(room, 1000, HistoryRange::Newest).await;
    let text = |logged: LoggedEvent| match logged.event {
        Event::Msg { text, .. } => Some(text.into_owned()),
        _ => None,
    };
    log.unwrap().into_iter().filter_map(text).collect()
}

/// Tests a room that the client is in, and a room that it only sends to and whose events it does not see.
#[test]
fn a_server_that_is_killed_and_restarted_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Some(chatd(folder.path()));
    // Each server listens on another port, so that no port has to become free again.
    let first = server.as_ref().unwrap().address.to_string();
    let address: Arc<Mutex<Addresses>> = Arc::new(Mutex::new(first.parse().unwrap()));
    let now = address.clone();
    let begin = now.lock().unwrap().clone();
    let options = ann("#other").room("#ops");
    let mut chat = ReconnectingClient::with_dialer(begin, options, move |_| {
        let address = now.lock().unwrap().clone();
        Box::pin(async move { Ok(Client::connect_to(address).await?.split()) })
    });
    within(async {
        until(&mut chat, |update| {
            matches!(update, Update::Connected { .. })
        })
        .await;
        assert!(chat.server().has("nonce"), "{:?}", chat.server());
        chat.part("#other").unwrap();
        until(&mut chat, |update| matches!(update, Update::Left { .. })).await;
        let (mut answers, mut total) = (0, 0_usize);
        for _ in 0..4 {
            for _ in 0..60 {
                // Each text three times, so that only its nonce tells messages apart. Some have two lines.
                match total % 5 {
                    0 => chat.send("#ops", format!("{}\n  more", total / 3)).unwrap(),
                    _ => chat.say("#ops", total / 3).unwrap(),
                };
                chat.say("#other", total / 3).unwrap();
                total += 1;
            }
            // Some of them are answered by now, some are in transit, some are not sent.
            let enough = answers + 40;
            while answers < enough {
                answers += usize::from(is_sent(&chat.next().await.expect("it stays")));
            }
            // A part of the rest reaches the server, and its replies reach nobody.
            let _ = future::poll_once(chat.next()).await.map(|update| {
                answers += usize::from(is_sent(&update.expect("it stays")));
            });
            drop(server.take());
            server = Some(chatd(folder.path()));
            let again = server.as_ref().unwrap().address.to_string();
            *address.lock().unwrap() = again.parse().unwrap();
        }
        while answers < 2 * total {
            answers += usize::from(is_sent(&chat.next().await.expect("it stays")));
        }
        let expected: Vec<String> = (0..total).map(|n| (n / 3).to_string()).collect();
        let last = address.lock().unwrap().clone();
        let mut other = Client::connect_to(last).await.unwrap();
        let lines = (0..total).map(|n| match n % 5 {
            0 => format!("{}\n  more", n / 3),
            _ => (n / 3).to_string(),
        });
        let lines = lines.collect::<Vec<_>>().join("\n");
        assert_eq!(log(&mut other, "#ops").await.join("\n"), lines);
        assert_eq!(log(&mut other, "#other").await, expected);
        chat.leave("");
        while chat.next().await.is_some() {}
        // Its `BYE` was answered, so the reserved nick is free.
        other.nick("ann").await.unwrap();
    });
}

/// Returns whether a message was accepted.
fn is_sent(update: &Update) -> bool {
    match update {
        Update::Sent { .. } => true,
        Update::Ended(error)
        | Update::Answer {
            result: Err(error), ..
        } => panic!("{error}"),
        _ => false,
    }
}

#[test]
fn a_taken_nick_ends_the_client_at_its_first_connection() {
    let folder = tempfile::tempdir().unwrap();
    let chatd = chatd(folder.path());
    within(async {
        let address: Addresses = chatd.address.to_string().parse().unwrap();
        let mut bob = Client::connect_to(address.clone()).await.unwrap();
        bob.nick("ann").await.unwrap();
        let mut chat = ReconnectingClient::new(address, ann("#ops"));
        let over = until(&mut chat, |update| matches!(update, Update::Ended(_))).await;
        assert!(
            matches!(over, Update::Ended(Error::Refused { .. })),
            "{over:?}"
        );
        assert!(chat.next().await.is_none());
    });
}

#[test]
fn the_client_works_over_any_stream_of_bytes() {
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let near = async_io::Async::new(near).unwrap();
    let (input, output) = futures_lite::io::split(near);
    let peer = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut far = far;
        far.write_all(b"OK HELLO 1 chat\nOK STAMPS on\nOK TAGS on\nOK NICK ann #lobby 1\nOK JOIN #a 1\nMSG #a bob hi\n")
            .unwrap();
        let mut received = vec![0; "HELLO\nSTAMPS on\nTAGS on\nNICK ann secret\nJOIN #a\n".len()];
        far.read_exact(&mut received).unwrap();
        String::from_utf8(received).unwrap()
    });
    within(async {
        let mut halves = Some((Sender::new(output), Receiver::new(input)));
        let mut chat =
            ReconnectingClient::with_dialer("nowhere".parse().unwrap(), ann("#a"), move |_| {
                let halves = halves.take();
                Box::pin(async move {
                    halves.ok_or(Error::Lost(std::io::ErrorKind::NotConnected.into()))
                })
            });
        until(&mut chat, |update| {
            matches!(update, Update::Connected { .. })
        })
        .await;
        let update = until(&mut chat, |update| matches!(update, Update::Event { .. })).await;
        assert!(
            matches!(update, Update::Event { event: Event::Msg { text, .. }, .. } if text == "hi")
        );
    });
    assert_eq!(
        peer.join().unwrap(),
        "HELLO\nSTAMPS on\nTAGS on\nNICK ann secret\nJOIN #a\n"
    );
}
