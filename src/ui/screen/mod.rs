//! `chatc` on a terminal: rooms at the side, messages, and a line to type in.
//!
//! [`app`] is the state, which is a function of its input. `layout`, `lines` and [`draw`] draw the state. None of
//! them knows a terminal, a connection or a clock; [`run`] connects them to these.

pub mod app;
mod command;
mod complete;
pub mod draw;
mod editor;
mod emoji;
mod entry_lines;
mod external;
mod extras;
pub mod keys;
mod layout;
mod lines;
mod list;
mod picture;
mod query;
mod room;
mod terminal_events;
#[cfg(test)]
mod tests;
mod theme;
mod tty;
mod wrap;

pub use app::{App, Preferences};
pub use command::{COMMANDS, Command, KEYS};
pub use room::Room;
pub use theme::Palette;
pub use tty::is_able;

use std::cell::OnceCell;
use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_signal::{Signal, Signals};
use crossterm::event::Event;
use futures_lite::future::{or, poll_once};
use futures_lite::{FutureExt, StreamExt};
use indicatif::ProgressBar;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use smol::channel::{Receiver, Sender};
use smol::lock::Mutex;
use smol::{Task, Timer};

use self::app::{Effect, Transfer};
use self::picture::{FILE_BYTES_MAX, Graphics, Picture, USUAL_CELL};
use self::query::Answers;
use self::terminal_events::TerminalEvents;
use self::tty::Tty;
use super::failure::{Exit, Failure};
use super::files::{self, Saved};
use super::profile::{Profile, Settings, random_password};
use super::server::Server;
use super::shorthand::room_name;
use super::ssh::HOW_TO_COPY;
use crate::client::{Client, ReconnectingClient, Stored, Update, background};
use crate::protocol::human::size;

/// The shortest time between two frames. Nobody could see more frames, and it limits the cost of many simultaneous
/// events.
const FRAME: Duration = Duration::from_millis(25);

/// The time between two frames while something changes by itself: progress, or the time to the next attempt.
const TICK: Duration = Duration::from_millis(200);

/// How long updates are processed before keys are checked again.
const BURST: Duration = Duration::from_millis(5);

/// The time within which the server must close the connection.
const GOODBYE: Duration = Duration::from_secs(3);

/// Runs the screen on `server`. Joins the rooms of the previous run, and `room`, and saves the joined rooms at the
/// end.
///
/// # Errors
/// Those of [`run`].
pub async fn talk(
    server: &Server,
    room: Option<&str>,
    home: &Profile,
    settings: &Settings,
) -> Result<Exit, Failure> {
    let addresses = &server.addresses;
    let before = home.recall(addresses);
    let password = server.password.clone().unwrap_or_else(random_password);
    let room = room.map(|room| format!("#{}", room.trim_start_matches('#')));
    let mut rooms: Vec<(String, Option<u64>)> = Vec::new();
    for place in before
        .rooms
        .iter()
        .filter(|place| place.name.starts_with('#'))
    {
        rooms.push((place.name.clone(), None));
    }
    for room in &server.rooms {
        let room = room_name(room);
        if !rooms.iter().any(|(known, _)| *known == room) {
            rooms.push((room, None));
        }
    }
    // The room that is joined last becomes the current one. Its place in the list does not change.
    let shown = room.clone().or(before.room.clone());
    if let Some(room) = room
        && !rooms.iter().any(|(known, _)| *known == room)
    {
        rooms.push((room, None));
    }
    let who = Server {
        password: Some(password),
        ..server.clone()
    };
    let options = who.options(rooms);
    let asked = OnceCell::new();
    let answers = || *asked.get_or_init(Answers::ask);
    let palette = match settings.colors.as_deref() {
        Some("light") => Palette::Light,
        Some("few") => Palette::Few,
        Some("none") => Palette::None,
        Some(_) => Palette::Dark,
        None => Palette::find(|| answers().is_light),
    };
    let pictures = settings.pictures.as_deref();
    let graphics = Graphics::find(pictures, palette, || {
        let answers = answers();
        (answers.has_kitty, answers.has_sixel)
    });
    let preferences = Preferences {
        palette,
        graphics,
        bell: settings.bell.unwrap_or(true),
        presence: settings.presence.unwrap_or(true),
        zone: TimeZone::system(),
        completes_paths: server.allows_files,
        opens_links: server.allows_files && external::has_desktop(),
    };
    let size = crossterm::terminal::size().map_err(Failure::Output)?;
    let mut app = App::new(addresses.to_string(), preferences, size, Timestamp::now());
    for place in &before.rooms {
        app.restore(place);
    }
    app.ignored = before.ignored.clone();
    app.highlights = before.highlights.clone();
    app.show_first(shown);
    if let (false, Some(nick)) = (server.allows_files, &server.nick) {
        app.notify(format!("you are {nick}, who has added this key"));
    }
    let mut client = ReconnectingClient::new(addresses.clone(), options);
    let result = run(&mut client, &mut app, &who, settings.mouse.unwrap_or(true)).await;
    if let Some(saved) = app.saved() {
        home.remember(addresses, saved);
    }
    result
}

/// How a transfer has ended.
enum Ended {
    /// With this notice.
    Notice(String),
    /// With a picture to show.
    Picture(Box<Picture>),
    /// With a file that was uploaded to a room or nick.
    Uploaded {
        to: String,
        stored: Stored,
        name: String,
    },
}

enum Wake {
    Terminal(Option<io::Result<Event>>),
    Update(Option<Update>),
    Signal(Signal),
    Ended(u64, Result<Ended, Failure>),
    Written(Result<String, Failure>),
    Tick,
}

/// Runs the screen until the user leaves. Standard input and output must be a terminal. Each transfer uses a connection
/// of its own to `server`, which takes the same nick with the nick's password.
///
/// # Errors
/// [`Failure::Client`] if the client ends before the user leaves; [`Failure::Input`] or [`Failure::Output`] if the
/// terminal cannot be used. A terminal that has gone is not an error.
pub async fn run(
    client: &mut ReconnectingClient,
    app: &mut App,
    server: &Server,
    mouse: bool,
) -> Result<Exit, Failure> {
    let tty = Tty::enter(mouse).map_err(Failure::Output)?;
    let (tell, ended) = smol::channel::unbounded();
    let mut runner = Runner {
        tty,
        events: TerminalEvents::new(),
        server,
        transfers: HashMap::new(),
        last_key: 0,
        viewing: Arc::default(),
        tell,
        ended,
        editor: None,
        drawn: None,
        is_changed: true,
        leaving: None,
    };
    runner.run(client, app).await
}

struct Runner<'a> {
    tty: Tty,
    events: TerminalEvents,
    server: &'a Server,
    transfers: HashMap<u64, Task<()>>,
    last_key: u64,
    /// A lock that is held while a picture is downloaded and decoded.
    viewing: Arc<Mutex<()>>,
    tell: Sender<(u64, Result<Ended, Failure>)>,
    ended: Receiver<(u64, Result<Ended, Failure>)>,
    /// The editor in which the user writes a message, while it has the terminal.
    editor: Option<Task<Result<String, Failure>>>,
    /// The time of the last frame.
    drawn: Option<Instant>,
    is_changed: bool,
    leaving: Option<Instant>,
}

impl Runner<'_> {
    /// Returns how the screen ends after an error of the terminal, which may have gone.
    fn ended_by(&self, failure: Failure) -> Result<Exit, Failure> {
        if terminal_events::has_gone() {
            Ok(Exit::Success)
        } else {
            Err(failure)
        }
    }

    async fn run(
        &mut self,
        client: &mut ReconnectingClient,
        app: &mut App,
    ) -> Result<Exit, Failure> {
        let wanted = [
            Signal::Term,
            Signal::Hup,
            Signal::Int,
            Signal::Quit,
            Signal::Cont,
        ];
        let mut signals = Signals::new(wanted).map_err(Failure::Input)?;
        loop {
            if self.is_due() {
                if let Err(error) = self.tty.draw(app) {
                    return self.ended_by(Failure::Output(error));
                }
                self.drawn = Some(Instant::now());
                self.is_changed = false;
            }
            let wake = self.wake(client, app, &mut signals).await;
            app.now = Timestamp::now();
            match wake {
                Wake::Terminal(Some(Ok(event))) => {
                    keys::event(app, event, client.state());
                    self.is_changed = true;
                }
                Wake::Terminal(Some(Err(error))) => return self.ended_by(Failure::Input(error)),
                Wake::Terminal(None) => return Ok(Exit::Success),
                Wake::Update(None) => return Ok(Exit::Success),
                Wake::Update(Some(update)) => {
                    self.is_changed = true;
                    app.update(update, client.state());
                    let began = Instant::now();
                    while began.elapsed() < BURST
                        && let Some(Some(update)) = poll_once(client.next()).await
                    {
                        app.update(update, client.state());
                    }
                }
                // The terminal sends these signals to all programs in the foreground, but they are meant for the
                // editor.
                Wake::Signal(Signal::Int | Signal::Quit | Signal::Cont)
                    if self.editor.is_some() => {}
                Wake::Signal(Signal::Cont) => self.repaint()?,
                Wake::Signal(_) => return Ok(Exit::Success),
                Wake::Ended(key, result) => {
                    self.transfers.remove(&key);
                    app.transfers.retain(|transfer| transfer.key != key);
                    match result {
                        Ok(Ended::Notice(notice)) => app.notify(notice),
                        Ok(Ended::Picture(picture)) => app.show_picture(*picture, cell_size()),
                        Ok(Ended::Uploaded { to, stored, name }) => {
                            if !to.starts_with('#') {
                                app.sent_file(&to, &stored, &name, client.state());
                            }
                            let length = size(stored.length);
                            app.notify(format!("uploaded {name} to {to} ({length})"));
                        }
                        Err(failure) => app.complain(failure.to_string()),
                    }
                    self.is_changed = true;
                }
                Wake::Written(result) => {
                    self.editor = None;
                    self.events.resume();
                    self.repaint()?;
                    match result {
                        Ok(text) => app.edited(&text, client.state()),
                        Err(failure) => app.complain(failure.to_string()),
                    }
                }
                Wake::Tick => {
                    self.is_changed |= !app.transfers.is_empty() || app.is_waiting();
                    if self.leaving.is_some_and(|at| at.elapsed() > GOODBYE) {
                        return Ok(Exit::Success);
                    }
                }
            }
            app.share_read(client.state());
            if app.is_leaving() && self.leaving.is_none() {
                self.leaving = Some(Instant::now());
            }
            while let Some(effect) = app.effect() {
                if let Some(end) = self.execute(effect, app)? {
                    return end;
                }
            }
        }
    }

    /// Takes over the terminal again, which clears it, so that the next frame is drawn completely.
    fn repaint(&mut self) -> Result<(), Failure> {
        self.is_changed = true;
        self.tty.again().map_err(Failure::Output)
    }

    fn is_due(&self) -> bool {
        let is_time = self.drawn.is_none_or(|at| at.elapsed() >= FRAME);
        self.is_changed && is_time && self.editor.is_none()
    }

    /// Waits for the next event. Keys take precedence.
    async fn wake(
        &mut self,
        client: &mut ReconnectingClient,
        app: &App,
        signals: &mut Signals,
    ) -> Wake {
        let wait = match (self.is_changed, self.drawn) {
            _ if self.editor.is_some() => None,
            (true, Some(at)) => Some(FRAME.saturating_sub(at.elapsed())),
            _ if !app.transfers.is_empty() || app.is_waiting() || app.is_leaving() => Some(TICK),
            _ if app.has_unshared() => Some(TICK),
            _ => None,
        };
        let terminal = async { Wake::Terminal(self.events.next().await) };
        let signal = async {
            match signals.next().await {
                Some(Ok(signal)) => Wake::Signal(signal),
                _ => pending().await,
            }
        };
        let ended = async {
            match self.ended.recv().await {
                Ok((key, result)) => Wake::Ended(key, result),
                Err(_) => pending().await,
            }
        };
        let written = async {
            match &mut self.editor {
                Some(editor) => Wake::Written(editor.await),
                None => pending().await,
            }
        };
        let update = async { Wake::Update(client.next().await) };
        let tick = async {
            match wait {
                Some(wait) => drop(Timer::after(wait).await),
                None => pending().await,
            }
            Wake::Tick
        };
        or(terminal.or(signal).or(ended), written.or(tick).or(update)).await
    }

    /// Executes an effect. If the effect ends the program, returns its result.
    fn execute(
        &mut self,
        effect: Effect,
        app: &mut App,
    ) -> Result<Option<Result<Exit, Failure>>, Failure> {
        match effect {
            Effect::Upload { .. } | Effect::Download { .. } | Effect::Suspend
                if !self.server.allows_files =>
            {
                app.complain(HOW_TO_COPY.to_owned());
            }
            Effect::Edit(_) if !self.server.allows_files => app.complain(
                "an editor could read the server's files; chatc on your own machine has one",
            ),
            Effect::Edit(text) => {
                self.events.pause();
                self.tty.lend();
                self.editor = Some(smol::spawn(async move { external::write(&text).await }));
            }
            Effect::Bell => self.tty.ring().map_err(Failure::Output)?,
            Effect::Copy(text) => self.tty.copy(&text).map_err(Failure::Output)?,
            Effect::Open(link) => {
                if let Err(e) = external::open(&link) {
                    app.complain(format!("xdg-open cannot be started: {e}"));
                }
            }
            Effect::Redraw => self.repaint()?,
            Effect::Suspend => {
                self.tty.suspend().map_err(Failure::Output)?;
                self.repaint()?;
            }
            Effect::End(None) => return Ok(Some(Ok(Exit::Success))),
            Effect::End(Some(error)) => return Ok(Some(Err(error.into()))),
            Effect::Upload { path, to } => self.upload(path, to, None, app),
            Effect::Paste { text, to } => {
                let name = format!("paste-{}.txt", app.now.strftime("%H%M%S"));
                self.upload(PathBuf::from(name), to, Some(text), app);
            }
            Effect::Download { id, to } => self.download(id, to, app),
            Effect::View(id) => self.view(id, app),
            Effect::Cancel(key) => {
                if self.transfers.remove(&key).is_some() {
                    let known = app
                        .transfers
                        .iter()
                        .position(|transfer| transfer.key == key);
                    if let Some(at) = known {
                        let transfer = app.transfers.remove(at);
                        app.notify(if transfer.is_upload {
                            format!("the upload of {} is cancelled", transfer.name)
                        } else {
                            format!("cancelled; /download {} continues it", transfer.name)
                        });
                    }
                }
            }
        }
        Ok(None)
    }

    fn begin(&mut self, name: String, is_upload: bool, bar: &ProgressBar, app: &mut App) -> u64 {
        self.last_key += 1;
        let (key, bar) = (self.last_key, bar.clone());
        app.transfers.push(Transfer {
            key,
            name,
            is_upload,
            bar,
        });
        key
    }

    fn upload(&mut self, path: PathBuf, to: String, text: Option<String>, app: &mut App) {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let bar = ProgressBar::hidden();
        let key = self.begin(name, true, &bar, app);
        let (tell, server) = (self.tell.clone(), self.server.clone());
        let login = server.login(app.nick.clone());
        let task = smol::spawn(async move {
            let upload = async {
                let nick = (!to.starts_with('#')).then_some(&to[..]);
                let (login, room) = (&login, &to);
                let log_in = |mut client: Client| async move {
                    match nick {
                        None => client.enter(login.clone(), room).await?,
                        Some(_) => client.nick(login.clone()).await?,
                    };
                    Ok(client)
                };
                let mut client = server.connect_with(log_in).await?;
                let (stored, name) = match text {
                    None => files::send(&mut client, &path, None, nick, &bar).await?,
                    Some(text) => {
                        let name = path.to_string_lossy().into_owned();
                        let text = futures_lite::io::Cursor::new(text.into_bytes());
                        let stored = match nick {
                            None => client.upload(&name, text, |_| {}).await?,
                            Some(nick) => client.upload_to(nick, &name, text, |_| {}).await?,
                        };
                        (stored, name)
                    }
                };
                client.bye().await?;
                Ok(Ended::Uploaded { to, stored, name })
            };
            let _ = tell.send((key, upload.await)).await;
        });
        self.transfers.insert(key, task);
    }

    /// Begins a download as the nick of `app`. Returns its key, its progress bar and the server.
    fn begin_download(&mut self, id: u64, app: &mut App) -> (u64, ProgressBar, Server) {
        let bar = ProgressBar::hidden();
        let key = self.begin(id.to_string(), false, &bar, app);
        let server = Server {
            nick: Some(app.nick.clone()),
            ..self.server.clone()
        };
        (key, bar, server)
    }

    fn download(&mut self, id: u64, to: Option<PathBuf>, app: &mut App) {
        let (key, bar, server) = self.begin_download(id, app);
        let tell = self.tell.clone();
        let task = smol::spawn(async move {
            let to = to.unwrap_or_default();
            let saved = files::fetch(&server, id, Path::new(&to), &bar).await;
            let ended = saved.map(|Saved { path, length }| {
                let (path, length) = (path.display(), size(length));
                Ended::Notice(format!("downloaded {path} ({length})"))
            });
            let _ = tell.send((key, ended)).await;
        });
        self.transfers.insert(key, task);
    }

    /// Downloads a file into memory and decodes it as a picture. This is done for one picture at a time, even if the
    /// user cancels it and requests others, so that it takes little memory.
    fn view(&mut self, id: u64, app: &mut App) {
        let (key, bar, server) = self.begin_download(id, app);
        let (tell, viewing) = (self.tell.clone(), self.viewing.clone());
        let task = smol::spawn(async move {
            let picture = async {
                let turn = viewing.lock_arc().await;
                let (name, file) = files::read(&server, id, FILE_BYTES_MAX, &bar).await?;
                let decode = move || {
                    let _turn = turn;
                    Ok(Picture::decode(&name, &file))
                };
                let decoded = background::run(decode).await;
                // The file is a stranger's, so the decoder may even panic.
                let decoded = decoded.unwrap_or(Err("that picture is damaged"));
                let picture = decoded.map_err(Failure::Impossible)?;
                Ok(Ended::Picture(Box::new(picture)))
            };
            let _ = tell.send((key, picture.await)).await;
        });
        self.transfers.insert(key, task);
    }
}

/// Returns the width and height of a character in pixels.
fn cell_size() -> (u16, u16) {
    let size = crossterm::terminal::window_size().ok();
    let cell = size.and_then(|size| {
        let cell = (
            size.width.checked_div(size.columns)?,
            size.height.checked_div(size.rows)?,
        );
        (cell.0 > 0 && cell.1 > 0).then_some(cell)
    });
    cell.unwrap_or(USUAL_CELL)
}
