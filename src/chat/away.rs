//! Users who are away. `AWAY` sets a text that others see until the user changes or clears the text, or until the last
//! connection of the nick ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Chat, NickId, Place, RoomId, write};
use crate::model::{Action, Now, PeerId, millis};
use crate::protocol::{Event, RoomName};

/// A nick whose state, away or back, was announced recently.
#[derive(Debug)]
pub(super) struct PacedAway {
    /// The time at which the nick may be announced again, in milliseconds of uptime.
    due_ms: u64,
    /// The connection that last changed the state.
    by: PeerId,
    /// The rooms in which the newest state has not been announced yet.
    rooms: BTreeSet<RoomId>,
}

impl Chat {
    /// Returns the text of a nick that is away; `None` if the nick is not away.
    pub fn away(&self, nick: NickId) -> Option<&str> {
        self.user(nick)?.away()
    }

    /// Marks a nick as away, or as back if the text is empty. If that changes the state, announces it in each of
    /// `rooms` whose members know that the nick is there.
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
        self.make(set, Some(by), now);
    }

    /// In each of `rooms` whose readers know that the nick is there, announces that the nick is away or back. After a
    /// recent announcement, waits, and then announces only the newest state.
    pub(super) fn show_away(
        &mut self,
        nick: NickId,
        rooms: &[Arc<RoomName>],
        by: Option<PeerId>,
        now: Now,
    ) {
        let rooms = rooms.iter().filter_map(|room| self.find_room(room));
        let rooms = rooms.collect();
        self.show_away_in(nick, rooms, by.unwrap_or(PeerId::NONE), now);
    }

    fn show_away_in(&mut self, nick: NickId, rooms: BTreeSet<RoomId>, by: PeerId, now: Now) {
        if let Some(paced) = self.paced_away.get_mut(&nick) {
            paced.by = by;
            paced.rooms.extend(rooms);
            return;
        }
        for room in rooms {
            if self.is_known_in(room, nick) {
                self.announce_away(room, nick, by, now);
            }
        }
        let until = now.uptime + self.limits().announce_after;
        if until > now.uptime {
            let paced = PacedAway {
                due_ms: millis(until),
                by,
                rooms: BTreeSet::new(),
            };
            self.away_due.insert((paced.due_ms, nick));
            self.paced_away.insert(nick, paced);
        }
    }

    /// If the state of a nick has changed since the last announcement, announces the newest state.
    pub(super) fn away_is_due(&mut self, nick: NickId, now: Now) {
        if let Some(PacedAway { by, rooms, .. }) = self.paced_away.remove(&nick)
            && !rooms.is_empty()
        {
            self.show_away_in(nick, rooms, by, now);
        }
    }

    /// Removes a nick that nobody uses any more from `paced_away`, so that the table never has more entries than there
    /// are nicks in use.
    pub(super) fn forget_paced_away(&mut self, nick: NickId) {
        if !self.paced_away.is_empty()
            && let Some(paced) = self.paced_away.remove(&nick)
        {
            self.away_due.remove(&(paced.due_ms, nick));
        }
    }

    /// Announces the away status of a nick that has just changed from `old` to `new` in a room, if an announcement in
    /// that room was still waiting.
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
