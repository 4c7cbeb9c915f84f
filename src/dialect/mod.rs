//! Reads requests from a connection, and writes replies and events to it.
//!
//! `plain` is the protocol as `protocol.md` describes it, for programs; `talker` is for people who type into `nc` or
//! `telnet`; `irc` is for IRC clients; `values` is for a client inside this process, which is sent fields and not text. Nothing outside this
//! module asks which of them a connection speaks: it passes a [`Line`], and the dialect writes it. One more dialect is
//! one more file here.

pub mod hook;
pub mod irc;
mod output;
mod plain;
mod talker;
mod values;

pub use output::Output;
pub use values::{Delivery, EventRecord, Reply, ReplyFields};

use crate::protocol::event::EventLayout;
use crate::protocol::request::Refusal;
use crate::protocol::{Code, Digest, Event, EventId, Request, Time, Verb};

/// The dialect that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// For programs, as `protocol.md` describes it.
    Program(Marks),
    /// For people (`CHAT`).
    Talker,
    /// For IRC clients.
    Irc,
    /// As values, for a client inside this process.
    Values,
}

/// A dialect, with what it needs to know about the client.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    dialect: Dialect,
    client: Option<&'a irc::Client>,
}

/// The additions to the events that a program receives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The id and time of each live event (`STAMPS on`).
    pub stamps: bool,
    /// The tags of each event (`TAGS on`).
    pub tags: bool,
}

/// A line to send that is not an event.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // the fields are what they are called
pub enum Line<'a> {
    /// The final reply to a request that succeeded: the fields for programs, a sentence for people.
    Ok {
        verb: Verb,
        fields: &'a str,
        sentence: &'a str,
    },
    /// The final reply to a request that proposed an event, once that is decided.
    Decided {
        verb: Verb,
        id: Option<EventId>,
        time: Time,
        body: &'a ReplyBody,
    },
    /// The final reply to a search: how many matches were sent, and whether older ones may be missing.
    Found { count: usize, is_cut: bool },
    /// The final reply to a request that failed, or that could not be read.
    Refused(&'a Refusal),
    /// The last line of a connection that the server ends.
    Closed { code: Code, text: &'a str },
    /// An entry of a list, with the first word of its line. Programs also receive the room that the whole
    /// list is about, if there is one.
    Entry {
        word: &'a str,
        room: Option<&'a str>,
        fields: &'a [&'a str],
    },
    /// An entry of the list of rooms.
    Room {
        name: &'a str,
        members: usize,
        topic: &'a str,
    },
    /// Some events of a room or nick are left out here: no longer kept, or not read in time.
    Gap { of: &'a str, was_slow: bool },
    /// The nick that a message goes to is away; `to` is the sender.
    Away {
        to: &'a str,
        nick: &'a str,
        text: &'a str,
    },
    /// A notice of the server to this connection alone.
    Notice { server: &'a str, text: &'a str },
    /// The connection has been removed from a room, under that nick (`*` without one).
    Removed {
        room: &'a str,
        nick: &'a str,
        reason: &'a str,
        is_current: bool,
    },
}

/// The part of an event that the reply to its request shows.
#[derive(Debug)]
pub enum ReplyBody {
    /// Its id and time.
    IdAndTime,
    /// The id of its first line, its time, and how many lines it has.
    Lines(usize),
    /// A file.
    File(Box<FileReply>),
    /// This text.
    Text(Box<str>),
    /// The event itself for clients that expect a copy of their own events; for others its id and time.
    Event(Box<OwnEvent>),
    /// One of the others, in answer to a labeled command of an IRC client.
    Labeled(Box<(irc::Label, ReplyBody)>),
    /// There is no reply.
    Nothing,
}

/// The fields of the reply to an upload.
#[derive(Debug)]
pub struct FileReply {
    /// The id that the file was announced with; `None` if that is the event's own.
    pub announced: Option<EventId>,
    /// Number of bytes.
    pub length: u64,
    /// Digest of all bytes.
    pub sha256: Digest,
}

/// The event of a client's own action, in the form that others receive.
#[derive(Debug)]
pub struct OwnEvent {
    /// The event's line in the protocol.
    pub line: String,
    /// The further lines of a text, separated by LF.
    pub more: Option<Box<str>>,
    /// Its tags as they are sent, without the `@`; empty for none.
    pub tags: Box<str>,
    /// Whether the refusal must not be sent to the client.
    pub is_silent: bool,
}

impl OwnEvent {
    /// Returns the number of each line of a text, and for all but the first its text. Another event has one line.
    pub fn lines(&self) -> impl Iterator<Item = (usize, Option<&str>)> {
        let more = self.more.iter().flat_map(|more| more.split('\n'));
        std::iter::once(None).chain(more.map(Some)).enumerate()
    }
}

impl Dialect {
    /// The dialect in which a connection begins.
    pub const FIRST: Self = Self::Program(Marks {
        stamps: false,
        tags: false,
    });

    /// Returns the additions to events; none in talker mode.
    pub fn marks(self) -> Marks {
        match self {
            Self::Program(marks) => marks,
            Self::Talker | Self::Irc | Self::Values => Marks::default(),
        }
    }

    /// Returns this dialect if it is one for programs; in talker mode, the dialect after `/raw`.
    pub fn without_talk(self) -> Self {
        Self::Program(self.marks())
    }

    /// Returns whether this is for people, who are shown what to type in place of raw bytes.
    pub fn is_for_people(self) -> bool {
        matches!(self, Self::Talker | Self::Irc)
    }

    /// Returns whether events are written as the room's tail has them, so that readers can share the bytes.
    pub fn shares_lines(self) -> bool {
        self == Self::FIRST
    }

    /// Returns the dialect, with what it needs to know about the client.
    pub fn to(self, client: Option<&irc::Client>) -> Writer<'_> {
        Writer {
            dialect: self,
            client,
        }
    }

    /// Reads a line without its end; `None` for an empty one.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn parse<'a>(self, line: &'a [u8], has_nick: bool) -> Result<Option<Request<'a>>, Refusal> {
        match self {
            Self::Program(_) | Self::Irc | Self::Values => Request::parse(line),
            Self::Talker => talker::parse(line, has_nick),
        }
    }

    /// Appends a line as [`Writer::write`] does, for no client in particular.
    pub fn write(self, line: Line<'_>, out: &mut Output) {
        self.to(None).write(line, out);
    }

    /// Returns a line with its end, or a value.
    pub fn line(self, line: Line<'_>) -> Output {
        let mut out = Output::default();
        self.write(line, &mut out);
        out
    }
}

impl Writer<'_> {
    /// Returns the dialect.
    pub fn dialect(self) -> Dialect {
        self.dialect
    }

    /// Returns the IRC client, if it is one.
    pub fn irc(&self) -> Option<&irc::Client> {
        self.client.filter(|_| self.dialect == Dialect::Irc)
    }

    /// Returns the same for another dialect.
    #[must_use]
    pub fn with(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// Returns whether the client wants to know whether a nick that joins is registered.
    pub fn names_accounts(self) -> bool {
        let caps = self.client.map(|client| client.caps);
        caps.is_some_and(|caps| caps.has(irc::Cap::ExtendedJoin))
    }

    /// Appends a line with its end, or a value; nothing if the dialect cannot express it.
    pub fn write(self, line: Line<'_>, out: &mut Output) {
        match (self.dialect, self.client) {
            (Dialect::Program(_), _) => {
                plain::write(line, &mut out.bytes);
                out.bytes.push(b'\n');
            }
            (Dialect::Irc, Some(client)) => irc::write(client, line, &mut out.bytes),
            (Dialect::Talker | Dialect::Irc, _) => talker::write(line, &mut out.bytes),
            (Dialect::Values, _) => values::write(line, out),
        }
    }

    /// Appends the refusal of an event, in place of its reply.
    pub fn refuse(self, refusal: &Refusal, body: &ReplyBody, out: &mut Output) {
        match (self.dialect, self.client, body) {
            (Dialect::Irc, Some(client), ReplyBody::Labeled(labeled)) => {
                let (label, body) = &**labeled;
                let from = out.bytes.len();
                self.refuse(refusal, body, out);
                label.mark(client, from, &mut out.bytes);
            }
            (Dialect::Irc, _, ReplyBody::Event(own)) if own.is_silent => {}
            (Dialect::Irc, Some(client), ReplyBody::Event(own)) => {
                let event = Event::parse(&own.line);
                let about = event.as_ref().map_or("", Event::place);
                client.refuse(refusal, about, &mut out.bytes);
            }
            _ => self.write(Line::Refused(refusal), out),
        }
    }

    /// Appends a live event, from its line in the protocol.
    pub fn write_event(self, event: Live<'_>, out: &mut Output) {
        let bytes = &mut out.bytes;
        match (self.dialect, self.client) {
            (Dialect::Irc, Some(client)) => return irc::write_event(client, &event, bytes),
            (Dialect::Talker | Dialect::Irc, _) => talker::write_event(&event, bytes),
            (Dialect::Program(marks), _) => plain::write_event(&event, marks, bytes),
            (Dialect::Values, _) => return values::write_event(&event, out),
        }
        bytes.push(b'\n');
    }

    /// Appends a past event, from its line in the protocol.
    pub fn write_past(self, event: Past<'_>, out: &mut Output) {
        let bytes = &mut out.bytes;
        match (self.dialect, self.client) {
            (Dialect::Irc, Some(client)) => return irc::write_past(client, &event, bytes),
            (Dialect::Talker | Dialect::Irc, _) => talker::write_past(&event, bytes),
            (Dialect::Program(marks), _) => plain::write_past(&event, marks, bytes),
            (Dialect::Values, _) => return values::write_past(&event, out),
        }
        bytes.push(b'\n');
    }
}

/// A past event to send to a reader.
#[derive(Clone, Copy, Debug)]
pub struct Past<'a> {
    /// Its id.
    pub id: EventId,
    /// When it happened.
    pub time: Time,
    /// Its tags as they are sent, without the `@`; empty for none.
    pub tags: &'a str,
    /// Its line in the protocol, without the end.
    pub line: &'a str,
    /// Where the parts of the line are.
    pub layout: EventLayout,
    /// The offset of the server's local time from UTC, in seconds.
    pub utc_offset_s: i32,
}

/// A live event to send to a reader.
#[derive(Clone, Copy, Debug)]
pub struct Live<'a> {
    /// Its line in the protocol, without the end.
    pub line: &'a str,
    /// Where the parts of the line are.
    pub layout: EventLayout,
    /// Its tags as they are sent, without the `@`; empty for none.
    pub tags: &'a str,
    /// Its id, if it is logged.
    pub id: Option<EventId>,
    /// When it happened.
    pub time: Time,
    /// It happened in the room that the reader sends to.
    pub is_here: bool,
    /// It belongs to no room and no nick.
    pub is_for_everyone: bool,
    /// Its nick is registered; false if the dialect does not [name that](Writer::names_accounts).
    pub is_registered: bool,
    /// The offset of the server's local time from UTC, in seconds.
    pub utc_offset_s: i32,
}
