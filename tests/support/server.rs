//! A `chatd` of the test's own: on a port that is free, gone with the test.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long a start may take.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// A running server; dropping it ends it.
pub struct Chatd {
    child: Child,
    pub address: SocketAddr,
    /// Where it keeps its files: killed, it could not remove a folder of its own.
    _scratch: tempfile::TempDir,
}

impl Chatd {
    /// Starts `program` with `flags`, and nothing kept unless they say `--data`, and waits for its
    /// listening line.
    ///
    /// # Errors
    /// What it said instead.
    pub fn spawn(program: &str, flags: &[String]) -> Result<Self, String> {
        Self::spawn_under(&[], program, flags)
    }

    /// Starts it as [`Self::spawn`] does, by a program that sets something first and then becomes it, as
    /// `prlimit --nofile=256`.
    ///
    /// # Errors
    /// What it said instead.
    pub fn spawn_under(first: &[&str], program: &str, flags: &[String]) -> Result<Self, String> {
        let keeps = flags.iter().any(|flag| flag == "--data");
        let scratch = tempfile::tempdir().map_err(|e| format!("no folder: {e}"))?;
        let words: Vec<&str> = first.iter().copied().chain([program]).collect();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .env("TMPDIR", scratch.path())
            .args(["--listen", "127.0.0.1:0", "--log-level", "off"])
            .args((!keeps).then_some("--memory"))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{program}: {e}"))?;
        let out = child.stdout.take().ok_or("no standard output")?;
        let (tell, told) = mpsc::channel();
        // The thread reads on to the end, so that the server never writes to a pipe that nobody holds.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let address = line.strip_prefix("chatd: listening on ");
                if let Some(address) = address.and_then(|a| a.parse().ok()) {
                    let _ = tell.send(address);
                }
            }
        });
        let address = told.recv_timeout(STARTS_WITHIN);
        let mut chatd = Self {
            child,
            address: SocketAddr::from(([0; 4], 0)),
            _scratch: scratch,
        };
        chatd.address = address.map_err(|_| {
            let ended = chatd.child.try_wait();
            format!("{program} {flags:?} did not say where it listens ({ended:?})")
        })?;
        Ok(chatd)
    }
}

impl Chatd {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the child has not been waited for");
    }

    /// Its exit status, if it ends by itself within `patience`.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
                status => return status.ok().flatten(),
            }
        }
    }
}

impl Drop for Chatd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
