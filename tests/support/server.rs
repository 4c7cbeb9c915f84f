//! A `chatd` for one test, on a free port, killed when the test ends.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

/// Deadline of a start.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// A running server; it is killed when dropped.
pub struct Chatd {
    child: Child,
    pub address: SocketAddr,
    /// The other addresses at which it listens, as they are printed.
    addresses: Mutex<mpsc::Receiver<SocketAddr>>,
    /// The temporary folder of the server. The server is killed and so cannot delete it itself.
    _scratch: tempfile::TempDir,
}

impl Chatd {
    /// Starts `program` with `flags`, in memory unless they contain `--data`, and waits for the line that says where
    /// it listens.
    ///
    /// # Errors
    /// When the server does not start. The error is what it printed instead.
    pub fn spawn(program: &str, flags: &[String]) -> Result<Self, String> {
        Self::spawn_under(&[], program, flags)
    }

    /// Starts the server as [`Self::spawn`] does, through a program that sets something first and then
    /// executes it, such as `prlimit --nofile=256`.
    ///
    /// # Errors
    /// What it printed instead.
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
        let (tell, addresses) = mpsc::channel();
        // The thread reads to the end, so that the server never writes to a closed pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let address = line.strip_prefix("chatd: listening on ");
                if let Some(address) = address.and_then(|a| a.parse().ok()) {
                    let _ = tell.send(address);
                }
            }
        });
        let address = addresses.recv_timeout(STARTS_WITHIN);
        let mut chatd = Self {
            child,
            address: SocketAddr::from(([0; 4], 0)),
            addresses: Mutex::new(addresses),
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
    /// Returns the next of the other addresses at which the server listens because of its flags.
    pub fn next_address(&self) -> SocketAddr {
        let addresses = self.addresses.lock().expect("no test holds it");
        let address = addresses.recv_timeout(STARTS_WITHIN);
        address.expect("it listens at another address")
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the server.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the child has not been waited for");
    }

    /// Returns the exit status, if the server ends by itself within `patience`.
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
