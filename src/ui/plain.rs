//! `chatc --plain` on a terminal: a line to type in, and events above it.
//!
//! The line editor blocks, so it has a thread of its own. That thread passes on what was typed, and nothing waits for
//! it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use async_signal::{Signal, Signals};
use futures_lite::{FutureExt, StreamExt};
use indicatif::ProgressBar;
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

use super::failure::{Exit, Failure};
use super::files;
use super::input_line::{HELP, InputLine};
use super::profile::random_password;
use super::renderer::Renderer;
use super::server::Server;
use super::ssh::HOW_TO_COPY;
use crate::client::{Address, Client, Error, Login, Receiver, Sender};
use crate::protocol::ServerLine;
use crate::protocol::human::size;
use crate::protocol::text::clean;

/// The time within which the server must close the connection of a user who leaves.
const GOODBYE: Duration = Duration::from_secs(2);

/// The time for drawing the last lines.
const LAST_LINES: Duration = Duration::from_millis(50);

/// The maximum number of bytes that are written at once above the line that is being typed. After each write, the
/// line is redrawn.
const SHOWN_BYTES: usize = 16 * 1024;

/// Runs the line client until the user leaves.
///
/// # Errors
/// [`Failure::Client`] if the server ends the connection before that; [`Failure::Input`] if the terminal ends.
pub async fn talk(client: Client, renderer: Renderer, server: Server) -> Result<Exit, Failure> {
    let address = client.address().clone();
    let (sender, receiver) = client.split();
    let mut editor = LineEditor::new().map_err(|e| Failure::Input(io::Error::other(e)))?;
    let turn = Arc::new(TypingFlag::default());
    editor.set_helper(Some(Watch(turn.clone())));
    // The mode is restored when this function returns. At that time, the editor's thread may still be in the middle
    // of a line.
    let _mode = TerminalMode::remember();
    let printer = Printer::new(&mut editor, turn.clone());
    let (typist, typing) = smol::channel::unbounded();
    thread::spawn(move || {
        edit(editor, &typist, &turn);
        // Further events are printed at once.
        turn.set(true);
    });

    let talk = LineClient {
        printer,
        state: RefCell::new(State {
            renderer,
            reply_actions: VecDeque::new(),
            password: server.password.clone(),
            leaving: false,
        }),
        server,
    };
    talk.greet(&address).await;
    let talking = talk
        .type_loop(typing, sender)
        .or(talk.receive_loop(receiver));
    let result = talking.or(stay_in_raw_mode(&talk.printer)).await;
    if result.is_err() {
        // The editor draws on its own thread. This gives it time to draw the last lines.
        smol::Timer::after(LAST_LINES).await;
    }
    result
}

/// Reads lines until the user leaves.
fn edit(mut editor: LineEditor, typist: &Typist<InputLine>, turn: &TypingFlag) {
    let mut interrupted = false;
    loop {
        let read = editor.readline("> ");
        turn.set(false);
        match read {
            Ok(line) => {
                interrupted = false;
                let _ = editor.add_history_entry(&line);
                let typed = InputLine::parse(&line);
                let leaves = matches!(typed, InputLine::Quit(_));
                // This never waits. While the server is slow, lines are queued here, and a user types only a few.
                if typist.try_send(typed).is_err() || leaves {
                    return;
                }
            }
            // The first Ctrl-C discards the line.
            Err(ReadlineError::Interrupted) if !interrupted => {
                interrupted = true;
                let hint = b"-- press Ctrl-C again to leave (or Ctrl-D, or /quit)\n";
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
    /// Whether the terminal can move its cursor and is in raw mode. If so, lines are written above the one that is
    /// being typed.
    edits: bool,
}

impl Printer {
    fn new(editor: &mut LineEditor, turn: Arc<TypingFlag>) -> Self {
        // If the terminal is slow, the sender waits.
        let (lines, shown) = smol::channel::bounded::<String>(4);
        match editor.create_external_printer() {
            Ok(mut printer) => {
                thread::spawn(move || {
                    while let Ok(text) = shown.recv_blocking() {
                        // This waits until a line is being typed. Otherwise the editor would print the text before
                        // lines that it has not drawn yet.
                        turn.wait();
                        // If the terminal has gone, the editor detects that.
                        let _ = printer.print(text);
                    }
                });
                Self { lines, edits: true }
            }
            // A terminal that cannot move its cursor (TERM=dumb) prints lines as they arrive.
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

    /// Prints lines after removing control characters.
    async fn show(&self, text: &str) {
        let mut safe = String::with_capacity(text.len() + 1);
        for line in text.lines() {
            safe.push_str(&clean(line));
            safe.push('\n');
        }
        // Sending fails only if the printing thread has ended. It ends when the terminal is gone, so the error is ignored.
        let _ = self.lines.send(safe).await;
    }
}

/// A flag: whether a line is being typed, so that output must be printed above it.
#[derive(Debug, Default)]
struct TypingFlag {
    is_typing: Mutex<bool>,
    changed: Condvar,
}

impl TypingFlag {
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

/// A part of the editor that detects when a line starts and ends.
struct Watch(Arc<TypingFlag>);

impl Hinter for Watch {
    type Hint = String;

    /// The editor calls this whenever it draws the line.
    fn hint(&self, _line: &str, _at: usize, _context: &Context<'_>) -> Option<String> {
        self.0.set(true);
        None
    }
}

impl Validator for Watch {
    /// The editor calls this when Enter is pressed.
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

struct LineClient {
    server: Server,
    printer: Printer,
    state: RefCell<State>,
}

struct State {
    renderer: Renderer,
    /// The requests that wait for a reply, oldest first.
    reply_actions: VecDeque<ReplyAction>,
    /// The password of the nick, if there is one.
    password: Option<String>,
    leaving: bool,
}

/// The action to take when a reply arrives.
enum ReplyAction {
    /// Show it.
    Show,
    /// Upload the file. The nick has a password now, so a second connection can share it.
    Upload(PathBuf),
}

impl LineClient {
    /// `address` is that of the server in use, which may be one of several.
    async fn greet(&self, address: &Address) {
        let (nick, room) = {
            let state = self.state.borrow();
            let room = state.renderer.room().unwrap_or("no room");
            (state.renderer.nick().to_owned(), room.to_owned())
        };
        let text = format!("-- you are {nick} in {room} on {address}; type /help for help");
        self.printer.show(&text).await;
    }

    /// Executes what was typed. Ends a moment after the user has left.
    async fn type_loop(
        &self,
        typing: Typing<InputLine>,
        mut sender: Sender,
    ) -> Result<Exit, Failure> {
        let mut goodbye = String::new();
        while let Ok(typed) = typing.recv().await {
            if let InputLine::Quit(text) = typed {
                goodbye = text;
                break;
            }
            match self.execute(typed, &mut sender).await {
                Ok(()) => {}
                Err(error @ Error::Invalid(_)) => self.printer.show(&format!("! {error}")).await,
                // The last line from the server gives the reason.
                Err(_) => return std::future::pending().await,
            }
        }
        self.state.borrow_mut().leaving = true;
        let goodbye = format!("BYE {goodbye}");
        let late = smol::Timer::after(GOODBYE);
        if sender.send(goodbye.trim_end()).await.is_ok() {
            late.await;
        }
        Ok(Exit::Success)
    }

    async fn execute(&self, typed: InputLine, sender: &mut Sender) -> Result<(), Error> {
        match typed {
            InputLine::Say(lines, count) => {
                let action = (0..count).map(|_| ReplyAction::Show);
                self.state.borrow_mut().reply_actions.extend(action);
                sender.write(&lines).await
            }
            InputLine::Command(line) => {
                if let Some((_, password)) = nick_and_password(&line) {
                    self.state.borrow_mut().password = Some(password.to_owned());
                }
                self.ask(&line, ReplyAction::Show, sender).await
            }
            InputLine::Upload(_) | InputLine::Download(_) if !self.server.allows_files => {
                self.printer.show(&format!("! {HOW_TO_COPY}")).await;
                Ok(())
            }
            InputLine::Upload(path) => {
                let nick = {
                    let mut state = self.state.borrow_mut();
                    let password = state.password.get_or_insert_with(random_password).clone();
                    format!("NICK {} {password}", state.renderer.nick())
                };
                self.ask(&nick, ReplyAction::Upload(path), sender).await
            }
            InputLine::Download(id) => {
                self.download(id, &self.state.borrow());
                Ok(())
            }
            InputLine::Help => {
                self.printer.show(HELP).await;
                Ok(())
            }
            InputLine::Wrong(why) => {
                self.printer.show(&format!("! {why}")).await;
                Ok(())
            }
            InputLine::Quit(_) => Ok(()),
        }
    }

    async fn ask(&self, line: &str, action: ReplyAction, sender: &mut Sender) -> Result<(), Error> {
        self.state.borrow_mut().reply_actions.push_back(action);
        let sent = sender.send(line).await;
        if let Err(Error::Invalid(_)) = sent {
            self.state.borrow_mut().reply_actions.pop_back();
        }
        sent
    }

    /// Prints what the server sends until it closes the connection.
    async fn receive_loop(&self, mut receiver: Receiver) -> Result<Exit, Failure> {
        let mut shown = String::new();
        loop {
            let line = receiver.line().await;
            let leaving = self.state.borrow().leaving;
            let line = match line {
                Ok(Some(line)) => line,
                Ok(None) | Err(_) if leaving => return Ok(Exit::Success),
                Ok(None) => {
                    let gone = io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the server closed the connection",
                    );
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
            if let Some(text) = self.process(&line) {
                shown.push_str(&text);
                shown.push('\n');
            }
            if !shown.is_empty() && (!receiver.has_line() || shown.len() > SHOWN_BYTES) {
                self.printer.show(&shown).await;
                shown.clear();
            }
        }
    }

    /// Processes a line from the server. Returns the text to print.
    fn process(&self, line: &ServerLine<'_>) -> Option<String> {
        let mut state = self.state.borrow_mut();
        let is_reply = matches!(line, ServerLine::Ok { .. } | ServerLine::Err { .. });
        let action = if is_reply {
            state.reply_actions.pop_front()
        } else {
            None
        };
        match (action, line) {
            (Some(ReplyAction::Upload(path)), ServerLine::Ok { .. }) => {
                self.upload(path, &state);
                None
            }
            (Some(ReplyAction::Upload(_)), ServerLine::Err { text, .. }) => {
                Some(format!("! not uploaded: {text}"))
            }
            _ => state.renderer.show(line, Timestamp::now()),
        }
    }

    /// Uploads on a second connection, so that the user can go on typing. The server announces the file on the first
    /// connection.
    fn upload(&self, path: PathBuf, state: &State) {
        let (server, printer) = (self.server.clone(), self.printer.clone());
        let login = Login {
            nick: state.renderer.nick().to_owned(),
            password: state.password.clone(),
        };
        let room = state.renderer.room().map(str::to_owned);
        let talk = printer.clone();
        let upload = async move {
            let room = room.ok_or(Failure::Impossible("join a room first"))?;
            talk.show(&format!("-- uploading {}", path.display())).await;
            let (login, room) = (&login, &room);
            let log_in = |mut client: Client| async move {
                client.enter(login.clone(), room).await?;
                Ok(client)
            };
            let mut client = server.connect_with(log_in).await?;
            files::send(&mut client, &path, None, None, &ProgressBar::hidden()).await?;
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
            nick: Some(state.renderer.nick().to_owned()),
            password: state.password.clone(),
            ..self.server.clone()
        };
        smol::spawn(async move {
            let folder = Path::new("");
            let shown = match files::fetch(&server, id, folder, &ProgressBar::hidden()).await {
                Ok(saved) => format!(
                    "-- downloaded {} ({})",
                    saved.path.display(),
                    size(saved.length)
                ),
                Err(failure) => format!("! file {id}: {failure}"),
            };
            printer.show(&shown).await;
        })
        .detach();
    }
}

/// Returns the nick and the password of a `NICK` line that has both.
fn nick_and_password(line: &str) -> Option<(&str, &str)> {
    let (nick, password) = line.strip_prefix("NICK ")?.trim_start().split_once(' ')?;
    (!password.is_empty()).then_some((nick, password))
}

/// Sets raw mode again whenever the user returns after Ctrl-Z. This function never returns. The editor sets raw mode
/// too, but in a program with several threads, it may do that before the program is stopped. Then the shell sets the
/// mode last.
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
            // This also redraws the line.
            printer.show("-- you are back").await;
        }
    }
    std::future::pending().await
}

/// The mode of the terminal. It is restored when this is dropped.
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
            // The editor does the same at its end: it clears the line and turns bracketed paste off.
            let _ = io::stdout().write_all(b"\r\x1b[K\x1b[?2004l");
            let _ = io::stdout().flush();
        }
    }
}
