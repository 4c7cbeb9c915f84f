//! The replies of the server, as values.

use super::connection::Line;
use super::error::Error;
use super::message::Tags;
use crate::protocol::{Event, EventId, ServerLine, Time};

/// The reply to a request that succeeded.
///
/// ```
/// use plainchat::client::{Line, Reply};
///
/// let reply = Reply {
///     rest: "2".into(),
///     lines: vec![Line::from("USER #ops ann".to_owned()), Line::from("USER #ops bob".to_owned())],
/// };
/// assert_eq!(reply.users(), ["ann", "bob"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The text after `OK` and the verb.
    pub rest: String,
    /// The lines of the requested list.
    pub lines: Vec<Line>,
}

impl Reply {
    /// Returns the logged events in a reply to `HISTORY`, `SEARCH` or `FILES`, oldest first.
    pub fn events(&self) -> Vec<LoggedEvent> {
        let event = |line: &Line| match line.read() {
            ServerLine::Past {
                id,
                time,
                tags,
                event,
            } => Some(LoggedEvent {
                id,
                time,
                tags: Tags::of(tags),
                event: event.into_owned(),
            }),
            _ => None,
        };
        self.lines.iter().filter_map(event).collect()
    }

    /// Returns the nicks in a reply to `WHO`.
    pub fn users(&self) -> Vec<String> {
        let nick = |line: &Line| match line.read() {
            ServerLine::User { nick, .. } => Some(nick.to_owned()),
            _ => None,
        };
        self.lines.iter().filter_map(nick).collect()
    }

    /// Returns the nicks in a reply to `WHO`, each with the text of its `AWAY`; the text is empty if the nick is here.
    pub fn users_and_away(&self) -> Vec<(String, String)> {
        let user = |line: &Line| match line.read() {
            ServerLine::User { nick, text, .. } => Some((nick.to_owned(), text.to_owned())),
            _ => None,
        };
        self.lines.iter().filter_map(user).collect()
    }

    /// Returns the rooms in a reply to `ROOMS`.
    pub fn rooms(&self) -> Vec<RoomInfo> {
        let room = |line: &Line| match line.read() {
            ServerLine::Room {
                room,
                members,
                topic,
            } => Some(RoomInfo {
                name: room.to_owned(),
                members,
                topic: topic.to_owned(),
            }),
            _ => None,
        };
        self.lines.iter().filter_map(room).collect()
    }

    /// Returns the reactions in a reply to `REACTS`.
    pub fn reactions(&self) -> Vec<Reaction> {
        let reaction = |line: &Line| match line.read() {
            ServerLine::Reaction { nick, emoji, .. } => Some(Reaction {
                nick: nick.to_owned(),
                emoji: emoji.to_owned(),
            }),
            _ => None,
        };
        self.lines.iter().filter_map(reaction).collect()
    }

    /// Returns the named readers in a reply to `READERS`.
    pub fn readers(&self) -> Vec<ReaderPosition> {
        let position = |line: &Line| match line.read() {
            ServerLine::Reader { room, reader, id } => Some(ReaderPosition {
                room: room.to_owned(),
                reader: reader.to_owned(),
                id,
            }),
            _ => None,
        };
        self.lines.iter().filter_map(position).collect()
    }

    /// Returns the topic in a reply to `TOPIC`; `None` if the room has none.
    pub fn topic(&self) -> Option<&str> {
        self.rest.split_once(' ').map(|(_, topic)| topic)
    }

    /// Returns whether a `SEARCH` was stopped before it had read the whole log, so that older matches may be missing.
    pub fn is_cut(&self) -> bool {
        self.rest.split(' ').nth(1) == Some("cut")
    }
}

/// An event of a room's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent {
    /// The event's id.
    pub id: EventId,
    /// The time at which the server received the event.
    pub time: Time,
    /// The event's tags; none without `TAGS on`.
    pub tags: Tags,
    /// The event itself.
    pub event: Event<'static>,
}

/// A reaction to a message, as [`Client::reactions`](super::Client::reactions) lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// The nick of the user who reacts.
    pub nick: String,
    /// The emoji.
    pub emoji: String,
}

/// A named reader of the client's nick and its position, in a reply to `READERS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderPosition {
    /// The room that it reads.
    pub room: String,
    /// The reader's name.
    pub reader: String,
    /// The id up to which it has read; 0 for the beginning.
    pub id: u64,
}

/// A room, as [`Client::rooms`](super::Client::rooms) lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomInfo {
    /// The room's name, with `#`.
    pub name: String,
    /// The number of members.
    pub members: u64,
    /// The room's topic; empty if it has none.
    pub topic: String,
}

/// The result of [`Client::search`](super::Client::search).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchResult {
    /// The matches, oldest first. If there are more than 100, these are the newest 100.
    pub events: Vec<LoggedEvent>,
    /// Whether the search took too long and was stopped, so that older matches may be missing.
    pub is_cut: bool,
}

/// A message that the server has accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The message's id; for several lines, that of the first. `None` if the message was delivered but not logged.
    pub id: Option<EventId>,
    /// The time at which the server received the message.
    pub time: Time,
}

impl Sent {
    /// Parses the text after `OK` and the verb, such as `MSG`, `TEXT` or `EDIT`: an id and a time.
    pub(super) fn parse(rest: &str) -> Result<Self, Error> {
        let mut words = rest.split(' ');
        let (id, time) = (words.next(), words.next());
        Ok(Self {
            id: id.and_then(EventId::parse),
            time: time
                .and_then(Time::parse)
                .ok_or(Error::Protocol("OK without a time"))?,
        })
    }
}

/// The nick that a client has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// The nick as the server spells it.
    pub nick: String,
    /// The current room.
    pub room: Option<String>,
}

/// A room that a client has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedRoom {
    /// The room as its creator spelled it.
    pub room: String,
    /// The id of the newest event in the room; 0 if there is none.
    pub last_id: u64,
}

/// Which events of a room's log [`Client::history`](super::Client::history) returns.
///
/// ```
/// use plainchat::client::HistoryRange;
///
/// assert_eq!(HistoryRange::Newest.to_string(), "");
/// assert_eq!(HistoryRange::Before(17).to_string(), " before 17");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HistoryRange {
    /// The newest events.
    #[default]
    Newest,
    /// The newest events before this id.
    Before(u64),
    /// The oldest events after this id.
    After(u64),
}

impl std::fmt::Display for HistoryRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Newest => Ok(()),
            Self::Before(id) => write!(f, " before {id}"),
            Self::After(id) => write!(f, " after {id}"),
        }
    }
}
