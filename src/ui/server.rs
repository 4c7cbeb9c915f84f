//! Which server is meant, and who one is there: flags, settings, and what the network tells.

use std::path::{Path, PathBuf};

use super::home::{Home, Settings};
use super::{Exit, Failure, complain};
use crate::client::{Address, Client, Error, Named, Wants, login, nicks};
use crate::protocol::Code;

/// What the command line says of it; the rest is in the settings.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// A name of the settings, `HOST` or `HOST:PORT`.
    pub host: Option<String>,
    /// What to be called.
    pub nick: Option<String>,
    /// A file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// Ask for the password.
    pub ask_password: bool,
}

/// A server, and who one is there.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it is.
    pub address: Address,
    /// What one wants to be called; the login name, when `None`.
    pub nick: Option<String>,
    /// The command line names the nick, so it is taken by those too who only read.
    pub nick_is_asked: bool,
    /// What guards that nick, or opens it; `None` where there is no home to keep one in.
    pub password: Option<String>,
    /// What opens the server itself, if it has a password.
    pub opens: Option<String>,
    /// The rooms that the settings say to enter.
    pub rooms: Vec<String>,
}

/// The environment variable that holds a password, for scripts that have no file for it.
pub const PASSWORD_VARIABLE: &str = "CHATC_PASSWORD";

/// The same, for the password of the server itself.
pub const SERVER_PASSWORD_VARIABLE: &str = "CHATC_SERVER_PASSWORD";

impl Server {
    /// Finds it. Without a host and without settings, it is the one on this machine, or else the one that
    /// announces itself on the local network.
    ///
    /// # Errors
    /// When there is none, or several; [`Failure::File`] for the password's file.
    pub fn find(asked: Asked, home: &Home, settings: &Settings) -> Result<Self, Failure> {
        let name = asked.host.clone().or_else(|| settings.server.clone());
        let saved = name.as_ref().and_then(|name| settings.servers.get(name));
        let address: Address = match (saved, name) {
            (Some(saved), _) => saved.address.parse()?,
            (None, Some(name)) => name.parse()?,
            (None, None) => super::discover::nearest()?,
        };
        let saved = saved.cloned().unwrap_or_default();
        let nick_is_asked = asked.nick.is_some();
        let nick = asked.nick.or(saved.nick).or_else(|| settings.nick.clone());
        let file = asked.password_file.or(saved.password_file);
        let opens = match (
            saved.server_password_file,
            std::env::var(SERVER_PASSWORD_VARIABLE),
        ) {
            (Some(file), _) => Some(first_line(&file)?),
            (None, Ok(password)) if !password.is_empty() => Some(password),
            _ => None,
        };
        let is_from_variable =
            std::env::var(PASSWORD_VARIABLE).is_ok_and(|given| !given.is_empty());
        let address =
            match asked.ask_password || file.is_some() || is_from_variable || opens.is_some() {
                true => address.with_secrets(),
                false => address,
            };
        let password = match (asked.ask_password, file, std::env::var(PASSWORD_VARIABLE)) {
            (true, _, _) => Some(rpassword::prompt_password("Password: ").map_err(Failure::Input)?),
            (false, Some(file), _) => Some(first_line(&file)?),
            (false, None, Ok(password)) if !password.is_empty() => Some(password),
            // The same in every run, so that one's screen and one's scripts are one person.
            _ => home.secret(&address),
        };
        Ok(Self {
            address,
            nick,
            nick_is_asked,
            password,
            opens,
            rooms: saved.rooms,
        })
    }

    /// What a chat on it that enters `rooms` wants: the nick, numbered when it is taken unless it was asked for, and
    /// what opens the server.
    pub fn wants(&self, rooms: Vec<(String, Option<u64>)>) -> Wants {
        Wants {
            nick: Some(self.first_nick()),
            number: self.nick.is_none(),
            password: self.password.clone(),
            opens: self.opens.clone(),
            rooms,
        }
    }

    /// Connects, and opens the server if it has a password.
    ///
    /// # Errors
    /// Those of [`Client::connect_to`] and [`Client::pass`].
    pub async fn connect(&self) -> Result<Client, Error> {
        let mut client = Client::connect_to(self.address.clone()).await?;
        if let Some(password) = &self.opens {
            client.pass(password).await?;
        }
        Ok(client)
    }

    /// The same for one who only reads, which needs a nick in rooms that are closed: takes the one that was asked for,
    /// if any.
    ///
    /// # Errors
    /// Those of [`Server::connect`] and [`Client::nick`].
    pub async fn connect_to_read(&self) -> Result<Client, Error> {
        let mut client = self.connect().await?;
        if self.nick_is_asked {
            self.take_nick(&mut client).await?;
        }
        Ok(client)
    }

    /// Takes the nick that [`Server::first_nick`] gives, and no other.
    ///
    /// # Errors
    /// Those of [`Client::nick`].
    pub async fn log_in(&self, client: &mut Client) -> Result<Named, Error> {
        client.nick(&self.with_password(&self.first_nick())).await
    }

    /// Asks the person for the password of the server.
    ///
    /// # Errors
    /// [`Failure::Input`].
    pub fn ask_what_opens(&mut self) -> Result<(), Failure> {
        let asked = format!("Password of {}: ", self.address);
        self.opens = Some(rpassword::prompt_password(asked).map_err(Failure::Input)?);
        self.address = self.address.clone().with_secrets();
        Ok(())
    }

    /// The nick to try first.
    pub fn first_nick(&self) -> String {
        let base = self.nick.clone().or_else(|| nicks(&login()).next());
        base.unwrap_or_default()
    }

    fn with_password(&self, nick: &str) -> String {
        match &self.password {
            Some(password) => format!("{nick} {password}"),
            None => nick.to_owned(),
        }
    }

    /// Takes the nick; without one that was asked for, the login name, with a 2, 3, … behind it when it is taken.
    ///
    /// # Errors
    /// Those of [`Client::nick`].
    pub async fn take_nick(&self, client: &mut Client) -> Result<Named, Error> {
        if let Some(nick) = &self.nick {
            return client.nick(&self.with_password(nick)).await;
        }
        let mut last = None;
        for nick in nicks(&login()).take(999) {
            match client.nick(&self.with_password(&nick)).await {
                Err(error)
                    if matches!(error.refusal(), Some(Code::NickTaken | Code::BadPassword)) =>
                {
                    let is_wrong = error.refusal() == Some(Code::BadPassword);
                    last = Some(error);
                    // A server with a password takes every nick's for a guess: then it is no matter of nicks.
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
        Err(last.unwrap_or(Error::Line("there is no nick to try")))
    }
}

fn first_line(path: &Path) -> Result<String, Failure> {
    let path = super::screen::path(&path.to_string_lossy());
    let text = std::fs::read_to_string(&path).map_err(Failure::file("read", &path))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Prints the servers that announce themselves on the local network.
///
/// # Errors
/// When the network cannot be asked.
pub fn list() -> Result<Exit, Failure> {
    let found = super::discover::all()?;
    for server in &found {
        println!("{}  {}", server.address, server.name);
    }
    if found.is_empty() {
        complain("no server announces itself on the local network");
        return Ok(Exit::Refused);
    }
    Ok(Exit::Well)
}
