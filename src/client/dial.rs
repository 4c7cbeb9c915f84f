//! Opens a connection: resolves the name, connects with TCP, and starts TLS if the address requires or allows it.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use futures_lite::{AsyncWriteExt, FutureExt};

use super::address::Address;
use super::addresses::Addresses;
use super::background;
use super::connection::{Receiver, Sender};
use super::error::Error;
use super::tcp::Tcp;
use super::tls::{self, Secured};

/// The time that one address may take to answer. A host that is switched off does not answer at all, and the
/// operating system would try for two minutes.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Opens a connection to the first server that can be reached, in the order of [`Addresses`]. Returns its address too.
///
/// # Errors
/// [`Error::Untrusted`], without trying further servers; [`Error::Connect`] of the last server that was tried.
pub(super) async fn open(addresses: &Addresses) -> Result<(Address, Sender, Receiver), Error> {
    let mut last = None;
    let order = addresses.order().into_iter();
    let mut places: VecDeque<_> = order.map(|index| (index, None)).collect();
    while let Some((index, servers)) = places.pop_front() {
        let Some(address) = addresses.get(index) else {
            continue;
        };
        let servers = match servers {
            Some(servers) => servers,
            None => match resolve(address).await {
                Ok(found) => {
                    let (servers, later) = addresses.split(index, found);
                    places.push_back((index, Some(later)));
                    servers
                }
                Err(source) => {
                    let address = address.clone();
                    last = Some(Error::Connect { address, source });
                    continue;
                }
            },
        };
        for server in servers {
            match open_one(address, server).await {
                Ok((sender, receiver)) => {
                    addresses.used(index, server);
                    return Ok((address.clone(), sender, receiver));
                }
                Err(error @ Error::Untrusted { .. }) => return Err(error),
                Err(error) => last = Some(error),
            }
        }
    }
    Err(last.unwrap_or_else(|| Error::Connect {
        address: addresses.first().clone(),
        source: io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
    }))
}

async fn open_one(address: &Address, server: SocketAddr) -> Result<(Sender, Receiver), Error> {
    let failed = |source| Error::Connect {
        address: address.clone(),
        source,
    };
    let trust = if tls::is_tried(address, server.ip()) {
        Some(tls::trusted_keys(address).await?)
    } else {
        None
    };
    let late = async {
        async_io::Timer::after(CONNECT_WITHIN).await;
        Err(io::Error::new(io::ErrorKind::TimedOut, "no answer"))
    };
    let stream = connect(server, address).or(late).await.map_err(failed)?;
    let Some(trust) = trust else {
        return Ok(plain(stream));
    };
    match secure(stream, address, trust).await? {
        Secured::Done(sender, receiver) => Ok((sender, receiver)),
        Secured::NotSpoken => Ok(plain(connect(server, address).await.map_err(failed)?)),
    }
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
