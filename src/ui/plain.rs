//! `chatc --plain` on a terminal: a line to type in, and events above it.
//!
//! The module `terminal` is the line editor. What the user types waits here until it can be passed to a
//! [`ReconnectingClient`], which sends it, and makes a new connection when one breaks.

mod terminal;

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_lite::future::{poll_once, yield_now};
use futures_lite::{FutureExt, StreamExt};
use indicatif::ProgressBar;
use jiff::Timestamp;
use smol::Timer;
use smol::channel::Receiver as Typing;

use super::failure::{Exit, Failure};
use super::files;
use super::input_line::{HELP, InputLine};
use super::profile::random_password;
use super::renderer::Renderer;
use super::server::Server;
use super::shorthand::room_name;
use super::ssh::HOW_TO_COPY;
use crate::client::{Client, Error, Login, ReconnectingClient, Reply, RequestId, Update};
use crate::protocol::human::{plural, size};
use crate::protocol::{Event, ServerLine};
use terminal::{Printer, Terminal, stay_in_raw_mode};

/// The maximum number of typed lines that are kept while there is no connection. `chatc --help` states it.
const WAITING_MAX: usize = 1000;

/// How long chatc waits for the server after the user has left, or since the server's last answer after that.
const GOODBYE: Duration = Duration::from_secs(2);

/// The maximum number of updates from before the first login is complete that are kept.
const EARLY_MAX: usize = 1000;

/// The maximum number of updates that are processed before the keyboard is read again.
const UPDATES_MAX: usize = 256;

/// The maximum number of bytes that are written at once above the line that is being typed. After each write, the
/// line is redrawn.
const SHOWN_BYTES: usize = 16 * 1024;

/// Runs the line client until the user leaves. `room` is the room to join instead of the lobby.
///
/// # Errors
/// [`Failure::Client`] if the first connection fails, or the server refuses the client; [`Failure::Ended`] if the server
/// does not want the client any more; [`Failure::Unconfirmed`] if the user leaves before every line has been answered;
/// [`Failure::Input`] if the terminal ends.
pub async fn talk(server: &Server, room: Option<&str>) -> Result<Exit, Failure> {
    // With a password, nobody else takes the nick while a connection is broken.
    let server = Server {
        password: Some(server.password.clone().unwrap_or_else(random_password)),
        ..server.clone()
    };
    let rooms = room.map(|room| (room_name(room), None));
    let options = server.options(rooms.into_iter().collect()).at_most_once();
    let mut client = ReconnectingClient::new(server.addresses.clone(), options);
    let (mut early, mut left_out) = (VecDeque::new(), 0);
    let nick = loop {
        match client.next().await {
            Some(Update::Connected { nick, .. }) => break nick.unwrap_or_default(),
            Some(Update::Ended(error) | Update::JoinFailed { error, .. }) => {
                return Err(error.into());
            }
            Some(update @ (Update::Event { .. } | Update::Gap { .. })) => {
                early.push_back(update);
                if early.len() > EARLY_MAX {
                    early.pop_front();
                    left_out += 1;
                }
            }
            Some(_) => {}
            None => return Ok(Exit::Success),
        }
    };
    let room = client.rooms().last().map(|(room, _)| room.to_owned());
    let terminal = Terminal::open()?;
    let mut talk = LineClient {
        own_nick: nick.clone(),
        renderer: Renderer::new(nick, room),
        server,
        client,
        printer: terminal.printer.clone(),
        shown: String::new(),
        waiting: VecDeque::new(),
        requests: HashMap::new(),
        change: None,
        repeated: Vec::new(),
        is_connected: true,
        goodbye: None,
        lost: 0,
    };
    talk.greet();
    if left_out > 0 {
        let messages = plural(left_out, "earlier message is", "earlier messages are");
        talk.show(&format!("-- {messages} not shown"));
    }
    for update in early {
        talk.process(update)?;
    }
    let talking = async {
        let result = talk.run(&terminal.typing).await;
        talk.print().await;
        talk.printer.flush().await;
        result
    };
    talking.or(stay_in_raw_mode(&terminal.printer)).await
}

/// The state of the line client.
struct LineClient {
    server: Server,
    client: ReconnectingClient,
    renderer: Renderer,
    /// The nick that the user has chosen. After a break, another one may be in use.
    own_nick: String,
    printer: Printer,
    /// The lines to print next.
    shown: String,
    /// What the user has typed, and what cannot be passed to the client yet.
    waiting: VecDeque<Typed>,
    /// The requests of the user that have not been answered.
    requests: HashMap<RequestId, Asked>,
    /// The request that will change the nick or the current room. What was typed after it waits for its answer.
    change: Option<RequestId>,
    /// The requests that are made again on each new connection, because their effect ends with a connection.
    repeated: Vec<String>,
    is_connected: bool,
    goodbye: Option<Goodbye>,
    /// The number of lines that were given up after the user has left.
    lost: usize,
}

/// The user has left.
struct Goodbye {
    text: String,
    /// The time at which chatc gives up.
    late: Instant,
}

/// A part of what the user has typed.
enum Typed {
    Say(String),
    Command(String),
    Upload(PathBuf),
    Download(u64),
}

/// A request of the user that has not been answered.
enum Asked {
    /// A message or action. After a break, the server may send it with the missed events, before it answers.
    Said {
        to: String,
        text: String,
        is_replayed: bool,
    },
    /// Any other request.
    Other(String),
    /// One of the repeated requests.
    Repeated(String),
}

enum Wake {
    Typed(InputLine),
    Update(Option<Update>),
    Late,
}

impl LineClient {
    fn greet(&mut self) {
        let nick = self.renderer.nick();
        let room = self.renderer.room().unwrap_or("no room");
        let address = self.server.addresses.in_use();
        self.show(&format!(
            "-- you are {nick} in {room} on {address}; type /help for help"
        ));
    }

    /// Runs until the user has left, or the server does not want the client any more.
    async fn run(&mut self, typing: &Typing<InputLine>) -> Result<Exit, Failure> {
        loop {
            self.pass_on();
            for _ in 0..UPDATES_MAX {
                if self.shown.len() > SHOWN_BYTES {
                    break;
                }
                match poll_once(self.client.next()).await {
                    Some(Some(update)) => self.process(update)?,
                    Some(None) => return self.result(),
                    None => break,
                }
                self.pass_on();
            }
            self.print().await;
            // If events arrive faster than they can be shown, the signals have their turn here.
            yield_now().await;
            if self.goodbye.is_some() && !self.is_connected && self.unanswered() == 0 {
                return self.result();
            }
            match self.wake(typing).await {
                Wake::Typed(typed) => self.typed(typed),
                Wake::Update(Some(update)) => self.process(update)?,
                Wake::Update(None) | Wake::Late => return self.result(),
            }
        }
    }

    async fn wake(&mut self, typing: &Typing<InputLine>) -> Wake {
        let late = self.goodbye.as_ref().map(|goodbye| goodbye.late);
        let typed = async {
            match typing.recv().await {
                Ok(typed) => Wake::Typed(typed),
                Err(_) if late.is_some() => pending().await,
                // Ctrl-D or Ctrl-C.
                Err(_) => Wake::Typed(InputLine::Quit(String::new())),
            }
        };
        let late = async {
            match late {
                Some(late) => drop(Timer::at(late).await),
                None => pending().await,
            }
            Wake::Late
        };
        let update = async { Wake::Update(self.client.next().await) };
        typed.or(late).or(update).await
    }

    /// Adds lines to those to print next.
    fn show(&mut self, lines: &str) {
        self.shown.push_str(lines);
        self.shown.push('\n');
    }

    fn show_line(&mut self, line: &ServerLine<'_>) {
        if let Some(text) = self.renderer.show(line, Timestamp::now()) {
            self.show(&text);
        }
    }

    async fn print(&mut self) {
        if !self.shown.is_empty() {
            self.printer.show(&self.shown).await;
            self.shown.clear();
        }
    }

    /// Returns the number of typed lines that the server has not answered yet.
    fn unanswered(&self) -> usize {
        let is_typed = |asked: &&Asked| !matches!(asked, Asked::Repeated(_));
        self.waiting.len() + self.requests.values().filter(is_typed).count()
    }

    /// Returns the result after the user has left.
    fn result(&self) -> Result<Exit, Failure> {
        match self.unanswered() + self.lost {
            0 => Ok(Exit::Success),
            lines => Err(Failure::Unconfirmed(lines)),
        }
    }

    /// Keeps what was typed, until it can be passed to the client.
    fn typed(&mut self, typed: InputLine) {
        let typed = match typed {
            InputLine::Say(lines) => lines.into_iter().map(Typed::Say).collect(),
            InputLine::Command(line) => vec![Typed::Command(line)],
            InputLine::Upload(_) | InputLine::Download(_) if !self.server.allows_files => {
                return self.show(&format!("! {HOW_TO_COPY}"));
            }
            InputLine::Upload(path) => vec![Typed::Upload(path)],
            InputLine::Download(id) => vec![Typed::Download(id)],
            InputLine::Help => return self.show(HELP),
            InputLine::Wrong(why) => return self.show(&format!("! {why}")),
            InputLine::Quit(text) => {
                let late = Instant::now() + GOODBYE;
                self.goodbye = Some(Goodbye { text, late });
                return;
            }
        };
        let space = if self.is_connected {
            typed.len()
        } else {
            WAITING_MAX.saturating_sub(self.waiting.len())
        };
        let refused = typed.len().saturating_sub(space);
        self.waiting.extend(typed.into_iter().take(space));
        if refused > 0 {
            let lines = plural(refused, "line was", "lines were");
            self.show(&format!(
                "! {lines} not kept: {WAITING_MAX} lines are waiting for a connection"
            ));
        }
    }

    /// Passes on what was typed, while the client accepts it. After the last line, leaves if the user has left.
    fn pass_on(&mut self) {
        while self.is_connected
            && self.change.is_none()
            && !self.client.is_full()
            && let Some(typed) = self.waiting.pop_front()
        {
            if let Err(why) = self.send(typed) {
                self.show(&format!("! {why}"));
            }
        }
        if self.waiting.is_empty()
            && let Some(goodbye) = &self.goodbye
        {
            self.client.leave(&goodbye.text);
        }
    }

    fn send(&mut self, typed: Typed) -> Result<(), String> {
        match typed {
            Typed::Say(text) => {
                let to = self.room()?;
                let sent = self.client.say(&to, &text);
                self.said(sent, to, text)
            }
            Typed::Command(line) => self.command(&line),
            Typed::Upload(path) => self.upload(path),
            Typed::Download(id) => {
                self.download(id);
                Ok(())
            }
        }
    }

    /// Returns the current room.
    fn room(&self) -> Result<String, String> {
        let room = self.renderer.room().map(str::to_owned);
        room.ok_or_else(|| "you are in no room; join one with /join ROOM".to_owned())
    }

    fn said(
        &mut self,
        sent: Result<RequestId, Error>,
        to: String,
        text: String,
    ) -> Result<(), String> {
        let request_id = sent.map_err(|error| error.to_string())?;
        let is_replayed = false;
        let asked = Asked::Said {
            to,
            text,
            is_replayed,
        };
        self.requests.insert(request_id, asked);
        Ok(())
    }

    fn command(&mut self, line: &str) -> Result<(), String> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim_start();
        let (first, more) = rest.split_once(' ').unwrap_or((rest, ""));
        let asked = match verb {
            "ME" if !rest.is_empty() => {
                let to = self.room()?;
                let sent = self.client.act(&to, rest);
                return self.said(sent, to, rest.to_owned());
            }
            "TELL" if !more.is_empty() => {
                let sent = self.client.say(first, more);
                return self.said(sent, first.to_owned(), more.to_owned());
            }
            "JOIN" if !first.is_empty() => self.client.join(rest),
            "PART" if !first.is_empty() => self.client.part(first),
            "PART" => self.client.part(&self.room()?),
            "NICK" if !more.is_empty() => self.client.log_in(Login::new(first).password(more)),
            "NICK" if !first.is_empty() => self.client.rename(first),
            _ => self.client.request(line),
        };
        let request_id = asked.map_err(|error| error.to_string())?;
        if matches!(verb, "JOIN" | "PART" | "NICK") {
            self.change = Some(request_id);
        }
        let asked = Asked::Other(line.to_owned());
        self.requests.insert(request_id, asked);
        Ok(())
    }

    /// Processes an update.
    fn process(&mut self, update: Update) -> Result<(), Failure> {
        match update {
            Update::Connected { nick, .. } => self.connected(nick.unwrap_or_default()),
            Update::Disconnected { error, .. } => self.disconnected(&error),
            Update::Ended(error) => {
                let lines = self.unanswered() + self.lost;
                return Err(Failure::Ended { error, lines });
            }
            Update::JoinFailed {
                room,
                error,
                is_permanent,
            } => {
                if is_permanent {
                    self.renderer.leave(&room);
                }
                self.show(&format!("! {room}: {error}"));
            }
            Update::Left { room } => {
                self.changed();
                self.show_line(&ServerLine::Ok {
                    verb: "PART",
                    rest: &room,
                });
            }
            Update::Renamed { nick } => {
                self.changed();
                self.own_nick.clone_from(&nick);
                self.show_line(&ServerLine::Ok {
                    verb: "NICK",
                    rest: &nick,
                });
            }
            Update::Event {
                id,
                time,
                tags,
                event,
                is_replayed,
            } => {
                let is_known = is_replayed && self.is_typed_here(&event);
                if !is_known && !self.is_ignored(&event, is_replayed) {
                    self.show_line(&ServerLine::Live {
                        id,
                        time,
                        tags: tags.as_str(),
                        event,
                    });
                }
            }
            Update::Gap { place } => self.show_line(&ServerLine::Gap { place: &place }),
            Update::Sent { request_id, .. } => {
                self.answered(request_id);
            }
            Update::Answer { request_id, result } => {
                let asked = self.answered(request_id);
                match (asked, result) {
                    (Some(Asked::Other(request)), Ok(reply)) => self.done(&request, &reply),
                    (Some(Asked::Repeated(request)), Err(error)) => {
                        let lost = match request.strip_prefix("IGNORE ") {
                            Some(nick) => format!("{nick} is not ignored"),
                            None => "you are not away".to_owned(),
                        };
                        self.show(&format!("! {lost} on this connection: {error}"));
                    }
                    (Some(asked), Err(Error::Lost(_))) => self.gave_up(asked),
                    (_, Err(error)) => self.refused(&error),
                    (_, Ok(_)) => {}
                }
            }
            Update::Joined { .. } | Update::Seen { .. } => {}
        }
        Ok(())
    }

    fn connected(&mut self, nick: String) {
        self.is_connected = true;
        self.make_progress();
        let addresses = &self.server.addresses;
        let place = match addresses.iter().count() {
            1 => String::new(),
            _ => format!(", on {}", addresses.in_use()),
        };
        self.show(&format!("-- connected again{place}"));
        if nick != self.renderer.nick() {
            let reason = if nick == self.own_nick {
                ""
            } else {
                "your nick was taken; "
            };
            self.show(&format!("-- {reason}you are {nick} now"));
            self.renderer.rename(nick);
        }
        let room = self.client.rooms().last().map(|(room, _)| room.to_owned());
        if let Some(room) = room
            && self.renderer.room() != Some(&room)
        {
            // The user is in the lobby, having left every room, or because no other room could be joined.
            self.show_line(&ServerLine::Ok {
                verb: "JOIN",
                rest: &room,
            });
        }
        for request in self.repeated.clone() {
            // The client sends the requests that have not been answered again. The newest one must be the last one.
            let is_pending = self.requests.values().any(|asked| match asked {
                Asked::Repeated(pending) | Asked::Other(pending) => sets_same(pending, &request),
                Asked::Said { .. } => false,
            });
            // This fails only if the user has left.
            if !is_pending && let Ok(request_id) = self.client.request(&request) {
                self.requests.insert(request_id, Asked::Repeated(request));
            }
        }
    }

    /// Reports that a request was sent before a break, may have had no effect, and is not sent again.
    fn gave_up(&mut self, asked: Asked) {
        let (what, line) = match &asked {
            // It has arrived: the server has sent it with the missed events.
            Asked::Said {
                is_replayed: true, ..
            } => return,
            Asked::Said { text, .. } => ("line may not have arrived", &text[..]),
            Asked::Other(line) | Asked::Repeated(line) => {
                let verb = line.split(' ').next().unwrap_or_default();
                let is_secret = matches!(verb, "PASS" | "REGISTER");
                let shown = if is_secret { verb } else { line };
                ("command may not have been carried out", shown)
            }
        };
        self.show(&format!("! this {what}, and is not sent again: {line}"));
        if self.goodbye.is_some() {
            self.lost += 1;
        }
    }

    fn disconnected(&mut self, error: &Error) {
        if std::mem::replace(&mut self.is_connected, false) {
            self.show(&format!("-- {error}; trying again"));
        }
    }

    /// Handles that the server has answered a request. Returns what it was, if the user has made it.
    fn answered(&mut self, request_id: RequestId) -> Option<Asked> {
        self.make_progress();
        self.change.take_if(|change| *change == request_id);
        self.requests.remove(&request_id)
    }

    /// Handles that the nick or the current room has changed, as the user has asked.
    fn changed(&mut self) {
        if let Some(request_id) = self.change {
            self.answered(request_id);
        }
    }

    /// Gives the server more time to answer the rest, after the user has left.
    fn make_progress(&mut self) {
        if let Some(goodbye) = &mut self.goodbye {
            goodbye.late = Instant::now() + GOODBYE;
        }
    }

    /// Shows the reply to a request.
    fn done(&mut self, request: &str, reply: &Reply) {
        let (verb, argument) = request.split_once(' ').unwrap_or((request, ""));
        for line in &reply.lines {
            self.show_line(&line.read());
        }
        let rest = &reply.rest[..];
        self.show_line(&ServerLine::Ok { verb, rest });
        self.repeated.retain(|line| !sets_same(line, request));
        match verb {
            "AWAY" if !argument.is_empty() => self.repeated.push(request.to_owned()),
            "IGNORE" if !argument.is_empty() => self.repeated.push(format!("IGNORE {rest}")),
            _ => {}
        }
    }

    fn refused(&mut self, error: &Error) {
        match error {
            Error::Refused { verb, code, text } => self.show_line(&ServerLine::Err {
                verb,
                code: *code,
                text,
            }),
            error => self.show(&format!("! {error}")),
        }
    }

    /// Returns whether a replayed event is a message that the user has typed here, so that it is on the screen already.
    fn is_typed_here(&mut self, event: &Event<'_>) -> bool {
        let (Event::Msg { to, nick, text } | Event::Me { to, nick, text }) = event else {
            return false;
        };
        let is_own = *nick == self.renderer.nick();
        let mut same = self.requests.values_mut().filter_map(|asked| match asked {
            Asked::Said {
                to: place,
                text: said,
                is_replayed,
            } if is_own && place == to && said == text => Some(is_replayed),
            _ => None,
        });
        let first = same.find(|is_replayed| !**is_replayed);
        first.is_some_and(|is_replayed| !std::mem::replace(is_replayed, true))
    }

    /// Returns whether the event comes from an ignored nick, although this connection does not ignore the nick yet.
    fn is_ignored(&self, event: &Event<'_>, is_replayed: bool) -> bool {
        // The server shows renames, so that the new nick can be ignored too, and always an operator's notices.
        if matches!(event, Event::Nick { .. } | Event::Note { .. }) {
            return false;
        }
        let is_requested = |request: &String| {
            let mut asked = self.requests.values();
            asked.any(|asked| matches!(asked, Asked::Repeated(line) if line == request))
        };
        let from = format!("IGNORE {}", event.nick());
        self.repeated
            .iter()
            .filter(|request| sets_same(request, &from))
            .any(|request| is_replayed || !self.is_connected || is_requested(request))
    }

    /// Returns the login for a further connection.
    fn login(&mut self) -> Login {
        Login {
            nick: self.renderer.nick().to_owned(),
            password: self.client.state().password().map(str::to_owned),
        }
    }

    /// Uploads on a second connection, so that the user can go on typing. The server announces the file on the first
    /// connection.
    fn upload(&mut self, path: PathBuf) -> Result<(), String> {
        let (server, printer) = (self.server.clone(), self.printer.clone());
        let (login, room) = (self.login(), self.room()?);
        self.show(&format!("-- uploading {}", path.display()));
        let upload = async move {
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
        Ok(())
    }

    fn download(&mut self, id: u64) {
        let printer = self.printer.clone();
        let Login { nick, password } = self.login();
        let server = Server {
            nick: Some(nick),
            password,
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

/// Returns whether both requests set the same state, so that the later one overrides the other: both are `AWAY`, or both
/// are `IGNORE` or `UNIGNORE` of the same nick.
fn sets_same(one: &str, other: &str) -> bool {
    let state = |line: &str| {
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "AWAY" => Some(String::new()),
            "IGNORE" | "UNIGNORE" if !argument.is_empty() => Some(argument.trim().to_lowercase()),
            _ => None,
        }
    };
    state(one).is_some_and(|set| state(other) == Some(set))
}
