//! The body of a request, which may be refused before all of it has come.

use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use bytes::Bytes;
use futures_lite::future;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};

use crate::server::Server;

/// A request's body. Where it is not read to its end, the rest is read and dropped for a while: a client that
/// reads nothing until it has sent everything gets its answer, as on a connection that speaks lines.
pub struct Unread {
    server: Arc<Server>,
    body: Option<Incoming>,
    /// It does not come until somebody reads it (`Expect: 100-continue`).
    waits: bool,
}

/// Why a body did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It stood still for too long.
    Late,
    /// The connection broke off, or a chunk is not one.
    Off,
}

impl Unread {
    /// A body of which nothing has been read.
    pub fn new(server: &Arc<Server>, body: Incoming, waits: bool) -> Self {
        Self {
            server: server.clone(),
            body: Some(body),
            waits,
        }
    }

    /// How many bytes it has, if it says so.
    pub fn length(&self) -> Option<u64> {
        self.body.as_ref()?.size_hint().exact()
    }

    /// The next bytes of it; `None` at its end.
    pub async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        self.waits = false;
        let patience = self.server.config.limits.idle_after;
        let body = self.body.as_mut()?;
        let late = async {
            Timer::after(patience).await;
            Some(Err(Broken::Late))
        };
        let next = async { Some(next_data(body).await?.ok_or(Broken::Off)) };
        let next = future::or(next, late).await;
        if !matches!(next, Some(Ok(_))) {
            self.body = None;
        }
        next
    }
}

/// The next bytes, past all frames that have none; `Some(None)` when it broke off.
async fn next_data(body: &mut Incoming) -> Option<Option<Bytes>> {
    loop {
        match body.frame().await? {
            Err(_) => return Some(None),
            Ok(frame) => {
                if let Ok(data) = frame.into_data() {
                    return Some(Some(data));
                }
            }
        }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let rest = self.body.take();
        if let Some(body) = rest.filter(|body| !self.waits && !body.is_end_stream()) {
            let limits = &self.server.config.limits;
            let drained = drain(body, limits.drain_bytes_max, limits.drain_for);
            self.server.executor.spawn(drained).detach();
        }
    }
}

/// Reads and drops a body, so many bytes and so long at most. What still comes then ends the connection.
async fn drain(mut body: Incoming, bytes_max: u64, within: Duration) {
    let drained = async {
        let mut left = bytes_max;
        while let Some(Some(data)) = next_data(&mut body).await {
            match left.checked_sub(data.len() as u64) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    let late = async {
        Timer::after(within).await;
    };
    future::or(drained, late).await;
}
