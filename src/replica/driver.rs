//! The thread that connects a server with the log in NATS: publishes what the server submits, reads the log, and passes
//! it to the replica.

use std::collections::HashSet;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_io::Timer;
use event_listener::Event;
use futures_lite::future;
use smol::channel::Receiver;
use tracing::{info, warn};

use super::connected::{Connected, Progress, Ready, now};
use super::log::{Answers, Submitted};
use super::{LOG, STORED, Settings, buckets};
use crate::cluster::Members;
use crate::cluster::nats::{self, Handle, Headers, JetStream, Stored, Subscription};
use crate::cluster::node::{Logged, Node, Receipt, Step, Stuck};
use crate::cluster::publisher::CUT_OFF_AFTER;
use crate::log::sqlite::{self, Message, Position, SharedChange, SqliteLog};
use crate::model::{
    Applied, Change, Checkpoint, Report, SharedReport, StorageError, StoredChange, ValuesChange,
};
use crate::protocol::{Code, Time};

/// The time between two checkpoints. A server that starts again reads the log from the last one on.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);

/// The number of messages after which there is another checkpoint.
const MESSAGES_PER_CHECKPOINT: u64 = 10_000;

/// The time after which the log is read if it has not published a message that was sent. After an election, the new
/// leader does not publish what the old one has stored.
const READ_AFTER: Duration = Duration::from_millis(600);

/// The maximum size of the messages that wait to be stored in bytes. If the disk is slower, no more are read.
const UNSTORED_BYTES_MAX: usize = 64 << 20;

/// The time between two requests to a NATS server that is not ready.
const PAUSE: Duration = Duration::from_millis(100);

/// How the connection with the other servers has ended.
#[derive(Debug)]
pub enum Ended {
    /// The server has left, as it was asked to.
    Left,
    /// The server cannot go on.
    Stuck(Stuck),
    /// The log no longer has what this server must read.
    TooOld(u64),
    /// JetStream refuses what this server needs.
    Refused(nats::Error),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("the server has left"),
            Self::Stuck(stuck) => write!(f, "{stuck}"),
            Self::TooOld(first) => write!(
                f,
                "the log begins with message {first} now, and this server is further behind: when it starts again, it \
                 receives a copy from another server"
            ),
            Self::Refused(e) => write!(f, "{e}"),
        }
    }
}

/// The size of the messages that wait to be stored.
#[derive(Debug, Default)]
struct Unstored {
    bytes: AtomicUsize,
    changed: Event,
}

/// Counts a message as long as it waits to be stored.
struct Held(Arc<Unstored>, usize);

impl Held {
    fn new(unstored: &Arc<Unstored>, bytes: usize) -> Self {
        unstored.bytes.fetch_add(bytes, Ordering::Relaxed);
        Self(unstored.clone(), bytes)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.bytes.fetch_sub(self.1, Ordering::Relaxed);
        self.0.changed.notify(usize::MAX);
    }
}

/// What runs on the thread.
pub(super) struct Driver {
    settings: Settings,
    node: Node,
    local: Arc<SqliteLog>,
    /// The last message whose entries were stored when the server started.
    applied: u64,
    /// The places in the log of the changes of accounts and bans that had been made since the checkpoint.
    made: HashSet<u64>,
    queue: Receiver<Submitted>,
    answers: Arc<Answers>,
    ready: Arc<Ready>,
    connected: Arc<Connected>,
    progress: Arc<Mutex<Progress>>,
    /// Whether everything that is submitted is refused, until the chat knows that the server's epoch has ended.
    is_refusing: bool,
    /// Whether the server is cut off, or has not caught up since it was started.
    is_cut_off: bool,
    /// Whether a change was refused while the server had no epoch. Whoever waits for it learns that when the next epoch
    /// begins.
    owes_end: bool,
    checkpoint_at: Duration,
    checkpoint_after: u64,
    unstored: Arc<Unstored>,
}

impl Driver {
    pub fn new(
        settings: &Settings,
        local: Arc<SqliteLog>,
        (position, read_to, members): (Position, u64, Members),
        queue: Receiver<Submitted>,
        (answers, ready): (Arc<Answers>, Arc<Ready>),
        (connected, progress): (Arc<Connected>, Arc<Mutex<Progress>>),
    ) -> Self {
        let (server, now) = (settings.server.clone(), now());
        Self {
            node: Node::restore(server, members, read_to, random(), now),
            settings: settings.clone(),
            local,
            applied: position.applied,
            made: position.made,
            queue,
            answers,
            ready,
            connected,
            progress,
            is_refusing: false,
            is_cut_off: true,
            owes_end: false,
            checkpoint_at: now + CHECKPOINT_EVERY,
            checkpoint_after: read_to + MESSAGES_PER_CHECKPOINT,
            unstored: Arc::default(),
        }
    }

    /// Keeps the server connected with the others until it leaves, or cannot go on.
    pub async fn run(mut self) -> Ended {
        let mut dialer = self.settings.dialer();
        let ended = loop {
            let failed = |address: &nats::Address, lost: &nats::Lost| {
                warn!("cannot connect to NATS at {address}: {lost}");
            };
            let connected = async { Ok(dialer.connect(failed).await) };
            let (address, handle, connection) =
                match future::or(connected, async { Err(self.wait().await) }).await {
                    Ok(connected) => connected,
                    Err(ended) => break ended,
                };
            info!("connected to NATS at {address}");
            self.connected.set(Some(handle.clone()));
            let lost = async { Ok(connection.run().await) };
            let serves = async { Err(self.serve(handle).await) };
            let served = future::or(serves, lost).await;
            self.connected.set(None);
            match served {
                Err(Some(ended)) => break ended,
                Err(None) => {}
                Ok(lost) => warn!("the connection to NATS at {address} has ended: {lost}"),
            }
        };
        self.ready.set(false);
        // Whoever still waits gets an answer.
        self.queue.close();
        self.is_refusing = true;
        while let Ok(submitted) = self.queue.try_recv() {
            self.submit(submitted);
        }
        let all = self.node.take_all();
        self.refuse(all);
        self.pass(0, Time(0), vec![report(SharedReport::CutOff)], 0);
        self.answers.close();
        ended
    }

    /// Takes what is submitted while there is no connection.
    async fn wait(&mut self) -> Ended {
        loop {
            if self.node.publisher().has_left() {
                return Ended::Left;
            }
            self.check_connection();
            let later = async {
                Timer::after(PAUSE).await;
                None
            };
            let queue = self.queue.clone();
            let submitted = async { queue.recv().await.ok() };
            if let Some(submitted) = future::or(submitted, later).await {
                let leaves = matches!(submitted, Submitted::Leave);
                self.submit(submitted);
                if leaves {
                    return Ended::Left; // there is nobody to tell
                }
            }
        }
    }

    /// Publishes and reads over a connection. Returns how the server has ended, or `None` if another connection is
    /// needed.
    async fn serve(&mut self, handle: Handle) -> Option<Ended> {
        let jetstream = JetStream::new(handle.clone());
        let live = handle.subscribe(&self.settings.subject(STORED)).ok()?;
        if let Err(ended) = self.catch_up(&jetstream).await {
            return ended;
        }
        loop {
            if self.node.publisher().has_left() {
                return Some(Ended::Left);
            }
            self.check_connection();
            let unstored_bytes = self.unstored.bytes.load(Ordering::Relaxed);
            self.count(|progress| progress.unstored_bytes = unstored_bytes);
            let at = now();
            if !self.has_batch_in_flight() {
                while let Ok(submitted) = self.queue.try_recv() {
                    self.submit(submitted);
                }
            }
            if let Some(bytes) = self.node.publish(at) {
                let subject = self.settings.subject(LOG);
                match handle.publish(&subject, None, &Headers::new(), &bytes) {
                    Ok(()) => self.count(|progress| progress.published += 1),
                    Err(nats::Error::Busy) => {}
                    Err(nats::Error::Closed) => return None,
                    Err(e) => return Some(Ended::Refused(e)),
                }
            }
            let sent_at = self.node.publisher().sent_at();
            if sent_at.is_some_and(|sent_at| at >= sent_at + READ_AFTER) {
                if let Err(ended) = self.catch_up(&jetstream).await {
                    return ended;
                }
                // If it is not there, it has not been stored, and is published again until it is.
                Timer::after(PAUSE).await;
            }
            if let Err(ended) = self.next(&live, &jetstream).await {
                return ended;
            }
        }
    }

    /// Waits for the next thing to do, and does it.
    async fn next(
        &mut self,
        live: &Subscription,
        jetstream: &JetStream,
    ) -> Result<(), Option<Ended>> {
        enum Next {
            Live(Option<nats::codec::Message>),
            Submitted(Option<Submitted>),
            Due,
        }
        let due = self.node.due().unwrap_or(Duration::MAX);
        let wait = due.saturating_sub(now()).min(CUT_OFF_AFTER / 10);
        let has_batch_in_flight = self.has_batch_in_flight();
        let next = {
            let queue = self.queue.clone();
            let live = async { Next::Live(live.next().await) };
            let submitted = async {
                if has_batch_in_flight {
                    future::pending::<()>().await;
                }
                Next::Submitted(queue.recv().await.ok())
            };
            let due = async {
                Timer::after(wait).await;
                Next::Due
            };
            future::or(live, future::or(submitted, due)).await
        };
        match next {
            Next::Due | Next::Submitted(None) => {}
            Next::Live(None) => return Err(None),
            Next::Live(Some(message)) => {
                let stored = Stored::republished(message, &self.settings.stream());
                let Ok(stored) = stored else {
                    return Ok(()); // somebody else has published it
                };
                if stored.sequence > self.node.read_to() + 1 {
                    self.read_up_to(jetstream, stored.sequence).await?;
                } else {
                    self.read(&stored).await?;
                }
            }
            Next::Submitted(Some(submitted)) => self.submit(submitted),
        }
        Ok(())
    }

    /// Returns whether a batch has been sent and not read yet. Until then nothing else can be sent, so what is submitted
    /// stays in the queue, and wakes nobody: it is the next batch.
    fn has_batch_in_flight(&self) -> bool {
        let publisher = self.node.publisher();
        publisher.is_live() && publisher.sent_at().is_some()
    }

    /// Reads the log up to its end.
    async fn catch_up(&mut self, jetstream: &JetStream) -> Result<(), Option<Ended>> {
        let last = loop {
            match jetstream.stream(&self.settings.stream()).await {
                Ok(stream) => break stream.state.last,
                Err(nats::Error::Closed) => return Err(None),
                Err(e) if e.passes() => {
                    self.check_connection();
                    Timer::after(PAUSE).await;
                }
                Err(e) => return Err(Some(Ended::Refused(e))),
            }
        };
        self.read_up_to(jetstream, last).await
    }

    async fn read_up_to(&mut self, jetstream: &JetStream, to: u64) -> Result<(), Option<Ended>> {
        let refused = |e| Some(Ended::Refused(e));
        while self.node.read_to() < to {
            let from = self.node.read_to() + 1;
            let mut missed = jetstream
                .catch_up(&self.settings.stream(), from, to)
                .map_err(refused)?;
            loop {
                match missed.next().await {
                    Ok(Some(stored)) => self.read(&stored).await?,
                    Ok(None) => {
                        if self.node.read_to() < to {
                            self.check_connection(); // the server that answers lacks the end of the log
                            Timer::after(PAUSE).await;
                        }
                        break;
                    }
                    Err(nats::Error::Closed) => return Err(None),
                    Err(nats::Error::Expired(first)) => return Err(Some(Ended::TooOld(first))),
                    Err(e) if e.passes() => {
                        self.check_connection();
                        Timer::after(PAUSE).await;
                    }
                    Err(e) => return Err(refused(e)),
                }
            }
        }
        Ok(())
    }

    /// Reads a message of the log, and passes it to the replica.
    async fn read(&mut self, stored: &Stored) -> Result<(), Option<Ended>> {
        while self.unstored.bytes.load(Ordering::Relaxed) > UNSTORED_BYTES_MAX {
            let changed = self.unstored.changed.listen();
            if self.unstored.bytes.load(Ordering::Relaxed) > UNSTORED_BYTES_MAX {
                let later = async {
                    Timer::after(PAUSE).await;
                };
                future::or(changed, later).await;
                self.check_connection(); // the disk may store nothing for so long that the others end the server's epoch
            }
        }
        let logged = Logged {
            sequence: stored.sequence,
            bytes: &stored.payload,
        };
        let at = now();
        let was_live = self.node.publisher().is_live();
        let steps = self.node.read(logged, random, at);
        self.ready.set_lease(self.node.publisher().lease_until());
        let steps = steps.map_err(|stuck| Some(Ended::Stuck(stuck)))?;
        let time = Time(stored.time_ns / 1_000_000);
        let is_stored = stored.sequence <= self.applied;
        let mut parts = Vec::with_capacity(steps.len());
        let (mut place, mut left) = (0, 0);
        for step in steps {
            match step {
                Step::Store(entry, id, ticket) => {
                    place = id.get() + 1;
                    if !is_stored {
                        parts.push(sqlite::Step::Store(entry, id, ticket));
                    }
                }
                Step::Change(change, number) => {
                    let version = place.max(stored.sequence << 10) + 1;
                    if !is_stored {
                        let change = self.shared_change(change, number, version, time);
                        parts.push(sqlite::Step::Change(change));
                    } else if let StoredChange::Values(values) = &change
                        && self.made.contains(&version)
                    {
                        parts.extend(known(values, time).map(report));
                    }
                }
                Step::Decide(change, _) if is_stored => {
                    parts.push(report(SharedReport::ChangeAgain(change, time)));
                }
                Step::Decide(change, by) => {
                    parts.push(report(SharedReport::Change(change, by, time)));
                }
                Step::End(server) => {
                    if server == self.settings.server {
                        self.is_refusing = true;
                        self.owes_end = false;
                    } else {
                        left += 1;
                    }
                    parts.push(report(SharedReport::End(server, time)));
                }
                Step::Refuse(receipts) => {
                    let refused = receipts.into_iter().filter_map(|it| self.refused(it));
                    parts.extend(refused.map(sqlite::Step::Report));
                }
            }
        }
        if self.node.publisher().is_live() && !was_live {
            if mem::take(&mut self.owes_end) {
                // The server has no users now, so this changes nothing but what its connections wait for.
                let lost = self.node.take_waiting();
                let lost = lost.into_iter().filter_map(|it| self.refused(it));
                parts.extend(lost.map(sqlite::Step::Report));
                self.is_refusing = true;
                let own = self.settings.server.clone();
                parts.push(report(SharedReport::End(own, time)));
            }
            info!(
                "in the chat {} as {}",
                self.settings.chat, self.settings.server
            );
            parts.push(report(SharedReport::Ready(time)));
            self.is_cut_off = false;
            self.count(|progress| progress.joined += 1);
        }
        if at >= self.checkpoint_at || stored.sequence >= self.checkpoint_after {
            self.checkpoint_at = at + CHECKPOINT_EVERY;
            self.checkpoint_after = stored.sequence + MESSAGES_PER_CHECKPOINT;
            parts.push(report(SharedReport::Checkpoint(self.checkpoint())));
        }
        // This comes before the reports, so that a server whose epoch has ended is no longer in this list when the end is
        // reported.
        self.count(|progress| {
            let live = || self.node.members().all_live();
            if !live().eq(&progress.servers) {
                progress.servers = live().cloned().collect();
            }
            progress.left += left;
        });
        self.pass(stored.sequence, time, parts, stored.payload.len());
        self.count(|progress| progress.read_to = stored.sequence);
        Ok(())
    }

    fn count(&self, change: impl FnOnce(&mut Progress)) {
        let mut progress = self.progress.lock();
        let progress = progress.as_deref_mut();
        change(progress.expect("no thread panics while it holds this"));
    }

    fn checkpoint(&self) -> Checkpoint {
        let members = serde_json::to_string(self.node.members());
        Checkpoint {
            sequence: self.node.read_to(),
            members: members.expect("plain structs are JSON"),
        }
    }

    /// Passes what becomes of a message to the replica.
    fn pass(&self, sequence: u64, time: Time, steps: Vec<sqlite::Step>, bytes: usize) {
        if !steps.is_empty() {
            self.local.store_message(Message {
                sequence,
                time,
                steps,
                held: Some(Box::new(Held::new(&self.unstored, bytes))),
            });
        }
    }

    /// Returns how the replica makes a change that is not an event. `version` is the place of the change in the log.
    fn shared_change(
        &self,
        change: StoredChange,
        number: Option<u64>,
        version: u64,
        time: Time,
    ) -> SharedChange {
        let change = Arc::new(change);
        let (made, answers) = (change.clone(), self.answers.clone());
        let (tell, deleted) = channel();
        SharedChange {
            make: Box::new(move |step, _| match &*made {
                StoredChange::Values(values) => {
                    buckets::write(step, values)?;
                    if !buckets::actions(values).is_empty() {
                        sqlite::set_made(step, version)?;
                    }
                    Ok(())
                }
                other => {
                    // If the change runs more than once, the result of the last run counts.
                    let _ = tell.send(sqlite::make_change(step, other)?);
                    Ok(())
                }
            }),
            done: Box::new(move |outcome| {
                let mut reports = Vec::new();
                if let (StoredChange::Values(values), Ok(())) = (&*change, &outcome) {
                    reports.extend(known(values, time));
                    let acls = buckets::acls(values, version);
                    if !acls.is_empty() {
                        reports.push(SharedReport::Acls(acls, time));
                    }
                }
                let files = deleted.try_iter().last().unwrap_or_default();
                if outcome.is_ok() && !files.is_empty() {
                    reports.push(SharedReport::InboxCleared(files));
                }
                if let Some(number) = number {
                    answers.answer(number, outcome);
                }
                reports
            }),
        }
    }

    /// Takes what the server submits.
    fn submit(&mut self, submitted: Submitted) {
        let at = now();
        let refused = match submitted {
            Submitted::AcceptAgain => {
                self.is_refusing = false;
                Ok(())
            }
            Submitted::Leave => {
                let checkpoint = report(SharedReport::Checkpoint(self.checkpoint()));
                self.pass(0, Time(0), vec![checkpoint], 0);
                self.node.leave();
                Ok(())
            }
            Submitted::Entry(entry, ticket) if self.is_refusing => {
                Err(Receipt::Entry(entry, ticket))
            }
            Submitted::Change(_, by) if self.is_refusing => Err(Receipt::Change(by)),
            Submitted::Stored(_, number) if self.is_refusing => Err(Receipt::Stored(number)),
            Submitted::Entry(entry, ticket) => self.node.propose_entry(entry, ticket, at),
            Submitted::Change(action, by) => self.node.propose_change(action, by, at),
            Submitted::Stored(change, number) => self.node.propose_stored(change, number, at),
        };
        if let Err(receipt) = refused {
            let has_no_epoch = !self.is_refusing && !self.node.publisher().is_live();
            self.owes_end |= matches!(receipt, Receipt::Change(_)) && has_no_epoch;
            self.refuse([receipt]);
        }
    }

    /// Tells whoever waits that something will never take effect.
    fn refuse(&self, receipts: impl IntoIterator<Item = Receipt>) {
        let refused = receipts.into_iter().filter_map(|it| self.refused(it));
        let refused = refused.map(sqlite::Step::Report).collect();
        self.pass(0, Time(0), refused, 0);
    }

    /// Returns the report that something will never take effect. A change needs none: whoever waits for it learns it
    /// with the end of the server's epoch.
    fn refused(&self, receipt: Receipt) -> Option<Report> {
        match receipt {
            Receipt::Entry(entry, ticket) => Some(Report::Applied(Applied {
                entry,
                outcome: Err(Code::CutOff),
                is_repeat: false,
                is_withheld: false,
                ticket,
            })),
            Receipt::Change(_) => None,
            Receipt::Stored(number) => {
                self.answers.answer(number, Err(StorageError::CutOff));
                None
            }
        }
    }

    /// If the server is cut off from the log, says so, and gives up its epoch.
    fn check_connection(&mut self) {
        if self.is_cut_off || !self.node.publisher().is_cut_off(now()) {
            return;
        }
        self.is_cut_off = true;
        warn!("cut off from the log: refusing everything that changes something");
        self.count(|progress| progress.cut_offs += 1);
        self.ready.set(false);
        let refused = self.node.give_up(random());
        self.ready.set_lease(None);
        self.refuse(refused);
        let cut_off = report(SharedReport::CutOff);
        self.pass(0, Time(0), vec![cut_off], 0);
    }
}

fn report(report: SharedReport) -> sqlite::Step {
    sqlite::Step::Report(Report::Shared(report.into()))
}

/// Returns what every server knows of accounts and bans because of a change of stored values.
fn known(values: &ValuesChange, time: Time) -> impl Iterator<Item = SharedReport> {
    let actions = buckets::actions(values).into_iter();
    actions.map(move |action| {
        let server = SharedReport::NOBODY.into();
        SharedReport::Change(Change { server, action }, None, time)
    })
}

/// Returns a random number. If the system has none, a number that no other process is likely to have.
pub(super) fn random() -> u64 {
    let now = || {
        u64::try_from(now().as_nanos()).unwrap_or_default() ^ u64::from(std::process::id()) << 32
    };
    getrandom::u64().unwrap_or_else(|_| now())
}
