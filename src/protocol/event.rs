//! The lines that a server sends: events, and the lines that contain events, replies and lists.
//!
//! An [`Event`] is encoded once and sent to all its readers. A [`ServerLine`] is any line as a client receives it.
//! Both can be parsed from the lines that they produce.

use std::borrow::Cow;
use std::fmt;

use super::{Code, EventId, Time, parse_number};

/// Something that happened in a room, or a direct message to a nick; see "Events" in `protocol.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are those in `protocol.md`
pub enum Event<'a> {
    /// A message in a room, or to a nick.
    Msg {
        to: Cow<'a, str>,
        nick: Cow<'a, str>,
        text: Cow<'a, str>,
    },
    /// An action.
    Me {
        to: Cow<'a, str>,
        nick: Cow<'a, str>,
        text: Cow<'a, str>,
    },
    /// A file was announced. The file's id is the id of this event. The length is `None` if the upload began without
    /// one.
    File {
        room: Cow<'a, str>,
        nick: Cow<'a, str>,
        file: u64,
        length: Option<u64>,
        name: Cow<'a, str>,
    },
    /// The upload of a file that was announced without a length is complete.
    Stored {
        room: Cow<'a, str>,
        nick: Cow<'a, str>,
        file: u64,
        length: u64,
        sha256: Cow<'a, str>,
    },
    /// The topic was set, or cleared if the text is empty.
    Topic {
        room: Cow<'a, str>,
        nick: Cow<'a, str>,
        text: Cow<'a, str>,
    },
    /// A message or file was removed.
    Remove {
        room: Cow<'a, str>,
        nick: Cow<'a, str>,
        id: u64,
    },
    /// The text of a message was replaced.
    Edit {
        to: Cow<'a, str>,
        nick: Cow<'a, str>,
        id: u64,
        text: Cow<'a, str>,
    },
    /// A nick reacts to a message with an emoji.
    React {
        to: Cow<'a, str>,
        nick: Cow<'a, str>,
        id: u64,
        emoji: Cow<'a, str>,
    },
    /// A nick has withdrawn a reaction.
    Unreact {
        to: Cow<'a, str>,
        nick: Cow<'a, str>,
        id: u64,
        emoji: Cow<'a, str>,
    },
    /// A nick joined.
    Join {
        room: Cow<'a, str>,
        nick: Cow<'a, str>,
    },
    /// A nick left.
    Part {
        room: Cow<'a, str>,
        nick: Cow<'a, str>,
        text: Cow<'a, str>,
    },
    /// A user changed their nick.
    Nick {
        room: Cow<'a, str>,
        old: Cow<'a, str>,
        new: Cow<'a, str>,
    },
    /// A nick is away, or is back if the text is empty. A sender of a `TELL` to a nick that is away receives this
    /// event too; its place is then the sender's nick.
    Away {
        to: Cow<'a, str>,
        nick: Cow<'a, str>,
        text: Cow<'a, str>,
    },
    /// A notice to everybody from an operator or from the server.
    Note {
        from: Cow<'a, str>,
        text: Cow<'a, str>,
    },
    /// The recipient was invited to a room.
    Invite {
        room: Cow<'a, str>,
        by: Cow<'a, str>,
    },
    /// Another connection moved a named reader of the recipient's nick.
    Seen {
        room: Cow<'a, str>,
        nick: Cow<'a, str>,
        id: u64,
        reader: Cow<'a, str>,
    },
}

/// The kinds of [`Event`]. Each has its own first word on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // they are those of the events
pub enum EventVerb {
    Msg,
    Me,
    File,
    Stored,
    Topic,
    Remove,
    Edit,
    React,
    Unreact,
    Join,
    Part,
    Nick,
    Away,
    Note,
    Invite,
    Seen,
}

impl EventVerb {
    /// Returns the first word of the event's line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Msg => "MSG",
            Self::Me => "ME",
            Self::File => "FILE",
            Self::Stored => "STORED",
            Self::Topic => "TOPIC",
            Self::Remove => "REMOVE",
            Self::Edit => "EDIT",
            Self::React => "REACT",
            Self::Unreact => "UNREACT",
            Self::Join => "JOIN",
            Self::Part => "PART",
            Self::Nick => "NICK",
            Self::Away => "AWAY",
            Self::Note => "NOTE",
            Self::Invite => "INVITE",
            Self::Seen => "SEEN",
        }
    }
}

/// The positions of the parts of an event's line. A server keeps them beside the line that it has encoded, so that it
/// does not need to parse the line again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventLayout {
    /// The kind of the event; `None` if a name in the event is too long to be valid.
    verb: Option<EventVerb>,
    place_bytes: u8,
    nick_bytes: u8,
}

impl EventLayout {
    /// Returns the kind of the event, if it is known.
    pub fn verb(self) -> Option<EventVerb> {
        self.verb
    }

    /// Returns the room in this line, or the recipient.
    pub fn place(self, line: &str) -> Option<&str> {
        Some(self.parts(line)?.0)
    }

    /// Returns the nick in this line that caused the event.
    pub fn nick(self, line: &str) -> Option<&str> {
        Some(self.parts(line)?.1)
    }

    /// Returns the event that this line contains.
    pub fn event(self, line: &str) -> Option<Event<'_>> {
        let (place, nick, rest) = self.parts(line)?;
        Event::of_parts(self.verb?.word(), place, nick, Fields(rest))
    }

    fn parts(self, line: &str) -> Option<(&str, &str, &str)> {
        let rest = line.get(self.verb?.word().len() + 1..)?;
        let (place, rest) = rest.split_at_checked(self.place_bytes.into())?;
        let (nick, rest) = rest.get(1..)?.split_at_checked(self.nick_bytes.into())?;
        Some((place, nick, rest.get(1..).unwrap_or_default()))
    }
}

impl<'a> Event<'a> {
    /// Returns the kind of the event.
    pub fn verb(&self) -> EventVerb {
        match self {
            Self::Msg { .. } => EventVerb::Msg,
            Self::Me { .. } => EventVerb::Me,
            Self::File { .. } => EventVerb::File,
            Self::Stored { .. } => EventVerb::Stored,
            Self::Topic { .. } => EventVerb::Topic,
            Self::Remove { .. } => EventVerb::Remove,
            Self::Edit { .. } => EventVerb::Edit,
            Self::React { .. } => EventVerb::React,
            Self::Unreact { .. } => EventVerb::Unreact,
            Self::Join { .. } => EventVerb::Join,
            Self::Part { .. } => EventVerb::Part,
            Self::Nick { .. } => EventVerb::Nick,
            Self::Away { .. } => EventVerb::Away,
            Self::Note { .. } => EventVerb::Note,
            Self::Invite { .. } => EventVerb::Invite,
            Self::Seen { .. } => EventVerb::Seen,
        }
    }

    /// Returns the positions of the parts of the event's line.
    pub fn layout(&self) -> EventLayout {
        let bytes = |name: &str| u8::try_from(name.len());
        match (bytes(self.place()), bytes(self.nick())) {
            (Ok(place_bytes), Ok(nick_bytes)) => EventLayout {
                verb: Some(self.verb()),
                place_bytes,
                nick_bytes,
            },
            _ => EventLayout::default(),
        }
    }

    /// Appends the event's line to `out`, without the line ending.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Msg { to, nick, text } => words(out, &["MSG", to, nick, text]),
            Self::Me { to, nick, text } => words(out, &["ME", to, nick, text]),
            Self::File {
                room,
                nick,
                file,
                length,
                name,
            } => {
                let length = length.map_or_else(|| "*".into(), |n| n.to_string());
                words(out, &["FILE", room, nick, &file.to_string(), &length, name]);
            }
            Self::Stored {
                room,
                nick,
                file,
                length,
                sha256,
            } => {
                let (file, length) = (file.to_string(), length.to_string());
                words(out, &["STORED", room, nick, &file, &length, sha256]);
            }
            Self::Topic { room, nick, text } => words(out, &["TOPIC", room, nick, text]),
            Self::Remove { room, nick, id } => {
                words(out, &["REMOVE", room, nick, &id.to_string()]);
            }
            Self::Edit { to, nick, id, text } => {
                words(out, &["EDIT", to, nick, &id.to_string(), text]);
            }
            Self::React {
                to,
                nick,
                id,
                emoji,
            } => words(out, &["REACT", to, nick, &id.to_string(), emoji]),
            Self::Unreact {
                to,
                nick,
                id,
                emoji,
            } => words(out, &["UNREACT", to, nick, &id.to_string(), emoji]),
            Self::Join { room, nick } => words(out, &["JOIN", room, nick]),
            Self::Part { room, nick, text } => words(out, &["PART", room, nick, text]),
            Self::Nick { room, old, new } => words(out, &["NICK", room, old, new]),
            Self::Away { to, nick, text } => words(out, &["AWAY", to, nick, text]),
            Self::Note { from, text } => words(out, &["NOTE", "*", from, text]),
            Self::Invite { room, by } => words(out, &["INVITE", room, by]),
            Self::Seen {
                room,
                nick,
                id,
                reader,
            } => words(out, &["SEEN", room, nick, &id.to_string(), reader]),
        }
    }

    /// Parses the line of an event; returns `None` if the line is not an event.
    ///
    /// ```
    /// use plainchat::protocol::Event;
    /// let event = Event::parse("MSG #lobby bob hello there").unwrap();
    /// assert_eq!(event.to_string(), "MSG #lobby bob hello there");
    /// ```
    pub fn parse(line: &'a str) -> Option<Self> {
        let mut rest = Fields(line);
        let verb = rest.word()?;
        let (place, nick) = (rest.word()?, rest.word()?);
        Self::of_parts(verb, place, nick, rest)
    }

    fn of_parts(verb: &str, place: &'a str, nick: &'a str, mut rest: Fields<'a>) -> Option<Self> {
        let (room, nick) = (Cow::Borrowed(place), Cow::Borrowed(nick));
        let number = |rest: &mut Fields<'a>| rest.word().and_then(parse_number);
        Some(match verb {
            "MSG" => Self::Msg {
                to: room,
                nick,
                text: rest.text(),
            },
            "ME" => Self::Me {
                to: room,
                nick,
                text: rest.text(),
            },
            "FILE" => {
                let file = number(&mut rest)?;
                let length = match rest.word()? {
                    "*" => None,
                    digits => Some(parse_number(digits)?),
                };
                Self::File {
                    room,
                    nick,
                    file,
                    length,
                    name: rest.text(),
                }
            }
            "STORED" => Self::Stored {
                room,
                nick,
                file: number(&mut rest)?,
                length: number(&mut rest)?,
                sha256: rest.text(),
            },
            "TOPIC" => Self::Topic {
                room,
                nick,
                text: rest.text(),
            },
            "REMOVE" => Self::Remove {
                room,
                nick,
                id: number(&mut rest)?,
            },
            "EDIT" => Self::Edit {
                to: room,
                nick,
                id: number(&mut rest)?,
                text: rest.text(),
            },
            "REACT" => Self::React {
                to: room,
                nick,
                id: number(&mut rest)?,
                emoji: Cow::Borrowed(rest.word()?),
            },
            "UNREACT" => Self::Unreact {
                to: room,
                nick,
                id: number(&mut rest)?,
                emoji: Cow::Borrowed(rest.word()?),
            },
            "JOIN" => Self::Join { room, nick },
            "PART" => Self::Part {
                room,
                nick,
                text: rest.text(),
            },
            "NICK" => Self::Nick {
                room,
                old: nick,
                new: Cow::Borrowed(rest.word()?),
            },
            "AWAY" => Self::Away {
                to: room,
                nick,
                text: rest.text(),
            },
            "NOTE" => Self::Note {
                from: nick,
                text: rest.text(),
            },
            // With another word after the nick, the line belongs to the list that answers `INVITES`.
            "INVITE" if rest.0.is_empty() => Self::Invite { room, by: nick },
            "SEEN" => Self::Seen {
                room,
                nick,
                id: number(&mut rest)?,
                reader: Cow::Borrowed(rest.word()?),
            },
            _ => return None,
        })
    }

    /// Returns the room of the event, or the nick that receives it; `*` for everybody.
    pub fn place(&self) -> &str {
        match self {
            Self::Msg { to, .. }
            | Self::Me { to, .. }
            | Self::Edit { to, .. }
            | Self::React { to, .. }
            | Self::Unreact { to, .. }
            | Self::Away { to, .. } => to,
            Self::File { room, .. }
            | Self::Stored { room, .. }
            | Self::Topic { room, .. }
            | Self::Remove { room, .. }
            | Self::Join { room, .. }
            | Self::Part { room, .. }
            | Self::Nick { room, .. }
            | Self::Invite { room, .. }
            | Self::Seen { room, .. } => room,
            Self::Note { .. } => "*",
        }
    }

    /// Returns the nick that caused the event.
    pub fn nick(&self) -> &str {
        match self {
            Self::Msg { nick, .. }
            | Self::Me { nick, .. }
            | Self::File { nick, .. }
            | Self::Stored { nick, .. }
            | Self::Topic { nick, .. }
            | Self::Remove { nick, .. }
            | Self::Edit { nick, .. }
            | Self::React { nick, .. }
            | Self::Unreact { nick, .. }
            | Self::Join { nick, .. }
            | Self::Part { nick, .. }
            | Self::Nick { old: nick, .. }
            | Self::Away { nick, .. }
            | Self::Note { from: nick, .. }
            | Self::Invite { by: nick, .. }
            | Self::Seen { nick, .. } => nick,
        }
    }

    /// Returns a copy that owns its texts, so that the event can outlive the line.
    pub fn into_owned(self) -> Event<'static> {
        let own = |text: Cow<'a, str>| Cow::Owned::<'static, str>(text.into_owned());
        match self {
            Self::Msg { to, nick, text } => Event::Msg {
                to: own(to),
                nick: own(nick),
                text: own(text),
            },
            Self::Me { to, nick, text } => Event::Me {
                to: own(to),
                nick: own(nick),
                text: own(text),
            },
            Self::File {
                room,
                nick,
                file,
                length,
                name,
            } => Event::File {
                room: own(room),
                nick: own(nick),
                file,
                length,
                name: own(name),
            },
            Self::Stored {
                room,
                nick,
                file,
                length,
                sha256,
            } => Event::Stored {
                room: own(room),
                nick: own(nick),
                file,
                length,
                sha256: own(sha256),
            },
            Self::Away { to, nick, text } => Event::Away {
                to: own(to),
                nick: own(nick),
                text: own(text),
            },
            Self::Topic { room, nick, text } => Event::Topic {
                room: own(room),
                nick: own(nick),
                text: own(text),
            },
            Self::Remove { room, nick, id } => Event::Remove {
                room: own(room),
                nick: own(nick),
                id,
            },
            Self::Edit { to, nick, id, text } => Event::Edit {
                to: own(to),
                nick: own(nick),
                id,
                text: own(text),
            },
            Self::React {
                to,
                nick,
                id,
                emoji,
            } => Event::React {
                to: own(to),
                nick: own(nick),
                id,
                emoji: own(emoji),
            },
            Self::Unreact {
                to,
                nick,
                id,
                emoji,
            } => Event::Unreact {
                to: own(to),
                nick: own(nick),
                id,
                emoji: own(emoji),
            },
            Self::Join { room, nick } => Event::Join {
                room: own(room),
                nick: own(nick),
            },
            Self::Part { room, nick, text } => Event::Part {
                room: own(room),
                nick: own(nick),
                text: own(text),
            },
            Self::Nick { room, old, new } => Event::Nick {
                room: own(room),
                old: own(old),
                new: own(new),
            },
            Self::Note { from, text } => Event::Note {
                from: own(from),
                text: own(text),
            },
            Self::Invite { room, by } => Event::Invite {
                room: own(room),
                by: own(by),
            },
            Self::Seen {
                room,
                nick,
                id,
                reader,
            } => Event::Seen {
                room: own(room),
                nick: own(nick),
                id,
                reader: own(reader),
            },
        }
    }
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Vec::new();
        self.encode(&mut line);
        f.write_str(&String::from_utf8_lossy(&line))
    }
}

/// Any line that a server may send, as a client parses it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are those in `protocol.md`
pub enum ServerLine<'a> {
    /// The final reply to a request that succeeded: its verb and what follows.
    Ok { verb: &'a str, rest: &'a str },
    /// The final reply to a request that failed. The verb is `-` if the server could not read the verb. The code is
    /// `None` if this client does not know the code.
    Err {
        verb: &'a str,
        code: Option<Code>,
        text: &'a str,
    },
    /// A live event. It has a time with `STAMPS on`, and also an id if the event is logged.
    Live {
        id: Option<EventId>,
        time: Option<Time>,
        /// The tags as they are sent, without the `@`, if `TAGS` is on; empty for none (see [`super::tags::find`]).
        tags: &'a str,
        event: Event<'a>,
    },
    /// An event from the log: missed events after a `JOIN`, or an item of `HISTORY`, `SEARCH` or `FILES`.
    Past {
        id: EventId,
        time: Time,
        /// The tags, as in a live event.
        tags: &'a str,
        event: Event<'a>,
    },
    /// The greeting.
    Hello {
        version: &'a str,
        server: &'a str,
        text: &'a str,
    },
    /// A line of `ROOMS`.
    Room {
        room: &'a str,
        members: u64,
        topic: &'a str,
    },
    /// A line of `WHO`. The text is not empty if the nick is away.
    User {
        room: &'a str,
        nick: &'a str,
        text: &'a str,
    },
    /// A line of `REACTS`.
    Reaction {
        id: u64,
        nick: &'a str,
        emoji: &'a str,
    },
    /// A line of `READERS`.
    Reader {
        room: &'a str,
        reader: &'a str,
        id: u64,
    },
    /// A line of `HELP`.
    Help { text: &'a str },
    /// The head of a part of a file's content: this many raw bytes follow.
    Data {
        file: u64,
        length: u64,
        sha256: Option<&'a str>,
        name: &'a str,
    },
    /// Events are missing at this point of the stream. `place` is their room, the own nick for direct messages, or `*`
    /// for notices.
    Gap { place: &'a str },
    /// The server closes the connection.
    Closed { code: Option<Code>, text: &'a str },
    /// A line that this client does not know and must skip.
    Unknown,
}

impl<'a> ServerLine<'a> {
    /// Parses a line without its line ending. A line that does not match `protocol.md` becomes `Unknown`.
    pub fn parse(line: &'a str) -> Self {
        Self::parse_known(line).unwrap_or(Self::Unknown)
    }

    fn parse_known(line: &'a str) -> Option<Self> {
        let mut rest = Fields(line);
        let tagged = |line: &'a str| {
            let (tags, event) = super::tags::split(line);
            Some((tags, Event::parse(event)?))
        };
        Some(match rest.word()? {
            "OK" => Self::Ok {
                verb: rest.word()?,
                rest: rest.0,
            },
            "ERR" => Self::Err {
                verb: rest.word()?,
                code: Code::parse(rest.word()?),
                text: rest.0,
            },
            "PAST" => {
                let id = EventId::parse(rest.word()?)?;
                let time = Time::parse(rest.word()?)?;
                let (tags, event) = tagged(rest.0)?;
                Self::Past {
                    id,
                    time,
                    tags,
                    event,
                }
            }
            "LIVE" => {
                let id = match rest.word()? {
                    "-" => None,
                    digits => Some(EventId::parse(digits)?),
                };
                let time = Some(Time::parse(rest.word()?)?);
                let (tags, event) = tagged(rest.0)?;
                Self::Live {
                    id,
                    time,
                    tags,
                    event,
                }
            }
            "HELLO" => Self::Hello {
                version: rest.word()?,
                server: rest.word()?,
                text: rest.0,
            },
            "ROOM" => Self::Room {
                room: rest.word()?,
                members: parse_number(rest.word()?)?,
                topic: rest.0,
            },
            "USER" => Self::User {
                room: rest.word()?,
                nick: rest.word()?,
                text: rest.0,
            },
            // A line of the list `REACTS` has a number here; an event `REACT` has a room or a nick.
            "REACT" if rest.0.starts_with(|c: char| c.is_ascii_digit()) => Self::Reaction {
                id: parse_number(rest.word()?)?,
                nick: rest.word()?,
                emoji: rest.word()?,
            },
            "READER" => Self::Reader {
                room: rest.word()?,
                reader: rest.word()?,
                id: parse_number(rest.word()?)?,
            },
            "HELP" => Self::Help { text: rest.0 },
            "DATA" => Self::Data {
                file: parse_number(rest.word()?)?,
                length: parse_number(rest.word()?)?,
                sha256: rest.word().filter(|digest| *digest != "-"),
                name: rest.0,
            },
            "GAP" => Self::Gap {
                place: rest.word()?,
            },
            "CLOSED" => Self::Closed {
                code: Code::parse(rest.word()?),
                text: rest.0,
            },
            _ => {
                let (tags, event) = tagged(line)?;
                Self::Live {
                    id: None,
                    time: None,
                    tags,
                    event,
                }
            }
        })
    }
}

/// The unparsed rest of a line: fields, each followed by one space, and then the text.
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    fn word(&mut self) -> Option<&'a str> {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    fn text(&mut self) -> Cow<'a, str> {
        Cow::Borrowed(std::mem::take(&mut self.0))
    }
}

/// Appends `words` separated by spaces; an empty last word leaves no trailing space.
pub fn words(out: &mut Vec<u8>, words: &[&str]) {
    let words = match words {
        [all @ .., ""] => all,
        all => all,
    };
    for (n, word) in words.iter().enumerate() {
        if n > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_parse_to_themselves() {
        for line in [
            "MSG #lobby bob hello  there ",
            "MSG bob alice  psst",
            "ME #lobby bob waves",
            "FILE #lobby bob 17 1024 my notes.txt",
            "FILE #lobby bob 17 * build.log",
            "STORED #lobby bob 17 5 abc",
            "TOPIC #lobby bob on time",
            "TOPIC #lobby bob",
            "REMOVE #lobby bob 17",
            "EDIT #lobby bob 17 better  words",
            "EDIT bob ann 17 -",
            "REACT #lobby bob 17 👍",
            "UNREACT bob ann 17 👍",
            "MSG #lobby bob",
            "JOIN #lobby bob",
            "PART #lobby bob",
            "PART #lobby bob see you",
            "NICK #lobby bob rob",
            "NOTE * chatd back soon",
            "INVITE #plan alice",
        ] {
            let event = Event::parse(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(event.to_string(), line);
            assert_eq!(event.layout().event(line).as_ref(), Some(&event));
            assert_eq!(event.layout().nick(line), Some(event.nick()));
            assert_eq!(event.clone().into_owned(), event);
        }
    }

    #[test]
    fn unknown_lines_of_other_servers_do_no_harm() {
        for line in [
            "",
            " ",
            "FUTURE a b",
            "FILE #a b",
            "PAST x y MSG #a b c",
            "REMOVE #a b c",
            "USER #a",
            "INVITE #plan bob guest",
            "REACT 17 bob",
            "REACT 17x bob 👍",
        ] {
            assert_eq!(ServerLine::parse(line), ServerLine::Unknown, "{line:?}");
        }
        assert_eq!(
            ServerLine::parse("LIVE - 1970-01-01T00:00:00.000Z @notice;x-a=b MSG #a bob hi"),
            ServerLine::Live {
                id: None,
                time: Some(Time(0)),
                tags: "notice;x-a=b",
                event: Event::parse("MSG #a bob hi").unwrap(),
            }
        );
        assert_eq!(
            ServerLine::parse("ERR MSG from-the-future no"),
            ServerLine::Err {
                verb: "MSG",
                code: None,
                text: "no"
            }
        );
    }
}
