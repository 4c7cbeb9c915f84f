//! The commands that work on a data folder, whether or not a server is running: `chatd check`, `export`, `import`,
//! `backup` and `keys`.
//!
//! `export`, `backup` and `keys` only read, and may run while a server uses the folder. `import` and `check --repair`
//! change it, and refuse to run while a server uses it. This module knows no sockets.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::accounts::Accounts;
use crate::accounts::sqlite::SqliteBuckets;
use crate::files::private;
use crate::log::sqlite::{Imported, ImportedTo, SqliteLog};
use crate::log::{self, Log, Record, Span};
use crate::model::{DirectMessage, FileContents, StorageError};
use crate::protocol::ssh::PublicKey;
use crate::protocol::{Digest, Event, EventId, Nick, RoomName, ServerLine};

/// Why a command failed; `Display` is one line for the user.
#[derive(Debug)]
pub enum Error {
    /// The folder holds no log, or a server is using it.
    Log(PathBuf, StorageError),
    /// A file in the folder cannot be read or written.
    Io(PathBuf, io::Error),
    /// Reading the input or writing the output failed.
    Stream(io::Error),
    /// A line of the input is not a `PAST` line. The number is that of the line, counted from 1.
    Line(usize),
    /// There is no such room.
    NoSuchRoom(RoomName),
    /// A backup with this name was interrupted, or is in progress.
    Interrupted(PathBuf),
    /// The folder is a copy of a chat that several servers share, so it must not be changed alone.
    Shared(PathBuf),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(path, e) => write!(f, "cannot use {}: {e}", path.display()),
            Self::Io(path, e) => write!(f, "cannot use {}: {e}", path.display()),
            Self::Stream(e) => write!(f, "cannot read the input or write the output: {e}"),
            Self::Line(number) => write!(
                f,
                "line {number} of the input is not a PAST line; nothing was imported"
            ),
            Self::NoSuchRoom(room) => write!(f, "there is no room {room}"),
            Self::Interrupted(path) => write!(
                f,
                "{} exists, so another backup is running or was interrupted; if none is running, delete it first",
                path.display()
            ),
            Self::Shared(path) => write!(
                f,
                "{} belongs to a chat of several servers, which this would change in one of them only (chatd cluster leave)",
                path.display()
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Log(_, e) => Some(e),
            Self::Io(_, e) | Self::Stream(e) => Some(e),
            Self::Line(_) | Self::NoSuchRoom(_) | Self::Interrupted(_) | Self::Shared(_) => None,
        }
    }
}

/// The maximum number of events that are read at once.
const PIECE_EVENTS: usize = 1000;

fn open(folder: &Path) -> Result<SqliteLog, Error> {
    SqliteLog::open_beside(folder).map_err(|e| Error::Log(folder.to_owned(), e))
}

/// Returns the nicks that have added this ssh key. Changes nothing in the folder, and does not even migrate the log.
///
/// # Errors
/// When the folder cannot be read, or an older version wrote it.
pub fn nicks_of_key(folder: &Path, key: &PublicKey) -> Result<Vec<Nick>, Error> {
    let buckets = SqliteBuckets::new(Arc::new(SqliteLog::open_unchanged(folder)));
    let accounts = Accounts::new(Arc::new(buckets), None);
    let nicks = accounts.nicks_of_key(key);
    nicks.map_err(|e| Error::Log(folder.to_owned(), e))
}

/// Writes the log of one room as `PAST` lines, oldest first. With `None`, writes the log of every room, and then the
/// stored direct messages.
///
/// # Errors
/// When the log or the room does not exist, or the output fails.
pub fn export(folder: &Path, room: Option<&RoomName>, out: &mut impl Write) -> Result<(), Error> {
    let log = open(folder)?;
    let failed = |e| Error::Log(folder.to_owned(), e);
    let mut rooms = log.rooms().map_err(failed)?;
    let mut write = |records: &[Record]| {
        records.iter().try_for_each(|record| {
            let Record { id, time, line, .. } = record;
            let tags = match &*record.tags {
                "" => String::new(),
                tags => format!("@{tags} "),
            };
            writeln!(out, "PAST {id} {time} {tags}{line}").map_err(Error::Stream)
        })
    };
    if let Some(room) = room {
        rooms.retain(|row| row.name.casefolded() == room.casefolded());
        if rooms.is_empty() {
            return Err(Error::NoSuchRoom(room.clone()));
        }
    }
    for row in rooms {
        let mut span = Span {
            after: 0,
            up_to: EventId::MAX.get(),
        };
        loop {
            let past = log
                .read(&row.name, span, PIECE_EVENTS, usize::MAX)
                .map_err(failed)?;
            let Some(last) = past.records.last() else {
                break;
            };
            span.after = last.id.get();
            write(&past.records)?;
        }
    }
    let mut last_id = 0;
    while room.is_none() {
        let records = log.all_inboxes(last_id, PIECE_EVENTS).map_err(failed)?;
        let Some(last) = records.last() else {
            break;
        };
        last_id = last.id.get();
        write(&records)?;
    }
    out.flush().map_err(Error::Stream)
}

/// Imports `PAST` lines into the log of a folder that no server uses, and returns the number of imported events. If a
/// line is invalid, nothing is imported.
///
/// The events keep their ids if these are greater than every id in the log; otherwise they get new ones. A `PAST`
/// line does not contain the bytes of a file, so an imported file counts as removed. Accounts are not imported: an
/// imported direct message can be read only by nicks that are registered in this folder.
///
/// # Errors
/// When a line is not a `PAST` line, or the log cannot be written.
pub fn import(folder: &Path, input: impl Read) -> Result<usize, Error> {
    let mut events = Vec::new();
    for (n, line) in BufReader::new(input).lines().enumerate() {
        let line = line.map_err(Error::Stream)?;
        // Windows ends a line with CR LF; the last LF of the input may be missing.
        let line = line.trim_end_matches('\r');
        if line.is_empty() {
            continue;
        }
        events.push(imported(line).ok_or(Error::Line(n + 1))?);
    }
    // An export lists one room after the other. Sorting by id restores the order in which the events were sent.
    events.sort_by_key(|event| event.id);
    let count = events.len();
    refuse_shared(folder)?;
    SqliteLog::import(folder, events).map_err(|e| Error::Log(folder.to_owned(), e))?;
    Ok(count)
}

/// Refuses a folder that belongs to a chat of several servers.
fn refuse_shared(folder: &Path) -> Result<(), Error> {
    let position = SqliteLog::open_beside(folder).and_then(|log| log.position());
    match position {
        Ok(Some(_)) => Err(Error::Shared(folder.to_owned())),
        _ => Ok(()), // if there is no log, or it cannot be read, the caller says so
    }
}

fn imported(line: &str) -> Option<Imported> {
    let ServerLine::Past {
        id,
        time,
        tags,
        event,
    } = ServerLine::parse(line)
    else {
        return None;
    };
    let place = match &event {
        Event::Msg { to: place, .. }
        | Event::Edit { to: place, .. }
        | Event::React { to: place, .. }
        | Event::Unreact { to: place, .. }
        | Event::Remove { room: place, .. }
        | Event::File { room: place, .. }
        | Event::Stored { room: place, .. }
            if !place.starts_with('#') =>
        {
            // Both nicks must be names that can be registered. Otherwise nobody could read or export the message.
            ImportedTo::Inbox(DirectMessage {
                by: Nick::parse(event.nick()).ok()?,
                to: Nick::parse(place).ok()?,
            })
        }
        event => ImportedTo::Room(RoomName::parse(event.place()).ok()?),
    };
    let nick = event.nick().to_owned();
    let (verb, text) = match &event {
        Event::Msg { text, .. } => ("MSG", text.to_string()),
        Event::Me { text, .. } => ("ME", text.to_string()),
        Event::Topic { text, .. } => ("TOPIC", text.to_string()),
        Event::Remove { id, .. } => ("REMOVE", id.to_string()),
        Event::Edit { id, text, .. } => ("EDIT", format!("{id} {text}")),
        Event::React { id, emoji, .. } => ("REACT", format!("{id} {emoji}")),
        Event::Unreact { id, emoji, .. } => ("UNREACT", format!("{id} {emoji}")),
        Event::File { length, name, .. } => {
            let length = length.map_or_else(|| "*".into(), |length| length.to_string());
            ("FILE", format!("{length} {name}"))
        }
        Event::Stored {
            file,
            length,
            sha256,
            ..
        } => {
            let sha256 = Digest::parse(sha256)?;
            ("STORED", format!("{file} {length} {sha256}"))
        }
        Event::Join { .. }
        | Event::Part { .. }
        | Event::Nick { .. }
        | Event::Note { .. }
        | Event::Away { .. }
        | Event::Invite { .. }
        | Event::Seen { .. } => return None,
    };
    Some(Imported {
        id,
        time,
        place,
        verb,
        nick,
        text,
        tags: tags.to_owned(),
    })
}

/// A fault in a data folder; `Display` is one line for its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The database is damaged.
    Database(String),
    /// The bytes of a file are missing.
    Missing(EventId, String),
    /// The stored bytes of a file differ from those that were received.
    Damaged(EventId, String),
    /// A stored file to which no event refers.
    Stray(PathBuf),
    /// The remains of an interrupted upload.
    Partial(PathBuf),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(what) => write!(f, "database: {what}"),
            Self::Missing(id, name) => write!(f, "file {id} ({name}): its bytes are missing"),
            Self::Damaged(id, name) => write!(f, "file {id} ({name}): its bytes are damaged"),
            Self::Stray(path) => write!(f, "{}: belongs to no file", path.display()),
            Self::Partial(path) => write!(
                f,
                "{}: left over from an interrupted upload",
                path.display()
            ),
        }
    }
}

/// Checks everything in a data folder: the database, and the length and digest of every file.
///
/// With `repair`, damaged files are removed from the log's list of files and their bytes are moved to `damaged`.
/// Stray and partial files are deleted, and the search index is rebuilt when a server starts next.
///
/// # Errors
/// When the folder cannot be read. With `repair`, also when a server is using the folder.
pub fn check(folder: &Path, repair: bool) -> Result<Vec<Fault>, Error> {
    if repair {
        refuse_shared(folder)?;
    }
    let failed = |e| Error::Log(folder.to_owned(), e);
    let _lock = if repair {
        Some(log::sqlite::lock(folder).map_err(failed)?)
    } else {
        None
    };
    let log = open(folder)?;
    let mut faults: Vec<Fault> = log
        .faults()
        .map_err(failed)?
        .into_iter()
        .map(Fault::Database)
        .collect();
    let kept = folder.join("files");
    let mut known = HashSet::new();
    for (id, name, contents) in log.all_files().map_err(failed)? {
        let path = kept.join(contents.sha256.to_string());
        known.insert(contents.sha256);
        let fault = match sum(&path) {
            Ok(found) if found == contents => continue,
            Ok(_) => Fault::Damaged(id, name),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Fault::Missing(id, name),
            Err(e) => return Err(Error::Io(path, e)),
        };
        if repair {
            log.give_up(id).map_err(failed)?;
            if path.exists() {
                let aside = folder.join("damaged");
                let moved = fs::create_dir_all(&aside)
                    .and_then(|()| fs::rename(&path, aside.join(contents.sha256.to_string())));
                moved.map_err(|e| Error::Io(path, e))?;
            }
        }
        faults.push(fault);
    }
    for path in list(&kept)? {
        let digest = path
            .file_name()
            .and_then(|name| Digest::parse(name.to_str()?));
        if digest.is_some_and(|digest| !known.contains(&digest)) {
            faults.push(Fault::Stray(path));
        }
    }
    for path in list(&folder.join("incoming"))? {
        if path.extension().is_some_and(|end| end == "partial") {
            faults.push(Fault::Partial(path));
        }
    }
    if repair {
        for fault in &faults {
            if let Fault::Stray(path) | Fault::Partial(path) = fault {
                fs::remove_file(path).map_err(|e| Error::Io(path.clone(), e))?;
            }
        }
        log.forget_words().map_err(failed)?;
    }
    Ok(faults)
}

/// Copies a snapshot of a data folder to a new folder. A server may be using the data folder meanwhile. Files that the
/// server removes during the copy may be missing from the copy; `check` names them.
///
/// The copy is made in `<to>.part` and renamed once everything is synced, so an interrupted copy is never mistaken
/// for a complete one.
///
/// # Errors
/// When `to` already exists, or the copy cannot be written.
pub fn backup(folder: &Path, to: &Path) -> Result<(), Error> {
    let log = open(folder)?;
    if to.symlink_metadata().is_ok() {
        return Err(Error::Io(
            to.to_owned(),
            io::ErrorKind::AlreadyExists.into(),
        ));
    }
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    if part.symlink_metadata().is_ok() {
        return Err(Error::Interrupted(part));
    }
    let copied = copy(&log, folder, &part).and_then(|()| {
        let moved = fs::rename(&part, to).and_then(|()| {
            let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
            sync(parent.unwrap_or(Path::new(".")))
        });
        moved.map_err(|e| Error::Io(to.to_owned(), e))
    });
    if copied.is_err() {
        let _ = fs::remove_dir_all(&part); // the error to report is the first one
    }
    copied
}

/// Copies the folder's contents to `to` and syncs them, but not the directory that holds `to`.
fn copy(log: &SqliteLog, folder: &Path, to: &Path) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |e| Error::Io(path, e)
    };
    let broken = |e| Error::Log(to.to_owned(), e);
    private::make_folder(to).map_err(failed(to))?;
    let database = to.join("chat.db");
    log.copy(&database).map_err(broken)?;
    sync(&database).map_err(failed(&database))?;
    let kept = to.join("files");
    private::make_folder(&kept).map_err(failed(&kept))?;
    // Stored files never change, so it is safe to copy them after the log that names them.
    let copied = SqliteLog::open_beside(to).map_err(broken)?;
    let files = copied.all_files().map_err(broken)?;
    drop(copied);
    for (_, _, contents) in files {
        let name = contents.sha256.to_string();
        let (from, to) = (folder.join("files").join(&name), kept.join(&name));
        match fs::copy(&from, &to).and_then(|_| sync(&to)) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::Io(from, e)),
        }
    }
    for path in [&kept, to] {
        sync(path).map_err(failed(path))?;
    }
    Ok(())
}

/// Syncs a file or a folder to the disk.
fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::Io(folder.to_owned(), e)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths
        .collect::<Result<_, _>>()
        .map_err(|e| Error::Io(folder.to_owned(), e))
}

/// Returns the length and digest of a file's contents.
fn sum(path: &Path) -> io::Result<FileContents> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let length = io::copy(&mut file, &mut HashWriter(&mut hash))?;
    Ok(FileContents {
        length,
        sha256: Digest(hash.finalize().into()),
    })
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
