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
    let mut found: Vec<(u8, Found)> = Vec::new();
    while let Ok(event) = events.recv_timeout(end.saturating_duration_since(Instant::now())) {
        let ServiceEvent::ServiceResolved(service) = event else {
            continue;
        };
        let name = service.get_fullname().split("._plainchat").next();
        let name = crate::protocol::text::clean(name.unwrap_or_default()).into_owned();
        for ip in service.get_addresses() {
            let written = match ip.to_ip_addr() {
                IpAddr::V4(ip) => format!("{ip}:{}", service.get_port()),
                // A link-local one comes with the interface that it is on.
                IpAddr::V6(_) => format!("[{ip}]:{}", service.get_port()),
            };
            let Ok(address) = written.parse::<Address>() else {
                continue;
            };
            let found_here = (
                rank(ip.to_ip_addr()),
                Found {
                    address,
                    name: name.clone(),
                },
            );
            match found.iter_mut().find(|(_, known)| known.name == name) {
                Some(known) if known.0 > found_here.0 => *known = found_here,
                Some(_) => {}
                None => found.push(found_here),
            }
        }
    }
    // What it answers does not matter any more.
    let _ = daemon.shutdown();
    found.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    Ok(found.into_iter().map(|(_, found)| found).collect())
}

/// Which address of several is taken: the least. What people can read and every program can reach comes first.
fn rank(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(ip) => u8::from(ip.is_link_local()) + 3 * u8::from(ip.is_loopback()),
        IpAddr::V6(ip) if ip.is_loopback() => 4,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => 3,
        IpAddr::V6(_) => 2,
    }
}
