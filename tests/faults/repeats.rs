//! protocol.md 4.35, 4.36, 4.37, 4.38: a message that is sent again with its nonce exists once, whenever the server
//! dies.
//!
//! A client sends messages and texts of several lines, edits and reacts, while `chatd` is killed with SIGKILL at random
//! moments. After each start it sends everything of the round again. In the end each message is there once, each text
//! whole and without other lines in it, and each edit and reaction that was acknowledged.

use std::collections::HashMap;
use std::path::Path;

use crate::support::peer::Peer;
use crate::support::random::Random;
use crate::support::server::Chatd;

/// The number of times that the server is killed.
const ROUNDS: u64 = 20;

/// The number of messages and texts in a round.
const SENT: u64 = 60;

fn start(data: &Path) -> Chatd {
    let flags = ["--data".into(), data.display().to_string()];
    Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags).expect("it starts")
}

/// Returns the lines of a message. They contain the number of the message.
fn lines(round: u64, n: u64) -> Vec<String> {
    let count = if n.is_multiple_of(3) { 1 + n % 7 } else { 1 };
    (0..count)
        .map(|line| format!("{round}-{n} {line} of {count}"))
        .collect()
}

/// Returns the request that sends a message.
fn request(round: u64, n: u64) -> String {
    let lines = lines(round, n);
    let text = lines.join("\n");
    let nonce = format!("@nonce={round}.{n}");
    if lines.len() == 1 {
        format!("{nonce} MSG {text}\n")
    } else {
        format!("{nonce} TEXT {}\n{text}\n", text.len() + 1)
    }
}

/// Returns the id in a reply to a message.
fn id(reply: &str) -> u64 {
    let id = reply.split(' ').nth(2).and_then(|id| id.parse().ok());
    id.unwrap_or_else(|| panic!("{reply}"))
}

/// The acknowledged requests: the reply to each message of a round, and the text of each edited message.
#[derive(Default)]
struct Acknowledged {
    replies: HashMap<(u64, u64), String>,
    edited: HashMap<u64, String>,
}

impl Acknowledged {
    /// Sends all messages of a round and reads `wanted` replies. A message that was answered before must get the same
    /// reply again.
    fn send(&mut self, peer: &mut Peer, round: u64, wanted: u64) {
        let all: String = (0..SENT).map(|n| request(round, n)).collect();
        peer.send(all).expect("it reads");
        for n in 0..wanted {
            let reply = peer.reply().expect("a reply");
            let known = self.replies.entry((round, n));
            assert_eq!(*known.or_insert_with(|| reply.clone()), reply);
        }
    }
}

#[test]
fn a_message_sent_again_with_its_nonce_is_stored_once_whenever_the_server_dies() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let mut acknowledged = Acknowledged::default();
    for round in 0..ROUNDS {
        let chatd = start(folder.path());
        let mut ann = Peer::named(chatd.address, "ann").expect("a nick");
        acknowledged.send(&mut ann, round, random.below(SENT));
        chatd.signal(rustix::process::Signal::KILL);
        drop(chatd);
        let chatd = start(folder.path());
        let mut ann = Peer::named(chatd.address, "ann").expect("a nick");
        acknowledged.send(&mut ann, round, SENT);
        // Killed right after they are acknowledged.
        let (edited, text) = (
            id(&acknowledged.replies[&(round, 1)]),
            format!("edited in {round}"),
        );
        let edit = format!("EDIT {edited} {text}");
        ann.expect(&edit, "OK EDIT ").expect("it is edited");
        let react = format!("REACT {edited} 👍");
        ann.expect(&react, "OK REACT ").expect("it is there");
        acknowledged.edited.insert(edited, text);
        chatd.signal(rustix::process::Signal::KILL);
    }
    let chatd = start(folder.path());
    let mut bob = Peer::named(chatd.address, "bob").expect("a nick");
    bob.expect("TAGS on", "OK TAGS on").expect("it has tags");
    let (past, _) = bob.list("JOIN #lobby 0").expect("the log");
    let mut messages = past.iter().filter(|line| line.contains(" MSG #lobby ann "));
    for round in 0..ROUNDS {
        for n in 0..SENT {
            let first = id(&acknowledged.replies[&(round, n)]);
            for (at, line) in lines(round, n).into_iter().enumerate() {
                let found = messages.next().expect("no message is missing");
                let text = acknowledged.edited.get(&first).unwrap_or(&line);
                assert!(
                    found.starts_with(&format!("PAST {} ", first + at as u64)),
                    "{found}"
                );
                assert!(
                    found.ends_with(&format!(" MSG #lobby ann {text}")),
                    "{found}"
                );
                assert_eq!(
                    found.contains(";reacts=👍*1 "),
                    acknowledged.edited.contains_key(&first),
                    "{found}"
                );
            }
        }
    }
    assert_eq!(messages.next(), None, "no message is there twice");
}
