//! A connection with a NATS server.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use futures_lite::future;
use futures_lite::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};

use super::address::{Address, Login};
use super::codec::{Connect, Decoder, Frame, IDLE_BYTES, PING, PONG};
use super::error::{Lost, Malformed};
use super::handle::{Handle, Shared};
use super::tls::Tls;

/// The maximum time to resolve a name, and then for each address, until a connection is established and the server has
/// admitted the client.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// The time between two `PING`s of this client. A server that has not answered when the next one is due is silent. So a
/// server that hangs is noticed within twice this time.
pub const PING_EVERY: Duration = Duration::from_secs(2);

/// If a `PING` is sent this late, this process was suspended or starved. Then the server gets more time to answer.
const LATE: Duration = Duration::from_secs(1);

/// The number of bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A connection. It does something only while [`Self::run`] is polled.
pub struct Connection {
    reader: Reader,
    writer: Writer,
    decoder: Decoder,
    shared: Closes,
}

/// When dropped, closes what a connection shares with its handles.
struct Closes(Arc<Shared>);

/// Connects to the first address of the server's host that admits the client. `name` is shown to the operators of the
/// server. The names of hosts are resolved on a thread. `tls` is needed for an address with `tls://`.
///
/// # Errors
/// When no address admits the client, each within [`CONNECT_WITHIN`].
pub async fn connect(
    address: &Address,
    name: &str,
    tls: Option<&Tls>,
) -> Result<(Handle, Connection), Lost> {
    let host = (address.host.as_str(), address.port);
    let found = within(async { Ok(smol::net::resolve(host).await?) }).await?;
    let nowhere = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    let mut lost = Lost::Io(nowhere);
    for at in found {
        match within(establish(at, address, name, tls)).await {
            Ok(connected) => return Ok(connected),
            Err(error) => lost = error,
        }
    }
    Err(lost)
}

async fn within<T>(work: impl Future<Output = Result<T, Lost>>) -> Result<T, Lost> {
    let late = async {
        Timer::after(CONNECT_WITHIN).await;
        Err(Lost::Silent)
    };
    future::or(work, late).await
}

async fn establish(
    at: SocketAddr,
    address: &Address,
    name: &str,
    tls: Option<&Tls>,
) -> Result<(Handle, Connection), Lost> {
    let stream = Async::<TcpStream>::connect(at).await?;
    stream.get_ref().set_nodelay(true)?;
    let mut decoder = Decoder::default();
    let info = loop {
        match receive(&mut &stream, &mut decoder).await? {
            Frame::Info(info) => break *info,
            Frame::Err(text) => return Err(Lost::Refused(text)),
            _ => {}
        }
    };
    let (mut reader, mut writer): (Reader, Writer) = if address.is_tls {
        let tls = tls.filter(|_| info.tls_required || info.tls_available);
        let tls = tls.ok_or(Lost::NoTls)?;
        if !decoder.is_empty() {
            // These bytes would count as encrypted, and anybody may have added them.
            return Err(Malformed::Wrong("INFO before TLS").into());
        }
        let (reader, writer) = split(tls.start(stream, &address.host).await?);
        (Box::new(reader), Box::new(writer))
    } else if info.tls_required {
        return Err(Lost::NeedsTls);
    } else {
        let stream = smol::net::TcpStream::from(stream);
        (Box::new(stream.clone()), Box::new(stream))
    };
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
    write(&mut writer, &bytes).await?;
    loop {
        match receive(&mut reader, &mut decoder).await? {
            Frame::Pong => break,
            Frame::Err(text) => return Err(Lost::Refused(text)),
            Frame::Ping => write(&mut writer, PONG).await?,
            _ => {}
        }
    }
    let shared = Shared::new(info, new_inbox()?);
    let connection = Connection {
        reader,
        writer,
        decoder,
        shared: Closes(shared.clone()),
    };
    Ok((Handle::new(shared), connection))
}

fn new_inbox() -> Result<String, Lost> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| Lost::Io(e.into()))?;
    Ok(format!("_INBOX.{:032x}", u128::from_ne_bytes(bytes)))
}

/// Receives the next frame while the connection is being established.
async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    decoder: &mut Decoder,
) -> Result<Frame, Lost> {
    let mut buffer = [0; 1024];
    loop {
        if let Some(frame) = decoder.next_frame()? {
            return Ok(frame);
        }
        read(stream, &mut buffer, decoder).await?;
    }
}

async fn write(stream: &mut Writer, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

async fn read(
    stream: &mut (impl AsyncRead + Unpin),
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
    pub async fn run(self) -> Lost {
        let Self {
            mut reader,
            mut writer,
            decoder,
            shared,
        } = self;
        let Closes(shared) = &shared;
        let has_pong = AtomicBool::new(true);
        let sends = end(send_all(shared, &mut writer));
        let receives = end(receive_all(shared, &mut reader, decoder, &has_pong));
        let watches = watch(shared, &has_pong);
        future::or(receives, future::or(sends, watches)).await
    }
}

async fn send_all(shared: &Shared, writer: &mut Writer) -> Result<Infallible, Lost> {
    let mut bytes = Vec::new();
    loop {
        shared.take_unsent(&mut bytes).await;
        write(writer, &bytes).await?;
        bytes.clear();
        bytes.shrink_to(IDLE_BYTES);
    }
}

async fn receive_all(
    shared: &Shared,
    reader: &mut Reader,
    mut decoder: Decoder,
    has_pong: &AtomicBool,
) -> Result<Infallible, Lost> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        while let Some(frame) = decoder.next_frame()? {
            match frame {
                Frame::Message(message) => shared.deliver(message),
                Frame::Ping => shared.send(PONG),
                Frame::Pong => has_pong.store(true, Relaxed),
                Frame::Err(text) if closes(&text) => return Err(Lost::Refused(text)),
                Frame::Err(_) | Frame::Info(_) | Frame::Ok => {}
            }
        }
        // The server must not keep the other two futures waiting.
        future::yield_now().await;
        read(reader, &mut buffer, &mut decoder).await?;
    }
}

async fn watch(shared: &Shared, has_pong: &AtomicBool) -> Lost {
    loop {
        has_pong.store(false, Relaxed);
        shared.send(PING);
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

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn end(work: impl Future<Output = Result<Infallible, Lost>>) -> Lost {
    let Err(lost) = work.await;
    lost
}

/// Returns whether the server closes the connection after this error.
fn closes(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let stays = ["permissions violation", "invalid subject"];
    !stays.iter().any(|error| text.starts_with(error))
}
