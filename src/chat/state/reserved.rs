//! The nicks that are reserved until their owners return.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::NickId;
use crate::chat::tally::Tally;
use crate::model::Reserve;

/// The nicks that are reserved until their owners return. `by_origin` counts them by the address that last used them.
#[derive(Debug, Default)]
pub struct Reserved {
    /// The time at which each nick is released, in milliseconds, and the address that last used the nick.
    pub(super) nicks: BTreeMap<NickId, (u64, IpAddr)>,
    /// The nicks in the order in which they are released.
    due: BTreeSet<(u64, NickId)>,
    by_origin: Tally,
}

impl Reserved {
    /// Returns the number of reserved nicks.
    pub fn count(&self) -> usize {
        self.due.len()
    }

    /// Returns the time at which the next nick is released.
    pub fn next_ms(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Removes and returns the nick whose reservation expires next, if the reservation has expired at `now_ms`.
    pub fn pop_due(&mut self, now_ms: u64) -> Option<NickId> {
        let (at, nick) = *self.due.first()?;
        if at > now_ms {
            return None;
        }
        self.remove(nick);
        Some(nick)
    }

    /// Returns whether another nick may be reserved within the limits of `reserve`.
    pub fn has_space(&self, reserve: &Reserve) -> bool {
        self.due.len() < reserve.nicks_max
            && self.by_origin.count(&reserve.origin) < reserve.nicks_per_address_max
    }

    /// Reserves a nick until `at`, in milliseconds, for the user at the address `origin`.
    pub fn insert(&mut self, nick: NickId, at: u64, origin: IpAddr) {
        self.nicks.insert(nick, (at, origin));
        self.due.insert((at, nick));
        self.by_origin.add(origin);
    }

    /// Ends the reservation of a nick, if it has one.
    pub fn remove(&mut self, nick: NickId) {
        if let Some((at, origin)) = self.nicks.remove(&nick) {
            self.due.remove(&(at, nick));
            self.by_origin.remove(origin);
        }
    }
}
