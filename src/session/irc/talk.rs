//! Handles messages of IRC clients, and their requests to join and leave rooms.

use super::super::amend::{FoundEvent, IrcMessage, OnEvent};
use super::super::request::Done;
use super::super::{Deferred, Draft, Effect, LineEnd, Session};
use super::lacks;
use super::reply::Asked;
use crate::chat::Chat;
use crate::dialect::irc::{IrcLine, Message, Said, numeric, plain};
use crate::dialect::{OwnEvent, ReplyBody};
use crate::model::{Entry, EventKind, Now, Scope};
use crate::protocol::request::{JoinFrom, Refusal, Target};
use crate::protocol::tags::{SentTags, VALUE_BYTES_MAX, push};
use crate::protocol::{Code, EventId, Nick, Request, RoomName, Verb};

/// Parses the name of a room. The error says which rule is broken.
pub(super) fn room_name(verb: Verb, text: &str) -> Result<RoomName, Refusal> {
    let is_room = text.starts_with('#');
    let name = if is_room {
        RoomName::parse(text).map_err(|why| why.to_string())
    } else {
        Err("invalid room name: it must begin with #".to_owned())
    };
    name.map_err(|why| Refusal::new(verb, Code::BadName, why))
}

/// Parses the nick of a recipient.
pub(super) fn nick_name(verb: Verb, text: &str) -> Result<Nick, Refusal> {
    Nick::parse(text).map_err(|_| {
        Refusal::new(
            verb,
            Code::NoSuchNick,
            format!("no nick {text} is connected"),
        )
    })
}

impl Session {
    /// Handles a request with the same checks as a request of any other client.
    pub(super) fn irc_request(&mut self, request: Request<'_>, chat: &mut Chat, now: Now) -> Done {
        self.carry_out(Ok(Some(request)), LineEnd::Lf, chat, now)
    }

    /// Handles a line of a client that has been welcomed.
    pub(super) fn irc_command(&mut self, line: &IrcLine<'_>, chat: &mut Chat, now: Now) -> Done {
        match &*line.command {
            "PRIVMSG" | "NOTICE" if let Some(batch) = line.tag("batch") => {
                self.irc_add_line(line, &batch, line.command == "NOTICE")
            }
            "BATCH" if self.irc_has_multiline() => self.irc_batch_command(line, chat, now),
            "PRIVMSG" => self.irc_say(line, false, chat, now),
            "NOTICE" => self.irc_say(line, true, chat, now),
            "JOIN" => self.irc_join(line, chat, now),
            "PART" => self.irc_part(line, chat, now),
            "NICK" => self.irc_nick(line, chat, now),
            "TOPIC" => self.irc_topic(line, chat, now),
            "REDACT" => self.irc_redact(line, chat),
            "TAGMSG" => self.irc_tagmsg(line, chat, now),
            "NICKSERV" | "NS" => {
                let words = line.rest.split_once(' ').map_or("", |(_, words)| words);
                let words = words.strip_prefix(':').unwrap_or(words).to_owned();
                self.irc_nickserv(&words, chat, now)
            }
            "CAP" => self.irc_cap(line, chat),
            "AUTHENTICATE" => self.irc_authenticate(line, chat, now),
            "PING" => self.irc_ping(line, chat, now),
            "QUIT" => self.irc_quit(line, chat, now),
            "PONG" => self.irc_pong(line, chat),
            "PROTOCTL" | "WEBIRC" => Ok(None),
            "USER" | "PASS" => {
                self.irc_numeric(
                    numeric::ALREADY_REGISTERED,
                    &[],
                    "you are already connected",
                );
                Ok(None)
            }
            _ => self.irc_ask(line, chat, now),
        }
    }

    /// Handles `PRIVMSG` and `NOTICE`. A notice must never be answered, so the errors of a notice are not reported.
    fn irc_say(&mut self, line: &IrcLine<'_>, is_notice: bool, chat: &mut Chat, now: Now) -> Done {
        let to = line.param(0).unwrap_or_default();
        self.irc_asks(if is_notice {
            Asked::Silent
        } else {
            Asked::Say(to.to_owned())
        });
        let missing = match (to, line.params.get(1)) {
            ("", _) => Some((numeric::NO_RECIPIENT, "no recipient was given (PRIVMSG)")),
            (to, _) if to.contains(',') => {
                Some((numeric::TOO_MANY_TARGETS, "name only one room or nick"))
            }
            (_, None | Some(&"")) => Some((numeric::NO_TEXT, "there is no text to send")),
            _ => None,
        };
        if let Some((number, text)) = missing {
            if !is_notice {
                let about: &[&str] = if number == numeric::TOO_MANY_TARGETS {
                    &[to]
                } else {
                    &[]
                };
                self.irc_numeric(number, about, text);
            }
            return Ok(None);
        }
        let text = line.params.get(1).copied().unwrap_or_default();
        if to.to_ascii_lowercase().ends_with("serv") {
            // Clients send passwords to services automatically, so nobody may receive these messages.
            return if is_notice {
                Ok(None)
            } else {
                self.irc_service(to, text, chat, now)
            };
        }
        let (kind, text) = match Said::parse(text) {
            Said::Text(text) => (EventKind::Msg, text),
            Said::Action(text) if to.starts_with('#') => (EventKind::Me, text),
            Said::Action(text) => (EventKind::Msg, format!("* {text}")),
            Said::Ctcp => return Ok(None),
        };
        if text.is_empty() {
            if !is_notice {
                self.irc_numeric(numeric::NO_TEXT, &[], "there is no text to send");
            }
            return Ok(None);
        }
        if let Some(space) = self.irc_space_if_exceeded(to, is_notice, &kind, &text) {
            let text = format!(
                "not sent: one line has space for {space} bytes of text, and this has {}",
                text.len()
            );
            self.irc_numeric(numeric::INPUT_TOO_LONG, &[], &text);
            return Ok(None);
        }
        let tags = sent_tags(line, is_notice);
        let message = IrcMessage {
            to: to.into(),
            kind,
            text: text.into(),
            body: ReplyBody::IdAndTime,
            tags,
        };
        self.irc_send_message(message, chat)
    }

    /// If `text` does not fit in one line to other IRC clients, returns how many bytes of text fit. The client then
    /// splits the message, at better places than the server could find.
    fn irc_space_if_exceeded(
        &self,
        to: &str,
        is_notice: bool,
        kind: &EventKind,
        text: &str,
    ) -> Option<usize> {
        let source = self.irc.as_deref()?.client.source();
        let line = Message {
            source: &source,
            command: if is_notice { "NOTICE" } else { "PRIVMSG" },
            params: &[to],
            ..Message::default()
        };
        let around = match kind {
            EventKind::Me => "\u{1}ACTION \u{1}".len(),
            _ => 0,
        };
        let space = line.space().saturating_sub(around);
        (text.len() > space).then_some(space)
    }

    /// Sends a message to a room or nick. If the message replies to an event, first queries the log for the event's
    /// place.
    pub(super) fn irc_send_message(&mut self, message: IrcMessage, chat: &mut Chat) -> Done {
        match message.tags.reply() {
            None => self.irc_propose(message, chat),
            Some(id) => Ok(self.query_authorship(id, OnEvent::Reply(Box::new(message)))),
        }
    }

    /// Sends a message that replies to an event. If the event is not in the room or private chat of the message, the
    /// message is sent without the tag `reply`, as IRC clients expect.
    pub(in super::super) fn irc_send_reply(
        &mut self,
        mut message: IrcMessage,
        found: Option<FoundEvent>,
        chat: &mut Chat,
    ) -> Option<Effect> {
        let to = &*message.to;
        let is_to =
            |nick: &Nick| Nick::parse(to).is_ok_and(|to| to.casefolded() == nick.casefolded());
        let is_there = found.is_some_and(|found| {
            found.may_read
                && match &found.scope {
                    Scope::Room(room) => {
                        RoomName::parse(to).is_ok_and(|to| to.casefolded() == room.casefolded())
                    }
                    Scope::Inbox(message) if found.is_own => is_to(&message.to),
                    Scope::Inbox(message) => is_to(&message.by),
                    Scope::Unsaved(_) => false,
                }
        });
        if !is_there {
            message.tags = if message.tags.is_notice() {
                SentTags::notice()
            } else {
                SentTags::default()
            };
        }
        let done = self.irc_propose(message, chat);
        done.unwrap_or_else(|refusal| {
            self.refuse(&refusal);
            None
        })
    }

    fn irc_propose(&mut self, message: IrcMessage, chat: &mut Chat) -> Done {
        let IrcMessage {
            to,
            kind,
            text,
            body,
            tags,
        } = message;
        let verb = Verb::Tell;
        self.require_open(verb)?;
        let target = if to.starts_with('#') {
            let name = room_name(verb, &to)?;
            self.irc_room(verb, &name, chat)?;
            Target::Room(name)
        } else {
            Target::Nick(nick_name(verb, &to)?)
        };
        let message = Draft {
            body,
            ..Draft::message(verb, kind, &text, tags)
        };
        self.send_message(Some(target), message, chat)
    }

    /// Checks that this connection may read a room. The room must exist, because a mistyped name must not create one.
    fn irc_room(&self, verb: Verb, name: &RoomName, chat: &Chat) -> Result<(), Refusal> {
        let Some(room) = chat.find_room(name) else {
            let text = format!("there is no room {name}; JOIN creates it, LIST shows the others");
            return Err(Refusal::new(verb, Code::NoSuchRoom, text));
        };
        if chat.may_read(room, self.nick) {
            return Ok(());
        }
        let text = format!("{name} is invite-only, and you are not invited");
        Err(Refusal::new(verb, Code::NotAllowed, text))
    }

    /// Handles a message to a name that other IRC servers use for a service.
    fn irc_service(&mut self, to: &str, text: &str, chat: &mut Chat, now: Now) -> Done {
        if to.eq_ignore_ascii_case("NickServ") {
            return self.irc_nickserv(text, chat, now);
        }
        self.irc_numeric(
            numeric::NO_SUCH_NICK,
            &[to],
            "the only service here is NickServ",
        );
        Ok(None)
    }

    /// Handles the commands to NickServ that clients send automatically.
    fn irc_nickserv(&mut self, text: &str, chat: &mut Chat, now: Now) -> Done {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let own = self.nick.and_then(|nick| chat.user(nick));
        let own = own.map_or_else(String::new, |user| user.nick.to_string());
        let word = words.first().map(|word| word.to_ascii_uppercase());
        let (nick, password, is_new) = match (word.as_deref(), words.get(1..).unwrap_or_default()) {
            (Some("IDENTIFY" | "ID" | "LOGIN"), [password]) => (own.as_str(), *password, false),
            (Some("IDENTIFY" | "ID" | "LOGIN"), [nick, password]) => (*nick, *password, false),
            (Some("REGISTER"), [password] | [password, _]) => (own.as_str(), *password, true),
            _ => {
                let text = "IDENTIFY [<nick>] <password> logs in to a registered nick; REGISTER <password> registers yours";
                self.irc_send_from_nickserv(text);
                return Ok(None);
            }
        };
        if is_new {
            self.irc_asks(Asked::Register { is_by_notice: true });
            let password = Some(password.into());
            return self.irc_request(Request::Register { password }, chat, now);
        }
        self.irc_asks(Asked::Identify(nick.to_owned()));
        let nick = nick_name(Verb::Nick, nick)?;
        if !chat.is_registered(&nick) {
            let text = format!("{nick} is not registered; REGISTER <password> registers your nick");
            self.irc_send_from_nickserv(&text);
            return Ok(None);
        }
        let password = Some(password.into());
        self.irc_request(Request::Nick { nick, password }, chat, now)
    }

    fn irc_send_from_nickserv(&mut self, text: &str) {
        let mut out = crate::dialect::Output::default();
        if let Some(irc) = self.irc.as_deref() {
            irc.by_nickserv(text, &mut out.bytes);
        }
        self.push(out, super::super::AfterReply::Nothing);
    }

    /// Handles `JOIN`. A channel key is the name of a reader. If the line has keys, the rooms are joined one after the
    /// other, because each room needs a query to the log.
    fn irc_join(&mut self, line: &IrcLine<'_>, chat: &mut Chat, now: Now) -> Done {
        let Some(rooms) = line.param(0) else {
            self.irc_asks(Asked::Join("*".into()));
            return Err(lacks("JOIN needs the name of a room"));
        };
        if rooms == "0" {
            for room in self.room_ids() {
                if let Some(room) = chat.room(room) {
                    let room = RoomName::clone(&room.name);
                    self.irc_asks(Asked::Part(room.as_str().to_owned(), String::new()));
                    self.part(Some(room), "", chat, now)?;
                }
            }
            return Ok(None);
        }
        let keys = line.param(1).unwrap_or_default();
        let mut keys = keys.split(',');
        let mut rooms = rooms.split(',').filter(|room| !room.is_empty());
        while let Some(typed) = rooms.next() {
            self.irc_asks(Asked::Join(typed.to_owned()));
            let key = keys.next().filter(|key| !key.is_empty());
            let done = room_name(Verb::Join, typed).and_then(|room| {
                let from = match key.and_then(|key| Nick::parse(key).ok()) {
                    Some(reader) => {
                        self.irc_uses_reader(now);
                        JoinFrom::Reader(reader)
                    }
                    None => JoinFrom::Now,
                };
                if let Some(irc) = self.irc.as_deref_mut() {
                    irc.client.replays = true;
                }
                self.irc_enter(room, from, chat, now)
            });
            match done {
                Ok(None) => {}
                Ok(effect) => {
                    let left: Vec<&str> = rooms.collect();
                    if !left.is_empty() {
                        let keys = keys.collect::<Vec<_>>().join(",");
                        let rest = format!("JOIN {} {keys}", left.join(","));
                        let rest = Deferred::Line(rest.into_bytes(), LineEnd::Lf);
                        self.replies_mut().deferred = Some(rest);
                    }
                    return Ok(effect);
                }
                Err(refusal) => self.refuse(&refusal),
            }
        }
        Ok(None)
    }

    fn irc_part(&mut self, line: &IrcLine<'_>, chat: &mut Chat, now: Now) -> Done {
        let rooms = line.param(0).unwrap_or_default();
        if rooms.is_empty() {
            self.irc_asks(Asked::Part("*".into(), String::new()));
            return Err(Refusal::new(
                Verb::Part,
                Code::BadSyntax,
                "PART needs the name of a room",
            ));
        }
        let why = plain(line.params.get(1).copied().unwrap_or_default());
        for typed in rooms.split(',').filter(|room| !room.is_empty()) {
            self.irc_asks(Asked::Part(typed.to_owned(), why.clone()));
            let done = room_name(Verb::Part, typed).and_then(|room| {
                if chat.find_room(&room).is_none() {
                    let text = format!("there is no room {room}");
                    return Err(Refusal::new(Verb::Part, Code::NoSuchRoom, text));
                }
                self.part(Some(room), &why, chat, now)
            });
            if let Err(refusal) = done {
                self.refuse(&refusal);
            }
        }
        Ok(None)
    }

    fn irc_nick(&mut self, line: &IrcLine<'_>, chat: &mut Chat, now: Now) -> Done {
        let Some(typed) = line.param(0) else {
            self.irc_numeric(numeric::NO_NICK, &[], "no nick was given");
            return Ok(None);
        };
        self.irc_asks(Asked::Nick(typed.to_owned()));
        let nick = Nick::parse(typed)
            .map_err(|why| Refusal::new(Verb::Nick, Code::BadName, why.to_string()))?;
        let password = line.param(1).map(Into::into);
        self.irc_request(Request::Nick { nick, password }, chat, now)
    }

    fn irc_topic(&mut self, line: &IrcLine<'_>, chat: &mut Chat, now: Now) -> Done {
        let typed = line.param(0).unwrap_or_default();
        self.irc_asks(Asked::Topic(typed.to_owned()));
        if typed.is_empty() {
            return Err(Refusal::new(
                Verb::Topic,
                Code::BadSyntax,
                "TOPIC needs the name of a room",
            ));
        }
        let room = Some(room_name(Verb::Topic, typed)?);
        let text = line.params.get(1).map(|text| plain(text));
        let text = text.map(|text| {
            if text.is_empty() {
                "-".into()
            } else {
                text.into()
            }
        });
        self.irc_request(Request::Topic { room, text }, chat, now)
    }

    fn irc_redact(&mut self, line: &IrcLine<'_>, chat: &Chat) -> Done {
        let (target, id) = (line.param(0).unwrap_or("*"), line.param(1).unwrap_or("*"));
        self.irc_asks(Asked::Redact(target.to_owned(), id.to_owned()));
        if line.params.len() < 2 {
            self.irc_numeric(
                numeric::NEED_MORE_PARAMS,
                &["REDACT"],
                "REDACT needs a room or nick and an id",
            );
            return Ok(None);
        }
        if target.starts_with('#') && self.irc_find(target, chat).is_none() {
            let params = ["REDACT", "INVALID_TARGET", target];
            let text = "there is no such room";
            self.irc_send(|client, out| client.by_server("FAIL", &params, Some(text), out));
            return Ok(None);
        }
        let id = EventId::parse(id);
        let id = id.ok_or_else(|| {
            Refusal::new(Verb::Remove, Code::NoSuchFile, "there is no such message")
        })?;
        self.require_nick(Verb::Remove)?;
        let reason = plain(line.params.get(2).copied().unwrap_or_default());
        let mut tags = String::new();
        if !reason.is_empty() {
            let end = reason.floor_char_boundary(VALUE_BYTES_MAX);
            push(&mut tags, "x-reason", reason.get(..end).unwrap_or_default());
        }
        let tags = SentTags::parse(&tags).unwrap_or_default();
        Ok(self.query_authorship(id, OnEvent::Remove(tags)))
    }

    /// Handles `TAGMSG`. Ignores it unless it is a reaction.
    fn irc_tagmsg(&mut self, line: &IrcLine<'_>, chat: &mut Chat, now: Now) -> Done {
        self.irc_asks(Asked::Silent);
        let (on, off) = (line.tag("+draft/react"), line.tag("+draft/unreact"));
        let reply = line.tag("+draft/reply").or_else(|| line.tag("+reply"));
        let id = reply.and_then(|id| EventId::parse(&id));
        let (Some(emoji), Some(id)) = (on.clone().or(off), id) else {
            return Ok(None);
        };
        let emoji = plain(&emoji).into();
        let is_on = on.is_some();
        self.irc_request(Request::React { id, emoji, is_on }, chat, now)
    }

    pub(super) fn irc_ping(&mut self, line: &IrcLine<'_>, chat: &mut Chat, now: Now) -> Done {
        let Some(word) = line.param(0) else {
            self.irc_numeric(numeric::NO_ORIGIN, &[], "PING needs a word");
            return Ok(None);
        };
        self.irc_asks(Asked::Ping);
        self.irc_request(Request::Ping { word: word.into() }, chat, now)
    }

    pub(super) fn irc_quit(&mut self, line: &IrcLine<'_>, chat: &mut Chat, now: Now) -> Done {
        self.irc_asks(Asked::Quit);
        let text = plain(line.params.first().copied().unwrap_or_default()).into();
        self.irc_request(Request::Bye { text }, chat, now)
    }

    /// Returns the reply to a request that became an event. For an IRC client, the reply is the event itself.
    pub(in super::super) fn irc_body(&self, entry: &Entry, body: ReplyBody) -> ReplyBody {
        let Some(irc) = self.irc.as_deref() else {
            return body;
        };
        if matches!(body, ReplyBody::Nothing) || irc.asked == Asked::Nothing {
            return body;
        }
        let place = match &entry.scope {
            Scope::Room(room) => room.as_str(),
            Scope::Inbox(message) => message.to.as_str(),
            Scope::Unsaved(nick) => nick.as_str(),
        };
        let mut lines = entry.event(place, None).to_string();
        // A text of several lines is split: `line` is its first line, and `more` contains the other lines.
        let more = match (&entry.kind, lines.find('\n')) {
            (EventKind::Text, Some(end)) => {
                let more = lines.split_off(end);
                Some(more.get(1..).unwrap_or_default().into())
            }
            _ => None,
        };
        let (tags, is_silent) = (entry.tags.kept().into(), irc.asked == Asked::Silent);
        ReplyBody::Event(Box::new(OwnEvent {
            line: lines,
            more,
            tags,
            is_silent,
        }))
    }
}

/// Returns the tags of a message: the id of the message to which it replies, and `notice` if the message is a notice.
pub(super) fn sent_tags(line: &IrcLine<'_>, is_notice: bool) -> SentTags {
    let reply = line.tag("+draft/reply").or_else(|| line.tag("+reply"));
    let reply = reply.and_then(|id| EventId::parse(&id));
    let reply = reply.map(|id| format!("reply={id}"));
    let notice = is_notice.then(|| "notice".to_owned());
    let tags: Vec<String> = reply.into_iter().chain(notice).collect();
    if tags.is_empty() {
        return SentTags::default();
    }
    SentTags::parse(&tags.join(";")).unwrap_or_default()
}
