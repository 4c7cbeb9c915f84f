//! A client library, for bots and for `chatc`.
//!
//! | type | for |
//! |---|---|
//! | [`Client`] | one request at a time: scripts, simple bots |
//! | [`ReconnectingClient`] | staying connected for weeks, as a stream of [`Update`]s |
//! | [`Sender`], [`Receiver`] | lines without waiting for replies, over any stream |
//! | [`ClientState`] | the logic of [`ReconnectingClient`] without I/O, for a transport of your own |
//!
//! A bot that answers a message:
//!
//! ```no_run
//! # async fn bot() -> Result<(), plainchat::client::Error> {
//! use plainchat::client::{Client, Message};
//! use plainchat::protocol::Event;
//!
//! let mut client = Client::connect("localhost:5002").await?;
//! client.turn_tags_on().await?;
//! client.enter("dice", "#games").await?;
//! while let Some(line) = client.next_event().await? {
//!     if let Some(Event::Msg { nick, text, .. }) = line.event()
//!         && text == "roll"
//!         && !line.tags().is_notice()
//!     {
//!         let answer = format!("{nick} has a 4, chosen by fair dice roll");
//!         client.send(Message::new(answer).notice()).await?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A program marks its messages as notices ([`Message::notice`]) and does not answer notices, so that two bots never talk to
//! each other endlessly. For a [`ReconnectingClient`], [`Options::bot`] does both.
//!
//! A [`Client`] ends with its connection. A [`ReconnectingClient`] reconnects; it receives every event once and sends every
//! message once. `chatc` is built on it. If several servers share a chat, both take their [`Addresses`], and a
//! [`ReconnectingClient`] continues on the next server when its server fails.
//!
//! # Executors
//!
//! The library runs on any executor, and on a plain `block_on`: I/O and timers are those of `async-io`, which has a
//! thread of its own, and no task is spawned.
//!
//! # Features
//!
//! The feature `client` is this module, without TLS. `tls` adds TLS: for `tls://HOST`, and by default for every connection to
//! another machine.

mod address;
mod addresses;
pub(crate) mod background;
mod capabilities;
mod commands;
mod connection;
mod dial;
mod error;
mod message;
mod nick;
mod options;
mod reconnecting;
mod reply;
mod simple;
mod state;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;
mod transfer;
mod update;

pub use address::{Address, InvalidAddress, Security};
pub use addresses::Addresses;
pub use capabilities::ServerInfo;
pub use connection::{Line, Receiver, Sender};
#[cfg(feature = "chatc")]
pub(crate) use error::plainly;
pub use error::{Error, InvalidRequest};
pub use message::{Message, Tags};
pub use nick::{login_name, nick_candidates};
pub use options::{Login, Options};
pub use reconnecting::ReconnectingClient;
pub use reply::{
    HistoryRange, JoinedRoom, LoggedEvent, LoggedIn, Reaction, ReaderPosition, Reply, RoomInfo,
    SearchResult, Sent,
};
pub use simple::Client;
pub use state::ClientState;
pub use transfer::{Download, FileDigest, Stored};
pub use update::{RequestId, Update};
