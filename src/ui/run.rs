//! `chatc run`: runs a command whose output a room can follow. The command runs even if the server fails.
//!
//! A thread reads the output, prints it and appends it to a temporary file (`Spool`), so the command never waits for
//! the server. One task uploads that file as it grows, and starts over if its connection breaks. Another task, with a
//! [`ReconnectingClient`], posts to the room when the command starts and ends.

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

use super::bot;
use super::failure::{Failure, complain};
use super::login::enter;
use super::profile::random_password;
use super::server::Server;
use super::shorthand::room_name;
use crate::client::{Error, Message, ReconnectingClient, Update, plainly};
use crate::protocol::text::clean;

/// How long chatc tries to reach the server after the command has ended. A restart of the server takes less.
const REPORT_WITHIN: Duration = Duration::from_secs(60);

/// How long background processes may still print after a signal has ended the command.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

/// The first pause before another attempt to connect. Each further pause is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(250);

/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The time between two checks whether the output is complete, after the command has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The exit code of a shell for a command that does not exist.
const NOT_FOUND: i32 = 127;
const NOT_RUN: i32 = 126;

/// The output of a command so far, in a temporary file.
struct Spool {
    file: File,
    /// A channel that wakes the followers. It is closed when the output is complete.
    more: Receiver<()>,
}

impl Spool {
    /// Reads `pipe` on a thread of its own, and also writes it to standard output.
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
                // The reader of standard output may have gone, but the room still gets the output.
                is_shown = is_shown && io::stdout().write_all(piece).is_ok();
                is_kept = is_kept
                    && kept
                        .write_all(piece)
                        .inspect_err(|error| {
                            complain(format_args!(
                                "the rest of the output is not uploaded: {}",
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

/// A reader of a `Spool` from its beginning, which waits for more output until the spool is complete.
struct Follow {
    spool: Arc<Spool>,
    more: Pin<Box<Receiver<()>>>,
    at: u64,
    is_all: bool,
    /// A channel that is closed when there is nothing more to wait for: a signal has ended the command, but
    /// background processes still hold the pipe.
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
            // The bytes were written a moment ago, so this reads from memory and does not block.
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

/// The time at which to stop trying to reach the server; `None` while the command runs.
#[derive(Default)]
struct RetryDeadline(Cell<Option<Instant>>);

impl RetryDeadline {
    fn is_over(&self) -> bool {
        self.0.get().is_some_and(|end| Instant::now() >= end)
    }

    async fn over(&self) {
        while !self.is_over() {
            sleep(PAUSE_FIRST).await;
        }
    }
}

/// Runs a command. Posts to the room when it starts, uploads its output as a live file, and posts how it ended and
/// how long it took. Forwards TERM, HUP and INT to the command. Returns the exit code: the command's own, or 128 plus
/// the number of the signal that ended it. If the command cannot be started, the code is 127 or 126.
///
/// # Errors
/// If this machine cannot store the output of the command.
pub async fn run(server: &Server, room: Option<&str>, command: &[String]) -> Result<i32, Failure> {
    let (program, args) = command.split_first().ok_or(Failure::Impossible(
        "which command? usage: chatc run -- COMMAND",
    ))?;
    // A password lets the two connections share the nick.
    let server = Server {
        password: Some(server.password.clone().unwrap_or_else(random_password)),
        ..server.clone()
    };
    let mut signals =
        Signals::new([Signal::Term, Signal::Hup, Signal::Int]).map_err(Failure::Input)?;
    let (pipe, end) = io::pipe().map_err(Failure::Input)?;
    let began = Instant::now();
    let started = start(program, args, end);
    let spool = Spool::fill(pipe).map_err(Failure::Input)?;
    let shown: String = clean(&command.join(" ")).chars().take(200).collect();
    let patience = RetryDeadline::default();
    let (say, texts) = unbounded();
    let (give_up, given_up) = bounded(1);
    let executor = LocalExecutor::new();
    let work = async {
        let reported = executor.spawn(report(&server, room, texts, &patience));
        let (mut child, group) = match started {
            Ok(started) => started,
            Err(error) => {
                complain(format_args!("cannot start {program}: {}", plainly(&error)));
                let why = format!("{shown} cannot be started: {}", plainly(&error));
                let _ = say.send(why).await;
                drop(say);
                patience.0.set(Some(Instant::now() + REPORT_WITHIN));
                reported.await;
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
        let took = bot::took(began.elapsed());
        // The command's background processes may go on printing, and chatc waits for them, as ssh does. If a signal
        // has ended the command, chatc waits only for a short time.
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
        let how = bot::how(status);
        let _ = say.send(format!("{shown} {how} after {took}{file}")).await;
        drop(say);
        reported.await;
        Ok(status
            .code()
            .unwrap_or_else(|| 128 + signal_of(status).unwrap_or_default()))
    };
    executor.run(work).await
}

/// Starts the command. Its output goes to `end`. Returns whether it leads a process group of its own. If it does, a
/// signal also reaches the processes that it has started.
fn start(program: &str, args: &[String], end: io::PipeWriter) -> io::Result<(Child, bool)> {
    let mut command = std::process::Command::new(program);
    command.args(args);
    // On a terminal, the command stays in the foreground group, which may read from the terminal and receives Ctrl-C.
    let leads = !io::stdin().is_terminal();
    if leads {
        command.process_group(0);
    }
    let mut command = Command::from(command);
    command.stdout(end.try_clone()?).stderr(end);
    Ok((command.spawn()?, leads))
}

/// Waits for the end of the command, and forwards signals to it.
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
            // The command may have ended just before.
            let _ = if leads {
                kill_process_group(pid, signal)
            } else if signal == rustix::process::Signal::INT && is_in_front() {
                Ok(()) // the terminal has sent Ctrl-C to both processes
            } else {
                kill_process(pid, signal)
            };
        }
    };
    or(child.status(), pass_on).await
}

/// Returns whether this process is in the foreground group of the terminal.
fn is_in_front() -> bool {
    rustix::termios::tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp())
}

fn signal_of(status: ExitStatus) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt;
    status.signal()
}

/// Uploads the output until the server has all of it. On each new connection, begins again. Returns the id of the
/// file.
async fn keep(
    server: &Server,
    room: Option<&str>,
    name: String,
    follow: impl Fn() -> Follow,
    patience: &RetryDeadline,
) -> Option<u64> {
    let mut pause = PAUSE_FIRST;
    loop {
        let upload = async {
            let (mut client, _) = enter(server, room).await?;
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
                complain(format_args!("the output is not uploaded: {error}"));
                return None;
            }
            None => {
                complain("the output is not uploaded: the server cannot be reached");
                return None;
            }
        }
    }
}

/// Posts each of `texts` to the room until there are no more. If a connection breaks, uses another one.
async fn report(
    server: &Server,
    room: Option<&str>,
    texts: Receiver<String>,
    patience: &RetryDeadline,
) {
    let mut waiting = Vec::new();
    let mut pause = PAUSE_FIRST;
    let mut has_complained = false;
    loop {
        let rooms = room.map(|room| (room_name(room), None));
        let mut client = ReconnectingClient::new(
            server.addresses.clone(),
            server.options(rooms.into_iter().collect()),
        );
        let posted = say_all(&mut client, &texts, &mut waiting);
        let posted = or(async { Some(posted.await) }, async {
            patience.over().await;
            None
        });
        let why = match posted.await {
            Some(Ok(())) => return,
            // The client tries its first connection only once. The command does not wait for it.
            Some(Err(error)) if is_passing(&error) && !patience.is_over() => error,
            Some(Err(error)) => return complain(format_args!("cannot post to the room: {error}")),
            None => return complain("cannot post to the room: the server cannot be reached"),
        };
        if !std::mem::replace(&mut has_complained, true) {
            complain(format_args!(
                "{why}; the command keeps running, and chatc tries again"
            ));
        }
        or(sleep(pause), patience.over()).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Posts each of `texts`, and leaves when there are no more. `waiting` contains texts that an earlier client could
/// not post, because it could not log in.
async fn say_all(
    client: &mut ReconnectingClient,
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
            let to = client.rooms().last().map(|(room, _)| room.to_owned());
            let to = to.ok_or(Error::Protocol("the client is in no room"))?;
            for text in waiting.drain(..) {
                client.send(&to, Message::new(text).notice())?;
            }
            if is_all {
                client.leave("");
            }
        }
        let update = async { Next::Update(client.next().await) };
        let text = async {
            if is_all {
                std::future::pending().await
            } else {
                Next::Text(texts.recv().await.ok())
            }
        };
        match or(update, text).await {
            Next::Text(Some(text)) => waiting.push(text),
            Next::Text(None) => is_all = true,
            Next::Update(None) => return Ok(()),
            Next::Update(Some(Update::Ended(error))) => return Err(error),
            Next::Update(Some(Update::JoinFailed { error, .. })) => return Err(error),
            Next::Update(Some(Update::Connected { .. })) => is_here = true,
            Next::Update(Some(Update::Disconnected { error, .. })) => complain(format_args!(
                "{error}; the command keeps running, and chatc tries again"
            )),
            Next::Update(Some(Update::Answer {
                result: Err(error), ..
            })) => complain(format_args!("cannot post to the room: {error}")),
            Next::Update(Some(_)) => {}
        }
    }
}

async fn sleep(time: Duration) {
    let _ = Timer::after(time).await;
}

/// Returns whether the server may succeed later: it cannot be reached, or is stopping.
fn is_passing(error: &Error) -> bool {
    use crate::protocol::Code::{Idle, Incomplete, NickTaken};
    match error {
        Error::Connect { .. } | Error::Lost(_) => true,
        Error::Closed { code, .. } => error.is_passing() || matches!(code, Some(Idle | Incomplete)),
        Error::Refused { code, .. } => {
            error.is_passing() || matches!(code, Some(Incomplete | NickTaken))
        }
        _ => false,
    }
}
