//! Code shared by several test programs, each of which uses some of it.
#![allow(dead_code, missing_docs)]

pub mod carriers;
pub mod document;
pub mod grammar;
pub mod inbox;
pub mod memory;
pub mod run;
pub mod server;
pub mod spawn;
pub mod tcp;
pub mod transcript;
