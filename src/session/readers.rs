//! `SEEN`, `READERS` and `FORGET`: the positions of named readers.

use std::sync::Arc;

use super::irc::marker;
use super::output::{AfterReply, Entries};
use super::request::{Done, name_of};
use super::{Effect, REPLY_BYTES_MAX, Session};
use crate::chat::Chat;
use crate::chat::bans::MovedReader;
use crate::dialect::{Live, Output};
use crate::log::Reader;
use crate::model::Now;
use crate::protocol::human::plural;
use crate::protocol::request::Refusal;
use crate::protocol::{Code, Event, Nick, RoomName, Time, Verb};

impl Session {
    /// Returns the reader `name` of this connection's nick.
    pub(super) fn own_reader(
        &self,
        verb: Verb,
        room: &RoomName,
        name: &Nick,
        chat: &Chat,
    ) -> Result<Reader, Refusal> {
        let user = chat.user(self.require_nick(verb)?);
        Ok(Reader {
            place: room.casefolded().into(),
            nick: user.map_or("", |user| user.nick.casefolded()).to_owned(),
            name: name.casefolded().to_owned(),
        })
    }

    /// Handles `SEEN`. Without `reader`, moves the reader with which this connection has joined the room.
    pub(super) fn seen(
        &mut self,
        name: &RoomName,
        id: u64,
        reader: Option<Nick>,
        chat: &Chat,
    ) -> Done {
        let verb = Verb::Seen;
        if reader.is_some() {
            self.require_nick(verb)?;
        }
        let room_id = self.room_to_read(verb, Some(name), chat)?;
        let room = name_of(room_id, chat)?;
        let named = match &reader {
            Some(reader) => Some(self.own_reader(verb, &room, reader, chat)?),
            None => None,
        };
        let mut rooms = self.rooms.iter();
        let joined = rooms.find(|m| m.room == room_id && !m.is_leaving);
        let joined = joined.and_then(|m| m.reader.as_deref());
        let Some(moved) = named.as_ref().or(joined) else {
            let text = format!(
                "name the reader: SEEN {name} {id} AS <name>, or JOIN {name} AS <name> first"
            );
            return Err(Refusal::new(verb, Code::BadSyntax, text));
        };
        let newest = chat.newest_id();
        if id > newest {
            let text = format!("there is no event {id} yet; the newest is {newest}");
            return Err(Refusal::new(verb, Code::BadSyntax, text));
        }
        let moved = moved.clone();
        Ok(match reader {
            // The number of new readers is limited, so the session must know whether the reader exists.
            Some(_) => self.query_reader_to_move(room, moved, id),
            None => self.set_reader(room, moved, id, chat),
        })
    }

    /// Handles `READERS`.
    pub(super) fn readers(&mut self, chat: &Chat) -> Done {
        let user = chat.user(self.require_nick(Verb::Readers)?);
        let nick = user.map_or("", |user| user.nick.casefolded()).to_owned();
        Ok(self.query_readers(nick, chat))
    }

    /// Lists `readers`, except the readers of rooms that this connection may not read.
    pub(super) fn list_readers(&mut self, readers: &[(Reader, u64)], chat: &Chat) {
        let mut lines = Entries::new("READER", self.input);
        for (reader, seen) in readers {
            let Ok(name) = RoomName::parse_loose(&reader.place) else {
                continue;
            };
            let known = chat.find_room(&name);
            if known.is_some_and(|room| !chat.may_read(room, self.nick)) {
                continue;
            }
            // A room that nobody uses may be gone, but its named readers are still stored.
            let room = known.and_then(|room| chat.room(room));
            let room = room.map_or(name.as_str(), |room| room.name.as_str());
            lines.add(&[room, &reader.name, &seen.to_string()]);
        }
        let count = self.send_entries(lines);
        let talk = plural(count, "reader", "readers");
        self.ok(
            Verb::Readers,
            &count.to_string(),
            &talk,
            AfterReply::Nothing,
        );
    }

    /// Handles `FORGET`. The reply is always the same, whether or not the reader existed and whether or not this
    /// connection may read the room.
    pub(super) fn forget_reader(&mut self, room: RoomName, name: &Nick, chat: &Chat) -> Done {
        let reader = self.own_reader(Verb::Forget, &room, name, chat)?;
        // Otherwise a `BYE` of this connection would create the reader again.
        for membership in &mut self.rooms {
            if membership.reader.as_deref() == Some(&reader) {
                membership.reader = None;
            }
        }
        let reply = format!("{room} {name}");
        Ok(self.query_forget(reader, reply.into(), chat))
    }

    /// Tells the other connections of this nick that this connection has moved one of the nick's readers.
    pub(super) fn tell_moved(&self, name: &str, place: &str, seen: u64, chat: &mut Chat) {
        if let Some(nick) = self.nick {
            let moved = MovedReader {
                nick,
                place: place.into(),
                name: name.into(),
                seen,
            };
            chat.reader_moved(self.peer, &moved);
        }
    }

    /// Calls [`Self::tell_moved`] if the nick is registered. An unregistered nick may belong to another user later.
    pub(super) fn tell_moved_if_registered(&self, reader: &Reader, seen: u64, chat: &mut Chat) {
        let user = self.nick.and_then(|nick| chat.user(nick));
        let is_own = user.is_some_and(|user| {
            chat.is_registered(&user.nick) && user.nick.casefolded() == reader.nick
        });
        let Some(room) = RoomName::parse_loose(&reader.place).ok().filter(|_| is_own) else {
            return;
        };
        let known = chat.find_room(&room).and_then(|room| chat.room(room));
        let room = known.map_or(room.clone(), |room| RoomName::clone(&room.name));
        self.tell_moved(&reader.name, room.as_str(), seen, chat);
    }

    /// Shows the client that another connection of its nick has moved a reader. Does nothing for a client that has not
    /// requested this, or that does not read its replies. The client's next `READERS` shows the position.
    pub(super) fn show_moved(&mut self, moved: &MovedReader, chat: &Chat, now: Now) {
        let MovedReader {
            nick,
            place,
            name,
            seen,
        } = moved;
        let may_wait = !self.is_ending() && self.replies().bytes < REPLY_BYTES_MAX;
        if self.nick != Some(*nick) || !may_wait {
            return;
        }
        if **name == *marker::NAME {
            return self.irc_marker_moved(place, Time(*seen));
        }
        let Some(user) = chat.user(*nick).filter(|_| self.input.marks().tags) else {
            return;
        };
        let event = Event::Seen {
            room: (&**place).into(),
            nick: user.nick.as_str().into(),
            id: *seen,
            reader: (&**name).into(),
        };
        let mut out = Output::default();
        let live = Live {
            line: &event.to_string(),
            layout: event.layout(),
            tags: "",
            id: None,
            quoted: None,
            time: now.time,
            is_here: false,
            is_for_everyone: false,
            is_registered: true,
            utc_offset_s: chat.utc_offset_s,
        };
        self.writer(self.input).write_event(live, &mut out);
        self.push(out, AfterReply::Nothing);
    }

    /// Refuses to create another reader.
    pub(super) fn refuse_reader(&mut self, verb: Verb) {
        let text = "this nick or address has too many readers; use an existing one, or FORGET one";
        self.refuse(&Refusal::new(verb, Code::Quota, text));
    }

    /// Continues a `SEEN` that names a reader. `is_new` says that the reader does not exist yet.
    pub(super) fn move_reader(
        &mut self,
        room: Arc<RoomName>,
        reader: Reader,
        id: u64,
        is_new: bool,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        if is_new && !chat.may_make_reader(self.peer, now) {
            self.refuse_reader(Verb::Seen);
            return None;
        }
        self.set_reader(room, reader, id, chat)
    }
}
