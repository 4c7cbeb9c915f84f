//! The terminal: taken over, drawn on, and given back as it was, however the program ends.

use std::io::{self, Stdout, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange,
};
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{cursor, execute};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use rustix::process::{Signal, getpid, kill_process};

use super::app::App;
use super::draw::draw;

/// Presses and the wheel, told with coordinates of any size. Moves are not asked for: nobody needs them, and
/// they would wake the program.
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1000l";

/// Whether the terminal is ours now, for a panic to know.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, while it is ours. Gives it back when dropped.
pub struct Tty {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    mouse: bool,
}

impl Tty {
    /// Takes it over.
    pub fn enter(mouse: bool) -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let told = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                // First the terminal, so that what is told can be read.
                give_back();
                told(panic);
            }));
        });
        take(mouse)?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(Self { terminal, mouse })
    }

    /// Shows a frame.
    pub fn draw(&mut self, app: &App) -> io::Result<()> {
        self.terminal.draw(|frame| draw(app, frame)).map(drop)
    }

    /// Takes it over once more, after somebody else had it, and draws everything anew.
    pub fn again(&mut self) -> io::Result<()> {
        take(self.mouse)?;
        self.terminal.clear()
    }

    /// Gives it to the shell, until that brings the program back.
    pub fn suspend(&mut self) -> io::Result<()> {
        give_back();
        kill_process(getpid(), Signal::TSTP)?;
        self.again()
    }

    /// Rings its bell.
    pub fn ring(&mut self) -> io::Result<()> {
        write(b"\x07")
    }

    /// Puts text onto its clipboard (OSC 52), which reaches through ssh too.
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(text);
        write(format!("\x1b]52;c;{text}\x07").as_bytes())
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        give_back();
    }
}

/// Whether a screen can be shown: the terminal moves its cursor, and tells how large it is.
pub fn is_able() -> bool {
    let name = std::env::var("TERM").unwrap_or_default();
    let is_large = crossterm::terminal::size().is_ok_and(|(columns, rows)| columns > 0 && rows > 0);
    !matches!(&name[..], "" | "dumb") && is_large
}

fn take(mouse: bool) -> io::Result<()> {
    enable_raw_mode()?;
    IS_TAKEN.store(true, Ordering::SeqCst);
    execute!(
        io::stdout(),
        EnterAlternateScreen,
        EnableBracketedPaste,
        EnableFocusChange
    )?;
    match mouse {
        true => write(MOUSE_ON.as_bytes()),
        false => Ok(()),
    }
}

fn give_back() {
    if !IS_TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // Where the terminal is gone, there is nothing to be done about it.
    let _ = write(MOUSE_OFF.as_bytes());
    let _ = execute!(
        io::stdout(),
        DisableFocusChange,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        cursor::Show
    );
    let _ = disable_raw_mode();
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(bytes)?;
    out.flush()
}
