//! The errors of the client.

use std::{error, fmt, io};

/// Why something that was asked of a [`Handle`](super::Handle) failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The named part cannot be written in the protocol of NATS.
    Invalid(&'static str),
    /// The message is larger than the server allows. The fields are both sizes in bytes.
    TooLarge(usize, usize),
    /// The server takes what this client sends too slowly. Nothing was sent.
    Busy,
    /// The connection has ended.
    Closed,
    /// There was no answer in time. Whether the request had an effect is unknown.
    TimedOut,
    /// Nobody answers requests with this subject. For a stream: there is none, or it has no leader.
    NoResponders,
    /// JetStream refuses the request.
    Refused {
        /// The number of JetStream for the error, such as 10059: there is no such stream.
        code: u32,
        /// The reason for a person.
        text: String,
    },
    /// An answer cannot be read.
    Malformed(&'static str),
    /// The stream no longer has the messages that were asked for. The field is the sequence number of the first one
    /// that it has.
    Expired(u64),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(part) => write!(f, "NATS cannot carry {part}"),
            Self::TooLarge(bytes, most) => {
                write!(f, "a message of {bytes} bytes; NATS allows {most}")
            }
            Self::Busy => write!(f, "NATS is too slow"),
            Self::Closed => write!(f, "the connection with NATS has ended"),
            Self::TimedOut => write!(f, "NATS does not answer"),
            Self::NoResponders => write!(f, "NATS has nobody who answers this"),
            Self::Refused { code, text } => write!(f, "JetStream refuses: {text} ({code})"),
            Self::Malformed(part) => write!(f, "malformed {part} from JetStream"),
            Self::Expired(first) => write!(f, "JetStream has only messages from {first} on"),
        }
    }
}

impl error::Error for Error {}

/// The numbers of refusals that pass: no peers, no quorum, a cluster that is not ready, a consumer that has gone, and a
/// stream or a server that is offline; and the statuses of a consumer that has gone.
const TEMPORARY: [u32; 12] = [
    10004, 10005, 10008, 10009, 10014, 10023, 10074, 10118, 404, 408, 409, 503,
];

impl Error {
    /// Returns whether the same may succeed later, perhaps with another connection or consumer. JetStream refuses much
    /// for some time while it has no leader, or servers are restarted.
    pub fn passes(&self) -> bool {
        match self {
            Self::Busy | Self::Closed | Self::TimedOut | Self::NoResponders => true,
            Self::Malformed(_) => true,
            Self::Refused { code, .. } => TEMPORARY.contains(code),
            Self::Invalid(_) | Self::TooLarge(..) | Self::Expired(_) => false,
        }
    }
}

/// Why a connection could not be made, or has ended.
#[derive(Debug)]
pub enum Lost {
    /// The socket failed, or the name of the host is unknown.
    Io(io::Error),
    /// The server has closed the connection without a reason.
    Closed,
    /// The server has closed the connection for this reason.
    Refused(String),
    /// The server does not answer.
    Silent,
    /// The server sends something that is not the protocol of NATS.
    Malformed(Malformed),
    /// The server demands TLS, and its address does not begin with `tls://`.
    NeedsTls,
    /// The address begins with `tls://`, and the server does not use TLS.
    NoTls,
    /// The certificate of the server is not trusted. The field is the reason.
    Untrusted(String),
}

impl Lost {
    /// Returns whether the connection cannot be made, however often the client tries: its user or password is wrong, or
    /// TLS is not set up in the same way on both sides.
    pub fn is_final(&self) -> bool {
        match self {
            Self::NeedsTls | Self::NoTls | Self::Untrusted(_) => true,
            Self::Refused(text) => text
                .to_ascii_lowercase()
                .contains("authorization violation"),
            Self::Io(_) | Self::Closed | Self::Silent | Self::Malformed(_) => false,
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(e) => write!(f, "{e}"),
            Self::Closed => write!(f, "the server has closed the connection"),
            Self::Refused(text) => write!(f, "the server has closed the connection: {text}"),
            Self::Silent => write!(f, "the server does not answer"),
            Self::Malformed(malformed) => write!(f, "the server does not speak NATS: {malformed}"),
            Self::NeedsTls => write!(f, "the server demands TLS: write tls:// before its address"),
            Self::NoTls => write!(f, "the server does not use TLS"),
            Self::Untrusted(why) => write!(f, "its certificate is not trusted: {why}"),
        }
    }
}

impl error::Error for Lost {}

impl From<io::Error> for Lost {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<Malformed> for Lost {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Why bytes are not the protocol of NATS. The connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A line is longer than [`LINE_BYTES_MAX`](super::codec::LINE_BYTES_MAX), or [`INFO_BYTES_MAX`](super::codec::INFO_BYTES_MAX).
    LongLine,
    /// A message is larger than the server or [`MESSAGE_BYTES_MAX`](super::codec::MESSAGE_BYTES_MAX) allows.
    LargeMessage,
    /// The named part is wrong.
    Wrong(&'static str),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LongLine => write!(f, "a line is too long"),
            Self::LargeMessage => write!(f, "a message is too large"),
            Self::Wrong(part) => write!(f, "malformed {part}"),
        }
    }
}
