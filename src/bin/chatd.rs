//! `chatd`: reads its flags, runs the server, and ends with an exit code.

use std::io::{IsTerminal, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use argh::{ArgsInfo, FlagInfo, FromArgs};
use plainchat::config::{self, Config, Limits, Speaks, file};
use plainchat::offline;
use plainchat::protocol::whom::Network;
use plainchat::protocol::{Nick, PORT, RoomName};
use plainchat::roster::Secret;
use plainchat::server::{self, Plain, listen, service};
use tracing::level_filters::LevelFilter;

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
struct Flags {
    /// a TOML file of flags without their dashes, as max-upload = "1GiB" or memory = true; the command line
    /// wins over it; `chatd config` prints one
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,

    /// where to listen: PORT, ADDRESS or ADDRESS:PORT; with tls:// or http:// before it, only that is spoken
    /// there; may be given more than once (default: the sockets
    /// that a service manager has opened; else port 5002 on all addresses, IPv4 and IPv6, so that whoever
    /// reaches the machine reaches the chat)
    #[argh(option, arg_name = "address")]
    listen: Vec<Listen>,

    /// announce nothing on the local network, where chatc finds servers (DNS-SD); one that only this machine
    /// reaches is never announced
    #[argh(switch)]
    no_announce: bool,

    /// the certificate for TLS, and those that vouch for it, in PEM; read again when it changes and at SIGHUP
    /// (default: one that the server makes for itself once)
    #[argh(option, arg_name = "file")]
    cert: Option<PathBuf>,

    /// the key of that certificate, in PEM
    #[argh(option, arg_name = "file")]
    key: Option<PathBuf>,

    /// whether TLS is spoken: on or off (default: on)
    #[argh(option, arg_name = "on|off", default = "OnOff(true)")]
    tls: OnOff,

    /// whether anything is spoken without TLS: on or off (default: on)
    #[argh(option, arg_name = "on|off", default = "OnOff(true)")]
    plain: OnOff,

    /// whether HTTP and WebSocket are spoken, for curl and browsers: on or off (default: on)
    #[argh(option, arg_name = "on|off", default = "OnOff(true)")]
    web: OnOff,

    /// a name under which browsers reach this server, besides its addresses, localhost and the machine's
    /// own name; may be given more than once
    #[argh(option, arg_name = "name")]
    host: Vec<String>,

    /// an address or network from which /metrics may be read, besides this machine, as 10.0.0.0/8; may be
    /// given more than once (default: this machine only, since they tell how much is going on)
    #[argh(option, arg_name = "network", from_str_fn(network))]
    metrics_from: Vec<Network>,

    /// the folder for files, made if missing (default: chatd-data, in the present folder)
    #[argh(option, arg_name = "dir", default = "PathBuf::from(\"chatd-data\")")]
    data: PathBuf,

    /// keep nothing on disk after the end: for a throw-away chat
    #[argh(switch)]
    memory: bool,

    /// a file whose first line is the password that everybody must give first (PASS; default: none)
    #[argh(option, arg_name = "file")]
    password_file: Option<PathBuf>,

    /// a nick whose owner, once it is registered, may KICK, BAN, NOTE, SHUTDOWN and REMOVE anything; may be
    /// given more than once
    #[argh(option, arg_name = "nick", from_str_fn(nick))]
    operator: Vec<Nick>,

    /// what the server calls itself, one word (default: the machine's name)
    #[argh(
        option,
        arg_name = "word",
        default = "machine_name()",
        from_str_fn(server_name)
    )]
    name: String,

    /// the room that a nick without a room joins (default: #lobby)
    #[argh(
        option,
        arg_name = "room",
        default = "room(\"lobby\").expect(\"it is a name\")",
        from_str_fn(room)
    )]
    lobby: RoomName,

    /// the largest file (default: 4GiB, so that a disk image fits)
    #[argh(
        option,
        arg_name = "size",
        default = "Size(Limits::default().upload_bytes_max)"
    )]
    max_upload: Size,

    /// bytes of all files together (default: as many as the disk takes)
    #[argh(option, arg_name = "size")]
    quota: Option<Size>,

    /// days for which what is said and uploaded is kept (default: for ever)
    #[argh(option, arg_name = "days")]
    keep: Option<u32>,

    /// bytes of log and files together from which on the oldest go (default: as many as the disk takes)
    #[argh(option, arg_name = "size")]
    keep_bytes: Option<Size>,

    /// how often what is to be kept no longer is taken out (default: 1h)
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().trim_every)"
    )]
    trim_every: Time,

    /// connections at once (default: 16384, below the usual limit of 20,000 open files)
    #[argh(option, arg_name = "n", default = "Limits::default().connections_max")]
    max_connections: usize,

    /// connections at once from one address, an IPv6 network of 64 bits being one (default: 1024, a school
    /// behind one router; this machine itself may have more)
    #[argh(
        option,
        arg_name = "n",
        default = "Limits::default().connections_per_address_max"
    )]
    max_per_address: usize,

    /// members up to which a room tells who comes and goes (default: 500; in a larger room that would be
    /// most of what is read)
    #[argh(option, arg_name = "n", default = "Limits::default().announce_up_to")]
    announce_up_to: usize,

    /// how long a client may be silent before it is greeted (default: 250ms; a script has spoken by then)
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().greet_after)"
    )]
    greet_after: Time,

    /// how long a member has stayed when its JOIN is announced (default: 1s; who comes, speaks and goes
    /// at once makes no noise)
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().announce_after)"
    )]
    announce_after: Time,

    /// how long a connection without nick and room may ask nothing (default: 10m; people read slowly)
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().idle_after)"
    )]
    idle_after: Time,

    /// how long a nick with a password is held for its owner's return (default: 2m; a broken connection
    /// is back by then)
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().guard_for)"
    )]
    guard_for: Time,

    /// how long to wait for a client to close its side (default: 10s; a last line on a slow link arrives)
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().drain_for)"
    )]
    drain_for: Time,

    /// how long everything may take to end at a stop (default: 4s; service managers wait 5s and more)
    #[argh(
        option,
        arg_name = "time",
        default = "Time(Limits::default().stop_within)"
    )]
    stop_within: Time,

    /// what to do with a data folder instead of serving
    #[argh(subcommand)]
    command: Option<Command>,

    /// what to log on standard error: off, error, warn, info, debug or trace (default: info)
    #[argh(option, arg_name = "level", default = "LevelFilter::INFO")]
    log_level: LevelFilter,

    /// how to log it: text, or json for an object a line (default: text)
    #[argh(option, arg_name = "format", default = "LogFormat::Text")]
    log_format: LogFormat,
}

#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
enum Command {
    Config(PrintConfig),
    Check(Check),
    Export(Export),
    Import(Import),
    Backup(Backup),
}

/// Print a file for --config: every flag as a comment under what it does.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "config")]
struct PrintConfig {}

/// Look at everything in a data folder: the log, and every file's digest. Ends with 1 if something is wrong.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "check")]
struct Check {
    /// the folder (default: chatd-data)
    #[argh(option, arg_name = "dir", default = "PathBuf::from(\"chatd-data\")")]
    data: PathBuf,

    /// mend what can be: files whose bytes are lost or damaged are given up, left-overs go, the search
    /// index is made anew; not while a server uses the folder
    #[argh(switch)]
    repair: bool,
}

/// Write what was said as PAST lines to standard output; also beside a running server.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "export")]
struct Export {
    /// the folder (default: chatd-data)
    #[argh(option, arg_name = "dir", default = "PathBuf::from(\"chatd-data\")")]
    data: PathBuf,

    /// one room (default: all)
    #[argh(positional, from_str_fn(room))]
    room: Option<RoomName>,
}

/// Take in PAST lines from standard input, all of them or none; not while a server uses the folder.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "import")]
struct Import {
    /// the folder (default: chatd-data)
    #[argh(option, arg_name = "dir", default = "PathBuf::from(\"chatd-data\")")]
    data: PathBuf,
}

/// Copy a data folder, as it is at one moment, to a new folder; also beside a running server.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "backup")]
struct Backup {
    /// the folder (default: chatd-data)
    #[argh(option, arg_name = "dir", default = "PathBuf::from(\"chatd-data\")")]
    data: PathBuf,

    /// the new folder
    #[argh(positional)]
    to: PathBuf,
}

impl Command {
    fn run(self) -> Result<ExitCode, offline::Error> {
        let mut out = std::io::stdout().lock();
        match self {
            Self::Config(PrintConfig {}) => {
                // Nobody need be reading.
                let _ = out.write_all(file::example(&flags_of_a_file()).as_bytes());
            }
            Self::Check(Check { data, repair }) => {
                let faults = offline::check(&data, repair)?;
                for fault in &faults {
                    let _ = writeln!(out, "{fault}");
                }
                let mended = if repair {
                    ", mended as far as it can be"
                } else {
                    ""
                };
                let _ = match faults.len() {
                    0 => writeln!(out, "{}: all is well", data.display()),
                    n => writeln!(out, "{}: {n} faults{mended}", data.display()),
                };
                return Ok(if faults.is_empty() {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::FAILURE
                });
            }
            Self::Export(Export { data, room }) => {
                let mut out = std::io::BufWriter::new(out);
                match offline::export(&data, room.as_ref(), &mut out) {
                    // Whoever reads has seen enough.
                    Err(offline::Error::Stream(e))
                        if e.kind() == std::io::ErrorKind::BrokenPipe => {}
                    done => done?,
                }
            }
            Self::Import(Import { data }) => {
                let count = offline::import(&data, std::io::stdin().lock())?;
                let _ = writeln!(out, "{count} events taken in");
            }
            Self::Backup(Backup { data, to }) => offline::backup(&data, &to)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let flags = match read_flags(&words) {
        Ok(flags) => flags,
        Err(code) => return code,
    };
    let log = tracing_subscriber::fmt()
        .with_max_level(flags.log_level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    match flags.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    if let Some(command) = flags.command {
        return command.run().unwrap_or_else(|e| {
            eprintln!("chatd: {e}");
            ExitCode::FAILURE
        });
    }
    let wrong = if flags.cert.is_some() != flags.key.is_some() {
        Some("--cert and --key go together")
    } else if !flags.plain.0 && !flags.tls.0 {
        Some("with --plain off and --tls off nothing is left to speak")
    } else {
        None
    };
    if let Some(wrong) = wrong {
        eprintln!("chatd: {wrong} (chatd --help lists the flags)");
        return ExitCode::from(2);
    }
    let sockets = match service::sockets() {
        Ok(sockets) => sockets,
        Err(e) => return fail(&format!("cannot use what was handed over: {}", Plain(&e))),
    };
    let config = match flags.into_config(!sockets.is_empty()) {
        Ok(config) => config,
        Err(why) => return fail(&why),
    };
    match server::run(config, sockets, tell_listening) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(&e.to_string()),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("chatd: {why}");
    ExitCode::FAILURE
}

/// The flags of the command line, and under them those of the file that it names.
fn read_flags(words: &[&str]) -> Result<Flags, ExitCode> {
    let flags = Flags::from_args(&["chatd"], words).map_err(|exit| answer(&exit))?;
    let Some(path) = &flags.config else {
        return Ok(flags);
    };
    let name = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|e| fail(&format!("{name}: {}", Plain(&e))))?;
    let wrong = |what: &str| {
        eprintln!("chatd: {name}: {what} (chatd config lists what may stand there)");
        ExitCode::from(2)
    };
    let table = flags_of_a_file();
    let all = file::words(&text, &table, &[]).map_err(|e| wrong(&e.to_string()))?;
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    // By itself first, so that what is wrong in it is told as being there, whatever the command line says.
    Flags::from_args(&["chatd"], &all)
        .map_err(|exit| wrong(exit.output.lines().next().unwrap_or_default()))?;
    let below = file::words(&text, &table, words).map_err(|e| wrong(&e.to_string()))?;
    let both = below
        .iter()
        .map(String::as_str)
        .chain(words.iter().copied());
    Flags::from_args(&["chatd"], &both.collect::<Vec<_>>()).map_err(|exit| answer(&exit))
}

/// The flags that may stand in a file: all that a server takes but the one that names the file.
fn flags_of_a_file() -> Vec<&'static FlagInfo<'static>> {
    let flags = Flags::get_args_info().flags.iter();
    flags
        .filter(|flag| !["--config", "--help"].contains(&flag.long))
        .collect()
}

/// `--help`, or what is wrong with the flags.
fn answer(exit: &argh::EarlyExit) -> ExitCode {
    match exit.status {
        Ok(()) => {
            print!("{}", exit.output);
            ExitCode::SUCCESS
        }
        Err(()) => {
            let line = exit.output.lines().next().unwrap_or("bad flags");
            eprintln!("chatd: {line} (chatd --help lists the flags)");
            ExitCode::from(2)
        }
    }
}

/// A line for each address, which a script can wait for; then, for a person, how others come in.
fn tell_listening(places: &[config::Listen], fingerprint: Option<&str>) {
    let mut text = String::new();
    for place in places {
        text += &format!("chatd: listening on {}\n", place.addr);
    }
    if let Some(fingerprint) = fingerprint {
        text += &format!("chatd: the certificate's SHA-256 is {fingerprint}\n");
    }
    text += "To come in from any machine that reaches this one, type or open:\n";
    for place in places {
        for ip in listen::reachable(place.addr) {
            let there = SocketAddr::new(ip, place.addr.port());
            let ways = ways_in(there, place.speaks);
            if !ways.is_empty() {
                text += &format!("  {}\n", ways.join("   "));
            }
        }
    }
    // Nobody need be reading.
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What a person types or opens to come in `there`.
fn ways_in(there: SocketAddr, speaks: Speaks) -> Vec<String> {
    let (nc, http) = match speaks.plain {
        true => ("nc", "http"),
        false => ("ncat --ssl", "https"),
    };
    let lines = format!("{nc} {} {}", there.ip(), there.port());
    let page = format!("{http}://{there}/");
    let ways = [(speaks.lines, lines), (speaks.web, page)];
    let ways = ways.into_iter().filter(|(is_spoken, _)| *is_spoken);
    ways.map(|(_, way)| way).collect()
}

impl Flags {
    /// `is_open`: sockets were handed over, so that it need listen nowhere else.
    ///
    /// # Errors
    /// When the password cannot be read.
    fn into_config(self, is_open: bool) -> Result<Config, String> {
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
            operators: self.operator,
            metrics_from: self.metrics_from,
            data: (!self.memory).then_some(self.data),
            name: self.name,
            lobby: self.lobby,
            announce: !self.no_announce,
            limits: Limits {
                upload_bytes_max: self.max_upload.0,
                quota_bytes: self.quota.map(|quota| quota.0),
                keep: self
                    .keep
                    .map(|days| Duration::from_secs(u64::from(days) * 86_400)),
                keep_bytes: self.keep_bytes.map(|size| size.0),
                trim_every: self.trim_every.0,
                connections_max: self.max_connections,
                connections_per_address_max: self.max_per_address,
                announce_up_to: self.announce_up_to,
                greet_after: self.greet_after.0,
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

/// All addresses; of IPv6 only if the machine has it.
fn everywhere(port: u16) -> Vec<SocketAddr> {
    let has_v6 = std::net::UdpSocket::bind("[::]:0").is_ok();
    let any = ["0.0.0.0", "::"].iter().take(if has_v6 { 2 } else { 1 });
    any.filter_map(|ip| Some(SocketAddr::new(ip.parse().ok()?, port)))
        .collect()
}

/// The addresses of one `--listen`.
struct Listen {
    addresses: Vec<SocketAddr>,
    speaks: Speaks,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = Speaks::ALL;
        let (speaks, place) = match text.split_once("://") {
            None => (all, text),
            Some(("tls", place)) => (
                Speaks {
                    plain: false,
                    ..all
                },
                place,
            ),
            Some(("http", place)) => {
                let http = Speaks {
                    tls: false,
                    lines: false,
                    ..all
                };
                (http, place)
            }
            Some((kind, _)) => {
                return Err(format!("{kind}:// is not known; tls:// and http:// are"));
            }
        };
        Ok(Self {
            addresses: addresses(place)?,
            speaks,
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
    let found = found.map_err(|_| format!("{text} is no address"))?;
    Ok(found.collect())
}

/// Whether something is done.
struct OnOff(bool);

impl FromStr for OnOff {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "on" => Ok(Self(true)),
            "off" => Ok(Self(false)),
            _ => Err(format!("{text} is neither on nor off")),
        }
    }
}

/// How the log is written.
enum LogFormat {
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
            _ => Err("a log is text or json"),
        }
    }
}

/// A number of bytes.
struct Size(u64);

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
            .ok_or_else(|| format!("{text} is no size, as 100MiB is"))
    }
}

/// A length of time.
struct Time(Duration);

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
            .ok_or_else(|| format!("{text} is no time, as 250ms or 10m is"))
    }
}

fn room(text: &str) -> Result<RoomName, String> {
    RoomName::parse_loose(text).map_err(|e| e.to_string())
}

fn nick(text: &str) -> Result<Nick, String> {
    Nick::parse(text).map_err(|e| e.to_string())
}

/// The first line of a file.
fn read_password(path: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|e| format!("cannot read the password in {}: {e}", path.display()))?;
    match text.lines().next().unwrap_or_default() {
        "" => Err(format!("there is no password in {}", path.display())),
        line => Ok(Secret::new(line)),
    }
}

fn network(text: &str) -> Result<Network, String> {
    Network::parse(text).ok_or_else(|| format!("{text} is no network, as 10.0.0.0/8 is"))
}

fn server_name(text: &str) -> Result<String, String> {
    let is_word = !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || "-_.".contains(c));
    is_word
        .then(|| text.to_owned())
        .ok_or_else(|| "a name is one word of letters, digits, -, _ and .".into())
}

fn machine_name() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    server_name(&name).unwrap_or_else(|_| "chatd".into())
}
