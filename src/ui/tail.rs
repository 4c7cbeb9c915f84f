//! `chatc tail`: what happens in rooms, from some point on, for as long as anybody reads it.

use std::time::Duration;

use futures_lite::StreamExt;
use futures_lite::future::poll_once;
use jiff::Timestamp;

use super::ask::{id_of, room_or_lobby, with_hash};
use super::enter::log_in_for;
use super::print::{Output, Print};
use super::server::Server;
use super::{Exit, Failure, complain};
use crate::client::{Chat, Client, Error, Update, Wants};
use crate::protocol::ServerLine;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// After the event of that number; 0 is the beginning.
    Id(u64),
    /// So long ago.
    Ago(Duration),
}

impl std::str::FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(id) = crate::protocol::parse_number(text) {
            return Ok(Self::Id(id));
        }
        let (digits, unit) =
            text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            "w" => 604_800,
            _ => {
                return Err(
                    "write a number of an event, or a time as in 30s, 10m, 2h, 7d or 1w".into(),
                );
            }
        };
        let count = digits
            .parse::<u64>()
            .ok()
            .and_then(|count| count.checked_mul(seconds));
        let count = count.ok_or("that is no number")?;
        Ok(Self::Ago(Duration::from_secs(count)))
    }
}

/// Prints what happens in `rooms`, or in the lobby, and what did since then. Nobody sees one who only reads: a nick is
/// taken when one was asked for, or when a room is closed to those who have none. A connection that breaks is made
/// again, without a gap.
///
/// # Errors
/// When the first connection fails or a room cannot be entered; [`Failure::Output`].
pub async fn run(
    server: &Server,
    rooms: &[String],
    since: Option<Since>,
    is_json: bool,
) -> Result<Exit, Failure> {
    let mut client = server.connect_to_read().await?;
    let mut wanted = Vec::new();
    let rooms: Vec<String> = match rooms {
        [] => vec![room_or_lobby(&mut client, None).await?],
        rooms => rooms.iter().map(|room| with_hash(room)).collect(),
    };
    let mut is_named = server.nick_is_asked;
    for room in &rooms {
        if is_named {
            break;
        }
        let Err(refused) = client.request(format!("TOPIC {room}")).await else {
            continue;
        };
        if refused.refusal().is_none() {
            return Err(refused.into());
        }
        // It is not there yet, or closed.
        let named = log_in_for(&mut client, server, refused).await;
        is_named = named.is_ok() && client.request(format!("TOPIC {room}")).await.is_ok();
    }
    for room in rooms {
        let after = match since {
            None => None,
            Some(Since::Id(id)) => Some(id),
            Some(Since::Ago(ago)) => Some(id_before(&mut client, &room, ago).await?),
        };
        wanted.push((room, after));
    }
    client.close().await;
    let (print, mut output) = (Print::new(is_json, wanted.len() > 1), Output::new());
    let wants = Wants {
        opens: server.opens.clone(),
        nick: is_named.then(|| server.first_nick()),
        password: server.password.clone().filter(|_| is_named),
        rooms: wanted,
        ..Wants::default()
    };
    let mut chat = Chat::new(server.address.clone(), wants);
    loop {
        let update = match poll_once(chat.next()).await {
            Some(update) => update,
            None => {
                // Nothing more for now: what was made of the lines before goes out.
                output.flush().await?;
                output.or_gone(chat.next()).await?
            }
        };
        match update {
            None => return Ok(Exit::Well),
            Some(Update::Over(error)) => return Err(error.into()),
            Some(Update::KeptOut { room, error, .. }) => {
                complain(format_args!("{room}: {error}"));
                return Ok(Exit::Refused);
            }
            Some(Update::Event {
                id, time, event, ..
            }) => {
                output.write(&print.event(id, time, &event)).await?;
            }
            Some(Update::Gap { place }) => output.write(&print.gap(&place)).await?,
            Some(Update::Away { why, .. }) => complain(format_args!("{why}; trying again")),
            Some(Update::Here { is_again: true, .. }) => complain("connected again"),
            Some(_) => {}
        }
    }
}

/// The newest event of `room` that is older than that; 0 when there is none.
async fn id_before(client: &mut Client, room: &str, ago: Duration) -> Result<u64, Error> {
    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
    let then = now.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX));
    let mut before = None;
    loop {
        let end = before.map_or(String::new(), |id| format!(" before {id}"));
        let reply = client.request(format!("HISTORY {room} 1000{end}")).await;
        let lines = match reply {
            Ok(reply) => reply.lines,
            // A room that is not there yet has no past.
            Err(Error::Refused { .. }) => return Ok(0),
            Err(error) => return Err(error),
        };
        let is_older = |line: &&crate::client::Line| match line.read() {
            ServerLine::Past { time, .. } => time.0 < then,
            _ => false,
        };
        if let Some(line) = lines.iter().rev().find(is_older) {
            return Ok(id_of(line).unwrap_or(0));
        }
        match lines.iter().find_map(id_of) {
            Some(first) => before = Some(first),
            None => return Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_a_number_or_a_time() {
        assert_eq!("17".parse(), Ok(Since::Id(17)));
        assert_eq!("10m".parse(), Ok(Since::Ago(Duration::from_secs(600))));
        assert_eq!("1w".parse(), Ok(Since::Ago(Duration::from_secs(604_800))));
        for bad in ["", "m", "-1", "1y", "1.5h", "99999999999999999999s", "é"] {
            assert!(bad.parse::<Since>().is_err(), "{bad}");
        }
    }
}
