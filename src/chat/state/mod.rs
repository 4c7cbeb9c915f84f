//! The state that all servers of a chat agree on, apart from logged events: who uses which nick, in which rooms, and
//! who is registered or banned.
//!
//! [`apply`] alone decides on a [`Change`]. [`apply`] is a pure function of the state, the change, and the time at
//! which the change is applied. On a single server, [`Chat`](super::Chat) applies each change at once, and the time is
//! the server's uptime. Several servers use the time at which the log has received the change. Only a connection's own
//! server knows which nick the connection uses (`Here`, `MemberHere`). No decision depends on that.

mod checkpoint;
mod directory;
mod reserved;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use smallvec::SmallVec;

use super::Refused;
use crate::model::{
    Action, Arena, Change, Claim, Directory, FormerNick, Id, PeerId, Reserve, ServerName,
};
use crate::protocol::name::ByLook;
use crate::protocol::{Code, Nick, RoomName, Time};
use crate::tail::{Seq, Tail};
use reserved::Reserved;

/// Identifies a nick that is in use or reserved. Servers assign the same ids if they apply the same changes.
pub type NickId = Id<User>;

/// The state that servers agree on.
#[derive(Debug, Default)]
pub struct State {
    users: Arena<User>,
    /// The nicks in use or reserved. The map also finds look-alikes, so that no two of them are in use at once.
    nicks: ByLook<NickId>,
    reserved: Reserved,
    /// The members of each room, by the room's casefolded name. A room without members has no entry.
    members: HashMap<Box<str>, Members>,
    /// The rooms that servers have opened for readers without a nick, by their casefolded names.
    open: BTreeMap<Box<str>, OpenRoom>,
    /// The servers, by their numbers.
    servers: Vec<ServerName>,
    /// The accounts, rooms, bans and hooks.
    directory: Directory,
    /// The number of registrations and changes of passwords since the start.
    account_changes: u64,
    /// For each casefolded nick, the value of `account_changes` at the last change to the nick's account. A missing
    /// nick counts as 0.
    account_versions: HashMap<Box<str>, u64>,
    /// The latest time at which a change was applied, in milliseconds.
    applied_at_ms: u64,
}

/// A room that servers have opened for readers without a nick.
#[derive(Clone, Debug)]
struct OpenRoom {
    name: Arc<RoomName>,
    servers: ServerSet,
}

/// The members of a room: the nicks that others see in the room, in the order in which the nicks were taken.
pub(super) type Members = BTreeMap<NickId, Member>;

/// A nick in a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// The servers that have connections in the room under the nick.
    servers: ServerSet,
    /// What this server alone knows about the member.
    pub here: MemberHere,
}

/// What a server alone knows about a member: the server's connections, and what its readers have seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemberHere {
    /// The number of the nick's connections that are in the room.
    pub connections: u32,
    /// The connection that joined first, which does not receive the announcement.
    pub by: PeerId,
    /// The time at which the `JOIN` must be announced, in milliseconds of uptime, which take half the space of a
    /// `Duration`.
    pub announce_at_ms: u64,
    /// Whether the `JOIN` has been announced.
    pub is_announced: bool,
    /// Whether an answer to `WHO` has listed the member.
    pub is_shown: bool,
}

/// A set of servers, by their numbers. The set is a bit mask, to save memory: every nick and every member has a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ServerSet(u64);

impl ServerSet {
    fn contains(self, server: u32) -> bool {
        self.0 >> server & 1 == 1
    }

    fn add(&mut self, server: u32) {
        self.0 |= 1 << server;
    }

    fn remove(&mut self, server: u32) {
        self.0 &= !(1 << server);
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// A nick that is in use, or that is reserved until its owner returns.
#[derive(Debug)]
pub struct User {
    /// The nick as its user spelled it.
    pub nick: Nick,
    /// The SHA-256 digest of the password that reserves the nick.
    reservation: Option<Box<[u8; 32]>>,
    /// The servers that have connections of the nick. For a nick that is only reserved, the set is empty.
    servers: ServerSet,
    /// The text that others see while the user is away; `None` while the user is not away.
    away: Option<Box<str>>,
    /// What this server alone knows about the nick.
    pub(super) here: Here,
}

/// What a server alone knows about a nick: the server's connections, and their direct messages.
#[derive(Debug, Default)]
pub(super) struct Here {
    pub connections: SmallVec<[PeerId; 1]>,
    /// The direct messages; allocated with the first message.
    pub inbox: Option<Box<Tail>>,
    /// The inbox position of the connection that has read furthest.
    pub inbox_read_to: Seq,
}

/// What a change has done.
#[derive(Clone, Debug)]
pub struct Done {
    /// The nick that the change concerned. After [`Action::TakeNick`], this is the new nick.
    pub nick: NickId,
    /// The nick that nobody uses or reserves any more. Others can take the nick now. Until [`State::forget`] is called,
    /// the nick's text can still be looked up by this id, so that the release can be announced.
    pub released: Option<NickId>,
    /// What others see in rooms.
    pub(super) seen: Vec<Seen>,
}

impl Done {
    fn with(nick: NickId) -> Self {
        Self {
            nick,
            released: None,
            seen: Vec::new(),
        }
    }
}

/// What others see in a room because of a change.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The room.
    pub room: Arc<RoomName>,
    /// What has changed.
    pub what: MemberChange,
}

/// A change of a room's members.
#[derive(Clone, Copy, Debug)]
pub(super) enum MemberChange {
    /// A nick has joined.
    Joined(NickId),
    /// A nick has left.
    Left(NickId, MemberHere),
    /// A nick was replaced by another one.
    Renamed { old: NickId, new: NickId },
}

/// The maximum number of servers of a chat.
const SERVERS_MAX: usize = 64;

/// The effect of a change on a nick, or the reason why the change was refused. The effect is `None` if the change
/// concerns no nick that is in use.
pub type Outcome = Result<Option<Done>, Refused>;

/// Decides on a change, and makes the change if it is accepted. `at_ms` is the time at which the change is applied, by
/// the clock that times reservations; if it is earlier than that of an earlier change, that one counts. `time` is the
/// wall-clock time.
///
/// # Errors
/// `nick-taken` or `bad-password` for a nick that the server may not use, and `quota` if there are too many servers.
/// A refused change has no visible effect.
pub fn apply(state: &mut State, change: &Change, at_ms: u64, time: Time) -> Outcome {
    let at_ms = at_ms.max(state.applied_at_ms);
    state.applied_at_ms = at_ms;
    state.release_due(at_ms);
    let server = match &change.action {
        // These follow from what is stored, whichever server has proposed it.
        Action::AddAccount { .. }
        | Action::RemoveAccount { .. }
        | Action::AddBan(_)
        | Action::RemoveBan(_) => 0,
        _ => state.number_of(&change.server)?,
    };
    Ok(match &change.action {
        Action::TakeNick {
            nick,
            claim,
            former,
        } => Some(state.take(server, nick, claim, former.as_ref())?),
        Action::DropNick { nick, reserve } => state.find(nick).map(|id| Done {
            released: state.drop(id, server, reserve.as_ref(), at_ms),
            ..Done::with(id)
        }),
        Action::AddAccount { nick } => {
            state.add_account(nick);
            state.change_user(nick, |user| user.reservation = None)
        }
        Action::RemoveAccount { nick } => {
            state.remove_account(nick);
            state.find(nick).map(Done::with)
        }
        Action::AddBan(ban) => {
            state.add_ban(ban, time);
            None
        }
        Action::RemoveBan(target) => {
            state.remove_ban(target);
            None
        }
        Action::SetAway { nick, text, .. } => state.change_user(nick, |user| {
            user.away.clone_from(text);
        }),
        Action::EnterRoom { room, nick } => state.enter(server, room, nick),
        Action::LeaveRoom { room, nick, .. } => state.leave(server, room, nick),
        Action::DeleteRoom { room } => {
            state.members.remove(room.casefolded());
            state.open.remove(room.casefolded());
            None
        }
        Action::OpenRoom { room } => {
            state.open(server, room);
            None
        }
        Action::CloseRoom { room } => {
            state.close(server, room);
            None
        }
        // These actions change nothing that later decisions depend on. Each server shows the actions to its own
        // connections.
        Action::SetAcls(_)
        | Action::Invite { .. }
        | Action::AddHook(_)
        | Action::Revoke { .. }
        | Action::Kick { .. }
        | Action::Notify { .. }
        | Action::MoveReader { .. }
        | Action::CatchUp => None,
    })
}

impl State {
    /// Releases the nicks whose reservations have expired.
    pub fn release_due(&mut self, now_ms: u64) {
        while let Some(id) = self.reserved.pop_due(now_ms) {
            if let Some(user) = self.users.remove(id) {
                self.nicks.remove(&user.nick, &id);
            }
        }
    }

    /// Returns the time at which the next reservation expires, in milliseconds.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.reserved.next_ms()
    }

    /// Forgets a nick that was released.
    pub fn forget(&mut self, released: NickId) {
        self.users.remove(released);
    }

    /// Returns the user of a nick that is in use or reserved.
    pub fn user(&self, id: NickId) -> Option<&User> {
        self.users.get(id)
    }

    /// Returns what this server alone knows about a nick.
    pub(super) fn here_mut(&mut self, id: NickId) -> Option<&mut Here> {
        self.users.get_mut(id).map(|user| &mut user.here)
    }

    /// Returns the id of a nick that is in use or reserved.
    pub fn find(&self, nick: &Nick) -> Option<NickId> {
        let id = *self.nicks.get(nick)?;
        let user = self.users.get(id)?;
        (user.nick.casefolded() == nick.casefolded()).then_some(id)
    }

    /// Returns the nicks that might look like `nick`. A nick may appear twice. Use [`Nick::looks_like`] to decide.
    pub fn candidates(&self, nick: &Nick) -> impl Iterator<Item = (NickId, &User)> {
        let ids = self.nicks.candidates(nick);
        ids.filter_map(|id| Some((*id, self.users.get(*id)?)))
    }

    /// Returns the number of nicks that are in use or reserved.
    pub fn nicks(&self) -> usize {
        self.users.count()
    }

    /// Returns the number of nicks that are in use.
    pub fn nicks_in_use(&self) -> usize {
        self.users.count().saturating_sub(self.reserved.count())
    }

    /// Returns the user whose nick is `nick` in any spelling. If the connection's own nick `current` looks like `nick`,
    /// returns `current`.
    ///
    /// # Errors
    /// `nick-taken`, if another nick looks like `nick`.
    pub fn find_same_nick(
        &self,
        nick: &Nick,
        current: Option<NickId>,
    ) -> Result<Option<NickId>, Refused> {
        let mut existing = None;
        for (id, user) in self.candidates(nick) {
            if user.nick.casefolded() == nick.casefolded() {
                existing = existing.or(Some(id));
            } else if user.nick.looks_like(nick) {
                if Some(id) != current {
                    return Err(taken(nick));
                }
                existing = existing.or(Some(id));
            }
        }
        Ok(existing)
    }

    /// Returns whether a server uses a nick.
    pub fn is_used_on(&self, id: NickId, server: &ServerName) -> bool {
        let user = self.users.get(id);
        user.is_some_and(|user| self.has(user.servers, server))
    }

    /// Returns whether other servers than this one use a nick.
    pub fn is_used_elsewhere(&self, id: NickId, server: &ServerName) -> bool {
        let mut others = self.users.get(id).map_or(ServerSet(0), |user| user.servers);
        if let Some(number) = self.number(server) {
            others.remove(number);
        }
        !others.is_empty()
    }

    /// Returns whether a server has opened a room for readers without a nick.
    pub fn is_open(&self, room: &RoomName) -> bool {
        self.open.contains_key(room.casefolded())
    }

    /// Returns the rooms that a server has opened.
    pub fn opened_by(&self, server: &ServerName) -> Vec<Arc<RoomName>> {
        let open = self.open.values();
        let open = open.filter(|open| self.has(open.servers, server));
        open.map(|open| open.name.clone()).collect()
    }

    /// Returns whether a server has opened a room.
    pub fn is_open_on(&self, server: &ServerName, room: &RoomName) -> bool {
        let open = self.open.get(room.casefolded());
        open.is_some_and(|open| self.has(open.servers, server))
    }

    fn open(&mut self, server: u32, room: &Arc<RoomName>) {
        let open = self.open.entry(room.casefolded().into());
        let open = open.or_insert_with(|| OpenRoom {
            name: room.clone(),
            servers: ServerSet::default(),
        });
        open.servers.add(server);
    }

    fn close(&mut self, server: u32, room: &RoomName) {
        if let Some(open) = self.open.get_mut(room.casefolded()) {
            open.servers.remove(server);
            if open.servers.is_empty() {
                self.open.remove(room.casefolded());
            }
        }
    }

    /// Returns the nicks that a server uses.
    pub(super) fn users_on(&self, server: &ServerName) -> Vec<(NickId, &User)> {
        let mut users = Vec::new();
        let mut slot = 0;
        while let Some((id, user)) = self.users.from_slot(slot) {
            slot = id.slot() + 1;
            if self.is_used_on(id, server) {
                users.push((id, user));
            }
        }
        users
    }

    /// Returns the members that are in a room through a server.
    pub(super) fn members_on(
        &self,
        room: &RoomName,
        server: &ServerName,
    ) -> Vec<(NickId, MemberHere)> {
        let members = self.members(room).into_iter().flatten();
        let members = members.filter(|(_, member)| self.has(member.servers, server));
        members.map(|(nick, member)| (*nick, member.here)).collect()
    }

    fn change_user(&mut self, nick: &Nick, change: impl FnOnce(&mut User)) -> Option<Done> {
        let id = self.find(nick)?;
        change(self.users.get_mut(id)?);
        Some(Done::with(id))
    }

    /// Returns the number of a server; `None` if the server has made no change yet.
    fn number(&self, server: &ServerName) -> Option<u32> {
        let number = self.servers.iter().position(|known| known == server);
        number.map(|number| number as u32)
    }

    fn has(&self, servers: ServerSet, server: &ServerName) -> bool {
        self.number(server)
            .is_some_and(|number| servers.contains(number))
    }

    /// Returns the number of a server. A server gets its number with its first change.
    fn number_of(&mut self, server: &ServerName) -> Result<u32, Refused> {
        if let Some(number) = self.number(server) {
            return Ok(number);
        }
        let number = self.servers.len();
        if number == SERVERS_MAX {
            let text = format!("there are {SERVERS_MAX} servers already");
            return Err((Code::Quota, text));
        }
        self.servers.push(server.clone());
        Ok(number as u32)
    }

    /// Returns the members of a room; `None` if it has none.
    pub(super) fn members(&self, room: &RoomName) -> Option<&Members> {
        self.members.get(room.casefolded())
    }

    /// Returns the members of a room; `None` if it has none.
    pub(super) fn members_mut(&mut self, room: &RoomName) -> Option<&mut Members> {
        self.members.get_mut(room.casefolded())
    }

    /// Returns the members of a room that come after `after` in the order in which nicks were taken.
    pub(super) fn members_after(
        &mut self,
        room: &RoomName,
        after: Option<NickId>,
    ) -> impl Iterator<Item = (NickId, &mut MemberHere)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let members = self.members.get_mut(room.casefolded());
        let members = members.map(|members| members.range_mut((from, Unbounded)));
        let members = members.into_iter().flatten();
        members.map(|(nick, member)| (*nick, &mut member.here))
    }

    /// Returns what this server alone knows about a member.
    pub(super) fn member_mut(&mut self, room: &RoomName, nick: NickId) -> Option<&mut MemberHere> {
        Some(&mut self.members_mut(room)?.get_mut(&nick)?.here)
    }

    fn enter(&mut self, server: u32, room: &Arc<RoomName>, nick: &Nick) -> Option<Done> {
        let id = self.find(nick)?;
        let is_used = self.users.get(id)?.servers.contains(server);
        let is_new = is_used && self.add_member(server, room, id);
        let what = MemberChange::Joined(id);
        Some(Done {
            seen: seen(room, is_new.then_some(what)).into_iter().collect(),
            ..Done::with(id)
        })
    }

    fn leave(&mut self, server: u32, room: &Arc<RoomName>, nick: &Nick) -> Option<Done> {
        let id = self.find(nick)?;
        let left = self.remove_member(server, room, id);
        let what = left.map(|here| MemberChange::Left(id, here));
        Some(Done {
            seen: seen(room, what).into_iter().collect(),
            ..Done::with(id)
        })
    }

    /// Records that `server` has a connection of the nick in the room. Returns whether the nick is new in the room.
    fn add_member(&mut self, server: u32, room: &RoomName, nick: NickId) -> bool {
        let form = room.casefolded();
        let members = match self.members.get_mut(form) {
            Some(members) => members,
            None => self.members.entry(form.into()).or_default(),
        };
        let member = members.entry(nick).or_insert(Member::NEW);
        let is_new = member.servers.is_empty();
        member.servers.add(server);
        is_new
    }

    /// Records that `server` has no connection of the nick in the room any more. If no server has one any more, removes
    /// the member and returns what this server knew about the member.
    fn remove_member(&mut self, server: u32, room: &RoomName, nick: NickId) -> Option<MemberHere> {
        let members = self.members.get_mut(room.casefolded())?;
        let member = members.get_mut(&nick)?;
        member.servers.remove(server);
        if !member.servers.is_empty() {
            return None;
        }
        let here = member.here;
        members.remove(&nick);
        if members.is_empty() {
            self.members.remove(room.casefolded());
        }
        Some(here)
    }

    /// In a room, replaces the nick `old` of a server with the nick `new`. Returns the change that others see; `None`
    /// if they see none.
    fn rename_member(
        &mut self,
        server: u32,
        room: &RoomName,
        old: NickId,
        new: NickId,
    ) -> Option<MemberChange> {
        let member = self.members(room).and_then(|members| members.get(&old));
        if !member.is_some_and(|member| member.servers.contains(server)) {
            return None; // the room was deleted since the change was proposed
        }
        let left = self.remove_member(server, room, old);
        let is_new = self.add_member(server, room, new);
        match left {
            Some(left) if is_new => {
                if let Some(here) = self.member_mut(room, new) {
                    *here = left;
                }
                Some(MemberChange::Renamed { old, new })
            }
            Some(left) => Some(MemberChange::Left(old, left)),
            // The old nick stays in the room, because another server has connections there under the nick.
            None => is_new.then_some(MemberChange::Joined(new)),
        }
    }

    fn take(
        &mut self,
        server: u32,
        nick: &Nick,
        claim: &Claim,
        former: Option<&FormerNick>,
    ) -> Result<Done, Refused> {
        let former = former.and_then(|former| {
            let id = self.find(&former.nick)?;
            let is_used = self.users.get(id)?.servers.contains(server);
            is_used.then_some((id, former))
        });
        self.check_account(nick, claim)?;
        let current = former.map(|(id, _)| id);
        let new = match (self.find_same_nick(nick, current)?, former) {
            (None, _) => self.add_user(nick, claim.password()),
            (Some(existing), Some((current, former))) if existing == current => {
                return self.change_own_nick(existing, server, former, nick, claim);
            }
            (Some(existing), _) => {
                let user = self.users.get(existing);
                user.map_or(Ok(()), |user| user.check_claim(server, nick, claim))?;
                existing
            }
        };
        let away = current.and_then(|old| self.users.get(old)?.away.clone());
        if let Some(user) = self.users.get_mut(new) {
            if user.servers.is_empty() {
                user.away = away;
            }
            user.servers.add(server);
            self.reserved.remove(new);
        }
        let mut done = Done::with(new);
        if let Some((old, former)) = former {
            done.seen = self.rename_in_rooms(server, &former.rooms, old, new);
            if former.is_last {
                // The user has changed the nick deliberately, so the old nick is not reserved.
                done.released = self.drop(old, server, None, 0);
            }
        }
        Ok(done)
    }

    fn rename_in_rooms(
        &mut self,
        server: u32,
        rooms: &[Arc<RoomName>],
        old: NickId,
        new: NickId,
    ) -> Vec<Seen> {
        let rename = |room| seen(room, self.rename_member(server, room, old, new));
        rooms.iter().filter_map(rename).collect()
    }

    fn add_user(&mut self, nick: &Nick, reservation: Option<&[u8; 32]>) -> NickId {
        let id = self.users.insert(User {
            nick: nick.clone(),
            reservation: reservation.copied().map(Box::new),
            servers: ServerSet::default(),
            away: None,
            here: Here::default(),
        });
        self.nicks.insert(nick, id);
        id
    }

    /// Handles a `NICK` with the connection's own nick, which sets a first password or changes the spelling.
    fn change_own_nick(
        &mut self,
        id: NickId,
        server: u32,
        former: &FormerNick,
        nick: &Nick,
        claim: &Claim,
    ) -> Result<Done, Refused> {
        let own = Done::with(id);
        let Some(user) = self.users.get_mut(id) else {
            return Ok(own);
        };
        match (&user.reservation, claim.password()) {
            (Some(known), Some(given)) if **known != *given => {
                return Err((
                    Code::BadPassword,
                    format!("{nick} has another password already"),
                ));
            }
            (None, given) => user.reservation = given.copied().map(Box::new),
            _ => {}
        }
        if user.nick.as_str() == nick.as_str() {
            return Ok(own);
        }
        let mut others = user.servers;
        others.remove(server);
        if !former.is_last || !others.is_empty() {
            return Err((
                Code::NickTaken,
                format!("{} is in use by another connection", user.nick),
            ));
        }
        // Others see that the new spelling replaces the old one.
        let (reservation, away) = (user.reservation.take(), user.away.take());
        let servers = user.servers;
        self.nicks.remove(&user.nick, &id);
        let new = self.add_user(nick, reservation.as_deref());
        if let Some(user) = self.users.get_mut(new) {
            user.servers = servers;
            user.away = away;
        }
        Ok(Done {
            nick: new,
            released: Some(id),
            seen: self.rename_in_rooms(server, &former.rooms, id, new),
        })
    }

    /// Records that a server has no connection of a nick any more. If no other server has one either, reserves the
    /// nick, provided that `reserve` is set, a password protects the nick, and the limits allow it. Otherwise, releases
    /// the nick and returns its id.
    fn drop(
        &mut self,
        id: NickId,
        server: u32,
        reserve: Option<&Reserve>,
        at_ms: u64,
    ) -> Option<NickId> {
        let user = self.users.get_mut(id)?;
        if !user.servers.contains(server) {
            return None;
        }
        user.servers.remove(server);
        if !user.servers.is_empty() {
            return None;
        }
        let reserve = reserve.filter(|_| user.reservation.is_some());
        let Some(reserve) = reserve.filter(|reserve| self.reserved.has_space(reserve)) else {
            self.nicks.remove(&user.nick, &id);
            return Some(id);
        };
        user.away = None;
        let free_at_ms = at_ms.saturating_add(reserve.for_ms);
        self.reserved.insert(id, free_at_ms, reserve.origin);
        None
    }
}

impl User {
    /// Returns whether a server has a connection of the nick.
    pub fn is_in_use(&self) -> bool {
        !self.servers.is_empty()
    }

    /// Returns whether a password reserves the nick.
    pub fn has_reservation(&self) -> bool {
        self.reservation.is_some()
    }

    /// Returns whether the password with this digest reserves the nick.
    pub fn is_reserved_with(&self, digest: &[u8; 32]) -> bool {
        self.reservation.as_deref() == Some(digest)
    }

    /// Returns the text that others see while the user is away.
    pub fn away(&self) -> Option<&str> {
        self.away.as_deref()
    }

    /// Checks whether another connection on `server` may use `nick`. `nick` is already in use or reserved.
    fn check_claim(&self, server: u32, nick: &Nick, claim: &Claim) -> Result<(), Refused> {
        if self.nick.casefolded() != nick.casefolded() {
            return Err(taken(nick));
        }
        match (claim, &self.reservation) {
            (Claim::Account, _) => Ok(()),
            (Claim::Shared, None) if self.servers.contains(server) => Ok(()),
            // Digests are compared instead of passwords, so the duration of the comparison reveals nothing about the
            // password.
            (Claim::Password(given), Some(known)) if given == known => Ok(()),
            (Claim::Password(_), Some(_)) => {
                Err((Code::BadPassword, format!("wrong password for {nick}")))
            }
            _ => Err(taken(nick)),
        }
    }
}

impl Member {
    /// A new member. The caller then adds the member's first server.
    const NEW: Self = Self {
        servers: ServerSet(0),
        here: MemberHere {
            connections: 0,
            by: PeerId::NONE,
            announce_at_ms: 0,
            is_announced: false,
            is_shown: false,
        },
    };
}

fn seen(room: &Arc<RoomName>, what: Option<MemberChange>) -> Option<Seen> {
    let seen = |what| Seen {
        room: room.clone(),
        what,
    };
    what.map(seen)
}

fn taken(nick: &Nick) -> Refused {
    let text = format!(
        "{nick} is taken, or looks like a nick that is; choose another, for example {nick}2"
    );
    (Code::NickTaken, text)
}
