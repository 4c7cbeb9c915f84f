//! Creates files and folders that no other user of the machine can read, whatever the umask is. They contain password
//! hashes and direct messages.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, set_permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Creates a folder and its parents, if they are missing.
///
/// # Errors
/// When the folder cannot be created.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens a file for writing, without truncating it. Creates the file if it is missing.
///
/// # Errors
/// When the file cannot be created or opened.
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

/// Removes other users' access to a file, if the file exists. A file that belongs to another user is not changed.
pub fn tighten(path: &Path) {
    let is_open = |mode: u32| mode & 0o077 != 0;
    if path
        .metadata()
        .is_ok_and(|file| file.is_file() && is_open(file.permissions().mode()))
    {
        let _ = set_permissions(path, Permissions::from_mode(0o600)); // if this fails, the file stays as it is
    }
}
