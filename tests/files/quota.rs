//! protocol.md 4.11, chatd.md 2: the disk space that files may use.

use crate::on_disk;
use crate::support::spawn::Peer;

#[track_caller]
fn upload(peer: &mut Peer, bytes: &str, pattern: &str) {
    peer.send(format!("UPLOAD a.txt {}\n{bytes}", bytes.len()));
    peer.expect(pattern);
}

#[test]
fn the_files_of_a_nick_are_bounded_and_guests_share_a_quota() {
    let folder = tempfile::tempdir().unwrap();
    let start = || on_disk(folder.path(), &["--quota-per-nick", "10"]);
    let chatd = start();
    let mut ann = chatd.member("ann");
    ann.ask("JOIN #ann", "OK JOIN #ann 0");
    ann.ask("REGISTER my secret", "OK REGISTER ann");
    upload(&mut ann, "123456", "OK UPLOAD 1 6 <sha256>");
    upload(
        &mut ann,
        "12345",
        "ERR UPLOAD quota your files would take too …",
    );
    // Guests share one quota, whatever their nicks.
    let mut guest = chatd.peer();
    guest.ask("JOIN #guests", "OK JOIN #guests 0");
    guest.ask("NICK guest1", "OK NICK guest1 #guests 0");
    upload(&mut guest, "123456", "OK UPLOAD 2 6 <sha256>");
    guest.ask("NICK guest2", "OK NICK guest2 #guests 2");
    upload(
        &mut guest,
        "12345",
        "ERR UPLOAD quota the files of unregistered nicks would take …",
    );
    upload(&mut guest, "1234", "OK UPLOAD 3 4 <sha256>");
    // An upload counts from its beginning, over all connections; an aborted one is subtracted again.
    let mut second = chatd.peer();
    second.ask("JOIN #second", "OK JOIN #second 0");
    second.ask("NICK ann my secret", "OK NICK ann #second 0");
    ann.send("UPLOAD slow.txt 4\n12");
    // The upload has begun when the line before it has been answered: this is checked over the other connection until
    // it is so.
    loop {
        second.send("UPLOAD b.txt 1\nx");
        let reply = second.expect("<word> UPLOAD …");
        if reply.starts_with("ERR UPLOAD quota ") {
            break;
        }
        let file = reply.split(' ').nth(2).unwrap().to_owned();
        second.ask(&format!("REMOVE {file}"), &format!("OK REMOVE {file}"));
    }
    drop(ann);
    loop {
        second.send("UPLOAD b.txt 4\nabcd");
        if second.expect("<word> UPLOAD …").starts_with("OK UPLOAD ") {
            break;
        }
    }
    // An upload of unknown length is refused when it reaches the limit.
    let mut pipe = chatd.peer();
    pipe.ask("NICK ann my secret", "OK NICK ann #lobby 0");
    pipe.send("UPLOAD pipe.txt *\nx");
    pipe.end_input();
    let rest = String::from_utf8(pipe.inbox.rest()).unwrap();
    assert!(rest.contains("ERR UPLOAD quota "), "{rest}");
    drop((second, guest, chatd));
    // The sum is known after a restart too, and belongs to the nick that is registered then.
    let chatd = start();
    let mut ann = chatd.peer();
    ann.ask("NICK ann my secret", "OK NICK ann #lobby <id>");
    upload(&mut ann, "x", "ERR UPLOAD quota …");
    let mut bob = chatd.peer();
    bob.ask("NICK guest1", "OK NICK guest1 #lobby <id>");
    upload(&mut bob, "x", "ERR UPLOAD quota …");
    bob.ask("REGISTER my secret", "OK REGISTER guest1");
    upload(&mut bob, "1234", "OK UPLOAD <id> 4 <sha256>");
    upload(&mut bob, "x", "ERR UPLOAD quota …");
}
