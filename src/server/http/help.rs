//! `GET /help`: commands to copy, with the host name of the request.

use hyper::HeaderMap;
use hyper::header::HOST;

use super::Client;
use crate::protocol::text::clean;

/// Returns the help text: commands of one line each, which work without changes.
pub fn text(client: &Client, headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = match host {
        Some(host) if !host.is_empty() => clean(host).into_owned(),
        _ => client.local.to_string(),
    };
    let scheme = if client.is_secure { "https" } else { "http" };
    let url = format!("{scheme}://{host}");
    // curl rejects a self-signed certificate, such as the server's own.
    let is_own = client.is_tls && client.server.config.certificate.is_none();
    let curl = if is_own { "curl -k" } else { "curl" };
    let (who, read, note) = match client.server.config.password {
        None => (
            "NICK:",
            curl.to_owned(),
            "NICK is any free nick; a nick with a password is NICK:PASSWORD.",
        ),
        Some(_) => (
            "NICK:PASSWORD",
            format!("{curl} -u NICK:PASSWORD"),
            "NICK is any free nick with this server's PASSWORD, or a registered one with its own.",
        ),
    };
    let say = format!("{curl} -u {who}");
    let (name, port) = name_and_port(&host, client.local.port());
    let talk = if client.is_tls { "ncat --ssl" } else { "nc" };
    format!(
        "Send a message        {say} -d 'build done' {url}/rooms/lobby\n\
         Send several lines    make 2>&1 | {say} --data-binary @- {url}/rooms/lobby\n\
         Read the history      {read} {url}/rooms/lobby\n\
         Follow a room         {read} -N '{url}/rooms/lobby?follow'\n\
         Search                {read} '{url}/rooms/lobby?q=WORDS'\n\
         List the rooms        {read} {url}/rooms\n\
         List the files        {read} {url}/rooms/lobby/files\n\
         Send a file           {say} -T FILE {url}/rooms/lobby/files/\n\
         Fetch a file          {read} -f -OJ {url}/files/NUMBER\n\
         Talk in a terminal    {talk} {name} {port}\n\
         Talk in a browser     {url}/\n\
         {note} {}\n\
         In a script, add --fail-with-body: then curl's exit code shows whether it worked.\n",
        client.server.config.keeping()
    )
}

/// Splits `host` into the arguments for `nc`. An IPv6 address loses its brackets. If `host` has no port, the client
/// may have come through a proxy, so the result has the server's own port, `local`.
fn name_and_port(host: &str, local: u16) -> (&str, u16) {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().unwrap_or(local)),
        _ => (host, local),
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    (bare.unwrap_or(name), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_has_arguments_that_nc_accepts() {
        for (host, expected) in [
            ("localhost:5002", ("localhost", 5002)),
            ("10.0.0.1", ("10.0.0.1", 7)),
            ("[::1]:5002", ("::1", 5002)),
            ("[fe80::1]", ("fe80::1", 7)),
            ("chat.example:x", ("chat.example", 7)),
        ] {
            assert_eq!(name_and_port(host, 7), expected, "{host}");
        }
    }
}
