//! The environment variables that `chatc` reads.

/// The variable with the password of the nick, for scripts that have no file for it.
pub const PASSWORD_VARIABLE: &str = "CHATC_PASSWORD";

/// The variable with the password of the server.
pub const SERVER_PASSWORD_VARIABLE: &str = "CHATC_SERVER_PASSWORD";
