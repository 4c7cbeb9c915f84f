//! Messages with tags: before they are sent, and after they were received. See section 4.35 of `protocol.md`.

use std::borrow::Cow;

use super::connection::one_line;
use super::error::{Error, InvalidRequest};
use crate::protocol::multiline::Multiline;
use crate::protocol::tags::{self, SentTags};
use crate::protocol::{Code, EventId, Time};

/// The maximum number of different reactions that are read from one tag. A server accepts 20.
const REACTIONS_MAX: usize = 64;

/// A message or action to send, with its tags. If the server does not support tags, only the text is sent. If the
/// server supports `multiline`, a text of several lines is one message, with at most 1000 lines of 4000 bytes, and 64
/// KiB in all.
///
/// ```
/// use plainchat::client::Message;
///
/// let alert = Message::new("the disk is full").notice().tag("x-severity", "critical");
/// let answer = Message::new("I have it").reply_to(1290);
/// # let _ = (alert, answer);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub(super) text: String,
    pub(super) is_action: bool,
    /// The tags as they are sent, without the `@` and without the nonce.
    tags: String,
    pub(super) nonce: Option<String>,
}

impl Message {
    /// Creates a message without tags.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            is_action: false,
            tags: String::new(),
            nonce: None,
        }
    }

    /// Creates an action (`/me`) without tags.
    pub fn action(text: impl Into<String>) -> Self {
        Self {
            is_action: true,
            ..Self::new(text)
        }
    }

    /// Creates a message or action with tags as they are sent, without the `@`.
    ///
    /// # Errors
    /// [`Error::Invalid`]: the server would refuse the tags.
    #[cfg(feature = "chatc")]
    pub(crate) fn with_tags(tags: &str, text: &str, is_action: bool) -> Result<Self, Error> {
        let sent = SentTags::parse(tags);
        let sent = match sent {
            _ if tags.is_empty() => SentTags::default(),
            Ok(sent) => sent,
            Err(_) => return Err(InvalidRequest::BadTag.into()),
        };
        Ok(Self {
            text: text.to_owned(),
            is_action,
            tags: sent.kept().to_owned(),
            nonce: sent.nonce().map(str::to_owned),
        })
    }

    /// Makes the message a reply to the message, action or file with the id `id`, which must be in the same room.
    #[must_use]
    pub fn reply_to(self, id: u64) -> Self {
        self.push("reply", &id.to_string())
    }

    /// Marks the message as sent by a program, so that no other program answers it.
    #[must_use]
    pub fn notice(self) -> Self {
        if self.is_notice() {
            return self;
        }
        self.push("notice", "")
    }

    /// Adds a tag with data for programs. Its name must begin with `x-`.
    #[must_use]
    pub fn tag(self, name: &str, value: &str) -> Self {
        self.push(name, value)
    }

    /// Sets the nonce: 1 to 64 of `A-Z a-z 0-9 - _ .`. If the same nick sends two messages with the same nonce within
    /// ten minutes, the server logs only the first. A [`ReconnectingClient`](super::ReconnectingClient) sets a nonce
    /// itself.
    #[must_use]
    pub fn nonce(mut self, nonce: impl Into<String>) -> Self {
        self.nonce = Some(nonce.into());
        self
    }

    pub(super) fn is_notice(&self) -> bool {
        tags::find(&self.tags, "notice").is_some()
    }

    fn push(mut self, name: &str, value: &str) -> Self {
        tags::push(&mut self.tags, name, value);
        self
    }

    /// Returns the tags as they precede the verb, with the `@` and a space; empty for none.
    pub(super) fn prefix(&self, has_nonce: bool) -> String {
        let mut all = self.tags.clone();
        if let Some(nonce) = self.nonce.as_ref().filter(|_| has_nonce) {
            tags::push(&mut all, "nonce", nonce);
        }
        if all.is_empty() {
            all
        } else {
            format!("@{all} ")
        }
    }

    /// Returns whether the text has several lines, so that it is sent with `TEXT`.
    pub(super) fn is_multiline(&self) -> bool {
        self.text.contains('\n')
    }

    /// Returns the request, with its line endings, that sends the message to `to`, or to the current room if `to` is
    /// `None`.
    pub(super) fn request(&self, to: Option<&str>, tags: &str) -> Result<String, Error> {
        let Self { text, .. } = self;
        match to {
            _ if self.is_multiline() && self.is_action => Err(InvalidRequest::LineBreak.into()),
            to if self.is_multiline() => {
                let to = to.map(|to| format!(" {to}")).unwrap_or_default();
                let head = one_line(format!("{tags}TEXT {}{to}", text.len()))?;
                Ok(format!("{head}{text}"))
            }
            // An action goes to the current room.
            _ if self.is_action => one_line(format!("{tags}ME {text}")),
            Some(to) => one_line(format!("{tags}TELL {to} {text}")),
            None => one_line(format!("{tags}MSG {text}")),
        }
    }

    /// Checks the tags, and the size of a text of several lines, as the server would.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.is_multiline() {
            match Multiline::parse(self.text.as_bytes()).map_err(|refusal| refusal.code) {
                Err(Code::TooLong | Code::TooLarge) => {
                    return Err(InvalidRequest::TextTooLong.into());
                }
                Err(Code::BadSyntax) => return Err(InvalidRequest::Empty.into()),
                // The server itself refuses a NUL.
                Err(_) | Ok(_) => {}
            }
        }
        let prefix = self.prefix(true);
        let Some(all) = prefix.strip_prefix('@') else {
            return Ok(());
        };
        let is_known = |tag: &str| {
            let name = tag.split('=').next().unwrap_or_default();
            matches!(name, "reply" | "notice" | "nonce") || name.starts_with("x-")
        };
        match SentTags::parse(all.trim_end()) {
            Ok(_) if all.trim_end().split(';').all(is_known) => Ok(()),
            _ => Err(InvalidRequest::BadTag.into()),
        }
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// The tags of an event. They are empty before `TAGS on` (see [`Client::turn_tags_on`](super::Client::turn_tags_on)).
///
/// Other clients choose the values, which may contain any characters when they are decoded. Before you write a value
/// to a terminal, apply [`clean`](crate::protocol::text::clean).
///
/// ```
/// use plainchat::client::Line;
///
/// let line = Line::from("@reply=1290;x-run=17;reacts=👍*3,🎉*1 MSG #ops ann green again".to_owned());
/// let tags = line.tags();
/// assert_eq!(tags.reply().map(|id| id.get()), Some(1290));
/// assert_eq!(tags.get("x-run").as_deref(), Some("17"));
/// assert_eq!(tags.reactions(), [("👍".to_owned(), 3), ("🎉".to_owned(), 1)]);
/// assert!(!tags.is_notice());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Box<str>);

impl Tags {
    pub(crate) fn of(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the tags as they were received, without the `@`; empty for none.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the decoded value of a tag; empty for a tag without a value.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        tags::find(&self.0, name)
    }

    /// Returns the names and decoded values in the order in which they were received.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        let parts = self.0.split(';').filter(|tag| !tag.is_empty());
        parts.map(|tag| {
            let name = tag.split('=').next().unwrap_or_default();
            (name, tags::find(tag, name).unwrap_or_default())
        })
    }

    /// Returns the id of the event to which this event replies.
    pub fn reply(&self) -> Option<EventId> {
        EventId::parse(&self.get("reply")?)
    }

    /// Returns the number of lines, if this event is the first line of a text of several lines.
    pub fn lines(&self) -> Option<u64> {
        crate::protocol::parse_number(&self.get("lines")?)
    }

    /// Returns the id of the first line, if this event is a later line of a text of several lines.
    pub fn part_of(&self) -> Option<EventId> {
        EventId::parse(&self.get("of")?)
    }

    /// Returns whether a program sent the event. Another program must not answer it.
    pub fn is_notice(&self) -> bool {
        self.get("notice").is_some()
    }

    /// Returns whether the message mentions everybody in its room, and its author may do that.
    pub fn is_for_everybody(&self) -> bool {
        self.get(tags::EVERYBODY).is_some()
    }

    /// Returns whether the event has been deleted, so that `-` is in place of its text or file name.
    pub fn is_removed(&self) -> bool {
        self.get(tags::REMOVED).is_some()
    }

    /// Returns the time at which the text was last replaced.
    pub fn edited(&self) -> Option<Time> {
        Time::parse(&self.get("edited")?)
    }

    /// Returns the emojis of the reactions, oldest first, each with the number of users. The server sends them with
    /// events from the log; [`Event::React`](crate::protocol::Event::React) reports a new reaction.
    pub fn reactions(&self) -> Vec<(String, u64)> {
        let all = self.get("reacts").unwrap_or_default();
        let parts = all.split(',').filter_map(|part| {
            let (emoji, count) = part.rsplit_once('*')?;
            let count = crate::protocol::parse_number(count)?;
            (!emoji.is_empty() && count > 0).then(|| (emoji.to_owned(), count))
        });
        parts.take(REACTIONS_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_checked_before_they_are_sent() {
        let good = Message::new("x")
            .reply_to(17)
            .notice()
            .notice()
            .tag("x-a", "b;c")
            .nonce("n.1");
        assert!(good.check().is_ok());
        assert_eq!(good.prefix(true), "@reply=17;notice;x-a=b%3Bc;nonce=n.1 ");
        assert_eq!(good.prefix(false), "@reply=17;notice;x-a=b%3Bc ");
        assert_eq!(Message::new("x").prefix(true), "");
        for bad in [
            Message::new("x").tag("severity", "high"),
            Message::new("x").tag("x-a b", ""),
            Message::new("x").tag("x-a", "1").tag("x-a", "2"),
            Message::new("x").tag("x-a", &"y".repeat(300)),
            Message::new("x").nonce(""),
            Message::new("x").nonce("two words"),
            Message::new("x").reply_to(0),
        ] {
            let error = bad.check().unwrap_err();
            assert!(
                matches!(error, Error::Invalid(InvalidRequest::BadTag)),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_text_of_several_lines_is_checked_as_the_server_does() {
        let check = |text: &str| match Message::new(text).check() {
            Err(Error::Invalid(why)) => Err(why),
            Err(error) => panic!("{error}"),
            Ok(()) => Ok(()),
        };
        let line = "x".repeat(4000);
        assert_eq!(check(&format!("{line}\n{line}")), Ok(()));
        assert_eq!(check(&"x\n".repeat(1000)), Ok(()));
        for long in [
            format!("{line}x\n"),
            "x\n".repeat(1001),
            format!("{line}\n").repeat(17),
        ] {
            assert_eq!(check(&long), Err(InvalidRequest::TextTooLong));
        }
        for empty in ["\n", " \n\r\n", "\u{7}\n\u{1b}[0m"] {
            assert_eq!(check(empty), Err(InvalidRequest::Empty));
        }
    }

    #[test]
    fn valid_tags_of_an_unusual_server_are_read() {
        let many = format!("reacts={}", "x*1,".repeat(500));
        for (text, reactions) in [
            ("", 0),
            ("reacts=", 0),
            ("reacts=👍", 0),
            ("reacts=👍*,*3,🎉*x,a*0,👍*2", 1),
            ("reply=x;edited=soon;reacts=👍*1", 1),
            (&many[..200], 48),
        ] {
            let tags = Tags::of(text);
            assert_eq!(tags.reactions().len(), reactions, "{text}");
            assert_eq!((tags.reply(), tags.edited()), (None, None), "{text}");
        }
        let tags = Tags::of("notice;x-a=%1B%5B31m");
        let all: Vec<_> = tags.iter().collect();
        assert_eq!(all, [("notice", "".into()), ("x-a", "\u{1b}[31m".into())]);
    }
}
