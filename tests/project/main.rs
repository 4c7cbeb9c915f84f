//! The repository itself: its documents, its layers, its licences, and its test tools.

mod bot_package;
mod fuzz_corpus;
mod layers;
mod pitfalls;
mod properties;
mod protocol_doc;
mod readme;
mod sections;
#[path = "../support/mod.rs"]
mod support;
mod tidy;
mod transcript;
