//! `WHOIS`, `AWAY` and `MINE`: facts about a nick, and the rooms of this connection.

use super::Session;
use super::output::{AfterReply, Entries};
use super::request::Done;
use crate::chat::{Chat, Place};
use crate::config::fixed::AWAY_BYTES_MAX;
use crate::dialect::Line;
use crate::model::Now;
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
        let mut talk = format!("{nick} is {presence}, {kind}");
        let mut fields = format!("{nick} {kind} {presence}");
        if let Some(away) = here.and_then(|here| chat.away(here)) {
            talk.push_str(&format!(", away: {away}"));
            fields.push_str(&format!(" {away}"));
        }
        self.ok(verb, &fields, &talk, AfterReply::Nothing);
        Ok(None)
    }

    /// Marks the nick of this connection as away, or as back if the text is empty.
    pub(super) fn away(&mut self, text: &str, chat: &mut Chat, now: Now) -> Done {
        let verb = Verb::Away;
        let nick = self.require_nick(verb)?;
        if text.len() > AWAY_BYTES_MAX {
            let text = format!("the text of AWAY has at most {AWAY_BYTES_MAX} bytes; shorten it");
            return Err(Refusal::new(verb, Code::TooLong, text));
        }
        chat.set_away(nick, text, self.peer, &self.room_ids(), now);
        let talk = if text.is_empty() {
            "you are no longer marked as away"
        } else {
            "you are marked as away; /away marks you as back"
        };
        self.ok(verb, "", talk, AfterReply::Nothing);
        Ok(None)
    }

    /// Tells the client that the recipient of its message is away.
    pub(super) fn send_away(&mut self, to: Place, chat: &Chat) {
        let own = self.nick.and_then(|nick| chat.user(nick));
        let Place::Nick(there) = to else {
            return;
        };
        if let (Some(own), Some(text), Some(user)) = (own, chat.away(there), chat.user(there)) {
            let (to, nick) = (own.nick.as_str(), user.nick.as_str());
            self.send(Line::Away { to, nick, text });
        }
    }

    /// Lists the rooms of this connection, the current one last.
    pub(super) fn mine(&mut self, chat: &Chat) -> Done {
        let mut rooms = Entries::new("ROOM", self.input);
        for room in self.room_ids() {
            if let Some(room) = chat.room(room) {
                let (members, last_id) = (
                    chat.members(&room.name).to_string(),
                    room.last_id().to_string(),
                );
                rooms.add(&[room.name.as_str(), &members, &last_id]);
            }
        }
        let count = self.send_entries(rooms);
        let talk = format!("you are in {}", plural(count, "room", "rooms"));
        self.ok(Verb::Mine, &count.to_string(), &talk, AfterReply::Nothing);
        Ok(None)
    }
}
