//! The server's core in memory, shared with the other tests.
#![allow(dead_code)]

#[path = "../support/memory.rs"]
pub mod memory;
#[path = "../support/run.rs"]
pub mod run;
#[path = "../support/transcript.rs"]
pub mod transcript;
