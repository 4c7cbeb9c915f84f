//! NATS servers for one test, on free ports of 127.0.0.1, killed when the test ends.

use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_io::{Async, Timer};
use futures_lite::future;
use futures_lite::io::{AsyncBufReadExt, BufReader};
use plainchat::cluster::nats::{Address, Connection, Error, Handle, Lost, connect};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::support::spawn::nats_server;

/// The deadline of a test. It is far longer than working code ever needs, even on a busy machine with a slow disk.
const DEADLINE: Duration = Duration::from_secs(180);

/// The time between two attempts at something that a server is not ready for.
const PAUSE: Duration = Duration::from_millis(50);

/// The time within which a server greets. It is asked again if it does not.
const GREETING_WITHIN: Duration = Duration::from_secs(2);

/// Waits for something that must happen.
#[track_caller]
pub fn run<T>(what: impl Future<Output = T>) -> T {
    let late = async {
        Timer::after(DEADLINE).await;
        panic!("it did not happen in time")
    };
    future::block_on(future::or(what, late))
}

/// Calls `attempt` until it succeeds.
pub async fn retry<T, E>(mut attempt: impl AsyncFnMut() -> Result<T, E>) -> T {
    loop {
        if let Ok(done) = attempt().await {
            return done;
        }
        Timer::after(PAUSE).await;
    }
}

/// Calls `attempt` until its result is not that a busy server has answered late, or does not know a subscription yet.
pub async fn settled<T>(mut attempt: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    loop {
        match attempt().await {
            Err(Error::TimedOut | Error::NoResponders) => Timer::after(PAUSE).await,
            done => return done,
        };
    }
}

/// Servers that form a cluster, or a single server.
pub struct Servers {
    pub all: Vec<Server>,
    folder: TempDir,
}

/// A server.
pub struct Server {
    pub name: String,
    pub address: Address,
    socket: String,
    folder: PathBuf,
    child: Child,
}

/// Returns ports that are free now. Another program may take one before it is used.
pub fn free_ports(count: usize) -> Vec<u16> {
    let listeners = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let listeners: Vec<_> = listeners.collect();
    let ports = listeners
        .iter()
        .map(|listener| listener.local_addr().expect("it is bound").port());
    ports.collect()
}

/// Returns the first line that a server sends. It may be a program of another test that sends nothing.
async fn greeting(socket: &str) -> io::Result<String> {
    let address: SocketAddr = socket.parse().map_err(io::Error::other)?;
    let stream = Async::<TcpStream>::connect(address).await?;
    let mut line = String::new();
    let late = async {
        Timer::after(GREETING_WITHIN).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    future::or(BufReader::new(stream).read_line(&mut line), late).await?;
    Ok(line)
}

/// Starts the server whose settings are in a folder.
fn spawn(folder: &Path) -> Child {
    let errors = folder.join("errors");
    let errors = File::options().create(true).append(true).open(errors);
    Command::new(nats_server())
        .arg("--config")
        .arg(folder.join("settings"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors.expect("a file of the test"))
        .spawn()
        .expect("nats-server is needed; tests/run installs it")
}

impl Servers {
    /// Starts a server without JetStream, with `settings`.
    pub fn one(settings: &str) -> Self {
        Self::start(1, |_, _, _| settings.to_owned())
    }

    /// Starts a server with JetStream, with `settings`.
    pub fn one_with_jetstream(settings: &str) -> Self {
        Self::start(1, |_, folder, _| {
            let store = folder.display();
            format!("jetstream {{ store_dir: {store:?}, sync_interval: always }}\n{settings}")
        })
    }

    /// Starts three servers with JetStream, each of which keeps everything.
    pub fn three() -> Self {
        Self::three_through("", |_, _, port| port)
    }

    /// Starts three servers with JetStream. `way` returns the port through which a server reaches the port of another
    /// one; they are called by their places. `settings` are more settings of the routes.
    pub fn three_through(settings: &str, mut way: impl FnMut(usize, usize, u16) -> u16) -> Self {
        Self::start(3, |from, folder, ports| {
            let others = (1..3).map(|n| way(from, (from + n) % 3, ports[n]));
            let routes: Vec<_> = others
                .map(|port| format!("nats://127.0.0.1:{port}"))
                .collect();
            format!(
                "jetstream {{ store_dir: {:?}, sync_interval: always, max_mem: 64M, max_file: 4G }}\n\
                 cluster {{ name: test, listen: \"127.0.0.1:{}\", routes: {routes:?}, {settings} }}",
                folder.display(),
                ports[0],
            )
        })
    }

    /// Starts `count` servers. `settings` is called with the place of a server, a folder for it, and the ports for routes,
    /// beginning with that of the server.
    fn start(count: usize, mut settings: impl FnMut(usize, &Path, &[u16]) -> String) -> Self {
        // If another program takes a port, the server ends at once.
        for _ in 0..5 {
            let mut servers = Self {
                all: Vec::new(),
                folder: tempfile::tempdir().expect("a temporary folder"),
            };
            let (ports, mut routes) = (free_ports(count), free_ports(count));
            for (n, port) in ports.iter().enumerate() {
                let name = format!("n{n}-{port}"); // no other test has a server of this name
                let folder = servers.folder.path().join(&name);
                fs::create_dir(&folder).expect("a new folder");
                let settings = settings(n, &folder, &routes);
                routes.rotate_left(1);
                let text = format!("server_name: {name}\nlisten: 127.0.0.1:{port}\n{settings}\n");
                fs::write(folder.join("settings"), text).expect("a new file");
                let child = spawn(&folder);
                let socket = format!("127.0.0.1:{port}");
                let address = socket.parse().expect("an address");
                servers.all.push(Server {
                    name,
                    address,
                    socket,
                    folder,
                    child,
                });
            }
            if run(servers.are_up()) {
                return servers;
            }
        }
        panic!("nats-server does not start");
    }

    /// Waits until all servers greet under their names. Returns false if one has ended.
    async fn are_up(&mut self) -> bool {
        for server in &mut self.all {
            let is_up = retry(async || match server.child.try_wait() {
                Ok(None) => greeting(&server.socket).await.and_then(|greeting| {
                    let is_own = greeting.contains(&format!("\"{}\"", server.name));
                    is_own
                        .then_some(true)
                        .ok_or(io::ErrorKind::AddrInUse.into())
                }),
                _ => Ok(false),
            });
            if !is_up.await {
                return false;
            }
        }
        true
    }

    /// Returns the addresses of all servers.
    pub fn addresses(&self) -> Vec<Address> {
        let servers = self.all.iter();
        servers.map(|server| server.address.clone()).collect()
    }

    /// Returns the server with a name.
    pub fn named(&mut self, name: &str) -> &mut Server {
        let found = self.all.iter_mut().find(|server| server.name == name);
        found.expect("there is such a server")
    }
}

/// Connects to a server that answers, or says why it does not let the test in.
pub async fn connected(address: &Address) -> Result<(Handle, Connection), Lost> {
    loop {
        match connect(address, "test", None).await {
            Err(Lost::Silent) => Timer::after(PAUSE).await,
            done => return done,
        };
    }
}

impl Server {
    /// Connects.
    pub async fn connect(&self) -> (Handle, Connection) {
        retry(async || connect(&self.address, "test", None).await).await
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it has not been waited for");
    }

    /// Starts the server again after it was killed.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.folder);
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
