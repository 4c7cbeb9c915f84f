//! protocol.md 2: clients that have gone hold no place, and no work is done for them.

use super::target::{Target, count, pipeline};

/// Regression test. The requests of clients that had gone were once handled, up to five times.
#[test]
fn no_work_is_done_for_clients_that_have_gone() {
    const ASKED: u64 = 200;
    let mut target = Target::start(&[]);
    let mut ann = target.member("ann");
    let padding = "x".repeat(400);
    let lines: Vec<String> = (0..1000).map(|n| format!("MSG {n} {padding}")).collect();
    assert_eq!(count(&pipeline(&mut ann, &lines), "OK MSG "), 1000);
    let before = target.cpu();
    for _ in 0..20 {
        let (past, _) = ann.list("HISTORY #lobby 1000").expect("a reply");
        assert_eq!(past.len(), 1000);
    }
    let honest = (target.cpu() - before).max(1);
    let before = target.cpu();
    for _ in 0..10 {
        let mut stranger = target.stranger();
        stranger
            .send("HISTORY #lobby 1000\n".repeat(ASKED as usize))
            .expect("it reads");
        stranger.reset().expect("an open socket");
    }
    target.until("they have gone", |target| target.connections() <= 3);
    let spent = target.cpu() - before;
    println!("20 answers cost {honest} ticks, 2,000 for those who have gone {spent}");
    // The cost of 200 requests, because some requests of each client may have been in progress.
    assert!(
        spent <= honest * 10,
        "{spent} ticks for those who have gone, {honest} for 20 who read"
    );
    target.serves_everybody();
}
