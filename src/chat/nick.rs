//! Nicks. One or more connections use a nick, with or without a password.

use std::net::IpAddr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::state::{NickId, User};
use super::undecided::PendingClaim;
use super::{Chat, Place, Refused, RoomId};
use crate::model::{
    Action, Claim, DirectMessage, FormerNick, Now, PeerId, Reserve, Secret, address_prefix, millis,
};
use crate::protocol::{Code, Nick, RoomName};
use crate::tail::{Seq, Tail};

/// Whether a user who drops a nick may want the nick back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// The user has left deliberately, so the nick is not reserved any longer.
    ForGood,
    /// The connection has ended, and the user may return.
    ForNow,
}

/// The check that a connection must pass before it can take a nick.
#[derive(Debug, PartialEq, Eq)]
pub enum NickAccess {
    /// The nick is not registered, so the account store checks nothing.
    Open,
    /// The account store must check the password.
    NeedsPassword,
}

impl Chat {
    /// Returns the check that a connection must pass to take `nick`. `current` is the connection's nick now.
    ///
    /// # Errors
    /// `need-password` or `nick-taken`, if `nick` is registered or looks like a registered nick.
    pub fn nick_access(
        &self,
        nick: &Nick,
        current: Option<NickId>,
        has_password: bool,
    ) -> Result<NickAccess, Refused> {
        let is_own = self.is_registered(nick);
        let directory = self.state.directory();
        if directory.looks_like_another(nick) {
            let own = directory.accounts.get(nick).filter(|_| is_own);
            let text = match own {
                None => format!("{nick} looks like a nick that is registered; choose another"),
                Some(own) => {
                    format!("{nick} looks like another registered nick; spell yours {own}")
                }
            };
            return Err((Code::NickTaken, text));
        }
        if !is_own {
            return Ok(NickAccess::Open);
        }
        let own = current.and_then(|current| self.user(current));
        if has_password {
            Ok(NickAccess::NeedsPassword)
        } else if own.is_some_and(|own| own.nick.casefolded() == nick.casefolded()) {
            Ok(NickAccess::Open)
        } else {
            let text = format!("{nick} is registered; give its password: NICK {nick} <password>");
            Err((Code::NeedPassword, text))
        }
    }

    /// Returns whether a nick is registered.
    pub fn is_registered(&self, nick: &Nick) -> bool {
        let account = self.state.directory().accounts.get(nick);
        account.is_some_and(|account| account.casefolded() == nick.casefolded())
    }

    /// Returns a number that changes whenever `nick` is registered or its password is changed; `None` while the nick is
    /// not registered. The result of a password check is valid only while this number stays the same.
    pub fn account_version(&self, nick: &Nick) -> Option<u64> {
        self.is_registered(nick)
            .then(|| self.state.account_version(nick))
    }

    /// Returns whether a password reserves a nick or a look-alike of the nick.
    pub fn is_reserved(&self, nick: &Nick) -> bool {
        let mut users = self.state.candidates(nick);
        users.any(|(_, user)| user.nick.skeleton() == nick.skeleton() && user.has_reservation())
    }

    /// Returns whether this password reserves a nick.
    pub fn is_reserved_with(&self, nick: &Nick, password: &Secret) -> bool {
        let user = self.state.find(nick).and_then(|id| self.user(id));
        user.is_some_and(|user| user.is_reserved_with(&digest(password.expose())))
    }

    /// Returns the number of registered nicks.
    pub fn accounts(&self) -> usize {
        self.state.directory().accounts.len()
    }

    /// Returns the user of a nick that is in use or reserved.
    pub fn user(&self, nick: NickId) -> Option<&User> {
        self.state.user(nick)
    }

    pub(super) fn nick_text(&self, nick: NickId) -> &str {
        self.user(nick).map_or("?", |user| user.nick.as_str())
    }

    /// Returns the id of a nick, if at least one connection uses the nick.
    pub fn find_nick(&self, nick: &Nick) -> Option<NickId> {
        let id = self.state.find(nick)?;
        self.user(id)?.is_in_use().then_some(id)
    }

    /// Returns whether connections of other servers use a nick.
    pub fn is_used_elsewhere(&self, nick: &Nick) -> bool {
        let id = self.state.find(nick);
        id.is_some_and(|id| self.state.is_used_elsewhere(id, &self.server))
    }

    /// Returns the id of a nick, if at least one connection of this server uses the nick.
    pub(super) fn find_here(&self, nick: &Nick) -> Option<NickId> {
        let id = self.find_nick(nick)?;
        let is_here = !self.user(id)?.here.connections.is_empty();
        is_here.then_some(id)
    }

    /// Returns the two nicks of a direct message if both nicks are registered. Otherwise returns `None`, because the
    /// message is not stored. `to` may be offline.
    pub fn direct_message(&self, by: NickId, to: &Nick) -> Option<DirectMessage> {
        let by = &self.user(by)?.nick;
        if !self.is_registered(by) || !self.is_registered(to) {
            return None;
        }
        let here = self.find_nick(to).and_then(|here| self.user(here));
        Some(DirectMessage {
            by: by.clone(),
            to: here.map_or(to, |here| &here.nick).clone(),
        })
    }

    /// Gives `nick` to a connection that uses the nick `current` and reads `rooms`, and announces the change. If
    /// [`Self::nick_access`] requires the password of a registered nick, the password must have been checked before.
    /// Any number of connections may use a registered nick. Returns `Ok(None)` if the change is decided on later; the
    /// connection then has a change without a ticket. After the decision, [`Self::take_claimed`] returns the result, or
    /// `None` if the connection must call this function again.
    ///
    /// # Errors
    /// `nick-taken` or `bad-password`. A refused request changes nothing.
    pub fn take_nick(
        &mut self,
        peer: PeerId,
        current: Option<NickId>,
        rooms: &[RoomId],
        nick: Nick,
        password: Option<&str>,
        now: Now,
    ) -> Result<Option<NickId>, Refused> {
        let old = current.and_then(|old| self.user(old));
        let old = old.map(|user| (user.nick.clone(), user.here.connections.len()));
        if self.wait_for_claim(peer, [Some(&nick), old.as_ref().map(|(nick, _)| nick)]) {
            return Ok(None);
        }
        let claim = self.claim(peer, current, &nick, password);
        let moved = current.map_or_else(Vec::new, |old| self.rooms_of_one(rooms, old));
        let former = old.map(|(nick, connections)| FormerNick {
            nick,
            is_last: connections == 1,
            rooms: self.room_names(&moved),
        });
        let is_later = self.undecided.is_some();
        if is_later {
            let former = former.as_ref().map(|former| former.nick.clone());
            let pending = PendingClaim {
                nick: nick.clone(),
                current,
                former,
                rooms: rooms.to_vec(),
                moved: moved.clone(),
                reserve: self.reserve(peer),
                is_lost: false,
            };
            self.remember_claim(peer, pending);
        }
        let take = Action::TakeNick {
            nick,
            claim,
            former,
        };
        let done = self.change(take, Some(peer), now)?;
        if is_later {
            return Ok(None);
        }
        // A nick that has just been taken exists.
        let new = done.map_or(NickId::NONE, |done| done.nick);
        self.nick_is_taken(peer, current, rooms, &moved, new, now);
        Ok(Some(new))
    }

    /// Moves a connection from the nick `current` to the nick `new`, which the state has already given to the
    /// connection. In the rooms `moved`, the nick `new` has already replaced the nick `current`.
    pub(super) fn nick_is_taken(
        &mut self,
        peer: PeerId,
        current: Option<NickId>,
        rooms: &[RoomId],
        moved: &[RoomId],
        new: NickId,
        now: Now,
    ) {
        if Some(new) == current {
            return;
        }
        if let Some(here) = self.state.here_mut(new) {
            here.connections.push(peer);
        }
        for room in rooms {
            match current {
                None => self.add_member(*room, peer, new, now),
                Some(old) if moved.contains(room) => self.count_renamed(*room, old, new),
                Some(old) => {
                    self.remove_member(*room, peer, old, "", now);
                    self.add_member(*room, peer, new, now);
                }
            }
        }
        if let Some(old) = current {
            self.end_use(old, peer);
        }
        self.nicks_most = self.nicks_most.max(self.nicks_in_use());
        self.remove_renamed(peer, new, rooms, now);
    }

    /// Selects from `rooms` the rooms in which only one connection of this server uses the nick.
    fn rooms_of_one(&mut self, rooms: &[RoomId], nick: NickId) -> Vec<RoomId> {
        let mut of_one = rooms.to_vec();
        of_one.retain(|room| {
            let name = self.room(*room).map(|room| room.name.clone());
            name.is_some_and(|name| self.connections_in(*room, &name, nick) == 1)
        });
        of_one
    }

    /// Returns the names of rooms.
    pub(super) fn room_names(&self, rooms: &[RoomId]) -> Vec<Arc<RoomName>> {
        let rooms = rooms.iter().filter_map(|room| self.room(*room));
        rooms.map(|room| room.name.clone()).collect()
    }

    /// Moves the count of a connection from the nick `old` to the nick `new`, which has replaced `old` in a room. The
    /// connection is the only one under its nick in the room.
    fn count_renamed(&mut self, room: RoomId, old: NickId, new: NickId) {
        let Some(room) = self.rooms.get(room).map(|room| &room.name) else {
            return;
        };
        if let Some(member) = self.state.member_mut(room, old) {
            member.connections = 0;
        }
        if let Some(member) = self.state.member_mut(room, new) {
            member.connections += 1;
        }
    }

    /// Returns the claim with which a connection may ask for a nick.
    fn claim(
        &self,
        peer: PeerId,
        current: Option<NickId>,
        nick: &Nick,
        password: Option<&str>,
    ) -> Claim {
        if self.is_registered(nick) {
            return Claim::Account;
        }
        if let Some(password) = password {
            return Claim::Password(Box::new(digest(password)));
        }
        let existing = self.state.find_same_nick(nick, current).ok().flatten();
        let user = existing.and_then(|existing| self.user(existing));
        if user.is_some_and(|user| self.may_share_request(peer, user)) {
            Claim::Shared
        } else {
            Claim::Free
        }
    }

    /// Returns the number of nicks that have a connection.
    pub fn nicks_in_use(&self) -> usize {
        self.state.nicks_in_use()
    }

    /// Returns the largest number of nicks that have had connections at the same time since the start.
    pub fn nicks_most(&self) -> usize {
        self.nicks_most
    }

    /// Returns whether an HTTP request may share a nick with other requests. All of the requests must come from the
    /// same address and have no password. For example, two jobs may send under one nick at the same time.
    fn may_share_request(&self, peer: PeerId, user: &User) -> bool {
        let from = self.request_origin(peer);
        let mut connections = user.here.connections.iter();
        from.is_some()
            && !user.has_reservation()
            && connections.all(|other| self.request_origin(*other) == from)
    }

    fn request_origin(&self, peer: PeerId) -> Option<IpAddr> {
        let peer = self.peers.get(peer)?;
        peer.is_request.then(|| address_prefix(peer.address))
    }

    /// Returns whether only HTTP requests, which end soon, use the nick.
    pub fn is_used_by_requests(&self, nick: &Nick) -> bool {
        let existing = self.state.find_same_nick(nick, None).ok().flatten();
        let user = existing.and_then(|existing| self.user(existing));
        user.is_some_and(|user| {
            let mut connections = user.here.connections.iter();
            !user.has_reservation()
                && !user.here.connections.is_empty()
                && connections.all(|peer| self.request_origin(*peer).is_some())
        })
    }

    /// Records that a connection no longer uses a nick. If this was the last connection, the nick is released when its
    /// reservation expires. A nick is released at once if it has no reservation, if the user leaves for good, or if too
    /// many nicks are reserved.
    pub fn drop_nick(&mut self, id: NickId, peer: PeerId, leaves: Leaves, now: Now) {
        let reserve = self.reserve(peer).filter(|_| leaves == Leaves::ForNow);
        self.end_use(id, peer);
        let Some(user) = self.user(id) else {
            return;
        };
        let nick = user.nick.clone();
        // If another connection is about to take the nick, its claim must be decided on first.
        if user.here.connections.is_empty() && !self.is_claimed(&nick) {
            self.make(Action::DropNick { nick, reserve }, Some(peer), now);
        }
    }

    /// Returns how the nick of a connection is reserved when the connection ends.
    fn reserve(&self, peer: PeerId) -> Option<Reserve> {
        let limits = self.limits();
        Some(Reserve {
            for_ms: millis(limits.guard_for),
            origin: self.address(peer).map(address_prefix)?,
            nicks_max: limits.reserved_nicks_max,
            nicks_per_address_max: limits.reserved_nicks_per_address_max,
        })
    }

    /// Removes a connection of a nick. After the last connection, drops the nick's direct messages.
    fn end_use(&mut self, nick: NickId, peer: PeerId) {
        let Some(here) = self.state.here_mut(nick) else {
            return;
        };
        here.connections.retain(|connection| *connection != peer);
        if here.connections.is_empty() {
            self.drop_inbox(nick);
        }
    }

    pub(super) fn drop_inbox(&mut self, nick: NickId) {
        if let Some(here) = self.state.here_mut(nick) {
            here.inbox_read_to = 0;
            let inbox = here.inbox.take().map_or(0, |inbox| inbox.memory());
            self.count_tail(Place::Nick(nick), inbox, 0);
        }
    }

    /// Returns whether `nick` has so many unread messages that unlogged messages to it are refused.
    pub fn is_busy(&self, nick: NickId) -> bool {
        let here = self.user(nick).map(|user| &user.here);
        let unread =
            here.and_then(|here| Some(here.inbox.as_ref()?.bytes_from(here.inbox_read_to)));
        let most = if self.are_inboxes_full() {
            0
        } else {
            self.limits().inbox_bytes_max / 2
        };
        unread.is_some_and(|unread| unread > most)
    }

    /// Returns whether the inbox of `nick` has space for an unlogged line of `line_bytes` bytes without dropping unread
    /// messages.
    pub(super) fn has_inbox_space(&self, nick: NickId, line_bytes: usize) -> bool {
        let Some(here) = self.user(nick).map(|user| &user.here) else {
            return false;
        };
        let is_unread = |inbox: &Tail| inbox.bytes_from(here.inbox_read_to) > 0;
        match &here.inbox {
            None => !self.are_inboxes_full(),
            Some(inbox) if self.are_inboxes_full() && is_unread(inbox) => false,
            Some(inbox) => inbox.has_space(here.inbox_read_to, line_bytes),
        }
    }

    /// Records that the messages before `seq` have been sent to a connection of `nick`.
    pub fn mark_inbox_read(&mut self, nick: NickId, seq: Seq) {
        let Some(here) = self.state.here_mut(nick) else {
            return;
        };
        here.inbox_read_to = here.inbox_read_to.max(seq);
        // If the nick has only one connection, messages that this connection has received are no longer needed.
        if let (Some(inbox), [_]) = (&mut here.inbox, &here.connections[..]) {
            let from = inbox.memory();
            inbox.drop_before(seq);
            let to = inbox.memory();
            self.count_tail(Place::Nick(nick), from, to);
        }
    }

    /// Returns the inbox position from which a connection reads if it takes `nick` now.
    pub fn inbox_end(&self, nick: NickId) -> Seq {
        self.end(Place::Nick(nick))
    }
}

fn digest(password: &str) -> [u8; 32] {
    Sha256::digest(password).into()
}
