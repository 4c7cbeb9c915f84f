//! Entries, which are to be logged or sent as direct messages, and their outcomes.
//!
//! An [`Entry`] contains only names, nothing of the process that proposes it. It is submitted to a log with
//! a [`Ticket`], and comes out as [`Applied`]: all servers on one log apply the same entries in the same
//! order, their own and others', and the ticket leads the outcome to the connection that waits for it.

use std::sync::Arc;

use super::Id;
use crate::protocol::tags::SentTags;
use crate::protocol::{Code, Digest, Event, EventId, FileName, Nick, RoomName, Time};

/// Distinguishes the ids of connections.
#[derive(Debug)]
pub enum Connected {}

/// Identifies a connection of this server.
pub type PeerId = Id<Connected>;

/// Something to be logged, or to be sent as a direct message: it becomes an event once it has its id.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The place, which decides who can read it.
    pub scope: Scope,
    /// The kind of event, with its data.
    pub kind: EventKind,
    /// The tags that the author gave it.
    pub tags: SentTags,
    /// The author's nick followed by the text, in one allocation, since there is one entry for each
    /// message.
    words: Box<str>,
    author_bytes: u16,
}

/// Who can read an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The members of a room.
    Room(Arc<RoomName>),
    /// Two registered nicks, now and later.
    Inbox(Box<DirectMessage>),
    /// The connections that have this nick now; the event is not logged.
    Unsaved(Box<Nick>),
}

/// The two registered nicks of a direct message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectMessage {
    /// The author.
    pub by: Nick,
    /// The recipient, who may be offline.
    pub to: Nick,
}

/// The kinds of event that are logged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each is named after the verb of its event
pub enum EventKind {
    Msg,
    Me,
    /// Several lines, with LF between them, of which each becomes a message of its own.
    Text,
    Topic,
    Remove(EventId, Box<Removed>),
    /// Replaces the text of a message of the same author.
    Edit(EventId),
    /// The author reacts to a message or file, or withdraws the reaction.
    React(Box<Reaction>),
    File(Box<NewFile>),
    /// A live file is now complete.
    Stored(EventId, Box<FileContents>),
    /// Deletes the room, and is no event itself. The log adds the files that the room had.
    DeleteRoom(Vec<DeletedFile>),
}

/// A reaction to a message or file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// The message or file.
    pub to: EventId,
    /// One character as people see it.
    pub emoji: Box<str>,
    /// Whether it is withdrawn.
    pub is_withdrawn: bool,
}

/// A file that could be fetched and has been deleted with its room, or because it was too old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedFile {
    /// Its number.
    pub id: EventId,
    /// Who sent it, as the nick is spelt in its event.
    pub nick: String,
    /// Its bytes; `None` if it was still live.
    pub contents: Option<FileContents>,
}

/// What is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A message or action.
    Message,
    /// A file, live or complete, and the nick that uploaded it.
    File {
        /// The nick as it is spelled in the file's event.
        owner: Box<str>,
        /// The contents; `None` if the file was still live.
        contents: Option<FileContents>,
    },
}

/// A file that is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// The file's name.
    pub name: FileName,
    /// The contents; `None` while the file is live, that is still being uploaded.
    pub contents: Option<FileContents>,
}

impl NewFile {
    /// Returns the length, or `*` while it is not known, and the name.
    pub fn described(&self) -> String {
        match self.contents {
            Some(contents) => format!("{} {}", contents.length, self.name),
            None => format!("* {}", self.name),
        }
    }
}

/// Length and digest of a complete file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileContents {
    /// Number of bytes.
    pub length: u64,
    /// Digest of all bytes.
    pub sha256: Digest,
}

/// Leads the outcome of an entry to the request that waits for it, on the server that proposed the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The connection.
    pub peer: PeerId,
    /// The number of the pending reply.
    pub number: u32,
}

/// The outcome of an entry: its id, if it is logged, and the time; or the code of the refusal.
pub type Outcome = Result<(Option<EventId>, Time), Code>;

/// An entry with its outcome.
#[derive(Debug)]
pub struct Applied {
    /// The entry as it was proposed; a log in memory keeps the same one.
    pub entry: Arc<Entry>,
    /// The outcome of the entry.
    pub outcome: Outcome,
    /// Whether the entry changes nothing: one of the same nonce, whose outcome this is, came before it, or the
    /// reaction is there already.
    pub is_repeat: bool,
    /// The request on this server that waits for the outcome; `None` for an entry of another server, or one
    /// that nobody waits for.
    pub ticket: Option<Ticket>,
}

/// Returns the comparison form of a nick as it is shown.
pub fn casefolded(nick: &str) -> String {
    match Nick::parse(nick) {
        Ok(nick) => nick.casefolded().to_owned(),
        Err(_) => nick.to_owned(), // it was stored under older rules
    }
}

impl Entry {
    /// Returns an entry of `author`, a nick as it is shown. Only messages, actions and topics have a text.
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

    /// Returns the entry with these tags.
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

    /// Returns how many events it becomes, with consecutive ids.
    pub fn events(&self) -> usize {
        match self.kind {
            EventKind::Text => self.text().split('\n').count(),
            _ => 1,
        }
    }

    /// Passes each line of a text to `store` as an entry of its own; returns the id of the first, as `store` gives it.
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

    /// Returns how many bytes the names, the text and the tags take.
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

    /// Replaces the text of a message, or the name of a file, with `-` after its removal; its tags go too.
    pub fn redact(&mut self) {
        self.tags = SentTags::default();
        if let EventKind::File(file) = &mut self.kind {
            file.name = FileName::redacted();
        } else {
            self.replace_text("-");
        }
    }

    /// Returns the room of the entry, if it has one.
    pub fn room(&self) -> Option<&Arc<RoomName>> {
        match &self.scope {
            Scope::Room(room) => Some(room),
            Scope::Inbox(_) | Scope::Unsaved(_) => None,
        }
    }

    /// Returns the event of the entry under `id`, in the room or for the nick that is spelled `place`.
    pub fn event<'a>(&'a self, place: &'a str, id: Option<EventId>) -> Event<'a> {
        let (to, room) = (place.into(), place.into());
        let (nick, text) = self.words();
        let (nick, text) = (nick.into(), text.into());
        match &self.kind {
            // The lines of a text are messages of their own.
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
            // It is never shown as one.
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
