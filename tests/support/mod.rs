//! Code that the test programs share. Each uses some of it.
#![allow(dead_code, missing_docs)]

pub mod carriers;
pub mod clients;
pub mod document;
pub mod grammar;
pub mod inbox;
pub mod load;
pub mod memory;
pub mod peer;
pub mod promises;
pub mod random;
pub mod run;
pub mod schema;
pub mod script;
pub mod server;
pub mod socket;
pub mod spawn;
pub mod strace;
pub mod tcp;
pub mod tmpfs;
pub mod trace;
pub mod transcript;
pub mod web;
