//! chatd.md 3: passwords over plain text.
//!
//! Others may have read such a password on the network. It is accepted, but the reply says that TLS is available;
//! with `--require-tls`, it is refused. Nobody else can read connections from this machine.

use std::process::Command;
use std::time::Duration;

use crate::support::memory::Memory;
use crate::support::run::{Server, Taken};
use crate::support::script;
use crate::support::transcript::Setting;

const ELSEWHERE: [u8; 4] = [192, 0, 2, 7];

fn server(settings: &[&str]) -> Memory {
    let setting = |name: &&str| Setting {
        name: (*name).to_owned(),
        value: "yes".to_owned(),
    };
    let settings: Vec<_> = settings.iter().map(setting).collect();
    Memory::new(&settings, usize::MAX, 0).expect("they are settings")
}

/// Returns the replies to a new connection.
fn say(server: &mut Memory, lines: &str) -> String {
    let peer = server.open().expect("a connection");
    server.push(peer, lines.as_bytes()).expect("it reads");
    let mut out = Vec::new();
    while let Taken::Bytes(bytes) = server.take(peer, Duration::ZERO) {
        out.extend(bytes);
    }
    String::from_utf8(out).expect("it is text")
}

/// Every request that contains a secret or has a reply with one.
const SECRETS: &str = "NICK ann\nREGISTER my secret\nTOKEN ci\nREGISTER my other secret\nNICK ann my other secret\n\
                       PASS anything\n";

/// Returns the verbs of the replies in `answer`, and `TLS` for each note about TLS.
fn verbs(answer: &str) -> Vec<&str> {
    let lines = answer.lines();
    lines
        .map(|line| match line.strip_prefix("NOTE * memory ") {
            Some(text) if text.contains("TLS") => "TLS",
            _ => {
                line.split_at(line.match_indices(' ').nth(1).map_or(line.len(), |at| at.0))
                    .0
            }
        })
        .collect()
}

#[test]
fn plain_text_passwords_work_and_the_client_is_told_once_about_tls() {
    let all = [
        "OK NICK",
        "OK REGISTER",
        "OK TOKEN",
        "OK REGISTER",
        "OK NICK",
        "OK PASS",
    ];
    let mut server = server(&[]);
    assert_eq!(verbs(&say(&mut server, SECRETS)), all, "from this machine");
    server.from = ELSEWHERE.into();
    let answer = say(
        &mut server,
        "NICK bob\nREGISTER my secret\nTOKEN ci\nMSG hello\n",
    );
    let expected = ["OK NICK", "OK REGISTER", "TLS", "OK TOKEN", "OK MSG"];
    assert_eq!(verbs(&answer), expected, "{answer}");
    assert!(answer.contains("ncat --ssl 127.0.0.1 5002"), "{answer}");
    assert_eq!(
        verbs(&say(&mut server, "NICK bob my secret\n")),
        ["OK NICK", "TLS"]
    );
    assert_eq!(
        verbs(&say(&mut server, "NICK eve a guard\n")),
        ["OK NICK", "TLS"]
    );
    assert_eq!(
        verbs(&say(&mut server, "NICK eve2\n")),
        ["OK NICK"],
        "no secret"
    );
    let talk = say(&mut server, "CHAT\n/nick bob my secret\n");
    assert!(talk.contains("TLS is available"), "{talk}");
    server.is_tls = true;
    assert_eq!(
        verbs(&say(&mut server, "NICK bob my secret\n")),
        ["OK NICK"]
    );
}

#[test]
fn plain_text_passwords_are_refused_if_the_operator_requires_tls() {
    let mut server = server(&["require-tls"]);
    let registered = [
        "OK NICK",
        "OK REGISTER",
        "OK TOKEN",
        "OK REGISTER",
        "OK NICK",
        "OK PASS",
    ];
    assert_eq!(
        verbs(&say(&mut server, SECRETS)),
        registered,
        "from this machine"
    );
    server.from = ELSEWHERE.into();
    let answer = say(
        &mut server,
        "NICK bob\nREGISTER my secret\nNICK ann my other secret\nNICK eve a guard\nPASS anything\nMSG hello\n",
    );
    let refused = [
        "OK NICK",
        "ERR REGISTER",
        "ERR NICK",
        "ERR NICK",
        "ERR PASS",
        "OK MSG",
    ];
    assert_eq!(verbs(&answer), refused, "{answer}");
    for line in answer.lines().filter(|line| line.starts_with("ERR ")) {
        assert!(
            line.contains(" not-allowed ") && line.contains("ncat --ssl"),
            "{line}"
        );
    }
    server.is_tls = true;
    assert_eq!(
        verbs(&say(&mut server, "NICK ann my other secret\n")),
        ["OK NICK"]
    );
}

/// Uses real sockets, in a network namespace of its own that has an address besides loopback.
#[test]
fn a_server_that_requires_tls_accepts_passwords_only_under_tls() {
    let script = "set -e
        ip link set dev lo up
        ip addr add 10.77.0.1/32 dev lo
        trap 'kill $(jobs -p)' EXIT
        coproc \"$CHATD\" --memory --log-level off --no-announce --require-tls --listen 10.77.0.1:7000
        read -r -u ${COPROC[0]} line
        say() { printf 'NICK ann\\nREGISTER my secret\\nBYE\\n'; }
        say | nc.openbsd -N 10.77.0.1 7000
        say | ncat --ssl 10.77.0.1 7000
        curl -s -o /dev/null -w '%{http_code}\\n' -u 'ann:my secret' -d hello http://10.77.0.1:7000/rooms/ops
        curl -s -k -o /dev/null -w '%{http_code}\\n' -u 'ann:my secret' -d hello https://10.77.0.1:7000/rooms/ops";
    let ended = script::run(
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "bash", "-c", script])
            .env("CHATD", env!("CARGO_BIN_EXE_chatd")),
        b"",
    );
    let lines: Vec<&str> = ended.stdout.lines().map(str::trim).collect();
    let begin = [
        "OK NICK ann",
        "ERR REGISTER not-allowed",
        "OK BYE",
        "OK NICK ann",
        "OK REGISTER ann",
        "OK BYE",
        "403",
        "200",
    ];
    assert_eq!(lines.len(), begin.len(), "{ended:?}");
    for (line, begin) in lines.iter().zip(begin) {
        assert!(line.starts_with(begin), "{line}, not {begin}: {ended:?}");
    }
}
