//! `chatc` in a pipe: lines in are said, events come out; or, raw, the protocol itself both ways.
//!
//! Sending and reading go on at the same time, each at the other end's pace, so nothing piles up here. Standard
//! input and output are read and written on threads of their own, since they may be files or terminals.

use std::cell::Cell;
use std::io::{self, IsTerminal};

use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt};
use jiff::Timestamp;
use smol::Unblock;

use super::cutter::Cutter;
use super::{Exit, Failure, Wording, complain, input, write_all};
use crate::client::{Client, Error, Line, Receiver, Sender};
use crate::protocol::ServerLine;
use crate::protocol::text::clean;

/// What is read from standard input, and sent, at once.
const PIECE_BYTES: usize = 64 * 1024;

type Output = Unblock<io::Stdout>;

/// Says each line of standard input in the current room, and writes what happens to standard output, until the
/// input has ended and every line has its reply.
///
/// # Errors
/// [`Failure::Client`] when the server ends it before; [`Failure::Input`], [`Failure::Output`].
pub async fn talk(client: Client, wording: Wording) -> Result<Exit, Failure> {
    let (sender, receiver) = client.split();
    let (asked, is_all) = (Cell::new(0), Cell::new(false));
    let mut cutter = Cutter::default();
    let say = |input: &[u8], lines: &mut Vec<u8>| {
        let count = match input {
            [] => cutter.finish(lines),
            _ => cutter.push(input, lines),
        };
        asked.set(asked.get() + count);
    };
    let listen = listen(receiver, wording, &asked, &is_all);
    feed(sender, say, &is_all).or(listen).await
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

async fn listen(
    mut receiver: Receiver,
    mut wording: Wording,
    asked: &Cell<u64>,
    is_all: &Cell<bool>,
) -> Result<Exit, Failure> {
    let mut output = Unblock::with_capacity(PIECE_BYTES, io::stdout());
    let (mut answered, mut exit) = (0, Exit::Well);
    let mut last = Ok(());
    while let Some(line) = next(&mut receiver, &mut output, &mut last).await? {
        let line = clean(line.as_str());
        match ServerLine::parse(&line) {
            ServerLine::Ok { .. } => answered += 1,
            ServerLine::Err { code, text, .. } => {
                answered += 1;
                exit = Exit::Refused;
                let code = code.map_or("refused", |code| code.word());
                complain(format_args!("{text} ({code})"));
            }
            ServerLine::Closed { code, text } => {
                let text = text.to_owned();
                last = Err(Error::Closed { code, text });
            }
            line => {
                if let Some(mut shown) = wording.show(&line, Timestamp::now()) {
                    shown.push('\n');
                    write(&mut output, shown.as_bytes()).await?;
                }
            }
        }
    }
    last?;
    match is_all.get() && answered == asked.get() {
        true => Ok(exit),
        false => Err(ended_early(
            "the server ended it before everything was answered",
        )),
    }
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
    output: &mut Output,
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
    output: &mut Output,
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

async fn write(output: &mut Output, bytes: &[u8]) -> Result<(), Failure> {
    write_all(output, bytes).await.map_err(Failure::Output)
}

fn ended_early(why: &'static str) -> Failure {
    Error::Lost(io::Error::new(io::ErrorKind::UnexpectedEof, why)).into()
}
