//! Files: uploads, downloads, and who may read them.

mod clients;
mod closed;
mod direct;
mod display;
mod followers;
mod quota;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use support::server::Chatd;
use support::spawn::Peer;

/// The password of every nick that [`registered`] registers.
const PASSWORD: &str = "open sesame";

/// Starts a server with a data folder. It announces no joins.
fn on_disk(folder: &Path, more: &[&str]) -> Chatd {
    let data = folder.to_str().unwrap();
    Chatd::with(&[&["--data", data, "--announce-after", "1h"], more].concat())
}

/// Connects a client and registers its nick.
fn registered(chatd: &Chatd, nick: &str) -> Peer {
    let mut peer = chatd.member(nick);
    peer.ask(&format!("REGISTER {PASSWORD}"), "OK REGISTER …");
    peer
}

/// Returns the id of the file that an event announces.
fn announced(event: &str) -> String {
    event.split(' ').nth(3).unwrap().to_owned()
}

/// Repeats a check until it succeeds.
#[track_caller]
fn until(within: Duration, mut check: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + within;
    while let Err(why) = check() {
        assert!(Instant::now() < end, "{why}");
        std::thread::yield_now();
    }
}
