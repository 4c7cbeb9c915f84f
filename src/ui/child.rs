//! `chatc bot`: another program, that answers what is said.

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

use super::ask::with_hash;
use super::home::any_secret;
use super::server::Server;
use super::{Exit, Failure, complain};
use crate::client::{Chat, Error, Update, Wants};
use crate::protocol::text::clean;

/// The most bytes of events that wait for a bot to read them; then no more are taken from the server, which keeps
/// them.
const WAITING_BYTES_MAX: usize = 64 * 1024;

/// How long a bot has to have lived for its end to be no habit.
const LIVED: Duration = Duration::from_secs(10);

/// The longest pause before a bot is started again.
const PAUSE_MAX: Duration = Duration::from_secs(30);

pub(super) fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(0), _) => "is done".to_owned(),
        (Some(code), _) => format!("failed with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

pub(super) fn took(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Runs a bot: one child, which reads events on its input, a line each, and says requests on its output. One that ends
/// is started again; a connection that breaks is made again without a gap. Runs until the server refuses it.
///
/// # Errors
/// When the first connection fails or the bot cannot be started.
pub async fn bot(server: &Server, rooms: &[String], command: &[String]) -> Result<Exit, Failure> {
    let rooms = rooms.iter().map(|room| (with_hash(room), None));
    let wants = server.wants(rooms.collect());
    let wants = Wants {
        password: Some(wants.password.unwrap_or_else(any_secret)),
        ..wants
    };
    let mut chat = Chat::new(server.address.clone(), wants);
    // Nothing is started for a server that is not there.
    loop {
        match chat.next().await {
            Some(Update::Over(error)) => return Err(error.into()),
            Some(Update::Here { .. }) => break,
            Some(_) => {}
            None => return Ok(Exit::Well),
        }
    }
    let mut pause = Duration::from_millis(500);
    let mut waiting = Vec::new();
    loop {
        let began = Instant::now();
        let ended = serve(&mut chat, &mut waiting, command).await?;
        let Some(status) = ended else {
            return Ok(Exit::Well);
        };
        if began.elapsed() > LIVED {
            pause = Duration::from_millis(500);
        }
        complain(format_args!(
            "the bot {}; it is started again in {}",
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

/// What goes to a child's standard input. The reading end is held here too, so that what a child that has died had not
/// read can be had back.
struct Feed {
    pipe: Async<File>,
    unread: PipeReader,
    /// The last that was written: at least what the pipe can hold.
    written: Vec<u8>,
}

impl Feed {
    /// One, and the end that the child reads.
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

    /// Takes note of what was written.
    fn wrote(&mut self, bytes: &[u8]) {
        self.written.extend_from_slice(bytes);
        let more = self.written.len().saturating_sub(4 * WAITING_BYTES_MAX);
        self.written.drain(..more);
    }

    /// The lines that nobody has read to their ends.
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

/// Serves one child until it ends; `None` when the chat does. `waiting` is what no child has read yet.
async fn serve(
    chat: &mut Chat,
    waiting: &mut Vec<u8>,
    command: &[String],
) -> Result<Option<ExitStatus>, Failure> {
    let (program, args) = command
        .split_first()
        .ok_or(Error::Line("which command? write it chatc bot -- COMMAND"))?;
    let (mut feed, input) = Feed::new().map_err(Failure::Input)?;
    let mut child: Child = Command::new(program)
        .args(args)
        .stdin(input)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(Failure::file("start", std::path::Path::new(program)))?;
    let gone = || Failure::Input(io::ErrorKind::BrokenPipe.into());
    let mut from = BufReader::new(child.stdout.take().ok_or_else(gone)?).lines();
    loop {
        let next = {
            let update = async {
                match waiting.len() < WAITING_BYTES_MAX {
                    true => Next::Update(chat.next().await),
                    false => std::future::pending().await,
                }
            };
            let said = async { Next::Said(from.next().await) };
            let write = async {
                match waiting.is_empty() {
                    true => std::future::pending().await,
                    false => Next::Written(feed.pipe.write(waiting).await),
                }
            };
            or(said, or(write, update)).await
        };
        match next {
            Next::Update(None) => return Ok(None),
            Next::Update(Some(update)) => {
                if let Update::Over(error) = update {
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
                if let Err(error) = ask(chat, line.trim_end()) {
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

/// What a bot reads of an update: lines of the protocol.
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

/// Does what a bot says: a line of the protocol. `MSG` and `ME` go to the room that it entered last.
fn ask(chat: &mut Chat, line: &str) -> Result<(), Error> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let current = || chat.rooms().last().map(|(room, _)| room.to_owned());
    let none = || Error::Line("the bot is in no room");
    match verb.to_ascii_uppercase().as_str() {
        "" => return Ok(()),
        "MSG" => {
            let room = current().ok_or_else(none)?;
            chat.say(&room, rest)?;
        }
        "ME" => {
            let room = current().ok_or_else(none)?;
            chat.act(&room, rest)?;
        }
        "TELL" => {
            let (to, text) = rest
                .split_once(' ')
                .ok_or(Error::Line("write it TELL WHO TEXT"))?;
            chat.say(to, text)?;
        }
        "JOIN" => drop(chat.join(rest)?),
        "PART" => drop(chat.part(rest)?),
        "NICK" => drop(chat.rename(rest)?),
        "BYE" | "QUIT" => chat.leave(rest),
        "UPLOAD" | "DOWNLOAD" | "CHAT" | "RAW" | "STAMPS" | "STAY" => {
            return Err(Error::Line("a bot cannot ask that"));
        }
        _ => drop(chat.ask(line)?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_like_times() {
        let read = |seconds| took(Duration::from_secs_f64(seconds));
        assert_eq!(
            [0.25, 9.96, 42.0, 61.0, 3661.0].map(read),
            ["0.2 s", "10.0 s", "42 s", "1 min 1 s", "1 h 1 min"]
        );
    }
}
