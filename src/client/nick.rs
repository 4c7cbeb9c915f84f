//! The default nick: the login name. If it is taken, a number is appended, because in a computer lab all users may
//! have the same login name.

use crate::protocol::Nick;
use crate::protocol::name::NAME_CHARS_MAX;

/// Returns the nicks to try for the login name `login`, one after the other.
///
/// ```
/// let nicks: Vec<String> = plainchat::client::nick_candidates("ann").take(3).collect();
/// assert_eq!(nicks, ["ann", "ann2", "ann3"]);
/// ```
pub fn nick_candidates(login: &str) -> impl Iterator<Item = String> {
    let base = nick_of(login);
    (1..).map(move |n: u32| {
        let number = if n == 1 { String::new() } else { n.to_string() };
        let space = NAME_CHARS_MAX.saturating_sub(number.len());
        base.chars().take(space).chain(number.chars()).collect()
    })
}

/// Returns the valid nick that is closest to `login`.
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

/// Returns the login name of the user who runs this program; empty if it is unknown.
pub fn login_name() -> String {
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
        let nicks: Vec<_> = nick_candidates(&"x".repeat(40)).take(10).collect();
        assert_eq!(nicks[0], "x".repeat(32));
        assert_eq!(nicks[1], format!("{}2", "x".repeat(31)));
        assert_eq!(nicks[9], format!("{}10", "x".repeat(30)));
    }
}
