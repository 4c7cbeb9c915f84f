//! `chatc` on a terminal: rooms at the side, what is said, and a line to type in.
//!
//! [`app`] is the state, a function of what comes in; `layout`, `lines` and [`draw`] show it, a function of the state.
//! Both know no terminal, connection or clock: those are here, in [`run`].

pub mod app;
mod background;
mod command;
mod complete;
pub mod draw;
mod editor;
pub mod keys;
mod layout;
mod lines;
mod room;
#[cfg(test)]
mod tests;
mod theme;
mod tty;
mod wrap;

pub use app::{App, Options};
pub use command::{COMMANDS, Command, path};
pub use room::Room;
pub use theme::Palette;
pub use tty::is_able;

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_signal::{Signal, Signals};
use crossterm::event::{Event, EventStream};
use futures_lite::future::{or, poll_once};
use futures_lite::{FutureExt, StreamExt};
use indicatif::ProgressBar;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use smol::channel::{Receiver, Sender};
use smol::{Task, Timer};

use self::app::{Effect, Transfer, size};
use self::tty::Tty;
use super::ask::with_hash;
use super::files::{self, Saved};
use super::home::{Home, Settings, any_secret};
use super::server::Server;
use super::{Exit, Failure};
use crate::client::{Chat, Update, Wants};

/// The shortest time between two frames: no eye sees more, and a burst costs no more than this.
const FRAME: Duration = Duration::from_millis(25);

/// How often what changes by itself (progress, the time to the next try) is drawn anew.
const TICK: Duration = Duration::from_millis(200);

/// How much is taken in before keys are looked at again.
const BURST: Duration = Duration::from_millis(5);

/// How long the server may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(3);

/// Shows the screen on `server`: enters the rooms that one was in there before, and `room`, and remembers them at
/// the end.
///
/// # Errors
/// As [`run`].
pub async fn talk(
    server: &Server,
    room: Option<&str>,
    home: &Home,
    settings: &Settings,
) -> Result<Exit, Failure> {
    let address = server.address.clone();
    let before = home
        .state()
        .servers
        .remove(&address.to_string())
        .unwrap_or_default();
    let password = server.password.clone().unwrap_or_else(any_secret);
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
        let room = with_hash(room);
        if !rooms.iter().any(|(known, _)| *known == room) {
            rooms.push((room, None));
        }
    }
    // The one that is entered last is the current one; it stands where it stood.
    let shown = room.clone().or(before.room.clone());
    if let Some(room) = room
        && !rooms.iter().any(|(known, _)| *known == room)
    {
        rooms.push((room, None));
    }
    let wants = Wants {
        password: Some(password.clone()),
        ..server.wants(rooms)
    };
    let palette = match settings.colors.as_deref() {
        Some("light") => Palette::Light,
        Some("few") => Palette::Few,
        Some("none") => Palette::None,
        Some(_) => Palette::Dark,
        None => Palette::find(background::is_light),
    };
    let options = Options {
        palette,
        bell: settings.bell.unwrap_or(true),
        presence: settings.presence.unwrap_or(true),
        zone: TimeZone::system(),
    };
    let size = crossterm::terminal::size().map_err(Failure::Output)?;
    let mut app = App::new(address.to_string(), options, size, Timestamp::now());
    for place in &before.rooms {
        app.restore(place);
    }
    app.ignored = before.ignored.clone();
    app.show_first(shown);
    let who = Server {
        password: Some(password),
        ..server.clone()
    };
    let mut chat = Chat::new(address.clone(), wants);
    let result = run(&mut chat, &mut app, &who, settings.mouse.unwrap_or(true)).await;
    if let Some(visited) = app.visited() {
        home.remember(&address, visited);
    }
    result
}

enum Wake {
    Terminal(Option<io::Result<Event>>),
    Update(Option<Update>),
    Signal(Signal),
    Ended(u64, Result<String, Failure>),
    Tick,
}

/// Shows the screen until the person leaves. Standard input and output must be a terminal. Transfers go by
/// connections of their own to `server`, whose password shares the nick with them.
///
/// # Errors
/// [`Failure::Client`] when it is over for another reason; [`Failure::Input`], [`Failure::Output`] when the
/// terminal is gone.
pub async fn run(
    chat: &mut Chat,
    app: &mut App,
    server: &Server,
    mouse: bool,
) -> Result<Exit, Failure> {
    let tty = Tty::enter(mouse).map_err(Failure::Output)?;
    let (tell, ended) = smol::channel::unbounded();
    let mut runner = Runner {
        tty,
        events: EventStream::new(),
        server,
        transfers: HashMap::new(),
        last_key: 0,
        tell,
        ended,
        drawn: None,
        is_changed: true,
        leaving: None,
    };
    runner.run(chat, app).await
}

struct Runner<'a> {
    tty: Tty,
    events: EventStream,
    server: &'a Server,
    transfers: HashMap<u64, Task<()>>,
    last_key: u64,
    tell: Sender<(u64, Result<String, Failure>)>,
    ended: Receiver<(u64, Result<String, Failure>)>,
    /// When the last frame was drawn.
    drawn: Option<Instant>,
    is_changed: bool,
    leaving: Option<Instant>,
}

impl Runner<'_> {
    async fn run(&mut self, chat: &mut Chat, app: &mut App) -> Result<Exit, Failure> {
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
                self.tty.draw(app).map_err(Failure::Output)?;
                self.drawn = Some(Instant::now());
                self.is_changed = false;
            }
            let wake = self.wake(chat, app, &mut signals).await;
            app.now = Timestamp::now();
            match wake {
                Wake::Terminal(Some(Ok(event))) => {
                    keys::event(app, event, chat.link());
                    self.is_changed = true;
                }
                Wake::Terminal(Some(Err(error))) => return Err(Failure::Input(error)),
                Wake::Terminal(None) => return Ok(Exit::Well),
                Wake::Update(None) => return Ok(Exit::Well),
                Wake::Update(Some(update)) => {
                    self.is_changed = true;
                    app.update(update, chat.link());
                    let began = Instant::now();
                    while began.elapsed() < BURST
                        && let Some(Some(update)) = poll_once(chat.next()).await
                    {
                        app.update(update, chat.link());
                    }
                }
                Wake::Signal(Signal::Cont) => self.tty.again().map_err(Failure::Output)?,
                Wake::Signal(_) => return Ok(Exit::Well),
                Wake::Ended(key, result) => {
                    self.transfers.remove(&key);
                    app.transfers.retain(|transfer| transfer.key != key);
                    match result {
                        Ok(word) => app.say(word),
                        Err(failure) => app.complain(failure.to_string()),
                    }
                    self.is_changed = true;
                }
                Wake::Tick => {
                    self.is_changed |= !app.transfers.is_empty() || app.is_waiting();
                    if self.leaving.is_some_and(|at| at.elapsed() > GOODBYE) {
                        return Ok(Exit::Well);
                    }
                }
            }
            if app.is_leaving() && self.leaving.is_none() {
                self.leaving = Some(Instant::now());
            }
            while let Some(effect) = app.effect() {
                if let Some(end) = self.done(effect, app)? {
                    return end;
                }
            }
        }
    }

    fn is_due(&self) -> bool {
        self.is_changed && self.drawn.is_none_or(|at| at.elapsed() >= FRAME)
    }

    /// Waits for the next thing; what is typed comes first.
    async fn wake(&mut self, chat: &mut Chat, app: &App, signals: &mut Signals) -> Wake {
        let wait = match (self.is_changed, self.drawn) {
            (true, Some(at)) => Some(FRAME.saturating_sub(at.elapsed())),
            _ if !app.transfers.is_empty() || app.is_waiting() || app.is_leaving() => Some(TICK),
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
        let update = async { Wake::Update(chat.next().await) };
        let tick = async {
            match wait {
                Some(wait) => drop(Timer::after(wait).await),
                None => pending().await,
            }
            Wake::Tick
        };
        or(terminal.or(signal).or(ended), tick.or(update)).await
    }

    fn done(
        &mut self,
        effect: Effect,
        app: &mut App,
    ) -> Result<Option<Result<Exit, Failure>>, Failure> {
        match effect {
            Effect::Bell => self.tty.ring().map_err(Failure::Output)?,
            Effect::Copy(text) => self.tty.copy(&text).map_err(Failure::Output)?,
            Effect::Redraw => self.tty.again().map_err(Failure::Output)?,
            Effect::Suspend => self.tty.suspend().map_err(Failure::Output)?,
            Effect::End(None) => return Ok(Some(Ok(Exit::Well))),
            Effect::End(Some(error)) => return Ok(Some(Err(error.into()))),
            Effect::Upload { path, room } => self.upload(path, room, None, app),
            Effect::Paste { text, room } => {
                let name = format!("paste-{}.txt", app.now.strftime("%H%M%S"));
                self.upload(PathBuf::from(name), room, Some(text), app);
            }
            Effect::Download { id, to } => self.download(id, to, app),
            Effect::Cancel(key) => {
                if self.transfers.remove(&key).is_some() {
                    let known = app
                        .transfers
                        .iter()
                        .position(|transfer| transfer.key == key);
                    if let Some(at) = known {
                        let transfer = app.transfers.remove(at);
                        app.say(match transfer.is_upload {
                            true => format!("{} is not uploaded", transfer.name),
                            false => {
                                format!("stopped; /download {} goes on with it", transfer.name)
                            }
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

    fn upload(&mut self, path: PathBuf, room: String, text: Option<String>, app: &mut App) {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let bar = ProgressBar::hidden();
        let key = self.begin(name, true, &bar, app);
        let (tell, server) = (self.tell.clone(), self.server.clone());
        let nick = match &self.server.password {
            Some(password) => format!("{} {password}", app.nick),
            None => app.nick.clone(),
        };
        let task = smol::spawn(async move {
            let upload = async {
                let mut client = server.connect().await?;
                client.enter(&nick, &room).await?;
                let (stored, name) = match text {
                    None => files::send(&mut client, &path, None, &bar).await?,
                    Some(text) => {
                        let name = path.to_string_lossy().into_owned();
                        let text = futures_lite::io::Cursor::new(text.into_bytes());
                        (client.upload(&name, text, |_| {}).await?, name)
                    }
                };
                client.bye().await?;
                Ok(format!(
                    "{name} is uploaded to {room}, {}",
                    size(stored.length)
                ))
            };
            let _ = tell.send((key, upload.await)).await;
        });
        self.transfers.insert(key, task);
    }

    fn download(&mut self, id: u64, to: Option<PathBuf>, app: &mut App) {
        let bar = ProgressBar::hidden();
        let key = self.begin(id.to_string(), false, &bar, app);
        let tell = self.tell.clone();
        let server = Server {
            nick: Some(app.nick.clone()),
            ..self.server.clone()
        };
        let task = smol::spawn(async move {
            let to = to.unwrap_or_default();
            let saved = files::fetch(&server, id, Path::new(&to), &bar).await;
            let word = saved.map(|Saved { path, length }| {
                format!("{} is here, {}", path.display(), size(length))
            });
            let _ = tell.send((key, word)).await;
        });
        self.transfers.insert(key, task);
    }
}
