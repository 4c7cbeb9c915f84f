//! `chatc` in a pipe: input lines become messages, and events become output lines. With `--raw`, both are lines of
//! the protocol.
//!
//! Sending and reading run at the same time, each at the speed of its other end, so nothing accumulates here.
//! Standard input and output have threads of their own, because they may be files or terminals.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use futures_lite::future::poll_once;
use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use jiff::Timestamp;
use smol::Unblock;

use super::failure::{Exit, Failure, complain};
use super::line_splitter::LineSplitter;
use super::print::Output;
use super::renderer::Renderer;
use super::server::Server;
use super::shorthand::room_name;
use super::stdio::{input, text_input, write_all};
use crate::client::{Client, Error, Line, Receiver, ReconnectingClient, Sender, Update};
use crate::protocol::ServerLine;
use crate::protocol::text::clean;

/// The number of bytes that are read from standard input at once.
const PIECE_BYTES: usize = 64 * 1024;

type Stdout = Unblock<io::Stdout>;

/// How long chatc tries to reconnect after the input has ended. A restart of the server takes less.
const SEND_WITHIN: Duration = Duration::from_secs(60);

/// Sends each line of standard input to `room`, or to the lobby, and writes what happens there to standard output.
/// Returns when the input has ended and every line has been answered. If the connection breaks, chatc reconnects.
/// Meanwhile, it reads only as much input as it can hold: nothing is lost, and the writer of the pipe waits.
///
/// # Errors
/// [`Failure::Client`] if the first connection fails, if the server refuses the client, or if it cannot be reached
/// again; [`Failure::Input`], [`Failure::Output`].
pub async fn talk(server: &Server, room: Option<&str>) -> Result<Exit, Failure> {
    let rooms = room.map(|room| (room_name(room), None));
    let mut talk = PipeClient {
        client: ReconnectingClient::new(
            server.addresses.clone(),
            server.options(rooms.into_iter().collect()),
        ),
        room: None,
        renderer: Renderer::new(String::new(), None),
        waiting: VecDeque::new(),
        is_all: false,
        offline_since: None,
        exit: Exit::Success,
        output: Output::new(),
    };
    let mut input = text_input(PIECE_BYTES);
    let (mut piece, mut splitter) = (vec![0; PIECE_BYTES], LineSplitter::default());
    loop {
        talk.send()?;
        if let Some(update) = poll_once(talk.client.next()).await {
            match talk.process(update).await? {
                Some(exit) => return Ok(exit),
                None => continue,
            }
        }
        talk.output.flush().await?;
        let reads = talk.room.is_some() && talk.waiting.is_empty() && !talk.is_all;
        let read = async {
            if reads {
                Next::Read(input.read(&mut piece).await)
            } else {
                std::future::pending().await
            }
        };
        let update = async { Next::Update(talk.client.next().await) };
        match update.or(read).await {
            Next::Update(update) => {
                if let Some(exit) = talk.process(update).await? {
                    return Ok(exit);
                }
            }
            Next::Read(length) => {
                let length = length.map_err(Failure::Input)?;
                splitter.limit(talk.room.as_ref().map_or(0, String::len));
                match piece.get(..length) {
                    Some(bytes @ [_, ..]) => splitter.push(bytes, &mut talk.waiting),
                    _ => {
                        talk.is_all = true;
                        splitter.finish(&mut talk.waiting);
                    }
                }
            }
        }
    }
}

enum Next {
    Update(Option<Update>),
    Read(io::Result<usize>),
}

/// The state of `chatc` in a pipe.
struct PipeClient {
    client: ReconnectingClient,
    /// The room that receives the lines; `None` until it has been joined.
    room: Option<String>,
    renderer: Renderer,
    /// The lines that were read but not passed to the client yet.
    waiting: VecDeque<String>,
    /// Whether the input has ended.
    is_all: bool,
    offline_since: Option<Instant>,
    exit: Exit,
    output: Output,
}

impl PipeClient {
    /// Passes waiting lines to the client until it accepts no more. Disconnects after the last line.
    fn send(&mut self) -> Result<(), Failure> {
        let Some(room) = &self.room else {
            return Ok(());
        };
        while !self.client.is_full()
            && let Some(text) = self.waiting.pop_front()
        {
            self.client.say(room, text)?;
        }
        if self.is_all && self.waiting.is_empty() {
            self.client.leave("");
        }
        Ok(())
    }

    /// Processes an update. Returns the exit code if the program must end.
    async fn process(&mut self, update: Option<Update>) -> Result<Option<Exit>, Failure> {
        match update {
            None => {
                self.output.flush().await?;
                return Ok(Some(self.exit));
            }
            Some(Update::Ended(error)) => {
                self.output.flush().await?;
                return Err(error.into());
            }
            Some(Update::JoinFailed { error, .. }) if self.room.is_none() => {
                return Err(error.into());
            }
            Some(Update::JoinFailed { room, error, .. }) => {
                complain(format_args!("{room}: {error}"))
            }
            Some(Update::Connected { nick, is_reconnect }) => {
                self.offline_since = None;
                if is_reconnect {
                    complain("connected again");
                }
                let room = self.client.rooms().last().map(|(room, _)| room.to_owned());
                self.renderer = Renderer::new(nick.unwrap_or_default(), room.clone());
                self.room = self.room.take().or(room);
            }
            Some(Update::Disconnected { error, .. }) => {
                let is_first = self.offline_since.is_none();
                let since = *self.offline_since.get_or_insert_with(Instant::now);
                if self.is_all && since.elapsed() > SEND_WITHIN {
                    return Err(error.into());
                }
                if is_first {
                    complain(format_args!("{error}; trying again"));
                }
            }
            Some(Update::Answer {
                result: Err(error), ..
            }) => {
                self.exit = Exit::Refused;
                complain(error);
            }
            Some(Update::Event {
                id, time, event, ..
            }) => {
                let tags = "";
                let line = ServerLine::Live {
                    id,
                    time,
                    tags,
                    event,
                };
                self.show(&line).await?;
            }
            Some(Update::Gap { place }) => self.show(&ServerLine::Gap { place: &place }).await?,
            Some(_) => {}
        }
        Ok(None)
    }

    async fn show(&mut self, line: &ServerLine<'_>) -> Result<(), Failure> {
        match self.renderer.show(line, Timestamp::now()) {
            Some(shown) => self.output.write(&format!("{}\n", clean(&shown))).await,
            None => Ok(()),
        }
    }
}

/// Sends standard input to the server unchanged, and writes what the server sends to standard output.
///
/// # Errors
/// Those of [`talk`].
pub async fn raw(client: Client) -> Result<Exit, Failure> {
    let (sender, receiver) = client.split();
    let is_all = Cell::new(false);
    let pass = |input: &[u8], out: &mut Vec<u8>| out.extend_from_slice(input);
    let listen = listen_raw(receiver, &is_all);
    feed(sender, pass, &is_all).or(listen).await
}

/// Sends standard input, transformed by `cut`, and then ends the sending direction. At the end of the input, `cut` gets
/// an empty slice. Returns only after a failure, because the receiving side decides when to end.
async fn feed(
    mut sender: Sender,
    mut cut: impl FnMut(&[u8], &mut Vec<u8>),
    is_all: &Cell<bool>,
) -> Result<Exit, Failure> {
    let mut input = input(PIECE_BYTES);
    let (mut piece, mut out) = (vec![0; PIECE_BYTES], Vec::new());
    loop {
        let length = input.read(&mut piece).await.map_err(Failure::Input)?;
        cut(piece.get(..length).unwrap_or_default(), &mut out);
        if sender.write(&out).await.is_err() {
            // The last lines from the server give the reason.
            return std::future::pending().await;
        }
        out.clear();
        if length == 0 {
            break;
        }
    }
    is_all.set(true);
    let _ = sender.end().await;
    std::future::pending().await
}

async fn listen_raw(mut receiver: Receiver, is_all: &Cell<bool>) -> Result<Exit, Failure> {
    let on_terminal = io::stdout().is_terminal();
    let mut output = Unblock::with_capacity(PIECE_BYTES, io::stdout());
    let mut exit = Exit::Success;
    let mut last = Ok(());
    while let Some(line) = next(&mut receiver, &mut output, &mut last).await? {
        let shown = if on_terminal {
            clean(line.as_str())
        } else {
            line.as_str().into()
        };
        write(&mut output, format!("{shown}\n").as_bytes()).await?;
        match line.read() {
            ServerLine::Err { .. } => exit = Exit::Refused,
            // In talker mode, the goodbye is not a line of the protocol, so any end counts as success.
            ServerLine::Ok {
                verb: "BYE" | "QUIT" | "CHAT",
                ..
            } => is_all.set(true),
            ServerLine::Closed { code, text } => {
                let text = text.to_owned();
                last = Err(Error::Closed { code, text });
            }
            ServerLine::Data { length, .. } => {
                pass_file(&mut receiver, &mut output, length, on_terminal).await?;
            }
            _ => {}
        }
    }
    last?;
    if is_all.get() {
        Ok(exit)
    } else {
        Err(ended_early("the server closed the connection"))
    }
}

/// Writes the bytes of a download, but not to a terminal, which might interpret them.
async fn pass_file(
    receiver: &mut Receiver,
    output: &mut Stdout,
    length: u64,
    on_terminal: bool,
) -> Result<(), Failure> {
    if on_terminal {
        complain(format_args!(
            "{length} bytes of a file are not shown on a terminal"
        ));
    }
    let (mut left, mut piece) = (length, vec![0; PIECE_BYTES]);
    while left > 0 {
        let space = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let taken = receiver
            .bytes(piece.get_mut(..space).unwrap_or_default())
            .await?;
        if taken == 0 {
            return Err(ended_early(
                "the server closed the connection in the middle of a file",
            ));
        }
        if !on_terminal {
            write(output, piece.get(..taken).unwrap_or_default()).await?;
        }
        left -= taken as u64;
    }
    Ok(())
}

/// Receives the next line, and flushes the output before it waits. If `last` is an error, the server has sent `CLOSED`,
/// and a reset then counts as a normal end.
async fn next(
    receiver: &mut Receiver,
    output: &mut Stdout,
    last: &mut Result<(), Error>,
) -> Result<Option<Line>, Failure> {
    if !receiver.has_line() {
        output.flush().await.map_err(Failure::Output)?;
    }
    match receiver.line().await {
        Err(Error::Lost(_)) if last.is_err() => Ok(None),
        line => Ok(line?),
    }
}

async fn write(output: &mut Stdout, bytes: &[u8]) -> Result<(), Failure> {
    write_all(output, bytes).await.map_err(Failure::Output)
}

fn ended_early(why: &'static str) -> Failure {
    Error::Lost(io::Error::new(io::ErrorKind::UnexpectedEof, why)).into()
}
