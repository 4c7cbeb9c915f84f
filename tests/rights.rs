//! Who may read what (protocol.md, section 3.10): every command, asked by everybody from whom a room is
//! closed, tells nothing of it. A command without a row here does not compile into the test: it fails.

mod support;

use std::time::Duration;

use plainchat::config::Limits;
use plainchat::protocol::Verb;
use support::memory::Memory;
use support::run::{Server, Taken};

/// Every verb, how it asks for the closed room (`ID` and `FILE` stand for a message and a file there), and
/// the first words of the answer to one who is not asked in; `NICKLESS` if another has no nick.
fn rows() -> Vec<(Verb, &'static str, &'static str, &'static str)> {
    use Verb::*;
    let nick = "need-nick";
    vec![
        (Msg, "MSG hi", "OK MSG", nick),
        (Me, "ME waves", "OK ME", nick),
        (Tell, "TELL #vault hi", "ERR TELL not-allowed", nick),
        (
            Nick,
            "NICK keyholder",
            "ERR NICK need-password",
            "ERR NICK need-password",
        ),
        (
            Join,
            "JOIN #vault 0",
            "ERR JOIN not-allowed",
            "ERR JOIN not-allowed",
        ),
        (Join, "JOIN #vault AS spy", "ERR JOIN not-allowed", nick),
        (
            Seen,
            "SEEN #vault 1",
            "ERR SEEN no-such-room",
            "ERR SEEN no-such-room",
        ),
        (
            History,
            "HISTORY #vault",
            "ERR HISTORY no-such-room",
            "ERR HISTORY no-such-room",
        ),
        (
            History,
            "HISTORY keyholder",
            "ERR HISTORY not-allowed",
            nick,
        ),
        (
            Search,
            "SEARCH #vault treasure",
            "ERR SEARCH no-such-room",
            "ERR SEARCH no-such-room",
        ),
        (Search, "SEARCH treasure", "OK SEARCH 0", "OK SEARCH 0"),
        (
            Part,
            "PART #vault",
            "ERR PART not-in-room",
            "ERR PART not-in-room",
        ),
        (Rooms, "ROOMS", "ROOM #lobby", "ROOM #lobby"),
        (
            Who,
            "WHO #vault",
            "ERR WHO no-such-room",
            "ERR WHO no-such-room",
        ),
        (
            Topic,
            "TOPIC #vault",
            "ERR TOPIC no-such-room",
            "ERR TOPIC no-such-room",
        ),
        (Topic, "TOPIC #vault mine", "ERR TOPIC no-such-room", nick),
        (Upload, "UPLOAD a.txt 1\nx", "OK UPLOAD", nick),
        (
            Download,
            "DOWNLOAD FILE",
            "ERR DOWNLOAD no-such-file",
            "ERR DOWNLOAD no-such-file",
        ),
        (
            Files,
            "FILES #vault",
            "ERR FILES no-such-room",
            "ERR FILES no-such-room",
        ),
        (Remove, "REMOVE ID", "ERR REMOVE no-such-file", nick),
        (Remove, "REMOVE FILE", "ERR REMOVE no-such-file", nick),
        (Stamps, "STAMPS on", "OK STAMPS", "OK STAMPS"),
        (Stay, "STAY", "OK STAY", "OK STAY"),
        (Chat, "CHAT\n/raw", "OK CHAT", "OK CHAT"),
        (Raw, "RAW", "OK RAW", "OK RAW"),
        (Ignore, "IGNORE keyholder", "OK IGNORE", "OK IGNORE"),
        (
            Unignore,
            "UNIGNORE keyholder",
            "ERR UNIGNORE no-such-nick",
            "ERR UNIGNORE no-such-nick",
        ),
        (
            Mode,
            "MODE #vault",
            "ERR MODE no-such-room",
            "ERR MODE no-such-room",
        ),
        (Mode, "MODE #vault open", "ERR MODE no-such-room", nick),
        (
            Invite,
            "INVITE #vault mallory",
            "ERR INVITE no-such-room",
            nick,
        ),
        (
            Uninvite,
            "UNINVITE #vault keyholder",
            "ERR UNINVITE no-such-room",
            nick,
        ),
        (Invites, "INVITES #vault", "ERR INVITES no-such-room", nick),
        (Register, "REGISTER open sesame", "OK REGISTER", nick),
        (Token, "TOKEN ci", "", nick),
        (Tokens, "TOKENS", "", nick),
        (Revoke, "REVOKE ci", "", nick),
        (Pass, "PASS open sesame", "OK PASS", "OK PASS"),
        (Kick, "KICK keyholder", "ERR KICK not-allowed", nick),
        (Ban, "BAN keyholder", "ERR BAN not-allowed", nick),
        (Unban, "UNBAN keyholder", "ERR UNBAN not-allowed", nick),
        (Bans, "BANS", "ERR BANS not-allowed", nick),
        (Note, "NOTE hi", "ERR NOTE not-allowed", nick),
        (Shutdown, "SHUTDOWN", "ERR SHUTDOWN not-allowed", nick),
        (Ping, "PING", "OK PING", "OK PING"),
        (Hello, "HELLO", "OK HELLO", "OK HELLO"),
        (Help, "HELP JOIN", "HELP JOIN", "HELP JOIN"),
        (Bye, "BYE", "OK BYE", "OK BYE"),
        (Quit, "QUIT", "OK QUIT", "OK QUIT"),
    ]
}

/// What tells of the room: what was said there, its topic, its file, and its own name where it was not asked.
const SECRETS: &[&str] = &["treasure", "gold", "map.txt", "buried", "#vault"];

fn ask(server: &mut Memory, peer: usize, line: &str) -> String {
    server
        .push(peer, format!("{line}\n").as_bytes())
        .expect("it reads");
    let mut out = Vec::new();
    while let Taken::Bytes(bytes) = server.take(peer, Duration::ZERO) {
        out.extend(bytes);
    }
    String::from_utf8(out).expect("it is text")
}

/// A server with a closed room that has members, a past and a file; the ids of a message and of that file.
fn vault() -> (Memory, usize, String, String) {
    let limits = Limits {
        announce_after: Duration::ZERO,
        ..Limits::default()
    };
    let mut server = Memory::with_limits(limits, usize::MAX);
    let keeper = server.open().expect("a connection");
    let mut id_of = |line: &str| {
        let reply = ask(&mut server, keeper, line);
        reply
            .split(' ')
            .nth(2)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    id_of("NICK keyholder");
    id_of("REGISTER open sesame");
    id_of("JOIN #vault");
    id_of("TOPIC gold");
    let id = id_of("MSG the treasure is here");
    let file = id_of("UPLOAD map.txt 6\nburied");
    assert_eq!(id_of("MODE invite"), "#vault");
    (server, keeper, id, file)
}

#[test]
fn every_verb_has_its_row() {
    for verb in Verb::ALL {
        assert!(rows().iter().any(|row| row.0 == *verb), "{verb} has none");
    }
}

#[test]
fn no_command_tells_a_stranger_anything_of_a_closed_room() {
    for (verb, line, expected, nickless) in rows() {
        for has_nick in [true, false] {
            let (mut server, keeper, id, file) = vault();
            let stranger = server.open().expect("a connection");
            if has_nick {
                ask(&mut server, stranger, "NICK stranger");
            }
            let line = line.replace("ID", &id).replace("FILE", &file);
            // `FILES` and `MSG #vault` hold those words too; only ids are put in.
            let line = match verb {
                Verb::Files => "FILES #vault".to_owned(),
                _ => line,
            };
            let answer = ask(&mut server, stranger, &line);
            let expected = match has_nick {
                true => expected.to_owned(),
                false if nickless == "need-nick" => format!("ERR {verb} need-nick"),
                false => nickless.to_owned(),
            };
            assert!(
                answer.starts_with(&expected),
                "{line}: {answer}, not {expected}"
            );
            let was_asked = line.contains("#vault");
            for secret in SECRETS {
                let is_own_word = was_asked && *secret == "#vault" || line.contains(secret);
                assert!(is_own_word || !answer.contains(secret), "{line}: {answer}");
            }
            // And what is said there from now on.
            ask(&mut server, keeper, "MSG more treasure");
            let heard = ask(&mut server, stranger, "PING");
            assert!(
                !heard.contains("treasure") && !heard.contains("#vault"),
                "{line}: {heard}"
            );
        }
    }
}

#[test]
fn who_is_asked_in_gets_everything() {
    let (mut server, keeper, _, file) = vault();
    let guest = server.open().expect("a connection");
    ask(&mut server, guest, "NICK guest");
    ask(&mut server, guest, "REGISTER open sesame");
    assert!(ask(&mut server, keeper, "INVITE guest").contains("OK INVITE #vault guest"));
    assert!(ask(&mut server, guest, "HISTORY #vault").contains("the treasure is here"));
    assert!(ask(&mut server, guest, "SEARCH #vault treasure").contains("OK SEARCH 1"));
    assert!(ask(&mut server, guest, "FILES #vault").contains("map.txt"));
    assert!(ask(&mut server, guest, &format!("DOWNLOAD {file}")).contains("buried"));
    assert!(ask(&mut server, guest, "ROOMS").contains("#vault"));
    assert!(ask(&mut server, guest, "JOIN #vault 0").contains("the treasure is here"));
    assert!(ask(&mut server, guest, "WHO").contains("keyholder"));
    ask(&mut server, keeper, "MSG welcome");
    assert!(ask(&mut server, guest, "PING").contains("welcome"));
}
