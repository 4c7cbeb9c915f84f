//! The language of the wire, both ways, shared by server and client: bytes to values and back.
//!
//! Pure: no socket, file, clock or executor. What a request does is [`crate::session`]'s and
//! [`crate::chat`]'s. Read [`mod@line`] first, then [`request`] and [`event`]. The document is `protocol.md`.

pub mod code;
pub mod commands;
mod digest;
pub mod event;
#[cfg(any(feature = "server", feature = "chatc"))]
pub mod json;
pub mod line;
pub mod name;
pub mod people;
pub mod request;
pub mod text;
mod time;
pub mod whom;

pub use code::Code;
pub use commands::Verb;
pub use digest::Digest;
pub use event::{Event, ServerLine};
pub use name::{FileName, Nick, RoomName};
pub use request::Request;
pub use time::{EventId, Time, parse_number};

/// The port that chat is on, unless told otherwise.
pub const PORT: u16 = 5002;

/// What a server is announced as on the local network (DNS-SD, RFC 6763).
pub const SERVICE: &str = "_plainchat._tcp.local.";

/// The version that `HELLO` tells.
pub const VERSION: u32 = 1;
