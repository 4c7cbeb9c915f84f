//! Conversions between values and database rows, shared by the code that reads and the code that writes.

use std::borrow::Cow;

use rusqlite::Row;

use super::schema::NICK_MARK;
use crate::log::{Record, Span, with_marks};
use crate::model::{DeletedFile, Entry, FileContents, Scope, StorageError};
use crate::protocol::{Digest, Event, EventId, Nick, RoomName, Time};

/// The key of a row of `rooms`, which stands for a room or for the inbox of a nick.
pub(super) struct RoomKey<'a> {
    /// The name in its comparison form (protocol.md 3.5). A room and a nick of the same name have different forms.
    pub form: Cow<'a, str>,
    pub name: &'a str,
}

impl<'a> RoomKey<'a> {
    /// Returns the row under which an entry is stored; `None` if the entry is not stored.
    pub fn of(entry: &'a Entry) -> Option<Self> {
        match &entry.scope {
            Scope::Room(room) => Some(Self::of_room(room)),
            Scope::Inbox(message) => Some(Self::of_nick(&message.to)),
            Scope::Unsaved(_) => None,
        }
    }

    pub fn of_room(room: &'a RoomName) -> Self {
        Self {
            form: room.casefolded().into(),
            name: room.as_str(),
        }
    }

    /// Returns the row of a nick's inbox. No room has the same form.
    pub fn of_nick(nick: &'a Nick) -> Self {
        Self {
            form: format!("{NICK_MARK}{}", nick.casefolded()).into(),
            name: nick.as_str(),
        }
    }
}

/// Collects the first records: about `bytes` bytes, but at least one record.
pub(super) fn collect(
    found: impl Iterator<Item = rusqlite::Result<Record>>,
    bytes: usize,
) -> Result<Vec<Record>, StorageError> {
    let mut records: Vec<Record> = Vec::new();
    let mut size = 0;
    for record in found {
        let record = record?;
        size += record.bytes();
        if size > bytes && !records.is_empty() {
            break;
        }
        records.push(record);
    }
    Ok(records)
}

/// Returns the span from the event `first` to `up_to`; an empty span if `first` is `None`.
pub(super) fn span_from(first: Option<i64>, up_to: u64) -> Span {
    let after = match first.and_then(|first| u64::try_from(first).ok()) {
        Some(first) => first.saturating_sub(1),
        None => up_to,
    };
    Span { after, up_to }
}

/// Reads a length and a digest from two columns; `None` if the file is not complete.
pub(super) fn contents(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<FileContents>> {
    let length: Option<i64> = row.get(at)?;
    let sha256: Option<[u8; 32]> = row.get(at + 1)?;
    Ok(length.zip(sha256).map(|(length, sha256)| FileContents {
        length: u64::try_from(length).unwrap_or_default(),
        sha256: Digest(sha256),
    }))
}

/// Reads a file that is being deleted: its id, its author, its length and its digest.
pub(super) fn deleted_file(row: &Row<'_>) -> rusqlite::Result<DeletedFile> {
    let id: i64 = row.get(0)?;
    let (nick, contents) = (row.get(1)?, contents(row, 2)?);
    let id = event_id(id).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, id))?;
    Ok(DeletedFile { id, nick, contents })
}

/// The columns that [`record`] reads, as SQL. `e` is the table of events, and `r` that of their rooms.
pub(super) const RECORD: &str =
    "e.id, e.time, e.verb, r.name, e.nick, e.text, e.tags, e.edited, e.reacts";

/// Reads a row that begins with the columns of [`RECORD`].
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let (id, time): (i64, i64) = (row.get(0)?, row.get(1)?);
    let id = event_id(id).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, id))?;
    let texts: [rusqlite::types::ValueRef<'_>; 4] = [
        row.get_ref(2)?,
        row.get_ref(3)?,
        row.get_ref(4)?,
        row.get_ref(5)?,
    ];
    let [verb, room, nick, text] = texts.map(|text| text.as_str());
    let event = event(verb?, room?, nick?, id, text?).ok_or(rusqlite::Error::InvalidQuery)?;
    let time = Time(u64::try_from(time).unwrap_or_default());
    Ok(Record::of(id, time, tags(row)?, &event))
}

/// Returns the event that the column values describe.
fn event<'a>(
    verb: &str,
    place: &'a str,
    nick: &'a str,
    id: EventId,
    text: &'a str,
) -> Option<Event<'a>> {
    let (to, room, nick) = (place.into(), place.into(), nick.into());
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    Some(match verb {
        "MSG" => {
            let text = text.into();
            Event::Msg { to, nick, text }
        }
        "ME" => {
            let text = text.into();
            Event::Me { to, nick, text }
        }
        "TOPIC" => {
            let text = text.into();
            Event::Topic { room, nick, text }
        }
        "EDIT" => Event::Edit {
            to,
            nick,
            id: first.parse().ok()?,
            text: rest.into(),
        },
        "REACT" => Event::React {
            to,
            nick,
            id: first.parse().ok()?,
            emoji: rest.into(),
        },
        "UNREACT" => Event::Unreact {
            to,
            nick,
            id: first.parse().ok()?,
            emoji: rest.into(),
        },
        "REMOVE" => {
            let id = first.parse().ok()?;
            Event::Remove { room, nick, id }
        }
        "FILE" => Event::File {
            room,
            nick,
            file: id.get(),
            length: first.parse().ok(),
            name: rest.into(),
        },
        "STORED" => {
            let (length, sha256) = rest.split_once(' ')?;
            Event::Stored {
                room,
                nick,
                file: first.parse().ok()?,
                length: length.parse().ok()?,
                sha256: sha256.into(),
            }
        }
        _ => return None,
    })
}

/// Reads the tags of an event from the last columns of [`RECORD`], including the tags that the server adds.
fn tags(row: &Row<'_>) -> rusqlite::Result<Box<str>> {
    let (sent, reacts) = (row.get_ref(6)?.as_str()?, row.get_ref(8)?.as_str()?);
    let edited: Option<i64> = row.get(7)?;
    if edited.is_none() && reacts.is_empty() {
        return Ok(sent.into());
    }
    let edited = edited.and_then(|time| u64::try_from(time).ok()).map(Time);
    Ok(with_marks(sent, edited, reacts))
}

pub(super) fn event_id(number: i64) -> Option<EventId> {
    u64::try_from(number).ok().and_then(EventId::new)
}

/// Converts a number to SQLite's signed integer. Ids and lengths are below 2^53, so they fit.
pub(super) fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
