//! chatd.md 1: a fixed pool of database connections, however many clients send queries at once.

use std::thread;

use super::target::{Target, count, pipeline};
use crate::support::spawn::allow_many_connections;

/// Regression test. Each client connection that had sent a query once kept a connection to SQLite, with its cache and
/// its files.
#[test]
fn many_queries_at_once_leave_few_open_files_and_little_memory() {
    const CROWD: usize = 150;
    allow_many_connections();
    let mut target = Target::start(&[]);
    let mut ann = target.member("ann");
    let lines: Vec<String> = (0..600)
        .map(|n| format!("MSG {n} {}", "pear ".repeat(300)))
        .collect();
    assert_eq!(count(&pipeline(&mut ann, &lines), "OK MSG "), lines.len());
    let mut growth = Vec::new();
    for _ in 0..2 {
        let before = target.memory();
        let mut crowd: Vec<_> = (0..CROWD).map(|_| target.peer()).collect();
        for peer in &mut crowd {
            peer.send("HISTORY #lobby 300\nSEARCH #lobby pear\n")
                .expect("it reads");
        }
        thread::scope(|scope| {
            for peers in crowd.chunks_mut(CROWD / 8) {
                scope.spawn(|| {
                    for peer in peers {
                        peer.reply().expect("a reply");
                        peer.reply().expect("a reply");
                    }
                });
            }
        });
        drop(crowd);
        target.until("they have gone", |target| target.connections() <= 3);
        growth.push(target.memory().saturating_sub(before));
    }
    let files = [".db", ".db-wal", ".db-shm"].map(|name| target.open_files(name));
    println!("a crowd of {CROWD}: database files open {files:?}, grown {growth:?}");
    assert!(
        files.iter().sum::<usize>() <= 120,
        "database files that are open: {files:?}"
    );
    assert!(growth[0] < 64 << 20 && growth[1] < 16 << 20, "{growth:?}");
    target.serves_everybody();
}
