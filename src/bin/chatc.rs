//! `chatc`: the command line, and which part of [`plainchat::ui`] does it.

// The comments of flags are what `--help` prints, and no Markdown.
#![allow(rustdoc::broken_intra_doc_links)]

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use argh::FromArgs;
use plainchat::client::{Address, Client};
use plainchat::ui::{Exit, Failure, complain, enter, files, home::Home, pipe, plain, screen};

/// Talks.
#[derive(FromArgs)]
#[argh(
    description = "\
Talks on a chat server. On a terminal: type and read; /help lists what else you
can do. In a pipe: each line of standard input is said in the room, and what
others say and do there goes to standard output, until the input has ended and
every line is answered.",
    help_triggers("-h", "--help", "help"),
    note = "\
Files:
  chatc upload FILE...             put files into a room; - is standard input
  chatc download ID [--out PATH]   fetch a file, or the rest of one that was cut
  chatc files                      list a room's files
  Each takes --host HOST[:PORT]; chatc upload --help and so on tell the rest.",
    example = "Talk in the lobby of the server on this machine:\n  $ {command_name}",
    example = "Say one line in #ops:\n  $ echo build done | {command_name} --nick ci --room ops chat.example.org",
    example = "Follow a log, and see what others say to it:\n  $ tail -f app.log | {command_name} --nick app --room logs",
    error_code(0, "everything was done"),
    error_code(1, "something was refused, by the server or by this machine"),
    error_code(2, "the command line was not understood"),
    error_code(3, "no connection, or it broke, or the server ended it")
)]
struct Chat {
    /// what to be called; an error if it is taken. Otherwise the login name, and
    /// when that is taken, with a 2, 3, ... behind it
    #[argh(option, arg_name = "name")]
    nick: Option<String>,

    /// enter that room instead of the lobby; its # may be left out
    #[argh(option)]
    room: Option<String>,

    /// on a terminal, a line to type in and nothing else, instead of the screen
    #[argh(switch)]
    plain: bool,

    /// pass lines of the protocol between the server and standard input and output;
    /// nothing is said but what stands there, and --nick or --room if given
    #[argh(switch)]
    raw: bool,

    /// print the version
    #[argh(switch)]
    version: bool,

    /// where the server is, localhost:5002 unless told: HOST, HOST:PORT or
    /// [::1]:PORT
    #[argh(positional, arg_name = "host[:port]")]
    host: Option<String>,
}

/// Puts files into a room, for everybody to fetch, and prints ID and name of each.
#[derive(FromArgs)]
#[argh(help_triggers("-h", "--help", "help"))]
struct Upload {
    /// where the server is: HOST, HOST:PORT or [::1]:PORT
    #[argh(option, default = "here()", arg_name = "host[:port]")]
    host: String,

    /// into that room instead of the lobby; its # may be left out
    #[argh(option)]
    room: Option<String>,

    /// what to be called; otherwise as chatc does
    #[argh(option, arg_name = "name")]
    nick: Option<String>,

    /// what to call the file that is standard input
    #[argh(option, default = "String::from(\"stdin\")")]
    name: String,

    /// the files; - is standard input
    #[argh(positional, from_str_fn(file))]
    file: Vec<PathBuf>,
}

/// Fetches a file.
#[derive(FromArgs)]
#[argh(
    description = "\
Fetches a file by its number, checks its digest and prints where it is. What
comes is kept in PATH.part until it is whole; a download that was cut goes on
from there.",
    help_triggers("-h", "--help", "help")
)]
struct Download {
    /// where the server is: HOST, HOST:PORT or [::1]:PORT
    #[argh(option, default = "here()", arg_name = "host[:port]")]
    host: String,

    /// the file or folder to write; - is standard output. Otherwise this folder,
    /// under the file's own name. A file that is there is never overwritten
    #[argh(option, arg_name = "path")]
    out: Option<PathBuf>,

    /// the number of the file, as chatc files lists it
    #[argh(positional)]
    id: u64,
}

/// Lists a room's files: ID, size, time, sender and name.
#[derive(FromArgs)]
#[argh(help_triggers("-h", "--help", "help"))]
struct Files {
    /// where the server is: HOST, HOST:PORT or [::1]:PORT
    #[argh(option, default = "here()", arg_name = "host[:port]")]
    host: String,

    /// of that room instead of the lobby; its # may be left out
    #[argh(option)]
    room: Option<String>,
}

/// Stands for a lone `-`: no argument can hold a NUL, so nobody wrote it.
const DASH: &str = "\0";

fn file(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(if text == DASH { "-" } else { text }))
}

fn here() -> String {
    "localhost".into()
}

fn main() {
    let args: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|arg| arg.into_string())
        .collect::<Result<_, _>>()
        .unwrap_or_else(|arg| {
            complain(format_args!("{} is not UTF-8", arg.display()));
            leave(Exit::Usage)
        });
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = smol::block_on(async {
        // argh has positional arguments or subcommands, not both; so the first word decides here. A host that
        // is called like one of these three is reached with its port, as in `chatc files:5002`.
        match args.split_first() {
            Some((&"upload", rest)) => {
                // argh takes a lone - for a flag.
                let rest: Vec<&str> = rest
                    .iter()
                    .map(|arg| if *arg == "-" { DASH } else { arg })
                    .collect();
                upload(read(&["chatc", "upload"], &rest)).await
            }
            Some((&"download", rest)) => {
                let Download { host, out, id } = read(&["chatc", "download"], rest);
                files::download(&host.parse()?, id, out.as_deref()).await
            }
            Some((&"files", rest)) => {
                let Files { host, room } = read(&["chatc", "files"], rest);
                files::list(&host.parse()?, room.as_deref()).await
            }
            _ => chat(read(&["chatc"], &args)).await,
        }
    });
    leave(done.unwrap_or_else(|failure| {
        let exit = failure.exit();
        if exit != Exit::Well {
            complain(failure);
        }
        exit
    }));
}

async fn chat(chat: Chat) -> Result<Exit, Failure> {
    if chat.version {
        show(concat!("chatc ", env!("CARGO_PKG_VERSION"), "\n"));
    }
    let address: Address = chat.host.unwrap_or_else(here).parse()?;
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let home = Home::find();
    let settings = home.settings()?;
    if is_terminal && !chat.raw && !chat.plain && !settings.plain.unwrap_or(false) {
        let nick = chat.nick.or(settings.nick.clone());
        return screen::talk(address, nick, chat.room.as_deref(), &home, &settings).await;
    }
    let mut client = Client::connect_to(address).await?;
    let (nick, room) = (chat.nick.as_deref(), chat.room.as_deref());
    if chat.raw {
        if let Some(room) = room {
            client.join(room).await?;
        }
        if let Some(nick) = nick {
            client.nick(nick).await?;
        }
        return pipe::raw(client).await;
    }
    let wording = enter(&mut client, nick, room).await?;
    match is_terminal {
        true => plain::talk(client, wording).await,
        false => pipe::talk(client, wording).await,
    }
}

async fn upload(upload: Upload) -> Result<Exit, Failure> {
    if upload.file.is_empty() {
        complain("which file? write it chatc upload FILE");
        return Ok(Exit::Usage);
    }
    if upload
        .file
        .iter()
        .filter(|file| *file == Path::new("-"))
        .count()
        > 1
    {
        complain("standard input is one file: - stands there twice");
        return Ok(Exit::Usage);
    }
    let (nick, room) = (upload.nick.as_deref(), upload.room.as_deref());
    files::upload(
        &upload.host.parse()?,
        nick,
        room,
        &upload.name,
        &upload.file,
    )
    .await
}

/// Reads the flags, or shows help, or what is wrong with them, and ends.
fn read<T: FromArgs>(command: &[&str], args: &[&str]) -> T {
    T::from_args(command, args).unwrap_or_else(|early| match early.status {
        Ok(()) => show(&early.output),
        Err(()) => {
            let words: Vec<&str> = early.output.split_whitespace().collect();
            complain(format_args!(
                "{}; {} --help tells more",
                words.join(" "),
                command.join(" ")
            ));
            leave(Exit::Usage)
        }
    })
}

/// Writes what was asked for, and ends. A reader who has seen enough of it is no failure.
fn show(text: &str) -> ! {
    let _ = io::stdout().write_all(text.as_bytes());
    leave(Exit::Well)
}

/// Ends at once: a thread may be waiting for standard input, and would wait for ever.
fn leave(exit: Exit) -> ! {
    std::process::exit(exit as i32)
}
