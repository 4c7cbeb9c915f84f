//! What servers of one chat tell one another by messages of NATS that are not logged: direct messages that are not saved,
//! the contents of files, and copies of the whole log for new servers.
//!
//! A server that wants a file asks everybody who has it, and then asks one of those for one piece after the other. A live
//! file is asked for in the same way, while it is still being uploaded: the server that receives the upload answers.

mod files;
mod live;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use futures_lite::future;
use smol::Task;
use tracing::warn;

use super::Server;
use crate::cluster::nats::codec::Message;
use crate::cluster::nats::{Error, Handle, Headers};
use crate::model::{self, Applied, EventKind, Report, Scope, ServerName, SharedReport};
use crate::protocol::{Code, EventId, Time};
use crate::replica::{COPY, Following, STATUS, UNUSED_FOR};

use files::FileCopies;
pub(super) use files::{copied_elsewhere, open};
use live::LiveCopies;
pub(super) use live::copy_live;

/// The maximum time until another server answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The time between two attempts to copy a file that nobody has, or while there is no connection.
const PAUSE: Duration = Duration::from_millis(500);

/// The maximum time for which a download waits until the file has been copied.
const COPIED_WITHIN: Duration = Duration::from_secs(20);

/// The maximum time for which the answer to a request for a live file waits until more of the file has arrived.
const MORE_WITHIN: Duration = Duration::from_secs(1);

/// The number of attempts in a row that bring nothing, after which a copy is given up for now.
const ATTEMPTS: usize = 4;

/// The answer to a direct message that was delivered, and to a file that was copied.
const TAKEN: &[u8] = b"ok";

/// What this server must copy from others.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    files: FileCopies,
    live: LiveCopies,
}

impl Exchange {
    /// Records that readers here have been told the end of the upload of a live file.
    pub fn is_stored(&self, id: EventId) {
        self.live.is_stored(id);
    }
}

/// Counts the files that other servers have announced, and copies them. Notices which servers are gone. The log calls
/// this before it reports to the chat.
pub(super) fn on_reports(server: &Server, reports: &[Report]) {
    for report in reports {
        if let Report::Shared(shared) = report
            && let SharedReport::End(..) = **shared
        {
            server.exchange.live.epoch_ended();
        }
        let Report::Applied(Applied {
            entry,
            ticket: None,
            outcome,
            ..
        }) = report
        else {
            continue;
        };
        let contents = match &entry.kind {
            EventKind::File(file) => file.contents,
            EventKind::Stored(_, contents) => Some(**contents),
            _ => None,
        };
        if let Some(contents) = contents {
            server.store.expect(contents.sha256);
            if outcome.is_ok() {
                server.exchange.files.want(contents.sha256, false);
            }
        }
    }
}

/// Copies files from other servers, lets them copy, passes direct messages on, and removes the live files of servers
/// that are gone. The tasks end when they are dropped.
pub(super) fn begin(server: &Arc<Server>, following: &Following) -> [Task<()>; 4] {
    server.exchange.live.epoch_ended(); // perhaps while this server was not there
    let copies = files::copy_all(server.clone(), following.clone());
    let answers = answer_all(server.clone(), following.clone());
    [
        server.executor.spawn(copies),
        server.executor.spawn(answers),
        server
            .executor
            .spawn(send_unsaved(server.clone(), following.clone())),
        server
            .executor
            .spawn(live::remove_abandoned(server.clone(), following.clone())),
    ]
}

/// Sends the direct messages of this server's users that are not saved.
async fn send_unsaved(server: Arc<Server>, following: Following) {
    while let Some((entry, ticket)) = following.next_unsaved().await {
        let Scope::Unsaved(to) = &entry.scope else {
            continue;
        };
        let is_elsewhere = server.state().chat.is_used_elsewhere(to);
        let handle = following.current_connection().filter(|_| is_elsewhere);
        let executor = server.executor.clone();
        let (server, following) = (server.clone(), following.clone());
        let time = server.clock.now().time;
        let sends = async move {
            let taken = match handle {
                // Without a lease, somebody else may have the author's nick by now.
                _ if following.is_cut_off() || !following.has_lease() => Err(Code::CutOff),
                None if is_elsewhere => Err(Code::Busy),
                None => Ok(()),
                Some(handle) => {
                    let written = serde_json::to_vec(&(following.server(), &*entry, time.0));
                    let written = written.unwrap_or_default();
                    match ask(&handle, &following.subject("tell"), &written).await {
                        Ok(answer) if answer == TAKEN => Ok(()),
                        _ => Err(Code::Busy),
                    }
                }
            };
            server.applied().add(vec![Report::Applied(Applied {
                entry,
                outcome: taken.map(|()| (None, time)),
                is_repeat: false,
                is_withheld: false,
                ticket,
            })]);
        };
        executor.spawn(sends).detach();
    }
}

/// Delivers a direct message of a user of another server. Returns the answer, if a user here has the nick.
fn deliver(server: &Arc<Server>, following: &Following, written: &[u8]) -> Option<&'static [u8]> {
    let (from, entry, time): (ServerName, model::Entry, u64) =
        serde_json::from_slice(written).ok()?;
    if from == *following.server() {
        return None; // its own users get it when another server has taken it
    }
    if !following.has_lease() {
        return None; // somebody else may have the nick by now
    }
    if !matches!(entry.scope, Scope::Unsaved(_)) {
        return None;
    }
    match server.changes().chat.deliver(&entry, Time(time)) {
        Ok(()) => Some(TAKEN),
        Err(Code::NoSuchNick) => None,
        Err(_) => Some(b"busy"),
    }
}

/// Answers other servers, over one connection to NATS after the other.
async fn answer_all(server: Arc<Server>, following: Following) {
    loop {
        let handle = following.connection().await;
        if let Err(e) = answer(&server, &following, &handle).await {
            warn!("cannot answer other servers: {e}");
        }
        Timer::after(PAUSE).await;
    }
}

async fn answer(server: &Arc<Server>, following: &Following, handle: &Handle) -> Result<(), Error> {
    let files = files::answer(server, following, handle)?;
    let live = live::answer(server, following, handle)?;
    let told = handle.subscribe(&following.subject("tell"))?;
    let own_copy = following.own_subject(COPY);
    let new = handle.subscribe(&following.subject(COPY))?;
    let copied = handle.subscribe(&own_copy)?;
    let delivers = async {
        while let Some(message) = told.next().await {
            if let Some(answer) = deliver(server, following, &message.payload) {
                reply(handle, &message, answer);
            }
        }
    };
    let asked = handle.subscribe(&following.subject(STATUS))?;
    let tells = async {
        while let Some(message) = asked.next().await {
            let status = serde_json::to_vec(&following.status());
            reply(handle, &message, &status.unwrap_or_default());
        }
    };
    let offers = async {
        while let Some(message) = new.next().await {
            let copies = following.copies().clone();
            let can_make = server.pool.run(move || copies.can_make()).await;
            if !following.is_cut_off() && can_make {
                reply(handle, &message, own_copy.as_bytes());
            }
        }
    };
    let copies = async {
        while let Some(message) = copied.next().await {
            // Others must not wait while the copy is made.
            let (handle, server) = (handle.clone(), server.clone());
            let copies = following.copies().clone();
            let executor = server.executor.clone();
            let answer = async move {
                let asked = text(&message).to_owned();
                let answer = server.pool.run(move || copies.answer(&asked));
                if let Some(answer) = answer.await {
                    reply(&handle, &message, &answer);
                }
            };
            executor.spawn(answer).detach();
        }
    };
    let deletes = async {
        loop {
            Timer::after(UNUSED_FOR).await;
            let copies = following.copies().clone();
            let (store, now) = (server.store.clone(), server.clock.now().uptime);
            let deleted = server.pool.run(move || {
                copies.delete_unused();
                store.delete_held(now)
            });
            if let Err(e) = deleted.await {
                warn!("cannot delete a copy of a file that was not announced: {e}");
            }
        }
    };
    let files = future::zip(files, live);
    let chat = future::zip(delivers, tells);
    let rest = future::zip(chat, future::zip(offers, copies));
    future::or(deletes, async {
        future::zip(files, rest).await;
    })
    .await;
    Ok(())
}

async fn ask(handle: &Handle, subject: &str, what: &[u8]) -> io::Result<Vec<u8>> {
    let headers = Headers::new();
    let answer = handle.request(subject, &headers, what, ANSWER_WITHIN);
    Ok(answer.await.map_err(io::Error::other)?.payload)
}

fn text(message: &Message) -> &str {
    std::str::from_utf8(&message.payload).unwrap_or_default()
}

fn reply(handle: &Handle, to: &Message, answer: &[u8]) {
    if let Some(subject) = &to.reply {
        let _ = handle.publish(subject, None, &Headers::new(), answer); // it will ask again
    }
}

/// Waits until one of the two completes. Returns true if it was `first`.
async fn comes_before(first: impl Future, second: impl Future) -> bool {
    let first = async {
        first.await;
        true
    };
    let second = async {
        second.await;
        false
    };
    future::or(first, second).await
}
