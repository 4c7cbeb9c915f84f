//! The server: the pure parts joined to sockets, threads and clocks, on smol.
//!
//! One lean task a connection (`connection`), one lock around all that they share (`world`), one task
//! for everything that is due. Nothing uses this but `chatd`.

mod announce;
mod arrival;
pub mod believed;
pub mod certificate;
mod changes;
mod connection;
mod descriptors;
mod elsewhere;
mod http;
pub mod listen;
pub mod log_lines;
mod memory;
mod metrics;
mod send;
pub mod service;
mod transfer;
mod turns;
mod world;

use std::collections::HashMap;
use std::fmt;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_io::{Async, Timer};
use async_signal::{Signal, Signals};
use event_listener::Event;
use futures_lite::{StreamExt, future};
use smol::lock::Semaphore;
use smol::{Executor, Task};
use tracing::{info, warn};

use crate::config::fixed::LOG_CONNECTIONS_MAX;
use crate::config::{Config, Listen, SEARCHES_MAX, Speaks};
use crate::files::Store;
use crate::log::memory::MemoryLog;
use crate::log::sqlite::SqliteLog;
use crate::log::{Age, Log, Trimmed};
use crate::model::{Applied, Now, StorageError};
use crate::protocol::{EventId, Time};
use crate::roster::Roster;
use crate::roster::buckets::{Buckets, MemoryBuckets};
use crate::roster::sqlite::SqliteBuckets;
use crate::transport::{Carrier, Sockets, Stream};
use believed::Believed;
use certificate::{Certificate, Source};
use changes::Changes;
use connection::Connection;
use descriptors::{Descriptors, Division};
use memory::Share;
use metrics::{Met, Metrics};
use transfer::SharedLive;
use turns::Turns;
use world::{Arrival, World};

/// Passwords that are worked on at once: both of a small machine's cores, and no more memory than that.
const PASSWORDS_MAX: usize = 2;

/// Why the server does not start; `Display` is one line for its operator.
#[derive(Debug)]
pub enum Error {
    /// An address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// The folder for files cannot be used.
    Data(PathBuf, io::Error),
    /// The log there cannot be used.
    Log(PathBuf, StorageError),
    /// There is no certificate.
    Tls(certificate::Error),
    /// The process may open no more files than this.
    OpenFiles(usize),
    /// The operating system refuses something else.
    System(&'static str, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(addr, e) => write!(f, "cannot listen on {addr}: {}", Plain(e)),
            Self::Data(path, e) => {
                write!(f, "cannot keep files in {}: {}", path.display(), Plain(e))
            }
            Self::Log(path, e) => write!(f, "cannot keep a log in {}: {e}", path.display()),
            Self::Tls(e) => write!(f, "cannot speak TLS: {e}"),
            Self::OpenFiles(files) => {
                let least = descriptors::LEAST;
                write!(
                    f,
                    "the limit on open files is {files}, and at least {least} are needed: raise it (ulimit -n {least}, or LimitNOFILE= of a service)"
                )
            }
            Self::System(what, e) => write!(f, "cannot {what}: {}", Plain(e)),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(_, e) | Self::Data(_, e) | Self::System(_, e) => Some(e),
            Self::Log(_, e) => Some(e),
            Self::Tls(e) => Some(e),
            Self::OpenFiles(_) => None,
        }
    }
}

/// An I/O error in the system's words, without the number that Rust puts behind them.
pub struct Plain<'a>(pub &'a io::Error);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let plain = text.split(" (os error").next().unwrap_or(&text);
        f.write_str(&plain.to_lowercase())
    }
}

/// What all connections share.
struct Server {
    config: Arc<Config>,
    world: Mutex<World>,
    store: Arc<Store>,
    roster: Arc<Roster>,
    metrics: Arc<Metrics>,
    /// What clients have not taken yet, and what waits for that.
    waiting: Share,
    /// How many connections more than allowed are told so.
    turned_away_max: usize,
    /// What files on their way are opened with.
    descriptors: Arc<Descriptors>,
    /// Pieces of files on their way.
    pieces: Arc<Share>,
    /// How many passwords are worked on at once, each with 19 MiB and a thread.
    passwords: Semaphore,
    /// How many questions to the log and the roster are worked on at once; passwords have turns of their own.
    questions: Semaphore,
    /// Who searches.
    searches: Turns,
    /// The files that are still coming in.
    live: Mutex<HashMap<EventId, SharedLive>>,
    /// Notified when somebody may read less than before: whoever sends what a room holds asks again.
    new_rights: Event,
    clock: Clock,
    /// An operator stops the server.
    stopping: Event,
    sockets: Arc<Sockets>,
    executor: Arc<Executor<'static>>,
    /// The names by which browsers may call this server.
    names: http::Names,
    /// What TLS is spoken with; `None` when it is not.
    certificate: Option<Arc<Certificate>>,
}

/// The two clocks that everything is timed by.
struct Clock {
    start: Instant,
}

impl Clock {
    fn now(&self) -> Now {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            time: Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            uptime: self.start.elapsed(),
        }
    }

    /// The first id of a server whose log begins with it: microseconds, so that none is used again.
    fn first_id(&self) -> u64 {
        self.now().time.0.saturating_mul(1000).max(1)
    }
}

impl Server {
    fn live(&self) -> MutexGuard<'_, HashMap<EventId, SharedLive>> {
        self.live
            .lock()
            .expect("no thread panics while it holds this")
    }

    /// What TLS is spoken with; `None` when it is not.
    fn tls(&self) -> Option<Arc<rustls::ServerConfig>> {
        self.certificate
            .as_ref()
            .map(|certificate| certificate.config())
    }

    /// Locks what all share, for a change of it.
    fn changes(self: &Arc<Self>) -> Changes<'_> {
        Changes::of(self, self.world())
    }

    /// Locks what all share, to look at it.
    fn world(&self) -> MutexGuard<'_, World> {
        // Nothing under this lock waits or panics; it is held for microseconds.
        self.world
            .lock()
            .expect("no thread panics while it holds this")
    }
}

/// Serves until SIGINT or SIGTERM, on `sockets` that are open already and where the configuration says;
/// `listening` is told where, and the fingerprint of the certificate, once clients can connect. A second
/// signal ends the process at once.
///
/// # Errors
/// When it cannot start.
pub fn run(
    mut config: Config,
    sockets: Vec<TcpListener>,
    listening: impl FnOnce(&[Listen], Option<&str>),
) -> Result<(), Error> {
    let files = usize::try_from(raise_file_limit()).unwrap_or(usize::MAX);
    let division = Division::of(files, config.limits.connections_max);
    let division = division.ok_or(Error::OpenFiles(files))?;
    if division.connections < config.limits.connections_max {
        let room = division.connections;
        warn!("only {room} connections fit into the limit on open files ({files})");
        config.limits.connections_max = room;
    }
    for socket in &sockets {
        listen::open(socket).map_err(|e| Error::System("use a socket that was handed over", e))?;
    }
    let sockets = sockets.into_iter().map(|socket| (socket, config.speaks));
    let mut listeners: Vec<_> = sockets.collect();
    for addr in &config.listen {
        let Listen { addr, speaks } = *addr;
        let bound = listen::bind(addr).map_err(|e| Error::Listen(addr, e))?;
        listeners.push((bound, speaks));
    }
    let had_terminal = has_terminal();
    let signals = Signals::new([Signal::Int, Signal::Term, Signal::Hup]);
    let signals = signals.map_err(|e| Error::System("listen for signals", e))?;

    let config = Arc::new(config);
    let clock = Clock {
        start: Instant::now(),
    };
    let publisher = Arc::new(OnceLock::new());
    let (log, buckets) = open_log(&config, &clock, publisher.clone())?;
    // After the log, whose lock says that the folder is ours: opening the store clears away half files.
    let store = Store::open(config.data.as_deref());
    let store = store.map_err(|e| Error::Data(data_path(&config), e))?;
    let roster = Arc::new(Roster::new(buckets, config.password.clone()));
    let belonging = roster.known();
    let belonging = belonging.map_err(|e| Error::Log(data_path(&config), e))?;
    let mut world = World::new(config.clone(), log.clone(), roster.clone());
    let known = log
        .rooms()
        .and_then(|rooms| Ok((rooms, log.file_totals()?)));
    let (rooms, files) = known.map_err(|e| Error::Log(data_path(&config), e))?;
    world.chat.restore(rooms, files);
    world.chat.restore_roster(belonging);
    let digests = log.digests();
    store.restore(digests.map_err(|e| Error::Log(data_path(&config), e))?);
    let executor = Arc::new(Executor::new());
    let names = http::Names::new(&config.hosts);
    let speaks_tls = listeners.iter().any(|(_, speaks)| speaks.tls);
    let certificate = match speaks_tls {
        true => {
            let source = match &config.certificate {
                Some((cert, key)) => Source::Files(cert.clone(), key.clone()),
                None => Source::Own(config.data.clone()),
            };
            let certificate = Certificate::load(source, &names.for_certificate());
            Some(Arc::new(certificate.map_err(Error::Tls)?))
        }
        false => None,
    };
    let sockets = Sockets::new().map_err(|e| Error::System("watch sockets", e))?;
    let sockets = Arc::new(sockets);
    let server = Arc::new(Server {
        metrics: world.metrics.clone(),
        world: Mutex::new(world),
        names,
        certificate,
        waiting: Share::new(config.limits.waiting_bytes_max()),
        turned_away_max: division.turned_away,
        descriptors: Arc::new(Descriptors::new(division.transfers)),
        pieces: Arc::new(Share::new(config.limits.pieces_bytes_max())),
        config,
        store: Arc::new(store),
        roster,
        passwords: Semaphore::new(PASSWORDS_MAX),
        questions: Semaphore::new(LOG_CONNECTIONS_MAX),
        searches: Turns::new(SEARCHES_MAX),
        live: Mutex::default(),
        new_rights: Event::new(),
        clock,
        stopping: Event::new(),
        sockets: sockets.clone(),
        executor: executor.clone(),
    });
    let _ = publisher.set(Arc::downgrade(&server));
    let unfinished = log
        .unfinished()
        .map_err(|e| Error::Log(data_path(&server.config), e))?;
    if !unfinished.is_empty() {
        for (id, room, nick) in unfinished {
            let now = server.clock.now();
            server.changes().remove_unfinished(id, room, &nick, now);
        }
        // Nobody finds them: not the first client either.
        log.flush()
            .map_err(|e| Error::Log(data_path(&server.config), e))?;
    }
    let places: Vec<_> = listeners
        .iter()
        .flat_map(|(listener, speaks)| {
            let addresses = listen::addresses(listener).into_iter();
            addresses.map(|addr| Listen {
                addr,
                speaks: *speaks,
            })
        })
        .collect();
    let serving = async {
        let mut accepting = Vec::new();
        for (listener, speaks) in listeners {
            let listener = Async::new(listener).map_err(|e| Error::System("watch a socket", e))?;
            let accept = accept(server.clone(), listener, speaks);
            accepting.push(executor.spawn(accept));
        }
        let timing = executor.spawn(world::keep_time(server.clone()));
        let trimming = executor.spawn(trim(server.clone()));
        let pulse = executor.spawn(world::pulse(server.clone()));
        let watching = executor.spawn(async move { sockets.watch().await });
        let certificate = server.certificate.clone();
        let refreshing = certificate.map(|own| executor.spawn(own.keep_fresh()));
        let signals = Ends {
            signals,
            had_terminal,
            certificate: server.certificate.clone(),
        };
        let fingerprint = server.certificate.as_ref().map(|own| own.fingerprint());
        let addresses: Vec<_> = places.iter().map(|place| place.addr).collect();
        listening(&places, fingerprint.as_deref());
        let data = server.config.data.as_ref().map(|data| data.display());
        info!(
            version = env!("CARGO_PKG_VERSION"),
            data = data.map(tracing::field::display),
            ?addresses,
            "started"
        );
        service::notify("READY=1");
        let announcement = match server.config.announce {
            true => announce::Announcement::begin(&server.config.name, &addresses),
            false => None,
        };
        let asked = server.stopping.listen();
        let mut first = next_signal(&executor, signals);
        let by_signal = async { Ok(Some((&mut first).await)) };
        let by_operator = async {
            asked.await;
            Ok(None)
        };
        let by_failure = async { Err(Error::System("watch sockets", watching.await)) };
        let stopped = future::or(future::or(by_signal, by_operator), by_failure).await?;
        let again = match stopped {
            Some(signals) => next_signal(&executor, signals),
            None => first, // after an operator the first signal is the second word
        };
        let connections = server.world().chat.connections();
        info!(connections, "stopping");
        service::notify("STOPPING=1");
        drop(accepting);
        // Said on its own thread; nobody waits for it but the end.
        drop(announcement);
        future::or(stop(&server), async { drop(again.await) }).await;
        drop((timing, trimming, pulse, refreshing));
        Ok(())
    };
    // One thread: nearly all that happens is under the world's lock. With a second one a delivery in a busy
    // room cost 1.1 to 1.5 times as much CPU, and a lone message a tenth less (benches/README.md), so there is
    // no setting for more. What may wait (the log, files, passwords) has threads of its own.
    smol::block_on(executor.run(serving))
}

/// The signals that end the server.
struct Ends {
    signals: Signals,
    /// Standard input or output was a terminal at the start.
    had_terminal: bool,
    certificate: Option<Arc<Certificate>>,
}

impl Ends {
    /// Returns at the next signal that ends the server: SIGINT, SIGTERM, or SIGHUP when the terminal that it was
    /// started from has been closed. Any other SIGHUP has the certificate read again.
    async fn next(&mut self) {
        while let Some(signal) = self.signals.next().await {
            if !matches!(signal, Ok(Signal::Hup)) || self.had_terminal && !has_terminal() {
                return;
            }
            if let Some(certificate) = &self.certificate {
                certificate.clone().read_again(true).await;
            }
        }
    }
}

/// Returns whether somebody sits at a terminal that this process reads from or writes to.
fn has_terminal() -> bool {
    io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal()
}

/// Waits for a signal in a task of its own: the root future is polled each time that anything happens, and
/// asking for signals there costs two reads of a pipe a message.
fn next_signal(executor: &Executor<'static>, mut signals: Ends) -> Task<Ends> {
    executor.spawn(async move {
        signals.next().await;
        signals
    })
}

/// Takes out what is to be kept no longer, now and every now and then.
async fn trim(server: Arc<Server>) {
    let limits = &server.config.limits;
    if limits.keep.is_none() && limits.keep_bytes.is_none() {
        return;
    }
    let mut clock = Believed::default();
    loop {
        let now = server.clock.now();
        let now = clock.now(now.time, now.uptime);
        let age = limits.keep.map(|keep| {
            let keep_ms = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
            let before = Time(now.0.saturating_sub(keep_ms));
            Age { before, now }
        });
        let bytes_max = limits.keep_bytes;
        let log = server.world().log.clone();
        match smol::unblock(move || log.trim(age, bytes_max)).await {
            Ok(trimmed) => {
                let Trimmed {
                    events,
                    bytes,
                    files,
                    rooms,
                } = trimmed;
                if events > 0 {
                    let (files, rooms) = (files.len(), rooms.len());
                    info!(
                        events,
                        files, rooms, bytes, "took out what is kept no longer"
                    );
                }
                let released = files.iter().filter_map(|(_, whole)| *whole);
                let released: Vec<_> = released.map(|whole| whole.sha256).collect();
                {
                    let chat = &mut server.world().chat;
                    chat.files_went(&files);
                    chat.forget_rooms(&rooms);
                }
                let released = changes::Released {
                    digests: released,
                    ..changes::Released::default()
                };
                changes::release(&server, released);
            }
            Err(e) => warn!("cannot take out what is old: {e}"),
        }
        Timer::after(limits.trim_every).await;
    }
}

/// The log, and where accounts and the rights of rooms are kept.
type Kept = (Arc<dyn Log>, Arc<dyn Buckets>);

/// The log in the data folder, which publishes what it has kept to the server that is then there; or the
/// one in memory. With it, where accounts and the rights of rooms are kept.
fn open_log(
    config: &Config,
    clock: &Clock,
    publisher: Arc<OnceLock<Weak<Server>>>,
) -> Result<Kept, Error> {
    let Some(folder) = &config.data else {
        let bytes_max = config.limits.memory_log_bytes_max;
        let log = MemoryLog::new(clock.first_id(), bytes_max);
        return Ok((Arc::new(log), Arc::new(MemoryBuckets::default())));
    };
    let sink = move |batch: Vec<Applied>| {
        let Some(server) = publisher.get().and_then(Weak::upgrade) else {
            return;
        };
        let mut world = server.changes();
        for applied in batch {
            server.metrics.outcome(&applied.outcome);
            world.chat.apply(applied);
        }
    };
    let log = SqliteLog::open(folder, Box::new(sink));
    let log = Arc::new(log.map_err(|e| Error::Log(folder.clone(), e))?);
    let buckets = SqliteBuckets::new(log.clone());
    Ok((log, Arc::new(buckets)))
}

fn data_path(config: &Config) -> PathBuf {
    config.data.clone().unwrap_or_else(std::env::temp_dir)
}

/// Ends every connection, and returns when all have ended or their time is over.
async fn stop(server: &Arc<Server>) {
    server.world().stop();
    let ended = async {
        while !server.world().chat.is_deserted() {
            Timer::after(Duration::from_millis(10)).await;
        }
    };
    let late = async {
        Timer::after(server.config.limits.stop_within).await;
    };
    future::or(ended, late).await;
}

async fn accept(server: Arc<Server>, listener: Async<TcpListener>, speaks: Speaks) {
    loop {
        match listener.read_with(listen::accept).await {
            Ok((stream, peer)) => welcome(&server, stream, peer, speaks),
            Err(e) => {
                // Out of files, most likely: what is there goes on, and some will end.
                let text = format!("cannot accept a connection: {e}");
                let uptime = server.clock.now().uptime;
                server.metrics.met(Met::OpenFiles, uptime, &text);
                Timer::after(Duration::from_millis(50)).await;
            }
        }
    }
}

fn welcome(server: &Arc<Server>, stream: TcpStream, peer: IpAddr, speaks: Speaks) {
    let connections = server.world().chat.connections();
    server.metrics.accepted.add(1);
    if connections >= server.config.limits.connections_max {
        let text = format!("turned away: {connections} connections are here (--max-connections)");
        let uptime = server.clock.now().uptime;
        server.metrics.met(Met::Connections, uptime, &text);
    }
    if connections >= server.config.limits.connections_max + server.turned_away_max {
        return;
    }
    let (Ok(local), Ok(socket)) = (stream.local_addr(), server.sockets.add(stream)) else {
        return; // it has gone already
    };
    // A socket of both families, as a service manager opens, tells IPv4 addresses as IPv6.
    let local = SocketAddr::new(local.ip().to_canonical(), local.port());
    let carrier = Carrier::Stream(Stream::Tcp(socket));
    let from = Arrival::Socket(peer);
    let connection = Connection::open(server.clone(), carrier, from, local, speaks);
    server.executor.spawn(connection.run()).detach();
}

/// Allows as many open files as the system lets this process have; returns how many.
fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(e) = setrlimit(Resource::Nofile, limit) {
        warn!("cannot raise the limit on open files: {e}");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
