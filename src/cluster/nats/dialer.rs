//! Connects again and again.

use std::time::{Duration, Instant};

use async_io::Timer;

use super::address::Address;
use super::connection::{Connection, connect};
use super::error::Lost;
use super::handle::Handle;
use super::tls::Tls;

/// The time between two attempts to connect at first. It doubles with each attempt, up to [`PAUSE_MAX`].
pub const PAUSE: Duration = Duration::from_millis(100);

/// The maximum time between two attempts to connect. A connection that has lasted for this time was a good one: after
/// it, the next attempt comes at once.
pub const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Connects to one server of a list, again and again.
#[derive(Debug)]
pub struct Dialer {
    addresses: Vec<Address>,
    name: String,
    tls: Option<Tls>,
    next: usize,
    pause: Duration,
    connected_at: Option<Instant>,
}

impl Dialer {
    /// Returns a dialer for the servers in `addresses`. `seed` is a random number; it chooses the first server.
    pub fn new(addresses: Vec<Address>, name: &str, tls: Option<Tls>, seed: u64) -> Self {
        let next = seed.checked_rem(addresses.len() as u64);
        Self {
            next: next.unwrap_or_default() as usize,
            addresses,
            name: name.to_owned(),
            tls,
            pause: Duration::ZERO,
            connected_at: None,
        }
    }

    /// Connects to the next server that can be reached, however long that takes. Calls `failed` after each attempt that
    /// has failed.
    pub async fn connect(
        &mut self,
        mut failed: impl FnMut(&Address, &Lost),
    ) -> (Address, Handle, Connection) {
        loop {
            match self.attempt().await {
                Ok(connected) => return connected,
                Err((address, lost)) => failed(&address, &lost),
            }
        }
    }

    /// Waits until the next attempt is due, and tries to connect to the next server.
    ///
    /// # Errors
    /// When the server cannot be reached, or does not admit the client.
    pub async fn attempt(&mut self) -> Result<(Address, Handle, Connection), (Address, Lost)> {
        let connected_at = self.connected_at.take();
        if connected_at.is_some_and(|at| at.elapsed() >= PAUSE_MAX) {
            self.pause = Duration::ZERO;
        }
        loop {
            Timer::after(self.pause).await;
            self.pause = (self.pause * 2).clamp(PAUSE, PAUSE_MAX);
            self.next = (self.next + 1) % self.addresses.len().max(1);
            let Some(address) = self.addresses.get(self.next) else {
                continue;
            };
            return match connect(address, &self.name, self.tls.as_ref()).await {
                Ok((handle, connection)) => {
                    self.connected_at = Some(Instant::now());
                    Ok((address.clone(), handle, connection))
                }
                Err(lost) => Err((address.clone(), lost)),
            };
        }
    }
}
