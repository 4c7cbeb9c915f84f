//! The limits that no flag changes, each with its reason; [`super::Limits::rows`] lists them with the others.

use std::time::Duration;

/// The most bans: all are compared with every connection and nick.
pub const BANS_MAX: usize = 1000;

/// The most tokens of one nick: one for each of its bots.
pub const TOKENS_MAX: usize = 32;

/// The most nicks that one connection ignores: each event that it gets is compared with them.
pub const IGNORED_MAX: usize = 100;

/// The most words of a search: each costs a look at all that has it.
pub const SEARCH_WORDS_MAX: usize = 16;

/// How long one search may work; what it has found by then is its answer.
pub const SEARCH_WORK: Duration = Duration::from_millis(100);

/// The same by the clock, for a machine that has other things to do.
pub const SEARCH_WITHIN: Duration = Duration::from_secs(2);

/// The most connections that read the database at once: each has a cache and open files of its own.
pub const LOG_CONNECTIONS_MAX: usize = 16;

/// The most named readers of one owner: a registered nick or, for unregistered ones, an address.
pub const READERS_PER_OWNER: usize = 256;

/// The most named readers in all.
pub const READERS_IN_ALL: usize = 50_000;

/// How long a named reader is kept that nobody moves.
pub const READER_UNUSED_FOR: Duration = Duration::from_secs(90 * 86_400);
