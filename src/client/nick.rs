//! What to be called when nobody said: the login name, with a number behind it when that is taken, since in a lab
//! everybody logs in under the same.

use crate::protocol::Nick;
use crate::protocol::name::NAME_CHARS_MAX;

/// The nicks to try for somebody who logs in as `login`: `ann`, `ann2`, `ann3`, …
pub fn nicks(login: &str) -> impl Iterator<Item = String> {
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

/// The name of whoever runs this program; empty when nothing tells it.
pub fn login() -> String {
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
