//! The servers that announce themselves on the local network (DNS-SD, `_plainchat._tcp`).

use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use mdns_sd::{ServiceDaemon, ServiceEvent};

use super::Failure;
use crate::client::{Address, Error};
use crate::protocol::{PORT, SERVICE};

/// How long one listens: answers come within a second on a network that works.
const LISTEN: Duration = Duration::from_millis(1500);

/// How long a server on this machine may take to answer.
const HERE_WITHIN: Duration = Duration::from_secs(2);

/// A server that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// How it is reached.
    pub address: Address,
    /// What it calls itself.
    pub name: String,
}

/// The server on this machine; when there is none, the only one that announces itself.
///
/// # Errors
/// [`Error::Connect`] to this machine when there is none at all; [`Failure::Several`].
pub fn nearest() -> Result<Address, Failure> {
    let here: Address = "localhost".parse()?;
    let addresses = ("localhost", PORT).to_socket_addrs();
    let mut refused = std::io::Error::from(std::io::ErrorKind::NotFound);
    for address in addresses.into_iter().flatten() {
        match TcpStream::connect_timeout(&address, HERE_WITHIN) {
            Ok(_) => return Ok(here),
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
        1 => Ok(found.remove(0).address),
        _ => Err(Failure::Several(found)),
    }
}

/// Every server that answers in time, by name.
///
/// # Errors
/// [`Failure::Network`].
pub fn all() -> Result<Vec<Found>, Failure> {
    let failed = |error: mdns_sd::Error| Failure::Network(error.to_string());
    let daemon = ServiceDaemon::new().map_err(failed)?;
    let events = daemon.browse(SERVICE).map_err(failed)?;
    let end = Instant::now() + LISTEN;
    let mut found: Vec<Found> = Vec::new();
    while let Ok(event) = events.recv_timeout(end.saturating_duration_since(Instant::now())) {
        let ServiceEvent::ServiceResolved(service) = event else {
            continue;
        };
        // One that people can read and every machine can reach; a link-local one needs a scope.
        let mut addresses: Vec<IpAddr> = service
            .get_addresses()
            .iter()
            .map(|a| a.to_ip_addr())
            .collect();
        addresses.sort_by_key(|a| (a.is_loopback(), a.is_ipv6(), a.to_string()));
        let Some(ip) = addresses.first() else {
            continue;
        };
        let written = match ip {
            IpAddr::V4(ip) => format!("{ip}:{}", service.get_port()),
            IpAddr::V6(ip) => format!("[{ip}]:{}", service.get_port()),
        };
        let name = service
            .get_fullname()
            .split("._plainchat")
            .next()
            .unwrap_or_default();
        let name = crate::protocol::text::clean(name).into_owned();
        if let Ok(address) = written.parse()
            && !found.iter().any(|known| known.name == name)
        {
            found.push(Found { address, name });
        }
    }
    // What it answers does not matter any more.
    let _ = daemon.shutdown();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}
