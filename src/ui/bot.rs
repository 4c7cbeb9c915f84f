//! `chatc bot`: runs another program, which reads events and answers them.

use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use async_io::Async;
use futures_lite::future::or;
use futures_lite::io::BufReader;
use futures_lite::{AsyncBufReadExt, AsyncWriteExt, StreamExt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smol::Timer;
use smol::process::{Child, Command};

use super::failure::{Exit, Failure, complain};
use super::profile::random_password;
use super::server::Server;
use super::shorthand::room_name;
use crate::client::{Error, Login, Message, Options, ReconnectingClient, Update};
use crate::protocol::tags;
use crate::protocol::text::clean;

/// The maximum number of bytes of events that wait until the bot reads them. Further events stay on the server.
const WAITING_BYTES_MAX: usize = 64 * 1024;

/// The time after which a running bot counts as stable: the pause before its next restart is then the shortest again.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// The longest pause before a bot is restarted.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Describes how a command ended.
pub(super) fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(0), _) => "is done".to_owned(),
        (Some(code), _) => format!("failed with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// Formats the time that a command took.
pub(super) fn took(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Runs a bot: a child process that reads events from its input and writes requests to its output, one per line. Its
/// messages are marked as notices. It reads the notices of other programs only if `reads_notices`. If it ends, it is
/// restarted. If the connection breaks, chatc reconnects without a gap. Returns when the server refuses the bot.
///
/// # Errors
/// If the first connection fails, or the bot cannot be started.
pub async fn bot(
    server: &Server,
    rooms: &[String],
    reads_notices: bool,
    command: &[String],
) -> Result<Exit, Failure> {
    let rooms = rooms.iter().map(|room| (room_name(room), None));
    let options = server.options(rooms.collect());
    let options = Options {
        login: options.login.map(|login| Login {
            password: Some(login.password.unwrap_or_else(random_password)),
            ..login
        }),
        is_bot: true,
        reads_notices,
        ..options
    };
    let mut client = ReconnectingClient::new(server.addresses.clone(), options);
    // The bot is started when the first connection has been made.
    loop {
        match client.next().await {
            Some(Update::Ended(error)) => return Err(error.into()),
            Some(Update::Connected { .. }) => break,
            Some(_) => {}
            None => return Ok(Exit::Success),
        }
    }
    let mut pause = Duration::from_millis(500);
    let mut waiting = Vec::new();
    loop {
        let began = Instant::now();
        let ended = serve(&mut client, &mut waiting, command).await?;
        let Some(status) = ended else {
            return Ok(Exit::Success);
        };
        if began.elapsed() > STABLE_AFTER {
            pause = Duration::from_millis(500);
        }
        complain(format_args!(
            "the bot {}; restarting it in {}",
            how(status),
            took(pause)
        ));
        Timer::after(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

enum Next {
    Update(Option<Update>),
    Said(Option<io::Result<String>>),
    Written(io::Result<usize>),
}

/// A pipe to the child's standard input. The reading end is open here too, so that this process can take back what
/// the child had not read when it ended.
struct ChildInput {
    pipe: Async<File>,
    unread: PipeReader,
    /// The last bytes that were written: at least as many as the pipe can hold.
    written: Vec<u8>,
}

impl ChildInput {
    /// Creates a pipe. Also returns its reading end for the child.
    fn new() -> io::Result<(Self, PipeReader)> {
        let (reader, writer) = io::pipe()?;
        let unread = reader.try_clone()?;
        let pipe = Async::new(File::from(OwnedFd::from(writer)))?;
        let written = Vec::new();
        Ok((
            Self {
                pipe,
                unread,
                written,
            },
            reader,
        ))
    }

    /// Records what was written.
    fn wrote(&mut self, bytes: &[u8]) {
        self.written.extend_from_slice(bytes);
        let more = self.written.len().saturating_sub(4 * WAITING_BYTES_MAX);
        self.written.drain(..more);
    }

    /// Returns the lines that the child has not read completely.
    fn take_back(mut self) -> io::Result<Vec<u8>> {
        let mut left = 0;
        let mut piece = vec![0; WAITING_BYTES_MAX];
        loop {
            let now = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            if poll(&mut [PollFd::new(&self.unread, PollFlags::IN)], Some(&now))? == 0 {
                break;
            }
            match self.unread.read(&mut piece)? {
                0 => break,
                length => left += length,
            }
        }
        let at = self.written.len().saturating_sub(left);
        let read = self.written.get(..at).unwrap_or_default();
        let start = memchr::memrchr(b'\n', read).map_or(0, |at| at + 1);
        Ok(self.written.split_off(start))
    }
}

/// Serves one child until it ends. Returns `None` if the client has ended. `waiting` contains the lines that no child
/// has read yet; lines that this child leaves unread are put back into it.
async fn serve(
    client: &mut ReconnectingClient,
    waiting: &mut Vec<u8>,
    command: &[String],
) -> Result<Option<ExitStatus>, Failure> {
    let (program, args) = command.split_first().ok_or(Failure::Impossible(
        "which command? usage: chatc bot -- COMMAND",
    ))?;
    let (mut feed, input) = ChildInput::new().map_err(Failure::Input)?;
    let mut child: Child = Command::new(program)
        .args(args)
        .stdin(input)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(Failure::file("start", std::path::Path::new(program)))?;
    let gone = || Failure::Input(io::ErrorKind::BrokenPipe.into());
    let mut from = BufReader::new(child.stdout.take().ok_or_else(gone)?).lines();
    // The room of the bot's last `JOIN`, which may not have been answered yet, or may have been refused.
    let mut current = None;
    loop {
        let next = {
            let update = async {
                if waiting.len() < WAITING_BYTES_MAX {
                    Next::Update(client.next().await)
                } else {
                    std::future::pending().await
                }
            };
            let output = async { Next::Said(from.next().await) };
            let write = async {
                if waiting.is_empty() {
                    std::future::pending().await
                } else {
                    Next::Written(feed.pipe.write(waiting).await)
                }
            };
            or(output, or(write, update)).await
        };
        match next {
            Next::Update(None) => return Ok(None),
            Next::Update(Some(update)) => {
                if let Update::Ended(error) = update {
                    return Err(error.into());
                }
                if let Some(lines) = lines_of(&update) {
                    waiting.extend_from_slice(lines.as_bytes());
                }
            }
            Next::Written(Ok(length)) => {
                let written: Vec<u8> = waiting.drain(..length).collect();
                feed.wrote(&written);
            }
            Next::Written(Err(error)) => return Err(Failure::Output(error)),
            Next::Said(Some(Ok(line))) => {
                if let Err(error) = send(client, &mut current, line.trim_end()) {
                    complain(format_args!("{error}: {}", clean(&line)));
                }
            }
            Next::Said(Some(Err(_)) | None) => break,
        }
    }
    let status = child.status().await.map_err(Failure::Input)?;
    let unread = feed.take_back().map_err(Failure::Input)?;
    waiting.splice(..0, unread);
    Ok(Some(status))
}

/// Returns the protocol lines that the bot reads for an update.
fn lines_of(update: &Update) -> Option<String> {
    Some(match update {
        Update::Event { event, .. } => format!("{event}\n"),
        Update::Gap { place } => format!("GAP {place}\n"),
        Update::Answer {
            result: Ok(reply), ..
        } => {
            let mut lines: String = reply
                .lines
                .iter()
                .map(|line| format!("{}\n", line.as_str()))
                .collect();
            lines.push_str(format!("OK {}", reply.rest).trim_end());
            lines.push('\n');
            lines
        }
        Update::Answer {
            result: Err(Error::Refused { verb, code, text }),
            ..
        } => {
            let code = code.map_or("refused", |code| code.word());
            complain(format_args!("{text} ({code})"));
            format!("ERR {verb} {code} {text}\n")
        }
        _ => return None,
    })
}

/// Sends a request of the bot, which is a line of the protocol. `MSG` and `ME` go to `current`, the room that the bot
/// joined last.
fn send(
    client: &mut ReconnectingClient,
    current: &mut Option<String>,
    line: &str,
) -> Result<(), Failure> {
    let (tags, command) = tags::split(line);
    let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
    let message = |text: &str, is_action: bool| Message::with_tags(tags, text, is_action);
    let joined = |client: &ReconnectingClient| -> Vec<String> {
        client.rooms().map(|(room, _)| room.to_owned()).collect()
    };
    let room = |client: &ReconnectingClient| {
        let room = current.clone().or_else(|| joined(client).pop());
        room.ok_or(Failure::Impossible("the bot is in no room"))
    };
    match verb.to_ascii_uppercase().as_str() {
        "" => return Ok(()),
        "MSG" => drop(client.send(&room(client)?, message(rest, false)?)?),
        "ME" => drop(client.send(&room(client)?, message(rest, true)?)?),
        "TELL" => {
            let usage = Failure::Impossible("usage: TELL ROOM-OR-NICK TEXT");
            let (to, text) = rest.split_once(' ').ok_or(usage)?;
            client.send(to, message(text, false)?)?;
        }
        "JOIN" => {
            client.join(rest)?;
            *current = Some(room_name(rest));
        }
        "PART" => {
            client.part(rest)?;
            let left = room_name(rest);
            *current = joined(client).into_iter().rfind(|room| *room != left);
        }
        "NICK" => drop(client.rename(rest)?),
        "BYE" | "QUIT" => client.leave(rest),
        "UPLOAD" | "DOWNLOAD" | "TEXT" | "CHAT" | "RAW" | "STAMPS" | "TAGS" | "STAY" => {
            return Err(Failure::Impossible(
                "chatc bot does not support this command",
            ));
        }
        _ => drop(client.request(line)?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_formatted_for_people() {
        let read = |seconds| took(Duration::from_secs_f64(seconds));
        assert_eq!(
            [0.25, 9.96, 42.0, 61.0, 3661.0].map(read),
            ["0.2 s", "10.0 s", "42 s", "1 min 1 s", "1 h 1 min"]
        );
    }
}
