//! The body of a request. The request may be refused before the whole body has arrived.

use std::sync::Arc;

use bytes::Bytes;
use futures_lite::future;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};

use crate::server::Server;

/// The body of a request. If it is not read to its end, the rest is read and dropped for a while. So a client that
/// sends everything before it reads receives its reply too.
pub struct RequestBody {
    server: Arc<Server>,
    body: Option<Incoming>,
    /// Whether the client sends the body only when the server begins to read it (`Expect: 100-continue`).
    awaits_continue: bool,
}

/// The reason why a body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// No bytes arrived for too long.
    TimedOut,
    /// The connection was aborted, or a chunk is malformed.
    Aborted,
}

impl RequestBody {
    /// Creates a body that has not been read yet.
    pub fn new(server: &Arc<Server>, body: Incoming, awaits_continue: bool) -> Self {
        Self {
            server: server.clone(),
            body: Some(body),
            awaits_continue,
        }
    }

    /// Returns the body's length, if the request states it.
    pub fn length(&self) -> Option<u64> {
        self.body.as_ref()?.size_hint().exact()
    }

    /// Returns the next bytes; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.awaits_continue = false;
        let patience = self.server.config.limits.idle_after;
        let body = self.body.as_mut()?;
        let late = async {
            self.server.clock.wait(patience).await;
            Some(Err(BodyError::TimedOut))
        };
        let next = async { Some(next_data(body).await?.ok_or(BodyError::Aborted)) };
        let next = future::or(next, late).await;
        if !matches!(next, Some(Ok(_))) {
            self.body = None;
        }
        next
    }
}

/// Returns the next bytes, skipping frames without data. Returns `Some(None)` if the connection was aborted.
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

impl Drop for RequestBody {
    fn drop(&mut self) {
        let rest = self.body.take();
        if let Some(body) = rest.filter(|body| !self.awaits_continue && !body.is_end_stream()) {
            let drained = drain(body, self.server.clone());
            self.server.executor.spawn(drained).detach();
        }
    }
}

/// Reads and drops a body, within the limits of the server. A client that sends more is disconnected.
async fn drain(mut body: Incoming, server: Arc<Server>) {
    let limits = &server.config.limits;
    let drained = async {
        let mut left = limits.drain_bytes_max;
        while let Some(Some(data)) = next_data(&mut body).await {
            match left.checked_sub(data.len() as u64) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    future::or(drained, server.clock.wait(limits.drain_for)).await;
}
