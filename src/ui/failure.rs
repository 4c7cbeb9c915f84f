//! The errors of `chatc`, their texts for users, and the exit codes.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitStatus;

use super::environment::{PASSWORD_VARIABLE, SERVER_PASSWORD_VARIABLE};
use crate::client::{Error, plainly};
use crate::protocol::Code;
use crate::protocol::human::plural;

/// The exit codes of `chatc`. `chatc --help` lists them for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Success = 0,
    /// Something was refused, by the server or by this machine.
    Refused = 1,
    /// The command line could not be parsed.
    Usage = 2,
    /// The connection could not be made, broke, or was ended by the server.
    Lost = 3,
}

/// The reason why `chatc` failed; `Display` is one line for the user.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The connection or the server failed.
    Client(Error),
    /// The server has ended a conversation that had begun.
    Ended {
        /// The reason.
        error: Error,
        /// The number of typed lines that have not been answered.
        lines: usize,
    },
    /// A download was interrupted; the part that arrived is kept.
    Cut {
        /// The file with the part that arrived.
        part: PathBuf,
        /// The reason for the interruption.
        error: Error,
    },
    /// A local file could not be used.
    File {
        /// The operation that failed, such as `read`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A download would have overwritten this file.
    Exists(PathBuf),
    /// The settings are invalid.
    Settings {
        /// The file.
        path: PathBuf,
        /// The line in that file.
        line: usize,
        /// The problem at that place.
        why: String,
    },
    /// Several chats are announced, and the user has not named one.
    Several(Vec<String>),
    /// The local network could not be searched.
    Network(String),
    /// The user has left, and this many typed lines have not been answered.
    Unconfirmed(usize),
    /// The request cannot be fulfilled. The text says why, and what to do instead.
    Impossible(&'static str),
    /// The user's editor ended with an error.
    Editor {
        /// The command.
        editor: String,
        /// How the editor ended.
        status: ExitStatus,
    },
    /// Standard output cannot be written. With [`io::ErrorKind::BrokenPipe`], its reader has read all that it needs.
    Output(io::Error),
    /// Standard input could not be read.
    Input(io::Error),
}

impl Failure {
    /// Returns the exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Client(Error::Address(_)) | Self::Settings { .. } | Self::Several(_) => {
                Exit::Usage
            }
            Self::Client(error) | Self::Ended { error, .. } => match error {
                Error::Refused { .. } | Error::Invalid(_) | Error::Read(_) | Error::Corrupt => {
                    Exit::Refused
                }
                _ => Exit::Lost,
            },
            Self::Cut { .. } | Self::Network(_) | Self::Unconfirmed(_) => Exit::Lost,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
            Self::File { .. }
            | Self::Exists(_)
            | Self::Impossible(_)
            | Self::Editor { .. }
            | Self::Output(_)
            | Self::Input(_) => Exit::Refused,
        }
    }

    /// Returns the failure for an error with the file `path`. `verb` is the operation that failed.
    pub(super) fn file(
        verb: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(io::Error) -> Self {
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
            Self::Client(error) => explain(error, f),
            Self::Ended { error, lines } => {
                explain(error, f)?;
                match lines {
                    0 => Ok(()),
                    lines => write!(f, "; {}", unsent(*lines)),
                }
            }
            Self::Cut { part, error } => {
                write!(
                    f,
                    "{error}; run the same command again to continue from {}",
                    part.display()
                )
            }
            Self::File { verb, path, source } => {
                write!(f, "cannot {verb} {}: {}", path.display(), plainly(source))
            }
            Self::Exists(path) => write!(f, "{} already exists", path.display()),
            Self::Several(found) => {
                write!(
                    f,
                    "there are several chats; name the servers of one: {}",
                    found.join("; ")
                )
            }
            Self::Unconfirmed(lines) => f.write_str(&unsent(*lines)),
            Self::Impossible(why) => f.write_str(why),
            Self::Network(why) => write!(f, "cannot search the local network: {why}"),
            Self::Settings { path, line, why } => write!(f, "{}:{line}: {why}", path.display()),
            Self::Editor { editor, status } => {
                write!(f, "{editor} ended with {status}; the message is unchanged")
            }
            Self::Output(source) => write!(f, "cannot write: {}", plainly(source)),
            Self::Input(source) => write!(f, "cannot read standard input: {}", plainly(source)),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Client(error) | Self::Ended { error, .. } | Self::Cut { error, .. } => {
                Some(error)
            }
            Self::File { source, .. } | Self::Output(source) | Self::Input(source) => Some(source),
            Self::Exists(_)
            | Self::Settings { .. }
            | Self::Several(_)
            | Self::Network(_)
            | Self::Unconfirmed(_)
            | Self::Impossible(_)
            | Self::Editor { .. } => None,
        }
    }
}

/// Explains an error of the client to a user.
fn explain(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        Error::Refused {
            verb,
            code: Some(code),
            text,
        } => match (code, &verb[..]) {
            (Code::NeedPassword, "NICK") => write!(
                f,
                "that nick is registered: give its password (--password-file or {}), or take another nick (--nick)",
                PASSWORD_VARIABLE
            ),
            (Code::NeedPassword, _) => write!(
                f,
                "the server has a password: set the environment variable {}, or server-password-file in the settings file",
                SERVER_PASSWORD_VARIABLE
            ),
            (Code::BadPassword, "NICK") => write!(
                f,
                "the password is wrong for that nick: give the right one (--password-file or {}), or \
                 take another nick (--nick)",
                PASSWORD_VARIABLE
            ),
            (Code::NickTaken, _) => write!(f, "that nick is taken: choose another (--nick)"),
            (Code::NoSuchFile, "DOWNLOAD") => {
                write!(
                    f,
                    "there is no such file; to list the files, run `chatc files`"
                )
            }
            (Code::NoSuchRoom, _) => write!(
                f,
                "there is no such room; to list the rooms, run `chatc rooms`"
            ),
            (Code::NotAllowed, "JOIN" | "TELL") => write!(
                f,
                "the room is invite-only: if you were invited, give the nick and its password \
                 (--nick, --password-file)"
            ),
            (code, _) => write!(f, "{text} ({code})"),
        },
        error => fmt::Display::fmt(error, f),
    }
}

fn unsent(lines: usize) -> String {
    let lines = plural(lines, "line", "lines");
    format!("{lines} may not have been sent")
}

/// Prints a line for a user on standard error.
pub fn complain(what: impl fmt::Display) {
    let line = what.to_string();
    let line = crate::protocol::text::clean(&line);
    // If this cannot be written, the exit code still shows that something went wrong.
    let _ = writeln!(io::stderr(), "chatc: {line}");
}
