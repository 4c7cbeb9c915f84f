//! The servers that announce themselves on the local network (DNS-SD, `_plainchat._tcp`).

use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use mdns_sd::{ServiceDaemon, ServiceEvent};

use super::failure::Failure;
use crate::client::{Address, Error};
use crate::protocol::{PORT, SERVICE};

/// The time to wait for answers. On a network without faults, they arrive within a second.
const LISTEN: Duration = Duration::from_millis(1500);

/// The time that a server on this machine may take to answer.
const HERE_WITHIN: Duration = Duration::from_secs(2);

/// A server that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The server's address.
    pub address: Address,
    /// The server's name.
    pub name: String,
}

/// Returns the server on this machine. If there is none, returns the only server that announces itself on the local
/// network.
///
/// # Errors
/// [`Error::Connect`] to this machine if there is no server at all; [`Failure::Several`] if several announce
/// themselves.
pub fn nearest() -> Result<Address, Failure> {
    let here: Address = "localhost".parse().map_err(Error::from)?;
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
        _ => Err(Failure::Several(
            found
                .iter()
                .map(|one| format!("{} ({})", one.address, one.name))
                .collect(),
        )),
    }
}

/// Returns every server that answers in time, sorted by name.
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
                // A link-local address contains the interface.
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
    // The answer to this is not needed.
    let _ = daemon.shutdown();
    found.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    Ok(found.into_iter().map(|(_, found)| found).collect())
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
