//! The program `chatc`: a screen, a line client, pipes, and commands for scripts.
//!
//! [`InputLine`] parses what a user types, and [`Renderer`] converts what the server sends to text; both are pure.
//! [`screen`], [`plain`], [`pipe`] and [`files`] are the ways to run the program. All of them use [`crate::client`]
//! to talk to the server.

pub mod ask;
pub mod bot;
pub mod discover;
pub mod environment;
mod failure;
pub mod files;
mod input_line;
mod line_splitter;
mod login;
pub mod pipe;
pub mod plain;
pub mod print;
pub mod profile;
mod renderer;
pub mod run;
pub mod screen;
pub mod send;
pub mod server;
pub mod sftp;
pub mod shorthand;
pub mod ssh;
mod stdio;
pub mod tail;

pub use failure::{Exit, Failure, complain};
pub use input_line::InputLine;
pub use login::enter;
pub use renderer::Renderer;
