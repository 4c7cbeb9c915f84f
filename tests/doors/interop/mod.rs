//! protocol.md 10.1, shell.md 2: real clients, as Debian 12 packages them, started as from a shell.
//!
//! There is a test for each row of the table "What real clients do" in the document.

mod hooks;
mod talk;
mod web;
