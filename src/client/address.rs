//! The address of a server: a host and a port, as a person writes them.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::protocol::PORT;

/// How a connection is secured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// TLS if the server offers it. A server on this machine, and a server that has never offered TLS, get plain text.
    /// A build without the feature `tls` always uses plain text.
    #[default]
    Auto,
    /// TLS; without it, the connection fails.
    Tls,
    /// Plain text.
    Plain,
}

/// The address of a server: `HOST` or `HOST:PORT`. The default port is 5002.
///
/// `tls://HOST` requires TLS, and `tcp://HOST` uses plain text. An IPv6 address needs brackets if a port follows.
///
/// ```
/// use plainchat::client::Address;
/// let address: Address = "[::1]:7000".parse().unwrap();
/// assert_eq!((address.host(), address.port()), ("::1", 7000));
/// assert_eq!("example.org".parse::<Address>().unwrap().to_string(), "example.org:5002");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    security: Security,
    has_secrets: bool,
    /// The bytes that each connection begins with.
    preamble: Box<[u8]>,
}

impl Address {
    /// Returns the host: a name, an IPv4 address, or an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns how connections to this address are secured.
    pub fn security(&self) -> Security {
        self.security
    }

    /// Returns the address for a client that sends passwords. Such a client does not fall back to plain text if the
    /// server seems not to speak TLS, except with a server on this machine or an address with `tcp://`.
    pub fn with_secrets(self) -> Self {
        Self {
            has_secrets: true,
            ..self
        }
    }

    /// Returns whether the client sends passwords to this address.
    pub fn has_secrets(&self) -> bool {
        self.has_secrets
    }

    /// Returns the address with `preamble`, the bytes that the client sends first on each connection. A client that
    /// forwards another client's connection sends a header of the PROXY protocol.
    #[cfg(feature = "chatc")]
    pub(crate) fn with_preamble(self, preamble: Vec<u8>) -> Self {
        Self {
            preamble: preamble.into(),
            ..self
        }
    }

    /// Returns the bytes that each connection begins with. Usually there are none.
    pub(super) fn preamble(&self) -> &[u8] {
        &self.preamble
    }

    /// Returns the TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// The error for a text that is not an address.
///
/// ```
/// use plainchat::client::Address;
/// let error = "http://localhost/".parse::<Address>().unwrap_err();
/// assert_eq!(error.to_string(), "invalid address \"http://localhost/\": write HOST or HOST:PORT");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAddress(String);

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid address {:?}: write HOST or HOST:PORT", self.0)
    }
}

impl std::error::Error for InvalidAddress {}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let bad = || InvalidAddress(text.to_owned());
        let (security, text) = match text.split_once("://") {
            Some(("tls", place)) => (Security::Tls, place),
            Some(("tcp", place)) => (Security::Plain, place),
            _ => (Security::Auto, text),
        };
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(bad)?;
                if !is_ipv6(host) {
                    return Err(bad());
                }
                match after {
                    "" => (host, None),
                    _ => (host, Some(after.strip_prefix(':').ok_or_else(bad)?)),
                }
            }
            None if is_ipv6(text) => (text, None),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let is_strange = |c: char| c.is_whitespace() || c.is_control() || "/[]#,".contains(c);
        if host.is_empty() || host.contains(is_strange) {
            return Err(bad());
        }
        let port = match port {
            None => PORT,
            Some(digits) => match digits.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(bad()),
            },
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            security,
            has_secrets: false,
            preamble: Box::default(),
        })
    }
}

/// Returns whether `host` is an IPv6 address, with or without a zone such as `%eth0`, which a link-local address needs.
fn is_ipv6(host: &str) -> bool {
    let address = host.split('%').next().unwrap_or_default();
    address.parse::<Ipv6Addr>().is_ok()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.security {
            Security::Auto => "",
            Security::Tls => "tls://",
            Security::Plain => "tcp://",
        })?;
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let read = text.parse::<Address>().ok().map(|a| a.to_string());
        assert_eq!(read.as_deref(), expected, "of {text:?}");
    }

    #[test]
    fn every_way_to_write_an_address_is_read() {
        check("localhost", Some("localhost:5002"));
        check("localhost:7000", Some("localhost:7000"));
        check("10.0.0.1", Some("10.0.0.1:5002"));
        check("::1", Some("[::1]:5002"));
        check("[::1]", Some("[::1]:5002"));
        check("[::1]:7000", Some("[::1]:7000"));
        check("tls://[::1]:7000", Some("tls://[::1]:7000"));
        check("tcp://host", Some("tcp://host:5002"));
        check("fe80::1%eth0", Some("[fe80::1%eth0]:5002"));
    }

    #[test]
    fn a_text_that_is_not_an_address_is_refused() {
        for bad in [
            "",
            ":",
            ":5002",
            "host:",
            "host:0",
            "host:x",
            "host:99999",
            "host:-1",
            "a:b:c",
            "[::1",
            "[::1]5002",
            "[host]:1",
            "a b",
            "a,b",
            "http://host/",
            "http://host",
            "tls://",
            "tls://tcp://host",
        ] {
            check(bad, None);
        }
    }
}
