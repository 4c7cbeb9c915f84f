//! The capabilities that clients can request (IRCv3 capability negotiation).

use crate::protocol::multiline::{TEXT_BYTES_MAX, TEXT_LINES_MAX};

/// A capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each is named as in its specification
pub enum Cap {
    Batch,
    CapNotify,
    EchoMessage,
    ExtendedJoin,
    MessageTags,
    MultiPrefix,
    NoImplicitNames,
    Sasl,
    ServerTime,
    StandardReplies,
    UserhostInNames,
    AccountRegistration,
    Redaction,
    ChatHistory,
    AwayNotify,
    LabeledResponse,
    Multiline,
    ReadMarker,
    EventPlayback,
}

impl Cap {
    /// Every capability with its name, in the order of `CAP LS`. One capability has two names.
    pub const NAMES: &[(&'static str, Self)] = &[
        ("away-notify", Self::AwayNotify),
        ("batch", Self::Batch),
        ("cap-notify", Self::CapNotify),
        ("echo-message", Self::EchoMessage),
        ("extended-join", Self::ExtendedJoin),
        ("labeled-response", Self::LabeledResponse),
        ("message-tags", Self::MessageTags),
        ("multi-prefix", Self::MultiPrefix),
        ("no-implicit-names", Self::NoImplicitNames),
        ("sasl", Self::Sasl),
        ("server-time", Self::ServerTime),
        ("standard-replies", Self::StandardReplies),
        ("userhost-in-names", Self::UserhostInNames),
        ("draft/account-registration", Self::AccountRegistration),
        ("draft/chathistory", Self::ChatHistory),
        ("draft/event-playback", Self::EventPlayback),
        ("draft/message-redaction", Self::Redaction),
        ("draft/multiline", Self::Multiline),
        ("draft/no-implicit-names", Self::NoImplicitNames),
        ("draft/read-marker", Self::ReadMarker),
    ];

    /// Returns the value that `CAP LS 302` shows.
    pub fn value(self) -> Option<String> {
        match self {
            Self::Sasl => Some("PLAIN".into()),
            Self::Multiline => {
                let (bytes, lines) = (TEXT_BYTES_MAX, TEXT_LINES_MAX);
                Some(format!("max-bytes={bytes},max-lines={lines}"))
            }
            _ => None,
        }
    }
}

/// The capabilities that a client has requested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps(u32);

impl Caps {
    /// No capability.
    pub const NONE: Self = Self(0);

    /// Returns whether the client has requested `cap`.
    pub fn has(self, cap: Cap) -> bool {
        self.0 & 1 << cap as u32 != 0
    }

    /// Adds a capability, or removes it.
    #[must_use]
    pub fn with(self, cap: Cap, is_on: bool) -> Self {
        let bit = 1 << cap as u32;
        Self(if is_on { self.0 | bit } else { self.0 & !bit })
    }

    /// Returns the capabilities after a `CAP REQ` with `list`; `None` if one of them is unknown.
    #[must_use]
    pub fn requested(self, list: &str) -> Option<Self> {
        list.split_ascii_whitespace().try_fold(self, |caps, name| {
            let (name, is_on) = match name.strip_prefix('-') {
                Some(name) => (name, false),
                None => (name, true),
            };
            let (_, cap) = Cap::NAMES.iter().find(|(known, _)| *known == name)?;
            Some(caps.with(*cap, is_on))
        })
    }

    /// Returns whether a text of several lines is sent as one message, and not line by line.
    pub fn joins_texts(self) -> bool {
        self.has(Cap::Multiline) && self.has(Cap::Batch)
    }

    /// Returns only the capabilities that change the lines of a [shared](super::is_for_all) live event. Clients for
    /// which the result is equal receive the same lines.
    #[must_use]
    pub fn of_events(self) -> Self {
        let kept = [
            Cap::ExtendedJoin,
            Cap::MessageTags,
            Cap::Redaction,
            Cap::ServerTime,
        ];
        let texts = [Cap::Batch, Cap::Multiline];
        let texts = texts.iter().filter(|_| self.joins_texts());
        let kept = kept.iter().filter(|cap| self.has(**cap)).chain(texts);
        kept.fold(Self::NONE, |caps, cap| caps.with(*cap, true))
    }

    /// Returns the names of the capabilities that the client has requested.
    pub fn names(self) -> String {
        let names = Cap::NAMES.iter().filter(|(_, cap)| self.has(*cap));
        names.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_granted_as_a_whole_or_not_at_all() {
        let caps = Caps::default()
            .requested("server-time message-tags")
            .unwrap();
        assert_eq!(caps.names(), "message-tags server-time");
        assert_eq!(caps.requested("batch nonsense"), None);
        let caps = caps.requested("-server-time batch").unwrap();
        assert_eq!(caps.names(), "batch message-tags");
        assert_eq!(caps.requested(""), Some(caps));
    }
}
