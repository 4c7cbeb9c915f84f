//! Starts programs as a shell would, and opens plain TCP connections, for tests that control each step. Every wait has a
//! deadline. When it passes, the test fails and shows the output so far. Each process is killed, by its process id, when
//! its value is dropped.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process_group, setrlimit};

use super::inbox::{DEADLINE, Inbox, fits, lossy};
use super::server::Chatd;

impl Chatd {
    /// Starts a server that announces no joins, so that a slow test sees the same lines as a fast one.
    pub fn start() -> Self {
        Self::with(&["--announce-after", "1h"])
    }

    /// Starts a server with `flags`.
    pub fn with(flags: &[&str]) -> Self {
        Self::under(&[], flags)
    }

    /// Starts a server with `flags` through a program that sets something first, such as `env NAME=VALUE`.
    pub fn under(first: &[&str], flags: &[&str]) -> Self {
        let flags: Vec<String> = flags.iter().map(|flag| flag.to_string()).collect();
        // The same tests can be run with another build of the server, such as the release build.
        let other = std::env::var("CHATD");
        let program = other.as_deref().unwrap_or(env!("CARGO_BIN_EXE_chatd"));
        Self::spawn_under(first, program, &flags).unwrap_or_else(|why| panic!("{why}"))
    }

    /// Returns the memory of the server in bytes.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// Returns the peak memory since `forget_peak` in bytes.
    pub fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Resets the peak memory to the current memory.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.id()), "5").expect("it is running");
    }

    fn status(&self, name: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it is running");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("Linux tells it") * 1024
    }

    /// Returns a new connection.
    pub fn peer(&self) -> Peer {
        Peer::connect(self.address)
    }

    /// Returns a connection with a nick, in the lobby.
    pub fn member(&self, nick: &str) -> Peer {
        let mut peer = self.peer();
        peer.send(format!("NICK {nick}\n"));
        peer.expect(&format!("OK NICK {nick} #lobby <id>"));
        peer
    }

    /// Starts `command` in a shell where `$HOST` and `$PORT` are the address of this server.
    pub fn client(&self, command: &str) -> Program {
        Program::start(command, self.address)
    }
}

/// A plain connection to the server.
pub struct Peer {
    stream: TcpStream,
    /// What was received.
    pub inbox: Inbox,
}

impl Peer {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server accepts");
        // Send every write at once.
        stream.set_nodelay(true).expect("an open socket");
        stream.set_write_timeout(Some(DEADLINE)).expect("not zero");
        let inbox = Inbox::of(stream.try_clone().expect("a free descriptor"));
        Self { stream, inbox }
    }

    /// Sends bytes unchanged.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .expect("the server reads");
    }

    /// Sends bytes that the server may no longer read; returns false when it has closed the connection.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Takes the next line, which must fit `pattern`; see [`fits`].
    #[track_caller]
    pub fn expect(&mut self, pattern: &str) -> String {
        self.inbox.expect(pattern)
    }

    /// Sends a line. Its reply must fit `pattern`.
    #[track_caller]
    pub fn ask(&mut self, line: &str, pattern: &str) -> String {
        self.send(format!("{line}\n"));
        self.inbox.reply(pattern)
    }

    /// Closes the sending side.
    pub fn end_input(&mut self) {
        // The server may have closed the connection already, which is fine.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Close both directions, so that the reading thread ends too.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// A client started in a shell, with all the processes that it starts in turn.
pub struct Program {
    child: Child,
    input: Option<ChildStdin>,
    command: String,
    ended: bool,
    /// Its standard output.
    pub inbox: Inbox,
    errors: Inbox,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The rest of its standard output.
    pub output: Vec<u8>,
    /// Everything on standard error.
    pub errors: String,
}

impl Ended {
    /// Returns the output line by line.
    pub fn lines(&self) -> Vec<String> {
        lossy(&self.output).lines().map(str::to_owned).collect()
    }

    /// Checks that each line of the output fits its pattern, and that no line is left over.
    #[track_caller]
    pub fn expect(&self, patterns: &[&str]) {
        let lines = self.lines();
        let fit = patterns.len() == lines.len()
            && patterns.iter().zip(&lines).all(|(p, line)| fits(p, line));
        assert!(
            fit,
            "wanted {patterns:#?}, got {lines:#?}, errors: {}",
            self.errors
        );
    }
}

impl Program {
    /// Starts `command` in a shell, with the server's address in `$HOST` and `$PORT`.
    pub fn start(command: &str, server: SocketAddr) -> Self {
        let mut child = Command::new("bash")
            .args(["-c", command])
            .env("HOST", server.ip().to_string())
            .env("PORT", server.port().to_string())
            .env("LC_ALL", "C.UTF-8")
            // A process group of its own, so that a whole pipeline can be killed.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("bash is there");
        Self {
            input: child.stdin.take(),
            inbox: Inbox::of(child.stdout.take().expect("it is piped")),
            errors: Inbox::of(child.stderr.take().expect("it is piped")),
            command: command.to_owned(),
            ended: false,
            child,
        }
    }

    /// Writes `text` to standard input.
    pub fn send(&mut self, text: impl AsRef<[u8]>) {
        let input = self.input.as_mut().expect("its input is open");
        input
            .write_all(text.as_ref())
            .unwrap_or_else(|e| panic!("{} does not read: {e}", self.command));
    }

    /// Closes standard input.
    pub fn end_input(&mut self) {
        self.input = None;
    }

    /// Takes the next line, which must fit `pattern`; see [`fits`].
    #[track_caller]
    pub fn expect(&mut self, pattern: &str) -> String {
        self.inbox.expect(pattern)
    }

    /// Returns whether the program is still running.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is ours").is_none()
    }

    /// Sends `signal` to the program and everything that it has started.
    pub fn signal(&self, signal: Signal) {
        // The last of them may have ended meanwhile.
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }

    /// Closes standard input and waits until the program has ended by itself.
    #[track_caller]
    pub fn finish(mut self) -> Ended {
        self.input = None;
        self.wait()
    }

    /// Waits until the program has ended by itself, without closing standard input.
    #[track_caller]
    pub fn wait(&mut self) -> Ended {
        let output = self.inbox.rest();
        let errors = lossy(&self.errors.rest());
        // The output has ended, so the program has ended too, or is about to.
        let code = self.child.wait().expect("it is ours").code();
        self.ended = true;
        Ended {
            code,
            output,
            errors,
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Not after it was waited for: its id may belong to another process by then.
        if !self.ended {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// Allows this process as many connections as the system permits. The servers that it starts inherit this limit.
pub fn allow_many_connections() {
    let hard = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: hard,
        maximum: hard,
    };
    setrlimit(Resource::Nofile, limit).expect("the soft limit may rise to the hard one");
}

/// Returns the program `nats-server`: the one that `tests/run` has installed, or that of the system.
pub fn nats_server() -> &'static str {
    let installed = concat!(env!("CARGO_TARGET_TMPDIR"), "/../tools/nats-server");
    if Path::new(installed).is_file() {
        installed
    } else {
        "nats-server"
    }
}
