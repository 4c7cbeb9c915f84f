//! What is logged or sent in private, before and after the log has decided on it.
//!
//! An [`Entry`] has names only, nothing of the process that proposes it. It goes into a log with a [`Ticket`]
//! beside it and comes out as [`Applied`]: all servers on one log apply the same entries in the same order,
//! their own and others', and the ticket leads the outcome to the connection that waits for it.

use std::sync::Arc;

use super::Id;
use crate::protocol::{Code, Digest, Event, EventId, FileName, Nick, RoomName, Time};

/// Marks the ids of connections.
#[derive(Debug)]
pub enum Connected {}

/// Names a connection of this server.
pub type PeerId = Id<Connected>;

/// Something to be logged, or to be sent in private: it becomes an event once it has its id.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Who can read it.
    pub scope: Scope,
    /// What it is.
    pub kind: EventKind,
    /// The author's nick and then the text: one allocation, since there is one entry a message.
    words: Box<str>,
    author_bytes: u16,
}

/// Who can read an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those who read a room.
    Room(Arc<RoomName>),
    /// Two registered nicks, now and later.
    Inbox(Box<DirectMessage>),
    /// The connections that have this nick now: it is not logged.
    Unsaved(Nick),
}

/// The two registered nicks of a private message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectMessage {
    /// Its author.
    pub by: Nick,
    /// Its recipient, who may be offline.
    pub to: Nick,
}

/// The kinds of event that are logged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each is the verb of its event
pub enum EventKind {
    Msg,
    Me,
    Topic,
    Remove(EventId, Removed),
    File(Box<NewFile>),
    /// That live file is complete.
    Stored(EventId, FileContents),
}

/// What is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A message or action.
    Message,
    /// A file, live or complete, and the nick that sent it.
    File {
        /// As it is spelt in the file's event.
        owner: Box<str>,
        /// Its bytes; `None` if it was still live.
        contents: Option<FileContents>,
    },
}

/// A file that is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// What it is called.
    pub name: FileName,
    /// `None` while it is live: still being uploaded.
    pub contents: Option<FileContents>,
}

impl NewFile {
    /// Returns its length, `*` while that is not known, and its name.
    pub fn described(&self) -> String {
        match self.contents {
            Some(contents) => format!("{} {}", contents.length, self.name),
            None => format!("* {}", self.name),
        }
    }
}

/// The bytes of a complete file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileContents {
    /// How many.
    pub length: u64,
    /// The digest of all of them.
    pub sha256: Digest,
}

/// Leads the outcome of an entry to the one that waits for it, on the server that proposed the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The connection.
    pub peer: PeerId,
    /// Which of the replies that it owes waits for this.
    pub number: u32,
}

/// The outcome of an entry: its id, if it is one that is logged, and when; or the code with which it is refused.
pub type Outcome = Result<(Option<EventId>, Time), Code>;

/// An entry that the log has decided on.
#[derive(Debug)]
pub struct Applied {
    /// What was proposed.
    pub entry: Entry,
    /// What has become of it.
    pub outcome: Outcome,
    /// Who waits for that here; `None` for another server's entry, and for one that nobody waits for.
    pub ticket: Option<Ticket>,
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
            words: words.into(),
            author_bytes: u16::try_from(author.len()).expect("a nick has 32 characters at most"),
        }
    }

    /// Returns the nick of its author, as it is shown.
    pub fn author(&self) -> &str {
        self.words().0
    }

    /// Returns its text; empty for what has none.
    pub fn text(&self) -> &str {
        self.words().1
    }

    fn words(&self) -> (&str, &str) {
        let author_bytes = usize::from(self.author_bytes);
        self.words
            .split_at_checked(author_bytes)
            .unwrap_or_default()
    }

    /// Returns whether it ends an upload.
    pub fn completes_upload(&self) -> bool {
        match &self.kind {
            EventKind::File(file) => file.contents.is_some(),
            EventKind::Stored(..) => true,
            EventKind::Msg | EventKind::Me | EventKind::Topic | EventKind::Remove(..) => false,
        }
    }

    /// Returns how many bytes its names and text have.
    pub fn bytes(&self) -> usize {
        let name = match &self.kind {
            EventKind::File(file) => file.name.as_str().len(),
            _ => 0,
        };
        self.words.len() + name
    }

    /// Replaces the text of a message, or the name of a file, by `-`: it has been removed.
    pub fn redact(&mut self) {
        if let EventKind::File(file) = &mut self.kind {
            file.name = FileName::redacted();
        } else {
            *self = Self::new(self.scope.clone(), self.kind.clone(), self.author(), "-");
        }
    }

    /// Returns the room that it concerns, if it concerns one.
    pub fn room(&self) -> Option<&Arc<RoomName>> {
        match &self.scope {
            Scope::Room(room) => Some(room),
            Scope::Inbox(_) | Scope::Unsaved(_) => None,
        }
    }

    /// Returns the event that it becomes under `id`, in a room or sent to a nick that is spelt like `place`.
    pub fn event<'a>(&'a self, place: &'a str, id: Option<EventId>) -> Event<'a> {
        let (to, room) = (place.into(), place.into());
        let (nick, text) = self.words();
        let (nick, text) = (nick.into(), text.into());
        match &self.kind {
            EventKind::Msg => Event::Msg { to, nick, text },
            EventKind::Me => Event::Me { to, nick, text },
            EventKind::Topic => Event::Topic { room, nick, text },
            EventKind::Remove(removed, _) => Event::Remove {
                room,
                nick,
                id: removed.get(),
            },
            EventKind::File(file) => Event::File {
                room,
                nick,
                file: id.map_or(0, EventId::get),
                length: file.contents.map(|contents| contents.length),
                name: file.name.as_str().into(),
            },
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
