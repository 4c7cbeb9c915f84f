//! chatd.md 5: with too few open files or too little memory a server does not start.

use std::process::Command;

use super::target::{Target, program};

/// Regression test. With too few open files, the server once started, logged that "only 0 connections fit", and served nobody.
#[test]
fn with_too_few_descriptors_chatd_says_how_many_it_needs() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = |files: u64| {
        let mut command = Command::new("timeout");
        let limit = format!("--nofile={files}:{files}");
        command.args([
            "30",
            "prlimit",
            &limit,
            &program(),
            "--listen",
            "127.0.0.1:0",
            "--data",
        ]);
        command.arg(folder.path()).output().expect("timeout runs")
    };
    let mut needed = 0;
    for files in [32, 64, 128] {
        let output = start(files);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{files}: {message}");
        let number = message
            .split("ulimit -n ")
            .nth(1)
            .and_then(|rest| rest.split(',').next());
        needed = number
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("no number: {message}"));
    }
    let limit = format!("--nofile={needed}:{needed}");
    Target::start_under(&["prlimit", &limit], &[]).serves_everybody();
}

/// Regression test. With too little memory the server once crashed, or hung after a panic and did not end at SIGTERM.
#[test]
fn with_too_little_memory_chatd_says_how_much_it_needs() {
    let start = |kib: u64| {
        let mut command = Command::new("timeout");
        let limit = format!("--as={}", kib << 10);
        let program = program();
        command.args(["30", "prlimit", &limit, &program, "--memory"]);
        command
            .args(["--listen", "127.0.0.1:0"])
            .output()
            .expect("timeout runs")
    };
    let mut needed = 0;
    for mib in [40, 48, 64] {
        let output = start(mib << 10);
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{mib} MiB: {printed}");
        let number = printed.split("ulimit -v ").nth(1);
        let number = number.and_then(|rest| rest.split(',').next());
        needed = number
            .and_then(|number| number.parse::<u64>().ok())
            .unwrap_or_else(|| panic!("no number: {printed}"));
    }
    let limit = format!("--as={}", needed << 10);
    let mut target = Target::start_under(&["prlimit", &limit], &[]);
    // With an arena for each thread, 5 of 60 starts failed.
    assert!(target.environment().contains("MALLOC_ARENA_MAX=1\0"));
    target.serves_everybody();
}
