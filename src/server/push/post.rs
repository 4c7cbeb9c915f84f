//! Sends one request to a push service (RFC 8030), over TLS with a certificate that the system trusts. Follows no redirect.

use std::io;
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use async_io::{Async, Timer};
use bytes::Bytes;
use futures_lite::future;
use futures_rustls::TlsConnector;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};
use rustls::pki_types::ServerName;
use smol_hyper::rt::FuturesIo;

use crate::config::fixed::PUSH_WITHIN;
use crate::config::push::Endpoint;
use crate::transport;

/// How long a push service keeps a notification for a browser that it cannot reach, in seconds.
const KEPT_S: &str = "86400";

/// The maximum size of the head of an answer in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// How long to wait after an answer that asks to wait but does not say how long. It is also the longest time to wait.
const WAIT: Duration = Duration::from_secs(60);
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// A request.
pub struct Push {
    /// The encrypted notification.
    pub body: Vec<u8>,
    /// The value of `Authorization`.
    pub authorization: String,
    /// The name of the conversation. A later notification of it replaces an earlier one that has not been delivered.
    pub topic: String,
}

/// The reason why a notification was not accepted.
#[derive(Debug)]
pub enum Failed {
    /// The browser no longer wants notifications.
    Gone,
    /// The push service wants no requests for this time.
    Later(Duration),
    /// Anything else.
    Other(String),
}

impl<E: std::error::Error> From<E> for Failed {
    fn from(e: E) -> Self {
        Self::Other(e.to_string())
    }
}

/// Returns what is needed to connect to push services. Reads the certificates that the system trusts.
///
/// # Errors
/// When there are none.
pub fn connector() -> io::Result<TlsConnector> {
    let mut config = transport::client_config(None)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}

/// Sends a request.
pub async fn post(tls: &TlsConnector, to: Endpoint<'_>, push: Push) -> Result<(), Failed> {
    let late = async {
        Timer::after(PUSH_WITHIN).await;
        Err(Failed::Other("no answer".into()))
    };
    let (status, retry_after) = future::or(exchange(tls, to, push), late).await?;
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(Failed::Gone),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Err(Failed::Later(retry_after.unwrap_or(WAIT).min(WAIT_MAX)))
        }
        status => Err(Failed::Other(format!("status {status}"))),
    }
}

async fn exchange(
    tls: &TlsConnector,
    to: Endpoint<'_>,
    push: Push,
) -> Result<(StatusCode, Option<Duration>), Failed> {
    let stream = connect(to).await?;
    let name = ServerName::try_from(to.host.to_owned())?;
    let stream = tls.connect(name, stream).await?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(to.path)
        .header(HOST, to.authority)
        .header(CONNECTION, "close")
        .header(AUTHORIZATION, push.authorization)
        .header(CONTENT_ENCODING, "aes128gcm")
        .header(CONTENT_TYPE, "application/octet-stream")
        .header("ttl", KEPT_S)
        .header("urgency", "high")
        .header("topic", push.topic)
        .body(Full::new(Bytes::from(push.body)))?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) = builder.handshake(FuturesIo::new(stream)).await?;
    let served = async {
        let _ = connection.await; // the request fails too
        future::pending().await
    };
    let reply = future::or(sender.send_request(request), served).await?;
    let retry_after = reply.headers().get(RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
    Ok((reply.status(), retry_after.map(Duration::from_secs)))
}

/// Connects to a push service. Uses only addresses on the Internet, unless the operator has named the service.
async fn connect(to: Endpoint<'_>) -> io::Result<Async<TcpStream>> {
    let (host, port) = (to.host.to_owned(), to.port);
    let found = smol::unblock(move || (host, port).to_socket_addrs()).await?;
    let usable = found.filter(|address| to.is_named || is_public(address.ip()));
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "it has no address on the Internet");
    for address in usable {
        match Async::<TcpStream>::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(e) => failed = e,
        }
    }
    Err(failed)
}

/// Returns whether an address is on the Internet, and not on this machine or a network around it.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            let is_near = ip.is_private() || ip.is_loopback() || ip.is_link_local() || is_shared;
            !is_near && a != 0 && a < 224
        }
        IpAddr::V6(ip) => ip.segments()[0] & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_and_of_networks_around_it_are_not_public() {
        let is_public = |address: &str| is_public(address.parse().expect("an address"));
        for near in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:10.1.2.3",
            "fe80::1",
            "fd00::1",
            "ff02::1",
        ] {
            assert!(!is_public(near), "{near}");
        }
        for far in ["142.250.74.202", "100.63.0.1", "2a00:1450:4001::200a"] {
            assert!(is_public(far), "{far}");
        }
    }
}
