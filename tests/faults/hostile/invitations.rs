//! protocol.md 4.33: an invitation costs no more in a crowded room.

use super::target::{Target, ask, pipeline};
use crate::support::spawn::allow_many_connections;

/// Regression test. An invitation once took time proportional to the square of the number of members, while everyone
/// else waited.
#[test]
fn invitations_take_no_longer_in_a_full_room() {
    const CROWD: usize = 800;
    const ASKED: usize = 200;
    allow_many_connections();
    let mut target = Target::start(&[]);
    let mut mallory = target.owner("mallory");
    let guest = target.owner("guest");
    ask(&mut mallory, "JOIN #open", "OK JOIN");
    let lines = (0..ASKED / 2).flat_map(|_| ["INVITE #open guest", "UNINVITE #open guest"]);
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    let mut cost = || {
        let before = target.cpu();
        let replies = pipeline(&mut mallory, &lines);
        assert!(
            replies.iter().all(|reply| reply.starts_with("OK ")),
            "{:?}",
            replies.first()
        );
        target.cpu() - before
    };
    cost();
    let empty = cost().max(1);
    let crowd: Vec<_> = (0..CROWD)
        .map(|n| {
            let mut peer = target.peer();
            peer.send(format!("JOIN #open\nNICK c{n}\n"))
                .expect("it reads");
            peer.reply().expect("a reply");
            ask(&mut peer, "PING", "OK NICK");
            peer
        })
        .collect();
    let full = cost();
    println!("{ASKED} invitations: {empty} ticks in an empty room, {full} beside {CROWD}");
    assert!(
        full <= empty * 3 + 20,
        "{full} ticks beside {CROWD}, {empty} beside nobody"
    );
    drop((guest, crowd));
    target.serves_everybody();
}
