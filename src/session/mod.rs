//! One connection's side of the conversation: what is allowed now, replies in order, and how far it has
//! read. Lines go in by [`Session::apply`], bytes come out by [`Session::fill`].
//!
//! Pure: no socket, task or clock. A session is a cursor on every tail that it reads and a short queue of
//! replies; a reply to something said stands where that stands among the room's events, so the queue and
//! the cursors advance together ([`output`]). What takes time (keeping a message, moving a file's bytes)
//! is an [`Effect`] for the driver, which comes back with what became of it.

mod ask;
pub mod batch;
pub mod ignore;
mod keeper;
mod list;
mod operator;
pub mod output;
mod request;
mod rights;
mod roster;
mod secret;
mod talker;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use smallvec::SmallVec;

use crate::chat::{Chat, Kept, NickId, Place, RoomId};
use crate::config::Limits;
use crate::log::{Question, Reader};
use crate::model::{
    Entry, EventKind, FileContents, NewFile, Now, PeerId, Removed, Scope, Ticket, millis,
};
use crate::protocol::line::LineEnd;
use crate::protocol::request::{Refusal, is_in_step};
use crate::protocol::text::clean;
use crate::protocol::{Code, Digest, EventId, FileName, Request, Verb};
use crate::roster::Ask;
use crate::tail::Seq;

use output::{KeptReply, Pending, Shown, Then};

/// What a session wants done that it cannot do itself. At most one comes from a line, and while a file
/// is on its way the session takes no further line.
#[derive(Debug)]
pub enum Effect {
    /// Keep this, then publish it.
    Append(Entry, Ticket),
    /// Take so many bytes in (all to the end of input for `None`) and come back with
    /// [`Session::received`].
    Receive(Upload),
    /// Read so many bytes (all to the end of input for `None`), drop them, and come back with
    /// [`Session::discarded`].
    Discard(Option<u64>),
    /// Once all replies are out, send this file from the offset on, its `DATA` line first, and come back
    /// with [`Session::sent_file`].
    Send {
        /// Its number.
        id: EventId,
        /// What it is called.
        name: FileName,
        /// Its length and digest.
        whole: FileContents,
        /// How many of its bytes the client has.
        offset: u64,
        /// Where it stands: it goes on only while [`Session::may_still_read`] holds.
        room: RoomId,
    },
    /// The same for a file that is still coming in: as it comes, in pieces with a `DATA` line each; or,
    /// when it is no longer coming, come back with [`Session::find_file`].
    Follow {
        /// Its number.
        id: EventId,
        /// How many of its bytes the client has.
        offset: u64,
        /// Where it stands, as for [`Self::Send`].
        room: RoomId,
    },
    /// Once the client has taken what it was given, ask the log this and come back with
    /// [`Session::answered`].
    Ask(Question),
    /// Once all replies are out, come back with [`Session::flushed`].
    Flush,
    /// Ask the roster this and come back with [`Session::advised`]. Wrong passwords are the driver's to count.
    Consult(Ask),
    /// Stop the server: an operator wants it.
    Stop,
}

/// A file that a client is about to send.
#[derive(Debug)]
pub struct Upload {
    /// What it is called.
    pub name: FileName,
    /// How many bytes come; `None` for all to the end of input.
    pub length: Option<u64>,
    /// What the whole must hash to.
    pub sha256: Option<Digest>,
    /// Where it is announced.
    pub room: RoomId,
}

/// How an upload ended badly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadError {
    /// Why.
    pub code: Code,
    /// The same for people.
    pub text: Cow<'static, str>,
    /// Nobody knows where in the input a line begins now, so the connection ends.
    pub closes: bool,
}

impl UploadError {
    /// Somebody removed the live file before it was whole.
    pub fn removed() -> Self {
        Self {
            code: Code::NoSuchFile,
            text: "the file was removed while it came in".into(),
            closes: false,
        }
    }
}

/// What the others know of an upload that has ended.
#[derive(Clone, Copy, Debug)]
pub enum Begun {
    /// Nothing yet: it is announced once it is whole.
    Unannounced,
    /// A live file with this id.
    Live(EventId),
    /// A live file that somebody has removed.
    Removed,
}

/// How many bytes of replies wait for a client before it is no longer read.
const REPLY_BYTES_MAX: usize = 64 << 10;

/// How events and replies are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    /// As `protocol.md` has them.
    Plain,
    /// The same, live events with id and time.
    Stamped,
    /// For people.
    Talker,
}

/// What waits to be sent or kept.
#[derive(Debug)]
struct Replies {
    pending: VecDeque<Pending>,
    /// How many bytes of text are in `pending`.
    bytes: usize,
    /// The outcomes of the [`Pending::Kept`] among those, in their order, as far as they are known.
    kept: VecDeque<Option<Result<Kept, Code>>>,
    /// The number of the ticket of the first of them.
    first_ticket: u32,
    /// How many are not known yet.
    unkept: usize,
    /// A line that waits until those are kept, since it must see their effect.
    held: Option<(Vec<u8>, LineEnd)>,
}

impl Replies {
    const NONE: Self = Self {
        pending: VecDeque::new(),
        bytes: 0,
        kept: VecDeque::new(),
        first_ticket: 0,
        unkept: 0,
        held: None,
    };

    /// Adds a reply that waits for an outcome; returns the number of its ticket.
    fn expect_outcome(&mut self, reply: KeptReply) -> u32 {
        let number = self.first_ticket.wrapping_add(self.kept.len() as u32);
        self.unkept += 1;
        self.kept.push_back(None);
        self.pending.push_back(Pending::Kept(reply));
        number
    }

    /// Learns the outcome of the entry with that ticket.
    fn learn(&mut self, number: u32, outcome: Result<Kept, Code>) {
        let at = number.wrapping_sub(self.first_ticket) as usize;
        if let Some(unknown @ None) = self.kept.get_mut(at) {
            *unknown = Some(outcome);
            self.unkept -= 1;
        }
    }

    /// Forgets the first outcome: its reply is sent.
    fn forget_first(&mut self) {
        if self.kept.pop_front().is_some() {
            self.first_ticket = self.first_ticket.wrapping_add(1);
        }
    }
}

/// Stands for the replies of a session that has none waiting.
static NO_REPLIES: Replies = Replies::NONE;

/// A room that the connection reads, and how far it has.
#[derive(Debug)]
struct Membership {
    room: RoomId,
    /// The next entry of the room's tail to be sent.
    cursor: Seq,
    /// The newest logged event that was sent, or that stood there when it was entered; 0 for none.
    seen: u64,
    /// The entry up to which what is not logged has been told to be left out.
    gap_to: Seq,
    /// The place that is kept for a script under this name.
    reader: Option<Box<Reader>>,
    /// `PART` has been asked; what came before it is still sent.
    is_leaving: bool,
    /// Its past is being sent; the live events wait for the reply to `JOIN`.
    is_held: bool,
}

impl Membership {
    fn new(room: RoomId, chat: &Chat) -> Self {
        Self {
            room,
            cursor: chat.end(Place::Room(room)),
            seen: chat.room(room).map_or(0, |room| room.last_id()),
            gap_to: 0,
            reader: None,
            is_leaving: false,
            is_held: false,
        }
    }

    /// Whether logged events that it has not been sent are in the log alone.
    fn is_behind(&self, chat: &Chat) -> bool {
        let tail = chat.tail(Place::Room(self.room));
        tail.is_some_and(|tail| {
            !self.is_held && self.cursor < tail.first() && tail.seq_after(self.seen).is_none()
        })
    }
}

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    peer: PeerId,
    nick: Option<NickId>,
    /// The rooms, in the order in which they were last joined: the last one that is not being left is
    /// the current one.
    rooms: SmallVec<[Membership; 1]>,
    /// How far it has read what concerns everybody.
    notes: Seq,
    /// How far it has read what its nick was told.
    told: Seq,
    /// What waits to be sent or kept; `None` while nothing does, as nearly always.
    replies: Option<Box<Replies>>,
    /// What was asked of the log.
    asked_log: Option<Box<ask::Asked>>,
    /// The forms of nicks that it does not want to hear; `None` for nobody, as nearly always.
    #[allow(clippy::box_collection)] // 16 bytes less in each connection
    ignored: Option<Box<BTreeSet<Box<str>>>>,
    /// What was asked of the roster.
    consulted: Option<Box<roster::Consulted>>,
    /// What a slow reader has missed, read from the log.
    page: Option<Box<output::Page>>,
    /// The rest of a line of which a part has been sent.
    unsent: Box<[u8]>,
    /// How requests are read from here on, and how replies to them are written.
    input: Dialect,
    /// How what comes out next is written; follows `input` when the reply that changes it is out.
    output: Dialect,
    /// When it last asked something; at first, when it came. In milliseconds of uptime.
    asked_ms: u64,
    /// The address that the client reached, to tell people what to type.
    local: (IpAddr, u16),
    /// The client came under TLS, so others may have to.
    is_tls: bool,
    /// A browser may come there too.
    has_web: bool,
    /// Which room is read first; another one each time.
    turn: u8,
    /// No line has come yet: if the first is empty or no command, a person has typed it.
    is_new: bool,
    stays: bool,
    /// The server has no password, or it has given it.
    is_open: bool,
    /// Nobody on the way reads it.
    is_under_tls: bool,
    /// It knows that TLS is at hand.
    is_told_of_tls: bool,
    /// It holds its nick by a token, not by the password.
    has_token: bool,
    /// It was put out of its current room and has entered none since: what was meant for that one must not be
    /// said in another.
    is_astray: bool,
    /// An upload's bytes have just ended: the next line must look like one.
    is_after_upload: bool,
    /// A file is on its way in or out.
    is_busy: bool,
    /// No further line is taken; it is over when all replies are out.
    is_ending: bool,
    /// An operator has ended it: it is over soon, whether it reads or not.
    is_dismissed: bool,
    is_over: bool,
}

impl Session {
    /// A session of a connection that has just come, at `local`, the server's end of it.
    pub fn new(peer: PeerId, local: SocketAddr, chat: &Chat, now: Now) -> Self {
        Self {
            peer,
            nick: None,
            rooms: SmallVec::new(),
            notes: chat.end(Place::Everyone),
            told: 0,
            replies: None,
            asked_log: None,
            ignored: None,
            consulted: None,
            page: None,
            unsent: Box::default(),
            input: Dialect::Plain,
            output: Dialect::Plain,
            asked_ms: millis(now.uptime),
            local: (local.ip(), local.port()),
            is_tls: false,
            has_web: false,
            turn: 0,
            is_new: true,
            stays: false,
            is_open: chat.config.password.is_none(),
            is_under_tls: false,
            is_told_of_tls: false,
            has_token: false,
            is_astray: false,
            is_after_upload: false,
            is_busy: false,
            is_ending: false,
            is_dismissed: false,
            is_over: false,
        }
    }

    /// The connection it is of.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Its nick.
    pub fn called(&self) -> Option<NickId> {
        self.nick
    }

    /// The server's end of the connection.
    pub fn local(&self) -> SocketAddr {
        self.local.into()
    }

    /// How it was reached: under TLS or not, and whether a browser would be served there.
    pub fn reached_by(&mut self, is_tls: bool, has_web: bool) {
        self.is_tls = is_tls;
        self.has_web = has_web;
    }

    /// Where a person who talks can move a file: at `path` in a browser, or by `command`, which is given what starts
    /// a client.
    fn elsewhere(&self, path: &str, command: impl FnOnce(&str) -> String) -> String {
        let (host, port) = self.local;
        let (scheme, client) = match self.is_tls {
            true => ("https", "ncat --ssl"),
            false => ("http", "nc -N"),
        };
        let typed = command(&format!("{client} {host} {port}"));
        match self.has_web {
            true => format!(
                "a file does not fit into talk. Open {scheme}://{}{path} or type in another terminal: {typed}",
                self.local()
            ),
            false => format!("a file does not fit into talk. Type in another terminal: {typed}"),
        }
    }

    /// Whether it takes another line now: no file is on its way, and the client takes its replies.
    pub fn takes_lines(&self, limits: &Limits) -> bool {
        // A list that is still being made must not see what later requests change.
        let replies = self.replies();
        let is_listing = matches!(replies.pending.back(), Some(Pending::List(_)));
        let has_space =
            replies.pending.len() < limits.replies_max && replies.bytes < REPLY_BYTES_MAX;
        !self.is_busy && !self.is_ending && !is_listing && has_space && replies.held.is_none()
    }

    /// How many bytes wait in it for its client, or for their turn.
    pub fn held_bytes(&self) -> usize {
        let replies = self.replies();
        let held = replies.held.as_ref().map_or(0, |(line, _)| line.len());
        let page = self.page.as_deref().map_or(0, output::Page::bytes);
        let entries = replies.pending.len() * size_of::<Pending>();
        replies.bytes + entries + held + page + self.unsent.len()
    }

    /// Whether it has ended and everything is out: the server closes its side now.
    pub fn is_over(&self) -> bool {
        self.is_over && self.unsent.is_empty()
    }

    /// Whether an operator has ended it: then it is over soon, whether it reads or not.
    pub fn is_dismissed(&self) -> bool {
        self.is_dismissed
    }

    /// Whether it ends once its replies are out.
    pub fn is_ending(&self) -> bool {
        self.is_ending
    }

    /// Takes one line of input without its end.
    pub fn apply(
        &mut self,
        line: &[u8],
        end: LineEnd,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        let is_first = std::mem::take(&mut self.is_new);
        if line.iter().all(|b| *b == b' ') {
            if is_first {
                self.greet(chat);
            }
            return None;
        }
        if self.is_after_upload && !is_in_step(line) {
            // The room gets the file before it learns that its sender has left.
            self.take_kept(chat);
            let replies = self.replies_mut();
            if replies.unkept > 0 {
                replies.held = Some((line.to_vec(), end));
                return None;
            }
            let text = "the bytes after the upload are no command; was its length right? (nc -C alters files)";
            self.end(Refusal::of_line(Code::OutOfStep, text), chat, now);
            return None;
        }
        self.is_after_upload = false;
        self.asked_ms = millis(now.uptime);
        let read = match self.input {
            Dialect::Talker => self.read_talk(line),
            Dialect::Plain | Dialect::Stamped => Request::parse(line),
        };
        if let Ok(Some(request)) = &read
            && !self.may_go_ahead(request, chat)
        {
            self.replies_mut().held = Some((line.to_vec(), end));
            return None;
        }
        let done = match read {
            Ok(None) => Ok(None),
            Ok(Some(Request::Upload(_)))
            | Err(Refusal {
                verb: Some(Verb::Upload),
                ..
            }) if self.input == Dialect::Talker => {
                self.tell_how_to_upload(chat);
                Ok(None)
            }
            Ok(Some(Request::Upload(upload))) => self.upload(upload, end, chat, now),
            Ok(Some(request)) => match self.check_open(&request) {
                Ok(()) => self.request(request, chat, now),
                Err(refusal) => Err(refusal),
            },
            // The bytes of a file follow, nobody knows how many.
            Err(refusal) if refusal.verb == Some(Verb::Upload) && self.input != Dialect::Talker => {
                self.end(refusal, chat, now);
                return None;
            }
            Err(refusal) => Err(refusal),
        };
        done.unwrap_or_else(|refusal| {
            if is_first && refusal.verb.is_none() {
                self.greet(chat);
            }
            self.refuse(&refusal);
            None
        })
    }

    /// Whether a request may be done before all that was said is kept: only what is said itself, which the
    /// log keeps in order.
    fn may_go_ahead(&mut self, request: &Request<'_>, chat: &mut Chat) -> bool {
        if matches!(request.verb(), Verb::Msg | Verb::Me | Verb::Tell) {
            return true;
        }
        self.take_kept(chat);
        self.replies().unkept == 0
    }

    /// Takes the line that waited for what was said before it, once that is kept.
    pub fn take_held(&mut self, chat: &mut Chat) -> Option<(Vec<u8>, LineEnd)> {
        self.replies().held.as_ref()?;
        self.take_kept(chat);
        let replies = self.replies_mut();
        match replies.unkept {
            0 => replies.held.take(),
            _ => None,
        }
    }

    /// Whether a line waited for what was said before it, and need wait no longer.
    pub fn owes_held(&self) -> bool {
        self.replies().unkept == 0 && self.replies().held.is_some()
    }

    /// Whether all that was said is kept and no line waits for it.
    pub fn is_settled(&self) -> bool {
        self.replies().unkept == 0 && self.replies().held.is_none()
    }

    /// A line was too long and has been skipped; this is how it began.
    pub fn skipped(&mut self, head: &[u8], chat: &mut Chat, now: Now) {
        let refusal = Refusal::of_line(
            Code::TooLong,
            "a line has at most 4096 bytes; UPLOAD takes more",
        );
        self.asked_ms = millis(now.uptime);
        let word = head.split(|b| *b == b' ').find(|word| !word.is_empty());
        let is_upload = word.and_then(Verb::parse) == Some(Verb::Upload);
        if self.input != Dialect::Talker && (is_upload || self.is_after_upload) {
            return self.end(refusal, chat, now);
        }
        self.refuse(&refusal);
    }

    /// Queues the answer that a client's telnet waits for.
    pub fn answer_telnet(&mut self, answer: [u8; 3]) {
        self.push(answer.to_vec(), Then::Nothing);
    }

    /// The client has nothing more to say: ends once everything is answered, unless told to stay.
    pub fn end_of_input(&mut self, chat: &mut Chat, now: Now) {
        if !self.stays && !self.is_ending {
            self.go("", chat, now);
            self.push(Vec::new(), Then::Close);
        }
    }

    /// Nobody will read once the input ends, whatever was asked.
    pub fn stay_no_longer(&mut self) {
        self.stays = false;
    }

    /// What came was no line at all, and has been skipped; `closes` when nobody knows how to go on.
    pub fn refuse_input(
        &mut self,
        code: Code,
        text: &'static str,
        closes: bool,
        chat: &mut Chat,
        now: Now,
    ) {
        let refusal = Refusal::of_line(code, text);
        match closes {
            true => self.end(refusal, chat, now),
            false => self.refuse(&refusal),
        }
    }

    /// The client has come only now: what went before was how to speak.
    pub fn begin(&mut self, now: Now) {
        self.asked_ms = millis(now.uptime);
    }

    /// The client is not to speak like this here.
    pub fn shut_out(&mut self, text: &str, chat: &mut Chat, now: Now) {
        self.close(Code::NotAllowed, text, chat, now);
    }

    /// The server stops: whatever was read is answered, then comes `CLOSED`.
    pub fn shut_down(&mut self, chat: &mut Chat, now: Now) {
        let farewell = chat.farewell.clone();
        let text = farewell
            .as_deref()
            .unwrap_or("the server is stopping; come back soon");
        self.close(Code::ShuttingDown, text, chat, now);
    }

    /// Sends the client away if there are too many connections, or its address is banned. To be called whenever it
    /// is known from where a connection comes.
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

    /// The connection has gone, without a word.
    pub fn lost(&mut self, chat: &mut Chat, now: Now) {
        self.go("", chat, now);
        self.is_over = true;
    }

    /// When [`Self::on_time`] is to be called, if nothing happens before.
    pub fn due(&self, limits: &Limits) -> Option<Duration> {
        let asked = Duration::from_millis(self.asked_ms);
        if self.is_dismissed {
            Some(asked + limits.drain_for)
        } else if self.is_ending {
            None
        } else if self.nick.is_none() && self.rooms.is_empty() && !self.is_busy {
            Some(asked + limits.idle_after)
        } else {
            None
        }
    }

    /// Ends a connection that has been idle for too long.
    pub fn on_time(&mut self, chat: &mut Chat, now: Now) {
        if self.due(chat.limits()).is_none_or(|due| due > now.uptime) {
            return;
        }
        if self.is_dismissed {
            // It has not taken its last line, and nobody waits for that any longer.
            self.unsent = Box::default();
            self.is_over = true;
            return;
        }
        let text = "nothing was asked for a long time, without a nick or a room";
        self.close(Code::Idle, text, chat, now);
    }

    /// Tells a person how to begin.
    fn greet(&mut self, chat: &Chat) {
        let greeting = format!("HELLO {}\n", self.hello(chat));
        self.push(greeting.into_bytes(), Then::Nothing);
    }

    /// What `HELLO` says: the protocol, the server, and how to begin.
    fn hello(&self, chat: &Chat) -> String {
        let pass = match self.is_open {
            true => "",
            false => "PASS <password> first, then ",
        };
        format!(
            "{} {} {pass}NICK <name> to enter the lobby, then CHAT and just type; HELP lists the commands. {}",
            crate::protocol::VERSION,
            chat.config.name,
            chat.config.keeping()
        )
    }

    /// A file of unknown length begins to come: announces it, so that it can be followed.
    pub fn announce(&mut self, upload: &Upload, chat: &mut Chat) -> Option<Effect> {
        let file = NewFile {
            name: upload.name.clone(),
            contents: None,
        };
        let kind = EventKind::File(Box::new(file));
        self.propose_in(Verb::Upload, upload.room, kind, "", Shown::Nothing, chat)
    }

    /// The number of what was appended last (a file's announcement, or its end), once that is kept; or
    /// that it could not be.
    pub fn announced(&mut self, chat: &mut Chat) -> Option<Option<EventId>> {
        self.take_kept(chat);
        let replies = self.replies();
        let last = replies.kept.back().filter(|_| replies.unkept == 0);
        let last = last.and_then(Option::as_ref);
        last.map(|kept| kept.as_ref().ok().and_then(|kept| kept.id))
    }

    /// An upload has ended: announces the file (or, that a live one is whole), or refuses it.
    pub fn received(
        &mut self,
        upload: Upload,
        begun: Begun,
        outcome: Result<FileContents, UploadError>,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        self.is_busy = false;
        self.is_after_upload = true;
        let room = upload.room;
        let whole = outcome.as_ref().ok().copied();
        let outcome = outcome.and_then(|whole| match chat.may_read(room, self.nick) {
            true => Ok(whole),
            false => Err(UploadError {
                code: Code::NotAllowed,
                text: "that room has been closed to you meanwhile".into(),
                closes: false,
            }),
        });
        let error = match (outcome, begun) {
            (Ok(whole), Begun::Unannounced) => {
                let file = NewFile {
                    name: upload.name,
                    contents: Some(whole),
                };
                let kind = EventKind::File(Box::new(file));
                let shown = Shown::IdAnd(format!("{} {}", whole.length, whole.sha256).into());
                return self.propose_in(Verb::Upload, room, kind, "", shown, chat);
            }
            (Ok(whole), Begun::Live(id)) => {
                let text = format!("{id} {} {}", whole.length, whole.sha256);
                let shown = Shown::Text(text.as_str().into());
                let kind = EventKind::Stored(id, whole);
                return self.propose_in(Verb::Upload, room, kind, "", shown, chat);
            }
            (Ok(_), Begun::Removed) => UploadError::removed(),
            (Err(error), _) => error,
        };
        chat.file_came(self.peer);
        if let Some(whole) = whole {
            chat.release(whole.sha256);
        }
        let refusal = Refusal::new(Verb::Upload, error.code, error.text);
        let effect = match begun {
            Begun::Live(id) => self.give_up(id, room, chat),
            Begun::Unannounced | Begun::Removed => None,
        };
        if error.closes {
            self.end(refusal, chat, now);
        } else {
            self.refuse(&refusal);
        }
        effect
    }

    /// A file that was announced does not become whole: takes it back.
    pub fn give_up(&mut self, id: EventId, room: RoomId, chat: &mut Chat) -> Option<Effect> {
        let nick = self.nick.and_then(|nick| chat.holder(nick));
        let owner = nick.map_or("?", |holder| holder.nick.as_str()).into();
        let removed = Removed::File {
            owner,
            contents: None,
        };
        let kind = EventKind::Remove(id, removed);
        self.propose_in(Verb::Upload, room, kind, "", Shown::Nothing, chat)
    }

    /// Asks again for a file that was still coming in a moment ago.
    pub fn find_file(&mut self, id: EventId, offset: u64) -> Option<Effect> {
        self.ask_file(id, offset)
    }

    /// A file that was being followed is not to be: its sender broke off, or it was removed.
    pub fn lost_file(&mut self, id: EventId) {
        self.is_busy = false;
        let text = format!("file {id} was removed, or its sender broke off");
        self.refuse(&Refusal::new(Verb::Download, Code::NoSuchFile, text));
    }

    /// Whether this connection may read the files of `room` now; asked again for each piece of one.
    pub fn may_still_read(&self, room: RoomId, chat: &Chat) -> bool {
        chat.may_read(room, self.nick)
    }

    /// The room of a file that was being sent has been closed to this connection.
    pub fn hide_file(&mut self, id: EventId) {
        self.is_busy = false;
        self.refuse(&ask::no_such_file(id));
    }

    /// Gives up what is under way, since the connection is to end; there is no reply to it.
    pub fn break_off(&mut self) {
        self.is_busy = false;
        self.asked_log = None;
        self.consulted = None;
    }

    /// The bytes of a refused upload have been dropped.
    pub fn discarded(&mut self) {
        self.is_busy = false;
        self.is_after_upload = true;
    }

    /// A file has been sent whole.
    pub fn sent_file(&mut self, id: EventId) {
        self.is_busy = false;
        self.push(format!("OK DOWNLOAD {id}\n").into_bytes(), Then::Nothing);
    }

    /// What was asked cannot be done, through no fault of the client.
    pub fn failed(&mut self, verb: Verb, text: &'static str) {
        self.is_busy = false;
        self.refuse(&Refusal::new(verb, Code::Internal, text));
    }

    /// What was asked for takes what others have now.
    pub fn is_too_busy(&mut self, verb: Verb, text: &'static str) {
        self.is_busy = false;
        self.refuse(&Refusal::new(verb, Code::Busy, text));
    }

    /// Learns what became of the things that it appended.
    pub fn take_kept(&mut self, chat: &mut Chat) {
        if self.replies().unkept > 0 {
            let kept = chat.take_kept(self.peer);
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

    /// The room that what is said goes to.
    fn current(&self) -> Option<RoomId> {
        if self.is_astray {
            return None;
        }
        let mut rooms = self.rooms.iter().rev();
        rooms
            .find(|membership| !membership.is_leaving)
            .map(|membership| membership.room)
    }

    /// The rooms that are not being left.
    fn room_ids(&self) -> Vec<RoomId> {
        let rooms = self
            .rooms
            .iter()
            .filter(|membership| !membership.is_leaving);
        rooms.map(|membership| membership.room).collect()
    }

    /// Leaves every room and the nick, as others see it; the tails are read up to here.
    fn go(&mut self, text: &str, chat: &mut Chat, now: Now) {
        for membership in &mut self.rooms {
            if !std::mem::replace(&mut membership.is_leaving, true) {
                chat.leave(membership.room, self.peer, self.nick, text, now);
            }
        }
        if let Some(nick) = self.nick.take() {
            chat.drop_nick(nick, self.peer, now);
        }
        self.is_ending = true;
    }

    /// Refuses and ends the connection.
    fn end(&mut self, refusal: Refusal, chat: &mut Chat, now: Now) {
        self.refuse(&refusal);
        self.go("", chat, now);
        self.push(Vec::new(), Then::Close);
    }

    /// Ends the connection with a last line.
    fn close(&mut self, code: Code, text: &str, chat: &mut Chat, now: Now) {
        if self.is_ending {
            return;
        }
        // What operators write is not for a connection that has not given the server's password.
        let text = match code {
            Code::Banned if !self.is_open => "you are banned here",
            Code::ShuttingDown if !self.is_open => "the server is stopping; come back soon",
            _ => text,
        };
        let line = match self.input {
            Dialect::Talker => format!("! {text}\n"),
            Dialect::Plain | Dialect::Stamped => format!("CLOSED {code} {text}\n"),
        };
        self.go("", chat, now);
        self.push(line.into_bytes(), Then::Close);
    }

    /// Ends the connection with a last line, before anything else that it was to be sent.
    fn dismiss(&mut self, code: Code, text: &str, chat: &mut Chat, now: Now) {
        let replies = self.replies_mut();
        replies.pending.clear();
        replies.bytes = 0;
        replies.held = None;
        self.page = None;
        self.asked_ms = millis(now.uptime);
        self.is_dismissed = true;
        if self.is_ending {
            self.push(Vec::new(), Then::Close);
        } else {
            self.close(code, text, chat, now);
        }
    }

    fn refuse(&mut self, refusal: &Refusal) {
        let line = match self.input {
            Dialect::Talker => format!("! {}\n", clean(&refusal.text)),
            Dialect::Plain | Dialect::Stamped => format!("{refusal}\n"),
        };
        self.push(line.into_bytes(), Then::Nothing);
    }

    /// Queues the reply `OK VERB rest`, or what a person is told instead.
    fn ok(&mut self, verb: Verb, rest: &str, talk: &str, then: Then) {
        let line = match (self.input, talk) {
            (Dialect::Talker, "") => String::new(),
            (Dialect::Talker, talk) => format!("-- {talk}\n"),
            (Dialect::Plain | Dialect::Stamped, _) => match rest {
                "" => format!("OK {verb}\n"),
                rest => format!("OK {verb} {rest}\n"),
            },
        };
        self.push(line.into_bytes(), then);
    }

    fn push(&mut self, text: Vec<u8>, then: Then) {
        let replies = self.replies_mut();
        replies.bytes += text.len();
        replies.pending.push_back(Pending::Text {
            text,
            after: None,
            then,
        });
    }

    /// Proposes an event in a room; its reply waits for the outcome, at its place among the room's events.
    fn propose_in(
        &mut self,
        verb: Verb,
        room: RoomId,
        kind: EventKind,
        text: &str,
        shown: Shown,
        chat: &mut Chat,
    ) -> Option<Effect> {
        let Some(name) = chat.room(room).map(|room| room.name.clone()) else {
            if !matches!(shown, Shown::Nothing) {
                self.refuse(&Refusal::new(verb, Code::NoSuchRoom, "that room is gone"));
            }
            return None;
        };
        let (place, scope) = (Place::Room(room), Scope::Room(name));
        Some(self.propose(verb, place, scope, kind, text, shown, chat))
    }

    /// Proposes an event whose reply stands among those of `place`.
    #[allow(clippy::too_many_arguments)] // each is a part of the event or of its reply
    fn propose(
        &mut self,
        verb: Verb,
        place: Place,
        scope: Scope,
        kind: EventKind,
        text: &str,
        shown: Shown,
        chat: &mut Chat,
    ) -> Effect {
        chat.expect(place);
        let author = self.nick.and_then(|nick| chat.holder(nick));
        let author = author.map_or("?", |holder| holder.nick.as_str());
        let entry = Entry::new(scope, kind, author, text);
        let peer = self.peer;
        let reply = KeptReply { verb, place, shown };
        let number = self.replies_mut().expect_outcome(reply);
        Effect::Append(entry, Ticket { peer, number })
    }
}
