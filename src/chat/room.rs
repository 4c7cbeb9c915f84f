//! Rooms: who is in them, who reads them, what stands in them.
//!
//! Members are nicks, and all can see them; readers are connections, a nick's or not, which are woken.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Chat, NickId, Place, Refused, RoomId};
use crate::model::{Now, PeerId, RoomAcl, address_prefix, millis};
use crate::protocol::{Code, EventId, RoomName};
use crate::tail::Tail;

/// A room.
#[derive(Debug)]
pub struct Room {
    /// As its maker spelt it.
    pub name: Arc<RoomName>,
    /// Empty when there is none.
    pub topic: Box<str>,
    /// Whose it is and who may come in, where somebody registered made it.
    pub acl: Option<Box<RoomAcl>>,
    /// How new those are, see [`crate::roster::VersionedAcl`].
    pub(super) acl_version: u64,
    /// Where it was made from, if that was since the server started.
    origin: Option<IpAddr>,
    /// The newest logged event.
    pub last_id: Option<EventId>,
    pub(super) tail: Tail,
    pub(super) members: BTreeMap<NickId, Member>,
    pub(super) readers: Vec<PeerId>,
    /// How many things that were said here are being kept: it must be there when they are.
    pub(super) coming: usize,
}

/// How much there is of what an operator watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Nicks in use, and those held for their owners' return.
    pub nicks: usize,
    /// Rooms.
    pub rooms: usize,
    /// Members of all rooms; who is in two counts twice.
    pub members: usize,
    /// Bytes of the rooms' newest events in memory.
    pub tail_bytes: usize,
    /// Bytes of private messages in memory.
    pub told_bytes: usize,
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub file_bytes: u64,
}

/// A nick in a room.
#[derive(Debug)]
pub(super) struct Member {
    /// How many of its connections are in the room.
    connections: u32,
    /// The connection that entered first, which is not told of it.
    by: PeerId,
    /// When it will have stayed long enough to be announced, in milliseconds of uptime: half of a `Duration`.
    announce_at_ms: u64,
    /// Its `JOIN` has been announced.
    is_announced: bool,
    /// A `WHO` has shown it.
    is_shown: bool,
}

impl Room {
    pub(crate) fn new(name: RoomName, tail_bytes_max: usize) -> Self {
        Self {
            name: Arc::new(name),
            topic: Box::default(),
            acl: None,
            acl_version: 0,
            origin: None,
            last_id: None,
            tail: Tail::new(tail_bytes_max),
            members: BTreeMap::new(),
            readers: Vec::new(),
            coming: 0,
        }
    }

    /// The id to come back with: of the newest logged event, 0 when there is none.
    pub fn last_id(&self) -> u64 {
        self.last_id.map_or(0, EventId::get)
    }

    /// How many nicks are in it.
    pub fn members(&self) -> usize {
        self.members.len()
    }
}

impl Chat {
    /// The room of that name, if it exists.
    pub fn find_room(&self, name: &RoomName) -> Option<RoomId> {
        self.room_ids.get(name.form()).copied()
    }

    /// A room, unless it has gone.
    pub fn room(&self, room: RoomId) -> Option<&Room> {
        self.rooms.get(room)
    }

    /// Where a nick without a room goes.
    pub fn lobby(&self) -> RoomId {
        self.lobby
    }

    /// The first room made after `after`.
    pub fn room_after(&self, after: Option<RoomId>) -> Option<(RoomId, &Room)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let (id, ()) = self.room_order.range((from, Unbounded)).next()?;
        Some((*id, self.rooms.get(*id)?))
    }

    /// All rooms, as they were made.
    pub(super) fn rooms_in_order(&self) -> impl Iterator<Item = &Room> {
        self.room_order.keys().filter_map(|id| self.rooms.get(*id))
    }

    /// The room of that name for `nick` to enter or speak in, made now if there is none.
    ///
    /// # Errors
    /// `quota` when there are too many rooms, `not-allowed` for one that is closed to it.
    pub fn need_room(
        &mut self,
        name: &RoomName,
        peer: PeerId,
        nick: Option<NickId>,
    ) -> Result<RoomId, Refused> {
        if let Some(room) = self.find_room(name) {
            return match self.may_read(room, nick) {
                true => Ok(room),
                false => Err((
                    Code::NotAllowed,
                    format!(
                        "{name} is for those who are asked in; are you, under a registered nick?"
                    ),
                )),
            };
        }
        if self.rooms.count() >= self.limits().rooms_max {
            return Err((
                Code::Quota,
                "there are too many rooms; choose one of ROOMS".into(),
            ));
        }
        let origin = self.address(peer).map(address_prefix);
        let made = origin.map_or(0, |origin| self.rooms_by_origin.count(origin));
        let most = self.limits().rooms_per_address_max();
        if made >= most {
            let text = format!("{most} rooms were made from your address; choose one of ROOMS");
            return Err((Code::Quota, text));
        }
        let room = self.insert_room(name.clone());
        if let Some(origin) = origin {
            self.rooms_by_origin.add(origin);
        }
        if let Some(room) = self.rooms.get_mut(room) {
            room.origin = origin;
        }
        self.note_maker(room, nick);
        Ok(room)
    }

    pub(super) fn insert_room(&mut self, name: RoomName) -> RoomId {
        let form = name.form().into();
        let id = self
            .rooms
            .insert(Room::new(name, self.limits().tail_bytes_max));
        self.room_ids.insert(form, id);
        self.room_order.insert(id, ());
        id
    }

    /// A connection begins to read a room, and, if it has a nick, that nick is in it.
    pub fn enter(&mut self, room_id: RoomId, peer: PeerId, nick: Option<NickId>, now: Now) {
        if let Some(room) = self.rooms.get_mut(room_id) {
            room.readers.push(peer);
        }
        if let Some(nick) = nick {
            self.appear(room_id, peer, nick, now);
        }
    }

    /// A nick is seen in a room that one of its connections reads.
    pub(super) fn appear(&mut self, room_id: RoomId, peer: PeerId, nick: NickId, now: Now) {
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
        match at <= now.uptime {
            true => self.announce(room_id, nick, now),
            false => self.announcing.push_back((at, room_id, nick)),
        }
    }

    /// A connection stops reading a room, and its nick leaves with its last connection.
    pub fn leave(
        &mut self,
        room_id: RoomId,
        peer: PeerId,
        nick: Option<NickId>,
        text: &str,
        now: Now,
    ) {
        if let Some(nick) = nick {
            self.vanish(room_id, peer, nick, text, now);
        }
        let Some(room) = self.rooms.get_mut(room_id) else {
            return;
        };
        if let Some(at) = room.readers.iter().position(|reader| *reader == peer) {
            room.readers.swap_remove(at);
        }
        self.close_if_unused(room_id);
    }

    fn vanish(&mut self, room_id: RoomId, peer: PeerId, nick: NickId, text: &str, now: Now) {
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
        room.members.remove(&nick);
        if is_known && is_small {
            self.tell_presence(
                "PART",
                room_id,
                &[self.nick_str(nick), text].map(str::to_owned),
                Some(peer),
                now,
            );
        }
    }

    /// Something that is said in `place` is on its way to the log.
    pub fn expect(&mut self, place: Place) {
        if let Place::Room(room) = place
            && let Some(room) = self.rooms.get_mut(room)
        {
            room.coming += 1;
        }
    }

    /// A room that nobody reads and in which nothing was ever said is no room.
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
            let bytes = room.tail.memory();
            self.room_ids.remove(room.name.form());
            self.room_order.remove(&room_id);
            self.count_tail(Place::Room(room_id), bytes, 0);
            let origin = self.rooms.remove(room_id).and_then(|room| room.origin);
            if let Some(origin) = origin {
                self.rooms_by_origin.remove(origin);
            }
        }
    }

    /// Announces that `nick` is in the room, if it came long enough ago: it may have gone and come again.
    pub(super) fn announce_due(&mut self, room_id: RoomId, nick: NickId, now: Now) {
        let member = self
            .rooms
            .get(room_id)
            .and_then(|room| room.members.get(&nick));
        if member.is_some_and(|member| member.announce_at_ms <= millis(now.uptime)) {
            self.announce(room_id, nick, now);
        }
    }

    /// Announces that `nick` is in the room, unless that is done, or the room is too large for it.
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
            self.tell_presence(
                "JOIN",
                room_id,
                &[self.nick_str(nick).to_owned()],
                Some(by),
                now,
            );
        }
    }

    /// One connection that reads the room changes from nick `old` to `new`.
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
                let names = [self.nick_str(old), self.nick_str(new)].map(str::to_owned);
                let Some(room) = self.rooms.get_mut(room_id) else {
                    return;
                };
                if let Some(member) = room.members.remove(&old) {
                    room.members.insert(new, Member { by: peer, ..member });
                }
                self.tell_presence("NICK", room_id, &names, Some(peer), now);
            }
            (true, false) | (false, true) | (true, true) => {
                self.vanish(room_id, peer, old, "", now);
                self.appear(room_id, peer, new, now);
            }
        }
    }

    fn tell_presence(
        &mut self,
        verb: &str,
        room_id: RoomId,
        fields: &[String],
        author: Option<PeerId>,
        now: Now,
    ) {
        let Some(room) = self.rooms.get(room_id) else {
            return;
        };
        let mut words = vec![verb, room.name.as_str()];
        words.extend(fields.iter().map(String::as_str));
        let mut line = Vec::new();
        crate::protocol::event::words(&mut line, &words);
        self.append(Place::Room(room_id), None, now.time, author, &line);
    }

    /// The first member that came to the server after `after`, who counts as shown from now on.
    pub fn show_member(&mut self, room_id: RoomId, after: Option<NickId>) -> Option<NickId> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let room = self.rooms.get_mut(room_id)?;
        let (nick, member) = room.members.range_mut((from, Unbounded)).next()?;
        member.is_shown = true;
        Some(*nick)
    }

    /// How much there is of everything; looks at every room.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            nicks: self.holders.count(),
            files: self.files,
            told_bytes: self.told_bytes(),
            file_bytes: self.file_bytes.kept(),
            ..Totals::default()
        };
        for room in self.room_order.keys().filter_map(|id| self.rooms.get(*id)) {
            totals.rooms += 1;
            totals.members += room.members();
            totals.tail_bytes += room.tail.size();
        }
        totals
    }

    /// How many files there are.
    pub fn files(&self) -> usize {
        self.files
    }
}
