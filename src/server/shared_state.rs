//! The state that all connections share, under one lock, and the tasks that run timers and wake readers.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tracing::info;

use super::Server;
use super::changes::Released;
use super::clock::Clock;
use super::metrics::Metrics;
use crate::accounts::Accounts;
use crate::accounts::guesses::Guesses;
use crate::chat::Chat;
use crate::config::Config;
use crate::log::{Location, Log};
use crate::model::{
    Applied, Budget, Entry, EventKind, Now, Outcome, PeerId, Removed, Report, Scope, SharedReport,
    Ticket,
};
use crate::protocol::EventId;
use crate::session::batch::ROUND_BYTES;

/// The chat, and the connections that wait for it.
///
/// There is one lock, because nearly every operation uses a room, its members and their nicks together, takes less
/// than a microsecond, and runs on the same thread.
pub(super) struct SharedState {
    pub chat: Chat,
    /// The wake-up state of each connection, by the connection's slot.
    wake_slots: Vec<WakeSlot>,
    /// The time at which each connection wants to be woken.
    deadlines: BTreeSet<(Duration, PeerId)>,
    /// The deadline that the timer task waits for, and the waker that wakes the task for an earlier deadline.
    next_deadline: Option<Duration>,
    timer_task: Option<Waker>,
    /// The waker of the task that wakes readers; `None` while that task is already scheduled.
    fan_out_task: Option<Waker>,
    /// Whether another change follows soon, because this connection, or another that waits for its turn, has more
    /// input.
    pub is_to_be_continued: bool,
    /// The time since which new events have waited for the following change.
    gathering_since: Option<Instant>,
    pub log: Arc<dyn Log>,
    /// The events that the log has not stored or refused yet, or whose outcome has not been published yet.
    pub proposed: Arc<Budget>,
    pub log_counts: LogCounts,
    pub accounts: Arc<Accounts>,
    pub metrics: Arc<Metrics>,
    /// Counts failed password attempts.
    pub guesses: Guesses,
    clock: Clock,
    /// Whether the server is stopping. If so, every connection ends when its input has been answered.
    pub is_stopping: bool,
}

/// How many entries were passed to the log, and how many the log has stored or rejected. Where several servers share the
/// log, the outcomes include those of the other servers' entries.
#[derive(Clone, Copy, Default)]
pub(super) struct LogCounts {
    pub appended: u64,
    pub kept: u64,
    pub not_kept: u64,
}

impl LogCounts {
    fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Ok(_) => self.kept += 1,
            Err(_) => self.not_kept += 1,
        }
    }
}

/// The source of a connection.
#[derive(Clone, Copy)]
pub(super) enum ConnectionSource {
    Socket(IpAddr),
    /// One HTTP request.
    Request {
        address: IpAddr,
        /// Whether a proxy has reported that it forwards the request.
        is_passed_on: bool,
    },
}

impl ConnectionSource {
    pub fn address(self) -> IpAddr {
        let (Self::Socket(address) | Self::Request { address, .. }) = self;
        address
    }
}

/// The wake-up state of a connection's task.
#[derive(Default)]
struct WakeSlot {
    waker: Option<Waker>,
    /// Whether there may be news that the connection has not looked at.
    has_news: bool,
    /// Whether the session has more to do than to send news: a command, a deadline, or the end of the server.
    is_called: bool,
}

impl SharedState {
    pub fn new(
        config: Arc<Config>,
        log: Arc<dyn Log>,
        accounts: Arc<Accounts>,
        clock: Clock,
    ) -> Self {
        Self {
            chat: Chat::new(config),
            wake_slots: Vec::new(),
            deadlines: BTreeSet::new(),
            next_deadline: None,
            timer_task: None,
            fan_out_task: None,
            is_to_be_continued: false,
            gathering_since: None,
            log,
            proposed: Arc::new(Budget::new(PROPOSED_MAX)),
            log_counts: LogCounts::default(),
            accounts,
            metrics: Arc::default(),
            guesses: Guesses::default(),
            clock,
            is_stopping: false,
        }
    }

    /// Registers a connection.
    pub fn register(&mut self, from: ConnectionSource) -> PeerId {
        let peer = match from {
            ConnectionSource::Socket(address) => self.chat.connect(address),
            ConnectionSource::Request {
                address,
                is_passed_on,
            } => self.chat.connect_request(address, is_passed_on),
        };
        if self.wake_slots.len() <= peer.slot() {
            self.wake_slots
                .resize_with(peer.slot() + 1, WakeSlot::default);
        }
        if let Some(slot) = self.wake_slots.get_mut(peer.slot()) {
            *slot = WakeSlot::default();
        }
        peer
    }

    /// Unregisters a connection whose session has ended.
    pub fn unregister(&mut self, peer: PeerId, deadline: Option<Duration>) {
        self.set_deadline(peer, deadline, None);
        self.chat.disconnect(peer);
        if let Some(slot) = self.wake_slots.get_mut(peer.slot()) {
            *slot = WakeSlot::default();
        }
    }

    /// Passes an entry to the log. The entry is applied when the log has stored it; a log in memory stores it at
    /// once.
    pub fn append(&mut self, entry: Arc<Entry>, ticket: Option<Ticket>, now: Now) {
        if let (Scope::Room(room), EventKind::DeleteRoom(_)) = (&entry.scope, &entry.kind)
            && !self.chat.is_shared()
        {
            // A log on disk deletes the access list together with the room. For a log in memory, it is deleted here.
            self.accounts.forget_room(room);
        }
        self.log_counts.appended += 1;
        let events = entry.events();
        self.propose_changes();
        match self.log.append(entry, ticket, now.time) {
            Some(applied) => {
                self.log_counts.count(&applied.outcome);
                self.chat.apply(applied);
            }
            None if self.is_own(ticket) => self.proposed.change(0, events),
            None => {}
        }
    }

    /// Returns whether an entry counts as proposed by this server. Where several servers share the log, only one that a
    /// request waits for does.
    fn is_own(&self, ticket: Option<Ticket>) -> bool {
        ticket.is_some() || !self.chat.is_shared()
    }

    /// Publishes an entry that the log has stored, or the reason why it was refused.
    fn apply(&mut self, applied: Applied) {
        if self.is_own(applied.ticket) {
            self.proposed.change(applied.entry.events(), 0);
        }
        self.log_counts.count(&applied.outcome);
        self.chat.apply(applied);
    }

    /// Passes the changes that were made under this lock to the log, if several servers share it.
    fn propose_changes(&mut self) {
        if self.chat.is_shared() && !self.chat.is_cut_off() {
            for (change, by) in self.chat.take_proposed() {
                self.log.propose(change, by);
            }
        }
    }

    /// Does what the log reports.
    fn on_report(&mut self, report: Report, uptime: Duration) {
        let shared = match report {
            Report::Applied(applied) => return self.apply(applied),
            Report::Shared(shared) => *shared,
        };
        match shared {
            SharedReport::Change(change, by, time) => {
                self.chat.decide(&change, by, Now { time, uptime });
            }
            SharedReport::Acls(acls, time) => self.chat.set_acls(&acls, Now { time, uptime }),
            SharedReport::End(server, time) => {
                if self.chat.end_server(&server, Now { time, uptime }) {
                    self.log.accept_again();
                }
            }
            SharedReport::ChangeAgain(change, time) => {
                self.chat.decide_again(&change, Now { time, uptime });
            }
            SharedReport::InboxCleared(files) => self.chat.inbox_cleared(&files),
            SharedReport::Ready(time) => {
                self.chat.is_back(Now { time, uptime });
                self.log.set_caught_up(true);
            }
            SharedReport::CutOff => {
                self.log.set_caught_up(false);
                self.chat.cut_off(self.clock.now().time);
            }
            SharedReport::Checkpoint(checkpoint) => {
                self.log.remember(checkpoint, self.chat.checkpoint());
            }
        }
    }

    /// Removes a live file whose upload had not ended when an earlier server stopped.
    pub fn remove_unfinished(&mut self, file: EventId, at: Location, owner: &str, now: Now) {
        let removed = Removed::File {
            owner: owner.into(),
            contents: None,
        };
        let kind = EventKind::Remove(file, removed.into());
        let scope = match at {
            Location::Room(room) => Scope::Room(room.into()),
            Location::Inbox { message, .. } => Scope::Inbox(message.into()),
        };
        self.append(Entry::new(scope, kind, owner, "").into(), None, now);
    }

    /// Wakes the tasks that have something to read or to do. [`super::changes::Changes`] calls this at the end of
    /// each change. Returns the work that remains to be done without the lock.
    pub fn flush_side_effects(&mut self) -> Released {
        self.propose_changes();
        if self.chat.is_cut_off() && !self.chat.take_proposed().is_empty() {
            self.chat.fail_undecided(self.clock.now().time);
        }
        let is_to_be_continued = std::mem::take(&mut self.is_to_be_continued);
        if self.chat.has_news()
            && !(is_to_be_continued && self.may_gather())
            && let Some(fan_out_task) = self.fan_out_task.take()
        {
            fan_out_task.wake();
        }
        for act in self.chat.take_audit_log() {
            info!("{act}");
        }
        for (room, owner) in self.chat.take_new_owners() {
            self.accounts.store_owner(room, owner);
        }
        self.wake_timers();
        Released {
            digests: self.chat.take_released(),
            live: self.chat.take_removed_live(),
            has_acl_changes: self.chat.take_acl_changes(),
            has_to_notify: self.chat.push.has_messages(),
            has_deleted_rooms: self.chat.take_deleted(),
        }
    }

    /// Returns whether the readers of new events may be woken after a later change. What clients send at once may be
    /// handled in several turns, and a delivery after each turn would cost every reader a write. With 100 clients
    /// that all talk, that would be twice as many writes.
    fn may_gather(&mut self) -> bool {
        let now = self.clock.instant();
        let since = *self.gathering_since.get_or_insert(now);
        !self.is_full() && now.saturating_duration_since(since) < GATHER
    }

    /// Wakes every connection that has something to read. After this, the next change schedules [`fan_out`] again.
    fn wake_readers(&mut self, fan_out_task: &Waker) {
        self.fan_out_task = Some(fan_out_task.clone());
        self.gathering_since = None;
        let Self {
            chat, wake_slots, ..
        } = self;
        for peer in chat.take_commanded() {
            if let Some(slot) = wake_slots.get_mut(peer.slot()) {
                slot.summon();
            }
        }
        chat.take_news(|peer| {
            if let Some(slot) = wake_slots.get_mut(peer.slot()) {
                slot.wake();
            }
        });
    }

    /// Returns whether so many undelivered events have gathered that they must be delivered before more input is
    /// read. Otherwise readers would fall behind the tail through no fault of their own.
    pub fn is_full(&self) -> bool {
        self.chat.undelivered_bytes() >= ROUND_BYTES
    }

    /// Clears the wake-up flag of `peer`, which is about to look at its news.
    pub fn clear_wakeup(&mut self, peer: PeerId) {
        if let Some(slot) = self.wake_slots.get_mut(peer.slot()) {
            slot.has_news = false;
        }
    }

    /// Returns whether the session of `peer` has more to do than to send news.
    pub fn is_called(&self, peer: PeerId) -> bool {
        self.wake_slots
            .get(peer.slot())
            .is_none_or(|slot| slot.is_called)
    }

    /// Records that the session of `peer` is now doing what it was called for.
    pub fn clear_call(&mut self, peer: PeerId) {
        if let Some(slot) = self.wake_slots.get_mut(peer.slot()) {
            slot.is_called = false;
        }
    }

    /// Becomes ready if there may be news for `peer`. Otherwise `waker` is woken when there is.
    pub fn poll_news(&mut self, peer: PeerId, waker: &Waker) -> Poll<()> {
        let Some(slot) = self.wake_slots.get_mut(peer.slot()) else {
            return Poll::Ready(());
        };
        if slot.has_news {
            return Poll::Ready(());
        }
        slot.set_waker(waker);
        Poll::Pending
    }

    /// Becomes ready if `peer` must end. Otherwise `waker` is woken when it must. Tasks that cannot handle news use
    /// this.
    pub fn poll_end(&mut self, peer: PeerId, waker: &Waker) -> Poll<()> {
        if self.chat.is_ended(peer) {
            return Poll::Ready(());
        }
        if let Some(slot) = self.wake_slots.get_mut(peer.slot()) {
            slot.set_waker(waker);
        }
        Poll::Pending
    }

    /// Moves the deadline of `peer` from `from` to `to`.
    pub fn set_deadline(&mut self, peer: PeerId, from: Option<Duration>, to: Option<Duration>) {
        if from == to {
            return;
        }
        if let Some(from) = from {
            self.deadlines.remove(&(from, peer));
        }
        if let Some(to) = to {
            self.deadlines.insert((to, peer));
            self.wake_timers();
        }
    }

    /// Wakes the task that runs the timers if one is due before the time that the task waits for.
    fn wake_timers(&self) {
        let next = self.first_deadline();
        if next.is_some_and(|next| self.next_deadline.is_none_or(|known| next < known))
            && let Some(timer_task) = &self.timer_task
        {
            timer_task.wake_by_ref();
        }
    }

    /// Returns whether `peer` must end at once, because the server stops or an operator closes the connection.
    pub fn is_dismissed(&self, peer: PeerId) -> bool {
        self.is_stopping || self.chat.is_ended(peer)
    }

    /// Starts to stop the server: every connection ends.
    pub fn stop(&mut self) {
        self.is_stopping = true;
        self.wake_slots.iter_mut().for_each(WakeSlot::summon);
    }

    fn first_deadline(&self) -> Option<Duration> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        [deadline, self.chat.next_due()].into_iter().flatten().min()
    }

    /// Runs the timers that are due and returns when to run the next.
    fn fire_timers(&mut self, now: Now) -> Option<Duration> {
        self.chat.tick(now);
        while let Some(&(at, peer)) = self.deadlines.first()
            && at <= now.uptime
        {
            self.deadlines.pop_first();
            if let Some(slot) = self.wake_slots.get_mut(peer.slot()) {
                slot.summon();
            }
        }
        self.next_deadline = self.first_deadline();
        self.next_deadline
    }
}

impl WakeSlot {
    /// Stores the waker of the connection's task.
    fn set_waker(&mut self, waker: &Waker) {
        // The waker rarely changes, and cloning it takes as long as waking a task.
        let known = self.waker.as_ref();
        if !known.is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    /// Wakes the task for more than news, even if it has not looked at earlier news yet.
    fn summon(&mut self) {
        self.has_news = true;
        self.is_called = true;
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    fn wake(&mut self) {
        if !std::mem::replace(&mut self.has_news, true)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }
}

/// The maximum number of events that wait for the log: about one full transaction. When it is exceeded, a connection
/// may propose something only if it has received all its replies. So a client that sends one message at a time waits
/// for about two transactions, however much others send. With twice as many, that client would wait twice as long,
/// and the others would send hardly more.
const PROPOSED_MAX: usize = 1024;

/// How long new events may wait for more events from a client that sends much.
const GATHER: Duration = Duration::from_millis(2);

/// The time between two reads of the local time zone, whose offset changes twice a year.
const ZONE_EVERY: Duration = Duration::from_secs(600);

/// Runs all timers, and never returns. The whole server has only this timer, so that a connection needs none.
pub(super) async fn run_timers(server: Arc<Server>) {
    let mut alarm = server.clock.alarm();
    let mut zone_at = Duration::ZERO;
    poll_fn(|cx| {
        loop {
            let now = server.clock.now();
            let mut state = server.changes();
            if now.uptime >= zone_at {
                zone_at = now.uptime + ZONE_EVERY;
                state.chat.utc_offset_s = server.clock.utc_offset_s();
            }
            state.timer_task = Some(cx.waker().clone());
            let next = state.fire_timers(now).unwrap_or(zone_at).min(zone_at);
            drop(state);
            alarm.set(next);
            if Pin::new(&mut alarm).poll(cx).is_pending() {
                return Poll::<()>::Pending;
            }
        }
    })
    .await;
}

/// The reports of the log that [`fan_out`] has not handled yet. The log's thread stores them here, so that it need
/// not wait for the lock of the shared state: on a busy server, another thread seldom gets that lock.
#[derive(Default)]
pub(super) struct AppliedQueue {
    batch: Vec<Report>,
    fan_out_task: Option<Waker>,
}

impl AppliedQueue {
    pub fn add(&mut self, mut batch: Vec<Report>) {
        if self.batch.is_empty() {
            self.batch = batch;
        } else {
            self.batch.append(&mut batch);
        }
        if let Some(fan_out_task) = self.fan_out_task.take() {
            fan_out_task.wake();
        }
    }
}

/// Applies the decisions of the log and wakes the readers of new events, and never returns. It wakes the readers once
/// for everything that has arrived. Because it is a task, it runs after the connections that were readable when it
/// was woken. So every client is read before any is written to, and each write contains the events of all of them.
pub(super) async fn fan_out(server: Arc<Server>) {
    poll_fn(|cx| {
        let batch = {
            let mut kept = server.applied();
            kept.fan_out_task = Some(cx.waker().clone());
            std::mem::take(&mut kept.batch)
        };
        if batch.is_empty() {
            server.state().wake_readers(cx.waker());
        } else {
            let uptime = server.clock.now().uptime;
            let mut state = server.changes();
            for report in batch {
                let stored = report.stored_elsewhere();
                state.on_report(report, uptime);
                if let Some(file) = stored.filter(|file| server.live().contains_key(file)) {
                    server.exchange.is_stored(file);
                }
            }
            state.wake_readers(cx.waker());
        }
        Poll::<()>::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::accounts::buckets::MemoryBuckets;
    use crate::log::memory::MemoryLog;
    use crate::protocol::Time;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends a message of `bytes` bytes and ends the change. Returns whether the readers are woken.
    fn send(state: &mut SharedState, bytes: usize, is_to_be_continued: bool) -> bool {
        let wakes = Arc::<Wakes>::default();
        state.fan_out_task = Some(wakes.clone().into());
        let lobby = Scope::Room(state.chat.config.lobby.clone().into());
        let entry = Entry::new(lobby, EventKind::Msg, "ann", &"x".repeat(bytes));
        let (time, uptime) = (Time(0), Duration::ZERO);
        state.append(entry.into(), None, Now { time, uptime });
        state.is_to_be_continued = is_to_be_continued;
        state.flush_side_effects();
        wakes.0.load(Ordering::Relaxed) == 1
    }

    #[test]
    fn messages_sent_in_several_turns_are_delivered_together() {
        let accounts = Accounts::new(Arc::new(MemoryBuckets::default()), None);
        let log = Arc::new(MemoryLog::new(1, 1 << 20));
        let mut state = SharedState::new(Arc::default(), log, Arc::new(accounts), Clock::start());
        let deliver = |state: &mut SharedState| state.wake_readers(Waker::noop());
        assert!(send(&mut state, 10, false), "a message is sent at once");
        deliver(&mut state);
        // The time must not have passed, even on a slow machine.
        let later = Instant::now() + Duration::from_secs(3600);
        state.gathering_since = Some(later);
        assert!(!send(&mut state, 10, true), "more of it comes");
        assert!(send(&mut state, 10, false), "that was the last of it");
        deliver(&mut state);
        state.gathering_since = Some(later);
        assert!(!send(&mut state, 10, true));
        assert!(send(&mut state, ROUND_BYTES, true), "that is enough");
        deliver(&mut state);
        state.gathering_since = Instant::now().checked_sub(GATHER);
        assert!(send(&mut state, 10, true), "it has waited for long enough");
    }
}
