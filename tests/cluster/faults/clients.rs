//! Clients that go on to another server when theirs breaks or hangs, and remember everything that they were told.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::support::random::Random;

/// The longest wait for a line before a client looks what else is due.
const TICK: Duration = Duration::from_millis(10);

/// The time between two attempts to connect, or to take a nick.
const PAUSE: Duration = Duration::from_millis(100);

/// The time after which a client that cannot connect or send goes elsewhere.
const CONNECTED_WITHIN: Duration = Duration::from_secs(2);

/// The maximum number of messages of a client that are not answered.
const UNANSWERED_MAX: usize = 50;

/// What all clients of a round know.
pub struct World {
    /// The addresses of the servers.
    pub addresses: Mutex<Vec<SocketAddr>>,
    is_over: Mutex<bool>,
    over: Condvar,
}

/// What a client does.
#[derive(Clone, Debug)]
pub struct Plan {
    pub name: String,
    /// The nick; `None` for a reader.
    pub nick: Option<String>,
    pub room: String,
    /// The server to which the client connects first.
    pub server: usize,
    /// The time between two messages.
    pub pace: Duration,
    /// How long the client waits for an answer before it goes to another server.
    pub patience: Duration,
    pub habit: Habit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Sends messages. With `true`, sends what was not answered again, with the nonce that it had.
    Writes(bool),
    Uploads,
    Reads,
    /// Takes a nick without a password, as soon as nobody else has it, and gives it back after a while.
    Holds,
}

/// What a client has sent, and what it was told about it.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The text, or the name of the file.
    pub text: String,
    pub sent: u32,
    pub refused: u32,
    /// The ids with which it was acknowledged.
    pub ids: Vec<u64>,
}

/// What a client remembers.
#[derive(Clone, Debug)]
pub struct Memory {
    pub plan: Plan,
    pub messages: Vec<Message>,
    /// The messages of each connection, in the order in which they were sent there.
    pub connections: Vec<Vec<usize>>,
    /// The ids of the room's events, as they were shown or acknowledged.
    pub seen: Vec<u64>,
    /// What was wrong at once.
    pub wrong: Vec<String>,
    /// When something was acknowledged.
    pub acknowledged_at: Vec<Instant>,
    began_at: Instant,
    /// Everything that was sent and received, if it is wanted.
    pub trace: Option<String>,
}

/// Why a client leaves a server.
#[derive(Debug)]
pub struct Broken;

/// A connection whose lines are read with a deadline.
pub struct Wire {
    stream: TcpStream,
    bytes: Vec<u8>,
    taken: usize,
}

impl World {
    pub fn new(addresses: Vec<SocketAddr>) -> Self {
        Self {
            addresses: Mutex::new(addresses),
            is_over: Mutex::new(false),
            over: Condvar::new(),
        }
    }

    /// Tells all clients to end.
    pub fn end(&self) {
        *self.is_over.lock().expect("no thread panics with it") = true;
        self.over.notify_all();
    }

    fn is_over(&self) -> bool {
        *self.is_over.lock().expect("no thread panics with it")
    }

    fn pause(&self) {
        let is_over = self.is_over.lock().expect("no thread panics with it");
        if !*is_over {
            let waited = self.over.wait_timeout(is_over, PAUSE);
            drop(waited.expect("no thread panics with it"));
        }
    }
}

impl Wire {
    pub fn connect(address: SocketAddr) -> Result<Self, Broken> {
        let stream = TcpStream::connect_timeout(&address, CONNECTED_WITHIN).map_err(|_| Broken)?;
        stream.set_nodelay(true).map_err(|_| Broken)?;
        let (reads, writes) = (Some(TICK), Some(CONNECTED_WITHIN));
        stream.set_read_timeout(reads).map_err(|_| Broken)?;
        stream.set_write_timeout(writes).map_err(|_| Broken)?;
        Ok(Self {
            stream,
            bytes: Vec::new(),
            taken: 0,
        })
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Broken> {
        self.stream.write_all(bytes.as_ref()).map_err(|_| Broken)
    }

    /// Returns the next line, or `None` if none comes for a moment.
    pub fn line(&mut self) -> Result<Option<String>, Broken> {
        let unread = &self.bytes[self.taken..];
        if let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&unread[..end]).into_owned();
            self.taken += end + 1;
            return Ok(Some(line));
        }
        self.receive()?;
        let is_there = self.bytes[self.taken..].contains(&b'\n');
        if is_there { self.line() } else { Ok(None) }
    }

    /// Returns the next line, which must come until then.
    pub fn line_until(&mut self, late: Instant) -> Result<String, Broken> {
        loop {
            if let Some(line) = self.line()? {
                return Ok(line);
            }
            if Instant::now() > late {
                return Err(Broken);
            }
        }
    }

    /// Returns the next bytes, which must come until then.
    pub fn bytes_until(&mut self, count: usize, late: Instant) -> Result<Vec<u8>, Broken> {
        while self.bytes.len() - self.taken < count {
            self.receive()?;
            if Instant::now() > late {
                return Err(Broken);
            }
        }
        let bytes = self.bytes[self.taken..self.taken + count].to_vec();
        self.taken += count;
        Ok(bytes)
    }

    fn receive(&mut self) -> Result<(), Broken> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        let mut bytes = [0; 16 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(Broken),
            Ok(count) => {
                self.bytes.extend_from_slice(&bytes[..count]);
                Ok(())
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
            Err(_) => Err(Broken),
        }
    }
}

/// Returns the contents of a file with this name.
pub fn contents(name: &str) -> Vec<u8> {
    let number = name.bytes().fold(0, |all: u64, byte| {
        all.wrapping_mul(31).wrapping_add(byte.into())
    });
    let mut random = Random::new(number);
    let length = 1 + random.below(40_000) as usize;
    random.bytes(length)
}

/// A client at work.
struct Client<'a> {
    world: &'a World,
    memory: Memory,
    /// What was sent and not answered, with the time.
    unanswered: VecDeque<(usize, Instant)>,
    /// The id of the last event that the client knows.
    last: u64,
    /// When the next message is due.
    due: Instant,
    random: Random,
}

/// Carries out a plan until the world is over.
pub fn work(world: &Arc<World>, plan: Plan, last: u64, seed: u64) -> Memory {
    let (mut server, now) = (plan.server, Instant::now());
    let memory = Memory {
        plan,
        messages: Vec::new(),
        connections: Vec::new(),
        seen: Vec::new(),
        wrong: Vec::new(),
        acknowledged_at: Vec::new(),
        began_at: now,
        trace: std::env::var_os("LOGS").map(|_| String::new()),
    };
    let mut client = Client {
        world,
        memory,
        unanswered: VecDeque::new(),
        last,
        due: now,
        random: Random::new(seed),
    };
    while !world.is_over() {
        let address = {
            let addresses = world.addresses.lock().expect("no thread panics with it");
            addresses[server % addresses.len()]
        };
        client.memory.note(&format!("to {}", server % 3));
        let ended = match client.memory.plan.habit {
            Habit::Reads => client.read(address),
            Habit::Holds => client.hold(address),
            Habit::Writes(_) | Habit::Uploads => client.write(address),
        };
        if ended.is_err() {
            server += 1;
        }
        world.pause();
    }
    client.memory
}

impl Client<'_> {
    /// Connects, and joins the room where the client was before.
    fn connect(&mut self, address: SocketAddr) -> Result<Wire, Broken> {
        let mut wire = Wire::connect(address)?;
        let plan = self.memory.plan.clone();
        let mut hello = format!("STAMPS on\nJOIN {} {}\n", plan.room, self.last);
        let wanted = match &plan.nick {
            Some(nick) => {
                hello += &format!("NICK {nick} secret-{nick}\n");
                "OK NICK "
            }
            None => "OK JOIN ",
        };
        wire.send(hello)?;
        let late = Instant::now() + plan.patience;
        loop {
            let line = wire.line_until(late)?;
            if line.starts_with("ERR ") {
                return Err(Broken);
            }
            self.hear(&line)?;
            if line.starts_with(wanted) {
                return Ok(wire);
            }
        }
    }

    fn read(&mut self, address: SocketAddr) -> Result<(), Broken> {
        let mut wire = self.connect(address)?;
        let (mut asked_at, mut heard_at) = (Instant::now(), Instant::now());
        while !self.world.is_over() {
            let now = Instant::now();
            if let Some(line) = wire.line()? {
                heard_at = now;
                self.hear(&line)?;
            }
            if now > heard_at + self.memory.plan.patience {
                return Err(Broken);
            }
            if now > asked_at + CONNECTED_WITHIN {
                asked_at = now;
                wire.send("PING\n")?;
            }
        }
        Ok(())
    }

    fn write(&mut self, address: SocketAddr) -> Result<(), Broken> {
        let mut wire = self.connect(address)?;
        self.memory.connections.push(Vec::new());
        let unanswered = std::mem::take(&mut self.unanswered);
        if self.memory.plan.habit == Habit::Writes(true) {
            for (number, _) in unanswered {
                self.send(&mut wire, number)?;
            }
        }
        let is_upload = self.memory.plan.habit == Habit::Uploads;
        let most = if is_upload { 1 } else { UNANSWERED_MAX };
        loop {
            let (now, patience) = (Instant::now(), self.memory.plan.patience);
            let is_over = self.world.is_over();
            match self.unanswered.front() {
                None if is_over => return Ok(()),
                Some((_, at)) if now > *at + patience => return Err(Broken),
                _ => {}
            }
            if now >= self.due && self.unanswered.len() < most && !is_over {
                self.due = (self.due + self.memory.plan.pace).max(now - patience);
                let number = self.next_message();
                self.send(&mut wire, number)?;
            } else if let Some(line) = wire.line()? {
                self.hear(&line)?;
            }
        }
    }

    fn hold(&mut self, address: SocketAddr) -> Result<(), Broken> {
        let mut wire = Wire::connect(address)?;
        let plan = self.memory.plan.clone();
        let nick = plan.nick.unwrap_or_default();
        self.unanswered.clear();
        wire.send("STAMPS on\n")?;
        let mut asked_at = None;
        loop {
            let now = Instant::now();
            if self.world.is_over() || asked_at.is_some_and(|at| now > at + plan.patience) {
                return Err(Broken);
            }
            if asked_at.is_none() {
                wire.send(format!("NICK {nick}\n"))?;
                asked_at = Some(now);
            }
            match wire.line()? {
                Some(line) if line.starts_with("OK NICK ") => break,
                Some(line) if line.starts_with("ERR NICK nick-taken ") => {
                    self.world.pause();
                    asked_at = None;
                }
                Some(line) if line.starts_with("ERR ") => return Err(Broken),
                _ => {}
            }
        }
        wire.send(format!("JOIN {}\n", plan.room))?;
        self.memory.connections.push(Vec::new());
        let until = Instant::now() + Duration::from_millis(500 + self.random.below(4000));
        self.due = Instant::now();
        // The client stays however long the server hangs, and its last lines wait for the server.
        while !self.world.is_over() {
            let now = Instant::now();
            if now > until && self.unanswered.is_empty() {
                wire.send("BYE\n")?;
                let late = now + plan.patience;
                while !wire.line_until(late)?.starts_with("OK BYE") {}
                return Ok(());
            }
            if now >= self.due && now <= until && self.unanswered.len() < UNANSWERED_MAX {
                self.due = now + plan.pace;
                let number = self.next_message();
                self.send(&mut wire, number)?;
            }
            if let Some(line) = wire.line()? {
                self.hear_answer(&line)?;
            }
        }
        Ok(())
    }

    /// Makes a message that has its own text.
    fn next_message(&mut self) -> usize {
        let (number, connection) = (self.memory.messages.len(), self.memory.connections.len());
        let text = format!("{}.{connection}.{number}", self.memory.plan.name);
        self.memory.messages.push(Message {
            text,
            ..Message::default()
        });
        number
    }

    fn send(&mut self, wire: &mut Wire, number: usize) -> Result<(), Broken> {
        let message = &mut self.memory.messages[number];
        message.sent += 1;
        let text = &message.text;
        let bytes = match self.memory.plan.habit {
            Habit::Writes(true) => format!("@nonce={text} MSG {text}\n").into_bytes(),
            Habit::Uploads => {
                let contents = contents(text);
                let mut bytes = format!("UPLOAD {text} {}\n", contents.len()).into_bytes();
                bytes.extend(contents);
                bytes
            }
            _ => format!("MSG {text}\n").into_bytes(),
        };
        self.unanswered.push_back((number, Instant::now()));
        let connection = self.memory.connections.last_mut();
        connection.expect("it is connected").push(number);
        let sent = format!("> {}", self.memory.messages[number].text);
        self.memory.note(&sent);
        wire.send(bytes)
    }

    fn hear(&mut self, line: &str) -> Result<(), Broken> {
        self.memory.note(line);
        let mut words = line.split(' ');
        let (first, id) = (words.next(), words.next());
        match (first, id.and_then(|id| id.parse().ok())) {
            (Some("LIVE" | "PAST"), Some(id)) => {
                if id <= self.last {
                    let last = self.last;
                    self.wrong(format!("{id} was shown after {last}"));
                } else {
                    self.last = id;
                    self.memory.seen.push(id);
                }
            }
            (Some("GAP"), _) => self.wrong("there was a GAP".into()),
            _ => self.hear_answer(line)?,
        }
        Ok(())
    }

    fn hear_answer(&mut self, line: &str) -> Result<(), Broken> {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["OK", "MSG" | "UPLOAD", id, ..] => {
                let Some(((number, _), id)) = self.unanswered.pop_front().zip(id.parse().ok())
                else {
                    self.wrong(format!("unasked: {line}"));
                    return Ok(());
                };
                self.memory.acknowledged_at.push(Instant::now());
                let message = &mut self.memory.messages[number];
                message.ids.push(id);
                let is_first = message.sent == 1;
                if id > self.last {
                    self.last = id;
                    self.memory.seen.push(id);
                } else if is_first && self.memory.plan.habit != Habit::Holds {
                    let last = self.last;
                    self.wrong(format!("{id} was acknowledged after {last}"));
                }
            }
            ["ERR", ..] => match self.unanswered.pop_front() {
                Some((number, _)) => self.memory.messages[number].refused += 1,
                None => self.wrong(format!("unasked: {line}")),
            },
            ["CLOSED", ..] => return Err(Broken),
            _ => {}
        }
        Ok(())
    }

    fn wrong(&mut self, what: String) {
        let plan = &self.memory.plan;
        self.memory.wrong.push(format!("{}: {what}", plan.name));
    }
}

impl Memory {
    fn note(&mut self, what: &str) {
        if let Some(trace) = &mut self.trace {
            let at = Instant::now() - self.began_at;
            trace.push_str(&format!("{at:.3?} {what}\n"));
        }
    }

    /// Returns the longest time for which nothing was acknowledged.
    pub fn stall(&self) -> Duration {
        let times = [self.began_at].into_iter();
        stall(times.chain(self.acknowledged_at.iter().copied()))
    }
}

/// Returns the longest time between one time and the next.
pub fn stall(times: impl Iterator<Item = Instant>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort();
    let pauses = times.windows(2).map(|two| two[1] - two[0]);
    pauses.max().unwrap_or_default()
}
