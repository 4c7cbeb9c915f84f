//! Replies and events as values, for a client inside this process. The HTTP code uses such clients. The values
//! correspond to the lines of the protocol, but have fields in place of text.

use std::sync::Arc;

use bytes::Bytes;

use super::{FileReply, Line, Live, Marks, Output, Past, ReplyBody, plain};
use crate::protocol::event::EventLayout;
use crate::protocol::request::Refusal;
use crate::protocol::{Code, Digest, Event, EventId, Time, Verb};

/// A value that is sent to a client inside this process.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// The final reply to a request that succeeded.
    Reply(Reply),
    /// The final reply to a request that failed.
    Refused(Refusal),
    /// The last message before the server closes the connection.
    Closed {
        /// The reason for programs.
        code: Code,
        /// The reason for people.
        text: Box<str>,
    },
    /// A past event, or an event in a list.
    Past(Arc<EventRecord>),
    /// A live event.
    Live(Arc<EventRecord>),
    /// An entry of the list of rooms.
    Room {
        /// The room's name.
        name: Box<str>,
        /// The number of the room's members.
        members: usize,
        /// The topic; empty if there is none.
        topic: Box<str>,
    },
    /// Events of this room or nick are missing here.
    Gap(Box<str>),
    /// The connection has been removed from a room.
    Removed,
    /// Bytes of the file that is being downloaded.
    Bytes(Bytes),
}

/// The final reply to a request that succeeded.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The verb of the request.
    pub verb: Verb,
    /// The outcome of the request.
    pub fields: ReplyFields,
}

/// The content of a reply.
#[derive(Clone, Debug)]
pub enum ReplyFields {
    /// The fields as the protocol writes them.
    Text(Box<str>),
    /// The id (if it is logged) and the time of a message.
    Message(Option<EventId>, Time),
    /// The id (if it is logged) and the time of the first line of a text, and the number of its lines.
    Lines(Option<EventId>, Time, usize),
    /// A file that was stored.
    File {
        /// The file's id.
        id: Option<EventId>,
        /// The number of bytes.
        length: u64,
        /// The digest of all bytes.
        sha256: Digest,
    },
    /// The matches of a search.
    Found {
        /// The number of matches that were sent.
        count: usize,
        /// Whether the search ran out of time, so that older matches may be missing.
        is_cut: bool,
    },
}

/// An event with its id and time.
#[derive(Debug)]
pub struct EventRecord {
    /// The id, if it is logged.
    pub id: Option<EventId>,
    /// The time of the event.
    pub time: Time,
    /// The event's tags as they are sent, without the `@`; empty for none.
    pub tags: Box<str>,
    /// The event.
    pub event: Event<'static>,
    /// The length of the event's line in bytes.
    line_bytes: usize,
}

impl EventRecord {
    /// Parses the event in a stored line; `None` if the line is not an event.
    fn of(
        id: Option<EventId>,
        time: Time,
        tags: &str,
        layout: EventLayout,
        line: &str,
    ) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            id,
            time,
            tags: tags.into(),
            event: layout.event(line)?.into_owned(),
            line_bytes: line.len(),
        }))
    }

    /// Returns whether this value was made from `event`.
    fn is_of(&self, event: &Live<'_>) -> bool {
        (self.id, self.time, self.line_bytes) == (event.id, event.time, event.line.len())
    }
}

impl Reply {
    /// Appends the reply as its line in the protocol, without the ending.
    fn write(&self, out: &mut Vec<u8>) {
        let verb = self.verb;
        let decided = |id, time, body| Line::Decided {
            verb,
            id,
            time,
            body,
        };
        let line = match &self.fields {
            ReplyFields::Text(fields) => Line::Ok {
                verb,
                fields,
                sentence: "",
            },
            ReplyFields::Message(id, time) => decided(*id, *time, &ReplyBody::IdAndTime),
            ReplyFields::Lines(id, time, lines) => {
                return plain::write(decided(*id, *time, &ReplyBody::Lines(*lines)), out);
            }
            ReplyFields::File { id, length, sha256 } => {
                let reply = FileReply {
                    announced: *id,
                    length: *length,
                    sha256: *sha256,
                };
                let body = ReplyBody::File(reply.into());
                return plain::write(decided(None, Time(0), &body), out);
            }
            ReplyFields::Found { count, is_cut } => Line::Found {
                count: *count,
                is_cut: *is_cut,
            },
        };
        plain::write(line, out);
    }
}

impl Delivery {
    /// Appends the value as a line of the protocol, without the ending. A logged live event is written as a past
    /// event. A value that has no line appends nothing.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        self.write_line_with(Marks::default(), out);
    }

    /// Appends the value as [`Self::write_line`] does, and an event with its `marks`.
    pub fn write_line_with(&self, marks: Marks, out: &mut Vec<u8>) {
        let line = match self {
            Self::Past(record) | Self::Live(record) => {
                if let Some(id) = record.id {
                    plain::write_past_head(id, record.time, &record.tags, marks, out);
                    record.event.encode(out);
                }
                return;
            }
            Self::Reply(reply) => return reply.write(out),
            Self::Refused(refusal) => Line::Refused(refusal),
            Self::Closed { code, text } => Line::Closed { code: *code, text },
            Self::Room {
                name,
                members,
                topic,
            } => Line::Room {
                name,
                members: *members,
                topic,
            },
            Self::Gap(of) => Line::Gap {
                of,
                was_slow: false,
            },
            Self::Removed | Self::Bytes(_) => return,
        };
        plain::write(line, out);
    }

    /// Returns the approximate memory that the value takes, in bytes.
    pub fn bytes(&self) -> usize {
        let text = match self {
            Self::Reply(Reply {
                fields: ReplyFields::Text(text),
                ..
            })
            | Self::Closed { text, .. }
            | Self::Gap(text) => text.len(),
            Self::Reply(_) | Self::Removed => 0,
            Self::Refused(refusal) => refusal.text.len(),
            Self::Past(record) | Self::Live(record) => {
                size_of::<EventRecord>() + record.tags.len() + record.line_bytes
            }
            Self::Room { name, topic, .. } => name.len() + topic.len(),
            Self::Bytes(bytes) => bytes.len(),
        };
        size_of::<Self>() + text
    }
}

/// Appends a line as a value. Leaves out lines that no client in this process requests: lists of names and commands,
/// and notices on how to connect.
pub(super) fn write(line: Line<'_>, out: &mut Output) {
    let reply = |verb, fields| Delivery::Reply(Reply { verb, fields });
    out.push(match line {
        Line::Ok { verb, fields, .. } => reply(verb, ReplyFields::Text(fields.into())),
        Line::Decided {
            verb,
            id,
            time,
            body,
        } => match body {
            ReplyBody::IdAndTime | ReplyBody::Event(_) | ReplyBody::Labeled(_) => {
                reply(verb, ReplyFields::Message(id, time))
            }
            ReplyBody::Lines(lines) => reply(verb, ReplyFields::Lines(id, time, *lines)),
            ReplyBody::File(file) => {
                let fields = ReplyFields::File {
                    id: file.announced.or(id),
                    length: file.length,
                    sha256: file.sha256,
                };
                reply(verb, fields)
            }
            ReplyBody::Text(text) => reply(verb, ReplyFields::Text(text.clone())),
            ReplyBody::Nothing => return,
        },
        Line::Found { count, is_cut } => reply(Verb::Search, ReplyFields::Found { count, is_cut }),
        Line::Refused(refusal) => Delivery::Refused(refusal.clone()),
        Line::Closed { code, text } => Delivery::Closed {
            code,
            text: text.into(),
        },
        Line::Room {
            name,
            members,
            topic,
        } => Delivery::Room {
            name: name.into(),
            members,
            topic: topic.into(),
        },
        Line::Gap { of, .. } => Delivery::Gap(of.into()),
        Line::Removed { .. } => Delivery::Removed,
        Line::Entry { .. } | Line::Away { .. } | Line::Notice { .. } => return,
    });
}

pub(super) fn write_event(event: &Live<'_>, out: &mut Output) {
    let make = || EventRecord::of(event.id, event.time, event.tags, event.layout, event.line);
    let record = match event.id {
        Some(id) => out.recent(id, |known| known.is_of(event), make),
        None => make(),
    };
    if let Some(record) = record {
        out.push(Delivery::Live(record));
    }
}

pub(super) fn write_past(past: &Past<'_>, out: &mut Output) {
    if let Some(record) =
        EventRecord::of(Some(past.id), past.time, past.tags, past.layout, past.line)
    {
        out.push(Delivery::Past(record));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;

    /// Calls `write`, and returns the values that it writes, as lines of the protocol.
    fn lines(write: impl FnOnce(&mut Output)) -> String {
        let mut out = Output::default();
        write(&mut out);
        assert!(out.bytes.is_empty(), "no text is made for a value");
        let mut lines = Vec::new();
        for value in out.take_values() {
            value.write_line(&mut lines);
            lines.push(b'\n');
        }
        String::from_utf8(lines).unwrap()
    }

    #[track_caller]
    fn check(line: Line<'_>) {
        let plain = String::from_utf8(Dialect::FIRST.line(line).bytes).unwrap();
        assert_eq!(lines(|out| Dialect::Values.write(line, out)), plain);
    }

    #[test]
    fn a_value_contains_everything_that_its_line_contains() {
        let refusal = Refusal::new(Verb::Join, Code::NotAllowed, "no");
        let id = EventId::new(7);
        let file = |announced| {
            let reply = FileReply {
                announced,
                length: 5,
                sha256: Digest([7; 32]),
            };
            ReplyBody::File(reply.into())
        };
        let decided = |verb, body| Line::Decided {
            verb,
            id,
            time: Time(1_795_346_525_007),
            body,
        };
        for line in [
            Line::Ok {
                verb: Verb::Join,
                fields: "#lobby 17",
                sentence: "you are in #lobby",
            },
            Line::Ok {
                verb: Verb::Bye,
                fields: "",
                sentence: "bye",
            },
            decided(Verb::Msg, &ReplyBody::IdAndTime),
            decided(Verb::Upload, &file(None)),
            decided(Verb::Upload, &file(EventId::new(6))),
            decided(Verb::Topic, &ReplyBody::Text("#lobby on time".into())),
            Line::Found {
                count: 3,
                is_cut: false,
            },
            Line::Found {
                count: 3,
                is_cut: true,
            },
            Line::Refused(&refusal),
            Line::Closed {
                code: Code::Idle,
                text: "too long",
            },
            Line::Room {
                name: "#lobby",
                members: 2,
                topic: "on time",
            },
            Line::Gap {
                of: "#lobby",
                was_slow: true,
            },
        ] {
            check(line);
        }
    }

    #[test]
    fn an_event_value_contains_everything_that_its_line_contains() {
        let (id, time) = (EventId::new(7).unwrap(), Time(1_795_346_525_007));
        let marks = Marks {
            tags: true,
            ..Marks::default()
        };
        for (tags, line) in [
            ("", "MSG #lobby bob  hello "),
            ("reply=6;x-run=a%20b", "MSG #lobby bob hello"),
            ("", "FILE #lobby bob 17 * build.log"),
            ("", "NICK #lobby bob rob"),
            ("", "NOTE * chatd back soon"),
        ] {
            let layout = Event::parse(line).unwrap().layout();
            let past = Past {
                id,
                time,
                tags,
                line,
                layout,
                quoted: None,
                utc_offset_s: 0,
            };
            let live = Live {
                line,
                layout,
                tags,
                id: Some(id),
                quoted: None,
                time,
                is_here: true,
                is_for_everyone: false,
                is_registered: false,
                utc_offset_s: 0,
            };
            let mut out = Output::default();
            Dialect::Values.to(None).write_past(past, &mut out);
            Dialect::Values.to(None).write_event(live, &mut out);
            let values: Vec<Delivery> = out.take_values().collect();
            assert_eq!(values.len(), 2);
            for (value, marks) in values
                .iter()
                .flat_map(|v| [(v, Marks::default()), (v, marks)])
            {
                let mut expected = Output::default();
                let program = Dialect::Program(marks).to(None);
                program.write_past(past, &mut expected);
                let mut found = Vec::new();
                value.write_line_with(marks, &mut found);
                found.push(b'\n');
                assert_eq!(found, expected.bytes);
            }
        }
    }
}
