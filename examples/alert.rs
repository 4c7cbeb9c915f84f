//! A bot that posts alerts in a room, and prints which user takes each of them.
//!
//! ```text
//! cargo run --release &                                   # a server, on port 5002
//! echo 'critical db1 the disk is full' | cargo run --example alert -- localhost ops
//! ```
//!
//! Each line of its input is an alert: a severity, a source and a text. In `#ops`, users read `critical: db1: the
//! disk is full`, and programs find the parts in the tags `x-severity` and `x-source`. A user takes an alert by
//! reacting with 👍, and the bot prints `ann takes db1: the disk is full`. After the end of its input, the bot runs
//! until every alert has been taken. If the server restarts, the bot reconnects, and each alert is posted only once.

use std::collections::{BTreeMap, HashMap};

use futures_lite::{AsyncBufReadExt, FutureExt, StreamExt};
use plainchat::client::{Error, Login, Message, Options, ReconnectingClient, RequestId, Update};
use plainchat::protocol::Event;
use plainchat::protocol::text::clean;

/// The emoji with which a user takes an alert.
const TAKE: &str = "👍";

/// The maximum number of alerts that are remembered. The oldest are forgotten first.
const ALERTS_MAX: usize = 1000;

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [host, room] = &args[..] else {
        eprintln!("usage: alert HOST ROOM");
        std::process::exit(2)
    };
    smol::block_on(run(host, room))
}

/// An alert, and the users who have taken it.
struct Alert {
    title: String,
    takers: Vec<String>,
}

#[derive(Default)]
struct Alerts {
    /// The alerts that the server has not confirmed yet.
    sent: HashMap<RequestId, Alert>,
    /// The confirmed alerts, by the ids of their messages.
    posted: BTreeMap<u64, Alert>,
    /// The pending requests for the reactions to an alert.
    asked: HashMap<RequestId, u64>,
}

impl Alerts {
    /// Records a reaction.
    fn react(&mut self, id: u64, nick: &str, emoji: &str, is_on: bool) {
        let Some(alert) = self.posted.get_mut(&id).filter(|_| emoji == TAKE) else {
            return;
        };
        let is_known = alert.takers.iter().any(|taker| taker == nick);
        if is_on && !is_known {
            println!("{} takes {}", clean(nick), alert.title);
            alert.takers.push(nick.to_owned());
        } else if !is_on && is_known {
            alert.takers.retain(|taker| taker != nick);
            println!("{} gives back {}", clean(nick), alert.title);
        }
    }

    fn are_taken(&self) -> bool {
        let mut posted = self.posted.values();
        self.sent.is_empty() && posted.all(|alert| !alert.takers.is_empty())
    }
}

async fn run(host: &str, room: &str) -> Result<(), Error> {
    let room = format!("#{}", room.trim_start_matches('#'));
    // With a random password, the nick stays reserved for this bot while a connection is broken.
    let login = Login::new("alert").password(format!("{:032x}", fastrand::u128(..)));
    let options = Options::new(login).add_number().room(&room).bot();
    let mut client = ReconnectingClient::new(host.parse()?, options);
    let input = smol::Unblock::new(std::io::stdin());
    let mut lines = futures_lite::io::BufReader::new(input).lines();
    let (mut alerts, mut is_all) = (Alerts::default(), false);
    loop {
        let reads = !is_all && !client.is_full();
        let line = async {
            if reads {
                Next::Line(lines.next().await)
            } else {
                std::future::pending().await
            }
        };
        let update = async { Next::Update(client.next().await) };
        match update.or(line).await {
            Next::Line(Some(Ok(line))) => post(&mut client, &room, &line, &mut alerts),
            Next::Line(_) => is_all = true,
            Next::Update(None) => return Ok(()),
            Next::Update(Some(update)) => process(&mut client, update, &mut alerts)?,
        }
        if is_all && alerts.are_taken() {
            client.leave("");
        }
    }
}

enum Next {
    Line(Option<std::io::Result<String>>),
    Update(Option<Update>),
}

/// Posts an alert.
fn post(client: &mut ReconnectingClient, room: &str, line: &str, alerts: &mut Alerts) {
    let mut words = line.splitn(3, ' ');
    let (Some(severity), Some(source), Some(text)) = (words.next(), words.next(), words.next())
    else {
        return eprintln!("an alert is SEVERITY SOURCE TEXT, not {line:?}");
    };
    let message = Message::new(format!("{severity}: {source}: {text}"))
        .tag("x-severity", severity)
        .tag("x-source", source);
    let alert = Alert {
        title: format!("{source}: {text}"),
        takers: Vec::new(),
    };
    match client.send(room, message) {
        Ok(request_id) => drop(alerts.sent.insert(request_id, alert)),
        Err(error) => eprintln!("{error}: {line}"),
    }
}

fn process(
    client: &mut ReconnectingClient,
    update: Update,
    alerts: &mut Alerts,
) -> Result<(), Error> {
    match update {
        Update::Sent {
            request_id, sent, ..
        } => {
            if let (Some(alert), Some(id)) = (alerts.sent.remove(&request_id), sent.id) {
                alerts.posted.insert(id.get(), alert);
                if alerts.posted.len() > ALERTS_MAX {
                    alerts.posted.pop_first();
                }
                // If a connection broke, somebody may have reacted before the reply arrived.
                alerts.asked.insert(client.reactions(id.get())?, id.get());
            }
        }
        Update::Answer { request_id, result } => match (alerts.asked.remove(&request_id), result) {
            (Some(id), Ok(reply)) => {
                for reaction in reply.reactions() {
                    alerts.react(id, &reaction.nick, &reaction.emoji, true);
                }
            }
            (_, Err(error)) => {
                alerts.sent.remove(&request_id);
                eprintln!("{}", clean(&error.to_string()));
            }
            _ => {}
        },
        Update::Event { event, .. } => match event {
            Event::React {
                id, nick, emoji, ..
            } => alerts.react(id, &nick, &emoji, true),
            Event::Unreact {
                id, nick, emoji, ..
            } => alerts.react(id, &nick, &emoji, false),
            _ => {}
        },
        Update::Disconnected { error, .. } => eprintln!("{}", clean(&error.to_string())),
        Update::Ended(error) => return Err(error),
        _ => {}
    }
    Ok(())
}
