//! Waits for keys and other events of the terminal, and detects when the terminal has gone.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use crossterm::event::{Event, EventStream};
use futures_lite::Stream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smol::channel::{Receiver, bounded};

/// The time within which the program must end after its terminal has gone.
const END_WITHIN: Duration = Duration::from_secs(5);

/// The events of the terminal. When the terminal has gone, crossterm would read the end of the input again and again,
/// and never return. So this type asks the system first.
pub struct TerminalEvents {
    /// The events; `None` while another program reads from the terminal.
    events: Option<EventStream>,
    /// A channel that is closed when the terminal has gone.
    gone: Pin<Box<Receiver<()>>>,
}

impl TerminalEvents {
    /// Starts reading from the terminal. Ends the program if it is still running a few seconds after the terminal has
    /// gone.
    pub fn new() -> Self {
        let (tell, gone) = bounded(1);
        thread::spawn(move || {
            while !is_gone(None) {}
            drop(tell);
            // If crossterm began to read just before the terminal went, it never returns, so the program is ended
            // here.
            thread::sleep(END_WITHIN);
            std::process::exit(0);
        });
        Self {
            events: Some(EventStream::new()),
            gone: Box::pin(gone),
        }
    }

    /// Stops reading, so that another program receives the keys. The end of the terminal is still noticed.
    pub fn pause(&mut self) {
        self.events = None;
    }

    /// Reads again.
    pub fn resume(&mut self) {
        self.events = Some(EventStream::new());
    }

    /// Waits for the next event. Returns `None` when the terminal has gone.
    pub async fn next(&mut self) -> Option<io::Result<Event>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Event>>> {
        if self.gone.as_mut().poll_next(cx).is_ready() || has_gone() {
            return Poll::Ready(None);
        }
        match &mut self.events {
            Some(events) => pin!(events).poll_next(cx),
            None => Poll::Pending,
        }
    }
}

/// Returns whether the terminal has gone.
pub fn has_gone() -> bool {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    is_gone(Some(&now))
}

/// Waits for the end of the terminal, or until `timeout`. Returns whether the terminal has gone.
fn is_gone(timeout: Option<&Timespec>) -> bool {
    let stdin = io::stdin();
    // The flags are empty, because `poll` always reports the end of the terminal.
    let mut polled = [PollFd::new(&stdin, PollFlags::empty())];
    let ends = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    poll(&mut polled, timeout).is_ok() && polled.iter().any(|fd| fd.revents().intersects(ends))
}
