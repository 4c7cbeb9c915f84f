//! Actions of operators: orders to connections, and bans.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::closed::Until;
use super::{Chat, NickId, Place, RoomId};
use crate::model::{Ban, Now, PeerId};
use crate::protocol::name::ByLook;
use crate::protocol::whom::Whom;
use crate::protocol::{Code, Nick, Time};

/// An order to a connection from other connections.
#[derive(Clone, Debug)]
pub enum Order {
    /// Close with this last line.
    Close(Code, String),
    /// Leave a room that the connection may no longer read, with this line.
    Leave(RoomId, Until, String),
}

impl Chat {
    /// Returns whether a nick is an operator's: listed in the configuration, and registered, so that nobody else can
    /// use it.
    pub fn is_operator(&self, nick: NickId) -> bool {
        self.holder(nick).is_some_and(|holder| {
            self.is_operators(&holder.nick) && self.is_registered(&holder.nick)
        })
    }

    /// Returns whether a nick is listed as an operator's, online or not.
    pub fn is_operators(&self, nick: &Nick) -> bool {
        let mut operators = self.config.operators.iter();
        operators.any(|operator| operator.form() == nick.form())
    }

    /// Closes every connection of `nick`; returns how many there are.
    pub fn end_nick(&mut self, nick: NickId, code: Code, text: &str) -> usize {
        let peers = self.holder(nick).map(|holder| holder.connections.clone());
        let peers = peers.unwrap_or_default();
        for peer in &peers {
            self.order(*peer, Order::Close(code, text.to_owned()));
        }
        peers.len()
    }

    pub(super) fn order(&mut self, to: PeerId, order: Order) {
        if self.peers.get(to).is_some() {
            self.orders.entry(to).or_default().push(order);
            self.ordered.push(to);
        }
    }

    /// Returns whether there are orders for `peer`.
    pub fn has_orders(&self, peer: PeerId) -> bool {
        self.orders.contains_key(&peer)
    }

    /// Returns whether `peer` has been ordered to close.
    pub fn is_ended(&self, peer: PeerId) -> bool {
        let mut orders = self.orders.get(&peer).into_iter().flatten();
        orders.any(|order| matches!(order, Order::Close(..)))
    }

    /// Takes the orders for `peer`.
    pub fn take_orders(&mut self, peer: PeerId) -> Vec<Order> {
        self.orders.remove(&peer).unwrap_or_default()
    }

    /// Returns why a nick, or one that looks like it, is banned; `None` if it is not.
    pub fn ban_of_nick(&self, nick: &Nick, now: Time) -> Option<String> {
        // There is none in the usual case, so not each ban is looked at.
        self.banned.candidates(nick).next()?;
        self.ban(now, |whom| match whom {
            Whom::Nick(banned) => banned.looks_like(nick),
            Whom::Network(_) => false,
        })
    }

    /// Returns why an address is banned; `None` if it is not.
    pub fn ban_of_address(&self, address: IpAddr, now: Time) -> Option<String> {
        self.ban(now, |whom| match whom {
            Whom::Nick(_) => false,
            Whom::Network(network) => network.holds(address),
        })
    }

    fn ban(&self, now: Time, is_meant: impl Fn(&Whom) -> bool) -> Option<String> {
        let mut bans = self.bans(now);
        bans.find(|ban| is_meant(&ban.whom)).map(Ban::sentence)
    }

    /// Returns the bans that are in force, in the order in which they were made.
    pub fn bans(&self, now: Time) -> impl Iterator<Item = &Ban> {
        let bans = self.directory.bans.iter();
        bans.filter(move |ban| ban.until.is_none_or(|until| until > now))
    }

    /// Adds a ban and closes the connections that it applies to.
    pub fn add_ban(&mut self, ban: Ban, now: Now) {
        let is_over = |known: &Ban| known.until.is_some_and(|until| until <= now.time);
        self.directory
            .bans
            .retain(|known| known.whom.key() != ban.whom.key() && !is_over(known));
        let text = ban.sentence();
        let mut ended: Vec<PeerId> = Vec::new();
        match &ban.whom {
            Whom::Network(network) => {
                let mut slot = 0;
                while let Some((id, peer)) = self.peers.from_slot(slot) {
                    slot = id.slot() + 1;
                    if network.holds(peer.address) {
                        ended.push(id);
                    }
                }
            }
            Whom::Nick(nick) => {
                let held = self.nick_ids.candidates(nick);
                let held: BTreeSet<NickId> = held.copied().collect();
                let holders = held.into_iter().filter_map(|id| self.holder(id));
                let holders = holders.filter(|holder| holder.nick.looks_like(nick));
                ended.extend(holders.flat_map(|holder| &holder.connections));
            }
        }
        self.directory.bans.push(ban);
        self.index_bans();
        for peer in ended {
            self.order(peer, Order::Close(Code::Banned, text.clone()));
        }
    }

    /// Removes a ban.
    pub fn remove_ban(&mut self, whom: &Whom) {
        self.directory
            .bans
            .retain(|known| known.whom.key() != whom.key());
        self.index_bans();
    }

    /// Rebuilds the index after bans have changed.
    pub(super) fn index_bans(&mut self) {
        let nicks = self
            .directory
            .bans
            .iter()
            .filter_map(|ban| match &ban.whom {
                Whom::Nick(nick) => Some(nick),
                Whom::Network(_) => None,
            });
        let mut banned = ByLook::default();
        nicks.for_each(|nick| banned.insert(nick, ()));
        self.banned = banned;
    }

    /// Sends everyone a notice from `who`.
    pub fn note(&mut self, who: &str, text: &str, author: Option<PeerId>, now: Now) {
        let line = format!("NOTE * {who} {text}");
        self.append(Place::Everyone, None, now.time, author, line.as_bytes());
    }

    /// Records an operator's action for the server's audit log.
    pub fn act(&mut self, act: String) {
        self.acts.push(act);
    }

    /// Takes the recorded actions of operators.
    pub fn take_acts(&mut self) -> Vec<String> {
        std::mem::take(&mut self.acts)
    }
}
