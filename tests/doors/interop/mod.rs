//! protocol.md 10.1, shell.md 2: real clients, as Debian 12 packages them, started as from a shell.
//!
//! Each row of the table "What real clients do" of the document.

mod hooks;
mod talk;
mod web;
