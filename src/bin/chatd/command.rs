//! The commands that work on a data folder. With one of them, `chatd` does not serve clients.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use argh::{ArgsInfo, FlagInfo, FromArgs};
use plainchat::config::file;
use plainchat::offline;
use plainchat::protocol::RoomName;

use crate::values::room;

/// A command.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
pub enum Command {
    Config(PrintConfig),
    Check(Check),
    Export(Export),
    Import(Import),
    Backup(Backup),
}

/// Print a file for --config: every flag as a comment under what it does.
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
        }
        Ok(ExitCode::SUCCESS)
    }
}
