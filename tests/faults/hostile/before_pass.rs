//! protocol.md 4.27: a server with a password reveals nothing to clients that have not given it.

use super::target::{Target, ask, basic};

/// Regression test. The reason for the ban of a nick was once shown to anyone who tried to take this nick, even
/// without the server's password.
#[test]
fn bans_are_not_revealed_before_the_server_password() {
    let folder = tempfile::tempdir().expect("a folder");
    let password = folder.path().join("password");
    std::fs::write(&password, "open sesame\n").expect("written");
    let flags = [
        "--operator",
        "root1",
        "--password-file",
        password.to_str().expect("UTF-8"),
    ];
    let target = Target::start(&flags);
    let mut root = target.peer();
    ask(&mut root, "PASS open sesame", "OK PASS");
    ask(&mut root, "NICK root1", "OK NICK");
    ask(&mut root, "REGISTER my secret", "OK REGISTER");
    ask(
        &mut root,
        "BAN troll because he leaked the Q3 numbers",
        "OK BAN",
    );
    let of = |nick: &str| {
        let reply = target
            .stranger()
            .ask(&format!("NICK {nick}"))
            .expect("a reply");
        let request = format!(
            "POST /rooms/lobby HTTP/1.1\r\nHost: localhost\r\n{}",
            basic(&format!("{nick}:"))
        );
        let (head, body) = target.strange_http(&format!("{request}\r\nhello"));
        let status = head.lines().next().unwrap_or_default().to_owned();
        (reply + "\n" + &status + "\n" + &body).replace(nick, "NICK")
    };
    let nobody = of("nobody");
    assert_eq!(of("troll"), nobody);
    let mut inside = target.stranger();
    ask(&mut inside, "PASS open sesame", "OK PASS");
    ask(&mut inside, "NICK troll", "ERR NICK banned");
}
