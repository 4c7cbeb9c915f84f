//! Sends the bytes of a file. If they are sent unchanged, the operating system moves them (`sendfile`); otherwise
//! they are copied.
//!
//! A disk may be slow, so files are read only on threads that may block (`blocking`), never on the thread that serves
//! the rooms. This module knows nothing of sessions.

use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::drop_on_pool::DropOnPool;
use super::memory::Pieces;
use crate::transport::{Carrier, Socket};

/// The maximum number of bytes that one system call moves, which takes some hundred microseconds.
const CALL_BYTES: u64 = 1 << 20;

/// How long a thread works on one file before it is the turn of others.
const STINT: Duration = Duration::from_millis(50);

/// How long a thread waits for a fast reader to take what was sent. For a slower reader, the socket is polled like
/// any other, without a thread.
const STEP: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 2_000_000,
};

/// The reason why a file was not sent completely.
#[derive(Debug)]
pub(super) enum Failed {
    /// The client no longer reads.
    Gone,
    /// The file cannot be read, or has become shorter.
    File(io::Error),
}

/// Sends `length` bytes of a file, starting at `offset`.
pub(super) async fn send(
    carrier: &mut Carrier,
    file: DropOnPool<File>,
    offset: u64,
    length: u64,
    pieces: &Pieces,
) -> Result<(), Failed> {
    match carrier.plain_socket() {
        Some(socket) => send_plain(socket, file, offset, length).await,
        None => copy(carrier, file, offset, length, pieces).await,
    }
}

/// Sends `length` bytes of a file into a plain socket without a copy. For 4 GiB, this takes half the time of copies
/// of 256 KiB.
pub(super) async fn send_plain(
    socket: &Socket,
    mut file: DropOnPool<File>,
    mut offset: u64,
    length: u64,
) -> Result<(), Failed> {
    let end = offset.saturating_add(length);
    // The thread may live longer than this future, so it has a handle of its own.
    let mut out = socket.get_ref().try_clone().map_err(Failed::File)?;
    while offset < end {
        let pool = file.pool().clone();
        let sent = pool.run(move || {
            let sent = send_some(&out, &file, offset, end);
            (out, file, sent)
        });
        let stint;
        (out, file, stint) = sent.await;
        let is_blocked;
        (offset, is_blocked) = stint?;
        // The epoll does not report a socket again that still accepts output, so this waits only if the socket was
        // full.
        if is_blocked {
            socket.writable().await.map_err(|_| Failed::Gone)?;
        }
    }
    Ok(())
}

/// Sends until the reader is slow or it is the turn of others. Returns the offset that was reached, and whether the
/// socket is full. Blocks.
pub(super) fn send_some(
    out: &TcpStream,
    file: &File,
    mut offset: u64,
    end: u64,
) -> Result<(u64, bool), Failed> {
    let begun = Instant::now();
    while offset < end && begun.elapsed() < STINT {
        let wanted = usize::try_from((end - offset).min(CALL_BYTES)).unwrap_or(usize::MAX);
        match rustix::fs::sendfile(out, file, Some(&mut offset), wanted) {
            Ok(0) => return Err(Failed::File(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut wait = [PollFd::new(out, PollFlags::OUT)];
                if poll(&mut wait, Some(&STEP)) == Ok(0) {
                    return Ok((offset, true));
                }
            }
            // Errors that only the file can cause.
            Err(e @ (Errno::IO | Errno::INVAL | Errno::NOMEM | Errno::OVERFLOW)) => {
                return Err(Failed::File(e.into()));
            }
            Err(_) => return Err(Failed::Gone),
        }
    }
    Ok((offset, false))
}

async fn copy(
    carrier: &mut Carrier,
    mut file: DropOnPool<File>,
    mut offset: u64,
    length: u64,
    pieces: &Pieces,
) -> Result<(), Failed> {
    let end = offset.saturating_add(length);
    let mut piece = Vec::new();
    while offset < end {
        let wanted = pieces.size(Some(end - offset));
        let pool = file.pool().clone();
        let read = pool.run(move || {
            piece.resize(wanted, 0);
            let result = file.read_exact_at(&mut piece, offset);
            (file, piece, result)
        });
        let result;
        (file, piece, result) = read.await;
        result.map_err(Failed::File)?;
        let written = carrier.write_all(&piece).await;
        written.map_err(|_| Failed::Gone)?;
        offset += wanted as u64;
    }
    Ok(())
}
