//! The wire protocol in both directions, shared by server and client: it converts bytes to values and back.
//!
//! This module is pure: it uses no sockets, files, clock or executor. `session` and `chat` execute the requests. Read
//! [`mod@line`] first, then [`request`] and [`event`]. `protocol.md` is the specification.

pub mod ban_target;
pub mod code;
pub mod commands;
mod compose;
mod digest;
pub mod event;
pub mod human;
#[cfg(any(feature = "server", feature = "chatc"))]
pub mod json;
pub mod line;
pub mod multiline;
pub mod name;
pub mod request;
#[cfg(any(feature = "server", feature = "chatc"))]
pub mod ssh;
pub mod tags;
pub mod text;
mod time;

pub use code::Code;
pub use commands::Verb;
pub use digest::Digest;
pub use event::{Event, ServerLine};
pub use name::{FileName, Nick, RoomName};
pub use request::Request;
pub use time::{EventId, Time, parse_number};

/// The default port.
pub const PORT: u16 = 5002;

/// The DNS-SD service type under which a server is announced on the local network (RFC 6763).
pub const SERVICE: &str = "_plainchat._tcp.local.";

/// The optional parts of the protocol that this server supports, in alphabetical order. `OK HELLO` lists them; `irc`
/// only if IRC is enabled.
pub const CAPABILITIES: &[&str] = &[
    "accounts",
    "away",
    "edit",
    "files",
    "history",
    "hooks",
    "irc",
    "multiline",
    "nonce",
    "react",
    "reply",
    "search",
    "tags",
];

/// The protocol version in `HELLO`.
pub const VERSION: u32 = 1;
