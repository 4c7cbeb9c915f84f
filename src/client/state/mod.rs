//! The state of a client that reconnects, without any I/O: the requests that wait for answers, the rooms that it is
//! in, and what must be sent again.
//!
//! [`ClientState`] takes lines and reports of lost connections, and returns bytes and [`Update`]s. Time is a number
//! that the caller passes, and randomness comes from a seed. [`super::ReconnectingClient`] runs it on real
//! connections. The module `login` brings a new connection to the state in which requests can be sent, `requests`
//! checks the requests, and `queue` holds them.
//!
//! After a broken connection, the client pauses and connects again. It joins each room from the id of the last event
//! seen there, so that nothing is missed and nothing is reported twice. A request without an answer is sent again.
//! Each message has a nonce, so that the server logs it once even if it receives it twice.

mod login;
mod queue;
mod requests;
mod types;

use std::collections::VecDeque;
use std::time::Duration;

use super::capabilities::ServerInfo;
use super::connection::Line;
use super::error::{Error, closed, refused};
use super::message::Tags;
use super::options::{Login, Options};
use super::update::Update;
use crate::protocol::{Code, Event, ServerLine};
use types::{Awaited, Lobby, PENDING_MAX, Pending, Phase, RoomPosition};

/// The maximum number of bytes in the lines that answer one request.
const REPLY_BYTES_MAX: usize = 16 << 20;

/// The first pause after a broken connection. Each further pause is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(250);

/// The longest pause. It is short, because somebody may be watching the screen.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The time within which a client that has lost its server goes to the next one.
const MOVE_WITHIN: Duration = Duration::from_millis(500);

/// The state of a client that reconnects.
///
/// The code that uses it connects at the time [`ClientState::retry_at`], reports each connection
/// ([`ClientState::connected`]), line ([`ClientState::receive`]) and lost connection ([`ClientState::disconnected`]),
/// and sends the bytes in [`ClientState::output`].
///
/// ```
/// use plainchat::client::{ClientState, Line, Options, Update};
///
/// let mut state = ClientState::new(Options::new("ann"), 1);
/// state.connected();
/// assert_eq!(state.output().split_off(0), b"HELLO\nSTAMPS on\nTAGS on\nNICK ann\n");
/// for line in ["OK HELLO 1 chat tags", "OK STAMPS on", "OK TAGS on", "OK NICK ann #lobby 7"] {
///     state.receive(Line::from(line.to_owned()))?;
/// }
/// assert!(matches!(state.next_update(), Some(Update::Joined { room, .. }) if room == "#lobby"));
/// assert!(matches!(state.next_update(), Some(Update::Connected { .. })));
/// state.say("#lobby", "hello")?;
/// assert_eq!(state.output(), b"TELL #lobby hello\n");
/// # Ok::<(), plainchat::client::Error>(())
/// ```
#[derive(Debug)]
pub struct ClientState {
    options: Options,
    /// The name and capabilities of the server.
    server: ServerInfo,
    /// The prefix of this client's nonces.
    nonce_prefix: String,
    /// The nick as the server spells it; `None` before the first login.
    nick: Option<String>,
    /// The nick of the first login or the last rename. Each further login asks for it first, even if the present one has
    /// a number because this nick was taken.
    own_nick: Option<String>,
    rooms: Vec<RoomPosition>,
    /// The lobby, if the client is there only because it took a nick.
    lobby: Option<Lobby>,
    /// The room that this connection joined last. The server considers it the current one.
    current: Option<String>,
    /// The requests without an answer, oldest first.
    pending: VecDeque<Pending>,
    /// The requests that were sent on this connection and have not been answered, oldest first.
    awaited: VecDeque<Awaited>,
    /// The lines received so far in reply to the oldest request in `awaited`, if that request asks for a list.
    list: Vec<Line>,
    list_bytes: usize,
    output: Vec<u8>,
    updates: VecDeque<Update>,
    phase: Phase,
    /// Whether a login has succeeded before.
    was_connected: bool,
    /// The number of connections in a row that have failed since the last login, without those in `moves`.
    attempts: u32,
    /// The number of pauses since the last lasting connection.
    pauses: u32,
    /// The number of servers that share the chat.
    servers: usize,
    /// How often the client has gone to another server without a pause since the last lasting connection.
    moves: usize,
    /// The time at which the present connection was to be made.
    due_at: Duration,
    /// The time at which the last connection broke on which the login had succeeded.
    broke_at: Duration,
    /// The nick with whose nonces messages were sent on the last connection. `None` if its server had no nonces.
    nonces_of: Option<String>,
    /// The refusal with `need-password`, if the server has sent one.
    password_error: Option<Error>,
    /// The server's last line, with the reason why it closed the connection.
    close_reason: Option<Error>,
    /// The text with which the client is to leave when nothing is pending.
    goodbye: Option<String>,
    last_request_id: u64,
    rng: fastrand::Rng,
}

impl ClientState {
    /// Creates the state of a client that has not connected yet. `seed` determines the randomness of the pauses.
    /// Clients of the same nick must have different seeds, because their nonces begin with the seed.
    pub fn new(options: Options, seed: u64) -> Self {
        let rooms = options.rooms.iter().map(|(name, last_id)| RoomPosition {
            name: name.clone(),
            last_id: *last_id,
            is_joined: false,
        });
        let mut rng = fastrand::Rng::with_seed(seed);
        Self {
            server: ServerInfo::default(),
            nonce_prefix: format!("{:x}", rng.u64(..) >> 16),
            nick: None,
            own_nick: None,
            lobby: None,
            current: None,
            rooms: rooms.collect(),
            options,
            pending: VecDeque::new(),
            awaited: VecDeque::new(),
            list: Vec::new(),
            list_bytes: 0,
            output: Vec::new(),
            updates: VecDeque::new(),
            phase: Phase::Disconnected {
                retry_at: Duration::ZERO,
            },
            was_connected: false,
            attempts: 0,
            pauses: 0,
            servers: 1,
            moves: 0,
            due_at: Duration::ZERO,
            broke_at: Duration::ZERO,
            nonces_of: None,
            password_error: None,
            close_reason: None,
            goodbye: None,
            last_request_id: 0,
            rng,
        }
    }

    /// Sets the number of servers that share the chat; without this, it is 1. After a broken connection, the caller must
    /// connect to the next one of them.
    pub fn set_servers(&mut self, servers: usize) {
        self.servers = servers;
    }

    /// Returns the time of the next connection attempt; `None` while there is a connection, and if no further one
    /// will be made.
    pub fn retry_at(&self) -> Option<Duration> {
        match self.phase {
            Phase::Disconnected { retry_at } => Some(retry_at),
            _ => None,
        }
    }

    /// Makes the next attempt due at once.
    pub fn retry_now(&mut self) {
        if let Phase::Disconnected { retry_at } = &mut self.phase {
            *retry_at = Duration::ZERO;
        }
    }

    /// Returns whether the client has ended. If so, only the waiting updates are left.
    pub fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Returns whether the client has ended because of [`ClientState::leave`]. The server has answered, and is about
    /// to close the connection.
    pub fn has_left(&self) -> bool {
        self.is_ended() && self.goodbye.is_some()
    }

    /// Returns whether so many requests wait for answers that no more are accepted.
    pub fn is_full(&self) -> bool {
        self.pending.len() >= PENDING_MAX
    }

    /// Returns the number of requests that have not been answered yet.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Returns the password of the nick.
    pub fn password(&self) -> Option<&str> {
        self.options.login.as_ref()?.password.as_deref()
    }

    /// Returns the nick, once the server has confirmed it.
    pub fn nick(&self) -> Option<&str> {
        self.nick.as_deref()
    }

    /// Returns the server's name and capabilities; empty before the first connection.
    pub fn server(&self) -> &ServerInfo {
        &self.server
    }

    /// Returns the rooms, each with the id of the last event seen in it.
    pub fn rooms(&self) -> impl Iterator<Item = (&str, Option<u64>)> {
        self.rooms.iter().map(|room| (&room.name[..], room.last_id))
    }

    /// Returns the bytes to send. The caller removes those that it has sent.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Returns the next update.
    pub fn next_update(&mut self) -> Option<Update> {
        self.updates.pop_front()
    }

    /// Records at the time `now` that the connection broke, or that none could be made ([`Error::Connect`]: at no
    /// server).
    pub fn disconnected(&mut self, error: Error, now: Duration) {
        if self.phase == Phase::Ended {
            return;
        }
        let error = self.close_reason.take().unwrap_or(error);
        self.output.clear();
        self.take_list();
        self.awaited.clear();
        if self.phase == Phase::Connected {
            self.broke_at = now;
        }
        let is_done = self.goodbye.is_some() && self.pending.is_empty();
        if self.phase == Phase::Connected && now.saturating_sub(self.due_at) >= PAUSE_MAX {
            (self.pauses, self.moves) = (0, 0);
        }
        let moves = self.moves_on(&error);
        if is_done || !self.was_connected && !moves || is_final(&error) {
            self.phase = Phase::Ended;
            if !is_done {
                self.updates.push_back(Update::Ended(error));
            }
            return;
        }
        // A part of the pause is random, so that the clients of a server that has stopped do not all come at once.
        let retry_in = if moves {
            self.moves += 1;
            MOVE_WITHIN.mul_f64(self.rng.f64())
        } else {
            let pause = PAUSE_FIRST
                .saturating_mul(1 << self.pauses.min(16))
                .min(PAUSE_MAX);
            self.pauses = self.pauses.saturating_add(1);
            self.attempts = self.attempts.saturating_add(1);
            pause.mul_f64(0.5 + self.rng.f64() / 2.0)
        };
        let retry_at = now + retry_in;
        self.due_at = retry_at;
        self.phase = Phase::Disconnected { retry_at };
        self.updates
            .push_back(Update::Disconnected { error, retry_in });
    }

    /// Returns whether the client goes on to the next server: there is one that it has not tried since the last lasting
    /// connection. (If connections broke again and again, it would be of no use to hurry.)
    fn moves_on(&self, error: &Error) -> bool {
        let is_all = matches!(error, Error::Connect { .. });
        !is_all && self.moves + 1 < self.servers
    }

    /// Returns whether another server, or this one in a moment, may serve the client although this one now refuses it.
    fn may_pass(&self, error: &Error) -> bool {
        error.is_passing() && (self.was_connected || self.servers > 1)
    }

    /// Returns whether the server refuses because it is cut off from the others, so that the request is made again on the
    /// next connection.
    fn is_cut_off(&self, error: &Error) -> bool {
        error.refusal() == Some(Code::CutOff) && self.may_pass(error)
    }

    /// Processes a line from the server.
    ///
    /// # Errors
    /// [`Error::Protocol`] if the server does not speak this protocol; [`Error::Refused`] if it cannot serve the client
    /// now. The caller must drop the connection, and pass the error to [`ClientState::disconnected`].
    pub fn receive(&mut self, line: Line) -> Result<(), Error> {
        match line.read() {
            ServerLine::Live {
                id,
                time,
                tags,
                event,
            } => self.event(Update::Event {
                id,
                time,
                tags: Tags::of(tags),
                event: event.into_owned(),
                is_replayed: false,
            }),
            ServerLine::Past {
                id,
                time,
                tags,
                event,
            } if self.is_replaying() => self.event(Update::Event {
                id: Some(id),
                time: Some(time),
                tags: Tags::of(tags),
                event: event.into_owned(),
                is_replayed: true,
            }),
            ServerLine::Past { .. }
            | ServerLine::Room { .. }
            | ServerLine::User { .. }
            | ServerLine::Reaction { .. }
            | ServerLine::Reader { .. }
            | ServerLine::Help { .. } => {
                self.list_bytes += line.as_str().len();
                if self.list_bytes > REPLY_BYTES_MAX {
                    return Err(Error::Protocol("a list has more than 16 MiB"));
                }
                self.list.push(line);
            }
            ServerLine::Ok { rest, .. } => {
                let rest = rest.to_owned();
                self.reply(Ok(rest))?;
            }
            ServerLine::Err { verb, code, text } => {
                let error = refused(verb, code, text);
                self.reply(Err(error))?;
            }
            ServerLine::Gap { place } if self.is_lobby(place) => {}
            ServerLine::Gap { place } => {
                let place = place.to_owned();
                self.updates.push_back(Update::Gap { place });
            }
            ServerLine::Closed { code, text } => self.close_reason = Some(closed(code, text)),
            ServerLine::Data { .. } => return Err(Error::Protocol("unexpected DATA")),
            ServerLine::Hello { .. } | ServerLine::Unknown => {}
        }
        Ok(())
    }

    /// Reports an event, unless it is not wanted or was reported before.
    fn event(&mut self, update: Update) {
        let Update::Event {
            id,
            tags,
            event,
            is_replayed,
            ..
        } = &update
        else {
            return;
        };
        if let Event::Seen {
            room, id, reader, ..
        } = event
        {
            return self.updates.push_back(Update::Seen {
                room: room.to_string(),
                reader: reader.to_string(),
                id: *id,
            });
        }
        // Events in the lobby before the client leaves it are not wanted. If a room is still to be joined from an id,
        // the server sends its events again in reply to the `JOIN`.
        let is_not_joined = |room: &RoomPosition| room.name == event.place() && !room.is_joined;
        if !is_replayed && (self.is_lobby(event.place()) || self.rooms.iter().any(is_not_joined)) {
            return;
        }
        if let Some(id) = id {
            let mut rooms = self.rooms.iter_mut();
            if let Some(room) = rooms.find(|room| room.name == event.place()) {
                if room.last_id.is_some_and(|last| id.get() <= last) {
                    return;
                }
                room.last_id = Some(id.get());
            }
        }
        // A bot must not answer what its nick sends to others.
        let (place, own) = (event.place(), self.nick.as_deref());
        let is_own = Some(event.nick()) == own && !place.starts_with('#') && Some(place) != own;
        let is_unwanted = is_own || tags.is_notice() && !self.options.reads_notices;
        if self.options.is_bot && is_unwanted {
            return;
        }
        self.updates.push_back(update);
    }

    /// Handles the reply to the oldest request in `awaited`.
    fn reply(&mut self, result: Result<String, Error>) -> Result<(), Error> {
        let lines = self.take_list();
        let awaited = self.awaited.pop_front();
        match awaited.ok_or(Error::Protocol("a reply without a request"))? {
            Awaited::Pending(request_id) => self.resolve(request_id, result, lines),
            Awaited::Goodbye => {
                self.phase = Phase::Ended;
                Ok(())
            }
            awaited => self.login_reply(awaited, result),
        }
    }

    /// Sends a request whose reply shows that the server is there.
    pub(super) fn ping(&mut self) {
        self.send("PING", Awaited::Ignored);
    }

    fn send(&mut self, line: &str, awaited: Awaited) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.push(b'\n');
        self.awaited.push_back(awaited);
    }

    fn take_list(&mut self) -> Vec<Line> {
        self.list_bytes = 0;
        std::mem::take(&mut self.list)
    }

    /// Returns the `NICK` line for `nick`, with the password.
    fn nick_line(&self, nick: &str) -> String {
        Login {
            nick: nick.to_owned(),
            password: self.password().map(str::to_owned),
        }
        .line()
    }
}

/// Returns whether the client would get this error again if it reconnected.
fn is_final(error: &Error) -> bool {
    match error {
        Error::Closed { code, .. } => matches!(
            code,
            Some(Code::Banned | Code::Kicked | Code::NotAllowed | Code::NeedPassword)
        ),
        Error::Untrusted { .. } => true,
        _ => false,
    }
}
