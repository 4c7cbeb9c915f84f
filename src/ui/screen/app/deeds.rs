//! What the person does: says something, or a command.

use jiff::Timestamp;

use super::super::command::Command;
use super::super::room::{Pending, Room};
use super::{App, Ask, Effect, Standing};
use crate::client::Ticket;
use crate::client::link::Link;
use crate::protocol::line::LINE_BYTES_MAX;
use crate::protocol::text::clean;

/// How long one waits for a second Ctrl-C.
const AGAIN_WITHIN_S: i64 = 3;

/// How long one is taken to have read what leaving would cost.
const WARNED_FOR_S: i64 = 10;

impl App {
    /// Does what stands in the line.
    pub fn enter(&mut self, link: &mut Link) {
        self.word = None;
        self.completion = None;
        let Some(room) = self.room_mut() else { return };
        let line = room.editor.take();
        if line.trim().is_empty() {
            return;
        }
        self.has_spoken = true;
        self.command(Command::parse(&line), link);
        self.settle(link);
    }

    /// Does one thing.
    pub fn command(&mut self, command: Command, link: &mut Link) {
        let here = self
            .room()
            .map(|room| room.name.clone())
            .unwrap_or_default();
        let is_room = here.starts_with('#');
        match command {
            Command::Say(text) => drop(self.speak(&here, &text, false, link)),
            Command::Me(text) => match is_room {
                true => drop(self.speak(&here, &text, true, link)),
                false => self.complain("actions are for rooms"),
            },
            Command::Msg(to, text) if to.starts_with('#') => {
                self.speak(&to, &text, false, link);
            }
            Command::Msg(to, text) => {
                let at = self.open(&to);
                self.go(at);
                self.speak(&to, &text, false, link);
            }
            Command::Query(nick) => self.query(&nick),
            Command::Join(room) => {
                let known = self.find(&room).or_else(|| self.find(&format!("#{room}")));
                match known {
                    Some(at) => self.go(at),
                    None => {
                        let ticket = link.join(&room);
                        self.note_ticket(ticket, Ask::Join);
                    }
                }
            }
            Command::Part(room) => {
                let room = room.unwrap_or(here);
                match room.starts_with('#') || self.find(&room).is_none() {
                    true => {
                        let ticket = link.part(&room);
                        self.note_ticket(ticket, Ask::Shown);
                    }
                    false => self.forget(&room),
                }
            }
            Command::Nick(nick) => {
                let ticket = link.rename(&nick);
                self.note_ticket(ticket, Ask::Shown);
            }
            Command::Search(words) if is_room => {
                self.ask(
                    link,
                    format!("SEARCH {here} {words}"),
                    Ask::Search(here, words),
                );
            }
            Command::Topic(text) if is_room => match &text[..] {
                "" => {
                    let topic = self
                        .room()
                        .map(|room| room.topic.clone())
                        .unwrap_or_default();
                    match topic.is_empty() {
                        true => self.say(format!("{here} has no topic; /topic TEXT sets it")),
                        false => self.note_here(format!("· the topic is: {topic}")),
                    }
                }
                text => {
                    let line = format!("TOPIC {here} {text}");
                    self.ask(link, line, Ask::Topic(here));
                }
            },
            Command::Who if is_room => self.ask(link, format!("WHO {here}"), Ask::Who(here)),
            Command::Files if is_room => self.ask(link, format!("FILES {here}"), Ask::Files(here)),
            Command::Upload(path) if is_room => {
                self.want(Effect::Upload { path, room: here });
            }
            Command::Who
            | Command::Files
            | Command::Upload(_)
            | Command::Search(_)
            | Command::Topic(_) => {
                self.complain("You can't do that in a private chat. Switch to a room first.")
            }
            Command::Rooms => self.ask(link, "ROOMS".into(), Ask::Rooms { is_shown: true }),
            Command::Links => self.links(),
            Command::Download(id, to) => self.want(Effect::Download { id, to }),
            Command::Cancel => match self.transfers.last() {
                Some(transfer) => self.effects.push_back(Effect::Cancel(transfer.key)),
                None => self.say("nothing is on its way"),
            },
            Command::Remove(id) => match id.or_else(|| self.room().and_then(Room::last_of_mine)) {
                Some(id) => self.ask(link, format!("REMOVE {id}"), Ask::Removed(here, id)),
                None => self.complain("you have said nothing here; /remove ID takes a number"),
            },
            Command::Ignore(None) => self.ignored(),
            Command::Ignore(Some(nick)) => self.ignore(&nick),
            Command::Unignore(nick) => self.unignore(&nick),
            Command::Register => match link.password().map(str::to_owned) {
                Some(password) => {
                    self.ask(link, format!("REGISTER {password}"), Ask::Registered);
                }
                None => self.complain("there is no password to guard it with"),
            },
            Command::Token(label) => self.ask(link, format!("TOKEN {label}"), Ask::Token),
            Command::Here(verb, rest) => {
                let room = match rest.starts_with('#') || !is_room {
                    true => String::new(),
                    false => format!(" {here}"),
                };
                let line = format!("{verb}{room} {rest}");
                self.ask(link, line.trim_end().to_owned(), Ask::Shown);
            }
            Command::Reconnect => link.retry_now(),
            Command::Help => self.help(),
            Command::Quit(text) => self.leave(&text, link),
            Command::Other(line) => self.ask(link, line, Ask::Shown),
            Command::Wrong(why) => self.complain(why),
        }
    }

    /// Says `text`; `false` when it cannot be taken now: then it stands in the line again.
    pub(super) fn speak(&mut self, to: &str, text: &str, is_act: bool, link: &mut Link) -> bool {
        if to.is_empty() {
            self.complain("you are in no room; /join ROOM enters one");
            return false;
        }
        if let Some(at) = self.find(to) {
            if let Some(room) = self.rooms.get_mut(at) {
                room.new_after = None;
            }
            if at == self.at {
                self.to_bottom(link);
            }
        }
        let most = LINE_BYTES_MAX.saturating_sub("TELL  \n".len() + to.len());
        let mut rest = &clean(text)[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(most));
            let ticket = match is_act {
                true => link.act(to, piece),
                false => link.say(to, piece),
            };
            match ticket {
                Ok(ticket) => self.wait_for(ticket, to, piece, is_act),
                Err(error) => {
                    self.complain(error.to_string());
                    self.give_back(to, rest, is_act);
                    return false;
                }
            }
            rest = after;
        }
        true
    }

    /// What was said is shown at once, as something that has no answer yet.
    fn wait_for(&mut self, ticket: Ticket, to: &str, text: &str, is_act: bool) {
        let (place, text) = (to.to_owned(), text.to_owned());
        let ask = match to.starts_with('#') {
            true => Ask::Said(place, text.clone()),
            false => Ask::Tell(place, text.clone()),
        };
        self.asked.insert(ticket, ask);
        if let Some(at) = self.find(to)
            && let Some(room) = self.rooms.get_mut(at)
        {
            room.pending.push_back(Pending {
                ticket,
                is_act,
                text,
            });
        }
    }

    /// Puts what could not be said into the line, to be said later; what is typed there already stays.
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

    /// From now on nothing is to be seen of what that one does.
    fn ignore(&mut self, nick: &str) {
        let nick = nick.trim_start_matches('@').to_lowercase();
        if nick == self.nick.to_lowercase() || nick.contains([' ', '#']) {
            return self.complain("/ignore takes the nick of another");
        }
        self.say(format!("you do not hear {nick} any more"));
        self.ignored.insert(nick);
    }

    fn unignore(&mut self, nick: &str) {
        match self.ignored.remove(&nick.to_lowercase()) {
            true => self.say(format!("you hear {nick} again")),
            false => self.complain(format!("{nick} was not ignored")),
        }
    }

    /// Whether one does not want to hear that one.
    pub(super) fn is_ignored(&self, nick: &str) -> bool {
        !self.ignored.is_empty() && self.ignored.contains(&nick.to_lowercase())
    }

    pub(super) fn query(&mut self, nick: &str) {
        let nick = nick.trim_start_matches('@');
        if nick.is_empty() || nick.contains([' ', '#']) {
            return self.complain("a nick is one word");
        }
        let at = self.open(nick);
        self.go(at);
    }

    /// Leaves, once what was said has gone out; at the second time at once. What would be lost by it is told first.
    pub fn leave(&mut self, text: &str, link: &mut Link) {
        if self.is_leaving {
            return self.want(Effect::End(None));
        }
        let is_warned = |at: Timestamp| self.now.as_second() - at.as_second() <= WARNED_FOR_S;
        if let Some(what) = self.unfinished()
            && !self.warned.is_some_and(is_warned)
        {
            self.warned = Some(self.now);
            return self.complain(format!("{what}; once more leaves all the same"));
        }
        if self.standing != Standing::Here {
            return self.want(Effect::End(None));
        }
        self.is_leaving = true;
        link.leave(text);
    }

    /// What one who leaves now does not bring to its end.
    fn unfinished(&self) -> Option<String> {
        match (self.transfers.len(), &self.standing, self.waiting()) {
            (1, ..) => Some("a file is on its way".to_owned()),
            (2.., ..) => Some(format!("{} files are on their way", self.transfers.len())),
            (0, Standing::Away { .. }, 1) => Some("a line is not said yet".to_owned()),
            (0, Standing::Away { .. }, n @ 2..) => Some(format!("{n} lines are not said yet")),
            _ => None,
        }
    }

    /// Ctrl-C: empties the line; when it is empty, leaves at the second time.
    pub fn interrupt(&mut self, link: &mut Link) {
        let is_again = self
            .interrupted
            .is_some_and(|at| self.now.as_second() - at.as_second() <= AGAIN_WITHIN_S);
        if is_again {
            return self.leave("", link);
        }
        if let Some(room) = self.room_mut() {
            let line = room.editor.replace(String::new());
            room.editor.remember(&line);
        }
        self.interrupted = Some(self.now);
        self.completion = None;
        self.say("Ctrl-C once more leaves, so do Ctrl-D and /quit");
    }
}
