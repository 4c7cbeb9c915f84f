//! Logs in: takes a nick, and then joins a room.

use super::server::Server;
use crate::client::{Client, Error, LoggedIn, Reply};
use crate::protocol::Code;

/// Connects, takes the nick of `server` and joins `room`, or stays in the lobby. The nick comes first: an invite-only
/// room accepts only invited nicks, and a new room belongs to its creator only if the nick is registered.
///
/// # Errors
/// Those of [`Server::connect`], [`Client::nick`] and [`Client::join`].
pub async fn enter(server: &Server, room: Option<&str>) -> Result<(Client, LoggedIn), Error> {
    let log_in = |mut client: Client| async move {
        let mut logged_in = server.take_nick(&mut client).await?;
        if let Some(room) = room {
            logged_in = client.move_to(logged_in, room).await?;
        }
        Ok((client, logged_in))
    };
    server.connect_with(log_in).await
}

/// Sends a request that needs no nick in an open room. If the server refuses it, the room may be invite-only. In that
/// case, and if the nick of `server` has a password, takes that nick and sends the request again. If this does not
/// help, returns the first refusal.
///
/// # Errors
/// Those of [`Client::request`].
pub(super) async fn request_as_invited(
    client: &mut Client,
    server: &Server,
    request: &str,
) -> Result<Reply, Error> {
    match client.request(request).await {
        Err(error) => log_in_for(client, server, error).await?,
        result => return result,
    }
    client.request(request).await
}

/// Takes the nick of `server`, if it has a password and the reason for `refused` may be an invite-only room.
///
/// # Errors
/// `refused` if the nick does not help; those of [`Client::nick`].
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
