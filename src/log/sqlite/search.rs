//! The search. It first reads the events that are not indexed yet. Then it queries the index in pieces, newest events
//! first, until it has enough matches or no time is left.

use std::collections::HashSet;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::rows::{RECORD, number, record};
use crate::log::text::Query;
use crate::log::work::Work;
use crate::log::{Found, Record, SearchScope};
use crate::model::StorageError;

/// An SQL condition: the event `e` can be found, and was not removed.
const IS_THERE: &str = "CASE e.verb WHEN 'FILE' THEN EXISTS (SELECT 1 FROM files WHERE id = e.id)
    WHEN 'MSG' THEN e.text <> '-' WHEN 'ME' THEN e.text <> '-' WHEN 'TOPIC' THEN 1 ELSE 0 END";

/// The number of events that the first query of the index covers.
const PIECE_EVENTS: i64 = 1024;

/// The intended processor time of one piece. A running piece cannot be stopped, so the size of the pieces is adapted:
/// after a piece that took less, the next one is larger; after one that took four times as long, the next one is
/// smaller.
const PIECE_WORK: Duration = Duration::from_millis(5);

/// The number of events that are read between two checks of the time.
const LOOKS_EVERY: usize = 16;

/// The rooms that are searched, by the numbers of their rows.
enum Rooms {
    One(i64),
    Some(HashSet<i64>),
}

impl Rooms {
    /// Returns the rooms of a scope; `None` if there are none.
    fn of(db: &Connection, scope: &SearchScope) -> Result<Option<Self>, StorageError> {
        match scope {
            SearchScope::Room(room) => {
                let id = db
                    .prepare_cached("SELECT id FROM rooms WHERE form = ?1")?
                    .query_row([room.casefolded()], |row| row.get(0))
                    .optional()?;
                Ok(id.map(Self::One))
            }
            SearchScope::AllBut(hidden) => {
                // The names of inboxes and of deleted rooms do not begin with `#`.
                let rooms = "SELECT id, form FROM rooms WHERE name GLOB '#*'";
                let mut rooms = db.prepare_cached(rooms)?;
                let mut rows = rooms.query([])?;
                let mut ids = HashSet::new();
                while let Some(row) = rows.next()? {
                    let form = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
                    if !hidden.contains(form) {
                        ids.insert(row.get(0)?);
                    }
                }
                Ok((!ids.is_empty()).then_some(Self::Some(ids)))
            }
        }
    }

    /// Returns the room, if only one is searched.
    fn one(&self) -> Option<i64> {
        match self {
            Self::One(room) => Some(*room),
            Self::Some(_) => None,
        }
    }

    /// Returns an SQL condition on the event `e`. If one room is searched, its number is `?1`; otherwise `?1` must be
    /// NULL.
    fn condition(&self) -> &'static str {
        match self {
            Self::One(_) => "e.room = ?1",
            Self::Some(_) => "?1 IS NULL",
        }
    }

    /// Returns whether the event of a row is in one of the rooms. The row has the columns of [`RECORD`], and then the
    /// number of the room.
    fn have(&self, row: &Row<'_>) -> rusqlite::Result<bool> {
        match self {
            Self::One(_) => Ok(true),
            Self::Some(ids) => Ok(ids.contains(&row.get("room")?)),
        }
    }
}

struct Search<'a> {
    db: &'a Connection,
    rooms: Rooms,
    query: &'a Query,
    count: usize,
    work: &'a Work,
    /// The matching events, newest first.
    found: Vec<Record>,
}

/// Searches rooms. If possible, the index is attached to the connection as `found`; if not, only the log is read.
pub(super) fn search(
    db: &Connection,
    scope: &SearchScope,
    query: &Query,
    count: usize,
    work: &Work,
) -> Result<Found, StorageError> {
    // Read the index and the log in one snapshot.
    let step = db.unchecked_transaction()?;
    let rooms = Rooms::of(&step, scope)?;
    let Some(rooms) = rooms.filter(|_| !query.is_empty()) else {
        return Ok(Found::default());
    };
    let indexed = if super::search_index::is_attached(&step)? {
        step.query_row("SELECT seen FROM found.place", [], |row| row.get(0))?
    } else {
        0
    };
    let mut search = Search {
        db: &step,
        rooms,
        query,
        count,
        work,
        found: Vec::new(),
    };
    let is_cut = !search.read_newer(indexed)? || !search.ask_index(indexed)?;
    let mut records = search.found;
    records.reverse();
    Ok(Found { records, is_cut })
}

impl Search<'_> {
    /// Returns the id before which events are searched.
    fn before(&self) -> i64 {
        let before = self.query.before();
        before.map_or(i64::MAX, |before| number(before.get()))
    }

    fn is_enough(&self) -> bool {
        self.found.len() >= self.count
    }

    /// Reads the events after the last indexed one. Returns whether it has read all of them.
    fn read_newer(&mut self, indexed: i64) -> Result<bool, StorageError> {
        let mut newer = self.db.prepare_cached(&format!(
            "SELECT {RECORD}, e.room AS room FROM events e JOIN rooms r ON r.id = e.room
             WHERE {} AND e.id > ?2 AND e.id < ?3 AND {IS_THERE} ORDER BY e.id DESC",
            self.rooms.condition(),
        ))?;
        let mut rows = newer.query(params![self.rooms.one(), indexed, self.before()])?;
        let (mut scratch, mut looked_at) = (String::new(), 0);
        while let Some(row) = rows.next()? {
            let text = row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?;
            let text = match row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)? {
                "FILE" => text.split_once(' ').map_or("", |(_, name)| name),
                _ => text,
            };
            let nick = row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?;
            let is_here = self.rooms.have(row)? && self.query.is_from(nick);
            if is_here && self.query.is_in(text, &mut scratch) {
                self.found.push(record(row)?);
                if self.is_enough() {
                    return Ok(true);
                }
            }
            looked_at += 1;
            if looked_at % LOOKS_EVERY == 0 && self.work.is_over() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Queries the index for the events up to the last indexed one. Returns whether it has reached the oldest event.
    fn ask_index(&mut self, indexed: i64) -> Result<bool, StorageError> {
        if self.is_enough() || indexed == 0 {
            return Ok(true);
        }
        let room = self.rooms.one().map(|room| format!("room : \"{room}\""));
        let phrases = self.query.phrases();
        let phrases = phrases.map(|phrase| format!("text : \"{phrase}\""));
        let matches: Vec<String> = room.into_iter().chain(phrases).collect();
        let matches = matches.join(" AND ");
        let oldest = format!(
            "SELECT coalesce(min(e.id), 0) FROM events e WHERE {}",
            self.rooms.condition()
        );
        let oldest: i64 = self
            .db
            .prepare_cached(&oldest)?
            .query_row([self.rooms.one()], |row| row.get(0))?;
        let mut piece = self.db.prepare_cached(&format!(
            "SELECT {RECORD}, e.room AS room FROM
               (SELECT rowid AS id FROM found.words WHERE words MATCH ?1 AND rowid BETWEEN ?2 AND ?3
                ORDER BY rowid DESC) w
             CROSS JOIN events e ON e.id = w.id CROSS JOIN rooms r ON r.id = e.room
             WHERE {IS_THERE} ORDER BY w.id DESC",
        ))?;
        let (mut last, mut events) = (indexed.min(self.before() - 1), PIECE_EVENTS);
        while last >= oldest {
            if self.work.is_over() {
                return Ok(false);
            }
            let first = last.saturating_sub(events - 1).max(oldest);
            let begun = self.work.done();
            let mut rows = piece.query(params![matches, first, last])?;
            while let Some(row) = rows.next()?
                && !self.is_enough()
            {
                let nick = row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?;
                if self.rooms.have(row)? && self.query.is_from(nick) {
                    self.found.push(record(row)?);
                }
            }
            if self.is_enough() {
                return Ok(true);
            }
            let took = self.work.done().saturating_sub(begun);
            if took < PIECE_WORK {
                events = events.saturating_mul(2);
            } else if took > PIECE_WORK * 4 {
                events = (events / 4).max(16);
            }
            last = first - 1;
        }
        Ok(true)
    }
}
