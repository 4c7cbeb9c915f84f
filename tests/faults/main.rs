//! Attacks, limits, and everything that can break.

mod crash;
mod failing_calls;
mod full_disk;
mod hostile;
mod limits;
mod lost_folder;
mod open_files;
mod repeats;
mod server_log;
mod shutdown;
mod slow_disk;
mod soak;
#[path = "../support/mod.rs"]
mod support;
