//! What a log reports to its server.

use super::{Applied, Change, DeletedFile, EventKind, PeerId, ServerName, VersionedAcl};
use crate::protocol::{EventId, Time};

/// What a log reports, in the order of the log.
#[derive(Debug)]
pub enum Report {
    /// An entry was stored or refused.
    Applied(Applied),
    /// Something that only a log reports that several servers share.
    Shared(Box<SharedReport>),
}

impl SharedReport {
    /// The name in a change that no server has proposed, because it follows from what is stored.
    pub const NOBODY: &'static str = "";
}

impl Report {
    /// Returns the live file whose upload to another server is complete, if this reports that.
    pub fn stored_elsewhere(&self) -> Option<EventId> {
        match self {
            Self::Applied(Applied {
                entry,
                ticket: None,
                ..
            }) => match entry.kind {
                EventKind::Stored(file, _) => Some(file),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the entry that was stored or refused, if this reports one.
    pub fn applied(self) -> Option<Applied> {
        match self {
            Self::Applied(applied) => Some(applied),
            Self::Shared(_) => None,
        }
    }
}

/// What a log that several servers share reports, besides entries.
#[derive(Debug)]
pub enum SharedReport {
    /// A change has its place in the log, and must be decided on now. The connection has caused the change, and belongs
    /// to this server.
    Change(Change, Option<PeerId>, Time),
    /// A change was decided on before this server was restarted, and must be applied once more.
    ChangeAgain(Change, Time),
    /// This server has caught up with the log, and may serve clients.
    Ready(Time),
    /// These files were deleted together with the inbox of a nick.
    InboxCleared(Vec<DeletedFile>),
    /// Access lists were stored. Their versions are places in the log.
    Acls(Vec<VersionedAcl>, Time),
    /// A server can no longer act for its users, because it has stopped, or because the others have not heard from it.
    /// If it is this server, everything that it has proposed and that was not reported before has no effect.
    End(ServerName, Time),
    /// This server is cut off from the log. While it is, it refuses everything that changes something. Connections
    /// with a nick are closed, so that their clients go to another server.
    CutOff,
    /// What all servers agree on must be stored, so that this server can continue from here when it starts again.
    Checkpoint(Checkpoint),
}

/// Where a server is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The number of the last message of the log that has been applied.
    pub sequence: u64,
    /// What is known of the servers, in the form of `cluster::Members`.
    pub members: String,
}
