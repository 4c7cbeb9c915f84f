//! `chatc --ssh`, which sshd starts instead of a shell for a user who connects over ssh.
//!
//! It runs on the server, under a user of the system, for people who are not users of that system. So it accepts only
//! a list of commands and flags. They can name no file of the machine, no program, no other server, and no nick that
//! has not added the client's key. Standard input and output are those of the ssh client.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::failure::Failure;
use super::server::{Server, first_line};
use crate::client::{Addresses, Error};
use crate::protocol::Nick;
use crate::protocol::ssh::{SEAL_FIELD, SEVERAL_NICKS, login_token, seal};

/// The signature of a header of the PROXY protocol, version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What can be run: the command, its flags with a value, and its flags without one. The first is `chatc` itself.
const COMMANDS: &[(&str, &[&str], &[&str])] = &[
    ("", &["--room"], &["--plain"]),
    ("tail", &["--room", "--since"], &["--json"]),
    ("send", &["--room", "--reply"], &[]),
    (
        "history",
        &["--room", "--count", "--before", "--after"],
        &["--json"],
    ),
    ("search", &["--room"], &["--all", "--json"]),
    ("who", &["--room"], &["--json"]),
    ("rooms", &[], &["--json"]),
    ("upload", &["--room", "--name"], &[]),
    ("download", &[], &[]),
    ("files", &["--room"], &[]),
];

/// The answer to programs that copy files, and to a command that names a path.
pub const HOW_TO_COPY: &str = "by ssh, files go through standard input and output: \
                               upload - --name NAME < FILE, and download ID > FILE";

/// The text of `help`.
pub const HELP: &str = "\
With ssh -t, or without a command, this is the screen of chatc. Type /help there.
Commands:
  send '#ops' TEXT        send a message; - is standard input
  tail ops --json         print the events of a room as they happen (--since 1h)
  history ops             print the messages of a room
  search WORDS            find messages
  who ops, rooms, files   list people, rooms, files
  upload - < FILE         upload standard input (--room, --name)
  download ID > FILE      print a file
  -- --room ops           send each line of standard input to a room
  tail --help             the flags of a command
After each of these, --nick NICK says which of the nicks that have added your key you are. Without a command, ssh itself
needs -- before a flag: ssh -t chat@HOST -- --nick NICK
";

/// The command line that a client of ssh has given.
#[derive(Debug, PartialEq, Eq)]
pub enum Given {
    /// The words of a command line of `chatc`, and the nick that the client has named.
    Words(Vec<String>, Option<Nick>),
    /// The client wants to see [`HELP`].
    Help,
    /// The command is not allowed; the text says what to do instead.
    Refused(String),
    /// The client speaks SFTP, and the refusal must be an SFTP message.
    Sftp,
}

/// Finds the server, and the nick that belongs to the key. `words` come from `chatd keys`: the nick, the fingerprint of
/// the key, the file of the secret, and the address of chatd. `connection` is what sshd says about the connection
/// (`SSH_CONNECTION`). `asked` is the nick that the client has named; chatd refuses a nick that has not added the
/// key.
///
/// # Errors
/// [`Failure::Impossible`] if sshd has not started this program in this way, or the client has to name a nick;
/// [`Failure::File`].
pub fn server(words: &[&str], connection: &str, asked: Option<&Nick>) -> Result<Server, Failure> {
    let &[nick, fingerprint, secret_file, host] = words else {
        return Err(Failure::Impossible(
            "--ssh is for sshd: chatd keys prints the command",
        ));
    };
    let nick = match (asked, nick) {
        (Some(asked), _) => asked.clone(),
        (None, SEVERAL_NICKS) => {
            return Err(Failure::Impossible(
                "several nicks have added this key: choose one of them by adding -- --nick NICK after the host",
            ));
        }
        (None, nick) => Nick::parse(nick).map_err(|_| Failure::Impossible("--ssh needs a nick"))?,
    };
    let secret = first_line(Path::new(secret_file))?;
    if secret.is_empty() {
        return Err(Failure::Impossible(
            "the file of the shared secret is empty",
        ));
    }
    let header = header(connection, &secret).ok_or(Failure::Impossible(
        "--ssh needs SSH_CONNECTION, which sshd sets",
    ))?;
    let addresses: Addresses = host.parse().map_err(Error::from)?;
    Ok(Server {
        addresses: addresses.with_secrets().with_preamble(&header),
        nick: Some(nick.as_str().to_owned()),
        nick_is_asked: true,
        password: Some(login_token(&secret, &nick, fingerprint)),
        // A client with the key of a registered nick needs no password of the server.
        server_password: None,
        rooms: Vec::new(),
        allows_files: false,
    })
}

/// Reads a command of an ssh client. The command is one text, since ssh joins the words of its command line with
/// spaces; quotes are ordinary characters.
pub fn given(command: &str) -> Given {
    let mut words: Vec<&str> = command.trim_start_matches(' ').split(' ').collect();
    let mut nick = "";
    if let ["--nick", named, ..] = words[..]
        && !named.is_empty()
        && !named.starts_with('-')
    {
        nick = named;
        words.drain(..2);
    }
    // Spaces between the words of a message are kept.
    if words.first() != Some(&"send") {
        words.retain(|word| !word.is_empty());
    }
    // Like chatc, accepts flags before the command: --room OPS send TEXT.
    if let ["--room", room, command, ..] = words[..]
        && COMMANDS.iter().any(|known| known.0 == command)
    {
        drop(words.splice(..3, [command, "--room", room]));
    }
    let name = match words.first() {
        None => "",
        Some(word) if word.starts_with('-') => "",
        Some(word) => word,
    };
    if matches!(words.first(), Some(&("help" | "--help" | "-h"))) {
        return Given::Help;
    }
    let Some((_, with_value, switches)) = COMMANDS.iter().find(|command| command.0 == name) else {
        let program = name.rsplit('/').next().unwrap_or_default();
        return match program {
            "sftp-server" | "internal-sftp" => Given::Sftp,
            "scp" | "sftp" | "rsync" => Given::Refused(HOW_TO_COPY.to_owned()),
            _ => Given::Refused(format!("{name} is not a command; help lists them")),
        };
    };
    let mut out: Vec<String> = Vec::new();
    let mut positionals = Vec::new();
    let mut rest = words.into_iter().skip(usize::from(!name.is_empty()));
    while let Some(word) = rest.next() {
        if with_value.contains(&word) || word == "--nick" {
            let value = rest.next().unwrap_or_default();
            if value.is_empty() || value.starts_with('-') {
                return Given::Refused(format!("{word} needs a value"));
            }
            if word == "--nick" {
                nick = value;
                continue;
            }
            out.extend([word.to_owned(), unquoted(value).to_owned()]);
        } else if switches.contains(&word) || ["--help", "-h"].contains(&word) {
            out.push(word.to_owned());
        } else if word == "--" && !name.is_empty() {
            out.push(word.to_owned());
            positionals.extend(rest.by_ref());
        } else if word.starts_with('-') && word != "-" {
            return Given::Refused(format!(
                "{word} cannot be used over ssh; help lists what can"
            ));
        } else if positionals.is_empty() {
            positionals.push(unquoted(word));
        } else {
            positionals.push(word);
        }
    }
    if let (true, Some(word)) = (name.is_empty(), positionals.first()) {
        return Given::Refused(format!("{word} is not a command; help lists them"));
    }
    match name {
        "upload" if positionals.is_empty() => positionals.push("-"),
        "upload" if positionals != ["-"] => return Given::Refused(HOW_TO_COPY.to_owned()),
        "download" if positionals.iter().any(|id| id.parse::<u64>().is_err()) => {
            return Given::Refused(HOW_TO_COPY.to_owned());
        }
        "download" => drop(out.splice(..0, ["--out".to_owned(), "-".to_owned()])),
        _ => {}
    }
    let name = (!name.is_empty()).then(|| name.to_owned());
    let positionals = positionals.into_iter().map(str::to_owned);
    let words = name.into_iter().chain(out).chain(positionals).collect();
    match Nick::parse(nick) {
        Ok(nick) => Given::Words(words, Some(nick)),
        Err(_) if nick.is_empty() => Given::Words(words, None),
        Err(_) => Given::Refused(format!("{nick} is not a nick")),
    }
}

/// Removes the quotes around the name of a room. Users write them because a shell on the server would need them.
fn unquoted(word: &str) -> &str {
    let inside = |quote: char| word.strip_prefix(quote)?.strip_suffix(quote);
    let room = inside('\'').or_else(|| inside('"'));
    room.filter(|room| room.starts_with('#')).unwrap_or(word)
}

/// Returns the header that reports to chatd the address of the ssh client, and that its connection is encrypted: the
/// PROXY protocol, version 2. With the header, bans and limits apply to the client, and the client does not get the
/// privileges of this machine. The header is sealed with the secret, because other programs on this machine could
/// claim the same.
fn header(connection: &str, secret: &str) -> Option<Vec<u8>> {
    let words: Vec<&str> = connection.split(' ').collect();
    let &[client, client_port, server, server_port] = &words[..] else {
        return None;
    };
    let place = |ip: &str, port: &str| {
        // A link-local address names its interface.
        let ip: IpAddr = ip.split('%').next()?.parse().ok()?;
        Some(SocketAddr::new(ip.to_canonical(), port.parse().ok()?))
    };
    let (client, server) = (place(client, client_port)?, place(server, server_port)?);
    let mut rest = Vec::new();
    let family = match (client.ip(), server.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            rest.extend(from.octets().into_iter().chain(to.octets()));
            0x11
        }
        (from, to) => {
            let octets = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            rest.extend(octets(from).into_iter().chain(octets(to)));
            0x21
        }
    };
    rest.extend(client.port().to_be_bytes());
    rest.extend(server.port().to_be_bytes());
    // PP2_TYPE_SSL: the client's connection is encrypted, and it has shown no certificate.
    rest.extend([0x20, 0, 5, 1, 0, 0, 0, 1]);
    rest.extend(SEAL_FIELD);
    let length = u16::try_from(rest.len() + 32).ok()?.to_be_bytes();
    let mut header = [SIGNATURE, &[0x21, family], &length, &rest].concat();
    header.extend(seal(secret, &header));
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ssh::is_sealed;

    fn words(command: &str) -> String {
        match given(command) {
            Given::Words(words, None) => words.join("|"),
            Given::Words(words, Some(nick)) => format!("{nick}: {}", words.join("|")),
            other => panic!("{command}: {other:?}"),
        }
    }

    #[test]
    fn the_commands_of_chatc_are_passed_on() {
        for (command, expected) in [
            ("", ""),
            ("--room ops", "--room|ops"),
            ("--plain  --room '#ops'", "--plain|--room|#ops"),
            ("send #ops build done", "send|#ops|build|done"),
            ("send '#ops' it's  done", "send|#ops|it's||done"),
            ("send --reply 7 ops -- -x", "send|--reply|7|--|ops|-x"),
            ("send ops -", "send|ops|-"),
            ("--room ops send hi", "send|--room|ops|hi"),
            ("tail ops --json --since 1h", "tail|--json|--since|1h|ops"),
            ("tail --help", "tail|--help"),
            ("upload", "upload|-"),
            ("upload - --name a.txt", "upload|--name|a.txt|-"),
            ("download 7 8", "download|--out|-|7|8"),
            ("rooms", "rooms"),
            ("--nick ann", "ann: "),
            ("--nick ann send ops  hi", "ann: send|ops||hi"),
            ("--nick ann --room ops send hi", "ann: send|--room|ops|hi"),
            ("--room ops --nick ann", "ann: --room|ops"),
            ("send --nick ann ops hi", "ann: send|ops|hi"),
        ] {
            assert_eq!(words(command), expected, "{command}");
        }
        assert_eq!(given("help"), Given::Help);
        assert_eq!(given("--help"), Given::Help);
    }

    #[test]
    fn commands_that_are_not_allowed_are_refused() {
        for command in [
            "sh",
            "/bin/sh -c id",
            "bot -- sh",
            "run -- id",
            "servers",
            "manual",
            "completions bash",
            "example.org:5002",
            "--host example.org send ops hi",
            "send --host example.org ops hi",
            "send --nick=bob ops hi",
            "--nick",
            "--nick --host example.org",
            "--nick #ops rooms",
            "--nick bob sh",
            "--nick bob send --host example.org ops hi",
            "tail --password-file /etc/passwd",
            "--password-file /etc/passwd",
            "--ask-password",
            "--raw",
            "--ssh bob",
            "--room ops example.org",
            "--room ops -- example.org",
            "upload /etc/passwd",
            "upload - /etc/passwd",
            "upload -- /etc/passwd",
            "upload -- - /etc/passwd",
            "upload --name a b",
            "download 7 --out /etc/x",
            "download 7 /etc/x",
            "download -- --out",
            "upload --name --file /etc/passwd",
            "--room --host example.org",
            "scp -t .",
            "scp -f /etc/passwd",
        ] {
            assert!(matches!(given(command), Given::Refused(_)), "{command}");
        }
        let hint = Given::Refused(HOW_TO_COPY.into());
        assert_eq!(given("scp -t ."), hint);
        for command in ["/usr/lib/openssh/sftp-server -l INFO", "internal-sftp"] {
            assert_eq!(given(command), Given::Sftp);
        }
    }

    #[test]
    fn chatd_learns_the_address_of_the_client() {
        let four = header("203.0.113.9 4711 192.0.2.1 22", "secret").unwrap();
        let mut expected = [SIGNATURE, &[0x21, 0x11, 0, 55]].concat();
        expected.extend([203, 0, 113, 9, 192, 0, 2, 1]);
        expected.extend([0x12, 0x67, 0, 22, 0x20, 0, 5, 1, 0, 0, 0, 1, 0xe0, 0, 32]);
        assert_eq!(&four[..expected.len()], expected);
        assert!(is_sealed("secret", &four));
        let six = header("fe80::9%eth0 4711 fe80::1%eth0 22", "secret").unwrap();
        assert_eq!(&six[12..16], [0x21, 0x21, 0, 79]);
        for wrong in ["", "UNKNOWN 65535 UNKNOWN 65535", "1.2.3.4 5 6.7.8.9"] {
            assert_eq!(header(wrong, "secret"), None, "{wrong}");
        }
    }
}
