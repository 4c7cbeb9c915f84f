//! The interface to a service manager: the sockets that it passes (`sd_listen_fds`(3)), and the states that it wants
//! to know (`sd_notify`(3)).

use std::net::TcpListener;
use std::{env, io};

use listenfd::ListenFd;

/// Returns the listening sockets that were opened for this process before it started. They also outlive the process,
/// so a client that connects during a restart waits and is not refused.
///
/// # Errors
/// When something other than a listening TCP socket was passed.
pub fn sockets() -> io::Result<Vec<TcpListener>> {
    let mut given = ListenFd::from_env();
    let mut sockets = Vec::new();
    for n in 0..given.len() {
        sockets.extend(given.take_tcp_listener(n)?);
    }
    Ok(sockets)
}

/// Notifies the service manager, if there is one, of a state: `READY=1`, `STOPPING=1`.
///
/// Errors are ignored: the chat does not depend on the service manager.
pub(super) fn notify(state: &str) {
    #[cfg(target_os = "linux")]
    if let Some(path) = env::var_os("NOTIFY_SOCKET")
        && let Err(e) = send(&path, state)
    {
        tracing::debug!("cannot notify the service manager of {state}: {e}");
    }
}

#[cfg(target_os = "linux")]
fn send(path: &std::ffi::OsStr, state: &str) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    // The socket buffers many messages before sending blocks. Even a stopped service manager must not block the chat.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}
