//! The command line of `chatc`. `--help`, the completions and the manual come from these descriptions.

// The comments of flags are the text of `--help`, not Markdown.
#![allow(rustdoc::broken_intra_doc_links)]

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use plainchat::ui::server::ServerFlags;
use plainchat::ui::tail::Since;

/// Talks on a chat server.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    description = "\
Talks on a chat server. On a terminal, chatc shows a screen with rooms, members
and messages; type /help there for help. In a pipe, it sends each line of
standard input to the room and prints what others say and do there, until the
input has ended and every line is answered. When the connection breaks, chatc
reconnects, and nothing is lost.",
    help_triggers("-h", "--help", "help"),
    note = "\
Commands, each with a --help of its own:
  tail [ROOM...]          print the events of rooms as they happen
  send TO [TEXT]          send a message, or standard input
  history [ROOM]          print the messages of a room
  search WORDS...         print the messages that contain all the words
  who [ROOM], rooms       list the people in a room; list the rooms
  upload FILE...          upload files to a room; - is standard input
  download ID...          download files, or resume a download
  files [ROOM]            list the files of a room
  run -- COMMAND          run a command and post its output to a room
  bot -- COMMAND          run a bot that reads events and answers them
  servers                 list the chats on the local network
  completions SHELL       print completions for bash, zsh, fish or nushell
  manual                  print the manual page (chatc manual | man -l -)",
    note = "\
Settings are in ~/.config/chatc/settings.toml (or XDG_CONFIG_HOME):
  server = \"work\"          # the default server
  nick = \"ann\"             # your nick
  bell = true              # ring the bell when you are mentioned
  presence = true          # show who joins and leaves
  mouse = true             # the wheel scrolls
  colors = \"dark\"          # or light, few, none; NO_COLOR is respected
  pictures = \"blocks\"      # or kitty, sixel, none; by default, what the terminal has
  plain = false            # true: the line client instead of the screen
  [servers.work]
  address = \"chat.example.org:5002\"
  nick = \"ann\"
  password-file = \"~/.config/chatc/work\"
  rooms = [\"#ops\"]
  server-password-file = \"~/.config/chatc/door\"
If several servers share a chat, give all their addresses: chatc a,b:5003,c
connects to the first one that answers and, when that connection breaks, to the
next one. All of them get the same passwords. --host and address in the
settings take such a list, too.
Give the password of your nick in a file (--password-file: its first line), in
CHATC_PASSWORD, or at a prompt (--ask-password); never on the command line.
Without one, chatc protects your nick with a random password, which it keeps in
~/.local/state/chatc. If the server itself has a password, chatc prompts for it
or reads it from CHATC_SERVER_PASSWORD.",
    example = "Talk in the lobby of the server on this machine, or of the only chat on the local network:\n  $ {command_name}",
    example = "Send one message to #ops:\n  $ {command_name} send '#ops' build done",
    example = "Post a log as it grows, and see what others say about it:\n  $ tail -f app.log | {command_name} --nick app --room logs",
    error_code(0, "everything was done"),
    error_code(
        1,
        "the server refused something, a file could not be read or written, or nothing was found"
    ),
    error_code(2, "the command line or the settings are invalid"),
    error_code(3, "no connection, or the connection broke or was closed")
)]
pub struct Chat {
    /// your nick; chatc fails if it is taken. Without this flag: your login name, with
    /// 2, 3, ... appended if that is taken
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// the room to join instead of the lobby; its # may be left out
    #[argh(option)]
    pub room: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// prompt for the password of your nick
    #[argh(switch)]
    pub ask_password: bool,

    /// on a terminal, use a simple line client instead of the screen. While there is no
    /// connection, it keeps up to 1000 lines that you type
    #[argh(switch)]
    pub plain: bool,

    /// copy lines of the protocol between the server and standard input and output.
    /// chatc itself sends only NICK and JOIN, if --nick and --room are given
    #[argh(switch)]
    pub raw: bool,

    /// print the version
    #[argh(switch, short = 'V')]
    pub version: bool,

    /// the server: HOST, HOST:PORT, [::1]:PORT, or a name from your settings file.
    /// Default: localhost:5002 or, if there is none, the only chat on the local
    /// network
    #[argh(positional, arg_name = "host[:port]")]
    pub host: Option<String>,
}

/// Prints the events of rooms as they happen, without appearing there as a member.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    help_triggers("-h", "--help", "help"),
    note = "\
--json prints one JSON object per line, with these members:
  type  msg, me, file, stored, topic, remove, edit, react, unreact, join, part,
        nick, note, invite or gap
  id    the event's ID, null if it is not logged
  time  RFC 3339, UTC; null if the server sent none
  room  the room, the nick that a direct message is for, or * for a note
  nick  who did it; not in gap
  tags  its tags, such as reply, edited or x-..., if it has any
and, by type: text (msg, me, topic, part, note); file, length (null while the
upload runs) and name (file); file, length and sha256 (stored); removed (remove);
edited and text (edit); reacts_to and emoji (react, unreact); new (nick)",
    example = "The last hour of #ops, and everything from now on:\n  $ {command_name} ops --since 1h",
    example = "The messages of bob, for another program:\n  $ {command_name} ops --json | jq --unbuffered -r 'select(.nick == \"bob\").text'"
)]
pub struct Tail {
    /// the server: HOST, HOST:PORT, or a name from your settings file
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// the nick to read as. Without it, chatc reads without a nick, and logs in with
    /// its usual nick only if a room requires one
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// start after the event with that ID, or that long ago: 30s, 10m, 2h, 7d, 1w
    #[argh(option, arg_name = "id|time")]
    pub since: Option<Since>,

    /// print a JSON object per line
    #[argh(switch)]
    pub json: bool,

    /// another way to name the room
    #[argh(option, long = "room", arg_name = "room")]
    pub in_room: Vec<String>,

    /// the rooms; their # may be left out. Default: the lobby
    #[argh(positional)]
    pub room: Vec<String>,
}

/// Sends a message to a room or to one person.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    help_triggers("-h", "--help", "help"),
    example = "A text of several lines, as one message:\n  $ {command_name} '#ops' < trace.txt",
    example = "The end of a log, as one message:\n  $ tail -n 30 app.log | {command_name} '#ops' -"
)]
pub struct Send {
    /// the server: HOST, HOST:PORT, or a name from your settings file
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// your nick; chatc --help describes the default
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// the room; all other words are then the text
    #[argh(option)]
    pub room: Option<String>,

    /// the ID of the message that this answers (tail --json and history --json show
    /// IDs)
    #[argh(option, arg_name = "id")]
    pub reply: Option<u64>,

    /// a nick or a room, then the text. If the text is -, standard input is sent as one message. Without a text, a file
    /// on standard input is sent as one message, and a pipe line by line. The # of a room may be left out if nobody has
    /// that nick; if you write it, quote it, since # begins a comment in a shell
    #[argh(positional, arg_name = "to_and_text")]
    pub words: Vec<String>,
}

/// Prints the messages of a room, oldest first.
#[derive(FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help", "help"))]
pub struct History {
    /// the server: HOST, HOST:PORT, or a name from your settings file
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// the nick to read as. Without it, chatc reads without a nick, and logs in with
    /// its usual nick only if a room requires one
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// how many events (default: 50): the newest, or with --after the oldest
    #[argh(option)]
    pub count: Option<u64>,

    /// only events before the one with that ID
    #[argh(option, arg_name = "id")]
    pub before: Option<u64>,

    /// only events after the one with that ID
    #[argh(option, arg_name = "id")]
    pub after: Option<u64>,

    /// print a JSON object per line; chatc tail --help lists its fields
    #[argh(switch)]
    pub json: bool,

    /// another way to name the room
    #[argh(option, long = "room", arg_name = "room")]
    pub in_room: Option<String>,

    /// the room; its # may be left out. Default: the lobby
    #[argh(positional)]
    pub room: Option<String>,
}

/// Prints the newest 100 messages of a room that contain all the words in upper or lower case, the oldest message first. The exit code is 1 if there are none.
#[derive(FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help", "help"))]
pub struct Search {
    /// the server: HOST, HOST:PORT, or a name from your settings file
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// the nick to read as. Without it, chatc reads without a nick, and logs in with
    /// its usual nick only if a room requires one
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// the room, instead of the lobby; its # may be left out
    #[argh(option)]
    pub room: Option<String>,

    /// search all rooms that you may read
    #[argh(switch)]
    pub all: bool,

    /// print a JSON object per line; chatc tail --help lists its fields
    #[argh(switch)]
    pub json: bool,

    /// the words. The room can come first, with its #
    #[argh(positional)]
    pub words: Vec<String>,
}

/// Lists the people in a room.
#[derive(FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help", "help"))]
pub struct Who {
    /// the server: HOST, HOST:PORT, or a name from your settings file
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// the nick to read as. Without it, chatc reads without a nick, and logs in with
    /// its usual nick only if a room requires one
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// print a JSON object per line, with room and nick
    #[argh(switch)]
    pub json: bool,

    /// another way to name the room
    #[argh(option, long = "room", arg_name = "room")]
    pub in_room: Option<String>,

    /// the room; its # may be left out. Default: the lobby
    #[argh(positional)]
    pub room: Option<String>,
}

/// Lists the rooms, with the number of members and the topic.
#[derive(FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help", "help"))]
pub struct Rooms {
    /// the server: HOST, HOST:PORT, or a name from your settings file
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// the nick to list as, for the invite-only rooms that it is invited to
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// print a JSON object per line, with room, members and topic
    #[argh(switch)]
    pub json: bool,
}

/// Uploads files to a room, and prints the ID and the name of each.
#[derive(FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help", "help"))]
pub struct Upload {
    /// the server: HOST, HOST:PORT, or a name from your settings file
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// the room, instead of the lobby; its # may be left out
    #[argh(option)]
    pub room: Option<String>,

    /// your nick; chatc --help describes the default
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// the name for standard input
    #[argh(option, default = "String::from(\"stdin\")")]
    pub name: String,

    /// the files; - is standard input. The room can stand among them, with its #
    #[argh(positional, from_str_fn(file))]
    pub file: Vec<PathBuf>,
}

/// Downloads files.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    description = "\
Downloads files by their IDs, several at a time, checks their digests and prints
their paths. Until a file is complete it is PATH.part; an interrupted download
resumes from there.",
    help_triggers("-h", "--help", "help")
)]
pub struct Download {
    /// the server: HOST, HOST:PORT, or a name from your settings file
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// the nick to read as. Without it, chatc reads without a nick, and logs in with
    /// its usual nick only if a room requires one
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// the file or folder to write to; - is standard output. Default: the current
    /// folder, under the file's own name. Existing files are never overwritten
    #[argh(option, arg_name = "path")]
    pub out: Option<PathBuf>,

    /// the IDs of the files, as chatc files lists them
    #[argh(positional)]
    pub id: Vec<u64>,
}

/// Lists the files of a room: ID, size, time, sender and name.
#[derive(FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help", "help"))]
pub struct Files {
    /// the server: HOST, HOST:PORT, or a name from your settings file
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// the nick to read as. Without it, chatc reads without a nick, and logs in with
    /// its usual nick only if a room requires one
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// the room, instead of the lobby; its # may be left out
    #[argh(option)]
    pub room: Option<String>,

    /// the room; its # may be left out
    #[argh(positional, arg_name = "room")]
    pub of_room: Option<String>,
}

/// Runs a command and posts its output to a room.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    description = "\
Runs a command. chatc posts to the room when the command starts, uploads its
output as a file that can be read while it grows, and posts how the command
ended and how long it took. The output goes to standard output too. The command
keeps running even if the server cannot be reached; TERM, HUP and INT are
forwarded to it. The room sees the whole command line, so put no passwords into
it. The exit code is that of the command, 128 plus the number of the signal that
ended it, or 127 or 126 if it cannot be started.",
    help_triggers("-h", "--help", "help"),
    example = "Let others watch a build:\n  $ {command_name} '#ops' -- make -j4"
)]
pub struct Run {
    /// the server: HOST, HOST:PORT, or a name from your settings file
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// the room, instead of the lobby; its # may be left out
    #[argh(option)]
    pub room: Option<String>,

    /// your nick; chatc --help describes the default
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// the command and its arguments. The room can come first, with its #
    #[argh(positional)]
    pub command: Vec<String>,
}

/// Runs a bot.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    description = "\
Runs a bot: a command that reads events from its standard input, one per line
(MSG #ops bob hello), and writes requests of the protocol to its standard
output, one per line (TELL #ops hello, bob; MSG goes to the room that it joined
last). It has to read its input, or chatc stops reading from the server. If the
bot ends, chatc restarts it and repeats the events that it had not read. If the
connection breaks, chatc reconnects without a gap. What the bot says is marked
as a notice, and it does not read the notices of other bots, so two bots never
answer each other.",
    help_triggers("-h", "--help", "help"),
    example = "Answer ping with pong:\n  $ {command_name} --nick echo '#ops' -- sh -c \\\n      'while read -r verb room nick text; do [ \"$text\" != ping ] || echo \"TELL $room pong\"; done'"
)]
pub struct Bot {
    /// the server: HOST, HOST:PORT, or a name from your settings file
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// the rooms to join instead of the lobby; may be given more than once
    #[argh(option)]
    pub room: Vec<String>,

    /// your nick; chatc --help describes the default
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of the bot's nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// let the bot read the notices of other bots too; it must not answer them
    #[argh(switch)]
    pub notices: bool,

    /// the command and its arguments. The rooms can come first, with their #
    #[argh(positional)]
    pub command: Vec<String>,
}

/// Lists the chats whose servers announce themselves on the local network.
#[derive(FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help", "help"))]
pub struct Servers {}

/// Prints completions for a shell.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    help_triggers("-h", "--help", "help"),
    example = "For bash:\n  $ {command_name} bash > ~/.local/share/bash-completion/completions/chatc"
)]
pub struct Completions {
    /// bash, zsh, fish or nushell
    #[argh(positional)]
    pub shell: String,
}

/// Prints the manual page.
#[derive(FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help", "help"))]
pub struct Manual {}

/// Returns every command with its flags, for completions and the manual.
pub fn all() -> argh::CommandInfoWithArgs {
    fn sub<T: ArgsInfo>(name: &'static str) -> argh::SubCommandInfo {
        let mut command = T::get_args_info();
        command.name = name;
        argh::SubCommandInfo { name, command }
    }
    let mut all = Chat::get_args_info();
    all.name = "chatc";
    all.commands = vec![
        sub::<Tail>("tail"),
        sub::<Send>("send"),
        sub::<History>("history"),
        sub::<Search>("search"),
        sub::<Who>("who"),
        sub::<Rooms>("rooms"),
        sub::<Upload>("upload"),
        sub::<Download>("download"),
        sub::<Files>("files"),
        sub::<Run>("run"),
        sub::<Bot>("bot"),
        sub::<Servers>("servers"),
        sub::<Completions>("completions"),
        sub::<Manual>("manual"),
    ];
    all
}

/// Stands for a lone `-`: an argument cannot contain NUL.
pub const DASH: &str = "\0";

fn file(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(if text == DASH { "-" } else { text }))
}

/// Returns the flags that name a server and the nick there.
pub fn server_flags(
    host: Option<String>,
    nick: Option<String>,
    password_file: Option<PathBuf>,
) -> ServerFlags {
    ServerFlags {
        host,
        nick,
        password_file,
        ask_password: false,
    }
}
