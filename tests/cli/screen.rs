//! protocol.md 10.3: the screen of `chatc` in a terminal (tmux), on a real `chatd`.
//!
//! The expected screens are in `tests/cli/golden/screen`; with `BLESS=1`, they are written anew.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::support::script::{DEADLINE, Running};
use crate::support::server::Chatd;

/// A screen is complete when nothing has changed for this long.
const SETTLED: Duration = Duration::from_secs(1);

fn chatd(flags: &[&str]) -> Chatd {
    // Joins and leaves depend on time, so they would make the expected screens unstable.
    let mut all = vec!["--announce-after".to_owned(), "1h".to_owned()];
    all.extend(flags.iter().map(|flag| flag.to_string()));
    Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &all).expect("chatd")
}

/// A terminal for one test, with a shell in it.
pub struct Terminal {
    socket: String,
    home: tempfile::TempDir,
}

impl Terminal {
    pub fn new(columns: u16, rows: u16) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        Self::with(columns, rows, home, "")
    }

    /// Opens a terminal with the home folder `home` and the environment variables `variables`.
    fn with(columns: u16, rows: u16, home: tempfile::TempDir, variables: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let socket = format!(
            "chatc-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::SeqCst)
        );
        let terminal = Self { socket, home };
        let home = terminal.home.path().to_str().expect("UTF-8");
        let shell = format!(
            "cd {home} && exec env -i HOME={home} PATH=\"$PATH\" LANG=C.UTF-8 LOGNAME=ann TZ=UTC TERM=tmux-256color {variables} PS1='shell> ' bash --norc --noprofile"
        );
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-s",
            "s",
            "-x",
            &columns.to_string(),
            "-y",
            &rows.to_string(),
            &shell,
        ]);
        terminal.tmux(&["set", "-g", "status", "off"]);
        terminal.sees("shell>");
        terminal
    }

    /// Opens a terminal in which `chatc` runs, in the lobby of `address`.
    fn chatc(address: SocketAddr, columns: u16, rows: u16) -> Self {
        let terminal = Self::new(columns, rows);
        terminal.run(&format!("{} {address}", env!("CARGO_BIN_EXE_chatc")));
        terminal.sees("ann ›");
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-u", "-L", &self.socket])
            .args(args)
            .env_remove("TMUX")
            .output()
            .expect("tmux is there");
        assert!(
            output.status.success(),
            "tmux {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Types a command into the shell.
    pub fn run(&self, command: &str) {
        self.text(command);
        self.key("Enter");
    }

    pub fn text(&self, text: &str) {
        self.tmux(&["send-keys", "-t", "s", "-l", "--", text]);
    }

    pub fn key(&self, key: &str) {
        self.tmux(&["send-keys", "-t", "s", key]);
    }

    pub fn say(&self, line: &str) {
        self.text(line);
        self.key("Enter");
    }

    /// Returns what the screen shows, without trailing spaces.
    fn seen(&self) -> String {
        let seen = self.tmux(&["capture-pane", "-p", "-t", "s"]);
        seen.lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect()
    }

    /// Returns what the screen shows, with the escape sequences of its colours.
    fn colors(&self) -> String {
        self.tmux(&["capture-pane", "-e", "-p", "-t", "s"])
    }

    /// Returns the process of `chatc`, the shell's only child.
    fn child(&self) -> rustix::process::Pid {
        let shell = self.tmux(&["list-panes", "-t", "s", "-F", "#{pane_pid}"]);
        let child = Command::new("pgrep")
            .args(["-P", shell.trim()])
            .output()
            .expect("pgrep is there");
        let child = String::from_utf8_lossy(&child.stdout).trim().parse();
        rustix::process::Pid::from_raw(child.expect("one child")).expect("not 0")
    }

    /// Waits until the screen satisfies `fits`.
    #[track_caller]
    fn until(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            // Each query of tmux takes as long as a pause would.
            let seen = self.seen();
            if fits(&seen) {
                return seen;
            }
            assert!(Instant::now() < end, "{what} is not to be seen:\n{seen}");
        }
    }

    #[track_caller]
    pub fn sees(&self, text: &str) -> String {
        self.until(text, |seen| seen.contains(text))
    }

    #[track_caller]
    fn sees_not(&self, text: &str) -> String {
        self.until(&format!("the end of {text}"), |seen| !seen.contains(text))
    }

    /// Checks that the screen is that of the golden file, except for times and the port.
    #[track_caller]
    fn looks_like(&self, golden: &str, address: SocketAddr) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/cli/golden/screen")
            .join(golden);
        let blank = |seen: String| {
            redact(&seen.replace(&address.to_string(), &"H".repeat(address.to_string().len())))
        };
        if std::env::var_os("BLESS").is_some() {
            fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
            // Compared once nothing has changed for a while, since tmux delays resizes.
            let (mut seen, mut since) = (self.seen(), Instant::now());
            while since.elapsed() < SETTLED {
                let next = self.seen();
                if next != seen {
                    (seen, since) = (next, Instant::now());
                }
            }
            fs::write(&path, blank(seen)).expect("the file can be written");
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        let end = Instant::now() + DEADLINE;
        loop {
            let found = blank(self.seen());
            // A time is shown where the minute changes, which can be anywhere.
            let without_times = |text: &str| text.replace("HH:MM", "     ").replace('H', "");
            if without_times(&found) == without_times(&expected) {
                return;
            }
            assert!(
                Instant::now() < end,
                "{golden}\n--- expected\n{expected}--- found\n{found}---"
            );
        }
    }

    /// Returns the settings of the terminal: the lines of `stty`, and the modes that tmux knows.
    fn modes(&self) -> (String, String) {
        self.run("clear; stty -a | tr ';' '\\n' | grep -e icanon -e ' echo '; echo \"done\"");
        let stty = self.until("stty", |seen| seen.contains("\ndone"));
        let flags = self.tmux(&[
            "display", "-p", "-t", "s",
            "#{alternate_on} #{mouse_any_flag} #{mouse_button_flag} #{mouse_standard_flag} #{cursor_flag}",
        ]);
        (stty, flags.trim().to_owned())
    }

    #[track_caller]
    fn is_sane(&self) {
        let (stty, flags) = self.modes();
        assert!(
            stty.contains(" icanon") && !stty.contains("-icanon"),
            "{stty}"
        );
        assert!(
            stty.contains(" echo ") && !stty.contains("-echo "),
            "{stty}"
        );
        assert_eq!(flags, "0 0 0 0 1");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .args(["-L", &self.socket, "kill-server"])
            .output();
    }
}

/// Replaces times of day by `HH:MM`.
fn redact(seen: &str) -> String {
    let mut out: Vec<char> = seen.chars().collect();
    for at in 0..out.len().saturating_sub(4) {
        let is_digit = |n: usize| out[at + n].is_ascii_digit();
        if is_digit(0) && is_digit(1) && out[at + 2] == ':' && is_digit(3) && is_digit(4) {
            for (n, c) in "HH:MM".chars().enumerate() {
                out[at + n] = c;
            }
        }
    }
    out.into_iter().collect()
}

/// Another user, with the protocol itself.
struct Peer {
    input: BufReader<TcpStream>,
}

impl Peer {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("not zero");
        Self {
            input: BufReader::new(stream),
        }
    }

    fn named(address: SocketAddr, nick: &str) -> Self {
        let mut peer = Self::new(address);
        peer.ask(&format!("NICK {nick}"));
        peer
    }

    fn send(&mut self, text: &str) {
        self.input
            .get_mut()
            .write_all(text.as_bytes())
            .expect("it reads");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.input.read_line(&mut line).expect("a line");
        line
    }

    /// Sends a line, and returns what arrives up to its reply.
    #[track_caller]
    fn ask(&mut self, line: &str) -> Vec<String> {
        self.send(&format!("{line}\n"));
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            assert!(!line.starts_with("ERR ") && !line.is_empty(), "{line}");
            let is_reply = line.starts_with("OK ");
            lines.push(line.trim_end().to_owned());
            if is_reply {
                return lines;
            }
        }
    }

    /// Returns the texts in the log of a room.
    fn log(&mut self, room: &str) -> Vec<String> {
        let mut lines = self.ask(&format!("HISTORY {room} 1000"));
        lines.pop();
        let text = |line: &String| line.splitn(7, ' ').nth(6).map(str::to_owned);
        lines.iter().filter_map(text).collect()
    }
}

#[test]
fn replies_edits_and_reactions_look_right() {
    let chatd = chatd(&[]);
    let mut bob = Peer::named(chatd.address, "bob");
    bob.ask("STAMPS on");
    let text = "shall we deploy db1 today? It has been waiting since Tuesday, and the disk is new";
    let sent = bob.ask(&format!("MSG {text}"));
    let question = sent.last().unwrap().split(' ').nth(2).unwrap().to_owned();
    let ann = Terminal::chatc(chatd.address, 80, 14);
    ann.sees("shall we deploy");
    ann.key("C-r");
    ann.sees("Enter reply");
    ann.looks_like("selected.txt", chatd.address);
    ann.key("Enter");
    ann.sees("ann reply ›");
    ann.say("yes, in a minute");
    let line = bob.line();
    assert!(
        line.ends_with("MSG #lobby ann yes, in a minute\n"),
        "{line}"
    );
    let answer = line.split(' ').nth(1).unwrap();
    bob.ask(&format!("REACT {answer} 👍"));
    bob.ask(&format!("@reply={answer} MSG good, I am here"));
    bob.ask(&format!(
        "EDIT {question} shall we deploy db1 today? The disk is new"
    ));
    ann.sees("good, I am here");
    ann.key("Up");
    ann.sees("ann edit › yes, in a minute");
    ann.say(" or two");
    ann.sees("or two (edited)");
    ann.say("/react tada");
    ann.sees("🎉 1");
    ann.sees("👍 1");
    ann.looks_like("conversation.txt", chatd.address);
    ann.tmux(&["resize-window", "-t", "s", "-x", "40", "-y", "18"]);
    ann.looks_like("conversation-narrow.txt", chatd.address);
}

#[test]
fn several_lines_look_right() {
    let chatd = chatd(&[]);
    let mut bob = Peer::named(chatd.address, "bob");
    let ann = Terminal::chatc(chatd.address, 80, 16);
    ann.text("it broke:");
    ann.key("M-Enter");
    ann.text("  at main.c:12");
    ann.key("M-Enter");
    ann.key("M-Enter");
    ann.text("the end");
    ann.sees("      the end");
    ann.looks_like("lines-typed.txt", chatd.address);
    ann.key("Enter");
    for text in ["it broke:", "  at main.c:12", "", "the end"] {
        let expected = format!("MSG #lobby ann {text}");
        assert_eq!(bob.line().trim_end(), expected.trim_end());
    }
    bob.send("TEXT 52\n");
    bob.ask("Traceback (most recent call last):\n\n  x.py, line 1\nx");
    ann.sees("x.py, line 1");
    ann.key("C-r");
    ann.sees("Enter reply");
    ann.looks_like("lines.txt", chatd.address);
}

#[test]
fn a_conversation_looks_right() {
    let chatd = chatd(&[]);
    let mut bob = Peer::named(chatd.address, "bob");
    bob.ask("TOPIC all about tea");
    let ann = Terminal::chatc(chatd.address, 100, 18);
    ann.sees("all about tea");
    bob.ask("MSG good morning, ann");
    bob.ask("MSG has anybody seen https://ci.example.org/builds/4711/log?from=night today? It is very long and goes on");
    bob.ask("ME makes tea for 李雷 and Zoë 👍");
    ann.sees("makes tea");
    ann.text("b");
    ann.key("Tab");
    ann.sees("ann › bob:");
    ann.say("it is fine");
    assert!(bob.line().ends_with(" ann bob: it is fine\n"));
    ann.text("/jo");
    ann.key("Tab");
    ann.text("#op");
    ann.say("s");
    ann.sees("there are no messages in #ops yet");
    bob.ask("TELL #ops hello there");
    bob.ask("MSG ann, are you still here?");
    bob.ask("TELL ann psst");
    ann.sees("hello there");
    ann.sees("bob     1!");
    ann.looks_like("rooms.txt", chatd.address);
    ann.key("M-1");
    ann.sees("are you still here");
    ann.text("half a line");
    ann.looks_like("lobby.txt", chatd.address);
    ann.key("C-n");
    ann.sees_not("half a line");
    ann.key("C-p");
    ann.sees("half a line");
    ann.tmux(&["resize-window", "-t", "s", "-x", "56", "-y", "14"]);
    ann.looks_like("narrow.txt", chatd.address);
    ann.tmux(&["resize-window", "-t", "s", "-x", "30", "-y", "9"]);
    ann.looks_like("tiny.txt", chatd.address);
    ann.tmux(&["resize-window", "-t", "s", "-x", "100", "-y", "18"]);
    ann.looks_like("back.txt", chatd.address);
    ann.key("C-u");
    ann.say("/search tea");
    ann.sees("\"tea\" in #lobby");
    ann.looks_like("search.txt", chatd.address);
    ann.key("Escape");
    // Sent together, the two keys would be read as Alt and letters.
    ann.sees_not("\"tea\" in #lobby");
    ann.key("F1");
    ann.looks_like("help.txt", chatd.address);
}

#[test]
fn ten_thousand_messages_are_scrolled_back_through() {
    let chatd = chatd(&[]);
    let mut bob = Peer::named(chatd.address, "bob");
    for thousand in 0..10 {
        let lines: String = (0..1000)
            .map(|n| format!("MSG number {}\n", thousand * 1000 + n))
            .collect();
        bob.send(&lines);
        for _ in 0..1000 {
            assert!(bob.line().starts_with("OK MSG"));
        }
    }
    let ann = Terminal::chatc(chatd.address, 80, 24);
    ann.sees("number 9999");
    let end = Instant::now() + DEADLINE * 3;
    // Each press goes to the oldest message that is loaded, while older ones are fetched.
    while !ann.seen().contains("number 0\n") {
        assert!(
            Instant::now() < end,
            "it did not come to the beginning:\n{}",
            ann.seen()
        );
        ann.key("C-Home");
    }
    bob.ask("MSG the newest");
    ann.sees("1 new below");
    ann.key("Escape");
    ann.sees("the newest");
    ann.sees("number 9999");
    ann.key("PageUp");
    ann.sees("older messages");
}

#[test]
fn keys_are_handled_while_fifty_thousand_messages_arrive() {
    let chatd = chatd(&[]);
    let mut bob = Peer::named(chatd.address, "bob");
    let ann = Terminal::chatc(chatd.address, 80, 24);
    let sender = std::thread::spawn(move || {
        let mut out = bob.input.get_ref().try_clone().expect("a free descriptor");
        let reader = std::thread::spawn(move || {
            let mut answered = 0;
            while answered < 50_000 {
                answered += usize::from(bob.line().starts_with("OK MSG"));
            }
        });
        let lines: String = (0..50_000).map(|n| format!("MSG number {n}\n")).collect();
        out.write_all(lines.as_bytes()).expect("it reads");
        reader.join().expect("no panic");
    });
    ann.sees("number ");
    // Keys are shown while the messages arrive, and none of them is lost.
    for letter in "abcdefghij".chars() {
        ann.text(&letter.to_string());
        ann.until("what is typed", |seen| {
            seen.lines()
                .last()
                .is_some_and(|line| line.contains(letter))
        });
    }
    ann.sees("› abcdefghij");
    sender.join().expect("no panic");
    ann.sees("number 49999");
}

#[test]
fn nothing_typed_is_lost_when_the_server_is_killed_and_restarted() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("UTF-8");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let flags = ["--data", data, "--listen", &address.to_string()];
    let first = chatd(&flags);
    let ann = Terminal::chatc(address, 90, 30);
    let mut expected = Vec::new();
    for n in 0..5 {
        ann.say(&format!("before {n}"));
        expected.push(format!("before {n}"));
    }
    drop(first); // killed, whatever it was doing
    for n in 0..5 {
        ann.say(&format!("meanwhile {n}"));
        expected.push(format!("meanwhile {n}"));
    }
    ann.sees("○ offline");
    ann.text("half a");
    let _second = chatd(&flags);
    ann.sees("● 127.0.0.1");
    ann.say(" line");
    expected.push("half a line".into());
    ann.until("the last line, answered", |seen| {
        seen.contains("half a line\n") && !seen.contains("… │") && seen.ends_with("ann ›\n")
    });
    let mut bob = Peer::new(address);
    assert_eq!(bob.log("#lobby"), expected);
    let seen = ann.seen();
    for line in &expected {
        assert_eq!(
            seen.matches(&format!("│ {line}\n")).count(),
            1,
            "{line}\n{seen}"
        );
    }
}

#[test]
fn an_upload_shows_a_bar_while_messages_are_sent() {
    let chatd = chatd(&[]);
    let mut bob = Peer::named(chatd.address, "bob");
    let ann = Terminal::chatc(chatd.address, 100, 20);
    let large = fs::File::create(ann.home.path().join("large image.iso")).expect("a file");
    // The file is sparse: it takes no space on the disk, but is hashed and sent all the same.
    large.set_len(400_000_000).expect("a sparse file");
    fs::write(ann.home.path().join("small.txt"), "hello\n").expect("a file");
    ann.text("/upload lar");
    ann.key("Tab");
    ann.sees("/upload large image.iso");
    ann.key("Enter");
    ann.until("a bar", |seen| {
        seen.contains("↑ large image.iso ▕") && seen.contains(" %")
    });
    ann.say("I can talk meanwhile");
    assert!(bob.line().contains("I can talk meanwhile"));
    ann.say("/cancel");
    ann.sees("the upload of large image.iso is cancelled");
    ann.say("/upload small.txt");
    ann.sees("uploaded small.txt to #lobby (6 B)");
    let line = bob.line();
    let id = line.split(' ').nth(3).expect("the file's number");
    ann.say(&format!("/download {id}"));
    ann.sees("small.txt already exists");
    fs::remove_file(ann.home.path().join("small.txt")).expect("it is there");
    ann.say("/files");
    ann.sees("files in #lobby");
    ann.key("Enter");
    ann.sees("downloaded small.txt (6 B)");
    assert_eq!(
        fs::read(ann.home.path().join("small.txt")).expect("it is there"),
        b"hello\n"
    );
}

/// A picture of one white pixel.
const WHITE_GIF: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\xff\xff\xff\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

#[test]
fn a_picture_is_shown_in_the_terminal() {
    let chatd = chatd(&[]);
    let ann = Terminal::chatc(chatd.address, 100, 20);
    for (name, contents) in [("white.gif", WHITE_GIF), ("broken.png", b"hello")] {
        fs::write(ann.home.path().join(name), contents).expect("a file");
        ann.say(&format!("/upload {name}"));
        ann.sees(&format!("uploaded {name}"));
    }
    ann.key("C-r");
    ann.sees("v view");
    ann.key("v");
    ann.sees("that file is no picture that chatc can show (PNG, JPEG, GIF, WebP)");
    ann.key("Up");
    ann.key("v");
    ann.sees("white.gif 1 × 1 · any key closes");
    ann.sees("▀▀▀▀\n");
    // White on white, in the 256 colors that tmux has.
    assert!(ann.colors().contains("38;5;231"), "{}", ann.colors());
    ann.key("x");
    ann.sees_not("any key closes");
    ann.key("Escape");
    // Sent together, Escape and the text would be read as Alt and letters.
    ann.sees_not("v view");
    ann.say("and on we go");
    ann.sees("│ and on we go");
}

#[test]
fn pasting_several_lines_opens_the_dialog() {
    let chatd = chatd(&[]);
    let mut bob = Peer::named(chatd.address, "bob");
    let ann = Terminal::chatc(chatd.address, 90, 20);
    ann.tmux(&["set-buffer", "one\n\ttwo\nthree\n"]);
    ann.tmux(&["paste-buffer", "-p", "-t", "s"]);
    ann.sees("you pasted 3 lines");
    ann.looks_like("paste.txt", chatd.address);
    ann.key("f");
    ann.sees("to #lobby (15 B)");
    assert!(bob.line().starts_with("FILE #lobby ann "));
    ann.tmux(&["paste-buffer", "-p", "-t", "s"]);
    ann.sees("you pasted 3 lines");
    ann.key("Enter");
    for text in ["one", "\ttwo", "three"] {
        assert!(bob.line().ends_with(&format!(" ann {text}\n")));
    }
}

#[test]
fn the_terminal_is_restored_however_chatc_ends() {
    let chatd = chatd(&[]);
    let ann = Terminal::new(80, 24);
    let start = |then: &str| {
        ann.run(&format!(
            "clear; {} {}; echo \"{then} $?\"",
            env!("CARGO_BIN_EXE_chatc"),
            chatd.address
        ));
        ann.sees("ann ›");
        ann.sees("● 127.0.0.1");
    };
    start("code");
    ann.text("half a line");
    ann.key("C-c");
    ann.sees("press Ctrl-C again to leave");
    ann.key("C-c");
    ann.sees("code 0");
    ann.is_sane();
    start("code");
    ann.key("C-d");
    ann.sees("code 0");
    ann.is_sane();
    start("code");
    ann.text("kept");
    ann.sees("› kept");
    rustix::process::kill_process(ann.child(), rustix::process::Signal::TERM).expect("it runs");
    ann.sees("code 0");
    ann.is_sane();
    // Unsent text is there in the next run.
    start("code");
    ann.sees("› kept");
    ann.key("C-z");
    ann.sees("Stopped");
    ann.is_sane();
    ann.run("fg");
    ann.sees("› kept");
    ann.sees("● 127.0.0.1");
    // SIGSTOP comes from outside and cannot be handled; SIGCONT alone continues the program.
    rustix::process::kill_process(ann.child(), rustix::process::Signal::STOP).expect("it runs");
    ann.sees("Stopped");
    ann.run("clear; echo \"cleared\"");
    ann.until("an empty screen", |seen| {
        seen.starts_with("cleared\n") && !seen.contains("kept")
    });
    ann.run("fg");
    ann.sees("› kept");
    ann.sees("● 127.0.0.1");
    ann.key("C-c");
    ann.key("C-c");
    ann.sees("shell> fg");
    ann.is_sane();
    // If there is no server, a terminal shows one line as well.
    let nobody = "127.0.0.1:9";
    ann.run(&format!(
        "clear; {} {nobody}; echo \"code $?\"",
        env!("CARGO_BIN_EXE_chatc")
    ));
    let seen = ann.sees("code 3");
    assert!(
        seen.contains("chatc: cannot connect to 127.0.0.1:9"),
        "{seen}"
    );
    ann.is_sane();
}

#[test]
fn a_message_is_written_in_an_editor_while_the_conversation_goes_on() {
    let chatd = chatd(&[]);
    let home = tempfile::tempdir().expect("a folder");
    // It reads from the terminal, as an editor does.
    let editor =
        "#!/bin/sh\nprintf 'editor> '; read -r line; printf '%s\\nsecond\\n' \"$line\" >\"$2\"\n";
    fs::write(home.path().join("edit"), editor).expect("a file");
    let ann = Terminal::with(80, 24, home, "EDITOR='sh ./edit -f'");
    ann.run(&format!(
        "{} {}; echo \"code $?\"",
        env!("CARGO_BIN_EXE_chatc"),
        chatd.address
    ));
    ann.sees("● 127.0.0.1");
    let mut bob = Peer::named(chatd.address, "bob");
    ann.text("half");
    ann.key("C-x");
    ann.key("C-e");
    ann.sees("editor>");
    // Ctrl-C is meant for the editor.
    ann.key("C-c");
    ann.sees("ended with signal: 2");
    ann.sees("› half");
    ann.key("C-x");
    ann.key("C-e");
    ann.sees("editor>");
    bob.ask("MSG meanwhile");
    ann.say("typed in it");
    let seen = ann.sees("second");
    assert!(seen.contains("› typed in it\n"), "{seen}");
    ann.sees("meanwhile");
    ann.key("Enter");
    assert_eq!(bob.line(), "MSG #lobby ann typed in it\n");
    assert_eq!(bob.line(), "MSG #lobby ann second\n");
    ann.key("C-c");
    ann.key("C-c");
    ann.sees("code 0");
    ann.is_sane();
    // An editor that fails changes nothing.
    ann.run(&format!(
        "clear; VISUAL=false {} {}",
        env!("CARGO_BIN_EXE_chatc"),
        chatd.address
    ));
    ann.sees("● 127.0.0.1");
    ann.text("kept");
    ann.key("C-x");
    ann.key("C-e");
    ann.sees("false ended with exit status: 1");
    ann.sees("› kept");
}

#[test]
fn closing_the_terminal_ends_chatc_and_loses_nothing_typed() {
    let chatd = chatd(&[]);
    let ann = Terminal::chatc(chatd.address, 80, 24);
    ann.sees("● 127.0.0.1");
    ann.text("half a line");
    ann.sees("› half a line");
    let (child, state) = (
        ann.child(),
        ann.home.path().join(".local/state/chatc/state.toml"),
    );
    ann.tmux(&["kill-server"]);
    let end = Instant::now() + DEADLINE;
    while rustix::process::test_kill_process(child).is_ok() {
        assert!(Instant::now() < end, "it is still there");
        std::thread::yield_now();
    }
    let state = fs::read_to_string(state).expect("it is written");
    assert!(state.contains("half a line"), "{state}");
}

#[test]
fn colours_suit_the_background_or_are_left_out() {
    let chatd = chatd(&[]);
    let mut bob = Peer::named(chatd.address, "bob");
    bob.ask("MSG good morning, ann: https://example.org");
    let home = || tempfile::tempdir().expect("a folder");
    let start = |terminal: &Terminal| {
        terminal.run(&format!(
            "{} {}",
            env!("CARGO_BIN_EXE_chatc"),
            chatd.address
        ));
        terminal.sees("● 127.0.0.1");
        terminal.sees("good morning");
        terminal.colors()
    };
    // The bars are a little lighter than black, or a little darker than white.
    let (on_dark, on_light) = ("48;5;236", "48;5;254");
    let seen = start(&Terminal::new(80, 12));
    assert!(seen.contains(on_dark) && !seen.contains(on_light), "{seen}");
    let light = Terminal::new(80, 12);
    light.tmux(&["set", "-g", "window-style", "bg=#fdf6e3,fg=#002b36"]);
    let seen = start(&light);
    assert!(seen.contains(on_light) && !seen.contains(on_dark), "{seen}");
    let seen = start(&Terminal::with(80, 12, home(), "COLORFGBG='0;15'"));
    assert!(seen.contains(on_light), "{seen}");
    let seen = start(&Terminal::with(80, 12, home(), "NO_COLOR=1"));
    let styles = seen.split('\u{1b}').skip(1);
    let codes =
        styles.flat_map(|style| style[1..].split('m').next().unwrap_or_default().split(';'));
    let colors: Vec<&str> = codes
        .filter(|code| code.parse::<u8>().is_ok_and(|code| code >= 30))
        .filter(|code| !["39", "49"].contains(code))
        .collect();
    assert!(colors.is_empty(), "{colors:?}\n{seen}");
}

#[test]
fn a_server_with_a_password_asks_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let door = folder.path().join("door");
    fs::write(&door, "open sesame\n").expect("a file");
    let chatd = chatd(&["--password-file", door.to_str().expect("UTF-8")]);
    let ann = Terminal::new(80, 24);
    ann.run(&format!(
        "{} {}",
        env!("CARGO_BIN_EXE_chatc"),
        chatd.address
    ));
    ann.sees(&format!("Password of {}:", chatd.address));
    ann.say("open sesame");
    ann.sees("● 127.0.0.1");
    ann.say("I am in");
    ann.sees("ann │ I am in");
    fs::write(ann.home.path().join("small.txt"), "hello\n").expect("a file");
    ann.say("/upload small.txt");
    ann.sees("uploaded small.txt to #lobby (6 B)");
    ann.key("C-d");
    let seen = ann.sees("shell>");
    assert!(!seen.contains("sesame"), "{seen}");
    ann.is_sane();
}

#[test]
fn chatc_ends_when_its_terminal_goes_without_a_signal() {
    let chatd = chatd(&[]);
    let home = tempfile::tempdir().expect("a folder");
    // It is not the controlling terminal of chatc, so there is no SIGHUP.
    let script = "
import fcntl, os, pty, struct, subprocess, sys, termios
ours, theirs = pty.openpty()
fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
chatc = subprocess.Popen(sys.argv[1:], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
os.close(theirs)
seen = b''
while '●'.encode() not in seen:
    seen += os.read(ours, 65536)
os.close(ours)
try:
    sys.exit(chatc.wait(timeout=30))
finally:
    chatc.kill()
";
    let ended = Command::new("/usr/bin/python3")
        .args(["-c", script, env!("CARGO_BIN_EXE_chatc")])
        .arg(chatd.address.to_string())
        .env("HOME", home.path())
        .env("LOGNAME", "ann")
        .env("TERM", "xterm-256color")
        .output()
        .expect("python3 is there");
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}

#[test]
fn a_terminal_that_cannot_move_its_cursor_gets_the_line_client() {
    let chatd = chatd(&[]);
    let mut bob = Peer::named(chatd.address, "bob");
    let home = tempfile::tempdir().expect("a folder");
    let ann = Terminal::with(80, 24, home, "TERM=dumb");
    let written = ann.home.path().join("written");
    ann.tmux(&[
        "pipe-pane",
        "-t",
        "s",
        &format!("cat > {}", written.display()),
    ]);
    let program = env!("CARGO_BIN_EXE_chatc");
    // Nobody listens at the first address. The greeting names only the server in use.
    ann.run(&format!(
        "{program} 127.0.0.1:1,{}; echo \"code $?\"",
        chatd.address
    ));
    ann.sees(&format!("-- you are ann in #lobby on {};", chatd.address));
    bob.ask("MSG good morning");
    ann.sees("<bob> good morning");
    ann.say("hello bob");
    assert!(bob.line().ends_with(" ann hello bob\n"));
    ann.say("/quit");
    ann.sees("code 0");
    // tmux passes on the earlier output before it shows this.
    let written = fs::read(&written).expect("it was written");
    let text = String::from_utf8_lossy(&written);
    assert!(text.contains("<bob> good morning"), "{text:?}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

/// A serial console, or `docker run -t`, is a terminal of unknown size. `script` makes such a terminal when it is
/// started without one.
#[test]
fn a_terminal_of_no_size_gets_the_line_client() {
    let chatd = chatd(&[]);
    let mut bob = Peer::named(chatd.address, "bob");
    let command = format!(
        "stty size; exec {} {}",
        env!("CARGO_BIN_EXE_chatc"),
        chatd.address
    );
    let mut script = Command::new("script");
    script
        .args(["-qefc", &command, "/dev/null"])
        .env("TERM", "xterm")
        .env("LOGNAME", "ann")
        .env("HOME", "/dev/null");
    let mut ann = Running::start(&mut script);
    assert_eq!(ann.line(), "0 0\r\n");
    let seen = ann.until("you are ann in #lobby");
    assert!(!seen.contains("\u{1b}[?1049h"), "{seen:?}");
    bob.ask("MSG good morning");
    ann.until("<bob> good morning");
    ann.write(b"hello bob\n");
    assert!(bob.line().ends_with(" ann hello bob\n"));
    ann.write(b"/quit\n");
    assert_eq!(ann.wait().code, Some(0));
}

#[test]
fn a_line_feed_works_like_enter() {
    let chatd = chatd(&[]);
    let mut bob = Peer::named(chatd.address, "bob");
    let ann = Terminal::chatc(chatd.address, 80, 24);
    ann.sees("● 127.0.0.1");
    ann.text("one");
    ann.key("C-j");
    assert!(bob.line().ends_with(" ann one\n"));
    // Line feeds as typed, not marked as pasted text.
    ann.tmux(&["set-buffer", "two\nthree\n"]);
    ann.tmux(&["paste-buffer", "-r", "-t", "s"]);
    assert!(bob.line().ends_with(" ann two\n"));
    assert!(bob.line().ends_with(" ann three\n"));
}

/// Starts `chatc` as the registered nick `ann`.
fn enter_as_ann(terminal: &Terminal, address: SocketAddr) {
    let chatc = env!("CARGO_BIN_EXE_chatc");
    terminal.run(&format!(
        "CHATC_PASSWORD='only mine' {chatc} --nick ann {address}"
    ));
    terminal.sees("ann ›");
}

#[test]
fn what_a_registered_user_reads_in_chatc_is_read_on_other_devices_and_the_other_way_round() {
    let chatd = chatd(&[]);
    let mut phone = Peer::named(chatd.address, "ann");
    phone.ask("REGISTER only mine");
    phone.ask("TAGS on");
    phone.ask("PART #lobby");
    let ann = Terminal::new(90, 20);
    enter_as_ann(&ann, chatd.address);
    ann.say("/join #tea");
    ann.sees("no messages in #tea");
    let mut bob = Peer::named(chatd.address, "bob");
    bob.ask("STAMPS on");
    let mut say = |room: &str| {
        let sent = bob.ask(&format!("TELL {room} hello"));
        let id = sent.last().and_then(|line| line.split(' ').nth(2));
        id.expect("an id").to_owned()
    };
    // In the room that ann sees.
    let first = say("#tea");
    let told = format!("SEEN #tea ann {first} me\n");
    while phone.line() != told {}
    // In one that she does not see.
    ann.key("M-1");
    ann.sees("no messages in #lobby");
    let second = say("#tea");
    ann.sees("#tea     1");
    phone.ask(&format!("SEEN #tea {second} AS me"));
    ann.sees_not("#tea     1");
}

#[test]
fn a_file_goes_to_one_person_and_comes_from_one() {
    let chatd = chatd(&[]);
    let mut bob = Peer::named(chatd.address, "bob");
    let mut phone = Peer::named(chatd.address, "ann");
    for peer in [&mut bob, &mut phone] {
        peer.ask("PART #lobby");
    }
    let ann = Terminal::new(90, 20);
    fs::write(ann.home.path().join("plan.txt"), "at noon\n").expect("a file");
    phone.ask("REGISTER only mine");
    enter_as_ann(&ann, chatd.address);
    ann.say("/query bob");
    ann.say("/upload plan.txt");
    ann.sees("bob is not registered;");
    bob.ask("REGISTER his secret");
    ann.say("/upload plan.txt");
    ann.sees("uploaded plan.txt to bob (8 B)");
    ann.sees("▤ plan.txt");
    let told = bob.line();
    let id = told
        .split(' ')
        .nth(3)
        .expect("the file's number")
        .to_owned();
    assert_eq!(told, format!("FILE bob ann {id} 8 plan.txt\n"));
    let given = bob.ask("UPLOAD answer.txt 3 @ann\nyes");
    assert!(
        given
            .last()
            .is_some_and(|line| line.starts_with("OK UPLOAD ")),
        "{given:?}"
    );
    ann.sees("▤ answer.txt");
    ann.say("/files");
    ann.sees("files in bob");
    ann.key("End");
    ann.key("Enter");
    ann.sees("downloaded answer.txt (3 B)");
    assert_eq!(
        fs::read(ann.home.path().join("answer.txt")).expect("it is there"),
        b"yes"
    );
}
