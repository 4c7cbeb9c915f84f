//! `CHATHISTORY` (IRCv3 draft): sends a page of past messages, which is selected by ids or times. If a page is shorter
//! than requested, clients conclude that there are no more messages. Therefore a page is filled with what the client
//! shows: messages and, with `draft/event-playback`, topics and reactions.

use super::super::output::keep_whole_texts;
use super::super::request::Done;
use super::super::{Effect, Session};
use crate::chat::Chat;
use crate::config::fixed::IRC_HISTORY_MAX as PAGE_MAX;
use crate::dialect::irc::{Cap, Caps, Client, IrcLine};
use crate::log::{HistorySource, LogQuery, LogResult, Record, Span};
use crate::protocol::event::EventVerb;
use crate::protocol::multiline::{TEXT_LINES_MAX, text_lines, text_of};
use crate::protocol::tags::is_removed;
use crate::protocol::{EventId, Nick, RoomName, Time};

/// The maximum number of pieces in which the log is read for one page; a piece has up to `PAGE_MAX` events. This
/// bounds the work for a room with many reactions.
const PIECES_MAX: usize = 40;

/// The beginning or end of a page: an event, or a time whose event is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    Id(u64),
    /// The last event before this time, in milliseconds.
    Time(u64),
}

/// The messages that a client has requested.
#[derive(Clone, Copy, Debug)]
struct Page {
    after: Edge,
    up_to: Edge,
    wanted: usize,
    /// Whether the first (`true`) or the last (`false`) messages in the range are requested.
    is_forward: bool,
    and_after: usize,
}

/// A page that is being read.
#[derive(Debug)]
pub(in super::super) struct ChatHistory {
    pub source: HistorySource,
    /// The room or nick, as the client spells it.
    target: Box<str>,
    /// The other nick of the conversation, casefolded; `None` for a room.
    peer: Option<Box<str>>,
    /// The page contains only events after this edge.
    after: Edge,
    /// The page contains only events up to this edge.
    up_to: Edge,
    /// The number of requested messages.
    wanted: usize,
    /// Whether the first (`true`) or the last (`false`) messages in the range are requested.
    is_forward: bool,
    /// For a page around an event: the number of messages requested after the event.
    and_after: usize,
    /// The capabilities of the client.
    caps: Caps,
    /// The ids of the found messages, oldest first. The messages are read again before they are sent, so that a page of
    /// long messages takes only the memory of one piece.
    found: Vec<u64>,
    /// The messages found so far in the current piece.
    piece: Vec<u64>,
    /// The part of the current piece that has not been read yet.
    span: Option<Span>,
    /// The id of the event before the current piece.
    before_piece: u64,
    /// While the log is searched by time: the lowest and the highest id that the wanted event can have.
    seek: Option<(u64, u64)>,
    pieces: usize,
    /// After all messages have been found: the part of the log that contains the unsent messages.
    unsent: Option<Span>,
}

impl ChatHistory {
    fn new(
        source: HistorySource,
        target: Box<str>,
        peer: Option<Box<str>>,
        page: Page,
        caps: Caps,
    ) -> Self {
        Self {
            source,
            target,
            peer,
            after: page.after,
            up_to: page.up_to,
            wanted: page.wanted,
            is_forward: page.is_forward,
            and_after: page.and_after,
            caps,
            found: Vec::new(),
            piece: Vec::new(),
            span: None,
            before_piece: 0,
            seek: None,
            pieces: 0,
            unsent: None,
        }
    }

    /// Returns the next query; `None` if the page is complete.
    fn next_query(&mut self, newest: u64) -> Option<LogQuery> {
        let source = self.source.clone();
        if let Some((low, high)) = self.seek_range(newest) {
            let middle = low + (high - low).div_ceil(2);
            let span = Span {
                after: middle - 1,
                up_to: high,
            };
            return Some(LogQuery::Read {
                source,
                span,
                count: 1,
                quotes: false,
            });
        }
        let (Edge::Id(after), Edge::Id(up_to)) = (self.after, self.up_to) else {
            return None;
        };
        let left = self.wanted.saturating_sub(self.found.len());
        if let Some(span) = self.unsent.or(self.span) {
            return Some(LogQuery::Read {
                source,
                span,
                count: PAGE_MAX,
                quotes: false,
            });
        }
        if left == 0 || after >= up_to || self.pieces >= PIECES_MAX {
            return None;
        }
        self.pieces += 1;
        if self.is_forward {
            let span = Span { after, up_to };
            return Some(LogQuery::Read {
                source,
                span,
                count: PAGE_MAX,
                quotes: false,
            });
        }
        let before = up_to + 1;
        Some(LogQuery::Newest {
            source,
            before,
            count: PAGE_MAX,
        })
    }

    /// Returns the lowest and the highest id that the event with the wanted time can have; `None` if no event must be
    /// searched by time any more.
    fn seek_range(&mut self, newest: u64) -> Option<(u64, u64)> {
        for edge in [&mut self.after, &mut self.up_to] {
            if !matches!(edge, Edge::Time(_)) {
                continue;
            }
            let (low, high) = *self.seek.get_or_insert((0, newest));
            if low < high {
                return Some((low, high));
            }
            *edge = Edge::Id(low);
            self.seek = None;
        }
        None
    }

    /// Takes the result of a query.
    fn take(&mut self, result: LogResult) {
        let sought = match (self.after, self.up_to) {
            (Edge::Time(time), _) | (_, Edge::Time(time)) => Some(time),
            _ => None,
        };
        match (result, sought, &mut self.seek) {
            (LogResult::Records(page), Some(time), Some((low, high))) => match page.records.first()
            {
                Some(record) if record.time.0 < time => *low = record.id.get(),
                // No event after the middle of the range is earlier than the wanted time.
                _ => *high = *low + (*high - *low).div_ceil(2) - 1,
            },
            (LogResult::Span(span), ..) => {
                self.before_piece = span.after;
                let after = match self.after {
                    Edge::Id(after) => span.after.max(after),
                    Edge::Time(_) => span.after,
                };
                let span = Span { after, ..span };
                self.span = (span.after < span.up_to).then_some(span);
                if self.span.is_none() {
                    self.end();
                }
            }
            (LogResult::Records(page), ..) if self.is_forward => {
                match page.records.last() {
                    Some(last) => self.after = Edge::Id(last.id.get()),
                    None => self.end(),
                }
                let left = self.wanted.saturating_sub(self.found.len());
                let shown = self.shown(&page.records).take(left);
                self.found.extend(shown.collect::<Vec<_>>());
            }
            (LogResult::Records(page), ..) => self.take_piece(&page.records),
            _ => self.end(),
        }
    }

    /// Adds records to the current piece. Pieces are read backwards: when the current piece is complete, the piece
    /// before it is next.
    fn take_piece(&mut self, records: &[Record]) {
        let Some(span) = self.span else {
            return;
        };
        let shown = self.shown(records).collect::<Vec<_>>();
        self.piece.extend(shown);
        let last = records.last().map(|record| record.id.get());
        if let Some(last) = last.filter(|last| *last < span.up_to) {
            self.span = Some(Span {
                after: last,
                ..span
            });
            return;
        }
        self.span = None;
        self.up_to = Edge::Id(self.before_piece);
        let mut found = std::mem::take(&mut self.piece);
        found.append(&mut self.found);
        let beyond = found.len().saturating_sub(self.wanted);
        self.found = found.split_off(beyond);
    }

    /// Returns the ids of the records that the client shows as messages.
    fn shown(&self, records: &[Record]) -> impl Iterator<Item = u64> {
        let shown = records.iter().filter(|record| self.is_shown(record));
        shown.map(|record| record.id.get())
    }

    /// Returns whether the client shows an event as a message of this page.
    fn is_shown(&self, record: &Record) -> bool {
        if !is_message(record) && !self.plays(record) {
            return false;
        }
        if self.caps.joins_texts() && text_of(&record.tags).is_some() {
            return false;
        }
        let (HistorySource::Inbox(own), Some(peer)) = (&self.source, &self.peer) else {
            return true;
        };
        let Some(event) = record.layout.event(&record.line) else {
            return false;
        };
        let form = |name: &str| Nick::parse(name).map(|nick| nick.casefolded().to_owned());
        let (Ok(from), Ok(to)) = (form(event.nick()), form(event.place())) else {
            return false;
        };
        let own = own.casefolded();
        (*from == **peer && to == own) || (from == own && *to == **peer)
    }

    /// Returns whether the client also receives `record`, an event that is not a message.
    fn plays(&self, record: &Record) -> bool {
        self.caps.has(Cap::EventPlayback)
            && match record.layout.verb() {
                Some(EventVerb::Topic) => true,
                Some(EventVerb::React | EventVerb::Unreact) => self.caps.has(Cap::MessageTags),
                _ => false,
            }
    }

    /// Removes the records that are not part of the page, and updates the unsent part of the log.
    fn send(&mut self, records: &mut Vec<Record>) {
        if self.caps.joins_texts() {
            keep_whole_texts(records);
        }
        let end = self.found.last().copied().unwrap_or_default();
        let text_of = |record: &Record| text_of(&record.tags).map(EventId::get);
        self.unsent = self.unsent.and_then(|span| {
            let last = records.last()?;
            let after = last.id.get();
            // If the last message is a text of several lines, its other lines are sent too.
            let is_inside =
                after < end || text_lines(&last.tags).is_some() || text_of(last) == Some(end);
            (is_inside && after < span.up_to).then_some(Span { after, ..span })
        });
        records.retain(|record| {
            let text = text_of(record).filter(|_| self.caps.joins_texts());
            let id = text.unwrap_or(record.id.get());
            self.found.binary_search(&id).is_ok()
        });
    }

    /// Ends the search, because the log has no more events in the range.
    fn end(&mut self) {
        (self.span, self.pieces) = (None, PIECES_MAX);
    }

    /// Continues after the first half of a page around an event. Returns whether there is a second half.
    fn go_on(&mut self) -> bool {
        let more = std::mem::take(&mut self.and_after);
        if more == 0 {
            return false;
        }
        self.pieces = 0;
        self.is_forward = true;
        self.wanted += more;
        true
    }
}

/// Parses `*`, `msgid=…` or `timestamp=…`; returns `None` for anything else. `msgid=` names the event with the given
/// id; `timestamp=` names the first event that is not before the given time.
fn read_edge(text: &str) -> Option<Option<Edge>> {
    if text == "*" {
        return Some(None);
    }
    let (kind, value) = text.split_once('=')?;
    match kind {
        "msgid" => Some(Some(Edge::Id(EventId::parse(value)?.get()))),
        "timestamp" => Some(Some(Edge::Time(Time::parse(value)?.0))),
        _ => None,
    }
}

/// Returns whether a client shows the record as a message.
pub(super) fn is_message(record: &Record) -> bool {
    let verb = record.layout.verb();
    matches!(verb, Some(EventVerb::Msg | EventVerb::Me | EventVerb::File))
        && !is_removed(&record.tags)
}

/// Returns the beginning of a page that contains only events after `edge`.
fn after(edge: Edge) -> Edge {
    match edge {
        Edge::Id(id) => Edge::Id(id),
        Edge::Time(time) => Edge::Time(time.saturating_add(1)),
    }
}

/// Returns the end of a page that contains only events before `edge`.
fn before(edge: Edge) -> Edge {
    match edge {
        Edge::Id(id) => Edge::Id(id.saturating_sub(1)),
        time => time,
    }
}

impl Session {
    /// Handles `CHATHISTORY`.
    pub(super) fn irc_chathistory(&mut self, line: &IrcLine<'_>, chat: &Chat) -> Done {
        let word = line.param(0).unwrap_or_default().to_ascii_uppercase();
        if word == "TARGETS" {
            return self.irc_targets(line, chat);
        }
        let fail = |session: &mut Self, why: &str, about: &[&str], text: &str| {
            let params = [&["CHATHISTORY", why], about].concat();
            session.irc_send(|client, out| client.by_server("FAIL", &params, Some(text), out));
            Ok(None)
        };
        let edges = usize::from(word == "BETWEEN") + 1;
        if !matches!(&*word, "LATEST" | "BEFORE" | "AFTER" | "AROUND" | "BETWEEN") {
            let text = "unknown subcommand; use LATEST, BEFORE, AFTER, AROUND, BETWEEN or TARGETS";
            return fail(
                self,
                "INVALID_PARAMS",
                &[if word.is_empty() { "*" } else { &word }],
                text,
            );
        }
        let (Some(target), Some(count)) = (line.param(1), line.param(2 + edges)) else {
            return fail(
                self,
                "INVALID_PARAMS",
                &[&word],
                "a parameter is missing after the subcommand",
            );
        };
        let given = line.params.get(2..2 + edges).unwrap_or_default();
        let given: Option<Vec<_>> = given.iter().map(|text| read_edge(text)).collect();
        let count = count.parse().ok().filter(|count| *count > 0);
        let (Some(given), Some(count)) = (given, count) else {
            let text =
                "write each event as msgid=<id> or timestamp=<time>, and then a number above 0";
            return fail(self, "INVALID_PARAMS", &[&word], text);
        };
        let count: usize = PAGE_MAX.min(count);
        let all = Edge::Id(EventId::MAX.get() - 1);
        let none = Edge::Id(0);
        let (first, last, is_forward, wanted) = match (&*word, &given[..]) {
            ("LATEST", [edge]) => (edge.map_or(none, after), all, false, count),
            ("BEFORE", [Some(edge)]) => (none, before(*edge), false, count),
            ("AFTER", [Some(edge)]) => (after(*edge), all, true, count),
            ("AROUND", [Some(edge)]) => (none, before(*edge), false, count / 2),
            ("BETWEEN", [Some(one), Some(other)]) if one < other => {
                (after(*one), before(*other), true, count)
            }
            ("BETWEEN", [Some(one), Some(other)]) => (after(*other), before(*one), false, count),
            _ => {
                return fail(
                    self,
                    "INVALID_PARAMS",
                    &[&word],
                    "* can be used only with LATEST",
                );
            }
        };
        let Some((source, name, peer)) = self.irc_history_of(target, chat) else {
            let text = "you are not in that room, or those direct messages are not saved";
            return fail(self, "INVALID_TARGET", &[&word, target], text);
        };
        let is_around = word == "AROUND";
        let page = Page {
            after: first,
            up_to: last,
            wanted,
            is_forward,
            and_after: if is_around { count - wanted } else { 0 },
        };
        let caps = self.irc.as_deref().map(|irc| irc.client.caps);
        let history = ChatHistory::new(source, name, peer, page, caps.unwrap_or_default());
        Ok(self.irc_read_history(history, chat))
    }

    /// Returns the log of a target: a room that this connection is in, or the direct messages with another nick.
    fn irc_history_of(
        &self,
        target: &str,
        chat: &Chat,
    ) -> Option<(HistorySource, Box<str>, Option<Box<str>>)> {
        if target.starts_with('#') {
            let room = chat.find_room(&RoomName::parse(target).ok()?)?;
            let name = chat.room(room)?.name.clone();
            let may_read = self.room_ids().contains(&room) && chat.may_read(room, self.nick);
            let shown = name.as_str().into();
            return may_read.then_some((HistorySource::Room(name), shown, None));
        }
        let own = chat.user(self.nick?)?.nick.clone();
        let peer = Nick::parse(target).ok()?;
        let is_kept = chat.is_registered(&own) && chat.is_registered(&peer);
        let peer_form = peer.casefolded().into();
        is_kept.then(|| {
            (
                HistorySource::Inbox(own.into()),
                target.into(),
                Some(peer_form),
            )
        })
    }

    /// Queries the next part of a page. When all messages are found, begins to send them.
    fn irc_read_history(&mut self, mut history: ChatHistory, chat: &Chat) -> Option<Effect> {
        loop {
            if let Some(query) = history.next_query(chat.newest_id()) {
                return self.query_chat_history(history, query);
            }
            let from = history.found.last().copied();
            if !history.go_on() {
                break;
            }
            // A page around an event continues where the first half of the page has ended.
            history.after = Edge::Id(
                from.or(match history.up_to {
                    Edge::Id(id) => Some(id),
                    Edge::Time(_) => None,
                })
                .unwrap_or_default(),
            );
            history.up_to = Edge::Id(EventId::MAX.get() - 1);
        }
        let target = &history.target;
        self.irc_batch(|client, out| {
            let params = ["+history", "chathistory", target];
            client.by_server("BATCH", &params, None, out);
        });
        let (Some(first), Some(last)) = (history.found.first(), history.found.last()) else {
            self.irc_end_history();
            return None;
        };
        // If the last message is a text of several lines, its other lines follow.
        let more = if history.caps.joins_texts() {
            TEXT_LINES_MAX as u64 - 1
        } else {
            0
        };
        let up_to = last.saturating_add(more).min(chat.newest_id());
        let span = Span {
            after: first - 1,
            up_to,
        };
        history.unsent = Some(span);
        let query = history.next_query(chat.newest_id())?;
        self.query_chat_history(history, query)
    }

    /// Continues a page with the result of a query.
    pub(in super::super) fn irc_got_history(
        &mut self,
        mut history: ChatHistory,
        result: LogResult,
        chat: &Chat,
    ) -> Option<Effect> {
        if history.unsent.is_none() {
            history.take(result);
            return self.irc_read_history(history, chat);
        }
        let LogResult::Records(mut page) = result else {
            self.irc_end_history();
            return None;
        };
        history.send(&mut page.records);
        self.irc_send_history(&page.records, chat);
        if history.unsent.is_none() {
            self.irc_end_history();
            return None;
        }
        let query = history.next_query(chat.newest_id())?;
        self.query_chat_history(history, query)
    }

    /// Ends a page that cannot be read completely.
    pub(in super::super) fn irc_history_failed(&mut self, history: &ChatHistory, text: &str) {
        let params = ["CHATHISTORY", "MESSAGE_ERROR", &*history.target];
        self.irc_send(|client, out| client.by_server("FAIL", &params, Some(text), out));
        if history.unsent.is_some() {
            self.irc_end_history();
        }
    }

    fn irc_end_history(&mut self) {
        self.irc_batch(|client, out| client.by_server("BATCH", &["-history"], None, out));
    }

    /// Queues a line that begins or ends a batch, if the client supports batches.
    fn irc_batch(&mut self, write: impl FnOnce(&Client, &mut Vec<u8>)) {
        let irc = self.irc.as_deref();
        if irc.is_some_and(|irc| irc.client.caps.has(Cap::Batch)) {
            self.irc_send(write);
        }
    }

    fn irc_send_history(&mut self, records: &[Record], chat: &Chat) {
        let Some(irc) = self.irc.as_deref_mut() else {
            return;
        };
        irc.client.batch = irc.client.caps.has(Cap::Batch).then_some("history");
        irc.client.replays = true;
        self.push_history(records, chat);
        if let Some(irc) = self.irc.as_deref_mut() {
            irc.client.replays = false;
            irc.client.batch = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::HistoryPage;
    use crate::protocol::Event;

    /// Returns the records of a log. The ids have gaps, two events have the same time, and every third event is a
    /// topic.
    fn log() -> Vec<Record> {
        let record = |n: u64| {
            let line = match n % 3 {
                0 => format!("TOPIC #a bob {n}"),
                _ => format!("MSG #a bob {n}"),
            };
            Record {
                id: EventId::new(n * 7).expect("it is not 0"),
                time: Time(n / 2 * 10),
                tags: "".into(),
                layout: Event::parse(&line).expect("it is an event").layout(),
                line,
                quoted: None,
            }
        };
        (1..300).map(record).collect()
    }

    /// Answers a query in small pieces, as a log does.
    fn answer(log: &[Record], query: LogQuery) -> LogResult {
        let copy = |record: &Record| Record {
            tags: record.tags.clone(),
            line: record.line.clone(),
            quoted: None,
            ..*record
        };
        match query {
            LogQuery::Read { span, count, .. } => {
                let inside =
                    |record: &&Record| (span.after + 1..=span.up_to).contains(&record.id.get());
                let records = log
                    .iter()
                    .filter(inside)
                    .take(count.min(13))
                    .map(copy)
                    .collect();
                LogResult::Records(HistoryPage {
                    records,
                    has_hole: false,
                })
            }
            LogQuery::Newest { before, count, .. } => {
                let older: Vec<_> = log
                    .iter()
                    .filter(|record| record.id.get() < before)
                    .collect();
                let newest = older
                    .get(older.len().saturating_sub(count)..)
                    .unwrap_or_default();
                let after = newest.first().map_or(0, |record| record.id.get() - 1);
                let up_to = newest.last().map_or(0, |record| record.id.get());
                LogResult::Span(Span { after, up_to })
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn check(first: Edge, last: Edge, is_forward: bool, wanted: usize) {
        let log = log();
        let room = std::sync::Arc::new(RoomName::parse("#a").expect("it is a room's name"));
        let page = Page {
            after: first,
            up_to: last,
            wanted,
            is_forward,
            and_after: 0,
        };
        let source = HistorySource::Room(room);
        let mut history = ChatHistory::new(source, "#a".into(), None, page, Caps::NONE);
        let mut queries = 0;
        while let Some(query) = history.next_query(299 * 7) {
            history.take(answer(&log, query));
            queries += 1;
            assert!(queries < 200, "it does not end");
        }
        let is_in = |record: &&Record| {
            let is_after = match first {
                Edge::Id(id) => record.id.get() > id,
                Edge::Time(time) => record.time.0 >= time,
            };
            let is_before = match last {
                Edge::Id(id) => record.id.get() <= id,
                Edge::Time(time) => record.time.0 < time,
            };
            is_after && is_before && record.layout.verb() == Some(EventVerb::Msg)
        };
        let mut expected: Vec<u64> = log
            .iter()
            .filter(is_in)
            .map(|record| record.id.get())
            .collect();
        if is_forward {
            expected.truncate(wanted);
        } else {
            expected = expected.split_off(expected.len().saturating_sub(wanted));
        }
        assert_eq!(
            history.found, expected,
            "{first:?} to {last:?}, {wanted}, forward: {is_forward}"
        );
    }

    #[test]
    fn a_page_has_the_requested_messages_and_only_messages_count() {
        let edges = [0, 1, 7, 8, 500, 701, 2092, 2093, 9000];
        let edges = edges.map(|n| [Edge::Id(n), Edge::Time(n)]).concat();
        for first in &edges {
            for last in &edges {
                for wanted in [1, 30, PAGE_MAX] {
                    check(*first, *last, true, wanted);
                    check(*first, *last, false, wanted);
                }
            }
        }
    }
}
