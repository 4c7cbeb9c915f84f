//! The screen's state: what there is to see, and what keys, events and time make of it. Pure: it asks the [`Link`],
//! which is pure too, and leaves [`Effect`]s for whoever runs it. [`super::draw`] shows it.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;

use indicatif::ProgressBar;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::home::{Place, Visited};
use super::command::{COMMANDS, Command};
use super::complete::{Completion, Known, complete};
use super::layout::Areas;
use super::room::{Entry, PAGE, Pending, Room, View, What};
use super::theme::Palette;
use super::wrap;
use crate::client::link::Link;
use crate::client::{Error, Reply, Ticket, Update};
use crate::protocol::line::LINE_BYTES_MAX;
use crate::protocol::people::describe;
use crate::protocol::text::clean;
use crate::protocol::{Event, EventId, ServerLine, Time};

/// How long one waits for a second Ctrl-C.
const AGAIN_WITHIN_S: i64 = 3;

/// How a person wants it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Colours.
    pub palette: Palette,
    /// Whether the terminal's bell rings when one is named or told something.
    pub bell: bool,
    /// Whether it is shown who comes and goes.
    pub presence: bool,
    /// For times of day.
    pub zone: TimeZone,
}

/// What the state wants done, which it cannot do itself.
#[derive(Debug)]
pub enum Effect {
    /// Ring.
    Bell,
    /// Put a file into a room.
    Upload {
        /// Which file.
        path: PathBuf,
        /// Where to.
        room: String,
    },
    /// Put text into a room as a file.
    Paste {
        /// What is in it.
        text: String,
        /// Where to.
        room: String,
    },
    /// Fetch a file.
    Download {
        /// Its number.
        id: u64,
        /// Where to, if not into this folder under its own name.
        to: Option<PathBuf>,
    },
    /// Stop that transfer.
    Cancel(u64),
    /// Put text onto the clipboard.
    Copy(String),
    /// Give the terminal back for a while (Ctrl-Z).
    Suspend,
    /// Draw everything anew.
    Redraw,
    /// It is over.
    End(Option<Error>),
}

/// How the connection does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is being made for the first time.
    Coming,
    /// It stands.
    Here,
    /// It broke; the next try is then.
    Away {
        /// What happened.
        why: String,
        /// When it is tried again.
        until: Timestamp,
    },
}

/// A file on its way.
#[derive(Debug)]
pub struct Transfer {
    /// To stop it by.
    pub key: u64,
    /// What it is called here.
    pub name: String,
    /// It goes out.
    pub is_upload: bool,
    /// How far it is.
    pub bar: ProgressBar,
}

/// A list in front of the room, to choose from.
#[derive(Debug)]
pub struct List {
    /// What it is a list of.
    pub title: String,
    /// What can be chosen.
    pub rows: Vec<Row>,
    /// Which one is marked.
    pub at: usize,
}

/// A line of a [`List`].
#[derive(Debug)]
pub struct Row {
    /// What stands back, such as a time.
    pub head: String,
    /// What it says.
    pub text: String,
    /// What Enter does.
    pub then: Then,
}

/// What choosing does.
#[derive(Clone, Debug)]
pub enum Then {
    /// Closes the list.
    Close,
    /// Goes to a message.
    Jump(String, u64),
    /// Enters a room.
    Join(String),
    /// Fetches a file.
    Download(u64),
    /// Begins to talk to somebody.
    Query(String),
    /// Puts text onto the clipboard.
    Copy(String),
    /// Puts text into the line.
    Type(String),
}

/// What an answer is for.
#[derive(Clone, Debug)]
enum Ask {
    Members(String),
    Topic(String),
    Newest(String),
    Older(String),
    Newer(String),
    Around(String, u64),
    Search(String, String),
    Files(String),
    Rooms {
        is_shown: bool,
    },
    Who(String),
    Tell(String, String),
    Join,
    /// The one who takes something back gets no copy of that.
    Removed(String, u64),
    /// Said or done in that room: refused, its text comes back.
    Said(String),
    Shown,
}

/// The whole of it.
#[derive(Debug)]
pub struct App {
    /// Where the server is.
    pub host: String,
    /// What one is called.
    pub nick: String,
    /// Rooms and conversations, in the order in which they stand at the side.
    pub rooms: Vec<Room>,
    /// Which of them is shown.
    pub at: usize,
    /// In front of it.
    pub list: Option<List>,
    /// Many lines that were pasted, and are asked about.
    pub paste: Option<String>,
    /// What Tab found.
    pub completion: Option<Completion>,
    /// The connection.
    pub standing: Standing,
    /// Files on their way.
    pub transfers: Vec<Transfer>,
    /// One line about the last thing that was done; an error when true.
    pub word: Option<(String, bool)>,
    /// How one wants it.
    pub options: Options,
    /// What time it is.
    pub now: Timestamp,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// The terminal is the one that is looked at.
    pub is_focused: bool,
    /// The last id seen in each room when one was here last, until the room is entered.
    pub seen: HashMap<String, u64>,
    /// The room to show once it is entered.
    first: Option<String>,
    server_rooms: Vec<String>,
    asked: HashMap<Ticket, Ask>,
    effects: VecDeque<Effect>,
    interrupted: Option<Timestamp>,
    is_leaving: bool,
}

impl App {
    /// Somebody who comes to `host`.
    pub fn new(host: String, options: Options, size: (u16, u16), now: Timestamp) -> Self {
        Self {
            host,
            nick: String::new(),
            rooms: Vec::new(),
            at: 0,
            list: None,
            paste: None,
            completion: None,
            standing: Standing::Coming,
            transfers: Vec::new(),
            word: None,
            options,
            now,
            size,
            is_focused: true,
            seen: HashMap::new(),
            first: None,
            server_rooms: Vec::new(),
            asked: HashMap::new(),
            effects: VecDeque::new(),
            interrupted: None,
            is_leaving: false,
        }
    }

    /// One was in that room or conversation before, had seen it up to `seen`, and had begun to type.
    pub fn restore(&mut self, name: &str, seen: u64, draft: &str) {
        let at = self.open(name);
        self.at = 0;
        if let Some(room) = self.rooms.get_mut(at) {
            room.editor.replace(draft.to_owned());
        }
        self.seen.insert(name.to_owned(), seen);
    }

    /// That room is shown first, once it is entered.
    pub fn show_first(&mut self, name: Option<String>) {
        match name.as_ref().and_then(|name| self.find(name)) {
            Some(at) => self.at = at,
            None => self.first = name,
        }
    }

    /// What there is to remember of this server; `None` when one was never in.
    pub fn visited(&self) -> Option<Visited> {
        if self.standing == Standing::Coming {
            return None;
        }
        let place = |room: &Room| {
            // What came while one looked elsewhere is not seen.
            let is_read = room.unread == 0;
            let newest = room.new_after.filter(|_| !is_read).unwrap_or(room.last_id);
            Place {
                name: room.name.clone(),
                seen: newest,
                draft: room.editor.text().to_owned(),
            }
        };
        Some(Visited {
            room: self.room().map(|room| room.name.clone()),
            rooms: self.rooms.iter().map(place).collect(),
        })
    }

    /// The next thing to be done.
    pub fn effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Wants something done.
    pub fn want(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    /// The room that is shown.
    pub fn room(&self) -> Option<&Room> {
        self.rooms.get(self.at)
    }

    /// The same, to change.
    pub fn room_mut(&mut self) -> Option<&mut Room> {
        self.rooms.get_mut(self.at)
    }

    /// Tells the person one line.
    pub fn say(&mut self, word: impl Into<String>) {
        self.word = Some((clean(&word.into()).into_owned(), false));
    }

    /// Tells the person that something went wrong.
    pub fn complain(&mut self, word: impl Into<String>) {
        self.word = Some((clean(&word.into()).into_owned(), true));
    }

    // ---- what the server tells

    /// Takes in what the link tells.
    pub fn update(&mut self, update: Update, link: &mut Link) {
        match update {
            Update::Here { nick, is_again } => {
                self.standing = Standing::Here;
                let nick = nick.unwrap_or_default();
                let was = std::mem::replace(&mut self.nick, nick.clone());
                if is_again {
                    self.note_here("· connected again".to_owned());
                    if was != nick {
                        self.note_here(format!("· your nick was taken; you are {nick} now"));
                    }
                }
                self.ask(link, "ROOMS".into(), Ask::Rooms { is_shown: false });
            }
            Update::Away { why, pause } => {
                let why = why.to_string();
                if self.standing == Standing::Here {
                    self.note_here(format!("· {why}"));
                }
                let pause = jiff::SignedDuration::try_from(pause).unwrap_or_default();
                let until = self.now.checked_add(pause).unwrap_or(self.now);
                self.standing = Standing::Away { why, until };
            }
            Update::Over(error) => self.want(Effect::End(Some(error))),
            Update::Entered { room, last_id, .. } => self.entered(&room, last_id, link),
            Update::KeptOut { room, error } => {
                self.complain(format!("{room}: {error}"));
                self.forget(&room);
            }
            Update::Left { room } => {
                self.forget(&room);
                self.say(format!("you left {room}"));
            }
            Update::Renamed { nick } => {
                let note = format!("· you are {nick} now");
                for room in &mut self.rooms {
                    if room.leave(&self.nick) {
                        room.enter(&nick);
                    }
                }
                self.nick = nick;
                self.note_here(note);
            }
            Update::Event {
                id, time, event, ..
            } => self.event(id, time, &event),
            Update::Gap { place } => {
                if let Some(at) = self.find(&place) {
                    self.note_in(at, "· something is left out here".into());
                    self.ask(link, format!("WHO {place}"), Ask::Members(place));
                }
            }
            Update::Sent {
                ticket,
                sent,
                event,
            } => {
                self.asked.remove(&ticket);
                for room in &mut self.rooms {
                    room.pending.retain(|pending| pending.ticket != ticket);
                }
                if let Some(event) = event {
                    self.event(sent.id, Some(sent.time), &event);
                }
            }
            Update::Answer { ticket, result } => self.answer(ticket, result, link),
        }
        self.settle(link);
    }

    fn entered(&mut self, name: &str, last_id: u64, link: &mut Link) {
        let at = self.open(name);
        let seen = self.seen.remove(name);
        if self.first.as_deref() == Some(name) {
            self.first = None;
            self.at = at;
        }
        let Some(room) = self.rooms.get_mut(at) else {
            return;
        };
        if last_id < room.last_id {
            // The server began anew, and its ids with it.
            room.clear();
            room.last_id = 0;
        }
        room.last_id = room.last_id.max(last_id);
        if room.new_after.is_none() {
            room.new_after = seen;
        }
        if room.first_id().is_none() {
            room.is_loading = true;
            let ask = format!("HISTORY {name} {PAGE} before {}", last_id + 1);
            self.ask(link, ask, Ask::Older(name.into()));
        }
        self.ask(link, format!("WHO {name}"), Ask::Members(name.into()));
        self.ask(link, format!("TOPIC {name}"), Ask::Topic(name.into()));
    }

    /// The place of a room or conversation, which is made if it is not there.
    fn open(&mut self, name: &str) -> usize {
        if let Some(at) = self.find(name) {
            return at;
        }
        let is_room = name.starts_with('#');
        let mut room = Room::new(name);
        room.at_start = !is_room;
        // Conversations stand below the rooms.
        let at = match is_room {
            true => self.rooms.iter().position(|room| !room.is_room()),
            false => None,
        };
        let at = at.unwrap_or(self.rooms.len());
        self.rooms.insert(at, room);
        if at <= self.at && self.rooms.len() > 1 {
            self.at += 1;
        }
        at
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.rooms.iter().position(|room| room.name == name)
    }

    fn forget(&mut self, name: &str) {
        if let Some(at) = self.find(name) {
            self.rooms.remove(at);
            if at < self.at || self.at >= self.rooms.len() {
                self.at = self.at.saturating_sub(1);
            }
            self.seen_current();
        }
    }

    fn note_in(&mut self, at: usize, text: String) {
        let entry = self.entry(None, None, What::Note(text));
        if let Some(room) = self.rooms.get_mut(at) {
            room.push(entry);
        }
    }

    /// A note where one looks.
    fn note_here(&mut self, text: String) {
        self.note_in(self.at, text);
    }

    fn entry(&self, id: Option<EventId>, time: Option<Time>, what: What) -> Entry {
        let at = time.and_then(|time| i64::try_from(time.0).ok());
        let at = at.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let is_mine = what.nick() == Some(&self.nick[..]);
        let is_mention = !is_mine
            && match &what {
                What::Msg { text, .. } | What::Me { text, .. } => names(text, &self.nick),
                _ => false,
            };
        Entry {
            id: id.map(EventId::get),
            at: at.unwrap_or(self.now),
            what,
            is_mine,
            is_mention,
        }
    }

    /// What an event looks like, if it is to be seen.
    fn seen_as(&self, event: &Event<'_>) -> Option<What> {
        let own = |text: &str| clean(text).into_owned();
        Some(match event {
            Event::Msg { nick, text, .. } => What::Msg {
                nick: own(nick),
                text: own(text),
            },
            Event::Me { nick, text, .. } => What::Me {
                nick: own(nick),
                text: own(text),
            },
            Event::File {
                nick,
                file,
                length,
                name,
                ..
            } => What::File {
                nick: own(nick),
                file: *file,
                length: *length,
                name: own(name),
            },
            Event::Remove { .. } => return None,
            Event::Join { .. } | Event::Part { .. } if !self.options.presence => return None,
            Event::Join { nick, .. } => What::Note(format!("→ {} came in", own(nick))),
            Event::Part { nick, text, .. } if text.is_empty() => {
                What::Note(format!("← {} left", own(nick)))
            }
            Event::Part { nick, text, .. } => {
                What::Note(format!("← {} left ({})", own(nick), own(text)))
            }
            other => {
                let text = describe(other, size);
                let text = text.strip_prefix("-- ").unwrap_or(&text);
                What::Note(format!("· {}", own(text)))
            }
        })
    }

    fn event(&mut self, id: Option<EventId>, time: Option<Time>, event: &Event<'_>) {
        let place = match event {
            Event::Note { from, text } => {
                let note = format!("· {from}: {text}");
                return self.note_here(clean(&note).into_owned());
            }
            // What was told to one stands with who told it.
            Event::Msg { to, nick, .. } if !to.starts_with('#') => match **to == self.nick[..] {
                true => nick.to_string(),
                false => to.to_string(),
            },
            event => event.place().to_owned(),
        };
        let at = match place.starts_with('#') {
            true => self.find(&place),
            false => Some(self.open(&clean(&place))),
        };
        let Some(at) = at else { return };
        let what = self.seen_as(event).map(|what| self.entry(id, time, what));
        let is_here = at == self.at && self.is_focused;
        let Some(room) = self.rooms.get_mut(at) else {
            return;
        };
        match event {
            Event::Join { nick, .. } => room.enter(nick),
            Event::Part { nick, .. } => {
                room.leave(nick);
            }
            Event::Nick { old, new, .. } => {
                room.leave(old);
                room.enter(new);
            }
            Event::Topic { text, .. } => room.topic = clean(text).into_owned(),
            Event::Remove { id, .. } => room.remove(*id),
            _ => {}
        }
        if let (Event::Remove { .. }, Some(id)) = (event, id) {
            room.last_id = room.last_id.max(id.get());
        }
        let Some(entry) = what else { return };
        let counts = !matches!(entry.what, What::Note(_)) && !entry.is_mine;
        let is_for_me = entry.is_mention || !room.is_room();
        let is_news = entry.id.is_none_or(|id| id > room.last_id);
        room.push(entry);
        if counts && is_news {
            let is_read = is_here && room.view == View::Bottom;
            if !is_read {
                room.unread += 1;
                room.mentions += usize::from(is_for_me);
            }
            if is_for_me && !(is_here && is_read) && self.options.bell {
                self.want(Effect::Bell);
            }
        }
    }

    fn answer(&mut self, ticket: Ticket, result: Result<Reply, Error>, link: &mut Link) {
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
                let title = format!(
                    "{words:?} in {room}: {}",
                    many(rows.len(), "message", "messages")
                );
                self.show(title, rows, "nothing was found");
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
            Ask::Said(_) => {}
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
            Ask::Tell(nick, text) => {
                let at = self.open(&nick);
                let entry = self.entry(None, None, trouble(&text));
                if let Some(room) = self.rooms.get_mut(at) {
                    room.push(entry);
                    room.editor.remember(&text);
                }
            }
            Ask::Said(text) => {
                let entry = self.entry(None, None, trouble(&text));
                if let Some(room) = self.room_mut() {
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

    fn show(&mut self, title: String, rows: Vec<Row>, none: &str) {
        if rows.is_empty() {
            return self.say(none);
        }
        let at = match rows.first().map(|row| &row.then) {
            // The newest is what one looks for.
            Some(Then::Jump(..) | Then::Download(_)) => rows.len() - 1,
            _ => 0,
        };
        self.list = Some(List { title, rows, at });
    }

    // ---- what the person does

    /// Goes to a room.
    pub fn go(&mut self, at: usize) {
        if at >= self.rooms.len() {
            return;
        }
        if at != self.at {
            if let Some(room) = self.room_mut() {
                room.new_after = Some(room.last_id);
            }
            self.at = at;
        }
        self.completion = None;
        self.seen_current();
    }

    fn seen_current(&mut self) {
        if let Some(room) = self.room_mut()
            && room.view == View::Bottom
        {
            room.mark_read();
        }
    }

    /// The terminal is looked at, or no longer.
    pub fn focus(&mut self, is_focused: bool) {
        self.is_focused = is_focused;
        if is_focused {
            self.seen_current();
        } else if let Some(room) = self.room_mut() {
            room.new_after = Some(room.last_id);
        }
    }

    /// Goes to the next room in which one is named, or else in which something is unread.
    pub fn go_unread(&mut self) {
        let after = |wanted: fn(&Room) -> bool| {
            let count = self.rooms.len();
            (1..=count)
                .map(|n| (self.at + n) % count)
                .find(|at| self.rooms.get(*at).is_some_and(wanted))
        };
        let next = after(|room| room.mentions > 0).or_else(|| after(|room| room.unread > 0));
        match next {
            Some(at) => self.go(at),
            None => self.say("nothing is unread"),
        }
    }

    /// Goes so many rooms on or back.
    pub fn go_by(&mut self, by: isize) {
        let count = self.rooms.len() as isize;
        if count > 0 {
            self.go(((self.at as isize + by).rem_euclid(count)) as usize);
        }
    }

    /// Does what stands in the line.
    pub fn enter(&mut self, link: &mut Link) {
        self.word = None;
        self.completion = None;
        let Some(room) = self.room_mut() else { return };
        let line = room.editor.take();
        if line.trim().is_empty() {
            return;
        }
        self.command(Command::parse(&line), link);
        self.settle(link);
    }

    /// Does one thing.
    pub fn command(&mut self, command: Command, link: &mut Link) {
        let here = self
            .room()
            .map(|room| room.name.clone())
            .unwrap_or_default();
        let is_room = here.starts_with('#');
        match command {
            Command::Say(text) => self.speak(&here, &text, false, link),
            Command::Me(text) => match is_room {
                true => self.speak(&here, &text, true, link),
                false => self.complain("actions are for rooms"),
            },
            Command::Msg(to, text) if to.starts_with('#') => self.speak(&to, &text, false, link),
            Command::Msg(to, text) => {
                let at = self.open(&to);
                self.go(at);
                self.speak(&to, &text, false, link);
            }
            Command::Query(nick) => self.query(&nick),
            Command::Join(room) => {
                let known = self.find(&room).or_else(|| self.find(&format!("#{room}")));
                match known {
                    Some(at) => self.go(at),
                    None => {
                        let ticket = link.join(&room);
                        self.note_ticket(ticket, Ask::Join);
                    }
                }
            }
            Command::Part(room) => {
                let room = room.unwrap_or(here);
                match room.starts_with('#') || self.find(&room).is_none() {
                    true => {
                        let ticket = link.part(&room);
                        self.note_ticket(ticket, Ask::Shown);
                    }
                    false => self.forget(&room),
                }
            }
            Command::Nick(nick) => {
                let ticket = link.rename(&nick);
                self.note_ticket(ticket, Ask::Shown);
            }
            Command::Search(words) if is_room => {
                self.ask(
                    link,
                    format!("SEARCH {here} {words}"),
                    Ask::Search(here, words),
                );
            }
            Command::Topic(text) if is_room => match &text[..] {
                "" => {
                    let topic = self
                        .room()
                        .map(|room| room.topic.clone())
                        .unwrap_or_default();
                    match topic.is_empty() {
                        true => self.say(format!("{here} has no topic; /topic TEXT sets it")),
                        false => self.note_here(format!("· the topic is: {topic}")),
                    }
                }
                text => {
                    let line = format!("TOPIC {here} {text}");
                    self.ask(link, line, Ask::Topic(here));
                }
            },
            Command::Who if is_room => self.ask(link, format!("WHO {here}"), Ask::Who(here)),
            Command::Files if is_room => self.ask(link, format!("FILES {here}"), Ask::Files(here)),
            Command::Upload(path) if is_room => {
                self.want(Effect::Upload { path, room: here });
            }
            Command::Who
            | Command::Files
            | Command::Upload(_)
            | Command::Search(_)
            | Command::Topic(_) => self.complain("that is for rooms; go to one first"),
            Command::Rooms => self.ask(link, "ROOMS".into(), Ask::Rooms { is_shown: true }),
            Command::Links => self.links(),
            Command::Download(id, to) => self.want(Effect::Download { id, to }),
            Command::Cancel => match self.transfers.last() {
                Some(transfer) => self.effects.push_back(Effect::Cancel(transfer.key)),
                None => self.say("nothing is on its way"),
            },
            Command::Remove(id) => match id.or_else(|| self.room().and_then(Room::last_of_mine)) {
                Some(id) => self.ask(link, format!("REMOVE {id}"), Ask::Removed(here, id)),
                None => self.complain("you have said nothing here; /remove ID takes a number"),
            },
            Command::Reconnect => link.retry_now(),
            Command::Help => self.help(),
            Command::Quit(text) => self.leave(&text, link),
            Command::Other(line) => self.ask(link, line, Ask::Shown),
            Command::Wrong(why) => self.complain(why),
        }
    }

    /// Leaves, once what was said has gone out; at the second time at once.
    pub fn leave(&mut self, text: &str, link: &mut Link) {
        if self.is_leaving || self.standing != Standing::Here {
            return self.want(Effect::End(None));
        }
        self.is_leaving = true;
        link.leave(text);
    }

    fn speak(&mut self, to: &str, text: &str, is_act: bool, link: &mut Link) {
        if to.is_empty() {
            return self.complain("you are in no room; /join ROOM enters one");
        }
        if let Some(at) = self.find(to) {
            if let Some(room) = self.rooms.get_mut(at) {
                room.new_after = None;
            }
            if at == self.at {
                self.to_bottom(link);
            }
        }
        let most = LINE_BYTES_MAX.saturating_sub("TELL  \n".len() + to.len());
        let mut rest = &clean(text)[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(most));
            rest = after;
            let ticket = match is_act {
                true => link.act(to, piece),
                false => link.say(to, piece),
            };
            let ask = match to.starts_with('#') {
                true => Ask::Said(piece.to_owned()),
                false => Ask::Tell(to.to_owned(), piece.to_owned()),
            };
            match ticket {
                Ok(ticket) => {
                    let text = piece.to_owned();
                    self.asked.insert(ticket, ask);
                    if let Some(at) = self.find(to)
                        && let Some(room) = self.rooms.get_mut(at)
                    {
                        room.pending.push_back(Pending {
                            ticket,
                            is_act,
                            text,
                        });
                    }
                }
                Err(error) => {
                    self.complain(error.to_string());
                    // What could not be taken is there to be sent later.
                    if let Some(room) = self.room_mut() {
                        room.editor.replace(text.to_owned());
                    }
                    return;
                }
            }
        }
    }

    fn query(&mut self, nick: &str) {
        let nick = nick.trim_start_matches('@');
        if nick.is_empty() || nick.contains([' ', '#']) {
            return self.complain("a nick is one word");
        }
        let at = self.open(nick);
        self.go(at);
    }

    fn links(&mut self) {
        let mut rows = Vec::new();
        for entry in self.room().into_iter().flat_map(Room::entries) {
            let (What::Msg { text, nick } | What::Me { text, nick }) = &entry.what else {
                continue;
            };
            for range in wrap::links(text) {
                let link = text.get(range).unwrap_or_default().to_owned();
                rows.push(Row {
                    head: format!("{nick}  "),
                    text: link.clone(),
                    then: Then::Copy(link),
                });
            }
        }
        rows.reverse();
        self.show(
            "links, newest first: Enter copies one".into(),
            rows,
            "no links were said here",
        );
    }

    fn help(&mut self) {
        let keys = [
            ("Tab", "complete a nick, room, command or path"),
            ("PgUp PgDn, wheel", "scroll; Esc goes back to the newest"),
            ("Ctrl-N Ctrl-P", "next and previous room (Alt-↓ Alt-↑ too)"),
            ("Alt-1 … Alt-9", "that room; Alt-A the next unread one"),
            ("↑ ↓", "what you have typed before"),
            (
                "Ctrl-W Ctrl-U Ctrl-K",
                "cut a word, to the start, to the end; Ctrl-Y puts it back",
            ),
            (
                "Ctrl-C twice, Ctrl-D",
                "leave; Ctrl-Z to the shell, fg comes back",
            ),
        ];
        let command = |(name, takes, _, does): &(&str, &str, _, &str)| Row {
            head: format!("{:<23}", format!("/{name} {takes}")),
            text: (*does).to_owned(),
            then: Then::Type(format!("/{name} ")),
        };
        let mut rows: Vec<Row> = COMMANDS.iter().map(command).collect();
        rows.extend(keys.map(|(key, does)| Row {
            head: format!("{key:<23}"),
            text: does.to_owned(),
            then: Then::Close,
        }));
        self.list = Some(List {
            title: "what you can do: Enter types it, Esc closes this".into(),
            rows,
            at: 0,
        });
    }

    /// Does what the marked row of the list is for.
    pub fn choose(&mut self, link: &mut Link) {
        let Some(list) = self.list.take() else { return };
        let Some(then) = list.rows.get(list.at).map(|row| row.then.clone()) else {
            return;
        };
        match then {
            Then::Close => {}
            Then::Jump(room, id) => self.jump(&room, id, link),
            Then::Join(room) => self.command(Command::Join(room), link),
            Then::Download(id) => self.want(Effect::Download { id, to: None }),
            Then::Query(nick) => self.query(&nick),
            Then::Copy(text) => {
                self.say(format!("copied {text}"));
                self.want(Effect::Copy(text));
            }
            Then::Type(text) => {
                if let Some(room) = self.room_mut() {
                    room.editor.replace(text);
                }
            }
        }
        self.settle(link);
    }

    fn jump(&mut self, name: &str, id: u64, link: &mut Link) {
        let Some(at) = self.find(name) else { return };
        self.go(at);
        let Some(room) = self.rooms.get_mut(at) else {
            return;
        };
        match room.find(id) {
            Some(index) => {
                room.view = View::At {
                    seq: room.seq(index),
                    hidden: 0,
                }
            }
            None => {
                room.is_loading = true;
                let ask = format!("HISTORY {name} {PAGE} before {}", id + 1);
                self.ask(link, ask, Ask::Around(name.into(), id));
            }
        }
    }

    /// Completes the word before the cursor, or shows the next that fits.
    pub fn complete(&mut self, is_back: bool) {
        if self.completion.is_none() {
            let Some(room) = self.room() else { return };
            let mut nicks: Vec<&str> = Vec::new();
            // Whoever spoke last is most likely meant.
            let spoke = room
                .entries()
                .rev()
                .take(200)
                .filter_map(|entry| entry.what.nick());
            for nick in spoke.chain(room.members.iter().map(String::as_str)) {
                if nick != self.nick && !nicks.contains(&nick) && nicks.len() < 1000 {
                    nicks.push(nick);
                }
            }
            let mut rooms: Vec<&str> = self
                .rooms
                .iter()
                .filter(|room| room.is_room())
                .map(|room| &room.name[..])
                .collect();
            for room in &self.server_rooms {
                if !rooms.contains(&&room[..]) {
                    rooms.push(room);
                }
            }
            self.completion = complete(room.editor.before(), &Known { nicks, rooms });
        }
        let Some(completion) = &mut self.completion else {
            return;
        };
        let start = completion.start;
        let is_only = completion.found.len() == 1;
        let Some(word) = completion.step(is_back).map(str::to_owned) else {
            return;
        };
        if is_only {
            self.completion = None;
        }
        if let Some(room) = self.room_mut() {
            room.editor.complete(start, &word);
        }
    }

    /// Text was pasted. Many lines are asked about first.
    pub fn pasted(&mut self, text: &str) {
        self.completion = None;
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let text = text.trim_end_matches('\n');
        match text.contains('\n') {
            true => self.paste = Some(text.to_owned()),
            false => {
                if let Some(room) = self.room_mut() {
                    room.editor.insert(text);
                }
            }
        }
    }

    /// Puts what was pasted into the room as a file.
    pub fn want_file(&mut self, text: &str) {
        match self.room().filter(|room| room.is_room()) {
            Some(room) => {
                let (text, room) = (format!("{text}\n"), room.name.clone());
                self.want(Effect::Paste { text, room });
            }
            None => self.complain("files are for rooms; go to one first"),
        }
    }

    /// Whether something is shown that changes with time.
    pub fn is_waiting(&self) -> bool {
        matches!(self.standing, Standing::Away { .. })
    }

    /// Whether one has said goodbye.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// Says each line of what was pasted.
    pub fn say_paste(&mut self, link: &mut Link) {
        let Some(text) = self.paste.take() else {
            return;
        };
        let here = self
            .room()
            .map(|room| room.name.clone())
            .unwrap_or_default();
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        for line in lines.by_ref() {
            if link.is_full() {
                self.complain("too much waits to be sent; the rest of it was not said");
                break;
            }
            self.speak(&here, line, false, link);
        }
    }

    /// Ctrl-C: empties the line; when it is empty, leaves at the second time.
    pub fn interrupt(&mut self, link: &mut Link) {
        let is_again = self
            .interrupted
            .is_some_and(|at| self.now.as_second() - at.as_second() <= AGAIN_WITHIN_S);
        if is_again {
            return self.leave("", link);
        }
        if let Some(room) = self.room_mut() {
            let line = room.editor.replace(String::new());
            room.editor.remember(&line);
        }
        self.interrupted = Some(self.now);
        self.completion = None;
        self.say("Ctrl-C once more leaves, so do Ctrl-D and /quit");
    }

    // ---- scrolling

    /// Moves the view by so many lines; up is more.
    pub fn scroll(&mut self, lines: isize, link: &mut Link) {
        let areas = Areas::of(self);
        let look = super::layout::Look::of(self, areas.body.width);
        if let Some(room) = self.rooms.get_mut(self.at) {
            super::layout::scroll(room, lines, usize::from(areas.body.height), &look);
        }
        self.seen_current();
        self.settle(link);
    }

    /// Goes to the newest.
    pub fn to_bottom(&mut self, link: &mut Link) {
        let Some(room) = self.room_mut() else { return };
        room.view = View::Bottom;
        if !room.at_end && !room.is_loading && room.is_room() {
            room.clear();
            room.is_loading = true;
            let name = room.name.clone();
            self.ask(link, format!("HISTORY {name} {PAGE}"), Ask::Newest(name));
        }
        self.seen_current();
    }

    /// Fetches what one is about to see.
    fn settle(&mut self, link: &mut Link) {
        let height = usize::from(self.size.1);
        let Some(room) = self.rooms.get_mut(self.at) else {
            return;
        };
        if room.is_loading || !room.is_room() || self.standing != Standing::Here {
            return;
        }
        let index = match room.view {
            View::Bottom => room.len().saturating_sub(1),
            View::At { seq, .. } => room.index(seq).unwrap_or(0),
        };
        let name = room.name.clone();
        if !room.at_start
            && index < height + 20
            && let Some(first) = room.first_id()
        {
            room.is_loading = true;
            let ask = format!("HISTORY {name} {PAGE} before {first}");
            return self.ask(link, ask, Ask::Older(name));
        }
        let below = room.len().saturating_sub(index);
        if !room.at_end
            && below < height
            && let Some(newest) = room.newest_id()
        {
            room.is_loading = true;
            let ask = format!("HISTORY {name} {PAGE} after {newest}");
            self.ask(link, ask, Ask::Newer(name));
        }
    }

    fn ask(&mut self, link: &mut Link, line: String, ask: Ask) {
        let ticket = link.ask(line);
        self.note_ticket(ticket, ask);
    }

    fn note_ticket(&mut self, ticket: Result<Ticket, Error>, ask: Ask) {
        match ticket {
            Ok(ticket) => drop(self.asked.insert(ticket, ask)),
            Err(error) => self.complain(error.to_string()),
        }
    }

    /// The time of day, with its date when that is not today's.
    pub fn date_and_time(&self, at: Timestamp) -> String {
        let at = at.to_zoned(self.options.zone.clone());
        let today = self.now.to_zoned(self.options.zone.clone());
        let form = if at.date() == today.date() {
            "%H:%M  "
        } else {
            "%Y-%m-%d %H:%M  "
        };
        at.strftime(form).to_string()
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

/// A number of bytes for people.
pub fn size(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
}

fn users(reply: &Reply) -> Vec<String> {
    let nick = |line: &crate::client::Line| match line.read() {
        ServerLine::User { nick, .. } => Some(clean(nick).into_owned()),
        _ => None,
    };
    reply.lines.iter().filter_map(nick).collect()
}

fn many(count: usize, one: &str, more: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {more}"),
    }
}

/// Whether `text` names `nick`, as a word and in any letters.
pub fn names(text: &str, nick: &str) -> bool {
    if nick.is_empty() {
        return false;
    }
    let (text, nick) = (text.to_lowercase(), nick.to_lowercase());
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(&nick).any(|(at, found)| {
        let before = text.get(..at).and_then(|t| t.chars().next_back());
        let after = text.get(at + found.len()..).and_then(|t| t.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}
