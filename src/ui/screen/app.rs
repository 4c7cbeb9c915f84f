//! The screen's state: what there is to see, and what keys, events and time make of it. Pure: it asks the [`Link`],
//! which is pure too, and leaves [`Effect`]s for whoever runs it. [`super::draw`] shows it. What happens to it stands in
//! the files of the folder, by who does it.

mod answers;
mod deeds;
mod lists;
mod news;
mod rooms;
mod typing;

pub use lists::{List, Row, Then};

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;

use indicatif::ProgressBar;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::home::{Place, Visited};
use super::complete::Completion;
use super::room::{Room, What};
use super::theme::Palette;
use crate::client::link::Link;
use crate::client::{Error, Ticket};
use crate::protocol::text::clean;

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
    /// Said or done in that room: refused, its text comes back there.
    Said(String, String),
    Registered,
    Token,
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
    /// Whom one does not want to hear, in small letters.
    pub ignored: BTreeSet<String>,
    /// The last id seen in each room when one was here last, until the room is entered.
    pub seen: HashMap<String, u64>,
    /// The room to show once it is entered.
    first: Option<String>,
    server_rooms: Vec<String>,
    asked: HashMap<Ticket, Ask>,
    effects: VecDeque<Effect>,
    interrupted: Option<Timestamp>,
    /// When one was told what leaving would cost.
    warned: Option<Timestamp>,
    is_leaving: bool,
    has_spoken: bool,
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
            ignored: BTreeSet::new(),
            seen: HashMap::new(),
            first: None,
            server_rooms: Vec::new(),
            asked: HashMap::new(),
            effects: VecDeque::new(),
            interrupted: None,
            warned: None,
            is_leaving: false,
            has_spoken: false,
        }
    }

    /// One was in that room or conversation before, had seen some of it, and had begun to type.
    pub fn restore(&mut self, place: &Place) {
        let at = self.open(&place.name);
        self.at = 0;
        for text in &place.unsaid {
            let what = What::Trouble(format!(
                "· without an answer when you left: {}",
                clean(text)
            ));
            let entry = self.entry(None, None, what);
            if let Some(room) = self.rooms.get_mut(at) {
                room.push(entry);
                room.editor.remember(text);
            }
        }
        if let Some(room) = self.rooms.get_mut(at) {
            room.editor.replace(place.draft.clone());
        }
        self.seen.insert(place.name.clone(), place.seen);
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
                unsaid: room.pending.iter().map(|p| p.text.clone()).collect(),
            }
        };
        Some(Visited {
            room: self.room().map(|room| room.name.clone()),
            rooms: self.rooms.iter().map(place).collect(),
            ignored: self.ignored.clone(),
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

    /// Whether something is shown that changes with time.
    pub fn is_waiting(&self) -> bool {
        matches!(self.standing, Standing::Away { .. })
    }

    /// How many lines that were typed have no answer yet.
    pub fn waiting(&self) -> usize {
        self.rooms.iter().map(|room| room.pending.len()).sum()
    }

    /// Whether one has entered a line in this run.
    pub fn has_spoken(&self) -> bool {
        self.has_spoken
    }

    /// Whether one has said goodbye.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving
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

/// A number of bytes for people.
pub fn size(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
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
