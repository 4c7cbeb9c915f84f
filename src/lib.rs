//! plainchat
pub mod chat;
pub mod config;
pub mod files;
pub mod protocol;
pub mod server;
pub mod session;
pub mod tail;
