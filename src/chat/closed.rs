//! Access to rooms: who may read, join and moderate one, and the removal of members that may not.

use std::collections::BTreeMap;

use super::bans::Order;
use super::{Chat, NickId, Place, RoomId};
use crate::model::{Now, PeerId, RoomAcl, VersionedAcl};
use crate::protocol::{EventId, Nick, RoomName};
use crate::tail::Seq;

/// How far a connection that is removed from a room may still read it.
#[derive(Clone, Copy, Debug)]
pub struct Until {
    /// The entry after the last one.
    pub seq: Seq,
    /// The newest logged event before it; 0 for none.
    pub id: u64,
}

impl Chat {
    /// Whether `nick`, or a connection without one, may read a room and all that is in it. To all others it
    /// is as if it were not there. Nobody may read a room that is not there.
    pub fn may_read(&self, room: RoomId, nick: Option<NickId>) -> bool {
        let Some(room) = self.room(room) else {
            return false;
        };
        match room.acl.as_deref() {
            Some(acl) if acl.is_closed => self.own_form(nick).is_some_and(|form| acl.admits(form)),
            _ => true,
        }
    }

    /// Returns whether `nick` may moderate a room: its owner, its moderators or, where a room has no owner, an
    /// operator.
    pub fn may_keep(&self, room: RoomId, nick: NickId) -> bool {
        let acl = self.room(room).and_then(|room| room.acl.as_deref());
        match acl {
            Some(acl) if acl.owner.is_some() => {
                let form = self.own_form(Some(nick));
                form.is_some_and(|form| acl.is_moderator(form))
            }
            _ => self.is_operator(nick),
        }
    }

    /// Returns whether everyone may read every room.
    pub fn is_all_open(&self) -> bool {
        !self.rooms_in_order().any(|room| {
            let acl = room.acl.as_deref();
            acl.is_some_and(|acl| acl.is_closed)
        })
    }

    /// Returns the casefolded form of a nick if it is registered, so that it stands for one person.
    pub(super) fn own_form(&self, nick: Option<NickId>) -> Option<&str> {
        let holder = self.holder(nick?)?;
        self.is_registered(&holder.nick).then(|| holder.nick.form())
    }

    /// Sets the access rights of rooms from the account store, unless newer ones are known, and removes the members
    /// that may no longer read them.
    pub fn set_rights(&mut self, rooms: Vec<VersionedAcl>, now: Now) {
        for VersionedAcl {
            room: name,
            acl,
            version,
        } in rooms
        {
            let id = match self.find_room(&name) {
                Some(id) => id,
                None => self.insert_room(name),
            };
            let Some(room) = self.rooms.get_mut(id) else {
                continue;
            };
            if room.acl_version < version {
                room.acl_version = version;
                self.set_acl(id, Some(Box::new(acl)));
                self.put_out_strangers(id, now);
            }
            self.close_if_unused(id);
        }
    }

    /// Notifies the nick with the form `who`, if it is online, of an invitation to a room.
    pub fn tell_invited(&mut self, who: &str, room: &RoomName, by: NickId, now: Now) {
        let invited = Nick::parse(who).ok().and_then(|who| self.find_nick(&who));
        if let Some(invited) = invited {
            let line = format!("INVITE {room} {}", self.nick_str(by));
            self.append(Place::Nick(invited), None, now.time, None, line.as_bytes());
        }
    }

    /// Removes a nick that is no longer registered from the rights of rooms: its next owner must not inherit its
    /// invitations. Rooms that are in the account store are updated by [`Self::set_rights`].
    pub(super) fn forget_in_rooms(&mut self, nick: &Nick, now: Now) {
        let mut after = None;
        while let Some((id, _)) = self.room_after(after) {
            after = Some(id);
            let acl = self.room(id).and_then(|room| room.acl.as_ref());
            let naming = acl.filter(|acl| acl.admits(nick.form()));
            if let Some(mut acl) = naming.cloned() {
                acl.forget(nick.form());
                self.set_acl(id, Some(acl));
                self.put_out_strangers(id, now);
            }
        }
    }

    /// Removes a connection that has changed its nick from the rooms that the new nick may not read.
    pub fn put_out_renamed(&mut self, peer: PeerId, nick: NickId, rooms: &[RoomId], now: Now) {
        for room in rooms {
            if !self.may_read(*room, Some(nick)) {
                self.put_out(*room, peer, Some(nick), now);
            }
        }
    }

    fn put_out_strangers(&mut self, id: RoomId, now: Now) {
        self.has_new_rights = true;
        let Some(room) = self.room(id) else {
            return;
        };
        if !room.acl.as_ref().is_some_and(|acl| acl.is_closed) {
            return; // everyone may read the room
        }
        let members = room.members.keys();
        let holders = members.filter_map(|nick| Some((*nick, self.holder(*nick)?)));
        let nicks: BTreeMap<PeerId, NickId> = holders
            .flat_map(|(nick, holder)| holder.connections.iter().map(move |peer| (*peer, nick)))
            .collect();
        let readers = room.readers.iter();
        let readers = readers.map(|peer| (*peer, nicks.get(peer).copied()));
        let strangers: Vec<_> = readers
            .filter(|(_, nick)| !self.may_read(id, *nick))
            .collect();
        for (peer, nick) in strangers {
            self.put_out(id, peer, nick, now);
        }
    }

    fn put_out(&mut self, id: RoomId, peer: PeerId, nick: Option<NickId>, now: Now) {
        let Some(room) = self.room(id) else {
            return;
        };
        let nick_shown = nick.map_or("*", |nick| self.nick_str(nick));
        let line = format!(
            "PART {} {nick_shown} this room is closed to you now",
            room.name
        );
        let until = Until {
            seq: self.end(Place::Room(id)),
            id: room.last_id.map_or(0, EventId::get),
        };
        self.leave(id, peer, nick, "", now);
        self.order(peer, Order::Leave(id, until, line));
    }

    /// Records the owner of a new room, if its creator's nick is registered.
    pub(super) fn note_maker(&mut self, id: RoomId, nick: Option<NickId>) {
        let Some(maker) = self.own_form(nick).map(str::to_owned) else {
            return;
        };
        self.set_acl(id, Some(Box::new(RoomAcl::owned_by(&maker))));
    }

    /// Takes the rooms that have received their first message, and their owners, to be stored.
    pub fn take_made(&mut self) -> Vec<(RoomName, String)> {
        std::mem::take(&mut self.made)
    }
}
