//! Requests of operators: close connections, ban, send notices to everyone, stop the server.

use super::output::{Entries, Then};
use super::request::{Done, name_of};
use super::{Effect, Session};
use crate::chat::bans::Order;
use crate::chat::{Chat, NickId, Place};
use crate::config::fixed::BANS_MAX;
use crate::dialect::Shown;
use crate::model::{Ban, EventKind, Now, Scope};
use crate::protocol::people::many;
use crate::protocol::request::Refusal;
use crate::protocol::whom::Whom;
use crate::protocol::{Code, Nick, RoomName, Time, Verb};
use crate::roster::{Answer, Ask};
use std::time::Duration;

impl Session {
    /// The nick of the operator that this connection is.
    pub(super) fn need_operator(&self, verb: Verb, chat: &Chat) -> Result<Nick, Refusal> {
        let nick = self.need_nick(verb)?;
        let holder = chat.holder(nick).filter(|_| chat.is_operator(nick));
        let others = || Refusal::new(verb, Code::NotAllowed, "that is for operators");
        holder.map(|holder| holder.nick.clone()).ok_or_else(others)
    }

    /// Returns whether this connection is an operator's.
    pub(super) fn is_operator(&self, chat: &Chat) -> bool {
        self.nick.is_some_and(|nick| chat.is_operator(nick))
    }

    pub(super) fn kick(&mut self, nick: &Nick, text: &str, chat: &mut Chat) -> Done {
        let verb = Verb::Kick;
        let operator = self.need_operator(verb, chat)?;
        let Some(id) = chat.find_nick(nick) else {
            let text = format!("nobody is called {nick} here");
            return Err(Refusal::new(verb, Code::NoSuchNick, text));
        };
        let told = match text {
            "" => format!("{operator} has ended your connection"),
            text => format!("{operator} has ended your connection: {text}"),
        };
        let count = chat.end_nick(id, Code::Kicked, &told);
        chat.act(format!(
            "{operator} kicks {nick} ({count} connections): {text}"
        ));
        self.ok(
            verb,
            nick.as_str(),
            &format!("{nick} is out"),
            Then::Nothing,
        );
        Ok(None)
    }

    pub(super) fn ban(
        &mut self,
        whom: Whom,
        lasts: Option<Duration>,
        text: &str,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        let verb = Verb::Ban;
        let operator = self.need_operator(verb, chat)?;
        let is_own = match &whom {
            Whom::Nick(nick) => nick.looks_like(&operator),
            Whom::Network(network) => {
                let own = chat.address(self.peer);
                own.is_some_and(|own| network.holds(own))
            }
        };
        if is_own {
            let text = format!("{whom} is you as well");
            return Err(Refusal::new(verb, Code::NotAllowed, text));
        }
        if chat.bans(now.time).count() >= BANS_MAX {
            let text = format!("there are {BANS_MAX} bans; UNBAN some, or ban networks");
            return Err(Refusal::new(verb, Code::Quota, text));
        }
        let lasts = lasts.map(|lasts| u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
        self.consult(Ask::Ban(Ban {
            whom,
            by: operator.as_str().to_owned(),
            text: text.to_owned(),
            until: lasts.map(|lasts| Time(now.time.0.saturating_add(lasts))),
        }))
    }

    pub(super) fn unban(&mut self, whom: Whom, chat: &Chat, now: Now) -> Done {
        let verb = Verb::Unban;
        self.need_operator(verb, chat)?;
        if !chat.bans(now.time).any(|ban| ban.whom.key() == whom.key()) {
            let text = format!("{whom} is not banned; BANS lists who is");
            return Err(Refusal::new(verb, Code::NoSuchNick, text));
        }
        self.consult(Ask::Unban(whom))
    }

    pub(super) fn bans(&mut self, chat: &Chat, now: Now) -> Done {
        let verb = Verb::Bans;
        self.need_operator(verb, chat)?;
        let mut lines = Entries::new("BAN", self.input);
        for Ban {
            whom,
            by,
            text,
            until,
        } in chat.bans(now.time)
        {
            let until = until.map_or_else(|| "-".to_owned(), |until| until.to_string());
            lines.add(&[&whom.to_string(), &until, by, text]);
        }
        let count = self.send_entries(lines);
        self.ok(
            verb,
            &count.to_string(),
            &many(count, "ban", "bans"),
            Then::Nothing,
        );
        Ok(None)
    }

    /// Deletes the account of a nick.
    pub(super) fn remove_account(&mut self, nick: Nick, chat: &Chat) -> Done {
        let verb = Verb::Remove;
        self.need_operator(verb, chat)?;
        if !chat.is_registered(&nick) {
            let text = format!("{nick} is not registered");
            return Err(Refusal::new(verb, Code::NoSuchNick, text));
        }
        if chat.is_operators(&nick) {
            let text = format!("{nick} is an operator; REGISTER - under that nick gives it up");
            return Err(Refusal::new(verb, Code::NotAllowed, text));
        }
        self.consult(Ask::RemoveAccount { nick })
    }

    /// Deletes a room with everything in it. Its connections leave it at once; the reply waits for the log.
    pub(super) fn remove_room(&mut self, room: &RoomName, chat: &mut Chat, now: Now) -> Done {
        let verb = Verb::Remove;
        let operator = self.need_operator(verb, chat)?;
        let Some(id) = chat.find_room(room) else {
            let text = format!("there is no room {room}; ROOMS all lists them");
            return Err(Refusal::new(verb, Code::NoSuchRoom, text));
        };
        if id == chat.lobby() {
            let text = "this is the room that everybody enters first; it cannot be deleted";
            return Err(Refusal::new(verb, Code::NotAllowed, text));
        }
        let name = name_of(id, chat)?;
        chat.act(format!("{operator} deletes the room {name}"));
        chat.delete_room(id);
        self.obey(chat, now);
        let shown = Shown::Text(name.as_str().into());
        let (place, scope) = (Place::Nick(NickId::NOBODY), Scope::Room(name));
        let kind = EventKind::DeleteRoom(Vec::new());
        Ok(Some(
            self.propose(verb, place, scope, kind, "", shown, chat),
        ))
    }

    /// The account of a nick is deleted.
    pub(super) fn settle_remove_account(
        &mut self,
        nick: &Nick,
        answer: Answer,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        let by = self.nick.and_then(|nick| chat.holder(nick));
        let by = by.map_or_else(String::new, |holder| holder.nick.to_string());
        chat.act(format!("{by} deletes the account of {nick}"));
        self.settle_unregister(Verb::Remove, nick, answer, chat, now)
    }

    pub(super) fn note(&mut self, text: &str, chat: &mut Chat, now: Now) -> Done {
        let verb = Verb::Note;
        let operator = self.need_operator(verb, chat)?;
        chat.note(operator.as_str(), text, Some(self.peer), now);
        chat.act(format!("{operator} notes something to everybody"));
        self.ok(verb, "", "everybody has it", Then::Nothing);
        Ok(None)
    }

    pub(super) fn shutdown(&mut self, text: &str, chat: &mut Chat) -> Done {
        let verb = Verb::Shutdown;
        let operator = self.need_operator(verb, chat)?;
        if !text.is_empty() {
            chat.farewell = Some(text.to_owned());
        }
        chat.act(format!("{operator} stops the server: {text}"));
        self.ok(verb, "", "", Then::Nothing);
        Ok(Some(Effect::Stop))
    }

    /// Continues after a ban was stored or removed.
    pub(super) fn settle_ban(&mut self, asked: Ask, answer: &Answer, chat: &mut Chat, now: Now) {
        if !matches!(answer, Answer::Done) {
            return;
        }
        let by = self.nick.and_then(|nick| chat.holder(nick));
        let by = by.map_or_else(String::new, |holder| holder.nick.to_string());
        match asked {
            Ask::Ban(ban) => {
                let until = ban
                    .until
                    .map_or_else(String::new, |until| format!(" until {until}"));
                chat.act(format!("{by} bans {}{until}: {}", ban.whom, ban.text));
                let whom = ban.whom.to_string();
                chat.add_ban(ban, now);
                self.ok(
                    Verb::Ban,
                    &whom,
                    &format!("{whom} is kept out"),
                    Then::Nothing,
                );
            }
            Ask::Unban(whom) => {
                chat.act(format!("{by} lifts the ban of {whom}"));
                chat.remove_ban(&whom);
                let whom = whom.to_string();
                self.ok(
                    Verb::Unban,
                    &whom,
                    &format!("{whom} may come in again"),
                    Then::Nothing,
                );
            }
            _ => {}
        }
    }

    /// Carries out the orders of other connections. An order to close waits until the request in progress has ended.
    pub fn obey(&mut self, chat: &mut Chat, now: Now) {
        if !chat.has_orders(self.peer) || self.is_busy && chat.is_ended(self.peer) {
            return;
        }
        for order in chat.take_orders(self.peer) {
            match order {
                Order::Leave(room, until, line) => self.put_out(room, until, &line),
                Order::Close(code, text) => self.dismiss(code, &text, chat, now),
            }
        }
    }
}
