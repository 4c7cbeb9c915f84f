//! The updates that a [`super::ReconnectingClient`] returns.

use std::time::Duration;

use super::error::Error;
use super::message::Tags;
use super::reply::{Reply, Sent};
use crate::protocol::{Event, EventId, Time};

/// Identifies a request, to recognise its answer among the [`Update`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(super) u64);

/// One thing that a [`super::ReconnectingClient`] reports.
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
    /// There is a connection, with the nick taken and the rooms joined. Pending requests are sent now.
    Connected {
        /// The nick as the server spells it; `None` for a client that only reads.
        nick: Option<String>,
        /// There was a connection before.
        is_reconnect: bool,
    },
    /// The connection broke, or a new one could not be made. Requests are kept until there is one.
    Disconnected {
        /// The reason.
        error: Error,
        /// The time until the next attempt.
        retry_in: Duration,
    },
    /// It is over, and no more updates come: the first connection failed, the nick was refused, or the server does not
    /// want the client back.
    Ended(Error),
    /// A room was joined. When `is_rejoin`, the missed events came before this.
    Joined {
        /// The room as its creator spelled it.
        room: String,
        /// The id of its newest event; 0 if there is none.
        last_id: u64,
        /// The client was in the room before, or gave an id to continue after.
        is_rejoin: bool,
    },
    /// A room could not be joined.
    JoinFailed {
        /// The room.
        room: String,
        /// The reason.
        error: Error,
        /// The room is dropped. Otherwise it is tried again on each new connection, and by
        /// [`ReconnectingClient::join`](super::ReconnectingClient::join), with the last id seen in it.
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
    /// Something happened in a joined room, or a private message came.
    Event {
        /// Its id; `None` if it is not logged.
        id: Option<EventId>,
        /// When the server received it.
        time: Option<Time>,
        /// Its tags.
        tags: Tags,
        /// What happened.
        event: Event<'static>,
        /// The server replayed it: it was missed during a break, or asked for with an id.
        is_replayed: bool,
    },
    /// Events are missing here; see `protocol.md`, section 5.5.
    Gap {
        /// The room; the client's own nick for private messages; `*` for a `NOTE`.
        place: String,
    },
    /// A message or action of this client was accepted. This is its place among the events of its room.
    Sent {
        /// The request that this answers.
        request_id: RequestId,
        /// Its id and time.
        sent: Sent,
        /// Its tags.
        tags: Tags,
        /// The event as the others receive it; `None` if it was an [`Update::Event`] before: the message had arrived on a
        /// connection that broke, and the server has replayed it. A text of several lines is one event here.
        event: Option<Event<'static>>,
    },
    /// The answer to any other request, or a refusal.
    Answer {
        /// The request that this answers.
        request_id: RequestId,
        /// The reply; [`Error::Refused`] if the server refused.
        result: Result<Reply, Error>,
    },
}
