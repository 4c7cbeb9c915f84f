//! `chatc run`: a command whose output a room can follow. The command runs whatever the server does.
//!
//! A thread reads what the command prints, shows it and appends it to a file of its own (`Spool`), so the command
//! never waits for the server. One task uploads that file as it grows, and begins anew when its connection breaks;
//! another, a [`Chat`], tells the room how it goes.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IsTerminal, PipeReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use async_signal::{Signal, Signals};
use futures_lite::future::or;
use futures_lite::{AsyncRead, Stream, StreamExt};
use rustix::process::{Pid, getpgrp, kill_process, kill_process_group};
use smol::channel::{Receiver, bounded, unbounded};
use smol::process::{Child, Command};
use smol::{LocalExecutor, Timer};

use super::ask::with_hash;
use super::home::any_secret;
use super::server::Server;
use super::{Failure, complain, enter};
use crate::client::{Chat, Error, Update, plainly};
use crate::protocol::text::clean;

/// How long it is tried to reach the server once the command has ended: a restart takes less.
const REPORT_WITHIN: Duration = Duration::from_secs(60);

/// How long a command that was ended by a signal may leave others behind that still print.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

/// The pause before a connection that failed is tried again; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(250);

/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How often it is looked whether all of the output has come, once the command has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a shell answers for a command that is not there, and for one that cannot be run.
const NOT_FOUND: i32 = 127;
const NOT_RUN: i32 = 126;

/// What a command has printed so far, in a file that nobody else sees.
struct Spool {
    file: File,
    /// Wakes who follows it; closed once all of it is there.
    more: Receiver<()>,
}

impl Spool {
    /// Takes in what comes through `pipe` on a thread of its own, and passes it on to standard output.
    fn fill(mut pipe: PipeReader) -> io::Result<Arc<Self>> {
        let file = tempfile::tempfile()?;
        let mut kept = file.try_clone()?;
        let (tell, more) = bounded(1);
        thread::spawn(move || {
            let mut piece = vec![0; 64 * 1024];
            let (mut is_shown, mut is_kept) = (true, true);
            loop {
                let length = match pipe.read(&mut piece) {
                    Ok(0) => break,
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => break,
                };
                let piece = piece.get(..length).unwrap_or_default();
                // Whoever read it here may have gone; the room still gets it.
                is_shown = is_shown && io::stdout().write_all(piece).is_ok();
                is_kept = is_kept
                    && kept
                        .write_all(piece)
                        .inspect_err(|error| {
                            complain(format_args!(
                                "the rest of its output is not kept: {}",
                                plainly(error)
                            ));
                        })
                        .is_ok();
                let _ = tell.try_send(());
            }
        });
        Ok(Arc::new(Self { file, more }))
    }
}

/// Reads a `Spool` from its beginning, and waits for more until all of it was there.
struct Follow {
    spool: Arc<Spool>,
    more: Pin<Box<Receiver<()>>>,
    at: u64,
    is_all: bool,
    /// No more is waited for: the command was ended, and what it has left behind still holds the pipe.
    given_up: Pin<Box<Receiver<()>>>,
}

impl Follow {
    fn new(spool: &Arc<Spool>, given_up: &Receiver<()>) -> Self {
        Self {
            spool: spool.clone(),
            more: Box::pin(spool.more.clone()),
            at: 0,
            is_all: false,
            given_up: Box::pin(given_up.clone()),
        }
    }
}

impl AsyncRead for Follow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            // A file of this machine, written a moment ago: it is read from memory.
            let length = self.spool.file.read_at(buffer, self.at)?;
            self.at += length as u64;
            if length > 0 || buffer.is_empty() || self.is_all {
                return Poll::Ready(Ok(length));
            }
            if self.given_up.as_mut().poll_next(cx).is_ready() {
                self.is_all = true;
            } else {
                match self.more.as_mut().poll_next(cx) {
                    Poll::Ready(Some(())) => {}
                    Poll::Ready(None) => self.is_all = true,
                    Poll::Pending => return Poll::Pending,
                }
            }
        }
    }
}

/// How long it is still tried to reach the server: as long as the command runs, and a while after.
#[derive(Default)]
struct Patience(Cell<Option<Instant>>);

impl Patience {
    fn is_over(&self) -> bool {
        self.0.get().is_some_and(|end| Instant::now() >= end)
    }

    async fn over(&self) {
        while !self.is_over() {
            sleep(PAUSE_FIRST).await;
        }
    }
}

/// Runs a command: the room is told when it starts, gets its output as a live file, and is told how it ended and how
/// long it took. TERM, HUP and INT are passed on to the command. Gives the exit code: the command's own, 128 and the
/// number of the signal that ended it, 127 or 126 when it cannot be started.
///
/// # Errors
/// When this machine cannot hold what the command prints.
pub async fn run(server: &Server, room: Option<&str>, command: &[String]) -> Result<i32, Failure> {
    let (program, args) = command
        .split_first()
        .ok_or(Error::Line("which command? write it chatc run -- COMMAND"))?;
    // Both connections are one person: a password lets them share the nick.
    let server = Server {
        password: Some(server.password.clone().unwrap_or_else(any_secret)),
        ..server.clone()
    };
    let mut signals =
        Signals::new([Signal::Term, Signal::Hup, Signal::Int]).map_err(Failure::Input)?;
    let (pipe, end) = io::pipe().map_err(Failure::Input)?;
    let began = Instant::now();
    let started = start(program, args, end);
    let spool = Spool::fill(pipe).map_err(Failure::Input)?;
    let shown: String = clean(&command.join(" ")).chars().take(200).collect();
    let patience = Patience::default();
    let (say, texts) = unbounded();
    let (give_up, given_up) = bounded(1);
    let executor = LocalExecutor::new();
    let work = async {
        let told = executor.spawn(report(&server, room, texts, &patience));
        let (mut child, group) = match started {
            Ok(started) => started,
            Err(error) => {
                complain(format_args!("cannot start {program}: {}", plainly(&error)));
                let why = format!("{shown} cannot be started: {}", plainly(&error));
                let _ = say.send(why).await;
                drop(say);
                patience.0.set(Some(Instant::now() + REPORT_WITHIN));
                told.await;
                return Ok(match error.kind() {
                    io::ErrorKind::NotFound => NOT_FOUND,
                    _ => NOT_RUN,
                });
            }
        };
        let _ = say.send(format!("started: {shown}")).await;
        let name = Path::new(program).file_name().unwrap_or(OsStr::new("run"));
        let name = format!("{}.log", name.to_string_lossy());
        let follow = || Follow::new(&spool, &given_up);
        let kept = executor.spawn(keep(&server, room, name, follow, &patience));
        let status = ended(&mut child, group, &mut signals)
            .await
            .map_err(Failure::Input)?;
        let took = super::child::took(began.elapsed());
        // What it left in the background may go on printing, as with ssh; not after a signal.
        if signal_of(status).is_some() {
            let spool = spool.clone();
            or(
                async {
                    while !spool.more.is_closed() {
                        sleep(LOOK_EVERY).await;
                    }
                },
                sleep(LEFT_BEHIND),
            )
            .await;
            give_up.close();
        }
        while !spool.more.is_closed() && !give_up.is_closed() {
            sleep(LOOK_EVERY).await;
        }
        patience.0.set(Some(Instant::now() + REPORT_WITHIN));
        let file = match kept.await {
            Some(id) => format!("; its output: /download {id}"),
            None => String::new(),
        };
        let how = super::child::how(status);
        let _ = say.send(format!("{shown} {how} after {took}{file}")).await;
        drop(say);
        told.await;
        Ok(status
            .code()
            .unwrap_or_else(|| 128 + signal_of(status).unwrap_or_default()))
    };
    executor.run(work).await
}

/// Starts the command, with `end` for what it prints. Tells whether it leads a process group of its own: then a signal
/// reaches what it has started too.
fn start(program: &str, args: &[String], end: io::PipeWriter) -> io::Result<(Child, bool)> {
    let mut command = std::process::Command::new(program);
    command.args(args);
    // On a terminal it stays in the group that may read from there, and that Ctrl-C reaches.
    let leads = !io::stdin().is_terminal();
    if leads {
        command.process_group(0);
    }
    let mut command = Command::from(command);
    command.stdout(end.try_clone()?).stderr(end);
    Ok((command.spawn()?, leads))
}

/// Waits for the command, and passes signals on to it.
async fn ended(child: &mut Child, leads: bool, signals: &mut Signals) -> io::Result<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pass_on = async {
        loop {
            let Some(Ok(signal)) = signals.next().await else {
                return std::future::pending().await;
            };
            let signal = match signal {
                Signal::Hup => rustix::process::Signal::HUP,
                Signal::Int => rustix::process::Signal::INT,
                _ => rustix::process::Signal::TERM,
            };
            let Some(pid) = pid else { continue };
            // One that has just ended needs none.
            let _ = match leads {
                true => kill_process_group(pid, signal),
                // The terminal has sent Ctrl-C to both.
                false if signal == rustix::process::Signal::INT && is_in_front() => Ok(()),
                false => kill_process(pid, signal),
            };
        }
    };
    or(child.status(), pass_on).await
}

/// Whether this is what the terminal's keys reach.
fn is_in_front() -> bool {
    rustix::termios::tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp())
}

fn signal_of(status: ExitStatus) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt;
    status.signal()
}

/// Uploads what the command prints, from its beginning on each connection, until the server has all of it. Gives the
/// number of the file.
async fn keep(
    server: &Server,
    room: Option<&str>,
    name: String,
    follow: impl Fn() -> Follow,
    patience: &Patience,
) -> Option<u64> {
    let mut pause = PAUSE_FIRST;
    loop {
        let upload = async {
            let mut client = server.connect().await?;
            enter(&mut client, server, room).await?;
            let stored = client.upload_stream(&name, follow(), |_| {}).await?;
            client.close().await;
            Ok(stored.file)
        };
        let sent = or(async { Some(upload.await) }, async {
            patience.over().await;
            None
        });
        match sent.await {
            Some(Ok(file)) => return Some(file),
            Some(Err(error)) if is_passing(&error) && !patience.is_over() => {
                or(sleep(pause), patience.over()).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Some(Err(error)) => {
                complain(format_args!("its output is not kept: {error}"));
                return None;
            }
            None => {
                complain("its output is not kept: the server cannot be reached");
                return None;
            }
        }
    }
}

/// Says each of `texts` in the room, over connections that break, until there are no more and all are said.
async fn report(server: &Server, room: Option<&str>, texts: Receiver<String>, patience: &Patience) {
    let mut waiting = Vec::new();
    let mut pause = PAUSE_FIRST;
    let mut is_told = false;
    loop {
        let rooms = room.map(|room| (with_hash(room), None));
        let mut chat = Chat::new(
            server.address.clone(),
            server.wants(rooms.into_iter().collect()),
        );
        let said = say_all(&mut chat, &texts, &mut waiting);
        let said = or(async { Some(said.await) }, async {
            patience.over().await;
            None
        });
        let why = match said.await {
            Some(Ok(())) => return,
            // The first connection is tried once by a chat; the command does not wait for it.
            Some(Err(error)) if is_passing(&error) && !patience.is_over() => error,
            Some(Err(error)) => return complain(format_args!("the room is not told: {error}")),
            None => return complain("the room is not told: the server cannot be reached"),
        };
        if !std::mem::replace(&mut is_told, true) {
            complain(format_args!(
                "{why}; the command runs, and it is tried again"
            ));
        }
        or(sleep(pause), patience.over()).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Says each of `texts`, and leaves when there are no more. `waiting` is what a chat that was not let in has not said.
async fn say_all(
    chat: &mut Chat,
    texts: &Receiver<String>,
    waiting: &mut Vec<String>,
) -> Result<(), Error> {
    enum Next {
        Update(Option<Update>),
        Text(Option<String>),
    }
    let (mut is_here, mut is_all) = (false, false);
    loop {
        if is_here {
            let to = chat.rooms().last().map(|(room, _)| room.to_owned());
            let to = to.ok_or(Error::Line("there is no room to tell"))?;
            for text in waiting.drain(..) {
                chat.say(&to, text)?;
            }
            if is_all {
                chat.leave("");
            }
        }
        let update = async { Next::Update(chat.next().await) };
        let text = async {
            match is_all {
                true => std::future::pending().await,
                false => Next::Text(texts.recv().await.ok()),
            }
        };
        match or(update, text).await {
            Next::Text(Some(text)) => waiting.push(text),
            Next::Text(None) => is_all = true,
            Next::Update(None) => return Ok(()),
            Next::Update(Some(Update::Over(error))) => return Err(error),
            Next::Update(Some(Update::KeptOut { error, .. })) => return Err(error),
            Next::Update(Some(Update::Here { .. })) => is_here = true,
            Next::Update(Some(Update::Away { why, .. })) => complain(format_args!(
                "{why}; the command runs, and it is tried again"
            )),
            Next::Update(Some(Update::Answer {
                result: Err(error), ..
            })) => complain(format_args!("the room is not told: {error}")),
            Next::Update(Some(_)) => {}
        }
    }
}

async fn sleep(time: Duration) {
    let _ = Timer::after(time).await;
}

/// Whether the server may do it later: it is not there, or goes.
fn is_passing(error: &Error) -> bool {
    use crate::protocol::Code::{Busy, Idle, Incomplete, Internal, NickTaken, ShuttingDown};
    match error {
        Error::Connect { .. } | Error::Lost(_) => true,
        Error::Closed { code, .. } => {
            matches!(
                code,
                Some(Busy | Idle | Internal | ShuttingDown | Incomplete)
            )
        }
        Error::Refused { code, .. } => matches!(
            code,
            Some(Busy | Internal | ShuttingDown | Incomplete | NickTaken)
        ),
        _ => false,
    }
}
