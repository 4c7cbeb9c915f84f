//! The choice of the room that is shown, and its scroll position.

use super::super::layout::Areas;
use super::super::lines::{self, Look};
use super::super::room::{Entry, EntryKind, PAGE, Room, View};
use super::{App, ConnectionStatus, PendingRequest};
use crate::client::ClientState;
use crate::protocol::{Event, Nick};

/// Returns whether two words are the same nick, in any spelling.
pub(super) fn is_same_nick(one: &str, other: &str) -> bool {
    match (Nick::parse(one), Nick::parse(other)) {
        (Ok(one), Ok(other)) => one.casefolded() == other.casefolded(),
        _ => false,
    }
}

impl App {
    /// Returns the index of a room or private chat. If it is not in the list, adds it.
    pub(super) fn open(&mut self, name: &str) -> usize {
        if let Some(at) = self.find(name) {
            return at;
        }
        let is_room = name.starts_with('#');
        let mut room = Room::new(name);
        room.at_start = !is_room;
        // Private chats are below the rooms.
        let at = if is_room {
            self.rooms.iter().position(|room| !room.is_room())
        } else {
            None
        };
        let at = at.unwrap_or(self.rooms.len());
        self.rooms.insert(at, room);
        if at <= self.at && self.rooms.len() > 1 {
            self.at += 1;
        }
        at
    }

    /// Returns the index of a room or private chat.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let mut rooms = self.rooms.iter();
        let at = rooms.position(|room| room.name == name);
        if at.is_some() || name.starts_with('#') {
            return at;
        }
        let mut rooms = self.rooms.iter();
        rooms.position(|room| is_same_nick(&room.name, name))
    }

    /// Returns the name of the chat to which an event belongs. A direct message belongs to the chat with the other user.
    pub(super) fn chat_of<'a>(&self, event: &'a Event<'_>) -> &'a str {
        match event.place() {
            place if is_same_nick(place, &self.nick) => event.nick(),
            place => place,
        }
    }

    /// Gives the private chat with `old` the user's new nick, unless there is a chat with that nick already.
    pub(super) fn rename_chat(&mut self, old: &str, new: &str) {
        let at = self.find(old);
        let is_free = self.find(new).is_none_or(|found| Some(found) == at);
        if let Some(chat) = at.filter(|_| is_free).and_then(|at| self.rooms.get_mut(at)) {
            chat.name = new.to_owned();
        }
    }

    /// Removes a room or private chat.
    pub(super) fn forget(&mut self, name: &str) {
        if let Some(at) = self.find(name) {
            self.rooms.remove(at);
            if at < self.at || self.at >= self.rooms.len() {
                self.at = self.at.saturating_sub(1);
            }
            self.seen_current();
        }
    }

    /// Shows a room.
    pub fn go(&mut self, at: usize) {
        if at >= self.rooms.len() {
            return;
        }
        if at != self.at {
            self.note_read();
            if let Some(room) = self.room_mut() {
                room.new_after = Some(room.last_id);
            }
            self.at = at;
        }
        self.completion = None;
        self.seen_current();
    }

    /// Shows the room that is `by` rooms further down.
    pub fn go_by(&mut self, by: isize) {
        let count = self.rooms.len() as isize;
        if count > 0 {
            self.go(((self.at as isize + by).rem_euclid(count)) as usize);
        }
    }

    /// Shows the next room with a mention. If there is none, shows the next room with unread messages.
    pub fn go_unread(&mut self) {
        let after = |wanted: fn(&Room) -> bool| {
            let count = self.rooms.len();
            (1..=count)
                .map(|n| (self.at + n) % count)
                .find(|at| self.rooms.get(*at).is_some_and(wanted))
        };
        let next = after(|room| room.mentions > 0).or_else(|| after(|room| room.news().0 > 0));
        match next {
            Some(at) => self.go(at),
            None => self.notify("there are no unread messages"),
        }
    }

    /// Processes a change of the focus of the terminal.
    pub fn focus(&mut self, is_focused: bool) {
        self.note_read();
        self.is_focused = is_focused;
        if is_focused {
            self.seen_current();
        } else if let Some(room) = self.room_mut() {
            room.new_after = Some(room.last_id);
        }
    }

    /// Marks the current room as read, if its newest message is shown.
    fn seen_current(&mut self) {
        if let Some(room) = self.room_mut()
            && room.view == View::Bottom
        {
            room.mark_read();
        }
    }

    /// Scrolls up by `lines`.
    pub fn scroll(&mut self, lines: isize, state: &mut ClientState) {
        let areas = Areas::of(self);
        let look = Look::of(self, areas.body.width);
        if let Some(room) = self.rooms.get_mut(self.at) {
            lines::scroll(room, lines, usize::from(areas.body.height), &look);
        }
        self.seen_current();
        self.fetch_quotes(state);
        self.fetch_missing(state);
    }

    /// Scrolls so that the first new message is at the top.
    pub fn to_first_new(&mut self, state: &mut ClientState) {
        let height = isize::try_from(Areas::of(self).body.height).unwrap_or(1);
        let Some(room) = self.rooms.get_mut(self.at) else {
            return;
        };
        let Some(after) = room.new_after.filter(|after| *after < room.last_id) else {
            return self.notify("there are no new messages here");
        };
        // Messages before the window must be fetched.
        let is_held = room.at_start || room.first_id().is_some_and(|first| first <= after);
        let is_new = |entry: &Entry| {
            entry.id.is_some_and(|id| id > after) && entry.kind.nick().is_some() && !entry.is_mine
        };
        let first = room.entries().position(is_new);
        match first.filter(|_| is_held) {
            Some(index) => {
                let (seq, hidden) = (room.seq(index), 0);
                room.view = View::At { seq, hidden };
                // The two additional lines are the line of the entry itself and the separator above it.
                self.scroll(2 - height, state);
            }
            None => {
                let name = room.name.clone();
                self.jump(&name, after, state);
            }
        }
    }

    /// Scrolls to the first message of the room, which may have to be fetched.
    pub fn to_top(&mut self, state: &mut ClientState) {
        let is_up = self.status == ConnectionStatus::Connected;
        let far = self.room().filter(|room| is_up && !room.at_start);
        let Some(name) = far.map(|room| room.name.clone()) else {
            return self.scroll(isize::MAX / 2, state);
        };
        if let Some(room) = self.room_mut() {
            room.is_loading = true;
        }
        let ask = format!("HISTORY {name} {PAGE} after 0");
        self.ask(state, ask, PendingRequest::First(name));
    }

    /// Scrolls so that the beginning of the shown day is at the top. If it is there already, goes to the day before. If
    /// not `is_back`, goes to the next day.
    pub fn go_day(&mut self, is_back: bool, state: &mut ClientState) {
        let areas = Areas::of(self);
        let look = Look::of(self, areas.body.width);
        let height = usize::from(areas.body.height);
        let Some(room) = self.rooms.get_mut(self.at) else {
            return;
        };
        let first = lines::first_shown(room, height, &look);
        let days = lines::day_starts(room, &look);
        let next = if is_back {
            days.into_iter().rev().find(|index| *index < first)
        } else {
            days.into_iter().find(|index| *index > first)
        };
        match next {
            Some(index) => {
                lines::put_at_top(room, index, height, &look);
                self.scroll(0, state);
            }
            None if is_back => self.scroll(isize::MAX / 2, state),
            None => self.to_bottom(state),
        }
    }

    /// Scrolls to the newest message.
    pub fn to_bottom(&mut self, state: &mut ClientState) {
        let Some(room) = self.room_mut() else { return };
        room.view = View::Bottom;
        if !room.at_end && !room.is_loading && room.is_room() {
            room.clear();
            room.is_loading = true;
            let name = room.name.clone();
            self.ask(
                state,
                format!("HISTORY {name} {PAGE}"),
                PendingRequest::Newest(name),
            );
        }
        self.seen_current();
    }

    /// Fetches the messages that will soon be visible.
    pub(super) fn fetch_missing(&mut self, state: &mut ClientState) {
        let height = usize::from(self.size.1);
        let Some(room) = self.rooms.get_mut(self.at) else {
            return;
        };
        if room.is_loading || !room.is_room() || self.status != ConnectionStatus::Connected {
            return;
        }
        let index = match room.view {
            View::Bottom => room.len().saturating_sub(1),
            View::At { seq, .. } => room.index(seq).unwrap_or(0),
        };
        let name = room.name.clone();
        // This is more than fits on the screen, so that the messages arrive in time.
        let wanted = height + 20;
        let is_seen = |at: &usize| room.get(*at).is_some_and(|e| e.kind != EntryKind::Hidden);
        let above = (0..index).rev().filter(is_seen).take(wanted).count();
        if !room.at_start
            && above < wanted
            && let Some(first) = room.first_id()
        {
            room.is_loading = true;
            let ask = format!("HISTORY {name} {PAGE} before {first}");
            return self.ask(state, ask, PendingRequest::Older(name));
        }
        let below = room.len().saturating_sub(index);
        if !room.at_end
            && below < height
            && let Some(newest) = room.newest_id()
        {
            room.is_loading = true;
            let ask = format!("HISTORY {name} {PAGE} after {newest}");
            self.ask(state, ask, PendingRequest::Newer(name));
        }
    }
}
