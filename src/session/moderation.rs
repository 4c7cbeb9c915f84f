//! The requests of a room's moderators: make the room invite-only, invite members, remove members.

use super::Session;
use super::output::Entries;
use super::output::{AfterReply, Pending, UpTo};
use super::request::{Done, name_of};
use crate::accounts::{AccountQuery, AccountResult};
use crate::chat::bans::Departure;
use crate::chat::{Chat, RoomId};
use crate::dialect::Line;
use crate::model::{AclChange, Now, RoomAcl};
use crate::protocol::request::Refusal;
use crate::protocol::{Code, Nick, RoomName, Verb};

impl Session {
    /// Returns the room of the request and the nick of the connection. The nick must be allowed to moderate the room.
    fn require_moderator(
        &self,
        verb: Verb,
        room: Option<&RoomName>,
        chat: &Chat,
    ) -> Result<(RoomId, String), Refusal> {
        let nick = self.require_nick(verb)?;
        let room = self.room_to_read(verb, room, chat)?;
        match chat.user(nick).filter(|_| chat.may_moderate(room, nick)) {
            Some(user) => Ok((room, user.nick.casefolded().to_owned())),
            None => Err(not_a_moderator(verb)),
        }
    }

    pub(super) fn show_mode(&mut self, room: Option<&RoomName>, chat: &Chat) -> Done {
        let verb = Verb::Mode;
        let room = self.room_to_read(verb, room, chat)?;
        let name = name_of(room, chat)?;
        let acl = chat.room(room).and_then(|room| room.acl.as_deref());
        let mode = mode_word(acl.is_some_and(|acl| acl.is_closed));
        self.ok(
            verb,
            &format!("{name} {mode}"),
            &format!("{name} is {mode}"),
            AfterReply::Nothing,
        );
        Ok(None)
    }

    pub(super) fn close_room(
        &mut self,
        room: Option<&RoomName>,
        is_closed: bool,
        chat: &Chat,
    ) -> Done {
        let verb = Verb::Mode;
        let (room, own) = self.require_moderator(verb, room, chat)?;
        if room == chat.lobby() {
            let text = "the lobby cannot be closed";
            return Err(Refusal::new(verb, Code::NotAllowed, text));
        }
        self.change(room, AclChange::Close(is_closed, own.clone()), own, chat)
    }

    pub(super) fn invite(
        &mut self,
        room: Option<&RoomName>,
        nick: &Nick,
        is_moderator: bool,
        chat: &Chat,
    ) -> Done {
        let verb = Verb::Invite;
        let (room, own) = self.require_moderator(verb, room, chat)?;
        if !chat.is_registered(nick) {
            let text = format!(
                "{nick} is not registered, so anybody could use that nick; its user must REGISTER first"
            );
            return Err(Refusal::new(verb, Code::NoSuchNick, text));
        }
        let acl = chat.room(room).and_then(|room| room.acl.as_deref());
        if acl.is_some_and(|acl| !acl.has_space_for(nick.casefolded())) {
            return Err(no_space_to_invite());
        }
        if acl.is_some_and(|acl| acl.owner.as_deref() == Some(nick.casefolded())) {
            let text = format!("{nick} is the owner of this room");
            return Err(Refusal::new(verb, Code::NotAllowed, text));
        }
        let who = nick.casefolded().to_owned();
        self.change(room, AclChange::Invite(who, is_moderator), own, chat)
    }

    pub(super) fn uninvite(&mut self, room: Option<&RoomName>, nick: &Nick, chat: &Chat) -> Done {
        let verb = Verb::Uninvite;
        let (room, own) = self.require_moderator(verb, room, chat)?;
        let acl = chat.room(room).and_then(|room| room.acl.as_deref());
        let is_owner = |acl: &RoomAcl| acl.owner.as_deref() == Some(nick.casefolded());
        if !acl.is_some_and(|acl| acl.admits(nick.casefolded()) && !is_owner(acl)) {
            let text = format!("{nick} was not invited; INVITES lists the invited nicks");
            return Err(Refusal::new(verb, Code::NoSuchNick, text));
        }
        self.change(
            room,
            AclChange::Uninvite(nick.casefolded().to_owned()),
            own,
            chat,
        )
    }

    /// Asks the accounts to change the access list of a room on behalf of the nick `by` (casefolded).
    fn change(&mut self, id: RoomId, change: AclChange, by: String, chat: &Chat) -> Done {
        let room = RoomName::clone(&*name_of(id, chat)?);
        let acl = chat.room(id).and_then(|room| room.acl.as_deref());
        let owner = acl.and_then(|acl| acl.owner.clone());
        let change = Some((change, by));
        self.query_accounts(AccountQuery::Room {
            room,
            owner,
            change,
        })
    }

    pub(super) fn invites(&mut self, room: Option<&RoomName>, chat: &Chat) -> Done {
        let verb = Verb::Invites;
        self.require_nick(verb)?;
        let room = self.room_to_read(verb, room, chat)?;
        let name = name_of(room, chat)?;
        let acl = chat.room(room).and_then(|room| room.acl.as_deref());
        let named = acl.into_iter().flat_map(RoomAcl::named);
        let mut lines = Entries::new("INVITE", self.input).of(&name);
        named.for_each(|(who, what)| lines.add(&[who, what]));
        let count = self.send_entries(lines);
        self.ok(
            verb,
            &count.to_string(),
            &format!("{count} in {name}"),
            AfterReply::Nothing,
        );
        Ok(None)
    }

    /// Continues after a request to change the access list of a room. Since the request, the nick may have lost the
    /// right to change the list.
    pub(super) fn finish_change(
        &mut self,
        room: &RoomName,
        change: &AclChange,
        result: AccountResult,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        match (change, result) {
            (_, AccountResult::Rooms(rooms)) => {
                chat.change_acls(rooms, self.peer, now);
                if let (AclChange::Invite(who, _), Some(by)) = (change, self.nick)
                    && let Ok(who) = Nick::parse(who)
                {
                    chat.invite(who, room.clone(), by, self.peer, now);
                }
            }
            (_, AccountResult::No) => return Err(no_space_to_invite()),
            (AclChange::Close(..), _) => return Err(not_a_moderator(Verb::Mode)),
            (AclChange::Invite(..), _) => return Err(not_a_moderator(Verb::Invite)),
            (AclChange::Uninvite(_), _) => return Err(not_a_moderator(Verb::Uninvite)),
        }
        let (verb, what) = match change {
            AclChange::Close(is_closed, _) => (Verb::Mode, mode_word(*is_closed)),
            AclChange::Invite(who, _) => (Verb::Invite, who.as_str()),
            AclChange::Uninvite(who) => (Verb::Uninvite, who.as_str()),
        };
        let talk = match change {
            AclChange::Close(true, _) => {
                format!("{room} is invite-only now: /invite <nick>")
            }
            AclChange::Close(false, _) => format!("{room} is open to everybody"),
            AclChange::Invite(who, true) => {
                format!("{who} may join {room}, and invite others")
            }
            AclChange::Invite(who, false) => format!("{who} may join {room}"),
            AclChange::Uninvite(who) => format!("{who} is no longer invited to {room}"),
        };
        self.ok(verb, &format!("{room} {what}"), &talk, AfterReply::Nothing);
        Ok(None)
    }

    /// Removes this connection from a room. The connection may still read the events before the removal, but no later
    /// ones.
    pub(super) fn remove_from_room(&mut self, departure: &Departure) {
        let Departure { room, cutoff, .. } = *departure;
        let was_current = self.current() == Some(room);
        let mut rooms = self.rooms.iter_mut();
        let Some(membership) = rooms.find(|m| m.room == room && !m.is_leaving) else {
            return;
        };
        membership.is_leaving = true;
        self.lost_current_room |= was_current;
        let line = self.reply_line(Line::Removed {
            room: departure.name.as_str(),
            nick: &departure.nick,
            reason: departure.reason,
            is_current: was_current,
        });
        self.push(line, AfterReply::Leave(room));
        if let Some(Pending::Text(reply)) = self.replies_mut().pending.back_mut() {
            reply.after = Some(UpTo {
                room,
                seq: cutoff.seq,
                id: cutoff.id,
            });
        }
    }
}

fn not_a_moderator(verb: Verb) -> Refusal {
    let text = "only the owner of this room and its moderators can do that";
    Refusal::new(verb, Code::NotAllowed, text)
}

fn no_space_to_invite() -> Refusal {
    let text = format!(
        "{} nicks are invited already; UNINVITE some",
        RoomAcl::NAMES_MAX
    );
    Refusal::new(Verb::Invite, Code::Quota, text)
}

/// Returns the word for an invite-only or an open room.
fn mode_word(is_closed: bool) -> &'static str {
    if is_closed { "invite" } else { "open" }
}
