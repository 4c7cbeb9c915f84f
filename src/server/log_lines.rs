//! Writes the operational log to standard error; a write never fails and never blocks.
//!
//! A separate thread writes, from a queue of at most 1,024 lines. A line is dropped and counted when the queue is full,
//! since the reader of the log has stopped reading, or when it cannot be written, since the reader has gone. The next
//! line that can be written is preceded by one with the number of dropped lines.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// How many lines wait for a slow reader: about 100 KiB, and more than the lines of one start.
const QUEUE_LINES: usize = 1024;

/// How long the end of the program waits for the last lines to be written.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// How many lines of this process's log were dropped, by all its [`LogLines`].
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Returns how many log lines were dropped since the start.
pub(super) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// A message to the writing thread.
#[derive(Debug)]
enum Item {
    Line(Box<[u8]>),
    /// Asks for a signal to this sender once all earlier lines are written.
    Finish(SyncSender<()>),
}

/// A writer to the log; each `write` is one whole line. Clones write to the same place.
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
