//! Users who are away. `AWAY` sets a text that others see until the user changes or clears it, or until the last
//! connection of the nick ends.

use std::sync::Arc;

use super::{Chat, NickId, Place, RoomId, write};
use crate::model::{Action, Now, PeerId};
use crate::protocol::{Event, RoomName};

impl Chat {
    /// Returns the text of a nick that is away; `None` if it is not away.
    pub fn away(&self, nick: NickId) -> Option<&str> {
        self.user(nick)?.away()
    }

    /// Marks a nick as away, or as back if the text is empty. If that changes anything, announces it in those of
    /// `rooms` whose members have seen the nick join or have listed it.
    pub fn set_away(&mut self, nick: NickId, text: &str, by: PeerId, rooms: &[RoomId], now: Now) {
        let away = Some(text).filter(|text| !text.is_empty());
        if self.away(nick) == away {
            return;
        }
        let Some(user) = self.user(nick) else {
            return;
        };
        let set = Action::SetAway {
            nick: user.nick.clone(),
            text: away.map(Into::into),
            rooms: self.room_names(rooms),
        };
        let _ = self.change(set, Some(by), now);
    }

    /// Announces that a nick is away or back, in those of `rooms` whose readers know that it is there.
    pub(super) fn show_away(
        &mut self,
        nick: NickId,
        rooms: &[Arc<RoomName>],
        by: Option<PeerId>,
        now: Now,
    ) {
        for room in rooms {
            if let Some(room) = self.find_room(room)
                && self.is_known_in(room, nick)
            {
                self.announce_away(room, nick, by.unwrap_or(PeerId::NONE), now);
            }
        }
    }

    /// Announces in a room that a nick is away or back. The connection `by` does not receive the announcement.
    pub(super) fn announce_away(&mut self, room_id: RoomId, nick: NickId, by: PeerId, now: Now) {
        let place = Place::Room(room_id);
        self.append(place, None, now.time, Some(by), "", |chat, line| {
            let (to, nick_text) = chat.room_and_nick(room_id, nick);
            let text = chat.away(nick).unwrap_or_default().into();
            let nick = nick_text;
            write(&Event::Away { to, nick, text }, line)
        });
    }
}
