//! protocol.md 2: unread replies use little memory.

use super::target::Target;
use crate::support::spawn::allow_many_connections;

/// Regression test. Each line of an endless request was once answered at once, and the replies counted nowhere.
#[test]
fn replies_to_endless_requests_use_little_memory() {
    const REQUESTS: usize = 60;
    allow_many_connections();
    let mut target = Target::start(&["--max-memory", "16MiB"]);
    let mut held = Vec::new();
    let mut half = |from: usize| {
        let before = target.memory();
        for n in from..from + REQUESTS / 2 {
            let mut stranger = target.stranger();
            let body = "\x1b[m\n".repeat(9990) + &format!("the last of {n}\n");
            let head = format!(
                "POST /rooms/lobby HTTP/1.1\r\nHost: localhost\r\n{}Content-Length: {}\r\n\r\n",
                super::target::basic(&format!("m{n}:")),
                body.len() + 1
            );
            // It may be rejected before it is complete.
            let _ = stranger.send(head + &body);
            held.push(stranger);
        }
        target.settle();
        target.memory().saturating_sub(before)
    };
    let first = half(0);
    let second = half(REQUESTS / 2);
    println!("{REQUESTS} requests that never end: grown by {first}, then {second} bytes");
    assert!(second < 8 << 20, "{second} bytes more by the second half");
    target.serves_everybody();
}
