//! What can be typed after a slash, in one table: it is read, completed and shown as help from here. Pure.

use std::path::PathBuf;

/// How a command's words are completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing, or what nobody could complete.
    Text,
    /// A room first.
    Room,
    /// A nick, or a room, first.
    Who,
    /// A file of this machine.
    Path,
}

/// Every command: its name, what it takes, and what it does.
pub const COMMANDS: &[(&str, &str, Takes, &str)] = &[
    ("me", "TEXT", Takes::Text, "say that you do something"),
    (
        "msg",
        "WHO TEXT",
        Takes::Who,
        "tell one person, or another room",
    ),
    (
        "query",
        "NICK",
        Takes::Who,
        "open a conversation with one person",
    ),
    ("join", "ROOM", Takes::Room, "enter a room"),
    ("part", "[ROOM]", Takes::Room, "leave this room, or another"),
    ("nick", "NAME", Takes::Text, "change your nick"),
    (
        "topic",
        "[TEXT]",
        Takes::Text,
        "show what the room is about, or set it; - clears it",
    ),
    ("who", "", Takes::Text, "list who is here"),
    ("rooms", "", Takes::Text, "list the rooms; Enter joins one"),
    (
        "search",
        "WORDS",
        Takes::Text,
        "find what was said here; Enter goes there",
    ),
    (
        "links",
        "",
        Takes::Text,
        "list the links that were said here, whole",
    ),
    ("upload", "PATH", Takes::Path, "put a file into this room"),
    (
        "files",
        "",
        Takes::Text,
        "list this room's files; Enter fetches one",
    ),
    ("download", "ID [PATH]", Takes::Text, "fetch a file"),
    (
        "cancel",
        "",
        Takes::Text,
        "stop the newest transfer; a download can go on later",
    ),
    (
        "remove",
        "[ID]",
        Takes::Text,
        "take back what you said last here, or what has that number",
    ),
    (
        "ignore",
        "[NICK]",
        Takes::Who,
        "hide someone's messages, or list who is hidden",
    ),
    ("unignore", "NICK", Takes::Who, "hear somebody again"),
    (
        "register",
        "",
        Takes::Text,
        "make your nick your own for good",
    ),
    (
        "token",
        "LABEL",
        Takes::Text,
        "make a password for your nick elsewhere",
    ),
    ("tokens", "", Takes::Text, "list those, by their labels"),
    ("revoke", "LABEL", Takes::Text, "take one of those back"),
    (
        "mode",
        "[open|invite]",
        Takes::Text,
        "who may enter this room, if you made it",
    ),
    ("invite", "NICK", Takes::Who, "ask somebody into this room"),
    (
        "uninvite",
        "NICK",
        Takes::Who,
        "send somebody away from this room",
    ),
    (
        "invites",
        "",
        Takes::Text,
        "list who is asked into this room",
    ),
    ("reconnect", "", Takes::Text, "try to come back now"),
    ("help", "", Takes::Text, "show this"),
    ("quit", "[TEXT]", Takes::Text, "leave"),
    (
        "kick",
        "NICK [TEXT]",
        Takes::Who,
        "operators: end somebody's connections",
    ),
    (
        "ban",
        "WHO [TIME] [TEXT]",
        Takes::Who,
        "operators: keep a nick or address out",
    ),
    (
        "unban",
        "WHO",
        Takes::Text,
        "operators: let somebody in again",
    ),
    ("bans", "", Takes::Text, "operators: list who is kept out"),
    (
        "note",
        "TEXT",
        Takes::Text,
        "operators: say something to everybody",
    ),
];

/// What a typed line means.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the table says it
pub enum Command {
    /// Said where one is.
    Say(String),
    Me(String),
    Msg(String, String),
    Query(String),
    Join(String),
    Part(Option<String>),
    Nick(String),
    Topic(String),
    Who,
    Rooms,
    Search(String),
    Links,
    Upload(PathBuf),
    Files,
    Download(u64, Option<PathBuf>),
    Cancel,
    Remove(Option<u64>),
    Ignore(Option<String>),
    Unignore(String),
    Register,
    Token(String),
    /// A command of the protocol about the room that one looks at: its verb, and the rest.
    Here(String, String),
    Reconnect,
    Help,
    Quit(String),
    /// Another command of the protocol.
    Other(String),
    /// It is none; the text says what to do instead.
    Wrong(String),
}

impl Command {
    /// Reads a line; `//` says one that begins with a slash.
    pub fn parse(line: &str) -> Self {
        let Some(command) = line.strip_prefix('/') else {
            return Self::Say(line.to_owned());
        };
        if command.starts_with('/') {
            return Self::Say(command.to_owned());
        }
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        let name = name.to_ascii_lowercase();
        let text = rest.trim();
        let needed = |what: fn(String) -> Self| match text {
            "" => Self::usage(&name),
            text => what(text.to_owned()),
        };
        match &name[..] {
            "me" => needed(Self::Me),
            "msg" | "tell" | "m" => match text.split_once(' ') {
                Some((who, text)) if !text.trim().is_empty() => {
                    Self::Msg(who.to_owned(), text.trim_start().to_owned())
                }
                _ => Self::usage("msg"),
            },
            "query" | "q" => needed(Self::Query),
            "join" | "j" => needed(Self::Join),
            "part" | "leave" => Self::Part((!text.is_empty()).then(|| text.to_owned())),
            "nick" => needed(Self::Nick),
            "topic" => Self::Topic(text.to_owned()),
            "who" | "names" => Self::Who,
            "rooms" | "list" => Self::Rooms,
            "search" | "s" | "grep" => needed(Self::Search),
            "links" | "urls" => Self::Links,
            "upload" => match text {
                "" => Self::usage("upload"),
                text => Self::Upload(path(text)),
            },
            "files" => Self::Files,
            "download" => {
                let (id, to) = text.split_once(' ').unwrap_or((text, ""));
                match id.parse() {
                    Ok(id) => Self::Download(id, (!to.is_empty()).then(|| path(to.trim()))),
                    Err(_) => Self::usage("download"),
                }
            }
            "cancel" => Self::Cancel,
            "remove" => match text {
                "" => Self::Remove(None),
                id => id
                    .parse()
                    .map_or_else(|_| Self::usage("remove"), |id| Self::Remove(Some(id))),
            },
            "ignore" => Self::Ignore((!text.is_empty()).then(|| text.to_owned())),
            "unignore" => needed(Self::Unignore),
            "register" => Self::Register,
            "token" => needed(Self::Token),
            "mode" | "invites" => Self::Here(name.to_ascii_uppercase(), text.to_owned()),
            "invite" | "uninvite" if !text.is_empty() => {
                Self::Here(name.to_ascii_uppercase(), text.to_owned())
            }
            "kick" | "ban" | "unban" | "note" | "revoke" if text.is_empty() => Self::usage(&name),
            "invite" | "uninvite" => Self::usage(&name),
            "reconnect" => Self::Reconnect,
            "help" | "?" => Self::Help,
            "quit" | "bye" | "exit" => Self::Quit(text.to_owned()),
            // These change what the server sends, and nobody would understand it any more.
            "chat" | "raw" | "stamps" | "stay" => Self::Wrong(
                "chatc does that for you; chatc --raw is for the protocol itself".into(),
            ),
            "ping" | "hello" | "history" | "seen" | "tokens" | "revoke" | "kick" | "ban"
            | "unban" | "bans" | "note" | "shutdown" => Self::Other(
                format!("{} {text}", name.to_ascii_uppercase())
                    .trim_end()
                    .to_owned(),
            ),
            _ => match nearest(&name) {
                Some(near) => Self::Wrong(format!(
                    "there is no /{name}; /{near} perhaps? // says a line that begins with a slash"
                )),
                None => Self::Wrong(format!(
                    "there is no /{name}: /help lists them, // says a line that begins with a slash"
                )),
            },
        }
    }

    fn usage(name: &str) -> Self {
        let takes = COMMANDS
            .iter()
            .find(|command| command.0 == name)
            .map_or("", |command| command.1);
        Self::Wrong(format!("write it /{name} {takes}"))
    }
}

/// The command that somebody may have meant.
fn nearest(name: &str) -> Option<&'static str> {
    let begins = COMMANDS
        .iter()
        .find(|command| !name.is_empty() && command.0.starts_with(name));
    let near = COMMANDS.iter().find(|command| is_one_off(command.0, name));
    begins.or(near).map(|command| command.0)
}

/// Whether one letter more, less, other or swapped makes one of the other.
fn is_one_off(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let rest = |s: &[u8], skip: usize| s.get(same + skip..).map(<[u8]>::to_vec);
    let swapped = rest(a, 2) == rest(b, 2)
        && rest(a, 2).is_some()
        && a.get(same) == b.get(same + 1)
        && a.get(same + 1) == b.get(same);
    let is = |x: Option<Vec<u8>>, y: Option<Vec<u8>>| x.is_some() && x == y;
    is(rest(a, 1), rest(b, 1))
        || is(rest(a, 1), rest(b, 0))
        || is(rest(a, 0), rest(b, 1))
        || swapped
}

/// A path as typed; `~/` is what a shell would have made the home folder.
pub fn path(text: &str) -> PathBuf {
    match (text.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_table_is_read() {
        for (name, takes, _, _) in COMMANDS {
            let line = match *takes {
                "ID [PATH]" => format!("/{name} 7"),
                "[ID]" => format!("/{name} 7"),
                "" => format!("/{name}"),
                _ => format!("/{name} a b"),
            };
            let read = Command::parse(&line);
            assert!(!matches!(read, Command::Wrong(_)), "{line}: {read:?}");
        }
    }

    #[test]
    fn what_is_no_command_says_what_to_do() {
        let wrong = |line: &str| match Command::parse(line) {
            Command::Wrong(why) => why,
            other => panic!("{line} is {other:?}"),
        };
        assert!(wrong("/jion x").contains("/join perhaps"));
        assert!(wrong("/sear").contains("/search perhaps"));
        assert!(wrong("/etc/passwd").contains("// says"));
        assert_eq!(wrong("/msg bob"), "write it /msg WHO TEXT");
        assert_eq!(wrong("/download x"), "write it /download ID [PATH]");
        assert_eq!(Command::parse("//x"), Command::Say("/x".into()));
        assert_eq!(Command::parse("hi"), Command::Say("hi".into()));
    }
}
