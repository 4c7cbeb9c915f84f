//! What changes a stored message: its author edits it, and people react to it.
//!
//! A row of `events` has the newest text, the time of the last edit, and how often each emoji was used, as it is sent,
//! so that reading an event needs no other table. A trigger deletes the rest with the event.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::rows::{RoomKey, number};
use crate::config::fixed::EMOJI_MAX;
use crate::log::Reacted;
use crate::model::{Entry, Reaction, StorageError};
use crate::protocol::{EventId, Nick, Time};

/// Returns whether the author of `entry` sent the message `id`, in the same place, and it was not removed.
pub(super) fn is_own(
    step: &Transaction<'_>,
    row: &RoomKey<'_>,
    entry: &Entry,
    id: EventId,
) -> rusqlite::Result<bool> {
    let mut author = step.prepare_cached(
        "SELECT e.nick FROM events e JOIN rooms r ON r.id = e.room
         WHERE e.id = ?1 AND r.form = ?2 AND e.verb IN ('MSG', 'ME') AND e.text <> '-'",
    )?;
    let author = author.query_row(params![number(id.get()), row.form], |row| {
        row.get::<_, String>(0)
    });
    let author = author.optional()?;
    Ok(author.is_some_and(|author| casefolded(&author) == casefolded(entry.author())))
}

/// Stores the new text of a message, which the event `edit` has announced.
pub(super) fn edit(
    step: &Transaction<'_>,
    id: EventId,
    edit: i64,
    text: &str,
    time: Time,
) -> rusqlite::Result<()> {
    let id = number(id.get());
    step.prepare_cached("UPDATE events SET text = ?2, edited = ?3 WHERE id = ?1")?
        .execute(params![id, text, number(time.0)])?;
    step.prepare_cached("INSERT INTO edits (event, edit) VALUES (?1, ?2)")?
        .execute([id, edit])?;
    Ok(())
}

/// Stores a reaction, or withdraws it; returns whether that changes anything.
pub(super) fn react(
    step: &Transaction<'_>,
    author: &str,
    reaction: &Reaction,
) -> rusqlite::Result<Result<bool, StorageError>> {
    let (id, emoji) = (number(reaction.to.get()), &*reaction.emoji);
    let form = casefolded(author);
    let has_changed = if reaction.is_withdrawn {
        step.prepare_cached("DELETE FROM reactions WHERE event = ?1 AND emoji = ?2 AND form = ?3")?
            .execute(params![id, emoji, form])?
            > 0
    } else {
        let mut others = step.prepare_cached(
            "SELECT count(DISTINCT emoji) FROM reactions WHERE event = ?1 AND emoji <> ?2",
        )?;
        let others: i64 = others.query_row(params![id, emoji], |row| row.get(0))?;
        if others >= EMOJI_MAX as i64 {
            return Ok(Err(StorageError::TooMany));
        }
        step.prepare_cached(
            "INSERT OR IGNORE INTO reactions (event, emoji, form, nick) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![id, emoji, form, author])?
            > 0
    };
    if has_changed {
        let mut counts = step.prepare_cached(
            "SELECT emoji, count(*) FROM reactions WHERE event = ?1 GROUP BY emoji ORDER BY min(rowid)",
        )?;
        let counts = counts.query_map([id], |row| {
            let (emoji, count): (String, i64) = (row.get(0)?, row.get(1)?);
            Ok(format!("{emoji}*{count}"))
        })?;
        let counts: Vec<String> = counts.collect::<Result<_, _>>()?;
        step.prepare_cached("UPDATE events SET reacts = ?2 WHERE id = ?1")?
            .execute(params![id, counts.join(",")])?;
    }
    Ok(Ok(has_changed))
}

/// Lists the reactions to an event, oldest first, at most `count`.
pub(super) fn reactions(
    db: &Connection,
    id: EventId,
    count: usize,
) -> Result<Vec<Reacted>, StorageError> {
    let mut reactions = db.prepare_cached(
        "SELECT nick, emoji FROM reactions WHERE event = ?1 ORDER BY rowid LIMIT ?2",
    )?;
    let found = reactions.query_map(params![number(id.get()), count as i64], |row| {
        Ok(Reacted {
            nick: row.get(0)?,
            emoji: row.get(1)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Deletes what a removed message has: its reactions, and its text in the events of its edits.
pub(super) fn forget(step: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    step.prepare_cached(
        "UPDATE events SET text = ?1 || ' -' WHERE id IN (SELECT edit FROM edits WHERE event = ?1)",
    )?
    .execute([id])?;
    for forget in [
        "DELETE FROM edits WHERE event = ?1",
        "DELETE FROM reactions WHERE event = ?1",
    ] {
        step.prepare_cached(forget)?.execute([id])?;
    }
    Ok(())
}

/// Returns the comparison form of a nick as it is stored.
fn casefolded(nick: &str) -> String {
    Nick::parse(nick).map_or_else(|_| nick.to_owned(), |nick| nick.casefolded().to_owned())
}
