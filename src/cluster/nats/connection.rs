//! A connection with a NATS server.

use std::future::Future;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};

use super::address::{Address, Login};
use super::codec::{Connect, Decoder, Frame, PING, PONG};
use super::error::Lost;
use super::handle::{Handle, Shared};

/// The maximum time until a connection is established and the server has admitted the client.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// The time between two `PING`s of this client. A server that has not answered when the next one is due is silent. So a
/// server that hangs is noticed within twice this time.
pub const PING_EVERY: Duration = Duration::from_secs(2);

/// If a `PING` is sent this late, this process was suspended or starved. Then the server gets more time to answer.
const LATE: Duration = Duration::from_secs(1);

/// The number of bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// The memory for bytes to be sent that is kept while there are none, in bytes.
const IDLE_BYTES: usize = 1 << 20;

/// A connection. It does something only while [`Self::run`] is polled.
#[derive(Debug)]
pub struct Connection {
    stream: Async<TcpStream>,
    decoder: Decoder,
    shared: Arc<Shared>,
}

/// Connects to a server. `name` is shown to the operators of the server. The names of hosts are resolved on a thread.
///
/// # Errors
/// When the server does not admit the client within [`CONNECT_WITHIN`].
pub async fn connect(address: &Address, name: &str) -> Result<(Handle, Connection), Lost> {
    let late = async {
        Timer::after(CONNECT_WITHIN).await;
        Err(Lost::Silent)
    };
    future::or(establish(address, name), late).await
}

async fn establish(address: &Address, name: &str) -> Result<(Handle, Connection), Lost> {
    let stream = open(address).await?;
    stream.get_ref().set_nodelay(true)?;
    let mut decoder = Decoder::default();
    let info = loop {
        match receive(&stream, &mut decoder).await? {
            Frame::Info(info) => break *info,
            Frame::Err(text) => return Err(Lost::Refused(text)),
            _ => {}
        }
    };
    if info.tls_required {
        return Err(Lost::NeedsTls);
    }
    let (user, pass, auth_token) = match &address.login {
        Login::Nothing => (None, None, None),
        Login::Token(token) => (None, None, Some(token.as_str())),
        Login::Password(user, password) => (Some(user.as_str()), Some(password.as_str()), None),
    };
    let connect = Connect {
        verbose: false,
        pedantic: false,
        headers: true,
        no_responders: true,
        lang: "rust",
        version: env!("CARGO_PKG_VERSION"),
        name,
        user,
        pass,
        auth_token,
    };
    let mut bytes = Vec::new();
    connect.encode(&mut bytes);
    bytes.extend_from_slice(PING);
    (&stream).write_all(&bytes).await?;
    loop {
        match receive(&stream, &mut decoder).await? {
            Frame::Pong => break,
            Frame::Err(text) => return Err(Lost::Refused(text)),
            Frame::Ping => (&stream).write_all(PONG).await?,
            _ => {}
        }
    }
    let shared = Shared::new(info, new_inbox()?);
    let connection = Connection {
        stream,
        decoder,
        shared: shared.clone(),
    };
    Ok((Handle::new(shared), connection))
}

/// Opens a connection to the first address of the host that accepts it.
async fn open(address: &Address) -> io::Result<Async<TcpStream>> {
    let mut error = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    let addresses = smol::net::resolve((address.host.as_str(), address.port)).await?;
    for address in addresses {
        match Async::<TcpStream>::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(e) => error = e,
        }
    }
    Err(error)
}

fn new_inbox() -> Result<String, Lost> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| Lost::Io(e.into()))?;
    Ok(format!("_INBOX.{:032x}", u128::from_ne_bytes(bytes)))
}

/// Receives the next frame while the connection is being established.
async fn receive(stream: &Async<TcpStream>, decoder: &mut Decoder) -> Result<Frame, Lost> {
    let mut buffer = [0; 1024];
    loop {
        if let Some(frame) = decoder.next_frame()? {
            return Ok(frame);
        }
        read(stream, &mut buffer, decoder).await?;
    }
}

async fn read(
    mut stream: &Async<TcpStream>,
    buffer: &mut [u8],
    decoder: &mut Decoder,
) -> Result<(), Lost> {
    match stream.read(buffer).await? {
        0 => Err(Lost::Closed),
        n => {
            decoder.push(&buffer[..n]);
            Ok(())
        }
    }
}

impl Connection {
    /// Carries the connection until it ends, and returns the reason. When the future is dropped, the connection ends
    /// too. Then all subscriptions end, and all requests fail.
    pub async fn run(mut self) -> Lost {
        let decoder = std::mem::take(&mut self.decoder);
        let has_pong = AtomicBool::new(true);
        let sends = end(self.send());
        let receives = end(self.receive(decoder, &has_pong));
        let watches = self.watch(&has_pong);
        future::or(receives, future::or(sends, watches)).await
    }

    async fn send(&self) -> Result<(), Lost> {
        let mut bytes = Vec::new();
        loop {
            self.shared.take_unsent(&mut bytes).await;
            (&self.stream).write_all(&bytes).await?;
            bytes.clear();
            bytes.shrink_to(IDLE_BYTES);
        }
    }

    async fn receive(&self, mut decoder: Decoder, has_pong: &AtomicBool) -> Result<(), Lost> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            while let Some(frame) = decoder.next_frame()? {
                match frame {
                    Frame::Message(message) => self.shared.deliver(message),
                    Frame::Ping => self.shared.send(PONG),
                    Frame::Pong => has_pong.store(true, Relaxed),
                    Frame::Err(text) if closes(&text) => return Err(Lost::Refused(text)),
                    Frame::Err(_) | Frame::Info(_) | Frame::Ok => {}
                }
            }
            // The server must not keep the other two futures waiting.
            future::yield_now().await;
            read(&self.stream, &mut buffer, &mut decoder).await?;
        }
    }

    async fn watch(&self, has_pong: &AtomicBool) -> Lost {
        loop {
            has_pong.store(false, Relaxed);
            self.shared.send(PING);
            loop {
                let due = Instant::now() + PING_EVERY;
                Timer::at(due).await;
                if has_pong.load(Relaxed) {
                    break;
                }
                if Instant::now() < due + LATE {
                    return Lost::Silent;
                }
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.close();
    }
}

async fn end(work: impl Future<Output = Result<(), Lost>>) -> Lost {
    match work.await {
        Ok(()) => Lost::Closed,
        Err(lost) => lost,
    }
}

/// Returns whether the server closes the connection after this error.
fn closes(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let stays = ["permissions violation", "invalid subject"];
    !stays.iter().any(|error| text.starts_with(error))
}
