//! http.md 2: the nick of a request.

use std::thread;

use base64::Engine;

use crate::support::server::Chatd;
use crate::support::web::{check_status, say};

/// `ci:` in base64.
const CI: &str = "Authorization: Basic Y2k6";

#[test]
fn concurrent_requests_under_one_nick_do_not_block_each_other() {
    let chatd = Chatd::start();
    let mut watch = chatd.peer();
    watch.ask("JOIN #ops", "OK JOIN #ops <id>");
    let mut make = chatd.peer();
    make.send(format!(
        "PUT /rooms/ops/files/build.log HTTP/1.1\r\nHost: {}\r\n{CI}\r\n\
         Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        chatd.address
    ));
    watch.expect("FILE #ops ci <id> * build.log");
    thread::scope(|scope| {
        let jobs: Vec<_> = (0..10)
            .map(|n| {
                let chatd = &chatd;
                scope.spawn(move || {
                    say(
                        chatd,
                        &["POST /rooms/ops HTTP/1.1", CI],
                        &format!("job {n}"),
                    )
                })
            })
            .collect();
        for job in jobs {
            check_status(&job.join().unwrap(), 200);
        }
    });
    for _ in 0..10 {
        watch.expect("MSG #ops ci job …");
    }
    // It is not free for anyone else, nor for a look-alike, nor with a password.
    chatd.peer().ask("NICK ci", "ERR NICK nick-taken …");
    chatd.peer().ask("NICK ci secret", "ERR NICK nick-taken …");
    chatd.peer().ask("NICK cI", "ERR NICK nick-taken …");
    let secret = "Authorization: Basic Y2k6c2VjcmV0"; // ci:secret
    check_status(
        &say(&chatd, &["POST /rooms/ops HTTP/1.1", secret], "x"),
        409,
    );
    make.send("0\r\n\r\n");
    make.expect("HTTP/1.1 201 Created");
    watch.expect("STORED #ops ci …");
    // While someone is connected under it, requests cannot use it.
    let _ci = chatd.member("ci");
    check_status(&say(&chatd, &["POST /rooms/ops HTTP/1.1", CI], "x"), 409);
}

#[test]
fn a_room_created_over_http_belongs_to_its_creator() {
    let chatd = Chatd::start();
    let mut ann = chatd.member("ann");
    ann.ask("REGISTER a-long-password", "OK REGISTER ann");
    let secret = base64::engine::general_purpose::STANDARD.encode("ann:a-long-password");
    let as_ann = format!("Authorization: Basic {secret}");
    check_status(
        &say(&chatd, &["POST /rooms/plan HTTP/1.1", &as_ann], "x"),
        200,
    );
    ann.ask("JOIN #plan", "OK JOIN #plan <id>");
    ann.ask("MODE #plan invite", "OK MODE #plan invite");
    check_status(
        &say(&chatd, &["POST /rooms/plan HTTP/1.1", &as_ann], "y"),
        200,
    );
    ann.expect("MSG #plan ann y");
    check_status(&say(&chatd, &["POST /rooms/plan HTTP/1.1", CI], "z"), 403);
    // The lobby receives nothing of all this.
    let mut bob = chatd.member("bob");
    bob.ask("WHO #lobby", "USER #lobby ann");
}
