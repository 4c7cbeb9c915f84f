//! A server that plays a script, and the real `chatc` as its client. A script contains what a real server does only
//! when something goes wrong. Both have deadlines.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The deadline of a step: far more than it takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// What a scripted server does with one connection, in order.
#[derive(Clone, Debug)]
pub enum Step {
    /// Expect this line, given without its line ending. `<name>` stands for a word without spaces and `;`. The same
    /// name always stands for the same word.
    Hear(String),
    /// Expect these bytes.
    Take(Vec<u8>),
    /// Expect that the client closes its side, or is gone.
    End,
    /// Send these lines.
    Say(String),
    /// Send these bytes.
    Give(Vec<u8>),
}

/// Parses a script: lines after `> ` are expected, and lines after `< ` are sent. `> (end)` means that the client
/// ends its output.
pub fn steps(script: &str) -> Vec<Step> {
    let lines = script
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.is_empty());
    lines
        .map(|line| match (line, line.split_once(' ')) {
            ("> (end)", _) => Step::End,
            (_, Some((">", received))) => Step::Hear(received.into()),
            (_, Some(("<", sent))) => Step::Say(format!("{sent}\n")),
            _ => panic!("a script line begins with > or <: {line:?}"),
        })
        .collect()
}

/// A server that plays one script for each connection, in order, and then refuses connections.
pub struct Server {
    pub address: SocketAddr,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Server {
    pub fn play(connections: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let thread = thread::spawn(move || {
            let mut names = HashMap::new();
            for (n, steps) in connections.into_iter().enumerate() {
                let (stream, _) = listener.accept().map_err(|e| e.to_string())?;
                play(stream, steps, &mut names)
                    .map_err(|e| format!("connection {}: {e}", n + 1))?;
            }
            Ok(())
        });
        Self {
            address,
            thread: Some(thread),
        }
    }

    /// Waits until every script is played to its end, and fails if one was not.
    pub fn finish(mut self) {
        // A script that no client connected for fails, instead of waiting without end.
        let _ = TcpStream::connect(self.address);
        let played = self.thread.take().expect("once").join().expect("no panic");
        if let Err(why) = played {
            panic!("the script was not played: {why}");
        }
    }
}

/// Returns whether a line is the expected one. Records the words for which its names stand.
fn matches(mut line: &str, mut expected: &str, names: &mut HashMap<String, String>) -> bool {
    while let Some((before, rest)) = expected.split_once('<')
        && let Some((name, after)) = rest.split_once('>')
    {
        let Some(found) = line.strip_prefix(before) else {
            return false;
        };
        let (word, left) = found.split_at(found.find([' ', ';', '\n']).unwrap_or(found.len()));
        if names
            .entry(name.to_owned())
            .or_insert_with(|| word.to_owned())
            != word
        {
            return false;
        }
        (line, expected) = (left, after);
    }
    line == expected
}

fn play(
    stream: TcpStream,
    steps: Vec<Step>,
    names: &mut HashMap<String, String>,
) -> Result<(), String> {
    let failed = |e: io::Error| e.to_string();
    stream.set_read_timeout(Some(DEADLINE)).map_err(failed)?;
    stream.set_write_timeout(Some(DEADLINE)).map_err(failed)?;
    let mut input = BufReader::new(stream.try_clone().map_err(failed)?);
    let mut output = &stream;
    for step in steps {
        match step {
            Step::Hear(expected) => {
                let mut line = String::new();
                input
                    .read_line(&mut line)
                    .map_err(|e| format!("waiting for {expected:?}: {e}"))?;
                if !matches(&line, &format!("{expected}\n"), names) {
                    return Err(format!("heard {line:?}, expected {expected:?}"));
                }
            }
            Step::Take(expected) => {
                let mut bytes = vec![0; expected.len()];
                input.read_exact(&mut bytes).map_err(failed)?;
                if bytes != expected {
                    return Err(format!("other bytes than the {} expected", bytes.len()));
                }
            }
            Step::End => {
                let mut rest = Vec::new();
                input.read_to_end(&mut rest).map_err(failed)?;
                if !rest.is_empty() {
                    return Err(format!(
                        "heard {:?}, expected the end",
                        String::from_utf8_lossy(&rest)
                    ));
                }
            }
            Step::Say(text) => output.write_all(text.as_bytes()).map_err(failed)?,
            Step::Give(bytes) => output.write_all(&bytes).map_err(failed)?,
        }
    }
    // The sending side is closed first, and then the rest is read. Otherwise a reset would lose the last line.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = io::copy(&mut input, &mut io::sink());
    Ok(())
}

/// How a program ended, and what it wrote.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Fails, with everything that was written, unless the program ended with the exit code `code` and the given
    /// output.
    #[track_caller]
    pub fn check(&self, code: i32, stdout: &str, stderr: &str) {
        let same = self.code == Some(code) && self.stdout == stdout && self.stderr == stderr;
        assert!(
            same,
            "expected code {code}\n--- stdout\n{stdout}--- stderr\n{stderr}=== got {:?}\n--- stdout\n{}--- stderr\n{}===",
            self.code, self.stdout, self.stderr
        );
    }
}

/// Returns the real `chatc`, for a user called ann, in UTC.
pub fn chatc(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatc"));
    command.args(args).env("LOGNAME", "ann").env("TZ", "UTC");
    // Read and write nothing in the home of the user who runs the tests.
    command.env("HOME", "/dev/null");
    for name in ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"] {
        command.env_remove(name);
    }
    command
}

/// Runs `command` with `stdin` to its end. At the deadline, kills it and fails the test.
#[track_caller]
pub fn run(command: &mut Command, stdin: &[u8]) -> Ended {
    let mut running = Running::start(command);
    running.write(stdin);
    running.finish()
}

impl Drop for Running {
    fn drop(&mut self) {
        // Does nothing for a program that has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running program that can be written to, and whose output is read as it arrives.
pub struct Running {
    child: Child,
    name: String,
    /// Standard output, in pieces as it arrives, and the part that has not been taken yet.
    pieces: Receiver<Vec<u8>>,
    output: String,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        let piped = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut stdout = child.stdout.take().expect("piped");
        let mut stderr = child.stderr.take().expect("piped");
        let (piece, pieces) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                if piece.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let stderr = thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Self {
            child,
            name,
            pieces,
            output: String::new(),
            stderr: Some(stderr),
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes to standard input. A program that has ended reads nothing, which is not a failure here.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.child.stdin.as_mut().expect("open").write_all(bytes);
    }

    /// Returns whether a line has arrived.
    pub fn has_output(&mut self) -> bool {
        while let Ok(piece) = self.pieces.try_recv() {
            self.output.push_str(&String::from_utf8_lossy(&piece));
        }
        self.output.contains('\n')
    }

    /// Takes the next line of standard output, with its line ending.
    #[track_caller]
    pub fn line(&mut self) -> String {
        self.until("\n")
    }

    /// Takes standard output up to and including `end`.
    #[track_caller]
    pub fn until(&mut self, end: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(at) = self.output.find(end) {
                return self.output.drain(..at + end.len()).collect();
            }
            if !self.read(deadline) {
                panic!("{}: ended before {end:?}: {:?}", self.name, self.output);
            }
        }
    }

    /// Closes standard input, and waits for the end. What was taken before is not in the returned output.
    #[track_caller]
    pub fn finish(mut self) -> Ended {
        drop(self.child.stdin.take());
        self.wait()
    }

    /// Waits for the end while standard input stays open.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        let deadline = Instant::now() + DEADLINE;
        while self.read(deadline) {}
        // After its output has ended, the program does nothing that could take time.
        let code = self.child.wait().expect("a child").code();
        let stderr = self.stderr.take().expect("once").join().expect("no panic");
        Ended {
            code,
            stdout: std::mem::take(&mut self.output),
            stderr,
        }
    }

    /// Reads more output; returns false at the end. A program that is late is killed.
    #[track_caller]
    fn read(&mut self, deadline: Instant) -> bool {
        match self
            .pieces
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            Ok(piece) => self.output.push_str(&String::from_utf8_lossy(&piece)),
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => {
                let _ = self.child.kill();
                panic!(
                    "{}: not there in {DEADLINE:?}: {:?}",
                    self.name, self.output
                );
            }
        }
        true
    }
}
