//! Typing: completion, and pasted text of several lines.

use super::super::complete::{KnownNames, complete};
use super::{App, Effect};
use crate::client::ClientState;

impl App {
    /// Completes the word before the cursor, or shows the next completion.
    pub fn complete(&mut self, is_back: bool) {
        if self.completion.is_none() {
            let Some(room) = self.room() else { return };
            let mut nicks: Vec<&str> = Vec::new();
            // The people who spoke last come first.
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
            self.completion = complete(room.editor.before(), &KnownNames { nicks, rooms });
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

    /// Inserts pasted text. For several lines the person decides first.
    pub fn pasted(&mut self, text: &str) {
        self.completion = None;
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let text = text.trim_end_matches('\n');
        if text.contains('\n') {
            self.paste = Some(text.to_owned())
        } else {
            if let Some(room) = self.room_mut() {
                room.editor.insert(text);
            }
        }
    }

    /// Sends each line of the pasted text.
    pub fn send_paste(&mut self, state: &mut ClientState) {
        let Some(text) = self.paste.take() else {
            return;
        };
        let here = self
            .room()
            .map(|room| room.name.clone())
            .unwrap_or_default();
        let mut rest = &text[..];
        while !rest.is_empty() {
            if state.is_full() {
                // The person decides again, once some of it is answered.
                self.paste = Some(rest.to_owned());
                return self.complain("too many messages are waiting to be sent; this is the rest");
            }
            let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
            if !line.trim().is_empty() && !self.send(&here, line, false, None, state) {
                self.paste = Some(rest.to_owned());
                return;
            }
            rest = after;
        }
    }

    /// Uploads the pasted text to the room as a file.
    pub fn upload_paste(&mut self, text: &str) {
        match self.room().filter(|room| room.is_room()) {
            Some(room) => {
                let (text, room) = (format!("{text}\n"), room.name.clone());
                self.request_effect(Effect::Paste { text, room });
            }
            None => self.complain("files go to rooms only; switch to a room first"),
        }
    }
}
