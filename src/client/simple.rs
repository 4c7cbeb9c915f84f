//! A client that sends one request at a time on one connection.

use std::fmt::Display;
use std::net::SocketAddr;

use futures_lite::FutureExt;

use super::address::Address;
use super::addresses::Addresses;
use super::capabilities::ServerInfo;
use super::connection::{Line, Receiver, Sender, one_line};
use super::dial;
use super::error::{Error, InvalidRequest, closed, refused};
use super::reply::Reply;
use crate::protocol::{ServerLine, Verb};

/// The maximum number of bytes in the lines that answer one request. No list of a real server comes near it.
const REPLY_BYTES_MAX: usize = 16 << 20;

/// A connection to a server, for one request at a time.
///
/// Every method that sends a request waits for its reply. Events that arrive meanwhile are kept, and
/// [`Client::next_event`] returns them. At most 4 MiB are kept; a `GAP` line takes the place of further events. If a
/// future is dropped before it is ready, only [`Client::next_event`] can be used on the connection after that.
///
/// ```no_run
/// # async fn bot() -> Result<(), plainchat::client::Error> {
/// use plainchat::client::{Client, HistoryRange};
///
/// let mut client = Client::connect("localhost:5002").await?;
/// client.enter("dice", "#games").await?;
/// for event in client.history("#games", 10, HistoryRange::Newest).await? {
///     println!("{} {}", event.time, event.event);
/// }
/// client.say("who wants to play?").await?;
/// client.bye().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    address: Address,
    /// The IP address and port of the server, if this client has made the connection.
    peer: Option<SocketAddr>,
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    /// Whether every request has been answered, so that the next reply belongs to the next request.
    pub(super) is_usable: bool,
    /// The server's capabilities, if they have been requested.
    pub(super) server: Option<ServerInfo>,
}

impl Client {
    /// Connects to `HOST` or `HOST:PORT` (default: port 5002), or to the first of several that can be reached
    /// (`HOST,HOST:PORT,…`). Each IP address may take 10 s to answer.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Connect`], [`Error::Untrusted`].
    pub async fn connect(address: &str) -> Result<Self, Error> {
        Self::connect_to(address.parse::<Addresses>()?).await
    }

    /// Connects to the first of `addresses` that can be reached, or to the one that was used last.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::Untrusted`].
    pub async fn connect_to(addresses: Addresses) -> Result<Self, Error> {
        let opened = dial::open(&addresses).await?;
        let (sender, receiver) = opened.halves;
        Ok(Self {
            peer: Some(opened.server),
            ..Self::from_halves(opened.address, sender, receiver)
        })
    }

    /// Creates a client on an existing connection of any kind. `address` appears only in error texts.
    pub fn from_halves(address: Address, sender: Sender, receiver: Receiver) -> Self {
        Self {
            address,
            peer: None,
            sender,
            receiver,
            is_usable: true,
            server: None,
        }
    }

    /// Returns the address of the server.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the IP address and port of the server, if this client has made the connection.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Sends any request that is answered with lines: a [`Request`](crate::protocol::Request), or its line as
    /// `protocol.md` describes it. There are methods for the common requests.
    ///
    /// ```no_run
    /// # async fn f(mut client: plainchat::client::Client) -> Result<(), plainchat::client::Error> {
    /// let reply = client.request("INVITES #ops").await?;
    /// for line in reply.lines {
    ///     println!("{}", line.as_str());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`]: the server refused. [`Error::Invalid`]: the request is not one line, or it is `UPLOAD`,
    /// `DOWNLOAD`, `TEXT` or `CHAT`, which cannot be sent in this way. [`Error::Closed`], [`Error::Lost`],
    /// [`Error::Protocol`]: the connection is unusable.
    pub async fn request(&mut self, request: impl Display) -> Result<Reply, Error> {
        let line = one_line(request.to_string())?;
        let (_, word) = crate::protocol::tags::split(line.trim_start_matches(' '));
        let word = word.trim_start_matches(' ').trim_end();
        let word = word.split(' ').next().unwrap_or_default();
        if let Some(Verb::Upload | Verb::Download | Verb::Text | Verb::Chat) =
            Verb::parse(word.as_bytes())
        {
            return Err(InvalidRequest::NotALineRequest.into());
        }
        self.request_bytes(&line).await
    }

    /// Sends a request, given with its line endings, and waits for the reply.
    pub(super) async fn request_bytes(&mut self, line: &str) -> Result<Reply, Error> {
        self.start()?;
        // This reads while it writes, because the server stops reading if its replies are not read. If writing fails,
        // the reason can still be read.
        let write = async {
            let _ = self.sender.write(line.as_bytes()).await;
            std::future::pending().await
        };
        let reply = write.or(reply(&mut self.receiver)).await;
        self.finish(reply)
    }

    /// Waits for the next line that is not a reply: either an event, which [`Line::event`] parses, or `GAP <room>`
    /// where events are missing. Returns `None` if the server has ended the connection.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Lost`], [`Error::Protocol`].
    pub async fn next_event(&mut self) -> Result<Option<Line>, Error> {
        while let Some(line) = self.receiver.line().await? {
            match line.read() {
                ServerLine::Live { .. } | ServerLine::Gap { .. } => return Ok(Some(line)),
                ServerLine::Closed { code, text } => return Err(closed(code, text)),
                ServerLine::Ok { .. } | ServerLine::Err { .. } | ServerLine::Data { .. } => {
                    return Err(Error::Protocol("a reply without a request"));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Sends `BYE`, and waits until the server has closed the connection.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn bye(mut self) -> Result<(), Error> {
        self.request("BYE").await?;
        self.close().await;
        Ok(())
    }

    /// Ends the connection in any state, and waits until the server has closed it. After that, the nick is free.
    /// Lines that arrive meanwhile are dropped.
    pub async fn close(mut self) {
        let _ = self.sender.end().await;
        while let Ok(Some(_)) = self.receiver.line().await {}
    }

    /// Returns whether more requests can be sent. This is false after an error that ended the connection, and after a
    /// request whose future was dropped.
    pub fn is_usable(&self) -> bool {
        self.is_usable
    }

    /// Returns the two halves, so that the caller can send without waiting for each reply. The receiver returns kept
    /// events first.
    ///
    /// ```no_run
    /// # async fn f(client: plainchat::client::Client) -> Result<(), plainchat::client::Error> {
    /// let (mut sender, mut receiver) = client.split();
    /// sender.send("ROOMS").await?;
    /// sender.send("BYE").await?;
    /// while let Some(line) = receiver.line().await? {
    ///     println!("{}", line.as_str());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// Starts a request. Until [`Client::finish`] the connection is unusable.
    pub(super) fn start(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.is_usable, false) {
            Ok(())
        } else {
            Err(Error::cut("an earlier request was not finished"))
        }
    }

    /// Finishes a request. After a reply, even a refusal, the connection is usable again.
    pub(super) fn finish<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.is_usable = matches!(result, Ok(_) | Err(Error::Refused { .. }));
        result
    }
}

/// Waits for the reply to the pending request, and keeps the events before it.
pub(super) async fn reply(receiver: &mut Receiver) -> Result<Reply, Error> {
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
            ServerLine::Data { .. } => return Err(Error::Protocol("unexpected DATA")),
            ServerLine::Hello { .. } | ServerLine::Unknown => {}
            ServerLine::Past { .. }
            | ServerLine::Room { .. }
            | ServerLine::User { .. }
            | ServerLine::Reaction { .. }
            | ServerLine::Reader { .. }
            | ServerLine::Help { .. } => {
                let too_long = Error::Protocol("a list has more than 16 MiB");
                space = space.checked_sub(line.as_str().len()).ok_or(too_long)?;
                lines.push(line);
            }
        }
    }
    Err(Error::cut(
        "the server closed the connection before it answered",
    ))
}
