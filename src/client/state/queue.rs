//! Requests from the moment they are made until their answer, over as many connections as that takes.

use std::borrow::Cow;

use super::super::connection::Line;
use super::super::error::{Error, InvalidRequest};
use super::super::reply::{Reply, Sent};
use super::super::update::{RequestId, Update};
use super::ClientState;
use super::types::{Awaited, Pending, PendingRequest, Phase, RoomPosition};
use crate::protocol::Event;

impl ClientState {
    pub(super) fn enqueue(&mut self, request: PendingRequest) -> Result<RequestId, Error> {
        if self.is_full() {
            return Err(InvalidRequest::QueueFull.into());
        }
        if self.goodbye.is_some() || self.phase == Phase::Ended {
            return Err(InvalidRequest::HasLeft.into());
        }
        self.last_request_id += 1;
        let request_id = RequestId(self.last_request_id);
        if self.phase == Phase::Connected {
            self.write(request_id, &request);
        }
        self.pending.push_back(Pending {
            request_id,
            request,
            may_have_arrived: false,
        });
        Ok(request_id)
    }

    /// Sends everything that is pending, after a login.
    pub(super) fn send_pending(&mut self) {
        let pending = self.pending.iter();
        let requests: Vec<(RequestId, PendingRequest)> = pending
            .map(|pending| (pending.request_id, pending.request.clone()))
            .collect();
        for (request_id, request) in requests {
            self.write(request_id, &request);
        }
    }

    /// Writes the lines of a request.
    fn write(&mut self, request_id: RequestId, request: &PendingRequest) {
        let line = match request {
            PendingRequest::Say { room, text } => format!("TELL {room} {text}"),
            PendingRequest::Act { room, text } => {
                // `ME` goes to the current room only.
                self.send(&format!("JOIN {room}"), Awaited::Ignored);
                format!("ME {text}")
            }
            PendingRequest::Join(name) => {
                // A room that could not be joined again is joined with the last id seen there.
                let mut rooms = self.rooms.iter();
                let known = rooms.find(|room| room.name == *name && !room.is_joined);
                known.map_or_else(|| format!("JOIN {name}"), RoomPosition::join_line)
            }
            PendingRequest::Part(room) => format!("PART {room}"),
            PendingRequest::Rename(nick) => self.nick_line(nick),
            PendingRequest::Line(line) => line.clone(),
        };
        self.send(&line, Awaited::Pending(request_id));
    }

    /// Notes which requests were sent on the connection that broke.
    pub(super) fn mark_sent_requests(&mut self) {
        let awaited = self.awaited.iter();
        let sent: std::collections::HashSet<RequestId> = awaited
            .filter_map(|awaited| match awaited {
                Awaited::Pending(request_id) => Some(*request_id),
                _ => None,
            })
            .collect();
        for pending in &mut self.pending {
            pending.may_have_arrived |= sent.contains(&pending.request_id);
        }
    }

    /// Removes the oldest request that `event` proves to have arrived, and returns its ticket.
    pub(super) fn take_arrived(&mut self, event: &Event<'_>) -> Option<RequestId> {
        if Some(event.nick()) != self.nick.as_deref() {
            return None;
        }
        let is_it = |pending: &Pending| match (&pending.request, event) {
            (PendingRequest::Say { room, text }, Event::Msg { to, text: said, .. })
            | (PendingRequest::Act { room, text }, Event::Me { to, text: said, .. }) => {
                pending.may_have_arrived && room == to && text == said
            }
            _ => false,
        };
        let at = self.pending.iter().position(is_it)?;
        self.pending.remove(at).map(|pending| pending.request_id)
    }

    /// Handles the reply to a pending request.
    pub(super) fn resolve(
        &mut self,
        request_id: RequestId,
        result: Result<String, Error>,
        lines: Vec<Line>,
    ) -> Result<(), Error> {
        let mut pending = self.pending.iter();
        let at = pending.position(|pending| pending.request_id == request_id);
        let Some(pending) = at.and_then(|at| self.pending.remove(at)) else {
            return Err(Error::Protocol("a reply without a request"));
        };
        let update = match (pending.request, result) {
            (PendingRequest::Say { room, text }, Ok(rest)) => {
                let event = Event::Msg {
                    to: room.into(),
                    nick: self.own_nick(),
                    text: text.into(),
                };
                self.sent(request_id, Sent::parse(&rest)?, event)
            }
            (PendingRequest::Act { room, text }, Ok(rest)) => {
                let event = Event::Me {
                    to: room.into(),
                    nick: self.own_nick(),
                    text: text.into(),
                };
                self.sent(request_id, Sent::parse(&rest)?, event)
            }
            (PendingRequest::Join(_), Ok(rest)) => {
                let room = rest.split(' ').next().unwrap_or_default().to_owned();
                self.room_joined(&room, &rest)?;
                let result = Ok(Reply { rest, lines });
                Update::Answer { request_id, result }
            }
            (PendingRequest::Part(_), Ok(room)) => {
                self.rooms.retain(|known| known.name != room);
                Update::Left { room }
            }
            (PendingRequest::Rename(_), Ok(rest)) => {
                let nick = rest.split(' ').next().unwrap_or_default().to_owned();
                self.nick = Some(nick.clone());
                if let Some(login) = &mut self.options.login {
                    login.nick.clone_from(&nick);
                }
                Update::Renamed { nick }
            }
            (PendingRequest::Line(_), Ok(rest)) => {
                let result = Ok(Reply { rest, lines });
                Update::Answer { request_id, result }
            }
            (_, Err(error)) => {
                let result = Err(error);
                Update::Answer { request_id, result }
            }
        };
        self.updates.push_back(update);
        self.leave_when_idle();
        Ok(())
    }

    /// Sends the goodbye once the client is to leave and nothing is pending.
    pub(super) fn leave_when_idle(&mut self) {
        if self.phase == Phase::Connected
            && self.pending.is_empty()
            && let Some(text) = self.goodbye.clone()
            && !matches!(self.awaited.back(), Some(Awaited::Goodbye))
        {
            self.send(format!("BYE {text}").trim_end(), Awaited::Goodbye);
        }
    }

    fn own_nick(&self) -> Cow<'static, str> {
        Cow::Owned(self.nick.clone().unwrap_or_default())
    }

    /// Notes the place of an own message in its room.
    fn sent(&mut self, request_id: RequestId, sent: Sent, event: Event<'static>) -> Update {
        let mut rooms = self.rooms.iter_mut();
        let room = rooms.find(|room| room.name == event.place());
        if let (Some(room), Some(id)) = (room, sent.id) {
            room.last_id = room.last_id.max(Some(id.get()));
        }
        let event = Some(event);
        Update::Sent {
            request_id,
            sent,
            event,
        }
    }
}
