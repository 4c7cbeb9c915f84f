//! What a service manager hands over and wants to know (`sd_listen_fds`(3), `sd_notify`(3)).

use std::net::TcpListener;
use std::{env, io};

use listenfd::ListenFd;

/// The sockets that were opened for this process before it started: they outlive it, so whoever connects
/// while it restarts waits instead of being refused.
///
/// # Errors
/// When something other than a TCP socket that listens was handed over.
pub fn sockets() -> io::Result<Vec<TcpListener>> {
    let mut given = ListenFd::from_env();
    let mut sockets = Vec::new();
    for n in 0..given.len() {
        sockets.extend(given.take_tcp_listener(n)?);
    }
    Ok(sockets)
}

/// Tells the service manager, if there is one, how things are: `READY=1`, `STOPPING=1`.
///
/// One that cannot be told goes without: the chat is not for it.
pub(super) fn notify(state: &str) {
    #[cfg(target_os = "linux")]
    if let Some(path) = env::var_os("NOTIFY_SOCKET")
        && let Err(e) = send(&path, state)
    {
        tracing::debug!("cannot tell the service manager {state}: {e}");
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
    // It holds many before it makes anybody wait; a manager that has stopped must not stop the chat.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}
