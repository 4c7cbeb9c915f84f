//! protocol.md 4.28, 4.29: a client that is kicked or banned is gone at once, whatever it is doing.

use super::target::{Target, ask};
use crate::support::peer::Peer;

/// Starts a server with its operator online.
fn operated(flags: &[&str]) -> (Target, Peer) {
    let flags: Vec<&str> = flags
        .iter()
        .copied()
        .chain(["--operator", "root1"])
        .collect();
    let target = Target::start(&flags);
    let root = target.owner("root1");
    (target, root)
}

fn wait_until_away(root: &mut Peer, nick: &str) {
    let deadline = std::time::Instant::now() + crate::support::peer::DEADLINE;
    loop {
        let (who, _) = root.list("WHO #lobby").expect("a reply");
        if !who.iter().any(|line| line.ends_with(&format!(" {nick}"))) {
            return;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "{nick} is still there"
        );
    }
}

/// Regression test. KICK and BAN once had no effect on a client that followed a live file.
#[test]
fn a_kicked_client_that_follows_a_file_is_gone_at_once() {
    for verb in ["KICK", "BAN"] {
        let (target, mut root) = operated(&[]);
        let mut friend = target.named_stranger("friend");
        let mut watch = target.peer();
        ask(&mut watch, "JOIN #lobby", "OK JOIN");
        friend
            .send("UPLOAD endless.log *\nbefore")
            .expect("it reads");
        let file = watch.line().expect("an event");
        let id = file.split(' ').nth(3).expect("an id").to_owned();
        let mut kate = target.named_stranger("kate");
        kate.send(format!("DOWNLOAD {id}\n")).expect("it reads");
        let mut seen = String::new();
        while !seen.ends_with("before") {
            seen.push(kate.byte().expect("a byte").into());
        }
        ask(
            &mut root,
            &format!("{verb} kate"),
            &format!("OK {verb} kate"),
        );
        // The upload continues, and none of it reaches her.
        friend.send("AFTER").expect("it reads");
        let rest = String::from_utf8_lossy(&kate.rest().expect("an end")).into_owned();
        assert!(!rest.contains("AFTER"), "{verb}: {rest}");
        assert!(rest.contains("CLOSED "), "{verb}: {rest}");
        wait_until_away(&mut root, "kate");
    }
}

/// An HTTP connection stays open between its requests, and a ban must end it then too.
#[test]
fn a_ban_ends_an_idle_http_connection() {
    let (target, mut root) = operated(&[]);
    let mut mallory = target.stranger();
    let request = "GET /help HTTP/1.1\r\nHost: localhost\r\n\r\n";
    mallory.send(request).expect("it reads");
    let mut length = 0;
    loop {
        let line = mallory.line().expect("a line").to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().expect("a number");
        }
        if line.trim().is_empty() {
            break;
        }
    }
    for _ in 0..length {
        mallory.byte().expect("a byte");
    }
    ask(&mut root, "BAN 127.0.0.66", "OK BAN 127.0.0.66");
    let _ = mallory.send(request); // it may have been ended by now
    let rest = mallory.rest().expect("an end");
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    let (head, _) = target.http("GET /help HTTP/1.1\r\nHost: localhost\r\n");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

/// Regression test. A kicked or banned user who did not read once stayed in the room.
#[test]
fn a_kicked_client_that_does_not_read_is_gone_at_once() {
    for verb in ["KICK", "BAN"] {
        let (target, mut root) = operated(&[]);
        let padding = "x".repeat(3000);
        let lines: Vec<String> = (0..1000).map(|n| format!("MSG {n} {padding}")).collect();
        super::target::pipeline(&mut root, &lines);
        let mut kate = target.named_stranger("kate");
        kate.send("HISTORY #lobby 1000\n".repeat(20))
            .expect("it reads");
        // Wait until the buffers on her side and on the server's are full: she has no more to read than before.
        let unread = kate.writer().expect("a descriptor");
        let mut came = 0;
        loop {
            for _ in 0..20 {
                ask(&mut root, "PING", "OK PING");
            }
            let more = rustix::io::ioctl_fionread(&unread).expect("a socket");
            if more > 0 && more == came {
                break;
            }
            came = more;
        }
        ask(
            &mut root,
            &format!("{verb} kate"),
            &format!("OK {verb} kate"),
        );
        wait_until_away(&mut root, "kate");
    }
}
