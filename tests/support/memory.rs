//! The server's core without sockets, files or a clock: sessions and a chat, and a driver as small as one
//! can be. Time is a number that goes on only while somebody waits.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use plainchat::chat::{Chat, Draft, Now, Place, Whole};
use plainchat::config::{Config, Limits};
use plainchat::log::memory::MemoryLog;
use plainchat::log::{self, Entry, Log, Question};
use plainchat::protocol::line::{Item, LineDecoder};
use plainchat::protocol::{Code, Digest, EventId, RoomName, Time};
use plainchat::session::output::Batch;
use plainchat::session::{Effect, Session, Upload, UploadError};
use sha2::{Digest as _, Sha256};

use super::run::{Server, Taken};
use super::transcript::Setting;

/// When the server was started: 2026-11-22T00:00:00Z.
const STARTED_MS: u64 = 1_795_305_600_000;

/// A server in memory.
pub struct Memory {
    chat: Chat,
    uptime: Duration,
    log: MemoryLog,
    files: HashMap<Digest, Vec<u8>>,
    peers: Vec<Peer>,
    /// How many bytes the network takes from a session at first.
    takes: usize,
}

struct Peer {
    /// `None` once it has ended.
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

/// What a line has started and bytes must end.
enum Moving {
    Nothing,
    /// With its number, if it is live.
    In(Upload, Option<EventId>, Vec<u8>),
    /// So many bytes are to be dropped, or all.
    Away(Option<u64>),
    Out(EventId, Vec<u8>),
    /// The log is asked, once the replies before are out.
    Ask(Question),
    Flush,
}

impl Memory {
    /// A server with `settings`, from whose sessions few bytes are taken at once: at first
    /// `takes`, then more.
    pub fn new(settings: &[Setting], takes: usize) -> Result<Self, String> {
        Ok(Self::with_limits(limits(settings)?, takes))
    }

    /// The same with limits of which not all can be set.
    pub fn with_limits(limits: Limits, takes: usize) -> Self {
        let config = Config {
            listen: Vec::new(),
            data: None,
            name: "memory".into(),
            lobby: RoomName::parse("#lobby").expect("it is a room's name"),
            limits,
        };
        Self {
            chat: Chat::new(Arc::new(config)),
            uptime: Duration::ZERO,
            log: MemoryLog::new(STARTED_MS * 1000, 64 << 20),
            files: HashMap::new(),
            peers: Vec::new(),
            takes,
        }
    }

    /// Whether `peer` has stopped reading, so that the network takes nothing more for it.
    pub fn stall(&mut self, peer: usize, is_stalled: bool) {
        self.peers[peer].is_stalled = is_stalled;
        self.settle();
    }

    fn now(&self) -> Now {
        Now {
            time: Time(STARTED_MS + self.uptime.as_millis() as u64),
            uptime: self.uptime,
        }
    }

    fn append(&mut self, draft: Draft) {
        let room = match draft.place {
            Place::Room(room) => self.chat.room(room).map(|room| room.name.clone()),
            Place::Nick(_) | Place::Everyone => None,
        };
        if let Some((draft, outcome)) = self.log.append(Entry { room, draft }, self.now().time) {
            self.chat.publish(draft, outcome);
        }
    }

    /// Lets every connection do what it can, until none can do more and nothing is due.
    fn settle(&mut self) {
        loop {
            while (0..self.peers.len()).any(|peer| self.step(peer)) {}
            match self.next_due() {
                Some(due) if due <= self.uptime => self.advance(due),
                _ => break,
            }
        }
        // Whom to wake, and which bytes to let go of, is the driver's: this one asks everybody and keeps all.
        self.chat.take_news(|_| {});
        self.chat.take_released();
    }

    /// Takes one thing in or out; whether there was one.
    fn step(&mut self, n: usize) -> bool {
        let now = self.now();
        let Some(mut session) = self.peers[n].session.take() else {
            return false;
        };
        let has_sent = !self.peers[n].is_stalled && self.send(n, &mut session);
        let has_taken = match std::mem::replace(&mut self.peers[n].moving, Moving::Nothing) {
            Moving::Nothing => {
                session.takes_lines(self.chat.limits()) && self.take_line(n, &mut session)
            }
            Moving::In(upload, live, bytes) => self.receive(n, &mut session, upload, live, bytes),
            Moving::Ask(question) if !session.owes_replies() => {
                let answer = log::answer(&self.log, &question).ok();
                let effect = session.answered(answer, &mut self.chat, now);
                self.go_on(n, &mut session, effect);
                true
            }
            Moving::Flush if !session.owes_replies() => {
                let effect = session.flushed(&mut self.chat, now);
                self.go_on(n, &mut session, effect);
                true
            }
            waits @ (Moving::Ask(_) | Moving::Flush) => {
                self.peers[n].moving = waits;
                false
            }
            Moving::Away(left) => self.drop_bytes(n, &mut session, left),
            Moving::Out(id, bytes) => {
                // Bytes come after every reply before them.
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
            session.lost(&mut self.chat, now);
            self.chat.disconnect(session.peer());
        } else {
            self.peers[n].session = Some(session);
        }
        has_sent || has_taken
    }

    fn send(&mut self, n: usize, session: &mut Session) -> bool {
        let mut batch = Batch::default();
        session.take_kept(&mut self.chat);
        let now = self.now();
        if let Some((room, question)) = session.catch_up(&self.chat) {
            let answer = log::answer(&self.log, &question).ok();
            session.caught_up(room, answer, &mut self.chat, now);
        }
        session.fill(&mut self.chat, &mut batch);
        // More and more, so that a long answer does not take for ever.
        self.peers[n].sends += 1;
        let takes = self.takes.saturating_add(self.peers[n].sends / 4);
        let taken = batch.bytes().len().min(takes);
        self.peers[n].out.extend_from_slice(&batch.bytes()[..taken]);
        session.sent(&mut self.chat, &batch, taken);
        !batch.is_empty()
    }

    fn take_line(&mut self, n: usize, session: &mut Session) -> bool {
        let now = self.now();
        let peer = &mut self.peers[n];
        let mut input = &peer.input[..];
        let before = input.len();
        let mut item = peer.decoder.next(&mut input);
        let used = before - input.len();
        let is_last = item.is_none() && peer.has_ended && !peer.is_end_told;
        if is_last {
            item = peer.decoder.finish();
            if item.is_none() {
                peer.is_end_told = true;
                session.end_of_input(&mut self.chat, now);
            }
        }
        let has_taken = item.is_some() || used > 0 || is_last;
        let effect = match item {
            None => None,
            Some(Item::Line { bytes, end }) => session.apply(bytes, end, &mut self.chat, now),
            Some(Item::TooLong { head }) => {
                session.skipped(head, &mut self.chat, now);
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

    /// Begins what a session wants done.
    fn go_on(&mut self, n: usize, session: &mut Session, effect: Option<Effect>) {
        let moving = match effect {
            None => return,
            Some(Effect::Append(draft)) => return self.append(draft),
            Some(Effect::Receive(upload)) => {
                let mut live = None;
                if upload.length.is_none()
                    && let Effect::Append(draft) = session.announce(&upload, &self.chat)
                {
                    self.append(draft);
                    live = session.announced(&mut self.chat).flatten();
                }
                Moving::In(upload, live, Vec::new())
            }
            Some(Effect::Discard(left)) => Moving::Away(left),
            Some(Effect::Ask(question)) => Moving::Ask(question),
            Some(Effect::Flush) => Moving::Flush,
            Some(Effect::Send {
                id,
                name,
                whole,
                offset,
            }) => {
                let bytes = &self.files[&whole.sha256][offset as usize..];
                let (length, digest) = (bytes.len(), whole.sha256);
                let mut out = format!("DATA {id} {length} {digest} {name}\n").into_bytes();
                out.extend_from_slice(bytes);
                Moving::Out(id, out)
            }
            // This driver knows a file in transit only as far as it has come, which no transcript asks for.
            Some(Effect::Follow { id, .. }) => return session.lost_file(id),
        };
        self.peers[n].moving = moving;
    }

    fn receive(
        &mut self,
        n: usize,
        session: &mut Session,
        upload: Upload,
        live: Option<EventId>,
        mut bytes: Vec<u8>,
    ) -> bool {
        let most = self.chat.limits().upload_bytes_max;
        let peer = &mut self.peers[n];
        let left = upload
            .length
            .map_or(usize::MAX, |length| length as usize - bytes.len());
        let taken = left.min(peer.input.len());
        bytes.extend(peer.input.drain(..taken));
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
            Ok(Whole {
                length: bytes.len() as u64,
                sha256: digest,
            })
        };
        self.files.insert(digest, bytes);
        let now = self.now();
        let effect = session.received(upload, live, outcome, &mut self.chat, now);
        if let Some(Effect::Append(draft)) = effect {
            self.append(draft);
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

    /// When something is due next, of the chat or of a session.
    fn next_due(&self) -> Option<Duration> {
        let sessions = self.peers.iter().filter_map(|peer| peer.session.as_ref());
        let sessions = sessions.filter_map(|session| session.due(self.chat.limits()));
        sessions.chain(self.chat.next_due()).min()
    }

    fn advance(&mut self, to: Duration) {
        self.uptime = self.uptime.max(to);
        let now = self.now();
        self.chat.tick(now);
        for peer in &mut self.peers {
            if let Some(session) = &mut peer.session {
                session.on_time(&mut self.chat, now);
            }
        }
    }
}

impl Server for Memory {
    fn open(&mut self) -> Result<usize, String> {
        let now = self.now();
        let id = self.chat.connect();
        let mut session = Session::new(
            id,
            SocketAddr::from(([127, 0, 0, 1], 5002)),
            &self.chat,
            now,
        );
        if self.chat.connections() > self.chat.limits().connections_max {
            session.turn_away(&mut self.chat, now);
        }
        self.peers.push(Peer {
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
        if let Some(session) = &mut self.peers[peer].session {
            session.spoke();
        }
        self.settle();
        Ok(())
    }

    fn half_close(&mut self, peer: usize) -> Result<(), String> {
        self.peers[peer].has_ended = true;
        self.settle();
        Ok(())
    }

    fn abandon(&mut self, peer: usize) {
        self.peers[peer].has_ended = true;
        self.settle();
        let now = self.now();
        if let Some(mut session) = self.peers[peer].session.take() {
            session.lost(&mut self.chat, now);
            self.chat.disconnect(session.peer());
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

/// The limits that a transcript asks for, and otherwise those of the suite: no joins are announced.
fn limits(settings: &[Setting]) -> Result<Limits, String> {
    let mut limits = Limits {
        announce_after: Duration::from_secs(3600),
        ..Limits::default()
    };
    for Setting { name, value } in settings {
        let number = || {
            value
                .parse()
                .map_err(|_| format!("with {name} {value}: no number"))
        };
        match name.as_str() {
            "fresh" => {}
            "announce-after" => limits.announce_after = time(value)?,
            "greet-after" => limits.greet_after = time(value)?,
            "idle-after" => limits.idle_after = time(value)?,
            "guard-for" => limits.guard_for = time(value)?,
            "max-connections" => limits.connections_max = number()? as usize,
            "max-upload" => limits.upload_bytes_max = number()?,
            "announce-up-to" => limits.announce_up_to = number()? as usize,
            _ => return Err(format!("with {name} {value}: no such setting")),
        }
    }
    Ok(limits)
}

/// Reads `250ms`, `1s`, `10m`, `1h`.
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
