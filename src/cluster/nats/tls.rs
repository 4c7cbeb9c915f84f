//! TLS with a NATS server, which begins after the first line of the server.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use async_io::Async;
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::error::Lost;

/// Starts TLS with servers, and knows whose certificates are trusted.
#[derive(Clone, Debug)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Uses the settings of a TLS client.
    pub fn new(config: ClientConfig) -> Self {
        Self(Arc::new(config))
    }

    /// Starts TLS on a connection with the server `host`.
    pub(super) async fn start(
        &self,
        stream: Async<TcpStream>,
        host: &str,
    ) -> Result<TlsStream<Async<TcpStream>>, Lost> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connector = TlsConnector::from(self.0.clone());
        connector.connect(name, stream).await.map_err(|e| {
            let cause = e.get_ref();
            match cause.and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::InvalidCertificate(why)) => Lost::Untrusted(why.to_string()),
                _ => Lost::Io(e),
            }
        })
    }
}
