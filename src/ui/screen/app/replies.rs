//! Handles the replies to requests.

use super::super::super::ask::FOUND_MAX;
use super::super::super::renderer::{SEARCH_CUT, done};
use super::super::extras::Extras;
use super::super::list::{Row, RowAction};
use super::super::room::{Entry, EntryKind, PAGE, Room, View};
use super::rooms::is_same_nick;
use super::updates::{lines_of, note_away};
use super::{App, PendingRequest};
use crate::client::{ClientState, Error, LoggedEvent, Reply, RequestId, RoomInfo};
use crate::protocol::human::{describe, plural, size};
use crate::protocol::text::clean;
use crate::protocol::{Code, Event, EventId, Time};

impl App {
    /// Processes the reply to a request.
    pub(super) fn answer(
        &mut self,
        request_id: RequestId,
        result: Result<Reply, Error>,
        state: &mut ClientState,
    ) {
        let Some(ask) = self.pending_requests.remove(&request_id) else {
            return;
        };
        let reply = match result {
            Ok(reply) => reply,
            Err(error) => return self.refused(ask, request_id, &error),
        };
        match ask {
            PendingRequest::Members(room) => {
                let nicks = self.users(&reply);
                if let Some(room) = self.find(&room).and_then(|at| self.rooms.get_mut(at)) {
                    room.set_members(nicks);
                }
            }
            PendingRequest::Topic(room) | PendingRequest::TopicSet(room) => {
                let topic = clean(reply.topic().unwrap_or_default()).into_owned();
                if let Some(at) = self.find(&room)
                    && let Some(room) = self.rooms.get_mut(at)
                {
                    room.topic = topic;
                }
            }
            PendingRequest::TopicChanged(room) => {
                let mut topics = Vec::new();
                for logged in reply.events() {
                    let extras = Extras::of(&logged.tags);
                    if matches!(logged.event, Event::Topic { .. })
                        && let Some(what) = self.seen_as(&logged.event, &extras)
                    {
                        topics.push(self.entry(Some(logged.id), Some(logged.time), what));
                    }
                }
                if let Some(at) = self.find(&room)
                    && let Some(room) = self.rooms.get_mut(at)
                {
                    for topic in topics {
                        room.push(topic);
                    }
                }
            }
            PendingRequest::Newest(room) | PendingRequest::Older(room) => {
                let (page, removed) = self.page(&reply);
                if let Some(at) = self.find(&room)
                    && let Some(room) = self.rooms.get_mut(at)
                {
                    room.is_loading = false;
                    let is_all = reply.lines.len() < PAGE;
                    if room.first_id().is_none() {
                        let newest = page.last().and_then(|e| e.id).unwrap_or(0);
                        room.at_end = newest >= room.last_id || is_all;
                    }
                    room.put_before(page, is_all);
                    removed.into_iter().for_each(|id| room.remove(id));
                    room.count_new(at == self.at);
                }
            }
            PendingRequest::Newer(room) => {
                let (page, removed) = self.page(&reply);
                if let Some(at) = self.find(&room)
                    && let Some(room) = self.rooms.get_mut(at)
                {
                    room.is_loading = false;
                    room.put_after(page, reply.lines.len() < PAGE);
                    removed.into_iter().for_each(|id| room.remove(id));
                }
            }
            PendingRequest::Around(name, id) => {
                let (page, removed) = self.page(&reply);
                if let Some(at) = self.find(&name)
                    && let Some(room) = self.rooms.get_mut(at)
                {
                    room.is_loading = false;
                    room.clear();
                    room.put_before(page, reply.lines.len() < PAGE);
                    room.at_end = false;
                    removed.into_iter().for_each(|id| room.remove(id));
                    if let Some(index) = room.find(id) {
                        room.view = View::At {
                            seq: room.seq(index),
                            hidden: 0,
                        };
                    }
                    self.go(at);
                }
            }
            PendingRequest::First(name) => {
                let (page, removed) = self.page(&reply);
                let Some(at) = self.find(&name) else { return };
                if let Some(room) = self.rooms.get_mut(at) {
                    room.is_loading = false;
                    room.clear();
                    room.put_before(page, true);
                    room.at_end = reply.lines.len() < PAGE;
                    removed.into_iter().for_each(|id| room.remove(id));
                }
                if at == self.at {
                    self.scroll(isize::MAX / 2, state);
                }
            }
            PendingRequest::Search(of, words) => {
                let is_of_many = !of.starts_with('#');
                let rows = self.found(&reply, is_of_many, |place, id| {
                    Some(RowAction::Jump(place.to_owned(), id))
                });
                let place = match &of[..] {
                    "*" => "all rooms",
                    "@" => "direct messages",
                    room => room,
                };
                let count = match rows.len() {
                    FOUND_MAX.. => format!("the newest {FOUND_MAX} messages"),
                    count => plural(count, "message", "messages"),
                };
                let title = format!("{words:?} in {place}: {count}");
                let is_cut = reply.is_cut();
                self.show(title, rows, "nothing was found");
                if is_cut {
                    self.complain(SEARCH_CUT);
                }
            }
            PendingRequest::Files(room) => {
                // The list of direct messages has the files of all chats.
                let is_here = |place: &str| room.starts_with('#') || is_same_nick(place, &room);
                let rows = self.found(&reply, false, |place, id| {
                    is_here(place).then_some(RowAction::Download(id))
                });
                let title = format!("files in {room}: Enter downloads one");
                self.show(
                    title,
                    rows,
                    "there are no files here; upload one with /upload PATH",
                );
            }
            PendingRequest::Rooms { is_shown } => {
                let rooms = reply.rooms();
                self.server_rooms = rooms.iter().map(|room| room.name.clone()).collect();
                let row = |room: &RoomInfo| Row {
                    head: format!("{:>5} ", room.members),
                    text: clean(format!("{}  {}", room.name, room.topic).trim_end()).into_owned(),
                    action: RowAction::Join(room.name.clone()),
                };
                let rows = rooms.iter().map(row).collect();
                if is_shown {
                    self.show("rooms: Enter joins one".into(), rows, "there are no rooms");
                }
            }
            PendingRequest::Who(room) => {
                let mut nicks = self.users(&reply);
                let row = |nick: String| Row {
                    head: String::new(),
                    text: match self.away.get(&nick) {
                        Some(text) => format!("{nick} (away: {text})"),
                        None => nick.clone(),
                    },
                    action: RowAction::Query(nick),
                };
                nicks.sort_by_key(|nick| nick.to_lowercase());
                let title = format!(
                    "{} in {room}: Enter opens a private chat",
                    plural(nicks.len(), "person", "people")
                );
                let rows = nicks.into_iter().map(row).collect();
                self.show(title, rows, "nobody is here");
            }
            PendingRequest::Tell(nick, text, answers) => {
                let mut words = reply.rest.split(' ');
                let id = words.next().and_then(EventId::parse);
                let time = words.next().and_then(Time::parse);
                let at = self.open(&nick);
                let lines = text.contains('\n').then(|| text.lines().count() as u64);
                let extras = Extras {
                    reply: answers,
                    lines,
                    ..Extras::default()
                };
                if let Some(room) = self.rooms.get_mut(at) {
                    room.pending
                        .retain(|pending| pending.request_id != request_id);
                }
                for (n, (text, extras)) in lines_of(&text, id, extras).enumerate() {
                    let id = id.and_then(|first| EventId::new(first.get() + n as u64));
                    let nick = self.nick.clone();
                    let entry = self.entry(id, time, EntryKind::Msg { nick, text });
                    if let Some(room) = self.rooms.get_mut(at) {
                        room.push(Entry { extras, ..entry });
                    }
                }
            }
            PendingRequest::Join => {
                let name = reply.rest.split(' ').next().unwrap_or_default().to_owned();
                if let Some(at) = self.find(&name) {
                    self.go(at);
                }
            }
            PendingRequest::Away(text) => {
                if text.is_empty() {
                    self.notify("you are back");
                } else if self.own_away != text {
                    self.notify(format!(
                        "others see that you are away: {text}; /away when you are back"
                    ));
                }
                note_away(&mut self.away, &self.nick, &text);
                self.own_away = text;
            }
            PendingRequest::Said(..) => {}
            PendingRequest::Edited(name, id, text) => {
                let me = self.nick.clone();
                if let Some(room) = self.find(&name).and_then(|at| self.rooms.get_mut(at)) {
                    room.edit(id, &me, &text);
                }
            }
            PendingRequest::Reacted(name, id, emoji, is_on) => {
                let me = self.nick.clone();
                if let Some(room) = self.find(&name).and_then(|at| self.rooms.get_mut(at)) {
                    if reply.rest.starts_with("- ") {
                        // The reaction existed already, so it is counted already.
                        room.correct_reaction(id, &me, &emoji, is_on);
                    } else {
                        room.react(id, &me, &emoji, is_on, None);
                    }
                }
            }
            PendingRequest::Reactions => self.show_reactions(&reply),
            PendingRequest::Quoted(name, id) => self.quoted(&name, id, &reply),
            PendingRequest::Registered => {
                self.notify(format!(
                    "{} is now registered to you; to log in on another machine, create a token here with /token LABEL",
                    reply.rest
                ));
                self.begin_reading(state);
            }
            PendingRequest::Account => self.account(&reply),
            PendingRequest::Readers => self.readers(&reply),
            PendingRequest::Read => {}
            PendingRequest::Token => {
                let (label, token) = reply.rest.split_once(' ').unwrap_or(("", &reply.rest));
                if token.starts_with("SHA256:") {
                    self.notify(format!(
                        "you can now log in over ssh with the key {label}: {token}"
                    ));
                } else {
                    let title = format!(
                        "the token {label} for your nick, shown only once: Enter copies it"
                    );
                    let row = Row {
                        head: String::new(),
                        text: token.to_owned(),
                        action: RowAction::Copy(token.to_owned()),
                    };
                    self.show(clean(&title).into_owned(), vec![row], "");
                }
            }
            PendingRequest::Removed(room, id) => {
                if let Some(room) = self.find(&room).and_then(|at| self.rooms.get_mut(at)) {
                    room.remove(id);
                }
            }
            PendingRequest::Other(verb) => {
                for line in &reply.lines {
                    self.note_here(format!("· {}", clean(line.as_str())));
                }
                self.notify(done(&verb, &reply.rest));
            }
        }
        self.fetch_quotes(state);
        self.fetch_missing(state);
    }

    /// Processes a refusal.
    fn refused(&mut self, ask: PendingRequest, request_id: RequestId, error: &Error) {
        let why = match error {
            Error::Refused { text, .. } => clean(text).into_owned(),
            other => other.to_string(),
        };
        for room in &mut self.rooms {
            room.pending
                .retain(|pending| pending.request_id != request_id);
        }
        let trouble = |what: &str| {
            let what = what.replace('\n', " ");
            EntryKind::Trouble(format!("· not sent: {what} ({why})"))
        };
        match ask {
            PendingRequest::Members(room)
            | PendingRequest::Topic(room)
            | PendingRequest::Newest(room)
            | PendingRequest::Older(room)
            | PendingRequest::Newer(room)
            | PendingRequest::Around(room, _)
            | PendingRequest::First(room) => {
                if let Some(at) = self.find(&room)
                    && let Some(room) = self.rooms.get_mut(at)
                {
                    room.is_loading = false;
                    room.at_start = true;
                }
            }
            PendingRequest::Quoted(..) | PendingRequest::TopicChanged(_) => {}
            PendingRequest::Account | PendingRequest::Readers | PendingRequest::Read => {
                self.reading_refused(error.refusal() == Some(Code::NoSuchRoom));
            }
            PendingRequest::Tell(place, text, _) | PendingRequest::Said(place, text) => {
                let entry = self.entry(None, None, trouble(&text));
                // A room that is not joined is not on the screen, so the error is shown in the current room.
                let at = if place.starts_with('#') {
                    self.find(&place).unwrap_or(self.at)
                } else {
                    self.open(&place)
                };
                if let Some(room) = self.rooms.get_mut(at) {
                    room.push(entry);
                    room.editor.remember(&text);
                }
            }
            _ => self.complain(why),
        }
    }

    /// Returns the nicks in a reply to `WHO`, safe for a terminal. Notes which of them are away.
    fn users(&mut self, reply: &Reply) -> Vec<String> {
        let users = reply.users_and_away().into_iter();
        let note = |(nick, text): (String, String)| {
            let nick = clean(&nick).into_owned();
            note_away(&mut self.away, &nick, &text);
            nick
        };
        users.map(note).collect()
    }

    /// Returns the entries of a page of the log, and the ids of the deleted events in it.
    fn page(&self, reply: &Reply) -> (Vec<Entry>, Vec<u64>) {
        let (mut page, mut removed) = (Vec::new(), Vec::new());
        for LoggedEvent {
            id,
            time,
            tags,
            event,
        } in reply.events()
        {
            if let Event::Remove { id, .. } = event {
                removed.push(id);
            }
            let extras = Extras::of(&tags);
            if let Some(what) = self.seen_as(&event, &extras) {
                page.push(self.entry(Some(id), Some(time), what).with_extras(extras));
            }
        }
        (page, removed)
    }

    /// Returns the rows for a list of events. `action` gets the room and the id of each event; if it returns `None`, the
    /// event gets no row. If the list is of events from many rooms (`is_of_many`), each row names its room.
    fn found(
        &self,
        reply: &Reply,
        is_of_many: bool,
        action: impl Fn(&str, u64) -> Option<RowAction>,
    ) -> Vec<Row> {
        let row = |LoggedEvent {
                       id, time, event, ..
                   }| {
            let at = self
                .entry(Some(id), Some(time), EntryKind::Note(String::new()))
                .at;
            let text = match &event {
                Event::File {
                    nick,
                    file,
                    length,
                    name,
                    ..
                } => {
                    let length = length.map_or("uploading".to_owned(), size);
                    format!("{name}  {length}  by {nick}  {file}")
                }
                event => {
                    let text = describe(event);
                    text.strip_prefix("-- ").unwrap_or(&text).to_owned()
                }
            };
            let place = self.chat_of(&event);
            let action = action(place, id.get())?;
            let text = if is_of_many {
                format!("{place} {text}")
            } else {
                text
            };
            Some(Row {
                head: self.date_and_time(at),
                text: clean(&text).into_owned(),
                action,
            })
        };
        reply.events().into_iter().filter_map(row).collect()
    }
}

impl Room {
    /// Marks the messages up to `id` as read, because the user has read them on another device.
    pub(super) fn read_elsewhere(&mut self, id: u64) {
        if self.new_after.is_none_or(|after| after < id) {
            self.new_after = Some(id);
            self.mark_read();
            self.count_new(false);
        }
    }

    /// Counts the messages after the read position as unread, if that position is known. Does nothing for the room that
    /// is shown (`is_here`), or if messages have been counted already.
    fn count_new(&mut self, is_here: bool) {
        let Some(after) = self.new_after else { return };
        if is_here || self.unread > 0 {
            return;
        }
        let is_new = |entry: &&Entry| {
            entry.id.is_some_and(|id| id > after) && !entry.is_mine && entry.kind.nick().is_some()
        };
        self.unread = self.entries().filter(is_new).count();
        self.mentions = self
            .entries()
            .filter(is_new)
            .filter(|entry| entry.is_mention)
            .count();
    }
}
