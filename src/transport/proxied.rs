//! The header of the PROXY protocol, versions 1 and 2, which a proxy sends before the bytes of its client. HAProxy's
//! `proxy-protocol.txt` specifies it.
//!
//! The server looks for a header only on connections from a trusted proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
    /// A header of this many bytes, with the client's address. There is no address if the proxy itself is the client.
    Whole(usize, Option<IpAddr>),
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
        Header::Whole(end + 2, Some(address.to_canonical()))
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
    let address = match (command, family) {
        // LOCAL: the proxy itself is the client. An address that is not an IP address is ignored.
        (0x20, _) | (0x21, 0x00 | 0x31 | 0x32) => None,
        (0x21, 0x11) if length >= 12 => rest
            .first_chunk::<4>()
            .map(|from| IpAddr::V4(Ipv4Addr::from(*from))),
        (0x21, 0x21) if length >= 36 => rest
            .first_chunk::<16>()
            .map(|from| IpAddr::V6(Ipv6Addr::from(*from)).to_canonical()),
        _ => return Header::Wrong,
    };
    Header::Whole(16 + length, address)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that every prefix of the header is unclear, and that bytes after the header are not taken as part of
    /// it.
    #[track_caller]
    fn check(header: &[u8], expected: Option<&str>) {
        let address = expected.map(|text| text.parse().unwrap());
        for count in 0..header.len() {
            assert_eq!(read(&header[..count]), Header::Unclear, "{count}");
        }
        let all = [header, b"NICK ann\n"].concat();
        assert_eq!(read(&all), Header::Whole(header.len(), address));
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
