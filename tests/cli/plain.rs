//! protocol.md 10.3: `chatc --plain` on a terminal, when its connection breaks.

use std::path::Path;

use crate::chatc_live::{Restarting, by_hand, in_terminal, watcher};
use crate::support::script::{Running, Server, chatc, steps};
use crate::support::server::Chatd;

/// Returns `chatc --plain` as ann at `hosts`, with `more` flags, ready for input.
fn plain(hosts: &str, more: &str) -> Running {
    let program = env!("CARGO_BIN_EXE_chatc");
    let command = format!("stty columns 200; {program} --plain {hosts} {more}");
    let mut ann = in_terminal(&command, Path::new("/"));
    ann.until("type /help for help");
    ann.until("> ");
    ann
}

/// Types `lines`.
fn type_lines(ann: &mut Running, lines: &[String]) {
    for line in lines {
        ann.write(format!("{line}\r").as_bytes());
    }
}

#[test]
fn what_is_typed_before_during_and_after_a_restart_is_sent_once_and_in_order() {
    let mut server = Restarting::new();
    let mut seen = watcher(server.chatd(), "r7");
    let mut ann = plain(&server.host, "--room r7");
    let mut bob = Running::start(&mut chatc(&[&server.host, "--nick", "bob", "--room", "r7"]));
    let lines = |when: &str| -> Vec<String> { (0..20).map(|n| format!("{when} {n}")).collect() };
    let all = [lines("before"), lines("during"), lines("after")];
    bob.write(b"first\n");
    ann.until("<bob> first\r\n");
    type_lines(&mut ann, &all[0]);
    // Some lines have been answered by now, some are in transit.
    seen.until("MSG #r7 ann before 3\n");
    server.kill();
    ann.until("; trying again\r\n");
    bob.write(b"meanwhile\n");
    type_lines(&mut ann, &all[1]);
    server.start();
    ann.until("-- connected again\r\n");
    type_lines(&mut ann, &all[2]);
    ann.write(b"/quit\r");
    let ended = ann.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(server.said_by("ann", "r7"), all.concat());
    assert_eq!(bob.finish().code, Some(0));
    assert_eq!(server.said_by("bob", "r7"), ["first", "meanwhile"]);
}

const HELLO: &str = "OK HELLO 1 chat tags nonce";

/// Returns a script in which ann is in the lobby, and the connection then breaks after `steps`.
fn first_connection(hello: &str, steps: &str) -> String {
    format!(
        "> HELLO\n> STAMPS on\n> TAGS on\n> NICK ann <password>\n\
         < {hello}\n< OK STAMPS on\n< OK TAGS on\n< OK NICK ann #lobby 7\n{steps}"
    )
}

/// Returns a script in which ann is in the lobby again, after the `missed` events.
fn next_connection(hello: &str, missed: &str, steps: &str) -> String {
    format!(
        "> HELLO\n> STAMPS on\n> TAGS on\n> JOIN #lobby 7\n> NICK ann <password>\n\
         < {hello}\n< OK STAMPS on\n< OK TAGS on\n{missed}< OK JOIN #lobby 9\n< OK NICK ann\n{steps}"
    )
}

const TIME: &str = "2026-11-24T00:00:00.000Z";

#[test]
fn a_line_without_an_answer_is_sent_again_with_its_nonce_and_missed_events_are_shown_once() {
    let one = "> @nonce=<n> TELL #lobby one";
    let missed =
        format!("< PAST 8 {TIME} MSG #lobby ann one\n< PAST 9 {TIME} MSG #lobby bob missed\n");
    let rest = format!("{one}\n< OK TELL 8 {TIME}\n> BYE\n< OK BYE");
    let server = Server::play(vec![
        steps(&first_connection(HELLO, one)),
        steps(&next_connection(HELLO, &missed, &rest)),
    ]);
    let mut ann = plain(&server.address.to_string(), "");
    ann.write(b"one\r");
    let shown = ann.until("-- connected again\r\n");
    let lost = "-- the connection was lost: the server closed the connection; trying again\r\n";
    assert_eq!(shown.matches(lost).count(), 1, "{shown}");
    assert_eq!(shown.matches("<bob> missed\r\n").count(), 1, "{shown}");
    ann.write(b"/quit\r");
    let ended = ann.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // Of her own line, ann sees only what she has typed.
    let all = shown + &ended.stdout;
    assert!(!all.contains("<ann>"), "{all}");
    assert_eq!(all.matches("<bob>").count(), 1, "{all}");
    server.finish();
}

#[test]
fn a_line_is_not_sent_again_if_the_server_has_no_nonces() {
    let hello = "OK HELLO 1 chat tags";
    let server = Server::play(vec![
        steps(&first_connection(hello, "> TELL #lobby one")),
        steps(&next_connection(
            hello,
            "",
            &format!("> TELL #lobby two\n< OK TELL 10 {TIME}\n> BYE\n< OK BYE"),
        )),
    ]);
    let mut ann = plain(&server.address.to_string(), "");
    ann.write(b"one\r");
    ann.until("! this line may not have arrived, and is not sent again: one\r\n");
    ann.write(b"two\r/quit\r");
    assert_eq!(ann.wait().code, Some(0));
    server.finish();
}

#[test]
fn the_next_server_of_a_list_is_used_when_the_first_one_stops() {
    let start = || Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &[]).expect("chatd");
    let (first, second) = (start(), start());
    let mut seen = watcher(&second, "lobby");
    let mut ann = plain(&format!("{},{}", first.address, second.address), "");
    first.signal(rustix::process::Signal::TERM);
    let shown = ann.until("-- connected again, on ");
    let lost = "-- the server closed the connection: ";
    assert!(shown.contains(lost), "{shown}");
    ann.until(&format!("{}\r\n", second.address));
    ann.write(b"here I am\r");
    seen.until("MSG #lobby ann here I am\n");
    ann.write(b"/quit\r");
    assert_eq!(ann.wait().code, Some(0));
}

#[test]
fn a_thousand_lines_are_kept_while_there_is_no_connection() {
    let mut server = Restarting::new();
    let mut ann = plain(&server.host, "--room r7");
    server.kill();
    ann.until("; trying again\r\n");
    let lines: Vec<String> = (0..1005).map(|n| format!("{n}")).collect();
    ann.write(format!("\x1b[200~{}\x1b[201~\r", lines.join("\r")).as_bytes());
    ann.until("! 5 lines were not kept: 1000 lines are waiting for a connection\r\n");
    ann.write(b"one more\r");
    ann.until("! 1 line was not kept: 1000 lines are waiting for a connection\r\n");
    server.start();
    ann.until("-- connected again\r\n");
    ann.write(b"/quit\r");
    let ended = ann.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(server.said_by("ann", "r7"), lines[..1000]);
}

#[test]
fn leaving_without_a_connection_says_what_was_not_sent() {
    for (typed, code, text) in [
        ("/quit\r", 0, ""),
        ("\x04", 0, ""),
        (
            "one\rtwo\r/quit\r",
            3,
            "chatc: 2 lines may not have been sent\r\n",
        ),
    ] {
        let mut server = Restarting::new();
        let mut ann = plain(&server.host, "");
        server.kill();
        ann.until("; trying again\r\n");
        ann.write(typed.as_bytes());
        let ended = ann.wait();
        assert_eq!(ended.code, Some(code), "{typed:?}: {ended:?}");
        assert!(ended.stdout.contains(text), "{typed:?}: {ended:?}");
        assert_eq!(ended.stdout.contains("chatc: "), code != 0, "{ended:?}");
    }
}

#[test]
fn the_nick_the_rooms_and_the_current_room_stay_the_same_after_a_restart() {
    let mut server = Restarting::new();
    let mut ann = plain(&server.host, "--room r7");
    ann.write(b"/join #other\rhello other\r/join #r7\r/nick zoe\r");
    ann.until("-- you are in #other now\r\n");
    ann.until("-- you are in #r7 now\r\n");
    ann.until("-- you are zoe now\r\n");
    server.kill();
    ann.until("; trying again\r\n");
    ann.write(b"from zoe\r/nick rob\rfrom rob\r/topic\r/join #new\rhello new\r");
    server.start();
    ann.until("-- connected again\r\n");
    ann.until("-- you are rob now\r\n");
    ann.until("-- #r7 has no topic\r\n");
    ann.until("-- you are in #new now\r\n");
    by_hand(
        server.chatd(),
        "NICK eve\nTELL #other hello from eve\nBYE\n",
    );
    ann.until("#other [");
    ann.until("<eve> hello from eve\r\n");
    ann.write(b"/quit\r");
    assert_eq!(ann.wait().code, Some(0));
    assert_eq!(server.said_by("ann", "other"), ["hello other"]);
    assert_eq!(server.said_by("zoe", "r7"), ["from zoe"]);
    assert_eq!(server.said_by("rob", "r7"), ["from rob"]);
    assert_eq!(server.said_by("rob", "new"), ["hello new"]);
}

#[test]
fn a_user_who_has_left_every_room_is_in_the_lobby_after_a_restart_and_reads_so() {
    let mut server = Restarting::new();
    let mut ann = plain(&server.host, "--room r7");
    ann.write(b"/part\rto nobody\r");
    ann.until("-- you left #r7 and are in no room now\r\n");
    ann.until("! you are in no room; join one with /join ROOM\r\n");
    server.kill();
    ann.until("; trying again\r\n");
    server.start();
    ann.until("-- connected again\r\n");
    ann.until("-- you are in #lobby now\r\n");
    ann.write(b"to the lobby\r/quit\r");
    assert_eq!(ann.wait().code, Some(0));
    assert_eq!(server.said_by("ann", "lobby"), ["to the lobby"]);
}

#[test]
fn somebody_who_was_ignored_is_ignored_after_a_restart() {
    let mut server = Restarting::new();
    let lines = "NICK bob my secret\nREGISTER my secret\nBYE\n";
    by_hand(server.chatd(), lines);
    let mut ann = plain(&server.host, "");
    ann.write(b"/ignore bob\r");
    ann.until("-- you do not see messages of bob any more\r\n");
    server.kill();
    ann.until("; trying again\r\n");
    server.start();
    ann.until("-- connected again\r\n");
    // The reply shows that the requests before it have been processed.
    ann.write(b"/topic\r");
    ann.until("-- #lobby has no topic\r\n");
    by_hand(server.chatd(), "NICK bob my secret\nMSG unseen\nBYE\n");
    by_hand(server.chatd(), "NICK eve\nMSG seen\nBYE\n");
    let shown = ann.until("<eve> seen\r\n");
    assert!(!shown.contains("<bob>"), "{shown}");
    ann.write(b"/quit\r");
    assert_eq!(ann.wait().code, Some(0));
}

#[test]
fn a_password_that_the_server_has_now_ends_the_client_and_nothing_is_asked() {
    let refused = "< ERR STAMPS need-password shut\n< ERR TAGS need-password shut\n\
                   < ERR JOIN need-password shut\n< ERR NICK bad-password no";
    let login = "> HELLO\n> STAMPS on\n> TAGS on\n> JOIN #lobby 7\n> NICK ann <password>\n";
    let server = Server::play(vec![
        steps(&first_connection(HELLO, "> @nonce=<n> TELL #lobby one")),
        steps(&format!("{login}< {HELLO}\n{refused}")),
    ]);
    let mut ann = plain(&server.address.to_string(), "");
    ann.write(b"one\r");
    let ended = ann.wait();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let last = "chatc: the server has a password: set the environment variable ";
    assert!(ended.stdout.contains(last), "{ended:?}");
    let unsent = "; 1 line may not have been sent\r\n";
    assert!(ended.stdout.contains(unsent), "{ended:?}");
    assert!(!ended.stdout.contains("Password of "), "{ended:?}");
    server.finish();
}

#[test]
fn a_command_that_could_be_carried_out_twice_is_not_sent_again_and_no_password_is_shown() {
    let asked = "> KICK bob\n> REGISTER my secret\n> @nonce=<n> TELL bob psst\n> WHO";
    let server = Server::play(vec![
        steps(&first_connection(HELLO, asked)),
        steps(&next_connection(
            HELLO,
            "",
            "> WHO\n< OK WHO 0\n> BYE\n< OK BYE",
        )),
    ]);
    let mut ann = plain(&server.address.to_string(), "");
    ann.write(b"/kick bob\r/register my secret\r/msg bob psst\r/who\r");
    ann.until("-- connected again\r\n");
    let shown = ann.until("-- no people\r\n");
    for (what, line) in [
        ("command may not have been carried out", "KICK bob"),
        ("command may not have been carried out", "REGISTER"),
        ("line may not have arrived", "psst"),
    ] {
        let expected = format!("! this {what}, and is not sent again: {line}\r\n");
        assert!(shown.contains(&expected), "{expected} in {shown}");
    }
    ann.write(b"/quit\r");
    let ended = ann.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    server.finish();
}

#[test]
fn a_user_who_leaves_reads_what_was_given_up_since() {
    let server = Server::play(vec![
        steps(&first_connection(HELLO, "> @nonce=<n> TELL bob psst")),
        steps(&next_connection(HELLO, "", "> BYE\n< OK BYE")),
    ]);
    let mut ann = plain(&server.address.to_string(), "");
    // The script does not answer the line, so it ends the connection after the goodbye.
    ann.write(b"/msg bob psst\r/quit\r");
    let ended = ann.wait();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    for text in [
        "! this line may not have arrived, and is not sent again: psst\r\n",
        "chatc: 1 line may not have been sent\r\n",
    ] {
        assert!(ended.stdout.contains(text), "{ended:?}");
    }
    server.finish();
}

#[test]
fn a_line_that_came_with_the_missed_events_has_arrived() {
    let hello = "OK HELLO 1 chat tags";
    let missed = format!("< PAST 8 {TIME} MSG #lobby ann one\n");
    let server = Server::play(vec![
        steps(&first_connection(hello, "> TELL #lobby one")),
        steps(&next_connection(hello, &missed, "> BYE\n< OK BYE")),
    ]);
    let mut ann = plain(&server.address.to_string(), "");
    ann.write(b"one\r");
    ann.until("-- connected again\r\n");
    ann.write(b"/quit\r");
    let ended = ann.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.stdout.contains("may not"), "{ended:?}");
    server.finish();
}

#[test]
fn a_new_password_of_the_nick_is_used_after_a_break() {
    let registered = "> REGISTER my secret\n< OK REGISTER ann";
    let next = next_connection(HELLO, "", "> BYE\n< OK BYE");
    let server = Server::play(vec![
        steps(&first_connection(HELLO, registered)),
        steps(&next.replace("<password>", "my secret")),
    ]);
    let mut ann = plain(&server.address.to_string(), "");
    ann.write(b"/register my secret\r");
    ann.until("-- ann is registered to you\r\n");
    ann.until("-- connected again\r\n");
    ann.write(b"/quit\r");
    assert_eq!(ann.wait().code, Some(0));
    server.finish();
}

#[test]
fn what_was_asked_for_last_is_in_effect_after_a_break() {
    let first = "> IGNORE bob\n< OK IGNORE bob\n> IGNORE eve\n< OK IGNORE eve\n\
                 > AWAY lunch\n< OK AWAY\n> UNIGNORE Bob\n> AWAY";
    let missed =
        format!("< PAST 8 {TIME} MSG #lobby eve unseen\n< PAST 9 {TIME} MSG #lobby zoe seen\n");
    let second = "> UNIGNORE Bob\n> AWAY\n> IGNORE eve\n< OK UNIGNORE bob\n< OK AWAY";
    // The request that chatc made is pending again. It is not made twice.
    let third = "> IGNORE eve\n< ERR IGNORE no-such-nick nobody\n> BYE\n< OK BYE";
    let server = Server::play(vec![
        steps(&first_connection(HELLO, first)),
        steps(&next_connection(HELLO, &missed, second)),
        steps(&next_connection(HELLO, "", third).replace("#lobby 7", "#lobby 9")),
    ]);
    let mut ann = plain(&server.address.to_string(), "");
    ann.write(b"/ignore bob\r/ignore eve\r/away lunch\r/unignore Bob\r/away\r");
    let shown = ann.until("-- connected again\r\n");
    assert!(shown.contains("<zoe> seen\r\n"), "{shown}");
    assert!(!shown.contains("<eve>"), "{shown}");
    ann.until("-- connected again\r\n");
    ann.until("! eve is not ignored on this connection: nobody (no-such-nick)\r\n");
    ann.write(b"/quit\r");
    assert_eq!(ann.wait().code, Some(0));
    server.finish();
}

#[test]
fn a_user_who_gets_another_nick_and_then_their_own_one_reads_both() {
    let taken = next_connection(HELLO, "", "").replace(
        "< OK NICK ann\n",
        "< ERR NICK nick-taken it is taken\n> NICK ann2 <password>\n< OK NICK ann2\n",
    );
    let back = next_connection(HELLO, "", "> BYE\n< OK BYE").replace("#lobby 7", "#lobby 9");
    let server = Server::play(vec![
        steps(&first_connection(HELLO, "")),
        steps(&taken),
        steps(&back),
    ]);
    let mut ann = plain(&server.address.to_string(), "");
    ann.until("-- your nick was taken; you are ann2 now\r\n");
    ann.until("-- you are ann now\r\n");
    ann.write(b"/quit\r");
    assert_eq!(ann.wait().code, Some(0));
    server.finish();
}

#[test]
fn an_invalid_reply_does_not_keep_later_lines_back() {
    let server = Server::play(vec![
        steps(&first_connection(HELLO, "> JOIN #new\n< OK JOIN #new")),
        steps(&next_connection(
            HELLO,
            "",
            &format!("> @nonce=<n> TELL #lobby one\n< OK TELL 10 {TIME}\n> BYE\n< OK BYE"),
        )),
    ]);
    let mut ann = plain(&server.address.to_string(), "");
    ann.write(b"/join #new\rone\r");
    ann.until("! the server does not speak this protocol: a room was joined without an id\r\n");
    ann.until("-- connected again\r\n");
    ann.write(b"/quit\r");
    assert_eq!(ann.wait().code, Some(0));
    server.finish();
}
