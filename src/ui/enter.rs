//! The way in: a room, then a nick.

use super::Screen;
use crate::client::{Client, Error, Named};
use crate::protocol::name::NAME_CHARS_MAX;
use crate::protocol::{Code, Nick};

/// How many nicks are tried before giving up: more than any class has seats.
const TRIES: usize = 999;

/// Enters `room`, or the lobby, under `nick`, or under the login name: that one with a 2, 3, … when it is
/// taken, since in a lab everybody logs in under the same.
///
/// # Errors
/// Those of [`Client::nick`] and [`Client::join`].
pub async fn enter(
    client: &mut Client,
    nick: Option<&str>,
    room: Option<&str>,
) -> Result<Screen, Error> {
    // The room comes before the nick: whoever has a room is not sent to the lobby.
    if let Some(room) = room {
        client.join(room).await?;
    }
    let named = match nick {
        Some(nick) => client.nick(nick).await?,
        None => take_a_nick(client, &login()).await?,
    };
    Ok(Screen::new(named.nick, named.room))
}

async fn take_a_nick(client: &mut Client, login: &str) -> Result<Named, Error> {
    let mut last = None;
    for nick in nicks(login).take(TRIES) {
        match client.nick(&nick).await {
            Err(error) if matches!(error.refusal(), Some(Code::NickTaken | Code::BadPassword)) => {
                last = Some(error);
            }
            result => return result,
        }
    }
    Err(last.unwrap_or(Error::Line("there is no nick to try")))
}

/// `ann`, `ann2`, `ann3`, …
fn nicks(login: &str) -> impl Iterator<Item = String> {
    let base = nick_of(login);
    (1..).map(move |n: u32| {
        let number = if n == 1 { String::new() } else { n.to_string() };
        let space = NAME_CHARS_MAX.saturating_sub(number.len());
        base.chars().take(space).chain(number.chars()).collect()
    })
}

/// The nick that is nearest to `login`.
fn nick_of(login: &str) -> String {
    let allowed = |c: char| match c {
        '-' | '_' | '.' => c,
        _ if c.is_alphanumeric() => c,
        _ => '-',
    };
    let name = login.trim_start_matches(|c: char| !c.is_alphabetic());
    let name: String = name.chars().map(allowed).take(NAME_CHARS_MAX).collect();
    match Nick::parse(&name) {
        Ok(nick) => nick.to_string(),
        Err(_) => "guest".to_owned(),
    }
}

fn login() -> String {
    let variables = ["LOGNAME", "USER"].map(|name| std::env::var(name).unwrap_or_default());
    let mut set = variables.into_iter().filter(|name| !name.is_empty());
    set.next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_login_name_becomes_a_nick() {
        for (login, nick) in [
            ("ann", "ann"),
            ("Ann.Lee", "Ann.Lee"),
            ("_apt", "apt"),
            ("1000", "guest"),
            ("", "guest"),
            ("ann lee", "ann-lee"),
            ("DOMAIN\\ann", "DOMAIN-ann"),
            ("zoë", "zoë"),
        ] {
            assert_eq!(nick_of(login), nick, "of {login:?}");
        }
    }

    #[test]
    fn a_nick_that_is_taken_is_numbered_and_stays_short_enough() {
        let nicks: Vec<_> = nicks(&"x".repeat(40)).take(10).collect();
        assert_eq!(nicks[0], "x".repeat(32));
        assert_eq!(nicks[1], format!("{}2", "x".repeat(31)));
        assert_eq!(nicks[9], format!("{}10", "x".repeat(30)));
    }
}
