//! chatd.md 2: an interrupted backup is not taken for a complete one.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use super::target::{Target, count, pipeline, program};
use crate::support::peer::DEADLINE;

fn check(folder: &Path) -> Output {
    let mut command = Command::new(program());
    command
        .args(["check", "--data"])
        .arg(folder)
        .output()
        .expect("it runs")
}

/// Returns how many events a folder exports.
fn events(folder: &Path) -> usize {
    let mut command = Command::new(program());
    let output = command
        .args(["export", "--data"])
        .arg(folder)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).lines().count()
}

/// Regression test. A third of the killed backups once left an empty database, which `chatd check` called sound.
#[test]
fn a_killed_backup_is_complete_or_recognised_as_incomplete() {
    let target = Target::start(&[]);
    let mut ann = target.member("ann");
    let lines: Vec<String> = (0..3000)
        .map(|n| format!("MSG {n} {}", "x".repeat(1000)))
        .collect();
    assert_eq!(count(&pipeline(&mut ann, &lines), "OK MSG "), lines.len());
    let all = events(&target.data());
    assert_eq!(all, lines.len());
    let mut wrong = Vec::new();
    let mut unfinished = 0;
    for n in 0..12_u64 {
        let folder = target.scratch().join(format!("backups{n}"));
        fs::create_dir(&folder).expect("a folder");
        let to = folder.join("backup");
        let mut command = Command::new(program());
        let command = command
            .args(["backup", "--data"])
            .args([&target.data(), &to]);
        let mut child = command.stderr(Stdio::null()).spawn().expect("it runs");
        // Killed when it has written that much, which may be nothing.
        let deadline = Instant::now() + DEADLINE;
        while size(&folder) < n * 200_000 + 1 && child.try_wait().expect("ours").is_none() {
            assert!(Instant::now() < deadline, "nothing is written");
        }
        child.kill().expect("ours");
        let ended = child.wait().expect("ours");
        unfinished += usize::from(!ended.success());
        // If there is a backup, it is complete or recognised as incomplete.
        if to.exists() {
            let checked = check(&to);
            if checked.status.success() && events(&to) != all {
                wrong.push(format!("{} of {all}: {checked:?}", events(&to)));
            }
        }
        fs::remove_dir_all(&folder).expect("ours");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(unfinished > 0, "none was broken off");
    // And one that is not interrupted.
    let to = target.scratch().join("backup");
    let mut command = Command::new(program());
    let copied = command
        .args(["backup", "--data"])
        .args([&target.data(), &to])
        .output()
        .expect("it runs");
    assert!(copied.status.success(), "{copied:?}");
    assert!(check(&to).status.success());
    assert_eq!(events(&to), all);
}

/// Regression test. `chatd check` once called an empty database sound, and created one where there was none.
#[test]
fn check_rejects_an_empty_database_and_creates_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = check(folder.path());
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(
        fs::read_dir(folder.path()).expect("a folder").count(),
        0,
        "nothing is made"
    );
    let empty = folder.path().join("chat.db");
    fs::write(&empty, "").expect("written");
    let output = check(folder.path());
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(
        fs::metadata(&empty).expect("there").len(),
        0,
        "it is left as it was"
    );
}

/// Returns the bytes of all files in a folder and below.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => 1 + size(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}
