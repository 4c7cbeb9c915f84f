//! The library behind `chatc`, and for bots: connect, speak, listen, and pass files around.
//!
//! A [`Client`] asks one thing at a time and hands out what happens in between, afterwards and in order:
//!
//! ```no_run
//! # async fn bot() -> Result<(), plainchat::client::Error> {
//! use plainchat::client::Client;
//! use plainchat::protocol::Event;
//!
//! let mut chat = Client::connect("localhost:5002").await?;
//! chat.enter("dice", "#games").await?;
//! while let Some(line) = chat.next_event().await? {
//!     if let Some(Event::Msg { nick, text, .. }) = line.event()
//!         && text == "roll"
//!     {
//!         chat.say(format!("{nick} has a 4, chosen by fair dice roll")).await?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Whoever wants to send without waiting for each reply takes the two halves: [`Client::split`].
//!
//! A [`Chat`] stays: it is a stream of typed [`Update`]s that goes on over connections that break, with nothing
//! missed, lost or doubled. It is what `chatc` is built on, and what a bot that is to run for weeks wants.
//!
//! Runs on any executor, and on none but `block_on`: reading, writing and waiting are those of `futures-io` and
//! `async-io`, which has a thread of its own, and nothing is spawned. Knows nothing of rooms and members but what
//! the server tells; shows nothing to anybody. Read this file, then [`link`], then [`Chat`], then the transfers.

mod address;
mod chat;
mod connection;
mod error;
pub mod link;
mod nick;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;
mod transfer;
mod update;

pub use address::{Address, Security};
pub use chat::Chat;
use connection::one_line;
pub use connection::{Line, Receiver, Sender};
pub use error::Error;
#[cfg(feature = "chatc")]
pub(crate) use error::plainly;
pub use link::Wants;
pub use nick::{login, nicks};
pub use transfer::{Download, Hashed, Stored};
pub use update::{Ticket, Update};

use std::fmt::Display;

use futures_lite::FutureExt;

use crate::protocol::{Code, EventId, ServerLine, Time, Verb};

/// The most bytes of the lines that answer one request: far more than any list of a server that people use.
const REPLY_BYTES_MAX: usize = 16 << 20;

/// A connection to a server, on which one thing is asked at a time.
///
/// Every method that asks waits for its reply; events that come meanwhile are kept, up to 4 MiB (then a
/// `GAP` line stands where they were), and [`Client::next_event`] hands them out. A future that is dropped
/// before it is done leaves the connection without use, [`Client::next_event`]'s excepted.
#[derive(Debug)]
pub struct Client {
    address: Address,
    sender: Sender,
    receiver: Receiver,
    /// What was asked is answered, so the next reply belongs to the next request.
    in_step: bool,
}

/// The final reply to a request that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What follows `OK` and the verb.
    pub rest: String,
    /// The lines of the list that was asked for, such as `USER` lines.
    pub lines: Vec<Line>,
}

/// A message as the server took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its number; `None` for what is handed over and not logged.
    pub id: Option<EventId>,
    /// When it came to the server.
    pub time: Time,
}

/// A nick that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// As the server writes it.
    pub nick: String,
    /// The current room.
    pub room: Option<String>,
}

/// A room that was entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Its name, as whoever made it spells it.
    pub room: String,
    /// The number of the last event that was logged in it; 0 for none.
    pub last_id: u64,
}

impl Client {
    /// Connects to `HOST` or `HOST:PORT` (5002 unless told). Each address of the host may take 10 s to answer.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Connect`].
    pub async fn connect(address: &str) -> Result<Self, Error> {
        Self::connect_to(address.parse()?).await
    }

    /// The same, for an address that has been read already.
    ///
    /// # Errors
    /// [`Error::Connect`].
    pub async fn connect_to(address: Address) -> Result<Self, Error> {
        let (sender, receiver) = connection::open(&address).await?;
        Ok(Self::over(address, sender, receiver))
    }

    /// A client on a connection that stands already, whatever carries it; `address` is for messages alone.
    pub fn over(address: Address, sender: Sender, receiver: Receiver) -> Self {
        Self {
            address,
            sender,
            receiver,
            in_step: true,
        }
    }

    /// Where it is connected to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Takes a nick. The first one also enters the lobby, unless a room was joined before.
    ///
    /// # Errors
    /// [`Error::Refused`], mostly with `nick-taken` or `bad-name`; any that a request may give.
    pub async fn nick(&mut self, nick: &str) -> Result<Named, Error> {
        let reply = self.ask(format!("NICK {nick}")).await?;
        let mut words = reply.rest.split(' ').map(str::to_owned);
        Ok(Named {
            nick: words.next().unwrap_or_default(),
            room: words.next(),
        })
    }

    /// Takes a nick and enters a room with it, and that room alone: what [`Client::nick`] and then
    /// [`Client::join`] do, without staying in the lobby. So a room that is closed lets in those who are invited, and
    /// one that is made is the nick's, if that is registered.
    ///
    /// # Errors
    /// Those of [`Client::nick`] and [`Client::join`]. When the room refuses, one has the nick and is in the lobby.
    pub async fn enter(&mut self, nick: &str, room: &str) -> Result<Named, Error> {
        let named = self.nick(nick).await?;
        self.go_on(named, room).await
    }

    /// Goes from the lobby, where a nick comes to be, to another room.
    pub(crate) async fn go_on(&mut self, named: Named, room: &str) -> Result<Named, Error> {
        let joined = self.join(room).await?.room;
        if let Some(lobby) = named.room.filter(|lobby| *lobby != joined) {
            self.ask(format!("PART {lobby}")).await?;
            // What happened there meanwhile is of no concern.
            self.receiver.forget(&lobby);
        }
        Ok(Named {
            nick: named.nick,
            room: Some(joined),
        })
    }

    /// Opens a server that has a password; on one that has none, it does nothing.
    ///
    /// # Errors
    /// [`Error::Refused`] with `bad-password`; any that a request may give.
    pub async fn pass(&mut self, password: &str) -> Result<(), Error> {
        self.ask(format!("PASS {password}")).await.map(drop)
    }

    /// Enters a room, with or without its `#`, and makes it the current one. Before the first nick: unseen,
    /// and only to listen.
    ///
    /// # Errors
    /// [`Error::Refused`], mostly with `bad-name`; any that a request may give.
    pub async fn join(&mut self, room: &str) -> Result<Joined, Error> {
        let reply = self.ask(format!("JOIN {room}")).await?;
        let (room, id) = reply.rest.split_once(' ').unwrap_or((&reply.rest, ""));
        Ok(Joined {
            room: room.to_owned(),
            last_id: id
                .parse()
                .map_err(|_| Error::Protocol("OK JOIN without an id"))?,
        })
    }

    /// Says one line in the current room.
    ///
    /// # Errors
    /// [`Error::Line`] when `text` holds a line end or is too long; [`Error::Refused`]; any that a request may give.
    pub async fn say(&mut self, text: impl Display) -> Result<Sent, Error> {
        let reply = self.ask(format!("MSG {text}")).await?;
        sent(&reply)
    }

    /// Says one line in a room, joined or not, or to one person.
    ///
    /// # Errors
    /// As [`Client::say`]; `no-such-nick` when nobody has that nick.
    pub async fn tell(&mut self, to: &str, text: impl Display) -> Result<Sent, Error> {
        let reply = self.ask(format!("TELL {to} {text}")).await?;
        sent(&reply)
    }

    /// Sends any command that is answered with lines: a [`Request`](crate::protocol::Request), or its line as
    /// `protocol.md` writes it.
    ///
    /// ```no_run
    /// # async fn f(mut chat: plainchat::client::Client) -> Result<(), plainchat::client::Error> {
    /// for line in chat.request("WHO #games").await?.lines {
    ///     println!("{}", line.as_str()); // USER #games bob
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`] when the server says no; [`Error::Line`] for what is not one line, and for `UPLOAD`,
    /// `DOWNLOAD` and `CHAT`, whose answers are not lines of this protocol; [`Error::Closed`], [`Error::Lost`] and
    /// [`Error::Protocol`] when the connection is of no more use.
    pub async fn request(&mut self, request: impl Display) -> Result<Reply, Error> {
        self.ask(request.to_string()).await
    }

    async fn ask(&mut self, line: String) -> Result<Reply, Error> {
        let line = connection::one_line(line)?;
        let word = first_word(line.trim_start_matches(' ').trim_end());
        if let Some(Verb::Upload | Verb::Download | Verb::Chat) = Verb::parse(word.as_bytes()) {
            return Err(Error::Line(
                "that command has a method of its own, or none here",
            ));
        }
        self.begin()?;
        // A server that waits until its lines are taken reads nothing: so write and read at once. Where writing
        // fails, the reason is still there to be read.
        let write = async {
            let _ = self.sender.write(line.as_bytes()).await;
            std::future::pending().await
        };
        let reply = write.or(reply(&mut self.receiver)).await;
        self.ended(reply)
    }

    /// The next line that nobody asked for: an event, which [`Line::event`] reads, or `GAP <room>`, where the
    /// server or this client left something out. `None` when the server has ended the connection.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Lost`], [`Error::Protocol`].
    pub async fn next_event(&mut self) -> Result<Option<Line>, Error> {
        while let Some(line) = self.receiver.line().await? {
            match line.read() {
                ServerLine::Live { .. } | ServerLine::Gap { .. } => return Ok(Some(line)),
                ServerLine::Closed { code, text } => return Err(closed(code, text)),
                ServerLine::Ok { .. } | ServerLine::Err { .. } | ServerLine::Data { .. } => {
                    return Err(Error::Protocol("a reply to nothing"));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Says goodbye, and waits until the server has ended the connection.
    ///
    /// # Errors
    /// Any that a request may give.
    pub async fn bye(mut self) -> Result<(), Error> {
        self.ask("BYE".into()).await?;
        self.close().await;
        Ok(())
    }

    /// Ends the connection whatever state it is in, and waits until the server has too: from then on, the nick
    /// is free. What comes meanwhile is dropped.
    pub async fn close(mut self) {
        let _ = self.sender.end().await;
        while let Ok(Some(_)) = self.receiver.line().await {}
    }

    /// Whether it can be asked anything more: not after an error that ended the connection, nor after a request
    /// that did not come to its end.
    pub fn is_in_step(&self) -> bool {
        self.in_step
    }

    /// The two halves, to send without waiting for each reply. Lines that were kept come first.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// Begins to ask something; until [`Client::ended`], the connection is out of step.
    fn begin(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.in_step, false) {
            true => Ok(()),
            false => Err(Error::cut("what was asked before did not come to its end")),
        }
    }

    /// Ends what [`Client::begin`] began: after a reply of either kind, the connection is in step again.
    fn ended<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.in_step = matches!(result, Ok(_) | Err(Error::Refused { .. }));
        result
    }
}

/// Waits for the reply to the one request that is open, and keeps the events before it.
async fn reply(receiver: &mut Receiver) -> Result<Reply, Error> {
    let mut lines = Vec::new();
    let mut space = REPLY_BYTES_MAX;
    while let Some(line) = receiver.fresh_line().await? {
        match line.read() {
            ServerLine::Ok { rest, .. } => {
                let rest = rest.to_owned();
                return Ok(Reply { rest, lines });
            }
            ServerLine::Err { verb, code, text } => return Err(refused(verb, code, text)),
            ServerLine::Closed { code, text } => return Err(closed(code, text)),
            ServerLine::Live { .. } | ServerLine::Gap { .. } => receiver.keep(line),
            ServerLine::Data { .. } => return Err(Error::Protocol("bytes that nobody asked for")),
            ServerLine::Hello { .. } | ServerLine::Unknown => {}
            ServerLine::Past { .. }
            | ServerLine::Room { .. }
            | ServerLine::User { .. }
            | ServerLine::Help { .. } => {
                let too_long = Error::Protocol("a list has more than 16 MiB");
                space = space.checked_sub(line.as_str().len()).ok_or(too_long)?;
                lines.push(line);
            }
        }
    }
    Err(Error::cut("the server closed it before it answered"))
}

fn refused(verb: &str, code: Option<Code>, text: &str) -> Error {
    Error::Refused {
        verb: verb.to_owned(),
        code,
        text: text.to_owned(),
    }
}

fn closed(code: Option<Code>, text: &str) -> Error {
    Error::Closed {
        code,
        text: text.to_owned(),
    }
}

fn sent(reply: &Reply) -> Result<Sent, Error> {
    let (id, time) = reply.rest.split_once(' ').unwrap_or_default();
    Ok(Sent {
        id: EventId::parse(id),
        time: Time::parse(time).ok_or(Error::Protocol("a message's OK without a time"))?,
    })
}

fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}
