//! The contents of files: each server copies what the others have announced, and what they are about to announce.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_io::Timer;
use event_listener::Event;
use futures_lite::future;
use tracing::{debug, warn};

use super::{ATTEMPTS, COPIED_WITHIN, MORE_WITHIN, PAUSE, TAKEN, ask, comes_before, reply, text};
use crate::cluster::nats::{Error, Handle};
use crate::files::Incoming;
use crate::model::FileContents;
use crate::protocol::{Code, Digest};
use crate::replica::{self, Following};
use crate::server::Server;
use crate::server::drop_on_pool::DropOnPool;

/// The time for which a server stores a copy of a file that was not announced, after it was asked for it.
const HELD_FOR: Duration = Duration::from_secs(60);

/// The maximum number of files that are copied at the same time because other servers are about to announce them.
const HELD_MAX: usize = 8;

/// The kind of message that asks other servers to copy a file before it is announced.
const HOLD: &str = "hold";

/// The files that this server must copy from others.
#[derive(Debug, Default)]
pub(super) struct FileCopies {
    wanted: Mutex<Wanted>,
    changed: Event,
    copied: Event,
}

#[derive(Debug, Default)]
struct Wanted {
    queue: VecDeque<Digest>,
    known: HashSet<Digest>,
    /// The files that are copied because other servers are about to announce them, with the number of bytes that have
    /// arrived.
    held: HashMap<Digest, u64>,
}

impl FileCopies {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted
            .lock()
            .expect("no thread panics while it holds this")
    }

    /// Adds a file to those that must be copied. A file that somebody waits for comes first.
    pub(super) fn want(&self, digest: Digest, is_urgent: bool) {
        let mut wanted = self.wanted();
        let is_new = wanted.known.insert(digest);
        if is_urgent && !is_new {
            wanted.queue.retain(|other| *other != digest);
        }
        if is_urgent {
            wanted.queue.push_front(digest);
        } else if is_new {
            wanted.queue.push_back(digest);
        }
        drop(wanted);
        self.changed.notify(usize::MAX);
    }

    /// Puts a file that could not be copied at the end of the queue, unless somebody has asked for it since.
    fn again(&self, digest: Digest) {
        let mut wanted = self.wanted();
        if !wanted.queue.contains(&digest) {
            wanted.queue.push_back(digest);
        }
    }

    async fn next(&self) -> Digest {
        loop {
            let changed = self.changed.listen();
            if let Some(digest) = self.wanted().queue.pop_front() {
                return digest;
            }
            changed.await;
        }
    }

    pub(super) fn is_copied(&self, digest: Digest) {
        self.wanted().known.remove(&digest);
        self.copied.notify(usize::MAX);
    }
}

/// Opens a stored file. If it is still being copied from another server, waits for it.
pub(in crate::server) async fn open(
    server: &Arc<Server>,
    digest: Digest,
) -> io::Result<DropOnPool<File>> {
    let late = server.clock.now().uptime + COPIED_WITHIN;
    loop {
        let copied = server.exchange.files.copied.listen();
        let (store, pool) = (server.store.clone(), server.pool.clone());
        let opened = server
            .pool
            .run(move || store.get(digest).map(|file| DropOnPool::new(file, pool)));
        match opened.await {
            Err(e)
                if e.kind() == io::ErrorKind::NotFound
                    && server.following.get().is_some()
                    && server.store.is_expected(digest)
                    && server.clock.now().uptime < late =>
            {
                server.exchange.files.want(digest, true);
                future::or(copied, server.clock.wait(PAUSE)).await;
            }
            opened => return opened,
        }
    }
}

/// Waits until another server has a copy of a file that was uploaded to this one, if there is another server. The file is
/// announced after that, so that it is not lost with this server.
///
/// # Errors
/// The reason why no other server has one.
pub(in crate::server) async fn copied_elsewhere(
    server: &Server,
    file: &FileContents,
) -> Result<(), Code> {
    let Some(following) = server.following.get() else {
        return Ok(());
    };
    let asked = format!("{} {}", file.sha256, following.server());
    let (mut arrived, mut late) = (0, server.clock.now().uptime + COPIED_WITHIN);
    loop {
        if following.is_cut_off() {
            return Err(Code::CutOff);
        }
        if following.progress().servers.len() < 2 {
            return Ok(());
        }
        if server.clock.now().uptime >= late {
            return Err(Code::Busy);
        }
        let answer = match following.current_connection() {
            Some(handle) => ask(&handle, &following.subject(HOLD), asked.as_bytes()).await,
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        match answer {
            Ok(answer) if answer == TAKEN => return Ok(()),
            Ok(answer) => {
                let more = String::from_utf8(answer).ok();
                let more = more.and_then(|more| more.parse::<u64>().ok());
                if let Some(more) = more.filter(|more| *more > arrived) {
                    (arrived, late) = (more, server.clock.now().uptime + COPIED_WITHIN);
                }
            }
            Err(_) => server.clock.wait(PAUSE).await,
        }
    }
}

/// Answers other servers that look for a file, copy it, or want it to be copied.
///
/// # Errors
/// When the connection has ended.
pub(super) fn answer(
    server: &Arc<Server>,
    following: &Following,
    handle: &Handle,
) -> Result<impl Future<Output = ()>, Error> {
    let own = following.own_subject("files");
    let everybody = handle.subscribe(&following.subject("files"))?;
    let pieces = handle.subscribe(&own)?;
    let held = handle.subscribe(&following.subject(HOLD))?;
    let has = async move {
        while let Some(message) = everybody.next().await {
            if let Some(digest) = Digest::parse(text(&message))
                && is_complete(server, digest).await
            {
                reply(handle, &message, own.as_bytes());
            }
        }
    };
    let sends = async move {
        while let Some(message) = pieces.next().await {
            if let Some(piece) = piece(server, text(&message)).await {
                reply(handle, &message, &piece);
            }
        }
    };
    let holds = async move {
        while let Some(message) = held.next().await {
            let asked = text(&message).split_once(' ');
            let asked =
                asked.and_then(|(digest, by)| Some((Digest::parse(digest)?, by.to_owned())));
            if let Some((digest, by)) = asked
                && *by != **following.server()
                && !following.is_cut_off()
            {
                // Others must not wait while the file is copied.
                let (handle, server) = (handle.clone(), server.clone());
                let (executor, following) = (server.executor.clone(), following.clone());
                let answer = async move {
                    if let Some(answer) = hold(&server, &following, digest, &by).await {
                        reply(&handle, &message, &answer);
                    }
                };
                executor.spawn(answer).detach();
            }
        }
    };
    Ok(async {
        future::zip(has, future::zip(sends, holds)).await;
    })
}

/// Copies a file that the server `by` is about to announce. Returns the answer when it is copied, or after a while; `None`
/// if it is not being copied.
async fn hold(
    server: &Arc<Server>,
    following: &Following,
    digest: Digest,
    by: &str,
) -> Option<Vec<u8>> {
    let until = server.clock.now().uptime + HELD_FOR;
    server.store.hold(digest, until);
    let mut late = pin!(server.clock.wait(MORE_WITHIN));
    loop {
        let copied = server.exchange.files.copied.listen();
        if is_complete(server, digest).await {
            return Some(TAKEN.to_vec());
        }
        {
            let mut wanted = server.exchange.files.wanted();
            if !wanted.held.contains_key(&digest) && wanted.held.len() < HELD_MAX {
                wanted.held.insert(digest, 0);
                let from = format!("{}.{by}", following.subject("files"));
                let copies = copy_held(server.clone(), following.clone(), digest, from);
                server.executor.spawn(copies).detach();
            }
        }
        if comes_before(&mut late, copied).await {
            let arrived = server.exchange.files.wanted().held.get(&digest).copied();
            return Some(arrived?.to_string().into_bytes());
        }
    }
}

/// Copies a file that another server is about to announce, from the subject `from`.
async fn copy_held(server: Arc<Server>, following: Following, digest: Digest, from: String) {
    let progress = |arrived| {
        server.exchange.files.wanted().held.insert(digest, arrived);
    };
    let copied = copy(&server, &following, digest, Some(&from), progress);
    if let Err(e) = copied.await {
        warn!("cannot copy the file {digest}, which was uploaded to another server: {e}");
        Timer::after(PAUSE).await; // it may be asked for again at once
    }
    server.exchange.files.wanted().held.remove(&digest);
    server.exchange.files.copied.notify(usize::MAX);
}

pub(super) async fn copy_all(server: Arc<Server>, following: Following) {
    // Before, the log may have files of which this server does not know yet.
    following.ready().await;
    let store = server.store.clone();
    let deleted = server.pool.run(move || store.delete_unreferenced()).await;
    if let Err(e) = deleted {
        warn!("cannot delete the files that were removed while this server was away: {e}");
    }
    let store = server.store.clone();
    for digest in server.pool.run(move || store.missing()).await {
        server.exchange.files.want(digest, false);
    }
    loop {
        let digest = server.exchange.files.next().await;
        match copy(&server, &following, digest, None, |_| {}).await {
            Ok(()) => {
                server.exchange.files.is_copied(digest);
                // It may have been announced when it had just been dropped.
                if server.store.is_expected(digest) && !is_complete(&server, digest).await {
                    server.exchange.files.want(digest, false);
                }
            }
            Err(e) => {
                warn!("cannot copy the file {digest} from another server: {e}");
                server.exchange.files.again(digest);
                Timer::after(PAUSE).await;
            }
        }
    }
}

async fn is_complete(server: &Arc<Server>, digest: Digest) -> bool {
    let store = server.store.clone();
    server.pool.run(move || store.is_complete(digest)).await
}

/// Copies a file from the subject `from`, or from any server that has it, unless this server has it by now or no longer
/// needs it. If that fails, tries again and copies only what is missing. Calls `progress` with the number of bytes that
/// have arrived.
async fn copy(
    server: &Arc<Server>,
    following: &Following,
    digest: Digest,
    from: Option<&str>,
    progress: impl Fn(u64),
) -> io::Result<()> {
    let mut part = None;
    let mut failures = 0;
    while server.store.is_expected(digest) && !is_complete(server, digest).await {
        let incoming = match part.take() {
            Some(part) => part,
            None => {
                let store = server.store.clone();
                server.pool.run(move || store.begin()).await?
            }
        };
        let before = incoming.length();
        let received = receive_rest(server, following, digest, from, incoming, &progress);
        match received.await {
            Ok(whole) => {
                let store = server.store.clone();
                let kept = server.pool.run(move || store.keep_copy(whole, digest));
                if kept.await? {
                    debug!("copied the file {digest} from another server");
                }
                return Ok(());
            }
            Err((e, None)) => return Err(e),
            Err((e, Some(arrived))) => {
                failures = if arrived.length() > before {
                    1
                } else {
                    failures + 1
                };
                if failures == ATTEMPTS {
                    return Err(e);
                }
                part = Some(arrived);
            }
        }
        Timer::after(PAUSE).await;
    }
    Ok(())
}

/// Receives the bytes of a file that are missing in `incoming` from the subject `from`, or from a server that has the
/// file. Calls `progress` with the number of bytes that have arrived.
///
/// # Errors
/// With what has arrived if the rest can be received later; without it if it cannot be used, because it could not be
/// written or is wrong.
pub(super) async fn receive_rest(
    server: &Arc<Server>,
    following: &Following,
    digest: Digest,
    from: Option<&str>,
    mut incoming: Incoming,
    progress: impl Fn(u64),
) -> Result<Incoming, (io::Error, Option<Incoming>)> {
    let handle = &following.connection().await;
    let from = match from {
        Some(from) => Ok(from.to_owned()),
        None => who_has(handle, following, digest).await,
    };
    let from = match from {
        Ok(from) => from,
        Err(e) => return Err((e, Some(incoming))),
    };
    loop {
        let asked = format!("{digest} {}", incoming.length());
        let answer = match ask(handle, &from, asked.as_bytes()).await {
            Ok(answer) => answer,
            Err(e) => return Err((e, Some(incoming))),
        };
        let Some((left, piece)) = answer.split_first_chunk() else {
            return Err((ErrorKind::InvalidData.into(), Some(incoming)));
        };
        let left = u64::from_be_bytes(*left);
        if piece.is_empty() && left > 0 {
            return Err((ErrorKind::InvalidData.into(), Some(incoming)));
        }
        let (written, into) = write(server, incoming, piece.to_vec()).await;
        if let Err(e) = written {
            return Err((e, None));
        }
        incoming = into;
        progress(incoming.length());
        if left == 0 {
            break;
        }
    }
    if incoming.sum().1 != digest {
        let e = io::Error::other("the bytes do not match the digest");
        return Err((e, None));
    }
    Ok(incoming)
}

/// Returns the subject of a server that has a file.
async fn who_has(handle: &Handle, following: &Following, digest: Digest) -> io::Result<String> {
    let everybody = following.subject("files");
    let has = ask(handle, &everybody, digest.to_string().as_bytes()).await?;
    String::from_utf8(has).map_err(io::Error::other)
}

pub(super) async fn write(
    server: &Arc<Server>,
    mut incoming: Incoming,
    piece: Vec<u8>,
) -> (io::Result<()>, Incoming) {
    let written = server.pool.run(move || (incoming.write(&piece), incoming));
    written.await
}

/// Returns the number of bytes after a piece of a file, and the piece.
async fn piece(server: &Arc<Server>, asked: &str) -> Option<Vec<u8>> {
    let (digest, offset) = asked.split_once(' ')?;
    let (digest, offset): (_, u64) = (Digest::parse(digest)?, offset.parse().ok()?);
    let store = server.store.clone();
    let read = server
        .pool
        .run(move || replica::piece(&store.get(digest)?, offset));
    match read.await {
        Ok(answer) => Some(answer),
        Err(e) => {
            warn!("cannot read the file {digest} for another server: {e}");
            None
        }
    }
}
