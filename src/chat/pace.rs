//! Limits how often an operation is allowed, for each address and for all addresses together. If the total number of
//! operations is bounded, this prevents one client from using up the total at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::{Chat, NickId};
use crate::config::Rate;
use crate::model::{Now, PeerId, address_prefix};

/// The maximum number of addresses that are tracked at once. Above the maximum, only the limit for all addresses
/// applies to further addresses.
const ADDRESSES_MAX: usize = 16 << 10;

/// The rate limit of one operation.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The time from which each address has its full allowance again; see [`Rate`].
    by_origin: HashMap<IpAddr, Duration>,
    /// The time from which all addresses together have their full allowance again.
    all: Duration,
}

impl Pace {
    /// Returns whether the address `origin` may perform the operation now. If so, counts the operation.
    fn take(&mut self, origin: IpAddr, each: Rate, all: Option<Rate>, now: Duration) -> bool {
        if self.by_origin.len() >= ADDRESSES_MAX {
            self.by_origin.retain(|_, used_up| *used_up > now);
        }
        let own = self.by_origin.get(&origin).copied().unwrap_or_default();
        let is_over = |rate: Rate, used_up| !rate.wait(used_up, now).is_zero();
        if is_over(each, own) || all.is_some_and(|all| is_over(all, self.all)) {
            return false;
        }
        if let Some(all) = all {
            self.all = all.once_more(self.all, now);
        }
        if self.by_origin.contains_key(&origin) || self.by_origin.len() < ADDRESSES_MAX {
            self.by_origin.insert(origin, each.once_more(own, now));
        }
        true
    }
}

impl Chat {
    /// Returns whether another nick may be registered over this connection. If so, counts the registration.
    pub fn may_register(&mut self, peer: PeerId, now: Now) -> bool {
        let Some(address) = self.address(peer) else {
            return false;
        };
        let limits = &self.config.limits;
        let (each, all) = (limits.registrations_per_address, limits.registrations);
        self.registrations
            .take(address_prefix(address), each, Some(all), now.uptime)
    }

    /// Returns whether another named reader may be created over this connection. If so, counts the reader.
    pub fn may_make_reader(&mut self, peer: PeerId, now: Now) -> bool {
        let Some(address) = self.address(peer) else {
            return false;
        };
        let each = self.config.limits.readers_per_address;
        self.new_readers
            .take(address_prefix(address), each, None, now.uptime)
    }

    /// Returns whether another file may be uploaded over this connection under `nick`. If so, counts the upload.
    pub fn may_upload(&mut self, peer: PeerId, nick: Option<NickId>, now: Now) -> bool {
        let Some(from) = self.address(peer).map(address_prefix) else {
            return false;
        };
        let is_own = nick.is_some_and(|nick| self.is_own(nick));
        let limits = &self.config.limits;
        let (each, without) = (limits.files_per_address, limits.files_without_account);
        (is_own || self.unowned_uploads.take(from, without, None, now.uptime))
            && self.uploads.take(from, each, None, now.uptime)
    }

    /// Returns whether `nick` is registered. `nick` must be in use.
    pub fn is_own(&self, nick: NickId) -> bool {
        self.account_of(Some(nick)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Rate = Rate {
        burst: 3,
        every: Duration::from_secs(10),
    };

    fn from(n: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + n).to_be_bytes())
    }

    #[test]
    fn an_address_has_a_burst_and_then_a_rate() {
        let mut pace = Pace::default();
        let start = Duration::from_secs(1000);
        let take = |pace: &mut Pace, n, at| pace.take(from(n), EACH, None, at);
        assert_eq!((0..9).filter(|_| take(&mut pace, 1, start)).count(), 3);
        assert!(take(&mut pace, 2, start), "others are not slowed");
        assert!(take(&mut pace, 1, start + EACH.every));
        assert!(!take(&mut pace, 1, start + EACH.every));
        assert_eq!((0..9).filter(|_| take(&mut pace, 1, start * 2)).count(), 3);
    }

    #[test]
    fn all_addresses_together_are_limited_in_rate_and_memory() {
        let mut pace = Pace::default();
        let all = Rate { burst: 5, ..EACH };
        let start = Duration::from_secs(1000);
        let taken = (0..100).filter(|n| pace.take(from(*n), EACH, Some(all), start));
        assert_eq!(taken.count(), 5);
        for n in 0..ADDRESSES_MAX as u32 * 2 {
            pace.take(from(n), EACH, None, start);
        }
        assert_eq!(pace.by_origin.len(), ADDRESSES_MAX);
        assert!(pace.take(from(7), EACH, None, start * 2));
        assert_eq!(pace.by_origin.len(), 1);
    }
}
