//! Deletes rooms. One transaction makes a room unreadable. Its events are deleted afterwards in pieces, so that a
//! large room does not delay others.

use rusqlite::{OptionalExtension, Transaction};

use super::rows::deleted_file;
use crate::model::DeletedFile;
use crate::protocol::RoomName;

/// An SQL condition for the rows of deleted rooms. The form and the name of such a row consist of `!` and the row's
/// number, and are not valid names of rooms or nicks.
pub(super) const IS_DELETED: &str = "form >= '!' AND form < '\"'";

/// The maximum number of events that one transaction deletes. It is small enough that messages are hardly delayed.
const EVENTS: usize = 200;

/// Deletes a room with its files, readers and access list, so that its name can be used again. Returns the files.
pub(super) fn delete(
    step: &Transaction<'_>,
    room: &RoomName,
) -> rusqlite::Result<Vec<DeletedFile>> {
    let form = room.casefolded();
    step.prepare_cached("DELETE FROM readers WHERE room = ?1")?
        .execute([form])?;
    step.prepare_cached("DELETE FROM roster WHERE bucket = 'rooms' AND key = ?1")?
        .execute([form])?;
    let id: Option<i64> = step
        .prepare_cached("SELECT id FROM rooms WHERE form = ?1")?
        .query_row([form], |row| row.get(0))
        .optional()?;
    let Some(id) = id else {
        return Ok(Vec::new());
    };
    let mut files = step.prepare_cached(
        "SELECT f.id, e.nick, f.length, f.sha256 FROM files f JOIN events e ON e.id = f.id WHERE f.room = ?1",
    )?;
    let files = files.query_map([id], deleted_file)?;
    let files = files.collect::<rusqlite::Result<_>>()?;
    step.prepare_cached("DELETE FROM files WHERE room = ?1")?
        .execute([id])?;
    // If a new room gets the same name, a client that has read this room receives a `GAP` in the new one.
    step.prepare_cached(
        "UPDATE gone SET id = max(id, coalesce((SELECT max(id) FROM events WHERE room = ?1), 0))",
    )?
    .execute([id])?;
    step.prepare_cached(
        "UPDATE rooms SET form = '!' || id, name = '!' || id, topic = '' WHERE id = ?1",
    )?
    .execute([id])?;
    Ok(files)
}

/// Deletes some of the events of deleted rooms; returns their number.
pub(super) fn sweep_some(step: &Transaction<'_>) -> rusqlite::Result<usize> {
    let mut sweep = step.prepare_cached(&format!(
        "DELETE FROM events WHERE id IN
           (SELECT id FROM events WHERE room IN (SELECT id FROM rooms WHERE {IS_DELETED}) LIMIT ?1)"
    ))?;
    sweep.execute([EVENTS as i64])
}

/// Removes the rows of those deleted rooms that have no events left.
pub(super) fn forget(step: &Transaction<'_>) -> rusqlite::Result<()> {
    step.prepare_cached(&format!(
        "DELETE FROM rooms WHERE {IS_DELETED} AND NOT EXISTS (SELECT 1 FROM events WHERE room = rooms.id)"
    ))?
    .execute([])?;
    Ok(())
}
