//! The operator's settings, each with its default and the reason for that default.
//!
//! `chatd --help` and the table in `chatd.md` are generated from [`Limits::rows`] or compared with it.

pub mod file;
pub mod fixed;
mod limits;
pub mod push;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::model::Secret;
use crate::protocol::ban_target::Network;
use crate::protocol::{Nick, RoomName};
use limits::bytes;
pub use limits::{CLOCK_TRUSTED_AFTER, LimitRow, Limits, Rate, SEARCHES_MAX};

/// All settings that `chatd` is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The addresses to listen on; port 0 takes any free port.
    pub listen: Vec<Listen>,
    /// The protocols accepted on inherited sockets.
    pub protocols: Protocols,
    /// Names under which clients reach the server, besides its addresses and the machine's name.
    pub hosts: Vec<String>,
    /// The files of the certificate and its key; `None` for a self-signed one.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The password that a connection must send first (`PASS`); `None` if none is needed.
    pub password: Option<Secret>,
    /// The secret that `chatc --ssh` shares; `None` if the server accepts no users over ssh.
    pub ssh_secret: Option<Secret>,
    /// Whether to refuse passwords over plain text, except from this machine.
    pub require_tls: bool,
    /// The nicks of the operators; an operator must be registered.
    pub operators: Vec<Nick>,
    /// Networks that may read the metrics, besides the machine itself.
    pub metrics_from: Vec<Network>,
    /// Proxies that are trusted to report the client's address.
    pub proxies: Vec<Network>,
    /// The folder where everything is stored; `None` for a temporary one.
    pub data: Option<PathBuf>,
    /// The server's name in `HELLO`: one word.
    pub name: String,
    /// The room that a client joins if it names none.
    pub lobby: RoomName,
    /// Whether to answer clients of ntfy, which then find their topics at the top of the HTTP address space
    /// (`/<topic>`).
    pub ntfy: bool,
    /// How to notify users while the page is closed; `None` if the server does not notify users.
    pub push: Option<push::Push>,
    /// Whether to announce the server on the local network, if other machines can reach it.
    pub announce: bool,
    /// What connects the server with others that share its chat; `None` if it has a chat of its own.
    pub cluster: Option<Cluster>,
    /// All limits and timeouts.
    pub limits: Limits,
}

/// What connects a server with others that share its chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The addresses of the NATS servers.
    pub nats: Vec<String>,
    /// The name of the chat; several chats can use the same NATS servers.
    pub chat: String,
    /// The name of this server, which no other server of the chat has.
    pub node: String,
    /// A PEM file with the certificates of the authorities to trust for NATS servers; `None` for those that the operating
    /// system trusts.
    pub authorities: Option<PathBuf>,
}

impl Default for Config {
    /// Returns the settings of a server that stores nothing and does not listen.
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            protocols: Protocols::ALL,
            hosts: Vec::new(),
            certificate: None,
            password: None,
            ssh_secret: None,
            require_tls: false,
            operators: Vec::new(),
            metrics_from: Vec::new(),
            proxies: Vec::new(),
            data: None,
            name: "chatd".into(),
            lobby: RoomName::parse("#lobby").expect("it is a room's name"),
            ntfy: false,
            push: None,
            announce: false,
            cluster: None,
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// Returns the name by which servers that share a chat know this one.
    pub fn server_name(&self) -> &str {
        let cluster = self.cluster.as_ref();
        cluster.map_or(&self.name, |cluster| &cluster.node)
    }

    /// Returns a sentence for users about how long messages and files are kept.
    pub fn keeping(&self) -> String {
        if self.data.is_none() {
            return "Messages are lost when the server stops.".into();
        }
        let days = self.limits.keep.map(|keep| keep.as_secs() / 86_400);
        let days = match days {
            Some(1) => " for a day".into(),
            Some(days) => format!(" for {days} days"),
            None => String::new(),
        };
        let most = self.limits.keep_bytes.map(bytes);
        let most = most.map_or_else(String::new, |most| format!(", the newest {most}"));
        format!("Messages are saved{days}{most}; HISTORY shows them.")
    }
}

/// An address to listen on, and the protocols accepted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address.
    pub addr: SocketAddr,
    /// The protocols.
    pub protocols: Protocols,
}

/// A set of protocols that clients may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// Without TLS.
    pub plain: bool,
    /// Inside TLS.
    pub tls: bool,
    /// The line protocol.
    pub lines: bool,
    /// IRC, beside the line protocol or alone.
    pub irc: bool,
    /// HTTP, and WebSocket, which begins as HTTP.
    pub web: bool,
}

impl Protocols {
    /// Every protocol.
    pub const ALL: Self = Self {
        plain: true,
        tls: true,
        lines: true,
        irc: true,
        web: true,
    };

    /// Returns whether only IRC is allowed. If so, the protocol of a client need not be detected.
    pub fn is_irc_only(self) -> bool {
        self.irc && !self.lines && !self.web
    }

    /// Returns the protocols that both sets allow.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            plain: self.plain && other.plain,
            tls: self.tls && other.tls,
            lines: self.lines && other.lines,
            irc: self.irc && other.irc,
            web: self.web && other.web,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn check(data: Option<&str>, keep_days: Option<u64>, keep_bytes: Option<u64>, expected: &str) {
        let config = Config {
            data: data.map(PathBuf::from),
            name: "test".into(),
            limits: Limits {
                keep: keep_days.map(|days| Duration::from_secs(days * 86_400)),
                keep_bytes,
                ..Limits::default()
            },
            ..Config::default()
        };
        assert_eq!(config.keeping(), expected);
    }

    #[test]
    fn the_greeting_says_how_long_messages_are_kept() {
        let forgotten = "Messages are lost when the server stops.";
        check(None, Some(3), None, forgotten);
        let kept = |how| format!("Messages are saved{how}; HISTORY shows them.");
        let folder = Some("data");
        check(folder, None, None, &kept(""));
        check(folder, Some(1), None, &kept(" for a day"));
        check(folder, Some(30), None, &kept(" for 30 days"));
        check(folder, None, Some(1 << 30), &kept(", the newest 1 GiB"));
    }
}
