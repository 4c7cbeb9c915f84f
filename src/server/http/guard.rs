//! Refuses requests before anything is done: those from web pages of other sites (`Host`, `Origin`,
//! `Sec-Fetch-Site`), and those that use features of HTTP that this server does not support.

use std::net::{IpAddr, Ipv6Addr};

use hyper::header::{
    CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    IF_MATCH, ORIGIN, TRANSFER_ENCODING,
};
use hyper::{Method, StatusCode, Uri, Version};

use super::reply::Problem;
use crate::protocol::Code;
use crate::protocol::text::clean;

/// The host names of the server, besides addresses.
#[derive(Debug)]
pub struct Names(Vec<String>);

impl Names {
    /// Collects the machine's own name, `localhost` and `hosts`.
    pub fn new(hosts: &[String]) -> Self {
        let machine = rustix::system::uname();
        let machine = machine.nodename().to_string_lossy().to_ascii_lowercase();
        let local = format!("{}.local", machine.split('.').next().unwrap_or_default());
        let mut names = vec!["localhost".to_owned(), machine, local];
        names.extend(hosts.iter().map(|host| host.to_ascii_lowercase()));
        Self(names)
    }

    /// Returns the names and this machine's addresses, for a certificate.
    pub fn for_certificate(&self) -> Vec<String> {
        let mut names = self.0.clone();
        // A name that is not valid in DNS cannot be in a certificate.
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

/// The head of a request.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// The request target.
    pub uri: &'a Uri,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// Whether something other than the host name proves that the request is meant for this server. If so, any host
    /// name is accepted, because containers and proxies have their own names for a server.
    pub is_meant: bool,
}

/// Rejects a request that may come from another site's page.
///
/// # Errors
/// 400 without a `Host`, 421 for a host that is not the server's (someone may have pointed a name at this address), 403
/// for another site's page.
pub fn check(head: Head<'_>, names: &Names) -> Result<(), Problem> {
    let Head {
        method, headers, ..
    } = head;
    let mut hosts = headers.get_all(HOST).iter();
    let given = match (hosts.next(), hosts.next()) {
        // HTTP/1.0 has no Host; browsers always send one, so a request without it is not from a browser.
        (None, _) if head.version == Version::HTTP_10 => "",
        (None, _) => {
            return Err(bad(
                "an HTTP/1.1 request needs a Host header (RFC 9112, 3.2)",
            ));
        }
        (Some(host), None) => text(host)?,
        (Some(_), Some(_)) => return Err(bad("there is more than one Host header")),
    };
    // If the request target names a host, that takes precedence over the header (RFC 9112, 3.2.2).
    let host = head
        .uri
        .authority()
        .map_or(given, |authority| authority.as_str());
    let (name, _) = split_port(host);
    if !host.is_empty() && !head.is_meant && !names.knows(name) {
        return Err(Problem::unknown_host(&clean(name)));
    }
    let word = |name: &str| headers.get(name).map_or(Ok(""), text);
    let is_navigation = matches!(*method, Method::GET | Method::HEAD)
        && word("sec-fetch-mode")? == "navigate"
        && word("sec-fetch-dest")? == "document";
    if is_navigation {
        return Ok(());
    }
    let foreign = || {
        let text = "a web page of another site may not use this server; if this is the server's own page behind a proxy, let the proxy forward the Host header, or start chatd with --host NAME";
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

/// Returns the name or address that a request is for, without its port.
pub fn host_of(head: Head<'_>) -> String {
    let given = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let target = head.uri.authority().map(|authority| authority.as_str());
    let (name, _) = split_port(target.or(given).unwrap_or_default());
    clean(name).into_owned()
}

/// Refuses a request that this server would understand only in part.
///
/// # Errors
/// When the request uses a feature that this server does not support.
pub fn check_understood(head: Head<'_>) -> Result<(), Problem> {
    let Head {
        method, headers, ..
    } = head;
    let refuse = |status, text: &str| Err(Problem::new(status, Code::BadSyntax, text));
    let mut codings = words_of(headers, &TRANSFER_ENCODING);
    if let Some(first) = codings.next()
        && (first != "chunked" || codings.next().is_some())
    {
        let text = "the only Transfer-Encoding that this server knows is chunked";
        return refuse(StatusCode::NOT_IMPLEMENTED, text);
    }
    if !matches!(*method, Method::POST | Method::PUT) {
        return Ok(());
    }
    if headers.contains_key(CONTENT_RANGE) {
        let text = "a part of a file cannot be uploaded (Content-Range); send all of it";
        return refuse(StatusCode::BAD_REQUEST, text);
    }
    if words_of(headers, &CONTENT_ENCODING).any(|coding| coding != "identity") {
        let text = "a compressed body is not supported; send it without Content-Encoding";
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
    }
    // Each message and each file is new, so no tag can match it.
    if headers.contains_key(IF_MATCH) {
        return Err(Problem::unmatched());
    }
    let kind = headers.get(CONTENT_TYPE).map_or(Ok(""), text)?;
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("multipart/form-data") && !head.is_meant {
        let text = "this server accepts no forms (curl -F). Send a file with curl -u NICK: -T FILE .../rooms/ROOM/files/, \
            or its lines as a message with curl -u NICK: --data-binary @FILE .../rooms/ROOM";
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
    }
    Ok(())
}

/// Returns the words of a list in a header, in lower case.
fn words_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> + 'a {
    let values = headers.get_all(name).iter();
    let lists = values.map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    lists.flat_map(|list| {
        let words = list.split(',').map(|word| word.trim().to_owned());
        words.filter(|word| !word.is_empty()).collect::<Vec<_>>()
    })
}

/// Returns whether a page from `origin` (RFC 6454) is this server's own. It is if the origin is the host of the
/// request, or a name that the operator has configured.
fn is_own(origin: &str, host: &str, names: &Names) -> bool {
    let (authority, port) = match origin.split_once("://") {
        Some(("http", authority)) => (authority, 80),
        Some(("https", authority)) => (authority, 443),
        _ => return false, // also `null`
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
    // The first three names are on every machine (such as `localhost`), and another program may serve a page under
    // them on another port. Any other name is one that the operator has configured.
    let is_given = names
        .0
        .iter()
        .skip(3)
        .any(|known| known.eq_ignore_ascii_case(name));
    (is_same_host && same_port) || is_given
}

/// Splits a name or address from the port after it.
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
        check_request(method, Version::HTTP_11, "/", lines, expected);
    }

    #[track_caller]
    fn check_request(
        method: &Method,
        version: Version,
        target: &str,
        lines: &[(&'static str, &'static str)],
        expected: u16,
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let names = Names::new(&["chat.example".into()]);
        let head = Head {
            method,
            version,
            uri: &target.parse().unwrap(),
            headers: &headers,
            is_meant: false,
        };
        let checked = check(head, &names).and_then(|()| check_understood(head));
        let status = checked.map_or_else(|problem| problem.status.as_u16(), |()| 200);
        assert_eq!(status, expected, "{method} {target} {lines:?}");
    }

    #[test]
    fn the_host_of_a_target_counts_and_not_the_header() {
        let good = [("host", "localhost")];
        let bad = [("host", "evil.example")];
        let check = |target, lines: &[_], expected| {
            check_request(&Method::GET, Version::HTTP_11, target, lines, expected);
        };
        check("http://evil.example/health", &good, 421);
        check("http://localhost@evil.example/", &good, 421);
        check("http://localhost:5002/health", &good, 200);
        check("http://chat.example/health", &bad, 200);
        check("http://localhost/", &[], 400);
        check_request(&Method::GET, Version::HTTP_10, "/", &[], 200);
    }

    #[test]
    fn a_partly_understood_request_is_refused() {
        let check = |method, line: (&'static str, &'static str), expected| {
            check_headers(method, &[("host", "localhost"), line], expected);
        };
        for (line, expected) in [
            (("transfer-encoding", "chunked"), 200),
            (("transfer-encoding", "Chunked"), 200),
            (("transfer-encoding", "gzip, chunked"), 501),
            (("transfer-encoding", "chunked, chunked"), 501),
            (("content-range", "bytes 0-1/2"), 400),
            (("content-encoding", "gzip"), 415),
            (("content-encoding", "identity"), 200),
            (("content-type", "Multipart/Form-Data; boundary=x"), 415),
            (("content-type", "multipart/mixed"), 200),
            (("content-type", "application/x-www-form-urlencoded"), 200),
            (("if-match", "*"), 412),
        ] {
            check(&Method::POST, line, expected);
            check(&Method::PUT, line, expected);
        }
        check(&Method::GET, ("content-range", "bytes 0-1/2"), 200);
        check(&Method::GET, ("transfer-encoding", "gzip, chunked"), 501);
    }

    #[test]
    fn the_server_is_addressed_by_an_address_or_a_known_name() {
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
        check_headers(&Method::GET, &[], 400);
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
        // HTTP/1.0 may omit Host.
        let origin = [("origin", "http://")];
        check_request(&Method::POST, Version::HTTP_10, "/", &origin, 403);
    }

    #[test]
    fn another_site_may_only_link_to_the_page() {
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
