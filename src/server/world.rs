//! What all connections share, under one lock, and the task that does what is due.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use async_io::Timer;
use futures_lite::FutureExt;

use tracing::info;

use super::Server;
use super::changes::Released;
use super::metrics::Metrics;
use crate::chat::Chat;
use crate::config::Config;
use crate::log::Log;
use crate::model::{Entry, EventKind, Now, PeerId, Removed, Scope, Ticket};
use crate::protocol::{EventId, RoomName};
use crate::roster::Roster;
use crate::roster::guesses::Guesses;
use crate::session::batch::ROUND_BYTES;

/// The chat, and who waits for it.
///
/// One lock, because nearly all that happens touches a room, its members and their nicks at once, takes
/// less than a microsecond, and runs on one thread.
pub(super) struct World {
    pub chat: Chat,
    /// By the place of the connection.
    seats: Vec<Seat>,
    /// When which connection wants to be woken.
    alarms: BTreeSet<(Duration, PeerId)>,
    /// What the timekeeper waits for, and how it is told of something earlier.
    next_alarm: Option<Duration>,
    timekeeper: Option<Waker>,
    /// How the task is told that hands news on, unless it knows.
    pulse: Option<Waker>,
    pub log: Arc<dyn Log>,
    pub roster: Arc<Roster>,
    pub metrics: Arc<Metrics>,
    /// Who has tried which passwords.
    pub guesses: Guesses,
    /// The server ends; so does every connection, once what it read is answered.
    pub is_stopping: bool,
}

/// Where a connection comes from.
#[derive(Clone, Copy)]
pub(super) enum Arrival {
    Socket(IpAddr),
    /// A request over HTTP asks for something.
    Request {
        address: IpAddr,
        /// A proxy says that it passes that on.
        is_passed_on: bool,
    },
}

impl Arrival {
    pub fn address(self) -> IpAddr {
        let (Self::Socket(address) | Self::Request { address, .. }) = self;
        address
    }
}

/// How a connection's task is woken.
#[derive(Default)]
struct Seat {
    waker: Option<Waker>,
    /// There may be something for it since it last looked.
    has_news: bool,
}

impl World {
    pub fn new(config: Arc<Config>, log: Arc<dyn Log>, roster: Arc<Roster>) -> Self {
        Self {
            chat: Chat::new(config),
            seats: Vec::new(),
            alarms: BTreeSet::new(),
            next_alarm: None,
            timekeeper: None,
            pulse: None,
            log,
            roster,
            metrics: Arc::default(),
            guesses: Guesses::default(),
            is_stopping: false,
        }
    }

    /// Takes a connection in.
    pub fn sit_down(&mut self, from: Arrival) -> PeerId {
        let peer = match from {
            Arrival::Socket(address) => self.chat.connect(address),
            Arrival::Request {
                address,
                is_passed_on,
            } => self.chat.connect_request(address, is_passed_on),
        };
        if self.seats.len() <= peer.slot() {
            self.seats.resize_with(peer.slot() + 1, Seat::default);
        }
        if let Some(seat) = self.seats.get_mut(peer.slot()) {
            *seat = Seat::default();
        }
        peer
    }

    /// Lets a connection go; its session has ended.
    pub fn stand_up(&mut self, peer: PeerId, alarm: Option<Duration>) {
        self.set_alarm(peer, alarm, None);
        self.chat.disconnect(peer);
        if let Some(seat) = self.seats.get_mut(peer.slot()) {
            *seat = Seat::default();
        }
    }

    /// Hands an entry to the log; it is applied once it is kept, which with a log in memory is now.
    pub fn append(&mut self, entry: Entry, ticket: Option<Ticket>, now: Now) {
        self.metrics.appended.add(1);
        if let Some(applied) = self.log.append(entry, ticket, now.time) {
            self.metrics.outcome(&applied.outcome);
            self.chat.apply(applied);
        }
    }

    /// Removes a live file whose upload was cut off by the end of an earlier server.
    pub fn remove_unfinished(&mut self, file: EventId, room: RoomName, owner: &str, now: Now) {
        let removed = Removed::File {
            owner: owner.into(),
            contents: None,
        };
        let kind = EventKind::Remove(file, removed);
        self.append(
            Entry::new(Scope::Room(room.into()), kind, owner, ""),
            None,
            now,
        );
    }

    /// Has those woken who have something to read or to do by now. Called by [`super::changes::Changes`] at the end
    /// of each change; returns what is left to do without the lock.
    pub fn settle(&mut self) -> Released {
        if self.chat.has_news()
            && let Some(pulse) = self.pulse.take()
        {
            pulse.wake();
        }
        for act in self.chat.take_acts() {
            info!("{act}");
        }
        for (room, maker) in self.chat.take_made() {
            self.roster.keep_maker(room, maker);
        }
        let next = self.first_alarm();
        if next.is_some_and(|next| self.next_alarm.is_none_or(|known| next < known))
            && let Some(timekeeper) = &self.timekeeper
        {
            timekeeper.wake_by_ref();
        }
        Released {
            digests: self.chat.take_released(),
            live: self.chat.take_removed_live(),
            has_new_rights: self.chat.take_new_rights(),
        }
    }

    /// Wakes everyone who has something to read.
    fn hand_on(&mut self) {
        let Self { chat, seats, .. } = self;
        for peer in chat.take_ordered() {
            if let Some(seat) = seats.get_mut(peer.slot()) {
                seat.summon();
            }
        }
        chat.take_news(|peer| {
            if let Some(seat) = seats.get_mut(peer.slot()) {
                seat.wake();
            }
        });
    }

    /// Whether a round is full: before more is read, its readers get it, or they
    /// would fall out of the tail through no fault of theirs.
    pub fn is_full(&self) -> bool {
        self.chat.fresh_bytes() >= ROUND_BYTES
    }

    /// Marks that `peer` looks at all there is for it now.
    pub fn looks(&mut self, peer: PeerId) {
        if let Some(seat) = self.seats.get_mut(peer.slot()) {
            seat.has_news = false;
        }
    }

    /// Whether there may be something for `peer`; if not, `waker` is woken when there is.
    pub fn poll_news(&mut self, peer: PeerId, waker: &Waker) -> Poll<()> {
        let Some(seat) = self.seats.get_mut(peer.slot()) else {
            return Poll::Ready(());
        };
        if seat.has_news {
            return Poll::Ready(());
        }
        seat.register(waker);
        Poll::Pending
    }

    /// Whether `peer` is to end; if not, `waker` is woken when it is. For one that can take no news.
    pub fn poll_end(&mut self, peer: PeerId, waker: &Waker) -> Poll<()> {
        if self.chat.is_ended(peer) {
            return Poll::Ready(());
        }
        if let Some(seat) = self.seats.get_mut(peer.slot()) {
            seat.register(waker);
        }
        Poll::Pending
    }

    /// Has `peer` woken at `to`, and no longer at `from`.
    pub fn set_alarm(&mut self, peer: PeerId, from: Option<Duration>, to: Option<Duration>) {
        if from == to {
            return;
        }
        if let Some(from) = from {
            self.alarms.remove(&(from, peer));
        }
        if let Some(to) = to {
            self.alarms.insert((to, peer));
        }
    }

    /// Whether `peer` is to end, with the server or by an operator's order, whatever it is doing.
    pub fn is_dismissed(&self, peer: PeerId) -> bool {
        self.is_stopping || self.chat.is_ended(peer)
    }

    /// Ends every connection.
    pub fn stop(&mut self) {
        self.is_stopping = true;
        self.seats.iter_mut().for_each(Seat::wake);
    }

    fn first_alarm(&self) -> Option<Duration> {
        let alarm = self.alarms.first().map(|(at, _)| *at);
        [alarm, self.chat.next_due()].into_iter().flatten().min()
    }

    /// Does what is due and says when to come again.
    fn ring(&mut self, now: Now) -> Option<Duration> {
        self.chat.tick(now);
        while let Some(&(at, peer)) = self.alarms.first()
            && at <= now.uptime
        {
            self.alarms.pop_first();
            if let Some(seat) = self.seats.get_mut(peer.slot()) {
                seat.wake();
            }
        }
        self.next_alarm = self.first_alarm();
        self.next_alarm
    }
}

impl Seat {
    /// Has `waker` woken next.
    fn register(&mut self, waker: &Waker) {
        // Cloning a waker costs as much as waking; it seldom changes.
        let known = self.waker.as_ref();
        if !known.is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    /// Wakes its task even if that knows of news that it has not looked at.
    fn summon(&mut self) {
        self.has_news = true;
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

/// How often local time is asked for anew: it changes twice a year.
const ZONE_EVERY: Duration = Duration::from_secs(600);

/// Does everything that is due, for ever: one timer for the whole server, so that a connection needs none.
pub(super) async fn keep_time(server: Arc<Server>) {
    let mut timer = Timer::never();
    let mut zone_at = Duration::ZERO;
    poll_fn(|cx| {
        loop {
            let now = server.clock.now();
            let mut world = server.changes();
            if now.uptime >= zone_at {
                zone_at = now.uptime + ZONE_EVERY;
                world.chat.utc_offset_s = jiff::Zoned::now().offset().seconds();
            }
            world.timekeeper = Some(cx.waker().clone());
            let next = world.ring(now).unwrap_or(zone_at).min(zone_at);
            drop(world);
            timer.set_at(server.clock.start + next);
            if timer.poll(cx).is_pending() {
                return Poll::<()>::Pending;
            }
        }
    })
    .await;
}

/// Wakes the readers of what was said, for ever: all of them once for all that has come by then. As a task
/// it gets its turn after those that could be read when it was woken, so every client is read before
/// anybody is written to, and each write carries what they said together.
pub(super) async fn pulse(server: Arc<Server>) {
    poll_fn(|cx| {
        let mut world = server.world();
        world.hand_on();
        world.pulse = Some(cx.waker().clone());
        Poll::<()>::Pending
    })
    .await;
}
