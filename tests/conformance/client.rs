//! The level minimal-client: runs a client against a server that may be quick, slow or newer than the client, and
//! checks what the client sends and prints.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// The deadline of every wait.
const PATIENCE: Duration = Duration::from_secs(30);

const TIME: &str = "2026-11-22T11:22:05.007Z";
const NICK: &str = "bob";
const ROOM: &str = "ops";

/// A check: its name, and what it does with a client that has just been started.
type Check = (&'static str, fn(&mut Session) -> Result<(), String>);

const CHECKS: &[Check] = &[
    ("joins the room under its nick", arrives),
    ("sends each line of its input as a message", sends),
    ("prints a message with its sender and its text", prints),
    ("puts lines together however they are cut", cut_anywhere),
    ("skips lines that it does not know", skips),
    ("accepts further fields in replies", further_fields),
    ("reads while it sends", reads_while_it_sends),
    ("gets all replies before it ends", ends),
    ("sends nothing when its room refuses it", stays_out),
    (
        "sends nothing as long as its nick is refused",
        waits_for_its_nick,
    ),
    (
        "ends or connects again when the server closes",
        notices_the_end,
    ),
];

/// Runs `command HOST PORT NICK ROOM` once for each check, and returns what failed.
pub fn check(command: &str) -> Vec<String> {
    let failed = CHECKS.iter().filter_map(|(name, check)| {
        let result = Session::start(command).and_then(|mut session| check(&mut session));
        Some(format!("a minimal client {name}: {}", result.err()?))
    });
    failed.collect()
}

/// Returns how many checks there are.
pub fn count() -> usize {
    CHECKS.len()
}

/// A running client and its connection.
struct Session {
    child: Child,
    stream: TcpStream,
    received: BufReader<TcpStream>,
    printed: Receiver<String>,
    /// The room that the client has joined last.
    room: String,
    next_id: u64,
    said_bye: bool,
    /// The verb whose next request is refused, if any.
    refuses: &'static str,
    has_nick: bool,
    has_joined: bool,
    /// The further connections of the client, and one more when the client's output ends.
    again: Receiver<TcpStream>,
}

impl Session {
    fn start(command: &str) -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
        let port = listener.local_addr().map_err(|e| e.to_string())?.port();
        let mut child = Command::new("sh")
            .args(["-c", &format!("{command} 127.0.0.1 {port} {NICK} {ROOM}")])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("sh: {e}"))?;
        let out = child.stdout.take().ok_or("no standard output")?;
        let (to, printed) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = to.send(line);
            }
            // `again` receives its end, too.
            let _ = TcpStream::connect(("127.0.0.1", port));
        });
        let (to, again) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if to.send(stream).is_err() {
                    break;
                }
            }
        });
        let accepted = again.recv_timeout(PATIENCE);
        let accepted = accepted.map_err(|_| "it did not connect".to_owned());
        let connect = |stream: TcpStream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok((BufReader::new(stream.try_clone()?), stream))
        };
        let connected =
            accepted.and_then(|stream| connect(stream).map_err(|e: std::io::Error| e.to_string()));
        match connected {
            Ok((received, stream)) => Ok(Self {
                child,
                stream,
                received,
                printed,
                room: "lobby".to_owned(),
                next_id: 1,
                said_bye: false,
                refuses: "",
                has_nick: false,
                has_joined: false,
                again,
            }),
            Err(why) => {
                stop(&mut child);
                Err(why)
            }
        }
    }

    /// Types a line into the client.
    fn types(&mut self, text: impl AsRef<[u8]>) -> Result<(), String> {
        let input = self.child.stdin.as_mut().ok_or("its input is closed")?;
        let typed = input.write_all(&[text.as_ref(), b"\n"].concat());
        typed.map_err(|e| format!("it does not read its input: {e}"))
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), String> {
        match self.stream.write_all(bytes.as_ref()) {
            // It has ended; the next `request` returns that.
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                Ok(())
            }
            sent => sent.map_err(|e| format!("it does not read: {e}")),
        }
    }

    /// Returns the next request, checked as section 3.1 says.
    fn request(&mut self) -> Result<Option<String>, String> {
        let mut line = Vec::new();
        match self.received.read_until(b'\n', &mut line) {
            // A client that ends before it has read everything resets its connection.
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(None),
            read => read.map_err(|e| format!("no request arrives: {e}"))?,
        };
        if line.is_empty() {
            return Ok(None);
        }
        if line.len() > 4096 {
            return Err(format!("it sent a line of {} bytes", line.len()));
        }
        let text = String::from_utf8(line).map_err(|e| format!("it sent other than UTF-8: {e}"))?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.to_uppercase().starts_with("MSG") && !(self.has_nick && self.has_joined) {
            return Err(format!("it sent {text:?} without a nick or a room"));
        }
        Ok(Some(text.to_owned()))
    }

    /// Answers requests until one begins with `wanted`. Returns that one, unanswered.
    fn serve_until(&mut self, wanted: &str) -> Result<String, String> {
        loop {
            let request = self.request()?;
            let request = request.ok_or(format!("it ended before it sent {wanted}"))?;
            if request.to_uppercase().starts_with(wanted) {
                return Ok(request);
            }
            self.answer(&request)?;
        }
    }

    /// Answers a request as a minimal server does.
    fn answer(&mut self, request: &str) -> Result<(), String> {
        let mut words = request.split(' ').filter(|word| !word.is_empty());
        let verb = words.next().unwrap_or_default().to_uppercase();
        let first = words.next().unwrap_or_default();
        let reply = match verb.trim_start_matches('/') {
            "" => return Ok(()),
            verb if verb == self.refuses => {
                let code = if verb == "NICK" {
                    "nick-taken"
                } else {
                    "not-allowed"
                };
                self.refuses = "";
                format!("ERR {verb} {code} not {first}")
            }
            "NICK" => {
                self.has_nick = true;
                format!("OK NICK {first} #{} 0", self.room)
            }
            "JOIN" => {
                self.has_joined = true;
                self.room = first.trim_start_matches('#').to_owned();
                format!("OK JOIN #{} 0", self.room)
            }
            "PART" => format!("OK PART #{}", self.room),
            "MSG" => {
                self.next_id += 1;
                format!("OK MSG {} {TIME}", self.next_id)
            }
            "PING" => format!("OK PING {first}").trim_end().to_owned(),
            "HELLO" => "OK HELLO 1 minimal".to_owned(),
            "BYE" => {
                self.said_bye = true;
                "OK BYE".to_owned()
            }
            _ => {
                "ERR - unknown-verb there are NICK, MSG, JOIN, PART, PING, HELLO and BYE".to_owned()
            }
        };
        self.send(format!("{reply}\n"))
    }

    /// Answers requests until the client has its nick and has joined the room, in either order.
    fn arrive(&mut self) -> Result<(), String> {
        let (mut has_nick, mut has_room) = (false, false);
        while !(has_nick && has_room) {
            let request = self.request()?;
            let request = request.ok_or("it ended before it had a nick and a room")?;
            let words: Vec<&str> = request.split(' ').filter(|w| !w.is_empty()).collect();
            has_nick |= matches!(words[..], [verb, NICK, ..] if verb.eq_ignore_ascii_case("nick"));
            let room = words.get(1).map(|room| room.trim_start_matches('#'));
            has_room |= words[0].eq_ignore_ascii_case("join") && room == Some(ROOM);
            self.answer(&request)?;
        }
        Ok(())
    }

    /// Waits until the client has printed a line that contains `sender` and `text`.
    fn prints(&mut self, sender: &str, text: &str) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        while let Ok(line) = self
            .printed
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            if line.contains(sender) && line.contains(text) {
                return Ok(());
            }
            others.push(line);
        }
        let last = &others[others.len().saturating_sub(5)..];
        Err(format!(
            "it did not print {sender:?} and {text:?}; its last lines are {last:?}"
        ))
    }

    /// Closes the client's input, answers what it still asks, and checks that it ends by itself and without an error.
    fn finish(&mut self) -> Result<(), String> {
        let status = self.end()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("it ended with {status}"))
        }
    }

    /// Closes the client's input, answers what it still asks, and returns how it ended.
    fn end(&mut self) -> Result<ExitStatus, String> {
        self.child.stdin = None;
        while !self.said_bye
            && let Some(request) = self.request()?
        {
            self.answer(&request)?;
        }
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
        let mut rest = Vec::new();
        let _ = self.received.read_to_end(&mut rest);
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.printed.recv_timeout(left) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(
                        "it did not end after its input and the connection had ended".into(),
                    );
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.child.wait().map_err(|e| e.to_string())
    }

    /// Types a line at once, refuses the next request with the verb `verb`, and checks that nothing is said until the
    /// client has a nick and a room. It may try again, or end with any status.
    fn is_refused(&mut self, verb: &'static str) -> Result<(), String> {
        self.types("for #ops alone")?;
        self.refuses = verb;
        while !self.refuses.is_empty() {
            let request = self.request()?;
            let request = request.ok_or(format!("it ended before it sent {verb}"))?;
            self.answer(&request)?;
        }
        // The client may have ended already, so its input or its connection may be gone.
        let _ = self.types("this too");
        self.end().map(drop)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// Kills the client and everything that it started.
fn stop(child: &mut Child) {
    if matches!(child.try_wait(), Ok(None)) {
        let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    }
    let _ = child.wait();
}

fn arrives(session: &mut Session) -> Result<(), String> {
    session.arrive()?;
    session.finish()
}

fn sends(session: &mut Session) -> Result<(), String> {
    session.arrive()?;
    for text in ["hello, all", "  two  spaces ", "/not a command", "grüße 🎉"] {
        session.types("")?; // An empty line is no message.
        session.types(text)?;
        let request = session.serve_until("MSG")?;
        if request.get(3..) != Some(&format!(" {text}")) {
            return Err(format!("of {text:?} it made the request {request:?}"));
        }
        session.answer(&request)?;
    }
    session.types(b"caf\xe9")?; // Whatever it makes of that, it sends UTF-8 and goes on.
    session.types("ü".repeat(3000))?; // This must be split, or the client says that it is too long.
    session.types("after")?;
    loop {
        let request = session.serve_until("MSG")?;
        session.answer(&request)?;
        if request == "MSG after" {
            return session.finish();
        }
    }
}

fn stays_out(session: &mut Session) -> Result<(), String> {
    session.is_refused("JOIN")
}

fn waits_for_its_nick(session: &mut Session) -> Result<(), String> {
    session.is_refused("NICK")
}

/// The server stops while the client's input is open.
fn notices_the_end(session: &mut Session) -> Result<(), String> {
    session.arrive()?;
    session.send("CLOSED shutting-down back soon\n")?;
    let _ = session.stream.shutdown(std::net::Shutdown::Both);
    let again = session.again.recv_timeout(PATIENCE);
    again.map(drop).map_err(|_| "it did neither".into())
}

fn prints(session: &mut Session) -> Result<(), String> {
    session.arrive()?;
    session.send("MSG #ops ann hello, bob\n")?;
    session.prints("ann", "hello, bob")?;
    session.send("ME #ops carol waves\n")?;
    session.prints("carol", "waves")?;
    // An empty line of a message of several lines.
    session.send("MSG #ops dora\nMSG #ops ann  indented\n")?;
    session.prints("ann", " indented")?;
    let longest = "x".repeat(6000);
    session.send(format!("MSG #ops ann {longest}\n"))?;
    session.prints("ann", &longest)?;
    session.finish()
}

fn cut_anywhere(session: &mut Session) -> Result<(), String> {
    session.arrive()?;
    for byte in "MSG #ops ann größer 🎉\nMSG #ops eve second\n".bytes() {
        session.send([byte])?;
    }
    session.prints("ann", "größer 🎉")?;
    session.prints("eve", "second")?;
    let many: String = (0..1000)
        .map(|n| format!("MSG #ops ann line{n}.\n"))
        .collect();
    session.send(many)?;
    session.prints("ann", "line999.")?;
    session.finish()
}

fn skips(session: &mut Session) -> Result<(), String> {
    session.arrive()?;
    session.send("WEATHER #ops sunny\nX\nweather\n@x-tag=1 WEATHER #ops\n")?;
    session.send("TOPIC #ops ann\nGAP *\nNOTE * ann hi\nFILE #ops ann 7 5 a b.txt\n")?;
    session.send("MSG #ops ann after all that\n")?;
    session.prints("ann", "after all that")?;
    session.finish()
}

fn further_fields(session: &mut Session) -> Result<(), String> {
    session.arrive()?;
    session.types("one")?;
    session.serve_until("MSG")?;
    session.send(format!("MSG #ops ann between\nOK MSG 2 {TIME} and more\n"))?;
    session.prints("ann", "between")?;
    session.types("two")?;
    session.serve_until("MSG")?;
    session.send("ERR MSG some-new-code try again\nMSG #ops ann still here\n")?;
    session.prints("ann", "still here")?;
    session.finish()
}

/// The server reads nothing until the client has read 4 MiB, and the client has as much to send. A client that does not
/// read while it sends waits forever.
fn reads_while_it_sends(session: &mut Session) -> Result<(), String> {
    const LINES: usize = 4096;
    session.arrive()?;
    let mut input = session.child.stdin.take().ok_or("no input")?;
    let text = "y".repeat(1000);
    let typing =
        std::thread::spawn(move || (0..LINES).try_for_each(|n| writeln!(input, "{n} {text}")));
    let line = format!("MSG #ops ann {}\n", "x".repeat(1000));
    for _ in 0..LINES {
        session.send(&line)?;
    }
    session.send("MSG #ops ann the last one\n")?;
    session.prints("ann", "the last one")?;
    for n in 0..LINES {
        let request = session.serve_until("MSG")?;
        if !request[4..].starts_with(&format!("{n} ")) {
            return Err(format!("line {n} of its input did not arrive in its turn"));
        }
        session.answer(&request)?;
    }
    let typed = typing.join().map_err(|_| "no thread")?;
    typed.map_err(|e| format!("it does not read its input: {e}"))?;
    session.finish()
}

/// The server is slow: the input has ended long before the replies and a last message arrive.
fn ends(session: &mut Session) -> Result<(), String> {
    session.arrive()?;
    session.types("the last words")?;
    let request = session.serve_until("MSG")?;
    session.child.stdin = None;
    let end = session.request()?;
    session.answer(&request)?;
    session.send("MSG #ops ann goodbye\n")?;
    if let Some(end) = end {
        session.answer(&end)?;
    }
    session.prints("ann", "goodbye")?;
    session.finish()
}
