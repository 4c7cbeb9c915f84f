//! Which messages of the log count.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Content, Epoch, Fence, Message};
use crate::model::ServerName;

/// The servers that have published messages, as far as a server has read the log. All servers that have read the same
/// messages know the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    servers: BTreeMap<ServerName, Member>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Member {
    /// The newest epoch of the server.
    epoch: Epoch,
    /// Whether the epoch has not ended.
    is_live: bool,
    /// The number of batches that count in this epoch.
    batches: u64,
}

/// The effect of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read<'a, T> {
    /// An epoch of the server that has published the message begins. The server's former epoch ends, if it has not
    /// ended before.
    Begun {
        /// The new epoch.
        epoch: Epoch,
        /// Whether the former epoch has ended with this message.
        has_ended_former: bool,
    },
    /// A batch counts. First, the epochs of the servers in `ended` end. Then the items take effect.
    Items {
        /// The servers whose epochs end.
        ended: Vec<ServerName>,
        /// The items, in order.
        items: &'a [T],
    },
    /// The server's epoch ends.
    Ended,
    /// The message has no effect, because it is a repetition, or because its epoch has ended.
    Ignored,
}

impl Members {
    /// Reads the next message of the log, whose sequence number is `sequence`, and returns its effect.
    pub fn read<'a, T>(&mut self, sequence: u64, message: &'a Message<T>) -> Read<'a, T> {
        match &message.content {
            Content::Hello { former, .. } => self.begin(sequence, &message.by, *former),
            Content::Batch {
                epoch,
                number,
                fences,
                items,
            } => {
                let own = self.live(&message.by, *epoch);
                let Some(own) = own.filter(|own| own.batches + 1 == *number) else {
                    return Read::Ignored;
                };
                own.batches += 1;
                let mut ended = Vec::new();
                for fence in fences {
                    if let Some(fenced) = self.live(&fence.server, fence.epoch)
                        && fenced.batches == fence.batches
                    {
                        fenced.is_live = false;
                        ended.push(fence.server.clone());
                    }
                }
                Read::Items { ended, items }
            }
            Content::Goodbye { epoch } => match self.live(&message.by, *epoch) {
                Some(own) => {
                    own.is_live = false;
                    Read::Ended
                }
                None => Read::Ignored,
            },
        }
    }

    fn begin<'a, T>(&mut self, epoch: Epoch, server: &ServerName, former: Epoch) -> Read<'a, T> {
        let known = self.servers.get(server);
        if known.map_or(0, |known| known.epoch) != former {
            return Read::Ignored;
        }
        let has_ended_former = known.is_some_and(|known| known.is_live);
        let member = Member {
            epoch,
            is_live: true,
            batches: 0,
        };
        self.servers.insert(server.clone(), member);
        Read::Begun {
            epoch,
            has_ended_former,
        }
    }

    fn live(&mut self, server: &ServerName, epoch: Epoch) -> Option<&mut Member> {
        let member = self.servers.get_mut(server)?;
        (member.is_live && member.epoch == epoch).then_some(member)
    }

    /// Returns the epoch of a server, unless it has ended.
    pub fn epoch(&self, server: &ServerName) -> Option<Epoch> {
        let member = self.servers.get(server)?;
        member.is_live.then_some(member.epoch)
    }

    /// Returns the newest epoch of a server, even if it has ended; 0 if there was none.
    pub fn newest_epoch(&self, server: &ServerName) -> Epoch {
        self.servers.get(server).map_or(0, |member| member.epoch)
    }

    /// Returns the fence that ends the present epoch of a server, if the server stays silent.
    pub fn fence(&self, server: &ServerName) -> Option<Fence> {
        let member = self.servers.get(server).filter(|member| member.is_live)?;
        Some(Fence {
            server: server.clone(),
            epoch: member.epoch,
            batches: member.batches,
        })
    }

    /// Returns the servers whose epochs have not ended.
    pub fn all_live(&self) -> impl Iterator<Item = &ServerName> {
        let live = self.servers.iter().filter(|(_, member)| member.is_live);
        live.map(|(server, _)| server)
    }
}
