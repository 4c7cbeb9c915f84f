//! Writes the operational log to standard error. A write to it never fails and never blocks.
//!
//! A thread of its own writes the lines, from a queue of at most 1,024. A line is dropped and counted if the queue is
//! full or the line cannot be written, because the reader of the log is slow or has gone. Before the next line that can
//! be written, a line says how many were dropped.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// The maximum number of lines that are queued for a slow reader. They take about 100 KiB. A starting server prints
/// fewer.
const QUEUE_LINES: usize = 1024;

/// How long the program waits at its end until the last lines are written.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// The number of log lines that all [`LogLines`] of this process have dropped.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Returns how many log lines were dropped since the start.
pub(super) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// A message to the writing thread.
#[derive(Debug)]
enum Item {
    Line(Box<[u8]>),
    /// A request to signal this sender when all earlier lines are written.
    Finish(SyncSender<()>),
}

/// A writer to the log. Each call of `write` must be one whole line. Clones write to the same log.
#[derive(Clone, Debug)]
pub struct LogLines {
    queue: SyncSender<Item>,
}

impl LogLines {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// When the system has no thread to spare.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, items) = sync_channel(QUEUE_LINES);
        let thread = std::thread::Builder::new().name("log lines".to_owned());
        thread.spawn(move || write_all(&items, out))?;
        Ok(Self { queue })
    }

    /// Waits until all lines so far are written, for at most a second.
    pub fn finish(&self) {
        let (tell, finished) = sync_channel(1);
        if self.queue.try_send(Item::Finish(tell)).is_ok() {
            let _ = finished.recv_timeout(FINISH_WITHIN);
        }
    }
}

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Item::Line(line.into())).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(items: &Receiver<Item>, mut out: impl Write) {
    let mut reported = 0;
    for item in items {
        match item {
            Item::Finish(tell) => drop(tell.try_send(())),
            Item::Line(line) => {
                let missing = dropped() - reported;
                if missing > 0 && writeln!(out, "{missing} log lines were dropped").is_ok() {
                    reported += missing;
                }
                if out.write_all(&line).is_err() {
                    DROPPED.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}
