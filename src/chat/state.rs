//! What all servers of a chat agree on, apart from logged events: who uses which nick.
//!
//! [`apply`] alone decides on a [`Change`]. It is a pure function of the state, the change, and the time at which the
//! change is applied. With one server, [`Chat`](super::Chat) applies its changes at once, under its lock, and the time
//! is the server's uptime. The connections of a nick are the business of the server that has them ([`Here`]);
//! decisions do not depend on them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use smallvec::SmallVec;

use super::Refused;
use super::tally::Tally;
use crate::model::{Action, Arena, Change, Claim, FormerNick, Id, PeerId, Reserve, ServerName};
use crate::protocol::name::ByLook;
use crate::protocol::{Code, Nick};
use crate::tail::{Seq, Tail};

/// Identifies a nick that is in use or reserved. Servers that apply the same changes give the same ids.
pub type NickId = Id<User>;

/// The state that servers agree on.
#[derive(Debug, Default)]
pub struct State {
    users: Arena<User>,
    /// The nicks in use or reserved. The map also finds look-alikes, so that two of them cannot be in use at once.
    nicks: ByLook<NickId>,
    reserved: Reserved,
}

/// A nick that is in use, or that is reserved until its owner returns.
#[derive(Debug)]
pub struct User {
    /// The nick as its user spelled it.
    pub nick: Nick,
    /// The SHA-256 digest of the password that reserves the nick.
    reservation: Option<Box<[u8; 32]>>,
    /// The servers that have connections of the nick. There are none while the nick is only reserved.
    servers: SmallVec<[ServerName; 1]>,
    /// The text that others see while the user is away; `None` while the user is not.
    away: Option<Box<str>>,
    /// The time at which the nick becomes free while nobody uses it, in milliseconds. That takes half the space of a
    /// `Duration`.
    free_at_ms: u64,
    /// What this server alone knows about the nick.
    pub(super) here: Here,
}

/// What a server alone knows about a nick: its own connections, and their direct messages.
#[derive(Debug, Default)]
pub(super) struct Here {
    pub connections: SmallVec<[PeerId; 1]>,
    /// The direct messages; allocated with the first message.
    pub inbox: Option<Box<Tail>>,
    /// The position in the inbox of the connection that has read furthest.
    pub inbox_read_to: Seq,
}

/// What a change has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The nick that the change was about. After [`Action::TakeNick`], it is the nick that was taken.
    pub nick: NickId,
    /// The nick that nobody uses or reserves any more. Others can take it now. Its name can still be looked up with
    /// this id, so that it can be announced, until [`State::forget`] is called.
    pub released: Option<NickId>,
}

/// What a change has done; `None` if nothing, because the nick is not in use. Or the reason why it was refused.
pub type Outcome = Result<Option<Done>, Refused>;

/// Decides on a change and makes it. `at_ms` is the time at which the change is applied, in milliseconds. It must not
/// be before that of an earlier change.
///
/// # Errors
/// `nick-taken` or `bad-password` for a nick that the server may not use. Nothing visible changes in this case.
pub fn apply(state: &mut State, change: &Change, at_ms: u64) -> Outcome {
    state.release_due(at_ms);
    let server = &change.server;
    match &change.action {
        Action::TakeNick {
            nick,
            claim,
            former,
        } => state.take(server, nick, claim, former.as_ref()).map(Some),
        Action::DropNick { nick, reserve } => Ok(state.find(nick).map(|id| Done {
            nick: id,
            released: state.drop(id, server, reserve.as_ref(), at_ms),
        })),
        Action::EndReservation { nick } => Ok(state.change_user(nick, |user| {
            user.reservation = None;
        })),
        Action::SetAway { nick, text } => Ok(state.change_user(nick, |user| {
            user.away.clone_from(text);
        })),
    }
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
    pub fn forget(&mut self, released: Option<NickId>) {
        if let Some(released) = released {
            self.users.remove(released);
        }
    }

    /// Returns the user of a nick, which may be reserved only.
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

    /// Returns the nicks that might look like `nick`, some of them twice. Use [`Nick::looks_like`] to decide.
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
        self.users.count().saturating_sub(self.reserved.due.len())
    }

    /// Returns the user whose nick is `nick` in any spelling. If a connection changes its own nick to a look-alike,
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

    fn change_user(&mut self, nick: &Nick, change: impl FnOnce(&mut User)) -> Option<Done> {
        let id = self.find(nick)?;
        change(self.users.get_mut(id)?);
        Some(Done {
            nick: id,
            released: None,
        })
    }

    fn take(
        &mut self,
        server: &ServerName,
        nick: &Nick,
        claim: &Claim,
        former: Option<&FormerNick>,
    ) -> Result<Done, Refused> {
        let former = former.and_then(|former| {
            let id = self.find(&former.nick)?;
            let is_used = self.users.get(id)?.servers.contains(server);
            is_used.then_some((id, former.is_last))
        });
        let current = former.map(|(id, _)| id);
        let new = match (self.find_same_nick(nick, current)?, former) {
            (None, _) => self.add_user(nick, claim.password()),
            (Some(existing), Some((current, is_last))) if existing == current => {
                return self.change_own_nick(existing, server, is_last, nick, claim);
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
            if !user.servers.contains(server) {
                user.servers.push(server.clone());
            }
            self.reserved.remove(user.free_at_ms, new);
        }
        let given_up = former.filter(|(_, is_last)| *is_last);
        Ok(Done {
            nick: new,
            // The user has changed nicks deliberately, so the old nick is not reserved.
            released: given_up.and_then(|(old, _)| self.drop(old, server, None, 0)),
        })
    }

    fn add_user(&mut self, nick: &Nick, reservation: Option<&[u8; 32]>) -> NickId {
        let id = self.users.insert(User {
            nick: nick.clone(),
            reservation: reservation.copied().map(Box::new),
            servers: SmallVec::new(),
            away: None,
            free_at_ms: 0,
            here: Here::default(),
        });
        self.nicks.insert(nick, id);
        id
    }

    /// Handles a change from a nick to itself: it sets a first password, or changes the spelling.
    fn change_own_nick(
        &mut self,
        id: NickId,
        server: &ServerName,
        is_last: bool,
        nick: &Nick,
        claim: &Claim,
    ) -> Result<Done, Refused> {
        let own = Done {
            nick: id,
            released: None,
        };
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
        if !is_last || user.servers.iter().any(|other| other != server) {
            return Err((
                Code::NickTaken,
                format!("{} is in use by another connection", user.nick),
            ));
        }
        // Others see that the old spelling is replaced by the new one.
        let (reservation, away) = (user.reservation.take(), user.away.take());
        let servers = std::mem::take(&mut user.servers);
        self.nicks.remove(&user.nick, &id);
        let new = self.add_user(nick, reservation.as_deref());
        if let Some(user) = self.users.get_mut(new) {
            user.servers = servers;
            user.away = away;
        }
        Ok(Done {
            nick: new,
            released: Some(id),
        })
    }

    /// Records that a server has no connection of a nick any more. After the last server, the nick is reserved if
    /// that is wanted and a password reserves it; otherwise it is released, and its id is returned.
    fn drop(
        &mut self,
        id: NickId,
        server: &ServerName,
        reserve: Option<&Reserve>,
        at_ms: u64,
    ) -> Option<NickId> {
        let user = self.users.get_mut(id)?;
        let at = user.servers.iter().position(|known| known == server)?;
        user.servers.swap_remove(at);
        if !user.servers.is_empty() {
            return None;
        }
        let reserve = reserve.filter(|_| user.reservation.is_some());
        let Some(reserve) = reserve.filter(|reserve| self.reserved.has_space(reserve)) else {
            self.nicks.remove(&user.nick, &id);
            return Some(id);
        };
        user.away = None;
        user.free_at_ms = at_ms.saturating_add(reserve.for_ms);
        self.reserved.insert(user.free_at_ms, id, reserve.origin);
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

    /// Returns the text that others see while the user is away.
    pub fn away(&self) -> Option<&str> {
        self.away.as_deref()
    }

    /// Checks whether another connection, of that server, may use the nick, which is in use or reserved.
    fn check_claim(&self, server: &ServerName, nick: &Nick, claim: &Claim) -> Result<(), Refused> {
        if self.nick.casefolded() != nick.casefolded() {
            return Err(taken(nick));
        }
        match (claim, &self.reservation) {
            (Claim::Account, _) => Ok(()),
            (Claim::Shared, None) if self.servers.contains(server) => Ok(()),
            // The digests are compared, so the time that this takes reveals nothing about the password.
            (Claim::Password(given), Some(known)) if given == known => Ok(()),
            (Claim::Password(_), Some(_)) => {
                Err((Code::BadPassword, format!("wrong password for {nick}")))
            }
            _ => Err(taken(nick)),
        }
    }
}

/// The nicks that are reserved until their owners return, counted for the address that last used each of them.
#[derive(Debug, Default)]
struct Reserved {
    /// The times at which the nicks are released, in milliseconds.
    due: BTreeMap<(u64, NickId), IpAddr>,
    by_origin: Tally,
}

impl Reserved {
    /// Returns the time at which the next nick is released.
    fn next_ms(&self) -> Option<u64> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Removes and returns the next nick, if its time has come.
    fn pop_due(&mut self, now_ms: u64) -> Option<NickId> {
        let (at, nick) = *self.due.first_key_value()?.0;
        if at > now_ms {
            return None;
        }
        self.remove(at, nick);
        Some(nick)
    }

    fn has_space(&self, reserve: &Reserve) -> bool {
        self.due.len() < reserve.nicks_max
            && self.by_origin.count(&reserve.origin) < reserve.nicks_per_address_max
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

fn taken(nick: &Nick) -> Refused {
    let text = format!(
        "{nick} is taken, or looks like a nick that is; choose another, for example {nick}2"
    );
    (Code::NickTaken, text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Nicks of which some are spellings of another, and some look like another.
    const NICKS: [&str; 6] = ["bob", "Bob", "b0b", "paul", "pauI", "ann"];
    const SERVERS: [&str; 3] = ["one", "two", "three"];
    const RESERVE: Reserve = Reserve {
        for_ms: 50,
        origin: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        nicks_max: 2,
        nicks_per_address_max: 2,
    };

    fn nick(text: &str) -> Nick {
        Nick::parse(text).expect("it is a nick")
    }

    fn take(text: &str, claim: Claim) -> Action {
        Action::TakeNick {
            nick: nick(text),
            claim,
            former: None,
        }
    }

    fn drop(text: &str, reserve: Option<Reserve>) -> Action {
        let nick = nick(text);
        Action::DropNick { nick, reserve }
    }

    fn password(byte: u8) -> Claim {
        Claim::Password(Box::new([byte; 32]))
    }

    fn change(state: &mut State, server: &str, action: Action, at_ms: u64) -> Outcome {
        let server = server.into();
        let outcome = apply(state, &Change { server, action }, at_ms);
        if let Ok(Some(done)) = &outcome {
            state.forget(done.released);
        }
        outcome
    }

    fn code(outcome: &Outcome) -> Option<Code> {
        outcome.as_ref().err().map(|(code, _)| *code)
    }

    /// Returns what servers must agree on, as text.
    fn shared(state: &State) -> Vec<String> {
        let mut users = Vec::new();
        let mut slot = 0;
        while let Some((id, user)) = state.users.from_slot(slot) {
            slot = id.slot() + 1;
            let User {
                nick,
                reservation,
                servers,
                away,
                free_at_ms,
                here: _,
            } = user;
            users.push(format!(
                "{id:?} {nick} {reservation:?} {servers:?} {away:?} {free_at_ms}"
            ));
        }
        users.push(format!("{:?}", state.reserved.due));
        users
    }

    fn claim() -> impl Strategy<Value = Claim> {
        prop_oneof![
            2 => Just(Claim::Free),
            2 => (0..2_u8).prop_map(password),
            1 => Just(Claim::Account),
            1 => Just(Claim::Shared),
        ]
    }

    fn action() -> impl Strategy<Value = Action> {
        let named = || proptest::sample::select(&NICKS[..]).prop_map(nick);
        let former = (named(), any::<bool>());
        let former = former.prop_map(|(nick, is_last)| FormerNick { nick, is_last });
        prop_oneof![
            6 => (named(), claim(), proptest::option::of(former)).prop_map(|(nick, claim, former)| {
                Action::TakeNick { nick, claim, former }
            }),
            4 => (named(), any::<bool>()).prop_map(|(nick, is_reserved)| Action::DropNick {
                nick,
                reserve: is_reserved.then_some(RESERVE),
            }),
            1 => named().prop_map(|nick| Action::EndReservation { nick }),
            1 => (named(), any::<bool>()).prop_map(|(nick, is_away)| Action::SetAway {
                nick,
                text: is_away.then(|| "lunch".into()),
            }),
        ]
    }

    proptest! {
        #[test]
        fn the_same_changes_give_the_same_state_on_every_server(
            changes in vec((0..SERVERS.len(), action(), 0..30_u64), 1..60),
        ) {
            let mut states = [State::default(), State::default()];
            let mut at_ms = 0;
            for (server, action, later) in changes {
                at_ms += later;
                let [one, other] = states.each_mut().map(|state| {
                    change(state, SERVERS[server], action.clone(), at_ms)
                });
                prop_assert_eq!(&one, &other);
                // What one of the servers knows alone does not matter.
                if let Ok(Some(done)) = one
                    && let Some(here) = states[0].here_mut(done.nick)
                {
                    here.inbox_read_to += 1;
                }
                prop_assert_eq!(shared(&states[0]), shared(&states[1]));
                // No two nicks look alike, and none is kept that nobody uses or has reserved.
                let mut known: Vec<Nick> = Vec::new();
                let mut slot = 0;
                while let Some((id, user)) = states[0].users.from_slot(slot) {
                    slot = id.slot() + 1;
                    let is_reserved = states[0].reserved.due.contains_key(&(user.free_at_ms, id));
                    prop_assert!(user.is_in_use() != is_reserved);
                    prop_assert!(!known.iter().any(|other| user.nick.looks_like(other)));
                    prop_assert_eq!(states[0].find(&user.nick), Some(id));
                    prop_assert!(user.servers.iter().collect::<BTreeSet<_>>().len() == user.servers.len());
                    known.push(user.nick.clone());
                }
            }
        }
    }

    #[test]
    fn a_nick_is_used_on_one_server_until_its_last_connection_there_ends() {
        let mut state = State::default();
        let take_bob = || take("bob", Claim::Free);
        assert!(change(&mut state, "one", take_bob(), 0).is_ok());
        for other in ["bob", "Bob", "b0b"] {
            let refused = change(&mut state, "two", take(other, Claim::Free), 0);
            assert_eq!(code(&refused), Some(Code::NickTaken), "{other}");
        }
        // Only the server that has the connections can allow another one to share the nick.
        let shared = change(&mut state, "two", take("bob", Claim::Shared), 0);
        assert_eq!(code(&shared), Some(Code::NickTaken));
        assert!(change(&mut state, "one", take("bob", Claim::Shared), 0).is_ok());
        // A server that does not use the nick cannot drop it.
        assert!(change(&mut state, "two", drop("bob", None), 0).is_ok());
        assert_eq!(
            code(&change(&mut state, "two", take_bob(), 0)),
            Some(Code::NickTaken)
        );
        assert!(change(&mut state, "one", drop("bob", Some(RESERVE)), 0).is_ok());
        assert!(change(&mut state, "two", take_bob(), 0).is_ok());
    }

    #[test]
    fn the_password_of_a_nick_shares_it_between_servers_and_reserves_it_after_the_last() {
        let mut state = State::default();
        let take_bob = |claim| take("bob", claim);
        assert!(change(&mut state, "one", take_bob(password(1)), 0).is_ok());
        let wrong = change(&mut state, "two", take_bob(password(2)), 0);
        assert_eq!(code(&wrong), Some(Code::BadPassword));
        assert!(change(&mut state, "two", take_bob(password(1)), 0).is_ok());
        assert!(change(&mut state, "one", drop("bob", None), 0).is_ok());
        let refused = change(&mut state, "one", take_bob(Claim::Free), 0);
        assert_eq!(code(&refused), Some(Code::NickTaken));
        assert!(change(&mut state, "two", drop("bob", Some(RESERVE)), 10).is_ok());
        assert_eq!((state.nicks(), state.nicks_in_use()), (1, 0));
        let refused = change(&mut state, "one", take_bob(Claim::Free), 59);
        assert_eq!(code(&refused), Some(Code::NickTaken));
        assert!(change(&mut state, "one", take_bob(Claim::Free), 60).is_ok());
    }

    #[test]
    fn the_owner_of_a_registered_nick_uses_it_on_several_servers() {
        let mut state = State::default();
        for server in SERVERS {
            assert!(change(&mut state, server, take("bob", Claim::Account), 0).is_ok());
        }
        // Its spelling stays as it is while it is in use elsewhere.
        let respelled = Action::TakeNick {
            nick: nick("Bob"),
            claim: Claim::Account,
            former: Some(FormerNick {
                nick: nick("bob"),
                is_last: true,
            }),
        };
        let refused = change(&mut state, "one", respelled.clone(), 0);
        assert_eq!(code(&refused), Some(Code::NickTaken));
        for server in ["two", "three"] {
            assert!(change(&mut state, server, drop("bob", Some(RESERVE)), 0).is_ok());
        }
        assert!(change(&mut state, "one", respelled, 0).is_ok());
        let names: Vec<_> = state
            .candidates(&nick("bob"))
            .map(|(_, user)| user.nick.as_str())
            .collect();
        assert!(
            names.iter().all(|name| *name == "Bob") && !names.is_empty(),
            "{names:?}"
        );
    }
}
