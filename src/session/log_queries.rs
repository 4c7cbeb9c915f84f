//! The queries of a session to the log, and how the session continues with their results.
//!
//! While a query is pending, the session accepts no line. A long result arrives in pieces: the next piece is requested
//! when the client has received the previous one. Therefore even a result of a million events takes only the memory of
//! one piece.

use std::sync::Arc;

use super::amend::OnEvent;
use super::irc::history::ChatHistory;
use super::irc::marker::Marker;
use super::irc::targets::Targets;
use super::output::{
    AfterReply, BacklogPage, Entries, EntryReply, Pending, keep_whole_texts, lines_of_records,
};
use super::{Effect, Expects, OutgoingFile, Session};
use crate::accounts::AccountQuery;
use crate::chat::{Chat, FilePlace, Place, RoomId};
use crate::dialect::{Line, Output, Past, TextPart};
use crate::log::text::Query;
use crate::log::{
    Found, HistoryPage, HistorySource, Location, LogQuery, LogResult, Reacted, Reader, Record,
    SearchScope, Span,
};
use crate::model::address_prefix;
use crate::model::{NewFile, Now};
use crate::protocol::human::plural;
use crate::protocol::request::{Refusal, Side};
use crate::protocol::{Code, EventId, Nick, RoomName, Verb};

/// The number of events that `HISTORY` returns by default.
const HISTORY_COUNT: usize = 50;

/// The maximum number of events that `HISTORY` returns.
const HISTORY_COUNT_MAX: usize = 1000;

/// A pending query, with what the session needs to continue after it.
#[derive(Debug)]
pub(super) enum PendingQuery {
    /// A piece of the history of a room or nick.
    Replay(Replay),
    /// The span of the newest `count` events of a room or nick.
    Newest { source: HistorySource, count: usize },
    /// A page of the history for an IRC client.
    ChatHistory(ChatHistory),
    /// A list of the rooms and nicks with a history, for an IRC client.
    Targets(Targets),
    /// A read marker of an IRC client.
    Marker(Marker),
    /// A search in this room, or in all rooms (`None`).
    Search(Option<Arc<RoomName>>),
    /// A search in the inbox of the connection's own nick.
    SearchInbox,
    /// A piece of the list of files.
    Files { source: HistorySource, count: usize },
    /// A file to be sent.
    File { id: EventId, offset: u64 },
    /// The author and place of an event, and what to do with the event once they are known.
    Authorship(EventId, OnEvent),
    /// The reactions to an event.
    Reactions(EventId),
    /// The deletion of a nick's direct messages. The registration of the nick, or its end, is the next query.
    Forget(AccountQuery),
    /// The position of a named reader that joins this room.
    Reader(RoomId, Reader),
    /// The creation of a new reader.
    NewReader(RoomId),
    /// The position of a reader, which will be moved to this id.
    ReaderToMove {
        room: Arc<RoomName>,
        reader: Reader,
        id: u64,
    },
    /// The update of a reader's position.
    Seen {
        room: Arc<RoomName>,
        reader: Reader,
        id: u64,
    },
    /// The list of the readers of this nick.
    Readers,
    /// The deletion of a reader, with the fields of the reply.
    ForgetReader(Box<str>),
    /// No query: the replies are being sent, before `BYE` updates the named readers.
    Flush(Verb, Box<str>),
    /// The named readers that `BYE` still has to update. The last of the readers is being updated.
    Bye(Verb, Box<str>, Vec<(Reader, u64)>),
    /// The named readers that are still to be updated after an IRC client has confirmed the events that it has
    /// received. The last of the readers is being updated.
    Confirmed(Vec<(Reader, u64)>),
}

impl PendingQuery {
    /// Returns the room whose history is being read, and the verb of the request. Returns `None` for a `JOIN`, because
    /// a member that is removed meanwhile may still read everything before the removal.
    fn reads(&self) -> Option<(Verb, &RoomName)> {
        match self {
            Self::Replay(Replay {
                verb,
                source: HistorySource::Room(room),
                enters: None,
                ..
            }) => Some((*verb, room)),
            Self::Newest {
                source: HistorySource::Room(room),
                ..
            } => Some((Verb::History, room)),
            Self::ChatHistory(ChatHistory {
                source: HistorySource::Room(room),
                ..
            }) => Some((Verb::History, room)),
            Self::Search(Some(room)) => Some((Verb::Search, room)),
            Self::Files {
                source: HistorySource::Room(room),
                ..
            } => Some((Verb::Files, room)),
            _ => None,
        }
    }
}

fn parse_search(words: &str) -> Result<Query, Refusal> {
    Query::parse(words).map_err(|why| Refusal::new(Verb::Search, Code::BadSyntax, why.to_string()))
}

/// Returns the error for a file that does not exist or that this connection may not read.
pub(super) fn no_such_file(id: EventId) -> Refusal {
    let text = format!("there is no file {id}; FILES lists the files");
    Refusal::new(Verb::Download, Code::NoSuchFile, text)
}

/// A history that is being sent in pieces.
#[derive(Debug)]
pub(super) struct Replay {
    verb: Verb,
    source: HistorySource,
    /// The span that has not been read yet.
    span: Span,
    left: usize,
    count: usize,
    /// The room that is being joined, if the verb is `JOIN`.
    enters: Option<RoomId>,
}

impl Replay {
    /// Creates a replay for `HISTORY`. The replay sends at most `left` events of the span.
    fn history(source: HistorySource, span: Span, left: usize) -> Self {
        Self {
            verb: Verb::History,
            source,
            span,
            left,
            count: 0,
            enters: None,
        }
    }
}

impl Session {
    /// Starts a query. No line is accepted until [`Self::on_log_result`] is called.
    fn query_log(&mut self, pending: PendingQuery, query: LogQuery) -> Option<Effect> {
        self.expects = Expects::Nothing;
        self.log_query = Some(Box::new(pending));
        Some(Effect::QueryLog(query.into()))
    }

    pub(super) fn query_history(
        &mut self,
        source: HistorySource,
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
                return self.replay(Replay::history(source, span, count));
            }
        };
        let pending = PendingQuery::Newest {
            source: source.clone(),
            count,
        };
        self.query_log(
            pending,
            LogQuery::Newest {
                source,
                before,
                count,
            },
        )
    }

    /// Queries the backlog of a room that is being joined: the events after the id `after`, up to the first live event.
    pub(super) fn query_backlog(
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
            source: HistorySource::Room(room.name.clone()),
            span,
            left: usize::MAX,
            count: 0,
            enters,
        })
    }

    pub(super) fn query_chat_history(
        &mut self,
        history: ChatHistory,
        query: LogQuery,
    ) -> Option<Effect> {
        self.query_log(PendingQuery::ChatHistory(history), query)
    }

    pub(super) fn query_targets(&mut self, targets: Targets, query: LogQuery) -> Option<Effect> {
        self.query_log(PendingQuery::Targets(targets), query)
    }

    pub(super) fn query_marker(&mut self, marker: Marker, query: LogQuery) -> Option<Effect> {
        self.query_log(PendingQuery::Marker(marker), query)
    }

    pub(super) fn query_search(
        &mut self,
        room: Option<Arc<RoomName>>,
        words: &str,
        chat: &Chat,
    ) -> Result<Option<Effect>, Refusal> {
        let query = parse_search(words)?;
        let scope = match &room {
            Some(room) => SearchScope::Room(room.clone()),
            None => SearchScope::AllBut(chat.hidden_rooms(self.nick).into()),
        };
        let query = self.search(scope, query);
        Ok(self.query_log(PendingQuery::Search(room), query))
    }

    /// Searches the inbox of `own`, which must be the nick of this connection. `None` stands for an unregistered nick, which
    /// has no inbox.
    pub(super) fn query_inbox_search(
        &mut self,
        own: Option<Nick>,
        words: &str,
    ) -> Result<Option<Effect>, Refusal> {
        let query = parse_search(words)?;
        let Some(own) = own else {
            let (count, is_cut) = (0, false);
            self.send(Line::Found { count, is_cut });
            return Ok(None);
        };
        let scope = SearchScope::Inbox(own.into());
        let query = self.search(scope, query);
        Ok(self.query_log(PendingQuery::SearchInbox, query))
    }

    fn search(&self, scope: SearchScope, query: Query) -> LogQuery {
        LogQuery::Search {
            scope,
            query,
            quotes: self.writer(self.input).quotes(),
        }
    }

    pub(super) fn query_files(&mut self, source: HistorySource) -> Option<Effect> {
        let pending = PendingQuery::Files {
            source: source.clone(),
            count: 0,
        };
        self.query_log(pending, LogQuery::Files { source, after: 0 })
    }

    pub(super) fn query_file(&mut self, id: EventId, offset: u64) -> Option<Effect> {
        self.query_log(PendingQuery::File { id, offset }, LogQuery::File(id))
    }

    pub(super) fn query_authorship(&mut self, id: EventId, on_event: OnEvent) -> Option<Effect> {
        self.query_log(
            PendingQuery::Authorship(id, on_event),
            LogQuery::Authorship(id),
        )
    }

    pub(super) fn ask_reactions(&mut self, id: EventId) -> Option<Effect> {
        self.query_log(PendingQuery::Reactions(id), LogQuery::Reactions(id))
    }

    /// Empties the inbox of a nick, and then runs a query to the accounts: the nick is registered, so that its new owner
    /// must not see what was stored for another user, or it is no longer registered.
    pub(super) fn clear_inbox(&mut self, nick: Nick, next: AccountQuery) -> Option<Effect> {
        self.query_log(PendingQuery::Forget(next), LogQuery::ClearInbox(nick))
    }

    pub(super) fn query_reader(&mut self, room: RoomId, reader: Reader) -> Option<Effect> {
        let query = LogQuery::Reader(reader.clone());
        self.query_log(PendingQuery::Reader(room, reader), query)
    }

    pub(super) fn set_reader(
        &mut self,
        room: Arc<RoomName>,
        reader: Reader,
        id: u64,
        chat: &Chat,
    ) -> Option<Effect> {
        for membership in &mut self.rooms {
            membership.confirms |= membership.reader.as_deref() == Some(&reader);
        }
        let owner = self.reader_owner(chat);
        let query = LogQuery::SetReader {
            reader: reader.clone(),
            owner,
            seen: id,
        };
        self.query_log(PendingQuery::Seen { room, reader, id }, query)
    }

    pub(super) fn query_reader_to_move(
        &mut self,
        room: Arc<RoomName>,
        reader: Reader,
        id: u64,
    ) -> Option<Effect> {
        let query = LogQuery::Reader(reader.clone());
        self.query_log(PendingQuery::ReaderToMove { room, reader, id }, query)
    }

    pub(super) fn query_readers(&mut self, nick: String, chat: &Chat) -> Option<Effect> {
        let owner = self.reader_owner(chat);
        self.query_log(PendingQuery::Readers, LogQuery::Readers { nick, owner })
    }

    pub(super) fn query_forget(
        &mut self,
        reader: Reader,
        reply: Box<str>,
        chat: &Chat,
    ) -> Option<Effect> {
        let owner = self.reader_owner(chat);
        let query = LogQuery::ForgetReader { reader, owner };
        self.query_log(PendingQuery::ForgetReader(reply), query)
    }

    /// Returns the owner of this connection's named readers: the registered nick or, without one, the client's address.
    /// An unregistered nick is not an owner, because anyone can use any number of unregistered nicks.
    pub(super) fn reader_owner(&self, chat: &Chat) -> String {
        let user = self.nick.and_then(|nick| chat.user(nick));
        match user.filter(|user| chat.is_registered(&user.nick)) {
            Some(user) => user.nick.casefolded().to_owned(),
            None => match chat.address(self.peer) {
                Some(address) => format!("@{}", address_prefix(address)),
                None => "@".to_owned(),
            },
        }
    }

    /// Handles `BYE` of a connection with named readers that it has not moved with `SEEN`. The positions of the readers are known only when all output
    /// has been sent.
    pub(super) fn flush_before_bye(&mut self, verb: Verb, text: &str) -> Option<Effect> {
        self.expects = Expects::Nothing;
        self.log_query = Some(Box::new(PendingQuery::Flush(verb, text.into())));
        Some(Effect::Flush)
    }

    /// Continues after [`Effect::Flush`]: all replies have been sent.
    pub fn flushed(&mut self, chat: &mut Chat, now: Now) -> Option<Effect> {
        let Some(PendingQuery::Flush(verb, text)) = self.log_query.take().map(|pending| *pending)
        else {
            return None;
        };
        let rooms = self
            .rooms
            .iter()
            .filter(|membership| !membership.is_leaving && !membership.confirms);
        let readers = rooms.filter_map(|m| Some((Reader::clone(m.reader.as_deref()?), m.seen)));
        let readers = readers.collect();
        let at = self.next_reply();
        let effect = self.move_readers(verb, text, readers, chat, now);
        self.irc_label(at, effect.as_ref());
        self.wait_for_changes(at, chat);
        effect
    }

    fn move_readers(
        &mut self,
        verb: Verb,
        text: Box<str>,
        readers: Vec<(Reader, u64)>,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        let Some((reader, seen)) = readers.last().cloned() else {
            self.expects = Expects::Line;
            self.say_goodbye(verb, &text, chat, now);
            return None;
        };
        let owner = self.reader_owner(chat);
        let query = LogQuery::SetReader {
            reader,
            owner,
            seen,
        };
        self.query_log(PendingQuery::Bye(verb, text, readers), query)
    }

    /// Stores the positions of named readers, one after the other.
    pub(super) fn store_confirmed(
        &mut self,
        readers: Vec<(Reader, u64)>,
        chat: &Chat,
    ) -> Option<Effect> {
        let (reader, seen) = readers.last().cloned()?;
        let owner = self.reader_owner(chat);
        let query = LogQuery::SetReader {
            reader,
            owner,
            seen,
        };
        self.query_log(PendingQuery::Confirmed(readers), query)
    }

    /// If the reader has fallen behind a room's tail and has received all earlier output, returns the query for the
    /// events that it has missed. Otherwise, returns `None`. The result must be passed to [`Self::on_backlog`].
    pub fn backlog_query(&self, chat: &Chat) -> Option<(RoomId, LogQuery)> {
        // A room for which a reply waits comes first. Otherwise, neither the reply nor the backlog would make progress.
        let awaited = match self.replies().pending.front() {
            Some(Pending::Text(reply)) => reply.after.map(|after| after.room),
            Some(Pending::Entry(EntryReply {
                place: Place::Room(room),
                ..
            })) if matches!(self.replies().outcomes.front(), Some(Some(_))) => Some(*room),
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
            (None, None) if !self.is_ending() => self.rooms.iter().find(|m| m.is_behind(chat))?,
            (None, _) => return None,
        };
        let room = chat.room(behind.room)?;
        let span = Span {
            after: behind.seen,
            up_to: room.last_id(),
        };
        let query = LogQuery::Read {
            source: HistorySource::Room(room.name.clone()),
            span,
            count: usize::MAX >> 1,
            // Nothing of an ignored nick is quoted in live events.
            quotes: self.ignored.is_none() && self.writer(self.input).quotes(),
        };
        Some((behind.room, query))
    }

    /// Continues with the result of a query, or with its failure.
    pub fn on_log_result(
        &mut self,
        result: Result<LogResult, Code>,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        let at = self.next_reply();
        let effect = self.take_log_result(result, chat, now);
        self.irc_label(at, effect.as_ref());
        self.wait_for_changes(at, chat);
        effect
    }

    fn take_log_result(
        &mut self,
        result: Result<LogResult, Code>,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        if let Ok(LogResult::Cleared(files)) = &result {
            chat.inbox_cleared(files);
        }
        let pending = *self.log_query.take()?;
        self.expects = Expects::Line;
        let result = match result {
            Ok(result) => result,
            Err(code) => {
                self.on_log_error(&pending, code, chat, now);
                return None;
            }
        };
        // The connection may have lost the right to read the room since the last piece.
        if let Some((verb, room)) = pending.reads()
            && !chat
                .find_room(room)
                .is_some_and(|room| chat.may_read(room, self.nick))
        {
            let text = format!("there is no room {room}; ROOMS lists the rooms");
            match &pending {
                PendingQuery::ChatHistory(history) => self.irc_history_failed(history, &text),
                _ => self.refuse(&Refusal::new(verb, Code::NoSuchRoom, text)),
            }
            return None;
        }
        match (pending, result) {
            (PendingQuery::Replay(replay), LogResult::Records(records)) => {
                return self.replayed(replay, &records, chat);
            }
            (PendingQuery::Newest { source, count }, LogResult::Span(span)) => {
                return self.replay(Replay::history(source, span, count));
            }
            (PendingQuery::ChatHistory(history), result) => {
                return self.irc_got_history(history, result, chat);
            }
            (PendingQuery::Targets(targets), result) => {
                return self.irc_got_targets(targets, result, chat);
            }
            (PendingQuery::Marker(marker), result) => {
                return self.irc_got_marker(marker, result, chat, now);
            }
            (
                pending @ (PendingQuery::Search(_) | PendingQuery::SearchInbox),
                LogResult::Found(Found {
                    mut records,
                    is_cut,
                }),
            ) => {
                if matches!(pending, PendingQuery::Search(None)) {
                    // The connection may have lost the right to read some of the rooms meanwhile.
                    records.retain(|record| self.may_see(record, chat));
                }
                self.push_history(&records, chat);
                let count = records.len();
                self.send(Line::Found { count, is_cut });
            }
            (PendingQuery::Files { source, count }, LogResult::Records(records)) => {
                self.push_history(&records.records, chat);
                let count = count + records.records.len();
                if let Some(last) = records.records.last() {
                    let query = LogQuery::Files {
                        source: source.clone(),
                        after: last.id.get(),
                    };
                    return self.query_log(PendingQuery::Files { source, count }, query);
                }
                self.ok(
                    Verb::Files,
                    &count.to_string(),
                    &format!("{} in {source}", plural(count, "file", "files")),
                    AfterReply::Nothing,
                );
            }
            (PendingQuery::File { id, offset }, LogResult::File(file)) => {
                return self.send_file(id, file, offset, chat);
            }
            (PendingQuery::Authorship(id, on_event), LogResult::Authorship(authorship)) => {
                return self.on_event(id, on_event, authorship, chat);
            }
            (PendingQuery::Reactions(id), LogResult::Reactions(authorship, reactions)) => {
                let is_known = self
                    .find_event(authorship, chat)
                    .is_some_and(|found| found.may_read);
                if !is_known {
                    let text = format!("there is no message or file with the id {id}");
                    self.refuse(&Refusal::new(Verb::Reacts, Code::NoSuchId, text));
                    return None;
                }
                let mut entries = Entries::new("REACT", self.input);
                for Reacted { nick, emoji } in &reactions {
                    entries.add(&[&id.to_string(), nick, emoji]);
                }
                let count = self.send_entries(entries);
                let talk = plural(count, "reaction", "reactions");
                self.ok(Verb::Reacts, &count.to_string(), &talk, AfterReply::Nothing);
            }
            (PendingQuery::Forget(next), LogResult::Cleared(_)) => {
                return self.query_accounts(next).unwrap_or_else(|refusal| {
                    self.refuse(&refusal);
                    None
                });
            }
            (PendingQuery::Reader(room, reader), LogResult::Reader(seen)) => {
                return self.read_as(room, reader, seen, chat, now);
            }
            (PendingQuery::NewReader(room), LogResult::Done) => self.joined(room, chat),
            (PendingQuery::ReaderToMove { room, reader, id }, LogResult::Reader(seen)) => {
                return self.move_reader(room, reader, id, seen.is_none(), chat, now);
            }
            (PendingQuery::Readers, LogResult::Readers(readers)) => {
                self.list_readers(&readers, chat);
            }
            (PendingQuery::ForgetReader(reply), LogResult::Done) => {
                self.ok(Verb::Forget, &reply, "", AfterReply::Nothing);
            }
            (PendingQuery::Seen { room, reader, id }, LogResult::Done) => {
                self.tell_moved_if_registered(&reader, id, chat);
                self.ok(Verb::Seen, &format!("{room} {id}"), "", AfterReply::Nothing);
            }
            (PendingQuery::Bye(verb, text, mut readers), LogResult::Done) => {
                if let Some((reader, seen)) = readers.pop() {
                    self.tell_moved_if_registered(&reader, seen, chat);
                }
                return self.move_readers(verb, text, readers, chat, now);
            }
            (PendingQuery::Confirmed(mut readers), LogResult::Done) => {
                if let Some((reader, seen)) = readers.pop() {
                    self.tell_moved_if_registered(&reader, seen, chat);
                }
                return self.store_confirmed(readers, chat);
            }
            _ => {}
        }
        None
    }

    fn on_log_error(&mut self, pending: &PendingQuery, code: Code, chat: &mut Chat, now: Now) {
        let verb = match pending {
            PendingQuery::Replay(replay) => replay.verb,
            PendingQuery::Newest { .. }
            | PendingQuery::ChatHistory(_)
            | PendingQuery::Targets(_) => Verb::History,
            PendingQuery::Search(_) | PendingQuery::SearchInbox => Verb::Search,
            PendingQuery::Files { .. } => Verb::Files,
            PendingQuery::File { .. } => Verb::Download,
            PendingQuery::Authorship(_, on_event) => on_event.verb(),
            PendingQuery::Reactions(_) => Verb::Reacts,
            PendingQuery::Forget(AccountQuery::RemoveAccount { .. }) => Verb::Remove,
            PendingQuery::Forget(_) => Verb::Register,
            PendingQuery::Reader(..) | PendingQuery::NewReader(_) => Verb::Join,
            PendingQuery::ReaderToMove { .. }
            | PendingQuery::Seen { .. }
            | PendingQuery::Marker(_) => Verb::Seen,
            PendingQuery::Readers => Verb::Readers,
            PendingQuery::ForgetReader(_) => Verb::Forget,
            PendingQuery::Flush(verb, _) | PendingQuery::Bye(verb, ..) => *verb,
            // The client has not requested this query, so it receives no error. After it reconnects, it receives some
            // events again.
            PendingQuery::Confirmed(_) => return,
        };
        let room = match pending {
            PendingQuery::Replay(Replay {
                enters: Some(room), ..
            }) => Some(*room),
            PendingQuery::Reader(room, _) | PendingQuery::NewReader(room) => Some(*room),
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
        let makes_reader = matches!(
            pending,
            PendingQuery::NewReader(_) | PendingQuery::Seen { .. } | PendingQuery::Marker(_)
        );
        let text = match code {
            Code::Quota if makes_reader => {
                "this nick or address has too many readers, or the disk is full; use an existing reader, or FORGET one"
            }
            Code::Quota => "there is no space left on the server's disk; try again later",
            Code::ShuttingDown => "the server is stopping; connect again later",
            _ => "the log cannot be read; the server's log has the reason",
        };
        if let PendingQuery::ChatHistory(history) = pending {
            return self.irc_history_failed(history, text);
        }
        if let PendingQuery::Targets(_) = pending {
            return self.irc_targets_failed(text);
        }
        if let PendingQuery::Marker(marker) = pending {
            return self.irc_marker_failed(marker, text);
        }
        self.refuse(&Refusal::new(verb, code, text));
    }

    /// Queries the next piece.
    fn replay(&mut self, replay: Replay) -> Option<Effect> {
        let quotes = self.writer(self.input).quotes();
        let (source, span, count) = (replay.source.clone(), replay.span, replay.left);
        self.query_log(
            PendingQuery::Replay(replay),
            LogQuery::Read {
                source,
                span,
                count: count.min(usize::MAX >> 1),
                quotes,
            },
        )
    }

    fn replayed(&mut self, mut replay: Replay, past: &HistoryPage, chat: &Chat) -> Option<Effect> {
        let records = &past.records;
        // A `JOIN` reports the gap, once. `HISTORY` does not: it asks for a number of events, and the gap precedes
        // those events.
        if past.has_hole && replay.count == 0 && replay.enters.is_some() {
            let of = replay.source.to_string();
            self.send(Line::Gap {
                of: &of,
                was_slow: false,
            });
        }
        self.push_history(records, chat);
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
                    &format!("{count} of {}", replay.source),
                    AfterReply::Nothing,
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
        membership.confirms &= membership.reader.as_deref() == Some(&reader);
        membership.reader = Some(Box::new(reader.clone()));
        // The backlog ends where the live events begin, even if more events have been stored since the request.
        let up_to = membership.seen;
        match seen {
            Some(seen) => self.query_backlog(room, seen, up_to, chat),
            // A new reader begins with the live events, and its position is stored from now on. The position is the id
            // of the newest event in the whole log, even if the room is empty. Therefore, if an event is stored and
            // expires before the reader returns, the event is reported as missed.
            None => {
                if !chat.may_make_reader(self.peer, now) {
                    self.on_log_error(&PendingQuery::NewReader(room), Code::Quota, chat, now);
                    return None;
                }
                let (owner, seen) = (self.reader_owner(chat), up_to.max(chat.newest_id()));
                let query = LogQuery::SetReader {
                    reader,
                    owner,
                    seen,
                };
                self.query_log(PendingQuery::NewReader(room), query)
            }
        }
    }

    fn send_file(
        &mut self,
        id: EventId,
        file: Option<(Location, NewFile)>,
        offset: u64,
        chat: &Chat,
    ) -> Option<Effect> {
        let verb = Verb::Download;
        let readable =
            file.and_then(|(location, file)| Some((self.file_place(location, chat)?, file)));
        let Some((place, file)) = readable else {
            self.refuse(&no_such_file(id));
            return None;
        };
        if self.input.is_for_people() {
            let how = self.transfer_hint(&format!("/files/{id}"), |nc| match file.contents {
                Some(contents) => format!(
                    "printf 'DOWNLOAD {id}\\nBYE\\n' | {nc} | sed 1d | head -c {} > file",
                    contents.length
                ),
                None => format!("printf 'DOWNLOAD {id}\\nBYE\\n' | {nc}"),
            });
            let talk = format!("{}: {how}", file.described());
            self.ok(verb, "", &talk, AfterReply::Nothing);
            return None;
        }
        let Some(contents) = file.contents else {
            self.expects = Expects::Nothing;
            return Some(Effect::Follow { id, offset, place });
        };
        if offset > contents.length {
            let text = format!("file {id} has only {} bytes", contents.length);
            self.refuse(&Refusal::new(verb, Code::BadSyntax, text));
            return None;
        }
        self.expects = Expects::Nothing;
        let file = OutgoingFile {
            id,
            name: file.name,
            contents,
            offset,
            place,
        };
        Some(Effect::Send(file.into()))
    }

    /// Returns the place of a file, if this connection may read the file.
    fn file_place(&self, location: Location, chat: &Chat) -> Option<FilePlace> {
        let place = match location {
            Location::Room(room) => FilePlace::Room(chat.find_room(&room)?),
            Location::Inbox { message, readers } => {
                let own = &chat.user(self.nick?)?.nick;
                let has_copy = readers.iter().any(|form| **form == *own.casefolded());
                has_copy.then(|| chat.inbox_of_file(message))?
            }
        };
        chat.may_read_files(&place, self.nick).then_some(place)
    }

    /// Continues with the events that a slow reader has missed. If the log no longer contains them, reports a gap. If
    /// the query failed, closes the connection, so that the client notices that events are missing.
    pub fn on_backlog(
        &mut self,
        room_id: RoomId,
        result: Option<LogResult>,
        chat: &mut Chat,
        now: Now,
    ) {
        let Some(LogResult::Records(HistoryPage {
            mut records,
            has_hole,
        })) = result
        else {
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
        if self.writer(self.input).joins_texts() {
            keep_whole_texts(&mut records);
        }
        self.page = Some(Box::new(BacklogPage {
            room: room_id,
            records,
            next: 0,
            has_gap,
            gap_to,
        }));
    }

    /// Returns whether this connection may read the room of an event.
    fn may_see(&self, record: &Record, chat: &Chat) -> bool {
        let room = record.layout.place(&record.line);
        let room = room.and_then(|room| RoomName::parse(room).ok());
        let room = room.and_then(|room| chat.find_room(&room));
        room.is_some_and(|room| chat.may_read(room, self.nick))
    }

    /// Queues records in the format of the client.
    pub(super) fn push_history(&mut self, records: &[Record], chat: &Chat) {
        let mut text = Output::default();
        let to = self.writer(self.input);
        let mut rest = records;
        while !rest.is_empty() {
            let lines = lines_of_records(rest, to);
            for (n, record) in rest.iter().take(lines).enumerate() {
                let to = to.in_text(TextPart::of(n, lines));
                to.write_past(past_of(record, chat), &mut text);
            }
            rest = rest.get(lines..).unwrap_or_default();
        }
        if !text.is_empty() {
            self.push(text, AfterReply::Nothing);
        }
    }
}

/// Returns a record as the value that a dialect writes.
fn past_of<'a>(record: &'a Record, chat: &Chat) -> Past<'a> {
    Past {
        id: record.id,
        time: record.time,
        tags: &record.tags,
        line: &record.line,
        layout: record.layout,
        quoted: record.quoted.as_deref(),
        utc_offset_s: chat.utc_offset_s,
    }
}
