//! `chatc tail`: prints the events of rooms from some point on, until its output has no reader any more.

use std::time::Duration;

use futures_lite::StreamExt;
use futures_lite::future::poll_once;
use jiff::Timestamp;

use super::ask::room_or_lobby;
use super::failure::{Exit, Failure, complain};
use super::login::log_in_for;
use super::print::{Output, Print};
use super::server::Server;
use super::shorthand::room_name;
use crate::client::{Client, Error, HistoryRange, Options, ReconnectingClient, Update};

/// The point at which `chatc tail` starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// After the event with this id; 0 means from the beginning.
    Id(u64),
    /// This long ago.
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
                    "write the ID of an event, or a time such as 30s, 10m, 2h, 7d or 1w".into(),
                );
            }
        };
        let count = digits
            .parse::<u64>()
            .ok()
            .and_then(|count| count.checked_mul(seconds));
        let count = count.ok_or("invalid number")?;
        Ok(Self::Ago(Duration::from_secs(count)))
    }
}

/// Prints the events of `rooms`, or of the lobby, from `since` on. Takes a nick, and so is seen by others, only if
/// the command line names one or a room is invite-only. If the connection breaks, reconnects without a gap.
///
/// # Errors
/// If the first connection fails, or a room cannot be joined; [`Failure::Output`].
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
        rooms => rooms.iter().map(|room| room_name(room)).collect(),
    };
    let mut is_named = server.nick_is_asked;
    for room in &rooms {
        if is_named {
            break;
        }
        let Err(refused) = client.topic(room).await else {
            continue;
        };
        if refused.refusal().is_none() {
            return Err(refused.into());
        }
        // The room does not exist yet, or is invite-only.
        let named = log_in_for(&mut client, server, refused).await;
        is_named = named.is_ok() && client.topic(room).await.is_ok();
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
    let options = Options {
        server_password: server.server_password.clone(),
        login: is_named.then(|| server.login(server.first_nick())),
        rooms: wanted,
        ..Options::default()
    };
    let mut client = ReconnectingClient::new(server.addresses.clone(), options);
    loop {
        let update = match poll_once(client.next()).await {
            Some(update) => update,
            None => {
                // There is nothing more for now, so the output is flushed.
                output.flush().await?;
                output.or_gone(client.next()).await?
            }
        };
        match update {
            None => return Ok(Exit::Success),
            Some(Update::Ended(error)) => return Err(error.into()),
            Some(Update::JoinFailed { room, error, .. }) => {
                complain(format_args!("{room}: {error}"));
                return Ok(Exit::Refused);
            }
            Some(Update::Event {
                id,
                time,
                tags,
                event,
                ..
            }) => {
                output.write(&print.event(id, time, &tags, &event)).await?;
            }
            Some(Update::Gap { place }) => output.write(&print.gap(&place)).await?,
            Some(Update::Disconnected { error, .. }) => {
                complain(format_args!("{error}; trying again"));
            }
            Some(Update::Connected {
                is_reconnect: true, ..
            }) => complain("connected again"),
            Some(_) => {}
        }
    }
}

/// Returns the id of the newest event of `room` that is older than `ago`; 0 if there is none.
async fn id_before(client: &mut Client, room: &str, ago: Duration) -> Result<u64, Error> {
    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
    let then = now.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX));
    let mut range = HistoryRange::Newest;
    loop {
        let events = match client.history(room, 1000, range).await {
            Ok(events) => events,
            // A room that does not exist yet has no events.
            Err(Error::Refused { .. }) => return Ok(0),
            Err(error) => return Err(error),
        };
        if let Some(older) = events.iter().rev().find(|event| event.time.0 < then) {
            return Ok(older.id.get());
        }
        match events.first() {
            Some(first) => range = HistoryRange::Before(first.id.get()),
            None => return Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_tail_is_an_id_or_an_age() {
        assert_eq!("17".parse(), Ok(Since::Id(17)));
        assert_eq!("10m".parse(), Ok(Since::Ago(Duration::from_secs(600))));
        assert_eq!("1w".parse(), Ok(Since::Ago(Duration::from_secs(604_800))));
        for bad in ["", "m", "-1", "1y", "1.5h", "99999999999999999999s", "é"] {
            assert!(bad.parse::<Since>().is_err(), "{bad}");
        }
    }
}
