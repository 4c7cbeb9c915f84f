//! protocol.md 4.23: expensive searches.

use rusqlite::{Connection, OpenFlags};

use super::target::{Target, ask, count, pipeline};
use crate::support::spawn::allow_many_connections;

/// The number of messages that are sent at a time, until the searches are expensive on this machine.
const MESSAGES: usize = 1200;

/// The reply to a search that was stopped because it has cost enough.
const STOPPED: &str = "OK SEARCH 0 cut";

/// Returns searches that are as expensive as is allowed: for 16 consecutive words that no message has in this order,
/// and for messages of a user who has sent none.
fn costly() -> impl Iterator<Item = String> {
    let none = format!("SEARCH #lobby {}.c\n", ["a"; 15].join("."));
    let others = format!("SEARCH #lobby from:nobody {}\n", ["a"; 16].join("."));
    [none, others].into_iter().cycle()
}

/// Starts a server with messages that contain the words of these searches 2,000 times each. There are twice as many
/// messages as it takes until each of the searches is stopped.
fn filled() -> Target {
    let target = Target::start(&[]);
    let mut ann = target.member("ann");
    let lines: Vec<String> = (0..MESSAGES)
        .map(|_| format!("MSG c {}", ["a"; 2000].join(" ")))
        .collect();
    let mut messages = 0;
    let mut add = |target: &Target| {
        assert_eq!(count(&pipeline(&mut ann, &lines), "OK MSG "), MESSAGES);
        messages += MESSAGES;
        // Messages that are not indexed yet are found in another way.
        let index = target.data().join("words.db");
        target.until("all are indexed", |_| {
            let db = Connection::open_with_flags(&index, OpenFlags::SQLITE_OPEN_READ_ONLY);
            let seen =
                db.and_then(|db| db.query_row("SELECT seen FROM place", [], |row| row.get(0)));
            seen.is_ok_and(|seen: i64| seen >= messages as i64)
        });
        messages
    };
    let is_stopped = |search: String| {
        let mut stranger = target.stranger();
        stranger.send(search).expect("it reads");
        stranger.reply().expect("a reply") == STOPPED
    };
    let enough = loop {
        let messages = add(&target);
        if costly().take(2).all(is_stopped) {
            break messages;
        }
        assert!(messages < 20 * MESSAGES, "{messages} messages cost nothing");
    };
    while add(&target) < 2 * enough {}
    target
}

/// Regression test. Each search once cost seconds, and 24 MiB that were never freed.
#[test]
fn expensive_searches_take_little_time_and_memory() {
    const SEARCHES: u64 = 12;
    let mut target = filled();
    let (before, memory) = (target.cpu(), target.memory());
    let mut strangers: Vec<_> = (0..SEARCHES).map(|_| target.stranger()).collect();
    for (stranger, search) in strangers.iter_mut().zip(costly()) {
        stranger.send(search).expect("it reads");
    }
    // Everything else works meanwhile.
    target.serves_everybody();
    for stranger in &mut strangers {
        let reply = stranger.reply().expect("a reply");
        assert_eq!(reply, STOPPED);
    }
    // A search for more words is refused at once.
    let mut stranger = target.stranger();
    let request = format!("SEARCH #lobby {}", ["a"; 2000].join("."));
    ask(&mut stranger, &request, "ERR SEARCH bad-syntax ");
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

/// Regression test. Searches were once run to their end even if the client had gone.
#[test]
fn searches_of_disconnected_clients_take_hardly_any_time() {
    const SEARCHES: usize = 200;
    allow_many_connections();
    let mut target = filled();
    let before = target.cpu();
    for search in costly().take(SEARCHES) {
        let mut stranger = target.stranger();
        stranger.send(search).expect("it reads");
        stranger.reset().expect("an open socket");
    }
    target.until("they have gone", |target| target.connections() <= 3);
    target.serves_everybody();
    let spent = target.cpu() - before;
    println!("{SEARCHES} searches of those who have gone: {spent} ticks");
    assert!(
        spent <= SEARCHES as u64 * 5,
        "{SEARCHES} searches cost {spent} hundredths of a second"
    );
}
