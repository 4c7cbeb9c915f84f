//! The header of the PROXY protocol, versions 1 and 2, which a proxy sends before the bytes of its client. HAProxy's
//! `proxy-protocol.txt` specifies it.
//!
//! The server looks for a header only on connections from a trusted proxy, and from `chatc --ssh`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::protocol::ssh::is_sealed;

/// The first bytes of every header of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The first bytes of every header of version 1.
const WORD: &[u8] = b"PROXY ";

/// The maximum length of a header of version 1 in bytes, with its line ending.
const LINE_BYTES_MAX: usize = 107;

/// The maximum number of bytes in a header of version 2 after the first 16. They are addresses and the name of a
/// certificate.
const REST_BYTES_MAX: usize = 2048;

/// The result of looking for a header at the beginning of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Too few bytes have arrived to decide.
    Unclear,
    /// There is no header: the bytes are those of the client.
    Absent,
    /// The bytes are neither a valid header nor those of a client.
    Wrong,
    /// A header of this many bytes, and the client. The client is `None` if the proxy itself is the client.
    Whole(usize, Option<Client>),
}

/// The client of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// Whether the client's connection to the proxy is encrypted, as the proxy says.
    pub is_secure: bool,
}

/// Parses the header at the beginning of `bytes`.
pub fn read(bytes: &[u8]) -> Header {
    let is_like = |start: &[u8]| {
        let both = bytes.len().min(start.len());
        bytes.get(..both) == start.get(..both)
    };
    if is_like(SIGNATURE) {
        read_binary(bytes)
    } else if is_like(WORD) {
        read_line(bytes)
    } else {
        Header::Absent
    }
}

/// Parses the header of `chatc --ssh` at the beginning of `bytes`: version 2, with a seal made with `secret`. Bytes of
/// other programs on this machine are no header, and a header without that seal is wrong.
pub fn read_sealed(bytes: &[u8], secret: &str) -> Header {
    let both = bytes.len().min(SIGNATURE.len());
    if bytes.get(..both) != SIGNATURE.get(..both) {
        return Header::Absent;
    }
    match read_binary(bytes) {
        Header::Whole(count, client) => match bytes.get(..count) {
            Some(header) if is_sealed(secret, header) => Header::Whole(count, client),
            _ => Header::Wrong,
        },
        other => other,
    }
}

fn read_line(bytes: &[u8]) -> Header {
    let seen = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = memchr::memmem::find(seen, b"\r\n") else {
        let is_whole = bytes.len() >= LINE_BYTES_MAX || memchr::memchr(b'\n', seen).is_some();
        return if is_whole {
            Header::Wrong
        } else {
            Header::Unclear
        };
    };
    let line = seen.get(..end).and_then(|line| str::from_utf8(line).ok());
    let words: Vec<&str> = line.unwrap_or_default().split(' ').collect();
    let port = |text: &str| text.parse::<u16>().is_ok();
    let address = match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => return Header::Whole(end + 2, None),
        ["PROXY", "TCP4", from, to, a, b]
            if port(a) && port(b) && to.parse::<Ipv4Addr>().is_ok() =>
        {
            from.parse().map(IpAddr::V4).ok()
        }
        ["PROXY", "TCP6", from, to, a, b]
            if port(a) && port(b) && to.parse::<Ipv6Addr>().is_ok() =>
        {
            from.parse().map(IpAddr::V6).ok()
        }
        _ => None,
    };
    address.map_or(Header::Wrong, |address| {
        let address = address.to_canonical();
        // Version 1 has no field for this.
        let is_secure = false;
        Header::Whole(end + 2, Some(Client { address, is_secure }))
    })
}

fn read_binary(bytes: &[u8]) -> Header {
    let Some((head, rest)) = bytes.split_at_checked(16) else {
        return Header::Unclear;
    };
    let [.., command, family, high, low] = *head else {
        return Header::Wrong;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > REST_BYTES_MAX {
        return Header::Wrong;
    }
    let Some(rest) = rest.get(..length) else {
        return Header::Unclear;
    };
    let (address, more) = match (command, family) {
        // LOCAL: the proxy itself is the client. An address that is not an IP address is ignored.
        (0x20, _) | (0x21, 0x00 | 0x31 | 0x32) => (None, None),
        (0x21, 0x11) => (
            rest.first_chunk::<4>()
                .map(|from| IpAddr::V4(Ipv4Addr::from(*from))),
            Some(rest.get(12..)),
        ),
        (0x21, 0x21) => (
            rest.first_chunk::<16>()
                .map(|from| IpAddr::V6(Ipv6Addr::from(*from)).to_canonical()),
            Some(rest.get(36..)),
        ),
        _ => return Header::Wrong,
    };
    let is_secure = match more {
        Some(None) => return Header::Wrong, // the addresses are not complete
        Some(Some(more)) => says_secure(more),
        None => false,
    };
    let client = address.map(|address| Client { address, is_secure });
    Header::Whole(16 + length, client)
}

/// Returns whether one of the fields after the addresses says that the client uses TLS (`PP2_TYPE_SSL` with the bit
/// `PP2_CLIENT_SSL`).
fn says_secure(mut fields: &[u8]) -> bool {
    while let Some((&[kind, high, low], rest)) = fields.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some((value, rest)) = rest.split_at_checked(length) else {
            return false;
        };
        if kind == 0x20 {
            return value.first().is_some_and(|client| client & 1 != 0);
        }
        fields = rest;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ssh::{SEAL_FIELD, seal};

    /// Checks that every prefix of the header is unclear, and that bytes after the header are not taken as part of
    /// it.
    #[track_caller]
    fn check(header: &[u8], expected: Option<&str>) {
        let client = expected.map(|text| Client {
            address: text.trim_end_matches(" secure").parse().unwrap(),
            is_secure: text.ends_with(" secure"),
        });
        for count in 0..header.len() {
            assert_eq!(read(&header[..count]), Header::Unclear, "{count}");
        }
        let all = [header, b"NICK ann\n"].concat();
        assert_eq!(read(&all), Header::Whole(header.len(), client));
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    #[test]
    fn both_versions_name_the_client() {
        check(
            b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 5002\r\n",
            Some("203.0.113.9"),
        );
        check(
            b"PROXY TCP6 2001:db8::9 2001:db8::1 4711 5002\r\n",
            Some("2001:db8::9"),
        );
        check(b"PROXY UNKNOWN\r\n", None);
        check(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None);
        let four = [203, 0, 113, 9, 192, 0, 2, 1, 1, 2, 3, 4];
        check(&binary(0x21, 0x11, &four), Some("203.0.113.9"));
        // With extra data after the addresses.
        check(
            &binary(0x21, 0x11, &[&four[..], &[4, 0, 1, 0]].concat()),
            Some("203.0.113.9"),
        );
        let more = |fields: &[u8]| binary(0x21, 0x11, &[&four[..], fields].concat());
        // As HAProxy's send-proxy-v2-ssl writes it, after another field.
        let ssl = [4, 0, 1, 0, 0x20, 0, 6, 5, 0, 0, 0, 0, 0x21];
        check(&more(&ssl), Some("203.0.113.9 secure"));
        check(&more(&[0x20, 0, 5, 0, 0, 0, 0, 0]), Some("203.0.113.9"));
        check(&more(&[0x20, 0, 0]), Some("203.0.113.9"));
        check(&more(&[0x20, 0, 9, 1]), Some("203.0.113.9"));
        for header in [&ssl[..], &[]] {
            let wrong = more(header);
            assert_eq!(read_sealed(&wrong, "secret"), Header::Wrong);
        }
        let mut sealed = more(&[&[0x20, 0, 5, 1, 0, 0, 0, 1], &SEAL_FIELD[..], &[0; 32]].concat());
        sealed.truncate(sealed.len() - 32);
        sealed.extend(seal("secret", &sealed));
        check(&sealed, Some("203.0.113.9 secure"));
        for count in 0..sealed.len() {
            assert_eq!(read_sealed(&sealed[..count], "secret"), Header::Unclear);
        }
        assert_eq!(read_sealed(&sealed, "secret"), read(&sealed));
        assert_eq!(read_sealed(&sealed, "other"), Header::Wrong);
        let version_1 = b"PROXY TCP4 203.0.113.9 192.0.2.1 1 2\r\n";
        assert_eq!(read_sealed(version_1, "secret"), Header::Absent);
        let mut six = [0; 36];
        six[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        check(&binary(0x21, 0x21, &six), Some("2001:db8::"));
        check(&binary(0x20, 0x00, b""), None);
        check(&binary(0x20, 0x11, &four), None);
        check(&binary(0x21, 0x31, &[0; 216]), None);
    }

    #[test]
    fn a_missing_header_is_distinguished_from_a_malformed_one() {
        for own in [
            &b"NICK ann\n"[..],
            b"GET / HTTP/1.1\r\n",
            b"\x16\x03\x01",
            b"\r\nx",
            b"PROXYx",
        ] {
            assert_eq!(read(own), Header::Absent, "{}", own.escape_ascii());
        }
        let long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
        for wrong in [
            &b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 5002\n"[..],
            b"PROXY TCP4 203.0.113.999 192.0.2.1 4711 5002\r\n",
            b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 70000\r\n",
            b"PROXY TCP4 2001:db8::9 2001:db8::1 4711 5002\r\n",
            b"PROXY TCP4 203.0.113.9\r\n",
            b"PROXY \r\n",
            b"PROXY \xff\r\n",
            &long,
            &binary(0x11, 0x11, &[0; 12]),
            &binary(0x22, 0x11, &[0; 12]),
            &binary(0x21, 0x11, &[0; 11]),
            &binary(0x21, 0x21, &[0; 35]),
            &binary(0x21, 0x41, &[0; 36]),
            &binary(0x21, 0x11, &[0; 3000]),
        ] {
            assert_eq!(read(wrong), Header::Wrong, "{}", wrong.escape_ascii());
        }
    }
}
