//! Which room is shown, and which part of it.

use super::super::layout::Areas;
use super::super::lines::{self, Look};
use super::super::room::{Entry, PAGE, Room, View, What};
use super::{App, Ask, Standing};
use crate::client::link::Link;

impl App {
    /// The place of a room or conversation, which is made if it is not there.
    pub(super) fn open(&mut self, name: &str) -> usize {
        if let Some(at) = self.find(name) {
            return at;
        }
        let is_room = name.starts_with('#');
        let mut room = Room::new(name);
        room.at_start = !is_room;
        // Conversations stand below the rooms.
        let at = match is_room {
            true => self.rooms.iter().position(|room| !room.is_room()),
            false => None,
        };
        let at = at.unwrap_or(self.rooms.len());
        self.rooms.insert(at, room);
        if at <= self.at && self.rooms.len() > 1 {
            self.at += 1;
        }
        at
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.rooms.iter().position(|room| room.name == name)
    }

    pub(super) fn forget(&mut self, name: &str) {
        if let Some(at) = self.find(name) {
            self.rooms.remove(at);
            if at < self.at || self.at >= self.rooms.len() {
                self.at = self.at.saturating_sub(1);
            }
            self.seen_current();
        }
    }

    /// Goes to a room.
    pub fn go(&mut self, at: usize) {
        if at >= self.rooms.len() {
            return;
        }
        if at != self.at {
            if let Some(room) = self.room_mut() {
                room.new_after = Some(room.last_id);
            }
            self.at = at;
        }
        self.completion = None;
        self.seen_current();
    }

    /// Goes so many rooms on or back.
    pub fn go_by(&mut self, by: isize) {
        let count = self.rooms.len() as isize;
        if count > 0 {
            self.go(((self.at as isize + by).rem_euclid(count)) as usize);
        }
    }

    /// Goes to the next room in which one is named, or else in which something is unread.
    pub fn go_unread(&mut self) {
        let after = |wanted: fn(&Room) -> bool| {
            let count = self.rooms.len();
            (1..=count)
                .map(|n| (self.at + n) % count)
                .find(|at| self.rooms.get(*at).is_some_and(wanted))
        };
        let next = after(|room| room.mentions > 0).or_else(|| after(|room| room.unread > 0));
        match next {
            Some(at) => self.go(at),
            None => self.say("nothing is unread"),
        }
    }

    /// The terminal is looked at, or no longer.
    pub fn focus(&mut self, is_focused: bool) {
        self.is_focused = is_focused;
        if is_focused {
            self.seen_current();
        } else if let Some(room) = self.room_mut() {
            room.new_after = Some(room.last_id);
        }
    }

    fn seen_current(&mut self) {
        if let Some(room) = self.room_mut()
            && room.view == View::Bottom
        {
            room.mark_read();
        }
    }

    /// Moves the view by so many lines; up is more.
    pub fn scroll(&mut self, lines: isize, link: &mut Link) {
        let areas = Areas::of(self);
        let look = Look::of(self, areas.body.width);
        if let Some(room) = self.rooms.get_mut(self.at) {
            lines::scroll(room, lines, usize::from(areas.body.height), &look);
        }
        self.seen_current();
        self.settle(link);
    }

    /// Goes to the first that came since one was here last: it stands at the top.
    pub fn to_first_new(&mut self, link: &mut Link) {
        let height = isize::try_from(Areas::of(self).body.height).unwrap_or(1);
        let Some(room) = self.rooms.get_mut(self.at) else {
            return;
        };
        let Some(after) = room.new_after.filter(|after| *after < room.last_id) else {
            return self.say("nothing is new here");
        };
        // What is older than the window has to be fetched.
        let is_held = room.at_start || room.first_id().is_some_and(|first| first <= after);
        let is_new = |entry: &Entry| {
            entry.id.is_some_and(|id| id > after) && entry.what.nick().is_some() && !entry.is_mine
        };
        let first = room.entries().position(is_new);
        match first.filter(|_| is_held) {
            Some(index) => {
                let (seq, hidden) = (room.seq(index), 0);
                room.view = View::At { seq, hidden };
                // Two lines more: the entry itself, and the line above it.
                self.scroll(2 - height, link);
            }
            None => {
                let name = room.name.clone();
                self.jump(&name, after, link);
            }
        }
    }

    /// Goes to the newest.
    pub fn to_bottom(&mut self, link: &mut Link) {
        let Some(room) = self.room_mut() else { return };
        room.view = View::Bottom;
        if !room.at_end && !room.is_loading && room.is_room() {
            room.clear();
            room.is_loading = true;
            let name = room.name.clone();
            self.ask(link, format!("HISTORY {name} {PAGE}"), Ask::Newest(name));
        }
        self.seen_current();
    }

    /// Fetches what one is about to see.
    pub(super) fn settle(&mut self, link: &mut Link) {
        let height = usize::from(self.size.1);
        let Some(room) = self.rooms.get_mut(self.at) else {
            return;
        };
        if room.is_loading || !room.is_room() || self.standing != Standing::Here {
            return;
        }
        let index = match room.view {
            View::Bottom => room.len().saturating_sub(1),
            View::At { seq, .. } => room.index(seq).unwrap_or(0),
        };
        let name = room.name.clone();
        // More than the screen holds, so that it is there before one comes to it.
        let wanted = height + 20;
        let is_seen = |at: &usize| room.get(*at).is_some_and(|e| e.what != What::Hidden);
        let above = (0..index).rev().filter(is_seen).take(wanted).count();
        if !room.at_start
            && above < wanted
            && let Some(first) = room.first_id()
        {
            room.is_loading = true;
            let ask = format!("HISTORY {name} {PAGE} before {first}");
            return self.ask(link, ask, Ask::Older(name));
        }
        let below = room.len().saturating_sub(index);
        if !room.at_end
            && below < height
            && let Some(newest) = room.newest_id()
        {
            room.is_loading = true;
            let ask = format!("HISTORY {name} {PAGE} after {newest}");
            self.ask(link, ask, Ask::Newer(name));
        }
    }
}
