//! Servers in memory, for tests: the tasks that `chatd` runs, on one thread, without sockets, and with a clock that
//! stands still until a test advances it.
//!
//! Everything that happens depends only on the calls of the test. Clients that begin with TLS or HTTP are
//! disconnected, because these need a socket.

mod late_log;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use smol::{Executor, Task};
use tempfile::TempDir;

use super::clock::Clock;
use super::connection::Connection;
use super::descriptors::Division;
use super::pool::{Pool, SimulatedPool};
use super::shared_state::ConnectionSource;
use super::{Parts, Server, stop};
use crate::accounts::Accounts;
use crate::accounts::buckets::MemoryBuckets;
use crate::config::{Config, Protocols};
use crate::files::Store;
use crate::log::memory::MemoryLog;
use crate::log::{Log, Record, Span};
use crate::model::{Applied, Report};
use crate::protocol::{RoomName, Time};
use crate::transport::Carrier;
use crate::transport::pipe::{self, PipeClient};
use late_log::{LateLog, Submitted};

/// The limit on open files that the servers seem to have.
const OPEN_FILES: usize = 20_000;

/// A server in memory, or several that share a chat.
pub struct Simulation {
    executor: Arc<Executor<'static>>,
    clock: Clock,
    pool: Arc<SimulatedPool>,
    servers: Vec<Arc<Server>>,
    log: Arc<MemoryLog>,
    /// What is not stored or decided on yet.
    submitted: Arc<Submitted>,
    /// Whether the log and the pool do their work only when [`Self::work`] is called.
    is_late: bool,
    tasks: Vec<Task<()>>,
    _folder: TempDir,
}

impl Simulation {
    /// Starts as many servers as there are configurations, at the time `started`. Several servers share a chat. If the
    /// simulation `is_late`, an entry is stored, and other slow work is done, only when [`Self::work`] is called.
    ///
    /// # Errors
    /// When the folder for files cannot be created.
    pub fn new(configs: Vec<Config>, started: Time, is_late: bool) -> io::Result<Self> {
        let executor = Arc::new(Executor::new());
        let clock = Clock::simulated(started);
        let pool = Arc::new(SimulatedPool::new(executor.clone(), is_late));
        let limits = configs.first().map(|config| config.limits.clone());
        let bytes_max = limits.unwrap_or_default().memory_log_bytes_max;
        let log = Arc::new(MemoryLog::new(started.0.saturating_mul(1000), bytes_max));
        let submitted = Arc::<Submitted>::default();
        let password = configs.first().and_then(|config| config.password.clone());
        let accounts = Arc::new(Accounts::new(Arc::new(MemoryBuckets::default()), password));
        let folder = folder()?;
        let store = Store::open(Some(folder.path()))?;
        let store = Arc::new(store.shared_by(configs.len()));
        let live = Arc::default();
        let is_shared = configs.len() > 1;
        let mut servers = Vec::new();
        for config in configs {
            let later = LateLog::new(log.clone(), submitted.clone(), servers.len());
            let log: Arc<dyn Log> = if is_late || is_shared {
                Arc::new(later)
            } else {
                log.clone()
            };
            let division = Division::of(OPEN_FILES, config.limits.connections_max);
            let server = Server::new(Parts {
                division: division.ok_or(io::ErrorKind::InvalidInput)?,
                config: Arc::new(config),
                log,
                store: store.clone(),
                accounts: accounts.clone(),
                live: Arc::clone(&live),
                notifier: None,
                certificate: None,
                clock: clock.clone(),
                pool: Pool::Simulated(pool.clone()),
                executor: executor.clone(),
            });
            let server = server.map_err(io::Error::other)?;
            if is_shared {
                server.state().chat.decide_later();
            }
            servers.push(server);
        }
        let mut simulation = Self {
            executor,
            clock,
            pool,
            servers,
            log,
            submitted,
            is_late,
            tasks: Vec::new(),
            _folder: folder,
        };
        for server in &simulation.servers {
            simulation.tasks.extend(server.begin(None, || {}));
            let server = server.clone();
            let asked = server.stopping.listen();
            simulation.tasks.push(simulation.executor.spawn(async move {
                asked.await;
                stop(&server).await;
            }));
        }
        simulation.settle();
        Ok(simulation)
    }

    /// Connects a client from the address `from` to the server with the index `server`. The network accepts few bytes
    /// at once: at first `takes`, and then more. With `is_tls`, the bytes count as those inside TLS.
    pub fn connect(
        &mut self,
        server: usize,
        from: IpAddr,
        is_tls: bool,
        takes: usize,
    ) -> PipeClient {
        let (ours, client) = pipe::connect(takes);
        if let Some(server) = self.servers.get(server)
            && server.has_place()
        {
            let carrier = Carrier::Pipe(Box::new(ours));
            let from = ConnectionSource::Socket(from);
            let local = SocketAddr::from(([127, 0, 0, 1], 5002));
            let mut connection =
                Connection::open(server.clone(), carrier, from, local, Protocols::ALL);
            if is_tls {
                connection.session.under_tls();
            }
            self.tasks.push(self.executor.spawn(connection.run()));
        }
        client
    }

    /// Runs until every task waits: for a client, for the clock, or for work that is held back.
    pub fn settle(&mut self) {
        loop {
            while self.executor.try_tick() {}
            if !self.decide() && (self.is_late || !self.store()) {
                return;
            }
        }
    }

    /// Does the work that is held back: stores the entries, and runs what may block. Returns whether there was any.
    pub fn work(&mut self) -> bool {
        self.store() | self.answer()
    }

    /// Runs the work that may block and that is held back. Returns whether there was any.
    pub fn answer(&mut self) -> bool {
        self.pool.release()
    }

    /// Stores the entries that are not stored yet. Returns whether there were any.
    pub fn store(&mut self) -> bool {
        let entries = self.submitted.take_entries();
        if entries.is_empty() {
            return false;
        }
        // Changes that were proposed before have their places in the log before them.
        self.decide();
        let time = self.clock.now().time;
        let mut batches: Vec<Vec<Report>> = self.servers.iter().map(|_| Vec::new()).collect();
        for (entry, ticket, by) in entries {
            let Some(applied) = self.log.append(entry, ticket, time) else {
                continue;
            };
            for (n, batch) in batches.iter_mut().enumerate() {
                batch.push(Report::Applied(Applied {
                    entry: applied.entry.clone(),
                    outcome: applied.outcome,
                    is_repeat: applied.is_repeat,
                    is_withheld: applied.is_withheld,
                    ticket: applied.ticket.filter(|_| n == by),
                }));
            }
        }
        for (server, batch) in self.servers.iter().zip(batches) {
            server.applied().add(batch);
        }
        true
    }

    /// Lets each server apply the changes that the servers have proposed. Returns whether there were any.
    fn decide(&self) -> bool {
        let now = self.clock.now();
        let proposed = self.submitted.take_changes();
        let any = !proposed.is_empty();
        for (change, by, n) in proposed {
            for (other, server) in self.servers.iter().enumerate() {
                let by = by.filter(|_| n == other);
                server.changes().chat.decide(&change, by, now);
            }
        }
        any
    }

    /// Returns the time since the start.
    pub fn uptime(&self) -> Duration {
        self.clock.now().uptime
    }

    /// Returns the uptime at which something is due next.
    pub fn next_due(&self) -> Option<Duration> {
        self.clock.next_due()
    }

    /// Advances the clock to the uptime `to`.
    pub fn advance(&mut self, to: Duration) {
        self.clock.advance(to);
        self.settle();
    }

    /// Returns the bytes of the rooms' newest events that are held for their readers.
    pub fn tail_bytes(&self) -> usize {
        let held = |server: &Arc<Server>| server.state().chat.totals().tail_bytes;
        self.servers.iter().map(held).max().unwrap_or_default()
    }

    /// Returns all stored events of a room, oldest first.
    pub fn log_of(&self, room: &RoomName) -> Vec<Record> {
        let span = Span {
            after: 0,
            up_to: u64::MAX,
        };
        let page = self.log.read(room, span, usize::MAX, usize::MAX);
        page.map(|page| page.records).unwrap_or_default()
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        // The tasks own the servers, which own the executor, so nothing would be freed otherwise.
        self.tasks.clear();
        self.pool.hold_nothing();
        while self.executor.try_tick() {}
    }
}

/// Creates a temporary folder, in memory if possible.
fn folder() -> io::Result<TempDir> {
    let mut name = tempfile::Builder::new();
    name.prefix("chatd-");
    let in_memory = Path::new("/dev/shm");
    name.tempdir_in(in_memory).or_else(|_| name.tempdir())
}
