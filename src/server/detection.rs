//! Detects the protocol of a new connection from the first bytes that the client sends. Serves the clients that do
//! not speak lines.
//!
//! The bytes are read and kept. Peeking at them would spin while a word is incomplete. All of this is one boxed
//! future that is dropped before the session begins, so it takes no memory in an established connection.

use std::net::IpAddr;
use std::time::Duration;

use super::connection::{Connection, with_scratch};
use super::http;
use super::metrics::ConnectionKind;
use crate::config::fixed::IRC_DECIDED_WITHIN;
use crate::transport::proxied::{self, Header};
use crate::transport::sniff::{Protocol, detect};
use crate::transport::{Carrier, Stream, Tls, WebSocket};

impl Connection {
    /// Detects the client's protocol, and serves an HTTP client until its end. Returns whether a session follows.
    pub(super) async fn detect_protocol(&mut self) -> bool {
        // A rejected client receives the reason at once, whatever protocol it speaks.
        if self.carrier.is_local() || self.session.is_ending() {
            return true;
        }
        self.awaits_proxied = self.comes_from_proxy() || self.may_come_by_ssh();
        loop {
            let spoken = self.detect().await;
            if self.session.is_ending() {
                return true; // the proxy's client is banned
            }
            let protocols = self.protocols;
            let is_tls = matches!(&self.carrier, Carrier::Stream(stream) if stream.is_tls());
            match spoken {
                Protocol::Tls if !is_tls && protocols.tls && self.begin_tls() => {}
                Protocol::Tls if !is_tls => {
                    // The client understands only an alert: handshake_failure (RFC 5246, 7.2.2).
                    let _ = self.carrier.write(&[0x15, 3, 1, 0, 2, 2, 40]);
                    self.hang_up().await;
                    return false;
                }
                Protocol::Http => return self.serve_http(is_tls).await,
                Protocol::Tls
                | Protocol::Lines
                | Protocol::Irc
                | Protocol::LinesOrIrc
                | Protocol::Unclear => {
                    self.session.reached_by(protocols.web);
                    if protocols.is_irc_only() {
                        self.session.speak_irc(&self.server.state().chat);
                    }
                    if !protocols.plain && !is_tls {
                        self.reject(if protocols.is_irc_only() {
                            "this port accepts only TLS"
                        } else {
                            "this port accepts only TLS: chatc tls://, ncat --ssl, or openssl s_client -quiet -connect"
                        });
                    } else if !protocols.lines && !protocols.irc {
                        self.reject("this port accepts only HTTP: use curl or a browser");
                    } else if spoken == Protocol::Irc && protocols.irc && protocols.lines {
                        self.session.speak_irc(&self.server.state().chat);
                    }
                    return true;
                }
            }
        }
    }

    fn comes_from_proxy(&self) -> bool {
        let chat = &self.server.state().chat;
        let address = chat.address(self.session.peer());
        address.is_some_and(|address| chat.is_proxy(address))
    }

    /// Returns whether the client may be `chatc --ssh`, which runs on this machine.
    fn may_come_by_ssh(&self) -> bool {
        let address = self.server.state().chat.address(self.session.peer());
        let is_here = |ip: IpAddr| ip.is_loopback() || ip == self.session.local().ip();
        self.server.config.ssh_secret.is_some() && address.is_some_and(is_here)
    }

    fn reject(&mut self, text: &str) {
        let now = self.server.clock.now();
        let chat = &mut self.server.state().chat;
        self.session.reject(text, chat, now);
    }

    /// Reads until the protocol is clear, the input ends or the deadline has passed.
    async fn detect(&mut self) -> Protocol {
        let handshake_within = self.server.config.limits.handshake_within;
        let mut late: Option<Duration> = None;
        let mut irc_due: Option<Duration> = None;
        loop {
            let was_handshaking = self.is_handshaking();
            if self.is_readable && !self.has_ended() {
                let mut input = std::mem::take(&mut self.input);
                with_scratch(|buffer| {
                    let count = self.read(buffer);
                    input.extend_from_slice(buffer.get(..count).unwrap_or_default());
                });
                self.input = input;
                self.flush_carrier();
            }
            if self.awaits_proxied {
                self.awaits_proxied = self.take_proxied();
            }
            let spoken = if self.awaits_proxied {
                Protocol::Unclear
            } else {
                detect(&self.input)
            };
            if self.session.is_ending() {
                return spoken;
            }
            let is_open = matches!(spoken, Protocol::Unclear | Protocol::LinesOrIrc);
            if !is_open || self.has_ended() {
                return spoken;
            }
            let now = self.server.clock.now();
            if spoken == Protocol::LinesOrIrc {
                let due = *irc_due.get_or_insert(now.uptime + IRC_DECIDED_WITHIN);
                if !self.protocols.irc || self.protocols.is_irc_only() || due <= now.uptime {
                    return Protocol::Lines;
                }
            }
            let is_handshaking = self.is_handshaking();
            if was_handshaking && !is_handshaking {
                self.session.begin(now);
            }
            let due = if is_handshaking {
                Some(*late.get_or_insert(now.uptime + handshake_within))
            } else {
                let due = self.session.due(&self.server.config.limits);
                [due, irc_due].into_iter().flatten().min()
            };
            if due.is_some_and(|due| due <= now.uptime) {
                // The protocol is not known yet, so the connection closes without a message.
                self.is_aborted = true;
                return spoken;
            }
            {
                let mut state = self.server.changes();
                if state.is_stopping {
                    self.is_aborted = is_handshaking;
                    return spoken;
                }
                state.clear_wakeup(self.session.peer());
                state.set_deadline(self.session.peer(), self.deadline, due);
                self.deadline = due;
            }
            if !self.is_readable {
                self.wait(true).await;
            }
        }
    }

    fn is_handshaking(&self) -> bool {
        matches!(&self.carrier, Carrier::Stream(stream) if stream.is_handshaking())
    }

    fn begin_tls(&mut self) -> bool {
        let Some(config) = self.server.tls() else {
            return false;
        };
        let first = std::mem::take(&mut self.input);
        self.carrier = match self.carrier.take() {
            Carrier::Stream(Stream::Tcp(socket)) => match Tls::new(socket, first, config) {
                Ok(tls) => Carrier::Stream(Stream::Tls(Box::new(tls))),
                Err(e) => {
                    tracing::warn!("cannot begin TLS: {e}");
                    self.is_aborted = true;
                    return true;
                }
            },
            other => other,
        };
        self.session.under_tls();
        // The bytes that have been read must still be handled.
        self.is_readable = true;
        self.session.begin(self.server.clock.now());
        true
    }

    /// Serves HTTP requests until the client sends no more or upgrades to WebSocket.
    async fn serve_http(&mut self, is_tls: bool) -> bool {
        let peer = self.session.peer();
        let address = {
            let mut state = self.server.state();
            state.set_deadline(peer, self.deadline.take(), None);
            state.chat.address(peer)
        };
        self.set_kind(ConnectionKind::Http);
        let Carrier::Stream(stream) = self.carrier.take() else {
            return false;
        };
        let client = http::Client {
            server: self.server.clone(),
            address: address.unwrap_or(self.session.local().ip()),
            local: self.session.local(),
            peer,
            protocols: self.protocols,
            is_tls,
            is_secure: is_tls,
            is_passed_on: false,
            speaks_irc: false,
            receives_json: false,
            pending_parts: http::PendingParts::default(),
            gone: stream.socket().gone(),
        };
        let first = std::mem::take(&mut self.input);
        let Some(upgraded) = http::serve(client, stream, first).await else {
            return false;
        };
        let http::Upgraded {
            stream,
            held,
            client,
        } = upgraded;
        let now = self.server.clock.now();
        self.session.reached_by(self.protocols.web);
        if client.is_secure {
            self.session.under_tls();
        }
        let websocket = WebSocket::new(stream, held, now.uptime).with_json(client.receives_json);
        self.carrier = Carrier::WebSocket(Box::new(websocket));
        self.is_readable = true;
        self.session.begin(now);
        if client.is_passed_on {
            self.passed_on(client.address);
        }
        if client.receives_json && !self.session.is_ending() {
            self.session.mark_events();
        }
        if !client.speaks_irc {
            let peer = self.session.peer();
            self.server.state().chat.came_as_page(peer);
        }
        if client.speaks_irc && !self.session.is_ending() {
            self.session.speak_irc(&self.server.state().chat);
        }
        true
    }

    /// Replaces the peer's address by the client's address, when a proxy forwards the client's connection.
    fn passed_on(&mut self, address: IpAddr) {
        let now = self.server.clock.now();
        let peer = self.session.peer();
        let chat = &mut self.server.state().chat;
        chat.passes_on(peer, address);
        self.session.admit(chat, now);
    }

    /// Handles the header that a trusted proxy or `chatc --ssh` sends first. Returns whether more bytes of it are needed.
    fn take_proxied(&mut self) -> bool {
        let found = match &self.server.config.ssh_secret {
            Some(secret) if !self.comes_from_proxy() => {
                proxied::read_sealed(&self.input, secret.expose())
            }
            _ => proxied::read(&self.input),
        };
        match found {
            Header::Unclear => return true,
            Header::Absent => {}
            Header::Wrong => {
                self.input.clear();
                self.reject("invalid header of the PROXY protocol");
            }
            Header::Whole(count, client) => {
                self.input.drain(..count);
                if let Some(client) = client {
                    self.passed_on(client.address);
                    if client.is_secure {
                        self.session.under_tls();
                    }
                }
            }
        }
        false
    }
}
