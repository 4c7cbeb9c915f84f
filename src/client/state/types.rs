//! The parts of a [`ClientState`](super::ClientState).

use std::time::Duration;

use super::super::message::Message;
use super::super::update::RequestId;

/// How many requests may wait for their replies: as many as a server reads ahead.
pub(super) const PENDING_MAX: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is no connection; the next attempt is due at that time.
    Disconnected { retry_at: Duration },
    /// There is a connection, and the replies for rooms and nick are awaited.
    LoggingIn,
    /// Requests can be sent.
    Connected,
    /// There will be no further connection.
    Ended,
}

/// A room that the client is in or wants to be in.
#[derive(Debug)]
pub(super) struct RoomPosition {
    pub(super) name: String,
    /// The last logged event of it that was seen.
    pub(super) last_id: Option<u64>,
    /// This connection is in it.
    pub(super) is_joined: bool,
}

/// Something sent whose reply has not come.
#[derive(Debug)]
pub(super) enum Awaited {
    /// Its reply does not matter.
    Ignored,
    /// `HELLO`, for the server's capabilities.
    Hello,
    /// The server's password; without it nothing else works.
    ServerPassword,
    /// A room to join. When `is_before_nick`, a refusal is followed by a second attempt after the nick.
    Join {
        room: String,
        is_before_nick: bool,
    },
    /// Leaving the lobby, which the nick joined by itself.
    LeaveLobby,
    /// The nick, and the number of this attempt.
    Nick(String, u32),
    /// The last request of a login without a nick.
    Ready,
    /// One of `pending`.
    Pending(RequestId),
    Goodbye,
}

/// The lobby, joined by the nick although other rooms are wanted.
#[derive(Debug)]
pub(super) struct Lobby {
    pub(super) name: String,
    /// Its name and last id, from `OK NICK`.
    pub(super) joined: String,
}

/// A request without an answer.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) request_id: RequestId,
    pub(super) request: PendingRequest,
}

#[derive(Clone, Debug)]
pub(super) enum PendingRequest {
    /// A message to a room or a nick, or an action in a room, with its nonce.
    Send {
        to: String,
        message: Message,
    },
    Join(String),
    Part(String),
    Rename(String),
    /// Any other request.
    Line(String),
}

impl RoomPosition {
    /// The request that joins it.
    pub(super) fn join_line(&self) -> String {
        match self.last_id {
            Some(last) => format!("JOIN {} {last}", self.name),
            None => format!("JOIN {}", self.name),
        }
    }
}
