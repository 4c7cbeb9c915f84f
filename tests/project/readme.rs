//! Runs the commands of README.md as they stand, beside a `chatd` on port 5002, in a network namespace of its own.
//! What is fenced as `sh` has to succeed; the conversations, the bot and the private server are played; other blocks
//! are not run here (tests/run installs and packages).

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

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

/// Starts the server that the other commands talk to; in a network of its own, so that the port is the one in
/// the README.
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

/// Starts the private server on a network of its own, since its port is the same, and plays the conversation that
/// follows.
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

/// Starts the bot, waits until it has joined, and has it repeat something.
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
    for block in &blocks {
        if block.label == "sh" {
            commands += 1;
            let name = format!("line-{}.sh", block.line);
            std::fs::write(path(&name), &block.text).expect("a file");
            let line = block.line;
            let _ = writeln!(
                script,
                "timeout 120 bash -euo pipefail {name} </dev/null >out 2>&1 || {{ echo \"README.md:{line}: exit code $?\"; cat out chatd.log; exit 1; }}",
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
        }
    }
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
