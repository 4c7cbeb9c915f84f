//! Messages in rooms. Measures the number of deliveries per second of the server's processor time, and the delay of
//! messages at a fixed rate.

use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Result;
use crate::dialect::{Dialect, MARK};
use crate::room::{Member, Room};
use crate::server::Server;
use crate::support::PATIENCE;

/// Length of a message with its mark.
const TEXT_BYTES: usize = 64;

/// The approximate number of bytes that a speaker writes at once.
const WRITE_BYTES: usize = 64 << 10;

/// The speakers and readers of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    pub speakers: usize,
    pub readers: usize,
    /// The average number of messages of each speaker that have been sent but not delivered. If their number were not
    /// limited, they would fill the sockets with gigabytes.
    pub window: usize,
    pub sends: Sends,
}

/// What the speakers send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sends {
    Messages,
    /// Messages with a tag. Only chatd supports this variant and those below.
    WithTag,
    /// Edits of one message.
    Edits,
    /// Reactions to one message, which are made and withdrawn in turns.
    Reactions,
}

impl Sends {
    /// Returns what a speaker sends again and again, and how many events it causes. `id` is the id of a message.
    fn requests(self, dialect: Dialect, id: &str) -> (String, usize) {
        let text = text();
        let mark = char::from(MARK);
        match self {
            Self::Messages => (dialect.say(&text), 1),
            Self::WithTag => (format!("@x-run=17 {}", dialect.say(&text)), 1),
            Self::Edits => (format!("EDIT {id} {text}\n"), 1),
            Self::Reactions => (format!("REACT {id} {mark}\nUNREACT {id} {mark}\n"), 2),
        }
    }
}

/// A client that sends the same message again and again.
struct Speaker {
    /// The message, repeated several times.
    bytes: Vec<u8>,
    message: usize,
    /// Bytes written.
    written: usize,
    is_blocked: bool,
}

impl Speaker {
    fn new(message: &str) -> Self {
        Self {
            bytes: message
                .repeat((WRITE_BYTES / message.len()).max(1))
                .into_bytes(),
            message: message.len(),
            written: 0,
            is_blocked: false,
        }
    }

    /// Returns the number of messages whose writing has begun.
    fn begun(&self) -> usize {
        self.written.div_ceil(self.message)
    }

    /// Writes until `up_to` messages are sent, or the socket is full.
    fn write(&mut self, member: &mut Member, up_to: usize) -> Result<()> {
        let end = up_to.saturating_mul(self.message);
        while !self.is_blocked && self.written < end {
            let from = self.written % self.bytes.len();
            let to = self.bytes.len().min(from + end - self.written);
            match member
                .stream
                .write(self.bytes.get(from..to).unwrap_or_default())
            {
                Ok(n) => self.written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.is_blocked = true,
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

fn text() -> String {
    format!("{}{}", char::from(MARK), "x".repeat(TEXT_BYTES - 1))
}

/// Measures deliveries per second of the server's processor time, and per second of real time.
pub fn deliveries(server: &Server, talk: Talk, time: Duration) -> Result<[f64; 2]> {
    let dialect = server.kind.dialect();
    let members = talk.speakers + talk.readers;
    let mut room = Room::fill(dialect, server.address, members)?;
    room.settle(server.quiet(members, time))?;
    let id = match talk.sends {
        Sends::Messages | Sends::WithTag => String::new(),
        Sends::Edits | Sends::Reactions => room.message_id(dialect)?,
    };
    let (requests, events) = talk.sends.requests(dialect, &id);
    let copies = events * (members - usize::from(!dialect.echoes()));
    let mut speakers: Vec<Speaker> = (0..talk.speakers)
        .map(|_| Speaker::new(&requests))
        .collect();

    let before = server.cpu()?;
    let begun = Instant::now();
    let mut last = begun;
    let (mut delivered, mut due) = (0, None);
    while due.is_none_or(|due| delivered < due) {
        if due.is_none() && begun.elapsed() >= time {
            due = Some(speakers.iter().map(Speaker::begun).sum::<usize>() * copies);
        }
        let up_to = delivered / (talk.speakers * copies) + talk.window;
        for (number, (speaker, member)) in speakers.iter_mut().zip(&mut room.members).enumerate() {
            let was_blocked = speaker.is_blocked;
            match due {
                None => speaker.write(member, up_to)?,
                Some(_) => speaker.write(member, speaker.begun())?, // the rest of the last message
            }
            if speaker.is_blocked && !was_blocked {
                room.watch.watch_writes(&member.stream, number, true)?;
            }
        }
        for (number, can_read, can_write) in room.watch.wait(Duration::from_millis(100))? {
            let Some(member) = room.members.get_mut(number) else {
                continue;
            };
            if can_write && let Some(speaker) = speakers.get_mut(number) {
                speaker.is_blocked = false;
                room.watch.watch_writes(&member.stream, number, false)?;
            }
            if can_read {
                let read = member.read(&mut room.buffer)?;
                let bytes = room.buffer.get(..read).unwrap_or_default();
                delivered += memchr::memchr_iter(MARK, bytes).count();
                last = Instant::now();
            }
        }
        if last.elapsed() > PATIENCE {
            return Err(format!("{delivered} of {due:?} deliveries came").into());
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = server.cpu()? - before;
    if due.is_some_and(|due| delivered > due) {
        return Err(format!("{delivered} deliveries came instead of {due:?}").into());
    }
    Ok([delivered as f64 / cpu, delivered as f64 / seconds])
}

/// The number of digits with which a message says when it was sent, in nanoseconds since the measurement began.
const STAMP_DIGITS: usize = 15;

/// The time at the beginning during which messages are not counted.
const WARM_UP: Duration = Duration::from_millis(300);

/// Measures the delay of messages that are sent at a fixed rate, in seconds: the median, and the 99th
/// percentile.
pub fn lateness(server: &Server, readers: usize, rate: u32, time: Duration) -> Result<[f64; 2]> {
    let dialect = server.kind.dialect();
    let mut room = Room::fill(dialect, server.address, 1 + readers)?;
    room.settle(server.quiet(readers, time))?;
    let copies = readers + usize::from(dialect.echoes());
    let mut stream = room
        .members
        .first()
        .ok_or("nobody is there")?
        .stream
        .try_clone()?;
    let begun = Instant::now();
    let count = (f64::from(rate) * (WARM_UP + time).as_secs_f64()) as usize;
    let due = count * copies;
    let is_over = AtomicBool::new(false);
    let mut late: Vec<u32> = Vec::with_capacity(due);
    let mut rests: Vec<Vec<u8>> = vec![Vec::new(); 1 + readers];
    std::thread::scope(|scope| -> Result<()> {
        let speaker = scope.spawn(|| -> std::io::Result<()> {
            for n in 0..count {
                let at = Duration::from_secs(1) / rate * n as u32;
                std::thread::sleep(at.saturating_sub(begun.elapsed()));
                let stamp = begun.elapsed().as_nanos();
                let rest = "x".repeat(TEXT_BYTES - 1 - STAMP_DIGITS);
                let text = format!("{}{stamp:0STAMP_DIGITS$}{rest}", char::from(MARK));
                stream.write_all(dialect.say(&text).as_bytes())?;
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
            }
            Ok(())
        });
        let (mut delivered, mut last) = (0, Instant::now());
        while delivered < due && last.elapsed() < PATIENCE && !is_over.load(Ordering::Relaxed) {
            for (number, _, _) in room.watch.wait(Duration::from_millis(100))? {
                let (Some(member), Some(rest)) =
                    (room.members.get_mut(number), rests.get_mut(number))
                else {
                    continue;
                };
                let read = member.read(&mut room.buffer)?;
                let now = begun.elapsed();
                rest.extend_from_slice(room.buffer.get(..read).unwrap_or_default());
                let mut taken = 0;
                for at in memchr::memchr_iter(MARK, rest) {
                    let Some(digits) = rest.get(at + 1..at + 1 + STAMP_DIGITS) else {
                        break;
                    };
                    let said: u64 = std::str::from_utf8(digits)?.parse()?;
                    let said = Duration::from_nanos(said);
                    if said > WARM_UP {
                        late.push(
                            u32::try_from(now.saturating_sub(said).as_nanos()).unwrap_or(u32::MAX),
                        );
                    }
                    taken = at + 1 + STAMP_DIGITS;
                    delivered += 1;
                    last = Instant::now();
                }
                // Less than a line may be left.
                let kept = rest.len().saturating_sub(taken).min(TEXT_BYTES);
                rest.drain(..rest.len() - kept);
            }
        }
        is_over.store(true, Ordering::Relaxed);
        speaker.join().map_err(|_| "the speaker panicked")??;
        if delivered == due {
            Ok(())
        } else {
            Err(format!("{delivered} of {due} deliveries came").into())
        }
    })?;
    let seconds = |share| {
        crate::support::quantile(&mut late.clone(), share).map_or(0.0, |ns| f64::from(ns) / 1e9)
    };
    Ok([seconds(0.5), seconds(0.99)])
}
