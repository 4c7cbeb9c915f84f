//! What operators do with a chat that several servers share, and with its folders, while no server uses them.

use std::path::Path;
use std::time::{Duration, Instant};

use async_io::Timer;

use super::connected::ServerStatus;
use super::{Error, LOG, PAUSE, STATUS, STORED, Settings, leads_on, state, stream, with_jetstream};
use crate::cluster::nats::jetstream::{NO_PEERS, NO_SUCH_STREAM, NOT_CLUSTERED, StreamState};
use crate::cluster::nats::{self, Headers, JetStream};
use crate::log::sqlite::{Position, SqliteLog};

/// The maximum size of a message of the log in bytes: a batch of the usual size, or one with a single large item.
const MESSAGE_BYTES_MAX: u32 = 1 << 20;

/// How long NATS keeps a message of the log.
const LOG_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// The maximum time until NATS servers that start have found one another.
const PEERS_WITHIN: Duration = Duration::from_secs(30);

/// The time within which servers answer what they are asked.
const STATUS_WITHIN: Duration = Duration::from_secs(1);

/// The time between the two looks at a log that is to be deleted. Shortly after a start, NATS may show an old state.
const AGAIN_AFTER: Duration = Duration::from_secs(3);

/// The gap between the numbers of the lost log and those of the new one. Another replica may have more messages than the
/// one with which the new log begins, and must not take new messages for them.
const GAP: u64 = 1 << 30;

/// What [`repair`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// Nothing: the folder can follow the log as it is.
    Nothing,
    /// Created a new log, whose first message has this number.
    NewLog(u64),
}

/// Begins a chat on the NATS servers with the folder of a single server, which may be empty. The folder becomes the first
/// replica.
///
/// # Errors
/// When the folder or the NATS servers cannot be used, or there is such a chat already.
pub fn init(settings: &Settings, folder: &Path) -> Result<(), Error> {
    let local = SqliteLog::open(folder, Box::new(|_| {}))?;
    if let Some(known) = local.position()? {
        return Err(Error::OtherChat(known.log));
    }
    // The first message has ids that are greater than those of the folder. If the folder has anything that is not in the
    // log, the log does not begin with message 1, so that every other server begins with a copy.
    let first = if local.is_unused()? {
        1
    } else {
        after_ids(&local)?.max(2)
    };
    smol::block_on(with_jetstream(settings, async |jetstream| {
        match state(jetstream, settings).await? {
            None => create(jetstream, settings, first).await,
            Some(_) => Err(Error::ChatExists(settings.chat.clone())),
        }
    }))?;
    local.replicate(&settings.chat, first - 1)?;
    Ok(())
}

/// If NATS has lost the log of a chat, or a part of it that the replica in `folder` needs, creates a new log that goes on
/// where this replica ends. The other servers of the chat begin with a copy of it when they start. Messages that only they
/// have are lost, so the replica must be the one that has the most.
///
/// # Errors
/// When the folder or the NATS servers cannot be used; [`Error::Running`] when a server of the chat answers;
/// [`Error::Newer`] when the log has messages that the replica lacks.
pub fn repair(settings: &Settings, folder: &Path) -> Result<Repaired, Error> {
    let local = SqliteLog::open(folder, Box::new(|_| {}))?;
    let known = local.position()?.ok_or(Error::NotShared)?;
    if known.log != settings.chat {
        return Err(Error::OtherChat(known.log));
    }
    let after_ids = after_ids(&local)?;
    let done = smol::block_on(with_jetstream(settings, async |jetstream| {
        let mut last = 0;
        for is_first in [true, false] {
            if let Some(running) = answers(jetstream, settings).await?.into_iter().next() {
                return Err(Error::Running(running.server));
            }
            if let Some(log) = state(jetstream, settings).await? {
                if leads_on(&log, &known) {
                    return Ok(Repaired::Nothing);
                }
                if log.first <= log.last && known.newest() < log.last {
                    return Err(Error::Newer(known.newest(), log.last));
                }
                last = last.max(log.last);
            }
            if is_first {
                Timer::after(AGAIN_AFTER).await;
            }
        }
        match jetstream.delete(&settings.stream()).await {
            Err(nats::Error::Refused { code, .. }) if code == NO_SUCH_STREAM => {}
            deleted => deleted?,
        }
        let first = after_ids.max(known.newest()).max(last) + GAP;
        create(jetstream, settings, first).await?;
        Ok(Repaired::NewLog(first))
    }))?;
    if let Repaired::NewLog(first) = done {
        local.replicate_anew(&settings.chat, first - 1)?;
    }
    Ok(done)
}

/// Makes the folder of a server that of a single server again.
///
/// # Errors
/// When the folder cannot be used.
pub fn leave(folder: &Path) -> Result<(), Error> {
    let local = SqliteLog::open(folder, Box::new(|_| {}))?;
    Ok(local.leave()?)
}

/// Returns where the replica in a folder is; `None` if the folder is that of a single server.
///
/// # Errors
/// When the folder cannot be read.
pub fn position(folder: &Path) -> Result<Option<Position>, Error> {
    Ok(SqliteLog::open_beside(folder)?.position()?)
}

/// Asks the servers of a chat about themselves. Returns the messages of the log, and the answers that come within a
/// second, in the order of the servers' names.
///
/// # Errors
/// When there is no such chat, or the log cannot be used.
pub fn status(settings: &Settings) -> Result<(StreamState, Vec<ServerStatus>), Error> {
    smol::block_on(with_jetstream(settings, async |jetstream| {
        let state = stream(jetstream, settings).await?.state;
        Ok((state, answers(jetstream, settings).await?))
    }))
}

/// Returns what the servers of a chat tell about themselves within a second, in the order of their names.
async fn answers(jetstream: &JetStream, settings: &Settings) -> Result<Vec<ServerStatus>, Error> {
    let subject = settings.subject(STATUS);
    let answers = jetstream
        .handle()
        .request_all(&subject, &Headers::new(), b"")?;
    let mut all = Vec::new();
    let until = Instant::now() + STATUS_WITHIN;
    while let Ok(answer) = answers
        .next_within(until.saturating_duration_since(Instant::now()))
        .await
    {
        all.extend(serde_json::from_slice::<ServerStatus>(&answer.payload));
    }
    all.sort_by(|a, b| a.server.cmp(&b.server));
    Ok(all)
}

/// Returns the number of the first message all of whose ids are greater than those of a log.
fn after_ids(log: &SqliteLog) -> Result<u64, Error> {
    Ok(log.last_id()? / 1024 + 1)
}

/// Creates the log. Its first message gets the number `first`.
async fn create(jetstream: &JetStream, settings: &Settings, first: u64) -> Result<(), Error> {
    let mut wanted = nats::Settings {
        name: settings.stream(),
        subject: settings.subject(LOG),
        republish: settings.subject(STORED),
        replicas: 3,
        age_max: LOG_AGE_MAX,
        bytes_max: None,
        message_bytes_max: MESSAGE_BYTES_MAX,
        first_sequence: Some(first).filter(|first| *first > 1),
    };
    let since = Instant::now();
    loop {
        match jetstream.create(&wanted).await {
            Err(nats::Error::Refused { code, .. }) if code == NOT_CLUSTERED => {
                tracing::warn!("there is only one NATS server: if its disk fails, the log is lost");
                wanted.replicas = 1;
            }
            Err(nats::Error::Refused { code, .. })
                if code == NO_PEERS && since.elapsed() < PEERS_WITHIN =>
            {
                Timer::after(PAUSE).await;
            }
            created => return Ok(created.map(drop)?),
        }
    }
}
