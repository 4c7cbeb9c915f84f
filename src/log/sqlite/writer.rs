//! The thread that writes the log. It takes all waiting entries and changes, commits them in one transaction with one
//! sync, and only then passes them on.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tracing::error;

use super::replica::{self, Message, Step};
use super::rows::{RoomKey, event_id, number};
use super::search_index::SearchIndex;
use super::{amend, deletion, inbox, nonces};
use crate::files::private;
use crate::log::{Commits, Sink};
use crate::model::{Applied, Entry, EventKind, Report, Scope, StorageError, Ticket};
use crate::protocol::multiline::{text_lines, text_of};
use crate::protocol::{EventId, Time};

/// The number of events at which a transaction is large enough. Its commit takes some milliseconds, and a larger
/// transaction would save nothing. If the last entry is a text of several lines, the transaction has more events.
const BATCH_EVENTS: usize = 1000;

/// The time between two attempts to store a message that all servers store.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Something that waits to be written.
pub(super) enum Waiting {
    /// An entry, the ticket of its sender, and the time of the request.
    Entry(Arc<Entry>, Option<Ticket>, Time),
    /// A change that is not an event.
    Change(Change),
    /// A message of the log that several servers share.
    Message(Message),
}

impl Waiting {
    /// Returns the number of events that this item is stored as. A change counts as 1, because it takes as long as an
    /// event.
    fn events(&self) -> usize {
        match self {
            Self::Entry(entry, ..) => entry.events(),
            Self::Change(_) => 1,
            Self::Message(message) => message.events(),
        }
    }
}

/// A change of stored state that is not an event, such as the position of a reader, an account, or a trim.
pub(crate) struct Change {
    /// Whether the change is also made when the disk is full, in the reserved space.
    pub makes_space: bool,
    /// The function that makes the change. It may run more than once, and starts from the beginning each time.
    pub make: Make,
    /// The function that is called when it is known whether the change is stored.
    pub done: Box<dyn FnOnce(Result<(), StorageError>) + Send>,
}

pub(super) type Make =
    Box<dyn FnMut(&Transaction<'_>, &mut Rooms) -> Result<(), StorageError> + Send>;

/// The state of the writer's thread.
pub(super) struct Writer {
    db: Connection,
    rooms: Rooms,
    reserve: Reserve,
    index: Arc<SearchIndex>,
    commits: Arc<Commits>,
}

impl Writer {
    pub fn new(
        db: Connection,
        folder: &Path,
        index: Arc<SearchIndex>,
        commits: Arc<Commits>,
    ) -> Self {
        let mut reserve = Reserve {
            path: reserve(folder),
            is_made: false,
        };
        reserve.make();
        Self {
            db,
            rooms: Rooms::default(),
            reserve,
            index,
            commits,
        }
    }

    /// Stores what arrives in `waiting` and passes it to the sink, until all senders are dropped.
    pub fn run(mut self, waiting: &Receiver<Waiting>, sink: &Sink) {
        let mut later = VecDeque::new();
        while let Some(first) = later.pop_front().or_else(|| waiting.recv().ok()) {
            let mut batch = collect(first, &mut later, waiting);
            let kept = loop {
                match self.keep(&mut batch) {
                    Ok(kept) => break kept,
                    Err(e) if batch.iter().any(|of| matches!(of, Waiting::Message(_))) => {
                        // The other servers store these messages, so this one must store them too, or stop.
                        error!("cannot store what all servers store; trying again: {e}");
                        self.rooms = Rooms::default(); // some may have been rolled back
                        if e.is_full() {
                            self.make_space(&mut batch, &e);
                        }
                        let again_at = Instant::now() + AGAIN_AFTER;
                        loop {
                            let left = again_at.saturating_duration_since(Instant::now());
                            match waiting.recv_timeout(left) {
                                Ok(next @ Waiting::Change(_)) => batch.push(next), // it may free space
                                Ok(next) => later.push_back(next),
                                Err(RecvTimeoutError::Timeout) => break,
                                Err(RecvTimeoutError::Disconnected) => return,
                            }
                        }
                    }
                    Err(e) => break self.refuse(&mut batch, &e),
                }
            };
            if let Some(last) = last_stored(&batch, &kept) {
                // The index must know of the event before anybody learns that it is stored, because they may search
                // for it.
                self.index.kept(last);
            }
            let mut reports = Vec::with_capacity(batch.len());
            let mut kept = kept.into_iter();
            let mut next = || kept.next().unwrap_or(Err(StorageError::Ended));
            for waiting in batch {
                match waiting {
                    Waiting::Entry(entry, ticket, time) => {
                        reports.push(applied(entry, ticket, time, next()));
                    }
                    Waiting::Change(change) => (change.done)(next().map(drop)),
                    Waiting::Message(message) => {
                        let time = message.time;
                        for step in message.steps {
                            match step {
                                Step::Store(entry, _, ticket) => {
                                    reports.push(applied(entry, ticket, time, next()));
                                }
                                Step::Change(change) => {
                                    let shared = (change.done)(next().map(drop));
                                    let shared = shared.into_iter();
                                    reports.extend(shared.map(|it| Report::Shared(it.into())));
                                }
                                Step::Report(report) => reports.push(report),
                            }
                        }
                        drop(message.held);
                    }
                }
            }
            if !reports.is_empty() {
                sink(reports);
            }
            self.index.keep_up();
        }
    }

    /// Makes those changes of a batch that free space, in the reserved space, and removes them from the batch. They change
    /// nothing that the other messages depend on.
    fn make_space(&mut self, batch: &mut Vec<Waiting>, e: &StorageError) {
        let makes_space = |waiting: &mut Waiting| matches!(waiting, Waiting::Change(change) if change.makes_space);
        let freeing: Vec<_> = batch.extract_if(.., makes_space).collect();
        for freeing in freeing {
            let mut one = [freeing];
            let kept = self.refuse(&mut one, e).into_iter().next();
            if let [Waiting::Change(change)] = one {
                (change.done)(kept.unwrap_or(Err(StorageError::Ended)).map(drop));
            }
        }
    }

    /// Stores a batch in one transaction; returns the outcomes in the order of the batch.
    fn keep(&mut self, batch: &mut [Waiting]) -> Result<Vec<Decided>, StorageError> {
        let Self { db, rooms, .. } = self;
        let is_stored = |waiting: &Waiting| match waiting {
            Waiting::Message(message) => message.is_stored(),
            Waiting::Entry(..) | Waiting::Change(_) => true,
        };
        if !batch.iter().any(is_stored) {
            return Ok(Vec::new());
        }
        let begun = Instant::now();
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut ids = Vec::with_capacity(batch.len());
        let mut rest = batch;
        loop {
            if let Some(piece) = rest.get(..PIECE_ROWS)
                && are_only_messages(piece)
            {
                insert_piece(&step, rooms, piece, &mut ids)?;
                rest = rest.get_mut(PIECE_ROWS..).unwrap_or_default();
                continue;
            }
            let Some((first, others)) = rest.split_first_mut() else {
                break;
            };
            match first {
                Waiting::Change(change) => {
                    let make = &mut change.make;
                    ids.push(try_change(&step, rooms, make)?);
                }
                Waiting::Entry(entry, _, time) => {
                    ids.push(store(&step, rooms, entry, None, *time)?);
                }
                Waiting::Message(message) => {
                    let time = message.time;
                    for part in &mut message.steps {
                        match part {
                            Step::Store(entry, id, _) => {
                                ids.push(store(&step, rooms, entry, Some(*id), time)?);
                            }
                            Step::Change(change) => {
                                let decided = try_change(&step, rooms, &mut change.make)?;
                                // A fault of this disk must not become an outcome that the other servers do not have.
                                if let Err(e) = &decided
                                    && !e.is_outcome()
                                {
                                    return Err(e.again());
                                }
                                ids.push(decided);
                            }
                            Step::Report(_) => {}
                        }
                    }
                    if message.is_stored() {
                        replica::set_applied(&step, message.sequence)?;
                    }
                }
            }
            rest = others;
        }
        rooms.set_last_ids(&step)?;
        step.commit()?;
        self.commits.add(begun.elapsed());
        self.reserve.make();
        Ok(ids)
    }

    /// Refuses a batch that could not be stored. If the reason is a full disk, entries that free space are stored
    /// even so, in the reserved space.
    fn refuse(&mut self, batch: &mut [Waiting], e: &StorageError) -> Vec<Decided> {
        error!("cannot store messages: {e}");
        self.rooms = Rooms::default(); // some may have been rolled back
        let mut kept = Vec::with_capacity(batch.len());
        for step in batch {
            let makes_space = match step {
                Waiting::Entry(entry, ..) => {
                    matches!(entry.kind, EventKind::Remove(..) | EventKind::DeleteRoom(_))
                }
                Waiting::Change(change) => change.makes_space,
                Waiting::Message(_) => false,
            };
            let ids = if makes_space && e.is_full() {
                self.reserve.spend();
                self.keep(std::slice::from_mut(step)).ok()
            } else {
                None
            };
            kept.push(
                ids.and_then(|ids| ids.into_iter().next())
                    .unwrap_or_else(|| Err(e.again())),
            );
        }
        kept
    }
}

/// Returns `first`, which was taken from the queue already, and the waiting items that fit into the same transaction:
/// those in `later` first.
fn collect(
    first: Waiting,
    later: &mut VecDeque<Waiting>,
    waiting: &Receiver<Waiting>,
) -> Vec<Waiting> {
    let mut events = first.events();
    let mut batch = vec![first];
    while events < BATCH_EVENTS
        && let Some(next) = later.pop_front().or_else(|| waiting.try_recv().ok())
    {
        events += next.events();
        batch.push(next);
    }
    batch
}

/// Returns the id of the last event of a batch that was just stored; `None` if there is none.
fn last_stored(batch: &[Waiting], kept: &[Decided]) -> Option<i64> {
    let mut last = None;
    let mut kept = kept.iter();
    let mut look = |entry: Option<&Entry>| {
        if let (Some(entry), Some(Ok(Stored::New(first) | Stored::Withheld(first)))) =
            (entry, kept.next())
        {
            last = Some(number(first.get()) + entry.events() as i64 - 1);
        }
    };
    for waiting in batch {
        match waiting {
            Waiting::Entry(entry, ..) => look(Some(entry)),
            Waiting::Change(_) => look(None),
            Waiting::Message(message) => {
                for step in &message.steps {
                    match step {
                        Step::Store(entry, ..) => look(Some(entry)),
                        Step::Change(_) => look(None),
                        Step::Report(_) => {}
                    }
                }
            }
        }
    }
    last
}

/// Returns the report on an entry.
fn applied(entry: Arc<Entry>, ticket: Option<Ticket>, time: Time, kept: Decided) -> Report {
    Report::Applied(Applied {
        entry,
        is_repeat: matches!(kept, Ok(Stored::Before(..) | Stored::Unchanged)),
        is_withheld: matches!(kept, Ok(Stored::Withheld(_))),
        outcome: match kept {
            Ok(Stored::Nothing | Stored::Unchanged) => Ok((None, time)),
            Ok(Stored::New(id) | Stored::Withheld(id)) => Ok((Some(id), time)),
            Ok(Stored::Before(id, time)) => Ok((Some(id), time)),
            Err(e) => Err(e.code()),
        },
        ticket,
    })
}

/// Stores an entry. Its first event gets the given id or, without one, the next id.
fn store(
    step: &Transaction<'_>,
    rooms: &mut Rooms,
    entry: &mut Arc<Entry>,
    id: Option<EventId>,
    time: Time,
) -> Result<Decided, StorageError> {
    if let (Scope::Room(room), EventKind::DeleteRoom(_)) = (&entry.scope, &entry.kind) {
        let files = deletion::delete(step, room)?;
        Arc::make_mut(entry).kind = EventKind::DeleteRoom(files);
        rooms.forget_numbers();
        return Ok(Ok(Stored::Nothing));
    }
    Ok(match RoomKey::of(entry) {
        None if entry.tags.reply().is_some() => Err(StorageError::NoSuchId),
        None => Ok(Stored::Nothing),
        Some(row) => decide(step, rooms, &row, entry, id, time)?,
    })
}

/// Makes a change, or undoes it if it fails. Returns an error if the whole transaction is lost.
fn try_change(
    step: &Transaction<'_>,
    rooms: &mut Rooms,
    make: &mut Make,
) -> Result<Decided, StorageError> {
    step.execute_batch("SAVEPOINT change")?;
    let made = make(step, rooms);
    let Err(e) = made else {
        step.execute_batch("RELEASE change")?;
        return Ok(Ok(Stored::Nothing));
    };
    rooms.forget_numbers();
    // On a full disk, SQLite may have undone the whole transaction.
    if step.is_autocommit() || e.is_full() {
        return Err(e);
    }
    step.execute_batch("ROLLBACK TO change; RELEASE change")?;
    Ok(Err(e))
}

/// The outcome of an entry or a change, or the reason why it failed.
type Decided = Result<Stored, StorageError>;

#[derive(Clone, Copy, Debug)]
enum Stored {
    /// The item has no id: it is a change, or an entry of a kind that is not logged.
    Nothing,
    /// The entry is stored under this id. The further lines of a text have the ids that follow.
    New(EventId),
    /// The item is stored under this id, but the recipient of the direct message must not receive it.
    Withheld(EventId),
    /// The entry is not stored, because an earlier entry of the same author has the same nonce. The id and time are
    /// those of that entry.
    Before(EventId, Time),
    /// The entry is not stored, because it would change nothing.
    Unchanged,
}

/// Reserved disk space, so that a removal can be stored when the disk is full.
struct Reserve {
    path: PathBuf,
    is_made: bool,
}

fn reserve(folder: &Path) -> PathBuf {
    folder.join("reserve")
}

/// Releases the reserved space of a folder. Returns whether there was any.
pub(super) fn spend_reserve(folder: &Path) -> bool {
    std::fs::remove_file(reserve(folder)).is_ok()
}

/// The size of the reserve in bytes. It is enough for a few transactions of some pages each; removing the first file
/// frees more.
const RESERVE_BYTES: usize = 512 << 10;

impl Reserve {
    /// Reserves the space, if the disk has it.
    fn make(&mut self) {
        if self.is_made {
            return;
        }
        let is_there =
            std::fs::metadata(&self.path).is_ok_and(|file| file.len() == RESERVE_BYTES as u64);
        private::tighten(&self.path);
        let make = || {
            let mut file = private::open_file(&self.path)?;
            file.write_all(&vec![0; RESERVE_BYTES])
        };
        self.is_made = is_there || make().is_ok();
        if !self.is_made {
            self.spend();
        }
    }

    fn spend(&mut self) {
        let _ = std::fs::remove_file(&self.path); // it may not exist
        self.is_made = false;
    }
}

/// Returns whether a message or file has been removed or has never existed.
fn is_removed(step: &Transaction<'_>, id: EventId) -> rusqlite::Result<bool> {
    let there = "SELECT 1 FROM events e WHERE id = ?1 AND
        CASE verb WHEN 'FILE' THEN EXISTS (SELECT 1 FROM files WHERE id = e.id) ELSE tags <> 'removed' END";
    Ok(!step.prepare_cached(there)?.exists([number(id.get())])?)
}

/// Returns whether a file is complete.
fn is_complete(step: &Transaction<'_>, id: EventId) -> rusqlite::Result<bool> {
    let complete = "SELECT 1 FROM files WHERE id = ?1 AND sha256 NOTNULL";
    step.prepare_cached(complete)?.exists([number(id.get())])
}

/// A row of `events`. It has the given id or, without one, gets the next id.
pub(super) struct EventRow<'a> {
    pub id: Option<i64>,
    pub time: Time,
    pub verb: &'static str,
    pub nick: &'a str,
    pub text: &'a str,
    pub tags: &'a str,
}

/// Stores an entry, unless its author has already sent an entry with the same nonce, or it refers to a message or
/// file that does not exist.
fn decide(
    step: &Transaction<'_>,
    rooms: &mut Rooms,
    row: &RoomKey<'_>,
    entry: &Entry,
    id: Option<EventId>,
    time: Time,
) -> rusqlite::Result<Decided> {
    let nonce = nonces::Key::of(entry);
    if let Some(key) = &nonce
        && let Some((id, time)) = nonces::find(step, key, time)?
    {
        return Ok(Ok(Stored::Before(id, time)));
    }
    let is_here = |id| is_readable(step, row, &entry.scope, id);
    if let Some(id) = entry.tags.reply()
        && !is_here(id)?
    {
        return Ok(Err(StorageError::NoSuchId));
    }
    match &entry.kind {
        // Two users may remove a file at the same time, but its bytes must be released only once. A live file that
        // was removed does not become complete.
        EventKind::Remove(id, _) | EventKind::Stored(id, _) if is_removed(step, *id)? => {
            return Ok(Err(StorageError::NoSuchFile));
        }
        // The upload is complete by now. A removal must name the contents that it releases.
        EventKind::Remove(id, removed) if removed.is_live() && is_complete(step, *id)? => {
            return Ok(Err(StorageError::Conflict));
        }
        EventKind::Edit(id) if !is_here(*id)? || !amend::is_own(step, entry, *id)? => {
            return Ok(Err(StorageError::NoSuchId));
        }
        EventKind::React(reaction) if !is_here(reaction.to)? || is_removed(step, reaction.to)? => {
            return Ok(Err(StorageError::NoSuchId));
        }
        EventKind::React(reaction) => match amend::react(step, entry.author(), reaction)? {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(Stored::Unchanged)),
            Err(e) => return Ok(Err(e)),
        },
        _ => {}
    }
    let id = insert(step, rooms, row, entry, id, time)?;
    if let Some(key) = &nonce {
        nonces::add(step, key, id, time)?;
    }
    if let Scope::Inbox(message) = &entry.scope
        && entry.concerns().is_some()
        && !inbox::contains(step, &message.to, number(id.get()))?
    {
        return Ok(Ok(Stored::Withheld(id)));
    }
    Ok(Ok(Stored::New(id)))
}

/// Returns whether the room, or the conversation of the two nicks, contains a message or file with the id `id`.
fn is_readable(
    step: &Transaction<'_>,
    row: &RoomKey<'_>,
    scope: &Scope,
    id: EventId,
) -> rusqlite::Result<bool> {
    let id = number(id.get());
    match scope {
        Scope::Room(_) => step
            .prepare_cached(
                "SELECT 1 FROM events e JOIN rooms r ON r.id = e.room
                 WHERE e.id = ?1 AND r.form = ?2 AND e.verb IN ('MSG', 'ME', 'FILE')",
            )?
            .exists(params![id, row.form]),
        Scope::Inbox(message) => step
            .prepare_cached(
                "SELECT 1 FROM told a JOIN told b ON b.id = a.id JOIN events e ON e.id = a.id
                 WHERE a.id = ?1 AND a.nick = ?2 AND b.nick = ?3 AND e.verb IN ('MSG', 'ME', 'FILE')",
            )?
            .exists(params![
                id,
                message.by.casefolded(),
                message.to.casefolded()
            ]),
        Scope::Unsaved(_) => Ok(false),
    }
}

fn insert(
    step: &Transaction<'_>,
    rooms: &mut Rooms,
    row: &RoomKey<'_>,
    entry: &Entry,
    id: Option<EventId>,
    time: Time,
) -> rusqlite::Result<EventId> {
    if matches!(entry.kind, EventKind::Text) {
        let mut next = id;
        let first = entry.each_line(|line| {
            let stored = insert(step, rooms, row, &line, next, time)?;
            next = next.and_then(|id| EventId::new(id.get() + 1));
            Ok::<_, rusqlite::Error>(Some(stored))
        })?;
        return first.ok_or(rusqlite::Error::QueryReturnedNoRows);
    }
    let (verb, nick, text) = columns(entry);
    let event_row = EventRow {
        id: id.map(|id| number(id.get())),
        time,
        verb,
        nick,
        text: &text,
        tags: entry.tags.kept(),
    };
    let (id, room) = insert_event(step, rooms, row, &event_row)?;
    if let Scope::Inbox(message) = &entry.scope {
        inbox::insert(step, id, message, entry.concerns())?;
    }
    match &entry.kind {
        EventKind::Msg | EventKind::Me | EventKind::Text => {}
        EventKind::Topic => set_topic(step, room, &text)?,
        EventKind::File(file) => {
            let sql =
                "INSERT INTO files (id, room, length, sha256, name) VALUES (?1, ?2, ?3, ?4, ?5)";
            step.prepare_cached(sql)?.execute(params![
                id,
                room,
                file.contents.map(|contents| number(contents.length)),
                file.contents.map(|contents| contents.sha256.0),
                file.name.as_str()
            ])?;
        }
        EventKind::Stored(file, contents) => {
            step.prepare_cached("UPDATE files SET length = ?2, sha256 = ?3 WHERE id = ?1")?
                .execute(params![
                    number(file.get()),
                    number(contents.length),
                    contents.sha256.0
                ])?;
        }
        EventKind::Remove(removed, _) => remove(step, *removed)?,
        EventKind::Edit(edited) => amend::edit(step, *edited, id, entry.text(), time)?,
        EventKind::React(_) => {}      // it is stored already
        EventKind::DeleteRoom(_) => {} // it is no event
    }
    event_id(id).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, id))
}

/// The row numbers of rooms by the comparison forms of their names, and the last event of each room that has new
/// events in this transaction.
#[derive(Default)]
pub(crate) struct Rooms {
    numbers: HashMap<Box<str>, i64>,
    last_ids: HashMap<i64, i64>,
}

impl Rooms {
    /// Returns the row number of a room. If the room has no row, creates it.
    fn number(&mut self, step: &Transaction<'_>, row: &RoomKey<'_>) -> rusqlite::Result<i64> {
        let form: &str = &row.form;
        if let Some(room) = self.numbers.get(form) {
            return Ok(*room);
        }
        // A removed room may have had the same name. If so, its events count as forgotten (see `read::read`).
        step.prepare_cached(
            "INSERT OR IGNORE INTO rooms (form, name, forgotten) SELECT ?1, ?2, -id FROM gone",
        )?
        .execute([form, row.name])?;
        let room = step
            .prepare_cached("SELECT id FROM rooms WHERE form = ?1")?
            .query_row([form], |row| row.get(0))?;
        self.numbers.insert(form.into(), room);
        Ok(room)
    }

    /// Forgets the row numbers of rooms, because some of the rooms may have been removed.
    pub fn forget_numbers(&mut self) {
        self.numbers.clear();
    }

    /// Stores the last event of each room. This is done once for each transaction, before its commit.
    pub fn set_last_ids(&mut self, step: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut set = step.prepare_cached("UPDATE rooms SET last_id = ?1 WHERE id = ?2")?;
        for (room, id) in self.last_ids.drain() {
            set.execute([id, room])?;
        }
        Ok(())
    }
}

/// The number of events that one statement inserts. An event takes 2.0 µs in such a statement, and 3.2 µs in a
/// statement of its own.
const PIECE_ROWS: usize = 16;

static INSERT_PIECE: LazyLock<String> = LazyLock::new(|| {
    let rows = ["(?, ?, ?, ?, ?)"; PIECE_ROWS].join(", ");
    format!("INSERT INTO events (room, time, verb, nick, text) VALUES {rows}")
});

/// Returns the verb, nick and text of an event as they are stored. The text is everything after the nick in the
/// event's line. The id of a file is left out, because it is the event's own.
fn columns(entry: &Entry) -> (&'static str, &str, Cow<'_, str>) {
    let author = entry.author();
    match &entry.kind {
        EventKind::Msg | EventKind::Text => ("MSG", author, entry.text().into()),
        EventKind::Me => ("ME", author, entry.text().into()),
        EventKind::Topic => ("TOPIC", author, entry.text().into()),
        EventKind::Remove(id, _) => ("REMOVE", author, id.to_string().into()),
        EventKind::Edit(id) => ("EDIT", author, format!("{id} {}", entry.text()).into()),
        EventKind::React(reaction) => {
            let verb = if reaction.is_withdrawn {
                "UNREACT"
            } else {
                "REACT"
            };
            (
                verb,
                author,
                format!("{} {}", reaction.to, reaction.emoji).into(),
            )
        }
        EventKind::File(file) => ("FILE", author, file.described().into()),
        EventKind::Stored(id, contents) => {
            let text = format!("{id} {} {}", contents.length, contents.sha256);
            ("STORED", author, text.into())
        }
        EventKind::DeleteRoom(_) => ("", author, "".into()), // it is no event
    }
}

/// Returns whether every item is an entry that needs only its row of `events`.
fn are_only_messages(piece: &[Waiting]) -> bool {
    piece.iter().all(|waiting| match waiting {
        Waiting::Entry(entry, ..) => {
            let is_message = matches!(entry.kind, EventKind::Msg | EventKind::Me);
            is_message && entry.room().is_some() && entry.tags.is_empty()
        }
        Waiting::Change(_) | Waiting::Message(_) => false,
    })
}

/// Inserts a piece of [`PIECE_ROWS`] events with one statement, and adds their ids to `ids`.
fn insert_piece(
    step: &Transaction<'_>,
    rooms: &mut Rooms,
    piece: &[Waiting],
    ids: &mut Vec<Decided>,
) -> rusqlite::Result<()> {
    let mut numbers = [0; PIECE_ROWS];
    let entries = || {
        piece.iter().filter_map(|waiting| match waiting {
            Waiting::Entry(entry, _, time) => Some((entry, time)),
            Waiting::Change(_) | Waiting::Message(_) => None,
        })
    };
    for (number, (entry, _)) in numbers.iter_mut().zip(entries()) {
        if let Some(room) = entry.room() {
            *number = rooms.number(step, &RoomKey::of_room(room))?;
        }
    }
    let mut insert = step.prepare_cached(&INSERT_PIECE)?;
    let mut place = 1..;
    let mut next = || place.next().unwrap_or_default();
    for (room, (entry, time)) in numbers.iter().zip(entries()) {
        let (verb, nick, text) = columns(entry);
        insert.raw_bind_parameter(next(), room)?;
        insert.raw_bind_parameter(next(), number(time.0))?;
        insert.raw_bind_parameter(next(), verb)?;
        insert.raw_bind_parameter(next(), nick)?;
        insert.raw_bind_parameter(next(), text)?;
    }
    insert.raw_execute()?;
    // Only this thread writes, so the ids are consecutive.
    let first = step.last_insert_rowid() - piece.len() as i64 + 1;
    for (id, room) in (first..).zip(numbers) {
        rooms.last_ids.insert(room, id);
        let id = event_id(id).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, id))?;
        ids.push(Ok(Stored::New(id)));
    }
    Ok(())
}

/// Inserts an event, and its room if the room is new. Returns the row number of the event, and that of the room.
pub(super) fn insert_event(
    step: &Transaction<'_>,
    rooms: &mut Rooms,
    row: &RoomKey<'_>,
    event_row: &EventRow<'_>,
) -> rusqlite::Result<(i64, i64)> {
    let room = rooms.number(step, row)?;
    let sql = "INSERT INTO events (id, room, time, verb, nick, text, tags) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    step.prepare_cached(sql)?.execute(params![
        event_row.id,
        room,
        number(event_row.time.0),
        event_row.verb,
        event_row.nick,
        event_row.text,
        event_row.tags
    ])?;
    let id = step.last_insert_rowid();
    rooms.last_ids.insert(room, id);
    Ok((id, room))
}

pub(super) fn set_topic(step: &Transaction<'_>, room: i64, text: &str) -> rusqlite::Result<()> {
    step.prepare_cached("UPDATE rooms SET topic = ?1 WHERE id = ?2")?
        .execute(params![text, room])?;
    Ok(())
}

/// Removes a message or file. Its row is kept, with `-` instead of the text and `removed` instead of the tags. If it is
/// the first line of a text, the other lines are removed too.
pub(super) fn remove(step: &Transaction<'_>, removed: EventId) -> rusqlite::Result<()> {
    let mut tags = step.prepare_cached("SELECT tags FROM events WHERE id = ?1")?;
    let mut tags_of = |id: u64| {
        let tags = tags.query_row([number(id)], |row| row.get::<_, String>(0));
        tags.optional().map(Option::unwrap_or_default)
    };
    let first = removed.get();
    let lines = text_lines(&tags_of(first)?).unwrap_or(1);
    for id in first + 1..first + lines {
        if text_of(&tags_of(id)?) == Some(removed) {
            remove_one(step, number(id))?;
        }
    }
    remove_one(step, number(first))
}

fn remove_one(step: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    amend::forget(step, id)?;
    step.prepare_cached("DELETE FROM files WHERE id = ?1")?
        .execute([id])?;
    step.prepare_cached(
        "UPDATE events SET text = CASE verb WHEN 'FILE' THEN substr(text, 1, instr(text, ' ')) || '-' ELSE '-' END,
         tags = 'removed', edited = NULL, reacts = '' WHERE id = ?1 AND verb IN ('MSG', 'ME', 'FILE')",
    )?
    .execute([id])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::{BATCH_EVENTS, VecDeque, Waiting, collect};
    use crate::log::sqlite::SqliteLog;
    use crate::log::{Log, Span};
    use crate::model::{Entry, EventKind, Report, Scope};
    use crate::protocol::{RoomName, Time};

    #[test]
    fn a_transaction_exceeds_its_limit_by_at_most_one_text() {
        let (tell, waiting) = channel();
        let room = RoomName::parse("#tea").unwrap();
        let entry = |kind, text: &str| {
            let scope = Scope::Room(room.clone().into());
            Waiting::Entry(Entry::new(scope, kind, "ann", text).into(), None, Time(1))
        };
        let long = ["x"; BATCH_EVENTS].join("\n");
        for _ in 0..2 {
            tell.send(entry(EventKind::Msg, "x")).unwrap();
            tell.send(entry(EventKind::Text, &long)).unwrap();
        }
        for _ in 0..2 {
            let first = waiting.recv().unwrap();
            let batch = collect(first, &mut VecDeque::new(), &waiting);
            assert_eq!(batch.len(), 2);
        }
    }

    #[test]
    fn events_of_one_batch_have_their_own_id_room_and_text() {
        let folder = tempfile::tempdir().unwrap();
        let (tell, outcomes) = channel();
        let sink = move |batch: Vec<Report>| {
            for applied in batch.into_iter().filter_map(Report::applied) {
                tell.send((applied.entry.text().to_owned(), applied.outcome))
                    .unwrap();
            }
        };
        let log = SqliteLog::open(folder.path(), Box::new(sink)).unwrap();
        let rooms = ["#one", "#two", "#three"].map(|room| RoomName::parse(room).unwrap());
        let events = 2000;
        for n in 1..=events {
            let kind = match n % 29 {
                0 => EventKind::Topic,
                1..15 => EventKind::Msg,
                _ => EventKind::Me,
            };
            let scope = Scope::Room(rooms[n % 3].clone().into());
            let entry = Entry::new(scope, kind, "ann", &n.to_string());
            let known = log.append(entry.into(), None, Time(n as u64));
            assert!(known.is_none());
        }
        for n in 1..=events {
            let (body, outcome) = outcomes.recv().unwrap();
            let (id, time) = outcome.unwrap();
            assert_eq!((body, time), (n.to_string(), Time(n as u64)));
            assert_eq!(id.unwrap().get(), n as u64);
        }
        let span = Span {
            after: 0,
            up_to: events as u64,
        };
        for (number, room) in rooms.iter().enumerate() {
            let past = log.read(room, span, events, usize::MAX).unwrap();
            let lines = (1..=events).filter(|n| n % 3 == number).map(|n| {
                let verb = match n % 29 {
                    0 => "TOPIC",
                    1..15 => "MSG",
                    _ => "ME",
                };
                (n as u64, format!("{verb} {room} ann {n}"))
            });
            let found = past
                .records
                .into_iter()
                .map(|past| (past.id.get(), past.line));
            assert!(lines.eq(found), "{room}");
        }
    }
}
