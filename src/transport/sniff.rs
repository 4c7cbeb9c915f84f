//! Detects a client's protocol from the first bytes that it sends.

/// The protocol that the first bytes belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Too few bytes to tell; they do not contain a whole line.
    Unclear,
    /// Lines of the chat protocol, or an attempt at them.
    Lines,
    /// A TLS handshake (RFC 8446, 5.1: a record of type 22, version 3.x).
    Tls,
    /// An HTTP/1 request (RFC 9112, 3).
    Http,
}

/// Longest request line of HTTP: RFC 9112, 3 recommends accepting at least 8000 bytes.
pub const REQUEST_LINE_BYTES_MAX: usize = 8192;

/// The methods of RFC 9110, 9.3, and PATCH (RFC 5789).
const METHODS: [&[u8]; 9] = [
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH",
];

/// Detects the protocol that begins with `bytes`.
///
/// A method alone is a word that a person may type: only a whole line that ends in ` HTTP/1.0` or ` HTTP/1.1` is HTTP.
/// An empty line is a person who pressed Enter and waits for a greeting.
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
        _ => Protocol::Lines,
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

    #[test]
    fn every_beginning_of_a_request_line_is_unclear() {
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
