//! Rooms: their members, their readers and their events.
//!
//! A member is a nick that others see in the room. A reader is a connection, with or without a nick, that is woken
//! when something happens in the room.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::state::{MemberChange, MemberHere, Seen};
use super::{Chat, NickId, Place, Refused, RoomId, write};
use crate::model::{Action, Now, PeerId, RoomAcl, address_prefix, millis};
use crate::protocol::{Code, Event, EventId, Nick, RoomName};
use crate::tail::Tail;

/// A room.
#[derive(Debug)]
pub struct Room {
    /// The name as its creator spelled it.
    pub name: Arc<RoomName>,
    /// The topic; may be empty.
    pub topic: Box<str>,
    /// The access list; `None` if no registered nick owns the room.
    pub acl: Option<Box<RoomAcl>>,
    /// The version of the access list; see [`crate::model::VersionedAcl`].
    pub(super) acl_version: u64,
    /// The address from which the room was created; `None` for a room that existed before the server started.
    origin: Option<IpAddr>,
    /// The files that are still being uploaded to the room.
    pub(super) live: Vec<EventId>,
    /// The id of the newest logged event.
    pub last_id: Option<EventId>,
    pub(super) tail: Tail,
    pub(super) readers: Vec<PeerId>,
    /// The number of this room's events that the log has not decided on yet. The room must exist until the log has
    /// decided on all of these events.
    pub(super) coming: usize,
}

/// The totals for the operator's metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The number of nicks that are in use or reserved.
    pub nicks: usize,
    /// The number of rooms.
    pub rooms: usize,
    /// The number of members of all rooms. A nick in two rooms counts twice.
    pub members: usize,
    /// The total size of the rooms' tails in bytes.
    pub tail_bytes: usize,
    /// The total size in bytes of the direct messages in memory.
    pub inbox_bytes: usize,
    /// The number of files.
    pub files: usize,
    /// The total size of the files in bytes.
    pub file_bytes: u64,
}

impl Room {
    /// Returns whether a user may read the room. `account` is the user's casefolded registered nick; `None` if the user
    /// has none.
    pub(super) fn admits(&self, account: Option<&str>) -> bool {
        match self.acl.as_deref() {
            Some(acl) if acl.is_closed => account.is_some_and(|form| acl.admits(form)),
            _ => true,
        }
    }

    pub(crate) fn new(name: RoomName, tail_bytes_max: usize) -> Self {
        Self {
            name: Arc::new(name),
            topic: Box::default(),
            acl: None,
            acl_version: 0,
            origin: None,
            live: Vec::new(),
            last_id: None,
            tail: Tail::new(tail_bytes_max),
            readers: Vec::new(),
            coming: 0,
        }
    }

    /// Returns the id from which a client resumes: the id of the newest logged event, or 0 if there is none.
    pub fn last_id(&self) -> u64 {
        self.last_id.map_or(0, EventId::get)
    }

    /// Returns the owner: a registered nick in casefolded form.
    fn owner(&self) -> Option<&str> {
        self.acl.as_ref()?.owner.as_deref()
    }
}

impl Chat {
    /// Returns the room with that name, if it exists.
    pub fn find_room(&self, name: &RoomName) -> Option<RoomId> {
        self.room_ids.get(name.casefolded()).copied()
    }

    /// Returns a room, if it still exists.
    pub fn room(&self, room: RoomId) -> Option<&Room> {
        self.rooms.get(room)
    }

    /// Returns the number of members of a room.
    pub fn members(&self, room: &RoomName) -> usize {
        self.state.members(room).map_or(0, BTreeMap::len)
    }

    /// Returns the lobby, the room in which clients start.
    pub fn lobby(&self) -> RoomId {
        self.lobby
    }

    /// Returns the number of rooms.
    pub fn rooms(&self) -> usize {
        self.room_order.len()
    }

    /// Returns the first room that was created after `after`; for `None`, the first of all rooms.
    pub fn room_after(&self, after: Option<RoomId>) -> Option<(RoomId, &Room)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let id = self.room_order.range((from, Unbounded)).next()?;
        Some((*id, self.rooms.get(*id)?))
    }

    /// Returns all rooms in the order of their creation.
    pub(super) fn rooms_in_order(&self) -> impl Iterator<Item = &Room> {
        self.room_order.iter().filter_map(|id| self.rooms.get(*id))
    }

    /// Returns the room named `name`, so that `nick` can join the room or send to it. Creates the room if necessary.
    ///
    /// # Errors
    /// `quota` if there are too many rooms. `not-allowed` if the nick may not enter the room, or if the room is being
    /// deleted and the log still contains its messages.
    pub fn find_or_create_room(
        &mut self,
        name: &RoomName,
        peer: PeerId,
        nick: Option<NickId>,
    ) -> Result<RoomId, Refused> {
        if let Some(room) = self.find_room(name) {
            return if self.may_read(room, nick) {
                Ok(room)
            } else {
                Err((
                    Code::NotAllowed,
                    format!(
                        "{name} is invite-only; if you are invited, log in with your registered nick"
                    ),
                ))
            };
        }
        if self.is_being_deleted(name) {
            let text = format!("{name} is being deleted; try again");
            return Err((Code::NotAllowed, text));
        }
        if self.rooms.count() >= self.limits().rooms_max {
            return Err((
                Code::Quota,
                "there are too many rooms; join an existing one (ROOMS lists them)".into(),
            ));
        }
        let origin = self.address(peer).map(address_prefix);
        let made = origin.map_or(0, |origin| self.rooms_by_origin.count(&origin));
        let most = self.limits().rooms_per_address_max();
        if made >= most {
            let text = format!(
                "{most} rooms were created from your address; join an existing one (ROOMS lists them)"
            );
            return Err((Code::Quota, text));
        }
        let owned = self
            .account_of(nick)
            .map_or(0, |owner| self.rooms_by_owner.count(owner));
        let most = self.limits().rooms_per_nick_max();
        if owned >= most {
            let text =
                format!("you own {most} rooms already; join an existing one (ROOMS lists them)");
            return Err((Code::Quota, text));
        }
        let room = self.insert_room(name.clone());
        if let Some(origin) = origin {
            self.rooms_by_origin.add(origin);
        }
        if let Some(room) = self.rooms.get_mut(room) {
            room.origin = origin;
        }
        self.record_owner(room, nick);
        Ok(room)
    }

    pub(super) fn insert_room(&mut self, name: RoomName) -> RoomId {
        let form = name.casefolded().into();
        let id = self
            .rooms
            .insert(Room::new(name, self.limits().tail_bytes_max));
        self.room_ids.insert(form, id);
        self.room_order.insert(id);
        id
    }

    /// Makes a connection a reader of a room. If the connection has a nick, the nick becomes a member.
    pub fn enter(&mut self, room_id: RoomId, peer: PeerId, nick: Option<NickId>, now: Now) {
        if let Some(room) = self.rooms.get_mut(room_id) {
            room.readers.push(peer);
        }
        match nick {
            Some(nick) => self.add_member(room_id, peer, nick, now),
            None => self.open_for(room_id, Some(peer), now),
        }
    }

    /// If several servers share the chat, makes a room exist on all of them.
    fn open_for(&mut self, room: RoomId, by: Option<PeerId>, now: Now) {
        let Some(room) = self.room(room).filter(|_| self.is_shared()) else {
            return;
        };
        let room = room.name.clone();
        if !self.state.is_open_on(&self.server, &room) {
            self.make(Action::OpenRoom { room }, by, now);
        }
    }

    /// If this server has no readers in a room that it has opened, proposes to close the room. `by` is the connection that
    /// has caused this.
    pub(super) fn close_if_unread(&mut self, room: &Arc<RoomName>, by: Option<PeerId>, now: Now) {
        let id = self.find_room(room);
        let is_read = id
            .and_then(|id| self.room(id))
            .is_some_and(|room| !room.readers.is_empty());
        if !is_read && self.state.is_open_on(&self.server, room) {
            let room = room.clone();
            self.make(Action::CloseRoom { room }, by, now);
        }
    }

    /// If this server has readers in a room that it has just closed, proposes to open the room again.
    pub(super) fn open_if_read(&mut self, room: RoomId, now: Now) {
        if self.room(room).is_some_and(|room| !room.readers.is_empty()) {
            self.open_for(room, None, now);
        }
    }

    /// Adds a nick to a room that one of its connections has joined.
    pub(super) fn add_member(&mut self, room_id: RoomId, peer: PeerId, nick: NickId, now: Now) {
        let Some((room, name)) = self.names(room_id, nick) else {
            return;
        };
        let is_first = self.connections_in(room_id, &room, nick) == 0;
        if is_first {
            let enter = Action::EnterRoom {
                room: room.clone(),
                nick: name,
            };
            self.make(enter, Some(peer), now);
        }
        self.count_joined(room_id, &room, nick, is_first);
    }

    /// Returns the names of a room and of a nick.
    pub(super) fn names(&self, room: RoomId, nick: NickId) -> Option<(Arc<RoomName>, Nick)> {
        Some((self.room(room)?.name.clone(), self.user(nick)?.nick.clone()))
    }

    /// Makes a connection leave a room. When the last connection of a nick leaves, the nick is no longer a member.
    pub fn leave(
        &mut self,
        room_id: RoomId,
        peer: PeerId,
        nick: Option<NickId>,
        text: &str,
        now: Now,
    ) {
        if let Some(nick) = nick {
            self.remove_member(room_id, peer, nick, text, now);
        }
        let Some(room) = self.rooms.get_mut(room_id) else {
            return;
        };
        if let Some(at) = room.readers.iter().position(|reader| *reader == peer) {
            room.readers.swap_remove(at);
        }
        if self.is_shared()
            && let Some(room) = self.room(room_id)
        {
            let room = room.name.clone();
            self.close_if_unread(&room, Some(peer), now);
        }
        self.close_if_unused(room_id);
    }

    pub(super) fn remove_member(
        &mut self,
        room_id: RoomId,
        peer: PeerId,
        nick: NickId,
        text: &str,
        now: Now,
    ) {
        let Some((room, name)) = self.names(room_id, nick) else {
            return;
        };
        if self.count_gone(room_id, &room, nick) {
            let leave = Action::LeaveRoom {
                room,
                nick: name,
                text: text.into(),
            };
            self.make(leave, Some(peer), now);
        }
    }

    /// Shows the readers of a room how a change affects its members. `by` is the connection that has caused the change,
    /// if the connection belongs to this server.
    pub(super) fn show_member_change(
        &mut self,
        seen: &Seen,
        text: &str,
        by: Option<PeerId>,
        now: Now,
    ) {
        let room = match self.find_room(&seen.room) {
            Some(room) => room,
            None => self.insert_room(RoomName::clone(&seen.room)),
        };
        match seen.what {
            MemberChange::Joined(nick) => self.show_joined(room, &seen.room, nick, by, now),
            MemberChange::Left(nick, member) => {
                self.announcing.remove(&(member.announce_at_ms, room, nick));
                let is_known = member.is_announced || member.is_shown;
                if is_known && self.members(&seen.room) < self.limits().announce_up_to {
                    self.append(Place::Room(room), None, now.time, by, "", |chat, line| {
                        let (room, nick) = chat.room_and_nick(room, nick);
                        let text = text.into();
                        write(&Event::Part { room, nick, text }, line)
                    });
                }
                self.close_if_unused(room);
            }
            MemberChange::Renamed { old, new } => {
                self.announce_as(room, new, old, now);
                if let Some(member) = self.state.member_mut(&seen.room, new) {
                    self.announcing.remove(&(member.announce_at_ms, room, old));
                    member.by = by.unwrap_or(PeerId::NONE);
                    member.connections = 0;
                }
                self.append(Place::Room(room), None, now.time, by, "", |chat, line| {
                    let (room, old) = chat.room_and_nick(room, old);
                    let new = chat.nick_text(new).into();
                    write(&Event::Nick { room, old, new }, line)
                });
                self.announce_away_of_renamed(room, old, new, now);
            }
        }
    }

    /// Schedules the announcement of a new member, unless the room has too many members.
    fn show_joined(
        &mut self,
        id: RoomId,
        room: &RoomName,
        nick: NickId,
        by: Option<PeerId>,
        now: Now,
    ) {
        let announce_up_to = self.limits().announce_up_to;
        let at = now.uptime + self.limits().announce_after;
        let Some(members) = self.state.members_mut(room) else {
            return;
        };
        let has_too_many = members.len() > announce_up_to;
        if let Some(member) = members.get_mut(&nick) {
            member.here.by = by.unwrap_or(PeerId::NONE);
            member.here.announce_at_ms = millis(at);
        }
        if has_too_many {
            return; // without remembering each of thousands who join at once
        }
        if at <= now.uptime {
            self.announce(id, nick, now)
        } else {
            self.announcing.insert((millis(at), id, nick));
        }
    }

    /// Records that an event for `place` has been passed to the log.
    pub fn expect(&mut self, place: Place) {
        if let Place::Room(room) = place
            && let Some(room) = self.rooms.get_mut(room)
        {
            room.coming += 1;
        }
    }

    /// Deletes a room that is not needed: an open room, other than the lobby, that has no readers, no members, and no
    /// events in the log or on the way to it.
    pub(super) fn close_if_unused(&mut self, room_id: RoomId) {
        let Some(room) = self.rooms.get(room_id) else {
            return;
        };
        let is_used = room_id == self.lobby
            || room.last_id.is_some()
            || room.acl.as_ref().is_some_and(|acl| acl.is_closed)
            || room.coming > 0
            || !room.readers.is_empty()
            || self.state.members(&room.name).is_some()
            || self.state.is_open(&room.name);
        if !is_used {
            self.take_room(room_id);
        }
    }

    /// Removes a room from all tables, and returns it.
    pub(super) fn take_room(&mut self, room_id: RoomId) -> Option<Room> {
        let room = self.rooms.remove(room_id)?;
        self.room_ids.remove(room.name.casefolded());
        self.room_order.remove(&room_id);
        self.count_tail(Place::Room(room_id), room.tail.memory(), 0);
        self.forget_entering(room_id);
        if let Some(origin) = room.origin {
            self.rooms_by_origin.remove(origin);
        }
        if let Some(owner) = room.owner() {
            self.rooms_by_owner.remove(owner.into());
        }
        Some(room)
    }

    /// Replaces the access list of a room, and counts the room for its new owner. Every change to an access list goes
    /// through this function.
    pub(super) fn set_acl(&mut self, room_id: RoomId, acl: Option<Box<RoomAcl>>) {
        let Some(room) = self.rooms.get_mut(room_id) else {
            return;
        };
        if let Some(owner) = room.owner() {
            self.rooms_by_owner.remove(owner.into());
        }
        room.acl = acl;
        if let Some(owner) = room.owner() {
            self.rooms_by_owner.add(owner.into());
        }
    }

    /// Announces `nick` in the room if the announcement is due. If the nick has left and joined again meanwhile, its
    /// new announcement is due later.
    pub(super) fn announce_due(&mut self, room_id: RoomId, nick: NickId, now: Now) {
        let member = self.member(room_id, nick);
        if member.is_some_and(|member| member.announce_at_ms <= millis(now.uptime)) {
            self.announce(room_id, nick, now);
        }
    }

    /// Returns what this server knows about a member.
    fn member(&self, room: RoomId, nick: NickId) -> Option<&MemberHere> {
        let members = self.state.members(&self.room(room)?.name)?;
        members.get(&nick).map(|member| &member.here)
    }

    /// Announces that `nick` has joined the room, unless the announcement was already made or the room has too many
    /// members.
    fn announce(&mut self, room_id: RoomId, nick: NickId, now: Now) {
        self.announce_as(room_id, nick, nick, now);
    }

    /// Announces that a member has joined the room under the nick `shown`, even if another nick has replaced it since.
    fn announce_as(&mut self, room_id: RoomId, nick: NickId, shown: NickId, now: Now) {
        let announce_up_to = self.limits().announce_up_to;
        let Some(room) = self.room(room_id).map(|room| room.name.clone()) else {
            return;
        };
        if self.members(&room) > announce_up_to {
            return;
        }
        let Some(member) = self.state.member_mut(&room, nick) else {
            return;
        };
        if !std::mem::replace(&mut member.is_announced, true) {
            let by = member.by;
            self.append(
                Place::Room(room_id),
                None,
                now.time,
                Some(by),
                "",
                |chat, line| {
                    let (room, nick) = chat.room_and_nick(room_id, shown);
                    write(&Event::Join { room, nick }, line)
                },
            );
            if self.away(shown).is_some() {
                self.announce_away(room_id, shown, by, now);
            }
        }
    }

    /// Returns whether the other members know that `nick` is in the room and the room is small enough for
    /// announcements.
    pub(super) fn is_known_in(&self, room: RoomId, nick: NickId) -> bool {
        let member = self.member(room, nick);
        let members = self.room(room).map_or(0, |room| self.members(&room.name));
        members <= self.limits().announce_up_to
            && member.is_some_and(|member| member.is_announced || member.is_shown)
    }

    /// Returns the names of a room and a nick as events contain them.
    pub(super) fn room_and_nick(&self, room: RoomId, nick: NickId) -> (Cow<'_, str>, Cow<'_, str>) {
        let room = self.place_text(Place::Room(room));
        (room.into(), self.nick_text(nick).into())
    }

    /// Returns the member that comes after `after` in the order in which nicks were taken. Marks this member as listed.
    pub fn show_member(&mut self, room: RoomId, after: Option<NickId>) -> Option<NickId> {
        let room = &self.rooms.get(room)?.name;
        let (nick, member) = self.state.members_after(room, after).next()?;
        member.is_shown = true;
        Some(nick)
    }

    /// Returns the member that comes after `after`, without marking it as listed.
    pub fn next_member(&self, room: RoomId, after: Option<NickId>) -> Option<NickId> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let members = self.state.members(&self.room(room)?.name)?;
        members
            .range((from, Unbounded))
            .next()
            .map(|(nick, _)| *nick)
    }

    /// Returns whether `nick` is a member of a room. If so, marks it as listed.
    pub fn show_member_of(&mut self, room: RoomId, nick: NickId) -> bool {
        let room = self.rooms.get(room).map(|room| &room.name);
        let member = room.and_then(|room| self.state.member_mut(room, nick));
        member.is_some_and(|member| {
            member.is_shown = true;
            true
        })
    }

    /// Returns the totals. Looks at every room.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            nicks: self.state.nicks(),
            files: self.files,
            inbox_bytes: self.inbox_bytes(),
            file_bytes: self.file_shares.bytes(),
            ..Totals::default()
        };
        for room in self.room_order.iter().filter_map(|id| self.rooms.get(*id)) {
            totals.rooms += 1;
            totals.members += self.members(&room.name);
            totals.tail_bytes += room.tail.size();
        }
        totals
    }

    /// Returns the number of files.
    pub fn files(&self) -> usize {
        self.files
    }
}
