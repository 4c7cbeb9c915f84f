//! Users who are away. `AWAY` sets a text that others see until the user changes or clears it, or until the last
//! connection of the nick ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Chat, NickId, Place, RoomId, write};
use crate::model::{Action, Now, PeerId, millis};
use crate::protocol::{Event, RoomName};

/// A nick of which it was announced just before that it is away or back.
#[derive(Debug)]
pub(super) struct PacedAway {
    /// The connection that has changed the state since.
    by: PeerId,
    /// The rooms in which the newest state is still to be announced.
    rooms: BTreeSet<RoomId>,
}

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

    /// Announces that a nick is away or back, in those of `rooms` whose readers know that it is there. If something
    /// was announced just before, waits, and then announces only the newest state.
    pub(super) fn show_away(
        &mut self,
        nick: NickId,
        rooms: &[Arc<RoomName>],
        by: Option<PeerId>,
        now: Now,
    ) {
        let by = by.unwrap_or(PeerId::NONE);
        let found: Vec<RoomId> = rooms
            .iter()
            .filter_map(|room| self.find_room(room))
            .collect();
        if let Some(paced) = self.paced_away.get_mut(&nick) {
            paced.by = by;
            paced.rooms.extend(found);
            return;
        }
        for room in found {
            if self.is_known_in(room, nick) {
                self.announce_away(room, nick, by, now);
            }
        }
        let until = now.uptime + self.limits().announce_after;
        if until > now.uptime {
            let rooms = BTreeSet::new();
            self.paced_away.insert(nick, PacedAway { by, rooms });
            self.away_due.insert((millis(until), nick));
        }
    }

    /// Announces the newest state of a nick, if it has changed since the announcement before.
    pub(super) fn away_is_due(&mut self, nick: NickId, now: Now) {
        let Some(PacedAway { by, rooms }) = self.paced_away.remove(&nick) else {
            return;
        };
        if !rooms.is_empty() && self.user(nick).is_some() {
            let names = rooms.into_iter().filter_map(|room| self.room(room));
            let names: Vec<_> = names.map(|room| room.name.clone()).collect();
            self.show_away(nick, &names, Some(by), now);
        }
    }

    /// Announces the newest state of a nick in a room, if that still waits, after the nick has been replaced.
    pub(super) fn announce_away_of_renamed(
        &mut self,
        room: RoomId,
        old: NickId,
        new: NickId,
        now: Now,
    ) {
        let Some(paced) = self.paced_away.get_mut(&old) else {
            return;
        };
        if paced.rooms.remove(&room) {
            let by = paced.by;
            self.announce_away(room, new, by, now);
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
