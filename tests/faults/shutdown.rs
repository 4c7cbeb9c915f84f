//! protocol.md 4.31, 5.6, 7: what a server does to its connections when it stops.

use crate::support::run::{Cut, PATIENCE, Server, Taken, play};
use crate::support::server::Chatd;
use crate::support::tcp::Tcp;
use crate::support::transcript::Transcript;

/// Returns everything that `peer` receives until the server closes the connection.
fn rest(tcp: &mut Tcp, peer: usize) -> String {
    let mut all = Vec::new();
    loop {
        match tcp.take(peer, PATIENCE) {
            Taken::Bytes(bytes) => all.extend(bytes),
            Taken::Closed => return String::from_utf8(all).expect("lines are UTF-8"),
            Taken::Nothing => panic!("not closed, after {:?}", String::from_utf8_lossy(&all)),
        }
    }
}

// provokes: shutting-down
#[test]
fn a_stopping_server_notifies_everybody_and_exits_with_success() {
    let mut chatd = Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &[]).unwrap();
    let mut tcp = Tcp::new(chatd.address);
    let text = "alice> NICK alice\nalice< OK NICK alice #lobby <id>\nwatch> JOIN #lobby\nwatch< OK JOIN #lobby <id>";
    let transcript = Transcript::parse("7/stop", file!(), 1, text).unwrap();
    play(&transcript, Cut::Lines, &mut tcp).unwrap();
    chatd.signal(rustix::process::Signal::TERM);
    for peer in [0, 1] {
        let rest = rest(&mut tcp, peer);
        assert!(rest.starts_with("CLOSED shutting-down "), "{rest:?}");
        assert_eq!(rest.lines().count(), 1, "{rest:?}");
    }
    let status = chatd.wait(PATIENCE).expect("it ends");
    assert_eq!(status.code(), Some(0), "{status}");
}
