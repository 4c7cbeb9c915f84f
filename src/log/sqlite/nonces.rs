//! The nonces of the messages of the last minutes: a message that is sent again with the same nonce is not stored again.
//! Each insertion deletes up to two that have expired, so their number follows the number of recent messages.

use rusqlite::{OptionalExtension, Transaction, params};

use super::rows::{event_id, number};
use crate::config::fixed::NONCE_MS;
use crate::protocol::{EventId, Nick, Time};

/// A nonce and the comparison form of the nick that used it.
pub(super) struct Key<'a> {
    nick: String,
    nonce: &'a str,
}

impl<'a> Key<'a> {
    pub fn new(author: &str, nonce: &'a str) -> Self {
        let nick = Nick::parse(author);
        Self {
            nick: nick.map_or_else(|_| author.to_owned(), |nick| nick.casefolded().to_owned()),
            nonce,
        }
    }
}

/// Returns the event that a nick sent with that nonce within the time for which nonces are kept.
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

/// Records the nonce of an event, and deletes some that have expired.
pub(super) fn add(
    step: &Transaction<'_>,
    key: &Key<'_>,
    id: EventId,
    time: Time,
) -> rusqlite::Result<()> {
    let expired =
        "DELETE FROM nonces WHERE rowid IN (SELECT rowid FROM nonces WHERE time < ?1 LIMIT 2)";
    step.prepare_cached(expired)?
        .execute([number(time.0.saturating_sub(NONCE_MS))])?;
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
