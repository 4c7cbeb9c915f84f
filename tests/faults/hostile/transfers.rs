//! protocol.md 4.11, 4.12, chatd.md 1: one stranger cannot use up all transfers.

use super::target::Target;
use crate::support::peer::Peer;

/// Starts a server with so few open files that the descriptors for transfers are soon used up.
fn narrow() -> Target {
    Target::start_under(&["prlimit", "--nofile=256:256"], &[])
}

/// Regression test. Uploads that never ended once took all descriptors, and all other uploads were refused with
/// `busy`.
#[test]
fn endless_uploads_do_not_block_other_clients() {
    let mut target = narrow();
    let mut uploads: Vec<Peer> = Vec::new();
    let refused = loop {
        let mut mallory = target.named_stranger(&format!("mallory{}", uploads.len()));
        // A refused upload is answered at once; otherwise the byte is awaited, and its digest does not match.
        mallory
            .send(format!("UPLOAD endless 2 {}\nx", "0".repeat(64)))
            .expect("it reads");
        uploads.push(mallory);
        let mut last = target.named_stranger(&format!("last{}", uploads.len()));
        last.send("UPLOAD last 1\nx").expect("it reads");
        let reply = last.reply().expect("a reply");
        if reply.starts_with("ERR UPLOAD ") {
            break reply;
        }
        assert!(uploads.len() < 100, "{reply}");
    };
    println!("{} uploads of one address, then: {refused}", uploads.len());
    assert!(refused.starts_with("ERR UPLOAD busy "), "{refused}");
    target.serves_everybody();
    drop(uploads);
    target.until("its own go again", |target| {
        let mut mallory = target.stranger();
        if !mallory
            .ask("NICK mallory")
            .expect("a reply")
            .starts_with("OK NICK ")
        {
            return false; // the one before it has not gone yet
        }
        mallory.send("UPLOAD short 1\nx").expect("it reads");
        mallory.reply().expect("a reply").starts_with("OK UPLOAD ")
    });
}

/// Regression test. Downloads that nobody read once took all descriptors, and all other transfers were refused.
#[test]
fn unread_downloads_do_not_block_other_clients() {
    let mut target = narrow();
    let mut ann = target.member("ann");
    let bytes = vec![b'x'; 20 << 20];
    let sent = ann.upload("large", &bytes, &crate::support::peer::sha256(&bytes));
    let sent = sent.expect("a reply");
    let id = sent.split(' ').nth(2).expect("an id").to_owned();
    let mut downloads: Vec<Peer> = Vec::new();
    let refused = loop {
        let mut mallory = target.stranger();
        mallory.send(format!("DOWNLOAD {id}\n")).expect("it reads");
        let line = mallory.line().expect("a line");
        if !line.starts_with("DATA ") {
            break line;
        }
        downloads.push(mallory);
        assert!(downloads.len() < 100, "never refused");
    };
    println!(
        "{} downloads of one address, then: {refused}",
        downloads.len()
    );
    assert!(refused.starts_with("ERR DOWNLOAD busy "), "{refused}");
    let get = format!("GET /files/{id}/large HTTP/1.1\r\nHost: localhost\r\n");
    let (head, _) = target.strange_http(&get);
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    let (head, body) = target.http(&get);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(body.len(), bytes.len());
    target.serves_everybody();
}
