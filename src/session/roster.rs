//! Queries of a session to the accounts: whose nick it is, and what its owner stores there.
//!
//! A password takes milliseconds of a thread, so the result comes later; until then no line is accepted, and replies
//! stay in order.

use super::output::Entries;
use super::output::Then;
use super::request::Done;
use super::{Effect, Session};
use crate::chat::Chat;
use crate::chat::nick::Door;
use crate::config::fixed::TOKENS_MAX;
use crate::model::{AclChange, Now, Secret};
use crate::protocol::people::many;
use crate::protocol::request::Refusal;
use crate::protocol::{Code, Nick, Verb};
use crate::roster::{Answer, Ask, PASSWORD_CHARS_MIN};

/// A pending query to the accounts.
#[derive(Debug)]
pub(super) struct Consulted {
    ask: Ask,
    /// The version of the account that a password was given for (`Chat::account_version`).
    account: Option<u64>,
}

impl Session {
    /// Starts a query; no line is accepted until [`Self::advised`].
    pub(super) fn consult(&mut self, ask: Ask) -> Done {
        self.consult_about(ask, None)
    }

    fn consult_about(&mut self, ask: Ask, account: Option<u64>) -> Done {
        self.is_busy = true;
        let consulted = Consulted {
            ask: ask.clone(),
            account,
        };
        self.consulted = Some(Box::new(consulted));
        Ok(Some(Effect::Consult(ask)))
    }

    /// Asks whether a password is that of `nick`, for its present account.
    fn consult_enter(&mut self, nick: Nick, password: &str, chat: &Chat) -> Done {
        let account = chat.account_version(&nick);
        let secret = Secret::new(password);
        self.consult_about(Ask::Enter { nick, secret }, account)
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
        if password.is_some() {
            self.need_tls(Verb::Nick, chat)?;
        }
        // While the server's password has not been given, a wrong password gets the same reply after the same time,
        // whether or not the nick is registered.
        match password {
            Some(password) if !self.is_open => return self.consult_enter(nick, password, chat),
            _ => self.need_open(Verb::Nick)?,
        }
        if let Some(told) = chat.ban_of_nick(&nick, now.time) {
            return Err(Refusal::new(Verb::Nick, Code::Banned, told));
        }
        let door = chat.door(&nick, self.nick, password.is_some());
        match (door.map_err(super::request::refused(Verb::Nick))?, password) {
            (Door::Guarded, Some(password)) => self.consult_enter(nick, password, chat),
            (Door::Open, Some(password)) if chat.is_guarded(&nick) => {
                let secret = Secret::new(password);
                self.consult(Ask::Share { nick, secret })
            }
            _ => self.take_nick(nick, password, chat, now),
        }
    }

    pub(super) fn register(&mut self, password: Option<&str>, chat: &mut Chat, now: Now) -> Done {
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
            return if is_new {
                Err(Refusal::new(
                    verb,
                    Code::NotAllowed,
                    format!("{nick} is not registered"),
                ))
            } else {
                self.consult(Ask::Unregister { nick })
            };
        };
        if password.chars().count() < PASSWORD_CHARS_MIN {
            let text = format!("a password has at least {PASSWORD_CHARS_MIN} characters");
            return Err(Refusal::new(verb, Code::BadPassword, text));
        }
        if is_new && chat.is_operators(&nick) && !chat.is_here(self.peer) {
            let text = format!(
                "{nick} is to be an operator: register it from the server's own machine, and not through a proxy"
            );
            return Err(Refusal::new(verb, Code::NotAllowed, text));
        }
        if is_new && chat.accounts() >= chat.limits().accounts_max {
            let text = "there are too many registered nicks";
            return Err(Refusal::new(verb, Code::Quota, text));
        }
        if is_new && !chat.may_register(self.peer, now) {
            let text = "too many nicks were registered just now; try again in half a minute";
            return Err(Refusal::new(verb, Code::Busy, text));
        }
        let password = Secret::new(password);
        let ask = Ask::Register {
            nick: nick.clone(),
            password,
        };
        if is_new {
            Ok(self.ask_forget(nick, ask))
        } else {
            self.consult(ask)
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

    /// Returns the nick of this connection.
    fn own_nick(&self, verb: Verb, chat: &Chat) -> Result<Nick, Refusal> {
        let holder = chat.holder(self.need_nick(verb)?);
        let gone = || Refusal::new(verb, Code::NeedNick, "choose a nick first: NICK <nick>");
        holder.map(|holder| holder.nick.clone()).ok_or_else(gone)
    }

    /// Returns the nick if it is registered and this connection has given its password: with a stolen token one must
    /// not be able to make more tokens, or to lock the owner out.
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
        if self.has_token {
            Err(Refusal::new(verb, Code::NotAllowed, text))
        } else {
            Ok(())
        }
    }

    /// Continues with the result of a query, or with its failure.
    pub fn advised(
        &mut self,
        answer: Result<Answer, Code>,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        let Consulted {
            ask: asked,
            account,
        } = *self.consulted.take()?;
        self.is_busy = false;
        let verb = match &asked {
            Ask::Enter { .. } | Ask::Share { .. } => Verb::Nick,
            Ask::Register { .. } | Ask::Unregister { .. } => Verb::Register,
            Ask::RemoveAccount { .. } => Verb::Remove,
            Ask::NewToken { .. } => Verb::Token,
            Ask::Tokens { .. } => Verb::Tokens,
            Ask::Revoke { .. } => Verb::Revoke,
            Ask::Pass(_) => Verb::Pass,
            Ask::Ban(_) => Verb::Ban,
            Ask::Unban(_) => Verb::Unban,
            Ask::Room { change, .. } => match change {
                None | Some((AclChange::Close(..), _)) => Verb::Mode,
                Some((AclChange::Invite(..), _)) => Verb::Invite,
                Some((AclChange::Uninvite(..), _)) => Verb::Uninvite,
            },
        };
        let done = match answer {
            Err(code) => {
                let text = match code {
                    Code::Quota => "there is no space left on the server's disk; try again later",
                    Code::ShuttingDown => "the server is stopping; connect again later",
                    _ => "that cannot be read or kept now; the server's own log tells why",
                };
                Err(Refusal::new(verb, code, text))
            }
            Ok(Answer::TooMany) => Err(Refusal::new(
                verb,
                Code::Busy,
                "there were too many wrong passwords; wait half a minute",
            )),
            Ok(answer) => match asked {
                Ask::Pass(_) => self.settle_pass(&answer, chat),
                Ask::Enter { nick, secret } => {
                    self.settle_enter(nick, &secret, account, &answer, chat, now)
                }
                Ask::Share { nick, secret } => self.settle_share(nick, &secret, account, chat, now),
                Ask::Register { nick, .. } => self.settle_register(&nick, chat),
                Ask::Unregister { nick } => {
                    self.settle_unregister(Verb::Register, &nick, answer, chat, now)
                }
                Ask::RemoveAccount { nick } => self.settle_remove_account(&nick, answer, chat, now),
                Ask::NewToken { label, .. } => self.settle_new_token(&label, answer, chat),
                Ask::Tokens { .. } => self.settle_tokens(&answer),
                Ask::Revoke { label, .. } => self.settle_revoke(&label, &answer),
                Ask::Ban(_) | Ask::Unban(_) => {
                    self.settle_ban(asked, &answer, chat, now);
                    Ok(None)
                }
                Ask::Room {
                    room,
                    change: Some((change, _)),
                    ..
                } => self.settle_change(&room, &change, answer, chat, now),
                Ask::Room { .. } => Ok(None),
            },
        };
        done.unwrap_or_else(|refusal| {
            self.refuse(&refusal);
            None
        })
    }

    fn settle_pass(&mut self, answer: &Answer, chat: &Chat) -> Done {
        let verb = Verb::Pass;
        if !matches!(answer, Answer::Password) {
            let text = "that is not the password of this server";
            return Err(Refusal::new(verb, Code::BadPassword, text));
        }
        self.open(chat);
        self.ok(verb, "", "come in: /nick yourname", Then::Nothing);
        self.tell_of_tls(chat);
        Ok(None)
    }

    /// Continues after the password of a nick was checked. If its account has changed or been deleted since, the result
    /// is obsolete and the request starts again.
    fn settle_enter(
        &mut self,
        nick: Nick,
        secret: &Secret,
        account: Option<u64>,
        answer: &Answer,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        if chat.account_version(&nick) != account {
            return self.nick(nick, Some(secret.expose()), chat, now);
        }
        let has_token = match answer {
            Answer::Password => false,
            Answer::Token => true,
            _ => {
                let text = format!("that is not the password of {nick}");
                return Err(Refusal::new(Verb::Nick, Code::BadPassword, text));
            }
        };
        self.open(chat);
        if let Some(told) = chat.ban_of_nick(&nick, now.time) {
            return Err(Refusal::new(Verb::Nick, Code::Banned, told));
        }
        let done = self.take_nick(nick, Some(secret.expose()), chat, now)?;
        self.has_token = has_token;
        Ok(done)
    }

    /// Continues with a nick that is in use and not registered, whose password may be compared now. If it has been
    /// registered since, it has another password, and the request starts again.
    fn settle_share(
        &mut self,
        nick: Nick,
        secret: &Secret,
        account: Option<u64>,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        if chat.account_version(&nick) != account {
            return self.nick(nick, Some(secret.expose()), chat, now);
        }
        let verb = Verb::Nick;
        if let Some(told) = chat.ban_of_nick(&nick, now.time) {
            return Err(Refusal::new(verb, Code::Banned, told));
        }
        // A look-alike may have been registered since.
        let door = chat.door(&nick, self.nick, true);
        door.map_err(super::request::refused(verb))?;
        self.take_nick(nick, Some(secret.expose()), chat, now)
    }

    fn settle_register(&mut self, nick: &Nick, chat: &mut Chat) -> Done {
        chat.registered(nick);
        let talk = format!("{nick} is yours now; come in with /nick {nick} <password>");
        self.ok(Verb::Register, nick.as_str(), &talk, Then::Nothing);
        self.tell_of_tls(chat);
        Ok(None)
    }

    /// Deletes the account of `nick`, as `verb` requested.
    pub(super) fn settle_unregister(
        &mut self,
        verb: Verb,
        nick: &Nick,
        answer: Answer,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        chat.unregistered(nick, now);
        if let Answer::Rooms(rooms) = answer {
            chat.set_rights(rooms, now);
        }
        let talk = format!("{nick} is nobody's own now");
        self.ok(verb, nick.as_str(), &talk, Then::Nothing);
        Ok(None)
    }

    fn settle_new_token(&mut self, label: &Nick, answer: Answer, chat: &Chat) -> Done {
        let verb = Verb::Token;
        let (code, text) = match answer {
            Answer::NewToken(token) => {
                let rest = format!("{label} {}", token.expose());
                let talk = format!("{}  (it is not shown again)", token.expose());
                self.ok(verb, &rest, &talk, Then::Nothing);
                self.tell_of_tls(chat);
                return Ok(None);
            }
            Answer::No => {
                let most = TOKENS_MAX;
                let text =
                    format!("there is a token {label} already, or {most} in all; REVOKE one");
                (Code::Quota, text)
            }
            _ => (Code::NotAllowed, "that nick was given up meanwhile".into()),
        };
        Err(Refusal::new(verb, code, text))
    }

    fn settle_tokens(&mut self, answer: &Answer) -> Done {
        let Answer::Tokens(rows) = answer else {
            return Ok(None);
        };
        let mut lines = Entries::new("TOKEN", self.input);
        for row in rows {
            lines.add(&[&row.label, &row.made.to_string()]);
        }
        let count = self.send_entries(lines);
        self.ok(
            Verb::Tokens,
            &count.to_string(),
            &many(count, "token", "tokens"),
            Then::Nothing,
        );
        Ok(None)
    }

    fn settle_revoke(&mut self, label: &Nick, answer: &Answer) -> Done {
        if !matches!(answer, Answer::Done) {
            let text = format!("there is no token {label}; TOKENS lists them");
            return Err(Refusal::new(Verb::Revoke, Code::BadName, text));
        }
        let talk = format!("token {label} opens nothing any more");
        self.ok(Verb::Revoke, label.as_str(), &talk, Then::Nothing);
        Ok(None)
    }
}
