//! Collects what a test receives from a program or the server, and compares it with what is expected.

use std::io::{ErrorKind, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// The deadline of every wait in a test. It is far longer than working code ever needs, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The output of a program or of the server, which a test takes line by line. A thread reads it, so that the sender
/// never waits for the test.
pub struct Inbox {
    chunks: Receiver<Vec<u8>>,
    pending: Vec<u8>,
    /// Everything received so far, for the report of a failure.
    seen: Vec<u8>,
}

impl Inbox {
    /// Reads `source` to its end.
    pub fn of(mut source: impl Read + Send + 'static) -> Self {
        // The channel is bounded, so that the thread stops reading if the test takes nothing.
        let (send, chunks) = sync_channel(64);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match source.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) if send.send(buffer[..n].to_vec()).is_err() => break,
                    Ok(_) => {}
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(_) => break, // a reset is an end too; the test sees what is missing
                }
            }
        });
        Self {
            chunks,
            pending: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Receives the next piece; returns false at the end.
    #[track_caller]
    fn more(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.chunks.recv_timeout(left) {
            Ok(bytes) => {
                self.pending.extend_from_slice(&bytes);
                if self.seen.len() < 64 * 1024 {
                    self.seen.extend_from_slice(&bytes);
                }
                true
            }
            Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => {
                panic!("nothing came in time; so far:\n{}", lossy(&self.seen))
            }
        }
    }

    /// Takes the next line without its line ending, LF or CR LF; `None` at the end.
    #[track_caller]
    pub fn line_or_end(&mut self) -> Option<String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(at) = self.pending.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=at).collect();
                return Some(lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            }
            if !self.more(deadline) {
                assert!(
                    self.pending.is_empty(),
                    "it ended within a line: {:?}",
                    lossy(&self.pending)
                );
                return None;
            }
        }
    }

    /// Takes the next line, and fails at the end.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let line = self.line_or_end();
        line.unwrap_or_else(|| {
            panic!(
                "it ended where a line should be; so far:\n{}",
                lossy(&self.seen)
            )
        })
    }

    /// Skips to the first line that satisfies `wanted`.
    #[track_caller]
    pub fn find(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            let line = self.line();
            if wanted(&line) {
                return line;
            }
        }
    }

    /// Takes the next line, which must fit `pattern`; see [`fits`].
    #[track_caller]
    pub fn expect(&mut self, pattern: &str) -> String {
        let line = self.line();
        assert!(
            fits(pattern, &line),
            "wanted {pattern:?}, got {line:?}; so far:\n{}",
            lossy(&self.seen)
        );
        line
    }

    /// Takes the next line that does not announce that somebody has joined or left a room. That line must fit
    /// `pattern`. Announcements come a while after what they announce, so they may come before any reply.
    #[track_caller]
    pub fn reply(&mut self, pattern: &str) -> String {
        loop {
            let line = self.line();
            if fits(pattern, &line) {
                return line;
            }
            let is_announcement = ["JOIN ", "PART "].iter().any(|verb| line.starts_with(verb));
            assert!(
                is_announcement,
                "wanted {pattern:?}, got {line:?}; so far:\n{}",
                lossy(&self.seen)
            );
        }
    }

    /// Takes the next `length` bytes.
    #[track_caller]
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let deadline = Instant::now() + DEADLINE;
        while self.pending.len() < length {
            assert!(
                self.more(deadline),
                "it ended after {} bytes",
                self.pending.len()
            );
        }
        self.pending.drain(..length).collect()
    }

    /// Waits for output that comes later than the usual deadline.
    #[track_caller]
    pub fn wait_for_more(&mut self, within: Duration) {
        let _ = self.has_more() || self.more(Instant::now() + within);
    }

    /// Returns whether anything was received that has not been taken.
    pub fn has_more(&mut self) -> bool {
        self.pending.extend(self.chunks.try_iter().flatten());
        !self.pending.is_empty()
    }

    /// Waits for the end of the output, and takes everything that is left.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + DEADLINE;
        while self.more(deadline) {}
        std::mem::take(&mut self.pending)
    }
}

/// Returns whether `line` fits `pattern`, in which `<id>` stands for a number, `<time>` for a time,
/// `<sha256>` for a digest, `<word>` for any word, and `…` at the end for any rest.
pub fn fits(pattern: &str, line: &str) -> bool {
    let (pattern, open) = match pattern.strip_suffix('…') {
        Some(start) => (start.trim_end(), true),
        None => (pattern, false),
    };
    let mut words = line.split(' ');
    for wanted in pattern.split(' ') {
        let Some(word) = words.next() else {
            return false;
        };
        let fit = match wanted {
            "<id>" => !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()),
            "<time>" => plainchat::protocol::Time::parse(word).is_some(),
            "<sha256>" => plainchat::protocol::Digest::parse(word).is_some(),
            "<word>" => !word.is_empty(),
            exact => exact == word,
        };
        if !fit {
            return false;
        }
    }
    open || words.next().is_none()
}

/// Converts `bytes` to text, for comparisons and reports.
pub fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
