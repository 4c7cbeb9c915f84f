//! The state of one connection: which requests are allowed now, the replies in order, and how far the client has read.
//! [`Session::apply`] takes lines, and [`Session::fill`] collects the bytes to send.
//!
//! This module is pure: it uses no socket, task or clock. A session consists of a cursor on every tail that it reads
//! and a short queue of replies. The reply to a message is sent at the message's position among the room's events, so
//! the queue and the cursors advance together (see [`output`]). Slow work, such as storing a message or moving a
//! file's bytes, is an [`Effect`] for the driver, which reports the result to the session.

mod account;
mod amend;
pub mod batch;
mod gate;
mod hooks;
pub mod ignore;
mod irc;
mod lazy_list;
mod log_queries;
mod moderation;
mod multiline;
mod operator;
pub mod output;
mod readers;
mod request;
#[cfg(test)]
mod tests;
mod tls_policy;
mod whois;

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::accounts::AccountQuery;
use crate::chat::nick::Leaves;
use crate::chat::{Chat, Committed, FilePlace, NickId, Place, RoomId};
use crate::config::Limits;
use crate::dialect::irc::begins_irc;
use crate::dialect::{Dialect, FileReply, Line, Marks, Output, ReplyBody};
use crate::log::{LogQuery, Reader};
use crate::model::{
    Entry, EventKind, FileContents, NewFile, Now, PeerId, Removed, Scope, Secret, Ticket, millis,
};
use crate::protocol::line::LineEnd;
use crate::protocol::request::{Refusal, looks_like_command, verb_of};
use crate::protocol::tags::SentTags;
use crate::protocol::{Code, Digest, EventId, FileName, Nick, Request, Verb};
use crate::tail::Seq;

pub use multiline::IncomingText;
use output::{AfterReply, Entries, EntryReply, Pending, TextReply};

/// Work that the driver must do for a session. A line causes at most one effect. While a file is being transferred,
/// the session accepts no line.
#[derive(Debug)]
pub enum Effect {
    /// Store this entry, and then publish it.
    Append(Arc<Entry>, Ticket),
    /// Receive this upload and report with [`Session::received`]. An upload without a length consists of all bytes up
    /// to the end of input.
    Receive(Box<Upload>),
    /// Receive this text and report with [`Session::received_text`].
    ReceiveText(Box<IncomingText>),
    /// Read and drop the given number of bytes; `None` stands for all bytes up to the end of input. Report with
    /// [`Session::discarded`].
    Discard(Option<u64>),
    /// When all replies have been sent, send the `DATA` line and the bytes of this file after the first `offset` bytes.
    /// Report with [`Session::sent_file`].
    Send(Box<OutgoingFile>),
    /// Send a live file in pieces, as they arrive. Each piece has a `DATA` line. If the file is no longer live, call
    /// [`Session::find_file`] instead.
    Follow {
        /// The file's id.
        id: EventId,
        /// The number of the file's bytes that the client already has.
        offset: u64,
        /// The file's place. Sending continues only while [`Session::may_still_read`] returns true.
        place: FilePlace,
    },
    /// When the client has received all pending output, pass this query to the log and report with
    /// [`Session::on_log_result`].
    QueryLog(Box<LogQuery>),
    /// When all replies have been sent, call [`Session::flushed`].
    Flush,
    /// Pass this query to the accounts and report with [`Session::on_account_result`]. The driver also counts wrong
    /// passwords.
    QueryAccounts(Box<AccountQuery>),
    /// Stop the server: an operator has ordered it.
    Stop,
}

/// An event before it is proposed, and the reply to its request.
struct Draft<'a> {
    verb: Verb,
    kind: EventKind,
    /// The text of a message, an action, a topic or an edit; otherwise empty.
    text: &'a str,
    tags: SentTags,
    body: ReplyBody,
}

impl<'a> Draft<'a> {
    /// Returns the draft of a message.
    fn message(verb: Verb, kind: EventKind, text: &'a str, tags: SentTags) -> Self {
        Self {
            text,
            tags,
            ..Self::new(verb, kind, ReplyBody::IdAndTime)
        }
    }

    /// Returns a draft without text and tags.
    fn new(verb: Verb, kind: EventKind, body: ReplyBody) -> Self {
        Self {
            verb,
            kind,
            text: "",
            tags: SentTags::default(),
            body,
        }
    }
}

/// A complete file that a client has requested, in full or from an offset.
#[derive(Debug)]
pub struct OutgoingFile {
    /// The file's id.
    pub id: EventId,
    /// The file's name.
    pub name: FileName,
    /// The file's length and digest.
    pub contents: FileContents,
    /// The number of the file's bytes that the client already has.
    pub offset: u64,
    /// The file's place. Sending continues only while [`Session::may_still_read`] returns true.
    pub place: FilePlace,
}

/// An upload that a client is about to send.
#[derive(Debug)]
pub struct Upload {
    /// The file's name.
    pub name: FileName,
    /// The file's length; `None` if it consists of all bytes up to the end of input.
    pub length: Option<u64>,
    /// The digest that the client expects.
    pub sha256: Option<Digest>,
    /// The tags of the file's event.
    pub tags: SentTags,
    /// The place where the file is announced.
    pub place: FilePlace,
}

/// The reason why an upload or a text failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadError {
    /// The error code.
    pub code: Code,
    /// The reason in words for people.
    pub text: Cow<'static, str>,
    /// Whether the connection must close, because the server cannot know where the next line begins.
    pub closes: bool,
}

impl UploadError {
    /// Returns the error for a live file that was removed before it was complete.
    pub fn removed() -> Self {
        Self {
            code: Code::NoSuchFile,
            text: "the file was removed while it came in".into(),
            closes: false,
        }
    }
}

/// What other clients have seen of an upload when it ends.
#[derive(Clone, Copy, Debug)]
pub enum Begun {
    /// Nothing: the file is announced when it is complete.
    Unannounced,
    /// A live file with this id.
    Live(EventId),
    /// A live file that has been removed.
    Removed,
}

/// The maximum number of bytes of replies that wait for a client. Above the maximum, the server does not read the
/// client's requests.
const REPLY_BYTES_MAX: usize = 64 << 10;

/// The replies that have not been sent, including those that wait for the outcome of an entry.
#[derive(Debug)]
struct Replies {
    pending: VecDeque<Pending>,
    /// The number of bytes of text in `pending`.
    bytes: usize,
    /// The outcomes for the [`Pending::Entry`] replies, in the order of `pending`; `None` while an outcome is not
    /// known.
    outcomes: VecDeque<Option<Result<Committed, Code>>>,
    /// The ticket number of the first outcome.
    first_ticket: u32,
    /// The number of outcomes that are not known yet.
    undecided: usize,
    /// Input that is deferred until all outcomes are known, because the entries may affect the input.
    deferred: Option<Deferred>,
    freshness: Freshness,
}

/// Whether this server has caught up with the other servers of the chat, as far as a session knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Freshness {
    /// Other servers may have acknowledged changes that this server does not know yet.
    Unknown,
    /// The deferred request waits until this server has caught up.
    CatchingUp,
    /// This server has caught up for the deferred request.
    CaughtUp,
}

/// Input that waits for the outcome of earlier entries.
#[derive(Debug)]
enum Deferred {
    /// A line and how it ended.
    Line(Vec<u8>, LineEnd),
    /// A request of a client inside this process.
    Request(Box<Request<'static>>),
    /// A `NICK` that has not been decided on.
    Nick(Box<WaitingNick>),
}

/// A `NICK` that waits for the decision on it.
#[derive(Debug)]
struct WaitingNick {
    nick: Nick,
    password: Option<Secret>,
    login: NickLogin,
}

/// What a session needs to know when its connection has received a nick.
#[derive(Debug)]
struct NickLogin {
    has_password: bool,
    /// How the connection has logged in: with a token (`true`) or with the password (`false`) of the nick; `None`
    /// without a login.
    has_token: Option<bool>,
    /// The unsent direct messages to the former nick.
    unread: Output,
}

impl Deferred {
    fn bytes(&self) -> usize {
        match self {
            Self::Line(line, _) => line.len(),
            Self::Request(_) => size_of::<Request<'_>>(),
            Self::Nick(waiting) => size_of::<WaitingNick>() + waiting.login.unread.len(),
        }
    }
}

impl Replies {
    const NONE: Self = Self {
        pending: VecDeque::new(),
        bytes: 0,
        outcomes: VecDeque::new(),
        first_ticket: 0,
        undecided: 0,
        deferred: None,
        freshness: Freshness::Unknown,
    };

    /// Adds a reply that waits for an outcome. Returns the number of the ticket.
    fn expect_outcome(&mut self, reply: EntryReply) -> u32 {
        let number = self.first_ticket.wrapping_add(self.outcomes.len() as u32);
        self.undecided += 1;
        self.outcomes.push_back(None);
        self.bytes += reply.bytes();
        self.pending.push_back(Pending::Entry(reply));
        number
    }

    /// Adds an undecided change. The reply at the position `at` and all later replies wait for the decision. Returns
    /// the number of the change's ticket.
    fn expect_change(&mut self, at: usize) -> u32 {
        let number = self.expect_outcome(EntryReply::NOTHING);
        let is_entry = |pending: &Pending| matches!(pending, Pending::Entry(_));
        let entries = self.pending.iter().skip(at);
        // The ticket numbers must have the order of the replies, so the change cannot be put before an entry.
        if entries.filter(|pending| is_entry(pending)).count() == 1
            && let Some(waits) = self.pending.pop_back()
        {
            self.pending.insert(at, waits);
        }
        number
    }

    /// Sets the outcome of the entry with the ticket number `number`.
    fn learn(&mut self, number: u32, outcome: Result<Committed, Code>) {
        let at = number.wrapping_sub(self.first_ticket) as usize;
        if let Some(unknown @ None) = self.outcomes.get_mut(at) {
            *unknown = Some(outcome);
            self.undecided -= 1;
        }
    }

    /// Removes the first outcome, because its reply has been sent.
    fn forget_first(&mut self) {
        if self.outcomes.pop_front().is_some() {
            self.first_ticket = self.first_ticket.wrapping_add(1);
        }
    }
}

/// The replies of a session that has none.
static NO_REPLIES: Replies = Replies::NONE;

/// A room that the connection has joined, and how much of it the client has received.
#[derive(Debug)]
struct Membership {
    room: RoomId,
    /// The next entry of the room's tail to send.
    cursor: Seq,
    /// The id of the newest logged event that was sent or that existed when the room was joined; 0 for none.
    seen: u64,
    /// A gap that was reported to the client also covers the unlogged events before this entry.
    gap_to: Seq,
    /// The named reader whose position in the room is stored, if there is one.
    reader: Option<Box<Reader>>,
    /// Whether the client has moved the reader with `SEEN`, so that `BYE` does not move it.
    confirms: bool,
    /// Whether `PART` was requested. The events before the `PART` are still sent.
    is_leaving: bool,
    /// Whether live events wait until the reply to `JOIN`, because the backlog comes first.
    waits_for_backlog: bool,
}

impl Membership {
    fn new(room: RoomId, chat: &Chat) -> Self {
        Self {
            room,
            cursor: chat.end(Place::Room(room)),
            seen: chat.room(room).map_or(0, |room| room.last_id()),
            gap_to: 0,
            reader: None,
            confirms: false,
            is_leaving: false,
            waits_for_backlog: false,
        }
    }

    /// Returns whether the tail has dropped logged events that have not been sent. They must then be read from the log.
    fn is_behind(&self, chat: &Chat) -> bool {
        let tail = chat.tail(Place::Room(self.room));
        tail.is_some_and(|tail| {
            !self.waits_for_backlog
                && self.cursor < tail.first()
                && tail.seq_after(self.seen).is_none()
        })
    }
}

/// Whether others on the network can read the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    /// The connection is not encrypted.
    Plain,
    /// The connection is encrypted.
    Tls,
}

/// The input that a session accepts next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    /// The first line. A line that is empty or not a command was typed by a person.
    FirstLine,
    /// A line.
    Line,
    /// A line after the bytes of an upload or text. It must look like a command.
    LineAfterBytes,
    /// Nothing, because a transfer or a query is in progress.
    Nothing,
}

/// The phase of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Lines are accepted.
    Active,
    /// No more lines are accepted. The session is over when all replies have been sent.
    Ending,
    /// All replies have been sent, except perhaps the rest of a line.
    Over,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    peer: PeerId,
    nick: Option<NickId>,
    /// The rooms, in the order in which they were last joined. The current room is the last room that is not being
    /// left.
    rooms: SmallVec<[Membership; 1]>,
    /// The position up to which the events for everyone have been read.
    notes: Seq,
    /// The position up to which the direct messages to the nick have been read.
    inbox: Seq,
    /// The waiting replies. Nearly always, there are none (`None`).
    replies: Option<Box<Replies>>,
    /// The pending query to the log.
    log_query: Option<Box<log_queries::PendingQuery>>,
    /// The casefolded nicks that are ignored. Nearly always, there are none (`None`).
    #[allow(clippy::box_collection)] // 16 bytes less in each connection
    ignored: Option<Box<BTreeSet<Box<str>>>>,
    /// The pending query to the accounts.
    account_query: Option<Box<account::PendingAccountQuery>>,
    /// The events from the log that a slow reader has missed.
    page: Option<Box<output::BacklogPage>>,
    /// The state of an IRC client; `None` for other clients.
    irc: Option<Box<irc::Irc>>,
    /// The rest of a line whose first part has been sent.
    unsent: Box<[u8]>,
    /// The dialect in which further requests are read.
    input: Dialect,
    /// The dialect of the next output. After the reply that changes the dialect has been sent, this is the same as
    /// `input`.
    output: Dialect,
    /// The time of the last request, in milliseconds of uptime. Before the first request, the time at which the session
    /// began.
    asked_ms: u64,
    /// The address to which the client has connected, for hints on what to type.
    local: (IpAddr, u16),
    security: Security,
    /// Whether the port in `local` also serves browsers.
    has_web: bool,
    /// The room whose events are sent first. Each write begins with another room.
    next_room: u8,
    expects: Expects,
    phase: Phase,
    /// Whether the client has requested to stay connected when its input ends.
    stays: bool,
    /// Whether the server has no password or the client has given it.
    is_open: bool,
    /// Whether the notice that TLS is available has been sent.
    tls_hint_sent: bool,
    /// Whether the connection has taken its nick with a token.
    has_token: bool,
    /// Whether the connection has lost its current room, because of a removal or a refused `JOIN`, and has joined no
    /// room since. Messages for the lost room must not go to another room.
    lost_current_room: bool,
    /// Whether an operator has closed the connection. If so, the connection ends soon, even if the client does not
    /// read.
    is_dismissed: bool,
}

impl Session {
    /// Creates the session of a new connection. `local` is the address at which the server has accepted the connection.
    pub fn new(peer: PeerId, local: SocketAddr, chat: &Chat, now: Now) -> Self {
        Self {
            peer,
            nick: None,
            rooms: SmallVec::new(),
            notes: chat.end(Place::Everyone),
            inbox: 0,
            replies: None,
            log_query: None,
            ignored: None,
            account_query: None,
            page: None,
            irc: None,
            unsent: Box::default(),
            input: Dialect::FIRST,
            output: Dialect::FIRST,
            asked_ms: millis(now.uptime),
            local: (local.ip(), local.port()),
            security: Security::Plain,
            has_web: false,
            next_room: 0,
            expects: Expects::FirstLine,
            phase: Phase::Active,
            stays: false,
            is_open: chat.config.password.is_none(),
            tls_hint_sent: false,
            has_token: false,
            lost_current_room: false,
            is_dismissed: false,
        }
    }

    /// Returns the session with `dialect` instead of the dialect in which connections begin.
    #[must_use]
    pub fn in_dialect(self, dialect: Dialect) -> Self {
        Self {
            input: dialect,
            output: dialect,
            ..self
        }
    }

    /// From now on, adds the id, time and tags to all events, for a client that receives each line as an object.
    pub fn mark_events(&mut self) {
        let dialect = Dialect::Program(Marks {
            stamps: true,
            tags: true,
        });
        self.input = dialect;
        self.push(Output::default(), AfterReply::Dialect(dialect));
    }

    /// Returns the connection's id.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Returns the connection's nick.
    pub fn nick_id(&self) -> Option<NickId> {
        self.nick
    }

    /// Returns the address at which the server has accepted the connection.
    pub fn local(&self) -> SocketAddr {
        self.local.into()
    }

    /// Sets whether the port that the client has connected to serves browsers.
    pub fn reached_by(&mut self, has_web: bool) {
        self.has_web = has_web;
    }

    /// Returns a hint for a person in talker mode on how to transfer a file: at `path` in a browser, or with a command.
    /// `command` returns that command. Its argument is the first part of the command: a network client with the
    /// server's address and port.
    fn transfer_hint(&self, path: &str, command: impl FnOnce(&str) -> String) -> String {
        let (host, port) = self.local;
        let (scheme, client) = match self.security {
            Security::Tls => ("https", "ncat --ssl"),
            Security::Plain => ("http", "nc -N"),
        };
        let typed = command(&format!("{client} {host} {port}"));
        if self.has_web {
            format!(
                "a file cannot be sent between messages. Open {scheme}://{}{path} or type in another terminal: {typed}",
                self.local()
            )
        } else {
            format!("a file cannot be sent between messages. Type in another terminal: {typed}")
        }
    }

    /// Returns whether a list is sent next. That takes time, because each of its lines is looked up.
    pub fn is_listing(&self) -> bool {
        matches!(self.replies().pending.front(), Some(Pending::List(_)))
    }

    /// Returns whether another line is accepted now. No line is accepted during a transfer, or if the client does not
    /// read its replies.
    pub fn takes_lines(&self, limits: &Limits) -> bool {
        // While a list is being sent, no later request may change the list's contents.
        let replies = self.replies();
        let is_listing = matches!(replies.pending.back(), Some(Pending::List(_)));
        let has_space =
            replies.pending.len() < limits.replies_max && replies.bytes < REPLY_BYTES_MAX;
        self.expects != Expects::Nothing
            && !self.is_ending()
            && !is_listing
            && has_space
            && replies.deferred.is_none()
    }

    /// Returns the number of bytes in memory: replies that have not been sent, and lines that have not been handled.
    pub fn buffered_bytes(&self) -> usize {
        let replies = self.replies();
        let held = replies.deferred.as_ref().map_or(0, Deferred::bytes);
        let page = self.page.as_deref().map_or(0, output::BacklogPage::bytes);
        let entries = replies.pending.len() * size_of::<Pending>();
        replies.bytes + entries + held + page + self.unsent.len()
    }

    /// Returns whether the session has ended and all output has been sent. If so, the server closes its side.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over && self.unsent.is_empty()
    }

    /// Returns whether an operator has closed the connection. If so, the connection ends soon, even if the client does
    /// not read.
    pub fn is_dismissed(&self) -> bool {
        self.is_dismissed
    }

    /// Returns whether the session ends when its replies have been sent.
    pub fn is_ending(&self) -> bool {
        self.phase != Phase::Active
    }

    /// Applies one line of input, given without its line ending.
    pub fn apply(
        &mut self,
        line: &[u8],
        end: LineEnd,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        let at = self.next_reply();
        let effect = self.apply_line(line, end, chat, now);
        self.wait_for_changes(at, chat);
        effect
    }

    /// Returns the position of the next reply among the waiting replies.
    fn next_reply(&self) -> usize {
        self.replies().pending.len()
    }

    /// Delays the reply at the position `at` and all later replies until this connection's changes are decided on.
    fn wait_for_changes(&mut self, at: usize, chat: &mut Chat) {
        let count = chat.changes_without_ticket(self.peer);
        if count > 0 {
            let replies = self.replies_mut();
            let places = at..at + count;
            let numbers: Vec<_> = places.map(|at| replies.expect_change(at)).collect();
            chat.set_tickets(self.peer, numbers.into_iter());
        }
    }

    fn apply_line(
        &mut self,
        line: &[u8],
        end: LineEnd,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        let is_first = self.expects == Expects::FirstLine;
        if is_first {
            self.expects = Expects::Line;
        }
        if self.is_irc() {
            self.asked_ms = millis(now.uptime);
            return self.irc_line(line, end, chat, now);
        }
        if line.iter().all(|b| *b == b' ') {
            if is_first {
                self.greet(chat);
            }
            return None;
        }
        if self.expects == Expects::LineAfterBytes && !looks_like_command(line) {
            // The room must receive the file before the departure of the sender.
            self.take_outcomes(chat);
            let replies = self.replies_mut();
            if replies.undecided > 0 {
                replies.deferred = Some(Deferred::Line(line.to_vec(), end));
                return None;
            }
            let text = "the bytes after the upload are not a command; check the length of the upload (nc -C alters files)";
            self.end(Refusal::of_line(Code::OutOfStep, text), chat, now);
            return None;
        }
        self.expects = Expects::Line;
        self.asked_ms = millis(now.uptime);
        let read = self.input.parse(line, self.nick.is_some());
        if read.as_ref().is_err_and(|refusal| refusal.verb.is_none())
            && chat.config.protocols.irc
            && !self.input.is_for_people()
            && begins_irc(line)
        {
            self.speak_irc(chat);
            return self.irc_line(line, end, chat, now);
        }
        if let Ok(Some(request)) = &read
            && !self.may_run_now(request, chat)
        {
            self.replies_mut().deferred = Some(Deferred::Line(line.to_vec(), end));
            return None;
        }
        let done = match read {
            // The refused request is followed by an unknown number of bytes that are not lines.
            Err(refusal)
                if refusal.verb.is_some_and(Verb::has_bytes) && !self.input.is_for_people() =>
            {
                self.end(refusal, chat, now);
                return None;
            }
            read => self.carry_out(read, end, chat, now),
        };
        done.unwrap_or_else(|refusal| {
            if is_first && refusal.verb.is_none() {
                self.greet(chat);
            }
            self.refuse(&refusal);
            None
        })
    }

    /// Handles a request of a client inside this process. If the client could not compose the request, handles the
    /// refusal.
    pub fn apply_request(
        &mut self,
        read: Result<Request<'static>, Refusal>,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        self.expects = Expects::Line;
        self.asked_ms = millis(now.uptime);
        let at = self.next_reply();
        let effect = match read {
            Ok(request) if !self.may_run_now(&request, chat) => {
                self.replies_mut().deferred = Some(Deferred::Request(Box::new(request)));
                None
            }
            read => {
                let done = self.carry_out(read.map(Some), LineEnd::Lf, chat, now);
                done.unwrap_or_else(|refusal| {
                    self.refuse(&refusal);
                    None
                })
            }
        };
        self.wait_for_changes(at, chat);
        effect
    }

    /// Handles a request, if it could be parsed and is permitted.
    fn carry_out(
        &mut self,
        read: Result<Option<Request<'_>>, Refusal>,
        end: LineEnd,
        chat: &mut Chat,
        now: Now,
    ) -> request::Done {
        match read {
            Ok(None) => Ok(None),
            Ok(Some(Request::Upload(_)))
            | Err(Refusal {
                verb: Some(Verb::Upload),
                ..
            }) if self.input.is_for_people() => {
                self.explain_upload(chat);
                Ok(None)
            }
            Ok(Some(Request::Text(_)))
            | Err(Refusal {
                verb: Some(Verb::Text),
                ..
            }) if self.input.is_for_people() => {
                let text = "that is for programs; just type or paste your lines";
                Err(Refusal::new(Verb::Text, Code::NotAllowed, text))
            }
            Ok(Some(Request::Upload(upload))) => self.upload(upload, end, chat, now),
            Ok(Some(Request::Text(text))) => self.text(text, end, chat, now),
            Ok(Some(request)) => match self.check_open(&request) {
                Ok(()) => self.request(request, chat, now),
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        }
    }

    /// Returns whether a request may be handled now. A message need not wait for the outcome of earlier entries,
    /// because the log keeps messages in order. Any other request must wait.
    fn may_run_now(&mut self, request: &Request<'_>, chat: &mut Chat) -> bool {
        let depends = chat.is_shared() && gate::depends_on_others(request);
        if !depends && matches!(request.verb(), Verb::Msg | Verb::Me | Verb::Tell) {
            return true;
        }
        self.take_outcomes(chat);
        self.replies().undecided == 0 && (!depends || self.has_caught_up(chat))
    }

    /// Returns whether this server has caught up with the other servers that share the chat. If not, the request must
    /// be deferred until it has.
    fn has_caught_up(&mut self, chat: &mut Chat) -> bool {
        if self.replies().freshness == Freshness::CaughtUp {
            return true;
        }
        chat.catch_up(self.peer);
        self.replies_mut().freshness = Freshness::CatchingUp;
        false
    }

    /// Handles the deferred input, if the entries before it have been decided on.
    pub fn apply_deferred(&mut self, chat: &mut Chat, now: Now) -> Option<Effect> {
        self.replies().deferred.as_ref()?;
        self.take_outcomes(chat);
        if !self.owes_deferred() {
            return None;
        }
        let replies = self.replies_mut();
        let deferred = replies.deferred.take()?;
        replies.freshness = match replies.freshness {
            Freshness::CatchingUp => Freshness::CaughtUp,
            _ => Freshness::Unknown,
        };
        let effect = match deferred {
            Deferred::Line(line, end) => self.apply(&line, end, chat, now),
            Deferred::Request(request) => self.apply_request(Ok(*request), chat, now),
            Deferred::Nick(waiting) => {
                let at = self.next_reply();
                let done = self.nick_decided(*waiting, chat, now);
                let effect = self.end_step(at, done, chat, now);
                self.wait_for_changes(at, chat);
                effect
            }
        };
        if self.replies().freshness == Freshness::CaughtUp {
            self.replies_mut().freshness = Freshness::Unknown;
        }
        effect
    }

    /// Ends a step of a request, which began when a result arrived. The replies of the step begin at the position `at`.
    fn end_step(
        &mut self,
        at: usize,
        done: request::Done,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        let effect = done.unwrap_or_else(|refusal| {
            self.refuse(&refusal);
            None
        });
        let effect = self.irc_continue(effect, chat, now);
        self.irc_label(at, effect.as_ref());
        effect
    }

    /// Returns whether there is deferred input that can be handled now.
    pub fn owes_deferred(&self) -> bool {
        let replies = self.replies();
        replies.undecided == 0 && replies.deferred.is_some() && self.expects != Expects::Nothing
    }

    /// Returns whether all entries have been decided on, and no input is deferred.
    pub fn is_settled(&self) -> bool {
        self.replies().undecided == 0 && self.replies().deferred.is_none()
    }

    /// Reports a line that was skipped because it was too long. `head` is the line's beginning.
    pub fn skipped(&mut self, head: &[u8], chat: &mut Chat, now: Now) {
        let refusal = Refusal::too_long();
        self.asked_ms = millis(now.uptime);
        if self.is_irc() {
            return self.irc_too_long();
        }
        let bytes_follow = verb_of(head).is_some_and(Verb::has_bytes);
        if !self.input.is_for_people() && (bytes_follow || self.expects == Expects::LineAfterBytes)
        {
            return self.end(refusal, chat, now);
        }
        self.refuse(&refusal);
    }

    /// Queues the answer to a telnet negotiation of the client.
    pub fn answer_telnet(&mut self, answer: [u8; 3]) {
        self.push(answer.to_vec().into(), AfterReply::Nothing);
    }

    /// Handles the end of the client's input. The session ends when all requests have been answered, unless the client
    /// has requested to stay connected.
    pub fn end_of_input(&mut self, chat: &mut Chat, now: Now) {
        if !self.stays && !self.is_ending() {
            let at = self.next_reply();
            self.depart_after_unread("", Leaves::ForNow, chat, now);
            self.push(Output::default(), AfterReply::Close);
            self.wait_for_changes(at, chat);
        }
    }

    /// Cancels the client's request to stay connected. This is for a client that reads nothing after the end of its
    /// input.
    pub fn stay_no_longer(&mut self) {
        self.stays = false;
    }

    /// Reports input that is not a line and has been skipped. `closes` says that the connection must close, because the
    /// server cannot know where the next line begins.
    pub fn refuse_input(
        &mut self,
        code: Code,
        text: &'static str,
        closes: bool,
        chat: &mut Chat,
        now: Now,
    ) {
        let refusal = Refusal::of_line(code, text);
        if closes {
            self.end(refusal, chat, now)
        } else {
            self.refuse(&refusal)
        }
    }

    /// Starts the session after the protocol has been detected. The idle time is counted from now.
    pub fn begin(&mut self, now: Now) {
        self.asked_ms = millis(now.uptime);
    }

    /// Closes a connection that uses a forbidden protocol.
    pub fn reject(&mut self, text: &str, chat: &mut Chat, now: Now) {
        self.close(Code::NotAllowed, text, chat, now);
    }

    /// Closes the connection because the server stops. Before `CLOSED`, the client receives the answers to all requests
    /// that the server has read.
    pub fn shut_down(&mut self, chat: &mut Chat, now: Now) {
        let farewell = chat.farewell.clone();
        let text = farewell
            .as_deref()
            .unwrap_or("the server is stopping; try again soon");
        self.close(Code::ShuttingDown, text, chat, now);
    }

    /// Closes the connection if its address is banned or there are too many connections. Must be called whenever the
    /// client's address becomes known or changes.
    pub fn admit(&mut self, chat: &mut Chat, now: Now) {
        if chat.has_too_many(self.peer) {
            let text = "there are too many connections; try again later";
            self.close(Code::Busy, text, chat, now);
        }
        let address = chat.address(self.peer);
        let ban = address.and_then(|address| chat.ban_of_address(address, now.time));
        if let Some(text) = ban {
            self.close(Code::Banned, &text, chat, now);
        }
    }

    /// Handles the loss of the connection: leaves all rooms without a last message.
    pub fn lost(&mut self, chat: &mut Chat, now: Now) {
        self.depart("", Leaves::ForNow, chat, now);
        self.phase = Phase::Over;
    }

    /// Returns the time at which [`Self::on_time`] must be called if nothing happens before.
    pub fn due(&self, limits: &Limits) -> Option<Duration> {
        let asked = Duration::from_millis(self.asked_ms);
        if self.is_dismissed {
            Some(asked + limits.drain_for)
        } else if self.is_ending() {
            None
        } else if self.nick.is_none()
            && self.rooms.is_empty()
            && self.expects != Expects::Nothing
            && self.replies().deferred.is_none()
        {
            Some(asked + limits.idle_after)
        } else {
            self.irc_due()
        }
    }

    /// Does what is due: closes a connection that has been idle for too long, ends a connection that has not received
    /// its last line in time, or calls `irc_on_time`.
    pub fn on_time(&mut self, chat: &mut Chat, now: Now) {
        if self.due(chat.limits()).is_none_or(|due| due > now.uptime) {
            return;
        }
        if self.is_dismissed {
            // The client has not read the last line in time.
            self.unsent = Box::default();
            self.phase = Phase::Over;
            return;
        }
        if self.irc_due().is_some() {
            return self.irc_on_time(now);
        }
        let text = "nothing was asked for a long time, without a nick or a room";
        self.close(Code::Idle, text, chat, now);
    }

    /// Greets a person, and shows how to begin.
    fn greet(&mut self, chat: &Chat) {
        let greeting = format!("HELLO {}\n", self.hello(chat));
        self.push(greeting.into_bytes().into(), AfterReply::Nothing);
    }

    /// Returns the text of `HELLO`: the protocol, the server and how to begin.
    fn hello(&self, chat: &Chat) -> String {
        let pass = if self.is_open {
            ""
        } else {
            "PASS <password> first, then "
        };
        format!(
            "{} {} {pass}NICK <name> to enter the lobby, then CHAT and just type; HELP lists the commands. {}",
            crate::protocol::VERSION,
            chat.config.name,
            chat.config.keeping()
        )
    }

    /// Announces a live file when its upload begins, so that it can be followed.
    ///
    /// # Errors
    /// When the user may no longer send files to the place.
    pub fn announce(
        &mut self,
        upload: &Upload,
        chat: &mut Chat,
    ) -> Result<Option<Effect>, UploadError> {
        self.require_place(&upload.place, chat)?;
        let file = NewFile {
            name: upload.name.clone(),
            contents: None,
        };
        let kind = EventKind::File(Box::new(file));
        let draft = Draft {
            tags: upload.tags.clone(),
            ..Draft::new(Verb::Upload, kind, ReplyBody::Nothing)
        };
        let effect = self.propose_upload(&upload.place, draft, chat);
        if effect.is_some() {
            chat.expect_file(self.peer);
        }
        Ok(effect)
    }

    /// Checks that the user may still send files to a place.
    fn require_place(&self, place: &FilePlace, chat: &Chat) -> Result<(), UploadError> {
        if chat.may_send_file(place, self.nick) {
            return Ok(());
        }
        let text = match place {
            FilePlace::Room(_) => "that room was closed to you or deleted meanwhile",
            FilePlace::Inbox(_) => {
                "one of you has given up the nick, or has changed the password; send the file again"
            }
        };
        Err(UploadError {
            code: Code::NotAllowed,
            text: text.into(),
            closes: false,
        })
    }

    /// Returns the id of the last appended entry, which announced a file or its completion. Returns `None` until the
    /// outcome is known, and `Some(None)` if the entry could not be stored.
    pub fn announced(&mut self, chat: &mut Chat) -> Option<Option<EventId>> {
        self.take_outcomes(chat);
        let replies = self.replies();
        let last = replies.outcomes.back().filter(|_| replies.undecided == 0);
        let last = last.and_then(Option::as_ref);
        last.map(|kept| kept.as_ref().ok().and_then(|kept| kept.id))
    }

    /// Handles the end of an upload. Announces a file, announces that a live file is complete, or reports the error.
    pub fn received(
        &mut self,
        upload: Upload,
        begun: Begun,
        outcome: Result<FileContents, UploadError>,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        self.expects = Expects::LineAfterBytes;
        let place = upload.place;
        let contents = outcome.as_ref().ok().copied();
        let outcome =
            outcome.and_then(|contents| self.require_place(&place, chat).map(|()| contents));
        let error = match (outcome, begun) {
            (Ok(contents), Begun::Unannounced) => {
                let file = NewFile {
                    name: upload.name,
                    contents: Some(contents),
                };
                let kind = EventKind::File(Box::new(file));
                let draft = Draft {
                    tags: upload.tags,
                    ..Draft::new(Verb::Upload, kind, shown_file(None, contents))
                };
                let effect = self.propose_upload(&place, draft, chat)?;
                chat.expect_file(self.peer);
                return Some(effect);
            }
            (Ok(contents), Begun::Live(id)) => {
                let body = shown_file(Some(id), contents);
                let kind = EventKind::Stored(id, contents.into());
                let draft = Draft::new(Verb::Upload, kind, body);
                return self.propose_upload(&place, draft, chat);
            }
            (Ok(_), Begun::Removed) => UploadError::removed(),
            (Err(error), _) => error,
        };
        chat.end_upload(self.peer);
        if let Some(contents) = contents {
            chat.release(contents.sha256);
        }
        let effect = match begun {
            Begun::Live(id) => self.give_up(id, &place, chat),
            Begun::Unannounced | Begun::Removed => None,
        };
        self.refuse_bytes(Verb::Upload, error, chat, now);
        effect
    }

    /// Reports that the bytes after a request could not be received.
    fn refuse_bytes(&mut self, verb: Verb, error: UploadError, chat: &mut Chat, now: Now) {
        let refusal = Refusal::new(verb, error.code, error.text);
        if error.closes {
            self.end(refusal, chat, now);
        } else {
            self.refuse(&refusal);
        }
    }

    /// Removes an announced file that will not be completed.
    pub fn give_up(&mut self, id: EventId, place: &FilePlace, chat: &mut Chat) -> Option<Effect> {
        let nick = self.nick.and_then(|nick| chat.user(nick));
        let owner = nick.map_or("?", |user| user.nick.as_str()).into();
        let removed = Removed::File {
            owner,
            contents: None,
        };
        let kind = EventKind::Remove(id, removed.into());
        let draft = Draft::new(Verb::Upload, kind, ReplyBody::Nothing);
        self.propose_upload(place, draft, chat)
    }

    /// Queries the log for a file that was still live when the client requested it.
    pub fn find_file(&mut self, id: EventId, offset: u64) -> Option<Effect> {
        self.query_file(id, offset)
    }

    /// Reports that a file can no longer be followed, because the sender broke off or the file was removed.
    pub fn lost_file(&mut self, id: EventId) {
        self.expects = Expects::Line;
        let text = format!("file {id} was removed, or its sender broke off");
        self.refuse(&Refusal::new(Verb::Download, Code::NoSuchFile, text));
    }

    /// Returns whether this connection may read the files of a place now. The right is checked again for each piece of
    /// a file.
    pub fn may_still_read(&self, place: &FilePlace, chat: &Chat) -> bool {
        chat.may_read_files(place, self.nick)
    }

    /// Reports that the connection has lost the right to read the file that is being sent.
    pub fn hide_file(&mut self, id: EventId) {
        self.expects = Expects::Line;
        self.refuse(&log_queries::no_such_file(id));
    }

    /// Cancels the request in progress without a reply, because the connection will be closed.
    pub fn break_off(&mut self) {
        self.expects = Expects::Line;
        self.log_query = None;
        self.account_query = None;
    }

    /// Reports that the bytes of a rejected upload have been dropped.
    pub fn discarded(&mut self) {
        self.expects = Expects::LineAfterBytes;
    }

    /// Reports that a file has been sent completely.
    pub fn sent_file(&mut self, id: EventId) {
        self.expects = Expects::Line;
        self.ok(Verb::Download, &id.to_string(), "", AfterReply::Nothing);
    }

    /// Reports an internal error: the request fails through no fault of the client.
    pub fn failed(&mut self, verb: Verb, text: &'static str) {
        self.expects = Expects::Line;
        self.refuse(&Refusal::new(verb, Code::Internal, text));
    }

    /// Reports that the server lacks the resources for the request now, because others use them.
    pub fn is_too_busy(&mut self, verb: Verb, text: &'static str) {
        self.expects = Expects::Line;
        self.refuse(&Refusal::new(verb, Code::Busy, text));
    }

    /// Takes the outcomes of the entries that this session has appended.
    pub fn take_outcomes(&mut self, chat: &mut Chat) {
        if self.replies().undecided > 0 {
            let kept = chat.take_outcomes(self.peer);
            let replies = self.replies_mut();
            for (number, outcome) in kept {
                replies.learn(number, outcome);
            }
        }
    }

    fn replies(&self) -> &Replies {
        self.replies.as_deref().unwrap_or(&NO_REPLIES)
    }

    fn replies_mut(&mut self) -> &mut Replies {
        self.replies.get_or_insert_with(|| Box::new(Replies::NONE))
    }

    /// Returns the room to which messages go.
    fn current(&self) -> Option<RoomId> {
        if self.lost_current_room {
            return None;
        }
        let mut rooms = self.rooms.iter().rev();
        rooms
            .find(|membership| !membership.is_leaving)
            .map(|membership| membership.room)
    }

    /// Returns the rooms that are not being left.
    fn room_ids(&self) -> Vec<RoomId> {
        let rooms = self
            .rooms
            .iter()
            .filter(|membership| !membership.is_leaving);
        rooms.map(|membership| membership.room).collect()
    }

    /// Queues the output that only this connection can still deliver, and then calls [`Self::depart`].
    ///
    /// Unlogged direct messages and notices have been acknowledged to their senders, so this session sends them before
    /// the last reply. A connection that an operator closes receives nothing but its last line.
    fn depart_after_unread(&mut self, text: &str, leaves: Leaves, chat: &mut Chat, now: Now) {
        if !self.is_ending() && !self.is_dismissed {
            let unread = self.unread(chat);
            if !unread.is_empty() {
                self.push(unread, AfterReply::Nothing);
            }
        }
        self.depart(text, leaves, chat, now);
    }

    /// Leaves every room and gives up the nick. Drops the unsent room events, because the log contains them.
    fn depart(&mut self, text: &str, leaves: Leaves, chat: &mut Chat, now: Now) {
        match chat.take_claimed(self.peer) {
            Some(Ok(claimed)) => self.nick = Some(claimed.nick),
            _ => chat.abandon_claim(self.peer),
        }
        for membership in &mut self.rooms {
            if !std::mem::replace(&mut membership.is_leaving, true) {
                chat.leave(membership.room, self.peer, self.nick, text, now);
            }
        }
        if let Some(nick) = self.nick.take() {
            chat.drop_nick(nick, self.peer, leaves, now);
        }
        self.phase = self.phase.max(Phase::Ending);
    }

    /// Reports an error and closes the connection.
    fn end(&mut self, refusal: Refusal, chat: &mut Chat, now: Now) {
        self.refuse(&refusal);
        self.depart_after_unread("", Leaves::ForNow, chat, now);
        self.push(Output::default(), AfterReply::Close);
    }

    /// Closes the connection with a last line.
    fn close(&mut self, code: Code, text: &str, chat: &mut Chat, now: Now) {
        if self.is_ending() {
            return;
        }
        // The operator's text is not shown to a connection that has not given the server's password.
        let text = match code {
            Code::Banned if !self.is_open => "you are banned here",
            Code::ShuttingDown if !self.is_open => "the server is stopping; try again soon",
            _ => text,
        };
        let line = self.reply_line(Line::Closed { code, text });
        self.depart_after_unread("", Leaves::ForNow, chat, now);
        self.push(line, AfterReply::Close);
    }

    /// Closes the connection with a last line, which replaces all other pending output.
    fn dismiss(&mut self, code: Code, text: &str, chat: &mut Chat, now: Now) {
        let replies = self.replies_mut();
        replies.pending.clear();
        replies.bytes = 0;
        replies.deferred = None;
        self.page = None;
        self.asked_ms = millis(now.uptime);
        self.is_dismissed = true;
        if self.is_ending() {
            self.push(Output::default(), AfterReply::Close);
        } else {
            self.close(code, text, chat, now);
        }
    }

    fn refuse(&mut self, refusal: &Refusal) {
        self.lost_current_room |= refusal.verb == Some(Verb::Join);
        self.send(Line::Refused(refusal));
    }

    /// Queues the reply to a request that succeeded: `OK VERB fields` for programs, `sentence` for people.
    fn ok(&mut self, verb: Verb, fields: &str, sentence: &str, then: AfterReply) {
        let line = self.reply_line(Line::Ok {
            verb,
            fields,
            sentence,
        });
        self.push(line, then);
    }

    /// Queues a line.
    fn send(&mut self, line: Line<'_>) {
        let line = self.reply_line(line);
        self.push(line, AfterReply::Nothing);
    }

    /// Queues the entries of a list. Returns their number.
    fn send_entries(&mut self, entries: Entries<'_>) -> usize {
        let (count, lines) = (entries.count, entries.lines);
        let lines = match self.irc.as_deref() {
            Some(irc) => irc.in_notices(&lines),
            None => lines,
        };
        self.push(lines, AfterReply::Nothing);
        count
    }

    fn push(&mut self, text: Output, then: AfterReply) {
        let replies = self.replies_mut();
        replies.bytes += text.len();
        let reply = TextReply {
            text,
            after: None,
            then,
        };
        replies.pending.push_back(Pending::Text(reply.into()));
    }

    /// Proposes an event in a room. The reply waits for the outcome, and is sent at the event's position in the room.
    fn propose_in(&mut self, room: RoomId, draft: Draft<'_>, chat: &mut Chat) -> Option<Effect> {
        let Some(name) = chat.room(room).map(|room| room.name.clone()) else {
            if !matches!(draft.body, ReplyBody::Nothing) {
                let text = "that room is gone";
                self.refuse(&Refusal::new(draft.verb, Code::NoSuchRoom, text));
            }
            return None;
        };
        Some(self.propose(Place::Room(room), Scope::Room(name), draft, chat))
    }

    /// Proposes an event of an upload.
    fn propose_upload(
        &mut self,
        place: &FilePlace,
        draft: Draft<'_>,
        chat: &mut Chat,
    ) -> Option<Effect> {
        match place {
            FilePlace::Room(room) => self.propose_in(*room, draft, chat),
            FilePlace::Inbox(both) => {
                let message = &both.message;
                let here = chat.find_nick(&message.to).unwrap_or(NickId::NONE);
                let (place, scope) = (Place::Nick(here), Scope::Inbox(message.clone().into()));
                Some(self.propose(place, scope, draft, chat))
            }
        }
    }

    /// Proposes an event. The reply is sent at the event's position among the events of `place`.
    fn propose(&mut self, place: Place, scope: Scope, draft: Draft<'_>, chat: &mut Chat) -> Effect {
        let Draft {
            verb,
            kind,
            text,
            tags,
            body,
        } = draft;
        chat.expect(place);
        let author = self.nick.and_then(|nick| chat.user(nick));
        let author = author.map_or("?", |user| user.nick.as_str());
        let entry = Entry::new(scope, kind, author, text).with_tags(tags);
        let body = self.irc_body(&entry, body);
        let peer = self.peer;
        let reply = EntryReply { verb, place, body };
        let number = self.replies_mut().expect_outcome(reply);
        Effect::Append(entry.into(), Ticket { peer, number })
    }
}

/// Returns the fields of the reply to an upload. `announced` is the id of the file, if the file already has one.
fn shown_file(announced: Option<EventId>, contents: FileContents) -> ReplyBody {
    let reply = FileReply {
        announced,
        length: contents.length,
        sha256: contents.sha256,
    };
    ReplyBody::File(reply.into())
}
