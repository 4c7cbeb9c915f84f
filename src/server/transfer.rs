//! The file transfers of a connection in both directions, in constant memory.
//!
//! During an upload, the connection still receives its events between two pieces; during a download it does not. The
//! disk is accessed, and bytes are hashed, on the threads of `blocking`, never here.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;

use futures_lite::future;
use smol::Task;
use tracing::{error, warn};

use super::Server;
use super::changes::release_file;
use super::connection::{Connection, InputEnd};
use super::descriptors;
use super::drop_on_pool::DropOnPool;
use super::exchange;
use super::memory::Pieces;
use super::metrics::LimitKind;
use super::send::{self, Failed};
use crate::accounts::guesses::Attempt;
use crate::accounts::{AccountQuery, AccountResult};
use crate::chat::Reservation;
use crate::chat::{FilePlace, NickId};
use crate::files::Incoming;
use crate::files::live::Live;
use crate::log;
use crate::model::{Entry, EventKind, FileContents, PeerId, StorageError, Ticket};
use crate::protocol::{Code, Digest, EventId, Verb};
use crate::session::{Begun, Effect, OutgoingFile, Upload, UploadError};

/// The maximum number of attempts to find an incomplete file among the live files. Several may be necessary, because
/// a live file is added there a moment after its announcement. A file whose end could not be stored is never found.
const LOOKS_MAX: usize = 100;

/// A live file, shared with the tasks that send it to its followers.
pub(super) type SharedLive = Arc<DropOnPool<Live>>;

/// An upload: it is idle between two pieces, or on the thread that hashes and writes a piece.
enum IncomingFile {
    Here(DropOnPool<Incoming>),
    Written(Task<(DropOnPool<Incoming>, Vec<u8>, io::Result<()>)>),
}

/// The result of receiving an upload.
enum Received {
    /// The whole file has been stored.
    Whole(FileContents),
    /// Nothing has been stored. This many bytes still follow; with `None`, all bytes up to the end of the input.
    Refused(UploadError, Option<u64>),
    /// The server stops, or the connection must end.
    Cut,
}

impl Connection {
    /// Executes the effects of a request before the next line is handled.
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
            Effect::QueryLog(query) => return self.query_log(*query).await,
            Effect::QueryAccounts(query) => return self.query_accounts(*query).await,
            Effect::Stop => {
                self.server.stopping.notify(usize::MAX);
            }
            Effect::Flush => {
                // Output that was dropped because the client has gone does not count as sent.
                if !self.flush_replies().await || self.is_write_closed {
                    self.session.break_off();
                    return None;
                }
                let now = self.server.clock.now();
                return self.session.flushed(&mut self.server.state().chat, now);
            }

            Effect::Receive(upload) => {
                self.carrier.expect_bytes(upload.length);
                self.receive_upload(*upload).await;
            }
            Effect::ReceiveText(text) => {
                self.carrier.expect_bytes(Some(text.length as u64));
                self.receive_text(*text).await;
            }
            Effect::Discard(length) => {
                self.carrier.expect_bytes(length);
                self.discard(length).await;
                self.session.discarded();
            }
            Effect::Send(file) => self.send_file(*file).await,
            Effect::Follow { id, offset, place } => return self.follow(id, place, offset).await,
        }
        None
    }

    /// Passes a query to the log when the client has received all pending replies, so that a long answer takes only
    /// the memory of one piece.
    async fn query_log(&mut self, query: log::LogQuery) -> Option<Effect> {
        if !self.flush_replies().await {
            self.session.break_off();
            return None;
        }
        let result = self.read_log(query).await;
        let now = self.server.clock.now();
        let mut state = self.server.changes();
        self.session.on_log_result(result, &mut state.chat, now)
    }

    /// Passes a query to the accounts, on a thread of its own. A password waits until few others are being hashed.
    /// After many wrong passwords, it is delayed further.
    async fn query_accounts(&mut self, query: AccountQuery) -> Option<Effect> {
        let shared = match &query {
            AccountQuery::ShareNick { nick, secret } => Some((nick.clone(), secret.clone())),
            _ => None,
        };
        let (result, tried) = self.run_account_query(query).await;
        let mut is_right = matches!(result, Ok(AccountResult::Password | AccountResult::Token));
        let now = self.server.clock.now();
        let mut state = self.server.changes();
        if let Some((nick, secret)) = shared {
            // If several servers share the chat, it is decided later who gets the nick.
            is_right = state.chat.is_reserved_with(&nick, &secret);
        }
        let nick = self.session.nick_id();
        let next = self.session.on_account_result(result, &mut state.chat, now);
        if let Some(tried) = tried.filter(|_| is_right) {
            state.guesses.succeeded(tried);
        }
        self.log_nick(nick, &state);
        next
    }

    /// Runs a query to the accounts. Returns its result and, for a password, the attempt that it counts as.
    async fn run_account_query(
        &self,
        query: AccountQuery,
    ) -> (Result<AccountResult, Code>, Option<Attempt>) {
        let server = self.server.clone();
        let mut tried = None;
        let guessed = match &query {
            AccountQuery::Login { nick, .. } | AccountQuery::ShareNick { nick, .. } => {
                Some(Some(nick.casefolded()))
            }
            AccountQuery::ServerPassword(_) => Some(None),
            _ => None,
        };
        if let Some(nick) = guessed {
            let Some(address) = server.state().chat.address(self.session.peer()) else {
                return (Err(Code::Internal), None);
            };
            let now = server.clock.now().uptime;
            let begun = server.state().guesses.start(address, nick, now);
            let Some(begun) = begun else {
                let text = match nick {
                    Some(nick) => {
                        format!("too many wrong passwords, most recently for {nick} from {address}")
                    }
                    None => format!(
                        "too many wrong passwords for the server, most recently from {address}"
                    ),
                };
                server.metrics.limit_hit(LimitKind::Passwords, now, &text);
                return (Ok(AccountResult::TooMany), None);
            };
            if !begun.wait.is_zero() {
                server.clock.wait(begun.wait).await;
            }
            tried = Some(begun);
        }
        let few = match &query {
            AccountQuery::Login { .. } | AccountQuery::Register { .. } => {
                (Some(server.passwords.acquire().await), None)
            }
            _ => {
                let address = server.state().chat.address(self.session.peer());
                let Some(address) = address else {
                    return (Err(Code::Internal), None);
                };
                (None, Some(server.questions.take(address).await))
            }
        };
        let accounts = server.accounts.clone();
        let time = server.clock.now().time;
        let result = server.pool.run(move || accounts.run(&query, time)).await;
        drop(few);
        let result = result.map_err(|e| {
            error!("accounts, bans and permissions cannot be read or stored: {e}");
            e.code()
        });
        (result, tried)
    }

    /// Waits until every reply has been sent or the client no longer reads. Returns false if an operator closes the
    /// connection before that.
    async fn flush_replies(&mut self) -> bool {
        loop {
            {
                let peer = self.session.peer();
                let mut state = self.server.state();
                state.clear_wakeup(peer);
                if state.chat.is_ended(peer) {
                    return false;
                }
            }
            self.flush();
            if self.is_write_closed || !self.session.owes_replies() {
                return true;
            }
            if self.wants_catch_up() {
                self.catch_up().await
            } else {
                self.wait(false).await;
            }
        }
    }

    /// Reads from the log the events that a slow reader has missed.
    pub(super) async fn catch_up(&mut self) {
        let query = self.session.backlog_query(&self.server.state().chat);
        let Some((room, query)) = query else {
            return;
        };
        self.server.metrics.catch_ups.add(1);
        let result = self.read_log(query).await;
        let now = self.server.clock.now();
        self.session
            .on_backlog(room, result.ok(), &mut self.server.state().chat, now);
    }

    async fn read_log(&mut self, query: log::LogQuery) -> Result<log::LogResult, Code> {
        let server = self.server.clone();
        let log = server.state().log.clone();
        let address = server.state().chat.address(self.session.peer());
        let address = address.ok_or(Code::Internal)?;
        let turns = match &query {
            log::LogQuery::Search { .. } => &server.searches,
            _ => &server.questions,
        };
        let turn = turns.take(address).await;
        // If the client has gone, a query that only reads is not needed.
        self.is_write_closed |= self.carrier.is_broken();
        if self.is_write_closed && query.only_reads() {
            return Err(Code::Internal);
        }
        let result = server.pool.run(move || log::run_query(&*log, &query)).await;
        drop(turn);
        result.map_err(|e| {
            if !matches!(e, StorageError::TooMany) {
                warn!("cannot read the log, or store a reader's position: {e}");
            }
            e.code()
        })
    }

    async fn receive_upload(&mut self, upload: Upload) {
        let (store, pool) = (self.server.store.clone(), self.server.pool.clone());
        let is_live = upload.length.is_none();
        let reservation = self.take_descriptors(descriptors::UPLOAD);
        let begun = match &reservation {
            None => Err(UploadError {
                code: Code::Busy,
                text: BUSY.into(),
                closes: false,
            }),
            Some(_) => self
                .server
                .pool
                .run(move || {
                    let incoming = store.begin()?;
                    let reader = is_live.then(|| incoming.reader());
                    let reader = reader.transpose()?;
                    let reader = reader.map(|reader| DropOnPool::new(reader, pool.clone()));
                    io::Result::Ok((DropOnPool::new(incoming, pool), reader))
                })
                .await
                .map_err(|e| disk_error(&e)),
        };
        let (received, live) = match begun {
            Err(error) => (Received::Refused(error, upload.length), None),
            Ok((incoming, reader)) => {
                let live = match reader {
                    Some(reader) => self.go_live(&upload, reader).await,
                    None => Ok(None),
                };
                match live {
                    Ok(live) => (self.receive(&upload, incoming, live.as_ref()).await, live),
                    Err(error) => (Received::Refused(error, upload.length), None),
                }
            }
        };
        let (outcome, rest) = match received {
            Received::Cut => (Err(self.cut_off()), Some(0)),
            Received::Whole(contents) => (Ok(contents), Some(0)),
            Received::Refused(error, rest) => (Err(error), rest),
        };
        let closes = outcome.as_ref().is_err_and(|error| error.closes);
        let place = upload.place.clone();
        let effect = {
            let now = self.server.clock.now();
            let chat = &mut self.server.state().chat;
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
                end = Some(**contents);
            }
            self.append(entry, ticket);
        }
        if let Some(live) = live {
            self.end_live(&live, end, &place).await;
        }
        if !closes && rest != Some(0) {
            self.discard(rest).await;
        }
    }

    /// Returns the error of an upload or text that ends because the connection ends. If an operator closes the
    /// connection, the client receives the reason after this error.
    pub(super) fn cut_off(&mut self) -> UploadError {
        self.is_aborted = self.server.state().is_stopping;
        UploadError {
            code: Code::ShuttingDown,
            text: "the connection is being closed".into(),
            closes: self.is_aborted,
        }
    }

    /// Announces a live file. Returns `None` if the announcement could not be stored.
    ///
    /// # Errors
    /// When the user may no longer send files to the place.
    async fn go_live(
        &mut self,
        upload: &Upload,
        file: DropOnPool<File>,
    ) -> Result<Option<SharedLive>, UploadError> {
        let effect = self
            .session
            .announce(upload, &mut self.server.state().chat)?;
        if let Some(Effect::Append(entry, ticket)) = effect {
            self.append(entry, ticket);
        }
        self.wait_until_committed().await;
        let announced = self.session.announced(&mut self.server.state().chat);
        let Some(id) = announced.flatten() else {
            return Ok(None);
        };
        let live = Live::new(id, upload.name.clone(), file.into_inner());
        let live = Arc::new(DropOnPool::new(live, self.server.pool.clone()));
        self.server.live().insert(id, live.clone());
        self.flush();
        Ok(Some(live))
    }

    /// Reports the end of a live file to its followers, when the end has been stored.
    async fn end_live(&mut self, live: &Live, end: Option<FileContents>, place: &FilePlace) {
        let mut is_kept = self.wait_until_committed().await;
        let mut end = end;
        if !is_kept && end.take().is_some() {
            // The upload is complete, but the log could not store its end, so the file is removed.
            let effect = self
                .session
                .give_up(live.id, place, &mut self.server.state().chat);
            if let Some(Effect::Append(entry, ticket)) = effect {
                self.append(entry, ticket);
            }
            is_kept = self.wait_until_committed().await;
        }
        live.end(end);
        // If the removal could not be stored either, the live file stays in the list, so that new followers learn of
        // its end.
        if is_kept {
            self.server.live().remove(&live.id);
        }
    }

    pub(super) fn append(&mut self, entry: Arc<Entry>, ticket: Ticket) {
        let now = self.server.clock.now();
        self.server.changes().append(entry, Some(ticket), now);
    }

    /// Waits until all pending entries are stored or refused. Returns whether the last one was stored.
    async fn wait_until_committed(&mut self) -> bool {
        loop {
            {
                let mut state = self.server.state();
                state.clear_wakeup(self.session.peer());
                let last = self.session.announced(&mut state.chat);
                if self.session.is_settled() {
                    return last.flatten().is_some();
                }
            }
            self.wait(false).await;
        }
    }

    /// Sends a live file as it arrives.
    async fn follow(&mut self, id: EventId, place: FilePlace, mut offset: u64) -> Option<Effect> {
        let mut live = self.server.live().get(&id).cloned();
        if let Some(following) = self.server.following.get().filter(|_| live.is_none()) {
            let Some(held) = self.take_descriptors(descriptors::UPLOAD) else {
                self.session.is_too_busy(Verb::Download, BUSY);
                return None;
            };
            live = exchange::copy_live(&self.server, following, id, held).await;
        }
        let Some(live) = live else {
            // The upload has ended, so the file is now complete or removed.
            return self.session.find_file(id, offset);
        };
        let pieces = Pieces::reserve(&self.server.pieces);
        self.carrier.watch_closely();
        loop {
            let grown = live.grown();
            let acl_changes = self.server.acl_changes.listen();
            // Between two pieces, the line that says why the transfer ends can be sent.
            if !self.flush_replies().await || self.server.state().is_stopping {
                self.session.break_off();
                return None;
            }
            let (length, end) = live.progress();
            if self.is_write_closed {
                break;
            }
            if !self.may_still_read(&place) {
                self.session.hide_file(id);
                return None;
            }
            if offset < length {
                let wanted = pieces.size(Some(length - offset));
                let file = live.clone();
                let read = self.server.pool.run(move || {
                    let mut piece = vec![0; wanted];
                    file.read(&mut piece, offset).map(|()| piece)
                });
                let piece = match read.await {
                    Ok(piece) => piece,
                    Err(e) => {
                        warn!("cannot read file {id}: {e}");
                        self.session.failed(
                            Verb::Download,
                            "the file cannot be read; the server's log has the reason",
                        );
                        return None;
                    }
                };
                let is_removed = matches!(live.progress().1, Some(None));
                if is_removed || !self.may_still_read(&place) {
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
                    Some(written) => self.is_write_closed |= written.is_err(),
                    // A part of the piece has been sent, so the transfer can be aborted only by closing the
                    // connection.
                    None => {
                        self.is_aborted = true;
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
                None => self.wait_for(future::or(grown, acl_changes)).await,
            }
        }
        self.session.sent_file(id);
        None
    }

    /// Returns whether the connection may still read the files of a place.
    fn may_still_read(&self, place: &FilePlace) -> bool {
        self.session
            .may_still_read(place, &self.server.state().chat)
    }

    async fn receive(
        &mut self,
        upload: &Upload,
        incoming: DropOnPool<Incoming>,
        live: Option<&SharedLive>,
    ) -> Received {
        let most = self.server.config.limits.upload_bytes_max;
        let mut left = upload.length;
        let mut length = 0;
        let pieces = Pieces::reserve(&self.server.pieces);
        let mut piece = vec![0; pieces.size(left)];
        // The next piece is read while this one is hashed and written.
        let mut file = IncomingFile::Here(incoming);
        let incoming = loop {
            let Ok(taken) = self.next_bytes(&mut piece, left).await else {
                return Received::Cut;
            };
            let (mut incoming, mut spare) = match file {
                IncomingFile::Here(incoming) => (incoming, Vec::new()),
                IncomingFile::Written(task) => match task.await {
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
                let text = format!("this server accepts files of at most {most} bytes").into();
                let error = UploadError {
                    code: Code::TooLarge,
                    text,
                    closes: true,
                };
                return Received::Refused(error, left);
            }
            // The bytes of a file of known length were counted when the upload began.
            let comes = match upload.length {
                Some(_) => Ok(()),
                None => {
                    let (peer, nick) = (self.session.peer(), self.session.nick_id());
                    self.server.state().chat.begin_upload(peer, nick, length)
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
            file = IncomingFile::Written(self.server.pool.run(move || {
                let result = incoming.write(full.get(..taken).unwrap_or_default());
                if let (Some(live), Ok(())) = (live, &result) {
                    live.grow(incoming.length());
                }
                (incoming, full, result)
            }));
        };
        if left.is_some_and(|left| left > 0)
            || (left.is_none() && self.input_end == InputEnd::Aborted)
        {
            let text = "the input ended before the file did".into();
            let error = UploadError {
                code: Code::Incomplete,
                text,
                closes: true,
            };
            return Received::Refused(error, Some(0));
        }
        self.keep(incoming, upload.sha256, live.is_some()).await
    }

    async fn keep(
        &mut self,
        incoming: DropOnPool<Incoming>,
        expected: Option<Digest>,
        is_announced: bool,
    ) -> Received {
        let (length, digest) = incoming.sum();
        if expected.is_some_and(|expected| expected != digest) {
            let text = "the bytes do not match that sha256: they were altered on the way, or the length is wrong";
            let error = UploadError {
                code: Code::Corrupt,
                text: text.into(),
                closes: true,
            };
            return Received::Refused(error, Some(0));
        }
        let store = self.server.store.clone();
        let kept = self
            .server
            .pool
            .run(move || store.keep(incoming.into_inner(), digest));
        if let Err(e) = kept.await {
            return Received::Refused(disk_error(&e), Some(0));
        }
        let contents = FileContents {
            length,
            sha256: digest,
        };
        if is_announced {
            return Received::Whole(contents);
        }
        let Err(code) = self.copied_elsewhere(contents).await else {
            return Received::Whole(contents);
        };
        release_file(&self.server, digest);
        match code {
            Code::ShuttingDown => Received::Cut,
            code => {
                let text =
                    "no other server of this chat could copy the file now; send it again later";
                let error = UploadError {
                    code,
                    text: text.into(),
                    closes: false,
                };
                Received::Refused(error, Some(0))
            }
        }
    }

    /// Waits until another server has a copy of a file, if there is another server. Meanwhile, sends the client its events.
    ///
    /// # Errors
    /// The reason why no other server has one.
    async fn copied_elsewhere(&mut self, contents: FileContents) -> Result<(), Code> {
        if self.server.following.get().is_none() {
            return Ok(());
        }
        let server = self.server.clone();
        let copies = async move { exchange::copied_elsewhere(&server, &contents).await };
        let mut copies = self.server.executor.spawn(copies);
        loop {
            if self.is_dismissed() {
                return Err(Code::ShuttingDown);
            }
            self.server.state().clear_wakeup(self.session.peer());
            self.flush();
            let mut copied = None;
            self.wait_for(async { copied = Some((&mut copies).await) })
                .await;
            if let Some(copied) = copied {
                return copied;
            }
        }
    }

    /// Reads and drops `left` bytes, or everything up to the end of input.
    pub(super) async fn discard(&mut self, mut left: Option<u64>) {
        let pieces = Pieces::reserve(&self.server.pieces);
        let mut piece = vec![0; pieces.size(left)];
        loop {
            match self.next_bytes(&mut piece, left).await {
                Err(Stopping) => {
                    self.is_aborted = self.server.state().is_stopping;
                    return;
                }
                Ok(0) => return,
                Ok(taken) => left = left.map(|left| left.saturating_sub(taken as u64)),
            }
        }
    }

    /// Reads the next bytes of the input, at most `left` bytes. Returns 0 at the end. Meanwhile, sends the client its
    /// events.
    pub(super) async fn next_bytes(
        &mut self,
        piece: &mut [u8],
        left: Option<u64>,
    ) -> Result<usize, Stopping> {
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
            self.server.state().clear_wakeup(self.session.peer());
            self.flush();
            if self.has_ended() {
                return Ok(0);
            }
            let taken = self.read(piece);
            if std::mem::take(&mut self.is_file_over) {
                return Ok(0);
            }
            if taken > 0 {
                // The next read is tried at once, because more will have arrived while this piece is hashed and
                // written.
                self.is_readable = true;
                return Ok(taken);
            }
            if !self.has_ended() {
                self.wait(true).await;
            }
        }
    }

    /// Reserves `count` open files for a transfer, if the client's address may have so many more.
    fn take_descriptors(&self, count: usize) -> Option<Reservation> {
        let address = self.server.state().chat.address(self.session.peer())?;
        let reservation = self.server.descriptors.take(address, count);
        if reservation.is_none() {
            let text = "transfers have used up the open files for them, in all or for one address";
            let uptime = self.server.clock.now().uptime;
            self.server
                .metrics
                .limit_hit(LimitKind::OpenFiles, uptime, text);
        }
        reservation
    }

    /// Returns whether transfers must stop, because the server stops or an operator closes this connection.
    fn is_dismissed(&self) -> bool {
        let state = self.server.state();
        state.is_dismissed(self.session.peer())
    }

    async fn send_file(&mut self, file: OutgoingFile) {
        let OutgoingFile {
            id,
            name,
            contents,
            offset,
            place,
        } = file;
        // The file is sent in one piece, after all earlier replies.
        if !self.flush_replies().await {
            return self.session.break_off();
        }
        let FileContents {
            length,
            sha256: digest,
        } = contents;
        let reservation = self.take_descriptors(descriptors::DOWNLOAD);
        if reservation.is_none() {
            return self.session.is_too_busy(Verb::Download, BUSY);
        }
        let file = match exchange::open(&self.server, digest).await {
            Ok(file) => file,
            Err(e) => {
                warn!("cannot read file {id}: {e}");
                return self.session.failed(
                    Verb::Download,
                    "the file cannot be read; the server's log has the reason",
                );
            }
        };
        if !self.may_still_read(&place) {
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
        let nick = self.session.nick_id();
        let dismissed = future::or(
            dismissed(&server, self.session.peer()),
            closed_to(&server, &place, nick),
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
                self.is_aborted = true;
                return;
            }
            Some(Ok(())) => {}
            Some(Err(Failed::Gone)) => self.is_write_closed = true,
            Some(Err(Failed::File(e))) => {
                // The length has been announced, so only the end of the connection can show the client that the file
                // is incomplete.
                warn!("cannot read file {id}: {e}");
                self.is_aborted = true;
                return;
            }
        }
        self.session.sent_file(id);
    }
}

/// The error text for a transfer when no more files can be opened.
pub(super) const BUSY: &str =
    "too many transfers are running, in all or from your address; try again later";

/// The reason to abort a transfer: the server stops, or the connection must end.
pub(super) struct Stopping;

/// Completes when the server stops or an operator closes the connection of `peer`.
async fn dismissed(server: &Server, peer: PeerId) {
    poll_fn(|cx| {
        let mut state = server.state();
        state.clear_wakeup(peer);
        if state.is_dismissed(peer) {
            return Poll::Ready(());
        }
        state.poll_news(peer, cx.waker())
    })
    .await;
}

/// Completes when `nick`, or a connection without a nick, may no longer read the files of a place.
pub(super) async fn closed_to(server: &Server, place: &FilePlace, nick: Option<NickId>) {
    loop {
        let acl_changes = server.acl_changes.listen();
        if !server.state().chat.may_read_files(place, nick) {
            return;
        }
        acl_changes.await;
    }
}

/// Returns the error for an upload that the disk cannot store.
fn disk_error(e: &io::Error) -> UploadError {
    warn!("cannot store a file: {e}");
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let (code, text) = match e.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => {
            (Code::Quota, "there is no space left for that file")
        }
        _ => (
            Code::Internal,
            "the file cannot be saved; the server's log has the reason",
        ),
    };
    UploadError {
        code,
        text: text.into(),
        closes: false,
    }
}
