//! protocol.md 2, 4.5, chatd.md 1: the memory of waiting data, which a conversation in memory cannot show.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::support::server::Chatd;
use crate::support::socket::unconnected;
use crate::support::spawn::Peer;
use rustix::net::{connect, sockopt};

/// Connects with the smallest receive buffer that the system allows.
fn narrow(to: SocketAddr) -> TcpStream {
    let socket = unconnected().unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 4096).unwrap();
    connect(&socket, &to).unwrap();
    let stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(crate::support::inbox::DEADLINE))
        .unwrap();
    stream
        .set_write_timeout(Some(crate::support::inbox::DEADLINE))
        .unwrap();
    stream
}

fn metric(address: SocketAddr, name: &str) -> u64 {
    let mut peer = Peer::connect(address);
    peer.send("GET /metrics HTTP/1.0\r\n\r\n");
    let page = String::from_utf8(peer.inbox.rest()).unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name}: {page}"))
        .trim()
        .parse()
        .unwrap()
}

#[test]
fn clients_that_read_nothing_stay_within_the_memory_limit_and_connected() {
    const CLIENTS: usize = 8;
    // More than the system's own buffers hold: each reply has 4000 bytes.
    const ASKED: usize = 3000;
    // An eighth of the memory is for replies.
    let chatd = Chatd::with(&["--max-memory", "1MiB", "--announce-after", "1h"]);
    let mut ann = chatd.member("ann");
    let mut bob = chatd.member("bob");
    let topic = "x".repeat(4000);
    ann.ask(&format!("TOPIC {topic}"), "OK TOPIC …");
    bob.expect("TOPIC #lobby ann …");
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| narrow(chatd.address)).collect();
    for client in &mut clients {
        client
            .write_all("TOPIC\n".repeat(ASKED).as_bytes())
            .unwrap();
    }
    // Meanwhile others are served, and see how much memory is used.
    let mut most = 0;
    for n in 0..200 {
        ann.ask(&format!("MSG {n}"), "OK MSG <id> <time>");
        bob.expect(&format!("MSG #lobby ann {n}"));
        most = most.max(metric(chatd.address, "chatd_waiting_bytes "));
    }
    // Without a common bound, each client would hold 64 KiB of replies. The requests of each, and one reply, may exceed
    // the bound.
    let each = 6 * ASKED as u64 + 5000;
    let bound = (128 << 10) + CLIENTS as u64 * each;
    assert!(most > 128 << 10 && most <= bound, "{most} bytes wait");
    assert!(bound < CLIENTS as u64 * (64 << 10), "this shows something");
    let met = "chatd_refused_total{limit=\"memory\"} ";
    assert!(metric(chatd.address, met) > 0);
    // A client that reads receives everything.
    for client in &mut clients {
        client.write_all(b"BYE\n").unwrap();
        let mut received = String::new();
        client.read_to_string(&mut received).unwrap();
        let count = received
            .lines()
            .filter(|line| line.ends_with(&topic))
            .count();
        assert_eq!(count, ASKED);
        assert!(received.ends_with("\nOK BYE\n"));
    }
    assert_eq!(metric(chatd.address, "chatd_waiting_bytes "), 0);
}

/// Every direct message that was answered `OK` arrives when its reader reads. The others were refused.
#[test]
fn a_direct_message_is_ok_only_if_its_reader_receives_it() {
    const SENT: usize = 20_000;
    let chatd = Chatd::with(&["--announce-after", "1h"]);
    let mut bob = TcpStream::connect(chatd.address).unwrap();
    bob.write_all(b"NICK bob\n").unwrap();
    // Bob reads the reply, and from then on nothing.
    let mut reply = [0; "OK NICK bob #lobby 0\n".len()];
    bob.read_exact(&mut reply).unwrap();
    let mut ann = chatd.peer();
    ann.ask("NICK ann", "OK NICK ann #lobby <id>");
    let line = format!("TELL bob {}\n", "x".repeat(1000));
    let mut refused = 0;
    let mut sent = 0;
    for _ in 0..SENT / 500 {
        ann.send(line.repeat(500));
        for _ in 0..500 {
            let reply = ann.inbox.find(|line| line.contains(" TELL "));
            if reply.starts_with("OK TELL - ") {
                sent += 1;
            } else {
                assert!(reply.starts_with("ERR TELL busy "), "{reply}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "bob's messages were never too many");
    // Now bob reads. The replies to his next requests come after everything that was sent to him.
    let mut lines = BufReader::new(bob.try_clone().unwrap()).lines();
    let mut got = 0;
    while got < sent {
        let line = lines.next().expect("not closed").unwrap();
        got += usize::from(line.starts_with("MSG bob ann "));
    }
    bob.write_all(b"PING end\n").unwrap();
    let line = lines.find_map(|line| line.ok().filter(|line| line != "JOIN #lobby ann"));
    assert_eq!(
        line.as_deref(),
        Some("OK PING end"),
        "of {SENT}, {refused} were refused"
    );
    bob.write_all(b"BYE\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "OK BYE");
    assert!(lines.next().is_none());
    // The reader can receive messages again.
    let mut bob = chatd.peer();
    bob.ask("NICK bob", "OK NICK bob #lobby <id>");
    ann.ask("TELL bob hello", "OK TELL - <time>");
    bob.inbox.find(|line| line == "MSG bob ann hello");
}
