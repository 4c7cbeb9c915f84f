//! protocol.md 8, http.md 4: how a file is shown.

use crate::support::server::Chatd;
use crate::support::spawn::Peer;

#[test]
fn an_uploaded_page_cannot_act_as_a_page_of_the_server() {
    let chatd = Chatd::start();
    let mut ann = chatd.member("ann");
    for (name, is_shown) in [
        ("a.html", false),
        ("a.svg", false),
        ("a.js", false),
        ("a.png", true),
    ] {
        ann.send(format!("UPLOAD {name} 8\n<script>"));
        let reply = ann.expect("OK UPLOAD <id> 8 <sha256>");
        let id = reply.split(' ').nth(2).expect("its number");
        let mut browser = Peer::connect(chatd.address);
        browser.send(format!(
            "GET /files/{id}/{name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ));
        let reply = String::from_utf8(browser.inbox.rest())
            .expect("it is text")
            .to_ascii_lowercase();
        let (head, body) = reply.split_once("\r\n\r\n").expect("a head and a body");
        assert_eq!(body, "<script>");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
        assert!(
            head.contains("content-security-policy: sandbox; default-src 'none'"),
            "{head}"
        );
        assert_eq!(
            head.contains("content-disposition: attachment"),
            !is_shown,
            "{head}"
        );
        assert!(
            !head.contains("text/html")
                && !head.contains("svg+xml")
                && !head.contains("javascript"),
            "{head}"
        );
    }
}

#[test]
fn in_talker_mode_no_bytes_of_a_file_are_sent() {
    let chatd = Chatd::start();
    let mut ann = chatd.member("ann");
    ann.send("UPLOAD a.bin 4\n\x1b[2J");
    let reply = ann.expect("OK UPLOAD <id> 4 <sha256>");
    let id = reply.split(' ').nth(2).expect("its number").to_owned();
    ann.ask("CHAT", "OK CHAT");
    ann.send(format!("/download {id}\n/raw\n"));
    let mut received = String::new();
    loop {
        let line = ann.expect("<word> …");
        if line == "OK RAW" {
            break;
        }
        received += &line;
    }
    assert!(
        received.contains("nc ") && !received.contains('\x1b'),
        "{received:?}"
    );
}
