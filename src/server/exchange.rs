//! What servers of one chat tell one another by messages of NATS that are not logged: direct messages that are not saved,
//! the contents of files, and copies of the whole log for new servers.
//!
//! A server that wants a file asks everybody who has it, and then asks one of those for one piece after the other. A live
//! file is asked for in the same way, while it is still being uploaded: the server that receives the upload answers.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_io::Timer;
use event_listener::Event;
use futures_lite::future;
use serde::{Deserialize, Serialize};
use smol::Task;
use tracing::{debug, info, warn};

use super::Server;
use super::drop_on_pool::DropOnPool;
use super::transfer::SharedLive;
use crate::chat::Reservation;
use crate::cluster::nats::codec::Message;
use crate::cluster::nats::{Error, Handle, Headers};
use crate::files::live::Live;
use crate::files::{Incoming, Store};
use crate::log::Location;
use crate::model::{
    self, Applied, EventKind, FileContents, Report, Scope, ServerName, SharedReport,
};
use crate::protocol::{Code, Digest, EventId, Time};
use crate::replica::{self, COPY, Following, STATUS, UNUSED_FOR};

/// The maximum size of a piece in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// The maximum time until another server answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The time between two attempts to copy a file that nobody has, or while there is no connection.
const PAUSE: Duration = Duration::from_millis(500);

/// The maximum time for which a download waits until the file has been copied.
const COPIED_WITHIN: Duration = Duration::from_secs(20);

/// The maximum time for which the answer to a request for a live file waits until more of the file has arrived.
const MORE_WITHIN: Duration = Duration::from_secs(1);

/// The time for which a server stores a copy of a file that was not announced, after it was asked for it.
const HELD_FOR: Duration = Duration::from_secs(60);

/// The maximum number of files that are copied at the same time because other servers are about to announce them.
const HELD_MAX: usize = 8;

/// The number of attempts to copy a file before the next one has its turn.
const ATTEMPTS: usize = 4;

/// What this server must copy from others, and whether it must look for abandoned live files.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    wanted: Mutex<Wanted>,
    changed: Event,
    copied: Event,
    /// Set when the epoch of a server has ended, until its live files are looked for.
    has_ended: AtomicBool,
    ended: Event,
}

#[derive(Debug, Default)]
struct Wanted {
    /// The live files whose end this server's readers have been told, as long as they are copied.
    stored: HashSet<EventId>,
    queue: VecDeque<Digest>,
    known: HashSet<Digest>,
    /// The files that are copied because other servers are about to announce them, with the number of bytes that have
    /// arrived.
    held: HashMap<Digest, u64>,
}

impl Exchange {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted
            .lock()
            .expect("no thread panics while it holds this")
    }

    /// Adds a file to those that must be copied. A file that somebody waits for comes first.
    pub fn want(&self, digest: Digest, is_urgent: bool) {
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

    /// Records that readers here have been told the end of the upload of a live file.
    pub fn is_stored(&self, id: EventId) {
        self.wanted().stored.insert(id);
        self.changed.notify(usize::MAX);
    }

    /// Waits until readers here have been told the end of the upload of a live file.
    async fn stored(&self, id: EventId) {
        loop {
            let changed = self.changed.listen();
            if self.wanted().stored.remove(&id) {
                return;
            }
            changed.await;
        }
    }

    /// Records that the epoch of a server has ended.
    fn epoch_ended(&self) {
        self.has_ended.store(true, Ordering::Release);
        self.ended.notify(usize::MAX);
    }

    /// Waits until the epoch of a server has ended since the last call.
    async fn end_of_epoch(&self) {
        loop {
            let ended = self.ended.listen();
            if self.has_ended.swap(false, Ordering::AcqRel) {
                return;
            }
            ended.await;
        }
    }

    fn is_copied(&self, digest: Digest) {
        self.wanted().known.remove(&digest);
        self.copied.notify(usize::MAX);
    }
}

/// Counts the files that other servers have announced, and copies them. Notices which servers are gone. The log calls
/// this before it reports to the chat.
pub(super) fn on_reports(server: &Server, reports: &[Report]) {
    for report in reports {
        if let Report::Shared(shared) = report
            && let SharedReport::End(..) = **shared
        {
            server.exchange.epoch_ended();
        }
        let Report::Applied(Applied {
            entry,
            ticket: None,
            outcome,
            ..
        }) = report
        else {
            continue;
        };
        let contents = match &entry.kind {
            EventKind::File(file) => file.contents,
            EventKind::Stored(_, contents) => Some(**contents),
            _ => None,
        };
        if let Some(contents) = contents {
            server.store.expect(contents.sha256);
            if outcome.is_ok() {
                server.exchange.want(contents.sha256, false);
            }
        }
    }
}

/// Copies files from other servers, lets them copy, passes direct messages on, and removes the live files of servers
/// that are gone. The tasks end when they are dropped.
pub(super) fn begin(server: &Arc<Server>, following: &Following) -> [Task<()>; 4] {
    server.exchange.epoch_ended(); // perhaps while this server was not there
    let copies = copy_all(server.clone(), following.clone());
    let answers = answer_all(server.clone(), following.clone());
    [
        server.executor.spawn(copies),
        server.executor.spawn(answers),
        server
            .executor
            .spawn(send_unsaved(server.clone(), following.clone())),
        server
            .executor
            .spawn(remove_abandoned(server.clone(), following.clone())),
    ]
}

/// Opens a stored file. If it is still being copied from another server, waits for it.
pub(super) async fn open(server: &Arc<Server>, digest: Digest) -> io::Result<DropOnPool<File>> {
    let late = server.clock.now().uptime + COPIED_WITHIN;
    loop {
        let copied = server.exchange.copied.listen();
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
                server.exchange.want(digest, true);
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
pub(super) async fn copied_elsewhere(server: &Server, file: &FileContents) -> Result<(), Code> {
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
                if let Some(more) = more.filter(|more| *more != arrived) {
                    (arrived, late) = (more, server.clock.now().uptime + COPIED_WITHIN);
                }
            }
            Err(_) => server.clock.wait(PAUSE).await,
        }
    }
}

/// The kind of message that asks other servers to copy a file before it is announced.
const HOLD: &str = "hold";

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
        let copied = server.exchange.copied.listen();
        if is_complete(server, digest).await {
            return Some(TAKEN.to_vec());
        }
        {
            let mut wanted = server.exchange.wanted();
            if !wanted.held.contains_key(&digest) && wanted.held.len() < HELD_MAX {
                wanted.held.insert(digest, 0);
                let from = format!("{}.{by}", following.subject("files"));
                let copies = copy_held(server.clone(), following.clone(), digest, from);
                server.executor.spawn(copies).detach();
            }
        }
        if comes_before(&mut late, copied).await {
            let arrived = server.exchange.wanted().held.get(&digest).copied();
            return Some(arrived?.to_string().into_bytes());
        }
    }
}

/// Waits until one of the two completes. Returns true if it was `first`.
async fn comes_before(first: impl Future, second: impl Future) -> bool {
    let first = async {
        first.await;
        true
    };
    let second = async {
        second.await;
        false
    };
    future::or(first, second).await
}

/// Copies a file that another server is about to announce, from the subject `from`.
async fn copy_held(server: Arc<Server>, following: Following, digest: Digest, from: String) {
    let progress = |arrived| {
        server.exchange.wanted().held.insert(digest, arrived);
    };
    let copied = copy(&server, &following, digest, Some(&from), progress);
    if let Err(e) = copied.await {
        warn!("cannot copy the file {digest}, which was uploaded to another server: {e}");
        Timer::after(PAUSE).await; // it may be asked for again at once
    }
    server.exchange.wanted().held.remove(&digest);
    server.exchange.copied.notify(usize::MAX);
}

/// Sends the direct messages of this server's users that are not saved.
async fn send_unsaved(server: Arc<Server>, following: Following) {
    while let Some((entry, ticket)) = following.next_unsaved().await {
        let Scope::Unsaved(to) = &entry.scope else {
            continue;
        };
        let is_elsewhere = server.state().chat.is_used_elsewhere(to);
        let handle = following.current_connection().filter(|_| is_elsewhere);
        let executor = server.executor.clone();
        let (server, following) = (server.clone(), following.clone());
        let time = server.clock.now().time;
        let sends = async move {
            let taken = match handle {
                // Without a lease, somebody else may have the author's nick by now.
                _ if following.is_cut_off() || !following.has_lease() => Err(Code::CutOff),
                None if is_elsewhere => Err(Code::Busy),
                None => Ok(()),
                Some(handle) => {
                    let written = serde_json::to_vec(&(following.server(), &*entry, time.0));
                    let written = written.unwrap_or_default();
                    match ask(&handle, &following.subject("tell"), &written).await {
                        Ok(answer) if answer == TAKEN => Ok(()),
                        _ => Err(Code::Busy),
                    }
                }
            };
            server.applied().add(vec![Report::Applied(Applied {
                entry,
                outcome: taken.map(|()| (None, time)),
                is_repeat: false,
                is_withheld: false,
                ticket,
            })]);
        };
        executor.spawn(sends).detach();
    }
}

/// Whenever the epoch of a server has ended, removes the live files that no server receives any more. The first of the
/// servers does that for all.
async fn remove_abandoned(server: Arc<Server>, following: Following) {
    loop {
        server.exchange.end_of_epoch().await;
        following.ready().await;
        while following.progress().servers.first() == Some(following.server())
            && !try_to_remove_abandoned(&server, &following).await
        {
            Timer::after(PAUSE).await;
        }
    }
}

/// Removes the live files that no server receives. Returns false if a server does not say which ones it receives, or does
/// not know all files yet.
async fn try_to_remove_abandoned(server: &Arc<Server>, following: &Following) -> bool {
    let Some(mut abandoned) = unfinished(server).await else {
        return false;
    };
    // An upload may have begun or ended while a server answered.
    for _ in 0..2 {
        if abandoned.is_empty() {
            return true;
        }
        let Some(answers) = all_received(following).await else {
            return false;
        };
        let is_behind = |(id, ..): &(EventId, Location, String)| {
            answers
                .iter()
                .any(|answer| answer.read_to < id.get() / 1024)
        };
        if abandoned.iter().any(is_behind) {
            return false;
        }
        let is_received = |id: &EventId| answers.iter().any(|answer| answer.files.contains(id));
        abandoned.retain(|(id, ..)| !is_received(id));
        Timer::after(PAUSE).await;
    }
    for (id, place, owner) in abandoned {
        info!("removing the live file {id}, which no server receives any more");
        let now = server.clock.now();
        server.changes().remove_unfinished(id, place, &owner, now);
    }
    true
}

/// Returns the live files whose upload has not ended, with their places and owners; `None` if the log cannot be read.
async fn unfinished(server: &Arc<Server>) -> Option<Vec<(EventId, Location, String)>> {
    let log = server.state().log.clone();
    let all = server.pool.run(move || log.unfinished()).await;
    all.inspect_err(|e| warn!("cannot look for live files: {e}"))
        .ok()
}

/// Which live files a server receives.
#[derive(Serialize, Deserialize)]
struct Received {
    server: ServerName,
    /// The number of the last message of the log that the server has read.
    read_to: u64,
    files: Vec<EventId>,
}

/// Returns which live files this server receives.
fn received(server: &Arc<Server>, following: &Following) -> Received {
    let read_to = following.progress().read_to;
    let live = server.live();
    let own = live.iter().filter(|(_, live)| !live.is_copy());
    Received {
        server: following.server().clone(),
        read_to,
        files: own.map(|(id, _)| *id).collect(),
    }
}

/// Asks all servers which live files they receive. Returns `None` if one of them does not answer.
async fn all_received(following: &Following) -> Option<Vec<Received>> {
    let handle = following.connection().await;
    let subject = following.subject(RECEIVED);
    let answers = handle.request_all(&subject, &Headers::new(), b"").ok()?;
    let mut all: Vec<Received> = Vec::new();
    loop {
        let servers = following.progress().servers;
        let has_answered = |name: &ServerName| all.iter().any(|other| other.server == *name);
        if servers.iter().all(has_answered) {
            return Some(all);
        }
        let answer = answers.next_within(ANSWER_WITHIN).await.ok()?;
        all.extend(serde_json::from_slice::<Received>(&answer.payload));
    }
}

/// Delivers a direct message of a user of another server. Returns the answer, if a user here has the nick.
fn deliver(server: &Arc<Server>, following: &Following, written: &[u8]) -> Option<&'static [u8]> {
    let (from, entry, time): (ServerName, model::Entry, u64) =
        serde_json::from_slice(written).ok()?;
    if from == *following.server() {
        return None; // its own users get it when another server has taken it
    }
    if !following.has_lease() {
        return None; // somebody else may have the nick by now
    }
    if !matches!(entry.scope, Scope::Unsaved(_)) {
        return None;
    }
    match server.changes().chat.deliver(&entry, Time(time)) {
        Ok(()) => Some(TAKEN),
        Err(Code::NoSuchNick) => None,
        Err(_) => Some(b"busy"),
    }
}

/// The answer to a direct message that was delivered, and to a file that was copied.
const TAKEN: &[u8] = b"ok";

async fn copy_all(server: Arc<Server>, following: Following) {
    // Before, the log may have files of which this server does not know yet.
    following.ready().await;
    let store = server.store.clone();
    let deleted = server.pool.run(move || store.delete_unreferenced()).await;
    if let Err(e) = deleted {
        warn!("cannot delete the files that were removed while this server was away: {e}");
    }
    let store = server.store.clone();
    for digest in server.pool.run(move || store.missing()).await {
        server.exchange.want(digest, false);
    }
    loop {
        let digest = server.exchange.next().await;
        let copied = if server.store.is_expected(digest) {
            copy(&server, &following, digest, None, |_| {}).await
        } else {
            Ok(())
        };
        match copied {
            Ok(()) => {
                server.exchange.is_copied(digest);
                // It may have been announced when it had just been dropped.
                if server.store.is_expected(digest) && !is_complete(&server, digest).await {
                    server.exchange.want(digest, false);
                }
            }
            Err(e) => {
                warn!("cannot copy the file {digest} from another server: {e}");
                server.exchange.again(digest);
                Timer::after(PAUSE).await;
            }
        }
    }
}

async fn is_complete(server: &Arc<Server>, digest: Digest) -> bool {
    let store = server.store.clone();
    server.pool.run(move || store.is_complete(digest)).await
}

/// Copies a file from the subject `from`, or from any server that has it, unless this server has it by now. If that fails,
/// tries again and copies only what is missing. Calls `progress` with the number of bytes that have arrived.
async fn copy(
    server: &Arc<Server>,
    following: &Following,
    digest: Digest,
    from: Option<&str>,
    progress: impl Fn(u64),
) -> io::Result<()> {
    let store = server.store.clone();
    let mut incoming = server.pool.run(move || store.begin()).await?;
    let mut failures = 0;
    while !is_complete(server, digest).await {
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
            Err((e, Some(part))) => {
                failures = if part.length() > before {
                    1
                } else {
                    failures + 1
                };
                if failures == ATTEMPTS {
                    return Err(e);
                }
                incoming = part;
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
async fn receive_rest(
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

async fn write(
    server: &Arc<Server>,
    mut incoming: Incoming,
    piece: Vec<u8>,
) -> (io::Result<()>, Incoming) {
    let written = server.pool.run(move || (incoming.write(&piece), incoming));
    written.await
}

async fn ask(handle: &Handle, subject: &str, what: &[u8]) -> io::Result<Vec<u8>> {
    let headers = Headers::new();
    let answer = handle.request(subject, &headers, what, ANSWER_WITHIN);
    Ok(answer.await.map_err(io::Error::other)?.payload)
}

/// Answers other servers, over one connection to NATS after the other.
async fn answer_all(server: Arc<Server>, following: Following) {
    loop {
        let handle = following.connection().await;
        if let Err(e) = answer(&server, &following, &handle).await {
            warn!("cannot answer other servers: {e}");
        }
        Timer::after(PAUSE).await;
    }
}

async fn answer(server: &Arc<Server>, following: &Following, handle: &Handle) -> Result<(), Error> {
    let own = following.own_subject("files");
    let everybody = handle.subscribe(&following.subject("files"))?;
    let pieces = handle.subscribe(&own)?;
    let live = handle.subscribe(&following.subject("live"))?;
    let told = handle.subscribe(&following.subject("tell"))?;
    let own_copy = following.own_subject(COPY);
    let new = handle.subscribe(&following.subject(COPY))?;
    let copied = handle.subscribe(&own_copy)?;
    let delivers = async {
        while let Some(message) = told.next().await {
            if let Some(answer) = deliver(server, following, &message.payload) {
                reply(handle, &message, answer);
            }
        }
    };
    let has = async {
        while let Some(message) = everybody.next().await {
            if let Some(digest) = Digest::parse(text(&message))
                && is_complete(server, digest).await
            {
                reply(handle, &message, own.as_bytes());
            }
        }
    };
    let sends = async {
        while let Some(message) = pieces.next().await {
            if let Some(piece) = piece(server, text(&message)).await {
                reply(handle, &message, &piece);
            }
        }
    };
    let follows = async {
        while let Some(message) = live.next().await {
            if let Some((live, offset)) = asked_live(server, text(&message)) {
                // Others must not wait while more of this file arrives.
                let (handle, server) = (handle.clone(), server.clone());
                let executor = server.executor.clone();
                let answer = async move {
                    let piece = live_piece(&server, &live, offset).await;
                    reply(&handle, &message, &piece);
                };
                executor.spawn(answer).detach();
            }
        }
    };
    let asked = handle.subscribe(&following.subject(STATUS))?;
    let tells = async {
        while let Some(message) = asked.next().await {
            let status = serde_json::to_vec(&following.status());
            reply(handle, &message, &status.unwrap_or_default());
        }
    };
    let asks = handle.subscribe(&following.subject(RECEIVED))?;
    let lists = async {
        while let Some(message) = asks.next().await {
            let received = serde_json::to_vec(&received(server, following));
            reply(handle, &message, &received.unwrap_or_default());
        }
    };
    let offers = async {
        while let Some(message) = new.next().await {
            let copies = following.copies().clone();
            let can_make = server.pool.run(move || copies.can_make()).await;
            if !following.is_cut_off() && can_make {
                reply(handle, &message, own_copy.as_bytes());
            }
        }
    };
    let copies = async {
        while let Some(message) = copied.next().await {
            // Others must not wait while the copy is made.
            let (handle, server) = (handle.clone(), server.clone());
            let copies = following.copies().clone();
            let executor = server.executor.clone();
            let answer = async move {
                let asked = text(&message).to_owned();
                let answer = server.pool.run(move || copies.answer(&asked));
                if let Some(answer) = answer.await {
                    reply(&handle, &message, &answer);
                }
            };
            executor.spawn(answer).detach();
        }
    };
    let held = handle.subscribe(&following.subject(HOLD))?;
    let holds = async {
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
    let deletes = async {
        loop {
            Timer::after(UNUSED_FOR).await;
            let copies = following.copies().clone();
            let (store, now) = (server.store.clone(), server.clock.now().uptime);
            let deleted = server.pool.run(move || {
                copies.delete_unused();
                store.delete_held(now)
            });
            if let Err(e) = deleted.await {
                warn!("cannot delete a copy of a file that was not announced: {e}");
            }
        }
    };
    let files = future::zip(future::zip(has, holds), future::zip(sends, follows));
    let tells = future::zip(tells, lists);
    let rest = future::zip(future::zip(delivers, tells), future::zip(offers, copies));
    future::or(deletes, async {
        future::zip(files, rest).await;
    })
    .await;
    Ok(())
}

fn text(message: &Message) -> &str {
    std::str::from_utf8(&message.payload).unwrap_or_default()
}

fn reply(handle: &Handle, to: &Message, answer: &[u8]) {
    if let Some(subject) = &to.reply {
        let _ = handle.publish(subject, None, &Headers::new(), answer); // it will ask again
    }
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

/// The kind of message that asks every server which live files it receives.
const RECEIVED: &str = "received";

/// What the first byte of an answer about a live file says.
mod says {
    /// Bytes follow.
    pub const BYTES: u8 = b'b';
    /// Nothing more has arrived yet.
    pub const WAIT: u8 = b'w';
    /// The upload is complete.
    pub const END: u8 = b'e';
    /// The upload was aborted.
    pub const ABORTED: u8 = b'a';
}

/// Returns the live file that another server asks for, if it is uploaded to this server, and the offset.
fn asked_live(server: &Arc<Server>, asked: &str) -> Option<(SharedLive, u64)> {
    let (id, offset) = asked.split_once(' ')?;
    let id = EventId::new(id.parse().ok()?)?;
    let live = server.live().get(&id).cloned()?;
    (!live.is_copy()).then_some((live, offset.parse().ok()?))
}

async fn live_piece(server: &Arc<Server>, live: &SharedLive, offset: u64) -> Vec<u8> {
    let mut late = pin!(server.clock.wait(MORE_WITHIN));
    loop {
        let grown = live.grown();
        let (length, end) = live.progress();
        if offset < length {
            let wanted =
                usize::try_from(length - offset).map_or(PIECE_BYTES, |n| n.min(PIECE_BYTES));
            let file = live.clone();
            let read = server.pool.run(move || {
                let mut piece = vec![says::BYTES; 1 + wanted];
                file.read(&mut piece[1..], offset).map(|()| piece)
            });
            return read.await.unwrap_or_else(|_| vec![says::ABORTED]);
        }
        match end {
            Some(Some(_)) => return vec![says::END],
            Some(None) => return vec![says::ABORTED],
            None => {}
        }
        if comes_before(&mut late, grown).await {
            return vec![says::WAIT];
        }
    }
}

/// Begins to copy a live file that is being uploaded to another server; `None` if no server receives it. `held` are the
/// descriptors for the copy.
pub(super) async fn copy_live(
    server: &Arc<Server>,
    following: &Following,
    id: EventId,
    held: Reservation,
) -> Option<SharedLive> {
    let connected = async { Some(following.connection().await) };
    let late = async {
        server.clock.wait(ANSWER_WITHIN).await;
        None
    };
    let handle = future::or(connected, late).await?;
    let first = ask_live(&handle, following, id, 0).await.ok()?;
    let (store, log) = (server.store.clone(), server.state().log.clone());
    let begun = server.pool.run(move || {
        let (_, file) = log.file(id).ok()??;
        let incoming = store.begin().ok()?;
        let reader = incoming.reader().ok()?;
        Some((incoming, reader, file.name))
    });
    let (incoming, reader, name) = begun.await?;
    let live = Live::copy(id, name, reader);
    let live = Arc::new(DropOnPool::new(live, server.pool.clone()));
    match server.live().entry(id) {
        Entry::Occupied(other) => return Some(other.get().clone()),
        Entry::Vacant(place) => place.insert(live.clone()),
    };
    let follows = follow(
        server.clone(),
        following.clone(),
        live.clone(),
        incoming,
        first,
        held,
    );
    server.executor.spawn(follows).detach();
    Some(live)
}

async fn ask_live(
    handle: &Handle,
    following: &Following,
    id: EventId,
    offset: u64,
) -> io::Result<Vec<u8>> {
    let asked = format!("{id} {offset}");
    ask(handle, &following.subject("live"), asked.as_bytes()).await
}

/// Returns the contents of a file whose upload is complete, as the log of this server knows.
async fn stored_contents(server: &Arc<Server>, id: EventId) -> Option<FileContents> {
    let log = server.state().log.clone();
    let known = server.pool.run(move || log.file(id));
    known.await.ok()??.1.contents
}

/// Waits as long as a follower may wait for this server to store the end of a file.
async fn late(server: &Arc<Server>) {
    server.clock.wait(COPIED_WITHIN).await;
}

/// Copies a live file from another server as it arrives there, as long as somebody follows it here. `first` is the first
/// answer of the other server.
async fn follow(
    server: Arc<Server>,
    following: Following,
    live: SharedLive,
    mut incoming: Incoming,
    first: Vec<u8>,
    _held: Reservation,
) {
    let mut failures = 0;
    let mut next = Some(first);
    let end = loop {
        if let (_, Some(end)) = live.progress() {
            break end.map(|contents| (incoming, contents)); // it was removed
        }
        {
            let mut all = server.live();
            if Arc::strong_count(&live) <= 2 {
                all.remove(&live.id); // only this task and the list have it
                return;
            }
        }
        let answer = match next.take() {
            Some(first) => first,
            None => {
                let handle = following.connection().await;
                let asked = ask_live(&handle, &following, live.id, incoming.length());
                asked.await.unwrap_or_default()
            }
        };
        match answer.split_first() {
            Some((&says::BYTES, piece)) if !piece.is_empty() => {
                failures = 0;
                let (written, into) = write(&server, incoming, piece.to_vec()).await;
                incoming = into;
                if written.is_err() {
                    break None;
                }
                live.grow(incoming.length());
            }
            Some((&says::WAIT, _)) => failures = 0,
            Some((&says::END, _)) => {
                let (length, sha256) = incoming.sum();
                // Readers here are told the end of the upload before the followers are.
                if stored_contents(&server, live.id).await.is_none() {
                    let stored = server.exchange.stored(live.id);
                    future::or(stored, late(&server)).await;
                }
                break Some((incoming, FileContents { length, sha256 }));
            }
            Some(_) => {
                // Readers here are told of the removal, which ends the file, before the followers are.
                let ended = live.grown();
                if live.progress().1.is_none() {
                    future::or(ended, late(&server)).await;
                }
                break None;
            }
            // The upload has ended, and the server that received it has forgotten it, or there is no connection.
            None => {
                if let Some(contents) = stored_contents(&server, live.id).await {
                    let digest = contents.sha256;
                    match receive_rest(&server, &following, digest, None, incoming, |_| {}).await {
                        Ok(whole) => incoming = whole,
                        Err((e, _)) => {
                            warn!("cannot copy the rest of the live file {}: {e}", live.id);
                            break None;
                        }
                    }
                    live.grow(incoming.length());
                    break Some((incoming, contents));
                }
                failures += 1;
                if failures == ATTEMPTS {
                    break None;
                }
                Timer::after(PAUSE).await;
            }
        }
    };
    live.end(end.as_ref().map(|(_, contents)| *contents));
    server.live().remove(&live.id);
    server.exchange.wanted().stored.remove(&live.id);
    if let Some((incoming, contents)) = end {
        let store: Arc<Store> = server.store.clone();
        let kept = server
            .pool
            .run(move || store.keep_copy(incoming, contents.sha256));
        if kept.await.is_ok_and(|is_kept| is_kept) {
            server.exchange.is_copied(contents.sha256);
        }
    }
}
