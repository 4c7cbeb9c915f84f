//! The login: brings a new connection to the state in which requests can be sent. It sends the password, the nick and
//! the rooms.
//!
//! The order of `PASS`, `STAMPS`, `TAGS`, `JOIN` and `NICK` is that of section 10.4 of `protocol.md`. Rooms with an
//! id come before the nick. Rooms that are joined for the first time, and rooms that refused, come after the nick.

use std::time::Duration;

use super::super::capabilities::ServerInfo;
use super::super::error::Error;
use super::super::nick::nick_candidates;
use super::super::update::{RequestId, Update};
use super::ClientState;
use super::types::{Awaited, Lobby, PendingRequest, Phase, RoomPosition};
use crate::protocol::Code;

/// The maximum number of nicks that are tried. It is more than the number of seats in any classroom.
const NICKS_MAX: u32 = 999;

/// The number of failed attempts to connect after which the client takes another nick than its own. They last 16 s or
/// more. When a server dies, those that share its chat free the nicks of its users after 8 s.
const OWN_NICK_ATTEMPTS: u32 = 7;

/// The length of a break after which the server may have forgotten the nonces. It keeps them for ten minutes.
const NONCES_LAST: Duration = Duration::from_secs(9 * 60);

impl ClientState {
    /// Records that there is a new connection, and starts the login on it.
    pub fn connected(&mut self) {
        self.phase = Phase::LoggingIn;
        self.output.clear();
        self.awaited.clear();
        (self.close_reason, self.password_error) = (None, None);
        self.take_list();
        if let Some(password) = self.options.server_password.clone() {
            self.send(&format!("PASS {password}"), Awaited::ServerPassword);
        }
        self.send("HELLO", Awaited::Hello);
        self.turn_modes_on();
        (self.lobby, self.current) = (None, None);
        for room in &mut self.rooms {
            room.is_joined = false;
        }
        let wanted = self.options.login.as_ref().map(|login| &login.nick);
        match self.own_nick.as_ref().or(wanted).cloned() {
            Some(nick) => {
                self.join_rooms(|room| room.last_id.is_some(), true);
                self.send_nick(nick, 1);
            }
            None => {
                self.join_rooms(|_| true, false);
                self.send("PING", Awaited::Ready);
            }
        }
    }

    /// Requests the ids, times and tags of events. A server that does not support tags refuses, and its events have
    /// none.
    fn turn_modes_on(&mut self) {
        self.send("STAMPS on", Awaited::Ignored);
        self.send("TAGS on", Awaited::Ignored);
    }

    /// Returns whether a `PAST` line that arrives now is a missed event of a room that is being joined.
    pub(super) fn is_replaying(&self) -> bool {
        let is_join = |request_id: &RequestId| {
            let mut pending = self.pending.iter();
            let found = pending.find(|pending| pending.request_id == *request_id);
            found.is_some_and(|pending| matches!(pending.request, PendingRequest::Join(_)))
        };
        match self.awaited.front() {
            Some(Awaited::Join { .. }) => true,
            Some(Awaited::Pending(request_id)) => is_join(request_id),
            _ => false,
        }
    }

    /// Returns whether `room` is the lobby, and the client is in it only because it took a nick.
    pub(super) fn is_lobby(&self, room: &str) -> bool {
        self.lobby.as_ref().is_some_and(|lobby| lobby.name == room)
    }

    /// Handles a reply that belongs to the login.
    pub(super) fn login_reply(
        &mut self,
        awaited: Awaited,
        result: Result<String, Error>,
    ) -> Result<(), Error> {
        match awaited {
            Awaited::Ignored => {
                if let Err(error) = result
                    && error.refusal() == Some(Code::NeedPassword)
                {
                    self.password_error = Some(error);
                }
            }
            // An older server refuses `HELLO`, or lists no capabilities.
            Awaited::Hello => {
                self.server =
                    result.map_or_else(|_| ServerInfo::default(), |rest| ServerInfo::parse(&rest));
            }
            Awaited::ServerPassword => {
                if let Err(error) = result {
                    if self.may_pass(&error) {
                        return Err(error);
                    }
                    self.end(error);
                }
            }
            Awaited::Join {
                room,
                is_before_nick,
            } => return self.join_reply(room, is_before_nick, result),
            Awaited::LeaveLobby => self.lobby = None,
            Awaited::Nick(nick, attempt) => return self.nick_reply(nick, attempt, result),
            Awaited::Ready => return self.ready(),
            // These requests do not belong to a login.
            Awaited::Pending(_) | Awaited::Goodbye => {}
        }
        Ok(())
    }

    /// Adds a joined room, or records that this connection is in it. `joined` is the text after `OK JOIN`: the room
    /// as the server spells it, and the id of its newest event.
    pub(super) fn room_joined(&mut self, asked: &str, joined: &str) -> Result<(), Error> {
        let (name, last) = joined.split_once(' ').unwrap_or((joined, ""));
        let last: u64 = last
            .parse()
            .map_err(|_| Error::Protocol("a room was joined without an id"))?;
        self.current = Some(name.to_owned());
        if self.is_lobby(name) {
            // The joined room is the lobby, which the client requested in another spelling. So the client does not
            // leave it.
            self.lobby = None;
        }
        let mut rooms = self.rooms.iter_mut();
        let known = rooms.find(|room| room.name == asked || room.name == name);
        let is_rejoin = match known {
            Some(room) => {
                room.name = name.to_owned();
                room.is_joined = true;
                // The new id is taken even if it is smaller: in this case, the server has lost its log, and the old
                // id is no longer valid.
                room.last_id.replace(last).is_some()
            }
            None => {
                self.rooms.push(RoomPosition {
                    name: name.to_owned(),
                    last_id: Some(last),
                    is_joined: true,
                });
                false
            }
        };
        self.updates.push_back(Update::Joined {
            room: name.to_owned(),
            last_id: last,
            is_rejoin,
        });
        Ok(())
    }

    /// Sends a `JOIN` for each room that `which` selects. The `JOIN` asks for the events after the last id seen in the
    /// room.
    fn join_rooms(&mut self, which: impl Fn(&RoomPosition) -> bool, is_before_nick: bool) {
        let rooms = self.rooms.iter().filter(|room| which(room));
        let joins: Vec<(String, String)> = rooms
            .map(|room| (room.name.clone(), room.join_line()))
            .collect();
        for (room, line) in joins {
            let awaited = Awaited::Join {
                room,
                is_before_nick,
            };
            self.send(&line, awaited);
        }
    }

    fn send_nick(&mut self, nick: String, attempt: u32) {
        let line = self.nick_line(&nick);
        self.send(&line, Awaited::Nick(nick, attempt));
    }

    fn join_reply(
        &mut self,
        room: String,
        is_before_nick: bool,
        result: Result<String, Error>,
    ) -> Result<(), Error> {
        match result {
            Ok(joined) => self.room_joined(&room, &joined)?,
            // An invite-only room refuses every client without a nick.
            Err(_) if is_before_nick => self.current = None,
            Err(error) if self.is_cut_off(&error) => return Err(error),
            Err(error) => {
                self.current = None;
                let is_permanent = is_permanent(&error);
                if is_permanent {
                    self.rooms.retain(|known| known.name != room);
                }
                self.updates.push_back(Update::JoinFailed {
                    room,
                    error,
                    is_permanent,
                });
            }
        }
        let belongs_to_login = |awaited: &Awaited| {
            matches!(
                awaited,
                Awaited::Join { .. } | Awaited::Nick(..) | Awaited::Ready
            )
        };
        if self.awaited.iter().any(belongs_to_login) {
            Ok(())
        } else {
            self.ready()
        }
    }

    fn nick_reply(
        &mut self,
        nick: String,
        attempt: u32,
        result: Result<String, Error>,
    ) -> Result<(), Error> {
        let error = match result {
            Ok(rest) => return self.nick_taken(&rest, attempt),
            Err(error) => error,
        };
        if self.may_pass(&error) {
            return Err(error);
        }
        // A server with a password treats the nick's password as an attempt at the server's password.
        if let Some(password_error) = self.password_error.take() {
            self.end(password_error);
            return Ok(());
        }
        // The nick may still belong to the connection to the server that has died.
        let is_held = error.refusal() == Some(Code::NickTaken) && attempt == 1;
        if is_held && self.was_connected && self.servers > 1 && self.attempts < OWN_NICK_ATTEMPTS {
            return Err(error);
        }
        let is_taken = matches!(error.refusal(), Some(Code::NickTaken | Code::BadPassword));
        let may_add_number = self.options.add_number || self.was_connected;
        if !is_taken || attempt > NICKS_MAX || !may_add_number {
            self.end(error);
            return Ok(());
        }
        let base = self.options.login.as_ref().map(|login| login.nick.clone());
        let base = base.unwrap_or(nick);
        let next = nick_candidates(&base).nth(attempt as usize);
        self.send_nick(next.unwrap_or_default(), attempt + 1);
        Ok(())
    }

    /// Continues after `OK NICK` with the rooms that need a nick, and those that refused a client without one.
    fn nick_taken(&mut self, rest: &str, attempt: u32) -> Result<(), Error> {
        let (nick, joined) = rest.split_once(' ').unwrap_or((rest, ""));
        self.nick = Some(nick.to_owned());
        if attempt == 1 || !self.was_connected {
            self.own_nick = self.nick.clone();
        }
        if self.password_error.take().is_some() {
            // The server has a password, and the nick's own password has been accepted instead.
            self.turn_modes_on();
        }
        let current = joined.split(' ').next().unwrap_or_default();
        let is_lobby = !current.is_empty() && !self.rooms.iter().any(|room| room.is_joined);
        let wanted = self.rooms.iter().find(|room| room.name == current);
        match wanted.map(|room| room.last_id) {
            // The room is joined below, from its last known id, and the server then replays the missed events.
            Some(Some(_)) => {}
            Some(None) if is_lobby => self.room_joined(current, joined)?,
            None if is_lobby && self.rooms.is_empty() => self.room_joined(current, joined)?,
            None if is_lobby => {
                self.lobby = Some(Lobby {
                    name: current.to_owned(),
                    joined: joined.to_owned(),
                });
            }
            _ => {}
        }
        if self.rooms.iter().all(|room| room.is_joined) {
            return self.ready();
        }
        self.join_rooms(|room| !room.is_joined, false);
        Ok(())
    }

    /// Ends the login, and sends the pending requests.
    fn ready(&mut self) -> Result<(), Error> {
        self.phase = Phase::Connected;
        self.attempts = 0;
        if let Some(lobby) = self.lobby.take() {
            if self.rooms.iter().any(|room| room.is_joined) {
                self.send(&format!("PART {}", lobby.name), Awaited::LeaveLobby);
                self.lobby = Some(lobby);
            } else {
                // No other room could be joined, so the client stays in the lobby.
                self.room_joined(&lobby.name, &lobby.joined)?;
            }
        }
        if let Some(last) = self.rooms.last()
            && last.is_joined
            && self.current.as_ref() != Some(&last.name)
        {
            let line = format!("JOIN {}", last.name);
            self.send(&line, Awaited::Ignored);
        }
        let is_reconnect = std::mem::replace(&mut self.was_connected, true);
        let nick = self.nick.clone();
        self.updates
            .push_back(Update::Connected { nick, is_reconnect });
        let has_nonces = self.server.has("tags") && self.server.has("nonce");
        let nonces_of = self.nick.clone().filter(|_| has_nonces);
        let is_same = nonces_of.is_some() && nonces_of == self.nonces_of;
        self.nonces_of = nonces_of;
        if self.options.at_most_once {
            let break_time = self.due_at.saturating_sub(self.broke_at);
            self.drop_uncertain(is_same && break_time < NONCES_LAST);
        }
        self.send_pending();
        self.leave_when_idle();
        Ok(())
    }

    /// Ends the client because of `error`. It does not connect again.
    fn end(&mut self, error: Error) {
        self.phase = Phase::Ended;
        self.updates.push_back(Update::Ended(error));
    }
}

/// Returns whether a room will always refuse the client, because it is invite-only or its name is invalid. Any other
/// refusal is a temporary problem of the server.
fn is_permanent(error: &Error) -> bool {
    use Code::{BadName, BadSyntax, NeedNick, NotAllowed, TooLong};
    matches!(
        error.refusal(),
        Some(BadName | BadSyntax | NeedNick | NotAllowed | TooLong)
    )
}
