//! protocol.md 10.3: the real `chatc` with the real `chatd`.
//!
//! The tests send messages and files, use a terminal, and run a bot that uses the library.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::script::{Ended, Running, chatc, run};
use crate::support::server::Chatd;

fn chatd() -> Chatd {
    Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &[]).expect("chatd")
}

/// Returns a client that reads `room` with the protocol itself, from now on.
pub(crate) fn watcher(chatd: &Chatd, room: &str) -> Running {
    let mut watcher = Running::start(&mut chatc(&[&chatd.address.to_string(), "--raw"]));
    watcher.write(format!("JOIN {room}\n").as_bytes());
    assert!(watcher.line().starts_with("OK JOIN "));
    watcher
}

#[test]
fn two_clients_read_each_other() {
    let chatd = chatd();
    let host = chatd.address.to_string();
    let mut watcher = watcher(&chatd, "ops");
    let mut bob = Running::start(&mut chatc(&[&host, "--nick", "bob", "--room", "ops"]));
    bob.write(b"I am here\n");
    watcher.until("MSG #ops bob I am here\n");
    let ann = run(
        &mut chatc(&[&host, "--room", "#ops"]),
        b"hello\nCHAT\n/me waves\n",
    );
    assert_eq!((ann.code, &ann.stderr[..]), (Some(0), ""));
    for text in ["hello", "CHAT", "/me waves"] {
        bob.until(&format!("] <ann> {text}\n"));
        watcher.until(&format!("MSG #ops ann {text}\n"));
    }
    assert_eq!(bob.finish().code, Some(0));
}

#[test]
fn users_with_the_same_login_name_get_numbered_nicks() {
    let chatd = chatd();
    let host = chatd.address.to_string();
    let mut watcher = watcher(&chatd, "lobby");
    let mut first = Running::start(&mut chatc(&[&host]));
    first.write(b"one\n");
    watcher.until("MSG #lobby ann one\n");
    assert_eq!(run(&mut chatc(&[&host]), b"two\n").code, Some(0));
    watcher.until("MSG #lobby ann2 two\n");
    let refused = run(&mut chatc(&[&host, "--nick", "Ann"]), b"three\n");
    assert_eq!((refused.code, &refused.stdout[..]), (Some(1), ""));
    assert!(
        refused.stderr.contains("that nick is taken"),
        "{}",
        refused.stderr
    );
}

#[test]
fn many_lines_are_sent_in_order_and_in_little_memory() {
    const LINES: usize = 100_000;
    let chatd = chatd();
    let mut watcher = watcher(&chatd, "lobby");
    let mut seq = Running::start(&mut chatc(&[&chatd.address.to_string()]));
    let lines: String = (0..LINES)
        .map(|n| format!("{n} {}\n", "x".repeat(90)))
        .collect();
    seq.write(lines.as_bytes());
    // A watcher that cannot keep up misses only events that are not logged, and still receives the rest in order.
    let (mut next, mut is_gap) = (0, false);
    while next < LINES {
        let line = watcher.line();
        is_gap |= line.starts_with("GAP ");
        if line.starts_with("MSG ") {
            let n: usize = line
                .split(' ')
                .nth(3)
                .and_then(|n| n.parse().ok())
                .expect("a number");
            assert!(n == next || is_gap && n > next, "{n} instead of {next}");
            (next, is_gap) = (n + 1, false);
        }
    }
    let status = fs::read_to_string(format!("/proc/{}/status", seq.id())).expect("it runs");
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a peak");
    let kib: u64 = peak
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number");
    assert!(
        kib < 24 << 10,
        "{kib} KiB for {} KiB of lines",
        lines.len() >> 10
    );
    assert_eq!(seq.finish().code, Some(0));
}

#[test]
fn an_empty_input_ends_at_once() {
    let chatd = chatd();
    let mut command = chatc(&[&chatd.address.to_string()]);
    run(&mut command, b"").check(0, "", "");
    run(&mut command, b"\n\n").check(0, "", "");
    let empty = tempfile::tempfile().expect("a file");
    let status = command.stdin(empty).status().expect("chatc");
    assert!(status.success(), "a file as standard input");
}

/// A `chatd` that can be killed and started again at the same address, with everything that it had saved.
pub(crate) struct Restarting {
    data: tempfile::TempDir,
    pub(crate) host: String,
    server: Option<Chatd>,
}

impl Restarting {
    pub(crate) fn new() -> Self {
        let mut this = Self {
            data: tempfile::tempdir().expect("a folder"),
            host: "127.0.0.1:0".into(),
            server: None,
        };
        this.start();
        this.host = this.chatd().address.to_string();
        this
    }

    pub(crate) fn start(&mut self) {
        let data = self.data.path().to_str().expect("UTF-8");
        let flags = [
            "--data",
            data,
            "--announce-after",
            "0s",
            "--listen",
            &self.host,
        ];
        let server = Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags.map(str::to_owned));
        self.server = Some(server.expect("chatd"));
    }

    pub(crate) fn kill(&mut self) {
        self.server = None;
    }

    pub(crate) fn chatd(&self) -> &Chatd {
        self.server.as_ref().expect("it runs")
    }

    pub(crate) fn history(&self, room: &str) -> String {
        let args = ["history", room, "--count", "5000", "--host", &self.host];
        let done = run(&mut chatc(&args), b"");
        assert_eq!(done.code, Some(0), "{done:?}");
        done.stdout
    }

    /// Returns what `nick` has said in `room`, oldest first.
    pub(crate) fn said_by(&self, nick: &str, room: &str) -> Vec<String> {
        let history = self.history(room);
        let said = history
            .lines()
            .filter_map(|line| line.split_once(&format!("<{nick}> ")));
        said.map(|(_, text)| text.to_owned()).collect()
    }
}

#[test]
fn a_pipe_survives_a_restart_and_sends_each_line_once() {
    let mut server = Restarting::new();
    let mut pipe = Running::start(&mut chatc(&[&server.host, "--room", "r7"]));
    let mut sent = 0;
    let mut say = |pipe: &mut Running, lines: usize| {
        for _ in 0..lines {
            sent += 1;
            pipe.write(format!("p {sent}\n").as_bytes());
        }
    };
    say(&mut pipe, 500);
    let mut watcher = watcher(server.chatd(), "r7");
    say(&mut pipe, 500);
    // Some lines have been answered by now, some are in transit.
    watcher.until("MSG #r7 ann p ");
    server.kill();
    // These are more lines than the client holds. It reads the rest from the pipe later.
    say(&mut pipe, 3000);
    server.start();
    say(&mut pipe, 500);
    let ended = pipe.finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let texts = server.said_by("ann", "r7");
    let expected: Vec<String> = (1..=4500).map(|n| format!("p {n}")).collect();
    assert_eq!(texts, expected);
}

#[test]
fn a_command_runs_even_without_a_server_and_its_end_is_posted() {
    let mut server = Restarting::new();
    let host = server.host.clone();
    server.kill();
    // The command does not wait for a server that is not there.
    let script = "echo one; read -r line; echo $line; read -r line; exit 7";
    let args = [
        "run", "--host", &host, "--room", "ops", "--", "sh", "-c", script,
    ];
    let mut command = Running::start(&mut chatc(&args));
    command.until("one\n");
    server.start();
    let mut tail = Running::start(&mut chatc(&[
        "tail", "ops", "--since", "0", "--host", &host,
    ]));
    tail.until("<ann> started: sh -c echo one; ");
    command.write(b"two\n");
    command.until("two\n");
    // The command ends while the server is down.
    server.kill();
    command.write(b"three\n");
    server.start();
    let ended = command.wait();
    assert_eq!(ended.code, Some(7), "{ended:?}");
    tail.until(" failed with code 7 after ");
    tail.until("/download ");
    let id = tail.line();
    let log = run(
        &mut chatc(&["download", id.trim(), "--out", "-", "--host", &host]),
        b"",
    );
    assert_eq!(log.stdout, "one\ntwo\n", "{log:?}");
}

#[test]
fn signals_are_forwarded_to_a_command_and_posted() {
    use rustix::process::{Pid, Signal, kill_process};
    let chatd = chatd();
    let host = chatd.address.to_string();
    let mut watcher = watcher(&chatd, "ops");
    for (signal, number) in [(Signal::TERM, 15), (Signal::HUP, 1), (Signal::INT, 2)] {
        // Background processes end too; otherwise they would hold the pipe open.
        let args = [
            "run",
            "--host",
            &host,
            "--room",
            "ops",
            "--",
            "sh",
            "-c",
            "tail -f /dev/null & echo up; wait",
        ];
        let mut command = Running::start(&mut chatc(&args));
        command.until("up\n");
        let pid = Pid::from_raw(command.id() as i32).expect("a process");
        kill_process(pid, signal).expect("it runs");
        let ended = command.wait();
        assert_eq!(ended.code, Some(128 + number), "{ended:?}");
        watcher.until(&format!("was ended by signal {number} after "));
        assert!(watcher.line().contains("/download "));
    }
    // A command that handles the signal prints a last word, and its own exit code counts.
    let args = [
        "run",
        "--host",
        &host,
        "--room",
        "ops",
        "--",
        "sh",
        "-c",
        // `tail` starts before the trap is set: a shell's new child keeps the trap until it executes another program,
        // and would lose a signal that arrives before that.
        "tail -f /dev/null & trap 'echo bye; exit 9' TERM; echo up; wait",
    ];
    let mut command = Running::start(&mut chatc(&args));
    command.until("up\n");
    let pid = Pid::from_raw(command.id() as i32).expect("a process");
    kill_process(pid, Signal::TERM).expect("it runs");
    command.until("bye\n");
    assert_eq!(command.wait().code, Some(9));
    watcher.until("failed with code 9 after ");
    for (program, code) in [("/no/such/program", 127), ("/etc/passwd", 126)] {
        let ended = run(&mut chatc(&["run", "--host", &host, "#ops", program]), b"");
        assert_eq!(ended.code, Some(code), "{ended:?}");
        watcher.until(&format!("{program} cannot be started: "));
    }
    let ended = run(
        &mut chatc(&["run", "--host", &host, "--", "sh", "-c", "kill -9 $$"]),
        b"",
    );
    assert_eq!(ended.code, Some(137), "{ended:?}");
}

#[test]
fn a_room_is_named_with_or_without_its_hash_sign() {
    let chatd = chatd();
    let host = chatd.address.to_string();
    let at = |args: &[&str]| {
        let mut all = args.to_vec();
        all.extend(["--host", &host]);
        run(&mut chatc(&all), b"")
    };
    let nobody = at(&["send", "ops", "hello"]);
    assert_eq!(nobody.code, Some(1), "{nobody:?}");
    assert_eq!(at(&["send", "#ops", "one"]).code, Some(0));
    assert_eq!(at(&["send", "ops", "two"]).code, Some(0));
    assert_eq!(at(&["send", "--room", "ops", "three"]).code, Some(0));
    assert_eq!(at(&["--nick", "xeno", "send", "ops", "four"]).code, Some(0));
    // A nick of that name is preferred to a room.
    let mut person = Running::start(&mut chatc(&[&host, "--nick", "ops"]));
    person.write(b"here\n");
    let mut watch = watcher(&chatd, "lobby");
    by_hand(&chatd, "NICK dora\nBYE\n");
    while at(&["who"]).stdout != "ops\n" {}
    assert_eq!(at(&["send", "ops", "psst"]).code, Some(0));
    person.until("<ann> psst\n");
    watch.write(b"PING\n");
    for args in [&["history", "ops"][..], &["history", "--room", "ops"]] {
        let shown = at(args).stdout;
        let texts: Vec<&str> = shown
            .lines()
            .filter_map(|line| line.split_once("> ").map(|(_, text)| text))
            .collect();
        assert_eq!(texts, ["one", "two", "three", "four"], "{args:?}");
    }
}

#[test]
fn a_search_says_that_there_may_be_more() {
    let chatd = chatd();
    let host = chatd.address.to_string();
    let lines: String = (0..101).map(|n| format!("needle {n}\n")).collect();
    assert_eq!(run(&mut chatc(&[&host]), lines.as_bytes()).code, Some(0));
    let found = run(&mut chatc(&["search", "needle", "--host", &host]), b"");
    assert_eq!(found.stdout.lines().count(), 100);
    assert!(found.stderr.contains("there may be more"), "{found:?}");
    let found = run(&mut chatc(&["search", "needle", "7", "--host", &host]), b"");
    assert_eq!((found.code, &found.stderr[..]), (Some(0), ""));
}

/// Runs a man in the middle that ends each TLS handshake, so that a client may think that the server has no TLS.
/// Returns its port, and what it receives in plain text.
fn in_between() -> (u16, std::sync::mpsc::Receiver<Vec<u8>>) {
    use std::io::Read;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (tell, received) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut bytes = [0; 4096];
            let length = stream.and_then(|mut stream| stream.read(&mut bytes));
            if let Ok(length @ 1..) = length
                && bytes[0] != 0x16
                && tell.send(bytes[..length].to_vec()).is_err()
            {
                return;
            }
        }
    });
    (port, received)
}

/// chatc takes this address for another machine, so it tries TLS automatically, as over a network.
const FAR: &str = "[::ffff:127.0.0.1]";

#[test]
fn no_password_is_sent_in_plain_text_when_tls_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["::ffff:127.0.0.1".to_owned()]).unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(file("cert"), made.cert.pem()).unwrap();
    fs::write(file("key"), made.signing_key.serialize_pem()).unwrap();
    let flags = ["--cert", &file("cert"), "--key", &file("key")].map(str::to_owned);
    let chatd = Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags).expect("chatd");
    let known = folder.path().join("state/chatc/known_hosts");
    let send = |port: u16, password: Option<&str>| {
        let host = format!("{FAR}:{port}");
        let mut command = chatc(&["send", "--host", &host, "#ops", "hello"]);
        command
            .env("XDG_STATE_HOME", folder.path().join("state"))
            .env("SSL_CERT_FILE", file("cert"));
        if let Some(password) = password {
            command.env("CHATC_PASSWORD", password);
        }
        run(&mut command, b"")
    };
    // chatc also remembers that a server has spoken TLS if an authority confirms its certificate.
    let port = chatd.address.port();
    let sent = send(port, Some("my password"));
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let lines = fs::read_to_string(&known).unwrap();
    assert_eq!(lines, format!("::ffff:127.0.0.1:{port} authority\n"));

    let (port, received) = in_between();
    let refused = send(port, Some("my password"));
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.stderr.contains("plain text"), "{refused:?}");
    fs::write(&known, format!("::ffff:127.0.0.1:{port} authority\n")).unwrap();
    for password in [None, Some("my password")] {
        let refused = send(port, password);
        assert_eq!(refused.code, Some(3), "{refused:?}");
        assert!(refused.stderr.contains("used TLS before"), "{refused:?}");
    }
    assert!(
        received.try_recv().is_err(),
        "nothing was said in plain text"
    );
    // Plain text is used with a server that has never spoken TLS, if there is no password to protect.
    fs::write(&known, "").unwrap();
    send(port, None);
    let first_bytes = received.recv_timeout(crate::support::inbox::DEADLINE);
    assert!(first_bytes.is_ok_and(|first_bytes| first_bytes.starts_with(b"NICK ann")));
}

/// Sends lines of the protocol on a connection of their own; each must be answered with `OK`.
#[track_caller]
pub(crate) fn by_hand(chatd: &Chatd, lines: &str) {
    let done = run(
        &mut chatc(&[&chatd.address.to_string(), "--raw"]),
        lines.as_bytes(),
    );
    assert_eq!(done.code, Some(0), "{lines:?}: {done:?}");
}

/// Returns `chatc` for a person with a password.
fn chatc_of(nick: &str, args: &[&str]) -> Command {
    let mut command = chatc(args);
    command
        .env("LOGNAME", nick)
        .env("CHATC_PASSWORD", format!("password of {nick}"));
    command
}

/// Registers `nick` with the password that [`chatc_of`] uses.
#[track_caller]
fn register(chatd: &Chatd, nick: &str) {
    let password = format!("password of {nick}");
    by_hand(
        chatd,
        &format!("NICK {nick} {password}\nREGISTER {password}\nBYE\n"),
    );
}

#[test]
fn a_room_that_chatc_creates_belongs_to_its_user() {
    let chatd = chatd();
    let host = chatd.address.to_string();
    register(&chatd, "ann");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x"), b"x").unwrap();
    let mut watcher = watcher(&chatd, "seen");
    let ended: &[(&str, &[&str])] = &[
        ("typed", &[&host, "--room", "typed"]),
        ("sent", &["send", "--host", &host, "#sent"]),
        ("file", &["upload", "--host", &host, "--room", "file", "x"]),
        (
            "built",
            &["run", "--host", &host, "--room", "built", "true"],
        ),
    ];
    for (room, args) in ended {
        let done = run(chatc_of("ann", args).current_dir(folder.path()), b"hello\n");
        assert_eq!(done.code, Some(0), "{args:?}: {done:?}");
        by_hand(
            &chatd,
            &format!("NICK ann password of ann\nMODE #{room} invite\nBYE\n"),
        );
    }
    let bot = ["bot", "--host", &host, "--room", "served", "--", "sh", "-c"];
    let bot = [&bot[..], &["echo TELL '#seen' ready; cat >/dev/null"]].concat();
    let bot = Running::start(&mut chatc_of("ann", &bot));
    watcher.until("MSG #seen ann ready\n");
    by_hand(
        &chatd,
        "NICK ann password of ann\nMODE #served invite\nBYE\n",
    );
    drop(bot);
}

/// Invited users read and write a closed room with every command of `chatc`, also after the server was down.
#[test]
fn invited_users_join_an_invite_only_room_with_any_command_and_rejoin_later() {
    let data = tempfile::tempdir().unwrap();
    let flags = |more: &[&str]| -> Vec<String> {
        let data = data.path().to_str().unwrap();
        let flags = ["--data", data, "--announce-after", "0s"];
        flags.iter().chain(more).map(|f| f.to_string()).collect()
    };
    let server = Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags(&[])).expect("chatd");
    let host = server.address.to_string();
    for nick in ["ann", "bob", "dora"] {
        register(&server, nick);
    }
    by_hand(
        &server,
        "NICK ann password of ann\nJOIN #plan\nMSG first words\nMODE #plan invite\nINVITE #plan bob\nINVITE #plan dora\nBYE\n",
    );
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x"), b"the file").unwrap();
    let bobs = |args: &[&str], stdin: &[u8]| {
        let mut all = args.to_vec();
        all.extend(["--host", &host]);
        run(chatc_of("bob", &all).current_dir(folder.path()), stdin)
    };
    let done = bobs(&["upload", "x", "--room", "plan"], b"");
    assert_eq!((done.code, &done.stderr[..]), (Some(0), ""));
    let id = done.stdout.split(' ').next().unwrap().to_owned();
    for (args, shown) in [
        (&["send", "#plan", "from bob"][..], ""),
        (&["history", "plan"], "<bob> from bob\n"),
        (&["search", "--room", "plan", "bob"], "<bob> from bob\n"),
        (&["files", "--room", "plan"], "bob  x\n"),
        (&["who", "plan"], ""),
        (&["download", &id, "--out", "-"], "the file"),
    ] {
        let done = bobs(args, b"");
        assert_eq!((done.code, &done.stderr[..]), (Some(0), ""), "{args:?}");
        assert!(done.stdout.ends_with(shown), "{args:?}: {done:?}");
    }
    // The same commands are refused to a user who is not invited.
    let eve = run(&mut chatc(&["history", "plan", "--host", &host]), b"");
    assert_eq!((eve.code, &eve.stdout[..]), (Some(1), ""), "{eve:?}");

    let mut tail = Running::start(&mut chatc_of(
        "bob",
        &["tail", "plan", "--since", "0", "--host", &host],
    ));
    tail.until("<bob> from bob\n");
    let answer = r#"while read -r verb room nick text; do [ "$text" != ping ] || echo "TELL $room pong"; done"#;
    let bot = [
        "bot", "--host", &host, "--room", "plan", "--", "sh", "-c", answer,
    ];
    let bot = Running::start(&mut chatc_of("dora", &bot));
    tail.until("dora joined #plan\n");
    by_hand(&server, "NICK ann password of ann\nTELL #plan ping\nBYE\n");
    tail.until("<dora> pong\n");

    drop(server);
    let server = Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags(&["--listen", &host]));
    // Both continue after the last event that they have seen, so they miss nothing, whenever they return.
    let server = server.expect("chatd, once more");
    by_hand(&server, "NICK ann password of ann\nTELL #plan ping\nBYE\n");
    tail.until("<ann> ping\n");
    tail.until("<dora> pong\n");
    drop(bot);
}

/// Runs `chatc args --host …` in `folder`.
fn transfer(chatd: &Chatd, folder: &Path, args: &[&str], stdin: &[u8]) -> Ended {
    let host = chatd.address.to_string();
    run(
        chatc(args).args(["--host", &host]).current_dir(folder),
        stdin,
    )
}

#[test]
fn downloaded_files_equal_the_uploaded_ones() {
    let (chatd, from, to) = (
        chatd(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let file: Vec<u8> = (0..3_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    fs::write(from.path().join("my notes 7"), &file).unwrap();
    fs::write(from.path().join("empty"), b"").unwrap();
    let sent = transfer(
        &chatd,
        from.path(),
        &["upload", "my notes 7", "empty", "-", "--room", "ops"],
        b"piped\n",
    );
    assert_eq!((sent.code, &sent.stderr[..]), (Some(0), ""));
    let sent: Vec<(&str, &str)> = sent
        .stdout
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .collect();
    let names: Vec<&str> = sent.iter().map(|(_, name)| *name).collect();
    assert_eq!(names, ["my notes 7", "empty", "stdin"]);

    let listed = transfer(&chatd, from.path(), &["files", "--room", "ops"], b"");
    for ((id, name), line) in sent.iter().zip(listed.stdout.lines()) {
        assert!(
            line.starts_with(id) && line.ends_with(&format!("  ann  {name}")),
            "{line}"
        );
    }

    // As if a download had been interrupted.
    fs::write(to.path().join("my notes 7.part"), &file[..1_234_567]).unwrap();
    for ((id, name), bytes) in sent.iter().zip([&file[..], b"", b"piped\n"]) {
        transfer(&chatd, to.path(), &["download", id], b"").check(0, &format!("{name}\n"), "");
        assert_eq!(fs::read(to.path().join(name)).unwrap(), bytes, "{name}");
    }
    let left: Vec<_> = fs::read_dir(to.path()).unwrap().collect();
    assert_eq!(left.len(), 3, "no part is left: {left:?}");

    let gone = transfer(&chatd, to.path(), &["download", "1"], b"");
    assert_eq!((gone.code, &gone.stdout[..]), (Some(1), ""));
    assert!(
        gone.stderr.contains("there is no such file"),
        "{}",
        gone.stderr
    );
}

#[test]
fn a_file_that_is_too_large_is_refused_and_the_next_one_is_uploaded() {
    let chatd = Chatd::spawn(
        env!("CARGO_BIN_EXE_chatd"),
        &["--max-upload".into(), "1000".into()],
    )
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("large"), vec![0; 5_000_000]).unwrap();
    fs::write(folder.path().join("small"), vec![0; 1000]).unwrap();
    let sent = transfer(&chatd, folder.path(), &["upload", "large", "small"], b"");
    assert_eq!(sent.code, Some(1), "{sent:?}");
    assert!(sent.stdout.ends_with(" small\n"), "{sent:?}");
    assert!(sent.stderr.starts_with("chatc: large: "), "{sent:?}");
    assert!(sent.stderr.ends_with("(too-large)\n"), "{sent:?}");
}

/// Runs a shell command in a pseudo-terminal, with `script` of util-linux. What is written to `script` is typed on
/// the keyboard of that terminal.
pub(crate) fn in_terminal(command: &str, folder: &Path) -> Running {
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", command, "/dev/null"]);
    script
        .env("LOGNAME", "ann")
        .env("TZ", "UTC")
        .env("TERM", "xterm")
        .env("HOME", "/dev/null")
        .env("SHELL", "/bin/sh");
    Running::start(script.current_dir(folder))
}

/// Returns `chatc` on a terminal, ready for input.
fn terminal(chatd: &Chatd, folder: &Path) -> Running {
    let command = format!("{} --plain {}", env!("CARGO_BIN_EXE_chatc"), chatd.address);
    let mut terminal = in_terminal(&command, folder);
    terminal.until("-- you are ann in #lobby");
    terminal.until("> ");
    terminal
}

#[test]
fn one_ctrl_d_ends_the_input_of_chatc_in_a_pipe() {
    let chatd = chatd();
    let mut watcher = watcher(&chatd, "lobby");
    let command = format!("{} {} | cat", env!("CARGO_BIN_EXE_chatc"), chatd.address);
    let mut ann = in_terminal(&command, Path::new("/"));
    ann.write(b"hello\n");
    watcher.until("MSG #lobby ann hello\n");
    ann.write(b"\x04");
    assert_eq!(ann.wait().code, Some(0));
}

#[test]
fn a_line_being_typed_survives_messages_of_others() {
    let chatd = chatd();
    let (host, mut watcher) = (chatd.address.to_string(), watcher(&chatd, "lobby"));
    let mut ann = terminal(&chatd, Path::new("/"));
    ann.write(b"hel");
    ann.until("hel");
    let bob = run(&mut chatc(&[&host, "--nick", "bob"]), b"interrupting\n");
    assert_eq!(bob.code, Some(0));
    let shown = ann.until("<bob> interrupting\r\n");
    // The unfinished line is removed first, and drawn again afterwards.
    assert!(
        shown.contains("\x1b[K") || shown.contains("\x1b[J"),
        "{shown:?}"
    );
    ann.until("> hel");
    ann.write(b"lo\r/me waves\r/nope\r");
    watcher.until("MSG #lobby bob interrupting\n");
    watcher.until("MSG #lobby ann hello\n");
    watcher.until("ME #lobby ann waves\n");
    ann.until("! unknown command; /help lists them");
    ann.write(b"/quit\r");
    assert_eq!(ann.wait().code, Some(0));
}

#[test]
fn files_are_transferred_while_messages_are_sent() {
    let (chatd, folder) = (chatd(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("a b.txt"), b"hello\n").unwrap();
    let mut ann = terminal(&chatd, folder.path());
    ann.write(b"/upload a b.txt\r");
    ann.until("-- ann sent a file: a b.txt, 6 B; /download ");
    let id = ann.until("\r\n");
    fs::remove_file(folder.path().join("a b.txt")).unwrap();
    ann.write(format!("/download {}\r", id.trim()).as_bytes());
    ann.until("-- downloaded a b.txt (6 B)");
    assert_eq!(fs::read(folder.path().join("a b.txt")).unwrap(), b"hello\n");
    ann.write(b"\x04");
    assert_eq!(ann.wait().code, Some(0), "Ctrl-D leaves");
}

#[test]
fn the_terminal_is_restored_when_an_operator_bans_the_user() {
    let flags = ["--operator", "boss"].map(str::to_owned);
    let chatd = Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags).expect("chatd");
    let mut ann = terminal(&chatd, Path::new("/"));
    ann.write(b"half a line");
    ann.until("half a line");
    by_hand(
        &chatd,
        "NICK boss my secret\nREGISTER my secret\nBAN ann 1h\nBYE\n",
    );
    let ended = ann.wait();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(
        ended.stdout.contains("\x1b[?2004l"),
        "pasting is plain again: {ended:?}"
    );
    assert!(
        ended
            .stdout
            .contains("chatc: the server closed the connection: "),
        "{ended:?}"
    );
}

#[test]
fn the_dice_bot_answers() {
    let chatd = chatd();
    let mut watcher = watcher(&chatd, "games");
    // `cargo test` has built it beside the programs.
    let dice = Path::new(env!("CARGO_BIN_EXE_chatc"))
        .with_file_name("examples")
        .join("dice");
    assert!(
        dice.exists(),
        "`cargo test` builds it; for one test alone, `cargo build --example dice`"
    );
    let bot = Running::start(Command::new(dice).args([&chatd.address.to_string(), "games"]));
    watcher.until("JOIN #games dice\n");
    let mut player = chatc(&[&chatd.address.to_string(), "--room", "games"]);
    let asked = run(&mut player, b"!roll\n!roll 3d1\n!roll 1000d1\nroll\n");
    assert_eq!(asked.code, Some(0), "{asked:?}");
    let rolled = watcher.until("say !roll, !roll 20 or !roll 2d6\n");
    let answers: Vec<&str> = rolled
        .lines()
        .filter(|line| line.starts_with("MSG #games dice "))
        .collect();
    let one: u32 = answers[0]
        .strip_prefix("MSG #games dice ann rolled ")
        .expect("a roll")
        .parse()
        .expect("a die");
    assert!((1..=6).contains(&one));
    assert_eq!(answers[1], "MSG #games dice ann rolled 1 + 1 + 1 = 3");
    chatd.signal(rustix::process::Signal::TERM);
    assert_eq!(
        bot.wait().code,
        Some(1),
        "a bot says that its server has gone"
    );
}

/// Regression test. A message that arrived in the moment of Enter, between two lines of the editor, was once printed
/// before earlier ones.
#[test]
fn messages_stay_in_order_however_often_enter_is_pressed() {
    let (chatd, lines) = (chatd(), 300);
    let mut ann = terminal(&chatd, Path::new("/"));
    let host = chatd.address.to_string();
    let mut bob = Running::start(&mut chatc(&[&host, "--nick", "bob"]));
    for n in 0..lines {
        bob.write(format!("number {n}\n").as_bytes());
        ann.write(b"\r");
    }
    for n in 0..lines {
        ann.until(&format!("<bob> number {n}\r\n"));
    }
    ann.write(b"/quit\r");
    assert_eq!(ann.wait().code, Some(0));
}

#[test]
fn transfers_show_their_progress_on_a_terminal() {
    let (chatd, folder) = (chatd(), tempfile::tempdir().unwrap());
    let large = fs::File::create(folder.path().join("large image.iso")).unwrap();
    // The file is sparse: it takes no space on the disk, but is hashed and sent all the same.
    large.set_len(16_000_000).unwrap();
    let chatc = |args: &str| {
        let program = env!("CARGO_BIN_EXE_chatc");
        let command = format!(
            "stty columns 100; {program} {args} --host {}",
            chatd.address
        );
        in_terminal(&command, folder.path())
    };
    let mut upload = chatc("upload 'large image.iso'");
    upload.until("large image.iso  ");
    upload.until(" of 16.00 MB  ");
    upload.until("█");
    let ended = upload.wait();
    assert_eq!(ended.code, Some(0));
    let id = ended.stdout.trim_end().rsplit('\n').next().unwrap();
    let id = id
        .rsplit('\r')
        .next()
        .unwrap()
        .trim_start_matches("\x1b[2K");
    let id = id.split(' ').next().unwrap();
    let mut download = chatc(&format!("download {id} --out copy.iso"));
    download.until("copy.iso  ");
    download.until(" of 16.00 MB  ");
    download.until("█");
    assert_eq!(download.wait().code, Some(0));
    let copy = fs::metadata(folder.path().join("copy.iso")).unwrap();
    assert_eq!(copy.len(), 16_000_000);
}

#[test]
fn a_file_as_standard_input_is_sent_to_its_end() {
    let chatd = Chatd::start();
    let mut bob = chatd.member("bob");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines");
    std::fs::write(&path, "one\ntwo\nthree").unwrap();
    let address = chatd.address.to_string();
    let status = Command::new("timeout")
        .args(["60", env!("CARGO_BIN_EXE_chatc"), &address, "--nick", "ann"])
        .env("HOME", folder.path())
        .stdin(std::fs::File::open(&path).unwrap())
        .stdout(Stdio::null())
        .status()
        .expect("timeout is there");
    assert!(status.success(), "{status}");
    for text in ["one", "two", "three"] {
        bob.expect(&format!("MSG #lobby ann {text}"));
    }
}
