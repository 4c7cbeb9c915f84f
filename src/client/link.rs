//! One's standing on a server, across the connections that carry it: what is owed, where one is, what to say
//! again.
//!
//! Pure: bytes and lines pass by [`Link::output`] and [`Link::line`], time is a number that the caller gives, and
//! chance is seeded by it. [`super::Chat`] joins it with a connection.
//!
//! A connection that broke is followed by the next, after a pause. On it every room is entered after the last id
//! that was seen there, so that nothing is missed and nothing comes twice. What was asked and not answered is
//! owed: it is sent again, unless a line that the server replays shows that it was taken.
//!
//! The order of `PASS`, `STAMPS`, `JOIN` and `NICK` is the one of `protocol.md`, section 10.3: rooms with an id come
//! before the nick, rooms that are entered for the first time and those that refused come after it.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use super::update::{Ticket, Update};
use super::{Error, Line, Reply, Sent, closed, nicks, one_line, refused, sent};
use crate::protocol::text::clean;
use crate::protocol::{Code, Event, EventId, ServerLine, Time};

/// How many requests may wait for their replies: as many as a server reads ahead.
const OWED_MAX: usize = 1024;

/// How many nicks are tried before giving up: more than any class has seats.
const NICKS_MAX: u32 = 999;

/// The most bytes of the lines that answer one request.
const REPLY_BYTES_MAX: usize = 16 << 20;

/// The first pause after a connection broke; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(250);

/// The longest pause: somebody watches the screen and waits.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Who one wants to be, and where.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    /// What to be called; without a nick one only reads.
    pub nick: Option<String>,
    /// Whether a 2, 3, … is put behind a nick that is taken. On the way back it always is.
    pub number: bool,
    /// Guards the nick, so that the ghost of a broken connection does not keep one out.
    pub password: Option<String>,
    /// The password of the server itself, if it has one.
    pub opens: Option<String>,
    /// The rooms to enter, and after which id each; without an id, from now on. The last one is the current one.
    /// None is the lobby.
    pub rooms: Vec<(String, Option<u64>)>,
}

/// The state machine. One who drives it connects when [`Link::retry_at`] says so, tells it of every line and
/// every loss, and sends what [`Link::output`] holds.
#[derive(Debug)]
pub struct Link {
    wants: Wants,
    /// As the server writes it; `None` before the first reply.
    nick: Option<String>,
    places: Vec<Place>,
    /// The room that the nick has entered by itself, though other rooms are wanted, and its part of `OK NICK`. It is
    /// left again; `None` once the server has answered that.
    lobby: Option<(String, String)>,
    /// The room that was entered last on this connection: the current one, for the server.
    current: Option<String>,
    /// What has no answer yet, oldest first.
    owed: VecDeque<Owed>,
    /// What was asked on this connection and has no reply yet, oldest first.
    asked: VecDeque<Asked>,
    /// The list that answers the oldest of `asked`, so far.
    list: Vec<Line>,
    list_bytes: usize,
    out: Vec<u8>,
    updates: VecDeque<Update>,
    state: State,
    /// Whether one was in at all.
    is_known: bool,
    /// How often in a row it was tried to come back.
    tries: u32,
    /// The server has a password, and was not opened.
    is_shut: Option<Error>,
    /// What the server said before it closed.
    closing: Option<Error>,
    goodbye: Option<String>,
    last_ticket: u64,
    chance: fastrand::Rng,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No connection; the next is to be made at that time.
    Away { until: Duration },
    /// A connection stands, rooms and nick are asked for.
    Entering,
    /// All is as it should be.
    Here,
    /// There will be no further connection.
    Over,
}

/// A room that one is in, or wants to be.
#[derive(Debug)]
struct Place {
    room: String,
    /// The last logged event that one has of it.
    last: Option<u64>,
    /// This connection is in it.
    is_in: bool,
}

/// What the one who asked has no answer to.
#[derive(Debug)]
struct Owed {
    ticket: Ticket,
    what: What,
    /// It went out on the connection that broke: the server may have taken it.
    is_doubtful: bool,
}

#[derive(Clone, Debug)]
enum What {
    /// Said in a room: this event but for its nick.
    Say {
        room: String,
        text: String,
    },
    /// An action in a room.
    Act {
        room: String,
        text: String,
    },
    Join(String),
    Part(String),
    Rename(String),
    /// Anything else: its line.
    Ask(String),
}

#[derive(Debug)]
enum Asked {
    /// Its reply tells nothing.
    Aside,
    /// The server's password, without which one need not go on.
    Pass,
    /// A room to enter; `is_early` when the nick comes after it, and the room is asked for once more if it refuses.
    Enter {
        room: String,
        is_early: bool,
    },
    /// The lobby, where the nick has come and is not wanted.
    LeaveLobby,
    /// The nick, and which try it is.
    Nick(String, u32),
    /// The last of what one asks on the way in, when one has no nick.
    Ready,
    Owed(Ticket),
    Goodbye,
}

impl Link {
    /// Somebody who is not there yet; `seed` is for the pauses' chance.
    pub fn new(wants: Wants, seed: u64) -> Self {
        let place = |(room, last): &(String, Option<u64>)| Place {
            room: room.clone(),
            last: *last,
            is_in: false,
        };
        Self {
            nick: None,
            lobby: None,
            current: None,
            places: wants.rooms.iter().map(place).collect(),
            wants,
            owed: VecDeque::new(),
            asked: VecDeque::new(),
            list: Vec::new(),
            list_bytes: 0,
            out: Vec::new(),
            updates: VecDeque::new(),
            state: State::Away {
                until: Duration::ZERO,
            },
            is_known: false,
            tries: 0,
            is_shut: None,
            closing: None,
            goodbye: None,
            last_ticket: 0,
            chance: fastrand::Rng::with_seed(seed),
        }
    }

    /// When the next connection is to be made; `None` while there is one, and when there will be none.
    pub fn retry_at(&self) -> Option<Duration> {
        match self.state {
            State::Away { until } => Some(until),
            _ => None,
        }
    }

    /// Makes the next try due at once: somebody asked for it, or the network is back.
    pub fn retry_now(&mut self) {
        if let State::Away { until } = &mut self.state {
            *until = Duration::ZERO;
        }
    }

    /// Whether there is nothing to come but the updates that wait.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Whether it is over as one wished: the server has answered one's goodbye, and is about to close.
    pub fn is_let_go(&self) -> bool {
        self.is_over() && self.goodbye.is_some()
    }

    /// Whether so much waits for its answer that nothing further is taken.
    pub fn is_full(&self) -> bool {
        self.owed.len() >= OWED_MAX
    }

    /// How many requests have no answer yet.
    pub fn owed(&self) -> usize {
        self.owed.len()
    }

    /// What guards one's nick.
    pub fn password(&self) -> Option<&str> {
        self.wants.password.as_deref()
    }

    /// What one is called, as far as known.
    pub fn nick(&self) -> Option<&str> {
        self.nick.as_deref()
    }

    /// The rooms that one is in, and the last id that one has of each.
    pub fn rooms(&self) -> impl Iterator<Item = (&str, Option<u64>)> {
        self.places.iter().map(|p| (&p.room[..], p.last))
    }

    /// What to send; whoever sends some of it takes that away.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// The next thing to tell.
    pub fn next_update(&mut self) -> Option<Update> {
        self.updates.pop_front()
    }

    /// Says `text` in `room`, joined or not, or tells it to a nick.
    ///
    /// # Errors
    /// [`Error::Line`] when it cannot be one line, or too much waits already.
    pub fn say(&mut self, to: &str, text: &str) -> Result<Ticket, Error> {
        let (room, text) = (to.to_owned(), clean(text).into_owned());
        one_line(format!("TELL {room} {text}"))?;
        match room.starts_with('#') {
            true => self.owe(What::Say { room, text }),
            false => self.owe(What::Ask(format!("TELL {room} {text}"))),
        }
    }

    /// Says that one does `text`, in a room that one is in.
    ///
    /// # Errors
    /// As [`Link::say`].
    pub fn act(&mut self, room: &str, text: &str) -> Result<Ticket, Error> {
        let (room, text) = (room.to_owned(), clean(text).into_owned());
        one_line(format!("ME {text}"))?;
        if !self.places.iter().any(|place| place.room == room) {
            return Err(Error::Line("one acts only in a room that one is in"));
        }
        self.owe(What::Act { room, text })
    }

    /// Enters a room.
    ///
    /// # Errors
    /// As [`Link::say`].
    pub fn join(&mut self, room: &str) -> Result<Ticket, Error> {
        one_line(format!("JOIN {room}"))?;
        self.owe(What::Join(room.to_owned()))
    }

    /// Leaves a room.
    ///
    /// # Errors
    /// As [`Link::say`].
    pub fn part(&mut self, room: &str) -> Result<Ticket, Error> {
        one_line(format!("PART {room}"))?;
        self.owe(What::Part(room.to_owned()))
    }

    /// Takes another nick.
    ///
    /// # Errors
    /// As [`Link::say`].
    pub fn rename(&mut self, nick: &str) -> Result<Ticket, Error> {
        one_line(format!("NICK {nick}"))?;
        self.owe(What::Rename(nick.to_owned()))
    }

    /// Asks anything that is answered with lines and leaves nick, rooms and modes as they are. It is asked again
    /// when the connection breaks before its answer.
    ///
    /// # Errors
    /// As [`Link::say`].
    pub fn ask(&mut self, line: String) -> Result<Ticket, Error> {
        one_line(line.clone())?;
        self.owe(What::Ask(line))
    }

    /// Leaves once everything is answered, with a word for the others.
    pub fn leave(&mut self, text: &str) {
        self.goodbye = Some(clean(text).into_owned());
        if !self.is_known && self.owed.is_empty() && matches!(self.state, State::Away { .. }) {
            self.state = State::Over;
        }
        self.go();
    }

    /// A connection stands.
    pub fn connected(&mut self) {
        self.state = State::Entering;
        self.out.clear();
        self.asked.clear();
        (self.closing, self.is_shut) = (None, None);
        self.drop_list();
        if let Some(password) = self.wants.opens.clone() {
            self.send(&format!("PASS {password}"), Asked::Pass);
        }
        self.send("STAMPS on", Asked::Aside);
        (self.lobby, self.current) = (None, None);
        for place in &mut self.places {
            place.is_in = false;
        }
        let nick = self.nick.as_ref().or(self.wants.nick.as_ref()).cloned();
        match nick {
            Some(nick) => {
                self.enter(|place| place.last.is_some(), true);
                self.take_nick(nick, 1);
            }
            None => {
                self.enter(|_| true, false);
                self.send("PING", Asked::Ready);
            }
        }
    }

    /// Asks to enter those of the places that `which` names, each after the last event that one has of it.
    fn enter(&mut self, which: impl Fn(&Place) -> bool, is_early: bool) {
        let rooms = self.places.iter().filter(|place| which(place));
        let asked: Vec<(String, String)> = rooms
            .map(|place| (place.room.clone(), place.line()))
            .collect();
        for (room, line) in asked {
            self.send(&line, Asked::Enter { room, is_early });
        }
    }

    /// The connection broke at `now`, or none could be made.
    pub fn lost(&mut self, why: Error, now: Duration) {
        if self.state == State::Over {
            return;
        }
        let why = self.closing.take().unwrap_or(why);
        self.out.clear();
        self.drop_list();
        let has_gone_out = |asked: &Asked| matches!(asked, Asked::Owed(_));
        if self.asked.iter().any(has_gone_out) {
            for owed in &mut self.owed {
                let ticket = owed.ticket;
                owed.is_doubtful |= self
                    .asked
                    .iter()
                    .any(|asked| matches!(asked, Asked::Owed(t) if *t == ticket));
            }
        }
        self.asked.clear();
        let is_done = self.goodbye.is_some() && self.owed.is_empty();
        if is_done || !self.is_known || is_final(&why) {
            self.state = State::Over;
            if !is_done {
                self.updates.push_back(Update::Over(why));
            }
            return;
        }
        let pause = PAUSE_FIRST
            .saturating_mul(1 << self.tries.min(16))
            .min(PAUSE_MAX);
        // Half of it is chance, so that those whom one server has lost do not all come back at once.
        let pause = pause.mul_f64(0.5 + self.chance.f64() / 2.0);
        self.tries = self.tries.saturating_add(1);
        self.state = State::Away { until: now + pause };
        self.updates.push_back(Update::Away { why, pause });
    }

    /// A line came.
    ///
    /// # Errors
    /// When the other side does not speak this protocol: the connection is to be given up.
    pub fn line(&mut self, line: Line) -> Result<(), Error> {
        match line.read() {
            ServerLine::Live { id, time, event } => {
                let event = event.into_owned();
                self.happened(id, time, event, false);
            }
            ServerLine::Past { id, time, event } if self.is_entering() => {
                let event = event.into_owned();
                self.happened(Some(id), Some(time), event, true);
            }
            ServerLine::Past { .. }
            | ServerLine::Room { .. }
            | ServerLine::User { .. }
            | ServerLine::Help { .. } => {
                self.list_bytes += line.as_str().len();
                if self.list_bytes > REPLY_BYTES_MAX {
                    return Err(Error::Protocol("a list has more than 16 MiB"));
                }
                self.list.push(line);
            }
            ServerLine::Ok { rest, .. } => {
                let rest = rest.to_owned();
                self.answered(Ok(rest))?;
            }
            ServerLine::Err { verb, code, text } => {
                let error = refused(verb, code, text);
                self.answered(Err(error))?;
            }
            ServerLine::Gap { place } if self.is_lobby(place) => {}
            ServerLine::Gap { place } => {
                let place = place.to_owned();
                self.updates.push_back(Update::Gap { place });
            }
            ServerLine::Closed { code, text } => self.closing = Some(closed(code, text)),
            ServerLine::Data { .. } => return Err(Error::Protocol("bytes that nobody asked for")),
            ServerLine::Hello { .. } | ServerLine::Unknown => {}
        }
        Ok(())
    }

    /// Whether what the server replays now is the past of a room that is being entered.
    fn is_entering(&self) -> bool {
        match self.asked.front() {
            Some(Asked::Enter { .. }) => true,
            Some(Asked::Owed(ticket)) => {
                let owed = self.owed.iter().find(|owed| owed.ticket == *ticket);
                owed.is_some_and(|owed| matches!(owed.what, What::Join(_)))
            }
            _ => false,
        }
    }

    /// Whether that is the lobby, entered by the nick and not wanted.
    fn is_lobby(&self, room: &str) -> bool {
        matches!(&self.lobby, Some((lobby, _)) if lobby == room)
    }

    fn happened(
        &mut self,
        id: Option<EventId>,
        time: Option<Time>,
        event: Event<'static>,
        is_past: bool,
    ) {
        // What happens in the lobby before it is left, or entered with an id, is not wanted, or comes again with that.
        let is_outside = |place: &Place| place.room == event.place() && !place.is_in;
        if !is_past && (self.is_lobby(event.place()) || self.places.iter().any(is_outside)) {
            return;
        }
        if let Some(id) = id {
            let mut places = self.places.iter_mut();
            if let Some(place) = places.find(|place| place.room == event.place()) {
                if place.last.is_some_and(|last| id.get() <= last) {
                    return;
                }
                place.last = Some(id.get());
            }
            // Before one is in again, a line of one's own can only be one that the broken connection carried.
            if self.state == State::Entering
                && let Some(time) = time
                && let Some(ticket) = self.was_taken(&event)
            {
                let sent = Sent { id: Some(id), time };
                let event = Some(event);
                self.updates.push_back(Update::Sent {
                    ticket,
                    sent,
                    event,
                });
                return;
            }
        }
        self.updates.push_back(Update::Event {
            id,
            time,
            event,
            is_past,
        });
    }

    /// Takes the oldest doubtful line that `event` shows to have arrived from what is owed.
    fn was_taken(&mut self, event: &Event<'_>) -> Option<Ticket> {
        if Some(event.nick()) != self.nick.as_deref() {
            return None;
        }
        let is_it = |owed: &Owed| match (&owed.what, event) {
            (What::Say { room, text }, Event::Msg { to, text: said, .. })
            | (What::Act { room, text }, Event::Me { to, text: said, .. }) => {
                owed.is_doubtful && room == to && text == said
            }
            _ => false,
        };
        let at = self.owed.iter().position(is_it)?;
        self.owed.remove(at).map(|owed| owed.ticket)
    }

    fn answered(&mut self, result: Result<String, Error>) -> Result<(), Error> {
        let lines = self.drop_list();
        let asked = self.asked.pop_front();
        match asked.ok_or(Error::Protocol("a reply to nothing"))? {
            Asked::Aside => {
                if let Err(error) = result
                    && error.refusal() == Some(Code::NeedPassword)
                {
                    self.is_shut = Some(error);
                }
            }
            Asked::Pass => {
                if let Err(error) = result {
                    self.state = State::Over;
                    self.updates.push_back(Update::Over(error));
                }
            }
            Asked::Enter { room, is_early } => {
                match result {
                    Ok(rest) => self.entered(&room, &rest)?,
                    // A closed room lets nobody in who has no nick yet.
                    Err(_) if is_early => {}
                    Err(error) => {
                        let is_for_good = is_refused_for_good(&error);
                        if is_for_good {
                            self.places.retain(|place| place.room != room);
                        }
                        self.updates.push_back(Update::KeptOut {
                            room,
                            error,
                            is_for_good,
                        });
                    }
                }
                let is_on_the_way = |asked: &Asked| {
                    matches!(asked, Asked::Enter { .. } | Asked::Nick(..) | Asked::Ready)
                };
                if !self.asked.iter().any(is_on_the_way) {
                    self.here()?;
                }
            }
            Asked::LeaveLobby => self.lobby = None,
            Asked::Nick(tried, n) => match result {
                Ok(rest) => self.named(&rest)?,
                // Where nothing was let in, a nick's password is a guess at the server's.
                Err(error) if self.is_shut.is_some() => {
                    self.state = State::Over;
                    let why = self.is_shut.take().unwrap_or(error);
                    self.updates.push_back(Update::Over(why));
                }
                Err(error) => {
                    let is_taken =
                        matches!(error.refusal(), Some(Code::NickTaken | Code::BadPassword));
                    if !is_taken || n > NICKS_MAX || !(self.wants.number || self.is_known) {
                        self.state = State::Over;
                        self.updates.push_back(Update::Over(error));
                        return Ok(());
                    }
                    let base = self.wants.nick.clone().unwrap_or(tried);
                    let next = nicks(&base).nth(n as usize).unwrap_or_default();
                    self.take_nick(next, n + 1);
                }
            },
            Asked::Ready => self.here()?,
            Asked::Owed(ticket) => self.settled(ticket, result, lines)?,
            Asked::Goodbye => self.state = State::Over,
        }
        Ok(())
    }

    /// `OK NICK`: now the rooms that want a nick, or have refused one without.
    fn named(&mut self, rest: &str) -> Result<(), Error> {
        let (nick, current) = rest.split_once(' ').unwrap_or((rest, ""));
        self.nick = Some(nick.to_owned());
        if self.is_shut.take().is_some() {
            // The nick's own password has opened the server.
            self.send("STAMPS on", Asked::Aside);
        }
        let room = current.split(' ').next().unwrap_or_default();
        let is_lobby = !room.is_empty() && !self.places.iter().any(|place| place.is_in);
        let place = self.places.iter().find(|place| place.room == room);
        match place.map(|place| place.last) {
            // It is asked for with its id below; what comes before that comes again with it.
            Some(Some(_)) => {}
            Some(None) if is_lobby => self.entered(room, current)?,
            None if is_lobby && self.places.is_empty() => self.entered(room, current)?,
            None if is_lobby => self.lobby = Some((room.to_owned(), current.to_owned())),
            _ => {}
        }
        if self.places.iter().all(|place| place.is_in) {
            return self.here();
        }
        self.enter(|place| !place.is_in, false);
        Ok(())
    }

    /// Tells what became of something owed.
    fn settled(
        &mut self,
        ticket: Ticket,
        result: Result<String, Error>,
        lines: Vec<Line>,
    ) -> Result<(), Error> {
        let at = self.owed.iter().position(|owed| owed.ticket == ticket);
        let Some(owed) = at.and_then(|at| self.owed.remove(at)) else {
            return Err(Error::Protocol("a reply to nothing"));
        };
        let update = match (owed.what, result) {
            (what @ (What::Say { .. } | What::Act { .. }), Ok(rest)) => {
                let (lines, nick) = (Vec::new(), self.nick.clone().unwrap_or_default());
                let sent = sent(&Reply { rest, lines })?;
                let nick = Cow::Owned(nick);
                let event = match what {
                    What::Act { room, text } => Event::Me {
                        to: room.into(),
                        nick,
                        text: text.into(),
                    },
                    What::Say { room, text } => Event::Msg {
                        to: room.into(),
                        nick,
                        text: text.into(),
                    },
                    _ => return Ok(()),
                };
                let mut places = self.places.iter_mut();
                let place = places.find(|place| place.room == event.place());
                if let (Some(place), Some(id)) = (place, sent.id) {
                    place.last = place.last.max(Some(id.get()));
                }
                let event = Some(event);
                Update::Sent {
                    ticket,
                    sent,
                    event,
                }
            }
            (What::Join(_), Ok(rest)) => {
                let room = rest.split(' ').next().unwrap_or_default().to_owned();
                self.entered(&room, &rest)?;
                Update::Answer {
                    ticket,
                    result: Ok(Reply { rest, lines }),
                }
            }
            (What::Part(_), Ok(rest)) => {
                self.places.retain(|place| place.room != rest);
                Update::Left { room: rest }
            }
            (What::Rename(_), Ok(rest)) => {
                let nick = rest.split(' ').next().unwrap_or_default().to_owned();
                self.nick = Some(nick.clone());
                self.wants.nick = Some(nick.clone());
                Update::Renamed { nick }
            }
            (What::Ask(_), Ok(rest)) => Update::Answer {
                ticket,
                result: Ok(Reply { rest, lines }),
            },
            (_, Err(error)) => Update::Answer {
                ticket,
                result: Err(error),
            },
        };
        self.updates.push_back(update);
        self.go();
        Ok(())
    }

    /// `OK JOIN`, or the lobby's part of `OK NICK`.
    fn entered(&mut self, asked: &str, rest: &str) -> Result<(), Error> {
        let (room, last) = rest.split_once(' ').unwrap_or((rest, ""));
        let bad = || Error::Protocol("a room is entered without an id");
        let last: u64 = last.parse().map_err(|_| bad())?;
        self.current = Some(room.to_owned());
        if self.is_lobby(room) {
            // It was wanted under another spelling.
            self.lobby = None;
        }
        let known = self
            .places
            .iter()
            .position(|place| place.room == asked || place.room == room);
        let is_again = match known.and_then(|at| self.places.get_mut(at)) {
            Some(place) => {
                place.room = room.to_owned();
                place.is_in = true;
                // One that is smaller comes of a server that began anew: the ids that one has mean nothing to it.
                place.last.replace(last).is_some()
            }
            None => {
                self.places.push(Place {
                    room: room.to_owned(),
                    last: Some(last),
                    is_in: true,
                });
                false
            }
        };
        self.updates.push_back(Update::Entered {
            room: room.to_owned(),
            last_id: last,
            is_again,
        });
        Ok(())
    }

    /// Nick and rooms are asked for and had: now what is owed.
    fn here(&mut self) -> Result<(), Error> {
        self.state = State::Here;
        self.tries = 0;
        if let Some((room, current)) = self.lobby.take() {
            if self.places.iter().any(|place| place.is_in) {
                self.send(&format!("PART {room}"), Asked::LeaveLobby);
                self.lobby = Some((room, current));
            } else {
                // No other room has let one in.
                self.entered(&room, &current)?;
            }
        }
        if let Some(place) = self.places.last()
            && place.is_in
            && self.current.as_ref() != Some(&place.room)
        {
            let line = format!("JOIN {}", place.room);
            self.send(&line, Asked::Aside);
        }
        let is_again = std::mem::replace(&mut self.is_known, true);
        let nick = self.nick.clone();
        self.updates.push_back(Update::Here { nick, is_again });
        let owed: Vec<(Ticket, What)> = self
            .owed
            .iter()
            .map(|o| (o.ticket, o.what.clone()))
            .collect();
        for (ticket, what) in owed {
            self.put(ticket, &what);
        }
        self.go();
        Ok(())
    }

    fn take_nick(&mut self, nick: String, n: u32) {
        let line = self.nick_line(&nick);
        self.send(&line, Asked::Nick(nick, n));
    }

    fn nick_line(&self, nick: &str) -> String {
        match &self.wants.password {
            Some(password) => format!("NICK {nick} {password}"),
            None => format!("NICK {nick}"),
        }
    }

    fn owe(&mut self, what: What) -> Result<Ticket, Error> {
        if self.is_full() {
            return Err(Error::Line("too much waits to be sent already"));
        }
        if self.goodbye.is_some() || self.state == State::Over {
            return Err(Error::Line("you have left"));
        }
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        if self.state == State::Here {
            self.put(ticket, &what);
        }
        self.owed.push_back(Owed {
            ticket,
            what,
            is_doubtful: false,
        });
        Ok(ticket)
    }

    /// Sends the lines of something owed.
    fn put(&mut self, ticket: Ticket, what: &What) {
        let line = match what {
            What::Say { room, text } => format!("TELL {room} {text}"),
            What::Act { room, text } => {
                // `ME` goes to the current room alone.
                self.send(&format!("JOIN {room}"), Asked::Aside);
                format!("ME {text}")
            }
            What::Join(room) => {
                // One that could not be entered again is entered where one was.
                let mut places = self.places.iter();
                let place = places.find(|place| place.room == *room && !place.is_in);
                place.map_or_else(|| format!("JOIN {room}"), Place::line)
            }
            What::Part(room) => format!("PART {room}"),
            What::Rename(nick) => self.nick_line(nick),
            What::Ask(line) => line.clone(),
        };
        self.send(&line, Asked::Owed(ticket));
    }

    /// Says goodbye, when one is to go and nothing is owed.
    fn go(&mut self) {
        if self.state == State::Here
            && self.owed.is_empty()
            && let Some(text) = self.goodbye.clone()
            && !matches!(self.asked.back(), Some(Asked::Goodbye))
        {
            self.send(format!("BYE {text}").trim_end(), Asked::Goodbye);
        }
    }

    fn send(&mut self, line: &str, asked: Asked) {
        self.out.extend_from_slice(line.as_bytes());
        self.out.push(b'\n');
        self.asked.push_back(asked);
    }

    fn drop_list(&mut self) -> Vec<Line> {
        self.list_bytes = 0;
        std::mem::take(&mut self.list)
    }
}

impl Place {
    /// The request that enters it.
    fn line(&self) -> String {
        match self.last {
            Some(last) => format!("JOIN {} {last}", self.room),
            None => format!("JOIN {}", self.room),
        }
    }
}

/// Whether a room that refused will go on doing so: it is closed to this nick, or can be no room. Another refusal is
/// the server's trouble of the moment.
fn is_refused_for_good(error: &Error) -> bool {
    use Code::{BadName, BadSyntax, NeedNick, NotAllowed, TooLong};
    matches!(
        error.refusal(),
        Some(BadName | BadSyntax | NeedNick | NotAllowed | TooLong)
    )
}

/// Whether there is no use in coming back.
fn is_final(why: &Error) -> bool {
    match why {
        Error::Closed { code, .. } => matches!(
            code,
            Some(Code::Banned | Code::Kicked | Code::NotAllowed | Code::NeedPassword)
        ),
        Error::Untrusted { .. } => true,
        _ => false,
    }
}
