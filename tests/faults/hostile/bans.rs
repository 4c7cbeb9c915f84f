//! protocol.md 4.29: the cost of a ban does not depend on the number of other users, and the cost of a change of nick
//! does not depend on the number of bans.

use super::target::{Target, pipeline};
use crate::support::peer::Peer;
use crate::support::spawn::allow_many_connections;

/// Regression test. Each ban was once compared with all nicks, and each nick with all bans, while everyone else waited.
#[test]
fn the_cost_of_bans_and_nicks_does_not_depend_on_their_number() {
    const CROWD: usize = 800;
    const BANS: usize = 900;
    const ASKED: usize = 200;
    allow_many_connections();
    let mut target = Target::start(&["--operator", "root1"]);
    let mut root = target.owner("root1");
    let bans: Vec<String> = (0..ASKED / 2)
        .flat_map(|_| ["BAN mallory 1h enough", "UNBAN mallory"].map(str::to_owned))
        .collect();
    let nicks: Vec<String> = (0..ASKED).map(|n| format!("NICK other{}", n % 2)).collect();
    let cost = |target: &Target, peer: &mut Peer, lines: &[String]| {
        let before = target.cpu();
        let replies = pipeline(peer, lines);
        assert_eq!(replies.len(), lines.len());
        let refused = replies.iter().find(|reply| !reply.starts_with("OK "));
        assert_eq!(refused, None);
        target.cpu() - before
    };
    let mut user = target.member("other1");
    cost(&target, &mut user, &nicks);
    let nick_beside_none = cost(&target, &mut user, &nicks).max(1);
    let many: Vec<String> = (0..BANS)
        .map(|n| format!("BAN evil{n} 1h enough"))
        .collect();
    cost(&target, &mut root, &many);
    let nick_beside_many = cost(&target, &mut user, &nicks);
    cost(&target, &mut root, &bans);
    let ban_beside_nobody = cost(&target, &mut root, &bans).max(1);
    let crowd: Vec<_> = (0..CROWD)
        .map(|n| target.member(&format!("c{n}")))
        .collect();
    let ban_beside_crowd = cost(&target, &mut root, &bans);
    println!(
        "{ASKED} requests: bans {ban_beside_nobody} ticks beside nobody, {ban_beside_crowd} beside {CROWD}; \
         nicks {nick_beside_none} ticks beside no ban, {nick_beside_many} beside {BANS}"
    );
    assert!(ban_beside_crowd <= ban_beside_nobody * 3 + 20);
    assert!(nick_beside_many <= nick_beside_none * 3 + 20);
    drop(crowd);
    target.serves_everybody();
}
