//! The floor: a server that does as little as possible. It has one thread, one ring of bytes, and a position for each
//! reader. With one call, it writes to a reader everything that the reader has not received.
//!
//! It knows no names, rooms or ids, and looks for nothing except the ends of lines. The author of a line receives a
//! copy too. When the slowest reader is a whole ring behind, the server reads nothing until that reader has caught
//! up.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::room::Watch;

const RING_BYTES: usize = 4 << 20;
const READ_BYTES: usize = 128 << 10;

struct Ring {
    bytes: Vec<u8>,
    /// The number of bytes ever written. Byte `n` is at `n % RING_BYTES`.
    end: u64,
}

impl Ring {
    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let at = (self.end % RING_BYTES as u64) as usize;
            let (now, later) = bytes.split_at(bytes.len().min(RING_BYTES - at));
            if let Some(place) = self.bytes.get_mut(at..at + now.len()) {
                place.copy_from_slice(now);
            }
            self.end += now.len() as u64;
            bytes = later;
        }
    }

    /// Returns all bytes from `start` on, in two slices.
    fn from(&self, start: u64) -> [IoSlice<'_>; 2] {
        let at = (start % RING_BYTES as u64) as usize;
        let length = (self.end - start) as usize;
        let first = length.min(RING_BYTES - at);
        let piece =
            |from: usize, to: usize| IoSlice::new(self.bytes.get(from..to).unwrap_or_default());
        [piece(at, at + first), piece(0, length - first)]
    }
}

struct Peer {
    stream: TcpStream,
    /// Its position in the ring.
    seen: u64,
    /// Received bytes that are not a complete line yet.
    rest: Vec<u8>,
    is_blocked: bool,
    is_queued: bool,
}

/// Prints its address and serves until it is killed.
pub fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    rustix::net::listen(&listener, 4096)?; // a longer queue than std's
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?);
    let mut watch = Watch::new()?;
    const LISTENER: usize = usize::MAX >> 1;
    watch.add(
        &TcpStream::from(std::os::fd::OwnedFd::from(listener.try_clone()?)),
        LISTENER,
    )?;
    let mut ring = Ring {
        bytes: vec![0; RING_BYTES],
        end: 0,
    };
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut readable = VecDeque::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let slowest = peers.iter().flatten().map(|peer| peer.seen).min();
        let mut space = RING_BYTES - (ring.end - slowest.unwrap_or(ring.end)) as usize;
        let is_busy = !readable.is_empty() && space >= 2 * READ_BYTES;
        let patience = if is_busy {
            Duration::ZERO
        } else {
            Duration::from_secs(3600)
        };
        for (number, can_read, can_write) in watch.wait(patience)? {
            if number == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    stream.write_all(b"floor\n")?;
                    watch.add(&stream, peers.len())?;
                    peers.push(Some(Peer {
                        stream,
                        seen: ring.end,
                        rest: Vec::new(),
                        is_blocked: false,
                        is_queued: false,
                    }));
                }
            } else if let Some(Some(peer)) = peers.get_mut(number) {
                if can_read && !peer.is_queued {
                    peer.is_queued = true;
                    readable.push_back(number);
                }
                if can_write {
                    peer.is_blocked = false;
                    watch.watch_writes(&peer.stream, number, false)?;
                    if !catch_up(peer, &ring, &watch, number)? {
                        peers[number] = None;
                    }
                }
            }
        }
        let before = ring.end;
        for _ in 0..readable.len() {
            if space < 2 * READ_BYTES {
                break;
            }
            let Some(number) = readable.pop_front() else {
                break;
            };
            let Some(Some(peer)) = peers.get_mut(number) else {
                continue;
            };
            let held = ring.end;
            peer.is_queued = false; // epoll reports it again if there is more
            if !take_in(peer, &mut ring, &mut buffer)? {
                peers[number] = None;
            }
            space -= (ring.end - held) as usize;
        }
        if ring.end > before {
            for (number, place) in peers.iter_mut().enumerate() {
                let Some(peer) = place else {
                    continue;
                };
                if !catch_up(peer, &ring, &watch, number)? {
                    *place = None;
                }
            }
        }
        while peers.last().is_some_and(Option::is_none) {
            peers.pop();
        }
    }
}

/// Writes what the peer has not received; returns false when it has disconnected.
fn catch_up(peer: &mut Peer, ring: &Ring, watch: &Watch, number: usize) -> io::Result<bool> {
    while !peer.is_blocked && peer.seen < ring.end {
        match peer.stream.write_vectored(&ring.from(peer.seen)) {
            Ok(n) => peer.seen += n as u64,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                peer.is_blocked = true;
                watch.watch_writes(&peer.stream, number, true)?;
            }
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// Reads once and puts the complete lines into the ring; returns false when the peer has disconnected.
fn take_in(peer: &mut Peer, ring: &mut Ring, buffer: &mut [u8]) -> io::Result<bool> {
    let read = match peer.stream.read(buffer) {
        Ok(0) => return Ok(false),
        Ok(n) => buffer.get(..n).unwrap_or_default(),
        Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(true),
        Err(_) => return Ok(false),
    };
    let whole = memchr::memrchr(b'\n', read).map_or(0, |end| end + 1);
    let (lines, rest) = read.split_at(whole);
    if whole > 0 {
        ring.put(&peer.rest);
        ring.put(lines);
        peer.rest.clear();
    }
    peer.rest.extend_from_slice(rest);
    Ok(peer.rest.len() < READ_BYTES)
}
