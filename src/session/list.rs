//! Lists: each line is made when it is sent, so a list of ten thousand costs no more than one of ten.

use crate::chat::{Chat, NickId, RoomId};
use crate::protocol::people::many;
use crate::protocol::{Verb, event::words};

/// A list, and how far it has got.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    what: What,
    /// Lines written so far.
    count: usize,
    /// For people, not programs.
    is_talk: bool,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// The next room that this nick may know of.
    Rooms(Option<RoomId>, Option<NickId>),
    Members(RoomId, Option<NickId>),
    /// The next line of the help on one verb, or on all; then how long things are kept.
    Help(Option<Verb>, usize),
}

impl List {
    fn new(what: What) -> Self {
        Self {
            what,
            count: 0,
            is_talk: false,
        }
    }

    pub fn rooms(reader: Option<NickId>) -> Self {
        Self::new(What::Rooms(None, reader))
    }

    pub fn members(room: RoomId) -> Self {
        Self::new(What::Members(room, None))
    }

    pub fn help(verb: Option<Verb>) -> Self {
        Self::new(What::Help(verb, 0))
    }

    /// The list as a person reads it, if `is_talk`.
    pub fn for_people(self, is_talk: bool) -> Self {
        Self { is_talk, ..self }
    }

    /// Appends the next line; false when there is none.
    pub fn write_next(&mut self, chat: &mut Chat, out: &mut Vec<u8>) -> bool {
        let is_talk = self.is_talk;
        let line = match &mut self.what {
            What::Rooms(after, reader) => {
                let (id, room) = loop {
                    let Some((id, room)) = chat.room_after(*after) else {
                        return false;
                    };
                    *after = Some(id);
                    if chat.may_read(id, *reader) {
                        break (id, room);
                    }
                };
                let _ = id;
                let members = room.members().to_string();
                match is_talk {
                    true => words(
                        out,
                        &[
                            "  ",
                            room.name.as_str(),
                            &format!("({members})"),
                            &room.topic,
                        ],
                    ),
                    false => words(out, &["ROOM", room.name.as_str(), &members, &room.topic]),
                }
                Some(())
            }
            What::Members(room, after) => chat.show_member(*room, *after).map(|nick| {
                *after = Some(nick);
                let room = chat.room(*room).map_or("?", |room| room.name.as_str());
                let nick = chat.holder(nick).map_or("?", |holder| holder.nick.as_str());
                match is_talk {
                    true => words(out, &["  ", nick]),
                    false => words(out, &["USER", room, nick]),
                }
            }),
            What::Help(verb, next) => {
                let is_all = verb.is_none();
                let verb = match verb {
                    Some(verb) => Some(*verb).filter(|_| *next == 0),
                    None => Verb::ALL.get(*next).copied(),
                };
                *next += 1;
                let (mark, slash) = if is_talk { ("   ", "/") } else { ("HELP ", "") };
                let text = match verb {
                    Some(verb) => {
                        let usage = match is_talk {
                            true => verb.usage().replacen(
                                verb.word(),
                                &verb.word().to_ascii_lowercase(),
                                1,
                            ),
                            false => verb.usage().to_owned(),
                        };
                        Some(format!("{mark}{slash}{usage} - {}", verb.summary()))
                    }
                    None if is_all && *next == Verb::ALL.len() + 1 => {
                        Some(format!("{mark}{}", chat.config.keeping()))
                    }
                    None => None,
                };
                text.map(|text| out.extend_from_slice(text.as_bytes()))
            }
        };
        if line.is_none() {
            return false;
        }
        out.push(b'\n');
        self.count += 1;
        true
    }

    /// Appends the reply that ends the list.
    pub fn write_end(&self, chat: &Chat, out: &mut Vec<u8>) {
        let count = self.count;
        let name = |room| {
            chat.room(room)
                .map_or("?", |room: &crate::chat::room::Room| room.name.as_str())
        };
        let line = match (self.what, self.is_talk) {
            (What::Rooms(..), false) => format!("OK ROOMS {count}"),
            (What::Members(..), false) => format!("OK WHO {count}"),
            (What::Help(..), false) => "OK HELP".into(),
            (What::Rooms(..), true) => {
                format!(
                    "-- {}, and how many are in each",
                    many(count, "room", "rooms")
                )
            }
            (What::Members(room, _), true) => {
                format!("-- {} in {}", many(count, "person", "people"), name(room))
            }
            (What::Help(..), true) => {
                "-- anything else that you type is said; // says a line that begins with a slash"
                    .into()
            }
        };
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
}
