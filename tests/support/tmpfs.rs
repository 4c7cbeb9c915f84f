//! A small disk for one test, which can be filled. Mounting needs root, as CI has.

use std::path::Path;
use std::process::Command;

pub struct Tmpfs {
    folder: tempfile::TempDir,
}

impl Tmpfs {
    /// Mounts a disk of `kib` KiB; fails with a clear message if that is not allowed.
    pub fn mount(kib: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "none"])
            .arg(folder.path()));
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills all the space that is left with a file that the caller removes.
    pub fn fill(&self) -> std::path::PathBuf {
        let path = self.path().join("ballast");
        let mut file = std::fs::File::create(&path).expect("a file");
        let page = [0; 4096];
        while std::io::Write::write_all(&mut file, &page).is_ok() {}
        path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: after a failed test, a server may still use it.
        run(Command::new("umount").arg("-l").arg(self.folder.path()));
    }
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?} (this test needs to be root): {error}"
    );
}
