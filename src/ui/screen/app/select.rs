//! The selection of a message, and what can be done with the selected message.

use super::super::layout::{Areas, picture_area};
use super::super::lines::{self, Look};
use super::super::picture::{Graphics, Picture};
use super::super::room::{Entry, EntryKind, Room, Target, is_picture};
use super::{App, Effect};
use crate::client::ClientState;

impl App {
    /// Returns whether a message is selected.
    pub fn is_selecting(&self) -> bool {
        self.selected().is_some()
    }

    /// Returns the selected message.
    fn selected(&self) -> Option<&Entry> {
        let room = self.room()?;
        room.get(room.index(room.marked?)?)
    }

    /// Selects the next older or newer message. If none is selected, selects the newest one that is shown.
    pub fn select(&mut self, is_older: bool, state: &mut ClientState) {
        let areas = Areas::of(self);
        let (look, height) = (
            Look::of(self, areas.body.width),
            usize::from(areas.body.height),
        );
        let Some(room) = self.room_mut() else { return };
        let can = |index: &usize| room.get(*index).is_some_and(Entry::can_be_selected);
        let marked = room.marked.and_then(|seq| room.index(seq));
        let next = match marked {
            None => (0..=lines::last_shown(room)).rev().find(can),
            Some(at) if is_older => (0..at).rev().find(can),
            Some(at) => (at + 1..room.len()).find(can),
        };
        match next {
            Some(index) => {
                room.marked = Some(room.seq(index));
                lines::reveal(room, index, height, &look);
            }
            None if marked.is_none() => self.notify("there are no messages to select here"),
            None => {}
        }
        self.message = self.message.take().filter(|_| next.is_none());
        self.fetch_missing(state);
    }

    /// Ends the selection.
    pub fn unselect(&mut self, state: &mut ClientState) {
        if let Some(room) = self.room_mut() {
            room.marked = None;
        }
        self.to_bottom(state);
    }

    fn selected_id(&self) -> Option<u64> {
        self.selected()?.id
    }

    /// Begins a reply to the selected message.
    pub fn reply_to_selected(&mut self, state: &mut ClientState) {
        if let Some(id) = self.selected_id()
            && self.needs("reply", "replies", state)
        {
            self.unselect(state);
            self.set_target(Target::Reply(id));
        }
    }

    /// Edits the selected message.
    pub fn edit_selected(&mut self, state: &mut ClientState) {
        if let Some(id) = self.selected_id()
            && self.needs("edit", "edits", state)
        {
            self.start_edit(id);
            if self.room().is_some_and(|room| room.target.is_some()) {
                self.unselect(state);
            }
        }
    }

    /// Offers reactions to the selected message.
    pub fn react_to_selected(&mut self, state: &ClientState) {
        if let Some(id) = self.selected_id() {
            self.offer_reactions(id, state);
        }
    }

    /// Returns whether a file is selected that may be a picture.
    pub fn is_picture_selected(&self) -> bool {
        let kind = self.selected().map(|entry| &entry.kind);
        matches!(kind, Some(EntryKind::File { name, .. }) if is_picture(name))
    }

    /// Shows the selected file as a picture.
    pub fn view_selected(&mut self) {
        match self.selected().map(|entry| &entry.kind) {
            Some(EntryKind::File { file, .. }) => self.view(*file),
            _ => self.notify("that message is not a file"),
        }
    }

    /// Downloads a file to show it as a picture.
    pub fn view(&mut self, file: u64) {
        match self.preferences.graphics {
            Graphics::None => self.complain(format!(
                "this terminal has too few colors for pictures; /download {file}"
            )),
            _ => self.request_effect(Effect::View(file)),
        }
    }

    /// Shows a picture. `cell` is the size of a character in pixels.
    pub fn show_picture(&mut self, picture: Picture, cell: (u16, u16)) {
        self.picture = Some(picture);
        self.cell = cell;
        self.fit_picture();
    }

    /// Fits the picture that is shown to the size of the terminal.
    pub fn fit_picture(&mut self) {
        let area = picture_area(self);
        let (graphics, cell) = (self.preferences.graphics, self.cell);
        if let Some(picture) = &mut self.picture {
            picture.fit(graphics, cell, area.width, area.height);
        }
    }

    /// Copies the text of the selected message.
    pub fn copy_selected(&mut self, state: &mut ClientState) {
        let id = self.selected_id();
        let Some(text) = id.and_then(|id| Some(self.room()?.whole_text(id))) else {
            return;
        };
        self.unselect(state);
        self.notify("copied the message");
        self.request_effect(Effect::Copy(text));
    }

    /// Puts the command that deletes the selected message into the input line.
    pub fn remove_selected(&mut self, state: &mut ClientState) {
        let Some(id) = self.selected_id() else { return };
        self.unselect(state);
        if let Some(room) = self.room_mut() {
            room.editor.replace(format!("/remove {id}"));
        }
    }

    /// Scrolls to the message to which the selected one replies.
    pub fn go_to_original(&mut self, state: &mut ClientState) {
        let Some(entry) = self.selected() else { return };
        let Some(original) = entry.extras.reply else {
            return self.notify("that message is not a reply");
        };
        let Some(name) = self.room().map(|room| room.name.clone()) else {
            return;
        };
        self.jump(&name, original, state);
        if let Some(room) = self.room_mut() {
            room.marked = room.find(original).map(|index| room.seq(index));
        }
    }

    /// Describes the purpose of the text in the input line, if it is not a new message.
    pub fn purpose(&self) -> Option<String> {
        let room = self.room()?;
        let quote = |id: u64| room.quote(id).unwrap_or_else(|| "a message".to_owned());
        Some(match room.target? {
            Target::Reply(id) => format!("Esc cancels · replying to {}", quote(id)),
            Target::Edit(_) => "Esc cancels · Enter replaces your message".to_owned(),
        })
    }
}

impl Room {
    /// Takes the message to which the typed line replies. The next line is not a reply.
    pub(super) fn take_reply(&mut self) -> Option<u64> {
        match self.target.take() {
            Some(Target::Reply(id)) => Some(id),
            other => {
                self.target = other;
                None
            }
        }
    }
}
