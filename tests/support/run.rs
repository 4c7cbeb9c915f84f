//! Plays a transcript against a server, using only the few things that a server does for its clients.
//!
//! This module knows no sockets; `tcp.rs` contains a server over TCP.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use plainchat::protocol::text::is_clean;

use super::transcript::{Action, Captured, Step, Transcript, shown};

/// How long to wait for a line that must arrive.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The longest line that a server sends, with its line ending.
const LINE_OUT_BYTES_MAX: usize = 6144;

/// A server as its clients see it. Clients are numbered in the order in which they connect.
pub trait Server {
    /// Opens a connection.
    fn open(&mut self) -> Result<usize, String>;
    /// Sends bytes in one write.
    fn push(&mut self, peer: usize, bytes: &[u8]) -> Result<(), String>;
    /// Closes the peer's sending side; the peer still receives.
    fn half_close(&mut self, peer: usize) -> Result<(), String>;
    /// Closes the connection in both directions at once.
    fn abandon(&mut self, peer: usize);
    /// Takes what was received, or waits for it. If time is a number, it advances by at most `patience`.
    fn take(&mut self, peer: usize, patience: Duration) -> Taken;
}

/// The result of [`Server::take`].
#[derive(Debug, PartialEq)]
pub enum Taken {
    Bytes(Vec<u8>),
    /// The server has closed the connection, and everything before that has been taken.
    Closed,
    /// Nothing arrived in that time.
    Nothing,
}

/// How the bytes of a peer are split into writes. A correct server behaves in the same way for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// One write for each step.
    Lines,
    /// One write for each byte.
    Bytes,
    /// Consecutive steps in one write. If there is only one peer, everything that it sends is in one write, before it
    /// has read any reply.
    Together,
}

impl Cut {
    pub const ALL: [Self; 3] = [Self::Lines, Self::Bytes, Self::Together];
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lines => "line by line",
            Self::Bytes => "byte by byte",
            Self::Together => "all at once",
        })
    }
}

/// Plays `transcript`.
///
/// # Errors
/// When the server does not answer as the transcript says. The text says what went wrong, where it is written, and
/// what was said before.
pub fn play(transcript: &Transcript, cut: Cut, server: &mut impl Server) -> Result<(), String> {
    let mut play = Play {
        transcript,
        cut,
        server,
        peers: HashMap::new(),
        order: Vec::new(),
        captured: Captured::new(),
        log: Vec::new(),
        sent: vec![false; transcript.steps.len()],
    };
    for n in 0..transcript.steps.len() {
        let step = &transcript.steps[n];
        play.step(n).map_err(|why| play.report(Some(step), &why))?;
    }
    play.nothing_is_left()
        .map_err(|why| play.report(None, &why))
}

struct Play<'a, S> {
    transcript: &'a Transcript,
    cut: Cut,
    server: &'a mut S,
    peers: HashMap<String, Peer>,
    /// Peers in the order of their appearance.
    order: Vec<String>,
    captured: Captured,
    /// The conversation so far, for the report.
    log: Vec<String>,
    /// Steps that were sent already together with an earlier one.
    sent: Vec<bool>,
}

struct Peer {
    number: usize,
    /// The bytes that were received but not expected yet.
    unread: Vec<u8>,
    /// The server has closed the connection.
    closed: bool,
    /// The peer has closed its sending side.
    ended: bool,
    gone: bool,
}

impl<S: Server> Play<'_, S> {
    fn step(&mut self, n: usize) -> Result<(), String> {
        let step = &self.transcript.steps[n];
        let peer = step.peer.as_str();
        match &step.action {
            Action::Send(_) | Action::SendBytes(_) => {
                if !self.sent[n] {
                    self.send_from(n)?;
                }
            }
            Action::Expect(pattern) => {
                let line = self.line(peer)?;
                if !pattern.matches(&line, &mut self.captured) {
                    return Err(format!("{peer} received\n    {peer}< {line}"));
                }
            }
            Action::ExpectBytes(expected) => {
                let got = self.bytes(peer, expected)?;
                self.log.push(format!("{peer}< bytes \"{}\"", shown(&got)));
                if got != *expected {
                    return Err(format!("{peer} received other bytes"));
                }
            }
            Action::ExpectPieces(expected) => self.pieces(peer, expected)?,
            Action::ExpectNothing => self.barrier(peer)?,
            Action::Eof => {
                self.log.push(step.to_string());
                let number = self.peer(peer)?.number;
                self.server.half_close(number)?;
                self.peer(peer)?.ended = true;
            }
            Action::Gone => {
                self.log.push(step.to_string());
                let number = self.peer(peer)?.number;
                self.server.abandon(number);
                self.peer(peer)?.gone = true;
            }
            Action::Closed => {
                if self.fill(peer).is_ok() {
                    return Err(format!("{peer} received {}", self.rest(peer)));
                }
                if !self.peer(peer)?.closed {
                    return Err(format!("{peer} is still connected after {PATIENCE:?}"));
                }
                self.log.push(step.to_string());
            }
        }
        Ok(())
    }

    /// Sends step `n`, with those that go into the same write.
    fn send_from(&mut self, n: usize) -> Result<(), String> {
        let steps = &self.transcript.steps;
        let alone = self.transcript.has_one_peer();
        let mut bytes = Vec::new();
        for (at, step) in steps.iter().enumerate().skip(n) {
            let more = match &step.action {
                _ if step.peer != steps[n].peer => break,
                Action::Send(pattern) => match pattern.fill(&self.captured) {
                    Ok(line) => {
                        self.log.push(format!("{}> {line}", step.peer));
                        [line.as_bytes(), b"\n"].concat()
                    }
                    Err(why) if at == n => return Err(why),
                    Err(_) => break,
                },
                Action::SendBytes(bytes) => {
                    self.log.push(step.to_string());
                    bytes.clone()
                }
                Action::Expect(_) | Action::ExpectBytes(_) | Action::ExpectPieces(_) if alone => {
                    continue;
                }
                _ => break,
            };
            bytes.extend(more);
            self.sent[at] = true;
            if self.cut != Cut::Together {
                break;
            }
        }
        let number = self.peer(&steps[n].peer)?.number;
        let piece = if self.cut == Cut::Bytes {
            1
        } else {
            bytes.len().max(1)
        };
        bytes
            .chunks(piece)
            .try_for_each(|piece| self.server.push(number, piece))
    }

    /// Returns the peer called `name`. It connects when its name first appears.
    fn peer(&mut self, name: &str) -> Result<&mut Peer, String> {
        if !self.peers.contains_key(name) {
            let peer = Peer {
                number: self.server.open()?,
                unread: Vec::new(),
                closed: false,
                ended: false,
                gone: false,
            };
            self.peers.insert(name.into(), peer);
            self.order.push(name.into());
        }
        self.peers
            .get_mut(name)
            .ok_or_else(|| "no such peer".into())
    }

    /// Waits until there is unread output.
    fn fill(&mut self, name: &str) -> Result<(), String> {
        let peer = self.peer(name)?;
        if !peer.unread.is_empty() {
            return Ok(());
        }
        self.more(name)
    }

    fn more(&mut self, name: &str) -> Result<(), String> {
        let peer = self.peer(name)?;
        if peer.closed {
            return Err(format!("the server has closed {name}'s connection"));
        }
        let number = peer.number;
        match self.server.take(number, PATIENCE) {
            Taken::Bytes(bytes) => {
                self.peer(name)?.unread.extend(bytes);
                Ok(())
            }
            Taken::Closed => {
                self.peer(name)?.closed = true;
                Err(format!("the server has closed {name}'s connection"))
            }
            Taken::Nothing => Err(format!("{name} received nothing within {PATIENCE:?}")),
        }
    }

    /// Takes as many bytes as are `expected`. Takes fewer if they differ.
    fn bytes(&mut self, peer: &str, expected: &[u8]) -> Result<Vec<u8>, String> {
        let mut got = Vec::new();
        while got.len() < expected.len() && expected.starts_with(&got) {
            self.fill(peer)?;
            let unread = &mut self.peer(peer)?.unread;
            let more = (expected.len() - got.len()).min(unread.len());
            got.extend(unread.drain(..more));
        }
        Ok(got)
    }

    /// Takes a live file: lines with a length but without a digest, each followed by its bytes.
    fn pieces(&mut self, peer: &str, expected: &[u8]) -> Result<(), String> {
        let mut left = expected;
        while !left.is_empty() {
            let line = self.line(peer)?;
            let words: Vec<&str> = line.split(' ').collect();
            let ["DATA", _, length, "-", _, ..] = words[..] else {
                return Err(format!("{peer} received\n    {peer}< {line}"));
            };
            let length: usize = length.parse().map_err(|_| format!("no length: {line}"))?;
            let piece = left.get(..length).ok_or("there are more bytes")?;
            let got = self.bytes(peer, piece)?;
            self.log.push(format!("{peer}< bytes \"{}\"", shown(&got)));
            if got != piece {
                return Err(format!("{peer} received other bytes"));
            }
            left = &left[length..];
        }
        Ok(())
    }

    /// Takes the next line.
    fn line(&mut self, name: &str) -> Result<String, String> {
        loop {
            let unread = &mut self.peer(name)?.unread;
            if let Some(at) = unread.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = unread.drain(..=at).collect();
                let text = line[..at].strip_suffix(b"\r").unwrap_or(&line[..at]);
                let text = String::from_utf8_lossy(text).into_owned();
                self.log.push(format!("{name}< {text}"));
                if line.len() > LINE_OUT_BYTES_MAX {
                    return Err(format!("{name} received a line of {} bytes", line.len()));
                }
                // An action in IRC is enclosed in this character.
                let is_safe = is_clean(&text.replace('\u{1}', ""));
                if std::str::from_utf8(&line).is_err() || !is_safe {
                    return Err(format!(
                        "{name} received what is not safe: {}",
                        shown(&line)
                    ));
                }
                return Ok(text);
            }
            self.more(name)
                .map_err(|why| match self.rest(name).as_str() {
                    "" => why.clone(),
                    half => format!("{why}, after half a line: {half}"),
                })?;
        }
    }

    /// Checks that a `PING` is answered, and that nothing precedes the answer.
    fn barrier(&mut self, name: &str) -> Result<(), String> {
        let number = self.peer(name)?.number;
        self.server.push(number, b"PING nothing\n")?;
        self.log.push(format!("{name}> PING nothing"));
        match self.line(name)?.as_str() {
            "OK PING nothing" => Ok(()),
            line if line.contains(" PONG ") && line.ends_with(" :nothing") => Ok(()),
            line => Err(format!("{name} received\n    {name}< {line}")),
        }
    }

    /// Checks that at the end no peer has received a line that nobody expected.
    fn nothing_is_left(&mut self) -> Result<(), String> {
        for name in self.order.clone() {
            let peer = self.peer(&name)?;
            let quiet = peer.closed || peer.ended || peer.gone;
            let number = peer.number;
            if !quiet {
                self.barrier(&name)
                    .map_err(|why| format!("at the end, {why}"))?;
            } else if !peer.gone
                && !peer.closed
                && let Taken::Bytes(bytes) = self.server.take(number, Duration::ZERO)
            {
                self.peer(&name)?.unread.extend(bytes);
            }
            if !self.rest(&name).is_empty() {
                return Err(format!(
                    "at the end, {name} has not read {}",
                    self.rest(&name)
                ));
            }
        }
        Ok(())
    }

    fn rest(&self, name: &str) -> String {
        self.peers
            .get(name)
            .map(|peer| shown(&peer.unread))
            .unwrap_or_default()
    }

    /// Describes a failure for a person: where it happened, what was expected, what was received, and what both sides
    /// have sent before.
    fn report(&self, step: Option<&Step>, why: &str) -> String {
        let Transcript { id, file, line, .. } = self.transcript;
        let line = step.map_or(*line, |step| step.line);
        let mut text = format!("{file}:{line}: {id}, {}:\n", self.cut);
        if let Some(step) = step {
            text += &format!("  expected\n    {step}\n  but ");
        } else {
            text += "  ";
        }
        text += &format!("{why}\n  the conversation:\n");
        for line in &self.log {
            text += &format!("    {line}\n");
        }
        for name in &self.order {
            if !self.rest(name).is_empty() {
                text += &format!("    {name} has not read: {}\n", self.rest(name));
            }
        }
        text
    }
}
