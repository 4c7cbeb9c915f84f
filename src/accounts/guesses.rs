//! Limits how fast passwords can be guessed. Only wrong passwords count: they slow further attempts from the same
//! address and further attempts at the same nick.
//!
//! Wrong passwords are counted for each address and for each nick, and the number of these counters is bounded. This
//! module is pure: the caller passes the time. Guesses at a nick are counted separately if they come from an address
//! from which the owner of the nick has logged in before. So neither guesses at other nicks from that address nor
//! guesses from elsewhere slow the owner.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::config::Rate;
use crate::model::address_prefix;

/// The rate of wrong passwords from one address. The burst is enough for a person with a bad memory; the rate is
/// about 4,000 a day.
const ADDRESS: Rate = Rate {
    burst: 10,
    every: Duration::from_secs(20),
};
/// The rate of wrong passwords for one nick from all addresses: about 17,000 a day.
const NICK: Rate = Rate {
    burst: 30,
    every: Duration::from_secs(5),
};
/// The maximum time that an attempt waits for its turn. An attempt that would wait longer is refused, and the client
/// is told to try again later. This is shorter than the time that a server takes to stop.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// The maximum number of keys that are tracked. They take about 8 MiB. When all are in use, new addresses and nicks
/// share one key.
const KEYS_MAX: usize = 64 << 10;
/// The maximum number of owners' addresses that are remembered.
const OWNERS_MAX: usize = 4 << 10;
/// The maximum number of addresses that are remembered for one nick, so that the logins of one owner do not displace
/// the addresses of other owners.
const ADDRESSES_OF_OWNER_MAX: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    /// An address from which tokens of nonexistent hooks were used. A tool whose hook was revoked may still use its
    /// token. It must not lock out the people at its address, so these attempts are counted separately.
    Hooks(IpAddr),
    Nick(Box<str>),
    /// A nick at an address from which its owner has logged in.
    Owner(Box<str>, IpAddr),
    /// The key that addresses and nicks share when all keys are in use.
    Rest,
}

/// The counts of wrong passwords.
#[derive(Debug, Default)]
pub struct Guesses {
    /// The time at which the allowance of each key is full again; see [`Rate`].
    keys: HashMap<Key, Duration>,
    /// Nicks, and the addresses from which their owners have logged in; the most recent login is last.
    owners: VecDeque<(Box<str>, IpAddr)>,
}

/// An attempt at a password.
#[derive(Debug)]
pub struct Attempt {
    keys: Vec<Key>,
    origin: IpAddr,
    nick: Option<Box<str>>,
    /// The time to wait before the password is checked.
    pub wait: Duration,
}

impl Guesses {
    /// Starts an attempt from `address` at the password of `nick`, or at the server's own password if `nick` is
    /// `None`. The attempt counts as wrong until [`Self::succeeded`] is called. Returns `None` if there were too many
    /// wrong attempts.
    pub fn start(&mut self, address: IpAddr, nick: Option<&str>, now: Duration) -> Option<Attempt> {
        let origin = address_prefix(address);
        let owner = nick.filter(|nick| {
            let mut owners = self.owners.iter();
            owners.any(|(of, from)| **of == **nick && *from == origin)
        });
        let mut keys = match (owner, nick) {
            (Some(owner), _) => vec![Key::Owner(owner.into(), origin)],
            (None, Some(nick)) => vec![Key::Address(origin), Key::Nick(nick.into())],
            (None, None) => vec![Key::Address(origin)],
        };
        self.make_space(&mut keys, now);
        let waits = keys.iter().map(|key| {
            let used_up = self.keys.get(key).copied().unwrap_or_default();
            rate(key).wait(used_up, now)
        });
        let wait = waits.max().unwrap_or_default();
        if wait > WAIT_MAX {
            return None;
        }
        for key in &keys {
            let used_up = self.keys.entry(key.clone()).or_default();
            *used_up = rate(key).once_more(*used_up, now);
        }
        Some(Attempt {
            keys,
            origin,
            nick: nick.map(Into::into),
            wait,
        })
    }

    /// Counts a use of the token of a nonexistent hook. Returns false if there were too many such uses from that
    /// address.
    pub fn wrong_hook(&mut self, address: IpAddr, now: Duration) -> bool {
        let mut keys = [Key::Hooks(address_prefix(address))];
        self.make_space(&mut keys, now);
        let [key] = keys;
        let used_up = self.keys.entry(key).or_default();
        let is_allowed = ADDRESS.wait(*used_up, now).is_zero();
        if is_allowed {
            *used_up = ADDRESS.once_more(*used_up, now);
        }
        is_allowed
    }

    /// Replaces new keys in `keys` by the shared key, if there is no space for more keys.
    fn make_space(&mut self, keys: &mut [Key], now: Duration) {
        self.forget(now);
        for key in keys {
            let is_new = !self.keys.contains_key(key) && !matches!(key, Key::Owner(..));
            if is_new && self.keys.len() >= KEYS_MAX {
                *key = Key::Rest;
            }
        }
    }

    /// Records that the password was right, so that the attempt no longer counts as wrong.
    pub fn succeeded(&mut self, right: Attempt) {
        for key in right.keys {
            if let Some(used_up) = self.keys.get_mut(&key) {
                *used_up = used_up.saturating_sub(rate(&key).every);
            }
        }
        if let Some(nick) = right.nick {
            let owner = (nick, right.origin);
            self.owners.retain(|known| *known != owner);
            let mut same = self.owners.iter().enumerate();
            let oldest = same.find(|(_, (of, _))| *of == owner.0).map(|(at, _)| at);
            let count = self.owners.iter().filter(|(of, _)| *of == owner.0).count();
            if let Some(oldest) = oldest.filter(|_| count >= ADDRESSES_OF_OWNER_MAX) {
                self.owners.remove(oldest);
            }
            if self.owners.len() >= OWNERS_MAX {
                self.owners.pop_front();
            }
            self.owners.push_back(owner);
        }
    }

    /// If all keys are in use, drops the keys whose allowance is full again.
    fn forget(&mut self, now: Duration) {
        if self.keys.len() >= KEYS_MAX {
            self.keys.retain(|_, used_up| *used_up > now);
        }
    }
}

fn rate(key: &Key) -> Rate {
    match key {
        Key::Address(_) | Key::Hooks(_) | Key::Rest => ADDRESS,
        Key::Nick(_) | Key::Owner(..) => NICK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("it is an address")
    }

    /// Makes `count` wrong attempts, and returns how many of them were checked.
    fn guess(guesses: &mut Guesses, from: impl Fn(u32) -> IpAddr, nick: &str, count: u32) -> u32 {
        let tries = (0..count).filter_map(|n| guesses.start(from(n), Some(nick), START));
        u32::try_from(tries.count()).expect("it is small")
    }

    #[test]
    fn an_address_is_slowed_and_others_are_not() {
        let mut guesses = Guesses::default();
        let home = ip("192.0.2.1");
        assert_eq!(guess(&mut guesses, |_| home, "ann", 100), ADDRESS.burst);
        assert_eq!(
            guess(&mut guesses, |_| home, "bob", 1),
            0,
            "nor for another nick"
        );
        assert_eq!(guess(&mut guesses, |_| ip("192.0.2.2"), "ann", 1), 1);
        let later = START + ADDRESS.every - WAIT_MAX;
        let one = guesses.start(home, Some("ann"), later).expect("one more");
        assert_eq!(one.wait, WAIT_MAX);
        assert!(guesses.start(home, Some("ann"), later).is_none());
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let mut guesses = Guesses::default();
        let from = |n| ip(&format!("2001:db8:0:1::{n:x}"));
        assert_eq!(guess(&mut guesses, from, "ann", 100), ADDRESS.burst);
        assert_eq!(guess(&mut guesses, |_| ip("2001:db8:0:2::1"), "ann", 1), 1);
        assert_eq!(address_prefix(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }

    #[test]
    fn a_nick_is_slowed_from_everywhere_but_its_owners_earlier_address() {
        let mut guesses = Guesses::default();
        let home = ip("192.0.2.1");
        let right = guesses.start(home, Some("ann"), START).expect("the first");
        guesses.succeeded(right);
        let world = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        assert_eq!(guess(&mut guesses, world, "ann", 1000), NICK.burst);
        assert_eq!(guess(&mut guesses, world, "bob", 1), 1);
        let owner = guesses
            .start(home, Some("ann"), START)
            .expect("he is known there");
        assert_eq!(owner.wait, Duration::ZERO);
    }

    #[test]
    fn an_owner_is_not_locked_out_by_guesses_at_an_address_used_before() {
        let mut guesses = Guesses::default();
        let office = ip("192.0.2.1");
        let right = guesses.start(office, Some("ann"), START);
        guesses.succeeded(right.expect("the first"));
        assert_eq!(guess(&mut guesses, |_| office, "bob", 100), ADDRESS.burst);
        let world = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        guess(&mut guesses, world, "ann", KEYS_MAX as u32);
        let owner = guesses.start(office, Some("ann"), START);
        let owner = owner.expect("others have guessed, and not at this");
        assert_eq!(owner.wait, Duration::ZERO);
        guesses.succeeded(owner);
        // Guesses at ann's own nick from that address are bounded too.
        assert_eq!(guess(&mut guesses, |_| office, "ann", 1000), NICK.burst);
    }

    #[test]
    fn one_nick_does_not_make_the_server_forget_the_addresses_of_others() {
        let mut guesses = Guesses::default();
        let home = ip("192.0.2.1");
        let right = guesses.start(home, Some("ann"), START).expect("the first");
        guesses.succeeded(right);
        for n in 0..OWNERS_MAX as u32 {
            let from = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
            let right = guesses.start(from, Some("eve"), START).expect("its first");
            guesses.succeeded(right);
        }
        assert_eq!(guesses.owners.len(), 1 + ADDRESSES_OF_OWNER_MAX);
        assert_eq!(guesses.owners[0].1, home);
    }

    #[test]
    fn a_right_password_does_not_count_as_a_guess() {
        let mut guesses = Guesses::default();
        for _ in 0..1000 {
            let right = guesses
                .start(ip("192.0.2.1"), Some("ann"), START)
                .expect("each");
            guesses.succeeded(right);
        }
        assert_eq!(guesses.owners.len(), 1);
    }

    #[test]
    fn wrong_hooks_are_counted_and_do_not_slow_passwords() {
        let mut guesses = Guesses::default();
        let home = ip("192.0.2.1");
        let allowed = (0..100).filter(|_| guesses.wrong_hook(home, START));
        assert_eq!(allowed.count(), ADDRESS.burst as usize);
        assert!(guesses.wrong_hook(ip("192.0.2.2"), START));
        assert_eq!(guess(&mut guesses, |_| home, "ann", 1), 1);
        assert!(guesses.wrong_hook(home, START + ADDRESS.every));
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let mut guesses = Guesses::default();
        for n in 0..KEYS_MAX as u32 + 100 {
            let _ = guesses.start(IpAddr::from((0x0a00_0000 + n).to_be_bytes()), None, START);
        }
        assert_eq!(guesses.keys.len(), KEYS_MAX + 1);
        let _ = guesses.start(ip("192.0.2.1"), None, START + ADDRESS.every * 1000);
        assert_eq!(guesses.keys.len(), 1);
    }
}
