//! `CHATHISTORY TARGETS` (IRCv3 draft): lists targets whose newest message is between two times. The targets are the
//! joined rooms and the nicks with which the connection's nick has exchanged direct messages.

use super::super::request::Done;
use super::super::{Effect, Session};
use super::history::is_message;
use crate::chat::Chat;
use crate::config::fixed::IRC_HISTORY_MAX;
use crate::dialect::irc::{Cap, IrcLine};
use crate::log::{HistorySource, LogQuery, LogResult, Record, Span};
use crate::protocol::{Nick, RoomName, Time};

/// The number of events in a piece. The log is read piece by piece.
const PIECE: usize = 50;

/// The maximum number of pieces to read from the log of one room. The maximum bounds the work for a room with many
/// reactions.
const ROOM_PIECES_MAX: usize = 4;

/// The maximum number of pieces to read from the direct messages.
const INBOX_PIECES_MAX: usize = 40;

/// A list of targets that is being collected. The log is read in pieces, backwards from the newest event.
#[derive(Debug)]
pub(in super::super) struct Targets {
    /// A target is listed if its newest message is later than `after` and earlier than `before`.
    after: Time,
    before: Time,
    wanted: usize,
    /// Whether the targets with the newest messages (`true`) or with the oldest (`false`) are kept if there are too
    /// many.
    is_backward: bool,
    /// The sources that have not been read completely. The last source is being read.
    left: Vec<HistorySource>,
    /// The id before which the next piece ends.
    before_id: u64,
    pieces: usize,
    /// The part of the current piece that has not been read yet, and the id of the event before the piece.
    span: Option<(Span, u64)>,
    /// The newest message to each target in the current piece.
    piece: Vec<Target>,
    found: Vec<Target>,
}

/// A target, and the time of its newest message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    /// The name of the room, or the casefolded nick.
    form: Box<str>,
    name: Box<str>,
    time: Time,
}

const NEWEST: u64 = u64::MAX >> 1;

impl Targets {
    fn new(left: Vec<HistorySource>, times: [Time; 2], wanted: usize) -> Self {
        let [first, last] = times;
        Self {
            after: first.min(last),
            before: first.max(last),
            wanted,
            is_backward: first > last,
            left,
            before_id: NEWEST,
            pieces: 0,
            span: None,
            piece: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Returns the next query; `None` if the list is complete.
    fn next_query(&mut self) -> Option<LogQuery> {
        let source = self.left.last()?.clone();
        Some(match self.span {
            Some((span, _)) => LogQuery::Read {
                source,
                span,
                count: PIECE,
                quotes: false,
            },
            None => LogQuery::Newest {
                source,
                before: self.before_id,
                count: PIECE,
            },
        })
    }

    /// Takes the result of a query.
    fn take(&mut self, result: LogResult) {
        match (result, self.span) {
            (LogResult::Span(span), None) if span.after < span.up_to => {
                self.pieces += 1;
                self.span = Some((span, span.after));
            }
            (LogResult::Records(page), Some((span, begin))) => {
                for record in &page.records {
                    self.see(record);
                }
                let last = page.records.last().map(|record| record.id.get());
                if let Some(after) = last.filter(|last| *last < span.up_to) {
                    self.span = Some((Span { after, ..span }, begin));
                    return;
                }
                let is_old = page
                    .records
                    .first()
                    .is_none_or(|record| record.time < self.after);
                self.end_piece(begin, is_old);
            }
            _ => self.end_source(),
        }
    }

    /// Remembers a message as the newest message of its target in the current piece.
    fn see(&mut self, record: &Record) {
        let Some(event) = record
            .layout
            .event(&record.line)
            .filter(|_| is_message(record))
        else {
            return;
        };
        let (form, name) = match self.left.last() {
            Some(HistorySource::Room(room)) => (room.as_str().to_owned(), room.as_str()),
            Some(HistorySource::Inbox(own)) => {
                let form = |name: &str| Nick::parse(name).map(|nick| nick.casefolded().to_owned());
                let (Ok(from), Ok(to)) = (form(event.nick()), form(event.place())) else {
                    return;
                };
                if from == own.casefolded() {
                    (to, event.place())
                } else {
                    (from, event.nick())
                }
            }
            None => return,
        };
        self.piece.retain(|target| *target.form != *form);
        self.piece.push(Target {
            form: form.into(),
            name: name.into(),
            time: record.time,
        });
    }

    /// Ends the current piece. Continues with the piece before it, unless the list is complete.
    fn end_piece(&mut self, begin: u64, is_old: bool) {
        for target in std::mem::take(&mut self.piece) {
            if self.found.iter().all(|known| known.form != target.form) {
                self.found.push(target);
            }
        }
        self.span = None;
        self.before_id = begin + 1;
        let is_done = match self.left.last() {
            Some(HistorySource::Room(room)) => {
                let is_found = self
                    .found
                    .iter()
                    .any(|target| *target.form == *room.as_str());
                is_found || self.pieces >= ROOM_PIECES_MAX
            }
            _ => self.pieces >= INBOX_PIECES_MAX,
        };
        if is_done || is_old || begin == 0 {
            self.end_source();
        }
    }

    fn end_source(&mut self) {
        self.left.pop();
        (self.span, self.before_id, self.pieces) = (None, NEWEST, 0);
    }

    /// Returns the targets that were requested, in the order of their newest messages.
    fn list(self) -> Vec<Target> {
        let is_in = |target: &Target| self.after < target.time && target.time < self.before;
        let mut found: Vec<_> = self.found.into_iter().filter(is_in).collect();
        found.sort_by_key(|target| target.time);
        if self.is_backward {
            found.reverse();
        }
        found.truncate(self.wanted);
        found
    }
}

impl Session {
    /// Handles `CHATHISTORY TARGETS`.
    pub(super) fn irc_targets(&mut self, line: &IrcLine<'_>, chat: &Chat) -> Done {
        let time = |at| {
            line.param(at)?
                .strip_prefix("timestamp=")
                .and_then(Time::parse)
        };
        let count = line.param(3).and_then(|count| count.parse::<usize>().ok());
        let (Some(first), Some(last), Some(count @ 1..)) = (time(1), time(2), count) else {
            let text =
                "usage: CHATHISTORY TARGETS timestamp=<time> timestamp=<time> <number above 0>";
            let params = ["CHATHISTORY", "INVALID_PARAMS", "TARGETS"];
            self.irc_send(|client, out| client.by_server("FAIL", &params, Some(text), out));
            return Ok(None);
        };
        let own = self
            .nick
            .and_then(|nick| chat.user(nick))
            .map(|user| &user.nick);
        let inbox = own.filter(|own| chat.is_registered(own));
        let inbox = inbox.map(|own| HistorySource::Inbox(own.clone().into()));
        let rooms = self.room_ids().into_iter().filter_map(|room| {
            let name = chat.room(room)?.name.clone();
            Some(HistorySource::Room(name))
        });
        let left = inbox.into_iter().chain(rooms).collect();
        let targets = Targets::new(left, [first, last], count.min(IRC_HISTORY_MAX));
        Ok(self.irc_read_targets(targets, chat))
    }

    fn irc_read_targets(&mut self, mut targets: Targets, chat: &Chat) -> Option<Effect> {
        if let Some(query) = targets.next_query() {
            return self.query_targets(targets, query);
        }
        let mut found = targets.list();
        // The connection may have left or been removed from a room since the request.
        let rooms = self.room_ids();
        found.retain(|target| {
            !target.name.starts_with('#')
                || RoomName::parse(&target.name)
                    .ok()
                    .and_then(|name| chat.find_room(&name))
                    .is_some_and(|room| rooms.contains(&room) && chat.may_read(room, self.nick))
        });
        self.irc_send(|client, out| {
            let has_batch = client.caps.has(Cap::Batch);
            if has_batch {
                let params = ["+targets", "draft/chathistory-targets"];
                client.by_server("BATCH", &params, None, out);
            }
            for target in &found {
                let time = target.time.to_string();
                if has_batch {
                    out.extend_from_slice(b"@batch=targets ");
                }
                let params = ["TARGETS", &*target.name, &*time];
                client.by_server("CHATHISTORY", &params, None, out);
            }
            if has_batch {
                client.by_server("BATCH", &["-targets"], None, out);
            }
        });
        None
    }

    /// Continues a list of targets with the result of a query.
    pub(in super::super) fn irc_got_targets(
        &mut self,
        mut targets: Targets,
        result: LogResult,
        chat: &Chat,
    ) -> Option<Effect> {
        targets.take(result);
        self.irc_read_targets(targets, chat)
    }

    /// Reports that the list cannot be made.
    pub(in super::super) fn irc_targets_failed(&mut self, text: &str) {
        let params = ["CHATHISTORY", "MESSAGE_ERROR", "TARGETS"];
        self.irc_send(|client, out| client.by_server("FAIL", &params, Some(text), out));
    }
}
