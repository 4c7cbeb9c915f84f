//! The queries of the log. Each runs on a connection from the pool.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::inbox;
use super::rows::{RECORD, collect, contents, event_id, number, record, span_from};
use crate::log::{Authorship, HistoryPage, HistorySource, Location, Reader, Record, Span};
use crate::model::{FileSum, FileTotals, NewFile, Removed, RoomRow, StorageError};
use crate::protocol::tags::REMOVED;
use crate::protocol::{Digest, EventId, FileName, RoomName, Time};

pub(super) fn newest_time(db: &Connection) -> Result<Option<Time>, StorageError> {
    let newest = "SELECT time FROM events ORDER BY id DESC LIMIT 1";
    let time: Option<i64> = db.query_row(newest, [], |row| row.get(0)).optional()?;
    Ok(time.and_then(|time| u64::try_from(time).ok()).map(Time))
}

pub(super) fn rooms(db: &Connection) -> Result<Vec<RoomRow>, StorageError> {
    let mut rooms = db.prepare_cached("SELECT name, topic, last_id FROM rooms ORDER BY id")?;
    let rows = rooms.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, i64>(2)?))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (name, topic, last_id) = row?;
        // The inboxes of nicks have rows here too. Their names are not valid names of rooms.
        if let (Ok(name), Some(last_id)) = (RoomName::parse(&name), event_id(last_id)) {
            found.push(RoomRow {
                name,
                topic,
                last_id,
            });
        }
    }
    Ok(found)
}

pub(super) fn read(
    db: &Connection,
    room: &RoomName,
    span: Span,
    count: usize,
    bytes: usize,
) -> Result<HistoryPage, StorageError> {
    // A positive result is the newest event that this room has lost by expiry. A negative result is the negated id of
    // the newest event of all removed rooms, any of which may have had this name. A reader at position 0 has seen no
    // earlier room, so a negative result is no gap for that reader.
    let mut forgotten = db.prepare_cached(
        "SELECT coalesce((SELECT forgotten FROM rooms WHERE form = ?1), (SELECT -id FROM gone))",
    )?;
    let forgotten: i64 = forgotten.query_row([room.casefolded()], |row| row.get(0))?;
    let after = number(span.after);
    let has_hole = forgotten > after || (after > 0 && -forgotten > after);
    let mut events = db.prepare_cached(&format!(
        "SELECT {RECORD} FROM rooms r JOIN events e ON e.room = r.id
         WHERE r.form = ?1 AND e.id > ?2 AND e.id <= ?3 ORDER BY e.id LIMIT ?4",
    ))?;
    let found = events.query_map(
        params![
            room.casefolded(),
            number(span.after),
            number(span.up_to),
            count as i64
        ],
        record,
    )?;
    let records = collect(found, bytes)?;
    Ok(HistoryPage { records, has_hole })
}

pub(super) fn newest(
    db: &Connection,
    room: &RoomName,
    before: u64,
    count: usize,
) -> Result<Span, StorageError> {
    let up_to = before.saturating_sub(1);
    let mut first = db.prepare_cached(
        "SELECT min(id) FROM (SELECT e.id FROM rooms r JOIN events e ON e.room = r.id
         WHERE r.form = ?1 AND e.id <= ?2 ORDER BY e.id DESC LIMIT ?3)",
    )?;
    let first: Option<i64> = first.query_row(
        params![room.casefolded(), number(up_to), count as i64],
        |row| row.get(0),
    )?;
    Ok(span_from(first, up_to))
}

pub(super) fn files(
    db: &Connection,
    source: &HistorySource,
    after: u64,
    count: usize,
) -> Result<Vec<Record>, StorageError> {
    let (from, form) = match source {
        HistorySource::Room(room) => (
            "rooms r JOIN files f ON f.room = r.id JOIN events e ON e.id = f.id WHERE r.form = ?1",
            room.casefolded(),
        ),
        HistorySource::Inbox(nick) => (
            "told t JOIN files f ON f.id = t.id JOIN events e ON e.id = f.id JOIN rooms r ON r.id = f.room
             WHERE t.nick = ?1",
            nick.casefolded(),
        ),
    };
    let mut files = db.prepare_cached(&format!(
        "SELECT e.id, e.time, e.verb, r.name, e.nick, coalesce(f.length, '*') || ' ' || f.name, e.tags,
           e.edited, e.reacts
         FROM {from} AND f.id > ?2 ORDER BY f.id LIMIT ?3",
    ))?;
    let found = files.query_map(params![form, number(after), count as i64], record)?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(super) fn file(
    db: &Connection,
    id: EventId,
) -> Result<Option<(Location, NewFile)>, StorageError> {
    let mut file = db.prepare_cached(
        "SELECT r.name, e.nick, f.name, f.length, f.sha256 FROM files f JOIN rooms r ON r.id = f.room
         JOIN events e ON e.id = f.id WHERE f.id = ?1",
    )?;
    let row = file.query_row([number(id.get())], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, String>(2)?,
            contents(row, 3)?,
        ))
    });
    let Some((place, nick, name, contents)) = row.optional()? else {
        return Ok(None);
    };
    let location = location(db, id, &nick, &place)?;
    let name = FileName::parse(&name).ok();
    let file = name.map(|name| NewFile { name, contents });
    Ok(location.zip(file))
}

/// Returns the place of an event from `nick`. `name` is the name of the row of `rooms` under which it is stored.
fn location(
    db: &Connection,
    id: EventId,
    nick: &str,
    name: &str,
) -> Result<Option<Location>, StorageError> {
    match RoomName::parse(name) {
        Ok(room) => Ok(Some(Location::Room(room))),
        Err(_) => inbox::location(db, id, nick, name),
    }
}

pub(super) fn file_totals(db: &Connection) -> Result<FileTotals, StorageError> {
    let mut sums = db.prepare(
        "SELECT e.nick, count(*), coalesce(sum(f.length), 0) FROM files f JOIN events e ON e.id = f.id GROUP BY e.nick",
    )?;
    let rows = sums.query_map([], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, i64>(1)?,
            row.get::<_, i64>(2)?,
        ))
    })?;
    let mut totals = FileTotals::default();
    for row in rows {
        let (nick, count, bytes) = row?;
        totals.count += usize::try_from(count).unwrap_or_default();
        let sum = FileSum {
            count: usize::try_from(count).unwrap_or_default(),
            bytes: u64::try_from(bytes).unwrap_or_default(),
        };
        totals.by_nick.push((nick, sum));
    }
    Ok(totals)
}

pub(super) fn digests(db: &Connection) -> Result<HashMap<Digest, usize>, StorageError> {
    let mut digests =
        db.prepare("SELECT sha256, count(*) FROM files WHERE sha256 NOTNULL GROUP BY sha256")?;
    let rows = digests.query_map([], |row| {
        Ok((row.get::<_, [u8; 32]>(0)?, row.get::<_, i64>(1)?))
    })?;
    let mut found = HashMap::new();
    for row in rows {
        let (sha256, count) = row?;
        found.insert(Digest(sha256), usize::try_from(count).unwrap_or_default());
    }
    Ok(found)
}

pub(super) fn authorship(db: &Connection, id: EventId) -> Result<Option<Authorship>, StorageError> {
    let mut event = db.prepare_cached(
        "SELECT r.name, e.nick, e.verb, e.tags, f.id, f.length, f.sha256 FROM events e JOIN rooms r ON r.id = e.room
         LEFT JOIN files f ON f.id = e.id WHERE e.id = ?1",
    )?;
    let row = event.query_row([number(id.get())], |row| {
        let verb: String = row.get(2)?;
        let tags: String = row.get(3)?;
        let file: Option<i64> = row.get(4)?;
        let removable = match verb.as_str() {
            "MSG" | "ME" => (tags != REMOVED).then_some(Removed::Message),
            _ => match file {
                Some(_) => Some(Removed::File {
                    owner: row.get::<_, String>(1)?.into(),
                    contents: contents(row, 5)?,
                }),
                None => None,
            },
        };
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            removable,
        ))
    });
    let Some((name, nick, removable)) = row.optional()? else {
        return Ok(None);
    };
    let location = location(db, id, &nick, &name)?;
    Ok(location.map(|location| Authorship {
        location,
        nick,
        removable,
    }))
}

pub(super) fn unfinished(
    db: &Connection,
) -> Result<Vec<(EventId, Location, String)>, StorageError> {
    let mut files = db.prepare(
        "SELECT f.id, r.name, e.nick FROM files f JOIN rooms r ON r.id = f.room
         JOIN events e ON e.id = f.id WHERE f.sha256 ISNULL ORDER BY f.id",
    )?;
    let rows = files.query_map([], |row| {
        let names = (row.get::<_, String>(1)?, row.get::<_, String>(2)?);
        Ok((row.get::<_, i64>(0)?, names))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (id, (room, nick)) = row?;
        if let Some(id) = event_id(id)
            && let Some(location) = location(db, id, &nick, &room)?
        {
            found.push((id, location, nick));
        }
    }
    Ok(found)
}

/// Returns the position of a reader, and whether the reader was last used more than a day ago.
pub(super) fn reader(
    db: &Connection,
    reader: &Reader,
) -> Result<Option<(u64, bool)>, StorageError> {
    let mut seen = db.prepare_cached(
        "SELECT seen, used < (unixepoch() - 86400) * 1000 FROM readers
         WHERE room = ?1 AND nick = ?2 AND name = ?3",
    )?;
    let key = params![reader.place, reader.nick, reader.name];
    let seen = seen.query_row(key, |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)));
    let seen = seen.optional()?;
    Ok(seen.and_then(|(seen, is_old)| Some((u64::try_from(seen).ok()?, is_old))))
}
