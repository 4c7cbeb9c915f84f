//! Files that are still coming in, for those who follow them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard};

use event_listener::{Event, EventListener};

use crate::model::FileContents;
use crate::protocol::{EventId, FileName};

/// A file on its way in that others read as it comes.
#[derive(Debug)]
pub struct Live {
    /// Its number.
    pub id: EventId,
    /// What it is called.
    pub name: FileName,
    file: File,
    progress: Mutex<Progress>,
    changed: Event,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    length: u64,
    /// How it ended: whole, or broken off.
    end: Option<Option<FileContents>>,
}

impl Live {
    /// A file of which nothing has come yet.
    pub fn new(id: EventId, name: FileName, file: File) -> Self {
        Self {
            id,
            name,
            file,
            progress: Mutex::default(),
            changed: Event::new(),
        }
    }

    /// So many bytes have come by now.
    pub fn grow(&self, length: u64) {
        self.state().length = length;
        self.changed.notify(usize::MAX);
    }

    /// It has ended: whole, or broken off for `None`.
    pub fn end(&self, whole: Option<FileContents>) {
        self.state().end = Some(whole);
        self.changed.notify(usize::MAX);
    }

    /// Ends when it changes after this call; ask for it before looking at [`Self::progress`].
    pub fn grown(&self) -> EventListener {
        self.changed.listen()
    }

    /// How many bytes have come, and how it ended, if it has.
    pub fn progress(&self) -> (u64, Option<Option<FileContents>>) {
        let progress = *self.state();
        (progress.length, progress.end)
    }

    /// Reads bytes that have come; blocks.
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
