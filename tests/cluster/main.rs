//! Several servers that share one chat by means of NATS JetStream.

mod chats;
mod failover;
mod faults;
mod nats;
mod servers;
#[path = "../support/mod.rs"]
mod support;
