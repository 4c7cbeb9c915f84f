//! The lists that a command opens in front of the room.

use super::super::command::{COMMANDS, Command};
use super::super::list::{List, Row, Then};
use super::super::room::{PAGE, Room, View, What};
use super::super::wrap;
use super::{App, Ask, Effect};
use crate::client::ClientState;

impl App {
    /// Opens a list, or shows `none` if it is empty.
    pub(super) fn show(&mut self, title: String, rows: Vec<Row>, none: &str) {
        if rows.is_empty() {
            return self.notify(none);
        }
        let at = match rows.first().map(|row| &row.then) {
            // The newest is at the end.
            Some(Then::Jump(..) | Then::Download(_)) => rows.len() - 1,
            _ => 0,
        };
        self.list = Some(List { title, rows, at });
    }

    /// Executes the selected row.
    pub fn choose(&mut self, state: &mut ClientState) {
        let Some(list) = self.list.take() else { return };
        let Some(then) = list.rows.get(list.at).map(|row| row.then.clone()) else {
            return;
        };
        match then {
            Then::Close => {}
            Then::Jump(room, id) => self.jump(&room, id, state),
            Then::Join(room) => self.command(Command::Join(room), state),
            Then::Download(id) => self.request_effect(Effect::Download { id, to: None }),
            Then::Query(nick) => self.query(&nick),
            Then::Copy(text) => {
                self.notify(format!("copied {text}"));
                self.request_effect(Effect::Copy(text));
            }
            Then::Type(text) => {
                if let Some(room) = self.room_mut() {
                    room.editor.replace(text);
                }
            }
        }
        self.settle(state);
    }

    /// Scrolls to a message, which is fetched if it is not there.
    pub(super) fn jump(&mut self, name: &str, id: u64, state: &mut ClientState) {
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
                self.ask(state, ask, Ask::Around(name.into(), id));
            }
        }
    }

    /// Lists the ignored nicks.
    pub(super) fn ignored(&mut self) {
        let row = |nick: &String| Row {
            head: String::new(),
            text: nick.clone(),
            then: Then::Type(format!("/unignore {nick}")),
        };
        let rows = self.ignored.iter().map(row).collect();
        let title = "ignored: Enter types the command that ends it";
        self.show(title.to_owned(), rows, "you ignore nobody");
    }

    /// Lists the links in the messages of the room.
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
            "there are no links here",
        );
    }

    /// Lists commands and keys.
    pub(super) fn help(&mut self) {
        let keys = [
            ("Tab", "complete a nick, room, command or path"),
            ("PgUp PgDn, wheel", "scroll; Esc goes back to the newest"),
            ("Ctrl-N Ctrl-P", "next and previous room (Alt-↓ Alt-↑ too)"),
            (
                "Alt-1 … Alt-9",
                "the room with that number; Alt-A: the next unread room",
            ),
            ("Alt-U", "the first new message"),
            ("↑ ↓", "lines that you typed before"),
            (
                "Ctrl-W Ctrl-U Ctrl-K",
                "cut a word, to the start, to the end; Ctrl-Y puts it back",
            ),
            (
                "Ctrl-C twice, Ctrl-D",
                "leave; Ctrl-Z: back to the shell, fg returns",
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
            title: "help: Enter types a command, Esc closes this".into(),
            rows,
            at: 0,
        });
    }
}
