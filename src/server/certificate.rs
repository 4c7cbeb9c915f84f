//! The server's certificate: the operator's, or one that it makes for itself once and keeps.

use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_io::Timer;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use smol::unblock;
use tracing::{info, warn};

use super::Plain;

/// Where the certificate and its key come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// PEM files: the certificate with those that vouch for it, and its key.
    Files(PathBuf, PathBuf),
    /// Made once, and kept in that folder; `None` for one that goes with the server.
    Own(Option<PathBuf>),
}

/// Why there is no certificate; `Display` is one line for the operator.
#[derive(Debug)]
pub enum Error {
    /// A file cannot be read or written.
    File(PathBuf, io::Error),
    /// A file holds no certificate or key.
    Pem(PathBuf, String),
    /// The two do not fit, or are of a kind that is not known.
    Unfit(rustls::Error),
    /// None can be made.
    Make(rcgen::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, e) => write!(f, "{}: {}", path.display(), Plain(e)),
            Self::Pem(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Unfit(e) => write!(f, "the certificate and its key are of no use: {e}"),
            Self::Make(e) => write!(f, "a certificate cannot be made: {e}"),
        }
    }
}

impl std::error::Error for Error {}

/// What TLS is spoken with now.
#[derive(Debug)]
pub struct Certificate {
    source: Source,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    fingerprint: String,
    changed: Option<SystemTime>,
}

/// How often the operator's files are looked at: a renewed certificate is served within the minute.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How long one of our own is good for: longer than the machine.
const OWN_YEARS: i16 = 20;

const OWN_CERT: &str = "tls-cert.pem";
const OWN_KEY: &str = "tls-key.pem";

impl Certificate {
    /// Reads the certificate, or makes one for `names`. May block.
    ///
    /// # Errors
    /// When there is none to be had.
    pub fn load(source: Source, names: &[String]) -> Result<Self, Error> {
        if let Source::Own(Some(folder)) = &source {
            make_once(folder, names)?;
        }
        let loaded = match &source {
            Source::Own(None) => {
                let (cert, key) = make(names)?;
                let key = PrivateKeyDer::try_from(key.serialize_der());
                let key = key.map_err(|e| Error::Pem(PathBuf::new(), e.into()))?;
                Loaded::new(vec![cert.der().clone()], key, None)?
            }
            _ => read(&source)?,
        };
        Ok(Self {
            source,
            loaded: Mutex::new(loaded),
        })
    }

    /// What a new connection is to use.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.loaded.lock().map_or_else(
            |poisoned| poisoned.into_inner().config.clone(),
            |loaded| loaded.config.clone(),
        )
    }

    /// The SHA-256 of the certificate, as `openssl x509 -fingerprint -sha256` writes it.
    pub fn fingerprint(&self) -> String {
        self.loaded.lock().map_or_else(
            |poisoned| poisoned.into_inner().fingerprint.clone(),
            |loaded| loaded.fingerprint.clone(),
        )
    }

    /// Reads the certificate again whenever its file has changed. One that cannot be used is reported in the
    /// log, and the one before stays.
    pub async fn keep_fresh(self: Arc<Self>) {
        loop {
            Timer::after(LOOK_EVERY).await;
            self.clone().read_again(false).await;
        }
    }

    /// Reads the certificate again: if its file has changed, or in any case if `is_asked`.
    pub async fn read_again(self: Arc<Self>, is_asked: bool) {
        if self.source != Source::Own(None) {
            unblock(move || self.refresh(is_asked)).await;
        }
    }

    fn refresh(&self, is_asked: bool) {
        let known = self.loaded.lock().ok().and_then(|loaded| loaded.changed);
        if !is_asked && changed(&self.source) == known {
            return;
        }
        match read(&self.source) {
            Ok(loaded) => {
                info!(
                    "the certificate has been read again: {}",
                    loaded.fingerprint
                );
                if let Ok(mut known) = self.loaded.lock() {
                    *known = loaded;
                }
            }
            Err(e) => {
                warn!("the certificate stays as it was: {e}");
                // Told once, until it changes again.
                if let Ok(mut known) = self.loaded.lock() {
                    known.changed = changed(&self.source);
                }
            }
        }
    }
}

impl Loaded {
    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        changed: Option<SystemTime>,
    ) -> Result<Self, Error> {
        let fingerprint = chain
            .first()
            .map_or_else(String::new, |cert| fingerprint(cert));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(Error::Unfit)?;
        // What a browser and curl ask for; other clients ask for nothing. So no other protocol's client can
        // be led here (ALPACA).
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            fingerprint,
            changed,
        })
    }
}

fn paths(source: &Source) -> Option<(PathBuf, PathBuf)> {
    match source {
        Source::Files(cert, key) => Some((cert.clone(), key.clone())),
        Source::Own(Some(folder)) => Some((folder.join(OWN_CERT), folder.join(OWN_KEY))),
        Source::Own(None) => None,
    }
}

/// When either file was last changed.
fn changed(source: &Source) -> Option<SystemTime> {
    let (cert, key) = paths(source)?;
    let changed = |path: &Path| fs::metadata(path).and_then(|about| about.modified()).ok();
    changed(&cert).max(changed(&key))
}

fn read(source: &Source) -> Result<Loaded, Error> {
    let (cert, key) = paths(source).unwrap_or_default();
    let changed = changed(source);
    let bytes = |path: &PathBuf| fs::read(path).map_err(|e| Error::File(path.clone(), e));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes(&cert)?).collect();
    let chain = match chain {
        Ok(chain) if !chain.is_empty() => chain,
        _ => return Err(Error::Pem(cert, "it holds no certificate in PEM".into())),
    };
    let found = PrivateKeyDer::from_pem_slice(&bytes(&key)?);
    let found = found.map_err(|_| Error::Pem(key, "it holds no private key in PEM".into()))?;
    Loaded::new(chain, found, changed)
}

/// Makes a certificate and keeps it, unless one is there. The key is for nobody else to read.
fn make_once(folder: &Path, names: &[String]) -> Result<(), Error> {
    let (cert_path, key_path) = (folder.join(OWN_CERT), folder.join(OWN_KEY));
    if cert_path.exists() && key_path.exists() {
        return Ok(());
    }
    let (cert, key) = make(names)?;
    let write = |path: &Path, text: &str| {
        let temporary = path.with_extension("new");
        let write = || {
            let mut options = fs::OpenOptions::new();
            let options = options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        };
        write().map_err(|e| Error::File(path.to_owned(), e))
    };
    // The certificate last: if it is there, so is its key.
    write(&key_path, &key.serialize_pem())?;
    write(&cert_path, &cert.pem())
}

/// A certificate that vouches for itself, for those names.
fn make(names: &[String]) -> Result<(rcgen::Certificate, KeyPair), Error> {
    let mut params = CertificateParams::new(names.to_vec()).map_err(Error::Make)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "plainchat");
    params.distinguished_name = name;
    let today = jiff::Zoned::now().date();
    let date = |years: i16| {
        let (month, day) = (today.month().unsigned_abs(), today.day().unsigned_abs());
        rcgen::date_time_ymd(i32::from(today.year() + years), month, day.min(28))
    };
    // From a year ago: the clock of a client may be wrong.
    (params.not_before, params.not_after) = (date(-1), date(OWN_YEARS));
    let key = KeyPair::generate().map_err(Error::Make)?;
    let cert = params.self_signed(&key).map_err(Error::Make)?;
    Ok((cert, key))
}

fn fingerprint(cert: &CertificateDer<'_>) -> String {
    let mut text = String::new();
    for (n, byte) in Sha256::digest(cert).iter().enumerate() {
        let mark = if n == 0 { "" } else { ":" };
        let _ = write!(text, "{mark}{byte:02X}");
    }
    text
}
