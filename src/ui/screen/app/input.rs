//! Typing: completion, and pasted texts of several lines.

use super::super::complete::{KnownNames, complete};
use super::super::room::Room;
use super::conversation::typed;
use super::{App, Effect, Paste};
use crate::client::ClientState;
use crate::protocol::multiline::Multiline;
use crate::protocol::text::clean;

impl App {
    /// Completes the word before the cursor, or shows the next completion.
    pub fn complete(&mut self, is_back: bool) {
        if self.completion.is_none() {
            let Some(room) = self.room() else { return };
            let mut nicks: Vec<&str> = Vec::new();
            // The users who wrote last come first.
            let spoke = room
                .entries()
                .rev()
                .take(200)
                .filter_map(|entry| entry.kind.nick());
            for nick in spoke.chain(room.members.iter().map(String::as_str)) {
                if nick != self.nick && !nicks.contains(&nick) && nicks.len() < 1000 {
                    nicks.push(nick);
                }
            }
            let mut rooms: Vec<&str> = self
                .rooms
                .iter()
                .filter(|room| room.is_room())
                .map(|room| &room.name[..])
                .collect();
            for room in &self.server_rooms {
                if !rooms.contains(&&room[..]) {
                    rooms.push(room);
                }
            }
            let files = self.preferences.completes_paths;
            let known = KnownNames {
                nicks,
                rooms,
                files,
            };
            self.completion = complete(room.editor.before(), &known);
        }
        let Some(completion) = &mut self.completion else {
            return;
        };
        let start = completion.start;
        let is_only = completion.found.len() == 1;
        let Some(word) = completion.step(is_back).map(str::to_owned) else {
            return;
        };
        if is_only {
            self.completion = None;
        }
        if let Some(room) = self.room_mut() {
            room.editor.complete(start, &word);
        }
    }

    /// Inserts pasted text. If it has several lines, the user must first decide what to do with it.
    pub fn pasted(&mut self, text: &str, state: &ClientState) {
        self.completion = None;
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let text = text.trim_end_matches('\n');
        if text.contains('\n') {
            let is_one = state.server().has("multiline") && fits(text);
            let text = text.to_owned();
            self.paste = Some(Paste { text, is_one });
        } else if let Some(room) = self.room_mut() {
            room.editor.insert(text);
        }
    }

    /// Replaces the text in the input line with the text that the user has written in an editor.
    pub fn edited(&mut self, text: &str, state: &ClientState) {
        if let Some(room) = self.room_mut() {
            room.editor.replace(String::new());
        }
        self.pasted(text, state);
        self.edit_paste();
    }

    /// Starts a new line in the input.
    pub fn new_line(&mut self, state: &ClientState) {
        if self.needs("multiline", "messages of several lines", state)
            && let Some(room) = self.room_mut()
        {
            room.editor.new_line();
        }
    }

    /// Puts the pasted text into the input line.
    pub fn edit_paste(&mut self) {
        if let Some(paste) = self.paste.take_if(|paste| paste.is_one)
            && let Some(room) = self.room_mut()
        {
            room.editor.insert_lines(&paste.text);
        }
    }

    /// Sends the pasted text as one message, or each of its lines as a message.
    pub fn send_paste(&mut self, is_one: bool, state: &mut ClientState) {
        let Some(paste) = self.paste.take() else {
            return;
        };
        let here = self
            .room()
            .map(|room| room.name.clone())
            .unwrap_or_default();
        if is_one && paste.is_one {
            let reply = self.room_mut().and_then(Room::take_reply);
            if self.send(&here, &paste.text, false, reply, state)
                && let Some(room) = self.room_mut()
            {
                let lines: Vec<_> = paste.text.lines().map(clean).collect();
                room.editor.remember(&typed(&lines.join("\n")));
            }
            return;
        }
        let is_one = paste.is_one;
        let again = |text: &str| {
            let text = text.to_owned();
            Some(Paste { text, is_one })
        };
        let mut rest = &paste.text[..];
        while !rest.is_empty() {
            if state.is_full() {
                // The user decides about the rest when some of these messages have been answered.
                self.paste = again(rest);
                return self.complain(
                    "too many messages are waiting to be sent; these lines were not sent",
                );
            }
            let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
            if !line.trim().is_empty() && !self.send(&here, line, false, None, state) {
                self.paste = again(rest);
                return;
            }
            rest = after;
        }
    }

    /// Uploads the pasted text to the room or the other user as a file.
    pub fn upload_paste(&mut self, text: &str) {
        if let Some(room) = self.room() {
            let (text, to) = (format!("{text}\n"), room.name.clone());
            self.request_effect(Effect::Paste { text, to });
        }
    }
}

/// Returns whether a text of several lines can be one message.
pub(super) fn fits(text: &str) -> bool {
    Multiline::parse(text.as_bytes()).is_ok()
}
