//! The replies to requests.

use super::super::super::ask::FOUND_MAX;
use super::super::super::renderer::{SEARCH_CUT, done};
use super::super::list::{Row, Then};
use super::super::room::{Entry, PAGE, Room, View, What};
use super::{App, Ask, size};
use crate::client::{ClientState, Error, LoggedEvent, Reply, RoomInfo, Ticket};
use crate::protocol::people::{describe, many};
use crate::protocol::text::clean;
use crate::protocol::{Event, Time};

impl App {
    /// Processes the reply to a request.
    pub(super) fn answer(
        &mut self,
        ticket: Ticket,
        result: Result<Reply, Error>,
        state: &mut ClientState,
    ) {
        let Some(ask) = self.asked.remove(&ticket) else {
            return;
        };
        let reply = match result {
            Ok(reply) => reply,
            Err(error) => return self.refused(ask, ticket, &error),
        };
        match ask {
            Ask::Members(room) => {
                let nicks = users(&reply);
                if let Some(room) = self.find(&room).and_then(|at| self.rooms.get_mut(at)) {
                    room.set_members(nicks);
                }
            }
            Ask::Topic(room) => {
                let topic = clean(reply.topic().unwrap_or_default()).into_owned();
                if let Some(at) = self.find(&room)
                    && let Some(room) = self.rooms.get_mut(at)
                {
                    room.topic = topic;
                }
            }
            Ask::Newest(room) | Ask::Older(room) => {
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
            Ask::Newer(room) => {
                let (page, removed) = self.page(&reply);
                if let Some(at) = self.find(&room)
                    && let Some(room) = self.rooms.get_mut(at)
                {
                    room.is_loading = false;
                    room.put_after(page, reply.lines.len() < PAGE);
                    removed.into_iter().for_each(|id| room.remove(id));
                }
            }
            Ask::Around(name, id) => {
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
            Ask::Search(room, words) => {
                let rows = self.found(&reply, |id| Then::Jump(room.clone(), id));
                let count = match rows.len() {
                    FOUND_MAX.. => format!("the newest {FOUND_MAX} messages"),
                    count => many(count, "message", "messages"),
                };
                let title = format!("{words:?} in {room}: {count}");
                let is_cut = reply.is_cut();
                self.show(title, rows, "nothing was found");
                if is_cut {
                    self.complain(SEARCH_CUT);
                }
            }
            Ask::Files(room) => {
                let rows = self.found(&reply, Then::Download);
                let title = format!("files in {room}: Enter downloads one");
                self.show(
                    title,
                    rows,
                    "there are no files here; upload one with /upload PATH",
                );
            }
            Ask::Rooms { is_shown } => {
                let rooms = reply.rooms();
                self.server_rooms = rooms.iter().map(|room| room.name.clone()).collect();
                let row = |room: &RoomInfo| Row {
                    head: format!("{:>5} ", room.members),
                    text: clean(format!("{}  {}", room.name, room.topic).trim_end()).into_owned(),
                    then: Then::Join(room.name.clone()),
                };
                let rows = rooms.iter().map(row).collect();
                if is_shown {
                    self.show("rooms: Enter joins one".into(), rows, "there are no rooms");
                }
            }
            Ask::Who(room) => {
                let row = |nick: String| Row {
                    head: String::new(),
                    text: nick.clone(),
                    then: Then::Query(nick),
                };
                let mut nicks = users(&reply);
                nicks.sort_by_key(|nick| nick.to_lowercase());
                let title = format!(
                    "{} in {room}: Enter opens a private chat",
                    many(nicks.len(), "person", "people")
                );
                let rows = nicks.into_iter().map(row).collect();
                self.show(title, rows, "nobody is here");
            }
            Ask::Tell(nick, text) => {
                let time = reply
                    .rest
                    .split_once(' ')
                    .and_then(|(_, time)| Time::parse(time));
                let at = self.open(&nick);
                let me = self.nick.clone();
                let entry = self.entry(None, time, What::Msg { nick: me, text });
                if let Some(room) = self.rooms.get_mut(at) {
                    room.pending.retain(|pending| pending.ticket != ticket);
                    room.push(entry);
                }
            }
            Ask::Join => {
                let name = reply.rest.split(' ').next().unwrap_or_default().to_owned();
                if let Some(at) = self.find(&name) {
                    self.go(at);
                }
            }
            Ask::Said(..) => {}
            Ask::Registered => self.notify(format!(
                "{} is registered to you now; on other machines, log in with a token: /token LABEL",
                reply.rest
            )),
            Ask::Token => {
                let (label, token) = reply.rest.split_once(' ').unwrap_or(("", &reply.rest));
                let title =
                    format!("the token {label} for your nick, shown only once: Enter copies it");
                let row = Row {
                    head: String::new(),
                    text: token.to_owned(),
                    then: Then::Copy(token.to_owned()),
                };
                self.show(clean(&title).into_owned(), vec![row], "");
            }
            Ask::Removed(room, id) => {
                if let Some(room) = self.find(&room).and_then(|at| self.rooms.get_mut(at)) {
                    room.remove(id);
                }
            }
            Ask::Other(verb) => {
                for line in &reply.lines {
                    self.note_here(format!("· {}", clean(line.as_str())));
                }
                self.notify(done(&verb, &reply.rest));
            }
        }
        self.settle(state);
    }

    /// Processes a refusal.
    fn refused(&mut self, ask: Ask, ticket: Ticket, error: &Error) {
        let why = match error {
            Error::Refused { text, .. } => clean(text).into_owned(),
            other => other.to_string(),
        };
        for room in &mut self.rooms {
            room.pending.retain(|pending| pending.ticket != ticket);
        }
        let trouble = |what: &str| What::Trouble(format!("· not sent: {what} ({why})"));
        match ask {
            Ask::Members(room)
            | Ask::Topic(room)
            | Ask::Newest(room)
            | Ask::Older(room)
            | Ask::Newer(room)
            | Ask::Around(room, _) => {
                if let Some(at) = self.find(&room)
                    && let Some(room) = self.rooms.get_mut(at)
                {
                    room.is_loading = false;
                    room.at_start = true;
                }
            }
            Ask::Tell(place, text) | Ask::Said(place, text) => {
                let entry = self.entry(None, None, trouble(&text));
                // A room that is not joined is not on the screen, so the error goes to the current one.
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

    /// Returns the entries of a page of the log, and the ids that it says were deleted.
    fn page(&self, reply: &Reply) -> (Vec<Entry>, Vec<u64>) {
        let (mut page, mut removed) = (Vec::new(), Vec::new());
        for LoggedEvent { id, time, event } in reply.events() {
            if let Event::Remove { id, .. } = event {
                removed.push(id);
            }
            if let Some(what) = self.seen_as(&event) {
                page.push(self.entry(Some(id), Some(time), what));
            }
        }
        (page, removed)
    }

    /// Returns the rows for a list of events.
    fn found(&self, reply: &Reply, then: impl Fn(u64) -> Then) -> Vec<Row> {
        let row = |LoggedEvent { id, time, event }| {
            let at = self
                .entry(Some(id), Some(time), What::Note(String::new()))
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
                    let text = describe(event, size);
                    text.strip_prefix("-- ").unwrap_or(&text).to_owned()
                }
            };
            Row {
                head: self.date_and_time(at),
                text: clean(&text).into_owned(),
                then: then(id.get()),
            }
        };
        reply.events().into_iter().map(row).collect()
    }
}

impl Room {
    /// Counts the messages since the read position of the previous run, if that is known.
    fn count_new(&mut self, is_here: bool) {
        let Some(after) = self.new_after else { return };
        if is_here || self.unread > 0 {
            return;
        }
        let is_new = |entry: &&Entry| {
            entry.id.is_some_and(|id| id > after) && !entry.is_mine && entry.what.nick().is_some()
        };
        self.unread = self.entries().filter(is_new).count();
        self.mentions = self
            .entries()
            .filter(is_new)
            .filter(|entry| entry.is_mention)
            .count();
    }
}

/// Returns the nicks of a `WHO`, safe for a terminal.
fn users(reply: &Reply) -> Vec<String> {
    let nicks = reply.users().into_iter();
    nicks.map(|nick| clean(&nick).into_owned()).collect()
}
