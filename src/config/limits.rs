//! The table of limits and timeouts, each with its default, flag and reason.

use std::time::Duration;

use super::fixed::{
    ALERTS_IN_ALL, ALERTS_PER_HOOK, AWAY_BYTES_MAX, BANS_MAX, EMOJI_MAX, HOOK_ALERTS_MAX,
    HOOK_BYTES_MAX, HOOK_PACE, HOOKS_IN_ALL, HOOKS_MAX, IGNORED_MAX, IRC_COMPARED_MAX,
    IRC_CONFIRM_EVERY, IRC_DECIDED_WITHIN, IRC_HISTORY_MAX, IRC_MARKERS_MAX, IRC_SASL_BYTES_MAX,
    LOG_CONNECTIONS_MAX, MOVED_READERS_MAX, NONCE_MS, NONCES_IN_MEMORY, PUSH_IN_ALL, PUSH_MAX,
    PUSH_PACE, PUSH_PACE_IN_ALL, PUSH_SENDS_MAX, PUSH_TEXT_BYTES_MAX, PUSH_WAITING_BYTES_MAX,
    PUSH_WITHIN, REACTIONS_MAX, READER_UNUSED_FOR, READERS_IN_ALL, READERS_PER_OWNER,
    SEARCH_WITHIN, SEARCH_WORDS_MAX, SEARCH_WORK, TEXT_WITHIN, TEXTS_ARRIVING_MAX, TOKENS_MAX,
};
use crate::model::RoomAcl;
use crate::protocol::line::{LINE_BYTES_MAX, LINE_OUT_BYTES_MAX};
use crate::protocol::multiline::{TEXT_BYTES_MAX, TEXT_LINE_BYTES_MAX, TEXT_LINES_MAX};

/// How long a clock that was set forward must run before events expire according to it.
pub const CLOCK_TRUSTED_AFTER: Duration = Duration::from_secs(3600);

/// The maximum number of searches that run at once. Most searches take a millisecond.
pub const SEARCHES_MAX: usize = 2;

/// All limits and timeouts.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The maximum number of simultaneous connections.
    pub connections_max: usize,
    /// The maximum number of bytes of data in memory that waits for clients, for all rooms and connections together.
    /// It is divided into [`Self::tails_bytes_max`], [`Self::waiting_bytes_max`], [`Self::inboxes_bytes_max`] and
    /// [`Self::pieces_bytes_max`].
    pub memory_bytes_max: usize,
    /// The maximum number of simultaneous connections from one address. An IPv6 network of 64 bits counts as one
    /// address.
    pub connections_per_address_max: usize,
    /// The maximum number of registered nicks.
    pub accounts_max: usize,
    /// The rate of registrations from one address.
    pub registrations_per_address: Rate,
    /// The rate of registrations from all addresses together.
    pub registrations: Rate,
    /// The rate of creation of named readers from one address.
    pub readers_per_address: Rate,
    /// The rate of uploads from one address.
    pub files_per_address: Rate,
    /// The rate of uploads from one address under unregistered nicks.
    pub files_without_account: Rate,
    /// The maximum number of rooms.
    pub rooms_max: usize,
    /// The maximum number of rooms that one connection may be in at the same time.
    pub rooms_per_connection_max: usize,
    /// The maximum number of bytes of a room's newest events that are held in memory for its readers.
    pub tail_bytes_max: usize,
    /// The maximum number of bytes of all events in the log of a server without a data folder.
    pub memory_log_bytes_max: usize,
    /// The maximum number of bytes in the inbox of one nick. If more than half of that is unread, the nick is `busy`.
    pub inbox_bytes_max: usize,
    /// The maximum number of requests of one connection that are read before it has received the replies.
    pub replies_max: usize,
    /// The maximum size of one file in bytes.
    pub upload_bytes_max: u64,
    /// The maximum number of files.
    pub files_max: usize,
    /// The maximum size of all files together in bytes; `None` if only the disk limits it.
    pub quota_bytes: Option<u64>,
    /// The maximum size of the files of one nick in bytes. All unregistered nicks share one such limit, because an
    /// unregistered user could otherwise just change nicks.
    pub quota_per_nick_bytes: Option<u64>,
    /// How long events are kept; `None` if they do not expire.
    pub keep: Option<Duration>,
    /// The size of the log and the files, in bytes, above which the oldest of them are removed; `None` if only the
    /// disk limits it.
    pub keep_bytes: Option<u64>,
    /// The time between two removals of expired events.
    pub trim_every: Duration,
    /// The number of members up to which a room announces joins and leaves.
    pub announce_up_to: usize,
    /// How long a member must have stayed before its `JOIN` is announced.
    pub announce_after: Duration,
    /// The time after which a connection with neither a nick nor a room is closed if it sends no request.
    pub idle_after: Duration,
    /// How long a nick with a password stays reserved after its owner has disconnected.
    pub guard_for: Duration,
    /// The maximum number of reserved nicks that nobody uses.
    pub reserved_nicks_max: usize,
    /// The maximum number of reserved nicks that nobody uses and that were last used from one address.
    pub reserved_nicks_per_address_max: usize,
    /// The maximum number of bytes of messages in one HTTP request.
    pub post_bytes_max: u64,
    /// The maximum number of lines of messages in one HTTP request.
    pub post_lines_max: usize,
    /// The maximum time for the first bytes of a connection, for a TLS handshake, and for the head of an HTTP
    /// request.
    pub handshake_within: Duration,
    /// How long the server waits for the client to close its side, after the server has closed the connection.
    pub drain_for: Duration,
    /// The maximum number of bytes of a refused request's body that are read and dropped.
    pub drain_bytes_max: u64,
    /// The time within which everything must end when the server stops.
    pub stop_within: Duration,
}

/// A rate with a burst, by the generic cell rate algorithm (ITU-T I.371). The only state of a counter is the time at
/// which its allowance is full again. A time in the past means that the allowance is full now. All times must come
/// from one clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names of the fields say what they are
pub struct Rate {
    pub burst: u32,
    pub every: Duration,
}

impl Rate {
    /// Returns a rate that allows `burst` operations at once, and one more every `every_s` seconds.
    const fn new(burst: u32, every_s: u64) -> Self {
        let every = Duration::from_secs(every_s);
        Self { burst, every }
    }

    /// Returns the state of a counter after one more operation at the time `now`. `used_up` is the state before.
    pub fn once_more(self, used_up: Duration, now: Duration) -> Duration {
        used_up.max(now) + self.every
    }

    /// Returns the time to wait before the next operation is allowed. It is zero while some of the burst is left.
    pub fn wait(self, used_up: Duration, now: Duration) -> Duration {
        let limit = now + self.every * self.burst;
        self.once_more(used_up, now).saturating_sub(limit)
    }

    fn row(self) -> String {
        format!("{}, then one more every {}", self.burst, time(self.every))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            connections_per_address_max: 1024,
            memory_bytes_max: 512 << 20,
            accounts_max: 100_000,
            registrations_per_address: Rate::new(100, 30),
            registrations: Rate::new(1000, 2),
            readers_per_address: Rate::new(1000, 60),
            files_per_address: Rate::new(10_000, 5),
            files_without_account: Rate::new(2000, 5),
            rooms_max: 10_000,
            rooms_per_connection_max: 64,
            tail_bytes_max: 1 << 20,
            memory_log_bytes_max: 64 << 20,
            inbox_bytes_max: 64 << 10,
            replies_max: 1024,
            upload_bytes_max: 4 << 30,
            files_max: 100_000,
            quota_bytes: None,
            quota_per_nick_bytes: None,
            keep: None,
            keep_bytes: None,
            trim_every: Duration::from_secs(3600),
            announce_up_to: 500,
            announce_after: Duration::from_secs(1),
            idle_after: Duration::from_secs(600),
            guard_for: Duration::from_secs(120),
            reserved_nicks_max: 16_384,
            reserved_nicks_per_address_max: 1024,
            post_bytes_max: 1 << 20,
            post_lines_max: 10_000,
            handshake_within: Duration::from_secs(10),
            drain_for: Duration::from_secs(10),
            drain_bytes_max: 64 << 20,
            stop_within: Duration::from_secs(4),
        }
    }
}

/// A row of the table of limits in `chatd.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitRow {
    /// The name of what is limited.
    pub what: &'static str,
    /// The value, with its unit.
    pub value: String,
    /// The flag of `chatd` that changes the limit, if there is one.
    pub flag: Option<&'static str>,
    /// The reason for the value.
    pub reason: &'static str,
}

impl Limits {
    /// Returns the maximum number of bytes of the newest events of all rooms together.
    pub fn tails_bytes_max(&self) -> usize {
        self.memory_bytes_max / 2
    }

    /// Returns the maximum number of bytes of replies that clients have not received yet, and of requests that wait
    /// behind these replies.
    pub fn waiting_bytes_max(&self) -> usize {
        self.memory_bytes_max / 8
    }

    /// Returns the maximum number of bytes of direct messages that their recipients have not received yet.
    pub fn inboxes_bytes_max(&self) -> usize {
        self.memory_bytes_max / 8
    }

    /// Returns the maximum number of bytes of files that are in memory because they are being uploaded or downloaded.
    pub fn pieces_bytes_max(&self) -> usize {
        self.memory_bytes_max / 4
    }

    /// Returns the maximum number of rooms created from one address since the server started: a tenth of
    /// [`Self::rooms_max`], but at least 64.
    pub fn rooms_per_address_max(&self) -> usize {
        (self.rooms_max / 10).max(64)
    }

    /// Returns the maximum number of rooms that one registered nick owns: a tenth of [`Self::rooms_max`], but at
    /// least 64.
    pub fn rooms_per_nick_max(&self) -> usize {
        (self.rooms_max / 10).max(64)
    }

    /// Returns the maximum number of files of one registered nick: a quarter of [`Self::files_max`], but at least 64.
    pub fn files_per_nick_max(&self) -> usize {
        (self.files_max / 4).max(64)
    }

    /// Returns the maximum number of files of all unregistered nicks together: three quarters of [`Self::files_max`],
    /// but at least 64.
    pub fn unowned_files_max(&self) -> usize {
        (self.files_max - self.files_max / 4).max(64)
    }

    /// Returns the maximum number of files that were sent from one address since the server started: half of
    /// [`Self::files_max`], but at least 64.
    pub fn files_kept_per_address_max(&self) -> usize {
        (self.files_max / 2).max(64)
    }

    /// Returns a row for every limit.
    pub fn rows(&self) -> Vec<LimitRow> {
        let row = |what, value: String, flag: &'static str, reason| LimitRow {
            what,
            value,
            flag: (!flag.is_empty()).then_some(flag),
            reason,
        };
        vec![
            row(
                "line from a client, with its line ending",
                format!("{LINE_BYTES_MAX} bytes"),
                "",
                "a terminal sends at most 4095 typed bytes and the line ending",
            ),
            row(
                "line from the server, with its line ending",
                format!("{LINE_OUT_BYTES_MAX} bytes"),
                "",
                "the longest text, names, id, time and tags",
            ),
            row(
                "nick, and room after its #",
                "32 characters".into(),
                "",
                "longer names break the layout of clients",
            ),
            row(
                "file name",
                "255 bytes".into(),
                "",
                "the limit of most file systems",
            ),
            row(
                "connections",
                self.connections_max.to_string(),
                "--max-connections",
                "needs 20,000 open files (ulimit -n); if fewer are allowed, fewer connections are accepted",
            ),
            row(
                "connections from one address (an IPv6 /64 counts as one)",
                self.connections_per_address_max.to_string(),
                "--max-per-address",
                "enough for a school behind one router, but nobody can use up all connections; this machine itself is exempt",
            ),
            row(
                "memory for data that waits for clients: rooms' newest events (half), replies and direct messages, files in transfer",
                bytes(self.memory_bytes_max as u64),
                "--max-memory",
                "fits a machine with 1 GiB; when it is used up, old events are read from the log, and requests are read later",
            ),
            row(
                "registered nicks",
                self.accounts_max.to_string(),
                "--max-accounts",
                "enough for a town; their names stay in memory, about 10 MiB",
            ),
            row(
                "nicks registered from one address",
                self.registrations_per_address.row(),
                "",
                "enough for a whole class at once, but nobody can use up all",
            ),
            row(
                "nicks registered from all addresses together",
                self.registrations.row(),
                "",
                "each costs a password hash, for which logins have to wait",
            ),
            row(
                "tokens of one nick, ssh keys included",
                TOKENS_MAX.to_string(),
                "",
                "one for each bot and machine of the owner",
            ),
            row(
                "hooks of one nick; in all",
                format!("{HOOKS_MAX}; {HOOKS_IN_ALL}"),
                "",
                "one for each tool and room; their digests stay in memory, about 8 MiB",
            ),
            row(
                "body of one post to a hook",
                bytes(HOOK_BYTES_MAX as u64),
                "",
                "the same as for TEXT",
            ),
            row(
                "posts to one hook",
                HOOK_PACE.row(),
                "",
                "enough for an outage with many alerts, but a tool in a loop cannot fill a room",
            ),
            row(
                "alerts of one post that are sent as separate messages",
                HOOK_ALERTS_MAX.to_string(),
                "",
                "the others are counted in one line",
            ),
            row(
                "alerts that are not resolved yet: of one hook; in all",
                format!("{ALERTS_PER_HOOK}; {ALERTS_IN_ALL}"),
                "",
                "about 4 MiB; the oldest are forgotten first, and when such an alert is resolved, the message about it is not a reply",
            ),
            row(
                "browsers that are notified (--push): of one nick; in all",
                format!("{PUSH_MAX}; {PUSH_IN_ALL}"),
                "",
                "about 20 MiB; a further browser of a nick replaces its oldest",
            ),
            row(
                "notifications to one nick",
                PUSH_PACE.row(),
                "",
                "a phone that rings without end is turned off; further notifications are dropped",
            ),
            row(
                "text of a notification",
                format!("{PUSH_TEXT_BYTES_MAX} bytes"),
                "",
                "browsers show less",
            ),
            row(
                "requests to push services",
                PUSH_PACE_IN_ALL.row(),
                "",
                "each takes a millisecond of processor time",
            ),
            row(
                "requests to push services at once; time for one",
                format!("{PUSH_SENDS_MAX}; {}", time(PUSH_WITHIN)),
                "",
                "a push service that does not answer costs little",
            ),
            row(
                "messages for which it is not decided yet who is notified",
                bytes(PUSH_WAITING_BYTES_MAX as u64),
                "",
                "thousands of messages; nobody is notified of further ones",
            ),
            row(
                "bans",
                BANS_MAX.to_string(),
                "",
                "each is compared with every new connection and nick",
            ),
            row(
                "nicks invited to one room",
                RoomAcl::NAMES_MAX.to_string(),
                "",
                "enough for the staff of a school; all are read when one is changed",
            ),
            row(
                "nicks that one connection ignores",
                IGNORED_MAX.to_string(),
                "",
                "each event for it is compared with them",
            ),
            row(
                "text of several lines (TEXT; in IRC draft/multiline), with its line endings",
                format!(
                    "{} in {TEXT_LINES_MAX} lines of {TEXT_LINE_BYTES_MAX} bytes",
                    bytes(TEXT_BYTES_MAX)
                ),
                "",
                "enough for a long traceback; send more as a file",
            ),
            row(
                "texts of several lines that are arriving",
                TEXTS_ARRIVING_MAX.to_string(),
                "",
                "each is in memory until it is complete; one address can use half of them",
            ),
            row(
                "time within which a text of several lines must arrive",
                time(TEXT_WITHIN),
                "",
                "enough for 64 KiB on a slow link",
            ),
            row(
                "text of AWAY",
                format!("{AWAY_BYTES_MAX} bytes"),
                "",
                "the text of each nick is in memory",
            ),
            row(
                "messages of one CHATHISTORY (IRC)",
                IRC_HISTORY_MAX.to_string(),
                "",
                "a client can request the next ones; at most 8,000 events are read for one answer",
            ),
            row(
                "answer to AUTHENTICATE (IRC, SASL)",
                format!("{IRC_SASL_BYTES_MAX} bytes"),
                "",
                "the longest nick and password, in base64",
            ),
            row(
                "nicks that WHO compares with a mask (IRC)",
                IRC_COMPARED_MAX.to_string(),
                "",
                "a millisecond's work",
            ),
            row(
                "moved readers that wait to be reported to a connection that does not read",
                MOVED_READERS_MAX.to_string(),
                "",
                "only the newest position of each; READERS shows the others",
            ),
            row(
                "read markers of nicks that a connection remembers (IRC)",
                IRC_MARKERS_MAX.to_string(),
                "",
                "the oldest are forgotten first; the markers of rooms and of registered users are stored as named readers",
            ),
            row(
                "time between two PINGs that ask an IRC client whether it has received everything",
                time(IRC_CONFIRM_EVERY),
                "",
                "the answer moves its named readers",
            ),
            row(
                "time to wait for the next line of a client whose first line is NICK or PASS with CR LF",
                time(IRC_DECIDED_WITHIN),
                "",
                "an IRC client sends that line at once, by which it is recognized; other clients are answered after this time",
            ),
            row(
                "reactions to one message",
                REACTIONS_MAX.to_string(),
                "",
                "each new reaction recounts all of them",
            ),
            row(
                "different emoji in the reactions to one message",
                EMOJI_MAX.to_string(),
                "",
                "more would take more space than most messages",
            ),
            row(
                "words of one search",
                SEARCH_WORDS_MAX.to_string(),
                "",
                "a search looks at every event that contains one of them",
            ),
            row(
                "processor time of one search; its total time",
                format!("{}; {}", time(SEARCH_WORK), time(SEARCH_WITHIN)),
                "",
                "most take a millisecond; a longer one ends with the matches found so far",
            ),
            row(
                "searches at the same time; from one address",
                format!("{SEARCHES_MAX}; 1"),
                "",
                "the rest of the machine stays free for messages",
            ),
            row(
                "connections that read the database",
                LOG_CONNECTIONS_MAX.to_string(),
                "",
                "each takes memory and open files",
            ),
            row(
                "named readers of one registered nick, or of all other nicks of one address",
                READERS_PER_OWNER.to_string(),
                "",
                "one for each room and script; each position is stored on disk",
            ),
            row(
                "new named readers from one address",
                self.readers_per_address.row(),
                "",
                "for all its nicks together, so that one address cannot use up all",
            ),
            row(
                "named readers in all",
                READERS_IN_ALL.to_string(),
                "",
                "about 10 MiB of the database",
            ),
            row(
                "time until an unused named reader is removed",
                format!("{} days", READER_UNUSED_FOR.as_secs() / 86_400),
                "",
                "a script that runs once a month still finds its position",
            ),
            row(
                "how long a nonce is remembered",
                format!("{} min", NONCE_MS / 60_000),
                "",
                "longer than clients retry",
            ),
            row(
                "nonces that a server with --memory remembers",
                NONCES_IN_MEMORY.to_string(),
                "",
                "about 2 MiB; the oldest are forgotten first",
            ),
            row(
                "rooms, each with its topic",
                self.rooms_max.to_string(),
                "--max-rooms",
                "names and topics take only megabytes of memory",
            ),
            row(
                "rooms created from one address since the server started, not counting deleted rooms",
                self.rooms_per_address_max().to_string(),
                "",
                "a tenth of all rooms, but at least 64",
            ),
            row(
                "rooms that one registered nick owns",
                self.rooms_per_nick_max().to_string(),
                "",
                "a tenth of all rooms, but at least 64",
            ),
            row(
                "rooms of one connection",
                self.rooms_per_connection_max.to_string(),
                "--rooms-per-connection",
                "all are checked at each write to the connection",
            ),
            row(
                "newest events of a room in memory",
                bytes(self.tail_bytes_max as u64),
                "",
                "a slow reader has seconds to catch up",
            ),
            row(
                "direct messages waiting for one nick",
                bytes(self.inbox_bytes_max as u64),
                "",
                "if more than half of this is unread, the nick is busy",
            ),
            row(
                "requests read ahead of their replies",
                self.replies_max.to_string(),
                "--read-ahead",
                "if a client does not read its replies, the server stops reading its requests",
            ),
            row(
                "uploads and downloads of one address at the same time",
                "half of all; an upload takes 3 open files, a download 2".into(),
                "",
                "transfers use the part of the limit on open files that connections do not need, at least a seventh",
            ),
            row(
                "size of one file",
                bytes(self.upload_bytes_max),
                "--max-upload",
                "enough for a disk image",
            ),
            row(
                "size of all files together",
                self.quota_bytes.map_or_else(|| "none".into(), bytes),
                "--quota",
                "the disk is the limit; a full disk refuses uploads",
            ),
            row(
                "size of the files of one nick",
                self.quota_per_nick_bytes
                    .map_or_else(|| "none".into(), bytes),
                "--quota-per-nick",
                "set it on a public server; all unregistered nicks share one such limit, \
                 because an unregistered user could otherwise just change nicks",
            ),
            row(
                "how long messages and files are kept",
                self.keep.map_or_else(
                    || "forever".into(),
                    |keep| format!("{} days", keep.as_secs() / 86_400),
                ),
                "--keep",
                "deleted messages cannot be restored",
            ),
            row(
                "size of events and files together, above which the oldest are removed",
                self.keep_bytes.map_or_else(|| "none".into(), bytes),
                "--keep-bytes",
                "the disk is the limit",
            ),
            row(
                "time between two removals of expired events",
                time(self.trim_every),
                "--trim-every",
                "an event that is kept an hour too long does no harm",
            ),
            row(
                "time after which a clock that was set forward is trusted",
                time(CLOCK_TRUSTED_AFTER),
                "",
                "a clock that is wrong for a moment deletes nothing",
            ),
            row(
                "log of a server with --memory",
                bytes(self.memory_log_bytes_max as u64),
                "",
                "about half a million short messages",
            ),
            row(
                "number of files",
                self.files_max.to_string(),
                "--max-files",
                "a longer list is of no use to anybody",
            ),
            row(
                "files of one registered nick; files of all unregistered nicks together",
                format!(
                    "{}; {}",
                    self.files_per_nick_max(),
                    self.unowned_files_max()
                ),
                "",
                "a quarter and three quarters of all files, but at least 64; all unregistered nicks share one \
                 limit, because an unregistered user could otherwise just change nicks",
            ),
            row(
                "files sent from one address since the server started, not counting deleted files",
                self.files_kept_per_address_max().to_string(),
                "",
                "half of all files, but at least 64",
            ),
            row(
                "files from one address",
                self.files_per_address.row(),
                "",
                "enough for a large folder at once, but nobody can use up all files in a day",
            ),
            row(
                "files from one address under unregistered nicks",
                self.files_without_account.row(),
                "",
                "a limit for each nick would not help, because an unregistered user can just change nicks",
            ),
            row(
                "members of a room up to which JOIN and PART are announced",
                self.announce_up_to.to_string(),
                "--announce-up-to",
                "in a larger room, they would be most of the traffic",
            ),
            row(
                "time in a room before a JOIN is announced",
                time(self.announce_after),
                "--announce-after",
                "a short visit makes no noise",
            ),
            row(
                "time without a request, for a connection without nick and room",
                time(self.idle_after),
                "--idle-after",
                "enough to read HELP slowly",
            ),
            row(
                "time for which a nick with a password stays reserved after its last connection",
                time(self.guard_for),
                "--guard-for",
                "enough to reconnect after a lost connection",
            ),
            row(
                "reserved nicks in all",
                self.reserved_nicks_max.to_string(),
                "",
                "as many as the connections that there can be; further nicks are released at once",
            ),
            row(
                "reserved nicks of one address",
                self.reserved_nicks_per_address_max.to_string(),
                "",
                "as many as the connections that it can have",
            ),
            row(
                "messages in one HTTP request",
                bytes(self.post_bytes_max),
                "",
                "send more as a file",
            ),
            row(
                "lines in one HTTP request",
                self.post_lines_max.to_string(),
                "",
                "the answer has one line for each of them",
            ),
            row(
                "time for a TLS handshake, or for the head of a request",
                time(self.handshake_within),
                "--handshake-within",
                "enough for a slow link; a client that writes slowly on purpose gets no extra time",
            ),
            row(
                "time to wait for a client to close",
                time(self.drain_for),
                "--drain-for",
                "the last line can arrive on a slow link",
            ),
            row(
                "bytes of a refused HTTP request's body that are still read",
                bytes(self.drain_bytes_max),
                "",
                "a client that reads only after it has sent everything gets its answer",
            ),
            row(
                "time to end everything when the server stops",
                time(self.stop_within),
                "--stop-within",
                "service managers wait 5 to 90 seconds",
            ),
        ]
    }
}

pub(super) fn bytes(n: u64) -> String {
    match n {
        n if n >= 1 << 30 && n % (1 << 30) == 0 => format!("{} GiB", n >> 30),
        n if n >= 1 << 20 && n % (1 << 20) == 0 => format!("{} MiB", n >> 20),
        n if n >= 1 << 10 && n % (1 << 10) == 0 => format!("{} KiB", n >> 10),
        n => format!("{n} bytes"),
    }
}

fn time(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        ms if ms >= 60_000 && ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        ms if ms >= 1000 && ms % 1000 == 0 => format!("{} s", ms / 1000),
        ms => format!("{ms} ms"),
    }
}
