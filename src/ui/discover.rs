//! The chats whose servers announce themselves on the local network (DNS-SD, `_plainchat._tcp`).

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use mdns_sd::{ServiceDaemon, ServiceEvent};

use super::failure::Failure;
use crate::client::{Address, Addresses, Error};
use crate::protocol::{PORT, SERVICE};

/// The time to wait for answers. On a network without faults, they arrive within a second.
const LISTEN: Duration = Duration::from_millis(1500);

/// The time that a server on this machine may take to answer.
const HERE_WITHIN: Duration = Duration::from_secs(2);

/// The maximum number of servers of a chat.
const SERVERS_MAX: usize = 64;

/// A chat that was found, with all its servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What identifies the chat; `None` if its server shares the chat with no other.
    chat: Option<String>,
    /// The servers' addresses.
    addresses: Vec<Address>,
    /// The servers' names.
    names: Vec<String>,
}

impl Found {
    /// Returns the addresses of the servers.
    pub fn addresses(&self) -> Addresses {
        Addresses::new(self.addresses.clone())
    }

    /// Returns the names of the servers, with commas between them.
    pub fn names(&self) -> String {
        self.names.join(", ")
    }
}

/// Returns the server on this machine. If there is none, returns the servers of the only chat that is announced on the
/// local network.
///
/// # Errors
/// [`Error::Connect`] to this machine if there is no server at all; [`Failure::Several`] if several chats are announced.
pub fn nearest() -> Result<Addresses, Failure> {
    let here: Address = "localhost".parse().map_err(Error::from)?;
    let addresses = ("localhost", PORT).to_socket_addrs();
    let mut refused = std::io::Error::from(std::io::ErrorKind::NotFound);
    for address in addresses.into_iter().flatten() {
        match TcpStream::connect_timeout(&address, HERE_WITHIN) {
            Ok(_) => return Ok(here.into()),
            Err(error) => refused = error,
        }
    }
    let mut found = all().unwrap_or_default();
    match found.len() {
        0 => Err(Error::Connect {
            address: here,
            source: refused,
        }
        .into()),
        1 => Ok(found.remove(0).addresses()),
        _ => Err(Failure::Several(
            found
                .iter()
                .map(|chat| format!("{} ({})", chat.addresses(), chat.names()))
                .collect(),
        )),
    }
}

/// Returns every chat of which a server answers in time, sorted by the names of their first servers.
///
/// # Errors
/// [`Failure::Network`].
pub fn all() -> Result<Vec<Found>, Failure> {
    let failed = |error: mdns_sd::Error| Failure::Network(error.to_string());
    let daemon = ServiceDaemon::new().map_err(failed)?;
    let events = daemon.browse(SERVICE).map_err(failed)?;
    let end = Instant::now() + LISTEN;
    // Each server at its best address, by its name.
    let mut servers: BTreeMap<String, (u8, Address, Option<String>)> = BTreeMap::new();
    while let Ok(event) = events.recv_timeout(end.saturating_duration_since(Instant::now())) {
        let ServiceEvent::ServiceResolved(service) = event else {
            continue;
        };
        let name = service.get_fullname().split("._plainchat").next();
        let name = crate::protocol::text::clean(name.unwrap_or_default()).into_owned();
        let chat = service.get_property_val_str("cluster");
        let chat = chat.filter(|chat| !chat.is_empty()).map(str::to_owned);
        for ip in service.get_addresses() {
            let written = match ip.to_ip_addr() {
                IpAddr::V4(ip) => format!("{ip}:{}", service.get_port()),
                // A link-local address contains the interface.
                IpAddr::V6(_) => format!("[{ip}]:{}", service.get_port()),
            };
            let Ok(address) = written.parse::<Address>() else {
                continue;
            };
            let rank = rank(ip.to_ip_addr());
            if servers.get(&name).is_none_or(|known| rank < known.0) {
                servers.insert(name.clone(), (rank, address, chat.clone()));
            }
        }
    }
    // The answer to this is not needed.
    let _ = daemon.shutdown();
    Ok(chats(servers))
}

/// Returns the chats of servers, which are given by their names.
fn chats(servers: BTreeMap<String, (u8, Address, Option<String>)>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for (name, (_, address, chat)) in servers {
        match found
            .iter_mut()
            .find(|known| chat.is_some() && known.chat == chat)
        {
            // Anybody can announce servers, and each may cost the client some seconds.
            Some(known) if known.names.len() == SERVERS_MAX => {}
            Some(known) => {
                known.addresses.push(address);
                known.names.push(name);
            }
            None => found.push(Found {
                chat,
                addresses: vec![address],
                names: vec![name],
            }),
        }
    }
    found
}

/// Returns the rank of an address. If a server has several addresses, the address with the lowest rank is used: it
/// should be easy to read, and every program should be able to connect to it.
fn rank(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(ip) => u8::from(ip.is_link_local()) + 3 * u8::from(ip.is_loopback()),
        IpAddr::V6(ip) if ip.is_loopback() => 4,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => 3,
        IpAddr::V6(_) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_of_one_shared_chat_are_one_line() {
        let server = |name: &str, chat: Option<&str>| {
            let address = format!("{name}.example.org").parse().unwrap();
            (name.to_owned(), (0, address, chat.map(str::to_owned)))
        };
        let mut servers = BTreeMap::from([
            server("a", Some("1")),
            server("b", None),
            server("c", None),
            server("d", Some("2")),
            server("e", Some("1")),
        ]);
        let names = |servers| chats(servers).iter().map(Found::names).collect::<Vec<_>>();
        assert_eq!(names(servers.clone()), ["a, e", "b", "c", "d"]);
        servers.extend((0..100).map(|n| server(&format!("x{n}"), Some("2"))));
        assert_eq!(chats(servers)[3].addresses.len(), SERVERS_MAX);
    }
}
