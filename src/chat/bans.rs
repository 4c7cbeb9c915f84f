//! What operators do: connections that are told to go, and who is kept out.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::closed::Until;
use super::{Chat, NickId, Place, RoomId};
use crate::model::{Ban, Now, PeerId};
use crate::protocol::Time;
use crate::protocol::whom::Whom;
use crate::protocol::{Code, Nick};

/// What a connection is told to do, by others.
#[derive(Clone, Debug)]
pub enum Order {
    /// End with this last line.
    Close(Code, String),
    /// Leave a room that is closed to it now, with this line.
    Leave(RoomId, Until, String),
}

impl Chat {
    /// Whether that nick is an operator's: named by whoever started the server, and registered, so that
    /// nobody else can hold it.
    pub fn is_operator(&self, nick: NickId) -> bool {
        self.holder(nick).is_some_and(|holder| {
            self.is_operators(&holder.nick) && self.is_registered(&holder.nick)
        })
    }

    /// Whether an operator is called that, here or not.
    pub fn is_operators(&self, nick: &Nick) -> bool {
        let mut operators = self.config.operators.iter();
        operators.any(|operator| operator.form() == nick.form())
    }

    /// Has every connection of `nick` end; how many.
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

    /// Whether there are orders for `peer`.
    pub fn has_orders(&self, peer: PeerId) -> bool {
        self.orders.contains_key(&peer)
    }

    /// Whether `peer` is to end.
    pub fn is_ended(&self, peer: PeerId) -> bool {
        let mut orders = self.orders.get(&peer).into_iter().flatten();
        orders.any(|order| matches!(order, Order::Close(..)))
    }

    /// Takes what `peer` is ordered to do.
    pub fn take_orders(&mut self, peer: PeerId) -> Vec<Order> {
        self.orders.remove(&peer).unwrap_or_default()
    }

    /// Why a nick is kept out, if it is, or one that looks like it.
    pub fn ban_of_nick(&self, nick: &Nick, now: Time) -> Option<String> {
        let mut skeletons = nick.skeletons().into_iter();
        if !skeletons.any(|skeleton| self.banned.contains(&skeleton)) {
            return None; // as nearly always, and without a look at each ban
        }
        self.ban(now, |whom| match whom {
            Whom::Nick(banned) => banned.looks_like(nick),
            Whom::Network(_) => false,
        })
    }

    /// Why an address is kept out, if it is.
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

    /// The bans that are in force, as they were made.
    pub fn bans(&self, now: Time) -> impl Iterator<Item = &Ban> {
        let bans = self.directory.bans.iter();
        bans.filter(move |ban| ban.until.is_none_or(|until| until > now))
    }

    /// Keeps somebody out from now on, and has those end who are in already.
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
                let held = nick.skeletons().into_iter();
                let held = held.filter_map(|skeleton| self.nick_ids.get(&skeleton));
                let held: BTreeSet<NickId> = held.copied().collect();
                let holders = held.into_iter().filter_map(|id| self.holder(id));
                ended.extend(holders.flat_map(|holder| &holder.connections));
            }
        }
        self.directory.bans.push(ban);
        self.index_bans();
        for peer in ended {
            self.order(peer, Order::Close(Code::Banned, text.clone()));
        }
    }

    /// Lets somebody in again.
    pub fn remove_ban(&mut self, whom: &Whom) {
        self.directory
            .bans
            .retain(|known| known.whom.key() != whom.key());
        self.index_bans();
    }

    /// Bans have changed.
    pub(super) fn index_bans(&mut self) {
        let nicks = self
            .directory
            .bans
            .iter()
            .filter_map(|ban| match &ban.whom {
                Whom::Nick(nick) => Some(nick),
                Whom::Network(_) => None,
            });
        self.banned = nicks.flat_map(Nick::skeletons).collect();
    }

    /// Says `text` to everybody in the name of `who`.
    pub fn note(&mut self, who: &str, text: &str, author: Option<PeerId>, now: Now) {
        let line = format!("NOTE * {who} {text}");
        self.append(Place::Everyone, None, now.time, author, line.as_bytes());
    }

    /// Writes down what an operator does, for the server's own log.
    pub fn act(&mut self, act: String) {
        self.acts.push(act);
    }

    /// Takes what operators have done.
    pub fn take_acts(&mut self) -> Vec<String> {
        std::mem::take(&mut self.acts)
    }
}
