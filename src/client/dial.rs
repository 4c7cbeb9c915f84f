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

type Halves = (Sender, Receiver);

/// A new connection, and the server that it leads to.
pub(super) struct Opened {
    pub(super) address: Address,
    pub(super) server: SocketAddr,
    pub(super) halves: Halves,
}

/// Why a server cannot be used.
enum Failed {
    /// It cannot be reached.
    Unreached(Error),
    /// It can be reached, but not securely. Somebody may be intercepting the connection.
    Insecure(Error),
}

/// Opens a connection to the first server that can be reached, in the order of [`Addresses`].
///
/// # Errors
/// [`Error::Untrusted`], without trying further servers. If no server can be used: the last [`Error::Connect`] that concerns
/// security, or else the last one.
pub(super) async fn open(addresses: &Addresses) -> Result<Opened, Error> {
    let (mut insecure, mut unreached) = (None, None);
    // The places of the addresses to resolve, and the servers that were found there.
    let order = addresses.order().into_iter();
    let mut queue: VecDeque<_> = order.map(|index| (index, None)).collect();
    while let Some((index, server)) = queue.pop_front() {
        let Some(address) = addresses.get(index) else {
            continue;
        };
        let Some(server) = server else {
            match resolve(address).await {
                Ok(found) => {
                    let (next, last) = addresses.split(index, found);
                    let at_index = |server| (index, Some(server));
                    next.into_iter()
                        .rev()
                        .for_each(|server| queue.push_front(at_index(server)));
                    queue.extend(last.into_iter().map(at_index));
                }
                Err(source) => unreached = Some(failed_at(address)(source)),
            }
            continue;
        };
        match attempt(addresses, address, server).await {
            Ok(halves) => {
                addresses.used(index, server);
                let address = address.clone();
                return Ok(Opened {
                    address,
                    server,
                    halves,
                });
            }
            Err(Failed::Insecure(error @ Error::Untrusted { .. })) => return Err(error),
            Err(Failed::Insecure(error)) => insecure = Some(error),
            Err(Failed::Unreached(error)) => unreached = Some(error),
        }
    }
    Err(insecure.or(unreached).unwrap_or_else(|| {
        let text = "the name has no address";
        failed_at(addresses.first())(io::Error::new(io::ErrorKind::NotFound, text))
    }))
}

/// Tries one server.
async fn attempt(
    addresses: &Addresses,
    address: &Address,
    server: SocketAddr,
) -> Result<Halves, Failed> {
    let reaches = async || reach(server, address).await.map_err(Failed::Unreached);
    if !tls::is_tried(address, server.ip()) {
        return Ok(plain(reaches().await?));
    }
    let trust = tls::trusted_keys(address, addresses).await;
    let trust = trust.map_err(Failed::Insecure)?;
    let secured = secure(reaches().await?, address, trust).await;
    match secured.map_err(Failed::Insecure)? {
        Secured::Done(sender, receiver) => Ok((sender, receiver)),
        Secured::NotSpoken => Ok(plain(reaches().await?)),
    }
}

fn failed_at(address: &Address) -> impl FnOnce(io::Error) -> Error {
    let address = address.clone();
    move |source| Error::Connect { address, source }
}

/// Connects with TCP.
async fn reach(server: SocketAddr, address: &Address) -> Result<Tcp, Error> {
    let late = async {
        async_io::Timer::after(CONNECT_WITHIN).await;
        Err(io::Error::new(io::ErrorKind::TimedOut, "no answer"))
    };
    let connected = connect(server, address).or(late).await;
    connected.map_err(failed_at(address))
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

fn plain(stream: Tcp) -> Halves {
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
