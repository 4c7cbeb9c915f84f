//! Which push services may be contacted (RFC 8030). A browser chooses the address to which the server then sends, so
//! without this list a client could make the server send requests to any address.

use super::fixed::PUSH_ENDPOINT_BYTES_MAX;

/// The hosts of the push services of Chrome, Firefox, Edge and Safari. A `.` in front means any host below the name.
const HOSTS: [&str; 5] = [
    ".googleapis.com",
    ".google.com",
    ".push.services.mozilla.com",
    ".notify.windows.com",
    ".push.apple.com",
];

/// The settings of notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The operator's address, which push services are told (RFC 8292, 2.1): `mailto:` or `https:`.
    pub contact: String,
    /// More push services, each as `HOST:PORT`.
    pub services: Vec<String>,
}

/// The address to which a notification is sent, split into its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// The host, and the port if it is not 443.
    pub authority: &'a str,
    /// The host.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The path and query.
    pub path: &'a str,
    /// Whether the operator has named this push service, so that it may be on the local network.
    pub is_named: bool,
}

impl Push {
    /// Splits an address into its parts. Returns `None` if the server may not send to it.
    pub fn endpoint<'a>(&self, address: &'a str) -> Option<Endpoint<'a>> {
        let is_plain = address.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain || address.len() > PUSH_ENDPOINT_BYTES_MAX || address.contains('#') {
            return None;
        }
        let rest = address.strip_prefix("https://")?;
        let (authority, path) = rest.split_at(rest.find('/')?);
        let is_named = self.services.iter().any(|service| service == authority);
        if !is_named && !is_of_a_browser(authority) {
            return None;
        }
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "443"));
        Some(Endpoint {
            authority,
            host,
            port: port.parse().ok()?,
            path,
            is_named,
        })
    }
}

/// Returns whether a host is a push service of a browser.
fn is_of_a_browser(host: &str) -> bool {
    let is_name = |label: &str| {
        let is_inner =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && label.bytes().all(is_inner)
    };
    host.split('.').all(is_name) && HOSTS.iter().any(|known| host.ends_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_push_services_of_browsers_and_those_that_the_operator_names_are_contacted() {
        let push = Push {
            contact: "mailto:root@example.org".into(),
            services: vec!["localhost:8443".into()],
        };
        let host = |address: &str| push.endpoint(address).map(|found| found.host.to_owned());
        for known in [
            "fcm.googleapis.com",
            "jmt17.google.com",
            "updates.push.services.mozilla.com",
            "wns2-par02p.notify.windows.com",
            "web.push.apple.com",
        ] {
            assert_eq!(
                host(&format!("https://{known}/a?b=c")).as_deref(),
                Some(known)
            );
        }
        assert_eq!(
            host("https://localhost:8443/a").as_deref(),
            Some("localhost")
        );
        let long = format!("https://web.push.apple.com/{}", "x".repeat(1024));
        for refused in [
            "http://fcm.googleapis.com/a",
            "https://fcm.googleapis.com",
            "https://fcm.googleapis.com:80/a",
            "https://fcm.googleapis.com:443@127.0.0.1/a",
            "https://127.0.0.1/.googleapis.com",
            "https://127.0.0.1?.googleapis.com/",
            "https://127.0.0.1\\.googleapis.com/",
            "https://x@fcm.googleapis.com/a",
            "https://googleapis.com.evil.example/a",
            "https://evilgoogleapis.com/a",
            "https://.googleapis.com/a",
            "https://a..googleapis.com/a",
            "https://FCM.googleapis.com/a",
            "https://fcm.googleapis.com./a",
            "https://fcm.googleapis.com/a b",
            "https://fcm.googleapis.com/a#b",
            "https://fcm.googleapis.com/a\r\nHost: x",
            "https://localhost/a",
            "https://localhost:8444/a",
            "https://[::1]:8443/a",
            "https://169.254.169.254/a",
            "",
            &long,
        ] {
            assert_eq!(host(refused), None, "{refused}");
        }
    }
}
