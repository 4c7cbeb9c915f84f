//! The policy for passwords that clients on other machines send without TLS, because others could read such passwords.

use super::{Security, Session};
use crate::chat::Chat;
use crate::dialect::Line;
use crate::protocol::request::Refusal;
use crate::protocol::{Code, Verb};

impl Session {
    /// Records that the connection is encrypted.
    pub fn under_tls(&mut self) {
        self.security = Security::Tls;
    }

    fn is_overheard(&self, chat: &Chat) -> bool {
        let address = chat.address(self.peer);
        self.security == Security::Plain && !address.is_some_and(|address| address.is_loopback())
    }

    /// If the operator requires TLS for secrets and the connection has no TLS, refuses a request that contains or
    /// returns a secret.
    pub(super) fn require_tls(&self, verb: Verb, chat: &Chat) -> Result<(), Refusal> {
        if !chat.config.require_tls || !self.is_overheard(chat) {
            return Ok(());
        }
        let how = self.how_to_tls();
        let text = format!("this server accepts passwords only over TLS: {how}");
        Err(Refusal::new(verb, Code::NotAllowed, text))
    }

    /// After a request with a secret has succeeded in plain text, tells the client that TLS is available. Does so only
    /// once.
    pub(super) fn send_tls_hint(&mut self, chat: &Chat) {
        if !chat.config.protocols.tls
            || !self.is_overheard(chat)
            || std::mem::replace(&mut self.tls_hint_sent, true)
        {
            return;
        }
        let how = self.how_to_tls();
        self.send(Line::Notice {
            server: &chat.config.name,
            text: &format!("your password was sent as plain text; TLS is available: {how}"),
        });
    }

    fn how_to_tls(&self) -> String {
        let (host, port) = self.local;
        format!("ncat --ssl {host} {port}, or https")
    }
}
