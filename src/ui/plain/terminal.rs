//! The terminal of the line client: a line to type in, and output above it.
//!
//! The line editor blocks, so it has a thread of its own. That thread passes on what was typed, and nothing waits for
//! it.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use async_signal::{Signal, Signals};
use futures_lite::{FutureExt, StreamExt};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Editor, ExternalPrinter, Helper};
use smol::Timer;
use smol::channel::{Receiver, Sender};

use super::super::failure::{Exit, Failure};
use super::super::input_line::InputLine;
use crate::protocol::text::clean;

/// The maximum time for printing the last lines.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// The time for drawing the line editor's last lines. The editor draws on its own thread, and does not say when it has.
const LAST_LINES: Duration = Duration::from_millis(50);

/// The terminal. Its mode is restored when this is dropped. At that time, the editor's thread may still be in the middle
/// of a line.
pub(super) struct Terminal {
    /// What the user types. The channel is closed when the user leaves.
    pub(super) typing: Receiver<InputLine>,
    pub(super) printer: Printer,
    _mode: TerminalMode,
}

impl Terminal {
    /// Starts the line editor.
    pub(super) fn open() -> Result<Self, Failure> {
        let mut editor = LineEditor::new().map_err(|e| Failure::Input(io::Error::other(e)))?;
        let turn = Arc::new(TypingFlag::default());
        editor.set_helper(Some(Watch(turn.clone())));
        let mode = TerminalMode::remember();
        let printer = Printer::new(&mut editor, turn.clone());
        let (typist, typing) = smol::channel::unbounded();
        thread::spawn(move || {
            edit(editor, &typist, &turn);
            // Further events are printed at once.
            turn.set(true);
        });
        Ok(Self {
            typing,
            printer,
            _mode: mode,
        })
    }
}

/// Reads lines until the user leaves.
fn edit(mut editor: LineEditor, typist: &Sender<InputLine>, turn: &TypingFlag) {
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
                // This never waits.
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

/// Lines to print. When they have been printed, the sender is dropped.
type Lines = (String, Option<Sender<()>>);

/// Writes above the line that is being typed.
#[derive(Clone)]
pub(super) struct Printer {
    lines: Sender<Lines>,
    /// Whether the terminal can move its cursor and is in raw mode. If so, lines are written above the one that is
    /// being typed.
    edits: bool,
}

impl Printer {
    fn new(editor: &mut LineEditor, turn: Arc<TypingFlag>) -> Self {
        // If the terminal is slow, the sender waits.
        let (lines, shown) = smol::channel::bounded::<Lines>(4);
        match editor.create_external_printer() {
            Ok(mut printer) => {
                thread::spawn(move || {
                    while let Ok((text, _printed)) = shown.recv_blocking() {
                        if text.is_empty() {
                            continue;
                        }
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
                    while let Ok((text, _printed)) = shown.recv_blocking() {
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
    pub(super) async fn show(&self, text: &str) {
        let mut safe = String::with_capacity(text.len() + 1);
        for line in text.lines() {
            safe.push_str(&clean(line));
            safe.push('\n');
        }
        // Sending fails only if the printing thread has ended. It ends when the terminal is gone, so the error is ignored.
        let _ = self.lines.send((safe, None)).await;
    }

    /// Waits until everything has been printed, or until the terminal turns out to be too slow.
    pub(super) async fn flush(&self) {
        let printed = async {
            let (sender, printed) = smol::channel::bounded(1);
            if self.lines.send((String::new(), Some(sender))).await.is_ok() {
                let _ = printed.recv().await;
            }
        };
        let late = async {
            Timer::after(FLUSH_TIME).await;
        };
        printed.or(late).await;
        // The editor may have received the lines without having drawn them yet.
        Timer::after(LAST_LINES).await;
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

/// Sets raw mode again whenever the user returns after Ctrl-Z. This function never returns. The editor sets raw mode
/// too, but in a program with several threads, it may do that before the program is stopped. Then the shell sets the
/// mode last.
pub(super) async fn stay_in_raw_mode(printer: &Printer) -> Result<Exit, Failure> {
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
