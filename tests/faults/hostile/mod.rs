//! protocol.md 2, chatd.md 1: one address against all others.
//!
//! Each attack that has harmed a server, or could have, is run against a real one in 512 MiB of memory; during the
//! attack and after it, others are served as usual.
//!
//! Strangers come from an address of their own, 127.0.0.66. No test decides by a clock: the tests check the replies and
//! their order, what is left over, and the server's CPU time beside that of an honest client's requests. How long
//! others wait is measured by `cargo bench --bench hostile`.

mod backup;
mod bans;
mod before_pass;
mod closed_rooms;
mod databases;
mod deleted;
mod descriptors;
mod dismissed;
mod downgrade;
mod floods;
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
mod target;
mod transfers;
mod writers;
