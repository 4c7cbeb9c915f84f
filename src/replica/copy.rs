//! Copies of a replica. A server begins with one if the log no longer has what it needs: a new server, or one that was away
//! for too long. Another server makes the copy, and sends it in pieces as messages of NATS that are not logged. Files are
//! not in it; they are copied later.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::mem;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_io::Timer;
use rustix::fs::statvfs;
use tracing::{info, warn};

use super::driver::random;
use super::{COPY, Error, Settings, leads_on, stream};
use crate::cluster::nats::{Handle, Headers, JetStream};
use crate::log::sqlite::{NewCopy, SqliteLog};
use crate::model::StorageError;

/// The maximum size of a piece in bytes.
const PIECE_BYTES: u64 = 256 << 10;

/// The maximum time until another server answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The time between two questions while another server makes the copy, or none answers.
const PAUSE: Duration = Duration::from_millis(200);

/// A server that has been silent for this time is given up. If no server answers for this time, there is no copy.
const SILENT_FOR: Duration = Duration::from_secs(30);

/// A copy is deleted if it has not been asked for this time.
pub const UNUSED_FOR: Duration = Duration::from_secs(10);

/// The space on the disk in bytes that a copy must leave.
const SPACE_LEFT_MIN: u64 = 64 << 20;

/// The time after which a server is asked again that could not send a copy.
const AGAIN_AFTER: Duration = Duration::from_secs(3);

/// What the first byte of an answer says.
mod says {
    /// The copy is not ready yet.
    pub const WAIT: u8 = b'w';
    /// A [`piece`] follows.
    pub const PIECE: u8 = b'p';
    /// The copy could not be made.
    pub const FAILED: u8 = b'f';
}

/// Makes copies of this server's replica for others, one at a time.
pub struct Copies {
    local: Arc<SqliteLog>,
    folder: PathBuf,
    current: Mutex<Option<Current>>,
}

/// The copy that is being made or sent.
struct Current {
    /// The random number under which another server asks for it.
    number: u64,
    asked: Instant,
    /// `None` while the copy is being made.
    file: Option<Arc<File>>,
    /// Whether its last piece has been sent, so that another server can soon have its turn.
    is_sent: bool,
}

impl Current {
    /// Returns whether it is being made, or the server that asked for it may ask for more of it. That server asks for the
    /// last piece again if the answer was lost.
    fn is_in_use(&self) -> bool {
        let within = if self.is_sent {
            2 * ANSWER_WITHIN
        } else {
            UNUSED_FOR
        };
        self.file.is_none() || self.asked.elapsed() < within
    }
}

impl fmt::Debug for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copies").finish_non_exhaustive()
    }
}

impl Copies {
    /// `folder` is the data folder.
    pub(super) fn new(local: Arc<SqliteLog>, folder: &Path) -> Self {
        let copies = Self {
            local,
            folder: folder.to_owned(),
            current: Mutex::default(),
        };
        // A server that was killed may have left them.
        for path in [copies.path(), folder.join(NewCopy::PART)] {
            let _ = fs::remove_file(path);
        }
        copies
    }

    /// Returns whether this server can send a copy: it has one, or there is space for one.
    pub fn can_make(&self) -> bool {
        self.current().is_some() || self.have_space().unwrap_or(false)
    }

    /// Returns whether the disk has space for a copy. A disk that a copy fills would stop this server.
    fn have_space(&self) -> io::Result<bool> {
        let size = fs::metadata(self.folder.join("chat.db"))?.len();
        let disk = statvfs(&self.folder)?;
        Ok(disk.f_bavail * disk.f_frsize >= size + SPACE_LEFT_MIN)
    }

    /// Returns the path of a copy that is being made.
    fn path(&self) -> PathBuf {
        self.folder.join("chat.db.copy")
    }

    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        self.current
            .lock()
            .expect("no thread panics while it holds this")
    }

    /// Returns the answer to a server that asks for a piece; `None` if it has not asked for one. The first piece takes as
    /// long as the copy. Meanwhile, other calls answer that the copy is not ready.
    pub fn answer(&self, asked: &str) -> Option<Vec<u8>> {
        let (number, offset) = asked.split_once(' ')?;
        let (number, offset) = (number.parse().ok()?, offset.parse().ok()?);
        let known = {
            let mut current = self.current();
            match &mut *current {
                Some(known) if known.number == number => {
                    known.asked = Instant::now();
                    Some(known.file.clone())
                }
                Some(other) if other.is_in_use() => Some(None), // another server has its turn
                _ if offset > 0 => return Some(vec![says::FAILED]), // the rest of another copy would not fit
                _ => {
                    *current = Some(Current {
                        number,
                        asked: Instant::now(),
                        file: None,
                        is_sent: false,
                    });
                    None
                }
            }
        };
        let file = match known {
            Some(Some(file)) => file,
            Some(None) => return Some(vec![says::WAIT]),
            None => {
                let made = self.make();
                let mut current = self.current();
                match made {
                    Ok(file) => {
                        let (asked, file) = (Instant::now(), Arc::new(file));
                        *current = Some(Current {
                            number,
                            asked,
                            file: Some(file.clone()),
                            is_sent: false,
                        });
                        file
                    }
                    Err(e) => {
                        *current = None;
                        warn!("cannot make a copy for another server: {e}");
                        return Some(vec![says::FAILED]);
                    }
                }
            }
        };
        match piece(&file, offset) {
            Ok(piece) => {
                if piece.starts_with(&0u64.to_be_bytes())
                    && let Some(sent) = self.current().as_mut()
                    && sent.number == number
                {
                    sent.is_sent = true;
                }
                Some([&[says::PIECE], &piece[..]].concat())
            }
            Err(e) => {
                warn!("cannot read the copy for another server: {e}");
                Some(vec![says::FAILED])
            }
        }
    }

    /// Makes a copy. The file has no name, so that its space is freed when it is closed.
    fn make(&self) -> Result<File, StorageError> {
        info!("making a copy for another server");
        if !self.have_space()? {
            return Err(StorageError::Io(ErrorKind::StorageFull.into()));
        }
        let path = self.path();
        let made = self.local.copy(&path);
        let file = made.and_then(|()| Ok(File::open(&path)?));
        let _ = fs::remove_file(&path); // the next copy would fail, and report it
        file
    }

    /// Deletes a copy that nobody has asked for lately.
    pub fn delete_unused(&self) {
        self.current()
            .take_if(|copy| copy.file.is_some() && copy.asked.elapsed() >= UNUSED_FOR);
    }
}

/// Returns the number of bytes after the piece of a file at `offset`, as eight bytes, and then the piece.
///
/// # Errors
/// When the file cannot be read.
pub fn piece(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let left = file.metadata()?.len().saturating_sub(offset);
    let length = left.min(PIECE_BYTES);
    let mut answer = (left - length).to_be_bytes().to_vec();
    answer.resize(8 + usize::try_from(length).unwrap_or(0), 0);
    file.read_exact_at(&mut answer[8..], offset)?;
    Ok(answer)
}

/// Receives a copy of another server's replica, and makes it the replica in `folder`.
///
/// # Errors
/// [`Error::NoCopy`] when no other server sends a usable one, and when the folder or the connection cannot be used.
pub(super) async fn receive(
    jetstream: &JetStream,
    settings: &Settings,
    folder: &Path,
) -> Result<(), Error> {
    let handle = jetstream.handle();
    let mut copy = NewCopy::begin(folder)?;
    let everybody = settings.subject(COPY);
    let mut heard = Instant::now();
    let mut has_warned = false;
    while heard.elapsed() < SILENT_FOR {
        let Some(from) = ask(handle, &everybody, "").await? else {
            if !mem::replace(&mut has_warned, true) {
                warn!("this server needs a copy of the chat: waiting for another server that runs");
            }
            Timer::after(PAUSE).await;
            continue;
        };
        let from = String::from_utf8_lossy(&from).into_owned();
        let prefix = format!("{everybody}.");
        let name = from.strip_prefix(&prefix).unwrap_or(&from);
        info!("receiving a copy of the chat from the server {name}");
        let since = Instant::now();
        if !receive_from(handle, &from, &mut copy).await? {
            warn!("the copy from the server {name} is incomplete");
            if copy.length() > 0 {
                heard = Instant::now();
            }
        } else if is_usable(&copy, jetstream, settings).await? {
            let length = copy.length();
            copy.finish()?;
            info!("received a copy of {length} bytes in {:?}", since.elapsed());
            return Ok(());
        } else {
            warn!("the copy from the server {name} cannot be used: check that server's folder");
        }
        Timer::after(AGAIN_AFTER).await;
    }
    Err(Error::NoCopy)
}

/// Returns whether a copy is one of this chat from which the log leads on.
async fn is_usable(
    copy: &NewCopy,
    jetstream: &JetStream,
    settings: &Settings,
) -> Result<bool, Error> {
    let checks = copy.check();
    let Some(position) = smol::unblock(checks).await? else {
        return Ok(false);
    };
    let log = stream(jetstream, settings).await?.state;
    let is_of_chat = position.log == settings.chat && position.checkpoint.is_some();
    Ok(is_of_chat && leads_on(&log, &position))
}

/// Receives the copy that another server makes. Returns false if that server does not send all of it.
async fn receive_from(handle: &Handle, from: &str, copy: &mut NewCopy) -> Result<bool, Error> {
    copy.restart()?;
    let number = random();
    let mut heard = Instant::now();
    while heard.elapsed() < SILENT_FOR {
        let asked = format!("{number} {}", copy.length());
        let answer = ask(handle, from, &asked).await?.unwrap_or_default();
        match answer.split_first() {
            Some((&says::WAIT, _)) => {
                heard = Instant::now();
                Timer::after(PAUSE).await;
            }
            Some((&says::PIECE, rest)) => {
                let Some((left, piece)) = rest.split_first_chunk() else {
                    return Ok(false);
                };
                let left = u64::from_be_bytes(*left);
                copy.write(piece)?;
                heard = Instant::now();
                if left == 0 {
                    return Ok(true);
                }
                if piece.is_empty() {
                    return Ok(false);
                }
            }
            Some(_) => return Ok(false),
            None => {
                Timer::after(PAUSE).await;
            }
        }
    }
    Ok(false)
}

/// Asks other servers, and returns the first answer; `None` if none answers in time.
async fn ask(handle: &Handle, subject: &str, what: &str) -> Result<Option<Vec<u8>>, Error> {
    use crate::cluster::nats::Error::{Busy, NoResponders, TimedOut};
    let headers = Headers::new();
    let answer = handle.request(subject, &headers, what.as_bytes(), ANSWER_WITHIN);
    match answer.await {
        Ok(answer) => Ok(Some(answer.payload)),
        Err(NoResponders | TimedOut | Busy) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_server_gets_its_copy_soon_after_the_last_piece_of_the_copy_before_it_was_sent() {
        let folder = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(folder.path(), Box::new(|_| {})).unwrap();
        let copies = Copies::new(Arc::new(log), folder.path());
        let mut offset = 0;
        loop {
            let answer = copies.answer(&format!("1 {offset}")).unwrap();
            assert_eq!(answer[0], says::PIECE);
            let left = u64::from_be_bytes(answer[1..9].try_into().unwrap());
            offset += answer.len() - 9;
            if left == 0 {
                break;
            }
            assert_eq!(copies.answer("2 0"), Some(vec![says::WAIT]));
        }
        assert_eq!(copies.answer("2 0"), Some(vec![says::WAIT]));
        if let Some(sent) = &mut *copies.current() {
            sent.asked = sent.asked.checked_sub(2 * ANSWER_WITHIN).unwrap();
        }
        let answer = copies.answer("2 0").unwrap();
        assert_eq!(answer[0], says::PIECE);
        // The first server cannot continue in another copy.
        assert_eq!(
            copies.answer(&format!("1 {offset}")),
            Some(vec![says::WAIT])
        );
    }
}
