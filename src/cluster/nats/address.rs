//! The address of a NATS server.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

/// The port that NATS servers use.
const PORT: u16 = 4222;

/// The address of a NATS server, and what admits the client there: `nats://HOST`, `nats://HOST:PORT`,
/// `nats://USER:PASSWORD@HOST` or `nats://TOKEN@HOST`, or the same with `tls://`. An IPv6 address is in brackets. Special
/// characters in a name, a password or a token are escaped as in every URL. Is shown without secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) login: Login,
    pub(super) is_tls: bool,
}

/// What admits a client.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    Nothing,
    Token(String),
    Password(String, String),
}

/// Why a text is not the address of a NATS server. The field is a sentence for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidAddress(pub &'static str);

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidAddress {}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "tls" } else { "nats" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    /// Parses an address. The scheme may be missing.
    ///
    /// # Errors
    /// When it has another scheme, or parts that an address of NATS does not have.
    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let (is_tls, text) = match text.split_once("://") {
            Some(("nats", rest)) => (false, rest),
            Some(("tls", rest)) => (true, rest),
            Some(_) => {
                let wrong = "an address of NATS begins with nats:// or tls://";
                return Err(InvalidAddress(wrong));
            }
            None => (false, text),
        };
        let (login, place) = match text.rsplit_once('@') {
            Some((login, place)) => (Login::parse(login)?, place),
            None => (Login::Nothing, text),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        let wrong = InvalidAddress("an address of NATS is nats://HOST:PORT");
        let (host, port) = match place.strip_prefix('[') {
            Some(place) => place.split_once(']').ok_or(wrong)?,
            None => place.split_at(place.find(':').unwrap_or(place.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| wrong)?,
            None if port.is_empty() => PORT,
            None => return Err(wrong),
        };
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || "/?#[]".contains(c);
        if host.is_empty() || host.contains(is_odd) {
            return Err(wrong);
        }
        let host = host.to_owned();
        Ok(Self {
            host,
            port,
            login,
            is_tls,
        })
    }
}

impl Address {
    /// Returns whether connections to the server use TLS.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }
}

impl Login {
    fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let decode = |text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            let wrong = InvalidAddress("a name, password or token of NATS is not UTF-8");
            text.map(String::from).map_err(|_| wrong)
        };
        Ok(match text.split_once(':') {
            Some((user, password)) => Self::Password(decode(user)?, decode(password)?),
            None => Self::Token(decode(text)?),
        })
    }
}
