//! Lists whose lines are formatted only when the lines are sent, so that a long list takes no more memory than a short
//! list.

use crate::chat::{Chat, NickId, RoomId};
use crate::dialect::irc::{self, Cap, Label, Message, Shown, WhoForm, numeric};
use crate::dialect::{Line, Output, Writer};
use crate::protocol::Verb;
use crate::protocol::human::plural;

/// A list, and the position in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LazyList {
    kind: ListKind,
    /// The number of lines written so far.
    count: usize,
    /// Whether the lines of the list belong to the batch of a labeled answer, for an IRC client.
    pub is_labeled: bool,
}

#[derive(Clone, Copy, Debug)]
enum ListKind {
    Rooms {
        /// The last room that was listed.
        after: Option<RoomId>,
        reader: Option<NickId>,
        /// Whether the list also contains the rooms that `reader` may not read, but without their topics.
        is_all: bool,
        /// The minimum and maximum number of members of the listed rooms.
        size: (usize, usize),
        /// Whether the list contains only the rooms that match one of the IRC client's masks.
        is_masked: bool,
    },
    /// The members of a room for IRC's `NAMES`, and the last member that was listed.
    Names(RoomId, Option<NickId>),
    /// The members of a room for IRC's `WHO`, and the last member that was listed.
    Shown(RoomId, Option<NickId>, WhoForm),
    Members(RoomId, Option<NickId>),
    /// The help on one verb, or on all verbs (`None`), and the number of the next line. The help on all verbs ends with
    /// a sentence on how long messages are kept.
    Help(Option<Verb>, usize),
}

/// What the next step of a list has appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A line.
    Line,
    /// Nothing yet: none of the checked rooms belongs to the list, and there may be more rooms.
    Nothing,
    /// Nothing, because the list is complete.
    End,
}

/// The maximum number of rooms that one step looks at. Comparing them with the masks of an IRC client takes less than a
/// millisecond. After each step, other connections have their turn.
const LOOKED_AT_MAX: usize = 50;

/// The verbs that a new user needs. `HELP` shows the syntax of each.
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

/// The number of verbs on one line of the full list.
const VERBS_A_LINE: usize = 12;

impl LazyList {
    fn new(kind: ListKind) -> Self {
        Self {
            kind,
            count: 0,
            is_labeled: false,
        }
    }

    /// Creates the list of the rooms that `reader` may read, or of all rooms.
    pub fn rooms(reader: Option<NickId>, is_all: bool) -> Self {
        Self::new(ListKind::Rooms {
            after: None,
            reader,
            is_all,
            size: (0, usize::MAX),
            is_masked: false,
        })
    }

    /// Limits a list of rooms to those with at least `least` and at most `most` members.
    pub fn of_size(mut self, least: usize, most: usize) -> Self {
        if let ListKind::Rooms { size, .. } = &mut self.kind {
            *size = (least, most);
        }
        self
    }

    /// Limits a list of rooms to the rooms that match one of the IRC client's masks.
    pub fn masked(mut self) -> Self {
        if let ListKind::Rooms { is_masked, .. } = &mut self.kind {
            *is_masked = true;
        }
        self
    }

    /// Creates the list of the members of a room for an IRC client, with many names on each line.
    pub fn names(room: RoomId) -> Self {
        Self::new(ListKind::Names(room, None))
    }

    /// Creates the list of the members of a room with the details that an IRC client has requested.
    pub fn who(room: RoomId, form: WhoForm) -> Self {
        Self::new(ListKind::Shown(room, None, form))
    }

    pub fn members(room: RoomId) -> Self {
        Self::new(ListKind::Members(room, None))
    }

    pub fn help(verb: Option<Verb>) -> Self {
        Self::new(ListKind::Help(verb, 0))
    }

    /// Appends the next line.
    pub fn write_next(&mut self, to: Writer<'_>, chat: &mut Chat, out: &mut Output) -> Step {
        let from = out.bytes.len();
        let step = self.next(to, chat, out);
        self.mark(to, from, out);
        if step == Step::Line {
            self.count += 1;
        }
        step
    }

    /// Appends the reply that ends the list.
    pub fn write_end(&self, to: Writer<'_>, chat: &Chat, out: &mut Output) {
        let from = out.bytes.len();
        self.end(to, chat, out);
        self.mark(to, from, out);
    }

    /// If the list answers a labeled command, marks the lines after the offset `from` as part of that answer.
    fn mark(&self, to: Writer<'_>, from: usize, out: &mut Output) {
        if let Some(client) = to.irc().filter(|_| self.is_labeled) {
            Label::Inside.mark(client, from, &mut out.bytes);
        }
    }

    fn next(&mut self, to: Writer<'_>, chat: &mut Chat, out: &mut Output) -> Step {
        match &mut self.kind {
            ListKind::Rooms {
                after,
                reader,
                is_all,
                size: (least, most),
                is_masked,
            } => {
                let mut looked_at = 0;
                let (room, topic) = loop {
                    if looked_at == LOOKED_AT_MAX {
                        return Step::Nothing;
                    }
                    looked_at += 1;
                    let Some((id, room)) = chat.room_after(*after) else {
                        return Step::End;
                    };
                    *after = Some(id);
                    // A room without members is not shown to an IRC client unless it has had an event.
                    let members = chat.members(&room.name);
                    let is_unused = members == 0 && room.last_id.is_none();
                    if !(*least..=*most).contains(&members)
                        || is_unused && to.irc().is_some()
                        || *is_masked && !is_asked_for(to, room.name.as_str())
                    {
                        continue;
                    }
                    if chat.may_read(id, *reader) {
                        break (room, &*room.topic);
                    }
                    if *is_all {
                        break (room, "");
                    }
                };
                let entry = Line::Room {
                    name: room.name.as_str(),
                    members: chat.members(&room.name),
                    topic,
                };
                to.write(entry, out);
            }
            ListKind::Members(room, after) => {
                let Some(nick) = chat.show_member(*room, *after) else {
                    return Step::End;
                };
                *after = Some(nick);
                let room = chat.room(*room).map_or("?", |room| room.name.as_str());
                let away = chat.away(nick).unwrap_or_default();
                let nick = chat.user(nick).map_or("?", |user| user.nick.as_str());
                let shown = format!("(away: {away})");
                let away = if to.dialect().is_for_people() && !away.is_empty() {
                    &shown
                } else {
                    away
                };
                let entry = Line::Entry {
                    word: "USER",
                    room: Some(room),
                    fields: &[nick, away],
                };
                to.write(entry, out);
            }
            ListKind::Names(room, after) => return write_names(to, *room, after, chat, out),
            ListKind::Shown(room, after, form) => {
                let Some(nick) = chat.show_member(*room, *after) else {
                    return Step::End;
                };
                *after = Some(nick);
                if let (Some(client), Some(user)) = (to.irc(), chat.user(nick)) {
                    let name = chat.room(*room).map_or("*", |room| room.name.as_str());
                    let shown = Shown {
                        room: name,
                        nick: user.nick.as_str(),
                        is_registered: chat.is_registered(&user.nick),
                        is_operator: chat.is_operator(nick),
                        is_moderator: chat.may_moderate(*room, nick),
                        is_away: chat.away(nick).is_some(),
                    };
                    form.write(client, shown, &mut out.bytes);
                }
            }
            ListKind::Help(verb, next) => {
                let Some(text) = help_line(*verb, *next, to.dialect().is_for_people(), chat) else {
                    return Step::End;
                };
                *next += 1;
                let entry = Line::Entry {
                    word: "HELP",
                    room: None,
                    fields: &[&text],
                };
                to.write(entry, out);
            }
        }
        Step::Line
    }

    fn end(&self, to: Writer<'_>, chat: &Chat, out: &mut Output) {
        let count = self.count;
        if let Some(client) = to.irc() {
            let (number, room, text) = match self.kind {
                ListKind::Rooms { .. } => (numeric::LIST_END, None, "End of /LIST"),
                ListKind::Names(room, _) => {
                    (numeric::END_OF_NAMES, Some(room), "End of /NAMES list")
                }
                ListKind::Members(room, _) | ListKind::Shown(room, ..) => {
                    (numeric::END_OF_WHO, Some(room), "End of /WHO list")
                }
                ListKind::Help(..) => (numeric::END_OF_HELP, None, "End of /HELP"),
            };
            let name = room.map(|room| chat.room(room).map_or("*", |room| room.name.as_str()));
            return client.numeric(number, name.as_slice(), text, &mut out.bytes);
        }
        let (verb, fields, sentence) = match self.kind {
            ListKind::Rooms { .. } => {
                let rooms = plural(count, "room", "rooms");
                let sentence = format!("{rooms}, with the number of members");
                (Verb::Rooms, count.to_string(), sentence)
            }
            ListKind::Members(room, _) | ListKind::Names(room, _) | ListKind::Shown(room, ..) => {
                let room = chat.room(room).map_or("?", |room| room.name.as_str());
                let sentence = format!("{} in {room}", plural(count, "person", "people"));
                (Verb::Who, count.to_string(), sentence)
            }
            ListKind::Help(..) => {
                let sentence = "anything else that you type is sent as a message; // sends a line that begins with a slash";
                (Verb::Help, String::new(), sentence.to_owned())
            }
        };
        let end = Line::Ok {
            verb,
            fields: &fields,
            sentence: &sentence,
        };
        to.write(end, out);
    }
}

/// Returns whether the name of a room matches one of the IRC client's masks.
fn is_asked_for(to: Writer<'_>, name: &str) -> bool {
    let mut masks = to.irc().into_iter().flat_map(|client| &client.list_masks);
    let name: Vec<char> = name.to_lowercase().chars().collect();
    masks.any(|mask| irc::fits(mask, &name))
}

/// Appends the next line of an IRC client's list of names, with as many names as fit.
fn write_names(
    to: Writer<'_>,
    room: RoomId,
    after: &mut Option<NickId>,
    chat: &mut Chat,
    out: &mut Output,
) -> Step {
    let Some((client, found)) = to.irc().zip(chat.room(room)) else {
        return Step::End;
    };
    let name = found.name.clone();
    let is_closed = found.acl.as_ref().is_some_and(|acl| acl.is_closed);
    let mark = if is_closed { "@" } else { "=" };
    let params = [&*client.nick, mark, name.as_str()];
    let line = Message {
        source: &client.server,
        command: numeric::NAME_REPLY,
        params: &params,
        ..Message::default()
    };
    let space = line.space();
    let is_long = client.caps.has(Cap::UserhostInNames);
    let mut names = String::new();
    while let Some(nick) = chat.next_member(room, *after) {
        let name = chat.user(nick).map(|user| user.nick.as_str());
        if name != Some(&*client.nick) {
            // Others need not hear of somebody who joins and leaves again, though the client itself is listed here.
            chat.show_member_of(room, nick);
        }
        let Some(user) = chat.user(nick) else {
            *after = Some(nick);
            continue;
        };
        let mark = if chat.may_moderate(room, nick) {
            "@"
        } else {
            ""
        };
        let shown = if is_long {
            irc::source(user.nick.as_str(), &client.server)
        } else {
            user.nick.as_str().to_owned()
        };
        if !names.is_empty() {
            if names.len() + 1 + mark.len() + shown.len() > space {
                break;
            }
            names.push(' ');
        }
        names.push_str(mark);
        names.push_str(&shown);
        *after = Some(nick);
    }
    if names.is_empty() {
        return Step::End;
    }
    let text = Some(names.as_str());
    Message { text, ..line }.write(&mut out.bytes);
    Step::Line
}

/// Returns line number `at` of the help on a verb, or of the introduction.
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
        0 => Some(format!("{} explains one of these", usage(Verb::Help))),
        1 => Some(chat.config.keeping()),
        _ => None,
    }
}
