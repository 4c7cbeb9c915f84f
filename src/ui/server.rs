//! Finds the server and the nick from the flags, the settings, and the local network.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_io::Timer;
use futures_lite::FutureExt;

use super::discover;
use super::environment::{PASSWORD_VARIABLE, SERVER_PASSWORD_VARIABLE};
use super::failure::{Exit, Failure, complain};
use super::profile::{Profile, Settings};
use super::shorthand::expand_home;
use crate::client::{
    Addresses, Client, Error, LoggedIn, Login, Options, login_name, nick_candidates,
};
use crate::protocol::Code;

/// The time within which a server must let the client in, if the chat has another server.
const LOG_IN_WITHIN: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });

/// The flags about the server and the nick. The settings complete them.
#[derive(Clone, Debug, Default)]
pub struct ServerFlags {
    /// The server: a name in the settings, `HOST` or `HOST:PORT`; or several that share a chat, with commas.
    pub host: Option<String>,
    /// The nick.
    pub nick: Option<String>,
    /// A file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// Whether to prompt for the password.
    pub ask_password: bool,
}

/// A server or several that share a chat, and the nick on them.
#[derive(Clone, Debug)]
pub struct Server {
    /// The addresses.
    pub addresses: Addresses,
    /// The nick; `None` for the login name.
    pub nick: Option<String>,
    /// Whether the command line names the nick. If so, even commands that only read take it.
    pub nick_is_asked: bool,
    /// The password of the nick; `None` if the user has given none and there is no home folder to save a random one.
    pub password: Option<String>,
    /// The password of the server, if it has one.
    pub server_password: Option<String>,
    /// The rooms from the settings.
    pub rooms: Vec<String>,
    /// Whether files of this machine may be read and written. Not for a user who connects over ssh, because that user
    /// has no files here.
    pub allows_files: bool,
}

impl Server {
    /// Finds the server. If neither the flags nor the settings name one, it is the server on this machine or, if
    /// there is none, the servers of the only chat that is announced on the local network.
    ///
    /// # Errors
    /// If there is no server, or there are several; [`Failure::File`] for a password file.
    pub fn find(flags: ServerFlags, home: &Profile, settings: &Settings) -> Result<Self, Failure> {
        let name = flags.host.clone().or_else(|| settings.server.clone());
        let saved = name.as_ref().and_then(|name| settings.servers.get(name));
        let addresses: Addresses = match (saved, name) {
            (Some(saved), _) => saved.address.parse().map_err(Error::from)?,
            (None, Some(name)) => name.parse().map_err(Error::from)?,
            (None, None) => discover::nearest()?,
        };
        let saved = saved.cloned().unwrap_or_default();
        let nick_is_asked = flags.nick.is_some();
        let nick = flags.nick.or(saved.nick).or_else(|| settings.nick.clone());
        let file = flags.password_file.or(saved.password_file);
        let server_password = match (
            saved.server_password_file,
            std::env::var(SERVER_PASSWORD_VARIABLE),
        ) {
            (Some(file), _) => Some(first_line(&file)?),
            (None, Ok(password)) if !password.is_empty() => Some(password),
            _ => None,
        };
        let is_from_variable =
            std::env::var(PASSWORD_VARIABLE).is_ok_and(|given| !given.is_empty());
        let has_secrets =
            flags.ask_password || file.is_some() || is_from_variable || server_password.is_some();
        let addresses = if has_secrets {
            addresses.with_secrets()
        } else {
            addresses
        };
        let password = match (flags.ask_password, file, std::env::var(PASSWORD_VARIABLE)) {
            (true, _, _) => Some(rpassword::prompt_password("Password: ").map_err(Failure::Input)?),
            (false, Some(file), _) => Some(first_line(&file)?),
            (false, None, Ok(password)) if !password.is_empty() => Some(password),
            // The password is the same in every run, so that the screen and scripts can share the nick.
            _ => home.secret(&addresses),
        };
        Ok(Self {
            addresses,
            nick,
            nick_is_asked,
            password,
            server_password,
            rooms: saved.rooms,
            allows_files: true,
        })
    }

    /// Returns the options for a client that joins `rooms`. If the nick is taken, a number is appended to it, unless
    /// the user has named the nick.
    pub fn options(&self, rooms: Vec<(String, Option<u64>)>) -> Options {
        Options {
            login: Some(self.login(self.first_nick())),
            add_number: self.nick.is_none(),
            server_password: self.server_password.clone(),
            rooms,
            ..Options::default()
        }
    }

    /// Returns `nick` with the password.
    pub fn login(&self, nick: impl Into<String>) -> Login {
        Login {
            nick: nick.into(),
            password: self.password.clone(),
        }
    }

    /// Connects, and gives the password of the server if there is one.
    ///
    /// # Errors
    /// Those of [`Client::connect_to`] and [`Client::server_password`].
    pub async fn connect(&self) -> Result<Client, Error> {
        self.connect_with(|client| async { Ok(client) }).await
    }

    /// Connects, and logs in with `log_in`. If several servers share the chat, and one of them fails or cannot reach the
    /// others, tries the next one.
    ///
    /// # Errors
    /// Those of [`Client::connect_to`], [`Client::server_password`] and `log_in`.
    pub async fn connect_with<T, LoggingIn>(
        &self,
        log_in: impl Fn(Client) -> LoggingIn,
    ) -> Result<T, Error>
    where
        LoggingIn: Future<Output = Result<T, Error>>,
    {
        let mut tried = 1;
        loop {
            let mut client = Client::connect_to(self.addresses.clone()).await?;
            let peer = client.peer();
            let logged_in = async {
                if let Some(password) = &self.server_password {
                    client.server_password(password).await?;
                }
                log_in(client).await
            };
            let is_one = self.addresses.servers() < 2;
            let late = async {
                if is_one {
                    return std::future::pending().await;
                }
                Timer::after(LOG_IN_WITHIN).await;
                let late = io::Error::new(io::ErrorKind::TimedOut, "the server does not answer");
                Err(Error::Lost(late))
            };
            match logged_in.or(late).await {
                Err(error)
                    if tried < self.addresses.servers()
                        && (error.is_passing() || matches!(error, Error::Lost(_))) =>
                {
                    tried += 1;
                    if let Some(peer) = peer {
                        self.addresses.leave(peer);
                    }
                }
                result => return result,
            }
        }
    }

    /// Connects in order to read. Takes a nick only if the command line names one, which an invite-only room needs.
    ///
    /// # Errors
    /// Those of [`Server::connect`] and [`Client::nick`].
    pub async fn connect_to_read(&self) -> Result<Client, Error> {
        let log_in = |mut client: Client| async {
            if self.nick_is_asked {
                self.take_nick(&mut client).await?;
            }
            Ok(client)
        };
        self.connect_with(log_in).await
    }

    /// Takes the nick that [`Server::first_nick`] returns. Tries no other nick.
    ///
    /// # Errors
    /// Those of [`Client::nick`].
    pub async fn log_in(&self, client: &mut Client) -> Result<LoggedIn, Error> {
        client.nick(self.login(self.first_nick())).await
    }

    /// Prompts for the password of the server.
    ///
    /// # Errors
    /// [`Failure::Input`].
    pub fn prompt_for_server_password(&mut self) -> Result<(), Failure> {
        let asked = format!("Password of {}: ", self.addresses);
        self.server_password = Some(rpassword::prompt_password(asked).map_err(Failure::Input)?);
        self.addresses = self.addresses.clone().with_secrets();
        Ok(())
    }

    /// Returns the nick to try first.
    pub fn first_nick(&self) -> String {
        let base = self
            .nick
            .clone()
            .or_else(|| nick_candidates(&login_name()).next());
        base.unwrap_or_default()
    }

    /// Takes the nick that the user has named. Otherwise takes the login name, with 2, 3, … appended if it is taken.
    ///
    /// # Errors
    /// Those of [`Client::nick`].
    pub async fn take_nick(&self, client: &mut Client) -> Result<LoggedIn, Error> {
        if let Some(nick) = &self.nick {
            return client.nick(self.login(nick)).await;
        }
        let mut last = None;
        for nick in nick_candidates(&login_name()).take(999) {
            match client.nick(self.login(nick)).await {
                Err(error)
                    if matches!(error.refusal(), Some(Code::NickTaken | Code::BadPassword)) =>
                {
                    let is_wrong = error.refusal() == Some(Code::BadPassword);
                    last = Some(error);
                    // A server with a password treats the password of a nick as an attempt at the server's password.
                    if is_wrong
                        && self.password.is_some()
                        && let Err(shut) = client.request("TOPIC").await
                        && shut.refusal() == Some(Code::NeedPassword)
                    {
                        return Err(shut);
                    }
                }
                result => return result,
            }
        }
        Err(last.unwrap_or(Error::Protocol("every nick is taken")))
    }
}

/// Returns the first line of a file.
///
/// # Errors
/// [`Failure::File`].
pub(super) fn first_line(path: &Path) -> Result<String, Failure> {
    let path = expand_home(&path.to_string_lossy());
    let text = std::fs::read_to_string(&path).map_err(Failure::file("read", &path))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Prints the chats whose servers announce themselves on the local network.
///
/// # Errors
/// When the network cannot be searched.
pub fn list() -> Result<Exit, Failure> {
    let found = discover::all()?;
    for chat in &found {
        println!("{}  {}", chat.addresses(), chat.names());
    }
    if found.is_empty() {
        complain("no server announces itself on the local network");
        return Ok(Exit::Refused);
    }
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use futures_lite::future::block_on;

    use super::*;

    #[test]
    fn a_server_that_hangs_during_the_login_is_left() {
        // The system accepts connections to it, and nothing answers.
        let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
        let works = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = [&hangs, &works].map(|server| server.local_addr().unwrap().to_string());
        let answers = thread::spawn(move || {
            let (mut stream, _) = works.accept().unwrap();
            let mut line = String::new();
            let mut input = BufReader::new(stream.try_clone().unwrap());
            input.read_line(&mut line).unwrap();
            stream.write_all(b"OK NICK ann #lobby 4\n").unwrap();
            input.read_to_string(&mut String::new()).unwrap();
            line
        });
        let server = Server {
            addresses: addresses.join(",").parse().unwrap(),
            nick: Some("ann".to_owned()),
            nick_is_asked: true,
            password: None,
            server_password: None,
            rooms: Vec::new(),
            allows_files: true,
        };
        let late = async {
            Timer::after(Duration::from_secs(60)).await;
            panic!("it waits");
        };
        let client = block_on(server.connect_to_read().or(late)).unwrap();
        assert_eq!(client.address().to_string(), addresses[1]);
        drop(client);
        assert_eq!(answers.join().unwrap(), "NICK ann\n");
    }
}
