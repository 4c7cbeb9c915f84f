//! protocol.md 10.3, chatd.md 5: a server on the local network is found without an address.
//!
//! The test runs in a network namespace of its own, so that nobody else receives the announcement.

use std::process::Command;

use crate::support::script::{Ended, run};
use crate::support::spawn::nats_server;

/// Runs `script` in a network namespace of its own, on a link that nobody else uses.
fn in_network(script: &str) -> Ended {
    let setup = "set -e
        ip link set dev lo up
        ip link add name lan type veth peer name far
        ip addr add 10.77.0.1/24 dev lan
        ip link set dev lan up
        ip link set dev far up
        trap 'kill $(jobs -p)' EXIT
        # On a busy machine, an answer may come too late.
        again() {
          for try in 1 2 3 4 5 6 7 8; do
            \"$@\" && return
          done
        }";
    let script = format!("{setup}\n{script}");
    let home = tempfile::tempdir().expect("a folder");
    run(
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "bash", "-c", &script])
            .env("CHATC", env!("CARGO_BIN_EXE_chatc"))
            .env("CHATD", env!("CARGO_BIN_EXE_chatd"))
            .env("NATS_SERVER", nats_server())
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
         again $CHATC servers 2>/dev/null
         again $CHATC rooms 2>/dev/null",
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
           found=$($CHATC servers 2>/dev/null) || :
           [ $(wc -l <<<\"$found\") -ge 2 ] && break
         done
         echo \"$found\"",
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let found = "10.88.0.1:7002  everywhere\n10.88.0.1:7001  near\n";
    assert_eq!(ended.stdout, found, "{ended:?}");
}

/// Servers of one chat are one line, and a client without an address can use any of them (chatd.md 8).
#[test]
fn the_servers_of_a_shared_chat_are_found_as_one() {
    let ended = in_network(
        "cd \"$HOME\"
         printf 'listen: 127.0.0.1:4222\njetstream { store_dir: nats, sync_interval: always }\n' >settings
         \"$NATS_SERVER\" --config settings >nats.log 2>&1 &
         until grep -q 'Server is ready' nats.log; do kill -0 $!; done
         shared=\"--cluster nats://127.0.0.1:4222\"
         for chat in one two; do
           \"$CHATD\" cluster init --data $chat.a $shared --cluster-name $chat >init.log 2>&1
         done
         start() {
           coproc \"$CHATD\" $shared --log-level off \"$@\" 2>/dev/null
           read -r -u ${COPROC[0]} line
         }
         begin() {
           start --cluster-name one --node \"$1\" --name \"$1\" --data one.$1 --listen 10.77.0.1:$2 2>/dev/null
           eval $1=$COPROC_PID
         }
         shows() {
           found=$($CHATC servers 2>/dev/null) && [[ $found = *$1 ]]
         }
         begin a 7000
         begin b 7001
         again shows b
         echo \"$found\"
         again $CHATC send lobby hello 2>/dev/null
         kill -KILL $a
         again $CHATC history 2>/dev/null
         start --cluster-name two --node c --name c --data two.a --listen 10.77.0.1:7002 2>/dev/null
         again shows c
         echo \"$found\"
         refuses() {
           ! $CHATC who >who 2>&1 && grep several who
         }
         again refuses",
    );
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let [both, hello, found @ .., several] = &lines[..] else {
        panic!("{ended:?}");
    };
    assert_eq!(*both, "10.77.0.1:7000,10.77.0.1:7001  a, b", "{ended:?}");
    assert!(hello.ends_with("hello"), "{ended:?}");
    assert_eq!(
        found,
        ["10.77.0.1:7001  b", "10.77.0.1:7002  c"],
        "{ended:?}"
    );
    let expected = "several chats; name the servers of one: 10.77.0.1:7001 (b); 10.77.0.1:7002 (c)";
    assert!(several.ends_with(expected), "{ended:?}");
}
