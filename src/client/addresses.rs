//! The addresses of one chat, and the choice of the server for the next connection.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::address::{Address, InvalidAddress};

/// The addresses of one chat: `HOST` or `HOST:PORT`, or several of them with commas between them.
///
/// A chat has several addresses if several servers share it. A name may stand for several servers too: then each of its
/// IP addresses is tried.
///
/// The first connection goes to the first server that can be reached, in the order given. Further connections go to the
/// same server. After a connection broke, the next one goes to the server after it, and so on; the first one follows
/// the last one. Clones know this of each other, so all connections of a program go to the same server.
///
/// `tls://` or `tcp://` before an address also applies to the addresses after it. Each server must have its own
/// certificate, or one that is valid for all: the client remembers a certificate for each host and port.
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
    fn new(all: Vec<Address>) -> Self {
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

    /// Records that a connection to the last server broke, or that this server cannot serve the client now.
    pub(crate) fn leave(&self) {
        self.place().is_left = true;
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
        if let Some(count) = place.counts.get_mut(index) {
            *count = servers.len().max(1);
        }
        let last = servers
            .iter()
            .position(|server| place.index == index && place.server == Some(*server));
        let begin = last.map_or(0, |last| last + usize::from(place.is_left));
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

impl From<Address> for Addresses {
    fn from(address: Address) -> Self {
        Self::new(vec![address])
    }
}

impl FromStr for Addresses {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let mut scheme = String::new();
        let mut all = Vec::new();
        for one in text.split(',').map(|one| one.trim_matches(' ')) {
            let address = match one.split_once("://") {
                Some((given, _)) => {
                    scheme = format!("{given}://");
                    one.parse()?
                }
                None => format!("{scheme}{one}").parse()?,
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
            "a:5002,tls://b:5002,tls://c:5002,tcp://d:5002,tcp://e:5002",
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
        clone.leave();
        assert_eq!(next(&addresses), [21, 30, 31, 10, 11, 20]);
        addresses.used(1, at(21));
        addresses.leave();
        assert_eq!(next(&addresses), [30, 31, 10, 11, 20, 21]);
        // The name has other servers now.
        addresses.used(2, at(99));
        addresses.leave();
        assert_eq!(next(&addresses), [30, 31, 10, 11, 20, 21]);
    }
}
