//! chatd.md 3, 7: `chatd` under a service manager.
//!
//! The tests use sockets that exist longer than the server, notifications, and settings in a file.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::support::inbox::DEADLINE;
use crate::support::server::Chatd;
use crate::support::spawn::{Peer, Program};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

const CHATD: &str = env!("CARGO_BIN_EXE_chatd");

/// The script that `systemd-socket-activate` runs. Like a service manager, it holds the socket, and starts `chatd` on
/// it each time it reads a line.
const STARTS_AGAIN_AND_AGAIN: &str = r#"
while read -r go; do
  (
    export LISTEN_PID=$(exec sh -c 'echo $PPID')
    echo "pid $LISTEN_PID"
    exec "$CHATD" --data "$DATA" --log-level off
  )
  echo "ended $?"
done
"#;

/// Sockets held by `systemd-socket-activate`, and a `chatd` that is started on them repeatedly.
struct Manager {
    child: Child,
    out: BufReader<ChildStdout>,
    address: SocketAddr,
    _data: tempfile::TempDir,
}

impl Manager {
    fn start() -> Self {
        // The tool does not accept port 0, so another program may have taken the port that was free a moment ago.
        let started = (0..20).find_map(|_| Self::try_start());
        started.expect("one of 20 free ports stays free for a moment")
    }

    fn try_start() -> Option<Self> {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let data = tempfile::tempdir().unwrap();
        let mut child = Command::new("systemd-socket-activate")
            .args(["--listen", &address.to_string()])
            .args(["-E", "CHATD", "-E", "DATA"])
            .args(["sh", "-c", STARTS_AGAIN_AND_AGAIN])
            .env("CHATD", CHATD)
            .env("DATA", data.path())
            // A process group of its own, so that the chatd is killed with it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("systemd-socket-activate of Debian's systemd is there");
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut manager = Self {
            out: BufReader::new(child.stdout.take().unwrap()),
            address,
            child,
            _data: data,
        };
        let mut line = String::new();
        errors.read_line(&mut line).unwrap();
        if !line.starts_with("Listening on ") {
            assert!(line.contains("Address already in use"), "{line}");
            let _ = manager.child.wait();
            return None;
        }
        // Its further output is read, so that it never blocks on that.
        std::thread::spawn(move || errors.lines().map_while(Result::ok).for_each(drop));
        Some(manager)
    }

    fn say(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("it is piped");
        input.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Returns the next line of its output that begins with `start`, without that beginning.
    fn line(&mut self, start: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.out.read_line(&mut line).unwrap();
            assert!(read > 0, "no line with {start}");
            if let Some(rest) = line.strip_prefix(start) {
                return rest.trim_end().to_owned();
            }
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

#[test]
fn a_client_that_connects_while_no_chatd_runs_is_served_by_the_next() {
    let mut manager = Manager::start();
    manager.say("go");
    // No chatd runs yet: this connection starts the first.
    let mut first = Peer::connect(manager.address);
    first.send("NICK first\nMSG one\n");
    let pid = manager.line("pid ").parse().expect("a process id");
    let address = manager.line("chatd: listening on ");
    assert_eq!(address, manager.address.to_string());
    first.expect("OK NICK first #lobby 0");
    first.expect("OK MSG 1 <time>");

    let pid = Pid::from_raw(pid).expect("not 0");
    kill_process(pid, Signal::TERM).expect("it runs");
    first.expect("CLOSED shutting-down …");
    drop(first);
    assert_eq!(manager.line("ended "), "0");
    let mut second = Peer::connect(manager.address);
    second.send("NICK second\nHISTORY\nBYE\n");
    let mut third = Peer::connect(manager.address);
    third.send("PING\nBYE\n");
    manager.say("go");
    second.expect("OK NICK second #lobby 1");
    second.expect("PAST 1 <time> MSG #lobby first one");
    second.expect("OK HISTORY 1");
    second.expect("OK BYE");
    third.expect("OK PING");
    third.expect("OK BYE");
    let pid = manager.line("pid ").parse().expect("a process id");
    kill_process(Pid::from_raw(pid).expect("not 0"), Signal::TERM).expect("it runs");
    assert_eq!(manager.line("ended "), "0");
}

fn check_notify(socket: &UnixDatagram, name: &str) {
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let notified = || {
        let mut buffer = [0; 256];
        let read = socket.recv(&mut buffer).expect("it tells in time");
        String::from_utf8_lossy(&buffer[..read]).into_owned()
    };
    let command =
        format!("NOTIFY_SOCKET={name} exec {CHATD} --listen 127.0.0.1:0 --memory --log-level off");
    let mut chatd = Program::start(&command, SocketAddr::from(([0; 4], 0)));
    assert_eq!(notified(), "READY=1");
    let line = chatd.expect("chatd: listening on <word>");
    let address = line.rsplit(' ').next().unwrap().parse().unwrap();
    Peer::connect(address).ask("PING", "OK PING");
    chatd.signal(Signal::TERM);
    assert_eq!(notified(), "STOPPING=1");
    assert_eq!(chatd.wait().code, Some(0));
}

#[test]
fn the_service_manager_is_notified_of_start_and_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    check_notify(
        &UnixDatagram::bind(&path).unwrap(),
        &path.display().to_string(),
    );
    let name = format!("plainchat-test-{}", std::process::id());
    let address = UnixAddr::from_abstract_name(&name).unwrap();
    check_notify(
        &UnixDatagram::bind_addr(&address).unwrap(),
        &format!("@{name}"),
    );
}

#[test]
fn a_missing_service_manager_does_not_keep_chatd_from_serving() {
    let command = format!(
        "NOTIFY_SOCKET=/nowhere exec {CHATD} --listen 127.0.0.1:0 --memory --log-level off"
    );
    let mut chatd = Program::start(&command, SocketAddr::from(([0; 4], 0)));
    chatd.expect("chatd: listening on <word>");
    chatd.signal(Signal::TERM);
    assert_eq!(chatd.wait().code, Some(0));
}

#[test]
fn a_passed_socket_must_be_listening() {
    let command =
        format!("export LISTEN_FDS=1; exec 3</dev/null; exec {CHATD} --memory --log-level off");
    let ended = Program::start(&command, SocketAddr::from(([0; 4], 0))).finish();
    assert_eq!(ended.code, Some(1));
    let wanted = "chatd: cannot use the sockets of the service manager: fd 3 is not a socket\n";
    assert_eq!(ended.errors, wanted);
}

#[test]
fn the_command_line_overrides_the_settings_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chatd.toml");
    let settings =
        "lobby = 'hall'\nname = 'file'\nmax-upload = '1KiB'\nlisten = ['nowhere:at:all']\n";
    // Settings that the command line overrides must be valid all the same.
    std::fs::write(&path, settings.replace("nowhere:at:all", "127.0.0.1:0")).unwrap();
    let config = path.to_str().unwrap();
    let chatd = Chatd::with(&["--config", config, "--name", "line"]);
    let mut peer = chatd.peer();
    peer.ask("HELLO", "OK HELLO 1 line …");
    peer.ask("NICK ann", "OK NICK ann #hall 0");
    peer.send("UPLOAD big 2048\n");
    peer.expect("ERR UPLOAD too-large …");
}

#[test]
fn the_packaged_settings_name_every_flag() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/chatd.toml");
    let packaged = std::fs::read_to_string(&path).unwrap();
    let output = Command::new(CHATD).arg("config").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    // The head ends with the one setting that the package makes.
    let head = packaged.split_inclusive("/var/lib/plainchat\"\n\n").next();
    let head = head.expect("it has a head");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, format!("{head}{printed}")).unwrap();
        return;
    }
    assert!(
        packaged == format!("{head}{printed}"),
        "{} is not what `chatd config` prints under its head: BLESS=1 writes it anew",
        path.display()
    );
}

/// `systemd-analyze security` must rate the exposure of the service at no more than 1.4 of 10 (a threshold of 14). Of
/// this, 1.0 is for the network and the system calls that any server needs.
#[test]
fn the_packaged_service_has_a_user_of_its_own_no_capabilities_and_one_folder() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/chatd.service");
    let checked = Command::new("systemd-analyze")
        .args([
            "security",
            "--offline=true",
            "--threshold=14",
            "--no-pager",
            unit,
        ])
        .output()
        .expect("Debian's systemd has it");
    let table = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{table}");
    let lines = std::fs::read_to_string(unit).expect("the unit");
    for line in [
        "User=plainchat",
        "StateDirectory=plainchat",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=",
        "AmbientCapabilities=",
    ] {
        assert!(lines.lines().any(|other| other == line), "no {line}");
    }
    for writable in [
        "ReadWritePaths=",
        "BindPaths=",
        "CacheDirectory=",
        "LogsDirectory=",
    ] {
        assert!(!lines.contains(writable), "{writable}");
    }
}
