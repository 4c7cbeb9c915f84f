//! Requests from the moment they are made until their answer, over as many connections as that takes.

use std::borrow::Cow;

use super::super::connection::Line;
use super::super::error::{Error, InvalidRequest};
use super::super::reply::{Reply, Sent};
use super::super::update::{Ticket, Update};
use super::ClientState;
use super::types::{Awaited, Pending, PendingRequest, Phase, RoomPosition};
use crate::protocol::Event;

impl ClientState {
    pub(super) fn enqueue(&mut self, request: PendingRequest) -> Result<Ticket, Error> {
        if self.is_full() {
            return Err(InvalidRequest::QueueFull.into());
        }
        if self.goodbye.is_some() || self.phase == Phase::Ended {
            return Err(InvalidRequest::HasLeft.into());
        }
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        if self.phase == Phase::Connected {
            self.write(ticket, &request);
        }
        self.pending.push_back(Pending {
            ticket,
            request,
            may_have_arrived: false,
        });
        Ok(ticket)
    }

    /// Sends everything that is pending, after a login.
    pub(super) fn send_pending(&mut self) {
        let pending = self.pending.iter();
        let requests: Vec<(Ticket, PendingRequest)> = pending
            .map(|pending| (pending.ticket, pending.request.clone()))
            .collect();
        for (ticket, request) in requests {
            self.write(ticket, &request);
        }
    }

    /// Writes the lines of a request.
    fn write(&mut self, ticket: Ticket, request: &PendingRequest) {
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
        self.send(&line, Awaited::Pending(ticket));
    }

    /// Notes which requests were sent on the connection that broke.
    pub(super) fn mark_sent_requests(&mut self) {
        let awaited = self.awaited.iter();
        let sent: std::collections::HashSet<Ticket> = awaited
            .filter_map(|awaited| match awaited {
                Awaited::Pending(ticket) => Some(*ticket),
                _ => None,
            })
            .collect();
        for pending in &mut self.pending {
            pending.may_have_arrived |= sent.contains(&pending.ticket);
        }
    }

    /// Removes the oldest request that `event` proves to have arrived, and returns its ticket.
    pub(super) fn take_arrived(&mut self, event: &Event<'_>) -> Option<Ticket> {
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
        self.pending.remove(at).map(|pending| pending.ticket)
    }

    /// Handles the reply to a pending request.
    pub(super) fn resolve(
        &mut self,
        ticket: Ticket,
        result: Result<String, Error>,
        lines: Vec<Line>,
    ) -> Result<(), Error> {
        let mut pending = self.pending.iter();
        let at = pending.position(|pending| pending.ticket == ticket);
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
                self.sent(ticket, Sent::parse(&rest)?, event)
            }
            (PendingRequest::Act { room, text }, Ok(rest)) => {
                let event = Event::Me {
                    to: room.into(),
                    nick: self.own_nick(),
                    text: text.into(),
                };
                self.sent(ticket, Sent::parse(&rest)?, event)
            }
            (PendingRequest::Join(_), Ok(rest)) => {
                let room = rest.split(' ').next().unwrap_or_default().to_owned();
                self.room_joined(&room, &rest)?;
                let result = Ok(Reply { rest, lines });
                Update::Answer { ticket, result }
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
                Update::Answer { ticket, result }
            }
            (_, Err(error)) => {
                let result = Err(error);
                Update::Answer { ticket, result }
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
    fn sent(&mut self, ticket: Ticket, sent: Sent, event: Event<'static>) -> Update {
        let mut rooms = self.rooms.iter_mut();
        let room = rooms.find(|room| room.name == event.place());
        if let (Some(room), Some(id)) = (room, sent.id) {
            room.last_id = room.last_id.max(Some(id.get()));
        }
        let event = Some(event);
        Update::Sent {
            ticket,
            sent,
            event,
        }
    }
}
