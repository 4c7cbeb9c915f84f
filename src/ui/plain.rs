//! `chatc` on a terminal: a line to type in, which what happens meanwhile is written above of.
//!
//! The line editor blocks, so it has a thread; it hands over what was typed and is never waited for.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use async_signal::{Signal, Signals};
use futures_lite::{FutureExt, StreamExt};
use indicatif::{DecimalBytes, ProgressBar};
use jiff::Timestamp;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Editor, ExternalPrinter, Helper};
use smol::channel::{Receiver as Typing, Sender as Typist};

use super::files;
use super::home::any_secret;
use super::server::Server;
use super::typed::{HELP, Typed};
use super::{Exit, Failure, Wording};
use crate::client::{Client, Error, Receiver, Sender};
use crate::protocol::ServerLine;
use crate::protocol::text::clean;

/// How long the server may take to say goodbye to one who leaves.
const GOODBYE: Duration = Duration::from_secs(2);

/// How long the last lines may take to be drawn.
const LAST_LINES: Duration = Duration::from_millis(50);

/// The most bytes that are written above the line at once: each time, the line is drawn anew.
const SHOWN_BYTES: usize = 16 * 1024;

/// Talks until the person leaves.
///
/// # Errors
/// [`Failure::Client`] when the server ends it before; [`Failure::Input`] when the terminal does.
pub async fn talk(client: Client, wording: Wording, server: Server) -> Result<Exit, Failure> {
    let (sender, receiver) = client.split();
    let mut editor = LineEditor::new().map_err(|e| Failure::Input(io::Error::other(e)))?;
    let turn = Arc::new(Turn::default());
    editor.set_helper(Some(Watch(turn.clone())));
    // Set back when this function returns: the editor's thread may then still be in the middle of a line.
    let _mode = TerminalMode::remember();
    let printer = Printer::new(&mut editor, turn.clone());
    let (typist, typing) = smol::channel::unbounded();
    thread::spawn(move || {
        edit(editor, &typist, &turn);
        // Whatever still comes is shown as it comes.
        turn.set(true);
    });

    let talk = Talk {
        printer,
        state: RefCell::new(State {
            wording,
            asked: VecDeque::new(),
            secret: server.password.clone(),
            leaving: false,
        }),
        server,
    };
    talk.greet().await;
    let talking = talk.speak(typing, sender).or(talk.listen(receiver));
    let result = talking.or(stay_in_raw_mode(&talk.printer)).await;
    if result.is_err() {
        // The editor draws on its own thread, and what came last is what the person wants to read now.
        smol::Timer::after(LAST_LINES).await;
    }
    result
}

/// Reads lines until the person leaves.
fn edit(mut editor: LineEditor, typist: &Typist<Typed>, turn: &Turn) {
    let mut interrupted = false;
    loop {
        let read = editor.readline("> ");
        turn.set(false);
        match read {
            Ok(line) => {
                interrupted = false;
                let _ = editor.add_history_entry(&line);
                let typed = Typed::parse(&line);
                let leaves = matches!(typed, Typed::Quit(_));
                // Never waits: while the server is slow, what was typed waits here, and a person types little.
                if typist.try_send(typed).is_err() || leaves {
                    return;
                }
            }
            // Once, it is how a person drops what was typed so far.
            Err(ReadlineError::Interrupted) if !interrupted => {
                interrupted = true;
                let hint = b"-- Ctrl-C once more leaves, so do Ctrl-D and /quit\n";
                let _ = io::stdout().write_all(hint);
            }
            Err(ReadlineError::Signal(_)) => {}
            Err(_) => return,
        }
    }
}

/// Writes above the line that is being typed.
#[derive(Clone)]
struct Printer {
    lines: smol::channel::Sender<String>,
    /// There is a line to write above of: the terminal can move its cursor, and is in raw mode.
    edits: bool,
}

impl Printer {
    fn new(editor: &mut LineEditor, turn: Arc<Turn>) -> Self {
        // Who has more to show than the terminal takes, waits.
        let (lines, shown) = smol::channel::bounded::<String>(4);
        match editor.create_external_printer() {
            Ok(mut printer) => {
                thread::spawn(move || {
                    while let Ok(text) = shown.recv_blocking() {
                        // Between two lines, the editor would write this before what it has not drawn yet.
                        turn.wait();
                        // A terminal that takes no more is found out by the editor.
                        let _ = printer.print(text);
                    }
                });
                Self { lines, edits: true }
            }
            // A terminal that cannot move its cursor (TERM=dumb) gets the lines as they come.
            Err(_) => {
                thread::spawn(move || {
                    while let Ok(text) = shown.recv_blocking() {
                        let _ = io::stdout().write_all(text.as_bytes());
                    }
                });
                Self {
                    lines,
                    edits: false,
                }
            }
        }
    }

    /// Shows lines, less what a terminal would obey.
    async fn show(&self, text: &str) {
        let mut safe = String::with_capacity(text.len() + 1);
        for line in text.lines() {
            safe.push_str(&clean(line));
            safe.push('\n');
        }
        // It fails once the thread that shows is gone, and then so is the terminal.
        let _ = self.lines.send(safe).await;
    }
}

/// Whether a line is being typed, so that something can be written above it.
#[derive(Debug, Default)]
struct Turn {
    is_typing: Mutex<bool>,
    changed: Condvar,
}

impl Turn {
    fn set(&self, is_typing: bool) {
        if let Ok(mut now) = self.is_typing.lock() {
            *now = is_typing;
            self.changed.notify_all();
        }
    }

    fn wait(&self) {
        let is_typing = self.is_typing.lock();
        let _ = is_typing.map(|now| self.changed.wait_while(now, |is_typing| !*is_typing));
    }
}

/// Tells from inside the editor when a line is begun and ended.
struct Watch(Arc<Turn>);

impl Hinter for Watch {
    type Hint = String;

    /// Called whenever the line is drawn.
    fn hint(&self, _line: &str, _at: usize, _context: &Context<'_>) -> Option<String> {
        self.0.set(true);
        None
    }
}

impl Validator for Watch {
    /// Called at Enter.
    fn validate(
        &self,
        _context: &mut ValidationContext<'_>,
    ) -> rustyline::Result<ValidationResult> {
        self.0.set(false);
        Ok(ValidationResult::Valid(None))
    }
}

impl Completer for Watch {
    type Candidate = String;
}
impl Highlighter for Watch {}
impl Helper for Watch {}

type LineEditor = Editor<Watch, DefaultHistory>;

struct Talk {
    server: Server,
    printer: Printer,
    state: RefCell<State>,
}

struct State {
    wording: Wording,
    /// What waits for its reply, oldest first.
    asked: VecDeque<Asked>,
    /// The password that guards the nick, if there is one.
    secret: Option<String>,
    leaving: bool,
}

/// What to do with a reply.
enum Asked {
    /// Show it.
    Show,
    /// The nick is guarded now, so that a second connection may share it: upload that file.
    Upload(PathBuf),
}

impl Talk {
    async fn greet(&self) {
        let (nick, room) = {
            let state = self.state.borrow();
            let room = state.wording.room().unwrap_or("no room");
            (state.wording.nick().to_owned(), room.to_owned())
        };
        let text = format!(
            "-- you are {nick} in {room} on {}; type /help for help",
            self.server.address
        );
        self.printer.show(&text).await;
    }

    /// Does what was typed; ends a moment after the person has left.
    async fn speak(&self, typing: Typing<Typed>, mut sender: Sender) -> Result<Exit, Failure> {
        let mut goodbye = String::new();
        while let Ok(typed) = typing.recv().await {
            if let Typed::Quit(text) = typed {
                goodbye = text;
                break;
            }
            match self.done(typed, &mut sender).await {
                Ok(()) => {}
                Err(error @ Error::Line(_)) => self.printer.show(&format!("! {error}")).await,
                // Why is in what the server sent last.
                Err(_) => return std::future::pending().await,
            }
        }
        self.state.borrow_mut().leaving = true;
        let goodbye = format!("BYE {goodbye}");
        let late = smol::Timer::after(GOODBYE);
        if sender.send(goodbye.trim_end()).await.is_ok() {
            late.await;
        }
        Ok(Exit::Well)
    }

    async fn done(&self, typed: Typed, sender: &mut Sender) -> Result<(), Error> {
        match typed {
            Typed::Say(lines, count) => {
                let asked = (0..count).map(|_| Asked::Show);
                self.state.borrow_mut().asked.extend(asked);
                sender.write(&lines).await
            }
            Typed::Command(line) => {
                if let Some((_, secret)) = password(&line) {
                    self.state.borrow_mut().secret = Some(secret.to_owned());
                }
                self.ask(&line, Asked::Show, sender).await
            }
            Typed::Upload(path) => {
                let guard = {
                    let mut state = self.state.borrow_mut();
                    let secret = state.secret.get_or_insert_with(any_secret).clone();
                    format!("NICK {} {secret}", state.wording.nick())
                };
                self.ask(&guard, Asked::Upload(path), sender).await
            }
            Typed::Download(id) => {
                self.download(id, &self.state.borrow());
                Ok(())
            }
            Typed::Help => {
                self.printer.show(HELP).await;
                Ok(())
            }
            Typed::Wrong(why) => {
                self.printer.show(&format!("! {why}")).await;
                Ok(())
            }
            Typed::Quit(_) => Ok(()),
        }
    }

    async fn ask(&self, line: &str, asked: Asked, sender: &mut Sender) -> Result<(), Error> {
        self.state.borrow_mut().asked.push_back(asked);
        let sent = sender.send(line).await;
        if let Err(Error::Line(_)) = sent {
            self.state.borrow_mut().asked.pop_back();
        }
        sent
    }

    /// Shows what the server says until it ends the connection.
    async fn listen(&self, mut receiver: Receiver) -> Result<Exit, Failure> {
        let mut shown = String::new();
        loop {
            let line = receiver.line().await;
            let leaving = self.state.borrow().leaving;
            let line = match line {
                Ok(Some(line)) => line,
                Ok(None) | Err(_) if leaving => return Ok(Exit::Well),
                Ok(None) => {
                    let gone = io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended it");
                    return Err(Error::Lost(gone).into());
                }
                Err(error) => return Err(error.into()),
            };
            let line = clean(line.as_str());
            let line = ServerLine::parse(&line);
            if let ServerLine::Closed { code, text } = line
                && !leaving
            {
                let text = text.to_owned();
                self.printer.show(&shown).await;
                return Err(Error::Closed { code, text }.into());
            }
            if let Some(text) = self.heard(&line) {
                shown.push_str(&text);
                shown.push('\n');
            }
            if !shown.is_empty() && (!receiver.has_line() || shown.len() > SHOWN_BYTES) {
                self.printer.show(&shown).await;
                shown.clear();
            }
        }
    }

    /// What to show for `line`.
    fn heard(&self, line: &ServerLine<'_>) -> Option<String> {
        let mut state = self.state.borrow_mut();
        let is_reply = matches!(line, ServerLine::Ok { .. } | ServerLine::Err { .. });
        let asked = if is_reply {
            state.asked.pop_front()
        } else {
            None
        };
        match (asked, line) {
            (Some(Asked::Upload(path)), ServerLine::Ok { .. }) => {
                self.upload(path, &state);
                None
            }
            (Some(Asked::Upload(_)), ServerLine::Err { text, .. }) => {
                Some(format!("! not uploaded: {text}"))
            }
            _ => state.wording.show(line, Timestamp::now()),
        }
    }

    /// Uploads on a second connection, so that talk goes on. When it is done, the server tells this one so.
    fn upload(&self, path: PathBuf, state: &State) {
        let (server, printer) = (self.server.clone(), self.printer.clone());
        let nick = format!(
            "{} {}",
            state.wording.nick(),
            state.secret.as_deref().unwrap_or_default()
        );
        let room = state.wording.room().map(str::to_owned);
        let talk = printer.clone();
        let upload = async move {
            let none = Error::Line("join a room first, which the file is for");
            let room = room.ok_or(none)?;
            talk.show(&format!("-- uploading {}", path.display())).await;
            let mut client = server.connect().await?;
            client.enter(&nick, &room).await?;
            files::send(&mut client, &path, None, &ProgressBar::hidden()).await?;
            Ok::<(), Failure>(client.bye().await?)
        };
        smol::spawn(async move {
            if let Err(failure) = upload.await {
                printer.show(&format!("! not uploaded: {failure}")).await;
            }
        })
        .detach();
    }

    fn download(&self, id: u64, state: &State) {
        let printer = self.printer.clone();
        let server = Server {
            nick: Some(state.wording.nick().to_owned()),
            password: state.secret.clone(),
            ..self.server.clone()
        };
        smol::spawn(async move {
            let folder = Path::new("");
            let shown = match files::fetch(&server, id, folder, &ProgressBar::hidden()).await {
                Ok(saved) => format!(
                    "-- {} is here ({})",
                    saved.path.display(),
                    DecimalBytes(saved.length)
                ),
                Err(failure) => format!("! file {id}: {failure}"),
            };
            printer.show(&shown).await;
        })
        .detach();
    }
}

/// The nick and the password of a `NICK` line that has both.
fn password(line: &str) -> Option<(&str, &str)> {
    let (nick, password) = line.strip_prefix("NICK ")?.trim_start().split_once(' ')?;
    (!password.is_empty()).then_some((nick, password))
}

/// Goes on editing when the person comes back after Ctrl-Z. The editor does so too, but in a program of several
/// threads it may do it before it is stopped, and then the shell sets the mode last. Never ends.
async fn stay_in_raw_mode(printer: &Printer) -> Result<Exit, Failure> {
    if printer.edits
        && let Ok(mut back) = Signals::new([Signal::Cont])
    {
        while back.next().await.is_some() {
            if let Ok(mut mode) = tcgetattr(io::stdin()) {
                let output = mode.output_modes;
                mode.make_raw();
                mode.output_modes = output;
                let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &mode);
            }
            // This draws the line anew too.
            printer.show("-- you are back").await;
        }
    }
    std::future::pending().await
}

/// The terminal's mode as it was, set again when this is dropped.
struct TerminalMode(Option<Termios>);

impl TerminalMode {
    fn remember() -> Self {
        Self(tcgetattr(io::stdin()).ok())
    }
}

impl Drop for TerminalMode {
    fn drop(&mut self) {
        let Some(before) = &self.0 else { return };
        let is_editing =
            tcgetattr(io::stdin()).is_ok_and(|now| now.local_modes != before.local_modes);
        if is_editing {
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, before);
            // The editor's own goodbye: the line is wiped, and pasting is plain again.
            let _ = io::stdout().write_all(b"\r\x1b[K\x1b[?2004l");
            let _ = io::stdout().flush();
        }
    }
}
