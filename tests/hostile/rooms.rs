//! Rooms that one stranger makes: no more than leaves others theirs, and not for ever.

use crate::target::{Target, ask, count, pipeline};

/// A room in which nothing is left was once a row for ever.
#[test]
fn rooms_without_anything_in_them_go() {
    let flags = ["--keep-bytes", "200KiB", "--trim-every", "1s"];
    let mut target = Target::start(&flags);
    let mut ann = target.member("ann");
    for n in 0..20 {
        ask(&mut ann, &format!("TELL #gone{n} x"), "OK TELL");
    }
    let padding = "x".repeat(3000);
    let lines: Vec<String> = (0..300).map(|n| format!("MSG {n} {padding}")).collect();
    assert_eq!(count(&pipeline(&mut ann, &lines), "OK MSG "), lines.len());
    target.until("the rooms have gone", |target| {
        target.metric("chatd_rooms") < 20
    });
    target.serves_everybody();
}
