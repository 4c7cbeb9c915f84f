//! The server under attack, its honest users, and the resources that the server uses.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use crate::support::peer::{DEADLINE, Peer, sha256};
use crate::support::server::Chatd;

/// The address from which strangers connect.
pub const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));

/// The memory that the server may use, in bytes.
const MEMORY_MAX: u64 = 512 << 20;

/// A server with little memory that stores its log in a folder.
pub struct Target {
    pub chatd: Chatd,
    folder: tempfile::TempDir,
}

impl Target {
    /// Starts a server that may allocate 512 MiB, with further flags.
    pub fn start(flags: &[&str]) -> Self {
        Self::start_under(&[], flags)
    }

    /// Starts a server as [`Self::start`] does, through a program that sets a limit first, such as `prlimit
    /// --nofile=256`.
    pub fn start_under(first: &[&str], flags: &[&str]) -> Self {
        Self::try_start(first, flags).unwrap_or_else(|why| panic!("{why}"))
    }

    /// Starts a server as [`Self::start_under`] does. If the server does not start, returns what it prints.
    pub fn try_start(first: &[&str], flags: &[&str]) -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let memory = format!("--data={MEMORY_MAX}");
        let first: Vec<&str> = ["prlimit", &memory]
            .into_iter()
            .chain(first.to_vec())
            .collect();
        let mut all: Vec<String> = vec!["--data".into(), data.display().to_string()];
        // Joins are not announced, because it would depend on the machine's speed whether they are announced during a
        // test.
        all.extend(["--announce-after", "1h"].map(str::to_owned));
        if !flags.contains(&"--max-memory") {
            all.extend(["--max-memory", "64MiB"].map(str::to_owned));
        }
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let chatd = Chatd::spawn_under(&first, &program(), &all)?;
        Ok(Self { chatd, folder })
    }

    /// Returns the folder of the server's log and files.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Returns a folder for the test's own files.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// Connects an honest user.
    pub fn peer(&self) -> Peer {
        Peer::connect(self.chatd.address).expect("the server accepts")
    }

    /// Connects an honest user with a nick, in the lobby.
    pub fn member(&self, nick: &str) -> Peer {
        let mut peer = self.peer();
        ask(&mut peer, &format!("NICK {nick}"), "OK NICK");
        peer
    }

    /// Connects an honest user who registers the nick.
    pub fn owner(&self, nick: &str) -> Peer {
        let mut peer = self.member(nick);
        ask(&mut peer, "REGISTER my secret", "OK REGISTER");
        peer
    }

    /// Connects a stranger.
    pub fn stranger(&self) -> Peer {
        Peer::connect_from(STRANGER, self.chatd.address).expect("the server accepts")
    }

    /// Connects a stranger with a nick.
    pub fn named_stranger(&self, nick: &str) -> Peer {
        let mut peer = self.stranger();
        ask(&mut peer, &format!("NICK {nick}"), "OK NICK");
        peer
    }

    /// Sends an honest user's HTTP request; returns the status line with the headers, and the body.
    pub fn http(&self, request: &str) -> (String, String) {
        exchange(self.peer(), request)
    }

    /// Sends a stranger's HTTP request.
    pub fn strange_http(&self, request: &str) -> (String, String) {
        exchange(self.stranger(), request)
    }

    /// Returns the number called `name` in `/metrics`.
    pub fn metric(&self, name: &str) -> u64 {
        let (_, page) = self.http("GET /metrics HTTP/1.1\r\nHost: localhost\r\n");
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.and_then(|value| value.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {name}: {page}"))
    }

    /// Returns the number of connections, not counting the one that asks for this number.
    pub fn connections(&self) -> u64 {
        let (_, page) = self.http("GET /metrics HTTP/1.1\r\nHost: localhost\r\n");
        let lines = page
            .lines()
            .filter(|line| line.starts_with("chatd_connections{"));
        let counts = lines.map(|line| line.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()));
        let all: u64 = counts.map(|count| count.expect("a number")).sum();
        all.saturating_sub(1)
    }

    /// Returns a line of `/proc/PID/status`, in bytes.
    fn status(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.chatd.id());
        let status = fs::read_to_string(path).expect("the server runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or_else(|| panic!("the server has gone: {status}")) * 1024
    }

    /// Returns the server's environment, in the form of `proc_pid_environ`(5).
    pub fn environment(&self) -> String {
        let path = format!("/proc/{}/environ", self.chatd.id());
        String::from_utf8_lossy(&fs::read(path).expect("it runs")).into_owned()
    }

    /// Returns the memory that the server uses now, in bytes.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS")
    }

    /// Returns the server's CPU time in hundredths of a second (`proc_pid_stat`(5), fields 14 and 15).
    pub fn cpu(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.chatd.id())).expect("it runs");
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2);
        ticks
            .map(|ticks| ticks.parse::<u64>().expect("a number"))
            .sum()
    }

    /// Returns the number of files that the server has open. With `name`, counts only those whose path ends with it.
    pub fn open_files(&self, name: &str) -> usize {
        let path = format!("/proc/{}/fd", self.chatd.id());
        let entries = fs::read_dir(path).expect("it runs").flatten();
        let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
        targets
            .filter(|target| target.to_string_lossy().ends_with(name))
            .count()
    }

    /// Repeats a check until it succeeds; each check takes a while, so this does not spin.
    pub fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "still not so: {what}");
        }
    }

    /// Waits until the server reads no more of what was sent to it: the system's queues of unread bytes no longer
    /// change.
    pub fn settle(&self) {
        let port = format!(":{:04X}", self.chatd.address.port());
        let waiting = || {
            let table = fs::read_to_string("/proc/net/tcp").expect("Linux has it");
            let mine = table
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>());
            let mine =
                mine.filter(|words| words.get(1).is_some_and(|local| local.ends_with(&port)));
            let queues = mine.filter_map(|words| words.get(4)?.split_once(':'));
            queues
                .filter_map(|(_, received)| u64::from_str_radix(received, 16).ok())
                .sum::<u64>()
        };
        let mut peer = self.peer();
        let mut before = (waiting(), self.memory());
        self.until("the server has read what it wants to", |_| {
            for _ in 0..100 {
                ask(&mut peer, "PING", "OK PING");
            }
            let now = (waiting(), self.memory());
            now == std::mem::replace(&mut before, now)
        });
    }

    /// Checks that everything a new user does works: the server runs, and no shared resource is used up.
    pub fn serves_everybody(&mut self) {
        assert!(
            self.chatd.wait(std::time::Duration::ZERO).is_none(),
            "the server has ended"
        );
        let mut ann = self.member("bystander");
        ask(&mut ann, "JOIN #bystanders AS reader", "OK JOIN");
        let reply = ask(&mut ann, "MSG pomegranate", "OK MSG");
        let id = reply.split(' ').nth(2).expect("an id").to_owned();
        let bytes = format!("a file after message {id}");
        let sent = ann.upload("after.txt", bytes.as_bytes(), &sha256(bytes.as_bytes()));
        let sent = sent.expect("a reply");
        assert!(sent.starts_with("OK UPLOAD "), "{sent}");
        let file = sent
            .split(' ')
            .nth(2)
            .and_then(|id| id.parse().ok())
            .expect("an id");
        let fetched = ann.download(file).expect("a reply").expect("the file");
        assert!(fetched.bytes == bytes.as_bytes(), "another file");
        let (past, reply) = ann.list("HISTORY #bystanders 2").expect("a reply");
        assert_eq!((past.len(), &*reply), (2, "OK HISTORY 2"));
        // Search may lag behind the log, and is refused when it is busy, but succeeds eventually.
        self.until("what was said is found", |_| {
            let (found, _) = ann.list("SEARCH #bystanders pomegranate").expect("a reply");
            found
                .iter()
                .any(|line| line.contains(&format!("PAST {id} ")))
        });
        let (head, _) = self.http("GET /health HTTP/1.1\r\nHost: localhost\r\n");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        ask(&mut ann, "BYE", "OK BYE");
    }
}

/// Returns the path of the server to attack: another build, such as the release one, if `CHATD` names it.
pub fn program() -> String {
    std::env::var("CHATD").unwrap_or_else(|_| env!("CARGO_BIN_EXE_chatd").to_owned())
}

/// Sends a request; the reply must begin with `start`.
#[track_caller]
pub fn ask(peer: &mut Peer, request: &str, start: &str) -> String {
    let reply = peer.ask(request).expect("a reply");
    assert!(
        reply.starts_with(start),
        "{request:.80}: {reply}, wanted {start}"
    );
    reply
}

/// Sends all lines without waiting, and reads the replies meanwhile. Returns fewer replies if the server closes the
/// connection.
pub fn pipeline(peer: &mut Peer, lines: &[String]) -> Vec<String> {
    let mut writer = peer.writer().expect("a descriptor");
    thread::scope(|scope| {
        scope.spawn(move || {
            for some in lines.chunks(500) {
                if writer
                    .write_all((some.join("\n") + "\n").as_bytes())
                    .is_err()
                {
                    break;
                }
            }
        });
        lines.iter().map_while(|_| peer.reply().ok()).collect()
    })
}

/// Returns how many of the replies begin with `start`.
pub fn count(replies: &[String], start: &str) -> usize {
    replies
        .iter()
        .filter(|reply| reply.starts_with(start))
        .count()
}

/// Sends one request, with its body if it has one, and reads to the end; returns the head, and the body as text.
pub fn exchange(mut peer: Peer, request: &str) -> (String, String) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
    let head = head.trim_end();
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let request = format!("{head}\r\n{length}Connection: close\r\n\r\n{body}");
    peer.send(request).expect("it reads");
    let answer = String::from_utf8_lossy(&peer.rest().expect("an answer")).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}

/// Returns the `Authorization` header for a nick and its password.
pub fn basic(user: &str) -> String {
    use base64::Engine as _;
    let user = base64::engine::general_purpose::STANDARD.encode(user);
    format!("Authorization: Basic {user}\r\n")
}
