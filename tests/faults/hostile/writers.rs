//! protocol.md 4.6: senders do not wait for many small writes.

use std::thread;

use super::target::{Target, ask, pipeline};

/// The number of readers that each stranger tries to create.
const ASKED: usize = 1500;

fn joins() -> Vec<String> {
    (0..ASKED)
        .map(|n| format!("JOIN #lobby AS r{n:05}-with-a-long-name-to-it"))
        .collect()
}

/// Regression test. Creating a named reader was once a transaction of its own, and senders waited for SQLite's lock.
#[test]
fn senders_are_answered_while_readers_are_created() {
    const MESSAGES: usize = 100;
    let mut target = Target::start(&[]);
    let mut ann = target.member("ann");
    thread::scope(|scope| {
        let target = &target;
        let floods: Vec<_> = (0..4)
            .map(|n| {
                scope.spawn(move || {
                    let mut mallory = target.named_stranger(&format!("mallory{n}"));
                    pipeline(&mut mallory, &joins()).len()
                })
            })
            .collect();
        for n in 0..MESSAGES {
            ask(&mut ann, &format!("MSG {n}"), "OK MSG");
        }
        for flood in floods {
            assert_eq!(flood.join().expect("no panic"), ASKED, "each is answered");
        }
    });
    let (past, _) = ann.list(&format!("HISTORY {MESSAGES}")).expect("a reply");
    assert_eq!(past.len(), MESSAGES, "all that was said is kept");
    target.serves_everybody();
}
