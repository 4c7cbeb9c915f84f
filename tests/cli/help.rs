//! chatd.md 1: the command lines.
//!
//! Help, exit codes and error lines are compared with golden files in `tests/cli/golden`. With `BLESS=1`, the files are
//! written anew; review the difference then.

use std::path::Path;
use std::process::{Command, Stdio};

use plainchat::config::Limits;

/// Runs `program args` and compares exit code, standard output and standard error with the golden file.
fn check(program: &str, args: &[&str], golden: &str) {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    let name = Path::new(program)
        .file_name()
        .expect("a name")
        .to_string_lossy();
    let found = format!(
        "$ {name} {}\n{}{}code {}\n",
        args.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        output.status.code().expect("no signal")
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cli/golden")
        .join(golden);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &found).expect("the file can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "{}\n--- expected\n{expected}--- found\n{found}---",
        path.display()
    );
}

const CHATC: &str = env!("CARGO_BIN_EXE_chatc");

#[test]
fn chatc_help_is_complete() {
    check(CHATC, &["--help"], "chatc-help.txt");
    check(CHATC, &["upload", "--help"], "chatc-upload-help.txt");
    check(CHATC, &["download", "--help"], "chatc-download-help.txt");
    check(CHATC, &["files", "--help"], "chatc-files-help.txt");
    for command in [
        "tail",
        "send",
        "history",
        "search",
        "who",
        "rooms",
        "run",
        "bot",
        "servers",
        "completions",
        "manual",
    ] {
        let golden = format!("chatc-{command}-help.txt");
        check(CHATC, &[command, "--help"], &golden);
    }
    check(CHATC, &["manual"], "chatc-manual.txt");
}

const CHATD: &str = env!("CARGO_BIN_EXE_chatd");

#[test]
fn chatd_help_is_complete() {
    check(CHATD, &["--help"], "chatd-help.txt");
    check(CHATD, &["config", "--help"], "chatd-config-help.txt");
    check(CHATD, &["check", "--help"], "chatd-check-help.txt");
    check(CHATD, &["export", "--help"], "chatd-export-help.txt");
    check(CHATD, &["import", "--help"], "chatd-import-help.txt");
    check(CHATD, &["backup", "--help"], "chatd-backup-help.txt");
    check(CHATD, &["keys", "--help"], "chatd-keys-help.txt");
    check(CHATD, &["cluster", "--help"], "chatd-cluster-help.txt");
    for command in ["init", "leave", "status", "repair"] {
        let golden = format!("chatd-cluster-{command}-help.txt");
        check(CHATD, &["cluster", command, "--help"], &golden);
    }
    check(CHATD, &["cluster", "init"], "chatd-cluster-init-nats.txt");
}

/// Each limit is described once, by its row in the table, and its flag accepts the default in that row.
#[test]
fn every_limit_is_in_the_help_and_its_default_is_a_value_of_its_flag() {
    let output = Command::new(CHATD).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let help = words(&help);
    let mut settings = String::new();
    for row in Limits::default().rows() {
        let (what, value, reason) = (row.what, &row.value, row.reason);
        let shown = match row.flag {
            Some(flag) => {
                let key = flag.trim_start_matches("--");
                // A limit of "none" has no value that a flag could accept.
                match value.as_str() {
                    "none" | "forever" => {}
                    value => settings += &format!("{key} = '{value}'\n"),
                }
                assert!(help.contains(&format!(" {flag} <")), "{flag} in {help}");
                format!("{what} (default: {value}; {reason})")
            }
            None => format!("{value} {what}: {reason}"),
        };
        assert!(help.contains(&words(&shown)), "{shown} in {help}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chatd.toml");
    std::fs::write(&path, settings).unwrap();
    // It reads its flags, prints the text, and ends.
    let mut config = Command::new(CHATD);
    let config = config.arg("--config").arg(&path).arg("config");
    let output = config.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(!printed.contains("a limit"), "a flag has no row: {printed}");
}

#[test]
fn chatd_says_in_one_line_why_it_does_not_start() {
    check(CHATD, &["--colour"], "chatd-unknown-flag.txt");
    check(
        CHATD,
        &["--listen", "nowhere:at:all"],
        "chatd-bad-address.txt",
    );
    check(CHATD, &["--idle-after", "soon"], "chatd-bad-time.txt");
    check(
        CHATD,
        &["--listen", "127.0.0.1:0", "--data", "/dev/null/x"],
        "chatd-bad-folder.txt",
    );
}

#[test]
fn chatd_says_in_one_line_what_is_wrong_with_its_file() {
    let file = |name| format!("tests/cli/golden/{name}.toml");
    let unknown = file("unknown-keys");
    check(CHATD, &["--config", &unknown], "chatd-file-unknown.txt");
    check(
        CHATD,
        &["--config", &file("bad-value")],
        "chatd-file-value.txt",
    );
    check(
        CHATD,
        &["--config", &file("no-toml")],
        "chatd-file-no-toml.txt",
    );
    check(CHATD, &["--config", "none.toml"], "chatd-file-none.txt");
}

#[test]
fn chatc_says_in_one_line_what_is_wrong_with_its_flags() {
    check(CHATC, &["--colour"], "chatc-unknown-flag.txt");
    check(CHATC, &["localhost", "5002"], "chatc-two-hosts.txt");
    check(CHATC, &["http://localhost/"], "chatc-bad-address.txt");
    check(CHATC, &["upload"], "chatc-upload-nothing.txt");
    check(CHATC, &["download"], "chatc-download-nothing.txt");
    check(CHATC, &["download", "x.txt"], "chatc-download-name.txt");
}
