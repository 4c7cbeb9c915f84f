//! File transfers of a connection, both ways, in constant memory.
//!
//! During an upload the connection still receives its events between two pieces; during a download it does not. Disk
//! access and hashing run on the threads of `blocking`, never here.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;

use async_io::Timer;
use futures_lite::future;
use smol::{Task, unblock};
use tracing::{error, warn};

use super::Server;
use super::connection::Connection;
use super::descriptors::{self, Held};
use super::elsewhere::Elsewhere;
use super::memory::Pieces;
use super::metrics::Met;
use super::send::{self, Failed};
use crate::chat::{NickId, RoomId};
use crate::files::Incoming;
use crate::files::live::Live;
use crate::log;
use crate::model::{Entry, EventKind, FileContents, PeerId, StorageError, Ticket};
use crate::protocol::{Code, Digest, EventId, FileName, Verb};
use crate::roster::guesses::Try;
use crate::roster::{Answer, Ask};
use crate::session::{Begun, Effect, Upload, UploadError};

/// How often an incomplete file is looked up among the live files: it is added a moment after it is announced, and one
/// whose end could not be stored is never found.
const LOOKS_MAX: usize = 100;

/// A live file, shared with the tasks that send it to its followers.
pub(super) type SharedLive = Arc<Elsewhere<Live>>;

/// An upload: idle between two pieces, or on the thread that hashes and writes one.
enum Coming {
    Here(Elsewhere<Incoming>),
    Written(Task<(Elsewhere<Incoming>, Vec<u8>, io::Result<()>)>),
}

/// The result of receiving an upload.
enum Received {
    /// The whole file is stored.
    Whole(FileContents),
    /// Nothing is stored, and this many bytes still follow (all up to the end of input for `None`).
    Refused(UploadError, Option<u64>),
    /// The server stops, or the connection must end.
    Cut,
}

impl Connection {
    /// Carries out the effects of a request before the next line is handled.
    pub(super) async fn transfer(&mut self, effect: Effect) {
        let mut next = Some(effect);
        let mut looks = 0;
        while let Some(effect) = next {
            if let Effect::Follow { id, .. } = &effect {
                looks += 1;
                if looks > LOOKS_MAX {
                    return self.session.lost_file(*id);
                }
            }
            next = self.do_effect(effect).await;
        }
    }

    async fn do_effect(&mut self, effect: Effect) -> Option<Effect> {
        match effect {
            Effect::Append(entry, ticket) => self.append(entry, ticket),
            Effect::Ask(question) => return self.ask(question).await,
            Effect::Consult(ask) => return self.consult(ask).await,
            Effect::Stop => {
                self.server.stopping.notify(usize::MAX);
            }
            Effect::Flush => {
                if !self.flush_replies().await {
                    self.session.break_off();
                    return None;
                }
                let now = self.server.clock.now();
                return self.session.flushed(&mut self.server.world().chat, now);
            }

            Effect::Receive(upload) => {
                self.carrier.expect_bytes(upload.length);
                self.receive_upload(upload).await;
            }
            Effect::Discard(length) => {
                self.carrier.expect_bytes(length);
                self.discard(length).await;
                self.session.discarded();
            }
            Effect::Send {
                id,
                name,
                whole,
                offset,
                room,
            } => {
                self.send_file(id, &name, whole, offset, room).await;
            }
            Effect::Follow { id, offset, room } => return self.follow(id, room, offset).await,
        }
        None
    }

    /// Sends the log a query once the client has received all pending replies, so that a long answer costs the memory
    /// of one piece.
    async fn ask(&mut self, question: log::Question) -> Option<Effect> {
        if !self.flush_replies().await {
            self.session.break_off();
            return None;
        }
        let answer = self.read_log(question).await;
        let now = self.server.clock.now();
        let mut world = self.server.changes();
        self.session.answered(answer, &mut world.chat, now)
    }

    /// Sends the accounts a query, on a thread of its own. A password waits until few others are being hashed, and is
    /// delayed further after many wrong ones.
    async fn consult(&mut self, ask: Ask) -> Option<Effect> {
        let shared = match &ask {
            Ask::Share { nick, .. } => Some(nick.clone()),
            _ => None,
        };
        let (answer, tried) = self.advice(ask).await;
        let is_right = matches!(answer, Ok(Answer::Password | Answer::Token));
        let now = self.server.clock.now();
        let mut world = self.server.changes();
        let nick = self.session.called();
        let next = self.session.advised(answer, &mut world.chat, now);
        let holds = self.session.called();
        let holds = holds.and_then(|holds| world.chat.holder(holds));
        let is_shared = shared.is_some_and(|nick| holds.is_some_and(|holder| holder.nick == nick));
        if let Some(tried) = tried.filter(|_| is_right || is_shared) {
            world.guesses.was_right(tried);
        }
        self.log_nick(nick, &world);
        next
    }

    /// Runs an account query; returns its result and, for a password, the attempt that it counts as.
    async fn advice(&self, ask: Ask) -> (Result<Answer, Code>, Option<Try>) {
        let server = self.server.clone();
        let mut tried = None;
        let guessed = match &ask {
            Ask::Enter { nick, .. } | Ask::Share { nick, .. } => Some(Some(nick.form())),
            Ask::Pass(_) => Some(None),
            _ => None,
        };
        if let Some(nick) = guessed {
            let Some(address) = server.world().chat.address(self.session.peer()) else {
                return (Err(Code::Internal), None);
            };
            let now = server.clock.now().uptime;
            let begun = server.world().guesses.begin(address, nick, now);
            let Some(begun) = begun else {
                let text = match nick {
                    Some(nick) => {
                        format!("too many wrong passwords, now for {nick} from {address}")
                    }
                    None => format!("too many wrong passwords, now the server's from {address}"),
                };
                server.metrics.met(Met::Passwords, now, &text);
                return (Ok(Answer::TooMany), None);
            };
            if !begun.wait.is_zero() {
                Timer::after(begun.wait).await;
            }
            tried = Some(begun);
        }
        let few = match &ask {
            Ask::Enter { .. } | Ask::Register { .. } => {
                (Some(server.passwords.acquire().await), None)
            }
            _ => {
                let address = server.world().chat.address(self.session.peer());
                let Some(address) = address else {
                    return (Err(Code::Internal), None);
                };
                (None, Some(server.questions.take(address).await))
            }
        };
        let roster = server.roster.clone();
        let time = server.clock.now().time;
        let answer = unblock(move || roster.answer(&ask, time)).await;
        drop(few);
        let answer = answer.map_err(|e| {
            error!("the roster cannot be read or kept: {e}");
            e.code()
        });
        (answer, tried)
    }

    /// Waits until every reply has been sent or the client no longer reads; returns false when an operator closes the
    /// connection before that.
    async fn flush_replies(&mut self) -> bool {
        loop {
            {
                let peer = self.session.peer();
                let mut world = self.server.world();
                world.looks(peer);
                if world.chat.is_ended(peer) {
                    return false;
                }
            }
            self.flush();
            if self.is_deaf || !self.session.owes_replies() {
                return true;
            }
            if self.wants_past() {
                self.catch_up().await
            } else {
                self.wait(false).await
            }
        }
    }

    /// Reads from the log the events that a slow reader has missed.
    pub(super) async fn catch_up(&mut self) {
        let question = self.session.catch_up(&self.server.world().chat);
        let Some((room, question)) = question else {
            return;
        };
        self.server.metrics.catch_ups.add(1);
        let answer = self.read_log(question).await;
        let now = self.server.clock.now();
        self.session
            .caught_up(room, answer.ok(), &mut self.server.world().chat, now);
    }

    async fn read_log(&mut self, question: log::Question) -> Result<log::Answer, Code> {
        let server = self.server.clone();
        let log = server.world().log.clone();
        let address = server.world().chat.address(self.session.peer());
        let address = address.ok_or(Code::Internal)?;
        let turns = match &question {
            log::Question::Search { .. } => &server.searches,
            _ => &server.questions,
        };
        let turn = turns.take(address).await;
        // What only reads is not done for somebody who has gone.
        self.is_deaf |= self.carrier.is_broken();
        if self.is_deaf && question.only_reads() {
            return Err(Code::Internal);
        }
        let answer = unblock(move || log::answer(&*log, &question)).await;
        drop(turn);
        answer.map_err(|e| {
            if !matches!(e, StorageError::TooMany) {
                warn!("cannot read the log, or keep a place in it: {e}");
            }
            e.code()
        })
    }

    async fn receive_upload(&mut self, upload: Upload) {
        let store = self.server.store.clone();
        let is_live = upload.length.is_none();
        let held = self.take_descriptors(descriptors::UPLOAD);
        let begun = match &held {
            None => Err(UploadError {
                code: Code::Busy,
                text: BUSY.into(),
                closes: false,
            }),
            Some(_) => unblock(move || {
                let incoming = store.begin()?;
                let reader = is_live.then(|| incoming.reader());
                let reader = reader.transpose()?.map(Elsewhere::new);
                io::Result::Ok((Elsewhere::new(incoming), reader))
            })
            .await
            .map_err(|e| disk_error(&e)),
        };
        let (received, live) = match begun {
            Err(error) => (Received::Refused(error, upload.length), None),
            Ok((incoming, reader)) => {
                let live = match reader {
                    Some(reader) => self.go_live(&upload, reader).await,
                    None => None,
                };
                (self.receive(&upload, incoming, live.as_ref()).await, live)
            }
        };
        let (outcome, rest) = match received {
            Received::Cut => {
                // A client whose connection an operator closes is sent the reason after this.
                self.is_cut = self.server.world().is_stopping;
                let text = "the connection is being ended".into();
                let error = UploadError {
                    code: Code::ShuttingDown,
                    text,
                    closes: self.is_cut,
                };
                (Err(error), Some(0))
            }
            Received::Whole(whole) => (Ok(whole), Some(0)),
            Received::Refused(error, rest) => (Err(error), rest),
        };
        let closes = outcome.as_ref().is_err_and(|error| error.closes);
        let room = upload.room;
        let effect = {
            let now = self.server.clock.now();
            let chat = &mut self.server.world().chat;
            let begun = match &live {
                None => Begun::Unannounced,
                Some(live) if live.progress().1.is_some() => Begun::Removed,
                Some(live) => Begun::Live(live.id),
            };
            self.session.received(upload, begun, outcome, chat, now)
        };
        let mut end = None;
        if let Some(Effect::Append(entry, ticket)) = effect {
            if let EventKind::Stored(_, contents) = &entry.kind {
                end = Some(*contents);
            }
            self.append(entry, ticket);
        }
        if let Some(live) = live {
            self.end_live(&live, end, room).await;
        }
        if !closes && rest != Some(0) {
            self.discard(rest).await;
        }
    }

    /// Announces a live file; returns `None` when that could not be stored.
    async fn go_live(&mut self, upload: &Upload, file: Elsewhere<File>) -> Option<SharedLive> {
        let effect = self.session.announce(upload, &mut self.server.world().chat);
        if let Some(Effect::Append(entry, ticket)) = effect {
            self.append(entry, ticket);
        }
        self.settle().await;
        let id = self.session.announced(&mut self.server.world().chat)??;
        let live = Live::new(id, upload.name.clone(), file.into_inner());
        let live = Arc::new(Elsewhere::new(live));
        self.server.live().insert(id, live.clone());
        self.flush();
        Some(live)
    }

    /// Reports the end of a live file to its followers, once the end is stored.
    async fn end_live(&mut self, live: &Live, end: Option<FileContents>, room: RoomId) {
        let mut is_kept = self.settle().await;
        let mut end = end;
        if !is_kept && end.take().is_some() {
            // The upload is complete, but the log cannot store that: the file is removed.
            let effect = self
                .session
                .give_up(live.id, room, &mut self.server.world().chat);
            if let Some(Effect::Append(entry, ticket)) = effect {
                self.append(entry, ticket);
            }
            is_kept = self.settle().await;
        }
        live.end(end);
        // If even the removal could not be stored, new followers learn the end from this entry.
        if is_kept {
            self.server.live().remove(&live.id);
        }
    }

    fn append(&mut self, entry: Entry, ticket: Ticket) {
        let now = self.server.clock.now();
        self.server.changes().append(entry, Some(ticket), now);
    }

    /// Waits until all pending entries are stored or rejected; returns whether the last one was stored.
    async fn settle(&mut self) -> bool {
        loop {
            {
                let mut world = self.server.world();
                world.looks(self.session.peer());
                let last = self.session.announced(&mut world.chat);
                if self.session.is_settled() {
                    return last.flatten().is_some();
                }
            }
            self.wait(false).await;
        }
    }

    /// Sends a live file as it arrives.
    async fn follow(&mut self, id: EventId, room: RoomId, mut offset: u64) -> Option<Effect> {
        let live = self.server.live().get(&id).cloned();
        let Some(live) = live else {
            // The upload has ended: it is complete by now, or removed.
            return self.session.find_file(id, offset);
        };
        let pieces = Pieces::reserve(&self.server.pieces);
        self.carrier.watch_closely();
        loop {
            let grown = live.grown();
            let new_rights = self.server.new_rights.listen();
            // Between two pieces the line can be sent that says why the transfer ends.
            if !self.flush_replies().await || self.server.world().is_stopping {
                self.session.break_off();
                return None;
            }
            let (length, end) = live.progress();
            if self.is_deaf {
                break;
            }
            if !self.may_still_read(room) {
                self.session.hide_file(id);
                return None;
            }
            if offset < length {
                let wanted = pieces.size(Some(length - offset));
                let file = live.clone();
                let read = unblock(move || {
                    let mut piece = vec![0; wanted];
                    file.read(&mut piece, offset).map(|()| piece)
                });
                let piece = match read.await {
                    Ok(piece) => piece,
                    Err(e) => {
                        warn!("cannot read file {id}: {e}");
                        self.session.failed(
                            Verb::Download,
                            "the file cannot be read; the server's log tells why",
                        );
                        return None;
                    }
                };
                let is_removed = matches!(live.progress().1, Some(None));
                if is_removed || !self.may_still_read(room) {
                    continue;
                }
                let bytes = if self.carrier.is_local() {
                    piece // each delivery says what it is
                } else {
                    let header = format!("DATA {id} {wanted} - {}\n", live.name);
                    [header.as_bytes(), &piece].concat()
                };
                self.carrier.bytes_follow(wanted as u64);
                let server = self.server.clone();
                let dismissed = dismissed(&server, self.session.peer());
                let writing = self.carrier.write_all(&bytes);
                let written = future::or(async { Some(writing.await) }, async {
                    dismissed.await;
                    None
                });
                match written.await {
                    Some(written) => self.is_deaf |= written.is_err(),
                    // A part of the piece has been sent: the transfer can only be aborted by closing the connection.
                    None => {
                        self.is_cut = true;
                        return None;
                    }
                }
                offset += wanted as u64;
                continue;
            }
            match end {
                Some(Some(_)) => break,
                Some(None) => {
                    self.session.lost_file(id);
                    return None;
                }
                None => self.wait_for(future::or(grown, new_rights)).await,
            }
        }
        self.session.sent_file(id);
        None
    }

    /// Returns whether the connection may still read the files of `room`.
    fn may_still_read(&self, room: RoomId) -> bool {
        self.session.may_still_read(room, &self.server.world().chat)
    }

    async fn receive(
        &mut self,
        upload: &Upload,
        incoming: Elsewhere<Incoming>,
        live: Option<&SharedLive>,
    ) -> Received {
        let most = self.server.config.limits.upload_bytes_max;
        let mut left = upload.length;
        let mut length = 0;
        let pieces = Pieces::reserve(&self.server.pieces);
        let mut piece = vec![0; pieces.size(left)];
        // The next piece is read while this one is hashed and written.
        let mut file = Coming::Here(incoming);
        let incoming = loop {
            let Ok(taken) = self.next_bytes(&mut piece, left).await else {
                return Received::Cut;
            };
            let (mut incoming, mut spare) = match file {
                Coming::Here(incoming) => (incoming, Vec::new()),
                Coming::Written(task) => match task.await {
                    (incoming, spare, Ok(())) => (incoming, spare),
                    (_, _, Err(e)) => {
                        let rest = left.map(|left| left.saturating_sub(taken as u64));
                        return Received::Refused(disk_error(&e), rest);
                    }
                },
            };
            if live.is_some_and(|live| live.progress().1.is_some()) {
                return Received::Refused(UploadError::removed(), None);
            }
            if taken == 0 {
                break incoming;
            }
            length += taken as u64;
            if length > most {
                let text = format!("a file has at most {most} bytes here").into();
                let error = UploadError {
                    code: Code::TooLarge,
                    text,
                    closes: true,
                };
                return Received::Refused(error, left);
            }
            // A file of known length was counted when the upload began.
            let comes = match upload.length {
                Some(_) => Ok(()),
                None => {
                    let (peer, nick) = (self.session.peer(), self.session.called());
                    self.server.world().chat.file_comes(peer, nick, length)
                }
            };
            if let Err(text) = comes {
                let error = UploadError {
                    code: Code::Quota,
                    text: text.into(),
                    closes: false,
                };
                let rest = left.map(|left| left.saturating_sub(taken as u64));
                return Received::Refused(error, rest);
            }
            left = left.map(|left| left.saturating_sub(taken as u64));
            spare.resize(pieces.size(left), 0);
            let full = std::mem::replace(&mut piece, spare);
            let live = live.cloned();
            file = Coming::Written(unblock(move || {
                let result = incoming.write(full.get(..taken).unwrap_or_default());
                if let (Some(live), Ok(())) = (live, &result) {
                    live.grow(incoming.length());
                }
                (incoming, full, result)
            }));
        };
        if left.is_some_and(|left| left > 0) || (left.is_none() && self.is_reset) {
            let text = "the input ended before the file did".into();
            let error = UploadError {
                code: Code::Incomplete,
                text,
                closes: true,
            };
            return Received::Refused(error, Some(0));
        }
        self.keep(incoming, upload.sha256).await
    }

    async fn keep(&mut self, incoming: Elsewhere<Incoming>, expected: Option<Digest>) -> Received {
        let (length, digest) = incoming.sum();
        if expected.is_some_and(|expected| expected != digest) {
            let text = "the bytes do not have that sha256: they were altered on the way, or the length is wrong";
            let error = UploadError {
                code: Code::Corrupt,
                text: text.into(),
                closes: true,
            };
            return Received::Refused(error, Some(0));
        }
        let store = self.server.store.clone();
        match unblock(move || store.keep(incoming.into_inner(), digest)).await {
            Ok(()) => Received::Whole(FileContents {
                length,
                sha256: digest,
            }),
            Err(e) => Received::Refused(disk_error(&e), Some(0)),
        }
    }

    /// Reads and drops `left` bytes, or everything up to the end of input.
    async fn discard(&mut self, mut left: Option<u64>) {
        let pieces = Pieces::reserve(&self.server.pieces);
        let mut piece = vec![0; pieces.size(left)];
        loop {
            match self.next_bytes(&mut piece, left).await {
                Err(Stopping) => {
                    self.is_cut = self.server.world().is_stopping;
                    return;
                }
                Ok(0) => return,
                Ok(taken) => left = left.map(|left| left.saturating_sub(taken as u64)),
            }
        }
    }

    /// Reads the next bytes of the input, at most `left`; returns 0 at its end. Sends the client its events meanwhile.
    async fn next_bytes(&mut self, piece: &mut [u8], left: Option<u64>) -> Result<usize, Stopping> {
        let most = left.map_or(usize::MAX, |left| {
            usize::try_from(left).unwrap_or(usize::MAX)
        });
        let most = most.min(piece.len());
        let piece = piece.get_mut(..most).unwrap_or_default();
        if piece.is_empty() {
            return Ok(0);
        }
        if !self.input.is_empty() {
            let taken = piece.len().min(self.input.len());
            for (to, from) in piece.iter_mut().zip(self.input.drain(..taken)) {
                *to = from;
            }
            if self.input.is_empty() {
                self.input = Vec::new();
            }
            return Ok(taken);
        }
        loop {
            if self.is_dismissed() {
                return Err(Stopping);
            }
            self.server.world().looks(self.session.peer());
            self.flush();
            if self.has_ended {
                return Ok(0);
            }
            let taken = self.read(piece);
            if std::mem::take(&mut self.is_file_over) {
                return Ok(0);
            }
            if taken > 0 {
                // The next read is tried at once: while this piece is hashed and written, more will have arrived.
                self.is_readable = true;
                return Ok(taken);
            }
            if !self.has_ended {
                self.wait(true).await;
            }
        }
    }

    /// Takes descriptors for a file on its way, if there are some for where this connection comes from.
    fn take_descriptors(&self, count: usize) -> Option<Held> {
        let address = self.server.world().chat.address(self.session.peer())?;
        let held = self.server.descriptors.take(address, count);
        if held.is_none() {
            let text = "files on their way take all the open files that there are for them, or for one address";
            let uptime = self.server.clock.now().uptime;
            self.server.metrics.met(Met::OpenFiles, uptime, text);
        }
        held
    }

    /// Returns whether transfers must stop, because the server stops or an operator closes this connection.
    fn is_dismissed(&self) -> bool {
        let world = self.server.world();
        world.is_dismissed(self.session.peer())
    }

    async fn send_file(
        &mut self,
        id: EventId,
        name: &FileName,
        whole: FileContents,
        offset: u64,
        room: RoomId,
    ) {
        // The file is sent in one piece, after all earlier replies.
        if !self.flush_replies().await {
            return self.session.break_off();
        }
        let FileContents {
            length,
            sha256: digest,
        } = whole;
        let held = self.take_descriptors(descriptors::DOWNLOAD);
        if held.is_none() {
            return self.session.is_too_busy(Verb::Download, BUSY);
        }
        let store = self.server.store.clone();
        let file = match unblock(move || store.get(digest).map(Elsewhere::new)).await {
            Ok(file) => file,
            Err(e) => {
                warn!("cannot read file {id}: {e}");
                return self.session.failed(
                    Verb::Download,
                    "the file cannot be read; the server's log tells why",
                );
            }
        };
        if !self.may_still_read(room) {
            return self.session.hide_file(id);
        }
        let left = length.saturating_sub(offset);
        let head = if self.carrier.is_local() {
            String::new() // each delivery says what it is
        } else {
            format!("DATA {id} {left} {digest} {name}\n")
        };
        self.carrier.bytes_follow(left);
        let pieces = Pieces::reserve(&self.server.pieces);
        let server = self.server.clone();
        let nick = self.session.called();
        let dismissed = future::or(
            dismissed(&server, self.session.peer()),
            closed_to(&server, room, nick),
        );
        let sending = async {
            match self.carrier.write_all(head.as_bytes()).await {
                Ok(()) => send::send(&mut self.carrier, file, offset, left, &pieces).await,
                Err(_) => Err(Failed::Gone),
            }
        };
        let sent = future::or(async { Some(sending.await) }, async {
            dismissed.await;
            None
        });
        match sent.await {
            None => {
                self.is_cut = true;
                return;
            }
            Some(Ok(())) => {}
            Some(Err(Failed::Gone)) => self.is_deaf = true,
            Some(Err(Failed::File(e))) => {
                // The length has been announced: only the end of the connection tells the client that the file is cut.
                warn!("cannot read file {id}: {e}");
                self.is_cut = true;
                return;
            }
        }
        self.session.sent_file(id);
    }
}

/// What is answered when no more files can be opened.
pub(super) const BUSY: &str =
    "too many files are on their way, in all or at your address; try again later";

/// Transfers are aborted, because the server stops or the connection must end.
struct Stopping;

/// Completes when the server stops or an operator closes the connection of `peer`.
async fn dismissed(server: &Server, peer: PeerId) {
    poll_fn(|cx| {
        let mut world = server.world();
        world.looks(peer);
        if world.is_dismissed(peer) {
            return Poll::Ready(());
        }
        world.poll_news(peer, cx.waker())
    })
    .await;
}

/// Completes when `nick`, or a connection without a nick, may no longer read `room`.
pub(super) async fn closed_to(server: &Server, room: RoomId, nick: Option<NickId>) {
    loop {
        let new_rights = server.new_rights.listen();
        if !server.world().chat.may_read(room, nick) {
            return;
        }
        new_rights.await;
    }
}

/// Returns the error for an upload that the disk does not accept.
fn disk_error(e: &io::Error) -> UploadError {
    warn!("cannot keep a file: {e}");
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let (code, text) = match e.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => {
            (Code::Quota, "there is no space left for that file")
        }
        _ => (
            Code::Internal,
            "the file cannot be kept; the server's log tells why",
        ),
    };
    UploadError {
        code,
        text: text.into(),
        closes: false,
    }
}
