//! Carries out requests.

use std::sync::Arc;
use std::time::Duration;

use super::list::List;
use super::output::{Pending, Then, UpTo};
use super::{Effect, Membership, Session, Upload};
use crate::chat::{Chat, NickId, Place, Refused, RoomId};
use crate::dialect::{Dialect, Output, Shown};
use crate::log::{Reader, Whose};
use crate::model::{EventKind, Now, Scope};
use crate::protocol::line::LineEnd;
use crate::protocol::request::{HistoryOf, JoinFrom, Refusal, Side, Target, UploadRequest};
use crate::protocol::{Code, Nick, Request, RoomName, VERSION, Verb};

/// How many bytes of a list are formatted when it is requested.
const LIST_BYTES_MAX: usize = 8 << 10;

pub(super) type Done = Result<Option<Effect>, Refusal>;

/// Returns the name of a room that was just found.
pub(super) fn name_of(room: RoomId, chat: &Chat) -> Result<Arc<RoomName>, Refusal> {
    let gone = || Refusal::of_line(Code::NoSuchRoom, "that room has gone");
    chat.room(room)
        .map(|room| room.name.clone())
        .ok_or_else(gone)
}

/// Adds the verb of the failed request to an error.
pub(super) fn refused(verb: Verb) -> impl Fn(Refused) -> Refusal {
    move |(code, text)| Refusal::new(verb, code, text)
}

impl Session {
    pub(super) fn request(&mut self, request: Request<'_>, chat: &mut Chat, now: Now) -> Done {
        let verb = request.verb();
        match request {
            Request::Msg { text } => self.say(verb, EventKind::Msg, &text, chat),
            Request::Me { text } => self.say(verb, EventKind::Me, &text, chat),
            Request::Tell { to, text } => self.tell(to, &text, chat),
            Request::Nick { nick, password } => self.nick(nick, password.as_deref(), chat, now),
            Request::Register { password } => self.register(password.as_deref(), chat, now),
            Request::Token { label } => self.token(label, chat),
            Request::Pass { password } => self.pass(&password, chat),
            Request::Kick { nick, text } => self.kick(&nick, &text, chat),
            Request::Ban { whom, lasts, text } => {
                let lasts = lasts.map(Duration::from_secs);
                self.ban(whom, lasts, &text, chat, now)
            }
            Request::Unban { whom } => self.unban(whom, chat, now),
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
                is_keeper,
            } => self.invite(room.as_ref(), &nick, is_keeper, chat),
            Request::Uninvite { room, nick } => self.uninvite(room.as_ref(), &nick, chat),
            Request::Invites { room } => self.invites(room.as_ref(), chat),
            Request::Tokens => self.tokens(chat),
            Request::Revoke { label } => self.revoke(label, chat),
            Request::Join { room, from } => self.join(&room, &from, chat, now),
            Request::Seen { room, id } => self.seen(&room, id, chat),
            Request::History { of, count, side } => {
                let room = match of {
                    HistoryOf::Current => None,
                    HistoryOf::Room(room) => Some(room),
                    HistoryOf::Nick(nick) => return self.private_history(nick, count, side, chat),
                };
                let room = self.room_to_read(verb, room.as_ref(), chat)?;
                Ok(self.ask_history(Whose::Room(name_of(room, chat)?), count, side))
            }
            Request::Search { room, words } => {
                let room = self.room_to_read(verb, room.as_ref(), chat)?;
                self.ask_search(name_of(room, chat)?, &words)
            }
            Request::Part { room } => self.part(room, chat, now),
            Request::Topic { room, text: None } => self.show_topic(room, chat),
            Request::Topic {
                room,
                text: Some(text),
            } => self.set_topic(room, &text, chat),
            Request::Rooms { is_all } => {
                if is_all {
                    self.need_operator(verb, chat)?;
                }
                self.list(List::rooms(self.nick, is_all), chat)
            }
            Request::Who { room } => {
                let room = self.room_to_read(verb, room.as_ref(), chat)?;
                self.list(List::members(room), chat)
            }
            Request::Files { room } => {
                let room = self.room_to_read(verb, room.as_ref(), chat)?;
                Ok(self.ask_files(name_of(room, chat)?))
            }
            Request::Help { verb } => self.list(List::help(verb), chat),
            Request::Download { file: id, offset } => Ok(self.ask_file(id, offset)),
            Request::Remove { id } => {
                self.need_nick(verb)?;
                Ok(self.ask_origin(id))
            }
            Request::RemoveAccount { nick } => self.remove_account(nick, chat),
            Request::RemoveRoom { room } => self.remove_room(&room, chat, now),
            Request::Stamps { on } => {
                if self.input.is_for_people() {
                    let text = "stamps are for programs; /raw first";
                    return Err(Refusal::new(verb, Code::NotAllowed, text));
                }
                let dialect = Dialect::for_programs(on);
                self.input = dialect;
                self.ok(
                    verb,
                    if on { "on" } else { "off" },
                    "",
                    Then::Dialect(dialect),
                );
                Ok(None)
            }
            Request::Chat => {
                self.ok(
                    verb,
                    "",
                    "you are in talker mode already",
                    Then::Dialect(Dialect::Talker),
                );
                self.input = Dialect::Talker;
                Ok(None)
            }
            Request::Raw => {
                let dialect = self.input.without_talk();
                self.input = dialect;
                self.ok(verb, "", "", Then::Dialect(dialect));
                Ok(None)
            }
            Request::Stay => {
                self.stays = true;
                self.ok(verb, "", "", Then::Nothing);
                Ok(None)
            }
            Request::Ping { word } => {
                self.ok(verb, &word, "pong", Then::Nothing);
                Ok(None)
            }
            Request::Hello => {
                let hello = self.hello(chat);
                let talk = format!(
                    "this is {}, plainchat's protocol {VERSION}",
                    chat.config.name
                );
                self.ok(verb, &hello, &talk, Then::Nothing);
                Ok(None)
            }
            Request::Bye { text } | Request::Quit { text } => {
                if self
                    .rooms
                    .iter()
                    .any(|membership| membership.reader.is_some())
                {
                    return Ok(self.ask_bye(verb, &text));
                }
                self.say_goodbye(verb, &text, chat, now);
                Ok(None)
            }
            Request::Upload(upload) => self.upload(upload, LineEnd::Lf, chat, now),
        }
    }

    pub(super) fn say_goodbye(&mut self, verb: Verb, text: &str, chat: &mut Chat, now: Now) {
        if let Some(nick) = self.nick {
            chat.drop_guard(nick);
        }
        self.go(text, chat, now);
        self.ok(verb, "", "bye", Then::Close);
    }

    fn say(&mut self, verb: Verb, kind: EventKind, text: &str, chat: &mut Chat) -> Done {
        self.need_nick(verb)?;
        let room = self.need_current(verb)?;
        Ok(self.propose_in(verb, room, kind, text, Shown::IdAndTime, chat))
    }

    fn tell(&mut self, to: Target, text: &str, chat: &mut Chat) -> Done {
        let verb = Verb::Tell;
        let own = self.need_nick(verb)?;
        let to = match to {
            Target::Room(room) => {
                let room = chat.need_room(&room, self.peer, self.nick);
                let room = room.map_err(refused(verb))?;
                let shown = Shown::IdAndTime;
                return Ok(self.propose_in(verb, room, EventKind::Msg, text, shown, chat));
            }
            Target::Nick(nick) => nick,
        };
        let here = chat.find_nick(&to);
        let (place, scope) = match (chat.told(own, &to), here) {
            (Some(message), here) => {
                let here = here.unwrap_or(NickId::NOBODY);
                (here, Scope::Inbox(Box::new(message)))
            }
            (None, Some(here)) if chat.is_busy(here) => {
                let text = format!("{to} does not read what is told; try later");
                return Err(Refusal::new(verb, Code::Busy, text));
            }
            (None, Some(here)) => (here, Scope::Unsaved(to)),
            (None, None) => {
                let text = format!("nobody is called {to} here");
                return Err(Refusal::new(verb, Code::NoSuchNick, text));
            }
        };
        let (place, shown) = (Place::Nick(place), Shown::IdAndTime);
        let effect = self.propose(verb, place, scope, EventKind::Msg, text, shown, chat);
        Ok(Some(effect))
    }

    pub(super) fn take_nick(
        &mut self,
        nick: Nick,
        password: Option<&str>,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        let verb = Verb::Nick;
        // The connection may have been closed, or removed from a room, while its password was checked.
        self.obey(chat, now);
        if self.is_ending {
            return Ok(None);
        }
        let rooms = self.room_ids();
        let unread = self.unread_told(chat);
        let id = chat.take_nick(self.peer, self.nick, &rooms, nick, password, now);
        let id = id.map_err(refused(verb))?;
        let is_first = self.nick.is_none();
        chat.put_out_renamed(self.peer, id, &rooms, now);
        self.obey(chat, now);
        if self.nick.replace(id) != Some(id) {
            self.has_token = false;
            self.told = chat.told_end(id);
            if !unread.is_empty() {
                self.push(unread, Then::Nothing);
            }
        }
        if rooms.is_empty() && is_first {
            let lobby = chat.lobby();
            self.enter(lobby, chat, now);
        }
        let room = self
            .current()
            .and_then(|room| Some((room, chat.room(room)?)));
        let nick = chat
            .holder(id)
            .map_or_else(String::new, |holder| holder.nick.to_string());
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
            Then::Nothing,
            chat,
        );
        if password.is_some() {
            self.tell_of_tls(chat);
        }
        Ok(None)
    }

    fn join(&mut self, name: &RoomName, from: &JoinFrom, chat: &mut Chat, now: Now) -> Done {
        let verb = Verb::Join;
        let owner = match from {
            JoinFrom::Reader(_) => Some(self.need_nick(verb)?),
            JoinFrom::Now | JoinFrom::After(_) => None,
        };
        let known = chat.find_room(name);
        let at = self
            .rooms
            .iter()
            .position(|m| Some(m.room) == known && !m.is_leaving);
        let was_astray = std::mem::take(&mut self.is_astray);
        let room_id = match at {
            // A room that is joined again becomes the current one.
            Some(at) => {
                let membership = self.rooms.remove(at);
                let room = membership.room;
                self.rooms.push(membership);
                if *from != JoinFrom::Now {
                    // The live events so far are still sent, then the history again.
                    self.push(Output::default(), Then::Hold(room));
                    self.place_last(room, chat);
                }
                room
            }
            None => {
                let most = chat.limits().rooms_per_connection_max;
                if self.rooms.iter().filter(|m| !m.is_leaving).count() >= most {
                    self.is_astray = was_astray;
                    let text = format!("one connection is in {most} rooms at most; PART one");
                    return Err(Refusal::new(verb, Code::Quota, text));
                }
                let room = chat.need_room(name, self.peer, self.nick).map_err(|why| {
                    self.is_astray = was_astray;
                    refused(verb)(why)
                })?;
                self.enter(room, chat, now);
                if let Some(membership) = self.rooms.last_mut() {
                    membership.is_held = *from != JoinFrom::Now;
                }
                room
            }
        };
        match from {
            JoinFrom::Now => {
                self.joined(room_id, chat);
                Ok(None)
            }
            JoinFrom::After(id) => {
                let up_to = chat.room(room_id).map_or(0, |room| room.last_id());
                Ok(self.ask_past(room_id, *id, up_to, chat))
            }
            JoinFrom::Reader(name) => {
                let nick = owner.and_then(|nick| chat.holder(nick));
                let reader = Reader {
                    room: RoomName::clone(&*name_of(room_id, chat)?),
                    nick: nick.map_or("", |holder| holder.nick.form()).to_owned(),
                    name: name.form().to_owned(),
                };
                Ok(self.ask_reader(room_id, reader))
            }
        }
    }

    /// Completes a `JOIN`: the room has been joined and its backlog, if requested, sent.
    pub(super) fn joined(&mut self, room_id: RoomId, chat: &Chat) {
        let mut rooms = self.rooms.iter_mut();
        let membership = rooms.find(|m| m.room == room_id && !m.is_leaving);
        let (Some(room), Some(membership)) = (chat.room(room_id), membership) else {
            let text = "you were removed from that room while its past was read";
            return self.refuse(&Refusal::new(Verb::Join, Code::NotAllowed, text));
        };
        let was_held = std::mem::take(&mut membership.is_held);
        let last_id = if was_held {
            membership.seen
        } else {
            room.last_id()
        };
        let topic = match &*room.topic {
            "" => String::new(),
            topic => format!(", where the topic is: {topic}"),
        };
        let rest = format!("{} {last_id}", room.name);
        let others = room
            .members()
            .saturating_sub(usize::from(self.nick.is_some()));
        let talk = format!("you are in {} with {others} others{topic}", room.name);
        if was_held {
            self.ok(Verb::Join, &rest, &talk, Then::Nothing)
        } else {
            self.ok_in(Verb::Join, Some(room_id), &rest, &talk, Then::Nothing, chat)
        }
    }

    fn enter(&mut self, room: RoomId, chat: &mut Chat, now: Now) {
        chat.enter(room, self.peer, self.nick, now);
        // Reads from here on, after its own `JOIN`.
        self.rooms.push(Membership::new(room, chat));
    }

    fn seen(&mut self, name: &RoomName, id: u64, chat: &Chat) -> Done {
        let verb = Verb::Seen;
        let room = self.room_to_read(verb, Some(name), chat)?;
        let membership = self.rooms.iter().find(|m| m.room == room && !m.is_leaving);
        let Some(reader) = membership.and_then(|m| m.reader.as_deref()) else {
            let text = format!("JOIN {name} AS <name> first");
            return Err(Refusal::new(verb, Code::BadSyntax, text));
        };
        let newest = chat.newest_id();
        if id > newest {
            let text = format!("there is no event {id} yet; the newest has {newest}");
            return Err(Refusal::new(verb, Code::BadSyntax, text));
        }
        let reader = reader.clone();
        Ok(self.ask_seen(name_of(room, chat)?, reader, id, chat))
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
        let own = chat.holder(self.need_nick(verb)?);
        if own.is_none_or(|holder| holder.nick.form() != nick.form()) {
            return Err(Refusal::new(
                verb,
                Code::NotAllowed,
                "what others tell one another is theirs",
            ));
        }
        if chat.is_registered(&nick) {
            return Ok(self.ask_history(Whose::Nick(nick.into()), count, side));
        }
        let talk = "what you tell and are told is kept once your nick is registered";
        self.ok(verb, "0", talk, Then::Nothing);
        Ok(None)
    }

    fn part(&mut self, name: Option<RoomName>, chat: &mut Chat, now: Now) -> Done {
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
            Then::Leave(room_id),
            chat,
        );
        chat.leave(room_id, self.peer, self.nick, "", now);
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
        self.ok(verb, &rest, &talk, Then::Nothing);
        Ok(None)
    }

    fn set_topic(&mut self, name: Option<RoomName>, text: &str, chat: &mut Chat) -> Done {
        let verb = Verb::Topic;
        self.need_nick(verb)?;
        let room = match name {
            None => self.need_current(verb)?,
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
        let shown = if text.is_empty() {
            name
        } else {
            format!("{name} {text}")
        };
        let shown = Shown::Text(shown.into());
        Ok(self.propose_in(verb, room, EventKind::Topic, text, shown, chat))
    }

    /// Replies with a list: at once if it is short, otherwise line by line as the client receives it.
    fn list(&mut self, list: List, chat: &mut Chat) -> Done {
        let mut list = list.in_dialect(self.input);
        let mut text = Output::default();
        while text.len() < LIST_BYTES_MAX {
            if !list.write_next(chat, &mut text) {
                list.write_end(chat, &mut text);
                self.push(text, Then::Nothing);
                return Ok(None);
            }
        }
        self.push(text, Then::Nothing);
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
        } = upload;
        let most = chat.limits().upload_bytes_max;
        if length.is_some_and(|length| length > most) {
            let text = format!("a file has at most {most} bytes here");
            self.end(Refusal::new(verb, Code::TooLarge, text), chat, now);
            return Ok(None);
        }
        if end == LineEnd::CrLf && sha256.is_none() {
            let text = "the line ended in CR LF, so the file may have been altered on the way (nc -C does); give its sha256 after the length";
            self.end(Refusal::new(verb, Code::NeedDigest, text), chat, now);
            return Ok(None);
        }
        let allowed = || {
            self.need_open(verb)?;
            self.need_nick(verb)?;
            let room = self.need_current(verb)?;
            chat.has_space_for_file(self.peer, self.nick)
                .map_err(|text| Refusal::new(verb, Code::Quota, text))?;
            let name = name?;
            chat.file_comes(self.peer, self.nick, length.unwrap_or_default())
                .map_err(|text| Refusal::new(verb, Code::Quota, text))?;
            if !chat.may_upload(self.peer, self.nick, now) {
                chat.file_came(self.peer);
                let text = if self.nick.is_some_and(|nick| chat.is_own(nick)) {
                    "too many files came from your address; try again later"
                } else {
                    "too many files came from your address under nicks that nobody has registered; REGISTER, or try again later"
                };
                return Err(Refusal::new(verb, Code::Quota, text));
            }
            Ok((room, name))
        };
        match allowed() {
            Ok((room, name)) => {
                self.is_busy = true;
                Ok(Some(Effect::Receive(Upload {
                    name,
                    length,
                    sha256,
                    room,
                })))
            }
            Err(refusal) => {
                self.is_busy = true;
                self.refuse(&refusal);
                Ok(Some(Effect::Discard(length)))
            }
        }
    }

    /// Explains uploads to a person in talker mode, where a file's bytes cannot be sent between messages.
    pub(super) fn tell_how_to_upload(&mut self, chat: &Chat) {
        let nick = self.nick.and_then(|nick| chat.holder(nick));
        let nick = nick.map_or("me", |holder| holder.nick.as_str());
        let room = self.current().unwrap_or_else(|| chat.lobby());
        let room = chat.room(room).map_or("#lobby", |room| room.name.as_str());
        let talk = self.elsewhere(&format!("/{room}"), |nc| {
            format!("(printf 'JOIN {room}\\nNICK {nick}-file\\nUPLOAD FILE *\\n'; cat FILE) | {nc}")
        });
        self.ok(Verb::Upload, "", &talk, Then::Nothing);
    }

    pub(super) fn need_nick(&self, verb: Verb) -> Result<NickId, Refusal> {
        self.nick
            .ok_or_else(|| Refusal::new(verb, Code::NeedNick, "choose a nick first: NICK <nick>"))
    }

    fn need_current(&self, verb: Verb) -> Result<RoomId, Refusal> {
        let none = || Refusal::new(verb, Code::NotInRoom, "you are in no room; JOIN one");
        self.current().ok_or_else(none)
    }

    /// Returns the room with that name, or the current room, or the lobby.
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
                format!("there is no room {name}; ROOMS lists them"),
            )
        };
        let room = chat.find_room(name);
        room.filter(|room| chat.may_read(*room, self.nick))
            .ok_or_else(none)
    }

    /// Queues a reply as [`Self::ok`] does, after every event that `room` has had so far.
    fn ok_in(
        &mut self,
        verb: Verb,
        room: Option<RoomId>,
        rest: &str,
        talk: &str,
        then: Then,
        chat: &Chat,
    ) {
        self.ok(verb, rest, talk, then);
        if let Some(room) = room {
            self.place_last(room, chat);
        }
    }

    /// Places the last reply after every event that `room` has had so far, and before all later ones.
    fn place_last(&mut self, room: RoomId, chat: &Chat) {
        if let Some(Pending::Text { after, .. }) = self.replies_mut().pending.back_mut() {
            *after = Some(UpTo {
                room,
                seq: chat.end(Place::Room(room)),
                id: chat.room(room).map_or(0, |room| room.last_id()),
            });
        }
    }
}
