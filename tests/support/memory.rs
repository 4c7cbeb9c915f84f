//! The server in memory: the tasks of `chatd` on one thread, without sockets, and with a clock that advances only while
//! somebody waits.

use std::net::IpAddr;
use std::time::Duration;

use plainchat::config::{Config, Limits};
use plainchat::log::Record;
use plainchat::model::Secret;
use plainchat::protocol::{Nick, RoomName, Time};
use plainchat::server::simulation::Simulation;
use plainchat::transport::pipe::PipeClient;

use super::run::{Server, Taken};
use super::transcript::Setting;

/// When the server was started: 2026-11-22T00:00:00Z.
const STARTED_MS: u64 = 1_795_305_600_000;

/// The id of the first event.
pub const FIRST_ID: u64 = STARTED_MS * 1000 + 1;

/// A server in memory, or several that share a chat.
pub struct Memory {
    config: Config,
    servers: Simulation,
    /// The number of servers.
    count: usize,
    peers: Vec<PipeClient>,
    /// The number of calls, such as pushes, after which all waiting entries are stored together; 0 to store each
    /// immediately.
    late: usize,
    calls: usize,
    /// The number of bytes that the network accepts from a session at first.
    takes: usize,
    /// The address that new connections have.
    pub from: IpAddr,
    /// Whether new connections use TLS.
    pub is_tls: bool,
}

impl Memory {
    /// Returns a server with `settings`. The network accepts few bytes of a session at a time: at first `takes`, and
    /// then more. For `late` see [`Self::late`].
    pub fn new(settings: &[Setting], takes: usize, late: usize) -> Result<Self, String> {
        Ok(Self::with_config(config(settings)?, takes, late))
    }

    /// Returns a server with limits, including those that no setting changes.
    pub fn with_limits(limits: Limits, takes: usize) -> Self {
        Self::late(limits, takes, 0)
    }

    /// Returns a server whose log is like one on disk. An entry is stored, and so becomes visible, only with the
    /// `late`th call after it was submitted, or when somebody waits.
    pub fn late(limits: Limits, takes: usize, late: usize) -> Self {
        Self::with_config(config_with(limits), takes, late)
    }

    fn with_config(config: Config, takes: usize, late: usize) -> Self {
        Self {
            servers: simulation(vec![config.clone()], late),
            config,
            count: 1,
            peers: Vec::new(),
            late,
            calls: 0,
            takes,
            from: IpAddr::from([127, 0, 0, 1]),
            is_tls: false,
        }
    }

    /// Adds servers, `count` in all, which share the chat. Each new connection is one of the next server's.
    #[must_use]
    pub fn shared(self, count: usize) -> Self {
        let configs = (0..count).map(|n| Config {
            name: format!("{}{n}", self.config.name),
            ..self.config.clone()
        });
        Self {
            servers: simulation(configs.collect(), self.late),
            count,
            ..self
        }
    }

    /// Sets whether `peer` has stopped reading, so that the network accepts nothing more for it.
    pub fn stall(&mut self, peer: usize, is_stalled: bool) {
        self.peers[peer].stall(is_stalled);
        self.call();
    }

    /// Counts a call from outside. Each call lets slow work make progress, and some let the log store its entries.
    fn call(&mut self) {
        self.calls += 1;
        self.servers.answer();
        if self.late > 0 && self.calls.is_multiple_of(self.late) {
            self.servers.store();
        }
        self.servers.settle();
    }

    /// Returns the bytes of the rooms' newest events that are held for their readers.
    pub fn tail_bytes(&self) -> usize {
        self.servers.tail_bytes()
    }

    /// Returns all stored events of `room`, oldest first.
    pub fn log_of(&self, room: &str) -> Vec<Record> {
        let room = RoomName::parse(room).expect("it is a room's name");
        self.servers.log_of(&room)
    }
}

fn simulation(configs: Vec<Config>, late: usize) -> Simulation {
    let simulation = Simulation::new(configs, Time(STARTED_MS), late > 0);
    simulation.expect("there is a place for files")
}

impl Server for Memory {
    fn open(&mut self) -> Result<usize, String> {
        let server = self.peers.len() % self.count;
        let peer = self
            .servers
            .connect(server, self.from, self.is_tls, self.takes);
        self.peers.push(peer);
        Ok(self.peers.len() - 1)
    }

    fn push(&mut self, peer: usize, bytes: &[u8]) -> Result<(), String> {
        self.peers[peer].push(bytes);
        self.call();
        Ok(())
    }

    fn half_close(&mut self, peer: usize) -> Result<(), String> {
        self.peers[peer].end_input();
        self.call();
        Ok(())
    }

    fn abandon(&mut self, peer: usize) {
        self.peers[peer].close();
        self.servers.settle();
        while self.servers.work() {
            self.servers.settle();
        }
    }

    fn take(&mut self, peer: usize, patience: Duration) -> Taken {
        let until = self.servers.uptime() + patience;
        loop {
            self.servers.settle();
            let out = self.peers[peer].take();
            if !out.is_empty() {
                return Taken::Bytes(out);
            }
            if self.peers[peer].is_closed() {
                return Taken::Closed;
            }
            if self.servers.work() {
                continue;
            }
            match self.servers.next_due() {
                Some(due) if due <= until => self.servers.advance(due),
                _ => {
                    self.servers.advance(until);
                    return Taken::Nothing;
                }
            }
        }
    }
}

/// Returns the limits that a transcript asks for. The other limits are those of the suite, so joins are not
/// announced.
fn config(settings: &[Setting]) -> Result<Config, String> {
    let mut config = config_with(Limits {
        announce_after: Duration::from_secs(3600),
        ..Limits::default()
    });
    let limits = &mut config.limits;
    for Setting { name, value } in settings {
        let number = || {
            value
                .parse()
                .map_err(|_| format!("with {name} {value}: no number"))
        };
        match name.as_str() {
            "fresh" => {}
            "require-tls" => config.require_tls = true,
            "password" => config.password = Some(Secret::new(value)),
            "operator" => config.operators.extend(Nick::parse(value)),
            "announce-after" => limits.announce_after = time(value)?,
            "idle-after" => limits.idle_after = time(value)?,
            "guard-for" => limits.guard_for = time(value)?,
            "max-connections" => limits.connections_max = number()? as usize,
            "quota-per-nick" => limits.quota_per_nick_bytes = Some(number()?),
            "rooms-per-connection" => limits.rooms_per_connection_max = number()? as usize,
            "max-rooms" => limits.rooms_max = number()? as usize,
            "max-upload" => limits.upload_bytes_max = number()?,
            "announce-up-to" => limits.announce_up_to = number()? as usize,
            _ => return Err(format!("with {name} {value}: no such setting")),
        }
    }
    Ok(config)
}

fn config_with(limits: Limits) -> Config {
    Config {
        name: "memory".into(),
        limits,
        ..Config::default()
    }
}

/// Parses `250ms`, `1s`, `10m`, `1h`.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("{text} is no time"))?;
    Ok(Duration::from_millis(match unit {
        "ms" => number,
        "s" => number * 1000,
        "m" => number * 60_000,
        "h" => number * 3_600_000,
        _ => return Err(format!("{text} is no time")),
    }))
}
