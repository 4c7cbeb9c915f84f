//! Sockets that clients are on, and the one watch that tells when one can be read or written.
//!
//! `Async<TcpStream>` would do, at a price: 240 bytes a socket, and an `epoll_ctl` each time that one is
//! waited for. Here the system is asked once, when a socket comes, to tell of every change (an epoll that is
//! edge-triggered), and a socket costs a waker and five bits. smol's reactor watches that epoll as it would
//! any file, so there is one place in which the thread sleeps.

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

/// How many changes are taken from the system at once.
const EVENTS_MAX: usize = 256;

/// How many stretches are written at once: twice as many as a batch has of a hundred who all talk, half of them
/// the replies to what was its own.
const SLICES_MAX: usize = 64;

/// How long a connection is silent before the system asks whether its client is there, and how often it asks,
/// while somebody follows something on it.
const KEEPALIVE_CLOSE: Duration = Duration::from_secs(10);

/// What can be done with a socket, or is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Read = 1,
    Write = 2,
    /// To nowhere: nobody reads or writes on the other side any more.
    Gone = 4,
}

/// All sockets.
#[derive(Debug)]
pub struct Sockets {
    epoll: Async<OwnedFd>,
    waiting: Mutex<Slab<Waiting>>,
    serial: AtomicU32,
}

/// What is known of a socket, and who wants to know more.
#[derive(Debug, Default)]
struct Waiting {
    /// Tells it from those that had its place before.
    serial: u32,
    waker: Option<Waker>,
    /// The ways that `waker` is woken for.
    wanted: u8,
    /// The ways that may be open since they were last asked for.
    open: u8,
    /// The other side has ended or broken off: there is an end to be read, now and ever after.
    has_ended: bool,
}

/// Tells when the client of a socket has gone, to the task that has the socket, where that is out of reach.
#[derive(Debug)]
pub struct Gone {
    sockets: Arc<Sockets>,
    place: u32,
    serial: u32,
}

/// A socket, watched from when it came until it is dropped.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    /// Where it is among all of them.
    place: u32,
    sockets: Arc<Sockets>,
}

impl Sockets {
    /// None yet.
    ///
    /// # Errors
    /// The system's.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self {
            epoll: Async::new(epoll)?,
            waiting: Mutex::default(),
            serial: AtomicU32::new(0),
        })
    }

    /// Watches `stream`, which must not block.
    ///
    /// # Errors
    /// The system's.
    pub fn add(self: &Arc<Self>, stream: TcpStream) -> io::Result<Socket> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let place = self.waiting().insert(Waiting {
            serial,
            ..Waiting::default()
        });
        // From here on its place is given back when it is dropped.
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

    /// Wakes those who wait for a socket, for ever.
    ///
    /// # Errors
    /// The system's, and only then it ends.
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

    /// Wakes those whose sockets are ready now. Called by tasks that keep the executor busy, since it asks the
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
            // A socket that has gone may still be told of, as long as a thread sends a file into it.
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
        }
        if flags.intersects(EventFlags::IN | ended) {
            self.open |= Way::Read as u8;
        }
        if flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR) {
            self.open |= Way::Write as u8;
        }
        if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            self.open |= Way::Gone as u8;
        }
        if self.wanted & self.open != 0 {
            self.wanted = 0;
            if let Some(waker) = &self.waker {
                waker.wake_by_ref();
            }
        }
    }

    fn poll(&mut self, way: Way, cx: &mut Context<'_>) -> Poll<()> {
        let is_ended = way == Way::Read && self.has_ended;
        if self.open & way as u8 != 0 || is_ended {
            if way != Way::Gone {
                self.open &= !(way as u8);
            }
            return Poll::Ready(());
        }
        self.wanted |= way as u8;
        // One task has a socket, so one waker is enough; and cloning one costs as much as waking.
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
    /// The socket itself: to be tried first, and waited for when it says `WouldBlock`.
    pub fn get_ref(&self) -> &TcpStream {
        &self.stream
    }

    /// Writes what it takes of those stretches at once.
    ///
    /// # Errors
    /// The system's; `WouldBlock` when it takes nothing.
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
        // Not `write_vectored`, which takes the longer way through the system: with it, and for one stretch too, one
        // message at a time went to 138 k readers a second of CPU, against 150 k (means of three, in turns).
        retry(|| Ok(sendmsg(&self.stream, slices, &mut none, flags)?))
    }

    /// Ready when there may be something to read since the last call that was ready. Tells one task at a
    /// time: the last that asked.
    ///
    /// # Errors
    /// None; as with what else can be waited for.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(Way::Read, cx)
    }

    /// Ready when a write may take something since the last call that was ready; otherwise the same.
    ///
    /// # Errors
    /// None.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(Way::Write, cx)
    }

    /// Ready once the connection is broken: its client has gone, and has not merely ended what it sends.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(Way::Gone, cx).map(|_| ())
    }

    /// The same for the time when somebody else has the socket.
    pub fn gone(&self) -> Gone {
        let waiting = self.sockets.waiting();
        let serial = waiting.get(self.place as usize).map(|known| known.serial);
        Gone {
            sockets: self.sockets.clone(),
            place: self.place,
            serial: serial.unwrap_or_default(),
        }
    }

    /// Has the system ask more often whether the client is there: whoever follows something sends nothing, and
    /// may long be written nothing. One that has closed its end, as a program does that was ended, is found once
    /// its own system has forgotten the connection, after a minute.
    pub fn watch_closely(&self) {
        // If it fails, the client is found gone later.
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

    fn poll(&self, way: Way, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut waiting = self.sockets.waiting();
        let waiting = waiting.get_mut(self.place as usize);
        let waiting = waiting.ok_or(io::ErrorKind::NotConnected)?;
        ready!(waiting.poll(way, cx));
        Poll::Ready(Ok(()))
    }
}

impl Gone {
    /// As [`Socket::poll_gone`]; ready as well when the socket is no more.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.sockets.waiting();
        match waiting.get_mut(self.place as usize) {
            Some(waiting) if waiting.serial == self.serial => waiting.poll(Way::Gone, cx),
            _ => Poll::Ready(()),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The system itself forgets a socket that is closed, which it is right after this.
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

    /// Drives `act` with the watch beside it.
    fn with_sockets<F: Future<Output = ()>>(act: impl FnOnce(Arc<Sockets>) -> F) {
        let sockets = Arc::new(Sockets::new().unwrap());
        let watching = async { panic!("the watch ended: {}", sockets.watch().await) };
        smol::block_on(future::or(watching, act(sockets.clone())));
    }

    /// A socket, and what its client holds.
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
    fn whatever_comes_is_told_and_so_is_the_end_again_and_again() {
        with_sockets(async |sockets| {
            let (socket, mut client) = pair(&sockets);
            for _ in 0..3 {
                let waiting = readable(&socket);
                client.write_all(b"hello").unwrap();
                waiting.await;
                let mut buffer = [0; 10];
                assert_eq!(socket.get_ref().read(&mut buffer).unwrap(), 5);
            }
            // With the last bytes comes the end, which a reader finds only when it comes back.
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
    fn one_that_was_full_is_told_when_it_takes_more() {
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
    fn one_at_the_place_of_one_that_has_gone_hears_of_its_own_alone() {
        with_sockets(async |sockets| {
            let (old, old_client) = pair(&sockets);
            // As a thread has that is in the middle of a file: so the system does not forget the socket.
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
