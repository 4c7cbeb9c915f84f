//! protocol.md 4.2, chatd.md 1: nicks that are reserved for clients that have gone.

use super::target::{Target, ask, pipeline};

/// Regression test. When a connection changed its nick, the old nick, if it had a password, was once reserved for two
/// minutes each time.
#[test]
fn a_connection_that_changes_nicks_reserves_only_one() {
    const NICKS: usize = 10_000;
    let mut target = Target::start(&[]);
    let mut mallory = target.stranger();
    let half = |from: usize| -> Vec<String> {
        (from..from + NICKS / 2)
            .map(|n| format!("NICK g{n} secret"))
            .collect()
    };
    let first = pipeline(&mut mallory, &half(0));
    let before = target.memory();
    let second = pipeline(&mut mallory, &half(NICKS / 2));
    let grown = target.memory().saturating_sub(before);
    assert_eq!(first.len() + second.len(), NICKS, "each is answered");
    let nicks = target.metric("chatd_nicks");
    println!("{NICKS} nicks: {nicks} held, {grown} bytes by the second half");
    assert!(nicks <= 100, "{nicks} nicks are held");
    let mut ann = target.peer();
    ask(&mut ann, "NICK g5", "OK NICK g5 ");
    target.serves_everybody();
}

/// Aborted connections may reserve their nicks for a while, but one address cannot reserve all.
#[test]
fn reserved_nicks_of_aborted_connections_are_bounded() {
    const NICKS: usize = 2200;
    let mut target = Target::start(&[]);
    for n in 0..NICKS {
        let mut mallory = target.stranger();
        let reply = mallory.ask(&format!("NICK g{n} secret")).expect("a reply");
        assert!(
            reply.starts_with("OK NICK ") || reply.starts_with("ERR NICK "),
            "{reply}"
        );
    }
    target.until("all have gone", |target| target.connections() <= 3);
    let nicks = target.metric("chatd_nicks") as usize;
    println!("{NICKS} nicks of connections that broke off: {nicks} held");
    assert!(nicks < NICKS / 2, "{nicks} nicks are held");
    target.serves_everybody();
}
