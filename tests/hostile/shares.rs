//! Resources that are limited in all, files and accounts: one stranger gets a share of them.

use crate::target::{Target, ask, count, pipeline};

/// One connection could create 100,000 empty files in a minute; then no one could upload.
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

/// The same with registered nicks.
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
