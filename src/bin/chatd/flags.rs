//! The flags of `chatd`, and the configuration that they make.

use std::path::PathBuf;
use std::time::Duration;

use argh::{ArgsInfo, FromArgs};
use plainchat::config::{self, Config, Limits, Speaks};
use plainchat::protocol::whom::Network;
use plainchat::protocol::{Nick, PORT, RoomName};
use tracing::level_filters::LevelFilter;

use crate::command::Command;
use crate::values::{
    Listen, LogFormat, OnOff, Size, Time, everywhere, machine_name, network, nick, read_password,
    room, server_name,
};

/// A chat server on one TCP port that anything able to open a socket can join: nc, telnet, a script.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    note = "Sizes are bytes, or a number with KiB, MiB or GiB. Times are a number with ms, s, m or h.",
    note = "The protocol is described in protocol.md.",
    error_code(0, "it was told to stop (SIGINT or SIGTERM) and did"),
    error_code(1, "it could not start: a port in use, an unwritable folder"),
    error_code(
        2,
        "a flag, or a line of the --config file, that it does not understand"
    )
)]
pub struct Flags {
    /// a TOML file of flags without their dashes, as max-upload = "1GiB" or memory = true; the command line
    /// wins over it; `chatd config` prints one
    #[argh(option, arg_name = "file")]
    pub config: Option<PathBuf>,

    /// where to listen: PORT, ADDRESS or ADDRESS:PORT; with tls:// or http:// before it, only that is spoken
    /// there; may be given more than once (default: the sockets
    /// that a service manager has opened; else port 5002 on all addresses, IPv4 and IPv6, so that whoever
    /// reaches the machine reaches the chat)
    #[argh(option, arg_name = "address")]
    pub listen: Vec<Listen>,

    /// announce nothing on the local network, where chatc finds servers (DNS-SD); one that only this machine
    /// reaches is never announced
    #[argh(switch)]
    pub no_announce: bool,

    /// the certificate for TLS, and those that vouch for it, in PEM; read again when it changes and at SIGHUP
    /// (default: one that the server makes for itself once)
    #[argh(option, arg_name = "file")]
    pub cert: Option<PathBuf>,

    /// the key of that certificate, in PEM
    #[argh(option, arg_name = "file")]
    pub key: Option<PathBuf>,

    /// whether TLS is spoken: on or off (default: on)
    #[argh(option, arg_name = "on|off", default = "OnOff(true)")]
    pub tls: OnOff,

    /// whether anything is spoken without TLS: on or off (default: on)
    #[argh(option, arg_name = "on|off", default = "OnOff(true)")]
    pub plain: OnOff,

    /// take no password over plain text, except from this machine: without it the answer says that TLS is at hand
    #[argh(switch)]
    pub require_tls: bool,

    /// whether HTTP and WebSocket are spoken, for curl and browsers: on or off (default: on)
    #[argh(option, arg_name = "on|off", default = "OnOff(true)")]
    pub web: OnOff,

    /// a name under which browsers reach this server, besides its addresses, localhost and the machine's
    /// own name; may be given more than once
    #[argh(option, arg_name = "name")]
    pub host: Vec<String>,

    /// an address or network from which /metrics may be read, besides this machine, as 10.0.0.0/8; may be
    /// given more than once (default: this machine only, since they tell how much is going on)
    #[argh(option, arg_name = "network", from_str_fn(network))]
    pub metrics_from: Vec<Network>,

    /// an address or network of a proxy that is believed when it says for whom it asks: by X-Forwarded-For and
    /// X-Forwarded-Proto over HTTP, and by the PROXY protocol on any connection; may be given more than once
    #[argh(option, arg_name = "network", from_str_fn(network))]
    pub proxy: Vec<Network>,

    /// the folder for files, made if missing (default: chatd-data, in the present folder)
    #[argh(option, arg_name = "dir", default = "PathBuf::from(\"chatd-data\")")]
    pub data: PathBuf,

    /// keep nothing on disk after the end: for a throw-away chat
    #[argh(switch)]
    pub memory: bool,

    /// a file whose first line is the password that everybody must give first (PASS; default: none)
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// a nick whose owner, once it is registered, may KICK, BAN, NOTE, SHUTDOWN and REMOVE anything; may be
    /// given more than once
    #[argh(option, arg_name = "nick", from_str_fn(nick))]
    pub operator: Vec<Nick>,

    /// what the server calls itself, one word (default: the machine's name)
    #[argh(
        option,
        arg_name = "word",
        default = "machine_name()",
        from_str_fn(server_name)
    )]
    pub name: String,

    /// the room that a nick without a room joins (default: #lobby)
    #[argh(
        option,
        arg_name = "room",
        default = "room(\"lobby\").expect(\"it is a name\")",
        from_str_fn(room)
    )]
    pub lobby: RoomName,

    // What is a limit is described by its row in `Limits::rows`: see `help`.
    /// a limit
    #[argh(option, arg_name = "n", default = "Limits::default().connections_max")]
    pub max_connections: usize,

    /// a limit
    #[argh(
        option,
        arg_name = "n",
        default = "Limits::default().connections_per_address_max"
    )]
    pub max_per_address: usize,

    /// a limit
    #[argh(
        option,
        arg_name = "size",
        default = "Size(Limits::default().memory_bytes_max as u64)"
    )]
    pub max_memory: Size,

    /// a limit
    #[argh(option, arg_name = "n", default = "Limits::default().accounts_max")]
    pub max_accounts: usize,

    /// a limit
    #[argh(option, arg_name = "n", default = "Limits::default().rooms_max")]
    pub max_rooms: usize,

    /// a limit
    #[argh(
        option,
        arg_name = "n",
        default = "Limits::default().rooms_per_connection_max"
    )]
    pub rooms_per_connection: usize,

    /// a limit
    #[argh(option, arg_name = "n", default = "Limits::default().replies_max")]
    pub read_ahead: usize,

    /// a limit
    #[argh(
        option,
        arg_name = "size",
        default = "Size(Limits::default().upload_bytes_max)"
    )]
    pub max_upload: Size,

    /// a limit
    #[argh(option, arg_name = "n", default = "Limits::default().files_max")]
    pub max_files: usize,

    /// a limit
    #[argh(option, arg_name = "size")]
    pub quota: Option<Size>,

    /// a limit
    #[argh(option, arg_name = "size")]
    pub quota_per_nick: Option<Size>,

    /// a limit
    #[argh(option, arg_name = "days")]
    pub keep: Option<u32>,

    /// a limit
    #[argh(option, arg_name = "size")]
    pub keep_bytes: Option<Size>,

    /// a limit
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().trim_every)"
    )]
    pub trim_every: Time,

    /// a limit
    #[argh(option, arg_name = "n", default = "Limits::default().announce_up_to")]
    pub announce_up_to: usize,

    /// without effect, and accepted since files of settings still have it
    #[argh(option, hidden_help, arg_name = "time")]
    pub greet_after: Option<Time>,

    /// a limit
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().announce_after)"
    )]
    pub announce_after: Time,

    /// a limit
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().idle_after)"
    )]
    pub idle_after: Time,

    /// a limit
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().handshake_within)"
    )]
    pub handshake_within: Time,

    /// a limit
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().guard_for)"
    )]
    pub guard_for: Time,

    /// a limit
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().drain_for)"
    )]
    pub drain_for: Time,

    /// a limit
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().stop_within)"
    )]
    pub stop_within: Time,

    /// what to do with a data folder instead of serving
    #[argh(subcommand)]
    pub command: Option<Command>,

    /// what to log on standard error: off, error, warn, info, debug or trace (default: info)
    #[argh(option, arg_name = "level", default = "LevelFilter::INFO")]
    pub log_level: LevelFilter,

    /// how to log it: text, or json for an object a line (default: text)
    #[argh(option, arg_name = "format", default = "LogFormat::Text")]
    pub log_format: LogFormat,

    /// print the version
    #[argh(switch)]
    pub version: bool,
}

impl Flags {
    /// `is_open`: sockets were handed over, so that it need listen nowhere else.
    ///
    /// # Errors
    /// When the password cannot be read.
    pub fn into_config(self, is_open: bool) -> Result<Config, String> {
        let password = self.password_file.as_deref().map(read_password);
        let speaks = Speaks {
            plain: self.plain.0,
            tls: self.tls.0,
            lines: true,
            web: self.web.0,
        };
        let given = self.listen.into_iter().flat_map(|listen| {
            let Listen { addresses, speaks } = listen;
            addresses.into_iter().map(move |addr| (addr, speaks))
        });
        let mut listen: Vec<_> = given.collect();
        if listen.is_empty() && !is_open {
            let everywhere = everywhere(PORT).into_iter();
            listen = everywhere.map(|addr| (addr, Speaks::ALL)).collect();
        }
        let listen = listen.into_iter().map(|(addr, there)| config::Listen {
            addr,
            speaks: there.and(speaks),
        });
        Ok(Config {
            listen: listen.collect(),
            speaks,
            hosts: self.host,
            certificate: self.cert.zip(self.key),
            password: password.transpose()?,
            require_tls: self.require_tls,
            operators: self.operator,
            metrics_from: self.metrics_from,
            proxies: self.proxy,
            data: (!self.memory).then_some(self.data),
            name: self.name,
            lobby: self.lobby,
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
