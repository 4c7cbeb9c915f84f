//! The addresses of one chat, and the choice of the server for the next connection.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::address::{Address, InvalidAddress};

/// The addresses of one chat: `HOST` or `HOST:PORT`, or several of them with commas between them.
///
/// A chat has several addresses if several servers share it. A name may also stand for several servers. In that case, each
/// of its IP addresses is tried.
///
/// The first connection goes to the first server that can be reached, in the order given. Further connections go to the
/// same server. When a connection breaks, the next one goes to the server after it, or from the last server to the first.
/// Clones share this knowledge, so all connections of a program go to the same server.
///
/// `tls://` before an address also applies to the addresses after it; `tcp://` applies to one address. The client
/// remembers a certificate for each host and port. So the servers of a list may have different certificates, and the
/// servers behind one name must have the same one, unless an authority has signed theirs. All servers get the same
/// passwords.
///
/// ```
/// use plainchat::client::Addresses;
/// let addresses: Addresses = "tls://one.example.org,two.example.org:7000".parse().unwrap();
/// assert_eq!(addresses.first().host(), "one.example.org");
/// assert_eq!(addresses.to_string(), "tls://one.example.org:5002,tls://two.example.org:7000");
/// ```
#[derive(Clone, Debug)]
pub struct Addresses {
    all: Arc<[Address]>,
    place: Arc<Mutex<Place>>,
}

/// The server that was used last.
#[derive(Debug, Default)]
struct Place {
    /// The index of its address.
    index: usize,
    /// Its IP address and port; `None` before the first connection.
    server: Option<SocketAddr>,
    /// Whether its connection broke. If so, the next connection goes to the server after it.
    is_left: bool,
    /// The number of servers at each address, as far as it is known.
    counts: Vec<usize>,
}

impl Addresses {
    /// Creates a list of addresses, of which there must be at least one.
    pub(crate) fn new(all: Vec<Address>) -> Self {
        let counts = vec![1; all.len()];
        let place = Place {
            counts,
            ..Place::default()
        };
        Self {
            all: all.into(),
            place: Arc::new(Mutex::new(place)),
        }
    }

    /// Returns the first address.
    pub fn first(&self) -> &Address {
        // There is at least one.
        &self.all[0]
    }

    /// Returns the addresses, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &Address> {
        self.all.iter()
    }

    /// Returns the addresses for a client that sends passwords; see [`Address::with_secrets`].
    pub fn with_secrets(self) -> Self {
        self.map(Address::with_secrets)
    }

    /// Returns the addresses with the bytes that the client sends first on each connection.
    #[cfg(feature = "chatc")]
    pub(crate) fn with_preamble(self, preamble: &[u8]) -> Self {
        self.map(|address| address.with_preamble(preamble.to_vec()))
    }

    fn map(self, change: impl Fn(Address) -> Address) -> Self {
        Self {
            all: self.all.iter().cloned().map(change).collect(),
            ..self
        }
    }

    /// Returns the number of servers. A name counts as one until it has been resolved.
    pub(crate) fn servers(&self) -> usize {
        self.place().counts.iter().sum()
    }

    /// Returns the address of the server that was used last; the first address before the first connection.
    #[cfg(feature = "chatc")]
    pub(crate) fn in_use(&self) -> &Address {
        let index = self.place().index;
        self.get(index).unwrap_or(self.first())
    }

    /// Returns the server that was used last; `None` before the first connection.
    pub(super) fn server(&self) -> Option<SocketAddr> {
        self.place().server
    }

    /// Records that a connection to `server` broke, or that this server cannot serve the client now. If another one has
    /// been used since, that one is not left.
    pub(crate) fn leave(&self, server: SocketAddr) {
        let mut place = self.place();
        place.is_left |= place.server == Some(server);
    }

    /// Records that a connection to a server was made.
    pub(super) fn used(&self, index: usize, server: SocketAddr) {
        let mut place = self.place();
        place.index = index;
        place.server = Some(server);
        place.is_left = false;
    }

    /// Returns the indexes of the addresses in the order in which the next connection tries them.
    pub(super) fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.all.len()).collect();
        order.rotate_left(self.place().index);
        order
    }

    /// Records the servers of an address. Splits them at the point where the next connection begins: the servers in the
    /// second part come after those of all other addresses.
    pub(super) fn split(
        &self,
        index: usize,
        mut servers: Vec<SocketAddr>,
    ) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        let mut place = self.place();
        let mut seen = HashSet::new();
        servers.retain(|server| seen.insert(*server));
        let count = servers_at(&servers);
        if let Some(known) = place.counts.get_mut(index) {
            *known = count;
        }
        let last = servers
            .iter()
            .position(|server| place.index == index && place.server == Some(*server));
        let begin = match last {
            None => 0,
            Some(last) if !place.is_left => last,
            // Its other addresses belong to the same server.
            Some(_) if count == 1 => servers.len(),
            Some(last) => last + 1,
        };
        let later = servers.drain(..begin).collect();
        (servers, later)
    }

    pub(super) fn get(&self, index: usize) -> Option<&Address> {
        self.all.get(index)
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the number of servers that have these IP addresses. A server may have an IPv4 and an IPv6 address.
fn servers_at(addresses: &[SocketAddr]) -> usize {
    let v4 = addresses.iter().filter(|at| at.is_ipv4()).count();
    v4.max(addresses.len() - v4).max(1)
}

impl From<Address> for Addresses {
    fn from(address: Address) -> Self {
        Self::new(vec![address])
    }
}

impl FromStr for Addresses {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let mut is_tls = false;
        let mut all = Vec::new();
        for one in text.split(',').map(|one| one.trim_matches(' ')) {
            let address = match one.split_once("://") {
                Some((scheme, _)) => {
                    is_tls = scheme == "tls";
                    one.parse()?
                }
                None if is_tls => format!("tls://{one}").parse()?,
                None => one.parse()?,
            };
            all.push(address);
        }
        Ok(Self::new(all))
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, address) in self.all.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{address}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn check(text: &str, expected: &str) {
        let read = match text.parse::<Addresses>() {
            Ok(addresses) => addresses.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(read, expected, "of {text:?}");
    }

    #[test]
    fn several_addresses_are_separated_by_commas() {
        check("a", "a:5002");
        check("a,b:5003,[::1]:7000", "a:5002,b:5003,[::1]:7000");
        check("a, b", "a:5002,b:5002");
        check(
            "a,tls://b,c,tcp://d,e",
            "a:5002,tls://b:5002,tls://c:5002,tcp://d:5002,e:5002",
        );
        let invalid = |text| format!("invalid address {text:?}: write HOST or HOST:PORT");
        for bad in ["", "a,", ",a", "a,,b"] {
            check(bad, &invalid(""));
        }
        check("a,b c", &invalid("b c"));
        check("a,http://b", &invalid("http://b"));
        check("tls://a,", &invalid("tls://"));
    }

    /// Returns the servers in the order in which the next connection tries them. Each address has the two servers that
    /// its port and the next one stand for.
    fn next(addresses: &Addresses) -> Vec<u16> {
        let (mut order, mut last) = (Vec::new(), Vec::new());
        for index in addresses.order() {
            let port = addresses.get(index).unwrap().port();
            let (now, later) = addresses.split(index, vec![at(port), at(port + 1)]);
            order.extend(now);
            last.extend(later);
        }
        order.into_iter().chain(last).map(|at| at.port()).collect()
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn after_a_server_comes_the_next_one_of_its_name_and_then_of_the_list() {
        let addresses: Addresses = "a:10,b:20,c:30".parse().unwrap();
        assert_eq!(addresses.servers(), 3);
        assert_eq!(next(&addresses), [10, 11, 20, 21, 30, 31]);
        assert_eq!(addresses.servers(), 6);
        let clone = addresses.clone().with_secrets();
        addresses.used(1, at(20));
        assert_eq!(next(&clone), [20, 21, 30, 31, 10, 11]);
        clone.leave(at(20));
        assert_eq!(next(&addresses), [21, 30, 31, 10, 11, 20]);
        addresses.used(1, at(21));
        // The connection to this one broke late.
        addresses.leave(at(20));
        assert_eq!(next(&addresses), [21, 30, 31, 10, 11, 20]);
        addresses.leave(at(21));
        assert_eq!(next(&addresses), [30, 31, 10, 11, 20, 21]);
        // The name has other servers now.
        addresses.used(2, at(99));
        addresses.leave(at(99));
        assert_eq!(next(&addresses), [30, 31, 10, 11, 20, 21]);
    }

    #[test]
    fn the_addresses_of_one_host_are_one_server() {
        let both = [at(10), SocketAddr::from((Ipv6Addr::LOCALHOST, 10)), at(10)];
        let addresses: Addresses = "a:10,b:20".parse().unwrap();
        let split = || addresses.split(0, both.to_vec());
        assert_eq!(split(), (both[..2].to_vec(), vec![]));
        assert_eq!(addresses.servers(), 2);
        addresses.used(0, both[0]);
        assert_eq!(split(), (both[..2].to_vec(), vec![]));
        addresses.leave(both[0]);
        assert_eq!(split(), (vec![], both[..2].to_vec()));
        addresses.split(0, vec![at(10), at(11), both[1]]);
        assert_eq!(addresses.servers(), 3);
    }
}
