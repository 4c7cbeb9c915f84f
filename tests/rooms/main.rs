//! Rooms, nicks, accounts and rights.

mod accounts;
mod answers;
mod operator;
mod plain_text;
mod rights;
#[path = "../support/mod.rs"]
mod support;
