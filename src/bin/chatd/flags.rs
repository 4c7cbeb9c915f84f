//! The flags of `chatd`, and the configuration that is made from them.

use std::path::PathBuf;
use std::time::Duration;

use argh::{ArgsInfo, FromArgs};
use plainchat::config::push::Push;
use plainchat::config::{self, Cluster, Config, Limits, Protocols};
use plainchat::protocol::ban_target::Network;
use plainchat::protocol::{Nick, PORT, RoomName};
use tracing::level_filters::LevelFilter;

use crate::command::Command;
use crate::values::{
    Listen, LogFormat, OnOff, Size, Time, contact, everywhere, machine_name, nats_servers, network,
    nick, push_service, read_password, room, server_name,
};

/// A chat server on one TCP port, for nc, telnet, curl, browsers, chatc and bots.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    note = "Sizes are bytes, or a number with KiB, MiB or GiB. Times are a number with ms, s, m or h.",
    note = "The protocol is described in protocol.md.",
    error_code(0, "stopped by SIGINT, SIGTERM or SHUTDOWN"),
    error_code(1, "could not start, for example because a port is in use"),
    error_code(2, "an invalid flag, or an invalid line in the --config file")
)]
pub struct Flags {
    /// a TOML file of flags without their dashes, such as max-upload = "1GiB" or memory = true; flags on the
    /// command line override it; `chatd config` prints an example
    #[argh(option, arg_name = "file")]
    pub config: Option<PathBuf>,

    /// where to listen: PORT, ADDRESS or ADDRESS:PORT; with tls://, http://, irc:// or ircs:// in front, only that
    /// protocol is accepted there; may be given more than once (default: the sockets that a service manager has
    /// opened; otherwise port 5002 on all addresses, IPv4 and IPv6, so anyone who can reach this machine can
    /// join)
    #[argh(option, arg_name = "address")]
    pub listen: Vec<Listen>,

    /// do not announce the server on the local network, where chatc finds servers (DNS-SD); a server that
    /// listens on this machine only is never announced
    #[argh(switch)]
    pub no_announce: bool,

    /// the certificate chain for TLS, in PEM; reloaded when it changes and on SIGHUP (default: a self-signed
    /// certificate that the server creates once)
    #[argh(option, arg_name = "file")]
    pub cert: Option<PathBuf>,

    /// the key of that certificate, in PEM
    #[argh(option, arg_name = "file")]
    pub key: Option<PathBuf>,

    /// whether to accept TLS: on or off (default: on)
    #[argh(option, arg_name = "on|off", default = "OnOff(true)")]
    pub tls: OnOff,

    /// whether to accept connections without TLS: on or off (default: on)
    #[argh(option, arg_name = "on|off", default = "OnOff(true)")]
    pub plain: OnOff,

    /// refuse passwords over plain text, except from this machine; without this flag the server accepts them
    /// and points out that TLS is available
    #[argh(switch)]
    pub require_tls: bool,

    /// whether to accept IRC clients: on or off (default: on)
    #[argh(option, arg_name = "on|off", default = "OnOff(true)")]
    pub irc: OnOff,

    /// whether to accept HTTP and WebSocket, for curl and browsers: on or off (default: on)
    #[argh(option, arg_name = "on|off", default = "OnOff(true)")]
    pub web: OnOff,

    /// whether to answer ntfy's clients, for which each room is a topic: on or off (default: off)
    #[argh(option, arg_name = "on|off", default = "OnOff(false)")]
    pub ntfy: OnOff,

    /// notify registered nicks of mentions and direct messages while the page is closed, through the push services
    /// of their browsers (Google, Mozilla, Microsoft, Apple); the value is the operator's address, which these
    /// services receive (http.md, section 6; default: off, and the server contacts nobody)
    #[argh(option, arg_name = "mailto:address", from_str_fn(contact))]
    pub push: Option<String>,

    /// another push service that browsers may use, as HOST:PORT, for tests or for a service of your own; the system
    /// must trust its certificate; may be given more than once
    #[argh(option, arg_name = "address", from_str_fn(push_service))]
    pub push_service: Vec<String>,

    /// a host name under which browsers open this server, in addition to its addresses, localhost and the
    /// machine's own name; may be given more than once
    #[argh(option, arg_name = "name")]
    pub host: Vec<String>,

    /// an address or network that may read /metrics, in addition to this machine, such as 10.0.0.0/8; may be
    /// given more than once (default: this machine only, since metrics reveal the activity)
    #[argh(option, arg_name = "network", from_str_fn(network))]
    pub metrics_from: Vec<Network>,

    /// an address or network of a trusted proxy, which reports the address of its clients: by X-Forwarded-For
    /// and X-Forwarded-Proto over HTTP, and by the PROXY protocol on any connection; may be given more than once
    #[argh(option, arg_name = "network", from_str_fn(network))]
    pub proxy: Vec<Network>,

    /// the data folder, created if missing (default: chatd-data in the current folder)
    #[argh(option, arg_name = "dir", default = "PathBuf::from(\"chatd-data\")")]
    pub data: PathBuf,

    /// keep messages in memory and leave nothing on disk: for a temporary chat
    #[argh(switch)]
    pub memory: bool,

    /// a file whose first line is the password of the server, which everybody has to give (PASS; default: none)
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// a file whose first line is a secret that chatd shares with `chatc --ssh`, so that users can log in over ssh with
    /// their keys (TOKEN; chatd.md, section 6; default: none)
    #[argh(option, arg_name = "file")]
    pub ssh_secret_file: Option<PathBuf>,

    /// the nick of an operator, who may KICK, BAN, NOTE, SHUTDOWN and REMOVE anything once the nick is
    /// registered; may be given more than once
    #[argh(option, arg_name = "nick", from_str_fn(nick))]
    pub operator: Vec<Nick>,

    /// the name of the server, one word (default: the machine's name)
    #[argh(
        option,
        arg_name = "word",
        default = "machine_name()",
        from_str_fn(server_name)
    )]
    pub name: String,

    /// the addresses of NATS servers, separated by commas, if several chatd share one chat (chatd.md; default: none)
    #[argh(option, arg_name = "nats", from_str_fn(nats_servers))]
    pub cluster: Option<Vec<String>>,

    /// the name of the chat that several chatd share: letters, digits, - and _ (default: chat)
    #[argh(option, arg_name = "word", default = "String::from(\"chat\")")]
    pub cluster_name: String,

    /// a PEM file with the certificates of the authorities to trust for NATS servers with tls:// (default: those that the
    /// system trusts)
    #[argh(option, arg_name = "file")]
    pub cluster_ca: Option<PathBuf>,

    /// the name of this chatd among those that share a chat: letters, digits, - and _ (default: --name)
    #[argh(option, arg_name = "word")]
    pub node: Option<String>,

    /// the room that people join first (default: #lobby)
    #[argh(
        option,
        arg_name = "room",
        default = "room(\"lobby\").expect(\"it is a name\")",
        from_str_fn(room)
    )]
    pub lobby: RoomName,

    // `help` describes each flag that is a limit by its row in `Limits::rows`.
    /// see [`Limits::connections_max`]
    #[argh(option, arg_name = "n", default = "Limits::default().connections_max")]
    pub max_connections: usize,

    /// see [`Limits::connections_per_address_max`]
    #[argh(
        option,
        arg_name = "n",
        default = "Limits::default().connections_per_address_max"
    )]
    pub max_per_address: usize,

    /// see [`Limits::memory_bytes_max`]
    #[argh(
        option,
        arg_name = "size",
        default = "Size(Limits::default().memory_bytes_max as u64)"
    )]
    pub max_memory: Size,

    /// see [`Limits::accounts_max`]
    #[argh(option, arg_name = "n", default = "Limits::default().accounts_max")]
    pub max_accounts: usize,

    /// see [`Limits::rooms_max`]
    #[argh(option, arg_name = "n", default = "Limits::default().rooms_max")]
    pub max_rooms: usize,

    /// see [`Limits::rooms_per_connection_max`]
    #[argh(
        option,
        arg_name = "n",
        default = "Limits::default().rooms_per_connection_max"
    )]
    pub rooms_per_connection: usize,

    /// see [`Limits::replies_max`]
    #[argh(option, arg_name = "n", default = "Limits::default().replies_max")]
    pub read_ahead: usize,

    /// see [`Limits::upload_bytes_max`]
    #[argh(
        option,
        arg_name = "size",
        default = "Size(Limits::default().upload_bytes_max)"
    )]
    pub max_upload: Size,

    /// see [`Limits::files_max`]
    #[argh(option, arg_name = "n", default = "Limits::default().files_max")]
    pub max_files: usize,

    /// see [`Limits::quota_bytes`]
    #[argh(option, arg_name = "size")]
    pub quota: Option<Size>,

    /// see [`Limits::quota_per_nick_bytes`]
    #[argh(option, arg_name = "size")]
    pub quota_per_nick: Option<Size>,

    /// see [`Limits::keep`]
    #[argh(option, arg_name = "days")]
    pub keep: Option<u32>,

    /// see [`Limits::keep_bytes`]
    #[argh(option, arg_name = "size")]
    pub keep_bytes: Option<Size>,

    /// see [`Limits::trim_every`]
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().trim_every)"
    )]
    pub trim_every: Time,

    /// see [`Limits::announce_up_to`]
    #[argh(option, arg_name = "n", default = "Limits::default().announce_up_to")]
    pub announce_up_to: usize,

    /// no effect; still accepted for old settings files
    #[argh(option, hidden_help, arg_name = "time")]
    pub greet_after: Option<Time>,

    /// see [`Limits::announce_after`]
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().announce_after)"
    )]
    pub announce_after: Time,

    /// see [`Limits::idle_after`]
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().idle_after)"
    )]
    pub idle_after: Time,

    /// see [`Limits::handshake_within`]
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().handshake_within)"
    )]
    pub handshake_within: Time,

    /// see [`Limits::guard_for`]
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().guard_for)"
    )]
    pub guard_for: Time,

    /// see [`Limits::drain_for`]
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().drain_for)"
    )]
    pub drain_for: Time,

    /// see [`Limits::stop_within`]
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().stop_within)"
    )]
    pub stop_within: Time,

    /// a command for a data folder, instead of serving
    #[argh(subcommand)]
    pub command: Option<Command>,

    /// the log level on standard error: off, error, warn, info, debug or trace (default: info)
    #[argh(option, arg_name = "level", default = "LevelFilter::INFO")]
    pub log_level: LevelFilter,

    /// the log format: text, or json for one object per line (default: text)
    #[argh(option, arg_name = "format", default = "LogFormat::Text")]
    pub log_format: LogFormat,

    /// print the version
    #[argh(switch)]
    pub version: bool,
}

impl Flags {
    /// Returns the configuration. If `is_open`, a service manager has passed sockets, so no others are opened by
    /// default.
    ///
    /// # Errors
    /// If the password cannot be read.
    pub fn into_config(self, is_open: bool) -> Result<Config, String> {
        let password = self.password_file.as_deref().map(read_password);
        let ssh_secret = self.ssh_secret_file.as_deref().map(read_password);
        let protocols = Protocols {
            plain: self.plain.0,
            tls: self.tls.0,
            lines: true,
            irc: self.irc.0,
            web: self.web.0,
        };
        let given = self.listen.into_iter().flat_map(|listen| {
            let Listen {
                addresses,
                protocols,
            } = listen;
            addresses.into_iter().map(move |addr| (addr, protocols))
        });
        let mut listen: Vec<_> = given.collect();
        if listen.is_empty() && !is_open {
            let everywhere = everywhere(PORT).into_iter();
            listen = everywhere.map(|addr| (addr, Protocols::ALL)).collect();
        }
        if !protocols.irc && listen.iter().any(|(_, there)| there.is_irc_only()) {
            return Err("--listen irc:// needs --irc on".into());
        }
        let listen = listen.into_iter().map(|(addr, there)| config::Listen {
            addr,
            protocols: there.and(protocols),
        });
        let node = self.node.unwrap_or_else(|| self.name.clone());
        let cluster = self.cluster.map(|nats| Cluster {
            nats,
            chat: self.cluster_name,
            node,
            authorities: self.cluster_ca,
        });
        let services = self.push_service;
        let push = self.push.map(|contact| Push { contact, services });
        Ok(Config {
            push,
            listen: listen.collect(),
            protocols,
            hosts: self.host,
            certificate: self.cert.zip(self.key),
            password: password.transpose()?,
            ssh_secret: ssh_secret.transpose()?,
            require_tls: self.require_tls,
            operators: self.operator,
            metrics_from: self.metrics_from,
            proxies: self.proxy,
            data: (!self.memory).then_some(self.data),
            cluster,
            name: self.name,
            lobby: self.lobby,
            ntfy: self.ntfy.0,
            announce: !self.no_announce,
            limits: Limits {
                upload_bytes_max: self.max_upload.0,
                files_max: self.max_files,
                quota_bytes: self.quota.map(|quota| quota.0),
                quota_per_nick_bytes: self.quota_per_nick.map(|quota| quota.0),
                keep: self
                    .keep
                    .map(|days| Duration::from_secs(u64::from(days) * 86_400)),
                keep_bytes: self.keep_bytes.map(|size| size.0),
                trim_every: self.trim_every.0,
                memory_bytes_max: usize::try_from(self.max_memory.0).unwrap_or(usize::MAX),
                accounts_max: self.max_accounts,
                rooms_max: self.max_rooms,
                rooms_per_connection_max: self.rooms_per_connection,
                replies_max: self.read_ahead,
                handshake_within: self.handshake_within.0,
                connections_max: self.max_connections,
                connections_per_address_max: self.max_per_address,
                announce_up_to: self.announce_up_to,
                announce_after: self.announce_after.0,
                idle_after: self.idle_after.0,
                guard_for: self.guard_for.0,
                drain_for: self.drain_for.0,
                stop_within: self.stop_within.0,
                ..Limits::default()
            },
        })
    }
}
