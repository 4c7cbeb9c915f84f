//! The core of the server without sockets, files or a clock: sessions, a chat, and the smallest driver possible. Time
//! is a number that advances only while somebody waits.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use plainchat::accounts::buckets::MemoryBuckets;
use plainchat::accounts::{AccountQuery, Accounts};
use plainchat::chat::{Chat, RoomId};
use plainchat::config::{Config, Limits};
use plainchat::log::memory::MemoryLog;
use plainchat::log::{self, Log, LogQuery, Record, Span};
use plainchat::model::{Applied, Entry, FileContents, Now, Secret, Ticket};
use plainchat::protocol::line::{Item, LineDecoder};
use plainchat::protocol::{Code, Digest, EventId, FileName, Nick, RoomName, Time};
use plainchat::session::batch::Batch;
use plainchat::session::{Begun, Effect, IncomingText, OutgoingFile, Session, Upload, UploadError};
use sha2::{Digest as _, Sha256};

use super::run::{Server, Taken};
use super::transcript::Setting;

/// When the server was started: 2026-11-22T00:00:00Z.
const STARTED_MS: u64 = 1_795_305_600_000;

/// The id of the first event.
pub const FIRST_ID: u64 = STARTED_MS * 1000 + 1;

/// A server in memory, or several that share a chat.
pub struct Memory {
    /// The chat of each server.
    chats: Vec<Chat>,
    uptime: Duration,
    log: MemoryLog,
    accounts: Accounts,
    /// The entries that were submitted to the log but are not stored yet, as on a disk, each with its server.
    waiting: VecDeque<(Arc<Entry>, Ticket, usize)>,
    /// The number of calls, such as pushes, after which all waiting entries are stored together; 0 to store each
    /// immediately.
    late: usize,
    calls: usize,
    /// The live files: their names, the bytes so far, and how they ended.
    lives: HashMap<EventId, Live>,
    files: HashMap<Digest, Vec<u8>>,
    peers: Vec<Peer>,
    /// The number of bytes that the network accepts from a session at first.
    takes: usize,
    /// The address that new connections have.
    pub from: IpAddr,
    /// Whether new connections use TLS.
    pub is_tls: bool,
    /// For each server, the batch from which every session's output is written.
    batches: Vec<Batch>,
}

struct Live {
    name: FileName,
    bytes: Vec<u8>,
    /// Whether the file is complete; `None` while it is live.
    end: Option<bool>,
}

struct Peer {
    /// The server to which it is connected.
    server: usize,
    /// `None` once the session has ended.
    session: Option<Session>,
    decoder: LineDecoder,
    input: Vec<u8>,
    has_ended: bool,
    is_end_told: bool,
    is_stalled: bool,
    /// How often something was sent.
    sends: usize,
    out: Vec<u8>,
    moving: Moving,
}

/// A transfer that a line has started, and that the following bytes complete.
enum Moving {
    Nothing,
    /// The announcement of a live file is not stored yet.
    Announced(Upload),
    /// An upload, with its id if it is live.
    In(Upload, Option<EventId>, Vec<u8>),
    /// A live file has ended, complete or not. When that is stored, its followers end too.
    Ended(EventId, bool),
    /// A live file of a room is being downloaded; the number is how many of its bytes were sent.
    Follow(EventId, usize, RoomId),
    /// A text, and what has arrived of it.
    InText(IncomingText, Vec<u8>),
    /// This many bytes are to be dropped; with `None`, all bytes up to the end.
    Away(Option<u64>),
    Out(EventId, Vec<u8>),
    /// A query to the log, which waits until the earlier replies have been sent.
    QueryLog(LogQuery),
    /// A query to the accounts. The answer comes with the next call, as from another thread.
    QueryAccounts(AccountQuery, usize),
    Flush,
}

impl Memory {
    /// Returns a server with `settings`. The network accepts few bytes of a session at a time: at first `takes`, and
    /// then more. For `late` see [`Self::late`].
    pub fn new(settings: &[Setting], takes: usize, late: usize) -> Result<Self, String> {
        Ok(Self::with_config(config(settings)?, takes, late))
    }

    /// Returns a server with limits, including those that no setting changes.
    pub fn with_limits(limits: Limits, takes: usize) -> Self {
        Self::late(limits, takes, 0)
    }

    /// Returns a server whose log is like one on disk. An entry is stored, and so becomes visible, only with the
    /// `late`th call after it was submitted, or when somebody waits.
    pub fn late(limits: Limits, takes: usize, late: usize) -> Self {
        Self::with_config(config_with(limits), takes, late)
    }

    fn with_config(config: Config, takes: usize, late: usize) -> Self {
        let log = MemoryLog::new(STARTED_MS * 1000, config.limits.memory_log_bytes_max);
        let accounts = Accounts::new(Arc::new(MemoryBuckets::default()), config.password.clone());
        Self {
            chats: vec![Chat::new(Arc::new(config))],
            uptime: Duration::ZERO,
            log,
            accounts,
            waiting: VecDeque::new(),
            batches: vec![Batch::default()],
            late,
            calls: 0,
            lives: HashMap::new(),
            files: HashMap::new(),
            peers: Vec::new(),
            takes,
            from: IpAddr::from([127, 0, 0, 1]),
            is_tls: false,
        }
    }

    /// Adds servers, `count` in all, which share the chat. Each new connection is one of the next server's.
    #[must_use]
    pub fn shared(mut self, count: usize) -> Self {
        let config = self.chats[0].config.clone();
        self.chats = (0..count)
            .map(|n| {
                let name = format!("{}{n}", config.name);
                let config = Config {
                    name,
                    ..Config::clone(&config)
                };
                let mut chat = Chat::new(Arc::new(config));
                chat.decide_later();
                chat
            })
            .collect();
        self.batches.resize_with(count, Batch::default);
        self
    }

    /// Sets whether `peer` has stopped reading, so that the network accepts nothing more for it.
    pub fn stall(&mut self, peer: usize, is_stalled: bool) {
        self.peers[peer].is_stalled = is_stalled;
        self.call();
        self.settle();
    }

    fn now(&self) -> Now {
        Now {
            time: Time(STARTED_MS + self.uptime.as_millis() as u64),
            uptime: self.uptime,
        }
    }

    fn append(&mut self, n: usize, entry: Arc<Entry>, ticket: Ticket) {
        let server = self.peers[n].server;
        self.waiting.push_back((entry, ticket, server));
        if self.late == 0 {
            self.keep();
        }
    }

    /// Stores and publishes everything that waits; returns whether there was anything.
    fn keep(&mut self) -> bool {
        let time = self.now().time;
        let any = !self.waiting.is_empty();
        while let Some((entry, ticket, server)) = self.waiting.pop_front() {
            // Changes that were proposed before have their places in the log before it.
            self.decide();
            let Some(applied) = self.log.append(entry, Some(ticket), time) else {
                continue;
            };
            for (n, chat) in self.chats.iter_mut().enumerate() {
                chat.apply(Applied {
                    entry: applied.entry.clone(),
                    ticket: applied.ticket.filter(|_| n == server),
                    ..applied
                });
            }
        }
        any
    }

    /// Lets each server apply the changes that the servers have proposed. Returns whether there were any.
    fn decide(&mut self) -> bool {
        let now = self.now();
        let mut any = false;
        for server in 0..self.chats.len() {
            for (change, by) in self.chats[server].take_proposed() {
                any = true;
                for (n, chat) in self.chats.iter_mut().enumerate() {
                    chat.decide(&change, by.filter(|_| n == server), now);
                }
            }
        }
        any
    }

    /// Lets the accounts answer their query. Returns whether there was one.
    fn think(&mut self) -> bool {
        let is_asked =
            |peer: &Peer| matches!(peer.moving, Moving::QueryAccounts(_, at) if at >= self.calls);
        let any = self.peers.iter().any(is_asked);
        self.calls += usize::from(any);
        any
    }

    /// Counts a call from outside. Each call lets the log make progress.
    fn call(&mut self) {
        self.calls += 1;
        if self.late > 0 && self.calls.is_multiple_of(self.late) {
            self.keep();
        }
    }

    /// Returns the bytes of the rooms' newest events that are held for their readers.
    pub fn tail_bytes(&self) -> usize {
        self.chats[0].totals().tail_bytes
    }

    /// Returns all stored events of `room`, oldest first.
    pub fn log_of(&self, room: &str) -> Vec<Record> {
        let room = RoomName::parse(room).expect("it is a room's name");
        let span = Span {
            after: 0,
            up_to: u64::MAX,
        };
        let past = self.log.read(&room, span, usize::MAX, usize::MAX);
        past.expect("it is in memory").records
    }

    /// Lets every connection do what it can, until none can do more and nothing is due.
    fn settle(&mut self) {
        loop {
            while (0..self.peers.len()).any(|peer| self.step(peer)) {}
            if self.decide() {
                continue;
            }
            match self.next_due() {
                Some(due) if due <= self.uptime => self.advance(due),
                _ => break,
            }
        }
        // The driver decides which connections it wakes and which bytes it deletes. This driver asks all connections,
        // and deletes nothing.
        for chat in &mut self.chats {
            chat.take_news(|_| {});
            chat.take_released();
        }
    }

    /// Makes one step for a connection; returns whether there was one to make.
    fn step(&mut self, n: usize) -> bool {
        let now = self.now();
        let server = self.peers[n].server;
        let Some(mut session) = self.peers[n].session.take() else {
            return false;
        };
        // A file is announced before its sender receives anything else.
        let announces = matches!(self.peers[n].moving, Moving::Announced(_));
        // In the same way, others learn how a live file ended before its sender's connection ends.
        let ends = matches!(self.peers[n].moving, Moving::Ended(..))
            && self.chats[server].is_ended(session.peer());
        let waits = announces || ends || self.peers[n].is_stalled;
        let has_sent = !waits && self.send(n, &mut session);
        let has_taken = match std::mem::replace(&mut self.peers[n].moving, Moving::Nothing) {
            Moving::Nothing => {
                self.take_deferred(n, &mut session) || {
                    session.takes_lines(self.chats[server].limits())
                        && self.take_line(n, &mut session)
                }
            }
            Moving::Announced(upload) => {
                // There is no id until the announcement is stored.
                let id = session.announced(&mut self.chats[server]);
                self.peers[n].moving = match id {
                    Some(id) => {
                        self.go_live(&upload, id);
                        Moving::In(upload, id, Vec::new())
                    }
                    None => Moving::Announced(upload),
                };
                id.is_some()
            }
            Moving::Ended(id, is_whole) => {
                session.take_outcomes(&mut self.chats[server]);
                let is_settled = session.is_settled();
                if let (true, Some(live)) = (is_settled, self.lives.get_mut(&id)) {
                    live.end = Some(is_whole);
                } else {
                    self.peers[n].moving = Moving::Ended(id, is_whole);
                }
                is_settled
            }
            Moving::Follow(..) | Moving::QueryLog(_) | Moving::Flush
                if self.chats[server].is_ended(session.peer()) =>
            {
                session.break_off();
                true
            }
            Moving::In(upload, live, _) if self.chats[server].is_ended(session.peer()) => {
                let refused = Err(UploadError {
                    code: Code::ShuttingDown,
                    text: "the connection is being closed".into(),
                    closes: false,
                });
                self.peers[n].moving = live.map_or(Moving::Nothing, |id| Moving::Ended(id, false));
                let effect = session.received(
                    upload,
                    live.map_or(Begun::Unannounced, Begun::Live),
                    refused,
                    &mut self.chats[server],
                    now,
                );
                if let Some(Effect::Append(entry, ticket)) = effect {
                    self.append(n, entry, ticket);
                }
                true
            }
            Moving::InText(text, bytes) => self.receive_text(n, &mut session, text, bytes),
            Moving::Follow(id, offset, room) => self.follow(n, &mut session, id, offset, room),
            Moving::In(upload, live, bytes) => self.receive(n, &mut session, upload, live, bytes),
            Moving::QueryLog(query) if !session.owes_replies() => {
                let answer = log::run_query(&self.log, &query).map_err(|e| e.code());
                let effect = session.on_log_result(answer, &mut self.chats[server], now);
                self.go_on(n, &mut session, effect);
                true
            }
            Moving::QueryAccounts(query, at) if self.calls > at || self.late == 0 => {
                let answer = self.accounts.run(&query, now.time).map_err(|e| e.code());
                let effect = session.on_account_result(answer, &mut self.chats[server], now);
                self.go_on(n, &mut session, effect);
                true
            }
            Moving::Flush if !session.owes_replies() => {
                let effect = session.flushed(&mut self.chats[server], now);
                self.go_on(n, &mut session, effect);
                true
            }
            waits @ (Moving::QueryLog(_) | Moving::QueryAccounts(..) | Moving::Flush) => {
                self.peers[n].moving = waits;
                false
            }
            Moving::Away(left) => self.drop_bytes(n, &mut session, left),
            Moving::Out(id, bytes) => {
                // Bytes follow all earlier replies.
                let is_first = !session.owes_replies();
                if is_first {
                    self.peers[n].out.extend(bytes);
                    session.sent_file(id);
                } else {
                    self.peers[n].moving = Moving::Out(id, bytes);
                }
                is_first
            }
        };
        if session.is_over() {
            session.lost(&mut self.chats[server], now);
            self.chats[server].disconnect(session.peer());
        } else {
            self.peers[n].session = Some(session);
        }
        has_sent || has_taken
    }

    fn send(&mut self, n: usize, session: &mut Session) -> bool {
        let server = self.peers[n].server;
        let mut batch = std::mem::take(&mut self.batches[server]);
        session.take_outcomes(&mut self.chats[server]);
        let now = self.now();
        session.run_commands(&mut self.chats[server], now);
        if let Some((room, query)) = session.backlog_query(&self.chats[server]) {
            let answer = log::run_query(&self.log, &query).ok();
            session.on_backlog(room, answer, &mut self.chats[server], now);
        }
        let is_filled = session.fill(&mut self.chats[server], &mut batch);
        // The log's own thread may publish at any time. Here it does so after the output has been written and before
        // the session learns that.
        if self.late > 0 && is_filled && self.waiting.len() > 4 {
            self.keep();
        }
        if is_filled {
            // The network accepts more each time, so that a long reply comes to an end.
            self.peers[n].sends += 1;
            let takes = self.takes.saturating_add(self.peers[n].sends / 4);
            let taken = batch.len().min(takes);
            let bytes: Vec<&[u8]> = batch.stretches(0).collect();
            let rest: usize = batch.stretches(taken).map(<[u8]>::len).sum();
            assert_eq!(taken + rest, batch.len());
            self.peers[n].out.extend(&bytes.concat()[..taken]);
            session.sent(&mut self.chats[server], &batch, taken);
        }
        self.batches[server] = batch;
        is_filled
    }

    /// Processes the line that waited for earlier requests.
    fn take_deferred(&mut self, n: usize, session: &mut Session) -> bool {
        let server = self.peers[n].server;
        session.take_outcomes(&mut self.chats[server]);
        if !session.owes_deferred() {
            return false;
        }
        let now = self.now();
        let effect = session.apply_deferred(&mut self.chats[server], now);
        self.go_on(n, session, effect);
        true
    }

    fn go_live(&mut self, upload: &Upload, id: Option<EventId>) {
        let live = Live {
            name: upload.name.clone(),
            bytes: Vec::new(),
            end: None,
        };
        self.lives.extend(id.map(|id| (id, live)));
    }

    /// Sends the next piece of a live file, or its end.
    fn follow(
        &mut self,
        n: usize,
        session: &mut Session,
        id: EventId,
        offset: usize,
        room: RoomId,
    ) -> bool {
        let server = self.peers[n].server;
        for removed in self.chats[server].take_removed_live() {
            if let Some(live) = self.lives.get_mut(&removed) {
                live.end = Some(false);
            }
        }
        if !session.may_still_read(room, &self.chats[server]) {
            session.hide_file(id);
            return true;
        }
        let waits = session.owes_replies();
        let live = self.lives.get(&id).filter(|_| !waits);
        let (is_known, end) = (self.lives.contains_key(&id), live.and_then(|live| live.end));
        if let Some(live) = live
            && live.end != Some(false)
            && let Some(piece) = live.bytes.get(offset..).filter(|piece| !piece.is_empty())
        {
            let header = format!("DATA {id} {} - {}\n", piece.len(), live.name);
            let peer = &mut self.peers[n];
            peer.out.extend([header.as_bytes(), piece].concat());
            peer.moving = Moving::Follow(id, live.bytes.len(), room);
            return true;
        }
        match end {
            Some(true) => session.sent_file(id),
            Some(false) => session.lost_file(id),
            None if !is_known => {
                let effect = session.find_file(id, offset as u64);
                self.go_on(n, session, effect);
            }
            None => {
                self.peers[n].moving = Moving::Follow(id, offset, room);
                return false;
            }
        }
        true
    }

    fn take_line(&mut self, n: usize, session: &mut Session) -> bool {
        let server = self.peers[n].server;
        let now = self.now();
        let peer = &mut self.peers[n];
        let mut input = &peer.input[..];
        let before = input.len();
        if session.is_irc() {
            peer.decoder.end_telnet();
        }
        let mut item = peer.decoder.next(&mut input);
        let used = before - input.len();
        let is_last = item.is_none() && peer.has_ended && !peer.is_end_told && session.is_settled();
        if is_last {
            item = peer.decoder.finish();
            if item.is_none() {
                peer.is_end_told = true;
                session.end_of_input(&mut self.chats[server], now);
            }
        }
        let has_taken = item.is_some() || used > 0 || is_last;
        let effect = match item {
            None => None,
            Some(Item::Line { bytes, end }) => {
                session.apply(bytes, end, &mut self.chats[server], now)
            }
            Some(Item::TooLong { head }) => {
                session.skipped(head, &mut self.chats[server], now);
                None
            }
            Some(Item::Telnet(answer)) => {
                session.answer_telnet(answer);
                None
            }
        };
        peer.input.drain(..used);
        self.go_on(n, session, effect);
        has_taken
    }

    /// Begins the work that a session has requested.
    fn go_on(&mut self, n: usize, session: &mut Session, effect: Option<Effect>) {
        let server = self.peers[n].server;
        let moving = match effect {
            None => return,
            Some(Effect::Append(entry, ticket)) => return self.append(n, entry, ticket),
            Some(Effect::Receive(upload)) => {
                let is_live = upload.length.is_none();
                if is_live
                    && let Some(Effect::Append(entry, ticket)) =
                        session.announce(&upload, &mut self.chats[server])
                {
                    self.append(n, entry, ticket);
                }
                if is_live {
                    Moving::Announced(*upload)
                } else {
                    Moving::In(*upload, None, Vec::new())
                }
            }
            Some(Effect::ReceiveText(text)) => Moving::InText(*text, Vec::new()),
            Some(Effect::Discard(left)) => Moving::Away(left),
            Some(Effect::QueryLog(query)) => Moving::QueryLog(*query),
            Some(Effect::Flush) => Moving::Flush,
            Some(Effect::Stop) => {
                let now = self.now();
                session.shut_down(&mut self.chats[server], now);
                for peer in &mut self.peers {
                    if let Some(session) = &mut peer.session {
                        session.shut_down(&mut self.chats[peer.server], now);
                    }
                }
                return;
            }
            Some(Effect::QueryAccounts(query)) => Moving::QueryAccounts(*query, self.calls),
            Some(Effect::Send(file)) => {
                let OutgoingFile {
                    id,
                    name,
                    contents,
                    offset,
                    ..
                } = *file;
                let bytes = &self.files[&contents.sha256][offset as usize..];
                let (length, digest) = (bytes.len(), contents.sha256);
                let mut out = format!("DATA {id} {length} {digest} {name}\n").into_bytes();
                out.extend_from_slice(bytes);
                Moving::Out(id, out)
            }
            Some(Effect::Follow { id, offset, room }) => Moving::Follow(id, offset as usize, room),
        };
        self.peers[n].moving = moving;
    }

    fn receive_text(
        &mut self,
        n: usize,
        session: &mut Session,
        text: IncomingText,
        mut bytes: Vec<u8>,
    ) -> bool {
        let server = self.peers[n].server;
        let peer = &mut self.peers[n];
        let taken = (text.length - bytes.len()).min(peer.input.len());
        bytes.extend(peer.input.drain(..taken));
        let refuse = |code, closes| {
            Err(UploadError {
                code,
                text: "the text did not arrive".into(),
                closes,
            })
        };
        let outcome = if self.chats[server].is_ended(session.peer()) {
            refuse(Code::ShuttingDown, false)
        } else if bytes.len() == text.length {
            Ok(bytes)
        } else if peer.has_ended {
            refuse(Code::Incomplete, true)
        } else {
            peer.moving = Moving::InText(text, bytes);
            return taken > 0;
        };
        let now = self.now();
        let effect = session.received_text(text, outcome, &mut self.chats[server], now);
        self.go_on(n, session, effect);
        true
    }

    fn receive(
        &mut self,
        n: usize,
        session: &mut Session,
        upload: Upload,
        live: Option<EventId>,
        mut bytes: Vec<u8>,
    ) -> bool {
        let server = self.peers[n].server;
        let most = self.chats[server].limits().upload_bytes_max;
        let peer = &mut self.peers[n];
        let left = upload
            .length
            .map_or(usize::MAX, |length| length as usize - bytes.len());
        let taken = left.min(peer.input.len());
        bytes.extend(peer.input.drain(..taken));
        if let Some(live) = live.and_then(|id| self.lives.get_mut(&id)) {
            live.bytes.clone_from(&bytes);
        }
        let is_short = upload
            .length
            .is_some_and(|length| (bytes.len() as u64) < length);
        let refuse = |code, text: &'static str| {
            Err(UploadError {
                code,
                text: text.into(),
                closes: true,
            })
        };
        let is_cut = peer.has_ended && peer.input.is_empty() && is_short;
        let is_too_large = bytes.len() as u64 > most;
        let goes_on = is_short || upload.length.is_none() && !peer.has_ended;
        if goes_on && !is_cut && !is_too_large {
            peer.moving = Moving::In(upload, live, bytes);
            return taken > 0;
        }
        let digest = Digest(Sha256::digest(&bytes).into());
        let outcome = if is_too_large {
            refuse(Code::TooLarge, "too large")
        } else if is_cut {
            refuse(Code::Incomplete, "incomplete")
        } else if upload.sha256.is_some_and(|expected| expected != digest) {
            refuse(Code::Corrupt, "corrupt")
        } else {
            Ok(FileContents {
                length: bytes.len() as u64,
                sha256: digest,
            })
        };
        self.files.insert(digest, bytes);
        if let Some(id) = live {
            peer.moving = Moving::Ended(id, outcome.is_ok());
        }
        let now = self.now();
        let effect = session.received(
            upload,
            live.map_or(Begun::Unannounced, Begun::Live),
            outcome,
            &mut self.chats[server],
            now,
        );
        if let Some(Effect::Append(entry, ticket)) = effect {
            self.append(n, entry, ticket);
        }
        true
    }

    fn drop_bytes(&mut self, n: usize, session: &mut Session, left: Option<u64>) -> bool {
        let peer = &mut self.peers[n];
        let taken = left
            .map_or(usize::MAX, |left| left as usize)
            .min(peer.input.len());
        peer.input.drain(..taken);
        let left = left.map(|left| left - taken as u64);
        if left == Some(0) || (peer.has_ended && peer.input.is_empty()) {
            session.discarded();
            return true;
        }
        peer.moving = Moving::Away(left);
        taken > 0
    }

    /// Returns when something is due next, for the chat or a session.
    fn next_due(&self) -> Option<Duration> {
        let sessions = self.peers.iter().filter_map(|peer| peer.session.as_ref());
        let sessions = sessions.filter_map(|session| session.due(self.chats[0].limits()));
        let chats = self.chats.iter().filter_map(Chat::next_due);
        sessions.chain(chats).min()
    }

    fn advance(&mut self, to: Duration) {
        self.uptime = self.uptime.max(to);
        let now = self.now();
        self.chats.iter_mut().for_each(|chat| chat.tick(now));
        for peer in &mut self.peers {
            if let Some(session) = &mut peer.session {
                session.on_time(&mut self.chats[peer.server], now);
            }
        }
    }
}

impl Server for Memory {
    fn open(&mut self) -> Result<usize, String> {
        let now = self.now();
        let server = self.peers.len() % self.chats.len();
        let chat = &mut self.chats[server];
        let id = chat.connect(self.from);
        let mut session = Session::new(id, SocketAddr::from(([127, 0, 0, 1], 5002)), chat, now);
        if self.is_tls {
            session.under_tls();
        }
        session.admit(chat, now);
        self.peers.push(Peer {
            server,
            session: Some(session),
            decoder: LineDecoder::default(),
            input: Vec::new(),
            has_ended: false,
            is_end_told: false,
            is_stalled: false,
            sends: 0,
            out: Vec::new(),
            moving: Moving::Nothing,
        });
        Ok(self.peers.len() - 1)
    }

    fn push(&mut self, peer: usize, bytes: &[u8]) -> Result<(), String> {
        self.peers[peer].input.extend_from_slice(bytes);
        self.call();
        self.settle();
        Ok(())
    }

    fn half_close(&mut self, peer: usize) -> Result<(), String> {
        self.peers[peer].has_ended = true;
        self.call();
        self.settle();
        Ok(())
    }

    fn abandon(&mut self, peer: usize) {
        self.peers[peer].has_ended = true;
        self.settle();
        // What the peer has sent still counts.
        while self.keep() | self.think() {
            self.settle();
        }
        let now = self.now();
        let server = self.peers[peer].server;
        if let Some(mut session) = self.peers[peer].session.take() {
            session.lost(&mut self.chats[server], now);
            self.chats[server].disconnect(session.peer());
        }
        self.settle();
    }

    fn take(&mut self, peer: usize, patience: Duration) -> Taken {
        let until = self.uptime + patience;
        loop {
            self.settle();
            let out = std::mem::take(&mut self.peers[peer].out);
            if !out.is_empty() {
                return Taken::Bytes(out);
            }
            if self.peers[peer].session.is_none() {
                return Taken::Closed;
            }
            if self.keep() | self.think() {
                continue;
            }
            match self.next_due() {
                Some(due) if due <= until => self.advance(due),
                _ => {
                    self.advance(until);
                    return Taken::Nothing;
                }
            }
        }
    }
}

/// Returns the limits that a transcript asks for. The other limits are those of the suite, so joins are not
/// announced.
fn config(settings: &[Setting]) -> Result<Config, String> {
    let mut config = config_with(Limits {
        announce_after: Duration::from_secs(3600),
        ..Limits::default()
    });
    let limits = &mut config.limits;
    for Setting { name, value } in settings {
        let number = || {
            value
                .parse()
                .map_err(|_| format!("with {name} {value}: no number"))
        };
        match name.as_str() {
            "fresh" => {}
            "require-tls" => config.require_tls = true,
            "password" => config.password = Some(Secret::new(value)),
            "operator" => config.operators.extend(Nick::parse(value)),
            "announce-after" => limits.announce_after = time(value)?,
            "idle-after" => limits.idle_after = time(value)?,
            "guard-for" => limits.guard_for = time(value)?,
            "max-connections" => limits.connections_max = number()? as usize,
            "quota-per-nick" => limits.quota_per_nick_bytes = Some(number()?),
            "rooms-per-connection" => limits.rooms_per_connection_max = number()? as usize,
            "max-rooms" => limits.rooms_max = number()? as usize,
            "max-upload" => limits.upload_bytes_max = number()?,
            "announce-up-to" => limits.announce_up_to = number()? as usize,
            _ => return Err(format!("with {name} {value}: no such setting")),
        }
    }
    Ok(config)
}

fn config_with(limits: Limits) -> Config {
    Config {
        name: "memory".into(),
        limits,
        ..Config::default()
    }
}

/// Parses `250ms`, `1s`, `10m`, `1h`.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("{text} is no time"))?;
    Ok(Duration::from_millis(match unit {
        "ms" => number,
        "s" => number * 1000,
        "m" => number * 60_000,
        "h" => number * 3_600_000,
        _ => return Err(format!("{text} is no time")),
    }))
}
