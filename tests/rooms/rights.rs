//! protocol.md 3.10, 4.32, 4.33: who may read what.
//!
//! The document's own table, tried for each command and each URL in every role. No command reveals anything of a
//! closed room to an outsider. The test fails if a command has no row here, or if a row of the document is not tried.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::document::root;
use crate::support::memory::Memory;
use crate::support::run::{Server, Taken};
use crate::support::server::Chatd;
use crate::support::transcript::Setting;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plainchat::protocol::Verb;

/// Returns a row for every verb: a request about the closed room, and the first words of two replies. A nick that is
/// not invited gets the first reply, and a connection without a nick the second. `ID` and `FILE` stand for a message
/// and a file in the room.
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
        (Seen, "SEEN #vault 1 AS spy", "ERR SEEN no-such-room", nick),
        (Readers, "READERS", "OK READERS 0", nick),
        (Forget, "FORGET #vault spy", "OK FORGET #vault spy", nick),
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
        (Search, "SEARCH * treasure", "OK SEARCH 0", "OK SEARCH 0"),
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
            Whois,
            "WHOIS keyholder",
            "USER #lobby keyholder",
            "OK WHOIS keyholder registered",
        ),
        (Away, "AWAY", "OK AWAY", nick),
        (Mine, "MINE", "ROOM #lobby", "OK MINE 0"),
        (
            Topic,
            "TOPIC #vault",
            "ERR TOPIC no-such-room",
            "ERR TOPIC no-such-room",
        ),
        (Topic, "TOPIC #vault mine", "ERR TOPIC no-such-room", nick),
        (Upload, "UPLOAD a.txt 1\nx", "OK UPLOAD", nick),
        (Text, "TEXT 3 #vault\nhi!", "ERR TEXT not-allowed", nick),
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
        (Edit, "EDIT ID mine", "ERR EDIT no-such-id", nick),
        (React, "REACT ID x", "ERR REACT no-such-id", nick),
        (Unreact, "UNREACT FILE x", "ERR UNREACT no-such-id", nick),
        (
            Reacts,
            "REACTS ID",
            "ERR REACTS no-such-id",
            "ERR REACTS no-such-id",
        ),
        (Tags, "TAGS on", "OK TAGS", "OK TAGS"),
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
        (Hook, "HOOK ci #vault", "ERR HOOK not-allowed", nick),
        (Hooks, "HOOKS", "", nick),
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

/// Words that reveal the room: its messages, topic and file, and its name where the request does not contain it.
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

/// A server with a closed room that has members, a history and a file.
struct Vault {
    server: Memory,
    /// The owner of the room, who has joined it.
    maker: usize,
    /// The other registered nicks, in the order of their registration.
    others: Vec<usize>,
    /// The ids of a message and of a file in the room.
    id: String,
    file: String,
}

/// Creates a server with a closed room and the registered nicks `others`. Of these, guest, writer and keeper are
/// invited. Each registration takes a while.
fn vault(is_closed: bool, others: &[&str]) -> Vault {
    let operator = Setting {
        name: "operator".to_owned(),
        value: "root".to_owned(),
    };
    let mut server = Memory::new(&[operator], usize::MAX, 0).expect("it is a setting");
    let mut come = |nick: &&str| {
        let peer = server.open().expect("a connection");
        ask(&mut server, peer, &format!("NICK {nick}"));
        ask(&mut server, peer, "REGISTER open sesame");
        peer
    };
    let maker = come(&"keyholder");
    let others: Vec<usize> = others.iter().map(come).collect();
    let id_of = |reply: String| {
        reply
            .split(' ')
            .nth(2)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    ask(&mut server, maker, "JOIN #vault");
    ask(&mut server, maker, "TOPIC gold");
    let id = id_of(ask(&mut server, maker, "MSG the treasure is here"));
    let file = id_of(ask(&mut server, maker, "UPLOAD map.txt 6\nburied"));
    let mut vault = Vault {
        server,
        maker,
        others,
        id,
        file,
    };
    vault.put_right(is_closed);
    vault
}

impl Vault {
    /// Restores the mode of the room and the invitations.
    fn put_right(&mut self, is_closed: bool) {
        let mode = if is_closed {
            "MODE #vault invite"
        } else {
            "MODE #vault open"
        };
        let lines = [
            "INVITE #vault guest",
            "INVITE #vault writer",
            "INVITE #vault keeper keeper",
            "UNINVITE #vault stranger",
        ];
        for line in [mode].iter().chain(&lines) {
            // Not every nick is registered in every test.
            ask(&mut self.server, self.maker, line);
        }
    }
}

/// Each role, with the number of its column in the document's table. Two roles share a column.
const ROLES: [(usize, &str); 6] = [
    (1, ""),
    (2, "stranger"),
    (3, "guest"),
    (4, "keyholder"),
    (4, "keeper"),
    (5, "root"),
];

/// Returns the rows of the document's table. A row for several requests is returned once for each of them.
fn documented() -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join("protocol.md")).expect("it is there");
    let lines = text
        .lines()
        .skip_while(|line| !line.starts_with("| request for a closed room "));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().replace('`', "")).collect()
    };
    let rows: Vec<Vec<String>> = rows.map(cells).collect();
    let each = |row: &Vec<String>| -> Vec<Vec<String>> {
        let (requests, answers) = row.split_first().expect("some cells");
        let row = |request: &str| [&[request.to_owned()], answers].concat();
        requests.split(", ").map(row).collect()
    };
    rows.iter().flat_map(each).collect()
}

/// Returns the requests that try a row of the document. The last line is the one tested. `ID` and `FILE` mean the
/// same as in [`rows`].
fn tried(row: &str) -> &'static str {
    match row {
        "JOIN" => "JOIN #vault 0",
        "JOIN with AS" => "JOIN #vault AS spy",
        "TELL" => "TELL #vault hi",
        "WHO" => "WHO #vault",
        "HISTORY" => "HISTORY #vault",
        "SEARCH" => "SEARCH #vault treasure",
        "FILES" => "FILES #vault",
        "TOPIC" => "TOPIC #vault",
        "TOPIC with a text" => "JOIN #vault\nTOPIC #vault mine",
        "SEEN" => "JOIN #vault AS spy\nSEEN #vault 1",
        "SEEN with AS" => "SEEN #vault 1 AS spy",
        "PART" => "JOIN #vault\nPART #vault",
        "MODE" => "MODE #vault",
        "MODE with a mode" => "MODE #vault open",
        "INVITES" => "INVITES #vault",
        "INVITE" => "INVITE #vault stranger",
        "UNINVITE" => "UNINVITE #vault writer",
        "HOOK" => "REVOKE ci\nHOOK ci #vault",
        "DOWNLOAD" => "DOWNLOAD %FILE",
        "REMOVE" => "REMOVE %ID",
        "EDIT" => "EDIT %ID mine",
        "REACT" => "REACT %ID 👍",
        "REACTS" => "REACTS %ID",
        _ => panic!("a row of the document that is not tried: {row}"),
    }
}

/// Returns the reply to the last line of `lines`: `yes` or a code.
fn answer(vault: &mut Vault, peer: usize, lines: &str) -> String {
    let server = &mut vault.server;
    // The message to remove is another user's, and new each time.
    let output = ask(server, vault.others[2], "TELL #vault the treasure is there");
    // Lines about invitations may come before it.
    let id = output
        .lines()
        .find_map(|line| line.strip_prefix("OK TELL "));
    let id = id
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or_default();
    let lines = lines.replace("%FILE", &vault.file).replace("%ID", id);
    let mut output = String::new();
    for line in lines.lines() {
        output = ask(server, peer, line);
    }
    ask(server, peer, "PART #vault");
    let verb = lines.lines().last().and_then(|line| line.split(' ').next());
    let verb = verb.unwrap_or_default();
    let (ok, err) = (format!("OK {verb}"), format!("ERR {verb} "));
    // It is the last line, or comes right after a file's bytes.
    if output.contains(&ok) {
        return "yes".to_owned();
    }
    let reply = output
        .lines()
        .find_map(|line| line.strip_prefix(&err)?.split(' ').next());
    let reply = reply.unwrap_or_else(|| panic!("{lines}: {output}"));
    reply.to_owned()
}

/// Tries each row of the document that is a command, in every role; `wanted` returns the expected reply.
fn try_everything(is_closed: bool, wanted: impl Fn(usize, &[String]) -> String) {
    let mut vault = vault(
        is_closed,
        &["stranger", "guest", "writer", "keeper", "root"],
    );
    let nobody = vault.server.open().expect("a connection");
    let [stranger, guest, _, keeper, root] = vault.others[..] else {
        panic!("five were named");
    };
    let roles = [
        (1, nobody),
        (2, stranger),
        (3, guest),
        (4, vault.maker),
        (4, keeper),
        (5, root),
    ];
    let mut tried_rows = 0;
    for row in documented().into_iter().filter(|row| !row[0].contains('/')) {
        for (column, peer) in roles {
            let found = answer(&mut vault, peer, tried(&row[0]));
            assert_eq!(found, wanted(column, &row), "{} in column {column}", row[0]);
            vault.put_right(is_closed);
        }
        tried_rows += 1;
    }
    assert!(tried_rows > 15, "{tried_rows} rows of the document");
}

#[test]
fn a_closed_room_answers_each_command_in_each_role_as_documented() {
    try_everything(true, |column, row| row[column].clone());
}

#[test]
fn in_an_open_room_everyone_has_the_rights_of_an_invited_nick() {
    try_everything(false, |column, row| match (column, row[column].as_str()) {
        // Without a nick, what needs one is refused; an operator may remove any message.
        (1, "need-nick") => "need-nick".to_owned(),
        (1, _) if row[0] == "SEEN" => "bad-syntax".to_owned(), // without a nick it has no reader
        (4, as_keeper) => as_keeper.to_owned(),
        (5, "yes") => "yes".to_owned(),
        _ => row[3].clone(),
    });
}

#[test]
fn every_verb_has_a_row() {
    for verb in Verb::ALL {
        assert!(rows().iter().any(|row| row.0 == *verb), "{verb} has none");
    }
}

#[test]
fn no_command_reveals_anything_of_a_closed_room_to_an_outsider() {
    for (verb, line, expected, nickless) in rows() {
        for (has_nick, is_operator) in [(true, false), (false, false), (true, true)] {
            let others: &[&str] = if is_operator { &["root"] } else { &[] };
            let Vault {
                mut server,
                maker: keeper,
                others,
                id,
                file,
            } = vault(true, others);
            let stranger = match others.first() {
                Some(operator) => *operator,
                None => server.open().expect("a connection"),
            };
            if has_nick && !is_operator {
                ask(&mut server, stranger, "NICK mallory");
            }
            let line = line.replace("ID", &id).replace("FILE", &file);
            // `FILES` and `MSG #vault` contain those words too; only ids are replaced.
            let line = match verb {
                Verb::Files => "FILES #vault".to_owned(),
                _ => line,
            };
            let answer = ask(&mut server, stranger, &line);
            let expected = if has_nick {
                expected.to_owned()
            } else if nickless == "need-nick" {
                format!("ERR {verb} need-nick")
            } else {
                nickless.to_owned()
            };
            // Other tests show what else an operator may do; here it is what an operator must not learn.
            assert!(
                is_operator || answer.starts_with(&expected),
                "{line}: {answer}, not {expected}"
            );
            let was_asked = line.contains("#vault");
            for secret in SECRETS {
                let is_own_word = was_asked && *secret == "#vault" || line.contains(secret);
                assert!(is_own_word || !answer.contains(secret), "{line}: {answer}");
            }
            // Nor is anything revealed of later messages.
            ask(&mut server, keeper, "MSG more treasure");
            let received = ask(&mut server, stranger, "PING");
            assert!(
                !received.contains("treasure") && !received.contains("#vault"),
                "{line}: {received}"
            );
        }
    }
}

/// Returns an HTTP request of the document, and the text that shows its success.
fn requested(row: &str) -> (&'static str, &'static str, &'static str) {
    match row {
        "GET /rooms/<room>" => ("GET /rooms/vault", "", "treasure"),
        "GET /rooms/<room>?q=" => ("GET /rooms/vault?q=treasure", "", "treasure"),
        "GET /rooms/<room>?follow" => ("GET /rooms/vault?after=0&follow", "", "treasure"),
        "GET /rooms/<room>/files" => ("GET /rooms/vault/files", "", "map.txt"),
        "POST /rooms/<room>" => ("POST /rooms/vault", "hello", "OK MSG"),
        "PUT /rooms/<room>/files/<name>" => ("PUT /rooms/vault/files/a.txt", "x", "OK UPLOAD"),
        "GET /files/<file>/<name>" => ("GET /files/2/map.txt", "", "buried"),
        _ => panic!("a row of the document that is not tried: {row}"),
    }
}

/// Returns the reply to an HTTP request, up to the text that shows its success.
fn http(chatd: &Chatd, request: &str, user: &str, body: &str, shown: &str) -> String {
    let mut stream = TcpStream::connect(chatd.address).expect("it listens");
    let patience = Some(crate::support::inbox::DEADLINE);
    stream.set_read_timeout(patience).expect("not zero");
    let user = match user {
        "" => String::new(),
        user => format!("Authorization: Basic {}\r\n", STANDARD.encode(user)),
    };
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{user}Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).expect("it reads");
    let mut answer = String::new();
    let mut piece = [0; 4096];
    // A stream without end is closed after its first words.
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        answer += &String::from_utf8_lossy(&piece[..count]);
        if request.contains("follow") && answer.contains(shown) {
            break;
        }
    }
    answer
}

/// Tries the rows of the document over HTTP, on a real server. Requests that are not about rooms must reveal nothing
/// of one.
#[test]
fn a_closed_room_answers_each_url_as_documented() {
    let flags = ["--operator", "root", "--announce-after", "1h"];
    let flags = flags.map(str::to_owned);
    let chatd = Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags).expect("it starts");
    let user = |nick: &str| match nick {
        "" => String::new(),
        nick => format!("{nick}:open sesame"),
    };
    let mut nicks = ROLES.map(|(_, nick)| nick).to_vec();
    nicks.retain(|nick| !nick.is_empty());
    for nick in nicks {
        let mut peer = crate::support::spawn::Peer::connect(chatd.address);
        peer.ask(&format!("NICK {nick}"), "OK NICK …");
        peer.ask("REGISTER open sesame", "OK REGISTER …");
        peer.ask("BYE", "OK BYE");
    }
    let mut maker = crate::support::spawn::Peer::connect(chatd.address);
    maker.ask("NICK keyholder open sesame", "OK NICK …");
    maker.ask("JOIN #vault", "OK JOIN #vault 0");
    let reply = maker.ask("MSG the treasure", "OK MSG <id> <time>");
    maker.send("UPLOAD map.txt 6\nburied");
    let file = maker.expect("OK UPLOAD <id> 6 <sha256>");
    let file = file.split(' ').nth(2).expect("its number").to_owned();
    maker.ask("MODE invite", "OK MODE #vault invite");
    maker.ask("INVITE guest", "OK INVITE #vault guest");
    maker.ask("INVITE keeper keeper", "OK INVITE #vault keeper");
    assert!(reply.starts_with("OK MSG "));
    let mut tried_rows = BTreeSet::new();
    for row in documented().into_iter().filter(|row| row[0].contains('/')) {
        let (request, body, shown) = requested(&row[0]);
        let request = request.replace("/files/2/", &format!("/files/{file}/"));
        tried_rows.insert(row[0].split('?').next().unwrap_or_default().to_owned());
        for (column, nick) in ROLES {
            let answer = http(&chatd, &request, &user(nick), body, shown);
            let status = answer.split(' ').nth(1).unwrap_or_default();
            assert_eq!(status, row[column], "{request} by {nick:?}: {answer}");
            let is_shown = answer.contains(shown);
            assert_eq!(
                is_shown,
                status.starts_with('2'),
                "{request} by {nick:?}: {answer}"
            );
        }
        // A wrong password, and a nick without one, have no rights.
        for user in ["guest:a guess", "guest:", "passer-by:"] {
            let answer = http(&chatd, &request, user, body, shown);
            assert!(!answer.contains(shown), "{request} by {user}: {answer}");
        }
    }
    // The URLs that are not in that table: none reveals the room.
    let text = std::fs::read_to_string(root().join("http.md")).expect("it is there");
    let rows = text
        .lines()
        .skip_while(|line| *line != "| request | does |");
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    let mut others = 0;
    for row in rows {
        let address = row.split('`').nth(1).unwrap_or_default();
        if tried_rows.contains(address.split('?').next().unwrap_or_default()) {
            continue;
        }
        others += 1;
        for nick in ["", "stranger", "root"] {
            let answer = http(&chatd, address, &user(nick), "", "");
            let secret = ["vault", "treasure", "buried"];
            let is_shown = secret.iter().any(|secret| answer.contains(secret));
            assert!(!is_shown, "{address} by {nick:?}: {answer}");
        }
    }
    assert_eq!((tried_rows.len(), others), (5, 8));
    let answer = http(&chatd, "GET /rooms", &user("guest"), "", "");
    assert!(answer.contains("#vault"), "{answer}");
}

/// The guest and the owner of a room exchange messages. Whatever other users request, even an operator, they do not
/// receive these messages or learn that they exist.
#[test]
fn only_the_two_parties_can_read_direct_messages() {
    let Vault {
        mut server,
        maker,
        others,
        ..
    } = vault(true, &["guest", "root"]);
    let (guest, root) = (others[0], others[1]);
    let reply = ask(&mut server, maker, "TELL guest the emerald is at tea");
    let id = reply.split(' ').nth(2).expect("its number").to_owned();
    assert!(id.parse::<u64>().is_ok(), "{reply}");
    assert!(ask(&mut server, guest, "PING").contains("MSG guest keyholder the emerald"));
    let mut lines: Vec<String> = rows().iter().map(|row| row.1.to_owned()).collect();
    for place in [
        "guest",
        "Guest",
        "keyholder",
        "@guest",
        "@",
        "#guest",
        "#@guest",
        "*",
    ] {
        let more = [
            "HISTORY", "SEARCH", "FILES", "WHO", "TOPIC", "SEEN", "JOIN", "PART", "MODE", "INVITES",
        ];
        for verb in more {
            let rest = match verb {
                "SEARCH" => " emerald",
                "SEEN" | "JOIN" => " 0",
                "HISTORY" => " after 0",
                _ => "",
            };
            lines.push(format!("{verb} {place}{rest}"));
        }
    }
    for line in lines {
        // What an operator may do to others is tested below.
        let ends = ["SHUTDOWN", "KICK", "BAN", "REMOVE"];
        for nick in [None, Some("mallory"), Some("root")] {
            if nick == Some("root") && ends.iter().any(|verb| line.starts_with(verb)) {
                continue;
            }
            let peer = server.open().expect("a connection");
            let password = if nick == Some("root") {
                " open sesame"
            } else {
                ""
            };
            if let Some(nick) = nick {
                let here = ask(&mut server, peer, &format!("NICK {nick}{password}"));
                // One of the lines registers it.
                if here.starts_with("ERR NICK need-password") {
                    ask(&mut server, peer, &format!("NICK {nick} open sesame"));
                }
            }
            let line = match line.split(' ').next() {
                Some("DOWNLOAD" | "REMOVE" | "EDIT" | "REACT" | "UNREACT" | "REACTS") => {
                    line.replace("ID", &id).replace("FILE", &id)
                }
                _ => line.clone(),
            };
            let answer = ask(&mut server, peer, &line);
            let is_own_word = line.contains("emerald");
            assert!(!answer.contains("at tea"), "{line} by {nick:?}: {answer}");
            assert!(
                is_own_word || !answer.contains("emerald"),
                "{line}: {answer}"
            );
            if line.starts_with("REMOVE") && nick.is_some() {
                assert!(answer.starts_with("ERR REMOVE no-such-file"), "{answer}");
            }
            let is_about_an_id = ["EDIT", "REACT", "UNREACT"]
                .iter()
                .any(|verb| line.starts_with(verb));
            if is_about_an_id && nick.is_some() {
                assert!(answer.contains(" no-such-id "), "{line}: {answer}");
            }
            ask(&mut server, peer, "BYE");
        }
    }
    let past = |server: &mut Memory, peer, nick| {
        let mut past = Vec::new();
        for line in ask(server, peer, &format!("HISTORY {nick}")).lines() {
            // Changes of the room meanwhile arrive live.
            if line.starts_with("PAST") || line.starts_with("OK HISTORY") {
                past.push(line.splitn(4, ' ').last().unwrap_or_default().to_owned());
            }
        }
        past
    };
    let both = ["MSG guest keyholder the emerald is at tea", "1"];
    assert_eq!(past(&mut server, maker, "keyholder"), both);
    assert_eq!(past(&mut server, guest, "guest"), both);
    let search = "SEARCH @ emerald";
    for party in [maker, guest] {
        let found = ask(&mut server, party, search);
        assert!(
            found.contains(both[0]) && found.contains("OK SEARCH 1"),
            "{found}"
        );
    }
    let eve = server.open().expect("a connection");
    ask(&mut server, eve, "NICK eve");
    ask(&mut server, eve, "REGISTER open sesame");
    for other in [root, eve] {
        assert!(ask(&mut server, other, search).contains("OK SEARCH 0"));
    }
    let answer = ask(&mut server, guest, &format!("REMOVE {id}"));
    assert!(answer.contains("ERR REMOVE not-allowed"), "{answer}");
    let answer = ask(&mut server, root, &format!("REMOVE {id}"));
    assert!(answer.contains(&format!("OK REMOVE {id}")) && !answer.contains("emerald"));
    let received = ask(&mut server, guest, "PING");
    assert!(
        received.contains(&format!("REMOVE guest root {id}\n")),
        "{received}"
    );
    let removed = format!("REMOVE guest root {id}");
    let both = ["MSG guest keyholder -", &removed, "2"];
    assert_eq!(past(&mut server, maker, "keyholder"), both);
    assert_eq!(past(&mut server, guest, "guest"), both);

    // The next owner of the nick has none of the messages, and cannot remove one; the other party still has them.
    let reply = ask(&mut server, guest, "TELL keyholder the ruby too");
    let id = reply
        .split("OK TELL ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let id = id.expect("its number").to_owned();
    ask(&mut server, guest, "REGISTER -");
    assert_eq!(past(&mut server, guest, "guest"), ["0"]);
    let answer = ask(&mut server, guest, &format!("REMOVE {id}"));
    assert!(answer.contains("ERR REMOVE no-such-file"), "{answer}");
    assert!(ask(&mut server, guest, "SEARCH @ ruby").contains("OK SEARCH 0"));
    ask(&mut server, guest, "REGISTER open sesame");
    assert_eq!(past(&mut server, guest, "guest"), ["0"]);
    assert!(ask(&mut server, guest, "SEARCH @ ruby").contains("OK SEARCH 0"));
    assert!(ask(&mut server, maker, "SEARCH @ ruby").contains("OK SEARCH 1"));
    let answer = ask(&mut server, guest, &format!("REMOVE {id}"));
    assert!(answer.contains("ERR REMOVE no-such-file"), "{answer}");
    let both = [both[0], both[1], "MSG keyholder guest the ruby too", "3"];
    assert_eq!(past(&mut server, maker, "keyholder"), both);
}

/// Returns a connection with a nick that is registered with the password `open sesame`.
fn registered(chatd: &Chatd, nick: &str) -> crate::support::spawn::Peer {
    let mut peer = crate::support::spawn::Peer::connect(chatd.address);
    peer.ask(&format!("NICK {nick}"), "OK NICK …");
    peer.ask("REGISTER open sesame", "OK REGISTER …");
    peer
}

#[test]
fn a_search_of_all_rooms_over_http_finds_what_the_asker_may_read() {
    let chatd = Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &[]).expect("it starts");
    let mut ann = registered(&chatd, "ann");
    ann.ask("MSG a treasure", "OK MSG …");
    ann.ask("JOIN #vault", "OK JOIN …");
    ann.ask("MODE invite", "OK MODE …");
    ann.ask("MSG the treasure", "OK MSG …");
    let address = "GET /rooms?q=treasure";
    for stranger in ["", "eve:"] {
        let answer = http(&chatd, address, stranger, "", "");
        assert!(answer.contains("MSG #lobby ann a treasure"), "{answer}");
        assert!(!answer.contains("#vault"), "{answer}");
    }
    let answer = http(&chatd, address, "ann:open sesame", "", "");
    assert!(answer.contains("MSG #vault ann the treasure"), "{answer}");
}

/// Tries to read direct messages over HTTP: they are found only by their two nicks, with `/rooms/@?q=` and the right
/// password.
#[test]
fn no_url_leads_others_to_direct_messages() {
    let chatd = Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &[]).expect("it starts");
    let (mut ann, _ben) = (registered(&chatd, "ann"), registered(&chatd, "ben"));
    let reply = ann.ask("TELL ben the emerald", "OK TELL <id> <time>");
    let id = reply.split(' ').nth(2).expect("its number").to_owned();
    let text = std::fs::read_to_string(root().join("http.md")).expect("it is there");
    let rows = text
        .lines()
        .skip_while(|line| *line != "| request | does |");
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    let mut addresses: BTreeSet<String> = rows
        .filter_map(|row| row.split('`').nth(1))
        .map(|address| address.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    for place in ["ann", "ben", "@ben", "%40ben", "%23ben"] {
        for rest in ["", "?after=0", "?q=emerald", "/files", "/events", "?json"] {
            addresses.insert(format!("GET /rooms/{place}{rest}"));
        }
    }
    for place in [
        "/rooms",
        "/rooms/@",
        "/rooms/%40",
        "/rooms/lobby",
        "/rooms/*",
    ] {
        for words in [
            "emerald",
            "@+emerald",
            "%40%20emerald",
            "@%0aSEARCH+@+emerald",
        ] {
            addresses.insert(format!("GET {place}?q={words}"));
        }
    }
    addresses.insert(format!("GET /files/{id}/x"));
    addresses.insert(format!("GET /files/{id}"));
    assert!(addresses.len() > 35, "{addresses:?}");
    for address in addresses {
        // The message does not contain the word `SEARCH`.
        let is_search = ["GET /rooms/@?q=", "GET /rooms/%40?q="]
            .iter()
            .any(|search| address.starts_with(search) && !address.contains("SEARCH"));
        for user in ["", "ben:open sesame", "ben:", "eve:"] {
            let answer = http(&chatd, &address, user, "", "");
            let is_own = is_search && user == "ben:open sesame";
            assert_eq!(
                answer.contains("the emerald"),
                is_own,
                "{address} by {user}: {answer}"
            );
        }
    }
}

#[test]
fn an_invited_nick_receives_everything() {
    let Vault {
        mut server,
        maker: keeper,
        others,
        file,
        ..
    } = vault(true, &["guest"]);
    let guest = others[0];
    assert!(ask(&mut server, guest, "HISTORY #vault").contains("the treasure is here"));
    assert!(ask(&mut server, guest, "SEARCH #vault treasure").contains("OK SEARCH 1"));
    assert!(ask(&mut server, guest, "SEARCH * treasure").contains("OK SEARCH 1"));
    assert!(ask(&mut server, guest, "FILES #vault").contains("map.txt"));
    assert!(ask(&mut server, guest, &format!("DOWNLOAD {file}")).contains("buried"));
    assert!(ask(&mut server, guest, "ROOMS").contains("#vault"));
    assert!(ask(&mut server, guest, "JOIN #vault 0").contains("the treasure is here"));
    assert!(ask(&mut server, guest, "WHO").contains("keyholder"));
    ask(&mut server, keeper, "MSG welcome");
    assert!(ask(&mut server, guest, "PING").contains("welcome"));
}
