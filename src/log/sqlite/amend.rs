//! Changes to stored messages: edits by their authors, and reactions.
//!
//! A row of `events` contains the newest text, the time of the last edit, and the number of reactions with each emoji
//! in the form of the protocol, so reading an event needs no other table. When an event is deleted, a trigger deletes
//! its rows in the other tables.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::rows::number;
use crate::config::fixed::{EMOJI_MAX, REACTIONS_MAX};
use crate::log::Reacted;
use crate::model::{Entry, Reaction, StorageError, casefolded};
use crate::protocol::{EventId, Time};

/// Returns whether the message `id` was sent by the author of `entry` and has not been removed.
pub(super) fn is_own(step: &Transaction<'_>, entry: &Entry, id: EventId) -> rusqlite::Result<bool> {
    let mut author = step.prepare_cached(
        "SELECT nick FROM events WHERE id = ?1 AND verb IN ('MSG', 'ME') AND tags <> 'removed'",
    )?;
    let author = author.query_row([number(id.get())], |row| row.get::<_, String>(0));
    let author = author.optional()?;
    Ok(author.is_some_and(|author| casefolded(&author) == entry.author_casefolded()))
}

/// Stores the new text of a message. `edit` is the id of the event that announced the edit. An event that is not a
/// message stays as it is; an edit from an imported log may refer to such an event.
pub(super) fn edit(
    step: &Transaction<'_>,
    id: EventId,
    edit: i64,
    text: &str,
    time: Time,
) -> rusqlite::Result<()> {
    let id = number(id.get());
    let changed = step
        .prepare_cached(
            "UPDATE events SET text = ?2, edited = ?3 WHERE id = ?1 AND verb IN ('MSG', 'ME')",
        )?
        .execute(params![id, text, number(time.0)])?;
    if changed > 0 {
        step.prepare_cached("INSERT INTO edits (event, edit) VALUES (?1, ?2)")?
            .execute([id, edit])?;
    }
    Ok(())
}

/// Stores a reaction, or withdraws it. Returns whether that changes anything.
pub(super) fn react(
    step: &Transaction<'_>,
    author: &str,
    reaction: &Reaction,
) -> rusqlite::Result<Result<bool, StorageError>> {
    let (id, emoji) = (number(reaction.to.get()), &*reaction.emoji);
    let form = casefolded(author);
    let key = params![id, emoji, form];
    let is_there = step
        .prepare_cached("SELECT 1 FROM reactions WHERE event = ?1 AND emoji = ?2 AND form = ?3")?
        .exists(key)?;
    match (is_there, reaction.is_withdrawn) {
        (true, false) | (false, true) => return Ok(Ok(false)),
        (true, true) => {
            step.prepare_cached(
                "DELETE FROM reactions WHERE event = ?1 AND emoji = ?2 AND form = ?3",
            )?
            .execute(key)?;
        }
        (false, false) => {
            let mut counts = step.prepare_cached(
                "SELECT count(*), count(DISTINCT emoji) FILTER (WHERE emoji <> ?2) FROM reactions WHERE event = ?1",
            )?;
            let (all, others): (i64, i64) =
                counts.query_row(params![id, emoji], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if all >= REACTIONS_MAX as i64 || others >= EMOJI_MAX as i64 {
                return Ok(Err(StorageError::TooMany));
            }
            step.prepare_cached(
                "INSERT INTO reactions (event, emoji, form, nick) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![id, emoji, form, author])?;
        }
    }
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
    Ok(Ok(true))
}

/// Lists the reactions to an event, oldest first.
pub(super) fn reactions(db: &Connection, id: EventId) -> Result<Vec<Reacted>, StorageError> {
    let mut reactions =
        db.prepare_cached("SELECT nick, emoji FROM reactions WHERE event = ?1 ORDER BY rowid")?;
    let found = reactions.query_map([number(id.get())], |row| {
        Ok(Reacted {
            nick: row.get(0)?,
            emoji: row.get(1)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Deletes the data of a removed message: its reactions, and its text in the events of its edits.
pub(super) fn forget(step: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    step.prepare_cached(
        "UPDATE events SET text = ?1 || ' -', tags = 'removed' WHERE id IN (SELECT edit FROM edits WHERE event = ?1)",
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
