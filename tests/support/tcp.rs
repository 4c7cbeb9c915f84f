//! Clients on TCP, with a deadline on every wait.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use super::run::{PATIENCE, Server, Taken};

/// A server at an address, and the connections to it.
pub struct Tcp {
    /// The servers. Several servers share a chat, and the peers connect to them in turn.
    addresses: Vec<SocketAddr>,
    /// The last number of the clients' address, if the server is on this machine.
    origin: u8,
    peers: Vec<TcpStream>,
}

/// Connects to a server. Connects to 127.0.0.1 from 127.0.0.`origin`, if this machine has that address.
fn reach(address: SocketAddr, origin: u8) -> std::io::Result<TcpStream> {
    if address.ip() != Ipv4Addr::LOCALHOST {
        return TcpStream::connect_timeout(&address, PATIENCE);
    }
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    let client = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    let origin = Ipv4Addr::new(127, 0, 0, origin);
    let _ = bind(&client, &SocketAddr::from((origin, 0)));
    connect(&client, &address)?;
    Ok(client.into())
}

impl Tcp {
    pub fn new(address: SocketAddr) -> Self {
        Self::to_each_of(&[address])
    }

    /// Connects the peers to these servers in turn.
    pub fn to_each_of(addresses: &[SocketAddr]) -> Self {
        // Each play has another address, so that all plays together do not register more nicks than a server lets one
        // address register.
        static PLAYS: AtomicU8 = AtomicU8::new(0);
        Self {
            addresses: addresses.to_vec(),
            origin: 2 + PLAYS.fetch_add(1, Ordering::Relaxed) % 200,
            peers: Vec::new(),
        }
    }
}

impl Server for Tcp {
    fn open(&mut self) -> Result<usize, String> {
        let address = self.addresses[self.peers.len() % self.addresses.len()];
        let connect = || {
            let peer = reach(address, self.origin)?;
            // Each write must be sent unchanged, so that bytes sent one by one arrive one by one.
            peer.set_nodelay(true)?;
            peer.set_write_timeout(Some(PATIENCE))?;
            Ok(peer)
        };
        let peer = connect().map_err(|e: std::io::Error| format!("{address}: {e}"))?;
        self.peers.push(peer);
        Ok(self.peers.len() - 1)
    }

    fn push(&mut self, peer: usize, bytes: &[u8]) -> Result<(), String> {
        match self.peers[peer].write_all(bytes) {
            // A server that has refused and closed need not read the rest; its reply can still be read.
            Err(e) if matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                Ok(())
            }
            result => result.map_err(|e| format!("the server takes no bytes: {e}")),
        }
    }

    fn half_close(&mut self, peer: usize) -> Result<(), String> {
        self.peers[peer]
            .shutdown(Shutdown::Write)
            .map_err(|e| e.to_string())
    }

    fn abandon(&mut self, peer: usize) {
        let _ = self.peers[peer].shutdown(Shutdown::Both);
    }

    fn take(&mut self, peer: usize, patience: Duration) -> Taken {
        let mut peer = &self.peers[peer];
        let patience = patience.max(Duration::from_millis(1));
        let mut bytes = vec![0; 64 * 1024];
        let read = peer
            .set_read_timeout(Some(patience))
            .and_then(|()| peer.read(&mut bytes));
        match read {
            Ok(0) => Taken::Closed,
            Ok(n) => {
                bytes.truncate(n);
                Taken::Bytes(bytes)
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Taken::Nothing
            }
            Err(_) => Taken::Closed,
        }
    }
}
