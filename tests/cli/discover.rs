//! protocol.md 10.3, chatd.md 5: a server on the local network is found without an address.
//!
//! The test runs in a network namespace of its own, so that nobody else receives the announcement.

use std::process::Command;

use crate::support::script::{Ended, run};

/// Runs `script` in a network namespace of its own, on a link that nobody else uses.
fn in_network(script: &str) -> Ended {
    let setup = "set -e
        ip link set dev lo up
        ip link add name lan type veth peer name far
        ip addr add 10.77.0.1/24 dev lan
        ip link set dev lan up
        ip link set dev far up
        trap 'kill $(jobs -p)' EXIT";
    let script = format!("{setup}\n{script}");
    let home = tempfile::tempdir().expect("a folder");
    run(
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "bash", "-c", &script])
            .env("CHATC", env!("CARGO_BIN_EXE_chatc"))
            .env("CHATD", env!("CARGO_BIN_EXE_chatd"))
            .env("HOME", home.path()),
        b"",
    )
}

#[test]
fn the_only_announced_server_is_found_and_an_unannounced_one_is_not() {
    let ended = in_network(
        "start() {
           coproc \"$CHATD\" --memory --log-level off \"$@\"
           read -r -u ${COPROC[0]} line
         }
         start --listen 10.77.0.1:7000
         for try in 1 2 3 4 5 6 7 8; do
           found=$($CHATC servers 2>/dev/null) && break
         done
         echo \"$found\"
         $CHATC rooms",
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(lines[0].starts_with("10.77.0.1:7000  "), "{ended:?}");
    assert_eq!(&lines[1..], ["#lobby  0"]);

    let ended = in_network(
        "coproc \"$CHATD\" --memory --log-level off --no-announce --listen 10.77.0.1:7000
         read -r -u ${COPROC[0]} line
         $CHATC servers || $CHATC rooms",
    );
    assert_eq!((ended.code, &ended.stdout[..]), (Some(3), ""), "{ended:?}");
    assert!(
        ended.stderr.contains("no server announces itself"),
        "{ended:?}"
    );
    assert!(
        ended.stderr.contains("cannot connect to localhost:5002"),
        "{ended:?}"
    );
}

#[test]
fn a_server_is_found_only_at_an_address_at_which_it_listens() {
    // The link on which one server listens has no peer at its other end, so that server is announced on no
    // link.
    let ended = in_network(
        "ip link add name other type veth peer name beyond
         ip addr add 10.88.0.1/24 dev other
         ip link set dev other up
         ip link set dev beyond up
         ip link set dev far down
         start() {
           coproc \"$CHATD\" --memory --log-level off \"$@\" 2>/dev/null
           read -r -u ${COPROC[0]} line
         }
         start --listen 10.77.0.1:7000 --name away 2>/dev/null
         start --listen 10.88.0.1:7001 --name near 2>/dev/null
         start --listen 0.0.0.0:7002 --name everywhere 2>/dev/null
         for try in 1 2 3 4 5 6 7 8; do
           found=$($CHATC servers 2>/dev/null)
           [ $(wc -l <<<\"$found\") -ge 2 ] && break
         done
         echo \"$found\"",
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let found = "10.88.0.1:7002  everywhere\n10.88.0.1:7001  near\n";
    assert_eq!(ended.stdout, found, "{ended:?}");
}
