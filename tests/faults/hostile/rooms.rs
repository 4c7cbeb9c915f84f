//! protocol.md 4.6, chatd.md 1: one stranger cannot use up the rooms, and empty rooms are deleted.

use super::target::{Target, ask, count, pipeline};
use crate::support::peer::Peer;

const ROOMS: &str = "300";

/// Regression test. One connection could once use up all rooms in a tenth of a second.
#[test]
fn one_address_does_not_use_up_the_rooms() {
    let mut target = Target::start(&["--max-rooms", ROOMS]);
    let mut mallory = target.named_stranger("mallory");
    let lines: Vec<String> = (0..600).map(|n| format!("TELL #r{n} x")).collect();
    let replies = pipeline(&mut mallory, &lines);
    println!("{} rooms of 300 by TELL", count(&replies, "OK TELL "));
    // Other nicks and connections share the limit of the address.
    for n in 0..20 {
        let mut mallory = target.named_stranger(&format!("mallory{n}"));
        let joins: Vec<String> = (0..60).map(|room| format!("JOIN #j{n}-{room}")).collect();
        pipeline(&mut mallory, &joins);
        let requests: Vec<String> = (0..60).map(|room| format!("TELL #s{n}-{room} x")).collect();
        pipeline(&mut mallory, &requests);
    }
    let mut ann = target.member("ann");
    ask(&mut ann, "JOIN #ann", "OK JOIN");
    ask(&mut ann, "MSG hello", "OK MSG");
    ask(&mut ann, "TELL #bob hello", "OK TELL");
    target.serves_everybody();
}

/// Regression test. One account could once create closed rooms without limit, and nobody saw them.
#[test]
fn one_account_does_not_use_up_the_rooms_with_closed_ones() {
    let mut target = Target::start(&["--max-rooms", ROOMS]);
    let mut mallory = target.named_stranger("mallory");
    ask(&mut mallory, "REGISTER my secret", "OK REGISTER");
    let lines = (0..400).flat_map(|n| {
        [
            format!("JOIN #c{n}"),
            format!("MODE #c{n} invite"),
            format!("PART #c{n}"),
        ]
    });
    let lines: Vec<String> = lines.collect();
    let replies = pipeline(&mut mallory, &lines);
    println!("{} closed rooms of 300", count(&replies, "OK MODE "));
    let mut ann = target.member("ann");
    ask(&mut ann, "JOIN #ann", "OK JOIN");
    target.serves_everybody();
}

/// Regression test. After the limit of its address, an account could once continue from another address.
#[test]
fn one_account_does_not_use_up_the_rooms_from_many_addresses() {
    let mut target = Target::start(&["--max-rooms", "1000"]);
    drop(target.owner("mallory"));
    let mut made = 0;
    for n in 0..4 {
        let from = [127, 0, 0, 70 + n].into();
        let mut mallory = Peer::connect_from(from, target.chatd.address).expect("it accepts");
        ask(&mut mallory, "NICK mallory my secret", "OK NICK");
        let lines: Vec<String> = (0..60).map(|room| format!("TELL #r{n}-{room} x")).collect();
        made += count(&pipeline(&mut mallory, &lines), "OK TELL ");
    }
    assert_eq!(made, 100, "a tenth of all");
    target.serves_everybody();
}

/// Regression test. An empty room once stayed in the database for good.
#[test]
fn empty_rooms_are_deleted() {
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
