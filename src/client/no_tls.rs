//! Replaces the module `tls` in a build without that feature. It uses plain text, and returns an error if TLS is
//! required.

use std::io;
use std::net::IpAddr;

use super::address::{Address, Security};
use super::addresses::Addresses;
use super::connection::{Receiver, Sender};
use super::error::Error;
use super::tcp::Tcp;

/// The outcome of a TLS handshake, as in the module `tls`. This build makes no handshake.
pub(super) enum Secured {
    #[expect(dead_code, reason = "only a build with TLS can secure a connection")]
    Done(Sender, Receiver),
    #[expect(dead_code, reason = "only a build with TLS can ask the server")]
    NotSpoken,
}

/// A placeholder for the keys that a build with TLS trusts.
pub(super) struct TrustedKeys;

/// Returns the placeholder that is passed to [`secure`].
///
/// # Errors
/// None.
pub(super) async fn trusted_keys(_: &Address, _: &Addresses) -> Result<TrustedKeys, Error> {
    Ok(TrustedKeys)
}

/// Returns an error, because this build has no TLS.
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

/// Returns whether the address requires TLS.
pub(super) fn is_tried(address: &Address, _: IpAddr) -> bool {
    address.security() == Security::Tls
}
