//! The positions of named readers. Their number is limited for each owner and in all, and unused readers are removed.

use rusqlite::{Connection, Transaction, params};

use super::rows::number;
use crate::config::fixed::{READER_UNUSED_FOR, READERS_IN_ALL, READERS_PER_OWNER};
use crate::log::Reader;
use crate::model::StorageError;
use crate::protocol::Time;

/// Sets the position of a reader, or creates the reader.
pub(super) fn set(
    step: &Transaction<'_>,
    reader: &Reader,
    owner: &str,
    seen: u64,
) -> Result<(), StorageError> {
    let key = [&*reader.place, &reader.nick, &reader.name];
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

/// Records that a reader was used, although its position did not change.
pub(super) fn touch(step: &Transaction<'_>, reader: &Reader) -> Result<(), StorageError> {
    let mut touch = step.prepare_cached(
        "UPDATE readers SET used = unixepoch() * 1000 WHERE room = ?1 AND nick = ?2 AND name = ?3",
    )?;
    touch.execute([&*reader.place, &reader.nick, &reader.name])?;
    Ok(())
}

/// Returns the time before which a reader was last used if it is to be removed. `now` must come from a trusted clock.
fn unused_before(now: Time) -> i64 {
    let longest = u64::try_from(READER_UNUSED_FOR.as_millis()).unwrap_or(u64::MAX);
    number(now.0) - number(longest)
}

/// Returns whether there is a reader that has not been used for too long.
pub(super) fn are_unused(db: &Connection, now: Time) -> Result<bool, StorageError> {
    let mut unused = db.prepare_cached("SELECT EXISTS (SELECT 1 FROM readers WHERE used < ?1)")?;
    Ok(unused.query_row([unused_before(now)], |row| row.get(0))?)
}

/// Deletes the readers that have not been used for too long.
pub(super) fn forget_unused(step: &Transaction<'_>, now: Time) -> Result<usize, StorageError> {
    let mut forget = step.prepare_cached("DELETE FROM readers WHERE used < ?1")?;
    Ok(forget.execute([unused_before(now)])?)
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;

    const DAY_MS: u64 = 86_400_000;

    fn reader(name: &str) -> Reader {
        Reader {
            place: "ops".into(),
            nick: "bob".into(),
            name: name.into(),
        }
    }

    #[test]
    fn a_reader_is_deleted_once_nobody_has_used_it_for_90_days() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut db = schema::open(&folder.path().join("log")).expect("a new log");
        let step = db.transaction().expect("a transaction");
        for name in ["old", "used"] {
            set(&step, &reader(name), "bob", 7).expect("there is space");
        }
        let made: i64 = step
            .query_row("SELECT max(used) FROM readers", [], |row| row.get(0))
            .expect("there are two");
        let made = u64::try_from(made).expect("after 1970");
        let after = |days: u64| Time(made + days * DAY_MS);
        assert_eq!(forget_unused(&step, after(90)).expect("it works"), 0);
        assert!(!are_unused(&step, after(90)).expect("it works"));
        let old = "UPDATE readers SET used = used - 86400000 WHERE name = 'old'";
        step.execute(old, []).expect("it works");
        touch(&step, &reader("used")).expect("it works");
        assert!(are_unused(&step, after(90)).expect("it works"));
        assert_eq!(forget_unused(&step, after(90)).expect("it works"), 1);
        let left: String = step
            .query_row("SELECT name FROM readers", [], |row| row.get(0))
            .expect("one is left");
        assert_eq!(left, "used");
    }
}
