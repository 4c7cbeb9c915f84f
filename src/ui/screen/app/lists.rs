//! Lists in front of the room, to choose from.

use super::super::command::{COMMANDS, Command};
use super::super::room::{PAGE, Room, View, What};
use super::super::wrap;
use super::{App, Ask, Effect};
use crate::client::link::Link;

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

impl App {
    pub(super) fn show(&mut self, title: String, rows: Vec<Row>, none: &str) {
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

    pub(super) fn jump(&mut self, name: &str, id: u64, link: &mut Link) {
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

    /// Lists whom one does not want to hear.
    pub(super) fn ignored(&mut self) {
        let row = |nick: &String| Row {
            head: String::new(),
            text: nick.clone(),
            then: Then::Type(format!("/unignore {nick}")),
        };
        let rows = self.ignored.iter().map(row).collect();
        let title = "whom you do not hear: Enter types how to hear one again";
        self.show(title.to_owned(), rows, "you hear everybody");
    }

    pub(super) fn links(&mut self) {
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

    pub(super) fn help(&mut self) {
        let keys = [
            ("Tab", "complete a nick, room, command or path"),
            ("PgUp PgDn, wheel", "scroll; Esc goes back to the newest"),
            ("Ctrl-N Ctrl-P", "next and previous room (Alt-↓ Alt-↑ too)"),
            ("Alt-1 … Alt-9", "that room; Alt-A the next unread one"),
            ("Alt-U", "what is new here, from its beginning"),
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
}
