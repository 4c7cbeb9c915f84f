//! Operators and bans: who is an operator, which bans are in force, notices to everyone, and the audit log. Also the
//! commands that one connection's action causes for other connections: to close, to leave a room, or to tell the client
//! that a reader has moved.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::state::User;
use super::{Chat, NickId, Place, RoomId, write};
use crate::config::fixed::MOVED_READERS_MAX;
use crate::model::{Ban, PeerId};
use crate::protocol::ban_target::BanTarget;
use crate::protocol::name::Look;
use crate::protocol::{Code, Event, Nick, RoomName, Time};
use crate::tail::Seq;

/// A command to a connection that is caused by another connection.
#[derive(Clone, Debug)]
pub enum ConnectionCommand {
    /// Close, and send this code and text in the last line.
    Close(Code, String),
    /// Leave a room that the connection may no longer read.
    Leave(Departure),
    /// Tell the client that another connection of its nick has moved one of the nick's readers.
    Moved(MovedReader),
}

/// A named reader that one connection of a nick has moved.
#[derive(Clone, Debug)]
pub struct MovedReader {
    /// The nick.
    pub nick: NickId,
    /// The room or nick whose messages the reader reads, in the spelling that others see.
    pub place: Box<str>,
    /// The casefolded name of the reader.
    pub name: Box<str>,
    /// The new position.
    pub seen: u64,
}

/// The point in a room up to which a removed connection may still read.
#[derive(Clone, Copy, Debug)]
pub struct Cutoff {
    /// The number of the first entry of the tail that the connection may not read.
    pub seq: Seq,
    /// The id of the last logged event that the connection may read; 0 if there is none.
    pub id: u64,
}

/// The removal of a connection from a room.
#[derive(Clone, Debug)]
pub struct Departure {
    /// The room.
    pub room: RoomId,
    /// The point up to which the connection may still read the room.
    pub cutoff: Cutoff,
    /// The name of the room.
    pub name: Arc<RoomName>,
    /// The nick of the connection; `*` if it has none.
    pub nick: String,
    /// The reason for the removal.
    pub reason: &'static str,
}

impl Chat {
    /// Returns whether a nick is an operator. The configuration must list the nick. The nick must also be registered,
    /// because anybody can use an unregistered nick.
    pub fn is_operator(&self, nick: NickId) -> bool {
        self.user(nick)
            .is_some_and(|user| self.is_operators(&user.nick) && self.is_registered(&user.nick))
    }

    /// Returns whether the configuration lists a nick as an operator. The nick may be offline or not registered.
    pub fn is_operators(&self, nick: &Nick) -> bool {
        let mut operators = self.config.operators.iter();
        operators.any(|operator| operator.casefolded() == nick.casefolded())
    }

    /// Closes every connection of `nick` on this server.
    pub(super) fn close_nick(&mut self, nick: NickId, code: Code, text: &str) {
        let peers = self.user(nick).map(|user| user.here.connections.clone());
        for peer in peers.into_iter().flatten() {
            self.send_command(peer, ConnectionCommand::Close(code, text.to_owned()));
        }
    }

    /// Tells the connections of a nick on this server, except `by`, that one of the nick's readers was moved. A
    /// connection with too many waiting commands is not told. Its client can still ask for the position.
    pub(super) fn tell_moved(&mut self, by: Option<PeerId>, moved: &MovedReader) {
        let user = self.user(moved.nick);
        let peers = user.map(|user| user.here.connections.clone());
        for other in peers
            .into_iter()
            .flatten()
            .filter(|other| Some(*other) != by)
        {
            let mut waiting = 0;
            if let Some(commands) = self.commands.get_mut(&other) {
                // Only the newest position of a reader matters.
                commands.retain(|command| match command {
                    ConnectionCommand::Moved(known) => {
                        (&known.place, &known.name) != (&moved.place, &moved.name)
                    }
                    ConnectionCommand::Close(..) | ConnectionCommand::Leave(_) => true,
                });
                waiting = commands.len();
            }
            if waiting < MOVED_READERS_MAX {
                self.send_command(other, ConnectionCommand::Moved(moved.clone()));
            }
        }
    }

    pub(super) fn send_command(&mut self, to: PeerId, command: ConnectionCommand) {
        if self.peers.get(to).is_some() {
            self.commands.entry(to).or_default().push(command);
            self.commanded.push(to);
        }
    }

    /// Returns whether there are commands for `peer`.
    pub fn has_commands(&self, peer: PeerId) -> bool {
        self.commands.contains_key(&peer)
    }

    /// Returns whether the connection `peer` has been told to close.
    pub fn is_ended(&self, peer: PeerId) -> bool {
        let mut commands = self.commands.get(&peer).into_iter().flatten();
        commands.any(|command| matches!(command, ConnectionCommand::Close(..)))
    }

    /// Takes the commands for `peer`.
    pub fn take_commands(&mut self, peer: PeerId) -> Vec<ConnectionCommand> {
        self.commands.remove(&peer).unwrap_or_default()
    }

    /// Returns the reason why `nick` or a look-alike of `nick` is banned; `None` if neither is banned.
    pub fn ban_of_nick(&self, nick: &Nick, now: Time) -> Option<String> {
        let look = LazyCell::new(|| Look::of(nick.clone()));
        self.ban(now, |target| match target {
            BanTarget::Nick(banned) => banned.is_like(&look),
            BanTarget::Network(_) => false,
        })
    }

    /// Returns the reason why an address is banned; `None` if it is not banned.
    pub fn ban_of_address(&self, address: IpAddr, now: Time) -> Option<String> {
        self.ban(now, |target| match target {
            BanTarget::Nick(_) => false,
            BanTarget::Network(network) => network.contains(address),
        })
    }

    fn ban(&self, now: Time, is_meant: impl Fn(&BanTarget) -> bool) -> Option<String> {
        let mut bans = self.bans(now);
        bans.find(|ban| is_meant(&ban.target)).map(Ban::sentence)
    }

    /// Returns the bans that are in force, in the order in which they were made.
    pub fn bans(&self, now: Time) -> impl Iterator<Item = &Ban> {
        let bans = self.state.directory().bans.iter();
        bans.filter(move |ban| ban.until.is_none_or(|until| until > now))
    }

    /// Closes the connections of banned users on this server.
    pub(super) fn close_banned(&mut self, ban: &Ban) {
        let text = ban.sentence();
        let mut ended: Vec<PeerId> = Vec::new();
        match &ban.target {
            BanTarget::Network(network) => {
                let mut slot = 0;
                while let Some((id, peer)) = self.peers.from_slot(slot) {
                    slot = id.slot() + 1;
                    if network.contains(peer.address) {
                        ended.push(id);
                    }
                }
            }
            BanTarget::Nick(look) => {
                let nick = look.nick();
                let users: BTreeMap<NickId, &User> = self.state.candidates(nick).collect();
                let users = users.into_values();
                let users = users.filter(|user| user.nick.looks_like(nick));
                ended.extend(users.flat_map(|user| &user.here.connections));
            }
        }
        for peer in ended {
            self.send_command(peer, ConnectionCommand::Close(Code::Banned, text.clone()));
        }
    }

    /// Shows a notice of an operator or of this server to everyone on this server.
    pub(super) fn show_notice(&mut self, by: &str, text: &str, author: Option<PeerId>, time: Time) {
        self.append(Place::Everyone, None, time, author, "", |_, line| {
            let (from, text) = (by.into(), text.into());
            write(&Event::Note { from, text }, line)
        });
    }

    /// Records an operator's action for the server's audit log.
    pub fn record_audit(&mut self, act: String) {
        self.audit_log.push(act);
    }

    /// Takes the recorded actions of operators.
    pub fn take_audit_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.audit_log)
    }
}
