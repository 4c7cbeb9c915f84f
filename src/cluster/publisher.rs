//! What a server publishes, and what becomes of it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{Content, Epoch, Fence, Members, Message, Read};
use crate::model::ServerName;

/// The maximum number of items in a batch, and of ids that its items take. A single item takes no more: a text has at
/// most 1000 lines, and each becomes an event.
pub const ITEMS_MAX: usize = 1000;

/// The maximum size of the items in a batch in bytes. A batch with a single item may be larger.
pub const BATCH_BYTES_MAX: usize = 512 << 10;

/// The time after which a message that was not read in the log is published again.
pub const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The time between two beats. A beat is a batch that shows that a server is alive; it may be empty.
pub const BEAT_EVERY: Duration = Duration::from_secs(2);

/// The number of beats of this server, without a message of another server before or between them, after which the
/// other server's epoch is ended. Only beats that are in the log count, so nobody is silent while the log stands still.
pub const SILENT_BEATS: u32 = 4;

/// How long a server may rely on its epoch after it has sent a message that counts. The others cannot end the epoch
/// before that time has passed: when they have read the message, they wait for four beats, which takes six seconds.
pub const LEASE: Duration = Duration::from_secs(5);

/// The time after which a server that reads none of its own messages in the log is cut off. An election of a new leader
/// of the log nearly always takes less.
pub const CUT_OFF_AFTER: Duration = Duration::from_secs(10);

/// The size of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The number of bytes that the item has in a message.
    pub bytes: usize,
    /// The number of ids that the item takes, at least 1.
    pub ids: usize,
}

/// What a message of the log means for the items that this server has published. `R` is a receipt that was passed to
/// [`Publisher::propose`].
#[derive(Debug, PartialEq, Eq)]
pub enum Published<R> {
    /// Nothing.
    Nothing,
    /// The items of the message are this server's. The receipts are in the order of the items.
    Own(Vec<R>),
    /// The epoch of this server has ended. The items of these receipts will never take effect.
    Lost(Vec<R>),
    /// Another server uses the name of this server, so this server must end.
    NameTaken,
}

/// The part of a server that publishes. `T` is an item, and `R` is a receipt, which leads to the request that waits for
/// the item's outcome.
#[derive(Debug)]
pub struct Publisher<T, R> {
    server: ServerName,
    state: State,
    /// Whether this process has begun an epoch.
    has_lived: bool,
    /// Whether the server says goodbye when everything is published.
    is_leaving: bool,
    waiting: VecDeque<Waiting<T, R>>,
    sent: Option<Sent<T, R>>,
    /// The batch that had been sent when the server gave up its epoch. It may still take effect.
    given_up: Option<Sent<T, R>>,
    /// When the server last read a message of its own that counts, or when it started.
    heard_at: Duration,
    /// When the last beat was sent.
    beat_at: Option<Duration>,
    /// When the newest message of this server that counts was sent for the first time.
    lease_from: Option<Duration>,
    /// The other servers whose epochs have not ended.
    others: BTreeMap<ServerName, Other>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The server greets until it reads its greeting. The fields are those of the greeting.
    Greeting { former: Epoch, nonce: u64 },
    /// The epoch, and the number of batches that count in it.
    Live(Epoch, u64),
    /// The server has read its goodbye, or has been fenced while it stopped.
    Left,
}

#[derive(Debug)]
struct Waiting<T, R> {
    item: T,
    size: Size,
    receipt: R,
}

/// The message that has been sent, but has not been read in the log yet.
#[derive(Debug)]
struct Sent<T, R> {
    message: Message<T>,
    receipts: Vec<R>,
    is_beat: bool,
    first_at: Duration,
    last_at: Duration,
}

/// Another server.
#[derive(Debug)]
struct Other {
    /// What ends the server's epoch if it stays silent.
    fence: Fence,
    /// When this server last read a message of the other server.
    heard_at: Duration,
    /// The number of own beats since then. Each was sent after `heard_at`, and has been read.
    beats: u32,
}

impl<T, R> Publisher<T, R> {
    /// Returns a publisher that begins with a greeting. `former` is the server's newest epoch, as far as it is known; 0
    /// for none. `nonce` is a random number.
    pub fn new(server: ServerName, former: Epoch, nonce: u64, now: Duration) -> Self {
        Self {
            server,
            state: State::Greeting { former, nonce },
            has_lived: false,
            is_leaving: false,
            waiting: VecDeque::new(),
            sent: None,
            given_up: None,
            heard_at: now,
            beat_at: None,
            lease_from: None,
            others: BTreeMap::new(),
        }
    }

    /// Adds an item to the items that wait for the next batch.
    ///
    /// # Errors
    /// When the server is cut off from the log or stops. The item will never take effect.
    pub fn propose(&mut self, item: T, size: Size, receipt: R, now: Duration) -> Result<(), R> {
        if self.is_leaving || self.is_cut_off(now) {
            return Err(receipt);
        }
        self.waiting.push_back(Waiting {
            item,
            size,
            receipt,
        });
        Ok(())
    }

    /// Returns whether the server is cut off from the log. Then it refuses all requests that change something.
    pub fn is_cut_off(&self, now: Duration) -> bool {
        now >= self.heard_at + CUT_OFF_AFTER
    }

    /// Takes the items that were not sent yet. They never will be, so a server that is cut off can refuse them.
    pub fn take_waiting(&mut self) -> Vec<R> {
        let waiting = self.waiting.drain(..);
        waiting.map(|waiting| waiting.receipt).collect()
    }

    /// Gives up the server's epoch, because the server is cut off from the log: it will greet again. Returns the receipts
    /// of the items that were not sent yet, which will never take effect. What was sent may still take effect, so
    /// [`Self::on_read`] returns its receipts when that is known.
    pub fn give_up(&mut self, nonce: u64) -> Vec<R> {
        if let State::Live(former, _) = self.state {
            self.state = State::Greeting { former, nonce };
            self.lease_from = None;
            self.given_up = self.sent.take();
        }
        self.take_waiting()
    }

    /// Takes the receipts of everything that was proposed and is not known to have taken effect.
    pub fn take_all(&mut self) -> Vec<R> {
        let mut all = self.take_given_up();
        all.extend(self.take_sent());
        all.extend(self.take_waiting());
        all
    }

    fn take_given_up(&mut self) -> Vec<R> {
        let given_up = self.given_up.take();
        given_up.map_or_else(Vec::new, |sent| sent.receipts)
    }

    /// Returns whether the server has an epoch.
    pub fn is_live(&self) -> bool {
        matches!(self.state, State::Live(..))
    }

    /// Returns when the message that was sent and not read yet was sent for the first time.
    pub fn sent_at(&self) -> Option<Duration> {
        self.sent.as_ref().map(|sent| sent.first_at)
    }

    /// Returns the items of the message that was sent and not read yet.
    pub fn sent_items(&self) -> &[T] {
        match self.sent.as_ref().map(|sent| &sent.message.content) {
            Some(Content::Batch { items, .. }) => items,
            _ => &[],
        }
    }

    /// Returns until when it is certain that no other server has ended this server's epoch. A server that does something
    /// in the name of a user without the log may do so only until then.
    pub fn lease_until(&self) -> Option<Duration> {
        let from = self.lease_from.filter(|_| self.is_live())?;
        Some(from + LEASE)
    }

    /// Makes the server say goodbye as soon as everything is published. From now on, [`Self::propose`] fails.
    pub fn leave(&mut self) {
        self.is_leaving = true;
    }

    /// Returns whether the server has left, so that it publishes nothing more.
    pub fn has_left(&self) -> bool {
        self.state == State::Left
    }

    /// Returns the message that must be sent now, if there is one. It may be a message that was sent before. A server
    /// must not call this before it has read the log up to its end. Otherwise it greets, and publishes nothing more until
    /// it has read its own greeting. Meanwhile, the others take it for dead and end its epoch.
    pub fn publish(&mut self, now: Duration) -> Option<&Message<T>> {
        if let Some(sent) = &self.sent {
            if now < sent.last_at + AGAIN_AFTER {
                return None;
            }
        } else {
            let is_beat = self.is_beat_due(now);
            let (content, receipts) = self.next_content(is_beat)?;
            let is_beat = is_beat && matches!(content, Content::Batch { .. });
            self.beat_at = if is_beat { Some(now) } else { self.beat_at };
            let by = self.server.clone();
            self.sent = Some(Sent {
                message: Message { by, content },
                receipts,
                is_beat,
                first_at: now,
                last_at: now,
            });
        }
        let sent = self.sent.as_mut()?;
        sent.last_at = now;
        Some(&sent.message)
    }

    /// Returns when [`Self::publish`] must be called, unless something is proposed or read before; `None` if that is not
    /// necessary any more.
    pub fn due(&self) -> Option<Duration> {
        match (&self.sent, self.state) {
            (_, State::Left) => None,
            (Some(sent), _) => Some(sent.last_at + AGAIN_AFTER),
            (None, State::Greeting { .. }) => Some(Duration::ZERO),
            (None, State::Live(..)) => {
                let is_idle = self.waiting.is_empty() && !self.is_leaving && !self.has_fences();
                let beat_at = self.beat_at.filter(|_| is_idle);
                Some(beat_at.map_or(Duration::ZERO, |at| at + BEAT_EVERY))
            }
        }
    }

    fn next_content(&mut self, is_beat: bool) -> Option<(Content<T>, Vec<R>)> {
        let (epoch, batches) = match self.state {
            State::Greeting { former, nonce } => {
                return Some((Content::Hello { former, nonce }, Vec::new()));
            }
            State::Live(epoch, batches) => (epoch, batches),
            State::Left => return None,
        };
        if self.waiting.is_empty() && self.is_leaving {
            return Some((Content::Goodbye { epoch }, Vec::new()));
        }
        if self.waiting.is_empty() && !is_beat && !self.has_fences() {
            return None;
        }
        let (items, receipts) = self.next_items();
        let silent = self.others.values().filter(|other| other.is_silent());
        let fences = silent.map(|other| other.fence.clone());
        let content = Content::Batch {
            epoch,
            number: batches + 1,
            fences: fences.collect(),
            items,
        };
        Some((content, receipts))
    }

    fn next_items(&mut self) -> (Vec<T>, Vec<R>) {
        let (mut items, mut receipts, mut bytes, mut ids) = (Vec::new(), Vec::new(), 0, 0);
        while let Some(Waiting { size, .. }) = self.waiting.front()
            && (items.is_empty() || bytes + size.bytes <= BATCH_BYTES_MAX)
            && (items.is_empty() || ids + size.ids <= ITEMS_MAX)
            && let Some(next) = self.waiting.pop_front()
        {
            bytes += next.size.bytes;
            ids += next.size.ids;
            items.push(next.item);
            receipts.push(next.receipt);
        }
        (items, receipts)
    }

    fn is_beat_due(&self, now: Duration) -> bool {
        self.beat_at.is_none_or(|at| now >= at + BEAT_EVERY)
    }

    fn has_fences(&self) -> bool {
        self.others.values().any(Other::is_silent)
    }

    /// Takes notice of the next message of the log. `members` has read the message already, with the effect `read`.
    /// `nonce` returns a random number for another greeting.
    pub fn on_read<U>(
        &mut self,
        message: &Message<U>,
        read: &Read<'_, U>,
        members: &Members,
        nonce: impl FnOnce() -> u64,
        now: Duration,
    ) -> Published<R> {
        let ended: &[ServerName] = match read {
            Read::Items { ended, .. } => ended,
            Read::Begun { .. } | Read::Ended | Read::Ignored => &[],
        };
        for server in ended {
            self.others.remove(server);
        }
        if message.by == self.server {
            return self.on_own(message, read, members, now);
        }
        self.hear(&message.by, members, now);
        // A server that still greets has no epoch: the one that has ended is that of an earlier process.
        if let State::Live(former, _) = self.state
            && ended.contains(&self.server)
        {
            let nonce = nonce();
            self.state = if self.is_leaving {
                State::Left
            } else {
                State::Greeting { former, nonce }
            };
            self.lease_from = None;
            let mut lost = self.take_sent();
            lost.extend(self.take_waiting());
            return Published::Lost(lost);
        }
        if ended.contains(&self.server) && self.given_up.is_some() {
            return Published::Lost(self.take_given_up());
        }
        Published::Nothing
    }

    fn on_own<U>(
        &mut self,
        message: &Message<U>,
        read: &Read<'_, U>,
        members: &Members,
        now: Duration,
    ) -> Published<R> {
        match (read, &message.content, self.state) {
            (
                Read::Begun { epoch, .. },
                Content::Hello { nonce, .. },
                State::Greeting { nonce: own, .. },
            ) if own == *nonce => {
                self.state = State::Live(*epoch, 0);
                self.has_lived = true;
                self.counts(now);
                for server in members.all_live() {
                    self.hear(server, members, now);
                }
                self.others.remove(&self.server);
                match self.take_given_up() {
                    lost if lost.is_empty() => Published::Nothing,
                    lost => Published::Lost(lost),
                }
            }
            // The batch that was sent before the server gave up its epoch has taken effect.
            (
                Read::Items { .. },
                Content::Batch { epoch, number, .. },
                State::Greeting { former, .. },
            ) if former == *epoch && self.has_given_up(*number) => {
                Published::Own(self.take_given_up())
            }
            // An earlier process of this server has begun an epoch, so the greeting must name that one.
            (Read::Begun { epoch, .. }, _, State::Greeting { nonce, .. }) if !self.has_lived => {
                let former = *epoch;
                self.state = State::Greeting { former, nonce };
                self.sent = None;
                Published::Nothing
            }
            // Another process has replaced this one, perhaps while this one was suspended.
            (Read::Begun { .. }, _, State::Live(..) | State::Greeting { .. }) => {
                Published::NameTaken
            }
            (
                Read::Items { .. },
                Content::Batch { epoch, number, .. },
                State::Live(own, batches),
            ) if own == *epoch && batches + 1 == *number => {
                self.state = State::Live(own, *number);
                self.count_beat();
                Published::Own(self.counts(now))
            }
            (Read::Ended, _, State::Live(..)) => {
                self.state = State::Left;
                self.counts(now);
                Published::Nothing
            }
            // A repetition, or a message of an earlier process of this server.
            _ => Published::Nothing,
        }
    }

    fn has_given_up(&self, batch: u64) -> bool {
        self.given_up.as_ref().is_some_and(
            |sent| matches!(sent.message.content, Content::Batch { number, .. } if number == batch),
        )
    }

    /// Records that the message that was sent counts. Returns its receipts.
    fn counts(&mut self, now: Duration) -> Vec<R> {
        self.heard_at = now;
        self.lease_from = self.sent.as_ref().map(|sent| sent.first_at);
        self.take_sent()
    }

    fn take_sent(&mut self) -> Vec<R> {
        self.sent.take().map_or_else(Vec::new, |sent| sent.receipts)
    }

    fn hear(&mut self, server: &ServerName, members: &Members, now: Duration) {
        match members.fence(server) {
            Some(fence) => {
                let other = Other {
                    fence,
                    heard_at: now,
                    beats: 0,
                };
                self.others.insert(server.clone(), other);
            }
            None => {
                self.others.remove(server);
            }
        }
    }

    /// If the batch that was sent is a beat, counts it for all servers that were not heard since it was sent.
    fn count_beat(&mut self) {
        let Some(sent) = self.sent.as_ref().filter(|sent| sent.is_beat) else {
            return;
        };
        for other in self.others.values_mut() {
            other.beats += u32::from(sent.first_at >= other.heard_at);
        }
    }
}

impl Other {
    fn is_silent(&self) -> bool {
        self.beats >= SILENT_BEATS
    }
}
