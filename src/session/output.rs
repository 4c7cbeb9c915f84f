//! The output of a session: the queued replies, and all events after the session's cursors.
//!
//! [`Session::fill`] writes into a batch without changing the session. When the network has accepted some of the bytes,
//! [`Session::sent`] advances the session by these bytes. So for a slow reader, only its position and at most the rest
//! of one line are stored. A batch is a sequence of segments. Each segment comes with the progress that it makes in the
//! session.

use super::batch::{Advance, Batch, Segment, SeqRange};
use super::lazy_list::{LazyList, Step};
use super::{Phase, Session};
use crate::chat::{CUT_OFF, Chat, Committed, Place, RoomId};
use crate::dialect::{
    Dialect, Form, Line, Live, Output, OwnEvent, ReplyBody, TextPart, Writer, lines_of_text,
};
use crate::log::Record;
use crate::protocol::event::{EventLayout, EventVerb};
use crate::protocol::multiline::{text_lines, text_of};
use crate::protocol::request::Refusal;
use crate::protocol::{Code, Event, EventId, Nick, RoomName, Time, Verb, human, tags};
use crate::tail::{Seq, Tail};

/// A reply that waits to be sent.
#[derive(Debug)]
pub(super) enum Pending {
    /// Lines. The reply is boxed to keep `Pending` small: after a client has sent a thousand messages, a thousand
    /// replies wait.
    Text(Box<TextReply>),
    /// The reply to an entry that is being stored.
    Entry(EntryReply),
    /// A list. Each of its lines is formatted when it is sent.
    List(Box<LazyList>),
}

/// A reply whose text is known. If `after` is set, the reply is sent at the position `after` among the events of a
/// room.
#[derive(Debug)]
pub(super) struct TextReply {
    pub text: Output,
    pub after: Option<UpTo>,
    pub then: AfterReply,
}

/// A position in a room, both in the tail and in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct UpTo {
    pub room: RoomId,
    /// The number of the entry after the position.
    pub seq: Seq,
    /// The id of the newest logged event before the position; 0 for none.
    pub id: u64,
}

/// The reply to an entry that has been proposed. The reply is sent at the entry's position in its room.
#[derive(Debug)]
pub(super) struct EntryReply {
    pub verb: Verb,
    pub place: Place,
    pub body: ReplyBody,
}

impl EntryReply {
    /// No reply is sent, but later replies wait for the outcome.
    pub const NOTHING: Self = Self {
        verb: Verb::Ping,
        place: Place::Everyone,
        body: ReplyBody::Nothing,
    };
}

/// The entries of a list, as they are sent.
pub(super) struct Entries<'a> {
    pub lines: Output,
    pub count: usize,
    word: &'static str,
    room: Option<&'a str>,
    dialect: Dialect,
}

impl<'a> Entries<'a> {
    /// Creates a list without entries. For programs, each line begins with `word`.
    pub fn new(word: &'static str, dialect: Dialect) -> Self {
        Self {
            lines: Output::default(),
            count: 0,
            word,
            room: None,
            dialect,
        }
    }

    /// Sets the name of the room. For programs, the name follows the word.
    pub fn of(self, room: &'a RoomName) -> Self {
        let room = Some(room.as_str());
        Self { room, ..self }
    }

    pub fn add(&mut self, fields: &[&str]) {
        let (word, room) = (self.word, self.room);
        let entry = Line::Entry { word, room, fields };
        self.dialect.write(entry, &mut self.lines);
        self.count += 1;
    }
}

/// Events from the log for a reader that has fallen behind a room's tail. After the page, the reader continues in the
/// tail.
#[derive(Debug)]
pub(super) struct BacklogPage {
    pub room: RoomId,
    pub records: Vec<Record>,
    /// The index of the first record that has not been sent.
    pub next: usize,
    /// Whether a gap before these records has not been reported yet.
    pub has_gap: bool,
    /// The gap also covers the unlogged events before this entry.
    pub gap_to: Seq,
}

impl BacklogPage {
    pub fn bytes(&self) -> usize {
        self.records.iter().map(Record::bytes).sum()
    }
}

/// What happens when a reply has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterReply {
    Nothing,
    /// The room is no longer read.
    Leave(RoomId),
    /// The room's live events are held back, because the backlog comes first.
    Hold(RoomId),
    /// Further output is in this dialect.
    Dialect(Dialect),
    /// The connection closes.
    Close,
}

/// The maximum number of bytes of a list in one write. Filling a whole batch would take milliseconds, because each line
/// is looked up.
const LIST_BYTES_MAX: usize = 32 << 10;

/// An error: the tail no longer contains the requested entries.
struct Gone;

/// The kind of output that can be sent to a connection now.
enum News {
    Nothing,
    /// Only entries of one room, in the form that the connection shares with other readers.
    SeqRange(SeqRange),
    /// Other output.
    More,
}

impl Session {
    /// Writes the next output into `batch`, replies first. Returns false if there is none. If `batch` was filled for
    /// another session and this session receives the same bytes, `batch` stays as it is.
    pub fn fill(&self, chat: &mut Chat, batch: &mut Batch) -> bool {
        match self.news(chat) {
            News::Nothing => return false,
            News::SeqRange(span) if batch.is_just(span, self.peer) => {}
            News::SeqRange(span) => {
                self.fill_all(chat, batch);
                batch.note(span, self.peer);
            }
            News::More => self.fill_all(chat, batch),
        }
        !batch.is_empty()
    }

    /// Returns whether there is output. May return true for output that turns out to be empty when it is formatted.
    pub fn has_news(&self, chat: &Chat) -> bool {
        !matches!(self.news(chat), News::Nothing)
    }

    /// Returns the kind of output that is ready to be sent.
    fn news(&self, chat: &Chat) -> News {
        let is_busy = self.replies.is_some() || self.page.is_some() || !self.unsent.is_empty();
        let inbox_end = self.nick.map_or(0, |nick| chat.end(Place::Nick(nick)));
        if is_busy || self.notes < chat.end(Place::Everyone) || self.inbox < inbox_end {
            return News::More;
        }
        let mut news = News::Nothing;
        for membership in &self.rooms {
            let Some(tail) = chat.tail(Place::Room(membership.room)) else {
                continue;
            };
            let (from, to) = (membership.cursor, tail.end());
            if from >= to || membership.waits_for_backlog {
                continue;
            }
            if !matches!(news, News::Nothing)
                || self.is_ending()
                || from < tail.first()
                || self.is_arriving()
            {
                return News::More;
            }
            let room = membership.room;
            let Some(form) = self.form(room, self.writer(self.output)) else {
                return News::More;
            };
            news = News::SeqRange(SeqRange {
                room,
                form,
                from,
                to,
            });
        }
        news
    }

    fn fill_all(&self, chat: &mut Chat, batch: &mut Batch) {
        batch.clear();
        if !self.unsent.is_empty() {
            batch.own.bytes.extend_from_slice(&self.unsent);
            batch.run(Advance::Unsent);
        }
        batch
            .cursors
            .extend(self.rooms.iter().map(|membership| Some(membership.cursor)));
        let mut to = self.writer(self.output);
        let replies = self.replies();
        let mut kept = replies.outcomes.iter();
        for pending in &replies.pending {
            if batch.is_full() {
                return;
            }
            match pending {
                Pending::Text(reply) => {
                    let TextReply { text, after, then } = &**reply;
                    if let Some(UpTo { room, seq, id }) = after
                        && !self.fill_room(*room, *seq, *id + 1, to, chat, batch)
                    {
                        return;
                    }
                    batch.own.extend(text);
                    batch.run(Advance::Reply);
                    match then {
                        AfterReply::Nothing => {}
                        AfterReply::Leave(room) => {
                            if let Some(at) = self.reading(*room, batch) {
                                batch.cursors[at] = None;
                            }
                        }
                        AfterReply::Dialect(next) => to = to.with(*next),
                        AfterReply::Hold(_) | AfterReply::Close => return,
                    }
                }
                Pending::Entry(reply) => match kept.next().and_then(Option::as_ref) {
                    None => return,
                    Some(Ok(kept)) => {
                        if !self.fill_own(reply, *kept, to, chat, batch) {
                            return;
                        }
                    }
                    Some(Err(_)) if matches!(reply.body, ReplyBody::Nothing) => {
                        batch.run(Advance::Reply)
                    }
                    Some(Err(code)) => {
                        let text = match code {
                            Code::Busy => "that nick's inbox is full; try again later",
                            Code::NoSuchNick => "that nick is no longer connected",
                            Code::Quota if reply.verb == Verb::React => {
                                "that message has too many reactions already"
                            }
                            Code::Quota => "there is no space left to save it",
                            Code::NoSuchFile => "it has been deleted already",
                            Code::NoSuchId => {
                                "there is no such message in that room or private chat"
                            }
                            Code::NoSuchRoom => "that room was deleted meanwhile",
                            Code::CutOff => CUT_OFF,
                            _ => "it could not be saved; the server's log has the reason",
                        };
                        let refusal = Refusal::new(reply.verb, *code, text);
                        reply.refuse(&refusal, to, &mut batch.own);
                        batch.run(Advance::Reply);
                    }
                },
                Pending::List(list) => {
                    let mut list = LazyList::clone(list);
                    let full = batch.len() + LIST_BYTES_MAX;
                    loop {
                        let step = list.write_next(to, chat, &mut batch.own);
                        if step == Step::End {
                            break;
                        }
                        batch.run(Advance::Listed(list));
                        if step == Step::Nothing || batch.is_full() || batch.len() >= full {
                            return;
                        }
                    }
                    list.write_end(to, chat, &mut batch.own);
                    batch.run(Advance::Reply);
                }
            }
        }
        if self.is_ending() || self.is_arriving() {
            return;
        }
        if self.is_open {
            self.fill_tail(Place::Everyone, self.notes, to, chat, batch);
        }
        if let Some(nick) = self.nick {
            self.fill_tail(Place::Nick(nick), self.inbox, to, chat, batch);
        }
        // Each write begins with another room, so that a busy room does not starve the others.
        let count = self.rooms.len();
        for n in 0..count {
            let at = (usize::from(self.next_room) + n) % count;
            if let Some(membership) = self.rooms.get(at) {
                self.fill_room(membership.room, Seq::MAX, u64::MAX, to, chat, batch);
            }
        }
    }

    /// Advances the session by the first `taken` bytes of `batch`. This session must have filled the batch.
    pub fn sent(&mut self, chat: &mut Chat, batch: &Batch, taken: usize) {
        self.next_room = self.next_room.wrapping_add(1);
        let mut start = 0;
        let mut segments = batch.segments.iter().peekable();
        while let Some(run) = segments.next_if(|run| run.end <= taken) {
            self.advance(run.step, chat);
            start = run.end;
        }
        if taken > start
            && let Some(run) = segments.next()
        {
            let is_whole = self.cut(chat, batch, run, taken);
            // If all of `run` has been sent, the segments that end at the same byte have been sent too.
            while let Some(same) = segments.next_if(|same| is_whole && same.end == run.end) {
                self.advance(same.step, chat);
            }
        }
    }

    /// Discards the output for a client that will not read any more.
    pub fn drop_output(&mut self, chat: &mut Chat, batch: &mut Batch) {
        // What would have to be read from the log is dropped too. Otherwise the replies after it would never be dropped.
        for membership in &mut self.rooms {
            if membership.is_behind(chat) {
                let tail = chat.tail(Place::Room(membership.room));
                membership.cursor = tail.map_or(membership.cursor, Tail::first);
            }
        }
        while self.fill(chat, batch) {
            self.sent(chat, batch, batch.len());
        }
    }

    /// Returns whether a reply has not been sent yet. The bytes of a file cannot begin before all replies have been
    /// sent.
    pub fn owes_replies(&self) -> bool {
        !self.replies().pending.is_empty() || !self.unsent.is_empty()
    }

    /// Advances by a segment that has been sent in part. Keeps the rest of the line that was split. Returns whether
    /// nothing else of the segment remains.
    fn cut(&mut self, chat: &mut Chat, batch: &Batch, run: &Segment, taken: usize) -> bool {
        let (end, step) = match (run.step, batch.split(run, taken)) {
            (Advance::Room(room, seq, last), Some(split)) => {
                let last = last.filter(|_| split.next == seq);
                match self.last_read(room, split.next, last, chat) {
                    Ok(last) => (split.end, Advance::Room(room, split.next, last)),
                    // The tail no longer contains the line. The rest of the segment is kept, so that no line is sent
                    // twice.
                    Err(Gone) => (run.end, run.step),
                }
            }
            // The segment is one event or reply, so the whole rest of the segment is kept.
            (step, _) => (run.end, step),
        };
        let kept = batch.copy(taken, end);
        let is_whole = end == run.end;
        self.advance(step, chat);
        self.unsent = kept.into();
        is_whole
    }

    /// Returns the id of the newest logged event of a room that has been sent once the room has been read up to `seq`.
    /// If `known` is given, returns `known`.
    fn last_read(
        &self,
        room: RoomId,
        seq: Seq,
        known: Option<EventId>,
        chat: &Chat,
    ) -> Result<Option<EventId>, Gone> {
        let membership = self.rooms.iter().find(|m| m.room == room);
        let (Some(membership), Some(tail), None) =
            (membership, chat.tail(Place::Room(room)), known)
        else {
            return Ok(known);
        };
        match tail.last_id(membership.cursor, seq) {
            None if tail.first() > membership.cursor => Err(Gone),
            last => Ok(last),
        }
    }

    fn advance(&mut self, step: Advance, chat: &mut Chat) {
        match step {
            Advance::Unsent => self.unsent = Box::default(),
            Advance::Notices(seq) => self.notes = seq,
            Advance::Inbox(seq) => {
                self.inbox = seq;
                if let Some(nick) = self.nick {
                    chat.mark_inbox_read(nick, seq);
                }
            }
            Advance::Room(room, seq, last) => {
                // If the connection has left the room and joined it again, the first match is the older membership.
                if let Some(membership) = self.rooms.iter_mut().find(|m| m.room == room) {
                    membership.seen = last.map_or(membership.seen, EventId::get);
                    membership.cursor = seq;
                }
            }
            Advance::Gap => {
                if let Some(page) = &mut self.page {
                    page.has_gap = false;
                    let mut rooms = self.rooms.iter_mut();
                    if let Some(membership) = rooms.find(|m| m.room == page.room) {
                        membership.gap_to = page.gap_to;
                    }
                }
                self.turn_page(None, chat);
            }
            Advance::Paged(next, seen) => {
                if let Some(page) = &mut self.page {
                    page.next = next;
                }
                self.turn_page(Some(seen), chat);
            }
            Advance::Listed(progress) => {
                if let Some(Pending::List(list)) = self.replies_mut().pending.front_mut() {
                    **list = progress;
                }
            }
            Advance::Reply => {
                let replies = self.replies_mut();
                match replies.pending.pop_front() {
                    Some(Pending::Text(reply)) => {
                        replies.bytes = replies.bytes.saturating_sub(reply.text.len());
                        self.after_reply(reply.then);
                    }
                    Some(Pending::Entry(reply)) => {
                        replies.bytes = replies.bytes.saturating_sub(reply.bytes());
                        replies.forget_first();
                    }
                    Some(Pending::List(_)) | None => {}
                }
                let replies = self.replies();
                if replies.pending.is_empty() && replies.deferred.is_none() {
                    self.replies = None;
                }
            }
        }
    }

    /// Marks the page's records as read up to `seen`. At the end of the page, reading continues in the tail, if the
    /// tail still contains the next events.
    fn turn_page(&mut self, seen: Option<EventId>, chat: &Chat) {
        let Some(page) = &self.page else {
            return;
        };
        let Some(membership) = self.rooms.iter_mut().find(|m| m.room == page.room) else {
            self.page = None;
            return;
        };
        membership.seen = seen.map_or(membership.seen, EventId::get);
        if page.next >= page.records.len() && !page.has_gap {
            self.close_page(chat);
        }
    }

    /// Closes the page. If the tail contains all events after the last sent event, reading continues in the tail.
    pub(super) fn close_page(&mut self, chat: &Chat) {
        let Some(page) = self.page.take().filter(|page| !page.has_gap) else {
            return;
        };
        if let Some(membership) = self.rooms.iter_mut().find(|m| m.room == page.room) {
            let tail = chat.tail(Place::Room(page.room));
            let back = tail.and_then(|tail| tail.seq_after(membership.seen));
            membership.cursor = back.unwrap_or(membership.cursor).max(membership.cursor);
        }
    }

    fn after_reply(&mut self, then: AfterReply) {
        match then {
            AfterReply::Nothing => {}
            AfterReply::Leave(room) => {
                if let Some(at) = self.rooms.iter().position(|m| m.room == room) {
                    self.rooms.remove(at);
                }
                // The page belonged to the membership that has ended.
                self.page = self.page.take().filter(|page| page.room != room);
            }
            AfterReply::Hold(room) => {
                let mut rooms = self.rooms.iter_mut();
                if let Some(membership) = rooms.find(|m| m.room == room && !m.is_leaving) {
                    membership.waits_for_backlog = true;
                }
            }
            AfterReply::Dialect(dialect) => self.output = dialect,
            AfterReply::Close => self.phase = Phase::Over,
        }
    }

    /// Returns the index of the membership of `room`; `None` if the membership ends within `batch`.
    fn reading(&self, room: RoomId, batch: &Batch) -> Option<usize> {
        let mut rooms = self.rooms.iter().zip(&batch.cursors);
        rooms.position(|(membership, cursor)| membership.room == room && cursor.is_some())
    }

    /// Writes the events of `room` that come before the entry `to` and have ids below `before`. Returns false if there
    /// are more events than the batch or the page can hold.
    fn fill_room(
        &self,
        room: RoomId,
        to: Seq,
        before: u64,
        client: Writer<'_>,
        chat: &Chat,
        batch: &mut Batch,
    ) -> bool {
        let at = self.reading(room, batch);
        let Some((at, membership, from)) = at.and_then(|at| {
            let cursor = batch.cursors.get(at).copied()??;
            Some((at, self.rooms.get(at)?, cursor))
        }) else {
            return true;
        };
        if membership.waits_for_backlog {
            return true;
        }
        if let Some(page) = self.page_of(at) {
            return self.fill_page(page, before, client, chat, batch);
        }
        if membership.is_behind(chat) {
            return false;
        }
        let place = Place::Room(room);
        let next = self.fill_span(place, from, to, client, chat, batch);
        if let Some(cursor) = batch.cursors.get_mut(at) {
            *cursor = Some(next);
        }
        let end = chat.tail(place).map_or(0, Tail::end);
        next >= to.min(end)
    }

    /// Returns the unsent direct messages and notices of a connection that is ending.
    pub(super) fn unread(&self, chat: &Chat) -> Output {
        let mut batch = Batch::default();
        if self.is_open {
            let to = self.writer(self.input);
            self.fill_tail(Place::Everyone, self.notes, to, chat, &mut batch);
        }
        let mut unread = batch.own;
        unread.append(self.unread_inbox(chat));
        unread
    }

    /// Returns the unsent direct messages of a connection that is changing its nick.
    pub(super) fn unread_inbox(&self, chat: &Chat) -> Output {
        let mut batch = Batch::default();
        if let Some(nick) = self.nick {
            let to = self.writer(self.input);
            self.fill_tail(Place::Nick(nick), self.inbox, to, chat, &mut batch);
        }
        batch.own
    }

    /// Returns the page of the membership at index `at`. If there are two memberships of one room, the page belongs to
    /// the older membership.
    fn page_of(&self, at: usize) -> Option<&BacklogPage> {
        let page = self.page.as_deref()?;
        let owner = self.rooms.iter().position(|m| m.room == page.room);
        (owner == Some(at)).then_some(page)
    }

    /// Writes the page's records with ids below `before`. Returns false if the page or the batch ends before that id.
    fn fill_page(
        &self,
        page: &BacklogPage,
        before: u64,
        client: Writer<'_>,
        chat: &Chat,
        batch: &mut Batch,
    ) -> bool {
        let place = Place::Room(page.room);
        if page.has_gap && batch.page_next.is_none() {
            self.write_gap(place, client, chat, &mut batch.own);
            batch.run(Advance::Gap);
        }
        let mut next = batch.page_next.unwrap_or(page.next);
        batch.page_next = Some(next);
        while let Some(record) = page.records.get(next) {
            if before <= record.id.get() {
                return true;
            }
            if batch.is_full() {
                return false;
            }
            let mut last = record.id;
            if self.ignores(record.layout, &record.line) {
                next += 1;
            } else {
                // For a client that receives a text as one message, the lines of the text are one segment.
                let rest = page.records.get(next..).unwrap_or_default();
                let lines = lines_of_records(rest, client);
                for (n, record) in rest.iter().take(lines).enumerate() {
                    let event = Live {
                        line: &record.line,
                        layout: record.layout,
                        tags: &record.tags,
                        id: Some(record.id),
                        // A nick may have been ignored since the page was read.
                        quoted: record.quoted.as_deref().filter(|_| self.ignored.is_none()),
                        time: record.time,
                        ..self.live(place, chat)
                    };
                    let client = client.in_text(TextPart::of(n, lines));
                    client.write_event(event, &mut batch.own);
                    last = record.id;
                }
                next += lines;
            }
            batch.page_next = Some(next);
            batch.run(Advance::Paged(next, last));
        }
        false
    }

    fn fill_tail(
        &self,
        place: Place,
        from: Seq,
        client: Writer<'_>,
        chat: &Chat,
        batch: &mut Batch,
    ) {
        self.fill_span(place, from, Seq::MAX, client, chat, batch);
    }

    /// Writes the entries in `from..to` except the connection's own, as many as the batch has space for. Returns the
    /// number of the entry after the last handled entry.
    fn fill_span(
        &self,
        place: Place,
        mut from: Seq,
        to: Seq,
        client: Writer<'_>,
        chat: &Chat,
        batch: &mut Batch,
    ) -> Seq {
        let Some(tail) = chat.tail(place) else {
            return from;
        };
        let to = to.min(tail.end());
        if from >= to {
            return from;
        }
        let step = |start, seq| match place {
            Place::Everyone => Advance::Notices(seq),
            Place::Nick(_) => Advance::Inbox(seq),
            Place::Room(room) => Advance::Room(room, seq, tail.last_id(start, seq)),
        };
        if from < tail.first() {
            // The tail no longer contains some entries that this connection has not received.
            self.write_gap(place, client, chat, &mut batch.own);
            from = tail.first();
            batch.run(step(from, from));
        }
        let form = match place {
            Place::Room(room) => self.form(room, client).map(|form| (room, form)),
            Place::Everyone | Place::Nick(_) => None,
        };
        while from < to && !batch.is_full() {
            let start = from;
            if let Some((room, form)) = form {
                let span = SeqRange {
                    room,
                    form,
                    from,
                    to,
                };
                let write = |seq: Seq, out: &mut Output| {
                    let entry = tail.get(seq);
                    let verb = entry.and_then(|(entry, _)| entry.layout.verb());
                    if !form.shares(verb) {
                        return 0;
                    }
                    self.write_entry(place, seq, tail.end(), client, chat, out)
                };
                let step = |next| step(start, next);
                match batch.add_lines(span, tail, self.peer, write, step) {
                    Some(next) if next > start => {
                        from = next;
                        continue;
                    }
                    Some(_) => {}
                    None => break,
                }
            }
            // The entry must be written for this reader alone. It is skipped if it is the reader's own, or of a nick
            // that the reader ignores.
            if let Some((entry, line)) = tail.get(from)
                && entry.author != Some(self.peer)
                && (client.wants_copies() || !self.is_copy(place, entry.layout, line, chat))
                && !self.ignores(entry.layout, line)
            {
                from += self.write_entry(place, from, to, client, chat, &mut batch.own);
            } else {
                from += 1;
            }
            batch.run(step(start, from));
        }
        from
    }

    /// Returns whether an event in the tail of this connection's nick is one that another connection of the nick has sent
    /// to another user.
    fn is_copy(&self, place: Place, layout: EventLayout, line: &str, chat: &Chat) -> bool {
        let Place::Nick(nick) = place else {
            return false;
        };
        let own = chat.user(nick).map(|user| user.nick.as_str());
        own.is_some() && layout.nick(line) == own && layout.place(line) != own
    }

    /// If the connection shares the form of its live events in `room` with other readers, returns that form.
    fn form(&self, room: RoomId, client: Writer<'_>) -> Option<Form> {
        // A reader that ignores nicks receives lines of its own.
        let is_alike = self.ignored.is_none();
        is_alike.then(|| client.form(self.current() == Some(room)))?
    }

    /// Writes an entry of a tail. For a client that receives a text as one message, the lines of a text are written
    /// together, unless the text continues after `to`. Returns the number of entries written.
    fn write_entry(
        &self,
        place: Place,
        from: Seq,
        to: Seq,
        client: Writer<'_>,
        chat: &Chat,
        out: &mut Output,
    ) -> Seq {
        let Some(tail) = chat.tail(place) else {
            return 1;
        };
        let lines = if client.joins_texts() {
            let rest = (from..to).map_while(|seq| Some((tail.get(seq)?.0.id, tail.tags(seq))));
            lines_of_text(rest)
        } else {
            1
        };
        for (n, seq) in (from..to).take(lines).enumerate() {
            let Some((entry, line)) = tail.get(seq) else {
                break;
            };
            let quoted = if client.quotes() {
                self.quoted(tail, seq)
            } else {
                None
            };
            let event = Live {
                line,
                layout: entry.layout,
                tags: tail.tags(seq),
                id: entry.id,
                quoted: quoted.as_deref(),
                time: entry.time,
                is_registered: client.names_accounts()
                    && entry.layout.verb() == Some(EventVerb::Join)
                    && is_registered(entry.layout.nick(line), chat),
                ..self.live(place, chat)
            };
            let client = client.in_text(TextPart::of(n, lines));
            client.write_event(event, out);
        }
        lines as Seq
    }

    /// Returns the beginning of the message or file that an entry answers or reacts to, as it is now, unless it is too old,
    /// or was deleted, or the reader ignores its author.
    fn quoted(&self, tail: &Tail, seq: Seq) -> Option<String> {
        let (entry, line) = tail.get(seq)?;
        let of = human::answered(&entry.layout.event(line)?, tail.tags(seq))?;
        let at = tail.find(of)?;
        let (quoted, line) = tail.get(at)?;
        if self.ignores(quoted.layout, line) {
            return None;
        }
        let mut event = quoted.layout.event(line)?;
        let tags = tail.tags(at);
        let change = |id| {
            let (entry, line) = tail.get(tail.change(id)?)?;
            entry.layout.event(line)
        };
        // A text is deleted with its first line.
        let first = tags::find(tags, "of").and_then(|first| EventId::new(first.parse().ok()?));
        if let Some(Event::Remove { .. }) = first.and_then(change) {
            return None;
        }
        match (change(of), &mut event) {
            (Some(Event::Remove { .. }), _) => return None,
            (
                Some(Event::Edit { text: new, .. }),
                Event::Msg { text, .. } | Event::Me { text, .. },
            ) => *text = new,
            _ => {}
        }
        human::beginning(&event, tags)
    }

    /// Returns the properties that all events of `place` have in common for this reader.
    fn live(&self, place: Place, chat: &Chat) -> Live<'static> {
        Live {
            line: "",
            layout: EventLayout::default(),
            tags: "",
            id: None,
            quoted: None,
            time: Time(0),
            is_here: self.current().map(Place::Room) == Some(place),
            is_for_everyone: place == Place::Everyone,
            is_registered: false,
            utc_offset_s: chat.utc_offset_s,
        }
    }

    fn write_gap(&self, place: Place, client: Writer<'_>, chat: &Chat, out: &mut Output) {
        let name = match place {
            Place::Everyone => "*",
            Place::Room(room) => chat.room(room).map_or("?", |room| room.name.as_str()),
            Place::Nick(nick) => chat.user(nick).map_or("?", |user| user.nick.as_str()),
        };
        let was_slow = true;
        client.write(Line::Gap { of: name, was_slow }, out);
    }

    /// Writes the reply to an entry, after all earlier events of the entry's room. Returns false if the batch is full
    /// before the reply is written.
    fn fill_own(
        &self,
        reply: &EntryReply,
        kept: Committed,
        client: Writer<'_>,
        chat: &Chat,
        batch: &mut Batch,
    ) -> bool {
        if let Place::Room(room) = reply.place
            && let Some(at) = self.reading(room, batch)
        {
            let before = kept.id.map_or(u64::MAX, EventId::get);
            if !self.fill_room(room, kept.seq, before, client, chat, batch) {
                return false;
            }
            let in_page = self.page_of(at);
            let events = reply.events();
            // The reply to an event that was shown before belongs before the entry with this number.
            let tail = chat.tail(Place::Room(room));
            let at_place = tail.and_then(|tail| tail.last_id(kept.seq, kept.seq.saturating_add(1)));
            let is_own = at_place.is_some() && at_place == kept.id;
            let last = kept
                .id
                .and_then(|first| EventId::new(first.get() + events - 1));
            let passes = match (in_page, batch.page_next, batch.cursors.get_mut(at)) {
                (Some(page), Some(next), _) => {
                    let record = page.records.get(next);
                    let is_next = record.is_some_and(|record| Some(record.id) == kept.id);
                    last.filter(|_| is_next).map(|last| {
                        let rest = page.records.get(next..).unwrap_or_default();
                        let own = rest.iter().take_while(|record| record.id <= last);
                        Advance::Paged(next + own.count(), last)
                    })
                }
                (None, _, Some(Some(cursor))) if *cursor == kept.seq && is_own => {
                    *cursor += events;
                    Some(Advance::Room(room, *cursor, last))
                }
                _ => None,
            };
            if let Some(step) = passes {
                // The reply also advances the session past the entry: both segments end at the same byte.
                reply.write(kept, client, &mut batch.own);
                if let Advance::Paged(next, _) = step {
                    batch.page_next = Some(next);
                }
                batch.run(step);
                batch.run(Advance::Reply);
                return true;
            }
        }
        reply.write(kept, client, &mut batch.own);
        batch.run(Advance::Reply);
        true
    }
}

/// Returns how many of the first records the client receives as one message: the lines of a text for a client that
/// supports this, otherwise 1.
pub(super) fn lines_of_records(records: &[Record], client: Writer<'_>) -> usize {
    if !client.joins_texts() {
        return 1;
    }
    lines_of_text(
        records
            .iter()
            .map(|record| (Some(record.id), &*record.tags)),
    )
}

/// `records` is one of the pieces in which the log is read. If it ends within a text, removes that text's lines from
/// it, so that the next piece begins with the text. Keeps the lines of a text that is longer than a piece: each line is
/// then sent as a separate message.
pub(super) fn keep_whole_texts(records: &mut Vec<Record>) {
    let Some(last) = records.last() else {
        return;
    };
    let first = text_of(&last.tags).unwrap_or(last.id);
    let end = last.id.get();
    let begins = |record: &Record| record.id == first;
    let Some(at) = records.iter().rposition(begins).filter(|at| *at > 0) else {
        return;
    };
    let lines = records.get(at).and_then(|record| text_lines(&record.tags));
    if lines.is_some_and(|lines| first.get() + lines > end + 1) {
        records.truncate(at);
    }
}

/// Returns whether the nick that caused an event is registered.
fn is_registered(nick: Option<&str>, chat: &Chat) -> bool {
    let nick = nick.and_then(|nick| Nick::parse(nick).ok());
    nick.is_some_and(|nick| chat.is_registered(&nick))
}

impl EntryReply {
    /// Writes that the entry could not be stored.
    fn refuse(&self, refusal: &Refusal, client: Writer<'_>, out: &mut Output) {
        client.refuse(refusal, &self.body, out);
    }

    /// Returns the number of events that the entry became.
    fn events(&self) -> u64 {
        match self.body {
            ReplyBody::Lines(lines) => lines as u64,
            _ => self.own().map_or(1, |own| own.lines().count() as u64),
        }
    }

    /// If this is the reply to an IRC client that has sent a text of several lines, returns the text's size in bytes.
    /// Otherwise, returns 0.
    pub fn bytes(&self) -> usize {
        let more = self.own().and_then(|own| Some((own, own.more.as_deref()?)));
        more.map_or(0, |(own, more)| own.line.len() + more.len())
    }

    fn own(&self) -> Option<&OwnEvent> {
        match &self.body {
            ReplyBody::Event(own) => Some(own),
            ReplyBody::Labeled(labeled) => match &labeled.1 {
                ReplyBody::Event(own) => Some(own),
                _ => None,
            },
            _ => None,
        }
    }

    fn write(&self, kept: Committed, client: Writer<'_>, out: &mut Output) {
        if matches!(self.body, ReplyBody::Nothing) {
            return;
        }
        let decided = Line::Decided {
            verb: self.verb,
            id: kept.id,
            time: kept.time,
            body: &self.body,
        };
        client.write(decided, out);
    }
}
