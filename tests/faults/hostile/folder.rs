//! protocol.md 13: other users of the machine cannot read stored data.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::target::{Target, program};
use crate::support::peer::sha256;

/// Checks the folder `path` and everything in it. Returns the paths to which users other than the owner have any
/// access.
fn loose(path: &Path) -> Vec<String> {
    let mode = fs::symlink_metadata(path)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o777;
    let mut found = Vec::new();
    if mode & 0o077 != 0 {
        found.push(format!("{mode:o} {}", path.display()));
    }
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder").flatten() {
            found.extend(loose(&entry.path()));
        }
    }
    found
}

/// Regression test. Databases, with all hashes and direct messages, could once be read by every user of the machine.
#[test]
fn other_users_of_the_machine_can_read_nothing_whatever_the_umask() {
    let mut target = Target::start_under(&["sh", "-c", "umask 0; exec \"$@\"", "sh"], &[]);
    target.owner("ann");
    target.serves_everybody();
    let mut ann = target.member("bob");
    ann.upload("a.txt", b"hello", &sha256(b"hello"))
        .expect("a reply");
    ann.send("UPLOAD live.log *\nsome").expect("it reads");
    target.until("it comes in", |target| target.metric("chatd_rooms") > 0);
    assert_eq!(loose(&target.data()), Vec::<String>::new());
    let to = target.scratch().join("backup");
    let copied = Command::new("sh")
        .args([
            "-c",
            "umask 0; exec \"$@\"",
            "sh",
            &program(),
            "backup",
            "--data",
        ])
        .args([&target.data(), &to])
        .output()
        .expect("sh runs");
    assert!(copied.status.success(), "{copied:?}");
    assert!(to.join("chat.db").is_file(), "a backup");
    assert_eq!(loose(&to), Vec::<String>::new());
}
