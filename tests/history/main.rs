//! What is saved: order, replay, restarts, and the data folder.

mod data_folder;
mod durable;
mod offline;
mod order;
mod replay;
mod restart;
#[path = "../support/mod.rs"]
mod support;
