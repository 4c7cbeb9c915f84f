//! A client for tests: line by line, with a deadline for every step.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{bind, connect, sockopt};

/// The deadline of a step. It is far longer than the step takes, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A connection.
pub struct Peer {
    stream: TcpStream,
    input: BufReader<TcpStream>,
}

/// A downloaded file.
pub struct Fetched {
    /// The digest in its `DATA` line.
    pub sha256: String,
    pub bytes: Vec<u8>,
}

impl Peer {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::of(TcpStream::connect_timeout(&address, DEADLINE)?)
    }

    /// Connects from an address of this machine, such as 127.0.0.66.
    pub fn connect_from(from: IpAddr, address: SocketAddr) -> io::Result<Self> {
        let socket = super::socket::unconnected()?;
        bind(&socket, &SocketAddr::new(from, 0))?;
        connect(&socket, &address)?;
        Self::of(TcpStream::from(socket))
    }

    fn of(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        let input = BufReader::with_capacity(64 << 10, stream.try_clone()?);
        Ok(Self { stream, input })
    }

    /// Connects and takes a nick.
    pub fn named(address: SocketAddr, nick: &str) -> io::Result<Self> {
        let mut peer = Self::connect(address)?;
        peer.expect(&format!("NICK {nick}"), "OK NICK")?;
        Ok(peer)
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Returns a second handle of the connection, to write to while replies are read.
    pub fn writer(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }

    /// Closes the connection with a reset.
    pub fn reset(self) -> io::Result<()> {
        sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO))?;
        Ok(())
    }

    /// Returns everything up to the end of the connection, or its reset.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.input.read_to_end(&mut bytes) {
            Err(e) if e.kind() != io::ErrorKind::ConnectionReset => Err(e),
            _ => Ok(bytes),
        }
    }

    /// Closes the sending side.
    pub fn end(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Returns the next line without its line ending; the end of the connection is an error.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.input.read_line(&mut line)? == 0 || line.pop() != Some('\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }

    /// Returns the next byte; the end of the connection is an error.
    pub fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// Returns the next reply, skipping the events before it.
    pub fn reply(&mut self) -> io::Result<String> {
        loop {
            let line = self.line()?;
            if line.starts_with("OK ") || line.starts_with("ERR ") {
                return Ok(line);
            }
        }
    }

    /// Sends a request and returns the reply.
    pub fn ask(&mut self, request: &str) -> io::Result<String> {
        self.send(format!("{request}\n"))?;
        self.reply()
    }

    /// Sends a request, and fails if the reply does not begin with `start`.
    pub fn expect(&mut self, request: &str, start: &str) -> io::Result<String> {
        let reply = self.ask(request)?;
        if reply.starts_with(start) {
            Ok(reply)
        } else {
            Err(other(format!("{request}: {reply}, expected {start}")))
        }
    }

    /// Sends a request. Returns the lines before the reply, including live events, and the reply.
    pub fn list(&mut self, request: &str) -> io::Result<(Vec<String>, String)> {
        self.send(format!("{request}\n"))?;
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if line.starts_with("OK ") || line.starts_with("ERR ") {
                return Ok((lines, line));
            }
            lines.push(line);
        }
    }

    /// Uploads a file of known length and returns the reply.
    pub fn upload(&mut self, name: &str, bytes: &[u8], sha256: &str) -> io::Result<String> {
        let mut all = format!("UPLOAD {name} {} {sha256}\n", bytes.len()).into_bytes();
        all.extend_from_slice(bytes);
        self.send(all)?;
        self.reply()
    }

    /// Downloads a complete file; returns the reply if there is none.
    pub fn download(&mut self, id: u64) -> io::Result<Result<Fetched, String>> {
        self.send(format!("DOWNLOAD {id}\n"))?;
        loop {
            let line = self.line()?;
            if line.starts_with("ERR ") {
                return Ok(Err(line));
            }
            let Some(rest) = line.strip_prefix("DATA ") else {
                continue;
            };
            let words: Vec<&str> = rest.split(' ').collect();
            let [_, length, sha256, ..] = words[..] else {
                return Err(other(line));
            };
            let length = length.parse().map_err(|_| other(line.clone()))?;
            let sha256 = sha256.to_owned();
            let mut bytes = vec![0; length];
            self.input.read_exact(&mut bytes)?;
            let reply = self.reply()?;
            return if reply == format!("OK DOWNLOAD {id}") {
                Ok(Ok(Fetched { sha256, bytes }))
            } else {
                Err(other(reply))
            };
        }
    }

    /// Returns whether an error means that the server was too slow, rather than gone.
    pub fn is_late(e: &io::Error) -> bool {
        matches!(
            e.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        )
    }
}

/// Returns an error with this text.
pub fn other(text: impl Into<String>) -> io::Error {
    io::Error::other(text.into())
}

/// Returns the digest as `sha256sum` writes it.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
