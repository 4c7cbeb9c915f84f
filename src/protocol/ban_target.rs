//! The target of a ban: a nick, an address, or a network.

use std::fmt;
use std::net::IpAddr;

use super::Nick;
use super::name::{BadName, Look};

/// The target of a ban: a nick, or a network of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "server", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "server", serde(into = "String", try_from = "String"))]
#[allow(missing_docs)]
pub enum BanTarget {
    Nick(Box<Look>),
    Network(Network),
}

/// A network: all addresses that begin with the same bits. A single address is a network in which all bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The first address of the network: the bits after the first `bits` are 0.
    first: IpAddr,
    bits: u8,
}

impl BanTarget {
    /// Parses a nick, an address such as `192.0.2.7`, or a network such as `192.0.2.0/24` or `2001:db8::/32`. No text
    /// is both a nick and an address.
    ///
    /// # Errors
    /// When the text is none of these. The error says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        match Network::parse(text) {
            Some(network) => Ok(Self::Network(network)),
            None => Nick::parse(text).map(|nick| Self::Nick(Box::new(Look::of(nick)))),
        }
    }

    /// Returns a key under which a ban is stored. Two bans with the same target have equal keys.
    pub fn key(&self) -> String {
        match self {
            Self::Nick(look) => look.nick().casefolded().to_owned(),
            Self::Network(network) => network.to_string(),
        }
    }
}

impl Network {
    /// Parses an address, alone or with a prefix length. The bits of the address after the prefix are ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        // With a prefix length, an IPv4 address inside IPv6 stays an IPv6 address, because the length counts the bits
        // of the IPv6 address.
        let address = match bits {
            None => address.to_canonical(),
            Some(_) => address,
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then(|| Self {
            first: masked(address, bits),
            bits,
        })
    }

    /// Returns whether the network contains `address`.
    pub fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.bits) == self.first
    }
}

/// Returns the address with all bits after the first `bits` set to 0.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    let bits = u32::from(bits);
    match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits));
            IpAddr::V4((ip.to_bits() & mask.unwrap_or(0)).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits));
            IpAddr::V6((ip.to_bits() & mask.unwrap_or(0)).into())
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.bits) {
            (IpAddr::V4(ip), 32) => write!(f, "{ip}"),
            (IpAddr::V6(ip), 128) => write!(f, "{ip}"),
            (ip, bits) => write!(f, "{ip}/{bits}"),
        }
    }
}

impl fmt::Display for BanTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nick(look) => write!(f, "{}", look.nick()),
            Self::Network(network) => write!(f, "{network}"),
        }
    }
}

impl From<BanTarget> for String {
    fn from(target: BanTarget) -> Self {
        target.to_string()
    }
}

impl TryFrom<String> for BanTarget {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, shown: &str, inside: &[&str], outside: &[&str]) {
        let network = Network::parse(text).expect("it is a network");
        assert_eq!(network.to_string(), shown);
        let holds = |ip: &&str| network.contains(ip.parse().expect("it is an address"));
        assert!(inside.iter().all(holds), "{text}");
        assert!(!outside.iter().any(holds), "{text}");
    }

    #[test]
    fn a_network_contains_the_addresses_with_its_prefix() {
        check(
            "192.0.2.7",
            "192.0.2.7",
            &["192.0.2.7", "::ffff:192.0.2.7"],
            &["192.0.2.8"],
        );
        check("::ffff:192.0.2.7", "192.0.2.7", &["192.0.2.7"], &["::1"]);
        check(
            "192.0.2.7/24",
            "192.0.2.0/24",
            &["192.0.2.0", "192.0.2.255"],
            &["192.0.3.0"],
        );
        check("0.0.0.0/0", "0.0.0.0/0", &["192.0.2.7"], &["::1"]);
        check(
            "2001:db8::1/32",
            "2001:db8::/32",
            &["2001:db8:1::1"],
            &["2001:db9::"],
        );
        check("::/0", "::/0", &["2001:db8::"], &["192.0.2.7"]);
        check("::1", "::1", &["::1"], &["::2"]);
    }

    #[test]
    fn a_nick_is_not_a_network() {
        for text in ["bob", "fe80", "a.b.c"] {
            assert!(
                matches!(BanTarget::parse(text), Ok(BanTarget::Nick(_))),
                "{text}"
            );
        }
        for text in [
            "192.0.2",
            "192.0.2.0/33",
            "::/129",
            "::/x",
            "1.2.3.4/",
            "bob/8",
            "",
        ] {
            assert!(BanTarget::parse(text).is_err(), "{text}");
        }
    }
}
