//! Runs the commands of README.md as they stand, beside a `chatd` on port 5002, in a network namespace of its own.
//! Blocks marked `sh` must succeed; the conversations, the bot and the private server are played. Commands in other
//! blocks, in tables and in sentences are in one of two lists: [`RUN`] says how they are run, [`NOT_RUN`] why they
//! are not. A new one that is in neither fails the test.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use plainchat::protocol::Request;

/// Commands in tables, sentences and lists, and a script that runs each: `COMMAND` stands for the command itself.
const RUN: &[(&str, &str)] = &[
    ("chatc --plain", "printf '/quit\\n' | COMMAND"),
    ("chatd --help", "COMMAND >/dev/null"),
    ("chatd config", "COMMAND >chatd.toml"),
    (
        "curl http://localhost:5002/help",
        "COMMAND | grep 'http://localhost:5002/' >/dev/null",
    ),
    (
        "curl -N 'http://localhost:5002/rooms/ops?follow'",
        // The server has answered once the head of its reply is there. curl opens that file, closes it and opens it again, so
        // the pipe is held open meanwhile: otherwise it may end before anything is in it.
        "mkfifo head; exec 8<>head; echo 'dump-header = head' > .curlrc; COMMAND > followed & pid=$!; \
         read -r status <&8; exec 8>&-; rm .curlrc; mkfifo lines; curl -s -u ci: -d 'a line to follow' http://localhost:5002/rooms/ops; \
         tail -f followed > lines & tail=$!; grep -q -m 1 'ci a line to follow$' < lines; kill $pid $tail",
    ),
    (
        "curl -f -OJ http://localhost:5002/files/NUMBER",
        "printf 'FILES #ops\\nBYE\\n' | nc localhost 5002 > files; \
         number=$(sed -n 's/.* FILE #ops [^ ]* \\([0-9]*\\) [0-9]* notes.txt$/\\1/p' files | head -1); \
         mkdir got; cd got; NUMBER=$number; COMMAND; cmp notes.txt ../notes.txt",
    ),
    (
        "chatd check --repair",
        "chatd backup --data ../chatd-data chatd-data; COMMAND",
    ),
    ("chatc files", "COMMAND >/dev/null"),
    (
        "chatc download NUMBER",
        "printf 'FILES\\nBYE\\n' | nc localhost 5002 > files; \
         number=$(sed -n 's/.* FILE #lobby [^ ]* \\([0-9]*\\) [0-9]* notes.txt$/\\1/p' files | head -1); \
         mkdir got; cd got; NUMBER=$number; COMMAND; cmp notes.txt ../notes.txt",
    ),
    (
        "make 2>&1 | curl -s --data-urlencode text@- http://HOST:5002/hooks/TOKEN",
        "printf 'all:\\n\\t@echo built\\n' > Makefile; [ \"$(COMMAND)\" = ok ]",
    ),
    (
        "curl -sd '{\"text\":\"deployed\"}' ${{ secrets.HOOK }}",
        "[ \"$(COMMAND)\" = ok ]",
    ),
    (
        "GET /metrics",
        "curl -f http://localhost:5002/metrics >/dev/null",
    ),
];

/// Commands that cannot be run here, and the reason, or where they are run.
const NOT_RUN: &[(&str, &str)] = &[
    (
        "chatd cluster init --cluster nats://a,nats://b,nats://c",
        "NATS is needed; tests/cluster begins such a chat",
    ),
    ("chatd cluster leave", "NATS is needed; tests/cluster does"),
    (
        "packaging/cluster/try",
        "it needs nats-server, and runs until it is stopped",
    ),
    (
        "chatc a,b,c",
        "the servers are examples; tests/cluster uses such a list",
    ),
    ("apt-get install gcc", "who can run this has a compiler"),
    (
        "cargo run --release",
        "tests/run builds so, and every test runs chatd",
    ),
    ("cargo install --path .", "tests/run does"),
    (
        "cargo install --path . --no-default-features --features chatc",
        "tests/run compiles chatc with these features",
    ),
    ("chatc servers", "tests/cli/discover.rs runs it"),
    (
        "cargo install cargo-deb && cargo deb",
        "packaging/try builds the package, and needs a network",
    ),
    (
        "apt install ./target/debian/plainchat_*.deb",
        "packaging/try does, on a clean Debian",
    ),
    (
        "chatd --ntfy on",
        "it serves until it is stopped; tests/doors/web/ntfy.rs starts it",
    ),
    (
        "/join #ops laptop",
        "an IRC client is needed; tests/doors/irc_clients.rs joins so",
    ),
    ("packaging/image", "packaging/try-image does"),
    (
        "podman run -d --name chat -p 5002:5002 -v chat:/data plainchat",
        "packaging/try-image does",
    ),
    ("packaging/release", "tests/run does"),
    (
        "tar -C /usr/local --strip-components 1 -xzf plainchat-*.tar.gz",
        "it changes this machine",
    ),
    ("tests/run", "it runs this"),
    ("cargo doc --open", "it opens a browser"),
    ("chatc", "tests/cli/screen.rs draws it on a terminal"),
    (
        "chatc chat.example.org --room ops",
        "there is no such server; tests/cli/chatc_live.rs has another",
    ),
    (
        "chatc a.example.org,b.example.org",
        "there are no such servers; tests/doors/several.rs has others",
    ),
    (
        "chatc chat.example.org",
        "there is no such server; tests/cli/chatc_live.rs has another",
    ),
    (
        "ssh chat@chat.example.org",
        "tests/cli/ssh.rs has a real sshd",
    ),
    (
        "ssh chat@chat.example.org send ops build done",
        "tests/cli/ssh.rs has a real sshd",
    ),
    (
        "chatd --host chat.example.org",
        "the private server is started so",
    ),
    (
        "chatc bot --nick echo -- ./bot.sh",
        "tests/cli/commands.rs runs bots",
    ),
    (
        "plainchat = { path = \"…\", default-features = false, features = [\"client\", \"tls\"] }",
        "tests/project/bot_package.rs builds such a bot",
    ),
    (
        "webhook_configs: [{url: 'http://HOST:5002/hooks/TOKEN', send_resolved: true}]",
        "tests/doors/interop/hooks.rs starts Alertmanager with it",
    ),
    ("ncat --chat", "another program, for comparison"),
    ("tail -f", "tests/cli/examples.rs runs the example"),
    ("AS hourly", "a part of a command that is run"),
    ("← you", "the mark of what is typed"),
    (
        "[09:15] <bob> Yes, in a browser.",
        "what the terminal shows",
    ),
    ("WeeChat", TYPED),
    ("irssi", TYPED),
    ("HexChat", TYPED),
    ("The Lounge", TYPED),
    ("a bot", TYPED),
    ("/msg NickServ REGISTER <password>", TYPED),
    ("/set irc.server.chat.tls_fingerprint", TYPED),
    ("Caddy", "a file of Caddy's"),
    ("nginx", "tests/doors/interop/web.rs starts nginx with it"),
];

const TYPED: &str = "is typed into an IRC client; the transcripts of irc.md have what it sends";

/// A fenced block: its label, the number of its first line, and its text.
struct Block<'a> {
    label: &'a str,
    line: usize,
    text: String,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut is_open = false;
    for (n, line) in text.lines().enumerate() {
        if let Some(label) = line.strip_prefix("```") {
            is_open = !is_open;
            if is_open {
                let (line, text) = (n + 2, String::new());
                blocks.push(Block { label, line, text });
            }
        } else if is_open && let Some(block) = blocks.last_mut() {
            block.text += line;
            block.text.push('\n');
        }
    }
    assert!(!is_open, "a block of README.md never ends");
    blocks
}

/// Returns the texts between backquotes outside of the blocks.
fn quoted(text: &str) -> Vec<String> {
    let mut is_open = false;
    let outside = text.lines().filter(|line| {
        let is_fence = line.starts_with("```");
        is_open ^= is_fence;
        !is_open && !is_fence
    });
    let outside = outside.collect::<Vec<_>>().join(" ");
    let spans = outside.split('`').skip(1).step_by(2);
    // In a table a bar is escaped.
    spans.map(|span| span.replace("\\|", "|")).collect()
}

/// Returns the beginning of each line of a block that is not run: the text before two spaces.
fn lines(block: &Block<'_>) -> Vec<String> {
    let lines = block.text.lines().filter(|line| !line.starts_with(' '));
    lines
        .filter_map(|line| line.split("  ").next())
        .map(|line| line.trim_end().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

/// Returns the script that runs a command in a sentence, a table or a list; `None` if the text is not a command. A
/// command that is in neither list is added to `unknown`.
fn run(command: &str, used: &mut BTreeSet<String>, unknown: &mut Vec<String>) -> Option<String> {
    let command = command.strip_prefix("- run: ").unwrap_or(command);
    let listed = RUN.iter().find(|(known, _)| *known == command);
    if let Some((known, script)) = listed {
        used.insert((*known).to_owned());
        let filled = command
            .replace("HOST", "localhost")
            .replace("TOKEN", "$(cat ../token)")
            .replace(
                "${{ secrets.HOOK }}",
                "http://localhost:5002/hooks/$(cat ../token)",
            )
            .replace("NUMBER", "$NUMBER");
        return Some(script.replace("COMMAND", &filled));
    }
    if NOT_RUN.iter().any(|(known, _)| *known == command) {
        used.insert(command.to_owned());
        return None;
    }
    let request = command.strip_prefix("/quote ").unwrap_or(command);
    let is_program = ["packaging/", "tests/"]
        .iter()
        .any(|path| command.starts_with(path));
    if command.starts_with("--") {
        let flag = command.split(' ').next().unwrap_or_default();
        return Some(format!("chatd --help | grep -e '{flag}' >/dev/null"));
    }
    let is_request = matches!(Request::parse(request.as_bytes()), Ok(Some(_)));
    if !is_request && (is_program || command.contains(' ')) {
        unknown.push(command.to_owned());
    }
    None
}

/// Starts the server that the other commands use. It runs in a network of its own, so that its port is that of the
/// README.
const BEGIN: &str = r#"
set -uo pipefail
ip link set lo up
exec 3< <(exec chatd 2>chatd.log)
until read -r -t 60 line <&3 && [[ $line = To\ * ]]; do [ -n "$line" ] || { echo 'chatd does not start'; exit 1; }; done
# Numbers differ from run to run.
plain() { sed 's/[0-9]\+/0/g'; }
"#;

/// Plays a conversation: marked lines are sent, the others must be received.
fn talk(block: &Block<'_>) -> String {
    let mut script = String::new();
    let mut lines = block.text.lines();
    let command = lines.next().and_then(|line| line.strip_prefix("$ "));
    let command = command.expect("a conversation begins with the command");
    let _ = writeln!(script, "coproc TALK {{ {command}; }}");
    for line in lines {
        if let Some(typed) = line.strip_suffix("← you") {
            let _ = writeln!(
                script,
                "printf '%s\\n' '{}' >&\"${{TALK[1]}}\"",
                typed.trim_end()
            );
        } else {
            let _ = writeln!(
                script,
                "IFS= read -r -t 60 got <&\"${{TALK[0]}}\"\n\
                 [ \"$(plain <<<\"$got\")\" = \"$(plain <<<'{line}')\" ] || {{ echo \"README.md:{}: wanted {line}, got $got\"; exit 1; }}",
                block.line
            );
        }
    }
    script + "kill $TALK_PID\n"
}

/// Starts the private server in a network of its own, because it has the same port as the first server. Then plays
/// the conversation that follows.
fn private(server: &Block<'_>, talk_with_it: &Block<'_>) -> String {
    let (before, chatd) = server
        .text
        .trim_end()
        .rsplit_once('\n')
        .expect("some lines");
    let start = BEGIN.replace("exec chatd ", &format!("exec {chatd} "));
    let inner = format!("{before}\n{start}{}", talk(talk_with_it));
    format!(
        "unshare --net --pid --fork --kill-child bash <<'PRIVATE' || exit 1\nmkdir private; cd private\n{inner}PRIVATE\n"
    )
}

/// Starts the bot, waits until it has joined, and makes it repeat something.
fn bot(block: &Block<'_>) -> String {
    format!(
        r#"coproc TALK {{ nc localhost 5002; }}
await() {{
  while IFS= read -r -t 60 got <&"${{TALK[0]}}"; do [[ $got = $1 ]] && return; done
  echo "README.md:{}: the bot was to cause: $1"; exit 1
}}
printf 'NICK asker\n' >&"${{TALK[1]}}"
await 'OK NICK asker #lobby *'
bash bot.sh & bot=$!
await 'JOIN #lobby echo'
printf 'MSG echo hello\n' >&"${{TALK[1]}}"
await 'MSG #lobby echo asker says: hello'
kill "$TALK_PID"
"#,
        block.line
    )
}

#[test]
fn every_command_of_the_readme_works_as_it_stands() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).expect("README.md");
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("notes.txt"), "some notes\n").expect("a file");
    let blocks = blocks(&readme);
    let mut script = BEGIN.to_owned();
    let (mut commands, mut talks, mut bots) = (0, 0, 0);
    let mut server = None;
    let mut others = quoted(&readme);
    for block in &blocks {
        if block.label == "sh" {
            commands += 1;
            let name = format!("line-{}.sh", block.line);
            std::fs::write(path(&name), &block.text).expect("a file");
            let line = block.line;
            let _ = writeln!(
                script,
                "timeout 120 bash -euo pipefail {name} </dev/null >out 2>&1 || {{ echo \"README.md:{line}: exit code $?\"; cat out chatd.log; exit 1; }}
[ -e token ] || ! grep '^OK HOOK ' out > hook || sed 's:.*/hooks/::' hook > token",
            );
        } else if block.text.contains("← you") {
            talks += 1;
            script += &server
                .take()
                .map_or_else(|| talk(block), |server| private(server, block));
        } else if block.text.starts_with("mkfifo") {
            bots += 1;
            std::fs::write(path("bot.sh"), &block.text).expect("a file");
            script += &bot(block);
        } else if block.text.contains("\nchatd --") {
            server = Some(block);
        } else {
            others.extend(lines(block));
        }
    }
    let (mut used, mut unknown) = (BTreeSet::new(), Vec::new());
    let mut number = 0;
    for command in others.iter().collect::<BTreeSet<_>>() {
        let Some(other) = run(command, &mut used, &mut unknown) else {
            continue;
        };
        number += 1;
        std::fs::write(path(&format!("other-{number}.sh")), other).expect("a file");
        let _ = writeln!(
            script,
            "mkdir other-{number}; cp notes.txt other-{number}; (cd other-{number}; HOME=$PWD timeout 120 bash -euo pipefail ../other-{number}.sh </dev/null >out 2>&1) || {{ echo \"README.md, other-{number}.sh: exit code $?\"; cat other-{number}.sh other-{number}/out; exit 1; }}",
        );
    }
    assert!(
        unknown.is_empty(),
        "in neither RUN nor NOT_RUN: {unknown:#?}"
    );
    let listed = RUN
        .iter()
        .chain(NOT_RUN)
        .map(|(known, _)| (*known).to_owned());
    let stale: Vec<_> = listed.filter(|known| !used.contains(known)).collect();
    assert!(stale.is_empty(), "no longer in README.md: {stale:#?}");
    assert!(
        commands >= 5 && talks == 2 && bots == 1 && server.is_none(),
        "the README has other blocks"
    );
    std::fs::write(path("all.sh"), script).expect("a file");

    let programs = Path::new(env!("CARGO_BIN_EXE_chatd"))
        .parent()
        .expect("a folder");
    let search = std::env::var("PATH").unwrap_or_default();
    // Everything that it starts ends with it: the first process of its namespace is the shell.
    let output = Command::new("unshare")
        .args([
            "--map-root-user",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "bash",
            "all.sh",
        ])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", format!("{}:{search}", programs.display()))
        .env("HOME", folder.path())
        .env("LOGNAME", "reader")
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .expect("unshare of Debian's util-linux");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}
