//! The requests of operators: close connections, ban, send notices to everyone, delete rooms and accounts, stop the
//! server.

use std::time::Duration;

use super::output::{AfterReply, Entries};
use super::request::{Done, name_of};
use super::{Draft, Effect, Expects, Session};
use crate::accounts::{AccountQuery, AccountResult};
use crate::chat::bans::ConnectionCommand;
use crate::chat::{Chat, NickId, Place};
use crate::config::fixed::BANS_MAX;
use crate::dialect::ReplyBody;
use crate::model::{Ban, EventKind, Now, Scope};
use crate::protocol::ban_target::BanTarget;
use crate::protocol::human::plural;
use crate::protocol::request::Refusal;
use crate::protocol::{Code, Nick, RoomName, Time, Verb};

impl Session {
    /// Returns the nick of this connection, which must be an operator.
    pub(super) fn require_operator(&self, verb: Verb, chat: &Chat) -> Result<Nick, Refusal> {
        let nick = self.require_nick(verb)?;
        let user = chat.user(nick).filter(|_| chat.is_operator(nick));
        let others = || Refusal::new(verb, Code::NotAllowed, "only operators can do that");
        user.map(|user| user.nick.clone()).ok_or_else(others)
    }

    /// Returns whether this connection is an operator's.
    pub(super) fn is_operator(&self, chat: &Chat) -> bool {
        self.nick.is_some_and(|nick| chat.is_operator(nick))
    }

    pub(super) fn kick(&mut self, nick: &Nick, text: &str, chat: &mut Chat, now: Now) -> Done {
        let verb = Verb::Kick;
        let operator = self.require_operator(verb, chat)?;
        if chat.find_nick(nick).is_none() {
            let text = format!("no nick {nick} is connected");
            return Err(Refusal::new(verb, Code::NoSuchNick, text));
        }
        let last_line = match text {
            "" => format!("{operator} has closed your connection"),
            text => format!("{operator} has closed your connection: {text}"),
        };
        chat.record_audit(format!("{operator} kicks {nick}: {text}"));
        chat.kick(nick.clone(), &last_line, self.peer, now);
        self.ok(
            verb,
            nick.as_str(),
            &format!("{nick} is disconnected"),
            AfterReply::Nothing,
        );
        Ok(None)
    }

    pub(super) fn ban(
        &mut self,
        target: BanTarget,
        lasts: Option<Duration>,
        text: &str,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        let verb = Verb::Ban;
        let operator = self.require_operator(verb, chat)?;
        let is_own = match &target {
            BanTarget::Nick(look) => look.nick().looks_like(&operator),
            BanTarget::Network(network) => {
                let own = chat.address(self.peer);
                own.is_some_and(|own| network.contains(own))
            }
        };
        if is_own {
            let text = format!("{target} includes your own connection");
            return Err(Refusal::new(verb, Code::NotAllowed, text));
        }
        if chat.bans(now.time).count() >= BANS_MAX {
            let text = format!("there are {BANS_MAX} bans; UNBAN some, or ban networks");
            return Err(Refusal::new(verb, Code::Quota, text));
        }
        let lasts = lasts.map(|lasts| u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
        self.query_accounts(AccountQuery::Ban(Ban {
            target,
            by: operator.as_str().to_owned(),
            text: text.to_owned(),
            until: lasts.map(|lasts| Time(now.time.0.saturating_add(lasts))),
        }))
    }

    pub(super) fn unban(&mut self, target: BanTarget, chat: &Chat, now: Now) -> Done {
        let verb = Verb::Unban;
        self.require_operator(verb, chat)?;
        if !chat
            .bans(now.time)
            .any(|ban| ban.target.key() == target.key())
        {
            let text = format!("{target} is not banned; BANS lists the bans");
            return Err(Refusal::new(verb, Code::NoSuchNick, text));
        }
        self.query_accounts(AccountQuery::Unban(target))
    }

    pub(super) fn bans(&mut self, chat: &Chat, now: Now) -> Done {
        let verb = Verb::Bans;
        self.require_operator(verb, chat)?;
        let mut lines = Entries::new("BAN", self.input);
        for Ban {
            target,
            by,
            text,
            until,
        } in chat.bans(now.time)
        {
            let until = until.map_or_else(|| "-".to_owned(), |until| until.to_string());
            lines.add(&[&target.to_string(), &until, by, text]);
        }
        let count = self.send_entries(lines);
        self.ok(
            verb,
            &count.to_string(),
            &plural(count, "ban", "bans"),
            AfterReply::Nothing,
        );
        Ok(None)
    }

    /// Deletes the account of a nick.
    pub(super) fn remove_account(&mut self, nick: Nick, chat: &Chat) -> Done {
        let verb = Verb::Remove;
        self.require_operator(verb, chat)?;
        if !chat.is_registered(&nick) {
            let text = format!("{nick} is not registered");
            return Err(Refusal::new(verb, Code::NoSuchNick, text));
        }
        if chat.is_operators(&nick) {
            let text = format!(
                "{nick} is an operator; only {nick} can delete that account, with REGISTER -"
            );
            return Err(Refusal::new(verb, Code::NotAllowed, text));
        }
        Ok(self.clear_inbox(nick.clone(), AccountQuery::RemoveAccount { nick }))
    }

    /// Deletes a room with all of its events and files. The room's connections leave at once. The reply waits for the
    /// log.
    pub(super) fn remove_room(&mut self, room: &RoomName, chat: &mut Chat, now: Now) -> Done {
        let verb = Verb::Remove;
        let operator = self.require_operator(verb, chat)?;
        let Some(id) = chat.find_room(room) else {
            let text = format!("there is no room {room}; ROOMS all lists the rooms");
            return Err(Refusal::new(verb, Code::NoSuchRoom, text));
        };
        if id == chat.lobby() {
            let text = "the lobby cannot be deleted";
            return Err(Refusal::new(verb, Code::NotAllowed, text));
        }
        let name = name_of(id, chat)?;
        chat.record_audit(format!("{operator} deletes the room {name}"));
        chat.delete_room(name.clone(), self.peer, now);
        self.run_commands(chat, now);
        let body = ReplyBody::Text(name.as_str().into());
        let (place, scope) = (Place::Nick(NickId::NONE), Scope::Room(name));
        let kind = EventKind::DeleteRoom(Vec::new());
        let draft = Draft::new(verb, kind, body);
        Ok(Some(self.propose(place, scope, draft, chat)))
    }

    /// Continues after the account of a nick was deleted.
    pub(super) fn finish_remove_account(
        &mut self,
        nick: &Nick,
        result: AccountResult,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        let by = self.nick.and_then(|nick| chat.user(nick));
        let by = by.map_or_else(String::new, |user| user.nick.to_string());
        chat.record_audit(format!("{by} deletes the account of {nick}"));
        self.finish_unregister(Verb::Remove, nick, result, chat, now)
    }

    pub(super) fn note(&mut self, text: &str, chat: &mut Chat, now: Now) -> Done {
        let verb = Verb::Note;
        let operator = self.require_operator(verb, chat)?;
        chat.record_audit(format!("{operator} sends a notice to everybody"));
        chat.notify_everyone(operator, text, self.peer, now);
        self.ok(
            verb,
            "",
            "the notice was sent to everybody",
            AfterReply::Nothing,
        );
        Ok(None)
    }

    pub(super) fn shutdown(&mut self, text: &str, chat: &mut Chat) -> Done {
        let verb = Verb::Shutdown;
        let operator = self.require_operator(verb, chat)?;
        if !text.is_empty() {
            chat.farewell = Some(text.to_owned());
        }
        chat.record_audit(format!("{operator} stops the server: {text}"));
        self.ok(verb, "", "", AfterReply::Nothing);
        Ok(Some(Effect::Stop))
    }

    /// Continues after a ban was stored or removed.
    pub(super) fn finish_ban(
        &mut self,
        query: AccountQuery,
        result: &AccountResult,
        chat: &mut Chat,
        now: Now,
    ) {
        if !matches!(result, AccountResult::Done) {
            return;
        }
        let by = self.nick.and_then(|nick| chat.user(nick));
        let by = by.map_or_else(String::new, |user| user.nick.to_string());
        match query {
            AccountQuery::Ban(ban) => {
                let until = ban
                    .until
                    .map_or_else(String::new, |until| format!(" until {until}"));
                chat.record_audit(format!("{by} bans {}{until}: {}", ban.target, ban.text));
                let target = ban.target.to_string();
                chat.add_ban(ban, self.peer, now);
                self.ok(
                    Verb::Ban,
                    &target,
                    &format!("{target} is banned"),
                    AfterReply::Nothing,
                );
            }
            AccountQuery::Unban(target) => {
                chat.record_audit(format!("{by} lifts the ban of {target}"));
                let name = target.to_string();
                chat.remove_ban(target, self.peer, now);
                self.ok(
                    Verb::Unban,
                    &name,
                    &format!("{name} can connect again"),
                    AfterReply::Nothing,
                );
            }
            _ => {}
        }
    }

    /// Executes the commands that other connections have sent to this connection. A command to close waits until the
    /// request in progress has ended.
    pub fn run_commands(&mut self, chat: &mut Chat, now: Now) {
        let is_busy = self.expects == Expects::Nothing;
        if !chat.has_commands(self.peer) || is_busy && chat.is_ended(self.peer) {
            return;
        }
        for command in chat.take_commands(self.peer) {
            match command {
                ConnectionCommand::Leave(departure) => self.remove_from_room(&departure),
                ConnectionCommand::Moved(moved) => self.show_moved(&moved, chat, now),
                ConnectionCommand::Close(code, text) => self.dismiss(code, &text, chat, now),
            }
        }
    }
}
