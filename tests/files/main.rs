//! Files: uploads, downloads, and who may read them.

mod clients;
mod closed;
mod direct;
mod display;
mod followers;
mod quota;
#[path = "../support/mod.rs"]
mod support;
