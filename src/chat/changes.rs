//! Makes changes that all servers of the chat agree on, and shows their effects to the connections of this server.

use std::sync::Arc;

use super::bans::MovedReader;
use super::state::{self, Outcome, User};
use super::{Chat, NickId};
use crate::model::{Action, Ban, Change, Hook, Now, PeerId, Reserve, ServerName, VersionedAcl};
use crate::protocol::ban_target::BanTarget;
use crate::protocol::{Code, Nick, RoomName};

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
        let done = state::apply(&mut self.state, change, now)?;
        self.show_change(&change.action, by, now);
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

    /// Applies the changes that another server would propose if all its connections ended. This is for a server that
    /// cannot propose anything any more, because it has died or was cut off. `reserve` says how the nicks with a
    /// password are reserved: all for one address, because the addresses of their users are not known.
    pub fn end_server(&mut self, server: &ServerName, reserve: Reserve, now: Now) {
        debug_assert!(*server != self.server, "the connections are still there");
        for action in self.last_actions(server, reserve) {
            let server = server.clone();
            let _ = self.apply_change(&Change { server, action }, None, now);
        }
    }

    fn last_actions(&self, server: &ServerName, reserve: Reserve) -> Vec<Action> {
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
        let users = self.state.users_on(server).into_iter();
        actions.extend(users.map(|(_, user)| Action::DropNick {
            nick: user.nick.clone(),
            reserve: Some(reserve),
        }));
        actions
    }

    /// Updates this server's connections and tables after a change. The caller handles what the state has reported in
    /// its `Done`.
    fn show_change(&mut self, action: &Action, by: Option<PeerId>, now: Now) {
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
            Action::Notify { by: from, text } => self.show_notice(from, text, by, now),
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
