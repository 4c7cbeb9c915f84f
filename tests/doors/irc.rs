//! irc.md 1: ports that speak only IRC, and what a server says about IRC.

use std::process::Command;

use plainchat::config::fixed::IRC_CONFIRM_EVERY;

use crate::support::inbox::fits;
use crate::support::server::Chatd;
use crate::support::spawn::{Peer, Program};

/// Skips to the first line that fits a pattern.
fn find(peer: &mut Peer, pattern: &str) {
    peer.inbox.find(|line| fits(pattern, line));
}

/// Checks that a client that sends its nick with a bare LF is welcomed. On another port, such a client would speak
/// the line protocol.
fn check_welcome(peer: &mut Peer) {
    peer.send("NICK ann\nUSER ann 0 * :Ann\n");
    find(peer, "<word> 001 ann …");
    peer.send("PING :x\n");
    find(peer, "<word> PONG <word> :x");
}

#[test]
fn an_irc_port_accepts_nothing_but_irc() {
    let chatd = Chatd::with(&["--listen", "irc://127.0.0.1:0"]);
    let address = chatd.next_address();
    let mut irc = Peer::connect(address);
    check_welcome(&mut irc);
    // The plain protocol's verbs get IRC's answers.
    let mut plain = Peer::connect(address);
    plain.send("HELLO\n");
    plain.expect("<word> 451 * …");
    // A page in a browser cannot reach it.
    let mut web = Peer::connect(address);
    web.send("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\nNICK eve\r\n");
    web.expect("HTTP/1.1 403 Forbidden");
    // Both ports lead to the same rooms.
    irc.send("JOIN #lobby\n");
    find(&mut irc, "<word> 366 ann #lobby …");
    let mut bob = chatd.member("bob");
    bob.ask("MSG hi", "OK MSG <id> <time>");
    find(&mut irc, "<word> PRIVMSG #lobby :hi");
}

#[test]
fn an_irc_port_with_tls_refuses_plain_text() {
    let chatd = Chatd::with(&["--listen", "ircs://127.0.0.1:0"]);
    let address = chatd.next_address();
    let mut plain = Peer::connect(address);
    plain.send("NICK ann\r\nUSER ann 0 * :Ann\r\n");
    plain.expect("ERROR :Closing link: this port accepts only TLS");
    let command = "openssl s_client -quiet -connect $HOST:$PORT 2>/dev/null";
    let mut tls = Program::start(command, address);
    tls.send("NICK ann\nUSER ann 0 * :Ann\n");
    tls.expect("<word> 001 ann …");
}

#[test]
fn irc_is_a_capability_unless_it_is_off() {
    let chatd = Chatd::start();
    chatd.peer().ask(
        "HELLO",
        "OK HELLO 1 <word> accounts away edit files history hooks irc multiline …",
    );
    let chatd = Chatd::with(&["--irc", "off"]);
    chatd.peer().ask(
        "HELLO",
        "OK HELLO 1 <word> accounts away edit files history hooks multiline …",
    );
    let program = env!("CARGO_BIN_EXE_chatd");
    let flags = ["--memory", "--irc", "off", "--listen", "irc://127.0.0.1:0"];
    let refused = Command::new(program).args(flags).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        errors.contains("--listen irc:// needs --irc on"),
        "{errors}"
    );
}

#[test]
fn a_client_may_log_in_by_sasl_after_the_welcome() {
    let chatd = Chatd::start();
    let mut ann = chatd.member("ann");
    ann.ask("REGISTER my-secret", "OK REGISTER ann");
    let mut irc = chatd.peer();
    irc.send("CAP REQ sasl\r\nNICK bob\r\nUSER bob 0 * :Bob\r\nCAP END\r\n");
    find(&mut irc, "<word> 001 bob …");
    irc.send("AUTHENTICATE PLAIN\r\nAUTHENTICATE AGFubgB3cm9uZy1zZWNyZXQ=\r\n"); // \0ann\0wrong-secret
    find(&mut irc, "AUTHENTICATE +");
    irc.expect("<word> 904 bob …");
    irc.send("AUTHENTICATE PLAIN\r\nAUTHENTICATE AGFubgBteS1zZWNyZXQ=\r\n"); // \0ann\0my-secret
    // The result comes first, because clients take the next line for the result.
    irc.expect("AUTHENTICATE +");
    irc.expect("<word> 900 bob …");
    irc.expect("<word> 903 bob …");
    irc.expect("<word> NICK ann");
    irc.send("PRIVMSG ann :here\r\n");
    find(&mut irc, "<word> PRIVMSG ann :here");
    ann.inbox.find(|line| fits("MSG ann ann here", line));
}

#[test]
fn a_client_that_only_reads_is_asked_whether_it_has_received_everything() {
    let chatd = Chatd::start();
    let mut irc = chatd.peer();
    irc.send("NICK ann\r\nUSER ann 0 * :Ann\r\nJOIN #ops laptop\r\n");
    find(&mut irc, "<word> 366 ann #ops …");
    // The first question is about the position at which the client joined.
    irc.inbox.wait_for_more(2 * IRC_CONFIRM_EVERY);
    irc.expect("PING :1");
    irc.send("PONG :1\r\n");
    let mut bob = chatd.member("bob");
    bob.ask("TELL #ops the only one", "OK TELL <id> <time>");
    irc.expect("<word> PRIVMSG #ops :the only one");
    irc.inbox.wait_for_more(2 * IRC_CONFIRM_EVERY);
    irc.expect("PING :2");
}

#[test]
fn lusers_shows_the_current_and_the_largest_number_of_nicks() {
    let chatd = Chatd::start();
    let mut irc = chatd.peer();
    let counts = |irc: &mut Peer, now: usize, most: usize| {
        irc.send("LUSERS\r\n");
        find(irc, &format!("<word> 265 ann {now} {most} …"));
    };
    irc.send("NICK ann\r\nUSER ann 0 * :Ann\r\n");
    find(&mut irc, "<word> 376 …");
    counts(&mut irc, 1, 1);
    // A connection without a nick does not count.
    let _reader = chatd.peer();
    let mut bob = chatd.member("bob");
    counts(&mut irc, 2, 2);
    bob.ask("BYE", "OK BYE");
    counts(&mut irc, 1, 2);
}
