//! `chatc` in a pipe: lines in are said, events come out; or, raw, the protocol itself both ways.
//!
//! Sending and reading go on at the same time, each at the other end's pace, so nothing piles up here. Standard
//! input and output are read and written on threads of their own, since they may be files or terminals.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use futures_lite::future::poll_once;
use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use jiff::Timestamp;
use smol::Unblock;

use super::ask::with_hash;
use super::cutter::Cutter;
use super::print::Output;
use super::server::Server;
use super::{Exit, Failure, Wording, complain, input, write_all};
use crate::client::{Chat, Client, Error, Line, Receiver, Sender, Update};
use crate::protocol::ServerLine;
use crate::protocol::text::clean;

/// What is read from standard input, and sent, at once.
const PIECE_BYTES: usize = 64 * 1024;

type Stdout = Unblock<io::Stdout>;

/// How long it is tried to reach a server that has gone, once the input has ended: a restart takes less.
const SAY_WITHIN: Duration = Duration::from_secs(60);

/// Says each line of standard input in `room`, or in the lobby, and writes what happens to standard output, until the
/// input has ended and every line has its reply. A connection that breaks is made again; meanwhile no input is read
/// once enough of it waits, so that nothing is lost and whoever writes it waits too.
///
/// # Errors
/// [`Failure::Client`] when the first connection fails, the server sends one away, or does not come back;
/// [`Failure::Input`], [`Failure::Output`].
pub async fn talk(server: &Server, room: Option<&str>) -> Result<Exit, Failure> {
    let rooms = room.map(|room| (with_hash(room), None));
    let mut talk = Talk {
        chat: Chat::new(
            server.address.clone(),
            server.wants(rooms.into_iter().collect()),
        ),
        room: None,
        wording: Wording::new(String::new(), None),
        waiting: VecDeque::new(),
        is_all: false,
        away_since: None,
        exit: Exit::Well,
        output: Output::new(),
    };
    let mut input = input(PIECE_BYTES);
    let (mut piece, mut cutter) = (vec![0; PIECE_BYTES], Cutter::default());
    loop {
        talk.say()?;
        if let Some(update) = poll_once(talk.chat.next()).await {
            match talk.heard(update).await? {
                Some(exit) => return Ok(exit),
                None => continue,
            }
        }
        talk.output.flush().await?;
        let reads = talk.room.is_some() && talk.waiting.is_empty() && !talk.is_all;
        let read = async {
            match reads {
                true => Next::Read(input.read(&mut piece).await),
                false => std::future::pending().await,
            }
        };
        let update = async { Next::Update(talk.chat.next().await) };
        match update.or(read).await {
            Next::Update(update) => {
                if let Some(exit) = talk.heard(update).await? {
                    return Ok(exit);
                }
            }
            Next::Read(length) => {
                let length = length.map_err(Failure::Input)?;
                cutter.limit(talk.room.as_ref().map_or(0, String::len));
                let mut lines = Vec::new();
                match piece.get(..length) {
                    Some(bytes @ [_, ..]) => cutter.push(bytes, &mut lines),
                    _ => {
                        talk.is_all = true;
                        cutter.finish(&mut lines)
                    }
                };
                let lines = String::from_utf8_lossy(&lines).into_owned();
                let texts = lines.lines().filter_map(|line| line.strip_prefix("MSG "));
                talk.waiting.extend(texts.map(str::to_owned));
            }
        }
    }
}

enum Next {
    Update(Option<Update>),
    Read(io::Result<usize>),
}

/// A pipe's side of a conversation.
struct Talk {
    chat: Chat,
    /// Where it is said; known once one is in.
    room: Option<String>,
    wording: Wording,
    /// What was read and is not handed over.
    waiting: VecDeque<String>,
    /// The input has ended.
    is_all: bool,
    away_since: Option<Instant>,
    exit: Exit,
    output: Output,
}

impl Talk {
    /// Hands over as much of what waits as is taken; says goodbye after the last.
    fn say(&mut self) -> Result<(), Failure> {
        let Some(room) = &self.room else {
            return Ok(());
        };
        while !self.chat.is_full()
            && let Some(text) = self.waiting.pop_front()
        {
            self.chat.say(room, text)?;
        }
        if self.is_all && self.waiting.is_empty() {
            self.chat.leave("");
        }
        Ok(())
    }

    /// Takes in what the chat tells; gives the exit code when it is over.
    async fn heard(&mut self, update: Option<Update>) -> Result<Option<Exit>, Failure> {
        match update {
            None => {
                self.output.flush().await?;
                return Ok(Some(self.exit));
            }
            Some(Update::Over(error)) => {
                self.output.flush().await?;
                return Err(error.into());
            }
            Some(Update::KeptOut { error, .. }) if self.room.is_none() => return Err(error.into()),
            Some(Update::KeptOut { room, error, .. }) => complain(format_args!("{room}: {error}")),
            Some(Update::Here { nick, is_again }) => {
                self.away_since = None;
                if is_again {
                    complain("connected again");
                }
                let room = self.chat.rooms().last().map(|(room, _)| room.to_owned());
                self.wording = Wording::new(nick.unwrap_or_default(), room.clone());
                self.room = self.room.take().or(room);
            }
            Some(Update::Away { why, .. }) => {
                let is_first = self.away_since.is_none();
                let since = *self.away_since.get_or_insert_with(Instant::now);
                if self.is_all && since.elapsed() > SAY_WITHIN {
                    return Err(why.into());
                }
                if is_first {
                    complain(format_args!("{why}; trying again"));
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
            }) => self.show(&ServerLine::Live { id, time, event }).await?,
            Some(Update::Gap { place }) => self.show(&ServerLine::Gap { place: &place }).await?,
            Some(_) => {}
        }
        Ok(None)
    }

    async fn show(&mut self, line: &ServerLine<'_>) -> Result<(), Failure> {
        match self.wording.show(line, Timestamp::now()) {
            Some(shown) => self.output.write(&format!("{}\n", clean(&shown))).await,
            None => Ok(()),
        }
    }
}

/// Sends standard input to the server as it is, and writes what the server sends to standard output.
///
/// # Errors
/// As [`talk`].
pub async fn raw(client: Client) -> Result<Exit, Failure> {
    let (sender, receiver) = client.split();
    let is_all = Cell::new(false);
    let pass = |input: &[u8], out: &mut Vec<u8>| out.extend_from_slice(input);
    let listen = listen_raw(receiver, &is_all);
    feed(sender, pass, &is_all).or(listen).await
}

/// Sends what `cut` makes of standard input, whose end is an empty piece; then says that this is all, here and to
/// the server. Never ends but by a failure: who listens knows when it is over.
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
            // Why is in what the server sent last.
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
    let mut exit = Exit::Well;
    let mut last = Ok(());
    while let Some(line) = next(&mut receiver, &mut output, &mut last).await? {
        let shown = match on_terminal {
            true => clean(line.as_str()),
            false => line.as_str().into(),
        };
        write(&mut output, format!("{shown}\n").as_bytes()).await?;
        match line.read() {
            ServerLine::Err { .. } => exit = Exit::Refused,
            // In talker mode a goodbye is no line of the protocol, so any end may be one.
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
    match is_all.get() {
        true => Ok(exit),
        false => Err(ended_early("the server ended it")),
    }
}

/// Passes the bytes of a download on. A terminal would obey them, so it gets none.
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
            return Err(ended_early("the server ended it in the middle of a file"));
        }
        if !on_terminal {
            write(output, piece.get(..taken).unwrap_or_default()).await?;
        }
        left -= taken as u64;
    }
    Ok(())
}

/// The next line; before waiting for one, what was written so far goes out. After the server has said why it
/// ends the connection (`last`), a reset is as good an end as any.
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
