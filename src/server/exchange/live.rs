//! Files that are still being uploaded: their followers on other servers, and the removal of those whose server is gone.

use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_io::Timer;
use event_listener::Event;
use futures_lite::future;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::files::{receive_rest, write};
use super::{
    ANSWER_WITHIN, ATTEMPTS, COPIED_WITHIN, MORE_WITHIN, PAUSE, ask, comes_before, reply, text,
};
use crate::chat::Reservation;
use crate::cluster::nats::{Error, Handle, Headers};
use crate::files::live::Live;
use crate::files::{Incoming, Store};
use crate::log::Location;
use crate::model::{FileContents, ServerName};
use crate::protocol::EventId;
use crate::replica::Following;
use crate::server::Server;
use crate::server::drop_on_pool::DropOnPool;
use crate::server::transfer::SharedLive;

/// The maximum size of a piece in bytes.
const PIECE_BYTES: usize = 256 << 10;

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

/// The live files that this server copies, and whether it must look for abandoned ones.
#[derive(Debug, Default)]
pub(super) struct LiveCopies {
    /// The live files whose end this server's readers have been told, as long as they are copied.
    stored: Mutex<HashSet<EventId>>,
    told: Event,
    /// Set when the epoch of a server has ended, until its live files are looked for.
    has_ended: AtomicBool,
    ended: Event,
}

impl LiveCopies {
    fn all_stored(&self) -> MutexGuard<'_, HashSet<EventId>> {
        self.stored
            .lock()
            .expect("no thread panics while it holds this")
    }

    /// Records that readers here have been told the end of the upload of a live file.
    pub(super) fn is_stored(&self, id: EventId) {
        self.all_stored().insert(id);
        self.told.notify(usize::MAX);
    }

    /// Waits until readers here have been told the end of the upload of a live file.
    async fn stored(&self, id: EventId) {
        loop {
            let told = self.told.listen();
            if self.all_stored().remove(&id) {
                return;
            }
            told.await;
        }
    }

    /// Records that the epoch of a server has ended.
    pub(super) fn epoch_ended(&self) {
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
}

/// Answers other servers that ask for live files.
///
/// # Errors
/// When the connection has ended.
pub(super) fn answer(
    server: &Arc<Server>,
    following: &Following,
    handle: &Handle,
) -> Result<impl Future<Output = ()>, Error> {
    let live = handle.subscribe(&following.subject("live"))?;
    let asks = handle.subscribe(&following.subject(RECEIVED))?;
    let sends = async move {
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
    let lists = async move {
        while let Some(message) = asks.next().await {
            let received = serde_json::to_vec(&received(server, following));
            reply(handle, &message, &received.unwrap_or_default());
        }
    };
    Ok(async {
        future::zip(sends, lists).await;
    })
}

/// Whenever the epoch of a server has ended, removes the live files that no server receives any more. The first of the
/// servers does that for all.
pub(super) async fn remove_abandoned(server: Arc<Server>, following: Following) {
    loop {
        server.exchange.live.end_of_epoch().await;
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
pub(in crate::server) async fn copy_live(
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
                    let stored = server.exchange.live.stored(live.id);
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
    server.exchange.live.all_stored().remove(&live.id);
    if let Some((incoming, contents)) = end {
        let store: Arc<Store> = server.store.clone();
        let kept = server
            .pool
            .run(move || store.keep_copy(incoming, contents.sha256));
        if kept.await.is_ok_and(|is_kept| is_kept) {
            server.exchange.files.is_copied(contents.sha256);
        }
    }
}
