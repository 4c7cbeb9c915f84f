//! What a person types: something to say, or a command after a slash.

use std::path::PathBuf;

use super::cutter::Cutter;

/// What one typed line means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// Lines to send as they are, with their ends, and how many.
    Say(Vec<u8>, u64),
    /// A command of the protocol, without its end.
    Command(String),
    /// Upload that file.
    Upload(PathBuf),
    /// Fetch that file.
    Download(u64),
    /// Show what can be typed.
    Help,
    /// Leave, with a word for the others or none.
    Quit(String),
    /// It is no command; the text says what to do instead.
    Wrong(&'static str),
}

/// What `/help` shows.
pub const HELP: &str =
    "   what you type is said in the current room; // says a line that begins with a slash
   /me waves              an action
   /msg NICK text         to one person; /msg #ROOM text: in another room
   /nick NAME             change your nick
   /join ROOM, /part      enter a room, leave it
   /who, /rooms           who is here, which rooms there are
   /topic [TEXT]          show or set what the room is about
   /upload PATH           put a file into the room
   /files, /download ID   list the room's files, fetch one into this folder
   /remove ID             take back a message or file of your own
   /quit                  leave (Ctrl-D does too)
   any other command of the protocol goes to the server as it is";

impl Typed {
    /// Reads what was typed. A pasted text of many lines is said line by line: only its first can be a command.
    ///
    /// ```
    /// use plainchat::ui::Typed;
    /// assert_eq!(Typed::parse("/msg bob hi"), Typed::Command("TELL bob hi".into()));
    /// assert_eq!(Typed::parse("//usr/bin"), Typed::Say(b"MSG /usr/bin\n".into(), 1));
    /// ```
    pub fn parse(text: &str) -> Self {
        let Some(command) = text.strip_prefix('/') else {
            return say(text);
        };
        if command.starts_with('/') {
            return say(command);
        }
        if command.trim_end().contains(['\n', '\r']) {
            return Self::Wrong("a command is one line; // says a line that begins with a slash");
        }
        let command = command.trim_end_matches(['\n', '\r']);
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let first = rest.trim();
        match verb.to_ascii_lowercase().as_str() {
            "help" | "?" => Self::Help,
            "quit" | "bye" | "exit" => Self::Quit(first.to_owned()),
            "upload" if first.is_empty() => Self::Wrong("write it /upload PATH"),
            "upload" => Self::Upload(path(first)),
            "download" => match first.parse() {
                Ok(id) => Self::Download(id),
                Err(_) => Self::Wrong("write it /download ID; /files lists the ids"),
            },
            "msg" | "tell" => Self::Command(format!("TELL {rest}")),
            // These change what the server sends, and chatc would no longer understand it.
            "chat" | "raw" => {
                Self::Wrong("you are talking already; chatc --raw is for the protocol itself")
            }
            word if !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()) => {
                let rest = rest.trim_end();
                let space = if rest.is_empty() { "" } else { " " };
                Self::Command(format!("{}{space}{rest}", word.to_ascii_uppercase()))
            }
            _ => Self::Wrong(
                "that is no command: /help lists them, // says a line that begins with a slash",
            ),
        }
    }
}

fn say(text: &str) -> Typed {
    let (mut cutter, mut lines) = (Cutter::default(), Vec::new());
    let count = cutter.push(text.as_bytes(), &mut lines) + cutter.finish(&mut lines);
    Typed::Say(lines, count)
}

/// A path as typed; `~/` is what a shell would have made the home folder.
fn path(text: &str) -> PathBuf {
    match (text.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(typed: &str, expected: &str) {
        assert_eq!(
            Typed::parse(typed),
            Typed::Command(expected.into()),
            "{typed:?}"
        );
    }

    fn said(typed: &str, expected: &str) {
        let Typed::Say(lines, count) = Typed::parse(typed) else {
            panic!("{typed:?} is said");
        };
        assert_eq!(String::from_utf8(lines).unwrap(), expected, "{typed:?}");
        assert_eq!(expected.lines().count() as u64, count);
    }

    #[test]
    fn what_is_typed_is_said() {
        said("hello", "MSG hello\n");
        said("//etc", "MSG /etc\n");
        said("", "");
        said(" ", "MSG  \n");
        said("BYE", "MSG BYE\n");
        said("pasted\n/quit\nlines", "MSG pasted\nMSG /quit\nMSG lines\n");
    }

    #[test]
    fn a_slash_makes_a_command() {
        command("/nick bob", "NICK bob");
        command("/Nick bob my secret", "NICK bob my secret");
        command("/me waves", "ME waves");
        command("/msg bob  hi", "TELL bob  hi");
        command("/join #ops", "JOIN #ops");
        command("/who", "WHO");
        command("/who ", "WHO");
        command("/history 5", "HISTORY 5");
        assert_eq!(Typed::parse("/quit so long"), Typed::Quit("so long".into()));
        assert_eq!(Typed::parse("/help"), Typed::Help);
        assert_eq!(
            Typed::parse("/upload a b.txt "),
            Typed::Upload("a b.txt".into())
        );
        assert_eq!(Typed::parse("/download 17"), Typed::Download(17));
    }

    #[test]
    fn what_is_no_command_goes_nowhere() {
        for wrong in [
            "/",
            "/ nick",
            "/etc/passwd",
            "/download",
            "/upload",
            "/chat",
            "/nick a\nMSG b",
            "/é",
        ] {
            assert!(matches!(Typed::parse(wrong), Typed::Wrong(_)), "{wrong:?}");
        }
    }
}
