//! The accounts, rooms and bans that every server holds in memory, and the type of a secret.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::RoomAcl;
use crate::protocol::ban_target::BanTarget;
use crate::protocol::name::ByLook;
use crate::protocol::{Digest, Nick, RoomName, Time};

/// The accounts, rooms, bans and hooks that every server holds in memory, without passwords and tokens.
#[derive(Debug, Default)]
pub struct Directory {
    /// The registered nicks, as they were spelled when they were registered.
    pub accounts: ByLook<Nick>,
    /// The bans, in the order in which they were made.
    pub bans: Vec<Ban>,
    /// The access lists of rooms.
    pub rooms: Vec<(RoomName, RoomAcl)>,
    /// The hooks of all nicks.
    pub hooks: Vec<Hook>,
    /// The browsers that are notified.
    pub subscriptions: Vec<Subscription>,
}

impl Directory {
    /// Adds a registered nick.
    pub fn add_account(&mut self, nick: &Nick) {
        self.remove_account(nick);
        self.accounts.insert(nick, nick.clone());
    }

    /// Removes a nick that was unregistered.
    pub fn remove_account(&mut self, nick: &Nick) {
        let own = self.accounts.get(nick).cloned();
        if let Some(own) = own.filter(|own| own.casefolded() == nick.casefolded()) {
            self.accounts.remove(&own, &own);
        }
    }

    /// Returns whether a person could mistake `nick` for another registered nick. Always false if `nick` is spelled
    /// exactly like a registered nick.
    pub fn looks_like_another(&self, nick: &Nick) -> bool {
        if self.accounts.get(nick) == Some(nick) {
            return false;
        }
        let mut others = self.accounts.candidates(nick);
        others.any(|other| other.casefolded() != nick.casefolded() && nick.looks_like(other))
    }
}

/// A hook: a token with which a tool can only send messages, to one room and under one nick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The nick that created the hook. The tool sends under this nick.
    pub nick: Nick,
    /// The name that the owner gave the hook.
    pub label: Nick,
    /// The room to which the tool sends.
    pub room: RoomName,
    /// The digest of the token.
    pub sha256: Digest,
    /// The time of creation.
    pub made: Time,
}

/// A browser that is notified while the page is closed (RFC 8030): of mentions of a nick, and of direct messages to the
/// nick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The nick.
    pub nick: Nick,
    /// The address of the browser at its push service.
    pub endpoint: Box<str>,
    /// The digest of `endpoint`, which identifies the browser.
    pub id: Digest,
    /// The browser's public key, an uncompressed point of P-256 (RFC 8291).
    pub key: Box<[u8]>,
    /// The secret that the browser shares with the server (RFC 8291).
    pub secret: [u8; 16],
    /// The nicks whose messages cause no notification.
    pub ignored: Box<[IgnoredNick]>,
    /// The time of the subscription.
    pub made: Time,
}

/// A nick that a browser ignores. To save memory, this is only the beginning of the digest of the casefolded nick.
pub type IgnoredNick = u64;

impl Subscription {
    /// Returns whether messages of the casefolded nick `author` cause no notification.
    pub fn ignores(&self, author: &str) -> bool {
        !self.ignored.is_empty() && self.ignored.contains(&ignored_nick(author))
    }
}

/// Returns the beginning of the digest of a casefolded nick; see [`IgnoredNick`].
pub fn ignored_nick(casefolded: &str) -> IgnoredNick {
    let digest: [u8; 32] = Sha256::digest(casefolded).into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// A ban of a nick or of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// The target of the ban.
    pub target: BanTarget,
    /// The operator who made the ban.
    pub by: String,
    /// The reason; may be empty.
    pub text: String,
    /// The end of the ban; `None` if the ban never ends.
    pub until: Option<Time>,
}

impl Ban {
    /// Returns the sentence that a banned user sees.
    pub fn sentence(&self) -> String {
        let until = self
            .until
            .map_or_else(String::new, |until| format!(" until {until}"));
        let text = if self.text.is_empty() { "" } else { ": " };
        format!("{} is banned{until}{text}{}", self.target, self.text)
    }
}

/// A password or a token. Its `Debug` output does not show the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a password as it was given.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the text, to be hashed or compared.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Returns the first address of the group to which `address` belongs. A group is an IPv4 address alone or an IPv6
/// network of 64 bits: what one customer usually has. Limits per address apply to groups.
pub fn address_prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}
