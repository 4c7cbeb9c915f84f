//! Stands in for `tls` in a build without the feature of that name: plain text, and an error where TLS was asked for.

use std::io;
use std::net::IpAddr;

use super::address::{Address, Security};
use super::connection::{Receiver, Sender};
use super::error::Error;
use super::tcp::Tcp;

/// Mirrors the outcome of a handshake in `tls`; this build makes none.
pub(super) enum Secured {
    #[expect(dead_code, reason = "only a build with TLS can secure a connection")]
    Done(Sender, Receiver),
    #[expect(dead_code, reason = "only a build with TLS can ask the server")]
    NotSpoken,
}

/// Stands in for the keys that a build with TLS trusts.
pub(super) struct TrustedKeys;

/// Returns the placeholder that [`secure`] takes.
///
/// # Errors
/// None.
pub(super) async fn trusted_keys(_: &Address) -> Result<TrustedKeys, Error> {
    Ok(TrustedKeys)
}

/// Refuses: this build has no TLS.
///
/// # Errors
/// [`Error::Connect`], always.
pub(super) async fn secure(_: Tcp, address: &Address, _: TrustedKeys) -> Result<Secured, Error> {
    Err(Error::Connect {
        address: address.clone(),
        source: io::Error::new(
            io::ErrorKind::Unsupported,
            "this program was built without TLS (feature `tls`)",
        ),
    })
}

/// Returns whether TLS was asked for by name.
pub(super) fn is_tried(address: &Address, _: IpAddr) -> bool {
    address.security() == Security::Tls
}
