//! A way between two programs that can be cut, and on which everything can stand still.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

/// How a link treats what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Everything is carried.
    Open,
    /// Nothing is carried, but nothing ends: what comes waits.
    Still,
    /// All connections end, and there are no new ones.
    Cut,
}

/// Carries connections to a port, through a port of its own.
pub struct Link {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    to: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    way: Way,
    /// Both ends of all connections.
    ends: Vec<TcpStream>,
}

impl Link {
    /// Opens a link to a port of 127.0.0.1.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let shared = Arc::new(Shared {
            to: SocketAddr::from(([127, 0, 0, 1], port)),
            state: Mutex::new(State {
                way: Way::Open,
                ends: Vec::new(),
            }),
            changed: Condvar::new(),
        });
        let port = listener.local_addr().expect("it is bound").port();
        let accepts = shared.clone();
        thread::spawn(move || {
            for from in listener.incoming().map_while(Result::ok) {
                accepts.connect(from);
            }
        });
        Self { port, shared }
    }

    /// Changes how the link treats what comes.
    pub fn set(&self, way: Way) {
        let mut state = self.shared.lock();
        state.way = way;
        if way == Way::Cut {
            for end in state.ends.drain(..) {
                let _ = end.shutdown(Shutdown::Both); // it may have ended
            }
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with it")
    }

    /// Waits until nothing stands still. Returns false if the link is cut.
    fn may_carry(&self) -> bool {
        let state = self.lock();
        let is_still = |state: &mut State| state.way == Way::Still;
        let state = self.changed.wait_while(state, is_still);
        state.expect("no thread panics with it").way == Way::Open
    }

    /// Carries a connection, unless nobody listens.
    fn connect(self: &Arc<Self>, from: TcpStream) {
        let to = self.may_carry().then(|| TcpStream::connect(self.to).ok());
        let Some(to) = to.flatten() else {
            return;
        };
        let copy = |end: &TcpStream| end.try_clone().expect("a free descriptor");
        {
            let mut state = self.lock();
            state.ends.retain(|end| end.peer_addr().is_ok());
            state.ends.extend([copy(&from), copy(&to)]);
        }
        for (from, to) in [(copy(&from), copy(&to)), (to, from)] {
            let shared = self.clone();
            thread::spawn(move || shared.carry(from, to));
        }
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let _ = to.set_nodelay(true); // it may have ended
        let mut bytes = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if !self.may_carry() || to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        // If nothing is carried, the end is not either.
        self.may_carry();
        for end in [from, to] {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}
