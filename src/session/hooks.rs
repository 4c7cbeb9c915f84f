//! Hooks: handles `HOOK` and `HOOKS`, and prepares the connection that sends what a tool has posted.

use super::Session;
use super::output::{AfterReply, Entries};
use super::request::{Done, refused};
use crate::accounts::{AccountQuery, AccountResult};
use crate::chat::Chat;
use crate::config::fixed::{HOOKS_IN_ALL, HOOKS_MAX};
use crate::model::{Hook, Now};
use crate::protocol::human::plural;
use crate::protocol::request::Refusal;
use crate::protocol::{Code, Nick, RoomName, Verb};

impl Session {
    /// Handles `HOOK`: creates a hook for a room. The nick must be allowed to send to the room.
    pub(super) fn hook(&mut self, label: Nick, room: &RoomName, chat: &mut Chat) -> Done {
        let verb = Verb::Hook;
        let nick = self.registered_nick(verb, chat)?;
        self.require_tls(verb, chat)?;
        let room = chat
            .find_or_create_room(room, self.peer, self.nick)
            .map_err(refused(verb))?;
        if chat.hooks.is_full() {
            let text =
                format!("the server has {HOOKS_IN_ALL} hooks already; ask its administrator");
            return Err(Refusal::new(verb, Code::Quota, text));
        }
        let room = RoomName::clone(&*super::request::name_of(room, chat)?);
        self.query_accounts(AccountQuery::NewHook { nick, label, room })
    }

    /// Handles `HOOKS`: lists the hooks of the nick.
    pub(super) fn hooks(&mut self, chat: &Chat) -> Done {
        let nick = self.registered_nick(Verb::Hooks, chat)?;
        self.query_accounts(AccountQuery::Hooks { nick })
    }

    pub(super) fn finish_new_hook(
        &mut self,
        result: AccountResult,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        let verb = Verb::Hook;
        match result {
            AccountResult::NewHook(hook, token) => {
                let path = format!("/hooks/{}", token.expose());
                let talk = format!("{path}  (it is not shown again)");
                self.ok(
                    verb,
                    &format!("{} {path}", hook.label),
                    &talk,
                    AfterReply::Nothing,
                );
                chat.add_hook(hook, self.peer, now);
                self.send_tls_hint(chat);
                Ok(None)
            }
            AccountResult::No => {
                let text = format!(
                    "you have a token or hook of that label already, or {HOOKS_MAX} hooks; REVOKE one"
                );
                Err(Refusal::new(verb, Code::Quota, text))
            }
            _ => {
                let text = "that nick is not registered any more";
                Err(Refusal::new(verb, Code::NotAllowed, text))
            }
        }
    }

    pub(super) fn finish_hooks(&mut self, result: &AccountResult) -> Done {
        let AccountResult::Hooks(hooks) = result else {
            return Ok(None);
        };
        let mut lines = Entries::new("HOOK", self.input);
        for Hook {
            label, room, made, ..
        } in hooks
        {
            lines.add(&[label.as_str(), room.as_str(), &made.to_string()]);
        }
        let count = self.send_entries(lines);
        let talk = plural(count, "hook", "hooks");
        self.ok(Verb::Hooks, &count.to_string(), &talk, AfterReply::Nothing);
        Ok(None)
    }

    /// Gives a new connection the nick of a hook, so that it can send what was posted to the hook. The connection
    /// joins no room.
    ///
    /// # Errors
    /// When the nick may not send now, or when a token may not be sent in plain text.
    pub fn speak_for(&mut self, hook: &Hook, chat: &mut Chat, now: Now) -> Result<(), Refusal> {
        let verb = Verb::Nick;
        self.require_tls(verb, chat)?;
        let nick = hook.nick.clone();
        if let Some(reason) = chat.ban_of_nick(&nick, now.time) {
            return Err(Refusal::new(verb, Code::Banned, reason));
        }
        let id = chat.take_nick(self.peer, None, &[], nick, None, now);
        let Some(id) = id.map_err(refused(verb))? else {
            let text = "hooks are not served by several servers yet";
            return Err(Refusal::new(verb, Code::Internal, text));
        };
        self.open(chat);
        self.nick = Some(id);
        self.has_token = true;
        self.inbox = chat.inbox_end(id);
        Ok(())
    }
}
