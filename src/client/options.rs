//! The options of a client: its login and its rooms.

use std::fmt;

/// A nick, and its password if it has one.
///
/// With a password, several connections can share the nick, and nobody else can take it while a connection is broken.
/// A nick alone can be passed in place of a `Login`:
///
/// ```
/// use plainchat::client::Login;
///
/// let from_text: Login = "dice".into();
/// assert_eq!(from_text, Login::new("dice"));
/// let with_password = Login::new("dice").password("six sides");
/// assert!(!format!("{with_password:?}").contains("six"), "passwords are not logged");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The nick.
    pub nick: String,
    /// The password of the nick.
    pub password: Option<String>,
}

impl Login {
    /// Creates a login without a password.
    pub fn new(nick: impl Into<String>) -> Self {
        Self {
            nick: nick.into(),
            password: None,
        }
    }

    /// Sets the password.
    #[must_use]
    pub fn password(self, password: impl Into<String>) -> Self {
        Self {
            password: Some(password.into()),
            ..self
        }
    }

    /// Returns the request that takes the nick.
    pub(super) fn line(&self) -> String {
        match &self.password {
            Some(password) => format!("NICK {} {password}", self.nick),
            None => format!("NICK {}", self.nick),
        }
    }
}

impl From<&str> for Login {
    fn from(nick: &str) -> Self {
        Self::new(nick)
    }
}

impl From<String> for Login {
    fn from(nick: String) -> Self {
        Self::new(nick)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("nick", &self.nick)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .finish()
    }
}

/// The options of a [`ReconnectingClient`](super::ReconnectingClient).
///
/// ```
/// use plainchat::client::{Login, Options};
///
/// // A bot in two rooms; in the second one it continues after an event that it has seen.
/// let bot = Options::new(Login::new("dice").password("six sides"))
///     .room("#games")
///     .room_after("#ops", 1795346525120003);
/// assert_eq!(bot.rooms.len(), 2);
///
/// // Without a nick, a client reads and is not seen.
/// let reader = Options::default().room("#ops");
/// assert_eq!(reader.login, None);
/// ```
#[derive(Clone, Default)]
pub struct Options {
    /// The nick to take. A client without a nick only reads.
    pub login: Option<Login>,
    /// Whether to append `2`, `3`, … if the nick is taken. This is always done when the client reconnects.
    pub add_number: bool,
    /// The password of the server, if it has one.
    pub server_password: Option<String>,
    /// The rooms to join, each with the id of the last event that the client has seen in it. Without an id, the
    /// client receives only new events. The last room is the current one. If there is no room, a client with a nick
    /// joins the lobby.
    pub rooms: Vec<(String, Option<u64>)>,
    /// Whether the client is a program that answers messages. If so, its messages are marked as notices, and it does
    /// not receive notices, so that two bots never answer each other endlessly.
    pub is_bot: bool,
    /// Whether a bot receives notices too.
    pub reads_notices: bool,
    /// Whether a request is not sent again if it might be carried out twice.
    pub at_most_once: bool,
}

impl Options {
    /// Creates options for a client with a nick, in the lobby.
    pub fn new(login: impl Into<Login>) -> Self {
        Self {
            login: Some(login.into()),
            ..Self::default()
        }
    }

    /// Adds a room, from which the client receives only new events.
    #[must_use]
    pub fn room(mut self, name: impl Into<String>) -> Self {
        self.rooms.push((name.into(), None));
        self
    }

    /// Adds a room, from which the client receives the events after `id`.
    #[must_use]
    pub fn room_after(mut self, name: impl Into<String>, id: u64) -> Self {
        self.rooms.push((name.into(), Some(id)));
        self
    }

    /// Appends `2`, `3`, … if the nick is taken. Without this, the client ends.
    #[must_use]
    pub fn add_number(self) -> Self {
        Self {
            add_number: true,
            ..self
        }
    }

    /// Makes the client a bot: it sends notices, and does not receive those of others.
    #[must_use]
    pub fn bot(self) -> Self {
        Self {
            is_bot: true,
            ..self
        }
    }

    /// Makes a bot receive notices too (messages from other programs). The bot must not reply to them.
    #[must_use]
    pub fn read_notices(self) -> Self {
        Self {
            reads_notices: true,
            ..self
        }
    }

    /// Makes the client send no request again that might be carried out twice, after a connection has broken before the
    /// answer: a message that the server would not recognize by its nonce, or a request such as `NOTE` or `KICK`.
    /// [`Update::Answer`](super::Update::Answer) with [`Error::Lost`](super::Error::Lost) reports each of them on the
    /// next connection, after the missed events. Without this, they are sent again.
    #[must_use]
    pub fn at_most_once(self) -> Self {
        Self {
            at_most_once: true,
            ..self
        }
    }

    /// Sets the password of the server.
    #[must_use]
    pub fn server_password(self, password: impl Into<String>) -> Self {
        Self {
            server_password: Some(password.into()),
            ..self
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("login", &self.login)
            .field("add_number", &self.add_number)
            .field(
                "server_password",
                &self.server_password.as_ref().map(|_| "…"),
            )
            .field("rooms", &self.rooms)
            .field("is_bot", &self.is_bot)
            .field("reads_notices", &self.reads_notices)
            .field("at_most_once", &self.at_most_once)
            .finish()
    }
}
