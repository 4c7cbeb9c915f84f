//! A client that reconnects automatically: it runs a [`ClientState`] on real connections.

use std::fmt::{self, Display};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::Stream;

use super::addresses::Addresses;
use super::capabilities::ServerInfo;
use super::connection::{Receiver, Sender};
use super::dial;
use super::error::Error;
use super::message::Message;
use super::options::{Login, Options};
use super::state::ClientState;
use super::update::{RequestId, Update};

type Halves = (Sender, Receiver);
type Dialing = Pin<Box<dyn Future<Output = Result<Halves, Error>> + Send>>;

/// The time within which the server must close the connection of a client that leaves.
const GOODBYE_WITHIN: Duration = Duration::from_secs(4);

/// The time of silence after which the client asks a server whether it is there, if the chat has another server. A server
/// that hangs does not end its connections, and its system still answers the keepalive probes of TCP.
const SILENCE: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 60 });

/// The time within which the server must then answer. A server that is cut off from the others answers within 10 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });

/// The maximum number of lines that one poll processes without an update.
const STEPS_MAX: usize = 256;

/// A client that reconnects. If the connection breaks, it makes a new one. It misses no event, loses no message and
/// sends none twice (for the exceptions, see [`ReconnectingClient::say`]).
///
/// It is a [`Stream`] of [`Update`]s. It works only while the stream is polled, on any executor, and has no task of
/// its own. A message is sent with the next poll, and is kept until the stream reports its answer. The stream ends
/// after [`Update::Ended`], or after [`ReconnectingClient::leave`].
///
/// The first connection is tried only once at each server; if all fail, the stream returns [`Update::Ended`]. When a
/// connection breaks, the client tries the other servers within half a second. If none of them works, or there is only one
/// server, it tries again as long as the stream is polled. The pauses grow to 30 s, and are short again after a connection
/// that has lasted as long. If there are several servers, the client asks one that has been silent for a minute whether it
/// is there, and leaves it if it does not answer within 30 s.
///
/// A server that is cut off from those that share its chat is left like one that has failed, even if there is only one
/// address, because that may lead to another server next time. A changed certificate ends the client.
///
/// ```no_run
/// # async fn bot() -> Result<(), plainchat::client::Error> {
/// use futures_lite::StreamExt;
/// use plainchat::client::{Options, ReconnectingClient, Update};
/// use plainchat::protocol::Event;
///
/// let options = Options::new("echo").room("#games").bot();
/// let mut client = ReconnectingClient::new("localhost".parse()?, options);
/// while let Some(update) = client.next().await {
///     match update {
///         Update::Event { event: Event::Msg { to, nick, text }, .. } if text.starts_with("echo ") => {
///             client.say(&to, format!("{nick} says: {text}"))?;
///         }
///         Update::Ended(error) => return Err(error),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct ReconnectingClient {
    state: ClientState,
    connection: Connection,
    addresses: Addresses,
    /// The server of the present connection, if it is known.
    server: Option<SocketAddr>,
    /// A function that makes a connection; by default with TCP and TLS.
    dial: Box<dyn FnMut(&Addresses) -> Dialing + Send>,
    started: Instant,
    /// Whether something was written that may need a flush.
    is_unflushed: bool,
    /// The time at which the last line was received, and a timer for the end of the silence since.
    heard: Instant,
    silence: Timer,
    /// Whether the server was asked whether it is there.
    is_asked: bool,
}

enum Connection {
    None(Timer),
    Dialing(Dialing),
    Open(Sender, Receiver),
    /// The server has answered the goodbye, and must close the connection before the timer ends.
    Closing(Receiver, Timer),
    Ended,
}

impl fmt::Debug for ReconnectingClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReconnectingClient")
            .field("addresses", &self.addresses)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl ReconnectingClient {
    /// Creates a client that connects to one of `addresses` when the stream is first polled.
    pub fn new(addresses: Addresses, options: Options) -> Self {
        Self::with_dialer(addresses, options, |addresses| {
            let addresses = addresses.clone();
            Box::pin(async move { Ok(dial::open(&addresses).await?.halves) })
        })
    }

    /// Creates a client. `dial` makes its connections, one after the other.
    pub fn with_dialer(
        addresses: Addresses,
        options: Options,
        dial: impl FnMut(&Addresses) -> Dialing + Send + 'static,
    ) -> Self {
        Self {
            state: ClientState::new(options, fastrand::u64(..)),
            connection: Connection::None(Timer::never()),
            addresses,
            server: None,
            dial: Box::new(dial),
            started: Instant::now(),
            is_unflushed: false,
            heard: Instant::now(),
            silence: Timer::never(),
            is_asked: false,
        }
    }

    /// Returns the addresses of the servers.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Returns the nick; `None` before the first [`Update::Connected`], and for a client that only reads.
    pub fn nick(&self) -> Option<&str> {
        self.state.nick()
    }

    /// Returns the rooms, each with the id of the last event seen in it. A later run can continue after that id.
    pub fn rooms(&self) -> impl Iterator<Item = (&str, Option<u64>)> {
        self.state.rooms()
    }

    /// Returns the server's name and capabilities; empty before the first [`Update::Connected`].
    pub fn server(&self) -> &ServerInfo {
        self.state.server()
    }

    /// Returns the number of requests that have not been answered yet.
    pub fn pending(&self) -> usize {
        self.state.pending()
    }

    /// Returns whether 1024 requests wait for their answers. If so, no more are accepted until some have been
    /// answered.
    pub fn is_full(&self) -> bool {
        self.state.is_full()
    }

    /// Sends a text to `to`, which is a room (joined or not) or a nick. [`Update::Sent`] or [`Update::Answer`]
    /// reports the outcome.
    ///
    /// A line ending at the end of the text is left out. If the server supports `multiline`, a text of several lines
    /// is one message.
    ///
    /// If the connection breaks before the outcome is known, the message is sent again with the same nonce, so that
    /// the server logs it once. It may arrive twice in four cases: if the server has no nonces, if the break lasts
    /// more than ten minutes, if the client gets another nick afterwards (a password prevents that), or if the
    /// message is private and not logged. With [`Options::at_most_once`], it is not sent again in these cases.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the text is empty or too long, if it has several lines and the server does not support
    /// `multiline`, or if [`ReconnectingClient::is_full`].
    pub fn say(&mut self, to: &str, text: impl Display) -> Result<RequestId, Error> {
        self.state.say(to, &text.to_string())
    }

    /// Sends a message with its tags to a room (joined or not) or a nick, or an action to a joined room. For the
    /// outcome and for broken connections see [`ReconnectingClient::say`].
    ///
    /// ```no_run
    /// # fn f(mut client: plainchat::client::ReconnectingClient) -> Result<(), plainchat::client::Error> {
    /// use plainchat::client::Message;
    ///
    /// client.send("#ops", Message::new("the disk is full").notice().tag("x-severity", "critical"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`ReconnectingClient::say`]; also for a tag that cannot be sent.
    pub fn send(&mut self, to: &str, message: impl Into<Message>) -> Result<RequestId, Error> {
        self.state.send_message(to, message)
    }

    /// Replaces the text of one of your own messages or actions. [`Update::Answer`] reports the outcome.
    ///
    /// # Errors
    /// Those of [`ReconnectingClient::say`].
    pub fn edit(&mut self, id: u64, text: impl Display) -> Result<RequestId, Error> {
        self.state.edit(id, &text.to_string())
    }

    /// Reacts to a message, action or file with an emoji. [`Update::Answer`] reports the outcome.
    ///
    /// # Errors
    /// Those of [`ReconnectingClient::say`].
    pub fn react(&mut self, id: u64, emoji: &str) -> Result<RequestId, Error> {
        self.state.react(id, emoji)
    }

    /// Withdraws a reaction. [`Update::Answer`] reports the outcome.
    ///
    /// # Errors
    /// Those of [`ReconnectingClient::say`].
    pub fn unreact(&mut self, id: u64, emoji: &str) -> Result<RequestId, Error> {
        self.state.unreact(id, emoji)
    }

    /// Requests the reactions to a message, action or file. The reply in [`Update::Answer`] contains them
    /// ([`Reply::reactions`](super::Reply::reactions)).
    ///
    /// # Errors
    /// Those of [`ReconnectingClient::say`].
    pub fn reactions(&mut self, id: u64) -> Result<RequestId, Error> {
        self.state.request(format!("REACTS {id}"))
    }

    /// Sends an action (`/me`) to a joined room.
    ///
    /// # Errors
    /// Those of [`ReconnectingClient::say`]; also if the room is not joined.
    pub fn act(&mut self, room: &str, text: impl Display) -> Result<RequestId, Error> {
        self.state.act(room, &text.to_string())
    }

    /// Joins a room, which becomes the current one, also on further connections. [`Update::Joined`] reports that this is
    /// done.
    ///
    /// # Errors
    /// Those of [`ReconnectingClient::say`].
    pub fn join(&mut self, room: &str) -> Result<RequestId, Error> {
        self.state.join(room)
    }

    /// Leaves a room. [`Update::Left`] reports that this is done.
    ///
    /// # Errors
    /// Those of [`ReconnectingClient::say`].
    pub fn part(&mut self, room: &str) -> Result<RequestId, Error> {
        self.state.part(room)
    }

    /// Takes another nick. [`Update::Renamed`] reports that this is done.
    ///
    /// # Errors
    /// Those of [`ReconnectingClient::say`].
    pub fn rename(&mut self, nick: &str) -> Result<RequestId, Error> {
        self.state.rename(nick)
    }

    /// Takes another nick with its password. [`Update::Renamed`] reports that this is done. Further connections use this
    /// password too.
    ///
    /// # Errors
    /// Those of [`ReconnectingClient::say`].
    pub fn log_in(&mut self, login: impl Into<Login>) -> Result<RequestId, Error> {
        self.state.log_in(login.into())
    }

    /// Sends any other request that is answered with lines, such as `WHO #games`. [`Update::Answer`] contains the
    /// reply. Must not be used for requests that change the nick, rooms or modes.
    ///
    /// # Errors
    /// Those of [`ReconnectingClient::say`].
    pub fn request(&mut self, request: impl Display) -> Result<RequestId, Error> {
        self.state.request(request.to_string())
    }

    /// Leaves when every request has been answered. The other users see `text`. After that the stream ends.
    pub fn leave(&mut self, text: &str) {
        self.state.leave(text);
    }

    /// Reconnects at once instead of after the pause.
    pub fn retry_now(&mut self) {
        self.state.retry_now();
        if let Connection::None(timer) = &mut self.connection {
            *timer = Timer::after(Duration::ZERO);
        }
    }

    /// Returns the state. Requests made there are sent on the next poll.
    #[cfg(feature = "chatc")]
    pub(crate) fn state(&mut self) -> &mut ClientState {
        &mut self.state
    }

    fn disconnected(&mut self, error: Error) {
        self.connection = Connection::None(Timer::never());
        if let Some(server) = self.server.take() {
            self.addresses.leave(server);
        }
        self.state.set_servers(self.addresses.servers());
        self.state.disconnected(error, self.started.elapsed());
        if let Some(at) = self.state.retry_at() {
            let wait = at.saturating_sub(self.started.elapsed());
            self.connection = Connection::None(Timer::after(wait));
        }
    }

    /// Writes as much of the output as the server accepts.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let Connection::Open(sender, _) = &mut self.connection else {
            return Ok(());
        };
        let out = self.state.output();
        while !out.is_empty() {
            match sender.poll_write(cx, out) {
                Poll::Ready(Ok(0)) => {
                    return Err(Error::cut("the connection accepts no more bytes"));
                }
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

    /// Asks the server whether it is there, after a long silence. Returns `false` if it is too early for that.
    fn ask(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        if self.addresses.servers() < 2 || Pin::new(&mut self.silence).poll(cx).is_pending() {
            return Ok(false);
        }
        let wait = if self.is_asked {
            ANSWER_WITHIN
        } else {
            SILENCE
        };
        let silence = self.heard.elapsed();
        if silence < wait {
            self.silence = Timer::after(wait - silence);
        } else if self.is_asked {
            return Err(Error::Lost(io::Error::new(
                io::ErrorKind::TimedOut,
                "the server does not answer",
            )));
        } else {
            self.is_asked = true;
            self.heard = Instant::now();
            self.silence = Timer::after(ANSWER_WITHIN);
            self.state.ping();
        }
        Ok(true)
    }

    /// Receives one line. Returns `false` if none has arrived.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        let Connection::Open(_, receiver) = &mut self.connection else {
            return Ok(false);
        };
        match receiver.poll_line(cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(Some(line))) => {
                (self.heard, self.is_asked) = (Instant::now(), false);
                self.state.receive(line).map(|()| true)
            }
            Poll::Ready(Ok(None)) => Err(Error::cut("the server closed the connection")),
            Poll::Ready(Err(error)) => Err(error),
        }
    }
}

impl Stream for ReconnectingClient {
    type Item = Update;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Update>> {
        let this = self.get_mut();
        for _ in 0..STEPS_MAX {
            if let Some(update) = this.state.next_update() {
                return Poll::Ready(Some(update));
            }
            if this.state.is_ended() {
                this.connection = match std::mem::replace(&mut this.connection, Connection::Ended) {
                    // The nick is free only when the server has closed the connection.
                    Connection::Open(_, receiver) if this.state.has_left() => {
                        Connection::Closing(receiver, Timer::after(GOODBYE_WITHIN))
                    }
                    closing @ Connection::Closing(..) => closing,
                    _ => Connection::Ended,
                };
            } else if this.state.retry_at() == Some(Duration::ZERO)
                && let Connection::None(_) = this.connection
            {
                this.connection = Connection::Dialing((this.dial)(&this.addresses));
            }
            match &mut this.connection {
                Connection::None(timer) => match Pin::new(timer).poll(cx) {
                    Poll::Ready(_) => {
                        this.connection = Connection::Dialing((this.dial)(&this.addresses))
                    }
                    Poll::Pending => return Poll::Pending,
                },
                Connection::Dialing(dialing) => match dialing.as_mut().poll(cx) {
                    Poll::Ready(Ok((sender, receiver))) => {
                        this.connection = Connection::Open(sender, receiver);
                        this.server = this.addresses.server();
                        (this.heard, this.is_asked) = (Instant::now(), false);
                        this.silence = Timer::after(SILENCE);
                        this.state.set_servers(this.addresses.servers());
                        this.state.connected();
                    }
                    Poll::Ready(Err(error)) => this.disconnected(error),
                    Poll::Pending => return Poll::Pending,
                },
                Connection::Open(..) => {
                    // If writing fails, a line with the reason may still be read.
                    let written = this.write(cx);
                    match this.read(cx) {
                        Ok(true) => {}
                        Ok(false) => match written.and_then(|()| this.ask(cx)) {
                            Ok(true) => {}
                            Ok(false) => return Poll::Pending,
                            Err(error) => this.disconnected(error),
                        },
                        Err(error) => this.disconnected(error),
                    }
                }
                Connection::Closing(receiver, late) => match receiver.poll_line(cx) {
                    Poll::Ready(Ok(Some(_))) => {}
                    Poll::Ready(_) => this.connection = Connection::Ended,
                    Poll::Pending => match Pin::new(late).poll(cx) {
                        Poll::Ready(_) => this.connection = Connection::Ended,
                        Poll::Pending => return Poll::Pending,
                    },
                },
                Connection::Ended => return Poll::Ready(None),
            }
        }
        // Other tasks have their turn, even if lines arrive faster than they can be processed.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use futures_lite::{StreamExt, future};

    use super::*;

    #[test]
    fn a_flood_of_lines_without_updates_leaves_time_for_other_tasks() {
        const LINES: usize = 100_000;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let login = "OK HELLO 1 chat\nOK STAMPS on\nOK TAGS on\nOK NICK ann #lobby 4\n";
            let lines = "X\n".repeat(LINES) + login;
            stream.write_all(lines.as_bytes()).unwrap();
            stream.read_to_string(&mut String::new()).unwrap();
        });
        let mut client = ReconnectingClient::new(address.parse().unwrap(), Options::new("ann"));
        let mut polls = 0;
        let first = future::block_on(future::poll_fn(|cx| {
            polls += 1;
            Pin::new(&mut client).poll_next(cx)
        }));
        assert!(
            matches!(first, Some(Update::Joined { .. })),
            "it is {first:?}"
        );
        assert!(polls >= LINES / STEPS_MAX, "{polls} polls");
        drop(client);
        server.join().unwrap();
    }

    #[test]
    fn a_server_that_hangs_is_left() {
        // The system accepts connections to it, and nothing answers.
        let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
        let works = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = [&hangs, &works].map(|server| server.local_addr().unwrap().to_string());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = works.accept().unwrap();
            let login = "OK HELLO 1 chat\nOK STAMPS on\nOK TAGS on\nOK NICK ann #lobby 4\n";
            stream.write_all(login.as_bytes()).unwrap();
            stream.read_to_string(&mut String::new()).unwrap();
        });
        let addresses: Addresses = addresses.join(",").parse().unwrap();
        let mut client = ReconnectingClient::new(addresses, Options::new("ann"));
        let mut why = String::new();
        let late = async {
            Timer::after(Duration::from_secs(60)).await;
            panic!("it stays");
        };
        let connects = async {
            loop {
                match client.next().await.unwrap() {
                    Update::Disconnected { error, .. } => why = error.to_string(),
                    Update::Connected { .. } => break,
                    _ => {}
                }
            }
        };
        future::block_on(future::or(connects, late));
        drop(client);
        server.join().unwrap();
        assert_eq!(why, "the connection was lost: the server does not answer");
    }
}
