//! The positions up to which the user has read the rooms. All devices of a registered user share them: each is the
//! named reader `me` of its room.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::super::room::View;
use super::{App, ConnectionStatus, PendingRequest};
use crate::client::{ClientState, Reply};

/// The name of the readers.
const READER: &str = "me";

/// The minimum time between two requests that move the reader of a room.
const EVERY: SignedDuration = SignedDuration::from_secs(1);

/// The positions that the server has.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Whether the nick is registered, and the server stores its positions.
    is_on: bool,
    /// The newest known position in each room. It is on the server, or on its way there.
    known: HashMap<String, u64>,
    /// The time at which the reader of each room was last moved.
    moved: HashMap<String, Timestamp>,
}

impl App {
    /// Requests the positions, if the server has accounts.
    pub(super) fn begin_reading(&mut self, state: &mut ClientState) {
        self.reading = Reading::default();
        if state.server().has("accounts") && !self.nick.is_empty() {
            let ask = format!("WHOIS {}", self.nick);
            self.ask(state, ask, PendingRequest::Account);
            self.ask(state, "READERS".into(), PendingRequest::Readers);
        }
    }

    /// Processes the reply that says whether the nick is registered.
    pub(super) fn account(&mut self, reply: &Reply) {
        self.reading.is_on = reply.rest.split(' ').nth(1) == Some("registered");
    }

    /// Processes the list of the readers of this nick.
    pub(super) fn readers(&mut self, reply: &Reply) {
        for position in reply.readers() {
            self.read_elsewhere(&position.room, &position.reader, position.id);
        }
    }

    /// Records the position to which another device has moved a reader of this nick.
    pub(super) fn read_elsewhere(&mut self, room: &str, reader: &str, id: u64) {
        let known = self.reading.known.get(room).copied().unwrap_or_default();
        if !self.reading.is_on || reader != READER || id <= known {
            return;
        }
        self.reading.known.insert(room.to_owned(), id);
        let Some(at) = self.find(room) else { return };
        let is_here = at == self.at && self.is_focused;
        if let Some(room) = self.rooms.get_mut(at).filter(|_| !is_here) {
            room.read_elsewhere(id);
        }
    }

    /// Processes the refusal of a position. `is_room_gone` is set if, for this user, the room no longer
    /// exists.
    pub(super) fn reading_refused(&mut self, is_room_gone: bool) {
        self.reading.is_on &= is_room_gone;
    }

    /// Records how far the user has read the room that is shown, if its newest message is visible.
    pub(super) fn note_read(&mut self) {
        let is_looking = self.is_focused && self.status == ConnectionStatus::Connected;
        if let Some(room) = self.room_mut().filter(|_| is_looking)
            && room.view == View::Bottom
            && room.unread == 0
        {
            room.read_to = room.last_id;
        }
    }

    /// Sends the positions that the server does not have, for each room at most once a second.
    pub fn share_read(&mut self, state: &mut ClientState) {
        self.note_read();
        let due: Vec<(String, u64)> = self.unshared().collect();
        for (room, id) in due {
            let last = self.reading.moved.get(&room);
            if last.is_some_and(|last| self.now.duration_since(*last) < EVERY) {
                continue;
            }
            self.reading.moved.insert(room.clone(), self.now);
            self.reading.known.insert(room.clone(), id);
            let ask = format!("SEEN {room} {id} AS {READER}");
            self.ask(state, ask, PendingRequest::Read);
        }
    }

    /// Returns whether a position is still to be sent.
    pub fn has_unshared(&self) -> bool {
        self.unshared().next().is_some()
    }

    fn unshared(&self) -> impl Iterator<Item = (String, u64)> {
        let is_on = self.reading.is_on && self.status == ConnectionStatus::Connected;
        let rooms = self.rooms.iter().filter(move |_| is_on);
        let is_ahead = |name: &str, id| {
            let known = self.reading.known.get(name).copied().unwrap_or_default();
            id > known
        };
        rooms
            .filter(move |room| room.is_room() && is_ahead(&room.name, room.read_to))
            .map(|room| (room.name.clone(), room.read_to))
    }
}
