//! Queries of a session to the log, and how it continues with the results.
//!
//! While a query is pending, no line is accepted. Long results come in pieces: the next is requested when the client
//! has received the last, so that a replay of a million events costs the memory of one piece.

use std::sync::Arc;

use super::output::{KeptReply, Page, Pending, Then};
use super::{Effect, Session};
use crate::chat::{Chat, NickId, Place, RoomId};
use crate::config::fixed::SEARCH_WORDS_MAX;
use crate::dialect::{Line, Output, Shown};
use crate::log::text::Query;
use crate::log::{Answer, Found, Home, Origin, Past, Question, Reader, Record, Span, Whose};
use crate::model::address_prefix;
use crate::model::{EventKind, NewFile, Now, Scope};
use crate::protocol::people::many;
use crate::protocol::request::{Refusal, Side};
use crate::protocol::{Code, EventId, Nick, RoomName, Verb};
use crate::roster::Ask;

/// How many events `HISTORY` returns by default.
const HISTORY_COUNT: usize = 50;

/// How many it returns at most.
const HISTORY_COUNT_MAX: usize = 1000;

/// A pending query, and how it continues.
#[derive(Debug)]
pub(super) enum Asked {
    /// Pieces of the history of a room or a nick.
    Replay(Replay),
    /// Where the newest `count` events begin.
    Newest { whose: Whose, count: usize },
    /// The results of a search.
    Search,
    /// Pieces of the list of files.
    Files { room: Arc<RoomName>, count: usize },
    /// A file to send.
    File { id: EventId, offset: u64 },
    /// The author of an event that is to be removed.
    Origin(EventId),
    /// Deletes the messages that a nick received before it is registered.
    Forget(Ask),
    /// The position of a named reader, which joins that room.
    Reader(RoomId, Reader),
    /// The creation of a new reader.
    NewReader(RoomId),
    /// The update of a reader's position.
    Seen { room: Arc<RoomName>, id: u64 },
    /// Replies are being sent, before `BYE` updates its readers.
    Flush(Verb, Box<str>),
    /// The readers that `BYE` has yet to update.
    Bye(Verb, Box<str>, Vec<(Reader, u64)>),
}

impl Asked {
    /// Returns the room whose history is being read, except for a `JOIN`: a member that is removed from a room is still
    /// sent everything up to that point.
    fn reads(&self) -> Option<(Verb, &RoomName)> {
        match self {
            Self::Replay(Replay {
                verb,
                whose: Whose::Room(room),
                enters: None,
                ..
            }) => Some((*verb, room)),
            Self::Newest {
                whose: Whose::Room(room),
                ..
            } => Some((Verb::History, room)),
            Self::Files { room, .. } => Some((Verb::Files, room)),
            _ => None,
        }
    }
}

/// Returns the error for a file that does not exist, or that this connection may not read.
pub(super) fn no_such_file(id: EventId) -> Refusal {
    let text = format!("there is no file {id}; FILES lists them");
    Refusal::new(Verb::Download, Code::NoSuchFile, text)
}

/// A part of the history that is being sent.
#[derive(Debug)]
pub(super) struct Replay {
    verb: Verb,
    whose: Whose,
    /// The part that has still to be read.
    span: Span,
    left: usize,
    count: usize,
    /// The room that is being joined, for `JOIN`.
    enters: Option<RoomId>,
}

impl Replay {
    /// Creates a replay for `HISTORY`: at most `left` events of a span.
    fn history(whose: Whose, span: Span, left: usize) -> Self {
        Self {
            verb: Verb::History,
            whose,
            span,
            left,
            count: 0,
            enters: None,
        }
    }
}

impl Session {
    /// Starts a query; no line is accepted until [`Self::answered`].
    fn ask(&mut self, asked: Asked, question: Question) -> Option<Effect> {
        self.is_busy = true;
        self.asked_log = Some(Box::new(asked));
        Some(Effect::Ask(question))
    }

    pub(super) fn ask_history(
        &mut self,
        whose: Whose,
        count: Option<usize>,
        side: Side,
    ) -> Option<Effect> {
        let count = count.unwrap_or(HISTORY_COUNT).min(HISTORY_COUNT_MAX);
        let before = match side {
            Side::Newest => u64::MAX >> 1,
            Side::Before(id) => id,
            Side::After(id) => {
                let span = Span {
                    after: id,
                    up_to: EventId::MAX.get(),
                };
                return self.replay(Replay::history(whose, span, count));
            }
        };
        let asked = Asked::Newest {
            whose: whose.clone(),
            count,
        };
        self.ask(
            asked,
            Question::Newest {
                whose,
                before,
                count,
            },
        )
    }

    /// Queries the backlog of a room that is being joined: from after an id up to where its live events begin.
    pub(super) fn ask_past(
        &mut self,
        room_id: RoomId,
        after: u64,
        up_to: u64,
        chat: &Chat,
    ) -> Option<Effect> {
        let room = chat.room(room_id)?;
        let span = Span { after, up_to };
        let enters = Some(room_id);
        self.replay(Replay {
            verb: Verb::Join,
            whose: Whose::Room(room.name.clone()),
            span,
            left: usize::MAX,
            count: 0,
            enters,
        })
    }

    pub(super) fn ask_search(
        &mut self,
        room: Arc<RoomName>,
        words: &str,
    ) -> Result<Option<Effect>, Refusal> {
        let query = Query::parse(words).ok_or_else(|| {
            let text = format!("a search has at most {SEARCH_WORDS_MAX} words; use fewer");
            Refusal::new(Verb::Search, Code::BadSyntax, text)
        })?;
        Ok(self.ask(Asked::Search, Question::Search { room, query }))
    }

    pub(super) fn ask_files(&mut self, room: Arc<RoomName>) -> Option<Effect> {
        let asked = Asked::Files {
            room: room.clone(),
            count: 0,
        };
        self.ask(asked, Question::Files { room, after: 0 })
    }

    pub(super) fn ask_file(&mut self, id: EventId, offset: u64) -> Option<Effect> {
        self.ask(Asked::File { id, offset }, Question::File(id))
    }

    pub(super) fn ask_origin(&mut self, id: EventId) -> Option<Effect> {
        self.ask(Asked::Origin(id), Question::Origin(id))
    }

    /// Starts the registration of an unregistered nick: first the log deletes the messages to it, which may have been
    /// for someone else.
    pub(super) fn ask_forget(&mut self, nick: Nick, register: Ask) -> Option<Effect> {
        self.ask(Asked::Forget(register), Question::ForgetTold(nick))
    }

    pub(super) fn ask_reader(&mut self, room: RoomId, reader: Reader) -> Option<Effect> {
        let question = Question::Reader(reader.clone());
        self.ask(Asked::Reader(room, reader), question)
    }

    pub(super) fn ask_seen(
        &mut self,
        room: Arc<RoomName>,
        reader: Reader,
        id: u64,
        chat: &Chat,
    ) -> Option<Effect> {
        let owner = self.reader_owner(chat);
        let question = Question::SetReader {
            reader,
            owner,
            seen: id,
        };
        self.ask(Asked::Seen { room, id }, question)
    }

    /// Returns the owner of this connection's readers: a registered nick or, since unregistered nicks cost nothing, the
    /// client's address.
    fn reader_owner(&self, chat: &Chat) -> String {
        let holder = self.nick.and_then(|nick| chat.holder(nick));
        match holder.filter(|holder| chat.is_registered(&holder.nick)) {
            Some(holder) => holder.nick.form().to_owned(),
            None => match chat.address(self.peer) {
                Some(address) => format!("@{}", address_prefix(address)),
                None => "@".to_owned(),
            },
        }
    }

    /// Handles `BYE` of a connection with named readers: how far they have read is known once all output has been sent.
    pub(super) fn ask_bye(&mut self, verb: Verb, text: &str) -> Option<Effect> {
        self.is_busy = true;
        self.asked_log = Some(Box::new(Asked::Flush(verb, text.into())));
        Some(Effect::Flush)
    }

    /// Continues after [`Effect::Flush`]: all replies have been sent.
    pub fn flushed(&mut self, chat: &mut Chat, now: Now) -> Option<Effect> {
        let Some(Asked::Flush(verb, text)) = self.asked_log.take().map(|asked| *asked) else {
            return None;
        };
        let rooms = self
            .rooms
            .iter()
            .filter(|membership| !membership.is_leaving);
        let readers = rooms.filter_map(|m| Some((Reader::clone(m.reader.as_deref()?), m.seen)));
        let readers = readers.collect();
        self.move_readers(verb, text, readers, chat, now)
    }

    fn move_readers(
        &mut self,
        verb: Verb,
        text: Box<str>,
        mut readers: Vec<(Reader, u64)>,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        let Some((reader, seen)) = readers.pop() else {
            self.is_busy = false;
            self.say_goodbye(verb, &text, chat, now);
            return None;
        };
        let owner = self.reader_owner(chat);
        let question = Question::SetReader {
            reader,
            owner,
            seen,
        };
        self.ask(Asked::Bye(verb, text, readers), question)
    }

    /// Returns the query for what a slow reader has missed, if it has fallen behind a room's tail and has received all
    /// earlier output; the result goes to [`Self::caught_up`].
    pub fn catch_up(&self, chat: &Chat) -> Option<(RoomId, Question)> {
        // A room for which a reply waits comes first, or neither the reply nor the reading would make progress.
        let awaited = match self.replies().pending.front() {
            Some(Pending::Text { after, .. }) => after.map(|after| after.room),
            Some(Pending::Kept(KeptReply {
                place: Place::Room(room),
                ..
            })) if matches!(self.replies().kept.front(), Some(Some(_))) => Some(*room),
            _ => None,
        };
        let paged = self.page.as_deref().map(|page| page.room);
        let mut rooms = self.rooms.iter();
        let behind = match awaited {
            Some(awaited) => rooms
                .find(|m| m.room == awaited)
                .filter(|m| m.is_behind(chat) && paged != Some(awaited)),
            None => None,
        };
        let behind = match (behind, paged) {
            (Some(behind), _) => behind,
            (None, None) if !self.is_ending => self.rooms.iter().find(|m| m.is_behind(chat))?,
            (None, _) => return None,
        };
        let room = chat.room(behind.room)?;
        let span = Span {
            after: behind.seen,
            up_to: room.last_id(),
        };
        let question = Question::Read {
            whose: Whose::Room(room.name.clone()),
            span,
            count: usize::MAX >> 1,
        };
        Some((behind.room, question))
    }

    /// Continues with the result of a query, or with its failure.
    pub fn answered(
        &mut self,
        answer: Result<Answer, Code>,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        let asked = *self.asked_log.take()?;
        self.is_busy = false;
        let answer = match answer {
            Ok(answer) => answer,
            Err(code) => {
                self.cannot_answer(&asked, code, chat, now);
                return None;
            }
        };
        // The room may have been closed to this connection since the last piece.
        if let Some((verb, room)) = asked.reads()
            && !chat
                .find_room(room)
                .is_some_and(|room| chat.may_read(room, self.nick))
        {
            let text = format!("there is no room {room}; ROOMS lists them");
            self.refuse(&Refusal::new(verb, Code::NoSuchRoom, text));
            return None;
        }
        match (asked, answer) {
            (Asked::Replay(replay), Answer::Records(records)) => {
                return self.replayed(replay, &records, chat);
            }
            (Asked::Newest { whose, count }, Answer::Span(span)) => {
                return self.replay(Replay::history(whose, span, count));
            }
            (Asked::Search, Answer::Found(Found { records, is_cut })) => {
                self.push_past(&records, chat);
                let count = records.len();
                self.send(Line::Found { count, is_cut });
            }
            (Asked::Files { room, count }, Answer::Records(records)) => {
                self.push_past(&records.records, chat);
                let count = count + records.records.len();
                if let Some(last) = records.records.last() {
                    let question = Question::Files {
                        room: room.clone(),
                        after: last.id.get(),
                    };
                    return self.ask(Asked::Files { room, count }, question);
                }
                self.ok(
                    Verb::Files,
                    &count.to_string(),
                    &format!("{} in {room}", many(count, "file", "files")),
                    Then::Nothing,
                );
            }
            (Asked::File { id, offset }, Answer::File(file)) => {
                return self.send_file(id, file, offset, chat);
            }
            (Asked::Origin(id), Answer::Origin(origin)) => return self.take_back(id, origin, chat),
            (Asked::Forget(register), Answer::Done) => {
                return self.consult(register).unwrap_or_else(|refusal| {
                    self.refuse(&refusal);
                    None
                });
            }
            (Asked::Reader(room, reader), Answer::Reader(seen)) => {
                return self.read_as(room, reader, seen, chat, now);
            }
            (Asked::NewReader(room), Answer::Done) => self.joined(room, chat),
            (Asked::Seen { room, id }, Answer::Done) => {
                self.ok(Verb::Seen, &format!("{room} {id}"), "", Then::Nothing);
            }
            (Asked::Bye(verb, text, readers), Answer::Done) => {
                return self.move_readers(verb, text, readers, chat, now);
            }
            _ => {}
        }
        None
    }

    fn cannot_answer(&mut self, asked: &Asked, code: Code, chat: &mut Chat, now: Now) {
        let verb = match asked {
            Asked::Replay(replay) => replay.verb,
            Asked::Newest { .. } => Verb::History,
            Asked::Search => Verb::Search,
            Asked::Files { .. } => Verb::Files,
            Asked::File { .. } => Verb::Download,
            Asked::Origin(_) => Verb::Remove,
            Asked::Forget(_) => Verb::Register,
            Asked::Reader(..) | Asked::NewReader(_) => Verb::Join,
            Asked::Seen { .. } => Verb::Seen,
            Asked::Flush(verb, _) | Asked::Bye(verb, ..) => *verb,
        };
        let room = match asked {
            Asked::Replay(Replay {
                enters: Some(room), ..
            }) => Some(*room),
            Asked::Reader(room, _) | Asked::NewReader(room) => Some(*room),
            _ => None,
        };
        if let Some(at) = self
            .rooms
            .iter()
            .position(|m| Some(m.room) == room && !m.is_leaving)
        {
            let membership = self.rooms.remove(at);
            chat.leave(membership.room, self.peer, self.nick, "", now);
        }
        let makes_reader = matches!(asked, Asked::NewReader(_));
        let text = match code {
            Code::Quota if makes_reader => {
                "there are too many readers of this nick or address, or no space on the disk; use one again"
            }
            Code::Quota => "there is no space left on the server's disk; try again later",
            Code::ShuttingDown => "the server is stopping; connect again later",
            _ => "the log cannot be read; the server's own log tells why",
        };
        self.refuse(&Refusal::new(verb, code, text));
    }

    /// Queries the next piece.
    fn replay(&mut self, replay: Replay) -> Option<Effect> {
        let (whose, span, count) = (replay.whose.clone(), replay.span, replay.left);
        self.ask(
            Asked::Replay(replay),
            Question::Read {
                whose,
                span,
                count: count.min(usize::MAX >> 1),
            },
        )
    }

    fn replayed(&mut self, mut replay: Replay, past: &Past, chat: &Chat) -> Option<Effect> {
        let records = &past.records;
        // Reported once, and not when history is requested by count: the hole is then before its beginning.
        if past.has_hole && replay.count == 0 && replay.enters.is_some() {
            let of = replay.whose.to_string();
            self.send(Line::Gap {
                of: &of,
                was_slow: false,
            });
        }
        self.push_past(records, chat);
        replay.count += records.len();
        replay.left = replay.left.saturating_sub(records.len());
        if let Some(last) = records.last()
            && replay.left > 0
            && last.id.get() < replay.span.up_to
        {
            replay.span.after = last.id.get();
            return self.replay(replay);
        }
        match replay.enters {
            Some(room) => self.joined(room, chat),
            None => {
                let count = replay.count;
                self.ok(
                    replay.verb,
                    &count.to_string(),
                    &format!("{count} of {}", replay.whose),
                    Then::Nothing,
                );
            }
        }
        None
    }

    fn read_as(
        &mut self,
        room: RoomId,
        reader: Reader,
        seen: Option<u64>,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        let mut rooms = self.rooms.iter_mut();
        let membership = rooms.find(|m| m.room == room && !m.is_leaving)?;
        membership.reader = Some(Box::new(reader.clone()));
        // Live events begin there, whatever has been stored since the request.
        let up_to = membership.seen;
        match seen {
            Some(seen) => self.ask_past(room, seen, up_to, chat),
            // A new reader begins with the live events; its position is stored from now on. In an empty room that
            // position is the newest event in the whole log: an event that is stored and expires before the reader
            // returns is then reported as missed.
            None => {
                if !chat.may_make_reader(self.peer, now) {
                    self.cannot_answer(&Asked::NewReader(room), Code::Quota, chat, now);
                    return None;
                }
                let (owner, seen) = (self.reader_owner(chat), up_to.max(chat.newest_id()));
                let question = Question::SetReader {
                    reader,
                    owner,
                    seen,
                };
                self.ask(Asked::NewReader(room), question)
            }
        }
    }

    fn send_file(
        &mut self,
        id: EventId,
        file: Option<(RoomName, NewFile)>,
        offset: u64,
        chat: &Chat,
    ) -> Option<Effect> {
        let verb = Verb::Download;
        let readable = file.filter(|(room, _)| {
            let room = chat.find_room(room);
            room.is_some_and(|room| chat.may_read(room, self.nick))
        });
        let readable = readable.and_then(|(room, file)| Some((chat.find_room(&room)?, file)));
        let Some((room, file)) = readable else {
            self.refuse(&no_such_file(id));
            return None;
        };
        if self.input.is_for_people() {
            let how = self.elsewhere(&format!("/files/{id}"), |nc| match file.contents {
                Some(whole) => format!(
                    "printf 'DOWNLOAD {id}\\nBYE\\n' | {nc} | sed 1d | head -c {} > file",
                    whole.length
                ),
                None => format!("printf 'DOWNLOAD {id}\\nBYE\\n' | {nc}"),
            });
            let talk = format!("{}: {how}", file.described());
            self.ok(verb, "", &talk, Then::Nothing);
            return None;
        }
        let Some(whole) = file.contents else {
            self.is_busy = true;
            return Some(Effect::Follow { id, offset, room });
        };
        if offset > whole.length {
            let text = format!("file {id} has {} bytes only", whole.length);
            self.refuse(&Refusal::new(verb, Code::BadSyntax, text));
            return None;
        }
        self.is_busy = true;
        Some(Effect::Send {
            id,
            name: file.name,
            whole,
            offset,
            room,
        })
    }

    fn take_back(
        &mut self,
        id: EventId,
        origin: Option<Origin>,
        chat: &mut Chat,
    ) -> Option<Effect> {
        let verb = Verb::Remove;
        let own = self.nick.and_then(|nick| chat.holder(nick));
        let own = own.map(|own| own.nick.clone());
        let is = |nick: &str| own.as_ref().is_some_and(|own| own.as_str() == nick);
        let found = origin.and_then(|origin| {
            let removed = origin.removable?;
            let (place, scope, is_own, may_read) = match origin.home {
                Home::Room(room) => {
                    let id = chat.find_room(&room)?;
                    let may_read = chat.may_read(id, self.nick);
                    let scope = Scope::Room(room.into());
                    (Place::Room(id), scope, is(&origin.nick), may_read)
                }
                Home::Told { told, readers } => {
                    let own = own.as_ref().filter(|own| chat.is_registered(own));
                    let own = own.filter(|own| readers.iter().any(|form| **form == *own.form()));
                    let is_own = own.is_some_and(|own| own.form() == told.by.form());
                    let place = Place::Nick(NickId::NOBODY);
                    (place, Scope::Inbox(Box::new(told)), is_own, own.is_some())
                }
            };
            let is_known = may_read || is_own || self.is_operator(chat);
            is_known.then_some((place, scope, removed, origin.nick, is_own))
        });
        let Some((place, scope, removed, author, is_own)) = found else {
            let text = format!("there is no message or file {id} to take back");
            self.refuse(&Refusal::new(verb, Code::NoSuchFile, text));
            return None;
        };
        let operator = own.filter(|_| self.is_operator(chat));
        if let Some(operator) = operator.filter(|_| !is_own) {
            let act = format!("{operator} takes back {id}, which was {author}'s");
            chat.act(act);
        } else if !is_own {
            self.refuse(&Refusal::new(
                verb,
                Code::NotAllowed,
                format!("{id} is not yours to take back"),
            ));
            return None;
        }
        let kind = EventKind::Remove(id, removed);
        let shown = Shown::Text(id.to_string().into());
        Some(self.propose(verb, place, scope, kind, "", shown, chat))
    }

    /// Continues with what a slow reader has missed. If the log no longer has it, a gap is reported. If the query
    /// failed, the connection closes, since it must not go on with a hole.
    pub fn caught_up(
        &mut self,
        room_id: RoomId,
        answer: Option<Answer>,
        chat: &mut Chat,
        now: Now,
    ) {
        let Some(Answer::Records(Past { records, has_hole })) = answer else {
            return self.close(Code::Internal, "the log cannot be read", chat, now);
        };
        self.close_page(chat);
        let Some(tail) = chat.tail(Place::Room(room_id)) else {
            return;
        };
        let Some(membership) = self.rooms.iter_mut().find(|m| m.room == room_id) else {
            return;
        };
        let gap_to = tail.gone_unlogged();
        let mut has_gap = has_hole || gap_to > membership.gap_to.max(membership.cursor);
        if records.is_empty() {
            membership.cursor = tail.first();
            has_gap = true;
        }
        self.page = Some(Box::new(Page {
            room: room_id,
            records,
            next: 0,
            has_gap,
            gap_to,
        }));
    }

    /// Queues records in the format of the client.
    fn push_past(&mut self, records: &[Record], chat: &Chat) {
        let mut text = Output::default();
        for record in records {
            let Record { id, time, line } = record;
            let offset_s = chat.utc_offset_s;
            self.input.write_past(*id, *time, line, offset_s, &mut text);
        }
        if !text.is_empty() {
            self.push(text, Then::Nothing);
        }
    }
}
