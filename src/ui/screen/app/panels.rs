//! The lists that a command opens in front of the room.

use std::collections::BTreeSet;

use super::super::command::{COMMANDS, Command, KEYS};
use super::super::list::{List, Row, RowAction};
use super::super::room::{EntryKind, PAGE, Room, View};
use super::super::wrap;
use super::{App, Effect, PendingRequest};
use crate::client::ClientState;

impl App {
    /// Opens a list. If it would be empty, shows the text `none` instead.
    pub(super) fn show(&mut self, title: String, rows: Vec<Row>, none: &str) {
        if rows.is_empty() {
            return self.notify(none);
        }
        let at = match rows.first().map(|row| &row.action) {
            // The newest row is at the end.
            Some(RowAction::Jump(..) | RowAction::Download(_)) => rows.len() - 1,
            _ => 0,
        };
        self.list = Some(List { title, rows, at });
    }

    /// Executes the selected row.
    pub fn choose(&mut self, state: &mut ClientState) {
        let Some(list) = self.list.take() else { return };
        let Some(action) = list.rows.get(list.at).map(|row| row.action.clone()) else {
            return;
        };
        match action {
            RowAction::Close => {}
            RowAction::Jump(room, id) => self.jump(&room, id, state),
            RowAction::Join(room) => self.command(Command::Join(room), state),
            RowAction::Download(id) => self.request_effect(Effect::Download { id, to: None }),
            RowAction::Query(nick) => self.query(&nick),
            RowAction::Copy(text) => {
                self.notify(format!("copied {text}"));
                self.request_effect(Effect::Copy(text));
            }
            RowAction::Open(link) => {
                self.notify(format!("opening {link}"));
                self.request_effect(Effect::Open(link));
            }
            RowAction::React(id, emoji) => {
                let is_on = !self.has_reacted(id, &emoji);
                self.send_reaction(id, &emoji, is_on, state);
                if self.is_selecting() {
                    self.unselect(state);
                }
            }
            RowAction::Type(text) => {
                if let Some(room) = self.room_mut() {
                    room.editor.replace(text);
                }
            }
        }
        self.fetch_missing(state);
    }

    /// Scrolls to a message. If it is not in the window, it is fetched.
    pub fn jump(&mut self, name: &str, id: u64, state: &mut ClientState) {
        let at = match self.find(name) {
            Some(at) => at,
            None if name.starts_with('#') => {
                return self.complain(format!("you are not in {name}; /join {name}"));
            }
            None => self.open(name),
        };
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
            None if !room.is_room() => {
                self.complain("that message is older than this chat shows");
            }
            None => {
                room.is_loading = true;
                let ask = format!("HISTORY {name} {PAGE} before {}", id + 1);
                self.ask(state, ask, PendingRequest::Around(name.into(), id));
            }
        }
    }

    /// Lists the ignored nicks.
    pub(super) fn ignored(&mut self) {
        let rows = rows_to_undo(&self.ignored, "unignore");
        let title = "ignored nicks: Enter types /unignore and the nick";
        self.show(title.to_owned(), rows, "you ignore nobody");
    }

    /// Lists the highlighted words.
    pub(super) fn highlighted(&mut self) {
        let rows = rows_to_undo(&self.highlights, "unhighlight");
        let title = "highlighted words: Enter types /unhighlight and the word";
        self.show(
            title.to_owned(),
            rows,
            "no words are highlighted; /highlight WORD",
        );
    }

    /// Lists the links in the messages of the room.
    pub(super) fn links(&mut self) {
        let opens = self.preferences.opens_links;
        let mut rows = Vec::new();
        for entry in self.room().into_iter().flat_map(Room::entries) {
            let (EntryKind::Msg { text, nick } | EntryKind::Me { text, nick }) = &entry.kind else {
                continue;
            };
            for range in wrap::links(text) {
                let link = text.get(range).unwrap_or_default().to_owned();
                rows.push(Row {
                    head: format!("{nick}  "),
                    text: link.clone(),
                    action: if opens {
                        RowAction::Open(link)
                    } else {
                        RowAction::Copy(link)
                    },
                });
            }
        }
        rows.reverse();
        let does = if opens { "opens" } else { "copies" };
        self.show(
            format!("links, newest first: Enter {does} one"),
            rows,
            "there are no links here",
        );
    }

    /// Lists commands and keys.
    pub(super) fn help(&mut self) {
        let command = |(name, takes, _, does): &(&str, &str, _, &str)| Row {
            head: format!("{:<23}", format!("/{name} {takes}")),
            text: (*does).to_owned(),
            action: RowAction::Type(format!("/{name} ")),
        };
        let mut rows: Vec<Row> = COMMANDS.iter().map(command).collect();
        rows.extend(KEYS.iter().map(|(key, does)| Row {
            head: format!("{key:<23}"),
            text: (*does).to_owned(),
            action: RowAction::Close,
        }));
        self.list = Some(List {
            title: "help: Enter types a command, Esc closes this".into(),
            rows,
            at: 0,
        });
    }
}

/// Returns a row for each word. Enter types the command that removes that word from the list.
fn rows_to_undo(words: &BTreeSet<String>, command: &str) -> Vec<Row> {
    let row = |word: &String| Row {
        head: String::new(),
        text: word.clone(),
        action: RowAction::Type(format!("/{command} {word}")),
    };
    words.iter().map(row).collect()
}
