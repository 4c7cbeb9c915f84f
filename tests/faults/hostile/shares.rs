//! chatd.md 1: one stranger gets only a share of the files and accounts, because their numbers are limited.

use super::target::{Target, ask, count, pipeline};
use crate::support::peer::Peer;

/// Regression test. One connection could once create 100,000 empty files in a minute, and then nobody could upload.
#[test]
fn one_address_does_not_use_up_the_files() {
    let mut target = Target::start(&["--max-files", "2400"]);
    for n in 0..4 {
        let mut mallory = target.named_stranger(&format!("mallory{n}"));
        let lines: Vec<String> = (0..650).map(|file| format!("UPLOAD e{file} 0")).collect();
        let replies = pipeline(&mut mallory, &lines);
        println!(
            "{} files of 2,400 by mallory{n}",
            count(&replies, "OK UPLOAD ")
        );
    }
    target.serves_everybody();
}

/// Texts are in memory until they are complete, so the number that arrives at once is limited. One address may use
/// only half of that number.
#[test]
fn one_address_cannot_block_incoming_texts_of_others() {
    let mut target = Target::start(&[]);
    let mut slow: Vec<Peer> = (0..64)
        .map(|n| target.named_stranger(&format!("slow{n}")))
        .collect();
    for peer in &mut slow {
        peer.send("TEXT 100\nx").expect("it reads");
    }
    let text = "TEXT 4\na\nb";
    let mut mallory = target.named_stranger("mallory");
    target.until("no more of one address arrive", |_| {
        let reply = mallory.ask(text).expect("a reply");
        reply.starts_with("ERR TEXT busy ")
    });
    ask(&mut mallory, "PING", "OK PING");
    ask(&mut target.member("ann"), text, "OK TEXT");
    drop(slow);
    target.until("there is space again", |_| {
        let reply = mallory.ask(text).expect("a reply");
        reply.starts_with("OK TEXT ")
    });
    target.serves_everybody();
}

/// Sends `files` empty files from the address `from` over one connection. Returns how many of them are kept.
fn send(target: &Target, from: [u8; 4], nick: &str, files: usize) -> usize {
    let mut peer = Peer::connect_from(from.into(), target.chatd.address).expect("it accepts");
    ask(&mut peer, nick, "OK NICK");
    let lines: Vec<String> = (0..files).map(|file| format!("UPLOAD e{file} 0")).collect();
    count(&pipeline(&mut peer, &lines), "OK UPLOAD ")
}

/// Each address, each nick, and all nicks without an account together may have only a share of all files, however
/// slowly they send them.
#[test]
fn the_number_of_files_is_shared_among_addresses_and_nicks() {
    let mut target = Target::start(&["--max-files", "400"]);
    drop(target.owner("ann"));
    let home = [127, 0, 0, 66];
    assert_eq!(send(&target, home, "NICK mallory", 250), 200, "half of all");
    assert_eq!(send(&target, home, "NICK mallory2", 5), 0);
    let guests = send(&target, [127, 0, 0, 67], "NICK guest", 150);
    assert_eq!(
        guests, 100,
        "three quarters are for those without an account"
    );
    let anns = "NICK ann my secret";
    assert_eq!(send(&target, [127, 0, 0, 68], anns, 60), 60);
    assert_eq!(
        send(&target, [127, 0, 0, 69], anns, 60),
        40,
        "a quarter of all"
    );
    // A place that was released can be used again.
    let mut mallory = target.stranger();
    target.until("the nick is free", |_| {
        let reply = mallory.ask("NICK mallory").expect("a reply");
        reply.starts_with("OK NICK ")
    });
    let (files, _) = mallory.list("FILES #lobby").expect("a reply");
    let own = files
        .iter()
        .find(|line| line.starts_with("PAST ") && line.contains(" mallory "));
    let own = own.and_then(|line| line.split(' ').nth(1)).expect("an id");
    ask(&mut mallory, &format!("REMOVE {own}"), "OK REMOVE");
    target.serves_everybody();
    assert_eq!(send(&target, [127, 0, 0, 70], "NICK guest2", 5), 0);
}

/// Each address may have only a share of all registered nicks.
#[test]
fn one_address_does_not_use_up_the_accounts() {
    let target = Target::start(&["--max-accounts", "120"]);
    let mut mallory = target.stranger();
    let lines = (0..130).flat_map(|n| [format!("NICK m{n}"), "REGISTER my secret".to_owned()]);
    let lines: Vec<String> = lines.collect();
    let replies = pipeline(&mut mallory, &lines);
    println!("{} accounts of 120", count(&replies, "OK REGISTER "));
    let mut ann = target.member("ann");
    ask(&mut ann, "REGISTER my secret", "OK REGISTER");
}
