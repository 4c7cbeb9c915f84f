//! protocol.md 4.6: named readers, which are rows in the database that anyone can create.

use rusqlite::{Connection, OpenFlags};

use super::target::{Target, ask, count, pipeline};

/// The number of readers that one stranger tries to create.
const ASKED: usize = 6000;

fn joins() -> Vec<String> {
    (0..ASKED)
        .map(|n| format!("JOIN #lobby AS r{n:05}-with-a-long-name-to-it"))
        .collect()
}

/// Returns the number of rows of a table.
fn rows(target: &Target, table: &str) -> usize {
    let path = target.data().join("chat.db");
    let db =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a database");
    let query = format!("SELECT count(*) FROM {table}");
    db.query_row(&query, [], |row| row.get::<_, i64>(0))
        .expect("a number") as usize
}

/// Regression test. One stranger's readers once deleted everyone's messages: they counted towards `--keep-bytes`, and
/// could not be trimmed.
#[test]
fn named_readers_are_bounded_and_delete_no_messages() {
    let mut target = Target::start(&["--keep-bytes", "2MiB", "--trim-every", "1s"]);
    let mut ann = target.member("ann");
    ask(&mut ann, "JOIN #ann AS before", "OK JOIN");
    for n in 0..20 {
        ask(&mut ann, &format!("MSG {n}"), "OK MSG");
    }
    let mut mallory = target.named_stranger("mallory");
    let replies = pipeline(&mut mallory, &joins());
    assert_eq!(replies.len(), ASKED, "each is answered");
    let kept = rows(&target, "readers");
    assert!(kept < ASKED / 2, "{kept} readers are kept of {ASKED}");
    // More is sent than may be stored; when the first message is deleted, a trim has run.
    let padding = "x".repeat(3000);
    for _ in 0..3 {
        let (first, _) = ann.list("HISTORY #ann 1 after 0").expect("a reply");
        let lines: Vec<String> = (0..400).map(|n| format!("MSG {n} {padding}")).collect();
        let replies = pipeline(&mut ann, &lines);
        assert_eq!(count(&replies, "OK MSG "), lines.len());
        if replies.len() * padding.len() > 2 << 20 {
            target.until("the oldest goes", |_| {
                ann.list("HISTORY #ann 1 after 0").expect("a reply").0 != first
            });
        }
    }
    target.until("a trim has been", |_| {
        let (past, _) = ann.list("HISTORY #ann 1 after 0").expect("a reply");
        past.iter().all(|line| !line.ends_with("MSG #ann ann 0"))
    });
    let (past, _) = ann.list("HISTORY #ann 100").expect("a reply");
    assert_eq!(past.len(), 100, "the newest messages stay");
    // Honest users have readers of their own, with their positions.
    ask(&mut ann, "BYE", "OK BYE");
    let mut ann = target.member("ann");
    let reply = ann.ask("JOIN #ann AS before").expect("a reply");
    assert!(reply.starts_with("OK JOIN #ann "), "{reply}");
    target.serves_everybody();
}

/// Each account has 256 readers of its own, so one address could once fill the list of all readers with many accounts.
#[test]
fn one_address_creates_named_readers_at_a_limited_rate_whatever_its_nick() {
    let mut target = Target::start(&[]);
    let mut mallory = target.stranger();
    let mut made = Vec::new();
    for n in 0..6 {
        ask(&mut mallory, &format!("NICK m{n}"), "OK NICK");
        ask(&mut mallory, "REGISTER my secret", "OK REGISTER");
        let joins: Vec<String> = (0..256).map(|n| format!("JOIN #lobby AS r{n}")).collect();
        made.push(count(&pipeline(&mut mallory, &joins), "OK JOIN "));
    }
    println!("readers of six accounts: {made:?}");
    assert_eq!(made[..3], [256; 3], "an account's own");
    // The rate allows 1000 readers at once, and one more each minute.
    let all: usize = made.iter().sum();
    assert!((1000..1010).contains(&all), "{made:?}");
    assert_eq!(rows(&target, "readers"), all);
    // Those that exist can be used, and another address creates its own.
    ask(&mut mallory, "NICK m1 my secret", "OK NICK");
    ask(&mut mallory, "JOIN #lobby AS r7", "OK JOIN");
    target.serves_everybody();
}
