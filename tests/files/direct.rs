//! protocol.md 10.5, 4.11, 4.12, 4.13, 3.10, http.md 1, 4: files in direct messages.
//!
//! Only the two nicks learn of such a file and can fetch it; for everybody else, it does not exist.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustix::process::Signal;

use crate::support::inbox::DEADLINE;
use crate::support::server::Chatd;
use crate::support::spawn::Peer;
use crate::support::web::{basic, check_status, say};
use crate::{PASSWORD, announced, on_disk, registered, until};

/// Sends a file of three bytes, and returns its number.
fn upload(from: &mut Peer, name: &str, to: &str) -> String {
    from.send(format!("UPLOAD {name} 3 @{to}\nabc"));
    let stored = from.expect("OK UPLOAD <id> 3 <sha256>");
    stored.split(' ').nth(2).unwrap().to_owned()
}

/// Returns the stored files of a data folder.
fn stored(data: &Path) -> usize {
    fs::read_dir(data.join("files")).unwrap().count()
}

#[test]
fn for_all_others_a_file_of_direct_messages_does_not_exist() {
    let chatd = Chatd::with(&["--operator", "root", "--announce-after", "1h"]);
    let [mut ann, mut bob] = ["ann", "bob"].map(|nick| registered(&chatd, nick));
    let [mut eve, mut root] = ["eve", "root"].map(|nick| registered(&chatd, nick));
    let mut guest = chatd.member("guest");
    let mut nobody = chatd.peer();
    let whole = upload(&mut ann, "emerald plan.txt", "Bob");
    bob.expect(&format!("FILE bob ann {whole} 3 emerald plan.txt"));
    let mut second = chatd.peer();
    second.ask(&format!("NICK ann {PASSWORD}"), "OK NICK …");
    second.send("UPLOAD emerald.log * @bob\nabc");
    let live = bob.expect("FILE bob ann <id> * emerald.log");
    let live = announced(&live);
    let absent = format!("11{}", &live[2..]);
    let hidden = [&whole, &live];

    for (peer, nick) in [
        (&mut eve, "eve"),
        (&mut root, "root"),
        (&mut guest, "guest"),
        (&mut nobody, ""),
    ] {
        for file in hidden {
            for verb in ["DOWNLOAD", "REMOVE", "REACT", "REACTS"] {
                if nick == "root" && verb == "REMOVE" {
                    continue; // tested below
                }
                let mut answer = |number: &str| {
                    let end = if verb == "REACT" { " 👍" } else { "" };
                    let answer = peer.ask(&format!("{verb} {number}{end}"), "ERR …");
                    answer.replace(number, "N")
                };
                assert_eq!(answer(file), answer(&absent), "{verb} by {nick:?}");
            }
        }
        let (listed, own) = match nick {
            "" => ("ERR FILES need-nick …", "ERR SEARCH need-nick …"),
            _ => ("OK FILES 0", "OK SEARCH 0"),
        };
        peer.ask("FILES @", listed);
        peer.ask("SEARCH @ emerald", own);
        peer.ask("SEARCH * emerald", "OK SEARCH 0");
        peer.ask("FILES lobby", "OK FILES 0");
    }

    // Over HTTP: by everybody, in whole and in part, also with a wrong password.
    let mut users: Vec<Option<String>> = vec![None];
    users.extend(["eve", "root"].map(|nick| Some(basic(nick, PASSWORD))));
    users.push(Some(basic("guest", "")));
    users.push(Some(basic("bob", "")));
    users.push(Some(basic("bob", "a guess")));
    for who in users {
        for method in ["GET", "HEAD"] {
            for head in ["X: y", "Range: bytes=0-0", "If-None-Match: *"] {
                let is_guess = who.as_ref() == Some(&basic("bob", "a guess"));
                if is_guess && (method, head) != ("GET", "X: y") {
                    continue; // too many wrong passwords get another reply
                }
                let fetch = |number: &str| {
                    let get = format!("{method} /files/{number}/emerald.log HTTP/1.1");
                    let mut lines = vec![get.as_str(), head];
                    lines.extend(who.as_deref());
                    let answer = say(&chatd, &lines, "");
                    let lines = answer.lines().filter(|line| !line.starts_with("date: "));
                    lines.collect::<Vec<_>>().join("\n").replace(number, "N")
                };
                let nothing = fetch(&absent);
                assert!(nothing.starts_with("HTTP/1.1 40"), "{nothing}");
                for file in hidden {
                    assert_eq!(fetch(file), nothing, "{method} {head} {who:?}");
                }
            }
        }
        for address in ["/rooms/@/files", "/rooms/%40?q=emerald", "/rooms?q=emerald"] {
            let get = format!("GET {address} HTTP/1.1");
            let mut lines = vec![get.as_str()];
            lines.extend(who.as_deref());
            let answer = say(&chatd, &lines, "");
            assert!(!answer.contains("emerald"), "{address} {who:?}: {answer}");
        }
    }

    // The two have all of it.
    for (peer, nick) in [(&mut ann, "ann"), (&mut bob, "bob")] {
        peer.ask(
            &format!("DOWNLOAD {whole} 1"),
            &format!("DATA {whole} 2 <sha256> emerald plan.txt"),
        );
        assert_eq!(peer.inbox.bytes(2), b"bc");
        peer.expect(&format!("OK DOWNLOAD {whole}"));
        peer.ask(
            "FILES @",
            &format!("PAST {whole} <time> FILE bob ann {whole} 3 emerald plan.txt"),
        );
        peer.expect(&format!(
            "PAST {live} <time> FILE bob ann {live} * emerald.log"
        ));
        peer.expect("OK FILES 2");
        let who = basic(nick, PASSWORD);
        let get = format!("GET /files/{whole}/x HTTP/1.1");
        let answer = say(&chatd, &[&get, &who], "");
        check_status(&answer, 200);
        assert!(answer.ends_with("\r\n\r\nabc"), "{answer}");
        let answer = say(&chatd, &["GET /rooms/@/files HTTP/1.1", &who], "");
        assert!(
            answer.contains(&format!(" FILE bob ann {live} * emerald.log")),
            "{answer}"
        );
        let answer = say(&chatd, &["GET /rooms/@?q=plan HTTP/1.1", &who], "");
        assert!(
            answer.contains(&format!(" FILE bob ann {whole} 3 emerald plan.txt\n")),
            "{answer}"
        );
    }
    second.end_input();
    second.expect(&format!("OK UPLOAD {live} 3 <sha256>"));
    bob.expect(&format!("STORED bob ann {live} 3 <sha256>"));

    // The recipient cannot delete it, the sender can, and so can an operator, who still learns nothing.
    bob.ask(&format!("REACT {whole} 👍"), "OK REACT <id> <time>");
    ann.expect(&format!("REACT ann bob {whole} 👍"));
    bob.ask(&format!("REMOVE {whole}"), "ERR REMOVE not-allowed …");
    ann.ask(&format!("REMOVE {whole}"), &format!("OK REMOVE {whole}"));
    bob.expect(&format!("REMOVE bob ann {whole}"));
    root.ask(&format!("REMOVE {live}"), &format!("OK REMOVE {live}"));
    bob.expect(&format!("REMOVE bob root {live}"));
    bob.ask("FILES @", "OK FILES 0");
    bob.ask(&format!("DOWNLOAD {whole}"), "ERR DOWNLOAD no-such-file …");
}

#[test]
fn a_file_goes_only_from_one_registered_nick_to_another() {
    let chatd = Chatd::with(&["--announce-after", "1h"]);
    let mut ann = registered(&chatd, "ann");
    let mut guest = chatd.member("guest");
    for (peer, to, answer) in [
        (
            &mut ann,
            "guest",
            "ERR UPLOAD not-allowed guest is not registered; …",
        ),
        (
            &mut guest,
            "ann",
            "ERR UPLOAD not-allowed only a registered nick …",
        ),
    ] {
        peer.send(format!("UPLOAD a.txt 3 @{to}\nabc"));
        peer.expect(answer);
    }
    for (to, answer) in [
        ("nobody", "ERR UPLOAD no-such-nick …"),
        ("a/b", "ERR UPLOAD bad-name …"),
        ("", "ERR UPLOAD bad-name …"),
    ] {
        ann.send(format!("UPLOAD a.txt 3 @{to}\nabc"));
        ann.expect(answer);
    }
    // It needs no room.
    ann.ask("PART", "OK PART …");
    ann.send("UPLOAD a.txt 3 @a/b\nabc");
    ann.expect("ERR UPLOAD bad-name …");
    let note = upload(&mut ann, "to myself", "ann");
    ann.ask(
        &format!("DOWNLOAD {note}"),
        &format!("DATA {note} 3 <sha256> to myself"),
    );
    assert_eq!(ann.inbox.bytes(3), b"abc");
    ann.expect("OK DOWNLOAD …");
    // The recipient gives its nick up during the upload.
    let mut bob = registered(&chatd, "bob");
    ann.send("UPLOAD a.txt 3 @bob\nab");
    bob.ask("REGISTER -", "OK REGISTER bob");
    bob.ask(&format!("REGISTER {PASSWORD}"), "OK REGISTER bob");
    ann.send("c");
    ann.expect("ERR UPLOAD not-allowed one of you has given up …");
    bob.ask("FILES @", "OK FILES 0");
    bob.ask("REGISTER -", "OK REGISTER bob");
    // Over HTTP.
    let put = [
        "PUT /rooms/@bob/files/a.txt HTTP/1.1",
        &basic("ann", PASSWORD),
    ];
    check_status(&say(&chatd, &put, "abc"), 403);
    bob.ask(&format!("REGISTER {PASSWORD}"), "OK REGISTER …");
    let answer = say(&chatd, &put, "abc");
    check_status(&answer, 201);
    let file = bob.expect("FILE bob ann <id> 3 a.txt");
    let file = announced(&file);
    assert!(
        answer.contains(&format!("location: /files/{file}/a.txt")),
        "{answer}"
    );
    // Who is ignored sends nothing that is shown at once; the list still has it.
    bob.ask("IGNORE ann", "OK IGNORE ann");
    let unseen = upload(&mut ann, "b.txt", "bob");
    bob.ask("PING", "OK PING");
    bob.ask("FILES @", &format!("PAST {file} <time> FILE bob ann …"));
    bob.expect(&format!("PAST {unseen} <time> FILE bob ann …"));
    bob.expect("OK FILES 2");
}

#[test]
fn a_file_goes_with_its_last_copy_and_the_next_owner_of_the_nick_gets_none() {
    let folder = tempfile::tempdir().unwrap();
    let start = || on_disk(folder.path(), &["--quota-per-nick", "5"]);
    let chatd = start();
    let [mut ann, mut bob] = ["ann", "bob"].map(|nick| registered(&chatd, nick));
    let file = upload(&mut ann, "a.txt", "bob");
    bob.expect("FILE bob ann …");
    ann.send("UPLOAD b.txt 3 @bob\nabc");
    ann.expect("ERR UPLOAD quota …");
    // Bob follows a live file when his account goes.
    let mut second = chatd.peer();
    second.ask(&format!("NICK ann {PASSWORD}"), "OK NICK …");
    second.send("UPLOAD c.log * @bob\na");
    let live = bob.expect("FILE bob ann <id> * c.log");
    let live = announced(&live);
    let mut follower = chatd.peer();
    follower.ask(&format!("NICK bob {PASSWORD}"), "OK NICK …");
    follower.ask(
        &format!("DOWNLOAD {live}"),
        &format!("DATA {live} 1 - c.log"),
    );
    assert_eq!(follower.inbox.bytes(1), b"a");
    bob.ask("REGISTER -", "OK REGISTER bob");
    follower.expect("ERR DOWNLOAD no-such-file …");
    bob.ask(&format!("DOWNLOAD {file}"), "ERR DOWNLOAD no-such-file …");
    bob.ask(&format!("REGISTER {PASSWORD}"), "OK REGISTER bob");
    bob.ask(&format!("DOWNLOAD {file}"), "ERR DOWNLOAD no-such-file …");
    bob.ask("FILES @", "OK FILES 0");
    second.end_input();
    second.expect("ERR UPLOAD not-allowed one of you has given up …");
    // Ann still has her copy, also after a restart.
    drop((ann, bob, second, follower));
    drop(chatd);
    let chatd = start();
    let mut ann = chatd.peer();
    ann.ask(&format!("NICK ann {PASSWORD}"), "OK NICK …");
    ann.ask(
        "FILES @",
        &format!("PAST {file} <time> FILE bob ann {file} 3 a.txt"),
    );
    ann.expect("OK FILES 1");
    assert_eq!(stored(folder.path()), 1);
    ann.ask("REGISTER -", "OK REGISTER ann");
    ann.ask(&format!("REGISTER {PASSWORD}"), "OK REGISTER ann");
    ann.ask("FILES @", "OK FILES 0");
    until(DEADLINE, || match stored(folder.path()) {
        0 => Ok(()),
        _ => Err("the bytes are still stored".into()),
    });
    // The quota is free again.
    ann.send("UPLOAD d.txt 5 @ann\nabcde");
    ann.expect("OK UPLOAD <id> 5 <sha256>");
}

#[test]
fn the_next_owner_of_a_nick_learns_of_no_removal() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--operator", "root"];
    for chatd in [
        Chatd::with(&[&["--announce-after", "1h"], &flags[..]].concat()),
        on_disk(folder.path(), &flags),
    ] {
        let [mut ann, mut bob] = ["ann", "bob"].map(|nick| registered(&chatd, nick));
        let mut root = registered(&chatd, "root");
        let file = upload(&mut ann, "a.txt", "bob");
        bob.expect("FILE bob ann …");
        let other = upload(&mut ann, "b.txt", "bob");
        bob.expect("FILE bob ann …");
        let sent = ann.ask("TELL bob good night", "OK TELL <id> <time>");
        let message = sent.split(' ').nth(2).unwrap();
        bob.expect("MSG bob ann good night");
        let mut second = chatd.peer();
        second.ask(&format!("NICK ann {PASSWORD}"), "OK NICK …");
        second.send("UPLOAD c.log * @bob\na");
        bob.expect("FILE bob ann <id> * c.log");
        bob.ask("REGISTER -", "OK REGISTER bob");
        drop(bob);
        let mut bob = registered(&chatd, "bob");
        second.end_input();
        second.expect("ERR UPLOAD not-allowed one of you has given up …");
        ann.ask(&format!("REMOVE {file}"), &format!("OK REMOVE {file}"));
        ann.ask(
            &format!("REMOVE {message}"),
            &format!("OK REMOVE {message}"),
        );
        root.ask(&format!("REMOVE {other}"), &format!("OK REMOVE {other}"));
        bob.send("HISTORY bob\nPING\n");
        bob.expect("OK HISTORY 0");
        bob.expect("OK PING");
        // The sender's own history has all four removals.
        ann.send("HISTORY ann\n");
        ann.inbox.find(|line| line == "OK HISTORY 8");
    }
}

#[test]
fn after_a_crash_both_are_told_that_an_upload_was_broken_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut chatd = on_disk(folder.path(), &[]);
    let [mut ann, mut bob] = ["ann", "bob"].map(|nick| registered(&chatd, nick));
    ann.send("UPLOAD a.log * @bob\nabc");
    let live = bob.expect("FILE bob ann <id> * a.log");
    let live = announced(&live);
    chatd.signal(Signal::KILL);
    chatd.wait(DEADLINE);
    drop(chatd);
    let chatd = on_disk(folder.path(), &[]);
    let mut bob = chatd.peer();
    bob.ask(&format!("NICK bob {PASSWORD}"), "OK NICK …");
    bob.ask(
        "HISTORY bob",
        &format!("PAST {live} <time> FILE bob ann {live} * -"),
    );
    bob.expect(&format!("PAST <id> <time> REMOVE bob ann {live}"));
    bob.expect("OK HISTORY 2");
}

#[test]
fn ones_other_devices_are_told_that_an_upload_was_broken_off() {
    let folder = tempfile::tempdir().unwrap();
    let chatd = on_disk(folder.path(), &[]);
    let [_ann, mut bob] = ["ann", "bob"].map(|nick| registered(&chatd, nick));
    let mut phone = chatd.peer();
    phone.ask("TAGS on", "OK TAGS on");
    phone.ask(&format!("NICK ann {PASSWORD}"), "OK NICK …");
    let mut laptop = TcpStream::connect(chatd.address).unwrap();
    let upload = format!("NICK ann {PASSWORD}\nUPLOAD a.log * @bob\nabc");
    laptop.write_all(upload.as_bytes()).unwrap();
    let live = bob.expect("FILE bob ann <id> * a.log");
    let live = announced(&live);
    phone.expect(&format!("FILE bob ann {live} * a.log"));
    set_socket_linger(&laptop, Some(Duration::ZERO)).unwrap();
    drop(laptop); // with a reset
    bob.expect(&format!("REMOVE bob ann {live}"));
    phone.expect(&format!("REMOVE bob ann {live}"));
}
