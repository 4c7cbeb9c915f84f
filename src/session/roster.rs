//! What a session asks of the roster: whose nick that is, and what its owner keeps there.
//!
//! A password takes milliseconds of a thread, so the answer comes later; until then no line is taken, and
//! replies stay in order.

use super::output::Then;
use super::request::Done;
use super::{Dialect, Effect, Session};
use crate::chat::nick::Door;
use crate::chat::{Chat, Now};
use crate::protocol::people::many;
use crate::protocol::request::Refusal;
use crate::protocol::{Code, Nick, Verb};
use crate::roster::{Answer, Ask, Change, PASSWORD_CHARS_MIN, Roster, Secret};

impl Session {
    /// Asks, and takes no line until [`Self::advised`].
    pub(super) fn consult(&mut self, ask: Ask) -> Done {
        self.is_busy = true;
        self.consulted = Some(Box::new(ask.clone()));
        Ok(Some(Effect::Consult(ask)))
    }

    pub(super) fn pass(&mut self, password: &str, chat: &Chat) -> Done {
        self.need_tls(Verb::Pass, chat)?;
        self.consult(Ask::Pass(Secret::new(password)))
    }

    pub(super) fn nick(
        &mut self,
        nick: Nick,
        password: Option<&str>,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        if let Some(told) = chat.ban_of_nick(&nick, now.time) {
            return Err(Refusal::new(Verb::Nick, Code::Banned, told));
        }
        if password.is_some() {
            self.need_tls(Verb::Nick, chat)?;
        }
        // On a closed server a wrong password is answered alike, and as late, whether the nick is registered.
        match password {
            Some(password) if !self.is_open => {
                let secret = Secret::new(password);
                return self.consult(Ask::Enter { nick, secret });
            }
            _ => self.need_open(Verb::Nick)?,
        }
        let door = chat.door(&nick, self.nick, password.is_some());
        match (door.map_err(super::request::refused(Verb::Nick))?, password) {
            (Door::Guarded, Some(password)) => {
                let secret = Secret::new(password);
                self.consult(Ask::Enter { nick, secret })
            }
            (Door::Open, Some(password)) if chat.is_guarded(&nick) => {
                let secret = Secret::new(password);
                self.consult(Ask::Share { nick, secret })
            }
            _ => self.take_nick(nick, password, chat, now),
        }
    }

    pub(super) fn register(&mut self, password: Option<&str>, chat: &Chat) -> Done {
        let verb = Verb::Register;
        let nick = self.own_nick(verb, chat)?;
        if password.is_some() {
            self.need_tls(verb, chat)?;
        }
        let is_new = !chat.is_registered(&nick);
        if !is_new {
            self.need_password_in(verb)?;
        }
        let Some(password) = password else {
            return match is_new {
                true => Err(Refusal::new(
                    verb,
                    Code::NotAllowed,
                    format!("{nick} is not registered"),
                )),
                false => self.consult(Ask::Unregister { nick }),
            };
        };
        if password.chars().count() < PASSWORD_CHARS_MIN {
            let text = format!("a password has at least {PASSWORD_CHARS_MIN} characters");
            return Err(Refusal::new(verb, Code::BadPassword, text));
        }
        let is_near = chat
            .address(self.peer)
            .is_some_and(|address| address.is_loopback());
        if is_new && chat.is_operators(&nick) && !is_near {
            let text =
                format!("{nick} is to be an operator: register it from the server's own machine");
            return Err(Refusal::new(verb, Code::NotAllowed, text));
        }
        if is_new && chat.accounts() >= chat.limits().accounts_max {
            let text = "there are too many registered nicks";
            return Err(Refusal::new(verb, Code::Quota, text));
        }
        let password = Secret::new(password);
        let ask = Ask::Register {
            nick: nick.clone(),
            password,
        };
        match is_new {
            true => Ok(self.ask_forget(nick, ask)),
            false => self.consult(ask),
        }
    }

    pub(super) fn token(&mut self, label: Nick, chat: &Chat) -> Done {
        let nick = self.registered_nick(Verb::Token, chat)?;
        self.need_tls(Verb::Token, chat)?;
        self.consult(Ask::NewToken { nick, label })
    }

    pub(super) fn tokens(&mut self, chat: &Chat) -> Done {
        let nick = self.registered_nick(Verb::Tokens, chat)?;
        self.consult(Ask::Tokens { nick })
    }

    pub(super) fn revoke(&mut self, label: Nick, chat: &Chat) -> Done {
        let nick = self.registered_nick(Verb::Revoke, chat)?;
        self.consult(Ask::Revoke { nick, label })
    }

    /// The nick of this connection.
    fn own_nick(&self, verb: Verb, chat: &Chat) -> Result<Nick, Refusal> {
        let holder = chat.holder(self.need_nick(verb)?);
        let gone = || Refusal::new(verb, Code::NeedNick, "choose a nick first: NICK <nick>");
        holder.map(|holder| holder.nick.clone()).ok_or_else(gone)
    }

    /// The same, which must be registered, and this connection in by its password: who finds a token must not
    /// get more of them, nor keep the owner out.
    fn registered_nick(&self, verb: Verb, chat: &Chat) -> Result<Nick, Refusal> {
        let nick = self.own_nick(verb, chat)?;
        if !chat.is_registered(&nick) {
            let text = format!("{nick} is not registered: REGISTER <password> first");
            return Err(Refusal::new(verb, Code::NotAllowed, text));
        }
        self.need_password_in(verb)?;
        Ok(nick)
    }

    fn need_password_in(&self, verb: Verb) -> Result<(), Refusal> {
        let text = "that needs the password, and you came in with a token";
        match self.has_token {
            true => Err(Refusal::new(verb, Code::NotAllowed, text)),
            false => Ok(()),
        }
    }

    /// The roster has answered, or cannot.
    pub fn advised(&mut self, answer: Option<Answer>, chat: &mut Chat, now: Now) -> Option<Effect> {
        let asked = *self.consulted.take()?;
        self.is_busy = false;
        let verb = match &asked {
            Ask::Enter { .. } | Ask::Share { .. } => Verb::Nick,
            Ask::Register { .. } | Ask::Unregister { .. } => Verb::Register,
            Ask::NewToken { .. } => Verb::Token,
            Ask::Tokens { .. } => Verb::Tokens,
            Ask::Revoke { .. } => Verb::Revoke,
            Ask::Pass(_) => Verb::Pass,
            Ask::Ban(_) => Verb::Ban,
            Ask::Unban(_) => Verb::Unban,
            Ask::Room { change, .. } => match change {
                None | Some(Change::Close(..)) => Verb::Mode,
                Some(Change::Invite(..)) => Verb::Invite,
                Some(Change::Uninvite(..)) => Verb::Uninvite,
            },
        };
        let done = match answer {
            None => Err(Refusal::new(
                verb,
                Code::Internal,
                "that cannot be read or kept now; the server's own log tells why",
            )),
            Some(Answer::TooMany) => Err(Refusal::new(
                verb,
                Code::Busy,
                "there were too many wrong passwords; wait half a minute",
            )),
            Some(answer) => self.settle_asked(verb, asked, answer, chat, now),
        };
        done.unwrap_or_else(|refusal| {
            self.refuse(&refusal);
            None
        })
    }

    fn settle_asked(
        &mut self,
        verb: Verb,
        asked: Ask,
        answer: Answer,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        match (asked, answer) {
            (Ask::Pass(_), Answer::Password) => {
                self.open(chat);
                self.ok(verb, "", "come in: /nick yourname", Then::Nothing);
                self.tell_of_tls(chat);
            }
            (Ask::Pass(_), _) => {
                let text = "that is not the password of this server";
                return Err(Refusal::new(verb, Code::BadPassword, text));
            }
            (asked @ (Ask::Ban(_) | Ask::Unban(_)), answer) => {
                self.settle_ban(asked, &answer, chat, now);
            }
            (Ask::Enter { nick, secret }, answer @ (Answer::Password | Answer::Token)) => {
                self.open(chat);
                let done = self.take_nick(nick, Some(secret.expose()), chat, now)?;
                self.has_token = matches!(answer, Answer::Token);
                return Ok(done);
            }
            (Ask::Share { nick, secret }, _) => {
                return self.take_nick(nick, Some(secret.expose()), chat, now);
            }
            (Ask::Enter { nick, .. }, _) => {
                let text = format!("that is not the password of {nick}");
                return Err(Refusal::new(verb, Code::BadPassword, text));
            }
            (Ask::Register { nick, .. }, _) => {
                chat.registered(&nick);
                let talk = format!("{nick} is yours now; come in with /nick {nick} <password>");
                self.ok(verb, nick.as_str(), &talk, Then::Nothing);
                self.tell_of_tls(chat);
            }
            (Ask::Unregister { nick }, _) => {
                chat.unregistered(&nick, now);
                let talk = format!("{nick} is nobody's own now");
                self.ok(verb, nick.as_str(), &talk, Then::Nothing);
            }
            (Ask::NewToken { label, .. }, Answer::NewToken(token)) => {
                let rest = format!("{label} {}", token.expose());
                let talk = format!("{}  (it is not shown again)", token.expose());
                self.ok(verb, &rest, &talk, Then::Nothing);
                self.tell_of_tls(chat);
            }
            (Ask::NewToken { label, .. }, _) => {
                let most = Roster::TOKENS_MAX;
                let text =
                    format!("there is a token {label} already, or {most} in all; REVOKE one");
                return Err(Refusal::new(verb, Code::Quota, text));
            }
            (Ask::Tokens { .. }, Answer::Tokens(rows)) => {
                let mark = if self.input == Dialect::Talker {
                    "   "
                } else {
                    "TOKEN "
                };
                let lines = rows
                    .iter()
                    .map(|row| format!("{mark}{} {}\n", row.label, row.made));
                self.push(lines.collect::<String>().into_bytes(), Then::Nothing);
                let count = rows.len();
                self.ok(
                    verb,
                    &count.to_string(),
                    &many(count, "token", "tokens"),
                    Then::Nothing,
                );
            }
            (Ask::Revoke { label, .. }, Answer::Done) => {
                let talk = format!("token {label} opens nothing any more");
                self.ok(verb, label.as_str(), &talk, Then::Nothing);
            }
            (Ask::Revoke { label, .. }, _) => {
                let text = format!("there is no token {label}; TOKENS lists them");
                return Err(Refusal::new(verb, Code::BadName, text));
            }
            (
                Ask::Room {
                    room,
                    change: Some(change),
                    ..
                },
                _,
            ) => self.settle_change(&room, &change, chat, now),
            (Ask::Tokens { .. } | Ask::Room { .. }, _) => {}
        }
        Ok(None)
    }
}
