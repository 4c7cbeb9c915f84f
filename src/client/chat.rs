//! A [`Link`] on real connections: dials, reads, writes and waits.

use std::fmt::{self, Display};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::Stream;

use super::link::{Link, Wants};
use super::{Address, Error, Receiver, Sender, Ticket, Update, connection};

type Halves = (Sender, Receiver);
type Dialing = Pin<Box<dyn Future<Output = Result<Halves, Error>> + Send>>;

/// How long the server may take to say goodbye to one who leaves.
const GOODBYE_WITHIN: Duration = Duration::from_secs(4);

/// Somebody on a server who stays: a connection that breaks is made again, and nothing is missed, lost or doubled
/// by it.
///
/// It is a [`Stream`] of [`Update`]s, and works while that is polled: on any executor, with no task of its own.
/// What is said is kept until the stream tells of it, and goes out on its next poll. It ends after
/// [`Update::Over`], or when one has left.
///
/// The first connection is tried once; its failure is [`Update::Over`]. A broken one is tried again after pauses
/// that grow to 30 s, for as long as the stream is polled.
///
/// ```no_run
/// # async fn bot() -> Result<(), plainchat::client::Error> {
/// use futures_lite::StreamExt;
/// use plainchat::client::{Chat, Update, Wants};
/// use plainchat::protocol::Event;
///
/// let wants = Wants { nick: Some("echo".into()), rooms: vec![("#games".into(), None)], ..Wants::default() };
/// let mut chat = Chat::new("localhost".parse()?, wants);
/// while let Some(update) = chat.next().await {
///     match update {
///         Update::Event { event: Event::Msg { to, nick, text }, .. } if text.starts_with("echo ") => {
///             chat.say(&to, format!("{nick} says: {text}"))?;
///         }
///         Update::Over(error) => return Err(error),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Chat {
    link: Link,
    wire: Wire,
    address: Address,
    /// Makes a connection: TCP, unless told otherwise.
    dial: Box<dyn FnMut(&Address) -> Dialing + Send>,
    began: Instant,
    /// Bytes are written that may need a flush.
    is_unflushed: bool,
}

enum Wire {
    None(Timer),
    Dialing(Dialing),
    Open(Sender, Receiver),
    /// One has said goodbye, and waits for the server to close, until then.
    Closing(Receiver, Timer),
    Over,
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chat")
            .field("address", &self.address)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl Chat {
    /// Somebody who comes to the server at `address` once the stream is polled.
    pub fn new(address: Address, wants: Wants) -> Self {
        Self::by(address, wants, |address| {
            let address = address.clone();
            Box::pin(async move { connection::open(&address).await })
        })
    }

    /// The same, over connections that `dial` makes: each is called for when the one before has broken.
    pub fn by(
        address: Address,
        wants: Wants,
        dial: impl FnMut(&Address) -> Dialing + Send + 'static,
    ) -> Self {
        Self {
            link: Link::new(wants, fastrand::u64(..)),
            wire: Wire::None(Timer::never()),
            address,
            dial: Box::new(dial),
            began: Instant::now(),
            is_unflushed: false,
        }
    }

    /// Where the server is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What one is called; `None` before the first [`Update::Here`], and for one who only reads.
    pub fn nick(&self) -> Option<&str> {
        self.link.nick()
    }

    /// The rooms that one is in, and the last id that one has of each: what a next run may begin after.
    pub fn rooms(&self) -> impl Iterator<Item = (&str, Option<u64>)> {
        self.link.rooms()
    }

    /// How many requests have no answer yet.
    pub fn owed(&self) -> usize {
        self.link.owed()
    }

    /// Whether 1024 requests wait for their answers: then no more are taken until some have come.
    pub fn is_full(&self) -> bool {
        self.link.is_full()
    }

    /// Says one line in `to`, a room (joined or not) or a nick. [`Update::Sent`] or [`Update::Answer`] tells what
    /// became of it. It is sent once, though connections break: again only when nothing shows that it was taken.
    /// (What is told to a nick, or to a room that one is not in, is not seen again, so after a broken connection that may come twice.)
    ///
    /// # Errors
    /// [`Error::Line`] when it is empty, too long or more than a line, or when [`Chat::is_full`].
    pub fn say(&mut self, to: &str, text: impl Display) -> Result<Ticket, Error> {
        self.link.say(to, &text.to_string())
    }

    /// Says that one does something, in a room that one is in.
    ///
    /// # Errors
    /// As [`Chat::say`].
    pub fn act(&mut self, room: &str, text: impl Display) -> Result<Ticket, Error> {
        self.link.act(room, &text.to_string())
    }

    /// Enters a room: [`Update::Entered`].
    ///
    /// # Errors
    /// As [`Chat::say`].
    pub fn join(&mut self, room: &str) -> Result<Ticket, Error> {
        self.link.join(room)
    }

    /// Leaves a room: [`Update::Left`].
    ///
    /// # Errors
    /// As [`Chat::say`].
    pub fn part(&mut self, room: &str) -> Result<Ticket, Error> {
        self.link.part(room)
    }

    /// Takes another nick: [`Update::Renamed`].
    ///
    /// # Errors
    /// As [`Chat::say`].
    pub fn rename(&mut self, nick: &str) -> Result<Ticket, Error> {
        self.link.rename(nick)
    }

    /// Asks anything else that is answered with lines, such as `WHO #games`: [`Update::Answer`]. Not for what
    /// changes nick, rooms or modes.
    ///
    /// # Errors
    /// As [`Chat::say`].
    pub fn ask(&mut self, request: impl Display) -> Result<Ticket, Error> {
        self.link.ask(request.to_string())
    }

    /// Leaves, once everything that was asked is answered; then the stream ends.
    pub fn leave(&mut self, text: &str) {
        self.link.leave(text);
    }

    /// Tries to come back at once, instead of at the end of the pause.
    pub fn retry_now(&mut self) {
        self.link.retry_now();
        if let Wire::None(timer) = &mut self.wire {
            *timer = Timer::after(Duration::ZERO);
        }
    }

    /// What is behind it, for one who drives it by hand: what is asked there goes out at the next poll.
    #[cfg(feature = "chatc")]
    pub(crate) fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    fn lost(&mut self, why: Error) {
        self.wire = Wire::None(Timer::never());
        self.link.lost(why, self.began.elapsed());
        if let Some(at) = self.link.retry_at() {
            let wait = at.saturating_sub(self.began.elapsed());
            self.wire = Wire::None(Timer::after(wait));
        }
    }

    /// Writes what there is, as far as the other side takes it.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let Wire::Open(sender, _) = &mut self.wire else {
            return Ok(());
        };
        let out = self.link.output();
        while !out.is_empty() {
            match sender.poll_write(cx, out) {
                Poll::Ready(Ok(0)) => return Err(Error::cut("it takes no more")),
                Poll::Ready(Ok(length)) => {
                    out.drain(..length);
                    self.is_unflushed = true;
                }
                Poll::Ready(Err(error)) => return Err(Error::Lost(error)),
                Poll::Pending => return Ok(()),
            }
        }
        if self.is_unflushed {
            match sender.poll_flush(cx) {
                Poll::Ready(Ok(())) => self.is_unflushed = false,
                Poll::Ready(Err(error)) => return Err(Error::Lost(error)),
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    /// Takes one line; `false` when there is none now.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        let Wire::Open(_, receiver) = &mut self.wire else {
            return Ok(false);
        };
        match receiver.poll_line(cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(Some(line))) => self.link.line(line).map(|()| true),
            Poll::Ready(Ok(None)) => Err(Error::cut("the server ended it")),
            Poll::Ready(Err(error)) => Err(error),
        }
    }
}

impl Stream for Chat {
    type Item = Update;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Update>> {
        let this = self.get_mut();
        loop {
            if let Some(update) = this.link.next_update() {
                return Poll::Ready(Some(update));
            }
            if this.link.is_over() {
                this.wire = match std::mem::replace(&mut this.wire, Wire::Over) {
                    // From the server's close on, the nick is free.
                    Wire::Open(_, receiver) if this.link.is_let_go() => {
                        Wire::Closing(receiver, Timer::after(GOODBYE_WITHIN))
                    }
                    wire @ Wire::Closing(..) => wire,
                    _ => Wire::Over,
                };
            } else if this.link.retry_at() == Some(Duration::ZERO)
                && let Wire::None(_) = this.wire
            {
                this.wire = Wire::Dialing((this.dial)(&this.address));
            }
            match &mut this.wire {
                Wire::None(timer) => match Pin::new(timer).poll(cx) {
                    Poll::Ready(_) => this.wire = Wire::Dialing((this.dial)(&this.address)),
                    Poll::Pending => return Poll::Pending,
                },
                Wire::Dialing(dialing) => match dialing.as_mut().poll(cx) {
                    Poll::Ready(Ok((sender, receiver))) => {
                        this.wire = Wire::Open(sender, receiver);
                        this.link.connected();
                    }
                    Poll::Ready(Err(error)) => this.lost(error),
                    Poll::Pending => return Poll::Pending,
                },
                Wire::Open(..) => {
                    // Where writing fails, the reason may still be there to be read.
                    let written = this.write(cx);
                    match this.read(cx) {
                        Ok(true) => {}
                        Ok(false) => match written {
                            Ok(()) => return Poll::Pending,
                            Err(error) => this.lost(error),
                        },
                        Err(error) => this.lost(error),
                    }
                }
                Wire::Closing(receiver, late) => match receiver.poll_line(cx) {
                    Poll::Ready(Ok(Some(_))) => {}
                    Poll::Ready(_) => this.wire = Wire::Over,
                    Poll::Pending => match Pin::new(late).poll(cx) {
                        Poll::Ready(_) => this.wire = Wire::Over,
                        Poll::Pending => return Poll::Pending,
                    },
                },
                Wire::Over => return Poll::Ready(None),
            }
        }
    }
}
