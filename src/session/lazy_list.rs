//! Lists: each line is formatted when it is sent, so a list of ten thousand costs no more memory than one of ten.

use crate::chat::{Chat, NickId, RoomId};
use crate::dialect::{Dialect, Line, Output};
use crate::protocol::Verb;
use crate::protocol::human::plural;

/// A list, and the position in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LazyList {
    kind: ListKind,
    /// Lines written so far.
    count: usize,
    dialect: Dialect,
}

#[derive(Clone, Copy, Debug)]
enum ListKind {
    Rooms {
        /// The last that was listed.
        after: Option<RoomId>,
        reader: Option<NickId>,
        /// Those that `reader` may not read as well, without their topics.
        is_all: bool,
    },
    Members(RoomId, Option<NickId>),
    /// The help on one verb, or on all; then the retention times.
    Help(Option<Verb>, usize),
}

/// The verbs that a new user needs; `HELP` shows the syntax of each.
const FIRST: [Verb; 9] = [
    Verb::Nick,
    Verb::Chat,
    Verb::Msg,
    Verb::Tell,
    Verb::Join,
    Verb::Who,
    Verb::Rooms,
    Verb::History,
    Verb::Bye,
];

/// How many verbs one line of the full list has.
const VERBS_A_LINE: usize = 12;

impl LazyList {
    fn new(kind: ListKind) -> Self {
        Self {
            kind,
            count: 0,
            dialect: Dialect::FIRST,
        }
    }

    /// The rooms that `reader` may read, or all of them.
    pub fn rooms(reader: Option<NickId>, is_all: bool) -> Self {
        Self::new(ListKind::Rooms {
            after: None,
            reader,
            is_all,
        })
    }

    pub fn members(room: RoomId) -> Self {
        Self::new(ListKind::Members(room, None))
    }

    pub fn help(verb: Option<Verb>) -> Self {
        Self::new(ListKind::Help(verb, 0))
    }

    /// The list in another dialect than the plain one.
    pub fn in_dialect(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// Appends the next line; returns false when there is none.
    pub fn write_next(&mut self, chat: &mut Chat, out: &mut Output) -> bool {
        let dialect = self.dialect;
        match &mut self.kind {
            ListKind::Rooms {
                after,
                reader,
                is_all,
            } => {
                let (room, topic) = loop {
                    let Some((id, room)) = chat.room_after(*after) else {
                        return false;
                    };
                    *after = Some(id);
                    if chat.may_read(id, *reader) {
                        break (room, &*room.topic);
                    }
                    if *is_all {
                        break (room, "");
                    }
                };
                let entry = Line::Room {
                    name: room.name.as_str(),
                    members: room.members(),
                    topic,
                };
                dialect.write(entry, out);
            }
            ListKind::Members(room, after) => {
                let Some(nick) = chat.show_member(*room, *after) else {
                    return false;
                };
                *after = Some(nick);
                let room = chat.room(*room).map_or("?", |room| room.name.as_str());
                let nick = chat.user(nick).map_or("?", |user| user.nick.as_str());
                let entry = Line::Entry {
                    word: "USER",
                    room: Some(room),
                    fields: &[nick],
                };
                dialect.write(entry, out);
            }
            ListKind::Help(verb, next) => {
                let Some(text) = help_line(*verb, *next, dialect.is_for_people(), chat) else {
                    return false;
                };
                *next += 1;
                let entry = Line::Entry {
                    word: "HELP",
                    room: None,
                    fields: &[&text],
                };
                dialect.write(entry, out);
            }
        }
        self.count += 1;
        true
    }

    /// Appends the reply that ends the list.
    pub fn write_end(&self, chat: &Chat, out: &mut Output) {
        let count = self.count;
        let (verb, fields, sentence) = match self.kind {
            ListKind::Rooms { .. } => {
                let rooms = plural(count, "room", "rooms");
                let sentence = format!("{rooms}, and how many are in each");
                (Verb::Rooms, count.to_string(), sentence)
            }
            ListKind::Members(room, _) => {
                let room = chat.room(room).map_or("?", |room| room.name.as_str());
                let sentence = format!("{} in {room}", plural(count, "person", "people"));
                (Verb::Who, count.to_string(), sentence)
            }
            ListKind::Help(..) => {
                let sentence =
                    "anything else that you type is said; // says a line that begins with a slash";
                (Verb::Help, String::new(), sentence.to_owned())
            }
        };
        let end = Line::Ok {
            verb,
            fields: &fields,
            sentence: &sentence,
        };
        self.dialect.write(end, out);
    }
}

/// Returns line number `at` of the help on one verb, or on how to begin.
fn help_line(verb: Option<Verb>, at: usize, is_talk: bool, chat: &Chat) -> Option<String> {
    let usage = |verb: Verb| {
        if is_talk {
            let word = verb.word().to_ascii_lowercase();
            format!("/{}", verb.usage().replacen(verb.word(), &word, 1))
        } else {
            verb.usage().to_owned()
        }
    };
    let in_full = |verb: Verb| format!("{} - {}", usage(verb), verb.summary());
    if let Some(verb) = verb {
        return (at == 0).then(|| in_full(verb));
    }
    if let Some(verb) = FIRST.get(at) {
        return Some(in_full(*verb));
    }
    let lines = Verb::ALL.chunks(VERBS_A_LINE);
    let after = at - FIRST.len();
    if let Some(verbs) = lines.clone().nth(after) {
        let words = verbs.iter().map(|verb| {
            if is_talk {
                format!("/{}", verb.word().to_ascii_lowercase())
            } else {
                verb.word().to_owned()
            }
        });
        return Some(words.collect::<Vec<_>>().join(" "));
    }
    match after - lines.len() {
        0 => Some(format!("{} tells more of one of these", usage(Verb::Help))),
        1 => Some(chat.config.keeping()),
        _ => None,
    }
}
