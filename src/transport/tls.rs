//! The server's side of a socket with TLS 1.2 or 1.3 (RFC 5246, RFC 8446), and the settings with which the server is a
//! client of others.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::sync::Arc;

use super::stream::Chained;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection};

use super::{Socket, retry};

/// The maximum number of bytes that are encrypted before the socket accepts them: one record.
const OUT_BYTES_MAX: usize = 16 << 10;

/// Returns the settings of a TLS client that trusts the authorities whose certificates are in a file, in the format PEM;
/// without a file, it trusts those of the operating system.
///
/// # Errors
/// When the file cannot be read, or there are no authorities.
pub fn client_config(authorities: Option<&Path>) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let none = if let Some(path) = authorities {
        for certificate in CertificateDer::pem_file_iter(path).map_err(io::Error::other)? {
            let added = roots.add(certificate.map_err(io::Error::other)?);
            added.map_err(io::Error::other)?;
        }
        "the file contains no certificates"
    } else {
        // Certificates that cannot be parsed are left out.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        "this system trusts no certificate authorities; install ca-certificates"
    };
    if roots.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, none));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions();
    let config = config.map_err(io::Error::other)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// A socket and its TLS state.
pub struct Tls {
    socket: Socket,
    /// Bytes that were read before TLS was detected. Soon the vector is empty and takes no memory.
    first: Vec<u8>,
    cipher: ServerConnection,
    /// Whether the end of the socket's input has been read.
    has_ended: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Starts TLS on `socket`. `first` are the bytes that have been read from the socket already.
    ///
    /// # Errors
    /// When rustls rejects the configuration.
    pub fn new(
        socket: Socket,
        first: Vec<u8>,
        config: Arc<ServerConfig>,
    ) -> Result<Self, rustls::Error> {
        let mut cipher = ServerConnection::new(config)?;
        cipher.set_buffer_limit(Some(OUT_BYTES_MAX));
        Ok(Self {
            socket,
            first,
            cipher,
            has_ended: false,
        })
    }

    /// Returns whether the handshake is still going on.
    pub fn is_handshaking(&self) -> bool {
        self.cipher.is_handshaking()
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Reads decrypted bytes. Returns 0 at an end that the client has announced (RFC 8446, 6.1), and `UnexpectedEof`
    /// at any other end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.cipher.reader().read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            let mut source = Chained {
                first: &mut self.first,
                then: self.socket.get_ref(),
            };
            if retry(|| self.cipher.read_tls(&mut source))? == 0 {
                if self.has_ended {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.has_ended = true;
            }
            let state = self.cipher.process_new_packets();
            // This sends the next part of the handshake, or the alert that names the error.
            let sent = self.flush();
            state.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            match sent {
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(e),
                _ => {}
            }
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let taken = self.cipher.writer().write(bytes)?;
        match self.flush() {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => Err(e),
            // The buffer is full, although it holds less than one record.
            _ if taken == 0 && !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(taken),
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.cipher.wants_write() {
            retry(|| self.cipher.write_tls(&mut self.socket.get_ref()))?;
        }
        Ok(())
    }

    pub(super) fn end_output(&mut self) -> io::Result<()> {
        self.cipher.send_close_notify();
        self.flush()?;
        self.socket.get_ref().shutdown(Shutdown::Write)
    }
}
