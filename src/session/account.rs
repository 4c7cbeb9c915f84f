//! Queries of a session to the accounts: checks of passwords, and changes that the owner of a nick makes.
//!
//! A password check takes milliseconds on another thread. Until the result arrives, the session accepts no line, so
//! that replies stay in order.

use super::output::AfterReply;
use super::output::Entries;
use super::request::Done;
use super::{Effect, Expects, Session};
use crate::accounts::{AccountQuery, AccountResult, PASSWORD_CHARS_MIN};
use crate::chat::Chat;
use crate::chat::nick::NickAccess;
use crate::config::fixed::TOKENS_MAX;
use crate::model::{AclChange, Now, Secret};
use crate::protocol::human::plural;
use crate::protocol::request::Refusal;
use crate::protocol::ssh::PublicKey;
use crate::protocol::{Code, Nick, Verb};

/// A pending query to the accounts.
#[derive(Debug)]
pub(super) struct PendingAccountQuery {
    query: AccountQuery,
    /// The version of the account against which a password is checked (`Chat::account_version`).
    account: Option<u64>,
}

impl Session {
    /// Starts a query. No line is accepted until [`Self::on_account_result`] is called.
    pub(super) fn query_accounts(&mut self, query: AccountQuery) -> Done {
        self.query_accounts_about(query, None)
    }

    fn query_accounts_about(&mut self, query: AccountQuery, account: Option<u64>) -> Done {
        self.expects = Expects::Nothing;
        let pending = PendingAccountQuery {
            query: query.clone(),
            account,
        };
        self.account_query = Some(Box::new(pending));
        Ok(Some(Effect::QueryAccounts(query.into())))
    }

    /// Starts to check a password against the current account of `nick`.
    fn check_password(&mut self, nick: Nick, password: &str, chat: &Chat) -> Done {
        let account = chat.account_version(&nick);
        let secret = Secret::new(password);
        self.query_accounts_about(AccountQuery::Login { nick, secret }, account)
    }

    pub(super) fn pass(&mut self, password: &str, chat: &Chat) -> Done {
        self.require_tls(Verb::Pass, chat)?;
        self.query_accounts(AccountQuery::ServerPassword(Secret::new(password)))
    }

    pub(super) fn nick(
        &mut self,
        nick: Nick,
        password: Option<&str>,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        if password.is_some() {
            self.require_tls(Verb::Nick, chat)?;
        }
        // Until the client has given the server's own password, it must not learn which nicks are registered. Therefore
        // a wrong password always gets the same reply after the same time.
        match password {
            Some(password) if !self.is_open => return self.check_password(nick, password, chat),
            _ => self.require_open(Verb::Nick)?,
        }
        if let Some(reason) = chat.ban_of_nick(&nick, now.time) {
            return Err(Refusal::new(Verb::Nick, Code::Banned, reason));
        }
        let access = chat.nick_access(&nick, self.nick, password.is_some());
        match (
            access.map_err(super::request::refused(Verb::Nick))?,
            password,
        ) {
            (NickAccess::NeedsPassword, Some(password)) => {
                self.check_password(nick, password, chat)
            }
            (NickAccess::Open, Some(password)) if chat.is_reserved(&nick) => {
                let secret = Secret::new(password);
                self.query_accounts(AccountQuery::ShareNick { nick, secret })
            }
            _ => self.take_nick(nick, password, None, chat, now),
        }
    }

    pub(super) fn register(&mut self, password: Option<&str>, chat: &mut Chat, now: Now) -> Done {
        let verb = Verb::Register;
        let nick = self.own_nick(verb, chat)?;
        if password.is_some() {
            self.require_tls(verb, chat)?;
        }
        let is_new = !chat.is_registered(&nick);
        if !is_new {
            self.require_password_login(verb)?;
        }
        let Some(password) = password else {
            return if is_new {
                Err(Refusal::new(
                    verb,
                    Code::NotAllowed,
                    format!("{nick} is not registered"),
                ))
            } else {
                Ok(self.clear_inbox(nick.clone(), AccountQuery::Unregister { nick }))
            };
        };
        if password.chars().count() < PASSWORD_CHARS_MIN {
            let text = format!("a password has at least {PASSWORD_CHARS_MIN} characters");
            return Err(Refusal::new(verb, Code::BadPassword, text));
        }
        if is_new && chat.is_operators(&nick) && !chat.is_local(self.peer) {
            let text = format!(
                "{nick} is an operator's nick: register it on the server's own machine, and not through a proxy"
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
        let query = AccountQuery::Register {
            nick: nick.clone(),
            password,
        };
        if is_new {
            Ok(self.clear_inbox(nick, query))
        } else {
            self.query_accounts(query)
        }
    }

    /// Handles `TOKEN`: creates a token, or adds a key with which ssh logs in.
    pub(super) fn token(&mut self, label: Nick, key: Option<&str>, chat: &Chat) -> Done {
        let verb = Verb::Token;
        let nick = self.registered_nick(verb, chat)?;
        self.require_tls(verb, chat)?;
        let Some(key) = key else {
            return self.query_accounts(AccountQuery::NewToken { nick, label });
        };
        if chat.config.ssh_secret.is_none() {
            let text = "this server does not accept ssh; its administrator can set it up: --ssh-secret-file";
            return Err(Refusal::new(verb, Code::NotAllowed, text));
        }
        let key = PublicKey::parse(key).ok_or_else(|| {
            let text = "that is not a public key: send the line of a file such as id_ed25519.pub";
            Refusal::new(verb, Code::BadSyntax, text)
        })?;
        self.query_accounts(AccountQuery::NewKey { nick, label, key })
    }

    pub(super) fn tokens(&mut self, chat: &Chat) -> Done {
        let nick = self.registered_nick(Verb::Tokens, chat)?;
        self.query_accounts(AccountQuery::Tokens { nick })
    }

    pub(super) fn revoke(&mut self, label: Nick, chat: &Chat) -> Done {
        let nick = self.registered_nick(Verb::Revoke, chat)?;
        self.query_accounts(AccountQuery::Revoke { nick, label })
    }

    /// Returns the nick of this connection.
    fn own_nick(&self, verb: Verb, chat: &Chat) -> Result<Nick, Refusal> {
        let user = chat.user(self.require_nick(verb)?);
        let gone = || Refusal::new(verb, Code::NeedNick, "choose a nick first: NICK <nick>");
        user.map(|user| user.nick.clone()).ok_or_else(gone)
    }

    /// Returns the nick of this connection, if the nick is registered and the connection has given its password. A
    /// token is not enough, because an attacker could use a stolen token to create more tokens or to lock the owner
    /// out.
    pub(super) fn registered_nick(&self, verb: Verb, chat: &Chat) -> Result<Nick, Refusal> {
        let nick = self.own_nick(verb, chat)?;
        if !chat.is_registered(&nick) {
            let text = format!("{nick} is not registered; register it first: REGISTER <password>");
            return Err(Refusal::new(verb, Code::NotAllowed, text));
        }
        self.require_password_login(verb)?;
        Ok(nick)
    }

    fn require_password_login(&self, verb: Verb) -> Result<(), Refusal> {
        let text = "this command needs the password of the nick, and you logged in with a token";
        if self.has_token {
            Err(Refusal::new(verb, Code::NotAllowed, text))
        } else {
            Ok(())
        }
    }

    /// Continues with the result of a query, or with its failure.
    pub fn on_account_result(
        &mut self,
        result: Result<AccountResult, Code>,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        let PendingAccountQuery { query, account } = *self.account_query.take()?;
        self.expects = Expects::Line;
        let at = self.next_reply();
        let verb = match &query {
            AccountQuery::Login { .. } | AccountQuery::ShareNick { .. } => Verb::Nick,
            AccountQuery::Register { .. } | AccountQuery::Unregister { .. } => Verb::Register,
            AccountQuery::RemoveAccount { .. } => Verb::Remove,
            AccountQuery::NewToken { .. } | AccountQuery::NewKey { .. } => Verb::Token,
            AccountQuery::Tokens { .. } => Verb::Tokens,
            AccountQuery::NewHook { .. } => Verb::Hook,
            AccountQuery::Hooks { .. } => Verb::Hooks,
            AccountQuery::Revoke { .. } => Verb::Revoke,
            AccountQuery::ServerPassword(_) => Verb::Pass,
            AccountQuery::Ban(_) => Verb::Ban,
            AccountQuery::Unban(_) => Verb::Unban,
            AccountQuery::Room { change, .. } => match change {
                None | Some((AclChange::Close(..), _)) => Verb::Mode,
                Some((AclChange::Invite(..), _)) => Verb::Invite,
                Some((AclChange::Uninvite(..), _)) => Verb::Uninvite,
            },
        };
        let done = match result {
            Err(code) => {
                let text = match code {
                    Code::Quota => "there is no space left on the server's disk; try again later",
                    Code::ShuttingDown => "the server is stopping; connect again later",
                    _ => {
                        "the accounts cannot be read or changed now; the server's log has the reason"
                    }
                };
                Err(Refusal::new(verb, code, text))
            }
            Ok(AccountResult::TooMany) => Err(Refusal::new(
                verb,
                Code::Busy,
                "there were too many wrong passwords; wait half a minute",
            )),
            Ok(result) => match query {
                AccountQuery::ServerPassword(_) => self.finish_pass(&result, chat),
                AccountQuery::Login { nick, secret } => {
                    self.finish_login(nick, &secret, account, &result, chat, now)
                }
                AccountQuery::ShareNick { nick, secret } => {
                    self.finish_share_nick(nick, &secret, account, chat, now)
                }
                AccountQuery::Register { nick, .. } => self.finish_register(&nick, chat, now),
                AccountQuery::Unregister { nick } => {
                    self.finish_unregister(Verb::Register, &nick, result, chat, now)
                }
                AccountQuery::RemoveAccount { nick } => {
                    self.finish_remove_account(&nick, result, chat, now)
                }
                AccountQuery::NewToken { label, .. } | AccountQuery::NewKey { label, .. } => {
                    self.finish_new_token(&label, result, chat)
                }
                AccountQuery::Tokens { .. } => self.finish_tokens(&result),
                AccountQuery::NewHook { .. } => self.finish_new_hook(result, chat, now),
                AccountQuery::Hooks { .. } => self.finish_hooks(&result),
                AccountQuery::Revoke { nick, label } => {
                    self.finish_revoke(&nick, &label, &result, chat, now)
                }
                AccountQuery::Ban(_) | AccountQuery::Unban(_) => {
                    self.finish_ban(query, &result, chat, now);
                    Ok(None)
                }
                AccountQuery::Room {
                    room,
                    change: Some((change, _)),
                    ..
                } => self.finish_change(&room, &change, result, chat, now),
                AccountQuery::Room { .. } => Ok(None),
            },
        };
        let effect = self.end_step(at, done, chat, now);
        self.wait_for_changes(at, chat);
        effect
    }

    fn finish_pass(&mut self, result: &AccountResult, chat: &Chat) -> Done {
        let verb = Verb::Pass;
        if !matches!(result, AccountResult::Password) {
            let text = "wrong password for this server";
            return Err(Refusal::new(verb, Code::BadPassword, text));
        }
        self.open(chat);
        self.ok(
            verb,
            "",
            "you are in: choose a name with /nick yourname",
            AfterReply::Nothing,
        );
        self.send_tls_hint(chat);
        Ok(None)
    }

    /// Continues after the password of a nick has been checked. If the account has changed or been deleted since the
    /// check began, the result is obsolete and the request starts again.
    fn finish_login(
        &mut self,
        nick: Nick,
        secret: &Secret,
        account: Option<u64>,
        result: &AccountResult,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        if chat.account_version(&nick) != account {
            return self.nick(nick, Some(secret.expose()), chat, now);
        }
        let has_token = match result {
            AccountResult::Password => false,
            AccountResult::Token => true,
            _ => {
                let text = format!("wrong password for {nick}");
                return Err(Refusal::new(Verb::Nick, Code::BadPassword, text));
            }
        };
        self.open(chat);
        if let Some(reason) = chat.ban_of_nick(&nick, now.time) {
            return Err(Refusal::new(Verb::Nick, Code::Banned, reason));
        }
        self.take_nick(nick, Some(secret.expose()), Some(has_token), chat, now)
    }

    /// Continues a request to share an unregistered nick, after the attempt at its password has been counted and
    /// allowed. If the nick has been registered meanwhile, the account's password counts instead, and the request
    /// starts again.
    fn finish_share_nick(
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
        if let Some(reason) = chat.ban_of_nick(&nick, now.time) {
            return Err(Refusal::new(verb, Code::Banned, reason));
        }
        // A look-alike of `nick` may have been registered meanwhile.
        let access = chat.nick_access(&nick, self.nick, true);
        access.map_err(super::request::refused(verb))?;
        self.take_nick(nick, Some(secret.expose()), None, chat, now)
    }

    fn finish_register(&mut self, nick: &Nick, chat: &mut Chat, now: Now) -> Done {
        chat.add_account(nick, self.peer, now);
        let talk = format!("{nick} is registered to you; log in with /nick {nick} <password>");
        self.ok(Verb::Register, nick.as_str(), &talk, AfterReply::Nothing);
        self.send_tls_hint(chat);
        Ok(None)
    }

    /// Continues after the account of `nick` has been deleted, as `verb` requested.
    pub(super) fn finish_unregister(
        &mut self,
        verb: Verb,
        nick: &Nick,
        result: AccountResult,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        let rooms = match result {
            AccountResult::Rooms(rooms) => rooms,
            _ => Vec::new(),
        };
        chat.remove_account(nick, rooms, self.peer, now);
        let talk = format!("{nick} is not registered any more");
        self.ok(verb, nick.as_str(), &talk, AfterReply::Nothing);
        Ok(None)
    }

    fn finish_new_token(&mut self, label: &Nick, result: AccountResult, chat: &Chat) -> Done {
        let verb = Verb::Token;
        let (code, text) = match result {
            AccountResult::NewToken(token) => {
                let rest = format!("{label} {}", token.expose());
                let talk = format!("{}  (it is not shown again)", token.expose());
                self.ok(verb, &rest, &talk, AfterReply::Nothing);
                self.send_tls_hint(chat);
                return Ok(None);
            }
            AccountResult::Key(fingerprint) => {
                let talk = format!("you can now log in over ssh with the key {fingerprint}");
                let rest = format!("{label} {fingerprint}");
                self.ok(verb, &rest, &talk, AfterReply::Nothing);
                return Ok(None);
            }
            AccountResult::Taken => (
                Code::NotAllowed,
                "you have added that key already; TOKENS lists your keys".into(),
            ),
            AccountResult::No => {
                let most = TOKENS_MAX;
                let text = format!(
                    "there is a token or hook {label} already, or you have {most} tokens; REVOKE one"
                );
                (Code::Quota, text)
            }
            _ => (
                Code::NotAllowed,
                "that nick is not registered any more".into(),
            ),
        };
        Err(Refusal::new(verb, code, text))
    }

    fn finish_tokens(&mut self, result: &AccountResult) -> Done {
        let AccountResult::Tokens(rows) = result else {
            return Ok(None);
        };
        let mut lines = Entries::new("TOKEN", self.input);
        for row in rows {
            let made = row.made.to_string();
            let mut fields = vec![&row.label[..], &made];
            fields.extend(row.fingerprint.as_deref());
            lines.add(&fields);
        }
        let count = self.send_entries(lines);
        self.ok(
            Verb::Tokens,
            &count.to_string(),
            &plural(count, "token", "tokens"),
            AfterReply::Nothing,
        );
        Ok(None)
    }

    fn finish_revoke(
        &mut self,
        nick: &Nick,
        label: &Nick,
        result: &AccountResult,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        if !matches!(result, AccountResult::Done) {
            let text = format!("there is no token or hook {label}; TOKENS and HOOKS list them");
            return Err(Refusal::new(Verb::Revoke, Code::BadName, text));
        }
        chat.revoke(nick.clone(), label.clone(), self.peer, now);
        let talk = format!("{label} is revoked");
        self.ok(Verb::Revoke, label.as_str(), &talk, AfterReply::Nothing);
        Ok(None)
    }
}
