//! The way in: a room, then a nick.

use super::Wording;
use super::server::Server;
use crate::client::{Client, Error};

/// Enters `room`, or the lobby, as the one that `server` says one is.
///
/// # Errors
/// Those of [`Client::nick`](crate::client::Client::nick) and [`Client::join`](crate::client::Client::join).
pub async fn enter(
    client: &mut Client,
    server: &Server,
    room: Option<&str>,
) -> Result<Wording, Error> {
    // The room comes before the nick: whoever has a room is not sent to the lobby.
    if let Some(room) = room {
        client.join(room).await?;
    }
    let named = server.take_nick(client).await?;
    Ok(Wording::new(named.nick, named.room))
}
