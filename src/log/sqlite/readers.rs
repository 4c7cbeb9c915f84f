//! The positions of named readers: limited per owner and in all, and removed when nobody uses them.

use rusqlite::{Connection, Transaction, params};

use super::rows::number;
use crate::config::fixed::{READER_UNUSED_FOR, READERS_IN_ALL, READERS_PER_OWNER};
use crate::log::Reader;
use crate::model::StorageError;
use crate::protocol::Time;

/// Moves a reader, or creates it.
pub(super) fn set(
    step: &Transaction<'_>,
    reader: &Reader,
    owner: &str,
    seen: u64,
) -> Result<(), StorageError> {
    let key = [reader.room.casefolded(), &reader.nick, &reader.name];
    let mut set = step.prepare_cached(
        "UPDATE readers SET seen = ?4, used = unixepoch() * 1000 WHERE room = ?1 AND nick = ?2 AND name = ?3",
    )?;
    if set.execute(params![key[0], key[1], key[2], number(seen)])? > 0 {
        return Ok(());
    }
    let count = |sql: &str, of: &[&str]| -> rusqlite::Result<usize> {
        let of = rusqlite::params_from_iter(of);
        let count: i64 = step.prepare_cached(sql)?.query_row(of, |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or_default())
    };
    let of_owner = "SELECT count(*) FROM readers WHERE owner = ?1";
    if count(of_owner, &[owner])? >= READERS_PER_OWNER
        || count("SELECT count(*) FROM readers", &[])? >= READERS_IN_ALL
    {
        return Err(StorageError::TooMany);
    }
    let mut make = step.prepare_cached(
        "INSERT INTO readers (room, nick, name, seen, owner, used)
         VALUES (?1, ?2, ?3, ?4, ?5, unixepoch() * 1000)",
    )?;
    make.execute(params![key[0], key[1], key[2], number(seen), owner])?;
    Ok(())
}

/// Records that a reader was used although it was not moved.
pub(super) fn touch(step: &Transaction<'_>, reader: &Reader) -> Result<(), StorageError> {
    let mut touch = step.prepare_cached(
        "UPDATE readers SET used = unixepoch() * 1000 WHERE room = ?1 AND nick = ?2 AND name = ?3",
    )?;
    touch.execute([reader.room.casefolded(), &reader.nick, &reader.name])?;
    Ok(())
}

/// Returns the time before which a reader must have been used last to be removed; `now` is the trusted time.
fn unused_before(now: Time) -> i64 {
    let longest = u64::try_from(READER_UNUSED_FOR.as_millis()).unwrap_or(u64::MAX);
    number(now.0) - number(longest)
}

/// Returns whether some reader has not been used for too long.
pub(super) fn are_unused(db: &Connection, now: Time) -> Result<bool, StorageError> {
    let mut unused = db.prepare_cached("SELECT EXISTS (SELECT 1 FROM readers WHERE used < ?1)")?;
    Ok(unused.query_row([unused_before(now)], |row| row.get(0))?)
}

/// Deletes the readers that nobody has used for too long.
pub(super) fn forget_unused(step: &Transaction<'_>, now: Time) -> Result<usize, StorageError> {
    let mut forget = step.prepare_cached("DELETE FROM readers WHERE used < ?1")?;
    Ok(forget.execute([unused_before(now)])?)
}
