//! Client sockets, listening sockets, and the loop of the thread that serves them.
//!
//! `Async<TcpStream>` and smol's own loop would work too, but would cost 240 bytes for each socket, a call of
//! `epoll_ctl` for each wait, and four more system calls each time the thread sleeps. Here a socket is registered with
//! an edge-triggered epoll once, when it is accepted, and costs a waker and five bits. The thread sleeps in that epoll,
//! until a socket becomes ready, another thread wakes a task, or the time for which a task waits has come.

use std::future::poll_fn;
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use rustix::event::epoll::{self, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg, sockopt};
use slab::Slab;

use super::retry;

/// The maximum number of changes that are read from the operating system at once.
const EVENTS_MAX: usize = 256;

/// The maximum number of slices that are written at once. When a hundred clients talk at once, a batch has half as
/// many slices, and half of those are replies to the client's own messages.
const SLICES_MAX: usize = 64;

/// The time of inactivity after which the operating system probes a client that follows a room or file, and the time
/// between two probes.
const KEEPALIVE_CLOSE: Duration = Duration::from_secs(10);

/// The longest sleep of the thread.
const LONGEST_SLEEP: Timespec = Timespec {
    tv_sec: 24 * 60 * 60,
    tv_nsec: 0,
};

/// A readiness state of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Read = 1,
    Write = 2,
    /// Both directions are closed: the peer neither reads nor writes any more.
    Gone = 4,
    /// The peer has ended its output, but may still read.
    Ended = 8,
}

/// All sockets, and the epoll that watches them.
#[derive(Debug)]
pub struct Sockets {
    epoll: OwnedFd,
    waiting: Mutex<Slab<Waiting>>,
    serial: AtomicU32,
    bell: Arc<Bell>,
}

/// Wakes the thread that runs [`Sockets::block_on`].
#[derive(Debug)]
struct Bell {
    /// The file that ends the thread's sleep when it is written to.
    eventfd: OwnedFd,
    /// Whether there is something to do.
    has_rung: AtomicBool,
    /// Whether the thread sleeps, or is about to.
    is_asleep: AtomicBool,
}

/// What the epoll reports when the [`Bell`] has ended the thread's sleep. No socket has this place.
const BELL: u64 = u64::MAX;

/// The state of a socket, and the task that waits for it.
#[derive(Debug, Default)]
struct Waiting {
    /// A number that distinguishes the socket from earlier ones in the same place.
    serial: u32,
    waker: Option<Waker>,
    /// The states (bits of [`Readiness`]) for which `waker` is woken.
    wanted: u8,
    /// The states that may have become ready since the last poll.
    open: u8,
    /// Whether the peer has ended its output or aborted. If so, every read finds the end.
    has_ended: bool,
}

/// A handle by which a task learns that the client has gone, while the task cannot use the socket.
#[derive(Clone, Debug)]
pub struct Gone {
    sockets: Arc<Sockets>,
    place: u32,
    serial: u32,
}

/// A socket that is watched from its creation until it is dropped.
#[derive(Debug)]
pub struct Socket(Watched<TcpStream>);

/// A listening socket that is watched until it is dropped.
#[derive(Debug)]
pub struct Listener(Watched<TcpListener>);

/// A socket and its place among all sockets. The place is freed when the value is dropped. The socket is a field beside
/// the index, so that both take eight bytes together.
#[derive(Debug)]
struct Watched<S> {
    socket: S,
    index: u32,
    sockets: Arc<Sockets>,
}

impl Sockets {
    /// Creates an empty set of sockets and its epoll.
    ///
    /// # Errors
    /// Any error of the system.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let bell = Bell {
            eventfd: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            has_rung: AtomicBool::new(false),
            is_asleep: AtomicBool::new(false),
        };
        let data = epoll::EventData::new_u64(BELL);
        epoll::add(&epoll, &bell.eventfd, data, EventFlags::IN | EventFlags::ET)?;
        Ok(Self {
            epoll,
            waiting: Mutex::default(),
            serial: AtomicU32::new(0),
            bell: Arc::new(bell),
        })
    }

    /// Starts to watch `stream`, which must be non-blocking.
    ///
    /// # Errors
    /// Any error of the system.
    pub fn add(self: &Arc<Self>, stream: TcpStream) -> io::Result<Socket> {
        let changes = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(Socket(self.watch(stream, changes)?))
    }

    /// Starts to watch `listener`, and makes it non-blocking. A service manager may have passed it as a blocking one.
    ///
    /// # Errors
    /// Any error of the system.
    pub fn add_listener(self: &Arc<Self>, listener: TcpListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        let changes = EventFlags::IN | EventFlags::ET;
        Ok(Listener(self.watch(listener, changes)?))
    }

    fn watch<S: AsFd>(self: &Arc<Self>, socket: S, changes: EventFlags) -> io::Result<Watched<S>> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let index = self.waiting().insert(Waiting {
            serial,
            ..Waiting::default()
        });
        // From here on, the place is freed if this function fails.
        let watched = Watched {
            socket,
            index: u32::try_from(index).map_err(io::Error::other)?,
            sockets: self.clone(),
        };
        let data = u64::from(serial) << 32 | u64::from(watched.index);
        epoll::add(
            &self.epoll,
            &watched.socket,
            epoll::EventData::new_u64(data),
            changes,
        )?;
        Ok(watched)
    }

    /// Runs `main` on this thread until it is ready. While `main` waits, the thread sleeps until a socket becomes ready
    /// or a task of `main` is woken. Before each sleep, `ring` wakes the tasks whose time has come, and returns how
    /// long the thread may sleep at most. Only one thread may call this at a time.
    ///
    /// # Errors
    /// Any error of the system.
    pub fn block_on<T>(
        &self,
        main: impl Future<Output = T>,
        ring: impl Fn() -> Option<Duration>,
    ) -> io::Result<T> {
        let waker = Waker::from(self.bell.clone());
        let mut cx = Context::from_waker(&waker);
        let mut main = pin!(main);
        loop {
            self.bell.has_rung.swap(false, Ordering::SeqCst);
            if let Poll::Ready(result) = main.as_mut().poll(&mut cx) {
                return Ok(result);
            }
            let within = ring();
            self.bell.is_asleep.store(true, Ordering::SeqCst);
            let has_rung = self.bell.has_rung.load(Ordering::SeqCst);
            let within = if has_rung {
                Some(Duration::ZERO)
            } else {
                within
            };
            self.take_changes(within)?;
        }
    }

    /// Wakes the tasks whose sockets are ready now. Tasks that keep the executor busy call this, because
    /// [`Self::block_on`] looks at the sockets only once in 200 polls.
    pub fn look(&self) {
        let _ = self.take_changes(Some(Duration::ZERO)); // an error ends `block_on`
    }

    /// Waits until sockets become ready, or the time `within` has passed. Wakes the tasks that wait for the sockets.
    fn take_changes(&self, within: Option<Duration>) -> io::Result<()> {
        let mut events = [MaybeUninit::uninit(); EVENTS_MAX];
        let within = within.map(|within| Timespec::try_from(within).unwrap_or(LONGEST_SLEEP));
        let changes = epoll::wait(&self.epoll, &mut events, within.as_ref());
        // From here on, this thread is awake, and needs no bell for the tasks that it wakes itself.
        self.bell.is_asleep.store(false, Ordering::SeqCst);
        let events = match changes {
            Err(Errno::INTR) => return Ok(()),
            changes => changes?.0,
        };
        let mut waiting = self.waiting();
        for event in events {
            // A socket that has been dropped here may still be reported while a thread sends a file through it.
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

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The thread sets `is_asleep` before it reads `has_rung`. So one of the two sees what the other has done.
        let had_rung = self.has_rung.swap(true, Ordering::SeqCst);
        if !had_rung && self.is_asleep.load(Ordering::SeqCst) {
            // Each write is reported once, so nobody has to read. If the write failed, the counter would be full, which
            // takes centuries.
            let _ = rustix::io::write(&self.eventfd, &1_u64.to_ne_bytes());
        }
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
        // Only one task waits for a socket, so one waker is enough. It is replaced only if necessary, because cloning a
        // waker takes as long as waking a task.
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
    /// Returns the socket itself. The caller tries an operation first, and waits if it returns `WouldBlock`.
    pub fn get_ref(&self) -> &TcpStream {
        &self.0.socket
    }

    /// Writes as many bytes of the slices as the operating system accepts at once.
    ///
    /// # Errors
    /// Any error of the system; `WouldBlock` if it accepts nothing.
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
        // `write_vectored` takes a longer path through the operating system. With it, single messages were delivered
        // to 138,000 readers per second of processor time; with `sendmsg`, to 150,000 (means of three alternating
        // runs). A single slice gives the same result.
        retry(|| Ok(sendmsg(self.get_ref(), slices, &mut none, flags)?))
    }

    /// Becomes ready if something may have arrived since the last call that returned ready. Only the task that polled
    /// last is woken.
    ///
    /// # Errors
    /// None; the signature is that of the other carriers.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(Readiness::Read, cx)
    }

    /// Becomes ready if a write may have become possible since the last call that returned ready. Only the task that
    /// polled last is woken.
    ///
    /// # Errors
    /// None.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(Readiness::Write, cx)
    }

    /// Becomes ready when the connection is broken. A client that has only ended its input is still there.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(Readiness::Gone, cx).map(|_| ())
    }

    /// Returns a handle that reports a broken connection while other code owns the socket.
    pub fn gone(&self) -> Gone {
        let Watched { index, sockets, .. } = &self.0;
        let waiting = sockets.waiting();
        let serial = waiting.get(*index as usize).map(|known| known.serial);
        Gone {
            sockets: sockets.clone(),
            place: *index,
            serial: serial.unwrap_or_default(),
        }
    }

    /// Makes the operating system probe the client more often. A client that follows a room or file sends nothing,
    /// and may receive nothing for a long time. If such a client has closed its socket, as a killed program does,
    /// this is detected after about a minute, when the client's system has forgotten the connection.
    pub fn watch_closely(&self) {
        // If this fails, the end of the client is detected later.
        let _ = sockopt::set_tcp_keepidle(self.get_ref(), KEEPALIVE_CLOSE);
        let _ = sockopt::set_tcp_keepintvl(self.get_ref(), KEEPALIVE_CLOSE);
    }

    /// Waits until [`Self::poll_writable`] is ready.
    ///
    /// # Errors
    /// None.
    pub async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_writable(cx)).await
    }

    fn poll(&self, readiness: Readiness, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll(readiness, cx)
    }
}

impl Listener {
    /// Waits until `accept` returns something other than `WouldBlock`, and returns it.
    ///
    /// # Errors
    /// Those of `accept`.
    pub async fn accept<T>(&self, accept: impl Fn(&TcpListener) -> io::Result<T>) -> io::Result<T> {
        loop {
            match accept(&self.0.socket) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            poll_fn(|cx| self.0.poll(Readiness::Read, cx)).await?;
        }
    }
}

impl<S> Watched<S> {
    fn poll(&self, readiness: Readiness, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut waiting = self.sockets.waiting();
        let waiting = waiting.get_mut(self.index as usize);
        let waiting = waiting.ok_or(io::ErrorKind::NotConnected)?;
        ready!(waiting.poll(readiness, cx));
        Poll::Ready(Ok(()))
    }
}

impl Gone {
    /// Becomes ready when [`Socket::poll_gone`] would, or when the socket has been dropped.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_readiness(Readiness::Gone, cx)
    }

    /// Becomes ready when the client sends nothing more: it has gone, or has ended its output and still reads. A
    /// write shows which of the two is the case.
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

impl<S> Drop for Watched<S> {
    fn drop(&mut self) {
        // The operating system removes a socket from the epoll when the socket is closed, which happens right after
        // this.
        self.sockets.waiting().try_remove(self.index as usize);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::io::Read;
    use std::net::{Shutdown, TcpListener};

    use futures_lite::future;

    use super::*;

    /// Runs `act` on a set of sockets.
    fn with_sockets<F: Future<Output = ()>>(act: impl FnOnce(Arc<Sockets>) -> F) {
        let sockets = Arc::new(Sockets::new().unwrap());
        sockets.block_on(act(sockets.clone()), || None).unwrap();
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
            // The end of the input arrives together with the last bytes, but the reader finds it only at the next
            // read.
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
            // A thread that sends a file also keeps a copy of the socket, so that the system leaves it in the epoll.
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
