//! plainchat: `chatd`, a chat server on one TCP port that anything able to open a socket can join, and
//! `chatc`, its client.
//!
//! The protocol is the product: `protocol.md` describes it, and its transcripts are tests. This page is
//! the map of the code. Start with [`session`], which is the protocol as seen by one connection.
//!
//! # From a line to its readers
//!
//! ```text
//! socket ─> server::connection ─> protocol::line ─> protocol::request ─> session ─> Effect::Append ─> log
//!                                                                                                     │
//! socket <─ server::connection <─ session::output <─ tail (a cursor each) <─ chat::apply <─── kept ───┘
//! ```
//!
//! A message is encoded once, kept once, and every reader is a cursor: there is no queue per reader, and a
//! slow one costs a number; what it has missed is in the log. What is said is kept first and seen then.
//!
//! # The modules
//!
//! | module | what it does | what it must not know |
//! |---|---|---|
//! | [`protocol`] | bytes to values and back, for server and client | what a request does |
//! | [`model`] | the words that all below share: entries, access lists, bans, storage errors | anything but `protocol` |
//! | [`tail`] | the newest events of a room, encoded once | rooms, connections |
//! | [`chat`] | nicks, rooms, members, files: the domain | sockets, tasks, clocks |
//! | [`session`] | one connection's state, replies in order, dialects | the same |
//! | [`log`] | what was said: kept on disk or in memory, read back, searched | sockets, sessions |
//! | [`roster`] | who belongs: accounts, tokens, bans, kept as the log is | sockets, sessions |
//! | [`files`] | a file's bytes by digest, on disk | rooms, sockets |
//! | [`config`] | limits, each with its default and reason | |
//! | [`offline`] | check, export, import and backup of a data folder | sockets |
//! | [`client`] | connects, stays, asks, listens, passes files: for `chatc` and for bots | what the server does inside |
//! | [`ui`] | `chatc`: the screen, the line client, pipes | the same |
//! | [`transport`] | carries a connection's bytes: a plain socket, or what wraps one | what they say |
//! | [`web`] | the page's files | |
//! | [`server`] | joins them on smol: accepts, reads, writes, keeps time | the protocol's words |
//!
//! Dependencies point one way: `chat` uses `protocol` and `tail`, and the log's and the roster's words for what they keep;
//! `session` uses `chat` and asks the log and the roster through effects; `server` joins all of them with `log` and `files`, and only `chatd` uses `server`; `ui` uses `client`, which uses `protocol` alone.
//! `protocol`, `tail`, `chat` and `session` are pure: functions of their state, what comes in, and the time that
//! they are told (`tests/tidy.rs` checks it).

#[cfg(feature = "server")]
pub mod chat;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod files;
#[cfg(feature = "server")]
pub mod log;
#[cfg(feature = "server")]
pub mod model;
#[cfg(feature = "server")]
pub mod offline;
pub mod protocol;
#[cfg(feature = "server")]
pub mod roster;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod session;
#[cfg(feature = "server")]
pub mod tail;
#[cfg(feature = "server")]
pub mod transport;
#[cfg(feature = "chatc")]
pub mod ui;
#[cfg(feature = "server")]
pub mod web;
