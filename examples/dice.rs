//! A bot that rolls dice.
//!
//! ```text
//! cargo run --release &                             # a server, on port 5002
//! cargo run --example dice                          # the bot: [HOST[:PORT] [ROOM]]
//! printf 'JOIN games\nNICK me\nMSG !roll 2d6\nSTAY\n' | nc -N localhost 5002
//! ```
//!
//! The bot answers `me rolled 3 + 5 = 8`.

use std::hash::{BuildHasher, RandomState};

use plainchat::client::{Client, Error, Message};
use plainchat::protocol::Event;

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let host = args.next().unwrap_or("localhost".into());
    let room = args.next().unwrap_or("#games".into());
    // Any executor works.
    futures_lite::future::block_on(run(&host, &room))
}

/// Answers `!roll`, `!roll 20` and `!roll 2d6` until the server ends.
async fn run(host: &str, room: &str) -> Result<(), Error> {
    let mut client = Client::connect(host).await?;
    client.turn_tags_on().await?;
    let here = client.enter("dice", room).await?;
    let room = here.room.unwrap_or_default();
    eprintln!("{} rolls in {room}", here.nick);

    while let Some(line) = client.next_event().await? {
        // Messages of programs are notices, and a program must not answer them.
        if let Some(Event::Msg { to, nick, text }) = line.event()
            && to == room
            && !line.tags().is_notice()
            && let Some(asked) = text.strip_prefix("!roll")
        {
            let answer = match parse(asked) {
                Some((count, sides)) => format!("{nick} rolled {}", roll(count, sides)),
                None => format!("{nick}: say !roll, !roll 20 or !roll 2d6"),
            };
            client.send(Message::new(answer).notice()).await?;
        }
    }
    Ok(())
}

/// Parses the dice to roll: `""` is one die with 6 sides, `"20"` one with 20, and `"2d6"` two with 6. At most 20 dice
/// with 1000 sides.
fn parse(asked: &str) -> Option<(u32, u32)> {
    let (count, sides) = match asked.trim() {
        "" => (1, 6),
        asked => match asked.split_once('d') {
            Some((count, sides)) => (count.parse().ok()?, sides.parse().ok()?),
            None => (1, asked.parse().ok()?),
        },
    };
    ((1..=20).contains(&count) && (1..=1000).contains(&sides)).then_some((count, sides))
}

fn roll(count: u32, sides: u32) -> String {
    // Each `RandomState` of the standard library has a new key, which is random enough for a game.
    let die = |_| RandomState::new().hash_one(()) % u64::from(sides) + 1;
    let dice: Vec<u64> = (0..count).map(die).collect();
    let sum: u64 = dice.iter().sum();
    match &dice[..] {
        [one] => one.to_string(),
        all => {
            let all: Vec<String> = all.iter().map(u64::to_string).collect();
            format!("{} = {sum}", all.join(" + "))
        }
    }
}
