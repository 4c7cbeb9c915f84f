//! One of several servers that share a chat: the log that they share, as this server stores and reads it.
//!
//! Everything that a server stores or decides goes through the log in NATS ([`crate::cluster`]). Each server has its own
//! copy of the result, its replica, in the format of a single server's folder. [`ReplicaLog`] and [`ReplicaBuckets`]
//! publish what is to change, and read from the replica. A thread of its own reads the log and writes the replica.

mod buckets;
mod connected;
mod copy;
mod driver;
mod log;
mod manage;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_io::Timer;
use smol::channel::{Receiver, Sender, unbounded};

use crate::cluster::Members;
use crate::cluster::nats::jetstream::{NO_SUCH_STREAM, Stream, StreamState};
use crate::cluster::nats::{
    self, Address, Connection, Dialer, Handle, InvalidAddress, JetStream, Tls,
};
use crate::config::Cluster;
use crate::log::Sink;
use crate::log::sqlite::{Position, SqliteLog};
use crate::model::{Checkpoint, ServerName, StorageError};
use crate::transport;

pub use buckets::ReplicaBuckets;
pub use connected::{Progress, ServerStatus};
pub use copy::{Copies, UNUSED_FOR, piece};
pub use driver::Ended;
pub use log::{ReplicaLog, Unsaved};
pub use manage::{Repaired, init, leave, position, repair, status};

use driver::Driver;
use log::{Answers, Submitted};

/// The time between two attempts to use NATS.
const PAUSE: Duration = Duration::from_millis(200);

/// The kind of message that is in the log.
const LOG: &str = "log";

/// The kind of message by which the log publishes what it has stored.
const STORED: &str = "done";

/// The kind of message with which servers ask for copies of a replica, and get them.
pub const COPY: &str = "copy";

/// The kind of message that asks every server about itself.
pub const STATUS: &str = "status";

/// What connects a server with the others.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The NATS servers.
    pub nats: Vec<Address>,
    /// What is needed to use TLS with them, if an address begins with `tls://`.
    pub tls: Option<Tls>,
    /// The name of the chat. Several chats can use the same NATS servers.
    pub chat: String,
    /// The name of this server, which no other server of the chat has.
    pub server: ServerName,
}

impl Settings {
    /// Reads the settings of the configuration.
    ///
    /// # Errors
    /// When the address of a NATS server is invalid, a name cannot be used in NATS, or there are no certificates to trust.
    pub fn of(cluster: &Cluster) -> Result<Self, Error> {
        let nats = cluster.nats.iter().map(|address| {
            let parsed = address.parse();
            parsed.map_err(|e: InvalidAddress| Error::Invalid(format!("{address}: {e}")))
        });
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        for name in [&cluster.chat, &cluster.node] {
            if name.is_empty() || name.len() > 32 || !name.chars().all(is_plain) {
                let text = format!("{name}: use up to 32 letters, digits, - and _");
                return Err(Error::Invalid(text));
            }
        }
        let nats: Vec<_> = nats.collect::<Result<_, _>>()?;
        let file = cluster.authorities.as_deref();
        let is_tls = nats.iter().any(Address::is_tls);
        if (is_tls || file.is_some()) && !nats.iter().all(Address::is_tls) {
            let text = "with TLS to NATS, every address begins with tls://";
            return Err(Error::Invalid(text.into()));
        }
        let tls = if is_tls {
            let config = transport::client_config(file).map_err(|e| {
                let file = file.map_or("TLS with NATS".into(), Path::to_string_lossy);
                Error::Invalid(format!("{file}: {e}"))
            })?;
            Some(Tls::new(config))
        } else {
            None
        };
        Ok(Self {
            nats,
            tls,
            chat: cluster.chat.clone(),
            server: cluster.node.as_str().into(),
        })
    }

    /// Returns what connects with the NATS servers.
    fn dialer(&self) -> Dialer {
        Dialer::new(
            self.nats.clone(),
            &self.server,
            self.tls.clone(),
            driver::random(),
        )
    }

    /// Returns the name of the stream that is the log.
    fn stream(&self) -> String {
        format!("PC_{}", self.chat)
    }

    /// Returns the subject of messages of a kind.
    fn subject(&self, kind: &str) -> String {
        format!("pc.{}.{kind}", self.chat)
    }
}

/// The reason why a server cannot be one of several.
#[derive(Debug)]
pub enum Error {
    /// A setting is invalid.
    Invalid(String),
    /// The replica cannot be read or written.
    Storage(StorageError),
    /// The log cannot be used.
    Nats(nats::Error),
    /// The NATS server is too old, or has no JetStream.
    Unfit(nats::Unfit),
    /// A NATS server does not admit this server, or its certificate is not trusted, and no other can be used.
    NotAdmitted(Address, nats::Lost),
    /// There is no such chat on the NATS servers.
    NoChat(String),
    /// There is such a chat already.
    ChatExists(String),
    /// The folder has a chat of its own.
    OwnChat,
    /// The folder belongs to another chat.
    OtherChat(String),
    /// The log does not go back as far as this server needs, and no other server sends a copy of its replica.
    NoCopy,
    /// A server of the chat is running.
    Running(ServerName),
    /// The log has newer messages than the replica. The numbers are those of the last message of the replica, and of the
    /// log.
    Newer(u64, u64),
    /// The folder is that of a single server.
    NotShared,
    /// The log is shorter than the replica: it is another log, or has lost messages. The numbers are those of the last
    /// message of the replica, and of the log.
    Shorter(u64, u64),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(text) => f.write_str(text),
            Self::Storage(e) => write!(f, "{e}"),
            Self::Nats(e) => write!(f, "the log in NATS cannot be used: {e}"),
            Self::Unfit(e) => write!(f, "{e}"),
            Self::NotAdmitted(address, e @ nats::Lost::Refused(_)) => write!(
                f,
                "NATS at {address} refuses this server: {e}; the user and password in --cluster must be those in the \
                 settings of NATS"
            ),
            Self::NotAdmitted(address, e) => write!(f, "NATS at {address} cannot be used: {e}"),
            Self::NoChat(chat) => write!(
                f,
                "these NATS servers have no chat {chat}: begin it with chatd cluster init, or, if NATS has lost its data, \
                 continue it with chatd cluster repair"
            ),
            Self::ChatExists(chat) => write!(f, "these NATS servers have a chat {chat} already"),
            Self::OwnChat => f.write_str(
                "the folder already has a chat: to share it, run chatd cluster init on it; every other server begins with \
                 an empty folder",
            ),
            Self::OtherChat(chat) => write!(f, "the folder belongs to the chat {chat}"),
            Self::NoCopy => f.write_str(
                "the log no longer has everything that this server needs, and no other server of the chat sends a copy: \
                 start another one first. If all were away for too long, chatd.md, section 8, says what to do",
            ),
            Self::Running(server) => write!(f, "the server {server} is running: stop all servers of the chat first"),
            Self::Newer(own, last) => write!(
                f,
                "this folder has messages up to {own}, and the log has messages up to {last}: take a folder with more, or, \
                 if there is none, delete the log first (nats stream rm)"
            ),
            Self::NotShared => f.write_str("the folder is that of a single server"),
            Self::Shorter(own, last) => write!(
                f,
                "the log ends with message {last}, and this server has stored message {own}: the log has lost \
                 messages, or is another one. If NATS has lost its data, use chatd cluster repair (chatd.md, section 8)"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Storage(e) => Some(e),
            Self::Nats(e) => Some(e),
            Self::Unfit(e) => Some(e),
            Self::NotAdmitted(_, e) => Some(e),
            _ => None,
        }
    }
}

impl From<StorageError> for Error {
    fn from(e: StorageError) -> Self {
        Self::Storage(e)
    }
}

impl From<nats::Error> for Error {
    fn from(e: nats::Error) -> Self {
        Self::Nats(e)
    }
}

/// A replica that is open, but does not follow the log yet.
pub struct Replica {
    settings: Settings,
    created: String,
    local: Arc<SqliteLog>,
    copies: Arc<Copies>,
    position: Position,
    queue: (Sender<Submitted>, Receiver<Submitted>),
    unsaved: (Sender<Unsaved>, Receiver<Unsaved>),
    answers: Arc<Answers>,
    ready: Arc<connected::Ready>,
}

impl Replica {
    /// Opens the replica in `folder`. `sink` receives what the log reports. Waits until a NATS server answers. If the log
    /// no longer has what the replica needs, receives a copy from another server.
    ///
    /// # Errors
    /// When the folder or the log cannot be used.
    pub fn open(settings: Settings, folder: &Path, sink: Sink) -> Result<Self, Error> {
        let created = smol::block_on(with_jetstream(&settings, async |jetstream| {
            let known = known(&settings, folder)?;
            let Stream { created, state, .. } = stream(jetstream, &settings).await?;
            if state.last < known.as_ref().map_or(0, Position::newest) {
                let own = known.as_ref().map_or(0, Position::newest);
                return Err(Error::Shorter(own, state.last));
            }
            if state.first > known.as_ref().map_or(1, Position::needed) {
                copy::receive(jetstream, &settings, folder).await?;
            }
            Ok(created)
        }))?;
        let local = Arc::new(SqliteLog::open(folder, sink)?);
        let position = local.replicate(&settings.chat, 0)?;
        Ok(Self {
            copies: Arc::new(Copies::new(local.clone(), folder)),
            settings,
            created,
            local,
            position,
            queue: unbounded(),
            unsaved: unbounded(),
            answers: Arc::default(),
            ready: Arc::default(),
        })
    }

    /// Returns the log as the server uses it.
    pub fn log(&self) -> Arc<ReplicaLog> {
        let (queue, unsaved) = (self.queue.0.clone(), self.unsaved.0.clone());
        let (answers, ready) = (self.answers.clone(), self.ready.clone());
        let local = self.local.clone();
        Arc::new(ReplicaLog::new(local, queue, unsaved, answers, ready))
    }

    /// Returns where the replica is.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Returns the checkpoint of a server that begins where the replica is, and has no other.
    pub fn first_checkpoint(&self) -> Checkpoint {
        let members = serde_json::to_string(&Members::default());
        Checkpoint {
            sequence: self.position.applied,
            members: members.expect("plain structs are JSON"),
        }
    }

    /// Begins to follow the log. The state of the chat must be that of `checkpoint`. `ended` is called when the server
    /// cannot go on, or has left.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn follow(
        self,
        checkpoint: &Checkpoint,
        ended: impl FnOnce(Ended) + Send + 'static,
    ) -> Result<Following, StorageError> {
        let members: Members = serde_json::from_str(&checkpoint.members)
            .map_err(|e| StorageError::Io(std::io::Error::other(e)))?;
        let following = Following {
            queue: self.queue.0.clone(),
            ready: self.ready,
            connected: Arc::default(),
            unsaved: self.unsaved.1,
            copies: self.copies,
            progress: Arc::default(),
            settings: Arc::new(self.settings.clone()),
            created: self.created.into(),
        };
        let driver = Driver::new(
            &self.settings,
            self.local,
            (self.position, checkpoint.sequence, members),
            self.queue.1,
            (self.answers, following.ready.clone()),
            (following.connected.clone(), following.progress.clone()),
        );
        let run = move || ended(smol::block_on(driver.run()));
        std::thread::Builder::new()
            .name("cluster".into())
            .spawn(run)?;
        Ok(following)
    }
}

/// A replica that follows the log.
#[derive(Clone, Debug)]
pub struct Following {
    queue: Sender<Submitted>,
    ready: Arc<connected::Ready>,
    connected: Arc<connected::Connected>,
    unsaved: Receiver<Unsaved>,
    copies: Arc<Copies>,
    progress: Arc<Mutex<Progress>>,
    settings: Arc<Settings>,
    created: Arc<str>,
}

impl Following {
    /// Returns the time at which the log was created. All servers of the chat, and no others, have the same.
    pub fn created(&self) -> &str {
        &self.created
    }

    /// Waits until there is a connection to NATS, and returns it.
    pub async fn connection(&self) -> Handle {
        self.connected.handle().await
    }

    /// Returns the connection to NATS, if there is one.
    pub fn current_connection(&self) -> Option<Handle> {
        self.connected.current()
    }

    /// Returns the next direct message that this server sends and that is not logged; `None` when the server has ended.
    pub async fn next_unsaved(&self) -> Option<Unsaved> {
        self.unsaved.recv().await.ok()
    }

    /// Returns what makes copies of this server's replica for others.
    pub fn copies(&self) -> &Arc<Copies> {
        &self.copies
    }

    /// Returns what the server has done with the log.
    pub fn progress(&self) -> Progress {
        let progress = self.progress.lock();
        let progress = progress.expect("no thread panics while it holds this");
        progress.clone()
    }

    /// Returns what this server tells operators about itself.
    pub fn status(&self) -> ServerStatus {
        ServerStatus {
            server: self.settings.server.clone(),
            is_ready: self.ready.is_set(),
            read_to: self.progress().read_to,
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// Returns the name of this server.
    pub fn server(&self) -> &ServerName {
        &self.settings.server
    }

    /// Returns the subject on which all servers of the chat receive messages of a kind that are not logged.
    pub fn subject(&self, kind: &str) -> String {
        self.settings.subject(kind)
    }

    /// Returns the subject on which only this server receives such messages.
    pub fn own_subject(&self, kind: &str) -> String {
        format!("{}.{}", self.subject(kind), self.settings.server)
    }

    /// Waits until the server has caught up with the log, and may serve clients.
    pub async fn ready(&self) {
        self.ready.wait().await;
    }

    /// Returns whether the server is cut off from the others, or has not caught up yet.
    pub fn is_cut_off(&self) -> bool {
        !self.ready.is_set()
    }

    /// Returns whether it is certain that the others have not ended this server's epoch. Only then may the server act in
    /// the name of a user without the log.
    pub fn has_lease(&self) -> bool {
        self.ready.has_lease()
    }

    /// Makes the server leave the others as soon as everything is published.
    pub fn leave(&self) {
        let _ = self.queue.try_send(Submitted::Leave); // it has left already
    }
}

/// Returns where the replica in a folder is; `None` if nothing was ever stored in the folder.
fn known(settings: &Settings, folder: &Path) -> Result<Option<Position>, Error> {
    let local = SqliteLog::open(folder, Box::new(|_| {}))?;
    match local.position()? {
        None if !local.is_unused()? => Err(Error::OwnChat),
        Some(known) if known.log != settings.chat => Err(Error::OtherChat(known.log)),
        known => Ok(known),
    }
}

/// Returns the messages of the log; `None` if there is no such chat.
async fn state(jetstream: &JetStream, settings: &Settings) -> Result<Option<StreamState>, Error> {
    match stream(jetstream, settings).await {
        Err(Error::NoChat(_)) => Ok(None),
        stream => Ok(Some(stream?.state)),
    }
}

/// Returns the log of a chat that must exist.
async fn stream(jetstream: &JetStream, settings: &Settings) -> Result<Stream, Error> {
    match jetstream.stream(&settings.stream()).await {
        Err(nats::Error::Refused { code, .. }) if code == NO_SUCH_STREAM => {
            Err(Error::NoChat(settings.chat.clone()))
        }
        stream => Ok(stream?),
    }
}

/// Returns whether the log has everything that a replica needs, and everything that the replica has seen.
fn leads_on(log: &StreamState, from: &Position) -> bool {
    log.first <= from.needed() && from.newest() <= log.last
}

/// Connects with a NATS server, and lets `work` use its JetStream. Connects again while the servers are not ready.
async fn with_jetstream<T>(
    settings: &Settings,
    work: impl AsyncFn(&JetStream) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut dialer = settings.dialer();
    loop {
        let (handle, connection) = admitted(&mut dialer, settings.nats.len()).await?;
        handle.info().check().map_err(Error::Unfit)?;
        let jetstream = JetStream::new(handle);
        let lost = async {
            connection.run().await;
            Err(Error::Nats(nats::Error::Closed))
        };
        match futures_lite::future::or(work(&jetstream), lost).await {
            Err(Error::Nats(e)) if e.passes() => {
                tracing::warn!("waiting for NATS: {e}");
                Timer::after(PAUSE).await;
            }
            done => return done,
        }
    }
}

/// Connects with a NATS server. Tries again while the servers cannot be reached.
async fn admitted(dialer: &mut Dialer, servers: usize) -> Result<(Handle, Connection), Error> {
    loop {
        let mut refusal = None;
        for _ in 0..servers.max(1) {
            match dialer.attempt().await {
                Ok((_, handle, connection)) => return Ok((handle, connection)),
                Err((address, lost)) => {
                    tracing::warn!("cannot connect to NATS at {address}: {lost}");
                    if lost.is_final() {
                        refusal = Some(Error::NotAdmitted(address, lost));
                    }
                }
            }
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
    }
}
