//! What the rest of the program does with a connection. Nothing here waits for the socket.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_io::Timer;
use event_listener::Event;
use futures_lite::future;

use super::codec::{self, Info, Message};
use super::error::Error;
use super::headers::Headers;

/// When this number of bytes waits for the socket, nothing more can be sent.
pub const UNSENT_BYTES_MAX: usize = 4 << 20;

/// When a subscription has this number of bytes that were not taken, further messages are dropped.
pub const UNREAD_BYTES_MAX: usize = 16 << 20;

/// What a message in memory costs in bytes, apart from its payload.
const MESSAGE_BYTES: usize = 256;

/// Sends and receives on a connection. All clones use the same connection.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

/// What handles, subscriptions and the connection share.
#[derive(Debug)]
pub(super) struct Shared {
    info: Info,
    /// The beginning of the subjects at which this client receives answers. It is random.
    inbox: String,
    state: Mutex<State>,
    /// Is notified when there is something to send.
    unsent: Event,
}

#[derive(Debug, Default)]
struct State {
    unsent: Vec<u8>,
    is_closed: bool,
    /// The number of subscriptions and inboxes so far.
    last_number: u64,
    queues: HashMap<u64, Arc<Queue>>,
}

/// The messages of a subscription that were not taken.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<Unread>,
    changed: Event,
}

#[derive(Debug, Default)]
struct Unread {
    messages: VecDeque<Message>,
    bytes: usize,
    is_closed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(info: Info, inbox: String) -> Arc<Self> {
        Arc::new(Self {
            info,
            inbox,
            state: Mutex::default(),
            unsent: Event::new(),
        })
    }

    /// Sends a few bytes even if handles can send nothing more. Does nothing if the server reads nothing, but demands
    /// answers all the time.
    pub(super) fn send(&self, bytes: &[u8]) {
        let mut state = lock(&self.state);
        if state.unsent.len() < 2 * (UNSENT_BYTES_MAX + codec::MESSAGE_BYTES_MAX) {
            state.unsent.extend_from_slice(bytes);
        }
        drop(state);
        self.unsent.notify(usize::MAX);
    }

    /// Waits until there is something to send, and puts it into `bytes`, which must be empty.
    pub(super) async fn take_unsent(&self, bytes: &mut Vec<u8>) {
        loop {
            let listener = self.unsent.listen();
            mem::swap(&mut lock(&self.state).unsent, bytes);
            if !bytes.is_empty() {
                return;
            }
            listener.await;
        }
    }

    /// Passes a message to its subscription. If that has too many messages already, the message is dropped.
    pub(super) fn deliver(&self, message: Message) {
        let queue = lock(&self.state).queues.get(&message.subscription).cloned();
        if let Some(queue) = queue {
            let mut unread = lock(&queue.state);
            if unread.bytes < UNREAD_BYTES_MAX {
                unread.bytes += message.payload.len() + MESSAGE_BYTES;
                unread.messages.push_back(message);
            }
            drop(unread);
            queue.changed.notify(usize::MAX);
        }
    }

    /// Ends all subscriptions and requests.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.is_closed = true;
        state.unsent = Vec::new();
        for queue in mem::take(&mut state.queues).into_values() {
            lock(&queue.state).is_closed = true;
            queue.changed.notify(usize::MAX);
        }
    }

    /// Lets `encode` append something to what waits for the socket.
    fn append<T>(&self, encode: impl FnOnce(&mut State) -> Result<T, Error>) -> Result<T, Error> {
        let mut state = lock(&self.state);
        if state.is_closed {
            return Err(Error::Closed);
        }
        if state.unsent.len() >= UNSENT_BYTES_MAX {
            return Err(Error::Busy);
        }
        let appended = encode(&mut state)?;
        drop(state);
        self.unsent.notify(usize::MAX);
        Ok(appended)
    }
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Returns what the server has said about itself.
    pub fn info(&self) -> &Info {
        &self.0.info
    }

    /// Returns whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        lock(&self.0.state).is_closed
    }

    /// Sends a message, as soon as the socket takes it. `reply` is the subject for answers. Whether the message arrives
    /// is unknown.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::TooLarge`], [`Error::Busy`] if [`UNSENT_BYTES_MAX`] bytes wait for the socket, and
    /// [`Error::Closed`].
    pub fn publish(
        &self,
        subject: &str,
        reply: Option<&str>,
        headers: &Headers,
        payload: &[u8],
    ) -> Result<(), Error> {
        let most = self.0.info.max_payload;
        let bytes = headers.encoded_len() + payload.len();
        if bytes > most {
            return Err(Error::TooLarge(bytes, most));
        }
        self.0.append(|state| {
            codec::encode_publish(&mut state.unsent, subject, reply, headers, payload)
        })
    }

    /// Subscribes to a subject, which may have wildcards. If the subscription has [`UNREAD_BYTES_MAX`] bytes that were
    /// not taken, further messages are dropped without notice. A caller that must not miss a message has to number them.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Busy`] and [`Error::Closed`].
    pub fn subscribe(&self, subject: &str) -> Result<Subscription, Error> {
        self.0.append(|state| {
            let number = state.last_number + 1;
            codec::encode_subscribe(&mut state.unsent, subject, number)?;
            state.last_number = number;
            let queue = Arc::<Queue>::default();
            state.queues.insert(number, queue.clone());
            let shared = self.0.clone();
            Ok(Subscription {
                shared,
                number,
                queue,
            })
        })
    }

    /// Returns a new subject for answers. Nobody else uses it.
    pub fn new_inbox(&self) -> String {
        let mut state = lock(&self.0.state);
        state.last_number += 1;
        format!("{}.{}", self.0.inbox, state.last_number)
    }

    /// Sends a request to everybody who answers requests with this subject, and returns the answers.
    ///
    /// # Errors
    /// Those of [`Self::publish`].
    pub fn request_all(
        &self,
        subject: &str,
        headers: &Headers,
        payload: &[u8],
    ) -> Result<Subscription, Error> {
        let inbox = self.new_inbox();
        let answers = self.subscribe(&inbox)?;
        self.publish(subject, Some(&inbox), headers, payload)?;
        Ok(answers)
    }

    /// Sends a request, and returns the first answer.
    ///
    /// # Errors
    /// Those of [`Self::publish`]; [`Error::NoResponders`], and [`Error::TimedOut`] after the time `within`.
    pub async fn request(
        &self,
        subject: &str,
        headers: &Headers,
        payload: &[u8],
        within: Duration,
    ) -> Result<Message, Error> {
        let answers = self.request_all(subject, headers, payload)?;
        answers.next_within(within).await?.unless_unanswered()
    }
}

/// A subscription. It ends when it is dropped.
#[derive(Debug)]
pub struct Subscription {
    shared: Arc<Shared>,
    number: u64,
    queue: Arc<Queue>,
}

impl Subscription {
    /// Takes the next message. Returns `None` when all messages have been taken, and the connection has ended. The
    /// future may be dropped at any time; no message is lost.
    pub async fn next(&self) -> Option<Message> {
        loop {
            let listener = self.queue.changed.listen();
            {
                let mut unread = lock(&self.queue.state);
                if let Some(message) = unread.messages.pop_front() {
                    unread.bytes -= message.payload.len() + MESSAGE_BYTES;
                    return Some(message);
                }
                if unread.is_closed {
                    return None;
                }
            }
            listener.await;
        }
    }

    /// Takes the next message, and waits for it no longer than the time `within`.
    ///
    /// # Errors
    /// [`Error::TimedOut`] and [`Error::Closed`].
    pub async fn next_within(&self, within: Duration) -> Result<Message, Error> {
        let late = async {
            Timer::after(within).await;
            Err(Error::TimedOut)
        };
        let next = async { self.next().await.ok_or(Error::Closed) };
        future::or(next, late).await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        if state.queues.remove(&self.number).is_some() {
            codec::encode_unsubscribe(&mut state.unsent, self.number);
            drop(state);
            self.shared.unsent.notify(usize::MAX);
        }
    }
}
