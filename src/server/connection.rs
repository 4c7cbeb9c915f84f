//! The task of a connection: it moves bytes between a carrier and a [`Session`].
//!
//! While the connection is idle, the task holds no buffer: it waits until the socket is readable or there is news.
//! Then it borrows a buffer, the thread's to read or the server's to write, reads or writes as much as it can without
//! waiting, and returns the buffer. It writes only what the session's cursors have not passed, so a slow client does not
//! slow down the others.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_lite::future;
use tracing::debug;

use super::Server;
use super::clock::Clock;
use super::memory::TIGHT_READ_BYTES;
use super::metrics::{ConnectionKind, LimitKind};
use super::shared_state::{ConnectionSource, SharedState};
use crate::chat::NickId;
use crate::config::Protocols;
use crate::dialect::Dialect;
use crate::model::Now;
use crate::protocol::line::{Item, LineDecoder, LineEnd};
use crate::session::batch::{Batch, ROUND_BYTES};
use crate::session::{Effect, Session};
use crate::transport::{Carrier, Input, Wrong};

/// The time between two checks of a connection whose input has ended but which stays open. While its rooms are quiet,
/// nothing else shows that its client has gone.
const LIVENESS_EVERY: Duration = Duration::from_secs(60);

thread_local! {
    /// The buffer for reading that all connections on this thread share. It is never borrowed across an `await`.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; ROUND_BYTES]);
}

/// Lends the thread's read buffer to `act`.
pub(super) fn with_scratch<T>(act: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|buffer| act(buffer))
}

/// A client's connection.
pub(super) struct Connection {
    pub(super) server: Arc<Server>,
    pub(super) carrier: Carrier,
    pub(super) session: Session,
    decoder: LineDecoder,
    /// Input that was read but cannot be handled yet. Usually the vector is empty and takes no memory.
    pub(super) input: Vec<u8>,
    pub(super) deadline: Option<Duration>,
    /// The protocols that the client may use.
    pub(super) protocols: Protocols,
    /// Whether a trusted proxy or `chatc --ssh` may still send its PROXY header.
    pub(super) awaits_proxied: bool,
    /// The memory for waiting data ([`Server::waiting`]) that the connection uses, in bytes.
    buffered: usize,
    /// The kind of connection, for the metrics.
    pub(super) kind: ConnectionKind,
    /// Whether the socket may have something to read.
    pub(super) is_readable: bool,
    /// Whether the socket was read since the connection last wrote to it.
    has_read: bool,
    /// Whether the socket accepts no more output at the moment.
    is_blocked: bool,
    /// Whether there is more to write after the other connections have had their turn.
    has_more: bool,
    /// Whether the connection has used up its turn and has more to do.
    is_busy: bool,
    /// Whether the turn before this one was used up.
    had_turn: bool,
    /// Whether the client no longer reads.
    pub(super) is_write_closed: bool,
    pub(super) input_end: InputEnd,
    /// Whether an upload of unknown length has ended although the input continues.
    pub(super) is_file_over: bool,
    /// Whether a transfer was aborted. If so, the connection closes without a reply.
    pub(super) is_aborted: bool,
}

/// The state of the client's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InputEnd {
    /// The client still sends, or the end has not been noticed yet.
    Open,
    /// Its input has ended.
    Ended,
    /// Its input was aborted.
    Aborted,
    /// The client's input has ended, and the session has handled that.
    Handled,
}

/// The next step of a connection.
enum Next {
    Again,
    Wait { reads: bool },
    CatchUp,
    HangUp,
}

impl Connection {
    /// Creates a connection that was just accepted.
    pub fn open(
        server: Arc<Server>,
        carrier: Carrier,
        from: ConnectionSource,
        local: SocketAddr,
        protocols: Protocols,
    ) -> Box<Self> {
        let now = server.clock.now();
        let peer = from.address();
        let mut state = server.state();
        let id = state.register(from);
        let mut session = Session::new(id, local, &state.chat, now);
        if carrier.is_local() {
            session = session.in_dialect(Dialect::Values);
        }
        session.admit(&mut state.chat, now);
        drop(state);
        let kind = match carrier {
            Carrier::Local(_) => ConnectionKind::Request,
            _ => ConnectionKind::New,
        };
        server.metrics.set_kind(None, kind);
        debug!(?id, %peer, "connected");
        // The argument is boxed, because a future stores its argument twice.
        Box::new(Self {
            server,
            carrier,
            session,
            decoder: LineDecoder::default(),
            input: Vec::new(),
            deadline: None,
            protocols,
            awaits_proxied: false,
            buffered: 0,
            kind,
            is_readable: true, // a script has often sent its input before it is accepted
            has_read: false,
            is_blocked: false,
            has_more: false,
            is_busy: false,
            had_turn: false,
            is_write_closed: false,
            input_end: InputEnd::Open,
            is_file_over: false,
            is_aborted: false,
        })
    }

    /// Serves the client until the connection ends.
    ///
    /// Every connection has a task of the size of this future for as long as it lasts. So no variable is kept while the
    /// future waits, and every future that is rarely needed is boxed.
    pub async fn run(mut self: Box<Self>) {
        if !Box::pin(self.detect_protocol()).await {
            self.is_aborted = true;
        }
        self.set_kind(ConnectionKind::of(&self.carrier));
        if !self.carrier.is_raw() {
            self.decoder = LineDecoder::without_telnet();
        }
        'serving: while !self.is_aborted {
            if let Some(transfer) = self.begin_transfer() {
                transfer.await;
                continue;
            }
            if std::mem::take(&mut self.has_read) {
                // All other readable connections are read before this one is written to. So one write contains this
                // client's replies and the messages of the others.
                future::yield_now().await;
            }
            loop {
                match self.write_out() {
                    // The same as `give_way`, whose future is larger than any other here.
                    Next::Again if self.is_busy => Box::pin(self.wait_for_turn()).await,
                    Next::Again => future::yield_now().await,
                    Next::Wait { reads } => {
                        if self.idle(reads).await {
                            continue; // only messages have arrived, so there is no input
                        }
                    }
                    Next::CatchUp => Box::pin(self.catch_up()).await,
                    Next::HangUp => break 'serving,
                }
                break;
            }
        }
        self.leave();
        self.server.waiting.change(self.buffered, 0);
        if !self.is_write_closed && !self.is_aborted {
            Box::pin(self.hang_up()).await;
        }
        let id = self.session.peer();
        self.server.state().unregister(id, self.deadline);
        self.server.metrics.closed(self.kind);
        debug!(?id, "ended");
    }

    /// Counts the connection as one of the kind `kind` in the metrics.
    pub(super) fn set_kind(&mut self, kind: ConnectionKind) {
        if kind != self.kind {
            self.kind = self.server.metrics.set_kind(Some(self.kind), kind);
            debug!(id = ?self.session.peer(), way = kind.word(), "speaks");
        }
    }

    /// Reads the available input. If this starts a slow operation, returns the operation. It is boxed here: if its
    /// future were created where it is awaited, the task of every connection would reserve space for it.
    fn begin_transfer(&mut self) -> Option<Pin<Box<impl Future<Output = ()>>>> {
        let effect = self.take_input()?;
        Some(Box::pin(self.transfer(effect)))
    }

    /// Writes what can be written without waiting, and returns the next step.
    fn write_out(&mut self) -> Next {
        let (was_stopping, is_called) = {
            let mut state = self.server.state();
            state.clear_wakeup(self.session.peer());
            (state.is_stopping, state.is_called(self.session.peer()))
        };
        self.flush();
        if self.has_more || is_called {
            return Next::Again;
        }
        let is_answered = self.input.is_empty() && self.session.is_settled();
        let owes_shutdown = was_stopping && is_answered && !self.session.is_ending();
        if self.session.owes_deferred() || owes_shutdown {
            // An event was stored since the input was last looked at, or the server is stopping.
            return Next::Again;
        }
        if !self.is_blocked && self.wants_catch_up() {
            return Next::CatchUp;
        }
        let is_gone = self.is_write_closed && self.input_end == InputEnd::Handled;
        if self.session.is_over() || self.is_aborted || is_gone {
            return Next::HangUp;
        }
        let takes_lines = self.takes_lines();
        let owes_end = self.owes_end() && self.session.is_settled();
        if takes_lines && (self.is_readable || !self.input.is_empty() || owes_end) {
            Next::Again
        } else {
            Next::Wait {
                reads: takes_lines && !self.has_ended(),
            }
        }
    }

    /// Reads once, if there may be input, and passes as much of it to the session as the session accepts.
    fn take_input(&mut self) -> Option<Effect> {
        let now = self.server.clock.now();
        let server = self.server.clone();
        let nick = self.session.nick_id();
        let carried = std::mem::take(&mut self.input);
        let takes_lines = self.takes_lines();
        SCRATCH.with_borrow_mut(|buffer| {
            let mut read = 0;
            let is_local = self.carrier.is_local();
            let may_read = carried.is_empty() && self.is_readable && takes_lines && !is_local;
            if may_read && !self.has_ended() && !server.state().is_full() {
                let most = if server.waiting.is_full() {
                    TIGHT_READ_BYTES.min(buffer.len())
                } else {
                    buffer.len()
                };
                read = self.read(buffer.get_mut(..most).unwrap_or_default());
                self.has_read = true;
            }
            let bytes = if carried.is_empty() {
                buffer.get(..read).unwrap_or_default()
            } else {
                &carried
            };
            let mut state = server.changes();
            state.clear_call(self.session.peer());
            self.on_time(&mut state, now);
            if state.chat.has_commands(self.session.peer()) {
                self.session.run_commands(&mut state.chat, now);
            }
            let (rest, effect) = if is_local {
                (&[][..], self.take_requests(&mut state, now))
            } else {
                self.take_lines(bytes, &mut state, now)
            };
            if !self.session.is_ending() {
                self.input = rest.to_vec();
            }
            self.session.take_outcomes(&mut state.chat);
            let is_last = effect.is_none() && self.owes_end() && self.session.is_settled();
            let effect = if is_last && self.takes_lines() {
                self.tell_end(&mut state, now)
            } else {
                effect
            };
            // Everything that has been read is answered before the end.
            let is_answered = self.input.is_empty() && self.session.is_settled();
            if state.is_stopping && is_answered && effect.is_none() {
                self.session.shut_down(&mut state.chat, now);
            }
            self.update_deadline(&mut state);
            self.log_nick(nick, &state);
            drop(state);
            self.count_buffered();
            effect
        })
    }

    /// Sets the time at which the session or the carrier next has something to do. Sending output can change that
    /// time too.
    fn update_deadline(&mut self, state: &mut SharedState) {
        let due = if self.input_end == InputEnd::Handled && !self.session.is_ending() {
            let next = || self.server.clock.now().uptime + LIVENESS_EVERY;
            Some(self.deadline.unwrap_or_else(next))
        } else {
            self.session.due(&self.server.config.limits)
        };
        let due = [due, self.carrier.due()].into_iter().flatten().min();
        state.set_deadline(self.session.peer(), self.deadline, due);
        self.deadline = due;
    }

    /// Logs the current nick if it differs from `had`.
    pub(super) fn log_nick(&self, had: Option<NickId>, state: &SharedState) {
        let nick = self.session.nick_id();
        if nick != had
            && let Some(user) = nick.and_then(|nick| state.chat.user(nick))
        {
            debug!(id = ?self.session.peer(), nick = user.nick.as_str(), "is called");
        }
    }

    /// Passes the lines in `bytes` to the session until it accepts no more. Returns the remaining bytes.
    fn take_lines<'a>(
        &mut self,
        mut bytes: &'a [u8],
        state: &mut SharedState,
        now: Now,
    ) -> (&'a [u8], Option<Effect>) {
        let effect = self.session.apply_deferred(&mut state.chat, now);
        if let Some(effect) = append(effect, state, now) {
            return (bytes, Some(effect));
        }
        let mut turn = Slice::of(self.had_turn, &self.server.clock);
        while self.takes_lines() && !turn.is_over(&self.server.clock) {
            if self.session.is_irc() {
                self.decoder.end_telnet();
            }
            let Some(item) = self.decoder.next(&mut bytes) else {
                break;
            };
            match item {
                Item::Line { bytes: line, end } => {
                    if let Some(effect) = apply(&mut self.session, line, end, state, now) {
                        return (bytes, Some(effect));
                    }
                }
                Item::TooLong { head } => self.session.skipped(head, &mut state.chat, now),
                Item::Telnet(answer) => self.session.answer_telnet(answer),
            }
        }
        self.is_busy = !bytes.is_empty();
        state.is_to_be_continued = self.is_busy && self.takes_lines();
        (bytes, None)
    }

    /// Passes the requests of a client inside this process to the session until it accepts no more.
    fn take_requests(&mut self, state: &mut SharedState, now: Now) -> Option<Effect> {
        let effect = self.session.apply_deferred(&mut state.chat, now);
        if let Some(effect) = append(effect, state, now) {
            return Some(effect);
        }
        let mut turn = Slice::of(self.had_turn, &self.server.clock);
        while self.is_readable && !state.is_full() && self.takes_lines() {
            if turn.is_over(&self.server.clock) {
                self.is_busy = true;
                break;
            }
            let Carrier::Local(local) = &self.carrier else {
                break;
            };
            match local.next_request() {
                Some(request) => {
                    self.has_read = true;
                    let effect = self.session.apply_request(request, &mut state.chat, now);
                    if let Some(effect) = append(effect, state, now) {
                        return Some(effect);
                    }
                }
                None => {
                    self.read(&mut []); // finds whether the input has ended
                }
            }
        }
        None
    }

    /// Returns whether another line may be handled now. When the memory budget or the log's queue is full, only
    /// connections that use no part of it are read.
    fn takes_lines(&self) -> bool {
        let is_tight = self.server.waiting.is_full() || self.server.proposed.is_full();
        let waits = is_tight && self.session.owes_replies();
        !waits && self.session.takes_lines(&self.server.config.limits)
    }

    /// Updates the count of the memory that waits for this client.
    fn count_buffered(&mut self) {
        let buffered = self.session.buffered_bytes() + self.input.capacity();
        let had = std::mem::replace(&mut self.buffered, buffered);
        let waiting = &self.server.waiting;
        waiting.change(had, buffered);
        if buffered > had && waiting.is_full() {
            let text =
                "the memory for replies that clients have not read is used up (--max-memory)";
            let uptime = self.server.clock.now().uptime;
            self.server
                .metrics
                .limit_hit(LimitKind::Memory, uptime, text);
        }
    }

    /// Passes the client's last line and the end of the input to the session. The line may lack its line ending. If
    /// it starts a transfer, the end is passed after the transfer.
    fn tell_end(&mut self, state: &mut SharedState, now: Now) -> Option<Effect> {
        match self.decoder.finish() {
            None | Some(Item::Telnet(_)) => {}
            Some(Item::TooLong { head }) => self.session.skipped(head, &mut state.chat, now),
            Some(Item::Line { bytes, end }) => {
                let effect = apply(&mut self.session, bytes, end, state, now);
                if effect.is_some() {
                    return effect;
                }
            }
        }
        self.input_end = InputEnd::Handled;
        self.session.end_of_input(&mut state.chat, now);
        if !self.session.is_ending() {
            self.carrier.watch_closely(); // the client reads on, or has gone
        }
        None
    }

    fn on_time(&mut self, state: &mut SharedState, now: Now) {
        if self.deadline.is_some_and(|deadline| deadline <= now.uptime) {
            self.deadline = None;
            self.session.on_time(&mut state.chat, now);
            let is_gone = self.input_end == InputEnd::Handled && self.carrier.is_broken();
            if is_gone || !self.carrier.is_alive(now.uptime) {
                self.is_write_closed = true;
                self.session.lost(&mut state.chat, now);
            }
        }
    }

    /// Reads once. Returns 0 if nothing is available or the input has ended.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> usize {
        match self.carrier.read(buffer) {
            Ok(Input::BytesEnd) => {
                self.is_file_over = true;
                // The carrier holds bytes that arrived together with the end, and the socket does not report those.
                self.is_readable = true;
                0
            }
            Ok(Input::Refused(wrong)) => {
                self.is_readable = true;
                let now = self.server.clock.now();
                let chat = &mut self.server.state().chat;
                let Wrong { code, text, closes } = wrong;
                self.session.refuse_input(code, text, closes, chat, now);
                0
            }
            Ok(Input::End) => {
                self.end_input(InputEnd::Ended);
                0
            }
            Ok(Input::Cut { reads_on }) => {
                if !reads_on {
                    self.session.stay_no_longer();
                }
                self.end_input(InputEnd::Aborted);
                0
            }
            Ok(Input::Bytes {
                count,
                may_have_more,
            }) => {
                self.is_readable = may_have_more;
                self.server.metrics.bytes_in.add(count);
                count
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.is_readable = false;
                0
            }
            Err(_) => {
                // Everything before the reset has been read. The last line may be incomplete, so it is dropped.
                self.decoder = LineDecoder::default();
                self.is_write_closed = true;
                self.end_input(InputEnd::Aborted);
                0
            }
        }
    }

    fn end_input(&mut self, how: InputEnd) {
        if self.input_end == InputEnd::Open {
            self.input_end = how;
        }
        self.is_readable = false;
    }

    /// Writes the pending output until the socket accepts no more.
    pub(super) fn flush(&mut self) {
        self.write_a_turn();
        self.count_buffered();
    }

    /// Writes until nothing is left, the socket accepts no more, or it is the turn of other connections.
    fn write_a_turn(&mut self) {
        let server = self.server.clone();
        let mut written = 0;
        let mut turn = self
            .session
            .is_listing()
            .then(|| Slice::of(self.had_turn, &self.server.clock));
        self.has_more = false;
        let batch = &mut *server.batch();
        while !self.is_blocked {
            let mut state = server.state();
            self.session.take_outcomes(&mut state.chat);
            if state.chat.has_commands(self.session.peer()) {
                self.session
                    .run_commands(&mut state.chat, server.clock.now());
            }
            if self.is_write_closed {
                return self.session.drop_output(&mut state.chat, batch);
            }
            let is_filled = self.session.fill(&mut state.chat, batch);
            drop(state);
            if !is_filled {
                return self.flush_carrier();
            }
            let taken = self.write(batch);
            written += taken;
            let has_news = {
                let mut state = server.state();
                self.session.sent(&mut state.chat, batch, taken);
                self.update_deadline(&mut state);
                self.session.has_news(&state.chat)
            };
            if !has_news {
                return self.flush_carrier();
            }
            let is_late = self.session.is_listing()
                && turn
                    .get_or_insert_with(|| Slice::of(self.had_turn, &self.server.clock))
                    .is_late(&self.server.clock);
            if (is_late || written >= WRITTEN_MAX) && !self.is_blocked {
                self.has_more = true;
                self.is_busy = true;
                return self.flush_carrier();
            }
        }
    }

    /// Writes until the batch is sent or the carrier accepts no more. Returns the number of bytes that the carrier
    /// accepted.
    fn write(&mut self, batch: &mut Batch) -> usize {
        if let Carrier::Local(local) = &self.carrier {
            return match local.deliver(batch.take_values()) {
                Ok(()) => batch.len(),
                Err(e) => {
                    self.note_write_error(&e);
                    0
                }
            };
        }
        let mut taken = 0;
        while taken < batch.len() {
            self.server.metrics.writes.add(1);
            match self.carrier.write_some(batch.stretches(taken)) {
                Ok(count) => taken += count,
                Err(e) => {
                    self.note_write_error(&e);
                    break;
                }
            }
        }
        self.server.metrics.bytes_out.add(taken);
        taken
    }

    pub(super) fn flush_carrier(&mut self) {
        if let Err(e) = self.carrier.flush() {
            self.note_write_error(&e);
        }
    }

    fn note_write_error(&mut self, e: &io::Error) {
        match e.kind() {
            io::ErrorKind::WouldBlock => self.is_blocked = true,
            // The client no longer reads, but its requests are still handled.
            _ => self.is_write_closed = true,
        }
    }

    /// Returns whether the client has fallen so far behind that the log must be read for it.
    pub(super) fn wants_catch_up(&self) -> bool {
        !self.is_write_closed
            && self
                .session
                .backlog_query(&self.server.state().chat)
                .is_some()
    }

    /// Returns whether the client's input has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.input_end != InputEnd::Open
    }

    /// Returns whether the input has ended but the session does not know that yet.
    fn owes_end(&self) -> bool {
        let is_owed = matches!(self.input_end, InputEnd::Ended | InputEnd::Aborted);
        is_owed && self.input.is_empty()
    }

    /// Lets the other connections that are ready run. If this connection keeps the server busy, it also waits for its
    /// turn among all such connections.
    async fn give_way(&mut self) {
        if self.is_busy {
            Box::pin(self.wait_for_turn()).await;
        } else {
            future::yield_now().await;
        }
    }

    /// Waits for the next turn, and meanwhile sends the events that arrive. Only the client's own requests wait.
    async fn wait_for_turn(&mut self) {
        self.is_busy = false;
        let (server, peer) = (self.server.clone(), self.session.peer());
        let Some(address) = server.state().chat.address(peer) else {
            return;
        };
        let mut turn = std::pin::pin!(server.scheduler.turn(address));
        loop {
            let takes_news = !self.is_blocked && !self.has_more;
            let has_news = poll_fn(|cx| {
                if turn.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(false);
                }
                if takes_news {
                    return server.state().poll_news(peer, cx.waker()).map(|()| true);
                }
                Poll::Pending
            });
            if !has_news.await {
                break;
            }
            server.state().clear_wakeup(peer);
            self.flush();
        }
        self.had_turn = true;
    }

    /// Waits for input (if `reads`), for space to write, or for news. If there is more to write, gives way instead.
    pub(super) async fn wait(&mut self, reads: bool) {
        if self.has_more {
            self.give_way().await;
        } else {
            self.idle(reads).await;
        }
    }

    /// Waits for input (if `reads`), for space to write, or for news. Returns whether nothing but news has arrived.
    fn idle(&mut self, reads: bool) -> impl Future<Output = bool> {
        self.had_turn = false;
        poll_fn(move |cx| self.poll_ready(reads, cx))
    }

    /// Becomes ready when there is input (if `reads`), space to write, or news. The result is whether there is nothing
    /// but news.
    fn poll_ready(&mut self, reads: bool, cx: &mut Context<'_>) -> Poll<bool> {
        let mut is_ready = false;
        if self.is_blocked {
            // News need not be reported until there is space to write. Then all of it is sent together.
            if self.carrier.poll_writable(cx).is_ready() {
                self.is_blocked = false;
                is_ready = true;
            }
        }
        if reads && self.carrier.poll_readable(cx).is_ready() {
            self.is_readable = true;
            is_ready = true;
        }
        // If the connection reads, a read detects that the client has gone.
        if !reads && !self.is_write_closed && self.carrier.poll_gone(cx).is_ready() {
            self.is_write_closed = true;
            is_ready = true;
        }
        let mut state = self.server.state();
        let peer = self.session.peer();
        let takes_news = !self.is_blocked || state.is_stopping || self.session.is_dismissed();
        let is_woken = if takes_news {
            state.poll_news(peer, cx.waker()).is_ready()
        } else {
            state.poll_end(peer, cx.waker()).is_ready()
        };
        if is_ready || is_woken {
            let is_news_only = !is_ready && takes_news && !state.is_called(peer);
            Poll::Ready(is_news_only)
        } else {
            Poll::Pending
        }
    }

    /// Waits for input, space to write, or news, like [`Self::wait`], or until `other` completes.
    pub(super) async fn wait_for(&mut self, other: impl Future<Output = ()>) {
        future::or(other, self.wait(false)).await;
    }

    /// Removes this connection from the chat.
    fn leave(&mut self) {
        let now = self.server.clock.now();
        let mut state = self.server.changes();
        self.session.lost(&mut state.chat, now);
    }

    /// Ends the server's output, and then reads and drops further input.
    pub(super) async fn hang_up(&mut self) {
        let has_ended = self.has_ended();
        hang_up(&self.server, &mut self.carrier, has_ended).await;
    }
}

/// Ends the server's output, and then reads and drops further input. If the socket were closed at once, the connection
/// would be reset and the client would lose the last line. `has_ended` says whether the input has ended.
pub(super) async fn hang_up(server: &Server, carrier: &mut Carrier, has_ended: bool) {
    let limits = &server.config.limits;
    let drained = async {
        let _ = carrier.close(has_ended).await;
    };
    let late = async {
        let ending = server.ending.listen();
        if !server.state().is_stopping {
            let patience = async {
                server.clock.wait(limits.drain_for).await;
                false
            };
            let stops = async {
                ending.await;
                true
            };
            if !future::or(patience, stops).await {
                return;
            }
        }
        server.clock.wait(limits.stop_within / 4).await;
    };
    future::or(drained, late).await;
}

/// The maximum number of bytes written in one turn: several rounds of messages. If a reader had to wait for its next turn
/// after each round, it would fall behind the senders and would be served from the log.
const WRITTEN_MAX: usize = 8 * ROUND_BYTES;

/// How long a connection that has just become ready is served before the others. It is enough for the requests of a
/// client that waits for each answer.
const FIRST_SLICE: Duration = Duration::from_micros(250);

/// How long a connection is served after it has waited for its turn.
const SLICE: Duration = Duration::from_millis(1);

/// The number of requests between two readings of the clock, while requests are cheap.
const REQUESTS_A_LOOK: u32 = 16;

/// If the requests between two readings of the clock took longer than this, they count as expensive.
const LONG: Duration = Duration::from_micros(50);

/// A connection's turn.
struct Slice {
    lasts: Duration,
    since: Instant,
    /// How long the turn had lasted when the clock was last read.
    looked: Duration,
    /// The number of requests before the clock is read again.
    left: u32,
    step: u32,
}

impl Slice {
    fn of(had_turn: bool, clock: &Clock) -> Self {
        Self {
            lasts: if had_turn { SLICE } else { FIRST_SLICE },
            since: clock.instant(),
            looked: Duration::ZERO,
            left: 0,
            step: 1,
        }
    }

    /// Counts a request that is about to be handled. Returns true if the turn is over.
    fn is_over(&mut self, clock: &Clock) -> bool {
        if self.left > 0 {
            self.left -= 1;
            return false;
        }
        let before = self.looked;
        let is_late = self.is_late(clock);
        if self.looked - before > LONG {
            self.step = 1;
        } else {
            self.step = REQUESTS_A_LOOK.min(self.step * 2);
        }
        self.left = self.step - 1;
        is_late
    }

    /// Reads the clock. Returns true if the turn is over.
    fn is_late(&mut self, clock: &Clock) -> bool {
        self.looked = clock.instant() - self.since;
        self.looked >= self.lasts
    }
}

/// Applies a line. An entry is passed to the log at once; any other effect is returned.
fn apply(
    session: &mut Session,
    line: &[u8],
    end: LineEnd,
    state: &mut SharedState,
    now: Now,
) -> Option<Effect> {
    append(session.apply(line, end, &mut state.chat, now), state, now)
}

/// Passes an entry to the log and returns any other effect.
fn append(effect: Option<Effect>, state: &mut SharedState, now: Now) -> Option<Effect> {
    match effect {
        Some(Effect::Append(entry, ticket)) => {
            state.append(entry, Some(ticket), now);
            None
        }
        effect => effect,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Peer;
    use crate::chat::state::User;

    /// Returns the size of the future that `run` returns.
    fn size_of_future<F>(_: impl FnOnce(Box<Connection>) -> F) -> usize {
        size_of::<F>()
    }

    /// Most connections are idle most of the time, so these sizes are most of the memory of a large server. A
    /// larger type is fine if every connection needs what was added; what only a few need belongs in a box.
    #[test]
    fn an_idle_member_takes_little_memory() {
        for (what, size, most) in [
            ("task", size_of_future(Connection::run), 40),
            ("Connection", size_of::<Connection>(), 336),
            ("Peer", size_of::<Peer>(), 48),
            ("User", size_of::<User>(), 104),
        ] {
            assert!(size <= most, "{what} has {size} bytes, more than {most}");
        }
    }
}
