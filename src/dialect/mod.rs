//! Reads the requests of a connection, and writes replies and events to it.
//!
//! There are four dialects. `plain` is the protocol for programs, as `protocol.md` describes it. `talker` is for
//! people who type into `nc` or `telnet`. `irc` is for IRC clients. `values` is for a client inside this process,
//! which receives fields and not text. Code outside this module does not ask which dialect a connection speaks: it
//! passes a [`Line`], and the dialect writes it. Each dialect has a file here.

pub mod hook;
pub mod irc;
mod output;
mod plain;
mod talker;
mod values;

pub use output::Output;
pub use values::{Delivery, EventRecord, Reply, ReplyFields};

use crate::protocol::event::{EventLayout, EventVerb};
use crate::protocol::multiline::{text_lines, text_of};
use crate::protocol::request::Refusal;
use crate::protocol::{Code, Digest, Event, EventId, Request, Time, Verb};

/// The dialect that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The protocol for programs, as `protocol.md` describes it.
    Program(Marks),
    /// Talker mode, for people (`CHAT`).
    Talker,
    /// IRC.
    Irc,
    /// Values, for a client inside this process.
    Values,
}

/// A dialect, together with what it needs to know about the client.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    dialect: Dialect,
    client: Option<&'a irc::Client>,
    part: TextPart,
}

/// What is added to the events that a program receives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Whether each live event has its id and time (`STAMPS on`).
    pub stamps: bool,
    /// Whether each event has its tags (`TAGS on`).
    pub tags: bool,
}

/// The form in which a reader receives the live events of a room. Readers with equal forms receive the same bytes, so
/// each event is written once for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    dialect: Dialect,
    /// The capabilities of an IRC client that change the bytes.
    caps: irc::Caps,
    /// Whether the room is the reader's current room; `false` if this makes no difference to the bytes.
    is_here: bool,
}

impl Form {
    /// The form in which a room's tail contains its events.
    pub const OF_TAIL: Self = Self {
        dialect: Dialect::FIRST,
        caps: irc::Caps::NONE,
        is_here: false,
    };

    /// Returns whether all readers with this form receive the same bytes for an event of this kind.
    pub fn shares(self, verb: Option<EventVerb>) -> bool {
        self.dialect != Dialect::Irc || verb.is_some_and(irc::is_for_all)
    }
}

/// A line to send that is not an event.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // the fields are what they are called
pub enum Line<'a> {
    /// The final reply to a request that succeeded: fields for programs, and a sentence for people.
    Ok {
        verb: Verb,
        fields: &'a str,
        sentence: &'a str,
    },
    /// The final reply to a request that proposed an event, when the event has been decided on.
    Decided {
        verb: Verb,
        id: Option<EventId>,
        time: Time,
        body: &'a ReplyBody,
    },
    /// The final reply to a search: the number of matches that were sent, and whether older ones may be missing.
    Found { count: usize, is_cut: bool },
    /// The final reply to a request that failed or could not be parsed.
    Refused(&'a Refusal),
    /// The last line of a connection that the server closes.
    Closed { code: Code, text: &'a str },
    /// An entry of a list, with the first word of its line. If the whole list is about one room, programs receive
    /// that room too.
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
    /// Events of a room or nick are missing here, because they are no longer stored or were not read in time.
    Gap { of: &'a str, was_slow: bool },
    /// The nick to which a message goes is away. `to` is the sender.
    Away {
        to: &'a str,
        nick: &'a str,
        text: &'a str,
    },
    /// A notice from the server to this connection alone.
    Notice { server: &'a str, text: &'a str },
    /// The connection has been removed from a room. `nick` is its nick, or `*` if it has none.
    Removed {
        room: &'a str,
        nick: &'a str,
        reason: &'a str,
        is_current: bool,
    },
}

/// The content of the reply to a request that proposed an event.
#[derive(Debug)]
pub enum ReplyBody {
    /// The event's id and time.
    IdAndTime,
    /// The id of the text's first line, the time, and the number of lines.
    Lines(usize),
    /// The fields of a file.
    File(Box<FileReply>),
    /// This text.
    Text(Box<str>),
    /// For clients that expect a copy of their own events, the event itself; for others, its id and time.
    Event(Box<OwnEvent>),
    /// Any of the other contents, in answer to a labeled command of an IRC client.
    Labeled(Box<(irc::Label, ReplyBody)>),
    /// There is no reply.
    Nothing,
}

/// The fields of the reply to an upload.
#[derive(Debug)]
pub struct FileReply {
    /// The id under which the file was announced; `None` if the event of this reply announces it.
    pub announced: Option<EventId>,
    /// The number of bytes.
    pub length: u64,
    /// The digest of all bytes.
    pub sha256: Digest,
}

/// The event of a client's own action, in the form that others receive.
#[derive(Debug)]
pub struct OwnEvent {
    /// The event's line in the protocol.
    pub line: String,
    /// The further lines of a text, separated by LF.
    pub more: Option<Box<str>>,
    /// The event's tags as they are sent, without the `@`; empty for none.
    pub tags: Box<str>,
    /// Whether a refusal must not be sent to the client.
    pub is_silent: bool,
}

impl OwnEvent {
    /// Returns the number and the text of each line of a text; for the first line, only the number. Any other event
    /// counts as one line.
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

    /// Returns what is added to events; nothing in talker mode.
    pub fn marks(self) -> Marks {
        match self {
            Self::Program(marks) => marks,
            Self::Talker | Self::Irc | Self::Values => Marks::default(),
        }
    }

    /// Returns this dialect if it is for programs. In talker mode, returns the dialect that `/raw` selects.
    pub fn without_talk(self) -> Self {
        Self::Program(self.marks())
    }

    /// Returns whether this dialect is for people. People are shown commands to type, and cannot send raw bytes.
    pub fn is_for_people(self) -> bool {
        matches!(self, Self::Talker | Self::Irc)
    }

    /// Returns a writer for this dialect. `client` is the IRC client, if there is one.
    pub fn to(self, client: Option<&irc::Client>) -> Writer<'_> {
        Writer {
            dialect: self,
            client,
            part: TextPart::None,
        }
    }

    /// Parses a line without its ending; returns `None` if it is empty.
    ///
    /// # Errors
    /// When the line is not a request of this dialect. The refusal says why.
    pub fn parse<'a>(self, line: &'a [u8], has_nick: bool) -> Result<Option<Request<'a>>, Refusal> {
        match self {
            Self::Program(_) | Self::Irc | Self::Values => Request::parse(line),
            Self::Talker => talker::parse(line, has_nick),
        }
    }

    /// Appends a line as it is written without an IRC client; see [`Writer::write`].
    pub fn write(self, line: Line<'_>, out: &mut Output) {
        self.to(None).write(line, out);
    }

    /// Returns a line with its ending, or a value.
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

    /// Returns the IRC client, if the writer is for one.
    pub fn irc(&self) -> Option<&irc::Client> {
        self.client.filter(|_| self.dialect == Dialect::Irc)
    }

    /// Returns a writer with the same client and another dialect.
    #[must_use]
    pub fn with(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// Returns the form in which the client receives the live events of a room, if it shares that form with others.
    /// `is_here` says whether the room is the client's current room.
    pub fn form(self, is_here: bool) -> Option<Form> {
        let form = Form {
            dialect: self.dialect,
            ..Form::OF_TAIL
        };
        match self.dialect {
            Dialect::Program(_) => Some(form),
            Dialect::Talker => Some(Form { is_here, ..form }),
            Dialect::Irc => {
                let caps = self.client?.caps.of_events();
                Some(Form { caps, ..form })
            }
            // For a client inside this process, `Output` shares the values.
            Dialect::Values => None,
        }
    }

    /// Returns whether the client receives a text of several lines as one message.
    pub fn joins_texts(self) -> bool {
        self.irc().is_some_and(irc::Client::joins_texts)
    }

    /// Returns a writer for one line of a text. The caller must write all lines of that text, one after the other.
    #[must_use]
    pub fn in_text(self, part: TextPart) -> Self {
        Self { part, ..self }
    }

    /// Returns whether the client receives what other connections of its nick send in saved direct messages (`TAGS on`).
    pub fn wants_copies(self) -> bool {
        match self.dialect {
            Dialect::Program(marks) => marks.tags,
            Dialect::Values | Dialect::Talker | Dialect::Irc => false,
        }
    }

    /// Returns whether the client sees what a message answers, because it cannot find that by its id.
    pub fn quotes(self) -> bool {
        matches!(self.dialect, Dialect::Talker)
    }

    /// Returns whether the client wants to know, for each nick that joins, whether it is registered.
    pub fn names_accounts(self) -> bool {
        let caps = self.client.map(|client| client.caps);
        caps.is_some_and(|caps| caps.has(irc::Cap::ExtendedJoin))
    }

    /// Appends a line with its ending, or a value. Appends nothing if the dialect cannot express the line.
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

    /// Appends the refusal of a request that proposed an event. It replaces the reply `body`.
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

    /// Appends a live event, which is given as its line in the protocol.
    pub fn write_event(self, event: Live<'_>, out: &mut Output) {
        let bytes = &mut out.bytes;
        match (self.dialect, self.client) {
            (Dialect::Irc, Some(client)) => {
                return irc::write_event(client, &event, self.part, bytes);
            }
            (Dialect::Talker | Dialect::Irc, _) => talker::write_event(&event, bytes),
            (Dialect::Program(marks), _) => plain::write_event(&event, marks, bytes),
            (Dialect::Values, _) => return values::write_event(&event, out),
        }
        bytes.push(b'\n');
    }

    /// Appends a past event, which is given as its line in the protocol.
    pub fn write_past(self, event: Past<'_>, out: &mut Output) {
        let bytes = &mut out.bytes;
        match (self.dialect, self.client) {
            (Dialect::Irc, Some(client)) => {
                return irc::write_past(client, &event, self.part, bytes);
            }
            (Dialect::Talker | Dialect::Irc, _) => talker::write_past(&event, bytes),
            (Dialect::Program(marks), _) => plain::write_past(&event, marks, bytes),
            (Dialect::Values, _) => return values::write_past(&event, out),
        }
        bytes.push(b'\n');
    }
}

/// The position of an event in a text of several lines, for a client that receives such a text as one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextPart {
    /// The event is a message of its own.
    None,
    /// The first line of a text.
    First,
    /// A line between the first and the last one.
    Middle,
    /// The last line.
    Last,
}

impl TextPart {
    /// Returns the position of line number `n`, which begins at 0, in a text of `lines` lines.
    pub fn of(n: usize, lines: usize) -> Self {
        match n {
            _ if lines < 2 => Self::None,
            0 => Self::First,
            _ if n + 1 == lines => Self::Last,
            _ => Self::Middle,
        }
    }
}

/// Returns the number of lines of the text that begins with the first event. `events` are the ids and tags of this
/// event and of those after it. Returns 1 if the first event does not begin a text, or if not all of the text's lines
/// follow it.
pub fn lines_of_text<'a>(mut events: impl Iterator<Item = (Option<EventId>, &'a str)>) -> usize {
    let Some((Some(first), tags)) = events.next() else {
        return 1;
    };
    let lines = text_lines(tags).unwrap_or(1);
    let follows = events.zip(1..lines).take_while(|((id, tags), n)| {
        id.is_some_and(|id| id.get() == first.get() + n) && text_of(tags) == Some(first)
    });
    if follows.count() as u64 + 1 == lines {
        lines as usize
    } else {
        1
    }
}

/// A past event to send to a reader.
#[derive(Clone, Copy, Debug)]
pub struct Past<'a> {
    /// The event's id.
    pub id: EventId,
    /// The time of the event.
    pub time: Time,
    /// The event's tags as they are sent, without the `@`; empty for none.
    pub tags: &'a str,
    /// The event's line in the protocol, without the ending.
    pub line: &'a str,
    /// The positions of the parts of the line.
    pub layout: EventLayout,
    /// The beginning of the message or file that the event answers or reacts to, if it is known. Always `None` if the
    /// dialect does not [need it](Writer::quotes).
    pub quoted: Option<&'a str>,
    /// The offset of the server's local time from UTC, in seconds.
    pub utc_offset_s: i32,
}

/// A live event to send to a reader.
#[derive(Clone, Copy, Debug)]
pub struct Live<'a> {
    /// The event's line in the protocol, without the ending.
    pub line: &'a str,
    /// The positions of the parts of the line.
    pub layout: EventLayout,
    /// The event's tags as they are sent, without the `@`; empty for none.
    pub tags: &'a str,
    /// The event's id, if it is logged.
    pub id: Option<EventId>,
    /// The beginning of the message or file that the event answers or reacts to, if it is known. Always `None` if the
    /// dialect does not [need it](Writer::quotes).
    pub quoted: Option<&'a str>,
    /// The time of the event.
    pub time: Time,
    /// Whether the event happened in the reader's current room.
    pub is_here: bool,
    /// Whether the event is for everyone, and so belongs to no room and no nick.
    pub is_for_everyone: bool,
    /// Whether the event's nick is registered. Always false if the dialect does not [need
    /// it](Writer::names_accounts).
    pub is_registered: bool,
    /// The offset of the server's local time from UTC, in seconds.
    pub utc_offset_s: i32,
}
