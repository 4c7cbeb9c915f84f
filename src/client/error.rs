//! What can go wrong for a client, told apart by whose turn it is to do something about it.

use std::{fmt, io};

use super::Address;
use crate::protocol::Code;

/// Why something that a [`Client`](super::Client) was asked for did not happen.
///
/// After [`Error::Refused`] the connection goes on, unless it says so where it is returned; after
/// [`Error::Line`] too. After any other the connection is of no more use.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// That text is no `HOST` or `HOST:PORT`.
    Address(String),
    /// Nobody answered at that address, or its name is not known.
    Connect {
        /// Where it was tried.
        address: Address,
        /// What the last try came to.
        source: io::Error,
    },
    /// The server's certificate is another than it was, and no authority vouches for it: it was made anew, or
    /// somebody is in between.
    Untrusted {
        /// Where.
        address: Address,
        /// The SHA-256 of what it shows now.
        fingerprint: String,
        /// Where the line stands that says what it was.
        file: Option<std::path::PathBuf>,
    },
    /// The connection broke, or ended in the middle of something.
    Lost(io::Error),
    /// The server ended the connection and said why.
    Closed {
        /// For programs; `None` for a word that this client does not know.
        code: Option<Code>,
        /// For people.
        text: String,
    },
    /// The server said no: its `ERR` line.
    Refused {
        /// The verb that was refused; `-` when the server could not read one.
        verb: String,
        /// For programs; `None` for a word that this client does not know.
        code: Option<Code>,
        /// For people.
        text: String,
    },
    /// The other side does not speak this protocol, or not rightly. The text says in what.
    Protocol(&'static str),
    /// What was to be sent cannot be one line; nothing was sent. The text says why.
    Line(&'static str),
    /// What was to be uploaded could not be read.
    Read(io::Error),
    /// A file arrived, here or there, other than it left: its digest does not fit.
    Corrupt,
}

impl Error {
    /// The code of the refusal, when it is one.
    pub fn refusal(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => *code,
            _ => None,
        }
    }

    /// The connection ended where more was to come.
    pub(super) fn cut(what: &'static str) -> Self {
        Self::Lost(io::Error::new(io::ErrorKind::UnexpectedEof, what))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(text) => write!(f, "{text:?} is no address: write HOST or HOST:PORT"),
            Self::Connect { address, source } => {
                write!(f, "cannot connect to {address}: {}", plainly(source))
            }
            Self::Untrusted {
                address,
                fingerprint,
                file,
            } => {
                let file = file
                    .as_deref()
                    .unwrap_or(std::path::Path::new("known_hosts"));
                write!(
                    f,
                    "THE CERTIFICATE OF {address} IS NOT THE ONE THAT IT HAD: somebody may be in between. \
                     Nothing was sent. Ask whoever runs the server for its SHA-256; if that is \
                     {fingerprint}, take the line of {}:{} out of {}",
                    address.host(),
                    address.port(),
                    file.display()
                )
            }
            Self::Lost(source) => write!(f, "the connection was lost: {}", plainly(source)),
            Self::Closed { text, .. } => write!(f, "the server closed the connection: {text}"),
            Self::Refused { code, text, .. } => match code {
                Some(code) => write!(f, "{text} ({code})"),
                None => f.write_str(text),
            },
            Self::Protocol(what) => {
                write!(f, "the other side does not speak this protocol: {what}")
            }
            Self::Line(why) => f.write_str(why),
            Self::Read(source) => write!(f, "cannot read what to upload: {}", plainly(source)),
            Self::Corrupt => {
                f.write_str("the file did not arrive as it was sent: its digest differs")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect { source, .. } | Self::Lost(source) | Self::Read(source) => Some(source),
            _ => None,
        }
    }
}

/// What the system said, for a person: without its number, and small at the start, as it follows a colon.
pub(crate) fn plainly(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn errors_read_as_one_line_for_a_person() {
        let error = Error::Connect {
            address: "localhost".parse().unwrap(),
            source: io::Error::from_raw_os_error(111),
        };
        assert_eq!(
            error.to_string(),
            "cannot connect to localhost:5002: connection refused"
        );
        assert!(error.source().is_some());
    }
}
