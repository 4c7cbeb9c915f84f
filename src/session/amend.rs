//! Deletes and edits stored events, and reacts to them. The session first queries the log for the author and place of
//! the event. The log checks the author and place again when it stores the change.

use super::{Draft, Effect, Session};
use crate::chat::{Chat, NickId, Place};
use crate::dialect::ReplyBody;
use crate::log::{Authorship, Location};
use crate::model::{DirectMessage, EventKind, Reaction, Removed, Scope};
use crate::protocol::request::Refusal;
use crate::protocol::tags::SentTags;
use crate::protocol::{Code, EventId, Verb};

/// What to do with an event as soon as its author and place are known.
#[derive(Debug)]
pub(super) enum OnEvent {
    /// Deletes the event. The `REMOVE` event has these tags.
    Remove(SentTags),
    /// Replaces the event's text with this text.
    Edit(Box<str>),
    React(Reaction),
    /// Sends a message that replies to the event.
    Reply(Box<IrcMessage>),
}

impl OnEvent {
    pub fn verb(&self) -> Verb {
        match self {
            Self::Remove(_) => Verb::Remove,
            Self::Edit(_) => Verb::Edit,
            Self::React(reaction) if reaction.is_withdrawn => Verb::Unreact,
            Self::React(_) => Verb::React,
            Self::Reply(_) => Verb::Tell,
        }
    }
}

/// A message of an IRC client to a room or nick.
#[derive(Debug)]
pub(super) struct IrcMessage {
    pub to: Box<str>,
    pub kind: EventKind,
    pub text: Box<str>,
    pub body: ReplyBody,
    pub tags: SentTags,
}

/// What a connection may know about a message or file.
pub(super) struct FoundEvent {
    place: Place,
    pub scope: Scope,
    removed: Removed,
    author: String,
    pub is_own: bool,
    pub may_read: bool,
}

impl Session {
    /// Returns what this connection may know about an event; `None` if the event does not exist or cannot be changed.
    pub(super) fn find_event(
        &self,
        authorship: Option<Authorship>,
        chat: &Chat,
    ) -> Option<FoundEvent> {
        let Authorship {
            location,
            nick: author,
            removable,
        } = authorship?;
        let removed = removable?;
        let own = self.nick.and_then(|nick| chat.user(nick));
        match location {
            Location::Room(room) => {
                let id = chat.find_room(&room)?;
                Some(FoundEvent {
                    place: Place::Room(id),
                    scope: Scope::Room(room.into()),
                    is_own: own.is_some_and(|own| own.nick.as_str() == author),
                    may_read: chat.may_read(id, self.nick),
                    removed,
                    author,
                })
            }
            Location::Inbox { message, readers } => {
                let own = own.map(|own| &own.nick);
                let own = own.filter(|own| chat.is_registered(own));
                let own = own.filter(|own| readers.iter().any(|form| **form == *own.casefolded()));
                Some(FoundEvent {
                    place: Place::Nick(NickId::NONE),
                    is_own: own.is_some_and(|own| own.casefolded() == message.by.casefolded()),
                    may_read: own.is_some(),
                    scope: Scope::Inbox(Box::new(message)),
                    removed,
                    author,
                })
            }
        }
    }

    pub(super) fn on_event(
        &mut self,
        id: EventId,
        on_event: OnEvent,
        authorship: Option<Authorship>,
        chat: &mut Chat,
    ) -> Option<Effect> {
        let verb = on_event.verb();
        let found = self.find_event(authorship, chat);
        let on_event = match on_event {
            OnEvent::Reply(reply) => return self.irc_send_reply(*reply, found, chat),
            other => other,
        };
        let is_operator = self.is_operator(chat);
        let is_remove = matches!(on_event, OnEvent::Remove(_));
        let found =
            found.filter(|found| found.may_read || is_remove && (found.is_own || is_operator));
        let Some(found) = found else {
            let code = if is_remove {
                Code::NoSuchFile
            } else {
                Code::NoSuchId
            };
            let text = format!("there is no message or file with the id {id}");
            self.refuse(&Refusal::new(verb, code, text));
            return None;
        };
        match on_event {
            OnEvent::Remove(tags) => self.remove(id, found, tags, chat),
            OnEvent::Edit(text) => {
                let is_message = matches!(found.removed, Removed::Message);
                if !is_message || !found.is_own {
                    let text =
                        format!("{id} is not a message of yours; only its author can edit it");
                    self.refuse(&Refusal::new(verb, Code::NotAllowed, text));
                    return None;
                }
                let (kind, body) = (EventKind::Edit(id), ReplyBody::IdAndTime);
                let draft = Draft {
                    text: &text,
                    ..Draft::new(verb, kind, body)
                };
                Some(self.propose(found.place, found.scope, draft, chat))
            }
            OnEvent::Reply(_) => None, // handled above
            OnEvent::React(reaction) => {
                let scope = match (found.scope, self.nick.and_then(|nick| chat.user(nick))) {
                    // Either of the two nicks may react. The other nick receives the event.
                    (Scope::Inbox(message), Some(own))
                        if own.nick.casefolded() == message.to.casefolded() =>
                    {
                        Scope::Inbox(Box::new(DirectMessage {
                            by: message.to,
                            to: message.by,
                        }))
                    }
                    (scope, _) => scope,
                };
                let (kind, body) = (EventKind::React(Box::new(reaction)), ReplyBody::IdAndTime);
                let draft = Draft::new(verb, kind, body);
                Some(self.propose(found.place, scope, draft, chat))
            }
        }
    }

    fn remove(
        &mut self,
        id: EventId,
        found: FoundEvent,
        tags: SentTags,
        chat: &mut Chat,
    ) -> Option<Effect> {
        let verb = Verb::Remove;
        if !found.is_own {
            let own = self.nick.and_then(|nick| chat.user(nick));
            let operator = own.filter(|_| self.is_operator(chat));
            let Some(operator) = operator.map(|own| own.nick.clone()) else {
                let text =
                    format!("{id} is not yours; only its author or an operator can delete it");
                self.refuse(&Refusal::new(verb, Code::NotAllowed, text));
                return None;
            };
            chat.record_audit(format!("{operator} deletes {id} of {}", found.author));
        }
        let kind = EventKind::Remove(id, found.removed.into());
        let body = ReplyBody::Text(id.to_string().into());
        let draft = Draft {
            tags,
            ..Draft::new(verb, kind, body)
        };
        Some(self.propose(found.place, found.scope, draft, chat))
    }
}
