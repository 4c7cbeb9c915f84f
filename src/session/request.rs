//! Handles requests.

use std::sync::Arc;
use std::time::Duration;

use unicode_segmentation::UnicodeSegmentation;

use super::amend::OnEvent;
use super::lazy_list::{LazyList, Step};
use super::output::{AfterReply, Pending, UpTo};
use super::{
    Deferred, Draft, Effect, Expects, Membership, NickLogin, Session, Upload, WaitingNick,
};
use crate::chat::nick::Leaves;
use crate::chat::{CUT_OFF, Chat, Claimed, FilePlace, NickId, Place, Refused, RoomId};
use crate::dialect::{Dialect, Marks, Output, ReplyBody};
use crate::log::HistorySource;
use crate::model::{EventKind, Now, Reaction, Scope, Secret};
use crate::protocol::human::plural;
use crate::protocol::line::LineEnd;
use crate::protocol::request::{
    FilesOf, HistoryOf, JoinFrom, Refusal, SearchOf, Side, Target, UploadRequest,
};
use crate::protocol::tags::SentTags;
use crate::protocol::text::mentions_everybody;
use crate::protocol::{Code, Nick, Request, RoomName, VERSION, Verb};

/// The maximum number of bytes of a list that are formatted when the list is requested.
const LIST_BYTES_MAX: usize = 8 << 10;

/// The maximum length of a reaction in bytes.
const EMOJI_BYTES_MAX: usize = 32;

/// Returns whether `text` is one character as people see it (UAX 29).
fn is_emoji(text: &str) -> bool {
    text.len() <= EMOJI_BYTES_MAX
        && text.graphemes(true).count() == 1
        && !text.contains([',', '*'])
        && text.chars().all(|c| !c.is_control() && !c.is_whitespace())
}

pub(super) type Done = Result<Option<Effect>, Refusal>;

/// Returns the name of a room. The caller has just found the room.
pub(super) fn name_of(room: RoomId, chat: &Chat) -> Result<Arc<RoomName>, Refusal> {
    let gone = || Refusal::of_line(Code::NoSuchRoom, "that room no longer exists");
    chat.room(room)
        .map(|room| room.name.clone())
        .ok_or_else(gone)
}

/// Adds the verb of the refused request to an error.
pub(super) fn refused(verb: Verb) -> impl Fn(Refused) -> Refusal {
    move |(code, text)| Refusal::new(verb, code, text)
}

/// Returns the place and the scope of a direct message to the nick `to`.
fn direct(verb: Verb, own: NickId, to: Nick, chat: &mut Chat) -> Result<(Place, Scope), Refusal> {
    let here = chat.find_nick(&to);
    let (place, scope) = match (chat.direct_message(own, &to), here) {
        (Some(message), here) => {
            let here = here.unwrap_or(NickId::NONE);
            (here, Scope::Inbox(Box::new(message)))
        }
        (None, Some(here)) if chat.is_busy(here) => {
            let text = format!("{to}'s inbox is full; try again later");
            return Err(Refusal::new(verb, Code::Busy, text));
        }
        (None, Some(here)) => (here, Scope::Unsaved(to.into())),
        (None, None) => {
            let text = format!(
                "{to} is not connected; a message is saved only between two registered nicks"
            );
            return Err(Refusal::new(verb, Code::NoSuchNick, text));
        }
    };
    Ok((Place::Nick(place), scope))
}

/// Returns the place of a file from `own` to the nick `to`.
fn file_to(own: NickId, to: &Nick, chat: &Chat) -> Result<FilePlace, Refusal> {
    if let Some(message) = chat.direct_message(own, to) {
        return Ok(chat.inbox_of_file(message));
    }
    let is_registered = chat.is_registered(to);
    let (code, text) = if is_registered {
        let text =
            "only a registered nick can send a file to one person: REGISTER <password> first"
                .into();
        (Code::NotAllowed, text)
    } else if chat.find_nick(to).is_some() {
        let text = format!(
            "{to} is not registered; a file can be sent only to a registered nick, so ask {to} to REGISTER first"
        );
        (Code::NotAllowed, text)
    } else {
        let text = format!("{to} is neither registered nor connected");
        (Code::NoSuchNick, text)
    };
    Err(Refusal::new(Verb::Upload, code, text))
}

impl Session {
    pub(super) fn request(&mut self, request: Request<'_>, chat: &mut Chat, now: Now) -> Done {
        let verb = request.verb();
        match request {
            Request::Msg { text, tags } => {
                let message = Draft::message(verb, EventKind::Msg, &text, tags);
                self.send_message(None, message, chat)
            }
            Request::Me { text, tags } => {
                let message = Draft::message(verb, EventKind::Me, &text, tags);
                self.send_message(None, message, chat)
            }
            Request::Tell { to, text, tags } => {
                let message = Draft::message(verb, EventKind::Msg, &text, tags);
                self.send_message(Some(to), message, chat)
            }
            Request::Nick { nick, password } => self.nick(nick, password.as_deref(), chat, now),
            Request::Register { password } => self.register(password.as_deref(), chat, now),
            Request::Token { label, key } => self.token(label, key.as_deref(), chat),
            Request::Pass { password } => self.pass(&password, chat),
            Request::Kick { nick, text } => self.kick(&nick, &text, chat, now),
            Request::Ban {
                target,
                lasts,
                text,
            } => {
                let lasts = lasts.map(Duration::from_secs);
                self.ban(target, lasts, &text, chat, now)
            }
            Request::Unban { target } => self.unban(target, chat, now),
            Request::Bans => self.bans(chat, now),
            Request::Note { text } => self.note(&text, chat, now),
            Request::Shutdown { text } => self.shutdown(&text, chat),
            Request::Ignore { nick } => self.ignore(nick.as_ref()),
            Request::Unignore { nick } => self.unignore(&nick),
            Request::Mode { room, is_closed } => match is_closed {
                None => self.show_mode(room.as_ref(), chat),
                Some(is_closed) => self.close_room(room.as_ref(), is_closed, chat),
            },
            Request::Invite {
                room,
                nick,
                is_moderator,
            } => self.invite(room.as_ref(), &nick, is_moderator, chat),
            Request::Uninvite { room, nick } => self.uninvite(room.as_ref(), &nick, chat),
            Request::Invites { room } => self.invites(room.as_ref(), chat),
            Request::Tokens => self.tokens(chat),
            Request::Hook { label, room } => self.hook(label, &room, chat),
            Request::Hooks => self.hooks(chat),
            Request::Revoke { label } => self.revoke(label, chat),
            Request::Join { room, from } => self.join(&room, &from, chat, now),
            Request::Seen { room, id, reader } => self.seen(&room, id, reader, chat),
            Request::Readers => self.readers(chat),
            Request::Forget { room, reader } => self.forget_reader(room, &reader, chat),
            Request::History { of, count, side } => {
                let room = match of {
                    HistoryOf::Current => None,
                    HistoryOf::Room(room) => Some(room),
                    HistoryOf::Nick(nick) => return self.private_history(nick, count, side, chat),
                };
                let room = self.room_to_read(verb, room.as_ref(), chat)?;
                Ok(self.query_history(HistorySource::Room(name_of(room, chat)?), count, side))
            }
            Request::Search { of, words } => {
                let room = match of {
                    SearchOf::Inbox => return self.search_inbox(&words, chat),
                    SearchOf::All => None,
                    SearchOf::Current => Some(self.room_to_read(verb, None, chat)?),
                    SearchOf::Room(room) => Some(self.room_to_read(verb, Some(&room), chat)?),
                };
                let room = room.map(|room| name_of(room, chat)).transpose()?;
                self.query_search(room, &words, chat)
            }
            Request::Part { room } => self.part(room, "", chat, now),
            Request::Topic { room, text: None } => self.show_topic(room, chat),
            Request::Topic {
                room,
                text: Some(text),
            } => self.set_topic(room, &text, chat),
            Request::Rooms { is_all } => {
                if is_all {
                    self.require_operator(verb, chat)?;
                }
                self.list(LazyList::rooms(self.nick, is_all), chat)
            }
            Request::Who { room } => {
                let room = self.room_to_read(verb, room.as_ref(), chat)?;
                self.list(LazyList::members(room), chat)
            }
            Request::Whois { nick } => self.whois(&nick, chat),
            Request::Away { text } => self.away(&text, chat, now),
            Request::Mine => self.mine(chat),
            Request::Files { of } => {
                let room = match of {
                    FilesOf::Inbox => return self.list_inbox_files(chat),
                    FilesOf::Current => None,
                    FilesOf::Room(room) => Some(room),
                };
                let room = self.room_to_read(verb, room.as_ref(), chat)?;
                Ok(self.query_files(HistorySource::Room(name_of(room, chat)?)))
            }
            Request::Help { verb } => self.list(LazyList::help(verb), chat),
            Request::Download { file: id, offset } => Ok(self.query_file(id, offset)),
            Request::Remove { id } => {
                self.require_nick(verb)?;
                Ok(self.query_authorship(id, OnEvent::Remove(SentTags::default())))
            }
            Request::Edit { id, text } => {
                self.require_nick(verb)?;
                Ok(self.query_authorship(id, OnEvent::Edit(text.into())))
            }
            Request::React { id, emoji, is_on } => {
                self.require_nick(verb)?;
                if !is_emoji(&emoji) {
                    let text = "a reaction is one emoji or other character, without spaces";
                    return Err(Refusal::new(verb, Code::BadSyntax, text));
                }
                let emoji = emoji.into();
                let is_withdrawn = !is_on;
                let reaction = Reaction {
                    to: id,
                    emoji,
                    is_withdrawn,
                };
                Ok(self.query_authorship(id, OnEvent::React(reaction)))
            }
            Request::Reacts { id } => Ok(self.ask_reactions(id)),
            Request::RemoveAccount { nick } => self.remove_account(nick, chat),
            Request::RemoveRoom { room } => self.remove_room(&room, chat, now),
            Request::Stamps { on } => {
                let stamps = on;
                self.set_marks(verb, on, |marks| Marks { stamps, ..marks })
            }
            Request::Tags { on } => {
                let tags = on;
                self.set_marks(verb, on, |marks| Marks { tags, ..marks })
            }
            Request::Chat => {
                self.ok(
                    verb,
                    "",
                    "each line that you type is sent as a message already",
                    AfterReply::Dialect(Dialect::Talker),
                );
                self.input = Dialect::Talker;
                Ok(None)
            }
            Request::Raw => {
                let dialect = self.input.without_talk();
                self.input = dialect;
                self.ok(verb, "", "", AfterReply::Dialect(dialect));
                Ok(None)
            }
            Request::Stay => {
                self.stays = true;
                self.ok(verb, "", "", AfterReply::Nothing);
                Ok(None)
            }
            Request::Ping { word } => {
                self.ok(verb, &word, "pong", AfterReply::Nothing);
                Ok(None)
            }
            Request::Hello => {
                let has_irc = chat.config.protocols.irc;
                let words = crate::protocol::CAPABILITIES.iter().copied();
                let words = words.filter(|word| has_irc || *word != "irc");
                let words = words.collect::<Vec<_>>().join(" ");
                let hello = format!("{VERSION} {} {words}", chat.config.name);
                let talk = format!(
                    "this is {}, plainchat's protocol {VERSION}",
                    chat.config.name
                );
                self.ok(verb, &hello, &talk, AfterReply::Nothing);
                Ok(None)
            }
            Request::Bye { text } | Request::Quit { text } => {
                if self
                    .rooms
                    .iter()
                    .any(|membership| membership.reader.is_some() && !membership.confirms)
                {
                    return Ok(self.flush_before_bye(verb, &text));
                }
                self.say_goodbye(verb, &text, chat, now);
                Ok(None)
            }
            Request::Upload(upload) => self.upload(upload, LineEnd::Lf, chat, now),
            Request::Text(text) => self.text(text, LineEnd::Lf, chat, now),
        }
    }

    pub(super) fn say_goodbye(&mut self, verb: Verb, text: &str, chat: &mut Chat, now: Now) {
        self.depart_after_unread(text, Leaves::ForGood, chat, now);
        self.ok(verb, "", "bye", AfterReply::Close);
    }

    /// Turns stamps or tags on or off. Stamps and tags are extra fields of events, for programs.
    fn set_marks(&mut self, verb: Verb, on: bool, change: impl FnOnce(Marks) -> Marks) -> Done {
        if self.input.is_for_people() {
            let text = "STAMPS and TAGS are for programs; type /raw first, which ends CHAT";
            return Err(Refusal::new(verb, Code::NotAllowed, text));
        }
        let dialect = Dialect::Program(change(self.input.marks()));
        self.input = dialect;
        let fields = if on { "on" } else { "off" };
        self.ok(verb, fields, "", AfterReply::Dialect(dialect));
        Ok(None)
    }

    /// Sends a message to a room or nick, or to the current room.
    pub(super) fn send_message(
        &mut self,
        to: Option<Target>,
        mut message: Draft<'_>,
        chat: &mut Chat,
    ) -> Done {
        let verb = message.verb;
        let own = self.require_nick(verb)?;
        let room = match to {
            None => self.require_current_room(verb)?,
            Some(Target::Room(room)) => chat
                .find_or_create_room(&room, self.peer, self.nick)
                .map_err(refused(verb))?,
            Some(Target::Nick(to)) => {
                let (place, scope) = direct(verb, own, to, chat)?;
                if verb == Verb::Tell && !message.tags.is_notice() {
                    self.send_away(place, chat);
                }
                return Ok(Some(self.propose(place, scope, message, chat)));
            }
        };
        // What a program sends may come from anybody, such as the title of a bug report.
        if mentions_everybody(message.text)
            && !message.tags.is_notice()
            && chat.may_mention_everybody(room, own)
        {
            message.tags = message.tags.with_everybody();
        }
        Ok(self.propose_in(room, message, chat))
    }

    /// Takes a nick. `has_token` is `Some(true)` after a login with a token, `Some(false)` after a login with the
    /// password, and `None` without a login.
    pub(super) fn take_nick(
        &mut self,
        nick: Nick,
        password: Option<&str>,
        has_token: Option<bool>,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        // While the password was checked, the connection may have been closed or removed from a room.
        self.run_commands(chat, now);
        if self.is_ending() {
            return Ok(None);
        }
        let rooms = self.room_ids();
        let unread = self.unread_inbox(chat);
        let login = NickLogin {
            has_password: password.is_some(),
            has_token,
            unread,
        };
        let again = chat
            .is_shared()
            .then(|| (nick.clone(), password.map(Secret::new)));
        let taken = chat.take_nick(self.peer, self.nick, &rooms, nick, password, now);
        if let Some(nick) = taken.map_err(refused(Verb::Nick))? {
            let inbox = chat.inbox_end(nick);
            return self.nick_taken(login, Claimed { nick, inbox }, chat, now);
        }
        self.replies_mut().deferred = again.map(|(nick, password)| {
            Deferred::Nick(Box::new(WaitingNick {
                nick,
                password,
                login,
            }))
        });
        Ok(None)
    }

    /// Continues after the decision on a change to another nick.
    pub(super) fn nick_decided(&mut self, waiting: WaitingNick, chat: &mut Chat, now: Now) -> Done {
        match chat.take_claimed(self.peer) {
            Some(decided) => {
                let claimed = decided.map_err(refused(Verb::Nick))?;
                self.nick_taken(waiting.login, claimed, chat, now)
            }
            // The change was not proposed, because another connection was changing one of the nicks.
            None => {
                let password = waiting.password.as_ref().map(Secret::expose);
                self.nick(waiting.nick, password, chat, now)
            }
        }
    }

    /// Continues after the connection has received the nick.
    fn nick_taken(
        &mut self,
        login: NickLogin,
        claimed: Claimed,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        let verb = Verb::Nick;
        let id = claimed.nick;
        let NickLogin {
            has_password,
            has_token,
            unread,
        } = login;
        let is_first = self.nick.is_none();
        if self.nick.replace(id) != Some(id) {
            self.has_token = false;
            self.inbox = claimed.inbox;
            if !unread.is_empty() {
                self.push(unread, AfterReply::Nothing);
            }
        }
        self.has_token = has_token.unwrap_or(self.has_token);
        // The connection may have been closed, or removed from rooms that the new nick may not read.
        self.run_commands(chat, now);
        if self.is_ending() {
            return Ok(None);
        }
        let rooms = self.room_ids();
        // An IRC client requests its rooms itself.
        if rooms.is_empty() && is_first && self.irc.is_none() && !self.lost_current_room {
            let lobby = chat.lobby();
            self.enter(lobby, chat, now);
        }
        let room = self
            .current()
            .and_then(|room| Some((room, chat.room(room)?)));
        let nick = chat
            .user(id)
            .map_or_else(String::new, |user| user.nick.to_string());
        let (rest, talk) = match room {
            Some((_, room)) => (
                format!("{nick} {} {}", room.name, room.last_id()),
                format!("you are {nick}, in {}", room.name),
            ),
            None => (nick.clone(), format!("you are {nick}")),
        };
        self.ok_in(
            verb,
            room.map(|(id, _)| id),
            &rest,
            &talk,
            AfterReply::Nothing,
            chat,
        );
        if has_password {
            self.send_tls_hint(chat);
        }
        Ok(None)
    }

    fn join(&mut self, name: &RoomName, from: &JoinFrom, chat: &mut Chat, now: Now) -> Done {
        let verb = Verb::Join;
        if matches!(from, JoinFrom::Reader(_)) {
            self.require_nick(verb)?;
        }
        if let JoinFrom::After(id) = from
            && chat.is_cut_off()
            && *id > chat.newest_id()
        {
            // Otherwise, the connection would get events again when this server reads them in the log.
            return Err(Refusal::new(verb, Code::CutOff, CUT_OFF));
        }
        let known = chat.find_room(name);
        let at = self
            .rooms
            .iter()
            .position(|m| Some(m.room) == known && !m.is_leaving);
        let room_id = match at {
            // A room that is joined again becomes the current room.
            Some(at) => {
                let membership = self.rooms.remove(at);
                let room = membership.room;
                self.rooms.push(membership);
                if *from != JoinFrom::Now {
                    // The live events up to now are sent before the history.
                    self.push(Output::default(), AfterReply::Hold(room));
                    self.place_last(room, chat);
                }
                room
            }
            None => {
                let most = chat.limits().rooms_per_connection_max;
                if self.rooms.iter().filter(|m| !m.is_leaving).count() >= most {
                    let text = format!("a connection can be in at most {most} rooms; PART one");
                    return Err(Refusal::new(verb, Code::Quota, text));
                }
                let room = chat
                    .find_or_create_room(name, self.peer, self.nick)
                    .map_err(refused(verb))?;
                self.enter(room, chat, now);
                self.irc_entered(room, chat);
                if let Some(membership) = self.rooms.last_mut() {
                    membership.waits_for_backlog = *from != JoinFrom::Now;
                }
                room
            }
        };
        self.lost_current_room = false;
        match from {
            JoinFrom::Now => {
                self.joined(room_id, chat);
                Ok(None)
            }
            JoinFrom::After(id) => {
                let up_to = chat.room(room_id).map_or(0, |room| room.last_id());
                Ok(self.query_backlog(room_id, *id, up_to, chat))
            }
            JoinFrom::Reader(name) => {
                let room = name_of(room_id, chat)?;
                let reader = self.own_reader(verb, &room, name, chat)?;
                Ok(self.query_reader(room_id, reader))
            }
        }
    }

    /// Completes a `JOIN` after the connection has joined the room and the requested backlog, if any, has been sent.
    pub(super) fn joined(&mut self, room_id: RoomId, chat: &Chat) {
        let mut rooms = self.rooms.iter_mut();
        let membership = rooms.find(|m| m.room == room_id && !m.is_leaving);
        let (Some(room), Some(membership)) = (chat.room(room_id), membership) else {
            let text = "you were removed from that room while its history was being read";
            return self.refuse(&Refusal::new(Verb::Join, Code::NotAllowed, text));
        };
        let had_waited = std::mem::take(&mut membership.waits_for_backlog);
        let last_id = if had_waited {
            membership.seen
        } else {
            room.last_id()
        };
        let topic = match &*room.topic {
            "" => String::new(),
            topic => format!(", where the topic is: {topic}"),
        };
        let rest = format!("{} {last_id}", room.name);
        let members = chat.members(&room.name);
        let others = members.saturating_sub(usize::from(self.nick.is_some()));
        let others = plural(others, "other", "others");
        let talk = format!("you are in {} with {others}{topic}", room.name);
        if had_waited {
            self.ok(Verb::Join, &rest, &talk, AfterReply::Nothing)
        } else {
            self.ok_in(
                Verb::Join,
                Some(room_id),
                &rest,
                &talk,
                AfterReply::Nothing,
                chat,
            )
        }
    }

    fn enter(&mut self, room: RoomId, chat: &mut Chat, now: Now) {
        chat.enter(room, self.peer, self.nick, now);
        // The connection reads the room from this position on, after its own `JOIN`.
        self.rooms.push(Membership::new(room, chat));
    }

    /// Handles `HISTORY` of direct messages, which are stored only between registered nicks.
    fn private_history(
        &mut self,
        nick: Nick,
        count: Option<usize>,
        side: Side,
        chat: &Chat,
    ) -> Done {
        let verb = Verb::History;
        let own = chat.user(self.require_nick(verb)?);
        if own.is_none_or(|user| user.nick.casefolded() != nick.casefolded()) {
            return Err(Refusal::new(
                verb,
                Code::NotAllowed,
                "you cannot read other people's direct messages",
            ));
        }
        if chat.is_registered(&nick) {
            return Ok(self.query_history(HistorySource::Inbox(nick.into()), count, side));
        }
        let talk = "direct messages are saved only between registered nicks; register yours: REGISTER <password>";
        self.ok(verb, "0", talk, AfterReply::Nothing);
        Ok(None)
    }

    /// Searches the direct messages of the connection's own nick.
    fn search_inbox(&mut self, words: &str, chat: &Chat) -> Done {
        let own = chat.user(self.require_nick(Verb::Search)?);
        let own = own.filter(|user| chat.is_registered(&user.nick));
        self.query_inbox_search(own.map(|user| user.nick.clone()), words)
    }

    /// Lists the files of the direct messages of the connection's own nick.
    fn list_inbox_files(&mut self, chat: &Chat) -> Done {
        let verb = Verb::Files;
        let own = chat.user(self.require_nick(verb)?);
        let own = own.filter(|user| chat.is_registered(&user.nick));
        let Some(own) = own.map(|user| user.nick.clone()) else {
            self.ok(verb, "0", "0 files", AfterReply::Nothing);
            return Ok(None);
        };
        Ok(self.query_files(HistorySource::Inbox(own.into())))
    }

    pub(super) fn part(
        &mut self,
        name: Option<RoomName>,
        text: &str,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        let verb = Verb::Part;
        let wanted = match &name {
            Some(name) => chat.find_room(name),
            None => self.current(),
        };
        let mut rooms = self.rooms.iter_mut();
        let membership = rooms.find(|m| Some(m.room) == wanted && !m.is_leaving);
        let Some(membership) = membership else {
            return Err(Refusal::new(
                verb,
                Code::NotInRoom,
                "you are not in that room",
            ));
        };
        membership.is_leaving = true;
        let room_id = membership.room;
        let room = chat
            .room(room_id)
            .map_or_else(String::new, |room| room.name.to_string());
        let talk = format!("you left {room}");
        self.ok_in(
            verb,
            Some(room_id),
            &room,
            &talk,
            AfterReply::Leave(room_id),
            chat,
        );
        chat.leave(room_id, self.peer, self.nick, text, now);
        Ok(None)
    }

    fn show_topic(&mut self, room: Option<RoomName>, chat: &mut Chat) -> Done {
        let verb = Verb::Topic;
        let room_id = self.room_to_read(verb, room.as_ref(), chat)?;
        let Some(room) = chat.room(room_id) else {
            return Ok(None);
        };
        let (rest, talk) = match &*room.topic {
            "" => (room.name.to_string(), format!("{} has no topic", room.name)),
            topic => (
                format!("{} {topic}", room.name),
                format!("topic of {}: {topic}", room.name),
            ),
        };
        self.ok(verb, &rest, &talk, AfterReply::Nothing);
        Ok(None)
    }

    fn set_topic(&mut self, name: Option<RoomName>, text: &str, chat: &mut Chat) -> Done {
        let verb = Verb::Topic;
        self.require_nick(verb)?;
        let room = match name {
            None => self.require_current_room(verb)?,
            Some(name) => {
                let room = self.room_to_read(verb, Some(&name), chat)?;
                if !self.room_ids().contains(&room) {
                    let text = format!("JOIN {name} to set its topic");
                    return Err(Refusal::new(verb, Code::NotInRoom, text));
                }
                room
            }
        };
        let text = if text == "-" { "" } else { text };
        let name = chat
            .room(room)
            .map_or_else(String::new, |room| room.name.to_string());
        let body = if text.is_empty() {
            name
        } else {
            format!("{name} {text}")
        };
        let body = ReplyBody::Text(body.into());
        let draft = Draft {
            text,
            ..Draft::new(verb, EventKind::Topic, body)
        };
        Ok(self.propose_in(room, draft, chat))
    }

    /// Replies with a list. A short list is sent at once; a longer list is sent line by line, as the client receives
    /// the lines.
    pub(super) fn list(&mut self, mut list: LazyList, chat: &mut Chat) -> Done {
        let mut text = Output::default();
        while text.len() < LIST_BYTES_MAX {
            match list.write_next(self.writer(self.input), chat, &mut text) {
                Step::Line => {}
                Step::Nothing => break,
                Step::End => {
                    list.write_end(self.writer(self.input), chat, &mut text);
                    self.push(text, AfterReply::Nothing);
                    return Ok(None);
                }
            }
        }
        self.push(text, AfterReply::Nothing);
        let list = Pending::List(Box::new(list));
        self.replies_mut().pending.push_back(list);
        Ok(None)
    }

    pub(super) fn upload(
        &mut self,
        upload: UploadRequest,
        end: LineEnd,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        let verb = Verb::Upload;
        let UploadRequest {
            name,
            length,
            sha256,
            to,
            tags,
        } = upload;
        let most = chat.limits().upload_bytes_max;
        if length.is_some_and(|length| length > most) {
            let text = format!("this server accepts files of at most {most} bytes");
            self.end(Refusal::new(verb, Code::TooLarge, text), chat, now);
            return Ok(None);
        }
        if end == LineEnd::CrLf && sha256.is_none() {
            let text = "the line ended in CR LF, so the file may have been altered on the way (nc -C does); give its sha256 after the length";
            self.end(Refusal::new(verb, Code::NeedDigest, text), chat, now);
            return Ok(None);
        }
        let allowed = || {
            self.require_open(verb)?;
            let own = self.require_nick(verb)?;
            let place = match to? {
                None => FilePlace::Room(self.require_current_room(verb)?),
                Some(to) => file_to(own, &to, chat)?,
            };
            chat.has_space_for_file(self.peer, self.nick)
                .map_err(|text| Refusal::new(verb, Code::Quota, text))?;
            let name = name?;
            chat.begin_upload(self.peer, self.nick, length.unwrap_or_default())
                .map_err(|text| Refusal::new(verb, Code::Quota, text))?;
            if !chat.may_upload(self.peer, self.nick, now) {
                chat.end_upload(self.peer);
                let text = if self.nick.is_some_and(|nick| chat.is_own(nick)) {
                    "too many files were sent from your address; try again later"
                } else {
                    "too many files were sent from your address under unregistered nicks; REGISTER, or try again later"
                };
                return Err(Refusal::new(verb, Code::Quota, text));
            }
            Ok((place, name))
        };
        match allowed() {
            Ok((place, name)) => {
                self.expects = Expects::Nothing;
                let upload = Upload {
                    name,
                    length,
                    sha256,
                    tags,
                    place,
                };
                Ok(Some(Effect::Receive(upload.into())))
            }
            Err(refusal) => {
                self.expects = Expects::Nothing;
                self.refuse(&refusal);
                Ok(Some(Effect::Discard(length)))
            }
        }
    }

    /// Explains to a person in talker mode how to upload a file. The bytes of a file cannot be sent between messages.
    pub(super) fn explain_upload(&mut self, chat: &Chat) {
        let nick = self.nick.and_then(|nick| chat.user(nick));
        let nick = nick.map_or("me", |user| user.nick.as_str());
        let room = self.current().unwrap_or_else(|| chat.lobby());
        let room = chat.room(room).map_or("#lobby", |room| room.name.as_str());
        let talk = self.transfer_hint(&format!("/{room}"), |nc| {
            format!("(printf 'JOIN {room}\\nNICK {nick}-file\\nUPLOAD FILE *\\n'; cat FILE) | {nc}")
        });
        self.ok(Verb::Upload, "", &talk, AfterReply::Nothing);
    }

    pub(super) fn require_nick(&self, verb: Verb) -> Result<NickId, Refusal> {
        self.nick
            .ok_or_else(|| Refusal::new(verb, Code::NeedNick, "choose a nick first: NICK <nick>"))
    }

    pub(super) fn require_current_room(&self, verb: Verb) -> Result<RoomId, Refusal> {
        let text = if self.lost_current_room {
            "you have no current room, since your JOIN was refused or you were removed from the room; JOIN a room first"
        } else {
            "you are in no room; JOIN one"
        };
        let none = || Refusal::new(verb, Code::NotInRoom, text);
        self.current().ok_or_else(none)
    }

    /// Returns the room named `name`, if this connection may read it. Without `name`, returns the current room or the
    /// lobby.
    pub(super) fn room_to_read(
        &self,
        verb: Verb,
        name: Option<&RoomName>,
        chat: &Chat,
    ) -> Result<RoomId, Refusal> {
        let Some(name) = name else {
            return Ok(self.current().unwrap_or_else(|| chat.lobby()));
        };
        let none = || {
            Refusal::new(
                verb,
                Code::NoSuchRoom,
                format!("there is no room {name}; ROOMS lists the rooms"),
            )
        };
        let room = chat.find_room(name);
        room.filter(|room| chat.may_read(*room, self.nick))
            .ok_or_else(none)
    }

    /// Queues the reply to a request that succeeded, to be sent after the events that `room` contains now.
    fn ok_in(
        &mut self,
        verb: Verb,
        room: Option<RoomId>,
        rest: &str,
        talk: &str,
        then: AfterReply,
        chat: &Chat,
    ) {
        self.ok(verb, rest, talk, then);
        if let Some(room) = room {
            self.place_last(room, chat);
        }
    }

    /// Moves the last reply after the events that `room` contains now, and before all later events.
    fn place_last(&mut self, room: RoomId, chat: &Chat) {
        if let Some(Pending::Text(reply)) = self.replies_mut().pending.back_mut() {
            reply.after = Some(UpTo {
                room,
                seq: chat.end(Place::Room(room)),
                id: chat.room(room).map_or(0, |room| room.last_id()),
            });
        }
    }
}
