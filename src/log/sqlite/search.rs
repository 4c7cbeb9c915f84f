//! The search. It first reads the events that are not indexed yet. Then it queries the index, newest events first,
//! until it has enough matches, or SQLite stops it because no time is left. Direct messages are not looked up in the
//! index: an inbox is read, newest messages first, within the same limits.

use std::collections::HashSet;
use std::os::raw::c_int;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Rows, params};

use super::rows::{RECORD, number, record};
use crate::log::text::Query;
use crate::log::work::Work;
use crate::log::{Found, Record, SearchScope};
use crate::model::StorageError;
use crate::protocol::Nick;

/// An SQL condition: the event `e` is of a kind that searches find, and was not removed.
const IS_THERE: &str = "CASE e.verb WHEN 'FILE' THEN EXISTS (SELECT 1 FROM files WHERE id = e.id)
    WHEN 'MSG' THEN e.tags <> 'removed' WHEN 'ME' THEN e.tags <> 'removed' WHEN 'TOPIC' THEN 1 ELSE 0 END";

/// The number of SQLite's steps between two checks of the time. Reading one page of the index takes three steps; a page
/// has the words of two long messages.
const STEPS: c_int = 100;

/// The rooms that are searched, by the numbers of their rows.
enum Rooms {
    One(i64),
    Some(HashSet<i64>),
}

impl Rooms {
    /// Returns the rooms of a scope; `None` if there are none, or if the scope is an inbox.
    fn of(db: &Connection, scope: &SearchScope) -> Result<Option<Self>, StorageError> {
        match scope {
            SearchScope::Inbox(_) => Ok(None),
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

    /// Returns an SQL condition on the event `e`. If only one room is searched, its number must be bound to `?1`;
    /// otherwise `?1` must be NULL.
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
    query: &'a Query,
    count: usize,
    /// The matching events, newest first.
    found: Vec<Record>,
}

/// Searches rooms. If possible, the index is attached to the connection as `found`; if not, only the log is read.
pub(super) fn search(
    db: &mut Connection,
    scope: &SearchScope,
    query: &Query,
    count: usize,
    work: &Work,
) -> Result<Found, StorageError> {
    db.progress_handler(STEPS, Some(work.limit()))?;
    let found = search_in_steps(db, scope, query, count, work);
    db.progress_handler(0, None::<fn() -> bool>)?;
    found
}

fn search_in_steps(
    db: &Connection,
    scope: &SearchScope,
    query: &Query,
    count: usize,
    work: &Work,
) -> Result<Found, StorageError> {
    // Read the index and the log in one snapshot.
    let step = db.unchecked_transaction()?;
    let mut search = Search {
        db: &step,
        query,
        count,
        found: Vec::new(),
    };
    // SQLite does not interrupt a query that takes few steps, so the budget may be used up although no query was
    // stopped.
    let is_cut = work.is_over()
        || match search.run(scope) {
            Err(StorageError::Sqlite(e)) if is_stopped(&e) => true,
            done => {
                done?;
                false
            }
        };
    let mut records = search.found;
    records.reverse();
    Ok(Found { records, is_cut })
}

/// Returns whether SQLite was stopped because the time was used up.
fn is_stopped(e: &rusqlite::Error) -> bool {
    e.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

impl Search<'_> {
    fn run(&mut self, scope: &SearchScope) -> Result<(), StorageError> {
        if self.query.is_empty() {
            return Ok(());
        }
        if let SearchScope::Inbox(nick) = scope {
            return self.read_inbox(nick);
        }
        let Some(rooms) = Rooms::of(self.db, scope)? else {
            return Ok(());
        };
        let indexed = if super::search_index::is_attached(self.db)? {
            let seen = "SELECT seen FROM found.place";
            self.db.query_row(seen, [], |row| row.get(0))?
        } else {
            0
        };
        self.read_newer(&rooms, indexed)?;
        self.ask_index(&rooms, indexed)
    }

    /// Returns the id before which events are searched.
    fn before(&self) -> i64 {
        let before = self.query.before();
        before.map_or(i64::MAX, |before| number(before.get()))
    }

    fn is_enough(&self) -> bool {
        self.found.len() >= self.count
    }

    /// Reads the events after the last indexed one.
    fn read_newer(&mut self, rooms: &Rooms, indexed: i64) -> Result<(), StorageError> {
        let mut newer = self.db.prepare_cached(&format!(
            "SELECT {RECORD}, e.room AS room FROM events e JOIN rooms r ON r.id = e.room
             WHERE {} AND e.id > ?2 AND e.id < ?3 AND {IS_THERE} ORDER BY e.id DESC",
            rooms.condition(),
        ))?;
        let newer = newer.query(params![rooms.one(), indexed, self.before()])?;
        let mut scratch = String::new();
        self.add(newer, |query, row| {
            Ok(rooms.have(row)? && is_in_text(query, row, &mut scratch)?)
        })
    }

    /// Reads the inbox of a nick.
    fn read_inbox(&mut self, nick: &Nick) -> Result<(), StorageError> {
        let mut told = self.db.prepare_cached(&format!(
            "SELECT {RECORD} FROM told t
             CROSS JOIN events e ON e.id = t.id CROSS JOIN rooms r ON r.id = e.room
             WHERE t.nick = ?1 AND t.id < ?2 AND {IS_THERE} ORDER BY t.id DESC",
        ))?;
        let told = told.query(params![nick.casefolded(), self.before()])?;
        let mut scratch = String::new();
        self.add(told, |query, row| is_in_text(query, row, &mut scratch))
    }

    /// Queries the index for the events up to the last indexed one.
    fn ask_index(&mut self, rooms: &Rooms, indexed: i64) -> Result<(), StorageError> {
        if indexed == 0 {
            return Ok(());
        }
        let room = rooms.one().map(|room| format!("room : \"{room}\""));
        let phrases = self.query.phrases();
        let phrases = phrases.map(|phrase| format!("text : \"{phrase}\""));
        let matches: Vec<String> = room.into_iter().chain(phrases).collect();
        let matches = matches.join(" AND ");
        let mut index = self.db.prepare_cached(&format!(
            "SELECT {RECORD}, e.room AS room FROM
               (SELECT rowid AS id FROM found.words WHERE words MATCH ?1 AND rowid <= ?2 ORDER BY rowid DESC) w
             CROSS JOIN events e ON e.id = w.id CROSS JOIN rooms r ON r.id = e.room
             WHERE {IS_THERE} ORDER BY w.id DESC",
        ))?;
        let last = indexed.min(self.before() - 1);
        let found = index.query(params![matches, last])?;
        self.add(found, |_, row| rooms.have(row))
    }

    /// Adds the events that match, until there are enough. If the query names an author, they must be by that author.
    fn add(
        &mut self,
        mut rows: Rows<'_>,
        mut is_match: impl FnMut(&Query, &Row<'_>) -> rusqlite::Result<bool>,
    ) -> Result<(), StorageError> {
        while !self.is_enough()
            && let Some(row) = rows.next()?
        {
            let nick = row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?;
            if self.query.is_from(nick) && is_match(self.query, row)? {
                self.found.push(record(row)?);
            }
        }
        Ok(())
    }
}

/// Returns whether the text of an event, or the name of a file, contains the words of a query. `scratch` is a reusable
/// buffer.
fn is_in_text(query: &Query, row: &Row<'_>, scratch: &mut String) -> rusqlite::Result<bool> {
    let text = row.get_ref(5)?.as_str()?;
    let text = match row.get_ref(2)?.as_str()? {
        "FILE" => text.split_once(' ').map_or("", |(_, name)| name),
        _ => text,
    };
    Ok(query.is_in(text, scratch))
}
