//! Tests of the screen without a terminal. A test passes in lines from the server and keys, and reads the text on the
//! screen.

mod conversation;
mod orders;
mod reading;
mod sending;
mod view;

use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::super::profile::SavedRoom;
use super::app::{App, Effect, Preferences};
use super::picture::{Graphics, Picture};
use super::theme::Palette;
use super::{draw, keys};
use crate::client::{ClientState, Error, Line, Login, Options};

/// The capabilities of the server in most tests. It has no nonces, so that lines are sent as they are written here.
const HELLO: &str = "OK HELLO 1 chat edit react reply tags";

const NOW: &str = "2026-11-24T06:47:00Z";

/// A screen, and the state of the client behind it. The test plays the server.
struct TestScreen {
    app: App,
    state: ClientState,
}

impl TestScreen {
    /// Returns the screen of ann before there is a connection.
    fn unconnected(columns: u16, rows: u16) -> Self {
        let preferences = Preferences {
            palette: Palette::Dark,
            graphics: Graphics::TrueBlocks,
            bell: true,
            presence: true,
            zone: TimeZone::UTC,
            completes_paths: true,
            opens_links: false,
        };
        let app = App::new(
            "box:5002".into(),
            preferences,
            (columns, rows),
            NOW.parse().unwrap(),
        );
        Self {
            app,
            state: ClientState::new(Options::new("ann"), 1),
        }
    }

    /// Returns the screen of ann in `#lobby`, where bob is.
    fn new(columns: u16, rows: u16) -> Self {
        let mut play = Self::unconnected(columns, rows);
        play.connects(&["OK NICK ann #lobby 100"]);
        assert_eq!(
            play.sent(),
            [
                "HISTORY #lobby 200 before 101",
                "WHO #lobby",
                "TOPIC #lobby",
                "ROOMS"
            ]
        );
        play.hear(&[
            "OK HISTORY 0",
            "USER #lobby ann",
            "USER #lobby bob",
            "OK WHO 2",
            "OK TOPIC #lobby tea",
        ]);
        play.hear(&["ROOM #lobby 2 tea", "ROOM #ops 3", "OK ROOMS 2"]);
        play
    }

    fn hear(&mut self, lines: &[&str]) {
        for line in lines {
            self.state
                .receive(Line::from((*line).to_owned()))
                .expect("the protocol");
        }
        self.tell();
    }

    fn tell(&mut self) {
        while let Some(update) = self.state.next_update() {
            self.app.update(update, &mut self.state);
        }
    }

    /// Receives a message from bob with the id `id`.
    fn bob_sends(&mut self, id: u64, text: &str) {
        self.hear(&[&format!(
            "LIVE {id} 2026-11-24T06:46:00.000Z MSG #lobby bob {text}"
        )]);
    }

    fn sent(&mut self) -> Vec<String> {
        let bytes = std::mem::take(self.state.output());
        String::from_utf8(bytes)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) {
        let key = Event::Key(KeyEvent::new(code, modifiers));
        keys::event(&mut self.app, key, &mut self.state);
    }

    fn key(&mut self, code: KeyCode) {
        self.press(code, KeyModifiers::NONE);
    }

    fn ctrl(&mut self, c: char) {
        self.press(KeyCode::Char(c), KeyModifiers::CONTROL);
    }

    fn type_in(&mut self, text: &str) {
        text.chars().for_each(|c| self.key(KeyCode::Char(c)));
    }

    /// Types a line, and presses Enter.
    fn enter(&mut self, line: &str) {
        self.type_in(line);
        self.key(KeyCode::Enter);
    }

    fn paste(&mut self, text: &str) {
        keys::event(
            &mut self.app,
            Event::Paste(text.to_owned()),
            &mut self.state,
        );
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        keys::event(&mut self.app, Event::Resize(columns, rows), &mut self.state);
    }

    fn line(&self) -> &str {
        self.app.room().expect("a room").editor.text()
    }

    /// Returns what the screen shows, line by line, without trailing spaces.
    fn seen(&self) -> String {
        let (columns, rows) = self.app.size;
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw::draw(&self.app, frame)).unwrap();
        let text = terminal.backend().to_string();
        let lines = text.lines().map(|line| {
            line.trim_start_matches('"')
                .trim_end_matches('"')
                .trim_end()
        });
        lines.map(|line| format!("{line}\n")).collect()
    }

    #[track_caller]
    fn sees(&self, text: &str) {
        let seen = self.seen();
        assert!(seen.contains(text), "{text:?} is not to be seen:\n{seen}");
    }

    #[track_caller]
    fn sees_not(&self, text: &str) {
        let seen = self.seen();
        assert!(!seen.contains(text), "{text:?} is to be seen:\n{seen}");
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.app.effect()).collect()
    }

    /// Connects to a server that has all optional parts, and answers with `answers` after that.
    fn connects(&mut self, answers: &[&str]) {
        self.state.connected();
        self.sent();
        self.hear(&[&[HELLO, "OK STAMPS on", "OK TAGS on"], answers].concat());
    }

    fn lost(&mut self) {
        let cut = Error::Lost(std::io::ErrorKind::ConnectionReset.into());
        self.state.disconnected(cut, Duration::from_secs(1));
        self.tell();
    }

    /// Answers the last `HISTORY` with messages whose texts are their ids.
    fn page(&mut self, ids: std::ops::RangeInclusive<u64>) {
        let count = ids.clone().count();
        let past = |id| format!("PAST {id} 2026-11-24T06:00:00.000Z MSG #lobby bob m{id}");
        let mut lines: Vec<String> = ids.map(past).collect();
        lines.push(format!("OK HISTORY {count}"));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        self.hear(&lines);
    }
}
