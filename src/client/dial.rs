//! Opens a connection: resolves the name, connects with TCP, and starts TLS if the address requires or allows it.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use futures_lite::{AsyncWriteExt, FutureExt};

use super::address::Address;
use super::background;
use super::connection::{Receiver, Sender};
use super::error::Error;
use super::tcp::Tcp;
use super::tls::{self, Secured};

/// The time that one address may take to answer. A host that is switched off does not answer at all, and the
/// operating system would try for two minutes.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Opens a connection. Tries all addresses of the host's name in turn.
pub(super) async fn open(address: &Address) -> Result<(Sender, Receiver), Error> {
    let failed = |source| Error::Connect {
        address: address.clone(),
        source,
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for found in resolve(address).await.map_err(failed)? {
        let trust = if tls::is_tried(address, found.ip()) {
            Some(tls::trusted_keys(address).await?)
        } else {
            None
        };
        let late = async {
            async_io::Timer::after(CONNECT_WITHIN).await;
            Err(io::Error::new(io::ErrorKind::TimedOut, "no answer"))
        };
        let stream = match connect(found, address).or(late).await {
            Ok(stream) => stream,
            Err(error) => {
                last = error;
                continue;
            }
        };
        let Some(trust) = trust else {
            return Ok(plain(stream));
        };
        return match secure(stream, address, trust).await? {
            Secured::Done(sender, receiver) => Ok((sender, receiver)),
            Secured::NotSpoken => Ok(plain(connect(found, address).await.map_err(failed)?)),
        };
    }
    Err(failed(last))
}

async fn connect(to: SocketAddr, address: &Address) -> io::Result<Tcp> {
    let mut stream = Tcp::connect(to).await?;
    stream.write_all(address.preamble()).await?;
    Ok(stream)
}

async fn resolve(address: &Address) -> io::Result<Vec<SocketAddr>> {
    let (host, port) = (address.host().to_owned(), address.port());
    if let Ok(ip) = host.parse() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    background::run(move || Ok((&host[..], port).to_socket_addrs()?.collect())).await
}

fn plain(stream: Tcp) -> (Sender, Receiver) {
    (Sender::new(stream.clone()), Receiver::new(stream))
}

async fn secure(stream: Tcp, address: &Address, trust: tls::TrustedKeys) -> Result<Secured, Error> {
    let late = async {
        async_io::Timer::after(CONNECT_WITHIN).await;
        let source = io::Error::new(io::ErrorKind::TimedOut, "no answer to TLS");
        let address = address.clone();
        Err(Error::Connect { address, source })
    };
    tls::secure(stream, address, trust).or(late).await
}
