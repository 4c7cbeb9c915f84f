//! Web Push: notifies the browsers of registered nicks while the page is closed (http.md, section 6).
//!
//! One task looks at each message and sends the requests. Nobody waits for it: if push services are slow, a bounded
//! number of messages waits, and nobody is notified of further messages.

mod message;
mod post;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_io::Timer;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_lite::future;
use futures_rustls::TlsConnector;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use smol::lock::Semaphore;
use tracing::{error, warn};

use super::Server;
use crate::accounts::Accounts;
use crate::chat::{Notice, words};
use crate::config::fixed::{PUSH_PACE_IN_ALL, PUSH_SENDS_MAX};
use crate::config::push::{Endpoint, Push};
use crate::model::{Scope, StorageError, Subscription};
use message::ServerKey;
use post::Failed;

/// The maximum number of paused push services that the server remembers. A paused service wants no requests for a
/// while.
const PAUSED_MAX: usize = 256;

/// The time between two log lines about requests that failed.
const LOGGED_EVERY_S: u64 = 60;

/// What is needed to send notifications.
pub(super) struct Notifier {
    settings: Push,
    key: ServerKey,
    tls: TlsConnector,
    /// The push services that want no requests for a while.
    paused: Mutex<Paused>,
    /// The uptime in seconds when a failed request was logged last.
    logged_at_s: AtomicU64,
}

impl Notifier {
    /// Reads the server's key, or creates it.
    ///
    /// # Errors
    /// When the key cannot be stored, or no certificates are trusted.
    pub fn new(settings: Push, accounts: &Accounts) -> Result<Self, StorageError> {
        let none = || StorageError::Io(io::Error::other("the key for --push is unusable"));
        let stored = accounts.push_key(ServerKey::create().ok_or_else(none)?)?;
        let key = ServerKey::read(&stored, settings.contact.clone()).ok_or_else(none)?;
        Ok(Self {
            key,
            settings,
            tls: post::connector().map_err(StorageError::Io)?,
            paused: Mutex::default(),
            logged_at_s: AtomicU64::new(0),
        })
    }

    /// Returns the public key, which browsers need.
    pub fn public_key(&self) -> String {
        self.key.public()
    }

    /// Returns whether a browser can be notified: its push service may be contacted, and its key is valid.
    pub fn accepts(&self, browser: &Subscription) -> bool {
        self.settings.endpoint(&browser.endpoint).is_some()
            && message::encrypt(&browser.key, &browser.secret, b"").is_some()
    }

    fn paused(&self) -> MutexGuard<'_, Paused> {
        self.paused
            .lock()
            .expect("no thread panics while it holds this")
    }

    /// Sends a notification to one browser.
    async fn send(&self, server: &Server, browser: &Subscription, text: &[u8], place: &str) {
        let now = server.clock.now();
        let to = self.settings.endpoint(&browser.endpoint);
        let Some(to) = to.filter(|to| !self.paused().has(to.authority, now.uptime)) else {
            return;
        };
        let origin = format!("https://{}", to.authority);
        let body = message::encrypt(&browser.key, &browser.secret, text);
        let authorization = self.key.authorization(&origin, now.time);
        let Some((body, authorization)) = body.zip(authorization) else {
            return;
        };
        let topic = topic(browser, place);
        let push = post::Push {
            body,
            authorization,
            topic,
        };
        match post::post(&self.tls, to, push).await {
            Ok(()) => server.metrics.pushed.add(1),
            Err(Failed::Gone) => forget(server, browser).await,
            Err(Failed::Later(wait)) => {
                server.metrics.not_pushed.add(1);
                self.paused()
                    .add(to.authority, wait, server.clock.now().uptime);
            }
            Err(Failed::Other(why)) => {
                server.metrics.not_pushed.add(1);
                self.log(server, to, &why);
            }
        }
    }

    /// Logs a failed request, unless one was logged recently. The address of the browser is secret, so the log does
    /// not contain it.
    fn log(&self, server: &Server, to: Endpoint<'_>, why: &str) {
        let now = server.clock.now().uptime.as_secs().max(1);
        let last = self.logged_at_s.load(Ordering::Relaxed);
        if last == 0 || now >= last + LOGGED_EVERY_S {
            self.logged_at_s.store(now, Ordering::Relaxed);
            warn!(service = to.authority, "cannot notify a browser: {why}");
        }
    }
}

/// Push services, each with the uptime until which it wants no requests.
#[derive(Default)]
struct Paused(HashMap<String, Duration>);

impl Paused {
    fn has(&self, service: &str, now: Duration) -> bool {
        self.0.get(service).is_some_and(|until| now < *until)
    }

    fn add(&mut self, service: &str, wait: Duration, now: Duration) {
        self.0.retain(|_, until| now < *until);
        if self.0.len() < PAUSED_MAX {
            self.0.insert(service.to_owned(), now + wait);
        }
    }
}

/// Returns a name for a conversation. The name does not tell the push service which conversation it is.
fn topic(browser: &Subscription, place: &str) -> String {
    let digest = Sha256::digest([&browser.secret, place.as_bytes()].concat());
    URL_SAFE_NO_PAD.encode(&digest[..24])
}

/// Removes a browser that no longer wants notifications.
async fn forget(server: &Server, browser: &Subscription) {
    server.state().chat.push.remove(&browser.id);
    let (accounts, nick, id) = (server.accounts.clone(), browser.nick.clone(), browser.id);
    if let Err(e) = smol::unblock(move || accounts.unsubscribe(&nick, &id)).await {
        error!("accounts, bans and permissions cannot be read or stored: {e}");
    }
}

/// Notifies the browsers of the users whom a message concerns, and never returns.
pub(super) async fn run(server: Arc<Server>, notifier: Arc<Notifier>) {
    let sends = Arc::new(Semaphore::new(PUSH_SENDS_MAX));
    let mut used_up = Duration::ZERO;
    loop {
        let more = server.to_notify.listen();
        let message = server.state().chat.push.take_message();
        let Some(entry) = message else {
            more.await;
            continue;
        };
        let mentioned = match &entry.scope {
            Scope::Room(_) => words(entry.text()),
            _ => HashSet::new(),
        };
        // A long text takes a millisecond.
        future::yield_now().await;
        let now = server.clock.now().uptime;
        let notices = server.state().chat.notices(&entry, &mentioned, now);
        for notice in notices {
            let (text, place) = (Arc::new(shown(&notice)), Arc::new(notice.place));
            for browser in notice.browsers {
                let wait = PUSH_PACE_IN_ALL.wait(used_up, server.clock.now().uptime);
                if !wait.is_zero() {
                    Timer::after(wait).await;
                }
                used_up = PUSH_PACE_IN_ALL.once_more(used_up, server.clock.now().uptime);
                let turn = sends.acquire_arc().await;
                let time = server.clock.now().time;
                if !server.state().chat.may_still_notify(&entry, &browser, time) {
                    continue;
                }
                let (known, notifier) = (server.clone(), notifier.clone());
                let (text, place) = (text.clone(), place.clone());
                let sent = server.executor.spawn(async move {
                    notifier.send(&known, &browser, &text, &place).await;
                    drop(turn);
                });
                sent.detach();
            }
        }
    }
}

/// Returns the content of a notification as JSON, in the form that the page reads.
fn shown(notice: &Notice) -> Vec<u8> {
    let Notice {
        title, text, place, ..
    } = notice;
    json!({"title": title, "body": text, "room": place})
        .to_string()
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_service_that_asks_to_wait_is_left_alone_for_that_time() {
        let (mut paused, s) = (Paused::default(), Duration::from_secs);
        paused.add("a.example", s(60), s(100));
        assert!(paused.has("a.example", s(159)) && !paused.has("a.example", s(160)));
        assert!(!paused.has("b.example", s(100)));
        for n in 0..1000 {
            paused.add(&format!("{n}.example"), s(60), s(100));
        }
        assert_eq!(paused.0.len(), PAUSED_MAX);
        paused.add("late.example", s(60), s(1000));
        assert_eq!(paused.0.len(), 1);
    }
}
