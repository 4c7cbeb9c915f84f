//! Which requests a web page of somebody else's may not make: `Host`, `Origin` and `Sec-Fetch-Site`.

use std::net::{IpAddr, Ipv6Addr};

use hyper::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Method, StatusCode};

use super::reply::Problem;
use crate::protocol::Code;

/// The names under which the server may be called, besides addresses.
#[derive(Debug)]
pub struct Names(Vec<String>);

impl Names {
    /// The machine's own, `localhost`, and `hosts`.
    pub fn new(hosts: &[String]) -> Self {
        let machine = rustix::system::uname();
        let machine = machine.nodename().to_string_lossy().to_ascii_lowercase();
        let local = format!("{}.local", machine.split('.').next().unwrap_or_default());
        let mut names = vec!["localhost".to_owned(), machine, local];
        names.extend(hosts.iter().map(|host| host.to_ascii_lowercase()));
        Self(names)
    }

    /// The names and this machine's addresses.
    pub fn for_certificate(&self) -> Vec<String> {
        let mut names = self.0.clone();
        // What is no name in DNS cannot stand in a certificate.
        names.retain(|name| {
            name.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
        });
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        names.extend(
            interfaces
                .iter()
                .map(|interface| interface.ip().to_string()),
        );
        names
    }

    fn knows(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_v6 = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .is_some_and(|host| host.parse::<Ipv6Addr>().is_ok());
        is_v6
            || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4())
            || self.0.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// Refuses what a page that is not the server's own may have sent.
///
/// # Errors
/// 400 without a `Host`, 421 for one that is not the server's (a name that somebody has pointed at this
/// address), 403 for a foreign page.
pub fn check(method: &Method, headers: &HeaderMap, names: &Names) -> Result<(), Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    // HTTP/1.0 knows no Host; a browser always sends it, so what has none is no browser.
    let host = match (hosts.next(), hosts.next()) {
        (None, _) => "",
        (Some(host), None) => text(host)?,
        (Some(_), Some(_)) => return Err(bad("there is more than one Host")),
    };
    let (name, _) = split_port(host);
    if !host.is_empty() && !names.knows(name) {
        let text = format!(
            "this server is not known as {}; chatd --host {} makes it so",
            crate::protocol::text::clean(name),
            crate::protocol::text::clean(name)
        );
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            Code::NotAllowed,
            text,
        ));
    }
    let word = |name: &str| headers.get(name).map_or(Ok(""), text);
    let is_navigation = matches!(*method, Method::GET | Method::HEAD)
        && word("sec-fetch-mode")? == "navigate"
        && word("sec-fetch-dest")? == "document";
    if is_navigation {
        return Ok(());
    }
    let foreign = || {
        let text = "a page of another site may not ask this server; behind a proxy, have it pass the Host as it is, or start chatd with --host";
        Problem::new(StatusCode::FORBIDDEN, Code::NotAllowed, text)
    };
    if word("sec-fetch-site")? == "cross-site" {
        return Err(foreign());
    }
    for origin in headers.get_all(ORIGIN) {
        if !is_own(text(origin)?, host, names) {
            return Err(foreign());
        }
    }
    Ok(())
}

/// Whether a page from `origin` (RFC 6454) is this server's: it came from where it asks now, or from a name
/// that the operator has given.
fn is_own(origin: &str, host: &str, names: &Names) -> bool {
    let (authority, port) = match origin.split_once("://") {
        Some(("http", authority)) => (authority, 80),
        Some(("https", authority)) => (authority, 443),
        _ => return false, // `null` too
    };
    let (own_name, own_port) = split_port(host);
    let (name, given) = split_port(authority);
    let is_same_host = name.eq_ignore_ascii_case(own_name) && !name.is_empty();
    let same_port = match (given, own_port) {
        (None, None) => true,
        (Some(given), Some(own)) => given == own,
        (Some(given), None) => given == port,
        (None, Some(own)) => own == port,
    };
    // Of names that every machine has, any other program may have a page on another port.
    let is_given = names
        .0
        .iter()
        .skip(3)
        .any(|known| known.eq_ignore_ascii_case(name));
    (is_same_host && same_port) || is_given
}

/// A name or address, and the port after it.
fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (authority, None),
        },
        _ => (authority, None),
    }
}

fn text(value: &HeaderValue) -> Result<&str, Problem> {
    value.to_str().map_err(|_| bad("a header is not ASCII"))
}

fn bad(text: &'static str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, Code::BadSyntax, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_headers(method: &Method, lines: &[(&'static str, &'static str)], expected: u16) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let names = Names::new(&["chat.example".into()]);
        let status = check(method, &headers, &names)
            .map_or_else(|problem| problem.status.as_u16(), |()| 200);
        assert_eq!(status, expected, "{method} {lines:?}");
    }

    #[test]
    fn an_address_and_a_known_name_are_the_server() {
        for host in [
            "127.0.0.1:5002",
            "10.1.2.3",
            "[::1]:5002",
            "[fe80::1]",
            "localhost:1",
            "LOCALHOST",
            "chat.example",
            "chat.example.:80",
        ] {
            check_headers(&Method::GET, &[("host", host)], 200);
        }
        check_headers(&Method::GET, &[], 200);
        for host in [
            "evil.example:5002",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::1",
            "chat.example@evil",
            "1.2.3",
            "::1",
        ] {
            check_headers(&Method::GET, &[("host", host)], 421);
        }
        check_headers(
            &Method::GET,
            &[("host", "localhost"), ("host", "localhost")],
            400,
        );
    }

    #[test]
    fn a_foreign_page_is_refused() {
        let own = ("host", "127.0.0.1:5002");
        for origin in [
            "http://127.0.0.1:5002",
            "https://127.0.0.1:5002",
            "https://chat.example",
            "http://chat.example:8080",
        ] {
            check_headers(&Method::POST, &[own, ("origin", origin)], 200);
        }
        for origin in [
            "null",
            "",
            "http://evil.example",
            "http://127.0.0.1:3000",
            "http://127.0.0.1",
            "http://localhost:5002",
            "file://",
            "http://127.0.0.1:5002.evil.example",
            "http://",
        ] {
            check_headers(&Method::POST, &[own, ("origin", origin)], 403);
            check_headers(&Method::GET, &[own, ("origin", origin)], 403);
        }
        check_headers(
            &Method::POST,
            &[("host", "chat.example"), ("origin", "https://chat.example")],
            200,
        );
        check_headers(
            &Method::POST,
            &[("host", "[::1]"), ("origin", "http://[::1]")],
            200,
        );
        check_headers(
            &Method::POST,
            &[("host", "[::1]:80"), ("origin", "http://[::1]")],
            200,
        );
        check_headers(&Method::POST, &[("origin", "http://")], 403);
    }

    #[test]
    fn a_link_may_be_followed_and_nothing_else_from_another_site() {
        let own = ("host", "localhost");
        let cross = ("sec-fetch-site", "cross-site");
        let link = [
            own,
            cross,
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        check_headers(&Method::GET, &link, 200);
        check_headers(&Method::POST, &link, 403);
        check_headers(&Method::GET, &[own, cross], 403);
        check_headers(
            &Method::GET,
            &[
                own,
                cross,
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "iframe"),
            ],
            403,
        );
        check_headers(&Method::GET, &[own, ("sec-fetch-site", "same-origin")], 200);
        check_headers(&Method::GET, &[own, ("sec-fetch-site", "none")], 200);
    }
}
