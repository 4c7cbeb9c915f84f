//! protocol.md 2: guarantee 3 against a model.
//!
//! Many clients send random requests. Each request is answered once, in order and under its own verb, however slowly
//! the clients read and however late the log stores entries. The memory that a server uses for its readers stays
//! within its limits.

use std::time::Duration;

use crate::support::memory::Memory;
use crate::support::run::{Server, Taken};
use plainchat::config::Limits;
use proptest::collection::vec;
use proptest::prelude::*;

const PEERS: usize = 4;

/// Requests, each with the verb that its reply names; `-` if no verb can be parsed. The line after the bytes of a
/// file must clearly be a command, so each request with a file contains such a line.
const REQUESTS: &[(&str, &str)] = &[
    ("NICK ann\n", "NICK"),
    ("NICK bob guarded\n", "NICK"),
    ("nick ANN\n", "NICK"),
    ("NICK 12\n", "NICK"),
    ("MSG hello\n", "MSG"),
    ("MSG\n", "MSG"),
    ("ME waves\r\n", "ME"),
    ("TELL #a hello\n", "TELL"),
    ("TELL ann psst\n", "TELL"),
    ("TELL nobody psst\n", "TELL"),
    ("JOIN #a\n", "JOIN"),
    ("JOIN #b 0\n", "JOIN"),
    ("JOIN #a AS hourly\n", "JOIN"),
    ("JOIN a b c\n", "JOIN"),
    ("SEEN #a 1\n", "SEEN"),
    ("SEEN #a 1 AS me\n", "SEEN"),
    ("READERS\n", "READERS"),
    ("FORGET #a me\n", "FORGET"),
    ("PART\n", "PART"),
    ("PART #b\n", "PART"),
    ("ROOMS\n", "ROOMS"),
    ("WHO\n", "WHO"),
    ("WHO #none\n", "WHO"),
    ("TOPIC\n", "TOPIC"),
    ("TOPIC tea\n", "TOPIC"),
    ("HISTORY\n", "HISTORY"),
    ("HISTORY #a 3 before 9\n", "HISTORY"),
    ("SEARCH hello\n", "SEARCH"),
    ("UPLOAD a.txt 5\nMSG xPING\n", "UPLOAD PING"),
    ("UPLOAD /nothing/.. 3\nBYEPING\n", "UPLOAD PING"),
    ("FILES\n", "FILES"),
    ("DOWNLOAD 999\n", "DOWNLOAD"),
    ("REMOVE 1\n", "REMOVE"),
    ("STAMPS on\n", "STAMPS"),
    ("STAMPS off\n", "STAMPS"),
    ("STAY\n", "STAY"),
    ("PING here\n", "PING"),
    ("HELLO\n", "HELLO"),
    ("HELP MSG\n", "HELP"),
    ("/ping\n", "PING"),
    ("KICK ann\n", "KICK"),
    ("Prose is no command\n", "-"),
    ("\x1b[31mNOISE\n", "-"),
    ("MSG \u{202e}turned\n", "MSG"),
];

/// The next action.
#[derive(Clone, Debug)]
enum Act {
    AccountQuery(usize),
    TooLong,
    Empty,
    Stall(bool),
    Wait(u64),
}

fn act() -> impl Strategy<Value = (usize, Act)> {
    let act = prop_oneof![
        24 => (0..REQUESTS.len()).prop_map(Act::AccountQuery),
        1 => Just(Act::TooLong),
        1 => Just(Act::Empty),
        2 => any::<bool>().prop_map(Act::Stall),
        2 => (0..5000_u64).prop_map(Act::Wait),
    ];
    (0..PEERS, act)
}

/// The requests of a peer, and everything that it has received.
#[derive(Default)]
struct Peer {
    asked: Vec<&'static str>,
    got: Vec<u8>,
}

/// Returns the verbs of the replies, in order. No file is downloaded, so all output is lines.
fn answers(got: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(got).expect("lines are UTF-8");
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "half a line: {text:?}"
    );
    let words = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let replies = words.filter(|words| matches!(words.first(), Some(&("OK" | "ERR"))));
    replies
        .map(|words| words.get(1).copied().unwrap_or_default().to_owned())
        .collect()
}

fn take(server: &mut Memory, number: usize, peer: &mut Peer, patience: Duration) {
    loop {
        match server.take(number, patience) {
            Taken::Bytes(bytes) => peer.got.extend(bytes),
            Taken::Nothing => return,
            Taken::Closed => panic!("closed, after {}", peer.got.escape_ascii()),
        }
    }
}

fn check(acts: &[(usize, Act)], takes: usize, late: usize) {
    let limits = Limits {
        tail_bytes_max: 2000,
        inbox_bytes_max: 2000,
        ..Limits::default()
    };
    let rooms = 3; // the lobby, #a and #b
    // A tail drops its oldest entries once it has grown by half, and the longest line may come just then.
    let bytes_max = rooms * (2 * limits.tail_bytes_max + 8192);
    let mut server = Memory::late(limits, takes, late);
    let mut peers: Vec<Peer> = (0..PEERS).map(|_| Peer::default()).collect();
    for n in 0..PEERS {
        assert_eq!(server.open(), Ok(n));
    }
    for (n, act) in acts {
        let peer = &mut peers[*n];
        match act {
            Act::AccountQuery(which) => {
                let (line, verb) = REQUESTS[*which];
                peer.asked.extend(verb.split(' '));
                server.push(*n, line.as_bytes()).expect("it is open");
            }
            Act::TooLong => {
                peer.asked.push("-");
                server.push(*n, &[b'x'; 5000]).expect("it is open");
                server.push(*n, b"\n").expect("it is open");
            }
            Act::Empty => server.push(*n, b"\r\n   \n").expect("it is open"),
            Act::Stall(is_stalled) => server.stall(*n, *is_stalled),
            Act::Wait(ms) => take(&mut server, *n, peer, Duration::from_millis(*ms)),
        }
        let held = server.tail_bytes();
        assert!(
            held <= bytes_max,
            "{held} bytes are held, {bytes_max} may be"
        );
    }
    for n in 0..PEERS {
        server.stall(n, false);
    }
    // Twice, since a message that one peer sends is received by others.
    for _ in 0..2 {
        for (n, peer) in peers.iter_mut().enumerate() {
            take(&mut server, n, peer, Duration::from_secs(5));
        }
    }
    for (n, peer) in peers.iter().enumerate() {
        assert_eq!(
            answers(&peer.got),
            peer.asked,
            "peer {n}: {}",
            peer.got.escape_ascii()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_of_many_is_answered_once_in_order_and_memory_is_bounded(
        acts in vec(act(), 0..160),
        takes in prop_oneof![Just(usize::MAX), 1..300_usize],
        late in prop_oneof![Just(0), 1..40_usize],
    ) {
        check(&acts, takes, late);
    }
}
