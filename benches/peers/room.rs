//! Many clients in one room, on one thread. The thread blocks in epoll, never in a socket, and does as little as
//! possible, because it shares the machine with the server.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::dialect::{Dialect, Step};
use crate::support::PATIENCE;

/// The number of clients that join at the same time. Ten connections fit into ngIRCd's queue; each further client would
/// wait a second.
const AT_ONCE: usize = 8;

const READ_BYTES: usize = 256 << 10;

pub struct Member {
    pub stream: TcpStream,
    /// The beginning of an incomplete line.
    rest: Vec<u8>,
    is_in: bool,
}

impl Member {
    pub fn connect(address: SocketAddr, hello: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        stream.write_all(hello.as_bytes())?; // a few bytes into an empty buffer
        Ok(Self {
            stream,
            rest: Vec::new(),
            is_in: false,
        })
    }

    /// Reads once. Returns 0 if nothing has arrived.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.stream.read(buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(0),
            read => read,
        }
    }

    /// Reads once and calls back with every complete line, without its line ending.
    pub fn lines(
        &mut self,
        buffer: &mut [u8],
        mut line: impl FnMut(&mut TcpStream, &str) -> io::Result<()>,
    ) -> io::Result<()> {
        let read = self.read(buffer)?;
        self.rest
            .extend_from_slice(buffer.get(..read).unwrap_or_default());
        let mut taken = 0;
        for end in memchr::memchr_iter(b'\n', &self.rest) {
            let bytes = self.rest.get(taken..end).unwrap_or_default();
            line(&mut self.stream, String::from_utf8_lossy(bytes).trim_end())?;
            taken = end + 1;
        }
        self.rest.drain(..taken);
        Ok(())
    }

    /// Continues to join with the lines that have arrived; returns whether the client has joined.
    pub fn enter(&mut self, dialect: Dialect, buffer: &mut [u8]) -> io::Result<bool> {
        let mut is_in = false;
        self.lines(buffer, |stream, line| {
            match dialect.step(line) {
                _ if is_in => {}
                Step::Wait => {}
                Step::In => is_in = true,
                Step::Answer(answer) => stream.write_all(answer.as_bytes())?,
                Step::Refused => return Err(io::Error::other(line.to_owned())),
            }
            Ok(())
        })?;
        if is_in {
            self.rest = Vec::new();
        }
        Ok(is_in)
    }
}

/// A watcher that reports which sockets are ready.
pub struct Watch {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Watch {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(1024),
        })
    }

    /// Watches a socket, under the number `number`, for bytes to read.
    pub fn add(&self, stream: &TcpStream, number: usize) -> io::Result<()> {
        let data = EventData::new_u64(number as u64);
        Ok(epoll::add(&self.epoll, stream, data, EventFlags::IN)?)
    }

    /// Starts or stops watching whether the socket can be written to.
    pub fn watch_writes(&self, stream: &TcpStream, number: usize, wanted: bool) -> io::Result<()> {
        let flags = if wanted {
            EventFlags::IN | EventFlags::OUT
        } else {
            EventFlags::IN
        };
        let data = EventData::new_u64(number as u64);
        Ok(epoll::modify(&self.epoll, stream, data, flags)?)
    }

    /// Waits. Returns the sockets that are ready, each with whether it can be read, and whether it can be written.
    pub fn wait(&mut self, patience: Duration) -> io::Result<Vec<(usize, bool, bool)>> {
        self.events.clear();
        let timeout = Timespec {
            tv_sec: patience.as_secs() as i64,
            tv_nsec: i64::from(patience.subsec_nanos()),
        };
        match epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            Some(&timeout),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let told = self.events.iter().map(|event| {
            let (data, flags) = (event.data, event.flags);
            let is_writable = flags.contains(EventFlags::OUT);
            let is_readable = flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR);
            (data.u64() as usize, is_readable, is_writable)
        });
        Ok(told.collect())
    }
}

pub struct Room {
    pub watch: Watch,
    pub members: Vec<Member>,
    pub buffer: Vec<u8>,
}

impl Room {
    /// Connects `count` clients and waits until they have joined.
    pub fn fill(dialect: Dialect, address: SocketAddr, count: usize) -> io::Result<Self> {
        let mut room = Self {
            watch: Watch::new()?,
            members: Vec::with_capacity(count),
            buffer: vec![0; READ_BYTES],
        };
        let begun = Instant::now();
        let mut inside = 0;
        while inside < count {
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::other(format!(
                    "only {inside} of {count} came in"
                )));
            }
            while room.members.len() < count.min(inside + AT_ONCE) {
                let number = room.members.len();
                let member = Member::connect(address, &dialect.hello(&format!("u{number}")))?;
                room.watch.add(&member.stream, number)?;
                room.members.push(member);
            }
            for (number, _, _) in room.watch.wait(Duration::from_millis(100))? {
                let Some(member) = room.members.get_mut(number) else {
                    continue;
                };
                if member.is_in {
                    member.read(&mut room.buffer)?; // announcements of other clients that join
                } else if member.enter(dialect, &mut room.buffer)? {
                    member.is_in = true;
                    inside += 1;
                }
            }
        }
        Ok(room)
    }

    /// Sends a message from the first client, and returns its id when all others have received it.
    pub fn message_id(&mut self, dialect: Dialect) -> io::Result<String> {
        let none = || io::Error::other("the message has no id");
        let (mut id, begun) = (None, Instant::now());
        let first = self.members.first_mut().ok_or_else(none)?;
        first.stream.write_all(dialect.say("first").as_bytes())?;
        while id.is_none() && begun.elapsed() < PATIENCE {
            self.watch.wait(Duration::from_millis(100))?;
            let first = self.members.first_mut().ok_or_else(none)?;
            first.lines(&mut self.buffer, |_, line| {
                if let Some(reply) = line.strip_prefix("OK MSG ") {
                    id = reply.split(' ').next().map(str::to_owned);
                }
                Ok(())
            })?;
        }
        self.settle(Duration::from_millis(100))?;
        id.ok_or_else(none)
    }

    /// Drops everything received until nothing has arrived for the time `quiet`.
    pub fn settle(&mut self, quiet: Duration) -> io::Result<()> {
        let mut last = Instant::now();
        while last.elapsed() < quiet {
            let left = quiet.saturating_sub(last.elapsed());
            for (number, _, _) in self.watch.wait(left)? {
                if let Some(member) = self.members.get_mut(number) {
                    member.read(&mut self.buffer)?;
                    last = Instant::now();
                }
            }
        }
        Ok(())
    }
}
