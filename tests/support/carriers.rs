//! Clients over TLS and over WebSocket, with a deadline on every wait.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use super::run::{PATIENCE, Server, Taken};

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Ignores write errors of a closed connection. A server that has refused a request and closed the connection need
/// not read the rest, and its reply can still be read.
fn unless_gone(result: std::io::Result<()>) -> Result<(), String> {
    match result {
        Err(e) if matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(()),
        result => result.map_err(|e| format!("the server takes no bytes: {e}")),
    }
}

/// A server that is reached over TLS.
pub struct Tls {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    peers: Vec<StreamOwned<ClientConnection, TcpStream>>,
}

impl Tls {
    pub fn new(address: SocketAddr) -> Self {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        Self {
            address,
            config: Arc::new(config),
            peers: Vec::new(),
        }
    }
}

impl Server for Tls {
    fn open(&mut self) -> Result<usize, String> {
        let socket = connect(self.address).map_err(|e| format!("{}: {e}", self.address))?;
        let name = ServerName::IpAddress(self.address.ip().into());
        let connection = ClientConnection::new(self.config.clone(), name);
        let connection = connection.map_err(|e| e.to_string())?;
        self.peers.push(StreamOwned::new(connection, socket));
        Ok(self.peers.len() - 1)
    }

    fn push(&mut self, peer: usize, bytes: &[u8]) -> Result<(), String> {
        let peer = &mut self.peers[peer];
        // The handshake reads as well.
        let set = peer.sock.set_read_timeout(Some(PATIENCE));
        unless_gone(
            set.and_then(|()| peer.write_all(bytes))
                .and_then(|()| peer.flush()),
        )
    }

    fn half_close(&mut self, peer: usize) -> Result<(), String> {
        let peer = &mut self.peers[peer];
        peer.conn.send_close_notify();
        unless_gone(peer.flush())
    }

    fn abandon(&mut self, peer: usize) {
        let _ = self.peers[peer].sock.shutdown(Shutdown::Both);
    }

    fn take(&mut self, peer: usize, patience: Duration) -> Taken {
        let peer = &mut self.peers[peer];
        let patience = patience.max(Duration::from_millis(1));
        let mut bytes = vec![0; 64 * 1024];
        let read = peer
            .sock
            .set_read_timeout(Some(patience))
            .and_then(|()| peer.read(&mut bytes));
        match read {
            Ok(0) => Taken::Closed,
            Ok(n) => {
                bytes.truncate(n);
                Taken::Bytes(bytes)
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Taken::Nothing
            }
            Err(_) => Taken::Closed,
        }
    }
}

/// A verifier that accepts any certificate, because the server's identity does not matter here.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A WebSocket client that sends any frames, valid or not.
pub struct Frames {
    socket: TcpStream,
    /// Received bytes that are not a complete frame yet.
    unread: Vec<u8>,
}

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// The opcode (RFC 6455, 5.2): 1 for text, 2 for binary, 8 for close, 9 for ping, 10 for pong.
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Frames {
    /// Connects and performs the handshake.
    pub fn open(address: SocketAddr) -> std::io::Result<Self> {
        Self::open_at(address, "/ws")
    }

    /// Connects and performs the handshake for the request target `target`.
    pub fn open_at(address: SocketAddr, target: &str) -> std::io::Result<Self> {
        let mut socket = connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            socket.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        // RFC 6455, 1.3 gives the answer for that key.
        let is_agreed = head.starts_with("http/1.1 101 ")
            && head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n");
        if is_agreed {
            Ok(Self {
                socket,
                unread: Vec::new(),
            })
        } else {
            Err(std::io::Error::other(head))
        }
    }

    /// Sends bytes unchanged.
    pub fn raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Sends a frame. `first` is its first byte, which contains FIN and the opcode.
    pub fn send(&mut self, first: u8, payload: &[u8]) -> std::io::Result<()> {
        let frame = frame(first, payload);
        self.raw(&frame)
    }

    /// Returns the next frame; `None` at the end of the connection, or an error when nothing arrives in
    /// time.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Frame>, ErrorKind> {
        loop {
            if let Some((frame, length)) = parse(&self.unread) {
                self.unread.drain(..length);
                return Ok(Some(frame));
            }
            let mut bytes = vec![0; 64 * 1024];
            let patience = patience.max(Duration::from_millis(1));
            let read = self
                .socket
                .set_read_timeout(Some(patience))
                .and_then(|()| self.socket.read(&mut bytes));
            match read {
                Ok(0) => return Ok(None),
                Ok(n) => self.unread.extend_from_slice(&bytes[..n]),
                Err(e) => return Err(e.kind()),
            }
        }
    }
}

/// Returns a masked frame in the shortest form.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..=125 => bytes.push(0x80 | n as u8),
        n @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((n as u16).to_be_bytes());
        }
        n => {
            bytes.push(0x80 | 127);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    let masked = payload.iter().zip(mask.iter().cycle());
    bytes.extend(masked.map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Returns the first frame and its length in bytes, if the frame is complete. Frames from the server are not masked.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (first, short) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(first & 0xf0, 0x80, "a whole message, no reserved bits");
    let (length, start) = match short {
        126 => (
            u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?) as usize,
            4,
        ),
        127 => (
            u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize,
            10,
        ),
        n => {
            assert!(n < 126, "unmasked");
            (n as usize, 2)
        }
    };
    let payload = bytes.get(start..start + length)?.to_vec();
    let opcode = first & 0x0f;
    Some((Frame { opcode, payload }, start + length))
}

/// A server that is reached over WebSocket. Lines are sent in text messages, and the bytes of a file in binary ones.
pub struct WebSocket {
    address: SocketAddr,
    peers: Vec<Talker>,
}

struct Talker {
    frames: Frames,
    /// An incomplete line.
    half: Vec<u8>,
    /// The number of bytes of a file that are still to be sent. The inner `None` means all bytes up to the end.
    file: Option<Option<usize>>,
}

impl WebSocket {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            peers: Vec::new(),
        }
    }
}

impl Server for WebSocket {
    fn open(&mut self) -> Result<usize, String> {
        let frames = Frames::open(self.address).map_err(|e| format!("{}: {e}", self.address))?;
        self.peers.push(Talker {
            frames,
            half: Vec::new(),
            file: None,
        });
        Ok(self.peers.len() - 1)
    }

    fn push(&mut self, peer: usize, bytes: &[u8]) -> Result<(), String> {
        let peer = &mut self.peers[peer];
        let mut rest = bytes;
        while !rest.is_empty() {
            if let Some(left) = peer.file {
                let count = left.map_or(rest.len(), |left| left.min(rest.len()));
                let (piece, after) = rest.split_at(count);
                unless_gone(peer.frames.send(0x82, piece))?;
                rest = after;
                peer.file = left
                    .map(|left| left - count)
                    .map(Some)
                    .filter(|left| *left != Some(0))
                    .or(left.is_none().then_some(None));
                continue;
            }
            let (first, after) = rest.split_at(1);
            rest = after;
            if first != b"\n" {
                peer.half.extend_from_slice(first);
                continue;
            }
            let line = std::mem::take(&mut peer.half);
            unless_gone(peer.frames.send(0x81, &line))?;
            peer.file = announced(&String::from_utf8_lossy(&line));
        }
        Ok(())
    }

    fn half_close(&mut self, peer: usize) -> Result<(), String> {
        let peer = &mut self.peers[peer];
        let half = std::mem::take(&mut peer.half);
        if !half.is_empty() {
            unless_gone(peer.frames.send(0x81, &half))?;
        }
        if peer.file == Some(None) {
            unless_gone(peer.frames.send(0x82, b""))?;
        }
        unless_gone(peer.frames.send(0x88, &1000_u16.to_be_bytes()))
    }

    fn abandon(&mut self, peer: usize) {
        let _ = self.peers[peer].frames.socket.shutdown(Shutdown::Both);
    }

    fn take(&mut self, peer: usize, patience: Duration) -> Taken {
        match self.peers[peer].frames.next(patience) {
            Ok(Some(Frame {
                opcode: 1,
                mut payload,
            })) => {
                payload.push(b'\n');
                Taken::Bytes(payload)
            }
            Ok(Some(Frame { opcode: 2, payload })) => Taken::Bytes(payload),
            Ok(_) => Taken::Closed,
            Err(ErrorKind::WouldBlock | ErrorKind::TimedOut) => Taken::Nothing,
            Err(_) => Taken::Closed,
        }
    }
}

/// Returns the number of bytes that follow a line. The inner `None` means all bytes up to the end.
fn announced(line: &str) -> Option<Option<usize>> {
    let mut words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    let is_tagged = words.first()?.starts_with('@');
    let verb = words.get(usize::from(is_tagged))?.trim_start_matches('/');
    let number = |length: &str| length.parse().ok().filter(|length| *length > 0).map(Some);
    if verb.eq_ignore_ascii_case("text") {
        return number(words.get(usize::from(is_tagged) + 1)?);
    }
    if !verb.eq_ignore_ascii_case("upload") {
        return None;
    }
    if words.last()?.starts_with('@') {
        words.pop();
    }
    if words.last()?.len() == 64 {
        words.pop();
    }
    match *words.last()? {
        "*" => Some(None),
        length => number(length),
    }
}
