//! Opens a connection: resolves the name, connects with TCP, and starts TLS if the address requires or allows it.

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

/// Opens a connection to the first server that can be reached, in the order of [`Addresses`].
///
/// # Errors
/// [`Error::Untrusted`], without trying further servers. If no server can be used: the last [`Error::Connect`] that concerns
/// security, or else the last one.
pub(super) async fn open(addresses: &Addresses) -> Result<Opened, Error> {
    let mut failures = Failures::default();
    let mut last = Vec::new();
    for index in addresses.order() {
        let Some(address) = addresses.get(index) else {
            continue;
        };
        match resolve(address).await {
            Ok(found) => {
                let (servers, later) = addresses.split(index, found);
                last.extend(later.into_iter().map(|server| (index, server)));
                for server in servers {
                    if let Some(opened) = attempt(addresses, index, server, &mut failures).await? {
                        return Ok(opened);
                    }
                }
            }
            Err(source) => failures.unreached(Error::Connect {
                address: address.clone(),
                source,
            }),
        }
    }
    for (index, server) in last {
        if let Some(opened) = attempt(addresses, index, server, &mut failures).await? {
            return Ok(opened);
        }
    }
    Err(failures.into_error().unwrap_or_else(|| Error::Connect {
        address: addresses.first().clone(),
        source: io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
    }))
}

/// A new connection, and the server that it leads to.
pub(super) struct Opened {
    pub(super) address: Address,
    pub(super) server: SocketAddr,
    pub(super) halves: Halves,
}

/// The reasons why no server could be used.
#[derive(Default)]
struct Failures {
    /// The last error that concerns security. It is reported even if another server could not be reached later, because
    /// somebody may be intercepting the connection.
    insecure: Option<Error>,
    /// The last error of a server that could not be reached.
    unreached: Option<Error>,
}

impl Failures {
    fn unreached(&mut self, error: Error) {
        self.unreached = Some(error);
    }

    fn into_error(self) -> Option<Error> {
        self.insecure.or(self.unreached)
    }
}

/// Tries one server. Returns `None` if the next one is to be tried.
async fn attempt(
    addresses: &Addresses,
    index: usize,
    server: SocketAddr,
    failures: &mut Failures,
) -> Result<Option<Opened>, Error> {
    let Some(address) = addresses.get(index) else {
        return Ok(None);
    };
    let trust = if tls::is_tried(address, server.ip()) {
        match tls::trusted_keys(address, addresses).await {
            Ok(trust) => Some(trust),
            Err(error) => {
                failures.insecure = Some(error);
                return Ok(None);
            }
        }
    } else {
        None
    };
    let stream = match reach(server, address).await {
        Ok(stream) => stream,
        Err(error) => {
            failures.unreached(error);
            return Ok(None);
        }
    };
    let halves = match trust {
        None => plain(stream),
        Some(trust) => match secure(stream, address, trust).await {
            Ok(Secured::Done(sender, receiver)) => (sender, receiver),
            Ok(Secured::NotSpoken) => match reach(server, address).await {
                Ok(stream) => plain(stream),
                Err(error) => {
                    failures.unreached(error);
                    return Ok(None);
                }
            },
            Err(error @ Error::Untrusted { .. }) => return Err(error),
            Err(error) => {
                failures.insecure = Some(error);
                return Ok(None);
            }
        },
    };
    addresses.used(index, server);
    Ok(Some(Opened {
        address: address.clone(),
        server,
        halves,
    }))
}

/// Connects with TCP.
async fn reach(server: SocketAddr, address: &Address) -> Result<Tcp, Error> {
    let late = async {
        async_io::Timer::after(CONNECT_WITHIN).await;
        Err(io::Error::new(io::ErrorKind::TimedOut, "no answer"))
    };
    let connected = connect(server, address).or(late).await;
    connected.map_err(|source| Error::Connect {
        address: address.clone(),
        source,
    })
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
