//! The parts of a [`ClientState`](super::ClientState).

use std::time::Duration;

use super::super::message::Message;
use super::super::update::RequestId;

/// The maximum number of requests that wait for replies. A server reads that many requests ahead.
pub(super) const PENDING_MAX: usize = 1024;

/// The verbs of requests that do no harm if they are carried out twice. They only read, or they set a state of the
/// connection or of the nick that nobody else can set.
const REPEATABLE: [&str; 23] = [
    "AWAY", "BANS", "FILES", "FORGET", "HELLO", "HELP", "HISTORY", "HOOKS", "IGNORE", "INVITES",
    "MINE", "PING", "REACT", "REACTS", "READERS", "ROOMS", "SEARCH", "SEEN", "TOKENS", "UNIGNORE",
    "UNREACT", "WHO", "WHOIS",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is no connection. The next attempt is due at the time `retry_at`.
    Disconnected { retry_at: Duration },
    /// There is a connection, and the login on it is not complete.
    LoggingIn,
    /// Requests can be sent.
    Connected,
    /// No further connection will be made.
    Ended,
}

/// A room that the client is in or wants to be in.
#[derive(Debug)]
pub(super) struct RoomPosition {
    pub(super) name: String,
    /// The id of the last logged event that was seen in the room.
    pub(super) last_id: Option<u64>,
    /// Whether this connection is in the room.
    pub(super) is_joined: bool,
}

/// A request on this connection that has not been answered yet.
#[derive(Debug)]
pub(super) enum Awaited {
    /// A request whose reply does not matter.
    Ignored,
    /// `HELLO`, which requests the server's capabilities.
    Hello,
    /// The server's password. Without it, all other requests are refused.
    ServerPassword,
    /// A `JOIN`. If it `is_before_nick` and is refused, it is sent again after the nick.
    Join {
        room: String,
        is_before_nick: bool,
    },
    /// The request to leave the lobby, which the client joined only because it took a nick.
    LeaveLobby,
    /// A `NICK`, and the number of this attempt.
    Nick(String, u32),
    /// The last request of a login without a nick.
    Ready,
    /// One of the requests in `pending`.
    Pending(RequestId),
    Goodbye,
}

/// The lobby, which the client joined because it took a nick, although it wants other rooms.
#[derive(Debug)]
pub(super) struct Lobby {
    pub(super) name: String,
    /// The lobby's name and last id, from `OK NICK`.
    pub(super) joined: String,
}

/// A request that has not been answered yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) request_id: RequestId,
    pub(super) request: PendingRequest,
    /// Whether it was sent on the present connection, or on the last one if there is none.
    pub(super) is_sent: bool,
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
    Rename {
        nick: String,
        /// The password of the nick; `None` for the present one.
        password: Option<String>,
    },
    /// Any other request.
    Line(String),
}

impl PendingRequest {
    /// Returns whether the request has the same effect if it is carried out twice. `has_same_nonces` is whether the
    /// server recognizes a message by its nonce.
    pub(super) fn may_be_repeated(&self, has_same_nonces: bool) -> bool {
        match self {
            // A direct message may be one that is not logged. In this case, its nonce has no effect.
            Self::Send { to, message } => {
                has_same_nonces && message.nonce.is_some() && to.starts_with('#')
            }
            Self::Join(_) | Self::Part(_) | Self::Rename { .. } => true,
            Self::Line(line) => {
                let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
                match &verb.to_ascii_uppercase()[..] {
                    // With a text, this sets the topic.
                    "TOPIC" => {
                        let rest = rest.trim();
                        rest.is_empty() || rest.starts_with('#') && !rest.contains(' ')
                    }
                    verb => REPEATABLE.contains(&verb),
                }
            }
        }
    }

    /// Returns the password with which this request registers the nick.
    pub(super) fn registers(&self) -> Option<&str> {
        let Self::Line(line) = self else { return None };
        let (verb, password) = line.split_once(' ')?;
        (verb.eq_ignore_ascii_case("REGISTER") && password != "-").then_some(password)
    }
}

impl RoomPosition {
    /// Returns the request that joins the room.
    pub(super) fn join_line(&self) -> String {
        match self.last_id {
            Some(last) => format!("JOIN {} {last}", self.name),
            None => format!("JOIN {}", self.name),
        }
    }
}
