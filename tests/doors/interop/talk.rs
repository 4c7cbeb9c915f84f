//! protocol.md 7, 10.1, 10.2, shell.md 1, 2: who receives replies, when each client ends, and who receives which messages.

use rustix::process::Signal;

use crate::support::clients::{HALF_CLOSING, NEVER_HALF_CLOSING, every_client};
use crate::support::server::Chatd;
use crate::support::spawn::{Peer, Program};

/// Returns the next message that `member` receives, skipping joins and leaves.
fn next_message(member: &mut Peer) -> String {
    member.inbox.find(|line| line.starts_with("MSG "))
}

#[test]
fn a_script_that_ends_in_bye_works_with_every_client() {
    let chatd = Chatd::start();
    let mut alice = chatd.member("alice");
    for (nick, client) in every_client() {
        let script = format!("printf 'NICK {nick}\\nMSG build done\\nBYE\\n' | {client}");
        chatd.client(&script).finish().expect(&[
            &format!("OK NICK {nick} #lobby <id>"),
            "OK MSG <id> <time>",
            "OK BYE",
        ]);
        assert_eq!(
            next_message(&mut alice),
            format!("MSG #lobby {nick} build done")
        );
    }
}

#[test]
fn a_script_without_bye_ends_if_the_client_half_closes() {
    let chatd = Chatd::start();
    let mut alice = chatd.member("alice");
    for (n, client) in HALF_CLOSING.iter().enumerate() {
        let script = format!("printf 'NICK h{n}\\nMSG hi' | {client}");
        let ended = chatd.client(&script).finish();
        ended.expect(&[&format!("OK NICK h{n} #lobby <id>"), "OK MSG <id> <time>"]);
        assert_eq!(next_message(&mut alice), format!("MSG #lobby h{n} hi"));
    }
}

#[test]
fn a_client_that_never_half_closes_stays_and_receives() {
    let chatd = Chatd::start();
    let mut alice = chatd.member("alice");
    for (n, client) in NEVER_HALF_CLOSING.iter().enumerate() {
        let mut listener = chatd.client(&format!("printf 'JOIN r{n}\\nNICK n{n}\\n' | {client}"));
        listener.end_input();
        listener.expect(&format!("OK JOIN #r{n} <id>"));
        listener.expect(&format!("OK NICK n{n} #r{n} <id>"));
        alice.ask(&format!("TELL #r{n} still there?"), "OK TELL <id> <time>");
        listener.expect(&format!("MSG #r{n} alice still there?"));
        assert!(listener.is_running(), "{client}");
    }
}

#[test]
fn stay_keeps_a_half_closing_listener() {
    let chatd = Chatd::start();
    let mut alice = chatd.member("alice");
    let listeners = [
        "ncat $HOST $PORT",
        "busybox nc $HOST $PORT",
        "nc.openbsd -N $HOST $PORT",
        "socat -t 60 - TCP:$HOST:$PORT",
    ];
    for (n, client) in listeners.iter().enumerate() {
        let mut listener = chatd.client(&format!("printf 'JOIN s{n}\\nSTAY\\n' | {client}"));
        listener.end_input();
        listener.expect(&format!("OK JOIN #s{n} <id>"));
        listener.expect("OK STAY");
        for text in ["one", "two"] {
            alice.ask(&format!("TELL #s{n} {text}"), "OK TELL <id> <time>");
            listener.expect(&format!("MSG #s{n} alice {text}"));
        }
    }
}

#[test]
fn requests_are_executed_even_if_the_client_reads_nothing() {
    let chatd = Chatd::start();
    let mut alice = chatd.member("alice");
    let careless = [
        "ncat --send-only $HOST $PORT",
        "nc.traditional -q 0 $HOST $PORT",
        "busybox telnet $HOST $PORT",
    ];
    for (n, client) in careless.iter().enumerate() {
        let script = format!("printf 'NICK x{n}\\nMSG hi\\n' | {client}");
        chatd.client(&script).finish();
        assert_eq!(
            next_message(&mut alice),
            format!("MSG #lobby x{n} hi"),
            "{client}"
        );
    }
}

#[test]
fn a_nick_is_free_as_soon_as_its_client_has_ended() {
    let chatd = Chatd::start();
    for client in HALF_CLOSING {
        let script = format!("printf 'NICK ci\\nBYE\\n' | {client}");
        let ended = chatd.client(&script).finish();
        ended.expect(&["OK NICK ci #lobby <id>", "OK BYE"]);
    }
}

#[test]
fn telnet_talks_while_its_input_is_held_open() {
    let chatd = Chatd::start();
    let mut alice = chatd.member("alice");
    for (n, client) in ["telnet", "busybox telnet"].iter().enumerate() {
        let mut telnet = chatd.client(&format!("{client} $HOST $PORT"));
        telnet.send(format!("NICK t{n}\nMSG hé\n"));
        let reply = format!("OK NICK t{n} #lobby ");
        telnet.inbox.find(|line| line.starts_with(&reply));
        telnet.expect("OK MSG <id> <time>");
        assert_eq!(next_message(&mut alice), format!("MSG #lobby t{n} hé"));
        telnet.send("BYE\n");
        telnet.expect("OK BYE");
        telnet.wait();
    }
}

/// Runs `command` on a terminal of its own, whose keyboard is the program's input.
fn on_a_terminal(chatd: &Chatd, command: &str) -> Program {
    chatd.client(&format!(
        "exec script -qefc \"{command} $HOST $PORT\" /dev/null"
    ))
}

#[test]
fn a_person_on_telnet_is_greeted_talks_and_survives_ctrl_c() {
    let chatd = Chatd::with(&[]);
    let mut alice = chatd.member("alice");
    let mut telnet = on_a_terminal(&chatd, "telnet");
    telnet.send("\r");
    telnet.inbox.find(|line| line.starts_with("HELLO 1 "));
    telnet.send("NICK tina\r");
    telnet
        .inbox
        .find(|line| line.starts_with("OK NICK tina #lobby "));
    telnet.send("MSG ça va, Zoë?\r");
    assert_eq!(next_message(&mut alice), "MSG #lobby tina ça va, Zoë?");

    // Telnet now sends "interrupt" and "do timing mark", and discards all input until that is answered.
    telnet.send([3]);
    telnet.send("PING back\r");
    telnet.inbox.find(|line| line == "OK PING back");
    alice.ask("MSG are you there?", "OK MSG <id> <time>");
    telnet
        .inbox
        .find(|line| line == "MSG #lobby alice are you there?");
    telnet.send("MSG yes\r");
    assert_eq!(next_message(&mut alice), "MSG #lobby tina yes");

    telnet.send("CHAT\r");
    telnet.send("just typing\r");
    assert_eq!(next_message(&mut alice), "MSG #lobby tina just typing");
    alice.ask("MSG like that", "OK MSG <id> <time>");
    telnet
        .inbox
        .find(|line| line.starts_with('[') && line.ends_with("] <alice> like that"));
    telnet.send("/bye\r");
    telnet
        .inbox
        .find(|line| line.contains("Connection closed by foreign host"));
}

#[test]
fn a_person_on_busybox_telnet_talks() {
    let chatd = Chatd::with(&[]);
    let mut alice = chatd.member("alice");
    let mut telnet = on_a_terminal(&chatd, "busybox telnet");
    telnet.send("\r");
    telnet.inbox.find(|line| line.starts_with("HELLO 1 "));
    telnet.send("NICK bea\r");
    telnet
        .inbox
        .find(|line| line.starts_with("OK NICK bea #lobby "));
    telnet.send("MSG é\r");
    assert_eq!(next_message(&mut alice), "MSG #lobby bea é");
    alice.ask("MSG hello", "OK MSG <id> <time>");
    telnet.inbox.find(|line| line == "MSG #lobby alice hello");
}

#[test]
fn the_longest_line_that_a_terminal_can_send_is_accepted() {
    let chatd = Chatd::start();
    let mut alice = chatd.member("alice");
    let mut nc = on_a_terminal(&chatd, "nc.openbsd");
    nc.send("NICK paul\r");
    nc.inbox
        .find(|line| line.starts_with("OK NICK paul #lobby "));
    // A terminal stores 4095 bytes of a line and drops the rest.
    nc.send(format!("MSG {}\r", "x".repeat(6000)));
    let message = next_message(&mut alice);
    assert_eq!(message, format!("MSG #lobby paul {}", "x".repeat(4091)));
    nc.send("MSG next\r");
    assert_eq!(next_message(&mut alice), "MSG #lobby paul next");
}

#[test]
fn a_line_that_a_message_interrupts_on_the_screen_arrives_whole() {
    let chatd = Chatd::start();
    let mut alice = chatd.member("alice");
    let mut nc = on_a_terminal(&chatd, "nc.openbsd");
    nc.send("NICK slow\r");
    nc.inbox
        .find(|line| line.starts_with("OK NICK slow #lobby "));
    nc.send("MSG hel");
    alice.ask("MSG meanwhile", "OK MSG <id> <time>");
    // On the screen it follows what was typed.
    nc.inbox
        .find(|line| line.ends_with("MSG #lobby alice meanwhile"));
    nc.send("lo\r");
    assert_eq!(next_message(&mut alice), "MSG #lobby slow hello");
}

#[test]
fn a_suspended_client_continues_where_it_was() {
    let chatd = Chatd::start();
    let mut alice = chatd.member("alice");
    let mut nc = chatd.client("exec nc.openbsd $HOST $PORT");
    nc.send("JOIN lobby\n");
    nc.expect("OK JOIN #lobby <id>");
    nc.signal(Signal::STOP); // Ctrl-Z
    for n in 0..1000 {
        alice.ask(&format!("MSG {n}"), "OK MSG <id> <time>");
    }
    nc.signal(Signal::CONT);
    for n in 0..1000 {
        nc.expect(&format!("MSG #lobby alice {n}"));
    }
}

#[test]
fn no_line_of_a_request_body_runs_as_a_command() {
    let chatd = Chatd::start();
    let mut alice = chatd.member("alice");
    let body = "--data-binary $'NICK web\\nMSG smuggled\\n'";
    let ended = chatd
        .client(&format!("curl -s {body} http://$HOST:$PORT/"))
        .finish();
    ended.expect(&["ERR - not-allowed …"]);
    alice.ask("WHO", "USER #lobby alice");
    alice.expect("OK WHO 1");
}

#[test]
fn a_client_whose_input_stays_open_shows_the_last_line() {
    let chatd = Chatd::start();
    for client in ["nc.traditional", "busybox nc"] {
        let mut nc = chatd.client(&format!("{client} $HOST $PORT"));
        nc.send("BYE\n");
        nc.wait().expect(&["OK BYE"]);
    }
    for client in ["nc.openbsd", "ncat"] {
        // These stay until their input ends too.
        let mut nc = chatd.client(&format!("{client} $HOST $PORT"));
        nc.send("BYE\n");
        nc.expect("OK BYE");
        nc.finish();
    }
}

#[test]
fn an_empty_first_line_is_greeted_and_a_command_is_not() {
    let chatd = Chatd::start();
    let mut person = chatd.client("nc.openbsd $HOST $PORT");
    person.send("\n");
    let hello = person.inbox.line();
    assert!(hello.starts_with("HELLO 1 "), "{hello}");
    person.send("PING\n");
    person.expect("OK PING");

    let ended = chatd
        .client("printf 'PING a\\nBYE\\n' | nc.openbsd $HOST $PORT")
        .finish();
    ended.expect(&["OK PING a", "OK BYE"]);
}

#[test]
fn a_stopping_server_sends_closed_last_to_every_listener() {
    let chatd = Chatd::start();
    let mut listeners = Vec::new();
    for (nick, client) in every_client() {
        let script = format!("printf 'NICK {nick}\\nSTAY\\n' | {client}");
        // These leave by themselves some time after their input has ended.
        if client.contains(" -q ") || client.starts_with("socat -t ") {
            continue;
        }
        let mut listener = chatd.client(&script);
        listener.end_input();
        listener.expect(&format!("OK NICK {nick} #lobby <id>"));
        listener.expect("OK STAY");
        listeners.push(listener);
    }
    chatd.signal(Signal::TERM);
    for mut listener in listeners {
        let ended = listener.wait();
        let last = ended.lines().pop().unwrap_or_default();
        assert!(last.starts_with("CLOSED shutting-down "), "{ended:?}");
    }
}

#[test]
fn lines_may_end_in_cr_lf() {
    let chatd = Chatd::start();
    let mut alice = chatd.member("alice");
    let clients = [
        "nc.openbsd -C $HOST $PORT",
        "ncat -C $HOST $PORT",
        "socat -,crnl TCP:$HOST:$PORT",
    ];
    for (n, client) in clients.iter().enumerate() {
        let script = format!("printf 'NICK l{n}\\nMSG hi\\nBYE\\n' | {client}");
        chatd.client(&script).finish().expect(&[
            &format!("OK NICK l{n} #lobby <id>"),
            "OK MSG <id> <time>",
            "OK BYE",
        ]);
        let message = alice.inbox.find(|line| line.starts_with("MSG "));
        assert_eq!(message, format!("MSG #lobby l{n} hi"));
    }
}

#[test]
fn a_person_may_type_http_methods_and_bye_works_in_openssl() {
    let chatd = Chatd::start();
    let mut ann = chatd.member("ann");
    for word in [
        "GET lunch",
        "POST it",
        "HEAD home",
        "DELETE that",
        "OPTIONS please",
        "CONNECT us",
    ] {
        ann.ask(word, "ERR - unknown-verb …");
        // At the beginning of a connection too, where the line could still be HTTP.
        let mut peer = chatd.peer();
        peer.ask(word, "HELLO 1 …");
        peer.expect("ERR - unknown-verb …");
    }
    // In `openssl s_client`, a line that begins with Q, R or K is a command of that tool.
    ann.ask("BYE", "OK BYE");
}
