//! Entries and their outcomes. An entry is something that is proposed to the log, or an unlogged direct message.
//!
//! An [`Entry`] contains only names, and nothing that belongs to the process that proposes it. An entry is passed to a
//! log with a [`Ticket`], and comes back as [`Applied`]. All servers on one log apply all entries in the same order,
//! whichever server proposed them. The ticket names the connection that waits for the entry's outcome.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Id;
use crate::protocol::tags::SentTags;
use crate::protocol::{Code, Digest, Event, EventId, FileName, Nick, RoomName, Time};

/// A marker that distinguishes the ids of connections from other ids.
#[derive(Debug)]
pub enum Connected {}

/// The id of a connection of this server.
pub type PeerId = Id<Connected>;

/// Something that is proposed to the log, or an unlogged direct message. An entry becomes an event when it gets its id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The room or the nicks that can read the event.
    pub scope: Scope,
    /// The kind of event, with its data.
    pub kind: EventKind,
    /// The tags that the author gave the entry.
    pub tags: SentTags,
    /// The author's nick followed by the text. One allocation holds both, because there is an entry for each message.
    words: Box<str>,
    author_bytes: u16,
}

/// The readers of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// The members of a room.
    Room(Arc<RoomName>),
    /// Two registered nicks. The event is logged, so both nicks can also read it later.
    Inbox(Box<DirectMessage>),
    /// The connections that use this nick when the event is sent. The event is not logged.
    Unsaved(Box<Nick>),
}

/// The two registered nicks of a direct message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectMessage {
    /// The author.
    pub by: Nick,
    /// The recipient, who may be offline.
    pub to: Nick,
}

/// The kinds of event that are logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // each is named after the verb of its event
pub enum EventKind {
    Msg,
    Me,
    /// Several lines, separated by LF. Each line becomes a separate message.
    Text,
    Topic,
    Remove(EventId, Box<Removed>),
    /// Replaces the text of a message by the same author.
    Edit(EventId),
    /// Adds the author's reaction to a message or file, or withdraws it.
    React(Box<Reaction>),
    File(Box<NewFile>),
    /// A live file is now complete.
    Stored(EventId, Box<FileContents>),
    /// Deletes the room. The deletion does not become an event. The log adds the list of the room's files.
    DeleteRoom(Vec<DeletedFile>),
}

/// A reaction to a message or file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// The message or file.
    pub to: EventId,
    /// The emoji. It is one character as people see it, which may be several code points.
    pub emoji: Box<str>,
    /// Whether the reaction is withdrawn.
    pub is_withdrawn: bool,
}

/// A file that has been deleted, either with its room or because of its age.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedFile {
    /// The file's number.
    pub id: EventId,
    /// The nick that sent the file, as the file's event spells it.
    pub nick: String,
    /// The contents; `None` if the file was still live.
    pub contents: Option<FileContents>,
}

/// The message or file that is removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Removed {
    /// A message or action.
    Message,
    /// A file, live or complete.
    File {
        /// The nick that uploaded the file, as the file's event spells it.
        owner: Box<str>,
        /// The contents; `None` if the file was still live.
        contents: Option<FileContents>,
    },
}

impl Removed {
    /// Returns whether it is a file that was still live when somebody decided to remove it.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::File { contents: None, .. })
    }
}

/// A file that is announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewFile {
    /// The file's name.
    pub name: FileName,
    /// The contents; `None` while the file is live (still being uploaded).
    pub contents: Option<FileContents>,
}

impl NewFile {
    /// Returns the length and the name as the file's event shows them. An unknown length is `*`.
    pub fn described(&self) -> String {
        match self.contents {
            Some(contents) => format!("{} {}", contents.length, self.name),
            None => format!("* {}", self.name),
        }
    }
}

/// Length and digest of a complete file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileContents {
    /// Number of bytes.
    pub length: u64,
    /// Digest of all bytes.
    pub sha256: Digest,
}

/// Identifies the request that waits for the outcome of an entry. A ticket has a meaning only on the server that
/// proposed the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The connection.
    pub peer: PeerId,
    /// The number of the pending reply.
    pub number: u32,
}

/// The outcome of an entry: its id (`None` if it is not logged) and its time, or the code of the refusal.
pub type Outcome = Result<(Option<EventId>, Time), Code>;

/// An entry with its outcome.
#[derive(Debug)]
pub struct Applied {
    /// The entry as it was proposed. A log in memory keeps a reference to the same value.
    pub entry: Arc<Entry>,
    /// The outcome of the entry.
    pub outcome: Outcome,
    /// Whether the entry changes nothing, because an earlier entry had the same nonce, or because the reaction already
    /// exists. If the nonces are equal, `outcome` is the outcome of the earlier entry.
    pub is_repeat: bool,
    /// Whether the recipient of a direct message must not receive the event, because it concerns an earlier message or
    /// file of which the recipient has no copy.
    pub is_withheld: bool,
    /// The request on this server that waits for the outcome. `None` if no request waits, or if another server
    /// proposed the entry.
    pub ticket: Option<Ticket>,
}

/// Returns the comparison form of a nick.
pub fn casefolded(nick: &str) -> String {
    match Nick::parse(nick) {
        Ok(nick) => nick.casefolded().to_owned(),
        Err(_) => nick.to_owned(), // it was stored under older rules
    }
}

impl Entry {
    /// Returns an entry. `author` is the author's nick, as others see it. `text` is empty unless the entry is a
    /// message, an action, a topic or an edit.
    pub fn new(scope: Scope, kind: EventKind, author: &str, text: &str) -> Self {
        let mut words = String::with_capacity(author.len() + text.len());
        words.push_str(author);
        words.push_str(text);
        Self {
            scope,
            kind,
            tags: SentTags::default(),
            words: words.into(),
            author_bytes: u16::try_from(author.len()).expect("a nick has 32 characters at most"),
        }
    }

    /// Returns the entry with `tags`.
    #[must_use]
    pub fn with_tags(self, tags: SentTags) -> Self {
        Self { tags, ..self }
    }

    /// Returns the author's nick as it is shown.
    pub fn author(&self) -> &str {
        self.words().0
    }

    /// Returns the comparison form of the author's nick.
    pub fn author_casefolded(&self) -> String {
        casefolded(self.author())
    }

    /// Returns the text; empty for an entry without one.
    pub fn text(&self) -> &str {
        self.words().1
    }

    /// Returns the number of events that the entry becomes. Their ids are consecutive.
    pub fn events(&self) -> usize {
        match self.kind {
            EventKind::Text => self.text().split('\n').count(),
            _ => 1,
        }
    }

    /// Passes each line of a text to `store` as a separate entry. Returns the id that `store` returned for the first
    /// line.
    ///
    /// # Errors
    /// When `store` fails.
    pub fn each_line<E>(
        &self,
        mut store: impl FnMut(Self) -> Result<Option<EventId>, E>,
    ) -> Result<Option<EventId>, E> {
        let lines = self.events();
        let mut first = None;
        for (n, line) in self.text().split('\n').enumerate() {
            let tags = self.tags.of_line(n, lines, first);
            let entry = Self::new(self.scope.clone(), EventKind::Msg, self.author(), line);
            let id = store(entry.with_tags(tags))?;
            first = first.or(id);
        }
        Ok(first)
    }

    fn words(&self) -> (&str, &str) {
        let author_bytes = usize::from(self.author_bytes);
        self.words
            .split_at_checked(author_bytes)
            .unwrap_or_default()
    }

    /// Returns whether the entry ends an upload.
    pub fn completes_upload(&self) -> bool {
        match &self.kind {
            EventKind::File(file) => file.contents.is_some(),
            EventKind::Stored(..) => true,
            EventKind::Msg
            | EventKind::Me
            | EventKind::Text
            | EventKind::Topic
            | EventKind::Remove(..)
            | EventKind::Edit(_)
            | EventKind::React(_)
            | EventKind::DeleteRoom(_) => false,
        }
    }

    /// Returns the total size of the names, the text and the tags in bytes.
    pub fn bytes(&self) -> usize {
        let name = match &self.kind {
            EventKind::File(file) => file.name.as_str().len(),
            EventKind::React(reaction) => size_of::<Reaction>() + reaction.emoji.len(),
            _ => 0,
        };
        self.words.len() + name + self.tags.kept().len()
    }

    /// Replaces the text.
    pub fn replace_text(&mut self, text: &str) {
        self.words = [self.author(), text].concat().into();
    }

    /// After a removal, replaces the message's text or the file's name with `-`, and the tags with `removed`.
    pub fn redact(&mut self) {
        self.tags = SentTags::removed();
        if let EventKind::File(file) = &mut self.kind {
            file.name = FileName::redacted();
        } else {
            self.replace_text("-");
        }
    }

    /// Returns the earlier message or file that the entry concerns. In direct messages, the event goes only to those
    /// of the two nicks that still have a copy of it.
    pub fn concerns(&self) -> Option<EventId> {
        match &self.kind {
            EventKind::Remove(id, _) | EventKind::Edit(id) | EventKind::Stored(id, _) => Some(*id),
            EventKind::React(reaction) => Some(reaction.to),
            EventKind::Msg
            | EventKind::Me
            | EventKind::Text
            | EventKind::Topic
            | EventKind::File(_)
            | EventKind::DeleteRoom(_) => None,
        }
    }

    /// Returns the room of the entry; `None` for a direct message.
    pub fn room(&self) -> Option<&Arc<RoomName>> {
        match &self.scope {
            Scope::Room(room) => Some(room),
            Scope::Inbox(_) | Scope::Unsaved(_) => None,
        }
    }

    /// Returns the entry as an event with the id `id`. `place` is the room or the recipient, as the event spells it.
    pub fn event<'a>(&'a self, place: &'a str, id: Option<EventId>) -> Event<'a> {
        let (to, room) = (place.into(), place.into());
        let (nick, text) = self.words();
        let (nick, text) = (nick.into(), text.into());
        match &self.kind {
            // Each line of a text is sent as a separate message.
            EventKind::Msg | EventKind::Text => Event::Msg { to, nick, text },
            EventKind::Me => Event::Me { to, nick, text },
            EventKind::Topic => Event::Topic { room, nick, text },
            EventKind::Remove(removed, _) => Event::Remove {
                room,
                nick,
                id: removed.get(),
            },
            EventKind::Edit(edited) => Event::Edit {
                to,
                nick,
                id: edited.get(),
                text,
            },
            EventKind::React(reaction) => {
                let (id, emoji) = (reaction.to.get(), (&*reaction.emoji).into());
                if reaction.is_withdrawn {
                    Event::Unreact {
                        to,
                        nick,
                        id,
                        emoji,
                    }
                } else {
                    Event::React {
                        to,
                        nick,
                        id,
                        emoji,
                    }
                }
            }
            EventKind::File(file) => Event::File {
                room,
                nick,
                file: id.map_or(0, EventId::get),
                length: file.contents.map(|contents| contents.length),
                name: file.name.as_str().into(),
            },
            // Never sent: a deletion of a room is not an event.
            EventKind::DeleteRoom(_) => Event::Topic { room, nick, text },
            EventKind::Stored(file, contents) => Event::Stored {
                room,
                nick,
                file: file.get(),
                length: contents.length,
                sha256: contents.sha256.to_string().into(),
            },
        }
    }
}
