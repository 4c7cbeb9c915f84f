//! The log of a server that shares it with others: publishes what is to be stored, and reads what is.

use std::collections::HashMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};

use smol::channel::Sender;

use super::connected::Ready;

use crate::log::sqlite::SqliteLog;
use crate::log::{Commits, Log, Reader};
use crate::model::{
    Action, Applied, Change, Checkpoint, DeletedFile, Entry, PeerId, Scope, StorageError,
    StoredChange, Ticket,
};
use crate::protocol::{Code, Nick, Time};

/// What the server submits to the thread that publishes.
#[derive(Debug)]
pub(super) enum Submitted {
    /// An entry, with the ticket of its sender.
    Entry(Arc<Entry>, Option<Ticket>),
    /// A change, and the connection that has caused it.
    Change(Action, Option<PeerId>),
    /// A change of what is stored besides events, and its number in [`Answers`].
    Stored(StoredChange, u64),
    /// The chat knows that the server's epoch has ended, so that what is submitted from now on belongs to the next.
    AcceptAgain,
    /// The server leaves.
    Leave,
}

/// The callers that wait for changes of what is stored besides events.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    /// Whether the server has left, so that nothing is answered any more.
    is_closed: bool,
    callers: HashMap<u64, SyncSender<Result<(), StorageError>>>,
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().expect("no thread panics while it holds this")
    }

    /// Refuses everything, now and later, because the server has left.
    pub fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        for (_, caller) in waiting.callers.drain() {
            let _ = caller.send(Err(StorageError::Ended)); // it waits
        }
    }

    /// Tells a caller what has become of its change.
    pub fn answer(&self, number: u64, outcome: Result<(), StorageError>) {
        if let Some(caller) = self.lock().callers.remove(&number) {
            let _ = caller.send(outcome); // it waits
        }
    }
}

/// A direct message that is not logged, and the ticket of its sender.
pub type Unsaved = (Arc<Entry>, Option<Ticket>);

/// The log of a server that shares it with others.
pub struct ReplicaLog {
    local: Arc<SqliteLog>,
    queue: Sender<Submitted>,
    /// The direct messages that do not go through the log.
    unsaved: Sender<Unsaved>,
    answers: Arc<Answers>,
    ready: Arc<Ready>,
}

impl ReplicaLog {
    pub(super) fn new(
        local: Arc<SqliteLog>,
        queue: Sender<Submitted>,
        unsaved: Sender<Unsaved>,
        answers: Arc<Answers>,
        ready: Arc<Ready>,
    ) -> Self {
        Self {
            local,
            queue,
            unsaved,
            answers,
            ready,
        }
    }

    /// Returns the replica.
    pub(super) fn local(&self) -> &Arc<SqliteLog> {
        &self.local
    }

    /// Makes a change of what is stored besides events, on all servers. Returns when this server has made it.
    pub(super) fn change(&self, change: StoredChange) -> Result<(), StorageError> {
        let (caller, answer) = sync_channel(1);
        let number = {
            let mut waiting = self.answers.lock();
            if waiting.is_closed {
                return Err(StorageError::Ended);
            }
            waiting.last += 1;
            let number = waiting.last;
            waiting.callers.insert(number, caller);
            number
        };
        if self
            .queue
            .try_send(Submitted::Stored(change, number))
            .is_err()
        {
            self.answers.answer(number, Err(StorageError::Ended));
        }
        answer.recv().unwrap_or(Err(StorageError::Ended))
    }
}

impl Log for ReplicaLog {
    fn append(&self, entry: Arc<Entry>, ticket: Option<Ticket>, _: Time) -> Option<Applied> {
        let refused = if let Scope::Unsaved(_) = entry.scope {
            self.unsaved
                .try_send((entry, ticket))
                .err()
                .map(|e| e.into_inner())
        } else {
            let submitted = self.queue.try_send(Submitted::Entry(entry, ticket));
            submitted.err().and_then(|e| match e.into_inner() {
                Submitted::Entry(entry, ticket) => Some((entry, ticket)),
                _ => None,
            })
        };
        refused.map(|(entry, ticket)| Applied {
            entry,
            outcome: Err(Code::ShuttingDown),
            is_repeat: false,
            is_withheld: false,
            ticket,
        })
    }

    fn propose(&self, change: Change, by: Option<PeerId>) {
        let action = match change.action {
            // The servers learn these from the log when they are stored. Only the sender still waits.
            Action::SetAcls(_)
            | Action::AddAccount { .. }
            | Action::RemoveAccount { .. }
            | Action::AddBan(_)
            | Action::RemoveBan(_) => Action::SetAcls(Vec::new()),
            action => action,
        };
        let _ = self.queue.try_send(Submitted::Change(action, by)); // the server has left
    }

    fn accept_again(&self) {
        let _ = self.queue.try_send(Submitted::AcceptAgain);
    }

    fn set_caught_up(&self, is_caught_up: bool) {
        self.ready.set(is_caught_up);
    }

    fn remember(&self, checkpoint: Checkpoint, state: String) {
        self.local.remember(checkpoint, state);
    }

    fn commits(&self) -> Arc<Commits> {
        self.local.commits()
    }

    fn clear_inbox(&self, nick: &Nick) -> Result<Vec<DeletedFile>, StorageError> {
        self.change(StoredChange::ClearInbox(nick.clone()))?;
        Ok(Vec::new()) // every server learns from the log which files are deleted
    }

    fn set_reader(&self, reader: &Reader, owner: &str, seen: u64) -> Result<(), StorageError> {
        self.change(StoredChange::SetReader {
            reader: reader.into(),
            owner: owner.into(),
            seen,
        })
    }

    fn forget_reader(&self, reader: &Reader, owner: &str) -> Result<(), StorageError> {
        self.change(StoredChange::ForgetReader {
            reader: reader.into(),
            owner: owner.into(),
        })
    }

    crate::log::read_from! { local }
}
