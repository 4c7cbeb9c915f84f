//! Makes changes that all servers of the chat agree on, and shows their effects to the connections of this server.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::bans::MovedReader;
use super::state::{self, Outcome, User};
use super::{Chat, NickId, RoomId};
use crate::model::{
    Action, Ban, Change, Hook, Now, PeerId, Reserve, ServerName, VersionedAcl, millis,
};
use crate::protocol::ban_target::BanTarget;
use crate::protocol::{Code, Nick, RoomName, Time};

/// The text for connections whose server is cut off from the others.
pub(crate) const CUT_OFF: &str =
    "this server is cut off from the others; use another server, or try again";

/// How the nicks of a server that has ended are reserved: all for one address, because the addresses of their users are
/// not known. It is the same on every server, whatever its settings.
const RESERVE_OF_ENDED: Reserve = Reserve {
    for_ms: 120_000,
    origin: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    nicks_max: 100_000,
    nicks_per_address_max: 100_000,
};

impl Chat {
    /// Makes a change that this server proposes, if the state accepts the change. `by` is the connection that has
    /// caused the change. Returns `Ok(None)` if the change is decided on later.
    pub(super) fn change(&mut self, action: Action, by: Option<PeerId>, now: Now) -> Outcome {
        if self.is_shared() {
            self.propose(action, by);
            return Ok(None);
        }
        let server = self.server.clone();
        self.apply_change(&Change { server, action }, by, now)
    }

    /// Makes a change that the state never refuses. `by` is the connection that has caused the change.
    pub(super) fn make(&mut self, action: Action, by: Option<PeerId>, now: Now) {
        let _ = self.change(action, by, now);
    }

    /// Applies a change of this or another server, if the state accepts the change, and shows its effects to this
    /// server's connections. `by` is the connection that has caused the change, if the connection belongs to this
    /// server.
    ///
    /// # Errors
    /// When the state refuses the change.
    pub(super) fn apply_change(
        &mut self,
        change: &Change,
        by: Option<PeerId>,
        now: Now,
    ) -> Outcome {
        if let Action::DeleteRoom { room } = &change.action {
            self.leave_deleted(room); // while the room's members are still known
        }
        let at_ms = if self.is_shared() {
            now.time.0 // the same on every server
        } else {
            millis(now.uptime)
        };
        let done = state::apply(&mut self.state, change, at_ms, now.time)?;
        self.show_change(change, by, now);
        let Some(done) = done else {
            return Ok(None);
        };
        let text = match &change.action {
            Action::LeaveRoom { text, .. } => text,
            _ => "",
        };
        for seen in &done.seen {
            self.show_member_change(seen, text, by, now);
        }
        if let Action::SetAway { rooms, .. } = &change.action {
            self.show_away(done.nick, rooms, by, now);
        }
        if let Some(released) = done.released {
            self.drop_inbox(released);
            self.state.forget(released);
        }
        for nick in [Some(done.nick), done.released].into_iter().flatten() {
            if !self.user(nick).is_some_and(User::is_in_use) {
                self.forget_paced_away(nick);
            }
        }
        Ok(Some(done))
    }

    /// Applies the changes that a server would propose if all its connections ended. This is for a server that can
    /// propose nothing any more, because it has stopped, has died, or was cut off. Returns whether it is this server.
    /// In that case, closes the connections with a nick first, because others may use these nicks from now on, and
    /// everything that was undecided has failed.
    pub fn end_server(&mut self, server: &ServerName, now: Now) -> bool {
        let is_own = *server == self.server;
        if is_own {
            self.close_all_nicks();
        }
        let nicks = self.nicks_on(server);
        for action in self.last_actions(server) {
            let server = server.clone();
            let _ = self.apply_change(&Change { server, action }, None, now);
        }
        if is_own {
            self.forget_connections(&nicks);
            self.fail_undecided(now.time);
        }
        is_own
    }

    fn nicks_on(&self, server: &ServerName) -> BTreeSet<NickId> {
        let users = self.state.users_on(server).into_iter();
        users.map(|(id, _)| id).collect()
    }

    /// Closes this server's connections with a nick, because the server is cut off from the others.
    fn close_all_nicks(&mut self) {
        for nick in self.nicks_on(&self.server) {
            self.close_nick(nick, Code::CutOff, CUT_OFF);
        }
    }

    /// Records that this server is cut off from the log: from now on, nothing is decided on. Closes the connections with
    /// a nick, tells all others, and ends their wait. As long as this is so, the caller must pass no changes to the log,
    /// but call [`Self::fail_undecided`].
    pub fn cut_off(&mut self, time: Time) {
        self.close_all_nicks();
        let was_cut_off = self.is_cut_off();
        self.set_cut_off(true);
        self.fail_undecided(time);
        if was_cut_off {
            return;
        }
        let text = "this server cannot reach the others of this chat: it shows no new messages, and accepts none";
        self.show_own_notice(text, time);
    }

    /// Records that this server has caught up with the log. Its rooms exist on the other servers again.
    pub fn is_back(&mut self, now: Now) {
        if self.is_cut_off() {
            self.show_own_notice("this server can reach the others again", now.time);
        }
        self.set_cut_off(false);
        let rooms: Vec<RoomId> = self.room_order.iter().copied().collect();
        for room in rooms {
            self.open_if_read(room, now);
        }
    }

    fn show_own_notice(&mut self, text: &str, time: Time) {
        let name = self.config.name.clone();
        self.show_notice(&name, text, None, time);
    }

    fn last_actions(&self, server: &ServerName) -> Vec<Action> {
        let mut actions = Vec::new();
        for room in self.rooms_in_order() {
            let members = self.state.members_on(&room.name, server).into_iter();
            let nicks = members.filter_map(|(nick, _)| Some(self.user(nick)?.nick.clone()));
            actions.extend(nicks.map(|nick| Action::LeaveRoom {
                room: room.name.clone(),
                nick,
                text: "".into(),
            }));
        }
        let open = self.state.opened_by(server).into_iter();
        actions.extend(open.map(|room| Action::CloseRoom { room }));
        let users = self.state.users_on(server).into_iter();
        actions.extend(users.map(|(_, user)| Action::DropNick {
            nick: user.nick.clone(),
            reserve: Some(RESERVE_OF_ENDED),
        }));
        actions
    }

    /// Forgets the connections of nicks, which are closed, and the rooms that they are in.
    fn forget_connections(&mut self, nicks: &BTreeSet<NickId>) {
        let mut closed = BTreeSet::new();
        for nick in nicks {
            if let Some(here) = self.state.here_mut(*nick) {
                closed.extend(std::mem::take(&mut here.connections));
                self.drop_inbox(*nick);
            }
        }
        let rooms: Vec<RoomId> = self.room_order.iter().copied().collect();
        for room in rooms {
            let Some(room) = self.rooms.get_mut(room) else {
                continue;
            };
            room.readers.retain(|reader| !closed.contains(reader));
            let members = self.state.members_mut(&room.name).into_iter().flatten();
            for (_, member) in members.filter(|(nick, _)| nicks.contains(nick)) {
                member.here.connections = 0;
            }
        }
    }

    /// Updates this server's connections and tables after a change. The caller handles what the state has reported in
    /// its `Done`.
    fn show_change(&mut self, change: &Change, by: Option<PeerId>, now: Now) {
        let Change { server, action } = change;
        match action {
            Action::AddAccount { nick } => {
                self.push.forget(nick);
                self.recount_unowned();
            }
            Action::RemoveAccount { nick } => {
                self.hooks.unregistered(nick);
                self.push.forget(nick);
                self.recount_unowned();
                self.forget_in_rooms(nick, now);
                // The nick can no longer read its direct messages.
                self.has_acl_changes = true;
            }
            Action::AddBan(ban) => self.close_banned(ban),
            Action::SetAcls(rooms) => self.set_acls(rooms, now),
            Action::Invite { nick, room, by } => self.show_invitation(nick, room, by, now),
            Action::AddHook(hook) => self.hooks.made(Hook::clone(hook)),
            Action::Revoke { nick, label } => self.hooks.revoked(nick, label),
            Action::Kick { nick, text } => {
                if let Some(nick) = self.find_here(nick) {
                    self.close_nick(nick, Code::Kicked, text);
                }
            }
            Action::Notify { by: from, text } => {
                self.show_notice(from.as_str(), text, by, now.time);
            }
            Action::MoveReader {
                nick,
                place,
                name,
                seen,
            } => {
                if let Some(nick) = self.find_here(nick) {
                    let (place, name, seen) = (place.clone(), name.clone(), *seen);
                    let moved = MovedReader {
                        nick,
                        place,
                        name,
                        seen,
                    };
                    self.tell_moved(None, &moved);
                }
            }
            Action::OpenRoom { room } => {
                if self.find_room(room).is_none() {
                    self.insert_room(RoomName::clone(room));
                }
                if *server == self.server {
                    self.close_if_unread(room, None, now);
                }
            }
            Action::CloseRoom { room } => {
                if let Some(id) = self.find_room(room) {
                    if *server == self.server {
                        self.open_if_read(id, now);
                    }
                    self.close_if_unused(id);
                }
            }
            Action::TakeNick { .. }
            | Action::DropNick { .. }
            | Action::SetAway { .. }
            | Action::EnterRoom { .. }
            | Action::LeaveRoom { .. }
            | Action::DeleteRoom { .. }
            | Action::RemoveBan(_)
            | Action::CatchUp => {}
        }
    }

    /// Records that a nick was registered, or that its password was changed.
    pub fn add_account(&mut self, nick: &Nick, by: PeerId, now: Now) {
        let nick = nick.clone();
        self.make(Action::AddAccount { nick }, Some(by), now);
    }

    /// Records that a nick is no longer registered. `rooms` are the access lists from which the nick was removed.
    pub fn remove_account(&mut self, nick: &Nick, rooms: Vec<VersionedAcl>, by: PeerId, now: Now) {
        let nick = nick.clone();
        self.make(Action::RemoveAccount { nick }, Some(by), now);
        self.change_acls(rooms, by, now);
    }

    /// Sets access lists that the account store has returned, unless newer lists are known. Removes connections from
    /// rooms that they may no longer read.
    pub fn change_acls(&mut self, rooms: Vec<VersionedAcl>, by: PeerId, now: Now) {
        if !rooms.is_empty() {
            self.make(Action::SetAcls(rooms), Some(by), now);
        }
    }

    /// If `nick` is online, tells it that the nick `by` has invited it to a room.
    pub fn invite(&mut self, nick: Nick, room: RoomName, by: NickId, peer: PeerId, now: Now) {
        if let Some(by) = self.user(by).map(|by| by.nick.clone()) {
            let room = Arc::new(room);
            self.make(Action::Invite { nick, room, by }, Some(peer), now);
        }
    }

    /// Adds a hook that has been stored.
    pub fn add_hook(&mut self, hook: Hook, by: PeerId, now: Now) {
        self.make(Action::AddHook(hook.into()), Some(by), now);
    }

    /// Records that a token or hook of a nick was revoked.
    pub fn revoke(&mut self, nick: Nick, label: Nick, by: PeerId, now: Now) {
        self.make(Action::Revoke { nick, label }, Some(by), now);
    }

    /// Adds a stored ban, and closes the banned users' connections.
    pub fn add_ban(&mut self, ban: Ban, by: PeerId, now: Now) {
        self.make(Action::AddBan(ban.into()), Some(by), now);
    }

    /// Lifts a ban.
    pub fn remove_ban(&mut self, target: BanTarget, by: PeerId, now: Now) {
        self.make(Action::RemoveBan(target), Some(by), now);
    }

    /// Closes every connection of `nick`, on every server. The last line that the connections receive contains `text`.
    pub fn kick(&mut self, nick: Nick, text: &str, by: PeerId, now: Now) {
        let text = text.into();
        self.make(Action::Kick { nick, text }, Some(by), now);
    }

    /// Sends an operator's notice to everyone. `author` is the operator's connection.
    pub fn notify_everyone(&mut self, by: Nick, text: &str, author: PeerId, now: Now) {
        let text = text.into();
        self.make(Action::Notify { by, text }, Some(author), now);
    }

    /// Tells the other connections of a nick that `peer` has moved one of the nick's readers. The connections of this
    /// server are told at once, those of other servers through the log.
    pub fn reader_moved(&mut self, peer: PeerId, moved: &MovedReader) {
        self.tell_moved(Some(peer), moved);
        if self.is_shared()
            && let Some(user) = self.user(moved.nick)
        {
            let action = Action::MoveReader {
                nick: user.nick.clone(),
                place: moved.place.clone(),
                name: moved.name.clone(),
                seen: moved.seen,
            };
            self.propose(action, None);
        }
    }

    /// Removes a room from the chat before the log deletes it. All connections leave the room.
    pub fn delete_room(&mut self, room: Arc<RoomName>, by: PeerId, now: Now) {
        self.make(Action::DeleteRoom { room }, Some(by), now);
    }
}
