//! Nicks: each is used by one or more connections, with or without a password.

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

/// A nick that is in use, or reserved until its owner returns.
#[derive(Debug)]
pub struct Holder {
    /// The nick in its chosen spelling.
    pub nick: Nick,
    /// The SHA-256 of the password that reserves it.
    guard: Option<Box<[u8; 32]>>,
    pub(super) connections: SmallVec<[PeerId; 1]>,
    /// Its direct messages; allocated with the first one.
    pub(super) told: Option<Box<Tail>>,
    /// How far its most advanced connection has read them.
    told_to: Seq,
    /// When it is released, while nobody uses it; in milliseconds of uptime, which takes half the space of a
    /// `Duration`.
    free_at_ms: u64,
}

/// Nicks that are reserved until their owners return, counted by the address that last used each.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    /// When they are released, in milliseconds of uptime.
    due: BTreeMap<(u64, NickId), IpAddr>,
    by_origin: Tally,
}

impl Reserved {
    /// Returns when the first of them is released.
    pub fn next_ms(&self) -> Option<u64> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Removes and returns the first of them that is due.
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

/// What a connection must pass to take a nick.
#[derive(Debug, PartialEq, Eq)]
pub enum Door {
    /// Nothing that the account store knows of.
    Open,
    /// The account store must check the password.
    Guarded,
}

impl Chat {
    /// Returns what a connection that uses `current` and gives a password, or none, must pass to take `nick`.
    ///
    /// # Errors
    /// `need-password` and `nick-taken`, for a registered nick.
    pub fn door(
        &self,
        nick: &Nick,
        current: Option<NickId>,
        has_password: bool,
    ) -> Result<Door, Refused> {
        let is_own = self.is_registered(nick);
        if self.directory.looks_like_another(nick) {
            let own = self.directory.accounts.get(nick).filter(|_| is_own);
            let text = match own {
                None => format!("{nick} looks like a nick that is registered; choose another"),
                Some(own) => {
                    format!("{nick} looks like another nick that is registered; write yours {own}")
                }
            };
            return Err((Code::NickTaken, text));
        }
        if !is_own {
            return Ok(Door::Open);
        }
        let own = current.and_then(|current| self.holder(current));
        if has_password {
            Ok(Door::Guarded)
        } else if own.is_some_and(|own| own.nick.form() == nick.form()) {
            Ok(Door::Open)
        } else {
            let text = format!("{nick} is registered: NICK {nick} <password>");
            Err((Code::NeedPassword, text))
        }
    }

    /// Returns whether a nick is registered.
    pub fn is_registered(&self, nick: &Nick) -> bool {
        let account = self.directory.accounts.get(nick);
        account.is_some_and(|account| account.form() == nick.form())
    }

    /// Returns a version that changes with each registration and each change of password of that nick; `None` while it
    /// is not registered. The result of a check of its account is valid while this stays the same.
    pub fn account_version(&self, nick: &Nick) -> Option<u64> {
        let version = self.account_versions.get(nick.form()).copied();
        self.is_registered(nick)
            .then_some(version.unwrap_or_default())
    }

    /// Returns whether a nick, or one that looks like it, is reserved with a password.
    pub fn is_guarded(&self, nick: &Nick) -> bool {
        let held = self.nick_ids.get(nick);
        held.and_then(|held| self.holder(*held))
            .is_some_and(|holder| holder.guard.is_some())
    }

    /// Returns how many nicks are registered.
    pub fn accounts(&self) -> usize {
        self.directory.accounts.len()
    }

    /// Records that a nick is registered: from now on its account protects it, and no other password.
    pub fn registered(&mut self, nick: &Nick) {
        if let Some(id) = self.nick_ids.get(nick)
            && let Some(holder) = self.holders.get_mut(*id)
        {
            holder.guard = None;
        }
        self.directory.add_account(nick);
        self.account_changes += 1;
        let version = self.account_changes;
        self.account_versions.insert(nick.form().into(), version);
        self.recount_nobodys();
    }

    /// Records that a nick is no longer registered.
    pub fn unregistered(&mut self, nick: &Nick, now: Now) {
        self.directory.remove_account(nick);
        self.account_versions.remove(nick.form());
        self.recount_nobodys();
        self.forget_in_rooms(nick, now);
    }

    /// Returns the entry of a nick.
    pub fn holder(&self, nick: NickId) -> Option<&Holder> {
        self.holders.get(nick)
    }

    pub(super) fn nick_str(&self, nick: NickId) -> &str {
        self.holders
            .get(nick)
            .map_or("?", |holder| holder.nick.as_str())
    }

    /// Returns the entry of a nick that at least one connection uses.
    pub fn find_nick(&self, nick: &Nick) -> Option<NickId> {
        let id = *self.nick_ids.get(nick)?;
        let holder = self.holders.get(id)?;
        let is_here = !holder.connections.is_empty() && holder.nick.form() == nick.form();
        is_here.then_some(id)
    }

    /// Returns between whom a message from `by` to `to` (online or not) is stored; only messages between registered
    /// nicks are.
    pub fn told(&self, by: NickId, to: &Nick) -> Option<DirectMessage> {
        let by = &self.holder(by)?.nick;
        if !self.is_registered(by) || !self.is_registered(to) {
            return None;
        }
        let here = self.find_nick(to).and_then(|here| self.holder(here));
        Some(DirectMessage {
            by: by.clone(),
            to: here.map_or(to, |here| &here.nick).clone(),
        })
    }

    /// Gives `nick` to a connection that uses `current` and reads `rooms`, and announces the change. A registered nick
    /// belongs to its owner, whose password was checked as [`Self::door`] requires, however many connections use it.
    ///
    /// # Errors
    /// `nick-taken` or `bad-password`; then nothing has changed.
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
        let guard = password.map(|password| Box::new(Sha256::digest(password).into()));
        let new = match self.held_as(&nick, current)? {
            None => self.hold(nick, guard),
            Some(held) if Some(held) == current => {
                return self.keep_nick(held, peer, rooms, nick, guard, now);
            }
            Some(held) => {
                if !is_own && !self.may_share_request(peer, held, &nick, guard.is_some()) {
                    self.share(held, &nick, guard)?;
                }
                held
            }
        };
        if let Some(holder) = self.holders.get_mut(new) {
            holder.connections.push(peer);
            self.reserved.remove(holder.free_at_ms, new);
        }
        for room in rooms {
            match current {
                None => self.appear(*room, peer, new, now),
                Some(old) => self.rename_in(*room, peer, old, new, now),
            }
        }
        if let Some(old) = current {
            // The owner has deliberately changed nicks, so the old one is not reserved for a return.
            self.drop_guard(old);
            self.drop_nick(old, peer, now);
        }
        Ok(new)
    }

    /// Returns the entry that uses that nick in any spelling, or `current` if it changes to a look-alike of itself.
    fn held_as(&self, nick: &Nick, current: Option<NickId>) -> Result<Option<NickId>, Refused> {
        let mut held = None;
        for id in self.nick_ids.candidates(nick).copied() {
            let Some(holder) = self.holder(id) else {
                continue;
            };
            if holder.nick.form() == nick.form() {
                held = held.or(Some(id));
            } else if holder.nick.looks_like(nick) {
                if Some(id) != current {
                    return Err(taken(nick));
                }
                held = held.or(Some(id));
            }
        }
        Ok(held)
    }

    fn hold(&mut self, nick: Nick, guard: Option<Box<[u8; 32]>>) -> NickId {
        let id = self.holders.insert(Holder {
            nick,
            guard,
            connections: SmallVec::new(),
            told: None,
            told_to: 0,
            free_at_ms: 0,
        });
        if let Some(holder) = self.holders.get(id) {
            self.nick_ids.insert(&holder.nick, id);
        }
        id
    }

    /// Returns whether an HTTP request may share a nick that requests from the same address use, all without a
    /// password: for example two jobs that send under one name at once.
    fn may_share_request(&self, peer: PeerId, held: NickId, nick: &Nick, has_guard: bool) -> bool {
        let from = self.request_origin(peer);
        from.is_some()
            && !has_guard
            && self.holders.get(held).is_some_and(|holder| {
                let mut connections = holder.connections.iter();
                holder.guard.is_none()
                    && holder.nick.form() == nick.form()
                    && connections.all(|other| self.request_origin(*other) == from)
            })
    }

    fn request_origin(&self, peer: PeerId) -> Option<IpAddr> {
        let peer = self.peers.get(peer)?;
        peer.is_request.then(|| address_prefix(peer.address))
    }

    /// Returns whether only HTTP requests, which end soon, use that nick.
    pub fn is_used_by_requests(&self, nick: &Nick) -> bool {
        let held = self.held_as(nick, None).ok().flatten();
        let holder = held.and_then(|held| self.holders.get(held));
        holder.is_some_and(|holder| {
            let mut connections = holder.connections.iter();
            holder.guard.is_none()
                && !holder.connections.is_empty()
                && connections.all(|peer| self.request_origin(*peer).is_some())
        })
    }

    /// Checks whether a further connection may share a nick that is in use or reserved.
    fn share(
        &mut self,
        held: NickId,
        nick: &Nick,
        guard: Option<Box<[u8; 32]>>,
    ) -> Result<(), Refused> {
        let holder = self.holders.get(held).ok_or_else(|| taken(nick))?;
        let (Some(known), Some(given)) = (&holder.guard, &guard) else {
            return Err(taken(nick));
        };
        if holder.nick.form() != nick.form() {
            return Err(taken(nick));
        }
        // Digests are compared, so timing reveals nothing of the password.
        if known == given {
            Ok(())
        } else {
            Err((
                Code::BadPassword,
                format!("that is not the password that {nick} is held with"),
            ))
        }
    }

    /// Handles `NICK` with the connection's own nick: sets a first password, or changes the spelling.
    fn keep_nick(
        &mut self,
        held: NickId,
        peer: PeerId,
        rooms: &[RoomId],
        nick: Nick,
        guard: Option<Box<[u8; 32]>>,
        now: Now,
    ) -> Result<NickId, Refused> {
        let Some(holder) = self.holders.get_mut(held) else {
            return Ok(held);
        };
        match (&holder.guard, guard) {
            (Some(known), Some(given)) if *known != given => {
                return Err((
                    Code::BadPassword,
                    format!("{nick} is held with another password"),
                ));
            }
            (None, given) => holder.guard = given,
            _ => {}
        }
        if holder.nick.as_str() == nick.as_str() {
            return Ok(held);
        }
        if holder.connections.len() > 1 {
            return Err((
                Code::NickTaken,
                format!("{} is in use by another connection", holder.nick),
            ));
        }
        // A new spelling of the same nick: members see the old one replaced by the new one.
        let old = holder.nick.clone();
        let guard = holder.guard.take();
        self.nick_ids.remove(&old, &held);
        let new = self.hold(nick, guard);
        if let Some(holder) = self.holders.get_mut(new) {
            holder.connections.push(peer);
        }
        for room in rooms {
            self.rename_in(*room, peer, held, new, now);
        }
        let old = self.holders.remove(held);
        let told = old.and_then(|old| old.told).map_or(0, |told| told.memory());
        self.count_tail(Place::Nick(held), told, 0);
        Ok(new)
    }

    /// Ends a connection's use of a nick; after the last connection the nick is released, at once or when its
    /// reservation expires. Only so many nicks can be reserved.
    pub fn drop_nick(&mut self, nick: NickId, peer: PeerId, now: Now) {
        let free_at = millis(now.uptime + self.limits().guard_for);
        let origin = self.address(peer).map(address_prefix);
        let limits = &self.config.limits;
        let origin = origin.filter(|origin| self.reserved.has_space(*origin, limits));
        let Some(holder) = self.holders.get_mut(nick) else {
            return;
        };
        holder.connections.retain(|connection| *connection != peer);
        if !holder.connections.is_empty() {
            return;
        }
        let told = holder.told.take().map_or(0, |told| told.memory());
        holder.told_to = 0;
        match origin.filter(|_| holder.guard.is_some()) {
            None => self.free(nick),
            Some(origin) => {
                holder.free_at_ms = free_at;
                self.reserved.insert(free_at, nick, origin);
            }
        }
        self.count_tail(Place::Nick(nick), told, 0);
    }

    /// Drops the reservation of a nick: its owner leaves deliberately, so after its last connection it is released at
    /// once.
    pub fn drop_guard(&mut self, nick: NickId) {
        if let Some(holder) = self.holders.get_mut(nick)
            && holder.connections.len() == 1
        {
            holder.guard = None;
        }
    }

    /// Releases a nick that nobody uses.
    pub(super) fn free(&mut self, nick: NickId) {
        if let Some(holder) = self.holders.remove(nick) {
            self.nick_ids.remove(&holder.nick, &nick);
        }
    }

    /// Returns whether `nick` leaves its messages unread.
    pub fn is_busy(&self, nick: NickId) -> bool {
        let unread = self
            .holders
            .get(nick)
            .and_then(|holder| Some(holder.told.as_ref()?.bytes_from(holder.told_to)));
        let most = if self.is_full_of_told() {
            0
        } else {
            self.limits().told_bytes_max / 2
        };
        unread.is_some_and(|unread| unread > most)
    }

    /// Returns whether the inbox of `nick` has space for an unlogged line of `line_bytes` without dropping unread
    /// messages.
    pub(super) fn has_space_for_told(&self, nick: NickId, line_bytes: usize) -> bool {
        let Some(holder) = self.holders.get(nick) else {
            return false;
        };
        let is_unread = |told: &Tail| told.bytes_from(holder.told_to) > 0;
        match &holder.told {
            None => !self.is_full_of_told(),
            Some(told) if self.is_full_of_told() && is_unread(told) => false,
            Some(told) => told.has_space(holder.told_to, line_bytes),
        }
    }

    /// Records that a connection of `nick` has been sent its messages before `seq`.
    pub fn has_told(&mut self, nick: NickId, seq: Seq) {
        let Some(holder) = self.holders.get_mut(nick) else {
            return;
        };
        holder.told_to = holder.told_to.max(seq);
        // With a single reader, messages that were sent are no longer needed.
        if let (Some(told), [_]) = (&mut holder.told, &holder.connections[..]) {
            let from = told.memory();
            told.drop_before(seq);
            let to = told.memory();
            self.count_tail(Place::Nick(nick), from, to);
        }
    }

    /// Returns where a connection that takes `nick` now begins to read its messages.
    pub fn told_end(&self, nick: NickId) -> Seq {
        self.end(Place::Nick(nick))
    }
}

fn taken(nick: &Nick) -> Refused {
    let text = format!("{nick} is taken, or looks like one that is; choose another, as {nick}2");
    (Code::NickTaken, text)
}
