//! One address against all others. Each attack that has hurt a server, or could have, is played against a real
//! one in 512 MiB of memory; while it goes on, and after it, others are served as if nothing were the matter.
//!
//! Strangers come from an address of their own, 127.0.0.66. Nothing here is decided by a clock: what is shown is
//! what is answered and in which order, what is left over, and what the server has spent beside what the same
//! costs an honest client. How long others wait is measured by `cargo bench --bench hostile`.

#[path = "../support/peer.rs"]
mod peer;
#[path = "../support/script.rs"]
mod script;
#[path = "../support/server.rs"]
#[allow(dead_code)] // each test program uses its part
mod server;

mod backup;
mod before_pass;
mod closed_rooms;
mod databases;
mod descriptors;
mod dismissed;
mod downgrade;
mod folder;
mod gone;
mod guesses;
mod invitations;
mod nicks;
mod proxy;
mod readers;
mod replies;
mod rooms;
mod search;
mod shares;
#[allow(dead_code)] // each module uses its part
mod target;
mod writers;
