//! What becomes of what one asked the server.

use super::super::super::ask::{CUT, FOUND_MAX, is_cut};
use super::super::room::{Entry, PAGE, Room, View, What};
use super::{App, Ask, Row, Then, size};
use crate::client::link::Link;
use crate::client::{Error, Reply, Ticket};
use crate::protocol::people::{describe, many};
use crate::protocol::text::clean;
use crate::protocol::{Event, ServerLine, Time};

impl App {
    pub(super) fn answer(&mut self, ticket: Ticket, result: Result<Reply, Error>, link: &mut Link) {
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
                let topic = reply.rest.split_once(' ').map_or("", |(_, topic)| topic);
                let topic = clean(topic).into_owned();
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
                let is_cut = is_cut(&reply);
                self.show(title, rows, "nothing was found");
                if is_cut {
                    self.complain(CUT);
                }
            }
            Ask::Files(room) => {
                let rows = self.found(&reply, Then::Download);
                let title = format!("files in {room}: Enter fetches one");
                self.show(
                    title,
                    rows,
                    "there are no files here; /upload PATH puts one in",
                );
            }
            Ask::Rooms { is_shown } => {
                let mut rows = Vec::new();
                self.server_rooms.clear();
                for line in &reply.lines {
                    if let ServerLine::Room {
                        room,
                        members,
                        topic,
                    } = line.read()
                    {
                        self.server_rooms.push(room.to_owned());
                        rows.push(Row {
                            head: format!("{members:>5} "),
                            text: clean(format!("{room}  {topic}").trim_end()).into_owned(),
                            then: Then::Join(room.to_owned()),
                        });
                    }
                }
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
                    "{} in {room}: Enter talks to one",
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
            Ask::Registered => self.say(format!(
                "{} is your own now: nobody else gets in with it; /token LABEL is for other machines",
                reply.rest
            )),
            Ask::Token => {
                let (label, token) = reply.rest.split_once(' ').unwrap_or(("", &reply.rest));
                let title = format!(
                    "the password for your nick on {label}, shown this once: Enter copies it"
                );
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
            Ask::Shown => {
                for line in &reply.lines {
                    self.note_here(format!("· {}", clean(line.as_str())));
                }
                self.say(format!("OK {}", reply.rest).trim_end());
            }
        }
        self.settle(link);
    }

    fn refused(&mut self, ask: Ask, ticket: Ticket, error: &Error) {
        let why = match error {
            Error::Refused { text, .. } => clean(text).into_owned(),
            other => other.to_string(),
        };
        for room in &mut self.rooms {
            room.pending.retain(|pending| pending.ticket != ticket);
        }
        let trouble = |what: &str| What::Trouble(format!("· not said: {what} ({why})"));
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
                // A room that one is not in has no place here: then it is told where one looks.
                let at = match place.starts_with('#') {
                    true => self.find(&place).unwrap_or(self.at),
                    false => self.open(&place),
                };
                if let Some(room) = self.rooms.get_mut(at) {
                    room.push(entry);
                    room.editor.remember(&text);
                }
            }
            _ => self.complain(why),
        }
    }

    /// The entries of a page of the log, and what it tells to be taken back.
    fn page(&self, reply: &Reply) -> (Vec<Entry>, Vec<u64>) {
        let (mut page, mut removed) = (Vec::new(), Vec::new());
        for line in &reply.lines {
            let ServerLine::Past { id, time, event } = line.read() else {
                continue;
            };
            if let Event::Remove { id, .. } = event {
                removed.push(id);
            }
            if let Some(what) = self.seen_as(&event) {
                page.push(self.entry(Some(id), Some(time), what));
            }
        }
        (page, removed)
    }

    fn found(&self, reply: &Reply, then: impl Fn(u64) -> Then) -> Vec<Row> {
        let row = |line: &crate::client::Line| {
            let ServerLine::Past { id, time, event } = line.read() else {
                return None;
            };
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
                    let length = length.map_or("still coming".to_owned(), size);
                    format!("{name}  {length}  by {nick}  {file}")
                }
                event => describe(event, size),
            };
            Some(Row {
                head: self.date_and_time(at),
                text: clean(&text).into_owned(),
                then: then(id.get()),
            })
        };
        reply.lines.iter().filter_map(row).collect()
    }
}

impl Room {
    /// Counts what is new since one was here last, when that is known.
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

fn users(reply: &Reply) -> Vec<String> {
    let nick = |line: &crate::client::Line| match line.read() {
        ServerLine::User { nick, .. } => Some(clean(nick).into_owned()),
        _ => None,
    };
    reply.lines.iter().filter_map(nick).collect()
}
