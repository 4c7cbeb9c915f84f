//! chatd.md 8: a client that knows several servers of one chat. Servers that play a script are in the place of `chatd`.

use std::time::Duration;

use super::stay::within;
use crate::support::script::{Server, steps};
use futures_lite::StreamExt;
use plainchat::client::{Addresses, Client, Error, Options, ReconnectingClient, Update};

/// Starts a server that plays a script for each connection, and then refuses connections.
fn play(scripts: &[&str]) -> Server {
    Server::play(scripts.iter().map(|script| steps(script)).collect())
}

/// Returns the address of a server that has stopped.
fn stopped() -> String {
    let server = play(&[]);
    let address = server.address.to_string();
    server.finish();
    address
}

fn list(addresses: &[String]) -> Addresses {
    addresses.join(",").parse().expect("addresses")
}

/// What a client sends first, and the replies.
const FIRST: &str = "> HELLO
    > STAMPS on
    > TAGS on
    > NICK ann
    < OK HELLO 1 chat nonce tags
    < OK STAMPS on
    < OK TAGS on
    < OK NICK ann #lobby 4
    ";

/// Returns what a client sends first after a broken connection, and the replies. In the meantime the id of the last
/// event has grown by one.
fn again(last: u64) -> String {
    let next = last + 1;
    format!(
        "> HELLO
        > STAMPS on
        > TAGS on
        > JOIN #lobby {last}
        > NICK ann
        < OK HELLO 1 chat nonce tags
        < OK STAMPS on
        < OK TAGS on
        < OK JOIN #lobby {next}
        < OK NICK ann #lobby {next}"
    )
}

/// Returns the pause before the next attempt.
async fn broken(chat: &mut ReconnectingClient) -> Duration {
    match chat.next().await {
        Some(Update::Disconnected { retry_in, .. }) => retry_in,
        other => panic!("{other:?}"),
    }
}

async fn connected(chat: &mut ReconnectingClient) -> String {
    loop {
        match chat.next().await {
            Some(Update::Connected { nick, .. }) => return nick.expect("a nick"),
            Some(Update::Joined { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn connections_go_to_the_first_server_that_can_be_reached() {
    let (one, two) = (play(&["> A", "> C"]), play(&["> B"]));
    let (first, second) = (one.address.to_string(), two.address.to_string());
    let addresses = list(&[stopped(), first.clone(), second.clone()]);
    within(async {
        for line in ["A", "C"] {
            let client = Client::connect_to(addresses.clone())
                .await
                .expect("it is there");
            assert_eq!(client.address().to_string(), first);
            let (mut sender, _) = client.split();
            sender.send(line).await.expect("it reads");
        }
        one.finish();
        // It has stopped now.
        let client = Client::connect_to(addresses).await.expect("it is there");
        assert_eq!(client.address().to_string(), second);
        let (mut sender, _) = client.split();
        sender.send("B").await.expect("it reads");
    });
    two.finish();
    let none = list(&[stopped(), stopped()]);
    let error = within(Client::connect_to(none.clone())).expect_err("nobody is there");
    let last = none.iter().last().cloned();
    assert!(
        matches!(&error, Error::Connect { address, .. } if Some(address) == last.as_ref()),
        "{error}"
    );
}

#[test]
fn a_server_without_tls_is_reported_rather_than_one_that_cannot_be_reached() {
    let one = play(&["< ERR - bad-syntax that is no request"]);
    let addresses = format!("tls://{},tcp://{}", one.address, stopped());
    let addresses: Addresses = addresses.parse().expect("addresses");
    let error = within(Client::connect_to(addresses.clone())).expect_err("both fail");
    assert!(
        matches!(&error, Error::Connect { address, .. } if address == addresses.first()),
        "{error}"
    );
    one.finish();
}

#[test]
fn after_a_broken_connection_the_next_server_is_tried_and_the_first_one_follows_the_last() {
    let one = play(&[FIRST, &again(6)]);
    let two = play(&[&again(4)]);
    let three = play(&[&again(5)]);
    let addresses = [one.address, two.address, three.address].map(|address| address.to_string());
    let mut chat = ReconnectingClient::new(list(&addresses), Options::new("ann"));
    within(async {
        connected(&mut chat).await;
        for _ in 0..2 {
            assert!(broken(&mut chat).await < Duration::from_millis(500));
            connected(&mut chat).await;
        }
        // All have been tried now.
        broken(&mut chat).await;
        connected(&mut chat).await;
    });
    drop(chat);
    for server in [one, two, three] {
        server.finish();
    }
}
