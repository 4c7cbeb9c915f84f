//! A line that a user types: a message, or a command after a slash.

use std::path::PathBuf;

use super::line_splitter::LineSplitter;
use super::shorthand::expand_home;

/// The meaning of a typed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputLine {
    /// Messages to send.
    Say(Vec<String>),
    /// A command of the protocol, without its line ending.
    Command(String),
    /// Upload a file.
    Upload(PathBuf),
    /// Download a file.
    Download(u64),
    /// Show the help.
    Help,
    /// Leave. The other users see the text, which may be empty.
    Quit(String),
    /// An invalid command; the text says what to do instead.
    Wrong(&'static str),
}

/// The text of `/help`.
pub const HELP: &str =
    "   What you type is sent to the current room. // sends a line that starts with a slash.
   /me waves              send an action
   /msg NICK text         send a direct message; /msg #ROOM text: to another room
   /nick NAME             change your nick
   /join ROOM, /part      join a room, leave it
   /who, /rooms           list who is here, list the rooms
   /topic [TEXT]          show or set the topic
   /search WORDS          find messages
   /upload PATH           upload a file to the room
   /files, /download ID   list the room's files, download one into this folder
   /remove ID             delete a message or file of yours
   /quit                  leave (or Ctrl-D)
   Any other command of the protocol is sent to the server as it is.";

impl InputLine {
    /// Parses what a user has typed. Pasted text is sent line by line. A command is one line.
    ///
    /// ```
    /// use plainchat::ui::InputLine;
    /// assert_eq!(InputLine::parse("/msg bob hi"), InputLine::Command("TELL bob hi".into()));
    /// assert_eq!(InputLine::parse("//usr/bin"), InputLine::Say(vec!["/usr/bin".into()]));
    /// ```
    pub fn parse(text: &str) -> Self {
        let Some(command) = text.strip_prefix('/') else {
            return say(text);
        };
        if command.starts_with('/') {
            return say(command);
        }
        if command.trim_end().contains(['\n', '\r']) {
            return Self::Wrong("a command is one line; // sends a line that starts with a slash");
        }
        let command = command.trim_end_matches(['\n', '\r']);
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let first = rest.trim();
        match verb.to_ascii_lowercase().as_str() {
            "help" | "?" => Self::Help,
            "quit" | "bye" | "exit" => Self::Quit(first.to_owned()),
            "upload" if first.is_empty() => Self::Wrong("usage: /upload PATH"),
            "upload" => Self::Upload(expand_home(first)),
            "download" => match first.parse() {
                Ok(id) => Self::Download(id),
                Err(_) => Self::Wrong("usage: /download ID (/files lists the IDs)"),
            },
            "msg" | "tell" => Self::Command(format!("TELL {rest}")),
            // These commands change what the server sends, or how it reads lines.
            "chat" | "raw" | "stamps" | "tags" | "text" => Self::Wrong(
                "chatc does not need that; to type the protocol yourself, use chatc --raw",
            ),
            word if !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()) => {
                let rest = rest.trim_end();
                let space = if rest.is_empty() { "" } else { " " };
                Self::Command(format!("{}{space}{rest}", word.to_ascii_uppercase()))
            }
            _ => Self::Wrong(
                "unknown command: /help lists them, // sends a line that starts with a slash",
            ),
        }
    }
}

fn say(text: &str) -> InputLine {
    let (mut splitter, mut texts) = (LineSplitter::default(), Vec::new());
    splitter.push(text.as_bytes(), &mut texts);
    splitter.finish(&mut texts);
    InputLine::Say(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(typed: &str, expected: &str) {
        assert_eq!(
            InputLine::parse(typed),
            InputLine::Command(expected.into()),
            "{typed:?}"
        );
    }

    fn sends(typed: &str, expected: &[&str]) {
        let expected = expected.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(
            InputLine::parse(typed),
            InputLine::Say(expected),
            "{typed:?}"
        );
    }

    #[test]
    fn typed_lines_are_sent() {
        sends("hello", &["hello"]);
        sends("//etc", &["/etc"]);
        sends("", &[]);
        sends(" ", &[" "]);
        sends("BYE", &["BYE"]);
        sends("pasted\n/quit\nlines", &["pasted", "/quit", "lines"]);
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
        assert_eq!(
            InputLine::parse("/quit so long"),
            InputLine::Quit("so long".into())
        );
        assert_eq!(InputLine::parse("/help"), InputLine::Help);
        assert_eq!(
            InputLine::parse("/upload a b.txt "),
            InputLine::Upload("a b.txt".into())
        );
        assert_eq!(InputLine::parse("/download 17"), InputLine::Download(17));
    }

    #[test]
    fn an_unknown_command_is_not_sent() {
        for wrong in [
            "/",
            "/ nick",
            "/etc/passwd",
            "/download",
            "/upload",
            "/chat",
            "/tags off",
            "/nick a\nMSG b",
            "/é",
        ] {
            assert!(
                matches!(InputLine::parse(wrong), InputLine::Wrong(_)),
                "{wrong:?}"
            );
        }
    }
}
