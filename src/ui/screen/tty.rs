//! The terminal. It is taken over, drawn on, and restored however the program ends.

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
use super::layout::picture_area;
use super::picture::KITTY_DELETE;

/// The sequences that make the terminal report button presses and the wheel, with coordinates of any size. Movements
/// are not reported, because they would wake the program for nothing.
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1000l";

/// Whether the terminal is taken over at the moment, for the panic hook.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, while it is taken over. It is restored when this is dropped.
pub struct Tty {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    mouse: bool,
    /// The size of the screen when the terminal drew the picture that it shows; `None` if it shows none.
    picture: Option<(u16, u16)>,
}

impl Tty {
    /// Takes the terminal over.
    pub fn enter(mouse: bool) -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let previous = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                // The terminal is restored first, so that the message can be read.
                give_back();
                previous(panic);
            }));
        });
        take(mouse)?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(Self {
            terminal,
            mouse,
            picture: None,
        })
    }

    /// Draws a frame.
    pub fn draw(&mut self, app: &App) -> io::Result<()> {
        let area = picture_area(app);
        let picture = app.picture.as_ref();
        let sequence = picture.and_then(|picture| picture.sequence(area));
        if self
            .picture
            .is_some_and(|drawn_at| sequence.is_none() || drawn_at != app.size)
        {
            self.erase_picture()?;
        }
        self.terminal.draw(|frame| draw(app, frame))?;
        if let (Some((sequence, (x, y))), None) = (sequence, self.picture) {
            write(format!("\x1b[{};{}H", y + 1, x + 1).as_bytes())?;
            write(sequence)?;
            self.picture = Some(app.size);
        }
        Ok(())
    }

    /// Erases the picture that the terminal has drawn. The next frame is drawn completely.
    fn erase_picture(&mut self) -> io::Result<()> {
        self.picture = None;
        write(KITTY_DELETE.as_bytes())?;
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }

    /// Takes over the terminal again after another program has used it, and clears it, so that the next frame is
    /// drawn completely.
    pub fn again(&mut self) -> io::Result<()> {
        take(self.mouse)?;
        self.picture = None;
        // `Terminal::clear` would query the position of the cursor. That blocks, and fails if the answer is late or
        // is read as a key.
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }

    /// Restores the terminal for another program. The caller must then call [`Self::again`].
    pub fn lend(&mut self) {
        give_back();
    }

    /// Restores the terminal and stops this program until the shell continues it. The caller must then call
    /// [`Self::again`].
    pub fn suspend(&mut self) -> io::Result<()> {
        give_back();
        Ok(kill_process(getpid(), Signal::TSTP)?)
    }

    /// Rings the bell.
    pub fn ring(&mut self) -> io::Result<()> {
        write(b"\x07")
    }

    /// Copies text to the clipboard of the terminal (OSC 52), which also works over ssh.
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

/// Returns whether a screen can be shown: the terminal must be able to move its cursor, and have a size.
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
    if mouse {
        write(MOUSE_ON.as_bytes())
    } else {
        Ok(())
    }
}

fn give_back() {
    if !IS_TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // If this fails, the terminal has gone, and nothing can be done.
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
