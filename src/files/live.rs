//! Live files: files that others can already read while they are being uploaded.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard};

use event_listener::{Event, EventListener};

use crate::model::FileContents;
use crate::protocol::{EventId, FileName};

/// A file that others can read while it is being uploaded.
#[derive(Debug)]
pub struct Live {
    /// The file's id.
    pub id: EventId,
    /// The file's name.
    pub name: FileName,
    file: File,
    /// Whether the file is uploaded to another server, and copied from there.
    is_copy: bool,
    progress: Mutex<Progress>,
    changed: Event,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    length: u64,
    /// The end of the upload: `None` while it goes on, `Some(None)` if it was aborted, otherwise the complete
    /// contents.
    end: Option<Option<FileContents>>,
}

impl Live {
    /// Returns a live file that is still empty.
    pub fn new(id: EventId, name: FileName, file: File) -> Self {
        Self {
            id,
            name,
            file,
            is_copy: false,
            progress: Mutex::default(),
            changed: Event::new(),
        }
    }

    /// Returns a live file that is copied from another server, and is still empty.
    pub fn copy(id: EventId, name: FileName, file: File) -> Self {
        Self {
            is_copy: true,
            ..Self::new(id, name, file)
        }
    }

    /// Returns whether the file is uploaded to another server, and copied from there.
    pub fn is_copy(&self) -> bool {
        self.is_copy
    }

    /// Records that `length` bytes have arrived so far.
    pub fn grow(&self, length: u64) {
        self.state().length = length;
        self.changed.notify(usize::MAX);
    }

    /// Records the end of the upload: its complete contents, or `None` if it was aborted.
    pub fn end(&self, whole: Option<FileContents>) {
        self.state().end = Some(whole);
        self.changed.notify(usize::MAX);
    }

    /// Returns a listener that is notified of the next change after this call. Call this before [`Self::progress`],
    /// so that no change is missed.
    pub fn grown(&self) -> EventListener {
        self.changed.listen()
    }

    /// Returns the number of bytes that have arrived. If the upload has ended, also returns its contents, or `None`
    /// if it was aborted.
    pub fn progress(&self) -> (u64, Option<Option<FileContents>>) {
        let progress = *self.state();
        (progress.length, progress.end)
    }

    /// Reads bytes that have arrived, from `offset` on. Blocks.
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
