//! Detects a client's protocol from the first bytes that it sends.

use crate::dialect::irc::begins_irc;
use crate::protocol::line::LINE_BYTES_MAX;

/// The protocol to which the first bytes of a connection belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// There are too few bytes to decide, and no whole line.
    Unclear,
    /// Lines of the chat protocol, or an attempt to write them.
    Lines,
    /// Lines of IRC.
    Irc,
    /// Lines that may be IRC. The next line shows whether they are.
    LinesOrIrc,
    /// A TLS handshake (RFC 8446, 5.1: a record of type 22, version 3.x).
    Tls,
    /// An HTTP/1 request (RFC 9112, 3).
    Http,
}

/// The maximum length of an HTTP request line in bytes. RFC 9112, 3 recommends to accept at least 8000.
pub const REQUEST_LINE_BYTES_MAX: usize = 8192;

/// The methods of RFC 9110, 9.3, and PATCH (RFC 5789).
const METHODS: [&[u8]; 9] = [
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH",
];

/// Detects the protocol that begins with `bytes`.
///
/// A person may type the name of an HTTP method as a word, so only a whole line that ends in a space and `HTTP/1.0` or
/// `HTTP/1.1` is HTTP. An empty line counts as a line of the chat protocol: a person has pressed Enter and waits for a
/// greeting.
///
/// ```
/// use plainchat::transport::sniff::{Protocol, detect};
/// assert_eq!(detect(b"GET /rooms/ops HTTP/1.1\r\n"), Protocol::Http);
/// assert_eq!(detect(b"GET lunch\n"), Protocol::Lines);
/// assert_eq!(detect(b"GET lun"), Protocol::Unclear);
/// ```
pub fn detect(bytes: &[u8]) -> Protocol {
    match bytes {
        [] | [0x16] => return Protocol::Unclear,
        [0x16, 3, ..] => return Protocol::Tls,
        _ => {}
    }
    let is_long = bytes.len() >= REQUEST_LINE_BYTES_MAX;
    let line_end = memchr::memchr(b'\n', bytes);
    let line = bytes.get(..line_end.unwrap_or(bytes.len()));
    let line = line.unwrap_or_default();
    let is_method = |method: &&[u8]| {
        let rest = line.strip_prefix(*method);
        rest.map_or(method.starts_with(line), |rest| {
            rest.first().is_none_or(|b| *b == b' ')
        })
    };
    let may_be_http = METHODS.iter().any(is_method);
    match line_end {
        None if may_be_http && !is_long => Protocol::Unclear,
        Some(_) if may_be_http && ends_in_version(line) => Protocol::Http,
        _ => tell_irc(bytes),
    }
}

/// The maximum number of lines with `NICK` or `PASS` at the beginning of an IRC connection.
const NICK_LINES_MAX: usize = 3;

/// The maximum number of bytes that are looked at before the protocol is decided: the lines with `NICK` or `PASS`,
/// and one more. Without this limit, a client could send empty lines between them forever.
const UNDECIDED_BYTES_MAX: usize = (NICK_LINES_MAX + 1) * LINE_BYTES_MAX;

/// Distinguishes IRC from the lines of the chat protocol. `CAP` and `USER` exist only in IRC. IRC clients that begin
/// with `NICK` or `PASS` end their lines in CR LF, and send the next line at once.
fn tell_irc(bytes: &[u8]) -> Protocol {
    let undecided = if bytes.len() < UNDECIDED_BYTES_MAX {
        Protocol::LinesOrIrc
    } else {
        Protocol::Lines
    };
    let mut nick_lines = 0;
    let mut rest = bytes;
    loop {
        let end = memchr::memchr(b'\n', rest);
        let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        rest = end.map_or(&[][..], |end| rest.get(end + 1..).unwrap_or_default());
        let (line, has_cr) = match line.strip_suffix(b"\r") {
            Some(line) => (line, true),
            None => (line, false),
        };
        let mut words = line.split(|b| *b == b' ');
        let word = words.find(|word| !word.is_empty());
        let word = word.unwrap_or_default().to_ascii_uppercase();
        let is_begun = |of: &&[u8]| of.starts_with(&word);
        let Some(_) = end else {
            let may_be = [&b"CAP"[..], b"USER", b"WEBIRC", b"NICK", b"PASS"]
                .iter()
                .any(is_begun);
            let is_short = line.len() < LINE_BYTES_MAX;
            return if may_be && is_short {
                undecided
            } else {
                Protocol::Lines
            };
        };
        match &*word {
            b"CAP" | b"USER" | b"WEBIRC" if begins_irc(line) => return Protocol::Irc,
            b"NICK" | b"PASS" if has_cr && nick_lines < NICK_LINES_MAX => nick_lines += 1,
            b"" if nick_lines > 0 => {}
            _ => return Protocol::Lines,
        }
        if rest.is_empty() {
            return undecided;
        }
    }
}

fn ends_in_version(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.ends_with(b" HTTP/1.0") || line.ends_with(b" HTTP/1.1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: impl AsRef<[u8]>, expected: Protocol) {
        let bytes = bytes.as_ref();
        assert_eq!(detect(bytes), expected, "{}", bytes.escape_ascii());
    }

    #[test]
    fn a_client_hello_is_tls() {
        check(b"\x16\x03\x01\x02\x00\x01", Protocol::Tls);
        check(b"\x16\x03", Protocol::Tls);
        check(b"\x16\x02\x01", Protocol::Lines);
    }

    #[test]
    fn a_request_line_is_http() {
        check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Protocol::Http);
        check("GET / HTTP/1.0\n", Protocol::Http);
        check("OPTIONS * HTTP/1.1\r\n", Protocol::Http);
        check("CONNECT a:80 HTTP/1.1\r\n", Protocol::Http);
        check("PATCH /a b c HTTP/1.1\r\n", Protocol::Http);
    }

    #[test]
    fn typed_words_are_not_http() {
        for line in [
            "\n",
            "\r\n",
            "\r\nGET / HTTP/1.1\r\n",
            "GET lunch\n",
            "GETTING lunch HTTP/1.1\n",
            "get / HTTP/1.1\n",
            "MSG GET / HTTP/1.1\n",
            "GET / HTTP/2.0\r\n",
            "GET HTTP/1.1x\n",
            "NICK a\n",
            "H",
            "HELLO\n",
        ] {
            let expected = if line == "H" {
                Protocol::Unclear
            } else {
                Protocol::Lines
            };
            check(line, expected);
        }
    }

    /// The first bytes that real clients send. Each client sends them in one write (see `irc.md`).
    const IRC_CLIENTS: &[(&str, &str)] = &[
        ("WeeChat", "CAP LS 302\r\nNICK ann\r\nUSER ann 0 * :ann\r\n"),
        (
            "WeeChat with a password",
            "PASS x\r\nCAP LS 302\r\nNICK ann\r\nUSER ann 0 * :ann\r\n",
        ),
        ("irssi", "CAP LS 302\r\nJOIN :\r\n"),
        (
            "irssi without capabilities",
            "PASS x\r\nNICK ann\r\nUSER ann ann localhost :ann\r\n",
        ),
        (
            "HexChat",
            "CAP LS 302\r\nNICK ann\r\nUSER ann 0 * :realname\r\n",
        ),
        ("Konversation", "CAP LS 302\r\nPASS :x\r\nNICK ann\r\n"),
        (
            "The Lounge",
            "WEBIRC secret thelounge host 10.0.0.1\r\nCAP LS 302\r\n",
        ),
        (
            "matterbridge",
            "PASS x\r\nCAP LS 302\r\nNICK ann\r\nUSER ann * * :r\r\n",
        ),
        ("KVIrc", "CAP LS\r\nPING :host\r\n"),
        ("irc3", "USER ann host srv :ann\r\nNICK ann\r\n"),
        ("ii", "NICK ann\r\nUSER ann localhost host :ann\r\n"),
        (
            "sic",
            "PASS x\r\nNICK ann\r\nUSER ann localhost host :ann\r\n",
        ),
        ("lower case", "cap ls 302\r\nnick ann\r\n"),
        ("typed", "NICK ann\r\n\r\nUSER a b c d\n"),
    ];

    #[test]
    fn each_irc_client_is_detected_by_its_first_lines_wherever_they_are_cut() {
        for (client, bytes) in IRC_CLIENTS {
            let mut has_been = Protocol::Unclear;
            for n in 0..=bytes.len() {
                let now = detect(&bytes.as_bytes()[..n]);
                let is_open = matches!(now, Protocol::Unclear | Protocol::LinesOrIrc);
                let was_irc = has_been == Protocol::Irc;
                assert!(
                    if was_irc {
                        now == Protocol::Irc
                    } else {
                        is_open || now == Protocol::Irc
                    },
                    "{client}, {n} bytes: {now:?}"
                );
                has_been = now;
            }
            assert_eq!(has_been, Protocol::Irc, "{client}");
        }
    }

    #[test]
    fn scripts_and_people_are_not_taken_for_irc_clients() {
        for line in [
            "NICK ann\n",
            "NICK ann\nUSER a b c d\r\n",
            "PASS x\nNICK ann\n",
            "NICK ann\r\nMSG hi\r\n",
            "NICK ann\r\nPASS x\r\nNICK b\r\nNICK c\r\n",
            "USER #lobby bob\r\n",
            "CAP\r\n",
            "CAPTAIN x\r\n",
            "CAP hello\r\n",
            "MSG NICK\r\n",
            "CHAT\n",
            "NICKx",
        ] {
            check(line, Protocol::Lines);
        }
        for line in [
            "NICK ann\r\n",
            "NI",
            "PASS x\r\nNICK a",
            "user a b c d",
            "NICK ann\r\nMS",
        ] {
            let expected = if line.ends_with("MS") {
                Protocol::Lines
            } else {
                Protocol::LinesOrIrc
            };
            check(line, expected);
        }
        check(
            format!("NICK {}", "a".repeat(LINE_BYTES_MAX)),
            Protocol::Lines,
        );
        let empty_lines = "\r\n".repeat(UNDECIDED_BYTES_MAX);
        check(format!("NICK ann\r\n{empty_lines}"), Protocol::Lines);
    }

    #[test]
    fn an_incomplete_request_line_is_unclear() {
        let line = b"DELETE /rooms/ops HTTP/1.1\r";
        for n in 0..=line.len() {
            check(&line[..n], Protocol::Unclear);
        }
        check(b"\x16", Protocol::Unclear);
        let long = [b"GET /".as_slice(), &vec![b'a'; REQUEST_LINE_BYTES_MAX]].concat();
        check(long, Protocol::Lines);
        check(vec![b'\n'; REQUEST_LINE_BYTES_MAX], Protocol::Lines);
    }
}
