//! The requests that a client makes. They are checked here and then queued.

use super::super::connection::one_line;
use super::super::error::{Error, InvalidRequest};
use super::super::message::Message;
use super::super::options::Login;
use super::super::update::RequestId;
use super::ClientState;
use super::types::{PendingRequest, Phase};
use crate::protocol::text::clean;

impl ClientState {
    /// Sends a text to a room, joined or not, or to a nick. A line ending at the end of the text is left out.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the reasons that [`ClientState::send_message`] lists.
    pub fn say(&mut self, to: &str, text: &str) -> Result<RequestId, Error> {
        self.send_message(to, Message::new(text))
    }

    /// Sends an action (`/me`) to a joined room.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the reasons that [`ClientState::send_message`] lists.
    pub fn act(&mut self, room: &str, text: &str) -> Result<RequestId, Error> {
        self.send_message(room, Message::action(text))
    }

    /// Sends a message with its tags to a room, joined or not, or to a nick; or an action to a joined room.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the reason:
    /// - [`InvalidRequest::Empty`] or [`InvalidRequest::TooLong`] for a text that is empty or too long
    /// - [`InvalidRequest::TextTooLong`] for a text of several lines that is too long
    /// - [`InvalidRequest::LineBreak`] for a text of several lines, if the server does not support `multiline`
    /// - [`InvalidRequest::BadTag`] for an invalid tag
    /// - [`InvalidRequest::NotInRoom`] for an action to a room that is not joined
    /// - [`InvalidRequest::QueueFull`] if too many requests are pending
    /// - [`InvalidRequest::HasLeft`] if the client has left or has ended
    pub fn send_message(
        &mut self,
        to: &str,
        message: impl Into<Message>,
    ) -> Result<RequestId, Error> {
        let mut message = message.into();
        message.text = clean_lines(&message.text);
        if self.options.is_bot {
            message = message.notice();
        }
        message.check()?;
        // The client's own nonce is left out if the line has no space for it.
        message.request(Some(to), &message.prefix(true))?;
        if message.is_action && !self.rooms.iter().any(|known| known.name == to) {
            return Err(InvalidRequest::NotInRoom.into());
        }
        // Before the first connection, the server's capabilities are not known.
        if message.is_multiline() && self.was_connected && !self.server.has("multiline") {
            return Err(InvalidRequest::LineBreak.into());
        }
        let to = to.to_owned();
        self.enqueue(PendingRequest::Send { to, message })
    }

    /// Replaces the text of one of the client's own messages or actions.
    ///
    /// # Errors
    /// Those of [`ClientState::request`]; [`InvalidRequest::LineBreak`] for a text of several lines.
    pub fn edit(&mut self, id: u64, text: &str) -> Result<RequestId, Error> {
        if text.contains('\n') {
            return Err(InvalidRequest::LineBreak.into());
        }
        self.request(format!("EDIT {id} {}", clean(text)))
    }

    /// Reacts to a message with an emoji.
    ///
    /// # Errors
    /// Those of [`ClientState::request`].
    pub fn react(&mut self, id: u64, emoji: &str) -> Result<RequestId, Error> {
        self.request(format!("REACT {id} {emoji}"))
    }

    /// Withdraws a reaction.
    ///
    /// # Errors
    /// Those of [`ClientState::request`].
    pub fn unreact(&mut self, id: u64, emoji: &str) -> Result<RequestId, Error> {
        self.request(format!("UNREACT {id} {emoji}"))
    }

    /// Joins a room.
    ///
    /// # Errors
    /// Those of [`ClientState::request`].
    pub fn join(&mut self, room: &str) -> Result<RequestId, Error> {
        one_line(format!("JOIN {room}"))?;
        self.enqueue(PendingRequest::Join(room.to_owned()))
    }

    /// Leaves a room.
    ///
    /// # Errors
    /// Those of [`ClientState::request`].
    pub fn part(&mut self, room: &str) -> Result<RequestId, Error> {
        one_line(format!("PART {room}"))?;
        self.enqueue(PendingRequest::Part(room.to_owned()))
    }

    /// Takes another nick, with the same password.
    ///
    /// # Errors
    /// Those of [`ClientState::request`].
    pub fn rename(&mut self, nick: &str) -> Result<RequestId, Error> {
        one_line(format!("NICK {nick}"))?;
        let (nick, password) = (nick.to_owned(), None);
        self.enqueue(PendingRequest::Rename { nick, password })
    }

    /// Takes another nick with its password.
    ///
    /// # Errors
    /// Those of [`ClientState::request`].
    pub fn log_in(&mut self, login: Login) -> Result<RequestId, Error> {
        one_line(login.line())?;
        let Login { nick, password } = login;
        self.enqueue(PendingRequest::Rename { nick, password })
    }

    /// Sends any other request that is answered with lines and changes neither nick, rooms nor modes. If the
    /// connection breaks before the answer, the request is sent again.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the line is empty, too long or not one line, if too many requests are pending, or if the
    /// client has left.
    pub fn request(&mut self, line: String) -> Result<RequestId, Error> {
        one_line(line.clone())?;
        self.enqueue(PendingRequest::Line(line))
    }

    /// Disconnects when every request has been answered. The other users see `text`.
    pub fn leave(&mut self, text: &str) {
        self.goodbye = Some(clean(text).into_owned());
        let is_waiting = matches!(self.phase, Phase::Disconnected { .. });
        if !self.was_connected && self.pending.is_empty() && is_waiting {
            self.phase = Phase::Ended;
        }
        self.leave_when_idle();
    }
}

/// Removes the line ending at the end of the text, and control characters from each line.
fn clean_lines(text: &str) -> String {
    let lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
    let lines: Vec<_> = lines
        .map(|line| clean(line.strip_suffix('\r').unwrap_or(line)))
        .collect();
    lines.join("\n")
}
