//! Changes that are decided on later.
//!
//! A single server decides on each of its changes at once. Servers that share one chat propose their changes to a
//! common log, and each server applies a change when the change has its place in the log. Until then:
//!
//! - A connection that has proposed a change receives no replies to later requests. Each change has a ticket, like an
//!   entry.
//! - The server reads no further requests of a connection that wants another nick. Two changes of one nick are never
//!   undecided at once on a server; the second connection waits.
//! - A request that reads what others have changed waits until this server has caught up with the log.
//! - The connections that have joined a room are counted in [`Undecided::entering`] until their nick is a member.
//!
//! A connection may have ended before the decision. In that case, a further change drops the nick or member that the
//! connection has received, unless another connection uses it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::bans::ConnectionCommand;
use super::changes::CUT_OFF;
use super::state::{MemberChange, NickId, Outcome};
use super::{Chat, Committed, Refused, RoomId};
use crate::model::{Action, Change, Now, PeerId, Reserve};
use crate::protocol::{Code, Nick, RoomName, Time};
use crate::tail::Seq;

/// A change that this server proposes to the common log, and the connection that has caused it.
pub type Proposal = (Change, Option<PeerId>);

/// The changes that are not decided on yet, and the connections that wait for the decisions.
#[derive(Debug, Default)]
pub(super) struct Undecided {
    /// The changes that the log has not received yet.
    proposed: Vec<Proposal>,
    /// For each connection, the tickets of its undecided changes, oldest first; `None` for a change that has no ticket
    /// yet.
    tickets: BTreeMap<PeerId, Vec<Option<u32>>>,
    /// For each [`Action::CatchUp`], oldest first, the connections that wait for it.
    catching_up: VecDeque<Vec<PeerId>>,
    /// The number of connections that have joined a room in which their nick is not a member yet.
    entering: BTreeMap<(RoomId, NickId), u32>,
    /// The connections that want another nick.
    claims: BTreeMap<PeerId, PendingClaim>,
    /// For each casefolded nick that a connection in `claims` wants or gives up, the connections that wait for the
    /// decision.
    claimed: HashMap<Box<str>, Vec<PeerId>>,
    /// Whether this server is cut off from the log, so that nothing is decided on.
    is_cut_off: bool,
    /// The decisions on claims, until the sessions take them.
    results: BTreeMap<PeerId, Result<Claimed, Refused>>,
}

/// A nick that a connection has claimed and received.
#[derive(Clone, Copy, Debug)]
pub struct Claimed {
    /// The nick.
    pub nick: NickId,
    /// The end of the nick's inbox when the connection received the nick.
    pub inbox: Seq,
}

/// A connection's change to another nick, which has not been decided on.
#[derive(Debug)]
pub(super) struct PendingClaim {
    pub nick: Nick,
    pub current: Option<NickId>,
    pub former: Option<Nick>,
    /// The rooms of the connection.
    pub rooms: Vec<RoomId>,
    /// The rooms in which the new nick will replace the former nick.
    pub moved: Vec<RoomId>,
    /// How the nick is reserved if the connection ends before the decision.
    pub reserve: Option<Reserve>,
    /// Whether the connection has ended.
    pub is_lost: bool,
}

impl PendingClaim {
    fn nicks(&self) -> impl Iterator<Item = &Nick> {
        [Some(&self.nick), self.former.as_ref()]
            .into_iter()
            .flatten()
    }
}

impl Undecided {
    fn ticket(&mut self, by: Option<PeerId>) {
        if let Some(by) = by {
            self.tickets.entry(by).or_default().push(None);
        }
    }

    fn entering(&self, room: RoomId, nick: NickId) -> u32 {
        let count = self.entering.get(&(room, nick));
        count.copied().unwrap_or_default()
    }
}

impl Chat {
    /// Leaves the decisions on changes to a log that several servers share. From now on, the caller passes the changes
    /// from [`Self::take_proposed`] to the log, and calls [`Self::decide`] for each change in the log.
    pub fn decide_later(&mut self) {
        self.undecided = Some(Box::default());
    }

    /// Returns whether other servers may share the chat, so that changes are decided on later.
    pub fn is_shared(&self) -> bool {
        self.undecided.is_some()
    }

    /// Takes the changes that this server has proposed since the last call, in the order of the proposals.
    pub fn take_proposed(&mut self) -> Vec<Proposal> {
        let undecided = self.undecided.as_mut();
        undecided.map_or_else(Vec::new, |undecided| {
            std::mem::take(&mut undecided.proposed)
        })
    }

    /// Proposes a change to the log that the servers share. `by` is the connection that has caused the change.
    pub(super) fn propose(&mut self, action: Action, by: Option<PeerId>) {
        let server = self.server.clone();
        if let Some(undecided) = &mut self.undecided {
            undecided.ticket(by);
            let change = Change { server, action };
            undecided.proposed.push((change, by));
        }
    }

    /// Applies a change that was applied already before this server has started again, to restore what all servers agree
    /// on. The log has restored what is stored.
    pub fn decide_again(&mut self, change: &Change, now: Now) {
        if let Action::DeleteRoom { room } = &change.action {
            // The room may have been created again since.
            let _ = super::state::apply(&mut self.state, change, now.time.0, now.time);
            if let Some(id) = self.find_room(room) {
                self.close_if_unused(id);
            }
        } else {
            self.decide(change, None, now);
        }
    }

    /// Applies a change that now has its place in the log of all servers. `by` is the connection that has caused the
    /// change, if the connection belongs to this server.
    pub fn decide(&mut self, change: &Change, by: Option<PeerId>, now: Now) {
        if change.server != self.server {
            let _ = self.apply_change(change, None, now);
            return;
        }
        match (&change.action, by) {
            (Action::TakeNick { .. }, Some(peer)) => self.decide_claim(peer, change, now),
            (Action::MoveReader { .. }, _) => {} // this server has told its connections already
            (action, by) => {
                let outcome = self.apply_change(change, by, now);
                match action {
                    Action::EnterRoom { room, .. } => self.count_entered(room, &outcome, now),
                    Action::LeaveRoom { room, .. } => self.count_left(room, &outcome, now),
                    Action::CatchUp => self.has_caught_up(now.time),
                    _ => {}
                }
            }
        }
        if let Some(by) = by {
            self.change_is_decided(by, now.time);
        }
    }

    /// If changes are decided on later, makes a connection wait until this server knows everything that any server has
    /// acknowledged so far. The wait counts as an undecided change of the connection, which has no ticket yet.
    pub fn catch_up(&mut self, peer: PeerId) {
        let Some(undecided) = &mut self.undecided else {
            return;
        };
        undecided.ticket(Some(peer));
        // All connections can wait for the same change, if the log has not received that change yet.
        let mut proposed = undecided.proposed.iter();
        let is_proposed = proposed.any(|(change, _)| matches!(change.action, Action::CatchUp));
        if let Some(waiting) = undecided.catching_up.back_mut().filter(|_| is_proposed) {
            waiting.push(peer);
        } else {
            undecided.catching_up.push_back(vec![peer]);
            self.propose(Action::CatchUp, None);
        }
    }

    fn has_caught_up(&mut self, time: Time) {
        let undecided = self.undecided.as_mut();
        let waiting = undecided.and_then(|undecided| undecided.catching_up.pop_front());
        for peer in waiting.into_iter().flatten() {
            self.change_is_decided(peer, time);
        }
    }

    /// Returns the number of undecided changes that a connection has proposed since the last call of
    /// [`Self::set_tickets`].
    pub fn changes_without_ticket(&self, peer: PeerId) -> usize {
        let undecided = self.undecided.as_ref();
        let tickets = undecided.and_then(|undecided| undecided.tickets.get(&peer));
        let tickets = tickets.into_iter().flatten();
        tickets.filter(|ticket| ticket.is_none()).count()
    }

    /// Gives tickets with the numbers `numbers` to the changes of a connection that have no ticket. The outcome of a
    /// change is reported with its ticket, like the outcome of an entry.
    pub fn set_tickets(&mut self, peer: PeerId, mut numbers: impl Iterator<Item = u32>) {
        let undecided = self.undecided.as_mut();
        let tickets = undecided.and_then(|undecided| undecided.tickets.get_mut(&peer));
        for ticket in tickets.into_iter().flatten() {
            if ticket.is_none() {
                *ticket = numbers.next();
            }
        }
    }

    fn change_is_decided(&mut self, peer: PeerId, time: Time) {
        let Some(undecided) = &mut self.undecided else {
            return;
        };
        let Some(tickets) = undecided.tickets.get_mut(&peer) else {
            return;
        };
        let number = if tickets.is_empty() {
            None
        } else {
            tickets.remove(0)
        };
        if tickets.is_empty() {
            undecided.tickets.remove(&peer);
        }
        if let (Some(number), Some(known)) = (number, self.peers.get_mut(peer)) {
            known
                .outcomes
                .push((number, Ok(Committed::shown_before(None, time))));
            self.answered.push(peer);
        }
    }

    pub(super) fn set_cut_off(&mut self, is_cut_off: bool) {
        if let Some(undecided) = &mut self.undecided {
            undecided.is_cut_off = is_cut_off;
        }
    }

    /// Returns whether this server is cut off from the log that it shares with others.
    pub fn is_cut_off(&self) -> bool {
        let undecided = self.undecided.as_ref();
        undecided.is_some_and(|undecided| undecided.is_cut_off)
    }

    /// Gives up all undecided changes, because this server was cut off or its epoch has ended. Connections that want another
    /// nick are refused. Connections that wait until the server has caught up go on waiting, unless the
    /// server is cut off: then they go on with what it knows. Connections with a nick are closed anyway.
    pub fn fail_undecided(&mut self, time: Time) {
        let Some(undecided) = self.undecided.as_mut() else {
            return;
        };
        let mut failed = std::mem::take(&mut **undecided);
        undecided.results = failed.results;
        undecided.is_cut_off = failed.is_cut_off;
        for (peer, claim) in failed.claims {
            if !claim.is_lost {
                let refused = Err((Code::CutOff, CUT_OFF.into()));
                undecided.results.insert(peer, refused);
            }
        }
        if !undecided.is_cut_off {
            let closes = |peer: &PeerId| {
                let mut commands = self.commands.get(peer).into_iter().flatten();
                commands.any(|command| matches!(command, ConnectionCommand::Close(..)))
            };
            let mut waiting: Vec<PeerId> = failed.catching_up.into_iter().flatten().collect();
            waiting.retain(|peer| !closes(peer));
            for peer in &waiting {
                if let Some(tickets) = failed.tickets.remove(peer) {
                    undecided.tickets.insert(*peer, tickets);
                }
            }
            if !waiting.is_empty() {
                undecided.catching_up.push_back(waiting);
                self.propose(Action::CatchUp, None);
            }
        }
        for (peer, tickets) in failed.tickets {
            let Some(known) = self.peers.get_mut(peer) else {
                continue;
            };
            let outcome = Ok(Committed::shown_before(None, time));
            let numbers = tickets.into_iter().flatten();
            known
                .outcomes
                .extend(numbers.map(|number| (number, outcome)));
            self.answered.push(peer);
        }
    }

    /// Forgets a connection that has ended.
    pub(super) fn forget_undecided(&mut self, peer: PeerId) {
        if let Some(undecided) = &mut self.undecided {
            undecided.tickets.remove(&peer);
            undecided.results.remove(&peer);
        }
    }

    /// Forgets who has joined a room that is deleted.
    pub(super) fn forget_entering(&mut self, room: RoomId) {
        if let Some(undecided) = &mut self.undecided {
            undecided
                .entering
                .retain(|(entered, _), _| *entered != room);
        }
    }

    /// Returns the number of this server's connections that are in a room under a nick.
    pub(super) fn connections_in(&mut self, id: RoomId, room: &RoomName, nick: NickId) -> u32 {
        let entering = self.undecided.as_ref();
        let entering = entering.map_or(0, |undecided| undecided.entering(id, nick));
        let member = self.state.member_mut(room, nick);
        entering + member.map_or(0, |member| member.connections)
    }

    /// Returns the nicks that are about to be members of a room.
    pub(super) fn entering(&self, room: RoomId) -> impl Iterator<Item = NickId> {
        let undecided = self.undecided.iter();
        let entering = undecided.flat_map(|undecided| undecided.entering.keys());
        entering.filter_map(move |(entered, nick)| (*entered == room).then_some(*nick))
    }

    /// Counts a connection that has joined a room under a nick. `is_first` says whether it is the nick's first
    /// connection in the room.
    pub(super) fn count_joined(
        &mut self,
        id: RoomId,
        room: &RoomName,
        nick: NickId,
        is_first: bool,
    ) {
        let member = self.state.member_mut(room, nick);
        match (&mut self.undecided, member) {
            (Some(undecided), _) if is_first || undecided.entering(id, nick) > 0 => {
                *undecided.entering.entry((id, nick)).or_default() += 1;
            }
            (_, Some(member)) => member.connections += 1,
            (_, None) => {}
        }
    }

    /// Decreases the number of connections under a nick in a room. Returns whether the last connection has left.
    pub(super) fn count_gone(&mut self, id: RoomId, room: &RoomName, nick: NickId) -> bool {
        let undecided = self.undecided.as_mut();
        if let Some(undecided) = undecided
            && let Some(entering) = undecided.entering.get_mut(&(id, nick))
        {
            *entering -= 1;
            if *entering == 0 {
                undecided.entering.remove(&(id, nick));
            }
            return self.connections_in(id, room, nick) == 0;
        }
        let Some(member) = self.state.member_mut(room, nick) else {
            return false;
        };
        member.connections = member.connections.saturating_sub(1);
        member.connections == 0
    }

    fn count_entered(&mut self, room: &RoomName, outcome: &Outcome, now: Now) {
        let (Ok(Some(done)), Some(id)) = (outcome, self.find_room(room)) else {
            return;
        };
        let Some(member) = self.state.member_mut(room, done.nick) else {
            return;
        };
        if let Some(undecided) = &mut self.undecided {
            let entered = undecided.entering.remove(&(id, done.nick));
            member.connections += entered.unwrap_or_default();
        }
        self.leave_if_absent(id, done.nick, now);
    }

    /// If connections have joined after the nick's last connection left, makes the nick a member again.
    fn count_left(&mut self, room: &RoomName, outcome: &Outcome, now: Now) {
        let (Ok(Some(done)), Some(id)) = (outcome, self.find_room(room)) else {
            return;
        };
        let left = done.seen.iter().map(|seen| match seen.what {
            MemberChange::Left(_, here) => here.connections,
            MemberChange::Joined(_) | MemberChange::Renamed { .. } => 0,
        });
        let count = left.sum::<u32>() + self.connections_in(id, room, done.nick);
        self.enter_again(id, done.nick, count, now);
    }

    /// If this server has no connection under a nick in a room any more, proposes that the nick leaves the room.
    fn leave_if_absent(&mut self, id: RoomId, nick: NickId, now: Now) {
        let Some((room, name)) = self.names(id, nick) else {
            return;
        };
        if self.connections_in(id, &room, nick) == 0 {
            let leave = Action::LeaveRoom {
                room,
                nick: name,
                text: "".into(),
            };
            self.make(leave, None, now);
        }
    }

    /// Makes `peer` wait if another connection's undecided change concerns one of `nicks`: the nick that `peer` wants,
    /// and the nick that it gives up. Returns whether `peer` must wait.
    pub(super) fn wait_for_claim(&mut self, peer: PeerId, nicks: [Option<&Nick>; 2]) -> bool {
        let Some(undecided) = &mut self.undecided else {
            return false;
        };
        let mut nicks = nicks.into_iter().flatten();
        let waiting = nicks.find_map(|nick| {
            let claimed = undecided.claimed.contains_key(nick.casefolded());
            claimed.then(|| nick.casefolded())
        });
        let Some(waiting) = waiting.and_then(|nick| undecided.claimed.get_mut(nick)) else {
            return false;
        };
        waiting.push(peer);
        undecided.ticket(Some(peer));
        true
    }

    /// Returns whether a connection of this server is about to take or give up a nick.
    pub(super) fn is_claimed(&self, nick: &Nick) -> bool {
        let undecided = self.undecided.as_ref();
        undecided.is_some_and(|undecided| undecided.claimed.contains_key(nick.casefolded()))
    }

    /// Remembers the nick that a connection claims until the claim is decided on.
    pub(super) fn remember_claim(&mut self, peer: PeerId, claim: PendingClaim) {
        if let Some(undecided) = &mut self.undecided {
            for nick in claim.nicks() {
                let nick = nick.casefolded().into();
                undecided.claimed.insert(nick, Vec::new());
            }
            undecided.claims.insert(peer, claim);
        }
    }

    /// Takes the decision on the nick that a connection has claimed; `None` if there is no decision.
    pub fn take_claimed(&mut self, peer: PeerId) -> Option<Result<Claimed, Refused>> {
        self.undecided.as_mut()?.results.remove(&peer)
    }

    /// Records that a connection has ended before its claim to a nick was decided on.
    pub fn abandon_claim(&mut self, peer: PeerId) {
        let undecided = self.undecided.as_mut();
        let claim = undecided.and_then(|undecided| undecided.claims.get_mut(&peer));
        if let Some(claim) = claim {
            claim.is_lost = true;
        }
    }

    fn decide_claim(&mut self, peer: PeerId, change: &Change, now: Now) {
        let claim = self
            .undecided
            .as_mut()
            .and_then(|undecided| undecided.claims.remove(&peer));
        let Some(claim) = claim else {
            let _ = self.apply_change(change, Some(peer), now);
            return;
        };
        let is_lost = claim.is_lost || self.peers.get(peer).is_none();
        // Meanwhile, other connections of the former nick may have joined these rooms.
        let mut others = Vec::new();
        for room in &claim.moved {
            if let (Some(old), Some(name)) = (
                claim.current,
                self.room(*room).map(|room| room.name.clone()),
            ) {
                let count = self.connections_in(*room, &name, old);
                others.push((*room, count.saturating_sub(u32::from(!is_lost))));
            }
        }
        let outcome = self.apply_change(change, Some(peer), now);
        let result = outcome.map(|done| done.map_or(NickId::NONE, |done| done.nick));
        if let (Ok(new), false) = (&result, is_lost) {
            let mut rooms = claim.rooms.clone();
            rooms.retain(|room| {
                let room = self.room(*room);
                room.is_some_and(|room| room.readers.contains(&peer))
            });
            self.nick_is_taken(peer, claim.current, &rooms, &claim.moved, *new, now);
        }
        if let (Ok(new), Some(old)) = (&result, claim.current)
            && *new != old
        {
            for (room, count) in others {
                self.enter_again(room, old, count, now);
                self.leave_if_absent(room, *new, now);
            }
        }
        for nick in claim.nicks() {
            let undecided = self.undecided.as_mut();
            let waiting =
                undecided.and_then(|undecided| undecided.claimed.remove(nick.casefolded()));
            for peer in waiting.into_iter().flatten() {
                self.change_is_decided(peer, now.time);
            }
            self.drop_unused(nick, claim.reserve, now);
        }
        if is_lost {
            return;
        }
        // The nick may have been banned since the change was proposed.
        if let (Ok(_), Some(reason)) = (&result, self.ban_of_nick(&claim.nick, now.time)) {
            self.send_command(peer, ConnectionCommand::Close(Code::Banned, reason));
        }
        let result = result.map(|nick| Claimed {
            nick,
            inbox: self.inbox_end(nick),
        });
        if let Some(undecided) = &mut self.undecided {
            undecided.results.insert(peer, result);
        }
    }

    /// Makes `nick` a member of a room again. `count` is the number of this server's connections under the nick in the
    /// room.
    fn enter_again(&mut self, id: RoomId, nick: NickId, count: u32, now: Now) {
        let Some((room, name)) = self.names(id, nick).filter(|_| count > 0) else {
            return;
        };
        if let Some(member) = self.state.member_mut(&room, nick) {
            member.connections = 0;
        }
        if let Some(undecided) = &mut self.undecided {
            undecided.entering.insert((id, nick), count);
        }
        self.make(Action::EnterRoom { room, nick: name }, None, now);
    }

    /// Proposes to drop a nick that this server uses without a connection.
    fn drop_unused(&mut self, nick: &Nick, reserve: Option<Reserve>, now: Now) {
        let Some(id) = self.state.find(nick) else {
            return;
        };
        let is_used = self.state.is_used_on(id, &self.server);
        let has_connections = self
            .user(id)
            .is_some_and(|user| !user.here.connections.is_empty());
        if is_used && !has_connections {
            let nick = nick.clone();
            self.make(Action::DropNick { nick, reserve }, None, now);
        }
    }
}

#[cfg(test)]
impl Chat {
    /// Returns the number of this server's connections under each nick, and under each nick in each room. Only counts
    /// nicks and members for which the shared state has an entry of this server.
    pub(crate) fn connections_of_this_server(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (id, user) in self.state.users_on(&self.server) {
            counts.insert(user.nick.to_string(), user.here.connections.len());
            for room in self.rooms_in_order() {
                let members = self.state.members_on(&room.name, &self.server);
                if let Some((_, here)) = members.into_iter().find(|(nick, _)| *nick == id) {
                    let name = format!("{} {}", room.name, user.nick);
                    counts.insert(name, here.connections as usize);
                }
            }
        }
        counts
    }
}
