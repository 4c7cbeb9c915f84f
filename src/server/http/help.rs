//! `GET /help`: what may be typed, with the host that was asked.

use hyper::HeaderMap;
use hyper::header::HOST;

use super::Client;
use crate::protocol::text::clean;

/// One-liners that work as they stand.
pub fn text(client: &Client, headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = match host {
        Some(host) if !host.is_empty() => clean(host).into_owned(),
        _ => client.local.to_string(),
    };
    let scheme = if client.is_tls { "https" } else { "http" };
    let url = format!("{scheme}://{host}");
    let port = client.local.port();
    let name = host
        .rsplit_once(':')
        .map_or(host.as_str(), |(name, _)| name);
    format!(
        "Say something         curl -u NICK: -d 'build done' {url}/rooms/lobby\n\
         Say each line         make 2>&1 | curl -u NICK: --data-binary @- {url}/rooms/lobby\n\
         Read what was said    curl {url}/rooms/lobby\n\
         Read on as it comes   curl -N '{url}/rooms/lobby?follow'\n\
         Search                curl '{url}/rooms/lobby?q=WORDS'\n\
         Send a file           curl -u NICK: -T FILE {url}/rooms/lobby/files/\n\
         Fetch a file          curl -OJ {url}/files/NUMBER\n\
         Talk in a terminal    nc {name} {port}\n\
         Talk in a browser     {url}/\n\
         NICK is any free nick; a nick with a password is NICK:PASSWORD. {}\n",
        client.server.config.keeping()
    )
}
