//! The updates that a [`super::ReconnectingClient`] returns.

use std::time::Duration;

use super::error::Error;
use super::message::Tags;
use super::reply::{Reply, Sent};
use crate::protocol::{Event, EventId, Time};

/// The id of a request, by which its answer can be recognized among the [`Update`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(super) u64);

/// A report of a [`super::ReconnectingClient`].
///
/// ```
/// use plainchat::client::Update;
/// use plainchat::protocol::Event;
///
/// fn describe(update: &Update) -> String {
///     match update {
///         Update::Connected { is_reconnect: true, .. } => "connected again".to_owned(),
///         Update::Disconnected { error, retry_in } => format!("{error}; retrying in {retry_in:?}"),
///         Update::Event { event: Event::Msg { nick, text, .. }, .. } => format!("{nick}: {text}"),
///         other => format!("{other:?}"),
///     }
/// }
/// # let _ = describe;
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Update {
    /// A connection was made, the nick was taken and the rooms were joined. Pending requests are sent now.
    Connected {
        /// The nick as the server spells it; `None` for a client that only reads.
        nick: Option<String>,
        /// Whether there was a connection before.
        is_reconnect: bool,
    },
    /// The connection broke, or a new one could not be made. Requests are kept until there is a connection.
    Disconnected {
        /// The reason.
        error: Error,
        /// The time until the next attempt.
        retry_in: Duration,
    },
    /// The client has ended, and no more updates follow: the first connection failed, the nick was refused, or the
    /// server does not want the client to return.
    Ended(Error),
    /// A room was joined. If `is_rejoin`, the missed events came before this update.
    Joined {
        /// The room as its creator spelled it.
        room: String,
        /// The id of the room's newest event; 0 if there is none.
        last_id: u64,
        /// Whether the client was in the room before, or gave an id after which to continue.
        is_rejoin: bool,
    },
    /// A room could not be joined.
    JoinFailed {
        /// The room.
        room: String,
        /// The reason.
        error: Error,
        /// Whether the client gives up the room. If not, it tries again on each new connection and on each call of
        /// [`ReconnectingClient::join`](super::ReconnectingClient::join), from the last id that it has seen in the
        /// room.
        is_permanent: bool,
    },
    /// The client left a room.
    Left {
        /// The room.
        room: String,
    },
    /// The nick of the client has changed.
    Renamed {
        /// The new nick as the server spells it.
        nick: String,
    },
    /// Something happened in a joined room, or a direct message arrived.
    Event {
        /// The event's id; `None` if it is not logged.
        id: Option<EventId>,
        /// The time at which the server received the event.
        time: Option<Time>,
        /// The event's tags.
        tags: Tags,
        /// The event itself.
        event: Event<'static>,
        /// Whether the server replayed the event, because it was missed during a break or because the client gave an
        /// id.
        is_replayed: bool,
    },
    /// Another connection of this client's nick has moved one of the nick's named readers; see `protocol.md`,
    /// section 4.24.
    Seen {
        /// The room.
        room: String,
        /// The reader's name.
        reader: String,
        /// The id up to which the reader has read; 0 for the beginning.
        id: u64,
    },
    /// Events are missing here; see `protocol.md`, section 5.5.
    Gap {
        /// The room; the client's own nick for direct messages; `*` for a `NOTE`.
        place: String,
    },
    /// The server has accepted a message or action of this client. The update comes at the message's place among the
    /// events of its room.
    Sent {
        /// The request that this update answers.
        request_id: RequestId,
        /// The message's id and time.
        sent: Sent,
        /// The message's tags.
        tags: Tags,
        /// The event as other clients receive it, except that a text of several lines is one event. `None` if an
        /// earlier [`Update::Event`] has reported the message already. This happens if the connection broke before
        /// the server's reply arrived: on the next connection, the server sends the message with the missed events.
        event: Option<Event<'static>>,
    },
    /// The answer to any other request, or a refusal.
    Answer {
        /// The request that this update answers.
        request_id: RequestId,
        /// The reply; [`Error::Refused`] if the server refused.
        result: Result<Reply, Error>,
    },
}
