//! Nicks. One or more connections use a nick, with or without a password.

use std::collections::BTreeMap;
use std::net::IpAddr;

use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;

use super::tally::Tally;
use super::{Chat, NickId, Place, Refused, RoomId};
use crate::config::Limits;
use crate::model::{DirectMessage, Now, PeerId, address_prefix, millis};
use crate::protocol::{Code, Nick};
use crate::tail::{Seq, Tail};

/// A nick that is in use, or that is reserved until its owner returns.
#[derive(Debug)]
pub struct User {
    /// The nick as its user spelled it.
    pub nick: Nick,
    /// The SHA-256 digest of the password that reserves the nick.
    reservation: Option<Box<[u8; 32]>>,
    pub(super) connections: SmallVec<[PeerId; 1]>,
    /// The text that others see while the user is away; `None` while the user is not.
    pub(super) away: Option<Box<str>>,
    /// The direct messages; allocated with the first message.
    pub(super) inbox: Option<Box<Tail>>,
    /// The position in the inbox of the connection that has read furthest.
    inbox_read_to: Seq,
    /// The time at which the nick is released while nobody uses it, in milliseconds of uptime. That takes half the
    /// space of a `Duration`.
    free_at_ms: u64,
}

/// The nicks that are reserved until their owners return, counted for the address that last used each of them.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    /// The times at which the nicks are released, in milliseconds of uptime.
    due: BTreeMap<(u64, NickId), IpAddr>,
    by_origin: Tally,
}

impl Reserved {
    /// Returns the time at which the next nick is released.
    pub fn next_ms(&self) -> Option<u64> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Removes and returns the next nick, if its time has come.
    pub fn pop_due(&mut self, now_ms: u64) -> Option<NickId> {
        let (at, nick) = *self.due.first_key_value()?.0;
        if at > now_ms {
            return None;
        }
        self.remove(at, nick);
        Some(nick)
    }

    fn has_space(&self, origin: IpAddr, limits: &Limits) -> bool {
        self.due.len() < limits.reserved_nicks_max
            && self.by_origin.count(&origin) < limits.reserved_nicks_per_address_max
    }

    fn insert(&mut self, at: u64, nick: NickId, origin: IpAddr) {
        self.due.insert((at, nick), origin);
        self.by_origin.add(origin);
    }

    fn remove(&mut self, at: u64, nick: NickId) {
        if let Some(origin) = self.due.remove(&(at, nick)) {
            self.by_origin.remove(origin);
        }
    }
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
    /// Returns the check that a connection must pass to take `nick`. `current` is the nick that the connection uses
    /// now.
    ///
    /// # Errors
    /// `need-password` or `nick-taken`, if the nick is registered or looks like a registered one.
    pub fn nick_access(
        &self,
        nick: &Nick,
        current: Option<NickId>,
        has_password: bool,
    ) -> Result<NickAccess, Refused> {
        let is_own = self.is_registered(nick);
        if self.directory.looks_like_another(nick) {
            let own = self.directory.accounts.get(nick).filter(|_| is_own);
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
            let text = format!("{nick} is registered: NICK {nick} <password>");
            Err((Code::NeedPassword, text))
        }
    }

    /// Returns whether a nick is registered.
    pub fn is_registered(&self, nick: &Nick) -> bool {
        let account = self.directory.accounts.get(nick);
        account.is_some_and(|account| account.casefolded() == nick.casefolded())
    }

    /// Returns a number that changes whenever that nick is registered or its password is changed; `None` while the
    /// nick is not registered. The result of checking a password is valid only while this number stays the same.
    pub fn account_version(&self, nick: &Nick) -> Option<u64> {
        let version = self.account_versions.get(nick.casefolded()).copied();
        self.is_registered(nick)
            .then_some(version.unwrap_or_default())
    }

    /// Returns whether a password reserves a nick, or another nick that looks like it.
    pub fn is_reserved(&self, nick: &Nick) -> bool {
        let existing = self.nick_ids.get(nick);
        existing
            .and_then(|existing| self.user(*existing))
            .is_some_and(|user| user.reservation.is_some())
    }

    /// Returns the number of registered nicks.
    pub fn accounts(&self) -> usize {
        self.directory.accounts.len()
    }

    /// Records that a nick is registered. From now on only its account protects it, and no reservation.
    pub fn registered(&mut self, nick: &Nick) {
        if let Some(id) = self.nick_ids.get(nick)
            && let Some(user) = self.users.get_mut(*id)
        {
            user.reservation = None;
        }
        self.directory.add_account(nick);
        self.account_changes += 1;
        let version = self.account_changes;
        self.account_versions
            .insert(nick.casefolded().into(), version);
        self.recount_unowned();
    }

    /// Records that a nick is no longer registered.
    pub fn unregistered(&mut self, nick: &Nick, now: Now) {
        self.directory.remove_account(nick);
        self.hooks.unregistered(nick);
        self.account_versions.remove(nick.casefolded());
        self.recount_unowned();
        self.forget_in_rooms(nick, now);
    }

    /// Returns the user of a nick, which may be reserved only.
    pub fn user(&self, nick: NickId) -> Option<&User> {
        self.users.get(nick)
    }

    pub(super) fn nick_text(&self, nick: NickId) -> &str {
        self.users.get(nick).map_or("?", |user| user.nick.as_str())
    }

    /// Returns the id of a nick, if at least one connection uses the nick.
    pub fn find_nick(&self, nick: &Nick) -> Option<NickId> {
        let id = *self.nick_ids.get(nick)?;
        let user = self.users.get(id)?;
        let is_here = !user.connections.is_empty() && user.nick.casefolded() == nick.casefolded();
        is_here.then_some(id)
    }

    /// Returns the two nicks for a message that is stored; `None` unless `by` and `to` are both registered, since
    /// other private messages are not stored. `to` may be offline.
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

    /// Gives `nick` to a connection that uses the nick `current` and reads `rooms`, and announces the change. For a
    /// registered nick, the password must have been checked before, as [`Self::nick_access`] says; any number of
    /// connections may use such a nick.
    ///
    /// # Errors
    /// `nick-taken` or `bad-password`. Nothing changes in this case.
    pub fn take_nick(
        &mut self,
        peer: PeerId,
        current: Option<NickId>,
        rooms: &[RoomId],
        nick: Nick,
        password: Option<&str>,
        now: Now,
    ) -> Result<NickId, Refused> {
        let is_own = self.is_registered(&nick);
        let password = password.filter(|_| !is_own);
        let reservation = password.map(|password| Box::new(Sha256::digest(password).into()));
        let new = match self.find_same_nick(&nick, current)? {
            None => self.add_user(nick, reservation),
            Some(existing) if Some(existing) == current => {
                return self.change_own_nick(existing, peer, rooms, nick, reservation, now);
            }
            Some(existing) => {
                if !is_own && !self.may_share_request(peer, existing, &nick, reservation.is_some())
                {
                    self.check_reservation(existing, &nick, reservation)?;
                }
                existing
            }
        };
        let away = current.and_then(|old| self.users.get(old)?.away.clone());
        if let Some(user) = self.users.get_mut(new) {
            if user.connections.is_empty() {
                user.away = away;
            }
            user.connections.push(peer);
            self.reserved.remove(user.free_at_ms, new);
        }
        for room in rooms {
            match current {
                None => self.add_member(*room, peer, new, now),
                Some(old) => self.rename_in(*room, peer, old, new, now),
            }
        }
        if let Some(old) = current {
            // The user has changed nicks deliberately, so the old nick is not reserved.
            self.drop_reservation(old);
            self.drop_nick(old, peer, now);
        }
        self.nicks_most = self.nicks_most.max(self.nicks_in_use());
        Ok(new)
    }

    /// Returns the number of nicks that have a connection.
    pub fn nicks_in_use(&self) -> usize {
        self.users.count().saturating_sub(self.reserved.due.len())
    }

    /// Returns the largest number of nicks that have had a connection at once since the start.
    pub fn nicks_most(&self) -> usize {
        self.nicks_most
    }

    /// Returns the user whose nick is `nick` in any spelling. If a connection changes its own nick to a look-alike,
    /// returns `current`.
    fn find_same_nick(
        &self,
        nick: &Nick,
        current: Option<NickId>,
    ) -> Result<Option<NickId>, Refused> {
        let mut existing = None;
        for id in self.nick_ids.candidates(nick).copied() {
            let Some(user) = self.user(id) else {
                continue;
            };
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

    fn add_user(&mut self, nick: Nick, reservation: Option<Box<[u8; 32]>>) -> NickId {
        let id = self.users.insert(User {
            nick,
            reservation,
            connections: SmallVec::new(),
            away: None,
            inbox: None,
            inbox_read_to: 0,
            free_at_ms: 0,
        });
        if let Some(user) = self.users.get(id) {
            self.nick_ids.insert(&user.nick, id);
        }
        id
    }

    /// Returns whether an HTTP request may share a nick with other requests. They must come from the same address,
    /// and all be without a password. For example, two jobs may send under one name at the same time.
    fn may_share_request(
        &self,
        peer: PeerId,
        existing: NickId,
        nick: &Nick,
        has_password: bool,
    ) -> bool {
        let from = self.request_origin(peer);
        from.is_some()
            && !has_password
            && self.users.get(existing).is_some_and(|user| {
                let mut connections = user.connections.iter();
                user.reservation.is_none()
                    && user.nick.casefolded() == nick.casefolded()
                    && connections.all(|other| self.request_origin(*other) == from)
            })
    }

    fn request_origin(&self, peer: PeerId) -> Option<IpAddr> {
        let peer = self.peers.get(peer)?;
        peer.is_request.then(|| address_prefix(peer.address))
    }

    /// Returns whether the nick is in use by HTTP requests only. Such requests end soon.
    pub fn is_used_by_requests(&self, nick: &Nick) -> bool {
        let existing = self.find_same_nick(nick, None).ok().flatten();
        let user = existing.and_then(|existing| self.users.get(existing));
        user.is_some_and(|user| {
            let mut connections = user.connections.iter();
            user.reservation.is_none()
                && !user.connections.is_empty()
                && connections.all(|peer| self.request_origin(*peer).is_some())
        })
    }

    /// Checks whether another connection may use a nick that is in use or reserved.
    fn check_reservation(
        &mut self,
        existing: NickId,
        nick: &Nick,
        reservation: Option<Box<[u8; 32]>>,
    ) -> Result<(), Refused> {
        let user = self.users.get(existing).ok_or_else(|| taken(nick))?;
        let (Some(known), Some(given)) = (&user.reservation, &reservation) else {
            return Err(taken(nick));
        };
        if user.nick.casefolded() != nick.casefolded() {
            return Err(taken(nick));
        }
        // The digests are compared, so the time that this takes reveals nothing about the password.
        if known == given {
            Ok(())
        } else {
            Err((Code::BadPassword, format!("wrong password for {nick}")))
        }
    }

    /// Handles a `NICK` that names the connection's own nick: it sets a first password, or changes the spelling.
    fn change_own_nick(
        &mut self,
        existing: NickId,
        peer: PeerId,
        rooms: &[RoomId],
        nick: Nick,
        reservation: Option<Box<[u8; 32]>>,
        now: Now,
    ) -> Result<NickId, Refused> {
        let Some(user) = self.users.get_mut(existing) else {
            return Ok(existing);
        };
        match (&user.reservation, reservation) {
            (Some(known), Some(given)) if *known != given => {
                return Err((
                    Code::BadPassword,
                    format!("{nick} has another password already"),
                ));
            }
            (None, given) => user.reservation = given,
            _ => {}
        }
        if user.nick.as_str() == nick.as_str() {
            return Ok(existing);
        }
        if user.connections.len() > 1 {
            return Err((
                Code::NickTaken,
                format!("{} is in use by another connection", user.nick),
            ));
        }
        // The spelling changes: members see that the old nick is replaced by the new one.
        let old = user.nick.clone();
        let (reservation, away) = (user.reservation.take(), user.away.take());
        self.nick_ids.remove(&old, &existing);
        let new = self.add_user(nick, reservation);
        if let Some(user) = self.users.get_mut(new) {
            user.connections.push(peer);
            user.away = away;
        }
        for room in rooms {
            self.rename_in(*room, peer, existing, new, now);
        }
        let old = self.users.remove(existing);
        let inbox = old
            .and_then(|old| old.inbox)
            .map_or(0, |inbox| inbox.memory());
        self.count_tail(Place::Nick(existing), inbox, 0);
        Ok(new)
    }

    /// Records that a connection no longer uses a nick. After the last connection, the nick is released when its
    /// reservation expires, or at once if it has none. The number of reserved nicks is limited.
    pub fn drop_nick(&mut self, nick: NickId, peer: PeerId, now: Now) {
        let free_at = millis(now.uptime + self.limits().guard_for);
        let origin = self.address(peer).map(address_prefix);
        let limits = &self.config.limits;
        let origin = origin.filter(|origin| self.reserved.has_space(*origin, limits));
        let Some(user) = self.users.get_mut(nick) else {
            return;
        };
        user.connections.retain(|connection| *connection != peer);
        if !user.connections.is_empty() {
            return;
        }
        let inbox = user.inbox.take().map_or(0, |inbox| inbox.memory());
        user.inbox_read_to = 0;
        user.away = None;
        match origin.filter(|_| user.reservation.is_some()) {
            None => self.release_nick(nick),
            Some(origin) => {
                user.free_at_ms = free_at;
                self.reserved.insert(free_at, nick, origin);
            }
        }
        self.count_tail(Place::Nick(nick), inbox, 0);
    }

    /// Drops the reservation of a nick whose owner leaves deliberately, so that the nick is released at once after
    /// its last connection.
    pub fn drop_reservation(&mut self, nick: NickId) {
        if let Some(user) = self.users.get_mut(nick)
            && user.connections.len() == 1
        {
            user.reservation = None;
        }
    }

    /// Releases a nick that nobody uses.
    pub(super) fn release_nick(&mut self, nick: NickId) {
        if let Some(user) = self.users.remove(nick) {
            self.nick_ids.remove(&user.nick, &nick);
        }
    }

    /// Returns whether `nick` has too many unread messages, so that unlogged messages to it are refused.
    pub fn is_busy(&self, nick: NickId) -> bool {
        let unread = self
            .users
            .get(nick)
            .and_then(|user| Some(user.inbox.as_ref()?.bytes_from(user.inbox_read_to)));
        let most = if self.are_inboxes_full() {
            0
        } else {
            self.limits().inbox_bytes_max / 2
        };
        unread.is_some_and(|unread| unread > most)
    }

    /// Returns whether the inbox of `nick` has space for an unlogged line of `line_bytes` bytes, without unread
    /// messages being dropped.
    pub(super) fn has_inbox_space(&self, nick: NickId, line_bytes: usize) -> bool {
        let Some(user) = self.users.get(nick) else {
            return false;
        };
        let is_unread = |inbox: &Tail| inbox.bytes_from(user.inbox_read_to) > 0;
        match &user.inbox {
            None => !self.are_inboxes_full(),
            Some(inbox) if self.are_inboxes_full() && is_unread(inbox) => false,
            Some(inbox) => inbox.has_space(user.inbox_read_to, line_bytes),
        }
    }

    /// Records that the messages before `seq` have been sent to a connection of `nick`.
    pub fn mark_inbox_read(&mut self, nick: NickId, seq: Seq) {
        let Some(user) = self.users.get_mut(nick) else {
            return;
        };
        user.inbox_read_to = user.inbox_read_to.max(seq);
        // If there is only one connection, messages that it has received are no longer needed.
        if let (Some(inbox), [_]) = (&mut user.inbox, &user.connections[..]) {
            let from = inbox.memory();
            inbox.drop_before(seq);
            let to = inbox.memory();
            self.count_tail(Place::Nick(nick), from, to);
        }
    }

    /// Returns the position in the inbox at which a connection that takes `nick` now begins to read.
    pub fn inbox_end(&self, nick: NickId) -> Seq {
        self.end(Place::Nick(nick))
    }
}

fn taken(nick: &Nick) -> Refused {
    let text = format!(
        "{nick} is taken, or looks like a nick that is; choose another, for example {nick}2"
    );
    (Code::NickTaken, text)
}
