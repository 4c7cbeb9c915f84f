//! Changes to the state that all servers of a chat share, apart from logged events: the nicks in use and their rooms,
//! who is registered or banned, and who may join which room. Operators' orders are changes too.
//!
//! Like an [`Entry`](super::Entry), a [`Change`] contains only names, and nothing that belongs to the process that
//! proposes it. Whether a change takes effect is decided when it is applied. The decision depends only on earlier
//! changes and on what the change itself contains, such as limits. So servers that apply the same changes in the same
//! order agree.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Ban, Hook, VersionedAcl};
use crate::protocol::ban_target::BanTarget;
use crate::protocol::{Nick, RoomName};

/// The name of a server. Servers of one chat have different names.
pub type ServerName = Arc<str>;

/// A change that a server proposes.
#[derive(Clone, Debug)]
pub struct Change {
    /// The server.
    pub server: ServerName,
    /// The action that causes the change.
    pub action: Action,
}

/// The action of a change. The shared state contains only which nicks each server uses, and in which rooms it has each
/// of these nicks. Only the server itself knows how many of its connections use a nick, and how many of these
/// connections are in each room.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Action {
    /// A connection of the server takes a nick. The nick replaces the connection's former nick, if there is one.
    TakeNick {
        /// The nick.
        nick: Nick,
        /// The reason why the connection may use the nick even if others use the nick.
        claim: Claim,
        /// The nick that the connection used before.
        former: Option<FormerNick>,
    },
    /// The server's last connection with a nick has ended, after leaving its rooms.
    DropNick {
        /// The nick.
        nick: Nick,
        /// How the nick is reserved if it has a password. `None` if the user has left deliberately, because the nick
        /// then becomes free at once.
        reserve: Option<Reserve>,
    },
    /// A nick was registered, or its password was changed. From now on, the account protects the nick instead of a
    /// reservation.
    AddAccount {
        /// The nick.
        nick: Nick,
    },
    /// A nick is no longer registered.
    RemoveAccount {
        /// The nick.
        nick: Nick,
    },
    /// A ban was stored. The banned users' connections are closed.
    AddBan(Box<Ban>),
    /// A ban was lifted.
    RemoveBan(BanTarget),
    /// The access lists of rooms were changed and stored. Connections leave the rooms that they may no longer read.
    SetAcls(Vec<VersionedAcl>),
    /// A nick was invited to a room. If the nick is online, its connections are told.
    Invite {
        /// The nick.
        nick: Nick,
        /// The room.
        room: Arc<RoomName>,
        /// The nick of the moderator who sent the invitation.
        by: Nick,
    },
    /// A hook was stored.
    AddHook(Box<Hook>),
    /// A token or hook of a nick was revoked.
    Revoke {
        /// The nick.
        nick: Nick,
        /// The label of the token or hook.
        label: Nick,
    },
    /// An operator closes all connections of a nick.
    Kick {
        /// The nick.
        nick: Nick,
        /// The text of the last line that the connections receive.
        text: Box<str>,
    },
    /// An operator sends a notice to everyone.
    Notify {
        /// The operator's nick.
        by: Nick,
        /// The text.
        text: Box<str>,
    },
    /// A connection has moved a named reader of its nick. The nick's other connections are told.
    MoveReader {
        /// The nick.
        nick: Nick,
        /// The room or nick whose messages the reader reads, spelled as users see it.
        place: Box<str>,
        /// The comparison form of the reader's name.
        name: Box<str>,
        /// The new position.
        seen: u64,
    },
    /// This change has no effect. A server proposes the change to catch up. When the server applies the change, it
    /// knows everything that any server had acknowledged before the proposal.
    CatchUp,
    /// An operator deletes a room. All connections leave the room at once, before the log deletes its events.
    DeleteRoom {
        /// The room.
        room: Arc<RoomName>,
    },
    /// A user goes away or comes back.
    SetAway {
        /// The nick.
        nick: Nick,
        /// The text that others see; `None` if the user is back.
        text: Option<Box<str>>,
        /// The rooms in which the change is announced.
        rooms: Vec<Arc<RoomName>>,
    },
    /// A connection without a nick has joined a room, which exists on all servers from now on.
    OpenRoom {
        /// The room.
        room: Arc<RoomName>,
    },
    /// The server has no readers in a room that it has opened.
    CloseRoom {
        /// The room.
        room: Arc<RoomName>,
    },
    /// The first of the server's connections with a nick has joined a room.
    EnterRoom {
        /// The room.
        room: Arc<RoomName>,
        /// The nick.
        nick: Nick,
    },
    /// The last of the server's connections with a nick has left a room.
    LeaveRoom {
        /// The room.
        room: Arc<RoomName>,
        /// The nick.
        nick: Nick,
        /// The text with which the user leaves; may be empty.
        text: Box<str>,
    },
}

/// The reason why a connection may use a nick.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Claim {
    /// The connection has no special right to the nick, so the nick must be free.
    Free,
    /// The nick must be free, or reserved with the password that has this SHA-256 digest.
    Password(Box<[u8; 32]>),
    /// The nick is registered, and the connection has logged in.
    Account,
    /// The server uses the nick already, and allows this connection to share the nick.
    Shared,
}

impl Claim {
    /// Returns the digest of the password.
    pub fn password(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Password(digest) => Some(digest),
            Self::Free | Self::Account | Self::Shared => None,
        }
    }
}

/// The nick that a connection gives up for another one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FormerNick {
    /// The nick.
    pub nick: Nick,
    /// Whether no other connection of the server uses the nick.
    pub is_last: bool,
    /// The rooms in which no other connection of the server uses the nick. In these rooms, the new nick replaces the
    /// former nick.
    pub rooms: Vec<Arc<RoomName>>,
}

/// How long a nick is reserved for its user, and the limits on reserved nicks.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Reserve {
    /// How long, in milliseconds.
    pub for_ms: u64,
    /// The address of the user.
    pub origin: IpAddr,
    /// The maximum number of reserved nicks.
    pub nicks_max: usize,
    /// The maximum number of reserved nicks for one address.
    pub nicks_per_address_max: usize,
}
