//! The answers to IRC clients.

use super::super::NickId;
use super::Irc;
use crate::chat::Chat;
use crate::dialect::irc::{Cap, irc_word, numeric, source};
use crate::dialect::{Dialect, Line, Output};
use crate::protocol::request::Refusal;
use crate::protocol::{Code, Verb};

/// The command that is being answered, with the parameters on which the answer depends, as the client wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A command for which IRC has no numeric answer. The answer is a notice.
    Nothing,
    /// The first nick of the client.
    Arrival(String),
    /// The first nick of the client, with a password. If the password is refused, the connection is closed.
    Secret(String),
    /// `AUTHENTICATE`.
    Sasl,
    /// `AWAY`, and whether the client is away now.
    Away(bool),
    Nick(String),
    /// `NickServ IDENTIFY`.
    Identify(String),
    /// `REGISTER`, or `NickServ REGISTER`.
    Register {
        is_by_notice: bool,
    },
    Join(String),
    /// The room to leave, and the reason.
    Part(String, String),
    Topic(String),
    Say(String),
    /// A command whose failure must not be reported.
    Silent,
    Redact(String, String),
    ShowMode(String),
    Mode(String, String),
    Invite(String, String),
    Kick(String, String),
    Kill(String),
    Ping,
    Quit,
}

impl Irc {
    /// Returns the answer to a request in the form that the client receives.
    pub(super) fn reply(&mut self, line: Line<'_>) -> Output {
        let mut out = Output::default();
        let bytes = &mut out.bytes;
        match line {
            Line::Ok { verb, fields, .. } => {
                if !self.ok(verb, fields, bytes) {
                    Dialect::Irc.to(Some(&self.client)).write(line, &mut out);
                }
            }
            Line::Refused(refusal) => self.refused(refusal, bytes),
            line => Dialect::Irc.to(Some(&self.client)).write(line, &mut out),
        }
        out
    }

    /// Appends the answer to a request that succeeded. Returns false if the answer must be a notice.
    fn ok(&mut self, verb: Verb, fields: &str, out: &mut Vec<u8>) -> bool {
        let (first, rest) = fields.split_once(' ').unwrap_or((fields, ""));
        match (&self.asked, verb) {
            (Asked::Arrival(_) | Asked::Secret(_), _) => {}
            (Asked::Sasl, Verb::Nick) => {
                self.logged_in(first, out);
                let text = "you are logged in";
                self.client.numeric(numeric::SASL_SUCCESS, &[], text, out);
                // Clients expect the result of the login before anything else.
                if self.arriving.is_none() {
                    self.renamed(first, out);
                }
            }
            (Asked::Away(true), Verb::Away) => {
                let text = "you are marked as away";
                self.client.numeric(numeric::NOW_AWAY, &[], text, out);
            }
            (Asked::Away(false), Verb::Away) => {
                let text = "you are no longer marked as away";
                self.client.numeric(numeric::UNAWAY, &[], text, out);
            }
            (Asked::Nick(_), Verb::Nick) => self.renamed(first, out),
            (Asked::Identify(_), Verb::Nick) => {
                self.renamed(first, out);
                self.logged_in(first, out);
                self.by_nickserv(&format!("you are {first}"), out);
            }
            (Asked::Register { is_by_notice }, Verb::Register) => {
                let text = format!("{first} is registered to you");
                if *is_by_notice {
                    self.by_nickserv(&text, out);
                } else {
                    self.client
                        .by_server("REGISTER", &["SUCCESS", first], Some(&text), out);
                }
                self.logged_in(first, out);
            }
            (Asked::Part(_, why), Verb::Part) => {
                let why = Some(why.as_str()).filter(|why| !why.is_empty());
                self.client.by_self("PART", &[first], why, out);
            }
            (Asked::Topic(_), Verb::Topic) => self.write_topic(first, rest, true, out),
            (Asked::ShowMode(_), Verb::Mode) => {
                let modes = if rest == "invite" { "+i" } else { "+" };
                self.client
                    .words(numeric::CHANNEL_MODE_IS, &[first, modes], out);
            }
            (Asked::Mode(room, modes), _) => {
                let params: Vec<&str> = [room.as_str()]
                    .into_iter()
                    .chain(modes.split(' '))
                    .collect();
                self.client.by_self("MODE", &params, None, out);
            }
            (Asked::Invite(nick, room), Verb::Invite) => {
                self.client.words(numeric::INVITING, &[nick, room], out);
            }
            (Asked::Ping, Verb::Ping) => {
                let server = &*self.client.server;
                self.client.by_server("PONG", &[server], Some(fields), out);
            }
            (Asked::Quit, _) => self.client.error("bye", out),
            (Asked::Join(_) | Asked::Kick(..) | Asked::Silent, _) => {}
            _ => return false,
        }
        true
    }

    /// Appends the answer to a request that was refused.
    fn refused(&mut self, refusal: &Refusal, out: &mut Vec<u8>) {
        let (code, text) = (refusal.code, &*refusal.text);
        let client = &self.client;
        let about = match &self.asked {
            Asked::Arrival(nick) | Asked::Nick(nick) => {
                let nick = nick.clone();
                return self.nick_refused(code, text, &nick, out);
            }
            Asked::Secret(_) => {
                let number = if code == Code::Banned {
                    numeric::BANNED
                } else {
                    numeric::BAD_PASSWORD
                };
                client.numeric(number, &[], text, out);
                self.fatal = Some(text.into());
                return;
            }
            Asked::Sasl => return client.numeric(numeric::SASL_FAIL, &[], text, out),
            Asked::Identify(_) | Asked::Register { is_by_notice: true } => {
                return self.by_nickserv(text, out);
            }
            Asked::Register { .. } => {
                let why = match code {
                    Code::BadPassword => "WEAK_PASSWORD",
                    Code::NotAllowed | Code::BadName => "ACCOUNT_NAME_MUST_BE_NICK",
                    _ => "TEMPORARILY_UNAVAILABLE",
                };
                let nick = &*client.nick;
                return client.by_server("FAIL", &["REGISTER", why, nick], Some(text), out);
            }
            Asked::Redact(target, id) => {
                let why = match code {
                    Code::NotAllowed => "REDACT_FORBIDDEN",
                    _ => "UNKNOWN_MSGID",
                };
                let params = ["REDACT", why, target, id];
                return client.by_server("FAIL", &params, Some(text), out);
            }
            Asked::Silent => return,
            Asked::Nothing => {
                let mut text = Vec::from("! ");
                text.extend_from_slice(refusal.text.as_bytes());
                return client.notices(&text, out);
            }
            Asked::Join(room)
            | Asked::Part(room, _)
            | Asked::Topic(room)
            | Asked::Say(room)
            | Asked::ShowMode(room)
            | Asked::Mode(room, _)
            | Asked::Invite(_, room)
            | Asked::Kick(room, _) => room.as_str(),
            Asked::Kill(nick) => nick.as_str(),
            Asked::Away(_) | Asked::Ping | Asked::Quit => "*",
        };
        let number = match (code, &self.asked) {
            (Code::NotAllowed, Asked::Join(_)) => numeric::INVITE_ONLY,
            (Code::Quota, Asked::Join(_)) => numeric::TOO_MANY_CHANNELS,
            (Code::NotAllowed, Asked::Kill(_)) => numeric::NO_PRIVILEGES,
            (Code::NoSuchNick, Asked::Invite(nick, _) | Asked::Kick(_, nick)) => {
                return client.numeric(numeric::NO_SUCH_NICK, &[nick], text, out);
            }
            (
                Code::NotAllowed,
                Asked::Mode(..) | Asked::Invite(..) | Asked::Kick(..) | Asked::Topic(_),
            ) => numeric::NOT_MODERATOR,
            (Code::BadName, Asked::Say(to)) if !to.starts_with('#') => numeric::NO_SUCH_NICK,
            (Code::BadName, _) => numeric::NO_SUCH_CHANNEL,
            (Code::BadSyntax, _) => {
                let word = refusal.verb.map_or("*", irc_word);
                return client.numeric(numeric::NEED_MORE_PARAMS, &[word], text, out);
            }
            _ => return client.refuse(refusal, about, out),
        };
        let about: &[&str] = if number == numeric::NO_PRIVILEGES {
            &[]
        } else {
            &[about]
        };
        client.numeric(number, about, text, out);
    }

    /// Appends the refusal of a nick. Clients then try another nick automatically.
    fn nick_refused(&mut self, code: Code, text: &str, nick: &str, out: &mut Vec<u8>) {
        let number = match code {
            Code::BadName => numeric::BAD_NICK,
            Code::Banned => {
                self.client.numeric(numeric::BANNED, &[], text, out);
                if self.arriving.is_some() {
                    self.fatal = Some(text.into());
                }
                return;
            }
            _ => numeric::NICK_IN_USE,
        };
        let asks_password = matches!(code, Code::NeedPassword);
        let text = if asks_password {
            format!("{nick} is registered; log in with /msg NickServ IDENTIFY {nick} <password>")
        } else {
            text.to_owned()
        };
        self.client.numeric(number, &[nick], &text, out);
    }

    /// Appends the line about the client's own change of nick.
    fn renamed(&mut self, nick: &str, out: &mut Vec<u8>) {
        if nick != &*self.client.nick {
            self.client.by_self("NICK", &[nick], None, out);
            self.client.nick = nick.into();
        }
    }

    /// Appends the numeric for a client that has logged in.
    fn logged_in(&self, nick: &str, out: &mut Vec<u8>) {
        let from = source(nick, &self.client.server);
        let text = format!("you are logged in as {nick}");
        self.client
            .numeric(numeric::LOGGED_IN, &[&from, nick], &text, out);
    }

    /// Appends a notice from NickServ, a service that clients know.
    pub(super) fn by_nickserv(&self, text: &str, out: &mut Vec<u8>) {
        let from = source("NickServ", &self.client.server);
        self.client.notice(&from, text, out);
    }

    /// Returns the entries of a list as notices. `lines` contains the entries as they are written for people.
    pub fn in_notices(&self, lines: &Output) -> Output {
        let mut out = Output::default();
        self.client.notices(&lines.bytes, &mut out.bytes);
        out
    }

    /// Appends the client's own `JOIN`.
    pub(super) fn write_join(
        &self,
        room: &str,
        nick: Option<NickId>,
        chat: &Chat,
        out: &mut Vec<u8>,
    ) {
        let client = &self.client;
        if !client.caps.has(Cap::ExtendedJoin) {
            return client.by_self("JOIN", &[room], None, out);
        }
        let user = nick.and_then(|nick| chat.user(nick));
        let account = user.filter(|user| chat.is_registered(&user.nick));
        let account = account.map_or("*", |user| user.nick.as_str());
        client.by_self("JOIN", &[room, account], Some(&client.nick), out);
    }

    /// Appends the topic of a room. A missing topic is reported only if the client asked for the topic.
    pub(super) fn write_topic(&self, room: &str, topic: &str, was_asked: bool, out: &mut Vec<u8>) {
        if !topic.is_empty() {
            self.client.numeric(numeric::TOPIC, &[room], topic, out);
        } else if was_asked {
            self.client
                .numeric(numeric::NO_TOPIC, &[room], "no topic is set", out);
        }
    }

    /// Returns whether the client receives the list of members when it joins a room.
    pub(super) fn wants_names(&self) -> bool {
        !self.client.caps.has(Cap::NoImplicitNames)
    }
}
