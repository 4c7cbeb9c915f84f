//! Clients on TCP, with a deadline on every wait.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::run::{PATIENCE, Server, Taken};

/// A server at an address, and the connections to it.
pub struct Tcp {
    address: SocketAddr,
    peers: Vec<TcpStream>,
}

impl Tcp {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            peers: Vec::new(),
        }
    }
}

impl Server for Tcp {
    fn open(&mut self) -> Result<usize, String> {
        let connect = || {
            let peer = TcpStream::connect_timeout(&self.address, PATIENCE)?;
            // Each write must be sent unchanged, so that bytes sent one by one arrive one by one.
            peer.set_nodelay(true)?;
            peer.set_write_timeout(Some(PATIENCE))?;
            Ok(peer)
        };
        let peer = connect().map_err(|e: std::io::Error| format!("{}: {e}", self.address))?;
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
