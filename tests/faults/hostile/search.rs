//! protocol.md 4.23: expensive searches.

use super::target::{Target, ask, count, pipeline};
use crate::support::spawn::allow_many_connections;

/// Returns the longest possible line, as one word that is 2,000 tokens in a row.
fn costly() -> String {
    format!("SEARCH #lobby {}\n", ["a"; 2000].join("."))
}

/// Starts a server with this many messages, each of which contains every token 2,000 times.
fn filled(messages: usize) -> Target {
    let target = Target::start(&[]);
    let mut ann = target.member("ann");
    let lines: Vec<String> = (0..messages)
        .map(|_| format!("MSG {}", ["a"; 2000].join(" ")))
        .collect();
    assert_eq!(count(&pipeline(&mut ann, &lines), "OK MSG "), messages);
    ask(&mut ann, "MSG pear", "OK MSG");
    // Wait until the index is up to date with the log.
    target.until("the last one is found", |_| {
        !ann.list("SEARCH #lobby pear")
            .expect("a reply")
            .0
            .is_empty()
    });
    target
}

/// Each search once cost seconds, and 24 MiB that were never freed.
#[test]
fn long_searches_cost_little_time_and_no_memory() {
    const SEARCHES: u64 = 12;
    let mut target = filled(40);
    let (before, memory) = (target.cpu(), target.memory());
    let mut strangers: Vec<_> = (0..SEARCHES).map(|_| target.stranger()).collect();
    for stranger in &mut strangers {
        stranger.send(costly()).expect("it reads");
    }
    // Everything else works meanwhile.
    target.serves_everybody();
    for stranger in &mut strangers {
        let reply = stranger.reply().expect("a reply");
        assert!(
            reply.starts_with("OK SEARCH ") || reply.starts_with("ERR SEARCH "),
            "{reply}"
        );
    }
    let (spent, grown) = (
        target.cpu() - before,
        target.memory().saturating_sub(memory),
    );
    println!("{SEARCHES} searches: {spent} ticks, {grown} bytes");
    // 100 ms for each search, and as much again for everything else.
    assert!(
        spent <= SEARCHES * 20 + 200,
        "{SEARCHES} searches cost {spent} hundredths of a second"
    );
    assert!(grown < 32 << 20, "{grown} bytes more");
}

/// Such searches were once run to their end, though the client had gone.
#[test]
fn searches_of_clients_that_have_gone_cost_nothing() {
    const SEARCHES: u64 = 200;
    allow_many_connections();
    let mut target = filled(40);
    let before = target.cpu();
    for _ in 0..SEARCHES {
        let mut stranger = target.stranger();
        stranger.send(costly()).expect("it reads");
        stranger.reset().expect("an open socket");
    }
    target.until("they have gone", |target| target.connections() <= 3);
    target.serves_everybody();
    let spent = target.cpu() - before;
    println!("{SEARCHES} searches of those who have gone: {spent} ticks");
    assert!(
        spent <= SEARCHES * 5,
        "{SEARCHES} searches cost {spent} hundredths of a second"
    );
}
