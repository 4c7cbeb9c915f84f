//! Commands, and the sending of messages.

use jiff::Timestamp;

use super::super::command::Command;
use super::super::room::{PAGE, Pending, Room, Target};
use super::input::fits;
use super::{App, ConnectionStatus, Effect, PendingRequest};
use crate::client::{ClientState, Message, RequestId};
use crate::protocol::line::LINE_BYTES_MAX;
use crate::protocol::text::clean;

/// The number of bytes that are left for the tags of a message: the nonce, and the id of the message to which it
/// replies.
const TAGS_BYTES: usize = 64;

/// The maximum number of highlighted words. Each message is searched for all of them.
const HIGHLIGHTS_MAX: usize = 50;

/// The number of seconds within which a second Ctrl-C leaves.
const AGAIN_WITHIN_S: i64 = 3;

/// The number of seconds after a warning within which the user can leave without another warning.
const WARNED_FOR_S: i64 = 10;

impl App {
    /// Executes the input line.
    pub fn enter(&mut self, state: &mut ClientState) {
        self.message = None;
        self.completion = None;
        let Some(room) = self.room_mut() else { return };
        let line = room.editor.take();
        if line.trim().is_empty() {
            return;
        }
        self.has_spoken = true;
        self.command(Command::parse(&line), state);
        self.fetch_missing(state);
    }

    /// Executes a command.
    pub fn command(&mut self, command: Command, state: &mut ClientState) {
        let here = self
            .room()
            .map(|room| room.name.clone())
            .unwrap_or_default();
        let is_room = here.starts_with('#');
        match command {
            Command::Say(text) => match self.room().and_then(|room| room.target) {
                Some(Target::Edit(id)) => {
                    if let Some(room) = self.room_mut() {
                        room.target = None;
                    }
                    self.send_edit(id, &text, state);
                }
                _ => {
                    let reply = self.room_mut().and_then(Room::take_reply);
                    self.send(&here, &text, false, reply, state);
                }
            },
            Command::Reply(text) => self.reply(&text, state),
            Command::Edit(text) => self.edit(&text, state),
            Command::React(text) => self.react(&text, true, state),
            Command::Unreact(text) => self.react(&text, false, state),
            Command::Reactions(text) => self.reactions(&text, state),
            Command::Me(text) => {
                if is_room {
                    let reply = self.room_mut().and_then(Room::take_reply);
                    self.send(&here, &text, true, reply, state);
                } else {
                    self.complain("actions work in rooms only")
                }
            }
            Command::Msg(to, text) if to.starts_with('#') => {
                self.send(&to, &text, false, None, state);
            }
            Command::Msg(to, text) => {
                let at = self.open(&to);
                self.go(at);
                self.send(&to, &text, false, None, state);
            }
            Command::Query(nick) => self.query(&nick),
            Command::Join(room) => {
                let known = self.find(&room).or_else(|| self.find(&format!("#{room}")));
                match known {
                    Some(at) => self.go(at),
                    None => {
                        let request_id = state.join(&room);
                        self.note_request(request_id, PendingRequest::Join);
                    }
                }
            }
            Command::Part(room) => {
                let room = room.unwrap_or(here);
                if room.starts_with('#') || self.find(&room).is_none() {
                    let request_id = state.part(&room);
                    self.note_request(request_id, PendingRequest::Other("PART".into()));
                } else {
                    self.forget(&room)
                }
            }
            Command::Nick(nick) => {
                let request_id = state.rename(&nick);
                self.note_request(request_id, PendingRequest::Other("NICK".into()));
            }
            Command::Away(text) => self.ask(
                state,
                format!("AWAY {text}").trim_end().to_owned(),
                PendingRequest::Away(text),
            ),
            Command::Search(words) if words.starts_with("* ") || words.starts_with("@ ") => {
                let line = format!("SEARCH {words}");
                let (of, words) = words.split_once(' ').unwrap_or_default();
                let request = PendingRequest::Search(of.into(), words.into());
                self.ask(state, line, request);
            }
            Command::Search(words) if is_room => {
                self.ask(
                    state,
                    format!("SEARCH {here} {words}"),
                    PendingRequest::Search(here, words),
                );
            }
            Command::Topic(text) if is_room => match &text[..] {
                "" => {
                    let topic = self
                        .room()
                        .map(|room| room.topic.clone())
                        .unwrap_or_default();
                    if topic.is_empty() {
                        self.notify(format!("{here} has no topic; /topic TEXT sets it"))
                    } else {
                        self.note_here(format!("· the topic is: {topic}"))
                    }
                }
                text => {
                    let line = format!("TOPIC {here} {text}");
                    let last = self.room().map_or(0, |room| room.last_id);
                    self.ask(state, line, PendingRequest::TopicSet(here.clone()));
                    let since = format!("HISTORY {here} {PAGE} after {last}");
                    self.ask(state, since, PendingRequest::TopicChanged(here));
                }
            },
            Command::Who if is_room => {
                self.ask(state, format!("WHO {here}"), PendingRequest::Who(here))
            }
            Command::Files => {
                let place = if is_room { &here[..] } else { "@" };
                self.ask(state, format!("FILES {place}"), PendingRequest::Files(here))
            }
            Command::Upload(path) => {
                self.request_effect(Effect::Upload { path, to: here });
            }
            Command::Who | Command::Search(_) | Command::Topic(_) => {
                self.complain("that does not work in a private chat; switch to a room first")
            }
            Command::Rooms => self.ask(
                state,
                "ROOMS".into(),
                PendingRequest::Rooms { is_shown: true },
            ),
            Command::Links => self.links(),
            Command::Download(id, to) => self.request_effect(Effect::Download { id, to }),
            Command::View(id) => self.view(id),
            Command::Cancel => match self.transfers.last() {
                Some(transfer) => self.effects.push_back(Effect::Cancel(transfer.key)),
                None => self.notify("there is no transfer to cancel"),
            },
            Command::Remove(id) => match id.or_else(|| self.room().and_then(Room::last_of_mine)) {
                Some(id) => self.ask(
                    state,
                    format!("REMOVE {id}"),
                    PendingRequest::Removed(here, id),
                ),
                None => self.complain("there is no message of yours here; give an ID: /remove ID"),
            },
            Command::Ignore(None) => self.ignored(),
            Command::Ignore(Some(nick)) => self.ignore(&nick),
            Command::Unignore(nick) => self.unignore(&nick),
            Command::Mute(room, is_muted) => self.mute(&room.unwrap_or(here), is_muted),
            Command::Highlight(None) => self.highlighted(),
            Command::Highlight(Some(word)) => self.highlight(&word),
            Command::Unhighlight(word) => self.unhighlight(&word),
            Command::Register => match state.password().map(str::to_owned) {
                Some(password) => {
                    self.ask(
                        state,
                        format!("REGISTER {password}"),
                        PendingRequest::Registered,
                    );
                }
                None => self
                    .complain("chatc has no password for your nick; start it with --ask-password"),
            },
            Command::Token(label) => {
                self.ask(state, format!("TOKEN {label}"), PendingRequest::Token)
            }
            Command::Here(verb, rest) => {
                let room = if rest.starts_with('#') || !is_room {
                    String::new()
                } else {
                    format!(" {here}")
                };
                let line = format!("{verb}{room} {rest}");
                self.ask(
                    state,
                    line.trim_end().to_owned(),
                    PendingRequest::Other(verb),
                );
            }
            Command::Reconnect => state.retry_now(),
            Command::Help => self.help(),
            Command::Quit(text) => self.leave(&text, state),
            Command::Other(line) => {
                let verb = line.split(' ').next().unwrap_or_default().to_owned();
                self.ask(state, line, PendingRequest::Other(verb));
            }
            Command::Wrong(why) => self.complain(why),
        }
    }

    /// Sends `text`. Returns `false` if it cannot be accepted now; in that case it is put back into the input line.
    pub(super) fn send(
        &mut self,
        to: &str,
        text: &str,
        is_act: bool,
        reply: Option<u64>,
        state: &mut ClientState,
    ) -> bool {
        if to.is_empty() {
            self.complain("you are in no room; join one with /join ROOM");
            return false;
        }
        if let Some(at) = self.find(to) {
            if let Some(room) = self.rooms.get_mut(at) {
                room.new_after = None;
            }
            if at == self.at {
                self.to_bottom(state);
            }
        }
        if text.contains('\n') {
            return self.send_lines(to, text, is_act, reply, state);
        }
        let most = LINE_BYTES_MAX.saturating_sub("TELL  \n".len() + TAGS_BYTES + to.len());
        let mut rest = &clean(text)[..];
        let mut reply = reply;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(most));
            let message = if is_act {
                Message::action(piece)
            } else {
                Message::new(piece)
            };
            let message = match reply {
                Some(id) => message.reply_to(id),
                None => message,
            };
            match state.send_message(to, message) {
                Ok(request_id) => self.wait_for(request_id, to, piece, is_act, reply),
                Err(error) => {
                    self.complain(error.to_string());
                    self.give_back(to, rest, is_act);
                    self.restore_reply(to, reply);
                    return false;
                }
            }
            // The rest of a long text is not a reply.
            (rest, reply) = (after, None);
        }
        true
    }

    /// Sends a text of several lines as one message. Sends it line by line if it is an action or too long, or if the
    /// server does not accept such messages.
    fn send_lines(
        &mut self,
        to: &str,
        text: &str,
        is_act: bool,
        reply: Option<u64>,
        state: &mut ClientState,
    ) -> bool {
        if is_act || !(state.server().has("multiline") && fits(text)) {
            let mut reply = reply;
            return text.lines().all(|line| {
                line.trim().is_empty() || self.send(to, line, is_act, reply.take(), state)
            });
        }
        let lines: Vec<_> = text.lines().map(clean).collect();
        let text = lines.join("\n");
        let message = match reply {
            Some(id) => Message::new(&text[..]).reply_to(id),
            None => Message::new(&text[..]),
        };
        match state.send_message(to, message) {
            Ok(request_id) => {
                self.wait_for(request_id, to, &text, false, reply);
                true
            }
            Err(error) => {
                self.complain(error.to_string());
                self.give_back(to, &text, false);
                self.restore_reply(to, reply);
                false
            }
        }
    }

    /// Shows a message at once, as one that has not been answered yet.
    fn wait_for(
        &mut self,
        request_id: RequestId,
        to: &str,
        text: &str,
        is_act: bool,
        reply: Option<u64>,
    ) {
        let (place, text) = (to.to_owned(), text.to_owned());
        let ask = if to.starts_with('#') {
            PendingRequest::Said(place, text.clone())
        } else {
            PendingRequest::Tell(place, text.clone(), reply)
        };
        self.pending_requests.insert(request_id, ask);
        if let Some(at) = self.find(to)
            && let Some(room) = self.rooms.get_mut(at)
        {
            room.pending.push_back(Pending {
                request_id,
                is_act,
                text,
            });
        }
    }

    /// Makes the text in the input line a reply again, after the reply could not be sent.
    fn restore_reply(&mut self, to: &str, reply: Option<u64>) {
        if let Some(room) = self.room_mut().filter(|room| room.name == to) {
            room.target = reply.map(Target::Reply);
        }
    }

    /// Puts a message that could not be sent back into the input line, unless the line already contains text.
    fn give_back(&mut self, to: &str, text: &str, is_act: bool) {
        let Some(room) = self.room_mut() else { return };
        if !room.editor.text().is_empty() {
            return;
        }
        room.editor.replace(match (is_act, room.name == to) {
            (true, _) => format!("/me {text}"),
            (false, true) if text.starts_with('/') => format!("/{text}"),
            (false, true) => text.to_owned(),
            (false, false) => format!("/msg {to} {text}"),
        });
    }

    /// Hides everything that `nick` does from now on.
    fn ignore(&mut self, nick: &str) {
        let nick = nick.trim_start_matches('@').to_lowercase();
        if nick == self.nick.to_lowercase() || nick.contains([' ', '#']) {
            return self.complain("usage: /ignore NICK, the nick of somebody else");
        }
        self.notify(format!("messages of {nick} are hidden now"));
        self.ignored.insert(nick);
    }

    fn unignore(&mut self, nick: &str) {
        if self.ignored.remove(&nick.to_lowercase()) {
            self.notify(format!("messages of {nick} are shown again"))
        } else {
            self.complain(format!("{nick} was not ignored"))
        }
    }

    /// Mutes or unmutes a room or private chat.
    fn mute(&mut self, name: &str, is_muted: bool) {
        let known = self.find(name).or_else(|| self.find(&format!("#{name}")));
        let Some(room) = known.and_then(|at| self.rooms.get_mut(at)) else {
            return self.complain(format!("you are not in {name}"));
        };
        room.is_muted = is_muted;
        let name = room.name.clone();
        self.notify(if is_muted {
            format!("{name} is muted: only mentions count as unread")
        } else {
            format!("{name} is not muted any more")
        });
    }

    /// Treats a word as a mention from now on.
    fn highlight(&mut self, word: &str) {
        if self.highlights.len() >= HIGHLIGHTS_MAX {
            return self.complain(format!(
                "{HIGHLIGHTS_MAX} words are highlighted already; /unhighlight one"
            ));
        }
        let word = clean(word).to_lowercase();
        self.notify(format!("{word} is highlighted from now on"));
        self.highlights.insert(word);
    }

    fn unhighlight(&mut self, word: &str) {
        if self.highlights.remove(&word.to_lowercase()) {
            self.notify(format!("{word} is not highlighted any more"))
        } else {
            self.complain(format!("{word} was not highlighted"))
        }
    }

    /// Returns whether `nick` is ignored.
    pub(super) fn is_ignored(&self, nick: &str) -> bool {
        !self.ignored.is_empty() && self.ignored.contains(&nick.to_lowercase())
    }

    /// Opens a private chat.
    pub(super) fn query(&mut self, nick: &str) {
        let nick = nick.trim_start_matches('@');
        if nick.is_empty() || nick.contains([' ', '#']) {
            return self.complain("a nick is one word: /query NICK");
        }
        let at = self.open(nick);
        self.go(at);
    }

    /// Leaves when every message has been sent. If called a second time, leaves at once. Warns first if something
    /// would be lost.
    pub fn leave(&mut self, text: &str, state: &mut ClientState) {
        if self.is_leaving {
            return self.request_effect(Effect::End(None));
        }
        let is_warned = |at: Timestamp| self.now.as_second() - at.as_second() <= WARNED_FOR_S;
        if let Some(what) = self.unfinished()
            && !self.warned.is_some_and(is_warned)
        {
            self.warned = Some(self.now);
            return self.complain(format!("{what}; to leave anyway, do that again"));
        }
        if self.status != ConnectionStatus::Connected {
            return self.request_effect(Effect::End(None));
        }
        self.is_leaving = true;
        state.leave(text);
    }

    /// Describes what leaving now would lose.
    fn unfinished(&self) -> Option<String> {
        match (self.transfers.len(), &self.status, self.unconfirmed()) {
            (1, ..) => Some("a file is being transferred".to_owned()),
            (2.., ..) => Some(format!(
                "{} files are being transferred",
                self.transfers.len()
            )),
            (0, ConnectionStatus::Offline { .. }, 1) => {
                Some("one message has not been sent yet".to_owned())
            }
            (0, ConnectionStatus::Offline { .. }, n @ 2..) => {
                Some(format!("{n} messages have not been sent yet"))
            }
            _ => None,
        }
    }

    /// Processes Ctrl-C. The first one empties the input line; a second one leaves.
    pub fn interrupt(&mut self, state: &mut ClientState) {
        let is_again = self
            .interrupted
            .is_some_and(|at| self.now.as_second() - at.as_second() <= AGAIN_WITHIN_S);
        if is_again {
            return self.leave("", state);
        }
        if let Some(room) = self.room_mut() {
            let line = room.editor.replace(String::new());
            room.editor.remember(&line);
        }
        self.interrupted = Some(self.now);
        self.completion = None;
        self.notify("press Ctrl-C again to leave (or Ctrl-D, or /quit)");
    }
}
