//! Tells the local network that a server is here (DNS-SD, RFC 6763, over multicast DNS, RFC 6762), so that nobody has
//! to type an address.
//!
//! A server that only this machine reaches announces nothing. It works on a thread of its own, and one that cannot
//! announce serves all the same.

use std::net::SocketAddr;
use std::time::Duration;

use mdns_sd::{ServiceDaemon, ServiceInfo};
use tracing::{info, warn};

use crate::protocol::{SERVICE, VERSION};

/// How long the network may take to hear that the server is gone.
const GOODBYE_WITHIN: Duration = Duration::from_millis(500);

/// An announcement, for as long as it is held.
pub struct Announcement {
    daemon: ServiceDaemon,
    name: String,
}

impl Announcement {
    /// Announces a server that is called `name` and listens at `addresses`.
    pub fn begin(name: &str, addresses: &[SocketAddr]) -> Option<Self> {
        let port = addresses
            .iter()
            .find(|addr| !addr.ip().is_loopback())?
            .port();
        match announce(name, port) {
            Ok(announcement) => {
                info!("announced on the local network as {name}");
                Some(announcement)
            }
            Err(e) => {
                warn!("cannot be announced on the local network: {e}");
                None
            }
        }
    }
}

fn announce(name: &str, port: u16) -> Result<Announcement, mdns_sd::Error> {
    let daemon = ServiceDaemon::new()?;
    let host = format!("{name}.local.");
    let version = VERSION.to_string();
    // Its addresses are found out, and kept right as they change.
    let service = ServiceInfo::new(
        SERVICE,
        name,
        &host,
        "",
        port,
        &[("version", &version[..])][..],
    )?;
    let service = service.enable_addr_auto();
    let name = service.get_fullname().to_owned();
    daemon.register(service)?;
    Ok(Announcement { daemon, name })
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // So that clients do not list it for minutes more.
        if let Ok(gone) = self.daemon.unregister(&self.name) {
            let _ = gone.recv_timeout(GOODBYE_WITHIN);
        }
        let _ = self.daemon.shutdown();
    }
}
