//! The way in: a nick, then a room.

use super::server::Server;
use crate::client::{Client, Error, Named};
use crate::protocol::Code;

/// Enters `room`, or the lobby, as the one that `server` says one is. The nick comes first: a closed room lets in
/// only nicks that are invited, and a room that is made belongs to a registered nick.
///
/// # Errors
/// Those of [`Client::nick`] and [`Client::join`].
pub async fn enter(
    client: &mut Client,
    server: &Server,
    room: Option<&str>,
) -> Result<Named, Error> {
    let named = server.take_nick(client).await?;
    match room {
        Some(room) => client.go_on(named, room).await,
        None => Ok(named),
    }
}

/// Asks for what needs no nick in an open room. When a room refuses, it may be closed: then it is asked for once more
/// under the nick of `server`, where that has a password that shows whose it is. Gives the first refusal when that
/// does not help.
///
/// # Errors
/// Those of [`Client::request`].
pub(super) async fn ask_as_invited(
    client: &mut Client,
    server: &Server,
    request: &str,
) -> Result<crate::client::Reply, Error> {
    match client.request(request).await {
        Err(error) => log_in_for(client, server, error).await?,
        result => return result,
    }
    client.request(request).await
}

/// Takes the nick of `server` because of `refused`, when that may come of a closed room and there is a password that
/// shows whose the nick is.
///
/// # Errors
/// `refused`, when the nick does not help; those of [`Client::nick`].
pub(super) async fn log_in_for(
    client: &mut Client,
    server: &Server,
    refused: Error,
) -> Result<(), Error> {
    if !may_be_closed(&refused) || server.password.is_none() || server.nick_is_asked {
        return Err(refused);
    }
    match server.log_in(client).await {
        Ok(_) => Ok(()),
        Err(error) if error.refusal().is_some() => Err(refused),
        Err(error) => Err(error),
    }
}

fn may_be_closed(error: &Error) -> bool {
    matches!(
        error.refusal(),
        Some(Code::NoSuchRoom | Code::NotAllowed | Code::NoSuchFile)
    )
}
