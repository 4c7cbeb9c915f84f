//! What a [`super::Chat`] tells: events, what became of what was asked, and how the connection does.

use std::time::Duration;

use super::{Error, Reply, Sent};
use crate::protocol::{Event, EventId, Time};

/// What was asked, to know its answer by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

/// One thing that a [`super::Chat`] tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum Update {
    /// A connection stands, the rooms are entered and the nick is taken: what is said now goes out.
    Here {
        /// As the server writes it; `None` for one who only reads.
        nick: Option<String>,
        /// The connection before had broken.
        is_again: bool,
    },
    /// The connection broke, or could not be made; the next try comes after the pause. What is said meanwhile is
    /// kept.
    Away {
        /// What happened.
        why: Error,
        /// How long until the next try.
        pause: Duration,
    },
    /// It is over, and nothing more comes: the first connection failed, the nick was refused, or one is not to
    /// come back.
    Over(Error),
    /// A room was entered. When `is_again`, what was missed stands before this.
    Entered {
        /// As whoever made it spells it.
        room: String,
        /// Its newest logged event; 0 for none.
        last_id: u64,
        /// One was in it before, or gave an id to begin after.
        is_again: bool,
    },
    /// A room could not be entered again.
    KeptOut {
        /// Which.
        room: String,
        /// Why.
        error: Error,
        /// It is left out from now on. Otherwise the server may let one in later: it is asked for on each further
        /// connection, and by [`Chat::join`](super::Chat::join), after the last event that one has of it.
        is_for_good: bool,
    },
    /// One has left a room.
    Left {
        /// Which.
        room: String,
    },
    /// One is called otherwise.
    Renamed {
        /// As the server writes it.
        nick: String,
    },
    /// Something happened in a room that one is in, or was told to one.
    Event {
        /// `None` for what is not logged.
        id: Option<EventId>,
        /// When the server took it.
        time: Option<Time>,
        /// What happened.
        event: Event<'static>,
        /// It was missed while the connection was broken, or asked for with an id, and is replayed.
        is_past: bool,
    },
    /// Something was left out here, of that room or nick; see `protocol.md`, section 5.5.
    Gap {
        /// The room; one's own nick for what was told; `*` for a `NOTE`.
        place: String,
    },
    /// What one said is kept: it stands at this place among the events of its room.
    Sent {
        /// What it answers.
        ticket: Ticket,
        /// Its number and time.
        sent: Sent,
        /// As the others get it.
        event: Option<Event<'static>>,
    },
    /// The answer to anything else, and to what was refused.
    Answer {
        /// What it answers.
        ticket: Ticket,
        /// The reply; [`Error::Refused`] when the server said no.
        result: Result<Reply, Error>,
    },
}
