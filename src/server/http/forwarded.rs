//! The headers in which a proxy describes its client. The server believes those of a trusted proxy (`--proxy`). From
//! any other proxy, they only show that the request does not come from this machine.

use std::net::{IpAddr, SocketAddr};

use hyper::StatusCode;
use hyper::header::HeaderMap;

use super::reply::Problem;
use crate::protocol::Code;

const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";

/// Returns whether the headers say that a proxy forwarded the request.
pub fn is_passed_on(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        let name = name.as_str();
        matches!(name, "forwarded" | "via" | "x-real-ip") || name.starts_with("x-forwarded-")
    })
}

/// Returns the client's address as a trusted proxy reports it: the last address in `X-Forwarded-For` that does not
/// belong to a trusted proxy. The client itself may have written the addresses before that. Returns `None` if the
/// header is missing.
///
/// # Errors
/// 400 if the proxy wrote something other than an address.
pub fn client(
    headers: &HeaderMap,
    is_proxy: impl Fn(IpAddr) -> bool,
) -> Result<Option<IpAddr>, Problem> {
    let mut found = None;
    let values: Vec<_> = headers.get_all(FOR).iter().collect();
    for value in values.into_iter().rev() {
        let value = value.to_str().map_err(|_| bad())?;
        for entry in value.rsplit(',') {
            let address = address(entry.trim()).ok_or_else(bad)?;
            found = Some(address);
            if !is_proxy(address) {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// Returns whether the client's connection to a trusted proxy uses TLS.
pub fn is_secure(headers: &HeaderMap) -> bool {
    let last = headers.get_all(PROTO).iter().next_back();
    let last = last.and_then(|value| value.to_str().ok()?.rsplit(',').next());
    last.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
}

/// Parses an address; some proxies append a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse::<IpAddr>();
    let with_port = || text.parse::<SocketAddr>().map(|addr| addr.ip());
    let address = address.or_else(|_| with_port()).ok()?;
    Some(address.to_canonical())
}

fn bad() -> Problem {
    let text = "the proxy's X-Forwarded-For does not end with an address";
    Problem::new(StatusCode::BAD_REQUEST, Code::BadSyntax, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[&'static str], expected: Result<Option<&str>, u16>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(FOR, value.parse().unwrap());
        }
        let is_proxy =
            |address: IpAddr| address.is_loopback() || address == IpAddr::from([10, 0, 0, 1]);
        let found = client(&headers, is_proxy).map_err(|problem| problem.status.as_u16());
        let expected = expected.map(|text| text.map(|text| text.parse().unwrap()));
        assert_eq!(found, expected, "{values:?}");
    }

    #[test]
    fn the_last_address_that_is_not_a_proxy_s_counts() {
        check(&[], Ok(None));
        check(&["203.0.113.9"], Ok(Some("203.0.113.9")));
        check(&["198.51.100.1, 203.0.113.9"], Ok(Some("203.0.113.9")));
        check(&["203.0.113.9, 10.0.0.1"], Ok(Some("203.0.113.9")));
        check(
            &["198.51.100.1", "203.0.113.9,127.0.0.1"],
            Ok(Some("203.0.113.9")),
        );
        check(&["10.0.0.1"], Ok(Some("10.0.0.1")));
        check(&["203.0.113.9:4711"], Ok(Some("203.0.113.9")));
        check(&["[2001:db8::1]:4711"], Ok(Some("2001:db8::1")));
        check(&["[2001:db8::1]"], Ok(Some("2001:db8::1")));
        check(&["::ffff:203.0.113.9"], Ok(Some("203.0.113.9")));
        // What the client itself wrote is ignored.
        check(&["<script>, 203.0.113.9"], Ok(Some("203.0.113.9")));
        for wrong in [
            "",
            "unknown",
            "203.0.113.9,",
            "1.2.3.4.5",
            "203.0.113.9, 127.0.0.1x",
        ] {
            check(&[wrong], Err(400));
        }
    }
}
