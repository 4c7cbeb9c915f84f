//! Parses the values of flags.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use plainchat::cluster::nats::Address;
use plainchat::config::Protocols;
use plainchat::model::Secret;
use plainchat::protocol::ban_target::Network;
use plainchat::protocol::{Nick, PORT, RoomName};

/// Returns the unspecified addresses, with which a server listens on all addresses of the machine. The IPv6 address
/// is included only if the machine has IPv6.
pub fn everywhere(port: u16) -> Vec<SocketAddr> {
    let has_v6 = std::net::UdpSocket::bind("[::]:0").is_ok();
    let any = ["0.0.0.0", "::"].iter().take(if has_v6 { 2 } else { 1 });
    any.filter_map(|ip| Some(SocketAddr::new(ip.parse().ok()?, port)))
        .collect()
}

/// The value of a flag `--listen`.
pub struct Listen {
    pub addresses: Vec<SocketAddr>,
    pub protocols: Protocols,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = Protocols::ALL;
        let (protocols, place) = match text.split_once("://") {
            None => (all, text),
            Some(("tls", place)) => (
                Protocols {
                    plain: false,
                    ..all
                },
                place,
            ),
            Some(("http", place)) => {
                let http = Protocols {
                    tls: false,
                    lines: false,
                    irc: false,
                    ..all
                };
                (http, place)
            }
            Some((kind @ ("irc" | "ircs"), place)) => {
                let is_tls = kind == "ircs";
                let irc = Protocols {
                    plain: !is_tls,
                    tls: is_tls,
                    lines: false,
                    irc: true,
                    web: false,
                };
                (irc, place)
            }
            Some((kind, _)) => {
                return Err(format!(
                    "unknown prefix {kind}:// (known: tls://, http://, irc://, ircs://)"
                ));
            }
        };
        Ok(Self {
            addresses: addresses(place)?,
            protocols,
        })
    }
}

fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    if let Ok(port) = text.trim_start_matches(':').parse() {
        return Ok(everywhere(port));
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse() {
        return Ok(vec![SocketAddr::new(ip, PORT)]);
    }
    let found = text
        .to_socket_addrs()
        .or_else(|_| (text, PORT).to_socket_addrs());
    let found = found.map_err(|_| {
        format!("invalid address \"{text}\" (examples: 5002, 127.0.0.1:5002, tls://[::]:5002)")
    })?;
    Ok(found.collect())
}

/// `on` or `off`.
pub struct OnOff(pub bool);

impl FromStr for OnOff {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "on" => Ok(Self(true)),
            "off" => Ok(Self(false)),
            _ => Err(format!("invalid value \"{text}\": write on or off")),
        }
    }
}

/// The format of the log.
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("invalid log format: write text or json"),
        }
    }
}

/// A number of bytes.
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match text.get(digits.len()..).unwrap_or_default().trim() {
            "" | "B" => Some(1),
            "K" | "KiB" => Some(1 << 10),
            "M" | "MiB" => Some(1 << 20),
            "G" | "GiB" => Some(1 << 30),
            _ => None,
        };
        let bytes = digits
            .parse::<u64>()
            .ok()
            .zip(unit)
            .and_then(|(n, unit)| n.checked_mul(unit));
        bytes
            .map(Self)
            .ok_or_else(|| format!("invalid size \"{text}\" (examples: 65536, 100MiB)"))
    }
}

/// A length of time.
pub struct Time(pub Duration);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let ms = match text.get(digits.len()..).unwrap_or_default().trim() {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" | "min" => Some(60_000),
            "h" => Some(3_600_000),
            _ => None,
        };
        let ms = digits
            .parse::<u32>()
            .ok()
            .zip(ms)
            .map(|(n, unit)| u64::from(n) * unit);
        ms.map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(|| format!("invalid duration \"{text}\" (examples: 250ms, 10m)"))
    }
}

pub fn room(text: &str) -> Result<RoomName, String> {
    RoomName::parse_loose(text).map_err(|e| e.to_string())
}

pub fn nick(text: &str) -> Result<Nick, String> {
    Nick::parse(text).map_err(|e| e.to_string())
}

/// Reads the first line of a file.
pub fn read_password(path: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|e| format!("cannot read the password in {}: {e}", path.display()))?;
    match text.lines().next().unwrap_or_default() {
        "" => Err(format!(
            "the first line of {} is empty: write the password there",
            path.display()
        )),
        line => Ok(Secret::new(line)),
    }
}

pub fn network(text: &str) -> Result<Network, String> {
    Network::parse(text).ok_or_else(|| format!("invalid network \"{text}\" (example: 10.0.0.0/8)"))
}

pub fn contact(text: &str) -> Result<String, String> {
    let is_plain = text.len() <= 200 && text.bytes().all(|byte| byte.is_ascii_graphic());
    let has_scheme = |scheme: &str, has: char| {
        let rest = text.strip_prefix(scheme);
        rest.is_some_and(|rest| rest.len() > 3 && rest.contains(has))
    };
    (is_plain && (has_scheme("mailto:", '@') || has_scheme("https://", '.')))
        .then(|| text.to_owned())
        .ok_or_else(|| "invalid address (example: mailto:root@example.org)".into())
}

pub fn push_service(text: &str) -> Result<String, String> {
    let parts = text.rsplit_once(':');
    let is_valid = parts.is_some_and(|(host, port)| {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
        !host.is_empty() && host.chars().all(is_name) && port.parse::<u16>().is_ok()
    });
    is_valid
        .then(|| text.to_owned())
        .ok_or_else(|| format!("invalid push service \"{text}\" (example: localhost:8443)"))
}

pub fn server_name(text: &str) -> Result<String, String> {
    let is_word = !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || "-_.".contains(c));
    is_word
        .then(|| text.to_owned())
        .ok_or_else(|| "a name is one word of letters, digits, \"-\", \"_\" and \".\"".into())
}

pub fn machine_name() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    server_name(&name).unwrap_or_else(|_| "chatd".into())
}

/// The addresses of NATS servers.
pub type NatsServers = Vec<String>;

/// Parses a list of addresses of NATS servers.
///
/// # Errors
/// When one is invalid.
pub fn nats_servers(text: &str) -> Result<NatsServers, String> {
    let addresses = text
        .split(',')
        .map(|address| match address.parse::<Address>() {
            Ok(_) => Ok(address.to_owned()),
            Err(e) => Err(format!("{address}: {e}")),
        });
    addresses.collect()
}
