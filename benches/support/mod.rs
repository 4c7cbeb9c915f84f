//! Code shared by the benchmarks: a client that speaks the protocol, random messages, and the formatting of
//! figures.

#![allow(dead_code)] // each benchmark uses only some of it

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[path = "../../tests/support/server.rs"]
mod server;

pub use server::Chatd;

/// The server that is measured.
pub const CHATD: &str = env!("CARGO_BIN_EXE_chatd");

/// Returns the exit code of a benchmark. If it failed, prints its name and the error.
pub fn exit(name: &str, result: Result<(), Box<dyn std::error::Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{name}: {e}");
            ExitCode::FAILURE
        }
    }
}

/// The deadline of every wait: a benchmark that hangs has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that waits for its replies.
///
/// It blocks, because nothing between a request and its reply should cost more than a system call.
pub struct Client {
    stream: TcpStream,
    /// The beginning of an incomplete line.
    rest: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            rest: Vec::new(),
        })
    }

    /// Sets how long to wait for the next bytes.
    pub fn wait_up_to(&self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(patience))
    }

    /// Sends lines, which must have their line endings.
    pub fn send(&mut self, lines: &[u8]) -> io::Result<()> {
        self.stream.write_all(lines)
    }

    /// Reads once and calls back with every complete line.
    pub fn read(&mut self, mut line: impl FnMut(&str) -> io::Result<()>) -> io::Result<()> {
        let mut buffer = [0; 64 << 10];
        let read = self.stream.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.rest
            .extend_from_slice(buffer.get(..read).unwrap_or_default());
        let mut taken = 0;
        for end in memchr::memchr_iter(b'\n', &self.rest) {
            let bytes = self.rest.get(taken..end).unwrap_or_default();
            line(std::str::from_utf8(bytes).map_err(io::Error::other)?)?;
            taken = end + 1;
        }
        self.rest.drain(..taken);
        Ok(())
    }

    /// Sends a request and waits for its reply. Returns the reply, the number of `PAST` lines before it, and the time
    /// that it took.
    pub fn ask(&mut self, request: &str) -> io::Result<(String, usize, Duration)> {
        let begun = Instant::now();
        self.send(format!("{request}\n").as_bytes())?;
        let (mut reply, mut past) = (None, 0);
        while reply.is_none() {
            self.read(|line| {
                match line.split(' ').next() {
                    Some("OK") => reply = Some(line.to_owned()),
                    Some("ERR" | "CLOSED") => return Err(io::Error::other(line.to_owned())),
                    Some("PAST") => past += 1,
                    _ => {}
                }
                Ok(())
            })?;
        }
        Ok((reply.unwrap_or_default(), past, begun.elapsed()))
    }
}

/// Pseudo-random numbers that are the same in every run (xorshift; George Marsaglia, 2003).
pub struct Dice(u64);

impl Dice {
    /// Returns a generator for a seed, which must not be 0; the same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Number of different words in the messages.
const WORDS: f64 = 20_000.0;

/// The most frequent word, for searches.
pub const COMMON_WORD: &str = "wo0";

/// Returns a message of about 60 bytes. A few of its ten words are common and most are rare, as in natural text: the
/// n-th most common word occurs about 1/n as often as the first. [`COMMON_WORD`] is in two thirds of the messages.
pub fn sentence(dice: &mut Dice) -> String {
    let mut text = String::with_capacity(80);
    for n in 0..10 {
        let chance = dice.below(1 << 20) as f64 / f64::from(1 << 20);
        let rank = WORDS.powf(chance) as u64 - 1;
        if n > 0 {
            text.push(' ');
        }
        text += &format!("wo{rank:x}");
    }
    text
}

/// Returns the quantile `share` (0 to 1) of the values, which it sorts.
pub fn quantile<T: PartialOrd + Copy>(values: &mut [T], share: f64) -> Option<T> {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let last = values.len().checked_sub(1)?;
    values.get((last as f64 * share).round() as usize).copied()
}

/// Formats a number with separators: 12,345.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Creates a folder for a server's log, which is deleted at the end. It is in cargo's build folder, because `/tmp`
/// may be in memory, where a sync costs nothing.
pub fn folder() -> io::Result<tempfile::TempDir> {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
}

/// Returns the flags that make `chatd` store its log in `folder`.
pub fn data(folder: &Path) -> Vec<String> {
    vec!["--data".into(), folder.display().to_string()]
}
