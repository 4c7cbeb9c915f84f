//! Several servers on one log: NATS JetStream.

mod nats;
mod servers;
