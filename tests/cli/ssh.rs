//! chatd.md 6, shell.md 4: OpenSSH's client and server on loopback in front of chatd, with the packaged fragment of
//! `sshd_config`. sshd runs as the user of the tests, who also takes the place of the fragment's user `chat`.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use plainchat::protocol::ssh::{SEAL_FIELD, seal};

use crate::screen::Terminal;
use crate::support::inbox::DEADLINE;
use crate::support::server::Chatd;
use crate::support::spawn::{Ended, Peer, Program};

const SSHD: &str = "/usr/sbin/sshd";

/// The secret that chatd and chatc share.
const SECRET: &str = "a shared secret";

/// A `chatd` with a sshd in front of it.
struct Ssh {
    chatd: Chatd,
    /// Where sshd accepts connections.
    address: SocketAddr,
    folder: tempfile::TempDir,
    sessions: Arc<Mutex<Vec<Child>>>,
}

impl Ssh {
    /// Starts chatd and sshd. `ann` and `bob` are registered, and ann's key is added.
    fn start() -> Self {
        let ssh = Self::with(&[]);
        ssh.add_key("ann", "ann");
        ssh
    }

    fn with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (data, secret) = (path("data"), path("secret"));
        fs::write(&secret, format!("{SECRET}\n")).expect("the folder is writable");
        let own = [
            "--announce-after",
            "1h",
            "--data",
            &data,
            "--ssh-secret-file",
            &secret,
        ];
        let chatd = Chatd::with(&[&own[..], flags].concat());
        if !flags.contains(&"--password-file") {
            for nick in ["ann", "bob"] {
                let mut peer = chatd.member(nick);
                peer.ask("REGISTER my secret", &format!("OK REGISTER {nick}"));
            }
        }
        for key in ["host", "ann", "bob"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f", &path(key)])
                .status();
            assert!(made.expect("ssh-keygen is there").success());
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let ssh = Self {
            address: listener.local_addr().expect("it is bound"),
            chatd,
            folder,
            sessions: Arc::default(),
        };
        ssh.configure();
        ssh.accept(listener);
        ssh
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes an `sshd_config` with the paths of this test. Like Debian's, it first includes the packaged fragment.
    fn configure(&self) {
        let fragment = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/ssh/plainchat.conf");
        let mut fragment = fs::read_to_string(fragment).expect("it is there");
        let keys = format!(
            "/usr/bin/env {} keys --host {}",
            env!("CARGO_BIN_EXE_chatd"),
            self.chatd.address
        );
        for (packaged, here) in [
            ("Match User chat\n", format!("Match User {}\n", user())),
            ("/usr/bin/chatd keys", keys),
            (
                "/var/lib/plainchat",
                self.path("data").display().to_string(),
            ),
            (
                "/etc/plainchat/ssh-secret",
                self.path("secret").display().to_string(),
            ),
            ("User plainchat\n", format!("User {}\n", user())),
        ] {
            assert!(fragment.contains(packaged), "{packaged}");
            fragment = fragment.replace(packaged, &here);
        }
        let included = self.path("plainchat.conf");
        fs::write(&included, fragment).expect("the folder is writable");
        let config = format!(
            "Include {}\nHostKey {}\nUsePAM no\nPidFile none\nAcceptEnv LANG LC_*\nX11Forwarding yes\n\
             Subsystem sftp /usr/lib/openssh/sftp-server\n\
             # The user's own .bashrc, which bash reads here, may print something.\nSetEnv HOME={}\n",
            included.display(),
            self.path("host").display(),
            self.folder.path().display()
        );
        fs::write(self.path("sshd_config"), config).expect("the folder is writable");
        if rustix::process::getuid().is_root() {
            fs::create_dir_all("/run/sshd").expect("root may");
        }
    }

    /// Serves connections as a service manager does: one sshd for each.
    fn accept(&self, listener: TcpListener) {
        let (config, log) = (self.path("sshd_config"), self.path("sshd_log"));
        let sessions = self.sessions.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let input = OwnedFd::from(stream.try_clone().expect("a free descriptor"));
                let sshd = Command::new(SSHD)
                    .args(["-i", "-f"])
                    .arg(&config)
                    .arg("-E")
                    .arg(&log)
                    .stdin(input)
                    .stdout(Stdio::from(OwnedFd::from(stream)))
                    .stderr(Stdio::null())
                    .spawn();
                sessions
                    .lock()
                    .expect("no test panics while it holds this")
                    .push(sshd.expect("sshd is there"));
            }
        });
    }

    /// Adds the key called `name` to a nick, and returns its fingerprint.
    fn add_key(&self, nick: &str, name: &str) -> String {
        let mut peer = self.chatd.peer();
        peer.ask(
            &format!("NICK {nick} my secret"),
            &format!("OK NICK {nick} #lobby <id>"),
        );
        let key = fs::read_to_string(self.path(&format!("{name}.pub"))).expect("it was made");
        let reply = peer.ask(&format!("TOKEN {name} {}", key.trim()), "OK TOKEN …");
        reply.rsplit(' ').next().expect("a word").to_owned()
    }

    /// Returns the beginning of an ssh command line for the owner of `key`.
    fn client(&self, key: &str) -> String {
        format!(
            "ssh {} -p {} {}@127.0.0.1",
            self.options(key),
            self.address.port(),
            user()
        )
    }

    fn options(&self, key: &str) -> String {
        format!(
            "-F none -i {} -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel=ERROR \
             -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
            self.path(key).display()
        )
    }

    /// Starts `ssh` with ann's key. `words` are arguments as in a shell.
    fn ann(&self, words: &str) -> Program {
        self.shell(&format!("{} {words}", self.client("ann")))
    }

    fn shell(&self, command: &str) -> Program {
        Program::start(
            &format!("cd {}; {command}", self.folder.path().display()),
            self.address,
        )
    }

    fn run(&self, words: &str) -> Ended {
        self.ann(words).finish()
    }

    /// Runs a command, which must succeed.
    #[track_caller]
    fn done(&self, words: &str) -> Vec<String> {
        let ended = self.run(words);
        assert_eq!(
            ended.code,
            Some(0),
            "{words}: {}{}",
            ended.errors,
            self.log()
        );
        ended.lines()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("sshd_log")).unwrap_or_default()
    }

    /// Returns a member of `#ops` who is not connected over ssh.
    fn carl(&self) -> Peer {
        let mut carl = self.chatd.member("carl");
        carl.ask("JOIN #ops", "OK JOIN #ops <id>");
        carl
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        let mut sessions = self
            .sessions
            .lock()
            .expect("no test panics while it holds this");
        for sshd in sessions.iter_mut() {
            let _ = sshd.kill();
            let _ = sshd.wait();
        }
    }
}

/// Returns the name of the user of the tests.
fn user() -> String {
    let id = Command::new("id").arg("-un").output().expect("id is there");
    String::from_utf8_lossy(&id.stdout).trim().to_owned()
}

#[test]
fn the_commands_of_chatc_run_with_the_nick_of_the_key() {
    let ssh = Ssh::start();
    let mut carl = ssh.carl();
    ssh.done("send '#ops' build done");
    carl.inbox.find(|line| line == "MSG #ops ann build done");
    ssh.done("\"send '#ops' it's  done\"");
    carl.inbox.find(|line| line == "MSG #ops ann it's  done");
    let sent = ssh.shell(&format!(
        "printf 'a\\nb\\n' | {} send ops -",
        ssh.client("ann")
    ));
    assert_eq!(sent.finish().code, Some(0));
    carl.inbox.find(|line| line == "MSG #ops ann a");
    carl.inbox.find(|line| line == "MSG #ops ann b");
    // Standard input may be a growing log: each line is sent as soon as it arrives.
    let mut piped = ssh.ann("-- --room ops");
    piped.send("first\n");
    carl.inbox.find(|line| line == "MSG #ops ann first");
    carl.ask("TELL #ops seen", "OK TELL <id> <time>");
    piped.inbox.find(|line| line.ends_with("<carl> seen"));
    piped.send("last\n");
    let ended = piped.finish();
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    carl.inbox.find(|line| line == "MSG #ops ann last");
    let mut tail = ssh.ann("tail ops --json --since 1h | head -n 2 | jq -r .text");
    tail.expect("build done");
    tail.expect("it's  done");
    drop(tail);
    assert_eq!(ssh.done("history ops --count 1").len(), 1);
    assert!(ssh.done("search --room ops build done")[0].ends_with("<ann> build done"));
    assert_eq!(ssh.run("search --room ops nothing").code, Some(1));
    assert!(ssh.done("who ops").contains(&"carl".to_owned()));
    assert!(
        ssh.done("rooms")
            .iter()
            .any(|room| room.starts_with("#ops "))
    );
    assert!(
        ssh.done("help")
            .iter()
            .any(|line| line.contains("upload - < FILE"))
    );
    assert!(ssh.done("tail --help").concat().contains("--since"));
}

#[test]
fn files_go_through_standard_input_and_output() {
    let ssh = Ssh::start();
    let mut carl = ssh.carl();
    // More bytes than fit into the buffers on the way, and not text.
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    fs::write(ssh.path("big"), &bytes).expect("the folder is writable");
    let client = ssh.client("ann");
    let up = ssh
        .shell(&format!(
            "{client} upload - --room ops --name big.bin < big"
        ))
        .finish();
    assert_eq!(up.code, Some(0), "{}", up.errors);
    carl.inbox
        .find(|line| line.starts_with("FILE #ops ann ") && line.ends_with(" big.bin"));
    let lines = up.lines();
    let id = lines[0].split(' ').next().expect("a word");
    let down = ssh
        .shell(&format!("{client} download --nick ann {id} | cmp - big"))
        .finish();
    assert_eq!((down.code, &down.errors[..]), (Some(0), ""));
    assert!(ssh.done("files ops")[0].ends_with("ann  big.bin"));
}

#[test]
fn only_a_key_that_was_added_and_not_revoked_logs_in() {
    let ssh = Ssh::start();
    let refused = ssh.shell(&format!("{} rooms", ssh.client("bob"))).finish();
    assert_eq!(refused.code, Some(255));
    assert!(
        refused.errors.contains("Permission denied (publickey)"),
        "{}",
        refused.errors
    );
    let known = ssh.add_key("bob", "bob");
    let listed = Command::new("ssh-keygen")
        .args(["-l", "-f"])
        .arg(ssh.path("bob.pub"))
        .output();
    let listed = String::from_utf8_lossy(&listed.expect("it runs").stdout).into_owned();
    assert!(listed.contains(&known), "{listed} {known}");
    let mut bob = ssh.chatd.peer();
    bob.ask("NICK bob my secret", "OK NICK bob #lobby <id>");
    bob.send("TOKENS\n");
    bob.expect(&format!("TOKEN bob <time> {known}"));
    bob.expect("OK TOKENS 1");
    let key = fs::read_to_string(ssh.path("bob.pub")).expect("it was made");
    bob.ask(
        &format!("TOKEN again {}", key.trim()),
        "ERR TOKEN not-allowed …",
    );
    bob.ask("TOKEN mine ssh-ed25519 AAAA", "ERR TOKEN bad-syntax …");
    let sent = ssh
        .shell(&format!("{} send '#lobby' hi", ssh.client("bob")))
        .finish();
    assert_eq!(sent.code, Some(0), "{}", sent.errors);
    bob.inbox.find(|line| line == "MSG #lobby bob hi");
    bob.ask("REVOKE bob", "OK REVOKE bob");
    let refused = ssh.shell(&format!("{} rooms", ssh.client("bob"))).finish();
    assert_eq!(refused.code, Some(255), "{}", refused.errors);
    assert!(
        refused.errors.contains("Permission denied (publickey)"),
        "{}",
        refused.errors
    );
}

#[test]
fn a_ban_applies_to_one_ssh_client_and_not_to_the_others() {
    let ssh = Ssh::with(&["--operator", "boss"]);
    ssh.add_key("ann", "ann");
    let mut boss = ssh.chatd.member("boss");
    boss.ask("REGISTER my secret", "OK REGISTER boss");
    // chatc itself connects from 127.0.0.1.
    boss.ask("BAN 127.0.0.2 1h", "OK BAN 127.0.0.2");
    let from = |address: &str| {
        let client = ssh.client("ann");
        let client = client.replacen("ssh ", &format!("ssh -b {address} "), 1);
        ssh.shell(&format!("{client} send '#lobby' hi")).finish()
    };
    let banned = from("127.0.0.2");
    assert_ne!(banned.code, Some(0));
    assert!(banned.errors.contains("banned"), "{}", banned.errors);
    let other = from("127.0.0.3");
    assert_eq!(other.code, Some(0), "{}", other.errors);
    boss.send("BAN ann 1h\n");
    boss.inbox.find(|line| line == "OK BAN ann");
    let banned = from("127.0.0.3");
    assert_ne!(banned.code, Some(0));
    assert!(banned.errors.contains("banned"), "{}", banned.errors);
}

#[test]
fn chatc_reports_a_wrong_shared_secret() {
    let ssh = Ssh::start();
    fs::write(ssh.path("secret"), "another secret\n").expect("the folder is writable");
    let failed = ssh.run("send '#lobby' hi");
    assert_eq!(failed.code, Some(3), "{}", failed.errors);
    let hint = "with the same --ssh-secret-file";
    assert!(failed.errors.contains(hint), "{}", failed.errors);
}

/// Another user of this machine cannot claim to forward the connection of a client.
#[test]
fn only_chatc_can_report_the_address_of_a_client() {
    let ssh = Ssh::with(&["--require-tls"]);
    let header = |fields: &[u8], secret: Option<&str>| {
        let client = [203, 0, 113, 9, 192, 0, 2, 1, 0, 1, 0, 2];
        let length = (client.len() + fields.len() + 35) as u16;
        let head = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x21, 0x11]].concat();
        let head = [&head, &length.to_be_bytes()[..], &client, fields].concat();
        let head = [&head[..], &SEAL_FIELD].concat();
        let sealed = secret.map_or([7; 32], |secret| seal(secret, &head));
        [&head[..], &sealed].concat()
    };
    let is_encrypted = [0x20, 0, 5, 1, 0, 0, 0, 0];
    for secret in [None, Some("a guess"), Some("")] {
        let mut peer = ssh.chatd.peer();
        peer.send([&header(&is_encrypted, secret), &b"NICK eve\n"[..]].concat());
        peer.inbox
            .find(|line| line.starts_with("CLOSED not-allowed "));
    }
    // With the seal, the client counts as one from another machine, and its connection is encrypted if the header says
    // so.
    let login = b"NICK bob my secret\n";
    let mut peer = ssh.chatd.peer();
    peer.send([&header(&[], Some(SECRET)), &login[..]].concat());
    peer.inbox
        .find(|line| line.starts_with("ERR NICK not-allowed "));
    let mut peer = ssh.chatd.peer();
    peer.send([&header(&is_encrypted, Some(SECRET)), &login[..]].concat());
    peer.inbox.find(|line| line.starts_with("OK NICK bob "));
    // A client may begin with empty lines.
    let mut peer = ssh.chatd.peer();
    peer.send("\r\n\r\nNICK eve\n");
    peer.inbox.find(|line| line.starts_with("OK NICK eve "));
}

#[test]
fn a_key_that_several_nicks_have_added_logs_in_to_the_one_that_is_named() {
    let ssh = Ssh::with(&["--operator", "boss"]);
    let mut boss = ssh.chatd.member("boss");
    boss.ask("REGISTER my secret", "OK REGISTER boss");
    let mut carl = ssh.carl();
    // Another user adds ann's key before she does: chatc tells her whose nick she would log in to.
    ssh.add_key("bob", "ann");
    let as_bob = ssh.run("rooms");
    assert_eq!(as_bob.code, Some(0), "{}", as_bob.errors);
    let told = "chatc: you are bob, who has added this key";
    assert!(as_bob.errors.starts_with(told), "{}", as_bob.errors);
    ssh.add_key("ann", "ann");
    let which = ssh.run("send '#ops' hi");
    assert_eq!(which.code, Some(1), "{}", which.errors);
    let asked = "several nicks have added this key: choose one of them";
    assert!(which.errors.contains(asked), "{}", which.errors);
    for words in [
        "send --nick ann '#ops' one",
        "-- --nick ann send '#ops' two",
        "send '#ops' three --nick ann",
    ] {
        let sent = ssh.run(words);
        assert_eq!((sent.code, &sent.errors[..]), (Some(0), ""), "{words}");
    }
    for text in ["one", "two", "three"] {
        carl.inbox
            .find(|line| *line == format!("MSG #ops ann {text}"));
    }
    // The key does not log in to a nick that has not added it.
    let other = ssh.run("send --nick boss '#ops' hi");
    assert_eq!(other.code, Some(1), "{}", other.errors);
    let hint = "that nick has not added this key";
    assert!(other.errors.contains(hint), "{}", other.errors);
}

/// A server with a password also admits users who have the password or the key of a registered nick.
#[test]
fn nobody_with_a_key_needs_the_password_of_the_server() {
    let password = tempfile::NamedTempFile::new().expect("a file");
    fs::write(password.path(), "open sesame\n").expect("it is ours");
    let file = password.path().display().to_string();
    let ssh = Ssh::with(&["--password-file", &file]);
    let mut peer = ssh.chatd.peer();
    peer.ask("PASS open sesame", "OK PASS");
    peer.ask("NICK ann", "OK NICK ann #lobby <id>");
    peer.ask("REGISTER my secret", "OK REGISTER ann");
    let key = fs::read_to_string(ssh.path("ann.pub")).expect("it was made");
    peer.ask(&format!("TOKEN ann {}", key.trim()), "OK TOKEN …");
    ssh.done("send '#lobby' hi");
    peer.inbox.find(|line| line == "MSG #lobby ann hi");
    for words in ["history lobby", "who lobby", "search hi", "rooms"] {
        assert!(!ssh.done(words).is_empty(), "{words}");
    }
    ssh.done("files");
    let mut piped = ssh.ann("-- --room lobby");
    piped.send("a line\n");
    peer.inbox.find(|line| line == "MSG #lobby ann a line");
    piped.finish();
    let mut tail = ssh.ann("tail lobby --since 1h");
    tail.inbox.find(|line| line.ends_with("<ann> hi"));
    let terminal = screen(&ssh);
    terminal.say("from the screen");
    peer.inbox
        .find(|line| line == "MSG #lobby ann from the screen");
}

#[test]
fn one_address_cannot_keep_others_from_logging_in() {
    let ssh = Ssh::start();
    // The port was free a moment ago. sshd cannot listen on port 0 and say which port it got.
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    let _sshd = Program::start(
        &format!(
            "exec {SSHD} -D -f {} -o ListenAddress=$HOST:$PORT",
            ssh.path("sshd_config").display()
        ),
        address,
    );
    let end = Instant::now() + DEADLINE;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < end, "sshd does not listen");
        std::thread::yield_now();
    }
    // These connect and do not log in. The first ones of this loop may come before sshd has noticed the end of the
    // connection above.
    let mut idle = Vec::new();
    let refused = loop {
        let mut peer = Peer::connect(address);
        let line = peer.inbox.line();
        if !line.starts_with("SSH-2.0-") {
            break line;
        }
        idle.push(peer);
        assert!(
            idle.len() <= 5,
            "one address has more than five connections"
        );
    };
    assert_eq!(refused, "Exceeded MaxStartups");
    let mut other = Program::start("exec nc -s 127.0.0.2 $HOST $PORT", address);
    let line = other.inbox.line();
    assert!(line.starts_with("SSH-2.0-"), "{line}");
}

#[test]
fn chatc_has_limited_memory_and_one_session_a_connection() {
    let ssh = Ssh::start();
    let mut tail = ssh.ann("tail lobby --since 1h");
    let mut member = ssh.chatd.member("carl");
    member.ask("MSG hi", "OK MSG <id> <time>");
    tail.inbox.find(|line| line.ends_with("<carl> hi"));
    let secret = ssh.path("secret").display().to_string();
    let limits: Vec<String> = fs::read_dir("/proc")
        .expect("Linux has it")
        .map_while(Result::ok)
        .filter(|process| {
            let words = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
            words.contains("chatc\0--ssh\0ann\0") && words.contains(&secret)
        })
        .map(|process| fs::read_to_string(process.path().join("limits")).expect("it is ours"))
        .collect();
    assert_eq!(limits.len(), 1, "{limits:?}");
    let data = limits[0]
        .lines()
        .find_map(|line| line.strip_prefix("Max data size"))
        .expect("Linux tells it");
    assert!(data.trim_start().starts_with("268435456 "), "{data}");
    drop(tail);
    // A second session on the first session's connection is refused.
    let control = ssh.path("control").display().to_string();
    let client = ssh.client("ann");
    let shared = |flags: &str| client.replacen("ssh ", &format!("ssh {flags} -S {control} "), 1);
    let mut first = ssh.shell(&format!("{} tail lobby --since 1h", shared("-M")));
    first.inbox.find(|line| line.ends_with("<carl> hi"));
    let second = ssh.shell(&format!("{} rooms", shared(""))).finish();
    assert!(
        second.errors.contains("Session open refused by peer"),
        "{}",
        second.errors
    );
}

/// Checks how `sshd` itself reads the packaged fragment, for its user and for others.
#[test]
fn the_packaged_configuration_is_what_the_documents_say() {
    let ssh = Ssh::start();
    let config = ssh.path("sshd_config");
    let settings = |who: &str| {
        let told = Command::new(SSHD)
            .args([
                "-T",
                "-C",
                &format!("user={who},host=h,addr=203.0.113.9"),
                "-f",
            ])
            .arg(&config)
            .output()
            .expect("sshd is there");
        let errors = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(told.status.success() && errors.is_empty(), "{errors}");
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        told.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let chat = settings(&user());
    for line in [
        "authorizedkeysfile none",
        "trustedusercakeys none",
        "authenticationmethods publickey",
        "passwordauthentication no",
        "kbdinteractiveauthentication no",
        "permittty yes",
        "disableforwarding yes",
        "permittunnel no",
        "permituserrc no",
        "maxsessions 1",
        "unusedconnectiontimeout 30",
        "clientaliveinterval 40",
        "clientalivecountmax 3",
    ] {
        assert!(chat.iter().any(|told| told == line), "{line}: {chat:#?}");
    }
    let command = chat
        .iter()
        .find(|told| told.starts_with("authorizedkeyscommand "))
        .expect("it is set");
    assert!(command.ends_with(" %t %k"), "{command}");
    let other = settings("somebody");
    assert!(other.iter().any(|told| told == "persourcemaxstartups 5"));
    assert!(other.iter().any(|told| told == "disableforwarding no"));
    assert!(other.iter().any(|told| told == "maxsessions 10"));
    let packaged = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/ssh/slice.conf");
    let folder = ssh.path("user-1234.slice.d");
    fs::create_dir(&folder).expect("the folder is writable");
    fs::copy(packaged, folder.join("plainchat.conf")).expect("it is there");
    let slice = ssh.path("user-1234.slice");
    fs::write(&slice, "[Slice]\n").expect("the folder is writable");
    let checked = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&slice)
        .output()
        .expect("Debian's systemd has it");
    let errors = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(
        checked.status.success() && !errors.contains("plainchat.conf"),
        "{errors}"
    );
}

#[test]
fn no_program_file_server_or_nick_can_be_named() {
    let ssh = Ssh::start();
    let mut carl = ssh.carl();
    let file = ssh.path("secret").display().to_string();
    let new = ssh.path("new").display().to_string();
    let other = ssh.chatd.address;
    for words in [
        "sh",
        &format!("'touch {new}'"),
        &format!("\"send '#ops' hi; touch {new}\""),
        &format!("'rooms $(touch {new})'"),
        &format!("'rooms | touch {new}'"),
        &format!("run -- touch {new}"),
        &format!("bot -- touch {new}"),
        &format!("-- --room ops bot -- touch {new}"),
        &format!("upload {file}"),
        &format!("upload - {file}"),
        &format!("upload -- {file}"),
        &format!("download 1 --out {new}"),
        &format!("-- --password-file {file}"),
        &format!("tail --password-file {file}"),
        &format!("send --host {other} ops hi"),
        &format!("{other}"),
        &format!("-- --ssh bob SHA256:x {file} {other}"),
        "-- --raw",
        "-- --ask-password",
        "servers",
    ] {
        let ended = ssh.run(words);
        if words.contains("hi; touch") {
            // The shell syntax is sent as text, and is not executed.
            carl.inbox
                .find(|line| line.starts_with("MSG #ops ann hi; touch "));
            continue;
        }
        assert_eq!(ended.code, Some(2), "{words}: {}", ended.errors);
        assert!(ended.output.is_empty(), "{words}: {:?}", ended.lines());
        assert!(!ended.errors.contains(SECRET), "{words}");
    }
    assert!(!Path::new(&new).exists());
    // sshd takes no variable of chatc from the client.
    let ended = ssh.shell(&format!(
        "CHATC_PASSWORD=x HOME=/ {} -o SendEnv='CHATC_PASSWORD HOME' send '#ops' hello",
        ssh.client("ann")
            .replace("ssh ", "ssh -o SetEnv=SSH_ORIGINAL_COMMAND=sh ")
    ));
    assert_eq!(ended.finish().code, Some(0));
    carl.inbox.find(|line| line == "MSG #ops ann hello");
    carl.send("FILES #ops\n");
    carl.inbox.find(|line| line == "OK FILES 0");
}

#[test]
fn scp_sftp_and_forwarding_are_refused() {
    let ssh = Ssh::start();
    let (options, port) = (ssh.options("ann"), ssh.address.port());
    let there = format!("{}@127.0.0.1", user());
    let hint = "upload - --name NAME < FILE, and download ID > FILE";
    for (command, why) in [
        (
            format!("scp -O {options} -P {port} secret {there}:new"),
            hint,
        ),
        (
            format!("scp -O {options} -P {port} {there}:secret new"),
            hint,
        ),
        (format!("sftp {options} -P {port} {there}"), hint),
        // For these two requests, scp prints an error of its own and not the text from the server.
        (
            format!("scp {options} -P {port} secret {there}:new"),
            "Permission denied",
        ),
        (
            format!("scp {options} -P {port} {there}:secret new"),
            "No such file or directory",
        ),
    ] {
        let ended = ssh.shell(&command).finish();
        assert_ne!(ended.code, Some(0), "{command}");
        assert!(ended.errors.contains(why), "{command}: {}", ended.errors);
    }
    assert!(!ssh.path("new").exists());
    let client = ssh.client("ann");
    let with = |flags: &str| client.replacen("ssh ", &format!("ssh {flags} "), 1);
    let target = ssh.chatd.address;
    let forward = ssh.shell(&with(&format!("-W {target}"))).finish();
    assert_eq!(forward.code, Some(255), "{}", forward.errors);
    assert!(
        forward.errors.contains("stdio forwarding failed"),
        "{}",
        forward.errors
    );
    let flags = format!("-o ExitOnForwardFailure=yes -R 0:{target}");
    let reverse = ssh.shell(&format!("{} rooms", with(&flags))).finish();
    assert_eq!(reverse.code, Some(255), "{}", reverse.errors);
    assert!(
        reverse.errors.contains("remote port forwarding failed"),
        "{}",
        reverse.errors
    );
    let socket = ssh.path("socket").display().to_string();
    let flags = format!("-o ExitOnForwardFailure=yes -R {socket}:{target}");
    let reverse = ssh.shell(&format!("{} rooms", with(&flags))).finish();
    assert_eq!(reverse.code, Some(255), "{}", reverse.errors);
    assert!(!Path::new(&socket).exists());
}

/// Opens chatc's screen over ssh in a terminal.
fn screen(ssh: &Ssh) -> Terminal {
    let terminal = Terminal::new(100, 30);
    terminal.run(&ssh.client("ann").replacen("ssh ", "ssh -t ", 1));
    terminal.sees("ann ›");
    terminal
}

#[test]
fn the_screen_opens_and_reads_no_file_of_the_server() {
    let ssh = Ssh::start();
    let mut carl = ssh.chatd.member("carl");
    let terminal = screen(&ssh);
    terminal.sees("you are ann, who has added this key");
    terminal.say("hello there");
    carl.inbox.find(|line| line == "MSG #lobby ann hello there");
    carl.ask("MSG hi", "OK MSG <id> <time>");
    terminal.sees("carl");
    let secret = ssh.path("secret").display().to_string();
    terminal.say(&format!("/upload {secret}"));
    terminal.sees("by ssh, files go through");
    terminal.say("/join ops");
    terminal.sees("#ops");
    terminal.say("/download 1 /tmp/plainchat-new");
    terminal.sees("by ssh, files go through");
    // Tab would complete the path.
    let begin = secret.strip_suffix("cret").expect("its end");
    terminal.text(&format!("/upload {begin}"));
    terminal.key("Tab");
    terminal.text("XY");
    terminal.sees(&format!("{begin}XY"));
    terminal.key("C-u");
    terminal.key("C-z");
    terminal.sees("by ssh, files go through");
    terminal.key("C-x");
    terminal.key("C-e");
    terminal.sees("an editor could read the server's files");
    terminal.say("/quit");
    terminal.sees("shell>");
    carl.send("FILES #lobby\n");
    carl.inbox.find(|line| line == "OK FILES 0");
}

#[test]
fn chatc_plain_over_ssh_uploads_no_file_of_the_server() {
    let ssh = Ssh::start();
    let mut carl = ssh.chatd.member("carl");
    let terminal = Terminal::new(100, 30);
    terminal.run(&format!(
        "{} --plain",
        ssh.client("ann")
            .replacen("ssh ", "ssh -t ", 1)
            .replace("127.0.0.1", "127.0.0.1 --")
    ));
    terminal.sees("you are ann in #lobby");
    terminal.say("hello there");
    carl.inbox.find(|line| line == "MSG #lobby ann hello there");
    terminal.say(&format!("/upload {}", ssh.path("secret").display()));
    terminal.sees("! by ssh, files go through");
    terminal.say("/quit");
    terminal.sees("shell>");
    carl.send("FILES #lobby\n");
    carl.inbox.find(|line| line == "OK FILES 0");
}

#[test]
fn nobody_becomes_an_operator_or_makes_tokens_by_ssh() {
    let ssh = Ssh::with(&["--operator", "boss"]);
    ssh.add_key("ann", "ann");
    let terminal = screen(&ssh);
    terminal.say("/token more");
    terminal.sees("this command needs the password of the nick");
    terminal.say("/nick boss");
    terminal.sees("boss ›");
    terminal.say("/register");
    terminal.sees("boss is an operator's nick");
    let mut carl = ssh.chatd.member("carl");
    carl.send("WHOIS boss\n");
    carl.inbox
        .find(|line| line.starts_with("OK WHOIS boss guest online"));
}
