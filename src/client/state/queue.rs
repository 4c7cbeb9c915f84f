//! The queue of requests. A request stays in it until it is answered, over any number of connections.

use std::borrow::Cow;
use std::mem;

use super::super::connection::Line;
use super::super::error::{Error, InvalidRequest};
use super::super::message::{Message, Tags};
use super::super::options::Login;
use super::super::reply::{Reply, Sent};
use super::super::update::{RequestId, Update};
use super::ClientState;
use super::types::{Awaited, Pending, PendingRequest, Phase, RoomPosition};
use crate::protocol::line::LINE_BYTES_MAX;
use crate::protocol::{Event, tags};

impl ClientState {
    pub(super) fn enqueue(&mut self, mut request: PendingRequest) -> Result<RequestId, Error> {
        if self.is_full() {
            return Err(InvalidRequest::QueueFull.into());
        }
        if self.goodbye.is_some() || self.phase == Phase::Ended {
            return Err(InvalidRequest::HasLeft.into());
        }
        self.last_request_id += 1;
        let request_id = RequestId(self.last_request_id);
        if let PendingRequest::Send { to, message } = &mut request
            && message.nonce.is_none()
        {
            let nonce = format!("{}.{:x}", self.nonce_prefix, self.last_request_id);
            let bytes = "@nonce= TELL  ".len() + nonce.len() + to.len() + message.text.len();
            // If the line is nearly full, it has no space for a nonce and is sent without one.
            if message.is_multiline() || message.prefix(false).len() + bytes < LINE_BYTES_MAX {
                message.nonce = Some(nonce);
            }
        }
        let is_sent = self.phase == Phase::Connected;
        if is_sent {
            self.write(request_id, &request);
        }
        self.pending.push_back(Pending {
            request_id,
            request,
            is_sent,
        });
        Ok(request_id)
    }

    /// Sends all pending requests after a login.
    pub(super) fn send_pending(&mut self) {
        for mut pending in mem::take(&mut self.pending) {
            pending.is_sent = true;
            let Pending {
                request_id,
                request,
                ..
            } = &pending;
            let is_multiline = matches!(
                request, PendingRequest::Send { message, .. } if message.is_multiline()
            );
            if is_multiline && !self.server.has("multiline") {
                // The message was accepted before the client knew the server's capabilities, or the server has been
                // replaced by an older version since.
                let (request_id, result) = (*request_id, Err(InvalidRequest::LineBreak.into()));
                self.updates
                    .push_back(Update::Answer { request_id, result });
                continue;
            }
            self.write(*request_id, request);
            self.pending.push_back(pending);
        }
    }

    /// Answers the requests whose outcome is not known after a broken connection, and which could be carried out twice
    /// if they were sent again. `has_same_nonces` is whether the server recognizes the messages that were sent before.
    pub(super) fn drop_uncertain(&mut self, has_same_nonces: bool) {
        for pending in mem::take(&mut self.pending) {
            if !pending.is_sent || pending.request.may_be_repeated(has_same_nonces) {
                self.pending.push_back(pending);
                continue;
            }
            let request_id = pending.request_id;
            let result = Err(Error::cut("no answer came"));
            self.updates
                .push_back(Update::Answer { request_id, result });
        }
    }

    /// Writes the lines of a request.
    fn write(&mut self, request_id: RequestId, request: &PendingRequest) {
        let line = match request {
            PendingRequest::Send { to, message } => {
                let tags = if self.server.has("tags") {
                    message.prefix(self.server.has("nonce"))
                } else {
                    String::new()
                };
                if message.is_action {
                    // `ME` always goes to the current room.
                    self.send(&format!("JOIN {to}"), Awaited::Ignored);
                }
                // The message was checked when it was accepted.
                let request = message.request(Some(to), &tags).unwrap_or_default();
                self.output.extend_from_slice(request.as_bytes());
                return self.awaited.push_back(Awaited::Pending(request_id));
            }
            PendingRequest::Join(name) => {
                // If an earlier attempt to join the room again has failed, the room is joined from the last id seen in
                // it.
                let mut rooms = self.rooms.iter();
                let known = rooms.find(|room| room.name == *name && !room.is_joined);
                known.map_or_else(|| format!("JOIN {name}"), RoomPosition::join_line)
            }
            PendingRequest::Part(room) => format!("PART {room}"),
            PendingRequest::Rename { nick, password } => {
                let password = password.as_deref().or(self.password());
                Login {
                    nick: nick.clone(),
                    password: password.map(str::to_owned),
                }
                .line()
            }
            PendingRequest::Line(line) => line.clone(),
        };
        self.send(&line, Awaited::Pending(request_id));
    }

    /// Handles the reply to a pending request.
    pub(super) fn resolve(
        &mut self,
        request_id: RequestId,
        result: Result<String, Error>,
        lines: Vec<Line>,
    ) -> Result<(), Error> {
        if let Err(error) = &result
            && self.is_cut_off(error)
        {
            // It is sent again on the next connection. This one has not done it.
            let mut pending = self.pending.iter_mut();
            if let Some(refused) = pending.find(|pending| pending.request_id == request_id) {
                refused.is_sent = false;
            }
            return result.map(drop);
        }
        let mut pending = self.pending.iter();
        let at = pending.position(|pending| pending.request_id == request_id);
        let Some(pending) = at.and_then(|at| self.pending.remove(at)) else {
            return Err(Error::Protocol("a reply without a request"));
        };
        let update = self.outcome(request_id, pending.request, result, lines);
        if let Err(Error::Protocol(why)) = update {
            // The reply is invalid, so the connection ends. To send the request again would have the same effect.
            let result = Err(Error::Protocol(why));
            self.updates
                .push_back(Update::Answer { request_id, result });
        }
        self.updates.push_back(update?);
        self.leave_when_idle();
        Ok(())
    }

    /// Records what the reply to a request has changed, and returns the update that reports it.
    fn outcome(
        &mut self,
        request_id: RequestId,
        request: PendingRequest,
        result: Result<String, Error>,
        lines: Vec<Line>,
    ) -> Result<Update, Error> {
        Ok(match (request, result) {
            (PendingRequest::Send { to, message }, Ok(rest)) if to.starts_with('#') => {
                self.sent(request_id, Sent::parse(&rest)?, to, &message)
            }
            (PendingRequest::Join(_), Ok(rest)) => {
                let room = rest.split(' ').next().unwrap_or_default().to_owned();
                self.room_joined(&room, &rest)?;
                // It is the current room now, and again on the next connection.
                self.rooms.sort_by_key(|known| known.name == room);
                let result = Ok(Reply { rest, lines });
                Update::Answer { request_id, result }
            }
            (PendingRequest::Part(_), Ok(room)) => {
                self.rooms.retain(|known| known.name != room);
                Update::Left { room }
            }
            (PendingRequest::Rename { password, .. }, Ok(rest)) => {
                let nick = rest.split(' ').next().unwrap_or_default().to_owned();
                self.nick = Some(nick.clone());
                self.own_nick = Some(nick.clone());
                if let Some(nonces_of) = &mut self.nonces_of {
                    nonces_of.clone_from(&nick);
                }
                if let Some(login) = &mut self.options.login {
                    login.nick.clone_from(&nick);
                    login.password = password.or(login.password.take());
                }
                Update::Renamed { nick }
            }
            (request @ (PendingRequest::Send { .. } | PendingRequest::Line(_)), Ok(rest)) => {
                if let Some(password) = request.registers()
                    && let Some(login) = &mut self.options.login
                {
                    login.password = Some(password.to_owned());
                }
                let result = Ok(Reply { rest, lines });
                Update::Answer { request_id, result }
            }
            (_, Err(error)) => {
                let result = Err(error);
                Update::Answer { request_id, result }
            }
        })
    }

    /// Sends the goodbye, if the client is to leave and nothing is pending.
    pub(super) fn leave_when_idle(&mut self) {
        if self.phase == Phase::Connected
            && self.pending.is_empty()
            && let Some(text) = self.goodbye.clone()
            && !matches!(self.awaited.back(), Some(Awaited::Goodbye))
        {
            self.send(format!("BYE {text}").trim_end(), Awaited::Goodbye);
        }
    }

    /// Records the id of one of the client's own messages in its room.
    fn sent(&mut self, request_id: RequestId, sent: Sent, to: String, message: &Message) -> Update {
        let mut rooms = self.rooms.iter_mut();
        let room = rooms.find(|room| room.name == to);
        let lines = message.text.lines().count() as u64;
        let mut is_known = false;
        if let (Some(room), Some(id)) = (room, sent.id) {
            // If the connection broke after the message was sent, the server may have replayed the message before
            // this reply.
            is_known = room.last_id.is_some_and(|last| id.get() <= last);
            // The lines have consecutive ids.
            let last = id.get().saturating_add(lines.saturating_sub(1));
            room.last_id = room.last_id.max(Some(last));
        }
        let mut tags = message.prefix(false);
        tags = tags.trim_start_matches('@').trim_end().to_owned();
        if message.is_multiline() {
            tags::push(&mut tags, "lines", &lines.to_string());
        }
        let (to, text) = (Cow::Owned(to), Cow::Owned(message.text.clone()));
        let nick = Cow::Owned(self.nick.clone().unwrap_or_default());
        let event = if message.is_action {
            Event::Me { to, nick, text }
        } else {
            Event::Msg { to, nick, text }
        };
        Update::Sent {
            request_id,
            sent,
            tags: Tags::of(&tags),
            event: (!is_known).then_some(event),
        }
    }
}
