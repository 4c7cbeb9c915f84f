//! Queries of IRC clients about users, rooms and modes, and plainchat's own verbs.

use std::collections::BTreeSet;

use super::super::lazy_list::LazyList;
use super::super::output::Pending;
use super::super::request::Done;
use super::super::{LineEnd, Session};
use super::reply::Asked;
use super::talk::{nick_name, room_name};
use crate::chat::{Chat, NickId, RoomId};
use crate::config::fixed::{AWAY_BYTES_MAX, IRC_COMPARED_MAX as COMPARED_MAX};
use crate::dialect::irc::{IrcLine, Shown, WhoForm, fits, numeric, plain, user};
use crate::model::Now;
use crate::protocol::request::Refusal;
use crate::protocol::{Code, Nick, Request, Verb};

/// The maximum number of masks of one `LIST`.
const MASKS_MAX: usize = 4;

/// The maximum number of characters in a mask. A nick has at most 32 characters, and a `*` may precede and follow each
/// of them.
const MASK_CHARS_MAX: usize = 65;

impl Session {
    /// Handles all commands that neither send a message nor join or leave a room.
    pub(super) fn irc_ask(&mut self, line: &IrcLine<'_>, chat: &mut Chat, now: Now) -> Done {
        self.irc_asks(Asked::Nothing);
        match &*line.command {
            "CHATHISTORY" => self.irc_chathistory(line, chat),
            "MARKREAD" => self.irc_markread(line, chat),
            "NAMES" => self.irc_names(line, chat),
            "LIST" => self.irc_list(line, chat),
            "WHO" => self.irc_who(line, chat),
            "WHOIS" => self.irc_whois(line, chat),
            "WHOWAS" => {
                let Some(nick) = line.param(0) else {
                    self.irc_numeric(numeric::NO_NICK, &[], "no nick was given");
                    return Ok(None);
                };
                self.irc_send(|client, out| {
                    client.numeric(
                        numeric::WAS_NO_SUCH_NICK,
                        &[nick],
                        "this server does not remember past users",
                        out,
                    );
                    client.numeric(numeric::END_OF_WHOWAS, &[nick], "End of WHOWAS", out);
                });
                Ok(None)
            }
            "ISON" | "USERHOST" => self.irc_is_on(line, chat),
            "MODE" => self.irc_mode(line, chat, now),
            "INVITE" => self.irc_invite(line, chat, now),
            "KICK" => self.irc_kick(line, chat, now),
            "KILL" => {
                let Some(nick) = line.param(0) else {
                    return self.irc_lacks("KILL");
                };
                self.irc_asks(Asked::Kill(nick.to_owned()));
                let nick = nick_name(Verb::Kick, nick)?;
                let text = plain(line.params.get(1).copied().unwrap_or_default()).into();
                self.irc_request(Request::Kick { nick, text }, chat, now)
            }
            "OPER" => {
                let text = "OPER is not needed: the server's configuration names its operators";
                self.irc_numeric(numeric::NO_OPER_HOST, &[], text);
                Ok(None)
            }
            "AWAY" => {
                let text = plain(line.params.first().copied().unwrap_or_default());
                let text = text.get(..text.floor_char_boundary(AWAY_BYTES_MAX));
                let text = text.unwrap_or_default();
                self.irc_asks(Asked::Away(!text.is_empty()));
                self.irc_request(Request::Away { text: text.into() }, chat, now)
            }
            "REGISTER" => self.irc_register(line, chat, now),
            "LUSERS" => {
                self.irc_lusers(chat);
                Ok(None)
            }
            "MOTD" => {
                self.irc_motd(chat);
                Ok(None)
            }
            "VERSION" => {
                self.irc_send(|client, out| {
                    let version = concat!("plainchat-", env!("CARGO_PKG_VERSION"));
                    client.numeric(
                        numeric::VERSION,
                        &[version, &client.server],
                        "plainchat",
                        out,
                    );
                });
                self.irc_support(chat);
                Ok(None)
            }
            "TIME" => {
                let time = now.time.to_string();
                self.irc_send(|client, out| {
                    client.numeric(numeric::TIME, &[&client.server], &time, out)
                });
                Ok(None)
            }
            "INFO" => {
                let keeping = chat.config.keeping();
                self.irc_send(|client, out| {
                    for text in [
                        "plainchat: one port for nc, telnet, browsers, bots and IRC.",
                        &keeping,
                    ] {
                        client.numeric(numeric::INFO, &[], text, out);
                    }
                    client.numeric(numeric::END_OF_INFO, &[], "End of /INFO list", out);
                });
                Ok(None)
            }
            "HELP" | "HELPOP" => {
                self.irc_help(line);
                Ok(None)
            }
            "HISTORY" => {
                if let Some(irc) = self.irc.as_deref_mut() {
                    irc.client.replays = true;
                }
                self.irc_as_plain(line, chat, now)
            }
            word if is_plainchats(word) => self.irc_as_plain(line, chat, now),
            word => {
                self.irc_numeric(
                    numeric::UNKNOWN_COMMAND,
                    &[word],
                    "unknown command; HELP lists the commands",
                );
                Ok(None)
            }
        }
    }

    /// Executes one of plainchat's own verbs, in the syntax of `protocol.md`. The answer consists of notices.
    fn irc_as_plain(&mut self, line: &IrcLine<'_>, chat: &mut Chat, now: Now) -> Done {
        let read = Request::parse(line.rest.as_bytes());
        self.carry_out(read, LineEnd::Lf, chat, now)
    }

    fn irc_lacks(&mut self, word: &str) -> Done {
        self.irc_numeric(numeric::NEED_MORE_PARAMS, &[word], "a parameter is missing");
        Ok(None)
    }

    /// Returns a room that this connection may read.
    pub(super) fn irc_find(&self, typed: &str, chat: &Chat) -> Option<RoomId> {
        let name = room_name(Verb::Who, typed).ok()?;
        let room = chat.find_room(&name)?;
        chat.may_read(room, self.nick).then_some(room)
    }

    fn irc_names(&mut self, line: &IrcLine<'_>, chat: &mut Chat) -> Done {
        let typed = line.param(0).unwrap_or("*");
        let typed = typed.split(',').next().unwrap_or_default();
        match self.irc_find(typed, chat) {
            Some(room) => self.list(LazyList::names(room), chat),
            None => {
                self.irc_numeric(numeric::END_OF_NAMES, &[typed], "End of /NAMES list");
                Ok(None)
            }
        }
    }

    fn irc_list(&mut self, line: &IrcLine<'_>, chat: &mut Chat) -> Done {
        self.irc_numeric(numeric::LIST_START, &["Channel"], "Users  Name");
        let (mut least, mut most) = (0, usize::MAX);
        let (mut named, mut has_mask) = (Vec::new(), false);
        for word in line.param(0).unwrap_or_default().split(',') {
            let number = |text: &str| text.parse::<usize>().ok();
            if let Some(n) = word.strip_prefix('>').and_then(number) {
                least = n.saturating_add(1);
            } else if let Some(n) = word.strip_prefix('<').and_then(number) {
                most = n.saturating_sub(1);
            } else if !word.is_empty() {
                has_mask |= word.contains(['*', '?']);
                named.push(word);
            }
        }
        let list = LazyList::rooms(self.nick, false).of_size(least, most);
        if named.is_empty() {
            return self.list(list, chat);
        }
        if has_mask {
            return self.irc_list_masked(list, &named, chat);
        }
        for name in named {
            if let Some(room) = self.irc_find(name, chat).and_then(|room| chat.room(room)) {
                let members = chat.members(&room.name).to_string();
                self.irc_numeric(numeric::LIST, &[room.name.as_str(), &members], &room.topic);
            }
        }
        self.irc_numeric(numeric::LIST_END, &[], "End of /LIST");
        Ok(None)
    }

    /// Sends the rooms of a list that match one of the masks.
    fn irc_list_masked(&mut self, list: LazyList, masks: &[&str], chat: &mut Chat) -> Done {
        // The connection has only one set of masks, and a list that is still being sent needs that set.
        let is_listing = |pending: &Pending| matches!(pending, Pending::List(_));
        let is_long = |mask: &&str| mask.chars().count() > MASK_CHARS_MAX;
        if masks.len() > MASKS_MAX
            || masks.iter().any(is_long)
            || self.replies().pending.iter().any(is_listing)
        {
            let text = "one list at a time, with at most 4 masks of at most 65 characters";
            self.irc_numeric(numeric::TRY_AGAIN, &["LIST"], text);
            self.irc_numeric(numeric::LIST_END, &[], "End of /LIST");
            return Ok(None);
        }
        if let Some(irc) = self.irc.as_deref_mut() {
            let masks = masks.iter().map(|mask| mask.to_lowercase());
            irc.client.list_masks = masks.map(|mask| mask.chars().collect()).collect();
        }
        self.list(list.masked(), chat)
    }

    fn irc_who(&mut self, line: &IrcLine<'_>, chat: &mut Chat) -> Done {
        let typed = line.param(0).unwrap_or("*");
        let form = WhoForm::parse(line.param(1).unwrap_or_default());
        if typed.starts_with('#') {
            if let Some(room) = self.irc_find(typed, chat) {
                return self.list(LazyList::who(room, form), chat);
            }
        } else if typed.contains(['*', '?']) {
            self.irc_who_matches(typed, form, chat);
        } else if let Some(nick) = Nick::parse(typed)
            .ok()
            .and_then(|nick| chat.find_nick(&nick))
        {
            self.irc_who_line(nick, None, form, chat);
        }
        self.irc_numeric(numeric::END_OF_WHO, &[typed], "End of /WHO list");
        Ok(None)
    }

    /// Lists the nicks that match a mask and share a room with this connection.
    fn irc_who_matches(&mut self, mask: &str, form: WhoForm, chat: &mut Chat) {
        let mask: Vec<char> = mask.to_lowercase().chars().collect();
        if mask.len() > MASK_CHARS_MAX {
            return;
        }
        let (mut compared, mut found) = (0, BTreeSet::new());
        for room in self.room_ids() {
            let mut after = None;
            while compared < COMPARED_MAX
                && let Some(nick) = chat.next_member(room, after)
            {
                compared += 1;
                after = Some(nick);
                let user = chat.user(nick);
                let name: Option<Vec<char>> =
                    user.map(|user| user.nick.as_str().to_lowercase().chars().collect());
                if name.is_some_and(|name| fits(&mask, &name)) && found.insert(nick) {
                    chat.show_member_of(room, nick);
                    self.irc_who_line(nick, Some(room), form, chat);
                }
            }
        }
    }

    fn irc_who_line(&mut self, nick: NickId, room: Option<RoomId>, form: WhoForm, chat: &Chat) {
        let Some(user) = chat.user(nick) else {
            return;
        };
        let name = room
            .and_then(|room| chat.room(room))
            .map(|room| room.name.clone());
        let shown = Shown {
            room: name.as_ref().map_or("*", |name| name.as_str()),
            nick: user.nick.as_str(),
            is_registered: chat.is_registered(&user.nick),
            is_operator: chat.is_operator(nick),
            is_moderator: room.is_some_and(|room| chat.may_moderate(room, nick)),
            is_away: chat.away(nick).is_some(),
        };
        self.irc_send(|client, out| form.write(client, shown, out));
    }

    fn irc_whois(&mut self, line: &IrcLine<'_>, chat: &mut Chat) -> Done {
        let Some(typed) = line.params.last().copied().filter(|nick| !nick.is_empty()) else {
            self.irc_numeric(numeric::NO_NICK, &[], "no nick was given");
            return Ok(None);
        };
        let found = Nick::parse(typed)
            .ok()
            .and_then(|nick| chat.find_nick(&nick));
        let user_of = found.and_then(|found| Some((found, chat.user(found)?.nick.clone())));
        let Some((found, nick)) = user_of else {
            self.irc_numeric(numeric::NO_SUCH_NICK, &[typed], "no such nick is connected");
            self.irc_numeric(numeric::END_OF_WHOIS, &[typed], "End of /WHOIS list");
            return Ok(None);
        };
        let mut rooms = Vec::new();
        for room in self.room_ids() {
            if chat.show_member_of(room, found)
                && let Some(name) = chat.room(room).map(|room| room.name.clone())
            {
                let mark = if chat.may_moderate(room, found) {
                    "@"
                } else {
                    ""
                };
                rooms.push(format!("{mark}{name}"));
            }
        }
        let (is_operator, is_registered) = (chat.is_operator(found), chat.is_registered(&nick));
        let nick = nick.as_str();
        let name = chat.config.name.clone();
        let away = chat.away(found).map(str::to_owned);
        self.irc_send(|client, out| {
            let server = &*client.server;
            client.numeric(
                numeric::WHOIS_USER,
                &[nick, &user(nick), server, "*"],
                nick,
                out,
            );
            for rooms in rooms.chunks(8) {
                client.numeric(numeric::WHOIS_CHANNELS, &[nick], &rooms.join(" "), out);
            }
            client.numeric(numeric::WHOIS_SERVER, &[nick, server], &name, out);
            if let Some(away) = &away {
                client.numeric(numeric::AWAY, &[nick], away, out);
            }
            if is_operator {
                client.numeric(numeric::WHOIS_OPERATOR, &[nick], "is an operator", out);
            }
            if is_registered {
                client.numeric(
                    numeric::WHOIS_ACCOUNT,
                    &[nick, nick],
                    "is registered as",
                    out,
                );
            }
            client.numeric(numeric::END_OF_WHOIS, &[nick], "End of /WHOIS list", out);
        });
        Ok(None)
    }

    fn irc_is_on(&mut self, line: &IrcLine<'_>, chat: &Chat) -> Done {
        let typed = line
            .params
            .iter()
            .flat_map(|words| words.split_ascii_whitespace());
        let found = typed.filter_map(|typed| {
            let nick = chat.find_nick(&Nick::parse(typed).ok()?)?;
            let is_away = chat.away(nick).is_some();
            let name = chat.user(nick)?.nick.to_string();
            Some((name, chat.is_operator(nick), is_away))
        });
        let found: Vec<_> = found.collect();
        let is_ison = line.command == "ISON";
        self.irc_send(|client, out| {
            let words = found.iter().map(|(nick, is_operator, is_away)| {
                if is_ison {
                    return nick.clone();
                }
                let mark = if *is_operator { "*" } else { "" };
                let sign = if *is_away { '-' } else { '+' };
                format!("{nick}{mark}={sign}{}@{}", user(nick), client.server)
            });
            let words = words.collect::<Vec<_>>().join(" ");
            let number = if is_ison {
                numeric::ISON
            } else {
                numeric::USERHOST
            };
            client.numeric(number, &[], &words, out);
        });
        Ok(None)
    }

    fn irc_mode(&mut self, line: &IrcLine<'_>, chat: &mut Chat, now: Now) -> Done {
        let Some(target) = line.param(0) else {
            return self.irc_lacks("MODE");
        };
        let change = line.param(1);
        if !target.starts_with('#') {
            let own = self.nick.and_then(|nick| chat.user(nick));
            let is_own = own
                .zip(Nick::parse(target).ok())
                .is_some_and(|(own, nick)| own.nick.casefolded() == nick.casefolded());
            let is_known = Nick::parse(target)
                .ok()
                .and_then(|nick| chat.find_nick(&nick))
                .is_some();
            self.irc_send(|client, out| match is_own {
                // Some clients set `+i` automatically, so an error would surprise their users.
                true => client.words(numeric::UMODE_IS, &["+"], out),
                false if is_known => {
                    client.numeric(numeric::USERS_DONT_MATCH, &[], "that is not your nick", out)
                }
                false => client.numeric(
                    numeric::NO_SUCH_NICK,
                    &[target],
                    "no such nick is connected",
                    out,
                ),
            });
            return Ok(None);
        }
        let Some(change) = change else {
            self.irc_asks(Asked::ShowMode(target.to_owned()));
            let room = Some(room_name(Verb::Mode, target)?);
            return self.irc_request(
                Request::Mode {
                    room,
                    is_closed: None,
                },
                chat,
                now,
            );
        };
        let (is_on, letters) = match change.strip_prefix('-') {
            Some(letters) => (false, letters),
            None => (true, change.strip_prefix('+').unwrap_or(change)),
        };
        let sign = if is_on { '+' } else { '-' };
        let nick = line.param(2);
        let modes = match nick {
            Some(nick) => format!("{sign}{letters} {nick}"),
            None => format!("{sign}{letters}"),
        };
        self.irc_asks(Asked::Mode(target.to_owned(), modes));
        let room = Some(room_name(Verb::Mode, target)?);
        match (letters, nick) {
            ("i", _) => {
                let is_closed = Some(is_on);
                self.irc_request(Request::Mode { room, is_closed }, chat, now)
            }
            ("o", Some(nick)) => {
                let nick = nick_name(Verb::Invite, nick)?;
                let is_moderator = is_on;
                self.irc_request(
                    Request::Invite {
                        room,
                        nick,
                        is_moderator,
                    },
                    chat,
                    now,
                )
            }
            ("o", None) => self.irc_lacks("MODE"),
            ("b", None) if is_on => {
                self.irc_numeric(numeric::END_OF_BAN_LIST, &[target], NO_BANS);
                Ok(None)
            }
            // Clients show the text of this answer, but not the text of the answer for an unknown mode.
            ("b", _) => {
                self.irc_numeric(numeric::NOT_MODERATOR, &[target], NO_BANS);
                Ok(None)
            }
            (letters, _) => {
                let letter = letters.chars().next().unwrap_or('?').to_string();
                let text = "unknown mode; rooms have the modes i (invite-only) and o (moderators)";
                self.irc_numeric(numeric::UNKNOWN_MODE, &[&letter], text);
                Ok(None)
            }
        }
    }

    fn irc_invite(&mut self, line: &IrcLine<'_>, chat: &mut Chat, now: Now) -> Done {
        let (Some(nick), Some(typed)) = (line.param(0), line.param(1)) else {
            return self.irc_lacks("INVITE");
        };
        self.irc_asks(Asked::Invite(nick.to_owned(), typed.to_owned()));
        let room = room_name(Verb::Invite, typed)?;
        self.irc_require_in(Verb::Invite, typed, chat)?;
        let nick = nick_name(Verb::Invite, nick)?;
        if let (Some(here), Some(room)) = (chat.find_nick(&nick), chat.find_room(&room))
            && chat.show_member_of(room, here)
        {
            let text = "is already in that room";
            self.irc_numeric(numeric::USER_ON_CHANNEL, &[nick.as_str(), typed], text);
            return Ok(None);
        }
        let request = Request::Invite {
            room: Some(room),
            nick,
            is_moderator: false,
        };
        self.irc_request(request, chat, now)
    }

    fn irc_kick(&mut self, line: &IrcLine<'_>, chat: &mut Chat, now: Now) -> Done {
        let (Some(typed), Some(nick)) = (line.param(0), line.param(1)) else {
            return self.irc_lacks("KICK");
        };
        self.irc_asks(Asked::Kick(typed.to_owned(), nick.to_owned()));
        let room = room_name(Verb::Uninvite, typed)?;
        self.irc_require_in(Verb::Uninvite, typed, chat)?;
        let found = chat.find_room(&room).and_then(|room| chat.room(room));
        if !found.is_some_and(|room| room.acl.as_ref().is_some_and(|acl| acl.is_closed)) {
            let text = "KICK is for invite-only rooms, since anybody can rejoin an open one; MODE +i closes it";
            return Err(Refusal::new(Verb::Uninvite, Code::NotAllowed, text));
        }
        let nick = nick_name(Verb::Uninvite, nick)?;
        self.irc_request(
            Request::Uninvite {
                room: Some(room),
                nick,
            },
            chat,
            now,
        )
    }

    /// Checks that this connection is in the room.
    fn irc_require_in(&self, verb: Verb, typed: &str, chat: &Chat) -> Result<(), Refusal> {
        let Some(room) = self.irc_find(typed, chat) else {
            return Err(Refusal::new(
                verb,
                Code::NoSuchRoom,
                format!("there is no room {typed}"),
            ));
        };
        if !self.room_ids().contains(&room) {
            return Err(Refusal::new(
                verb,
                Code::NotInRoom,
                "you are not in that room",
            ));
        }
        Ok(())
    }

    fn irc_register(&mut self, line: &IrcLine<'_>, chat: &mut Chat, now: Now) -> Done {
        self.irc_asks(Asked::Register {
            is_by_notice: false,
        });
        let (Some(account), Some(password)) = (line.param(0), line.param(2)) else {
            return self.irc_lacks("REGISTER");
        };
        let own = self
            .nick
            .and_then(|nick| chat.user(nick))
            .map(|user| user.nick.clone());
        let fail = |why, text| (why, text);
        let wrong = match own {
            Some(own)
                if account != "*"
                    && Nick::parse(account)
                        .ok()
                        .is_none_or(|nick| nick.casefolded() != own.casefolded()) =>
            {
                Some(fail(
                    "ACCOUNT_NAME_MUST_BE_NICK",
                    "you can only register your current nick: REGISTER * * <password>",
                ))
            }
            Some(own) if chat.is_registered(&own) => Some(fail(
                "ALREADY_AUTHENTICATED",
                "your nick is registered already",
            )),
            _ => None,
        };
        if let Some((why, text)) = wrong {
            let params = ["REGISTER", why, account];
            self.irc_send(|client, out| client.by_server("FAIL", &params, Some(text), out));
            return Ok(None);
        }
        let password = Some(password.into());
        self.irc_request(Request::Register { password }, chat, now)
    }

    fn irc_help(&mut self, line: &IrcLine<'_>) {
        let typed = line.param(0).unwrap_or("index");
        let verb = Verb::parse(typed.to_ascii_uppercase().as_bytes())
            .filter(|verb| is_plainchats(verb.word()));
        let lines = match verb {
            Some(verb) => vec![format!("{} - {}", verb.usage(), verb.summary())],
            None if IRCS.contains(&&*typed.to_ascii_uppercase()) => {
                vec![format!("{typed} works as usual in IRC")]
            }
            None if line.param(0).is_none() => vec![
                format!("IRC: {}", IRCS.join(" ")),
                format!(
                    "plainchat: {}; HELP <verb> explains one of these",
                    PLAINCHATS.join(" ")
                ),
            ],
            None => {
                return self.irc_numeric(
                    numeric::HELP_NOT_FOUND,
                    &[typed],
                    "there is no help on that",
                );
            }
        };
        self.irc_send(|client, out| {
            client.numeric(
                numeric::HELP_START,
                &[typed],
                "the commands of this server",
                out,
            );
            for line in lines {
                client.numeric(numeric::HELP_TEXT, &[typed], &line, out);
            }
            client.numeric(numeric::END_OF_HELP, &[typed], "End of /HELP", out);
        });
    }
}

/// The answer to a client that asks for a room's bans or changes them.
const NO_BANS: &str = "rooms have no bans; an operator can ban a nick from the server with BAN";

/// The commands of IRC that this server executes.
const IRCS: &[&str] = &[
    "NICK",
    "JOIN",
    "PART",
    "PRIVMSG",
    "NOTICE",
    "TAGMSG",
    "TOPIC",
    "NAMES",
    "LIST",
    "WHO",
    "WHOIS",
    "MODE",
    "INVITE",
    "KICK",
    "KILL",
    "REDACT",
    "REGISTER",
    "PING",
    "QUIT",
    "CAP",
    "AUTHENTICATE",
    "AWAY",
    "CHATHISTORY",
    "BATCH",
    "MARKREAD",
];

/// The verbs of plainchat for which IRC has no command. The client writes them as in plainchat. The answers are
/// notices.
const PLAINCHATS: &[&str] = &[
    "HISTORY", "SEARCH", "FILES", "DOWNLOAD", "UPLOAD", "SEEN", "READERS", "FORGET", "REMOVE",
    "EDIT", "REACT", "UNREACT", "REACTS", "BAN", "UNBAN", "BANS", "NOTE", "SHUTDOWN", "TOKEN",
    "TOKENS", "REVOKE", "IGNORE", "UNIGNORE", "INVITES", "UNINVITE",
];

fn is_plainchats(word: &str) -> bool {
    PLAINCHATS.contains(&word)
}
