//! Rooms: their members, their readers and their events.
//!
//! A member is a nick that others see in the room. A reader is a connection, with or without a nick, that is woken
//! when something happens in the room.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Chat, NickId, Place, Refused, RoomId, write};
use crate::model::{Now, PeerId, RoomAcl, address_prefix, millis};
use crate::protocol::{Code, Event, EventId, RoomName};
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
    /// The version of the access list; see [`crate::accounts::VersionedAcl`].
    pub(super) acl_version: u64,
    /// The address from which the room was created; `None` if it was created before the server started.
    origin: Option<IpAddr>,
    /// The files that are still being uploaded to the room.
    pub(super) live: Vec<EventId>,
    /// The id of the newest logged event.
    pub last_id: Option<EventId>,
    pub(super) tail: Tail,
    pub(super) members: BTreeMap<NickId, Member>,
    pub(super) readers: Vec<PeerId>,
    /// The number of this room's events that the log has not decided on yet. The room must exist until it has.
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
    /// The total size of direct messages in memory in bytes.
    pub inbox_bytes: usize,
    /// The number of files.
    pub files: usize,
    /// The total size of these files in bytes.
    pub file_bytes: u64,
}

/// A member: a nick in a room.
#[derive(Debug)]
pub(super) struct Member {
    /// The number of the nick's connections that are in the room.
    connections: u32,
    /// The connection that joined first. It does not receive the announcement.
    by: PeerId,
    /// The time at which the `JOIN` is to be announced, in milliseconds of uptime. That takes half the space of a
    /// `Duration`.
    announce_at_ms: u64,
    /// Whether the `JOIN` has been announced.
    is_announced: bool,
    /// Whether an answer to `WHO` has listed the member.
    is_shown: bool,
}

impl Room {
    /// Returns whether the room may be read by `account`, a registered nick in casefolded form, or by a user without
    /// one (`None`).
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
            members: BTreeMap::new(),
            readers: Vec::new(),
            coming: 0,
        }
    }

    /// Returns the id from which a client resumes: that of the newest logged event, or 0 if there is none.
    pub fn last_id(&self) -> u64 {
        self.last_id.map_or(0, EventId::get)
    }

    /// Returns the owner: a registered nick in casefolded form.
    fn owner(&self) -> Option<&str> {
        self.acl.as_ref()?.owner.as_deref()
    }

    /// Returns the number of members.
    pub fn members(&self) -> usize {
        self.members.len()
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

    /// Returns the lobby, the room in which clients start.
    pub fn lobby(&self) -> RoomId {
        self.lobby
    }

    /// Returns the number of rooms.
    pub fn rooms(&self) -> usize {
        self.room_order.len()
    }

    /// Returns the room that was created next after `after`, or the first room for `None`.
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

    /// Returns the room with that name, so that `nick` can join it or send to it. Creates the room if necessary.
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

    /// Makes a connection read a room. If the connection has a nick, the nick becomes a member.
    pub fn enter(&mut self, room_id: RoomId, peer: PeerId, nick: Option<NickId>, now: Now) {
        if let Some(room) = self.rooms.get_mut(room_id) {
            room.readers.push(peer);
        }
        if let Some(nick) = nick {
            self.add_member(room_id, peer, nick, now);
        }
    }

    /// Adds a nick to a room that one of its connections has joined, and schedules the announcement.
    pub(super) fn add_member(&mut self, room_id: RoomId, peer: PeerId, nick: NickId, now: Now) {
        let at = now.uptime + self.limits().announce_after;
        let Some(room) = self.rooms.get_mut(room_id) else {
            return;
        };
        let member = room.members.entry(nick).or_insert(Member {
            connections: 0,
            by: peer,
            announce_at_ms: millis(at),
            is_announced: false,
            is_shown: false,
        });
        member.connections += 1;
        if member.connections > 1 {
            return;
        }
        if at <= now.uptime {
            self.announce(room_id, nick, now)
        } else {
            self.announcing.insert((millis(at), room_id, nick));
        }
    }

    /// Makes a connection stop reading a room. When the last connection of a nick does so, the nick is no longer a
    /// member.
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
        self.close_if_unused(room_id);
    }

    fn remove_member(&mut self, room_id: RoomId, peer: PeerId, nick: NickId, text: &str, now: Now) {
        let announce_up_to = self.limits().announce_up_to;
        let Some(room) = self.rooms.get_mut(room_id) else {
            return;
        };
        let is_small = room.members.len() <= announce_up_to;
        let Some(member) = room.members.get_mut(&nick) else {
            return;
        };
        member.connections = member.connections.saturating_sub(1);
        if member.connections > 0 {
            return;
        }
        let is_known = member.is_announced || member.is_shown;
        self.announcing
            .remove(&(member.announce_at_ms, room_id, nick));
        room.members.remove(&nick);
        if is_known && is_small {
            self.append(
                Place::Room(room_id),
                None,
                now.time,
                Some(peer),
                "",
                |chat, line| {
                    let (room, nick) = chat.room_and_nick(room_id, nick);
                    let text = text.into();
                    write(&Event::Part { room, nick, text }, line)
                },
            );
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

    /// Deletes a room that has no readers and never had an event.
    pub(super) fn close_if_unused(&mut self, room_id: RoomId) {
        let Some(room) = self.rooms.get(room_id) else {
            return;
        };
        let is_used = room_id == self.lobby
            || room.last_id.is_some()
            || room.acl.as_ref().is_some_and(|acl| acl.is_closed)
            || room.coming > 0
            || !room.readers.is_empty();
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
        if let Some(origin) = room.origin {
            self.rooms_by_origin.remove(origin);
        }
        if let Some(owner) = room.owner() {
            self.rooms_by_owner.remove(owner.into());
        }
        Some(room)
    }

    /// Replaces the access list of a room, and counts the room for its new owner. Every change of a list goes through
    /// this function.
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

    /// Announces `nick` in the room if its time has come. If the nick has left and joined again meanwhile, its
    /// announcement is due later.
    pub(super) fn announce_due(&mut self, room_id: RoomId, nick: NickId, now: Now) {
        let member = self
            .rooms
            .get(room_id)
            .and_then(|room| room.members.get(&nick));
        if member.is_some_and(|member| member.announce_at_ms <= millis(now.uptime)) {
            self.announce(room_id, nick, now);
        }
    }

    /// Announces that `nick` has joined the room, unless this was announced before or the room has too many members.
    pub(super) fn announce(&mut self, room_id: RoomId, nick: NickId, now: Now) {
        let announce_up_to = self.limits().announce_up_to;
        let Some(room) = self.rooms.get_mut(room_id) else {
            return;
        };
        if room.members.len() > announce_up_to {
            return;
        }
        let Some(member) = room.members.get_mut(&nick) else {
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
                    let (room, nick) = chat.room_and_nick(room_id, nick);
                    write(&Event::Join { room, nick }, line)
                },
            );
            if self.away(nick).is_some() {
                self.announce_away(room_id, nick, by, now);
            }
        }
    }

    /// Returns whether the other members know that `nick` is in the room, and the room is small enough for
    /// announcements.
    pub(super) fn is_known_in(&self, room: RoomId, nick: NickId) -> bool {
        self.rooms.get(room).is_some_and(|room| {
            let is_small = room.members.len() <= self.limits().announce_up_to;
            let member = room.members.get(&nick);
            is_small && member.is_some_and(|member| member.is_announced || member.is_shown)
        })
    }

    /// Replaces the nick `old` of one connection in a room by `new`.
    pub(super) fn rename_in(
        &mut self,
        room_id: RoomId,
        peer: PeerId,
        old: NickId,
        new: NickId,
        now: Now,
    ) {
        let Some(room) = self.rooms.get(room_id) else {
            return;
        };
        let stays = room
            .members
            .get(&old)
            .is_some_and(|member| member.connections > 1);
        let is_there = room.members.contains_key(&new);
        match (stays, is_there) {
            (false, false) => {
                self.announce(room_id, old, now);
                let Some(room) = self.rooms.get_mut(room_id) else {
                    return;
                };
                if let Some(member) = room.members.remove(&old) {
                    self.announcing
                        .remove(&(member.announce_at_ms, room_id, old));
                    room.members.insert(new, Member { by: peer, ..member });
                }
                self.append(
                    Place::Room(room_id),
                    None,
                    now.time,
                    Some(peer),
                    "",
                    |chat, line| {
                        let (room, old) = chat.room_and_nick(room_id, old);
                        let new = chat.nick_text(new).into();
                        write(&Event::Nick { room, old, new }, line)
                    },
                );
            }
            (true, false) | (false, true) | (true, true) => {
                self.remove_member(room_id, peer, old, "", now);
                self.add_member(room_id, peer, new, now);
            }
        }
    }

    /// Returns the names of a room and a nick as events contain them.
    pub(super) fn room_and_nick(&self, room: RoomId, nick: NickId) -> (Cow<'_, str>, Cow<'_, str>) {
        let room = self.place_text(Place::Room(room));
        (room.into(), self.nick_text(nick).into())
    }

    /// Returns the member that comes after `after`, in the order in which nicks were taken, and marks it as listed.
    pub fn show_member(&mut self, room_id: RoomId, after: Option<NickId>) -> Option<NickId> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let room = self.rooms.get_mut(room_id)?;
        let (nick, member) = room.members.range_mut((from, Unbounded)).next()?;
        member.is_shown = true;
        Some(*nick)
    }

    /// Returns the member that comes after `after`, without marking it as listed.
    pub fn next_member(&self, room: RoomId, after: Option<NickId>) -> Option<NickId> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let members = &self.rooms.get(room)?.members;
        members
            .range((from, Unbounded))
            .next()
            .map(|(nick, _)| *nick)
    }

    /// Returns whether `nick` is a member of a room. If so, marks it as listed.
    pub fn show_member_of(&mut self, room: RoomId, nick: NickId) -> bool {
        let room = self.rooms.get_mut(room);
        let member = room.and_then(|room| room.members.get_mut(&nick));
        member.is_some_and(|member| {
            member.is_shown = true;
            true
        })
    }

    /// Returns the totals. This looks at every room.
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
            totals.members += room.members();
            totals.tail_bytes += room.tail.size();
        }
        totals
    }

    /// Returns the number of files.
    pub fn files(&self) -> usize {
        self.files
    }
}
