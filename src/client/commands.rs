//! The common requests as methods of [`Client`].

use std::fmt::Display;

use super::capabilities::ServerInfo;
use super::error::{Error, InvalidRequest};
use super::message::Message;
use super::options::Login;
use super::reply::{
    HistoryRange, JoinedRoom, LoggedEvent, LoggedIn, Reaction, RoomInfo, SearchResult, Sent,
};
use super::simple::Client;

impl Client {
    /// Takes a nick. A client that takes its first nick also joins the lobby, unless it has joined a room before.
    ///
    /// ```no_run
    /// # async fn f(mut client: plainchat::client::Client) -> Result<(), plainchat::client::Error> {
    /// use plainchat::client::Login;
    ///
    /// client.nick("ann").await?;
    /// client.nick(Login::new("ann").password("correct horse")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`], usually with `nick-taken`, `bad-password` or `bad-name`; those of [`Client::request`].
    pub async fn nick(&mut self, login: impl Into<Login>) -> Result<LoggedIn, Error> {
        let login = login.into();
        one_word(&login.nick)?;
        let reply = self.request(login.line()).await?;
        let mut words = reply.rest.split(' ').map(str::to_owned);
        Ok(LoggedIn {
            nick: words.next().unwrap_or_default(),
            room: words.next(),
        })
    }

    /// Takes a nick ([`Client::nick`]) and then joins a room ([`Client::join`]), without staying in the lobby.
    /// Because the nick comes first, an invite-only room accepts an invited nick, and a new room belongs to its
    /// creator if the nick is registered.
    ///
    /// # Errors
    /// Those of [`Client::nick`] and [`Client::join`]. When the room refuses, the client has the nick and is in the
    /// lobby, but has no current room, so nothing that it sends goes to the lobby.
    pub async fn enter(&mut self, login: impl Into<Login>, room: &str) -> Result<LoggedIn, Error> {
        let logged_in = self.nick(login).await?;
        self.move_to(logged_in, room).await
    }

    /// Moves from the lobby, which a new nick joins, to another room.
    pub(crate) async fn move_to(
        &mut self,
        logged_in: LoggedIn,
        room: &str,
    ) -> Result<LoggedIn, Error> {
        let joined = self.join(room).await?.room;
        if let Some(lobby) = logged_in.room.filter(|lobby| *lobby != joined) {
            self.part(&lobby).await?;
            // What happened in the lobby meanwhile is not needed.
            self.receiver.forget(&lobby);
        }
        Ok(LoggedIn {
            nick: logged_in.nick,
            room: Some(joined),
        })
    }

    /// Gives the password of the server. On a server without a password, this has no effect.
    ///
    /// # Errors
    /// [`Error::Refused`] with `bad-password`; those of [`Client::request`].
    pub async fn server_password(&mut self, password: &str) -> Result<(), Error> {
        self.request(format!("PASS {password}")).await.map(drop)
    }

    /// Registers the nick with a password, so that nobody else can take it, or changes its password.
    ///
    /// # Errors
    /// [`Error::Refused`]; those of [`Client::request`].
    pub async fn register(&mut self, password: &str) -> Result<(), Error> {
        self.request(format!("REGISTER {password}")).await.map(drop)
    }

    /// Joins a room, with or without its `#`, and makes it the current one. A client without a nick is not seen and
    /// can only read.
    ///
    /// # Errors
    /// [`Error::Refused`], mostly with `bad-name` or `not-allowed`; those of [`Client::request`].
    pub async fn join(&mut self, room: &str) -> Result<JoinedRoom, Error> {
        let reply = self.request(format!("JOIN {}", one_word(room)?)).await?;
        let (room, id) = reply.rest.split_once(' ').unwrap_or((&reply.rest, ""));
        Ok(JoinedRoom {
            room: room.to_owned(),
            last_id: id
                .parse()
                .map_err(|_| Error::Protocol("OK JOIN without an id"))?,
        })
    }

    /// Leaves a room.
    ///
    /// # Errors
    /// [`Error::Refused`] with `not-in-room`; those of [`Client::request`].
    pub async fn part(&mut self, room: &str) -> Result<(), Error> {
        let line = format!("PART {}", one_word(room)?);
        self.request(line).await.map(drop)
    }

    /// Sends a line of text to the current room.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `text` contains a line break or is too long; [`Error::Refused`]; those of
    /// [`Client::request`].
    pub async fn say(&mut self, text: impl Display) -> Result<Sent, Error> {
        Sent::parse(&self.request(format!("MSG {text}")).await?.rest)
    }

    /// Sends an action (`/me`) to the current room.
    ///
    /// # Errors
    /// Those of [`Client::say`].
    pub async fn act(&mut self, text: impl Display) -> Result<Sent, Error> {
        Sent::parse(&self.request(format!("ME {text}")).await?.rest)
    }

    /// Sends a line of text to a room, joined or not, or to one person.
    ///
    /// # Errors
    /// Those of [`Client::say`]; `no-such-nick` if nobody has that nick.
    pub async fn tell(&mut self, to: &str, text: impl Display) -> Result<Sent, Error> {
        let line = format!("TELL {} {text}", one_word(to)?);
        Sent::parse(&self.request(line).await?.rest)
    }

    /// Requests the server's version of the protocol, its name and its capabilities (the optional parts of the protocol
    /// that it supports).
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn hello(&mut self) -> Result<ServerInfo, Error> {
        let server = ServerInfo::parse(&self.request("HELLO").await?.rest);
        self.server = Some(server.clone());
        Ok(server)
    }

    /// Asks the server to send the tags of events from now on: [`Line::tags`](super::Line::tags).
    ///
    /// # Errors
    /// [`Error::Refused`] if the server has no tags; those of [`Client::request`].
    pub async fn turn_tags_on(&mut self) -> Result<(), Error> {
        self.request("TAGS on").await.map(drop)
    }

    /// Sends a message or action with its tags to the current room. A text of several lines is one message.
    ///
    /// ```no_run
    /// # async fn f(mut client: plainchat::client::Client) -> Result<(), plainchat::client::Error> {
    /// use plainchat::client::Message;
    ///
    /// let sent = client.send(Message::new("the build is red").notice().tag("x-run", "17")).await?;
    /// if let Some(id) = sent.id {
    ///     client.send(Message::new("green again").notice().reply_to(id.get())).await?;
    ///     client.react(id.get(), "✅").await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Client::say`]; [`Error::Refused`] with `no-such-id` for a reply to a message that is not there;
    /// [`Error::Invalid`] for a text of several lines that is too long, or that the server does not support
    /// (`multiline`).
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<Sent, Error> {
        self.send_message(None, &message.into()).await
    }

    async fn send_message(&mut self, to: Option<&str>, message: &Message) -> Result<Sent, Error> {
        message.check()?;
        // A server that does not know `TEXT` would take the lines for requests.
        if message.is_multiline() {
            if self.server.is_none() {
                self.hello().await?;
            }
            if !self
                .server
                .as_ref()
                .is_some_and(|server| server.has("multiline"))
            {
                return Err(InvalidRequest::LineBreak.into());
            }
        }
        let request = message.request(to, &message.prefix(true))?;
        Sent::parse(&self.request_bytes(&request).await?.rest)
    }

    /// Sends a message with its tags to a room, joined or not, or to one person.
    ///
    /// # Errors
    /// Those of [`Client::send`] and [`Client::tell`]; [`Error::Invalid`] for an action, which goes to the current room only.
    pub async fn send_to(&mut self, to: &str, message: impl Into<Message>) -> Result<Sent, Error> {
        let message = message.into();
        if message.is_action {
            return Err(InvalidRequest::NotInRoom.into());
        }
        self.send_message(Some(one_word(to)?), &message).await
    }

    /// Replaces the text of one of your own messages or actions. Returns the id and time of the edit.
    ///
    /// # Errors
    /// [`Error::Refused`] with `no-such-id` or `not-allowed`; those of [`Client::request`].
    pub async fn edit(&mut self, id: u64, text: impl Display) -> Result<Sent, Error> {
        Sent::parse(&self.request(format!("EDIT {id} {text}")).await?.rest)
    }

    /// Reacts to a message, action or file with an emoji. The id is `None` if the reaction was there already.
    ///
    /// # Errors
    /// [`Error::Refused`] with `no-such-id`, `quota`, or `bad-syntax` if `emoji` is not an emoji; those of
    /// [`Client::request`].
    pub async fn react(&mut self, id: u64, emoji: &str) -> Result<Sent, Error> {
        let line = format!("REACT {id} {}", one_word(emoji)?);
        Sent::parse(&self.request(line).await?.rest)
    }

    /// Withdraws a reaction. The id is `None` if it was not there.
    ///
    /// # Errors
    /// Those of [`Client::react`].
    pub async fn unreact(&mut self, id: u64, emoji: &str) -> Result<Sent, Error> {
        let line = format!("UNREACT {id} {}", one_word(emoji)?);
        Sent::parse(&self.request(line).await?.rest)
    }

    /// Lists who reacts to a message, action or file, and how.
    ///
    /// # Errors
    /// [`Error::Refused`] with `no-such-id`; those of [`Client::request`].
    pub async fn reactions(&mut self, id: u64) -> Result<Vec<Reaction>, Error> {
        Ok(self.request(format!("REACTS {id}")).await?.reactions())
    }

    /// Lists the rooms; the lobby is the first.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn rooms(&mut self) -> Result<Vec<RoomInfo>, Error> {
        Ok(self.request("ROOMS").await?.rooms())
    }

    /// Lists the nicks in a room.
    ///
    /// ```no_run
    /// # async fn f(mut client: plainchat::client::Client) -> Result<(), plainchat::client::Error> {
    /// let nicks = client.who("#ops").await?;
    /// println!("{} in #ops: {}", nicks.len(), nicks.join(", "));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`] with `no-such-room`; those of [`Client::request`].
    pub async fn who(&mut self, room: &str) -> Result<Vec<String>, Error> {
        let line = format!("WHO {}", one_word(room)?);
        Ok(self.request(line).await?.users())
    }

    /// Returns the topic of a room; `None` if it has none.
    ///
    /// # Errors
    /// [`Error::Refused`] with `no-such-room`; those of [`Client::request`].
    pub async fn topic(&mut self, room: &str) -> Result<Option<String>, Error> {
        let line = format!("TOPIC {}", one_word(room)?);
        Ok(self.request(line).await?.topic().map(str::to_owned))
    }

    /// Sets the topic of a room; an empty one removes it.
    ///
    /// # Errors
    /// [`Error::Refused`]; those of [`Client::request`].
    pub async fn set_topic(&mut self, room: &str, topic: &str) -> Result<(), Error> {
        let topic = if topic.is_empty() { "-" } else { topic };
        let line = format!("TOPIC {} {topic}", one_word(room)?);
        self.request(line).await.map(drop)
    }

    /// Returns up to `count` events of a room's log, oldest first. The server returns at most 1000 at once.
    ///
    /// # Errors
    /// [`Error::Refused`] with `no-such-room`; those of [`Client::request`].
    pub async fn history(
        &mut self,
        room: &str,
        count: u64,
        range: HistoryRange,
    ) -> Result<Vec<LoggedEvent>, Error> {
        let line = format!("HISTORY {} {count}{range}", one_word(room)?);
        Ok(self.request(line).await?.events())
    }

    /// Finds the events of a room that contain all of `words`.
    ///
    /// # Errors
    /// [`Error::Refused`] with `no-such-room`, or `bad-syntax` for more than 16 words; those of [`Client::request`].
    pub async fn search(&mut self, room: &str, words: &str) -> Result<SearchResult, Error> {
        let line = format!("SEARCH {} {words}", one_word(room)?);
        let reply = self.request(line).await?;
        Ok(SearchResult {
            events: reply.events(),
            is_cut: reply.is_cut(),
        })
    }

    /// Lists the files of a room, as their `FILE` events.
    ///
    /// # Errors
    /// [`Error::Refused`] with `no-such-room`; those of [`Client::request`].
    pub async fn files(&mut self, room: &str) -> Result<Vec<LoggedEvent>, Error> {
        let line = format!("FILES {}", one_word(room)?);
        Ok(self.request(line).await?.events())
    }

    /// Deletes one of your own messages or files.
    ///
    /// # Errors
    /// [`Error::Refused`] with `no-such-file` or `not-allowed`; those of [`Client::request`].
    pub async fn remove(&mut self, id: u64) -> Result<(), Error> {
        self.request(format!("REMOVE {id}")).await.map(drop)
    }

    /// Invites a registered nick to a room.
    ///
    /// # Errors
    /// [`Error::Refused`]; those of [`Client::request`].
    pub async fn invite(&mut self, room: &str, nick: &str) -> Result<(), Error> {
        let line = format!("INVITE {} {}", one_word(room)?, one_word(nick)?);
        self.request(line).await.map(drop)
    }
}

/// Checks that a nick, a room or an emoji is one word. With a space in it, it would be sent as two fields.
fn one_word(name: &str) -> Result<&str, Error> {
    if name.is_empty() || name.contains(' ') {
        return Err(InvalidRequest::NotOneWord.into());
    }
    Ok(name)
}
