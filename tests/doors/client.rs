//! protocol.md 10.3: the client library.
//!
//! The tests check what a bot can rely on, with servers that play a script and with `chatd`.

use std::future::Future;

use crate::support::script::{DEADLINE, Server, Step, steps};
use crate::support::server::Chatd;
use futures_lite::future;
use plainchat::client::{
    Client, Error, FileDigest, HistoryRange, InvalidRequest, Login, Message, Reaction, Stored,
};
use plainchat::protocol::{Code, Event, Request};

/// Runs `test` with a deadline.
fn within<T>(test: impl Future<Output = T>) -> T {
    let late = async {
        smol::Timer::after(DEADLINE).await;
        panic!("not done in {DEADLINE:?}")
    };
    smol::block_on(future::or(test, late))
}

/// Runs `test` with a client whose server plays `script`.
fn played<F: Future<Output = ()>>(script: Vec<Step>, test: impl FnOnce(Client) -> F) {
    let server = Server::play(vec![script]);
    within(async {
        test(Client::connect(&server.address.to_string()).await.unwrap()).await;
    });
    server.finish();
}

fn chatd(flags: &[&str]) -> Chatd {
    let flags: Vec<String> = flags.iter().map(|flag| flag.to_string()).collect();
    Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags).expect("chatd")
}

async fn connect(chatd: &Chatd) -> Client {
    Client::connect(&chatd.address.to_string())
        .await
        .expect("it listens")
}

#[test]
fn a_client_enters_a_room_and_receives_nothing_of_the_lobby() {
    let script = steps(
        "> NICK dice
         < OK NICK dice #lobby 5
         > JOIN games
         < MSG #lobby eve hi
         < MSG #games bob one
         < OK JOIN #games 7
         > PART #lobby
         < OK PART #lobby
         < MSG #games bob two",
    );
    played(script, async |mut chat| {
        let here = chat.enter("dice", "games").await.unwrap();
        assert_eq!(
            (&here.nick[..], here.room.as_deref()),
            ("dice", Some("#games"))
        );
        for expected in ["MSG #games bob one", "MSG #games bob two"] {
            let line = chat.next_event().await.unwrap().expect("an event");
            assert_eq!(line.as_str(), expected);
        }
    });
}

#[test]
fn events_before_a_reply_are_kept_and_returned_in_order() {
    let script = steps(
        "< HELLO 1 chat welcome
         > JOIN #games
         < OK JOIN #games 5
         > NICK dice
         < MSG #games bob one
         < FUTURE something else
         < GAP #games
         < OK NICK dice #games 5
         > WHO
         < USER #games bob
         < MSG #games bob two
         < USER #games dice
         < OK WHO 2
         < MSG #games bob three",
    );
    played(script, async |mut chat| {
        let joined = chat.join("#games").await.unwrap();
        assert_eq!((&joined.room[..], joined.last_id), ("#games", 5));
        let named = chat.nick("dice").await.unwrap();
        assert_eq!(
            (&named.nick[..], named.room.as_deref()),
            ("dice", Some("#games"))
        );
        let who = chat.request(Request::Who { room: None }).await.unwrap();
        let who: Vec<&str> = who.lines.iter().map(|line| line.as_str()).collect();
        assert_eq!(who, ["USER #games bob", "USER #games dice"]);
        let mut events = Vec::new();
        while let Some(line) = chat.next_event().await.unwrap() {
            events.push(line.as_str().to_owned());
        }
        let expected = [
            "MSG #games bob one",
            "GAP #games",
            "MSG #games bob two",
            "MSG #games bob three",
        ];
        assert_eq!(events, expected);
    });
}

#[test]
fn a_refusal_is_an_error_and_the_connection_stays_usable() {
    let chatd = chatd(&[]);
    within(async {
        let mut chat = connect(&chatd).await;
        let refused = chat.say("hello").await.unwrap_err();
        assert_eq!(refused.refusal(), Some(Code::NeedNick));
        assert_eq!(
            chat.nick("7up").await.unwrap_err().refusal(),
            Some(Code::BadName)
        );
        chat.nick("ann").await.unwrap();
        let sent = chat.say("hello").await.unwrap();
        assert!(sent.id.is_some());
        assert_eq!(chat.tell("ann", "note to self").await.unwrap().id, None);
        chat.bye().await.unwrap();
    });
}

#[test]
fn no_text_becomes_a_command() {
    let chatd = chatd(&[]);
    within(async {
        let mut chat = connect(&chatd).await;
        chat.nick("ann").await.unwrap();
        for text in ["one\nBYE", "one\r\nBYE", &"x".repeat(5000)] {
            assert!(matches!(chat.say(text).await, Err(Error::Invalid(_))));
        }
        for command in ["", " ", "UPLOAD x 5", "/Download 5", "CHAT", "chat"] {
            assert!(
                matches!(chat.request(command).await, Err(Error::Invalid(_))),
                "{command}"
            );
        }
        chat.say("still here").await.unwrap();
    });
}

#[test]
fn a_request_that_cannot_be_sent_says_why_and_the_next_one_works() {
    let chatd = chatd(&[]);
    within(async {
        let mut client = connect(&chatd).await;
        let why = |error: Error| match error {
            Error::Invalid(why) => why,
            other => panic!("{other:?}"),
        };
        // A password in the nick is a mistake, not a login.
        let nick = client.nick("ann secret").await.unwrap_err();
        assert_eq!(why(nick), InvalidRequest::NotOneWord);
        assert_eq!(client.nick("ann").await.unwrap().nick, "ann");
        let room = client.join("#a 17").await.unwrap_err();
        assert_eq!(why(room), InvalidRequest::NotOneWord);
        let say = client.say("one\ntwo").await.unwrap_err();
        assert_eq!(why(say), InvalidRequest::LineBreak);
        let say = client.say("x".repeat(5000)).await.unwrap_err();
        assert_eq!(why(say), InvalidRequest::TooLong);
        let request = client.request("DOWNLOAD 5").await.unwrap_err();
        assert_eq!(why(request), InvalidRequest::NotALineRequest);
        client.say("still here").await.unwrap();
    });
}

#[test]
fn a_password_shares_the_nick_and_is_not_printed() {
    let chatd = chatd(&[]);
    within(async {
        let login = Login::new("ann").password("two words");
        assert!(!format!("{login:?}").contains("words"));
        let (mut first, mut second) = (connect(&chatd).await, connect(&chatd).await);
        first.nick(login.clone()).await.unwrap();
        let wrong = second.nick(Login::new("ann").password("guess")).await;
        assert_eq!(wrong.unwrap_err().refusal(), Some(Code::BadPassword));
        let here = second.enter(login, "#ops").await.unwrap();
        assert_eq!(
            (&here.nick[..], here.room.as_deref()),
            ("ann", Some("#ops"))
        );
    });
}

#[test]
fn the_common_requests_are_methods() {
    let chatd = chatd(&[]);
    within(async {
        let mut ann = connect(&chatd).await;
        ann.enter("ann", "#ops").await.unwrap();
        assert_eq!(ann.topic("#ops").await.unwrap(), None);
        ann.set_topic("#ops", "on call").await.unwrap();
        assert_eq!(ann.topic("#ops").await.unwrap().as_deref(), Some("on call"));
        let rooms = ann.rooms().await.unwrap();
        let ops = rooms.iter().find(|room| room.name == "#ops").unwrap();
        assert_eq!((ops.members, &ops.topic[..]), (1, "on call"));
        assert_eq!(ann.who("#ops").await.unwrap(), ["ann"]);
        let first = ann.say("the disk is full").await.unwrap().id.unwrap().get();
        ann.act("buys a disk").await.unwrap();
        let file = smol::io::Cursor::new(b"hello");
        let file = ann.upload("a b.txt", file, |_| {}).await.unwrap().file;

        let texts = |events: Vec<plainchat::client::LoggedEvent>| -> Vec<String> {
            let text = |logged: &plainchat::client::LoggedEvent| logged.event.to_string();
            events.iter().map(text).collect()
        };
        let newest = ann.history("#ops", 2, HistoryRange::Newest).await.unwrap();
        assert_eq!(texts(newest)[0], "ME #ops ann buys a disk");
        let after = ann.history("#ops", 1, HistoryRange::After(first)).await;
        assert_eq!(texts(after.unwrap()), ["ME #ops ann buys a disk"]);
        let before = ann
            .history("#ops", 9, HistoryRange::Before(first + 1))
            .await;
        let before = texts(before.unwrap());
        assert_eq!(before.last().unwrap(), "MSG #ops ann the disk is full");
        let found = ann.search("#ops", "disk full").await.unwrap();
        assert!(!found.is_cut);
        assert_eq!(texts(found.events), ["MSG #ops ann the disk is full"]);
        let files = texts(ann.files("#ops").await.unwrap());
        assert_eq!(files, [format!("FILE #ops ann {file} 5 a b.txt")]);
        ann.remove(first).await.unwrap();
        let found = ann.search("#ops", "disk full").await.unwrap();
        assert_eq!(found.events, []);
        ann.set_topic("#ops", "").await.unwrap();
        assert_eq!(ann.topic("#ops").await.unwrap(), None);
        ann.part("#ops").await.unwrap();
        let refused = ann.who("#none").await.unwrap_err();
        assert_eq!(refused.refusal(), Some(Code::NoSuchRoom));
    });
}

#[test]
fn messages_have_tags_and_are_edited_and_reacted_to() {
    let chatd = chatd(&[]);
    within(async {
        let (mut ann, mut bob) = (connect(&chatd).await, connect(&chatd).await);
        let server = ann.hello().await.unwrap();
        assert_eq!(server.version, 1);
        assert!(
            ["edit", "nonce", "react", "reply", "tags"]
                .iter()
                .all(|part| server.has(part))
        );
        assert!(!server.has("time-travel"));
        ann.nick("ann").await.unwrap();
        bob.turn_tags_on().await.unwrap();
        bob.nick("bob").await.unwrap();
        let red = Message::new("the build is red")
            .notice()
            .tag("x-run", "17; of 20");
        let red = ann.send(red.nonce("n1")).await.unwrap();
        let again = ann
            .send(Message::new("the build is red").nonce("n1"))
            .await
            .unwrap();
        assert_eq!(again, red, "sent once");
        let red = red.id.unwrap();
        let line = bob.next_event().await.unwrap().unwrap();
        assert!(line.tags().is_notice());
        assert_eq!(line.tags().get("x-run").as_deref(), Some("17; of 20"));
        let reply = Message::action("looks").reply_to(red.get());
        bob.send(reply).await.unwrap();
        let tell = Message::new("to all").tag("x-a", "");
        bob.send_to("#lobby", tell).await.unwrap();
        let wrong = bob.send(Message::new("x").reply_to(1)).await.unwrap_err();
        assert_eq!(wrong.refusal(), Some(Code::NoSuchId));
        for bad in [
            Message::new("x").tag("run", "17"),
            Message::new("x").nonce("a b"),
        ] {
            let error = bob.send(bad).await.unwrap_err();
            assert!(matches!(error, Error::Invalid(InvalidRequest::BadTag)));
        }
        let elsewhere = bob
            .send_to("#lobby", Message::action("waves"))
            .await
            .unwrap_err();
        assert!(matches!(
            elsewhere,
            Error::Invalid(InvalidRequest::NotInRoom)
        ));

        assert!(bob.react(red.get(), "👍").await.unwrap().id.is_some());
        assert_eq!(bob.react(red.get(), "👍").await.unwrap().id, None, "once");
        bob.react(red.get(), "👀").await.unwrap();
        bob.unreact(red.get(), "👀").await.unwrap();
        assert!(matches!(
            bob.react(red.get(), "two words").await,
            Err(Error::Invalid(_))
        ));
        let no_emoji = bob.react(red.get(), "ab").await.unwrap_err();
        assert_eq!(no_emoji.refusal(), Some(Code::BadSyntax));
        let who = ann.reactions(red.get()).await.unwrap();
        assert_eq!(
            who,
            [Reaction {
                nick: "bob".into(),
                emoji: "👍".into()
            }]
        );
        let edit = ann.edit(red.get(), "the build is green").await.unwrap();
        let not_mine = bob.edit(red.get(), "x").await.unwrap_err();
        assert_eq!(not_mine.refusal(), Some(Code::NotAllowed));

        let log = bob
            .history("#lobby", 20, HistoryRange::Newest)
            .await
            .unwrap();
        let first = &log[0];
        assert_eq!(first.event.to_string(), "MSG #lobby ann the build is green");
        assert_eq!(first.tags.edited(), Some(edit.time));
        assert_eq!(first.tags.reactions(), [("👍".to_owned(), 1)]);
        assert_eq!(log[1].tags.reply(), Some(red));
        assert_eq!(log[2].tags.as_str(), "x-a");
        let plain = ann
            .history("#lobby", 1, HistoryRange::Newest)
            .await
            .unwrap();
        assert_eq!(plain[0].tags.as_str(), "", "not asked for");
    });
}

#[test]
fn several_lines_are_one_message() {
    let chatd = chatd(&[]);
    within(async {
        let (mut ann, mut bob) = (connect(&chatd).await, connect(&chatd).await);
        ann.enter("ann", "#ops").await.unwrap();
        bob.turn_tags_on().await.unwrap();
        bob.enter("bob", "#ops").await.unwrap();
        let text = "it broke:\n\n  at main.c:12\nBYE";
        let sent = ann.send(Message::new(text).notice()).await.unwrap();
        let id = sent.id.unwrap();
        for (line, first) in [
            ("it broke:", true),
            ("", false),
            ("  at main.c:12", false),
            ("BYE", false),
        ] {
            let event = bob.next_event().await.unwrap().unwrap();
            let Some(Event::Msg { text, .. }) = event.event() else {
                panic!("{event:?}");
            };
            assert_eq!(text, line);
            let tags = event.tags();
            assert!(tags.is_notice());
            assert_eq!(tags.lines(), first.then_some(4));
            assert_eq!(tags.part_of(), (!first).then_some(id));
        }
        // Only one message with that nonce is stored.
        let again = Message::new("a\nb").nonce("n1");
        let first = ann.send_to("#ops", again.clone()).await.unwrap();
        assert_eq!(ann.send_to("#ops", again).await.unwrap(), first);
        ann.remove(id.get()).await.unwrap();
        for (bad, why) in [
            ("\n \n".to_owned(), InvalidRequest::Empty),
            ("x\n".repeat(1001), InvalidRequest::TextTooLong),
            (
                format!("a\n{}", "x".repeat(4001)),
                InvalidRequest::TextTooLong,
            ),
            (
                format!("a\n{}", "xxxxxxxxx\n".repeat(7000)),
                InvalidRequest::TextTooLong,
            ),
        ] {
            match ann.send(bad).await.unwrap_err() {
                Error::Invalid(found) => assert_eq!(found, why),
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(
            ann.request("TEXT 5").await,
            Err(Error::Invalid(_))
        ));
        assert!(matches!(
            ann.send(Message::action("a\nb")).await,
            Err(Error::Invalid(_))
        ));
        ann.say("still in step").await.unwrap();
    });
}

/// A server that does not know `TEXT` would take the lines for requests.
#[test]
fn several_lines_are_not_sent_to_a_server_that_would_run_them() {
    let script = "> HELLO
        < OK HELLO 1 chat tags
        > MSG one
        < OK MSG 5 2026-11-22T06:47:00.000Z";
    played(steps(script), async |mut chat| {
        let error = chat.send("one\nBYE").await.unwrap_err();
        assert!(matches!(error, Error::Invalid(InvalidRequest::LineBreak)));
        chat.send("one").await.unwrap();
    });
}

#[test]
fn two_clients_talk() {
    let chatd = chatd(&[]);
    within(async {
        let (mut ann, mut bob) = (connect(&chatd).await, connect(&chatd).await);
        ann.nick("ann").await.unwrap();
        bob.nick("bob").await.unwrap();
        bob.say("hello").await.unwrap();
        bob.tell("ann", "psst").await.unwrap();
        let mut received = Vec::new();
        while received.len() < 2 {
            let line = ann.next_event().await.unwrap().expect("more to come");
            if let Some(Event::Msg { to, nick, text }) = line.event() {
                received.push(format!("{to} {nick} {text}"));
            }
        }
        received.sort();
        assert_eq!(received, ["#lobby bob hello", "ann bob psst"]);
    });
}

#[test]
fn the_end_of_a_connection_says_why() {
    played(
        steps("< MSG #a b c\n < CLOSED kicked for spam"),
        async |mut chat| {
            assert!(chat.next_event().await.unwrap().is_some());
            match chat.next_event().await {
                Err(Error::Closed {
                    code: Some(Code::Kicked),
                    text,
                }) => assert_eq!(text, "for spam"),
                other => panic!("{other:?}"),
            }
        },
    );
    played(
        steps("> PING\n < CLOSED shutting-down soon back"),
        async |mut chat| {
            assert!(matches!(
                chat.request("PING").await,
                Err(Error::Closed { .. })
            ));
            assert!(
                matches!(chat.request("PING").await, Err(Error::Lost(_))),
                "of no more use"
            );
        },
    );
    played(steps("> PING"), async |mut chat| {
        assert!(matches!(chat.request("PING").await, Err(Error::Lost(_))));
    });
    played(
        vec![Step::Give(b"MSG #a b half a li".into())],
        async |mut chat| {
            assert!(
                matches!(chat.next_event().await, Err(Error::Lost(_))),
                "half a line is none"
            );
        },
    );
    played(vec![], async |mut chat| {
        assert_eq!(chat.next_event().await.unwrap(), None);
    });
}

#[test]
fn after_an_abandoned_request_no_reply_is_mistaken_for_another() {
    played(steps("> WHO\n > (end)"), async |mut chat| {
        assert!(
            future::poll_once(chat.request("WHO")).await.is_none(),
            "no reply yet"
        );
        assert!(matches!(chat.request("ROOMS").await, Err(Error::Lost(_))));
        assert!(!chat.is_usable());
        drop(chat);
    });
}

#[test]
fn an_upload_reads_while_it_writes() {
    // The server reads nothing until the client has taken its lines, which are far more than the system's
    // buffers hold.
    let spam = format!("MSG #a bob {}\n", "spam".repeat(250)).repeat(16_000);
    let file = vec![7; 12_000_000];
    let digest = within(FileDigest::of(&file[..])).unwrap().digest();
    let mut script = vec![Step::Say(spam)];
    script.extend(steps(&format!("> UPLOAD x {} {digest}", file.len())));
    script.push(Step::Take(file.clone()));
    script.push(Step::Say(format!(
        "OK UPLOAD 9 {} {digest}\n> (end)",
        file.len()
    )));
    played(script, async |mut chat| {
        let mut progress = Vec::new();
        let stored = chat.upload("x", smol::io::Cursor::new(file), |sent| progress.push(sent));
        assert_eq!(stored.await.unwrap().file, 9);
        assert_eq!(progress.last(), Some(&12_000_000));
        assert!(progress.is_sorted());
        // Some events do not fit, and a `GAP` says so.
        let mut last = None;
        while let Ok(Some(line)) = chat.next_event().await {
            last = Some(line);
        }
        assert_eq!(last.unwrap().as_str(), "GAP #a");
    });
}

#[test]
fn a_file_is_uploaded_and_downloaded_in_parts() {
    let chatd = chatd(&[]);
    let file: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 253) as u8).collect();
    within(async {
        let mut chat = connect(&chatd).await;
        chat.nick("ann").await.unwrap();
        let Stored {
            file: id, length, ..
        } = chat
            .upload("a b", smol::io::Cursor::new(&file), |_| {})
            .await
            .unwrap();
        assert_eq!(length, 1_000_000);
        let have = FileDigest::of(&file[..400_000]).await.unwrap();
        let mut download = chat.download(id, have).await.unwrap();
        assert_eq!(
            (download.name(), download.length()),
            ("a b", Some(1_000_000))
        );
        let (mut rest, mut piece) = (Vec::new(), [0; 10_000]);
        loop {
            match download.read(&mut piece).await.unwrap() {
                0 => break,
                n => rest.extend_from_slice(&piece[..n]),
            }
        }
        assert!(rest == file[400_000..]);
        chat.say("still in step").await.unwrap();

        let other = FileDigest::of(&b"not its beginning"[..]).await.unwrap();
        let mut download = chat.download(id, other).await.unwrap();
        let corrupt = loop {
            match download.read(&mut piece).await {
                Ok(0) => panic!("the digest differs"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(corrupt, Error::Corrupt));
        let none = chat.download(1, FileDigest::default()).await.unwrap_err();
        assert_eq!(none.refusal(), Some(Code::NoSuchFile));

        let stored = chat.upload_stream("pipe", &file[..], |_| {}).await.unwrap();
        assert_eq!(stored.length, 1_000_000);
        assert!(!chat.is_usable(), "nothing can follow a stream");
    });
}

#[test]
fn an_upload_that_is_refused_for_its_size_ends_the_connection() {
    let chatd = chatd(&["--max-upload", "1000"]);
    within(async {
        let mut chat = connect(&chatd).await;
        let small = chat
            .upload("x", smol::io::Cursor::new([0; 10]), |_| {})
            .await;
        assert_eq!(small.unwrap_err().refusal(), Some(Code::NeedNick));
        assert!(chat.is_usable(), "its bytes were out already");
        chat.nick("ann").await.unwrap();
        let large = chat
            .upload("x", smol::io::Cursor::new(vec![0; 20_000_000]), |_| {})
            .await;
        assert_eq!(large.unwrap_err().refusal(), Some(Code::TooLarge));
        let after = chat.say("is anybody there").await;
        assert!(matches!(after, Err(Error::Lost(_))), "{after:?}");
        chat.close().await;
    });
}

#[test]
fn a_full_server_says_so() {
    let chatd = chatd(&["--max-connections", "1"]);
    within(async {
        let mut first = connect(&chatd).await;
        first.nick("ann").await.unwrap();
        let mut second = connect(&chatd).await;
        match second.nick("bob").await {
            Err(Error::Closed { code, .. }) => assert_eq!(code, Some(Code::Busy)),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn clients_can_move_between_threads() {
    fn check(_: impl Send) {}
    #[allow(dead_code)] // compiling it is the test
    fn all(mut chat: Client) {
        check(async move {
            chat.nick("ann").await?;
            chat.say("hi").await?;
            chat.next_event().await?;
            chat.upload("x", smol::io::Cursor::new([0]), |_| {}).await?;
            chat.download(1, FileDigest::default())
                .await?
                .read(&mut [0])
                .await
        });
    }
}
