//! The way in: a room, then a nick.

use super::Wording;
use crate::client::{Client, Error, Named, login, nicks};
use crate::protocol::Code;

/// How many nicks are tried before giving up: more than any class has seats.
const TRIES: usize = 999;

/// Enters `room`, or the lobby, under `nick`, or under the login name: that one with a 2, 3, … when it is
/// taken, since in a lab everybody logs in under the same.
///
/// # Errors
/// Those of [`Client::nick`] and [`Client::join`].
pub async fn enter(
    client: &mut Client,
    nick: Option<&str>,
    room: Option<&str>,
) -> Result<Wording, Error> {
    // The room comes before the nick: whoever has a room is not sent to the lobby.
    if let Some(room) = room {
        client.join(room).await?;
    }
    let named = match nick {
        Some(nick) => client.nick(nick).await?,
        None => take_a_nick(client, &login()).await?,
    };
    Ok(Wording::new(named.nick, named.room))
}

async fn take_a_nick(client: &mut Client, login: &str) -> Result<Named, Error> {
    let mut last = None;
    for nick in nicks(login).take(TRIES) {
        match client.nick(&nick).await {
            Err(error) if matches!(error.refusal(), Some(Code::NickTaken | Code::BadPassword)) => {
                last = Some(error);
            }
            result => return result,
        }
    }
    Err(last.unwrap_or(Error::Line("there is no nick to try")))
}
