//! The nonces of the messages of the last minutes. A message that is sent again with the same nonce is not stored
//! again. Each insertion of a nonce deletes up to two expired ones, so there are about as many nonces as recent
//! messages. The regular maintenance deletes the rest.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::rows::{event_id, number};
use crate::config::fixed::NONCE_MS;
use crate::model::Entry;
use crate::protocol::{EventId, Time};

/// A nonce, and the comparison form of the nick that used it.
pub(super) struct Key<'a> {
    nick: String,
    nonce: &'a str,
}

impl<'a> Key<'a> {
    /// Returns the key of an entry; `None` if the entry has no nonce.
    pub fn of(entry: &'a Entry) -> Option<Self> {
        Some(Self {
            nonce: entry.tags.nonce()?,
            nick: entry.author_casefolded(),
        })
    }
}

/// Returns the event that a nick sent with that nonce; `None` if there is none, or if it has expired.
pub(super) fn find(
    step: &Transaction<'_>,
    key: &Key<'_>,
    now: Time,
) -> rusqlite::Result<Option<(EventId, Time)>> {
    let mut find = step.prepare_cached(
        "SELECT id, time FROM nonces WHERE nick = ?1 AND nonce = ?2 AND time BETWEEN ?3 AND ?4",
    )?;
    let (first, last) = (now.0.saturating_sub(NONCE_MS), now.0 + NONCE_MS);
    let key = params![key.nick, key.nonce, number(first), number(last)];
    let found = find.query_row(key, |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
    });
    Ok(found.optional()?.and_then(|(id, time)| {
        Some((event_id(id)?, Time(u64::try_from(time).unwrap_or_default())))
    }))
}

/// Records the nonce of an event.
pub(super) fn add(
    step: &Transaction<'_>,
    key: &Key<'_>,
    id: EventId,
    time: Time,
) -> rusqlite::Result<()> {
    forget_expired(step, time, 2)?;
    step.prepare_cached(
        "INSERT OR REPLACE INTO nonces (nick, nonce, id, time) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        key.nick,
        key.nonce,
        number(id.get()),
        number(time.0)
    ])?;
    Ok(())
}

/// Returns whether any nonce has expired.
pub(super) fn are_expired(db: &Connection, now: Time) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM nonces WHERE time < ?1")?
        .exists([number(now.0.saturating_sub(NONCE_MS))])
}

/// Deletes at most `count` expired nonces; returns the number of deleted nonces.
pub(super) fn forget_expired(
    step: &Transaction<'_>,
    now: Time,
    count: usize,
) -> rusqlite::Result<usize> {
    step.prepare_cached(
        "DELETE FROM nonces WHERE rowid IN (SELECT rowid FROM nonces WHERE time < ?1 LIMIT ?2)",
    )?
    .execute(params![
        number(now.0.saturating_sub(NONCE_MS)),
        count as i64
    ])
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::channel;

    use super::NONCE_MS;
    use crate::log::Log;
    use crate::log::sqlite::SqliteLog;
    use crate::model::{Entry, EventKind, Outcome, Report, Scope};
    use crate::protocol::tags::SentTags;
    use crate::protocol::{RoomName, Time};

    /// Opens the log, sends a message of `author` with a nonce at `time`, and calls `after`. Returns the outcome of
    /// the message.
    fn send(
        folder: &Path,
        author: &str,
        time: u64,
        after: impl FnOnce(&SqliteLog),
    ) -> (Outcome, bool) {
        let (tell, outcomes) = channel();
        let sink = move |batch: Vec<Report>| {
            for applied in batch.into_iter().filter_map(Report::applied) {
                let _ = tell.send((applied.outcome, applied.is_repeat));
            }
        };
        let log = SqliteLog::open(folder, Box::new(sink)).unwrap();
        let scope = Scope::Room(RoomName::parse("#tea").unwrap().into());
        let tags = SentTags::default().with_nonce("n1");
        let entry = Entry::new(scope, EventKind::Msg, author, "hello").with_tags(tags);
        assert!(log.append(entry.into(), None, Time(time)).is_none());
        let outcome = outcomes.recv().unwrap();
        after(&log);
        outcome
    }

    fn id((outcome, is_repeat): (Outcome, bool)) -> (u64, u64, bool) {
        let (id, time) = outcome.unwrap();
        (id.unwrap().get(), time.0, is_repeat)
    }

    #[test]
    fn a_nonce_survives_a_restart_and_expires() {
        let folder = tempfile::tempdir().unwrap();
        let send = |author, time| id(send(folder.path(), author, time, |_| {}));
        assert_eq!(send("ann", 1000), (1, 1000, false));
        assert_eq!(send("Ann", 2000), (1, 1000, true));
        assert_eq!(send("bob", 2000), (2, 2000, false));
        assert_eq!(send("ann", 1001 + NONCE_MS), (3, 1001 + NONCE_MS, false));
        assert_eq!(send("ann", 1002 + NONCE_MS), (3, 1001 + NONCE_MS, true));
    }

    #[test]
    fn expired_nonces_are_deleted_even_if_no_new_ones_arrive() {
        let folder = tempfile::tempdir().unwrap();
        let left = |log: &SqliteLog| {
            let count = "SELECT count(*) FROM nonces";
            log.ask(|db| Ok(db.query_row(count, [], |row| row.get::<_, i64>(0))?))
                .unwrap()
        };
        let _ = send(folder.path(), "ann", 1000, |log| {
            log.sweep(Time(NONCE_MS)).unwrap();
            assert_eq!(left(log), 1);
            log.sweep(Time(1001 + NONCE_MS)).unwrap();
            assert_eq!(left(log), 0);
        });
    }
}
