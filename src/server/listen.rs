//! Sockets that wait for clients, and how a person reaches them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, acceptfrom_with, bind as bind_socket, listen,
    socket_with, sockopt,
};

/// Connections that the system holds until they are accepted. It lowers this to its own most
/// (`net.core.somaxconn`, 4096 on Linux): a class that joins at once is not turned away.
const BACKLOG: i32 = 4096;

/// Listens on `addr`, IPv6 addresses for IPv6 alone, so that both families can have the same port.
///
/// # Errors
/// The system's, as `address in use`.
pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let family = match addr {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    if addr.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind_socket(&socket, &addr)?;
    let socket = TcpListener::from(socket);
    open(&socket)?;
    Ok(socket)
}

/// Lets clients come to a socket that is bound, or has been opened by somebody else.
///
/// # Errors
/// The system's.
pub fn open(socket: &TcpListener) -> io::Result<()> {
    // What is set here, each accepted connection inherits, without a system call of its own.
    // A dead peer is found after 60 + 3 * 10 s. TCP_USER_TIMEOUT is not set: it ends a reader that has
    // merely stopped.
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    sockopt::set_tcp_nodelay(socket, true)?;
    listen(socket, BACKLOG)?;
    Ok(())
}

/// Takes in a client that waits at `socket`, which is not to block, and neither does what comes of it.
///
/// # Errors
/// `WouldBlock` when nobody waits; or the system's.
pub fn accept(socket: &TcpListener) -> io::Result<(TcpStream, IpAddr)> {
    let (client, peer) = acceptfrom_with(socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    let peer = peer.ok_or(io::ErrorKind::NotConnected)?;
    // A socket of both families tells IPv4 addresses as IPv6.
    Ok((TcpStream::from(client), peer.ip().to_canonical()))
}

/// Where a socket listens: one address, or all of both families.
pub fn addresses(socket: &TcpListener) -> Vec<SocketAddr> {
    let Ok(addr) = socket.local_addr() else {
        return Vec::new();
    };
    let is_both = addr.ip() == Ipv6Addr::UNSPECIFIED && sockopt::ipv6_v6only(socket) == Ok(false);
    let v4 = is_both.then_some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port())));
    v4.into_iter().chain([addr]).collect()
}

/// The addresses under which others reach a server that listens on `addr`: its own, or all of the
/// machine's, those that only this machine can use last.
pub fn reachable(addr: SocketAddr) -> Vec<IpAddr> {
    if !addr.ip().is_unspecified() {
        return vec![addr.ip()];
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut addresses: Vec<IpAddr> = interfaces
        .iter()
        .map(if_addrs::Interface::ip)
        .filter(|ip| ip.is_ipv4() == addr.is_ipv4() && !is_link_local(*ip))
        .collect();
    addresses.sort_by_key(|ip| ip.is_loopback());
    addresses
}

/// Whether an address means something only together with an interface.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}
