//! Announces the server on the local network (DNS-SD, RFC 6763, over multicast DNS, RFC 6762), so that users need not
//! type an address.
//!
//! A server that only this machine can reach is not announced. The announcement runs on a thread of its own. If it
//! fails, the server works nevertheless.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};
use tracing::{info, warn};

use crate::protocol::{SERVICE, VERSION};

/// The maximum time for the goodbye message to the network.
const GOODBYE_WITHIN: Duration = Duration::from_millis(500);

/// An announcement. It is withdrawn when this is dropped.
pub struct Announcement {
    daemon: ServiceDaemon,
    name: String,
}

impl Announcement {
    /// Announces a server with `name` and `addresses`. If several servers share its chat, `chat` identifies the chat.
    pub fn begin(name: &str, addresses: &[SocketAddr], chat: Option<&str>) -> Option<Self> {
        let is_reached = |address: &&SocketAddr| !address.ip().is_loopback();
        let port = addresses.iter().find(is_reached)?.port();
        // An announcement contains only one port.
        let addresses = addresses.iter().filter(is_reached);
        let addresses = addresses.filter(|address| address.port() == port);
        let addresses: Vec<IpAddr> = addresses.map(SocketAddr::ip).collect();
        match announce(name, port, &addresses, chat) {
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

fn announce(
    name: &str,
    port: u16,
    addresses: &[IpAddr],
    chat: Option<&str>,
) -> Result<Announcement, mdns_sd::Error> {
    let daemon = ServiceDaemon::new()?;
    // On loopback, the announcement would contain 127.0.0.1. The server may not listen there, and no other machine
    // would receive the announcement.
    daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
    let host = format!("{name}.local.");
    let version = VERSION.to_string();
    let mut properties = vec![("version", &version[..])];
    properties.extend(chat.map(|chat| ("cluster", chat)));
    let (everywhere, fixed): (Vec<IpAddr>, Vec<_>) = addresses
        .iter()
        .partition(|address| address.is_unspecified());
    let mut service = ServiceInfo::new(SERVICE, name, &host, &fixed[..], port, &properties[..])?;
    if !everywhere.is_empty() {
        let family = |address: &IpAddr| match address {
            IpAddr::V4(_) => IfKind::IPv4,
            IpAddr::V6(_) => IfKind::IPv6,
        };
        service.set_interfaces(everywhere.iter().map(family).collect());
        // The daemon finds the machine's addresses, and updates them as they change.
        service = service.enable_addr_auto();
    }
    let name = service.get_fullname().to_owned();
    daemon.register(service)?;
    Ok(Announcement { daemon, name })
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // Without this, clients would list the server for minutes.
        if let Ok(gone) = self.daemon.unregister(&self.name) {
            let _ = gone.recv_timeout(GOODBYE_WITHIN);
        }
        let _ = self.daemon.shutdown();
    }
}
