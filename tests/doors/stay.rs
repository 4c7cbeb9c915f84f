//! protocol.md 10.4: [`ReconnectingClient`] on a real `chatd` that is killed and started again.
//!
//! It runs on an executor that is not smol's.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::server::Chatd;
use futures_lite::{FutureExt, StreamExt, future};
use plainchat::client::{
    Address, Client, Error, HistoryRange, Login, Options, Receiver, ReconnectingClient, Sender,
    Update,
};
use plainchat::protocol::Event;

/// Runs `test` on the executor of `futures-lite`, with a deadline: the library brings all that it needs of
/// a runtime.
fn within<T>(test: impl Future<Output = T>) -> T {
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

#[test]
fn a_server_that_is_killed_and_comes_back_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let first = chatd(folder.path());
    // The second server listens on another port, so that no port has to become free again.
    let address: Arc<Mutex<Address>> =
        Arc::new(Mutex::new(first.address.to_string().parse().unwrap()));
    let now = address.clone();
    let begin = now.lock().unwrap().clone();
    let mut chat = ReconnectingClient::with_dialer(begin, ann("#ops"), move |_| {
        let address = now.lock().unwrap().clone();
        Box::pin(async move { Ok(Client::connect_to(address).await?.split()) })
    });
    within(async {
        until(&mut chat, |update| {
            matches!(update, Update::Connected { .. })
        })
        .await;
        let mut read = Vec::new();
        let mut second = None;
        let mut first = Some(first);
        for n in 0..300 {
            chat.say("#ops", n).unwrap();
            match n {
                // Some of the requests are answered by now, some are in transit, some are not sent.
                100 => {
                    while read.len() < 40 {
                        match chat.next().await.expect("it stays") {
                            Update::Sent {
                                event: Some(Event::Msg { text, .. }),
                                ..
                            } => read.push(text.into_owned()),
                            Update::Ended(error) => panic!("{error}"),
                            _ => {}
                        }
                    }
                }
                150 => drop(first.take()),
                200 => {
                    let chatd = chatd(folder.path());
                    *address.lock().unwrap() = chatd.address.to_string().parse().unwrap();
                    second = Some(chatd);
                }
                _ => {}
            }
        }
        while read.len() < 300 {
            match chat.next().await.expect("it stays") {
                Update::Sent {
                    event: Some(Event::Msg { text, .. }),
                    ..
                } => read.push(text.into_owned()),
                Update::Ended(error) => panic!("{error}"),
                _ => {}
            }
        }
        let expected: Vec<String> = (0..300).map(|n| n.to_string()).collect();
        assert_eq!(read, expected);
        let second = second.expect("it was started");
        let mut other = Client::connect(&second.address.to_string()).await.unwrap();
        let log = other.history("#ops", 1000, HistoryRange::Newest).await;
        let log: Vec<String> = log
            .unwrap()
            .into_iter()
            .filter_map(|logged| match logged.event {
                Event::Msg { text, .. } => Some(text.into_owned()),
                _ => None,
            })
            .collect();
        assert_eq!(log, expected);
        chat.leave("");
        while chat.next().await.is_some() {}
        // Its `BYE` was answered, so the reserved nick is free.
        other.nick("ann").await.unwrap();
    });
}

#[test]
fn a_nick_that_is_taken_is_the_end_at_first() {
    let folder = tempfile::tempdir().unwrap();
    let chatd = chatd(folder.path());
    within(async {
        let address: Address = chatd.address.to_string().parse().unwrap();
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
fn any_stream_of_bytes_carries_it() {
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let near = async_io::Async::new(near).unwrap();
    let (input, output) = futures_lite::io::split(near);
    let peer = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut far = far;
        far.write_all(b"OK STAMPS on\nOK NICK ann #lobby 1\nOK JOIN #a 1\nMSG #a bob hi\n")
            .unwrap();
        let mut heard = vec![0; "STAMPS on\nNICK ann secret\nJOIN #a\n".len()];
        far.read_exact(&mut heard).unwrap();
        String::from_utf8(heard).unwrap()
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
        let said = until(&mut chat, |update| matches!(update, Update::Event { .. })).await;
        assert!(
            matches!(said, Update::Event { event: Event::Msg { text, .. }, .. } if text == "hi")
        );
    });
    assert_eq!(
        peer.join().unwrap(),
        "STAMPS on\nNICK ann secret\nJOIN #a\n"
    );
}
