//! The commands in one table, from which parsing, completion and help are made. This module is pure.

use std::path::PathBuf;

use super::super::shorthand::expand_home;

/// How the words after a command are completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentKind {
    /// They are not completed.
    Text,
    /// The first word is a room.
    Room,
    /// The first word is a nick or a room.
    Who,
    /// A local file.
    Path,
}

/// Every command: its name, its arguments, how they are completed, and what it does.
pub const COMMANDS: &[(&str, &str, ArgumentKind, &str)] = &[
    (
        "me",
        "TEXT",
        ArgumentKind::Text,
        "send an action: * ann waves",
    ),
    (
        "msg",
        "WHO TEXT",
        ArgumentKind::Who,
        "send a message to one person, or to another room",
    ),
    (
        "reply",
        "[ID] [TEXT]",
        ArgumentKind::Text,
        "reply to the newest message, or to the one with that ID",
    ),
    (
        "edit",
        "[ID] [TEXT]",
        ArgumentKind::Text,
        "replace the text of your last message here, or of the one with that ID",
    ),
    (
        "react",
        "[ID] [EMOJI]",
        ArgumentKind::Text,
        "react to the newest message, or to the one with that ID: /react +1",
    ),
    (
        "unreact",
        "[ID] EMOJI",
        ArgumentKind::Text,
        "withdraw a reaction",
    ),
    (
        "reactions",
        "[ID]",
        ArgumentKind::Text,
        "list who reacts to a message",
    ),
    ("query", "NICK", ArgumentKind::Who, "open a private chat"),
    ("join", "ROOM", ArgumentKind::Room, "join a room"),
    (
        "part",
        "[ROOM]",
        ArgumentKind::Room,
        "leave this room, or another",
    ),
    ("nick", "NAME", ArgumentKind::Text, "change your nick"),
    (
        "away",
        "[TEXT]",
        ArgumentKind::Text,
        "show others that you are away; without a text: that you are back",
    ),
    (
        "topic",
        "[TEXT]",
        ArgumentKind::Text,
        "show or set the topic; - removes it",
    ),
    ("who", "", ArgumentKind::Text, "list who is here"),
    (
        "rooms",
        "",
        ArgumentKind::Text,
        "list the rooms; Enter joins one",
    ),
    (
        "search",
        "WORDS",
        ArgumentKind::Text,
        "find messages here; * WORDS: in all rooms, @ WORDS: in private",
    ),
    (
        "links",
        "",
        ArgumentKind::Text,
        "list the links in this room's messages; Enter opens or copies one",
    ),
    (
        "upload",
        "PATH",
        ArgumentKind::Path,
        "upload a file to this room or chat",
    ),
    (
        "files",
        "",
        ArgumentKind::Text,
        "list the files of this room or chat; Enter downloads one",
    ),
    (
        "download",
        "ID [PATH]",
        ArgumentKind::Text,
        "download a file",
    ),
    (
        "view",
        "ID",
        ArgumentKind::Text,
        "show a picture: PNG, JPEG, GIF or WebP",
    ),
    (
        "cancel",
        "",
        ArgumentKind::Text,
        "cancel the newest transfer; a download can be resumed",
    ),
    (
        "remove",
        "[ID]",
        ArgumentKind::Text,
        "delete your last message here, or the one with that ID",
    ),
    (
        "ignore",
        "[NICK]",
        ArgumentKind::Who,
        "hide someone's messages, or list who is hidden",
    ),
    (
        "unignore",
        "NICK",
        ArgumentKind::Who,
        "show someone's messages again",
    ),
    (
        "mute",
        "[ROOM]",
        ArgumentKind::Room,
        "count only mentions in a room, and never ring the bell",
    ),
    (
        "unmute",
        "[ROOM]",
        ArgumentKind::Room,
        "count all messages in a room again",
    ),
    (
        "highlight",
        "[WORD]",
        ArgumentKind::Text,
        "treat a word as if it were your nick, or list those words",
    ),
    (
        "unhighlight",
        "WORD",
        ArgumentKind::Text,
        "stop treating a word like your nick",
    ),
    (
        "register",
        "",
        ArgumentKind::Text,
        "register your nick, so that nobody else can take it",
    ),
    (
        "token",
        "LABEL [KEY]",
        ArgumentKind::Text,
        "create a token for another machine; or add an ssh key",
    ),
    ("tokens", "", ArgumentKind::Text, "list your tokens"),
    ("revoke", "LABEL", ArgumentKind::Text, "revoke a token"),
    (
        "mode",
        "[open|invite]",
        ArgumentKind::Text,
        "show or set who may join, if you own this room",
    ),
    (
        "invite",
        "NICK",
        ArgumentKind::Who,
        "invite someone to this room",
    ),
    (
        "uninvite",
        "NICK",
        ArgumentKind::Who,
        "end an invitation, and remove the person from the room",
    ),
    (
        "invites",
        "",
        ArgumentKind::Text,
        "list who is invited to this room",
    ),
    ("reconnect", "", ArgumentKind::Text, "reconnect now"),
    ("help", "", ArgumentKind::Text, "show this help"),
    ("quit", "[TEXT]", ArgumentKind::Text, "leave"),
    (
        "kick",
        "NICK [TEXT]",
        ArgumentKind::Who,
        "operators: disconnect someone",
    ),
    (
        "ban",
        "WHO [TIME] [TEXT]",
        ArgumentKind::Who,
        "operators: ban a nick or an address",
    ),
    ("unban", "WHO", ArgumentKind::Text, "operators: end a ban"),
    ("bans", "", ArgumentKind::Text, "operators: list the bans"),
    (
        "note",
        "TEXT",
        ArgumentKind::Text,
        "operators: send a notice to everybody",
    ),
];

/// The keys, and what each of them does.
pub const KEYS: &[(&str, &str)] = &[
    ("Tab", "complete a nick, room, command or path"),
    ("PgUp PgDn, wheel", "scroll; Esc goes back to the newest"),
    ("Ctrl-N Ctrl-P", "next and previous room (Alt-↓ Alt-↑ too)"),
    ("Alt-1 … Alt-9", "the room with that number"),
    ("Alt-A", "the next unread room"),
    ("Alt-U", "the first new message"),
    ("Ctrl-Home Ctrl-End", "the first and the newest message"),
    ("Alt-PgUp Alt-PgDn", "the day before, the day after"),
    ("Alt-Enter", "a new line"),
    ("Ctrl-X Ctrl-E", "write the message in $EDITOR"),
    (
        "Ctrl-R",
        "select a message: Enter replies, e edits, r reacts, c copies, v views",
    ),
    (
        "↑ ↓",
        "edit your last message; show the lines that you typed before",
    ),
    ("Ctrl-W", "cut the word before the cursor"),
    (
        "Ctrl-U Ctrl-K",
        "cut everything before the cursor, everything after it",
    ),
    ("Ctrl-Y", "paste what was cut"),
    ("Ctrl-C twice, Ctrl-D", "leave"),
    ("Ctrl-Z", "back to the shell; fg returns to chatc"),
];

/// A parsed line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the table says it
pub enum Command {
    /// A message to the current room.
    Say(String),
    Me(String),
    Msg(String, String),
    Reply(String),
    Edit(String),
    React(String),
    Unreact(String),
    Reactions(String),
    Query(String),
    Join(String),
    Part(Option<String>),
    Nick(String),
    Away(String),
    Topic(String),
    Who,
    Rooms,
    Search(String),
    Links,
    Upload(PathBuf),
    Files,
    Download(u64, Option<PathBuf>),
    View(u64),
    Cancel,
    Remove(Option<u64>),
    Ignore(Option<String>),
    Unignore(String),
    /// Mutes (`true`) or unmutes a room.
    Mute(Option<String>, bool),
    Highlight(Option<String>),
    Unhighlight(String),
    Register,
    Token(String),
    /// A command of the protocol for the current room: its verb, and the rest.
    Here(String, String),
    Reconnect,
    Help,
    Quit(String),
    /// Another command of the protocol.
    Other(String),
    /// An invalid command; the text says what to do instead.
    Wrong(String),
}

impl Command {
    /// Parses a line. `//` begins a message that starts with a slash.
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
            "reply" | "re" => Self::Reply(text.to_owned()),
            "edit" => Self::Edit(text.to_owned()),
            "react" => Self::React(text.to_owned()),
            "unreact" => needed(Self::Unreact),
            "reactions" | "reacts" => Self::Reactions(text.to_owned()),
            "query" | "q" => needed(Self::Query),
            "join" | "j" => needed(Self::Join),
            "part" | "leave" => Self::Part((!text.is_empty()).then(|| text.to_owned())),
            "nick" => needed(Self::Nick),
            "away" => Self::Away(text.to_owned()),
            "back" => Self::Away(String::new()),
            "topic" => Self::Topic(text.to_owned()),
            "who" | "names" => Self::Who,
            "rooms" | "list" => Self::Rooms,
            "search" | "s" | "grep" => needed(Self::Search),
            "links" | "urls" => Self::Links,
            "upload" => match text {
                "" => Self::usage("upload"),
                text => Self::Upload(expand_home(text)),
            },
            "files" => Self::Files,
            "download" => {
                let (id, to) = text.split_once(' ').unwrap_or((text, ""));
                match id.parse() {
                    Ok(id) => Self::Download(id, (!to.is_empty()).then(|| expand_home(to.trim()))),
                    Err(_) => Self::usage("download"),
                }
            }
            "view" => text
                .parse()
                .map_or_else(|_| Self::usage("view"), Self::View),
            "cancel" => Self::Cancel,
            "remove" => match text {
                "" => Self::Remove(None),
                id => id
                    .parse()
                    .map_or_else(|_| Self::usage("remove"), |id| Self::Remove(Some(id))),
            },
            "ignore" => Self::Ignore((!text.is_empty()).then(|| text.to_owned())),
            "unignore" => needed(Self::Unignore),
            "mute" | "unmute" => {
                Self::Mute((!text.is_empty()).then(|| text.to_owned()), name == "mute")
            }
            "highlight" => Self::Highlight((!text.is_empty()).then(|| text.to_owned())),
            "unhighlight" => needed(Self::Unhighlight),
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
            // These commands change what the server sends, so chatc could no longer read it.
            "chat" | "raw" | "stamps" | "tags" | "stay" => Self::Wrong(
                "chatc does not need that; to type the protocol yourself, use chatc --raw".into(),
            ),
            "ping" | "hello" | "history" | "seen" | "tokens" | "revoke" | "kick" | "ban"
            | "unban" | "bans" | "note" | "shutdown" => Self::Other(
                format!("{} {text}", name.to_ascii_uppercase())
                    .trim_end()
                    .to_owned(),
            ),
            _ => match nearest(&name) {
                Some(near) => Self::Wrong(format!(
                    "unknown command /{name}; did you mean /{near}? // sends a line that starts with a slash"
                )),
                None => Self::Wrong(format!(
                    "unknown command /{name}: /help lists them, // sends a line that starts with a slash"
                )),
            },
        }
    }

    fn usage(name: &str) -> Self {
        let takes = COMMANDS
            .iter()
            .find(|command| command.0 == name)
            .map_or("", |command| command.1);
        Self::Wrong(format!("usage: /{name} {takes}"))
    }
}

/// Returns the command that the user has probably misspelled.
fn nearest(name: &str) -> Option<&'static str> {
    let begins = COMMANDS
        .iter()
        .find(|command| !name.is_empty() && command.0.starts_with(name));
    let near = COMMANDS.iter().find(|command| is_one_off(command.0, name));
    begins.or(near).map(|command| command.0)
}

/// Returns whether one word becomes the other if one letter is added, removed or changed, or two are swapped.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_table_is_read() {
        for (name, takes, _, _) in COMMANDS {
            let line = match *takes {
                "ID [PATH]" | "ID" => format!("/{name} 7"),
                "[ID]" => format!("/{name} 7"),
                "" => format!("/{name}"),
                _ => format!("/{name} a b"),
            };
            let read = Command::parse(&line);
            assert!(!matches!(read, Command::Wrong(_)), "{line}: {read:?}");
        }
    }

    #[test]
    fn an_invalid_command_is_answered_with_what_to_do() {
        let wrong = |line: &str| match Command::parse(line) {
            Command::Wrong(why) => why,
            other => panic!("{line} is {other:?}"),
        };
        assert!(wrong("/jion x").contains("did you mean /join?"));
        assert!(wrong("/sear").contains("did you mean /search?"));
        assert!(wrong("/etc/passwd").contains("// sends"));
        assert_eq!(wrong("/msg bob"), "usage: /msg WHO TEXT");
        assert_eq!(wrong("/download x"), "usage: /download ID [PATH]");
        assert_eq!(Command::parse("//x"), Command::Say("/x".into()));
        assert_eq!(Command::parse("hi"), Command::Say("hi".into()));
    }
}
