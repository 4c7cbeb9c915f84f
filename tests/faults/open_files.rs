//! chatd.md 5: `chatd` with few open files.
//!
//! It says how many open files it needs, and transfers leave enough of them for new clients.

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use crate::support::inbox::DEADLINE;
use crate::support::server::Chatd;
use crate::support::spawn::Peer;

/// Starts `chatd` with a limit of `limit` open files.
fn start(limit: u32) -> Result<Chatd, String> {
    let folder = tempfile::tempdir().expect("there is space");
    let path = folder.path().join("chatd");
    let script = format!(
        "#!/bin/sh\nulimit -n {limit}\nexec {} \"$@\"\n",
        env!("CARGO_BIN_EXE_chatd")
    );
    std::fs::write(&path, script).expect("there is space");
    let executable = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&path, executable).expect("it is ours");
    let program = path.to_str().expect("it is UTF-8");
    let flags = ["--announce-after", "1h"].map(str::to_owned);
    Chatd::spawn(program, &flags)
}

#[test]
fn too_low_a_limit_is_refused_with_the_number_that_is_needed() {
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$0\" --memory --no-announce"])
        .arg(env!("CARGO_BIN_EXE_chatd"))
        .output()
        .expect("a shell is there");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(
        message.contains("the limit on open files is 64, and at least 192 are needed"),
        "{message}"
    );
}

#[test]
fn endless_uploads_leave_descriptors_for_new_clients() {
    let chatd = start(256).expect("it is enough");
    let mut watch = chatd.member("watch");
    let mut uploads: Vec<Peer> = Vec::new();
    for n in 0..20 {
        let mut peer = chatd.member(&format!("up{n}"));
        peer.send(format!("UPLOAD f{n} *\n"));
        // 13 descriptors are left for uploads then, half of them for one address, and each takes 3.
        match n {
            0..2 => watch.inbox.find(|line| line.starts_with("FILE #lobby up")),
            _ => peer.expect("ERR UPLOAD busy …"),
        };
        uploads.push(peer);
    }
    let mut new = chatd.member("new");
    new.ask("PING", "OK PING");
    drop(uploads);
    // Once these uploads have ended, files are accepted again; before that, a client retries.
    let until = Instant::now() + DEADLINE;
    loop {
        new.send("UPLOAD g 1\ngPING done\n");
        let answer = new.inbox.find(|line| line.contains(" UPLOAD "));
        new.inbox.find(|line| line == "OK PING done");
        if answer.starts_with("OK UPLOAD ") {
            return;
        }
        assert!(answer.starts_with("ERR UPLOAD busy "), "{answer}");
        assert!(Instant::now() < until, "still busy");
    }
}
