//! `WHOIS` and `MINE`: facts about a nick, and the rooms of this connection.

use super::Session;
use super::output::{AfterReply, Entries};
use super::request::Done;
use crate::chat::Chat;
use crate::protocol::human::plural;
use crate::protocol::request::Refusal;
use crate::protocol::{Code, Nick, Verb};

impl Session {
    /// Lists the rooms that this connection shares with a nick, and shows whether the nick is registered and online.
    pub(super) fn whois(&mut self, nick: &Nick, chat: &mut Chat) -> Done {
        let verb = Verb::Whois;
        let here = chat.find_nick(nick);
        let is_registered = chat.is_registered(nick);
        if here.is_none() && !is_registered {
            let text = format!("no nick {nick} is connected");
            return Err(Refusal::new(verb, Code::NoSuchNick, text));
        }
        let user = here.and_then(|here| chat.user(here));
        let nick = user.map_or_else(|| nick.clone(), |user| user.nick.clone());
        let mut rooms = Entries::new("USER", self.input);
        for room in self.room_ids() {
            if here.is_some_and(|here| chat.show_member_of(room, here))
                && let Some(room) = chat.room(room)
            {
                rooms.add(&[room.name.as_str(), nick.as_str()]);
            }
        }
        self.send_entries(rooms);
        let kind = if is_registered { "registered" } else { "guest" };
        let presence = if here.is_some() { "online" } else { "offline" };
        let talk = format!("{nick} is {presence}, {kind}");
        let fields = format!("{nick} {kind} {presence}");
        self.ok(verb, &fields, &talk, AfterReply::Nothing);
        Ok(None)
    }

    /// Lists the rooms of this connection, the current one last.
    pub(super) fn mine(&mut self, chat: &Chat) -> Done {
        let mut rooms = Entries::new("ROOM", self.input);
        for room in self.room_ids() {
            if let Some(room) = chat.room(room) {
                let (members, last_id) = (room.members().to_string(), room.last_id().to_string());
                rooms.add(&[room.name.as_str(), &members, &last_id]);
            }
        }
        let count = self.send_entries(rooms);
        let talk = format!("you are in {}", plural(count, "room", "rooms"));
        self.ok(Verb::Mine, &count.to_string(), &talk, AfterReply::Nothing);
        Ok(None)
    }
}
