//! protocol.md 4.2: wrong passwords slow down the client that guesses, and not the owner.

use super::target::{Target, ask, basic};

/// Regression test. After ten wrong passwords from an address, the server once refused the right passwords of all users there.
#[test]
fn an_owner_can_log_in_from_a_known_address_whatever_others_guess_there() {
    let target = Target::start(&[]);
    target.owner("ann");
    // The owner has logged in from there before.
    ask(&mut target.stranger(), "NICK ann my secret", "OK NICK");
    for nick in ["ann", "bob", "carol"] {
        for n in 0..20 {
            let reply = target
                .stranger()
                .ask(&format!("NICK {nick} guess {n}"))
                .expect("a reply");
            let is_refused = reply.starts_with("ERR NICK ") || nick != "ann";
            assert!(is_refused, "{reply}");
        }
    }
    ask(&mut target.stranger(), "NICK ann my secret", "OK NICK");
    let request = format!(
        "POST /rooms/lobby HTTP/1.1\r\nHost: localhost\r\n{}",
        basic("ann:my secret")
    );
    let (head, body) = target.strange_http(&format!("{request}\r\nhello"));
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}\n{body}");
    // The guessing client is slowed down.
    let mut busy = 0;
    for n in 0..20 {
        let reply = target
            .stranger()
            .ask(&format!("NICK ann again {n}"))
            .expect("a reply");
        busy += usize::from(reply.starts_with("ERR NICK busy "));
    }
    assert!(busy > 0, "nobody is slowed");
}
