//! The command line of `chatc`. From these descriptions come `--help`, the completions and the manual.

// The comments of flags are what `--help` prints, and no Markdown.
#![allow(rustdoc::broken_intra_doc_links)]

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use plainchat::ui::server::Asked;
use plainchat::ui::tail::Since;

/// Talks.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    description = "\
Talks on a chat server. On a terminal: a screen with rooms, members and what is
said; /help there lists what you can do. In a pipe: each line of standard input
is said in the room, and what others say and do there goes to standard output,
until the input has ended and every line is answered. A connection that breaks
is made again, and nothing is lost.",
    help_triggers("-h", "--help", "help"),
    note = "\
Commands, each with a --help of its own:
  tail [ROOM...]          print what happens in rooms, as it happens
  send TO [TEXT]          say one thing, or what standard input says
  history [ROOM]          print what was said in a room
  search WORDS...         print what holds all the words
  who [ROOM], rooms       list who is in a room; list the rooms
  upload FILE...          put files into a room; - is standard input
  download ID...          fetch files, or the rest of one that was cut
  files                   list a room's files
  run -- COMMAND          run a command; a room sees its output as it comes
  bot -- COMMAND          run a bot that reads events and answers them
  servers                 list the servers on the local network
  completions SHELL       print completions for bash, zsh, fish or nushell
  manual                  print this as a manual page (chatc manual | man -l -)",
    note = "\
Settings are in ~/.config/chatc/settings.toml (or XDG_CONFIG_HOME):
  server = \"work\"          # where to go when no host is given
  nick = \"ann\"             # what to be called
  bell = true              # ring when somebody names you
  presence = true          # show who comes and goes
  mouse = true             # the wheel scrolls
  colors = \"dark\"          # or light, few, none; NO_COLOR is respected
  plain = false            # the line client instead of the screen
  [servers.work]
  address = \"chat.example.org:5002\"
  nick = \"ann\"
  password-file = \"~/.config/chatc/work\"
  rooms = [\"#ops\"]
  server-password-file = \"~/.config/chatc/door\"
A password is asked for (--ask-password), or read from the first line of a file
(--password-file) or from CHATC_PASSWORD; never from the command line. Without
one, a random one in ~/.local/state/chatc guards your nick. The password of a
server that has one itself is asked for, or read from CHATC_SERVER_PASSWORD.",
    example = "Talk in the lobby of the server on this machine, or of the only one on the local network:\n  $ {command_name}",
    example = "Say one line in #ops:\n  $ {command_name} send '#ops' build done",
    example = "Follow a log, and see what others say to it:\n  $ tail -f app.log | {command_name} --nick app --room logs",
    error_code(0, "everything was done"),
    error_code(
        1,
        "something was refused, by the server or by this machine, or nothing was found"
    ),
    error_code(2, "the command line or the settings were not understood"),
    error_code(3, "no connection, or it broke, or the server ended it")
)]
pub struct Chat {
    /// your nick (an error if it is taken). Otherwise your login name, with 2, 3, ...
    /// appended if that is taken
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// enter that room instead of the lobby; its # may be left out
    #[argh(option)]
    pub room: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// ask for the password of your nick
    #[argh(switch)]
    pub ask_password: bool,

    /// on a terminal, a line to type in and nothing else, instead of the screen
    #[argh(switch)]
    pub plain: bool,

    /// pass lines of the protocol between the server and standard input and output;
    /// only your own lines are sent, plus --nick and --room if given
    #[argh(switch)]
    pub raw: bool,

    /// print the version
    #[argh(switch, short = 'V')]
    pub version: bool,

    /// where the server is: a name of the settings, HOST, HOST:PORT or [::1]:PORT;
    /// localhost:5002 unless told, or else the only one on the local network
    #[argh(positional, arg_name = "host[:port]")]
    pub host: Option<String>,
}

/// Prints what happens in rooms, as it happens, unseen by the others.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    help_triggers("-h", "--help", "help"),
    note = "\
--json prints a JSON object a line. Each has:
  type  msg, me, file, stored, topic, remove, join, part, nick, note or gap
  id    the event's number, null for what is not logged
  time  RFC 3339, UTC; null where the server told none
  room  the room, the nick that was told, or * for a note
  nick  whose doing it is; not in gap
and, by type: text (msg, me, topic, part, note); file, length (null while it
comes in) and name (file); file, length and sha256 (stored); removed (remove);
new (nick)",
    example = "What was said in #ops in the last hour, and from now on:\n  $ {command_name} ops --since 1h",
    example = "The texts of bob, for another program:\n  $ {command_name} ops --json | jq --unbuffered -r 'select(.nick == \"bob\").text'"
)]
pub struct Tail {
    /// where the server is: a name of the settings, HOST or HOST:PORT
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// the nick to read as, for rooms that are closed; tried by itself where a room
    /// refuses
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// begin after the event of that number, or so long ago: 30s, 10m, 2h, 7d, 1w
    #[argh(option, arg_name = "id|time")]
    pub since: Option<Since>,

    /// print a JSON object a line
    #[argh(switch)]
    pub json: bool,

    /// the same as naming the room
    #[argh(option, long = "room", arg_name = "room")]
    pub in_room: Vec<String>,

    /// the rooms; their # may be left out. The lobby unless told
    #[argh(positional)]
    pub room: Vec<String>,
}

/// Says something in a room, or to one person, and ends.
#[derive(FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help", "help"))]
pub struct Send {
    /// where the server is: a name of the settings, HOST or HOST:PORT
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// your nick; otherwise as chatc does
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// in that room; then every word is the text
    #[argh(option)]
    pub room: Option<String>,

    /// a nick or a room, then what to say; without that, each line of standard
    /// input is said. The # of a room may be left out where nobody has that nick (a
    /// shell takes an unquoted # for a comment)
    #[argh(positional, arg_name = "to_and_text")]
    pub words: Vec<String>,
}

/// Prints what was said in a room, oldest first.
#[derive(FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help", "help"))]
pub struct History {
    /// where the server is: a name of the settings, HOST or HOST:PORT
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// the nick to read as, for rooms that are closed; tried by itself where a room
    /// refuses
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// how many events, 50 unless told: the newest, or with --after the first
    #[argh(option)]
    pub count: Option<u64>,

    /// only what came before the event of that number
    #[argh(option, arg_name = "id")]
    pub before: Option<u64>,

    /// only what came after the event of that number
    #[argh(option, arg_name = "id")]
    pub after: Option<u64>,

    /// print a JSON object a line; chatc tail --help tells its fields
    #[argh(switch)]
    pub json: bool,

    /// the same as naming the room
    #[argh(option, long = "room", arg_name = "room")]
    pub in_room: Option<String>,

    /// the room; its # may be left out. The lobby unless told
    #[argh(positional)]
    pub room: Option<String>,
}

/// Prints what was said in a room and holds all the words, in capitals or not; the newest 100, oldest first. Ends with code 1 when nothing does.
#[derive(FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help", "help"))]
pub struct Search {
    /// where the server is: a name of the settings, HOST or HOST:PORT
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// the nick to read as, for rooms that are closed; tried by itself where a room
    /// refuses
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// in that room instead of the lobby; its # may be left out
    #[argh(option)]
    pub room: Option<String>,

    /// print a JSON object a line; chatc tail --help tells its fields
    #[argh(switch)]
    pub json: bool,

    /// the words
    #[argh(positional)]
    pub words: Vec<String>,
}

/// Lists who is in a room.
#[derive(FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help", "help"))]
pub struct Who {
    /// where the server is: a name of the settings, HOST or HOST:PORT
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// the nick to read as, for rooms that are closed; tried by itself where a room
    /// refuses
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// print a JSON object a line, with room and nick
    #[argh(switch)]
    pub json: bool,

    /// the same as naming the room
    #[argh(option, long = "room", arg_name = "room")]
    pub in_room: Option<String>,

    /// the room; its # may be left out. The lobby unless told
    #[argh(positional)]
    pub room: Option<String>,
}

/// Lists the rooms, with how many are in each and what it is about.
#[derive(FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help", "help"))]
pub struct Rooms {
    /// where the server is: a name of the settings, HOST or HOST:PORT
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// the nick to ask as, for the closed rooms that it is invited to
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// print a JSON object a line, with room, members and topic
    #[argh(switch)]
    pub json: bool,
}

/// Puts files into a room, for everybody to fetch, and prints ID and name of each.
#[derive(FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help", "help"))]
pub struct Upload {
    /// where the server is: a name of the settings, HOST or HOST:PORT
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// into that room instead of the lobby; its # may be left out
    #[argh(option)]
    pub room: Option<String>,

    /// your nick; otherwise as chatc does
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// what to call the file that is standard input
    #[argh(option, default = "String::from(\"stdin\")")]
    pub name: String,

    /// the files; - is standard input
    #[argh(positional, from_str_fn(file))]
    pub file: Vec<PathBuf>,
}

/// Fetches files.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    description = "\
Fetches files by their numbers, several at a time, checks their digests and
prints where they are. What comes is kept in PATH.part until it is whole; a
download that was cut goes on from there.",
    help_triggers("-h", "--help", "help")
)]
pub struct Download {
    /// where the server is: a name of the settings, HOST or HOST:PORT
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// the nick to read as, for rooms that are closed; tried by itself where a room
    /// refuses
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// the file or folder to write; - is standard output. Otherwise this folder,
    /// under the file's own name. A file that is there is never overwritten
    #[argh(option, arg_name = "path")]
    pub out: Option<PathBuf>,

    /// the numbers of the files, as chatc files lists them
    #[argh(positional)]
    pub id: Vec<u64>,
}

/// Lists a room's files: ID, size, time, sender and name.
#[derive(FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help", "help"))]
pub struct Files {
    /// where the server is: a name of the settings, HOST or HOST:PORT
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// the nick to read as, for rooms that are closed; tried by itself where a room
    /// refuses
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// of that room instead of the lobby; its # may be left out
    #[argh(option)]
    pub room: Option<String>,

    /// the room; its # may be left out
    #[argh(positional, arg_name = "room")]
    pub of_room: Option<String>,
}

/// Runs a command and tells a room.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    description = "\
Runs a command. The room is told when it starts, gets what it prints as a file
that can be followed while it comes, and is told how it ended and how long it
took. What it prints goes to standard output too. The command runs whatever the
server does; TERM, HUP and INT are passed on to it. The room sees the whole
command line, so give it no passwords. The exit code is the command's, 128 and
the number of the signal that ended it, or 127 or 126 when it cannot be started.",
    help_triggers("-h", "--help", "help"),
    example = "Let others watch a build:\n  $ {command_name} --room ops -- make -j4"
)]
pub struct Run {
    /// where the server is: a name of the settings, HOST or HOST:PORT
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// that room instead of the lobby; its # may be left out
    #[argh(option)]
    pub room: Option<String>,

    /// your nick; otherwise as chatc does
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of your nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// the command and what belongs to it
    #[argh(positional)]
    pub command: Vec<String>,
}

/// Runs a bot.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    description = "\
Runs a bot: one long-lived command that reads what happens on its standard
input, a line each (MSG #ops bob hello), and says what it wants on its standard
output, a line of the protocol each (TELL #ops hello, bob; MSG says it in the
room that was entered last). It has to read, or the server is not read either.
One that ends is started again, and gets what it had not read; a connection that
breaks is made again without a gap.",
    help_triggers("-h", "--help", "help"),
    example = "Answer whoever says ping:\n  $ {command_name} --nick echo --room ops -- sh -c \\\n      'while read -r verb room nick text; do [ \"$text\" != ping ] || echo \"TELL $room pong\"; done'"
)]
pub struct Bot {
    /// where the server is: a name of the settings, HOST or HOST:PORT
    #[argh(option, arg_name = "host[:port]")]
    pub host: Option<String>,

    /// the rooms to enter instead of the lobby; may be given more than once
    #[argh(option)]
    pub room: Vec<String>,

    /// your nick; otherwise as chatc does
    #[argh(option, arg_name = "name")]
    pub nick: Option<String>,

    /// a file whose first line is the password of its nick
    #[argh(option, arg_name = "file")]
    pub password_file: Option<PathBuf>,

    /// the command and what belongs to it
    #[argh(positional)]
    pub command: Vec<String>,
}

/// Lists the servers that announce themselves on the local network.
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

/// Every command, with what it takes: for completions and the manual.
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

/// Stands for a lone `-`: no argument can hold a NUL, so nobody wrote it.
pub const DASH: &str = "\0";

fn file(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(if text == DASH { "-" } else { text }))
}

/// A server that is named by `--host`, and who one is there.
pub fn asked(host: Option<String>, nick: Option<String>, password_file: Option<PathBuf>) -> Asked {
    Asked {
        host,
        nick,
        password_file,
        ask_password: false,
    }
}
