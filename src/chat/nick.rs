//! Who holds which nick: one nick, one or more connections, with or without a password.

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

/// A nick that is held, or kept for its owner's return.
#[derive(Debug)]
pub struct Holder {
    /// As it was chosen.
    pub nick: Nick,
    /// The SHA-256 of the password that guards it.
    guard: Option<Box<[u8; 32]>>,
    pub(super) connections: SmallVec<[PeerId; 1]>,
    /// What it was told; made when it is first told something.
    pub(super) told: Option<Box<Tail>>,
    /// How far in that its most advanced connection is.
    told_to: Seq,
    /// When it is free, while nobody uses it; in milliseconds of uptime, half of a `Duration`.
    free_at_ms: u64,
}

/// Nicks that are held for their owners' return, counted by the address that they were used from last.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    /// By when they are free, in milliseconds of uptime.
    due: BTreeMap<(u64, NickId), IpAddr>,
    by_origin: Tally,
}

impl Reserved {
    /// When the first of them is free.
    pub fn next_ms(&self) -> Option<u64> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the first of them that is free by now.
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
            && self.by_origin.count(origin) < limits.reserved_nicks_per_address_max
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

/// What stands between a connection and a nick.
#[derive(Debug, PartialEq, Eq)]
pub enum Door {
    /// Nothing that the roster knows of.
    Open,
    /// The roster must say whether the password is right.
    Guarded,
}

impl Chat {
    /// What a connection that holds `current` and gives a password, or none, needs to take `nick`.
    ///
    /// # Errors
    /// `need-password` and `nick-taken`, for one that is registered.
    pub fn door(
        &self,
        nick: &Nick,
        current: Option<NickId>,
        has_password: bool,
    ) -> Result<Door, Refused> {
        let is_own = self.is_registered(nick);
        if self.directory.looks_like_another(nick, is_own) {
            return Err((
                Code::NickTaken,
                format!("{nick} looks like a nick that is registered"),
            ));
        }
        if !is_own {
            return Ok(Door::Open);
        }
        let own = current.and_then(|current| self.holder(current));
        match has_password {
            true => Ok(Door::Guarded),
            false if own.is_some_and(|own| own.nick.form() == nick.form()) => Ok(Door::Open),
            false => Err((
                Code::NeedPassword,
                format!("{nick} is registered: NICK {nick} <password>"),
            )),
        }
    }

    /// Whether that nick is somebody's own.
    pub fn is_registered(&self, nick: &Nick) -> bool {
        let form = self.directory.accounts.get(&nick.skeleton());
        form.is_some_and(|form| **form == *nick.form())
    }

    /// Tells one account of that nick from another, and one password of it from the next; `None` while nobody
    /// has registered it. What was found out about an account holds while this stays the same.
    pub fn account_version(&self, nick: &Nick) -> Option<u64> {
        let version = self.account_versions.get(nick.form()).copied();
        self.is_registered(nick)
            .then_some(version.unwrap_or_default())
    }

    /// Whether that nick, or one that looks like it, is held with a password.
    pub fn is_guarded(&self, nick: &Nick) -> bool {
        let held = self.nick_ids.get(&nick.skeleton());
        held.and_then(|held| self.holder(*held))
            .is_some_and(|holder| holder.guard.is_some())
    }

    /// How many nicks are registered.
    pub fn accounts(&self) -> usize {
        self.directory.accounts.len()
    }

    /// A nick is somebody's own from now on: its account guards it, and no other password.
    pub fn registered(&mut self, nick: &Nick) {
        let skeleton = nick.skeleton();
        if let Some(id) = self.nick_ids.get(&skeleton)
            && let Some(holder) = self.holders.get_mut(*id)
        {
            holder.guard = None;
        }
        self.directory.add_account(nick, nick.form());
        self.account_changes += 1;
        let version = self.account_changes;
        self.account_versions.insert(nick.form().into(), version);
        self.recount_nobodys();
    }

    /// A nick is nobody's own any more.
    pub fn unregistered(&mut self, nick: &Nick, now: Now) {
        self.directory.remove_account(nick);
        self.account_versions.remove(nick.form());
        self.recount_nobodys();
        self.forget_in_rooms(nick, now);
    }

    /// A nick that is held.
    pub fn holder(&self, nick: NickId) -> Option<&Holder> {
        self.holders.get(nick)
    }

    pub(super) fn nick_str(&self, nick: NickId) -> &str {
        self.holders
            .get(nick)
            .map_or("?", |holder| holder.nick.as_str())
    }

    /// Who holds that nick, with at least one connection.
    pub fn find_nick(&self, nick: &Nick) -> Option<NickId> {
        let id = *self.nick_ids.get(&nick.skeleton())?;
        let holder = self.holders.get(id)?;
        let is_here = !holder.connections.is_empty() && holder.nick.form() == nick.form();
        is_here.then_some(id)
    }

    /// Between whom it stands what `by` tells `to`, here or not, if that is kept: between registered nicks.
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

    /// Gives `nick` to a connection that holds `current` and reads `rooms`, and announces what changes. One
    /// that is registered is its owner's ([`Self::door`] was opened), however many connections hold it.
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
            // Its owner is here and calls itself otherwise: nobody is to come back from a broken connection.
            self.drop_guard(old);
            self.drop_nick(old, peer, now);
        }
        Ok(new)
    }

    /// Who holds that nick already, in whichever spelling, or holds `current` and changes to what looks like it.
    fn held_as(&self, nick: &Nick, current: Option<NickId>) -> Result<Option<NickId>, Refused> {
        let mut held = None;
        for skeleton in nick.skeletons() {
            let Some(id) = self.nick_ids.get(&skeleton).copied() else {
                continue;
            };
            let mut holder = self.holder(id).into_iter();
            if Some(id) != current && !holder.any(|holder| holder.nick.form() == nick.form()) {
                return Err(taken(nick));
            }
            held = held.or(Some(id));
        }
        Ok(held)
    }

    fn hold(&mut self, nick: Nick, guard: Option<Box<[u8; 32]>>) -> NickId {
        let skeletons = nick.skeletons();
        let id = self.holders.insert(Holder {
            nick,
            guard,
            connections: SmallVec::new(),
            told: None,
            told_to: 0,
            free_at_ms: 0,
        });
        for skeleton in skeletons {
            self.nick_ids.entry(skeleton).or_insert(id);
        }
        id
    }

    /// Nobody finds `id` under `nick` any more.
    fn forget_name(&mut self, id: NickId, nick: &Nick) {
        for skeleton in nick.skeletons() {
            if self.nick_ids.get(&skeleton) == Some(&id) {
                self.nick_ids.remove(&skeleton);
            }
        }
    }

    /// Whether a request over HTTP may use a nick that requests from the same address use, all without a
    /// password: two jobs that say something at once, under one name.
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

    /// Whether nobody but requests over HTTP, which end soon, uses that nick.
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

    /// Whether a further connection may use a nick that is in use, or kept.
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
        // Digests are compared, so how long it takes tells nothing of the password.
        match known == given {
            true => Ok(()),
            false => Err((
                Code::BadPassword,
                format!("that is not the password that {nick} is held with"),
            )),
        }
    }

    /// `NICK` with a nick that one has: sets a first password, or changes the spelling.
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
        // Another spelling of the same nick: it goes out and comes in under the new one.
        let old = holder.nick.clone();
        let guard = holder.guard.take();
        self.forget_name(held, &old);
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

    /// A connection no longer uses a nick; with its last one it is free, at once or after the time that
    /// a password keeps it. That is only for so many nicks.
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

    /// Its owner says goodbye: with its last connection the nick is free at once, since nobody is to come
    /// back from a broken one.
    pub fn drop_guard(&mut self, nick: NickId) {
        if let Some(holder) = self.holders.get_mut(nick)
            && holder.connections.len() == 1
        {
            holder.guard = None;
        }
    }

    /// Frees a nick that nobody uses.
    pub(super) fn free(&mut self, nick: NickId) {
        if let Some(holder) = self.holders.remove(nick) {
            self.forget_name(nick, &holder.nick);
        }
    }

    /// Whether `nick` leaves what it is told unread.
    pub fn is_busy(&self, nick: NickId) -> bool {
        let unread = self
            .holders
            .get(nick)
            .and_then(|holder| Some(holder.told.as_ref()?.bytes_from(holder.told_to)));
        let most = match self.is_full_of_told() {
            true => 0,
            false => self.limits().told_bytes_max / 2,
        };
        unread.is_some_and(|unread| unread > most)
    }

    /// Returns whether `nick` can be sent a line of so many bytes that no log has, with all that it has not been sent
    /// yet staying there for it.
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

    /// A connection of `nick` has been sent what it was told before `seq`.
    pub fn has_told(&mut self, nick: NickId, seq: Seq) {
        let Some(holder) = self.holders.get_mut(nick) else {
            return;
        };
        holder.told_to = holder.told_to.max(seq);
        // With one reader, what it has got is of no use to anybody.
        if let (Some(told), [_]) = (&mut holder.told, &holder.connections[..]) {
            let from = told.memory();
            told.drop_before(seq);
            let to = told.memory();
            self.count_tail(Place::Nick(nick), from, to);
        }
    }

    /// Where a connection that takes `nick` now begins to read what that nick is told.
    pub fn told_end(&self, nick: NickId) -> Seq {
        self.end(Place::Nick(nick))
    }
}

fn taken(nick: &Nick) -> Refused {
    let text = format!("{nick} is taken, or looks like one that is; choose another, as {nick}2");
    (Code::NickTaken, text)
}
