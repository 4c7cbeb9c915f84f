//! Every way in: real clients, TLS, HTTP, WebSocket, and the client library.

mod client;
mod interop;
mod irc;
mod irc_clients;
mod link;
mod push;
mod several;
mod split;
mod stay;
#[path = "../support/mod.rs"]
mod support;
mod web;
mod websocket;
