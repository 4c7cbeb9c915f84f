//! The limits that no flag changes. [`super::Limits::rows`] lists them together with the others.

use std::time::Duration;

use super::Rate;

/// The maximum number of bans. Each ban is compared with every connection and nick.
pub const BANS_MAX: usize = 1000;

/// The maximum number of tokens of one nick. Each bot of its owner needs one.
pub const TOKENS_MAX: usize = 32;

/// The maximum number of hooks of one nick. Each pair of a tool and a room needs one.
pub const HOOKS_MAX: usize = 32;

/// The maximum number of hooks of all users together. Their digests, nicks and rooms are held in memory.
pub const HOOKS_IN_ALL: usize = 20_000;

/// The maximum number of bytes in one post to a hook.
pub const HOOK_BYTES_MAX: usize = 64 << 10;

/// The rate of posts to one hook.
pub const HOOK_PACE: Rate = Rate {
    burst: 60,
    every: Duration::from_secs(1),
};

/// The maximum number of alerts in one post that become messages of their own. One more message says how many alerts
/// were left out.
pub const HOOK_ALERTS_MAX: usize = 40;

/// The maximum number of unresolved alerts that are remembered for one hook. When such an alert is resolved, the
/// message that says so is a reply to the message that announced the alert.
pub const ALERTS_PER_HOOK: usize = 500;

/// The maximum number of unresolved alerts that are remembered for all hooks together. The oldest are forgotten
/// first.
pub const ALERTS_IN_ALL: usize = 20_000;

/// The maximum number of browsers that are notified for one nick. When another is added, the oldest is forgotten.
pub const PUSH_MAX: usize = 8;

/// The maximum number of browsers that are notified for all nicks together. The browsers are held in memory.
pub const PUSH_IN_ALL: usize = 10_000;

/// The maximum number of bytes in the address that a push service gives a browser. Most have 200 to 400.
pub const PUSH_ENDPOINT_BYTES_MAX: usize = 1024;

/// The rate of notifications to one nick.
pub const PUSH_PACE: Rate = Rate {
    burst: 20,
    every: Duration::from_secs(30),
};

/// The rate of requests to push services. Each takes about a millisecond of processor time.
pub const PUSH_PACE_IN_ALL: Rate = Rate {
    burst: 100,
    every: Duration::from_millis(50),
};

/// The maximum number of bytes of messages for which it has not yet been decided who is notified.
pub const PUSH_WAITING_BYTES_MAX: usize = 1 << 20;

/// The maximum number of requests to push services at once.
pub const PUSH_SENDS_MAX: usize = 8;

/// The maximum time of one request to a push service.
pub const PUSH_WITHIN: Duration = Duration::from_secs(10);

/// The maximum number of bytes of a message's text in a notification. Browsers show less.
pub const PUSH_TEXT_BYTES_MAX: usize = 300;

/// The maximum number of nicks that one connection ignores. Each event for the connection is compared with them.
pub const IGNORED_MAX: usize = 100;

/// The maximum number of words in a search. A search looks at every event that contains one of the words.
pub const SEARCH_WORDS_MAX: usize = 16;

/// The maximum processor time of one search. When it is used up, the search returns the matches found so far.
pub const SEARCH_WORK: Duration = Duration::from_millis(100);

/// The maximum wall-clock time of one search. It is reached only on a busy machine.
pub const SEARCH_WITHIN: Duration = Duration::from_secs(2);

/// The maximum number of connections to the database that read at once. Each has its own cache and open files.
pub const LOG_CONNECTIONS_MAX: usize = 16;

/// The maximum number of named readers of one owner. The owner is a registered nick, or the address of a user whose
/// nick is not registered.
pub const READERS_PER_OWNER: usize = 256;

/// The maximum number of named readers on the server.
pub const READERS_IN_ALL: usize = 50_000;

/// The time after which an unused named reader is removed.
pub const READER_UNUSED_FOR: Duration = Duration::from_secs(90 * 86_400);

/// How long a nonce is remembered, in milliseconds. No client retries for longer.
pub const NONCE_MS: u64 = 600_000;

/// The maximum number of nonces that a log in memory remembers. A log on disk remembers all nonces of the last ten
/// minutes.
pub const NONCES_IN_MEMORY: usize = 20_000;

/// The maximum number of reactions to one message. All are counted whenever one is added, and `REACTS` lists them
/// all.
pub const REACTIONS_MAX: usize = 1000;

/// The maximum number of different emoji in the reactions to one message.
pub const EMOJI_MAX: usize = 20;

/// The maximum number of bytes in the text that `AWAY` sets.
pub const AWAY_BYTES_MAX: usize = 300;

/// The maximum number of messages that an IRC client gets with one `CHATHISTORY`.
pub const IRC_HISTORY_MAX: usize = 100;

/// The maximum number of bytes in the answer of an IRC client to `AUTHENTICATE`, in base64.
pub const IRC_SASL_BYTES_MAX: usize = 1600;

/// The maximum number of nicks that an IRC client's `WHO` compares with a mask, in all rooms together.
pub const IRC_COMPARED_MAX: usize = 1000;

/// The maximum number of named readers whose new positions wait to be reported to a connection.
pub const MOVED_READERS_MAX: usize = 64;

/// The maximum number of read markers of direct messages that an IRC connection remembers until it ends. Read markers
/// of rooms, and all read markers of registered nicks, are stored instead.
pub const IRC_MARKERS_MAX: usize = 64;

/// How long the server waits for the second line of a connection if the first line is `NICK` or `PASS` and ends in CR
/// LF. The second line shows whether the client speaks IRC.
pub const IRC_DECIDED_WITHIN: Duration = Duration::from_millis(250);

/// The time after which an IRC client is asked again whether it has received everything. Its answer moves its named
/// readers.
pub const IRC_CONFIRM_EVERY: Duration = Duration::from_secs(60);

/// The maximum number of texts of several lines that arrive at once. Each is in memory until it is complete.
pub const TEXTS_ARRIVING_MAX: usize = 128;

/// The time within which a text of several lines must arrive. Until it is complete, it counts towards
/// [`TEXTS_ARRIVING_MAX`].
pub const TEXT_WITHIN: Duration = Duration::from_secs(60);
