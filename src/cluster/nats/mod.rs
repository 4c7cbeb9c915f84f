//! A small client of NATS and JetStream: what a log that several servers share needs, and nothing else.
//!
//! [`connect`] returns a [`Handle`], which sends and receives, and a [`Connection`], which somebody must run. When the
//! connection ends, a [`Dialer`] makes the next one, with another server if need be. Nothing is sent again by itself, and
//! no subscription survives the connection.
//!
//! A log is a stream of JetStream. A [`Writer`] publishes to it. The stream publishes every message that it has stored to
//! another subject ([`Settings::republish`]), where [`Stored::republished`] reads it. Messages may be missing there; the
//! sequence numbers show it, and a [`CatchUp`] reads what is missing from the stream.

mod address;
mod catch_up;
pub mod codec;
mod connection;
mod dialer;
mod error;
mod handle;
mod headers;
pub mod jetstream;
mod stored;
#[cfg(test)]
mod tests;
mod tls;
mod version;

pub use address::{Address, InvalidAddress};
pub use catch_up::{ASKED_BYTES_MAX, CatchUp, MESSAGE_WITHIN};
pub use connection::{CONNECT_WITHIN, Connection, PING_EVERY, connect};
pub use dialer::{Dialer, PAUSE, PAUSE_MAX};
pub use error::{Error, Lost, Malformed};
pub use handle::{Handle, Subscription, UNREAD_BYTES_MAX, UNSENT_BYTES_MAX};
pub use headers::{Headers, Status};
pub use jetstream::{JetStream, Settings};
pub use stored::{Stored, Writer};
pub use tls::Tls;
pub use version::{Unfit, VERSION_MIN};
