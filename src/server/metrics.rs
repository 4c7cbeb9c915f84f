//! Metrics for operators: counters, and their text in Prometheus' format.
//!
//! The counters are plain numbers, which are updated once for each read, write or batch, but not for each delivery.
//! The text is written without a library, because the format is one line for each number, and a registry would need
//! more code.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::warn;

use super::{Server, log_lines};
use crate::transport::Carrier;

/// The time between two log lines about the same limit. Each line contains the number of hits since the last one.
const LOGGED_EVERY: Duration = Duration::from_secs(60);

/// A counter or a gauge.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    pub fn less_one(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The kind of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionKind {
    /// The protocol is not known yet.
    New,
    Lines,
    Tls,
    Http,
    WebSocket,
    /// A connection inside the process that makes the request of an HTTP client. It does not count as a client.
    Request,
}

impl ConnectionKind {
    const ALL: [Self; 6] = [
        Self::New,
        Self::Lines,
        Self::Tls,
        Self::Http,
        Self::WebSocket,
        Self::Request,
    ];

    /// Returns the kind of a carrier whose protocol is known.
    pub fn of(carrier: &Carrier) -> Self {
        match carrier {
            Carrier::Stream(stream) if stream.is_tls() => Self::Tls,
            Carrier::Stream(_) | Carrier::Pipe(_) => Self::Lines,
            Carrier::WebSocket(_) => Self::WebSocket,
            Carrier::Local(_) => Self::Request,
            Carrier::Away => Self::Http,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Lines => "lines",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::WebSocket => "websocket",
            Self::Request => "request",
        }
    }
}

/// A limit that can be hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitKind {
    Connections,
    Passwords,
    /// Posts with tokens of hooks that do not exist.
    Hooks,
    OpenFiles,
    /// Texts of several lines that arrive.
    Texts,
    Memory,
}

impl LimitKind {
    const ALL: [Self; 6] = [
        Self::Connections,
        Self::Passwords,
        Self::Hooks,
        Self::OpenFiles,
        Self::Texts,
        Self::Memory,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Passwords => "passwords",
            Self::Hooks => "hooks",
            Self::OpenFiles => "open_files",
            Self::Texts => "texts",
            Self::Memory => "memory",
        }
    }
}

/// All counters of the server.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    by_kind: [Count; ConnectionKind::ALL.len()],
    pub accepted: Count,
    pub bytes_in: Count,
    pub bytes_out: Count,
    pub writes: Count,
    /// How often the log was read for a client that has fallen behind a room's tail.
    pub catch_ups: Count,
    /// Notifications that push services have accepted, and those that could not be sent.
    pub pushed: Count,
    pub not_pushed: Count,
    hits: [Count; LimitKind::ALL.len()],
    /// The server's uptime in seconds when each limit was last logged.
    logged_at: [AtomicU64; LimitKind::ALL.len()],
    unlogged: [Count; LimitKind::ALL.len()],
}

impl Metrics {
    /// Counts the connection as one of kind `to`, and no longer as one of kind `from`. Returns `to`.
    pub fn set_kind(&self, from: Option<ConnectionKind>, to: ConnectionKind) -> ConnectionKind {
        if let Some(from) = from {
            self.closed(from);
        }
        self.kind(to).add(1);
        to
    }

    /// Counts a connection of the kind `kind` as ended.
    pub fn closed(&self, kind: ConnectionKind) {
        self.kind(kind).less_one();
    }

    fn kind(&self, kind: ConnectionKind) -> &Count {
        &self.by_kind[kind as usize]
    }

    /// Counts a hit of a limit. Logs it, unless a hit of this limit was logged recently.
    pub fn limit_hit(&self, limit: LimitKind, uptime: Duration, text: &str) {
        let at = limit as usize;
        self.hits[at].add(1);
        self.unlogged[at].add(1);
        let now = uptime.as_secs().max(1);
        let logged_at = self.logged_at[at].load(Ordering::Relaxed);
        if logged_at == 0 || now >= logged_at + LOGGED_EVERY.as_secs() {
            self.logged_at[at].store(now, Ordering::Relaxed);
            let times = self.unlogged[at].0.swap(0, Ordering::Relaxed);
            warn!(limit = limit.word(), times, "{text}");
        }
    }
}

/// Returns all metrics in Prometheus' text format (version 0.0.4).
pub(super) fn text(server: &Server) -> String {
    let mut page = Page::default();
    page.write(server).expect("a string takes what is written");
    page.0
}

/// The content type of [`text`].
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Default)]
struct Page(String);

impl Page {
    fn write(&mut self, server: &Server) -> fmt::Result {
        let metrics = &server.metrics;
        self.head("info", "gauge", "the version of this server")?;
        writeln!(
            self.0,
            "chatd_info{{version=\"{}\"}} 1",
            env!("CARGO_PKG_VERSION")
        )?;
        self.one(
            "uptime_seconds",
            "gauge",
            "since the start",
            server.clock.now().uptime.as_secs(),
        )?;

        self.head("connections", "gauge", "connections by protocol")?;
        for kind in ConnectionKind::ALL {
            let count = metrics.kind(kind).get();
            writeln!(
                self.0,
                "chatd_connections{{carrier=\"{}\"}} {count}",
                kind.word()
            )?;
        }
        let max = server.config.limits.connections_max as u64;
        self.one(
            "connections_max",
            "gauge",
            "connections allowed at the same time",
            max,
        )?;
        let accepted = metrics.accepted.get();
        self.one(
            "accepted_total",
            "counter",
            "connections accepted",
            accepted,
        )?;
        self.head("refused_total", "counter", "how often a limit was reached")?;
        for limit in LimitKind::ALL {
            let count = metrics.hits[limit as usize].get();
            writeln!(
                self.0,
                "chatd_refused_total{{limit=\"{}\"}} {count}",
                limit.word()
            )?;
        }

        let (totals, log) = {
            let state = server.state();
            (state.chat.totals(), state.log_counts)
        };
        self.one(
            "nicks",
            "gauge",
            "nicks in use or reserved",
            totals.nicks as u64,
        )?;
        self.one(
            "rooms",
            "gauge",
            "rooms with a log or members",
            totals.rooms as u64,
        )?;
        let help = "members of all rooms; a nick in two rooms counts twice";
        self.one("room_members", "gauge", help, totals.members as u64)?;
        let help = "bytes of rooms' newest events in memory";
        self.one("tail_bytes", "gauge", help, totals.tail_bytes as u64)?;
        let help =
            "bytes of replies that clients have not received, and of requests waiting behind them";
        self.one("waiting_bytes", "gauge", help, server.waiting.used() as u64)?;
        let help = "bytes of direct messages that wait for their recipients";
        self.one("told_bytes", "gauge", help, totals.inbox_bytes as u64)?;
        let help = "bytes of memory for files in transfer";
        self.one("piece_bytes", "gauge", help, server.pieces.used() as u64)?;
        self.one(
            "files",
            "gauge",
            "files that can be fetched",
            totals.files as u64,
        )?;
        let help = "bytes of those files; two files with the same contents count twice";
        self.one("file_bytes", "gauge", help, totals.file_bytes)?;

        let bytes = metrics.bytes_in.get();
        self.one(
            "received_bytes_total",
            "counter",
            "bytes of lines read",
            bytes,
        )?;
        let bytes = metrics.bytes_out.get();
        self.one(
            "sent_bytes_total",
            "counter",
            "bytes of lines written",
            bytes,
        )?;
        let help = "writes to sockets; in a busy room, each has many lines";
        self.one("writes_total", "counter", help, metrics.writes.get())?;
        let help = "how often the log was read for a slow reader";
        self.one("catch_ups_total", "counter", help, metrics.catch_ups.get())?;

        self.one(
            "log_appended_total",
            "counter",
            "events passed to the log",
            log.appended,
        )?;
        self.one(
            "log_kept_total",
            "counter",
            "events that the log has stored, including those of other servers of the chat",
            log.kept,
        )?;
        self.one(
            "log_failed_total",
            "counter",
            "events that the log could not store, including those of other servers of the chat",
            log.not_kept,
        )?;
        self.one(
            "log_waiting",
            "gauge",
            "events that the log has not stored yet",
            server.proposed.used() as u64,
        )?;
        if let Some(following) = server.following.get() {
            let progress = following.progress();
            let help = "whether this server serves clients: it has caught up, and is not cut off";
            let is_ready = u64::from(!following.is_cut_off());
            self.one("cluster_ready", "gauge", help, is_ready)?;
            let help = "servers that take part in the chat";
            self.one(
                "cluster_servers",
                "gauge",
                help,
                progress.servers.len() as u64,
            )?;
            let help = "the last message of the shared log that this server has read";
            self.one("cluster_read", "gauge", help, progress.read_to)?;
            let help = "bytes of messages that this server has read and not stored yet";
            let unstored = progress.unstored_bytes as u64;
            self.one("cluster_unstored_bytes", "gauge", help, unstored)?;
            let help = "messages that this server has published";
            self.one(
                "cluster_published_total",
                "counter",
                help,
                progress.published,
            )?;
            let help = "how often this server was cut off from the others";
            self.one("cluster_cut_off_total", "counter", help, progress.cut_offs)?;
            let help = "how often this server has joined the others: at its start, and each time after it was cut off";
            self.one("cluster_joined_total", "counter", help, progress.joined)?;
            let help = "how often another server has left, or was cut off, since the start";
            self.one("cluster_left_total", "counter", help, progress.left)?;
        }
        if server.notifier.is_some() {
            let (pushed, failed) = (metrics.pushed.get(), metrics.not_pushed.get());
            let help = "notifications that push services have accepted";
            self.one("push_sent_total", "counter", help, pushed)?;
            let help = "notifications that could not be sent";
            self.one("push_failed_total", "counter", help, failed)?;
        }
        self.write_commits(server)?;
        let help = "lines of the server's own log that were dropped, since nobody read them";
        self.one(
            "log_lines_dropped_total",
            "counter",
            help,
            log_lines::dropped(),
        )?;
        if let Some(bytes) = resident_bytes() {
            let help = "# HELP process_resident_memory_bytes memory in use";
            writeln!(self.0, "{help}\n# TYPE process_resident_memory_bytes gauge")?;
            writeln!(self.0, "process_resident_memory_bytes {bytes}")?;
        }
        Ok(())
    }

    fn write_commits(&mut self, server: &Server) -> fmt::Result {
        let log = server.state().log.clone();
        let commits = log.commits();
        self.head(
            "log_commit_seconds",
            "histogram",
            "how long a transaction of the log took",
        )?;
        for (up_to, count) in commits.up_to() {
            let bound =
                up_to.map_or_else(|| "+Inf".into(), |up_to| up_to.as_secs_f64().to_string());
            writeln!(
                self.0,
                "chatd_log_commit_seconds_bucket{{le=\"{bound}\"}} {count}"
            )?;
        }
        let (sum, count) = (commits.time().as_secs_f64(), commits.count());
        writeln!(self.0, "chatd_log_commit_seconds_sum {sum}")?;
        writeln!(self.0, "chatd_log_commit_seconds_count {count}")
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) -> fmt::Result {
        writeln!(
            self.0,
            "# HELP chatd_{name} {help}\n# TYPE chatd_{name} {kind}"
        )
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) -> fmt::Result {
        self.head(name, kind, help)?;
        writeln!(self.0, "chatd_{name} {value}")
    }
}

/// Returns the resident memory of the process, if the system reports it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    kib.checked_mul(1024)
}
