//! Sockets that are set up before they are connected.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// Returns an unconnected TCP socket for IPv4, which is closed on exec. Another test may start a server at any time,
/// and if that server inherited the connection, the connection would not end when this test drops it.
pub fn unconnected() -> io::Result<OwnedFd> {
    let kind = SocketType::STREAM;
    Ok(socket_with(
        AddressFamily::INET,
        kind,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

#[test]
fn a_socket_is_not_inherited_by_a_server_that_is_started() {
    let flags = rustix::io::fcntl_getfd(unconnected().expect("a free descriptor"));
    let flags = flags.expect("an open descriptor");
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}
