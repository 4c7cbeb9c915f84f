//! plainchat
pub mod protocol;
