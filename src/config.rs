//! What an operator can set, each with its default and the reason for it.
//!
//! `chatd --help` and the table in `protocol.md` are made from, and compared with, [`Limits::rows`].

pub mod file;
pub mod fixed;
mod limits;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::model::Secret;
use crate::protocol::whom::Network;
use crate::protocol::{Nick, RoomName};
use limits::bytes;
pub use limits::{BELIEVED_AFTER, LimitRow, Limits, Rate, SEARCHES_MAX};

/// Everything that `chatd` is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; a port of 0 takes a free one.
    pub listen: Vec<Listen>,
    /// What is spoken on sockets that are handed over.
    pub speaks: Speaks,
    /// Names under which clients reach the server, besides its addresses and the machine's name.
    pub hosts: Vec<String>,
    /// The files of the certificate and its key; `None` for one that the server makes for itself.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// What a connection must give first (`PASS`); `None` for nothing.
    pub password: Option<Secret>,
    /// Whether passwords over plain text are refused, but from this machine.
    pub require_tls: bool,
    /// The nicks of operators, who must be registered to be that.
    pub operators: Vec<Nick>,
    /// Whence the metrics may be read, besides from the machine itself.
    pub metrics_from: Vec<Network>,
    /// Proxies that are believed when they say for whom they ask.
    pub proxies: Vec<Network>,
    /// Where files are kept; `None` for a folder that goes away at the end.
    pub data: Option<PathBuf>,
    /// What the server calls itself in `HELLO`: one word.
    pub name: String,
    /// Where a nick without a room goes.
    pub lobby: RoomName,
    /// Whether the server is announced on the local network, when others than this machine reach it.
    pub announce: bool,
    /// What is allowed, and how long things take.
    pub limits: Limits,
}

impl Default for Config {
    /// One that keeps nothing and listens nowhere.
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            speaks: Speaks::ALL,
            hosts: Vec::new(),
            certificate: None,
            password: None,
            require_tls: false,
            operators: Vec::new(),
            metrics_from: Vec::new(),
            proxies: Vec::new(),
            data: None,
            name: "chatd".into(),
            lobby: RoomName::parse("#lobby").expect("it is a room's name"),
            announce: false,
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// A sentence that tells everybody how long things are kept.
    pub fn keeping(&self) -> String {
        if self.data.is_none() {
            return "What is said here is forgotten when the server stops.".into();
        }
        let days = self.limits.keep.map(|keep| keep.as_secs() / 86_400);
        let days = match days {
            Some(1) => " for a day".into(),
            Some(days) => format!(" for {days} days"),
            None => String::new(),
        };
        let most = self.limits.keep_bytes.map(bytes);
        let most = most.map_or_else(String::new, |most| format!(", the newest {most} of it"));
        format!("What is said here is kept{days}{most}, and HISTORY shows it.")
    }
}

/// An address, and what is spoken there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where.
    pub addr: SocketAddr,
    /// What.
    pub speaks: Speaks,
}

/// What clients may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speaks {
    /// Anything without TLS.
    pub plain: bool,
    /// TLS, and anything inside it.
    pub tls: bool,
    /// The protocol's lines.
    pub lines: bool,
    /// HTTP, and WebSocket that begins so.
    pub web: bool,
}

impl Speaks {
    /// Anything that the server knows.
    pub const ALL: Self = Self {
        plain: true,
        tls: true,
        lines: true,
        web: true,
    };

    /// What both allow.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            plain: self.plain && other.plain,
            tls: self.tls && other.tls,
            lines: self.lines && other.lines,
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
    fn people_are_told_how_long_things_are_kept() {
        let forgotten = "What is said here is forgotten when the server stops.";
        check(None, Some(3), None, forgotten);
        let kept = |how| format!("What is said here is kept{how}, and HISTORY shows it.");
        let folder = Some("data");
        check(folder, None, None, &kept(""));
        check(folder, Some(1), None, &kept(" for a day"));
        check(folder, Some(30), None, &kept(" for 30 days"));
        check(
            folder,
            None,
            Some(1 << 30),
            &kept(", the newest 1 GiB of it"),
        );
    }
}
