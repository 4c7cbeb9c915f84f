//! Files and folders that nobody else on the machine can read, whatever the umask: passwords' hashes and private
//! messages are in them.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, set_permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Makes a folder, and those that it is in, unless it is there.
///
/// # Errors
/// When it cannot be made.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens a file for writing, which is made if it is not there and keeps what is in it.
///
/// # Errors
/// When it cannot be made or written.
pub fn open_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    tighten(path);
    Ok(file)
}

/// Takes a file away from all others, if there is one; it may be another user's, who then has to know.
pub fn tighten(path: &Path) {
    let is_open = |mode: u32| mode & 0o077 != 0;
    if path
        .metadata()
        .is_ok_and(|file| file.is_file() && is_open(file.permissions().mode()))
    {
        let _ = set_permissions(path, Permissions::from_mode(0o600)); // as good as it can be
    }
}
