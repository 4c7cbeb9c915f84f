//! Listening sockets, and the addresses at which people reach them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, acceptfrom_with, bind as bind_socket, listen,
    socket_with, sockopt,
};

/// The maximum number of connections that the operating system queues until they are accepted. The system lowers this
/// to its own maximum (`net.core.somaxconn`, 4096 on Linux). It is large enough for a class whose members all connect
/// at once.
const BACKLOG: i32 = 4096;

/// Binds a socket to `addr`. An IPv6 address is for IPv6 only, so that both families can use the same port.
///
/// # Errors
/// Any error of the system, such as `address in use`.
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

/// Starts to listen on a socket that is bound, or was opened by a service manager.
///
/// # Errors
/// Any error of the system.
pub fn open(socket: &TcpListener) -> io::Result<()> {
    // Accepted connections inherit these options without a system call for each. A dead peer is detected after 60 + 3
    // * 10 s. TCP_USER_TIMEOUT is not set, because it would close the connection of a reader that has only paused.
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    sockopt::set_tcp_nodelay(socket, true)?;
    listen(socket, BACKLOG)?;
    Ok(())
}

/// Accepts a client from `socket`, which must be non-blocking. The returned stream is non-blocking too.
///
/// # Errors
/// `WouldBlock` when no client waits; or any error of the system.
pub fn accept(socket: &TcpListener) -> io::Result<(TcpStream, IpAddr)> {
    let (client, peer) = acceptfrom_with(socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    let peer = peer.ok_or(io::ErrorKind::NotConnected)?;
    // A dual-stack socket reports IPv4 addresses as IPv6.
    Ok((TcpStream::from(client), peer.ip().to_canonical()))
}

/// Returns the addresses that a socket listens on: one, or the unspecified address of each family.
pub fn addresses(socket: &TcpListener) -> Vec<SocketAddr> {
    let Ok(addr) = socket.local_addr() else {
        return Vec::new();
    };
    let is_both = addr.ip() == Ipv6Addr::UNSPECIFIED && sockopt::ipv6_v6only(socket) == Ok(false);
    let v4 = is_both.then_some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port())));
    v4.into_iter().chain([addr]).collect()
}

/// Returns the addresses at which a server that listens on `addr` is reached: its own, or all of the machine's,
/// loopback addresses last.
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

/// Returns whether an address is valid only together with an interface.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}
