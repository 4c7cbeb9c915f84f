//! The server: connects the parts without I/O to sockets, threads and clocks, on the executor smol.
//!
//! Each connection has one small task (`connection`). One lock protects the state that all connections share
//! (`shared_state`), and one task runs all timers. Only `chatd` uses this module, and tests use `simulation`.

mod announce;
pub mod certificate;
mod changes;
mod clock;
mod connection;
mod descriptors;
mod detection;
mod drop_on_pool;
mod exchange;
mod http;
pub mod listen;
pub mod log_lines;
mod memory;
mod metrics;
mod pool;
mod push;
mod scheduler;
mod send;
pub mod service;
mod shared_state;
#[doc(hidden)]
pub mod simulation;
mod texts;
mod transfer;
pub mod trusted_clock;
mod turns;

use std::collections::HashMap;
use std::fmt;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use async_signal::{Signal, Signals};
use event_listener::Event;
use futures_lite::{StreamExt, future};
use rustix::process::{Resource, getrlimit, setrlimit};
use smol::channel::Sender;
use smol::lock::Semaphore;
use smol::{Executor, Task};
use tracing::{info, warn};

use crate::accounts::Accounts;
use crate::accounts::buckets::{Buckets, MemoryBuckets};
use crate::accounts::sqlite::SqliteBuckets;
use crate::chat::Shares;
use crate::config::fixed::LOG_CONNECTIONS_MAX;
use crate::config::{Config, Listen, Protocols, SEARCHES_MAX};
use crate::files::Store;
use crate::log::memory::MemoryLog;
use crate::log::sqlite::SqliteLog;
use crate::log::{Age, Log, Trimmed};
use crate::model::{Budget, Report, StorageError};
use crate::protocol::{EventId, Time};
use crate::replica::{self, Ended, Following, Replica, ReplicaBuckets};
use crate::session::batch::Batch;
use crate::transport::{Carrier, Listener, Sockets, Stream};
use certificate::{Certificate, Source};
use changes::Changes;
use clock::Clock;
use connection::Connection;
use descriptors::Division;
use metrics::{LimitKind, Metrics};
use pool::Pool;
use scheduler::FairScheduler;
use shared_state::{AppliedQueue, ConnectionSource, SharedState};
use transfer::SharedLive;
use trusted_clock::TrustedClock;
use turns::Turns;

/// The maximum number of queries from one address that the log handles at the same time.
const QUESTIONS_PER_ADDRESS_MAX: usize = 2;

/// The maximum number of passwords that are hashed at once: one for each core of a small machine. This also bounds
/// the memory.
const PASSWORDS_MAX: usize = 2;

/// The lowest limit on the address space with which the server starts. It is enough for the threads, the search
/// index, and two passwords that are hashed at the same time (19 MiB each). With less, an allocation would fail
/// sooner or later and end the program.
const MEMORY_LEAST_MIB: u64 = 96;

/// The reason why the server cannot start; `Display` is one line for the operator.
#[derive(Debug)]
pub enum Error {
    /// The server cannot listen on this address.
    Listen(SocketAddr, io::Error),
    /// The folder for files is unusable.
    Data(PathBuf, io::Error),
    /// The log in the data folder is unusable.
    Log(PathBuf, StorageError),
    /// The certificate cannot be read or made.
    Tls(certificate::Error),
    /// Browsers cannot be notified.
    Push(StorageError),
    /// The server cannot share a chat with others.
    Cluster(String),
    /// The limit on open files is too low. The number is that limit.
    OpenFiles(usize),
    /// The limit on memory is too low. The number is that limit in MiB.
    Memory(u64),
    /// The operating system refuses something else.
    System(&'static str, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(addr, e) => write!(f, "cannot listen on {addr}: {}", Plain(e)),
            Self::Data(path, e) => {
                write!(f, "cannot store files in {}: {}", path.display(), Plain(e))
            }
            Self::Log(path, e) => write!(f, "cannot store the log in {}: {e}", path.display()),
            Self::Tls(e) => write!(f, "cannot use TLS: {e}"),
            Self::Push(e) => write!(f, "cannot notify browsers (--push): {e}"),
            Self::Cluster(e) => write!(f, "cannot share a chat (--cluster): {e}"),
            Self::OpenFiles(files) => {
                let least = descriptors::LEAST;
                write!(
                    f,
                    "the limit on open files is {files}, and at least {least} are needed: raise it (ulimit -n {least}, or LimitNOFILE= of a service)"
                )
            }
            Self::Memory(mib) => write!(
                f,
                "the limit on memory is {mib} MiB, and at least {MEMORY_LEAST_MIB} MiB are needed: raise it (ulimit -v {}, or LimitAS= of a service)",
                MEMORY_LEAST_MIB << 10
            ),
            Self::System(what, e) => write!(f, "cannot {what}: {}", Plain(e)),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(_, e) | Self::Data(_, e) | Self::System(_, e) => Some(e),
            Self::Log(_, e) | Self::Push(e) => Some(e),
            Self::Tls(e) => Some(e),
            Self::OpenFiles(_) | Self::Memory(_) | Self::Cluster(_) => None,
        }
    }
}

/// A wrapper that shows an I/O error in the system's words, without the number that Rust appends.
pub struct Plain<'a>(pub &'a io::Error);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let plain = text.split(" (os error").next().unwrap_or(&text);
        f.write_str(&plain.to_lowercase())
    }
}

/// The live files, by their ids.
type LiveFiles = Mutex<HashMap<EventId, SharedLive>>;

/// The state that all connections share.
struct Server {
    config: Arc<Config>,
    state: Mutex<SharedState>,
    store: Arc<Store>,
    accounts: Arc<Accounts>,
    metrics: Arc<Metrics>,
    /// The memory for replies that clients have not received, and for the input that waits behind these replies.
    waiting: Arc<Budget>,
    /// The events that were passed to the log and are not published yet.
    proposed: Arc<Budget>,
    /// The number of connections beyond the limit that receive an error before they are closed.
    turned_away_max: usize,
    /// Descriptors for file transfers.
    descriptors: Arc<Shares>,
    /// Memory for pieces of files in transfer.
    pieces: Arc<Budget>,
    /// The limit on passwords that are hashed at once. Each of them takes 19 MiB and a thread.
    passwords: Semaphore,
    /// The queue in which addresses wait for their turn to query the log and the accounts. Checks of passwords have
    /// another queue.
    questions: Turns,
    /// The queue in which addresses wait for their turn to search.
    searches: Turns,
    /// The buffer for writing that all connections share. It is never locked across an `await`.
    batch: Mutex<Batch>,
    /// The connections that have more to do than fits into one turn.
    scheduler: FairScheduler,
    /// The entries that the log has stored or refused, but that have not been published yet.
    applied: Mutex<AppliedQueue>,
    /// The files that are being uploaded.
    live: Arc<LiveFiles>,
    /// Notified when someone may have lost the right to read a room, so that tasks that send its contents check
    /// again.
    acl_changes: Event,
    /// What is needed to notify browsers; `None` if the server does not notify them.
    notifier: Option<Arc<push::Notifier>>,
    /// Notified when there are messages about which somebody may have to be notified.
    to_notify: Event,
    /// Notified when the log is to remove the events of deleted rooms.
    deleted_rooms: Event,
    clock: Clock,
    /// Where work runs that may block.
    pool: Pool,
    /// Notified when the operator stops the server.
    stopping: Event,
    /// Notified when the connections begin to end, because the server stops.
    ending: Event,
    executor: Arc<Executor<'static>>,
    /// The host names by which browsers may address this server.
    names: http::Names,
    /// The TLS certificate; `None` without TLS.
    certificate: Option<Arc<Certificate>>,
    /// What connects the server with others that share the chat.
    following: OnceLock<Following>,
    /// The files that must be copied from other servers.
    exchange: exchange::Exchange,
}

/// What a server is made of.
struct Parts {
    config: Arc<Config>,
    division: Division,
    log: Arc<dyn Log>,
    store: Arc<Store>,
    accounts: Arc<Accounts>,
    live: Arc<LiveFiles>,
    notifier: Option<Arc<push::Notifier>>,
    certificate: Option<Arc<Certificate>>,
    clock: Clock,
    pool: Pool,
    executor: Arc<Executor<'static>>,
}

impl Server {
    /// Makes a server of `parts`, with what the log and the accounts have stored.
    fn new(parts: Parts) -> Result<Arc<Self>, StorageError> {
        let Parts {
            config,
            division,
            log,
            store,
            accounts,
            live,
            notifier,
            certificate,
            clock,
            pool,
            executor,
        } = parts;
        let mut state =
            SharedState::new(config.clone(), log.clone(), accounts.clone(), clock.clone());
        state.chat.restore(log.rooms()?, log.file_totals()?);
        state.chat.restore_accounts(accounts.directory()?);
        Ok(Arc::new(Self {
            metrics: state.metrics.clone(),
            proposed: state.proposed.clone(),
            state: Mutex::new(state),
            names: http::Names::new(&config.hosts),
            certificate,
            waiting: Arc::new(Budget::new(config.limits.waiting_bytes_max())),
            turned_away_max: division.turned_away,
            descriptors: Arc::new(Shares::new(division.transfers, descriptors::UPLOAD)),
            pieces: Arc::new(Budget::new(config.limits.pieces_bytes_max())),
            config,
            store,
            accounts,
            passwords: Semaphore::new(PASSWORDS_MAX),
            questions: Turns::new(LOG_CONNECTIONS_MAX, QUESTIONS_PER_ADDRESS_MAX),
            searches: Turns::new(SEARCHES_MAX, 1),
            batch: Mutex::default(),
            scheduler: FairScheduler::default(),
            applied: Mutex::default(),
            live,
            acl_changes: Event::new(),
            notifier,
            to_notify: Event::new(),
            deleted_rooms: Event::new(),
            clock,
            pool,
            stopping: Event::new(),
            ending: Event::new(),
            executor,
            following: OnceLock::new(),
            exchange: exchange::Exchange::default(),
        }))
    }

    /// Starts the tasks that every server needs. Before each turn of a busy connection, `look` detects the sockets that
    /// have become ready. `newest` is the time of the newest event in the log. The tasks end when they are dropped.
    fn begin(
        self: &Arc<Self>,
        newest: Option<Time>,
        look: impl Fn() + Send + 'static,
    ) -> [Task<()>; 4] {
        let executor = &self.executor;
        let server = self.clone();
        [
            executor.spawn(shared_state::run_timers(self.clone())),
            executor.spawn(trim(self.clone(), newest)),
            executor.spawn(shared_state::fan_out(self.clone())),
            executor.spawn(async move { server.scheduler.run(look).await }),
        ]
    }

    /// Counts a client that has just connected. Returns false if there are so many connections that it is not even told
    /// so.
    fn has_place(&self) -> bool {
        let connections = self.state().chat.connections();
        self.metrics.accepted.add(1);
        let connections_max = self.config.limits.connections_max;
        if connections >= connections_max {
            let text = format!(
                "rejected a connection: there are {connections} already (--max-connections)"
            );
            let uptime = self.clock.now().uptime;
            self.metrics
                .limit_hit(LimitKind::Connections, uptime, &text);
        }
        connections < connections_max + self.turned_away_max
    }

    fn live(&self) -> MutexGuard<'_, HashMap<EventId, SharedLive>> {
        self.live
            .lock()
            .expect("no thread panics while it holds this")
    }

    /// Returns the TLS configuration; `None` without TLS.
    fn tls(&self) -> Option<Arc<rustls::ServerConfig>> {
        self.certificate
            .as_ref()
            .map(|certificate| certificate.config())
    }

    /// Locks the buffer for writing.
    fn batch(&self) -> MutexGuard<'_, Batch> {
        self.batch
            .lock()
            .expect("no thread panics while it holds this")
    }

    fn applied(&self) -> MutexGuard<'_, AppliedQueue> {
        self.applied
            .lock()
            .expect("no thread panics while it holds this")
    }

    /// Locks the shared state for a change.
    fn changes(self: &Arc<Self>) -> Changes<'_> {
        Changes::of(self, self.state())
    }

    /// Locks the shared state to read it.
    fn state(&self) -> MutexGuard<'_, SharedState> {
        // No code under this lock waits or panics; it is held for microseconds.
        self.state
            .lock()
            .expect("no thread panics while it holds this")
    }
}

/// Serves clients until SIGINT or SIGTERM, on `sockets`, which are open already, and on the configured addresses.
/// When clients can connect, calls `listening` with the addresses and the certificate's fingerprint. A second signal
/// ends the process at once.
///
/// # Errors
/// When the server cannot start.
pub fn run(
    mut config: Config,
    sockets: Vec<TcpListener>,
    listening: impl FnOnce(&[Listen], Option<&str>),
) -> Result<(), Error> {
    if let Some(bytes) = getrlimit(Resource::As).current
        && bytes < MEMORY_LEAST_MIB << 20
    {
        return Err(Error::Memory(bytes >> 20));
    }
    let files = usize::try_from(raise_file_limit()).unwrap_or(usize::MAX);
    let division = Division::of(files, config.limits.connections_max);
    let division = division.ok_or(Error::OpenFiles(files))?;
    if division.connections < config.limits.connections_max {
        let room = division.connections;
        warn!("only {room} connections fit into the limit on open files ({files})");
        config.limits.connections_max = room;
    }
    for socket in &sockets {
        listen::open(socket)
            .map_err(|e| Error::System("use a socket of the service manager", e))?;
    }
    let sockets = sockets.into_iter().map(|socket| (socket, config.protocols));
    let mut listeners: Vec<_> = sockets.collect();
    for addr in &config.listen {
        let Listen { addr, protocols } = *addr;
        let bound = listen::bind(addr).map_err(|e| Error::Listen(addr, e))?;
        listeners.push((bound, protocols));
    }
    let had_terminal = has_terminal();
    let signals = || {
        let signals = Signals::new([Signal::Int, Signal::Term, Signal::Hup]);
        signals.map_err(|e| Error::System("listen for signals", e))
    };
    // While a server waits for others, signals end it as they end any process.
    let early = config.cluster.is_none().then(signals).transpose()?;

    let config = Arc::new(config);
    let clock = Clock::start();
    let publisher = Arc::new(OnceLock::new());
    let Storage {
        log,
        buckets,
        replica,
    } = open_log(&config, &clock, publisher.clone())?;
    let signals = match early {
        Some(early) => early,
        None => signals()?,
    };
    // The log is opened first: its lock proves that no other server uses the folder, and opening the store deletes
    // partial files.
    let store = Store::open(config.data.as_deref());
    let store = store.map_err(|e| Error::Data(data_path(&config), e))?;
    let accounts = Accounts::new(buckets, config.password.clone());
    let accounts = Arc::new(accounts.with_ssh(config.ssh_secret.clone()));
    // This is read before anything is stored with the current time.
    let newest = log.newest_time();
    let newest = newest.map_err(|e| Error::Log(data_path(&config), e))?;
    let digests = log.digests();
    store.restore(digests.map_err(|e| Error::Log(data_path(&config), e))?);
    let notifier = config.push.clone();
    let notifier = notifier.map(|settings| push::Notifier::new(settings, &accounts));
    let notifier = notifier.transpose().map_err(Error::Push)?.map(Arc::new);
    let executor = Arc::new(Executor::new());
    let speaks_tls = listeners.iter().any(|(_, protocols)| protocols.tls);
    let certificate = if speaks_tls {
        let source = match &config.certificate {
            Some((cert, key)) => Source::Files(cert.clone(), key.clone()),
            None => Source::Own(config.data.clone()),
        };
        let certificate =
            Certificate::load(source, &http::Names::new(&config.hosts).for_certificate());
        Some(Arc::new(certificate.map_err(Error::Tls)?))
    } else {
        None
    };
    let sockets = Sockets::new().map_err(|e| Error::System("watch sockets", e))?;
    let sockets = Arc::new(sockets);
    let data = data_path(&config);
    let server = Server::new(Parts {
        config,
        division,
        log: log.clone(),
        store: Arc::new(store),
        accounts,
        live: Arc::default(),
        notifier,
        certificate,
        clock,
        pool: Pool::Threads,
        executor: executor.clone(),
    });
    let server = server.map_err(|e| Error::Log(data, e))?;
    let _ = publisher.set(Arc::downgrade(&server));
    let unfinished = log
        .unfinished()
        .map_err(|e| Error::Log(data_path(&server.config), e))?;
    let (tell_end, end) = smol::channel::bounded(1);
    let following = replica.map(|replica| follow(&server, replica, tell_end));
    let following = following.transpose()?;
    // Where several servers share a chat, a live file may be another server's.
    if !unfinished.is_empty() && following.is_none() {
        for (id, location, nick) in unfinished {
            let now = server.clock.now();
            server.changes().remove_unfinished(id, location, &nick, now);
        }
        // Everything must be written before the first client can connect.
        log.flush()
            .map_err(|e| Error::Log(data_path(&server.config), e))?;
    }
    let places: Vec<_> = listeners
        .iter()
        .flat_map(|(listener, protocols)| {
            let addresses = listen::addresses(listener).into_iter();
            addresses.map(|addr| Listen {
                addr,
                protocols: *protocols,
            })
        })
        .collect();
    let serving = async {
        let ready = sockets.clone();
        let clock = server.clock.clone();
        let look = move || {
            clock.ring();
            ready.look();
        };
        let begun = server.begin(newest, look);
        let exchanging = following
            .as_ref()
            .map(|following| exchange::begin(&server, following));
        let notifying = server.notifier.clone();
        let notifying =
            notifying.map(|notifier| executor.spawn(push::run(server.clone(), notifier)));
        let certificate = server.certificate.clone();
        let refreshing = certificate.map(|own| executor.spawn(own.keep_fresh()));
        let signals = Ends {
            signals,
            had_terminal,
            certificate: server.certificate.clone(),
        };
        let mut first = next_signal(&executor, signals);
        if let Some(following) = &following {
            let caught_up = async {
                following.ready().await;
                Ok(())
            };
            let by_signal = async {
                drop((&mut first).await);
                Err("stopped before it had caught up with the others".into())
            };
            let ended = async {
                Err(end
                    .recv()
                    .await
                    .map_or_else(|e| e.to_string(), |e: Ended| e.to_string()))
            };
            future::or(caught_up, future::or(ended, by_signal))
                .await
                .map_err(Error::Cluster)?;
        }
        let mut accepting = Vec::new();
        for (listener, protocols) in listeners {
            let listener = sockets.add_listener(listener);
            let listener = listener.map_err(|e| Error::System("watch a socket", e))?;
            let accept = accept(server.clone(), sockets.clone(), listener, protocols);
            accepting.push(executor.spawn(accept));
        }
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
        let announcement = if server.config.announce {
            // Clients that look for servers speak the line protocol.
            let spoken = places.iter().filter(|place| place.protocols.lines);
            let spoken: Vec<_> = spoken.map(|place| place.addr).collect();
            let chat = following.as_ref().map(Following::created);
            announce::Announcement::begin(&server.config.name, &spoken, chat)
        } else {
            None
        };
        let asked = server.stopping.listen();
        let by_signal = async { (Some((&mut first).await), None) };
        let by_operator = async {
            asked.await;
            (None, None)
        };
        let by_others = async {
            match end.recv().await {
                Ok(ended) => (None, Some(ended)),
                Err(_) => future::pending().await, // there are no others
            }
        };
        let stopped = future::or(by_signal, future::or(by_operator, by_others)).await;
        let (stopped, mut ended) = stopped;
        let again = match stopped {
            Some(signals) => next_signal(&executor, signals),
            None => first, // after an operator's command, the first signal ends the process at once
        };
        let connections = server.state().chat.connections();
        info!(connections, "stopping");
        service::notify("STOPPING=1");
        drop(accepting);
        // The announcement is withdrawn on a thread of its own. Only the end of the process waits for that thread.
        drop(announcement);
        future::or(stop(&server), async { drop(again.await) }).await;
        if let (Some(following), None) = (&following, &ended) {
            following.leave();
            let left = async { end.recv().await.ok() };
            let late = async {
                server.clock.wait(LEAVE_WITHIN).await;
                None
            };
            ended = future::or(left, late).await;
        }
        drop((begun, refreshing, notifying, exchanging));
        match ended {
            None | Some(Ended::Left) => Ok(()),
            Some(ended) => Err(Error::Cluster(ended.to_string())),
        }
    };
    // There is one thread, because nearly all work is done under the lock of the shared state. With a second thread,
    // a delivery in a busy room took 1.1 to 1.5 times as much processor time, and a single message a tenth less
    // (benches/README.md), so there is no setting for more threads. Blocking work (the log, files, passwords) has
    // threads of its own.
    let done = sockets.block_on(executor.run(serving), || server.clock.ring());
    done.map_err(|e| Error::System("watch sockets", e))?
}

/// The signals that end the server.
struct Ends {
    signals: Signals,
    /// Whether standard input or output was a terminal at the start.
    had_terminal: bool,
    certificate: Option<Arc<Certificate>>,
}

impl Ends {
    /// Waits for the next signal that ends the server: SIGINT, SIGTERM, or SIGHUP if the terminal that started the
    /// server has been closed. Any other SIGHUP reloads the certificate.
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

/// Returns whether this process reads from or writes to a terminal.
fn has_terminal() -> bool {
    io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal()
}

/// Waits for a signal in a task of its own. The root future is polled at every event, and if it polled for signals,
/// each message would cost two reads of a pipe.
fn next_signal(executor: &Executor<'static>, mut signals: Ends) -> Task<Ends> {
    executor.spawn(async move {
        signals.next().await;
        signals
    })
}

/// Deletes expired events and the remains of deleted rooms, now and at intervals. `newest` is the time of the newest
/// event in the log at the start.
async fn trim(server: Arc<Server>, newest: Option<Time>) {
    let limits = &server.config.limits;
    let mut clock = TrustedClock::since(newest);
    loop {
        let more = server.deleted_rooms.listen();
        let now = server.clock.now();
        let now = clock.now(now.time, now.uptime);
        let log = server.state().log.clone();
        match server.pool.run(move || log.sweep(now)).await {
            Ok(0) => {}
            Ok(events) => info!(events, "removed the contents of deleted rooms"),
            Err(e) => warn!("cannot remove the contents of deleted rooms: {e}"),
        }
        let age = limits.keep.map(|keep| {
            let keep_ms = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
            let before = Time(now.0.saturating_sub(keep_ms));
            Age { before, now }
        });
        let bytes_max = limits.keep_bytes;
        let log = server.state().log.clone();
        let trimmed = if age.is_some() || bytes_max.is_some() {
            server.pool.run(move || log.trim(age, bytes_max)).await
        } else {
            Ok(Trimmed::default())
        };
        match trimmed {
            Ok(trimmed) => {
                let Trimmed {
                    events,
                    bytes,
                    files,
                    rooms,
                } = trimmed;
                if events > 0 {
                    let (files, rooms) = (files.len(), rooms.len());
                    info!(events, files, rooms, bytes, "removed expired events");
                }
                let released = files.iter().filter_map(|file| file.contents);
                let released: Vec<_> = released.map(|whole| whole.sha256).collect();
                {
                    let chat = &mut server.state().chat;
                    chat.files_went(&files);
                    chat.forget_rooms(&rooms);
                }
                let released = changes::Released {
                    digests: released,
                    ..changes::Released::default()
                };
                changes::release(&server, released);
            }
            Err(e) => warn!("cannot remove expired events: {e}"),
        }
        future::or(more, server.clock.wait(limits.trim_every)).await;
    }
}

/// The maximum time until a server that stops has told the others.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// The log, and the store of accounts and access lists.
struct Storage {
    log: Arc<dyn Log>,
    buckets: Arc<dyn Buckets>,
    /// What connects the server with others, if there are any.
    replica: Option<Replica>,
}

/// Opens the log in the data folder, or a log in memory. The log publishes its decisions to the server. Also returns
/// the store of accounts and access lists.
fn open_log(
    config: &Config,
    clock: &Clock,
    publisher: Arc<OnceLock<Weak<Server>>>,
) -> Result<Storage, Error> {
    let Some(folder) = &config.data else {
        let bytes_max = config.limits.memory_log_bytes_max;
        let log = MemoryLog::new(clock.first_id(), bytes_max);
        return Ok(Storage {
            log: Arc::new(log),
            buckets: Arc::new(MemoryBuckets::default()),
            replica: None,
        });
    };
    let is_shared = config.cluster.is_some();
    let sink = move |batch: Vec<Report>| {
        let Some(server) = publisher.get().and_then(Weak::upgrade) else {
            return;
        };
        if is_shared {
            exchange::on_reports(&server, &batch);
        }
        server.applied().add(batch);
    };
    let of_folder = |e| Error::Log(folder.clone(), e);
    if let Some(cluster) = &config.cluster {
        let of_cluster = |e: replica::Error| Error::Cluster(e.to_string());
        let settings = replica::Settings::of(cluster).map_err(of_cluster)?;
        let replica = Replica::open(settings, folder, Box::new(sink)).map_err(of_cluster)?;
        let log = replica.log();
        let buckets = ReplicaBuckets::new(log.clone()).map_err(of_folder)?;
        return Ok(Storage {
            log,
            buckets: Arc::new(buckets),
            replica: Some(replica),
        });
    }
    let log = Arc::new(SqliteLog::open(folder, Box::new(sink)).map_err(of_folder)?);
    if let Some(position) = log.position().map_err(of_folder)? {
        return Err(Error::Cluster(format!(
            "{} belongs to the chat {} of several servers: start it with --cluster, or let it leave with chatd cluster \
             leave",
            folder.display(),
            position.log
        )));
    }
    let buckets = SqliteBuckets::new(log.clone());
    Ok(Storage {
        log,
        buckets: Arc::new(buckets),
        replica: None,
    })
}

/// Lets the server follow the log that it shares with others. Sends to `tell_end` how that has ended.
fn follow(
    server: &Arc<Server>,
    replica: Replica,
    tell_end: Sender<Ended>,
) -> Result<Following, Error> {
    let unreadable = |e: serde_json::Error| Error::Cluster(e.to_string());
    let position = replica.position();
    let version = (position.applied + 1) << 10;
    let checkpoint = {
        let mut state = server.state();
        state.chat.decide_later();
        match &position.checkpoint {
            Some((checkpoint, text)) => {
                let restored = state.chat.restore_checkpoint(text, version);
                restored.map_err(unreadable)?;
                checkpoint.clone()
            }
            None => {
                let (checkpoint, text) = (replica.first_checkpoint(), state.chat.checkpoint());
                let restored = state.chat.restore_checkpoint(&text, version);
                restored.map_err(unreadable)?;
                state.log.remember(checkpoint.clone(), text);
                checkpoint
            }
        }
    };
    let ended = move |ended| drop(tell_end.try_send(ended));
    let following = replica.follow(&checkpoint, ended);
    let following = following.map_err(|e| Error::Cluster(e.to_string()))?;
    let _ = server.following.set(following.clone()); // this runs once
    Ok(following)
}

fn data_path(config: &Config) -> PathBuf {
    config.data.clone().unwrap_or_else(std::env::temp_dir)
}

/// Ends every connection. Returns when all have ended or the deadline has passed.
async fn stop(server: &Arc<Server>) {
    server.state().stop();
    server.ending.notify(usize::MAX);
    let ended = async {
        while !server.state().chat.is_deserted() {
            server.clock.wait(Duration::from_millis(10)).await;
        }
    };
    future::or(ended, server.clock.wait(server.config.limits.stop_within)).await;
}

async fn accept(
    server: Arc<Server>,
    sockets: Arc<Sockets>,
    listener: Listener,
    protocols: Protocols,
) {
    loop {
        match listener.accept(listen::accept).await {
            Ok((stream, peer)) => {
                welcome(&server, &sockets, stream, peer, protocols);
                future::yield_now().await; // clients that connect faster than this must not keep all others waiting
            }
            Err(e) => {
                // The most likely reason is that no descriptors are left. Existing connections continue, and some of
                // them will end.
                let text = format!("cannot accept a connection: {e}");
                let uptime = server.clock.now().uptime;
                server
                    .metrics
                    .limit_hit(LimitKind::OpenFiles, uptime, &text);
                server.clock.wait(Duration::from_millis(50)).await;
            }
        }
    }
}

fn welcome(
    server: &Arc<Server>,
    sockets: &Arc<Sockets>,
    stream: TcpStream,
    peer: IpAddr,
    protocols: Protocols,
) {
    if !server.has_place() {
        return;
    }
    let (Ok(local), Ok(socket)) = (stream.local_addr(), sockets.add(stream)) else {
        return; // the client has gone already
    };
    // A dual-stack socket, as a service manager opens it, reports IPv4 addresses as IPv6.
    let local = SocketAddr::new(local.ip().to_canonical(), local.port());
    let carrier = Carrier::Stream(Stream::Tcp(socket));
    let from = ConnectionSource::Socket(peer);
    let connection = Connection::open(server.clone(), carrier, from, local, protocols);
    server.executor.spawn(connection.run()).detach();
}

/// Raises the soft limit on open files to the hard limit; returns the new limit.
fn raise_file_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(e) = setrlimit(Resource::Nofile, limit) {
        warn!("cannot raise the limit on open files: {e}");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
