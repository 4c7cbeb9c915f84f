//! Stores files by digest. The bytes of an upload go to a temporary file and are hashed on the way. A complete file
//! is stored under the SHA-256 digest of its contents. A file name that a user has chosen never reaches the disk.
//!
//! All functions here block; the server calls them on a thread pool. This module knows neither sockets nor rooms.

pub mod live;
pub mod private;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempDir};

use crate::protocol::Digest;

/// The folder of stored files.
#[derive(Debug)]
pub struct Store {
    kept: PathBuf,
    incoming: PathBuf,
    links: Mutex<Links>,
    /// The number of servers that release each file.
    servers: usize,
    /// With `--memory`, the temporary folder, which is deleted when the server ends.
    _folder: Option<TempDir>,
}

/// Why files are stored.
#[derive(Debug, Default)]
struct Links {
    /// The number of files in the chat that have each digest. When the last one is removed, the bytes are deleted.
    counts: HashMap<Digest, usize>,
    /// The files that another server is about to announce, and until when their copies are stored for that.
    held: HashMap<Digest, Duration>,
}

impl Links {
    fn need(&self, digest: Digest) -> bool {
        self.counts.contains_key(&digest) || self.held.contains_key(&digest)
    }
}

/// An upload in progress.
#[derive(Debug)]
pub struct Incoming {
    file: NamedTempFile,
    hash: Sha256,
    length: u64,
}

impl Store {
    /// Opens the store in `folder`, and creates the folder if it is missing. With `None`, uses a temporary folder.
    /// Deletes partial files that an earlier server has left.
    ///
    /// # Errors
    /// When the folder cannot be created or written to.
    pub fn open(folder: Option<&Path>) -> io::Result<Self> {
        let temporary = match folder {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("chatd-").tempdir()?),
        };
        let root = match (&temporary, folder) {
            (Some(temporary), _) => temporary.path().to_owned(),
            (None, folder) => folder.unwrap_or(Path::new(".")).to_owned(),
        };
        let store = Self {
            kept: root.join("files"),
            incoming: root.join("incoming"),
            links: Mutex::default(),
            servers: 1,
            _folder: temporary,
        };
        for folder in [&store.kept, &store.incoming] {
            private::make_folder(folder)?;
        }
        for entry in fs::read_dir(&store.incoming)? {
            let path = entry?.path();
            // Delete only files that this program has put there.
            if path.to_string_lossy().ends_with(PARTIAL) {
                fs::remove_file(&path)?;
            }
        }
        File::open(root)?.sync_all()?;
        store.begin()?; // fails now rather than at the first upload
        Ok(store)
    }

    /// Returns the store for several servers that share a chat. A file is deleted when each of them has released it.
    #[must_use]
    pub fn shared_by(self, servers: usize) -> Self {
        Self { servers, ..self }
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links
            .lock()
            .expect("no thread panics while it holds this")
    }

    /// Sets the number of files in the log that have each digest.
    pub fn restore(&self, links: HashMap<Digest, usize>) {
        self.links().counts = links;
    }

    /// Deletes the files to which the log does not refer. A replica may have missed their removal.
    ///
    /// # Errors
    /// When they cannot be listed or deleted.
    pub fn delete_unreferenced(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.kept)? {
            let entry = entry?;
            let Some(digest) = entry.file_name().to_str().and_then(Digest::parse) else {
                continue;
            };
            // While this is held, no file is stored. Others must not wait until the whole folder has been read.
            let links = self.links();
            if !links.need(digest) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Begins an upload.
    ///
    /// # Errors
    /// When no temporary file can be created.
    pub fn begin(&self) -> io::Result<Incoming> {
        let file = tempfile::Builder::new()
            .suffix(PARTIAL)
            .tempfile_in(&self.incoming)?;
        Ok(Incoming {
            file,
            hash: Sha256::new(),
            length: 0,
        })
    }

    /// Stores a complete file. Files with the same contents are stored only once. When this returns, the bytes and
    /// the directory entry are synced.
    ///
    /// # Errors
    /// When the file cannot be moved to its place. In this case nothing is stored.
    pub fn keep(&self, incoming: Incoming, digest: Digest) -> io::Result<()> {
        incoming.file.as_file().sync_data()?;
        let mut links = self.links();
        incoming.file.persist(self.path(digest))?;
        File::open(&self.kept)?.sync_all()?;
        *links.counts.entry(digest).or_default() += self.servers;
        Ok(())
    }

    /// Adds a reference to a digest whose bytes another server has. They are stored later by [`Self::keep_copy`].
    pub fn expect(&self, digest: Digest) {
        let mut links = self.links();
        *links.counts.entry(digest).or_default() += 1;
    }

    /// Lets [`Self::keep_copy`] store a file without a reference, because another server is about to announce it.
    /// [`Self::delete_held`] deletes it if there is still no reference at the time `until`.
    pub fn hold(&self, digest: Digest, until: Duration) {
        self.links().held.insert(digest, until);
    }

    /// Deletes the files that were held until now, and to which there is no reference.
    ///
    /// # Errors
    /// When a file cannot be deleted.
    pub fn delete_held(&self, now: Duration) -> io::Result<()> {
        let mut links = self.links();
        let held = links.held.extract_if(|_, until| *until <= now);
        let ended: Vec<Digest> = held.map(|(digest, _)| digest).collect();
        let mut result = Ok(());
        for digest in ended {
            if !links.need(digest)
                && let Err(e) = self.delete(digest)
            {
                links.held.insert(digest, now); // the next call tries again
                result = Err(e);
            }
        }
        result
    }

    /// Stores a copy of a file that another server has, if there is a reference to it or it is held. Returns whether it is
    /// stored.
    ///
    /// # Errors
    /// When the file cannot be moved to its place.
    pub fn keep_copy(&self, incoming: Incoming, digest: Digest) -> io::Result<bool> {
        incoming.file.as_file().sync_data()?;
        let links = self.links();
        if !links.need(digest) {
            return Ok(false);
        }
        incoming.file.persist(self.path(digest))?;
        File::open(&self.kept)?.sync_all()?;
        Ok(true)
    }

    /// Returns whether there is a reference to a digest, or it is held.
    pub fn is_expected(&self, digest: Digest) -> bool {
        self.links().need(digest)
    }

    /// Returns whether the bytes of a file are stored and synced.
    pub fn is_complete(&self, digest: Digest) -> bool {
        let _links = self.links(); // whoever stores a file holds this until it is synced
        self.path(digest).exists()
    }

    /// Returns the digests to which there are references, but whose bytes are not stored.
    pub fn missing(&self) -> Vec<Digest> {
        let links = self.links();
        let missing = links.counts.keys();
        let missing = missing.filter(|digest| !self.path(**digest).exists());
        missing.copied().collect()
    }

    /// Removes one reference to a digest. With the last reference, the bytes are deleted.
    ///
    /// # Errors
    /// When the bytes cannot be deleted.
    pub fn release(&self, digest: Digest) -> io::Result<()> {
        let mut links = self.links();
        let left = links.counts.entry(digest).or_default();
        *left = left.saturating_sub(1);
        if *left > 0 {
            return Ok(());
        }
        links.counts.remove(&digest);
        if links.need(digest) {
            return Ok(());
        }
        self.delete(digest)
    }

    fn delete(&self, digest: Digest) -> io::Result<()> {
        match fs::remove_file(self.path(digest)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()), // it was not copied yet
            removed => removed,
        }
    }

    /// Opens a stored file for reading.
    ///
    /// # Errors
    /// When no stored file has this digest.
    pub fn get(&self, digest: Digest) -> io::Result<File> {
        File::open(self.path(digest))
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.kept.join(digest.to_string())
    }
}

/// The extension of temporary files, which hold uploads in progress.
const PARTIAL: &str = ".partial";

impl Incoming {
    /// Appends bytes.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Opens the temporary file again, for reading.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn reader(&self) -> io::Result<File> {
        self.file.reopen()
    }

    /// Returns the number of bytes that have arrived so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the length and digest of the bytes that have arrived so far.
    pub fn sum(&self) -> (u64, Digest) {
        (self.length, Digest(self.hash.clone().finalize().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(store: &Store, bytes: &[u8]) -> Digest {
        let mut incoming = store.begin().unwrap();
        incoming.write(bytes).unwrap();
        let (length, digest) = incoming.sum();
        assert_eq!(length, bytes.len() as u64);
        store.keep(incoming, digest).unwrap();
        digest
    }

    #[test]
    fn the_same_bytes_are_stored_once_and_deleted_with_the_last_file() {
        let store = Store::open(None).unwrap();
        let digest = put(&store, b"hello\n");
        assert_eq!(
            digest.to_string(),
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
        );
        assert_eq!(put(&store, b"hello\n"), digest);
        assert_eq!(fs::read_dir(&store.kept).unwrap().count(), 1);
        store.release(digest).unwrap();
        assert!(store.get(digest).is_ok());
        store.release(digest).unwrap();
        assert!(store.get(digest).is_err());
    }

    #[test]
    fn a_copy_that_is_held_is_deleted_later_if_nothing_refers_to_it() {
        let store = Store::open(None).unwrap();
        let (now, later) = (Duration::from_secs(1), Duration::from_secs(2));
        let copy = |text: &[u8]| {
            let mut incoming = store.begin().unwrap();
            incoming.write(text).unwrap();
            let digest = incoming.sum().1;
            (incoming, digest)
        };
        let (incoming, digest) = copy(b"nobody wants this");
        assert!(!store.keep_copy(incoming, digest).unwrap());
        let (one, two) = (copy(b"announced"), copy(b"refused"));
        let digests = [one.1, two.1];
        for (incoming, digest) in [one, two] {
            store.hold(digest, later);
            assert!(store.is_expected(digest));
            assert!(store.keep_copy(incoming, digest).unwrap());
        }
        store.delete_unreferenced().unwrap();
        store.delete_held(now).unwrap();
        // The last file with the same contents may be removed meanwhile.
        store.expect(digests[0]);
        store.release(digests[0]).unwrap();
        assert!(digests.iter().all(|digest| store.is_complete(*digest)));
        store.expect(digests[0]);
        store.delete_held(later).unwrap();
        assert_eq!(
            digests.map(|digest| store.is_complete(digest)),
            [true, false]
        );
        store.release(digests[0]).unwrap();
        assert!(!store.is_complete(digests[0]));
    }

    #[test]
    fn an_incomplete_upload_leaves_nothing() {
        let store = Store::open(None).unwrap();
        store.begin().unwrap().write(b"cut off").unwrap();
        assert_eq!(fs::read_dir(&store.incoming).unwrap().count(), 0);
    }

    #[test]
    fn opening_removes_partial_files_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path())).unwrap();
        let digest = put(&store, b"kept");
        fs::write(store.incoming.join("x.partial"), b"half").unwrap();
        fs::write(store.incoming.join("mine.txt"), b"not ours").unwrap();
        drop(store);
        let store = Store::open(Some(folder.path())).unwrap();
        assert!(store.get(digest).is_ok());
        let left = fs::read_dir(&store.incoming).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["mine.txt"]);
    }
}
