//! Files by digest: received into a temporary file, hashed on the way, kept under the SHA-256 of what is
//! in them. A user's name for a file never reaches the disk.
//!
//! Everything here blocks; the server calls it on threads for that. Knows no socket and no room.

pub mod live;
pub mod private;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempDir};

use crate::protocol::Digest;

/// Where files are kept.
#[derive(Debug)]
pub struct Store {
    kept: PathBuf,
    incoming: PathBuf,
    /// How many files of the chat have the same bytes; the bytes go with the last.
    links: Mutex<HashMap<Digest, usize>>,
    /// With `--memory`: the folder that goes with the server.
    _folder: Option<TempDir>,
}

/// A file on its way in.
#[derive(Debug)]
pub struct Incoming {
    file: NamedTempFile,
    hash: Sha256,
    length: u64,
}

impl Store {
    /// Opens the store in `folder`, which is made if it is not there; `None` for one that goes away at
    /// the end. Files that were cut off by the end of an earlier server are removed.
    ///
    /// # Errors
    /// When the folder cannot be made or written to.
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
            _folder: temporary,
        };
        for folder in [&store.kept, &store.incoming] {
            private::make_folder(folder)?;
        }
        for entry in fs::read_dir(&store.incoming)? {
            let path = entry?.path();
            // Only what this program has put there.
            if path.to_string_lossy().ends_with(PARTIAL) {
                fs::remove_file(&path)?;
            }
        }
        File::open(root)?.sync_all()?;
        store.begin()?; // fails now rather than at the first upload
        Ok(store)
    }

    /// Learns how many files of the log have which bytes.
    pub fn restore(&self, links: HashMap<Digest, usize>) {
        *self
            .links
            .lock()
            .expect("no thread panics while it holds this") = links;
    }

    /// Begins to receive a file.
    ///
    /// # Errors
    /// When no temporary file can be made.
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

    /// Keeps a whole file, once for all files with the same bytes: when this returns, they and their name
    /// in the folder are on disk.
    ///
    /// # Errors
    /// When it cannot be moved to its place; then nothing is kept.
    pub fn keep(&self, incoming: Incoming, digest: Digest) -> io::Result<()> {
        incoming.file.as_file().sync_data()?;
        let mut links = self
            .links
            .lock()
            .expect("no thread panics while it holds this");
        incoming.file.persist(self.path(digest))?;
        File::open(&self.kept)?.sync_all()?;
        *links.entry(digest).or_default() += 1;
        Ok(())
    }

    /// One file less has these bytes; with the last they go.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn release(&self, digest: Digest) -> io::Result<()> {
        let mut links = self
            .links
            .lock()
            .expect("no thread panics while it holds this");
        let left = links.entry(digest).or_default();
        *left = left.saturating_sub(1);
        if *left > 0 {
            return Ok(());
        }
        links.remove(&digest);
        fs::remove_file(self.path(digest))
    }

    /// Opens the bytes for reading.
    ///
    /// # Errors
    /// When they are not there.
    pub fn get(&self, digest: Digest) -> io::Result<File> {
        File::open(self.path(digest))
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.kept.join(digest.to_string())
    }
}

/// How the name of a file on its way in ends.
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

    /// The same file for reading.
    ///
    /// # Errors
    /// When it cannot be opened again.
    pub fn reader(&self) -> io::Result<File> {
        self.file.reopen()
    }

    /// How many bytes have come so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What has come so far: its length and digest.
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
    fn the_same_bytes_are_kept_once_and_go_with_the_last_file() {
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
    fn what_is_not_whole_leaves_nothing() {
        let store = Store::open(None).unwrap();
        store.begin().unwrap().write(b"cut off").unwrap();
        assert_eq!(fs::read_dir(&store.incoming).unwrap().count(), 0);
    }

    #[test]
    fn opening_removes_what_was_cut_off_and_nothing_else() {
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
