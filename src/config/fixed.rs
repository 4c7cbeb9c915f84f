//! The limits that no flag changes, each with its reason; [`super::Limits::rows`] lists them with the
//! others.

use std::time::Duration;

use super::Rate;

/// The most bans: each is compared with every connection and nick.
pub const BANS_MAX: usize = 1000;

/// The most tokens of one nick: one for each of its bots.
pub const TOKENS_MAX: usize = 32;

/// The most hooks of one nick: one for each tool and room.
pub const HOOKS_MAX: usize = 32;

/// The most hooks in all: their digests, nicks and rooms stay in memory.
pub const HOOKS_IN_ALL: usize = 20_000;

/// The most bytes of what is posted to a hook.
pub const HOOK_BYTES_MAX: usize = 64 << 10;

/// How often one hook may be posted to.
pub const HOOK_PACE: Rate = Rate {
    burst: 60,
    every: Duration::from_secs(1),
};

/// The most alerts of one post that are messages of their own; the others are counted in one line.
pub const HOOK_ALERTS_MAX: usize = 40;

/// The most alerts that are remembered, so that the one that resolves replies to the one that fired; of one hook.
pub const ALERTS_PER_HOOK: usize = 500;

/// The most alerts that are remembered in all; the oldest are forgotten first.
pub const ALERTS_IN_ALL: usize = 20_000;

/// The most nicks that one connection ignores: each event for it is compared with them.
pub const IGNORED_MAX: usize = 100;

/// The most words of a search: each costs a look at every event that contains it.
pub const SEARCH_WORDS_MAX: usize = 16;

/// Processor time of one search; when it is used up, the matches found so far are the answer.
pub const SEARCH_WORK: Duration = Duration::from_millis(100);

/// The longest that a search takes by the clock, for a machine that is busy.
pub const SEARCH_WITHIN: Duration = Duration::from_secs(2);

/// The most connections that read the database at once: each has a cache and open files of its own.
pub const LOG_CONNECTIONS_MAX: usize = 16;

/// The most named readers of one owner: a registered nick or, for unregistered ones, an address.
pub const READERS_PER_OWNER: usize = 256;

/// The most named readers in all.
pub const READERS_IN_ALL: usize = 50_000;

/// How long a named reader that nobody uses is kept.
pub const READER_UNUSED_FOR: Duration = Duration::from_secs(90 * 86_400);

/// How long a nonce is remembered, in milliseconds: longer than any client goes on retrying.
pub const NONCE_MS: u64 = 600_000;

/// The most nonces that a log in memory remembers; a log on disk remembers all of the last ten minutes.
pub const NONCES_IN_MEMORY: usize = 20_000;

/// The most reactions to one message: all are counted when one is added, and `REACTS` lists them all.
pub const REACTIONS_MAX: usize = 1000;

/// The most different emoji in the reactions to one message.
pub const EMOJI_MAX: usize = 20;

/// The most bytes of the text of a nick that is away.
pub const AWAY_BYTES_MAX: usize = 300;

/// The most messages that an IRC client gets with one `CHATHISTORY`.
pub const IRC_HISTORY_MAX: usize = 100;

/// How long a connection whose first line is `NICK` or `PASS` with CR LF may take to show by its next line whether it is
/// an IRC client.
pub const IRC_DECIDED_WITHIN: Duration = Duration::from_millis(250);

/// The most texts of several lines that arrive at once: each is in memory until it is complete.
pub const TEXTS_ARRIVING_MAX: usize = 128;

/// How long a text of several lines may take to arrive: it holds one of those places.
pub const TEXT_WITHIN: Duration = Duration::from_secs(60);
