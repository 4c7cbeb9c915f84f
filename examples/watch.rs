//! A bot that joins one room and posts to another when a message contains one of its words.
//!
//! ```text
//! cargo run --release &                                        # a server, on port 5002
//! cargo run --example watch -- localhost ops alerts disk fire  # HOST ROOM WHERE-TO WORD...
//! printf 'JOIN ops\nNICK me\nMSG the disk is full\nBYE\n' | nc localhost 5002
//! ```
//!
//! In `#alerts`, users then read `#ops me: the disk is full`. If the server restarts, the bot reconnects and reads
//! the messages that it has missed. It ignores messages of other bots.

use futures_lite::StreamExt;
use plainchat::client::{Error, Login, Options, ReconnectingClient, Update};
use plainchat::protocol::Event;

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [host, from, to, words @ ..] = &args[..] else {
        eprintln!("usage: watch HOST ROOM WHERE-TO WORD...");
        std::process::exit(2)
    };
    // Any executor works: the library needs nothing from it.
    futures_lite::future::block_on(run(host, from, to, words))
}

async fn run(host: &str, from: &str, to: &str, words: &[String]) -> Result<(), Error> {
    let to = format!("#{}", to.trim_start_matches('#'));
    // With a random password, the nick stays reserved for this bot while a connection is broken.
    let password = format!("{:032x}", fastrand::u128(..));
    let options = Options::new(Login::new("watch").password(password))
        .add_number()
        .room(from)
        .bot();
    let mut client = ReconnectingClient::new(host.parse()?, options);
    while let Some(update) = client.next().await {
        match update {
            Update::Event {
                event:
                    Event::Msg {
                        to: room,
                        nick,
                        text,
                    },
                ..
            } if room != to => {
                let said = text.to_lowercase();
                if words.iter().any(|word| said.contains(&word.to_lowercase())) {
                    client.say(&to, format!("{room} {nick}: {text}"))?;
                }
            }
            Update::Connected { is_reconnect, .. } => {
                eprintln!("watching{}", if is_reconnect { " again" } else { "" })
            }
            Update::Disconnected { error, .. } => eprintln!("{error}"),
            Update::Ended(error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
