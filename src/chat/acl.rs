//! Access to rooms: who may read, join and moderate a room, and the removal of members that may not read it.

use std::collections::{BTreeMap, HashSet};

use super::bans::{ConnectionCommand, Cutoff, Departure};
use super::room::Room;
use super::{Chat, NickId, Place, RoomId, write};
use crate::model::{DirectMessage, Now, PeerId, RoomAcl, VersionedAcl};
use crate::protocol::{Event, EventId, Nick, RoomName};

/// The place of a file.
#[derive(Clone, Debug)]
pub enum FilePlace {
    /// A room.
    Room(RoomId),
    /// The direct messages of two registered nicks.
    Inbox(Box<Correspondents>),
}

/// The two nicks of a file in direct messages.
#[derive(Clone, Debug)]
pub struct Correspondents {
    /// The nicks.
    pub message: DirectMessage,
    /// The versions of the two accounts when the transfer began; `None` for an account that has been deleted.
    versions: [Option<u64>; 2],
}

impl Chat {
    /// Returns whether `nick`, or a connection without a nick (`None`), may read the files of a place. A file of direct
    /// messages may be read by each of the two nicks. The caller has checked that the nick still has its copy.
    pub fn may_read_files(&self, place: &FilePlace, nick: Option<NickId>) -> bool {
        match place {
            FilePlace::Room(room) => self.may_read(*room, nick),
            FilePlace::Inbox(both) => {
                let DirectMessage { by, to } = &both.message;
                let account = self.account_of(nick);
                [by, to]
                    .map(|nick| Some(nick.casefolded()))
                    .contains(&account)
            }
        }
    }

    /// Returns the place of a file in the direct messages of two nicks.
    pub fn inbox_of_file(&self, message: DirectMessage) -> FilePlace {
        let versions = self.versions(&message);
        FilePlace::Inbox(Box::new(Correspondents { message, versions }))
    }

    fn versions(&self, message: &DirectMessage) -> [Option<u64>; 2] {
        [&message.by, &message.to].map(|nick| self.account_version(nick))
    }

    /// Returns whether `nick` may still send a file to a place. In direct messages, both accounts must be the same as
    /// when the upload began, because the next owner of a nick must not get the file.
    pub fn may_send_file(&self, place: &FilePlace, nick: Option<NickId>) -> bool {
        match place {
            FilePlace::Room(room) => self.may_read(*room, nick),
            FilePlace::Inbox(both) => {
                self.account_of(nick) == Some(both.message.by.casefolded())
                    && both.versions.iter().all(Option::is_some)
                    && self.versions(&both.message) == both.versions
            }
        }
    }

    /// Returns whether `nick`, or a connection without a nick (`None`), may read a room and everything in it. Returns
    /// false if the room does not exist. If a connection may not read a room, the server must behave as if the room did
    /// not exist.
    pub fn may_read(&self, room: RoomId, nick: Option<NickId>) -> bool {
        let account = self.account_of(nick);
        self.room(room).is_some_and(|room| room.admits(account))
    }

    /// Returns whether `nick` may moderate a room. The owner and the moderators may. If the room has no owner,
    /// operators may too.
    pub fn may_moderate(&self, room: RoomId, nick: NickId) -> bool {
        let acl = self.room(room).and_then(|room| room.acl.as_deref());
        match acl {
            Some(acl) if acl.owner.is_some() => {
                let form = self.account_of(Some(nick));
                form.is_some_and(|form| acl.is_moderator(form))
            }
            _ => self.is_operator(nick),
        }
    }

    /// Returns whether `nick` may mention everybody in a room at once. The owner, the moderators and operators may. If
    /// the room has no owner, every nick may.
    pub fn may_mention_everybody(&self, room: RoomId, nick: NickId) -> bool {
        let acl = self.room(room).and_then(|room| room.acl.as_deref());
        let has_owner = acl.is_some_and(|acl| acl.owner.is_some());
        !has_owner || self.may_moderate(room, nick) || self.is_operator(nick)
    }

    /// Returns the casefolded names of the rooms that `nick` may not read.
    pub fn hidden_rooms(&self, nick: Option<NickId>) -> HashSet<Box<str>> {
        let account = self.account_of(nick);
        let hidden = self.rooms_in_order().filter(|room| !room.admits(account));
        hidden.map(|room| room.name.casefolded().into()).collect()
    }

    /// Returns whether every room is open, so that everyone may read every room.
    pub fn is_all_open(&self) -> bool {
        !self.rooms_in_order().any(|room| {
            let acl = room.acl.as_deref();
            acl.is_some_and(|acl| acl.is_closed)
        })
    }

    /// Returns the casefolded form of a registered nick. Returns `None` for an unregistered nick, because such a nick
    /// does not identify a person.
    pub(super) fn account_of(&self, nick: Option<NickId>) -> Option<&str> {
        let user = self.user(nick?)?;
        self.is_registered(&user.nick)
            .then(|| user.nick.casefolded())
    }

    /// Sets access lists, unless newer lists are known. Removes connections from rooms that they may no longer read.
    pub fn set_acls(&mut self, rooms: &[VersionedAcl], now: Now) {
        for VersionedAcl {
            room: name,
            acl,
            version,
        } in rooms
        {
            let id = match self.find_room(name) {
                Some(id) => id,
                None => self.insert_room(name.clone()),
            };
            let Some(room) = self.rooms.get_mut(id) else {
                continue;
            };
            if room.acl_version < *version {
                room.acl_version = *version;
                self.set_acl(id, Some(Box::new(acl.clone())));
                self.enforce_acl(id, now);
            }
            self.close_if_unused(id);
        }
    }

    /// Tells the connections of a nick on this server that `by` has invited the nick to a room.
    pub(super) fn show_invitation(&mut self, nick: &Nick, room: &RoomName, by: &Nick, now: Now) {
        if let Some(invited) = self.find_here(nick) {
            let place = Place::Nick(invited);
            self.append(place, None, now.time, None, "", |_, line| {
                let (room, by) = (room.as_str().into(), by.as_str().into());
                write(&Event::Invite { room, by }, line)
            });
        }
    }

    /// Removes an unregistered nick from the access lists of rooms, so that the next owner of the nick does not inherit
    /// its invitations. For rooms in the account store, [`Self::set_acls`] removes the nick.
    pub(super) fn forget_in_rooms(&mut self, nick: &Nick, now: Now) {
        let mut after = None;
        while let Some((id, _)) = self.room_after(after) {
            after = Some(id);
            let acl = self.room(id).and_then(|room| room.acl.as_ref());
            let naming = acl.filter(|acl| acl.admits(nick.casefolded()));
            if let Some(mut acl) = naming.cloned() {
                acl.forget(nick.casefolded());
                self.set_acl(id, Some(acl));
                self.enforce_acl(id, now);
            }
        }
    }

    /// After a change of nick, removes the connection from each of `rooms` that the new nick may not read.
    pub(super) fn remove_renamed(
        &mut self,
        peer: PeerId,
        nick: NickId,
        rooms: &[RoomId],
        now: Now,
    ) {
        for room in rooms {
            if !self.may_read(*room, Some(nick)) {
                self.remove_reader(*room, peer, Some(nick), now);
            }
        }
    }

    fn enforce_acl(&mut self, id: RoomId, now: Now) {
        self.has_acl_changes = true;
        let Some(room) = self.room(id) else {
            return;
        };
        if !room.acl.as_ref().is_some_and(|acl| acl.is_closed) {
            return; // everyone may read the room
        }
        let mut strangers = self.readers_with_nicks(id, room);
        strangers.retain(|(_, nick)| !self.may_read(id, *nick));
        for (peer, nick) in strangers {
            self.remove_reader(id, peer, nick, now);
        }
    }

    /// Returns the readers of a room, each with its nick if it has one.
    pub(super) fn readers_with_nicks(
        &self,
        id: RoomId,
        room: &Room,
    ) -> Vec<(PeerId, Option<NickId>)> {
        let members = self.state.members(&room.name);
        let members = members.into_iter().flat_map(BTreeMap::keys).copied();
        let members = members.chain(self.entering(id));
        let users = members.filter_map(|nick| Some((nick, self.user(nick)?)));
        let nicks: BTreeMap<PeerId, NickId> = users
            .flat_map(|(nick, user)| user.here.connections.iter().map(move |peer| (*peer, nick)))
            .collect();
        let readers = room.readers.iter();
        readers
            .map(|peer| (*peer, nicks.get(peer).copied()))
            .collect()
    }

    fn remove_reader(&mut self, id: RoomId, peer: PeerId, nick: Option<NickId>, now: Now) {
        let Some(room) = self.room(id) else {
            return;
        };
        let departure = self.departure(id, room, nick, "you are not invited to this room any more");
        self.leave(id, peer, nick, "", now);
        self.send_command(peer, ConnectionCommand::Leave(departure));
    }

    /// Returns the command that makes a reader with the nick `nick` leave a room.
    pub(super) fn departure(
        &self,
        id: RoomId,
        room: &Room,
        nick: Option<NickId>,
        reason: &'static str,
    ) -> Departure {
        Departure {
            room: id,
            cutoff: Cutoff {
                seq: room.tail.end(),
                id: room.last_id.map_or(0, EventId::get),
            },
            name: room.name.clone(),
            nick: nick.map_or("*", |nick| self.nick_text(nick)).to_owned(),
            reason,
        }
    }

    /// Makes `nick` the owner of a new room, if `nick` is registered.
    pub(super) fn record_owner(&mut self, id: RoomId, nick: Option<NickId>) {
        let Some(owner) = self.account_of(nick).map(str::to_owned) else {
            return;
        };
        self.set_acl(id, Some(Box::new(RoomAcl::owned_by(&owner))));
    }

    /// Takes the list of rooms that have received their first message, with the owner of each room. The caller stores
    /// the owners.
    pub fn take_new_owners(&mut self) -> Vec<(RoomName, String)> {
        std::mem::take(&mut self.new_owners)
    }
}
