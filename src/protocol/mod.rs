//! The wire protocol, in both directions, shared by server and client: it converts bytes to values and
//! back.
//!
//! Pure: no sockets, files, clock or executor. `session` and `chat` execute the requests.
//! Read [`mod@line`] first, then [`request`] and [`event`]. The document is `protocol.md`.

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

/// The service type under which a server is announced on the local network (DNS-SD, RFC 6763).
pub const SERVICE: &str = "_plainchat._tcp.local.";

/// The optional parts of the protocol that this server has, for `OK HELLO`, in alphabetical order.
pub const CAPABILITIES: &[&str] = &[
    "accounts",
    "away",
    "edit",
    "files",
    "history",
    "hooks",
    "multiline",
    "nonce",
    "react",
    "reply",
    "search",
    "tags",
];

/// The protocol version in `HELLO`.
pub const VERSION: u32 = 1;
