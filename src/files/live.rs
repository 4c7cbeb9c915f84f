//! Live files: uploads in progress that others already read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard};

use event_listener::{Event, EventListener};

use crate::model::FileContents;
use crate::protocol::{EventId, FileName};

/// A file that others can read while it is uploaded.
#[derive(Debug)]
pub struct Live {
    /// The file's id.
    pub id: EventId,
    /// The file's name.
    pub name: FileName,
    file: File,
    progress: Mutex<Progress>,
    changed: Event,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    length: u64,
    /// The end of the upload: complete with its contents, or aborted for `None`.
    end: Option<Option<FileContents>>,
}

impl Live {
    /// Returns a live file that is still empty.
    pub fn new(id: EventId, name: FileName, file: File) -> Self {
        Self {
            id,
            name,
            file,
            progress: Mutex::default(),
            changed: Event::new(),
        }
    }

    /// Records that `length` bytes have arrived.
    pub fn grow(&self, length: u64) {
        self.state().length = length;
        self.changed.notify(usize::MAX);
    }

    /// Records the end of the upload: complete, or aborted for `None`.
    pub fn end(&self, whole: Option<FileContents>) {
        self.state().end = Some(whole);
        self.changed.notify(usize::MAX);
    }

    /// Returns an event that fires on the next change after this call; call this before reading
    /// [`Self::progress`].
    pub fn grown(&self) -> EventListener {
        self.changed.listen()
    }

    /// Returns how many bytes have arrived, and how the upload ended if it has.
    pub fn progress(&self) -> (u64, Option<Option<FileContents>>) {
        let progress = *self.state();
        (progress.length, progress.end)
    }

    /// Reads bytes that have arrived; blocks.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    fn state(&self) -> MutexGuard<'_, Progress> {
        self.progress
            .lock()
            .expect("no thread panics while it holds this")
    }
}
