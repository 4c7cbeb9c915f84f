//! The command line: `chatc`, `chatd`, and the scripts that use them.

mod chatc;
mod chatc_live;
mod commands;
mod console;
mod discover;
mod examples;
mod help;
mod plain;
mod screen;
mod service;
mod ssh;
#[path = "../support/mod.rs"]
mod support;
