//! The positions of named readers. Their number is limited, for each owner and for the whole server, and unused
//! readers are removed.

use rusqlite::{Connection, Transaction, params};

use super::rows::number;
use crate::config::fixed::{READER_UNUSED_FOR, READERS_IN_ALL, READERS_PER_OWNER};
use crate::log::Reader;
use crate::model::StorageError;
use crate::protocol::Time;

/// Sets the position of a reader, or creates the reader with `owner` as its owner. If the reader exists and `owner` is
/// its nick, `owner` becomes its owner, unless `owner` already owns too many readers.
pub(super) fn set(
    step: &Transaction<'_>,
    reader: &Reader,
    owner: &str,
    seen: u64,
) -> Result<(), StorageError> {
    let key = [&*reader.place, &reader.nick, &reader.name];
    let mut set = step.prepare_cached(
        "UPDATE readers SET seen = ?4, used = unixepoch() * 1000,
           owner = iif(owner <> ?5 AND nick = ?5 AND (SELECT count(*) FROM readers WHERE owner = ?5) < ?6, ?5, owner)
         WHERE room = ?1 AND nick = ?2 AND name = ?3",
    )?;
    let most = READERS_PER_OWNER as i64;
    if set.execute(params![key[0], key[1], key[2], number(seen), owner, most])? > 0 {
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

/// Returns those readers of the nick `nick` whose owner is `owner`, with their positions.
pub(super) fn of_nick(
    db: &Connection,
    nick: &str,
    owner: &str,
) -> Result<Vec<(Reader, u64)>, StorageError> {
    let mut list = db.prepare_cached(
        "SELECT room, name, seen FROM readers INDEXED BY readers_of
         WHERE owner = ?1 AND nick = ?2 AND substr(name, 1, 1) <> '@' ORDER BY room, name LIMIT ?3",
    )?;
    let row = |row: &rusqlite::Row<'_>| {
        let (place, name): (String, String) = (row.get(0)?, row.get(1)?);
        let reader = Reader {
            place: place.into(),
            nick: nick.to_owned(),
            name,
        };
        Ok((reader, row.get::<_, i64>(2)?))
    };
    let rows = list.query_map(params![owner, nick, READERS_PER_OWNER as i64], row)?;
    rows.map(|row| {
        let (reader, seen) = row?;
        Ok((reader, u64::try_from(seen).unwrap_or_default()))
    })
    .collect()
}

/// Deletes a reader if `owner` owns it.
pub(super) fn forget(
    step: &Transaction<'_>,
    reader: &Reader,
    owner: &str,
) -> Result<(), StorageError> {
    let mut forget = step.prepare_cached(
        "DELETE FROM readers WHERE room = ?1 AND nick = ?2 AND name = ?3 AND owner = ?4",
    )?;
    forget.execute(params![reader.place, reader.nick, reader.name, owner])?;
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

/// Returns the time before which a reader counts as unused for too long: a reader that was last used earlier is
/// deleted. `now` must come from a trusted clock.
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
    use super::super::{SqliteLog, schema};
    use super::*;
    use crate::log::Log;
    use crate::log::memory::MemoryLog;

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

    fn both_logs(check: impl Fn(&dyn Log)) {
        let folder = tempfile::tempdir().expect("a folder");
        check(&MemoryLog::new(0, 1 << 20));
        check(&SqliteLog::open(folder.path(), Box::new(drop)).expect("a new log"));
    }

    fn names(log: &dyn Log, owner: &str) -> Vec<String> {
        let readers = log.readers("bob", owner).expect("it works").into_iter();
        readers
            .map(|(reader, seen)| format!("{} {} {seen}", reader.place, reader.name))
            .collect()
    }

    #[test]
    fn only_the_owner_of_a_reader_lists_and_deletes_it() {
        both_logs(|log| {
            for (name, owner) in [
                ("there", "@::1"),
                ("here", "@::1"),
                ("far", "@::2"),
                ("@read", "@::1"),
            ] {
                log.set_reader(&reader(name), owner, 7).expect("it works");
            }
            assert_eq!(names(log, "@::1"), ["ops here 7", "ops there 7"]);
            assert!(log.readers("ann", "@::1").expect("it works").is_empty());
            for name in ["here", "far", "none"] {
                log.forget_reader(&reader(name), "@::1").expect("it works");
            }
            assert_eq!(names(log, "@::1"), ["ops there 7"]);
            assert_eq!(names(log, "@::2"), ["ops far 7"]);
            // Another user of the nick moves the reader, but does not own it.
            log.set_reader(&reader("far"), "@::1", 8).expect("it works");
            assert_eq!(names(log, "@::2"), ["ops far 8"]);
            // The nick is registered now, and owns the reader that it moves.
            log.set_reader(&reader("far"), "bob", 9).expect("it works");
            assert_eq!(names(log, "@::2"), [""; 0]);
            assert_eq!(names(log, "bob"), ["ops far 9"]);
        });
    }

    #[test]
    fn an_owner_has_256_readers_and_another_when_one_is_deleted() {
        both_logs(|log| {
            let reader = |n: usize| reader(&format!("r{n}"));
            log.set_reader(&reader(256), "@::1", 1).expect("it works");
            for n in 0..READERS_PER_OWNER {
                log.set_reader(&reader(n), "bob", 1)
                    .expect("there is space");
            }
            // It moves, but cannot belong to the nick too.
            log.set_reader(&reader(256), "bob", 2).expect("it works");
            assert_eq!(names(log, "@::1"), ["ops r256 2"]);
            let refused = log.set_reader(&reader(257), "bob", 1);
            assert!(matches!(refused, Err(StorageError::TooMany)));
            log.forget_reader(&reader(0), "bob").expect("it works");
            log.set_reader(&reader(256), "bob", 3).expect("it works");
            assert_eq!(names(log, "@::1"), [""; 0]);
            assert_eq!(names(log, "bob").len(), READERS_PER_OWNER);
            log.forget_reader(&reader(1), "bob").expect("it works");
            log.set_reader(&reader(257), "bob", 1)
                .expect("there is space");
        });
    }
}
