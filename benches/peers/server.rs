//! The servers that are measured. Each is started on a port of its own for one measurement, and then stopped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::dialect::Dialect;
use crate::support::{CHATD, Chatd, PATIENCE, data, folder};
use crate::{Result, cpu};

/// The path of another build of chatd, to be measured beside this one.
pub static OTHER_CHATD: OnceLock<String> = OnceLock::new();

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Memory,
    Disk,
    /// chatd in memory. All its clients speak IRC.
    ByIrc,
    /// chatd in memory. All its clients request ids, times and tags.
    Tagged,
    /// The build of chatd that `--beside` names.
    OtherMemory,
    OtherDisk,
    OtherByIrc,
    Floor,
    Redis,
    Nats,
    JetStream,
    Inspircd,
    Ngircd,
    Ncat,
    Nginx,
    Nc,
}

impl Kind {
    /// Returns the name in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "chatd --memory",
            Self::Disk => "chatd, log on disk",
            Self::ByIrc => "chatd --memory, clients of IRC",
            Self::Tagged => "chatd --memory, clients with STAMPS and TAGS",
            Self::OtherMemory => "the other chatd --memory",
            Self::OtherDisk => "the other chatd, log on disk",
            Self::OtherByIrc => "the other chatd --memory, clients of IRC",
            Self::Floor => "floor",
            Self::Redis => "redis-server",
            Self::Nats => "nats-server",
            Self::JetStream => "nats-server, JetStream in files",
            Self::Inspircd => "inspircd",
            Self::Ngircd => "ngircd",
            Self::Ncat => "ncat --chat",
            Self::Nginx => "nginx, sendfile",
            Self::Nc => "nc > file, sha256sum",
        }
    }

    /// Returns the program; `None` for `chatd` and the floor server.
    pub fn program(self) -> Option<&'static str> {
        match self {
            Self::Redis => Some("redis-server"),
            Self::Nats | Self::JetStream => Some("nats-server"),
            Self::Inspircd => Some("inspircd"),
            Self::Ngircd => Some("ngircd"),
            Self::Ncat => Some("ncat"),
            Self::Nginx => Some("nginx"),
            // Several programs are called `nc`; the benchmark knows the flags of this one.
            Self::Nc => Some("nc.openbsd"),
            _ => None,
        }
    }

    pub fn is_installed(self) -> bool {
        self.program().is_none_or(|name| program(name).is_some())
    }

    pub fn is_chatd(self) -> bool {
        matches!(
            self,
            Self::Memory
                | Self::Disk
                | Self::ByIrc
                | Self::Tagged
                | Self::OtherMemory
                | Self::OtherDisk
                | Self::OtherByIrc
        )
    }

    /// Returns the kind for the same server in the build that `--beside` names, if it names one.
    pub fn other_build(self) -> Option<Self> {
        OTHER_CHATD.get()?;
        match self {
            Self::Memory => Some(Self::OtherMemory),
            Self::Disk => Some(Self::OtherDisk),
            Self::ByIrc => Some(Self::OtherByIrc),
            _ => None,
        }
    }

    pub fn dialect(self) -> Dialect {
        match self {
            Self::Memory | Self::Disk | Self::OtherMemory | Self::OtherDisk => Dialect::Chatd,
            Self::Tagged => Dialect::Tagged,
            Self::Redis => Dialect::Redis,
            Self::Nats | Self::JetStream => Dialect::Nats,
            Self::ByIrc | Self::OtherByIrc | Self::Inspircd | Self::Ngircd => Dialect::Irc,
            Self::Floor => Dialect::Echo,
            Self::Ncat | Self::Nginx | Self::Nc => Dialect::Lines,
        }
    }
}

/// Finds a program in the search path, or where Debian puts programs for the administrator.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

enum Process {
    Chatd(Chatd),
    Other(Child),
}

/// A running server; it is killed when dropped.
pub struct Server {
    pub kind: Kind,
    pub address: SocketAddr,
    process: Process,
    /// Its data folder, deleted with it.
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts a server; `files` is the folder that it serves, if it serves files.
    pub fn start(kind: Kind, files: &Path) -> Result<Self> {
        let folder = folder()?;
        let path = folder.path();
        let (process, address) = match kind {
            Kind::Memory
            | Kind::Disk
            | Kind::ByIrc
            | Kind::Tagged
            | Kind::OtherMemory
            | Kind::OtherDisk
            | Kind::OtherByIrc => {
                let flags = match kind {
                    Kind::Disk | Kind::OtherDisk => data(path),
                    _ => Vec::new(),
                };
                let program = match (kind, OTHER_CHATD.get()) {
                    (Kind::OtherMemory | Kind::OtherDisk | Kind::OtherByIrc, Some(other)) => other,
                    _ => CHATD,
                };
                let chatd = Chatd::spawn(program, &flags)?;
                let address = chatd.address;
                (Process::Chatd(chatd), address)
            }
            Kind::Floor => {
                let mut child = Command::new(std::env::current_exe()?)
                    .arg("--floor")
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .spawn()?;
                let out = child.stdout.take().ok_or("no output")?;
                let mut line = String::new();
                BufReader::new(out).read_line(&mut line)?;
                (Process::Other(child), line.trim_end().parse()?)
            }
            _ => {
                let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
                (
                    Process::Other(spawn(kind, address.port(), path, files)?),
                    address,
                )
            }
        };
        let server = Self {
            kind,
            address,
            process,
            folder,
        };
        server.wait()?;
        Ok(server)
    }

    /// Waits until it accepts connections.
    fn wait(&self) -> Result<()> {
        let begun = Instant::now();
        let stream = loop {
            match TcpStream::connect(self.address) {
                Ok(stream) => break stream,
                Err(e) if begun.elapsed() > PATIENCE => {
                    return Err(format!("{} does not listen: {e}", self.kind.name()).into());
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        if self.kind == Kind::Ncat {
            // ncat exits when it is about to name a client that has left, so this client leaves while nobody
            // connects.
            let mut greeting = BufReader::new(stream).lines();
            greeting.nth(1).ok_or("ncat does not greet")??;
            drop(greeting);
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Returns how long the connections must be silent before all announcements are known to have arrived. In rooms
    /// that are not too large, `chatd` announces a member after a second. If `time` is very short, these
    /// announcements are not awaited.
    pub fn quiet(&self, members: usize, time: Duration) -> Duration {
        if self.kind.is_chatd() && members <= 500 && time > Duration::from_millis(100) {
            Duration::from_millis(1200)
        } else {
            Duration::from_millis(100)
        }
    }

    /// Returns the folder where it stores its data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn id(&self) -> u32 {
        match &self.process {
            Process::Chatd(chatd) => chatd.id(),
            Process::Other(child) => child.id(),
        }
    }

    /// Returns the seconds of processor time that the server has used.
    pub fn cpu(&self) -> Result<f64> {
        Ok(cpu::seconds(self.id())?)
    }

    /// Returns the memory of the server in bytes.
    pub fn memory(&self) -> Result<f64> {
        Ok(cpu::memory(self.id())?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Process::Other(child) = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts one of the other servers, without limits that would distort the measurement.
fn spawn(kind: Kind, port: u16, folder: &Path, files: &Path) -> Result<Child> {
    let name = kind.program().ok_or("it is ours")?;
    let mut command = Command::new(program(name).ok_or_else(|| format!("there is no {name}"))?);
    let port = port.to_string();
    let config = folder.join("config");
    match kind {
        Kind::Redis => {
            command.args([
                "--bind",
                "127.0.0.1",
                "--port",
                &port,
                "--save",
                "",
                "--appendonly",
                "no",
            ]);
            command
                .args(["--maxclients", "15000", "--tcp-backlog", "511", "--dir"])
                .arg(folder);
        }
        Kind::Nats | Kind::JetStream => {
            command.args(["-a", "127.0.0.1", "-p", &port]);
            if kind == Kind::JetStream {
                command.args(["-js", "-sd"]).arg(folder);
            }
        }
        Kind::Ngircd => {
            let text = format!(
                "[Global]\nName = bench.local\nInfo = bench\nListen = 127.0.0.1\nPorts = {port}\nMotdPhrase = hello\n\
                 ServerUID = 0\nServerGID = 0\n\
                 [Limits]\nMaxConnections = 0\nMaxConnectionsIP = 0\nMaxJoins = 0\nMaxPenaltyTime = 0\nPingTimeout = 3600\n\
                 [Options]\nDNS = no\nIdent = no\nPAM = no\n"
            );
            fs::write(&config, text)?;
            command.args(["-n", "-f"]).arg(&config);
        }
        Kind::Inspircd => {
            let text = format!(
                "<server name=\"bench.local\" description=\"bench\" network=\"bench\">\n\
                 <admin name=\"bench\" email=\"none@localhost\" nick=\"none\">\n\
                 <bind address=\"127.0.0.1\" port=\"{port}\" type=\"clients\">\n\
                 <connect allow=\"*\" timeout=\"60\" pingfreq=\"3600\" threshold=\"1000000000\" commandrate=\"1000000000\" \
                 fakelag=\"no\" softsendq=\"100M\" hardsendq=\"500M\" recvq=\"10M\" localmax=\"20000\" globalmax=\"20000\" \
                 limit=\"20000\" maxchans=\"10\" resolvehostnames=\"no\" useident=\"no\" maxconnwarn=\"no\">\n\
                 <performance netbuffersize=\"65534\" somaxconn=\"128\" softlimit=\"20000\" quietbursts=\"yes\">\n\
                 <security maxtargets=\"20\">\n<pid file=\"{0}/pid\">\n<log method=\"file\" type=\"* -USERINPUT -USEROUTPUT\" level=\"default\" target=\"{0}/log\">\n",
                folder.display()
            );
            fs::write(&config, text)?;
            command
                .args(["--runasroot", "--nofork", "--config"])
                .arg(&config);
        }
        Kind::Ncat => {
            command.args(["--chat", "-l", "127.0.0.1", &port, "-m", "1000"]);
        }
        Kind::Nginx => {
            let text = format!(
                "daemon off; master_process off; pid {0}/pid; error_log {0}/log;\n\
                 events {{ worker_connections 64; }}\n\
                 http {{ access_log off; sendfile on; client_body_temp_path {0}/a; proxy_temp_path {0}/b;\n\
                 fastcgi_temp_path {0}/c; uwsgi_temp_path {0}/d; scgi_temp_path {0}/e;\n\
                 server {{ listen 127.0.0.1:{port}; root {1}; }} }}\n",
                folder.display(),
                files.display()
            );
            fs::write(&config, text)?;
            command
                .arg("-e")
                .arg(folder.join("log"))
                .arg("-c")
                .arg(&config);
        }
        Kind::Memory
        | Kind::Disk
        | Kind::ByIrc
        | Kind::Tagged
        | Kind::OtherMemory
        | Kind::OtherDisk
        | Kind::OtherByIrc
        | Kind::Floor
        | Kind::Nc => {
            return Err("it is no server of others".into());
        }
    }
    let child = command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(child)
}
