//! The commands that work on a data folder. With one of them, `chatd` does not serve clients.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use argh::{ArgsInfo, FlagInfo, FromArgs};
use plainchat::config::{self, file};
use plainchat::offline;
use plainchat::protocol::ssh::{PublicKey, SEVERAL_NICKS};
use plainchat::protocol::{RoomName, human};
use plainchat::replica::{self, Repaired};

use crate::values::{NatsServers, nats_servers, room};

/// A command.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
pub enum Command {
    Config(PrintConfig),
    Check(Check),
    Export(Export),
    Import(Import),
    Backup(Backup),
    Keys(Keys),
    Cluster(Cluster),
}

/// Print a file for --config: every flag, as a comment below its description.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "config")]
pub struct PrintConfig {}

/// Check a data folder: the log, and the digest of every file. Ends with 1 if something is wrong.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "check")]
pub struct Check {
    /// the folder (default: chatd-data)
    #[argh(option, arg_name = "dir", default = "PathBuf::from(\"chatd-data\")")]
    data: PathBuf,

    /// repair what can be repaired: remove damaged files and leftovers, rebuild the search index; not while
    /// a server uses the folder
    #[argh(switch)]
    repair: bool,
}

/// Print the log as PAST lines; also while a server uses the folder.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "export")]
pub struct Export {
    /// the folder (default: chatd-data)
    #[argh(option, arg_name = "dir", default = "PathBuf::from(\"chatd-data\")")]
    data: PathBuf,

    /// one room (default: all)
    #[argh(positional, from_str_fn(room))]
    room: Option<RoomName>,
}

/// Import PAST lines from standard input, all of them or none; not while a server uses the folder.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "import")]
pub struct Import {
    /// the folder (default: chatd-data)
    #[argh(option, arg_name = "dir", default = "PathBuf::from(\"chatd-data\")")]
    data: PathBuf,
}

/// Copy a data folder, as of one moment, to a new folder; also while a server uses it.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "backup")]
pub struct Backup {
    /// the folder (default: chatd-data)
    #[argh(option, arg_name = "dir", default = "PathBuf::from(\"chatd-data\")")]
    data: PathBuf,

    /// the new folder
    #[argh(positional)]
    to: PathBuf,
}

/// Print the line of authorized_keys for a key that logs in over ssh: the AuthorizedKeysCommand of sshd; also while a
/// server uses the folder.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "keys")]
pub struct Keys {
    /// the folder (default: chatd-data)
    #[argh(option, arg_name = "dir", default = "PathBuf::from(\"chatd-data\")")]
    data: PathBuf,

    /// the program to run for the owner of the key (default: chatc beside this program)
    #[argh(option, arg_name = "path")]
    chatc: Option<PathBuf>,

    /// where chatd listens (default: 127.0.0.1:5002)
    #[argh(
        option,
        arg_name = "address",
        default = "String::from(\"127.0.0.1:5002\")"
    )]
    host: String,

    /// the file with the secret that chatd and chatc share; chatc must be able to read it
    #[argh(option, arg_name = "file")]
    ssh_secret_file: PathBuf,

    /// the type of the key and the key: %t %k of sshd
    #[argh(positional)]
    key: Vec<String>,
}

/// Manage a chat that several chatd share through NATS servers.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "cluster")]
pub struct Cluster {
    #[argh(subcommand)]
    command: ClusterCommand,
}

#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
enum ClusterCommand {
    Init(Init),
    Leave(Leave),
    Status(Status),
    Repair(Repair),
}

/// Start a chat for several chatd from a data folder, which may be empty; not while a server uses the folder.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "init")]
struct Init {
    /// the folder (default: chatd-data)
    #[argh(option, arg_name = "dir", default = "PathBuf::from(\"chatd-data\")")]
    data: PathBuf,

    /// the addresses of the NATS servers, separated by commas
    #[argh(option, arg_name = "nats", from_str_fn(nats_servers))]
    cluster: NatsServers,

    /// a PEM file with the certificates of the authorities to trust for NATS servers with tls:// (default: those that the
    /// system trusts)
    #[argh(option, arg_name = "file")]
    cluster_ca: Option<PathBuf>,

    /// the name of the chat (default: chat)
    #[argh(option, arg_name = "word", default = "String::from(\"chat\")")]
    cluster_name: String,
}

/// Turn a data folder back into that of a single chatd; not while a server uses the folder.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "leave")]
struct Leave {
    /// the folder (default: chatd-data)
    #[argh(option, arg_name = "dir", default = "PathBuf::from(\"chatd-data\")")]
    data: PathBuf,
}

/// Print which servers a chat has, and how far they have read the shared log; without --cluster, how far a data folder
/// has followed it, also while a server uses the folder.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "status")]
struct Status {
    /// the folder (default: chatd-data)
    #[argh(option, arg_name = "dir", default = "PathBuf::from(\"chatd-data\")")]
    data: PathBuf,

    /// the addresses of the NATS servers, separated by commas: ask the servers of the chat
    #[argh(option, arg_name = "nats", from_str_fn(nats_servers))]
    cluster: Option<NatsServers>,

    /// a PEM file with the certificates of the authorities to trust for NATS servers with tls:// (default: those that the
    /// system trusts)
    #[argh(option, arg_name = "file")]
    cluster_ca: Option<PathBuf>,

    /// the name of the chat (default: chat)
    #[argh(option, arg_name = "word", default = "String::from(\"chat\")")]
    cluster_name: String,
}

/// Continue a chat whose log NATS has lost, from the data folder with the most messages; not while a server of the chat
/// runs.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "repair")]
struct Repair {
    /// the folder (default: chatd-data)
    #[argh(option, arg_name = "dir", default = "PathBuf::from(\"chatd-data\")")]
    data: PathBuf,

    /// the addresses of the NATS servers, separated by commas
    #[argh(option, arg_name = "nats", from_str_fn(nats_servers))]
    cluster: NatsServers,

    /// a PEM file with the certificates of the authorities to trust for NATS servers with tls:// (default: those that the
    /// system trusts)
    #[argh(option, arg_name = "file")]
    cluster_ca: Option<PathBuf>,

    /// the name of the chat (default: chat)
    #[argh(option, arg_name = "word", default = "String::from(\"chat\")")]
    cluster_name: String,
}

impl ClusterCommand {
    /// Runs the command, and returns what it prints.
    fn run(self) -> Result<String, replica::Error> {
        match self {
            Self::Init(Init {
                data,
                cluster,
                cluster_ca,
                cluster_name,
            }) => {
                let settings = settings("init", cluster, cluster_ca, cluster_name)?;
                replica::init(&settings, &data)?;
                Ok(format!(
                    "{}: the first folder of the chat {}\n",
                    data.display(),
                    settings.chat
                ))
            }
            Self::Leave(Leave { data }) => {
                replica::leave(&data)?;
                Ok(format!(
                    "{}: the folder of a single chatd\n",
                    data.display()
                ))
            }
            Self::Status(Status {
                cluster: Some(nats),
                cluster_ca,
                cluster_name,
                ..
            }) => status(&settings("status", nats, cluster_ca, cluster_name)?),
            Self::Status(Status { data, .. }) => Ok(match replica::position(&data)? {
                None => format!("{}: the folder of a single chatd\n", data.display()),
                Some(position) => format!(
                    "{}: the chat {}, stored up to message {}\n",
                    data.display(),
                    position.log,
                    position.newest()
                ),
            }),
            Self::Repair(Repair {
                data,
                cluster,
                cluster_ca,
                cluster_name,
            }) => {
                let settings = settings("repair", cluster, cluster_ca, cluster_name)?;
                Ok(match replica::repair(&settings, &data)? {
                    Repaired::Nothing => format!("{}: nothing to repair\n", data.display()),
                    Repaired::NewLog(first) => format!(
                        "{}: the chat {} continues with this folder, from message {first} on\n",
                        data.display(),
                        settings.chat
                    ),
                })
            }
        }
    }
}

/// Returns what connects a command with NATS. `who` is its name there.
fn settings(
    who: &str,
    nats: NatsServers,
    authorities: Option<PathBuf>,
    chat: String,
) -> Result<replica::Settings, replica::Error> {
    replica::Settings::of(&config::Cluster {
        nats,
        chat,
        node: who.into(),
        authorities,
    })
}

/// Asks the servers of a chat about themselves, and returns what they tell.
fn status(settings: &replica::Settings) -> Result<String, replica::Error> {
    let (log, servers) = replica::status(settings)?;
    let mut text = format!(
        "the chat {}: messages {} to {} of the log, {}\n",
        settings.chat,
        log.first,
        log.last,
        human::size(log.bytes)
    );
    for server in &servers {
        let state = if server.is_ready {
            "serves clients"
        } else {
            "cut off or catching up"
        };
        text.push_str(&format!(
            "{}: {state}, has read up to message {}, chatd {}\n",
            server.server, server.read_to, server.version
        ));
    }
    if servers.is_empty() {
        text.push_str("no server answers\n");
    }
    Ok(text)
}

/// The maximum memory of one `chatc` that serves an ssh client, in KiB. Usually `chatc` needs about a tenth of this.
const CHATC_DATA_KIB: u32 = 262_144;

impl Keys {
    /// Returns the line for the key; empty if nobody has added it.
    ///
    /// # Errors
    /// The reason why the line cannot be written.
    fn line(&self) -> Result<String, String> {
        let Some(key) = PublicKey::parse(&self.key.join(" ")) else {
            return Ok(String::new());
        };
        let nicks = offline::nicks_of_key(&self.data, &key).map_err(|e| e.to_string())?;
        let nick = match &nicks[..] {
            [] => return Ok(String::new()),
            [nick] => nick.as_str(),
            // The client must say which of the nicks it wants.
            _ => SEVERAL_NICKS,
        };
        let beside = std::env::current_exe().map(|chatd| chatd.with_file_name("chatc"));
        let chatc = self.chatc.clone().or(beside.ok());
        let chatc = chatc.ok_or("the path of chatc is unknown; give it with --chatc PATH")?;
        let fingerprint = key.fingerprint();
        let (chatc, secret_file) = (
            chatc.to_string_lossy(),
            self.ssh_secret_file.to_string_lossy(),
        );
        let words: [&str; 6] = [
            &chatc,
            "--ssh",
            nick,
            &fingerprint,
            &secret_file,
            &self.host,
        ];
        // sshd removes the double quotes around the command, and passes it to a shell.
        let ends_a_quote = |c: char| c.is_control() || "'\"\\".contains(c);
        if let Some(word) = words.iter().find(|word| word.contains(ends_a_quote)) {
            return Err(format!("{word}: write it without quotes and backslashes"));
        }
        let command = words.map(|word| format!("'{word}'")).join(" ");
        Ok(format!(
            "restrict,pty,command=\"ulimit -d {CHATC_DATA_KIB} && exec {command}\" {key}\n"
        ))
    }
}

impl Command {
    /// Runs the command. `settings` are the flags that the example of a settings file shows.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn run(self, settings: &[&FlagInfo<'static>]) -> Result<ExitCode, offline::Error> {
        let mut out = std::io::stdout().lock();
        match self {
            Self::Config(PrintConfig {}) => {
                // Ignore write errors: stdout may be closed.
                let _ = out.write_all(file::example(settings).as_bytes());
            }
            Self::Check(Check { data, repair }) => {
                let faults = offline::check(&data, repair)?;
                for fault in &faults {
                    let _ = writeln!(out, "{fault}");
                }
                let mended = if repair {
                    ", repaired as far as possible"
                } else {
                    ""
                };
                let _ = match faults.len() {
                    0 => writeln!(out, "{}: no faults", data.display()),
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
                    // A reader that closes the pipe early is not an error.
                    Err(offline::Error::Stream(e))
                        if e.kind() == std::io::ErrorKind::BrokenPipe => {}
                    done => done?,
                }
            }
            Self::Import(Import { data }) => {
                let count = offline::import(&data, std::io::stdin().lock())?;
                let _ = writeln!(out, "{count} events imported");
            }
            Self::Backup(Backup { data, to }) => offline::backup(&data, &to)?,
            Self::Cluster(Cluster { command }) => match command.run() {
                Ok(text) => {
                    let _ = out.write_all(text.as_bytes());
                }
                Err(why) => {
                    let _ = writeln!(std::io::stderr(), "chatd: {why}");
                    return Ok(ExitCode::FAILURE);
                }
            },
            Self::Keys(keys) => match keys.line() {
                Ok(line) => {
                    let _ = out.write_all(line.as_bytes());
                }
                Err(why) => {
                    let _ = writeln!(std::io::stderr(), "chatd: {why}");
                    return Ok(ExitCode::FAILURE);
                }
            },
        }
        Ok(ExitCode::SUCCESS)
    }
}
