//! `chatc` for people and pipes: what is typed becomes requests, what comes becomes lines to read.
//!
//! [`Wording`] words what the server says, [`Typed`] reads what a person types, both pure. [`screen`], [`plain`],
//! [`pipe`] and [`files`] are the ways to run, one at a time. Knows the server through [`crate::client`] only.

pub mod ask;
pub mod child;
mod cutter;
pub mod discover;
mod enter;
pub mod files;
pub mod home;
pub mod pipe;
pub mod plain;
pub mod print;
pub mod run;
pub mod screen;
pub mod server;
pub mod tail;
mod typed;
mod wording;

pub use enter::enter;
pub use typed::Typed;
pub use wording::Wording;

use std::fmt;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use futures_lite::{AsyncWrite, AsyncWriteExt};
use smol::Unblock;

use crate::client::{Error, plainly};
use crate::protocol::Code;

/// How `chatc` ends: its exit code. `chatc --help` lists them for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Well = 0,
    /// Something was refused, by the server or by this machine.
    Refused = 1,
    /// The command line was not understood.
    Usage = 2,
    /// No connection, or it broke, or the server ended it.
    Lost = 3,
}

/// Why `chatc` could not do something; `Display` is its one line for a person.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// What the connection came to.
    Client(Error),
    /// A download was cut; what came of it is kept.
    Cut {
        /// The file that holds the beginning.
        part: PathBuf,
        /// What happened.
        error: Error,
    },
    /// A file of this machine could not be used.
    File {
        /// What was tried, such as `read`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A download would have taken the place of that file.
    Exists(PathBuf),
    /// The settings say what this program does not understand.
    Settings {
        /// The file.
        path: PathBuf,
        /// Its line.
        line: usize,
        /// What is wrong there.
        why: String,
    },
    /// Several servers announce themselves, and none was named.
    Several(Vec<discover::Found>),
    /// The local network could not be asked.
    Network(String),
    /// Standard output took no more. [`io::ErrorKind::BrokenPipe`] is whoever read it being content.
    Output(io::Error),
    /// Standard input could not be read.
    Input(io::Error),
}

impl Failure {
    /// The exit code that fits.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Client(Error::Address(_)) | Self::Settings { .. } | Self::Several(_) => {
                Exit::Usage
            }
            Self::Client(
                Error::Refused { .. } | Error::Line(_) | Error::Read(_) | Error::Corrupt,
            ) => Exit::Refused,
            Self::Client(_) | Self::Cut { .. } | Self::Network(_) => Exit::Lost,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Well,
            Self::File { .. } | Self::Exists(_) | Self::Output(_) | Self::Input(_) => Exit::Refused,
        }
    }

    fn file(verb: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { verb, path, source }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(Error::Refused {
                verb,
                code: Some(code),
                text,
            }) => match (code, &verb[..]) {
                (Code::NeedPassword, "NICK") => write!(
                    f,
                    "{text}: give its password (--password-file or {}), or take another nick (--nick)",
                    server::PASSWORD_VARIABLE
                ),
                (Code::NeedPassword, _) => write!(
                    f,
                    "the server has a password: give it in {}, or in server-password-file of the settings",
                    server::SERVER_PASSWORD_VARIABLE
                ),
                (Code::BadPassword, "NICK") => write!(
                    f,
                    "the password is wrong for that nick: give the right one (--password-file or {}), or \
                     take another nick (--nick)",
                    server::PASSWORD_VARIABLE
                ),
                (Code::NickTaken, _) => write!(f, "that nick is taken: choose another (--nick)"),
                (Code::NoSuchFile, "DOWNLOAD") => {
                    write!(f, "there is no such file; chatc files lists them")
                }
                (Code::NoSuchRoom, _) => write!(f, "there is no such room; chatc rooms lists them"),
                (Code::NotAllowed, "JOIN" | "TELL") => write!(
                    f,
                    "the room is invite-only: if you were invited, give the nick and its password \
                     (--nick, --password-file)"
                ),
                (code, _) => write!(f, "{text} ({code})"),
            },
            Self::Client(error) => error.fmt(f),
            Self::Cut { part, error } => {
                write!(
                    f,
                    "{error}; the same command goes on from {}",
                    part.display()
                )
            }
            Self::File { verb, path, source } => {
                write!(f, "cannot {verb} {}: {}", path.display(), plainly(source))
            }
            Self::Exists(path) => write!(f, "{} already exists", path.display()),
            Self::Several(found) => {
                f.write_str("which server? name one:")?;
                found
                    .iter()
                    .try_for_each(|one| write!(f, " {} ({})", one.address, one.name))
            }
            Self::Network(why) => write!(f, "cannot ask the local network: {why}"),
            Self::Settings { path, line, why } => write!(f, "{}:{line}: {why}", path.display()),
            Self::Output(source) => write!(f, "cannot write: {}", plainly(source)),
            Self::Input(source) => write!(f, "cannot read standard input: {}", plainly(source)),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Client(error) | Self::Cut { error, .. } => Some(error),
            Self::File { source, .. } | Self::Output(source) | Self::Input(source) => Some(source),
            Self::Exists(_) | Self::Settings { .. } | Self::Several(_) | Self::Network(_) => None,
        }
    }
}

/// Standard input, whose end comes once.
///
/// [`Unblock`] reads on after an end that follows some bytes, and a terminal goes on after its end: so Ctrl-D
/// would have to be typed twice.
struct Input {
    stdin: io::Stdin,
    is_ended: bool,
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_ended || buffer.is_empty() {
            return Ok(0);
        }
        let length = self.stdin.read(buffer)?;
        self.is_ended = length == 0;
        Ok(length)
    }
}

/// Standard input, read ahead by `capacity` bytes on a thread of its own: it may be a file or a terminal.
fn input(capacity: usize) -> Unblock<Input> {
    let stdin = io::stdin();
    let input = Input {
        stdin,
        is_ended: false,
    };
    Unblock::with_capacity(capacity, input)
}

/// Writes to something that a thread of its own writes on. When that thread fails, it takes no more bytes, and
/// only flushing tells why.
async fn write_all(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    match to.write_all(bytes).await {
        Err(error) if error.kind() == io::ErrorKind::WriteZero => {
            to.flush().await?;
            Err(error)
        }
        result => result,
    }
}

/// Tells a person on standard error that something went wrong.
pub fn complain(what: impl fmt::Display) {
    let line = what.to_string();
    let line = crate::protocol::text::clean(&line);
    // Where nobody can be told, the exit code still says it.
    let _ = writeln!(io::stderr(), "chatc: {line}");
}
