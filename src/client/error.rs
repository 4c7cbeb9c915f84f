//! The errors of the client.

use std::{fmt, io};

use super::address::{Address, InvalidAddress};
use crate::protocol::Code;

/// The reason why a request of a [`Client`](super::Client) failed.
///
/// After [`Error::Invalid`] and [`Error::Refused`], the connection can still be used, unless the method says
/// otherwise. After any other error it cannot.
///
/// ```
/// use plainchat::client::{Error, InvalidRequest};
/// use plainchat::protocol::Code;
///
/// fn advice(error: &Error) -> &'static str {
///     match error {
///         Error::Invalid(InvalidRequest::TooLong) => "send it as a file",
///         error if error.refusal() == Some(Code::NickTaken) => "choose another nick",
///         Error::Connect { .. } | Error::Lost(_) => "try again later",
///         _ => "give up",
///     }
/// }
/// assert_eq!(advice(&InvalidRequest::TooLong.into()), "send it as a file");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An address cannot be parsed.
    Address(InvalidAddress),
    /// No server answers at the address, the host's name is unknown, or the connection would not be secure.
    Connect {
        /// The address.
        address: Address,
        /// The error of the last attempt.
        source: io::Error,
    },
    /// The server's certificate has changed, and no certificate authority confirms the new one. Either it was
    /// renewed, or somebody intercepts the connection.
    Untrusted {
        /// The address.
        address: Address,
        /// The SHA-256 fingerprint of the server's new certificate.
        fingerprint: String,
        /// The file that contains the fingerprint of the old certificate.
        file: Option<std::path::PathBuf>,
    },
    /// The connection broke, or ended before a reply or a file was complete.
    Lost(io::Error),
    /// The server closed the connection and gave a reason.
    Closed {
        /// The reason for programs; `None` if this version does not know it.
        code: Option<Code>,
        /// The reason for people.
        text: String,
    },
    /// The server refused a request: its `ERR` line.
    Refused {
        /// The verb of the request; `-` if the server could not read it.
        verb: String,
        /// The reason for programs; `None` if this version does not know it.
        code: Option<Code>,
        /// The reason for people.
        text: String,
    },
    /// The server does not follow the protocol. The text says how.
    Protocol(&'static str),
    /// The request is invalid. Nothing was sent.
    Invalid(InvalidRequest),
    /// The file to upload could not be read.
    Read(io::Error),
    /// A file was changed during its transfer: its digest does not match.
    Corrupt,
}

/// The reason why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// The line is empty.
    Empty,
    /// The line has more than 4095 bytes.
    TooLong,
    /// A text of several lines has more than 64 KiB, more than 1000 lines, or a line of more than 4000 bytes.
    TextTooLong,
    /// The line contains a line break, or the text has several lines and the server does not accept such texts.
    LineBreak,
    /// A nick, a room or an emoji is empty or contains a space.
    NotOneWord,
    /// `UPLOAD`, `DOWNLOAD` and `TEXT` cannot be sent in this way, because they transfer bytes besides lines. Nor can
    /// `CHAT`, which changes the form of the replies.
    NotALineRequest,
    /// A tag is invalid. A tag that the protocol does not define must have a name that begins with `x-`; a message
    /// has at most 16 tags, with values of at most 256 bytes.
    BadTag,
    /// An action can be sent only to a joined room.
    NotInRoom,
    /// Too many requests are pending.
    QueueFull,
    /// The client has left.
    HasLeft,
}

impl Error {
    /// Returns the code of a refusal.
    pub fn refusal(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => *code,
            _ => None,
        }
    }

    /// Returns whether the server refuses the client only for a while. If another server shares its chat, that server may
    /// accept the client.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Refused { code, .. } | Self::Closed { code, .. } => matches!(
                code,
                Some(Code::Busy | Code::CutOff | Code::Internal | Code::ShuttingDown)
            ),
            _ => false,
        }
    }

    /// Returns the error for a connection that ended before `what` was complete.
    pub(super) fn cut(what: &'static str) -> Self {
        Self::Lost(io::Error::new(io::ErrorKind::UnexpectedEof, what))
    }
}

impl From<InvalidRequest> for Error {
    fn from(why: InvalidRequest) -> Self {
        Self::Invalid(why)
    }
}

impl From<InvalidAddress> for Error {
    fn from(why: InvalidAddress) -> Self {
        Self::Address(why)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(why) => why.fmt(f),
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
                    "THE CERTIFICATE OF {address} HAS CHANGED: somebody may be intercepting the connection. Nothing \
                     was sent. Ask the people who run the server for its SHA-256; if it is {fingerprint}, remove the \
                     line of {}:{} from {}",
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
            Self::Protocol(what) => write!(f, "the server does not speak this protocol: {what}"),
            Self::Invalid(why) => why.fmt(f),
            Self::Read(source) => write!(f, "cannot read the file to upload: {}", plainly(source)),
            Self::Corrupt => f.write_str("the file was altered on its way: its digest differs"),
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

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty line cannot be sent",
            Self::TooLong => "the line is too long: a line has at most 4095 bytes",
            Self::TextTooLong => {
                "the text is too long: it may have 1000 lines of 4000 bytes, and 64 KiB in all"
            }
            Self::LineBreak => "a line break cannot be sent: send each line on its own",
            Self::NotOneWord => "a nick, a room or an emoji is one word",
            Self::NotALineRequest => "UPLOAD, DOWNLOAD, TEXT and CHAT cannot be sent this way",
            Self::BadTag => "the tags cannot be sent: a name is x- followed by small letters, digits and -; a value has at most 256 bytes; and a message has at most 16 tags, with 1024 bytes in all",
            Self::NotInRoom => "join the room first: an action can be sent only to a room that you are in",
            Self::QueueFull => "too many lines are waiting to be sent; try again in a moment",
            Self::HasLeft => "you have left",
        })
    }
}

impl std::error::Error for InvalidRequest {}

/// Returns the error for an `ERR` line.
pub(super) fn refused(verb: &str, code: Option<Code>, text: &str) -> Error {
    Error::Refused {
        verb: verb.to_owned(),
        code,
        text: text.to_owned(),
    }
}

/// Returns the error for a `CLOSED` line.
pub(super) fn closed(code: Option<Code>, text: &str) -> Error {
    Error::Closed {
        code,
        text: text.to_owned(),
    }
}

/// Returns a system error for people: without its number, and in lower case, because it follows a colon.
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
    fn each_error_is_one_line_for_a_person() {
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
