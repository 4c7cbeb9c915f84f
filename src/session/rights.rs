//! What a connection needs before a request is looked at: one table, so that no way in forgets it.
//!
//! Whether a nick is needed, and whether a room may be entered, is asked where it is used (`need_nick`,
//! `room_to_read`), since the answer is what goes on from there.

use super::Session;
use crate::chat::Chat;
use crate::protocol::request::Refusal;
use crate::protocol::{Code, Request, Verb};

/// Whether a server with a password does it for a connection that has not given that.
fn is_open_to_all(verb: Verb) -> bool {
    match verb {
        // The password of a registered nick is as good as the server's; without one, `NICK` is refused.
        Verb::Pass | Verb::Nick => true,
        Verb::Ping | Verb::Hello | Verb::Help | Verb::Bye | Verb::Quit => true,
        // Its bytes follow, and are dropped where it is refused.
        Verb::Upload => true,
        Verb::Msg
        | Verb::Me
        | Verb::Tell
        | Verb::Join
        | Verb::Seen
        | Verb::History
        | Verb::Search
        | Verb::Part
        | Verb::Rooms
        | Verb::Who
        | Verb::Topic
        | Verb::Download
        | Verb::Files
        | Verb::Remove
        | Verb::Stamps
        | Verb::Stay
        | Verb::Chat
        | Verb::Raw
        | Verb::Ignore
        | Verb::Unignore
        | Verb::Mode
        | Verb::Invite
        | Verb::Uninvite
        | Verb::Invites
        | Verb::Register
        | Verb::Token
        | Verb::Tokens
        | Verb::Revoke
        | Verb::Kick
        | Verb::Ban
        | Verb::Unban
        | Verb::Bans
        | Verb::Note
        | Verb::Shutdown => false,
    }
}

impl Session {
    /// Whether the request may be looked at.
    pub(super) fn check_open(&self, request: &Request<'_>) -> Result<(), Refusal> {
        match is_open_to_all(request.verb()) {
            true => Ok(()),
            false => self.need_open(request.verb()),
        }
    }

    /// Refuses a connection that has not given the server's password.
    pub(super) fn need_open(&self, verb: Verb) -> Result<(), Refusal> {
        let text = "this server needs a password first: PASS <password>";
        match self.is_open {
            true => Ok(()),
            false => Err(Refusal::new(verb, Code::NeedPassword, text)),
        }
    }

    /// The right password was given: what is said to everybody from here on is for this connection too.
    pub(super) fn open(&mut self, chat: &Chat) {
        if !std::mem::replace(&mut self.is_open, true) {
            self.notes = chat.end(crate::chat::Place::Everyone);
        }
    }
}
