//! `chatc`: parses the command line, and calls the part of [`plainchat::ui`] that executes it.

mod flags;
mod manual;
mod words;

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use argh::FromArgs;
use argh_complete::Generator;
use flags::{DASH, server_flags};
use plainchat::client::{Client, Error};
use plainchat::protocol::Code;
use plainchat::ui::profile::{Profile, Settings};
use plainchat::ui::server::{self, Server, ServerFlags};
use plainchat::ui::shorthand::room_name;
use plainchat::ui::{
    Exit, Failure, ask, bot, complain, files, pipe, plain, run, screen, send, sftp, ssh, tail,
};

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
    let done = match args.split_first() {
        Some((&"--ssh", words)) => by_ssh(words),
        _ => smol::block_on(dispatch(&args, &Place::here())),
    };
    leave(done.unwrap_or_else(|failure| {
        let exit = failure.exit();
        if exit != Exit::Success {
            complain(failure);
        }
        exit
    }));
}

/// Where a command line finds its server and its settings.
struct Place {
    home: Profile,
    /// The server for a user who connects over ssh; the flags cannot choose another. For such a user, no settings are
    /// read and nothing is saved.
    fixed: Option<Server>,
}

impl Place {
    fn here() -> Self {
        Self {
            home: Profile::find(),
            fixed: None,
        }
    }

    fn settings(&self) -> Result<Settings, Failure> {
        self.home.settings()
    }

    fn server(&self, flags: ServerFlags, settings: &Settings) -> Result<Server, Failure> {
        match &self.fixed {
            Some(server) => Ok(server.clone()),
            None => Server::find(flags, &self.home, settings),
        }
    }
}

/// Executes the command of a user who connects over ssh.
fn by_ssh(words: &[&str]) -> Result<Exit, Failure> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let (given, nick) = match ssh::given(&variable("SSH_ORIGINAL_COMMAND")) {
        ssh::Given::Words(words, nick) => (words, nick),
        ssh::Given::Help => show(ssh::HELP),
        ssh::Given::Refused(why) => {
            complain(why);
            return Ok(Exit::Usage);
        }
        ssh::Given::Sftp => {
            // An error means that the client has ended, and then there is nothing left to refuse.
            let _ = sftp::refuse(io::stdin(), io::stdout(), ssh::HOW_TO_COPY);
            return Ok(Exit::Usage);
        }
    };
    let server = ssh::server(words, &variable("SSH_CONNECTION"), nick.as_ref())?;
    if nick.is_none() {
        // Somebody else may have added the key, to their own nick.
        let nick = server.first_nick();
        complain(format_args!(
            "you are {nick}, who has added this key (--nick {nick} hides this line)"
        ));
    }
    let words: Vec<&str> = given.iter().map(String::as_str).collect();
    let place = Place {
        home: Profile::default(),
        fixed: Some(server),
    };
    let done = smol::block_on(dispatch(&words, &place));
    match &done {
        // A chatd with another secret refuses the header of the PROXY protocol.
        Err(Failure::Client(Error::Lost(_) | Error::Protocol(_) | Error::Closed { .. })) => {
            complain(
                "if this always happens, check that chatd was started with the same \
                 --ssh-secret-file (chatd.md, section 6)",
            );
        }
        Err(Failure::Client(error)) if error.refusal() == Some(Code::BadPassword) => {
            complain("that nick has not added this key (TOKEN), or has revoked it");
        }
        _ => {}
    }
    done
}

/// Executes the command line. argh supports either positional arguments or subcommands, but not both, so the first
/// word decides here. A host with the name of a command needs its port, as in `chatc files:5002`.
async fn dispatch(args: &[&str], place: &Place) -> Result<Exit, Failure> {
    let args = &words::command_first(args)[..];
    let Some((&word, rest)) = args.split_first() else {
        return chat(read(&["chatc"], args), place).await;
    };
    let settings = || place.settings();
    let find = |flags: ServerFlags, settings: &Settings| place.server(flags, settings);
    match word {
        "tail" => {
            let flags::Tail {
                host,
                nick,
                password_file,
                since,
                json,
                in_room,
                mut room,
            } = read(&["chatc", "tail"], rest);
            room.extend(in_room);
            let server = find(server_flags(host, nick, password_file), &settings()?)?;
            tail::run(&server, &room, since, json).await
        }
        "send" => {
            let flags::Send {
                host,
                nick,
                password_file,
                room,
                reply,
                words,
            } = read(&["chatc", "send"], &with_dashes(rest));
            let dash = |word: String| if word == DASH { "-".to_owned() } else { word };
            let mut text: Vec<String> = words.into_iter().map(dash).collect();
            let to = match room {
                Some(room) => room_name(&room),
                None if text.is_empty() => {
                    complain(
                        "to whom? usage: chatc send ROOM TEXT or chatc send NICK TEXT \
                         (quote #ROOM, since # begins a comment in a shell)",
                    );
                    return Ok(Exit::Usage);
                }
                None => text.remove(0),
            };
            let server = find(server_flags(host, nick, password_file), &settings()?)?;
            let text = (!text.is_empty()).then(|| text.join(" "));
            send::send(&server, &to, text.as_deref(), reply).await
        }
        "history" => {
            let flags::History {
                host,
                nick,
                password_file,
                count,
                before,
                after,
                json,
                in_room,
                room,
            } = read(&["chatc", "history"], rest);
            let room = room.or(in_room);
            let server = find(server_flags(host, nick, password_file), &settings()?)?;
            let part = ask::Part {
                count,
                before,
                after,
            };
            ask::history(&server, room.as_deref(), part, json).await
        }
        "search" => {
            let flags::Search {
                host,
                nick,
                password_file,
                room,
                all,
                json,
                mut words,
            } = read(&["chatc", "search"], rest);
            let room = match room {
                None if words.len() > 1 && !all => first_room(&mut words),
                room => room,
            };
            if words.iter().all(|word| word.trim().is_empty()) {
                complain("which words? usage: chatc search WORDS");
                return Ok(Exit::Usage);
            }
            let server = find(server_flags(host, nick, password_file), &settings()?)?;
            if all && room.is_some() {
                complain("use either --all or --room, not both");
                return Ok(Exit::Usage);
            }
            ask::search(&server, room.as_deref(), all, &words.join(" "), json).await
        }
        "who" => {
            let flags::Who {
                host,
                nick,
                password_file,
                json,
                in_room,
                room,
            } = read(&["chatc", "who"], rest);
            let room = room.or(in_room);
            let server = find(server_flags(host, nick, password_file), &settings()?)?;
            ask::who(&server, room.as_deref(), json).await
        }
        "rooms" => {
            let flags::Rooms {
                host,
                nick,
                password_file,
                json,
            } = read(&["chatc", "rooms"], rest);
            let server = find(server_flags(host, nick, password_file), &settings()?)?;
            ask::rooms(&server, json).await
        }
        "upload" => {
            let mut upload: flags::Upload = read(&["chatc", "upload"], &with_dashes(rest));
            if upload.room.is_none() {
                upload.room = take_room(&mut upload.file);
            }
            if let Some(wrong) = wrong_with(&upload) {
                complain(wrong);
                return Ok(Exit::Usage);
            }
            let server = find(
                server_flags(upload.host, upload.nick, upload.password_file),
                &settings()?,
            )?;
            files::upload(&server, upload.room.as_deref(), &upload.name, &upload.file).await
        }
        "download" => {
            let flags::Download {
                host,
                nick,
                password_file,
                out,
                id,
            } = read(&["chatc", "download"], rest);
            if id.is_empty() {
                complain("which file? usage: chatc download ID (chatc files lists the IDs)");
                return Ok(Exit::Usage);
            }
            let server = find(server_flags(host, nick, password_file), &settings()?)?;
            files::download(&server, &id, out.as_deref()).await
        }
        "files" => {
            let flags::Files {
                host,
                nick,
                password_file,
                room,
                of_room,
            } = read(&["chatc", "files"], rest);
            let room = room.or(of_room);
            let server = find(server_flags(host, nick, password_file), &settings()?)?;
            files::list(&server, room.as_deref()).await
        }
        "run" => {
            let flags::Run {
                host,
                room,
                nick,
                password_file,
                mut command,
            } = read(&["chatc", "run"], rest);
            let room = room.or_else(|| first_room(&mut command));
            if command.is_empty() {
                complain("which command? usage: chatc run -- COMMAND");
                return Ok(Exit::Usage);
            }
            let server = find(server_flags(host, nick, password_file), &settings()?)?;
            let code = run::run(&server, room.as_deref(), &command).await?;
            std::process::exit(code)
        }
        "bot" => {
            let flags::Bot {
                host,
                mut room,
                nick,
                password_file,
                notices,
                mut command,
            } = read(&["chatc", "bot"], rest);
            room.extend(std::iter::from_fn(|| first_room(&mut command)));
            if command.is_empty() {
                complain("which command? usage: chatc bot -- COMMAND");
                return Ok(Exit::Usage);
            }
            let server = find(server_flags(host, nick, password_file), &settings()?)?;
            bot::bot(&server, &room, notices, &command).await
        }
        "servers" => {
            let flags::Servers {} = read(&["chatc", "servers"], rest);
            server::list()
        }
        "completions" => {
            let flags::Completions { shell } = read(&["chatc", "completions"], rest);
            let all = flags::all();
            show(&match &shell[..] {
                "bash" => argh_complete::bash::Bash::generate("chatc", &all),
                "zsh" => argh_complete::zsh::Zsh::generate("chatc", &all),
                "fish" => argh_complete::fish::Fish::generate("chatc", &all),
                "nushell" => argh_complete::nushell::Nushell::generate("chatc", &all),
                _ => {
                    complain("unknown shell: completions exist for bash, zsh, fish and nushell");
                    return Ok(Exit::Usage);
                }
            })
        }
        "manual" => {
            let flags::Manual {} = read(&["chatc", "manual"], rest);
            show(&manual::page(&flags::all()))
        }
        _ => {
            let meant = words::near(word);
            if let (Some(meant), Some(next)) = (meant, rest.first())
                && !next.starts_with('-')
            {
                complain(format_args!(
                    "unknown command {word}; did you mean {meant}? chatc --help lists the commands"
                ));
                return Ok(Exit::Usage);
            }
            let done = chat(read(&["chatc"], args), place).await;
            if let (Some(meant), Err(Failure::Client(Error::Connect { .. }))) = (meant, &done) {
                complain(format_args!(
                    "{word} was read as the name of a server; did you mean chatc {meant}?"
                ));
            }
            done
        }
    }
}

async fn chat(chat: flags::Chat, place: &Place) -> Result<Exit, Failure> {
    if chat.version {
        show(concat!("chatc ", env!("CARGO_PKG_VERSION"), "\n"));
    }
    let settings = place.settings()?;
    let flags = ServerFlags {
        host: chat.host,
        nick: chat.nick.clone(),
        password_file: chat.password_file,
        ask_password: chat.ask_password,
    };
    let mut server = place.server(flags, &settings)?;
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let is_plain = chat.plain || settings.plain.unwrap_or(false) || !screen::is_able();
    let room = chat.room.as_deref();
    if is_terminal && !chat.raw {
        let talk = async |server: &Server| {
            if is_plain {
                plain::talk(server, room).await
            } else {
                screen::talk(server, room, &place.home, &settings).await
            }
        };
        let talked = talk(&server).await;
        if !lacks_server_password(&server, &talked) {
            return talked;
        }
        server.prompt_for_server_password()?;
        return talk(&server).await;
    }
    if chat.raw {
        let nick = chat.nick.as_deref();
        let log_in = |mut client: Client| async move {
            match (nick, room) {
                (Some(nick), Some(room)) => drop(client.enter(nick, room).await?),
                (Some(nick), None) => drop(client.nick(nick).await?),
                (None, Some(room)) => drop(client.join(room).await?),
                (None, None) => {}
            }
            Ok(client)
        };
        return pipe::raw(server.connect_with(log_in).await?).await;
    }
    pipe::talk(&server, room).await
}

/// Returns whether the request failed because the server has a password and none was given.
fn lacks_server_password<T>(server: &Server, result: &Result<T, Failure>) -> bool {
    let refusal = match result {
        Err(Failure::Client(error)) => error.refusal(),
        _ => None,
    };
    server.server_password.is_none() && refusal == Some(Code::NeedPassword)
}

/// Replaces each lone `-`, which argh treats as a flag.
fn with_dashes<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let dash = |arg: &&'a str| if *arg == "-" { DASH } else { arg };
    args.iter().map(dash).collect()
}

/// Takes the room out of words that begin with it.
fn first_room(words: &mut Vec<String>) -> Option<String> {
    let first = words.first()?;
    (first.len() > 1 && first.starts_with('#')).then(|| words.remove(0))
}

/// Takes the room out of the words of `chatc upload`: a word that begins with `#` and is not a file.
fn take_room(files: &mut Vec<std::path::PathBuf>) -> Option<String> {
    let is_room = |file: &std::path::PathBuf| {
        file.to_str().is_some_and(|name| name.starts_with('#')) && !file.exists()
    };
    let at = files.iter().position(is_room)?;
    files.remove(at).into_os_string().into_string().ok()
}

/// Checks the files to upload before connecting.
fn wrong_with(upload: &flags::Upload) -> Option<&'static str> {
    let is_stdin = |file: &&std::path::PathBuf| *file == Path::new("-");
    match upload.file.iter().filter(is_stdin).count() {
        _ if upload.file.is_empty() => Some("which file? usage: chatc upload FILE"),
        0 | 1 => None,
        _ => Some("- (standard input) can be given only once"),
    }
}

/// Parses the flags. On `--help` or an error, prints the text and exits.
fn read<T: FromArgs>(command: &[&str], args: &[&str]) -> T {
    T::from_args(command, args).unwrap_or_else(|early| match early.status {
        Ok(()) => show(&early.output),
        Err(()) => {
            let words: Vec<&str> = early.output.split_whitespace().collect();
            complain(format_args!(
                "{}; see {} --help",
                words.join(" "),
                command.join(" ")
            ));
            leave(Exit::Usage)
        }
    })
}

/// Prints a text and exits. A reader that closes the pipe early is not an error.
fn show(text: &str) -> ! {
    let _ = io::stdout().write_all(text.as_bytes());
    leave(Exit::Success)
}

/// Exits at once, without waiting for threads, because one may be blocked on standard input.
fn leave(exit: Exit) -> ! {
    std::process::exit(exit as i32)
}
