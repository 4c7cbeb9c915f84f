//! The state of the screen, as a function of keys, events and time. This module is pure: it sends requests through a
//! [`ClientState`], which is pure too, and returns [`Effect`]s to the code that runs it. [`super::draw`] draws the
//! state.
//!
//! The files of the folder: `input` handles what a user types, and `commands` executes it. `updates` and `replies`
//! handle what the server sends. `conversation` has replies, edits and reactions; `panels` the lists in front of the
//! room; `rooms` the choice of the room and the scroll position; `select` the selection of a message.

mod commands;
mod conversation;
mod input;
mod panels;
mod reading;
mod replies;
mod rooms;
mod select;
mod updates;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;

use indicatif::ProgressBar;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::profile::{SavedRoom, SavedServer};
use super::complete::Completion;
use super::list::List;
use super::picture::{Graphics, Picture, USUAL_CELL};
use super::room::{EntryKind, Room};
use super::theme::Palette;
use crate::client::{ClientState, Error, RequestId};
use crate::protocol::text::{clean, mentions};
use reading::Reading;

/// The user's preferences.
#[derive(Clone, Debug)]
pub struct Preferences {
    /// The colors.
    pub palette: Palette,
    /// How pictures are shown.
    pub graphics: Graphics,
    /// Whether the bell rings at a mention or a direct message.
    pub bell: bool,
    /// Whether joins and leaves are shown.
    pub presence: bool,
    /// The time zone in which times are shown.
    pub zone: TimeZone,
    /// Whether paths of files are completed.
    pub completes_paths: bool,
    /// Whether there is a browser that can open links.
    pub opens_links: bool,
}

/// Something that the code around the state must do.
#[derive(Debug)]
pub enum Effect {
    /// Ring the bell.
    Bell,
    /// Upload a file to a room or nick.
    Upload {
        /// The file.
        path: PathBuf,
        /// The room or nick.
        to: String,
    },
    /// Upload text to a room or nick as a file.
    Paste {
        /// The content.
        text: String,
        /// The room or nick.
        to: String,
    },
    /// Download a file.
    Download {
        /// The file's id.
        id: u64,
        /// The path; `None` for the file's own name in the current folder.
        to: Option<PathBuf>,
    },
    /// Download a file and show it as a picture.
    View(u64),
    /// Cancel a transfer.
    Cancel(u64),
    /// Let the user write the text of the input line in an editor.
    Edit(String),
    /// Copy text to the clipboard.
    Copy(String),
    /// Open a link in the browser.
    Open(String),
    /// Stop the program, and give the terminal back to the shell (Ctrl-Z).
    Suspend,
    /// Redraw everything.
    Redraw,
    /// End the program.
    End(Option<Error>),
}

/// The status of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionStatus {
    /// The first connection is being made.
    Connecting,
    /// Connected and logged in.
    Connected,
    /// The connection broke.
    Offline {
        /// The reason.
        why: String,
        /// The time of the next attempt.
        until: Timestamp,
    },
}

/// An upload or download in progress.
#[derive(Debug)]
pub struct Transfer {
    /// The number by which the transfer can be cancelled.
    pub key: u64,
    /// The name of the file.
    pub name: String,
    /// Whether the transfer is an upload.
    pub is_upload: bool,
    /// The progress.
    pub bar: ProgressBar,
}

/// A pasted text of several lines.
#[derive(Debug)]
pub struct Paste {
    /// The text.
    pub text: String,
    /// Whether the server accepts the text as one message.
    pub is_one: bool,
}

/// A pending request, so that its reply can be handled.
#[derive(Clone, Debug)]
enum PendingRequest {
    Members(String),
    Topic(String),
    /// A new topic.
    TopicSet(String),
    /// What has happened in a room since this client changed the topic. This client gets no event for its own change.
    TopicChanged(String),
    Newest(String),
    Older(String),
    Newer(String),
    Around(String, u64),
    /// The first messages of a room.
    First(String),
    /// A search in one room, in all rooms (`*`), or in the saved direct messages (`@`), for the words.
    Search(String, String),
    Files(String),
    Rooms {
        is_shown: bool,
    },
    Who(String),
    /// A direct message: the nick, the text, and the id of the message to which it replies.
    Tell(String, String, Option<u64>),
    Join,
    /// Whether this client's nick is away: the text, empty if the nick is back.
    Away(String),
    /// The deletion of a message. This client gets no event for its own deletions.
    Removed(String, u64),
    /// A message or action in a room. If it is refused, its text is put back into that room's input line.
    Said(String, String),
    /// The new text of a message.
    Edited(String, u64, String),
    /// A reaction: added if `true`, withdrawn if `false`.
    Reacted(String, u64, String, bool),
    /// The reactions to a message, by nick.
    Reactions,
    /// A message to which another one replies.
    Quoted(String, u64),
    Registered,
    /// Whether the nick is registered.
    Account,
    /// The readers of the nick.
    Readers,
    /// The move of a reader.
    Read,
    Token,
    /// Any other command, with its verb.
    Other(String),
}

/// The state of the screen.
#[derive(Debug)]
pub struct App {
    /// The address of the server.
    pub host: String,
    /// The nick of this client.
    pub nick: String,
    /// The rooms and private chats, in the order of the list at the side.
    pub rooms: Vec<Room>,
    /// The index of the room that is shown.
    pub at: usize,
    /// The list in front of the room, if one is open.
    pub list: Option<List>,
    /// The picture in front of the room, if one is shown.
    pub picture: Option<Picture>,
    /// The size of a character in pixels, for pictures.
    cell: (u16, u16),
    /// A pasted text of several lines, until the user has decided what to do with it.
    pub paste: Option<Paste>,
    /// The completion that the user has begun with Tab.
    pub completion: Option<Completion>,
    /// The status of the connection.
    pub status: ConnectionStatus,
    /// The uploads and downloads in progress.
    pub transfers: Vec<Transfer>,
    /// A line about what was done last. The flag is `true` for an error.
    pub message: Option<(String, bool)>,
    /// The preferences.
    pub preferences: Preferences,
    /// The current time.
    pub now: Timestamp,
    /// The size of the terminal: columns and rows.
    pub size: (u16, u16),
    /// Whether the terminal has the focus.
    pub is_focused: bool,
    /// The ignored nicks, in lower case.
    pub ignored: BTreeSet<String>,
    /// The words that are treated like this client's nick, in lower case.
    pub highlights: BTreeSet<String>,
    /// The users who are away, with their texts.
    pub away: HashMap<String, String>,
    /// The text with which this client has marked its nick as away; empty if it has not. A new connection sends it again.
    own_away: String,
    /// The last id that was read in each room in the previous run. An entry is removed when its room is joined.
    pub seen: HashMap<String, u64>,
    /// The room to show when it has been joined.
    first: Option<String>,
    reading: Reading,
    server_rooms: Vec<String>,
    pending_requests: HashMap<RequestId, PendingRequest>,
    effects: VecDeque<Effect>,
    interrupted: Option<Timestamp>,
    /// Whether the key before was Ctrl-X.
    pub(super) is_prefixed: bool,
    /// The time at which the user was warned that leaving would lose something.
    warned: Option<Timestamp>,
    is_leaving: bool,
    has_spoken: bool,
    /// The number of connections that have broken.
    breaks: u32,
}

impl App {
    /// Creates the state for a client of `host` that is not connected yet.
    pub fn new(host: String, preferences: Preferences, size: (u16, u16), now: Timestamp) -> Self {
        Self {
            host,
            nick: String::new(),
            rooms: Vec::new(),
            at: 0,
            list: None,
            picture: None,
            cell: USUAL_CELL,
            paste: None,
            completion: None,
            status: ConnectionStatus::Connecting,
            transfers: Vec::new(),
            message: None,
            preferences,
            now,
            size,
            is_focused: true,
            ignored: BTreeSet::new(),
            highlights: BTreeSet::new(),
            away: HashMap::new(),
            own_away: String::new(),
            seen: HashMap::new(),
            first: None,
            reading: Reading::default(),
            server_rooms: Vec::new(),
            pending_requests: HashMap::new(),
            effects: VecDeque::new(),
            interrupted: None,
            is_prefixed: false,
            warned: None,
            is_leaving: false,
            has_spoken: false,
            breaks: 0,
        }
    }

    /// Adds a room or private chat from the previous run, with its read position and unsent text.
    pub fn restore(&mut self, place: &SavedRoom) {
        let at = self.open(&place.name);
        self.at = 0;
        for text in &place.unconfirmed {
            let kind =
                EntryKind::Trouble(format!("· not confirmed when you left: {}", clean(text)));
            let entry = self.entry(None, None, kind);
            if let Some(room) = self.rooms.get_mut(at) {
                room.push(entry);
                room.editor.remember(text);
            }
        }
        if let Some(room) = self.rooms.get_mut(at) {
            room.editor.replace(place.draft.clone());
            room.is_muted = place.is_muted;
        }
        self.seen.insert(place.name.clone(), place.seen);
    }

    /// Selects the room to show first, when it has been joined.
    pub fn show_first(&mut self, name: Option<String>) {
        match name.as_ref().and_then(|name| self.find(name)) {
            Some(at) => self.at = at,
            None => self.first = name,
        }
    }

    /// Returns the state of this server to save; `None` if there was no connection.
    pub fn saved(&self) -> Option<SavedServer> {
        if self.status == ConnectionStatus::Connecting {
            return None;
        }
        let place = |room: &Room| {
            // Messages that arrived while another room was shown are unread.
            let is_read = room.unread == 0;
            let newest = room.new_after.filter(|_| !is_read).unwrap_or(room.last_id);
            SavedRoom {
                name: room.name.clone(),
                seen: newest,
                draft: room.editor.text().to_owned(),
                is_muted: room.is_muted,
                unconfirmed: room.pending.iter().map(|p| p.text.clone()).collect(),
            }
        };
        Some(SavedServer {
            room: self.room().map(|room| room.name.clone()),
            rooms: self.rooms.iter().map(place).collect(),
            ignored: self.ignored.clone(),
            highlights: self.highlights.clone(),
        })
    }

    /// Takes the next effect.
    pub fn effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Adds an effect.
    pub fn request_effect(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    /// Returns the room that is shown.
    pub fn room(&self) -> Option<&Room> {
        self.rooms.get(self.at)
    }

    /// Returns the room that is shown, to change it.
    pub fn room_mut(&mut self) -> Option<&mut Room> {
        self.rooms.get_mut(self.at)
    }

    /// Shows one line in the status bar.
    pub fn notify(&mut self, message: impl Into<String>) {
        self.message = Some((clean(&message.into()).into_owned(), false));
    }

    /// Shows an error in the status bar.
    pub fn complain(&mut self, message: impl Into<String>) {
        self.message = Some((clean(&message.into()).into_owned(), true));
    }

    /// Returns whether the screen shows something that changes with time.
    pub fn is_waiting(&self) -> bool {
        matches!(self.status, ConnectionStatus::Offline { .. })
    }

    /// Returns the number of messages that have not been answered yet.
    pub fn unconfirmed(&self) -> usize {
        self.rooms.iter().map(|room| room.pending.len()).sum()
    }

    /// Returns whether the user has entered a line in this run.
    pub fn has_spoken(&self) -> bool {
        self.has_spoken
    }

    /// Returns whether the user is leaving.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    fn ask(&mut self, state: &mut ClientState, line: String, ask: PendingRequest) {
        let request_id = state.request(line);
        self.note_request(request_id, ask);
    }

    fn note_request(&mut self, request_id: Result<RequestId, Error>, ask: PendingRequest) {
        match request_id {
            Ok(request_id) => drop(self.pending_requests.insert(request_id, ask)),
            Err(error) => self.complain(error.to_string()),
        }
    }

    /// Returns whether `text` mentions the user.
    fn is_about_me(&self, text: &str) -> bool {
        own_words(&self.nick, &self.highlights).any(|word| mentions(text, word))
    }

    /// Formats a time of day, with the date if it is not today.
    pub fn date_and_time(&self, at: Timestamp) -> String {
        let at = at.to_zoned(self.preferences.zone.clone());
        let today = self.now.to_zoned(self.preferences.zone.clone());
        let form = if at.date() == today.date() {
            "%H:%M  "
        } else {
            "%Y-%m-%d %H:%M  "
        };
        at.strftime(form).to_string()
    }
}

/// Returns the words that mention the user: the nick and the highlight words.
pub fn own_words<'a>(
    nick: &'a str,
    highlights: &'a BTreeSet<String>,
) -> impl Iterator<Item = &'a str> {
    let words = highlights.iter().map(String::as_str);
    std::iter::once(nick).chain(words)
}
