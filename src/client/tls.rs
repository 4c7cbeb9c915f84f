//! TLS for a client. The client trusts a certificate that an authority of the operating system confirms. Otherwise it
//! trusts the certificate that it saw first at that address, as `ssh` does.

use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use etcetera::BaseStrategy;
use futures_lite::io::split;
use futures_rustls::TlsConnector;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};
use sha2::{Digest, Sha256};

use super::address::{Address, Security};
use super::addresses::Addresses;
use super::background;
use super::connection::{Receiver, Sender};
use super::error::Error;
use super::tcp::Tcp;

/// The file of servers that have spoken TLS before (`~/.local/state/chatc/known_hosts`). Each line has an address,
/// and the SHA-256 fingerprint of the certificate or [`BY_AUTHORITY`].
#[derive(Clone, Debug)]
struct KnownHosts(Option<PathBuf>);

/// The word that replaces the fingerprint if an authority has confirmed the server's certificate. Such a server may
/// change its certificate, but it must not stop using TLS or use a certificate that no authority confirms.
const BY_AUTHORITY: &str = "authority";

/// The outcome of a first attempt at TLS.
pub(super) enum Secured {
    Done(Sender, Receiver),
    /// The server does not speak TLS, and TLS is not required.
    NotSpoken,
}

/// The certificates that are trusted at an address.
pub(super) struct TrustedKeys {
    known_hosts: KnownHosts,
    /// The address as `known_hosts` writes it.
    key: String,
    known: Option<String>,
    /// Whether a server of the same list has used TLS before.
    is_list_known: bool,
    roots: RootCertStore,
}

/// Reads which certificates to trust at `address`, which is one of `list`. This takes a while, so it is done before
/// connecting: a server expects a new client to send something soon.
///
/// # Errors
/// [`Error::Connect`] if `known_hosts` cannot be read.
pub(super) async fn trusted_keys(
    address: &Address,
    list: &Addresses,
) -> Result<TrustedKeys, Error> {
    trusted_keys_in(KnownHosts::find(), address, list).await
}

async fn trusted_keys_in(
    known_hosts: KnownHosts,
    address: &Address,
    list: &Addresses,
) -> Result<TrustedKeys, Error> {
    let key_of = |address: &Address| format!("{}:{}", address.host(), address.port());
    let key = key_of(address);
    let load = {
        let (known_hosts, key) = (known_hosts.clone(), key.clone());
        let all: Vec<String> = list.iter().map(key_of).collect();
        background::run(move || {
            let file = known_hosts.read()?;
            let is_list_known = all.iter().any(|key| known_in(&file, key).is_some());
            let known = known_in(&file, &key).map(str::to_owned);
            Ok((known, is_list_known, system_roots()))
        })
    };
    let (known, is_list_known, roots) = load.await.map_err(|source| Error::Connect {
        address: address.clone(),
        source,
    })?;
    Ok(TrustedKeys {
        known_hosts,
        key,
        known,
        is_list_known,
        roots,
    })
}

/// Starts TLS with the server at `address` on a new connection.
///
/// # Errors
/// [`Error::Untrusted`] if the server's certificate has changed; [`Error::Connect`].
pub(super) async fn secure(
    stream: Tcp,
    address: &Address,
    trusted: TrustedKeys,
) -> Result<Secured, Error> {
    let failed = |source| Error::Connect {
        address: address.clone(),
        source,
    };
    let TrustedKeys {
        known_hosts,
        key,
        known,
        is_list_known,
        roots,
    } = trusted;
    let was_known = known.is_some();
    let trust = Arc::new(Trust::new(known, roots));
    let name = ServerName::try_from(
        address
            .host()
            .split('%')
            .next()
            .unwrap_or_default()
            .to_owned(),
    );
    let name = name.map_err(|_| {
        failed(io::Error::new(
            io::ErrorKind::InvalidInput,
            "that is not a host name",
        ))
    })?;
    let config = ClientConfig::builder_with_provider(trust.provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| failed(io::Error::other(e)))?
        .dangerous() // the name that rustls has for setting a verifier
        .with_custom_certificate_verifier(trust.clone())
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = match connector.connect(name, stream).await {
        Ok(stream) => stream,
        Err(e) => {
            if let Some(CertificateCheck::Other(fingerprint)) = trust.check() {
                return Err(Error::Untrusted {
                    address: address.clone(),
                    fingerprint,
                    file: known_hosts.0,
                });
            }
            if !is_not_spoken(&e) || address.security() != Security::Auto {
                return Err(failed(e));
            }
            let why = if was_known {
                "it used TLS before, and does not now: somebody may be intercepting the connection"
            } else if address.has_secrets() {
                "it does not use TLS, and chatc does not send passwords in plain text; to send them anyway, write tcp://HOST"
            } else if is_list_known {
                "it does not use TLS, but another server of the list does: somebody may be intercepting the connection; \
                 if it is meant to use plain text, write tcp://HOST"
            } else {
                return Ok(Secured::NotSpoken);
            };
            return Err(failed(io::Error::other(why)));
        }
    };
    let first = match trust.check() {
        Some(CertificateCheck::First(fingerprint)) => Some(fingerprint),
        Some(CertificateCheck::Vouched) if !was_known => Some(BY_AUTHORITY.to_owned()),
        _ => None,
    };
    if let Some(first) = first {
        let remembered = background::run(move || known_hosts.add(&key, &first));
        remembered.await.map_err(failed)?;
    }
    let (reader, writer) = split(stream);
    Ok(Secured::Done(Sender::new(writer), Receiver::new(reader)))
}

/// Returns whether TLS is tried at all. It is not tried with a server on this machine, because nobody can intercept
/// that connection.
pub(super) fn is_tried(address: &Address, ip: IpAddr) -> bool {
    match address.security() {
        Security::Auto => !ip.is_loopback(),
        Security::Tls => true,
        Security::Plain => false,
    }
}

/// Returns whether the server answered with something other than TLS, or with the alert that it does not speak TLS.
fn is_not_spoken(e: &io::Error) -> bool {
    use rustls::Error::{AlertReceived, InvalidMessage};
    let cause = e
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(InvalidMessage(_) | AlertReceived(AlertDescription::HandshakeFailure)) => true,
        Some(_) => false,
        None => matches!(
            e.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
        ),
    }
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Certificates that cannot be parsed are left out.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

impl KnownHosts {
    fn find() -> Self {
        let base = etcetera::choose_base_strategy().ok();
        let state = base.map(|base| base.state_dir().unwrap_or_else(|| base.data_dir()));
        Self(state.map(|state| state.join("chatc").join("known_hosts")))
    }

    fn read(&self) -> io::Result<String> {
        let Some(path) = &self.0 else {
            return Ok(String::new());
        };
        match fs::read_to_string(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read,
        }
    }

    fn add(&self, key: &str, fingerprint: &str) -> io::Result<()> {
        let Some(path) = &self.0 else {
            return Ok(()); // without a home folder, each connection counts as the first
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)?;
        file.write_all(format!("{key} {fingerprint}\n").as_bytes())
    }
}

/// Returns what the text of `known_hosts` says about the certificate of an address.
fn known_in<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let (_, fingerprint) = lines.find(|(known, _)| *known == key)?;
    Some(fingerprint.trim())
}

/// The result of comparing the certificate that the server has sent with the known one.
#[derive(Clone, Debug)]
enum CertificateCheck {
    /// The certificate is confirmed by an authority.
    Vouched,
    /// No certificate of this address is known yet.
    First(String),
    /// The certificate is the known one.
    Same,
    /// The certificate differs from the known one.
    Other(String),
}

/// Verifies the server's certificate.
struct Trust {
    known: Option<String>,
    /// The authorities; `None` if the operating system has none.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    check: Mutex<Option<CertificateCheck>>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

impl Trust {
    fn new(known: Option<String>, roots: RootCertStore) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let authorities =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        Self {
            known,
            authorities: authorities.build().ok(),
            provider,
            check: Mutex::new(None),
        }
    }

    fn check(&self) -> Option<CertificateCheck> {
        self.check.lock().ok().and_then(|check| check.clone())
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        cert: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let vouched = self.authorities.as_ref().map(|authorities| {
            authorities.verify_server_cert(cert, intermediates, name, ocsp, now)
        });
        if let Some(Ok(vouched)) = vouched {
            if let Ok(mut check) = self.check.lock() {
                *check = Some(CertificateCheck::Vouched);
            }
            return Ok(vouched);
        }
        let fingerprint = fingerprint(cert);
        let check = match &self.known {
            None => CertificateCheck::First(fingerprint),
            Some(known) if *known == fingerprint => CertificateCheck::Same,
            Some(_) => CertificateCheck::Other(fingerprint),
        };
        let is_good = !matches!(check, CertificateCheck::Other(_));
        if let Ok(mut known) = self.check.lock() {
            *known = Some(check);
        }
        if is_good {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Returns the fingerprint in the form of `openssl x509 -fingerprint -sha256` and `chatd`.
fn fingerprint(cert: &CertificateDer<'_>) -> String {
    let mut text = String::new();
    for (n, byte) in Sha256::digest(cert).iter().enumerate() {
        let mark = if n == 0 { "" } else { ":" };
        let _ = write!(text, "{mark}{byte:02X}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use futures_lite::future;

    use super::*;

    /// Connects to a server without TLS, which is the second address of a list. Returns the error.
    fn refused(known: &str) -> Option<String> {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = server.local_addr().unwrap();
        let answers = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let _ = stream.read(&mut [0; 100]);
            let _ = stream.write_all(b"ERR - bad-syntax that is no request\n");
        });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        fs::write(&file, known).unwrap();
        let list: Addresses = format!("one.example.org,{at}").parse().unwrap();
        let second = list.get(1).unwrap();
        let outcome = future::block_on(async {
            let keys = trusted_keys_in(KnownHosts(Some(file)), second, &list).await?;
            secure(Tcp::connect(at).await.unwrap(), second, keys).await
        });
        answers.join().unwrap();
        match outcome {
            Ok(Secured::NotSpoken) => None,
            Ok(Secured::Done(..)) => panic!("it speaks TLS"),
            Err(error) => Some(error.to_string()),
        }
    }

    #[test]
    fn plain_text_is_refused_if_another_server_of_the_list_uses_tls() {
        assert_eq!(refused("other.example.org:5002 authority\n"), None);
        let why = refused("one.example.org:5002 authority\n").unwrap_or_default();
        assert!(why.contains("another server of the list"), "{why:?}");
    }
}
