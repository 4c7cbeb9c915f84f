//! The server's TLS certificate: that of the operator, or a self-signed one that the server makes once and stores.

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

/// The source of the certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// PEM files: the certificate chain and its key.
    Files(PathBuf, PathBuf),
    /// A self-signed certificate that is made once and stored in this folder. With `None`, it is lost when the
    /// process ends.
    Own(Option<PathBuf>),
}

/// The reason why there is no usable certificate; `Display` is one line for the operator.
#[derive(Debug)]
pub enum Error {
    /// A file cannot be read or written.
    File(PathBuf, io::Error),
    /// A file holds no certificate or key.
    Pem(PathBuf, String),
    /// The certificate and the key do not match, or are of an unknown kind.
    Unfit(rustls::Error),
    /// A self-signed certificate cannot be made.
    Make(rcgen::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, e) => write!(f, "{}: {}", path.display(), Plain(e)),
            Self::Pem(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Unfit(e) => write!(f, "the certificate and its key cannot be used: {e}"),
            Self::Make(e) => write!(f, "cannot create a certificate: {e}"),
        }
    }
}

impl std::error::Error for Error {}

/// The current certificate. It is reloaded when its files change.
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

/// The time between two checks of the operator's files. A renewed certificate is in use within a minute.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The validity of a self-signed certificate in years. It is longer than the lifetime of a machine.
const OWN_YEARS: i16 = 20;

const OWN_CERT: &str = "tls-cert.pem";
const OWN_KEY: &str = "tls-key.pem";

impl Certificate {
    /// Loads the certificate, or makes one for `names`. May block.
    ///
    /// # Errors
    /// When no certificate can be loaded or made.
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

    /// Returns the TLS configuration for a new connection.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.loaded.lock().map_or_else(
            |poisoned| poisoned.into_inner().config.clone(),
            |loaded| loaded.config.clone(),
        )
    }

    /// Returns the SHA-256 fingerprint of the certificate, as `openssl x509 -fingerprint -sha256` prints it.
    pub fn fingerprint(&self) -> String {
        self.loaded.lock().map_or_else(
            |poisoned| poisoned.into_inner().fingerprint.clone(),
            |loaded| loaded.fingerprint.clone(),
        )
    }

    /// Reloads the certificate whenever its file has changed. If the new one is unusable, an error is logged and the
    /// current certificate stays in use.
    pub async fn keep_fresh(self: Arc<Self>) {
        loop {
            Timer::after(LOOK_EVERY).await;
            self.clone().read_again(false).await;
        }
    }

    /// Reloads the certificate if its file has changed. If `is_asked`, reloads it in any case.
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
                info!("the certificate was reloaded: {}", loaded.fingerprint);
                if let Ok(mut known) = self.loaded.lock() {
                    *known = loaded;
                }
            }
            Err(e) => {
                warn!("the certificate was not reloaded: {e}");
                // The error is logged once, until the file changes again.
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
        // Browsers and curl request this protocol; other clients request none. Clients of other protocols therefore
        // cannot be redirected to this server (ALPACA).
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

/// Returns the time of the last change of the files.
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
        _ => return Err(Error::Pem(cert, "it contains no certificate in PEM".into())),
    };
    let found = PrivateKeyDer::from_pem_slice(&bytes(&key)?);
    let found = found.map_err(|_| Error::Pem(key, "it contains no private key in PEM".into()))?;
    Loaded::new(chain, found, changed)
}

/// Makes a certificate and stores it, unless one exists. Only the system user that runs the server may read the key.
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
    // The certificate is written last: if it exists, its key exists too.
    write(&key_path, &key.serialize_pem())?;
    write(&cert_path, &cert.pem())
}

/// Makes a self-signed certificate for `names`.
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
    // The certificate is valid from a year ago, because the client's clock may be wrong.
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
