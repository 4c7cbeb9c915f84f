//! The rights that a connection needs for each request. All rights are in one table, so that no request bypasses the
//! checks.
//!
//! Two checks are made where their results are used: whether the connection has a nick (`require_nick`), and whether it
//! may read a room (`room_to_read`).

use super::Session;
use crate::chat::Chat;
use crate::protocol::request::{Refusal, Target};
use crate::protocol::{Code, Request, Verb};

/// Returns whether a server with a password handles this verb even if the connection has not given the password.
fn is_open_to_all(verb: Verb) -> bool {
    match verb {
        // The password of a registered nick also admits a connection to the server. A `NICK` without a password is
        // refused later.
        Verb::Pass | Verb::Nick => true,
        Verb::Ping | Verb::Hello | Verb::Help | Verb::Bye | Verb::Quit => true,
        // Bytes follow these requests. If the request is refused, the bytes are dropped.
        Verb::Text | Verb::Upload => true,
        Verb::Msg
        | Verb::Me
        | Verb::Tell
        | Verb::Join
        | Verb::Seen
        | Verb::Readers
        | Verb::Forget
        | Verb::History
        | Verb::Search
        | Verb::Part
        | Verb::Rooms
        | Verb::Who
        | Verb::Whois
        | Verb::Away
        | Verb::Mine
        | Verb::Topic
        | Verb::Download
        | Verb::Files
        | Verb::Remove
        | Verb::Edit
        | Verb::React
        | Verb::Unreact
        | Verb::Reacts
        | Verb::Stamps
        | Verb::Tags
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
        | Verb::Hook
        | Verb::Hooks
        | Verb::Revoke
        | Verb::Kick
        | Verb::Ban
        | Verb::Unban
        | Verb::Bans
        | Verb::Note
        | Verb::Shutdown => false,
    }
}

/// Returns whether a request depends on earlier changes by others. If several servers share the chat, such a request
/// waits until this server has caught up with the other servers.
pub(super) fn depends_on_others(request: &Request<'_>) -> bool {
    match request {
        Request::Msg { .. }
        | Request::Me { .. }
        | Request::Ping { .. }
        | Request::Hello
        | Request::Help { .. }
        | Request::Pass { .. }
        | Request::Stamps { .. }
        | Request::Tags { .. }
        | Request::Stay
        | Request::Chat
        | Request::Raw
        | Request::Ignore { .. }
        | Request::Unignore { .. }
        | Request::Bye { .. }
        | Request::Quit { .. }
        | Request::Part { .. }
        | Request::Away { .. }
        | Request::Note { .. }
        | Request::Shutdown { .. }
        // Bytes follow these requests.
        | Request::Text(_)
        | Request::Upload(_) => false,
        Request::Tell { to, .. } => matches!(to, Target::Nick(_)),
        Request::Nick { .. }
        | Request::Register { .. }
        | Request::Token { .. }
        | Request::Tokens
        | Request::Hook { .. }
        | Request::Hooks
        | Request::Revoke { .. }
        | Request::Kick { .. }
        | Request::Ban { .. }
        | Request::Unban { .. }
        | Request::Bans
        | Request::Mode { .. }
        | Request::Invite { .. }
        | Request::Uninvite { .. }
        | Request::Invites { .. }
        | Request::Join { .. }
        | Request::Seen { .. }
        | Request::Readers
        | Request::Forget { .. }
        | Request::History { .. }
        | Request::Search { .. }
        | Request::Topic { .. }
        | Request::Rooms { .. }
        | Request::Who { .. }
        | Request::Whois { .. }
        | Request::Mine
        | Request::Files { .. }
        | Request::Download { .. }
        | Request::Remove { .. }
        | Request::Edit { .. }
        | Request::React { .. }
        | Request::Reacts { .. }
        | Request::RemoveAccount { .. }
        | Request::RemoveRoom { .. } => true,
    }
}

impl Session {
    /// Checks whether the request may be handled before the server's password has been given.
    pub(super) fn check_open(&self, request: &Request<'_>) -> Result<(), Refusal> {
        if is_open_to_all(request.verb()) {
            Ok(())
        } else {
            self.require_open(request.verb())
        }
    }

    /// Returns an error if the connection has not given the server's password.
    pub(super) fn require_open(&self, verb: Verb) -> Result<(), Refusal> {
        let text = "this server needs a password first: PASS <password>";
        if self.is_open {
            Ok(())
        } else {
            Err(Refusal::new(verb, Code::NeedPassword, text))
        }
    }

    /// Admits the connection after the right password. From now on, the connection receives notices to everyone.
    pub(super) fn open(&mut self, chat: &Chat) {
        if !std::mem::replace(&mut self.is_open, true) {
            self.notes = chat.end(crate::chat::Place::Everyone);
        }
    }
}
