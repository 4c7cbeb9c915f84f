//! What another server changes between a proposal and the decision on it.

use super::*;

/// Passes a line to a connection and lets its server catch up, so that what the line changes is proposed.
fn propose(pair: &mut Pair, on: usize, who: usize, line: &str) {
    pair.send(on, who, line);
    let last = pair.log.last().map(|last| &last.change.action);
    if matches!(last, Some(Action::CatchUp)) {
        let end = pair.log.len();
        while pair.applied[on] < end {
            assert!(pair.apply_next(on));
        }
    }
}

/// Passes a line to a connection. Its server handles the line before it knows what `between` adds to the log, and what
/// the line changes comes after that in the log.
fn late(pair: &mut Pair, on: usize, who: usize, line: &str, between: impl FnOnce(&mut Pair)) {
    pair.settle();
    pair.send(on, who, line);
    let end = pair.log.len();
    between(pair);
    while pair.applied[on] < end {
        assert!(pair.apply_next(on));
    }
    pair.settle();
}

fn check(pair: &Pair) {
    for on in [0, 1] {
        assert_eq!(pair.used(on), pair.agreed(on), "server {on}");
    }
}

#[test]
fn a_nick_that_was_registered_meanwhile_needs_its_password() {
    let mut pair = Pair::new(3);
    pair.say(0, 0, "NICK root");
    late(&mut pair, 1, 0, "NICK root", |pair| {
        for line in ["REGISTER my secret", "BYE"] {
            pair.send(0, 0, line);
            while pair.apply_next(0) {}
        }
        assert!(pair.read(0, 0).contains("OK BYE"));
    });
    let refused = pair.read(1, 0);
    assert!(refused.starts_with("ERR NICK need-password "), "{refused}");
    check(&pair);
}

#[test]
fn a_nick_that_was_banned_meanwhile_is_not_given() {
    let mut pair = pair_with_accounts(3);
    late(&mut pair, 1, 1, "NICK eve", |pair| {
        pair.send(0, 0, "BAN eve 1h");
        while pair.apply_next(0) {}
        assert!(pair.read(0, 0).contains("OK BAN"));
    });
    let closed = pair.read(1, 1);
    assert!(closed.starts_with("CLOSED banned "), "{closed}");
    pair.settle();
    check(&pair);
}

#[test]
fn a_nick_that_changes_while_its_room_is_deleted_is_no_member_of_it() {
    let mut pair = pair_with_accounts(3);
    pair.say(1, 1, "NICK bob");
    pair.say(1, 1, "JOIN #ops");
    propose(&mut pair, 1, 1, "NICK rob");
    // The proposal reaches the log after the deletion.
    let take = pair.log.pop().expect("it was proposed");
    assert!(matches!(take.change.action, Action::TakeNick { .. }));
    propose(&mut pair, 0, 0, "REMOVE #ops");
    pair.log.push(take);
    pair.settle();
    let answer = pair.read(1, 1);
    assert!(answer.contains("OK NICK rob"), "{answer}");
    for on in [0, 1] {
        let rooms = pair.say(on, 0, "ROOMS");
        assert!(!rooms.contains("ROOM #ops"), "{on}: {rooms}");
    }
    check(&pair);
}

#[test]
fn connections_that_leave_before_their_nick_is_a_member_are_counted() {
    let mut pair = Pair::new(3);
    pair.say(0, 0, "NICK bob");
    pair.say(0, 0, "JOIN #a");
    pair.say(0, 1, "NICK ann secret");
    pair.send(0, 0, "NICK ann secret");
    pair.send(0, 1, "JOIN #a");
    let end = pair.log.len();
    while pair.applied[0] < end {
        pair.apply_next(0);
    }
    pair.apply_next(0);
    pair.cut(0, 1);
    propose(&mut pair, 0, 0, "PART #a");
    pair.settle();
    assert!(pair.read(0, 0).contains("OK PART"));
    check(&pair);
}

#[test]
fn connections_that_end_before_their_nick_is_a_member_take_no_memory() {
    let mut pair = Pair::new(1);
    for n in 0..5 {
        let who = pair.servers[0].connect();
        pair.say(0, who, &format!("NICK ann{n}"));
        propose(&mut pair, 0, who, "JOIN #x");
        pair.cut(0, who);
        pair.settle();
    }
    let chat = format!("{:?}", pair.servers[0].chat);
    assert!(chat.contains("entering: {}"));
}

#[test]
fn who_is_in_a_room_that_is_closed_meanwhile_depends_on_the_invitation() {
    for is_invited in [true, false] {
        let mut pair = pair_with_accounts(3);
        pair.say(0, 1, "NICK bob");
        pair.say(0, 1, "REGISTER bob's secret");
        pair.say(1, 0, "JOIN #plan");
        pair.say(1, 0, "MSG hello");
        if is_invited {
            let answer = pair.say(1, 0, "INVITE bob");
            assert!(answer.contains("OK INVITE"), "{answer}");
        }
        late(&mut pair, 0, 1, "JOIN #plan", |pair| {
            propose(pair, 1, 0, "MODE invite");
        });
        let answer = pair.read(0, 1);
        assert_eq!(
            answer.contains("you are not invited"),
            !is_invited,
            "{answer}"
        );
        let who = pair.say(1, 0, "WHO #plan");
        assert_eq!(who.contains("USER #plan bob"), is_invited, "{who}");
        check(&pair);
    }
}

#[test]
fn a_reserved_nick_is_released_on_all_servers_at_once() {
    let mut pair = Pair::new(3);
    pair.say(0, 0, "NICK bob secret");
    pair.lose(0, 0);
    let later = Now {
        uptime: Limits::default().guard_for,
        ..Now::default()
    };
    pair.servers[1].chat.tick(later);
    pair.say(1, 1, "NICK bob");
    let [one, other] = [0, 1].map(|on| pair.say(on, 2, "WHO #lobby"));
    assert_eq!(one, other);
}

#[test]
fn the_end_of_the_input_is_handled_when_the_nick_is_free() {
    let mut pair = Pair::new(3);
    pair.say(0, 0, "NICK bob");
    let Table { chat, sessions, .. } = &mut pair.servers[0];
    sessions[0].end_of_input(chat, Now::default());
    pair.collect();
    pair.read(0, 0);
    assert!(!pair.servers[0].sessions[0].is_over());
    pair.settle();
    pair.read(0, 0);
    assert!(pair.servers[0].sessions[0].is_over());
}

#[test]
fn a_connection_that_waits_for_its_nick_is_not_idle() {
    let mut pair = Pair::new(3);
    pair.send(0, 0, "NICK bob secret");
    let later = Now {
        uptime: Limits::default().idle_after,
        ..Now::default()
    };
    let Table { chat, sessions, .. } = &mut pair.servers[0];
    sessions[0].on_time(chat, later);
    pair.settle();
    let answer = pair.read(0, 0);
    assert!(answer.starts_with("OK NICK bob "), "{answer}");
}

#[test]
fn who_resumes_on_a_server_whose_epoch_ends_waits_until_it_has_caught_up() {
    let mut pair = Pair::new(3);
    pair.say(0, 0, "NICK ann");
    pair.say(1, 0, "STAMPS on");
    let ids = ["one", "two"].map(|text| {
        pair.send(0, 0, &format!("TELL #a {text}"));
        let told = pair.read(0, 0);
        told.split(' ').nth(2).expect("an id").to_owned()
    });
    // The server has read nothing of this when a client resumes, and what it has proposed is lost.
    pair.send(1, 0, &format!("JOIN #a {}", ids[0]));
    pair.log.pop();
    let server = &mut pair.servers[1];
    server.chat.end_server(&"two".into(), Now::default());
    server.go_on();
    pair.collect();
    pair.settle();
    let got = pair.read(1, 0);
    assert!(got.starts_with(&format!("PAST {} ", ids[1])), "{got}");
    assert!(got.ends_with(&format!("OK JOIN #a {}\n", ids[1])), "{got}");
    assert_eq!(got.lines().count(), 2, "{got}");
}

#[test]
fn a_server_that_is_cut_off_does_not_resume_where_it_does_not_know_the_room() {
    let mut pair = Pair::new(3);
    pair.say(0, 0, "NICK ann");
    let told = pair.say(0, 0, "TELL #a one");
    let known: u64 = told
        .split(' ')
        .nth(2)
        .expect("an id")
        .parse()
        .expect("a number");
    let server = &mut pair.servers[1];
    server.chat.cut_off(Now::default().time);
    for (id, answer) in [(known + 1, "ERR JOIN cut-off "), (known, "OK JOIN #a ")] {
        server.ask(0, &format!("JOIN #a {id}"));
        while !server.chat.take_proposed().is_empty() {
            server.chat.fail_undecided(Now::default().time);
            server.go_on();
        }
        let got = server.read(0);
        assert!(got.starts_with(answer), "{got}");
    }
}
