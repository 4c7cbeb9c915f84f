//! Client sockets, and the one watcher that reports when one can be read or written.
//!
//! `Async<TcpStream>` would do, at a price: 240 bytes a socket, and an `epoll_ctl` call for each wait. Here a socket is
//! registered once, when it is accepted, for every change (an edge-triggered epoll), and costs a waker and five bits.
//! smol's reactor watches that epoll as it would any file, so the thread sleeps in one place.

use std::future::poll_fn;
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use async_io::Async;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg, sockopt};
use slab::Slab;

use super::retry;

/// How many changes are read from the system at once.
const EVENTS_MAX: usize = 256;

/// How many slices are written at once: twice as many as a batch has when a hundred clients all talk, half of them the
/// replies to the client's own messages.
const SLICES_MAX: usize = 64;

/// How long a connection is idle before the system probes its client, and how often it probes, while the client follows
/// something.
const KEEPALIVE_CLOSE: Duration = Duration::from_secs(10);

/// A readiness state of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Read = 1,
    Write = 2,
    /// Both directions are closed: the other side neither reads nor writes any more.
    Gone = 4,
    /// The other side has ended its sending side, and may still read.
    Ended = 8,
}

/// All sockets, with the epoll that watches them.
#[derive(Debug)]
pub struct Sockets {
    epoll: Async<OwnedFd>,
    waiting: Mutex<Slab<Waiting>>,
    serial: AtomicU32,
}

/// The state of one socket and the task that waits for it.
#[derive(Debug, Default)]
struct Waiting {
    /// Distinguishes it from earlier sockets in the same place.
    serial: u32,
    waker: Option<Waker>,
    /// The states (bits of [`Readiness`]) that `waker` is woken for.
    wanted: u8,
    /// The states that may have become ready since they were last polled.
    open: u8,
    /// Whether the other side has ended or aborted; from then on a read always finds the end.
    has_ended: bool,
}

/// Reports that the client of a socket has gone, to a task that cannot reach the socket at the moment.
#[derive(Clone, Debug)]
pub struct Gone {
    sockets: Arc<Sockets>,
    place: u32,
    serial: u32,
}

/// A socket that is watched from its creation until it is dropped.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    /// Its index among all sockets.
    place: u32,
    sockets: Arc<Sockets>,
}

impl Sockets {
    /// Creates an empty set.
    ///
    /// # Errors
    /// Any error of the system.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self {
            epoll: Async::new(epoll)?,
            waiting: Mutex::default(),
            serial: AtomicU32::new(0),
        })
    }

    /// Starts to watch `stream`, which must be non-blocking.
    ///
    /// # Errors
    /// Any error of the system.
    pub fn add(self: &Arc<Self>, stream: TcpStream) -> io::Result<Socket> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let place = self.waiting().insert(Waiting {
            serial,
            ..Waiting::default()
        });
        // From here on, dropping the socket frees its place.
        let place = u32::try_from(place).map_err(io::Error::other)?;
        let socket = Socket {
            stream,
            place,
            sockets: self.clone(),
        };
        let changes = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let data = epoll::EventData::new_u64(u64::from(serial) << 32 | u64::from(place));
        epoll::add(&self.epoll, &socket.stream, data, changes)?;
        Ok(socket)
    }

    /// Wakes the tasks whose sockets become ready; never returns unless the system fails.
    ///
    /// # Errors
    /// Any error of the system.
    pub async fn watch(&self) -> io::Error {
        poll_fn(|cx| {
            loop {
                match self.epoll.poll_readable(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(e)) => return Poll::Ready(e),
                    Poll::Ready(Ok(())) => {}
                }
                if let Err(e) = self.take_changes() {
                    return Poll::Ready(e);
                }
            }
        })
        .await
    }

    /// Wakes the tasks whose sockets are ready now. Called by tasks that keep the executor busy, since it polls the
    /// system by itself only once in 200 polls.
    pub fn look(&self) {
        let _ = self.take_changes(); // an error ends `watch`
    }

    fn take_changes(&self) -> io::Result<()> {
        let mut events = [MaybeUninit::uninit(); EVENTS_MAX];
        let at_once = Timespec::default();
        let events = match epoll::wait(&self.epoll, &mut events, Some(&at_once)) {
            Err(Errno::INTR) => return Ok(()),
            events => events?.0,
        };
        let mut waiting = self.waiting();
        for event in events {
            // A dropped socket may still be reported while a thread sends a file through it.
            let (serial, place) = (event.data.u64() >> 32, event.data.u64() & 0xffff_ffff);
            if let Some(waiting) = waiting.get_mut(place as usize)
                && u64::from(waiting.serial) == serial
            {
                waiting.change(event.flags);
            }
        }
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, Slab<Waiting>> {
        self.waiting
            .lock()
            .expect("no thread panics while it holds this")
    }
}

impl Waiting {
    fn change(&mut self, flags: EventFlags) {
        let ended = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        if flags.intersects(ended) {
            self.has_ended = true;
            self.open |= Readiness::Ended as u8;
        }
        if flags.intersects(EventFlags::IN | ended) {
            self.open |= Readiness::Read as u8;
        }
        if flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR) {
            self.open |= Readiness::Write as u8;
        }
        if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            self.open |= Readiness::Gone as u8;
        }
        if self.wanted & self.open != 0 {
            self.wanted = 0;
            if let Some(waker) = &self.waker {
                waker.wake_by_ref();
            }
        }
    }

    fn poll(&mut self, readiness: Readiness, cx: &mut Context<'_>) -> Poll<()> {
        let is_ended = readiness == Readiness::Read && self.has_ended;
        if self.open & readiness as u8 != 0 || is_ended {
            if matches!(readiness, Readiness::Read | Readiness::Write) {
                self.open &= !(readiness as u8);
            }
            return Poll::Ready(());
        }
        self.wanted |= readiness as u8;
        // Only one task waits for a socket, so one waker is enough; cloning a waker costs as much as waking.
        if !self
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            self.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Socket {
    /// Returns the socket itself: try an operation first, and wait when it returns `WouldBlock`.
    pub fn get_ref(&self) -> &TcpStream {
        &self.stream
    }

    /// Writes as much of these slices as the system accepts at once.
    ///
    /// # Errors
    /// Any error of the system; `WouldBlock` when it accepts nothing.
    pub fn write_some<'a>(
        &self,
        mut stretches: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<usize> {
        let first = stretches.next().unwrap_or_default();
        let Some(second) = stretches.next() else {
            return retry(|| self.get_ref().write(first));
        };
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        let all = [first, second].into_iter().chain(stretches);
        for (slice, stretch) in slices.iter_mut().zip(all) {
            *slice = IoSlice::new(stretch);
            count += 1;
        }
        let slices = slices.get(..count).unwrap_or_default();
        let (mut none, flags) = (SendAncillaryBuffer::default(), SendFlags::NOSIGNAL);
        // Not `write_vectored`, which takes a longer path through the system: with it, single messages were delivered
        // to 138 k readers a second of CPU, against 150 k (means of three, alternating); the same holds for one slice.
        retry(|| Ok(sendmsg(&self.stream, slices, &mut none, flags)?))
    }

    /// Becomes ready when there may be something to read since the last call that was ready. Wakes only the task that
    /// polled last.
    ///
    /// # Errors
    /// None; the signature is that of the other carriers.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(Readiness::Read, cx)
    }

    /// Becomes ready when a write may succeed since the last call that was ready. Wakes only the task that polled last.
    ///
    /// # Errors
    /// None.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(Readiness::Write, cx)
    }

    /// Becomes ready once the connection is broken: the client has gone, and has not merely ended its input.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(Readiness::Gone, cx).map(|_| ())
    }

    /// Returns a handle that reports a broken connection while other code owns the socket.
    pub fn gone(&self) -> Gone {
        let waiting = self.sockets.waiting();
        let serial = waiting.get(self.place as usize).map(|known| known.serial);
        Gone {
            sockets: self.sockets.clone(),
            place: self.place,
            serial: serial.unwrap_or_default(),
        }
    }

    /// Makes the system probe the client more often: a client that follows something sends nothing, and may be sent
    /// nothing for a long time. A client that has closed its socket, as a killed program does, is found once its own
    /// system has forgotten the connection, after a minute.
    pub fn watch_closely(&self) {
        // If this fails, the end of the client is found later.
        let _ = sockopt::set_tcp_keepidle(&self.stream, KEEPALIVE_CLOSE);
        let _ = sockopt::set_tcp_keepintvl(&self.stream, KEEPALIVE_CLOSE);
    }

    /// Waits until [`Self::poll_writable`] is ready.
    ///
    /// # Errors
    /// None.
    pub async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_writable(cx)).await
    }

    fn poll(&self, readiness: Readiness, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut waiting = self.sockets.waiting();
        let waiting = waiting.get_mut(self.place as usize);
        let waiting = waiting.ok_or(io::ErrorKind::NotConnected)?;
        ready!(waiting.poll(readiness, cx));
        Poll::Ready(Ok(()))
    }
}

impl Gone {
    /// Works as [`Socket::poll_gone`]; also ready when the socket has been dropped.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_readiness(Readiness::Gone, cx)
    }

    /// Becomes ready once the client sends no more: it has gone, or has ended its sending side and goes on
    /// reading. A write then shows which.
    pub fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_readiness(Readiness::Ended, cx)
    }

    fn poll_readiness(&self, readiness: Readiness, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.sockets.waiting();
        match waiting.get_mut(self.place as usize) {
            Some(waiting) if waiting.serial == self.serial => waiting.poll(readiness, cx),
            _ => Poll::Ready(()),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The system removes a closed socket from the epoll by itself; it is closed right after this.
        self.sockets.waiting().try_remove(self.place as usize);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::io::Read;
    use std::net::{Shutdown, TcpListener};

    use futures_lite::future;

    use super::*;

    /// Runs `act` with the watcher beside it.
    fn with_sockets<F: Future<Output = ()>>(act: impl FnOnce(Arc<Sockets>) -> F) {
        let sockets = Arc::new(Sockets::new().unwrap());
        let watching = async { panic!("the watch ended: {}", sockets.watch().await) };
        smol::block_on(future::or(watching, act(sockets.clone())));
    }

    /// Returns a server socket and its client's end.
    fn pair(sockets: &Arc<Sockets>) -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        (sockets.add(stream).unwrap(), client)
    }

    async fn readable(socket: &Socket) {
        poll_fn(|cx| socket.poll_readable(cx)).await.unwrap();
    }

    #[test]
    fn every_change_is_reported_and_the_end_repeatedly() {
        with_sockets(async |sockets| {
            let (socket, mut client) = pair(&sockets);
            for _ in 0..3 {
                let waiting = readable(&socket);
                client.write_all(b"hello").unwrap();
                waiting.await;
                let mut buffer = [0; 10];
                assert_eq!(socket.get_ref().read(&mut buffer).unwrap(), 5);
            }
            // The end arrives with the last bytes; the reader finds it only at the next read.
            client.write_all(b"bye").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            readable(&socket).await;
            let mut buffer = [0; 10];
            assert_eq!(socket.get_ref().read(&mut buffer).unwrap(), 3);
            for _ in 0..3 {
                readable(&socket).await;
                assert_eq!(socket.get_ref().read(&mut buffer).unwrap(), 0);
            }
        });
    }

    #[test]
    fn a_full_socket_is_reported_when_it_accepts_more() {
        with_sockets(async |sockets| {
            let (socket, mut client) = pair(&sockets);
            let mut sent = 0;
            loop {
                match socket.get_ref().write(&[0; 64 << 10]) {
                    Ok(count) => sent += count,
                    Err(e) => break assert_eq!(e.kind(), io::ErrorKind::WouldBlock),
                }
            }
            let reading = smol::unblock(move || client.read_exact(&mut vec![0; sent]));
            let mut is_taken = false;
            while !is_taken {
                poll_fn(|cx| socket.poll_writable(cx)).await.unwrap();
                is_taken = socket.get_ref().write(b"x").is_ok();
            }
            reading.await.unwrap();
        });
    }

    #[test]
    fn a_socket_in_a_reused_place_gets_only_its_own_changes() {
        with_sockets(async |sockets| {
            let (old, old_client) = pair(&sockets);
            // As a thread does in the middle of a file: the system keeps the socket in the epoll.
            let _kept = old.get_ref().try_clone().unwrap();
            drop(old);
            let (socket, mut client) = pair(&sockets);
            drop(old_client);
            let mut waiting = std::pin::pin!(readable(&socket));
            let a_while = async {
                for _ in 0..10 {
                    future::yield_now().await;
                }
            };
            future::or(
                async {
                    waiting.as_mut().await;
                    panic!("not its own")
                },
                a_while,
            )
            .await;
            client.write_all(b"new").unwrap();
            waiting.await;
            let mut buffer = [0; 10];
            let count = socket.get_ref().read(&mut buffer).unwrap();
            assert_eq!(&buffer[..count], b"new");
        });
    }
}
