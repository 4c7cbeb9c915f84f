//! protocol.md 4.2, hooks.md 3: wrong passwords and wrong tokens slow down the client that guesses, and not the owner.

use std::thread;

use super::target::{Target, ask, basic};

/// Regression test. After ten wrong passwords from an address, the server once refused the right passwords of all users there.
#[test]
fn an_owner_can_log_in_from_a_known_address_whatever_others_guess_there() {
    let target = Target::start(&[]);
    target.owner("ann");
    // The owner has logged in from there before.
    ask(&mut target.stranger(), "NICK ann my secret", "OK NICK");
    for nick in ["ann", "bob", "carol"] {
        for n in 0..20 {
            let reply = target
                .stranger()
                .ask(&format!("NICK {nick} guess {n}"))
                .expect("a reply");
            let is_refused = reply.starts_with("ERR NICK ") || nick != "ann";
            assert!(is_refused, "{reply}");
        }
    }
    ask(&mut target.stranger(), "NICK ann my secret", "OK NICK");
    let request = format!(
        "POST /rooms/lobby HTTP/1.1\r\nHost: localhost\r\n{}",
        basic("ann:my secret")
    );
    let (head, body) = target.strange_http(&format!("{request}\r\nhello"));
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}\n{body}");
    // The guessing client is slowed down.
    let mut busy = 0;
    for n in 0..20 {
        let reply = target
            .stranger()
            .ask(&format!("NICK ann again {n}"))
            .expect("a reply");
        busy += usize::from(reply.starts_with("ERR NICK busy "));
    }
    assert!(busy > 0, "nobody is slowed");
}

/// One client sends the posts on eight connections, as fast as the server answers.
#[test]
fn posts_with_ten_thousand_wrong_tokens_disturb_nobody() {
    const CONNECTIONS: usize = 8;
    const POSTS: usize = 10_000 / CONNECTIONS;
    let mut target = Target::start(&[]);
    let mut ann = target.owner("ann");
    let hook = ask(&mut ann, "HOOK alerts #ops", "OK HOOK");
    let hook = hook.rsplit(' ').next().expect("its address").to_owned();
    let memory = target.memory();
    let before = target.cpu();
    let strangers: Vec<_> = (0..CONNECTIONS).map(|_| target.stranger()).collect();
    let answers: Vec<String> = thread::scope(|scope| {
        let flood = |(n, mut stranger): (usize, crate::support::peer::Peer)| {
            scope.spawn(move || {
                let posts: String = (0..POSTS)
                    .map(|i| {
                        let close = if i + 1 == POSTS { "Connection: close\r\n" } else { "" };
                        format!("POST /hooks/a{n:07}b{i:017} HTTP/1.1\r\nHost: localhost\r\n{close}Content-Length: 2\r\n\r\n{{}}")
                    })
                    .collect();
                let mut writer = stranger.writer().expect("a descriptor");
                let sent = thread::spawn(move || std::io::Write::write_all(&mut writer, posts.as_bytes()));
                let answers = stranger.rest().expect("answers");
                sent.join().expect("it does not panic").expect("the server reads");
                String::from_utf8_lossy(&answers).into_owned()
            })
        };
        let floods: Vec<_> = strangers.into_iter().enumerate().map(flood).collect();
        // Others are served meanwhile, and so is the owner of a hook at the same address.
        target.serves_everybody();
        let post =
            format!("POST {hook} HTTP/1.1\r\nHost: localhost\r\n\r\n{{\"text\":\"disk full\"}}");
        let (head, body) = target.strange_http(&post);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}\n{body}");
        let ends = floods
            .into_iter()
            .map(|flood| flood.join().expect("it does not panic"));
        ends.collect()
    });
    let count = |status: &str| -> usize {
        let start = format!("HTTP/1.1 {status} ");
        answers
            .iter()
            .map(|answer| answer.matches(&start).count())
            .sum()
    };
    let (spent, grown) = (
        target.cpu() - before,
        target.memory().saturating_sub(memory),
    );
    println!("10,000 wrong tokens: {spent} ticks, {grown} bytes");
    let (wrong, paced) = (count("404"), count("429"));
    assert_eq!(wrong + paced, CONNECTIONS * POSTS);
    assert!(paced > wrong, "{wrong} guesses were free");
    assert!(spent < 500, "{spent} hundredths of a second");
    assert!(grown < 32 << 20, "{grown} bytes more");
    target.serves_everybody();
}
